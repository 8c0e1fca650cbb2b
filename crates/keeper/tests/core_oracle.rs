//! Deletes that mark against deletes that delete: the cases of `tests/sql/*.case` run on a plain database and on
//! one where every table is enabled, and every answer and the rows left must be the same.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot set itself up must fail"
)]

mod support;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use support::Database;
use tokio::task::JoinHandle;
use tokio_postgres::{Client, Error, SimpleQueryMessage};

/// How long a statement may take before it counts as waiting for a lock.
const BLOCKED_AFTER: Duration = Duration::from_millis(600);

struct Case {
    title: String,
    /// Tables are expected to be marked; else any mode will do.
    marked: bool,
    /// The first major version of PostgreSQL that takes it.
    from: u32,
    setup: String,
    steps: Vec<String>,
}

/// `## title`, setup, `--`, one step per line. `## title (any mode)`: do not ask for marks. `## title (from 15)`: older servers
/// have no such thing.
fn cases(text: &str) -> Vec<Case> {
    let mut cases = Vec::new();
    for part in text.split("\n## ").skip(1) {
        let (title, body) = part.split_once('\n').unwrap();
        let (setup, steps) = body.split_once("\n--\n").unwrap();
        let from = title.split_once("(from ").map_or(0, |(_, from)| {
            from.split(')').next().unwrap().parse().unwrap()
        });
        cases.push(Case {
            title: title.trim().to_owned(),
            marked: !title.contains("(any mode)"),
            from,
            setup: setup.to_owned(),
            steps: steps
                .lines()
                .filter(|l| !l.trim().is_empty())
                .map(str::to_owned)
                .collect(),
        });
    }
    cases
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Enabled {
    Nothing,
    All,
    /// The oldest table alone; what its cascades reach is taken in.
    First,
}

/// One side of the comparison.
struct Side {
    database: Database,
    /// Marked tables and their visible columns.
    marked: BTreeMap<String, String>,
    sessions: BTreeMap<char, Arc<Client>>,
    waiting: BTreeMap<char, JoinHandle<String>>,
    enabled: Enabled,
    log: String,
}

impl Side {
    async fn new(name: &str, case: &Case, enabled: Enabled) -> Self {
        let database = Database::new(name).await;
        if enabled != Enabled::Nothing {
            database.keeper().await.install().await.unwrap();
        }
        database.run(&case.setup).await;
        let mut marked = BTreeMap::new();
        if enabled != Enabled::Nothing {
            let verdicts = database
                .rows(
                    &"SELECT e.table_name, e.mode, e.reason FROM pg_class c, LATERAL reprieve.enable_v1(c.oid) e
                     WHERE c.relkind IN ('r', 'p') AND c.relnamespace = 'public'::regnamespace AND NOT c.relispartition
                       AND e.table_name = reprieve.qualified(c.oid)
                     ORDER BY c.oid"
                        .replace("FROM pg_class c,", if enabled == Enabled::First {
                            "FROM (SELECT * FROM pg_class WHERE relkind IN ('r', 'p') AND relnamespace = 'public'::regnamespace
                                    ORDER BY oid LIMIT 1) c,"
                        } else {
                            "FROM pg_class c,"
                        }),
                )
                .await;
            for verdict in verdicts {
                assert!(
                    enabled == Enabled::First || !case.marked || verdict.contains("|mark|"),
                    "{}: {verdict}",
                    case.title
                );
            }
            let columns = database
                .rows(
                    "SELECT c.relname, string_agg(quote_ident(a.attname), ', ' ORDER BY attnum)
                     FROM reprieve.tables t JOIN pg_class c ON c.oid = t.relid JOIN pg_attribute a ON a.attrelid = c.oid
                     WHERE t.mode = 'mark' AND attnum > 0 AND NOT attisdropped AND attname NOT IN ('deleted_at', 'deletion_id')
                     GROUP BY 1",
                )
                .await;
            for row in columns {
                let (table, columns) = row.split_once('|').unwrap();
                marked.insert(table.to_owned(), columns.to_owned());
            }
        }
        Self {
            database,
            marked,
            sessions: BTreeMap::new(),
            waiting: BTreeMap::new(),
            enabled,
            log: String::new(),
        }
    }

    /// `[DELETE ...]` as the rewriter sends it, `{t}` as clients read it, `<t>` the condition of a live row.
    fn rewritten(&self, step: &str) -> String {
        let mut out = String::new();
        let mut rest = step;
        while let Some(at) = rest.find(['[', '{', '<']) {
            out.push_str(&rest[..at]);
            let opening = &rest[at..=at];
            let closing = match opening {
                "[" => ']',
                "{" => '}',
                _ => '>',
            };
            let Some(length) = rest[at + 1..].find(closing).filter(|n| *n > 0) else {
                out.push_str(opening);
                rest = &rest[at + 1..];
                continue;
            };
            let inner = &rest[at + 1..at + 1 + length];
            match opening {
                "[" if inner.starts_with("DELETE") => out.push_str(&self.delete(inner)),
                "{" if inner.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') => {
                    match self.marked.get(inner) {
                        Some(columns) => {
                            write!(out, "(SELECT {columns} FROM {inner} WHERE deleted_at IS NULL) AS {inner}").unwrap();
                        }
                        None => out.push_str(inner),
                    }
                }
                "<" if inner.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') => {
                    if self.marked.contains_key(inner) {
                        write!(out, "{inner}.deleted_at IS NULL").unwrap();
                    } else {
                        out.push_str("true");
                    }
                }
                _ => write!(out, "{opening}{inner}{closing}").unwrap(),
            }
            rest = &rest[at + length + 2..];
        }
        out.push_str(rest);
        out
    }

    fn delete(&self, text: &str) -> String {
        let body = text.trim_start_matches("DELETE FROM ");
        let (body, returning) = body
            .split_once(" RETURNING ")
            .map_or((body, None), |(b, r)| (b, Some(r)));
        let (table, condition) = body.split_once(" WHERE ").unwrap_or((body, "true"));
        if !self.marked.contains_key(table) {
            return text.to_owned();
        }
        let mut sql = format!(
            "UPDATE {table} SET deleted_at = pg_catalog.now(), deletion_id = (SELECT reprieve.begin_deletion_v1(E'{}')) \
             WHERE {table}.deleted_at IS NULL AND ({condition})",
            text.replace('\\', "\\\\").replace('\'', "\\'"),
        );
        if let Some(columns) = returning {
            write!(sql, " RETURNING {columns}").unwrap();
        }
        sql
    }

    async fn session(&mut self, name: char) -> Arc<Client> {
        if !self.sessions.contains_key(&name) {
            let client = Arc::new(self.database.session().await);
            self.sessions.insert(name, client);
        }
        Arc::clone(&self.sessions[&name])
    }

    /// `2: sql` runs, `2! sql` starts and notes whether it waits, `2.` takes its answer, `? sql => rows` is asked
    /// of the enabled side only; anything else runs in session 1.
    async fn step(&mut self, case: &Case, step: &str) {
        if let Some(question) = step.strip_prefix("? ") {
            let (sql, expected) = question.split_once(" => ").unwrap();
            if self.enabled == Enabled::All {
                let answer = self.database.rows(sql).await.join(" / ");
                assert_eq!(
                    answer,
                    expected.trim(),
                    "{}: {sql}\n{}",
                    case.title,
                    self.log
                );
            }
            return;
        }
        let mut head = step.chars();
        let (name, kind) = (head.next().unwrap(), head.next().unwrap_or(' '));
        let prefixed = name.is_ascii_digit() && matches!(kind, ':' | '!' | '.');
        let (name, kind, text) = if prefixed {
            (name, kind, step[2..].trim())
        } else {
            ('1', ':', step)
        };
        let client = self.session(name).await;
        let sql = self.rewritten(text);
        let answer = match kind {
            ':' => outcome(&client, &sql).await,
            '!' => {
                let mut task = tokio::spawn(async move { outcome(&client, &sql).await });
                match tokio::time::timeout(BLOCKED_AFTER, &mut task).await {
                    Ok(answer) => {
                        let answer = answer.unwrap();
                        self.waiting
                            .insert(name, tokio::spawn(async move { answer }));
                        "did not wait".to_owned()
                    }
                    Err(_) => {
                        self.waiting.insert(name, task);
                        "waits".to_owned()
                    }
                }
            }
            _ => {
                let task = self.waiting.remove(&name).unwrap();
                tokio::time::timeout(Duration::from_secs(20), task)
                    .await
                    .unwrap()
                    .unwrap()
            }
        };
        writeln!(self.log, "{step}\n    -> {answer}").unwrap();
    }

    async fn finish(mut self) -> String {
        self.sessions.clear();
        let tables = self
            .database
            .rows("SELECT relname FROM pg_class WHERE relkind IN ('r', 'p') AND relnamespace = 'public'::regnamespace AND NOT relispartition ORDER BY 1")
            .await;
        for table in tables {
            let source = self.rewritten(&format!("{{{table}}}"));
            let rows = self.database.rows(&format!("SELECT * FROM {source}")).await;
            let mut rows: Vec<_> = rows.into_iter().collect();
            rows.sort();
            writeln!(self.log, "{table}: {}", rows.join(" / ")).unwrap();
        }
        self.log
    }
}

