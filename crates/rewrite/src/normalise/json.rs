//! The SQL/JSON functions: words and types behind their arguments go. Expressions and queries stay.

use sqlparser::tokenizer::Token;

use crate::json::{clause, query_end};

use super::draft::{Draft, word as our_word};
use super::expression::goes_on;

/// The arguments of one of them.
pub(super) fn arguments(draft: &mut Draft<'_>, open: usize) {
    let close = draft.partner(open);
    if close == open {
        return;
    }
    if is_query(draft, open) {
        return query(draft, open, close);
    }
    let mut at = open + 1;
    while at < close {
        at = if draft.is(at, "default") && !draft.is_label(at) {
            default(draft, at, close)
        } else if draft.is(at, "returning") && !draft.is_label(at) {
            let end = behind_type(draft, at + 1, close);
            draft.drop(at..end);
            end
        } else if draft.is(at, "as") && draft.is_name(at + 1) {
            // The name of a path, or of a value behind PASSING.
            draft.drop(at..at + 2);
            at + 2
        } else if let Some(end) = clause(draft.tokens(), at) {
            draft.drop(at..end);
            end
        } else {
            draft.skip(at)
        };
    }
}

/// `DEFAULT expression ON EMPTY`: an argument more.
fn default(draft: &mut Draft<'_>, index: usize, close: usize) -> usize {
    draft.replace(index, vec![Token::Comma]);
    let mut at = index + 1;
    while at < close {
        if draft.is(at, "on") && draft.one_of(at + 1, &["empty", "error"]) {
            draft.drop(at..at + 2);
            return at + 2;
        }
        at = draft.skip(at);
    }
    close
}

fn behind_type(draft: &Draft<'_>, start: usize, close: usize) -> usize {
    let mut at = start;
    while at < close && clause(draft.tokens(), at).is_none() && !draft.is(at, "default") {
        at = draft.skip(at);
    }
    at.min(close)
}

/// True for JSON_ARRAY(SELECT ...): the brackets of the call are those of the query.
fn is_query(draft: &Draft<'_>, open: usize) -> bool {
    let first = open + 1;
    draft.follows(open, &["json_array"])
        && (draft.one_of(first, &["select", "with", "values", "table"])
            || draft.opens(first) && goes_on(draft, draft.skip(first)))
}

fn query(draft: &mut Draft<'_>, open: usize, close: usize) {
    let returning = draft.find(open + 1..close, &["returning"]);
    let end = query_end(draft.tokens(), open, returning.unwrap_or(close));
    draft.drop(end..close);
    let mut opening = vec![Token::LParen, Token::LParen];
    // sqlparser takes brackets at the beginning for those of the whole.
    if draft.opens(open + 1) {
        opening.extend([our_word("SELECT"), Token::Mul, our_word("FROM")]);
    }
    draft.replace(open, opening);
    draft.replace(close, vec![Token::RParen, Token::RParen]);
}

/// True for the WITH of these functions, and that of a type: no query begins there.
pub(super) fn begins_no_query(draft: &Draft<'_>, with: usize) -> bool {
    clause(draft.tokens(), with).is_some()
        || draft.is(with + 1, "time") && draft.is(with + 2, "zone")
}
