//! Where statements end, by psql's rules.

/// A statement's place in a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub start: usize,
    /// Behind its last byte, without the semicolon.
    pub end: usize,
    /// It is a psql command, or a statement sent by one (`\gset`).
    pub psql: bool,
}

/// The statements of a text, without comments before them and without their semicolons.
pub fn statements(text: &str) -> Vec<&str> {
    spans(text)
        .into_iter()
        .map(|span| &text[span.start..span.end])
        .collect()
}

/// The same with their places. A backslash at statement level starts a psql command, which lasts to the end of the line
/// and sends what stands before it.
pub fn spans(text: &str) -> Vec<Span> {
    let mut splitter = Splitter {
        text: text.as_bytes(),
        at: 0,
        start: None,
        parens: 0,
        words: Vec::new(),
        blocks: 0,
    };
    let mut out = Vec::new();
    while splitter.at < splitter.text.len() {
        splitter.step(&mut out);
    }
    splitter.finish(text.len(), false, &mut out);
    out
}

struct Splitter<'a> {
    text: &'a [u8],
    at: usize,
    start: Option<usize>,
    parens: usize,
    /// The first words of the statement, lower case, to know a function with a body in SQL.
    words: Vec<String>,
    /// BEGIN ATOMIC and CASE that wait for an END.
    blocks: usize,
}

impl Splitter<'_> {
    fn step(&mut self, out: &mut Vec<Span>) {
        let rest = &self.text[self.at..];
        match rest[0] {
            b'-' if rest.starts_with(b"--") => self.at += line_length(rest),
            b'/' if rest.starts_with(b"/*") => self.at += comment_length(rest),
            b';' if self.parens == 0 && self.blocks == 0 => {
                self.finish(self.at, false, out);
                self.at += 1;
            }
            b'\\' if rest.starts_with(b"\\;") => self.take(2),
            b'\\' => {
                let length = line_length(rest);
                self.start.get_or_insert(self.at);
                self.at += length;
                self.finish(self.at, true, out);
            }
            c if c.is_ascii_whitespace() => self.at += 1,
            b'\'' => self.take(quoted_length(rest, b'\'', false)),
            b'"' => self.take(quoted_length(rest, b'"', false)),
            b'E' | b'e' if rest.get(1) == Some(&b'\'') => {
                self.take(1 + quoted_length(&rest[1..], b'\'', true))
            }
            b'$' => self.take(dollar_length(rest)),
            b'(' => {
                self.parens += 1;
                self.take(1);
            }
            b')' => {
                self.parens = self.parens.saturating_sub(1);
                self.take(1);
            }
            c if is_word(c) => self.word(rest),
            _ => self.take(1),
        }
    }

    fn take(&mut self, length: usize) {
        self.start.get_or_insert(self.at);
        self.at += length;
    }

    fn word(&mut self, rest: &[u8]) {
        let length = rest
            .iter()
            .take_while(|c| is_word(**c) || **c == b'$')
            .count();
        let word = String::from_utf8_lossy(&rest[..length]).to_ascii_lowercase();
        self.take(length);
        if self.parens == 0 && self.is_routine() {
            match word.as_str() {
                "begin" => self.blocks += 1,
                "case" if self.blocks > 0 => self.blocks += 1,
                "end" => self.blocks = self.blocks.saturating_sub(1),
                _ => {}
            }
        }
        if self.words.len() < 4 {
            self.words.push(word);
        }
    }

    fn is_routine(&self) -> bool {
        let words = self.words.iter().map(String::as_str).collect::<Vec<_>>();
        matches!(
            words.as_slice(),
            ["create", "function" | "procedure", ..]
                | ["create", "or", "replace", "function" | "procedure", ..]
        )
    }

    fn finish(&mut self, end: usize, psql: bool, out: &mut Vec<Span>) {
        if let Some(start) = self.start.take() {
            let length = self.text[start..end].trim_ascii_end().len();
            out.push(Span {
                start,
                end: start + length,
                psql,
            });
        }
        self.parens = 0;
        self.blocks = 0;
        self.words.clear();
    }
}

fn is_word(c: u8) -> bool {
    c.is_ascii_alphanumeric() || c == b'_' || c >= 0x80
}

fn line_length(rest: &[u8]) -> usize {
    rest.iter().position(|c| *c == b'\n').unwrap_or(rest.len())
}

fn comment_length(rest: &[u8]) -> usize {
    let (mut at, mut depth) = (2, 1);
    while at < rest.len() && depth > 0 {
        if rest[at..].starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with(b"*/") {
            depth -= 1;
            at += 2;
        } else {
            at += 1;
        }
    }
    at
}

/// The length of a quoted token, quotes included; a doubled quote simply starts the next token.
fn quoted_length(rest: &[u8], quote: u8, escapes: bool) -> usize {
    let mut at = 1;
    while at < rest.len() {
        let pair = rest[at] == b'\\' || (rest[at] == quote && rest.get(at + 1) == Some(&quote));
        if escapes && pair {
            at += 2;
        } else if rest[at] == quote {
            return at + 1;
        } else {
            at += 1;
        }
    }
    rest.len()
}

fn dollar_length(rest: &[u8]) -> usize {
    let tag = 1 + rest[1..].iter().take_while(|c| is_word(**c)).count();
    if rest.get(tag) != Some(&b'$') || rest.get(1).is_some_and(u8::is_ascii_digit) {
        return 1;
    }
    let delimiter = &rest[..=tag];
    let body = &rest[tag + 1..];
    body.windows(delimiter.len())
        .position(|window| window == delimiter)
        .map_or(rest.len(), |at| tag + 1 + at + delimiter.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn semicolons_inside_things_do_not_end_a_statement() {
        let text = "-- a;\nselect ';', \";\", E'\\';', $$;$$, $a$;$$;$a$ /* ; /* ; */ ; */ ;\n\
                    create rule r as on delete to t do (select 1; select 2);select 3";
        assert_eq!(
            statements(text),
            vec![
                "select ';', \";\", E'\\';', $$;$$, $a$;$$;$a$ /* ; /* ; */ ; */",
                "create rule r as on delete to t do (select 1; select 2)",
                "select 3"
            ]
        );
    }

    #[test]
    fn a_body_in_sql_is_one_statement() {
        let text = "create function f() returns int begin atomic select case when true then 1 end; select 2; end; begin; end;";
        assert_eq!(
            statements(text),
            vec![
                "create function f() returns int begin atomic select case when true then 1 end; select 2; end",
                "begin",
                "end"
            ]
        );
    }

    #[test]
    fn psql_commands_end_with_the_line() {
        let text = "\\d t\nselect 1 \\gset\nselect $1;";
        assert_eq!(
            statements(text),
            vec!["\\d t", "select 1 \\gset", "select $1"]
        );
        assert!(spans(text)[1].psql && !spans(text)[2].psql);
    }
}
