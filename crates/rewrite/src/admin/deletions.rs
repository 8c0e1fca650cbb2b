//! SHOW DELETIONS and its filters.

use catalog::quote_literal;

use crate::Refusal;

use super::help;
use super::words::Words;

const TAIL: &[&str] = &["where", "order", "limit", "offset"];

/// `[PER TABLE] [FROM t] [SINCE a] [UNTIL b] [BY role] [WHERE p] [ORDER BY o] [LIMIT n]`.
pub(super) fn translate(words: &mut Words<'_, '_>) -> Result<String, Refusal> {
    let form = help::SHOW_DELETIONS;
    let per_table = words.eat("per");
    if per_table {
        words.want("table", form)?;
    }
    let mut table = None;
    let (mut since, mut until, mut role) = (None, None, None);
    loop {
        let stop = [&["from", "since", "until", "by"], TAIL].concat();
        if table.is_none() && words.eat("from") {
            table = Some(words.table(form)?);
        } else if since.is_none() && words.eat("since") {
            since = Some(words.time(&stop, form)?);
        } else if until.is_none() && words.eat("until") {
            until = Some(words.time(&stop, form)?);
        } else if role.is_none() && words.eat("by") {
            role = Some(words.role(form)?);
        } else {
            break;
        }
    }
    if !words.is_at_end() && !words.one_of(TAIL) {
        return Err(words.unexpected(form));
    }
    let rest = words.rest();
    let space = if rest.is_empty() { "" } else { " " };
    let is_plain = table.is_none() && since.is_none() && until.is_none() && role.is_none();
    if is_plain && !per_table {
        return Ok(format!(
            "SELECT * FROM reprieve.show_deletions{space}{rest}"
        ));
    }
    let or_null = |value: Option<String>| value.unwrap_or_else(|| "NULL".to_owned());
    let (schema, name) = match table {
        Some(table) => (
            table.schema.map(|schema| quote_literal(&schema)),
            Some(quote_literal(&table.name)),
        ),
        None => (None, None),
    };
    Ok(format!(
        "SELECT * FROM reprieve.{}({}, {}, {}, {}, {}) AS show_deletions{space}{rest}",
        if per_table {
            "deletions_per_table_v1"
        } else {
            "show_deletions_v1"
        },
        or_null(since),
        or_null(until),
        or_null(role),
        or_null(schema),
        or_null(name),
    ))
}
