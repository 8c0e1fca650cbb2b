//! Which part of psql's output belongs to which statement.
//!
//! `psql -a` prints each line that it reads before it acts on it, so the output between two lines of the file is what the
//! first one caused.

use ::tests::sql::spans;

/// A statement, or several that end on the same line and share their output.
pub struct Unit {
    /// Lines of the file, from 0, both included.
    pub lines: (usize, usize),
    /// How many statements end there.
    pub statements: usize,
    pub text: String,
}

/// What was printed behind each line of the file; `None` where the line itself was not printed.
pub struct Printed(Vec<Option<Vec<String>>>);

/// Splits an output along the lines of its file.
pub fn along(file: &str, output: &str) -> Printed {
    let lines = file.lines().collect::<Vec<_>>();
    let mut printed = vec![None; lines.len()];
    let (mut next, mut last) = (0, None);
    let mut before = Vec::new();
    for line in output.lines() {
        match echoed(&lines, next, line) {
            Some(at) => {
                printed[at] = Some(Vec::new());
                last = Some(at);
                next = at + 1;
            }
            None => match last.and_then(|at: usize| printed[at].as_mut()) {
                Some(segment) => segment.push(line.to_owned()),
                None => before.push(line.to_owned()),
            },
        }
    }
    // What comes before the first line (a failed connection) must not be lost.
    if let (false, Some(first)) = (before.is_empty(), printed.first_mut()) {
        first.get_or_insert_default().splice(0..0, before);
    }
    Printed(printed)
}

/// Which line of the file an output line repeats: the next one, or, as data of a COPY is not repeated, the one behind
/// one of the next few ends of data.
fn echoed(lines: &[&str], next: usize, line: &str) -> Option<usize> {
    let candidate = |from: usize| {
        let at = (from..lines.len()).find(|at| !lines[*at].is_empty())?;
        (lines[at] == line && !line.is_empty()).then_some(at)
    };
    if line.is_empty() {
        return None;
    }
    candidate(next).or_else(|| {
        let ends = (next..lines.len()).filter(|at| lines[*at] == "\\.");
        ends.take(3).find_map(|end| candidate(end + 1))
    })
}

impl Printed {
    /// Whether psql read this line as SQL.
    pub fn has(&self, line: usize) -> bool {
        self.0[line].is_some()
    }

    /// All that was printed behind the lines of a unit.
    pub fn of(&self, unit: &Unit) -> Vec<&str> {
        let segments = self.0[unit.lines.0..=unit.lines.1].iter().flatten();
        segments.flatten().map(String::as_str).collect()
    }
}

/// The units of a file. Lines that psql did not print are data, not SQL.
pub fn units(file: &str, printed: &Printed) -> Vec<Unit> {
    let mut sql = String::new();
    let mut starts = Vec::new();
    for (at, line) in file.lines().enumerate() {
        starts.push(sql.len());
        if printed.has(at) {
            sql.push_str(line);
        }
        sql.push('\n');
    }
    let line_of = |offset: usize| {
        starts
            .partition_point(|start| *start <= offset)
            .saturating_sub(1)
    };
    let mut units: Vec<Unit> = Vec::new();
    let mut from = 0;
    for span in spans(&sql) {
        let end = line_of(span.end.max(span.start + 1) - 1);
        // The semicolon may stand on a line of its own.
        let semicolon = sql[span.end..]
            .find(|c: char| !c.is_whitespace())
            .map(|skip| span.end + skip);
        let end = match semicolon {
            Some(at) if !span.psql && sql[at..].starts_with(';') => line_of(at),
            _ => end,
        };
        let text = &sql[span.start..span.end];
        match units.last_mut() {
            Some(unit) if unit.lines.1 >= end => {
                unit.statements += 1;
                unit.text = format!("{}; {text}", unit.text);
            }
            _ => {
                units.push(Unit {
                    lines: (from, end),
                    statements: 1,
                    text: text.to_owned(),
                });
                from = end + 1;
            }
        }
    }
    if let Some(unit) = units.last_mut() {
        unit.lines.1 = starts.len() - 1;
    }
    units
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "-- c\nselect 1;\n\ncopy t from stdin;\n1\n\\.\nselect 2; select\n 3;\n";
    const OUTPUT: &str =
        "-- c\nselect 1;\n a \n---\n\ncopy t from stdin;\nselect 2; select\n two\n 3;\n three\n";

    #[test]
    fn output_goes_to_the_line_that_caused_it() {
        let printed = along(FILE, OUTPUT);
        assert!(!printed.has(4) && printed.has(6));
        let units = units(FILE, &printed);
        let got = units
            .iter()
            .map(|unit| (unit.statements, printed.of(unit)))
            .collect::<Vec<_>>();
        assert_eq!(
            got,
            vec![
                (1, vec![" a ", "---", ""]),
                (1, vec![]),
                (1, vec![" two"]),
                (1, vec![" three"])
            ]
        );
    }
}
