//! Prepared statements and portals of one connection.

use std::collections::{HashMap as StandardMap, HashSet};
use std::sync::Arc;

use catalog::Generation;
use rewrite::Reply;

use crate::betrayals::find;
use crate::cache::Planned;

/// Names and texts of all prepared statements of one session, in bytes.
pub(crate) const PREPARED_BYTES_MAX: usize = 64 << 20;

type HashMap<K, V> = StandardMap<K, V, foldhash::fast::RandomState>;

/// Portals that wait to be executed, by name.
const BOUND_MAX: usize = 1000;

/// What an entry costs besides its name and text, about.
const ENTRY_BYTES: usize = 128;

/// A statement prepared by a Parse message, as the client wrote it.
#[derive(Debug)]
pub(crate) struct Prepared {
    /// `None`: too long to be kept, sent as it came.
    pub text: Option<Box<[u8]>>,
    /// Count and OIDs of the parameter types as they came.
    pub types: Box<[u8]>,
    pub planned: Option<Arc<Planned>>,
    pub generation: Generation,
    /// Fingerprint of the columns of its tables, as the client sees them; 0 if it has none.
    pub columns: u64,
    /// The scope it was planned in, if the plan depends on that.
    pub scope: Option<u64>,
    /// It was to be parsed anew and could not be: the server has no statement of that name any more.
    pub is_lost: bool,
    /// It was parsed anew, and whether that went well is not known yet.
    pub is_unsure: bool,
}

impl Prepared {
    /// True if the statement may return other columns than the older one did: a `*` in it stands
    /// for other columns now. An INSERT without RETURNING returns none.
    pub fn shape_differs(&self, older: &Self) -> bool {
        let text = self
            .text
            .as_deref()
            .unwrap_or_default()
            .to_ascii_lowercase();
        let returns =
            !text.trim_ascii_start().starts_with(b"insert") || find(&text, b"returning").is_some();
        self.columns != 0
            && older.columns != 0
            && self.columns != older.columns
            && text.contains(&b'*')
            && returns
    }

    fn same(&self) -> Self {
        Self {
            text: self.text.clone(),
            types: self.types.clone(),
            planned: self.planned.clone(),
            ..*self
        }
    }

    /// The same, gone from the server.
    pub fn lost(&self) -> Self {
        Self {
            is_lost: true,
            is_unsure: false,
            ..self.same()
        }
    }

    /// The same, and the server has it.
    pub fn sure(&self) -> Self {
        Self {
            is_unsure: false,
            ..self.same()
        }
    }

    fn bytes(&self, name: &[u8]) -> usize {
        ENTRY_BYTES + name.len() + self.types.len() + self.text.as_ref().map_or(0, |t| t.len())
    }
}

/// A statement of SQL PREPARE.
#[derive(Debug, Clone)]
pub(crate) struct SqlPrepared {
    /// The whole `PREPARE name AS ...` as the client wrote it.
    pub prepared: Arc<Prepared>,
    /// As it was sent.
    pub sent: Box<[u8]>,
    /// How EXECUTE of it is answered.
    pub reply: Reply,
    /// As [`Prepared::is_lost`].
    pub is_lost: bool,
}

impl SqlPrepared {
    fn bytes(&self, name: &[u8]) -> usize {
        self.prepared.bytes(name) + self.sent.len()
    }
}

/// What stood under a name before a message that may yet fail.
#[derive(Debug)]
pub(crate) struct Undo {
    pub name: Box<[u8]>,
    pub previous: Option<Arc<Prepared>>,
}

/// What a portal will answer.
#[derive(Debug, Clone, Default)]
pub(crate) struct Portal {
    pub planned: Option<Arc<Planned>>,
    pub reply: Reply,
}

impl Portal {
    fn is_plain(&self) -> bool {
        self.planned.is_none() && self.reply == Reply::AsIs
    }
}

#[derive(Debug, Default)]
pub(crate) struct Statements {
    unnamed: Option<Arc<Prepared>>,
    named: HashMap<Box<[u8]>, Arc<Prepared>>,
    /// By SQL PREPARE. The names share one space with those above.
    sql: HashMap<Box<[u8]>, SqlPrepared>,
    unnamed_portal: Portal,
    /// Only those that need a translation or have an effect.
    portals: HashMap<Box<[u8]>, Portal>,
    /// Bound and not executed: planned, but without a snapshot that is sure to be used.
    bound: Bound,
    bytes: usize,
}

/// Names of portals. Of very many only that they are there, until the transaction is over.
#[derive(Debug, Default)]
struct Bound {
    unnamed: bool,
    named: HashSet<Box<[u8]>>,
    too_many: bool,
}

impl Bound {
    fn add(&mut self, portal: &[u8]) {
        match portal {
            b"" => self.unnamed = true,
            _ if self.named.len() >= BOUND_MAX => self.too_many = true,
            name => {
                self.named.insert(name.into());
            }
        }
    }

    fn clear(&mut self) {
        self.unnamed = false;
        self.too_many = false;
        // An idle session keeps no room for many.
        if !self.named.is_empty() {
            self.named = HashSet::default();
        }
    }

    fn remove(&mut self, portal: &[u8]) {
        match portal {
            b"" => self.unnamed = false,
            name => {
                self.named.remove(name);
            }
        }
    }
}

