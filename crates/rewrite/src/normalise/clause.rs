//! Rules for clauses.

use std::ops::Range;

use sqlparser::tokenizer::Token;

use crate::keyword::{Category, category};
use crate::lex::TokenKind;

use super::draft::{Draft, word as our_word};

pub(super) fn word(draft: &mut Draft<'_>, index: usize) {
    match draft.word(index).as_str() {
        "only" => only(draft, index),
        // An empty list of columns.
        "select"
            if draft
                .kind(index + 1)
                .is_none_or(|kind| kind == TokenKind::RightParenthesis)
                || draft.one_of(index + 1, &["union", "intersect", "except", "returning"]) =>
        {
            draft.replace(index, vec![our_word("SELECT"), our_word("NULL")]);
        }
        "using" if is_merge(draft, index) => merge_source(draft, index),
        "table" => table_command(draft, index),
        "current" if draft.follows(index, &["where"]) && draft.is(index + 1, "of") => {
            // The name of a cursor.
            draft.replace(index, vec![our_word("NULL")]);
            draft.drop(index + 1..index + 3);
        }
        "for" => locking(draft, index),
        "search" | "cycle" => search_or_cycle(draft, index),
        "overriding" if draft.one_of(index + 1, &["system", "user"]) => {
            draft.drop(index..index + 3);
        }
        "rows" if draft.is(index + 1, "from") && draft.opens(index + 2) => {
            // ROWS FROM (f(), g()) is read as one function of them all.
            draft.drop(index..index + 1);
            draft.replace(index + 1, vec![our_word("rows_from")]);
        }
        "rows" | "range" | "groups" => frame(draft, index),
        "grouping" if draft.is(index + 1, "sets") => draft.drop(index..index + 2),
        "distinct" | "all" if is_group_by(draft, index) => draft.drop(index..index + 1),
        "on" if draft.is(index + 1, "conflict") => on_conflict(draft, index),
        "set" => set_targets(draft, index + 1),
        "insert" => insert_columns(draft, index),
        "into" if !draft.follows(index, &["insert", "merge"]) => select_into(draft, index),
        "as" if draft.opens(index + 1) => column_definitions(draft, index),
        "using" if draft.opens(index + 1) && draft.is(draft.skip(index + 1), "as") => {
            // JOIN ... USING (i) AS alias: a name.
            let alias = draft.skip(index + 1);
            if draft.is_name(alias + 1) {
                draft.drop(alias..alias + 2);
            }
        }
        "isnull" | "notnull" if !draft.follows(index, &["as"]) => {
            draft.replace(index, vec![our_word("IS"), our_word("NULL")])
        }
        "default" if draft.is(index + 1, "values") && merges(draft, index) => {
            draft.replace(
                index,
                vec![
                    our_word("VALUES"),
                    Token::LParen,
                    our_word("NULL"),
                    Token::RParen,
                ],
            );
            draft.drop(index + 1..index + 2);
        }
        // RETURNING WITH (OLD AS o, NEW AS n)
        "with"
            if draft.follows(index, &["returning"])
                && draft.opens(index + 1)
                && draft.one_of(index + 2, &["old", "new"]) =>
        {
            draft.drop(index..draft.skip(index + 1));
        }
        "fetch" if draft.one_of(index + 1, &["first", "next"]) => fetch(draft, index),
        "using" if draft.kind(index + 1) == Some(TokenKind::Operator) => {
            // ORDER BY x USING <
            draft.drop(index..index + 2);
        }
        "tablesample" => sample(draft, index),
        "ties" if draft.follows(index, &["with"]) => {
            draft.replace(index - 1, vec![our_word("ONLY")]);
            draft.drop(index..index + 1);
        }
        _ => {}
    }
}

/// ONLY in front of a table: the table stays. `ONLY (t)` loses its parentheses too.
fn only(draft: &mut Draft<'_>, index: usize) {
    if draft.follows(index, &["row", "rows", "read"]) {
        return;
    }
    draft.drop(index..index + 1);
    if draft.opens(index + 1) {
        let close = draft.partner(index + 1);
        draft.drop(index + 1..index + 2);
        draft.drop(close..close + 1);
    }
}

