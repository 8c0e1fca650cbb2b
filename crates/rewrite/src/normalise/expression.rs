//! Rules within expressions.

use sqlparser::tokenizer::Token;

use crate::lex::TokenKind;

use super::draft::{Draft, word as our_word};

pub(super) fn word(draft: &mut Draft<'_>, index: usize) {
    match draft.word(index).as_str() {
        // The name of a collation.
        "collate" => {
            if let Some(end) = draft.behind_name(index + 1) {
                draft.drop(index..end);
            }
        }
        // A single word in front of an argument.
        "variadic" => draft.drop(index..index + 1),
        "symmetric" | "asymmetric" if draft.follows(index, &["between"]) => {
            draft.drop(index..index + 1);
        }
        // OPERATOR(schema.+): a name and an operator.
        "operator" if draft.opens(index + 1) => operator(draft, index),
        "any" | "all" | "some" => quantified(draft, index),
        "xmlelement" | "xmlpi" if draft.opens(index + 1) && draft.is(index + 2, "name") => {
            draft.drop(index + 2..index + 3);
        }
        "xmlparse" | "xmlserialize" if draft.opens(index + 1) => xml(draft, index),
        "passing" if draft.previous_kind(index) != Some(TokenKind::Comma) => passing(draft, index),
        "xmltable" | "json_table" if draft.opens(index + 1) && !draft.follows(index, &["into"]) => {
            // sqlparser has a grammar of its own for these names.
            draft.replace(index, vec![our_word("table_function")]);
        }
        "xmlroot" if draft.opens(index + 1) => {
            let end = draft.partner(index + 1);
            xmlroot(draft, index + 2, end);
        }
        // `x AT LOCAL`, where x is no name for a column called AT.
        "at" if draft.is(index + 1, "local") && follows_operand(draft, index) => {
            draft.drop(index..index + 2);
        }
        // `FROM current_date`: a function.
        word if SQL_VALUES.contains(&word) && lists(draft, index) => {
            let call = vec![our_word("sql_value"), Token::LParen, Token::RParen];
            draft.replace(index, call);
        }
        // COLLATION FOR (x): a function.
        "collation" if draft.is(index + 1, "for") => draft.drop(index + 1..index + 2),
        "is" => {
            // IS [NOT] DOCUMENT
            let at = index + 1 + usize::from(draft.is(index + 1, "not"));
            if draft.is(at, "document") {
                draft.replace(at, vec![our_word("NULL")]);
            }
        }
        // TRIM(FROM x)
        "trim" if draft.opens(index + 1) && draft.is(index + 2, "from") => {
            draft.drop(index + 2..index + 3);
        }
        // SUBSTRING(x FOR n FROM m)
        "substring" if draft.opens(index + 1) => substring(draft, index + 1),
        // NATIONAL CHARACTER and NCHAR, where a type must stand.
        "national" if names_type(draft, index) => draft.drop(index..index + 1),
        "nchar" if names_type(draft, index) => draft.replace(index, vec![our_word("char")]),
        // TRIM(TRAILING FROM x)
        "leading" | "trailing" | "both" if draft.is(index + 1, "from") => {
            draft.drop(index + 1..index + 2);
        }
        // A list whose first member is a subquery: sqlparser takes it for the subquery.
        "in" if draft.opens(index + 1)
            && draft.opens(index + 2)
            && draft.kind(draft.skip(index + 2)) == Some(TokenKind::Comma) =>
        {
            let list = vec![Token::LParen, our_word("NULL"), Token::Comma];
            draft.replace(index + 1, list);
        }
        // SUBSTRING(x SIMILAR p ESCAPE e)
        "similar" if !draft.is(index + 1, "to") => {
            draft.replace(index, vec![Token::Comma]);
            if let Some(escape) = draft.find(index..draft.end(), &["escape"]) {
                draft.replace(escape, vec![Token::Comma]);
            }
        }
        "similar" if draft.is(index + 1, "to") => {
            draft.replace(index, vec![our_word("LIKE")]);
            draft.drop(index + 1..index + 2);
        }
        "columns" => columns(draft, index),
        _ => {}
    }
}

/// Behind `::`, or behind AS within brackets.
fn names_type(draft: &Draft<'_>, index: usize) -> bool {
    if draft.previous_kind(index) == Some(TokenKind::Typecast) {
        return true;
    }
    let mut end = index;
    while end < draft.end() && draft.kind(end) != Some(TokenKind::RightParenthesis) {
        end = draft.skip(end);
    }
    draft.follows(index, &["as"]) && draft.partner(end) < index
}

/// sqlparser knows FROM in front of FOR only, or commas.
fn substring(draft: &mut Draft<'_>, open: usize) {
    let close = draft.partner(open);
    let length = draft.find(open + 1..close, &["for"]);
    let start = length.and_then(|length| draft.find(length + 1..close, &["from"]));
    if let (Some(length), Some(start)) = (length, start) {
        draft.replace(length, vec![Token::Comma]);
        draft.replace(start, vec![Token::Comma]);
    }
}

