//! What is let go in time, what is held, what is erased.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a helper of a test that fails must fail the test"
)]

mod support;
mod undelete_support;

use support::Database;
use undelete_support::{
    assert_sound, blocked, content, database, delete, detail, failure, last, pid, rows, undelete,
};

const FAMILY: &str = "
    CREATE TABLE p (id int PRIMARY KEY, email text, up int REFERENCES p ON DELETE CASCADE);
    CREATE TABLE c (id int PRIMARY KEY, p_id int REFERENCES p ON DELETE CASCADE, v text);
    CREATE TABLE n (id int PRIMARY KEY, p_id int REFERENCES p ON DELETE SET NULL);
    INSERT INTO p SELECT i, 'p' || i || '@x.org', CASE WHEN i > 10 THEN i - 10 END FROM generate_series(1, 40) i;
    INSERT INTO c SELECT i, 1 + i % 40, 'c' || i FROM generate_series(1, 120) i;
    INSERT INTO n SELECT i, 1 + i % 40 FROM generate_series(1, 40) i;";
const MODES: &[&[(&str, &str)]] = &[
    &[("p", "mark"), ("c", "mark"), ("n", "mark")],
    &[("p", "mark"), ("c", "bin"), ("n", "bin")],
    &[("p", "bin"), ("c", "mark"), ("n", "mark")],
    &[("p", "bin"), ("c", "bin"), ("n", "bin")],
];

/// Deletes as the table's mode has it.
async fn remove(db: &Database, table: &str, condition: &str) -> i64 {
    let mode = db
        .value(&format!(
            "SELECT mode FROM reprieve.tables WHERE relid = '{table}'::regclass"
        ))
        .await;
    if mode == "mark" {
        return delete(db, table, condition).await;
    }
    db.run(&format!("DELETE FROM {table} WHERE {condition}"))
        .await;
    last(db).await
}

/// Makes all deletions so far older.
async fn age(db: &Database, days: u32) {
    db.run(&format!("UPDATE reprieve.deletions SET statement_at = statement_at - interval '{days} days', deleted_at = deleted_at - interval '{days} days'"))
        .await;
}

/// Table, rows and verdict of each line.
async fn purge(db: &Database, arguments: &str) -> Vec<String> {
    db.rows(&format!(
        "SELECT table_name, rows, verdict FROM reprieve.purge_v1({arguments})"
    ))
    .await
}

#[tokio::test]
async fn only_what_is_old_enough_goes_in_pieces_and_children_first() {
    for (number, modes) in MODES.iter().enumerate() {
        let db = database(&format!("purged_{number}"), FAMILY, modes).await;
        let alone = remove(&db, "c", "id <= 10").await;
        let old = remove(&db, "p", "id IN (1, 2)").await;
        assert_eq!(purge(&db, "").await, ["(all)|0|NOTHING"]);
        age(&db, 91).await;
        let young = remove(&db, "p", "id = 5").await;
        let before = content(&db, &["p", "c", "n"]).await;
        let due: Vec<i64> = db
            .rows("SELECT rows FROM reprieve.purge_v1(dry_run => true)")
            .await
            .iter()
            .map(|count| count.parse().unwrap())
            .collect();
        let total = *due.last().unwrap();
        let mut gone = 0;
        for call in 0.. {
            let lines = purge(&db, "row_budget => 7").await;
            let whole: Vec<&str> = lines.last().unwrap().split('|').collect();
            let rows: i64 = whole[1].parse().unwrap();
            assert!(rows <= 7, "{lines:?}");
            gone += rows;
            assert_sound(&db).await;
            if whole[2] != "MORE" {
                break;
            }
            assert!(call < 50, "{lines:?}");
        }
        assert_eq!(gone, total);
        assert_eq!(purge(&db, "").await, ["(all)|0|NOTHING"]);
        assert_eq!(content(&db, &["p", "c", "n"]).await, before, "live rows");
        for deletion in [alone, old] {
            let lines = undelete(&db, &format!("deletion_v1({deletion})")).await;
            assert!(lines.last().unwrap().ends_with("NOTHING"), "{lines:?}");
            let words = detail(&db, &format!("deletion_v1({deletion})")).await;
            assert!(words.contains("were not kept"), "{words}");
        }
        let lines = undelete(&db, &format!("deletion_v1({young})")).await;
        assert!(lines.last().unwrap().ends_with("COMPLETE"), "{lines:?}");
        let receipts = db
            .value("SELECT sum(rows) FROM reprieve.show_receipts")
            .await;
        assert_eq!(receipts, total.to_string());
        assert_sound(&db).await;
    }
}

