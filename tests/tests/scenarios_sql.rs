//! What takes two sessions, cursors or transactions, against the oracle.

use std::sync::LazyLock;
use std::thread::sleep;
use std::time::Duration;

use tests::client::{Client, Got};
use tests::compare::{difference, line, lines};
use tests::front;
use tests::message::Detail;
use tests::{Pair, Target};

static PAIR: LazyLock<Pair> = LazyLock::new(|| Pair::start("*.*"));

/// Two sessions of the same application, and what they saw.
struct Story {
    sessions: Vec<Client>,
    seen: Vec<String>,
}

impl Story {
    /// Runs one Query in a session and writes the answer down.
    fn says(&mut self, session: usize, sql: &str) {
        self.seen.push(format!("{session}: {sql}"));
        let messages = self.sessions[session].query(sql);
        self.seen.extend(lines(&messages, Detail::Meaning));
    }

    /// Sends one Query that must wait for a lock.
    fn waits(&mut self, session: usize, sql: &str) {
        self.seen.push(format!("{session} waits: {sql}"));
        self.sessions[session].send(&front::query(sql));
        let got = self.sessions[session].recv(Duration::from_millis(300));
        assert_eq!(
            got,
            Got::Quiet,
            "{sql} did not wait: {}",
            line(&got, Detail::Meaning)
        );
    }

    /// The answer to what waited.
    fn gets(&mut self, session: usize) {
        let messages = self.sessions[session].until_ready();
        self.seen.extend(lines(&messages, Detail::Meaning));
    }
}

/// Runs the same story on both sides and compares what it wrote down. Returns the database's name, for a look behind.
fn same(name: &str, setup: &str, story: impl Fn(&mut Story)) {
    PAIR.create_database(name);
    let _sound = PAIR.behind().sound(name);
    let mut told = Vec::new();
    for (target, settle) in [(PAIR.plain().target(), false), (PAIR.tried(), true)] {
        connect(&target, name).run(setup);
        if settle {
            PAIR.settle(name);
        }
        let sessions = vec![connect(&target, name), connect(&target, name)];
        let mut one = Story {
            sessions,
            seen: Vec::new(),
        };
        story(&mut one);
        told.push(one.seen);
    }
    if let Some(difference) = difference(&told[0], &told[1]) {
        panic!("{name}\n{difference}");
    }
}

fn connect(target: &Target, database: &str) -> Client {
    Client::connect(target, "clerk", database).unwrap_or_else(|error| panic!("{error}"))
}

/// How many rows of a table are tombstones. What a story is about must have happened, not only looked right.
fn tombstones(database: &str, table: &str) -> usize {
    if PAIR.proxy().is_none() {
        return usize::MAX;
    }
    let mut superuser = PAIR.behind().superuser(database);
    let count = superuser.value(&format!(
        "SELECT count(*) FROM {table} WHERE deleted_at IS NOT NULL"
    ));
    count.parse().expect("a count")
}

const ITEMS: &str = "CREATE TABLE t (id int PRIMARY KEY, v int, name text);
    INSERT INTO t SELECT n, n * 10, 'name ' || n FROM generate_series(1, 5) n;";

#[test]
fn s14a_tags_count_deleted_rows_once() {
    same("s14a", ITEMS, |story| {
        story.says(0, "DELETE FROM t WHERE id <= 3");
        story.says(0, "DELETE FROM t WHERE id <= 3");
        story.says(0, "SELECT * FROM t ORDER BY id");
    });
    assert!(tombstones("s14a", "t") >= 3);
}

#[test]
fn s14a_cascades_are_not_counted() {
    let setup = "CREATE TABLE p (id int PRIMARY KEY);
        CREATE TABLE c (id int PRIMARY KEY, p_id int REFERENCES p ON DELETE CASCADE);
        INSERT INTO p SELECT generate_series(1, 3); INSERT INTO c SELECT n, 1 + n % 3 FROM generate_series(1, 9) n;";
    same("s14a_cascade", setup, |story| {
        story.says(0, "DELETE FROM p WHERE id = 1");
        story.says(1, "SELECT * FROM c ORDER BY id");
        story.says(1, "INSERT INTO c VALUES (100, 1)");
    });
    assert!(tombstones("s14a_cascade", "c") >= 3);
}

