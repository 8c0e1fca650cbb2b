//! One statement into edits: rows that were deleted and columns that are ours do not exist for the
//! client.
//!
//! First the outline: which tokens are clauses, relations, aliases, queries within queries
//! (`utility`, `query`, `from`, `dml`). Then what the client's names ask of the tables found
//! (`resolve`). Then, table by table, a condition or a subquery in its place (`emit`, `mark`). It
//! reads tokens, not the syntax tree: the tree does not know where clauses begin and end, and what
//! the normaliser leaves out of it must be seen here all the same. What the tree knows better, the
//! relations in it, is held against the outline (`check`).

mod check;
mod cloak;
mod definition;
mod dml;
mod emit;
mod from;
mod joins;
mod json;
mod mark;
mod outline;
mod query;
mod refuse;
mod resolve;
mod row;
mod row_type;
mod tree;
mod utility;

use std::ops::Range;
use std::sync::Arc;

use catalog::{Resolved, Show, Table};
use sqlparser::ast::Statement;

use crate::lex::{TokenKind, Tokens};
use crate::{ClientEncoding, Edits, Refusal, Reply, Scope};

use dml::{BySource, Deletion, Unlisted};
pub(crate) use mark::quoted_statement;
use outline::Outline;
pub(crate) use row_type::names_row_type;
use tree::{Ctes, Entry, EntryId, EntryKind, Level, LevelId};

/// PostgreSQL's own stack holds a few thousand; nobody writes a hundred.
const QUERIES_NESTED_MAX: usize = 100;

/// Adds the edits for the statement in `range` of `tokens`, without its semicolon; `parsed` is its
/// tree. For PREPARE the reply is that of EXECUTE.
///
/// # Errors
/// Tombstones or our columns cannot be kept out of it exactly.
pub(crate) fn statement(
    parsed: &Statement,
    tokens: &Tokens<'_>,
    range: Range<usize>,
    scope: &Scope<'_>,
    edits: &mut Edits,
) -> Result<Reply, Refusal> {
    if has_junk(tokens, range.clone()) && scope.catalog.server_version() >= 150_000 {
        return Ok(Reply::AsIs);
    }
    let mut walk = Walk::new(tokens, range.clone(), scope)?;
    walk.top(range.clone())?;
    if let Some(table) = walk.entries.iter().find_map(|entry| entry.table.clone()) {
        walk.only_live(&table)?;
    }
    let is_ours = |name: &str| scope.catalog.veils_name(name);
    if walk.reads
        && let Some(token) = check::unseen(parsed, tokens, &walk.relations, is_ours)
    {
        return Err(walk.unread(token));
    }
    if walk
        .entries
        .iter()
        .any(|entry| entry.table.is_some() || entry.cloak.is_some())
    {
        walk.wrapped = vec![false; walk.entries.len()];
        walk.filtered = vec![false; walk.entries.len()];
        walk.rows_in_place = vec![false; walk.entries.len()];
        walk.resolve_names()?;
        walk.emit()?;
    }
    walk.emit_calls(range.clone());
    walk.emit_types(range)?;
    if let Some(token) = walk.beyond_ascii {
        return Err(refuse::encoding(tokens, token));
    }
    let reply = match (walk.marked_top && !walk.tag_is_theirs, walk.marked) {
        (true, _) => Reply::Delete,
        (false, true) => Reply::Messages,
        (false, false) => Reply::AsIs,
    };
    for change in walk.changes {
        change.apply(edits);
    }
    Ok(reply)
}

/// The same for a statement that touches no rows through us and is not parsed: nothing is changed
/// in it.
///
/// # Errors
/// It names a column that does not exist for the client, or must not come to be.
pub(crate) fn definition(
    tokens: &Tokens<'_>,
    range: Range<usize>,
    scope: &Scope<'_>,
) -> Result<Reply, Refusal> {
    Walk::new(tokens, range.clone(), scope)?.no_hidden_column(range)?;
    Ok(Reply::AsIs)
}

/// True if a word begins right behind a number: since PostgreSQL 15 the whole text is an error,
/// which an insertion of ours between the two would heal.
fn has_junk(tokens: &Tokens<'_>, range: Range<usize>) -> bool {
    range.clone().zip(range.skip(1)).any(|(first, second)| {
        matches!(
            tokens.kind(first),
            Some(TokenKind::Number | TokenKind::Parameter)
        ) && tokens.kind(second) == Some(TokenKind::Word)
            && tokens.span(first..first + 1).end == tokens.span(second..second + 1).start
    })
}

