//! Every table of PostgreSQL's regression statements taken for a marked one: what we send must be
//! SQL, and must hide the tombstones of each table that is read, as often as PostgreSQL's own parser
//! finds it read.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "all of it is a test: helpers fail as tests do"
)]

mod psql;
mod variants;

use std::collections::{BTreeMap, BTreeSet};

use catalog::{Catalog, SearchPath};
use rewrite::{ClientEncoding, Scope, scan};
use serde_json::{Value, json};

const KINDS: &[&str] = &[
    "SelectStmt",
    "InsertStmt",
    "UpdateStmt",
    "DeleteStmt",
    "MergeStmt",
    "CopyStmt",
    "PrepareStmt",
    "DeclareCursorStmt",
    "ExplainStmt",
    "CreateTableAsStmt",
    "ViewStmt",
];

/// Of 10,000 statements that name a table so many are served. Raise it when more are.
const SERVED_MIN: usize = 9_980;

#[derive(Default)]
struct Tree {
    /// Relations that are read, updated or deleted from, as often as they are named.
    reads: Vec<(String, String)>,
    named: BTreeSet<(String, String)>,
    ctes: BTreeSet<String>,
    lists_columns: bool,
    /// WHEN NOT MATCHED BY SOURCE: each hides the rows of the target once more.
    by_source: usize,
    /// Conditions on our column.
    veils: usize,
}

impl Tree {
    fn of(text: &str) -> Option<(Self, String)> {
        let parsed = pg_query::parse(text, 0).ok()?;
        let tree = serde_json::to_value(&parsed.protobuf).unwrap();
        let [statement] = tree["stmts"].as_array()?.as_slice() else {
            return None;
        };
        let kind = statement["stmt"]["node"]
            .as_object()?
            .keys()
            .next()?
            .clone();
        let mut found = Self::default();
        found.walk(&statement["stmt"]);
        let ctes = found.ctes.clone();
        found
            .reads
            .retain(|(schema, name)| !(schema.is_empty() && ctes.contains(name)));
        found.named.retain(|(_, name)| !ctes.contains(name));
        Some((found, kind))
    }

    fn walk(&mut self, value: &Value) {
        let Value::Object(fields) = value else {
            if let Value::Array(values) = value {
                values.iter().for_each(|value| self.walk(value));
            }
            return;
        };
        if let (Some(name), true) = (fields.get("relname"), fields.contains_key("inh")) {
            let schema = fields["schemaname"].as_str().unwrap_or_default();
            let name = (schema.to_string(), name.as_str().unwrap().to_string());
            self.named.insert(name.clone());
            self.reads.push(name);
        }
        if let Some(name) = fields.get("ctename") {
            self.ctes.insert(name.as_str().unwrap().into());
        }
        for (key, value) in fields {
            if matches!(
                key.as_str(),
                "into" | "into_clause" | "view" | "locked_rels"
            ) {
                continue;
            }
            let before = self.reads.len();
            self.walk(value);
            let text = || value.to_string();
            self.by_source += usize::from(
                key == "match_kind"
                    && *value
                        == json!(
                            pg_query::protobuf::MergeMatchKind::MergeWhenNotMatchedBySource as i32
                        ),
            );
            self.lists_columns |=
                key == "attlist" && value.as_array().is_some_and(|it| !it.is_empty());
            match key.as_str() {
                "NullTest" if text().contains("\"sval\":\"deleted_at\"") => self.veils += 1,
                "InsertStmt" | "CopyStmt" if key == "InsertStmt" || value["is_from"] == true => {
                    // Its own relation is no read.
                    if let Some(name) = value["relation"]["relname"].as_str() {
                        let target = self.reads[before..].iter().position(|read| read.1 == name);
                        self.reads.remove(before + target.unwrap());
                    }
                }
                "UpdateStmt" | "DeleteStmt"
                    if value["where_clause"].to_string().contains("CurrentOfExpr") =>
                {
                    self.reads.truncate(before);
                }
                _ => {}
            }
        }
    }
}

