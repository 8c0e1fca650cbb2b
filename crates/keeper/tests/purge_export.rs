//! What a purge takes is in a file before it is gone.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot set itself up must fail"
)]

mod support;
mod undelete_support;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use support::Database;
use undelete_support::{assert_sound, database, delete, failure};

const ORDERS: &str = r#"
    CREATE TABLE orders (id int PRIMARY KEY, note text, "Odd ""Name" numeric);
    INSERT INTO orders VALUES (1, E'two\nlines, "quoted", back\\slash', 1.50), (2, NULL, NULL), (3, 'stays', 3)"#;

/// Files in the directory, but for the one that tried it.
fn written(directory: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if !path.ends_with("purge-0.jsonl") {
            lines.extend(fs::read_to_string(path).unwrap().lines().map(str::to_owned));
        }
    }
    lines.sort();
    lines
}

async fn left(db: &Database) -> String {
    db.value("SELECT (SELECT count(*) FROM orders WHERE deletion_id IS NOT NULL) + (SELECT count(*) FROM reprieve.graveyard), (SELECT count(*) FROM reprieve.purging)")
        .await
}

#[tokio::test]
async fn each_row_is_in_a_file_before_it_is_gone() {
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), Permissions::from_mode(0o777)).unwrap();
    let path = directory.path().display();
    let db = database("purge_export", ORDERS, &[("orders", "mark")]).await;
    let id = delete(&db, "orders", "id < 3").await;
    db.run(&format!("SELECT reprieve.purge_export_v1('{path}/')"))
        .await;

    // A purge that is rolled back leaves its file, and the rows.
    db.run("BEGIN; SELECT reprieve.purge_v1(before => now()); ROLLBACK")
        .await;
    assert_eq!(left(&db).await, "2|0");
    assert_eq!(written(directory.path()).len(), 2);

    db.run("SELECT reprieve.purge_v1(before => now())").await;
    assert_eq!(left(&db).await, "0|0");
    let file = db
        .value("SELECT result ->> 'file' FROM reprieve.receipts WHERE verb = 'purge'")
        .await;
    let text = fs::read_to_string(&file).unwrap();
    let at = db
        .value(&format!(
            "SET TimeZone = 'UTC'; SELECT to_json(statement_at) #>> '{{}}' FROM reprieve.deletions WHERE id = {id}"
        ))
        .await;
    let line = |row: &str| {
        format!(
            r#"{{"table" : "public.orders", "deletion" : {id}, "deleted_at" : "{at}", "cause" : "evict", "row" : {row}}}"#
        )
    };
    let mut lines: Vec<_> = text.lines().collect();
    lines.sort_unstable();
    assert_eq!(
        lines,
        [
            line(
                r#"{"id" : "1", "note" : "two\nlines, \"quoted\", back\\slash", "Odd \"Name" : "1.50"}"#
            ),
            line(r#"{"id" : "2", "note" : null, "Odd \"Name" : null}"#)
        ]
    );
    assert_sound(&db).await;
}

#[tokio::test]
async fn nothing_is_purged_that_cannot_be_written() {
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), Permissions::from_mode(0o777)).unwrap();
    let path = directory.path().display().to_string();
    let db = database("purge_unwritten", ORDERS, &[("orders", "mark")]).await;
    delete(&db, "orders", "id < 3").await;
    let session = db.session().await;
    for (directory, code) in [
        ("purged", "22023"),
        ("/there/is/no/such/directory", "58P01"),
    ] {
        let sql = format!("SELECT reprieve.purge_export_v1('{directory}')");
        assert_eq!(failure(&session, &sql).await.0, code, "{directory}");
    }
    db.run(&format!("SELECT reprieve.purge_export_v1('{path}')"))
        .await;
    drop(directory);
    let purge = "SELECT reprieve.purge_v1(before => now())";
    assert_eq!(failure(&session, purge).await.0, "58P01");
    assert_eq!(left(&db).await, "2|0");
    db.run(&format!("SELECT reprieve.purge_export_v1(NULL); {purge}"))
        .await;
    assert_eq!(left(&db).await, "0|0");

    // A DBA who may not write files there may not choose where.
    db.run("DO $$ BEGIN CREATE ROLE purger LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$; GRANT reprieve_admin TO purger")
        .await;
    let purger = db.session_as("purger").await;
    let (code, message, _) = failure(&purger, "SELECT reprieve.purge_export_v1('/tmp')").await;
    assert_eq!(
        [code.as_str(), message.as_str()],
        [
            "42501",
            "permission denied to write files on the database server"
        ]
    );
}
