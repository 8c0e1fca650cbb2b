//! Expressions of a type.

use super::Generator;
use crate::tables::Ty;

const NAMES: &[&str] = &[
    "'ann'",
    "'bob'",
    "'cy'",
    "'dora'",
    "'O''Brien'",
    "E'e\\'f'",
    "$$gus$$",
    "$q$delete from emp$q$",
    "''",
    "'; DROP TABLE emp; --'",
];

impl Generator {
    pub(super) fn literal(&mut self, ty: Ty) -> String {
        let value = match ty {
            Ty::Int => match self.pick(12) {
                0..=7 => (1 + self.pick(60)).to_string(),
                8 => "0".to_owned(),
                9 => "-1".to_owned(),
                10 => (200 + self.pick(50)).to_string(),
                _ => "NULL::int".to_owned(),
            },
            Ty::Text => match self.pick(14) {
                at @ 0..10 => NAMES[at].to_owned(),
                10 => "NULL::text".to_owned(),
                11 => "U&'d\\0061ta'".to_owned(),
                _ => format!("'n{}'", self.pick(12)),
            },
            Ty::Num => match self.pick(5) {
                4 => "NULL::numeric".to_owned(),
                _ => format!("{}.{}0", self.pick(100), self.pick(10)),
            },
            Ty::Bool => self.word(&["true", "false", "NULL::boolean", "'t'::bool"]),
            Ty::Date => match self.pick(5) {
                4 => "NULL::date".to_owned(),
                3 => format!("'2026-02-{:02}'::date", 1 + self.pick(28)),
                _ => format!("DATE '2026-01-{:02}'", 1 + self.pick(28)),
            },
            Ty::Json => match self.pick(4) {
                0 => "'{}'::jsonb".to_owned(),
                1 => "NULL::jsonb".to_owned(),
                2 => format!("jsonb '[1,{}]'", self.pick(9)),
                _ => format!("'{{\"a\": {}}}'::jsonb", self.pick(5)),
            },
            Ty::Ints => match self.pick(4) {
                0 => "ARRAY[1,2]".to_owned(),
                1 => "'{}'::int[]".to_owned(),
                2 => "NULL::int[]".to_owned(),
                _ => format!("ARRAY[{},{}]", self.pick(5), self.pick(5)),
            },
            Ty::Other => "NULL".to_owned(),
        };
        self.as_parameter(ty, value)
    }

    /// Sends some of the literals as parameters, where the statement is sent with any.
    fn as_parameter(&mut self, ty: Ty, value: String) -> String {
        if self.parameters.is_none() || ty == Ty::Other || !self.chance(3) {
            return value;
        }
        let (text, type_name) = match ty {
            Ty::Int => ((1 + self.pick(40)).to_string(), "int"),
            Ty::Text => (format!("n{}", self.pick(12)), "text"),
            Ty::Num => (format!("{}.50", self.pick(100)), "numeric(10,2)"),
            Ty::Bool => ("true".to_owned(), "bool"),
            Ty::Date => (format!("2026-01-{:02}", 1 + self.pick(28)), "date"),
            Ty::Json => ("{\"a\":1}".to_owned(), "jsonb"),
            Ty::Ints | Ty::Other => ("{1,3}".to_owned(), "int[]"),
        };
        let null = self.chance(8);
        let Some(parameters) = &mut self.parameters else {
            return value;
        };
        parameters.push((!null).then_some(text));
        format!("${}::{type_name}", parameters.len())
    }

    /// A column in sight.
    pub(super) fn column(&mut self, ty: Ty) -> Option<String> {
        let mut found = Vec::new();
        for (at, level) in self.levels.iter().enumerate().rev() {
            if let Some(grouped) = &level.grouped {
                let fitting = grouped.iter().filter(|(_, other)| *other == ty);
                found.extend(fitting.map(|(sql, _)| (sql.clone(), sql.clone())));
                continue;
            }
            for relation in &level.relations {
                for column in &relation.columns {
                    if column.ty != ty || !column.usable {
                        continue;
                    }
                    let qualified = if relation.name.is_empty() {
                        column.name.clone()
                    } else {
                        format!("{}.{}", relation.name, column.name)
                    };
                    let plain = if column.bare && self.is_clear(at, &column.name) {
                        column.name.clone()
                    } else {
                        qualified.clone()
                    };
                    found.push((qualified, plain));
                }
            }
        }
        if found.is_empty() {
            return None;
        }
        // The innermost come first.
        let near = if self.chance(4) {
            found.len()
        } else {
            found.len().min(6)
        };
        let (qualified, plain) = found.swap_remove(self.pick(near));
        if self.qualify || !self.chance(2) {
            Some(qualified)
        } else {
            Some(plain)
        }
    }

