//! The admin port: what was deleted comes back, and only to those who may.

use std::process::Command;
use std::sync::LazyLock;

use tests::pair::settle;
use tests::{Client, Cluster, Proxy};

/// The cluster is dropped after the proxy in front of it.
struct Shop {
    proxy: Proxy,
    cluster: Cluster,
}

static SHOP: LazyLock<Shop> = LazyLock::new(|| {
    let cluster = Cluster::start();
    let proxy = Proxy::start(cluster.port(), "*.*");
    Shop { proxy, cluster }
});

const FAMILY: &str = "CREATE TABLE p (id int PRIMARY KEY, name text);
    CREATE TABLE c (id int PRIMARY KEY, p_id int REFERENCES p ON DELETE CASCADE, name text);
    INSERT INTO p VALUES (1, 'one'), (2, 'two');
    INSERT INTO c VALUES (11, 1, 'c1'), (12, 1, 'c2'), (21, 2, 'c3');";

/// A database with tables in it, an application and a DBA.
fn open(database: &str) -> (Client, Client) {
    SHOP.cluster.create_database(database);
    let mut app = SHOP.proxy.connect(database);
    app.run(FAMILY);
    settle(&SHOP.cluster, database);
    let admin = SHOP.proxy.connect_admin(database);
    (app, admin.with_check(&SHOP.cluster, database))
}

/// The newest deletion's id.
fn last_deletion(admin: &mut Client) -> String {
    admin.value("SELECT id FROM reprieve.deletions ORDER BY id DESC LIMIT 1")
}

fn checksum(app: &mut Client) -> Vec<String> {
    app.run("SELECT md5(string_agg(p::text, ';' ORDER BY id)) FROM p; SELECT md5(string_agg(c::text, ';' ORDER BY id)) FROM c")
}

#[test]
fn u1_undelete_restores_what_that_delete_took_and_no_more() {
    let (mut app, mut admin) = open("u1");
    assert_eq!(app.command("DELETE FROM c WHERE id = 11"), "DELETE 1");
    let alone = last_deletion(&mut admin);
    assert_eq!(app.command("DELETE FROM p WHERE id = 1"), "DELETE 1");
    let cascade = last_deletion(&mut admin);
    assert_ne!(alone, cascade);
    assert_eq!(app.run("SELECT id FROM c ORDER BY id"), ["21"]);
    admin.run(&format!("UNDELETE DELETION {cascade}"));
    assert_eq!(app.run("SELECT id FROM p ORDER BY id"), ["1", "2"]);
    assert_eq!(
        app.run("SELECT id FROM c ORDER BY id"),
        ["12", "21"],
        "c1 was deleted on its own before"
    );
    admin.run(&format!("UNDELETE DELETION {alone}"));
    assert_eq!(app.run("SELECT id FROM c ORDER BY id"), ["11", "12", "21"]);
}

#[test]
fn u2_two_deletes_of_one_transaction_are_two_deletions() {
    let (mut app, mut admin) = open("u2");
    let before = checksum(&mut app);
    app.run("BEGIN; DELETE FROM c WHERE id = 11; DELETE FROM c WHERE id = 12; COMMIT");
    let ids = admin.run("SELECT id FROM reprieve.deletions ORDER BY id");
    assert_eq!(ids.len(), 2, "{ids:?}");
    admin.run(&format!("UNDELETE DELETION {}", ids[0]));
    assert_eq!(app.run("SELECT id FROM c ORDER BY id"), ["11", "21"]);
    let transaction = admin.value("SELECT xid FROM reprieve.deletions LIMIT 1");
    admin.run(&format!("UNDELETE TRANSACTION {transaction}"));
    assert_eq!(checksum(&mut app), before);
}

