//! Rows that one statement both changes by SET NULL or SET DEFAULT and takes by CASCADE come back as that statement found them.

mod support;
mod undelete_support;

use support::Database;
use undelete_support::{assert_sound, content, database, delete, last, mark, undelete};

/// `c`, `k` (no key) and `g` refer to `a` by SET DEFAULT or SET NULL, and by way of `b` by CASCADE.
const SCHEMA: &str = "
    CREATE TABLE a(id int PRIMARY KEY); CREATE TABLE b(id int PRIMARY KEY, a int REFERENCES a ON DELETE CASCADE);
    CREATE TABLE c(id int PRIMARY KEY, a int DEFAULT 9 REFERENCES a ON DELETE SET DEFAULT, b int REFERENCES b ON DELETE CASCADE,
                   n int REFERENCES a ON DELETE SET NULL, t text);
    CREATE TABLE d(id int PRIMARY KEY, c int REFERENCES c ON DELETE CASCADE);
    CREATE TABLE k(a int DEFAULT 9 REFERENCES a ON DELETE SET DEFAULT, b int REFERENCES b ON DELETE CASCADE, c char(5), f float8);
    CREATE TABLE g(id numeric(8,2) PRIMARY KEY, b int REFERENCES b ON DELETE CASCADE, a int DEFAULT 9 REFERENCES a ON DELETE SET DEFAULT);
    CREATE TABLE f(a int DEFAULT 9 REFERENCES a ON DELETE SET DEFAULT, id int, b int REFERENCES b ON DELETE CASCADE, PRIMARY KEY (a, id));
    INSERT INTO a VALUES (1), (2), (9); INSERT INTO b VALUES (1, 1), (2, 2);
    INSERT INTO c VALUES (1, 1, 1, 1, 'x'), (2, 2, 1, 1, NULL), (3, 2, 2, 1, ''); INSERT INTO d VALUES (1, 1), (2, 3);
    INSERT INTO k VALUES (1, 1, 'x', 0.1), (1, 1, 'x', 0.1), (2, 2, 'x', 0.1); INSERT INTO g VALUES (1.5, 1, 1), (2, 2, 2);
    INSERT INTO f VALUES (1, 1, 1), (2, 1, 2);";
const TABLES: &[&str] = &["a", "b", "c", "d", "k", "g", "f"];
const MARKED: &[(&str, &str)] = &[
    ("a", "mark"),
    ("b", "mark"),
    ("c", "mark"),
    ("d", "mark"),
    ("k", "bin"),
    ("g", "bin"),
    ("f", "mark"),
];
const BINNED: &[(&str, &str)] = &[
    ("a", "bin"),
    ("b", "bin"),
    ("c", "bin"),
    ("d", "bin"),
    ("k", "bin"),
    ("g", "bin"),
    ("f", "bin"),
];
const WHOLE: &[&str] = &[
    "public.a|1|0|0|COMPLETE",
    "public.b|1|0|0|COMPLETE",
    "public.c|2|1|0|COMPLETE",
    "public.d|1|0|0|COMPLETE",
    "public.f|1|0|0|COMPLETE",
    "public.g|1|0|0|COMPLETE",
    "public.k|2|0|0|COMPLETE",
    "(all)|9|1|0|COMPLETE",
];

/// Deletes, brings back, deletes again, and each time looks at what there is.
async fn there_and_back(db: &Database, statement: &str) {
    let before = content(db, TABLES).await;
    db.run(statement).await;
    assert_sound(db).await;
    let deletion = last(db).await;
    // The one that stays.
    let relinks = "SELECT relid::regclass, key_data, old_data FROM reprieve.relinks";
    assert_eq!(db.rows(relinks).await, ["c|{3}|{1}"]);
    let gone = content(db, TABLES).await;
    let preview = format!(
        "SELECT table_name, restored, relinked, skipped, verdict FROM reprieve.preview_undelete_deletion_v1({deletion})"
    );
    assert_eq!(db.rows(&preview).await, WHOLE);
    assert_eq!(
        undelete(db, &format!("deletion_v1({deletion})")).await,
        WHOLE
    );
    assert_eq!(content(db, TABLES).await, before);
    assert_sound(db).await;
    let undone = db
        .rows(&format!(
            "SELECT verdict FROM reprieve.undo_undelete_of_v1({deletion}) WHERE table_name = '(all)'"
        ))
        .await;
    assert_eq!(undone, ["COMPLETE"]);
    assert_eq!(content(db, TABLES).await, gone);
    assert_eq!(db.rows(relinks).await, ["c|{3}|{1}"]);
    assert_sound(db).await;
    assert_eq!(
        undelete(db, &format!("deletion_v1({deletion})")).await,
        WHOLE
    );
    assert_eq!(content(db, TABLES).await, before);
}

#[tokio::test]
async fn tombstones() {
    let db = database("before_marked", SCHEMA, MARKED).await;
    there_and_back(&db, &mark("a", "id = 1")).await;
}

/// PostgreSQL does not mind that the default is no row where the row that gets it goes.
#[tokio::test]
async fn defaults_that_lead_nowhere() {
    let schema = SCHEMA.replace(", (9);", ";").replace(
        "ON DELETE SET DEFAULT",
        "ON DELETE SET DEFAULT DEFERRABLE INITIALLY DEFERRED",
    );
    let db = database("before_nowhere", &schema, MARKED).await;
    there_and_back(&db, &mark("a", "id = 1")).await;
}

#[tokio::test]
async fn rows_that_leave_the_table() {
    let db = database("before_binned", SCHEMA, BINNED).await;
    there_and_back(&db, "DELETE FROM a WHERE id = 1").await;
}