    /// Whether a name without a relation means this level's column.
    fn is_clear(&self, at: usize, name: &str) -> bool {
        let count = |level: &super::Level| {
            let columns = level
                .relations
                .iter()
                .flat_map(|relation| &relation.columns);
            columns
                .filter(|column| column.bare && column.name == name)
                .count()
        };
        count(&self.levels[at]) == 1 && self.levels[at + 1..].iter().all(|level| count(level) == 0)
    }

    fn leaf(&mut self, ty: Ty) -> String {
        match self.pick(8) {
            0 | 1 => self.literal(ty),
            7 => self.row_field(ty).unwrap_or_else(|| self.literal(ty)),
            _ => match self.column(ty) {
                Some(column) => column,
                None => self.literal(ty),
            },
        }
    }

    pub(super) fn expr(&mut self, ty: Ty, depth: usize) -> String {
        self.fuel -= 1;
        if depth == 0 || self.fuel < 0 || ty == Ty::Other {
            return if ty == Ty::Bool && self.fuel > -20 && self.chance(2) {
                self.condition(0)
            } else {
                self.leaf(ty)
            };
        }
        let grouped = self
            .levels
            .last()
            .is_some_and(|level| level.grouped.is_some());
        if grouped && self.chance(3) {
            return self.aggregate(ty, depth - 1);
        }
        match self.pick(16) {
            0..=5 => self.leaf(ty),
            6 => format!(
                "coalesce({}, {})",
                self.expr(ty, depth - 1),
                self.expr(ty, depth - 1)
            ),
            7 => format!(
                "CASE WHEN {} THEN {} ELSE {} END",
                self.condition(depth - 1),
                self.expr(ty, depth - 1),
                self.expr(ty, depth - 1)
            ),
            8 => format!(
                "CASE {} WHEN {} THEN {} END",
                self.expr(Ty::Int, depth - 1),
                self.expr(Ty::Int, depth - 1),
                self.expr(ty, depth - 1)
            ),
            9 | 10 => self.scalar(ty, depth - 1),
            11 => format!(
                "nullif({}, {})",
                self.expr(ty, depth - 1),
                self.expr(ty, depth - 1)
            ),
            _ => self.of_type(ty, depth - 1),
        }
    }

    fn of_type(&mut self, ty: Ty, depth: usize) -> String {
        match ty {
            Ty::Int => self.int(depth),
            Ty::Text => self.text(depth),
            Ty::Num => match self.pick(3) {
                0 => format!(
                    "({} + {})",
                    self.expr(Ty::Num, depth),
                    self.expr(Ty::Num, depth)
                ),
                1 => format!("round({}, 1)", self.expr(Ty::Num, depth)),
                _ => format!("{}::numeric(10,2)", self.atom(Ty::Int, depth)),
            },
            Ty::Bool => format!("({})", self.condition(depth)),
            Ty::Date => format!("({} + {})", self.expr(Ty::Date, depth), 1 + self.pick(5)),
            Ty::Json => match self.pick(3) {
                0 => format!("jsonb_build_array({})", self.expr(Ty::Int, depth)),
                1 => format!("to_jsonb({})", self.expr(Ty::Text, depth)),
                _ => format!("({} || '{{\"z\": 1}}')", self.expr(Ty::Json, depth)),
            },
            Ty::Ints => match self.pick(3) {
                0 => format!("ARRAY[{}]", self.expr(Ty::Int, depth)),
                1 => {
                    let query = self.query(Some(&[Ty::Int]), depth);
                    format!("ARRAY(SELECT x FROM ({}) AS q(x) ORDER BY 1)", query.sql)
                }
                _ => format!(
                    "array_append({}, {})",
                    self.expr(Ty::Ints, depth),
                    self.expr(Ty::Int, depth)
                ),
            },
            Ty::Other => self.leaf(ty),
        }
    }

    fn atom(&mut self, ty: Ty, depth: usize) -> String {
        format!("({})", self.expr(ty, depth))
    }

