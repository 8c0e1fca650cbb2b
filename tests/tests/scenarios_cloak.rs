//! What tools see that read the catalogs: pg_dump foremost, which asks for everything.

use std::process::{Command, Stdio};
use std::sync::LazyLock;

use tests::client::Client;
use tests::cluster::bin_dir;
use tests::compare::difference;
use tests::sql::statements;
use tests::{Pair, Target};

static PAIR: LazyLock<Pair> = LazyLock::new(|| Pair::start("*.*"));

/// Marked and binned tables, columns behind ours, views of all shapes.
const SHOP: &str = "
    CREATE TABLE customers (id serial PRIMARY KEY, email text UNIQUE, name varchar(80) NOT NULL DEFAULT 'x');
    CREATE TABLE orders (id serial PRIMARY KEY, customer_id int NOT NULL REFERENCES customers ON DELETE CASCADE,
        total numeric(10,2) CHECK (total >= 0), note text);
    CREATE INDEX orders_customer ON orders (customer_id);
    CREATE TABLE lines (order_id int REFERENCES orders ON DELETE CASCADE DEFERRABLE, no int, what text,
        PRIMARY KEY (order_id, no));
    CREATE TABLE boss (id int PRIMARY KEY, boss_id int REFERENCES boss DEFERRABLE INITIALLY DEFERRED);
    CREATE TABLE nokey (a int, deleted_at timestamptz);
    CREATE TABLE part (id int PRIMARY KEY, v text) PARTITION BY RANGE (id);
    CREATE TABLE part_1 PARTITION OF part FOR VALUES FROM (1) TO (100);
    CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
    CREATE TABLE audited (id int PRIMARY KEY, v text);
    CREATE TRIGGER touch BEFORE UPDATE ON audited FOR EACH ROW EXECUTE FUNCTION touch();
    COMMENT ON TABLE orders IS 'what was bought';
    COMMENT ON COLUMN orders.total IS 'in euros';
    GRANT SELECT ON orders TO PUBLIC;
    GRANT UPDATE (note) ON orders TO PUBLIC;
    ALTER TABLE orders ADD COLUMN extra int DEFAULT 7;
    ALTER TABLE customers ADD COLUMN gone int;
    ALTER TABLE customers DROP COLUMN gone;
    CREATE INDEX ON orders (extra);
    INSERT INTO customers (email) VALUES ('a@x'), ('b@x'), ('c@x');
    INSERT INTO orders (customer_id, total) VALUES (1, 10), (1, 20), (2, 30);
    INSERT INTO lines VALUES (1, 1, 'w'), (2, 1, 'x'), (3, 1, 'y');
    INSERT INTO nokey VALUES (1, NULL), (2, NULL);
    INSERT INTO part VALUES (1, 'one'), (2, 'two');";

