//! One run of pgbench, and what it and the proxy took.

use std::fmt::{Display, Formatter};
use std::path::Path;
use std::process::Command;

use tests::cluster::bin_dir;
use tests::process::run;

/// Rows of pgbench_accounts.
pub const ACCOUNTS: u32 = 500_000;

/// Which statements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Load {
    /// A row by its primary key (`pgbench -S`).
    Select,
    /// Insert, update, two selects and a delete of a row by its key.
    Mixed,
}

impl Load {
    pub fn parse(name: &str) -> Option<Load> {
        [Load::Select, Load::Mixed]
            .into_iter()
            .find(|load| load.to_string() == name)
    }

    /// `live` stands behind each condition: an application's own soft delete says `AND deleted_at IS NULL` there.
    pub fn script(self, live: &str, delete: &str) -> String {
        match self {
            Load::Select => format!(
                "\\set aid random(1, {ACCOUNTS})\nSELECT abalance FROM pgbench_accounts WHERE aid = :aid{live};\n"
            ),
            Load::Mixed => format!(
                "\\set id random(1, 2000000000)\n\\set aid random(1, {ACCOUNTS})\n\
                 INSERT INTO notes (id, aid, text) VALUES (:id, :aid, 'some words about it') ON CONFLICT (id) DO NOTHING;\n\
                 UPDATE pgbench_accounts SET abalance = abalance + 1 WHERE aid = :aid{live};\n\
                 SELECT abalance FROM pgbench_accounts WHERE aid = :aid{live};\n\
                 SELECT n.text, a.abalance FROM notes n JOIN pgbench_accounts a ON a.aid = n.aid WHERE n.id = :id{};\n\
                 {delete};\n",
                if live.is_empty() {
                    ""
                } else {
                    " AND n.deleted_at IS NULL AND a.deleted_at IS NULL"
                }
            ),
        }
    }
}

impl Display for Load {
    fn fmt(&self, to: &mut Formatter<'_>) -> std::fmt::Result {
        to.write_str(match self {
            Load::Select => "select",
            Load::Mixed => "mixed",
        })
    }
}

/// Of one run.
#[derive(Debug, Clone, Copy, Default)]
pub struct Measured {
    /// Transactions a second: statements, for `select`.
    pub rate: f64,
    /// Microseconds.
    pub p50: f64,
    pub p99: f64,
    /// Processor seconds of the proxy for 100,000 transactions.
    pub cpu: f64,
    /// Resident memory of the proxy behind the run, in KiB.
    pub memory: f64,
}

/// Where to and as whom.
pub struct Connection<'a> {
    pub port: u16,
    pub database: &'a str,
}

pub fn pgbench(to: &Connection<'_>) -> Command {
    let mut command = Command::new(bin_dir().join("pgbench"));
    command.env("PGHOST", "127.0.0.1");
    command.env("PGPORT", to.port.to_string());
    command
        .env("PGUSER", "postgres")
        .env("PGDATABASE", to.database);
    command
}

/// The middle one; NaN if there is none.
pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Runs a script and reads rate and latencies; `proxy` is whose processor time counts.
pub fn measure(
    to: &Connection<'_>,
    script: &Path,
    mode: &str,
    clients: u32,
    seconds: u32,
    proxy: Option<u32>,
) -> Measured {
    let logs = tempfile::tempdir().expect("a temporary directory");
    let mut bench = pgbench(to);
    bench.args([
        "-n",
        "-M",
        mode,
        "-c",
        &clients.to_string(),
        "-T",
        &seconds.to_string(),
    ]);
    bench.args([
        "-j",
        &clients.min(2).to_string(),
        "-l",
        "--sampling-rate=0.2",
    ]);
    bench.arg(format!(
        "--log-prefix={}",
        logs.path().join("log").display()
    ));
    bench.arg("-f").arg(script);
    let before = proxy.map_or(0.0, processor_seconds);
    let said = run(&mut bench);
    let spent = proxy.map_or(0.0, processor_seconds) - before;
    let after = |prefix: &str| {
        let line = said.lines().find_map(|line| line.strip_prefix(prefix));
        let number = line.and_then(|line| line.split([' ', '/']).next()?.parse::<f64>().ok());
        number.unwrap_or_else(|| panic!("pgbench does not say {prefix}:\n{said}"))
    };
    let failed = after("number of failed transactions: ");
    assert!(failed == 0.0, "{failed} transactions failed:\n{said}");
    let mut latencies = latencies(logs.path());
    latencies.sort_by(f64::total_cmp);
    let at = |share: f64| {
        let place = (latencies.len() as f64 * share) as usize;
        latencies
            .get(place.min(latencies.len().saturating_sub(1)))
            .copied()
            .unwrap_or(f64::NAN)
    };
    Measured {
        rate: after("tps = "),
        p50: at(0.5),
        p99: at(0.99),
        cpu: spent / after("number of transactions actually processed: ") * 100_000.0,
        memory: proxy.map_or(0.0, resident_kib),
    }
}

/// Microseconds of each transaction that was logged: the third word of a line.
fn latencies(directory: &Path) -> Vec<f64> {
    let files = std::fs::read_dir(directory).expect("the logs of pgbench");
    let texts =
        files.map(|file| std::fs::read_to_string(file.expect("a log").path()).expect("a log"));
    texts
        .flat_map(|text| {
            let words = text
                .lines()
                .map(|line| line.split(' ').nth(2)?.parse().ok());
            words.flatten().collect::<Vec<f64>>()
        })
        .collect()
}

/// User and system time of a process, all its threads, so far.
fn processor_seconds(pid: u32) -> f64 {
    const TICKS_A_SECOND: f64 = 100.0;
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("/proc/pid/stat");
    // The second field, in brackets, may hold anything.
    let (_, fields) = stat.rsplit_once(") ").expect("the name of a process");
    let ticks = |at: usize| {
        fields
            .split(' ')
            .nth(at)
            .and_then(|field| field.parse::<f64>().ok())
    };
    (ticks(11).unwrap_or(0.0) + ticks(12).unwrap_or(0.0)) / TICKS_A_SECOND
}

/// Resident memory of a process.
pub fn resident_kib(pid: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("/proc/pid/status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok())
        .unwrap_or(0.0)
}
