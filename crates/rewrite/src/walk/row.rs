//! Whole rows. Where the table became a subquery they are cast to the type that the client knows. Other tables
//! cannot become one (targets, and tables whose rows are locked, have their ctid read, or depend on their key in GROUP
//! BY): there the row is written out.

use std::ops::Range;

use catalog::quote_identifier;

use crate::Refusal;
use crate::lex::TokenKind;

use super::Walk;
use super::tree::{EntryId, EntryKind, Level, Place, WholeRow};

impl Walk<'_> {
    /// Whole rows get the type that the client knows, or stand where they are used as a row of the visible columns.
    pub(super) fn emit_rows(&mut self) -> Result<(), Refusal> {
        for id in 0..self.entries.len() {
            let entry = &self.entries[id];
            if entry.table.is_none() || entry.uses.whole_row.is_empty() {
                continue;
            }
            let in_place = entry.kind != EntryKind::Source || self.rows_in_place[id];
            let rows = entry.uses.whole_row.clone();
            if in_place {
                for row in rows {
                    self.emit_row(id, row.tokens)?;
                }
            } else if self.wrapped[id] && self.can_cast(id) {
                for row in rows {
                    self.cast_row(id, &row)?;
                }
            }
        }
        Ok(())
    }

    /// `t` of a table that became a subquery is a record. Cast, it is what the client knows as `t`.
    fn cast_row(&mut self, id: EntryId, row: &WholeRow) -> Result<(), Refusal> {
        let WholeRow { tokens, certain } = row.clone();
        let outline = &self.outline;
        let alone = outline.opens(tokens.start.wrapping_sub(1))
            && outline.is(tokens.end, TokenKind::RightParenthesis);
        let is_column = alone && outline.is(tokens.end + 1, TokenKind::Dot);
        let is_list = tokens.len() > 1 && self.is_list_item(&tokens);
        let is_output = self.is_by_output(id, tokens.start);
        let is_subscripted = outline.is(tokens.end, TokenKind::LeftBracket);
        if !certain || is_column || is_list || is_output || is_subscripted {
            return Ok(());
        }
        if let Some(cast) = self.cast(id) {
            let row = format!("{}{cast}", self.text(tokens.clone())?);
            let text = self.typed(id, &row)?;
            self.replace(tokens, &text);
        }
        Ok(())
    }

    /// `::type` with the type that the client knows.
    fn cast(&self, id: EntryId) -> Option<String> {
        let table = self.entries[id].table.as_deref()?;
        let kind = table.row_type.as_ref()?;
        self.may_name_row_types()
            .then(|| format!("::reprieve.{}", kind.name))
    }

    /// A cast makes a row of NULLs of a row that is not there (that of an outer join, `old` of an INSERT), which is not the
    /// same to count() and others: its key tells the two apart. CASE also where the row is always there: the cast alone is
    /// to the parser what `ROW(...)` is, and that is compared field by field (`transformAExprIn` in parse_expr.c).
    fn typed(&self, id: EntryId, row: &str) -> Result<String, Refusal> {
        let entry = &self.entries[id];
        let is_there = match entry.kind {
            EntryKind::Target => true,
            EntryKind::Image => entry.exposed.as_deref() == Some("excluded"),
            EntryKind::Source => entry.place == Place::Filter,
        };
        let key = entry.table.as_deref().and_then(|table| {
            let key = table.primary_key.first()?;
            let mut columns = table.visible_columns();
            let place = columns.position(|column| column.name == *key)?;
            entry.visible_names().into_iter().nth(place)
        });
        let is_missing = match key.filter(|_| !is_there) {
            None => "false".into(),
            Some(key) => {
                let name = self.row_qualifier(id)?;
                format!("{name}.{} IS NULL", quote_identifier(&key))
            }
        };
        Ok(format!("CASE WHEN {is_missing} THEN NULL ELSE {row} END"))
    }

    fn row_qualifier(&self, id: EntryId) -> Result<String, Refusal> {
        let entry = &self.entries[id];
        match (entry.kind, &entry.exposed) {
            (EntryKind::Image, Some(name)) => Ok(quote_identifier(name)),
            _ => self.text(entry.qualifier.clone()),
        }
    }

    /// False where one of the uses would have to stay a record and be equal to those that are cast.
    fn can_cast(&self, id: EntryId) -> bool {
        let rows = &self.entries[id].uses.whole_row;
        self.levels.iter().all(|level| {
            let is_used = |range: &Range<usize>| {
                let mut tokens = rows.iter().map(|row| row.tokens.start);
                tokens.any(|token| range.contains(&token))
            };
            let is_sorted = level.order.as_ref().is_some_and(is_used);
            let is_grouped = level.by_output.iter().any(is_used);
            let must_equal = is_grouped || is_sorted && (level.distinct || level.group.is_some());
            !must_equal || self.lacks_output(level, id) || self.is_output(&level.list, rows)
        })
    }

    /// True if no output column bears the name of this table: then it is the row that GROUP BY, ORDER BY and DISTINCT ON mean.
    fn lacks_output(&self, level: &Level, id: EntryId) -> bool {
        let items = self.outline.split(level.list.start, level.list.end);
        items.iter().all(|item| {
            let label = item.end.wrapping_sub(1);
            let is_labelled = item.len() > 2 && self.outline.word(label - 1, "as");
            is_labelled && self.outline.name(label) != self.entries[id].exposed
        })
    }

    /// True if one of these rows is an output column under its own name: GROUP BY, ORDER BY and DISTINCT ON mean that one.
    fn is_output(&self, list: &Range<usize>, rows: &[WholeRow]) -> bool {
        let items = self.outline.split(list.start, list.end);
        let is_row =
            |item: &Range<usize>| rows.iter().any(|row| row.certain && row.tokens == *item);
        items.iter().any(is_row)
    }

    /// True where a name may be that of an output column: that comes first.
    fn is_by_output(&self, id: EntryId, token: usize) -> bool {
        let names_output = |level: &Level| {
            let mut ranges = level.by_output.iter().chain(&level.order);
            ranges.any(|range| range.contains(&token)) && !self.lacks_output(level, id)
        };
        self.levels.iter().any(names_output)
    }

    fn emit_row(&mut self, id: EntryId, tokens: Range<usize>) -> Result<(), Refusal> {
        let entry = &self.entries[id];
        let list = self.column_list(entry)?;
        let name = quote_identifier(entry.exposed.as_deref().unwrap_or_default());
        if tokens.len() > 1 && self.is_list_item(&tokens) {
            if list.is_empty() {
                return Err(self.unread(tokens.start));
            }
            self.replace(tokens, &list);
            return Ok(());
        }
        let outline = &self.outline;
        let alone = outline.opens(tokens.start.wrapping_sub(1))
            && outline.is(tokens.end, TokenKind::RightParenthesis);
        if alone && outline.is(tokens.end + 1, TokenKind::Dot) {
            // (t).column is t.column.
            let field = outline.name(tokens.end + 2);
            return match field {
                Some(field) if entry.has_visible(&field) => {
                    let qualifier = self.row_qualifier(id)?;
                    self.replace(tokens.start - 1..tokens.end + 1, &qualifier);
                    Ok(())
                }
                _ => Err(self.unread(tokens.start)),
            };
        }
        // A column that is named like its table would be taken for the row.
        let mut alias = entry.exposed.clone().unwrap_or_default();
        while entry.has_visible(&alias) {
            alias.push('_');
        }
        let alias = quote_identifier(&alias);
        let label = if alias == name {
            String::new()
        } else {
            format!(" AS {name}")
        };
        let row =
            |cast: &str| format!("(SELECT {alias}{cast}{label} FROM (SELECT {list}) AS {alias})");
        let is_there =
            entry.kind != EntryKind::Image || entry.exposed.as_deref() == Some("excluded");
        let text = match self.cast(id) {
            Some(cast) if is_there => row(&cast),
            Some(cast) => self.typed(id, &row(&cast))?,
            None => row(""),
        };
        self.replace(tokens, &text);
        Ok(())
    }

    /// True if `t.*` stands in a row or in VALUES, where it is the columns; elsewhere within an
    /// expression it is the row.
    fn is_list_item(&self, tokens: &Range<usize>) -> bool {
        let outline = &self.outline;
        let begins = |token: usize| outline.opens(token) || outline.is(token, TokenKind::Comma);
        let ends = outline.is(tokens.end, TokenKind::RightParenthesis)
            || outline.is(tokens.end, TokenKind::Comma);
        if !ends || !begins(tokens.start.wrapping_sub(1)) {
            return false;
        }
        let Some(open) = (outline.range.start..tokens.start)
            .rev()
            .find(|&token| outline.opens(token) && outline.close(token) >= tokens.end)
        else {
            return false;
        };
        let before = open.wrapping_sub(1);
        if outline.one_of(before, &["row", "values"]) || self.in_values(open) {
            return true;
        }
        let is_call = outline.is_name(before) && !outline.one_of(before, BEFORE_ROWS);
        let several = outline.split(open + 1, outline.close(open)).len() > 1;
        several && !is_call
    }

    /// True if the row that opens there is one of `VALUES (...), (...)`.
    fn in_values(&self, row: usize) -> bool {
        let mut at = row;
        while self.outline.is(at.wrapping_sub(1), TokenKind::Comma) {
            let close = at - 2;
            let Some(open) = (self.outline.range.start..close)
                .rev()
                .find(|&token| self.outline.opens(token) && self.outline.close(token) == close)
            else {
                return false;
            };
            at = open;
        }
        self.outline.word(at.wrapping_sub(1), "values")
    }
}

/// Keywords behind which several expressions in parentheses are a row. Not IN: its list holds rows.
const BEFORE_ROWS: &[&str] = &[
    "and",
    "between",
    "by",
    "case",
    "distinct",
    "else",
    "from",
    "having",
    "not",
    "on",
    "or",
    "returning",
    "select",
    "then",
    "when",
    "where",
];
