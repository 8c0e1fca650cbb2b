//! PREVIEW UNDELETE and REHEARSE UNDELETE against the undeletes themselves.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a helper of a test that fails must fail the test"
)]

mod support;
mod undelete_support;

use support::Database;
use tokio_postgres::SimpleQueryMessage;
use undelete_support::{assert_sound, database, delete};

const FAMILY: &str = "
    CREATE TABLE p (id int PRIMARY KEY, v text UNIQUE, gone text);
    CREATE TABLE c (id int PRIMARY KEY, p_id int REFERENCES p ON DELETE CASCADE, v int);
    CREATE TABLE n (id int PRIMARY KEY, p_id int REFERENCES p ON DELETE SET NULL);
    INSERT INTO p SELECT i, 'p' || i, CASE WHEN i = 2 THEN 'x' END FROM generate_series(1, 5) i;
    INSERT INTO c SELECT i, 1 + i % 5, i FROM generate_series(1, 15) i;
    INSERT INTO n SELECT i, 1 + i % 5 FROM generate_series(1, 5) i;";

/// What happens between the delete and the undelete.
const MEANWHILE: &[(&str, &str)] = &[
    ("nothing", "SELECT 1"),
    ("taken", "INSERT INTO p VALUES (9, 'p1')"),
    (
        "taken_twice",
        "INSERT INTO p VALUES (1, 'new'), (8, 'p2'); INSERT INTO c VALUES (99, 1, 1)",
    ),
    ("column", "ALTER TABLE p DROP COLUMN gone"),
    ("check", "ALTER TABLE c ADD CHECK (v < 10) NOT VALID"),
    (
        "not_null",
        "ALTER TABLE c ADD COLUMN need int; UPDATE c SET need = 1; ALTER TABLE c ALTER need SET NOT NULL",
    ),
    (
        "relinked",
        "UPDATE n SET p_id = 5 WHERE p_id IS NULL AND id = 5",
    ),
    (
        "purged",
        "UPDATE reprieve.deletions SET statement_at = statement_at - interval '1 year'; SELECT reprieve.retain_v1('p', 'infinity'), reprieve.purge_v1()",
    ),
];
const MODES: &[&str] = &[
    "nocascade",
    "nonconflict_only",
    "cascade",
    "replace",
    "force",
];

/// What an undelete did, taken back: its lines, or how many rows were in its way.
async fn really(db: &Database, call: &str) -> Result<Vec<String>, String> {
    let session = db.session().await;
    session.batch_execute("BEGIN").await.unwrap();
    let query = format!(
        "SELECT table_name, restored, relinked, skipped, verdict FROM reprieve.undelete_{call}"
    );
    let answer = session.simple_query(&query).await;
    session.batch_execute("ROLLBACK").await.unwrap();
    match answer {
        Ok(messages) => Ok(messages
            .into_iter()
            .filter_map(|message| match message {
                SimpleQueryMessage::Row(row) => Some(
                    (0..row.len())
                        .map(|i| row.get(i).unwrap_or_default().to_owned())
                        .collect::<Vec<_>>()
                        .join("|"),
                ),
                _ => None,
            })
            .collect()),
        Err(error) => Err(error
            .as_db_error()
            .map(|error| format!("{} {}", error.code().code(), error.message()))
            .unwrap_or_default()),
    }
}

async fn compare(db: &Database, what: &str, call: &str, preview: &str) {
    let real = really(db, call).await;
    let lines = db
        .rows(&format!("SELECT table_name, restored, relinked, skipped, verdict FROM reprieve.preview_undelete_{preview} WHERE \"row\" IS NULL"))
        .await;
    let blocked = db
        .value(&format!(
            "SELECT count(*) FROM reprieve.preview_undelete_{preview} WHERE verdict = 'CANNOT'"
        ))
        .await;
    match &real {
        Ok(real) => {
            assert_eq!(&lines, real, "{what}: {preview}");
            let skipped: i64 = real
                .last()
                .unwrap()
                .split('|')
                .nth(3)
                .unwrap()
                .parse()
                .unwrap();
            assert!(
                blocked.parse::<i64>().unwrap() <= skipped,
                "{what}: {preview}: {blocked}"
            );
        }
        Err(error) => {
            let whole = lines.last().unwrap();
            assert!(
                whole.ends_with("|REFUSED"),
                "{what}: {preview}: {whole}, but {error}"
            );
            // "RV010 cannot undelete: 4 of 8 row(s) cannot come back"
            if let Some(counted) = error
                .strip_prefix("RV010 cannot undelete: ")
                .and_then(|rest| rest.split_once(" of "))
            {
                assert_eq!(blocked, counted.0, "{what}: {preview}: {error}");
            }
        }
    }
    // A rehearsal is the undelete itself.
    let rehearsed = preview.replacen(')', ", rehearse => true)", 1);
    let last = db
        .value(&format!(
            "SELECT verdict FROM reprieve.preview_undelete_{rehearsed} WHERE table_name = '(all)'"
        ))
        .await;
    let expected = match real {
        Ok(real) => real.last().unwrap().rsplit('|').next().unwrap().to_owned(),
        Err(_) => "REFUSED".to_owned(),
    };
    assert_eq!(last, expected, "{what}: {rehearsed}");
    assert_eq!(
        db.value("SELECT verdict FROM reprieve.show_rehearsals LIMIT 1")
            .await,
        expected
    );
}

#[tokio::test]
async fn previews_and_rehearsals_say_what_undeletes_do() {
    for (number, tables) in [
        [("p", "mark"), ("c", "mark"), ("n", "mark")],
        [("p", "bin"), ("c", "bin"), ("n", "bin")],
    ]
    .iter()
    .enumerate()
    {
        for (what, meanwhile) in MEANWHILE {
            let db = database(&format!("tried_{what}_{number}"), FAMILY, tables).await;
            if number == 0 {
                delete(&db, "p", "id IN (1, 2)").await;
            } else {
                db.run("DELETE FROM p WHERE id IN (1, 2)").await;
            }
            let deletion = db.value("SELECT max(id) FROM reprieve.deletions").await;
            let transaction = db
                .value("SELECT xid FROM reprieve.deletions ORDER BY id DESC LIMIT 1")
                .await;
            db.run(meanwhile).await;
            let before = db.rows("SELECT p::text FROM p UNION ALL SELECT c::text FROM c UNION ALL SELECT n::text FROM n UNION ALL SELECT g::text FROM reprieve.graveyard g ORDER BY 1").await;
            for (number, mode) in MODES.iter().enumerate() {
                let forms = [
                    format!("deletion_v1({deletion}, '{mode}')"),
                    format!("transaction_v1('{transaction}', '{mode}')"),
                    format!("since_v1('2020-01-01', NULL, NULL, '{mode}')"),
                    format!("where_v1('c', 'id < 6', '{mode}')"),
                    format!("where_v1('p', 'true', '{mode}')"),
                ];
                // Each form with some modes: each run takes its time.
                for form in &forms[number..=number] {
                    compare(&db, what, form, form).await;
                }
            }
            let after = db.rows("SELECT p::text FROM p UNION ALL SELECT c::text FROM c UNION ALL SELECT n::text FROM n UNION ALL SELECT g::text FROM reprieve.graveyard g ORDER BY 1").await;
            assert_eq!(after, before, "{what}");
            assert_sound(&db).await;
        }
    }
}
