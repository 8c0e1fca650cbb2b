//! `reprieve.show` on the app port: applications with a page for what was deleted. For whoever was granted it, and nobody else.

use std::sync::LazyLock;

use tests::pair::settle;
use tests::{Client, Cluster, Message, Proxy, front};

struct Shop {
    proxy: Proxy,
    cluster: Cluster,
}

static SHOP: LazyLock<Shop> = LazyLock::new(|| {
    let cluster = Cluster::start();
    let proxy = Proxy::with(
        cluster.port(),
        "*.*",
        &[("REPRIEVE__TABLES__BIN", "*.binned")],
    );
    cluster
        .superuser("postgres")
        .run("CREATE ROLE viewer LOGIN; GRANT clerk TO viewer");
    Shop { proxy, cluster }
});

const FAMILY: &str = "CREATE TABLE p (id int PRIMARY KEY, name text);
    CREATE TABLE c (id int PRIMARY KEY, p_id int REFERENCES p ON DELETE CASCADE, name text);
    CREATE TABLE binned (id int PRIMARY KEY);
    INSERT INTO p VALUES (1, 'one'), (2, 'two'), (3, 'three');
    INSERT INTO c VALUES (11, 1, 'c1'), (21, 2, 'c2'), (22, 2, 'c3');
    INSERT INTO binned VALUES (1), (2)";

/// A database in which p 1 with its child is deleted. The application that did it, and one that may see it.
fn open(database: &str) -> (Client, Client) {
    SHOP.cluster.create_database(database);
    let mut app = SHOP.proxy.connect(database);
    app.run(FAMILY);
    settle(&SHOP.cluster, database);
    app.run("DELETE FROM p WHERE id = 1; DELETE FROM binned WHERE id = 1");
    SHOP.cluster
        .superuser(database)
        .run("GRANT reprieve_viewer TO viewer");
    (app, viewer(database))
}

fn viewer(database: &str) -> Client {
    Client::connect(&SHOP.proxy.app(), "viewer", database).unwrap()
}

fn ids(client: &mut Client) -> String {
    client
        .run("SELECT string_agg(id::text, ' ' ORDER BY id) FROM p")
        .concat()
}

#[test]
fn a_viewer_sees_what_it_asks_for() {
    let (mut app, mut viewer) = open("show_reads");
    let queries: &[(&str, [&str; 3])] = &[
        (
            "SELECT string_agg(id::text, ' ' ORDER BY id) FROM p",
            ["2 3", "1", "1 2 3"],
        ),
        ("SELECT count(*) FROM p WHERE name <> 'x'", ["2", "1", "3"]),
        (
            "SELECT string_agg(p.id || '-' || c.id, ' ' ORDER BY c.id) FROM p JOIN c ON c.p_id = p.id",
            ["2-21 2-22", "1-11", "1-11 2-21 2-22"],
        ),
        (
            "SELECT string_agg(p.id || '-' || coalesce(c.id, 0), ' ' ORDER BY p.id, c.id) FROM p LEFT JOIN c ON c.p_id = p.id",
            ["2-21 2-22 3-0", "1-11", "1-11 2-21 2-22 3-0"],
        ),
        (
            "SELECT string_agg(x::text, ' ' ORDER BY x) FROM p AS x",
            ["(2,two) (3,three)", "(1,one)", "(1,one) (2,two) (3,three)"],
        ),
        (
            "WITH w AS (TABLE p) SELECT string_agg(id::text, ' ' ORDER BY id) FROM w WHERE EXISTS (SELECT FROM c WHERE c.p_id = w.id)",
            ["2", "1", "1 2"],
        ),
        (
            "SELECT count(*) FROM p TABLESAMPLE SYSTEM (100)",
            ["2", "1", "3"],
        ),
        // What is in the graveyard does not lie in the table.
        (
            "SELECT string_agg(id::text, ' ') FROM binned",
            ["2", "2", "2"],
        ),
    ];
    for (number, show) in ["live", "deleted", "all"].iter().enumerate() {
        viewer.run(&format!("SET reprieve.show = '{show}'"));
        for (query, expected) in queries {
            // Twice: the second one has its plan from the cache.
            for _ in 0..2 {
                assert_eq!(viewer.run(query), [expected[number]], "{show}: {query}");
                assert_eq!(app.run(query), [expected[0]], "another session: {query}");
            }
        }
        // Our columns stay out of sight.
        assert_eq!(
            viewer.run("SELECT * FROM p ORDER BY id LIMIT 1")[0]
                .matches('|')
                .count(),
            1
        );
        let error = viewer.try_run("SELECT deleted_at FROM p").unwrap_err();
        assert!(error.starts_with("42703"), "{error}");
    }
    viewer.run("RESET reprieve.show");
    assert_eq!(ids(&mut viewer), "2 3");
}

