//! The name of a marked table where a type stands: `NULL::t`, `CAST(... AS t)`, `t '(1,a)'`, column definitions behind a
//! function, parameters of PREPARE. The table's own row type has our columns; in its place goes the keeper's type of the
//! visible ones.

use std::ops::Range;
use std::sync::Arc;

use catalog::Table;

use crate::Refusal;
use crate::lex::TokenKind;

use super::{Walk, refuse};

/// Type names that the grammar knows: unquoted they are never looked up (`SimpleTypename` in gram.y).
const GRAMMAR_TYPES: &[&str] = &[
    "bigint",
    "bit",
    "boolean",
    "char",
    "character",
    "dec",
    "decimal",
    "double",
    "float",
    "int",
    "integer",
    "interval",
    "json",
    "national",
    "nchar",
    "numeric",
    "real",
    "setof",
    "smallint",
    "time",
    "timestamp",
    "varchar",
];

/// Words that stand in front of a string and are no type.
const BEFORE_STRINGS: &[&str] = &["content", "document", "escape", "path", "uescape", "zone"];

/// True if a text of ours names a row type of the keeper's.
pub(crate) fn names_row_type(text: &str) -> bool {
    text.contains("reprieve.row_") || text.contains("\"reprieve\".\"row_")
}

impl Walk<'_> {
    /// Notes that a type begins at this token, if anything does.
    pub(super) fn note_type(&mut self, token: usize) {
        self.types.push(token);
    }

    /// # Errors
    /// A definition would keep a value of such a type.
    pub(super) fn emit_types(&mut self, range: Range<usize>) -> Result<(), Refusal> {
        if !self.reads && !self.outline.word(range.start, "execute") {
            return Ok(());
        }
        let mut types = std::mem::take(&mut self.types);
        for token in range.clone() {
            types.extend(self.type_behind(token));
            types.extend(self.type_of_literal(token, &range));
        }
        types.sort_unstable();
        types.dedup();
        for token in types {
            let Some((parts, end)) = self.outline.dotted(token, range.end) else {
                continue;
            };
            if let Some(table) = self.row_meant(&parts) {
                self.emit_type(token..end, &table)?;
            }
        }
        Ok(())
    }

    /// `:: type` and `CAST(... AS type)`: where the type begins.
    fn type_behind(&self, token: usize) -> Option<usize> {
        let outline = &self.outline;
        if outline.is(token, TokenKind::Typecast) {
            return Some(token + 1);
        }
        let is_cast = outline.one_of(token, &["cast", "treat", "xmlserialize"])
            && outline.opens(token + 1)
            && !outline.is(token.wrapping_sub(1), TokenKind::Dot);
        let close = outline.close(token + 1);
        let mut at = token + 2;
        while is_cast && at < close {
            if outline.word(at, "as") && !outline.is_label(at, token) {
                return Some(at + 1);
            }
            at = outline.after(at);
        }
        None
    }

    /// `type 'literal'`
    fn type_of_literal(&self, token: usize, range: &Range<usize>) -> Option<usize> {
        let outline = &self.outline;
        let begins = outline.is_name(token)
            && !outline.is(token.wrapping_sub(1), TokenKind::Dot)
            && !outline.one_of(token, BEFORE_STRINGS);
        let (_, end) = outline.dotted(token, range.end).filter(|_| begins)?;
        matches!(
            outline.kind(end),
            Some(TokenKind::String | TokenKind::EscapeString | TokenKind::DollarString)
        )
        .then_some(token)
    }

    /// The marked table that a type's name means.
    fn row_meant(&self, parts: &[usize]) -> Option<Arc<Table>> {
        let (name, schema) = match *parts {
            [name] if self.outline.one_of(name, GRAMMAR_TYPES) => return None,
            [name] => (name, None),
            [.., schema, name] => (name, Some(self.outline.name(schema)?)),
            [] => return None,
        };
        let name = self.outline.name(name)?;
        let path = self.scope.search_path;
        self.scope
            .catalog
            .resolve_type(schema.as_deref(), &name, path)
    }

    fn emit_type(&mut self, tokens: Range<usize>, table: &Table) -> Result<(), Refusal> {
        if !self.may_name_row_types() {
            return Err(refuse::kept_row(self.outline.tokens, tokens.start, table));
        }
        let Some(row) = &table.row_type else {
            return Ok(());
        };
        // What separates an identifier from its neighbours separates this one, if it is quoted where theirs is.
        let text = match self.outline.is(tokens.start, TokenKind::Word) {
            true => format!("reprieve.{}", row.name),
            false => format!("\"reprieve\".\"{}\"", row.name),
        };
        let span = self.outline.tokens.span(tokens);
        self.changes.push(super::Change::Replace(span, text));
        Ok(())
    }

    /// False where what is made would depend on our type: in views, and in tables if nobody looks at them in time.
    pub(super) fn may_name_row_types(&self) -> bool {
        !self.is_stored && (!self.keeps || self.scope.catalog.sees_ddl_start())
    }
}