#[test]
fn u8_undelete_twice_and_delete_again() {
    let (mut app, mut admin) = open("u8");
    let before = checksum(&mut app);
    app.run("DELETE FROM p WHERE id = 1");
    let first = last_deletion(&mut admin);
    admin.run(&format!("UNDELETE DELETION {first}"));
    assert_eq!(checksum(&mut app), before);
    admin.run(&format!("UNDELETE DELETION {first}"));
    assert_eq!(
        checksum(&mut app),
        before,
        "the second time nothing happens"
    );
    app.run("DELETE FROM p WHERE id = 1");
    let second = last_deletion(&mut admin);
    assert_ne!(first, second);
    let deleted = checksum(&mut app);
    let ledger = "SELECT x::text FROM (SELECT * FROM reprieve.deletions ORDER BY id) x; SELECT x::text FROM (SELECT * FROM reprieve.deletion_tables ORDER BY 1, 2) x";
    let books = admin.run(ledger);
    admin.run(&format!("UNDELETE DELETION {second}"));
    assert_eq!(checksum(&mut app), before);
    let undone = admin.run(&format!("UNDO UNDELETE DELETION {second}"));
    assert_eq!(
        undone,
        [
            "public.c|2|0|0|COMPLETE|",
            "public.p|1|0|0|COMPLETE|",
            "(all)|3|0|0|COMPLETE|"
        ]
    );
    assert_eq!(
        (checksum(&mut app), admin.run(ledger)),
        (deleted, books),
        "as before that UNDELETE, under the same deletion"
    );
    assert_eq!(
        admin.run("SELECT state FROM reprieve.show_undeletes"),
        ["undone", "done"]
    );
    admin.run(&format!("UNDELETE DELETION {second}"));
    assert_eq!(checksum(&mut app), before);
}

#[test]
fn undelete_is_undone_by_rollback() {
    let (mut app, mut admin) = open("dry_run");
    app.run("DELETE FROM p");
    let deletion = last_deletion(&mut admin);
    admin.run("BEGIN");
    let verdict = admin.run(&format!("UNDELETE DELETION {deletion}"));
    assert!(!verdict.is_empty());
    assert_eq!(
        admin.value("SELECT count(*) FROM p WHERE deleted_at IS NULL"),
        "2"
    );
    admin.run("ROLLBACK");
    assert_eq!(app.value("SELECT count(*) FROM p"), "0");
}

#[test]
fn undelete_where_and_since() {
    let (mut app, mut admin) = open("where_since");
    let before = checksum(&mut app);
    let start = admin.value("SELECT now()");
    app.run("DELETE FROM c WHERE id IN (11, 21)");
    admin.run("UNDELETE FROM c WHERE id = 21");
    assert_eq!(app.run("SELECT id FROM c ORDER BY id"), ["12", "21"]);
    app.run("DELETE FROM p");
    admin.run(&format!("UNDELETE SINCE '{start}'"));
    assert_eq!(checksum(&mut app), before);
}

#[test]
fn the_veil_is_lifted_on_the_admin_port_alone() {
    let (mut app, mut admin) = open("veil");
    app.run("DELETE FROM p WHERE id = 1");
    assert_eq!(app.value("SELECT count(*) FROM p"), "1");
    assert_eq!(admin.value("SELECT count(*) FROM p"), "2");
    assert_eq!(
        admin.value("SELECT count(*) FROM p WHERE deletion_id IS NOT NULL"),
        "1"
    );
    let error = app
        .try_run("SELECT deleted_at FROM p")
        .expect_err("the column is hidden");
    assert!(error.starts_with("42703"), "{error}");
    let shown = admin.run("SHOW DELETIONS");
    assert!(
        shown
            .iter()
            .any(|row| row.contains("DELETE FROM p WHERE id = 1")),
        "{shown:?}"
    );
    let rows = admin.run("SHOW DELETED FROM p");
    assert!(rows.iter().any(|row| row.contains("one")), "{rows:?}");
    let tables = admin.run("SHOW TABLES");
    assert!(tables.iter().any(|row| row.contains('p')), "{tables:?}");
    for verb in ["SHOW CLIENTS", "SHOW STATS", "SHOW VERSION", "SHOW HELP"] {
        assert!(!admin.run(verb).is_empty(), "{verb}");
    }
    let help = admin.run("HELP");
    assert_eq!(help, admin.run("SHOW HELP"));
    for verb in ["PREVIEW DELETE FROM", "PURGE ", "GUARD ", "EXPORT "] {
        assert!(
            help.iter().any(|line| line.starts_with(verb)),
            "{verb} {help:?}"
        );
    }
}

