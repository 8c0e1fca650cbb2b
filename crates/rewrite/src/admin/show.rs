//! Rows of ours as a query that returns them.

use catalog::{quote_identifier, quote_literal};

/// A query that returns `rows` under these column names, all text. Every row must be as long as
/// `columns`; `name` is the alias.
pub fn rows_as_sql(name: &str, columns: &[String], rows: &[Vec<Option<String>>]) -> String {
    let names = |prefix: &str| {
        let quoted = columns
            .iter()
            .map(|column| format!("{prefix}{}", quote_identifier(column)));
        quoted.collect::<Vec<_>>().join(", ")
    };
    if rows.is_empty() {
        return format!("SELECT {} WHERE false", names("NULL::pg_catalog.text AS "));
    }
    let values = rows.iter().map(|row| {
        let cells = row.iter().map(|cell| match cell {
            Some(text) => format!("{}::pg_catalog.text", quote_literal(text)),
            None => "NULL::pg_catalog.text".to_owned(),
        });
        format!("({})", cells.collect::<Vec<_>>().join(", "))
    });
    format!(
        "SELECT * FROM (VALUES {}) AS {}({})",
        values.collect::<Vec<_>>().join(", "),
        quote_identifier(name),
        names("")
    )
}
