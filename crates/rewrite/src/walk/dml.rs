//! INSERT, UPDATE, DELETE, MERGE.

use std::ops::Range;

use crate::Refusal;
use crate::lex::TokenKind;

use super::tree::{Ctes, Entry, EntryId, EntryKind, Filter, LevelId, Node, Place, Uses, hides};
use super::{Walk, refuse};

pub(super) const STATEMENTS: &[&str] = &["insert", "update", "delete", "merge"];

/// A DELETE that may become an UPDATE.
#[derive(Debug)]
pub(super) struct Deletion {
    pub level: LevelId,
    pub entry: EntryId,
    pub form: DeletionForm,
    /// It is the statement itself, not a part of it.
    pub top: bool,
    /// RETURNING, for what an UPDATE would return differently.
    pub returning: Range<usize>,
}

#[derive(Debug)]
pub(super) enum DeletionForm {
    /// `verb` is DELETE FROM; SET goes behind the token `target`.
    Statement {
        verb: Range<usize>,
        target: usize,
        using: Option<usize>,
    },
    /// DELETE behind WHEN ... THEN.
    Merge { verb: usize },
    /// WHERE CURRENT OF: stays a DELETE.
    Current,
}

/// INSERT without a column list.
#[derive(Debug)]
pub(super) struct Unlisted {
    pub entry: EntryId,
    /// The list goes behind this token.
    pub behind: usize,
    pub source: Source,
}

#[derive(Debug)]
pub(super) enum Source {
    /// VALUES with so many expressions in a row.
    Width(usize),
    /// A select list: stars count as what they stand for.
    Select {
        items: usize,
        level: LevelId,
    },
    Unknown,
}

/// WHEN NOT MATCHED BY SOURCE of a MERGE.
#[derive(Debug)]
pub(super) struct BySource {
    pub entry: EntryId,
    /// The client's condition, empty without one; and the token before THEN.
    pub condition: Range<usize>,
}