#[test]
fn verbs_speak_the_extended_protocol() {
    let (mut app, mut admin) = open("extended_verbs");
    app.run("DELETE FROM p WHERE id = 1");
    let deletion = last_deletion(&mut admin);
    admin.send(&tests::front::extended(
        &format!("UNDELETE DELETION {deletion}"),
        0,
    ));
    let messages = admin.until_ready();
    assert!(
        messages.iter().any(|message| message.tag == b'T'),
        "{messages:?}"
    );
    assert!(
        messages.iter().all(|message| message.tag != b'E'),
        "{messages:?}"
    );
    assert_eq!(app.value("SELECT count(*) FROM p"), "2");
}

#[test]
fn only_members_of_reprieve_admin_come_in() {
    let (mut app, mut admin) = open("rights");
    let refused = Client::connect(&SHOP.proxy.admin(), "clerk", "rights").err();
    let refused = refused.or_else(|| {
        // Or they come in, and nothing works.
        let mut clerk = Client::connect(&SHOP.proxy.admin(), "clerk", "rights").ok()?;
        clerk.try_run("SHOW DELETIONS").err()
    });
    assert!(
        refused
            .as_deref()
            .is_some_and(|error| error.starts_with("42501")),
        "{refused:?}"
    );
    admin.run("CREATE ROLE dba LOGIN; GRANT reprieve_admin TO dba; GRANT clerk TO dba");
    app.run("DELETE FROM p WHERE id = 1");
    let mut dba = Client::connect(&SHOP.proxy.admin(), "dba", "rights").expect("a member comes in");
    let deletion = last_deletion(&mut dba);
    dba.run(&format!("UNDELETE DELETION {deletion}"));
    assert_eq!(app.value("SELECT count(*) FROM p"), "2");
}

#[test]
fn verbs_mean_nothing_on_the_app_port() {
    let (mut app, _) = open("verbs");
    for verb in [
        "UNDELETE DELETION 1",
        "SHOW DELETIONS",
        "DISABLE SOFT DELETE ON p",
    ] {
        let error = app.try_run(verb).expect_err(verb);
        assert!(
            ["42601", "42704", "0A000"]
                .iter()
                .any(|code| error.starts_with(code)),
            "{verb}: {error}"
        );
    }
}

#[test]
fn disable_does_not_bring_rows_back() {
    let (mut app, mut admin) = open("disable");
    app.run("DELETE FROM p WHERE id = 1");
    admin.run("DISABLE SOFT DELETE ON p");
    admin.run("DISABLE SOFT DELETE ON c");
    assert_eq!(app.run("SELECT * FROM p"), ["2|two"]);
    assert_eq!(
        SHOP.cluster.superuser("disable").run("SELECT * FROM p"),
        ["2|two"],
        "a plain table again"
    );
}

#[test]
fn deletes_that_never_saw_the_proxy_are_kept_too() {
    let (mut app, mut admin) = open("direct_delete");
    let before = checksum(&mut app);
    let mut direct = Client::connect(&SHOP.cluster.target(), "clerk", "direct_delete")
        .expect("a direct connection");
    assert_eq!(direct.command("DELETE FROM p WHERE id = 1"), "DELETE 1");
    assert_eq!(app.value("SELECT count(*) FROM c"), "1");
    let deletion = last_deletion(&mut admin);
    admin.run(&format!("UNDELETE DELETION {deletion}"));
    assert_eq!(checksum(&mut app), before);
    app.run("TRUNCATE c");
    let deletion = last_deletion(&mut admin);
    admin.run(&format!("UNDELETE DELETION {deletion}"));
    assert_eq!(checksum(&mut app), before);
}

