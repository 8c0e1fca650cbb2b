//! A large result, and COPY each way.

use std::time::Instant;

use tests::front;

use crate::load::median;
use crate::pour::Connection;
use crate::watch::growth;
use crate::{Place, Plan, Record, Stage};

/// The one row of it makes a query that produces as many as one likes concern a marked table.
pub const TABLE: &str = "CREATE TABLE line (id int PRIMARY KEY, text text); \
    INSERT INTO line VALUES (1, repeat('a row as long as many are ', 3))";

/// Of one CopyData message.
const COPY_BYTES: usize = 32 * 1024;

/// Throughput is aimed at nine tenths of haproxy's, and memory at nothing that grows.
pub fn run(stage: &Stage, plan: &Plan, record: &mut Record) {
    let select = format!(
        "SELECT g.n, l.text FROM generate_series(1, {}) AS g(n), line l",
        plan.rows
    );
    let copy = format!("COPY ({select}) TO STDOUT");
    type Measure<'a> = Box<dyn Fn(&Place) -> f64 + 'a>;
    let loads: [(&str, Measure<'_>); 3] = [
        (
            "a result, MB/s",
            Box::new(|place| read(place, &select, plan.rows)),
        ),
        (
            "COPY TO STDOUT, MB/s",
            Box::new(|place| read(place, &copy, plan.rows)),
        ),
        (
            "COPY FROM STDIN, MB/s",
            Box::new(|place| write(place, plan.rows * 100)),
        ),
    ];
    for (name, measure) in loads {
        let mut rates = vec![Vec::new(); stage.places.len()];
        let mut grown = vec![0.0_f64; stage.places.len()];
        for _ in 0..plan.rounds {
            for (at, place) in stage.places.iter().enumerate() {
                let (rate, more) = growth(place.proxy, || measure(place));
                rates[at].push(rate);
                grown[at] = grown[at].max(more);
            }
        }
        let of = |at: usize, base: usize| {
            let ratios = rates[at]
                .iter()
                .zip(&rates[base])
                .map(|(one, base)| one / base);
            median(ratios)
        };
        for (at, place) in stage.places.iter().enumerate() {
            let numbers = [
                ("MB/s", median(rates[at].iter().copied())),
                ("of direct", of(at, 0)),
                ("of haproxy", of(at, 1)),
                ("memory grew by MiB", grown[at]),
            ];
            record.add(name, place.name, &numbers);
        }
    }
}

/// Megabytes a second.
fn read(place: &Place, sql: &str, rows: u64) -> f64 {
    let mut connection = Connection::open(place);
    let began = Instant::now();
    let seen = connection.run(sql);
    assert_eq!(seen.rows, rows, "{}", place.name);
    seen.bytes as f64 / 1e6 / began.elapsed().as_secs_f64()
}

/// The same, into a table that nobody marks: not the server's work is measured.
fn write(place: &Place, bytes: u64) -> f64 {
    let line = format!("1\t{}\n", "a row as long as many are ".repeat(3));
    let lines = COPY_BYTES / line.len();
    let message = front::copy_data(line.repeat(lines).as_bytes());
    let mut connection = Connection::open(place);
    connection.run("CREATE TEMP TABLE poured (n int, text text)");
    let began = Instant::now();
    connection.send(&front::query("COPY poured FROM STDIN"));
    connection.until(b'G');
    let messages = bytes / message.len() as u64 + 1;
    for _ in 0..messages {
        connection.send(&message);
    }
    connection.send(&front::copy_done());
    let seen = connection.until(b'Z');
    let rate = (messages * message.len() as u64) as f64 / 1e6 / began.elapsed().as_secs_f64();
    assert_eq!(
        seen.tag,
        format!("COPY {}", messages * lines as u64),
        "{}",
        place.name
    );
    rate
}