#[test]
fn s15c_where_current_of() {
    same("s15c", ITEMS, |story| {
        story.says(0, "BEGIN");
        story.says(
            0,
            "DECLARE k CURSOR FOR SELECT * FROM t WHERE v > 0 FOR UPDATE",
        );
        story.says(0, "FETCH k");
        story.says(0, "DELETE FROM t WHERE CURRENT OF k");
        story.says(0, "DELETE FROM t WHERE CURRENT OF k");
        story.says(0, "FETCH k");
        story.says(0, "DELETE FROM t WHERE CURRENT OF k RETURNING id");
        story.says(0, "COMMIT");
        story.says(1, "SELECT id FROM t ORDER BY id");
    });
}

#[test]
fn s15f_a_cursor_keeps_its_snapshot() {
    same("s15f", ITEMS, |story| {
        story.says(0, "BEGIN");
        story.says(0, "DECLARE k CURSOR FOR SELECT id FROM t ORDER BY id");
        story.says(0, "FETCH k");
        story.says(0, "DELETE FROM t WHERE id = 2");
        story.says(0, "FETCH ALL k");
        story.says(0, "SELECT id FROM t ORDER BY id");
        story.says(0, "COMMIT");
    });
    assert!(tombstones("s15f", "t") >= 1);
}

#[test]
fn s15d_delete_in_batches_ends() {
    same(
        "s15d",
        "CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t SELECT generate_series(1, 25)",
        |story| {
            for _ in 0..4 {
                story.says(0, "DELETE FROM t WHERE ctid = ANY(ARRAY(SELECT ctid FROM t ORDER BY id LIMIT 10))");
            }
            story.says(0, "SELECT count(*) FROM t");
        },
    );
}

#[test]
fn s17a_two_workers_take_two_jobs() {
    let take = "DELETE FROM jobs WHERE id = (SELECT id FROM jobs ORDER BY id FOR UPDATE SKIP LOCKED LIMIT 1) RETURNING *";
    same(
        "s17a",
        "CREATE TABLE jobs (id int PRIMARY KEY); INSERT INTO jobs VALUES (1), (2)",
        |story| {
            story.says(0, "BEGIN");
            story.says(0, take);
            story.says(1, take);
            story.says(0, "COMMIT");
            story.says(0, take);
        },
    );
}

#[test]
fn s19a_the_second_delete_waits_and_finds_nothing() {
    same("s19a", ITEMS, |story| {
        story.says(0, "BEGIN");
        story.says(0, "DELETE FROM t WHERE id = 1");
        story.waits(1, "DELETE FROM t WHERE id = 1");
        story.says(0, "COMMIT");
        story.gets(1);
    });
    assert!(tombstones("s19a", "t") >= 1);
}

#[test]
fn s19b_an_update_waits_for_a_delete() {
    same("s19b", ITEMS, |story| {
        story.says(0, "BEGIN");
        story.says(0, "DELETE FROM t WHERE id = 1");
        story.waits(1, "UPDATE t SET v = v + 1 WHERE id = 1");
        story.says(0, "COMMIT");
        story.gets(1);
        story.says(0, "BEGIN");
        story.says(0, "DELETE FROM t WHERE id = 2");
        story.waits(1, "UPDATE t SET v = v + 1 WHERE id = 2 RETURNING v");
        story.says(0, "ROLLBACK");
        story.gets(1);
    });
}

#[test]
fn s19c_a_delete_judges_its_condition_again() {
    same("s19c", ITEMS, |story| {
        story.says(0, "BEGIN");
        story.says(0, "UPDATE t SET v = 99 WHERE id = 1");
        story.waits(1, "DELETE FROM t WHERE v = 10");
        story.says(0, "COMMIT");
        story.gets(1);
        story.says(1, "SELECT id, v FROM t ORDER BY id");
    });
}

#[test]
fn s19d_above_read_committed_the_second_writer_fails() {
    same("s19d", ITEMS, |story| {
        story.says(1, "BEGIN ISOLATION LEVEL REPEATABLE READ");
        story.says(1, "SELECT count(*) FROM t");
        story.says(0, "DELETE FROM t WHERE id = 1");
        story.says(1, "SELECT count(*) FROM t");
        story.says(1, "DELETE FROM t WHERE id = 1");
        story.says(1, "ROLLBACK");
    });
}

