//! Enabled tables follow the schema, and what a mode depends on.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot set itself up must fail"
)]

mod support;

use support::Database;

async fn installed(name: &str) -> Database {
    let database = Database::new(name).await;
    database.keeper().await.install().await.unwrap();
    database
}

async fn mode(database: &Database, table: &str) -> String {
    let sql = format!("SELECT mode, reason FROM reprieve.tables WHERE relid = '{table}'::regclass");
    database.rows(&sql).await.join("")
}

#[tokio::test]
async fn auto_marks_only_where_nothing_can_tell() {
    let database = installed("core_modes").await;
    database
        .run(
            "CREATE TABLE plain (id int PRIMARY KEY);
             CREATE TABLE keyless (id int);
             CREATE TABLE triggered (id int PRIMARY KEY);
             CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
             CREATE TRIGGER note BEFORE INSERT ON triggered FOR EACH ROW EXECUTE FUNCTION note();
             CREATE TABLE ruled (id int PRIMARY KEY); CREATE RULE r AS ON DELETE TO ruled DO ALSO NOTIFY ruled;
             CREATE TABLE secured (id int PRIMARY KEY); ALTER TABLE secured ENABLE ROW LEVEL SECURITY;
             CREATE TABLE viewed (id int PRIMARY KEY); CREATE VIEW v AS SELECT id FROM viewed;
             CREATE TABLE sourced (id int PRIMARY KEY);
             CREATE FUNCTION reads() RETURNS bigint LANGUAGE plpgsql AS 'BEGIN RETURN (SELECT count(*) FROM Sourced); END';
             CREATE TABLE almost_sourced_too (id int PRIMARY KEY);
             CREATE TABLE typed (id int PRIMARY KEY); CREATE TABLE holder (id int PRIMARY KEY, t typed);
             CREATE TABLE published (id int PRIMARY KEY); CREATE PUBLICATION pub FOR TABLE published;
             CREATE TABLE deferred (id int PRIMARY KEY DEFERRABLE);
             CREATE TABLE soft (id int PRIMARY KEY, deleted_at timestamptz);
             CREATE TABLE computed (id int PRIMARY KEY, g int GENERATED ALWAYS AS (id + 1) STORED UNIQUE);
             CREATE TABLE root (id int PRIMARY KEY) PARTITION BY RANGE (id);
             CREATE TABLE parent (id int PRIMARY KEY); CREATE TABLE kid () INHERITS (parent);",
        )
        .await;
    let verdicts = database
        .rows(
            "SELECT c.relname, e.mode, e.reason FROM pg_class c, LATERAL reprieve.enable_v1(c.oid) e
             WHERE c.relkind IN ('r', 'p') AND c.relnamespace = 'public'::regnamespace AND c.relname <> 'kid' ORDER BY c.oid",
        )
        .await;
    assert_eq!(
        verdicts,
        [
            "plain|mark|marking is exact here",
            "keyless|bin|it has no primary key",
            "triggered|bin|it has a trigger of its own, note",
            "ruled|bin|it has a rule, r",
            "secured|bin|it has row security",
            "viewed|bin|rule _RETURN on view public.v reads it",
            "sourced|bin|the function public.reads() names it",
            "almost_sourced_too|mark|marking is exact here",
            "typed|bin|its row type is used by column t of table public.holder",
            "holder|mark|marking is exact here",
            "published|bin|it is a member of the publication pub",
            "deferred|bin|its constraint deferred_pkey is deferrable",
            "soft|bin|it has a column deleted_at of its own",
            "computed|bin|the key computed_g_key contains a generated column",
            "root|bin|it is partitioned or a partition",
            "parent|bin|it is part of an inheritance hierarchy",
        ]
    );
    // Judging changes nothing, and agrees.
    assert_eq!(
        database
            .rows("SELECT * FROM reprieve.judge_v1('triggered')")
            .await,
        ["public.triggered|bin|it has a trigger of its own, note"]
    );
    let refused = database
        .rows("SELECT * FROM reprieve.judge_v1('pg_class')")
        .await;
    assert_eq!(refused, ["pg_catalog.pg_class|none|it is a system table"]);
}

