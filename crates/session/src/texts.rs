//! Functions of the server that run SQL which is given to them as text, or read a table by its name: `query_to_xml()` and the like. What
//! they read is not rewritten.

use std::ops::Range;

use catalog::Catalog;
use rewrite::{Statement, TokenRanges, token_ranges};

use crate::betrayals::find;

/// Of the first argument all depends; the others read all tables of a schema or of the database.
const BY_TEXT: [&str; 5] = [
    "query_to_xml",
    "table_to_xml",
    "cursor_to_xml",
    "ts_stat",
    "crosstab",
];
const BY_SCHEMA: [&str; 2] = ["schema_to_xml", "database_to_xml"];
/// Any of their strings may be a query or a table's name.
const BY_STRINGS: [&str; 3] = ["ts_rewrite", "xpath_table", "connectby"];

/// A call that may read a marked table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Call {
    pub name: String,
    /// Byte of the text at which the name stands.
    pub offset: usize,
}

/// True if a text may call one of them. Cheap: most texts do not.
pub(crate) fn may_call(text: &[u8]) -> bool {
    let is_there = |word: &str| {
        let (first, rest) = word.split_at(1);
        let lower = first.as_bytes()[0];
        text.iter().enumerate().any(|(at, byte)| {
            byte.eq_ignore_ascii_case(&lower)
                && text
                    .get(at + 1..at + 1 + rest.len())
                    .is_some_and(|there| there.eq_ignore_ascii_case(rest.as_bytes()))
        })
    };
    [
        "_to_xml",
        "ts_stat",
        "ts_rewrite",
        "xpath_table",
        "crosstab",
        "connectby",
    ]
    .iter()
    .any(|word| is_there(word))
}

/// The first such call of which it is not sure that it reads no marked table.
pub(crate) fn reads_unseen(
    text: &[u8],
    statements: &[Statement],
    standard_conforming_strings: bool,
    catalog: &Catalog,
) -> Option<Call> {
    let names: Vec<String> = catalog
        .tables()
        .filter(|table| table.is_veiled())
        .map(|table| table.name.to_lowercase())
        .collect();
    let tells = |token: &Range<usize>| {
        let string = String::from_utf8_lossy(&text[token.clone()]).to_lowercase();
        names
            .iter()
            .any(|name| find(string.as_bytes(), name.as_bytes()).is_some())
    };
    statements.iter().find_map(|statement| {
        let mut tokens =
            token_ranges(text, statement.range.clone(), standard_conforming_strings).peekable();
        while let Some(token) = tokens.next() {
            let word = String::from_utf8_lossy(&text[token.clone()]).to_lowercase();
            let name = word.trim_matches('"');
            let is_one = |of: &[&str]| {
                of.iter().any(|known| {
                    let rest = name.strip_prefix(known);
                    rest.is_some_and(|rest| {
                        rest.is_empty()
                            || rest.starts_with("schema")
                            || rest.starts_with("_and_xmlschema")
                            || rest.bytes().all(|byte| byte.is_ascii_digit())
                    })
                })
            };
            let is_schema = is_one(&BY_SCHEMA);
            let is_text = is_one(&BY_TEXT);
            let opens = tokens.peek().map(|next| &text[next.clone()]) == Some(b"(");
            if !opens || !(is_schema || is_text || is_one(&BY_STRINGS)) {
                continue;
            }
            let call = || Call {
                name: name.to_owned(),
                offset: token.start,
            };
            let (first, strings) = arguments(text, tokens.clone());
            let is_known = first.is_some_and(|first| is_string(&text[first]));
            // A cursor's own query is a statement of the client's.
            let is_cursor = name.starts_with("cursor");
            if is_schema
                || (is_text && !is_known && !is_cursor)
                || (!is_cursor && strings.iter().any(tells))
            {
                return Some(call());
            }
        }
        None
    })
}

fn is_string(token: &[u8]) -> bool {
    matches!(token.first(), Some(b'\'' | b'$')) || matches!(token, [b'e' | b'E', b'\'', ..])
}

/// The first token behind the bracket, and all strings up to its end.
fn arguments(
    text: &[u8],
    mut tokens: std::iter::Peekable<TokenRanges<'_>>,
) -> (Option<Range<usize>>, Vec<Range<usize>>) {
    tokens.next();
    let first = tokens.peek().cloned();
    let mut depth = 1usize;
    let mut strings = Vec::new();
    for token in tokens {
        match &text[token.clone()] {
            b"(" => depth += 1,
            b")" => depth -= 1,
            string if is_string(string) => strings.push(token),
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    (first, strings)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Option<String> {
        let document = r#"{"server":150018,"tables":[{"oid":1,"schema":"public","name":"Orders","mode":"mark","marking":true,"kind":"r",
            "columns":[{"name":"id"},{"name":"deleted_at","hidden":true},{"name":"deletion_id","hidden":true}],"primary_key":["id"]}],"shadows":[]}"#;
        let catalog = Catalog::from_json(document).expect("a catalog");
        let encoding = rewrite::ClientEncoding::Utf8;
        let scanned = rewrite::scan(text.as_bytes(), &catalog, true, encoding);
        let call = may_call(text.as_bytes())
            .then(|| reads_unseen(text.as_bytes(), scanned.statements(), true, &catalog))?;
        call.map(|call| call.name)
    }

    #[test]
    fn what_may_read_a_marked_table_is_found() {
        for (text, name) in [
            (
                "SELECT query_to_xml('SELECT * FROM orders', true, true, '')",
                "query_to_xml",
            ),
            (
                "SELECT Query_To_XML(format('select count(*) from %I', t), false, true, '') FROM x",
                "query_to_xml",
            ),
            (
                "SELECT pg_catalog.\"table_to_xml\"('\"Orders\"', true, false, '')",
                "table_to_xml",
            ),
            (
                "SELECT table_to_xmlschema('orders'::regclass, true, false, '')",
                "table_to_xmlschema",
            ),
            (
                "SELECT table_to_xml_and_xmlschema(16384, true, false, '')",
                "table_to_xml_and_xmlschema",
            ),
            (
                "SELECT schema_to_xml('other', true, false, '')",
                "schema_to_xml",
            ),
            (
                "SELECT 1; SELECT database_to_xml(true, false, '')",
                "database_to_xml",
            ),
            (
                "SELECT * FROM ts_stat('SELECT to_tsvector(a) FROM orders')",
                "ts_stat",
            ),
            (
                "SELECT ts_rewrite('a'::tsquery, 'SELECT q, s FROM ORDERS')",
                "ts_rewrite",
            ),
            (
                "SELECT * FROM crosstab3($$SELECT a FROM orders$$) AS t (a int)",
                "crosstab3",
            ),
        ] {
            assert_eq!(found(text).as_deref(), Some(name), "{text}");
        }
        for text in [
            "SELECT query_to_xml('SELECT 1', true, true, '')",
            "SELECT ts_rewrite('a'::tsquery, q, s) FROM x",
            "SELECT * FROM ts_stat('SELECT a FROM other')",
            "SELECT cursor_to_xml('orders', 10, true, false, '')",
            "SELECT 'query_to_xml(1)'",
            "SELECT query_to_xml FROM x",
        ] {
            assert_eq!(found(text), None, "{text}");
        }
    }
}
