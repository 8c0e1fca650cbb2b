//! What two servers said, side by side.

use crate::client::Got;
use crate::message::{Detail, Message};

/// Messages as lines.
pub fn lines(messages: &[Message], detail: Detail) -> Vec<String> {
    messages
        .iter()
        .map(|message| message.line(detail))
        .collect()
}

/// What came, as a line, whatever it was.
pub fn line(got: &Got, detail: Detail) -> String {
    match got {
        Got::Message(message) => message.line(detail),
        Got::Closed => "<closed>".to_owned(),
        Got::Quiet => "<quiet>".to_owned(),
    }
}

/// A difference that is known: what must be done to the lines of both sides for them to be the same, and why. It may not be
/// more than that, and one that is gone must leave its list.
pub struct Known {
    /// Of the case or script; with `::` at its end, of all whose names begin so.
    pub name: &'static str,
    /// An empty line is left out.
    pub without: fn(&str) -> String,
    pub why: &'static str,
}

impl Known {
    pub fn find<'a>(list: &'a [Known], name: &str) -> Option<&'a Known> {
        list.iter().find(|known| {
            name == known.name || known.name.ends_with("::") && name.starts_with(known.name)
        })
    }

    pub fn without(&self, lines: &[String]) -> Vec<String> {
        let lines = lines.iter().map(|line| (self.without)(line));
        lines.filter(|line| !line.is_empty()).collect()
    }
}

/// D6: the description of a whole row of a marked table names no table.
pub fn without_table_of_row(line: &str) -> String {
    line.replace("(table.n type user", "(-.n type user")
}

/// `None` if equal; else both from shortly before the first difference.
pub fn difference(plain: &[String], tried: &[String]) -> Option<String> {
    if plain == tried {
        return None;
    }
    let first = plain.iter().zip(tried).take_while(|(a, b)| a == b).count();
    let from = first.saturating_sub(2);
    let mut out = String::new();
    for (name, lines) in [("PostgreSQL", plain), ("tried", tried)] {
        out += &format!("  {name}:\n");
        for (at, line) in lines.iter().enumerate().skip(from).take(8) {
            let mark = if at == first { '>' } else { ' ' };
            let short = line.chars().take(600).collect::<String>();
            out += &format!("  {mark} {short}\n");
        }
        if lines.len() <= first {
            out += "  > (nothing more)\n";
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_line_is_a_difference() {
        let one = vec!["a".to_owned()];
        let two = vec!["a".to_owned(), "b".to_owned()];
        assert!(difference(&two, &one).is_some());
        assert!(difference(&one, &two).is_some());
        assert!(difference(&two, &two).is_none());
    }
}
