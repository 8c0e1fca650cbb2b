//! What was found.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::generate::Trial;
use crate::judge::{Difference, Verdict, show};

/// Differences of one kind that are printed.
const SHOWN_MAX: usize = 3;

#[derive(Default)]
struct Counts {
    statements: usize,
    same_rows: usize,
    same_error: usize,
    timeout: usize,
    undecided: usize,
    known: usize,
    refused: usize,
    different: usize,
}

/// Counts by source, and the differences by kind.
#[derive(Default)]
pub struct Report {
    counts: BTreeMap<&'static str, Counts>,
    kinds: BTreeMap<String, usize>,
    notes: Vec<String>,
    shown: usize,
}

impl Report {
    pub fn of_kind(&self, kind: &str) -> usize {
        self.kinds.get(kind).copied().unwrap_or(0)
    }

    pub fn add(
        &mut self,
        source: &'static str,
        place: &str,
        trial: &Trial,
        verdict: Verdict,
        original: Option<&Trial>,
    ) {
        let counts = self.counts.entry(source).or_default();
        let statements = original.unwrap_or(trial).statements.len();
        counts.statements += statements;
        let count = match &verdict {
            Verdict::SameRows => &mut counts.same_rows,
            Verdict::SameError => &mut counts.same_error,
            Verdict::Timeout => &mut counts.timeout,
            Verdict::Undecided => &mut counts.undecided,
            Verdict::Known => &mut counts.known,
            Verdict::Refused(_) => &mut counts.refused,
            Verdict::Different(_) => &mut counts.different,
        };
        *count += statements;
        match verdict {
            Verdict::Refused(difference) | Verdict::Different(difference) => {
                self.differs(source, place, trial, &difference);
            }
            Verdict::Undecided if std::env::var_os("FUZZ_UNDECIDED").is_some() => {
                println!("== undecided ({source}, {place})\n{}", show(trial));
            }
            _ => {}
        }
    }

    fn differs(&mut self, source: &str, place: &str, trial: &Trial, difference: &Difference) {
        let count = self.kinds.entry(difference.kind.clone()).or_default();
        *count += 1;
        if *count <= SHOWN_MAX {
            println!(
                "== {} ({source}, {place})\n{}{}",
                difference.kind,
                show(trial),
                difference.shown
            );
        }
    }

    /// Something that is wrong without being the answer to a statement.
    pub fn wrong(&mut self, note: String) {
        println!("== {note}");
        self.notes.push(note);
    }

    pub fn add_statements(&mut self, source: &'static str, count: usize) {
        self.counts.entry(source).or_default().statements += count;
    }

    pub fn add_refused(&mut self, source: &'static str, count: usize) {
        self.counts.entry(source).or_default().refused += count;
    }

    pub fn progress(&mut self, source: &str, done: usize, all: usize) {
        let tenth = done * 10 / all.max(1);
        if tenth != self.shown {
            self.shown = tenth;
            let counts = self.counts.get(source);
            eprintln!(
                "{source}: {done} of {all}, {} different",
                counts.map_or(0, |counts| counts.different)
            );
        }
    }

    pub fn differences(&self) -> usize {
        let counted = self.counts.values().map(|counts| counts.different);
        counted.sum::<usize>() + self.notes.len()
    }

    /// True if no answer was another, and not more than one statement in 500 was refused.
    pub fn is_good(&self) -> bool {
        let refused = self.counts.values().map(|counts| counts.refused);
        let said = self.counts.values().map(|counts| counts.statements);
        self.differences() == 0 && refused.sum::<usize>() * 500 <= said.sum()
    }

    pub fn print(&self, took: Duration) {
        println!(
            "\n{:<24} {:>10} {:>10} {:>10} {:>8} {:>9} {:>9} {:>9} {:>9}",
            "statements",
            "said",
            "same rows",
            "same error",
            "timeout",
            "undecided",
            "known",
            "refused",
            "different"
        );
        for (source, counts) in &self.counts {
            println!(
                "{source:<24} {:>10} {:>10} {:>10} {:>8} {:>9} {:>9} {:>9} {:>9}",
                counts.statements,
                counts.same_rows,
                counts.same_error,
                counts.timeout,
                counts.undecided,
                counts.known,
                counts.refused,
                counts.different
            );
        }
        println!(
            "undecided: a second plain server, with the rows in another order or another plan, does not agree with the first; known: D26, D29; refused: R5, W11"
        );
        for (kind, count) in &self.kinds {
            println!("{count:>6}  {kind}");
        }
        for note in &self.notes {
            println!("wrong: {note}");
        }
        println!(
            "{} differences in {:.0} s",
            self.differences(),
            took.as_secs_f64()
        );
    }
}
