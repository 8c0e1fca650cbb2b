//! Messages of a server, as far as they must be understood. Views borrow from the frame's body.

use crate::{Malformed, Reader};

/// The status byte of ReadyForQuery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TransactionStatus {
    Idle,
    InTransaction,
    Failed,
}

pub fn ready_for_query(body: &[u8]) -> Result<TransactionStatus, Malformed> {
    match body {
        b"I" => Ok(TransactionStatus::Idle),
        b"T" => Ok(TransactionStatus::InTransaction),
        b"E" => Ok(TransactionStatus::Failed),
        _ => Err(Malformed::Field("transaction status")),
    }
}

/// The tag of a CommandComplete.
pub fn command_tag(body: &[u8]) -> Result<&[u8], Malformed> {
    let mut reader = Reader::new(body);
    let tag = reader.cstr()?;
    reader.finish()?;
    Ok(tag)
}

/// Name and value of a ParameterStatus.
pub fn parameter_status(body: &[u8]) -> Result<(&[u8], &[u8]), Malformed> {
    let mut reader = Reader::new(body);
    let status = (reader.cstr()?, reader.cstr()?);
    reader.finish()?;
    Ok(status)
}

/// What an Authentication message asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Authentication<'a> {
    Ok,
    /// The rest of the body: names of mechanisms.
    Sasl(&'a [u8]),
    /// Any other: relayed without a look.
    Other(i32),
}

impl<'a> Authentication<'a> {
    pub fn read(body: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(body);
        match reader.i32()? {
            0 => reader.finish().map(|()| Self::Ok),
            10 => Ok(Self::Sasl(reader.rest())),
            kind => Ok(Self::Other(kind)),
        }
    }
}

/// Mechanisms of an AuthenticationSASL, in order.
pub fn sasl_mechanisms(list: &[u8]) -> Result<Vec<&[u8]>, Malformed> {
    let mut reader = Reader::new(list);
    let mut mechanisms = Vec::new();
    loop {
        match reader.cstr()? {
            b"" => return reader.finish().map(|()| mechanisms),
            mechanism => mechanisms.push(mechanism),
        }
    }
}

/// The fields of an ErrorResponse or NoticeResponse in the server's order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Fields<'a> {
    pub fields: Vec<(u8, std::borrow::Cow<'a, [u8]>)>,
}

impl<'a> Fields<'a> {
    pub fn read(body: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(body);
        let mut fields = Vec::with_capacity(8);
        loop {
            match reader.u8()? {
                0 => return reader.finish().map(|()| Self { fields }),
                code => fields.push((code, reader.cstr()?.into())),
            }
        }
    }

    pub fn get(&self, code: u8) -> Option<&[u8]> {
        self.fields
            .iter()
            .find(|(key, _)| *key == code)
            .map(|(_, value)| value.as_ref())
    }

    /// Replaces a field, or appends it if there is none.
    pub fn set(&mut self, code: u8, value: impl Into<std::borrow::Cow<'a, [u8]>>) {
        match self.fields.iter_mut().find(|(key, _)| *key == code) {
            Some((_, old)) => *old = value.into(),
            None => self.fields.push((code, value.into())),
        }
    }

    pub fn remove(&mut self, code: u8) {
        self.fields.retain(|(key, _)| *key != code);
    }

    pub fn sqlstate(&self) -> &[u8] {
        self.get(b'C').unwrap_or_default()
    }

    /// True for FATAL and PANIC: the server closes the connection after it. Field `V` is never
    /// translated (servers older than 9.6 have only `S`).
    pub fn is_fatal(&self) -> bool {
        let severity = self
            .get(b'V')
            .or_else(|| self.get(b'S'))
            .unwrap_or_default();
        matches!(severity, b"FATAL" | b"PANIC")
    }
}

/// The columns of a DataRow; `None` is NULL.
pub fn data_row(body: &[u8]) -> Result<Vec<Option<&[u8]>>, Malformed> {
    let mut reader = Reader::new(body);
    let count = reader.i16()?;
    let mut columns = Vec::new();
    for _ in 0..count {
        let length = reader.i32()?;
        columns.push(match usize::try_from(length) {
            Ok(length) => Some(reader.bytes(length)?),
            Err(_) if length == -1 => None,
            Err(_) => return Err(Malformed::Field("column length")),
        });
    }
    reader.finish()?;
    Ok(columns)
}
