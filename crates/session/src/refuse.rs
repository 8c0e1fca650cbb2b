//! What is sent in place of a statement that is refused.
//!
//! The error must come from the server, in the place of the reply that it replaces, so that the
//! state of the transaction and what is skipped are right by themselves. So a statement is sent that
//! fails, and the client reads our refusal. In front of it goes, where that is safe, the client's own
//! statement in a Parse, which runs nothing: what PostgreSQL would not take either fails in
//! PostgreSQL's own words.

use bytes::BytesMut;
use wire::backend::Fields;
use wire::build;
use wire::frontend::{self, Parse, Target};
use wire::{HEADER_BYTES, Header};

use crate::betrayals::{OUR_COLUMNS, drop_hint, find};
use crate::judge::{Attempt, Refused};
use crate::queue::{Entry, Kind};
use crate::refusals;
use crate::session::{Out, Rest, Session};

/// Name of the client's statement while the server judges it; closed before anything else is done.
const REFUSED: &str = "reprieve_refused";

/// No types of parameters.
const UNTYPED: &[u8] = &[0, 0];

/// The client's statement was sent to see whether the server would take it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tried {
    /// Characters of the client's text in front of it.
    before: usize,
    names_differ: bool,
    has_star: bool,
}

/// Where PostgreSQL reports errors of the grammar and several statements in a Parse (field `F`).
const GRAMMAR: [&[u8]; 5] = [
    b"scan.l",
    b"gram.y",
    b"parser.c",
    b"scansup.c",
    b"postgres.c",
];

/// Where it says what FOR UPDATE may not stand with (field `R`).
const LOCKING: [&[u8]; 2] = [b"CheckSelectLocking", b"transformLockingClause"];

impl Tried {
    /// True if the client would have read this error without us: the names and columns that the
    /// server finds are those of the tables with our columns in them.
    fn is_genuine(self, fields: &Fields<'_>) -> bool {
        let says_ours = |code| {
            let text = fields.get(code).unwrap_or_default();
            OUR_COLUMNS.iter().any(|name| find(text, name).is_some())
        };
        match fields.sqlstate() {
            // The grammar comes before names are looked at. Others of this code count columns.
            b"42601" if GRAMMAR.contains(&fields.get(b'F').unwrap_or_default()) => true,
            // Names that do not exist, and relations of one name.
            b"42703" | b"42P01" | b"42704" | b"3F000" | b"42712" => {
                !self.names_differ && !says_ours(b'M') && !says_ours(b'D')
            }
            // The transaction has failed.
            b"25P02" => !self.names_differ,
            // FOR UPDATE where it may not stand.
            b"0A000" if LOCKING.contains(&fields.get(b'R').unwrap_or_default()) => {
                !self.names_differ
            }
            // Types and numbers of columns: a `*` stands for ours, too.
            [b'4', b'2', ..] | [b'2', b'2', ..] | [b'0', b'A', ..] => {
                !self.names_differ && !self.has_star && !says_ours(b'M') && !says_ours(b'D')
            }
            _ => true,
        }
    }
}

impl Session {
    /// Sends something that fails in place of the message; the client reads the refusal.
    pub(crate) fn refuse(
        &mut self,
        kind: Kind,
        refused: impl Into<Refused>,
        header: Header,
        input: &mut BytesMut,
        out: &mut Out,
    ) {
        let Refused {
            refusal,
            attempt,
            cut: _,
        } = refused.into();
        let body = input.get(HEADER_BYTES..header.frame()).unwrap_or_default();
        let text = text(header.tag, body);
        let fails = Entry {
            refused_at: text
                .zip(refusal.offset)
                .and_then(|((text, _), offset)| text.get(..offset))
                .and_then(|before| u32::try_from(characters(before) + 1).ok()),
            ..Entry::refused(Kind::Parse, refusal)
        }
        .before(self.sent_before());
        let is_query = kind == Kind::Query;
        let is_tried = match (attempt, text) {
            (Some(attempt), Some((text, types))) => {
                self.try_first(is_query, text, types, &attempt, &fails, out)
            }
            _ => false,
        };
        let to = &mut out.to_server;
        let sent = if is_query && !is_tried {
            self.queue.push(Entry {
                kind: Kind::Query,
                ..fails
            });
            build::query(to, refusals::FAILING_SQL.as_bytes())
        } else {
            self.queue.push(fails);
            build::parse(to, REFUSED, refusals::FAILING_SQL)
        };
        debug_assert!(sent.is_ok(), "a text of a known size");
        self.unsynced = !is_query;
        if is_query {
            self.statements.forget_unnamed();
            if is_tried {
                self.queue.push(Entry::new(Kind::Sync));
                let _ = build::sync(&mut out.to_server);
            }
        }
        self.client_rest = Rest::Drop(header.frame());
        self.client_rest(input, out);
    }