impl Statements {
    pub fn get(&self, name: &[u8]) -> Option<&Arc<Prepared>> {
        match name {
            b"" => self.unnamed.as_ref(),
            name => self.named.get(name),
        }
    }

    /// True if a statement of that size may still be kept.
    pub fn has_room_for(&self, bytes: usize) -> bool {
        self.bytes.saturating_add(bytes) <= PREPARED_BYTES_MAX
    }

    /// Puts `prepared` under a name; what was there is in the [`Undo`].
    pub fn set(&mut self, name: &[u8], prepared: Option<Arc<Prepared>>) -> Undo {
        let added = prepared.as_ref().map_or(0, |prepared| prepared.bytes(name));
        let previous = match (name, prepared) {
            (b"", prepared) => std::mem::replace(&mut self.unnamed, prepared),
            (name, Some(prepared)) => self.named.insert(name.into(), prepared),
            (name, None) => self.named.remove(name),
        };
        let removed = previous.as_ref().map_or(0, |previous| previous.bytes(name));
        self.bytes = (self.bytes + added).saturating_sub(removed);
        Undo {
            name: name.into(),
            previous,
        }
    }

    /// The server did not get to do what this undoes.
    pub fn undo(&mut self, undo: Undo) {
        self.set(&undo.name, undo.previous);
    }

    /// A Query message drops the unnamed statement and the unnamed portal.
    pub fn forget_unnamed(&mut self) {
        self.set(b"", None);
        self.close(b"");
    }

    pub fn prepare_sql(&mut self, name: &str, new: SqlPrepared) {
        self.bytes += new.bytes(name.as_bytes());
        if let Some(old) = self.sql.insert(name.as_bytes().into(), new) {
            self.bytes = self.bytes.saturating_sub(old.bytes(name.as_bytes()));
        }
    }

    pub fn sql(&self, name: &[u8]) -> Option<&SqlPrepared> {
        self.sql.get(name)
    }

    /// Names of the statements that EXECUTE may run.
    pub fn names(&self) -> impl Iterator<Item = &[u8]> {
        self.sql.keys().chain(self.named.keys()).map(AsRef::as_ref)
    }

    /// How EXECUTE of that name is answered.
    pub fn reply_of(&self, name: &[u8]) -> Reply {
        if let Some(sql) = self.sql.get(name) {
            return sql.reply;
        }
        let planned = self
            .get(name)
            .and_then(|prepared| prepared.planned.as_ref());
        planned
            .and_then(|planned| planned.plan.statements.first())
            .map_or(Reply::AsIs, |s| s.reply)
    }

    /// DEALLOCATE; `None`: all.
    pub fn deallocate(&mut self, name: Option<&str>) {
        let Some(name) = name.map(str::as_bytes) else {
            self.named.clear();
            self.sql.clear();
            self.bytes = self
                .unnamed
                .as_ref()
                .map_or(0, |prepared| prepared.bytes(b""));
            return;
        };
        self.set(name, None);
        if let Some(old) = self.sql.remove(name) {
            self.bytes = self.bytes.saturating_sub(old.bytes(name));
        }
    }

    /// True if a portal was bound and is still to be executed.
    pub fn awaits_execute(&self) -> bool {
        self.bound.unnamed || self.bound.too_many || !self.bound.named.is_empty()
    }

    /// Execute.
    pub fn executed(&mut self, portal: &[u8]) {
        self.bound.remove(portal);
    }

    /// Bind: the portal answers as its statement does.
    pub fn open(&mut self, portal: &[u8], statement: &[u8]) {
        self.bound.add(portal);
        let new = Portal {
            planned: self
                .get(statement)
                .and_then(|prepared| prepared.planned.clone()),
            reply: self
                .sql
                .get(statement)
                .map(|sql| sql.reply)
                .unwrap_or_default(),
        };
        match portal {
            b"" => self.unnamed_portal = new,
            name if new.is_plain() => self.forget_portal(name),
            name => {
                self.bytes += ENTRY_BYTES + name.len();
                if self.portals.insert(name.into(), new).is_some() {
                    self.bytes -= ENTRY_BYTES + name.len();
                }
            }
        }
    }

    pub fn close(&mut self, portal: &[u8]) {
        self.bound.remove(portal);
        self.forget_portal(portal);
    }

    fn forget_portal(&mut self, portal: &[u8]) {
        match portal {
            b"" => self.unnamed_portal = Portal::default(),
            name => {
                if self.portals.remove(name).is_some() {
                    self.bytes = self.bytes.saturating_sub(ENTRY_BYTES + name.len());
                }
            }
        }
    }

    pub fn portal(&self, name: &[u8]) -> Portal {
        match name {
            b"" => self.unnamed_portal.clone(),
            name => self.portals.get(name).cloned().unwrap_or_default(),
        }
    }

    /// The transaction is over, and with it every portal that was opened in it: all of them, if
    /// nothing was sent since.
    pub fn close_all_if(&mut self, nothing_was_sent: bool) {
        if !nothing_was_sent {
            return;
        }
        self.unnamed_portal = Portal::default();
        self.bound.clear();
        for (name, _) in self.portals.drain() {
            self.bytes = self.bytes.saturating_sub(ENTRY_BYTES + name.len());
        }
    }
}
