//! UNDO UNDELETE: afterwards everything is as it was before the undelete.

mod support;
mod undelete_support;

use support::Database;
use undelete_support::{
    assert_sound, blocked, content, database, delete, failure, last, mark, pid, rows,
};

const SCHEMA: &str = "
    CREATE TABLE p(id int PRIMARY KEY, v text);
    CREATE TABLE c(id int PRIMARY KEY, p_id int REFERENCES p ON DELETE CASCADE, v text);
    CREATE TABLE n(id int PRIMARY KEY, p_id int REFERENCES p ON DELETE SET NULL, c_id int DEFAULT 10 REFERENCES c ON DELETE SET DEFAULT);
    CREATE TABLE b(v text, p_id int REFERENCES p ON DELETE CASCADE, at timestamptz DEFAULT '2020-02-02 02:02:02+02');
    CREATE TABLE parts(id int, p_id int, PRIMARY KEY (id)) PARTITION BY RANGE (id);
    CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (4);
    CREATE TABLE parts_2 PARTITION OF parts DEFAULT;
    CREATE TABLE seen(what text);
    CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN INSERT INTO seen VALUES (TG_OP || ' ' || TG_TABLE_NAME); RETURN coalesce(NEW, OLD); END $$;
    INSERT INTO p SELECT i, 'p' || i FROM generate_series(1, 3) i;
    INSERT INTO c SELECT i, 1 + i % 3, 'c' || i FROM generate_series(1, 9) i;
    INSERT INTO c VALUES (10);
    INSERT INTO n SELECT i, 1 + i % 3, 2 + i FROM generate_series(1, 6) i;
    INSERT INTO b SELECT 'b' || i, 1 + i % 3 FROM generate_series(1, 6) i;
    INSERT INTO b SELECT 'twin', 1 FROM generate_series(1, 2);
    INSERT INTO parts SELECT i, 1 + i % 3 FROM generate_series(1, 9) i;
    CREATE TRIGGER see AFTER INSERT OR UPDATE OR DELETE ON b FOR EACH ROW EXECUTE FUNCTION see();";
const ENABLED: &[(&str, &str)] = &[
    ("p", "mark"),
    ("c", "mark"),
    ("n", "mark"),
    ("b", "bin"),
    ("parts", "bin"),
];

/// All that is there: rows with our columns, graveyard, ledger, references to put back.
async fn everything(database: &Database) -> Vec<String> {
    database
        .rows(
            "SELECT x FROM (
                SELECT 'p ' || p::text FROM p UNION ALL SELECT 'c ' || c::text FROM c UNION ALL SELECT 'n ' || n::text FROM n
                UNION ALL SELECT 'b ' || b::text FROM b UNION ALL SELECT 'parts ' || parts::text FROM parts
                UNION ALL SELECT 'seen ' || what FROM seen
                UNION ALL SELECT format('grave %s %s %s %s %s', deletion_id, table_name, columns, data, deleted_at) FROM reprieve.graveyard
                UNION ALL SELECT 'ledger ' || d::text FROM reprieve.deletions d UNION ALL SELECT 'ledger ' || t::text FROM reprieve.deletion_tables t
                UNION ALL SELECT 'relink ' || r::text FROM reprieve.relinks r
                UNION ALL SELECT format('trigger %s %s %s', tgrelid::regclass, tgname, tgenabled) FROM pg_trigger WHERE tgenabled <> 'O' AND NOT tgisinternal
             ) AS t(x) ORDER BY x COLLATE \"C\"",
        )
        .await
}

async fn verdict(database: &Database, call: &str) -> String {
    let lines = database
        .rows(&format!(
            "SELECT verdict || ' ' || detail FROM reprieve.{call}"
        ))
        .await;
    lines
        .last()
        .map_or_else(String::new, |line| line.trim().to_owned())
}

async fn undo(database: &Database, deletion: i64) -> String {
    verdict(database, &format!("undo_undelete_of_v1({deletion})")).await
}

