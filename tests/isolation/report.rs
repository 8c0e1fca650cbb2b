//! Comparing permutations, and saying what was found.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use tests::process::root;

use crate::output::{Permutation, permutations};
use crate::suite::{Run, Suite};

/// How the proxy is set up.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Setting {
    Nothing,
    Everything,
    Marked,
}

impl Setting {
    /// As in the arguments and in `exceptions.md`.
    pub fn name(self) -> &'static str {
        match self {
            Setting::Nothing => "nothing",
            Setting::Everything => "everything",
            Setting::Marked => "marked",
        }
    }
}

/// A permutation that no direct run printed so.
struct Different {
    spec: String,
    steps: String,
    plain: String,
    tried: String,
}

/// One setting.
struct Outcome {
    setting: Setting,
    all: usize,
    identical: usize,
    /// Identical at the second or third try only.
    later: Vec<String>,
    /// Differ in the plans that they print, and in nothing else.
    plans: Vec<String>,
    different: Vec<Different>,
    noted: [u64; 4],
    found: Vec<String>,
}

/// All settings of one call.
pub struct Report<'a> {
    suite: &'a Suite,
    /// Per spec: the permutations of both direct runs, then those that PostgreSQL's developers expect.
    plain: BTreeMap<String, Vec<Vec<Permutation>>>,
    /// Permutations, and how many of them differ between the direct runs.
    direct: (usize, usize),
    outcomes: Vec<Outcome>,
}

impl Report<'_> {
    pub fn new(suite: &Suite, one: Run, two: Run) -> Report<'_> {
        let mut plain = BTreeMap::new();
        let mut direct = (0, 0);
        for name in &suite.names {
            let (one, two) = (
                permutations(&one.outputs[name]),
                permutations(&two.outputs[name]),
            );
            direct.0 += one.len();
            direct.1 += one
                .iter()
                .enumerate()
                .filter(|(i, permutation)| two.get(*i) != Some(*permutation))
                .count();
            let mut variants = vec![one, two];
            variants.extend(suite.expected(name).iter().cloned());
            plain.insert(name.clone(), variants);
        }
        Report {
            suite,
            plain,
            direct,
            outcomes: Vec::new(),
        }
    }

    /// Which permutations of a spec PostgreSQL itself prints so.
    fn compared(&self, spec: &str, output: &str) -> Vec<bool> {
        let tried = permutations(output);
        let plain = &self.plain[spec];
        (0..plain[0].len())
            .map(|i| {
                tried
                    .get(i)
                    .is_some_and(|tried| plain.iter().any(|variant| variant.get(i) == Some(tried)))
            })
            .collect()
    }

    /// Whether a permutation differs in plans at most.
    fn same_but_plans(&self, spec: &str, output: &str, place: usize) -> bool {
        let tried = permutations(output);
        tried.get(place).is_some_and(|tried| {
            self.plain[spec].iter().any(|variant| {
                variant
                    .get(place)
                    .is_some_and(|plain| plain.without_plans() == tried.without_plans())
            })
        })
    }

    /// Whether all permutations of a spec are as directly.
    pub fn same(&self, spec: &str, output: &str) -> bool {
        self.compared(spec, output).iter().all(|same| *same)
    }

    /// `3 of 4`.
    pub fn short(&self, spec: &str, output: &str) -> String {
        let compared = self.compared(spec, output);
        let same = compared.iter().filter(|same| **same).count();
        format!("{same} of {}", compared.len())
    }

    /// Adds the tries of one setting; later ones tried only the specs that differed before.
    pub fn add(&mut self, setting: Setting, runs: &[Run]) {
        let mut outcome = Outcome {
            setting,
            all: 0,
            identical: 0,
            later: Vec::new(),
            plans: Vec::new(),
            different: Vec::new(),
            noted: runs[0].noted,
            found: runs.iter().flat_map(|run| run.found.clone()).collect(),
        };
        for spec in &self.suite.names {
            let outputs = runs
                .iter()
                .filter_map(|run| run.outputs.get(spec))
                .collect::<Vec<_>>();
            let compared = outputs
                .iter()
                .map(|output| self.compared(spec, output))
                .collect::<Vec<_>>();
            for (i, permutation) in self.plain[spec][0].iter().enumerate() {
                outcome.all += 1;
                if compared[0][i] {
                    outcome.identical += 1;
                } else if compared.iter().any(|compared| compared[i]) {
                    outcome.later.push(format!("{spec}: {}", permutation.steps));
                } else if outputs
                    .iter()
                    .any(|output| self.same_but_plans(spec, output, i))
                {
                    outcome.plans.push(format!("{spec}: {}", permutation.steps));
                } else {
                    let tried = permutations(outputs[0]);
                    outcome.different.push(Different {
                        spec: spec.clone(),
                        steps: permutation.steps.clone(),
                        plain: permutation.text.clone(),
                        tried: tried.get(i).map_or_else(
                            || "<missing: the tester ended before>".to_owned(),
                            |tried| tried.text.clone(),
                        ),
                    });
                }
            }
        }
        self.outcomes.push(outcome);
    }

    /// Permutations that differ without being named in `exceptions.md`, and findings of the integrity check.
    pub fn unexplained(&self) -> usize {
        let known = exceptions();
        self.outcomes
            .iter()
            .map(|outcome| {
                let new = outcome.different.iter().filter(|different| {
                    !known.contains(&(
                        outcome.setting.name().to_owned(),
                        format!("{}: {}", different.spec, different.steps),
                    ))
                });
                new.count() + outcome.found.len()
            })
            .sum()
    }

    /// Writes the report and prints its short form.
    pub fn write(&self, took: Duration) {
        let known = exceptions();
        let mut text = format!(
            "{} specs, {} permutations, {:.0} s; {} permutations differ between two direct runs\n\n",
            self.suite.names.len(),
            self.direct.0,
            took.as_secs_f64(),
            self.direct.1
        );
        for outcome in &self.outcomes {
            let _ = writeln!(text, "{}", outcome.summary());
        }
        let mut details = String::new();
        for outcome in &self.outcomes {
            let name = outcome.setting.name();
            for later in &outcome.later {
                let _ = writeln!(text, "{name}: at a later try: {later}");
            }
            for plans in &outcome.plans {
                let _ = writeln!(text, "{name}: plans: {plans}");
            }
            for found in &outcome.found {
                let _ = writeln!(text, "{name}: check: {found}");
            }
            for different in &outcome.different {
                let title = format!("{}: {}", different.spec, different.steps);
                let explained = known.contains(&(name.to_owned(), title.clone()));
                let word = if explained { "known" } else { "NEW" };
                let _ = writeln!(text, "{name}: {word}: {title}");
                let _ = writeln!(
                    details,
                    "\n==== {name}: {title}\n{}",
                    side_by_side(&different.plain, &different.tried)
                );
            }
        }
        let dir = self.suite.results();
        std::fs::write(dir.join("report.txt"), text.clone() + &details)
            .expect("the report is written");
        println!(
            "{text}\nthe whole report: {}",
            dir.join("report.txt").display()
        );
    }
}

