//! Where one message ends and the next begins.

use crate::Malformed;

/// A type byte and a length.
pub const HEADER_BYTES: usize = 5;

/// `MaxAllocSize - 1`: what PostgreSQL accepts for Query, Parse, Bind, FunctionCall and CopyData
/// (`PQ_LARGE_MESSAGE_LIMIT`).
pub const LARGE_BYTES_MAX: u32 = 0x3fff_fffe;

/// `PQ_SMALL_MESSAGE_LIMIT`: what PostgreSQL accepts for all other messages of a client.
pub const SMALL_BYTES_MAX: u32 = 10_000;

/// `PG_MAX_AUTH_TOKEN_LENGTH`: passwords and GSS tokens.
pub const AUTH_BYTES_MAX: u32 = 65_535;

/// libpq's `VALID_LONG_MESSAGE_TYPE`: other messages of a server are at most this long.
pub const BACKEND_SMALL_BYTES_MAX: u32 = 30_000;

/// Who sent a frame: the same type byte means different things.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sender {
    Frontend,
    Backend,
}

/// The first five bytes of a frame, checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    pub tag: u8,
    /// Bytes of the body alone.
    pub body: usize,
}

impl Header {
    /// Looks at the start of `buffer`. `None` until five bytes are there.
    pub fn peek(buffer: &[u8], sender: Sender) -> Result<Option<Self>, Malformed> {
        let Some((&[tag, a, b, c, d], _)) = buffer.split_first_chunk::<HEADER_BYTES>() else {
            // An unknown type is known by its first byte: do not wait for four more.
            return match buffer.first() {
                Some(&tag) if limit(tag, sender).is_none() => Err(Malformed::UnknownType(tag)),
                _ => Ok(None),
            };
        };
        let length = u32::from_be_bytes([a, b, c, d]);
        let max = limit(tag, sender).ok_or(Malformed::UnknownType(tag))?;
        // The length counts itself. PostgreSQL's limits do so, too.
        if !(4..=max).contains(&length) {
            return Err(Malformed::Length { tag, length });
        }
        Ok(Some(Self {
            tag,
            body: length as usize - 4,
        }))
    }

    /// Bytes of the whole frame, the header included.
    pub fn frame(self) -> usize {
        self.body + HEADER_BYTES
    }
}

fn limit(tag: u8, sender: Sender) -> Option<u32> {
    match sender {
        Sender::Frontend => frontend_limit(tag),
        Sender::Backend => backend_limit(tag),
    }
}

/// As in PostgreSQL's `SocketBackend()`, so that a frame means the same to us and to the server.
fn frontend_limit(tag: u8) -> Option<u32> {
    match tag {
        b'Q' | b'P' | b'B' | b'F' | b'd' => Some(LARGE_BYTES_MAX),
        b'C' | b'D' | b'E' | b'H' | b'S' | b'X' | b'c' | b'f' => Some(SMALL_BYTES_MAX),
        b'p' => Some(AUTH_BYTES_MAX),
        _ => None,
    }
}

/// As in libpq's `pqParseInput3()`.
fn backend_limit(tag: u8) -> Option<u32> {
    match tag {
        b'T' | b'D' | b'd' | b'V' | b'E' | b'N' | b'A' | b't' | b'S' => Some(i32::MAX as u32),
        b'1' | b'2' | b'3' | b'C' | b'G' | b'H' | b'I' | b'K' | b'R' | b'W' | b'Z' | b'c'
        | b'n' | b's' | b'v' => Some(BACKEND_SMALL_BYTES_MAX),
        _ => None,
    }
}
