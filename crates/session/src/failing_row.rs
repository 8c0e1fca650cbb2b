//! What messages tell of a row that violates a constraint: "Failing row contains (1, null)." (ExecBuildSlotValueDescription
//! in PostgreSQL's execMain.c), without our columns; the line of COPY.

use catalog::{Catalog, Table};
use wire::backend::Fields;

const OPENING: &str = "Failing row contains (";
const CLOSING: &str = ").";
const BETWEEN: &str = ", ";
/// A row that fails is live: our columns hold nothing.
const NOTHING: &str = "null";

/// Takes the values of our columns out of the DETAIL of a violated constraint. English only: with another `lc_messages`
/// the server's words stay.
pub(crate) fn hide_columns(fields: &mut Fields<'_>, catalog: &Catalog) {
    if !matches!(fields.sqlstate(), b"23502" | b"23514") {
        return;
    }
    let detail = text(fields, b'D').zip(table(fields, catalog));
    if let Some(row) = detail.and_then(|(detail, table)| without_hidden(detail, table)) {
        fields.set(b'D', row.into_bytes());
    }
}

/// COPY inserts many rows at once where no trigger looks at each, and then the context names the line of a duplicate key
/// but does not quote it. Our triggers look at each.
pub(crate) fn forget_line(fields: &mut Fields<'_>, catalog: &Catalog) {
    if !matches!(fields.sqlstate(), b"23505" | b"23P01") {
        return;
    }
    let quoted = table(fields, catalog).and_then(|table| {
        let context = text(fields, b'W')?.strip_suffix('"')?;
        let copy = format!("COPY {}, line ", table.name);
        let (line, _) = context.strip_prefix(&copy)?.split_once(": \"")?;
        line.parse::<u64>().ok()?;
        Some(copy.len() + line.len())
    });
    if let Some((length, context)) = quoted.zip(fields.get(b'W').map(<[u8]>::to_vec)) {
        fields.set(b'W', context.get(..length).unwrap_or_default().to_vec());
    }
}

fn text<'a>(fields: &'a Fields<'_>, code: u8) -> Option<&'a str> {
    fields
        .get(code)
        .and_then(|text| std::str::from_utf8(text).ok())
}

/// The marked table that a message is about.
fn table<'a>(fields: &Fields<'_>, catalog: &'a Catalog) -> Option<&'a Table> {
    let (schema, name) = text(fields, b's').zip(text(fields, b't'))?;
    catalog
        .tables()
        .find(|table| table.schema == schema && table.name == name && table.is_veiled())
        .map(AsRef::as_ref)
}

/// `None` if it cannot be told which of the values are ours.
fn without_hidden(detail: &str, table: &Table) -> Option<String> {
    let row = detail.strip_prefix(OPENING)?.strip_suffix(CLOSING)?;
    // Who may not read the whole table gets the columns that he may read, with their names.
    if let Some((names, values)) = row.split_once(") = (") {
        let names = names.split(BETWEEN).collect::<Vec<_>>();
        let ours = |name: &&str| {
            let column = table.columns.iter().find(|column| column.name == **name);
            column.is_some_and(|column| column.hidden)
        };
        let first = names.iter().position(ours)?;
        let count = names.iter().filter(|name| ours(name)).count();
        let values = cut(values, first, count, names.len())?;
        let names = [&names[..first], &names[first + count..]].concat();
        return Some(format!(
            "{OPENING}{}) = ({values}{CLOSING}",
            names.join(BETWEEN)
        ));
    }
    let first = table.columns.iter().position(|column| column.hidden)?;
    let count = table.columns.iter().filter(|column| column.hidden).count();
    let values = cut(row, first, count, table.columns.len())?;
    Some(format!("{OPENING}{values}{CLOSING}"))
}

