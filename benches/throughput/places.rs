//! What is measured: the server itself, and proxies in front of it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use tests::cluster::is_root;
use tests::pair::settle;
use tests::process::{Guarded, free_port, run};
use tests::{Client, Cluster, Proxy, Target};

use crate::load::{self, ACCOUNTS, Connection, Load, Measured};

/// One row in twenty was deleted: physically where nobody keeps it.
const DELETED: &str = "DELETE FROM pgbench_accounts WHERE aid % 20 = 0";
const NOTES: &str = "CREATE TABLE notes (id int PRIMARY KEY, aid int NOT NULL, text text)";
const DELETE: &str = "DELETE FROM notes WHERE id = :id";

/// Somewhere to connect to.
pub struct Place {
    pub name: &'static str,
    port: u16,
    database: &'static str,
    /// Behind each condition of the application, and its DELETE.
    live: &'static str,
    delete: &'static str,
    proxy: Option<u32>,
    scripts: PathBuf,
}

impl Place {
    pub fn measure(&self, load: Load, mode: &str, clients: u32, seconds: u32) -> Measured {
        let script = self.scripts.join(format!("{}-{load}.sql", self.database));
        if !script.exists() {
            std::fs::write(&script, load.script(self.live, self.delete)).expect("a script");
        }
        let to = Connection {
            port: self.port,
            database: self.database,
        };
        load::measure(&to, &script, mode, clients, seconds, self.proxy)
    }
}

/// All of them, running. Ends them when dropped, proxies before the server.
pub struct Places {
    all: Vec<Place>,
    _proxies: Vec<Proxy>,
    _others: Vec<Guarded>,
    _scripts: tempfile::TempDir,
    _cluster: Cluster,
}

impl Places {
    pub fn start() -> Places {
        let cluster = Cluster::start();
        for database in ["plain", "kept", "handwritten"] {
            cluster
                .superuser("postgres")
                .run(&format!("CREATE DATABASE {database}"));
        }
        let (nothing, everything) = (
            Proxy::start(cluster.port(), ""),
            Proxy::start(cluster.port(), "*.*"),
        );
        let directory = tempfile::tempdir().expect("a temporary directory");
        let (pgbouncer, pgbouncer_port) = pgbouncer(directory.path(), cluster.port());
        let (haproxy, haproxy_port) = haproxy(directory.path(), cluster.port());
        let place = |name, port, database, proxy| Place {
            name,
            port,
            database,
            live: "",
            delete: DELETE,
            proxy,
            scripts: directory.path().to_owned(),
        };
        let server = cluster.target().port();
        let all = vec![
            place("direct", server, "plain", None),
            place("haproxy, tcp", haproxy_port, "plain", Some(haproxy.pid())),
            place(
                "pgbouncer, session",
                pgbouncer_port,
                "plain",
                Some(pgbouncer.pid()),
            ),
            place(
                "Reprieve, nothing enabled",
                nothing.app().port(),
                "plain",
                Some(nothing.pid()),
            ),
            place(
                "Reprieve, every table",
                everything.app().port(),
                "kept",
                Some(everything.pid()),
            ),
            Place {
                live: " AND deleted_at IS NULL",
                delete: "UPDATE notes SET deleted_at = now() WHERE id = :id AND deleted_at IS NULL",
                ..place("direct, soft deletes by hand", server, "handwritten", None)
            },
        ];
        fill(&cluster, &everything, &all);
        Places {
            all,
            _proxies: vec![nothing, everything],
            _others: vec![pgbouncer, haproxy],
            _scripts: directory,
            _cluster: cluster,
        }
    }

    pub fn all(&self) -> &[Place] {
        &self.all
    }
}

