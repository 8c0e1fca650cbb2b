//! Big things, through Reprieve and beside others: a result of ten million rows, a gigabyte of COPY each way, a statement of 20 MB, a DELETE
//! of millions of rows, a thousand idle sessions, connections that come and go under load, ever-new texts for minutes.

#[path = "../throughput/load.rs"]
#[allow(dead_code, reason = "the other program runs other loads")]
mod load;
#[path = "../throughput/places.rs"]
#[allow(dead_code, reason = "the other program measures these places")]
mod places;
mod pour;
mod sessions;
mod statements;
mod streams;
mod watch;

use tests::cluster::Options;
use tests::pair::settle;
use tests::process::{Guarded, root};
use tests::{Cluster, Proxy};

const USAGE: &str = "big [only=streams,statement,delete,sessions,churn,texts] [rows=10000000] [rounds=3] [minutes=10]

Prints what each took; writes target/big.json.";

/// Database with nothing enabled, and the one whose tables are marked.
const PLAIN: &str = "plain";
const KEPT: &str = "kept";

type Section = fn(&Stage, &Plan, &mut Record);

const SECTIONS: [(&str, Section); 6] = [
    ("streams", streams::run),
    ("statement", statements::large),
    ("delete", statements::delete),
    ("sessions", sessions::idle),
    ("churn", sessions::churn),
    ("texts", statements::texts),
];

/// From the command line.
pub struct Plan {
    only: Vec<String>,
    /// Of the large result; of the DELETE as well.
    pub rows: u64,
    pub rounds: usize,
    /// Of ever-new texts.
    pub minutes: u64,
}

impl Plan {
    fn read(arguments: impl Iterator<Item = String>) -> Option<Plan> {
        let mut plan = Plan {
            only: Vec::new(),
            rows: 10_000_000,
            rounds: 3,
            minutes: 10,
        };
        for argument in arguments {
            match argument.split_once('=')? {
                ("only", value) => plan.only = value.split(',').map(Into::into).collect(),
                ("rows", value) => plan.rows = value.parse().ok()?,
                ("rounds", value) => plan.rounds = value.parse().ok()?,
                ("minutes", value) => plan.minutes = value.parse().ok()?,
                _ => return None,
            }
        }
        let known = |name: &String| SECTIONS.iter().any(|(section, _)| section == name);
        plan.only.iter().all(known).then_some(plan)
    }
}

/// Somewhere to connect to.
#[derive(Clone, Copy)]
pub struct Place {
    pub name: &'static str,
    pub port: u16,
    pub database: &'static str,
    pub proxy: Option<u32>,
}

/// All that is measured, running. Proxies end before the server.
pub struct Stage {
    pub places: Vec<Place>,
    pub everything: Proxy,
    _nothing: Proxy,
    _others: [Guarded; 2],
    _directory: tempfile::TempDir,
    pub cluster: Cluster,
}

impl Stage {
    fn set() -> Stage {
        let cluster = Cluster::with(&Options {
            conf: "max_connections = 1200\nmax_wal_size = '8GB'\n".into(),
            ..Options::default()
        });
        for database in [PLAIN, KEPT] {
            cluster.create_database(database);
        }
        let (nothing, everything) = (
            Proxy::start(cluster.port(), ""),
            Proxy::start(cluster.port(), "*.*"),
        );
        let directory = tempfile::tempdir().expect("a temporary directory");
        let (pgbouncer, pgbouncer_port) = places::pgbouncer(directory.path(), cluster.port());
        let (haproxy, haproxy_port) = places::haproxy(directory.path(), cluster.port());
        let place = |name, port, database, proxy| Place {
            name,
            port,
            database,
            proxy,
        };
        let places = vec![
            place("direct", cluster.port(), PLAIN, None),
            place("haproxy, tcp", haproxy_port, PLAIN, Some(haproxy.pid())),
            place(
                "pgbouncer, session",
                pgbouncer_port,
                PLAIN,
                Some(pgbouncer.pid()),
            ),
            place(
                "Reprieve, nothing enabled",
                nothing.app().port(),
                PLAIN,
                Some(nothing.pid()),
            ),
            place(
                "Reprieve, every table",
                everything.app().port(),
                KEPT,
                Some(everything.pid()),
            ),
        ];
        let stage = Stage {
            places,
            everything,
            _nothing: nothing,
            _others: [pgbouncer, haproxy],
            _directory: directory,
            cluster,
        };
        for name in ["direct", "Reprieve, every table"] {
            let mut client = pour::Connection::open(stage.place(name));
            for statement in [streams::TABLE, statements::TABLES] {
                client.run(statement);
            }
        }
        settle(&stage.cluster, KEPT);
        let marked = stage.cluster.superuser(KEPT).value(
            "SELECT string_agg(table_name, ' ' ORDER BY table_name) FROM reprieve.tables WHERE mode = 'mark'",
        );
        assert_eq!(marked, "doomed line wide", "what is measured is marked");
        stage
    }

    pub fn place(&self, name: &str) -> &Place {
        let found = self.places.iter().find(|place| place.name == name);
        found.unwrap_or_else(|| panic!("no place {name}"))
    }
}

/// What was measured, as it goes to the file.
#[derive(Default)]
pub struct Record {
    lines: Vec<String>,
}

impl Record {
    /// Prints a line, and keeps its numbers.
    pub fn add(&mut self, what: &str, place: &str, numbers: &[(&str, f64)]) {
        let shown = numbers
            .iter()
            .map(|(name, value)| format!("{name} {value:.2}"))
            .collect::<Vec<_>>();
        println!("  {what:<28} {place:<28} {}", shown.join("  "));
        let fields = numbers
            .iter()
            .map(|(name, value)| format!("\"{name}\":{value:.4}"))
            .collect::<Vec<_>>();
        self.lines.push(format!(
            "{{\"what\":\"{what}\",\"place\":\"{place}\",{}}}",
            fields.join(",")
        ));
    }
}

fn main() {
    let Some(plan) = Plan::read(std::env::args().skip(1)) else {
        eprintln!("{USAGE}");
        std::process::exit(2);
    };
    println!("making a cluster and starting the proxies");
    let stage = Stage::set();
    let mut record = Record::default();
    for (name, run) in SECTIONS {
        if plan.only.is_empty() || plan.only.iter().any(|wanted| wanted == name) {
            println!("{name}");
            run(&stage, &plan, &mut record);
        }
    }
    let file = root().join("target/big.json");
    std::fs::write(&file, format!("[\n{}\n]\n", record.lines.join(",\n")))
        .expect("target/big.json is written");
    println!("{}", file.display());
}
