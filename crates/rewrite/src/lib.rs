//! Text and scope in, edits on the client's own bytes or a refusal out. Pure: no sockets, no clock.
//!
//! The only user of `sqlparser`. The parser tells *where*; nothing is ever printed from its tree.

pub mod admin;
mod block;
mod cloak;
mod constraints;
mod edits;
mod inspect;
mod json;
mod keyword;
mod lex;
mod normalise;
mod parse;
mod plan;
mod refusal;
mod scan;
mod scope;
mod shape;
mod walk;

pub use edits::{Edit, Edits};
#[doc(hidden)]
pub use inspect::inspect;
pub use keyword::printed_identifier;
pub use lex::{TokenRanges, token_ranges};
pub use plan::{Effect, Plan, Reply, Statement};
pub use refusal::{Documented, Refusal};
pub use scan::{Scanned, scan};
pub use scope::{ClientEncoding, Scope};
pub use shape::{Shape, Template};
