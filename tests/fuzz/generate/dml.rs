//! INSERT, UPDATE, DELETE and MERGE. A statement that can reach a row twice takes the same values from wherever it does.

use super::{Column, Generator, Level, Relation, relation};
use crate::tables::{Kind, Role, TABLES, Table, Ty};

impl Generator {
    pub(super) fn write(&mut self, depth: usize) -> String {
        let known = self.ctes.len();
        let with = if self.chance(6) {
            self.with_queries(depth)
        } else {
            String::new()
        };
        let target = self.target();
        let (sql, _) = match self.pick(10) {
            0..=3 => self.delete(target, depth),
            4..=6 => self.update(target, depth),
            7 | 8 => self.insert(target, depth),
            _ if target.is_base() => (self.merge(target, depth), Vec::new()),
            _ => self.delete(target, depth),
        };
        self.ctes.truncate(known);
        format!("{with}{sql}")
    }

    fn with_queries(&mut self, depth: usize) -> String {
        self.aliases += 1;
        let name = format!("w{}", self.aliases);
        let query = self.query(None, depth.min(2));
        let columns = super::from::distinct(query.columns);
        self.ctes.push(Relation {
            name: name.clone(),
            columns,
            row: true,
            key: Vec::new(),
        });
        format!("WITH {name} AS ({}) ", query.sql)
    }

