//! Joins whose tables cannot become subqueries: their columns are written out, and what hides deleted rows stands in the join.

use std::ops::Range;

use catalog::quote_identifier;

use crate::Refusal;

use super::Walk;
use super::tree::{Condition, EntryId, EntryKind, LevelId, Node, Place};

/// The first version that knows `USING (...) AS alias`.
const USING_ALIAS_SINCE: u32 = 140_000;

/// One column of what `*` stands for, or several.
#[derive(Debug, Clone)]
pub(super) enum Output {
    Column(EntryId, String),
    /// All columns of a relation whose columns are not known.
    All(EntryId),
    /// The column that USING or NATURAL made of two.
    Merged(Merged, String),
}

/// The join that merged a column.
#[derive(Debug, Clone)]
pub(super) struct Merged {
    /// Its last token, without an alias.
    last: usize,
    alias: Option<usize>,
}

impl Output {
    fn name(&self) -> Option<&str> {
        match self {
            Self::Column(_, name) | Self::Merged(_, name) => Some(name),
            Self::All(_) => None,
        }
    }
}

impl Walk<'_> {
    /// What `*` stands for, if it is known.
    pub(super) fn outputs(&self, level: LevelId) -> Option<Vec<Output>> {
        let level = &self.levels[level];
        let mut outputs = Vec::new();
        let mut done = Vec::new();
        for &entry in &level.entries {
            if self.entries[entry].covered || done.contains(&entry) {
                continue;
            }
            let joined = level
                .nodes
                .iter()
                .find(|(node, _)| leaves(node).contains(&entry));
            match joined {
                Some((node, _)) => {
                    done.extend(leaves(node));
                    outputs.extend(self.outputs_of(node)?);
                }
                None => outputs.extend(self.outputs_of_leaf(entry)?),
            }
        }
        Some(outputs)
    }

    fn outputs_of(&self, node: &Node) -> Option<Vec<Output>> {
        let (condition, left, right) = match node {
            Node::Leaf(entry) | Node::Covered(_, entry) => return self.outputs_of_leaf(*entry),
            Node::Join {
                kind: _,
                condition,
                left,
                right,
            } => (condition, self.outputs_of(left)?, self.outputs_of(right)?),
        };
        let (last, alias, columns) = match condition {
            Condition::On(_) | Condition::Cross => return Some([left, right].concat()),
            Condition::Using {
                columns,
                last,
                alias,
            } => (*last, *alias, columns.clone()),
            Condition::Natural { word: _, last } => (*last, None, common(&left, &right)?),
        };
        let names = |side: &[Output], column: &str| {
            side.iter()
                .filter(|output| output.name() == Some(column))
                .count()
        };
        let is_known = |side: &[Output]| side.iter().all(|output| output.name().is_some());
        let is_sound = columns
            .iter()
            .all(|column| names(&left, column) == 1 && names(&right, column) == 1);
        if !(is_known(&left) && is_known(&right) && is_sound) {
            return None;
        }
        let is_merged = |output: &Output| {
            columns
                .iter()
                .any(|name| output.name() == Some(name.as_str()))
        };
        let merged = columns
            .iter()
            .map(|name| Output::Merged(Merged { last, alias }, name.clone()));
        let rest = left
            .iter()
            .chain(&right)
            .filter(|output| !is_merged(output));
        Some(merged.chain(rest.cloned()).collect())
    }

    fn outputs_of_leaf(&self, id: EntryId) -> Option<Vec<Output>> {
        let entry = &self.entries[id];
        entry.exposed.as_ref()?;
        if entry.cloak.is_some() {
            return None;
        }
        Some(match entry.known_names() {
            Some(names) => names
                .into_iter()
                .map(|name| Output::Column(id, name))
                .collect(),
            None => vec![Output::All(id)],
        })
    }

    /// NATURAL is written as USING where one of its tables can be no subquery: our columns must not take part.
    pub(super) fn spell_naturals(&mut self) {
        if self.is_stored {
            return;
        }
        for level in 0..self.levels.len() {
            let nodes = std::mem::take(&mut self.levels[level].nodes);
            let mut naturals = Vec::new();
            for (node, _) in &nodes {
                naturals_of(node, &mut naturals);
            }
            let listed = !naturals.is_empty() && self.has_unwrappable_star(level);
            let before = self.spelled.len();
            for (word, node) in naturals {
                let must = listed || leaves(node).into_iter().any(|leaf| self.stays(leaf));
                if must && self.outputs_of(node).is_some() {
                    self.spelled.push(word);
                }
            }
            if self.spelled.len() > before {
                for (node, outermost) in &nodes {
                    self.settle(node, *outermost, false);
                }
            }
            self.levels[level].nodes = nodes;
        }
    }

    /// True if it is one of ours and can be no subquery.
    fn stays(&self, entry: EntryId) -> bool {
        self.entries[entry].table.is_some() && self.cannot_wrap(entry).is_some()
    }

    /// True if `*` is asked of a table that can be no subquery.
    pub(super) fn has_unwrappable_star(&self, level: LevelId) -> bool {
        let mut stars = self.levels[level].stars.iter();
        stars.any(|star| {
            star.qualifier.is_none()
                && self
                    .starred(level, star)
                    .into_iter()
                    .any(|entry| self.stays(entry))
        })
    }

    /// True if a join around the table can filter it.
    pub(super) fn can_filter(&self, id: EntryId) -> bool {
        let entry = &self.entries[id];
        entry.kind == EntryKind::Source && entry.place == Place::Around && !self.is_stored
    }

    /// Filters, conditions in the place of NATURAL, and names for what USING merges.
    pub(super) fn emit_joins(&mut self, level: LevelId) -> Result<(), Refusal> {
        for index in 0..self.levels[level].entries.len() {
            let id = self.levels[level].entries[index];
            if self.filtered[id] {
                self.emit_filter(id)?;
            }
        }
        let outputs = match self.levels[level].listed {
            true => self.outputs(level).unwrap_or_default(),
            false => Vec::new(),
        };
        let nodes = std::mem::take(&mut self.levels[level].nodes);
        let mut naturals = Vec::new();
        for (node, _) in &nodes {
            naturals_of(node, &mut naturals);
        }
        for (word, node) in naturals {
            if self.spelled.contains(&word) {
                self.emit_natural(node);
            }
        }
        self.levels[level].nodes = nodes;
        if self.levels[level].listed {
            self.levels[level].list_text = self.star_list(&outputs)?;
        }
        Ok(())
    }

    /// `(t JOIN (SELECT) AS x ON t.deleted_at IS NULL)`: the table stays one, and x has no columns.
    fn emit_filter(&mut self, id: EntryId) -> Result<(), Refusal> {
        let entry = &self.entries[id];
        let predicate = self.predicate(entry)?;
        let ends =
            [&entry.reference, &entry.alias, &entry.sample].map(|part: &Range<usize>| part.end);
        let (start, end) = (entry.reference.start, ends.into_iter().fold(0, usize::max));
        self.insert_before(start, "(");
        self.insert_behind(
            end - 1,
            &format!(" JOIN (SELECT) AS reprieve_t{id} ON {predicate})"),
        );
        Ok(())
    }

    fn emit_natural(&mut self, node: &Node) {
        let Node::Join {
            kind: _,
            condition: Condition::Natural { word, last },
            left,
            right,
        } = node
        else {
            return;
        };
        let sides = self.outputs_of(left).zip(self.outputs_of(right));
        let Some(columns) = sides.and_then(|(left, right)| common(&left, &right)) else {
            return;
        };
        self.replace(*word..*word + 1, "");
        let condition = match columns.is_empty() {
            true => " ON true".to_string(),
            false => format!(" USING ({})", quoted(&columns)),
        };
        self.insert_behind(*last, &condition);
    }

    /// The columns of `*`. A merged one has no table; where its name alone would be ambiguous its join gets one.
    fn star_list(&mut self, outputs: &[Output]) -> Result<String, Refusal> {
        let mut list = Vec::new();
        let mut named = Vec::new();
        for output in outputs {
            list.push(match output {
                Output::Column(id, name) => {
                    format!("{}.{}", self.qualifier_of(*id)?, quote_identifier(name))
                }
                Output::All(id) => format!("{}.*", self.qualifier_of(*id)?),
                Output::Merged(merged, name) => {
                    let others = outputs
                        .iter()
                        .filter(|other| other.name().is_none_or(|other| other == name));
                    let column = quote_identifier(name);
                    match (others.count(), merged.alias) {
                        (1, _) => column,
                        (_, Some(alias)) => format!("{}.{column}", self.text(alias..alias + 1)?),
                        (_, None) if self.may_name_joins() => {
                            if !named.contains(&merged.last) {
                                named.push(merged.last);
                                let alias = format!(" AS reprieve_j{}", merged.last);
                                self.insert_behind(merged.last, &alias);
                            }
                            format!("reprieve_j{}.{column}", merged.last)
                        }
                        (_, None) => return Err(self.unread(merged.last)),
                    }
                }
            });
        }
        Ok(list.join(", "))
    }

    fn may_name_joins(&self) -> bool {
        self.scope.catalog.server_version() >= USING_ALIAS_SINCE && !self.is_stored
    }

    fn qualifier_of(&self, id: EntryId) -> Result<String, Refusal> {
        let mut qualifier = self.entries[id].qualifier.clone();
        if self.wrapped[id] {
            qualifier.start = qualifier.end - 1;
        }
        self.text(qualifier)
    }
}

