//! Private PostgreSQL clusters: made in a moment, gone with the test.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use crate::client::{Client, Target};
use crate::process::{Guarded, free_port, run};
use crate::sound::{self, Sound};

/// Where the newest installed server keeps its programs.
pub fn bin_dir() -> PathBuf {
    static DIR: OnceLock<PathBuf> = OnceLock::new();
    DIR.get_or_init(|| {
        if let Ok(dir) = std::env::var("REPRIEVE_PG_BIN") {
            return PathBuf::from(dir);
        }
        let newest = std::fs::read_dir("/usr/lib/postgresql")
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
            .filter(|version| {
                Path::new(&format!("/usr/lib/postgresql/{version}/bin/initdb")).exists()
            })
            .max()
            .expect("no PostgreSQL server below /usr/lib/postgresql: `make test` installs it");
        PathBuf::from(format!("/usr/lib/postgresql/{newest}/bin"))
    })
    .clone()
}

/// The major version of that server.
pub fn major() -> u32 {
    static MAJOR: OnceLock<u32> = OnceLock::new();
    *MAJOR.get_or_init(|| {
        let told = run(Command::new(bin_dir().join("postgres")).arg("--version"));
        let number = told.split_whitespace().nth(2).unwrap_or_default();
        let major = number.split(|c: char| !c.is_ascii_digit()).next();
        major
            .and_then(|major| major.parse().ok())
            .unwrap_or_else(|| panic!("a version: {told}"))
    })
}

/// Copying files is the quicker way to make a database, and up to PostgreSQL 14 the only one.
fn strategy() -> &'static str {
    if major() < 15 {
        ""
    } else {
        " STRATEGY file_copy"
    }
}

/// How a cluster differs from the plain one.
#[derive(Default, Clone)]
pub struct Options {
    /// Lines for postgresql.conf.
    pub conf: String,
    /// The whole of pg_hba.conf; trust for everybody if `None`.
    pub hba: Option<String>,
    /// A certificate and its key, for TLS.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// Why CHECK INTEGRITY need not be clean at the end, if it need not.
    pub unchecked: Option<&'static str>,
}

/// A running private cluster with the superuser `postgres` and the ordinary role `clerk`.
pub struct Cluster {
    dir: PathBuf,
    port: u16,
    /// Why its databases are not checked at the end.
    unchecked: Option<&'static str>,
    // Dropped in this order: first the server ends, then its directory goes.
    server: Guarded,
    _directory: Guarded,
}

impl Cluster {
    /// Makes and starts one; returns when it answers.
    pub fn start() -> Cluster {
        Cluster::with(&Options::default())
    }

