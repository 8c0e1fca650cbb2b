//! The keeper's types for rows of marked tables, and what the client reads in their place: the tables' own types, by number
//! in descriptions of results and parameters, by name in messages.

use std::borrow::Cow;

use bytes::{BufMut, BytesMut};
use catalog::{Catalog, SearchPath, Table};
use rewrite::printed_identifier;
use wire::backend::Fields;
use wire::{HEADER_BYTES, Malformed, Reader, build};

/// Object identifiers below are the system's own (`FirstNormalObjectId`).
const FIRST_NORMAL_OID: u32 = 16384;

/// How the server prints the name of one of our types, up to the table's number.
const PRINTED: &str = "reprieve.row_";

/// A RowDescription or ParameterDescription with the types that the client knows; `None` if it has them already. A column
/// that is named after its type (`SELECT NULL::t`) gets that name back, too.
///
/// # Errors
/// The frame is none of the two.
pub(crate) fn shown(frame: &[u8], catalog: &Catalog) -> Result<Option<BytesMut>, Malformed> {
    let is_rows = frame.first() == Some(&b'T');
    let mut reader = Reader::new(frame.get(HEADER_BYTES..).unwrap_or_default());
    let count = reader.i16()?;
    let mut changed = false;
    let mut body = BytesMut::with_capacity(frame.len());
    body.put_i16(count);
    for _ in 0..count as u16 {
        let name = if is_rows { reader.cstr()? } else { &[] };
        // The table and its column.
        let origin = reader.bytes(if is_rows { 6 } else { 0 })?;
        let oid = reader.i32()? as u32;
        // Length, modifier, format.
        let rest = reader.bytes(if is_rows { 8 } else { 0 })?;
        let known = is_normal(oid).and_then(|oid| catalog.row_type_shown(oid));
        changed |= known.is_some();
        if is_rows {
            let named_after = known.and_then(|_| table_of_type(name, catalog));
            body.put_slice(named_after.map_or(name, |table| table.name.as_bytes()));
            body.put_u8(0);
        }
        body.put_slice(origin);
        body.put_u32(known.unwrap_or(oid));
        body.put_slice(rest);
    }
    reader.finish()?;
    let mut shown = BytesMut::new();
    let built = build::frame(&mut shown, frame[0], |to| to.put_slice(&body));
    Ok((changed && built.is_ok()).then_some(shown))
}

fn table_of_type<'c>(name: &[u8], catalog: &'c Catalog) -> Option<&'c Table> {
    let is_named = |table: &&std::sync::Arc<Table>| {
        let kind = table.row_type.as_ref();
        kind.is_some_and(|kind| kind.name.as_bytes() == name)
    };
    catalog.tables().find(is_named).map(AsRef::as_ref)
}

/// The count and types of parameters as a client declares them, with our types for those of marked tables; `None` if there
/// are none of these.
pub(crate) fn meant(types: &[u8], catalog: &Catalog) -> Option<Vec<u8>> {
    let mut changed: Option<Vec<u8>> = None;
    for (index, oid) in types.get(2..)?.chunks_exact(4).enumerate() {
        let oid = u32::from_be_bytes(oid.try_into().ok()?);
        if let Some(ours) = is_normal(oid).and_then(|oid| catalog.row_type_meant(oid)) {
            let at = 2 + index * 4;
            let copy = changed.get_or_insert_with(|| types.to_vec());
            copy[at..at + 4].copy_from_slice(&ours.to_be_bytes());
        }
    }
    changed
}

fn is_normal(oid: u32) -> Option<u32> {
    (oid >= FIRST_NORMAL_OID).then_some(oid)
}

/// Puts the names of tables in the place of those of our types, and leaves our types out of lists of what depends on a
/// dropped object (`reportDependentObjects` in PostgreSQL's dependency.c). English only.
pub(crate) fn name_tables(fields: &mut Fields<'_>, catalog: &Catalog, path: Option<&SearchPath>) {
    drop_dependents(fields);
    for code in [b'M', b'D', b'H', b'W', b'd'] {
        let Some(text) = fields
            .get(code)
            .and_then(|text| std::str::from_utf8(text).ok())
        else {
            continue;
        };
        if let Cow::Owned(text) = with_tables(text, catalog, path) {
            fields.set(code, text.into_bytes());
        }
    }
}

fn drop_dependents(fields: &mut Fields<'_>) {
    let is_ours = |line: &&str| line.contains("composite type reprieve.row_");
    let Some(detail) = fields
        .get(b'D')
        .and_then(|text| std::str::from_utf8(text).ok())
    else {
        return;
    };
    let kept: Vec<&str> = detail.lines().filter(|line| !is_ours(line)).collect();
    let dropped = detail.lines().filter(is_ours).count();
    if dropped == 0 || kept.is_empty() {
        return;
    }
    let message = fields
        .get(b'M')
        .and_then(|text| std::str::from_utf8(text).ok());
    let count = message
        .and_then(|text| {
            text.strip_prefix("drop cascades to ")?
                .split_once(" other object")
        })
        .and_then(|(count, _)| count.parse::<usize>().ok());
    let kept_detail = kept.join("\n");
    match count.map(|count| count.saturating_sub(dropped)) {
        Some(1) => {
            fields.remove(b'D');
            fields.set(b'M', kept_detail.into_bytes());
        }
        Some(count) => {
            let message = format!("drop cascades to {count} other objects");
            fields.set(b'D', kept_detail.into_bytes());
            fields.set(b'M', message.into_bytes());
        }
        None => fields.set(b'D', kept_detail.into_bytes()),
    }
}