async fn outcome(client: &Client, sql: &str) -> String {
    match client.simple_query(sql).await {
        Ok(messages) => {
            let mut rows = Vec::new();
            let mut affected = Vec::new();
            for message in messages {
                match message {
                    SimpleQueryMessage::Row(row) => rows.push(
                        (0..row.len())
                            .map(|i| row.get(i).unwrap_or("NULL").to_owned())
                            .collect::<Vec<_>>()
                            .join("|"),
                    ),
                    SimpleQueryMessage::CommandComplete(n) => affected.push(n),
                    _ => {}
                }
            }
            format!("{} {affected:?}", rows.join(" / "))
        }
        Err(error) => describe(&error),
    }
}

/// What a client can tell one error from another by.
fn describe(error: &Error) -> String {
    let Some(error) = error.as_db_error() else {
        return format!("{error}");
    };
    format!(
        "{} {} | {} | {} {} {}",
        error.code().code(),
        error.message(),
        // 23502 and 23514 print the whole row, our two columns at its end: the proxy cuts them off.
        error
            .detail()
            .unwrap_or("-")
            .replace(", null, null).", ")."),
        error.schema().unwrap_or("-"),
        error.table().unwrap_or("-"),
        error.constraint().unwrap_or("-"),
    )
}

async fn compare(file: &str, text: &str) {
    let only = std::env::var("CASE").unwrap_or_default();
    let mut wrong = Vec::new();
    let major = Database::new(&format!("{file}_version"))
        .await
        .rows("SELECT current_setting('server_version_num')::int / 10000")
        .await;
    let major: u32 = major[0].parse().unwrap();
    let all = cases(text);
    let count = all.len();
    for (number, case) in all.into_iter().enumerate() {
        if !case.title.contains(&only) || major < case.from {
            continue;
        }
        let (plain, all, first) = (
            format!("{file}_{number}_plain"),
            format!("{file}_{number}_all"),
            format!("{file}_{number}_first"),
        );
        let (mut plain, mut all, mut first) = tokio::join!(
            Side::new(&plain, &case, Enabled::Nothing),
            Side::new(&all, &case, Enabled::All),
            Side::new(&first, &case, Enabled::First),
        );
        for step in &case.steps {
            tokio::join!(
                plain.step(&case, step),
                all.step(&case, step),
                first.step(&case, step)
            );
        }
        let plain = plain.finish().await;
        for (what, log) in [("all", all.finish().await), ("first", first.finish().await)] {
            if plain != log {
                wrong.push(format!(
                    "## {}\nplain:\n{plain}\n{what} enabled:\n{log}",
                    case.title
                ));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {count} cases differ\n\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

#[tokio::test]
async fn referential_actions() {
    compare("actions", include_str!("sql/actions.case")).await;
}

#[tokio::test]
async fn keys() {
    compare("keys", include_str!("sql/keys.case")).await;
}

#[tokio::test]
async fn sessions() {
    compare("sessions", include_str!("sql/sessions.case")).await;
}
