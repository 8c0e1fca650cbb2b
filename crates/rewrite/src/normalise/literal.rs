//! Constants with a type in front: `point '(1,2)'`, `timestamp(3) with time zone '...'`.
//!
//! The type goes, the constant stays. The name of a type is no relation that is read (a table's row
//! type is: but its constants are values, not rows), and its modifiers are constants.

use crate::keyword::{Category, category};
use crate::lex::TokenKind;

use super::draft::Draft;

pub(super) fn is_constant(kind: TokenKind) -> bool {
    matches!(
        kind,
        TokenKind::String
            | TokenKind::EscapeString
            | TokenKind::UnicodeString
            | TokenKind::DollarString
    )
}

pub(super) fn typed(draft: &mut Draft<'_>, constant: usize) {
    let Some(start) = type_in_front(draft, constant) else {
        return;
    };
    let is_interval = draft.is(start, "interval");
    draft.drop(start..constant);
    if is_interval {
        let mut end = constant + 1;
        while draft.one_of(end, FIELDS) || (end > constant + 1 && draft.is(end, "to")) {
            end += 1;
            if draft.opens(end) {
                end = draft.skip(end);
            }
        }
        draft.drop(constant + 1..end);
    }
}

const FIELDS: &[&str] = &["year", "month", "day", "hour", "minute", "second"];

/// Words that are no types though they may stand in front of a constant and are not reserved.
const NO_TYPES: &[&str] = &[
    "between",
    "by",
    "content",
    "delimiter",
    "document",
    "encoding",
    "escape",
    "format",
    "ilike",
    "is",
    "key",
    "like",
    "passing",
    "path",
    "similar",
    "uescape",
    "value",
    "version",
];

fn type_in_front(draft: &Draft<'_>, constant: usize) -> Option<usize> {
    let mut last = draft.previous(constant)?;
    if draft.kind(last) == Some(TokenKind::RightParenthesis) {
        last = draft.previous(draft.partner(last))?;
        if draft.is(last, "operator") {
            return None;
        }
    }
    if draft.is(last, "zone") {
        // `x AT TIME ZONE 'UTC'` has no type.
        let time = draft.previous(last)?;
        let with = draft.previous(time)?;
        if !draft.one_of(with, &["with", "without"]) {
            return None;
        }
        let base = draft.previous(with)?;
        let closes = draft.kind(base) == Some(TokenKind::RightParenthesis);
        return if closes {
            draft.previous(draft.partner(base))
        } else {
            Some(base)
        };
    }
    match draft.kind(last)? {
        TokenKind::QuotedIdentifier => {}
        TokenKind::Word => {
            let word = draft.word(last);
            let is_type = category(&word) != Some(Category::Reserved)
                && !NO_TYPES.contains(&word.as_str())
                && !crate::keyword::expects_operand(&word);
            if !is_type {
                return None;
            }
        }
        _ => return None,
    }
    let mut start = last;
    while draft.previous_kind(start) == Some(TokenKind::Dot) && start >= draft.start() + 2 {
        start -= 2;
    }
    // double precision, character varying, national character varying
    while draft.follows(
        start,
        &["double", "character", "char", "nchar", "bit", "national"],
    ) && draft.one_of(start, &["precision", "varying", "character", "char"])
    {
        start -= 1;
    }
    Some(start)
}
