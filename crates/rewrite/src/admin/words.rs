//! The words of one statement, taken one after the other.

use std::ops::Range;

use catalog::{quote_identifier, quote_literal};

use crate::lex::{TokenKind, Tokens};
use crate::{Refusal, refusal};

use super::help;
use super::verb::UNDELETE_MODES;

pub(super) struct TableName {
    pub(super) schema: Option<String>,
    pub(super) name: String,
}

impl TableName {
    /// An expression of type regclass, looked up by the session's own search path.
    pub(super) fn regclass(&self) -> String {
        let schema = self
            .schema
            .as_deref()
            .map(|schema| format!("{}.", quote_identifier(schema)));
        let name = format!(
            "{}{}",
            schema.unwrap_or_default(),
            quote_identifier(&self.name)
        );
        format!("{}::pg_catalog.regclass", quote_literal(&name))
    }
}

pub(super) struct Words<'a, 't> {
    pub(super) tokens: &'a Tokens<'t>,
    pub(super) at: usize,
    /// `standard_conforming_strings`.
    pub(super) conforming: bool,
}

impl Words<'_, '_> {
    pub(super) fn is(&self, word: &str) -> bool {
        self.tokens.is_word(self.at, word)
    }

    pub(super) fn one_of(&self, words: &[&str]) -> bool {
        words.iter().any(|word| self.is(word))
    }

    pub(super) fn eat(&mut self, word: &str) -> bool {
        let found = self.is(word);
        self.at += usize::from(found);
        found
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.at >= self.tokens.len()
    }

    pub(super) fn want(&mut self, word: &str, form: &str) -> Result<(), Refusal> {
        if self.eat(word) {
            Ok(())
        } else {
            Err(self.unexpected(form))
        }
    }

    pub(super) fn end(&self, form: &str) -> Result<(), Refusal> {
        if self.is_at_end() {
            Ok(())
        } else {
            Err(self.unexpected(form))
        }
    }

    /// Byte offset of the next token, or of the end.
    pub(super) fn offset(&self) -> usize {
        let last = self
            .tokens
            .len()
            .checked_sub(1)
            .and_then(|last| self.tokens.get(last));
        let end = last.map_or(0, |token| token.end as usize);
        self.tokens
            .get(self.at)
            .map_or(end, |token| token.start as usize)
    }

    /// In PostgreSQL's words.
    pub(super) fn unexpected(&self, form: &str) -> Refusal {
        let message = if self.is_at_end() {
            "syntax error at end of input".to_owned()
        } else {
            let token = String::from_utf8_lossy(self.tokens.bytes(self.at));
            format!("syntax error at or near \"{token}\"")
        };
        refusal::verb_syntax(message, form, self.offset())
    }

    pub(super) fn text(&self, range: Range<usize>) -> Result<String, Refusal> {
        let bytes = &self.tokens.text()[self.tokens.span(range)];
        String::from_utf8(bytes.to_vec()).map_err(|_| {
            refusal::verb_syntax("text is not UTF-8".into(), help::UNDELETE, self.offset())
        })
    }

    /// What is left, as the client wrote it. Bytes that are not UTF-8 would fail on the server too.
    pub(super) fn rest(&mut self) -> String {
        let range = self.at..self.tokens.len();
        self.at = range.end;
        String::from_utf8_lossy(&self.tokens.text()[self.tokens.span(range)]).into_owned()
    }

    pub(super) fn table(&mut self, form: &str) -> Result<TableName, Refusal> {
        let mut parts = Vec::new();
        loop {
            let Some(part) = self.tokens.identifier(self.at) else {
                return Err(self.unexpected(form));
            };
            parts.push(part.into_owned());
            self.at += 1;
            if self.tokens.kind(self.at) != Some(TokenKind::Dot) || parts.len() == 2 {
                break;
            }
            self.at += 1;
        }
        let name = parts.pop().unwrap_or_default();
        Ok(TableName {
            schema: parts.pop(),
            name,
        })
    }

    /// `[[MODE] m]`, as a further argument; empty without one.
    pub(super) fn mode(&mut self, form: &str) -> Result<String, Refusal> {
        let announced = self.eat("mode");
        match UNDELETE_MODES.iter().find(|mode| self.eat(mode)) {
            Some(mode) => Ok(format!(", mode => '{mode}'")),
            None if announced => Err(self.unexpected(form)),
            None => Ok(String::new()),
        }
    }