fn fill(cluster: &Cluster, everything: &Proxy, places: &[Place]) {
    for name in [
        "direct",
        "Reprieve, every table",
        "direct, soft deletes by hand",
    ] {
        let place = places
            .iter()
            .find(|place| place.name == name)
            .expect("a place");
        let to = Connection {
            port: place.port,
            database: place.database,
        };
        let scale = (ACCOUNTS / 100_000).to_string();
        run(load::pgbench(&to).args(["-i", "-q", "-s", &scale]));
        let mut client = Client::connect(&Target::tcp(place.port), "postgres", place.database)
            .unwrap_or_else(|error| panic!("{error}"));
        client.run(NOTES);
        match name {
            "direct, soft deletes by hand" => client.run(
                "ALTER TABLE pgbench_accounts ADD COLUMN deleted_at timestamptz; ALTER TABLE notes ADD COLUMN deleted_at timestamptz;
                 UPDATE pgbench_accounts SET deleted_at = now() WHERE aid % 20 = 0",
            ),
            "direct" => client.run(DELETED),
            _ => {
                // Filled before it had a key, it was not marked by itself.
                let mut admin = everything.connect_admin(place.database);
                admin.run("ENABLE SOFT DELETE ON pgbench_accounts");
                settle(cluster, place.database);
                client.run(DELETED)
            }
        };
        cluster.superuser(place.database).run("VACUUM ANALYZE");
    }
    let marked = "SELECT count(*) FROM pgbench_accounts WHERE deleted_at IS NOT NULL";
    assert_eq!(
        cluster.superuser("kept").value(marked),
        (ACCOUNTS / 20).to_string(),
        "the proxy marks what is deleted"
    );
}

fn program(name: &str) -> PathBuf {
    let places = ["/usr/sbin", "/usr/bin", "/usr/local/sbin", "/usr/local/bin"];
    let found = places
        .iter()
        .map(|place| Path::new(place).join(name))
        .find(|path| path.exists());
    found.unwrap_or_else(|| panic!("{name} is missing: `make bench` installs it"))
}

/// Waits until somebody accepts connections on a port.
fn await_port(port: u16, process: &Guarded, log: &Path) {
    let started = Instant::now();
    while Client::open(&Target::tcp(port)).is_err() {
        let said = std::fs::read_to_string(log).unwrap_or_default();
        let waits = started.elapsed() < Duration::from_secs(10) && process.alive();
        assert!(waits, "nobody listens on port {port}:\n{said}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// In session mode.
pub fn pgbouncer(directory: &Path, upstream: u16) -> (Guarded, u16) {
    let (port, home) = (free_port(), directory.join("pgbouncer"));
    std::fs::create_dir(&home).expect("mkdir");
    std::fs::write(home.join("users"), "\"postgres\" \"\"\n").expect("users");
    let ini = format!(
        "[databases]\n* = host=127.0.0.1 port={upstream}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n\
         auth_type = trust\nauth_file = {}/users\npool_mode = session\ndefault_pool_size = 100\n",
        home.display()
    );
    std::fs::write(home.join("pgbouncer.ini"), ini).expect("pgbouncer.ini");
    // It refuses to run as root.
    let mut command = Command::new(program("pgbouncer"));
    if is_root() {
        run(Command::new("chown").args(["-R", "postgres:"]).arg(&home));
        run(Command::new("chmod").arg("755").arg(directory));
        command = Command::new("setpriv");
        command
            .args(["--reuid=postgres", "--regid=postgres", "--init-groups"])
            .arg(program("pgbouncer"));
    }
    let log = directory.join("pgbouncer.log");
    let process = Guarded::start(
        command.arg("-q").arg(home.join("pgbouncer.ini")),
        "INT",
        None,
        &log,
    );
    await_port(port, &process, &log);
    (process, port)
}

/// In TCP mode.
pub fn haproxy(directory: &Path, upstream: u16) -> (Guarded, u16) {
    let port = free_port();
    let text = format!(
        "global\n  maxconn 1000\n  nbthread 2\ndefaults\n  mode tcp\n  timeout connect 5s\n  timeout client 1h\n  timeout server 1h\n\
         listen postgres\n  bind 127.0.0.1:{port}\n  server it 127.0.0.1:{upstream}\n"
    );
    let file = directory.join("haproxy.cfg");
    std::fs::write(&file, text).expect("haproxy.cfg");
    let log = directory.join("haproxy.log");
    let mut command = Command::new(program("haproxy"));
    let process = Guarded::start(command.arg("-db").arg("-f").arg(file), "TERM", None, &log);
    await_port(port, &process, &log);
    (process, port)
}