/// Functions without brackets. They may stand where a table may, and no table has such a name without quotes.
const SQL_VALUES: &[&str] = &[
    "current_catalog",
    "current_date",
    "current_role",
    "current_schema",
    "current_time",
    "current_timestamp",
    "current_user",
    "localtime",
    "localtimestamp",
    "session_user",
    "system_user",
    "user",
];

/// Behind FROM, JOIN or a comma, without brackets behind.
fn lists(draft: &Draft<'_>, index: usize) -> bool {
    let before = draft.follows(index, &["from", "join"])
        || draft.previous_kind(index) == Some(TokenKind::Comma);
    before && !draft.opens(index + 1)
}

fn follows_operand(draft: &Draft<'_>, index: usize) -> bool {
    draft
        .previous(index)
        .is_some_and(|before| match draft.kind(before) {
            Some(TokenKind::Word) => {
                draft.is_label(before) || !crate::keyword::expects_operand(&draft.word(before))
            }
            Some(
                TokenKind::LeftParenthesis
                | TokenKind::LeftBracket
                | TokenKind::Comma
                | TokenKind::Operator,
            ) => false,
            _ => true,
        })
}

fn operator(draft: &mut Draft<'_>, index: usize) {
    let close = draft.partner(index + 1);
    let mut at = index + 2;
    while draft.is_name(at) && draft.kind(at + 1) == Some(TokenKind::Dot) {
        at += 2;
    }
    if draft.kind(at) != Some(TokenKind::Operator) || at + 1 != close {
        return;
    }
    let prefix = !follows_operand(draft, index);
    let token = if draft.follows(index, &["using"]) {
        Token::Lt
    } else if draft.one_of(close + 1, &["any", "all", "some"]) {
        Token::Eq
    } else if prefix {
        Token::Minus
    } else {
        Token::CustomBinaryOperator("@".into())
    };
    draft.replace(index, vec![token]);
    draft.drop(index + 1..close + 1);
}

/// sqlparser has ANY behind comparisons only: the operator in front becomes one.
fn quantified(draft: &mut Draft<'_>, index: usize) {
    let Some(before) = draft.previous(index) else {
        return;
    };
    if draft.opens(index + 1) && draft.kind(before) == Some(TokenKind::Operator) {
        draft.replace(before, vec![Token::Eq]);
    }
    // A bare VALUES is no subquery to it.
    if draft.opens(index + 1) && draft.is(index + 2, "values") {
        let close = draft.partner(index + 1);
        draft.replace(index + 1, vec![Token::LParen, Token::LParen]);
        draft.replace(close, vec![Token::RParen, Token::RParen]);
    }
    // `x LIKE ANY (...)`, with or without NOT.
    if draft.opens(index + 1) && draft.one_of(before, &["like", "ilike"]) {
        draft.replace(before, vec![Token::Eq]);
        if let Some(not) = draft.previous(before).filter(|not| draft.is(*not, "not")) {
            draft.drop(not..not + 1);
        }
    }
}

/// `XMLPARSE(DOCUMENT x PRESERVE WHITESPACE)`, `XMLSERIALIZE(CONTENT x AS text)`: words and a type.
fn xml(draft: &mut Draft<'_>, index: usize) {
    let close = draft.partner(index + 1);
    // sqlparser has a grammar of its own for one of these names.
    draft.replace(index, vec![our_word("xml_function")]);
    if draft.one_of(index + 2, &["document", "content"]) {
        draft.drop(index + 2..index + 3);
    }
    if let Some(tail) = draft.find(index + 2..close, &["as"]) {
        if draft.holds_no_query(tail..close) {
            draft.drop(tail..close);
        }
    } else if draft.is(close - 1, "whitespace") && close >= index + 5 {
        draft.drop(close - 2..close);
    }
}

/// `PASSING [BY REF] x [BY REF]`: a comma.
fn passing(draft: &mut Draft<'_>, index: usize) {
    draft.replace(index, vec![Token::Comma]);
    let mut at = index + 1;
    while at < draft.end() && draft.kind(at) != Some(TokenKind::RightParenthesis) {
        if draft.is(at, "by") && draft.one_of(at + 1, &["ref", "value"]) {
            draft.drop(at..at + 2);
        }
        if draft.is(at, "as") && draft.is_name(at + 1) {
            draft.drop(at..at + 2);
        }
        if draft.is(at, "columns") {
            break;
        }
        at = draft.skip(at);
    }
}