#[tokio::test]
async fn a_table_that_is_in_use_is_judged_again_later() {
    let database = installed("core_busy").await;
    database
        .run(
            "CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'x'), (2, 'y'); SELECT reprieve.enable_v1('t');
             UPDATE t SET deleted_at = now(), deletion_id = (SELECT reprieve.begin_deletion_v1('')) WHERE id = 1;
             CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
        )
        .await;
    let reader = database.session().await;
    reader.batch_execute("BEGIN; SELECT FROM t").await.unwrap();
    // Its columns cannot be dropped while somebody reads it.
    database
        .run("CREATE TRIGGER note BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION note()")
        .await;
    assert_eq!(mode(&database, "t").await, "mark|marking is exact here");
    reader.batch_execute("COMMIT").await.unwrap();
    database.run("SELECT reprieve.reconcile_v1(false)").await;
    assert_eq!(
        mode(&database, "t").await,
        "bin|it has a trigger of its own, note"
    );
    assert_eq!(database.rows("SELECT * FROM t").await, ["2|y"]);
}

#[tokio::test]
async fn a_function_takes_rows_without_our_columns() {
    let database = installed("core_rows").await;
    database
        .run(
            "CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'x'), (2, 'y'); SELECT reprieve.enable_v1('t');
             UPDATE t SET deleted_at = now(), deletion_id = (SELECT reprieve.begin_deletion_v1('')) WHERE id = 1;
             CREATE FUNCTION live() RETURNS SETOF t LANGUAGE sql AS 'SELECT id, v FROM t'",
        )
        .await;
    assert_eq!(database.rows("SELECT * FROM live()").await, ["2|y"]);
    assert_eq!(
        database
            .rows("SELECT cause, data FROM reprieve.graveyard")
            .await,
        ["disable|{1,x}"]
    );
    assert!(
        mode(&database, "t")
            .await
            .starts_with("bin|its row type is used by function")
    );
    database.run("DROP FUNCTION live").await;
    assert_eq!(mode(&database, "t").await, "mark|marking is exact here");
}

#[tokio::test]
async fn key_columns_can_change_their_type_and_go() {
    let database = installed("core_alter").await;
    database
        .run(
            "CREATE TABLE p (id int PRIMARY KEY, code text UNIQUE); CREATE TABLE c (id int PRIMARY KEY, p_id int REFERENCES p ON DELETE CASCADE);
             SELECT reprieve.enable_v1('p'), reprieve.enable_v1('c');
             INSERT INTO p VALUES (1, 'a'), (2, 'b'), (3, 'c'); INSERT INTO c VALUES (10, 1), (20, 2), (30, 3)",
        )
        .await;
    let ours = "SELECT string_agg(tgrelid::regclass || ' ' || pg_get_triggerdef(oid), E'\n' ORDER BY tgrelid::regclass::text, tgname)
                FROM pg_trigger WHERE tgname ~ '^~reprieve_evict'";
    let before = database.rows(ours).await;
    database
        .run("ALTER TABLE p ALTER id TYPE bigint; ALTER TABLE p ALTER code TYPE varchar(20); ALTER TABLE c ALTER p_id SET DATA TYPE bigint")
        .await;
    assert_eq!(database.rows(ours).await, before);
    // The cascade and the check of a live parent still know the columns.
    database
        .run("UPDATE p SET deleted_at = now(), deletion_id = (SELECT reprieve.begin_deletion_v1('')) WHERE id = 1")
        .await;
    assert_eq!(
        database
            .rows("SELECT id FROM c WHERE deleted_at IS NULL ORDER BY id")
            .await,
        ["20", "30"]
    );
    let client = database.session().await;
    let orphan = client
        .batch_execute("INSERT INTO c VALUES (11, 1)")
        .await
        .unwrap_err();
    assert_eq!(orphan.as_db_error().unwrap().code().code(), "23503");
    database
        .run("ALTER TABLE c DROP COLUMN p_id; ALTER TABLE p DROP COLUMN code; INSERT INTO c VALUES (11); INSERT INTO p VALUES (1)")
        .await;
    assert_eq!(
        database.rows("SELECT count(*) FROM reprieve.links").await,
        ["0"]
    );
}

