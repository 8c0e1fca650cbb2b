//! How much of PostgreSQL's own regression suites, the installed server's and that of version 18, we can read, judged by
//! PostgreSQL's own parser (libpg_query): what it parses must parse here, as the same kind of statement, with the same
//! relations.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "all of it is a test"
)]

mod psql;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value;

/// Kinds of statements that read or write rows through us.
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

/// Kind and relations of one statement, common table expressions apart.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    kind: String,
    relations: Vec<String>,
}

fn postgres(text: &str) -> Option<(Seen, BTreeSet<String>)> {
    let parsed = pg_query::parse(text, 0).ok()?;
    let tree = serde_json::to_value(&parsed.protobuf).unwrap();
    let statements = tree["stmts"].as_array().unwrap();
    let [statement] = statements.as_slice() else {
        return None;
    };
    let node = statement["stmt"]["node"].as_object()?;
    let kind = node.keys().next()?.clone();
    let mut found = Found::default();
    found.walk(&statement["stmt"]);
    let Found {
        mut relations,
        ctes,
    } = found;
    relations.retain(|name| !ctes.contains(name));
    relations.sort();
    Some((Seen { kind, relations }, ctes))
}

#[derive(Default)]
struct Found {
    relations: Vec<String>,
    ctes: BTreeSet<String>,
}

impl Found {
    fn walk(&mut self, value: &Value) {
        match value {
            Value::Array(values) => values.iter().for_each(|value| self.walk(value)),
            Value::Object(fields) => {
                if let (Some(name), true) = (fields.get("relname"), fields.contains_key("inh")) {
                    let schema = fields["schemaname"].as_str().unwrap_or_default();
                    let dot = if schema.is_empty() { "" } else { "." };
                    self.relations
                        .push(format!("{schema}{dot}{}", name.as_str().unwrap()));
                }
                if let Some(name) = fields.get("ctename") {
                    self.ctes.insert(name.as_str().unwrap().into());
                }
                // The source of `(a, b) = ...` is repeated for each column.
                if fields
                    .get("colno")
                    .and_then(Value::as_i64)
                    .is_some_and(|column| column > 1)
                {
                    return;
                }
                for (key, value) in fields {
                    // Names that are made or repeated, not read.
                    if !matches!(
                        key.as_str(),
                        "into" | "into_clause" | "view" | "locked_rels"
                    ) {
                        self.walk(value);
                    }
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
}

fn ours(text: &str, ctes: &BTreeSet<String>) -> Result<Seen, String> {
    let (kind, mut relations) = rewrite::inspect(text.as_bytes())?;
    relations.retain(|name| !ctes.contains(name));
    relations.sort();
    Ok(Seen {
        kind: kind.into(),
        relations,
    })
}

#[test]
fn what_postgres_parses_parses_here() {
    let mut by_kind: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    let mut failures: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for file in psql::SOURCES.into_iter().flat_map(psql::files) {
        let bytes = std::fs::read(&file).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        for statement in psql::statements(&text) {
            let Some((expected, ctes)) = postgres(&statement) else {
                continue;
            };
            if !KINDS.contains(&expected.kind.as_str()) {
                continue;
            }
            let count = by_kind.entry(expected.kind.clone()).or_default();
            count.1 += 1;
            let reason = match ours(&statement, &ctes) {
                Ok(seen) if seen == expected => {
                    count.0 += 1;
                    continue;
                }
                Ok(seen) => format!("differs: {seen:?}, PostgreSQL {expected:?}"),
                Err(reason) => reason,
            };
            let name = file.file_stem().unwrap().to_string_lossy();
            failures
                .entry(reason)
                .or_default()
                .push(format!("{name}: {statement}"));
        }
    }
    report(&by_kind, &failures);
    let agreeing: usize = by_kind.values().map(|(agreeing, _)| agreeing).sum();
    let all: usize = by_kind.values().map(|(_, all)| all).sum();
    assert!(
        all > 50_000,
        "{all} statements found: the regression files are not what they were"
    );
    assert_eq!(agreeing, all, "see target/parse_coverage.txt");
}

/// Counts go to the test's output, the statements that fail to `target/parse_coverage.txt`.
fn report(by_kind: &BTreeMap<String, (usize, usize)>, failures: &BTreeMap<String, Vec<String>>) {
    let agreeing: usize = by_kind.values().map(|(agreeing, _)| agreeing).sum();
    let all: usize = by_kind.values().map(|(_, all)| all).sum();
    println!(
        "agree / all DML statements: {agreeing} / {all} = {:.3} %",
        agreeing as f64 * 100.0 / all as f64
    );
    for (kind, (agreeing, all)) in by_kind {
        println!("  {kind:<20} {agreeing:>6} / {all:>6}");
    }
    let mut reasons: Vec<_> = failures.iter().collect();
    reasons.sort_by_key(|(_, statements)| std::cmp::Reverse(statements.len()));
    let mut full = String::new();
    for (reason, statements) in reasons {
        full.push_str(&format!(
            "== {} x {reason}\n{}\n",
            statements.len(),
            statements.join("\n")
        ));
    }
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/parse_coverage.txt");
    std::fs::write(target, full).unwrap();
}
