//! FROM clauses.

use super::{Column, Generator, Level, Relation, relation};
use crate::tables::{Kind, Ty};

/// A part of a FROM clause.
#[derive(Clone, Default)]
pub(super) struct Tree {
    pub sql: String,
    pub relations: Vec<Relation>,
    /// What `*` shows of it.
    pub star: Vec<Column>,
    /// `*` may be used: it shows no whole row, whose type is another (D6).
    pub starry: bool,
}

impl Tree {
    fn of(sql: String, relation: Relation) -> Tree {
        let star = relation.columns.clone();
        Tree {
            sql,
            relations: vec![relation],
            star,
            starry: true,
        }
    }
}

impl Generator {
    pub(super) fn relations(&mut self, depth: usize) -> Tree {
        let mut all = self.tree(depth, &[]);
        if depth > 0 && self.chance(7) {
            let before = all.relations.clone();
            let next = self.item(depth, &before, true);
            all.sql = format!("{},{}{}", all.sql, self.space(), next.sql);
            all.relations.extend(next.relations);
            all.star.extend(next.star);
            all.starry &= next.starry;
        }
        all
    }

    fn tree(&mut self, depth: usize, lateral: &[Relation]) -> Tree {
        let joins = if depth == 0 {
            0
        } else {
            [0, 0, 0, 1, 1, 1, 2][self.pick(7)]
        };
        let mut tree = self.item(depth, lateral, false);
        for _ in 0..joins {
            tree = self.join(tree, depth - 1, lateral);
        }
        tree
    }

    fn join(&mut self, left: Tree, depth: usize, lateral: &[Relation]) -> Tree {
        let kind = self.word(&[
            "JOIN",
            "LEFT JOIN",
            "INNER JOIN",
            "RIGHT JOIN",
            "FULL JOIN",
            "LEFT OUTER JOIN",
            "CROSS JOIN",
        ]);
        let beside = [lateral, &left.relations].concat();
        let sees_left = !kind.starts_with("RIGHT") && !kind.starts_with("FULL");
        let mut right = if depth > 0 && self.chance(4) {
            let inner = self.tree(depth, if sees_left { &beside } else { lateral });
            let bracketed = Tree {
                sql: format!("({})", inner.sql),
                ..inner
            };
            // Brackets around one item are no join.
            if bracketed.relations.len() > 1 {
                self.named_join(bracketed)
            } else {
                Tree {
                    sql: bracketed.sql[1..bracketed.sql.len() - 1].to_owned(),
                    ..bracketed
                }
            }
        } else {
            self.item(depth, if sees_left { &beside } else { lateral }, sees_left)
        };
        if kind == "CROSS JOIN" {
            return Tree {
                sql: format!("{} CROSS JOIN{}{}", left.sql, self.space(), right.sql),
                relations: [left.relations, right.relations].concat(),
                star: [left.star, right.star].concat(),
                starry: left.starry && right.starry,
            };
        }
        let common = common(&left.star, &right.star);
        let mut left = left;
        if !common.is_empty() && self.chance(4) {
            let natural = self.chance(3);
            let merged = if natural {
                common
            } else {
                vec![common[self.pick(common.len())].clone()]
            };
            return self.using(left, right, &kind, &merged, natural);
        }
        let both = Level {
            relations: [left.relations.clone(), right.relations.clone()].concat(),
            grouped: None,
        };
        let on = self.join_condition(&left, &right, &kind, both, depth);
        left.sql = format!("{} {kind} {}{}ON {on}", left.sql, right.sql, self.space());
        left.relations.append(&mut right.relations);
        left.star.append(&mut right.star);
        left.starry &= right.starry;
        left
    }

