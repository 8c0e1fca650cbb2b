//! Statements and their replies.

use expect_test::expect;
use session::{Observation, Port};

use crate::check;
use crate::support::Talk;

#[test]
fn what_does_not_concern_us_passes() {
    check(
        &mut Talk::ready("ready t"),
        "C Query SELECT 1; SELECT 2 | Parse s SELECT 3 | Bind - s | Describe P - | Execute - | Sync
         S Columns | Row 1 | Complete SELECT 1 | Columns | Row 2 | Complete SELECT 1 | Ready I
         S Parsed | Bound | Columns | Row 3 | Notify x | Complete SELECT 1 | Ready I
         C Query -- nothing
         S Empty | Ready I
         C Call
         S Returned | Ready I
         C Terminate",
        expect![[r#"
            C Query SELECT 1; SELECT 2 | Parse s SELECT 3 | Bind - s | Describe P - | Execute - | Sync
              > Query SELECT 1; SELECT 2 | Parse s SELECT 3 | Bind - s | Describe P | Execute - | Sync
            S Columns | Row 1 | Complete SELECT 1 | Columns | Row 2 | Complete SELECT 1 | Ready I
              < Columns | Row 1 | Complete SELECT 1 | Columns | Row 2 | Complete SELECT 1 | Ready I
            S Parsed | Bound | Columns | Row 3 | Notify x | Complete SELECT 1 | Ready I
              < Parsed | Bound | Columns | Row 3 | Notify | Complete SELECT 1 | Ready I
            C Query -- nothing
              > Query -- nothing
            S Empty | Ready I
              < Empty | Ready I
            C Call
              > Call
            S Returned | Ready I
              < Returned | Ready I
            C Terminate
              > Terminate
              ended: ClientLeft
        "#]],
    );
}

#[test]
fn a_delete_becomes_an_update_and_its_tag_a_delete() {
    check(
        &mut Talk::ready("ready t"),
        "C Query DELETE FROM t WHERE id = 1
         S Scope | Ready I
         S Complete UPDATE 1 | Ready I
         C Query DELETE FROM t; SELECT 1; UPDATE u SET a = 1
         S Complete UPDATE 2 | Columns | Row 1 | Complete SELECT 1 | Complete UPDATE 7 | Ready I",
        expect![[r#"
            C Query DELETE FROM t WHERE id = 1
              > Parse reprieve_probe SELECT reprieve.session_v1() | Bind reprieve_probe reprieve_probe | Execute reprieve_probe | Close Preprieve_probe | Close Sreprieve_probe | Sync
              holds
            S Scope | Ready I
              > Query UPDATE t SET deleted_at = pg_catalog.now(), deletion_id = (SELECT reprieve.begin_deletion_v1(E'DELETE FROM t WHERE id = 1')) WHERE t.deleted_at IS NULL AND (id = 1)
            S Complete UPDATE 1 | Ready I
              < Complete DELETE 1 | Ready I
            C Query DELETE FROM t; SELECT 1; UPDATE u SET a = 1
              > Query UPDATE t SET deleted_at = pg_catalog.now(), deletion_id = (SELECT reprieve.begin_deletion_v1(E'DELETE FROM t')) WHERE t.deleted_at IS NULL; SELECT 1; UPDATE u SET a = 1
            S Complete UPDATE 2 | Columns | Row 1 | Complete SELECT 1 | Complete UPDATE 7 | Ready I
              < Complete DELETE 2 | Columns | Row 1 | Complete SELECT 1 | Complete UPDATE 7 | Ready I
        "#]],
    );
}

/// The first two are read in full; what the third becomes is known by then.
#[test]
fn texts_that_differ_in_literals_share_a_plan() {
    let mut talk = Talk::ready("ready t");
    check(
        &mut talk,
        "C Query DELETE FROM t WHERE id = 1
         S Scope | Ready I
         S Complete UPDATE 1 | Ready I
         C Query DELETE FROM t WHERE id = 22
         S Complete UPDATE 1 | Ready I
         C Query DELETE FROM t WHERE id = 333
         S Complete UPDATE 0 | Ready I
         C Query DELETE FROM t WHERE id = 333
         S Complete UPDATE 0 | Ready I
         C Query DELETE FROM t WHERE id = '333'
         S Complete UPDATE 0 | Ready I",
        expect![[r#"
            C Query DELETE FROM t WHERE id = 1
              > Parse reprieve_probe SELECT reprieve.session_v1() | Bind reprieve_probe reprieve_probe | Execute reprieve_probe | Close Preprieve_probe | Close Sreprieve_probe | Sync
              holds
            S Scope | Ready I
              > Query UPDATE t SET deleted_at = pg_catalog.now(), deletion_id = (SELECT reprieve.begin_deletion_v1(E'DELETE FROM t WHERE id = 1')) WHERE t.deleted_at IS NULL AND (id = 1)
            S Complete UPDATE 1 | Ready I
              < Complete DELETE 1 | Ready I
            C Query DELETE FROM t WHERE id = 22
              > Query UPDATE t SET deleted_at = pg_catalog.now(), deletion_id = (SELECT reprieve.begin_deletion_v1(E'DELETE FROM t WHERE id = 22')) WHERE t.deleted_at IS NULL AND (id = 22)
            S Complete UPDATE 1 | Ready I
              < Complete DELETE 1 | Ready I
            C Query DELETE FROM t WHERE id = 333
              > Query UPDATE t SET deleted_at = pg_catalog.now(), deletion_id = (SELECT reprieve.begin_deletion_v1(E'DELETE FROM t WHERE id = 333')) WHERE t.deleted_at IS NULL AND (id = 333)
            S Complete UPDATE 0 | Ready I
              < Complete DELETE 0 | Ready I
            C Query DELETE FROM t WHERE id = 333
              > Query UPDATE t SET deleted_at = pg_catalog.now(), deletion_id = (SELECT reprieve.begin_deletion_v1(E'DELETE FROM t WHERE id = 333')) WHERE t.deleted_at IS NULL AND (id = 333)
            S Complete UPDATE 0 | Ready I
              < Complete DELETE 0 | Ready I
            C Query DELETE FROM t WHERE id = '333'
              > Query UPDATE t SET deleted_at = pg_catalog.now(), deletion_id = (SELECT reprieve.begin_deletion_v1(E'DELETE FROM t WHERE id = ''333''')) WHERE t.deleted_at IS NULL AND (id = '333')
            S Complete UPDATE 0 | Ready I
              < Complete DELETE 0 | Ready I
        "#]],
    );
    let seen = talk.host.seen.lock().unwrap();
    let count = |wanted: Observation| seen.iter().filter(|event| **event == wanted).count();
    assert_eq!(count(Observation::PlanCacheMiss), 3);
    assert_eq!(count(Observation::PlanCacheShapeHit), 2);
}

#[test]
fn the_extended_protocol_keeps_names_apart() {
    check(
        &mut Talk::ready("ready t"),
        "C Parse d DELETE FROM t | Parse u UPDATE u SET a = 1 | Bind pd d | Bind pu u | Execute pu | Execute pd | Close S d | Sync
         S Scope | Ready I
         S Parsed | Parsed | Bound | Bound | Complete UPDATE 4 | Complete UPDATE 5 | Closed | Ready I",
        expect![[r#"
            C Parse d DELETE FROM t | Parse u UPDATE u SET a = 1 | Bind pd d | Bind pu u | Execute pu | Execute pd | Close S d | Sync
              > Parse reprieve_probe SELECT reprieve.session_v1() | Bind reprieve_probe reprieve_probe | Execute reprieve_probe | Close Preprieve_probe | Close Sreprieve_probe | Sync
              holds
            S Scope | Ready I
              > Parse d UPDATE t SET deleted_at = pg_catalog.now(), deletion_id = (SELECT reprieve.begin_deletion_v1(E'DELETE FROM t')) WHERE t.deleted_at IS NULL | Parse u UPDATE u SET a = 1 | Bind pd d | Bind pu u | Execute pu | Execute pd | Close Sd | Sync
            S Parsed | Parsed | Bound | Bound | Complete UPDATE 4 | Complete UPDATE 5 | Closed | Ready I
              < Parsed | Parsed | Bound | Bound | Complete UPDATE 4 | Complete DELETE 5 | Closed | Ready I
        "#]],
    );
}

#[test]
fn portals_with_row_limits_are_translated_at_the_end() {
    check(
        &mut Talk::ready("ready t"),
        "C Parse - DELETE FROM t RETURNING id | Bind - - | Execute - 1 | Flush
         S Scope | Ready I
         S Parsed | Bound | Row 1 | Suspended
         C Execute - 1 | Sync
         S Row 2 | Complete UPDATE 2 | Ready I",
        expect![[r#"
            C Parse - DELETE FROM t RETURNING id | Bind - - | Execute - 1 | Flush
              > Parse reprieve_probe SELECT reprieve.session_v1() | Bind reprieve_probe reprieve_probe | Execute reprieve_probe | Close Preprieve_probe | Close Sreprieve_probe | Sync
              holds
            S Scope | Ready I
              > Parse - UPDATE t SET deleted_at = pg_catalog.now(), deletion_id = (SELECT reprieve.begin_deletion_v1(E'DELETE FROM t RETURNING id')) WHERE t.deleted_at IS NULL RETURNING id | Bind - - | Execute - | Flush
            S Parsed | Bound | Row 1 | Suspended
              < Parsed | Bound | Row 1 | Suspended
            C Execute - 1 | Sync
              > Execute - | Sync
            S Row 2 | Complete UPDATE 2 | Ready I
              < Row 2 | Complete DELETE 2 | Ready I
        "#]],
    );
}

#[test]
fn an_error_skips_to_the_next_sync() {
    check(
        &mut Talk::ready("ready t"),
        "C Query DELETE FROM t
         S Scope | Ready I
         S Complete UPDATE 0 | Ready I
         C Parse a bogus | Bind - a | Execute - | Query SELECT 1 | Sync | Parse b DELETE FROM t | Bind - b | Execute - | Sync
         S Error 42601 syntax error
         S Ready I | Parsed | Bound | Complete UPDATE 3 | Ready I
         C Parse a bogus | Flush
         S Error 42601 syntax error
         C Bind - a | Execute - | CopyDone
         C Sync
         S Ready I",
        expect![[r#"
            C Query DELETE FROM t
              > Parse reprieve_probe SELECT reprieve.session_v1() | Bind reprieve_probe reprieve_probe | Execute reprieve_probe | Close Preprieve_probe | Close Sreprieve_probe | Sync
              holds
            S Scope | Ready I
              > Query UPDATE t SET deleted_at = pg_catalog.now(), deletion_id = (SELECT reprieve.begin_deletion_v1(E'DELETE FROM t')) WHERE t.deleted_at IS NULL
            S Complete UPDATE 0 | Ready I
              < Complete DELETE 0 | Ready I
            C Parse a bogus | Bind - a | Execute - | Query SELECT 1 | Sync | Parse b DELETE FROM t | Bind - b | Execute - | Sync
              > Parse a bogus | Bind - a | Execute - | Query SELECT 1 | Sync | Parse b UPDATE t SET deleted_at = pg_catalog.now(), deletion_id = (SELECT reprieve.begin_deletion_v1(E'DELETE FROM t')) WHERE t.deleted_at IS NULL | Bind - b | Execute - | Sync
            S Error 42601 syntax error
              < Error S=ERROR C=42601 M=syntax error
            S Ready I | Parsed | Bound | Complete UPDATE 3 | Ready I
              < Ready I | Parsed | Bound | Complete DELETE 3 | Ready I
            C Parse a bogus | Flush
              > Parse a bogus | Flush
            S Error 42601 syntax error
              < Error S=ERROR C=42601 M=syntax error
            C Bind - a | Execute - | CopyDone
            C Sync
              > Sync
            S Ready I
              < Ready I
        "#]],
    );
}

#[test]
fn a_failed_parse_leaves_the_old_statement() {
    check(
        &mut Talk::ready("ready t"),
        "C Parse s DELETE FROM t | Sync
         S Scope | Ready I
         S Parsed | Ready I
         C Parse s SELECT 1 | Sync
         S Error 42P05 prepared statement exists | Ready I
         C Bind - s | Execute - | Sync
         S Bound | Complete UPDATE 1 | Ready I",
        expect![[r#"
            C Parse s DELETE FROM t | Sync
              > Parse reprieve_probe SELECT reprieve.session_v1() | Bind reprieve_probe reprieve_probe | Execute reprieve_probe | Close Preprieve_probe | Close Sreprieve_probe | Sync
              holds
            S Scope | Ready I
              > Parse s UPDATE t SET deleted_at = pg_catalog.now(), deletion_id = (SELECT reprieve.begin_deletion_v1(E'DELETE FROM t')) WHERE t.deleted_at IS NULL | Sync
            S Parsed | Ready I
              < Parsed | Ready I
            C Parse s SELECT 1 | Sync
              > Parse s SELECT 1 | Sync
            S Error 42P05 prepared statement exists | Ready I
              < Error S=ERROR C=42P05 M=prepared statement exists | Ready I
            C Bind - s | Execute - | Sync
              > Bind - s | Execute - | Sync
            S Bound | Complete UPDATE 1 | Ready I
              < Bound | Complete DELETE 1 | Ready I
        "#]],
    );
}

#[test]
fn errors_are_about_the_clients_text() {
    check(
        &mut Talk::ready("ready t"),
        "C Query DELETE FROM t WHERE idd = 1
         S Scope | Ready I
         S Error 42703 no column P=200 | Ready I
         C Query DELETE FROM t
         S Error 25006 cannot execute UPDATE in a read-only transaction W=PL/pgSQL_function_reprieve.x()_line_1 | Ready I
         C Query UPDATE u SET a = 1
         S Error 25006 cannot execute UPDATE in a read-only transaction P=8 | Ready I",
        expect![[r#"
            C Query DELETE FROM t WHERE idd = 1
              > Parse reprieve_probe SELECT reprieve.session_v1() | Bind reprieve_probe reprieve_probe | Execute reprieve_probe | Close Preprieve_probe | Close Sreprieve_probe | Sync
              holds
            S Scope | Ready I
              > Query UPDATE t SET deleted_at = pg_catalog.now(), deletion_id = (SELECT reprieve.begin_deletion_v1(E'DELETE FROM t WHERE idd = 1')) WHERE t.deleted_at IS NULL AND (idd = 1)
            S Error 42703 no column P=200 | Ready I
              < Error S=ERROR C=42703 M=no column P=61 | Ready I
            C Query DELETE FROM t
              > Query UPDATE t SET deleted_at = pg_catalog.now(), deletion_id = (SELECT reprieve.begin_deletion_v1(E'DELETE FROM t')) WHERE t.deleted_at IS NULL
            S Error 25006 cannot execute UPDATE in a read-only transaction W=PL/pgSQL_function_reprieve.x()_line_1 | Ready I
              < Error S=ERROR C=25006 M=cannot execute DELETE in a read-only transaction | Ready I
            C Query UPDATE u SET a = 1
              > Query UPDATE u SET a = 1
            S Error 25006 cannot execute UPDATE in a read-only transaction P=8 | Ready I
              < Error S=ERROR C=25006 M=cannot execute UPDATE in a read-only transaction P=8 | Ready I
        "#]],
    );
}

#[test]
fn a_long_statement_is_refused_and_the_next_one_served() {
    let mut talk = Talk::ready("ready t");
    talk.session.limit_statements(20);
    check(
        &mut talk,
        "C Query SELECT 'twenty bytes are not enough' | Query SELECT 1
         S Error 42703 column | Ready I | Complete SELECT 1 | Ready I",
        expect![[r#"
            C Query SELECT 'twenty bytes are not enough' | Query SELECT 1
              > Query SELECT "refused by reprieve" | Query SELECT 1
            S Error 42703 column | Ready I | Complete SELECT 1 | Ready I
              < Error S=ERROR C=54000 M=statement of 37 bytes is longer than 20 bytes, which soft delete can read H=Send large values as parameters or by COPY. | Ready I | Complete SELECT 1 | Ready I
        "#]],
    );
    let mut talk = Talk::ready("ready");
    talk.session.limit_statements(20);
    check(
        &mut talk,
        "C Query SELECT 'twenty bytes are not enough'",
        expect![[r#"
            C Query SELECT 'twenty bytes are not enough'
              > Query SELECT 'twenty bytes are not enough'
        "#]],
    );
}

#[test]
fn verbs_of_the_admin_port_become_calls() {
    let mut talk = Talk::new(Port::Admin, false, "ready t");
    talk.run("S Auth 0 | Key 1 | Ready I\nS Answer t | Ready I");
    talk.transcript.clear();
    check(
        &mut talk,
        "C Query UNDELETE DELETION 785000001
         S Scope | Ready I
         S Row t | Complete SELECT 1 | Ready I
         C Query SHOW VERSION; SELECT 1
         S Row x | Complete SELECT 1 | Row 1 | Complete SELECT 1 | Ready I
         C Parse - SHOW DELETED FROM t WHERE id = $1 | Bind - - | Execute - | Sync
         S Parsed | Bound | Complete SELECT 0 | Ready I
         C Query UNDELETE NONSENSE
         S Error 42703 column | Ready I
         C Query ENABLE SOFT DELETE ON t
         S Row t | Complete SELECT 1 | Ready I
         S Catalog t | Ready I
         C Query SHOW search_path",
        expect![[r#"
            C Query UNDELETE DELETION 785000001
              > Parse reprieve_probe SELECT reprieve.session_v1() | Bind reprieve_probe reprieve_probe | Execute reprieve_probe | Close Preprieve_probe | Close Sreprieve_probe | Sync
              holds
            S Scope | Ready I
              > Query SELECT * FROM reprieve.undelete_deletion_v1(785000001)
            S Row t | Complete SELECT 1 | Ready I
              < Row t | Complete SELECT 1 | Ready I
            C Query SHOW VERSION; SELECT 1
              > Query SELECT * FROM (VALUES (E'it''s'::pg_catalog.text, NULL::pg_catalog.text)) AS "reprieve"("name", "value"); SELECT 1
            S Row x | Complete SELECT 1 | Row 1 | Complete SELECT 1 | Ready I
              < Row x | Complete SELECT 1 | Row 1 | Complete SELECT 1 | Ready I
            C Parse - SHOW DELETED FROM t WHERE id = $1 | Bind - - | Execute - | Sync
              > Parse - SELECT * FROM (SELECT b.deleted_at, b.deletion_id, b.buried, (b.row)."id", (b.row)."name", b.other_columns FROM reprieve.deleted_v1(NULL::"public"."t") b) AS "t" WHERE id = $1 | Bind - - | Execute - | Sync
            S Parsed | Bound | Complete SELECT 0 | Ready I
              < Parsed | Bound | Complete SELECT 0 | Ready I
            C Query UNDELETE NONSENSE
              > Query SELECT "refused by reprieve"
            S Error 42703 column | Ready I
              < Error S=ERROR C=42601 M=syntax error at or near "NONSENSE" H=The form is: UNDELETE DELETION n | TRANSACTION x | FROM table [WHERE condition] | SINCE time [UNTIL time] [BY role], each with MODE m P=10 | Ready I
            C Query ENABLE SOFT DELETE ON t
              > Query SELECT * FROM reprieve.enable_v1(E'"t"'::pg_catalog.regclass, 'auto')
            S Row t | Complete SELECT 1 | Ready I
              > Parse reprieve_probe SELECT reprieve.after_ddl_v1() | Bind reprieve_probe reprieve_probe | Execute reprieve_probe | Close Preprieve_probe | Close Sreprieve_probe | Sync
              < Row t | Complete SELECT 1
              holds
            S Catalog t | Ready I
              < Ready I
            C Query SHOW search_path
              > Query SHOW search_path
        "#]],
    );
}
