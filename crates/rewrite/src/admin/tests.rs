use super::*;
use crate::{ClientEncoding, scan};

fn catalog() -> Catalog {
    Catalog::from_json(
        r#"{"server":150018,"tables":[
            {"oid":1,"schema":"public","name":"orders","mode":"mark","marking":true,"kind":"r",
             "columns":[{"name":"id"},{"name":"is Test"},{"name":"deleted_at","hidden":true}]}],
            "shadows":[]}"#,
    )
    .unwrap()
}

fn translated(text: &str) -> Result<String, Refusal> {
    let catalog = catalog();
    let path = SearchPath {
        schemas: vec!["public".into()],
        ..SearchPath::default()
    };
    let scanned = scan(text.as_bytes(), &catalog, true, ClientEncoding::Utf8);
    let translations = translate(&scanned, &catalog, &path)?;
    let edits = edits(text.as_bytes(), &translations, |show| format!("<{show:?}>"))?;
    Ok(String::from_utf8(edits.apply(text.as_bytes())).unwrap())
}

#[track_caller]
fn becomes(text: &str, expected: &str) {
    assert_eq!(translated(text).unwrap(), expected);
}

#[test]
fn undo() {
    becomes(
        "UNDO UNDELETE 7 MODE nonconflict_only",
        "SELECT * FROM reprieve.undo_undelete_v1(7, mode => 'nonconflict_only')",
    );
    becomes(
        "undo undelete deletion $1;",
        "SELECT * FROM reprieve.undo_undelete_of_v1($1);",
    );
    becomes("SHOW UNDELETES", "SELECT * FROM reprieve.show_undeletes");
    assert!(translated("UNDO UNDELETE orders").is_err());
    assert!(translated("UNDO DELETE 7").is_err());
}

#[test]
fn undelete() {
    becomes(
        "UNDELETE DELETION 785000001;",
        "SELECT * FROM reprieve.undelete_deletion_v1(785000001);",
    );
    becomes(
        "undelete deletion $1",
        "SELECT * FROM reprieve.undelete_deletion_v1($1)",
    );
    becomes(
        "UNDELETE TRANSACTION 785",
        "SELECT * FROM reprieve.undelete_transaction_v1('785'::pg_catalog.xid8)",
    );
    becomes(
        "UNDELETE FROM public.\"Or d\" WHERE name = 'it''s'",
        "SELECT * FROM reprieve.undelete_where_v1(E'\"public\".\"Or d\"'::pg_catalog.regclass, E'name = ''it''''s''')",
    );
    becomes(
        "UNDELETE FROM orders",
        "SELECT * FROM reprieve.undelete_where_v1(E'\"orders\"'::pg_catalog.regclass, E'true')",
    );
    becomes(
        "UNDELETE SINCE now() - interval '1 hour' UNTIL '2026-01-01' BY Bob",
        "SELECT * FROM reprieve.undelete_since_v1((now() - interval '1 hour')::pg_catalog.timestamptz, ('2026-01-01')::pg_catalog.timestamptz, E'bob')",
    );
    becomes(
        "UNDELETE DELETION 7 MODE cascade",
        "SELECT * FROM reprieve.undelete_deletion_v1(7, mode => 'cascade')",
    );
    becomes(
        "UNDELETE DELETION 7 MODE replace",
        "SELECT * FROM reprieve.undelete_deletion_v1(7, mode => 'replace')",
    );
    becomes(
        "UNDELETE FROM orders MODE FORCE WHERE id = 1",
        "SELECT * FROM reprieve.undelete_where_v1(E'\"orders\"'::pg_catalog.regclass, E'id = 1', mode => 'force')",
    );
    becomes(
        "UNDELETE TRANSACTION 7 NONCONFLICT_ONLY",
        "SELECT * FROM reprieve.undelete_transaction_v1('7'::pg_catalog.xid8, mode => 'nonconflict_only')",
    );
    becomes(
        "UNDELETE FROM orders CASCADE WHERE cascade",
        "SELECT * FROM reprieve.undelete_where_v1(E'\"orders\"'::pg_catalog.regclass, E'cascade', mode => 'cascade')",
    );
    becomes(
        "UNDELETE SINCE $1 nocascade",
        "SELECT * FROM reprieve.undelete_since_v1(($1)::pg_catalog.timestamptz, NULL, NULL, mode => 'nocascade')",
    );
    becomes(
        "UNDELETE SINCE $1 BY $2",
        "SELECT * FROM reprieve.undelete_since_v1(($1)::pg_catalog.timestamptz, NULL, $2)",
    );
}

