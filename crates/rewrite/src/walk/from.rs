//! FROM, USING and MERGE sources: which relations, joined how.

use std::ops::Range;

use crate::Refusal;
use crate::lex::TokenKind;

use super::Walk;
use super::tree::{
    Condition, Ctes, Entry, EntryId, EntryKind, JoinKind, LevelId, Node, Place, Uses,
};

/// Words that may follow a table reference and are no alias of it. Reserved ones would do without,
/// the others (`type_func_name_keyword`) can be no alias without AS either.
const NO_ALIAS: &[&str] = &[
    "cross",
    "except",
    "fetch",
    "for",
    "from",
    "full",
    "group",
    "having",
    "inner",
    "intersect",
    "into",
    "join",
    "left",
    "limit",
    "natural",
    "offset",
    "on",
    "order",
    "returning",
    "right",
    "tablesample",
    "union",
    "using",
    "when",
    "where",
    "window",
    "with",
    "set",
    "values",
    "select",
    "do",
    "then",
];

/// Words that begin the next join.
const JOINS: &[&str] = &["cross", "full", "inner", "join", "left", "natural", "right"];

/// Where a relation is named.
#[derive(Debug, Clone)]
pub(super) struct Reference {
    /// `[ONLY] name [*]`
    pub tokens: Range<usize>,
    /// The dotted name.
    pub name: Range<usize>,
}

#[derive(Debug, Default)]
struct Alias {
    tokens: Range<usize>,
    name: Option<usize>,
    columns: Vec<String>,
}