/// `FROM t *`: the star says that children are meant.
pub(super) fn star(draft: &mut Draft<'_>, index: usize) {
    if !draft.is_operator(index, "*") {
        return;
    }
    // `SELECT *`
    let is_keyword = |before: usize| {
        draft.kind(before) == Some(TokenKind::Word)
            && category(&draft.word(before)) == Some(Category::Reserved)
    };
    let ends_name = draft
        .previous(index)
        .is_some_and(|before| draft.is_name(before) && !is_keyword(before));
    if !ends_name {
        return;
    }
    let mut start = index - 1;
    while draft.previous_kind(start) == Some(TokenKind::Dot) && start >= draft.start() + 2 {
        start -= 2;
    }
    // A join may begin with brackets.
    while draft
        .previous(start)
        .is_some_and(|before| draft.opens(before))
    {
        start -= 1;
    }
    let behind_from = draft.follows(start, &["from", "join", "update", "into", "only", "table"])
        || lists_tables(draft, start);
    let next = draft.kind(index + 1);
    let operand_follows = matches!(
        next,
        Some(
            TokenKind::Number
                | TokenKind::String
                | TokenKind::EscapeString
                | TokenKind::Parameter
                | TokenKind::LeftParenthesis
                | TokenKind::Operator
        )
    );
    if behind_from && !operand_follows {
        draft.drop(index..index + 1);
    }
}

/// True behind a comma of a FROM clause: ON stands in one too, and there is no comma in its condition.
fn lists_tables(draft: &Draft<'_>, index: usize) -> bool {
    if draft.previous_kind(index) != Some(TokenKind::Comma) {
        return false;
    }
    const CLAUSES: &[&str] = &[
        "select",
        "from",
        "on",
        "using",
        "where",
        "group",
        "having",
        "window",
        "order",
        "limit",
        "offset",
        "returning",
        "set",
        "values",
        "by",
        "union",
        "intersect",
        "except",
    ];
    let mut at = index - 1;
    while at > draft.start() {
        at -= 1;
        // From a closing bracket to the one that it closes.
        at = draft.partner(at).min(at);
        if draft.opens(at) && draft.partner(at) > index {
            return false;
        }
        if draft.one_of(at, CLAUSES) && !draft.is_label(at) {
            let is_distinct = draft.is(at, "on") && draft.follows(at, &["distinct"]);
            return !is_distinct && draft.one_of(at, &["from", "on", "using"]);
        }
    }
    false
}

/// `TABLE t` is `SELECT * FROM t`. TABLE is reserved: elsewhere it stands behind words of DDL, INTO
/// and ON only.
fn table_command(draft: &mut Draft<'_>, index: usize) {
    let elsewhere = [
        "create",
        "temp",
        "temporary",
        "unlogged",
        "foreign",
        "into",
        "on",
        "local",
        "global",
        "alter",
        "drop",
        "lock",
        "truncate",
    ];
    let name = index + 1 + usize::from(draft.is(index + 1, "only"));
    if !draft.follows(index, &elsewhere) && (draft.is_name(name) || draft.opens(name)) {
        draft.replace(
            index,
            vec![our_word("SELECT"), Token::Mul, our_word("FROM")],
        );
    }
}

/// FOR UPDATE and the like: names of tables that stand in FROM already.
fn locking(draft: &mut Draft<'_>, index: usize) {
    let strengths: [&[&str]; 5] = [
        &["update"],
        &["share"],
        &["no", "key", "update"],
        &["key", "share"],
        &["read", "only"],
    ];
    let matches = |words: &&&[&str]| {
        words
            .iter()
            .enumerate()
            .all(|(offset, word)| draft.is(index + 1 + offset, word))
    };
    let Some(strength) = strengths.iter().find(matches) else {
        return;
    };
    let mut end = index + 1 + strength.len();
    if draft.is(end, "of") {
        while let Some(behind) = draft.behind_name(end + 1) {
            end = behind;
            if draft.kind(end) != Some(TokenKind::Comma) {
                break;
            }
        }
    }
    if draft.is(end, "nowait") {
        end += 1;
    } else if draft.is(end, "skip") && draft.is(end + 1, "locked") {
        end += 2;
    }
    draft.drop(index..end);
}

/// Behind a common table expression: names of columns, and constants.
fn search_or_cycle(draft: &mut Draft<'_>, index: usize) {
    if draft.previous_kind(index) != Some(TokenKind::RightParenthesis) {
        return;
    }
    let mut end = index;
    if draft.is(end, "search") && draft.one_of(end + 1, &["depth", "breadth"]) {
        let Some(set) = draft.find(end..draft.end(), &["set"]) else {
            return;
        };
        end = set + 2;
    }
    if draft.is(end, "cycle") && draft.is_name(end + 1) {
        let Some(using) = draft.find(end..draft.end(), &["using"]) else {
            return;
        };
        end = using + 2;
    }
    if draft.holds_no_query(index..end) {
        draft.drop(index..end);
    }
}

