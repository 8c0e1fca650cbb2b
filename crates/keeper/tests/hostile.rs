//! Clients that forge our settings, owners whose code a cascade would run, and a TRUNCATE too large to keep.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot set itself up must fail"
)]

mod support;
mod undelete_support;

use undelete_support::{assert_sound, database, failure, mark};

const FAMILY: &str = "CREATE TABLE p(id int PRIMARY KEY);
    CREATE TABLE c(id int PRIMARY KEY, p int REFERENCES p ON DELETE CASCADE);
    INSERT INTO p SELECT generate_series(1, 4);
    INSERT INTO c SELECT n, 1 + n % 4 FROM generate_series(1, 12) AS n";

const ORPHANS: &str = "SELECT count(*) FROM c JOIN p ON p.id = c.p WHERE c.deleted_at IS NULL AND p.deleted_at IS NOT NULL";

async fn client_of(db: &support::Database, role: &str) -> tokio_postgres::Client {
    db.run(&format!(
        "DROP ROLE IF EXISTS {role}; CREATE ROLE {role} LOGIN; GRANT ALL ON ALL TABLES IN SCHEMA public TO {role}"
    ))
    .await;
    let session = db.session().await;
    session
        .batch_execute(&format!("SET ROLE {role}"))
        .await
        .unwrap();
    session
}

#[tokio::test]
async fn forged_settings_leave_no_child_behind_and_no_deletion_out_of_the_ledger() {
    let db = database("forged", FAMILY, &[("p", "mark"), ("c", "mark")]).await;
    let session = client_of(&db, "forger").await;
    let settings = [
        ("reprieve.depth", "5"),
        ("reprieve.depth", "x"),
        ("reprieve.following", "1"),
        ("reprieve.deletion", "7000001"),
    ];
    for (id, (name, value)) in (1..).zip(settings) {
        let delete = mark("p", &format!("id = {id}"));
        session
            .batch_execute(&format!("SET {name} = '{value}'; {delete}; RESET {name}"))
            .await
            .unwrap();
        assert_eq!(db.rows(ORPHANS).await, ["0"], "{name} = {value}");
        let counted = "SELECT sum(rows) FROM reprieve.deletion_tables";
        assert_eq!(db.rows(counted).await, [(4 * id).to_string()], "{name}");
    }
    assert_sound(&db).await;
}

#[tokio::test]
async fn an_id_that_changes_while_rows_are_marked_is_an_error() {
    let db = database("astray", FAMILY, &[("p", "mark"), ("c", "mark")]).await;
    let session = client_of(&db, "strayer").await;
    let delete = mark(
        "p",
        "id <= 2 AND pg_catalog.set_config('reprieve.deletion', '', true) = ''",
    );
    assert_eq!(failure(&session, &delete).await.0, "RV002");
    assert_eq!(db.rows(ORPHANS).await, ["0"]);
    assert_sound(&db).await;
}

#[tokio::test]
async fn rows_of_one_statement_are_counted_once() {
    let db = database("siblings", FAMILY, &[("p", "mark"), ("c", "mark")]).await;
    db.run(&format!(
        "WITH a AS ({} RETURNING 1), b AS ({} RETURNING 1) SELECT FROM a, b",
        mark("c", "id = 4"),
        mark("p", "id = 1")
    ))
    .await;
    let counted = "SELECT table_name, rows FROM reprieve.deletion_tables ORDER BY 1";
    assert_eq!(db.rows(counted).await, ["c|3", "p|1"]);
    assert_sound(&db).await;
}

#[tokio::test]
async fn a_table_is_not_marked_whose_cascade_would_run_code_of_a_lesser_owner() {
    let db = database("lesser", FAMILY, &[("p", "mark"), ("c", "bin")]).await;
    db.run(
        "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
         CREATE TRIGGER f AFTER DELETE ON c FOR EACH ROW EXECUTE FUNCTION f();
         DROP ROLE IF EXISTS lesser; CREATE ROLE lesser",
    )
    .await;
    let judge = "SELECT mode FROM reprieve.judge_v1('p')";
    assert_eq!(db.rows(judge).await, ["mark"]);
    db.run("ALTER TABLE c OWNER TO lesser").await;
    assert_eq!(db.rows(judge).await, ["bin"]);
    db.run("SELECT reprieve.reconcile_v1()").await;
    let modes = "SELECT table_name, mode FROM reprieve.tables ORDER BY 1";
    assert_eq!(db.rows(modes).await, ["c|bin", "p|bin"]);
    let session = db.session().await;
    db.run("SELECT reprieve.disable_v1('p')").await;
    let insist = "SELECT reprieve.enable_v1('p', 'mark')";
    assert_eq!(failure(&session, insist).await.0, "0A000");
    db.run("ALTER TABLE c OWNER TO postgres; DROP ROLE lesser")
        .await;
}

