//! The corpus, purely: every case's text against the block below it. `tests/corpus/*.md` is the
//! specification; `UPDATE_CORPUS=1` writes what the rewriter says now into its blocks.
//!
//! A case is a heading with a `sql` block and one of
//! - `becomes`: the exact text that is sent,
//! - `error`: PostgreSQL's own error, made by the rewriter (`42703: column ...`),
//! - `refused`: an error that PostgreSQL would not raise (`R5 0A000: soft-delete table ...`),
//! - `unmarks`: what would be refused if the keeper could not end the marking of a table.
//!
//! A `catalog` block holds until the next one of its file: plain SQL, from which the columns are
//! read. Comments in it say what SQL cannot: `-- not enabled: u`, `-- bin: u`, `-- not marking: u`,
//! `-- server: 180000`, `-- event triggers: none`.
//!
//! Cases in `differences/` pin what a client can tell from plain PostgreSQL; they are run here only.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "all of it is a test: helpers fail as tests do"
)]

mod schema;
#[path = "../variants/mod.rs"]
mod variants;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use libtest_mimic::{Arguments, Failed, Trial};
use rewrite::{ClientEncoding, Reply, Scope, scan};

const OUTCOMES: &[&str] = &["becomes", "error", "refused", "unmarks"];

struct Case {
    name: String,
    catalog: String,
    sql: String,
    outcome: String,
    expected: String,
}

fn main() {
    let arguments = Arguments::from_args();
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/corpus");
    let mut files: Vec<PathBuf> = [directory.clone(), directory.join("differences")]
        .iter()
        .flat_map(|directory| std::fs::read_dir(directory).unwrap())
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .collect();
    files.sort();
    let mut trials = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let stem = file.file_stem().unwrap().to_string_lossy().into_owned();
        if std::env::var_os("UPDATE_CORPUS").is_some() {
            std::fs::write(&file, updated(&text)).unwrap();
            continue;
        }
        for case in cases(&text) {
            let name = format!("{stem}::{}", case.name);
            trials.push(Trial::test(name, move || run(&case)));
        }
    }
    libtest_mimic::run(&arguments, trials).exit();
}

fn run(case: &Case) -> Result<(), Failed> {
    let schema = schema::read(&case.catalog);
    if let (Some(wrong), _) = variants::shape_fails(&case.sql, &scope(&schema)) {
        return Err(wrong.into());
    }
    let (outcome, actual) = rewritten(&case.catalog, &case.sql);
    if (outcome.as_str(), actual.as_str()) == (case.outcome.as_str(), case.expected.as_str()) {
        return Ok(());
    }
    let Case {
        sql,
        outcome: wanted,
        expected,
        ..
    } = case;
    Err(format!("{sql}\n{wanted}:\n{expected}\nbut {outcome}:\n{actual}").into())
}

fn scope(schema: &schema::Schema) -> Scope<'_> {
    Scope {
        catalog: &schema.catalog,
        search_path: &schema.search_path,
        standard_conforming_strings: true,
        encoding: ClientEncoding::Utf8,
    }
}

/// The kind of block and its content.
fn rewritten(catalog: &str, sql: &str) -> (String, String) {
    let schema = schema::read(catalog);
    let scope = scope(&schema);
    let scanned = scan(sql.as_bytes(), &schema.catalog, true, ClientEncoding::Utf8);
    match scanned.plan(&scope) {
        Ok(plan) => {
            let sent = String::from_utf8(plan.edits.apply(sql.as_bytes())).unwrap();
            if let Err(error) = pg_query::parse(&sent, 0)
                && pg_query::parse(sql, 0).is_ok()
            {
                return (
                    "becomes".into(),
                    format!("{sent}\n-- which is no SQL: {error}"),
                );
            }
            let replies: Vec<Reply> = plan.statements.iter().map(|known| known.reply).collect();
            let marks = sent.contains("begin_deletion_v1");
            let translated = replies.iter().any(|reply| *reply != Reply::AsIs)
                || sent.trim_start().to_lowercase().starts_with("prepare");
            assert!(
                !marks || translated,
                "a mark, and replies as they are: {sent}"
            );
            ("becomes".into(), sent)
        }
        Err(refusal) if refusal.sqlstate == "42703" => (
            "error".into(),
            format!("{}: {}", refusal.sqlstate, refusal.message),
        ),
        Err(refusal) => {
            let outcome = refusal.unmark.map_or("refused", |_| "unmarks");
            let mut text = format!("{} {}: {}", refusal.code, refusal.sqlstate, refusal.message);
            if let Some(detail) = refusal.detail {
                let _ = write!(text, "\n{detail}");
            }
            (outcome.into(), text)
        }
    }
}

/// A fenced block: its kind, and its lines' range in the text.
struct Block<'t> {
    kind: &'t str,
    content: String,
    lines: std::ops::Range<usize>,
}

fn blocks<'t>(lines: &[&'t str]) -> Vec<Block<'t>> {
    let mut blocks = Vec::new();
    let mut open: Option<(usize, &str)> = None;
    for (index, line) in lines.iter().enumerate() {
        match open {
            None => open = line.strip_prefix("```").map(|kind| (index, kind.trim())),
            Some((start, kind)) if line.trim_end() == "```" => {
                let content = lines[start + 1..index].join("\n");
                blocks.push(Block {
                    kind,
                    content,
                    lines: start..index + 1,
                });
                open = None;
            }
            Some(_) => {}
        }
    }
    assert!(open.is_none(), "a block does not end");
    blocks
}

fn cases(text: &str) -> Vec<Case> {
    let lines: Vec<&str> = text.lines().collect();
    let mut cases: Vec<Case> = Vec::new();
    let mut catalog = String::new();
    let mut sql = None;
    for block in blocks(&lines) {
        match block.kind {
            "catalog" => catalog = block.content,
            "sql" => sql = Some(block.content),
            outcome if OUTCOMES.contains(&outcome) => {
                let heading = lines[..block.lines.start]
                    .iter()
                    .rev()
                    .find(|l| l.starts_with("## "));
                cases.push(Case {
                    name: heading.unwrap().trim_start_matches("## ").to_string(),
                    catalog: catalog.clone(),
                    sql: sql.take().expect("a sql block before its outcome"),
                    outcome: outcome.into(),
                    expected: block.content,
                });
            }
            other => panic!("a block of kind {other:?}"),
        }
    }
    assert!(
        sql.is_none(),
        "a sql block without an outcome: UPDATE_CORPUS=1 adds it"
    );
    cases
}

/// The text with the outcome of every case as it is now.
fn updated(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let mut out: Vec<String> = Vec::new();
    let mut catalog = String::new();
    let mut copied = 0;
    for block in blocks(&lines) {
        out.extend(
            lines[copied..block.lines.start]
                .iter()
                .map(ToString::to_string),
        );
        copied = block.lines.end;
        match block.kind {
            outcome if OUTCOMES.contains(&outcome) => {
                // Its sql block wrote it already; the blank line between them goes too.
                while out.last().is_some_and(String::is_empty) {
                    out.pop();
                }
                continue;
            }
            "catalog" => catalog.clone_from(&block.content),
            _ => {}
        }
        out.extend(lines[block.lines.clone()].iter().map(ToString::to_string));
        if block.kind == "sql" {
            let (outcome, actual) = rewritten(&catalog, &block.content);
            out.push(format!("```{outcome}\n{actual}\n```"));
        }
    }
    out.extend(lines[copied..].iter().map(ToString::to_string));
    out.join("\n") + "\n"
}
