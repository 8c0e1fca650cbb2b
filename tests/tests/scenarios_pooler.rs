//! PgBouncer in front of the proxy, in every mode, and behind it in session mode.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use tests::cluster::is_root;
use tests::front;
use tests::pair::settle;
use tests::process::{Guarded, free_port, run};
use tests::{Client, Cluster, Proxy, Target};

const ITEMS: &str = "CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT n, 'v' || n FROM generate_series(1, 100) n";

struct Pooler {
    port: u16,
    _process: Guarded,
    _directory: Guarded,
}

impl Pooler {
    /// A pooler in front of a port, without passwords.
    fn start(upstream: u16, mode: &str) -> Pooler {
        let dir = tempfile::Builder::new()
            .prefix("reprieve-pooler-")
            .tempdir()
            .expect("a directory")
            .keep();
        let directory = Guarded::directory(&dir);
        std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o755)).expect("chmod");
        let port = free_port();
        std::fs::write(dir.join("users"), "\"clerk\" \"\"\n\"postgres\" \"\"\n").expect("users");
        std::fs::write(
            dir.join("pgbouncer.ini"),
            format!(
                "[databases]\n* = host=127.0.0.1 port={upstream}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
                 unix_socket_dir =\nauth_type = trust\nauth_file = {}/users\npool_mode = {mode}\ndefault_pool_size = 4\n\
                 server_reset_query = DISCARD ALL\n",
                dir.display()
            ),
        )
        .expect("pgbouncer.ini");
        let program = ["/usr/sbin/pgbouncer", "/usr/bin/pgbouncer"]
            .map(PathBuf::from)
            .into_iter()
            .find(|path| path.exists());
        let program = program.expect("pgbouncer is missing: `make test` installs it");
        // It refuses to run as root.
        let mut command = if is_root() {
            run(Command::new("chown").args(["-R", "postgres:"]).arg(&dir));
            let mut setpriv = Command::new("setpriv");
            setpriv
                .args(["--reuid=postgres", "--regid=postgres", "--init-groups"])
                .arg(program);
            setpriv
        } else {
            Command::new(program)
        };
        command.arg(dir.join("pgbouncer.ini"));
        let process = Guarded::start(&mut command, "INT", None, &dir.join("log"));
        let started = Instant::now();
        while Client::open(&Target::tcp(port)).is_err() {
            let log = std::fs::read_to_string(dir.join("log")).unwrap_or_default();
            assert!(
                started.elapsed() < Duration::from_secs(10) && process.alive(),
                "pgbouncer does not start:\n{log}"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        Pooler {
            port,
            _process: process,
            _directory: directory,
        }
    }

    fn connect(&self) -> Client {
        Client::connect(&Target::tcp(self.port), "clerk", "shop")
            .unwrap_or_else(|error| panic!("{error}"))
    }
}

/// Deletes in several sessions through `connect`, in turns, and looks at what each of them sees.
fn play(cluster: &Cluster, connect: impl Fn() -> Client) {
    let (mut one, mut two) = (connect(), connect());
    assert_eq!(one.command("DELETE FROM t WHERE id = 1"), "DELETE 1");
    assert_eq!(two.command("DELETE FROM t WHERE id = 1"), "DELETE 0");
    one.run("BEGIN");
    assert_eq!(one.command("DELETE FROM t WHERE id <= 10"), "DELETE 9");
    assert_eq!(two.value("SELECT count(*) FROM t"), "99");
    one.run("ROLLBACK");
    assert_eq!(one.value("SELECT count(*) FROM t"), "99");
    for format in [0, 1] {
        two.send(&front::extended(
            "DELETE FROM t WHERE id IN (20, 21) RETURNING id",
            format,
        ));
        let tags = two
            .until_ready()
            .iter()
            .filter_map(tests::Message::command)
            .collect::<Vec<_>>();
        assert_eq!(tags, [if format == 0 { "DELETE 2" } else { "DELETE 0" }]);
    }
    drop(one);
    let mut three = connect();
    assert_eq!(three.value("SELECT count(*) FROM t"), "97");
    assert_eq!(
        cluster
            .superuser("shop")
            .value("SELECT count(*) FROM t WHERE deleted_at IS NOT NULL"),
        "3"
    );
}

fn shop(cluster: &Cluster, proxy: &Proxy) {
    cluster.create_database("shop");
    proxy.connect("shop").run(ITEMS);
    settle(cluster, "shop");
}

#[test]
fn pgbouncer_in_front() {
    for mode in ["session", "transaction", "statement"] {
        let cluster = Cluster::start();
        let proxy = Proxy::start(cluster.port(), "*.*");
        shop(&cluster, &proxy);
        let pooler = Pooler::start(proxy.app().port(), mode);
        if mode == "statement" {
            // There are no transactions in this mode.
            assert_eq!(
                pooler.connect().command("DELETE FROM t WHERE id <= 3"),
                "DELETE 3"
            );
            assert_eq!(pooler.connect().value("SELECT count(*) FROM t"), "97");
        } else {
            play(&cluster, || pooler.connect());
        }
    }
}

#[test]
fn pgbouncer_behind() {
    let cluster = Cluster::start();
    let pooler = Pooler::start(cluster.port(), "session");
    let upstream = format!("postgres://127.0.0.1:{}", pooler.port);
    let proxy = Proxy::with(
        cluster.port(),
        "*.*",
        &[("REPRIEVE__UPSTREAM__URL", &upstream)],
    );
    shop(&cluster, &proxy);
    play(&cluster, || proxy.connect("shop"));
}
