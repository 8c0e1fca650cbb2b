//! UNDELETE where the schema has moved on since (U9).

mod support;
mod undelete_support;

use undelete_support::{assert_sound, database, delete, failure, last, undelete};

#[tokio::test]
async fn u9_a_schema_that_moved_on_has_a_verdict_per_row() {
    let schema = "CREATE TABLE t(id int PRIMARY KEY, a text, b text); INSERT INTO t VALUES (1, '1', 'x'), (2, 'two', NULL), (3, '3', NULL);";
    let db = database("u9", schema, &[("t", "bin")]).await;
    db.run("DELETE FROM t").await;
    let deletion = last(&db).await;
    db.run("ALTER TABLE t ALTER a TYPE int USING a::int, DROP COLUMN b, ADD COLUMN e int NOT NULL DEFAULT 7").await;
    let session = db.session().await;
    let (code, _, text) = failure(
        &session,
        &format!("SELECT * FROM reprieve.undelete_deletion_v1({deletion})"),
    )
    .await;
    assert_eq!(code, "RV010");
    assert_eq!(
        text,
        "public.t (id)=(1): column b is no more, and the row has a value for it\n\
         public.t (id)=(2): invalid input syntax for type integer: \"two\""
    );
    let lines = undelete(&db, &format!("deletion_v1({deletion}, 'nonconflict_only')")).await;
    assert_eq!(
        lines,
        ["public.t|1|0|2|INCOMPLETE", "(all)|1|0|2|INCOMPLETE"]
    );
    assert_eq!(db.rows("SELECT * FROM t").await, ["3|3|7"]);
    assert_eq!(
        db.rows("SELECT count(*), count(\"row\") FROM reprieve.buried_v1(NULL::t)")
            .await,
        ["2|1"]
    );

    db.run("ALTER TABLE t ALTER a TYPE text, ADD COLUMN b text, ALTER e DROP DEFAULT")
        .await;
    let (_, _, text) = failure(
        &session,
        &format!("SELECT * FROM reprieve.undelete_deletion_v1({deletion})"),
    )
    .await;
    assert!(
        text.contains(
            "(id)=(1): null value in column \"e\" of relation \"t\" violates not-null constraint"
        ),
        "{text}"
    );
    db.run("ALTER TABLE t ALTER e SET DEFAULT 8, ADD CHECK (a <> 'two')")
        .await;
    let (_, _, text) = failure(
        &session,
        &format!("SELECT * FROM reprieve.undelete_deletion_v1({deletion})"),
    )
    .await;
    assert!(
        text.contains("(id)=(2): new row for relation \"t\" violates check constraint"),
        "{text}"
    );
    db.run("ALTER TABLE t DROP CONSTRAINT t_a_check").await;
    assert_eq!(
        undelete(&db, &format!("deletion_v1({deletion})")).await[1],
        "(all)|2|0|0|COMPLETE"
    );
    assert_eq!(
        db.rows("SELECT id, a, b, e FROM t ORDER BY id").await,
        ["1|1|x|8", "2|two||8", "3|3||7"]
    );

    db.run("DELETE FROM t").await;
    let deletion = last(&db).await;
    db.run("DROP TABLE t").await;
    let (code, _, text) = failure(
        &session,
        &format!("SELECT * FROM reprieve.undelete_deletion_v1({deletion})"),
    )
    .await;
    assert_eq!(code, "RV010");
    assert!(text.contains("the table is no more"), "{text}");
}

/// Columns are followed under their new names, also where another one has taken the old name.
#[tokio::test]
async fn u9_columns_that_were_renamed() {
    const SCHEMA: &str = "CREATE TABLE p (id int PRIMARY KEY, price int, a text, b text);
        CREATE TABLE n (id int PRIMARY KEY, p_id int REFERENCES p ON DELETE SET NULL);
        INSERT INTO p VALUES (1, 100, 'a', 'b'), (2, 200, 'c', 'd'); INSERT INTO n VALUES (10, 1), (20, 2)";
    for mode in ["mark", "bin"] {
        let name = format!("u9_renamed_{mode}");
        let db = database(&name, SCHEMA, &[("p", mode), ("n", mode)]).await;
        if mode == "mark" {
            delete(&db, "p", "id = 1").await;
        } else {
            db.run("DELETE FROM p WHERE id = 1").await;
        }
        let deletion = last(&db).await;
        for change in [
            "ALTER TABLE p RENAME price TO price_cents",
            "ALTER TABLE p ADD price int",
            "ALTER TABLE p RENAME a TO x",
            "ALTER TABLE p RENAME b TO a",
            "ALTER TABLE p RENAME x TO b",
            "ALTER TABLE n RENAME p_id TO parent_id",
            "ALTER TABLE n RENAME id TO number",
        ] {
            db.run(change).await;
        }
        assert_eq!(
            undelete(&db, &format!("deletion_v1({deletion})")).await,
            [
                "public.n|0|1|0|COMPLETE",
                "public.p|1|0|0|COMPLETE",
                "(all)|1|1|0|COMPLETE"
            ],
            "{mode}"
        );
        assert_eq!(
            db.rows("SELECT id, price, price_cents, a, b FROM p ORDER BY id")
                .await,
            ["1||100|b|a", "2||200|d|c"]
        );
        assert_eq!(
            db.rows("SELECT number, parent_id FROM n ORDER BY 1").await,
            ["10|1", "20|2"]
        );
        assert_sound(&db).await;
    }
}

