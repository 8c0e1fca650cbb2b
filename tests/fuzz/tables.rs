//! What the generator knows of `schema.sql` and `later.sql`.

/// The types that expressions are made of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ty {
    Int,
    Text,
    Num,
    Bool,
    Date,
    Json,
    Ints,
    /// Only passed on, or printed.
    Other,
}

/// What may be done with a column.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    Key,
    Plain,
    /// Refers to a row of another table.
    Foreign,
    /// Is not written by INSERT and UPDATE.
    Fixed,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Table,
    /// Has children: ONLY makes a difference.
    Family,
    /// A view that can be written.
    Updatable,
    View,
    Materialized,
}

type Columns = &'static [(&'static str, Ty, Role)];

pub struct Table {
    pub schema: &'static str,
    pub name: &'static str,
    pub kind: Kind,
    pub columns: Columns,
}

impl Table {
    pub fn is_base(&self) -> bool {
        matches!(self.kind, Plain_ | Family)
    }

    pub fn is_written(&self) -> bool {
        self.is_base() || self.kind == Updatable
    }

    pub fn keys(&self) -> Vec<&'static str> {
        let keys = self.columns.iter().filter(|column| column.2 == Key);
        keys.map(|column| column.0).collect()
    }
}

use Kind::{Family, Materialized, Table as Plain_, Updatable, View};
use Role::{Fixed, Foreign, Key, Plain};
use Ty::{Bool, Date, Int, Ints, Json, Num, Other, Text};

const fn table(schema: &'static str, name: &'static str, kind: Kind, columns: Columns) -> Table {
    Table {
        schema,
        name,
        kind,
        columns,
    }
}

#[rustfmt::skip]
const MIXED_CASE: Columns = &[
    ("\"Id\"", Int, Key), ("\"select\"", Text, Plain), ("\"Order\"", Int, Plain), ("task", Int, Foreign),
];

#[rustfmt::skip]
const PART: Columns = &[
    ("id", Int, Key), ("k", Int, Key), ("v", Text, Plain),
];

#[rustfmt::skip]
const V_COUNT: Columns = &[
    ("id", Int, Plain), ("name", Text, Plain), ("n", Int, Plain),
];

#[rustfmt::skip]
pub const TABLES: &[Table] = &[
    table("public", "emp", Plain_, &[
        ("id", Int, Key), ("dept_id", Int, Foreign), ("name", Text, Plain), ("salary", Num, Plain), ("hired", Date, Plain),
        ("active", Bool, Plain), ("tags", Ints, Plain), ("info", Json, Plain),
    ]),
    table("public", "dept", Plain_, &[("id", Int, Key), ("name", Text, Plain), ("budget", Num, Plain), ("boss", Int, Plain)]),
    table("public", "task", Plain_, &[
        ("id", Int, Key), ("emp_id", Int, Foreign), ("title", Text, Plain), ("prio", Int, Plain), ("due", Date, Plain),
    ]),
    table("public", "link", Plain_, &[("a", Int, Key), ("b", Int, Key), ("n", Int, Plain)]),
    table("public", "\"Mixed Case\"", Plain_, MIXED_CASE),
    table("app", "emp", Plain_, &[("id", Int, Key), ("name", Text, Plain), ("score", Num, Plain), ("ref", Int, Plain)]),
    table("app", "log", Plain_, &[("at", Date, Plain), ("msg", Text, Plain), ("n", Int, Plain), ("extra", Int, Plain)]),
    table("public", "animal", Family, &[("id", Int, Key), ("name", Text, Plain), ("legs", Int, Plain)]),
    table("public", "bird", Plain_, &[("id", Int, Key), ("name", Text, Plain), ("legs", Int, Plain), ("wings", Int, Plain)]),
    table("public", "part", Family, PART),
    table("public", "part_low", Plain_, PART),
    table("public", "bin_note", Plain_, &[
        ("id", Int, Key), ("emp_id", Int, Foreign), ("body", Text, Plain), ("stars", Int, Plain),
    ]),
    table("public", "gen", Plain_, &[
        ("id", Int, Key), ("x", Int, Plain), ("y", Int, Fixed), ("m", Other, Plain), ("s", Int, Plain),
    ]),
    table("public", "tree", Plain_, &[("id", Int, Key), ("up", Int, Foreign), ("v", Text, Plain), ("w", Num, Plain)]),
    table("public", "booking", Plain_, &[("id", Int, Key), ("room", Int, Plain), ("during", Other, Fixed)]),
    table("public", "late", Plain_, &[("id", Int, Key), ("emp_id", Int, Foreign), ("v", Text, Plain), ("n", Int, Plain)]),
    table("public", "v_emp", View, &[
        ("id", Int, Plain), ("dept_id", Int, Plain), ("name", Text, Plain), ("salary", Num, Plain), ("hired", Date, Plain),
        ("active", Bool, Plain), ("tags", Ints, Plain), ("info", Json, Plain), ("dept", Text, Plain),
    ]),
    table("public", "v_task", Updatable, &[("id", Int, Key), ("title", Text, Plain), ("prio", Int, Plain)]),
    table("public", "v_gen", View, &[("id", Int, Plain), ("x", Int, Plain), ("y", Int, Plain)]),
    table("public", "v_count", View, V_COUNT),
    table("public", "v_late", View, &[
        ("id", Int, Plain), ("emp_id", Int, Plain), ("title", Text, Plain), ("prio", Int, Plain), ("due", Date, Plain),
        ("name", Text, Plain),
    ]),
    table("public", "v_star", Updatable, MIXED_CASE),
    table("public", "v_animal", View, &[("id", Int, Plain), ("name", Text, Plain), ("legs", Int, Plain), ("kind", Text, Plain)]),
    table("public", "v_union", View, &[("id", Int, Plain), ("name", Text, Plain)]),
    table("public", "v_over", View, V_COUNT),
    table("public", "m_dept", Materialized, &[("dept_id", Int, Plain), ("n", Int, Plain), ("total", Num, Plain)]),
];

/// The table that refers to itself.
pub fn tree() -> &'static Table {
    TABLES
        .iter()
        .find(|table| table.name == "tree")
        .unwrap_or(&TABLES[0])
}
