//! Comparing outputs, and saying what was found.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Value, json};

use crate::classes::{Class, Classes, Explained, Seen};
use crate::segment::{along, units};
use crate::suite::{Outputs, Suite};

/// A statement whose output differs.
pub struct Different {
    line: usize,
    statement: String,
    reason: String,
    plain: Vec<String>,
    tried: Vec<String>,
    /// What says why it differs.
    class: Option<Class>,
}

impl Different {
    /// `rules:894 create rule ...`.
    fn place(&self, file: &str) -> String {
        let code = self
            .statement
            .lines()
            .filter(|line| !line.trim_start().starts_with("--"));
        let code = code
            .flat_map(str::split_whitespace)
            .collect::<Vec<_>>()
            .join(" ");
        let short = code.chars().take(80).collect::<String>();
        format!("{file}:{} {short}", self.line)
    }
}

/// One file.
#[derive(Default)]
pub struct FileResult {
    statements: usize,
    identical: usize,
    /// Statements that print a plan, and those of them that are identical.
    explains: usize,
    explains_identical: usize,
    /// Differs between two direct runs too.
    unstable: usize,
    different: Vec<Different>,
}

impl FileResult {
    /// Compares what one file printed, statement by statement.
    pub fn new(text: &str, plain: &str, tried: &str, again: Option<&str>) -> FileResult {
        let printed = along(text, plain);
        let printed_tried = along(text, tried);
        let printed_again = again.map(|again| along(text, again));
        let mut result = FileResult::default();
        for unit in units(text, &printed) {
            result.statements += unit.statements;
            let is_explain = is_explain(&unit.text);
            if is_explain {
                result.explains += unit.statements;
            }
            let (was, is) = (printed.of(&unit), printed_tried.of(&unit));
            let unstable = printed_again
                .as_ref()
                .is_some_and(|again| again.of(&unit) != was);
            if was == is {
                result.identical += unit.statements;
                if is_explain {
                    result.explains_identical += unit.statements;
                }
            } else if unstable {
                result.unstable += unit.statements;
            } else {
                for _ in 0..unit.statements {
                    result.different.push(Different {
                        line: unit.lines.1 + 1,
                        statement: unit.text.clone(),
                        reason: reason(&was, &is),
                        plain: was.iter().map(|line| (*line).to_owned()).collect(),
                        tried: is.iter().map(|line| (*line).to_owned()).collect(),
                        class: None,
                    });
                }
            }
        }
        result
    }

    fn classify(&mut self, file: &str, classes: &Classes) {
        for different in &mut self.different {
            different.class = classes.of(&Seen {
                file,
                statement: &different.statement,
                prints_plan: is_explain(&different.statement),
                plain: &different.plain,
                tried: &different.tried,
            });
        }
    }

    /// `310 of 345`.
    pub fn short(&self) -> String {
        format!("{} of {}", self.identical, self.statements)
    }
}

/// Plans are printed by EXPLAIN, or by functions of the files that run it.
fn is_explain(statement: &str) -> bool {
    let code = statement
        .lines()
        .filter(|line| !line.trim_start().starts_with("--"))
        .collect::<Vec<_>>()
        .join(" ")
        .to_ascii_lowercase();
    code.trim_start().starts_with("explain")
        || code.contains("explain_")
        || code.contains("explain (")
}

/// One run against the first direct run.
pub struct Comparison {
    name: &'static str,
    files: BTreeMap<String, FileResult>,
    /// How many tables ended in which mode.
    modes: Vec<String>,
    /// What `CHECK INTEGRITY` found.
    check: Vec<String>,
}

impl Comparison {
    pub fn new(
        suite: &Suite,
        classes: &Classes,
        name: &'static str,
        plain: &Outputs,
        tried: &Outputs,
        again: Option<&Outputs>,
    ) -> Comparison {
        let mut files = BTreeMap::new();
        for file in &suite.files {
            let again = again.map(|again| again[file].as_str());
            let mut result = FileResult::new(&suite.texts[file], &plain[file], &tried[file], again);
            result.classify(file, classes);
            files.insert(file.clone(), result);
        }
        Comparison {
            name,
            files,
            modes: Vec::new(),
            check: Vec::new(),
        }
    }