/// However many tables refer to one: what is made for each foreign key is made anew where something of it has changed, and only there.
#[tokio::test]
async fn only_foreign_keys_that_changed_are_made_anew() {
    let database = installed("core_star").await;
    database
        .run(
            "CREATE TABLE hub (id int PRIMARY KEY);
             CREATE TABLE a (id int PRIMARY KEY, hub_id int CONSTRAINT a_hub REFERENCES hub);
             CREATE TABLE b (id int PRIMARY KEY, hub_id int CONSTRAINT b_hub REFERENCES hub DEFERRABLE INITIALLY DEFERRED);
             CREATE TABLE c (id int PRIMARY KEY, hub_id int CONSTRAINT c_hub REFERENCES hub ON DELETE CASCADE);
             SELECT reprieve.enable_v1('hub'), reprieve.enable_v1('a'), reprieve.enable_v1('b'), reprieve.enable_v1('c');",
        )
        .await;
    let made = "SELECT x.conname, (SELECT string_agg(g.oid::text, ' ' ORDER BY g.oid) FROM pg_trigger g WHERE g.tgname ~ (x.oid || '(_update)?$')),
                       (SELECT string_agg(f.oid || '.' || f.xmin::text, ' ' ORDER BY f.oid) FROM pg_proc f WHERE f.proname ~ ('_' || x.oid || '$'))
                FROM reprieve.links_made m JOIN pg_constraint x ON x.oid = m.conoid ORDER BY 1";
    let before = database.rows(made).await;
    assert_eq!(before.len(), 3);

    database
        .run("CREATE TABLE d (id int PRIMARY KEY, hub_id int CONSTRAINT d_hub REFERENCES hub); SELECT reprieve.enable_v1('d'); ALTER TABLE hub ADD name text")
        .await;
    let after = database.rows(made).await;
    assert_eq!(after.len(), 4);
    // hub has a column more: whatever holds a row of it is made anew, but not the triggers.
    for (before, after) in before.iter().zip(&after) {
        assert_eq!(
            before.rsplit_once('|').unwrap().0,
            after.rsplit_once('|').unwrap().0
        );
    }

    let before = after;
    database
        .run("ALTER TABLE c RENAME hub_id TO hub_no; CREATE TABLE e (id int PRIMARY KEY, hub_id int CONSTRAINT e_hub REFERENCES hub); SELECT reprieve.enable_v1('e')")
        .await;
    let after = database.rows(made).await;
    assert_eq!(
        [&before[0], &before[1], &before[3]],
        [&after[0], &after[1], &after[3]]
    );
    assert_ne!(before[2], after[2]);
    assert_eq!(
        database
            .rows("SELECT count(*) FROM pg_proc WHERE proname ~ '^(live|all_live|absent)_' AND prosrc ~ '\\mhub_no\\M'")
            .await,
        ["3"]
    );

    // What somebody has taken away comes back.
    database
        .run(
            "SET reprieve.reconciling = '1';
             DO $$ BEGIN EXECUTE (SELECT string_agg(format('DROP TRIGGER %I ON %s', g.tgname, g.tgrelid::regclass), '; ')
                                  FROM pg_trigger g JOIN pg_constraint x ON g.tgname ~ ('^~reprieve_(live|unhang)_' || x.oid) AND x.conname = 'a_hub'); END $$;
             RESET reprieve.reconciling; SELECT reprieve.reconcile_v1()",
        )
        .await;
    let names = "SELECT x.conname, count(*) FROM pg_trigger g JOIN pg_constraint x ON g.tgname ~ ('^~reprieve_(live|unhang)_' || x.oid)
                 WHERE x.conname IN ('a_hub', 'd_hub') GROUP BY 1 ORDER BY 1";
    assert_eq!(database.rows(names).await, ["a_hub|4", "d_hub|4"]);
}