#[test]
fn s7_a_child_waits_for_the_delete_of_its_parent() {
    let setup = "CREATE TABLE p (id int PRIMARY KEY); INSERT INTO p VALUES (1), (2);
        CREATE TABLE c (id int PRIMARY KEY, p_id int REFERENCES p);";
    same("s7", setup, |story| {
        story.says(0, "BEGIN");
        story.says(0, "DELETE FROM p WHERE id = 1");
        story.waits(1, "INSERT INTO c VALUES (10, 1)");
        story.says(0, "COMMIT");
        story.gets(1);
        story.says(1, "BEGIN");
        story.says(1, "INSERT INTO c VALUES (20, 2)");
        story.waits(0, "DELETE FROM p WHERE id = 2");
        story.says(1, "COMMIT");
        story.gets(0);
    });
}

#[test]
fn s20_rollback_leaves_nothing() {
    same("s20", ITEMS, |story| {
        story.says(0, "BEGIN");
        story.says(0, "SAVEPOINT s");
        story.says(0, "DELETE FROM t");
        story.says(0, "ROLLBACK TO s");
        story.says(0, "COMMIT");
        story.says(1, "SELECT count(*) FROM t");
        story.says(0, "DELETE FROM t WHERE id = 1; SELECT 1/0");
        story.says(1, "SELECT count(*) FROM t");
    });
    if PAIR.proxy().is_some() {
        let mut superuser = PAIR.behind().superuser("s20");
        assert_eq!(
            superuser.value("SELECT count(*) FROM reprieve.deletions"),
            "0"
        );
        assert_eq!(tombstones("s20", "t"), 0);
    }
}

#[test]
fn s20_prepared_transactions_delete_when_they_are_committed() {
    same("s20_two_phase", ITEMS, |story| {
        story.says(0, "BEGIN");
        story.says(0, "DELETE FROM t WHERE id < 3");
        story.says(0, "PREPARE TRANSACTION 's20'");
        story.says(1, "SELECT count(*) FROM t");
        story.says(1, "COMMIT PREPARED 's20'");
        story.says(0, "SELECT count(*) FROM t");
    });
}

#[test]
fn s20_a_schema_change_can_be_prepared() {
    same("s20_two_phase_ddl", ITEMS, |story| {
        for (end, seen) in [("COMMIT", 3), ("ROLLBACK", 5)] {
            story.says(0, "BEGIN");
            story.says(
                0,
                "CREATE TABLE n (id int PRIMARY KEY, t_id int REFERENCES t ON DELETE CASCADE)",
            );
            story.says(
                0,
                "INSERT INTO n SELECT n, 1 + n % 5 FROM generate_series(1, 10) n",
            );
            story.says(0, "ALTER TABLE t ADD extra text DEFAULT 'e'");
            story.says(0, &format!("DELETE FROM t WHERE id > {seen} RETURNING *"));
            story.says(0, "DELETE FROM n WHERE id = 5");
            story.says(0, "SELECT * FROM n ORDER BY id");
            story.says(0, "PREPARE TRANSACTION 's20_ddl'");
            story.says(0, "SELECT * FROM n");
            story.says(1, &format!("{end} PREPARED 's20_ddl'"));
            story.says(1, "SELECT * FROM n ORDER BY id");
            story.says(1, "SELECT * FROM t ORDER BY id");
            story.says(0, "SELECT * FROM t ORDER BY id");
            story.says(0, "DELETE FROM t WHERE id = 2 RETURNING *");
            story.says(0, "SELECT count(*) FROM n");
            story.says(
                0,
                "DROP TABLE IF EXISTS n; ALTER TABLE t DROP IF EXISTS extra",
            );
            story.says(0, "INSERT INTO t VALUES (2, 20, 'name 2')");
        }
    });
}

#[test]
fn s24b_prepared_before_enabling() {
    if PAIR.proxy().is_none() {
        return;
    }
    // Not an oracle story: the table is enabled in the middle.
    let database = "s24b";
    PAIR.create_database(database);
    let _sound = PAIR.behind().sound(database);
    let target = PAIR.tried();
    let mut app = connect(&target, database);
    app.run(ITEMS);
    PAIR.settle(database);
    let mut admin = PAIR
        .proxy()
        .expect("there is a proxy")
        .connect_admin(database);
    admin.run("DISABLE SOFT DELETE ON t");
    app.run("PREPARE q AS SELECT * FROM t ORDER BY id");
    assert_eq!(app.run("EXECUTE q").len(), 5);
    admin.run("ENABLE SOFT DELETE ON t");
    PAIR.settle(database);
    assert_eq!(app.run("EXECUTE q").len(), 5);
    assert_eq!(app.command("DELETE FROM t WHERE id = 1"), "DELETE 1");
    assert_eq!(
        app.run("EXECUTE q"),
        ["2|20|name 2", "3|30|name 3", "4|40|name 4", "5|50|name 5"]
    );
}

