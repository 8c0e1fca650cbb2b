//! ARCHITECTURE.md's table of crates, held against `cargo metadata`.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use tests::process::{root, run};

type Uses = BTreeMap<String, BTreeSet<String>>;

/// The rows "| `crate` | what it is | may use |".
fn allowed() -> Uses {
    let text = std::fs::read_to_string(root().join("ARCHITECTURE.md")).expect("ARCHITECTURE.md");
    let rows = text
        .lines()
        .skip_while(|line| *line != "| crate | what it is | may use |")
        .skip(2)
        .take_while(|line| line.starts_with('|'));
    let mut table = Uses::new();
    for row in rows {
        let cells = row
            .trim_matches('|')
            .split(" |")
            .map(str::trim)
            .collect::<Vec<_>>();
        let uses = cells.get(2).copied().unwrap_or_default();
        let uses = uses
            .split(',')
            .map(str::trim)
            .filter(|name| !name.is_empty())
            .map(str::to_owned);
        table.insert(cells[0].trim_matches('`').to_owned(), uses.collect());
    }
    assert!(
        table.len() > 3,
        "the table of crates is not where it was: {table:?}"
    );
    table
}

/// What each crate below `crates/` depends on, tests and builds included: ours, and all.
fn actual() -> (Uses, Uses) {
    let mut cargo = Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned()));
    cargo
        .args(["metadata", "--no-deps", "--format-version=1"])
        .current_dir(root());
    let metadata: serde_json::Value =
        serde_json::from_str(&run(&mut cargo)).expect("cargo prints JSON");
    let crates = root().join("crates");
    let ours = metadata["packages"]
        .as_array()
        .expect("packages")
        .iter()
        .filter(|package| {
            let path = package["manifest_path"].as_str().unwrap_or_default();
            path.starts_with(&*crates.to_string_lossy())
        });
    let ours = ours.collect::<Vec<_>>();
    let names = ours
        .iter()
        .filter_map(|package| package["name"].as_str())
        .collect::<BTreeSet<_>>();
    let (mut inner, mut outer) = (Uses::new(), Uses::new());
    for package in &ours {
        let name = package["name"].as_str().unwrap_or_default().to_owned();
        let dependencies = package["dependencies"].as_array().into_iter().flatten();
        for dependency in dependencies {
            let used = dependency["name"].as_str().unwrap_or_default();
            let test_only = dependency["kind"] == "dev";
            let uses = if names.contains(used) {
                &mut inner
            } else {
                &mut outer
            };
            if !test_only || names.contains(used) {
                uses.entry(name.clone())
                    .or_default()
                    .insert(used.to_owned());
            }
        }
        inner.entry(name.clone()).or_default();
        outer.entry(name).or_default();
    }
    (inner, outer)
}

#[test]
fn crates_use_what_the_table_allows() {
    let (allowed, (actual, _)) = (allowed(), actual());
    assert_eq!(
        allowed.keys().collect::<Vec<_>>(),
        actual.keys().collect::<Vec<_>>(),
        "the table and the directory name different crates"
    );
    for (name, uses) in &actual {
        let forbidden = uses.difference(&allowed[name]).collect::<Vec<_>>();
        assert!(
            forbidden.is_empty(),
            "{name} uses {forbidden:?}, which ARCHITECTURE.md does not allow"
        );
    }
}

#[test]
fn some_libraries_have_one_user() {
    let (_, outer) = actual();
    let users = |library: &str| {
        let users = outer.iter().filter(|(_, uses)| uses.contains(library));
        users.map(|(name, _)| name.as_str()).collect::<Vec<_>>()
    };
    assert_eq!(users("sqlparser"), ["rewrite"]);
    assert!(
        !users("tokio").contains(&"session"),
        "session has no clock, no socket and no await"
    );
    assert!(
        !users("tokio-postgres").contains(&"proxy"),
        "all SQL in our own name is the keeper's"
    );
    for pure in ["wire", "catalog", "rewrite", "session"] {
        assert!(!outer[pure].contains("tokio"), "{pure} knows of tokio");
    }
}
