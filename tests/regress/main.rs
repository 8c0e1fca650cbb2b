//! `make regress`: PostgreSQL's own regression files, statement by statement, directly and through the proxy.
//!
//! Usage: `regress [direct] [nothing] [everything] [marked] [kept] [only=FILE,FILE]`; `marked` is `everything` with mode `mark`
//! forced wherever it is possible at all. Without a setting all run: two direct runs show what differs by itself, then the
//! proxy with nothing enabled, with every table enabled, and with marks forced. With `kept` no file runs: what was printed
//! last time is compared again. The report goes to `target/regress/report.txt` and `report.json`, the outputs beside it. The
//! exit code is 1 if anything differs with nothing enabled that does not differ between two direct runs.

mod classes;
mod report;
mod segment;
mod suite;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use classes::Classes;
use report::{Comparison, FileResult, Report};
use suite::{Run, Suite, Tables};
use tests::process::both;

fn main() -> ExitCode {
    let arguments = std::env::args().skip(1).collect::<Vec<_>>();
    let wanted = |setting: &str| {
        let named = arguments
            .iter()
            .any(|argument| !argument.starts_with("only=") && argument != "kept");
        !named || arguments.iter().any(|argument| argument == setting)
    };
    let kept = arguments.iter().any(|argument| argument == "kept");
    let only = arguments
        .iter()
        .find_map(|argument| argument.strip_prefix("only="));
    let classes = Classes::read();
    let suite = Suite::prepare(only);
    let started = Instant::now();

    let quietly = |_: &str, _: &str, _: Duration| {};
    let direct = |name| {
        if kept {
            suite.kept(name)
        } else {
            suite.run(name, None, quietly)
        }
    };
    let (one, two) = both(|| direct("direct-1").outputs, || direct("direct-2").outputs);
    let mut report = Report::new(&suite, &one);
    report.add(Comparison::new(
        &suite,
        &classes,
        "two direct runs",
        &one,
        &two,
        None,
    ));
    let aloud = |name: &'static str| {
        let (suite, one, two) = (&suite, &one, &two);
        move |file: &str, output: &str, took: Duration| {
            let result = FileResult::new(&suite.texts[file], &one[file], output, Some(&two[file]));
            eprintln!(
                "{name}: {file}: {} ({:.1} s)",
                result.short(),
                took.as_secs_f64()
            );
        }
    };
    let try_with = |name: &'static str, tables: Tables| {
        wanted(name).then(|| {
            if kept {
                suite.kept(name)
            } else {
                suite.run(name, Some(tables), aloud(name))
            }
        })
    };
    let (everything, (nothing, marked)) = both(
        || try_with("everything", Tables::All),
        || {
            (
                try_with("nothing", Tables::None),
                try_with("marked", Tables::AllMarked),
            )
        },
    );
    let mut add = |name, run: Option<Run>| {
        if let Some(run) = run {
            report.add(
                Comparison::new(&suite, &classes, name, &one, &run.outputs, Some(&two))
                    .at_the_end(run.modes, run.check),
            );
        }
    };
    add("nothing enabled", nothing);
    add("every table enabled", everything);
    add("every table enabled, marked wherever possible", marked);
    report.write(started.elapsed());
    if report.differing("nothing enabled") > 0 {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}