    /// Lets the server parse and analyse the client's statement. False if nothing was sent.
    fn try_first(
        &mut self,
        is_query: bool,
        text: &[u8],
        types: &[u8],
        attempt: &Attempt,
        fails: &Entry,
        out: &mut Out,
    ) -> bool {
        // A Parse of several statements fails for that alone, as it should.
        let (range, names_differ) = if is_query {
            (attempt.range.clone(), attempt.names_differ)
        } else {
            (0..text.len(), false)
        };
        let before = text.get(..range.start).map_or(0, characters);
        let Some(statement) = text.get(range) else {
            return false;
        };
        let to = &mut out.to_server;
        if is_query {
            // A Query drops the unnamed statement before it reads its text.
            let _ = build::close(to, Target::Statement, "");
            self.queue.push(Entry::new(Kind::Close).ours());
        }
        let sent = build::parse_raw(to, REFUSED.as_bytes(), statement, types)
            .and_then(|()| build::close(to, Target::Statement, REFUSED));
        debug_assert!(sent.is_ok(), "a text that came in a message");
        self.queue.push(Entry {
            tried: Some(Tried {
                before,
                names_differ,
                has_star: statement.contains(&b'*'),
            }),
            refusal: fails.refusal.clone(),
            refused_at: fails.refused_at,
            before: fails.before,
            ..Entry::new(Kind::Parse).ours()
        });
        self.queue.push(Entry::new(Kind::Close).ours());
        true
    }
}

/// Text and parameter types of a Query or Parse.
fn text(tag: u8, body: &[u8]) -> Option<(&[u8], &[u8])> {
    match tag {
        b'Q' => Some((frontend::query(body).ok()?, UNTYPED)),
        b'P' => {
            let parse = Parse::read(body).ok()?;
            Some((parse.text, parse.types))
        }
        _ => None,
    }
}

fn characters(text: &[u8]) -> usize {
    std::str::from_utf8(text).map_or(text.len(), |text| text.chars().count())
}

/// What became of the error of a statement that was sent to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The server's own, about the client's text as it is.
    Servers,
    /// The server's own, put right for the client's text.
    Moved,
    Refused,
}

/// The statement failed as it should: the client reads why it was not sent.
pub(crate) fn conclude(entry: &Entry, fields: &mut Fields<'_>) -> Outcome {
    let Some(refusal) = &entry.refusal else {
        return Outcome::Servers;
    };
    match entry.tried {
        Some(tried) if tried.is_genuine(fields) => return tried.shift(fields),
        None if fields.sqlstate() != refusals::FAILING_SQLSTATE => return Outcome::Servers,
        Some(_) | None => {}
    }
    fields
        .fields
        .retain(|(code, _)| matches!(code, b'S' | b'V'));
    fields.set(b'C', refusal.sqlstate.as_bytes().to_vec());
    fields.set(b'M', printable(&refusal.message));
    if let Some(detail) = &refusal.detail {
        fields.set(b'D', printable(detail));
    }
    if refusal.code == refusals::RESULT_TYPE_CHANGED {
        // By the place in PostgreSQL's source drivers know that preparing the statement anew helps.
        fields.set(b'F', &b"plancache.c"[..]);
        fields.set(b'R', &b"RevalidateCachedQuery"[..]);
    }
    if let Some(hint) = &refusal.hint {
        fields.set(b'H', printable(hint));
    }
    if let Some(position) = entry.refused_at {
        fields.set(b'P', position.to_string().into_bytes());
    }
    Outcome::Refused
}

impl Tried {
    fn shift(self, fields: &mut Fields<'_>) -> Outcome {
        let hints_at_ours = drop_hint(fields);
        let position = fields
            .get(b'P')
            .and_then(|text| std::str::from_utf8(text).ok()?.parse::<usize>().ok());
        match position {
            Some(position) if self.before > 0 => {
                fields.set(b'P', (position + self.before).to_string().into_bytes());
                Outcome::Moved
            }
            _ if hints_at_ours => Outcome::Moved,
            _ => Outcome::Servers,
        }
    }
}

/// A NUL would end the field early and shift all that follow.
fn printable(text: &str) -> Vec<u8> {
    text.replace('\0', "?").into_bytes()
}