/// A serializable transaction that makes a table after another one did does not fail by what we write of that; but where the table refers to a
/// marked one its checks must be there at once.
#[tokio::test]
async fn a_schema_change_waits_where_nothing_depends_on_it() {
    let database = installed("core_serializable").await;
    database
        .run("CREATE TABLE p (id int PRIMARY KEY); SELECT reprieve.enable_v1('p'); INSERT INTO reprieve.settings VALUES ('tables.enable', '*.*')")
        .await;
    for (number, (table, waits)) in [("(v int)", true), ("(p_id int REFERENCES p)", false)]
        .into_iter()
        .enumerate()
    {
        let (one, other) = (database.session().await, database.session().await);
        let begin = "BEGIN ISOLATION LEVEL SERIALIZABLE";
        other
            .batch_execute(&format!("{begin}; SELECT 1"))
            .await
            .unwrap();
        one.batch_execute(&format!(
            "{begin}; CREATE TABLE one_{number} (v int); COMMIT"
        ))
        .await
        .unwrap();
        let outcome = other
            .batch_execute(&format!("CREATE TABLE other_{number} {table}; COMMIT"))
            .await;
        assert_eq!(outcome.is_ok(), waits, "{table}: {outcome:?}");
        if let Err(error) = outcome {
            assert_eq!(error.as_db_error().unwrap().code().code(), "40001");
        }
    }
    let enabled = "SELECT table_name FROM reprieve.tables ORDER BY 1";
    assert!(!database.rows(enabled).await.contains(&"other_0".to_owned()));
    database.run("SELECT reprieve.reconcile_v1()").await;
    assert_eq!(
        database.rows(enabled).await,
        ["one_0", "one_1", "other_0", "p"]
    );
}

/// Nobody need have been told of it.
#[tokio::test]
async fn a_table_that_was_renamed_stops_being_marked() {
    let database = installed("core_renamed").await;
    database
        .run(
            "CREATE TABLE p (id int PRIMARY KEY); CREATE TABLE c (id int PRIMARY KEY, p_id int REFERENCES p ON DELETE CASCADE);
             SELECT reprieve.enable_v1('p'), reprieve.enable_v1('c');
             INSERT INTO p VALUES (1), (2); INSERT INTO c VALUES (10, 1), (20, 2);
             UPDATE p SET deleted_at = now(), deletion_id = (SELECT reprieve.begin_deletion_v1('')) WHERE id = 1;
             SET reprieve.reconciling = '1'; ALTER TABLE p RENAME TO parents; ALTER TABLE c RENAME p_id TO parent; ALTER TABLE c RENAME TO children;
             RESET reprieve.reconciling; SELECT reprieve.disable_v1('parents')",
        )
        .await;
    assert_eq!(
        database
            .rows("SELECT table_name, data FROM reprieve.graveyard ORDER BY 1")
            .await,
        ["children|{10,1}", "parents|{1}"]
    );
}

#[tokio::test]
async fn columns_that_nobody_told_of_are_copied_too() {
    let database = installed("core_untold").await;
    database
        .run(
            "CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'x'), (2, 'y');
             SELECT reprieve.enable_v1('t', 'bin'); DELETE FROM t WHERE id = 1",
        )
        .await;
    database
        .run(
            "SET reprieve.reconciling = '1';
             ALTER TABLE t RENAME v TO w; CREATE SCHEMA app; CREATE TABLE app.thing ();
             ALTER TABLE t ADD f float8 DEFAULT 0.30000000000000004, ADD d date DEFAULT '2020-02-01', ADD r regclass DEFAULT 'app.thing'",
        )
        .await;
    database
        .run("SET DateStyle = 'German'; SET extra_float_digits = -3; SET search_path = app, public; DELETE FROM t")
        .await;
    assert_eq!(
        database
            .rows("SELECT columns, data FROM reprieve.graveyard ORDER BY buried_at")
            .await,
        [
            "{id,v}|{1,x}",
            "{id,w,f,d,r}|{2,y,0.30000000000000004,2020-02-01,app.thing}"
        ]
    );
    assert_eq!(database.value("SHOW search_path").await, "app, public");
    assert_eq!(database.value("SHOW DateStyle").await, "German, DMY");
}

