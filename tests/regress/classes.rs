//! Which entry of docs/differences.md or docs/refusals.md says why a statement's output differs.
//!
//! What can be seen in the output itself is judged here; single statements are named in `classes.txt`.

use std::collections::{BTreeMap, BTreeSet};

use ::tests::process::root;

/// Whether a statement differs because of what an entry says.
pub struct Classes {
    /// Lines of `classes.txt`.
    listed: Vec<Listed>,
}

struct Listed {
    entry: String,
    file: String,
    /// Part of the statement, or of the lines that differ.
    piece: String,
    why: String,
}

/// A statement that differs, and both outputs.
pub struct Seen<'a> {
    pub file: &'a str,
    pub statement: &'a str,
    pub prints_plan: bool,
    pub plain: &'a [String],
    pub tried: &'a [String],
}

/// An entry of docs/differences.md and what of it applies.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Class {
    pub entry: String,
    pub why: String,
}

impl Class {
    fn new(entry: &str, why: &str) -> Class {
        Class {
            entry: entry.to_owned(),
            why: why.to_owned(),
        }
    }
}

impl Classes {
    /// Reads `classes.txt`. Each entry that it names must be one of docs/differences.md or of docs/refusals.md.
    pub fn read() -> Classes {
        let read = |path: &str| {
            std::fs::read_to_string(root().join(path))
                .unwrap_or_else(|error| panic!("{path}: {error}"))
        };
        let documented = read("docs/differences.md") + &read("docs/refusals.md");
        let documented = documented
            .lines()
            .filter_map(|line| line.strip_prefix("## ")?.split([':', ' ']).next())
            .collect::<BTreeSet<_>>();
        let text = read("tests/regress/classes.txt");
        let mut listed = Vec::new();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let fields = line.splitn(4, " | ").collect::<Vec<_>>();
            let [entry, file, piece, why] = fields[..] else {
                panic!("classes.txt: {line}");
            };
            listed.push(Listed {
                entry: entry.trim().to_owned(),
                file: file.trim().to_owned(),
                piece: piece.trim().to_owned(),
                why: why.trim().to_owned(),
            });
        }
        for entry in listed
            .iter()
            .map(|listed| listed.entry.as_str())
            .chain(["D8", "D10", "D23"])
        {
            assert!(
                documented.contains(entry),
                "neither docs/differences.md nor docs/refusals.md has {entry}"
            );
        }
        Classes { listed }
    }

    /// Why a statement differs, if that is known.
    pub fn of(&self, seen: &Seen<'_>) -> Option<Class> {
        if seen.prints_plan {
            return Some(Class::new("D8", "a plan"));
        }
        let changed = changed(seen.plain, seen.tried);
        let listed = self.listed.iter().find(|listed| {
            listed.file == seen.file
                && (seen.statement.contains(&listed.piece)
                    || changed.iter().any(|line| line.contains(&listed.piece)))
        });
        if let Some(listed) = listed {
            return Some(Class::new(&listed.entry, &listed.why));
        }
        if shown(seen.plain, |line| Some(line.to_owned())) == shown(seen.tried, without_ours) {
            return Some(Class::new("D10", "what is ours is listed"));
        }
        if shown(seen.plain, |line| Some(line.to_owned())) == shown(seen.tried, without_columns) {
            return Some(Class::new(
                "D23",
                "code on the server prints our two columns",
            ));
        }
        None
    }
}

/// The lines that only one of the outputs has.
fn changed<'a>(plain: &'a [String], tried: &'a [String]) -> Vec<&'a str> {
    let only = |these: &'a [String], those: &[String]| {
        let those = those.iter().collect::<BTreeSet<_>>();
        these
            .iter()
            .filter(move |line| !those.contains(line))
            .map(String::as_str)
            .collect::<Vec<_>>()
    };
    [only(plain, tried), only(tried, plain)].concat()
}

/// An output without what depends on the width of columns and the number of rows.
fn shown(output: &[String], line: impl Fn(&str) -> Option<String>) -> Vec<String> {
    output
        .iter()
        .filter_map(|text| line(text))
        .filter(|text| {
            !(text.starts_with('(') && text.ends_with("row)") || text.ends_with("rows)"))
        })
        .filter(|text| text.chars().any(|c| !matches!(c, '-' | '+')))
        .map(|text| text.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect()
}

/// A line that does not name anything of ours.
fn without_ours(line: &str) -> Option<String> {
    (!line.contains("reprieve")).then(|| line.to_owned())
}

/// A line as it reads without the values of our two columns: the last two of a row printed as text or as JSON.
fn without_columns(line: &str) -> Option<String> {
    Some(
        line.replace(",,)", ")")
            .replace(r#","deleted_at":null,"deletion_id":null"#, ""),
    )
}

/// How many statements each class explains, and one of them.
#[derive(Default)]
pub struct Explained(BTreeMap<Class, (usize, String)>);

impl Explained {
    pub fn add(&mut self, class: &Class, example: impl FnOnce() -> String) {
        self.0
            .entry(class.clone())
            .or_insert_with(|| (0, example()))
            .0 += 1;
    }

    /// Each class, its count and an example, the greatest first.
    pub fn rows(&self) -> Vec<(&Class, usize, &str)> {
        let mut rows = self
            .0
            .iter()
            .map(|(class, (count, example))| (class, *count, example.as_str()))
            .collect::<Vec<_>>();
        rows.sort_by_key(|(class, count, _)| (std::cmp::Reverse(*count), *class));
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(plain: &[&str], tried: &[&str]) -> Option<String> {
        let lines = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect();
        let (plain, tried): (Vec<_>, Vec<_>) = (lines(plain), lines(tried));
        let classes = Classes { listed: Vec::new() };
        let seen = Seen {
            file: "f",
            statement: "select 1",
            prints_plan: false,
            plain: &plain,
            tried: &tried,
        };
        classes.of(&seen).map(|class| class.entry)
    }

    #[test]
    fn what_is_ours_and_nothing_else_is_left_out() {
        let plain = [" name ", "------", " a    ", "(1 row)"];
        let tried = [
            "     name      ",
            "---------------",
            " a             ",
            " ~reprieve_one ",
            "(2 rows)",
        ];
        assert_eq!(class(&plain, &tried).as_deref(), Some("D10"));
        let more = [" name ", "------", " a    ", " b    ", "(2 rows)"];
        assert_eq!(class(&plain, &more), None);
    }

    #[test]
    fn only_empty_columns_are_ours() {
        assert_eq!(
            class(&["NOTICE:  old (1,2)"], &["NOTICE:  old (1,2,,)"]).as_deref(),
            Some("D23")
        );
        assert_eq!(
            class(&["NOTICE:  old (1,2)"], &["NOTICE:  old (1,3,,)"]),
            None
        );
    }
}
