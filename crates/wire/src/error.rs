//! What can be wrong with bytes that a peer sent.

/// The bytes are not the PostgreSQL protocol. The stream cannot be trusted beyond this point.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    #[error("unknown message type {0:#04x}")]
    UnknownType(u8),
    #[error("message of type '{}' declares a length of {length} bytes", *.tag as char)]
    Length { tag: u8, length: u32 },
    #[error("startup packet declares a length of {0} bytes")]
    StartupLength(u32),
    #[error("message ends in the middle of a field")]
    Short,
    #[error("{0} bytes left over at the end of a message")]
    Trailing(usize),
    #[error("a string in a message has no terminator")]
    Unterminated,
    #[error("invalid {0} in a message")]
    Field(&'static str),
    #[error("a message of type '{}' is not expected here", *.0 as char)]
    Unexpected(u8),
}

impl Malformed {
    /// `protocol_violation`, as PostgreSQL answers it.
    pub const SQLSTATE: &'static str = "08P01";
}