#[tokio::test]
async fn what_is_purged_in_part_comes_back_in_part() {
    let db = database("purged_part", FAMILY, MODES[0]).await;
    let deletion = delete(&db, "p", "id IN (1, 2)").await;
    db.run("SELECT reprieve.retain_v1('p', 'infinity')").await;
    age(&db, 100).await;
    let lines = purge(&db, "").await;
    assert!(lines[0].starts_with("public.c|"), "{lines:?}");
    assert_eq!(lines.len(), 2, "parents are kept for ever: {lines:?}");
    let lines = undelete(&db, &format!("deletion_v1({deletion})")).await;
    assert!(lines.last().unwrap().ends_with("INCOMPLETE"), "{lines:?}");
    assert_eq!(
        db.value("SELECT count(*) FROM p WHERE deletion_id IS NULL")
            .await,
        "40"
    );
    assert_sound(&db).await;
    // Named, even what is kept for ever goes.
    delete(&db, "p", "id = 40").await;
    assert_eq!(
        purge(&db, "before => now()").await,
        ["public.c|3|PURGED", "(all)|3|DONE"]
    );
    assert_eq!(purge(&db, "before => now()").await, ["(all)|0|NOTHING"]);
    assert_eq!(
        purge(&db, "relation => 'p', before => now()").await,
        ["public.p|1|PURGED", "(all)|1|DONE"]
    );
    for (call, code) in [
        ("reprieve.retain_v1('p', '-1 day')", "22023"),
        ("reprieve.purge_v1(row_budget => 0)", "22023"),
        (
            "reprieve.purge_v1(before => now() - interval '-1 day')",
            "22023",
        ),
        ("reprieve.purge_v1(deletion => 5)", "P0002"),
        ("reprieve.hold_v1()", "22023"),
        ("reprieve.hold_v1(deletion => 1)", "P0002"),
        ("reprieve.release_v1(relation => 'p')", "P0002"),
    ] {
        let session = db.session().await;
        assert_eq!(
            failure(&session, &format!("SELECT {call}")).await.0,
            code,
            "{call}"
        );
    }
}

#[tokio::test]
async fn what_is_held_stays_and_what_it_hangs_on() {
    let db = database("held", FAMILY, MODES[0]).await;
    let child = delete(&db, "c", "id = 40").await;
    let parent = delete(&db, "p", "id = 1").await;
    age(&db, 100).await;
    db.run(&format!(
        "SELECT reprieve.hold_v1(deletion => {child}, reason => 'case 12')"
    ))
    .await;
    let lines = purge(&db, "").await;
    let left = db
        .rows("SELECT id FROM c WHERE deletion_id IS NOT NULL")
        .await;
    assert_eq!(left, ["40"], "{lines:?}");
    assert_eq!(
        db.rows("SELECT id FROM p WHERE deletion_id IS NOT NULL")
            .await,
        ["1"],
        "its parent waits, so that it could come back"
    );
    let (code, ..) = failure(
        &db.session().await,
        "SELECT reprieve.erase_subject_v1('c', 'id = 40')",
    )
    .await;
    assert_eq!(code, "RV013");
    undelete(&db, &format!("deletion_v1({parent}, 'nonconflict_only')")).await;
    let lines = undelete(&db, &format!("deletion_v1({child})")).await;
    assert!(lines.last().unwrap().ends_with("COMPLETE"), "{lines:?}");
    db.run(&format!("SELECT reprieve.release_v1(deletion => {child})"))
        .await;
    assert_sound(&db).await;
}

#[tokio::test]
async fn two_purges_and_an_undelete_never_have_the_same_rows() {
    let db = database("purged_together", FAMILY, MODES[0]).await;
    for id in 1..=4 {
        delete(&db, "c", &format!("id = {id}")).await;
    }
    age(&db, 100).await;
    let (one, two) = (db.session().await, db.session().await);
    one.batch_execute("BEGIN").await.unwrap();
    let call = "SELECT rows FROM reprieve.purge_v1(row_budget => 2) WHERE table_name = '(all)'";
    assert_eq!(rows(&one, call).await, ["2"]);
    // The other one takes what is free, and does not wait.
    two.batch_execute("BEGIN; SET LOCAL lock_timeout = '2s'")
        .await
        .unwrap();
    let other = rows(&two, call).await;
    // A hold waits until it is known what is left to be held; an undelete too.
    let holder = db.session().await;
    let waiting = pid(&holder).await;
    let hold = tokio::spawn(async move {
        rows(
            &holder,
            "SELECT target FROM reprieve.hold_v1(relation => 'c')",
        )
        .await
    });
    blocked(&db, &waiting).await;
    let restorer = db.session().await;
    let waiting = pid(&restorer).await;
    let first = db.value("SELECT min(id) FROM reprieve.deletions").await;
    let restore = tokio::spawn(async move {
        rows(
            &restorer,
            &format!("SELECT verdict, detail FROM reprieve.undelete_deletion_v1({first})"),
        )
        .await
    });
    blocked(&db, &waiting).await;
    two.batch_execute("COMMIT").await.unwrap();
    one.batch_execute("COMMIT").await.unwrap();
    assert_eq!(hold.await.unwrap(), ["table public.c"]);
    assert_eq!(
        restore.await.unwrap(),
        ["NOTHING|public.c: 1 row(s) were not kept"]
    );
    let taken: i64 = 2 + other[0].parse::<i64>().unwrap();
    let left = db
        .value("SELECT count(*) FROM c WHERE deletion_id IS NOT NULL")
        .await;
    assert_eq!(left, (4 - taken).to_string());
    assert_eq!(purge(&db, "").await, ["(all)|0|NOTHING"], "held");
    assert_sound(&db).await;
}

