//! One Query message of several statements, sent in parts.
//!
//! Behind a statement that changes the schema or the search path nobody knows yet what the names of the next one mean. Where
//! a part can end so that the client's transactions stay what they are, the rest waits: the keeper follows the change, and the
//! rest is read by what is known then. The client reads one reply, with one ReadyForQuery.
//!
//! A part may end inside a transaction block, and right behind the end of one. A message without any of its own is one
//! transaction for PostgreSQL: BEGIN and COMMIT of ours are put around it. Its last CommandComplete waits for that COMMIT, as
//! PostgreSQL's does.

use std::collections::VecDeque;

use bytes::BytesMut;
use rewrite::{Effect, Statement};
use wire::backend::{Fields, TransactionStatus};
use wire::{HEADER_BYTES, Header, Sender, build, frontend};

use crate::inject::{Injection, Purpose};
use crate::judge::Cut;
use crate::reading::Reading;
use crate::session::{Ended, Hold, Out, Rest, Session};

/// Statements of a message that is sent in parts.
#[derive(Debug, Default)]
pub(crate) struct Parts {
    waiting: VecDeque<Part>,
    /// Characters of the client's text in front of the part that runs.
    before: usize,
    /// Statements of the part that runs.
    statements: usize,
    /// A transaction of ours is to be opened around them, or is open.
    wrap: Wrap,
    failed: bool,
    /// The last CommandComplete, until our COMMIT is done.
    complete: Option<BytesMut>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Wrap {
    #[default]
    None,
    Wanted,
    Open,
}

#[derive(Debug)]
struct Part {
    /// A Query.
    frame: BytesMut,
    before: usize,
    statements: usize,
}

/// Where the transactions of a text stand between two of its statements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Block {
    /// Nothing was done since the last one ended.
    Outside,
    /// In the transaction that PostgreSQL makes of statements without one.
    Implicit,
    Explicit,
}

/// Where a text may be cut so that `wanted` is the first statement of the rest, or an earlier one is. `None`: nowhere.
pub(crate) fn cut(reading: &Reading<'_>, wanted: usize, status: TransactionStatus) -> Option<Cut> {
    let statements = reading.scanned.statements();
    let mut block = match status {
        TransactionStatus::InTransaction | TransactionStatus::Failed => Block::Explicit,
        TransactionStatus::Idle => Block::Outside,
    };
    let mut segment = 0;
    for (index, statement) in statements.iter().enumerate().take(wanted) {
        block = match (&statement.effect, block) {
            (Effect::Begin, _) => Block::Explicit,
            (Effect::End, _) if has_word(reading.text, statement, b"chain") => block,
            (Effect::End, _) => {
                segment = index + 1;
                Block::Outside
            }
            (_, Block::Explicit) => Block::Explicit,
            _ => Block::Implicit,
        };
    }
    let at = |index: usize, wraps| {
        let start = statements.get(index)?.range.start;
        (index > 0 || wraps).then_some(Cut {
            at: start,
            index,
            wraps,
        })
    };
    match block {
        Block::Outside | Block::Explicit => at(wanted, false),
        Block::Implicit if segment > 0 => at(segment, false),
        Block::Implicit if statements.iter().any(|s| controls(reading.text, s)) => None,
        Block::Implicit => at(wanted, true),
    }
}

/// True for statements that mean something else in a transaction block than in an implicit transaction.
fn controls(text: &[u8], statement: &Statement) -> bool {
    let is_first = |word: &[u8]| {
        text.get(statement.range.clone())
            .and_then(|text| text.get(..word.len()))
            .is_some_and(|start| start.eq_ignore_ascii_case(word))
    };
    matches!(
        statement.effect,
        Effect::Begin | Effect::End | Effect::RollbackTo
    ) || is_first(b"savepoint")
        || is_first(b"release")
}

