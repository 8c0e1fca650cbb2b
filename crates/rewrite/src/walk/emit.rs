//! From what is known about a statement to edits on its bytes.

use std::ops::Range;

use catalog::quote_identifier;

use crate::Refusal;
use crate::lex::TokenKind;

use super::tree::{Entry, EntryId, EntryKind, Filter, LevelId, Lock, Place, Star};
use super::{Walk, refuse};

/// Functions within which a column need not depend on GROUP BY.
const AGGREGATES: &[&str] = &[
    "array_agg",
    "avg",
    "bool_and",
    "bool_or",
    "count",
    "every",
    "json_agg",
    "jsonb_agg",
    "max",
    "min",
    "string_agg",
    "sum",
];

impl Walk<'_> {
    /// Writes all edits but those of COPY, which need no resolving.
    pub(super) fn emit(&mut self) -> Result<(), Refusal> {
        self.spell_naturals();
        for entry in 0..self.entries.len() {
            self.decide(entry)?;
            self.decide_cloak(entry);
        }
        for level in 0..self.levels.len() {
            self.decide_stars(level)?;
        }
        for level in 0..self.levels.len() {
            self.emit_level(level)?;
        }
        self.emit_table_commands()?;
        self.emit_rows()?;
        self.emit_by_source()?;
        self.emit_unlisted()
    }

    /// Whether the entry becomes a subquery. Refuses where it must and cannot.
    fn decide(&mut self, entry: EntryId) -> Result<(), Refusal> {
        let Some(why) = self.must_wrap(entry) else {
            return Ok(());
        };
        let as_table = self.row_suffices(entry) || self.filter_suffices(entry);
        if as_table && self.cannot_wrap(entry).is_some() {
            self.rows_in_place[entry] = !self.entries[entry].uses.whole_row.is_empty();
            self.filtered[entry] = self.entries[entry].place == Place::Around;
            return Ok(());
        }
        self.wrap(entry, why)
    }

    fn must_wrap(&self, entry: EntryId) -> Option<&'static str> {
        let entry = &self.entries[entry];
        if entry.table.is_none() || entry.kind != EntryKind::Source {
            return None;
        }
        if matches!(entry.place, Place::Wrap | Place::Around) {
            return Some("its rows meet an outer, natural or parenthesised join, or a MERGE");
        }
        if !entry.uses.whole_row.is_empty() {
            return Some("its whole row is used");
        }
        if entry.uses.hidden.is_some() {
            return Some("a column is named that exists for Reprieve only");
        }
        (entry.aliases_reach_ours() || entry.aliases_repeat()).then_some("its columns are renamed")
    }

    /// True if only its whole row is asked for, and it can be told from the null row of an outer join.
    fn row_suffices(&self, entry: EntryId) -> bool {
        let id = entry;
        let entry = &self.entries[id];
        let is_there = match entry.place {
            Place::Filter => true,
            // Its key tells.
            Place::On(_) => self.key_of(id).is_some(),
            Place::Around => self.can_filter(id) && self.key_of(id).is_some(),
            Place::Wrap | Place::Nowhere => false,
        };
        is_there && entry.uses.hidden.is_none() && !entry.aliases_reach_ours()
    }

    /// True if a join around the table does, and its row is not asked for.
    fn filter_suffices(&self, id: EntryId) -> bool {
        let entry = &self.entries[id];
        self.can_filter(id)
            && entry.uses.whole_row.is_empty()
            && entry.uses.hidden.is_none()
            && !entry.aliases_reach_ours()
            && !entry.aliases_repeat()
    }

    fn wrap(&mut self, entry: EntryId, why: &str) -> Result<(), Refusal> {
        if self.wrapped[entry] {
            return Ok(());
        }
        if let Some(but) = self.cannot_wrap(entry)
            && let Some(table) = &self.entries[entry].table
        {
            let at = self.entries[entry].reference.start;
            return Err(refuse::cannot_wrap(
                self.outline.tokens,
                at,
                table,
                why,
                but,
            ));
        }
        self.wrapped[entry] = true;
        Ok(())
    }

    pub(super) fn cannot_wrap(&self, id: EntryId) -> Option<&'static str> {
        let entry = &self.entries[id];
        if entry.kind != EntryKind::Source {
            return Some("but it is the target of the statement");
        }
        if entry.uses.system.is_some() {
            return Some("but a system column such as ctid is used");
        }
        self.cannot_stand_in(id)
    }

    /// Why a subquery with the same columns would not do.
    pub(super) fn cannot_stand_in(&self, id: EntryId) -> Option<&'static str> {
        let entry = &self.entries[id];
        let mut qualified = entry.uses.schema_qualified.iter();
        if qualified.any(|(_, is_found)| !is_found) {
            return Some("but a column is qualified with its schema");
        }
        let level = self
            .levels
            .iter()
            .find(|level| level.entries.contains(&id))?;
        let namesakes = level.entries.iter().filter(|&&other| {
            let other = &self.entries[other];
            other.exposed == entry.exposed && !other.covered
        });
        if namesakes.count() > 1 && !entry.covered {
            return Some("but two tables bear its name");
        }
        let locked = match &level.lock {
            Lock::None => false,
            Lock::All => true,
            Lock::Of(names) => names
                .iter()
                .any(|name| Some(name) == entry.exposed.as_ref()),
        };
        if locked {
            return Some("but its rows are locked by FOR UPDATE or FOR SHARE");
        }
        self.depends_on_key(id)
            .then_some("but columns depend on its primary key in GROUP BY")
    }

    /// True if GROUP BY names the primary key and other columns are used ungrouped.
    fn depends_on_key(&self, id: EntryId) -> bool {
        let entry = &self.entries[id];
        let Some(table) = &entry.table else {
            return false;
        };
        let Some(level) = self.levels.iter().find(|level| level.entries.contains(&id)) else {
            return false;
        };
        let Some(group) = &level.group else {
            return false;
        };
        let grouped = self.names_in(group.clone(), false);
        let is_its_own = |&(token, _): &(usize, String)| {
            let is_qualified = token > 1 && self.outline.is(token - 1, TokenKind::Dot);
            !is_qualified || self.outline.name(token - 2) == entry.exposed
        };
        let is_grouped = |column: &String| {
            let own = grouped.iter().filter(|name| is_its_own(name));
            own.map(|(_, name)| name).any(|name| name == column)
        };
        if table.primary_key.is_empty() || !table.primary_key.iter().all(is_grouped) {
            return false;
        }
        let mut used = Vec::new();
        for range in &level.grouped {
            used.extend(self.names_in(range.clone(), true));
        }
        let is_row = |&(token, _): &(usize, String)| {
            let mut rows = entry.uses.whole_row.iter();
            rows.any(|row| row.tokens.start == token)
        };
        let is_column = |(_, name): &(usize, String)| {
            entry.has_visible(name) && !grouped.iter().any(|(_, grouped)| grouped == name)
        };
        !level.stars.is_empty() || used.iter().any(|name| is_row(name) || is_column(name))
    }

    /// The names in `range` with their tokens.
    fn names_in(&self, range: Range<usize>, outside_aggregates: bool) -> Vec<(usize, String)> {
        let mut names = Vec::new();
        let mut at = range.start;
        while at < range.end {
            if outside_aggregates
                && self.outline.one_of(at, AGGREGATES)
                && self.outline.opens(at + 1)
            {
                let call = self.outline.after(at + 1);
                let filtered = self.outline.word(call, "filter") && self.outline.opens(call + 1);
                let behind = match filtered {
                    true => self.outline.after(call + 1),
                    false => call,
                };
                // As a window function it sees groups, not their rows.
                if !self.outline.word(behind, "over") {
                    at = behind;
                    continue;
                }
            }
            if self.outline.is_name(at) {
                names.extend(self.outline.name(at).map(|name| (at, name)));
            }
            at += 1;
        }
        names
    }

    /// A `*` that cannot be written out makes its tables subqueries.
    fn decide_stars(&mut self, level: LevelId) -> Result<(), Refusal> {
        let why = "* cannot be written out as a list of its columns here";
        if self.levels[level].merges
            && self.has_unwrappable_star(level)
            && self.outputs(level).is_some()
        {
            self.levels[level].listed = true;
        }
        let merges = self.levels[level].merges && !self.levels[level].listed;
        for star in 0..self.levels[level].stars.len() {
            let entries = self.starred(level, &self.levels[level].stars[star]);
            let bare = self.levels[level].stars[star].qualifier.is_none();
            let nameless = entries
                .iter()
                .any(|&entry| self.entries[entry].exposed.is_none());
            for entry in entries {
                if self.entries[entry].table.is_some()
                    && ((bare && (nameless || merges))
                        || self.entries[entry].visible_names().is_empty())
                {
                    self.wrap(entry, why)?;
                }
            }
        }
        Ok(())
    }

    /// The entries a star stands for, in order.
    pub(super) fn starred(&self, level: LevelId, star: &Star) -> Vec<EntryId> {
        let Some(qualifier) = &star.qualifier else {
            let is_seen = |&entry: &EntryId| !self.entries[entry].covered;
            return self.levels[level]
                .entries
                .iter()
                .copied()
                .filter(is_seen)
                .collect();
        };
        let names: Vec<String> = qualifier
            .clone()
            .step_by(2)
            .filter_map(|part| self.outline.name(part))
            .collect();
        let entry = match names.as_slice() {
            [name] => self.entry_named(name, level),
            [.., schema, name] => self.entry_in_schema(schema, name, level),
            [] => None,
        };
        entry.into_iter().collect()
    }

    /// True if tombstones or our columns of it would be seen were nothing done.
    fn is_open(&self, entry: EntryId) -> bool {
        self.entries[entry].table.is_some() && !self.wrapped[entry]
    }

    fn emit_level(&mut self, level: LevelId) -> Result<(), Refusal> {
        for index in 0..self.levels[level].entries.len() {
            let entry = self.levels[level].entries[index];
            if self.wrapped[entry] {
                self.emit_wrap(entry)?;
                self.emit_cloak_wrap(entry)?;
            }
        }
        self.emit_joins(level)?;
        for index in 0..self.deletions.len() {
            if self.deletions[index].level == level {
                self.emit_deletion(index)?;
            }
        }
        for join in 0..self.levels[level].joins.len() {
            let predicates = self.predicates(level, Place::On(join))?;
            let condition = self.levels[level].joins[join].clone();
            self.conjoin(&predicates, condition);
        }
        self.emit_masks(level)?;
        let predicates = self.predicates(level, Place::Filter)?;
        match self.levels[level].filter.clone() {
            Filter::Nowhere => {}
            Filter::Existing(condition) => self.conjoin(&predicates, condition),
            Filter::After(token) => {
                if !predicates.is_empty() {
                    self.insert_behind(token, &format!(" WHERE {predicates}"));
                }
            }
        }
        for index in 0..self.levels[level].stars.len() {
            self.emit_star(level, index)?;
        }
        Ok(())
    }

    /// The predicates that belong to one place, joined by AND.
    fn predicates(&self, level: LevelId, place: Place) -> Result<String, Refusal> {
        let mut predicates = Vec::new();
        for &entry in &self.levels[level].entries {
            if self.entries[entry].place == place && self.is_open(entry) {
                predicates.push(self.predicate(&self.entries[entry])?);
            }
        }
        predicates.extend(self.cloak_predicates(level, place)?);
        Ok(predicates.join(" AND "))
    }

    pub(super) fn predicate(&self, entry: &Entry) -> Result<String, Refusal> {
        let qualifier = self.text(entry.qualifier.clone())? + ".";
        Ok(self.scope.search_path.show.condition(&qualifier))
    }

    /// Ours in front: theirs may divide by what only a tombstone holds.
    fn conjoin(&mut self, predicates: &str, condition: Range<usize>) {
        if !predicates.is_empty() {
            self.insert_before(condition.start, &format!("{predicates} AND ("));
            self.insert_right_behind(condition.end - 1, ")");
        }
    }

    fn emit_wrap(&mut self, id: EntryId) -> Result<(), Refusal> {
        let entry = &self.entries[id];
        let Some(table) = &entry.table else {
            return Ok(());
        };
        let columns: Vec<String> = table
            .visible_columns()
            .map(|column| quote_identifier(&column.name))
            .collect();
        let alias = if entry.alias.is_empty() {
            format!(
                " AS {}",
                self.text(entry.qualifier.end - 1..entry.qualifier.end)?
            )
        } else if entry.sample.is_empty() {
            String::new()
        } else {
            format!(" {}", self.text_with_space(entry.alias.clone())?)
        };
        let (start, alias_tokens, sample) = (
            entry.reference.start,
            entry.alias.clone(),
            entry.sample.clone(),
        );
        let last = if sample.is_empty() {
            entry.reference.end
        } else {
            sample.end
        } - 1;
        let list = columns.join(", ");
        let space = if list.is_empty() { "" } else { " " };
        self.insert_before(start, &format!("(SELECT {list}{space}FROM "));
        if !sample.is_empty() && !alias_tokens.is_empty() {
            self.replace(alias_tokens, "");
        }
        let shown = self.scope.search_path.show.condition("");
        self.insert_behind(last, &format!(" WHERE {shown}){alias}"));
        // A subquery has no schema.
        for (schema, _) in self.entries[id].uses.schema_qualified.clone() {
            self.replace(schema, "");
        }
        Ok(())
    }

    /// `alias."a", alias."b"`
    pub(super) fn column_list(&self, entry: &Entry) -> Result<String, Refusal> {
        let qualifier = match (entry.kind, &entry.exposed) {
            (EntryKind::Image, Some(name)) => name.clone(),
            _ => self.text(entry.qualifier.clone())?,
        };
        let columns: Vec<String> = entry
            .visible_names()
            .iter()
            .map(|name| format!("{qualifier}.{}", quote_identifier(name)))
            .collect();
        Ok(columns.join(", "))
    }

    fn emit_star(&mut self, level: LevelId, index: usize) -> Result<(), Refusal> {
        let entries = self.starred(level, &self.levels[level].stars[index]);
        let masked = |entry: &EntryId| self.masked_columns(level, *entry);
        let with_schema = |qualifier: &Range<usize>| qualifier.len() > 1;
        let loses_schema = self.levels[level].stars[index]
            .qualifier
            .as_ref()
            .is_some_and(with_schema)
            && entries.iter().any(|&entry| self.wrapped[entry]);
        if !loses_schema
            && !entries
                .iter()
                .any(|entry| self.is_open(*entry) || masked(entry).is_some())
        {
            return Ok(());
        }
        if self.levels[level].listed && self.levels[level].stars[index].qualifier.is_none() {
            let tokens = self.levels[level].stars[index].tokens.clone();
            let list = self.levels[level].list_text.clone();
            self.replace(tokens, &list);
            return Ok(());
        }
        let mut lists = Vec::new();
        if loses_schema
            && let Some(&entry) = entries.first()
            && let Some(name) = self.entries[entry].exposed.clone()
            && self.entry_named(&name, level) != Some(entry)
        {
            let at = self.levels[level].stars[index].tokens.start;
            return Err(self.unread(at));
        }
        for entry in entries {
            if self.is_open(entry) {
                lists.push(self.column_list(&self.entries[entry])?);
            } else if let Some(columns) = masked(&entry) {
                lists.push(self.masked_list(entry, columns)?);
            } else {
                let mut qualifier = self.entries[entry].qualifier.clone();
                if self.wrapped[entry] {
                    qualifier.start = qualifier.end - 1;
                }
                lists.push(format!("{}.*", self.text(qualifier)?));
            }
        }
        let tokens = self.levels[level].stars[index].tokens.clone();
        self.replace(tokens, &lists.join(", "));
        Ok(())
    }

    /// `TABLE t` becomes a SELECT.
    fn emit_table_commands(&mut self) -> Result<(), Refusal> {
        for (keyword, id) in self.table_commands.clone() {
            let entry = &self.entries[id];
            let (list, predicate) = match (&entry.table, entry.cloak) {
                (Some(_), _) => (self.column_list(entry)?, self.predicate(entry)?),
                (None, Some(cloak)) => {
                    let name = self.text(entry.qualifier.clone())?;
                    ("*".into(), cloak.condition(&name))
                }
                (None, None) => continue,
            };
            let last = entry.reference.end - 1;
            let space = if list.is_empty() { "" } else { " " };
            self.replace(keyword..keyword + 1, &format!("SELECT {list}{space}FROM"));
            self.insert_behind(last, &format!(" WHERE {predicate}"));
        }
        Ok(())
    }
}
