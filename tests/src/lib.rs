//! The harness: private PostgreSQL clusters, the proxy in front of them, a client that records every message, and the
//! comparison of what two servers said.
//!
//! Every suite can be pointed at a second PostgreSQL instead of the proxy (`REPRIEVE_TEST_TARGET=direct`). All of them
//! must pass that way: what fails there is the fault of the test.

pub mod client;
pub mod cluster;
pub mod compare;
pub mod corpus;
pub mod front;
pub mod message;
pub mod pair;
pub mod process;
pub mod proxy;
pub mod sound;
pub mod sql;

pub use client::{Client, Got, Target};
pub use cluster::Cluster;
pub use message::Message;
pub use pair::Pair;
pub use proxy::Proxy;
