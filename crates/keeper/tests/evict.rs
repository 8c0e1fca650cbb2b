//! Tombstones make room: with what hangs on them, and after schema changes.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot set itself up must fail"
)]

mod support;

use support::Database;

async fn enabled(name: &str, schema: &str) -> Database {
    let database = Database::new(name).await;
    database.keeper().await.install().await.unwrap();
    database
        .run("INSERT INTO reprieve.settings VALUES ('tables.enable', '*.*')")
        .await;
    database.run(schema).await;
    // As a sidecar does behind a message with several statements.
    database.run("SELECT reprieve.reconcile_v1(false)").await;
    database
}

fn mark(table: &str) -> String {
    format!(
        "UPDATE {table} SET deleted_at = now(), deletion_id = (SELECT reprieve.begin_deletion_v1('')) WHERE deleted_at IS NULL"
    )
}

async fn buried(database: &Database) -> Vec<String> {
    let sql = "SELECT table_name, cause, count(*) FROM reprieve.graveyard GROUP BY 1, 2 ORDER BY 1";
    database.rows(sql).await
}

#[tokio::test]
async fn tombstones_that_refer_to_each_other_in_a_circle() {
    let database = enabled(
        "evict_circle",
        "CREATE TABLE t (id int PRIMARY KEY, key text UNIQUE, other int REFERENCES t);
         INSERT INTO t VALUES (1, 'a', NULL), (2, 'b', 1); UPDATE t SET other = 2 WHERE id = 1;
         CREATE TABLE a (id int PRIMARY KEY, b int); CREATE TABLE b (id int PRIMARY KEY, a int REFERENCES a);
         ALTER TABLE a ADD FOREIGN KEY (b) REFERENCES b;
         INSERT INTO a VALUES (1, NULL); INSERT INTO b VALUES (1, 1); UPDATE a SET b = 1",
    )
    .await;
    database.run(&mark("t")).await;
    database.run("INSERT INTO t VALUES (3, 'a', NULL)").await;
    assert_eq!(buried(&database).await, ["t|evict|2"]);
    database
        .run(&format!("WITH gone AS ({}) {}", mark("a"), mark("b")))
        .await;
    database.run("INSERT INTO b VALUES (1, NULL)").await;
    assert_eq!(
        buried(&database).await,
        ["a|evict|1", "b|evict|1", "t|evict|2"]
    );
    assert_eq!(
        database
            .rows("SELECT finding FROM reprieve.check_v1()")
            .await,
        Vec::<String>::new()
    );
}

#[tokio::test]
async fn a_long_chain_of_tombstones() {
    let database = enabled(
        "evict_chain",
        "CREATE TABLE t (id int PRIMARY KEY, previous int REFERENCES t); CREATE INDEX ON t (previous);
         INSERT INTO t SELECT i, nullif(i - 1, 0) FROM generate_series(1, 2000) AS i",
    )
    .await;
    database.run(&mark("t")).await;
    database.run("INSERT INTO t VALUES (1, NULL)").await;
    assert_eq!(buried(&database).await, ["t|evict|2000"]);
    assert_eq!(database.rows("SELECT * FROM t").await, ["1|||"]);
}

#[tokio::test]
async fn names_of_which_only_the_end_differs() {
    let name = "x".repeat(60);
    let database = enabled(
        "evict_names",
        &format!(
            "CREATE TABLE {name}_1 (id int PRIMARY KEY); CREATE TABLE {name}_2 (id int PRIMARY KEY)"
        ),
    )
    .await;
    assert_eq!(
        database
            .rows("SELECT mode, marking FROM reprieve.tables")
            .await,
        ["mark|t", "mark|t"]
    );
    database
        .run(&format!("ALTER TABLE {name}_1 RENAME TO y"))
        .await;
    let indexes =
        "SELECT count(*) FROM pg_class WHERE relkind = 'i' AND relname LIKE 'reprieve_deletion_%'";
    assert_eq!(database.rows(indexes).await, ["2"]);
}

#[tokio::test]
async fn sessions_that_inserted_before_a_key_changed_its_type_go_on() {
    let database = enabled(
        "evict_types",
        "CREATE TABLE p (id int PRIMARY KEY); CREATE TABLE t (id int PRIMARY KEY, year int NOT NULL, slug text, p int REFERENCES p, UNIQUE (year, slug))",
    )
    .await;
    let session = database.session().await;
    let insert = |values| {
        format!(
            "INSERT INTO p VALUES ({values}); INSERT INTO t VALUES ({values}, {values}, 'a', {values})"
        )
    };
    session.batch_execute(&insert(1)).await.unwrap();
    database
        .run("ALTER TABLE t ALTER year TYPE bigint; ALTER TABLE t ALTER p TYPE bigint; ALTER TABLE p ALTER id TYPE numeric")
        .await;
    session.batch_execute(&insert(2)).await.unwrap();
    session
        .batch_execute("UPDATE t SET year = 7, p = 1 WHERE id = 2")
        .await
        .unwrap();
}

