//! Queries.

use super::from::{Tree, distinct};
use super::{Column, Generator, Level, Query, Relation};
use crate::tables::{Kind, Ty};

const ALL: [Ty; 7] = [
    Ty::Int,
    Ty::Text,
    Ty::Num,
    Ty::Bool,
    Ty::Date,
    Ty::Json,
    Ty::Ints,
];

/// A SELECT list with what stands behind it.
#[derive(Default)]
struct List {
    items: Vec<String>,
    columns: Vec<Column>,
}

impl Generator {
    /// A query; with columns of the types wanted, or with any.
    pub(super) fn query(&mut self, want: Option<&[Ty]>, depth: usize) -> Query {
        let known = self.ctes.len();
        let with = if depth > 0 && self.fuel > 0 && self.chance(7) {
            self.with(depth - 1)
        } else {
            String::new()
        };
        let mut query = if depth == 0 || self.fuel < 0 {
            self.select(want, 0)
        } else {
            match self.pick(12) {
                0..=8 => self.select(want, depth),
                9 | 10 => self.set_operation(want, depth - 1),
                _ => self.plain_query(want),
            }
        };
        query.sql = format!("{with}{}", query.sql);
        self.ctes.truncate(known);
        query
    }

    fn plain_query(&mut self, want: Option<&[Ty]>) -> Query {
        if let Some(want) = want {
            let rows = 1 + self.pick(3);
            let rows = (0..rows)
                .map(|_| {
                    let row = want.iter().map(|ty| self.expr(*ty, 1)).collect::<Vec<_>>();
                    format!("({})", row.join(", "))
                })
                .collect::<Vec<_>>();
            let columns = want
                .iter()
                .enumerate()
                .map(|(at, ty)| Column::new(&format!("column{}", at + 1), *ty));
            return Query {
                sql: format!("VALUES {}", rows.join(", ")),
                columns: columns.collect(),
                ordered: false,
            };
        }
        let table = self.table(|_| true);
        let (name, _) = self.table_name(table);
        let only = if table.kind == Kind::Family {
            self.word(&["", "ONLY "])
        } else {
            String::new()
        };
        let columns = table
            .columns
            .iter()
            .map(|(name, ty, _)| Column::new(name, *ty))
            .collect();
        Query {
            sql: format!("TABLE {only}{name}"),
            columns,
            ordered: false,
        }
    }

    fn set_operation(&mut self, want: Option<&[Ty]>, depth: usize) -> Query {
        let types = match want {
            Some(want) => want.to_vec(),
            None => {
                let count = 1 + self.pick(3);
                (0..count).map(|_| ALL[self.pick(6)]).collect()
            }
        };
        let operator = self.word(&["UNION ALL", "UNION", "EXCEPT", "INTERSECT", "EXCEPT ALL"]);
        let left = self.query(Some(&types), depth);
        let right = self.query(Some(&types), depth);
        let mut sql = format!("({}){}{operator} ({})", left.sql, self.space(), right.sql);
        if self.chance(5) {
            let third = self.query(Some(&types), depth);
            let operator = self.word(&["UNION", "EXCEPT", "INTERSECT"]);
            sql = format!("{sql} {operator} ({})", third.sql);
        }
        let ordered = self.order_by_all(&mut sql, types.len());
        Query {
            sql,
            columns: left.columns,
            ordered,
        }
    }

    /// Sometimes a total order, and a limit behind it.
    fn order_by_all(&mut self, sql: &mut String, count: usize) -> bool {
        if count == 0 || !self.chance(3) {
            return false;
        }
        let ordinals = (1..=count)
            .map(|at| format!("{at}{}", self.word(&["", "", " DESC", " NULLS FIRST"])))
            .collect::<Vec<_>>();
        *sql += &format!(" ORDER BY {}", ordinals.join(", "));
        match self.pick(6) {
            0..=2 => {}
            3 => *sql += &format!(" LIMIT {}", 1 + self.pick(9)),
            4 => *sql += &format!(" OFFSET {} ROWS FETCH FIRST 3 ROWS ONLY", self.pick(3)),
            _ => {
                let levels = std::mem::take(&mut self.levels);
                let limit = self.scalar(Ty::Int, 1);
                self.levels = levels;
                *sql += &format!(" LIMIT abs({limit})");
            }
        }
        true
    }

    pub(super) fn select(&mut self, want: Option<&[Ty]>, depth: usize) -> Query {
        let tree = if self.chance(14) {
            Tree {
                starry: false,
                ..Tree::default()
            }
        } else {
            self.levels.push(Level::default());
            let tree = self.relations(depth);
            self.levels.pop();
            tree
        };
        self.levels.push(Level {
            relations: tree.relations.clone(),
            grouped: None,
        });
        let mut tail = String::new();
        if !tree.sql.is_empty() {
            tail = format!("{}FROM {}", self.space(), tree.sql);
        }
        if !self.chance(3) {
            tail += &format!("{}WHERE {}", self.space(), self.condition(depth));
        }
        let query = match self.pick(9) {
            0..=5 => self.plain(want, &tree, tail, depth),
            6 => self.distinct_on(want, &tree, tail, depth),
            _ => self.grouped(want, &tree, tail, depth),
        };
        self.levels.pop();
        query
    }