#[tokio::test]
async fn triggers_of_users_do_not_see_a_purge() {
    let db = database("purged_quiet", FAMILY, &[("c", "mark")]).await;
    db.run("CREATE TABLE seen (what text); CREATE FUNCTION noted() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO seen VALUES (TG_OP); RETURN OLD; END $$").await;
    delete(&db, "c", "id < 5").await;
    db.run("SET reprieve.reconciling = '1'; CREATE TRIGGER noted BEFORE DELETE ON c FOR EACH ROW EXECUTE FUNCTION noted(); RESET reprieve.reconciling").await;
    age(&db, 100).await;
    purge(&db, "").await;
    assert_eq!(
        db.value("SELECT count(*) FROM c WHERE deletion_id IS NOT NULL")
            .await,
        "0"
    );
    assert_eq!(db.value("SELECT count(*) FROM seen").await, "0");
    db.run("DELETE FROM c WHERE id = 50").await;
    assert_eq!(db.rows("SELECT what FROM seen").await, ["DELETE"]);
}

#[tokio::test]
async fn an_erased_subject_is_nowhere() {
    for (number, modes) in MODES.iter().enumerate() {
        let name = format!("erased_{number}");
        let db = database(&name, FAMILY, modes).await;
        db.run("SET reprieve.reason = 'asked by p7@x.org'; SET reprieve.actor = 'alice'")
            .await;
        remove(&db, "c", "id = 46").await;
        remove(&db, "n", "id = 6").await;
        db.run("RESET reprieve.reason; RESET reprieve.actor").await;
        let deletion = remove(&db, "p", "email = 'p7@x.org'").await;
        undelete(&db, &format!("deletion_v1({deletion})")).await;
        remove(&db, "p", "email = 'p7@x.org'").await;
        db.run("SELECT * FROM reprieve.preview_undelete_where_v1('p', $$email = 'p7@x.org'$$, rehearse => true)").await;
        undelete(
            &db,
            "where_v1('p', $$email = 'p7@x.org'$$, 'nonconflict_only')",
        )
        .await;
        if number % 2 == 0 {
            remove(&db, "p", "email = 'p7@x.org'").await;
        }
        let others = content(&db, &["p", "c", "n"])
            .await
            .into_iter()
            .filter(|row| !row.contains("p7@x.org"))
            .count();
        db.run("SELECT * FROM reprieve.erase_subject_v1('p', $$email = 'p7@x.org'$$, ARRAY['p7@x.org'])").await;
        let dump = db.rows("SELECT relname FROM pg_class WHERE relnamespace IN ('reprieve'::regnamespace, 'public'::regnamespace) AND relkind = 'r' ORDER BY 1").await;
        for table in dump {
            let schema = if ["p", "c", "n"].contains(&table.as_str()) {
                "public"
            } else {
                "reprieve"
            };
            let found = db.rows(&format!("SELECT t::text FROM {schema}.{table} t WHERE strpos(t::text, 'p7@x.org') > 0 OR t::text ~ '\\mc46\\M'")).await;
            assert_eq!(found, Vec::<String>::new(), "{schema}.{table}");
        }
        // Four of p in a chain, and three of c for each; notes of n stay, without a reference.
        assert_eq!(
            db.value("SELECT count(*) FROM p WHERE id % 10 = 7").await,
            "0"
        );
        assert_eq!(
            db.value("SELECT count(*) FROM c WHERE p_id % 10 = 7").await,
            "0"
        );
        assert!(others >= 36);
        assert_eq!(
            db.value("SELECT count(*) FROM reprieve.receipts WHERE verb = 'erase'")
                .await,
            "1"
        );
        assert_sound(&db).await;
    }
}