fn with_tables<'t>(text: &'t str, catalog: &Catalog, path: Option<&SearchPath>) -> Cow<'t, str> {
    if !text.contains(PRINTED) {
        return Cow::Borrowed(text);
    }
    let mut result = String::new();
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once(PRINTED) {
        let digits = behind.bytes().take_while(u8::is_ascii_digit).count();
        let oid = behind[..digits].parse::<u32>().ok();
        let table = catalog.tables().find(|table| Some(table.oid) == oid);
        result.push_str(before);
        match table {
            Some(table) => result.push_str(&printed(table, catalog, path)),
            None => result.extend([PRINTED, &behind[..digits]]),
        }
        rest = &behind[digits..];
    }
    result.push_str(rest);
    Cow::Owned(result)
}

/// As `format_type_be` prints the table's row type: qualified where its name alone means something else.
fn printed(table: &Table, catalog: &Catalog, path: Option<&SearchPath>) -> String {
    let name = printed_identifier(&table.name);
    let means = path.and_then(|path| catalog.resolve_type(None, &table.name, path));
    match means.is_some_and(|means| means.oid == table.oid) {
        true => name,
        false => format!("{}.{name}", printed_identifier(&table.schema)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn catalog() -> Catalog {
        Catalog::from_json(
            r#"{"server":150018,
                "tables":[{"oid":20000,"schema":"public","name":"t","mode":"mark","marking":true,"kind":"r",
                  "columns":[{"name":"id"}],"primary_key":["id"],
                  "row_type":{"name":"row_20000","oid":20011,"array":20012,"of":20002,"of_array":20003}}],
                "shadows":[]}"#,
        )
        .unwrap()
    }

    fn column(name: &str, oid: u32) -> Vec<u8> {
        let mut bytes = name.as_bytes().to_vec();
        bytes.extend([0; 7]);
        bytes.extend(oid.to_be_bytes());
        bytes.extend([0; 8]);
        bytes
    }

    fn description(columns: &[Vec<u8>]) -> Vec<u8> {
        let mut frame = BytesMut::new();
        build::frame(&mut frame, b'T', |body| {
            body.put_u16(columns.len() as u16);
            body.put_slice(&columns.concat());
        })
        .unwrap();
        frame.to_vec()
    }

    #[test]
    fn results_are_described_by_the_types_the_client_knows() {
        let theirs = description(&[
            column("n", 23),
            column("row_20000", 20011),
            column("ts", 20012),
        ]);
        let shown = shown(&theirs, &catalog()).unwrap().unwrap();
        let expected = description(&[column("n", 23), column("t", 20002), column("ts", 20003)]);
        assert_eq!(shown.as_ref(), expected);
        assert!(super::shown(&expected, &catalog()).unwrap().is_none());
        assert!(super::shown(&theirs[..20], &catalog()).is_err());
    }

    #[test]
    fn parameters_of_a_row_type_mean_ours() {
        let types = |oids: &[u32]| {
            let mut bytes = vec![0, oids.len() as u8];
            bytes.extend(oids.iter().flat_map(|oid| oid.to_be_bytes()));
            bytes
        };
        let catalog = catalog();
        assert_eq!(
            meant(&types(&[23, 20002]), &catalog),
            Some(types(&[23, 20011]))
        );
        assert_eq!(meant(&types(&[23]), &catalog), None);
        assert_eq!(meant(&[], &catalog), None);
    }

    #[test]
    fn messages_name_the_table() {
        let path = |schema: &str| SearchPath {
            schemas: vec![schema.into()],
            ..SearchPath::default()
        };
        let message = "cannot cast type integer to reprieve.row_20000[]";
        let text = |schema| with_tables(message, &catalog(), Some(&path(schema))).into_owned();
        assert_eq!(text("public"), "cannot cast type integer to t[]");
        assert_eq!(text("x"), "cannot cast type integer to public.t[]");
        assert_eq!(
            with_tables("reprieve.row_7", &catalog(), None),
            "reprieve.row_7"
        );
    }

    #[test]
    fn our_types_depend_on_nothing() {
        let mut fields = Fields {
            fields: vec![
                (b'M', b"drop cascades to 2 other objects".into()),
                (
                    b'D',
                    b"drop cascades to column c of table t\n\
                      drop cascades to column c of composite type reprieve.row_20000"
                        .into(),
                ),
            ],
        };
        name_tables(&mut fields, &catalog(), None);
        assert_eq!(
            fields.get(b'M').unwrap(),
            b"drop cascades to column c of table t"
        );
        assert_eq!(fields.get(b'D'), None);
    }
}