/// Below `b` the general code takes over, where a reference is set to null and where more than 100 rows go.
#[tokio::test]
async fn a_cascade_goes_on_where_the_quick_way_ends() {
    let database = installed("core_quick").await;
    database
        .run(
            "CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (id int PRIMARY KEY, a int REFERENCES a ON DELETE CASCADE);
             CREATE TABLE c (id int PRIMARY KEY, b int REFERENCES b ON DELETE CASCADE);
             CREATE TABLE d (id int PRIMARY KEY, b int REFERENCES b ON DELETE SET NULL);
             INSERT INTO a VALUES (1), (2), (3); INSERT INTO b VALUES (1, 1), (2, 1), (3, 2);
             INSERT INTO c SELECT n, 3 FROM generate_series(1, 101) AS n; INSERT INTO c VALUES (200, 1); INSERT INTO d VALUES (1, 2);
             SELECT reprieve.enable_v1(t::regclass, 'mark') FROM unnest(ARRAY['a', 'b', 'c', 'd']) AS t;
             SELECT reprieve.advance_v1()",
        )
        .await;
    for id in 1..=3 {
        database
            .run(&format!(
                "UPDATE a SET deleted_at = now(), deletion_id = (SELECT reprieve.begin_deletion_v1('x')) WHERE id = {id}"
            ))
            .await;
    }
    let counted = "SELECT string_agg(format('%s %s %s', table_name, rows, relinked), ', ' ORDER BY table_name)
                   FROM reprieve.deletion_tables GROUP BY deletion_id ORDER BY deletion_id";
    assert_eq!(
        database.rows(counted).await,
        [
            "a 1 0, b 2 0, c 1 0, d 0 1",
            "a 1 0, b 1 0, c 101 0",
            "a 1 0"
        ]
    );
    let findings = "SELECT count(*) FROM reprieve.check_v1()";
    assert_eq!(database.value(findings).await, "0");
    database
        .run("SELECT reprieve.undelete_deletion_v1(d.id) FROM reprieve.deletions d")
        .await;
    let back = "SELECT (SELECT count(*) FROM c WHERE deleted_at IS NULL), (SELECT b FROM d)";
    assert_eq!(database.value(back).await, "102|2");
}

#[tokio::test]
async fn a_table_that_gains_a_trigger_moves_its_tombstones_away() {
    let database = installed("core_gains").await;
    database
        .run(
            "CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'x'), (2, 'y');
             SELECT reprieve.enable_v1('t');
             UPDATE t SET deleted_at = now(), deletion_id = (SELECT reprieve.begin_deletion_v1('DELETE')) WHERE deleted_at IS NULL AND id = 1;
             CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
             CREATE TRIGGER note BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION note();
             SELECT reprieve.after_ddl_v1()",
        )
        .await;
    assert_eq!(
        mode(&database, "t").await,
        "bin|it has a trigger of its own, note"
    );
    assert_eq!(database.rows("SELECT * FROM t").await, ["2|y"]);
    assert_eq!(
        database
            .rows("SELECT cause, columns, data FROM reprieve.graveyard")
            .await,
        ["disable|{id,v}|{1,x}"]
    );
    database
        .run("DROP TRIGGER note ON t; SELECT reprieve.after_ddl_v1()")
        .await;
    assert_eq!(mode(&database, "t").await, "mark|marking is exact here");
}

