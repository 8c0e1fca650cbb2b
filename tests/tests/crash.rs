//! Servers, clients and statements that end in the middle. What was to be deleted, brought back or purged is so wholly or not at all,
//! and ledger and rows agree.

use std::time::{Duration, Instant};

use tests::client::{Got, REPLY_TIME_MAX};
use tests::pair::{direct, settle};
use tests::sql::statements;
use tests::{Client, Cluster, Proxy, front};

/// A DELETE of `p` takes `c` and `g` along and changes `n`; of `k` (no key, another mode) it takes some and changes the others.
const SCHEMA: &str = "
    CREATE TABLE p(id int PRIMARY KEY, v text);
    CREATE TABLE c(id int PRIMARY KEY, p int REFERENCES p ON DELETE CASCADE, v text UNIQUE);
    CREATE TABLE g(id int PRIMARY KEY, c int REFERENCES c ON DELETE CASCADE);
    CREATE TABLE n(id int PRIMARY KEY, p int REFERENCES p ON DELETE SET NULL);
    CREATE TABLE k(p int REFERENCES p ON DELETE SET NULL, c int REFERENCES c ON DELETE CASCADE);
    CREATE INDEX ON c (p); CREATE INDEX ON g (c); CREATE INDEX ON n (p); CREATE INDEX ON k (p); CREATE INDEX ON k (c);";
const ROWS: &str = "
    INSERT INTO p SELECT i, 'p' || i FROM generate_series(1, 50) i;
    INSERT INTO c SELECT i, 1 + i % 50, 'c' || i FROM generate_series(1, 2000) i;
    INSERT INTO g SELECT i, 1 + i % 2000 FROM generate_series(1, 4000) i;
    INSERT INTO n SELECT i, 1 + i % 50 FROM generate_series(1, 300) i;
    INSERT INTO k SELECT 1 + i % 50, CASE WHEN i > 300 THEN i END FROM generate_series(1, 600) i";
const DELETE: &str = "DELETE FROM p WHERE id <= 40";
const UNDELETE: &str =
    "SELECT u.* FROM reprieve.undelete_deletion_v1((SELECT max(id) FROM reprieve.deletions)) u";
const UNDO: &str = "SELECT u.* FROM reprieve.undo_undelete_v1((SELECT max(id) FROM reprieve.acts WHERE undone_at IS NULL)) u";
const PURGE: &str = "SELECT * FROM reprieve.purge_v1(deletion => (SELECT max(id) FROM reprieve.deletions), before => 'infinity', row_budget => 1000000)";

/// What there is: live rows, their references, the bin, what the ledger says is in the bin, and references to be put back.
const STATE: &str = "
    SELECT (SELECT count(*) || ' of p' FROM p WHERE deleted_at IS NULL), (SELECT count(*) || ' of c' FROM c WHERE deleted_at IS NULL),
           (SELECT count(*) || ' of g' FROM g WHERE deleted_at IS NULL), (SELECT count(p) || ' of n refer' FROM n WHERE deleted_at IS NULL),
           (SELECT count(*) || ' of k, refer ' || count(p) FROM k),
           (SELECT sum(n) || ' in the bin' FROM (SELECT count(*) AS n FROM reprieve.graveyard UNION ALL SELECT count(*) FROM p WHERE deleted_at IS NOT NULL
            UNION ALL SELECT count(*) FROM c WHERE deleted_at IS NOT NULL UNION ALL SELECT count(*) FROM g WHERE deleted_at IS NOT NULL) x),
           (SELECT coalesce(sum(rows - restored - discarded), 0) || ' by the ledger' FROM reprieve.deletion_tables),
           (SELECT count(*) || ' to relink' FROM reprieve.relinks), (SELECT count(*) || ' left over' FROM reprieve.undelete_picks)";

/// Where an act is cut, in parts of the time that it took before.
const CUTS: [f64; 3] = [0.2, 0.6, 0.95];

struct Shop {
    cluster: Cluster,
    proxy: Proxy,
}

impl Shop {
    fn open() -> Shop {
        let cluster = Cluster::start();
        let proxy = Proxy::start(cluster.port(), "*.*");
        cluster.create_database("shop");
        let mut client = proxy.connect("shop");
        for sql in statements(SCHEMA) {
            client.run(sql);
        }
        settle(&cluster, "shop");
        cluster
            .superuser("shop")
            .run("SELECT reprieve.enable_v1('k', 'bin')");
        settle(&cluster, "shop");
        for sql in statements(ROWS) {
            client.run(sql);
        }
        Shop { cluster, proxy }
    }