#[test]
fn show() {
    becomes("SHOW TABLES", "SELECT * FROM reprieve.show_tables");
    becomes(
        "SHOW DELETIONS WHERE rows > 3 LIMIT 5",
        "SELECT * FROM reprieve.show_deletions WHERE rows > 3 LIMIT 5",
    );
    becomes(
        "SHOW DELETED FROM orders WHERE \"is Test\"",
        "SELECT * FROM (SELECT b.deleted_at, b.deletion_id, b.buried, (b.row).\"id\", (b.row).\"is Test\", b.other_columns FROM reprieve.deleted_v1(NULL::\"public\".\"orders\") b) AS \"orders\" WHERE \"is Test\"",
    );
    becomes("SHOW clients; HELP", "<Clients>; <Help>");
}

#[test]
fn preview_of_a_delete() {
    // What the DELETE finds is what a client would find: deleted rows of any table in it are hidden.
    becomes(
        "PREVIEW DELETE FROM orders WHERE \"is Test\"",
        "SELECT * FROM reprieve.preview_delete_v1(E'\"orders\"'::pg_catalog.regclass, query => E'SELECT orders.tableoid, orders.ctid FROM orders WHERE orders.deleted_at IS NULL AND ((\"is Test\"))')",
    );
    becomes(
        "explain deletion from orders format tree",
        "SELECT * FROM reprieve.preview_delete_tree_v1(E'\"orders\"'::pg_catalog.regclass, format => 'tree', query => E'SELECT orders.tableoid, orders.ctid FROM orders WHERE orders.deleted_at IS NULL')",
    );
    becomes(
        "PREVIEW DELETE FROM ONLY other AS o USING a, (SELECT 1) b WHERE o.x = (SELECT max(id) FROM orders) FORMAT mermaid;",
        "SELECT * FROM reprieve.preview_delete_tree_v1(E'\"other\"'::pg_catalog.regclass, format => 'mermaid', query => E'SELECT o.tableoid, o.ctid FROM ONLY other AS o, a, (SELECT 1) b WHERE (o.x = (SELECT max(id) FROM orders WHERE orders.deleted_at IS NULL))');",
    );
    becomes(
        "PREVIEW DELETE FROM s.other * FORMAT table",
        "SELECT * FROM reprieve.preview_delete_v1(E'\"s\".\"other\"'::pg_catalog.regclass, query => E'SELECT s.other.tableoid, s.other.ctid FROM s.other *')",
    );
    becomes("EXPLAIN DELETE FROM orders", "EXPLAIN DELETE FROM orders");
}

#[test]
fn preview_and_rehearsal_of_an_undelete() {
    becomes(
        "PREVIEW UNDELETE DELETION 7 MODE cascade",
        "SELECT * FROM reprieve.preview_undelete_deletion_v1(7, mode => 'cascade')",
    );
    becomes(
        "REHEARSE UNDELETE FROM orders WHERE id = 1",
        "SELECT * FROM reprieve.preview_undelete_where_v1(E'\"orders\"'::pg_catalog.regclass, E'id = 1', rehearse => true)",
    );
    becomes("SHOW REHEARSALS", "SELECT * FROM reprieve.show_rehearsals");
}

