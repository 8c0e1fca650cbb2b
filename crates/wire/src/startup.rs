//! What a client sends before anything else: packets without a type byte.

use crate::{Malformed, Reader};

/// `MAX_STARTUP_PACKET_LENGTH`: nobody is authenticated yet, so nobody gets more memory.
pub const STARTUP_BYTES_MAX: u32 = 10_000;

const CANCEL_REQUEST: u32 = 80_877_102;
const SSL_REQUEST: u32 = 80_877_103;
const GSSENC_REQUEST: u32 = 80_877_104;

/// Secret keys have four bytes in protocol 3.0 and up to 256 from 3.2 on.
const CANCEL_KEY_BYTES_MAX: usize = 256;

/// One packet of the startup phase, borrowed from the buffer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StartupPacket<'a> {
    Ssl,
    GssEnc,
    Cancel { process: i32, key: &'a [u8] },
    Startup(Startup<'a>),
}

/// Name and value.
pub type Parameter<'a> = (&'a [u8], &'a [u8]);

/// A StartupMessage of protocol 3.x.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Startup<'a> {
    /// 0, 2, or whatever a newer client wishes: the server negotiates.
    pub minor: u16,
    /// In the client's order; every name, `_pq_.` options too.
    pub parameters: Vec<Parameter<'a>>,
}

impl<'a> Startup<'a> {
    /// The last value given for a name, as PostgreSQL reads it.
    pub fn parameter(&self, name: &[u8]) -> Option<&'a [u8]> {
        self.parameters
            .iter()
            .rev()
            .find(|(key, _)| *key == name)
            .map(|(_, value)| *value)
    }
}

/// How many bytes the startup packet at the head of `buffer` has, its length field included.
/// `None` until the four bytes of the length are there.
pub fn startup_packet_bytes(buffer: &[u8]) -> Result<Option<usize>, Malformed> {
    let Some((length, _)) = buffer.split_first_chunk::<4>() else {
        return Ok(None);
    };
    let length = u32::from_be_bytes(*length);
    // Length and code are the least there can be.
    if !(8..=STARTUP_BYTES_MAX).contains(&length) {
        return Err(Malformed::StartupLength(length));
    }
    Ok(Some(length as usize))
}

impl<'a> StartupPacket<'a> {
    /// Reads one whole packet, its length field included.
    pub fn read(packet: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(packet);
        let length = reader.i32()?;
        if usize::try_from(length) != Ok(packet.len()) {
            return Err(Malformed::StartupLength(length as u32));
        }
        let code = reader.i32()? as u32;
        match code {
            SSL_REQUEST => reader.finish().map(|()| Self::Ssl),
            GSSENC_REQUEST => reader.finish().map(|()| Self::GssEnc),
            CANCEL_REQUEST => {
                let process = reader.i32()?;
                let key = reader.rest();
                if key.is_empty() || key.len() > CANCEL_KEY_BYTES_MAX {
                    return Err(Malformed::Field("cancel key"));
                }
                Ok(Self::Cancel { process, key })
            }
            _ if code >> 16 == 3 => Ok(Self::Startup(Startup {
                minor: code as u16,
                parameters: parameters(reader)?,
            })),
            _ => Err(Malformed::Field("protocol version")),
        }
    }
}

/// Pairs of strings, closed by one empty name.
fn parameters(mut reader: Reader<'_>) -> Result<Vec<Parameter<'_>>, Malformed> {
    let mut parameters = Vec::new();
    loop {
        let name = reader.cstr()?;
        if name.is_empty() {
            reader.finish()?;
            return Ok(parameters);
        }
        parameters.push((name, reader.cstr()?));
    }
}