#[tokio::test]
async fn copies_renames_and_drops() {
    let database = installed("core_follows").await;
    database
        .run(
            "CREATE TABLE t (id int PRIMARY KEY, v text); SELECT reprieve.enable_v1('t');
             CREATE TABLE copied (LIKE t INCLUDING ALL); SELECT reprieve.after_ddl_v1();
             ALTER TABLE t RENAME TO u; ALTER TABLE u RENAME COLUMN v TO w; SELECT reprieve.after_ddl_v1();
             CREATE TABLE c (id int PRIMARY KEY, u_id int REFERENCES u); SELECT reprieve.after_ddl_v1();
             INSERT INTO u VALUES (1, 'x')",
        )
        .await;
    let columns = "SELECT string_agg(attname, ',' ORDER BY attnum) FROM pg_attribute
                   WHERE attrelid = 'copied'::regclass AND attnum > 0 AND NOT attisdropped";
    assert_eq!(database.rows(columns).await, ["id,v"]);
    assert_eq!(
        database
            .rows("SELECT table_name FROM reprieve.tables")
            .await,
        ["u"]
    );
    // The new foreign key is followed although c is not enabled.
    database
        .run("UPDATE u SET deleted_at = now(), deletion_id = (SELECT reprieve.begin_deletion_v1('DELETE')) WHERE deleted_at IS NULL")
        .await;
    let client = database.session().await;
    let error = client
        .batch_execute("INSERT INTO c VALUES (1, 1)")
        .await
        .unwrap_err();
    assert_eq!(error.as_db_error().unwrap().code().code(), "23503");
    database
        .run("DROP TABLE c, u; SELECT reprieve.after_ddl_v1()")
        .await;
    assert_eq!(
        database.rows("SELECT count(*) FROM reprieve.tables").await,
        ["0"]
    );
    let leftovers = "SELECT proname FROM pg_proc WHERE pronamespace = 'reprieve'::regnamespace AND proname ~ '_[0-9]{3,}$'";
    assert_eq!(database.rows(leftovers).await, Vec::<String>::new());
}

#[tokio::test]
async fn new_tables_are_enabled_by_their_names() {
    let database = installed("core_globs").await;
    database
        .run(
            "INSERT INTO reprieve.settings VALUES ('tables.enable', 'public.*, shop.order?'), ('tables.exclude', 'public.tmp_*'),
                                                  ('tables.bin', '*.queue');
             CREATE SCHEMA shop; CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE tmp_x (id int PRIMARY KEY); CREATE TABLE queue (id int PRIMARY KEY);
             CREATE TABLE shop.orders (id int PRIMARY KEY); CREATE TABLE shop.other (id int PRIMARY KEY); CREATE TEMP TABLE gone (id int PRIMARY KEY);
             SELECT reprieve.after_ddl_v1()",
        )
        .await;
    let enabled =
        "SELECT schema_name, table_name, mode, marking FROM reprieve.tables ORDER BY 1, 2";
    assert_eq!(
        database.rows(enabled).await,
        [
            "public|queue|bin|f",
            "public|t|mark|f",
            "shop|orders|mark|f"
        ]
    );
    // What a DBA disabled stays disabled.
    database
        .run("SELECT reprieve.disable_v1('t'); CREATE TABLE x (id int); SELECT reprieve.after_ddl_v1()")
        .await;
    assert_eq!(
        database.rows(enabled).await,
        ["public|queue|bin|f", "public|x|bin|f", "shop|orders|mark|f"]
    );
}

