//! `reprieve demo`: the incident that Reprieve is for, played on a private server with real data.

mod cluster;
mod play;
mod screen;
mod shop;

use std::process::ExitCode;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use tokio::signal::unix::{SignalKind, signal};

use crate::serve::Server;
use crate::settings::Config;
use crate::{Sources, commands};
pub use cluster::{ClusterError, ClusterOptions, PrivateCluster, free_port};
use screen::{Screen, say};

const APP_PORT: u16 = 6543;
const ADMIN_PORT: u16 = 6544;
const HTTP_PORT: u16 = 6545;
/// For clients that somebody left open.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);

/// Exit statuses.
const PASSED: u8 = 0;
const FAILED: u8 = 1;
/// As a shell tells of SIGINT: before all checks were made.
const INTERRUPTED: u8 = 130;

/// What `reprieve demo` was asked for.
#[derive(Debug, Clone, Copy, Default)]
pub struct DemoOptions {
    /// End after the last check instead of staying up until Ctrl-C.
    pub exit: bool,
}

/// Plays the demo. Fails if any check failed. Leaves nothing behind, whatever happens.
///
/// # Errors
/// One line: what is missing on this machine, or which step failed.
pub async fn demo(options: DemoOptions) -> Result<ExitCode, String> {
    let failed = |error: std::io::Error| format!("signals: {error}");
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    // The terminal was closed.
    let mut hang_up = signal(SignalKind::hangup()).map_err(failed)?;
    let started = Instant::now();
    let cluster = start_cluster().await?;
    let verdict = AtomicU8::new(INTERRUPTED);
    let outcome = tokio::select! {
        outcome = run(&cluster, options, started, &verdict) => outcome,
        _ = interrupt.recv() => Ok(()),
        _ = terminate.recv() => Ok(()),
        _ = hang_up.recv() => Ok(()),
    };
    let verdict = verdict.into_inner();
    if outcome.is_err() || verdict == FAILED {
        tell_log(&cluster);
    }
    let removed = cluster.directory().display().to_string();
    // Waits for the server to end.
    let _ = tokio::task::spawn_blocking(move || drop(cluster)).await;
    say!("\nThe private server is stopped, {removed} is removed.");
    outcome.map(|()| ExitCode::from(verdict))
}

async fn start_cluster() -> Result<PrivateCluster, String> {
    let settings = [
        ("shared_buffers", "256MB"),
        ("work_mem", "64MB"),
        ("maintenance_work_mem", "256MB"),
        ("max_wal_size", "4GB"),
    ];
    let options = ClusterOptions {
        settings: settings
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
        ..ClusterOptions::default()
    };
    let start = tokio::task::spawn_blocking(move || PrivateCluster::start(&options));
    start
        .await
        .map_err(|error| error.to_string())?
        .map_err(|error| error.to_string())
}

async fn run(
    cluster: &PrivateCluster,
    options: DemoOptions,
    started: Instant,
    verdict: &AtomicU8,
) -> Result<(), String> {
    let mut screen = Screen::new();
    screen.title(&format!("Reprieve {}", env!("CARGO_PKG_VERSION")));
    screen.note(&format!(
        "a private PostgreSQL server in {}, port {}",
        cluster.directory().display(),
        cluster.port()
    ));
    let plain = shop::build(cluster, &mut screen).await?;
    let server = protect(cluster, &mut screen).await?;
    let ports = Ports::of(&server)?;
    let proxy = server.proxy.clone();
    let serving = tokio::spawn(server.run());
    let played = play::incident(cluster, ports, &plain, &mut screen).await;
    if played.is_ok() {
        screen.summary(started.elapsed());
        let status = if screen.failures() == 0 {
            PASSED
        } else {
            FAILED
        };
        verdict.store(status, Ordering::Relaxed);
        if !options.exit {
            invite(&screen, cluster, ports);
            std::future::pending::<()>().await;
        }
    }
    proxy.shut_down();
    let _ = tokio::time::timeout(STOP_TIMEOUT, serving).await;
    played
}

/// Installs the keeper, enables the tables and binds the proxy's ports.
async fn protect(cluster: &PrivateCluster, screen: &mut Screen) -> Result<Server, String> {
    screen.step("Reprieve moves in");
    let blame = |error: keeper::KeeperError| match error.hint() {
        Some(hint) => format!("{error} ({hint})"),
        None => error.to_string(),
    };
    let url = cluster.url_as("keeper", shop::DATABASE);
    let config = keeper::KeeperConfig::parse(&url).map_err(blame)?;
    let began = Instant::now();
    let mut keeper = keeper::Keeper::connect(&config, shop::DATABASE)
        .await
        .map_err(blame)?;
    let report = keeper.install().await.map_err(blame)?;
    screen.timed(
        &format!("keeper version {} installed", report.version),
        began.elapsed(),
    );
    let began = Instant::now();
    let patterns = ["public.*".to_owned()];
    let mode = keeper::RequestedMode::Auto;
    let states = keeper
        .enable(&patterns, mode, &mut |_| {})
        .await
        .and_then(keeper::Enabled::all)
        .map_err(blame)?;
    screen.timed(&format!("{} tables enabled", states.len()), began.elapsed());
    for state in &states {
        let marks = state.mode == "mark" && state.marking;
        screen.check(
            marks,
            &format!("{:<18} {}: {}", state.table, state.mode, state.reason),
        );
    }
    drop(keeper);
    shop::appoint_dba(cluster).await?;
    let server = bind(cluster, &url).await?;
    screen.note(&format!(
        "proxy: app port {}, admin port {}",
        server.app.join(","),
        server.admin.join(",")
    ));
    Ok(server)
}

