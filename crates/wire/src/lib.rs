//! Bytes <-> frames of the PostgreSQL protocol, version 3, both directions.

mod error;

pub use error::Malformed;