#[tokio::test]
async fn members_of_hierarchies_are_captured_whole() {
    let database = installed("core_members").await;
    database
        .run(
            "CREATE TABLE r (id int, v text) PARTITION BY RANGE (id); CREATE TABLE r1 PARTITION OF r FOR VALUES FROM (0) TO (10);
             SELECT reprieve.enable_v1('r'); CREATE TABLE r2 PARTITION OF r FOR VALUES FROM (10) TO (20); SELECT reprieve.after_ddl_v1();
             INSERT INTO r VALUES (1, 'a'), (2, 'b'), (3, 'c'), (11, 'd'), (12, 'e');
             DELETE FROM r WHERE id IN (1, 11)",
        )
        .await;
    database.run("DELETE FROM r1 WHERE id = 2").await;
    database.run("UPDATE r SET id = 13 WHERE id = 3").await;
    database.run("TRUNCATE r2").await;
    let buried = "SELECT table_name, cause, data FROM reprieve.graveyard ORDER BY data[1]::int";
    assert_eq!(
        database.rows(buried).await,
        [
            "r|delete|{1,a}",
            "r1|delete|{2,b}",
            "r|delete|{11,d}",
            "r2|truncate|{12,e}",
            "r2|truncate|{13,c}"
        ]
    );
    database
        .run(
            "CREATE TABLE i (id int PRIMARY KEY); CREATE TABLE j (extra text) INHERITS (i); SELECT reprieve.enable_v1('i');
             INSERT INTO i VALUES (101); INSERT INTO j VALUES (102, 'kept'); DELETE FROM i",
        )
        .await;
    assert_eq!(
        database
            .rows("SELECT table_name, data FROM reprieve.graveyard WHERE data[1]::int > 100 ORDER BY 2")
            .await,
        ["i|{101}", "j|{102,kept}"]
    );
}

#[tokio::test]
async fn a_keeper_without_superuser_acts_for_the_owners() {
    let database = Database::new("core_role").await;
    database
        .run(
            "CREATE ROLE core_owner; CREATE ROLE core_keeper LOGIN CREATEROLE IN ROLE core_owner; CREATE ROLE core_app LOGIN;
             GRANT CREATE ON DATABASE core_role TO core_keeper; GRANT CREATE, USAGE ON SCHEMA public TO core_owner;
             SET ROLE core_owner; CREATE TABLE p (id int PRIMARY KEY); CREATE TABLE c (id int PRIMARY KEY, p_id int REFERENCES p ON DELETE CASCADE);
             GRANT SELECT, INSERT, UPDATE, DELETE ON p TO core_app; INSERT INTO p VALUES (1), (2); INSERT INTO c VALUES (10, 1); RESET ROLE;
             CREATE TABLE x (id int PRIMARY KEY)",
        )
        .await;
    database
        .keeper_as("core_keeper")
        .await
        .install()
        .await
        .unwrap();
    database
        .run("SET ROLE core_keeper; SELECT reprieve.enable_v1('p'), reprieve.enable_v1('c'); RESET ROLE")
        .await;
    database
        .run(
            "SET SESSION AUTHORIZATION core_app;
             UPDATE p SET deleted_at = now(), deletion_id = (SELECT reprieve.begin_deletion_v1('DELETE')) WHERE deleted_at IS NULL AND id = 1;
             DELETE FROM p WHERE id = 2; RESET SESSION AUTHORIZATION",
        )
        .await;
    assert_eq!(
        database
            .rows("SELECT DISTINCT role_name, session_role FROM reprieve.deletions")
            .await,
        ["core_app|core_app"]
    );
    assert_eq!(
        database
            .rows("SELECT table_name, rows FROM reprieve.deletion_tables ORDER BY deletion_id, 1")
            .await,
        ["c|1", "p|1", "p|1"]
    );
    // A client may not do anything in our schema but what a proxy does for it.
    let client = database.session().await;
    client
        .batch_execute("SET SESSION AUTHORIZATION core_app")
        .await
        .unwrap();
    for allowed in ["session_v1()", "catalog_v1()", "after_ddl_v1()"] {
        client
            .batch_execute(&format!("SELECT reprieve.{allowed}"))
            .await
            .unwrap();
    }
    for forbidden in [
        "SELECT reprieve.enable_v1('p')",
        "SELECT reprieve.next_deletion()",
        "SELECT * FROM reprieve.graveyard",
        "SELECT * FROM reprieve.tables",
        "CREATE TEMP TABLE mine (id int); CREATE TRIGGER t AFTER DELETE ON mine EXECUTE FUNCTION reprieve.capture_row()",
    ] {
        let error = client.batch_execute(forbidden).await.unwrap_err();
        assert_eq!(
            error.as_db_error().unwrap().code().code(),
            "42501",
            "{forbidden}"
        );
    }
    // Saying that our own statements are under way does not lend the right to delete.
    database.run("REVOKE DELETE ON p FROM core_app").await;
    client
        .batch_execute("SET reprieve.following = '1'")
        .await
        .unwrap();
    let error = client
        .batch_execute("UPDATE p SET deleted_at = now(), deletion_id = 1")
        .await
        .unwrap_err();
    assert_eq!(
        error.as_db_error().unwrap().message(),
        "permission denied for table p"
    );
}