/// One edit, kept back until the whole statement is known to be served.
#[derive(Debug)]
enum Change {
    Before(usize, String),
    Behind(usize, String),
    Replace(Range<usize>, String),
}

impl Change {
    fn apply(self, edits: &mut Edits) {
        match self {
            Self::Before(offset, text) => edits.insert_before(offset, &text),
            Self::Behind(offset, text) => edits.insert_after(offset, &text),
            Self::Replace(range, text) => edits.replace(range, &text),
        }
    }
}

#[derive(Debug)]
struct Walk<'a> {
    outline: Outline<'a>,
    scope: &'a Scope<'a>,
    levels: Vec<Level>,
    entries: Vec<Entry>,
    /// For each token of the statement the innermost level it belongs to.
    level_of: Vec<Option<LevelId>>,
    /// For each token of the statement: known to be a relation, an alias or a label.
    taken: Vec<bool>,
    relations: Vec<usize>,
    deletions: Vec<Deletion>,
    /// Rows of a table that is not marked are deleted, too.
    deletes_elsewhere: bool,
    /// Targets of INSERT and UPDATE, those of MERGE included.
    writes: Vec<EntryId>,
    unlisted: Vec<Unlisted>,
    by_source: Vec<BySource>,
    /// `TABLE t`: the keyword and the table.
    table_commands: Vec<(usize, EntryId)>,
    depth: usize,
    /// For each entry: it becomes a subquery.
    wrapped: Vec<bool>,
    /// For each entry: a join around it filters it.
    filtered: Vec<bool>,
    /// NATURAL joins that are written as joins with USING, by that word.
    spelled: Vec<usize>,
    /// For each entry: its whole row is written where it is used.
    rows_in_place: Vec<bool>,
    changes: Vec<Change>,
    marked: bool,
    marked_top: bool,
    /// EXPLAIN, COPY: the command tag does not depend on what is inside.
    tag_is_theirs: bool,
    /// False for statements that name relations and return no rows of them.
    reads: bool,
    /// What is read is kept as a definition, of a view: it must not depend on what is ours.
    is_stored: bool,
    /// CREATE TABLE ... AS, SELECT ... INTO: what is read becomes a table.
    keeps: bool,
    /// Where INSERT, UPDATE, DELETE, MERGE or COPY FROM stands.
    modifies: Option<usize>,
    /// Tokens at which a type begins, as far as only the outline knows.
    types: Vec<usize>,
    /// Where text beyond ASCII would have to be written, and the client's encoding is not UTF-8.
    beyond_ascii: Option<usize>,
}

impl<'a> Walk<'a> {
    fn new(
        tokens: &'a Tokens<'a>,
        range: Range<usize>,
        scope: &'a Scope<'a>,
    ) -> Result<Self, Refusal> {
        let length = range.len();
        Ok(Self {
            outline: Outline::new(tokens, range)?,
            scope,
            levels: Vec::new(),
            entries: Vec::new(),
            level_of: vec![None; length],
            taken: vec![false; length],
            relations: Vec::new(),
            deletions: Vec::new(),
            deletes_elsewhere: false,
            writes: Vec::new(),
            unlisted: Vec::new(),
            by_source: Vec::new(),
            table_commands: Vec::new(),
            depth: 0,
            wrapped: Vec::new(),
            filtered: Vec::new(),
            spelled: Vec::new(),
            rows_in_place: Vec::new(),
            changes: Vec::new(),
            marked: false,
            marked_top: false,
            tag_is_theirs: false,
            reads: true,
            is_stored: false,
            keeps: false,
            modifies: None,
            types: Vec::new(),
            beyond_ascii: None,
        })
    }

    /// The veiled table that a dotted name means, if it means one.
    fn resolve(
        &mut self,
        name: &Range<usize>,
        ctes: &Ctes,
        kind: EntryKind,
    ) -> Result<Option<Arc<Table>>, Refusal> {
        self.relations.push(name.end - 1);
        let Some(table) = self.outline.name(name.end - 1) else {
            return Ok(None);
        };
        let schema = if name.len() > 1 {
            match self.outline.name(name.end - 3) {
                Some(schema) => Some(schema),
                None => return Ok(None),
            }
        } else {
            None
        };
        // The target of INSERT, UPDATE, DELETE, MERGE is never a common table expression.
        if schema.is_none() && kind == EntryKind::Source && ctes.contains(&table) {
            return Ok(None);
        }
        let Scope {
            catalog,
            search_path,
            ..
        } = self.scope;
        Ok(
            match catalog.resolve(schema.as_deref(), &table, search_path) {
                Resolved::Enabled(table) if table.is_veiled() => Some(table),
                Resolved::Enabled(_) | Resolved::Other => None,
            },
        )
    }