#[test]
fn a_new_table_is_enabled_for_all_sessions() {
    same("new_table", "SELECT 1", |story| {
        story.says(0, ITEMS);
        story.says(1, "SELECT count(*) FROM t");
        sleep(Duration::from_millis(500));
        story.says(1, "DELETE FROM t WHERE id = 1 RETURNING *");
        story.says(0, "SELECT * FROM t ORDER BY id");
        story.says(0, "ALTER TABLE t ADD extra text DEFAULT 'e'");
        story.says(1, "DELETE FROM t WHERE id = 2 RETURNING *");
        story.says(0, "TABLE t");
        story.says(1, "DROP TABLE t");
        story.says(0, "TABLE t");
    });
}

#[test]
fn tables_become_partitions_and_tables_again() {
    let setup = "CREATE TABLE t (a int PRIMARY KEY, b text) PARTITION BY LIST (a); CREATE TABLE t1 PARTITION OF t FOR VALUES IN (1);
        CREATE TABLE old (id int PRIMARY KEY, v text); INSERT INTO old SELECT n, 'v' || n FROM generate_series(1, 9) n";
    same("partitions", setup, |story| {
        for sql in [
            "CREATE TABLE t2 (b text, a int PRIMARY KEY); INSERT INTO t2 VALUES ('two', 2), ('three', 3); DELETE FROM t2 WHERE a = 3",
            "ALTER TABLE t ATTACH PARTITION t2 FOR VALUES IN (2)",
            "INSERT INTO t VALUES (1, 'one'), (2, 'zwei') ON CONFLICT (a) DO UPDATE SET b = t.b || excluded.b RETURNING *",
            "DO $$ BEGIN EXECUTE 'CREATE TABLE t4 (LIKE t INCLUDING ALL)'; EXECUTE 'ALTER TABLE t ATTACH PARTITION t4 FOR VALUES IN (4)'; END $$",
            "INSERT INTO t VALUES (4, 'four'); DELETE FROM t WHERE a = 2 RETURNING *",
            "ALTER TABLE t DETACH PARTITION t2",
            "INSERT INTO t2 VALUES ('again', 2); DELETE FROM t2; SELECT * FROM t2",
            "SELECT * FROM t ORDER BY a",
        ] {
            story.says(0, sql);
        }
        // A table of long standing, with deleted rows in it, gets a root.
        story.says(1, "DELETE FROM old WHERE id < 4");
        story.says(0, "BEGIN");
        story.says(0, "ALTER TABLE old RENAME TO old_1");
        story.says(
            0,
            "CREATE TABLE old (id int PRIMARY KEY, v text) PARTITION BY RANGE (id)",
        );
        story.says(
            0,
            "ALTER TABLE old ATTACH PARTITION old_1 FOR VALUES FROM (0) TO (100)",
        );
        story.says(0, "DELETE FROM old WHERE id = 5");
        story.says(0, "COMMIT");
        story.says(1, "SELECT * FROM old ORDER BY id");
        story.says(1, "INSERT INTO old VALUES (1, 'new') RETURNING *");
    });
}

#[test]
fn tables_become_children_and_tables_again() {
    let setup = "CREATE TABLE p (id int PRIMARY KEY, v text); CREATE TABLE c (id int PRIMARY KEY, v text, w int);
        CREATE TABLE keyless (id int NOT NULL, v text); INSERT INTO p VALUES (1, 'p'), (2, 'p'); INSERT INTO c VALUES (3, 'c', 1), (4, 'c', 2);
        INSERT INTO keyless VALUES (5, 'k'), (6, 'k'); DELETE FROM p WHERE id = 2; DELETE FROM c WHERE id = 4; DELETE FROM keyless WHERE id = 6";
    same("children", setup, |story| {
        for sql in [
            "ALTER TABLE c INHERIT p",
            "SELECT * FROM p ORDER BY id",
            "ALTER TABLE keyless INHERIT p",
            "SELECT * FROM p ORDER BY id",
            "CREATE TABLE born (LIKE p INCLUDING CONSTRAINTS) INHERITS (p)",
            "SELECT attname FROM pg_attribute WHERE attrelid = 'born'::regclass AND attnum > 0 ORDER BY attnum",
            "DELETE FROM p WHERE id IN (1, 3) RETURNING *",
            "SELECT * FROM c",
            "ALTER TABLE c NO INHERIT p",
            "INSERT INTO c VALUES (3, 'again', 2); DELETE FROM c; SELECT * FROM c",
        ] {
            story.says(0, sql);
        }
        story.says(1, "SELECT * FROM p ORDER BY id");
    });
}

