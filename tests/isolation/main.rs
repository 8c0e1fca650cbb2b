//! `make isolation`: PostgreSQL's own isolation specs, permutation by permutation, directly and through the proxy.
//!
//! Usage: `isolation [nothing] [everything] [marked] [only=SPEC,SPEC]`; `marked` is `everything` with mode `mark` forced wherever
//! it is possible at all. Without a setting all run: two direct runs at once, then the proxy with nothing enabled and with
//! every table enabled, then with marks forced. What differs from both direct runs and from PostgreSQL's expected
//! outputs is tried twice more, alone: these specs are about timing. The report goes to `target/isolation/report.txt`,
//! the outputs beside it. The exit code is 1 if a permutation differs that `tests/isolation/exceptions.md` does not name, or if the integrity check finds something.

mod output;
mod report;
mod spec;
mod suite;

use std::process::ExitCode;
use std::time::Instant;

use report::{Report, Setting};
use suite::{Suite, Tables};
use tests::process::both;

/// What differs is tried so often: these specs are about timing.
const ATTEMPTS_MAX: usize = 3;

fn main() -> ExitCode {
    let arguments = std::env::args().skip(1).collect::<Vec<_>>();
    let wanted = |setting: Setting| {
        let named = arguments
            .iter()
            .any(|argument| !argument.starts_with("only="));
        !named || arguments.iter().any(|argument| argument == setting.name())
    };
    let only = arguments
        .iter()
        .find_map(|argument| argument.strip_prefix("only="));
    let suite = Suite::prepare(only);
    let started = Instant::now();

    let (one, two) = both(
        || suite.run("direct-1", None, &suite.names, |_, _| {}),
        || suite.run("direct-2", None, &suite.names, |_, _| {}),
    );
    let mut report = Report::new(&suite, one, two);
    let attempt = |setting: Setting, tables: Tables| {
        let report = &report;
        let suite = &suite;
        wanted(setting).then(|| {
            let mut runs = Vec::new();
            let mut left = suite.names.clone();
            for attempt in 1..=ATTEMPTS_MAX {
                let name = format!("{}-{attempt}", setting.name());
                let run = suite.run(&name, Some(tables), &left, |spec, text| {
                    eprintln!("{name}: {spec}: {}", report.short(spec, text));
                });
                left.retain(|spec| !report.same(spec, &run.outputs[spec]));
                runs.push(run);
                if left.is_empty() {
                    break;
                }
            }
            runs
        })
    };
    let (nothing, everything) = both(
        || attempt(Setting::Nothing, Tables::None),
        || attempt(Setting::Everything, Tables::All),
    );
    let marked = attempt(Setting::Marked, Tables::AllMarked);
    for (setting, runs) in [
        (Setting::Nothing, nothing),
        (Setting::Everything, everything),
        (Setting::Marked, marked),
    ] {
        if let Some(runs) = runs {
            report.add(setting, &runs);
        }
    }
    report.write(started.elapsed());
    if report.unexplained() > 0 {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}
