//! Long lists of constants: `VALUES (1, 'a'), (2, 'b'), ...` and `IN (1, 2, 3, ...)`. The first of each says all that a
//! tree can: the others would cost it hundreds of bytes each.

use crate::lex::TokenKind;

use super::draft::Draft;
use super::literal;

/// Shorter statements are parsed as they are.
const TOKENS_MIN: usize = 32;

/// Drops constants, and rows of them, behind another one. Safe: no name and no subquery is among them.
pub(super) fn thin(draft: &mut Draft<'_>) {
    if draft.end() - draft.start() < TOKENS_MIN {
        return;
    }
    let mut index = draft.start();
    // The element before this comma is a constant, or a row of constants.
    let mut behind = false;
    while index < draft.end() {
        if draft.kind(index) == Some(TokenKind::Comma) {
            let next = element(draft, index + 1);
            if let (true, Some(end)) = (behind, next) {
                draft.drop(index..end);
            }
            behind = next.is_some();
            // Within a row that stays there is a list, too.
            index = next.filter(|_| behind).unwrap_or(index + 1);
            continue;
        }
        behind = match draft.kind(index) {
            Some(TokenKind::LeftParenthesis | TokenKind::LeftBracket) => {
                let end = element(draft, index + 1);
                index = end.map_or(index, |end| end - 1);
                end.is_some()
            }
            Some(TokenKind::RightParenthesis) => is_row(draft, draft.partner(index)),
            _ => false,
        };
        index += 1;
    }
}

/// Behind the constant, or the row of constants, that is one whole element of a list from here.
fn element(draft: &Draft<'_>, start: usize) -> Option<usize> {
    let end = if draft.opens(start) {
        is_row(draft, start).then(|| draft.partner(start) + 1)?
    } else {
        constant(draft, start)?
    };
    let ends = [
        TokenKind::Comma,
        TokenKind::RightParenthesis,
        TokenKind::RightBracket,
    ];
    let is_whole = draft.kind(end).is_none_or(|kind| ends.contains(&kind));
    is_whole.then_some(end)
}

/// `(constant, constant, ...)`
fn is_row(draft: &Draft<'_>, open: usize) -> bool {
    let close = draft.partner(open);
    let mut index = open + 1;
    while index < close {
        match constant(draft, index) {
            Some(end) if end == close => return true,
            Some(end) if draft.kind(end) == Some(TokenKind::Comma) => index = end + 1,
            _ => return false,
        }
    }
    false
}

/// Behind a constant with its sign.
fn constant(draft: &Draft<'_>, index: usize) -> Option<usize> {
    let signed = draft.is_operator(index, "-") || draft.is_operator(index, "+");
    let at = index + usize::from(signed);
    let kind = draft.kind(at)?;
    let is_word = draft.one_of(at, &["null", "true", "false", "default"]) && !draft.is_label(at);
    let is_parameter = kind == TokenKind::Parameter;
    (literal::is_constant(kind) || kind == TokenKind::Number || is_word || is_parameter)
        .then_some(at + 1)
}