#[test]
fn s11d_the_type_of_rows_follows_the_table() {
    let Some(proxy) = PAIR.proxy() else {
        return;
    };
    PAIR.create_database("row_types");
    let _sound = PAIR.behind().sound("row_types");
    let setup =
        "CREATE TYPE mood AS ENUM ('sad', 'ok'); CREATE TABLE t (id int PRIMARY KEY, v text)";
    let statements = [
        "SELECT * FROM jsonb_populate_record(NULL::t, '{\"id\":1}')",
        "ALTER TABLE t ADD COLUMN m mood, ADD COLUMN n int[]",
        "SELECT * FROM jsonb_populate_record(NULL::t, '{\"id\":1,\"m\":\"ok\",\"n\":[1]}')",
        "DROP TYPE mood",
        "DROP TYPE mood CASCADE",
        "SELECT ROW(1, 'a', '{2}')::t",
        "ALTER TABLE t RENAME TO other",
        "SELECT ROW(1, 'a', '{2}')::other, NULL::t",
        "ALTER TABLE other ALTER v TYPE varchar(1), ALTER id TYPE bigint",
        "SELECT (ROW(1, 'abc', NULL)::other).v",
        "CREATE FUNCTION named(other) RETURNS text LANGUAGE sql AS 'SELECT $1.v'",
        "INSERT INTO other VALUES (1, 'x')",
        "SELECT named(o), o.named, named(NULL::other), (ROW(1, 'y', NULL)::other).named FROM other o",
        "DROP TABLE other CASCADE",
        "SELECT NULL::other",
    ];
    let mut app = proxy.connect("row_types");
    let mut plain = PAIR.plain().superuser("row_types");
    app.run(setup);
    plain.run(setup);
    PAIR.settle("row_types");
    for statement in statements {
        assert_eq!(
            lines(&app.query(statement), Detail::Meaning),
            lines(&plain.query(statement), Detail::Meaning),
            "{statement}"
        );
        PAIR.settle("row_types");
    }
    let mut superuser = PAIR.behind().superuser("row_types");
    let left = "SELECT count(*) FROM pg_type WHERE typnamespace = 'reprieve'::regnamespace AND typname ~ '^row_'";
    assert_eq!(superuser.value(left), "0");
}