    /// The same, with differences.
    pub fn with(options: &Options) -> Cluster {
        let dir = tempfile::Builder::new()
            .prefix("reprieve-test-")
            .tempdir()
            .expect("a temporary directory")
            .keep();
        std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o755)).expect("chmod");
        let data = dir.join("data");
        std::fs::create_dir(&data).expect("mkdir");
        if is_root() {
            run(Command::new("chown").args(["-R", "postgres:"]).arg(&dir));
        }
        let mut initdb = as_server_user(&bin_dir().join("initdb"));
        initdb.args([
            "-N",
            "--no-instructions",
            "-A",
            "trust",
            "-U",
            "postgres",
            "-E",
            "UTF8",
            "--locale=C",
            "-D",
        ]);
        run(initdb.arg(&data));
        let port = free_port();
        let mut conf = format!(
            "listen_addresses = '127.0.0.1'\nport = {port}\nunix_socket_directories = '{}'\nfsync = off\n\
             max_prepared_transactions = 10\nmax_connections = 200\nlog_line_prefix = '%m [%p] %a '\n{}\n",
            dir.display(),
            options.conf
        );
        if let Some((certificate, key)) = &options.tls {
            let own_key = dir.join("server.key");
            std::fs::copy(key, &own_key).expect("copy the key");
            std::fs::set_permissions(&own_key, std::fs::Permissions::from_mode(0o600))
                .expect("chmod");
            if is_root() {
                run(Command::new("chown").arg("postgres:").arg(&own_key));
            }
            conf += &format!(
                "ssl = on\nssl_cert_file = '{}'\nssl_key_file = '{}'\n",
                certificate.display(),
                own_key.display()
            );
        }
        let previous =
            std::fs::read_to_string(data.join("postgresql.conf")).expect("postgresql.conf");
        std::fs::write(data.join("postgresql.conf"), previous + &conf).expect("postgresql.conf");
        if let Some(hba) = &options.hba {
            std::fs::write(data.join("pg_hba.conf"), hba).expect("pg_hba.conf");
        }
        let directory = Guarded::directory(&dir);
        let server = launch(&dir);
        let cluster = Cluster {
            dir,
            port,
            unchecked: options.unchecked,
            server,
            _directory: directory,
        };
        cluster.wait();
        cluster
            .superuser("postgres")
            .run("CREATE ROLE clerk LOGIN; GRANT CREATE ON DATABASE postgres TO clerk");
        cluster
    }

    fn wait(&self) {
        let started = Instant::now();
        let target = Target::unix(&self.dir, self.port);
        while Client::connect(&target, "postgres", "postgres").is_err() {
            assert!(
                started.elapsed() < Duration::from_secs(30) && self.server.alive(),
                "the server does not start:\n{}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(30));
        }
    }

    /// The port, on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The directory of the unix socket.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where a client connects.
    pub fn target(&self) -> Target {
        Target::tcp(self.port)
    }

    /// A connection as the superuser, over the unix socket.
    pub fn superuser(&self, database: &str) -> Client {
        Client::connect(&Target::unix(&self.dir, self.port), "postgres", database)
            .expect("the superuser connects")
    }

    /// Makes a database owned by `clerk`.
    pub fn create_database(&self, name: &str) {
        self.superuser("postgres")
            .run(&format!("CREATE DATABASE {name} OWNER clerk{}", strategy()));
    }

    /// Copies a database that nobody may be connected to. The keeper's connection to it closes soon after its last client.
    pub fn copy_database(&self, from: &str, to: &str) {
        let mut superuser = self.superuser("postgres");
        let mut last = String::new();
        for _ in 0..300 {
            let sql = format!(
                "CREATE DATABASE {to} TEMPLATE {from} OWNER clerk{}",
                strategy()
            );
            match superuser.try_run(&sql) {
                Ok(_) => return,
                Err(error) if error.starts_with("55006") => last = error,
                Err(error) => panic!("{error}"),
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("the template is never free: {last}");
    }

    /// CHECK INTEGRITY of a database, when this is dropped.
    pub fn sound(&self, database: &str) -> Sound {
        Sound::new(Target::unix(&self.dir, self.port), database)
    }

    /// Its databases are not checked at the end.
    pub fn leave_unchecked(&mut self, why: &'static str) {
        self.unchecked = Some(why);
    }

    /// Checks a database, and drops it and whoever is connected to it.
    pub fn drop_database(&self, name: &str) {
        if self.unchecked.is_none() {
            drop(self.sound(name));
        }
        self.superuser("postgres")
            .run(&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"));
    }

    /// Ends the server at once, as a crash does, without starting it again.
    pub fn stop(&mut self) {
        self.server.signal("QUIT");
        while self.server.alive() {
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Kills every process of the server with SIGKILL, the postmaster first: nothing of it gets to clean up. One that was born
    /// while it died holds the shared memory too, and is found by where it works.
    pub fn kill(&mut self) {
        self.server.signal("KILL");
        // As /proc names it: the way there may lead over links.
        let data = std::fs::canonicalize(self.dir.join("data")).expect("the data directory");
        loop {
            let left = processes_in(&data);
            if left.is_empty() && !self.server.alive() {
                return;
            }
            for process in &left {
                // One that has ended by itself meanwhile is as good as killed.
                let _ = Command::new("kill").args(["-KILL", process]).status();
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Starts the server again after `stop` or `kill`.
    pub fn start_again(&mut self) {
        self.server = launch(&self.dir);
        self.wait();
    }

    /// What the server logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let tail = log.lines().rev().take(40).collect::<Vec<_>>();
            eprintln!("-- the end of the server's log");
            tail.iter().rev().for_each(|line| eprintln!("{line}"));
        } else if self.unchecked.is_none() && self.server.alive() {
            sound::check_all(&Target::unix(&self.dir, self.port));
        }
    }
}

/// The processes that work in a directory: of a server all, whoever their parent is by now.
fn processes_in(dir: &Path) -> Vec<String> {
    let processes = std::fs::read_dir("/proc").expect("/proc");
    processes
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()))
        .filter(|name| {
            std::fs::read_link(Path::new("/proc").join(name).join("cwd"))
                .is_ok_and(|cwd| cwd == dir)
        })
        .collect()
}

fn launch(dir: &Path) -> Guarded {
    let mut postgres = as_server_user(&bin_dir().join("postgres"));
    postgres.arg("-D").arg(dir.join("data"));
    Guarded::start(&mut postgres, "QUIT", None, &dir.join("log"))
}

/// PostgreSQL refuses to run as root.
fn as_server_user(program: &Path) -> Command {
    if !is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid=postgres", "--regid=postgres", "--init-groups"])
        .arg(program);
    command.current_dir("/");
    command
}

/// Whether this process runs as root.
pub fn is_root() -> bool {
    std::fs::metadata("/proc/self")
        .is_ok_and(|metadata| std::os::unix::fs::MetadataExt::uid(&metadata) == 0)
}
