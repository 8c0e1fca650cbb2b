//! Transactions above READ COMMITTED: what others commit after their snapshot is there all the same.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a helper of a test that fails must fail the test"
)]

mod support;
mod undelete_support;

use support::Database;
use tokio_postgres::Client;
use undelete_support::{assert_sound, database};

const TABLE: &str = "CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'x'), (2, 'y'), (3, 'z');";

const MARK: &str = "UPDATE t SET deleted_at = now(), deletion_id = (SELECT reprieve.begin_deletion_v1('DELETE')) WHERE deleted_at IS NULL AND id = ";

/// Whether anybody has committed is asked of the whole cluster: one test at a time.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// A transaction that has its snapshot.
async fn begun(db: &Database, isolation: &str) -> Client {
    let session = db.session().await;
    session
        .batch_execute(&format!(
            "BEGIN ISOLATION LEVEL {isolation}; SELECT FROM pg_am"
        ))
        .await
        .unwrap();
    session
}

/// SQLSTATE of what was refused.
async fn refused(session: &Client, sql: &str) -> String {
    let error = session.batch_execute(sql).await.unwrap_err();
    let state = error.code().unwrap().code().to_owned();
    session.batch_execute("ROLLBACK").await.unwrap();
    state
}

#[tokio::test]
async fn no_deleted_row_comes_back_to_life_as_marking_ends() {
    let _alone = ALONE.lock().await;
    let ends = [
        "CREATE FUNCTION f() RETURNS bigint LANGUAGE plpgsql AS 'BEGIN RETURN (SELECT count(*) FROM t); END'; SELECT reprieve.after_ddl_v1()",
        "CREATE RULE r AS ON INSERT TO t DO ALSO SELECT 1; SELECT reprieve.after_ddl_v1()",
        "CREATE TRIGGER g BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()",
        "SELECT reprieve.disable_v1('t')",
    ];
    for (number, isolation) in ["REPEATABLE READ", "SERIALIZABLE"].iter().enumerate() {
        let db = database(&format!("snapshots_{number}"), TABLE, &[]).await;
        db.run("SELECT reprieve.enable_v1('t')").await;
        db.run(&format!("{MARK} 1")).await;
        for end in ends {
            // Deleted since, whether the transaction has seen the row or not.
            for row in ["2", "4"] {
                let session = begun(&db, isolation).await;
                db.run("INSERT INTO t VALUES (4, 'new')").await;
                db.run(&format!("{MARK} {row}")).await;
                assert_eq!(refused(&session, end).await, "40001", "{end}");
                assert_eq!(
                    db.value("SELECT mode FROM reprieve.tables").await,
                    "mark",
                    "{end}"
                );
                let live =
                    "SELECT string_agg(id::text, ' ' ORDER BY id) FROM t WHERE deleted_at IS NULL";
                assert_eq!(
                    db.value(live).await,
                    if row == "2" { "3 4" } else { "2 3" },
                    "{end}"
                );
                db.run("DELETE FROM t WHERE id IN (2, 4); INSERT INTO t VALUES (2, 'y')")
                    .await;
            }
        }
        // Nothing was deleted since.
        let session = begun(&db, isolation).await;
        db.run("INSERT INTO t VALUES (5, 'seen by nobody')").await;
        session
            .batch_execute("SELECT reprieve.disable_v1('t'); COMMIT")
            .await
            .unwrap();
        assert_eq!(
            db.value("SELECT string_agg(id::text, ' ' ORDER BY id) FROM t")
                .await,
            "2 3 5"
        );
        let columns =
            "SELECT count(*) FROM pg_constraint WHERE conrelid = 't'::regclass AND contype = 'c'";
        assert_eq!(db.value(columns).await, "0");
    }
}

/// How often it was noted that rows may not have been kept.
async fn noted(db: &Database) -> String {
    db.value("SELECT count(*) FROM reprieve.acts WHERE verb LIKE '% by an old snapshot'")
        .await
}

#[tokio::test]
async fn what_an_old_snapshot_cannot_keep_is_noted() {
    let _alone = ALONE.lock().await;
    for (number, mode) in ["mark", "bin"].iter().enumerate() {
        let name = format!("snapshots_truncate_{number}");
        let db = database(&name, TABLE, &[("t", mode)]).await;
        let session = begun(&db, "REPEATABLE READ").await;
        db.run("INSERT INTO t VALUES (4, 'new')").await;
        session.batch_execute("TRUNCATE t; COMMIT").await.unwrap();
        assert_eq!(noted(&db).await, "1", "{mode}");

        // A transaction that was open when this one began, and has written since.
        let other = db.session().await;
        other
            .batch_execute("BEGIN; SELECT pg_current_xact_id()")
            .await
            .unwrap();
        let session = begun(&db, "REPEATABLE READ").await;
        other
            .batch_execute("INSERT INTO t VALUES (5, 'late'); COMMIT")
            .await
            .unwrap();
        session.batch_execute("TRUNCATE t; COMMIT").await.unwrap();
        assert_eq!(noted(&db).await, "2", "{mode}");

        // Its own rows, also of subtransactions, and others that were rolled back or still run.
        other
            .batch_execute("BEGIN; SELECT pg_current_xact_id()")
            .await
            .unwrap();
        let mut tries = 0;
        loop {
            let before = noted(&db).await;
            let session = begun(&db, "SERIALIZABLE").await;
            let twice = "INSERT INTO t VALUES (1, 'one'), (1, 'twice')";
            assert!(db.try_run(twice).await.is_err());
            let own = "INSERT INTO t VALUES (6, 'own'); SAVEPOINT a; INSERT INTO t VALUES (7, 'own'); RELEASE a; TRUNCATE t; COMMIT";
            session.batch_execute(own).await.unwrap();
            if noted(&db).await == before {
                break;
            }
            // The server itself may commit meanwhile: autovacuum.
            tries += 1;
            assert!(tries < 10, "nobody else commits");
        }
        other.batch_execute("COMMIT").await.unwrap();
        assert_eq!(db.value("SELECT count(*) FROM t").await, "0");
        assert_eq!(
            db.value("SELECT count(*) FROM reprieve.graveyard WHERE data[1] IN ('6', '7')")
                .await,
            (2 * (tries + 1)).to_string()
        );
        assert_sound(&db).await;
    }
}
