//! What the outline of a statement is made of. All indexes are token indexes.

use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;

use catalog::{Column, Table};

use crate::cloak::{Cloak, Mask};

pub(super) type LevelId = usize;
pub(super) type EntryId = usize;

/// One place where columns are looked up: a SELECT with its FROM clause, or an INSERT, UPDATE,
/// DELETE, MERGE with its target. Queries nested in it are levels of their own.
#[derive(Debug, Default)]
pub(super) struct Level {
    /// Where names are looked up that this level does not know.
    pub parent: Option<LevelId>,
    /// In the order in which `*` names them.
    pub entries: Vec<EntryId>,
    pub joins: Vec<Range<usize>>,
    pub stars: Vec<Star>,
    pub filter: Filter,
    /// The select list, empty where it is DISTINCT.
    pub items: Range<usize>,
    pub group: Option<Range<usize>>,
    /// Behind FROM of a SELECT.
    pub from: Range<usize>,
    /// The select list.
    pub list: Range<usize>,
    /// SELECT DISTINCT, ON or not.
    pub distinct: bool,
    /// GROUP BY and DISTINCT ON: like ORDER BY, a name in them may be that of an output column.
    pub by_output: Vec<Range<usize>>,
    /// Behind ORDER BY.
    pub order: Option<Range<usize>>,
    /// Where a column that is functionally dependent on GROUP BY may stand.
    pub grouped: Vec<Range<usize>>,
    pub lock: Lock,
    /// USING or NATURAL: `*` names the merged columns first, and once.
    pub merges: bool,
    /// The members of FROM, and where conditions on their rows go.
    pub nodes: Vec<(Node, Place)>,
    /// `*` is written out although columns are merged, as this text.
    pub listed: bool,
    pub list_text: String,
}

/// Where conditions on the rows of a level go.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) enum Filter {
    #[default]
    Nowhere,
    /// The client's condition.
    Existing(Range<usize>),
    /// No WHERE yet: it goes behind this token.
    After(usize),
}

#[derive(Debug, Default)]
pub(super) enum Lock {
    #[default]
    None,
    All,
    Of(Vec<String>),
}

/// `*` or `t.*` where it stands for a list of columns.
#[derive(Debug)]
pub(super) struct Star {
    pub tokens: Range<usize>,
    pub qualifier: Option<Range<usize>>,
}

/// One member of a range table.
#[derive(Debug)]
pub(super) struct Entry {
    /// The name that qualifies its columns, folded.
    pub exposed: Option<String>,
    /// Tokens of that name as the client wrote it.
    pub qualifier: Range<usize>,
    /// `None`: another relation, a function, a subquery.
    pub table: Option<Arc<Table>>,
    /// A system relation in which things of ours stand.
    pub cloak: Option<&'static Cloak>,
    /// A table in mode `bin`.
    pub bin: Option<Arc<Table>>,
    /// `[ONLY] name [*]`, parentheses of ONLY included.
    pub reference: Range<usize>,
    /// `[AS] alias [(columns)]`, empty without one.
    pub alias: Range<usize>,
    pub alias_columns: Vec<String>,
    /// `TABLESAMPLE ...`, empty without one.
    pub sample: Range<usize>,
    pub kind: EntryKind,
    pub place: Place,
    /// Inside a parenthesised join with an alias: its own name is not seen outside.
    pub covered: bool,
    pub uses: Uses,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EntryKind {
    Source,
    /// Of INSERT, UPDATE, DELETE or MERGE: can be no subquery.
    Target,
    /// `excluded`, `old`, `new`: the target's columns under another name.
    Image,
}

/// Where the predicate of an entry belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Filter,
    /// In front of the condition of this join of its level.
    On(usize),
    /// No condition can take it: the table must become a subquery.
    Wrap,
    /// The same, but a join around the table would do, too.
    Around,
    /// Rows of it are not read.
    Nowhere,
}

/// What the client's names ask of an entry; the first token that does so.
#[derive(Debug, Default)]
pub(super) struct Uses {
    pub whole_row: Vec<WholeRow>,
    pub hidden: Option<usize>,
    pub system: Option<usize>,
    /// `schema.table.column`: the tokens of the schema with its dot, and whether the table is found without it.
    pub schema_qualified: Vec<(Range<usize>, bool)>,
    /// Columns of a system relation that show another value for what is ours.
    pub masked: Vec<Masked>,
}

