//! A private PostgreSQL server: made in a temporary directory, reachable from this machine only,
//! gone when dropped. Any number may run side by side. Uses nothing but the standard library, so
//! that tests of other crates can include this file.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

const START_TIMEOUT: Duration = Duration::from_secs(60);
const STOP_TIMEOUT: Duration = Duration::from_secs(20);
/// Somebody may take the free port before the server does.
const PORT_ATTEMPTS: u32 = 5;
/// The server refuses to run as root: then it runs as the user whom its Debian package creates.
const SERVER_USER: &str = "postgres";

/// Why there is no private server. One line each, with what to do.
#[derive(Debug)]
pub enum ClusterError {
    /// No server programs on this machine.
    NotFound,
    /// A program failed; its last words.
    Failed {
        program: String,
        output: String,
    },
    Io {
        doing: String,
        error: io::Error,
    },
}

impl std::fmt::Display for ClusterError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NotFound => f.write_str(
                "no PostgreSQL server programs found in PATH or /usr/lib/postgresql/*/bin: run `apt-get install postgresql`",
            ),
            Self::Failed { program, output } => write!(f, "{program} failed: {}", output.trim()),
            Self::Io { doing, error } => write!(f, "{doing}: {error}"),
        }
    }
}

impl std::error::Error for ClusterError {}

fn io_error(doing: impl Into<String>) -> impl FnOnce(io::Error) -> ClusterError {
    let doing = doing.into();
    move |error| ClusterError::Io { doing, error }
}

/// How the server is made.
#[derive(Debug, Clone, Default)]
pub struct ClusterOptions {
    /// Directory of `initdb` and `postgres`; the newest on this machine if absent.
    pub programs: Option<PathBuf>,
    /// More arguments of `initdb`.
    pub initdb: Vec<String>,
    /// More lines of `postgresql.conf`, as name and value. A value is quoted for you.
    pub settings: Vec<(String, String)>,
    /// A free one if absent.
    pub port: Option<u16>,
}

/// A running private server. Superuser `postgres`, no password, loopback and a unix socket.
#[derive(Debug)]
pub struct PrivateCluster {
    directory: PathBuf,
    programs: PathBuf,
    port: u16,
    server: Option<Child>,
}

