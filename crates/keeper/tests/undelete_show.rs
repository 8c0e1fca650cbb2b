//! What DBAs look at: deletions, tables, deleted rows, and whether all of it agrees.

mod support;
mod undelete_support;

use undelete_support::{assert_sound, content, database, delete, failure, last, mark, undelete};

const FAMILY: &str = "
    CREATE TABLE p(id int PRIMARY KEY, v text);
    CREATE TABLE c(id int PRIMARY KEY, p_id int REFERENCES p ON DELETE CASCADE, v text);
    CREATE SCHEMA \"S\"; CREATE TABLE \"S\".n(id int PRIMARY KEY, p_id int REFERENCES p ON DELETE SET NULL);
    INSERT INTO p SELECT i, 'p' || i FROM generate_series(1, 3) i;
    INSERT INTO c SELECT i, 1 + i % 3, 'c' || i FROM generate_series(1, 9) i;
    INSERT INTO \"S\".n SELECT i, 1 + i % 3 FROM generate_series(1, 6) i;";
const MARKED: &[(&str, &str)] = &[("p", "mark"), ("c", "mark"), ("\"S\".n", "mark")];

#[tokio::test]
async fn deletions_are_shown_newest_first_and_readable() {
    let db = database("shown", FAMILY, MARKED).await;
    db.run("SET reprieve.actor = 'alice'; SET reprieve.reason = 'ticket 7'; SET application_name = 'cleanup'").await;
    let first = delete(&db, "p", "id = 1").await;
    db.run("RESET reprieve.actor; RESET reprieve.reason").await;
    let second = delete(&db, "c", "id = 1").await;
    let columns = "SELECT id, role, application, client, actor, reason, tables, rows, restored, state, statement FROM reprieve.show_deletions";
    let line = |state: &str, restored: i64| {
        format!(
            "{first}|postgres|cleanup|127.0.0.1|alice|ticket 7|c 3, p 1, \"S\".n 2 references|4|{restored}|{state}|DELETE FROM p WHERE id = 1"
        )
    };
    let newer =
        format!("{second}|postgres|cleanup|127.0.0.1|||c 1|1|0|in bin|DELETE FROM c WHERE id = 1");
    assert_eq!(db.rows(columns).await, [newer.clone(), line("in bin", 0)]);
    undelete(&db, "where_v1('p', 'id = 1')").await;
    assert_eq!(
        db.rows(columns).await,
        [newer.clone(), line("partly restored", 1)]
    );
    undelete(&db, &format!("deletion_v1({first})")).await;
    assert_eq!(db.rows(columns).await, [newer, line("restored", 4)]);
}

#[tokio::test]
async fn tables_are_shown_with_what_lies_in_them() {
    let db = database("tables_shown", FAMILY, &[("p", "mark"), ("c", "bin")]).await;
    db.run("ANALYZE p; ANALYZE c").await;
    delete(&db, "p", "id = 1").await;
    let query = "SELECT schema, \"table\", mode, state, live_rows_estimate, tombstones, graveyard_rows, oldest_tombstone IS NOT NULL FROM reprieve.show_tables";
    assert_eq!(
        db.rows(query).await,
        [
            "public|c|bin|capturing|9|0|3|f",
            "public|p|mark|marking|2|1|0|t"
        ]
    );
    db.run("UPDATE reprieve.tables SET marking = false").await;
    assert_eq!(
        db.rows("SELECT state FROM reprieve.show_tables").await,
        ["capturing", "preparing"]
    );
    let buried = "SELECT deletion_id IS NOT NULL, buried, (\"row\").id, (\"row\").v FROM reprieve.buried_v1(NULL::p)";
    assert_eq!(db.rows(buried).await, ["t|tombstone|1|p1"]);
    let buried =
        "SELECT buried, (\"row\").id, (\"row\").p_id FROM reprieve.buried_v1(NULL::c) ORDER BY 2";
    assert_eq!(
        db.rows(buried).await,
        ["graveyard|3|1", "graveyard|6|1", "graveyard|9|1"]
    );
    let session = db.session().await;
    let (code, ..) = failure(&session, "SELECT * FROM reprieve.buried_v1(NULL::int)").await;
    assert_eq!(code, "42809");
}