impl Walk<'_> {
    /// A comma-separated list of table references; gives every entry its place.
    pub(super) fn tables(
        &mut self,
        range: Range<usize>,
        level: LevelId,
        ctes: &Ctes,
        outermost: Place,
    ) -> Result<(), Refusal> {
        let mut at = range.start;
        while at < range.end {
            let (node, next) = self.table_reference(at, range.end, level, ctes)?;
            self.settle(&node, outermost, false);
            self.levels[level].nodes.push((node, outermost));
            if next < range.end && !self.outline.is(next, TokenKind::Comma) {
                return Err(self.unread(next));
            }
            at = next + 1;
        }
        Ok(())
    }

    pub(super) fn table_reference(
        &mut self,
        lo: usize,
        hi: usize,
        level: LevelId,
        ctes: &Ctes,
    ) -> Result<(Node, usize), Refusal> {
        let (mut node, mut at) = self.primary(lo, hi, level, ctes)?;
        while at < hi && self.is_join(at) {
            (node, at) = self.join(node, at, hi, level, ctes)?;
        }
        Ok((node, at))
    }

    /// True if a join begins here: LEFT and RIGHT are functions, too.
    fn is_join(&self, at: usize) -> bool {
        let outline = &self.outline;
        outline.one_of(at, JOINS)
            && (outline.word(at, "join")
                || outline.one_of(at + 1, &["join", "outer", "left", "right", "full", "inner"]))
    }

    /// One join behind `left`.
    fn join(
        &mut self,
        left: Node,
        lo: usize,
        hi: usize,
        level: LevelId,
        ctes: &Ctes,
    ) -> Result<(Node, usize), Refusal> {
        let mut at = lo;
        let natural = self.outline.word(at, "natural");
        at += usize::from(natural);
        let cross = self.outline.word(at, "cross");
        let kind = match () {
            () if self.outline.word(at, "left") => JoinKind::Left,
            () if self.outline.word(at, "right") => JoinKind::Right,
            () if self.outline.word(at, "full") => JoinKind::Full,
            () => JoinKind::Inner,
        };
        at += usize::from(!self.outline.word(at, "join"));
        at += usize::from(self.outline.word(at, "outer"));
        if !self.outline.word(at, "join") {
            return Err(self.unread(at));
        }
        let (mut right, mut at) = self.primary(at + 1, hi, level, ctes)?;
        let mut condition = if natural {
            Condition::Natural {
                word: lo,
                last: at - 1,
            }
        } else {
            Condition::Cross
        };
        if natural {
            self.levels[level].merges = true;
        } else if !cross {
            // a JOIN b JOIN c ON .. ON ..: the inner join is complete before our condition comes.
            while at < hi && self.is_join(at) {
                (right, at) = self.join(right, at, hi, level, ctes)?;
            }
            (condition, at) = self.qualification(at, hi, level, ctes)?;
        }
        Ok((
            Node::Join {
                kind,
                condition,
                left: Box::new(left),
                right: Box::new(right),
            },
            at,
        ))
    }

    fn qualification(
        &mut self,
        lo: usize,
        hi: usize,
        level: LevelId,
        ctes: &Ctes,
    ) -> Result<(Condition, usize), Refusal> {
        if self.outline.word(lo, "using") && self.outline.opens(lo + 1) {
            self.levels[level].merges = true;
            let last = self.outline.close(lo + 1);
            let columns = self.outline.split(lo + 2, last);
            let columns = columns
                .iter()
                .filter_map(|column| self.outline.name(column.start))
                .collect();
            let alias = (self.outline.word(last + 1, "as") && last + 2 < hi).then_some(last + 2);
            if let Some(alias) = alias {
                self.take(alias);
            }
            let using = Condition::Using {
                columns,
                last,
                alias,
            };
            return Ok((using, alias.unwrap_or(last) + 1));
        }
        if !self.outline.word(lo, "on") || lo >= hi {
            return Err(self.unread(lo.min(hi.saturating_sub(1))));
        }
        let mut at = lo + 1;
        while at < hi {
            let ends = self.outline.is(at, TokenKind::Comma)
                || (!self.outline.is_label(at, lo)
                    && (self.is_join(at) || self.outline.one_of(at, &["on", "using"])));
            if ends {
                break;
            }
            at = self.outline.after(at);
        }
        self.expressions(lo + 1..at, level, ctes)?;
        let joins = &mut self.levels[level].joins;
        joins.push(lo + 1..at);
        Ok((Condition::On(joins.len() - 1), at))
    }

    fn primary(
        &mut self,
        lo: usize,
        hi: usize,
        level: LevelId,
        ctes: &Ctes,
    ) -> Result<(Node, usize), Refusal> {
        let lateral = self.outline.word(lo, "lateral");
        let at = lo + usize::from(lateral);
        if at >= hi {
            return Err(self.unread(lo.min(hi.saturating_sub(1))));
        }
        if self.outline.opens(at) {
            return self.parenthesised(at, hi, level, ctes, lateral);
        }
        if self.outline.word(at, "rows")
            && self.outline.word(at + 1, "from")
            && self.outline.opens(at + 2)
        {
            return self.function(at + 2, None, hi, level, ctes);
        }
        if !self.outline.word(at, "only")
            && let Some((parts, next)) = self.outline.dotted(at, hi)
            && next < hi
            && self.outline.opens(next)
        {
            for &part in &parts {
                self.take(part);
            }
            return self.function(next, parts.last().copied(), hi, level, ctes);
        }
        let (reference, next) = self.reference(at, hi)?;
        let (entry, next) = self.relation(reference, next, hi, ctes, EntryKind::Source)?;
        self.levels[level].entries.push(entry);
        Ok((Node::Leaf(entry), next))
    }

    /// A subquery or a join in parentheses.
    fn parenthesised(
        &mut self,
        lo: usize,
        hi: usize,
        level: LevelId,
        ctes: &Ctes,
        lateral: bool,
    ) -> Result<(Node, usize), Refusal> {
        let close = self.outline.close(lo);
        if self.outline.is_query(lo + 1, close) {
            let parent = if lateral {
                Some(level)
            } else {
                self.levels[level].parent
            };
            self.query(lo + 1..close, ctes, parent)?;
            let (alias, next) = self.alias(close + 1, hi);
            let entry = self.other(&alias, None, level);
            return Ok((Node::Leaf(entry), next));
        }
        let first = self.levels[level].entries.len();
        let merged_before = self.levels[level].merges;
        let (node, end) = self.table_reference(lo + 1, close, level, ctes)?;
        if end != close {
            return Err(self.unread(end));
        }
        let (alias, next) = self.alias(close + 1, hi);
        if alias.name.is_none() {
            return Ok((node, next));
        }
        for &entry in &self.levels[level].entries[first..] {
            self.entries[entry].covered = true;
        }
        self.levels[level].merges = merged_before;
        let entry = self.other(&alias, None, level);
        Ok((Node::Covered(Box::new(node), entry), next))
    }

    /// A function call whose arguments open at `open`.
    fn function(
        &mut self,
        open: usize,
        name: Option<usize>,
        hi: usize,
        level: LevelId,
        ctes: &Ctes,
    ) -> Result<(Node, usize), Refusal> {
        let close = self.outline.close(open);
        self.expressions(open..close, level, ctes)?;
        let mut at = close + 1;
        if self.outline.word(at, "with") && self.outline.word(at + 1, "ordinality") {
            at += 2;
        }
        let (alias, next) = self.alias(at, hi);
        Ok((Node::Leaf(self.other(&alias, name, level)), next))
    }

    /// `[ONLY] name [*]`
    pub(super) fn reference(
        &mut self,
        lo: usize,
        hi: usize,
    ) -> Result<(Reference, usize), Refusal> {
        let only = self.outline.word(lo, "only")
            && (self.outline.opens(lo + 1) || self.outline.is_name(lo + 1));
        let parenthesised = only && self.outline.opens(lo + 1);
        let start = lo + usize::from(only) + usize::from(parenthesised);
        let Some((parts, end)) = self.outline.dotted(start, hi) else {
            return Err(self.unread(start.min(hi.saturating_sub(1))));
        };
        for &part in &parts {
            self.take(part);
        }
        let mut next = end;
        if parenthesised {
            if !self.outline.is(end, TokenKind::RightParenthesis) {
                return Err(self.unread(end));
            }
            next += 1;
        } else if !only && next < hi && self.outline.is_star(next) {
            next += 1;
        }
        Ok((
            Reference {
                tokens: lo..next,
                name: start..end,
            },
            next,
        ))
    }

    /// The entry of a relation whose alias may begin at `at`.
    pub(super) fn relation(
        &mut self,
        reference: Reference,
        at: usize,
        hi: usize,
        ctes: &Ctes,
        kind: EntryKind,
    ) -> Result<(EntryId, usize), Refusal> {
        let (alias, next) = self.alias(at, hi);
        let mut end = next;
        let mut sample = end..end;
        if self.outline.word(end, "tablesample") && end < hi {
            let Some((_, arguments)) = self.outline.dotted(end + 1, hi) else {
                return Err(self.unread(end));
            };
            end = self.outline.after(arguments);
            if self.outline.word(end, "repeatable") && self.outline.opens(end + 1) {
                end = self.outline.after(end + 1);
            }
            sample.end = end;
        }
        let table = self.resolve(&reference.name, ctes, kind)?;
        let cloak = self.cloak(&reference.name, ctes, kind);
        let bin = self.resolve_bin(&reference.name, ctes);
        let qualifier = alias
            .name
            .map_or_else(|| reference.name.clone(), |name| name..name + 1);
        let exposed = self.outline.name(qualifier.end - 1);
        self.entries.push(Entry {
            exposed,
            qualifier,
            table,
            cloak,
            bin,
            reference: reference.tokens,
            alias: alias.tokens,
            alias_columns: alias.columns,
            sample,
            kind,
            place: if kind == EntryKind::Source {
                Place::Wrap
            } else {
                Place::Nowhere
            },
            covered: false,
            uses: Uses::default(),
        });
        Ok((self.entries.len() - 1, end))
    }

    /// An entry that is no relation.
    fn other(&mut self, alias: &Alias, name: Option<usize>, level: LevelId) -> EntryId {
        let exposed = alias.name.or(name);
        let qualifier = exposed.map_or(alias.tokens.start..alias.tokens.start, |at| at..at + 1);
        self.entries.push(Entry {
            exposed: exposed.and_then(|at| self.outline.name(at)),
            qualifier,
            table: None,
            cloak: None,
            bin: None,
            reference: alias.tokens.start..alias.tokens.start,
            alias: alias.tokens.clone(),
            alias_columns: alias.columns.clone(),
            sample: alias.tokens.end..alias.tokens.end,
            kind: EntryKind::Source,
            place: Place::Nowhere,
            covered: false,
            uses: Uses::default(),
        });
        let entry = self.entries.len() - 1;
        self.levels[level].entries.push(entry);
        entry
    }

    /// `[AS] name [(columns)]`, or `AS (definitions)` behind a function.
    fn alias(&mut self, lo: usize, hi: usize) -> (Alias, usize) {
        let none = (
            Alias {
                tokens: lo..lo,
                ..Alias::default()
            },
            lo,
        );
        if lo >= hi {
            return none;
        }
        let explicit = self.outline.word(lo, "as");
        let at = lo + usize::from(explicit);
        let name =
            self.outline.is_name(at) && at < hi && (explicit || !self.outline.one_of(at, NO_ALIAS));
        let mut next = if name { at + 1 } else { at };
        let definitions = explicit && self.outline.opens(at);
        if !(name || definitions) {
            return none;
        }
        if name {
            self.take(at);
        }
        let mut columns = Vec::new();
        if next < hi && self.outline.opens(next) {
            let close = self.outline.close(next);
            for part in self.outline.split(next + 1, close) {
                columns.extend(self.outline.name(part.start));
                if part.len() > 1 {
                    self.note_type(part.start + 1);
                }
            }
            for token in next..close {
                self.take(token);
            }
            next = close + 1;
        }
        (
            Alias {
                tokens: lo..next,
                name: name.then_some(at),
                columns,
            },
            next,
        )
    }

    /// Gives the entries below `node` the place where their predicate belongs: the nearest join on
    /// whose nullable side they stand, or `outer`.
    pub(super) fn settle(&mut self, node: &Node, outer: Place, merged: bool) {
        match node {
            Node::Leaf(entry) => {
                let entry = &mut self.entries[*entry];
                if entry.table.is_some() {
                    // Our columns bear the same name in both tables of a natural join.
                    entry.place = if merged { Place::Wrap } else { outer };
                } else if entry.cloak.is_some() {
                    entry.place = outer;
                }
            }
            Node::Covered(join, _) => self.settle(join, Place::Wrap, true),
            Node::Join {
                kind,
                condition,
                left,
                right,
            } => {
                let nullable = match condition {
                    Condition::On(join) => Place::On(*join),
                    Condition::Using { .. } | Condition::Natural { .. } | Condition::Cross => {
                        Place::Around
                    }
                };
                let is_spelled = |word: &usize| self.spelled.contains(word);
                let merged = merged
                    || matches!(condition, Condition::Natural { word, last: _ } if !is_spelled(word));
                let (on_left, on_right) = match kind {
                    JoinKind::Inner => (outer, outer),
                    JoinKind::Left => (outer, nullable),
                    JoinKind::Right => (nullable, outer),
                    JoinKind::Full => (Place::Around, Place::Around),
                };
                self.settle(left, on_left, merged);
                self.settle(right, on_right, merged);
            }
        }
    }
}