#[test]
fn retention() {
    becomes(
        "PURGE DRY RUN TABLE orders OLDER THAN '7 days' LIMIT 10",
        "SELECT * FROM reprieve.purge_v1(dry_run => true, relation => E'\"orders\"'::pg_catalog.regclass, before => pg_catalog.now() - ('7 days')::pg_catalog.interval, row_budget => 10)",
    );
    becomes("purge", "SELECT * FROM reprieve.purge_v1()");
    becomes(
        "PURGE BACKGROUND ON; PURGE BACKGROUND off",
        "SELECT * FROM reprieve.purge_background_v1(true); SELECT * FROM reprieve.purge_background_v1(false)",
    );
    becomes(
        "PURGE EXPORT TO '/purged'; PURGE EXPORT OFF",
        "SELECT * FROM reprieve.purge_export_v1('/purged'); SELECT * FROM reprieve.purge_export_v1(NULL)",
    );
    becomes(
        "PURGE DELETION 7 BEFORE now()",
        "SELECT * FROM reprieve.purge_v1(deletion => 7, before => (now())::pg_catalog.timestamptz)",
    );
    becomes(
        "RETAIN TABLE orders FOR interval '1 year'; RETAIN TABLE orders FOREVER; RETAIN TABLE orders DEFAULT",
        "SELECT * FROM reprieve.retain_v1(E'\"orders\"'::pg_catalog.regclass, (interval '1 year')::pg_catalog.interval::pg_catalog.text); SELECT * FROM reprieve.retain_v1(E'\"orders\"'::pg_catalog.regclass, 'infinity'); SELECT * FROM reprieve.retain_v1(E'\"orders\"'::pg_catalog.regclass, NULL)",
    );
    becomes(
        "RETAIN TABLE orders FOR FOREVER; RETAIN TABLE orders FOR DEFAULT",
        "SELECT * FROM reprieve.retain_v1(E'\"orders\"'::pg_catalog.regclass, 'infinity'); SELECT * FROM reprieve.retain_v1(E'\"orders\"'::pg_catalog.regclass, NULL)",
    );
    becomes(
        "HOLD DELETION 7 REASON 'case 12'; HOLD TABLE orders; RELEASE DELETION 7; RELEASE TABLE orders",
        "SELECT * FROM reprieve.hold_v1(deletion => 7, reason => ('case 12')::pg_catalog.text); SELECT * FROM reprieve.hold_v1(relation => E'\"orders\"'::pg_catalog.regclass); SELECT * FROM reprieve.release_v1(deletion => 7); SELECT * FROM reprieve.release_v1(relation => E'\"orders\"'::pg_catalog.regclass)",
    );
    becomes(
        "ERASE SUBJECT FROM orders WHERE id = 1 MENTIONING 'a@b.c', $1",
        "SELECT * FROM reprieve.erase_subject_v1(E'\"orders\"'::pg_catalog.regclass, E'id = 1', mentioning => ARRAY['a@b.c', $1]::pg_catalog.text[])",
    );
    // PostgreSQL's own.
    becomes("RELEASE deletion", "RELEASE deletion");
    becomes("RELEASE SAVEPOINT deletion", "RELEASE SAVEPOINT deletion");
}

#[test]
fn deletions_are_filtered() {
    becomes(
        "SHOW DELETIONS FROM app.orders SINCE '2026-01-01' UNTIL now() BY bob WHERE rows > 3 LIMIT 5",
        "SELECT * FROM reprieve.show_deletions_v1(('2026-01-01')::pg_catalog.timestamptz, (now())::pg_catalog.timestamptz, E'bob', E'app', E'orders') AS show_deletions WHERE rows > 3 LIMIT 5",
    );
    becomes(
        "SHOW DELETIONS PER TABLE",
        "SELECT * FROM reprieve.deletions_per_table_v1(NULL, NULL, NULL, NULL, NULL) AS show_deletions",
    );
}

#[test]
fn enable_disable_check() {
    becomes(
        "ENABLE SOFT DELETE ON app.orders MODE bin",
        "SELECT * FROM reprieve.enable_v1(E'\"app\".\"orders\"'::pg_catalog.regclass, 'bin')",
    );
    becomes(
        "disable soft delete on orders",
        "SELECT * FROM reprieve.disable_v1(E'\"orders\"'::pg_catalog.regclass)",
    );
    becomes("CHECK INTEGRITY", "SELECT * FROM reprieve.check_v1()");
    becomes("SHOW HEALTH", "SELECT * FROM reprieve.show_health");
    becomes(
        "WATCH TABLE orders AT 2.5 PERCENT",
        "SELECT * FROM reprieve.watch_v1(E'\"orders\"'::pg_catalog.regclass, (2.5)::pg_catalog.numeric)",
    );
    becomes(
        "watch table orders never",
        "SELECT * FROM reprieve.watch_v1(E'\"orders\"'::pg_catalog.regclass, never => true)",
    );
    becomes(
        "SHOW ROWS FROM orders SINCE now() LIMIT 3",
        "SELECT \"table\", at, rows, how, tombstones, graveyard_rows, dead_rows, bytes FROM reprieve.show_rows \
         WHERE relid = E'\"orders\"'::pg_catalog.regclass AND at >= (now())::pg_catalog.timestamptz ORDER BY at DESC, \"table\" LIMIT 3",
    );
}

#[test]
fn what_is_no_verb_stays() {
    for text in [
        "SHOW search_path",
        "SHOW ALL",
        "CHECKPOINT",
        "SELECT 'UNDELETE DELETION 1'",
        "DELETE FROM orders",
        "SHOW \"clients\"",
    ] {
        becomes(text, text);
    }
    becomes(
        "BEGIN; UNDELETE DELETION 1; SELECT 2; ROLLBACK",
        "BEGIN; SELECT * FROM reprieve.undelete_deletion_v1(1); SELECT 2; ROLLBACK",
    );
}

