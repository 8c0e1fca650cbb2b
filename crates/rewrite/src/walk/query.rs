//! WITH, SELECT, VALUES, TABLE and what combines them.

use std::ops::Range;

use crate::Refusal;
use crate::lex::TokenKind;

use super::tree::{Ctes, EntryKind, Filter, Level, LevelId, Lock, Place, Star};
use super::{QUERIES_NESTED_MAX, Walk, refuse};

const SET_OPERATORS: &[&str] = &["union", "intersect", "except"];
const TAIL: &[&str] = &["order", "limit", "offset", "fetch", "for"];
const SELECT_CLAUSES: &[&str] = &["into", "from", "where", "group", "having", "window"];

const BEHIND_FROM: &[&str] = &["where", "group", "having", "window"];

impl Walk<'_> {
    /// A whole query, without the parentheses around it.
    pub(super) fn query(
        &mut self,
        range: Range<usize>,
        ctes: &Ctes,
        parent: Option<LevelId>,
    ) -> Result<(), Refusal> {
        if self.depth >= QUERIES_NESTED_MAX {
            return Err(refuse::nested(self.outline.tokens, range.start));
        }
        self.depth += 1;
        let (ctes, start) = self.with(range.clone(), ctes, parent)?;
        let done = self.query_body(start..range.end, &ctes, parent);
        self.depth -= 1;
        done
    }

    fn query_body(
        &mut self,
        range: Range<usize>,
        ctes: &Ctes,
        parent: Option<LevelId>,
    ) -> Result<(), Refusal> {
        let Range { start, end } = range;
        let tail = self.outline.find(start, end, TAIL).unwrap_or(end);
        let mut arms = Vec::new();
        let mut from = start;
        while let Some(operator) = self.outline.find(from, tail, SET_OPERATORS) {
            arms.push(from..operator);
            from =
                operator + 1 + usize::from(self.outline.one_of(operator + 1, &["all", "distinct"]));
        }
        arms.push(from..tail);
        if let [arm] = arms.as_slice() {
            return self.arm(arm.start..tail, end, ctes, parent);
        }
        for arm in arms {
            self.arm(arm.clone(), arm.end, ctes, parent)?;
        }
        // Behind a set operation only its own output columns can be named, but subqueries may stand.
        let level = self.level(tail..end, parent);
        self.expressions(tail..end, level, ctes)
    }

    /// One arm of a set operation, or a whole query; ORDER BY and what follows it until `end`.
    fn arm(
        &mut self,
        arm: Range<usize>,
        end: usize,
        ctes: &Ctes,
        parent: Option<LevelId>,
    ) -> Result<(), Refusal> {
        let outline = &self.outline;
        if outline.opens(arm.start) && outline.after(arm.start) == arm.end {
            let inside = arm.start + 1..outline.close(arm.start);
            self.query(inside, ctes, parent)?;
        } else if outline.word(arm.start, "select") {
            return self.select(arm, end, ctes, parent);
        } else if outline.word(arm.start, "table") {
            self.table_command(arm.clone(), ctes)?;
        } else if outline.word(arm.start, "values") {
            let level = self.level(arm.clone(), parent);
            self.expressions(arm.clone(), level, ctes)?;
        } else {
            return Err(self.unread(arm.start.min(self.outline.range.end.saturating_sub(1))));
        }
        let level = self.level(arm.end..end, parent);
        self.expressions(arm.end..end, level, ctes)
    }

    fn select(
        &mut self,
        body: Range<usize>,
        end: usize,
        ctes: &Ctes,
        parent: Option<LevelId>,
    ) -> Result<(), Refusal> {
        let level = self.level(body.start..end, parent);
        let mut items = body.start + 1;
        if self.outline.one_of(items, &["all", "distinct"]) {
            let distinct = self.outline.word(items, "distinct");
            self.levels[level].distinct = distinct;
            items += 1;
            if distinct && self.outline.word(items, "on") && self.outline.opens(items + 1) {
                let close = self.outline.close(items + 1);
                self.expressions(items + 1..close, level, ctes)?;
                self.levels[level].grouped.push(items + 1..close);
                self.levels[level].by_output.push(items + 1..close);
                items = close + 1;
            }
        }
        let mut at = self
            .outline
            .find_after(body.start, items, body.end, SELECT_CLAUSES);
        let items = items..at.unwrap_or(body.end);
        self.items(items.clone(), level, ctes)?;
        self.levels[level].list = items.clone();
        if items.start == body.start + 1 {
            self.levels[level].items = items.clone();
        }
        self.levels[level].grouped.push(items);
        while let Some(clause) = at {
            // A second FROM is that of ROWS FROM.
            let into = self.outline.word(clause, "into");
            let clauses = if into { SELECT_CLAUSES } else { BEHIND_FROM };
            let next = self
                .outline
                .find_after(body.start, clause + 1, body.end, clauses);
            self.select_clause(clause, clause + 1..next.unwrap_or(body.end), level, ctes)?;
            at = next;
        }
        self.levels[level].grouped.push(body.end..end);
        if let Some(order) = self.outline.find(body.end, end, &["order"]) {
            let next = self.outline.find(order + 1, end, &TAIL[1..]);
            self.levels[level].order = Some(order + 2..next.unwrap_or(end));
        }
        self.levels[level].lock = self.locks(body.end, end);
        self.expressions(body.end..end, level, ctes)
    }

    fn select_clause(
        &mut self,
        clause: usize,
        range: Range<usize>,
        level: LevelId,
        ctes: &Ctes,
    ) -> Result<(), Refusal> {
        if self.outline.word(clause, "into") {
            self.keeps = true;
            for token in range {
                self.take(token);
            }
            return Ok(());
        }
        if self.outline.word(clause, "from") {
            self.levels[level].filter = Filter::After(range.end - 1);
            self.levels[level].from = range.clone();
            return self.tables(range, level, ctes, Place::Filter);
        }
        if self.outline.word(clause, "where") {
            self.levels[level].filter = Filter::Existing(range.clone());
        } else if self.outline.word(clause, "group") {
            self.levels[level].group = Some(range.clone());
            self.levels[level].by_output.push(range.clone());
        } else {
            self.levels[level].grouped.push(range.clone());
        }
        self.expressions(range, level, ctes)
    }

    /// `FOR UPDATE [OF names]` and its kin, between `lo` and `hi`.
    fn locks(&mut self, lo: usize, hi: usize) -> Lock {
        let mut lock = Lock::None;
        let mut from = lo;
        while let Some(clause) = self.outline.find(from, hi, &["for"]) {
            from = clause + 1;
            while from < hi && !self.outline.one_of(from, &["of", "for"]) {
                from += 1;
            }
            if !self.outline.word(from, "of") || from >= hi {
                return Lock::All;
            }
            let mut names = Vec::new();
            from += 1;
            while let Some((parts, next)) = self.outline.dotted(from, hi) {
                for &part in &parts {
                    self.take(part);
                }
                names.extend(parts.last().and_then(|&part| self.outline.name(part)));
                from = next;
                if !self.outline.is(from, TokenKind::Comma) {
                    break;
                }
                from += 1;
            }
            match &mut lock {
                Lock::Of(already) => already.extend(names),
                Lock::None | Lock::All => lock = Lock::Of(names),
            }
        }
        lock
    }

    /// A select list or RETURNING list: notes its stars, walks its expressions.
    pub(super) fn items(
        &mut self,
        range: Range<usize>,
        level: LevelId,
        ctes: &Ctes,
    ) -> Result<(), Refusal> {
        for item in self.outline.split(range.start, range.end) {
            let last = item.end.saturating_sub(1);
            if item.is_empty() || !self.outline.is_star(last) {
                continue;
            }
            let qualifier = if item.len() == 1 {
                None
            } else {
                match self.outline.dotted(item.start, last) {
                    Some((_, dot)) if dot + 1 == last && self.outline.is(dot, TokenKind::Dot) => {
                        Some(item.start..dot)
                    }
                    _ => continue,
                }
            };
            for token in item.clone() {
                self.take(token);
            }
            self.levels[level].stars.push(Star {
                tokens: item,
                qualifier,
            });
        }
        self.expressions(range, level, ctes)
    }

    /// Finds the queries within expressions. They are always in parentheses.
    pub(super) fn expressions(
        &mut self,
        range: Range<usize>,
        level: LevelId,
        ctes: &Ctes,
    ) -> Result<(), Refusal> {
        let mut at = range.start;
        while at < range.end {
            if self.outline.opens(at) {
                let end = self.end_of_query(at);
                self.words_of_call(at);
                if self.outline.is_query(at + 1, end) {
                    self.query(at + 1..end, ctes, Some(level))?;
                    at = end - 1;
                }
            }
            at += 1;
        }
        Ok(())
    }

    /// `TABLE [ONLY] name [*]`
    fn table_command(&mut self, range: Range<usize>, ctes: &Ctes) -> Result<(), Refusal> {
        let (reference, next) = self.reference(range.start + 1, range.end)?;
        if next != range.end {
            return Err(self.unread(next));
        }
        let (entry, _) = self.relation(reference, next, next, ctes, EntryKind::Source)?;
        self.entries[entry].place = Place::Filter;
        if self.entries[entry].table.is_some() || self.entries[entry].cloak.is_some() {
            self.table_commands.push((range.start, entry));
        }
        Ok(())
    }

    /// A WITH clause if there is one: the names it adds and where the statement goes on.
    pub(super) fn with(
        &mut self,
        range: Range<usize>,
        ctes: &Ctes,
        parent: Option<LevelId>,
    ) -> Result<(Ctes, usize), Refusal> {
        let Range { start, end } = range;
        if !self.outline.word(start, "with") {
            return Ok((ctes.clone(), start));
        }
        let recursive = self.outline.word(start + 1, "recursive");
        let mut bodies = Vec::new();
        let mut at = start + 1 + usize::from(recursive);
        loop {
            let (name, body, next) = self.cte(at, end)?;
            bodies.push((name, body));
            at = next;
            if !self.outline.is(at, TokenKind::Comma) {
                break;
            }
            at += 1;
        }
        let mut seen = ctes.clone();
        if recursive {
            seen = bodies
                .iter()
                .fold(seen, |seen, (name, _)| seen.with(name.clone()));
        }
        for (name, body) in bodies {
            self.cte_body(body, &seen, parent)?;
            if !recursive {
                seen = seen.with(name);
            }
        }
        Ok((seen, at))
    }

    /// `name [(columns)] AS [[NOT] MATERIALIZED] (body) [SEARCH ...] [CYCLE ...]`
    fn cte(&mut self, lo: usize, hi: usize) -> Result<(String, Range<usize>, usize), Refusal> {
        let Some(name) = self.outline.name(lo) else {
            return Err(self.unread(lo));
        };
        let mut at = lo + 1;
        if self.outline.opens(at) {
            at = self.outline.after(at);
        }
        if !self.outline.word(at, "as") {
            return Err(self.unread(at));
        }
        at += 1;
        at += usize::from(self.outline.word(at, "not"));
        at += usize::from(self.outline.word(at, "materialized"));
        if at >= hi || !self.outline.opens(at) {
            return Err(self.unread(at));
        }
        let body = at + 1..self.outline.close(at);
        at = self.outline.after(at);
        for (clause, last) in [("search", "set"), ("cycle", "using")] {
            if self.outline.word(at, clause) {
                match self.outline.find(at, hi, &[last]) {
                    Some(last) => at = last + 2,
                    None => return Err(self.unread(at)),
                }
            }
        }
        for token in lo..body.start {
            self.take(token);
        }
        for token in body.end..at {
            self.take(token);
        }
        Ok((name, body, at))
    }

    fn cte_body(
        &mut self,
        body: Range<usize>,
        ctes: &Ctes,
        parent: Option<LevelId>,
    ) -> Result<(), Refusal> {
        let (_, main) = self.peek_with(body.clone())?;
        if self.outline.one_of(main, super::dml::STATEMENTS) {
            self.depth += 1;
            if self.depth > QUERIES_NESTED_MAX {
                return Err(refuse::nested(self.outline.tokens, body.start));
            }
            let (ctes, start) = self.with(body.clone(), ctes, parent)?;
            let done = self.data_modification(start..body.end, &ctes, parent, false);
            self.depth -= 1;
            return done;
        }
        self.query(body, ctes, parent)
    }

    /// Where the statement behind a WITH clause begins, without walking it.
    pub(super) fn peek_with(&mut self, range: Range<usize>) -> Result<(bool, usize), Refusal> {
        if !self.outline.word(range.start, "with") {
            return Ok((false, range.start));
        }
        let mut at = range.start + 1;
        at += usize::from(self.outline.word(at, "recursive"));
        loop {
            (_, _, at) = self.cte(at, range.end)?;
            if !self.outline.is(at, TokenKind::Comma) {
                return Ok((true, at));
            }
            at += 1;
        }
    }

    /// A new level; its tokens are looked up there until a nested level claims them.
    pub(super) fn level(&mut self, range: Range<usize>, parent: Option<LevelId>) -> LevelId {
        let level = self.levels.len();
        self.levels.push(Level {
            parent,
            ..Level::default()
        });
        let base = self.outline.range.start;
        if let Some(tokens) = self.level_of.get_mut(range.start - base..range.end - base) {
            tokens.fill(Some(level));
        }
        level
    }
}