fn quoted(names: &[String]) -> String {
    let names: Vec<String> = names.iter().map(|name| quote_identifier(name)).collect();
    names.join(", ")
}

/// The columns that NATURAL merges, in the order of the left side; `None` if not all columns are known.
fn common(left: &[Output], right: &[Output]) -> Option<Vec<String>> {
    let names = |side: &[Output]| -> Option<Vec<String>> {
        side.iter()
            .map(|output| output.name().map(str::to_owned))
            .collect()
    };
    let (left, right) = (names(left)?, names(right)?);
    Some(
        left.into_iter()
            .filter(|name| right.contains(name))
            .collect(),
    )
}

fn leaves(node: &Node) -> Vec<EntryId> {
    match node {
        Node::Leaf(entry) | Node::Covered(_, entry) => vec![*entry],
        Node::Join {
            kind: _,
            condition: _,
            left,
            right,
        } => [leaves(left), leaves(right)].concat(),
    }
}

/// The natural joins of a tree with their words, inner ones first. Those with an alias around them stay as they are.
fn naturals_of<'n>(node: &'n Node, found: &mut Vec<(usize, &'n Node)>) {
    let Node::Join {
        kind: _,
        condition,
        left,
        right,
    } = node
    else {
        return;
    };
    naturals_of(left, found);
    naturals_of(right, found);
    if let Condition::Natural { word, last: _ } = condition {
        found.push((*word, node));
    }
}