/// `VERSION x`, `VERSION NO VALUE`, `STANDALONE YES`.
fn xmlroot(draft: &mut Draft<'_>, start: usize, end: usize) {
    let mut at = start;
    while at < end {
        if draft.is(at, "version") && !draft.is(at + 1, "no") {
            draft.drop(at..at + 1);
        } else if draft.one_of(at, &["version", "standalone"]) {
            let mut last = at + 1;
            while last < end && draft.kind(last) == Some(TokenKind::Word) {
                last += 1;
            }
            draft.replace(at, vec![our_word("NULL")]);
            draft.drop(at + 1..last);
        }
        at = draft.skip(at);
    }
}

/// The columns of XMLTABLE and JSON_TABLE: names, types, paths. Defaults may hold queries: then
/// they stay, and the statement is not understood.
fn columns(draft: &mut Draft<'_>, index: usize) {
    let mut end = index + 1;
    while end < draft.end() && draft.kind(end) != Some(TokenKind::RightParenthesis) {
        end = draft.skip(end);
    }
    if end < draft.end() && draft.holds_no_query(index..end) {
        let open = draft.partner(end);
        let call = draft
            .previous(open)
            .map(|name| draft.word(name))
            .unwrap_or_default();
        if call == "xmltable" || call == "json_table" {
            draft.drop(index..end);
        }
    }
}

/// `()` as a grouping set; `f(DISTINCT ...)` and the like are no concern of ours.
pub(super) fn parenthesis(draft: &mut Draft<'_>, index: usize) {
    let empty = draft.kind(index + 1) == Some(TokenKind::RightParenthesis);
    let grouping = draft.follows(index, &["by"])
        || matches!(
            draft.previous_kind(index),
            Some(TokenKind::Comma | TokenKind::LeftParenthesis)
        );
    if empty && grouping {
        draft.replace(index, vec![Token::LParen, our_word("NULL")]);
    }
    // `((SELECT 1) UNION SELECT 2)`, `((SELECT 1) ORDER BY 1)`: sqlparser takes the first for the whole. As a table in
    // FROM it does not.
    if draft.opens(index + 1) && goes_on(draft, draft.skip(index + 1)) && holds_query(draft, index)
    {
        let select = [our_word("SELECT"), Token::Mul, our_word("FROM")];
        draft.replace(index, [vec![Token::LParen], select.to_vec()].concat());
    }
    // XMLNAMESPACES('x' AS y): constants and names.
    if draft.follows(index, &["xmlnamespaces", "xmlattributes", "xmlforest"]) {
        labels(draft, index);
    }
}

/// What follows a query in brackets if it is a part of a query.
pub(super) fn goes_on(draft: &Draft<'_>, index: usize) -> bool {
    let words = [
        "union",
        "intersect",
        "except",
        "order",
        "limit",
        "offset",
        "fetch",
    ];
    draft.one_of(index, &words)
}

/// True if this bracket is one around a query, not that of a function's arguments, and a query begins in it.
fn holds_query(draft: &Draft<'_>, index: usize) -> bool {
    let mut first = index;
    while draft.opens(first) {
        first += 1;
    }
    let called = match draft.previous(index) {
        Some(before) if draft.is_name(before) => {
            let word = draft.word(before);
            draft.is_label(before)
                || !(crate::keyword::expects_operand(&word)
                    || matches!(
                        crate::keyword::category(&word),
                        Some(crate::keyword::Category::Reserved)
                    )
                    || ["exists", "join"].contains(&word.as_str()))
        }
        _ => false,
    };
    !called && draft.one_of(first, &["select", "with", "values", "table"])
}

/// `expression AS name` in an argument list.
fn labels(draft: &mut Draft<'_>, open: usize) {
    let close = draft.partner(open);
    let mut at = open + 1;
    while at < close {
        if draft.is(at, "as") && draft.is_name(at + 1) {
            draft.drop(at..at + 2);
        }
        if draft.is(at, "default") {
            draft.drop(at..at + 1);
        }
        at = draft.skip(at);
    }
}

/// `(x).*`, `(x).f.*`, `a[1].*`: the whole row as it is.
pub(super) fn dot(draft: &mut Draft<'_>, index: usize) {
    let behind_value = matches!(
        draft.previous_kind(index),
        Some(TokenKind::RightParenthesis | TokenKind::RightBracket | TokenKind::Parameter)
    );
    // `t.*` is a value where something other than the end of a list's item follows.
    let value = draft.is_operator(index + 1, "*")
        && match draft.kind(index + 2) {
            Some(TokenKind::Typecast | TokenKind::Operator) => true,
            Some(TokenKind::Word) => !draft.one_of(index + 2, &["from", "as", "into"]),
            _ => false,
        };
    if !behind_value && !value {
        return;
    }
    let mut end = index;
    while draft.kind(end) == Some(TokenKind::Dot) && draft.is_name(end + 1) {
        end += 2;
    }
    if draft.kind(end) == Some(TokenKind::Dot) && draft.is_operator(end + 1, "*") {
        end += 2;
    }
    draft.drop(index..end);
}
