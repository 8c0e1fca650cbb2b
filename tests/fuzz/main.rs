//! Random statements, on a plain server and through the proxy on the same data with tombstones underneath.
//!
//! `fuzz [--seed N] [--queries N] [--smith N] [--live N] [--trial N]`: so many statements of our own, so many that sqlsmith
//! makes, so many that sqlsmith itself says through the proxy; or one trial of our own alone, shown.

mod choices;
mod generate;
mod judge;
mod report;
mod smith;
mod tables;
mod world;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use choices::{Choices, Random, shrink};
use generate::{Generator, Trial};
use judge::{Judge, Verdict, show};
use report::Report;
use world::World;

/// Tries to make one failing trial smaller, and how long they may take.
const SHRINK_TRIES_MAX: usize = 400;
const SHRINK_TIME_MAX: Duration = Duration::from_secs(15);
/// Differences of one kind that are made smaller.
const SHRUNK_MAX: usize = 1;

struct Arguments {
    seed: u64,
    queries: usize,
    smith: usize,
    live: usize,
    trial: Option<u64>,
}

impl Arguments {
    fn read() -> Arguments {
        let mut arguments = Arguments {
            seed: 1,
            queries: 14_000,
            smith: 6_000,
            live: 2_000,
            trial: None,
        };
        let mut words = std::env::args().skip(1);
        while let Some(word) = words.next() {
            let value = words.next().and_then(|value| value.parse::<u64>().ok());
            let value = value.unwrap_or_else(|| panic!("{word} needs a number"));
            match word.as_str() {
                "--seed" => arguments.seed = value,
                "--queries" => arguments.queries = value as usize,
                "--smith" => arguments.smith = value as usize,
                "--live" => arguments.live = value as usize,
                "--trial" => arguments.trial = Some(value),
                _ => panic!("unknown argument {word}"),
            }
        }
        arguments
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::read();
    let started = Instant::now();
    let world = World::start(arguments.seed);
    println!("seed {}: {}", arguments.seed, world.census());
    let mut judge = Judge::new(&world);
    if let Some(at) = arguments.trial {
        let (app_first, mut generator) = generator(arguments.seed, at);
        judge.search_path(app_first);
        let trial = generator.trial();
        println!("{}{:#?}", show(&trial), judge.judge(&trial));
        return ExitCode::SUCCESS;
    }
    let mut report = Report::default();
    own(&arguments, &mut judge, &mut report);
    if arguments.smith > 0 {
        smith::replay(
            &world,
            &mut judge,
            &mut report,
            arguments.seed,
            arguments.smith,
        );
    }
    if arguments.live > 0 {
        smith::live(&world, &mut report, arguments.seed, arguments.live);
    }
    report.print(started.elapsed());
    if report.is_good() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// The generator of one trial. Every other two hundred trials search another schema first.
fn generator(seed: u64, at: u64) -> (bool, Generator) {
    let app_first = at / 200 % 2 == 1;
    let own_seed = Random::new(seed ^ at.wrapping_mul(0xD134_2543_DE82_EF95)).next();
    (
        app_first,
        Generator::new(Choices::random(own_seed), app_first),
    )
}

fn own(arguments: &Arguments, judge: &mut Judge<'_>, report: &mut Report) {
    let mut done = 0;
    let mut at = 0;
    while done < arguments.queries {
        let (app_first, mut generator) = generator(arguments.seed, at);
        judge.search_path(app_first);
        let trial = generator.trial();
        let verdict = judge.judge(&trial);
        if let Verdict::Different(difference) = &verdict
            && report.of_kind(&difference.kind) < SHRUNK_MAX
        {
            let record = generator.record().to_vec();
            let made = |record: &[u32]| {
                Generator::new(Choices::replay(record.to_vec()), app_first).trial()
            };
            let begun = Instant::now();
            let record = shrink(record, SHRINK_TRIES_MAX, |record| {
                begun.elapsed() < SHRINK_TIME_MAX && judge.still(&made(record), &difference.kind)
            });
            let small = made(&record);
            let small_verdict = judge.judge(&small);
            report.add(
                "own",
                &format!("--trial {at}"),
                &small,
                small_verdict,
                Some(&trial),
            );
        } else {
            report.add("own", &format!("--trial {at}"), &trial, verdict, None);
        }
        done += trial.statements.len();
        at += 1;
        report.progress("own", done, arguments.queries);
    }
}

/// Whether anything is left of a trial.
fn is_empty(trial: &Trial) -> bool {
    trial
        .statements
        .iter()
        .all(|statement| statement.sql.trim().is_empty())
}
