//! Reads the fields of one message body, and no byte beyond it.

use std::ffi::CStr;

use crate::Malformed;

/// A cursor over one frame's body. Nothing is allocated; strings are bytes, in whatever encoding
/// the peer speaks.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub fn new(body: &'a [u8]) -> Self {
        Self { rest: body }
    }

    pub fn bytes(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(Malformed::Short)?;
        self.rest = rest;
        Ok(taken)
    }

    pub fn u8(&mut self) -> Result<u8, Malformed> {
        Ok(self.bytes(1)?[0])
    }

    pub fn i16(&mut self) -> Result<i16, Malformed> {
        let mut field = [0; 2];
        field.copy_from_slice(self.bytes(2)?);
        Ok(i16::from_be_bytes(field))
    }

    pub fn i32(&mut self) -> Result<i32, Malformed> {
        let mut field = [0; 4];
        field.copy_from_slice(self.bytes(4)?);
        Ok(i32::from_be_bytes(field))
    }

    /// A string without its terminator.
    pub fn cstr(&mut self) -> Result<&'a [u8], Malformed> {
        let text = CStr::from_bytes_until_nul(self.rest).map_err(|_| Malformed::Unterminated)?;
        let text = text.to_bytes();
        self.rest = &self.rest[text.len() + 1..];
        Ok(text)
    }

    /// What has not been read yet.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Bytes left over are an error: two readers of one message must not see two messages.
    pub fn finish(self) -> Result<(), Malformed> {
        match self.rest.len() {
            0 => Ok(()),
            left => Err(Malformed::Trailing(left)),
        }
    }
}
