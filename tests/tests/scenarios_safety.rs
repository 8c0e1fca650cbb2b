//! Previews, rehearsals, retention, holds and erasure on the admin port; and the examples of docs/admin.md, line by line.

use std::collections::BTreeSet;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

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

/// A database with these tables in it, an application and a DBA.
fn open(database: &str, setup: &str) -> (Client, Client) {
    SHOP.cluster.create_database(database);
    let mut app = SHOP.proxy.connect(database);
    app.run(setup);
    settle(&SHOP.cluster, database);
    let admin = SHOP.proxy.connect_admin(database);
    (app, admin.with_check(&SHOP.cluster, database))
}

fn last_deletion(admin: &mut Client) -> String {
    admin.value("SELECT max(id) FROM reprieve.deletions")
}

const FAMILY: &str = "CREATE TABLE p (id int PRIMARY KEY, name text);
    CREATE TABLE c (id int PRIMARY KEY, p_id int REFERENCES p ON DELETE CASCADE, name text);
    INSERT INTO p VALUES (1, 'one'), (2, 'two');
    INSERT INTO c VALUES (11, 1, 'c1'), (12, 1, 'c2'), (21, 2, 'c3');";

/// Each verb, and the same as a call. `N` stands for a deletion.
const VERBS: &[(&str, &str)] = &[
    (
        "PREVIEW DELETE FROM p WHERE id = 1",
        "reprieve.preview_delete_v1('p', 'id = 1')",
    ),
    (
        "EXPLAIN DELETION FROM p WHERE id = 1",
        "reprieve.preview_delete_v1('p', 'id = 1')",
    ),
    (
        "PREVIEW DELETE FROM p FORMAT tree",
        "reprieve.preview_delete_tree_v1('p')",
    ),
    (
        "PREVIEW DELETE FROM p FORMAT dot",
        "reprieve.preview_delete_tree_v1('p', 'true', 'dot')",
    ),
    (
        "PREVIEW UNDELETE DELETION N",
        "reprieve.preview_undelete_deletion_v1(N)",
    ),
    (
        "PREVIEW UNDELETE TRANSACTION 1 MODE cascade",
        "reprieve.preview_undelete_transaction_v1('1', 'cascade')",
    ),
    (
        "PREVIEW UNDELETE SINCE '2020-01-01'",
        "reprieve.preview_undelete_since_v1('2020-01-01')",
    ),
    (
        "PREVIEW UNDELETE FROM p WHERE id = 1",
        "reprieve.preview_undelete_where_v1('p', 'id = 1')",
    ),
    (
        "REHEARSE UNDELETE DELETION N",
        "reprieve.preview_undelete_deletion_v1(N, rehearse => true)",
    ),
    ("SHOW REHEARSALS", "reprieve.show_rehearsals"),
    ("PURGE", "reprieve.purge_v1()"),
    (
        "PURGE BACKGROUND OFF",
        "reprieve.purge_background_v1(false)",
    ),
    ("PURGE EXPORT OFF", "reprieve.purge_export_v1(null)"),
    (
        "PURGE DRY RUN BEFORE now()",
        "reprieve.purge_v1(before => now(), dry_run => true)",
    ),
    (
        "RETAIN TABLE p FOR '1 day'",
        "reprieve.retain_v1('p', '1 day')",
    ),
    ("SHOW RETENTION", "reprieve.show_retention"),
    ("HOLD DELETION N", "reprieve.hold_v1(deletion => N)"),
    ("SHOW HOLDS", "reprieve.show_holds"),
    ("RELEASE DELETION N", "reprieve.release_v1(deletion => N)"),
    (
        "ERASE SUBJECT FROM p WHERE id = 99",
        "reprieve.erase_subject_v1('p', 'id = 99')",
    ),
    ("SHOW RECEIPTS", "reprieve.show_receipts"),
    (
        "SHOW DELETIONS FROM p",
        "reprieve.show_deletions_v1(of_table => 'p')",
    ),
    (
        "SHOW DELETIONS PER TABLE",
        "reprieve.deletions_per_table_v1()",
    ),
    ("SHOW HEALTH", "reprieve.show_health"),
    ("SHOW ROWS FROM p", "reprieve.show_rows"),
    ("WATCH TABLE p AT 3 PERCENT", "reprieve.watch_v1('p', 3)"),
    (
        "GUARD TABLE p MAX ROWS 1000 WAIT '1 s'",
        "reprieve.guard_v1('p', max_rows => 1000)",
    ),
    ("SHOW GUARDS", "reprieve.show_guards"),
    (
        "UNGUARD TABLE p",
        "reprieve.guard_v1('p', no_where => 'allow')",
    ),
    (
        "BUDGET FOR reprieve_admin 1000 ROWS PER '1 hour'",
        "reprieve.budget_v1('reprieve_admin', 1000, '1 hour')",
    ),
    ("SHOW BUDGETS", "reprieve.show_budgets"),
    (
        "BUDGET FOR reprieve_admin none",
        "reprieve.budget_v1('reprieve_admin', 1, '1 hour')",
    ),
    (
        "REQUEST DELETION FROM p WHERE id = 2 REASON 'old'",
        "reprieve.request_deletion_v1('p', 'id = 2')",
    ),
    ("SHOW REQUESTS", "reprieve.show_requests"),
    ("SEAL LEDGER", "reprieve.seal_v1()"),
    ("SEAL BACKGROUND OFF", "reprieve.seal_background_v1(false)"),
    ("SHOW SEALS", "reprieve.show_seals"),
    ("EXPORT DELETIONS", "reprieve.export_v1()"),
    // These are older.
    ("SHOW TABLES", "reprieve.show_tables"),
    ("SHOW DELETIONS", "reprieve.show_deletions"),
    ("CHECK INTEGRITY", "reprieve.check_v1()"),
];

