//! What the client's names ask of the tables in scope: hidden columns, whole rows, system columns.
//!
//! Runs over the tokens once the outline knows which of them are relations, aliases and labels.
//! A doubt here makes a subquery where a condition would have done; it never shows a row.

use std::ops::Range;

use crate::Refusal;
use crate::lex::TokenKind;

use super::tree::{Entry, EntryId, EntryKind, LevelId, WholeRow};
use super::{Walk, refuse};

pub(super) const SYSTEM_COLUMNS: &[&str] = &["ctid", "xmin", "xmax", "cmin", "cmax", "tableoid"];

impl Walk<'_> {
    pub(super) fn resolve_names(&mut self) -> Result<(), Refusal> {
        let mut at = self.outline.range.start;
        while at < self.outline.range.end {
            let next = self.resolve_at(at)?;
            at = next.max(at + 1);
        }
        Ok(())
    }

    /// Looks at the name that begins at `at`; gives the token behind it.
    fn resolve_at(&mut self, at: usize) -> Result<usize, Refusal> {
        let outline = &self.outline;
        let base = outline.range.start;
        let Some(level) = self.level_of[at - base] else {
            return Ok(at + 1);
        };
        let is_type = at > base && outline.is(at - 1, TokenKind::Typecast);
        let is_other = self.taken[at - base] || is_type || outline.is_label(at, base);
        let is_start = outline.is_name(at) && !outline.is_grammar(at, base) && !is_other;
        let Some((parts, next)) = outline.dotted(at, outline.range.end).filter(|_| is_start) else {
            return Ok(at + 1);
        };
        if matches!(
            outline.kind(next),
            Some(
                TokenKind::LeftParenthesis
                    | TokenKind::EqualsGreater
                    | TokenKind::ColonEquals
                    // date '2000-01-01'
                    | TokenKind::String
                    | TokenKind::EscapeString
                    | TokenKind::DollarString
            )
        ) {
            return Ok(next);
        }
        let names: Option<Vec<String>> = parts.iter().map(|&part| outline.name(part)).collect();
        // A name that is not UTF-8 is none of ours.
        let Some(names) = names else { return Ok(next) };
        let row = outline.is(next, TokenKind::Dot) && outline.is_star(next + 1);
        let tokens = at..if row { next + 2 } else { next };
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        match names.as_slice() {
            [name] if !row => self.bare(name, tokens.clone(), level)?,
            [qualifier] => self.use_row(qualifier, tokens.clone(), level),
            [qualifier, rest @ ..] => {
                self.qualified(qualifier, rest, row, tokens.clone(), level)?
            }
            [] => {}
        }
        Ok(tokens.end)
    }

    fn bare(&mut self, name: &str, tokens: Range<usize>, level: LevelId) -> Result<(), Refusal> {
        if self.is_hidden_somewhere(name) {
            return self.bare_hidden(name, tokens.start, level);
        }
        if SYSTEM_COLUMNS.contains(&name) {
            for level in self.chain(level) {
                let entries = self.levels[level].entries.clone();
                for &entry in &entries {
                    self.entries[entry].uses.system.get_or_insert(tokens.start);
                }
                if !entries.is_empty() {
                    break;
                }
            }
            return Ok(());
        }
        if self.use_masked_bare(name, &tokens, level) {
            return Ok(());
        }
        self.use_row(name, tokens, level);
        Ok(())
    }

    fn is_hidden_somewhere(&self, name: &str) -> bool {
        self.entries.iter().any(|entry| entry.hides(name))
    }

    /// One of our names without a qualifier. A subquery in place of the table lets PostgreSQL
    /// resolve it; a target cannot be one.
    fn bare_hidden(&mut self, name: &str, token: usize, level: LevelId) -> Result<(), Refusal> {
        let innermost = level;
        let mut theirs_nearer = false;
        for level in self.chain(level) {
            let entries = self.levels[level].entries.clone();
            if entries
                .iter()
                .any(|&entry| self.entries[entry].has_visible(name))
            {
                return Ok(());
            }
            let unknown = entries
                .iter()
                .any(|&entry| self.entries[entry].table.is_none());
            for entry in entries {
                if !self.entries[entry].hides(name) {
                    continue;
                }
                match self.entries[entry].kind {
                    EntryKind::Source => {
                        self.entries[entry].uses.hidden.get_or_insert(token);
                    }
                    EntryKind::Image => {}
                    EntryKind::Target if theirs_nearer => {}
                    EntryKind::Target if unknown && level == innermost => {
                        return Err(self.unread(token));
                    }
                    EntryKind::Target => {
                        let name = format!("\"{name}\"");
                        return Err(refuse::no_column(self.outline.tokens, token, &name));
                    }
                }
            }
            theirs_nearer |= unknown;
        }
        Ok(())
    }

    /// `name` alone, or `name.*` within an expression: the whole row, if it is the name of a table.
    fn use_row(&mut self, name: &str, tokens: Range<usize>, level: LevelId) {
        let alone = tokens.len() == 1;
        let mut certain = true;
        for level in self.chain(level) {
            let entries = self.levels[level].entries.clone();
            // Within FROM only what stands to the left can be named.
            let within = self.levels[level].from.contains(&tokens.start);
            let is_seen = |entry: &Entry| !within || entry.reference.start <= tokens.start;
            certain &= !alone
                || entries.iter().all(|&entry| {
                    let entry = &self.entries[entry];
                    !is_seen(entry) || entry.lacks(name)
                });
            if alone
                && entries
                    .iter()
                    .any(|&entry| self.entries[entry].has_visible(name))
            {
                return;
            }
            if let Some(entry) = self.exposing(&entries, name) {
                let row = WholeRow { tokens, certain };
                self.entries[entry].uses.whole_row.push(row);
                return;
            }
        }
    }

    fn exposing(&self, entries: &[EntryId], name: &str) -> Option<EntryId> {
        entries
            .iter()
            .copied()
            .find(|&entry| self.entries[entry].exposed.as_deref() == Some(name))
    }

    /// The entry that `qualifier.` means.
    pub(super) fn entry_named(&self, qualifier: &str, level: LevelId) -> Option<EntryId> {
        self.chain(level)
            .into_iter()
            .find_map(|level| self.exposing(&self.levels[level].entries, qualifier))
    }

    /// The entry that `schema.table.` means.
    pub(super) fn entry_in_schema(
        &self,
        schema: &str,
        name: &str,
        level: LevelId,
    ) -> Option<EntryId> {
        self.chain(level).into_iter().find_map(|level| {
            self.levels[level].entries.iter().copied().find(|&entry| {
                let entry = &self.entries[entry];
                entry.exposed.as_deref() == Some(name)
                    && entry.alias.is_empty()
                    && (entry
                        .table
                        .as_ref()
                        .is_some_and(|table| table.schema == schema)
                        || entry.cloak.is_some_and(|cloak| cloak.schema == schema))
            })
        })
    }

    fn qualified(
        &mut self,
        qualifier: &str,
        rest: &[&str],
        row: bool,
        tokens: Range<usize>,
        level: LevelId,
    ) -> Result<(), Refusal> {
        if let Some(entry) = self.entry_named(qualifier, level) {
            let [column, ..] = rest else { return Ok(()) };
            // t.column.* is a row of another kind.
            if let [column] = rest {
                self.use_masked(entry, column, tokens.clone());
            }
            return self.use_column(entry, &format!("{qualifier}."), column, tokens.start);
        }
        let [name, rest @ ..] = rest else {
            return Ok(());
        };
        let Some(entry) = self.entry_in_schema(qualifier, name, level) else {
            return Ok(());
        };
        let schema = tokens.start..tokens.start + 2;
        let is_found = !rest.is_empty() && self.entry_named(name, level) == Some(entry);
        self.entries[entry]
            .uses
            .schema_qualified
            .push((schema, is_found));
        match rest {
            [column, ..] => {
                if let [column] = rest {
                    self.use_masked(entry, column, tokens.clone());
                }
                self.use_column(entry, &format!("{qualifier}.{name}."), column, tokens.start)
            }
            [] if row => {
                let row = WholeRow {
                    tokens,
                    certain: true,
                };
                self.entries[entry].uses.whole_row.push(row);
                Ok(())
            }
            [] => Ok(()),
        }
    }

    fn use_column(
        &mut self,
        entry: EntryId,
        qualifier: &str,
        column: &str,
        token: usize,
    ) -> Result<(), Refusal> {
        let known = &mut self.entries[entry];
        if known.hides(column) && !known.has_visible(column) {
            if known.kind != EntryKind::Source {
                let name = format!("{qualifier}{column}");
                return Err(refuse::no_column(self.outline.tokens, token, &name));
            }
            known.uses.hidden.get_or_insert(token);
        } else if SYSTEM_COLUMNS.contains(&column) {
            known.uses.system.get_or_insert(token);
        }
        Ok(())
    }

    /// A level and those around it, innermost first.
    pub(super) fn chain(&self, level: LevelId) -> Vec<LevelId> {
        std::iter::successors(Some(level), |&level| self.levels[level].parent).collect()
    }
}