/// `WHEN NOT MATCHED THEN INSERT [(columns)] DEFAULT VALUES`: for sqlparser a row.
fn merges(draft: &Draft<'_>, index: usize) -> bool {
    let before = draft.previous(index).map(|before| draft.partner(before));
    let insert = match before {
        Some(before) if draft.opens(before) => draft.previous(before),
        before => before,
    };
    insert.is_some_and(|insert| {
        draft.is(insert, "insert") && draft.follows(insert, &["then"])
            || draft.is(insert, "value") && draft.follows(insert, &["system", "user"])
    })
}

/// `FETCH FIRST (expression) ROWS WITH TIES`: a constant stays if there is one.
fn fetch(draft: &mut Draft<'_>, index: usize) {
    let count = index + 2;
    let end = draft.skip(count);
    if draft.opens(count) && draft.holds_no_query(count..end) {
        draft.replace(count, vec![Token::Number("1".into(), false)]);
        draft.drop(count + 1..end);
    }
}

/// True for the USING of `MERGE INTO [ONLY] t [*] [[AS] a] USING`.
fn is_merge(draft: &Draft<'_>, index: usize) -> bool {
    let first = index.saturating_sub(10).max(draft.start());
    let before = |word: &str| (first..index).any(|at| draft.is(at, word));
    before("merge") && !before("using") && draft.find(index..draft.end(), &["when"]).is_some()
}

/// sqlparser wants one table there: a join, and everything else, becomes a subquery.
fn merge_source(draft: &mut Draft<'_>, index: usize) {
    let Some(when) = draft.find(index..draft.end(), &["when"]) else {
        return;
    };
    let mut last = None;
    let mut at = index + 1;
    while let Some(on) = draft.find(at..when, &["on"]) {
        last = Some(on);
        at = on + 1;
    }
    if let Some(on) = last {
        let open = ["SELECT", "*", "FROM"].map(|word| match word {
            "*" => Token::Mul,
            word => our_word(word),
        });
        draft.replace(
            index,
            [vec![our_word("USING"), Token::LParen], open.to_vec()].concat(),
        );
        draft.replace(
            on,
            vec![Token::RParen, our_word("merge_source"), our_word("ON")],
        );
    }
}

/// The frame of a window, to the closing parenthesis of its definition.
fn frame(draft: &mut Draft<'_>, index: usize) {
    let follows_name = draft.follows(index, &["by"])
        || matches!(
            draft.previous_kind(index),
            Some(TokenKind::Comma | TokenKind::Operator)
        );
    if follows_name {
        return;
    }
    let mut end = index + 1;
    while end < draft.end() && draft.kind(end) != Some(TokenKind::RightParenthesis) {
        end = draft.skip(end);
    }
    let is_frame = (index..end).any(|at| draft.one_of(at, &["preceding", "following", "row"]));
    if end < draft.end() && is_frame && draft.holds_no_query(index..end) {
        draft.drop(index..end);
    }
}

fn is_group_by(draft: &Draft<'_>, index: usize) -> bool {
    draft.follows(index, &["by"]) && draft.follows(index - 1, &["group"])
}

/// The index of ON CONFLICT: columns and expressions without queries, PostgreSQL sees to that.
fn on_conflict(draft: &mut Draft<'_>, index: usize) {
    let target = index + 2;
    let Some(action) = draft.find(target..draft.end(), &["do"]) else {
        return;
    };
    if draft.holds_no_query(target..action) {
        draft.drop(target..action);
    }
    // `SELECT 1, 'a' ON CONFLICT ...`: sqlparser takes ON for the name of the last column.
    if ends_select_list(draft, index) {
        let name = [our_word("AS"), our_word("reprieve"), our_word("ON")];
        draft.replace(index, name.to_vec());
    }
}

/// True behind a select list without FROM whose last column bears no name.
fn ends_select_list(draft: &Draft<'_>, end: usize) -> bool {
    let Some(last) = draft.previous(end) else {
        return false;
    };
    let is_named = draft.is_name(last)
        && !draft.is(last, "end")
        && draft.previous(last).is_some_and(|before| {
            draft.is(before, "as")
                || draft.is_name(before) && !draft.is(before, "select")
                || draft.partner(before) != before
                || matches!(
                    draft.kind(before),
                    Some(TokenKind::Number | TokenKind::String | TokenKind::EscapeString)
                )
        });
    if is_named {
        return false;
    }
    let others = [
        "from", "where", "group", "having", "window", "order", "limit", "offset", "fetch", "values",
    ];
    let mut at = last;
    loop {
        at = draft.partner(at).min(at);
        if draft.is(at, "select") && !draft.is_label(at) {
            return true;
        }
        if draft.one_of(at, &others) && !draft.is_label(at) {
            return false;
        }
        match draft.previous(at) {
            Some(before) => at = before,
            None => return false,
        }
    }
}

