//! Messages of our own. Fixed ones are encoded by pgwire; those that carry a peer's bytes, whose
//! encoding we do not know, are put together here.

use bytes::{BufMut, BytesMut};
use pgwire::messages::Message;
use pgwire::messages::extendedquery::{Bind, Close, Describe, Execute, Flush, Parse, Sync};
use pgwire::messages::response::{ErrorResponse, NoticeResponse, ReadyForQuery};

use crate::backend::{Fields, TransactionStatus};
use crate::frontend::Target;

/// A message of ours is longer than the protocol allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a message of {0} bytes is longer than the protocol allows")]
pub struct TooLong(pub usize);

/// Appends a frame whose body is written by `body`.
pub fn frame(out: &mut BytesMut, tag: u8, body: impl FnOnce(&mut BytesMut)) -> Result<(), TooLong> {
    let start = out.len();
    out.put_u8(tag);
    out.put_i32(0);
    body(out);
    let length = out.len() - start - 1;
    let Ok(declared) = i32::try_from(length) else {
        out.truncate(start);
        return Err(TooLong(length));
    };
    out[start + 1..start + 5].copy_from_slice(&declared.to_be_bytes());
    Ok(())
}

/// Appends a message of pgwire.
fn message(out: &mut BytesMut, message: &impl Message) -> Result<(), TooLong> {
    let start = out.len();
    message.encode(out).map_err(|_| {
        out.truncate(start);
        TooLong(message.message_length())
    })
}

fn name(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

/// A Query with a text in the client's encoding.
pub fn query(out: &mut BytesMut, text: &[u8]) -> Result<(), TooLong> {
    frame(out, b'Q', |body| {
        body.put_slice(text);
        body.put_u8(0);
    })
}

/// A Parse in the client's encoding; `types` as [`crate::frontend::Parse`] keeps them.
pub fn parse_raw(
    out: &mut BytesMut,
    name: &[u8],
    text: &[u8],
    types: &[u8],
) -> Result<(), TooLong> {
    frame(out, b'P', |body| {
        body.put_slice(name);
        body.put_u8(0);
        body.put_slice(text);
        body.put_u8(0);
        body.put_slice(types);
    })
}

/// A Close in the client's encoding.
pub fn close_raw(out: &mut BytesMut, target: Target, name: &[u8]) -> Result<(), TooLong> {
    frame(out, b'C', |body| {
        body.put_u8(target_byte(target));
        body.put_slice(name);
        body.put_u8(0);
    })
}

pub fn parse(out: &mut BytesMut, statement: &str, text: &str) -> Result<(), TooLong> {
    message(
        out,
        &Parse::new(name(statement), text.to_owned(), Vec::new()),
    )
}

/// Binds a statement without parameters; all columns come as text.
pub fn bind(out: &mut BytesMut, portal: &str, statement: &str) -> Result<(), TooLong> {
    message(
        out,
        &Bind::new(
            name(portal),
            name(statement),
            Vec::new(),
            Vec::new(),
            Vec::new(),
        ),
    )
}

pub fn describe(out: &mut BytesMut, target: Target, of: &str) -> Result<(), TooLong> {
    message(out, &Describe::new(target_byte(target), name(of)))
}

/// Executes a portal to its end.
pub fn execute(out: &mut BytesMut, portal: &str) -> Result<(), TooLong> {
    message(out, &Execute::new(name(portal), 0))
}

pub fn close(out: &mut BytesMut, target: Target, of: &str) -> Result<(), TooLong> {
    message(out, &Close::new(target_byte(target), name(of)))
}

pub fn sync(out: &mut BytesMut) -> Result<(), TooLong> {
    message(out, &Sync::new())
}

pub fn flush(out: &mut BytesMut) -> Result<(), TooLong> {
    message(out, &Flush::new())
}

/// A CommandComplete.
pub fn command_complete(out: &mut BytesMut, tag: &[u8]) -> Result<(), TooLong> {
    frame(out, b'C', |body| {
        body.put_slice(tag);
        body.put_u8(0);
    })
}

/// A ParameterStatus.
pub fn parameter_status(out: &mut BytesMut, name: &[u8], value: &[u8]) -> Result<(), TooLong> {
    frame(out, b'S', |body| {
        for text in [name, value] {
            body.put_slice(text);
            body.put_u8(0);
        }
    })
}

pub fn ready_for_query(out: &mut BytesMut, status: TransactionStatus) -> Result<(), TooLong> {
    use pgwire::messages::response::TransactionStatus as Theirs;
    let status = match status {
        TransactionStatus::Idle => Theirs::Idle,
        TransactionStatus::InTransaction => Theirs::Transaction,
        TransactionStatus::Failed => Theirs::Error,
    };
    message(out, &ReadyForQuery::new(status))
}

/// An ErrorResponse (`E`) or NoticeResponse (`N`) with a server's fields.
pub fn fields(out: &mut BytesMut, tag: u8, fields: &Fields<'_>) -> Result<(), TooLong> {
    frame(out, tag, |body| {
        for (code, value) in &fields.fields {
            body.put_u8(*code);
            body.put_slice(value);
            body.put_u8(0);
        }
        body.put_u8(0);
    })
}

/// What an error or notice of our own says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Report<'a> {
    /// `ERROR`, `FATAL`, `WARNING`, ...
    pub severity: &'a str,
    pub sqlstate: &'a str,
    pub message: &'a str,
    pub detail: Option<&'a str>,
    pub hint: Option<&'a str>,
}

impl Report<'_> {
    fn fields(&self) -> Vec<(u8, String)> {
        let mut fields = vec![
            (b'S', self.severity),
            (b'V', self.severity),
            (b'C', self.sqlstate),
            (b'M', self.message),
        ];
        fields.extend(self.detail.map(|text| (b'D', text)));
        fields.extend(self.hint.map(|text| (b'H', text)));
        // A NUL would end the field early and shift all that follow.
        fields
            .into_iter()
            .map(|(code, text)| (code, text.replace('\0', "?")))
            .collect()
    }
}

pub fn error(out: &mut BytesMut, report: &Report<'_>) -> Result<(), TooLong> {
    message(out, &ErrorResponse::new(report.fields()))
}

pub fn notice(out: &mut BytesMut, report: &Report<'_>) -> Result<(), TooLong> {
    message(out, &NoticeResponse::new(report.fields()))
}

fn target_byte(target: Target) -> u8 {
    match target {
        Target::Statement => b'S',
        Target::Portal => b'P',
    }
}