/// The name of a column that is no more is another's now: its values are not put there.
#[tokio::test]
async fn u9_a_name_that_another_column_took() {
    let schema =
        "CREATE TABLE t (id int PRIMARY KEY, a text, b text); INSERT INTO t VALUES (1, 'a', 'b')";
    let db = database("u9_taken", schema, &[("t", "bin")]).await;
    // Taken behind the change, before anybody has looked.
    assert_eq!(
        db.rows("SELECT reprieve.renamed('{id,c}', '{\"b\": \"c\"}')")
            .await,
        ["{id,c}"]
    );
    db.run("DELETE FROM t").await;
    let deletion = last(&db).await;
    db.run("ALTER TABLE t DROP a").await;
    db.run("ALTER TABLE t RENAME b TO a").await;
    let session = db.session().await;
    let (code, _, detail) = failure(
        &session,
        &format!("SELECT * FROM reprieve.undelete_deletion_v1({deletion})"),
    )
    .await;
    assert_eq!(
        (code.as_str(), detail.as_str()),
        (
            "RV010",
            "public.t (id)=(1): column \"a (dropped)\" is no more, and the row has a value for it"
        )
    );
}

/// A value that names a table that is gone, or that its enum or domain no longer takes.
#[tokio::test]
async fn a_row_that_cannot_be_read_does_not_hide_the_others() {
    let schema = "
        CREATE TABLE named (id int PRIMARY KEY);
        CREATE TYPE mood AS ENUM ('ok', 'bad');
        CREATE DOMAIN short AS text;
        CREATE TABLE t (id int PRIMARY KEY, r regclass, m mood, s short);
        CREATE TABLE c (id int PRIMARY KEY, t_id int REFERENCES t ON DELETE CASCADE);
        INSERT INTO t VALUES (1, 'pg_class', 'ok', 'x'), (2, 'named', 'ok', 'x'), (3, 'pg_class', 'bad', 'x'), (4, 'pg_class', 'ok', 'a long one'), (5, 'pg_class', 'ok', 'x');
        INSERT INTO c SELECT i, i FROM generate_series(1, 5) i";
    let db = database("unreadable", schema, &[("t", "bin"), ("c", "bin")]).await;
    db.run(
        "DELETE FROM t; DROP TABLE named; ALTER TYPE mood RENAME VALUE 'bad' TO 'worse'; ALTER DOMAIN short ADD CHECK (length(value) < 5)",
    )
    .await;
    assert_eq!(
        db.rows("SELECT coalesce((\"row\").id::text, 'not ' || (other_columns ->> 'id')) FROM reprieve.deleted_v1(NULL::t) ORDER BY 1")
            .await,
        ["1", "5", "not 2", "not 3", "not 4"]
    );
    let deletion = last(&db).await;
    for mode in ["nocascade", "cascade", "replace"] {
        let preview = db
            .rows(&format!(
                "SELECT table_name, \"row\", restored, verdict FROM reprieve.preview_undelete_deletion_v1({deletion}, '{mode}')
                 ORDER BY table_name, \"row\" NULLS FIRST"
            ))
            .await;
        assert_eq!(
            preview,
            [
                "(all)||4|REFUSED",
                "public.c||2|INCOMPLETE",
                "public.c|(id)=(2)|0|CANNOT",
                "public.c|(id)=(3)|0|CANNOT",
                "public.c|(id)=(4)|0|CANNOT",
                "public.t||2|INCOMPLETE",
                "public.t|(id)=(2)|0|CANNOT",
                "public.t|(id)=(3)|0|CANNOT",
                "public.t|(id)=(4)|0|CANNOT",
            ],
            "{mode}"
        );
    }
    let unread = "3 deleted row(s) of the table were not looked at, as a value of them no longer fits it: SHOW DELETED has them in other_columns";
    let preview = "SELECT verdict, detail FROM reprieve.preview_undelete_where_v1('t', 'id = 5') WHERE table_name = '(all)'";
    assert_eq!(
        db.value(preview).await,
        format!(
            "INCOMPLETE|still in the bin, went with these rows: 1 row(s) of public.c; {unread}"
        )
    );
    assert_eq!(
        db.rows("SELECT what, rows FROM reprieve.erase_subject_v1('t', 'id = 1') WHERE what LIKE 'public.%'")
            .await,
        [
            "public.c|1".to_owned(),
            "public.t|1".to_owned(),
            format!("public.t: not looked at, as they no longer fit the table (deletions {deletion})|3"),
        ]
    );
    let lines = db
        .rows("SELECT restored, detail FROM reprieve.undelete_where_v1('t', 'id = 5', 'cascade')")
        .await;
    assert_eq!(
        lines.last().unwrap(),
        &format!("2|the same deletions took rows that were not kept, of public.c; {unread}")
    );
    assert_eq!(db.rows("SELECT id FROM t").await, ["5"]);
    assert_sound(&db).await;
}