    fn plain(&mut self, want: Option<&[Ty]>, tree: &Tree, tail: String, depth: usize) -> Query {
        let windows = self.chance(6);
        let list = self.list(want, tree, depth, windows);
        let distinct = self.word(&["", "", "", "", "ALL ", "DISTINCT "]);
        let mut sql = format!("SELECT {distinct}{}{tail}", list.items.join(", "));
        let count = list.columns.len();
        let mut ordered = false;
        if want.is_none() && count > 0 && distinct != "DISTINCT " && self.chance(5) {
            let ty = ALL[self.pick(5)];
            sql += &format!(" ORDER BY {}", self.expr_not_a_number(ty, depth));
        } else if list.columns.iter().all(|column| column.ty != Ty::Other) {
            ordered = self.order_by_all(&mut sql, count);
        }
        // The nullable side of an outer join cannot be locked: that is an error of the planner, which comes after ours.
        let may_lock = !windows
            && distinct.is_empty()
            && self.levels.len() == 1
            && !(tree.sql.contains("FULL JOIN") || tree.sql.contains(" JOIN ("));
        if may_lock && !tree.relations.is_empty() && self.chance(6) {
            sql += &self.lock(tree);
        }
        Query {
            sql,
            columns: list.columns,
            ordered,
        }
    }

    /// A number in ORDER BY or GROUP BY is the place of a column.
    fn expr_not_a_number(&mut self, ty: Ty, depth: usize) -> String {
        let expr = self.expr(ty, depth);
        if expr.starts_with(|c: char| c.is_ascii_digit() || c == '-' || c == '\'') {
            format!("coalesce({expr})")
        } else {
            expr
        }
    }

    fn lock(&mut self, tree: &Tree) -> String {
        let strength = self.word(&[
            "FOR UPDATE",
            "FOR SHARE",
            "FOR NO KEY UPDATE",
            "FOR KEY SHARE",
        ]);
        let relations = tree
            .relations
            .iter()
            .filter(|relation| !relation.name.is_empty() && !relation.name.contains(['.', '(']))
            .collect::<Vec<_>>();
        let mut sql = format!(" {strength}");
        if !relations.is_empty() && self.chance(2) {
            sql += &format!(" OF {}", relations[self.pick(relations.len())].name);
        }
        sql + &self.word(&["", "", " NOWAIT", " SKIP LOCKED"])
    }

    fn list(&mut self, want: Option<&[Ty]>, tree: &Tree, depth: usize, windows: bool) -> List {
        let mut list = List::default();
        if let Some(want) = want {
            for ty in want {
                let item = if windows && self.chance(2) {
                    self.window(*ty, depth)
                } else {
                    self.expr(*ty, depth)
                };
                let named = self.chance(4);
                self.add(&mut list, item, *ty, named);
            }
            return list;
        }
        let count = 1 + self.pick(3);
        for _ in 0..count {
            match self.pick(9) {
                0 | 1 if tree.starry && !tree.star.is_empty() => {
                    list.items.push("*".to_owned());
                    list.columns.extend(tree.star.clone());
                }
                2 | 3 if tree.starry && !tree.relations.is_empty() => {
                    let relation = tree.relations[self.pick(tree.relations.len())].clone();
                    self.add_star(&mut list, &relation);
                }
                _ => {
                    let ty = ALL[self.pick(7)];
                    let item = if windows {
                        self.window(ty, depth)
                    } else {
                        self.expr(ty, depth)
                    };
                    let named = self.chance(2);
                    self.add(&mut list, item, ty, named);
                }
            }
        }
        list
    }

    fn add_star(&mut self, list: &mut List, relation: &Relation) {
        if relation.name.is_empty() || relation.name.starts_with('(') {
            return self.add(list, "1".to_owned(), Ty::Int, true);
        }
        let name = &relation.name;
        let star = match self.pick(4) {
            3 if relation.row => format!("({name}).*"),
            _ => format!("{name}.*"),
        };
        list.items.push(star);
        list.columns.extend(relation.columns.clone());
    }

    fn add(&mut self, list: &mut List, item: String, ty: Ty, named: bool) {
        if named {
            self.aliases += 1;
            let name = match self.pick(5) {
                4 => "deleted".to_owned(),
                3 => format!("\"C {}\"", self.aliases),
                _ => format!("c{}", self.aliases),
            };
            list.items.push(format!("{item} AS {name}"));
            list.columns.push(Column::new(&name, ty));
        } else {
            list.items.push(item);
            list.columns.push(Column {
                usable: false,
                bare: false,
                ..Column::new("?", ty)
            });
        }
    }