    fn int(&mut self, depth: usize) -> String {
        match self.pick(8) {
            0 => format!(
                "({} + {})",
                self.expr(Ty::Int, depth),
                self.expr(Ty::Int, depth)
            ),
            1 => format!("length({})", self.expr(Ty::Text, depth)),
            2 => format!("twice({})", self.expr(Ty::Int, depth)),
            3 => format!("({} - {})", self.expr(Ty::Int, depth), self.pick(10)),
            4 => format!(
                "greatest({}, {})",
                self.expr(Ty::Int, depth),
                self.expr(Ty::Int, depth)
            ),
            5 => format!("coalesce(cardinality({}), 0)", self.expr(Ty::Ints, depth)),
            6 => format!("({} % 7)", self.atom(Ty::Int, depth)),
            _ => format!("extract(day FROM {})::int", self.expr(Ty::Date, depth)),
        }
    }

    fn text(&mut self, depth: usize) -> String {
        match self.pick(9) {
            0 => format!("upper({})", self.expr(Ty::Text, depth)),
            1 => format!(
                "({} || {})",
                self.expr(Ty::Text, depth),
                self.expr(Ty::Text, depth)
            ),
            2 => format!("{}::text", self.atom(Ty::Int, depth)),
            3 => format!("substr({}, 1, 3)", self.expr(Ty::Text, depth)),
            4 => format!("loud({})", self.expr(Ty::Text, depth)),
            5 => format!("({} ->> 'a')", self.atom(Ty::Json, depth)),
            6 => format!("{} COLLATE \"C\"", self.atom(Ty::Text, depth)),
            _ => match self.row_text() {
                Some(text) => text,
                None => self.leaf(Ty::Text),
            },
        }
    }

    /// A subquery with one column and one row at most.
    pub(super) fn scalar(&mut self, ty: Ty, depth: usize) -> String {
        match self.pick(4) {
            0 => {
                let (table, ids) = self.keyed(ty);
                let Some((name, from, id)) = table else {
                    return self.leaf(ty);
                };
                format!("(SELECT {name} FROM {from} WHERE {id} = {ids})")
            }
            1 if matches!(ty, Ty::Int | Ty::Text | Ty::Num | Ty::Date) => {
                let query = self.query(Some(&[ty]), depth);
                let alias = self.alias();
                let function = self.word(&["max", "min"]);
                format!(
                    "(SELECT {function}({alias}.x) FROM ({}) AS {alias}(x))",
                    query.sql
                )
            }
            2 if ty == Ty::Int => {
                let query = self.query(None, depth);
                let alias = self.alias();
                format!("(SELECT count(*)::int FROM ({}) {alias})", query.sql)
            }
            _ => {
                let query = self.query(Some(&[ty]), depth);
                format!("(({}) ORDER BY 1 LIMIT 1)", query.sql)
            }
        }
    }

    /// A column of a table with a key of one column, how the table stands in FROM, the key; and a value for it.
    fn keyed(&mut self, ty: Ty) -> (Option<(String, String, String)>, String) {
        let key = self.expr(Ty::Int, 0);
        let fitting = crate::tables::TABLES
            .iter()
            .filter(|table| {
                table.is_base()
                    && table.keys().len() == 1
                    && table.kind != crate::tables::Kind::Family
                    && table.columns.iter().any(|column| column.1 == ty)
            })
            .collect::<Vec<_>>();
        if fitting.is_empty() {
            return (None, key);
        }
        let table = fitting[self.pick(fitting.len())];
        let columns = table.columns.iter().filter(|column| column.1 == ty);
        let columns = columns.map(|column| column.0).collect::<Vec<_>>();
        let column = self.word(&columns);
        let (from, _) = self.table_name(table);
        let alias = self.alias();
        (
            Some((
                format!("{alias}.{column}"),
                format!("{from} {alias}"),
                format!("{alias}.{}", table.keys()[0]),
            )),
            key,
        )
    }