impl Outcome {
    fn summary(&self) -> String {
        let name = match self.setting {
            Setting::Nothing => "nothing enabled",
            Setting::Everything => "every table enabled",
            Setting::Marked => "every table enabled, marked wherever possible",
        };
        let same = self.identical + self.later.len();
        let mut text = format!(
            "{name}: {same} of {} permutations identical ({} of them at a later try), {} but for the plans they print",
            self.all,
            self.later.len(),
            self.plans.len()
        );
        let [mark, bin, preparing, tombstones] = self.noted;
        if self.setting != Setting::Nothing {
            let _ = write!(
                text,
                "; tables at the ends of permutations: {mark} mark, {bin} bin, {preparing} preparing; {tombstones} tombstones; \
                 {} findings of check",
                self.found.len()
            );
        }
        text
    }
}

/// Lines that both have, and those that only one has.
fn side_by_side(plain: &str, tried: &str) -> String {
    let (plain, tried) = (
        plain.lines().collect::<Vec<_>>(),
        tried.lines().collect::<Vec<_>>(),
    );
    let mut longest = vec![vec![0usize; tried.len() + 1]; plain.len() + 1];
    for i in (0..plain.len()).rev() {
        for j in (0..tried.len()).rev() {
            longest[i][j] = if plain[i] == tried[j] {
                longest[i + 1][j + 1] + 1
            } else {
                longest[i + 1][j].max(longest[i][j + 1])
            };
        }
    }
    let (mut i, mut j) = (0, 0);
    let mut text = String::new();
    while i < plain.len() || j < tried.len() {
        if i < plain.len() && j < tried.len() && plain[i] == tried[j] {
            let _ = writeln!(text, "  {}", plain[i]);
            (i, j) = (i + 1, j + 1);
        } else if j >= tried.len() || (i < plain.len() && longest[i + 1][j] >= longest[i][j + 1]) {
            let _ = writeln!(text, "- {}", plain[i]);
            i += 1;
        } else {
            let _ = writeln!(text, "+ {}", tried[j]);
            j += 1;
        }
    }
    text
}

/// Settings and permutations that `exceptions.md` names: lines `- setting: spec: steps`.
fn exceptions() -> Vec<(String, String)> {
    let path = root().join("tests/isolation/exceptions.md");
    let text = std::fs::read_to_string(&path).expect("exceptions.md");
    text.lines()
        .filter_map(|line| line.strip_prefix("- `")?.strip_suffix('`'))
        .filter_map(|line| line.split_once(": "))
        .map(|(setting, title)| (setting.to_owned(), title.to_owned()))
        .collect()
}