#[tokio::test]
async fn a_cascade_is_deleted_again() {
    let db = database("undo_cascade", SCHEMA, ENABLED).await;
    let deletion = delete(&db, "p", "id = 1").await;
    let before = everything(&db).await;
    for _ in 0..2 {
        let restored = verdict(&db, &format!("undelete_deletion_v1({deletion})")).await;
        assert_eq!(restored, "COMPLETE");
        assert_ne!(everything(&db).await, before);
        assert_eq!(undo(&db, deletion).await, "COMPLETE");
        assert_eq!(everything(&db).await, before);
        assert_sound(&db).await;
    }
    assert_eq!(
        undo(&db, deletion).await,
        format!("NOTHING no undelete of deletion {deletion} is left to undo")
    );
    let states = db.rows("SELECT state FROM reprieve.show_undeletes").await;
    assert_eq!(states, ["undone", "undone"]);
    let once = db
        .rows("SELECT min(id) FROM reprieve.show_undeletes")
        .await
        .remove(0);
    let again = verdict(&db, &format!("undo_undelete_v1({once})")).await;
    assert!(again.starts_with("NOTHING already undone at "), "{again}");
    let restored = verdict(&db, &format!("undelete_deletion_v1({deletion})")).await;
    assert_eq!(restored, "COMPLETE");
}

/// Rows of several deletions at once, one of them deleted by one and with a reference nulled by another before.
#[tokio::test]
async fn many_deletions_at_once() {
    let db = database("undo_many", SCHEMA, ENABLED).await;
    for (table, condition) in [
        ("p", "id = 2"),
        ("c", "id = 3"),
        ("n", "id in (1, 4)"),
        ("n", "id = 5"),
        ("c", "p_id = 3"),
        ("p", "id = 1"),
    ] {
        delete(&db, table, condition).await;
    }
    db.run("DELETE FROM b WHERE v = 'b5'; TRUNCATE parts").await;
    // Their keys are used again, so tombstones go to the graveyard; then the keys are free again.
    db.run("INSERT INTO c VALUES (3, 3, 'again'); DELETE FROM c WHERE id = 3")
        .await;
    let tables = ["p", "c", "n", "b", "parts"];
    let before = content(&db, &tables).await;
    let restore = "undelete_since_v1('-infinity', mode => 'nonconflict_only')";
    let first = verdict(&db, restore).await;
    let restored = content(&db, &tables).await;
    assert_ne!(before, restored);
    let act = db
        .rows("SELECT id FROM reprieve.show_undeletes")
        .await
        .remove(0);
    assert_eq!(
        verdict(&db, &format!("undo_undelete_v1({act})")).await,
        "COMPLETE"
    );
    assert_sound(&db).await;
    assert_eq!(content(&db, &tables).await, before);
    assert_eq!(verdict(&db, restore).await, first);
    assert_eq!(content(&db, &tables).await, restored);
    assert_sound(&db).await;
}

/// All of them in one statement, and each counted by itself.
#[tokio::test]
async fn deletions_of_one_table_are_counted_one_by_one() {
    let db = database("undo_counted", SCHEMA, ENABLED).await;
    let whole = content(&db, &["c", "n"]).await;
    for condition in ["id IN (4, 6)", "id = 1", "id IN (7, 8, 9)"] {
        delete(&db, "c", condition).await;
    }
    let before = everything(&db).await;
    for _ in 0..2 {
        let restored = verdict(&db, "undelete_since_v1('-infinity')").await;
        assert_eq!(restored, "COMPLETE");
        assert_eq!(content(&db, &["c", "n"]).await, whole);
        let counted = "SELECT sum(t.rows), sum(t.restored) FROM reprieve.deletion_tables t GROUP BY t.deletion_id ORDER BY t.deletion_id";
        assert_eq!(db.rows(counted).await, ["2|2", "1|1", "3|3"]);
        assert_sound(&db).await;
        let act = "SELECT max(id) FROM reprieve.show_undeletes";
        let act = db.rows(act).await.remove(0);
        let undone = verdict(&db, &format!("undo_undelete_v1({act})")).await;
        assert_eq!(undone, "COMPLETE");
        assert_eq!(everything(&db).await, before);
        assert_sound(&db).await;
    }
}

#[tokio::test]
async fn what_changed_since_stays() {
    let db = database("undo_changed", SCHEMA, ENABLED).await;
    let deletion = delete(&db, "p", "id = 1").await;
    verdict(&db, &format!("undelete_deletion_v1({deletion})")).await;
    db.run("UPDATE c SET v = 'changed' WHERE id = 3; INSERT INTO b VALUES ('new', 1)")
        .await;
    let session = db.session().await;
    let call = format!("SELECT * FROM reprieve.undo_undelete_of_v1({deletion}");
    let (code, message, detail) = failure(&session, &format!("{call})")).await;
    assert_eq!(code, "RV010");
    assert_eq!(
        message,
        "cannot undo the undelete: 2 of 12 row(s) are not as they came back"
    );
    let mut lines: Vec<_> = detail.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines.len(), 2, "{detail}");
    assert_eq!(
        lines[0],
        "public.c (id)=(3) was changed or deleted since, or its table rewritten"
    );
    assert!(
        lines[1].starts_with("public.p (id)=(1) is what public."),
        "{detail}"
    );
    let before = everything(&db).await;
    let left = rows(&session, &format!("{call}, 'nonconflict_only')")).await;
    assert!(left.last().unwrap().contains("INCOMPLETE"), "{left:?}");
    let after = everything(&db).await;
    for stays in ["p (1,p1,,)", "c (3,1,changed,,)"] {
        assert!(
            before.iter().any(|row| row == stays) && after.iter().any(|row| row == stays),
            "{after:?}"
        );
    }
    assert!(!after.iter().any(|row| row == "c (6,1,c6,,)"), "{after:?}");
    assert_sound(&db).await;
}

