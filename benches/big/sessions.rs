//! Many sessions that do nothing, and sessions that come and go.

use std::time::{Duration, Instant};

use crate::load::resident_kib;
use crate::pour::Connection;
use crate::{Plan, Record, Stage};

const IDLE: usize = 1000;
const PER_SECOND: u32 = 50;
const CHURN: Duration = Duration::from_secs(10);

/// What a session costs that has run two statements and waits; 25 KiB are aimed at.
pub fn idle(stage: &Stage, _: &Plan, record: &mut Record) {
    for name in ["Reprieve, nothing enabled", "Reprieve, every table"] {
        let place = stage.place(name);
        let pid = place.proxy.expect("a proxy");
        // What is made once is not counted.
        for _ in 0..50 {
            use_it(&mut Connection::open(place));
        }
        let before = resident_kib(pid);
        let began = Instant::now();
        let sessions: Vec<_> = (0..IDLE)
            .map(|_| {
                let mut session = Connection::open(place);
                use_it(&mut session);
                session
            })
            .collect();
        let opened = began.elapsed().as_secs_f64();
        let each = (resident_kib(pid) - before) / sessions.len() as f64;
        record.add(
            "1,000 idle sessions",
            name,
            &[("KiB each", each), ("opened in s", opened)],
        );
    }
}

fn use_it(session: &mut Connection) {
    session.run("SELECT 1");
    session.run("SELECT text FROM line WHERE id = 1");
}

/// Connections opened and closed again while eight others are busy.
pub fn churn(stage: &Stage, _: &Plan, record: &mut Record) {
    for place in &stage.places {
        let began = Instant::now();
        let mut took = std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let mut busy = Connection::open(place);
                    while began.elapsed() < CHURN {
                        busy.run("SELECT text FROM line WHERE id = 1");
                    }
                });
            }
            let count = PER_SECOND * CHURN.as_secs() as u32;
            let each = |number| {
                let due = CHURN / count * number;
                std::thread::sleep(due.saturating_sub(began.elapsed()));
                let began = Instant::now();
                Connection::open(place).run("SELECT 1");
                began.elapsed().as_secs_f64() * 1000.0
            };
            (0..count).map(each).collect::<Vec<_>>()
        });
        took.sort_by(f64::total_cmp);
        let at = |share: f64| took[((took.len() - 1) as f64 * share) as usize];
        let numbers = [
            ("p50 ms", at(0.5)),
            ("p99 ms", at(0.99)),
            (
                "a second",
                f64::from(took.len() as u32) / began.elapsed().as_secs_f64(),
            ),
        ];
        record.add("50 connections a second", place.name, &numbers);
    }
}