    fn join_condition(
        &mut self,
        left: &Tree,
        right: &Tree,
        kind: &str,
        both: Level,
        depth: usize,
    ) -> String {
        let mut pairs = Vec::new();
        for (ty, name) in columns(&left.relations) {
            let others = columns(&right.relations).into_iter();
            let others =
                others.filter(|(other, _)| *other == ty && ty != Ty::Bool && ty != Ty::Other);
            pairs.extend(others.map(|(_, other)| format!("{name} = {other}")));
        }
        self.levels.push(both);
        let mut on = if pairs.is_empty() {
            "true".to_owned()
        } else {
            let at = self.pick(pairs.len());
            pairs.swap_remove(at)
        };
        if !kind.starts_with("FULL") && self.chance(3) {
            let more = self.condition(depth);
            let how = if pairs.is_empty() { "AND" } else { "OR" };
            // An OR has no hash join: seldom.
            let how = if self.chance(4) { how } else { "AND" };
            on = format!("{on} {how} ({more})");
        }
        self.levels.pop();
        on
    }

    fn using(
        &mut self,
        left: Tree,
        right: Tree,
        kind: &str,
        merged: &[Column],
        natural: bool,
    ) -> Tree {
        let is_merged = |column: &Column| merged.iter().any(|one| one.name == column.name);
        let hide = |relations: Vec<Relation>| {
            relations.into_iter().map(|mut relation| {
                for column in &mut relation.columns {
                    column.bare &= !is_merged(column);
                }
                relation
            })
        };
        let mut relations = hide(left.relations)
            .chain(hide(right.relations))
            .collect::<Vec<_>>();
        relations.push(Relation {
            columns: merged.to_vec(),
            ..Relation::default()
        });
        let names = merged
            .iter()
            .map(|column| column.name.clone())
            .collect::<Vec<_>>();
        let sql = if natural {
            format!("{} NATURAL {kind} {}", left.sql, right.sql)
        } else {
            let mut sql = format!(
                "{} {kind} {} USING ({})",
                left.sql,
                right.sql,
                names.join(", ")
            );
            if self.chance(4) {
                let alias = self.alias();
                sql += &format!(" AS {alias}");
                let mut columns = merged.to_vec();
                columns.iter_mut().for_each(|column| column.bare = false);
                relations.push(Relation {
                    name: alias,
                    columns,
                    ..Relation::default()
                });
            }
            sql
        };
        let rest = |star: Vec<Column>| star.into_iter().filter(|column| !is_merged(column));
        let mut star = merged.to_vec();
        star.extend(rest(left.star));
        star.extend(rest(right.star));
        Tree {
            sql,
            relations,
            star,
            starry: left.starry && right.starry,
        }
    }

    /// A join in brackets, which may get a name of its own.
    fn named_join(&mut self, tree: Tree) -> Tree {
        if !self.chance(3) || !tree.starry {
            return tree;
        }
        let alias = self.alias();
        let mut columns = distinct(tree.star);
        let mut sql = format!("{} AS {alias}", tree.sql);
        if self.chance(2) {
            let count = 1 + self.pick(columns.len());
            sql += &format!("({})", self.rename(&mut columns, count));
        }
        Tree::of(
            sql,
            Relation {
                name: alias,
                columns,
                row: true,
                key: Vec::new(),
            },
        )
    }

    /// Gives the first columns new names, and lists these.
    fn rename(&mut self, columns: &mut [Column], count: usize) -> String {
        let mut names = Vec::new();
        for column in columns.iter_mut().take(count) {
            self.aliases += 1;
            let name = format!("c{}", self.aliases);
            *column = Column::new(&name, column.ty);
            names.push(name);
        }
        names.join(", ")
    }

    fn item(&mut self, depth: usize, beside: &[Relation], lateral: bool) -> Tree {
        if depth == 0 || self.fuel < 0 {
            return self.table_item();
        }
        match self.pick(14) {
            0..=8 => self.table_item(),
            9 | 10 => self.derived(depth - 1, None),
            11 => self.values_item(),
            12 => self.function_item(beside, lateral),
            _ if lateral && !beside.is_empty() => self.derived(depth - 1, Some(beside)),
            _ => self.row_item(),
        }
    }

