//! Spec files, as far as their blocks must be found: `setup`, `teardown` and `session` at the top level.

/// Statements that are added to a spec, which are to change nothing that it prints.
pub struct Additions<'a> {
    /// Run behind the spec's own setup.
    pub after_setup: &'a str,
    /// Run in front of the spec's own teardown, in the same message.
    pub before_teardown: &'a str,
}

/// The spec with more to do before and after each permutation.
pub fn with_additions(text: &str, additions: &Additions<'_>) -> String {
    let Additions {
        after_setup,
        before_teardown,
    } = additions;
    let words = Words { text, at: 0 };
    let mut teardown = false;
    for (word, start) in words {
        match word {
            "teardown" => teardown = true,
            "{" if teardown => {
                let keyword = text[..start].rfind("teardown").expect("the word was there");
                return format!(
                    "{}setup {{ {after_setup} }}\n{}{before_teardown}\n{}",
                    &text[..keyword],
                    &text[keyword..=start],
                    &text[start + 1..]
                );
            }
            "session" => {
                return format!(
                    "{}setup {{ {after_setup} }}\nteardown {{ {before_teardown} }}\n{}",
                    &text[..start],
                    &text[start..]
                );
            }
            _ => {}
        }
    }
    panic!("a spec without a session");
}

/// Words and opening braces outside of comments and blocks, with their places.
struct Words<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Iterator for Words<'a> {
    type Item = (&'a str, usize);

    fn next(&mut self) -> Option<(&'a str, usize)> {
        let text = self.text;
        let until =
            |from: usize, end: char| text[from..].find(end).map_or(text.len(), |n| from + n);
        while let Some(c) = text[self.at..].chars().next() {
            let start = self.at;
            match c {
                '#' => self.at = until(start, '\n'),
                '{' => {
                    self.at = (until(start, '}') + 1).min(text.len());
                    return Some(("{", start));
                }
                '"' => self.at = (until(start + 1, '"') + 1).min(text.len()),
                c if c.is_ascii_alphanumeric() || c == '_' => {
                    let word = &text[start..];
                    let end = word
                        .find(|c: char| !(c.is_ascii_alphanumeric() || "_-".contains(c)))
                        .unwrap_or(word.len());
                    self.at = start + end;
                    return Some((&word[..end], start));
                }
                c => self.at += c.len_utf8(),
            }
        }
        None
    }
}