    /// `modes`: such as `mark 120`.
    pub fn at_the_end(mut self, modes: Vec<String>, check: Vec<String>) -> Comparison {
        self.modes = modes;
        self.check = check;
        self
    }

    fn total(&self, count: impl Fn(&FileResult) -> usize) -> usize {
        self.files.values().map(count).sum()
    }

    fn different(&self) -> impl Iterator<Item = (&str, &Different)> {
        let files = self.files.iter();
        files.flat_map(|(name, file)| file.different.iter().map(move |it| (name.as_str(), it)))
    }

    /// What docs/differences.md says why it differs, and how many statements that are.
    fn explained(&self) -> Explained {
        let mut explained = Explained::default();
        for (file, different) in self.different() {
            if let Some(class) = &different.class {
                explained.add(class, || different.place(file));
            }
        }
        explained
    }

    /// The others.
    fn unexplained(&self) -> impl Iterator<Item = (&str, &Different)> {
        self.different()
            .filter(|(_, different)| different.class.is_none())
    }

    fn reasons(&self) -> Vec<(String, usize)> {
        let mut counts = BTreeMap::<&str, usize>::new();
        for (_, different) in self.unexplained() {
            *counts.entry(&different.reason).or_default() += 1;
        }
        let mut counts = counts
            .into_iter()
            .map(|(reason, count)| (reason.to_owned(), count))
            .collect::<Vec<_>>();
        counts.sort_by_key(|(reason, count)| (std::cmp::Reverse(*count), reason.clone()));
        counts
    }

    fn summary(&self) -> String {
        let (identical, all) = (
            self.total(|file| file.identical),
            self.total(|file| file.statements),
        );
        let unstable = self.total(|file| file.unstable);
        let share = 100.0 * identical as f64 / all.max(1) as f64;
        let (explains, same) = (
            self.total(|file| file.explains),
            self.total(|file| file.explains_identical),
        );
        let rest = 100.0 * (identical - same) as f64 / (all - explains).max(1) as f64;
        let unexplained = self.unexplained().count();
        let mut text = format!(
            "{}: {identical} of {all} statements identical ({share:.2} %); without the {explains} that print plans {rest:.2} %; {} explained, {unexplained} not",
            self.name,
            self.different().count() - unexplained
        );
        if !self.modes.is_empty() {
            let _ = write!(
                text,
                "; tables at the end: {}; CHECK INTEGRITY: {} findings",
                self.modes.join(", "),
                self.check.len()
            );
        }
        if unstable > 0 {
            let _ = write!(text, ", {unstable} differ between two direct runs too");
        }
        text
    }

    fn json(&self) -> Value {
        let files = self.files.iter().map(|(name, file)| {
            let different = file.different.iter().map(|different| {
                json!({"line": different.line, "statement": different.statement, "reason": different.reason,
                    "entry": different.class.as_ref().map(|class| &class.entry), "plain": different.plain, "tried": different.tried})
            });
            json!({"name": name, "statements": file.statements, "identical": file.identical, "unstable": file.unstable,
                "different": different.collect::<Vec<_>>()})
        });
        let reasons = self
            .reasons()
            .into_iter()
            .map(|(reason, count)| json!({"reason": reason, "count": count}));
        json!({"name": self.name, "statements": self.total(|file| file.statements),
            "identical": self.total(|file| file.identical), "explains": self.total(|file| file.explains),
            "explains_identical": self.total(|file| file.explains_identical), "unstable": self.total(|file| file.unstable),
            "modes": self.modes, "check": self.check, "reasons": reasons.collect::<Vec<_>>(), "files": files.collect::<Vec<_>>()})
    }
}