    fn distinct_on(
        &mut self,
        want: Option<&[Ty]>,
        tree: &Tree,
        tail: String,
        depth: usize,
    ) -> Query {
        let list = self.list(want, tree, depth, false);
        let count = list.columns.len();
        if count == 0 || list.columns.iter().any(|column| column.ty == Ty::Other) {
            return Query {
                sql: format!("SELECT {}{tail}", list.items.join(", ")),
                columns: list.columns,
                ordered: false,
            };
        }
        let on = self.expr_not_a_number(Ty::Int, 1);
        let ordinals = (1..=count).map(|at| at.to_string()).collect::<Vec<_>>();
        Query {
            sql: format!(
                "SELECT DISTINCT ON ({on}) {}{tail} ORDER BY {on}, {}",
                list.items.join(", "),
                ordinals.join(", ")
            ),
            columns: list.columns,
            ordered: true,
        }
    }

    fn grouped(&mut self, want: Option<&[Ty]>, tree: &Tree, tail: String, depth: usize) -> Query {
        let (by, grouped) = self.group_by(tree, depth);
        if let Some(level) = self.levels.last_mut() {
            level.grouped = Some(grouped);
        }
        let windows = self.chance(8);
        let none = Tree::default();
        let list = self.list(want, &none, depth.min(2), windows);
        let mut sql = format!("SELECT {}{tail}", list.items.join(", "));
        if !by.is_empty() {
            sql += &format!(" GROUP BY {by}");
        }
        if self.chance(3) {
            sql += &format!(" HAVING {}", self.condition(depth.min(2)));
        }
        let aggregates = by.is_empty() && !sql.contains("count(");
        if aggregates {
            // Without any aggregate it would be no grouped query.
            sql = sql.replacen("SELECT ", "SELECT count(*)::int + 0 AS total, ", 1);
        }
        let mut columns = list.columns;
        if aggregates {
            columns.insert(0, Column::new("total", Ty::Int));
            if want.is_some() {
                columns.remove(0);
                sql = sql.replacen("count(*)::int + 0 AS total, ", "", 1);
            }
        }
        let ordered = if columns.iter().all(|column| column.ty != Ty::Other) {
            self.order_by_all(&mut sql, columns.len())
        } else {
            false
        };
        Query {
            sql,
            columns,
            ordered,
        }
    }

    /// What is grouped by, and what may stand outside of aggregates then.
    fn group_by(&mut self, tree: &Tree, depth: usize) -> (String, Vec<(String, Ty)>) {
        self.qualify = true;
        let keyed = tree
            .relations
            .iter()
            .filter(|relation| !relation.key.is_empty())
            .cloned()
            .collect::<Vec<_>>();
        let result = match self.pick(6) {
            0 => (String::new(), Vec::new()),
            1 | 2 if !keyed.is_empty() => {
                let relation = keyed[self.pick(keyed.len())].clone();
                let name = &relation.name;
                let keys = relation
                    .key
                    .iter()
                    .map(|key| format!("{name}.{key}"))
                    .collect::<Vec<_>>();
                let columns = relation.columns.iter();
                let grouped = columns
                    .map(|column| (format!("{name}.{}", column.name), column.ty))
                    .chain([
                        (format!("{name}::text"), Ty::Text),
                        (format!("to_jsonb({name})"), Ty::Json),
                        (format!("({name} IS NOT NULL)"), Ty::Bool),
                    ]);
                (keys.join(", "), grouped.collect())
            }
            3 => {
                let types = [Ty::Int, Ty::Text, Ty::Num];
                let exprs = types.map(|ty| (self.grouping_expr(ty, depth), ty));
                let list = exprs.iter().map(|one| one.0.clone()).collect::<Vec<_>>();
                let by = match self.pick(3) {
                    0 => format!("ROLLUP ({})", list.join(", ")),
                    1 => format!("CUBE ({}, {})", list[0], list[1]),
                    _ => format!(
                        "GROUPING SETS (({}), ({}, {}), ())",
                        list[0], list[1], list[2]
                    ),
                };
                let mut grouped = exprs.to_vec();
                if by.starts_with("CUBE") {
                    grouped.pop();
                }
                grouped.push((format!("GROUPING({})", list[0]), Ty::Int));
                (by, grouped)
            }
            _ => {
                let count = 1 + self.pick(2);
                let mut grouped = Vec::new();
                for _ in 0..count {
                    let ty = ALL[self.pick(5)];
                    grouped.push((self.grouping_expr(ty, depth), ty));
                }
                let list = grouped.iter().map(|one| one.0.clone()).collect::<Vec<_>>();
                (list.join(", "), grouped)
            }
        };
        self.qualify = false;
        result
    }

