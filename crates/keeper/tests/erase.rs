//! What ERASE SUBJECT takes, what it leaves to others, and what it says of rows that it could not look at.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a helper of a test that fails must fail the test"
)]

mod support;
mod undelete_support;

use std::time::{Duration, Instant};

use support::Database;
use undelete_support::{assert_sound, database, delete, failure, last, undelete};

const LEFT: &str = "SELECT table_name, data[1] FROM reprieve.graveyard ORDER BY 1, 2";

/// What was erased of which table, and what could not be looked at.
async fn erase(db: &Database, table: &str, condition: &str) -> Vec<String> {
    db.rows(&format!(
        "SELECT what, rows FROM reprieve.erase_subject_v1('{table}', $${condition}$$)
         WHERE what LIKE 'public.%' OR what LIKE 'references%' AND rows > 0"
    ))
    .await
}

#[tokio::test]
async fn rows_of_others_with_the_same_key_stay() {
    for mode in ["bin", "mark"] {
        let schema = "
            CREATE TABLE p (id int PRIMARY KEY, email text);
            CREATE TABLE c (id int PRIMARY KEY, p_id int REFERENCES p ON DELETE CASCADE);
            CREATE TABLE n (id int PRIMARY KEY, p_id int REFERENCES p ON DELETE SET NULL);
            INSERT INTO p VALUES (1, 'old'); INSERT INTO c VALUES (9, 1), (10, 1); INSERT INTO n VALUES (1, 1)";
        let tables = [("p", mode), ("c", mode), ("n", mode)];
        let db = database(&format!("erased_others_{mode}"), schema, &tables).await;
        db.run("DELETE FROM c WHERE id = 9; DELETE FROM p").await;
        db.run("INSERT INTO p VALUES (1, 'new'); INSERT INTO c VALUES (20, 1), (21, 1); UPDATE n SET p_id = 1; DELETE FROM c WHERE id = 20")
            .await;
        for round in 0..2 {
            db.run("BEGIN").await;
            assert_eq!(
                erase(&db, "p", "email = 'old'").await,
                ["public.c|2", "public.p|1", "references remembered|1"]
            );
            assert_eq!(
                db.rows("SELECT id FROM c WHERE id = 21").await.len(),
                1 - round
            );
            let left = db.rows(LEFT).await;
            assert!(left.contains(&"c|20".to_owned()), "{left:?}");
            db.run("ROLLBACK").await;
            if round == 0 {
                db.run("DELETE FROM p").await;
            }
        }
        let deletion = last(&db).await;
        erase(&db, "p", "email = 'old'").await;
        let lines = undelete(&db, &format!("deletion_v1({deletion})")).await;
        assert!(lines.last().unwrap().ends_with("|COMPLETE"), "{lines:?}");
        assert_eq!(db.rows("SELECT p_id FROM n").await, ["1"]);
        assert_eq!(
            erase(&db, "p", "email = 'new'").await,
            ["public.c|2", "public.p|1", "references remembered|1"]
        );
        assert_eq!(db.rows(LEFT).await, Vec::<String>::new());
        assert_sound(&db).await;
    }
}

#[tokio::test]
async fn keys_are_compared_as_the_foreign_key_does() {
    let schema = "
        CREATE TABLE p (id numeric(10, 2) PRIMARY KEY);
        CREATE TABLE c (id int PRIMARY KEY, p_id numeric REFERENCES p ON DELETE CASCADE);
        CREATE TABLE n (id int PRIMARY KEY, p_id numeric REFERENCES p ON DELETE SET NULL);
        INSERT INTO p VALUES (1.00); INSERT INTO c VALUES (10, 1); INSERT INTO n VALUES (1, 1.0)";
    let tables = [("p", "bin"), ("c", "bin"), ("n", "bin")];
    let db = database("erased_scale", schema, &tables).await;
    db.run("DELETE FROM c; DELETE FROM p").await;
    assert_eq!(
        erase(&db, "p", "id = 1").await,
        ["public.c|1", "public.p|1", "references remembered|1"]
    );
    assert_eq!(db.rows(LEFT).await, Vec::<String>::new());
}