/// Functions that stand behind the verbs.
const PARTS: &[&str] = &[
    "reprieve.preview_take_v1('{}', '{}', 0)",
    "reprieve.preview_follow_v1('p')",
    "reprieve.preview_delete_lines_v1('p', 'SELECT 1')",
    "reprieve.preview_query_v1('p', 'true')",
    "reprieve.preview_picture_v1('{}', 'tree')",
    "reprieve.volatile_in_v1('p')",
    "reprieve.preview_undelete_rows_v1('p', '{}', '{}', '{}', '', 'nocascade', false, 1)",
    "reprieve.erase_rows_v1('p', '{}', '{}', '{}', '{}')",
    "reprieve.erased_v1(1)",
    "reprieve.release_v1(relation => 'p')",
    "reprieve.hold_v1(relation => 'p')",
    "reprieve.unguard_v1('p')",
    "reprieve.request_v1('p', 'true', 1, 'clerk', '1 hour', '')",
    "reprieve.decide_request_v1(1, true)",
    "reprieve.requests_v1()",
    "reprieve.guards",
    "reprieve.budgets",
    "reprieve.requests",
    "reprieve.sealed",
    "reprieve.preview_rows",
    "reprieve.receipts",
    "reprieve.holds",
    "reprieve.retention",
    "reprieve.rehearsals",
];

#[test]
fn every_verb_is_for_members_of_reprieve_admin() {
    let (mut app, mut admin) = open("safe_rights", FAMILY);
    app.run("DELETE FROM p WHERE id = 1");
    let deletion = last_deletion(&mut admin);
    let mut clerk = Client::connect(&SHOP.cluster.target(), "clerk", "safe_rights").unwrap();
    let calls = VERBS
        .iter()
        .map(|(_, call)| *call)
        .chain(PARTS.iter().copied());
    for call in calls {
        let call = call.replace('N', &deletion);
        let error = clerk
            .try_run(&format!("SELECT * FROM {call}"))
            .expect_err(&call);
        assert!(error.starts_with("42501"), "{call}: {error}");
    }
    // On the admin port others do not come in, or nothing works.
    if let Ok(mut clerk) = Client::connect(&SHOP.proxy.admin(), "clerk", "safe_rights") {
        for (verb, _) in VERBS {
            let verb = verb.replace('N', &deletion);
            let error = clerk.try_run(&verb).expect_err(&verb);
            assert!(error.starts_with("42501"), "{verb}: {error}");
        }
    }
    admin.run(
        "CREATE ROLE safe_dba LOGIN; GRANT reprieve_admin TO safe_dba; GRANT clerk TO safe_dba",
    );
    let mut dba = Client::connect(&SHOP.proxy.admin(), "safe_dba", "safe_rights").unwrap();
    for (verb, call) in VERBS {
        if verb.starts_with("PREVIEW UNDELETE TRANSACTION") {
            continue;
        }
        let verb = verb.replace(" N", &format!(" {deletion}"));
        dba.run(&verb);
        if !verb.starts_with("RELEASE") {
            dba.run(&format!("SELECT * FROM {}", call.replace('N', &deletion)));
        }
    }
}

