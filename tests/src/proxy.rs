//! `reprieve serve` on free ports.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::client::{Client, Target};
use crate::process::{Guarded, free_port, root};

/// How long the proxy may take until it is ready.
const READY_TIME_MAX: Duration = Duration::from_secs(30);

/// A running proxy.
pub struct Proxy {
    dir: PathBuf,
    app: u16,
    admin: u16,
    http: u16,
    process: Guarded,
    environment: Vec<(String, String)>,
    // After the process: the directory holds its log.
    _directory: Guarded,
}

impl Proxy {
    /// In front of a server on a port of 127.0.0.1, with the tables that match `enable` enabled.
    pub fn start(upstream: u16, enable: &str) -> Proxy {
        Proxy::with(upstream, enable, &[])
    }

    /// The same with more configuration, as environment variables.
    pub fn with(upstream: u16, enable: &str, more: &[(&str, &str)]) -> Proxy {
        let dir = tempfile::Builder::new()
            .prefix("reprieve-proxy-")
            .tempdir()
            .expect("a temporary directory")
            .keep();
        let directory = Guarded::directory(&dir);
        let (app, admin, http) = (free_port(), free_port(), free_port());
        let mut environment = vec![
            (
                "REPRIEVE__LISTEN__APP".to_owned(),
                format!("127.0.0.1:{app}"),
            ),
            (
                "REPRIEVE__LISTEN__ADMIN".to_owned(),
                format!("127.0.0.1:{admin}"),
            ),
            (
                "REPRIEVE__LISTEN__HTTP".to_owned(),
                format!("127.0.0.1:{http}"),
            ),
            (
                "REPRIEVE__UPSTREAM__URL".to_owned(),
                format!("postgres://127.0.0.1:{upstream}"),
            ),
            (
                "REPRIEVE__KEEPER__URL".to_owned(),
                format!("postgres://postgres@127.0.0.1:{upstream}/postgres"),
            ),
            (
                "REPRIEVE__KEEPER__AUTO_INSTALL".to_owned(),
                (!enable.is_empty()).to_string(),
            ),
            ("REPRIEVE__TABLES__ENABLE".to_owned(), enable.to_owned()),
        ];
        for (key, value) in more {
            environment.retain(|(known, _)| known != key);
            environment.push(((*key).to_owned(), (*value).to_owned()));
        }
        let process = launch(&dir, &environment);
        let proxy = Proxy {
            dir,
            app,
            admin,
            http,
            process,
            environment,
            _directory: directory,
        };
        proxy.wait();
        proxy
    }

    fn wait(&self) {
        let started = Instant::now();
        while http_status(self.http, "/readyz") != Some(200) {
            assert!(self.process.alive(), "the proxy ended:\n{}", self.log());
            assert!(
                started.elapsed() < READY_TIME_MAX,
                "the proxy is not ready:\n{}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Where applications connect.
    pub fn app(&self) -> Target {
        Target::tcp(self.app)
    }

    /// Where DBAs connect.
    pub fn admin(&self) -> Target {
        Target::tcp(self.admin)
    }

    /// The port of the http endpoint.
    pub fn http(&self) -> u16 {
        self.http
    }

    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    pub fn alive(&self) -> bool {
        self.process.alive()
    }

    pub fn signal(&self, name: &str) {
        self.process.signal(name);
    }

    /// `kill -9`, and a new one on the same ports.
    pub fn kill_and_start_again(&mut self) {
        self.process.signal("KILL");
        while self.process.alive() {
            std::thread::sleep(Duration::from_millis(10));
        }
        self.process = launch(&self.dir, &self.environment);
        self.wait();
    }

    /// A connection through the app port as the ordinary role.
    pub fn connect(&self, database: &str) -> Client {
        Client::connect(&self.app(), "clerk", database)
            .unwrap_or_else(|error| panic!("{error}\n{}", self.log()))
    }

    /// A connection to the admin port as the superuser.
    pub fn connect_admin(&self, database: &str) -> Client {
        Client::connect(&self.admin(), "postgres", database)
            .unwrap_or_else(|error| panic!("{error}\n{}", self.log()))
    }

    /// What the proxy logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let tail = log.lines().rev().take(40).collect::<Vec<_>>();
            eprintln!("-- the end of the proxy's log");
            tail.iter().rev().for_each(|line| eprintln!("{line}"));
        }
    }
}

fn launch(dir: &Path, environment: &[(String, String)]) -> Guarded {
    let mut serve = Command::new(binary());
    serve.arg("serve").current_dir(dir);
    serve.envs(environment.iter().map(|(key, value)| (key, value)));
    Guarded::start(&mut serve, "TERM", None, &dir.join("log"))
}

/// The `reprieve` that is tried: `REPRIEVE_BIN`, or the one beside this test in the target directory.
pub fn binary() -> PathBuf {
    let path = std::env::var("REPRIEVE_BIN").map_or_else(
        |_| {
            let test = std::env::current_exe().expect("the path of this test");
            let profile = test
                .ancestors()
                .find(|dir| dir.ends_with("debug") || dir.ends_with("release"))
                .map_or_else(|| root().join("target/debug"), Path::to_path_buf);
            profile.join("reprieve")
        },
        PathBuf::from,
    );
    assert!(
        path.exists(),
        "{} is missing: `cargo build -p reprieve` (make test does)",
        path.display()
    );
    path
}

/// The status of a GET, `None` if there is no answer.
pub fn http_status(port: u16, path: &str) -> Option<u16> {
    let (status, _) = http_get(port, path)?;
    Some(status)
}

/// Status and body of a GET.
pub fn http_get(port: u16, path: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    )
    .ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let status = answer.split(' ').nth(1)?.parse().ok()?;
    let body = answer.split_once("\r\n\r\n")?.1.to_owned();
    Some((status, body))
}
