//! Statements around a statement.
//!
//! What is left out here is the name of something that is made (a view, a cursor), options, column
//! names and types: no relation that is read or written, and no query. COPY's WHERE, EXECUTE's
//! parameters and the like cannot hold subqueries: PostgreSQL rejects them.

use std::ops::Range;

use super::draft::{Draft, word};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wrapper {
    Explain,
    Prepare,
    Declare,
    /// Of a query, or of a table: then the tree is `SELECT * FROM table`.
    Copy,
    /// CREATE TABLE AS.
    CreateTable,
    CreateView,
    CreateMaterializedView,
}

/// Narrows the draft to the statement inside.
pub(super) fn unwrap(draft: &mut Draft<'_>, range: Range<usize>) -> Vec<Wrapper> {
    let mut wrappers = Vec::new();
    let Range { mut start, mut end } = range;
    while let Some((wrapper, inner)) = one(draft, start, end) {
        wrappers.push(wrapper);
        (start, end) = (inner.start, inner.end);
        draft.narrow(start..end);
        // The tokens of `COPY table` still begin with COPY.
        if draft.is_decided(start) {
            break;
        }
    }
    if draft.is(start, "execute") && !wrappers.is_empty() {
        draft.replace(start, vec![word("SELECT"), word("NULL")]);
        draft.drop(start + 1..end);
    }
    wrappers
}

fn one(draft: &mut Draft<'_>, start: usize, end: usize) -> Option<(Wrapper, Range<usize>)> {
    match draft.word(start).as_str() {
        "explain" => Some((Wrapper::Explain, explained(draft, start + 1)..end)),
        "prepare" => {
            let inner = draft.find(start + 2..end, &["as"])? + 1;
            Some((Wrapper::Prepare, inner..end))
        }
        "declare" => {
            let cursor = draft.find(start + 2..end, &["cursor"])?;
            let inner = draft.find(cursor..end, &["for"])? + 1;
            Some((Wrapper::Declare, inner..end))
        }
        "copy" => copied(draft, start, end),
        "create" => created(draft, start, end),
        _ => None,
    }
}

fn explained(draft: &Draft<'_>, at: usize) -> usize {
    let queries = ["select", "with", "values", "table"];
    if draft.opens(at) && !draft.opens(at + 1) && !draft.one_of(at + 1, &queries) {
        return draft.skip(at);
    }
    let mut at = at;
    while draft.one_of(at, &["analyze", "analyse", "verbose"]) {
        at += 1;
    }
    at
}

fn copied(draft: &mut Draft<'_>, start: usize, end: usize) -> Option<(Wrapper, Range<usize>)> {
    if draft.opens(start + 1) {
        return Some((Wrapper::Copy, start + 2..draft.partner(start + 1)));
    }
    let binary = draft.is(start + 1, "binary") && draft.is_name(start + 2);
    let name = start + 1 + usize::from(binary);
    let behind = draft.behind_name(name)?.min(end);
    let star = vec![
        word("SELECT"),
        sqlparser::tokenizer::Token::Mul,
        word("FROM"),
    ];
    draft.replace(start, star);
    draft.drop(start + 1..name);
    Some((Wrapper::Copy, start..behind))
}

fn created(draft: &Draft<'_>, start: usize, end: usize) -> Option<(Wrapper, Range<usize>)> {
    const MODIFIERS: &[&str] = &[
        "or",
        "replace",
        "global",
        "local",
        "temp",
        "temporary",
        "unlogged",
        "recursive",
        "materialized",
    ];
    let mut at = start + 1;
    let mut materialized = false;
    while draft.one_of(at, MODIFIERS) {
        materialized |= draft.is(at, "materialized");
        at += 1;
    }
    let wrapper = match draft.word(at).as_str() {
        "table" => Wrapper::CreateTable,
        "view" if materialized => Wrapper::CreateMaterializedView,
        "view" => Wrapper::CreateView,
        _ => return None,
    };
    let inner = draft.find(at + 1..end, &["as"])? + 1;
    Some((wrapper, inner..without_tail(draft, inner, end)))
}

/// In front of `WITH [NO] DATA` and `WITH [LOCAL | CASCADED] CHECK OPTION`.
fn without_tail(draft: &Draft<'_>, start: usize, end: usize) -> usize {
    let behind = |last: &[&str]| {
        let first = end.checked_sub(last.len()).filter(|first| *first > start)?;
        let matches = last
            .iter()
            .enumerate()
            .all(|(offset, word)| draft.is(first + offset, word));
        matches.then_some(first)
    };
    const TAILS: &[&[&str]] = &[
        &["with", "data"],
        &["with", "no", "data"],
        &["with", "check", "option"],
        &["with", "local", "check", "option"],
        &["with", "cascaded", "check", "option"],
    ];
    TAILS.iter().find_map(|tail| behind(tail)).unwrap_or(end)
}