#[test]
fn copy_cursors_and_prepared_statements_follow() {
    let (_, mut viewer) = open("show_forms");
    let copied = |client: &mut Client| {
        let messages = client.query("COPY p TO STDOUT");
        messages
            .iter()
            .filter(|message| message.tag == b'd')
            .count()
    };
    let named = |client: &mut Client, parse: bool| {
        let mut batch = Vec::new();
        if parse {
            batch.extend(front::parse("s", "SELECT count(*) FROM p", &[]));
        }
        batch.extend(front::bind("", "s", &[], 0));
        batch.extend(front::execute("", 0));
        batch.extend(front::sync());
        client.send(&batch);
        let messages = client.until_ready();
        assert!(
            messages.iter().all(|message| message.tag != b'E'),
            "{messages:?}"
        );
        tests::client::rows(&messages).concat()
    };
    viewer.run("PREPARE sql AS SELECT count(*) FROM p");
    assert_eq!(named(&mut viewer, true), "2");
    for (show, rows) in [("deleted", 1), ("all", 3), ("live", 2)] {
        viewer.run(&format!("SET reprieve.show TO '{show}'"));
        assert_eq!(copied(&mut viewer), rows, "{show}");
        assert_eq!(named(&mut viewer, false), rows.to_string(), "{show}");
        assert_eq!(viewer.value("EXECUTE sql"), rows.to_string(), "{show}");
        viewer.run("BEGIN; DECLARE k CURSOR FOR SELECT id FROM p");
        assert_eq!(viewer.run("FETCH ALL FROM k").len(), rows, "{show}");
        viewer.run("ROLLBACK");
        let plan = viewer.run("EXPLAIN (COSTS OFF) SELECT id FROM p").concat();
        assert_eq!(plan.contains("IS NOT NULL"), show == "deleted", "{plan}");
    }
}

#[test]
fn it_ends_where_a_setting_ends() {
    let (_, mut viewer) = open("show_ends");
    viewer.run("BEGIN");
    viewer.run("SET LOCAL reprieve.show = 'deleted'");
    assert_eq!(ids(&mut viewer), "1");
    viewer.run("COMMIT");
    assert_eq!(ids(&mut viewer), "2 3", "SET LOCAL");

    viewer.run("BEGIN");
    viewer.run("SET reprieve.show = 'deleted'");
    assert_eq!(ids(&mut viewer), "1");
    viewer.run("ROLLBACK");
    assert_eq!(ids(&mut viewer), "2 3", "ROLLBACK");

    viewer.run("BEGIN");
    viewer.run("SAVEPOINT s");
    viewer.run("SELECT set_config('reprieve.show', 'all', false)");
    assert_eq!(ids(&mut viewer), "1 2 3");
    viewer.run("ROLLBACK TO s");
    assert_eq!(ids(&mut viewer), "2 3", "ROLLBACK TO");
    viewer.run("COMMIT");

    for end in [
        "RESET reprieve.show",
        "RESET ALL",
        "DISCARD ALL",
        "SET reprieve.show = ''",
        "SET reprieve.show TO DEFAULT",
    ] {
        viewer.run("SET reprieve.show = 'all'");
        assert_eq!(ids(&mut viewer), "1 2 3");
        viewer.run(end);
        assert_eq!(ids(&mut viewer), "2 3", "{end}");
    }
    // Within one message: each statement as the one before it left the setting. An error takes it back.
    assert_eq!(
        viewer.run("SET reprieve.show = 'deleted'; SELECT id FROM p; RESET reprieve.show; SELECT max(id) FROM p"),
        ["1", "3"]
    );
    let error = viewer
        .try_run("SET reprieve.show = 'deleted'; DELETE FROM p")
        .unwrap_err();
    assert!(error.starts_with("25006"), "{error}");
    assert_eq!(ids(&mut viewer), "2 3", "an error");
    // And within a pipeline.
    let mut batch = Vec::new();
    for sql in ["SET reprieve.show = 'deleted'", "SELECT count(*) FROM p"] {
        batch.extend(front::parse("", sql, &[]));
        batch.extend(front::bind("", "", &[], 0));
        batch.extend(front::execute("", 0));
    }
    batch.extend(front::sync());
    viewer.send(&batch);
    let messages = viewer.until_ready();
    assert_eq!(tests::client::rows(&messages), ["1"], "{messages:?}");
}

