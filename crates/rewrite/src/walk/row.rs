//! Whole rows of tables that cannot become a subquery: targets, and tables whose rows are locked,
//! have their ctid read, or depend on their key in GROUP BY.

use std::ops::Range;

use catalog::quote_identifier;

use crate::Refusal;
use crate::lex::TokenKind;

use super::Walk;
use super::tree::{EntryId, EntryKind};

impl Walk<'_> {
    /// A row of the visible columns, in the place of each whole row.
    pub(super) fn emit_rows(&mut self) -> Result<(), Refusal> {
        for id in 0..self.entries.len() {
            let entry = &self.entries[id];
            let in_place = entry.kind != EntryKind::Source || self.rows_in_place[id];
            if entry.table.is_none() || !in_place {
                continue;
            }
            let uses: Vec<Range<usize>> = entry
                .uses
                .whole_row
                .iter()
                .map(|row| row.tokens.clone())
                .collect();
            for tokens in uses {
                self.emit_row(id, tokens)?;
            }
        }
        Ok(())
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
                    let qualifier = match entry.kind {
                        EntryKind::Image => name,
                        EntryKind::Source | EntryKind::Target => {
                            self.text(entry.qualifier.clone())?
                        }
                    };
                    self.replace(tokens.start - 1..tokens.end + 1, &qualifier);
                    Ok(())
                }
                _ => Err(self.unread(tokens.start)),
            };
        }
        self.replace(
            tokens,
            &format!("(SELECT {name} FROM (SELECT {list}) AS {name})"),
        );
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
