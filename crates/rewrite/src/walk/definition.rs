//! Our columns in DDL, GRANT, COMMENT and the like: for the client they do not exist, and no column
//! of the client's may take their names. The answers are PostgreSQL's own.

use std::ops::Range;
use std::sync::Arc;

use catalog::Table;

use crate::Refusal;
use crate::lex::TokenKind;

use super::tree::{Ctes, EntryKind, hides};
use super::{Walk, refuse};

impl Walk<'_> {
    /// Refuses a statement that reads no rows where it names a hidden column.
    pub(super) fn no_hidden_column(&mut self, range: Range<usize>) -> Result<(), Refusal> {
        let Range { start, end } = range;
        let outline = &self.outline;
        if outline.word(start, "alter") && outline.one_of(start + 1, &["table", "foreign"]) {
            let at = start + 2 + usize::from(outline.word(start + 1, "foreign"));
            return self.alter_table(at..end);
        }
        if outline.word(start, "create") {
            const KINDS: &[&str] = &[
                "table",
                "index",
                "trigger",
                "policy",
                "statistics",
                "publication",
            ];
            let kind = outline.find_after(start, start + 1, (start + 6).min(end), KINDS);
            match kind {
                Some(kind) if outline.word(kind, "table") => return self.create_table(kind..end),
                Some(kind) if outline.word(kind, "statistics") => {
                    return self.create_statistics(kind..end);
                }
                Some(kind) if !outline.word(kind, "publication") => {
                    return self.on_table(kind..end);
                }
                _ => {}
            }
        }
        if outline.word(start, "alter") && outline.word(start + 1, "policy") {
            return self.on_table(start + 1..end);
        }
        self.named_tables(range)
    }

    /// The veiled table whose name begins at `at`, behind `[ONLY]`, and the token behind it.
    fn table_at(&mut self, at: usize, hi: usize) -> Result<(Option<Arc<Table>>, usize), Refusal> {
        let at = at + usize::from(self.outline.word(at, "only"));
        let Some((_, next)) = self.outline.dotted(at, hi) else {
            return Ok((None, at));
        };
        let table = self.resolve(&(at..next), &Ctes::default(), EntryKind::Target)?;
        Ok((table, next + usize::from(self.outline.is_star(next))))
    }

    /// The name at a token, if the table hides it.
    fn hidden_at(&self, token: usize, table: &Table) -> Option<String> {
        self.outline
            .name(token)
            .filter(|name| hides(table, name) && !self.outline.is(token + 1, TokenKind::Dot))
    }

    fn alter_table(&mut self, range: Range<usize>) -> Result<(), Refusal> {
        let at = range.start + 2 * usize::from(self.outline.word(range.start, "if"));
        let (table, actions) = self.table_at(at, range.end)?;
        self.references(actions..range.end)?;
        let Some(table) = table else { return Ok(()) };
        let actions = self.outline.split(actions, range.end);
        let reserved: Vec<_> = actions
            .iter()
            .filter_map(|action| Some((action, self.reserved_in(action.clone(), &table)?.1)))
            .collect();
        let mut free = reserved
            .iter()
            .map(|(action, name)| name != "deleted_at" || self.begins_empty((*action).clone()));
        if self.frees_names() && !reserved.is_empty() && free.all(|free| free) {
            return Ok(());
        }
        for action in actions {
            self.action(action, &table)?;
        }
        Ok(())
    }

    /// True if the keeper ends the marking of a table in front of DDL that gives a column the name of one of ours.
    fn frees_names(&self) -> bool {
        self.scope.catalog.sees_ddl_start()
    }

    /// True for ADD and DROP of a column that is NULL in every row at first. A read that is on its way when the marking ends
    /// still asks for rows whose `deleted_at` is NULL: it finds all of them then.
    fn begins_empty(&self, action: Range<usize>) -> bool {
        let mut fills = action
            .clone()
            .filter(|&token| self.outline.one_of(token, &["default", "generated"]));
        !self.outline.word(action.start, "rename") && fills.next().is_none()
    }

    /// The name of one of our columns that an action of ALTER TABLE would give to a column of the client's, or drops if there
    /// is one.
    fn reserved_in(&self, action: Range<usize>, table: &Table) -> Option<(usize, String)> {
        let outline = &self.outline;
        let start = action.start;
        let mut at = start + 1;
        if outline.word(start, "rename") {
            if outline.one_of(at, &["to", "constraint"]) {
                return None;
            }
            at += usize::from(outline.word(at, "column"));
            return self.hidden_at(at + 2, table).map(|name| (at + 2, name));
        }
        let adds = outline.word(start, "add");
        if !(adds || outline.word(start, "drop")) || outline.word(at, "constraint") {
            return None;
        }
        at += usize::from(outline.word(at, "column"));
        let exists = outline.word(at, "if");
        if exists {
            at += 2 + usize::from(outline.word(at + 1, "not"));
        }
        if !(adds || exists) || adds && outline.one_of(at, CONSTRAINTS) {
            return None;
        }
        self.hidden_at(at, table).map(|name| (at, name))
    }

    /// One action of ALTER TABLE.
    fn action(&self, range: Range<usize>, table: &Table) -> Result<(), Refusal> {
        let outline = &self.outline;
        let Range { start, end } = range;
        let mut at = start + 1;
        if let Some((token, name)) = self.reserved_in(start..end, table) {
            return Err(refuse::reserved(outline.tokens, token, &name, table));
        }
        if outline.word(start, "rename") {
            return self.rename(start..end, table);
        }
        if !outline.one_of(start, &["add", "drop", "alter"]) || outline.word(at, "constraint") {
            return self.constraint(at..end, table);
        }
        at += usize::from(outline.word(at, "column"));
        let exists = outline.word(at, "if");
        if exists {
            at += 2 + usize::from(outline.word(at + 1, "not"));
        }
        let adds = outline.word(start, "add");
        if adds && outline.one_of(at, CONSTRAINTS) {
            return self.constraint(at..end, table);
        }
        match self.hidden_at(at, table) {
            Some(name) => Err(refuse::no_column_of(&name, table)),
            None if adds => self.constraint(at + 1..end, table),
            None => self.expression(at + 1..end, table),
        }
    }

    /// `RENAME [COLUMN] a TO b`
    fn rename(&self, range: Range<usize>, table: &Table) -> Result<(), Refusal> {
        let mut at = range.start + 1;
        if self.outline.one_of(at, &["to", "constraint"]) {
            return Ok(());
        }
        at += usize::from(self.outline.word(at, "column"));
        if let Some(name) = self.hidden_at(at, table) {
            let message = format!("column \"{name}\" does not exist");
            return Err(refuse::unplaced(message));
        }
        Ok(())
    }

    /// Constraints of a table or column: what is in their parentheses.
    fn constraint(&self, range: Range<usize>, table: &Table) -> Result<(), Refusal> {
        let outline = &self.outline;
        let mut at = range.start;
        while at < range.end {
            if outline.word(at, "references")
                && let Some((_, next)) = outline.dotted(at + 1, range.end)
            {
                at = next + usize::from(outline.opens(next));
                at = outline.after(at.saturating_sub(1)).max(next);
                continue;
            }
            if outline.opens(at) {
                let inside = at + 1..outline.close(at);
                let message = match () {
                    () if outline.one_of(at - 1, &["unique", "include"])
                        || (outline.word(at - 1, "key") && outline.word(at - 2, "primary")) =>
                    {
                        "named in key does not exist"
                    }
                    () if outline.word(at - 1, "key") => {
                        "referenced in foreign key constraint does not exist"
                    }
                    () => {
                        self.unplaced_expression(inside, table)?;
                        at = outline.after(at);
                        continue;
                    }
                };
                for token in inside {
                    if let Some(name) = self.hidden_at(token, table) {
                        return Err(refuse::unplaced(format!("column \"{name}\" {message}")));
                    }
                }
            }
            at = outline.after(at);
        }
        Ok(())
    }

    /// Names of columns in an expression, unqualified or qualified with the table's name.
    fn expression(&self, range: Range<usize>, table: &Table) -> Result<(), Refusal> {
        match self.hidden_in(range, table) {
            Some((token, column)) => {
                let tokens = self.outline.tokens;
                Err(refuse::no_column(tokens, token, &column))
            }
            None => Ok(()),
        }
    }

    /// The same where PostgreSQL gives no place.
    fn unplaced_expression(&self, range: Range<usize>, table: &Table) -> Result<(), Refusal> {
        match self.hidden_in(range, table) {
            Some((_, column)) => Err(refuse::unplaced(format!("column {column} does not exist"))),
            None => Ok(()),
        }
    }

    /// The first column of ours in an expression: where it stands, and how PostgreSQL names it.
    fn hidden_in(&self, range: Range<usize>, table: &Table) -> Option<(usize, String)> {
        let outline = &self.outline;
        for token in range.clone() {
            let Some(name) = self.hidden_at(token, table) else {
                continue;
            };
            let behind_dot = token > range.start && outline.is(token - 1, TokenKind::Dot);
            let qualifier = behind_dot.then(|| outline.name(token - 2)).flatten();
            let is_other = outline.opens(token + 1)
                || outline.is(token - 1, TokenKind::Typecast)
                || outline.word(token - 1, "collate")
                || (behind_dot && qualifier.is_none());
            let column = match &qualifier {
                _ if is_other => continue,
                None => format!("\"{name}\""),
                Some(row) if *row == table.name || row == "old" || row == "new" => {
                    format!("{row}.{name}")
                }
                Some(_) => continue,
            };
            return Some((token - 2 * usize::from(behind_dot), column));
        }
        None
    }

    /// `REFERENCES t (columns)`, wherever it stands.
    fn references(&mut self, range: Range<usize>) -> Result<(), Refusal> {
        for at in range.clone() {
            if !self.outline.word(at, "references") || self.outline.is_label(at, range.start) {
                continue;
            }
            let (table, next) = self.table_at(at + 1, range.end)?;
            let Some(table) = table.filter(|_| self.outline.opens(next)) else {
                continue;
            };
            for token in next + 1..self.outline.close(next) {
                if let Some(name) = self.hidden_at(token, &table) {
                    return Err(refuse::unplaced(format!(
                        "column \"{name}\" referenced in foreign key constraint does not exist"
                    )));
                }
            }
        }
        Ok(())
    }

    /// A new table may have columns of any name, unless it takes its columns from one of ours.
    fn create_table(&mut self, range: Range<usize>) -> Result<(), Refusal> {
        self.references(range.clone())?;
        for at in range.clone() {
            let partition = self.outline.word(at, "of") && self.outline.word(at - 1, "partition");
            let first = match () {
                () if partition || self.outline.word(at, "like") => at + 1,
                () if self.outline.word(at, "inherits") && self.outline.opens(at + 1) => at + 2,
                () => continue,
            };
            let mut next = first;
            loop {
                let (table, end) = self.table_at(next, range.end)?;
                if let Some(table) = table {
                    self.takes_columns(range.clone(), &table, partition)?;
                }
                next = end + 1;
                if first == at + 1 || !self.outline.is(end, TokenKind::Comma) {
                    break;
                }
            }
        }
        Ok(())
    }

    fn takes_columns(
        &self,
        range: Range<usize>,
        table: &Table,
        partition: bool,
    ) -> Result<(), Refusal> {
        let Some(open) = range.clone().find(|&token| self.outline.opens(token)) else {
            return Ok(());
        };
        let items = self.outline.split(open + 1, self.outline.close(open));
        let is_ours = |item: &Range<usize>| self.hidden_at(item.start, table).is_some();
        if !partition && self.frees_names() && items.iter().any(is_ours) {
            return Ok(());
        }
        for item in items {
            match self.hidden_at(item.start, table) {
                Some(name) if partition => {
                    return Err(refuse::unplaced(format!(
                        "column \"{name}\" does not exist"
                    )));
                }
                Some(name) => {
                    let tokens = self.outline.tokens;
                    return Err(refuse::reserved(tokens, item.start, &name, table));
                }
                None => self.constraint(item, table)?,
            }
        }
        Ok(())
    }

    /// INDEX, TRIGGER, POLICY: the table is behind ON, our names can only be columns of it.
    fn on_table(&mut self, range: Range<usize>) -> Result<(), Refusal> {
        let Range { start, end } = range;
        let Some(on) = self.outline.find_after(start, start + 1, end, &["on"]) else {
            return Ok(());
        };
        let (Some(table), next) = self.table_at(on + 1, end)? else {
            return Ok(());
        };
        // CREATE TRIGGER ... UPDATE OF columns ON
        let of = (start..on).find(|&token| self.outline.word(token, "of"));
        for token in of.unwrap_or(on)..on {
            if let Some(name) = self.hidden_at(token, &table) {
                return Err(refuse::no_column_of(&name, &table));
            }
        }
        let mut at = next;
        while at < end {
            if self.outline.opens(at) {
                let inside = at + 1..self.outline.close(at);
                if self.outline.word(start, "index") {
                    self.index_columns(inside.clone(), &table)?;
                }
                if self.outline.word(start, "policy") {
                    self.unplaced_expression(inside, &table)?;
                } else {
                    self.expression(inside, &table)?;
                }
            } else if self.outline.word(start, "index") && self.outline.word(at, "where") {
                return self.expression(at + 1..end, &table);
            }
            at = self.outline.after(at);
        }
        Ok(())
    }

    fn index_columns(&self, range: Range<usize>, table: &Table) -> Result<(), Refusal> {
        for item in self.outline.split(range.start, range.end) {
            if let Some(name) = self.hidden_at(item.start, table)
                && !self.outline.opens(item.start + 1)
            {
                let message = format!("column \"{name}\" does not exist");
                return Err(refuse::unplaced(message));
            }
        }
        Ok(())
    }

    /// `STATISTICS name ON columns FROM table`
    fn create_statistics(&mut self, range: Range<usize>) -> Result<(), Refusal> {
        let Range { start, end } = range;
        let find = |word: &str| self.outline.find_after(start, start + 1, end, &[word]);
        let (Some(on), Some(from)) = (find("on"), find("from")) else {
            return Ok(());
        };
        let (Some(table), _) = self.table_at(from + 1, end)? else {
            return Ok(());
        };
        self.index_columns(on + 1..from, &table)?;
        self.expression(on + 1..from, &table)
    }

    /// Everything else: `table.column`, and lists of columns behind privileges or tables.
    fn named_tables(&mut self, range: Range<usize>) -> Result<(), Refusal> {
        const LISTING: &[&str] = &["grant", "revoke", "analyze", "analyse", "vacuum"];
        let Range { start, end } = range;
        let listing =
            self.outline.one_of(start, LISTING) || self.outline.word(start + 1, "publication");
        let mut tables: Vec<Arc<Table>> = Vec::new();
        let mut lists = Vec::new();
        let mut at = start + 1;
        while at < end {
            if self.outline.opens(at) {
                lists.extend(listing.then(|| at + 1..self.outline.close(at)));
                at = self.outline.after(at);
                continue;
            }
            let Some((parts, next)) = self.outline.dotted(at, end) else {
                at += 1;
                continue;
            };
            tables.extend(self.resolve(&(at..next), &Ctes::default(), EntryKind::Target)?);
            if let [.., column] = parts.as_slice()
                && parts.len() > 1
                && let Some(table) =
                    self.resolve(&(at..column - 1), &Ctes::default(), EntryKind::Target)?
                && let Some(name) = self.hidden_at(*column, &table)
            {
                if self.outline.word(start + 1, "on") || self.outline.word(start, "security") {
                    // COMMENT ON, SECURITY LABEL: the table as the client wrote it.
                    let written: Vec<String> = parts[..parts.len() - 1]
                        .iter()
                        .filter_map(|&part| self.outline.name(part))
                        .collect();
                    return Err(refuse::unplaced(format!(
                        "column \"{name}\" of relation \"{}\" does not exist",
                        written.join(".")
                    )));
                }
                return Err(refuse::no_column_of(&name, &table));
            }
            at = next;
        }
        for token in lists.into_iter().flatten() {
            for table in &tables {
                if let Some(name) = self.hidden_at(token, table) {
                    return Err(refuse::no_column_of(&name, table));
                }
            }
        }
        Ok(())
    }
}

/// Words that begin a constraint where a column could be named.
const CONSTRAINTS: &[&str] = &[
    "constraint",
    "check",
    "unique",
    "primary",
    "foreign",
    "exclude",
];