    /// Clients delete, DBAs do the rest.
    fn connect(&self, act: &str) -> Client {
        let (target, user) = if act == DELETE {
            (self.proxy.app(), "clerk")
        } else {
            (self.proxy.admin(), "postgres")
        };
        let started = Instant::now();
        loop {
            match Client::connect(&target, user, "shop") {
                Ok(client) => return client,
                Err(error) => assert!(started.elapsed() < Duration::from_secs(15), "{error}"),
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// One line, and nothing that does not agree.
    fn state(&self) -> String {
        let mut superuser = self.cluster.superuser("shop");
        let findings = superuser.run("SELECT finding, table_name, detail FROM reprieve.check_v1()");
        assert_eq!(findings, Vec::<String>::new());
        superuser.value(STATE)
    }

    /// Does it to its end, and returns how long it took.
    fn act(&self, act: &str) -> Duration {
        let mut client = self.connect(act);
        let started = Instant::now();
        client.run(act);
        started.elapsed()
    }

    /// Begins an act and lets `cut` interrupt it; then it is done, or it is not, and if not it is done again. True if it was not.
    fn cut(
        &mut self,
        act: &str,
        after: Duration,
        before: &str,
        done: &str,
        cut: impl FnOnce(&mut Shop, &mut Client),
    ) -> bool {
        let mut client = self.connect(act);
        client.send(&front::query(act));
        std::thread::sleep(after);
        cut(self, &mut client);
        drop(client);
        self.wait_for_quiet();
        let state = self.state();
        assert!(
            state == before || state == done,
            "{act} was cut after {after:?}\nbefore: {before}\ndone:   {done}\nnow:    {state}"
        );
        if state == before {
            self.act(act);
            assert_eq!(self.state(), done);
        }
        state == before
    }

    fn wait_for_quiet(&self) {
        let mut superuser = self.cluster.superuser("shop");
        let started = Instant::now();
        while superuser.value(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = 'shop' AND pid <> pg_backend_pid() AND state <> 'idle' AND backend_type = 'client backend'",
        ) != "0"
        {
            assert!(started.elapsed() < REPLY_TIME_MAX, "it never ends");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Each act is cut at each of the places; together they lead back to where they began.
    fn cut_all(&mut self, acts: &[&str], mut cut: impl FnMut(&mut Shop, &mut Client)) {
        let mut states = vec![self.state()];
        let mut times = Vec::new();
        for act in acts {
            times.push(self.act(act));
            states.push(self.state());
        }
        assert_eq!(states[0], states[acts.len()]);
        let mut undone = 0;
        for part in CUTS {
            for (number, act) in acts.iter().enumerate() {
                let (before, done) = (&states[number], &states[number + 1]);
                let after = times[number].mul_f64(part);
                undone += u32::from(self.cut(act, after, before, done, &mut cut));
            }
        }
        assert!(undone > 0, "no act was cut in the middle");
    }
}

fn crash(shop: &mut Shop, _: &mut Client) {
    shop.cluster.kill();
    shop.cluster.start_again();
}

#[test]
fn a_server_that_is_killed() {
    if direct() {
        return;
    }
    let mut shop = Shop::open();
    shop.cut_all(&[DELETE, UNDELETE, UNDO, UNDELETE], crash);
    // A purge does not lead back.
    shop.act(DELETE);
    let before = shop.state();
    let mut client = shop.connect(PURGE);
    let started = Instant::now();
    client.run(&format!("BEGIN; {PURGE}"));
    let took = started.elapsed();
    let done = client.value(STATE);
    client.run("ROLLBACK");
    drop(client);
    assert_ne!(before, done);
    shop.cut(PURGE, took.mul_f64(0.5), &before, &done, crash);
}

#[test]
fn a_delete_that_is_prepared_outlives_the_server() {
    if direct() {
        return;
    }
    let mut shop = Shop::open();
    let before = shop.state();
    shop.act(DELETE);
    let done = shop.state();
    shop.act(UNDELETE);
    assert_eq!(shop.state(), before);
    for (end, expected) in [
        ("ROLLBACK PREPARED 'x'", &before),
        ("COMMIT PREPARED 'x'", &done),
    ] {
        let mut client = shop.connect(DELETE);
        client.run("BEGIN");
        client.run(DELETE);
        client.run("PREPARE TRANSACTION 'x'");
        crash(&mut shop, &mut client);
        assert_eq!(shop.state(), before);
        let mut client = shop.connect(DELETE);
        assert_eq!(client.value("SELECT count(*) FROM c"), "2000");
        // What it has taken is locked still.
        client.run("SET lock_timeout = '50ms'");
        assert!(client.try_run("DELETE FROM p WHERE id = 1").is_err());
        client.run(end);
        assert_eq!(&shop.state(), expected);
    }
    shop.act(UNDELETE);
    assert_eq!(shop.state(), before);
}

#[test]
fn a_client_that_leaves() {
    if direct() {
        return;
    }
    let mut shop = Shop::open();
    shop.cut_all(&[DELETE, UNDELETE], |_, client| client.leave());
}

#[test]
fn a_statement_that_is_cancelled() {
    if direct() {
        return;
    }
    let mut shop = Shop::open();
    shop.cut_all(&[DELETE, UNDELETE, UNDO, UNDELETE], |shop, client| {
        let (pid, key) = client.key.clone().expect("a key");
        let mut other = Client::open(&shop.proxy.app()).expect("connects");
        other.send(&front::cancel_request(pid, &key));
        assert_eq!(other.recv(REPLY_TIME_MAX), Got::Closed);
        // An answer to the cancelled statement, whichever.
        let answer = client.until_ready();
        assert!(
            answer
                .iter()
                .filter(|message| message.tag == b'E')
                .all(|error| error.field(b'C').as_deref() == Some("57014")),
            "{answer:?}"
        );
    });
}