/// The values without `count` of them from `first` on, of `total`. Values are not quoted and may contain what stands
/// between them.
fn cut(values: &str, first: usize, count: usize, total: usize) -> Option<String> {
    let parts = values.split(BETWEEN).collect::<Vec<_>>();
    let after = total - first - count;
    let surplus = parts.len().checked_sub(total)?;
    let is_ours = |at: &usize| parts[*at..*at + count].iter().all(|part| *part == NOTHING);
    let mut places = (first..=first + surplus)
        // Nothing of the surplus can be on a side that has no columns.
        .filter(|at| first > 0 || *at == 0)
        .filter(|at| after > 0 || *at + count == parts.len())
        .filter(is_ours);
    let place = places.next()?;
    // Of one run of nulls any will do.
    let one_run = |other: usize| parts[place..other].iter().all(|part| *part == NOTHING);
    places.all(one_run).then(|| {
        [&parts[..place], &parts[place + count..]]
            .concat()
            .join(BETWEEN)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn catalog(columns: &str) -> Catalog {
        let columns = columns.split(' ').map(|name| {
            let hidden = name.starts_with("del");
            format!(r#"{{"name":"{name}","hidden":{hidden},"generated":false}}"#)
        });
        let document = format!(
            r#"{{"server":150018,"shadows":[],"tables":[{{"oid":1,"schema":"s","name":"t","mode":"mark","marking":true,
               "kind":"r","inherits":false,"primary_key":["a"],"columns":[{}]}}]}}"#,
            columns.collect::<Vec<_>>().join(",")
        );
        Catalog::from_json(&document).unwrap()
    }

    fn marked(columns: &str) -> Table {
        let catalog = catalog(columns);
        Table::clone(catalog.tables().next().unwrap())
    }

    #[track_caller]
    fn check(columns: &str, row: &str, expected: Option<&str>) {
        let detail = format!("Failing row contains ({row}).");
        let expected = expected.map(|row| format!("Failing row contains ({row})."));
        assert_eq!(without_hidden(&detail, &marked(columns)), expected);
    }

    #[test]
    fn our_columns_are_taken_out_wherever_they_stand() {
        let last = "a b deleted_at deletion_id";
        check(last, "1, null, null, null", Some("1, null"));
        check(last, "1, x, y, null, null, null", Some("1, x, y, null"));
        let middle = "a deleted_at deletion_id b";
        check(middle, "1, null, null, 7", Some("1, 7"));
        check(middle, "1, 2, null, null, 7", Some("1, 2, 7"));
        check(middle, "1, null, null, null, 7", Some("1, null, 7"));
        check(
            "deleted_at deletion_id a",
            "null, null, x, null, null",
            Some("x, null, null"),
        );
    }

    #[test]
    fn what_could_be_somebody_elses_stays() {
        let middle = "a deleted_at deletion_id b";
        check(middle, "1, null, null, x, null, null, 7", None);
        check(middle, "1, 2", None);
        check("a b deleted_at deletion_id", "1, 2, 3, 4", None);
    }

    #[test]
    fn names_go_with_their_values() {
        check(
            "a b deleted_at deletion_id",
            "b, deleted_at, deletion_id) = (2, null, null",
            Some("b) = (2"),
        );
    }

    #[test]
    fn a_duplicate_key_in_copy_does_not_quote_the_line() {
        let catalog = catalog("a deleted_at deletion_id");
        for (state, context, expected) in [
            ("23505", "COPY t, line 12: \"7\tx\"", "COPY t, line 12"),
            ("23505", "COPY t, line 12", "COPY t, line 12"),
            ("23505", "COPY u, line 12: \"7\"", "COPY u, line 12: \"7\""),
            ("23514", "COPY t, line 12: \"7\"", "COPY t, line 12: \"7\""),
        ] {
            let mut fields = Fields {
                fields: [(b'C', state), (b's', "s"), (b't', "t"), (b'W', context)]
                    .map(|(code, text)| (code, text.as_bytes().into()))
                    .to_vec(),
            };
            forget_line(&mut fields, &catalog);
            assert_eq!(text(&fields, b'W'), Some(expected), "{state} {context}");
        }
    }
}
