//! Messages of a client, as far as they must be understood. Views borrow from the frame's body.

use crate::{Malformed, Reader};

/// What Describe and Close are about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Target {
    Statement,
    Portal,
}

/// The text of a Query.
pub fn query(body: &[u8]) -> Result<&[u8], Malformed> {
    let mut reader = Reader::new(body);
    let text = reader.cstr()?;
    reader.finish()?;
    Ok(text)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parse<'a> {
    pub name: &'a [u8],
    pub text: &'a [u8],
    /// The count and the OIDs of the parameter types as they came: they are only ever repeated.
    pub types: &'a [u8],
}

impl<'a> Parse<'a> {
    pub fn read(body: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(body);
        let name = reader.cstr()?;
        let text = reader.cstr()?;
        let types = reader.rest();
        let count = reader.i16()? as u16;
        reader.bytes(usize::from(count) * 4)?;
        reader.finish()?;
        Ok(Self { name, text, types })
    }
}

/// The head of a Bind. Its parameters are not for us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BindNames<'a> {
    pub portal: &'a [u8],
    pub statement: &'a [u8],
}

impl<'a> BindNames<'a> {
    /// Reads from the part of the body that is there. [`Malformed::Unterminated`] if the names do
    /// not end in it.
    pub fn read(head: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(head);
        Ok(Self {
            portal: reader.cstr()?,
            statement: reader.cstr()?,
        })
    }
}

/// The body of Describe or Close.
pub fn target(body: &[u8]) -> Result<(Target, &[u8]), Malformed> {
    let mut reader = Reader::new(body);
    let target = match reader.u8()? {
        b'S' => Target::Statement,
        b'P' => Target::Portal,
        _ => return Err(Malformed::Field("target of Describe or Close")),
    };
    let name = reader.cstr()?;
    reader.finish()?;
    Ok((target, name))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Execute<'a> {
    pub portal: &'a [u8],
    /// 0 or less: all.
    pub rows_max: i32,
}

impl<'a> Execute<'a> {
    pub fn read(body: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(body);
        let execute = Self {
            portal: reader.cstr()?,
            rows_max: reader.i32()?,
        };
        reader.finish()?;
        Ok(execute)
    }
}
