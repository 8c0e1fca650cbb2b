//! System relations: what is ours in them does not exist for the client. Where that cannot be done
//! exactly, they are left as they are: nothing is refused for their sake.

use std::ops::Range;

use catalog::Resolved;

use crate::ClientEncoding;
use crate::Refusal;
use crate::cloak::{Cloak, VIEW_PRINTER};
use crate::lex::TokenKind;

use super::Walk;
use super::resolve::SYSTEM_COLUMNS;
use super::tree::{Ctes, Entry, EntryId, EntryKind, Level, LevelId, Masked, Place};

/// The name of a system relation within the subquery that stands in its place.
const INSIDE: &str = "reprieve_cloaked";

impl Walk<'_> {
    /// The system relation that a dotted name means, if things of ours stand in it.
    pub(super) fn cloak(
        &self,
        name: &Range<usize>,
        ctes: &Ctes,
        kind: EntryKind,
    ) -> Option<&'static Cloak> {
        if kind != EntryKind::Source || self.is_stored {
            return None;
        }
        let table = self.outline.name(name.end - 1)?;
        if name.len() > 1 {
            return Cloak::find(&self.outline.name(name.end - 3)?, &table);
        }
        if ctes.contains(&table) {
            return None;
        }
        let path = self.scope.search_path;
        for schema in &path.schemas {
            if path.temp_schema.as_ref() == Some(schema) {
                if path.temp_relations.contains(&table) {
                    return None;
                }
                continue;
            }
            if let Some(cloak) = Cloak::find(schema, &table) {
                return Some(cloak);
            }
            let known = self.scope.catalog.resolve(Some(schema), &table, path);
            if known != Resolved::Other {
                return None;
            }
        }
        None
    }

    /// Whether a system relation becomes a subquery, or stays as it is.
    pub(super) fn decide_cloak(&mut self, id: EntryId) {
        let entry = &self.entries[id];
        if entry.cloak.is_none() {
            return;
        }
        let unwritable = entry.qualifier.clone().any(|token| {
            let text = self.text_with_space(token..token + 1);
            text.is_err()
                || (self.scope.encoding != ClientEncoding::Utf8
                    && text.is_ok_and(|text| !text.is_ascii()))
        });
        let wraps =
            matches!(entry.place, Place::Wrap | Place::Around) || !entry.alias_columns.is_empty();
        if unwritable || (wraps && !self.can_wrap_cloak(id)) {
            self.entries[id].cloak = None;
        } else if wraps {
            self.wrapped[id] = true;
        }
    }

    fn can_wrap_cloak(&self, id: EntryId) -> bool {
        let entry = &self.entries[id];
        if self.cannot_stand_in(id).is_some() {
            return false;
        }
        // A subquery shows system columns as columns: then neither * nor the row would be the same.
        let as_a_whole = !entry.uses.whole_row.is_empty() || self.is_starred(id);
        entry.uses.system.is_none() || !as_a_whole
    }

    fn is_starred(&self, id: EntryId) -> bool {
        (0..self.levels.len()).any(|level| {
            let stars = &self.levels[level].stars;
            stars
                .iter()
                .any(|star| self.starred(level, star).contains(&id))
        })
    }

    /// Notes a column that shows another value for what is ours.
    pub(super) fn use_masked(&mut self, id: EntryId, column: &str, tokens: Range<usize>) {
        let entry = &mut self.entries[id];
        if let Some(mask) = entry.cloak.and_then(|cloak| cloak.mask(column)) {
            entry.uses.masked.push(Masked { tokens, mask });
        }
    }

    /// The same without a qualifier: it is that of the only such relation of the level.
    pub(super) fn use_masked_bare(
        &mut self,
        column: &str,
        tokens: &Range<usize>,
        level: LevelId,
    ) -> bool {
        let mut found = self.levels[level].entries.iter().copied().filter(|&id| {
            let cloak = self.entries[id].cloak;
            cloak.is_some_and(|cloak| cloak.mask(column).is_some())
        });
        let (Some(id), None) = (found.next(), found.next()) else {
            return false;
        };
        self.use_masked(id, column, tokens.clone());
        true
    }

    /// True if the client counts the numbers of columns, dropped ones included: then ours are
    /// dropped ones, unless they are the last.
    fn is_masked(&self, level: LevelId, id: EntryId) -> bool {
        let Level { items, group, .. } = &self.levels[level];
        let entry = &self.entries[id];
        let counts = |masked: &Masked| masked.mask.counts && items.contains(&masked.tokens.start);
        group.is_none() && !self.wrapped[id] && entry.uses.masked.iter().any(counts)
    }

    pub(super) fn emit_masks(&mut self, level: LevelId) -> Result<(), Refusal> {
        for index in 0..self.levels[level].entries.len() {
            let id = self.levels[level].entries[index];
            if self.entries[id].cloak.is_none() || !self.is_masked(level, id) {
                continue;
            }
            let name = self.text(self.entries[id].qualifier.clone())?;
            for Masked { tokens, mask } in self.entries[id].uses.masked.clone() {
                let items = self.levels[level].items.clone();
                if !(mask.counts || items.contains(&tokens.start)) {
                    continue;
                }
                let value = mask.value(&name);
                let is_item = self.outline.split(items.start, items.end).contains(&tokens);
                let label = self.text(tokens.end - 1..tokens.end)?;
                let alias = if is_item {
                    format!(" AS {label}")
                } else {
                    String::new()
                };
                self.replace(tokens, &format!("{value}{alias}"));
            }
        }
        Ok(())
    }

    /// Calls of the function that prints definitions: ours leaves out our conditions.
    pub(super) fn emit_calls(&mut self, range: Range<usize>) {
        if !self.reads || self.is_stored {
            return;
        }
        for token in range.clone() {
            let base = self.outline.range.start;
            let outline = &self.outline;
            let is_call = outline.is_name(token)
                && outline.opens(token + 1)
                && !self.taken[token - base]
                && outline.name(token).as_deref() == Some(VIEW_PRINTER);
            if !is_call {
                continue;
            }
            if token == range.start || !outline.is(token - 1, TokenKind::Dot) {
                self.replace(token..token + 1, &format!("reprieve.{VIEW_PRINTER}"));
            } else if outline.name(token - 2).as_deref() == Some("pg_catalog") {
                self.replace(token - 2..token + 1, &format!("reprieve.{VIEW_PRINTER}"));
            }
        }
    }

    /// The columns that a star stands for, where one of them shows another value for what is ours.
    pub(super) fn masked_columns(
        &self,
        level: LevelId,
        id: EntryId,
    ) -> Option<&'static [&'static str]> {
        let Level {
            items,
            group,
            merges,
            ..
        } = &self.levels[level];
        let is_plain = !items.is_empty() && group.is_none() && !merges && !self.wrapped[id];
        self.entries[id]
            .cloak
            .filter(|_| is_plain)
            .and_then(Cloak::starred)
    }

    pub(super) fn masked_list(&self, id: EntryId, columns: &[&str]) -> Result<String, Refusal> {
        let name = self.text(self.entries[id].qualifier.clone())?;
        let list: Vec<String> = columns
            .iter()
            .map(|column| {
                let mask = self.entries[id].cloak.and_then(|cloak| cloak.mask(column));
                mask.map_or_else(
                    || format!("{name}.{column}"),
                    |mask| format!("{} AS {column}", mask.value(&name)),
                )
            })
            .collect();
        Ok(list.join(", "))
    }

    /// The conditions that belong to one place.
    pub(super) fn cloak_predicates(
        &self,
        level: LevelId,
        place: Place,
    ) -> Result<Vec<String>, Refusal> {
        let mut predicates = Vec::new();
        for &id in &self.levels[level].entries {
            let entry = &self.entries[id];
            if let Some(cloak) = entry.cloak.filter(|_| entry.place == place)
                && !self.wrapped[id]
            {
                let name = self.text(entry.qualifier.clone())?;
                predicates.push(if self.is_masked(level, id) {
                    cloak.masked_condition(&name)
                } else {
                    cloak.condition(&name)
                });
            }
        }
        Ok(predicates)
    }

    /// Puts `(SELECT ... WHERE ...) AS alias` in the place of a system relation.
    pub(super) fn emit_cloak_wrap(&mut self, id: EntryId) -> Result<(), Refusal> {
        let Entry {
            cloak: Some(cloak),
            reference,
            alias,
            qualifier,
            sample,
            uses,
            ..
        } = &self.entries[id]
        else {
            return Ok(());
        };
        let mut list = String::new();
        if cloak.stored && uses.system.is_some() {
            for column in SYSTEM_COLUMNS {
                list.push_str(column);
                list.push_str(", ");
            }
        }
        let condition = cloak.condition(INSIDE);
        let name = self.text(qualifier.end - 1..qualifier.end)?;
        let sampled = !sample.is_empty();
        let alias_text = match (alias.is_empty(), sampled) {
            (true, _) => format!(" AS {name}"),
            (false, true) => format!(" {}", self.text_with_space(alias.clone())?),
            (false, false) => String::new(),
        };
        let (start, alias) = (reference.start, alias.clone());
        let (named, last) = (
            reference.end - 1,
            if sampled { sample.end } else { reference.end } - 1,
        );
        self.insert_before(start, &format!("(SELECT {list}* FROM "));
        if sampled && !alias.is_empty() {
            self.replace(alias, "");
        }
        if sampled {
            self.insert_behind(named, &format!(" AS {INSIDE}"));
            self.insert_behind(last, &format!(" WHERE {condition}){alias_text}"));
        } else {
            self.insert_behind(
                last,
                &format!(" AS {INSIDE} WHERE {condition}){alias_text}"),
            );
        }
        Ok(())
    }
}