#[tokio::test]
async fn places_that_moved_are_not_mistaken() {
    let db = database("undo_moved", SCHEMA, ENABLED).await;
    let deletion = delete(&db, "p", "id = 1").await;
    verdict(&db, &format!("undelete_deletion_v1({deletion})")).await;
    let session = db.session().await;
    session.batch_execute("VACUUM FULL c").await.unwrap();
    let call = format!("SELECT * FROM reprieve.undo_undelete_of_v1({deletion})");
    let (_, message, _) = failure(&session, &call).await;
    assert_eq!(
        message,
        "cannot undo the undelete: 4 of 12 row(s) are not as they came back"
    );
    session
        .batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        .await
        .unwrap();
    assert_eq!(failure(&session, &call).await.0, "25001");
    session.batch_execute("ROLLBACK").await.unwrap();
    // A row with the same key and the same values is another row.
    let second = delete(&db, "n", "id = 1").await;
    verdict(&db, &format!("undelete_deletion_v1({second})")).await;
    db.run("DELETE FROM n WHERE id = 1; INSERT INTO n VALUES (1, 2, 3)")
        .await;
    let call = format!("SELECT * FROM reprieve.undo_undelete_of_v1({second})");
    assert_eq!(failure(&session, &call).await.0, "RV010");
}

/// Who writes a child while its parent is deleted again waits, and finds no parent.
#[tokio::test]
async fn a_child_that_comes_meanwhile_waits() {
    let db = database("undo_race", SCHEMA, ENABLED).await;
    let deletion = delete(&db, "p", "id = 1").await;
    verdict(&db, &format!("undelete_deletion_v1({deletion})")).await;
    let admin = db.session().await;
    let app = db.session().await;
    let app_pid = pid(&app).await;
    admin
        .batch_execute(&format!(
            "BEGIN; SELECT * FROM reprieve.undo_undelete_of_v1({deletion})"
        ))
        .await
        .unwrap();
    let write = tokio::spawn(async move {
        failure(&app, "INSERT INTO c VALUES (100, 1, 'late')")
            .await
            .0
    });
    blocked(&db, &app_pid).await;
    admin.batch_execute("COMMIT").await.unwrap();
    assert_eq!(write.await.unwrap(), "23503");
    // The other way round it waits for the child, and then says that the parent is in use.
    verdict(&db, &format!("undelete_deletion_v1({deletion})")).await;
    let app = db.session().await;
    app.batch_execute("BEGIN; INSERT INTO c VALUES (100, 1, 'first')")
        .await
        .unwrap();
    let admin_pid = pid(&admin).await;
    let undo = tokio::spawn(async move {
        failure(
            &admin,
            &format!("SELECT * FROM reprieve.undo_undelete_of_v1({deletion})"),
        )
        .await
        .2
    });
    blocked(&db, &admin_pid).await;
    app.batch_execute("COMMIT").await.unwrap();
    assert_eq!(
        undo.await.unwrap(),
        "public.p (id)=(1) is what public.c (id)=(100) refers to"
    );
    assert_sound(&db).await;
}

#[tokio::test]
async fn rows_chosen_one_by_one_and_who_may() {
    let db = database("undo_rows", SCHEMA, ENABLED).await;
    db.run(&mark("c", "id IN (1, 2, 3)")).await;
    let deletion = last(&db).await;
    let before = everything(&db).await;
    verdict(&db, "undelete_where_v1('c', 'id < 3')").await;
    assert_eq!(undo(&db, deletion).await, "COMPLETE");
    assert_eq!(everything(&db).await, before);
    db.run("CREATE ROLE undo_nobody LOGIN").await;
    let nobody = db.session_as("undo_nobody").await;
    for call in ["undo_undelete_v1(1)", "undo_undelete_of_v1(1)"] {
        let (code, ..) = failure(&nobody, &format!("SELECT * FROM reprieve.{call}")).await;
        assert_eq!(code, "42501");
    }
    db.run("GRANT EXECUTE ON FUNCTION reprieve.undo_undelete_v1(bigint, text) TO undo_nobody")
        .await;
    let (code, ..) = failure(&nobody, "SELECT * FROM reprieve.undo_undelete_v1(1)").await;
    assert_eq!(code, "42501");
}