#[test]
fn every_verb_speaks_both_protocols_and_is_undone_by_rollback() {
    let (mut app, mut admin) = open("safe_protocols", FAMILY);
    app.run("DELETE FROM p WHERE id = 1");
    let deletion = last_deletion(&mut admin);
    let transaction = admin.value("SELECT max(xid) FROM reprieve.deletions");
    let state = "SELECT (SELECT string_agg(x::text, ';') FROM (SELECT p.* FROM p ORDER BY id) x), (SELECT count(*) FROM reprieve.graveyard),
        (SELECT count(*) FROM reprieve.rehearsals), (SELECT count(*) FROM reprieve.receipts), (SELECT count(*) FROM reprieve.holds),
        (SELECT count(*) FROM reprieve.retention), (SELECT count(*) FROM reprieve.acts), (SELECT count(*) FROM reprieve.guards),
        (SELECT count(*) FROM reprieve.budgets), (SELECT count(*) FROM reprieve.requests), (SELECT count(*) FROM reprieve.seals),
        (SELECT prosrc FROM pg_proc WHERE proname = 'guard_line')";
    let before = admin.run(state);
    for extended in [false, true] {
        admin.run("BEGIN");
        for (verb, _) in VERBS {
            let verb = verb
                .replace(" N", &format!(" {deletion}"))
                .replace("TRANSACTION 1 ", &format!("TRANSACTION {transaction} "));
            if extended {
                admin.send(&tests::front::extended(&verb, 0));
                let messages = admin.until_ready();
                assert!(
                    messages.iter().any(|message| message.tag == b'T'),
                    "{verb}: {messages:?}"
                );
                assert!(
                    messages.iter().all(|message| message.tag != b'E'),
                    "{verb}: {messages:?}"
                );
            } else {
                admin.run(&verb);
            }
        }
        admin.run("ERASE SUBJECT FROM p WHERE id = 2; PURGE BEFORE now(); ROLLBACK");
        assert_eq!(admin.run(state), before, "extended: {extended}");
    }
    assert_eq!(admin.run("CHECK INTEGRITY"), [""; 0]);
}