impl PrivateCluster {
    /// Makes and starts a server; returns once it accepts connections.
    ///
    /// # Errors
    /// [`ClusterError`]; nothing is left behind.
    pub fn start(options: &ClusterOptions) -> Result<Self, ClusterError> {
        let programs = match &options.programs {
            Some(programs) => programs.clone(),
            None => find_programs().ok_or(ClusterError::NotFound)?,
        };
        let directory = new_directory()?;
        let mut cluster = Self {
            directory,
            programs,
            port: 0,
            server: None,
        };
        cluster.initdb(options)?;
        for attempt in 1.. {
            cluster.port = match options.port {
                Some(port) => port,
                None => free_port()?,
            };
            match cluster.launch() {
                Ok(()) => break,
                Err(ClusterError::Failed { output, .. })
                    if output.contains("already in use")
                        && options.port.is_none()
                        && attempt < PORT_ATTEMPTS => {}
                Err(error) => return Err(error),
            }
        }
        Ok(cluster)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Holds everything there is of this server, and is removed with it.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Where the unix socket is.
    pub fn socket_directory(&self) -> &Path {
        &self.directory
    }

    pub fn data_directory(&self) -> PathBuf {
        self.directory.join("data")
    }

    /// Directory of `psql`, `pg_dump` and the server's own programs.
    pub fn programs(&self) -> &Path {
        &self.programs
    }

    /// Process id of the server.
    pub fn pid(&self) -> Option<u32> {
        self.server.as_ref().map(Child::id)
    }

    /// Connection string as the superuser, over loopback.
    pub fn url(&self, database: &str) -> String {
        self.url_as("postgres", database)
    }

    pub fn url_as(&self, user: &str, database: &str) -> String {
        format!(
            "postgresql://{user}@127.0.0.1:{}/{database}?sslmode=disable",
            self.port
        )
    }

    /// What the server wrote to its log so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    /// Ends the server as a crash would, without removing anything. For tests; see
    /// [`PrivateCluster::restart`].
    pub fn crash(&mut self) {
        self.end("QUIT");
    }

    /// Starts the server again after [`PrivateCluster::crash`], on the same port.
    ///
    /// # Errors
    /// [`ClusterError`] if it does not come up.
    pub fn restart(&mut self) -> Result<(), ClusterError> {
        self.end("INT");
        self.launch()
    }

    fn log_file(&self) -> PathBuf {
        self.directory.join("server.log")
    }

    fn initdb(&self, options: &ClusterOptions) -> Result<(), ClusterError> {
        let data = self.data_directory();
        let output = self
            .command("initdb")
            .args([
                "--auth=trust",
                "--username=postgres",
                "--encoding=UTF8",
                "--locale=C.UTF-8",
            ])
            .args(["--no-sync", "--pgdata"])
            .arg(&data)
            .args(&options.initdb)
            .output()
            .map_err(io_error("running initdb"))?;
        if !output.status.success() {
            return Err(ClusterError::Failed {
                program: "initdb".to_owned(),
                output: String::from_utf8_lossy(&output.stderr).into_owned(),
            });
        }
        let mut lines = String::from(
            "\nlisten_addresses = '127.0.0.1'\nfsync = off\nsynchronous_commit = off\nfull_page_writes = off\nlogging_collector = off\n",
        );
        lines.push_str(&format!(
            "unix_socket_directories = '{}'\n",
            self.directory.display()
        ));
        for (name, value) in &options.settings {
            lines.push_str(&format!("{name} = '{}'\n", value.replace('\'', "''")));
        }
        let file = data.join("postgresql.conf");
        let text = fs::read_to_string(&file).map_err(io_error("reading postgresql.conf"))?;
        fs::write(&file, text + &lines).map_err(io_error("writing postgresql.conf"))
    }

    fn launch(&mut self) -> Result<(), ClusterError> {
        let log =
            fs::File::create(self.log_file()).map_err(io_error("creating the server's log"))?;
        let copy = log
            .try_clone()
            .map_err(io_error("creating the server's log"))?;
        let server = self
            .command("postgres")
            .arg("-D")
            .arg(self.data_directory())
            .args(["-p", &self.port.to_string()])
            .stdin(Stdio::null())
            .stdout(copy)
            .stderr(log)
            // Ctrl-C in our terminal is for us; the server is ended in order, afterwards.
            .process_group(0)
            .spawn()
            .map_err(io_error("starting postgres"))?;
        self.server = Some(server);
        let deadline = Instant::now() + START_TIMEOUT;
        while !self.is_ready() {
            let exited = match &mut self.server {
                Some(server) => server
                    .try_wait()
                    .map_err(io_error("waiting for postgres"))?,
                None => None,
            };
            if exited.is_some() || Instant::now() > deadline {
                self.end("QUIT");
                let output = self.log();
                return Err(ClusterError::Failed {
                    program: "postgres".to_owned(),
                    output,
                });
            }
            sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// The eighth line of postmaster.pid tells the state.
    fn is_ready(&self) -> bool {
        let file = self.data_directory().join("postmaster.pid");
        let text = fs::read_to_string(file).unwrap_or_default();
        text.lines()
            .nth(7)
            .is_some_and(|state| state.trim() == "ready")
    }

    fn end(&mut self, signal: &str) {
        let Some(mut server) = self.server.take() else {
            return;
        };
        signal_process(signal, server.id());
        let deadline = Instant::now() + STOP_TIMEOUT;
        while matches!(server.try_wait(), Ok(None)) {
            if Instant::now() > deadline {
                // Nothing worth saving is in there. A kill that fails found it gone.
                let _ = server.kill();
                let _ = server.wait();
                return;
            }
            sleep(Duration::from_millis(10));
        }
    }

    /// A program of the server, as a user that may run it.
    fn command(&self, program: &str) -> Command {
        let path = self.programs.join(program);
        let mut command = if is_root() {
            let mut command = Command::new("setpriv");
            let ids = [
                format!("--reuid={SERVER_USER}"),
                format!("--regid={SERVER_USER}"),
            ];
            command.args(ids).args(["--init-groups", "--"]).arg(path);
            command
        } else {
            Command::new(path)
        };
        // PGDATA, PGPORT and the like are meant for another server.
        for (name, _) in std::env::vars_os() {
            if name.to_str().is_some_and(|name| name.starts_with("PG")) {
                command.env_remove(name);
            }
        }
        command.current_dir(&self.directory);
        command
    }
}

impl Drop for PrivateCluster {
    fn drop(&mut self) {
        self.end("QUIT");
        // A failure leaves a directory under /tmp: nothing to be done about it here.
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// The shell's own `kill`: it is everywhere, and needs no unsafe code here.
fn signal_process(signal: &str, pid: u32) {
    let _ = Command::new("sh")
        .args(["-c", &format!("kill -{signal} {pid}")])
        .stderr(Stdio::null())
        .status();
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

/// What PATH has, else the newest of /usr/lib/postgresql/*/bin (Debian keeps servers out of PATH).
fn find_programs() -> Option<PathBuf> {
    let holds_server = |directory: &PathBuf| {
        directory.join("postgres").is_file() && directory.join("initdb").is_file()
    };
    let version = |directory: &PathBuf| -> u32 {
        let name = directory
            .parent()
            .and_then(Path::file_name)
            .and_then(OsStr::to_str);
        name.and_then(|name| name.parse().ok()).unwrap_or(0)
    };
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).find(holds_server);
    // Behind links there may be more programs than the two that were linked.
    let real = |directory: PathBuf| {
        let server = directory.join("postgres").canonicalize().ok()?;
        server.parent().map(Path::to_path_buf)
    };
    on_path.and_then(real).or_else(|| {
        let entries = fs::read_dir("/usr/lib/postgresql").ok()?;
        let directories = entries.flatten().map(|entry| entry.path().join("bin"));
        directories.filter(holds_server).max_by_key(version)
    })
}

fn new_directory() -> Result<PathBuf, ClusterError> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let parent = std::env::temp_dir();
    let started = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| since.as_micros() % 1_000_000_000);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let name = format!("reprieve-{}-{started}-{number}", std::process::id());
    let directory = parent.join(name);
    fs::create_dir(&directory).map_err(io_error(format!("creating {}", directory.display())))?;
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o755))
        .map_err(io_error("setting permissions"))?;
    if is_root() {
        let owned = server_user_ids().and_then(|(uid, gid)| {
            std::os::unix::fs::chown(&directory, Some(uid), Some(gid))
                .map_err(io_error(format!("giving the directory to {SERVER_USER}")))
        });
        if let Err(error) = owned {
            let _ = fs::remove_dir(&directory);
            return Err(error);
        }
    }
    Ok(directory)
}

fn server_user_ids() -> Result<(u32, u32), ClusterError> {
    let id = |flag| -> Result<u32, ClusterError> {
        let output = Command::new("id").args([flag, SERVER_USER]).output();
        let output = output.map_err(io_error("running id"))?;
        String::from_utf8_lossy(&output.stdout).trim().parse().map_err(|_| ClusterError::Failed {
            program: "id".to_owned(),
            output: format!(
                "no user {SERVER_USER}, and the server does not run as root: run `apt-get install postgresql`, or run this as another user"
            ),
        })
    };
    Ok((id("-u")?, id("-g")?))
}

/// A port that is free now.
///
/// # Errors
/// [`ClusterError::Io`] if there is none.
pub fn free_port() -> Result<u16, ClusterError> {
    let listener =
        TcpListener::bind(("127.0.0.1", 0)).map_err(io_error("looking for a free port"))?;
    let address = listener
        .local_addr()
        .map_err(io_error("looking for a free port"))?;
    Ok(address.port())
}
