//! UNDELETE beside other sessions: U11 of the specification.

mod support;
mod undelete_support;

use undelete_support::{
    FAMILY, MARKED, assert_sound, blocked, database, delete, failure, last, mark, pid, rows,
    undelete,
};

#[tokio::test]
async fn u5_u11_a_parent_that_goes_away_meanwhile() {
    let db = database("u5d", FAMILY, MARKED).await;
    let child = delete(&db, "c", "id = 3").await;
    let (one, two) = (db.session().await, db.session().await);
    let waiting = pid(&two).await;
    let call = format!("SELECT * FROM reprieve.undelete_deletion_v1({child})");

    rows(&one, &format!("BEGIN; {}", mark("p", "id = 1"))).await;
    let second = tokio::spawn(async move { (failure(&two, &call).await, two) });
    blocked(&db, &waiting).await;
    rows(&one, "COMMIT").await;
    let ((code, ..), two) = second.await.unwrap();
    assert!(["RV010", "40001"].contains(&code.as_str()), "{code}");
    assert_sound(&db).await;

    // The other way round: the delete waits for the undelete, and then takes the child along.
    let parent = last(&db).await;
    undelete(&db, &format!("deletion_v1({parent})")).await;
    rows(
        &one,
        &format!("BEGIN; SELECT * FROM reprieve.undelete_deletion_v1({child})"),
    )
    .await;
    let second = tokio::spawn(async move { rows(&two, &mark("p", "id = 1")).await });
    blocked(&db, &waiting).await;
    rows(&one, "COMMIT").await;
    second.await.unwrap();
    assert_eq!(
        db.rows("SELECT count(*) FROM c WHERE p_id = 1 AND deleted_at IS NULL")
            .await,
        ["0"]
    );
    assert_sound(&db).await;
}

#[tokio::test]
async fn u11_one_of_two_undeletes_restores_and_a_reused_key_wins() {
    let db = database("u11", FAMILY, MARKED).await;
    let deletion = delete(&db, "n", "id = 1").await;
    let (one, two) = (db.session().await, db.session().await);
    let waiting = pid(&two).await;
    let call = format!("SELECT verdict FROM reprieve.undelete_deletion_v1({deletion})");
    rows(&one, &format!("BEGIN; {call}")).await;
    let again = call.clone();
    let second = tokio::spawn(async move { (rows(&two, &again).await, two) });
    blocked(&db, &waiting).await;
    rows(&one, "COMMIT").await;
    let (verdicts, two) = second.await.unwrap();
    assert_eq!(verdicts, ["NOTHING"]);

    let deletion = delete(&db, "n", "id = 1").await;
    let call = format!("SELECT verdict FROM reprieve.undelete_deletion_v1({deletion})");
    rows(&one, "BEGIN; INSERT INTO n VALUES (1, NULL, 'new')").await;
    let again = call.clone();
    let second = tokio::spawn(async move { (failure(&two, &again).await, two) });
    blocked(&db, &waiting).await;
    rows(&one, "COMMIT").await;
    let ((code, ..), two) = second.await.unwrap();
    assert_eq!(code, "40001");
    assert_eq!(failure(&two, &call).await.0, "RV010");
    assert_eq!(db.rows("SELECT u FROM n WHERE id = 1").await, ["new"]);
    assert_sound(&db).await;
}

/// The key of a live parent changes while tombstones that refer to it are lifted: one deletion of them, and two.
#[tokio::test]
async fn u11_tombstones_that_move_meanwhile_are_found() {
    const SCHEMA: &str = "CREATE TABLE p (id int PRIMARY KEY);
        CREATE TABLE c (id int PRIMARY KEY, p int REFERENCES p ON UPDATE CASCADE);
        INSERT INTO p VALUES (1), (2); INSERT INTO c SELECT n, 1 + n % 2 FROM generate_series(1, 6) AS n";
    let db = database("u11_moves", SCHEMA, &[("c", "mark")]).await;
    let (app, mut admin) = (db.session().await, db.session().await);
    let waiting = pid(&admin).await;
    for conditions in [&["id < 5"][..], &["id = 2", "id IN (1, 4)", "id = 5"]] {
        for condition in conditions {
            delete(&db, "c", condition).await;
        }
        rows(&app, "BEGIN; UPDATE p SET id = id + 10 WHERE id % 2 = 1").await;
        let undelete = tokio::spawn(async move {
            let call = "SELECT restored, verdict FROM reprieve.undelete_since_v1('-infinity')";
            (rows(&admin, call).await, admin)
        });
        blocked(&db, &waiting).await;
        rows(&app, "COMMIT").await;
        let (verdicts, back) = undelete.await.unwrap();
        assert_eq!(verdicts, ["4|COMPLETE", "4|COMPLETE"]);
        admin = back;
        let parents = "SELECT c.id, c.p % 10 FROM c JOIN p ON p.id = c.p WHERE c.deletion_id IS NULL ORDER BY c.id";
        assert_eq!(
            db.rows(parents).await,
            ["1|2", "2|1", "3|2", "4|1", "5|2", "6|1"]
        );
        assert_sound(&db).await;
    }
}

/// The row comes back or a new one takes its key, whoever comes first; who waits has it if the other one rolls back.
#[tokio::test]
async fn u11_undelete_and_insert_of_the_key_in_either_order() {
    for mode in ["mark", "bin"] {
        let schema = "CREATE TABLE t(id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'old')";
        let db = database(&format!("u11_order_{mode}"), schema, &[("t", mode)]).await;
        let live = "SELECT v FROM t WHERE to_jsonb(t) ->> 'deleted_at' IS NULL";
        for (undelete_first, end, winner) in [
            (true, "COMMIT", "old"),
            (true, "ROLLBACK", "new"),
            (false, "COMMIT", "new"),
            (false, "ROLLBACK", "old"),
        ] {
            let deletion = if mode == "mark" {
                delete(&db, "t", "true").await
            } else {
                db.run("DELETE FROM t").await;
                last(&db).await
            };
            let (one, two) = (db.session().await, db.session().await);
            let waiting = pid(&two).await;
            let call = format!("SELECT verdict FROM reprieve.undelete_deletion_v1({deletion})");
            let insert = "INSERT INTO t VALUES (1, 'new')".to_owned();
            let (first, second) = if undelete_first {
                (call, insert)
            } else {
                (insert, call)
            };
            rows(&one, &format!("BEGIN; {first}")).await;
            let second = tokio::spawn(async move { two.simple_query(&second).await.is_ok() });
            blocked(&db, &waiting).await;
            rows(&one, end).await;
            let (succeeded, case) = (
                second.await.unwrap(),
                format!("{mode} {undelete_first} {end}"),
            );
            assert_eq!(succeeded, end == "ROLLBACK", "{case}");
            assert_eq!(db.rows(live).await, [winner], "{case}");
            assert_sound(&db).await;
            db.run("DELETE FROM t; INSERT INTO t VALUES (1, 'old')")
                .await;
        }
    }
}