fn has_word(text: &[u8], statement: &Statement, word: &[u8]) -> bool {
    let text = text.get(statement.range.clone()).unwrap_or_default();
    text.windows(word.len())
        .any(|part| part.eq_ignore_ascii_case(word))
}

fn characters(text: &[u8]) -> usize {
    std::str::from_utf8(text).map_or(text.len(), |text| text.chars().count())
}

fn part(text: &[u8], before: usize, statements: usize) -> Option<Part> {
    let mut frame = BytesMut::with_capacity(HEADER_BYTES + text.len() + 1);
    build::query(&mut frame, text).ok()?;
    Some(Part {
        frame,
        before,
        statements,
    })
}

impl Session {
    /// Begins to send a Query in parts, or cuts one of them again. The message is consumed.
    pub(crate) fn send_in_parts(
        &mut self,
        cut: &Cut,
        statements: usize,
        header: Header,
        input: &mut BytesMut,
        out: &mut Out,
    ) -> Result<(), Ended> {
        let body = input.get(HEADER_BYTES..header.frame()).unwrap_or_default();
        let text = frontend::query(body).unwrap_or_default();
        let (first, rest) = text.split_at(cut.at.min(text.len()));
        let is_new = self.parts.is_none();
        let parts = self.parts.get_or_insert_default();
        let before = parts.before;
        let behind = before + characters(first);
        // Parts of a message are shorter than the message.
        let rest = part(rest, behind, statements.saturating_sub(cut.index));
        let first = part(first, before, cut.index);
        for part in [rest, first].into_iter().flatten() {
            parts.waiting.push_front(part);
        }
        if cut.wraps && parts.wrap == Wrap::None {
            parts.wrap = Wrap::Wanted;
        }
        let checks = is_new && self.status != TransactionStatus::InTransaction;
        if checks {
            // PostgreSQL reads the whole text before it runs any of it. A transaction of the client's would fail of it.
            self.inject_text(Purpose::Syntax, text, out);
        }
        self.client_rest = Rest::Drop(header.frame());
        self.client_rest(input, out);
        if checks {
            return Ok(());
        }
        self.advance_parts(out)
    }

    /// Sends the next part, once nothing is outstanding.
    pub(crate) fn advance_parts(&mut self, out: &mut Out) -> Result<(), Ended> {
        while self.may_advance() {
            if self.unsettled {
                self.drain(crate::session::Wish::LookAgain, out)?;
                continue;
            }
            if let Some(error) = self.failed_probe.take() {
                out.to_client.unsplit(error);
                self.fail_parts();
                self.withheld_ready = true;
                if !self.end_parts(out) {
                    self.release_ready(out);
                }
                return Ok(());
            }
            let Some(parts) = &mut self.parts else {
                return Ok(());
            };
            if parts.wrap == Wrap::Wanted {
                parts.wrap = Wrap::Open;
                self.inject(Purpose::Open, true, out);
                return Ok(());
            }
            let Some(mut part) = parts.waiting.pop_front() else {
                return Ok(());
            };
            (parts.before, parts.statements) = (part.before, part.statements);
            let header = match Header::peek(&part.frame, Sender::Frontend) {
                Ok(Some(header)) => header,
                Ok(None) | Err(_) => return Ok(()),
            };
            self.on_query(header, &mut part.frame, out)?;
            if !part.frame.is_empty()
                && let Some(parts) = &mut self.parts
            {
                parts.waiting.push_front(part);
            }
        }
        Ok(())
    }

    fn may_advance(&self) -> bool {
        self.parts
            .as_ref()
            .is_some_and(|parts| !parts.waiting.is_empty())
            && matches!(self.hold, Hold::Free)
            && self.is_drained()
    }

    /// Characters of the client's text in front of what is sent now.
    pub(crate) fn sent_before(&self) -> usize {
        self.parts.as_ref().map_or(0, |parts| parts.before)
    }

