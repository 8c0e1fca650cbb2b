use super::*;

fn catalog() -> Catalog {
    Catalog::from_json(
        r#"{"server":150018,"tables":[
            {"oid":1,"schema":"public","name":"orders","mode":"mark","marking":true,"kind":"r",
             "columns":[{"name":"id"},{"name":"deleted_at","hidden":true}]},
            {"oid":2,"schema":"public","name":"bin","mode":"bin","kind":"r",
             "columns":[{"name":"id"}]}],
            "shadows":[]}"#,
    )
    .unwrap()
}

fn concerns(text: &str) -> bool {
    scan(text.as_bytes(), &catalog(), true, ClientEncoding::Utf8).concerns_us()
}

fn effects(text: &str) -> Vec<Effect> {
    let catalog = Catalog::empty();
    let scanned = scan(text.as_bytes(), &catalog, true, ClientEncoding::Utf8);
    scanned
        .statements()
        .iter()
        .map(|statement| statement.effect.clone())
        .collect()
}

fn statements(text: &str) -> Vec<&str> {
    let catalog = Catalog::empty();
    let scanned = scan(text.as_bytes(), &catalog, true, ClientEncoding::Utf8);
    scanned
        .statements()
        .iter()
        .map(|statement| &text[statement.range.clone()])
        .collect()
}

#[test]
fn every_spelling_of_a_marked_table_concerns_us() {
    for name in [
        "orders",
        "ORDERS",
        "\"orders\"",
        "U&\"\\006frders\"",
        "public.Orders",
        "U&\"!006frders\" UESCAPE '!'",
    ] {
        assert!(concerns(&format!("SELECT 1 FROM {name}")), "{name}");
    }
    for text in [
        "SELECT 'orders'",
        "SELECT 1 -- orders",
        "SELECT \"Orders\" FROM x",
        "DELETE FROM bin",
        "SELECT $$orders$$",
    ] {
        assert!(!concerns(text), "{text}");
    }
}

#[test]
fn statements_end_where_postgres_ends_them() {
    assert_eq!(
        statements(" ;; SELECT 1 ; -- x\n SELECT ';' ;"),
        ["SELECT 1", "SELECT ';'"]
    );
    assert_eq!(
        statements("CREATE RULE r AS ON DELETE TO t DO (SELECT 1; SELECT 2); SELECT 3"),
        [
            "CREATE RULE r AS ON DELETE TO t DO (SELECT 1; SELECT 2)",
            "SELECT 3"
        ]
    );
    assert_eq!(
        statements(
            "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT CASE WHEN 1=1 THEN 1 END; \
             SELECT 2 AS end; END; SELECT 3"
        )
        .len(),
        2
    );
    assert_eq!(statements("BEGIN; SELECT 1; END; SELECT 2").len(), 4);
}

#[test]
fn first_words_tell_the_effect() {
    use Effect::{Begin, Ddl, End, None, RollbackTo, Settings};
    assert_eq!(
        effects("BEGIN; START TRANSACTION; COMMIT; END; ABORT; PREPARE TRANSACTION 'x'"),
        [Begin, Begin, End, End, End, End]
    );
    assert_eq!(
        effects("ROLLBACK; ROLLBACK TO s; ROLLBACK WORK TO SAVEPOINT s; ROLLBACK PREPARED 'x'"),
        [End, RollbackTo, RollbackTo, Ddl]
    );
    assert_eq!(
        effects(
            "SET search_path TO x; SET LOCAL ROLE y; RESET ALL; SET statement_timeout = 1; SET CONSTRAINTS ALL DEFERRED"
        ),
        [Settings, Settings, Settings, None, None]
    );
    assert_eq!(
        effects(
            "SELECT set_config('search_path','x',false); SELECT * INTO x FROM y; INSERT INTO x SELECT 1"
        ),
        [Settings, Ddl, None]
    );
    assert_eq!(
        effects(
            "PREPARE \"P 1\" AS SELECT 1; EXECUTE p; DEALLOCATE PREPARE ALL; DEALLOCATE u&\"\\0061\""
        ),
        [
            Effect::Prepare {
                name: "P 1".into(),
                reply: Reply::AsIs
            },
            Effect::Execute { name: "p".into() },
            Effect::Deallocate { name: Option::None },
            Effect::Deallocate {
                name: Some("a".into())
            },
        ]
    );
    assert_eq!(
        effects(
            "EXPLAIN ANALYZE CREATE TABLE x AS SELECT 1; EXPLAIN SELECT 1; DO $$x$$; CREATE INDEX ON t(a)"
        ),
        [Ddl, None, Ddl, Ddl]
    );
}

