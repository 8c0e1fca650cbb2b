//! Bytes <-> frames of the PostgreSQL protocol, version 3, both directions.
//!
//! Lengths are checked before anything is kept. Messages that need not be understood are never
//! looked at beyond their [`Header`]; the others are read by views that borrow from the frame.

pub mod backend;
pub mod build;
mod error;
mod frame;
pub mod frontend;
mod reader;
mod startup;

pub use error::Malformed;
pub use frame::{
    AUTH_BYTES_MAX, BACKEND_SMALL_BYTES_MAX, HEADER_BYTES, Header, LARGE_BYTES_MAX,
    SMALL_BYTES_MAX, Sender,
};
pub use reader::Reader;
pub use startup::{STARTUP_BYTES_MAX, Startup, StartupPacket, startup_packet_bytes};
