//! Random statements over the tables of `schema.sql`, most of which PostgreSQL takes. All of them have one right answer:
//! where there is a LIMIT there is a total order, and no aggregate depends on the order of rows.

mod dml;
mod expr;
mod from;
mod query;
mod row;

use crate::choices::Choices;
use crate::tables::{TABLES, Table, Ty};

/// How a statement is sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    Simple,
    /// Extended protocol, results as text.
    Text,
    /// Extended protocol, results in binary.
    Binary,
    /// PREPARE and EXECUTE.
    Prepared,
}

/// One statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    pub sql: String,
    /// The values of `$1`, `$2` and so on, as text.
    pub parameters: Vec<Option<String>>,
    pub way: Way,
    /// Its rows have a total order.
    pub ordered: bool,
}

/// What is tried at once: one query by itself, or statements in a transaction that is rolled back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trial {
    pub statements: Vec<Statement>,
    pub writes: bool,
}

/// A column that can be seen.
#[derive(Clone, Debug)]
struct Column {
    /// As it is written in SQL.
    name: String,
    ty: Ty,
    /// May be named without its relation, if no other has the name.
    bare: bool,
    /// May be named at all.
    usable: bool,
}

impl Column {
    fn new(name: &str, ty: Ty) -> Column {
        Column {
            name: name.to_owned(),
            ty,
            bare: true,
            usable: true,
        }
    }
}

/// A relation in a FROM clause.
#[derive(Clone, Debug, Default)]
struct Relation {
    /// What its columns are qualified by; empty for columns that a USING merged.
    name: String,
    columns: Vec<Column>,
    /// Its name can stand for a whole row.
    row: bool,
    /// The primary key, if it is a table.
    key: Vec<String>,
}

/// A query level: what its expressions see.
#[derive(Clone, Debug, Default)]
struct Level {
    relations: Vec<Relation>,
    /// In a grouped query, what may be used outside of aggregates.
    grouped: Option<Vec<(String, Ty)>>,
}

/// A query with the columns that it returns.
struct Query {
    sql: String,
    columns: Vec<Column>,
    ordered: bool,
}

pub struct Generator {
    choices: Choices,
    levels: Vec<Level>,
    ctes: Vec<Relation>,
    parameters: Option<Vec<Option<String>>>,
    aliases: usize,
    /// How many more expressions may be made that are not simple.
    fuel: i32,
    qualify: bool,
    /// The first schema of the search path is `app`.
    app_first: bool,
}

impl Generator {
    pub fn new(choices: Choices, app_first: bool) -> Generator {
        Generator {
            choices,
            levels: Vec::new(),
            ctes: Vec::new(),
            parameters: None,
            aliases: 0,
            fuel: 0,
            qualify: false,
            app_first,
        }
    }

    pub fn record(&self) -> &[u32] {
        self.choices.record()
    }

    /// One trial: three of four only read.
    pub fn trial(&mut self) -> Trial {
        if !self.chance(4) {
            return Trial {
                statements: vec![self.statement(false)],
                writes: false,
            };
        }
        let count = 1 + self.pick(3);
        let statements = (0..count)
            .map(|at| {
                let write = at == 0 || !self.chance(3);
                self.statement(write)
            })
            .collect();
        Trial {
            statements,
            writes: true,
        }
    }

    fn statement(&mut self, write: bool) -> Statement {
        self.levels.clear();
        self.ctes.clear();
        self.aliases = 0;
        self.fuel = 30;
        let way = [
            Way::Simple,
            Way::Simple,
            Way::Text,
            Way::Binary,
            Way::Prepared,
        ][self.pick(5)];
        self.parameters = (way != Way::Simple).then(Vec::new);
        let depth = 1 + self.pick(3);
        let (sql, ordered) = if write {
            (self.write(depth), false)
        } else {
            let query = self.query(None, depth);
            (query.sql, query.ordered)
        };
        Statement {
            sql,
            parameters: self.parameters.take().unwrap_or_default(),
            way,
            ordered,
        }
    }

    /// A number below `count`; 0 is the simplest.
    fn pick(&mut self, count: usize) -> usize {
        self.choices.pick(count)
    }

    /// True once in `count` times.
    fn chance(&mut self, count: usize) -> bool {
        self.choices.pick(count) + 1 == count
    }

    fn word(&mut self, words: &[&str]) -> String {
        words[self.choices.pick(words.len())].to_owned()
    }

    fn alias(&mut self) -> String {
        self.aliases += 1;
        let at = self.aliases;
        match self.pick(12) {
            0..=8 => format!("r{at}"),
            9 => format!("\"R {at}\""),
            10 => format!("R{at}"),
            _ => format!("\"emp{at}\""),
        }
    }

    /// How a table is named so that it is found.
    fn table_name(&mut self, table: &Table) -> (String, String) {
        let hidden_by_cte = self.ctes.iter().any(|cte| cte.name == table.name);
        let found = match table.schema {
            "public" => !(self.app_first && table.name == "emp"),
            _ => self.app_first,
        };
        if hidden_by_cte || !found || self.chance(6) {
            let name = format!("{}.{}", table.schema, table.name);
            return (name.clone(), name);
        }
        let name = match self.pick(10) {
            8 if !table.name.starts_with('"') => table.name.to_uppercase(),
            9 if !table.name.starts_with('"') => format!("\"{}\"", table.name),
            _ => table.name.to_owned(),
        };
        (name, table.name.to_owned())
    }

    fn table(&mut self, fits: impl Fn(&Table) -> bool) -> &'static Table {
        let fitting = TABLES
            .iter()
            .filter(|table| fits(table))
            .collect::<Vec<_>>();
        fitting[self.pick(fitting.len())]
    }

    fn space(&mut self) -> &'static str {
        match self.pick(24) {
            21 => "\n",
            22 => " /* deleted_at; */ ",
            23 => " -- it's\n",
            _ => " ",
        }
    }
}

/// The relation that a table is, under a name.
fn relation(table: &Table, name: &str) -> Relation {
    Relation {
        name: name.to_owned(),
        columns: table
            .columns
            .iter()
            .map(|(name, ty, _)| Column::new(name, *ty))
            .collect(),
        row: true,
        key: if table.is_base() {
            table.keys().iter().map(|key| (*key).to_owned()).collect()
        } else {
            Vec::new()
        },
    }
}