#[test]
fn utility_statements_that_touch_no_rows_pass() {
    for text in [
        "ALTER TABLE orders ADD COLUMN x int",
        "CREATE INDEX i ON orders (id)",
        "GRANT SELECT ON orders TO x",
        "TRUNCATE orders",
        "LOCK TABLE orders",
        "CREATE TABLE x (LIKE orders)",
        "CREATE FUNCTION f(orders) RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "LISTEN orders",
        "COMMENT ON TABLE orders IS 'x'",
    ] {
        assert!(!concerns(text), "{text}");
    }
    for text in [
        "CREATE TABLE x AS TABLE orders",
        "CREATE VIEW v AS SELECT 1 FROM orders",
        "CREATE FUNCTION f() RETURNS bigint RETURN (SELECT count(*) FROM orders)",
        "CREATE POLICY p ON x USING (EXISTS (SELECT 1 FROM orders))",
        "CREATE RULE r AS ON DELETE TO orders DO NOTHING",
        "EXPLAIN DELETE FROM orders",
        "COPY orders TO STDOUT",
        "PREPARE p AS DELETE FROM orders",
        "WHATEVER orders",
    ] {
        assert!(concerns(text), "{text}");
    }
}

#[test]
fn text_that_the_server_cannot_read_goes_there() {
    assert!(!concerns("DELETE FROM orders WHERE x = 'a"));
    assert!(!concerns("DELETE FROM orders; SELECT \"\""));
}

#[test]
fn an_encoding_with_ambiguous_bytes_is_never_guessed() {
    let scan = |text: &[u8]| scan(text, &catalog(), true, ClientEncoding::Unsafe).concerns_us();
    assert!(scan(b"DELETE FROM orders"));
    assert!(scan(b"SELECT E'\x83\\', x FROM orders"));
    assert!(scan(b"SELECT '\x83\\', x FROM U&\"\\006frders\""));
    assert!(!scan(b"SELECT '\x83\\', x FROM customers"));
}

#[test]
fn a_statement_behind_one_that_changes_names_is_refused() {
    let path = catalog::SearchPath {
        schemas: vec!["public".into()],
        ..Default::default()
    };
    let catalog = catalog();
    let scope = Scope {
        catalog: &catalog,
        search_path: &path,
        standard_conforming_strings: true,
        encoding: ClientEncoding::Utf8,
    };
    let refused = |text: &str| {
        let scanned = scan(text.as_bytes(), &catalog, true, ClientEncoding::Utf8);
        scanned
            .plan(&scope)
            .err()
            .is_some_and(|refusal| refusal.code == "R12")
    };
    assert!(refused("SET search_path TO x; DELETE FROM orders"));
    assert!(refused(
        "CREATE TEMP TABLE orders (id int); DELETE FROM orders"
    ));
    assert!(refused(
        "ALTER TABLE orders ADD x int; SELECT * FROM orders"
    ));
    assert!(!refused("CREATE TABLE x (id int); DELETE FROM orders"));
    assert!(!refused("SET statement_timeout = 0; DELETE FROM orders"));
    assert!(!refused("BEGIN; DELETE FROM orders; COMMIT"));
}

fn sent(text: &str, catalog: &Catalog, encoding: ClientEncoding) -> String {
    let scope = Scope {
        catalog,
        search_path: &catalog::SearchPath {
            schemas: vec!["pg_catalog".into(), "public".into()],
            ..Default::default()
        },
        standard_conforming_strings: true,
        encoding,
    };
    let plan = scan(text.as_bytes(), catalog, true, encoding)
        .plan(&scope)
        .unwrap();
    String::from_utf8(plan.edits.apply(text.as_bytes())).unwrap()
}