/// Why the outputs differ, in words that group: the first new error with its names and numbers left out.
fn reason(was: &[&str], is: &[&str]) -> String {
    let error = |line: &&&str| {
        line.starts_with("ERROR:") || line.starts_with("FATAL:") || line.contains("connection")
    };
    let new = is.iter().filter(error).find(|line| !was.contains(line));
    let missing = was.iter().filter(error).find(|line| !is.contains(line));
    match (new, missing) {
        (Some(new), _) => without_names(new),
        (None, Some(missing)) => format!("missing {}", without_names(missing)),
        (None, None) if is.is_empty() => "no output".to_owned(),
        (None, None) => {
            let (mut a, mut b) = (was.to_vec(), is.to_vec());
            a.sort_unstable();
            b.sort_unstable();
            if a == b {
                "other order".to_owned()
            } else {
                "other output".to_owned()
            }
        }
    }
}

fn without_names(line: &str) -> String {
    let mut out = String::new();
    let mut quoted = false;
    for c in line.chars() {
        match c {
            '"' => {
                if quoted {
                    out.push_str("\"...\"");
                }
                quoted = !quoted;
            }
            _ if quoted => {}
            c if c.is_ascii_digit() => {
                if !out.ends_with('0') {
                    out.push('0');
                }
            }
            c => out.push(c),
        }
    }
    out
}

/// All comparisons of one call.
pub struct Report<'a> {
    suite: &'a Suite,
    comparisons: Vec<Comparison>,
}

impl Report<'_> {
    pub fn new<'a>(suite: &'a Suite, plain: &Outputs) -> Report<'a> {
        assert_eq!(plain.len(), suite.files.len(), "every file has run");
        Report {
            suite,
            comparisons: Vec::new(),
        }
    }

    pub fn add(&mut self, comparison: Comparison) {
        eprintln!("{}", comparison.summary());
        self.comparisons.push(comparison);
    }

    /// Statements that differ in a comparison, and not between two direct runs.
    pub fn differing(&self, name: &str) -> usize {
        let comparison = self
            .comparisons
            .iter()
            .find(|comparison| comparison.name == name);
        comparison.map_or(0, |comparison| comparison.different().count())
    }

    /// Writes the report and prints its short form.
    pub fn write(&self, took: Duration) {
        let mut text = format!(
            "{} files, {:.0} s\n\n",
            self.suite.files.len(),
            took.as_secs_f64()
        );
        for comparison in &self.comparisons {
            let _ = writeln!(text, "{}", comparison.summary());
        }
        for comparison in &self.comparisons {
            for finding in &comparison.check {
                let _ = writeln!(text, "\n   {finding}");
            }
            let _ = writeln!(text, "\n== {}: explained", comparison.name);
            for (class, count, example) in comparison.explained().rows() {
                let _ = writeln!(text, "{count:6}  {:4} {}", class.entry, class.why);
                let _ = writeln!(text, "              {example}");
            }
            let _ = writeln!(text, "\n== {}: unexplained", comparison.name);
            for (reason, count) in comparison.reasons() {
                let _ = writeln!(text, "{count:6}  {reason}");
            }
            for (file, different) in comparison.unexplained() {
                let _ = writeln!(text, "        {}", different.place(file));
            }
            let _ = writeln!(text, "\n== {}: files that differ", comparison.name);
            for (name, file) in comparison
                .files
                .iter()
                .filter(|(_, file)| file.identical < file.statements)
            {
                let unstable = if file.unstable > 0 {
                    format!(" ({} unstable)", file.unstable)
                } else {
                    String::new()
                };
                let _ = writeln!(
                    text,
                    "{:6} of {:5}  {name}{unstable}",
                    file.identical, file.statements
                );
            }
        }
        let dir = self.suite.results();
        std::fs::write(dir.join("report.txt"), &text).expect("the report is written");
        let json = Value::Array(self.comparisons.iter().map(Comparison::json).collect());
        std::fs::write(dir.join("report.json"), format!("{json:#}\n"))
            .expect("the report is written");
        println!("{}", text.lines().take(120).collect::<Vec<_>>().join("\n"));
        println!("\nthe whole report: {}", dir.join("report.txt").display());
    }
}