/// Everything that runs with a client's statement says where its functions, operators and types come from.
#[tokio::test]
async fn nothing_is_looked_up_in_the_search_path_of_the_client() {
    let schema = "CREATE TABLE p(id int PRIMARY KEY, name text UNIQUE, kind varchar(9) COLLATE \"C\" UNIQUE);
        CREATE TABLE c(id int PRIMARY KEY, p int REFERENCES p ON DELETE CASCADE, q int REFERENCES p DEFERRABLE);
        CREATE TABLE r(id int PRIMARY KEY, p int REFERENCES p, EXCLUDE USING btree (p WITH =, id WITH =));
        CREATE TABLE n(id int PRIMARY KEY, p int REFERENCES p ON DELETE SET NULL);
        INSERT INTO p SELECT n, n, n FROM generate_series(1, 9) AS n;
        INSERT INTO c SELECT n, 1 + n % 4 FROM generate_series(1, 12) AS n;
        INSERT INTO r VALUES (1, 9); INSERT INTO n VALUES (1, 1)";
    let all = [("p", "mark"), ("c", "mark"), ("r", "mark"), ("n", "mark")];
    let db = database("lookups", schema, &all).await;
    let lair = "CREATE SCHEMA lair; GRANT USAGE ON SCHEMA lair TO PUBLIC;
        CREATE FUNCTION lair.caught() RETURNS text LANGUAGE plpgsql SET search_path = pg_catalog AS $$
            BEGIN IF current_user <> 'lookup' THEN RAISE 'caught as %', current_user; END IF; RETURN NULL; END $$;
        DO $$
        DECLARE
            f record;
            o text;
        BEGIN
            FOR f IN SELECT * FROM (VALUES
                ('current_setting', 'text, boolean', 'text'), ('current_setting', 'text', 'text'), ('set_config', 'text, text, boolean', 'text'),
                ('now', '', 'timestamptz'), ('format', 'text, VARIADIC \"any\"', NULL), ('count', 'anyelement', NULL), ('pg_trigger_depth', '', 'int'),
                ('has_table_privilege', 'oid, text', 'boolean'), ('pg_current_xact_id_if_assigned', '', 'xid8'), ('bool_or', 'boolean', 'boolean'),
                ('unnest', 'anyarray', NULL), ('current_query', '', 'text'), ('left', 'text, int', 'text')) AS v(name, arguments, result) LOOP
                IF f.result IS NOT NULL THEN
                    EXECUTE pg_catalog.format('CREATE FUNCTION lair.%I(%s) RETURNS %s LANGUAGE sql AS $f$ SELECT lair.caught()::%3$s $f$',
                                              f.name, f.arguments, f.result);
                END IF;
            END LOOP;
            FOR f IN SELECT * FROM (VALUES ('int4', 'int4'), ('int8', 'int8'), ('int8', 'int4'), ('text', 'text'), ('bool', 'bool'), ('oid', 'oid'), ('name', 'name'),
                                           ('varchar', 'varchar'), ('tid', 'tid'), ('record', 'record')) AS v(l, r) LOOP
                EXECUTE pg_catalog.format('CREATE FUNCTION lair.lure(%s, %s) RETURNS boolean LANGUAGE plpgsql AS $f$ BEGIN PERFORM lair.caught(); RETURN NULL; END $f$', f.l, f.r);
                FOREACH o IN ARRAY ARRAY['=', '<>', '>', '<', '<=', '>=', '*<>', '~'] LOOP
                    EXECUTE pg_catalog.format('CREATE OPERATOR lair.%s (LEFTARG = %s, RIGHTARG = %s, FUNCTION = lair.lure)', o, f.l, f.r);
                END LOOP;
            END LOOP;
            FOREACH o IN ARRAY ARRAY['text', 'int4', 'int8', 'bool', 'record', 'oid', 'name', 'tid'] LOOP
                EXECUTE pg_catalog.format('CREATE TYPE lair.%I AS (caught int)', o);
            END LOOP;
        END $$";
    db.run(lair).await;
    let session = client_of(&db, "lookup").await;
    db.run(
        "SELECT reprieve.guard_v1(max_rows => 1000, max_share => 90, no_where => 'refuse'), reprieve.guard_v1(per => 'transaction', max_rows => 1000),
                reprieve.guard_v1('p', 'lookup', max_rows => 999), reprieve.budget_v1('lookup', 1000, '1 hour')",
    )
    .await;
    session
        .batch_execute("SET search_path = lair, pg_catalog, public; SET reprieve.max_rows = 1000")
        .await
        .unwrap();
    let begin = "pg_catalog.now(), deletion_id = (SELECT reprieve.begin_deletion_v1('x'))";
    for statement in [
        "INSERT INTO p VALUES (10, '10', '10'), (11, '11', '11')".to_owned(),
        "INSERT INTO c VALUES (20, 10, 10), (21, 10, NULL)".to_owned(),
        "INSERT INTO p VALUES (10, 'x', 'y') ON CONFLICT (id) DO UPDATE SET name = excluded.name"
            .to_owned(),
        "UPDATE p SET name = 'y', kind = 'z' WHERE p.id OPERATOR(pg_catalog.=) 11".to_owned(),
        "UPDATE c SET p = 11, q = 11 WHERE c.id OPERATOR(pg_catalog.=) 20".to_owned(),
        format!("UPDATE c SET deleted_at = {begin} WHERE c.id OPERATOR(pg_catalog.=) 21"),
        format!("UPDATE p SET deleted_at = {begin} WHERE p.id OPERATOR(pg_catalog.=) 1"),
        "INSERT INTO p VALUES (1, 'again', '1')".to_owned(),
        "DELETE FROM c WHERE c.id OPERATOR(pg_catalog.=) 20".to_owned(),
        "BEGIN; DELETE FROM c WHERE c.id OPERATOR(pg_catalog.=) 11; DELETE FROM c WHERE c.id OPERATOR(pg_catalog.=) 12; COMMIT".to_owned(),
        "INSERT INTO r VALUES (2, 8); INSERT INTO n VALUES (2, 8)".to_owned(),
    ] {
        let done = session.batch_execute(&statement).await;
        assert!(done.is_ok(), "{statement}: {done:?}");
    }
    let (code, ..) = failure(
        &session,
        &format!("UPDATE p SET deleted_at = {begin} WHERE p.id OPERATOR(pg_catalog.=) 9"),
    )
    .await;
    assert_eq!(code, "23503");
    let (code, ..) = failure(&session, "INSERT INTO c VALUES (30, 1000)").await;
    assert_eq!(code, "23503");
    assert_sound(&db).await;
}

