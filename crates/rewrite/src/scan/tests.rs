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
