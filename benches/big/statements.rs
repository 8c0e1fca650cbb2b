//! A long statement, a DELETE of many rows, and ever-new texts.

use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::load::median;
use crate::load::resident_kib;
use crate::pour::Connection;
use crate::watch::growth;
use crate::{Place, Plan, Record, Stage};

pub const TABLES: &str = "CREATE TABLE wide (id int PRIMARY KEY, text text); CREATE TABLE doomed (id int PRIMARY KEY, n int)";

const MEGABYTE: usize = 1_000_000;

/// INSERT with megabytes of values: four times the text may take little more than four times as long.
pub fn large(stage: &Stage, plan: &Plan, record: &mut Record) {
    for place in &stage.places {
        let mut took = [Vec::new(), Vec::new()];
        let mut grown = 0.0_f64;
        for _ in 0..plan.rounds {
            for (size, took) in [5 * MEGABYTE, 20 * MEGABYTE].into_iter().zip(&mut took) {
                let sql = insert(size);
                let mut connection = Connection::open(place);
                connection.run("BEGIN");
                let began = Instant::now();
                let (_, more) = growth(place.proxy, || connection.run(&sql));
                took.push(began.elapsed().as_secs_f64());
                grown = grown.max(more);
                connection.run("ROLLBACK");
            }
        }
        let [short, long] = took.map(median);
        record.add(
            "an INSERT of 20 MB",
            place.name,
            &[
                ("s", long),
                ("of 5 MB", long / short),
                ("memory grew by MiB", grown),
            ],
        );
    }
}

fn insert(bytes: usize) -> String {
    let mut sql = String::with_capacity(bytes + 200);
    sql.push_str("INSERT INTO wide (id, text) VALUES (0, '')");
    let mut id = 0;
    while sql.len() < bytes {
        id += 1;
        sql.push_str(&format!(
            ", ({id}, 'a row as long as many are, and it''s quoted, number {id}')"
        ));
    }
    sql
}

/// All rows of a marked table: cancelled in the middle, then with the exact tag, then back.
pub fn delete(stage: &Stage, plan: &Plan, record: &mut Record) {
    let kept = stage.place("Reprieve, every table");
    for place in [stage.place("direct"), kept] {
        let mut connection = Connection::open(place);
        let fill = format!(
            "INSERT INTO doomed SELECT n, n FROM generate_series(1, {}) AS n",
            plan.rows
        );
        connection.run(&fill);
        connection.run("VACUUM ANALYZE doomed");
        let began = Instant::now();
        let cancelled = cancel(place, &mut connection);
        assert_eq!(cancelled.as_deref(), Some("57014"), "{}", place.name);
        let cancelled = began.elapsed().as_secs_f64() - CANCEL_AFTER.as_secs_f64();
        let began = Instant::now();
        let (seen, grown) = growth(place.proxy, || connection.run("DELETE FROM doomed"));
        let took = began.elapsed().as_secs_f64();
        assert_eq!(seen.tag, format!("DELETE {}", plan.rows), "{}", place.name);
        record.add(
            "DELETE of all rows",
            place.name,
            &[
                ("s", took),
                ("cancelled after s", cancelled),
                ("memory grew by MiB", grown),
            ],
        );
    }
    let admin = Place {
        port: stage.everything.admin().port(),
        ..*kept
    };
    let began = Instant::now();
    Connection::open(&admin).run("UNDELETE FROM doomed");
    record.add(
        "UNDELETE of them",
        kept.name,
        &[("s", began.elapsed().as_secs_f64())],
    );
    Connection::open(kept).run("SET reprieve.truncate = 'discard'; TRUNCATE doomed");
}

const CANCEL_AFTER: Duration = Duration::from_millis(100);

/// SQLSTATE of a DELETE that is told to stop.
fn cancel(place: &Place, connection: &mut Connection) -> Option<String> {
    let request = connection.cancel();
    let port = place.port;
    std::thread::scope(|scope| {
        scope.spawn(move || {
            std::thread::sleep(CANCEL_AFTER);
            let mut other = TcpStream::connect(("127.0.0.1", port)).expect("somebody listens");
            other.write_all(&request).expect("a request");
        });
        connection.ask("DELETE FROM doomed").sqlstate
    })
}

/// Texts that never come again: what is remembered of them is bounded, so memory is flat once that is full.
pub fn texts(stage: &Stage, plan: &Plan, record: &mut Record) {
    let place = stage.place("Reprieve, every table");
    let pid = place.proxy.expect("a proxy");
    let mut connection = Connection::open(place);
    let began = Instant::now();
    let mut number = 0_u64;
    for minute in 1..=plan.minutes {
        while began.elapsed() < Duration::from_secs(60 * minute) {
            number += 1;
            connection.run(&format!(
                "SELECT text AS t{number} FROM wide WHERE id = {number} /* {number} */"
            ));
        }
        let numbers = [
            ("minute", minute as f64),
            ("texts", number as f64),
            ("memory MiB", resident_kib(pid) / 1024.0),
        ];
        record.add("ever-new texts", place.name, &numbers);
    }
}