    fn table_item(&mut self) -> Tree {
        if !self.ctes.is_empty() && self.chance(2) {
            let at = self.pick(self.ctes.len());
            let cte = self.ctes[at].clone();
            let alias = self.alias();
            let mut named = cte.clone();
            let sql = if self.chance(2) {
                cte.name.clone()
            } else {
                named.name = alias.clone();
                format!("{} AS {alias}", cte.name)
            };
            return Tree::of(sql, named);
        }
        let table = self.table(|_| true);
        let (name, reference) = self.table_name(table);
        let mut from = match table.kind {
            Kind::Family => [
                name.clone(),
                format!("ONLY {name}"),
                format!("{name} *"),
                format!("ONLY ({name})"),
            ][self.pick(4)]
            .clone(),
            _ if self.chance(12) && table.is_base() => format!("ONLY {name}"),
            _ => name,
        };
        let mut relation = relation(table, &reference);
        let sampled = matches!(table.kind, Kind::Table | Kind::Materialized) && self.chance(20);
        if self.chance(4) && !self.is_taken(&reference) {
            // No alias.
        } else {
            let alias = self.alias();
            let word = self.word(&[" ", " AS "]);
            from += &format!("{word}{alias}");
            relation.name = alias;
            if self.chance(6) {
                let count = 1 + self.pick(relation.columns.len());
                let mut columns = relation.columns.clone();
                from += &format!("({})", self.rename(&mut columns, count));
                relation.columns = columns;
                relation.key.clear();
            }
        }
        if sampled {
            from += &self.word(&[
                " TABLESAMPLE BERNOULLI (100)",
                " TABLESAMPLE SYSTEM (100) REPEATABLE (7)",
            ]);
        }
        Tree::of(from, relation)
    }

    /// Whether a level already has a relation of that name; twice in one FROM clause is an error.
    fn is_taken(&self, name: &str) -> bool {
        let mut names = self
            .levels
            .iter()
            .flat_map(|level| level.relations.iter().map(|relation| &relation.name));
        names.any(|other| other == name)
    }

    fn derived(&mut self, depth: usize, beside: Option<&[Relation]>) -> Tree {
        if let Some(beside) = beside {
            self.levels.push(Level {
                relations: beside.to_vec(),
                grouped: None,
            });
        }
        let query = self.query(None, depth);
        if beside.is_some() {
            self.levels.pop();
        }
        let lateral = if beside.is_some() { "LATERAL " } else { "" };
        let alias = self.alias();
        let mut columns = distinct(query.columns);
        let mut sql = format!("{lateral}({}) AS {alias}", query.sql);
        if self.chance(2) && !columns.is_empty() {
            let count = columns.len();
            sql += &format!("({})", self.rename(&mut columns, count));
        }
        Tree::of(
            sql,
            Relation {
                name: alias,
                columns,
                row: true,
                key: Vec::new(),
            },
        )
    }

    fn values_item(&mut self) -> Tree {
        let alias = self.alias();
        let rows = 1 + self.pick(3);
        let rows = (0..rows)
            .map(|_| format!("({}, {})", self.expr(Ty::Int, 1), self.expr(Ty::Text, 0)))
            .collect::<Vec<_>>();
        let columns = vec![Column::new("id", Ty::Int), Column::new("name", Ty::Text)];
        Tree::of(
            format!("(VALUES {}) AS {alias}(id, name)", rows.join(", ")),
            Relation {
                name: alias,
                columns,
                row: true,
                key: Vec::new(),
            },
        )
    }

