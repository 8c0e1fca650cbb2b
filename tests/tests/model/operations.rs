//! Random statements on a schema.

use std::collections::BTreeMap;

use crate::random::Random;
use crate::schema::{Schema, Table};

/// The rows of each table, by `id`, as text of all columns.
pub type Contents = Vec<BTreeMap<i64, String>>;

/// Makes statements; keeps what it must know to choose keys.
pub struct Operations<'a> {
    schema: &'a Schema,
    random: &'a mut Random,
    fresh: i64,
    /// Keys that were there once.
    gone: Vec<Vec<i64>>,
    pub in_transaction: bool,
    savepoints: usize,
}

impl<'a> Operations<'a> {
    /// `first`: sessions that run at once begin their new keys at different places.
    pub fn new(schema: &'a Schema, random: &'a mut Random, first: i64) -> Operations<'a> {
        Operations {
            gone: vec![Vec::new(); schema.tables.len()],
            schema,
            random,
            fresh: first,
            in_transaction: false,
            savepoints: 0,
        }
    }

    /// Remembers keys that a statement has removed.
    pub fn removed(&mut self, table: usize, id: i64) {
        self.gone[table].push(id);
    }

    /// A failed transaction takes only its end.
    pub fn failed(&mut self) -> String {
        let savepoints = std::mem::take(&mut self.savepoints);
        if savepoints > 0 && self.random.percent(60) {
            self.savepoints = savepoints;
            return "ROLLBACK TO s".to_owned();
        }
        self.in_transaction = false;
        "ROLLBACK".to_owned()
    }

    /// The next statement.
    pub fn next(&mut self, contents: &Contents) -> String {
        if self.in_transaction && self.random.percent(25) {
            return self.control();
        }
        if !self.in_transaction && self.random.percent(20) {
            self.in_transaction = true;
            self.savepoints = 0;
            let level = if self.random.percent(15) {
                " ISOLATION LEVEL REPEATABLE READ"
            } else {
                ""
            };
            return format!("BEGIN{level}");
        }
        let place = self.random.below(self.schema.tables.len());
        match self.random.below(100) {
            0..25 => self.insert(place, contents, ""),
            25..35 => self.upsert(place, contents),
            35..50 => self.update(place, contents),
            50..55 => self.merge(place, contents),
            55..60 => self.exchange(place, contents),
            _ => self.delete(place, contents),
        }
    }

    fn control(&mut self) -> String {
        match self.random.below(10) {
            0..4 => {
                self.in_transaction = false;
                "COMMIT".to_owned()
            }
            4..6 => {
                self.in_transaction = false;
                "ROLLBACK".to_owned()
            }
            6..8 => {
                self.savepoints += 1;
                "SAVEPOINT s".to_owned()
            }
            8 if self.savepoints > 0 => "ROLLBACK TO s".to_owned(),
            _ => format!(
                "SET CONSTRAINTS ALL {}",
                self.random.of(&["DEFERRED", "IMMEDIATE"])
            ),
        }
    }

    fn table(&self, place: usize) -> &'a Table {
        &self.schema.tables[place]
    }

    fn some_id(&mut self, place: usize, contents: &Contents) -> Option<i64> {
        let ids = contents[place].keys().copied().collect::<Vec<_>>();
        (!ids.is_empty()).then(|| *self.random.of(&ids))
    }

    fn new_id(&mut self, place: usize, contents: &Contents) -> i64 {
        if self.schema.reuses && self.random.percent(60) {
            if self.random.percent(15)
                && let Some(id) = self.some_id(place, contents)
            {
                return id;
            }
            if !self.gone[place].is_empty() {
                return *self.random.of(&self.gone[place]);
            }
        }
        self.fresh += 1;
        self.fresh
    }

    fn code(&mut self, contents: &Contents) -> String {
        let known = contents.iter().map(BTreeMap::len).sum::<usize>();
        if self.schema.reuses && self.random.percent(70) {
            return (1 + self.random.below(known + 2)).to_string();
        }
        self.fresh += 1;
        self.fresh.to_string()
    }

    fn reference(&mut self, to: usize, contents: &Contents) -> String {
        match self.random.below(100) {
            0..15 => "NULL".to_owned(),
            15..19 => "999999".to_owned(),
            19..26 if !self.gone[to].is_empty() => self.random.of(&self.gone[to]).to_string(),
            _ => self
                .some_id(to, contents)
                .map_or_else(|| "NULL".to_owned(), |id| id.to_string()),
        }
    }

    fn values(&mut self, place: usize, contents: &Contents) -> (i64, String) {
        let id = self.new_id(place, contents);
        let table = self.table(place);
        let mut values = format!("{id}, {}", self.random.below(10));
        if table.unique {
            values += &format!(", {}", self.code(contents));
        }
        for reference in &table.references {
            // The row itself, now and then.
            let value = if reference.to == place && self.random.percent(15) {
                id.to_string()
            } else {
                self.reference(reference.to, contents)
            };
            values += &format!(", {value}");
        }
        (id, values)
    }

    fn insert(&mut self, place: usize, contents: &Contents, tail: &str) -> String {
        let rows = (0..1 + self.random.below(3))
            .map(|_| format!("({})", self.values(place, contents).1))
            .collect::<Vec<_>>();
        format!(
            "INSERT INTO {} VALUES {}{tail}",
            self.table(place).name,
            rows.join(", ")
        )
    }

    fn upsert(&mut self, place: usize, contents: &Contents) -> String {
        let table = self.table(place);
        let tail = match (self.random.below(3), table.references.first()) {
            (0, _) => " ON CONFLICT DO NOTHING".to_owned(),
            (1, Some(reference)) => {
                format!(
                    " ON CONFLICT (id) DO UPDATE SET {0} = excluded.{0}, id = excluded.id",
                    reference.column
                )
            }
            _ => " ON CONFLICT (id) DO UPDATE SET v = excluded.v + 100".to_owned(),
        };
        if !contents[place].is_empty() && self.random.percent(50) {
            // One that is there.
            let id = self.some_id(place, contents).expect("not empty");
            let (_, values) = self.values(place, contents);
            let rest = values.split_once(',').expect("several columns").1;
            return format!("INSERT INTO {} VALUES ({id},{rest}){tail}", table.name);
        }
        self.insert(place, contents, &tail)
    }

    fn condition(&mut self, place: usize, contents: &Contents) -> String {
        match (self.random.below(10), self.some_id(place, contents)) {
            (0..6, Some(id)) => format!("id = {id}"),
            (6..8, Some(id)) => format!("id BETWEEN {id} AND {}", id + 3),
            (8, _) => format!("v % 5 = {}", self.random.below(5)),
            _ => {
                let references = &self.table(place).references;
                if references.is_empty() {
                    return format!("v = {}", self.random.below(10));
                }
                let reference = self.random.of(references);
                let parent = &self.table(reference.to).name;
                format!(
                    "{} IN (SELECT id FROM {parent} WHERE v > 5)",
                    reference.column
                )
            }
        }
    }

    fn update(&mut self, place: usize, contents: &Contents) -> String {
        let table = self.table(place);
        let condition = self.condition(place, contents);
        let change = match self.random.below(10) {
            0..4 => "v = v + 1".to_owned(),
            4 if self.schema.reuses => format!("id = {}", self.new_id(place, contents)),
            5 if self.schema.reuses && table.unique => format!("code = {}", self.code(contents)),
            6 if self.schema.reuses && table.unique => "code = code + 1".to_owned(),
            _ if !table.references.is_empty() => {
                let reference = self.random.of(&table.references);
                format!(
                    "{} = {}",
                    reference.column,
                    self.reference(reference.to, contents)
                )
            }
            _ => "v = v * 2 % 11".to_owned(),
        };
        format!(
            "UPDATE {} SET {change} WHERE {condition} RETURNING *",
            table.name
        )
    }

    fn delete(&mut self, place: usize, contents: &Contents) -> String {
        let condition = self.condition(place, contents);
        let name = &self.table(place).name;
        match self.random.below(10) {
            0 => format!(
                "WITH d AS (DELETE FROM {name} WHERE {condition} RETURNING *) SELECT * FROM d"
            ),
            1 => {
                let other = &self.random.of(&self.schema.tables).name;
                format!(
                    "DELETE FROM {name} AS x USING {other} AS y WHERE y.v = x.v AND y.id < x.id + 2 AND x.id > {}",
                    self.random.below(30)
                )
            }
            2..6 => format!("DELETE FROM {name} WHERE {condition} RETURNING *"),
            _ => format!("DELETE FROM {name} WHERE {condition}"),
        }
    }

    fn merge(&mut self, place: usize, contents: &Contents) -> String {
        let table = self.table(place);
        let there = match self.some_id(place, contents) {
            Some(id) => id,
            None => self.new_id(place, contents),
        };
        let id = self.new_id(place, contents);
        format!(
            "MERGE INTO {0} AS m USING (VALUES ({there}), ({id})) AS s(id) ON s.id = m.id \
             WHEN MATCHED AND m.v < 5 THEN UPDATE SET v = m.v + 1 WHEN MATCHED THEN DELETE \
             WHEN NOT MATCHED THEN INSERT (id, v) VALUES (s.id, 3)",
            table.name
        )
    }

    /// Two things in one statement or one message.
    fn exchange(&mut self, place: usize, contents: &Contents) -> String {
        let name = &self.table(place).name;
        let condition = self.condition(place, contents);
        let other = self.random.below(self.schema.tables.len());
        let second = match self.random.below(3) {
            0 => self.insert(other, contents, ""),
            1 => self.delete(other, contents),
            _ => self.update(other, contents),
        };
        format!("DELETE FROM {name} WHERE {condition}; {second}")
    }
}
