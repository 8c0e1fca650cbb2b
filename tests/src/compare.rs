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
