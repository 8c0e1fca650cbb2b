//! One client's conversation: bytes in, bytes out.
//!
//! **Invariant:** no clock, no socket, no await. A session is a function of the bytes it was given
//! and of the answers of its [`Host`].

mod cache;
mod host;
mod session;

pub use cache::PlanCache;
pub use host::{
    Answer, CatalogState, Host, LocalRows, LocalShow, Observation, Port, Request, StartupParameters,
};
pub use session::{Ended, Out, Session, Side};
