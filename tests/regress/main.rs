//! `make regress`: PostgreSQL's own regression files, statement by statement, directly and through the proxy.
//!
//! Usage: `regress [direct] [nothing] [everything] [only=FILE,FILE]`. Without a setting all three run: two direct runs
//! show what differs by itself, then the proxy with nothing enabled, then with every table enabled. The report goes to
//! `target/regress/report.txt` and `report.json`, the outputs beside it. The exit code is 1 if anything differs with
//! nothing enabled that does not differ between two direct runs.

mod report;
mod segment;
mod suite;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use report::{Comparison, FileResult, Report};
use suite::{Outputs, Suite};

fn main() -> ExitCode {
    let arguments = std::env::args().skip(1).collect::<Vec<_>>();
    let wanted = |setting: &str| {
        let named = arguments
            .iter()
            .any(|argument| !argument.starts_with("only="));
        !named || arguments.iter().any(|argument| argument == setting)
    };
    let only = arguments
        .iter()
        .find_map(|argument| argument.strip_prefix("only="));
    let suite = Suite::prepare(only);
    let started = Instant::now();

    let quietly = |_: &str, _: &str, _: Duration| {};
    let ((one, _), (two, _)) = both(
        || suite.run("direct-1", None, quietly),
        || suite.run("direct-2", None, quietly),
    );
    let mut report = Report::new(&suite, &one);
    report.add(Comparison::new(&suite, "two direct runs", &one, &two, None));
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
    let (nothing, everything) = both(
        || wanted("nothing").then(|| suite.run("nothing", Some(""), aloud("nothing"))),
        || wanted("everything").then(|| suite.run("everything", Some("*.*"), aloud("everything"))),
    );
    let mut add = |name, run: Option<(Outputs, Vec<String>)>| {
        if let Some((outputs, modes)) = run {
            report.add(Comparison::new(&suite, name, &one, &outputs, Some(&two)));
            report.modes(modes);
        }
    };
    add("nothing enabled", nothing);
    add("every table enabled", everything);
    report.write(started.elapsed());
    if report.unexplained("nothing enabled") > 0 {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}

/// Two runs at a time: the machine has at least two processors, and each run is serial.
fn both<A: Send, B: Send>(
    one: impl FnOnce() -> A + Send,
    two: impl FnOnce() -> B + Send,
) -> (A, B) {
    std::thread::scope(|scope| {
        let two = scope.spawn(two);
        let one = one();
        (one, two.join().expect("the other run ends"))
    })
}