    /// The table in mode `bin` that a dotted name means, if it means one.
    fn resolve_bin(&self, name: &Range<usize>, ctes: &Ctes) -> Option<Arc<Table>> {
        let table = self.outline.name(name.end - 1)?;
        let schema = match name.len() {
            1 => None,
            _ => Some(self.outline.name(name.end - 3)?),
        };
        if schema.is_none() && ctes.contains(&table) {
            return None;
        }
        let path = self.scope.search_path;
        match self.scope.catalog.resolve(schema.as_deref(), &table, path) {
            Resolved::Enabled(table) if !table.is_veiled() => Some(table),
            Resolved::Enabled(_) | Resolved::Other => None,
        }
    }

    /// While a session is shown deleted rows it only reads, and nothing that it reads is kept.
    fn only_live(&self, table: &Table) -> Result<(), Refusal> {
        match self.scope.search_path.show {
            Show::Live => return Ok(()),
            Show::Forbidden => return Err(refuse::no_viewer()),
            Show::Invalid => return Err(refuse::no_such_show()),
            Show::Deleted | Show::All if self.modifies.is_none() && !self.keeps => return Ok(()),
            Show::Deleted | Show::All => {}
        }
        let at = self.modifies.unwrap_or(self.outline.range.start);
        Err(refuse::shows_deleted(self.outline.tokens, at, table))
    }

    fn unread(&self, token: usize) -> Refusal {
        refuse::unread(self.outline.tokens, token)
    }

    /// Notes that a token is no expression.
    fn take(&mut self, token: usize) {
        if let Some(taken) = self
            .taken
            .get_mut(token.wrapping_sub(self.outline.range.start))
        {
            *taken = true;
        }
    }

    /// The client's tokens of a dotted name, without what lies between them.
    fn text(&self, range: Range<usize>) -> Result<String, Refusal> {
        range
            .clone()
            .map(|token| self.text_with_space(token..token + 1))
            .collect()
    }

    /// The client's bytes of these tokens.
    fn text_with_space(&self, range: Range<usize>) -> Result<String, Refusal> {
        mark::span_text(self.outline.tokens, range.clone())
            .ok_or_else(|| refuse::encoding(self.outline.tokens, range.start))
    }

    fn byte(&self, offset: Option<usize>) -> Option<u8> {
        self.outline.tokens.text().get(offset?).copied()
    }

    fn note(&mut self, token: usize, text: &str) {
        if !text.is_ascii() && self.scope.encoding != ClientEncoding::Utf8 {
            self.beyond_ascii.get_or_insert(token);
        }
    }

    fn insert_before(&mut self, token: usize, text: &str) {
        self.note(token, text);
        let start = self.outline.tokens.span(token..token + 1).start;
        let joined = glues_left(self.byte(start.checked_sub(1)));
        self.changes
            .push(Change::Before(start, spaced(joined, text, false)));
    }

    fn insert_behind(&mut self, token: usize, text: &str) {
        self.note(token, text);
        let end = self.outline.tokens.span(token..token + 1).end;
        let joined = glues_right(self.byte(Some(end)));
        self.changes
            .push(Change::Behind(end, spaced(false, text, joined)));
    }

    /// The same for a closing parenthesis, which glues to nothing.
    fn insert_right_behind(&mut self, token: usize, text: &str) {
        let end = self.outline.tokens.span(token..token + 1).end;
        self.changes.push(Change::Behind(end, text.to_string()));
    }

    fn replace(&mut self, tokens: Range<usize>, text: &str) {
        self.note(tokens.start, text);
        let span = self.outline.tokens.span(tokens);
        let left = !text.is_empty() && glues_left(self.byte(span.start.checked_sub(1)));
        let right = !text.is_empty() && glues_right(self.byte(Some(span.end)));
        self.changes
            .push(Change::Replace(span, spaced(left, text, right)));
    }
}

fn glues_left(byte: Option<u8>) -> bool {
    byte.is_some_and(|byte| !byte.is_ascii_whitespace() && !b"([,".contains(&byte))
}

fn glues_right(byte: Option<u8>) -> bool {
    byte.is_some_and(|byte| !byte.is_ascii_whitespace() && !b")],;:".contains(&byte))
}

fn spaced(left: bool, text: &str, right: bool) -> String {
    format!(
        "{}{text}{}",
        if left { " " } else { "" },
        if right { " " } else { "" }
    )
}