#[tokio::test]
async fn new_constraints_and_types_judge_live_rows_only() {
    let database = enabled(
        "evict_judges",
        "CREATE TABLE t (id int PRIMARY KEY, a int, v text);
         CREATE TABLE kid (id int PRIMARY KEY, t_id int REFERENCES t DEFERRABLE INITIALLY DEFERRED);
         CREATE TABLE late (id int PRIMARY KEY, t_id int);
         INSERT INTO t VALUES (1, 1, 'x'), (2, 1, '2'), (3, 3, '3'); INSERT INTO kid VALUES (1, 1), (2, 3); INSERT INTO late VALUES (1, 1)",
    )
    .await;
    database
        .run("WITH k AS (UPDATE kid SET deleted_at = now(), deletion_id = (SELECT reprieve.begin_deletion_v1('')) WHERE id = 1)
              UPDATE t SET deleted_at = now(), deletion_id = (SELECT reprieve.begin_deletion_v1('')) WHERE id = 1")
        .await;
    database.run("ALTER TABLE t ADD UNIQUE (a)").await;
    assert_eq!(buried(&database).await, ["kid|evict|1", "t|evict|1"]);
    database.run(&format!("{} AND id = 2", mark("t"))).await;
    database
        .run("ALTER TABLE t ADD CHECK (a > 2), ALTER v TYPE int USING v::int; CREATE UNIQUE INDEX ON t (v)")
        .await;
    assert_eq!(buried(&database).await, ["kid|evict|1", "t|evict|2"]);
    let session = database.session().await;
    let orphan = session
        .batch_execute("ALTER TABLE late ADD FOREIGN KEY (t_id) REFERENCES t")
        .await
        .unwrap_err();
    assert_eq!(orphan.as_db_error().unwrap().code().code(), "23503");
}

#[tokio::test]
async fn a_publication_of_all_tables_stops_nothing() {
    let database = enabled(
        "evict_published",
        "CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE kid (id int PRIMARY KEY, t_id int REFERENCES t ON DELETE SET NULL);
         INSERT INTO t VALUES (1), (2); INSERT INTO kid VALUES (1, 1), (2, 2)",
    )
    .await;
    database.run(&format!("{} AND id = 1", mark("t"))).await;
    database
        .run("CREATE PUBLICATION everything FOR ALL TABLES; DELETE FROM t WHERE id = 2")
        .await;
    let undelete = "SELECT restored FROM reprieve.undelete_since_v1(now() - interval '1 day', NULL, NULL) WHERE table_name = 'public.t'";
    assert_eq!(database.rows(undelete).await, ["2"]);
    let without = "SELECT relname FROM pg_class c WHERE relnamespace = 'reprieve'::regnamespace AND relkind = 'r' AND relpersistence = 'p'
        AND relreplident <> 'f' AND NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary)";
    assert_eq!(database.rows(without).await, Vec::<String>::new());
}

/// Our functions spell the names of operators, functions and values: an INSERT must not fail because one has another name now.
#[tokio::test]
async fn keys_follow_what_they_are_made_with() {
    let database = enabled(
        "evict_renames",
        "CREATE SCHEMA x; CREATE EXTENSION citext SCHEMA x; CREATE TYPE st AS ENUM ('active', 'old');
         CREATE FUNCTION norm(text) RETURNS text IMMUTABLE LANGUAGE sql AS 'SELECT lower($1)';
         CREATE TABLE t (id int PRIMARY KEY, u int, s st, c x.citext UNIQUE);
         CREATE UNIQUE INDEX ON t (u) WHERE s = 'active';",
    )
    .await;
    for (number, change) in [
        "ALTER TYPE st RENAME VALUE 'active' TO 'live'",
        "ALTER TYPE st RENAME TO state",
        "ALTER SCHEMA x RENAME TO y",
        "ALTER EXTENSION citext SET SCHEMA public",
    ]
    .into_iter()
    .enumerate()
    {
        database.run(change).await;
        database
            .run(&format!(
                "INSERT INTO t VALUES ({number}, 1, 'old', 'c{number}'); UPDATE t SET u = u + 1"
            ))
            .await;
        assert_eq!(
            database
                .value("SELECT count(*) FROM reprieve.check_v1()")
                .await,
            "0",
            "{change}"
        );
    }
}