#[tokio::test]
async fn deleted_rows_are_shown_with_what_no_longer_fits() {
    let db = database("deleted_shown", FAMILY, &[("p", "mark"), ("c", "bin")]).await;
    db.run("ALTER TABLE c ADD COLUMN old int; UPDATE c SET old = id")
        .await;
    delete(&db, "p", "id = 1").await;
    db.run("ALTER TABLE c DROP COLUMN old").await;
    let shown = |table: &str| {
        format!(
            "SELECT buried, (\"row\").id, other_columns FROM reprieve.deleted_v1(NULL::{table}) ORDER BY 2, 3::text"
        )
    };
    assert_eq!(db.rows(&shown("p")).await, ["tombstone|1|"]);
    assert_eq!(
        db.rows(&shown("c")).await,
        [
            "graveyard|3|{\"old\": \"3\"}",
            "graveyard|6|{\"old\": \"6\"}",
            "graveyard|9|{\"old\": \"9\"}"
        ]
    );
    // A value that its column does not take any more.
    db.run("ALTER TABLE c ALTER v TYPE int USING 0").await;
    assert_eq!(
        db.rows(&shown("c")).await[0],
        "graveyard||{\"v\": \"c3\", \"id\": \"3\", \"old\": \"3\", \"p_id\": \"1\"}"
    );
    let (code, ..) = failure(
        &db.session().await,
        "SELECT * FROM reprieve.deleted_v1(NULL::int)",
    )
    .await;
    assert_eq!(code, "42809");
}

/// Breaks one thing and expects it to be found; `undo` must make everything sound again.
async fn finds(db: &support::Database, sabotage: &str, expected: &str, undo: &str) {
    db.run(&format!(
        "SET session_replication_role = replica; {sabotage}; RESET session_replication_role"
    ))
    .await;
    let found = db
        .rows("SELECT severity, finding, table_name, count FROM reprieve.check_v1()")
        .await;
    assert!(
        found.contains(&expected.to_owned()),
        "{sabotage}: {found:?}"
    );
    db.run(&format!(
        "SET session_replication_role = replica; {undo}; RESET session_replication_role"
    ))
    .await;
    assert_sound(db).await;
}

#[tokio::test]
async fn check_finds_what_was_broken() {
    let db = database("checked", FAMILY, MARKED).await;
    let parent = delete(&db, "p", "id = 1").await;
    db.run("DELETE FROM c WHERE id = 1").await;
    let buried = last(&db).await;
    db.run("CREATE ROLE checked_app; GRANT SELECT, DELETE ON c TO checked_app")
        .await;
    db.run("SELECT reprieve.reconcile_v1()").await;
    assert_sound(&db).await;

    finds(&db, "UPDATE c SET deleted_at = NULL, deletion_id = NULL WHERE id = 3",
        "error|live rows under a deleted parent|public.c|1",
        &format!("UPDATE c SET deleted_at = p.deleted_at, deletion_id = {parent} FROM p WHERE p.id = 1 AND c.id = 3")).await;
    finds(
        &db,
        "UPDATE c SET p_id = 99 WHERE id = 2",
        "error|orphans|public.c|1",
        "UPDATE c SET p_id = 3 WHERE id = 2",
    )
    .await;
    finds(
        &db,
        "UPDATE p SET deletion_id = NULL WHERE id = 1",
        "error|rows half deleted|public.p|1",
        &format!("UPDATE p SET deletion_id = {parent} WHERE id = 1"),
    )
    .await;
    finds(
        &db,
        "UPDATE p SET deletion_id = 5 WHERE id = 1",
        "error|tombstones that no deletion in the ledger took|public.p|1",
        &format!("UPDATE p SET deletion_id = {parent} WHERE id = 1"),
    )
    .await;
    finds(
        &db,
        "UPDATE reprieve.graveyard SET deletion_id = 5",
        "error|graveyard rows that no deletion in the ledger took|public.c|1",
        &format!("UPDATE reprieve.graveyard SET deletion_id = {buried}"),
    )
    .await;
    finds(&db, &format!("UPDATE reprieve.deletion_tables SET rows = rows + 2 WHERE deletion_id = {parent} AND table_name = 'c'"),
        "error|the ledger counts other rows than there are|public.c|2",
        &format!("UPDATE reprieve.deletion_tables SET rows = rows - 2 WHERE deletion_id = {parent} AND table_name = 'c'")).await;
    finds(
        &db,
        "ALTER TABLE c DISABLE TRIGGER \"~reprieve_capture\"",
        "error|triggers missing or disabled|public.c|1",
        "ALTER TABLE c ENABLE TRIGGER \"~reprieve_capture\"",
    )
    .await;
    // Without event triggers nobody is told of these, nor does a reconciler look here.
    const SEEN: &str = "; RESET session_replication_role; SELECT reprieve.reconcile_v1()";
    finds(
        &db,
        "DROP TRIGGER \"~reprieve_evict\" ON c",
        "error|triggers missing or disabled|public.c|1",
        &format!("UPDATE reprieve.tables SET signature = NULL WHERE table_name = 'c' {SEEN}"),
    )
    .await;
    finds(
        &db,
        "DROP TRIGGER \"~reprieve_capture\" ON c;
         CREATE TRIGGER \"~reprieve_capture\" AFTER DELETE ON c FOR EACH STATEMENT EXECUTE FUNCTION reprieve.stay()",
        "error|triggers that are not as the keeper made them|public.c|1",
        &format!("UPDATE reprieve.tables SET signature = NULL WHERE table_name = 'c' {SEEN}"),
    )
    .await;
    finds(
        &db,
        "CREATE UNIQUE INDEX watched ON c (lower(v), id)",
        "error|keys that no trigger watches|public.c|1",
        &format!("SELECT 1 {SEEN}"),
    )
    .await;
    finds(
        &db,
        "ALTER TABLE c ADD CONSTRAINT again FOREIGN KEY (p_id) REFERENCES p NOT VALID",
        "error|foreign keys that changed since the triggers were made|public.p|1",
        &format!("SELECT 1 {SEEN}"),
    )
    .await;
    finds(&db, "REVOKE SELECT ON c FROM checked_app; REVOKE SELECT (deleted_at, deletion_id) ON c FROM checked_app",
        "error|roles that use the table cannot read our columns|public.c|1", "GRANT SELECT ON c TO checked_app").await;
    finds(
        &db,
        "GRANT UPDATE (deleted_at) ON c TO checked_app",
        "warning|our columns are granted for more than reading|public.c|1",
        "REVOKE UPDATE (deleted_at) ON c FROM checked_app",
    )
    .await;
}