    fn function_item(&mut self, beside: &[Relation], lateral: bool) -> Tree {
        let alias = self.alias();
        if lateral {
            self.levels.push(Level {
                relations: beside.to_vec(),
                grouped: None,
            });
        }
        let (call, columns) = match self.pick(5) {
            0 => (
                format!("generate_series(1, {} % 4)", self.expr(Ty::Int, 1)),
                vec![("n", Ty::Int)],
            ),
            1 => (
                format!("unnest({})", self.expr(Ty::Ints, 1)),
                vec![("u", Ty::Int)],
            ),
            2 => (
                format!("unnest({}) WITH ORDINALITY", self.expr(Ty::Ints, 1)),
                vec![("u", Ty::Int), ("o", Ty::Int)],
            ),
            3 => (
                format!(
                    "ROWS FROM (unnest({}), generate_series(1, 2)) WITH ORDINALITY",
                    self.expr(Ty::Ints, 1)
                ),
                vec![("u", Ty::Int), ("g", Ty::Int), ("o", Ty::Int)],
            ),
            _ => (
                format!("jsonb_each_text({})", self.expr(Ty::Json, 0)),
                vec![("k", Ty::Text), ("v", Ty::Text)],
            ),
        };
        if lateral {
            self.levels.pop();
        }
        let names = columns.iter().map(|column| column.0).collect::<Vec<_>>();
        let sql = format!("{call} AS {alias}({})", names.join(", "));
        let columns = columns
            .into_iter()
            .map(|(name, ty)| Column::new(name, ty))
            .collect::<Vec<_>>();
        // The name of a function with one column is that column, not a row.
        let row = columns.len() > 1;
        Tree::of(
            sql,
            Relation {
                name: alias,
                columns,
                row,
                key: Vec::new(),
            },
        )
    }

    /// A subquery that returns whole rows, of which columns are then taken.
    fn row_item(&mut self) -> Tree {
        let table = self.table(|table| table.is_base());
        let (name, _) = self.table_name(table);
        let alias = self.alias();
        let inner = self.alias();
        let columns = table
            .columns
            .iter()
            .map(|(name, ty, _)| Column {
                bare: false,
                ..Column::new(name, *ty)
            })
            .collect();
        Tree {
            sql: format!("(SELECT {inner} AS w FROM {name} {inner}) AS {alias}"),
            relations: vec![Relation {
                name: format!("({alias}.w)"),
                columns,
                row: false,
                key: Vec::new(),
            }],
            star: Vec::new(),
            starry: false,
        }
    }
}

/// The columns that both sides have exactly once, as USING needs them.
fn common(left: &[Column], right: &[Column]) -> Vec<Column> {
    let once =
        |star: &[Column], name: &str| star.iter().filter(|column| column.name == name).count() == 1;
    let mut both = Vec::new();
    for column in left {
        let other = right.iter().find(|other| other.name == column.name);
        if let Some(other) = other
            && other.ty == column.ty
            && once(left, &column.name)
            && once(right, &column.name)
        {
            both.push(Column::new(&column.name, column.ty));
        }
    }
    both
}

/// Of columns of one name none can be named.
pub(super) fn distinct(mut columns: Vec<Column>) -> Vec<Column> {
    let names = columns
        .iter()
        .map(|column| column.name.clone())
        .collect::<Vec<_>>();
    for column in &mut columns {
        let count = names.iter().filter(|name| **name == column.name).count();
        column.bare = true;
        column.usable &= count == 1;
    }
    columns
}

fn columns(relations: &[Relation]) -> Vec<(Ty, String)> {
    let mut all = Vec::new();
    for relation in relations
        .iter()
        .filter(|relation| !relation.name.is_empty())
    {
        let usable = relation.columns.iter().filter(|column| column.usable);
        all.extend(usable.map(|column| (column.ty, format!("{}.{}", relation.name, column.name))));
    }
    all
}

/// What columns of one type may be called.
pub(super) fn columns_of(relations: &[Relation], ty: Ty) -> Vec<String> {
    let all = columns(relations).into_iter();
    all.filter(|(other, _)| *other == ty)
        .map(|(_, name)| name)
        .collect()
}