const VIEWS: &str = "
    CREATE VIEW v1 AS SELECT * FROM orders;
    CREATE VIEW v2 AS SELECT id FROM orders WHERE total > 3 OR id = 2;
    CREATE VIEW v3 AS SELECT o.id, c.email FROM orders o JOIN customers c ON c.id = o.customer_id;
    CREATE VIEW v4 AS SELECT o.id, c.email FROM customers c
        LEFT JOIN orders o ON c.id = o.customer_id AND (o.id > 1 OR o.id IS NULL);
    CREATE VIEW v5 AS SELECT o.id, c.email FROM customers c LEFT JOIN orders o ON c.id = o.customer_id OR o.id > 1
        WHERE c.id IN (SELECT order_id FROM lines) OR c.email = 'x''y(' GROUP BY 1, 2 HAVING count(*) > 0 ORDER BY 1 LIMIT 3;
    CREATE VIEW v6 AS SELECT id FROM orders UNION ALL SELECT id FROM customers WHERE id > 2 AND name <> '' UNION SELECT 1;
    CREATE VIEW v7 AS SELECT * FROM customers FULL JOIN orders USING (id);
    CREATE VIEW v8 AS SELECT * FROM customers c NATURAL JOIN orders x;
    CREATE VIEW v9 AS SELECT id, CASE WHEN total > 3 THEN 'a' ELSE 'b' END AS k FROM orders
        WHERE CASE WHEN total > 3 THEN true ELSE false END;
    CREATE VIEW v10 AS WITH w AS (SELECT id FROM orders WHERE id > 1), z AS (SELECT * FROM w)
        SELECT *, (SELECT count(*) FROM lines l WHERE l.order_id = z.id) FROM z WHERE EXISTS (SELECT 1 FROM orders);
    CREATE VIEW v11 AS SELECT id FROM (SELECT id FROM orders) s WHERE NOT (id = 1 OR id = 2);
    CREATE VIEW v12 AS SELECT \"orders\".id FROM orders AS \"Odd Name\", orders
        WHERE (orders.id + 1) > 2 AND (\"Odd Name\".id IS NULL OR true);
    CREATE VIEW v13 AS SELECT a.a FROM nokey a JOIN orders o ON true WHERE a.deleted_at IS NULL;
    CREATE VIEW v14 AS SELECT id FROM orders WHERE note <> 't.deleted_at IS NULL AND ' || E'\\\\';
    CREATE VIEW v15 AS SELECT id FROM orders WHERE (SELECT true);
    CREATE VIEW v16 AS SELECT o.id FROM customers c
        LEFT JOIN (orders o JOIN lines l ON l.order_id = o.id) ON o.customer_id = c.id, boss b;
    CREATE VIEW v17 AS SELECT o.id FROM customers c LEFT JOIN LATERAL
        (SELECT * FROM orders q WHERE q.customer_id = c.id AND (q.id = 1 OR q.id = 2)) o ON true;
    CREATE VIEW v18 AS SELECT id FROM orders WHERE id > 1 WITH CASCADED CHECK OPTION;
    CREATE VIEW v19 AS SELECT id FROM ONLY orders TABLESAMPLE SYSTEM (100);
    CREATE VIEW v20 AS SELECT note || 'it''s' AS \"odd's deleted_at (\" FROM orders WHERE note = 'a' OR note = 'b''';
    CREATE VIEW v21 AS SELECT a.a, a.deleted_at FROM nokey a LEFT JOIN orders o ON o.id = a.a AND a.deleted_at IS NULL
        WHERE a.deleted_at IS NULL OR o.note = 'x';
    CREATE MATERIALIZED VIEW m1 AS SELECT * FROM orders WHERE id > 1;";

const DELETES: &str = "
    DELETE FROM customers WHERE id = 1;
    DELETE FROM nokey WHERE a = 1;
    DELETE FROM part WHERE id = 1;";

fn connect(target: &Target, database: &str) -> Client {
    Client::connect(target, "clerk", database).unwrap_or_else(|error| panic!("{error}"))
}

/// The same statements on both sides, with marks where marks belong.
fn make(name: &str, deletes: &str) {
    PAIR.create_database(name);
    let _sound = PAIR.behind().sound(name);
    for (target, settle) in [(PAIR.plain().target(), false), (PAIR.tried(), true)] {
        let mut client = connect(&target, name);
        let say = |client: &mut Client, text: &str| {
            for statement in statements(text) {
                client.run(statement);
            }
        };
        say(&mut client, SHOP);
        say(&mut client, VIEWS);
        if settle {
            PAIR.settle(name);
        }
        say(&mut client, deletes);
    }
    if PAIR.proxy().is_some() {
        let mut behind = PAIR.behind().superuser(name);
        let marked = behind.value("SELECT count(*) FROM orders WHERE deleted_at IS NOT NULL");
        assert_eq!(marked, if deletes.is_empty() { "0" } else { "2" });
    }
}

fn program(name: &str, target: &Target, user: &str, database: &str) -> Command {
    let port = target.port();
    let mut command = Command::new(bin_dir().join(name));
    command.args(["-h", "127.0.0.1", "-U", user, "-d", database, "-p"]);
    command.arg(port.to_string());
    command
}

fn dump(target: &Target, user: &str, database: &str, options: &[&str]) -> Vec<String> {
    let mut pg_dump = program("pg_dump", target, user, database);
    let text = tests::process::run(pg_dump.args(options));
    // A dump is locked with a random key.
    let is_kept =
        |line: &&str| !line.starts_with("\\restrict") && !line.starts_with("\\unrestrict");
    text.lines().filter(is_kept).map(str::to_owned).collect()
}

#[test]
fn s11h_a_dump_is_that_of_a_plain_database() {
    make("dumped", DELETES);
    for user in ["clerk", "postgres"] {
        for options in [
            &[][..],
            &["--schema-only"],
            &["--inserts"],
            &["-t", "orders"],
        ] {
            let plain = dump(&PAIR.plain().target(), user, "dumped", options);
            let tried = dump(&PAIR.tried(), user, "dumped", options);
            assert!(plain.len() > 30, "{plain:?}");
            if let Some(difference) = difference(&plain, &tried) {
                panic!("as {user}, {options:?}\n{difference}");
            }
        }
    }
}

#[test]
fn s11h_a_dump_can_be_restored() {
    make("source", DELETES);
    PAIR.create_database("copy");
    let _sound = PAIR.behind().sound("copy");
    let text = dump(&PAIR.tried(), "clerk", "source", &[]).join("\n");
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), text).expect("a dump");
    for target in [PAIR.plain().target(), PAIR.tried()] {
        let mut psql = program("psql", &target, "clerk", "copy");
        let output = psql
            .args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-f"])
            .arg(file.path())
            .stdin(Stdio::null())
            .output()
            .expect("psql starts");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{target:?}: {errors}");
    }
    PAIR.settle("copy");
    let source = dump(&PAIR.tried(), "clerk", "source", &[]);
    let copies =
        [PAIR.plain().target(), PAIR.tried()].map(|target| dump(&target, "clerk", "copy", &[]));
    // The columns of a restored table are numbered anew, which no dump shows.
    for copy in copies {
        assert_eq!(difference(&source, &copy), None);
    }
}

