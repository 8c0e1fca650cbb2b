//! The tokens of one statement as clauses: brackets, keywords, names.
//!
//! Everything here leans on one fact of PostgreSQL's grammar: the keywords that begin a clause are
//! reserved, so at the parenthesis depth of a statement they are those keywords, save behind a dot
//! or behind `AS`, where any word is a label.

use std::ops::Range;

use crate::Refusal;
use crate::lex::{TokenKind, Tokens};

use super::refuse;

/// The tokens of one statement, and which bracket closes which.
#[derive(Debug)]
pub(super) struct Outline<'a> {
    pub tokens: &'a Tokens<'a>,
    pub range: Range<usize>,
    /// For an opening bracket the token that closes it; else the token itself.
    closers: Vec<usize>,
    /// The first token from here that is no opening parenthesis.
    leads: Vec<usize>,
}

impl<'a> Outline<'a> {
    /// # Errors
    /// Brackets do not match.
    pub fn new(tokens: &'a Tokens<'a>, range: Range<usize>) -> Result<Self, Refusal> {
        let base = range.start;
        let mut closers: Vec<usize> = range.clone().collect();
        let mut open = Vec::new();
        for index in range.clone() {
            match tokens.kind(index) {
                Some(TokenKind::LeftParenthesis | TokenKind::LeftBracket) => open.push(index),
                Some(TokenKind::RightParenthesis | TokenKind::RightBracket) => {
                    let opening = open.pop().ok_or_else(|| refuse::unread(tokens, index))?;
                    closers[opening - base] = index;
                }
                _ => {}
            }
        }
        if let Some(&opening) = open.last() {
            return Err(refuse::unread(tokens, opening));
        }
        let mut leads: Vec<usize> = range.clone().collect();
        for index in range.clone().rev() {
            if tokens.kind(index) == Some(TokenKind::LeftParenthesis) && index + 1 < range.end {
                leads[index - base] = leads[index + 1 - base];
            }
        }
        Ok(Self {
            tokens,
            range,
            closers,
            leads,
        })
    }

    pub fn kind(&self, index: usize) -> Option<TokenKind> {
        self.tokens.kind(index)
    }

    pub fn is(&self, index: usize, kind: TokenKind) -> bool {
        self.kind(index) == Some(kind)
    }

    pub fn opens(&self, index: usize) -> bool {
        self.is(index, TokenKind::LeftParenthesis)
    }

    pub fn word(&self, index: usize, keyword: &str) -> bool {
        self.tokens.is_word(index, keyword)
    }

    pub fn one_of(&self, index: usize, keywords: &[&str]) -> bool {
        self.is(index, TokenKind::Word) && keywords.iter().any(|keyword| self.word(index, keyword))
    }

    pub fn is_star(&self, index: usize) -> bool {
        self.tokens.is_operator(index, "*")
    }

    pub fn is_name(&self, index: usize) -> bool {
        matches!(
            self.kind(index),
            Some(TokenKind::Word | TokenKind::QuotedIdentifier | TokenKind::UnicodeIdentifier)
        )
    }

    pub fn name(&self, index: usize) -> Option<String> {
        self.tokens.identifier(index).map(Into::into)
    }

    /// Where the bracket at `index` closes; `index` itself if it is none.
    pub fn close(&self, index: usize) -> usize {
        self.closers
            .get(index.wrapping_sub(self.range.start))
            .copied()
            .unwrap_or(index)
    }

    /// The next token at the same depth.
    pub fn after(&self, index: usize) -> usize {
        self.close(index) + 1
    }

    /// True behind a dot or `AS`, where every word is a name.
    pub fn is_label(&self, index: usize, lo: usize) -> bool {
        if index <= lo {
            return false;
        }
        self.is(index - 1, TokenKind::Dot)
            || (self.word(index - 1, "as")
                && !(index >= lo + 2 && self.is(index - 2, TokenKind::Dot)))
    }

