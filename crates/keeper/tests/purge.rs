//! What a purge leaves: other partitions, what is held, and what has to come back with it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a helper of a test that fails must fail the test"
)]

mod support;
mod undelete_support;

use support::Database;
use undelete_support::{assert_sound, database, delete, failure, last, undelete};

const PARTED: &str = "
    CREATE TABLE m (id int, r int, v text, PRIMARY KEY (id, r)) PARTITION BY RANGE (r);
    CREATE TABLE m1 PARTITION OF m FOR VALUES FROM (0) TO (10);
    CREATE TABLE m2 PARTITION OF m FOR VALUES FROM (10) TO (20);
    INSERT INTO m VALUES (1, 1, 'a'), (2, 11, 'b'), (3, 12, 'c');";
const PAIR: &str = "
    CREATE TABLE p (id int PRIMARY KEY);
    CREATE TABLE c (id int PRIMARY KEY, p_id int REFERENCES p ON DELETE CASCADE);
    INSERT INTO p VALUES (1); INSERT INTO c VALUES (10, 1);";
const BIN: &[(&str, &str)] = &[("p", "bin"), ("c", "bin")];
const MARK: &[(&str, &str)] = &[("p", "mark"), ("c", "mark")];
const MIXED: &[(&str, &str)] = &[("p", "mark"), ("c", "bin")];

/// Rows and verdict of the whole.
async fn purge(db: &Database, arguments: &str) -> String {
    db.value(&format!(
        "SELECT rows, verdict FROM reprieve.purge_v1({arguments}) WHERE table_name = '(all)'"
    ))
    .await
}

/// Deletes as the table's mode has it.
async fn remove(db: &Database, table: &str, condition: &str) -> i64 {
    if db
        .value(&format!(
            "SELECT reprieve.has_marks('{table}'::regclass::oid)"
        ))
        .await
        == "t"
    {
        return delete(db, table, condition).await;
    }
    db.run(&format!("DELETE FROM {table} WHERE {condition}"))
        .await;
    last(db).await
}

async fn whole(db: &Database, deletion: i64) {
    let lines = undelete(db, &format!("deletion_v1({deletion})")).await;
    assert!(lines.last().unwrap().ends_with("|COMPLETE"), "{lines:?}");
    assert_sound(db).await;
}

#[tokio::test]
async fn a_partition_is_purged_without_the_others() {
    let db = database("purged_leaf", PARTED, &[("m", "bin")]).await;
    db.run("DELETE FROM m").await;
    let of_leaf = "relation => 'm1', before => now()";
    assert_eq!(
        purge(&db, &format!("{of_leaf}, dry_run => true")).await,
        "1|WOULD"
    );
    assert_eq!(purge(&db, of_leaf).await, "1|DONE");
    assert_eq!(purge(&db, of_leaf).await, "0|NOTHING");
    db.run("INSERT INTO m1 VALUES (4, 4, 'd'); DELETE FROM m1")
        .await;
    assert_eq!(purge(&db, of_leaf).await, "1|DONE");
    let left = "SELECT data[3] FROM reprieve.graveyard ORDER BY 1";
    assert_eq!(db.rows(left).await, ["b", "c"]);
    assert_eq!(
        purge(&db, "relation => 'm', before => now()").await,
        "2|DONE"
    );
    assert_sound(&db).await;
}