#[test]
fn s11h_definitions_of_views() {
    make("defined", "");
    for sql in [
        "SELECT * FROM pg_views WHERE schemaname = 'public' ORDER BY viewname",
        "SELECT m.*, 1 FROM pg_matviews m",
        "SELECT viewname, definition FROM pg_views v WHERE v.definition ~ 'deleted_at' ORDER BY 1",
        "SELECT table_schema, table_name, view_definition, is_updatable, is_insertable_into FROM information_schema.views
         WHERE table_schema = 'public' ORDER BY 2",
        "SELECT * FROM (SELECT * FROM information_schema.views AS v) AS v WHERE table_name = 'v5'",
    ] {
        let plain = connect(&PAIR.plain().target(), "defined").run(sql);
        let tried = connect(&PAIR.tried(), "defined").run(sql);
        assert!(!plain.is_empty(), "{sql}");
        assert_eq!(difference(&plain, &tried), None, "{sql}");
    }
}

/// From PostgreSQL 16 on, columns of a view's only relation have no qualifier.
#[test]
fn s11h_definitions_as_later_servers_print_them() {
    let Some(proxy) = PAIR.proxy() else { return };
    make("later", "");
    let mut admin = proxy.connect_admin("later");
    let mut print = |view: &str, text: &str| {
        admin.value(&format!(
            "SELECT reprieve.without_marks_v1('{view}'::regclass, $_${text}$_$)"
        ))
    };
    for (printed, expected) in [
        (
            " SELECT id\n   FROM orders\n  WHERE deleted_at IS NULL AND (total > 3 OR id = 2);",
            " SELECT id\n   FROM orders\n  WHERE total > 3 OR id = 2;",
        ),
        (
            " SELECT id\n   FROM orders\n  WHERE ((deleted_at IS NULL) AND (total > 3));",
            " SELECT id\n   FROM orders\n  WHERE (total > 3);",
        ),
        (
            " SELECT id\n   FROM orders\n  WHERE (deleted_at IS NULL)\n  GROUP BY id;",
            " SELECT id\n   FROM orders\n  GROUP BY id;",
        ),
        (
            " SELECT id\n   FROM (customers\n     FULL JOIN ( SELECT id,\n customer_id,\n total,\n note,\n extra\n \
             FROM orders orders_1\n WHERE (deleted_at IS NULL)) orders USING (id));",
            " SELECT id\n   FROM (customers\n     FULL JOIN orders USING (id));",
        ),
    ] {
        assert_eq!(print("v1", printed), expected);
    }
    // Whose deleted_at is it?
    let doubtful = " SELECT 1 FROM ( SELECT id FROM orders WHERE (deleted_at IS NULL)) o, nokey a WHERE a.deleted_at IS NULL;";
    assert_eq!(print("v13", doubtful), doubtful);
}

#[test]
fn s11h_the_admin_port_shows_everything() {
    let Some(proxy) = PAIR.proxy() else { return };
    make("unveiled", "");
    let mut admin = proxy.connect_admin("unveiled");
    let ours = "SELECT count(*) FROM pg_attribute WHERE attname = 'deletion_id' AND attrelid = 'orders'::regclass";
    assert_eq!(admin.value(ours), "1");
    assert_eq!(connect(&PAIR.tried(), "unveiled").value(ours), "0");
    let schema = "SELECT count(*) FROM pg_namespace WHERE nspname = 'reprieve'";
    assert_eq!(admin.value(schema), "1");
    let view = "SELECT pg_get_viewdef('v1'::regclass) ~ 'deleted_at'";
    assert_eq!(admin.value(view), "t");
}

/// D10. What a client can still tell: one that is gone must leave this list, and the page.
#[test]
fn s11h_what_still_tells() {
    if PAIR.proxy().is_none() {
        return;
    }
    make("telling", DELETES);
    let telling = [
        "SELECT relhastriggers FROM pg_class WHERE relname = 'nokey'",
        "SELECT relnatts FROM pg_class WHERE relname = 'orders'",
        "SELECT attnum FROM pg_attribute WHERE attrelid = 'orders'::regclass AND attname = 'extra'",
        "SELECT count(*) FROM pg_attribute WHERE attrelid = 'audited'::regclass",
        "SELECT to_regnamespace('reprieve')",
        "WITH v AS (TABLE pg_views) SELECT definition FROM v WHERE viewname = 'v1'",
    ];
    for sql in telling {
        let plain = connect(&PAIR.plain().target(), "telling").run(sql);
        let tried = connect(&PAIR.tried(), "telling").run(sql);
        assert_ne!(plain, tried, "{sql}");
    }
}