#[tokio::test]
async fn a_truncate_too_large_to_keep_is_refused_unless_somebody_insists() {
    let db = database("huge", FAMILY, &[("c", "mark")]).await;
    db.run(&mark("c", "id = 1")).await;
    db.run("INSERT INTO reprieve.settings VALUES ('truncate.max_rows', '11')")
        .await;
    let session = db.session().await;
    let (code, message, detail) = failure(&session, "TRUNCATE c").await;
    assert_eq!(code, "RV001");
    assert_eq!(
        message,
        "TRUNCATE of public.c would copy more than 11 rows to the graveyard"
    );
    assert!(detail.contains("truncate.max_rows is 11"), "{detail}");
    session
        .batch_execute("SET reprieve.truncate = 'discard'; TRUNCATE c")
        .await
        .unwrap();
    assert_eq!(
        db.rows("SELECT count(*) FROM reprieve.graveyard").await,
        ["0"]
    );
    let said = "SELECT rows, discarded FROM reprieve.deletion_tables ORDER BY 1";
    assert_eq!(db.rows(said).await, ["1|1", "11|11"]);
    let act = "SELECT verb, target, result ->> 'rows', result ->> 'tombstones' FROM reprieve.acts WHERE verb LIKE 'truncate%'";
    assert_eq!(db.rows(act).await, ["truncate discarded|public.c|11|1"]);
    assert_sound(&db).await;
    db.run("INSERT INTO c VALUES (1)").await;
    session
        .batch_execute("RESET reprieve.truncate; TRUNCATE c")
        .await
        .unwrap();
    assert_eq!(
        db.rows("SELECT cause FROM reprieve.graveyard").await,
        ["truncate"]
    );
}