    fn target(&mut self) -> &'static Table {
        let written = TABLES
            .iter()
            .filter(|table| table.is_written())
            .collect::<Vec<_>>();
        written[self.pick(written.len())]
    }

    /// A WITH part that writes: what stands behind its name, and its columns.
    pub(super) fn returning_cte(&mut self) -> (String, Vec<Column>) {
        let target = self.target();
        let (sql, columns) = match self.pick(3) {
            0 => self.delete(target, 1),
            1 => self.update(target, 1),
            _ => self.insert(target, 1),
        };
        (format!(" AS ({sql})"), super::from::distinct(columns))
    }

    /// The name of the target with its alias, and what it is called inside.
    fn named_target(&mut self, table: &Table, may_only: bool) -> (String, Relation) {
        let (name, reference) = self.table_name(table);
        let only = if may_only && (table.kind == Kind::Family || self.chance(12)) {
            self.word(&["", "ONLY "])
        } else {
            String::new()
        };
        if self.chance(2) {
            let alias = self.alias();
            return (format!("{only}{name} AS {alias}"), relation(table, &alias));
        }
        (format!("{only}{name}"), relation(table, &reference))
    }

    fn enter(&mut self, relations: Vec<Relation>) {
        self.levels.push(Level {
            relations,
            grouped: None,
        });
    }

    /// `alone`: `*` shows the target's columns only. Which row of another relation it shows may be anybody's guess.
    fn returning(&mut self, target: &Relation, alone: bool) -> (String, Vec<Column>) {
        if self.chance(2) {
            return (String::new(), Vec::new());
        }
        self.enter(vec![target.clone()]);
        let mut items = Vec::new();
        let mut columns = Vec::new();
        for _ in 0..1 + self.pick(3) {
            match self.pick(5) {
                0 if alone => {
                    items.push("*".to_owned());
                    columns.extend(target.columns.clone());
                }
                0 | 1 => {
                    items.push(format!("{}.*", target.name));
                    columns.extend(target.columns.clone());
                }
                2 => {
                    let text = self.row_text().unwrap_or_else(|| "'x'".to_owned());
                    self.aliases += 1;
                    let name = format!("c{}", self.aliases);
                    items.push(format!("{text} AS {name}"));
                    columns.push(Column::new(&name, Ty::Text));
                }
                _ => {
                    let ty = [Ty::Int, Ty::Text, Ty::Bool][self.pick(3)];
                    let item = self.expr(ty, 1);
                    self.aliases += 1;
                    let name = format!("c{}", self.aliases);
                    items.push(format!("{item} AS {name}"));
                    columns.push(Column::new(&name, ty));
                }
            }
        }
        self.levels.pop();
        (format!(" RETURNING {}", items.join(", ")), columns)
    }

    /// A few rows, or all that fit a condition.
    fn where_clause(&mut self, table: &Table, target: &Relation, depth: usize) -> String {
        match self.pick(8) {
            0..=2 => {
                let key = table.columns[0].0;
                let from = 1 + self.pick(60);
                let to = from + self.pick(4);
                if table.columns[0].1 == Ty::Int {
                    format!(" WHERE {}.{key} BETWEEN {from} AND {to}", target.name)
                } else {
                    format!(" WHERE {}", self.condition(depth))
                }
            }
            7 => String::new(),
            _ => format!(" WHERE {}", self.condition(depth)),
        }
    }

    fn delete(&mut self, table: &'static Table, depth: usize) -> (String, Vec<Column>) {
        let (name, target) = self.named_target(table, true);
        let mut sql = format!("DELETE{}FROM {name}", self.space());
        let mut relations = vec![target.clone()];
        let mut join = None;
        let alone = !self.chance(4);
        if !alone {
            let levels = std::mem::take(&mut self.levels);
            self.enter(vec![target.clone()]);
            let tree = self.relations(depth.min(2));
            self.levels = levels;
            let names = super::from::columns_of(&tree.relations, Ty::Int);
            if !names.is_empty() && table.columns[0].1 == Ty::Int {
                let other = names[self.pick(names.len())].clone();
                join = Some(format!("{}.{} = {other}", target.name, table.columns[0].0));
            }
            sql += &format!(" USING {}", tree.sql);
            relations.extend(tree.relations);
        }
        self.enter(relations);
        match join {
            Some(join) => {
                sql += &format!(" WHERE {join}");
                if self.chance(2) {
                    sql += &format!(" AND ({})", self.condition(depth.min(2)));
                }
            }
            None => sql += &self.where_clause(table, &target, depth.min(2)),
        }
        self.levels.pop();
        let (returning, columns) = self.returning(&target, alone);
        (sql + &returning, columns)
    }

    /// A new value for a column.
    fn value(&mut self, table: &Table, role: Role, ty: Ty, depth: usize) -> String {
        match (role, ty) {
            (Role::Foreign, _) => match self.pick(4) {
                0 => "NULL".to_owned(),
                _ => (1 + self.pick(60)).to_string(),
            },
            (_, Ty::Other) if table.name == "gen" => {
                self.word(&["'glad'", "'calm'", "NULL", "'sad'"])
            }
            (_, Ty::Other) => "'[1,2)'".to_owned(),
            (_, ty) => self.expr(ty, depth),
        }
    }

    fn update(&mut self, table: &'static Table, depth: usize) -> (String, Vec<Column>) {
        let (name, target) = self.named_target(table, true);
        let mut sql = format!("UPDATE {name} SET ");
        let writable = table
            .columns
            .iter()
            .filter(|column| column.2 == Role::Plain || column.2 == Role::Foreign)
            // Unique: in what order rows are updated would matter.
            .filter(|column| column.0 != "ref")
            .collect::<Vec<_>>();
        self.enter(vec![target.clone()]);
        let one_row = writable.is_empty() || self.chance(8);
        if one_row {
            // The key itself, of one row.
            let key = table.columns[0].0;
            let (old, new) = (1 + self.pick(60), 1 + self.pick(90));
            sql += &format!("{key} = {new} WHERE {}.{key} = {old}", target.name);
        } else {
            let count = 1 + self.pick(2);
            let mut sets = Vec::new();
            let mut seen = Vec::new();
            for _ in 0..count {
                let (column, ty, role) = *writable[self.pick(writable.len())];
                if seen.contains(&column) {
                    continue;
                }
                seen.push(column);
                let value = match self.pick(6) {
                    5 => "DEFAULT".to_owned(),
                    _ => self.value(table, role, ty, depth.min(2)),
                };
                sets.push((column, value, ty, role));
            }
            sql += &self.set_clause(&sets);
            sql += &self.update_from(table, &target, depth);
        }
        self.levels.pop();
        let (returning, columns) = self.returning(&target, false);
        (sql + &returning, columns)
    }

    fn set_clause(&mut self, sets: &[(&str, String, Ty, Role)]) -> String {
        let names = sets.iter().map(|set| set.0).collect::<Vec<_>>();
        let values = sets.iter().map(|set| set.1.clone()).collect::<Vec<_>>();
        let plain = sets
            .iter()
            .all(|set| set.1 != "DEFAULT" && set.3 == Role::Plain && set.2 != Ty::Other);
        match self.pick(4) {
            2 => format!("({}) = ROW({})", names.join(", "), values.join(", ")),
            3 if plain => format!("({}) = (SELECT {})", names.join(", "), values.join(", ")),
            _ => {
                let list = sets.iter().map(|set| format!("{} = {}", set.0, set.1));
                list.collect::<Vec<_>>().join(", ")
            }
        }
    }

    fn update_from(&mut self, table: &Table, target: &Relation, depth: usize) -> String {
        if !self.chance(3) || table.columns[0].1 != Ty::Int {
            return self.where_clause(table, target, depth.min(2));
        }
        let levels = std::mem::take(&mut self.levels);
        let query = self.query(Some(&[Ty::Int, Ty::Text]), depth.min(2));
        self.levels = levels;
        let alias = self.alias();
        format!(
            " FROM ({}) AS {alias}(id, v) WHERE {}.{} = {alias}.id",
            query.sql, target.name, table.columns[0].0
        )
    }

    fn insert(&mut self, table: &'static Table, depth: usize) -> (String, Vec<Column>) {
        let (name, reference) = self.table_name(table);
        let mut target = relation(table, &reference);
        let mut sql = format!("INSERT INTO {name}");
        if self.chance(3) {
            let alias = self.alias();
            sql += &format!(" AS {alias}");
            target.name = alias;
        }
        let all = table
            .columns
            .iter()
            .filter(|column| column.2 != Role::Fixed)
            .collect::<Vec<_>>();
        let keys = table.keys().len();
        let count = if self.chance(2) {
            all.len()
        } else {
            (keys + self.pick(all.len() - keys + 1)).clamp(1, all.len())
        };
        let listed = all.into_iter().take(count).copied().collect::<Vec<_>>();
        let whole = count == table.columns.len();
        if whole && self.chance(3) {
            // No list.
        } else {
            let names = listed.iter().map(|column| column.0).collect::<Vec<_>>();
            sql += &format!("({})", names.join(", "));
        }
        sql += &self.source(table, &listed, depth);
        if table.is_base() && table.kind != Kind::Family && !table.keys().is_empty() {
            sql += &self.on_conflict(table, &target);
        }
        let (returning, columns) = self.returning(&target, true);
        (sql + &returning, columns)
    }

    fn source(
        &mut self,
        table: &Table,
        listed: &[(&'static str, Ty, Role)],
        depth: usize,
    ) -> String {
        if self.chance(3) && listed.iter().all(|column| column.1 != Ty::Other) {
            let types = listed.iter().map(|column| column.1).collect::<Vec<_>>();
            let levels = std::mem::take(&mut self.levels);
            let query = self.query(Some(&types), depth.min(2));
            self.levels = levels;
            let alias = self.alias();
            let names = (0..types.len())
                .map(|at| format!("i{at}"))
                .collect::<Vec<_>>();
            let items = listed
                .iter()
                .enumerate()
                .map(|(at, column)| match column.2 {
                    Role::Key => format!("300 + abs({alias}.i{at} % 90)"),
                    Role::Foreign => format!("nullif({alias}.i{at}, {alias}.i{at})"),
                    _ => format!("{alias}.i{at}"),
                });
            let items = items.collect::<Vec<_>>();
            let ordinals = (1..=types.len())
                .map(|at| at.to_string())
                .collect::<Vec<_>>();
            let on = if table.keys().is_empty() {
                String::new()
            } else {
                let keys = listed.iter().zip(&items);
                let keys = keys.filter(|(column, _)| column.2 == Role::Key);
                let keys = keys.map(|(_, item)| item.clone()).collect::<Vec<_>>();
                format!("DISTINCT ON ({}) ", keys.join(", "))
            };
            return format!(
                " SELECT {on}{} FROM ({}) AS {alias}({}) ORDER BY {}",
                items.join(", "),
                query.sql,
                names.join(", "),
                ordinals.join(", ")
            );
        }
        let rows = 1 + self.pick(3);
        let mut lines = Vec::new();
        for _ in 0..rows {
            let mut values = Vec::new();
            for (_, ty, role) in listed {
                let value = match role {
                    Role::Key => match self.pick(3) {
                        0 => (1 + self.pick(60)).to_string(),
                        _ => (100 + self.pick(800)).to_string(),
                    },
                    _ if self.chance(8) => "DEFAULT".to_owned(),
                    _ => self.value(table, *role, *ty, 1),
                };
                values.push(value);
            }
            lines.push(format!("({})", values.join(", ")));
        }
        format!("{}VALUES {}", self.space(), lines.join(", "))
    }

    fn on_conflict(&mut self, table: &Table, target: &Relation) -> String {
        match self.pick(5) {
            0 | 1 => String::new(),
            2 => " ON CONFLICT DO NOTHING".to_owned(),
            3 => format!(" ON CONFLICT ({}) DO NOTHING", table.keys().join(", ")),
            _ => {
                let excluded = relation(table, "excluded");
                let plain = table
                    .columns
                    .iter()
                    .filter(|column| column.2 == Role::Plain && column.0 != "ref")
                    .collect::<Vec<_>>();
                if plain.is_empty() {
                    return String::new();
                }
                let (column, ty, role) = *plain[self.pick(plain.len())];
                self.enter(vec![target.clone(), excluded]);
                let value = self.value(table, role, ty, 1);
                let condition = if self.chance(2) {
                    format!(" WHERE {}", self.condition(1))
                } else {
                    String::new()
                };
                self.levels.pop();
                format!(
                    " ON CONFLICT ({}) DO UPDATE SET {column} = {value}{condition}",
                    table.keys().join(", ")
                )
            }
        }
    }

    fn merge(&mut self, table: &'static Table, depth: usize) -> String {
        let key = table.columns[0].0;
        if table.columns[0].1 != Ty::Int {
            return self.delete(table, depth).0;
        }
        let (name, target) = self.named_target(table, true);
        let source = self.alias();
        let query = self.query(Some(&[Ty::Int, Ty::Text]), depth.min(2));
        let relation = Relation {
            name: source.clone(),
            columns: vec![Column::new("sid", Ty::Int), Column::new("sv", Ty::Text)],
            row: true,
            key: Vec::new(),
        };
        let mut sql = format!(
            "MERGE INTO {name} USING (SELECT x, max(y) FROM ({}) AS q(x, y) WHERE x IS NOT NULL GROUP BY x) AS {source}(sid, sv) \
             ON {}.{key} = {source}.sid",
            query.sql, target.name
        );
        self.enter(vec![target.clone(), relation.clone()]);
        if self.chance(2) {
            sql += &format!(" AND ({})", self.condition(1));
        }
        let plain = table
            .columns
            .iter()
            .filter(|column| column.2 == Role::Plain && column.0 != "ref")
            .collect::<Vec<_>>();
        for _ in 0..1 + self.pick(2) {
            let and = if self.chance(2) {
                format!(" AND {}", self.condition(1))
            } else {
                String::new()
            };
            let what = match self.pick(4) {
                0 | 1 => "DELETE".to_owned(),
                2 if !plain.is_empty() => {
                    let (column, ty, role) = *plain[self.pick(plain.len())];
                    format!("UPDATE SET {column} = {}", self.value(table, role, ty, 1))
                }
                _ => "DO NOTHING".to_owned(),
            };
            sql += &format!(" WHEN MATCHED{and} THEN {what}");
        }
        self.levels.pop();
        if self.chance(2) {
            self.enter(vec![relation]);
            let listed = table
                .columns
                .iter()
                .filter(|column| {
                    column.2 == Role::Key || column.1 == Ty::Text && column.2 == Role::Plain
                })
                .collect::<Vec<_>>();
            let names = listed.iter().map(|column| column.0).collect::<Vec<_>>();
            let values = listed.iter().map(|column| match column.1 {
                Ty::Int => format!("500 + abs({source}.sid % 400)"),
                _ => format!("{source}.sv"),
            });
            let values = values.collect::<Vec<_>>();
            sql += &format!(
                " WHEN NOT MATCHED AND {source}.sid BETWEEN 1 AND 60 THEN INSERT ({}) VALUES ({})",
                names.join(", "),
                values.join(", ")
            );
            self.levels.pop();
        }
        sql
    }
}