#[tokio::test]
async fn rows_that_no_longer_fit_are_named() {
    let schema = "
        CREATE TABLE p (id int PRIMARY KEY, code text, email text);
        CREATE TABLE c (id int PRIMARY KEY, p_id int REFERENCES p ON DELETE CASCADE);
        INSERT INTO p VALUES (1, 'a', 'p1@x.org'), (2, '5', 'p2@x.org'); INSERT INTO c VALUES (10, 1), (20, 2)";
    let db = database("erased_misfits", schema, &[("p", "bin"), ("c", "bin")]).await;
    db.run("DELETE FROM c WHERE id = 20; ALTER TABLE c RENAME p_id TO parent")
        .await;
    db.run("DELETE FROM p WHERE id = 1").await;
    let retyped = last(&db).await;
    db.run("ALTER TABLE p ALTER code TYPE int USING code::int")
        .await;
    let unread = |table: &str, deletion: i64| {
        format!(
            "public.{table}: not looked at, as they no longer fit the table (deletions {deletion})|1"
        )
    };
    assert_eq!(
        erase(&db, "p", "id = 2").await,
        [
            "public.c|1".to_owned(),
            "public.p|1".to_owned(),
            unread("p", retyped)
        ]
    );
    assert_eq!(erase(&db, "p", "id = 1").await, [unread("p", retyped)]);
    assert_eq!(
        db.value("SELECT result -> 'unread' FROM reprieve.show_receipts LIMIT 1")
            .await,
        format!(r#"{{"public.p": {{"rows": 1, "deletions": [{retyped}]}}}}"#)
    );
    db.run("ALTER TABLE p ALTER code TYPE text; ALTER TABLE p RENAME email TO mail")
        .await;
    assert_eq!(
        erase(&db, "p", "mail = 'p1@x.org'").await,
        ["public.c|1", "public.p|1"]
    );
    assert_sound(&db).await;
}

#[tokio::test]
async fn statements_of_deletions_that_were_undone_are_erased() {
    for mode in ["bin", "mark"] {
        let schema = "CREATE TABLE p (id int PRIMARY KEY, email text); INSERT INTO p VALUES (1, 'secret@x'), (2, 'other@x')";
        let db = database(&format!("erased_undone_{mode}"), schema, &[("p", mode)]).await;
        for email in ["secret@x", "other@x"] {
            db.run(&format!("DELETE FROM p WHERE email = '{email}'"))
                .await;
            let deletion = last(&db).await;
            undelete(&db, &format!("deletion_v1({deletion})")).await;
        }
        erase(&db, "p", "id = 1").await;
        let kept = db
            .rows("SELECT substring(statement FROM '''.*''') FROM reprieve.deletions WHERE statement IS NOT NULL")
            .await;
        assert_eq!(kept, ["'other@x'"]);
        assert_sound(&db).await;
    }
}

#[tokio::test]
async fn many_rows_that_were_undeleted_are_erased_at_once() {
    let schema =
        "CREATE TABLE p (id int PRIMARY KEY); INSERT INTO p SELECT generate_series(1, 10000)";
    let db = database("erased_many", schema, &[("p", "mark")]).await;
    let deletion = delete(&db, "p", "true").await;
    undelete(&db, &format!("deletion_v1({deletion})")).await;
    delete(&db, "p", "id <= 5000").await;
    let started = Instant::now();
    assert_eq!(erase(&db, "p", "id <= 1000").await, ["public.p|1000"]);
    let few = started.elapsed();
    let started = Instant::now();
    assert_eq!(erase(&db, "p", "id <= 5000").await, ["public.p|4000"]);
    // Each with each would take sixteen times as long, and at least ten seconds.
    let many = started.elapsed();
    assert!(
        many < few * 10 + Duration::from_secs(5),
        "{few:?}, {many:?}"
    );
}

#[tokio::test]
async fn a_condition_is_one_condition() {
    let schema = "CREATE TABLE p (id int PRIMARY KEY); INSERT INTO p VALUES (1), (2)";
    let db = database("one_condition", schema, &[("p", "bin")]).await;
    db.run("DELETE FROM p").await;
    let session = db.session().await;
    for call in ["erase_subject", "undelete_where", "preview_undelete_where"] {
        let sql = format!("SELECT reprieve.{call}_v1('p', 'id = 900) OR (id = 1')");
        assert_eq!(failure(&session, &sql).await.0, "42601", "{call}");
    }
    assert_eq!(db.rows(LEFT).await.len(), 2);
}
