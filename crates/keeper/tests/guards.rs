//! Guards and budgets: what is over a limit does not happen, whichever way it comes.

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
use undelete_support::{assert_sound, blocked, content, database, failure, mark, pid, rows};

const FAMILY: &str = "
    CREATE TABLE p (id int PRIMARY KEY, v text);
    CREATE TABLE c (id int PRIMARY KEY, p_id int REFERENCES p ON DELETE CASCADE);
    CREATE INDEX ON c (p_id);
    INSERT INTO p SELECT i, 'p' || i FROM generate_series(1, 200) i;
    INSERT INTO c SELECT i, 1 + i % 200 FROM generate_series(1, 800) i;";
const MODES: &[&[(&str, &str)]] = &[
    &[("p", "mark"), ("c", "mark")],
    &[("p", "mark"), ("c", "bin")],
    &[("p", "bin"), ("c", "mark")],
    &[("p", "bin"), ("c", "bin")],
];

/// A DELETE as the proxy sends it for a table of this mode.
fn delete(mode: &str, table: &str, condition: &str) -> String {
    if mode == "mark" {
        mark(table, condition)
    } else {
        format!("DELETE FROM {table} WHERE {condition}")
    }
}

async fn ledger(db: &Database) -> String {
    db.value("SELECT count(*), coalesce(sum(rows), 0) FROM reprieve.deletions d JOIN reprieve.deletion_tables t ON t.deletion_id = d.id")
        .await
}

/// A role that may do everything with these tables, but is no superuser.
async fn client(db: &Database, role: &str) -> Client {
    db.run(&format!(
        "DO $$ BEGIN CREATE ROLE {role} LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$;
         GRANT ALL ON ALL TABLES IN SCHEMA public TO {role}"
    ))
    .await;
    db.session_as(role).await
}

