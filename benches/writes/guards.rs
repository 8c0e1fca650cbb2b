//! What guards cost: a DELETE of one row by an application that knows nothing of them, without any and with each kind in turns.

use std::path::Path;

use tests::Proxy;

use crate::load::{self, Connection};
use crate::{Goal, Line, Place};

/// Name of each column, and the guard that is set meanwhile.
pub const KINDS: [(&str, Option<&str>); 5] = [
    ("no guard", None),
    ("MAX ROWS", Some("MAX ROWS 1000")),
    (
        "NO WHERE REFUSE",
        Some("NO WHERE REFUSE TRUNCATE REFUSE DROP REFUSE"),
    ),
    ("MAX SHARE", Some("MAX SHARE 50 PERCENT")),
    (
        "PER TRANSACTION",
        Some("MAX ROWS 1000 MAX SHARE 50 PERCENT PER TRANSACTION"),
    ),
];

/// A table of its own: what other lines deleted would be missed here.
pub const TABLE: &str = "CREATE TABLE guarded (id int PRIMARY KEY, title text, words int);
    INSERT INTO guarded SELECT n, 'title ' || n, n FROM generate_series(1, 2000000) AS n";

const SCRIPT: &str = "\\set i random(1, 2000000)\nDELETE FROM guarded WHERE id = :i;\n";

/// Milliseconds of each kind, round by round.
pub fn deletes(place: &Place, proxy: &Proxy, clients: u32, rounds: usize, seconds: u32) -> Line {
    let scripts = tempfile::tempdir().expect("a temporary directory");
    let script = scripts.path().join("guarded.sql");
    std::fs::write(&script, SCRIPT).expect("a script");
    let mut admin = proxy.connect_admin(place.database);
    let rounds = (0..rounds).map(|round| {
        let mut measured = [f64::NAN; KINDS.len()];
        // The table changes meanwhile: none is always the first.
        for at in 0..KINDS.len() {
            let at = (at + round) % KINDS.len();
            measured[at] = under(&mut admin, KINDS[at].1, || {
                one(place, &script, clients, seconds)
            });
        }
        measured.to_vec()
    });
    Line {
        name: format!("DELETE of a row, {clients} client(s)"),
        goal: Goal::Each(1.05),
        rounds: rounds.collect(),
    }
}

fn under(admin: &mut tests::Client, guard: Option<&str>, measure: impl FnOnce() -> f64) -> f64 {
    if let Some(guard) = guard {
        admin.run(&format!("GUARD ALL TABLES {guard}"));
    }
    let measured = measure();
    if guard.is_some() {
        admin.run("UNGUARD ALL TABLES");
    }
    measured
}

fn one(place: &Place, script: &Path, clients: u32, seconds: u32) -> f64 {
    let to = Connection {
        port: place.port,
        database: place.database,
    };
    1000.0 * f64::from(clients)
        / load::measure(&to, script, "prepared", clients, seconds, None).rate
}