/// `SET a[1].b = ...`, `SET (a.b, c) = ...`: the column stays.
fn set_targets(draft: &mut Draft<'_>, start: usize) {
    let mut at = start;
    loop {
        if draft.opens(at) {
            let close = draft.partner(at);
            paths(draft, at + 1..close);
            at = close + 1;
        } else if draft.is_name(at) {
            let mut behind = at + 1;
            while !draft.is_operator(behind, "=") {
                if !matches!(
                    draft.kind(behind),
                    Some(
                        TokenKind::LeftBracket
                            | TokenKind::Dot
                            | TokenKind::Word
                            | TokenKind::QuotedIdentifier
                    )
                ) {
                    return;
                }
                behind = draft.skip(behind);
            }
            paths(draft, at..behind);
            at = behind;
        }
        if !draft.is_operator(at, "=") {
            return;
        }
        while draft.kind(at) != Some(TokenKind::Comma) {
            let ends = draft.one_of(at, &["from", "where", "returning", "when"]);
            if at >= draft.end() || ends || draft.kind(at) == Some(TokenKind::RightParenthesis) {
                return;
            }
            at = draft.skip(at);
        }
        at += 1;
    }
}

/// Drops subscripts and fields behind column names.
fn paths(draft: &mut Draft<'_>, range: Range<usize>) {
    let mut at = range.start;
    while at < range.end {
        let next = draft.skip(at);
        match draft.kind(at) {
            Some(TokenKind::LeftBracket) if draft.holds_no_query(at..next) => draft.drop(at..next),
            Some(TokenKind::Dot) if draft.is_name(at + 1) => draft.drop(at..at + 2),
            _ => {}
        }
        at = next;
    }
}

/// `INSERT INTO t (a[1], b.c)`.
fn insert_columns(draft: &mut Draft<'_>, index: usize) {
    if draft.opens(index + 1) {
        // MERGE: INSERT (a) VALUES ...
        let close = draft.partner(index + 1);
        return paths(draft, index + 2..close);
    }
    let Some(mut at) = draft.behind_name(index + 2) else {
        return;
    };
    if draft.is(at, "as") {
        at += 2;
    }
    let overriding = |draft: &Draft<'_>, at: usize| 3 * usize::from(draft.is(at, "overriding"));
    at += overriding(draft, at);
    if draft.opens(at) && !draft.opens(at + 1) && !draft.one_of(at + 1, QUERIES) {
        let close = draft.partner(at);
        paths(draft, at + 1..close);
        at = close + 1;
        at += overriding(draft, at);
    }
    source_in_brackets(draft, at);
}

const QUERIES: &[&str] = &["select", "values", "with", "table"];

/// `INSERT INTO t (VALUES (1))`: sqlparser takes the bracket for a list of columns.
fn source_in_brackets(draft: &mut Draft<'_>, open: usize) {
    let close = draft.partner(open);
    let is_query = draft.opens(open + 1) || draft.one_of(open + 1, &["values", "with", "table"]);
    if !draft.opens(open) || !is_query {
        return;
    }
    if super::expression::goes_on(draft, close + 1) {
        let select = [our_word("SELECT"), Token::Mul, our_word("FROM")];
        draft.replace(open, [&select[..], &[Token::LParen]].concat());
    } else {
        draft.drop(open..open + 1);
        draft.drop(close..close + 1);
        source_in_brackets(draft, open + 1);
    }
}

/// The table that SELECT INTO makes is not read.
fn select_into(draft: &mut Draft<'_>, index: usize) {
    let mut at = index + 1;
    while draft.one_of(
        at,
        &["temporary", "temp", "local", "global", "unlogged", "table"],
    ) {
        at += 1;
    }
    if let Some(end) = draft.behind_name(at) {
        draft.drop(index..end);
    }
}

/// `f() AS (a int, b text)`: names and types.
fn column_definitions(draft: &mut Draft<'_>, index: usize) {
    let begins_query = [
        "select", "values", "with", "table", "insert", "update", "delete", "merge",
    ];
    let is_query = draft.opens(index + 2) || draft.one_of(index + 2, &begins_query);
    let close = draft.partner(index + 1);
    if draft.previous_kind(index) == Some(TokenKind::RightParenthesis)
        && !is_query
        && draft.holds_no_query(index + 1..close)
    {
        draft.drop(index..close + 1);
    }
}

/// A method, and arguments that hold no query.
fn sample(draft: &mut Draft<'_>, index: usize) {
    let Some(open) = draft
        .behind_name(index + 1)
        .filter(|open| draft.opens(*open))
    else {
        return;
    };
    let mut end = draft.skip(open);
    if draft.is(end, "repeatable") && draft.opens(end + 1) {
        end = draft.skip(end + 1);
    }
    if draft.holds_no_query(index..end) {
        draft.drop(index..end);
    }
}
