//! "Failing row contains (1, null)." (ExecBuildSlotValueDescription in PostgreSQL's execMain.c), without our columns.

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
    let text = |code| {
        fields
            .get(code)
            .and_then(|text| std::str::from_utf8(text).ok())
    };
    let (Some(schema), Some(name), Some(detail)) = (text(b's'), text(b't'), text(b'D')) else {
        return;
    };
    let table = catalog
        .tables()
        .find(|table| table.schema == schema && table.name == name && table.is_veiled());
    if let Some(row) = table.and_then(|table| without_hidden(detail, table)) {
        fields.set(b'D', row.into_bytes());
    }
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

    fn table(columns: &str) -> Table {
        let columns = columns.split(' ').map(|name| {
            let hidden = name.starts_with("del");
            format!(r#"{{"name":"{name}","hidden":{hidden},"generated":false}}"#)
        });
        let document = format!(
            r#"{{"server":150018,"shadows":[],"tables":[{{"oid":1,"schema":"s","name":"t","mode":"mark","marking":true,
               "kind":"r","inherits":false,"primary_key":["a"],"columns":[{}]}}]}}"#,
            columns.collect::<Vec<_>>().join(",")
        );
        let catalog = Catalog::from_json(&document).unwrap();
        let table = catalog.tables().next().unwrap();
        Table::clone(table)
    }

    #[track_caller]
    fn check(columns: &str, row: &str, expected: Option<&str>) {
        let detail = format!("Failing row contains ({row}).");
        let expected = expected.map(|row| format!("Failing row contains ({row})."));
        assert_eq!(without_hidden(&detail, &table(columns)), expected);
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
}
