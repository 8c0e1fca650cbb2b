//! The arguments of SQL/JSON functions and of XMLTABLE: words, types and names of columns among them name no table.

use std::ops::Range;

use crate::json::{FUNCTIONS, clause, query_end};
use crate::lex::TokenKind;

use super::Walk;

impl Walk<'_> {
    /// True if the bracket opens the arguments of a function with a grammar of its own.
    fn has_words(&self, open: usize) -> bool {
        let name = open.wrapping_sub(1);
        let is_label = self.outline.is(name.wrapping_sub(1), TokenKind::Dot);
        (self.outline.one_of(name, FUNCTIONS) || self.outline.word(name, "xmltable")) && !is_label
    }

    /// Where the query in these brackets ends, if there is one: behind that of JSON_ARRAY words may follow.
    pub(super) fn end_of_query(&self, open: usize) -> usize {
        let close = self.outline.close(open);
        if !self.outline.word(open.wrapping_sub(1), "json_array") {
            return close;
        }
        let returning = self.outline.find(open + 1, close, &["returning"]);
        query_end(self.outline.tokens, open, returning.unwrap_or(close))
    }

    /// Notes which tokens between these brackets are no expressions.
    pub(super) fn words_of_call(&mut self, open: usize) {
        let called = open.wrapping_sub(1);
        // XMLELEMENT(NAME t): a label.
        if self.outline.one_of(called, &["xmlelement", "xmlpi"])
            && self.outline.word(open + 1, "name")
        {
            self.take_all(open + 1..open + 3);
        }
        if !self.has_words(open) {
            return;
        }
        let close = self.outline.close(open);
        let mut at = self.end_of_query(open);
        if at == close || !self.outline.is_query(open + 1, at) {
            at = open + 1;
        }
        self.words(at..close);
    }

    fn words(&mut self, range: Range<usize>) {
        let mut at = range.start;
        while at < range.end {
            let follows = |at: usize| at > range.start && self.ends_operand(at - 1);
            at = if let Some(end) = clause(self.outline.tokens, at) {
                self.take_all(at..end.min(range.end))
            } else if self.outline.word(at, "returning") {
                self.type_of_result(at + 1..range.end)
            } else if let Some(words) = self.words_at(at, follows(at)) {
                self.take_all(at..at + words)
            } else if self.outline.word(at, "columns") && follows(at) {
                self.take(at);
                self.columns_of_call(at + 1..range.end)
            } else {
                self.outline.after(at)
            };
        }
    }

    /// How many words of the grammar stand here. `follows`: behind an operand.
    fn words_at(&self, at: usize, follows: bool) -> Option<usize> {
        let outline = &self.outline;
        let one =
            outline.word(at, "default") || follows && outline.one_of(at, &["passing", "value"]);
        let two = outline.word(at, "by") && outline.one_of(at + 1, &["ref", "value"])
            || outline.word(at, "on") && outline.is_name(at + 1);
        match (one, two) {
            (true, _) => Some(1),
            (false, true) => Some(2),
            (false, false) => None,
        }
    }

    /// Behind such a token a word of the grammar is no name.
    fn ends_operand(&self, token: usize) -> bool {
        !matches!(
            self.outline.kind(token),
            Some(TokenKind::Comma | TokenKind::Operator | TokenKind::Colon | TokenKind::Dot)
        )
    }

    fn take_all(&mut self, tokens: Range<usize>) -> usize {
        for token in tokens.clone() {
            self.take(token);
        }
        tokens.end
    }

    fn type_of_result(&mut self, range: Range<usize>) -> usize {
        self.note_type(range.start);
        let mut at = range.start;
        while at < range.end
            && clause(self.outline.tokens, at).is_none()
            && !self.outline.word(at, "default")
        {
            self.take(at);
            at = self.outline.after(at);
        }
        at
    }

    /// `COLUMNS (...)` of JSON_TABLE, `COLUMNS ...` of XMLTABLE. Gives the token behind it.
    fn columns_of_call(&mut self, range: Range<usize>) -> usize {
        let inside = match self.outline.opens(range.start) {
            true => range.start + 1..self.outline.close(range.start),
            false => range.clone(),
        };
        for column in self.outline.split(inside.start, inside.end) {
            self.column_of_call(column);
        }
        match self.outline.opens(range.start) {
            true => inside.end + 1,
            false => inside.end,
        }
    }

    /// `name type [EXISTS] [PATH path] [...]`, `name FOR ORDINALITY`, `NESTED [PATH] path [AS name] COLUMNS (...)`
    fn column_of_call(&mut self, range: Range<usize>) {
        let nested = self.outline.word(range.start, "nested");
        if let Some(columns) = self.outline.find(range.start, range.end, &["columns"])
            && nested
        {
            self.take_all(range.start..columns + 1);
            self.columns_of_call(columns + 1..range.end);
            return;
        }
        self.take(range.start);
        let is_type = !self.outline.word(range.start + 1, "for");
        if is_type && range.len() > 1 {
            self.note_type(range.start + 1);
        }
        // The type, and the words in front of the first expression.
        let mut at = range.start + 1;
        while at < range.end && !self.outline.one_of(at, &["path", "default"]) {
            self.take(at);
            at = self.outline.after(at);
        }
        self.words(at..range.end);
        for token in at..range.end {
            if self.outline.word(token, "path") {
                self.take(token);
            }
        }
    }
}