/// What an undelete did besides is told, and there is a way back.
#[tokio::test]
async fn what_was_replaced_is_named() {
    const TABLE: &str =
        "CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'old')";
    let db = database("undo_replace", TABLE, &[("t", "mark")]).await;
    let deletion = delete(&db, "t", "id = 1").await;
    db.run("INSERT INTO t VALUES (1, 'new')").await;
    let replaced = verdict(&db, &format!("undelete_deletion_v1({deletion}, 'replace')")).await;
    assert!(replaced.starts_with("COMPLETE"), "{replaced}");
    let newest = last(&db).await;
    let told = db
        .rows(&format!(
            "SELECT verdict, detail FROM reprieve.undo_undelete_of_v1({deletion}) WHERE table_name = '(all)'"
        ))
        .await;
    assert_eq!(
        told,
        [format!(
            "INCOMPLETE|rows that it replaced stay deleted, by deletion {newest}"
        )]
    );
    verdict(&db, &format!("undelete_deletion_v1({newest})")).await;
    assert_eq!(content(&db, &["t"]).await, ["t (1,new)"]);
    assert_sound(&db).await;
}

/// Neither table's rows can go first: those of the marked one leave it, too.
#[tokio::test]
async fn a_circle_of_a_marked_table_and_one_in_the_bin() {
    let schema = "
        CREATE TABLE m(id int PRIMARY KEY, b_id int);
        CREATE TABLE b(id int PRIMARY KEY, m_id int REFERENCES m ON DELETE CASCADE);
        ALTER TABLE m ADD FOREIGN KEY (b_id) REFERENCES b ON DELETE CASCADE;
        INSERT INTO m VALUES (1), (2); INSERT INTO b VALUES (1, 1), (2, 2); UPDATE m SET b_id = id";
    let db = database("undo_circle", schema, &[("m", "mark"), ("b", "bin")]).await;
    let whole = content(&db, &["m", "b"]).await;
    for by_mark in [true, false] {
        if by_mark {
            delete(&db, "m", "id = 1").await;
        } else {
            db.run("DELETE FROM b WHERE id = 1").await;
        }
        let deletion = last(&db).await;
        let deleted = content(&db, &["m", "b"]).await;
        for _ in 0..2 {
            let restored = verdict(&db, &format!("undelete_deletion_v1({deletion})")).await;
            assert_eq!(restored, "COMPLETE");
            assert_eq!(content(&db, &["m", "b"]).await, whole);
            assert_eq!(undo(&db, deletion).await, "COMPLETE");
            assert_eq!(content(&db, &["m", "b"]).await, deleted);
            assert_sound(&db).await;
        }
        verdict(&db, &format!("undelete_deletion_v1({deletion})")).await;
    }
}

/// The ledger says that rows of the whole table were deleted; those of a partition that is none any more are not among them.
#[tokio::test]
async fn rows_of_a_partition_that_was_detached_stay() {
    let db = database("undo_detached", SCHEMA, &[("parts", "bin")]).await;
    db.run("DELETE FROM parts").await;
    let deletion = last(&db).await;
    verdict(&db, &format!("undelete_deletion_v1({deletion})")).await;
    db.run("ALTER TABLE parts DETACH PARTITION parts_1").await;
    let (code, _, text) = failure(
        &db.session().await,
        &format!("SELECT * FROM reprieve.undo_undelete_of_v1({deletion})"),
    )
    .await;
    assert_eq!(code, "RV010");
    assert!(
        text.starts_with("public.parts_1 (id)=(1) lies in a table that is no longer a partition of the one that it was deleted from"),
        "{text}"
    );
    let undone = db
        .rows(&format!("SELECT table_name, deleted, skipped FROM reprieve.undo_undelete_of_v1({deletion}, 'nonconflict_only')"))
        .await;
    assert_eq!(
        undone,
        ["public.parts|6|0", "public.parts_1|0|3", "(all)|6|3"]
    );
    assert_sound(&db).await;
    assert_eq!(db.rows("SELECT id FROM parts_1").await.len(), 3);
}