#[test]
fn nothing_is_refused_for_the_sake_of_the_catalogs() {
    let utf8 = ClientEncoding::Utf8;
    for text in [
        "SELECT relname FROM pg_class WHERE",
        "SELECT relname FROM pg_class GROUP BY ((",
        "FROBNICATE pg_class",
        "SELECT c.* FROM pg_class c FULL JOIN pg_attribute a ON c.oid = a.attrelid FOR UPDATE",
        "CREATE FUNCTION f() RETURNS bigint RETURN (SELECT count(*) FROM pg_class)",
        "CREATE MATERIALIZED VIEW m AS SELECT pg_get_viewdef(oid) FROM pg_class",
        "DELETE FROM pg_class",
        "ALTER TABLE x ADD CHECK (pg_get_viewdef(1) = '')",
    ] {
        let bin = r#"{"server":150018,"tables":[{"oid":2,"schema":"public","name":"bin","mode":"bin",
            "kind":"r","columns":[{"name":"id"}]}],"shadows":[]}"#;
        let catalog = Catalog::from_json(bin).unwrap();
        assert_eq!(sent(text, &catalog, utf8), text);
        assert_eq!(sent(text, &Catalog::empty(), utf8), text);
    }
    let text = "SELECT nspname FROM pg_namespace";
    assert_eq!(
        sent(text, &catalog(), ClientEncoding::Unsafe),
        format!(
            "{text} WHERE (pg_namespace.nspname OPERATOR(pg_catalog.=) 'reprieve') IS NOT TRUE"
        )
    );
    let text = "SELECT 1 FROM pg_class AS \"é\"";
    assert_eq!(sent(text, &catalog(), ClientEncoding::AsciiSuperset), text);
}

#[test]
fn the_catalogs_are_read_behind_a_change_of_names() {
    let text = "SET search_path = a; SELECT 1 FROM pg_namespace";
    let sent = sent(text, &catalog(), ClientEncoding::Utf8);
    assert!(sent.ends_with("IS NOT TRUE"), "{sent}");
}

#[test]
fn the_catalogs_concern_us_as_soon_as_a_table_is_enabled() {
    for text in [
        "SELECT 1 FROM pg_class",
        "TABLE \"pg_class\"",
        "SELECT 1 FROM Information_Schema.columns",
        "SELECT pg_catalog.pg_get_viewdef(1)",
    ] {
        let scanned = scan(text.as_bytes(), &catalog(), true, ClientEncoding::Utf8);
        assert!(scanned.concerns_us() && !scanned.must_be_read(), "{text}");
        let empty = Catalog::empty();
        assert!(!scan(text.as_bytes(), &empty, true, ClientEncoding::Utf8).concerns_us());
    }
    assert!(!concerns("SELECT 'pg_class'::regclass, pg_typeof(1)"));
    assert!(!concerns("DROP VIEW pg_class"));
}

#[test]
fn definitions_that_keep_columns_pass_where_the_keeper_is_told_before() {
    let document = |told: bool| {
        format!(
            r#"{{"server":150018,"tables":[{{"oid":1,"schema":"public","name":"t","mode":"mark","marking":true,
            "kind":"r","columns":[{{"name":"id"}}]}}],"shadows":[],"sees_ddl_start":{told}}}"#
        )
    };
    for text in [
        "CREATE OR REPLACE RULE r AS ON INSERT TO other DO ALSO DELETE FROM t",
        "CREATE POLICY p ON other AS PERMISSIVE USING (id IN (SELECT id FROM t))",
        "ALTER POLICY p ON other USING (id IN (SELECT id FROM t))",
        "CREATE FUNCTION f() RETURNS bigint RETURN (SELECT count(*) FROM t)",
    ] {
        for told in [true, false] {
            let catalog = Catalog::from_json(&document(told)).unwrap();
            let scanned = scan(text.as_bytes(), &catalog, true, ClientEncoding::Utf8);
            assert_eq!(scanned.concerns_us(), !told, "{text}");
        }
    }
}

#[test]
fn a_new_name_of_a_marked_table_is_ours_in_the_rest_of_the_text() {
    for (text, behind) in [
        ("ALTER TABLE orders RENAME TO u; SELECT 1 FROM U", true),
        (
            "ALTER TABLE IF EXISTS ONLY orders RENAME TO \"U\"; DELETE FROM \"U\"",
            true,
        ),
        (
            "ALTER TABLE orders RENAME TO u; ALTER TABLE u RENAME TO v; TABLE v",
            true,
        ),
        (
            "DO $$ BEGIN ALTER TABLE orders RENAME TO u; END $$; TABLE u",
            true,
        ),
        ("ALTER TABLE orders RENAME TO u; SELECT 1 FROM v", false),
        ("ALTER TABLE orders RENAME a TO u; SELECT 1 FROM u", false),
        ("ALTER TABLE other RENAME TO u; SELECT 1 FROM u", false),
        ("SELECT 1 FROM u; ALTER TABLE orders RENAME TO u", false),
    ] {
        let scanned = scan(text.as_bytes(), &catalog(), true, ClientEncoding::Utf8);
        assert_eq!(scanned.must_be_read(), behind, "{text}");
        assert_eq!(scanned.behind_definition().is_some(), behind, "{text}");
    }
}