impl Walk<'_> {
    /// `range` begins with the verb.
    pub(super) fn data_modification(
        &mut self,
        range: Range<usize>,
        ctes: &Ctes,
        parent: Option<LevelId>,
        top: bool,
    ) -> Result<(), Refusal> {
        self.modifies.get_or_insert(range.start);
        let level = self.level(range.clone(), parent);
        match () {
            () if self.outline.word(range.start, "insert") => {
                self.insert(range, ctes, parent, level)
            }
            () if self.outline.word(range.start, "update") => self.update(range, ctes, level),
            () if self.outline.word(range.start, "delete") => self.delete(range, ctes, level, top),
            () => self.merge(range, ctes, level),
        }
    }

    fn target(
        &mut self,
        lo: usize,
        hi: usize,
        level: LevelId,
        ctes: &Ctes,
    ) -> Result<(EntryId, usize), Refusal> {
        let (reference, next) = self.reference(lo, hi)?;
        let (entry, next) = self.relation(reference, next, hi, ctes, EntryKind::Target)?;
        self.levels[level].entries.push(entry);
        Ok((entry, next))
    }

    fn delete(
        &mut self,
        range: Range<usize>,
        ctes: &Ctes,
        level: LevelId,
        top: bool,
    ) -> Result<(), Refusal> {
        let Range { start, end } = range;
        if !self.outline.word(start + 1, "from") {
            return Err(self.unread(start));
        }
        let (entry, next) = self.target(start + 2, end, level, ctes)?;
        let clauses = &["using", "where", "returning"];
        let mut using = None;
        let mut returning = end..end;
        let mut current = false;
        let mut at = self.outline.find_after(start, next, end, clauses);
        if at.unwrap_or(end) != next {
            return Err(self.unread(next));
        }
        let list_end = self
            .outline
            .find_after(start, next, end, &["where", "returning"]);
        self.levels[level].filter = Filter::After(list_end.unwrap_or(end) - 1);
        while let Some(clause) = at {
            // A second USING is that of a join.
            let following = self
                .outline
                .find_after(start, clause + 1, end, &clauses[1..]);
            let body = clause + 1..following.unwrap_or(end);
            if self.outline.word(clause, "using") {
                using = Some(clause);
                self.tables(body, level, ctes, Place::Filter)?;
            } else if self.outline.word(clause, "where") {
                current = self.condition(body, level, ctes)?;
            } else {
                returning = body.clone();
                self.returning(body, level, entry, ctes)?;
            }
            at = following;
        }
        if self.entries[entry].table.is_some() {
            self.entries[entry].place = if current {
                Place::Nowhere
            } else {
                Place::Filter
            };
            let form = if current {
                DeletionForm::Current
            } else {
                DeletionForm::Statement {
                    verb: start..start + 2,
                    target: next - 1,
                    using,
                }
            };
            self.deletions.push(Deletion {
                level,
                entry,
                form,
                top,
                returning,
            });
        } else {
            self.deletes_elsewhere = true;
        }
        Ok(())
    }

    /// The condition of WHERE. True if it is CURRENT OF.
    fn condition(
        &mut self,
        range: Range<usize>,
        level: LevelId,
        ctes: &Ctes,
    ) -> Result<bool, Refusal> {
        if self.outline.word(range.start, "current") && self.outline.word(range.start + 1, "of") {
            for token in range {
                self.take(token);
            }
            self.levels[level].filter = Filter::Nowhere;
            return Ok(true);
        }
        self.levels[level].filter = Filter::Existing(range.clone());
        self.expressions(range, level, ctes)?;
        Ok(false)
    }

    fn returning(
        &mut self,
        range: Range<usize>,
        level: LevelId,
        target: EntryId,
        ctes: &Ctes,
    ) -> Result<(), Refusal> {
        let mut images = vec!["old".to_string(), "new".to_string()];
        let mut items = range.clone();
        if self.outline.word(range.start, "with") && self.outline.opens(range.start + 1) {
            let close = self.outline.close(range.start + 1);
            images.extend((range.start + 2..close).filter_map(|token| self.outline.name(token)));
            for token in range.start..close {
                self.take(token);
            }
            items.start = close + 1;
        }
        if self.scope.catalog.server_version() >= 180_000 {
            for name in images {
                self.image(target, name, level);
            }
        }
        self.items(items, level, ctes)
    }

    /// The target's columns under another name.
    fn image(&mut self, target: EntryId, name: String, level: LevelId) {
        let Entry {
            table, reference, ..
        } = &self.entries[target];
        let image = Entry {
            exposed: Some(name),
            qualifier: reference.start..reference.start,
            table: table.clone(),
            cloak: None,
            bin: None,
            reference: reference.clone(),
            alias: reference.end..reference.end,
            alias_columns: Vec::new(),
            sample: reference.end..reference.end,
            kind: EntryKind::Image,
            place: Place::Nowhere,
            covered: true,
            uses: Uses::default(),
        };
        self.entries.push(image);
        let image = self.entries.len() - 1;
        self.levels[level].entries.push(image);
    }

    fn update(&mut self, range: Range<usize>, ctes: &Ctes, level: LevelId) -> Result<(), Refusal> {
        let Range { start, end } = range;
        let (entry, next) = self.target(start + 1, end, level, ctes)?;
        self.writes.push(entry);
        if !self.outline.word(next, "set") || next >= end {
            return Err(self.unread(next.min(end - 1)));
        }
        let clauses = &["from", "where", "returning"];
        let mut at = self.outline.find_after(start, next + 1, end, clauses);
        self.assignments(next + 1..at.unwrap_or(end), level, entry, ctes)?;
        let list_end = self
            .outline
            .find_after(start, next, end, &["where", "returning"]);
        self.levels[level].filter = Filter::After(list_end.unwrap_or(end) - 1);
        let mut current = false;
        while let Some(clause) = at {
            // A second FROM is that of ROWS FROM.
            let following = self
                .outline
                .find_after(start, clause + 1, end, &clauses[1..]);
            let body = clause + 1..following.unwrap_or(end);
            if self.outline.word(clause, "from") {
                self.tables(body, level, ctes, Place::Filter)?;
            } else if self.outline.word(clause, "where") {
                current = self.condition(body, level, ctes)?;
            } else {
                self.returning(body, level, entry, ctes)?;
            }
            at = following;
        }
        if self.entries[entry].table.is_some() && !current {
            self.entries[entry].place = Place::Filter;
        }
        Ok(())
    }

    /// `column = expression, (columns) = row, ...`
    fn assignments(
        &mut self,
        range: Range<usize>,
        level: LevelId,
        target: EntryId,
        ctes: &Ctes,
    ) -> Result<(), Refusal> {
        for part in self.outline.split(range.start, range.end) {
            let columns = if self.outline.opens(part.start) {
                part.start + 1..self.outline.close(part.start)
            } else {
                part.start..part.start + 1
            };
            self.target_columns(columns, target)?;
        }
        self.expressions(range, level, ctes)
    }

    /// A list of columns to be written: hidden ones do not exist.
    fn target_columns(&mut self, range: Range<usize>, target: EntryId) -> Result<(), Refusal> {
        for part in self.outline.split(range.start, range.end) {
            self.take(part.start);
            if let Some(table) = &self.entries[target].table
                && let Some(name) = self.outline.name(part.start)
                && table.is_veiled()
                && hides(table, &name)
            {
                let tokens = self.outline.tokens;
                return Err(refuse::no_target_column(tokens, part.start, &name, table));
            }
        }
        Ok(())
    }

    fn insert(
        &mut self,
        range: Range<usize>,
        ctes: &Ctes,
        parent: Option<LevelId>,
        level: LevelId,
    ) -> Result<(), Refusal> {
        let Range { start, end } = range;
        if !self.outline.word(start + 1, "into") {
            return Err(self.unread(start));
        }
        let (reference, named) = self.reference(start + 2, end)?;
        // Without AS the word behind the name begins the source.
        let alias_end = if self.outline.word(named, "as") {
            end
        } else {
            named
        };
        let (entry, mut at) = self.relation(
            reference,
            named,
            alias_end.min(named + 2),
            ctes,
            EntryKind::Target,
        )?;
        self.levels[level].entries.push(entry);
        self.writes.push(entry);
        let behind = at - 1;
        let mut listed = false;
        if self.outline.opens(at) && !self.outline.is_query(at + 1, self.outline.close(at)) {
            listed = true;
            let columns = at + 1..self.outline.close(at);
            self.target_columns(columns, entry)?;
            at = self.outline.after(at);
        }
        if self.outline.word(at, "overriding") {
            at += 3;
        }
        let returning = self
            .outline
            .find_after(start, at, end, &["returning"])
            .unwrap_or(end);
        let conflict = self.conflict(start, at, returning);
        let source = at..conflict.unwrap_or(returning);
        self.source(source, ctes, parent, listed, entry, behind)?;
        if let Some(conflict) = conflict {
            self.on_conflict(conflict..returning, level, entry, ctes)?;
        }
        if returning < end {
            self.returning(returning + 1..end, level, entry, ctes)?;
        }
        Ok(())
    }

    /// Where ON CONFLICT begins. A join condition may begin with a column of that name.
    fn conflict(&self, lo: usize, from: usize, hi: usize) -> Option<usize> {
        let mut found = None;
        let mut at = from;
        while let Some(on) = self.outline.find_after(lo, at, hi, &["on"]) {
            let goes_on = self.outline.opens(on + 2) || self.outline.one_of(on + 2, &["on", "do"]);
            if self.outline.word(on + 1, "conflict") && goes_on {
                found = Some(on);
            }
            at = on + 1;
        }
        found
    }

    fn source(
        &mut self,
        range: Range<usize>,
        ctes: &Ctes,
        parent: Option<LevelId>,
        listed: bool,
        entry: EntryId,
        behind: usize,
    ) -> Result<(), Refusal> {
        if self.outline.word(range.start, "default") {
            return Ok(());
        }
        if range.is_empty() || !self.outline.is_query(range.start, range.end) {
            return Err(self.unread(range.start.min(self.outline.range.end - 1)));
        }
        let first_level = self.levels.len();
        self.query(range.clone(), ctes, parent)?;
        if listed || self.entries[entry].table.is_none() {
            return Ok(());
        }
        let Range { mut start, mut end } = range;
        while self.outline.opens(start) && self.outline.after(start) == end {
            (start, end) = (start + 1, end - 1);
        }
        let (at, range) = (start, start..end);
        let combined = self
            .outline
            .find(at, range.end, &["union", "intersect", "except", "with"])
            .is_some();
        let source = if combined {
            Source::Unknown
        } else if self.outline.word(at, "values") {
            let row = at + 2..self.outline.close(at + 1);
            Source::Width(self.outline.split(row.start, row.end).len())
        } else if self.outline.word(at, "select")
            && let Some(items) = self.levels[first_level].grouped.iter().find(|items| {
                // The select list is noted first, or behind DISTINCT ON.
                !self.outline.opens(items.start.wrapping_sub(1))
            })
        {
            let items = self.outline.split(items.start, items.end).len();
            Source::Select {
                items,
                level: first_level,
            }
        } else {
            Source::Unknown
        };
        self.unlisted.push(Unlisted {
            entry,
            behind,
            source,
        });
        Ok(())
    }

    /// `ON CONFLICT [target] DO NOTHING | DO UPDATE SET ... [WHERE ...]`
    fn on_conflict(
        &mut self,
        range: Range<usize>,
        level: LevelId,
        target: EntryId,
        ctes: &Ctes,
    ) -> Result<(), Refusal> {
        let Range { start, end } = range;
        self.image(target, "excluded".into(), level);
        self.take(start + 1);
        let Some(action) = self.outline.find_after(start, start + 1, end, &["do"]) else {
            return Err(self.unread(start));
        };
        self.expressions(start + 2..action, level, ctes)?;
        if !self.outline.word(action + 1, "update") {
            return Ok(());
        }
        let condition = self
            .outline
            .find_after(start, action + 3, end, &["where"])
            .unwrap_or(end);
        self.assignments(action + 3..condition, level, target, ctes)?;
        self.expressions(condition..end, level, ctes)
    }

    fn merge(&mut self, range: Range<usize>, ctes: &Ctes, level: LevelId) -> Result<(), Refusal> {
        let Range { start, end } = range;
        let at = start + 1 + usize::from(self.outline.word(start + 1, "into"));
        let (entry, next) = self.target(at, end, level, ctes)?;
        if !self.outline.word(next, "using") || next >= end {
            return Err(self.unread(next.min(end - 1)));
        }
        let (source, on) = self.table_reference(next + 1, end, level, ctes)?;
        let when = self
            .outline
            .find_after(start, on, end, &["when"])
            .unwrap_or(end);
        if !self.outline.word(on, "on") || when >= end {
            return Err(self.unread(on.min(end - 1)));
        }
        // A source row hidden by a condition would count as "not matched": only a subquery hides it.
        self.settle(&source, Place::Around, false);
        self.levels[level].nodes.push((source, Place::Around));
        self.expressions(on + 1..when, level, ctes)?;
        self.levels[level].joins.push(on + 1..when);
        let join = self.levels[level].joins.len() - 1;
        let veiled = self.entries[entry].table.is_some();
        if veiled {
            let target = Node::Leaf(entry);
            self.settle(&target, Place::On(join), false);
        }
        let returning = self
            .outline
            .find_after(start, when, end, &["returning"])
            .unwrap_or(end);
        let returned = (returning + 1).min(end)..end;
        let mut at = Some(when);
        while let Some(clause) = at {
            at = self.next_when(start, clause + 1, returning);
            let clause = clause..at.unwrap_or(returning);
            self.when(clause, level, entry, returned.clone(), ctes)?;
        }
        if returning < end {
            self.returning(returned, level, entry, ctes)?;
            // RETURNING * names the source's columns first.
            let entries = &mut self.levels[level].entries;
            entries.retain(|&other| other != entry);
            entries.push(entry);
        }
        Ok(())
    }

    /// The next WHEN of a MERGE that is not within CASE ... END.
    fn next_when(&self, lo: usize, from: usize, hi: usize) -> Option<usize> {
        let mut cases = 0usize;
        let mut at = from;
        while let Some(word) = self
            .outline
            .find_after(lo, at, hi, &["when", "case", "end"])
        {
            if self.outline.word(word, "case") {
                cases += 1;
            } else if self.outline.word(word, "end") {
                cases = cases.saturating_sub(1);
            } else if cases == 0 {
                return Some(word);
            }
            at = word + 1;
        }
        None
    }

    fn when(
        &mut self,
        clause: Range<usize>,
        level: LevelId,
        target: EntryId,
        returning: Range<usize>,
        ctes: &Ctes,
    ) -> Result<(), Refusal> {
        let Range { start, end } = clause;
        let Some(then) = self.then(start, end) else {
            return Err(self.unread(start));
        };
        let head = self.outline.find_after(start, start + 1, then, &["and"]);
        let condition = head.map_or(then..then, |and| and + 1..then);
        self.expressions(condition.clone(), level, ctes)?;
        for token in start..head.unwrap_or(then) {
            self.take(token);
        }
        let matched = self.outline.word(start + 1, "matched");
        let by_source =
            self.outline.word(start + 3, "by") && self.outline.word(start + 4, "source");
        let veiled = self.entries[target].table.is_some();
        if veiled && !matched && by_source {
            self.by_source.push(BySource {
                entry: target,
                condition,
            });
        }
        let verb = then + 1;
        if self.outline.word(verb, "update") {
            self.writes.push(target);
            self.assignments(verb + 2..end, level, target, ctes)?;
        } else if self.outline.word(verb, "delete") && !veiled {
            self.deletes_elsewhere = true;
        } else if self.outline.word(verb, "delete") {
            let form = DeletionForm::Merge { verb };
            self.deletions.push(Deletion {
                level,
                entry: target,
                form,
                top: false,
                returning,
            });
        } else if self.outline.word(verb, "insert") {
            self.writes.push(target);
            self.merge_insert(verb..end, level, target, ctes)?;
        }
        Ok(())
    }

    fn then(&self, lo: usize, hi: usize) -> Option<usize> {
        let mut cases = 0usize;
        let mut at = lo + 1;
        while let Some(word) = self
            .outline
            .find_after(lo, at, hi, &["then", "case", "end"])
        {
            if self.outline.word(word, "case") {
                cases += 1;
            } else if self.outline.word(word, "end") {
                cases = cases.saturating_sub(1);
            } else if cases == 0 {
                return Some(word);
            }
            at = word + 1;
        }
        None
    }

    /// `INSERT [(columns)] [OVERRIDING ...] VALUES (...) | DEFAULT VALUES`
    fn merge_insert(
        &mut self,
        range: Range<usize>,
        level: LevelId,
        target: EntryId,
        ctes: &Ctes,
    ) -> Result<(), Refusal> {
        let Range { start, end } = range;
        let listed = self.outline.opens(start + 1);
        if listed {
            let columns = start + 2..self.outline.close(start + 1);
            self.target_columns(columns, target)?;
        }
        let values = self.outline.find_after(start, start + 1, end, &["values"]);
        if let Some(values) = values
            && self.outline.is(values + 1, TokenKind::LeftParenthesis)
        {
            let row = values + 2..self.outline.close(values + 1);
            let width = self.outline.split(row.start, row.end).len();
            self.expressions(row, level, ctes)?;
            if !listed && self.entries[target].table.is_some() {
                let source = Source::Width(width);
                self.unlisted.push(Unlisted {
                    entry: target,
                    behind: start,
                    source,
                });
            }
        }
        Ok(())
    }
}
