//! DELETE as a mark, and the column lists that writes need.

use catalog::{Table, quote_identifier, quote_literal};

use crate::lex::Tokens;
use crate::{ClientEncoding, Refusal};

use super::dml::{DeletionForm, Source, Unlisted};
use super::{Walk, refuse};

/// What the ledger keeps of a statement's text.
const STATEMENT_BYTES_MAX: usize = 2000;

impl Walk<'_> {
    /// A mark where it can be exact; else the DELETE stays and the keeper buries the rows.
    pub(super) fn emit_deletion(&mut self, index: usize) -> Result<(), Refusal> {
        // PostgreSQL follows foreign keys behind all of a statement: a row that it deletes must not find rows there that another part has marked.
        if self.deletes_elsewhere || !(0..self.deletions.len()).all(|other| self.can_mark(other)) {
            return Ok(());
        }
        let assignments = format!(
            "SET deleted_at = pg_catalog.now(), \
             deletion_id = (SELECT reprieve.begin_deletion_v1({}))",
            self.statement_literal()
        );
        let deletion = &self.deletions[index];
        let top = deletion.top;
        match deletion.form {
            DeletionForm::Statement {
                ref verb,
                target,
                using,
            } => {
                let verb = verb.clone();
                self.replace(verb, "UPDATE");
                self.insert_behind(target, &format!(" {assignments}"));
                if let Some(using) = using {
                    self.replace(using..using + 1, "FROM");
                }
                self.marked_top |= top;
            }
            DeletionForm::Merge { verb } => {
                self.replace(verb..verb + 1, &format!("UPDATE {assignments}"));
            }
            DeletionForm::Current => {}
        }
        self.marked = true;
        Ok(())
    }

    fn can_mark(&self, index: usize) -> bool {
        let deletion = &self.deletions[index];
        let entry = &self.entries[deletion.entry];
        let Some(table) = entry.table.as_ref().filter(|table| table.marking) else {
            return false;
        };
        if self.writes_into(table) {
            return false;
        }
        // What UPDATE ... RETURNING gives differently: the row's new place and version, and in
        // PostgreSQL 18 the row after the change.
        let mut telling = vec!["ctid", "xmin", "xmax", "cmin", "cmax"];
        if self.scope.catalog.server_version() >= 180_000 {
            telling.extend(["new", "with"]);
        }
        if matches!(deletion.form, DeletionForm::Merge { .. }) {
            telling.push("merge_action");
        }
        let tells = deletion.returning.clone().any(|token| {
            self.outline
                .name(token)
                .is_some_and(|name| telling.contains(&name.as_str()))
        });
        match deletion.form {
            DeletionForm::Current => false,
            // DELETE FROM t set: UPDATE t set SET cannot be read.
            DeletionForm::Statement { target, .. } => !tells && !self.outline.word(target, "set"),
            DeletionForm::Merge { .. } => !tells,
        }
    }

    /// True if the statement also puts rows into the table. They may have the key of a row that it
    /// deletes, and foreign keys are checked when both are done: no trigger of the keeper can know.
    fn writes_into(&self, table: &Table) -> bool {
        self.writes.iter().any(|&entry| {
            let other = self.entries[entry].table.as_deref();
            other.is_some_and(|other| may_share_rows(table, other))
        })
    }

    /// The client's statement, for the ledger.
    fn statement_literal(&self) -> String {
        let span = self.outline.tokens.span(self.outline.range.clone());
        let bytes = self.outline.tokens.text().get(span).unwrap_or_default();
        quoted_statement(bytes, self.scope.encoding)
    }

    /// Conditions of WHEN NOT MATCHED BY SOURCE: a tombstone is never unmatched.
    pub(super) fn emit_by_source(&mut self) -> Result<(), Refusal> {
        for index in 0..self.by_source.len() {
            let clause = &self.by_source[index];
            let qualifier = self.text(self.entries[clause.entry].qualifier.clone())?;
            let condition = clause.condition.clone();
            let predicate = format!("{qualifier}.deleted_at IS NULL");
            if condition.is_empty() {
                self.insert_behind(condition.start - 1, &format!(" AND {predicate}"));
            } else {
                self.insert_before(condition.start, &format!("{predicate} AND ("));
                self.insert_right_behind(condition.end - 1, ")");
            }
        }
        Ok(())
    }

    /// Column lists for INSERT without one, where values could reach our columns.
    pub(super) fn emit_unlisted(&mut self) -> Result<(), Refusal> {
        for index in 0..self.unlisted.len() {
            let Unlisted {
                entry,
                behind,
                source,
            } = &self.unlisted[index];
            let Some(table) = self.entries[*entry].table.clone() else {
                continue;
            };
            let behind = *behind;
            let visible = table.visible_columns().count();
            let width = match source {
                Source::Width(width) => Some(*width),
                Source::Select { items, level } => self.width(*items, *level),
                Source::Unknown => None,
            };
            match width {
                Some(width) if width <= visible && table.hidden_columns_are_last() => {}
                Some(width) => {
                    let list = first_columns(&table, width);
                    self.insert_behind(behind, &format!(" ({list})"));
                }
                // The keeper rejects values for our columns.
                None if table.hidden_columns_are_last() => {}
                None => return Err(refuse::insert_shape(self.outline.tokens, behind, &table)),
            }
        }
        Ok(())
    }

    /// How many columns a select list gives, if every star in it is known.
    fn width(&self, items: usize, level: usize) -> Option<usize> {
        let mut width = items;
        for star in &self.levels[level].stars {
            width -= 1;
            for entry in self.starred(level, star) {
                let entry = &self.entries[entry];
                width += match &entry.table {
                    Some(_) => entry.visible_names().len(),
                    None => entry.bin.as_ref()?.visible_columns().count(),
                };
            }
            if self.levels[level].merges {
                return None;
            }
        }
        Some(width)
    }
}

