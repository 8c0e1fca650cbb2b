//! Random schemas: tables that refer to each other and to themselves.

use crate::random::Random;

/// A column that refers to the key of a table.
pub struct Reference {
    pub column: String,
    pub to: usize,
    /// SET NULL or SET DEFAULT: a delete of the parent changes it.
    pub relinks: bool,
    pub cascades: bool,
}

pub struct Table {
    pub name: String,
    /// `code` is unique.
    pub unique: bool,
    pub references: Vec<Reference>,
}

impl Table {
    /// In their order.
    pub fn columns(&self) -> Vec<&str> {
        ["id", "v"]
            .into_iter()
            .chain(self.unique.then_some("code"))
            .chain(
                self.references
                    .iter()
                    .map(|reference| reference.column.as_str()),
            )
            .collect()
    }
}

pub struct Schema {
    pub tables: Vec<Table>,
    /// Keys are used again, and change.
    pub reuses: bool,
    pub ddl: Vec<String>,
}

impl Schema {
    /// Two to eight tables with an `id`, a `v`, perhaps a unique `code`, and up to three foreign keys each.
    pub fn random(random: &mut Random, reuses: bool) -> Schema {
        let count = 2 + random.below(7);
        let mut tables = Vec::new();
        let mut ddl = Vec::new();
        let mut keys = Vec::new();
        for number in 0..count {
            let name = format!("t{number}");
            let unique = random.percent(40);
            let mut columns = "id int PRIMARY KEY, v int DEFAULT 7".to_owned();
            if unique {
                columns += ", code int UNIQUE";
                columns += match random.below(4) {
                    0 => " DEFERRABLE INITIALLY DEFERRED",
                    1 => " DEFERRABLE",
                    _ => "",
                };
            }
            let mut references = Vec::new();
            for place in 0..random.below(4) {
                let column = format!("r{place}");
                let to = random.below(count);
                let action = *random.of(&[
                    "NO ACTION",
                    "NO ACTION",
                    "RESTRICT",
                    "CASCADE",
                    "CASCADE",
                    "CASCADE",
                    "SET NULL",
                    "SET DEFAULT",
                ]);
                let update = *random.of(&["", "", " ON UPDATE CASCADE", " ON UPDATE SET NULL"]);
                let timing =
                    *random.of(&["", "", "", " DEFERRABLE", " DEFERRABLE INITIALLY DEFERRED"]);
                let default = if action == "SET DEFAULT" && random.percent(50) {
                    " DEFAULT 1"
                } else {
                    ""
                };
                let not_null = if action == "SET NULL" && random.percent(10) {
                    " NOT NULL"
                } else {
                    ""
                };
                columns += &format!(", {column} int{default}{not_null}");
                if random.percent(60) {
                    keys.push(format!("CREATE INDEX ON {name} ({column})"));
                }
                keys.push(format!(
                    "ALTER TABLE {name} ADD FOREIGN KEY ({column}) REFERENCES t{to} ON DELETE {action}{update}{timing}"
                ));
                references.push(Reference {
                    column,
                    to,
                    relinks: action.starts_with("SET"),
                    cascades: action == "CASCADE",
                });
            }
            ddl.push(format!("CREATE TABLE {name} ({columns})"));
            tables.push(Table {
                name,
                unique,
                references,
            });
        }
        ddl.extend(keys);
        Schema {
            tables,
            reuses,
            ddl,
        }
    }

    /// Whether a delete of several rows may fail or not, as the order goes in which PostgreSQL finds them: a child refers to two of
    /// them, and a cascade from the one takes it along before the other is looked at (D29).
    pub fn order_matters(&self) -> bool {
        self.tables.iter().any(|table| {
            let references = &table.references;
            references.iter().enumerate().any(|(place, one)| {
                references
                    .iter()
                    .enumerate()
                    .any(|(other, two)| place != other && one.to == two.to && one.cascades)
            })
        })
    }
}
