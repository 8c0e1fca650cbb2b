//! The statement as a whole: what wraps a query (EXPLAIN, PREPARE, DECLARE, CREATE ... AS), COPY,
//! and statements that only name a table.

use std::ops::Range;

use crate::Refusal;
use crate::lex::TokenKind;

use super::dml::STATEMENTS;
use super::mark::copied_columns;
use super::tree::{Ctes, EntryKind, hides};
use super::{Walk, refuse};

/// Statements that name tables and return no rows of them.
const UTILITIES: &[&str] = &[
    "abort",
    "alter",
    "analyse",
    "analyze",
    "begin",
    "checkpoint",
    "close",
    "cluster",
    "comment",
    "commit",
    "deallocate",
    "discard",
    "do",
    "drop",
    "end",
    "execute",
    "fetch",
    "grant",
    "import",
    "listen",
    "load",
    "lock",
    "move",
    "notify",
    "reassign",
    "refresh",
    "reindex",
    "release",
    "reset",
    "revoke",
    "rollback",
    "savepoint",
    "security",
    "set",
    "show",
    "start",
    "truncate",
    "unlisten",
    "vacuum",
];

impl Walk<'_> {
    pub(super) fn top(&mut self, range: Range<usize>) -> Result<(), Refusal> {
        let Range { start, end } = range;
        if start >= end {
            return Ok(());
        }
        let outline = &self.outline;
        if outline.opens(start)
            || outline.one_of(start, &["select", "with", "values", "table"])
            || outline.one_of(start, STATEMENTS)
        {
            return self.main(range, &Ctes::default());
        }
        match () {
            () if outline.word(start, "explain") => self.explain(range),
            () if outline.word(start, "prepare") => self.prepare(range),
            () if outline.word(start, "declare") => self.declare(range),
            () if outline.word(start, "copy") => self.copy(range),
            () if outline.word(start, "create") => self.create(range),
            () if outline.word(start, "call") => {
                let level = self.level(range.clone(), None);
                self.expressions(range, level, &Ctes::default())
            }
            () if outline.one_of(start, UTILITIES) => {
                self.reads = false;
                self.no_hidden_column(range.clone())?;
                self.no_query_in(range, "a statement")
            }
            () => Err(self.unread(start)),
        }
    }

    /// `[WITH ...] SELECT | VALUES | TABLE | INSERT | UPDATE | DELETE | MERGE`
    fn main(&mut self, range: Range<usize>, ctes: &Ctes) -> Result<(), Refusal> {
        let (_, verb) = self.peek_with(range.clone())?;
        if self.outline.one_of(verb, STATEMENTS) {
            let (ctes, start) = self.with(range.clone(), ctes, None)?;
            return self.data_modification(start..range.end, &ctes, None, true);
        }
        self.query(range, ctes, None)
    }

    /// The same where PostgreSQL takes no INSERT, UPDATE, DELETE or MERGE: its error names the client's words.
    fn reading(&mut self, range: Range<usize>, ctes: &Ctes) -> Result<(), Refusal> {
        let (_, verb) = self.peek_with(range.clone())?;
        if self.outline.one_of(verb, STATEMENTS) {
            self.reads = false;
            return Ok(());
        }
        self.query(range, ctes, None)
    }

    /// The tag is EXPLAIN, whatever is explained.
    fn explain(&mut self, range: Range<usize>) -> Result<(), Refusal> {
        let mut at = range.start + 1;
        if self.outline.opens(at) && !self.outline.is_query(at, range.end) {
            at = self.outline.after(at);
        }
        while self.outline.one_of(at, &["analyze", "analyse", "verbose"]) {
            at += 1;
        }
        self.tag_is_theirs = true;
        self.top(at..range.end)
    }

    fn prepare(&mut self, range: Range<usize>) -> Result<(), Refusal> {
        let mut at = range.start + 2;
        if self.outline.opens(at) {
            for parameter in self.outline.split(at + 1, self.outline.close(at)) {
                self.note_type(parameter.start);
            }
            at = self.outline.after(at);
        }
        if !self.outline.word(at, "as") {
            // PREPARE TRANSACTION
            return Ok(());
        }
        self.main(at + 1..range.end, &Ctes::default())
    }

    fn declare(&mut self, range: Range<usize>) -> Result<(), Refusal> {
        match self
            .outline
            .find_after(range.start, range.start + 2, range.end, &["for"])
        {
            Some(at) => self.reading(at + 1..range.end, &Ctes::default()),
            None => Ok(()),
        }
    }

    fn create(&mut self, range: Range<usize>) -> Result<(), Refusal> {
        const MODIFIERS: &[&str] = &[
            "or",
            "replace",
            "temp",
            "temporary",
            "local",
            "global",
            "unlogged",
            "recursive",
            "materialized",
        ];
        let mut at = range.start + 1;
        while self.outline.one_of(at, MODIFIERS) {
            at += 1;
        }
        if self.outline.one_of(at, &["view", "table"]) {
            self.is_stored = self.outline.word(at, "view");
            self.keeps = true;
            return self.create_as(range, at);
        }
        self.reads = false;
        self.no_hidden_column(range.clone())?;
        match () {
            () if self.outline.word(at, "rule") => {
                let from = self.outline.find_after(at, at + 1, range.end, &["do"]);
                self.names_none(from.unwrap_or(at)..range.end, "a rule")?;
                self.no_query_in(range, "a rule")
            }
            () if self.outline.one_of(at, &["function", "procedure"]) => {
                let body = self
                    .outline
                    .find_after(at, at + 1, range.end, &["begin", "return"]);
                self.names_none(body.unwrap_or(range.end)..range.end, "a function")
            }
            () if self.outline.word(at, "policy") => self.no_query_in(range, "a policy"),
            () if self.outline.word(at, "schema") => {
                let view = (at..range.end).find(|&token| self.outline.word(token, "view"));
                self.names_none(
                    view.unwrap_or(range.end)..range.end,
                    "CREATE SCHEMA with a view",
                )
            }
            () => self.no_query_in(range, "a definition"),
        }
    }

    /// `CREATE TABLE | VIEW name ... AS query`; other forms of CREATE TABLE hold no query.
    fn create_as(&mut self, range: Range<usize>, kind: usize) -> Result<(), Refusal> {
        let Some(query) = self.outline.find_after(kind, kind + 1, range.end, &["as"]) else {
            self.reads = false;
            self.no_hidden_column(range.clone())?;
            return self.no_query_in(range, "a table");
        };
        let start = query + 1;
        if self.outline.word(start, "execute") {
            return Ok(());
        }
        // WITH [NO] DATA, WITH [CASCADED | LOCAL] CHECK OPTION
        let mut end = range.end;
        let mut from = start + 1;
        while let Some(with) = self.outline.find_after(start, from, range.end, &["with"]) {
            if self
                .outline
                .one_of(with + 1, &["no", "data", "cascaded", "local", "check"])
            {
                end = with;
                break;
            }
            from = with + 1;
        }
        let mut ctes = Ctes::default();
        let recursive = (range.start..kind).any(|token| self.outline.word(token, "recursive"));
        if recursive
            && let Some((parts, _)) = self.outline.dotted(kind + 1, query)
            && let Some(name) = parts.last().and_then(|&part| self.outline.name(part))
        {
            ctes = ctes.with(name);
        }
        self.reading(start..end, &ctes)
    }

    /// Refuses if a veiled table is named in the range.
    fn names_none(&mut self, range: Range<usize>, what: &str) -> Result<(), Refusal> {
        let mut at = range.start;
        while at < range.end {
            let Some((_, next)) = self.outline.dotted(at, range.end) else {
                at += 1;
                continue;
            };
            if let Some(table) = self.resolve(&(at..next), &Ctes::default(), EntryKind::Target)? {
                return Err(refuse::definition(self.outline.tokens, at, what, &table));
            }
            at = next;
        }
        Ok(())
    }

    /// Refuses if a subquery in the range names a veiled table.
    fn no_query_in(&mut self, range: Range<usize>, what: &str) -> Result<(), Refusal> {
        let mut at = range.start;
        while at < range.end {
            if self.outline.opens(at) {
                let close = self.outline.close(at);
                if self.outline.is_query(at + 1, close) {
                    self.names_none(at + 1..close, what)?;
                    at = close;
                }
            }
            at += 1;
        }
        Ok(())
    }

    fn copy(&mut self, range: Range<usize>) -> Result<(), Refusal> {
        self.tag_is_theirs = true;
        let mut at = range.start + 1;
        if self.outline.opens(at) {
            let close = self.outline.close(at);
            return self.main(at + 1..close, &Ctes::default());
        }
        let binary = self.outline.word(at, "binary") && self.outline.is_name(at + 1);
        at += usize::from(binary);
        let (reference, next) = self.reference(at, range.end)?;
        let name = reference.name;
        let Some(table) = self.resolve(&name, &Ctes::default(), EntryKind::Target)? else {
            return Ok(());
        };
        let listed = self.outline.opens(next);
        let direction = if listed {
            self.outline.after(next)
        } else {
            next
        };
        if self.outline.word(direction, "from") {
            self.modifies.get_or_insert(range.start);
        }
        self.only_live(&table)?;
        let mut columns = Vec::new();
        if listed {
            for part in self.outline.split(next + 1, self.outline.close(next)) {
                let Some(column) = self.outline.name(part.start) else {
                    return Ok(());
                };
                if hides(&table, &column) {
                    return Err(refuse::no_column_of(&column, &table));
                }
                columns.push(column);
            }
        }
        if self.outline.word(direction, "from") {
            return self.copy_from(direction..range.end, &table, (!listed).then_some(next - 1));
        }
        let is_sane = columns.iter().enumerate().all(|(index, column)| {
            let copied = |known: &catalog::Column| {
                known.name == *column && !known.generated && !known.hidden
            };
            table.columns.iter().any(copied) && !columns[..index].contains(column)
        });
        // A partitioned table, unknown or generated columns: PostgreSQL says what is wrong.
        if !self.outline.word(direction, "to") || table.kind != 'r' || !is_sane {
            return Ok(());
        }
        let list = if listed {
            let inside = next + 1..self.outline.close(next);
            self.text_with_space(inside)?
        } else {
            copied_columns(&table)
        };
        let space = if list.is_empty() { "" } else { " " };
        let from = self.text(name)?;
        let shown = self.scope.search_path.show.condition("");
        let query = format!("(SELECT {list}{space}FROM ONLY {from} WHERE {shown})");
        self.replace(range.start + 1..direction, &query);
        self.copy_options(direction + 1, range.end, binary);
        Ok(())
    }

    /// `COPY BINARY t` and `COPY t TO ... [USING] DELIMITERS '|'`: a query takes neither, but the options that they are.
    fn copy_options(&mut self, to: usize, hi: usize, binary: bool) {
        let outline = &self.outline;
        let behind = to + 1 + usize::from(outline.word(to, "program"));
        let word = behind + usize::from(outline.word(behind, "using"));
        let delimited = word + 1 < hi && outline.word(word, "delimiters");
        let options = if delimited { word + 2 } else { behind };
        let with = options < hi && outline.word(options, "with");
        let list = options + usize::from(with);
        // The delimiter stays where it is: a plan of one shape serves other literals.
        if list < hi && outline.opens(list) {
            let format = if binary { "FORMAT binary, " } else { "" };
            if delimited {
                self.replace(behind..word + 1, &format!("({format}DELIMITER"));
                self.replace(options..list + 1, ",");
            } else if binary {
                self.insert_behind(list, format);
            }
        } else if delimited {
            let word_for_it = if binary {
                "BINARY DELIMITER"
            } else {
                "DELIMITER"
            };
            self.replace(behind..word + 1, word_for_it);
            // Among the old options DELIMITER stands behind WITH, DELIMITERS in front of it.
            if with {
                self.replace(options..options + 1, "");
            }
        } else if binary {
            self.insert_behind(list - 1, " BINARY");
        }
    }

    /// COPY FROM: its values are for the columns the client knows of.
    fn copy_from(
        &mut self,
        rest: Range<usize>,
        table: &catalog::Table,
        behind: Option<usize>,
    ) -> Result<(), Refusal> {
        if let Some(clause) = self.outline.find(rest.start, rest.end, &["where"]) {
            for token in clause + 1..rest.end {
                let Some(name) = self.outline.name(token) else {
                    continue;
                };
                if hides(table, &name) && !self.outline.is(token - 1, TokenKind::Typecast) {
                    let name = format!("\"{name}\"");
                    return Err(refuse::no_column(self.outline.tokens, token, &name));
                }
            }
        }
        if let Some(behind) = behind {
            let list = copied_columns(table);
            if !list.is_empty() {
                self.insert_behind(behind, &format!(" ({list})"));
            }
        }
        Ok(())
    }
}
