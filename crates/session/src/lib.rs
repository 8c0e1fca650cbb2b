//! One client's conversation: bytes in, bytes out.
//!
//! **Invariant:** no clock, no socket, no await. A session is a function of the bytes it was given
//! and of the answers of its [`Host`].

mod betrayals;
mod cache;
mod client;
mod failing_row;
mod host;
mod inject;
mod judge;
mod outlived;
mod parameters;
mod parts;
mod queue;
mod reading;
mod refusals;
mod refuse;
mod row_types;
mod scope;
mod server;
mod session;
mod settings;
mod sql_prepared;
mod statements;
mod texts;

pub use cache::PlanCache;
pub use host::{
    Answer, CatalogState, Host, LocalRows, LocalShow, Observation, Port, Request, StartupParameters,
};
pub use refusals::manual as refusals_manual;
pub use session::{Ended, Out, STATEMENT_BYTES_MAX, Session, Side};