#[test]
fn errors_say_where_and_how() {
    for (text, offset) in [
        ("UNDELETE", 8),
        ("UNDELETE EVERYTHING", 9),
        ("UNDELETE DELETION 1.5", 18),
        ("UNDELETE DELETION 1 2", 20),
        ("UNDELETE DELETION 1 MODE every", 25),
        ("SELECT 1; ENABLE SOFT DELETE orders", 29),
        ("ENABLE SOFT DELETE ON orders MODE x", 34),
        ("UNDELETE FROM orders WHERE id = $1", 32),
        ("SHOW DELETED orders", 13),
        ("CHECK", 5),
        ("PREVIEW SELECT", 8),
        ("PREVIEW DELETE FROM orders RETURNING id", 37),
        ("PREVIEW DELETE FROM orders WHERE id = $1", 38),
        ("PREVIEW DELETE FROM orders o WHERE", 34),
        ("REHEARSE DELETION 1", 9),
        ("PURGE everything", 6),
        ("HOLD orders", 5),
        ("RETAIN TABLE orders", 19),
        ("ERASE SUBJECT FROM orders", 25),
        ("WATCH TABLE orders", 18),
        ("WATCH TABLE orders AT 5", 23),
        ("SHOW ROWS orders", 10),
        ("UNDELETE DELETION 99999999999999999999999", 18),
        ("UNDELETE TRANSACTION 99999999999999999999", 21),
        ("PURGE LIMIT 99999999999", 12),
        ("GUARD TABLE orders MAX ROWS 99999999999999999999", 28),
        ("BUDGET FOR clerk 1 ROWS PER '1 h' TABLES 3000000000", 41),
        ("RETAIN TABLE orders FOR", 23),
        ("PREVIEW DELETE FROM orders FORMAT foo", 34),
        ("PREVIEW DELETE FROM orders WHERE id = 1 FORMAT 'tree'", 47),
        ("PREVIEW DELETE FROM orders WHERE id = 1 RETURNING *", 40),
    ] {
        let refusal = translated(text).unwrap_err();
        assert_eq!(
            (refusal.sqlstate, refusal.offset),
            ("42601", Some(offset)),
            "{text}"
        );
        assert!(refusal.hint.is_some(), "{text}");
    }
    assert_eq!(
        translated("SHOW DELETED FROM nobody").unwrap_err().sqlstate,
        "42P01"
    );
}

/// Each verb that is told apart by its first word, and each SHOW, has a line in SHOW HELP.
#[test]
fn help_names_every_verb() {
    let forms: Vec<&str> = HELP.iter().map(|entry| entry.form).collect();
    for first in FIRST {
        let word = first.to_ascii_uppercase();
        let is_told = |form: &&str| form.split([' ', '|']).any(|part| part == word);
        // EXPLAIN DELETION stands beside PREVIEW.
        assert!(*first == "explain" || forms.iter().any(is_told), "{word}");
    }
}

#[test]
fn brackets_of_a_condition_balance() {
    for verb in [
        "ERASE SUBJECT FROM orders WHERE",
        "UNDELETE FROM orders WHERE",
        "PREVIEW UNDELETE FROM orders WHERE",
        "PREVIEW DELETE FROM orders WHERE",
        "REQUEST DELETION FROM orders WHERE",
    ] {
        assert!(translated(&format!("{verb} (id = 900) OR (id = 10)")).is_ok());
        let text = format!("{verb} id = 900) OR (id = 10");
        let refusal = translated(&text).unwrap_err();
        assert_eq!(refusal.offset, text.find(')'), "{verb}");
        assert!(translated(&format!("{verb} (id = 900")).is_err());
    }
    assert!(translated("PURGE BEFORE now()), dry_run => (true").is_err());
}

#[test]
fn rows_become_a_query() {
    let columns = ["a".to_owned(), "b c".to_owned()];
    let rows = vec![vec![Some("it's".to_owned()), None]];
    assert_eq!(
        rows_as_sql("clients", &columns, &rows),
        "SELECT * FROM (VALUES (E'it''s'::pg_catalog.text, NULL::pg_catalog.text)) AS \"clients\"(\"a\", \"b c\")"
    );
    assert_eq!(
        rows_as_sql("clients", &columns, &[]),
        "SELECT NULL::pg_catalog.text AS \"a\", NULL::pg_catalog.text AS \"b c\" WHERE false"
    );
}

