//! The copy while rules work on it.

use std::ops::Range;

use sqlparser::tokenizer::{Token, TokenWithSpan};

use crate::lex::{TokenKind, Tokens};
use crate::parse::span_of;

use super::token;

#[derive(Debug, Clone)]
enum Action {
    Keep,
    Drop,
    Become(Vec<Token>),
}

#[derive(Debug)]
pub(super) struct Draft<'a> {
    tokens: &'a Tokens<'a>,
    /// Tokens that go to sqlparser.
    part: Range<usize>,
    base: usize,
    actions: Vec<Action>,
    /// For a bracket the one that it belongs to; else the token itself.
    partners: Vec<usize>,
}

impl<'a> Draft<'a> {
    pub fn new(tokens: &'a Tokens<'a>, range: Range<usize>) -> Self {
        let base = range.start;
        let mut partners: Vec<usize> = range.clone().collect();
        let mut open = Vec::new();
        for index in range.clone() {
            match tokens.kind(index) {
                Some(TokenKind::LeftParenthesis | TokenKind::LeftBracket) => open.push(index),
                Some(TokenKind::RightParenthesis | TokenKind::RightBracket) => {
                    if let Some(opening) = open.pop() {
                        partners[opening - base] = index;
                        partners[index - base] = opening;
                    }
                }
                _ => {}
            }
        }
        Self {
            tokens,
            actions: vec![Action::Keep; range.len()],
            part: range,
            base,
            partners,
        }
    }

    pub fn tokens(&self) -> &'a Tokens<'a> {
        self.tokens
    }

    pub fn start(&self) -> usize {
        self.part.start
    }

    pub fn end(&self) -> usize {
        self.part.end
    }

    /// Only these tokens go on.
    pub fn narrow(&mut self, part: Range<usize>) {
        self.part = part;
    }

    pub fn kind(&self, index: usize) -> Option<TokenKind> {
        if index < self.end() {
            self.tokens.kind(index)
        } else {
            None
        }
    }

    pub fn is(&self, index: usize, keyword: &str) -> bool {
        index < self.end() && self.tokens.is_word(index, keyword)
    }

    pub fn one_of(&self, index: usize, keywords: &[&str]) -> bool {
        keywords.iter().any(|keyword| self.is(index, keyword))
    }

    /// The token in front is one of these.
    pub fn follows(&self, index: usize, keywords: &[&str]) -> bool {
        self.previous(index)
            .is_some_and(|before| self.one_of(before, keywords))
    }

    pub fn previous(&self, index: usize) -> Option<usize> {
        index
            .checked_sub(1)
            .filter(|before| *before >= self.start())
    }

    pub fn previous_kind(&self, index: usize) -> Option<TokenKind> {
        self.previous(index).and_then(|before| self.kind(before))
    }

    pub fn opens(&self, index: usize) -> bool {
        self.kind(index) == Some(TokenKind::LeftParenthesis)
    }

    pub fn is_operator(&self, index: usize, operator: &str) -> bool {
        index < self.end() && self.tokens.is_operator(index, operator)
    }

    /// Keyword or identifier, lower case; empty for other tokens.
    pub fn word(&self, index: usize) -> String {
        match self.kind(index) {
            Some(TokenKind::Word) => self
                .tokens
                .identifier(index)
                .unwrap_or_default()
                .into_owned(),
            _ => String::new(),
        }
    }

    pub fn is_name(&self, index: usize) -> bool {
        matches!(
            self.kind(index),
            Some(TokenKind::Word | TokenKind::QuotedIdentifier | TokenKind::UnicodeIdentifier)
        )
    }

    /// The bracket that belongs to the one at `index`; else `index`.
    pub fn partner(&self, index: usize) -> usize {
        self.partners
            .get(index.wrapping_sub(self.base))
            .copied()
            .unwrap_or(index)
    }

    /// The next token at the same depth.
    pub fn skip(&self, index: usize) -> usize {
        self.partner(index).max(index) + 1
    }

    /// True behind a dot or AS, where a word is a name, not a keyword.
    pub fn is_label(&self, index: usize) -> bool {
        self.previous_kind(index) == Some(TokenKind::Dot)
    }

    /// Behind a dotted name that begins at `index`.
    pub fn behind_name(&self, index: usize) -> Option<usize> {
        if !self.is_name(index) {
            return None;
        }
        let mut end = index + 1;
        while self.kind(end) == Some(TokenKind::Dot) && self.is_name(end + 1) {
            end += 2;
        }
        Some(end)
    }

    /// The first of these words in `range` outside of brackets.
    pub fn find(&self, range: Range<usize>, keywords: &[&str]) -> Option<usize> {
        let mut index = range.start;
        while index < range.end {
            if self.one_of(index, keywords) && !self.is_label(index) {
                return Some(index);
            }
            index = self.skip(index);
        }
        None
    }

    /// True if no query can be among these tokens: every query has one of these words, all of them
    /// reserved or, like VALUES, no name of a function.
    pub fn holds_no_query(&self, range: Range<usize>) -> bool {
        !range.into_iter().any(|index| {
            self.one_of(index, &["select", "table", "values"])
                || self.is(index, "with") && !super::json::begins_no_query(self, index)
        })
    }

    pub fn is_decided(&self, index: usize) -> bool {
        !matches!(self.actions.get(index - self.base), Some(Action::Keep))
    }

    pub fn drop(&mut self, range: Range<usize>) {
        for index in range {
            if let Some(action) = self.actions.get_mut(index - self.base) {
                *action = Action::Drop;
            }
        }
    }

    pub fn replace(&mut self, index: usize, tokens: Vec<Token>) {
        if let Some(action) = self.actions.get_mut(index - self.base) {
            *action = Action::Become(tokens);
        }
    }

    pub fn into_stream(mut self) -> Vec<TokenWithSpan> {
        let actions = &self.actions[self.part.start - self.base..self.part.end - self.base];
        let kept = actions
            .iter()
            .filter(|action| !matches!(action, Action::Drop));
        let mut stream: Vec<TokenWithSpan> = Vec::with_capacity(kept.count());
        for index in self.part.clone() {
            match std::mem::replace(&mut self.actions[index - self.base], Action::Drop) {
                Action::Drop => {}
                Action::Become(tokens) => stream.extend(
                    tokens
                        .into_iter()
                        .map(|token| TokenWithSpan::new(token, span_of(index))),
                ),
                Action::Keep => {
                    let before = stream.last().map(|token| &token.token);
                    let token = token::translate(self.tokens, index, before);
                    stream.push(TokenWithSpan::new(token, span_of(index)));
                }
            }
        }
        stream
    }
}

/// An unquoted word of ours.
pub(super) fn word(word: &str) -> Token {
    Token::make_word(word, None)
}