    fn grouping_expr(&mut self, ty: Ty, depth: usize) -> String {
        if !self.chance(4)
            && let Some(column) = self.column(ty)
        {
            return column;
        }
        let parameters = self.parameters.take();
        let expr = self.expr_not_a_number(ty, depth.min(1));
        self.parameters = parameters;
        format!("coalesce({expr})")
    }

    /// A window function that does not depend on how equal rows are ordered.
    fn window(&mut self, ty: Ty, depth: usize) -> String {
        let order = self.expr_not_a_number(Ty::Int, 1);
        let partition = match self.pick(3) {
            0 => String::new(),
            _ => format!("PARTITION BY {} ", self.expr_not_a_number(Ty::Text, 1)),
        };
        let over = format!("OVER ({partition}ORDER BY {order})");
        match ty {
            Ty::Int => match self.pick(4) {
                0 => format!("(rank() {over})::int"),
                1 => format!("(count(*) {over})::int"),
                2 => format!("(dense_rank() {over})::int"),
                _ => format!("(sum({}) {over})::int", self.expr(Ty::Int, depth.min(1))),
            },
            Ty::Text => format!(
                "max({}) OVER ({partition})",
                self.expr(Ty::Text, depth.min(1))
            ),
            Ty::Num => format!(
                "sum({}) OVER ({partition}ORDER BY {order} RANGE BETWEEN 5 PRECEDING AND CURRENT ROW)",
                self.expr(Ty::Num, depth.min(1))
            ),
            Ty::Bool => format!("bool_or({}) {over}", self.condition(depth.min(1))),
            Ty::Date => format!("min({}) {over}", self.expr(Ty::Date, depth.min(1))),
            Ty::Json | Ty::Ints | Ty::Other => self.expr(ty, depth),
        }
    }

    fn with(&mut self, depth: usize) -> String {
        let count = 1 + self.pick(2);
        let mut parts = Vec::new();
        let mut recursive = false;
        for _ in 0..count {
            let name = match self.pick(6) {
                0..=2 => {
                    self.aliases += 1;
                    format!("w{}", self.aliases)
                }
                3 => "emp".to_owned(),
                4 => "task".to_owned(),
                _ => "dept".to_owned(),
            };
            if self.ctes.iter().any(|cte| cte.name == name) {
                continue;
            }
            let (sql, columns) = match self.pick(6) {
                4 => {
                    recursive = true;
                    self.recursive(&name)
                }
                5 if self.levels.is_empty() && self.parameters.is_none() => self.returning_cte(),
                _ => {
                    let levels = self.levels.clone();
                    if !self.chance(4) {
                        self.levels.clear();
                    }
                    let query = self.query(None, depth);
                    self.levels = levels;
                    let mut columns = distinct(query.columns);
                    let mut names = String::new();
                    if self.chance(2) {
                        let count = columns.len();
                        names = (0..count)
                            .map(|at| format!("k{at}"))
                            .collect::<Vec<_>>()
                            .join(", ");
                        for (at, column) in columns.iter_mut().enumerate() {
                            *column = Column::new(&format!("k{at}"), column.ty);
                        }
                        names = format!("({names})");
                    }
                    let how = self.word(&["", "", "MATERIALIZED ", "NOT MATERIALIZED "]);
                    (format!("{names} AS {how}({})", query.sql), columns)
                }
            };
            parts.push(format!("{name}{sql}"));
            self.ctes.push(Relation {
                name,
                columns,
                row: true,
                key: Vec::new(),
            });
        }
        if parts.is_empty() {
            return String::new();
        }
        let word = if recursive { "WITH RECURSIVE" } else { "WITH" };
        format!("{word} {} ", parts.join(", "))
    }

    fn recursive(&mut self, name: &str) -> (String, Vec<Column>) {
        let (tree, _) = self.table_name(crate::tables::tree());
        let columns = vec![
            Column::new("id", Ty::Int),
            Column::new("up", Ty::Int),
            Column::new("n", Ty::Int),
        ];
        let start = self.word(&["up IS NULL", "id < 30", "NOT EXISTS (TABLE app.log)"]);
        let union = self.word(&["UNION ALL", "UNION"]);
        let tail = self.word(&[
            "",
            " SEARCH DEPTH FIRST BY id SET ord",
            " CYCLE id SET looped USING way",
        ]);
        let columns_and_more = columns.clone();
        (
            format!(
                "(id, up, n) AS (SELECT id, up, 0 FROM {tree} WHERE {start} {union} SELECT t.id, t.up, n + 1 FROM {tree} t \
                 JOIN {name} x ON t.up = x.id WHERE n < 4){tail}"
            ),
            columns_and_more,
        )
    }
}