#[test]
fn a_preview_sees_what_a_client_sees() {
    let (mut app, mut admin) = open("safe_preview", FAMILY);
    app.run("DELETE FROM p WHERE id = 1; DELETE FROM c WHERE id = 21");
    let told = |admin: &mut Client, rest: &str| {
        admin
            .run(&format!("PREVIEW DELETE FROM {rest}"))
            .iter()
            .map(|line| {
                let fields: Vec<&str> = line.split('|').collect();
                format!("{} {} {}", fields[0], fields[2], fields[3])
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(
        told(&mut admin, "p"),
        ["public.p delete 1", "(all) DELETES 1"]
    );
    assert_eq!(
        told(&mut admin, "c"),
        ["public.c delete 0", "(all) NOTHING 0"]
    );
    // Tombstones of other tables in the condition are hidden too: nobody is left in c.
    assert_eq!(
        told(
            &mut admin,
            "p AS x WHERE NOT EXISTS (SELECT FROM c WHERE c.p_id = x.id)"
        ),
        ["public.p delete 1", "(all) DELETES 1"]
    );
    // A row that is matched twice goes once.
    app.run("INSERT INTO c VALUES (22, 2, 'x'), (23, 2, 'y')");
    assert_eq!(
        told(&mut admin, "p USING c WHERE c.p_id = p.id"),
        ["public.p delete 1", "public.c delete 2", "(all) DELETES 3"]
    );
    assert_eq!(app.run("SELECT id FROM p"), ["2"]);
}

#[test]
fn s26_a_volatile_condition_is_not_run() {
    let (mut app, mut admin) = open("safe_volatile", FAMILY);
    app.run("CREATE SEQUENCE s; CREATE FUNCTION noted(i int) RETURNS boolean LANGUAGE sql VOLATILE AS 'SELECT nextval(''s'') > 0';
             CREATE VIEW behind AS SELECT 1 AS x WHERE noted(1)");
    for condition in [
        "nextval('s') % 2 = 0",
        "random() < 0.5",
        "noted(id)",
        "EXISTS (SELECT FROM behind)",
        "pg_try_advisory_xact_lock(id)",
    ] {
        let lines = admin.run(&format!("PREVIEW DELETE FROM p WHERE {condition}"));
        let last = lines.last().map(String::as_str).unwrap_or_default();
        assert!(
            last.contains("ESTIMATED") && last.contains("volatile"),
            "{condition}: {lines:?}"
        );
    }
    assert_eq!(admin.value("SELECT is_called FROM s"), "f");
    assert_eq!(
        admin.value(
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()"
        ),
        "0"
    );
    let lines = admin.run("PREVIEW DELETE FROM p WHERE id < 10 AND now() > '2020-01-01'");
    assert!(
        lines.last().is_some_and(|line| line.contains("DELETES")),
        "{lines:?}"
    );
}

#[test]
fn a_condition_runs_with_the_callers_rights() {
    let (_, mut admin) = open("safe_condition", FAMILY);
    admin.run("CREATE ROLE safe_poor LOGIN; GRANT reprieve_admin TO safe_poor; CREATE TABLE secret (x int); INSERT INTO secret VALUES (1);
               GRANT SELECT ON p TO safe_poor");
    let mut poor = Client::connect(&SHOP.proxy.admin(), "safe_poor", "safe_condition").unwrap();
    for verb in [
        "PREVIEW DELETE FROM p WHERE EXISTS (SELECT FROM secret)",
        "PREVIEW UNDELETE FROM p WHERE EXISTS (SELECT FROM secret)",
        "ERASE SUBJECT FROM p WHERE EXISTS (SELECT FROM secret)",
        "PREVIEW DELETE FROM c",
    ] {
        let error = poor.try_run(verb).expect_err(verb);
        assert!(error.starts_with("42501"), "{verb}: {error}");
    }
    assert!(!poor.run("PREVIEW DELETE FROM p").is_empty());
}

#[test]
fn sidecars_purge_in_the_background_one_at_a_time_and_survive_each_other() {
    const ROWS: usize = 3000;
    const PATIENCE: Duration = Duration::from_secs(120);
    let cluster = Cluster::start();
    let start = || {
        Proxy::with(
            cluster.port(),
            "*.*",
            &[("REPRIEVE__KEEPER__LEASE_SECONDS", "4")],
        )
    };
    let (first, second) = (start(), start());
    cluster.create_database("purged");
    let mut app = first.connect("purged");
    app.run(&format!(
        "CREATE TABLE p (id int PRIMARY KEY); CREATE TABLE c (id int PRIMARY KEY, p_id int REFERENCES p ON DELETE CASCADE);
         INSERT INTO p SELECT generate_series(1, {ROWS}); INSERT INTO c SELECT i, i FROM generate_series(1, {ROWS}) i"
    ));
    let mut other = second.connect("purged");
    settle(&cluster, "purged");
    app.run("DELETE FROM p WHERE id % 3 > 0");
    let mut admin = first.connect_admin("purged");
    admin.run(
        "UPDATE reprieve.deletions SET statement_at = statement_at - interval '91 days';
               INSERT INTO reprieve.settings VALUES ('retention.rows_per_step', '100')",
    );
    app.run("DELETE FROM p WHERE id = 3");
    let receipts = "SELECT coalesce(sum(rows), 0) FROM reprieve.receipts";
    assert_eq!(
        admin.value(receipts),
        "0",
        "nothing goes unless a DBA wants it"
    );
    let mut direct = cluster.superuser("purged");
    admin.run("PURGE BACKGROUND ON");
    let mut killed = Some(first);
    let mut work = Work {
        live: (6..=ROWS).step_by(3).collect(),
        young: BTreeSet::from([3]),
        ids: 0..100_000,
    };
    let total = 2 * (ROWS / 3 * 2);
    let over = AtomicBool::new(false);
    let patience = Instant::now();
    let mut works = std::thread::scope(|scope| {
        let others: Vec<_> = (1..4)
            .map(|number| {
                let (second, over) = (&second, &over);
                scope.spawn(move || {
                    let ids = number * 100_000..(number + 1) * 100_000;
                    let mut work = Work {
                        live: BTreeSet::new(),
                        young: BTreeSet::new(),
                        ids,
                    };
                    let mut app = second.connect("purged");
                    while !over.load(Ordering::Relaxed) && patience.elapsed() < PATIENCE {
                        work.step(&mut app);
                    }
                    work
                })
            })
            .collect();
        let outcome = loop {
            let gone: usize = direct.value(receipts).parse().unwrap();
            if gone > 300
                && let Some(proxy) = killed.take()
            {
                // Whatever it is at.
                proxy.signal("KILL");
            }
            work.step(&mut other);
            if gone >= total || patience.elapsed() > PATIENCE {
                break gone;
            }
        };
        over.store(true, Ordering::Relaxed);
        assert_eq!(outcome, total, "rows purged");
        let others = others.into_iter().map(|other| other.join().unwrap());
        others.collect::<Vec<_>>()
    });
    works.push(work);
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(
        direct.value(receipts),
        total.to_string(),
        "no row was counted twice"
    );
    assert_eq!(
        direct.value("SELECT max(rows) <= 100 FROM reprieve.receipts"),
        "t"
    );
    let mut admin = second.connect_admin("purged");
    let told = admin.run("UNDELETE SINCE '2020-01-01'");
    let young: usize = works.iter().map(|work| work.young.len()).sum();
    assert!(
        told.last()
            .is_some_and(|line| line.starts_with(&format!("(all)|{}|", 2 * young))),
        "{told:?}"
    );
    for work in &mut works {
        let young = std::mem::take(&mut work.young);
        work.live.extend(young);
        work.check(&mut other);
    }
    assert_eq!(direct.run("SELECT * FROM reprieve.check_v1()"), [""; 0]);
}

/// What an application does in its own span of ids while old rows are purged, and what it must see of that.
struct Work {
    live: BTreeSet<usize>,
    /// Deleted a moment ago.
    young: BTreeSet<usize>,
    ids: std::ops::Range<usize>,
}

impl Work {
    fn step(&mut self, app: &mut Client) {
        let done = self.live.len() + self.young.len();
        let (came, goes) = (
            self.ids.start + 10_000 + done,
            self.ids.start + done * 3 % 3000,
        );
        // Every other row that goes came in this run.
        let goes = match self.live.iter().next_back() {
            Some(&newest) if done.is_multiple_of(2) => newest,
            _ => goes,
        };
        app.run(&format!(
            "INSERT INTO p VALUES ({came}); INSERT INTO c VALUES ({came}, {came}); DELETE FROM p WHERE id = {goes}"
        ));
        self.live.insert(came);
        if self.live.remove(&goes) {
            self.young.insert(goes);
        }
        self.check(app);
    }

    /// Every live row is there with its child, and no other one.
    fn check(&self, app: &mut Client) {
        let found = app.value(&format!(
            "SELECT string_agg(concat_ws(':', p.id, c.id), ' ' ORDER BY p.id)
             FROM (SELECT * FROM p WHERE id >= {0} AND id < {1}) p FULL JOIN (SELECT * FROM c WHERE p_id >= {0} AND p_id < {1}) c ON c.p_id = p.id",
            self.ids.start, self.ids.end
        ));
        let pairs: Vec<_> = self.live.iter().map(|id| format!("{id}:{id}")).collect();
        assert_eq!(found, pairs.join(" "));
    }
}

/// What differs from run to run, as docs/admin.md writes it.
fn settled(line: &str) -> String {
    let mut words = String::new();
    let mut number = String::new();
    let flush = |number: &mut String, words: &mut String| {
        let is_time = number.contains(':') && number.contains('-');
        let is_id = number.len() > 8 && number.bytes().all(|byte| byte.is_ascii_digit());
        *words += if is_time {
            "TIME"
        } else if is_id {
            "ID"
        } else {
            number.as_str()
        };
        number.clear();
    };
    let mut characters = line.chars().peekable();
    while let Some(character) = characters.next() {
        let in_time = !number.is_empty()
            && (matches!(character, '-' | ':' | '+')
                || character == '.' && number.contains(':')
                || matches!(character, ' ' | 'T') && number.len() == 10 && number.contains('-'));
        if character.is_ascii_digit()
            || in_time && characters.peek().is_some_and(char::is_ascii_digit)
        {
            number.push(character);
        } else {
            flush(&mut number, &mut words);
            words.push(character);
        }
    }
    flush(&mut number, &mut words);
    words
}

/// The same where a field is a number of milliseconds or of a transaction: the documentation says where.
fn agrees(expected: &str, got: &str) -> bool {
    let got = settled(got);
    let (expected, got): (Vec<&str>, Vec<&str>) =
        (expected.split('|').collect(), got.split('|').collect());
    expected.len() == got.len()
        && expected
            .iter()
            .zip(&got)
            .all(|(expected, got)| match *expected {
                "MS" => got.parse::<f64>().is_ok(),
                "XID" => got.parse::<u64>().is_ok(),
                "DIGEST" => got.len() > 20,
                "took MS ms" => got.starts_with("took ") && got.ends_with(" ms"),
                _ => expected == got,
            })
}

#[test]
fn the_examples_of_the_documentation_are_true() {
    let text =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/admin.md")).unwrap();
    let mut blocks = text.split("```").skip(1).step_by(2);
    let setup = blocks
        .next()
        .and_then(|block| block.strip_prefix("setup\n"))
        .expect("the setup comes first");
    let (mut app, mut admin) = open("safe_docs", setup);
    admin.run("CREATE ROLE second_dba LOGIN; GRANT reprieve_admin TO second_dba");
    let mut second = Client::connect(&SHOP.proxy.admin(), "second_dba", "safe_docs").unwrap();
    let mut verbs = 0;
    for block in blocks {
        let (kind, body) = block.split_once('\n').unwrap();
        if kind == "held" {
            let mut lines = body.lines();
            while let (Some(statement), Some(expected)) = (lines.next(), lines.next()) {
                let error = app.try_run(statement).expect_err(statement);
                assert!(
                    error.replacen(' ', ": ", 1).starts_with(expected)
                        || error.starts_with(expected),
                    "{statement}\nexpected: {expected}\ngot:      {error}"
                );
            }
            continue;
        }
        if kind == "app" {
            for statement in body.lines() {
                app.run(statement);
            }
            continue;
        }
        let client = match kind {
            "admin" => &mut admin,
            "second" => &mut second,
            _ => panic!("what is {kind}?"),
        };
        for example in body.trim().split("\n\n") {
            let mut lines = example.lines();
            let verb = lines.next().unwrap();
            let sent = if verb.contains("LAST") {
                verb.replace("LAST", &last_deletion(client))
            } else if verb.contains("NEWEST") {
                verb.replace(
                    "NEWEST",
                    &client.value("SELECT max(id) FROM reprieve.requests"),
                )
            } else {
                verb.to_owned()
            };
            let expected: Vec<&str> = lines.collect();
            let got = client.run(&sent);
            assert!(
                expected.len() == got.len()
                    && expected
                        .iter()
                        .zip(&got)
                        .all(|(expected, got)| agrees(expected, got)),
                "{verb}\nexpected:\n{}\ngot:\n{}",
                expected.join("\n"),
                got.iter()
                    .map(|line| settled(line))
                    .collect::<Vec<_>>()
                    .join("\n")
            );
            verbs += 1;
        }
    }
    assert!(verbs > 20);
}