/// PostgreSQL's own foreign keys see rows that policies hide from everybody else.
#[tokio::test]
async fn row_security_that_holds_for_the_keeper_too() {
    let database = Database::new("core_rls").await;
    database
        .run(
            "CREATE ROLE rls_owner; CREATE ROLE rls_keeper LOGIN CREATEROLE IN ROLE rls_owner;
             GRANT CREATE ON DATABASE core_rls TO rls_keeper; GRANT CREATE, USAGE ON SCHEMA public TO rls_owner;
             SET ROLE rls_owner; CREATE TABLE p (id int PRIMARY KEY); CREATE TABLE c (id int PRIMARY KEY, p_id int REFERENCES p, who text);
             ALTER TABLE c ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY; CREATE POLICY own ON c USING (who = current_user); RESET ROLE;
             INSERT INTO p VALUES (1); INSERT INTO c VALUES (10, 1, 'nobody')",
        )
        .await;
    let mut keeper = database.keeper_as("rls_keeper").await;
    keeper.install().await.unwrap();
    let enable =
        "SET ROLE rls_keeper; SELECT mode, reason FROM reprieve.enable_v1('p'); RESET ROLE";
    assert_eq!(
        database.rows(enable).await,
        ["bin|the row security of table c holds for the keeper's role, too"]
    );
    let session = database.session().await;
    session.batch_execute("SET ROLE rls_owner").await.unwrap();
    let error = session.batch_execute("DELETE FROM p").await.unwrap_err();
    assert_eq!(error.code().unwrap().code(), "23503");
    // The keeper is told of it when the table changes.
    database
        .run("ALTER TABLE c NO FORCE ROW LEVEL SECURITY; SELECT reprieve.reconcile_v1(false)")
        .await;
    assert_eq!(mode(&database, "p").await, "mark|marking is exact here");
    database
        .run("ALTER TABLE c FORCE ROW LEVEL SECURITY; SELECT reprieve.reconcile_v1(false)")
        .await;
    assert!(mode(&database, "p").await.starts_with("bin|"));
}

/// D24: what would end the marking of a table that a materialized view reads fails, but for a publication.
#[tokio::test]
async fn a_materialized_view_keeps_its_table_marked() {
    let database = installed("core_matview").await;
    database
        .run(
            "CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'x'); SELECT reprieve.enable_v1('t');
             CREATE MATERIALIZED VIEW m AS SELECT id FROM t WHERE t.deleted_at IS NULL",
        )
        .await;
    let session = database.session().await;
    for refused in [
        "CREATE FUNCTION f() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM t'",
        "CREATE RULE r AS ON DELETE TO t DO ALSO NOTHING",
        "ALTER TABLE t ENABLE ROW LEVEL SECURITY",
    ] {
        let error = session.batch_execute(refused).await.unwrap_err();
        let error = error.as_db_error().unwrap();
        assert_eq!(
            (error.code().code(), error.message()),
            (
                "0A000",
                "view public.m hides deleted rows of table public.t"
            ),
            "{refused}"
        );
    }
    session
        .batch_execute("CREATE PUBLICATION everything FOR ALL TABLES")
        .await
        .unwrap();
    assert_eq!(mode(&database, "t").await, "mark|marking is exact here");
    session
        .batch_execute("DROP MATERIALIZED VIEW m; CREATE FUNCTION f() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM t'")
        .await
        .unwrap();
    assert!(mode(&database, "t").await.starts_with("bin|"));
}