#[tokio::test]
async fn rows_that_leave_a_marked_table() {
    let db = database("before_left", SCHEMA, MARKED).await;
    there_and_back(
        &db,
        &format!(
            "BEGIN ISOLATION LEVEL REPEATABLE READ; {}; COMMIT",
            mark("a", "id = 1")
        ),
    )
    .await;
    there_and_back(&db, "DELETE FROM a WHERE id = 1").await;
}

#[tokio::test]
async fn some_rows_of_it() {
    let db = database("before_some", SCHEMA, MARKED).await;
    delete(&db, "a", "id = 1").await;
    // With the parents that it had, and not with those that the action gave it.
    let brought = undelete(&db, "where_v1('c', 'id = 1', 'cascade')").await;
    assert_eq!(
        brought,
        [
            "public.a|1|0|0|COMPLETE",
            "public.b|1|0|0|COMPLETE",
            "public.c|1|1|0|COMPLETE",
            "public.d|1|0|0|COMPLETE",
            "(all)|4|1|0|COMPLETE"
        ]
    );
    assert_eq!(
        db.rows("SELECT a, b, n FROM c WHERE deleted_at IS NULL ORDER BY id")
            .await,
        ["1|1|1", "2|2|1"]
    );
    assert_sound(&db).await;
}

/// `x` leaves the table; the references that lead there cannot be those of tombstones.
#[tokio::test]
async fn parents_that_are_no_tombstones() {
    let schema = "
        CREATE TABLE p(id int PRIMARY KEY); CREATE TABLE m(id int PRIMARY KEY, p int REFERENCES p ON DELETE CASCADE);
        CREATE TABLE x(id int PRIMARY KEY, p int REFERENCES p ON DELETE CASCADE);
        CREATE TABLE z(id int PRIMARY KEY, x int DEFAULT 9 REFERENCES x ON DELETE SET DEFAULT, m int REFERENCES m ON DELETE CASCADE);
        CREATE TABLE y(id int PRIMARY KEY, z int REFERENCES z ON DELETE CASCADE);
        INSERT INTO p VALUES (1); INSERT INTO m VALUES (1, 1); INSERT INTO x VALUES (1, 1), (9, NULL);
        INSERT INTO z VALUES (1, 1, 1), (2, NULL, 1), (3, 1, 1); INSERT INTO y VALUES (1, 1), (2, 2);";
    let enabled = &[
        ("y", "mark"),
        ("z", "mark"),
        ("m", "mark"),
        ("x", "bin"),
        ("p", "mark"),
    ];
    let tables = &["p", "m", "x", "z", "y"];
    let db = database("before_gone", schema, enabled).await;
    let before = content(&db, tables).await;
    let deletion = delete(&db, "p", "true").await;
    assert_sound(&db).await;
    assert_eq!(
        db.rows("SELECT data FROM reprieve.graveyard WHERE relid = 'z'::regclass ORDER BY 1")
            .await,
        ["{1,1,1}", "{3,1,1}"]
    );
    assert_eq!(
        undelete(&db, &format!("deletion_v1({deletion})"))
            .await
            .last()
            .map(String::as_str),
        Some("(all)|8|0|0|COMPLETE")
    );
    assert_eq!(content(&db, tables).await, before);
    assert_sound(&db).await;
}

/// What an older keeper has left is set right by an install.
#[tokio::test]
async fn deletions_from_before() {
    let db = database("before_older", SCHEMA, MARKED).await;
    let before = content(&db, TABLES).await;
    db.run(
        "CREATE OR REPLACE FUNCTION reprieve.before_images(id bigint) RETURNS void LANGUAGE sql AS ''",
    )
    .await;
    let deletion = delete(&db, "a", "id = 1").await;
    assert_eq!(
        db.rows("SELECT a FROM c WHERE id = 1").await,
        ["9"],
        "as an older keeper left it"
    );
    db.run("DROP FUNCTION reprieve.before_images(bigint)").await;
    db.keeper().await.install().await.unwrap();
    assert_eq!(
        undelete(&db, &format!("deletion_v1({deletion})")).await,
        WHOLE
    );
    assert_eq!(content(&db, TABLES).await, before);
    assert_sound(&db).await;
}

/// Rows without a key that look the same once their references are gone: each gets one back that one of them had.
#[tokio::test]
async fn rows_that_look_the_same() {
    let schema = "
        CREATE TABLE p(id int PRIMARY KEY); CREATE TABLE k(p int REFERENCES p ON DELETE SET NULL, v text);
        INSERT INTO p VALUES (1), (2), (3);
        INSERT INTO k VALUES (1, 'x'), (1, 'x'), (2, 'x'), (3, 'x'), (2, NULL), (NULL, 'x'), (NULL, 'y');";
    for mode in ["mark", "bin"] {
        let enabled = &[("k", "bin"), ("p", mode)];
        let db = database(&format!("before_twins_{mode}"), schema, enabled).await;
        let before = content(&db, &["p", "k"]).await;
        let deletion = if mode == "mark" {
            delete(&db, "p", "id < 3").await
        } else {
            db.run("DELETE FROM p WHERE id < 3").await;
            last(&db).await
        };
        let gone = content(&db, &["p", "k"]).await;
        for _ in 0..2 {
            assert_eq!(
                undelete(&db, &format!("deletion_v1({deletion})")).await,
                [
                    "public.k|0|4|0|COMPLETE",
                    "public.p|2|0|0|COMPLETE",
                    "(all)|2|4|0|COMPLETE"
                ]
            );
            assert_eq!(content(&db, &["p", "k"]).await, before);
            db.run(&format!(
                "SELECT * FROM reprieve.undo_undelete_of_v1({deletion})"
            ))
            .await;
            assert_eq!(content(&db, &["p", "k"]).await, gone);
            assert_sound(&db).await;
        }
    }
}
