//! Deletes as the proxy sends them, and what an undelete answered.

#![allow(dead_code, reason = "each test file needs a part of it")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot set itself up must fail"
)]

use tokio_postgres::{Client, SimpleQueryMessage};

use crate::support::Database;

/// A parent with children that go by CASCADE, and some that lose their reference.
pub const FAMILY: &str = "
    CREATE TABLE p(id int PRIMARY KEY, v text);
    CREATE TABLE c(id int PRIMARY KEY, p_id int REFERENCES p ON DELETE CASCADE, v text);
    CREATE TABLE n(id int PRIMARY KEY, p_id int REFERENCES p ON DELETE SET NULL, u text UNIQUE);
    INSERT INTO p SELECT i, 'p' || i FROM generate_series(1, 3) i;
    INSERT INTO c SELECT i, 1 + i % 3, 'c' || i FROM generate_series(1, 9) i;
    INSERT INTO n SELECT i, 1 + i % 3, 'n' || i FROM generate_series(1, 6) i;";
/// All of them marked.
pub const MARKED: &[(&str, &str)] = &[("p", "mark"), ("c", "mark"), ("n", "mark")];

/// A database with the keeper and these tables, enabled in the mode given.
pub async fn database(name: &str, schema: &str, enabled: &[(&str, &str)]) -> Database {
    let database = Database::new(name).await;
    database.keeper().await.install().await.unwrap();
    database.run(schema).await;
    for (table, mode) in enabled {
        let got = database
            .rows(&format!(
                "SELECT mode FROM reprieve.enable_v1('{table}', '{mode}')"
            ))
            .await;
        // Tables that were taken in come behind.
        assert_eq!(got[0], *mode, "{table}");
    }
    database.run("SELECT reprieve.advance_v1()").await;
    database
}

/// What the proxy makes of `DELETE FROM table WHERE condition` where rows are marked.
pub fn mark(table: &str, condition: &str) -> String {
    format!(
        "UPDATE {table} SET deleted_at = pg_catalog.now(), deletion_id = (SELECT reprieve.begin_deletion_v1($s$DELETE FROM {table} WHERE {condition}$s$)) \
         WHERE {table}.deleted_at IS NULL AND ({condition})"
    )
}

/// Marks rows and returns the deletion.
pub async fn delete(database: &Database, table: &str, condition: &str) -> i64 {
    database.run(&mark(table, condition)).await;
    last(database).await
}

/// The newest deletion.
pub async fn last(database: &Database) -> i64 {
    database
        .rows("SELECT max(id) FROM reprieve.deletions")
        .await[0]
        .parse()
        .unwrap()
}

/// The lines of an undelete: table, restored, relinked, skipped, verdict.
pub async fn undelete(database: &Database, call: &str) -> Vec<String> {
    database
        .rows(&format!(
            "SELECT table_name, restored, relinked, skipped, verdict FROM reprieve.undelete_{call}"
        ))
        .await
}

/// The last line's detail.
pub async fn detail(database: &Database, call: &str) -> String {
    database
        .rows(&format!("SELECT detail FROM reprieve.undelete_{call}"))
        .await
        .pop()
        .unwrap()
}

/// How a statement failed: SQLSTATE, message, detail.
pub async fn failure(client: &Client, sql: &str) -> (String, String, String) {
    let error = client.simple_query(sql).await.expect_err(sql);
    let error = error.as_db_error().expect("an error of the server");
    (
        error.code().code().to_owned(),
        error.message().to_owned(),
        error.detail().unwrap_or_default().to_owned(),
    )
}

/// The rows of a query, as psql -At would print them.
pub async fn rows(client: &Client, sql: &str) -> Vec<String> {
    let messages = client.simple_query(sql).await.unwrap();
    let rows = messages.into_iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(
            (0..row.len())
                .map(|i| row.get(i).unwrap_or_default().to_owned())
                .collect::<Vec<_>>()
                .join("|"),
        ),
        _ => None,
    });
    rows.collect()
}

/// What clients see of these tables, byte for byte, in an order of its own.
pub async fn content(database: &Database, tables: &[&str]) -> Vec<String> {
    let mut content = Vec::new();
    for table in tables {
        let query = database
            .rows(&format!(
                "SELECT format('SELECT %L || x::text FROM (SELECT %s FROM {table}%s) x ORDER BY 1', '{table} ',
                               string_agg(quote_ident(attname), ',' ORDER BY attnum) FILTER (WHERE NOT m.ours OR attname NOT IN ('deleted_at', 'deletion_id')),
                               CASE WHEN m.ours THEN ' WHERE deleted_at IS NULL' END)
                   FROM pg_attribute, LATERAL (SELECT reprieve.has_marks(attrelid) AS ours) m
                  WHERE attrelid = '{table}'::regclass AND attnum > 0 AND NOT attisdropped GROUP BY m.ours"
            ))
            .await
            .remove(0);
        content.extend(database.rows(&query).await);
    }
    content
}

/// Nothing to find: rows, ledger and triggers agree.
pub async fn assert_sound(database: &Database) {
    let findings = database
        .rows("SELECT severity, finding, table_name, count, detail FROM reprieve.check_v1()")
        .await;
    assert_eq!(findings, Vec::<String>::new());
}

/// Waits until the session with this process id waits for a lock.
pub async fn blocked(database: &Database, pid: &str) {
    for _ in 0..500 {
        let waiting = database
            .rows(&format!(
                "SELECT 1 FROM pg_stat_activity WHERE pid = {pid} AND wait_event_type = 'Lock'"
            ))
            .await;
        if !waiting.is_empty() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("session {pid} does not wait");
}

pub async fn pid(client: &Client) -> String {
    rows(client, "SELECT pg_backend_pid()").await.remove(0)
}
