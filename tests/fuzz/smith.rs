//! sqlsmith: what it makes, replayed on both sides; and sqlsmith itself as a client of the proxy.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tests::sql::statements;

use crate::choices::shrink;
use crate::generate::{Statement, Trial, Way};
use crate::is_empty;
use crate::judge::{Judge, Verdict};
use crate::report::Report;
use crate::world::World;

const SHRINK_TRIES_MAX: usize = 1500;
const SHRINK_TIME_MAX: Duration = Duration::from_secs(30);
/// What nobody but us may name in an error.
const OURS: [&str; 3] = ["deleted_at", "deletion_id", "reprieve"];

/// Makes statements and compares the answers.
pub fn replay(world: &World, judge: &mut Judge<'_>, report: &mut Report, seed: u64, count: usize) {
    judge.search_path(false);
    let database = world.database_for_sqlsmith();
    let target = format!(
        "host=127.0.0.1 port={} user=postgres dbname={database}",
        world.plain.port()
    );
    let output = Command::new("sqlsmith")
        .args(["--dry-run", "--exclude-catalog"])
        .arg(format!("--target={target}"))
        .arg(format!("--seed={seed}"))
        .arg(format!("--max-queries={count}"))
        .stdin(Stdio::null())
        .output()
        .expect("sqlsmith starts: `make fuzz` installs it");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let all = statements(&text);
    assert!(
        all.len() >= count.min(10),
        "sqlsmith made nothing: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    for (at, sql) in all.into_iter().take(count).enumerate() {
        let sql = decided(sql);
        let trial = trial(&sql);
        let verdict = judge.judge(&trial);
        let place = format!("statement {at}");
        if let Verdict::Different(difference) = &verdict
            && report.of_kind(&difference.kind) < 1
        {
            let small = smaller(judge, &sql, &difference.kind);
            let verdict = judge.judge(&small);
            report.add("sqlsmith, replayed", &place, &small, verdict, Some(&trial));
        } else {
            report.add("sqlsmith, replayed", &place, &trial, verdict, None);
        }
        report.progress("sqlsmith, replayed", at + 1, count);
    }
}

fn trial(sql: &str) -> Trial {
    Trial {
        writes: !sql.trim_start().to_ascii_lowercase().starts_with("select"),
        statements: vec![Statement {
            sql: sql.to_owned(),
            parameters: Vec::new(),
            way: Way::Simple,
            ordered: false,
        }],
    }
}

/// Leaves words out as long as the difference stays.
fn smaller(judge: &mut Judge<'_>, sql: &str, kind: &str) -> Trial {
    let words = sql.split_whitespace().collect::<Vec<_>>();
    let made = |kept: &[u32]| {
        let kept = kept.iter().map(|at| words[*at as usize]);
        trial(&kept.collect::<Vec<_>>().join(" "))
    };
    let all = (0..words.len() as u32).collect::<Vec<_>>();
    let begun = Instant::now();
    let kept = shrink(all, SHRINK_TRIES_MAX, |kept| {
        let repeated = kept.windows(2).any(|pair| pair[0] >= pair[1]);
        let trial = made(kept);
        !repeated
            && begun.elapsed() < SHRINK_TIME_MAX
            && !is_empty(&trial)
            && judge.still(&trial, kind)
    });
    made(&kept)
}

/// sqlsmith limits and samples without an order: a subquery for one value is ordered by it, other limits go, and all of a
/// sample is taken.
fn decided(sql: &str) -> String {
    let words = sql.split_whitespace().collect::<Vec<_>>();
    let mut out: Vec<String> = Vec::new();
    let mut at = 0;
    while at < words.len() {
        let next = |ahead: usize| words.get(at + ahead).copied().unwrap_or_default();
        match words[at] {
            "limit" if next(2) == "offset" => {
                out.push("order by 1 limit".to_owned());
                at += 1;
            }
            "limit" => {
                // Brackets and commas stay.
                let rest = next(1).trim_start_matches(|c: char| c.is_ascii_digit());
                out.push(rest.to_owned());
                at += 2;
            }
            "tablesample" => {
                let rest = next(2).trim_start_matches(|c: char| c != ')');
                out.push(format!("tablesample {} (100{rest}", next(1)));
                at += 3;
            }
            word => {
                out.push(word.to_owned());
                at += 1;
            }
        }
    }
    out.join(" ")
}

/// Lets sqlsmith loose on the proxy, with all that it knows: the proxy survives, and nobody reads of us in an error.
pub fn live(world: &World, report: &mut Report, seed: u64, count: usize) {
    let port = world.proxy.app().port();
    let read_so_far = world.behind.log().len();
    let refused_so_far = world.proxy.log().matches("statement refused").count();
    let output = Command::new("timeout")
        .arg("600")
        .arg("sqlsmith")
        .arg(format!(
            "--target=host=127.0.0.1 port={port} user=clerk dbname={} options='-c statement_timeout=1000'",
            world.database()
        ))
        .arg(format!("--seed={seed}"))
        .arg(format!("--max-queries={count}"))
        .args(["--verbose", "--exclude-catalog"])
        .stdin(Stdio::null())
        .output()
        .expect("sqlsmith starts");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    report.add_statements("sqlsmith, by itself", count);
    if !world.proxy.alive() {
        report.wrong(format!(
            "the proxy died under sqlsmith\n{}",
            world.proxy.log()
        ));
    }
    let log = world.behind.log();
    let new = log.get(read_so_far..).unwrap_or_default();
    let told = |line: &&str| {
        // CONTEXT does name us here; the client does not read that.
        let head = ["ERROR:", "DETAIL:", "HINT:"];
        head.iter().any(|word| line.contains(word)) && OURS.iter().any(|word| line.contains(word))
    };
    // What is sent in place of a refused statement; the client reads the refusal.
    let (refused, named): (Vec<&str>, Vec<&str>) = new
        .lines()
        .filter(told)
        .partition(|line| line.contains("refused by reprieve"));
    report.add_refused("sqlsmith, by itself", refused.len());
    let log = world.proxy.log();
    let refusals = log
        .lines()
        .filter(|line| line.contains("statement refused"));
    for line in refusals.skip(refused_so_far).take(20) {
        println!("{line}");
    }
    for line in named.into_iter().take(20) {
        report.wrong(format!("an error names us: {line}"));
    }
    for line in said
        .lines()
        .filter(|line| OURS.iter().any(|word| line.contains(word)))
    {
        report.wrong(format!("sqlsmith read of us: {line}"));
    }
    let summary = said.lines().rev().take(12).collect::<Vec<_>>();
    let summary = summary.into_iter().rev().collect::<Vec<_>>().join("\n");
    println!("sqlsmith through the proxy ended with:\n{summary}");
}