    /// True if the token is a word of the grammar and cannot name a column or a table: the `LEFT` of a join beside a table
    /// "left", the `year` of `EXTRACT(year FROM x)` and of `INTERVAL '1' year`.
    pub fn is_grammar(&self, index: usize, lo: usize) -> bool {
        use crate::keyword::{Category, category};
        if !self.is(index, TokenKind::Word) {
            return false;
        }
        let kind = self.name(index).and_then(|name| category(&name));
        if matches!(kind, Some(Category::Reserved | Category::TypeFunction)) {
            return true;
        }
        let before = index.wrapping_sub(1);
        index > lo
            && (self.opens(before) && self.word(before.wrapping_sub(1), "extract")
                || self.is(before, TokenKind::String)
                || self.word(before, "nulls") && self.one_of(index, &["first", "last"])
                || self.word(before, "at") && self.word(index, "time")
                || self.word(before, "time") && self.word(index, "zone"))
    }

    /// True if the token is one of these keywords and begins a clause.
    pub fn begins(&self, index: usize, lo: usize, keywords: &[&str]) -> bool {
        self.one_of(index, keywords)
            && !self.is_label(index, lo)
            && !(self.word(index, "from") && index > lo && self.word(index - 1, "distinct"))
            && !(self.word(index, "group") && index > lo && self.word(index - 1, "within"))
    }

    /// The first token of `lo..hi` at its own depth that begins one of these clauses.
    pub fn find(&self, lo: usize, hi: usize, keywords: &[&str]) -> Option<usize> {
        self.find_after(lo, lo, hi, keywords)
    }

    /// The same from `from` on, where the clause began at `lo`.
    pub fn find_after(
        &self,
        lo: usize,
        from: usize,
        hi: usize,
        keywords: &[&str],
    ) -> Option<usize> {
        let mut at = from;
        while at < hi {
            if self.begins(at, lo, keywords) {
                return Some(at);
            }
            at = self.after(at);
        }
        None
    }

    /// `lo..hi` cut at the commas of its own depth.
    pub fn split(&self, lo: usize, hi: usize) -> Vec<Range<usize>> {
        let mut parts = Vec::new();
        let (mut start, mut at) = (lo, lo);
        while at < hi {
            if self.is(at, TokenKind::Comma) {
                parts.push(start..at);
                start = at + 1;
            }
            at = self.after(at);
        }
        if start < hi || !parts.is_empty() {
            parts.push(start..hi);
        }
        parts
    }

    /// True if `lo..hi` is a query: what stands between the parentheses of a subquery.
    pub fn is_query(&self, lo: usize, hi: usize) -> bool {
        let (mut lo, mut hi) = (lo, hi);
        while lo < hi {
            if !self.opens(lo) {
                return self.one_of(lo, &["select", "with", "table"])
                    || (self.word(lo, "values") && self.opens(lo + 1));
            }
            let lead = self.leads.get(lo - self.range.start).copied().unwrap_or(lo);
            if !self.one_of(lead, &["select", "with", "table", "values"]) {
                return false;
            }
            let close = self.close(lo);
            let next = close + 1;
            if next < hi && !self.one_of(next, QUERY_GOES_ON) {
                return false;
            }
            (lo, hi) = (lo + 1, close);
        }
        false
    }

    /// A dotted name: its parts' token indexes and the token behind it.
    pub fn dotted(&self, lo: usize, hi: usize) -> Option<(Vec<usize>, usize)> {
        let mut parts = Vec::new();
        let mut at = lo;
        loop {
            if at >= hi || !self.is_name(at) {
                return None;
            }
            parts.push(at);
            if !(at + 1 < hi && self.is(at + 1, TokenKind::Dot) && self.is_name(at + 2)) {
                return Some((parts, at + 1));
            }
            at += 2;
        }
    }
}

/// What may follow a parenthesised query if the whole is a query.
const QUERY_GOES_ON: &[&str] = &[
    "union",
    "intersect",
    "except",
    "order",
    "limit",
    "offset",
    "fetch",
    "for",
];
