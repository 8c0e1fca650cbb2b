//! What the demo shows: short aligned lines, colours only on a terminal.

use std::io::{IsTerminal, Write};
use std::time::Duration;

/// A line on stdout. If nobody reads it any more, the demo goes on and cleans up at its end.
macro_rules! say {
    ($($argument:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stdout(), $($argument)*);
    }};
}
pub(super) use say;

const BOLD: &str = "1";
const DIM: &str = "2";
const RED: &str = "31";
const GREEN: &str = "32";
const CYAN: &str = "36";

/// Counts checks as they are shown.
pub(super) struct Screen {
    terminal: bool,
    step: u32,
    checks: u32,
    failures: u32,
    times: Vec<(String, Duration)>,
}

impl Screen {
    pub(super) fn new() -> Self {
        let terminal = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Self {
            terminal,
            step: 0,
            checks: 0,
            failures: 0,
            times: Vec::new(),
        }
    }

    fn paint(&self, colour: &str, text: &str) -> String {
        if self.terminal {
            format!("\x1b[{colour}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }

    pub(super) fn title(&self, text: &str) {
        say!("{}", self.paint(BOLD, text));
    }

    pub(super) fn step(&mut self, text: &str) {
        self.step += 1;
        say!("\n{}", self.paint(BOLD, &format!("{}. {text}", self.step)));
    }

    pub(super) fn section(&self, text: &str) {
        say!("\n{}", self.paint(BOLD, text));
    }

    pub(super) fn note(&self, text: &str) {
        say!("   {}", self.paint(DIM, text));
    }

    /// A line that is replaced by the next, where lines can be replaced.
    pub(super) fn busy(&self, text: &str) {
        if self.terminal {
            let mut stdout = std::io::stdout();
            let _ = write!(stdout, "\r\x1b[2K   {} ...", self.paint(DIM, text));
            let _ = stdout.flush();
        }
    }

    fn settle(&self) {
        if self.terminal {
            let _ = write!(std::io::stdout(), "\r\x1b[2K");
        }
    }

    pub(super) fn timed(&self, text: &str, took: Duration) {
        self.settle();
        say!(
            "   {text:<44} {}",
            self.paint(DIM, &format!("{:>8}", seconds(took)))
        );
    }

    /// A time that is told again at the end.
    pub(super) fn remember(&mut self, what: &str, took: Duration) {
        self.times.push((what.to_owned(), took));
    }

    /// As typed at the prompt of psql on one of the ports.
    pub(super) fn command(&self, prompt: &str, text: &str) {
        say!("   {} {}", self.paint(DIM, prompt), self.paint(CYAN, text));
    }

    /// What psql printed, word for word.
    pub(super) fn output(&self, text: &str) {
        for line in text.lines().filter(|line| !line.is_empty()) {
            say!("   {line}");
        }
    }

    pub(super) fn table(&self, heading: [&str; 4], rows: &[[String; 4]]) {
        let line = |cells: [&str; 4]| {
            format!(
                "   {:<12} {:>12} {:>12} {:>12}",
                cells[0], cells[1], cells[2], cells[3]
            )
        };
        say!("{}", self.paint(DIM, &line(heading)));
        for row in rows {
            say!("{}", line([&row[0], &row[1], &row[2], &row[3]]));
        }
    }

    pub(super) fn check(&mut self, holds: bool, text: &str) {
        self.settle();
        self.checks += 1;
        if holds {
            say!("   {} {text}", self.paint(GREEN, "✓"));
        } else {
            self.failures += 1;
            say!("   {} {text}", self.paint(RED, "✗ FAILED:"));
        }
    }

    pub(super) fn failures(&self) -> u32 {
        self.failures
    }

    pub(super) fn summary(&self, total: Duration) {
        self.section("In short");
        for (what, took) in &self.times {
            say!("   {what:<44} {:>8}", seconds(*took));
        }
        say!("   {:<44} {:>8}", "the whole demo", seconds(total));
        let checks = format!(
            "{} of {} checks passed",
            self.checks - self.failures,
            self.checks
        );
        let colour = if self.failures == 0 { GREEN } else { RED };
        say!("   {}", self.paint(colour, &checks));
    }
}

/// `1,203,442`.
pub(super) fn thousands(number: i64) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if number < 0 { format!("-{text}") } else { text }
}

fn seconds(took: Duration) -> String {
    format!("{:.2} s", took.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_cut_in_thousands() {
        let seen = [0, 999, 1000, 50_382, 1_203_442, -1_237].map(thousands);
        assert_eq!(seen, ["0", "999", "1,000", "50,382", "1,203,442", "-1,237"]);
    }
}