/// RV001, with this in its message.
async fn held(client: &Client, sql: &str, message: &str) -> String {
    let error = client.simple_query(sql).await.expect_err(sql);
    let error = error.as_db_error().expect("an error of the server");
    assert_eq!(error.code().code(), "RV001", "{sql}: {error:?}");
    assert!(
        error.message().contains(message),
        "{sql}: {}",
        error.message()
    );
    let hint = error.hint().unwrap_or_default();
    assert!(
        hint.contains("GUARD") && hint.contains("REQUEST DELETION FROM"),
        "{hint}"
    );
    error.detail().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn what_is_over_the_limit_does_not_happen_and_cascades_count() {
    for (number, modes) in MODES.iter().enumerate() {
        let db = database(&format!("guarded_{number}"), FAMILY, modes).await;
        let session = db.session().await;
        let mode = modes[0].1;
        let before = content(&db, &["p", "c"]).await;
        db.run("SELECT reprieve.guard_v1('p', max_rows => 25)")
            .await;
        // Six rows with four children each.
        let told = held(
            &session,
            &delete(mode, "p", "id <= 6"),
            "30 rows in one statement, and the guard on public.p allows 25",
        )
        .await;
        assert!(
            told.contains("public.c 24") && told.contains("public.p 6"),
            "{told}"
        );
        held(&session, "DELETE FROM p WHERE id <= 30", "public.p").await;
        session
            .batch_execute(
                "CREATE FUNCTION wipe() RETURNS void LANGUAGE sql AS 'DELETE FROM p WHERE id <= 9'",
            )
            .await
            .unwrap();
        if mode == "bin" {
            held(&session, "SELECT wipe()", "public.p").await;
        }
        held(&session, "TRUNCATE p, c", "200 rows").await;
        assert_eq!(content(&db, &["p", "c"]).await, before);
        assert_eq!(ledger(&db).await, "0|0");
        // A statement that fails within a transaction takes the transaction along, or a savepoint.
        session.batch_execute("BEGIN; SAVEPOINT s").await.unwrap();
        held(&session, &delete(mode, "p", "true"), "public.p").await;
        session.batch_execute("ROLLBACK TO s").await.unwrap();
        session
            .batch_execute(&format!("{}; COMMIT", delete(mode, "p", "id <= 5")))
            .await
            .unwrap();
        assert_eq!(ledger(&db).await, "2|25");
        // A guard on the child holds what a cascade takes of it.
        db.run("SELECT reprieve.unguard_v1('p'), reprieve.guard_v1('c', max_rows => 4)")
            .await;
        held(
            &session,
            &delete(mode, "p", "id = 10"),
            "5 rows in one statement, and the guard on public.c allows 4",
        )
        .await;
        assert_eq!(ledger(&db).await, "2|25");
        assert_sound(&db).await;
    }
}

#[tokio::test]
async fn a_transaction_is_counted_as_a_whole() {
    for (name, mode) in [("whole_mark", "mark"), ("whole_bin", "bin")] {
        let db = database(name, FAMILY, &[("p", mode), ("c", mode)]).await;
        let session = db.session().await;
        db.run("SELECT reprieve.guard_v1('p', per => 'transaction', max_rows => 12)")
            .await;
        let one = |id: i32| delete(mode, "p", &format!("id = {id}"));
        session
            .batch_execute(&format!(
                "BEGIN; {}; {}; SAVEPOINT s; DELETE FROM c WHERE id > 700",
                one(1),
                one(2)
            ))
            .await
            .unwrap();
        held(
            &session,
            &one(3),
            "15 rows in one transaction, and the guard on public.p allows 12",
        )
        .await;
        // What is rolled back does not count any more.
        session.batch_execute("ROLLBACK").await.unwrap();
        session
            .batch_execute(&format!(
                "BEGIN; SAVEPOINT s; {}; ROLLBACK TO s; {}; {}; COMMIT; BEGIN; {}; {}; COMMIT",
                one(1),
                one(1),
                one(2),
                one(3),
                one(4)
            ))
            .await
            .unwrap();
        for isolation in ["REPEATABLE READ", "SERIALIZABLE"] {
            session
                .batch_execute(&format!(
                    "BEGIN ISOLATION LEVEL {isolation}; {}; {}",
                    one(5),
                    one(6)
                ))
                .await
                .unwrap();
            held(&session, &one(7), "15 rows in one transaction").await;
            session.batch_execute("ROLLBACK").await.unwrap();
        }
        // In pieces, one by one, is no way around it.
        session.batch_execute("BEGIN").await.unwrap();
        for id in 201..=212 {
            session
                .batch_execute(&format!("INSERT INTO p VALUES ({id}); {}", one(id)))
                .await
                .unwrap();
        }
        session
            .batch_execute("INSERT INTO p VALUES (213)")
            .await
            .unwrap();
        held(&session, &one(213), "13 rows in one transaction").await;
        session.batch_execute("ROLLBACK").await.unwrap();
        // Nor is a forged number.
        session
            .batch_execute(&format!(
                "BEGIN; SET LOCAL reprieve.depth = '5'; SELECT set_config('reprieve.deletion', pg_current_xact_id() || '000900', true); {}",
                one(5)
            ))
            .await
            .unwrap();
        for (number, id, fits) in [("000800", 6, true), ("000700", 7, false)] {
            let forge = format!(
                "SAVEPOINT f; SELECT set_config('reprieve.deletion', pg_current_xact_id() || '{number}', true)"
            );
            session.batch_execute(&forge).await.unwrap();
            if fits {
                session.batch_execute(&one(id)).await.unwrap();
            } else {
                held(&session, &one(id), "15 rows in one transaction").await;
            }
        }
        session.batch_execute("ROLLBACK").await.unwrap();
        assert_sound(&db).await;
    }
}

#[tokio::test]
async fn a_share_of_the_table_is_a_share_of_what_is_there() {
    for (name, mode) in [("share_mark", "mark"), ("share_bin", "bin")] {
        let db = database(name, FAMILY, &[("p", mode), ("c", mode)]).await;
        let session = db.session().await;
        db.run("ANALYZE; SELECT reprieve.guard_v1('p', max_share => 10)")
            .await;
        held(
            &session,
            &delete(mode, "p", "id <= 21"),
            "21 rows of public.p in one statement, and its guard allows 10 % of the table",
        )
        .await;
        // 20 of 200, then 18 of 180, and the 20 that lie in the bin do not count.
        for (condition, fits) in [
            ("id <= 20", true),
            ("id <= 39", false),
            ("id <= 38", true),
            ("id > 150", false),
        ] {
            let sql = delete(mode, "p", condition);
            if fits {
                session.batch_execute(&sql).await.unwrap();
            } else {
                held(&session, &sql, "public.p").await;
            }
        }
        held(
            &session,
            "TRUNCATE p, c",
            "its guard allows 10 % of the table",
        )
        .await;
        held(
            &session,
            "DROP TABLE p CASCADE",
            "DROP of public.p (162 rows), and its guard allows 10 % of the table",
        )
        .await;
        assert_sound(&db).await;
    }
}

/// What the server knows of the size of a table counts tombstones as rows.
#[tokio::test]
async fn a_share_is_one_of_live_rows_however_many_tombstones_there_are() {
    let db = database(
        "share_crowded",
        "CREATE TABLE jobs (id int PRIMARY KEY);
         INSERT INTO jobs SELECT generate_series(1, 5000)",
        &[("jobs", "mark")],
    )
    .await;
    let session = db.session().await;
    session
        .batch_execute(&delete("mark", "jobs", "id > 4"))
        .await
        .unwrap();
    db.run("SELECT reprieve.guard_v1('jobs', max_share => 50); ANALYZE jobs; SELECT reprieve.monitor_table_v1('jobs'::regclass)")
        .await;
    held(
        &session,
        &delete("mark", "jobs", "id <= 3"),
        "3 rows of public.jobs",
    )
    .await;
    session
        .batch_execute(&delete("mark", "jobs", "id = 1"))
        .await
        .unwrap();
    // With as many live rows as before, it need not be looked at closely any more.
    session
        .batch_execute("INSERT INTO jobs SELECT generate_series(10001, 15000)")
        .await
        .unwrap();
    assert_eq!(db.value("SELECT count(*) FROM reprieve.crowded").await, "1");
    db.run("SELECT reprieve.monitor_table_v1('jobs'::regclass)")
        .await;
    assert_eq!(db.value("SELECT count(*) FROM reprieve.crowded").await, "0");
    assert_sound(&db).await;
}

#[tokio::test]
async fn a_delete_without_a_condition_is_told_by_its_text_and_by_what_it_took() {
    for (name, mode) in [("where_mark", "mark"), ("where_bin", "bin")] {
        let db = database(name, FAMILY, &[("p", mode), ("c", mode)]).await;
        let session = db.session().await;
        db.run("DELETE FROM c; SELECT reprieve.guard_v1(no_where => 'refuse')")
            .await;
        for condition in [
            "true",
            "1 = 1",
            "NOT false",
            "v LIKE '%a%' OR v NOT LIKE '%a%'",
            "id IS NULL OR (id IS NOT NULL)",
            "id = id",
            "id < 5 OR id >= 5",
            "(true) /* AND id = 1 */ -- AND id = 1",
            "'x' = 'x' AND 2 > 1",
            // Nothing in the text says so.
            "id > (SELECT 0)",
            "id > 3",
        ] {
            let sql = delete(mode, "p", &format!("{condition}\n"));
            held(&session, &sql, "all rows of public.p").await;
        }
        held(&session, "DELETE FROM p", "all rows of public.p (200)").await;
        if mode == "mark" {
            // As it is sent while the table is not marked yet: the condition is ours.
            for sql in [
                "DELETE FROM p WHERE p.deleted_at IS NULL",
                "DELETE FROM public.p AS x WHERE x.deleted_at IS NULL AND (true) RETURNING 1",
            ] {
                held(&session, sql, "all rows of public.p (200)").await;
            }
        }
        held(
            &session,
            "WITH gone AS (DELETE FROM public.p AS x RETURNING *) SELECT count(*) FROM gone",
            "all rows of public.p (200)",
        )
        .await;
        for sql in [
            delete(mode, "p", "id <= 100"),
            delete(mode, "p", "1 = 1 AND id = 150"),
            delete(mode, "p", "v LIKE '%7' OR v NOT LIKE 'p%'"),
            delete(mode, "p", "1 = 2"),
            // Neither half is the denial of the other.
            delete(
                mode,
                "p",
                "NOT id = 161 AND id IN (161, 162, 163) OR id = 161 AND id IN (161, 162, 163)",
            ),
            delete(
                mode,
                "p",
                "id <> 151 AND id IN (151, 152, 153) OR id = 151 AND id IN (151, 152, 153)",
            ),
            delete(
                mode,
                "p",
                "id IN (SELECT n FROM generate_series(154, 156) n WHERE n <> 155) \
                 OR id IN (SELECT n FROM generate_series(154, 156) n WHERE n = 155)",
            ),
        ] {
            session.batch_execute(&sql).await.unwrap();
        }
        // Few rows, but all there are.
        session
            .batch_execute(&delete(mode, "p", "id > 110 AND true"))
            .await
            .unwrap();
        held(&session, "DELETE FROM ONLY p;", "all rows of public.p (9)").await;
        db.run("SELECT reprieve.unguard_v1()").await;
        session.batch_execute("DELETE FROM p").await.unwrap();
        assert_sound(&db).await;
    }
}

#[tokio::test]
async fn truncate_and_drop_are_refused() {
    let db = database("no_truncate", FAMILY, &[("p", "mark"), ("c", "bin")]).await;
    let session = db.session().await;
    db.run("SELECT reprieve.guard_v1('c', on_truncate => 'refuse', on_drop => 'refuse')")
        .await;
    let before = content(&db, &["p", "c"]).await;
    for sql in ["TRUNCATE c", "TRUNCATE p CASCADE"] {
        held(
            &session,
            sql,
            "TRUNCATE of public.c (800 rows), and its guard refuses that",
        )
        .await;
    }
    for sql in [
        "DROP TABLE c",
        "DROP TABLE p, c",
        "DROP SCHEMA public CASCADE",
    ] {
        held(
            &session,
            sql,
            "DROP of public.c (800 rows), and its guard refuses that",
        )
        .await;
    }
    assert_eq!(content(&db, &["p", "c"]).await, before);
    // A name in a comment drops nothing.
    session
        .batch_execute("CREATE TABLE other (x int); DROP TABLE other /* drop table c */")
        .await
        .unwrap();
    db.run("SELECT reprieve.guard_v1('c', on_truncate => 'allow', on_drop => 'allow')")
        .await;
    session
        .batch_execute("TRUNCATE c; DROP TABLE c")
        .await
        .unwrap();
    db.run("SELECT reprieve.guard_v1('p', max_rows => 10)")
        .await;
    held(
        &session,
        "DROP TABLE p",
        "DROP of public.p (200 rows), and its guard allows 10 rows with one statement",
    )
    .await;
    assert_sound(&db).await;
}

#[tokio::test]
async fn a_guard_holds_for_a_role_and_for_those_in_it_whatever_they_set() {
    let db = database("roles", FAMILY, &[("p", "mark"), ("c", "bin")]).await;
    let agent = client(&db, "guard_agent").await;
    let clerk = client(&db, "guard_clerk").await;
    db.run(
        "DO $$ BEGIN CREATE ROLE guard_agents; EXCEPTION WHEN duplicate_object THEN NULL; END $$;
         GRANT guard_agents TO guard_agent; GRANT guard_agents TO guard_clerk WITH ADMIN OPTION; REVOKE guard_agents FROM guard_clerk;
         SELECT reprieve.guard_v1('p', for_role => 'guard_agents', max_rows => 5)",
    )
    .await;
    let two = mark("p", "id <= 2");
    held(&agent, &two, "the guard on public.p allows 5").await;
    for setting in [
        "reprieve.role = 'postgres'",
        "reprieve.depth = '7'",
        "reprieve.statement = ''",
        "reprieve.deletion = '1000001'",
        "reprieve.last = '1000001'",
        "reprieve.max_rows = '1000000'",
        "reprieve.reconciling = '1'",
        "application_name = 'psql'",
    ] {
        let name = setting.split(' ').next().unwrap();
        held(
            &agent,
            &format!("SET {setting}; {two}; RESET {name}"),
            "public.p",
        )
        .await;
        agent.batch_execute(&format!("RESET {name}")).await.unwrap();
    }
    // Who is in the role but for the moment, is.
    let dba = db.session().await;
    held(&dba, &format!("SET ROLE guard_agent; {two}"), "allows 5").await;
    dba.batch_execute("RESET ROLE").await.unwrap();
    clerk.batch_execute(&two).await.unwrap();
    dba.batch_execute(&mark("p", "id IN (3, 4)")).await.unwrap();
    assert_sound(&db).await;
}

#[tokio::test]
async fn the_most_special_guard_counts() {
    let db = database("special", FAMILY, &[("p", "mark"), ("c", "mark")]).await;
    let agent = client(&db, "special_agent").await;
    let clerk = client(&db, "special_clerk").await;
    // As a sidecar stores its configuration.
    db.run(
        "INSERT INTO reprieve.settings VALUES ('guards.max_rows', '3'), ('guards.no_where', '');",
    )
    .await;
    held(
        &clerk,
        &mark("p", "id = 1"),
        "5 rows in one statement, and the guard on public.",
    )
    .await;
    db.run("UPDATE reprieve.settings SET value = '' WHERE key = 'guards.max_rows'")
        .await;
    clerk.batch_execute(&mark("p", "id = 1")).await.unwrap();
    db.run(
        "SELECT reprieve.guard_v1(max_rows => 4), reprieve.guard_v1('p', max_rows => 10), reprieve.guard_v1('p', for_role => 'special_agent', max_rows => 5)",
    )
    .await;
    // Of c it is the one on all tables.
    held(
        &clerk,
        &mark("p", "id = 2"),
        "the guard on public.c allows 4",
    )
    .await;
    db.run("SELECT reprieve.guard_v1('c', max_rows => 9223372036854775807)")
        .await;
    clerk.batch_execute(&mark("p", "id = 2")).await.unwrap();
    held(
        &agent,
        &mark("p", "id IN (3, 4)"),
        "10 rows in one statement, and the guard on public.p allows 5",
    )
    .await;
    clerk
        .batch_execute(&mark("p", "id IN (3, 4)"))
        .await
        .unwrap();
    clerk
        .batch_execute("SET reprieve.max_rows = 4")
        .await
        .unwrap();
    held(
        &clerk,
        &mark("p", "id = 5"),
        "5 rows in one statement, and this session allows itself 4",
    )
    .await;
    assert_eq!(
        db.value("SELECT string_agg(concat_ws(' ', \"table\", role, max_rows), ', ') FROM reprieve.show_guards").await,
        "(all) (all) 4, public.c (all) none, public.p (all) 10, public.p special_agent 5"
    );
    assert_eq!(
        failure(&clerk, "SELECT reprieve.guard_v1(max_rows => 4)")
            .await
            .0,
        "42501"
    );
    for (call, code) in [
        ("unguard_v1('c', 'special_agent')", "P0002"),
        ("guard_v1('c')", "22023"),
        ("guard_v1('c', 'nobody_at_all', max_rows => 1)", "42704"),
        ("guard_v1('pg_class', max_rows => 1)", "55000"),
        ("guard_v1('c', max_share => 500)", "22023"),
        ("budget_v1('special_agent', 1, '0')", "22023"),
        (
            "budget_v1('special_agent', 1, '1 h', max_tables => 0)",
            "22023",
        ),
    ] {
        assert_eq!(
            failure(&db.session().await, &format!("SELECT reprieve.{call}"))
                .await
                .0,
            code,
            "{call}"
        );
    }
    assert_sound(&db).await;
}

#[tokio::test]
async fn partitions_are_their_root() {
    let schema = "CREATE TABLE t (id int, day int, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
        CREATE TABLE t1 PARTITION OF t FOR VALUES FROM (0) TO (10);
        CREATE TABLE t2 PARTITION OF t FOR VALUES FROM (10) TO (20);
        INSERT INTO t SELECT i, i % 20 FROM generate_series(1, 200) i";
    let db = database("parts", schema, &[("t", "bin")]).await;
    let session = db.session().await;
    db.run("SELECT reprieve.guard_v1('t', max_rows => 30, max_share => 10)")
        .await;
    held(
        &session,
        "DELETE FROM t WHERE id <= 31",
        "31 rows in one statement, and the guard on public.t allows 30",
    )
    .await;
    held(
        &session,
        "DELETE FROM t1 WHERE id <= 60",
        "30 rows of public.t in one statement, and its guard allows 10 %",
    )
    .await;
    session
        .batch_execute("DELETE FROM t WHERE id <= 20")
        .await
        .unwrap();
    db.run("CREATE TABLE t3 PARTITION OF t FOR VALUES FROM (20) TO (30); INSERT INTO t SELECT i, 25 FROM generate_series(1, 40) i;
            SELECT reprieve.reconcile_v1(true)")
        .await;
    held(
        &session,
        "DELETE FROM t3 WHERE id <= 31",
        "31 rows in one statement",
    )
    .await;
    assert_sound(&db).await;
}

#[tokio::test]
async fn a_guard_that_is_not_committed_holds_nobody_else() {
    let db = database("open_guard", FAMILY, &[("p", "mark"), ("c", "mark")]).await;
    let (dba, other, session) = (db.session().await, db.session().await, db.session().await);
    session
        .batch_execute(&format!("BEGIN; {}", mark("p", "id = 1")))
        .await
        .unwrap();
    // Nobody waits for the deletion under way.
    dba.batch_execute(
        "SET lock_timeout = '5s'; BEGIN; SELECT reprieve.guard_v1('p', max_rows => 2)",
    )
    .await
    .unwrap();
    held(
        &dba,
        &format!("SAVEPOINT s; {}", mark("p", "id = 2")),
        "public.p",
    )
    .await;
    dba.batch_execute("ROLLBACK TO s").await.unwrap();
    session
        .batch_execute(&format!("{}; COMMIT", mark("p", "id = 3")))
        .await
        .unwrap();
    let id = pid(&other).await;
    let second = tokio::spawn(async move {
        other
            .batch_execute("SELECT reprieve.guard_v1('c', max_rows => 3)")
            .await
            .unwrap();
    });
    blocked(&db, &id).await;
    dba.batch_execute("COMMIT").await.unwrap();
    second.await.unwrap();
    // Both hold.
    held(&session, &mark("p", "id = 4"), "allows").await;
    held(
        &session,
        &mark("c", "id <= 20"),
        "the guard on public.c allows 3",
    )
    .await;
    db.run("SELECT reprieve.unguard_v1('p')").await;
    held(
        &session,
        &mark("p", "id = 4"),
        "the guard on public.c allows 3",
    )
    .await;
    assert_eq!(
        failure(
            &db.session().await,
            "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT reprieve.guard_v1('c', max_rows => 3)"
        )
        .await
        .0,
        "25000"
    );
    assert_eq!(
        rows(
            &session,
            "SELECT count(*) FROM reprieve.acts WHERE verb IN ('guard', 'unguard')"
        )
        .await,
        ["3"]
    );
    assert_sound(&db).await;
}