    /// A whole number, a parameter, or a string that the server reads as one.
    pub(super) fn number(&mut self, form: &str, what: &str) -> Result<String, Refusal> {
        self.number_up_to(i64::MAX.unsigned_abs(), form, what)
    }

    pub(super) fn number_up_to(
        &mut self,
        most: u64,
        form: &str,
        what: &str,
    ) -> Result<String, Refusal> {
        let text = self.text(self.at..self.at + 1)?;
        let fits = match self.tokens.kind(self.at) {
            Some(TokenKind::Number) => {
                // parse() takes a sign.
                text.bytes().all(|byte| byte.is_ascii_digit())
                    && text.parse::<u64>().is_ok_and(|number| number <= most)
            }
            Some(TokenKind::Parameter | TokenKind::String) => true,
            _ => return Err(self.unexpected(form)),
        };
        if !fits {
            let message = format!("\"{text}\" is not {what} from 0 to {most}");
            return Err(refusal::verb_syntax(message, form, self.offset()));
        }
        self.at += 1;
        Ok(text)
    }

    /// A condition up to a token, which the keeper puts into a statement of its own: parameters have no value there.
    pub(super) fn literal_condition(&mut self, end: usize, form: &str) -> Result<String, Refusal> {
        if self.at >= end {
            return Err(self.unexpected(form));
        }
        let parameter =
            (self.at..end).find(|index| self.tokens.kind(*index) == Some(TokenKind::Parameter));
        if let Some(parameter) = parameter {
            self.at = parameter;
            let message = "parameters cannot stand in the condition of this verb".to_owned();
            return Err(refusal::verb_syntax(message, form, self.offset()));
        }
        self.balanced(end, form)?;
        let condition = self.text(self.at..end)?;
        self.at = end;
        Ok(condition)
    }

    /// Refuses brackets that do not balance up to a token: `a) OR (b`, put between brackets, would be a condition.
    fn balanced(&mut self, end: usize, form: &str) -> Result<(), Refusal> {
        let start = self.at;
        let mut depth = 0usize;
        while self.at < end {
            match self.tokens.kind(self.at) {
                Some(TokenKind::LeftParenthesis) => depth += 1,
                Some(TokenKind::RightParenthesis) if depth == 0 => {
                    return Err(self.unexpected(form));
                }
                Some(TokenKind::RightParenthesis) => depth -= 1,
                _ => {}
            }
            self.at += 1;
        }
        if depth > 0 {
            return Err(self.unexpected(form));
        }
        self.at = start;
        Ok(())
    }

    /// An expression up to one of these words, as a timestamp.
    pub(super) fn time(&mut self, stop: &[&str], form: &str) -> Result<String, Refusal> {
        let expression = self.expression(stop, form)?;
        Ok(format!("({expression})::pg_catalog.timestamptz"))
    }

    /// An expression up to one of these words.
    pub(super) fn expression(&mut self, stop: &[&str], form: &str) -> Result<String, Refusal> {
        let start = self.at;
        let mut depth = 0usize;
        while !self.is_at_end() && (depth > 0 || !self.one_of(stop)) {
            match self.tokens.kind(self.at) {
                Some(TokenKind::LeftParenthesis) => depth += 1,
                Some(TokenKind::RightParenthesis) if depth == 0 => {
                    return Err(self.unexpected(form));
                }
                Some(TokenKind::RightParenthesis) => depth -= 1,
                _ => {}
            }
            self.at += 1;
        }
        if self.at == start {
            return Err(self.unexpected(form));
        }
        self.text(start..self.at)
    }

    /// A role's name, as text.
    pub(super) fn role(&mut self, form: &str) -> Result<String, Refusal> {
        let role = match self.tokens.kind(self.at) {
            Some(TokenKind::Parameter | TokenKind::String) => self.text(self.at..self.at + 1)?,
            _ if self.one_of(&["current_user", "session_user", "current_role"]) => {
                format!("{}::pg_catalog.text", self.text(self.at..self.at + 1)?)
            }
            _ => match self.tokens.identifier(self.at) {
                Some(name) => quote_literal(&name),
                None => return Err(self.unexpected(form)),
            },
        };
        self.at += 1;
        Ok(role)
    }
}