/// The planner runs functions in the expressions of an index as whoever reads the table.
#[tokio::test]
async fn code_in_indexes_never_runs_as_the_keeper() {
    let db = support::Database::new("trojan").await;
    let mut keeper = db.keeper().await;
    keeper.install().await.unwrap();
    db.run(
        "INSERT INTO reprieve.settings VALUES ('tables.enable', '*.*');
         DROP ROLE IF EXISTS trojan; CREATE ROLE trojan LOGIN; CREATE SCHEMA lair AUTHORIZATION trojan;
         CREATE ROLE trojan_other LOGIN; GRANT USAGE ON SCHEMA lair TO trojan_other",
    )
    .await;
    let session = db.session_as("trojan").await;
    session
        .batch_execute(
            "SET search_path = lair;
             CREATE FUNCTION spy(int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN
                 IF current_user = 'postgres' THEN RAISE EXCEPTION 'ran as %', current_user; END IF; RETURN $1; END $$;
             CREATE OPERATOR #-# (FUNCTION = spy, RIGHTARG = int);
             CREATE TABLE before (id int PRIMARY KEY, v int);
             INSERT INTO before VALUES (1, 1), (2, 2);
             CREATE INDEX ON before ((v + spy(0)));
             CREATE TABLE after (id int PRIMARY KEY, v int);
             INSERT INTO after VALUES (1, 1), (2, 2);
             CREATE TABLE operator (id int PRIMARY KEY, v int);
             CREATE TABLE plain (id int PRIMARY KEY, v int)",
        )
        .await
        .unwrap();
    db.run("SELECT reprieve.reconcile_v1(), reprieve.advance_v1()")
        .await;
    session
        .batch_execute(&mark("lair.after", "id = 1"))
        .await
        .unwrap();
    // Each in a session of its own: whoever reads the table first there runs the function for all.
    for statement in [
        "CREATE INDEX ON lair.after ((v + lair.spy(0)))",
        "CREATE UNIQUE INDEX ON lair.operator ((v + OPERATOR(lair.#-#) 0)) WHERE v > 0",
        "INSERT INTO lair.before VALUES (3, 3); INSERT INTO lair.after VALUES (1, 10); INSERT INTO lair.operator VALUES (1, 1)",
        "UPDATE lair.before SET id = 4 WHERE id = 3",
        "DELETE FROM lair.before WHERE id = 4; DELETE FROM lair.after WHERE id = 1; DELETE FROM lair.operator",
        "TRUNCATE lair.before",
        "TRUNCATE lair.after",
        "INSERT INTO lair.before VALUES (9, 9); INSERT INTO lair.operator VALUES (1, 1)",
        "DROP TABLE lair.before",
        "DROP TABLE lair.after, lair.operator",
        "DROP OWNED BY CURRENT_USER CASCADE",
    ] {
        let fresh = db.session_as("trojan").await;
        fresh.batch_execute(statement).await.unwrap();
    }
    let kept = "SELECT string_agg(format('%s %s %s', table_name, cause, data), '; ' ORDER BY table_name, cause, data) FROM reprieve.graveyard";
    assert_eq!(
        db.value(kept).await,
        "after delete {1,10}; after disable {1,1}; after truncate {2,2}; before delete {4,3}; before drop {9,9}; \
         before truncate {1,1}; before truncate {2,2}; operator delete {1,1}; operator drop {1,1}"
    );
    let left = "SELECT count(*)::text FROM pg_proc WHERE pronamespace = 'reprieve'::regnamespace AND proname ~ '^read_[0-9]'";
    assert_eq!(db.value(left).await, "0");
    db.run("DROP ROLE trojan_other").await;
}

/// Functions are read with the `standard_conforming_strings` of the session that runs them first.
#[tokio::test]
async fn clients_with_old_strings_are_served_as_others_are() {
    let db = database("old_strings", FAMILY, &[("p", "mark"), ("c", "mark")]).await;
    db.run("INSERT INTO reprieve.settings VALUES ('tables.enable', '*.*')")
        .await;
    let session = db.session().await;
    let steps = [
        "SET standard_conforming_strings = off",
        "SET escape_string_warning = off",
        "CREATE TABLE notes (id int PRIMARY KEY, text text)",
        r"CREATE UNIQUE INDEX numbered ON notes (text) WHERE text ~ '^\\d'",
        r"INSERT INTO notes VALUES (1, '1\\a'), (2, 'b')",
        r"CREATE TABLE kept (id int DEFAULT 1 PRIMARY KEY, text text DEFAULT 'a\\b')",
        "INSERT INTO kept DEFAULT VALUES",
        r"ALTER TABLE p ADD COLUMN path text DEFAULT 'c:\\p', ADD CHECK (path ~ '\\w')",
        "DROP TABLE kept",
    ];
    for step in steps {
        session.batch_execute(step).await.unwrap();
    }
    db.run("SELECT reprieve.advance_v1()").await;
    session
        .batch_execute(&mark("notes", "id = 1"))
        .await
        .unwrap();
    session
        .batch_execute(r"INSERT INTO notes VALUES (3, '1\\a')")
        .await
        .unwrap();
    let other = db.session().await;
    other
        .batch_execute(r"INSERT INTO notes VALUES (4, '2\a')")
        .await
        .unwrap();
    let careless = r"SELECT p.oid::regprocedure FROM pg_proc p
        WHERE p.pronamespace = 'reprieve'::regnamespace
          AND strpos(regexp_replace(p.prosrc, 'E''[^'']*''', '', 'g'), '\') > 0
          AND NOT coalesce(p.proconfig, '{}') @> '{standard_conforming_strings=on}'";
    assert_eq!(db.rows(careless).await, [""; 0]);
    assert_sound(&db).await;
}
