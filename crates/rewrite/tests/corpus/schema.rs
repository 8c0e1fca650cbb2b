//! The catalog that a case's SQL makes: as much of CREATE TABLE as the corpus uses.

use catalog::{Catalog, SearchPath};
use serde_json::{Value, json};

pub struct Schema {
    pub catalog: Catalog,
    pub search_path: SearchPath,
}

#[derive(Default)]
struct Reader {
    tables: Vec<Table>,
    path: Vec<String>,
    temporary: Vec<String>,
}

struct Table {
    schema: String,
    name: String,
    kind: &'static str,
    columns: Vec<Value>,
    primary_key: Vec<String>,
    inherits: bool,
}

pub fn read(sql: &str) -> Schema {
    let mut reader = Reader {
        path: vec!["public".into()],
        ..Reader::default()
    };
    let code: Vec<&str> = sql
        .lines()
        .filter(|line| !line.trim_start().starts_with("--"))
        .collect();
    for statement in code.join("\n").split(';') {
        reader.statement(statement.trim());
    }
    let told = |what: &str| -> Vec<String> {
        let prefix = format!("-- {what}: ");
        let lines = sql
            .lines()
            .filter_map(|line| line.trim().strip_prefix(prefix.as_str()));
        lines
            .flat_map(|line| line.split(", "))
            .map(ToString::to_string)
            .collect()
    };
    let (bin, unmarked, others) = (told("bin"), told("not marking"), told("not enabled"));
    let mut tables = Vec::new();
    let mut shadows = Vec::new();
    for (index, table) in reader.tables.iter().enumerate() {
        if others.contains(&table.name) {
            shadows.push(json!([table.schema, table.name]));
            continue;
        }
        tables.push(json!({
            "oid": 16384 + index, "schema": table.schema, "name": table.name,
            "mode": if bin.contains(&table.name) { "bin" } else { "mark" },
            "marking": !unmarked.contains(&table.name), "kind": table.kind,
            "columns": table.columns, "primary_key": table.primary_key,
            "inherits": table.inherits,
            "row_type": {
                "name": format!("row_{}", 16384 + index), "oid": 17000 + index, "array": 18000 + index,
                "of": 19000 + index, "of_array": 20000 + index,
            },
        }));
    }
    let server: u32 = told("server")
        .first()
        .map_or(150_018, |server| server.parse().unwrap());
    let sees = !told("event triggers").contains(&"none".to_string());
    let document =
        json!({"server": server, "tables": tables, "shadows": shadows, "sees_ddl_start": sees});
    let mut path = vec!["pg_temp_3".to_string(), "pg_catalog".into()];
    path.extend(reader.path);
    Schema {
        catalog: Catalog::from_json(&document.to_string()).unwrap(),
        search_path: SearchPath {
            schemas: path,
            temp_schema: Some("pg_temp_3".into()),
            temp_relations: reader.temporary.into_iter().collect(),
            show: catalog::Show::Live,
        },
    }
}

impl Reader {
    fn statement(&mut self, sql: &str) {
        if let Some(path) = sql.strip_prefix("SET search_path TO ") {
            self.path = path.split(", ").map(ToString::to_string).collect();
        } else if let Some(rest) = sql.strip_prefix("CREATE TEMP TABLE ") {
            let (name, _) = head(rest);
            self.temporary.push(name.1);
        } else if let Some(rest) = sql.strip_prefix("CREATE TABLE ") {
            self.create(rest);
        } else if let Some(rest) = sql.strip_prefix("ALTER TABLE ")
            && let Some((name, column)) = rest.split_once(" ADD COLUMN ")
        {
            // It comes behind our columns.
            let name = unquote(name).1;
            let table = self
                .tables
                .iter_mut()
                .find(|table| table.name == name)
                .unwrap();
            table
                .columns
                .push(json!({"name": unquote(column.split(' ').next().unwrap()).1}));
        }
    }

    fn create(&mut self, rest: &str) {
        let ((schema, name), body) = head(rest);
        let mut table = Table {
            schema: schema.unwrap_or_else(|| self.path[0].clone()),
            name,
            kind: if body.contains("PARTITION BY") {
                "p"
            } else {
                "r"
            },
            columns: Vec::new(),
            primary_key: Vec::new(),
            inherits: false,
        };
        let parent = ["INHERITS (", "PARTITION OF "].iter().find_map(|keyword| {
            let (_, parent) = body.split_once(keyword)?;
            let end = parent.find([')', ' ']).unwrap_or(parent.len());
            Some((unquote(&parent[..end]).1, *keyword == "INHERITS ("))
        });
        if let Some((parent, inherits)) = parent {
            let parent = self
                .tables
                .iter_mut()
                .find(|table| table.name == parent)
                .unwrap();
            parent.inherits |= inherits;
            table.inherits = inherits;
            // The parent's columns come first, ours among them.
            table.columns.extend(parent.columns.iter().cloned());
        }
        if !body.starts_with("PARTITION OF") && body.starts_with('(') {
            for part in split(inside(body)) {
                definition(&mut table, part.trim());
            }
        }
        let inherited = table.columns.iter().any(|column| column["hidden"] == true);
        for name in ["deleted_at", "deletion_id"].iter().filter(|_| !inherited) {
            table.columns.push(json!({"name": name, "hidden": true}));
        }
        self.tables.push(table);
    }
}

fn definition(table: &mut Table, part: &str) {
    let (first, _) = head(part);
    let first = first.1.to_uppercase();
    if first == "PRIMARY" {
        table.primary_key = split(inside(&part[part.find('(').unwrap()..]))
            .iter()
            .map(|column| unquote(column.trim()).1)
            .collect();
    }
    if [
        "PRIMARY",
        "UNIQUE",
        "CONSTRAINT",
        "FOREIGN",
        "CHECK",
        "EXCLUDE",
        "",
    ]
    .contains(&first.as_str())
    {
        return;
    }
    let name = head(part).0.1;
    if part.contains("PRIMARY KEY") {
        table.primary_key = vec![name.clone()];
    }
    let generated = part.contains("GENERATED ALWAYS AS (");
    table
        .columns
        .push(json!({"name": name, "generated": generated}));
}

/// The (schema and) name at the start, and what follows it.
fn head(rest: &str) -> ((Option<String>, String), &str) {
    let mut quoted = false;
    let end = rest.find(|character| {
        quoted ^= character == '"';
        !quoted && [' ', '('].contains(&character)
    });
    let end = end.unwrap_or(rest.len());
    (unquote(&rest[..end]), rest[end..].trim_start())
}

fn unquote(name: &str) -> (Option<String>, String) {
    let (schema, name) = name
        .split_once('.')
        .map_or((None, name), |(schema, name)| (Some(schema), name));
    let plain = |name: &str| match name.strip_prefix('"') {
        Some(quoted) => quoted.strip_suffix('"').unwrap().replace("\"\"", "\""),
        None => name.to_lowercase(),
    };
    (schema.map(plain), plain(name))
}

/// Between the parenthesis at the start and the one that closes it.
fn inside(text: &str) -> &str {
    let mut depth = 0;
    for (index, character) in text.char_indices() {
        match character {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return &text[1..index];
        }
    }
    panic!("a parenthesis does not close: {text}")
}

/// Cut at commas outside of parentheses.
fn split(text: &str) -> Vec<&str> {
    let (mut depth, mut start, mut parts) = (0, 0, Vec::new());
    for (index, character) in text.char_indices() {
        match character {
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&text[start..index]);
                start = index + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}
