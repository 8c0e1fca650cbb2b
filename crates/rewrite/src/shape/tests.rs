use catalog::{Catalog, SearchPath};

use super::*;
use crate::{Scope, scan};

fn catalog() -> Catalog {
    Catalog::from_json(
        r#"{"server":150018,"tables":[{"oid":1,"schema":"public","name":"t","mode":"mark","marking":true,"kind":"r",
            "columns":[{"name":"id"},{"name":"deleted_at","hidden":true},{"name":"deletion_id","hidden":true}],
            "primary_key":["id"]}],"shadows":[]}"#,
    )
    .unwrap()
}

fn shape(text: &str) -> Option<Shape> {
    Shape::of(&scan(
        text.as_bytes(),
        &catalog(),
        true,
        ClientEncoding::Utf8,
    ))
}

fn key(text: &str) -> Vec<u8> {
    shape(text).unwrap().key().to_vec()
}

fn plan(text: &str) -> Plan {
    let catalog = catalog();
    let path = SearchPath {
        schemas: vec!["public".into()],
        ..SearchPath::default()
    };
    let scope = Scope {
        catalog: &catalog,
        search_path: &path,
        standard_conforming_strings: true,
        encoding: ClientEncoding::Utf8,
    };
    let scanned = scan(text.as_bytes(), &catalog, true, ClientEncoding::Utf8);
    scanned.plan(&scope).unwrap()
}

#[test]
fn literals_and_comments_are_no_part_of_it() {
    assert_eq!(
        key("SELECT * FROM t WHERE id = 1 /* a */"),
        key("SELECT * FROM t WHERE id = 12345 /* and so on */")
    );
    assert_eq!(
        key("/*x*/ SELECT 'a' FROM t; "),
        key("/* trace=17 */ SELECT 'it''s ; long' FROM t; ")
    );
}

#[test]
fn what_is_read_differently_is() {
    let texts = [
        "SELECT * FROM t WHERE id = 1",
        "SELECT * FROM t WHERE id = '1'",
        "SELECT * FROM t WHERE id = E'1'",
        "SELECT * FROM t WHERE id = $$1$$",
        "SELECT * FROM t WHERE id = $1 /**/",
        "SELECT * FROM t WHERE id =1",
        "SELECT * FROM t WHERE id = 1 ",
        "SELECT * FROM t WHERE id = 1;",
        "SELECT * FROM t WHERE id = 1/**/",
        "SELECT * FROM T WHERE id = 1",
    ];
    let keys: std::collections::HashSet<_> = texts.iter().map(|text| key(text)).collect();
    assert_eq!(keys.len(), texts.len());
}

#[test]
fn there_is_none_where_it_would_gain_nothing_or_be_unsafe() {
    for text in [
        "SELECT * FROM t WHERE id = $1",
        "SELECT 1",
        "SELECT 1 FROM t; SELECT 2 FROM t",
        "SELECT set_config('search_path', 'x', false), id FROM t",
        "SELECT 1 FROM t \u{1}",
        "PREPARE p AS SELECT 1 FROM t",
    ] {
        assert_eq!(shape(text), None, "{text}");
    }
    let long = format!("SELECT '{}' FROM t", "x".repeat(TEXT_BYTES_MAX));
    assert_eq!(shape(&long), None);
}

#[test]
fn a_plan_fits_texts_of_other_lengths() {
    let one = "DELETE /* 1 */ FROM t WHERE id = 7 AND 'ä' <> 'b' RETURNING *, 'ü'";
    let other = "DELETE /* number 2 */ FROM t WHERE id = 1234567 AND '' <> 'öö''' RETURNING *, 'u'";
    let template = Template::new(
        &plan(one),
        one.as_bytes(),
        &shape(one).unwrap(),
        ClientEncoding::Utf8,
    );
    let spared = template
        .unwrap()
        .plan(other.as_bytes(), &shape(other).unwrap());
    assert_eq!(spared, plan(other));
    let sent = String::from_utf8(spared.edits.apply(other.as_bytes())).unwrap();
    assert!(sent.contains("(E'DELETE /* number 2 */ FROM t WHERE id = 1234567 AND '''' <>"));
    assert_eq!(
        (
            spared.edits.original_position(1),
            spared.statements[0].reply
        ),
        (Some(1), Reply::Delete)
    );
}
