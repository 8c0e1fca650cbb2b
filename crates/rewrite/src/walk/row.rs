//! Whole rows. Where the table became a subquery they are cast to the type that the client knows. Other tables
//! cannot become one (targets, and tables whose rows are locked, have their ctid read, or depend on their key in GROUP
//! BY): there the row is written out.

use std::ops::Range;

use catalog::quote_identifier;

use crate::Refusal;
use crate::keyword::{self, Category};
use crate::lex::TokenKind;

use super::tree::{EntryId, EntryKind, Level, Place, WholeRow};
use super::{Walk, refuse};

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
                    if row.certain {
                        self.emit_row(id, row.tokens)?;
                    } else {
                        self.emit_row_or_column(id, row.tokens)?;
                    }
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
        let is_column = self.field_of(id, &tokens).is_some() || self.star_of(&tokens).is_some();
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
        let key = self.key_of(id);
        let is_missing = match key.filter(|_| !self.is_there(id)) {
            None => "false".into(),
            Some(key) => {
                let name = self.row_qualifier(id)?;
                format!("{name}.{} IS NULL", quote_identifier(&key))
            }
        };
        Ok(format!("CASE WHEN {is_missing} THEN NULL ELSE {row} END"))
    }

    /// False if a row may be missing: that of an outer join, `old` of an INSERT.
    fn is_there(&self, id: EntryId) -> bool {
        let entry = &self.entries[id];
        match entry.kind {
            EntryKind::Target => true,
            EntryKind::Image => entry.exposed.as_deref() == Some("excluded"),
            EntryKind::Source => entry.place == Place::Filter,
        }
    }

    /// What the client calls the first column of the primary key.
    pub(super) fn key_of(&self, id: EntryId) -> Option<String> {
        let entry = &self.entries[id];
        let table = entry.table.as_deref()?;
        let key = table.primary_key.first()?;
        let mut columns = table.visible_columns();
        let place = columns.position(|column| column.name == *key)?;
        entry.visible_names().into_iter().nth(place)
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
        if let Some((replaced, column)) = self.field_of(id, &tokens) {
            let qualifier = self.row_qualifier(id)?;
            if entry.has_visible(&column) {
                let text = match self.outline.is(replaced.end, TokenKind::Dot) {
                    true => qualifier,
                    false => format!("{qualifier}.{}", quote_identifier(&column)),
                };
                self.replace(replaced, &text);
                return Ok(());
            }
            return Err(self.unread(tokens.start));
        }
        if let Some(replaced) = self.star_of(&tokens) {
            if list.is_empty() {
                return Err(self.unread(tokens.start));
            }
            self.replace(replaced, &list);
            return Ok(());
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
        let text = match (self.cast(id), self.is_there(id)) {
            (Some(cast), true) => row(&cast),
            (Some(cast), false) => self.typed(id, &row(&cast))?,
            (None, false) if entry.kind == EntryKind::Source => self.typed(id, &row(""))?,
            (None, _) => row(""),
        };
        self.replace(tokens, &text);
        Ok(())
    }

    /// A name alone that may also be that of a column of something whose columns are not known. PostgreSQL looks for columns on all
    /// levels before it looks for tables, so within a subquery whose only table bears this name it finds either what it
    /// would have found, or that row. Without a cast, which the column might not survive.
    fn emit_row_or_column(&mut self, id: EntryId, tokens: Range<usize>) -> Result<(), Refusal> {
        let entry = &self.entries[id];
        let name = entry.exposed.as_deref().unwrap_or_default();
        let is_part = self.field_of(id, &tokens).is_some() || self.star_of(&tokens).is_some();
        if is_part || !self.is_there(id) || entry.has_visible(name) {
            return match &entry.table {
                Some(table) => Err(refuse::cannot_wrap(
                    self.outline.tokens,
                    tokens.start,
                    table,
                    "its whole row may be meant",
                    "but the name may also be that of a column of another relation",
                )),
                None => Err(self.unread(tokens.start)),
            };
        }
        let (list, name) = (self.column_list(entry)?, quote_identifier(name));
        let text = format!("(SELECT {name} FROM (SELECT {list}) AS {name})");
        self.replace(tokens, &text);
        Ok(())
    }

    /// `(t).*` in a list: all of its tokens.
    fn star_of(&self, tokens: &Range<usize>) -> Option<Range<usize>> {
        let outline = &self.outline;
        let (mut start, mut end) = (tokens.start, tokens.end);
        while outline.opens(start.wrapping_sub(1)) && outline.is(end, TokenKind::RightParenthesis) {
            (start, end) = (start - 1, end + 1);
        }
        let is_star =
            start < tokens.start && outline.is(end, TokenKind::Dot) && outline.is_star(end + 1);
        let behind = end + 2;
        let ends = behind >= outline.range.end
            || outline.is(behind, TokenKind::Comma)
            || outline.is(behind, TokenKind::RightParenthesis)
            || outline.one_of(behind, &["from", "into"]);
        (is_star && ends).then_some(start..behind)
    }

    /// `(t).column`, in brackets as often as one likes, and `column(t)`: both are `t.column`. The column, and the tokens that
    /// stand for `t`, or in the second case for all of it.
    fn field_of(&self, id: EntryId, tokens: &Range<usize>) -> Option<(Range<usize>, String)> {
        let outline = &self.outline;
        let (mut start, mut end) = (tokens.start, tokens.end);
        while outline.opens(start.wrapping_sub(1)) && outline.is(end, TokenKind::RightParenthesis) {
            (start, end) = (start - 1, end + 1);
            if outline.is(end, TokenKind::Dot) {
                return Some((start..end, outline.name(end + 1)?));
            }
        }
        let called = start.wrapping_sub(1);
        let is_keyword = outline.is(called, TokenKind::Word)
            && outline.name(called).is_some_and(|word| {
                let category = keyword::category(&word);
                matches!(category, Some(Category::Reserved | Category::ColumnName))
            });
        let is_call = start < tokens.start
            && outline.is_name(called)
            && !is_keyword
            && !outline.is(called.wrapping_sub(1), TokenKind::Dot);
        // A function that takes any row goes first. Of other functions of that name none takes this one: it would not be
        // marked.
        let column = outline.name(called).filter(|_| is_call)?;
        let is_column =
            self.entries[id].has_visible(&column) && !TAKE_ROWS.contains(&column.as_str());
        is_column.then_some((called..end, column))
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

/// PostgreSQL's own functions of one argument that take a row.
const TAKE_ROWS: &[&str] = &[
    "any_value",
    "array_agg",
    "concat",
    "count",
    "every",
    "format",
    "hash_record",
    "json_agg",
    "json_agg_strict",
    "json_build_array",
    "json_strip_nulls",
    "jsonb_agg",
    "jsonb_agg_strict",
    "jsonb_build_array",
    "max",
    "min",
    "num_nonnulls",
    "num_nulls",
    "pg_column_size",
    "pg_typeof",
    "record_out",
    "record_send",
    "row_to_json",
    "to_json",
    "to_jsonb",
];

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