#[test]
fn it_may_come_with_the_startup_message() {
    open("show_startup");
    for options in ["-c reprieve.show=deleted", "--reprieve.show=deleted"] {
        let mut viewer = Client::connect_with(
            &SHOP.proxy.app(),
            &[
                ("user", "viewer"),
                ("database", "show_startup"),
                ("options", options),
            ],
        )
        .unwrap();
        assert_eq!(ids(&mut viewer), "1");
        viewer.run("SET reprieve.show = 'all'");
        viewer.run("DISCARD ALL");
        // As it was at the start.
        assert_eq!(ids(&mut viewer), "1");
    }
    let mut clerk = Client::connect_with(
        &SHOP.proxy.app(),
        &[
            ("user", "clerk"),
            ("database", "show_startup"),
            ("reprieve.show", "deleted"),
        ],
    )
    .unwrap();
    assert_eq!(clerk.value("SELECT 1"), "1");
    let error = clerk.try_run("SELECT id FROM p").unwrap_err();
    assert!(error.starts_with("42501"), "{error}");
    clerk.run("SET reprieve.show = 'live'");
    assert_eq!(ids(&mut clerk), "2 3");
}

#[test]
fn who_was_not_granted_it_is_refused_when_setting_and_when_using() {
    let (mut app, mut viewer) = open("show_rights");
    for set in [
        "SET reprieve.show = 'deleted'",
        "SET LOCAL reprieve.show TO 'all'",
        "SELECT set_config('reprieve.show', 'all', false)",
    ] {
        let error = app.try_run(set).unwrap_err();
        assert!(error.starts_with("42501"), "{set}: {error}");
    }
    assert_eq!(ids(&mut app), "2 3");
    app.run("BEGIN");
    let error = app.try_run("SET reprieve.show = 'deleted'").unwrap_err();
    assert!(error.starts_with("42501"), "{error}");
    let error = app.try_run("SELECT 1").unwrap_err();
    assert!(error.starts_with("25P02"), "{error}");
    app.run("ROLLBACK");
    // A name that is computed is not seen when it is set.
    app.run("SELECT set_config('repri' || 'eve.show', 'all', false)");
    for statement in [
        "SELECT id FROM p",
        "DELETE FROM p",
        "INSERT INTO p VALUES (9, 'nine')",
    ] {
        let error = app.try_run(statement).unwrap_err();
        assert!(error.starts_with("42501"), "{statement}: {error}");
    }
    assert_eq!(app.value("SELECT 1"), "1");
    app.run("RESET reprieve.show");
    assert_eq!(ids(&mut app), "2 3");
    app.run("SET reprieve.show = 'live'");

    // The role that runs the statement counts.
    viewer.run("SET reprieve.show = 'deleted'");
    viewer.run("SET ROLE clerk");
    let error = viewer.try_run("SELECT id FROM p").unwrap_err();
    assert!(error.starts_with("42501"), "{error}");
    viewer.run("RESET ROLE");
    assert_eq!(ids(&mut viewer), "1");

    let error = viewer
        .try_run("SET reprieve.show = 'everything'")
        .and_then(|_| viewer.try_run("SELECT id FROM p"))
        .unwrap_err();
    assert!(error.starts_with("22023"), "{error}");
}