#[tokio::test]
async fn a_partition_can_be_held_or_kept_longer() {
    let db = database("kept_leaf", PARTED, &[("m", "bin")]).await;
    db.run("DELETE FROM m; SELECT reprieve.hold_v1(relation => 'm1')")
        .await;
    let session = db.session().await;
    let (code, ..) = failure(&session, "SELECT reprieve.erase_subject_v1('m', 'true')").await;
    assert_eq!(code, "RV013");
    db.run("BEGIN; SELECT reprieve.erase_subject_v1('m', 'r > 9'); ROLLBACK")
        .await;
    assert_eq!(purge(&db, "before => now()").await, "2|DONE");
    assert_eq!(
        purge(&db, "relation => 'm1', before => now()").await,
        "0|NOTHING"
    );
    db.run("SELECT reprieve.release_v1(relation => 'm1'), reprieve.retain_v1('m1', 'infinity')")
        .await;
    assert_eq!(
        purge(&db, "relation => 'm', before => now()").await,
        "0|NOTHING",
        "it is not named"
    );
    let shown = db
        .value("SELECT rows, due FROM reprieve.show_retention")
        .await;
    assert_eq!(shown, "1|0");
    db.run("SELECT reprieve.hold_v1(relation => 'm')").await;
    let named = "relation => 'm1', before => now()";
    assert_eq!(purge(&db, named).await, "0|NOTHING");
    db.run("SELECT reprieve.release_v1(relation => 'm')").await;
    assert_eq!(purge(&db, named).await, "1|DONE");
    assert_sound(&db).await;
}

#[tokio::test]
async fn parents_wait_for_children_that_are_kept() {
    for (number, modes) in [BIN, MARK, MIXED].iter().enumerate() {
        for (which, kept) in ["hold_v1(relation => 'c')", "retain_v1('c', 'infinity')"]
            .iter()
            .enumerate()
        {
            let db = database(&format!("waits_{number}_{which}"), PAIR, modes).await;
            db.run(&format!("SELECT reprieve.{kept}")).await;
            let deletion = remove(&db, "p", "true").await;
            assert_eq!(purge(&db, "before => now()").await, "0|DONE");
            whole(&db, deletion).await;
        }
        let db = database(&format!("waits_{number}_deletion"), PAIR, modes).await;
        let child = remove(&db, "c", "true").await;
        db.run(&format!("SELECT reprieve.hold_v1(deletion => {child})"))
            .await;
        let parent = remove(&db, "p", "true").await;
        assert_eq!(purge(&db, "before => now()").await, "0|DONE");
        // The key of the parent again: what hung on the first does not hang on the second.
        db.run("INSERT INTO p VALUES (1); INSERT INTO c VALUES (20, 1)")
            .await;
        remove(&db, "p", "true").await;
        db.run(&format!(
            "SELECT reprieve.release_v1(deletion => {child}), reprieve.hold_v1(deletion => {})",
            last(&db).await
        ))
        .await;
        assert_eq!(
            purge(&db, &format!("deletion => {parent}, before => now()")).await,
            "0|DONE"
        );
        assert_eq!(purge(&db, "before => now()").await, "2|DONE");
        let second = last(&db).await;
        db.run(&format!("SELECT reprieve.release_v1(deletion => {second})"))
            .await;
        whole(&db, second).await;
    }
}

#[tokio::test]
async fn a_chain_is_purged_from_its_end_and_a_circle_goes_too() {
    for mode in ["bin", "mark"] {
        let schema = "
            CREATE TABLE s (id int PRIMARY KEY, up int REFERENCES s ON DELETE CASCADE);
            INSERT INTO s SELECT i, nullif(i - 1, 0) FROM generate_series(1, 4) i;";
        let db = database(&format!("chain_{mode}"), schema, &[("s", mode)]).await;
        let deletion = remove(&db, "s", "true").await;
        assert_eq!(
            purge(&db, "before => now(), row_budget => 1").await,
            "1|MORE"
        );
        assert_eq!(
            purge(&db, "before => now(), row_budget => 2").await,
            "2|MORE"
        );
        let lines = undelete(&db, &format!("deletion_v1({deletion})")).await;
        assert_eq!(lines.last().unwrap(), "(all)|1|0|0|INCOMPLETE");
        assert_eq!(db.rows("SELECT id FROM s").await, ["1"]);
        db.run(
            "INSERT INTO s VALUES (5, 1), (6, 5), (7, 5); UPDATE s SET up = 6 WHERE id = 5;
             SELECT reprieve.retain_v1('s', 'infinity')",
        )
        .await;
        let deletion = remove(&db, "s", "id = 5").await;
        let purged = purge(&db, &format!("deletion => {deletion}, before => now()")).await;
        assert_eq!(purged, "3|DONE");
        assert_sound(&db).await;
    }
}