#[test]
fn s25_dropped_tables_come_back_and_what_was_deleted_in_them_before() {
    let (mut app, mut admin) = open("s25_drop");
    app.run("CREATE VIEW names AS SELECT id, name FROM p");
    settle(&SHOP.cluster, "s25_drop");
    let before = checksum(&mut app);
    app.run("DELETE FROM p WHERE id = 1");
    let deleted = last_deletion(&mut admin);
    // In a transaction that is undone nothing is kept.
    app.run("BEGIN; DROP TABLE c; DROP VIEW names; DROP TABLE p; ROLLBACK");
    assert_eq!(last_deletion(&mut admin), deleted);
    assert_eq!(app.command("DROP TABLE c, p CASCADE"), "DROP TABLE");
    let missing = app.query("SELECT * FROM p");
    let missing = tests::compare::lines(&missing, tests::message::Detail::Meaning);
    assert!(missing[0].contains("42P01"), "{missing:?}");
    let dropped = last_deletion(&mut admin);
    let told = admin.run(&format!(
        "SELECT statement, tables FROM reprieve.show_deletions WHERE id = {dropped}"
    ));
    assert_eq!(told, ["DROP TABLE c, p CASCADE|c 1, p 1"]);
    assert_eq!(
        admin.run(&format!("UNDELETE DELETION {dropped} MODE nocascade")),
        [
            "public.c|1|0|0|COMPLETE|",
            "public.p|1|0|0|COMPLETE|",
            "(all)|2|0|0|COMPLETE|"
        ]
    );
    settle(&SHOP.cluster, "s25_drop");
    assert_eq!(app.run("SELECT name FROM names"), ["two"]);
    admin.run(&format!("UNDELETE DELETION {deleted}"));
    assert_eq!(checksum(&mut app), before);
    assert_eq!(app.command("DELETE FROM p WHERE id = 2"), "DELETE 1");
    assert_eq!(app.run("SELECT id FROM c ORDER BY id"), ["11", "12"]);
    assert_eq!(admin.run("CHECK INTEGRITY"), [""; 0]);
}

/// `reprieve check` in a database: exit status and what it printed.
fn check(database: &str, arguments: &[&str]) -> (Option<i32>, String) {
    let port = SHOP.cluster.port();
    let output = Command::new(tests::proxy::binary())
        .args(["check", "--database", database])
        .args(arguments)
        .env(
            "REPRIEVE__UPSTREAM__URL",
            format!("postgres://127.0.0.1:{port}?sslmode=disable"),
        )
        .env(
            "REPRIEVE__KEEPER__URL",
            format!("postgres://postgres@127.0.0.1:{port}/postgres?sslmode=disable"),
        )
        .output()
        .expect("it starts");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    (output.status.code(), said)
}

#[test]
fn check_says_what_is_damaged_as_a_table_and_as_json() {
    let (mut app, _) = open("damaged");
    app.run("DELETE FROM p WHERE id = 1");
    assert_eq!(
        check("damaged", &[]),
        (Some(0), "rows and ledger agree\n".to_owned())
    );
    assert_eq!(check("damaged", &["--json"]), (Some(0), "[]\n".to_owned()));

    let mut superuser = SHOP.cluster.superuser("damaged");
    superuser.run(
        "SET session_replication_role = replica; UPDATE c SET deleted_at = NULL, deletion_id = NULL WHERE id = 11; DELETE FROM p WHERE id = 2",
    );
    let (status, said) = check("damaged", &[]);
    assert_eq!(status, Some(1), "{said}");
    let table = said
        .lines()
        .map(|line| line.split("  ").filter(|part| !part.is_empty()))
        .map(|parts| parts.take(4).map(str::trim).collect::<Vec<_>>().join("|"))
        .collect::<Vec<_>>();
    assert_eq!(
        table,
        [
            "severity|table|count|finding",
            "error|public.c|1|live rows under a deleted parent",
            "error|public.c|1|orphans",
            "error|public.c|1|the ledger counts other rows than there are",
        ],
        "{said}"
    );
    let (status, said) = check("damaged", &["--json"]);
    assert_eq!(status, Some(1), "{said}");
    let json: serde_json::Value = serde_json::from_str(&said).expect("JSON");
    assert_eq!(json.as_array().map(Vec::len), Some(3), "{said}");
    assert_eq!(json[0]["severity"], "error");
    assert_eq!(json[0]["finding"], "live rows under a deleted parent");
    assert_eq!(json[0]["table"], "public.c");
    assert_eq!(json[0]["count"], 1);
    assert!(
        json[0]["detail"]
            .as_str()
            .is_some_and(|detail| detail.contains("(id)=(11)")),
        "{said}"
    );
}

