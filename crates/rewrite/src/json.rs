//! What of the SQL/JSON functions' arguments is no argument: `FORMAT JSON`, `NULL ON ERROR`, `WITH UNIQUE KEYS`.

use crate::lex::{TokenKind, Tokens};

pub(crate) const FUNCTIONS: &[&str] = &[
    "json",
    "json_array",
    "json_arrayagg",
    "json_exists",
    "json_object",
    "json_objectagg",
    "json_query",
    "json_scalar",
    "json_serialize",
    "json_table",
    "json_value",
];

/// Behind a clause of fixed words that begins at this token.
pub(crate) fn clause(tokens: &Tokens<'_>, at: usize) -> Option<usize> {
    let is = |index: usize, word: &str| tokens.is_word(index, word);
    let one_of = |index: usize, words: &[&str]| words.iter().any(|word| is(index, word));
    let optional = |index: usize, words: &[&str]| index + usize::from(one_of(index, words));
    if tokens.kind(at) != Some(TokenKind::Word)
        || at > 0 && tokens.kind(at - 1) == Some(TokenKind::Dot)
    {
        return None;
    }
    if is(at, "format") && is(at + 1, "json") {
        return Some(at + 2 + 2 * usize::from(is(at + 2, "encoding")));
    }
    if one_of(at, &["with", "without"]) {
        if is(at + 1, "unique") {
            return Some(optional(at + 2, &["keys"]));
        }
        let kind = optional(at + 1, &["conditional", "unconditional"]);
        let wrapper = optional(kind, &["array"]);
        return is(wrapper, "wrapper").then_some(wrapper + 1);
    }
    if one_of(at, &["keep", "omit"]) && is(at + 1, "quotes") {
        let scalar = is(at + 2, "on") && is(at + 3, "scalar");
        return Some(at + 2 + 3 * usize::from(scalar));
    }
    const OUTCOMES: &[&str] = &[
        "absent", "empty", "error", "false", "null", "true", "unknown",
    ];
    if one_of(at, OUTCOMES) {
        let on = optional(at + 1, &["array", "object"]);
        let ends = is(on, "on") && one_of(on + 1, &["empty", "error", "null"]);
        return ends.then_some(on + 2);
    }
    None
}

/// Where the query of `JSON_ARRAY(SELECT ... [FORMAT JSON] [RETURNING type])` ends. `returning`: that word, or the closing
/// bracket.
pub(crate) fn query_end(tokens: &Tokens<'_>, open: usize, returning: usize) -> usize {
    let begins = |length: usize| {
        let at = returning.checked_sub(length).filter(|at| *at > open)?;
        (tokens.is_word(at, "format") && clause(tokens, at) == Some(returning)).then_some(at)
    };
    begins(2).or_else(|| begins(4)).unwrap_or(returning)
}