    /// A boolean expression; one that binds weakly is not in brackets.
    pub(super) fn condition(&mut self, depth: usize) -> String {
        self.fuel -= 1;
        let ty = [Ty::Int, Ty::Int, Ty::Text, Ty::Num, Ty::Date, Ty::Json][self.pick(6)];
        if depth == 0 || self.fuel < 0 {
            return match self.pick(8) {
                0 => match self.column(Ty::Bool) {
                    Some(column) => column,
                    None => "true".to_owned(),
                },
                1 => match self.column(ty) {
                    Some(column) => format!("{column} IS NOT NULL"),
                    None => "1 = 1".to_owned(),
                },
                2 => match self.row_condition() {
                    Some(condition) => condition,
                    None => "true".to_owned(),
                },
                _ => self.comparison(ty, 0),
            };
        }
        match self.pick(20) {
            0..=4 => self.comparison(ty, depth - 1),
            5 => format!("{} AND {}", self.closed(depth - 1), self.closed(depth - 1)),
            6 => format!("{} OR {}", self.closed(depth - 1), self.closed(depth - 1)),
            7 => format!("NOT {}", self.closed(depth - 1)),
            8 => format!("{} IS NULL", self.atom(ty, depth - 1)),
            9 | 10 => {
                let not = self.word(&["", "NOT "]);
                let query = self.query(None, depth - 1);
                format!("{not}EXISTS ({})", query.sql)
            }
            11 | 12 => {
                let left = self.atom(ty, depth - 1);
                let not = self.word(&["", "NOT "]);
                let query = self.query(Some(&[ty]), depth - 1);
                format!("{left} {not}IN ({})", query.sql)
            }
            13 => {
                let left = self.atom(ty, depth - 1);
                let operator = self.word(&["=", "<>", "<", ">="]);
                let which = self.word(&["ANY", "ALL", "SOME"]);
                let query = self.query(Some(&[ty]), depth - 1);
                format!("{left} {operator} {which} ({})", query.sql)
            }
            14 => {
                let pair = format!("({}, {})", self.expr(Ty::Int, 0), self.expr(ty, 0));
                let operator = self.word(&["IN", "NOT IN", "= ANY"]);
                let query = self.query(Some(&[Ty::Int, ty]), depth - 1);
                format!("{pair} {operator} ({})", query.sql)
            }
            15 => format!(
                "{} BETWEEN {} AND {}",
                self.atom(ty, depth - 1),
                self.atom(ty, 0),
                self.atom(ty, 0)
            ),
            16 => format!(
                "{} LIKE {}",
                self.atom(Ty::Text, depth - 1),
                self.word(&["'%a%'", "'n_'", "'b%'"])
            ),
            17 => format!(
                "{} = ANY ({})",
                self.atom(Ty::Int, depth - 1),
                self.expr(Ty::Ints, depth - 1)
            ),
            18 => format!(
                "{} IN ({}, {})",
                self.atom(ty, depth - 1),
                self.expr(ty, 0),
                self.expr(ty, 0)
            ),
            _ => match self.row_condition() {
                Some(condition) => condition,
                None => self.comparison(ty, depth - 1),
            },
        }
    }

    fn closed(&mut self, depth: usize) -> String {
        format!("({})", self.condition(depth))
    }

    fn comparison(&mut self, ty: Ty, depth: usize) -> String {
        let operator = self.word(&["=", "<", ">", "<>", ">=", "IS DISTINCT FROM"]);
        format!(
            "{} {operator} {}",
            self.atom(ty, depth),
            self.atom(ty, depth)
        )
    }

    /// An aggregate whose value does not depend on the order of rows.
    pub(super) fn aggregate(&mut self, ty: Ty, depth: usize) -> String {
        let grouped = self
            .levels
            .last_mut()
            .and_then(|level| level.grouped.take());
        let call = match ty {
            Ty::Int => match self.pick(6) {
                0 => "count(*)".to_owned(),
                1 => format!("count({})", self.expr(Ty::Text, depth)),
                2 => format!("sum({})", self.expr(Ty::Int, depth)),
                3 => format!("count(DISTINCT {})", self.expr(Ty::Text, depth)),
                4 => format!("count(*) FILTER (WHERE {})", self.condition(depth)),
                _ => format!("max({})", self.expr(Ty::Int, depth)),
            },
            Ty::Text => match self.pick(3) {
                0 => format!("max({})", self.expr(Ty::Text, depth)),
                1 => {
                    let value = self.expr(Ty::Text, 0);
                    format!("string_agg({value}, ',' ORDER BY {value})")
                }
                _ => self
                    .row_aggregate()
                    .unwrap_or_else(|| "count(*)::text".to_owned()),
            },
            Ty::Num => format!("sum({})", self.expr(Ty::Num, depth)),
            Ty::Bool => format!("bool_or({})", self.condition(depth)),
            Ty::Date => format!("min({})", self.expr(Ty::Date, depth)),
            Ty::Json => {
                let value = self.expr(Ty::Json, 0);
                format!("jsonb_agg({value} ORDER BY {value})")
            }
            Ty::Ints | Ty::Other => {
                let value = self.expr(Ty::Int, 0);
                format!("array_agg({value} ORDER BY {value})")
            }
        };
        if let Some(level) = self.levels.last_mut() {
            level.grouped = grouped;
        }
        if ty == Ty::Int {
            format!("{call}::int")
        } else {
            call
        }
    }
}