#[derive(Debug, Clone)]
pub(super) struct Masked {
    /// The column's name and what qualifies it.
    pub tokens: Range<usize>,
    pub mask: &'static Mask,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct WholeRow {
    pub tokens: Range<usize>,
    /// False if a relation whose columns are not known might have a column of this name.
    pub certain: bool,
}

impl Entry {
    /// What `entry.*` is to the client.
    pub fn visible_names(&self) -> Vec<String> {
        let Some(table) = &self.table else {
            return Vec::new();
        };
        let mut names: Vec<String> = table
            .visible_columns()
            .map(|column| column.name.clone())
            .collect();
        for (name, alias) in names.iter_mut().zip(&self.alias_columns) {
            name.clone_from(alias);
        }
        names
    }

    /// True if an alias gives a column the name of another one: a star cannot be written out then.
    pub fn aliases_repeat(&self) -> bool {
        if self.alias_columns.is_empty() {
            return false;
        }
        let names = self.visible_names();
        (1..names.len()).any(|index| names[..index].contains(&names[index]))
    }

    /// The same for each table whose columns are known.
    pub fn known_names(&self) -> Option<Vec<String>> {
        let (None, Some(bin)) = (&self.table, &self.bin) else {
            return self.table.is_some().then(|| self.visible_names());
        };
        let mut names: Vec<String> = bin
            .visible_columns()
            .map(|column| column.name.clone())
            .collect();
        for (name, alias) in names.iter_mut().zip(&self.alias_columns) {
            name.clone_from(alias);
        }
        Some(names)
    }

    pub fn has_visible(&self, name: &str) -> bool {
        self.table.is_some() && self.visible_names().iter().any(|visible| visible == name)
    }

    /// True if it is known to have no column of this name.
    pub fn lacks(&self, name: &str) -> bool {
        let is_alias = || self.alias_columns.iter().any(|alias| alias == name);
        match (&self.table, &self.bin) {
            (Some(_), _) => !self.has_visible(name),
            (None, Some(bin)) => {
                !is_alias() && bin.columns.iter().all(|column| column.name != name)
            }
            (None, None) => false,
        }
    }

    pub fn hides(&self, name: &str) -> bool {
        self.table.as_ref().is_some_and(|table| hides(table, name))
    }

    /// True if the aliases of the columns do not fit in front of our own columns.
    pub fn aliases_reach_ours(&self) -> bool {
        let Some(table) = &self.table else {
            return false;
        };
        let mut columns = table.columns.iter();
        let before_ours = columns
            .position(|column| column.hidden)
            .unwrap_or(table.columns.len());
        !self.alias_columns.is_empty()
            && (self.alias_columns.len() > before_ours
                || self
                    .alias_columns
                    .iter()
                    .any(|name| name == "deleted_at" || hides(table, name)))
    }
}

pub(super) fn hides(table: &Table, name: &str) -> bool {
    table.columns.iter().any(
        |Column {
             name: column,
             hidden,
             generated: _,
         }| *hidden && column == name,
    )
}

/// A join tree, to find out where predicates belong.
#[derive(Debug)]
pub(super) enum Node {
    Leaf(EntryId),
    Join {
        kind: JoinKind,
        condition: Condition,
        left: Box<Node>,
        right: Box<Node>,
    },
    /// A join with an alias of its own, and the entry of that.
    Covered(Box<Node>, EntryId),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum JoinKind {
    Inner,
    Left,
    Right,
    Full,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Condition {
    /// Index into `Level::joins`.
    On(usize),
    Using {
        columns: Vec<String>,
        /// The token that closes the list.
        last: usize,
        alias: Option<usize>,
    },
    Natural {
        word: usize,
        /// The last token of what is joined.
        last: usize,
    },
    Cross,
}

/// Names of the common table expressions that can be seen.
#[derive(Debug, Clone, Default)]
pub(super) struct Ctes(Option<Rc<CteNames>>);

#[derive(Debug)]
struct CteNames {
    name: String,
    outer: Ctes,
}

impl Ctes {
    pub fn with(&self, name: String) -> Self {
        Self(Some(Rc::new(CteNames {
            name,
            outer: self.clone(),
        })))
    }

    pub fn contains(&self, name: &str) -> bool {
        let mut at = self;
        while let Some(names) = &at.0 {
            if names.name == name {
                return true;
            }
            at = &names.outer;
        }
        false
    }
}