/// What the server runs by itself sees every row: a small table goes over to the bin in front of it, another is not touched.
#[test]
fn a_do_block_ends_the_marking_of_small_tables() {
    let (mut app, mut admin) = open("block");
    let mut other = SHOP.proxy.connect("block");
    assert_eq!(other.run("SELECT id FROM p ORDER BY id"), ["1", "2"]);
    app.run("DELETE FROM p WHERE id = 1");
    let mode = "SELECT mode || ': ' || reason FROM reprieve.tables WHERE table_name = 'p'";
    assert_eq!(admin.value(mode), "mark: marking is exact here");

    let block = "DO $$ BEGIN ASSERT (SELECT count(*) FROM p) = 1; DELETE FROM p; END $$";
    app.run("BEGIN");
    app.run(block);
    assert_eq!(app.run("SELECT id FROM p"), Vec::<String>::new());
    app.run("ROLLBACK");
    assert_eq!(admin.value(mode), "mark: marking is exact here");
    assert_eq!(app.run("SELECT id FROM p"), ["2"]);
    app.run("BEGIN; SAVEPOINT a");
    app.run(block);
    app.run("ROLLBACK TO a");
    assert_eq!(app.run("SELECT id FROM p"), ["2"], "marked again");
    assert_eq!(app.command("DELETE FROM p"), "DELETE 1");
    let marks = "SELECT count(*) FROM p WHERE deleted_at IS NOT NULL";
    app.run("COMMIT");
    let mut behind = SHOP.cluster.superuser("block");
    assert_eq!(behind.value(marks), "2", "a mark");
    let newest = last_deletion(&mut admin);
    admin.run(&format!("UNDELETE DELETION {newest}"));

    app.run(block);
    assert_eq!(admin.value(mode), "bin: a DO block has named it");
    settle(&SHOP.cluster, "block");
    assert_eq!(other.run("SELECT id FROM p"), Vec::<String>::new());
    let (ours, first) = (
        last_deletion(&mut admin),
        "SELECT min(id) FROM reprieve.deletions",
    );
    admin.run(&format!("UNDELETE DELETION {ours}"));
    let first = admin.value(first);
    admin.run(&format!("UNDELETE DELETION {first}"));
    assert_eq!(other.run("SELECT id FROM p ORDER BY id"), ["1", "2"]);
    assert_eq!(app.run("SELECT id FROM c ORDER BY id"), ["11", "12", "21"]);

    // It stays so, until a DBA wants it otherwise.
    app.run("CREATE TABLE later (id int)");
    assert_eq!(admin.value(mode), "bin: a DO block has named it");
    admin.run("ENABLE SOFT DELETE ON p");
    assert_eq!(admin.value(mode), "mark: marking is exact here");
}

