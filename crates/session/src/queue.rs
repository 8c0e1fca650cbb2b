//! Which replies are outstanding, in order, and how each is to be read.

use std::collections::VecDeque;
use std::sync::Arc;

use rewrite::{Refusal, Reply};

use crate::cache::Planned;
use crate::refuse::Tried;
use crate::statements::Undo;

/// What was sent, and with it the replies that follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Ends with ReadyForQuery, after an error too.
    Query,
    /// FunctionCall; ends like a Query.
    Call,
    /// Nothing but ReadyForQuery (and an error of the commit before it).
    Sync,
    Parse,
    Bind,
    /// Statement or portal: ends with RowDescription or NoData.
    Describe,
    Execute,
    Close,
}

impl Kind {
    /// An error in one of these makes the server ignore all that follows up to the next Sync.
    pub fn is_extended(self) -> bool {
        !matches!(self, Self::Query | Self::Call | Self::Sync)
    }
}

/// One message sent to the server whose replies have not all come yet.
#[derive(Debug)]
pub(crate) struct Entry {
    pub kind: Kind,
    /// How replies are translated; `None`: not at all.
    pub planned: Option<Arc<Planned>>,
    /// Statement of `planned` that the next reply belongs to.
    pub statement: usize,
    /// For an Execute of a portal without a plan of its own.
    pub reply: Reply,
    /// The statement was sent to fail; this is what the client reads.
    pub refusal: Option<Arc<Refusal>>,
    /// Character of the client's text that the refusal is about, from 1.
    pub refused_at: Option<u32>,
    /// The client's own statement, sent before the one that fails.
    pub tried: Option<Tried>,
    /// What to put back should the server not do this.
    pub undo: Option<Undo>,
    /// Sent on our own account: replies are not for the client, errors are.
    pub ours: bool,
    /// A CommandComplete or an error came.
    pub answered: bool,
    /// The client sent CopyDone or CopyFail after this.
    pub copy_ended: bool,
    /// Characters of the client's text in front of what was sent of it.
    pub before: usize,
}

impl Entry {
    pub fn new(kind: Kind) -> Self {
        Self {
            kind,
            planned: None,
            statement: 0,
            reply: Reply::AsIs,
            refusal: None,
            refused_at: None,
            tried: None,
            undo: None,
            ours: false,
            answered: false,
            copy_ended: false,
            before: 0,
        }
    }

    pub fn planned(mut self, planned: Option<Arc<Planned>>) -> Self {
        self.planned = planned;
        self
    }

    pub fn undo(mut self, undo: Undo) -> Self {
        self.undo = Some(undo);
        self
    }

    pub fn before(mut self, characters: usize) -> Self {
        self.before = characters;
        self
    }

    pub fn ours(mut self) -> Self {
        self.ours = true;
        self
    }

    pub fn refused(kind: Kind, refusal: Arc<Refusal>) -> Self {
        Self {
            refusal: Some(refusal),
            ..Self::new(kind)
        }
    }
}

#[derive(Debug, Default)]
pub(crate) struct ReplyQueue {
    entries: VecDeque<Entry>,
}

impl ReplyQueue {
    pub fn push(&mut self, entry: Entry) {
        self.entries.push_back(entry);
    }

    pub fn head(&mut self) -> Option<&mut Entry> {
        self.entries.front_mut()
    }

    pub fn pop(&mut self) -> Option<Entry> {
        self.entries.pop_front()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// The client ended a COPY that the server has not begun yet, as far as we know.
    pub fn note_copy_end(&mut self) {
        if let Some(entry) = self.entries.back_mut() {
            entry.copy_ended = true;
        }
    }

    /// The head has begun to read COPY data from the client: the server ignores each Sync that it
    /// finds before the end of the data. True if that end has not been sent yet.
    pub fn begin_copy_in(&mut self) -> bool {
        let mut index = 0;
        while let Some(entry) = self.entries.get(index) {
            let ended = entry.copy_ended;
            if index > 0 && entry.kind == Kind::Sync {
                self.entries.remove(index);
            } else {
                index += 1;
            }
            if ended {
                return false;
            }
        }
        true
    }

    /// Takes away what the server ignores after an error: everything before the next Sync. Newest
    /// first. The second value is false if no Sync has been sent.
    pub fn skip_to_sync(&mut self) -> (Vec<Entry>, bool) {
        let sync = self
            .entries
            .iter()
            .position(|entry| entry.kind == Kind::Sync);
        let skipped = self
            .entries
            .drain(..sync.unwrap_or(self.entries.len()))
            .rev()
            .collect();
        (skipped, sync.is_some())
    }
}