#[test]
fn nothing_is_written_or_kept_meanwhile() {
    let (mut app, mut viewer) = open("show_writes");
    app.run("CREATE TABLE other (id int); GRANT ALL ON other, p, c TO viewer; GRANT CREATE ON SCHEMA public TO viewer");
    let state = "SELECT (SELECT string_agg(p::text || p.deleted_at::text, ' ' ORDER BY id) FROM p WHERE deleted_at IS NOT NULL),
        (SELECT count(*) FROM p), (SELECT count(*) FROM c), (SELECT count(*) FROM other), (SELECT count(*) FROM reprieve.deletions)";
    let mut direct = SHOP.cluster.superuser("show_writes");
    let before = direct.run(state);
    for show in ["deleted", "all"] {
        viewer.run(&format!("SET reprieve.show = '{show}'"));
        for write in [
            "UPDATE p SET name = 'x'",
            "UPDATE p SET name = 'x' WHERE id = 1",
            "DELETE FROM p",
            "INSERT INTO p VALUES (1, 'again')",
            "INSERT INTO p VALUES (1, 'again') ON CONFLICT (id) DO UPDATE SET name = 'x'",
            "INSERT INTO other SELECT id FROM p",
            "UPDATE other SET id = 1 FROM p",
            "WITH w AS (DELETE FROM c RETURNING id) SELECT * FROM w",
            "WITH w AS (INSERT INTO other SELECT id FROM p RETURNING id) SELECT * FROM w",
            "COPY p FROM STDIN",
            "CREATE TABLE kept AS SELECT * FROM p",
            "SELECT * INTO kept FROM p",
            "CREATE VIEW kept AS SELECT * FROM p",
            "CREATE MATERIALIZED VIEW kept AS SELECT * FROM p",
            "EXPLAIN ANALYZE UPDATE p SET name = 'x'",
            "PREPARE w AS UPDATE p SET name = 'x'",
        ] {
            let error = viewer.try_run(write).expect_err(write);
            assert!(error.starts_with("25006"), "{show}: {write}: {error}");
        }
        // A cursor's row neither.
        viewer.run("BEGIN; DECLARE k CURSOR FOR SELECT id FROM p FOR UPDATE; FETCH k");
        let error = viewer
            .try_run("UPDATE p SET name = 'x' WHERE CURRENT OF k")
            .unwrap_err();
        assert!(error.starts_with("25006"), "{error}");
        viewer.run("ROLLBACK");
        assert_eq!(direct.run(state), before, "{show}");
    }
    // What was prepared while rows were live.
    viewer.run("RESET reprieve.show");
    viewer.run("PREPARE w AS UPDATE p SET name = 'x'");
    viewer.send(&[front::parse("w2", "DELETE FROM p", &[]), front::sync()].concat());
    viewer.until_ready();
    viewer.run("SET reprieve.show = 'all'");
    let error = viewer.try_run("EXECUTE w").unwrap_err();
    assert!(error.starts_with("25006"), "{error}");
    viewer.send(
        &[
            front::bind("", "w2", &[], 0),
            front::execute("", 0),
            front::sync(),
        ]
        .concat(),
    );
    let messages = viewer.until_ready();
    let error = messages.iter().find(|message| message.tag == b'E');
    assert_eq!(
        error
            .and_then(|error: &Message| error.field(b'C'))
            .as_deref(),
        Some("25006"),
        "{messages:?}"
    );
    assert_eq!(direct.run(state), before);
    viewer.run("RESET reprieve.show");
    assert_eq!(viewer.command("UPDATE p SET name = 'y'"), "UPDATE 2");
}