#[test]
fn guards_and_budgets() {
    becomes(
        "GUARD TABLE orders MAX ROWS 1000 MAX SHARE 12.5 % PER TRANSACTION FOR clerk",
        "SELECT * FROM reprieve.guard_v1(relation => E'\"orders\"'::pg_catalog.regclass, max_rows => 1000, max_share => 12.5, per => 'transaction', for_role => E'clerk')",
    );
    becomes(
        "guard all tables no where refuse truncate allow drop refuse wait '5 min' max rows none;",
        "SELECT * FROM reprieve.guard_v1(relation => NULL, no_where => 'refuse', on_truncate => 'allow', on_drop => 'refuse', wait => ('5 min')::pg_catalog.interval, max_rows => 9223372036854775807);",
    );
    becomes(
        "UNGUARD TABLE app.\"Orders\" FOR $1",
        "SELECT * FROM reprieve.unguard_v1(relation => E'\"app\".\"Orders\"'::pg_catalog.regclass, for_role => $1)",
    );
    becomes(
        "BUDGET FOR agent_7 200 ROWS PER '1 hour' TABLES 2 WAIT '1 min'",
        "SELECT * FROM reprieve.budget_v1(E'agent_7', 200, span => ('1 hour')::pg_catalog.interval, max_tables => 2, wait => ('1 min')::pg_catalog.interval)",
    );
    becomes(
        "BUDGET FOR agent_7 NONE",
        "SELECT * FROM reprieve.budget_v1(E'agent_7', NULL)",
    );
    becomes("SHOW GUARDS", "SELECT * FROM reprieve.show_guards");
    becomes("SHOW BUDGETS", "SELECT * FROM reprieve.show_budgets");
    for wrong in [
        "GUARD orders MAX ROWS 1",
        "GUARD TABLE orders MAX 1",
        "GUARD TABLE orders MAX ROWS 1 MAX ROWS 2",
        "GUARD TABLE orders MAX ROWS -1",
        "GUARD TABLE orders TRUNCATE",
        "UNGUARD TABLE orders MAX ROWS 1",
        "BUDGET FOR agent_7",
        "BUDGET FOR agent_7 1.5 ROWS PER '1 hour'",
    ] {
        assert_eq!(translated(wrong).unwrap_err().sqlstate, "42601", "{wrong}");
    }
}

#[test]
fn requests() {
    becomes(
        "REQUEST DELETION FROM orders WHERE \"is Test\" AND rows > 5 AND (SELECT count(*) FROM x FOR UPDATE) > 1 ROWS 500 FOR clerk WITHIN '2 h' REASON 'it''s old'",
        "SELECT * FROM reprieve.request_deletion_v1(E'\"orders\"'::pg_catalog.regclass, condition => E'\"is Test\" AND rows > 5 AND (SELECT count(*) FROM x FOR UPDATE) > 1', max_rows => 500, for_role => E'clerk', valid_for => ('2 h')::pg_catalog.interval, reason => ('it''s old')::pg_catalog.text)",
    );
    becomes(
        "REQUEST DELETION FROM orders",
        "SELECT * FROM reprieve.request_deletion_v1(E'\"orders\"'::pg_catalog.regclass)",
    );
    becomes(
        "APPROVE DELETION REQUEST 7; DENY DELETION REQUEST $1",
        "SELECT * FROM reprieve.decide_request_v1(7, true); SELECT * FROM reprieve.decide_request_v1($1, false)",
    );
    becomes("SHOW REQUESTS", "SELECT * FROM reprieve.show_requests");
    let nothing = translated("REQUEST DELETION FROM orders ROWS 0").unwrap_err();
    assert_eq!((nothing.sqlstate, nothing.offset), ("22023", Some(34)));
    for wrong in [
        "REQUEST DELETION orders",
        "REQUEST DELETION FROM orders WHERE",
        "REQUEST DELETION FROM orders WHERE id = $1",
        "APPROVE REQUEST 7",
        "APPROVE DELETION REQUEST x",
    ] {
        assert_eq!(translated(wrong).unwrap_err().sqlstate, "42601", "{wrong}");
    }
}

#[test]
fn seals_and_exports() {
    becomes("SEAL LEDGER;", "SELECT * FROM reprieve.seal_v1();");
    becomes(
        "seal background on",
        "SELECT * FROM reprieve.seal_background_v1(true)",
    );
    becomes("SHOW SEALS", "SELECT * FROM reprieve.show_seals");
    becomes("EXPORT DELETIONS", "SELECT * FROM reprieve.export_v1()");
    becomes(
        "EXPORT DELETIONS SINCE now() - interval '1 day' UNTIL $1",
        "SELECT * FROM reprieve.export_v1(since => (now() - interval '1 day')::pg_catalog.timestamptz, until => ($1)::pg_catalog.timestamptz)",
    );
    for wrong in [
        "SEAL",
        "SEAL LEDGER NOW",
        "EXPORT",
        "EXPORT DELETIONS BY me",
    ] {
        assert_eq!(translated(wrong).unwrap_err().sqlstate, "42601", "{wrong}");
    }
}
