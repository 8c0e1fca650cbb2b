//! PostgreSQL's own regression statements that read the system catalogs: what we send must be SQL, and
//! must hide what is ours in each system relation that is read, as often as PostgreSQL's own parser
//! finds it read. None is refused.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "all of it is a test: helpers fail as tests do"
)]

mod psql;

use std::collections::BTreeSet;

use catalog::{Catalog, SearchPath};
use rewrite::{ClientEncoding, Scope, scan};
use serde_json::Value;

#[derive(Default)]
struct Tree {
    reads: Vec<(String, String)>,
    ctes: BTreeSet<String>,
    conditions: usize,
}

impl Tree {
    fn of(text: &str) -> Option<Self> {
        let parsed = pg_query::parse(text, 0).ok()?;
        let tree = serde_json::to_value(&parsed.protobuf).unwrap();
        let [statement] = tree["stmts"].as_array()?.as_slice() else {
            return None;
        };
        let kind = statement["stmt"]["node"].as_object()?.keys().next()?;
        const READS: &[&str] = &[
            "SelectStmt",
            "PrepareStmt",
            "DeclareCursorStmt",
            "ExplainStmt",
        ];
        if !READS.contains(&kind.as_str()) {
            return None;
        }
        let mut found = Self::default();
        found.walk(&statement["stmt"]);
        let ctes = found.ctes.clone();
        found
            .reads
            .retain(|(schema, name)| !(schema.is_empty() && ctes.contains(name)));
        Some(found)
    }

    fn walk(&mut self, value: &Value) {
        if let Value::Array(values) = value {
            values.iter().for_each(|value| self.walk(value));
        }
        let Value::Object(fields) = value else { return };
        if let (Some(name), true) = (fields.get("relname"), fields.contains_key("inh")) {
            let schema = fields["schemaname"].as_str().unwrap_or_default();
            self.reads
                .push((schema.into(), name.as_str().unwrap().into()));
        }
        if let Some(name) = fields.get("ctename") {
            self.ctes.insert(name.as_str().unwrap().into());
        }
        for (key, value) in fields {
            if matches!(key.as_str(), "into" | "into_clause" | "locked_rels") {
                continue;
            }
            if key == "BooleanTest" && value.to_string().contains("\"sval\":\"reprieve\"") {
                self.conditions += 1;
            }
            self.walk(value);
        }
    }
}

fn enabled() -> Catalog {
    let document = r#"{"server":150018,"tables":[{"oid":1,"schema":"public","name":"enabled",
        "mode":"bin","kind":"r","columns":[{"name":"id"}]}],"shadows":[]}"#;
    Catalog::from_json(document).unwrap()
}

fn sent(text: &str, catalog: &Catalog) -> String {
    let path = SearchPath {
        schemas: vec!["pg_catalog".into(), "public".into()],
        ..SearchPath::default()
    };
    let scope = Scope {
        catalog,
        search_path: &path,
        standard_conforming_strings: true,
        encoding: ClientEncoding::Utf8,
    };
    let plan = scan(text.as_bytes(), catalog, true, ClientEncoding::Utf8)
        .plan(&scope)
        .expect("nothing is refused");
    String::from_utf8(plan.edits.apply(text.as_bytes())).unwrap()
}

/// True if a condition is added where nothing but this relation is read.
fn hides(schema: &str, name: &str, catalog: &Catalog) -> bool {
    let name = format!("\"{}\"", name.replace('"', "\"\""));
    let schema = if schema.is_empty() {
        "pg_catalog"
    } else {
        schema
    };
    let text = format!("SELECT 1 FROM \"{schema}\".{name}");
    sent(&text, catalog) != text
}

#[test]
fn every_system_relation_that_is_read_is_cloaked() {
    let catalog = enabled();
    let (mut statements, mut all, mut hidden) = (0, 0, 0);
    let mut wrong = Vec::new();
    for path in psql::SOURCES.into_iter().flat_map(psql::files) {
        let bytes = std::fs::read(&path).unwrap();
        for text in psql::statements(&String::from_utf8_lossy(&bytes)) {
            let Some(tree) = Tree::of(&text) else {
                continue;
            };
            let is_system = |(schema, name): &&(String, String)| hides(schema, name, &catalog);
            let reads = tree.reads.iter().filter(is_system).count();
            if reads == 0 {
                continue;
            }
            statements += 1;
            all += reads;
            let text_sent = sent(&text, &catalog);
            let Some(after) = Tree::of(&text_sent) else {
                wrong.push(format!("no SQL: {text_sent}"));
                continue;
            };
            hidden += after.conditions;
            if after.conditions != reads {
                wrong.push(format!(
                    "{reads} read, {} hidden: {text_sent}",
                    after.conditions
                ));
            }
        }
    }
    println!("{statements} statements read {all} system relations, {hidden} of them cloaked");
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    assert!(all > 900, "only {all} were found");
}
