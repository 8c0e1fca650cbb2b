//! PostgreSQL's regression files, cut into statements as psql does: its own commands and COPY data left out.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The scripts of the installed server's source, and of the newest release whose grammar libpg_query knows.
pub const SOURCES: [&str; 2] = ["pg_source.sh", "pg_regress_18.sh"];

/// PostgreSQL's grammar takes a subquery there; the server never does. Of PostgreSQL 15's files.
const REJECTED: &str = "COPY x from stdin WHERE a IN (SELECT 1 FROM x)";

/// The regression files that a script of `tests/setup` brings, sorted.
pub fn files(source: &str) -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let output = Command::new("bash")
        .arg(root.join("tests/setup").join(source))
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{source}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let printed = String::from_utf8(output.stdout).unwrap();
    let directory = Path::new(printed.trim());
    let inner = directory.join("src/test/regress/sql");
    let directory = if inner.is_dir() { &inner } else { directory };
    let entries = std::fs::read_dir(directory).unwrap();
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "sql"));
    files.sort();
    files
}

/// The statements of a script, without semicolons. Those behind
/// `SET standard_conforming_strings TO off` are left out, and the one that is rejected.
pub fn statements(script: &str) -> Vec<String> {
    Splitter {
        script,
        at: 0,
        start: 0,
        found: Vec::new(),
        conforming: true,
        skipped: String::new(),
    }
    .run()
}

struct Splitter<'s> {
    script: &'s str,
    at: usize,
    start: usize,
    found: Vec<String>,
    conforming: bool,
    /// Text of the current statement in front of a psql command in the middle of it.
    skipped: String,
}

impl Splitter<'_> {
    fn run(mut self) -> Vec<String> {
        let mut parentheses = 0usize;
        let mut blocks = 0usize;
        loop {
            let rest = self.at..self.script.len();
            let mut tokens = rewrite::token_ranges(self.script.as_bytes(), rest, self.conforming);
            let Some(range) = tokens.next() else {
                break;
            };
            let after = range.end;
            match &self.script[range] {
                "\\" => {
                    self.command(after);
                    continue;
                }
                "(" => parentheses += 1,
                ")" => parentheses = parentheses.saturating_sub(1),
                ";" if parentheses == 0 && blocks == 0 => {
                    self.at = after;
                    self.end(after - 1);
                    continue;
                }
                word if self.defines_routine() => match word.to_ascii_lowercase().as_str() {
                    "begin" => blocks += 1,
                    "case" if blocks > 0 => blocks += 1,
                    "end" => blocks = blocks.saturating_sub(1),
                    _ => {}
                },
                _ => {}
            }
            self.at = after;
        }
        self.found
    }

    fn defines_routine(&self) -> bool {
        let text = self.script[self.start..self.at].to_ascii_lowercase();
        let mut words = text
            .split_whitespace()
            .filter(|word| !matches!(*word, "or" | "replace"));
        words.next() == Some("create") && matches!(words.next(), Some("function" | "procedure"))
    }

    fn end(&mut self, end: usize) {
        let text = format!(
            "{}{}",
            std::mem::take(&mut self.skipped),
            &self.script[self.start..end]
        );
        self.start = self.at;
        let text = text.trim().to_owned();
        let lower = text.to_ascii_lowercase();
        let lower = lower
            .lines()
            .filter(|line| !line.starts_with("--"))
            .flat_map(str::split_whitespace)
            .collect::<Vec<_>>();
        if lower.first() == Some(&"copy") && lower.windows(2).any(|pair| pair == ["from", "stdin"])
        {
            self.skip_copy_data();
        }
        if lower.first() == Some(&"set") && lower.get(1) == Some(&"standard_conforming_strings") {
            self.conforming = lower.last() != Some(&"off");
        }
        if !text.is_empty() && self.conforming && text != REJECTED {
            self.found.push(text);
        }
    }

    fn rest_of_line(&self, from: usize) -> usize {
        self.script[from..]
            .find('\n')
            .map_or(self.script.len(), |line| from + line + 1)
    }

    fn skip_copy_data(&mut self) {
        let data = self.rest_of_line(self.at);
        let end = self.script[data..].find("\n\\.").map(|end| data + end + 1);
        let end = if self.script[data..].starts_with("\\.") {
            Some(data)
        } else {
            end
        };
        self.at = end.map_or(self.script.len(), |end| self.rest_of_line(end));
        self.start = self.at;
    }

    /// Behind the backslash of a psql command.
    fn command(&mut self, name: usize) {
        let line = self.rest_of_line(name);
        let command = &self.script[name..line];
        if let Some(rest) = command.strip_prefix(';') {
            // `\;` puts a semicolon into the buffer: two statements sent as one.
            let after = line - rest.len();
            self.at = after;
            return self.end(name - 1);
        }
        let sends = ["g", "gx", "gset", "gexec", "gdesc", "crosstabview"];
        let word: String = command
            .chars()
            .take_while(char::is_ascii_alphabetic)
            .collect();
        self.at = line;
        if sends.contains(&word.as_str()) {
            return self.end(name - 1);
        }
        self.skipped.push_str(&self.script[self.start..name - 1]);
        self.start = line;
    }
}