/// On the usual ports where they are free.
async fn bind(cluster: &PrivateCluster, keeper_url: &str) -> Result<Server, String> {
    let address = |port: u16| {
        let free = std::net::TcpListener::bind(("127.0.0.1", port)).is_ok();
        format!("127.0.0.1:{}", if free { port } else { 0 })
    };
    // No file and no key that could come from the surroundings.
    let file = cluster.directory().join("reprieve.toml");
    std::fs::write(&file, "").map_err(|error| format!("{}: {error}", file.display()))?;
    let upstream = format!("postgres://127.0.0.1:{}?sslmode=disable", cluster.port());
    let keys = [
        ("listen.app", address(APP_PORT)),
        ("listen.admin", address(ADMIN_PORT)),
        ("listen.http", address(HTTP_PORT)),
        ("upstream.url", upstream),
        ("keeper.url", keeper_url.to_owned()),
    ];
    let overrides = keys.map(|(key, value)| (key.to_owned(), value)).into();
    let config = Config::load(&Sources {
        file: Some(file),
        overrides,
    });
    Server::bind(&config.map_err(|error| error.to_string())?).await
}

/// Where the proxy listens.
#[derive(Debug, Clone, Copy)]
struct Ports {
    app: u16,
    admin: u16,
}

impl Ports {
    fn of(server: &Server) -> Result<Self, String> {
        let port = |addresses: &[String]| {
            let (_, port) = addresses.first()?.rsplit_once(':')?;
            port.parse().ok()
        };
        let found = port(&server.app).zip(port(&server.admin));
        let (app, admin) = found.ok_or("the proxy listens nowhere")?;
        Ok(Self { app, admin })
    }
}

fn invite(screen: &Screen, cluster: &PrivateCluster, ports: Ports) {
    let psql = cluster.programs().join("psql");
    let psql = psql.display();
    screen.section("Now it is your turn. Everything stays up until Ctrl-C.");
    let (app, admin) = (ports.app, ports.admin);
    say!("  the application   {psql} postgresql://shop@127.0.0.1:{app}/shop");
    say!("  the DBA           {psql} postgresql://dba@127.0.0.1:{admin}/shop");
    screen.section("Things to try");
    for (port, line) in [
        (
            "app",
            "DELETE FROM customers WHERE country = 'SE' RETURNING name;",
        ),
        (
            "app",
            "BEGIN; DELETE FROM orders; SELECT count(*) FROM audit_logs; ROLLBACK;",
        ),
        (
            "app",
            "TRUNCATE audit_logs;   -- refused: so many rows are not copied unasked",
        ),
        ("admin", "SHOW DELETIONS; SHOW TABLES; HELP;"),
        (
            "admin",
            "SHOW DELETED FROM customers WHERE name LIKE 'Frida%' LIMIT 5;",
        ),
        (
            "admin",
            "BEGIN; UNDELETE FROM customers WHERE name LIKE 'Frida%'; ROLLBACK;   -- a dry run",
        ),
        ("admin", "UNDELETE SINCE now() - interval '10 minutes';"),
    ] {
        say!("  {port:<6} {line}");
    }
    say!();
}

/// The server's own words help to understand a failure.
fn tell_log(cluster: &PrivateCluster) {
    let log = cluster.log();
    let errors: Vec<&str> = log
        .lines()
        .filter(|line| !line.contains(" LOG: "))
        .collect();
    if !errors.is_empty() {
        commands::tell("the last errors in the server's log:");
        for line in errors.iter().skip(errors.len().saturating_sub(20)) {
            commands::tell(&format!("  {line}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn answers(cluster: &PrivateCluster) -> bool {
        match shop::connect(&cluster.url("postgres")).await {
            Ok(client) => shop::first_row(&client, "SELECT 1").await == Ok(vec!["1".to_owned()]),
            Err(_) => false,
        }
    }

    #[tokio::test]
    async fn private_servers_run_side_by_side_and_leave_nothing() {
        let start = || PrivateCluster::start(&ClusterOptions::default());
        let (one, two) = tokio::join!(
            tokio::task::spawn_blocking(start),
            tokio::task::spawn_blocking(start)
        );
        let (mut one, two) = (one.unwrap().unwrap(), two.unwrap().unwrap());
        assert_ne!(one.port(), two.port());
        assert!(answers(&one).await && answers(&two).await);
        one.crash();
        assert!(!answers(&one).await && answers(&two).await);
        one.restart().unwrap();
        assert!(answers(&one).await);
        let left = [one.directory().to_path_buf(), two.directory().to_path_buf()];
        let processes = [one.pid().unwrap(), two.pid().unwrap()];
        drop((one, two));
        assert!(left.iter().all(|directory| !directory.exists()));
        for pid in processes {
            assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
        }
    }

    #[test]
    fn a_server_that_cannot_start_says_why_and_leaves_nothing() {
        let settings = vec![("shared_buffers".to_owned(), "a lot".to_owned())];
        let error = PrivateCluster::start(&ClusterOptions {
            settings,
            ..ClusterOptions::default()
        });
        let error = error.unwrap_err().to_string();
        assert!(error.contains("shared_buffers"), "{error}");
        let programs = Some("/nowhere".into());
        let error = PrivateCluster::start(&ClusterOptions {
            programs,
            ..ClusterOptions::default()
        });
        assert!(error.unwrap_err().to_string().contains("initdb"));
    }
}