fn veiled(tables: &BTreeSet<(String, String)>, server: u32) -> Catalog {
    let tables: Vec<Value> = tables
        .iter()
        .filter(|(schema, name)| is_a_table(schema, name))
        .map(|(schema, name)| {
            json!({
                "oid": 1, "schema": if schema.is_empty() { "public" } else { schema },
                "name": name, "mode": "mark", "marking": true, "kind": "r", "columns": [
                    {"name": "a"}, {"name": "b"},
                    {"name": "deleted_at", "hidden": true}, {"name": "deletion_id", "hidden": true},
                ],
            })
        })
        .collect();
    let document = json!({"server": server, "tables": tables, "shadows": []});
    Catalog::from_json(&document.to_string()).unwrap()
}

fn is_a_table(schema: &str, name: &str) -> bool {
    !schema.starts_with("pg_") && !name.starts_with("pg_") && schema != "information_schema"
}

/// `Ok(false)`: refused.
fn judge(
    text: &str,
    tree: &Tree,
    server: u32,
    refusals: &mut BTreeMap<String, Vec<String>>,
) -> Result<bool, String> {
    let catalog = veiled(&tree.named, server);
    let path = SearchPath {
        schemas: vec!["public".into()],
        ..SearchPath::default()
    };
    let scope = Scope {
        catalog: &catalog,
        search_path: &path,
        standard_conforming_strings: true,
        encoding: ClientEncoding::Utf8,
    };
    if let (Some(wrong), _) = variants::shape_fails(text, &scope) {
        return Err(wrong);
    }
    let plan = match scan(text.as_bytes(), &catalog, true, ClientEncoding::Utf8).plan(&scope) {
        Ok(plan) => plan,
        Err(refusal) => {
            let reason = format!(
                "{} {}",
                refusal.code,
                refusal.detail.unwrap_or(refusal.message)
            );
            refusals.entry(reason).or_default().push(text.into());
            return Ok(false);
        }
    };
    let sent = String::from_utf8(plan.edits.apply(text.as_bytes())).unwrap();
    let Some((after, _)) = Tree::of(&sent) else {
        let error = pg_query::parse(&sent, 0)
            .err()
            .map(|error| error.to_string());
        return Err(format!("no SQL ({error:?}): {sent}"));
    };
    let reads = tree
        .reads
        .iter()
        .filter(|(schema, name)| is_a_table(schema, name));
    let reads = reads.count() + tree.by_source;
    if after.veils - tree.veils != reads {
        return Err(format!(
            "{reads} tables read, {} hidden: {sent}",
            after.veils - tree.veils
        ));
    }
    Ok(true)
}

#[test]
fn every_table_that_is_read_is_veiled() {
    let mut refusals = BTreeMap::new();
    let (mut served, mut all, mut wrong) = (0, 0, Vec::new());
    let files = psql::SOURCES.into_iter().zip([150_018, 180_000]);
    let files = files.flat_map(|(source, server)| {
        psql::files(source)
            .into_iter()
            .map(move |path| (path, server))
    });
    for (path, server) in files {
        let bytes = std::fs::read(&path).unwrap();
        for text in psql::statements(&String::from_utf8_lossy(&bytes)) {
            let Some((tree, kind)) = Tree::of(&text) else {
                continue;
            };
            // COPY of columns that the catalog does not know is sent as it is: an error.
            let unknown = kind == "CopyStmt" && tree.lists_columns;
            if !KINDS.contains(&kind.as_str()) || tree.named.is_empty() || unknown {
                continue;
            }
            all += 1;
            match judge(&text, &tree, server, &mut refusals) {
                Ok(is_served) => served += usize::from(is_served),
                Err(error) => wrong.push(format!("{text}\n  {error}")),
            }
        }
    }
    let mut reasons: Vec<_> = refusals.iter().collect();
    reasons.sort_by_key(|(_, texts)| std::cmp::Reverse(texts.len()));
    for (reason, texts) in &reasons {
        println!("{:5} {reason}\n      {}", texts.len(), texts[0]);
    }
    println!("{served} of {all} served, {} wrong", wrong.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    assert!(
        served * 10_000 >= all * SERVED_MIN,
        "{served} of {all} served"
    );
}