    /// The part that runs has failed: the rest is not sent.
    pub(crate) fn fail_parts(&mut self) {
        if let Some(parts) = &mut self.parts {
            parts.waiting.clear();
            parts.complete = None;
            parts.failed = true;
        }
    }

    /// True if this CommandComplete, the statement's number counted from 1, must wait for our COMMIT.
    pub(crate) fn keeps_complete(&self, statement: usize) -> bool {
        self.parts.as_ref().is_some_and(|parts| {
            parts.wrap == Wrap::Open && parts.waiting.is_empty() && parts.statements == statement
        })
    }

    pub(crate) fn keep_complete(&mut self, frame: BytesMut) {
        if let Some(parts) = &mut self.parts {
            parts.complete = Some(frame);
        }
    }

    /// True while a ReadyForQuery is not the client's.
    pub(crate) fn has_waiting_parts(&self) -> bool {
        self.parts
            .as_ref()
            .is_some_and(|parts| !parts.waiting.is_empty())
    }

    /// The last part is done, or one has failed. True if our transaction must end first: ReadyForQuery waits for that.
    pub(crate) fn end_parts(&mut self, out: &mut Out) -> bool {
        let Some(parts) = &self.parts else {
            return false;
        };
        match (parts.wrap, parts.failed) {
            (Wrap::Open, false) => {
                self.withheld_ready = true;
                self.scope.unwind();
                self.inject(Purpose::Commit, true, out);
                true
            }
            (Wrap::Open, true) if self.status != TransactionStatus::Idle => {
                self.withheld_ready = true;
                self.inject(Purpose::Abandon, true, out);
                true
            }
            _ => {
                self.parts = None;
                false
            }
        }
    }

    /// The whole text was shown to the server, which runs none of it so.
    pub(crate) fn syntax_checked(&mut self, injection: Injection, out: &mut Out) {
        let Some(error) = injection.into_error().filter(|error| !is_for_number(error)) else {
            return;
        };
        out.to_client.unsplit(error);
        self.parts = None;
        self.withheld_ready = true;
        self.release_ready(out);
    }

    /// BEGIN of ours.
    pub(crate) fn opened(&mut self, injection: Injection, out: &mut Out) {
        if let Some(error) = injection.into_error() {
            out.to_client.unsplit(error);
            self.parts = None;
            self.withheld_ready = true;
            self.release_ready(out);
        }
    }

    /// COMMIT or ROLLBACK of ours: from here on it is as if the client's implicit transaction had ended.
    pub(crate) fn closed(&mut self, injection: Injection, commits: bool, out: &mut Out) {
        let complete = self.parts.take().and_then(|parts| parts.complete);
        let error = injection.into_error();
        self.changes.rolled_back = !commits || error.is_some();
        match error {
            Some(error) => {
                let translated = self.translated(&error);
                out.to_client.unsplit(translated.unwrap_or(error));
            }
            None => {
                if let Some(complete) = complete.filter(|_| commits) {
                    out.to_client.unsplit(complete);
                }
            }
        }
        self.scope.settle();
        self.statements.close_all_if(true);
        self.withheld_ready = true;
        if !(self.is_installed() && self.after_ready(out)) {
            self.release_ready(out);
        }
    }

    /// An error of the server in the client's terms, if it is not in these already.
    fn translated(&mut self, error: &BytesMut) -> Option<BytesMut> {
        let mut fields = Fields::read(error.get(HEADER_BYTES..)?).ok()?;
        let mut frame = BytesMut::new();
        let changed = self.translate(&mut fields);
        (changed && build::fields(&mut frame, b'E', &fields).is_ok()).then_some(frame)
    }
}

/// "cannot insert multiple commands into a prepared statement": what a good text of several statements fails with.
fn is_for_number(error: &BytesMut) -> bool {
    let fields = error.get(HEADER_BYTES..).map(Fields::read);
    matches!(fields, Some(Ok(fields)) if fields.get(b'R') == Some(b"exec_parse_message".as_slice()))
}