#[test]
fn a_do_block_leaves_a_table_marked_that_is_large_or_wanted_so() {
    let (mut app, mut admin) = open("block_refused");
    let refusal = |table: &str| {
        Err(format!(
            "0A000 a DO block that reads or writes soft-delete table \"{table}\" is not supported"
        ))
    };
    admin.run("ENABLE SOFT DELETE ON c MODE mark");
    settle(&SHOP.cluster, "block_refused");
    app.run("DELETE FROM c WHERE id = 11");
    let block = "DO $$ BEGIN DELETE FROM c; END $$";
    assert_eq!(app.try_run(block), refusal("c"));
    assert_eq!(app.try_run(block), refusal("c"), "asked again");
    assert_eq!(app.run("SELECT id FROM c ORDER BY id"), ["12", "21"]);

    app.run("INSERT INTO p SELECT i, repeat('x', 1000) FROM generate_series(10, 20000) i");
    app.run("DELETE FROM p WHERE id = 10");
    let block = "DO $$ BEGIN PERFORM FROM p; END $$";
    assert_eq!(app.try_run(block), refusal("p"));
    // One that is in use: the block waits no longer than schema changes do.
    app.run("CREATE TABLE busy (id int PRIMARY KEY); INSERT INTO busy VALUES (1), (2)");
    settle(&SHOP.cluster, "block_refused");
    app.run("DELETE FROM busy WHERE id = 1");
    let mut reader = SHOP.proxy.connect("block_refused");
    reader.run("BEGIN; SELECT FROM busy");
    let block = "DO $$ BEGIN PERFORM FROM busy; END $$";
    assert_eq!(app.try_run(block), refusal("busy"));
    reader.run("COMMIT");
    assert_eq!(app.try_run(block), Ok(Vec::new()));
    assert_eq!(app.run("SELECT id FROM busy"), ["2"]);
}

/// A snapshot shows what was deleted before it, too, once no column tells any more.
#[test]
fn a_snapshot_that_is_older_than_the_end_of_marking_is_not_read() {
    let (mut app, _admin) = open("outlived");
    app.run("CREATE TABLE gone (id int PRIMARY KEY)");
    settle(&SHOP.cluster, "outlived");
    app.run("DELETE FROM p WHERE id = 1");
    let begin = |isolation: &str| {
        let mut session = SHOP.proxy.connect("outlived");
        session.run("PREPARE all_of_them AS SELECT id FROM c ORDER BY id");
        session.run(&format!(
            "BEGIN ISOLATION LEVEL {isolation}; SELECT FROM pg_am"
        ));
        session
    };
    let mut sessions = [
        begin("READ COMMITTED"),
        begin("REPEATABLE READ"),
        begin("SERIALIZABLE"),
        begin("SERIALIZABLE"),
        begin("REPEATABLE READ"),
    ];
    app.run("DROP TABLE gone");
    let [committed, reader, .., executing] = &mut sessions;
    assert_eq!(reader.run("SELECT id FROM p"), ["2"], "only a table less");
    reader.run("COMMIT; BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT FROM pg_am");
    assert_eq!(executing.run("EXECUTE all_of_them; COMMIT"), ["21"]);
    assert_eq!(committed.run("SELECT id FROM c"), ["21"]);
    committed.run("COMMIT; BEGIN; SELECT FROM pg_am");

    let mut other = SHOP.proxy.connect("outlived");
    other.run("BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT FROM pg_am; COMMIT");
    let [_, _, viewer, writer, _] = &mut sessions;
    let all = [viewer, writer];
    app.run("CREATE VIEW v AS SELECT id FROM p");
    let refused = app.try_run("DO $$ BEGIN PERFORM FROM p; END $$");
    assert_eq!(refused, Ok(Vec::new()));
    settle(&SHOP.cluster, "outlived");

    let lost = Err("40001 could not serialize access due to concurrent update".to_owned());
    for (session, sql) in all.into_iter().zip([
        "SELECT id FROM v",
        "INSERT INTO p SELECT id + 100 FROM p RETURNING id",
    ]) {
        assert_eq!(session.try_run(sql), lost, "{sql}");
        assert!(
            session
                .try_run("SELECT 1")
                .unwrap_err()
                .starts_with("25P02")
        );
        session.run("ROLLBACK");
        assert_eq!(session.run("SELECT id FROM p"), ["2"], "{sql}");
    }
    let [committed, reader, ..] = &mut sessions;
    assert_eq!(reader.try_run("SELECT id FROM p"), lost);
    assert_eq!(committed.run("SELECT id FROM p"), ["2"]);
    assert_eq!(committed.run("SELECT id FROM v; COMMIT"), ["2"]);
    assert_eq!(other.run("SELECT id FROM p"), ["2"]);
}