/// Pins a difference, see `docs/differences.md`.
#[test]
fn d6_what_stays_cannot_keep_rows_of_a_marked_table() {
    let Some(proxy) = PAIR.proxy() else {
        return;
    };
    PAIR.create_database("d6");
    let _sound = PAIR.behind().sound("d6");
    let mut app = proxy.connect("d6");
    app.run("CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'a')");
    PAIR.settle("d6");
    for statement in [
        "CREATE TABLE kept AS SELECT t FROM t",
        "CREATE TEMP TABLE kept AS SELECT NULL::t AS r",
        "SELECT ARRAY[t] AS rows INTO kept FROM t",
        "CREATE MATERIALIZED VIEW kept AS SELECT id FROM json_populate_record(NULL::t, '{}')",
        "CREATE VIEW kept AS SELECT (NULL::t).id",
    ] {
        let got = lines(&app.query(statement), Detail::Meaning);
        let refused = got[0].contains("0A000") && got[0].contains("MODE bin");
        assert!(refused, "{statement}: {got:?}");
    }
    // The others fail in the database, where the types of what is made are known.
    let log = proxy.log();
    let told = log
        .lines()
        .filter(|line| line.contains("statement refused") && line.contains("database=\"d6\""));
    assert_eq!(told.count(), 2, "{log}");
    // Columns taken out of them are the client's own.
    app.run(
        "CREATE TABLE copied AS SELECT r.* FROM t, json_populate_record(t, '{\"v\":\"b\"}') AS r",
    );
    assert_eq!(app.run("SELECT * FROM copied"), ["1|b"]);
    app.run("CREATE VIEW json AS SELECT to_json(t) FROM t");
    assert_eq!(app.run("SELECT * FROM json"), [r#"{"id":1,"v":"a"}"#]);
    assert_eq!(
        app.run("SELECT pg_typeof(NULL::t)::text ~ '^reprieve[.]row_'"),
        ["t"]
    );
}

/// Pins a difference, see `docs/differences.md`.
#[test]
fn d19_without_event_triggers_a_table_that_is_not_marked_cannot_inherit_from_one_that_is() {
    let Some(proxy) = PAIR.proxy() else {
        return;
    };
    PAIR.create_database("d19");
    let _sound = PAIR.behind().sound("d19");
    let mut app = proxy.connect("d19");
    app.run("CREATE TABLE p (id int PRIMARY KEY, v text); CREATE TABLE keyless (id int NOT NULL, v text)");
    PAIR.settle("d19");
    let mut superuser = PAIR.behind().superuser("d19");
    for name in ["ddl", "drop", "start"] {
        superuser.run(&format!("DROP EVENT TRIGGER reprieve_{name}"));
    }
    let got = lines(&app.query("ALTER TABLE keyless INHERIT p"), Detail::Meaning);
    assert!(
        got[0].contains("42804") && got[0].contains("deleted_at"),
        "{got:?}"
    );
}

#[test]
fn s2_set_constraints_reaches_deferred_checks_of_ours() {
    let setup = "CREATE TABLE p (id int PRIMARY KEY); INSERT INTO p VALUES (1), (2), (3); DELETE FROM p WHERE id = 2;
        CREATE TABLE c (id int PRIMARY KEY, p_id int CONSTRAINT c_p REFERENCES p DEFERRABLE INITIALLY DEFERRED, p_too int REFERENCES p DEFERRABLE);
        CREATE TABLE tree (id int PRIMARY KEY, up int CONSTRAINT tree_up REFERENCES tree DEFERRABLE INITIALLY DEFERRED)";
    same("set_constraints", setup, |story| {
        for sql in [
            "BEGIN",
            "INSERT INTO c VALUES (1, 2)",
            "SET CONSTRAINTS c_p IMMEDIATE",
            "ROLLBACK",
            "BEGIN",
            "SET CONSTRAINTS public.\"c_p\", c_p_too_fkey IMMEDIATE",
            "INSERT INTO c VALUES (1, 2)",
            "ROLLBACK",
            "BEGIN",
            "SET CONSTRAINTS c_p_too_fkey DEFERRED",
            "INSERT INTO c VALUES (2, 1, 2)",
            "INSERT INTO p VALUES (2)",
            "COMMIT",
            "BEGIN",
            "ALTER TABLE c ADD COLUMN p_three int CONSTRAINT c_three REFERENCES p DEFERRABLE INITIALLY DEFERRED",
            "SET CONSTRAINTS c_three IMMEDIATE",
            "UPDATE c SET p_three = 1",
            "CREATE INDEX c_three ON c (p_three)",
            "COMMIT",
            "BEGIN",
            "INSERT INTO tree VALUES (1, 2), (2, NULL)",
            "DELETE FROM tree WHERE id = 2",
            "SET CONSTRAINTS tree_up, nothing IMMEDIATE",
            "ROLLBACK",
            "BEGIN",
            "INSERT INTO tree VALUES (1, 2)",
            "INSERT INTO tree VALUES (2, 1)",
            "SET CONSTRAINTS \"tree_up\" IMMEDIATE",
            "ALTER TABLE tree DROP CONSTRAINT tree_up",
            "COMMIT",
        ] {
            story.says(0, sql);
        }
    });
}

#[test]
fn s22_rules_and_policies_on_marked_tables() {
    let setup = "CREATE TABLE base (id int PRIMARY KEY, v text); INSERT INTO base VALUES (1, 'a'), (2, 'b'), (3, 'c'); DELETE FROM base WHERE id = 1;
        CREATE TABLE grown (id int PRIMARY KEY, owner text DEFAULT current_user); CREATE TABLE members (name text PRIMARY KEY);
        INSERT INTO members VALUES (current_user), ('other'); DELETE FROM members WHERE name = 'other'; INSERT INTO grown VALUES (1), (2)";
    same("rules", setup, |story| {
        for sql in [
            "CREATE VIEW w AS SELECT * FROM base ORDER BY id LIMIT 10",
            "CREATE RULE w_insert AS ON INSERT TO w DO INSTEAD INSERT INTO base VALUES (NEW.id, NEW.v) RETURNING *",
            "INSERT INTO w VALUES (1, 'again') RETURNING *",
            "CREATE RULE w_delete AS ON DELETE TO w DO INSTEAD DELETE FROM base WHERE id = OLD.id",
            "DELETE FROM w WHERE id = 2",
            "SELECT * FROM w",
            "SELECT * FROM base ORDER BY id",
            "CREATE POLICY mine ON grown AS PERMISSIVE USING (owner IN (SELECT name FROM members))",
            "ALTER TABLE grown ENABLE ROW LEVEL SECURITY",
            "ALTER TABLE grown FORCE ROW LEVEL SECURITY",
            "SELECT * FROM grown ORDER BY id",
            "DELETE FROM members",
            "SELECT * FROM grown",
            "CREATE FUNCTION living() RETURNS bigint LANGUAGE sql RETURN (SELECT count(*) FROM base)",
            "SELECT living()",
        ] {
            story.says(0, sql);
        }
    });
}

#[test]
fn views_stay_right_when_a_table_stops_being_marked() {
    let setup = "CREATE TABLE a (id int PRIMARY KEY, v text); CREATE TABLE b (id int PRIMARY KEY, a_id int REFERENCES a ON DELETE CASCADE);
        INSERT INTO a VALUES (1, 'x'), (2, 'y'), (3, 'z'); INSERT INTO b VALUES (10, 1), (20, 2), (30, 3);
        CREATE VIEW joined WITH (security_barrier) AS SELECT a.v, b.id FROM a LEFT JOIN b ON b.a_id = a.id;
        CREATE VIEW narrow AS SELECT * FROM a WHERE id < 3 WITH CHECK OPTION; CREATE VIEW deep AS SELECT count(*) FROM joined";
    same("views_stay", setup, |story| {
        for sql in [
            "DELETE FROM a WHERE id = 1",
            "DELETE FROM b WHERE id = 20",
            "SELECT * FROM joined ORDER BY 1",
            "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
            "CREATE TRIGGER note BEFORE UPDATE ON a FOR EACH ROW EXECUTE FUNCTION note()",
            "SELECT * FROM joined ORDER BY 1",
            "SELECT * FROM narrow",
            "INSERT INTO narrow VALUES (7, 'no')",
            "INSERT INTO narrow VALUES (1, 'again') RETURNING *",
            "DELETE FROM b",
            "SELECT * FROM deep",
            "SELECT pg_get_viewdef('joined'::regclass), pg_get_viewdef('narrow'::regclass)",
            "SELECT reloptions FROM pg_class WHERE relname IN ('joined', 'narrow') ORDER BY relname",
        ] {
            story.says(0, sql);
        }
    });
}

#[test]
fn s25_a_schema_change_judges_live_rows_only() {
    let setup = "CREATE TABLE t (id int PRIMARY KEY, a int, v text); INSERT INTO t VALUES (1, 1, 'x'), (2, 1, '2'), (3, 3, '3'); DELETE FROM t WHERE id = 1;
        CREATE TABLE c (id int PRIMARY KEY, t_id int); INSERT INTO c VALUES (1, 1), (2, 3)";
    same("schema_change", setup, |story| {
        for sql in [
            "ALTER TABLE t ADD CONSTRAINT t_a UNIQUE (a)",
            "ALTER TABLE t ADD CHECK (id > 1), ALTER v TYPE int USING v::int",
            "ALTER TABLE c ADD FOREIGN KEY (t_id) REFERENCES t",
            "DELETE FROM c WHERE t_id = 1",
            "ALTER TABLE c ADD FOREIGN KEY (t_id) REFERENCES t ON DELETE CASCADE",
            "DELETE FROM t WHERE id = 3",
            "ALTER TABLE c ALTER t_id SET NOT NULL, ALTER id TYPE bigint",
            "INSERT INTO c VALUES (5, 2)",
            "ALTER TABLE t ALTER id TYPE bigint",
            "DELETE FROM t RETURNING *",
            "SELECT count(*) FROM c",
            "ALTER TABLE c DROP COLUMN t_id",
            "CREATE FUNCTION rows_of_t() RETURNS SETOF t LANGUAGE sql AS 'SELECT id, a, v FROM t'",
            "INSERT INTO t VALUES (7, 7, 7)",
            "SELECT * FROM rows_of_t()",
        ] {
            story.says(0, sql);
        }
    });
}

#[test]
fn temporary_tables_of_one_session_hide_tables_for_it_alone() {
    same("temporary", ITEMS, |story| {
        story.says(0, "CREATE TEMP TABLE t (other text)");
        story.says(0, "INSERT INTO t VALUES ('mine')");
        story.says(0, "SELECT * FROM t");
        story.says(1, "DELETE FROM t WHERE id = 1");
        story.says(0, "DELETE FROM t");
        story.says(0, "SELECT count(*) FROM public.t");
        story.says(0, "DROP TABLE pg_temp.t");
        story.says(0, "SELECT id FROM t ORDER BY id");
    });
}

#[test]
fn the_search_path_moves() {
    let setup = "CREATE SCHEMA a; CREATE SCHEMA b; CREATE TABLE a.t (id int PRIMARY KEY); CREATE TABLE b.t (id int PRIMARY KEY, x text);
        INSERT INTO a.t VALUES (1), (2); INSERT INTO b.t VALUES (1, 'x'), (2, 'y');";
    same("search_path", setup, |story| {
        story.says(0, "SET search_path = a");
        story.says(0, "DELETE FROM t WHERE id = 1 RETURNING *");
        for sql in [
            "BEGIN",
            "SET LOCAL search_path = b",
            "DELETE FROM t WHERE id = 2 RETURNING *",
            "ROLLBACK",
        ] {
            story.says(0, sql);
        }
        story.says(0, "SELECT * FROM t");
        story.says(0, "SELECT set_config('search_path', 'b', false)");
        story.says(0, "SELECT * FROM t ORDER BY id");
        story.says(1, "SELECT * FROM t");
    });
}

#[test]
fn reset_all_leaves_deletions_whole() {
    same("reset_all", ITEMS, |story| {
        story.says(0, "BEGIN");
        story.says(0, "DELETE FROM t WHERE id = 1");
        story.says(0, "RESET ALL");
        story.says(0, "DELETE FROM t WHERE id IN (2, 3)");
        story.says(0, "DELETE FROM t WHERE id = 4; RESET ALL");
        story.says(0, "COMMIT");
        story.says(0, "DISCARD ALL");
        story.says(0, "DELETE FROM t WHERE id = 5");
        story.says(1, "SELECT count(*) FROM t");
    });
    if PAIR.proxy().is_some() {
        let mut superuser = PAIR.behind().superuser("reset_all");
        let by_size = "SELECT string_agg(n::text, ' ' ORDER BY n) FROM
            (SELECT count(*) AS n FROM t GROUP BY deletion_id) AS of_a_statement";
        assert_eq!(superuser.value(by_size), "1 1 1 2");
        let ledger = "SELECT count(*) FROM reprieve.deletions";
        assert_eq!(superuser.value(ledger), "4");
    }
}

#[test]
fn the_keepers_settings_are_not_the_clients_to_set() {
    if PAIR.proxy().is_none() {
        return;
    }
    PAIR.create_database("settings");
    let _sound = PAIR.behind().sound("settings");
    let mut client = connect(&PAIR.tried(), "settings");
    for sql in [
        "SET reprieve.role = 'somebody'",
        "SELECT set_config('reprieve.role', 'somebody', false)",
        "ALTER ROLE CURRENT_USER SET reprieve.role = 'somebody'",
    ] {
        let messages = client.query(sql);
        let seen = lines(&messages, Detail::Meaning).join("\n");
        assert!(seen.contains("42501"), "{sql}: {seen}");
    }
    client.run("SET reprieve.actor = 'ann'; SET LOCAL reprieve.reason = 'because'");
}

/// As Django adds a foreign key, fills it and makes an index, all in one migration.
#[test]
fn constraints_are_set_in_the_message_that_makes_them() {
    let setup = "CREATE TABLE node (id int PRIMARY KEY); INSERT INTO node VALUES (1), (2);";
    same("set_constraints_at_once", setup, |story| {
        story.says(0, "BEGIN");
        story.says(
            0,
            "ALTER TABLE node ADD p int CONSTRAINT node_p_fk REFERENCES node DEFERRABLE INITIALLY DEFERRED; \
             SET CONSTRAINTS node_p_fk IMMEDIATE",
        );
        story.says(0, "UPDATE node SET p = 1");
        story.says(0, "CREATE INDEX ON node (p)");
        story.says(0, "DELETE FROM node WHERE id = 2");
        story.says(0, "UPDATE node SET p = 2");
        story.says(0, "ROLLBACK");
        story.says(1, "SELECT * FROM node ORDER BY id");
    });
}
