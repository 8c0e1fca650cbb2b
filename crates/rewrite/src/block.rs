//! DO blocks: the server runs their code unseen. What SQL in it reads or writes a marked table is found here by a few words of
//! the grammar, as the code is PL/pgSQL, SQL or anything else that names tables the same way. So is what it runs by EXECUTE, as far as
//! it stands there.

use std::sync::Arc;

use catalog::{Resolved, Table};

use crate::lex::{TokenKind, Tokens};
use crate::{Refusal, Scope, refusal};

/// Words that begin a statement that reads no rows.
const DEFINITIONS: &[&str] = &[
    "alter", "analyse", "analyze", "cluster", "comment", "create", "drop", "grant", "lock",
    "refresh", "reindex", "revoke", "truncate", "vacuum",
];

/// Behind these another statement begins.
const BEGINNINGS: &[&str] = &["begin", "declare", "else", "loop", "then"];

/// Clauses of a query, as far as they tell whether a comma lists tables.
const CLAUSES: &[&str] = &[
    "from",
    "group",
    "having",
    "limit",
    "order",
    "returning",
    "select",
    "set",
    "using",
    "values",
    "where",
    "window",
];

/// # Errors
/// The code of a DO statement reads or writes a marked table.
pub(crate) fn check(tokens: &Tokens<'_>, scope: &Scope<'_>) -> Result<(), Refusal> {
    for index in 0..tokens.len() {
        let Some(kind) = tokens.kind(index).filter(|kind| is_string(*kind)) else {
            continue;
        };
        let Some(code) = tokens.string_value(index) else {
            continue;
        };
        let start = tokens.span(index..index + 1).start;
        // Within dollars the code is as it stands.
        let before = match kind {
            TokenKind::DollarString => tokens
                .bytes(index)
                .iter()
                .skip(1)
                .position(|byte| *byte == b'$')
                .map_or(0, |at| at + 2),
            _ => 0,
        };
        if let Some((offset, table)) = touches(&code, scope) {
            let offset = if before == 0 {
                start
            } else {
                start + before + offset
            };
            return Err(refusal::block(&table, offset));
        }
    }
    Ok(())
}

fn is_string(kind: TokenKind) -> bool {
    matches!(
        kind,
        TokenKind::String
            | TokenKind::EscapeString
            | TokenKind::UnicodeString
            | TokenKind::DollarString
    )
}

/// The first marked table that the code reads or writes, and where its name stands. Of code that is not lexed as SQL is:
/// none.
fn touches(code: &[u8], scope: &Scope<'_>) -> Option<(usize, Arc<Table>)> {
    let tokens = Tokens::lex(code, scope.standard_conforming_strings).ok()?;
    let mut defines = false;
    let mut begins = true;
    // The clause of each bracket that is open.
    let mut clauses = vec![""];
    for index in 0..tokens.len() {
        let is = |at: usize, word: &str| tokens.is_word(at, word);
        let one_of =
            |at: usize, words: &[&'static str]| words.iter().copied().find(|word| is(at, word));
        if std::mem::take(&mut begins) {
            defines = one_of(index, DEFINITIONS).is_some();
        }
        match tokens.kind(index) {
            Some(TokenKind::Semicolon) => {
                begins = true;
                clauses = vec![""];
            }
            Some(TokenKind::LeftParenthesis) => clauses.push(""),
            Some(TokenKind::RightParenthesis) if clauses.len() > 1 => {
                clauses.pop();
            }
            Some(TokenKind::Word) if one_of(index, BEGINNINGS).is_some() => begins = true,
            _ => {}
        }
        if let (Some(clause), Some(innermost)) = (one_of(index, CLAUSES), clauses.last_mut()) {
            *innermost = clause;
            // CREATE TABLE ... AS SELECT
            defines &= clause != "select";
            continue;
        }
        if tokens.kind(index).is_some_and(is_string)
            && is_executed(&tokens, index)
            && let Some(text) = tokens.string_value(index)
            && let Some((_, table)) = touches(&text, scope)
        {
            return Some((tokens.span(index..index + 1).start, table));
        }
        let lists = clauses
            .last()
            .is_some_and(|clause| ["from", "using"].contains(clause));
        let named = index.checked_sub(1).is_some_and(|before| {
            one_of(before, &["from", "join", "only", "update", "using"]).is_some()
                || is(before, "into")
                    && index >= 2
                    && one_of(index - 2, &["insert", "merge"]).is_some()
                || tokens.kind(before) == Some(TokenKind::Comma) && lists
        });
        if named
            && !defines
            && let Some(table) = meant(&tokens, index, scope)
        {
            return Some((tokens.span(index..index + 1).start, table));
        }
    }
    None
}

/// EXECUTE '...' or EXECUTE format('...'
fn is_executed(tokens: &Tokens<'_>, string: usize) -> bool {
    let before = |count: usize, word: &str| {
        string
            .checked_sub(count)
            .is_some_and(|at| tokens.is_word(at, word))
    };
    let opens = || {
        string
            .checked_sub(1)
            .is_some_and(|at| tokens.kind(at) == Some(TokenKind::LeftParenthesis))
    };
    before(1, "execute") || opens() && before(2, "format") && before(3, "execute")
}

/// The marked table that the name beginning here means.
fn meant(tokens: &Tokens<'_>, index: usize, scope: &Scope<'_>) -> Option<Arc<Table>> {
    let first = tokens.identifier(index)?;
    let dotted = tokens.kind(index + 1) == Some(TokenKind::Dot);
    let second = dotted.then(|| tokens.identifier(index + 2)).flatten();
    let (schema, name) = match &second {
        Some(name) => (Some(&*first), name),
        None => (None, &first),
    };
    match scope.catalog.resolve(schema, name, scope.search_path) {
        Resolved::Enabled(table) if table.is_veiled() => Some(table),
        Resolved::Enabled(_) | Resolved::Other => None,
    }
}