/// A statement of the client as the ledger gets it.
pub(crate) fn quoted_statement(bytes: &[u8], encoding: ClientEncoding) -> String {
    let mut text = match (std::str::from_utf8(bytes), encoding) {
        (Ok(text), ClientEncoding::Utf8) => text.to_string(),
        _ => bytes
            .iter()
            .filter(|byte| byte.is_ascii())
            .map(|&byte| byte as char)
            .collect(),
    };
    if text.len() > STATEMENT_BYTES_MAX {
        let mut end = STATEMENT_BYTES_MAX;
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
    }
    quote_literal(&text)
}

/// True if rows of one may be rows of the other: the same table, or a tree of partitions or
/// inheritance, in which the lower one has all columns of the upper one.
fn may_share_rows(one: &Table, other: &Table) -> bool {
    let has_all = |upper: &Table, lower: &Table| {
        let has = |name: &str| lower.columns.iter().any(|column| column.name == name);
        upper.columns.iter().all(|column| has(&column.name))
    };
    let trees = one.kind == 'p' || other.kind == 'p' || (one.inherits && other.inherits);
    (one.schema == other.schema && one.name == other.name)
        || (trees && (has_all(one, other) || has_all(other, one)))
}

/// The first `width` visible columns, or all: then PostgreSQL says that there are too many values.
fn first_columns(table: &Table, width: usize) -> String {
    let columns: Vec<String> = table
        .visible_columns()
        .take(width)
        .map(|column| quote_identifier(&column.name))
        .collect();
    columns.join(", ")
}

/// Columns that COPY moves.
pub(super) fn copied_columns(table: &Table) -> String {
    let columns: Vec<String> = table
        .visible_columns()
        .filter(|column| !column.generated)
        .map(|column| quote_identifier(&column.name))
        .collect();
    columns.join(", ")
}

/// The client's bytes of these tokens, if they are UTF-8.
pub(super) fn span_text(tokens: &Tokens<'_>, range: std::ops::Range<usize>) -> Option<String> {
    let bytes = tokens.text().get(tokens.span(range))?;
    std::str::from_utf8(bytes).ok().map(Into::into)
}