/// The keeper of managed servers: a role that owns nothing but what it installs, and is a member of the owners.
#[tokio::test]
async fn a_keeper_that_is_no_superuser_restores() {
    let db = support::Database::new("plain").await;
    db.run("CREATE ROLE plain_owner LOGIN; CREATE ROLE plain_keeper_2 LOGIN CREATEROLE IN ROLE plain_owner; GRANT CREATE ON DATABASE plain TO plain_keeper_2;
            CREATE SCHEMA app AUTHORIZATION plain_owner").await;
    db.keeper_as("plain_keeper_2")
        .await
        .install()
        .await
        .unwrap();
    db.run("GRANT reprieve_admin TO plain_keeper_2; SET SESSION AUTHORIZATION plain_owner;
            CREATE TABLE app.p(id int PRIMARY KEY, v text); CREATE TABLE app.c(id int PRIMARY KEY, p_id int REFERENCES app.p ON DELETE CASCADE);
            CREATE FUNCTION app.touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'fired'; END $$;
            INSERT INTO app.p VALUES (1, 'x'); INSERT INTO app.c VALUES (1, 1);
            CREATE TRIGGER touch BEFORE INSERT ON app.c FOR EACH ROW EXECUTE FUNCTION app.touch();
            SET SESSION AUTHORIZATION plain_keeper_2;
            SELECT reprieve.enable_v1('app.p', 'mark'); SELECT reprieve.enable_v1('app.c', 'bin'); SELECT reprieve.advance_v1();
            RESET SESSION AUTHORIZATION").await;
    let before = content(&db, &["app.p", "app.c"]).await;
    db.run(&format!(
        "SET SESSION AUTHORIZATION plain_owner; {}",
        mark("app.p", "p.id = 1").replace("app.p.deleted_at", "p.deleted_at")
    ))
    .await;
    db.run("SET SESSION AUTHORIZATION plain_keeper_2").await;
    let deletion = last(&db).await;
    let lines = undelete(&db, &format!("deletion_v1({deletion})")).await;
    assert_eq!(lines.last().unwrap(), "(all)|2|0|0|COMPLETE");
    assert_eq!(content(&db, &["app.p", "app.c"]).await, before);
    assert_sound(&db).await;
}
