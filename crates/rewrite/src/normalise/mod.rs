//! A copy of a statement's tokens that sqlparser can read.
//!
//! As no tree is ever printed, syntax that sqlparser lacks is dropped or replaced here. Every token
//! keeps the index of the client's token that it is or stands for. **Nothing is dropped that may
//! hold the name of a relation or a subquery**: each rule says why it is safe.

mod clause;
mod constants;
mod draft;
mod expression;
mod json;
mod literal;
mod token;
mod wrapper;

use std::ops::Range;

use sqlparser::tokenizer::TokenWithSpan;

use crate::lex::{TokenKind, Tokens};

use draft::Draft;
pub(crate) use wrapper::Wrapper;

/// What the tree does not show because it was dropped or replaced.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Normalised {
    /// What stands around the statement that the tree is of, outermost first.
    pub wrappers: Vec<Wrapper>,
}

/// The tokens of a statement for sqlparser. Of PREPARE, DECLARE, EXPLAIN, COPY, CREATE TABLE AS and
/// CREATE VIEW only the statement inside.
pub(crate) fn normalise(
    tokens: &Tokens<'_>,
    range: Range<usize>,
) -> (Vec<TokenWithSpan>, Normalised) {
    let mut draft = Draft::new(tokens, range.clone());
    let wrappers = wrapper::unwrap(&mut draft, range);
    constants::thin(&mut draft);
    let mut index = draft.start();
    while index < draft.end() {
        apply(&mut draft, index);
        index += 1;
    }
    (draft.into_stream(), Normalised { wrappers })
}

/// The rules that begin at one token.
fn apply(draft: &mut Draft<'_>, index: usize) {
    if draft.is_decided(index) {
        return;
    }
    match draft.kind(index) {
        Some(TokenKind::Word) if !draft.is_label(index) => {
            expression::word(draft, index);
            clause::word(draft, index);
        }
        Some(TokenKind::LeftParenthesis) => {
            if draft.follows(index, crate::json::FUNCTIONS) {
                json::arguments(draft, index);
            }
            if !draft.is_decided(index) {
                expression::parenthesis(draft, index);
            }
        }
        Some(TokenKind::Dot) => expression::dot(draft, index),
        Some(TokenKind::Operator) => clause::star(draft, index),
        Some(kind) if literal::is_constant(kind) => literal::typed(draft, index),
        _ => {}
    }
}
