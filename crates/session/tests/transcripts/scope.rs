//! What names mean, and when that is asked for.

use expect_test::expect;

use crate::check;
use crate::support::Talk;

#[test]
fn the_scope_is_asked_for_only_when_needed() {
    check(
        &mut Talk::ready("ready t"),
        "C Query SET search_path = app
         S Complete SET | Ready I
         C Query SELECT 1
         S Complete SELECT 1 | Ready I
         C Query SELECT 1 | Query DELETE FROM t
         S Complete SELECT 1 | Ready I
         S Scope app | Ready I
         S Complete DELETE 1 | Ready I
         C Query SET statement_timeout = 1 | Query DELETE FROM t
         S Complete SET | Ready I | Complete DELETE 1 | Ready I
         S Param search_path public
         C Query DELETE FROM t
         S Scope | Ready I
         S Complete UPDATE 1 | Ready I",
        expect![[r#"
            C Query SET search_path = app
              > Query SET search_path = app
            S Complete SET | Ready I
              < Complete SET | Ready I
            C Query SELECT 1
              > Query SELECT 1
            S Complete SELECT 1 | Ready I
              < Complete SELECT 1 | Ready I
            C Query SELECT 1 | Query DELETE FROM t
              > Query SELECT 1
              holds
            S Complete SELECT 1 | Ready I
              > Parse reprieve_probe SELECT reprieve.session_v1() | Bind reprieve_probe reprieve_probe | Execute reprieve_probe | Close Preprieve_probe | Close Sreprieve_probe | Sync
              < Complete SELECT 1 | Ready I
              holds
            S Scope app | Ready I
              > Query DELETE FROM t
            S Complete DELETE 1 | Ready I
              < Complete DELETE 1 | Ready I
            C Query SET statement_timeout = 1 | Query DELETE FROM t
              > Query SET statement_timeout = 1 | Query DELETE FROM t
            S Complete SET | Ready I | Complete DELETE 1 | Ready I
              < Complete SET | Ready I | Complete DELETE 1 | Ready I
            S Param search_path public
              < Param search_path public
            C Query DELETE FROM t
              > Parse reprieve_probe SELECT reprieve.session_v1() | Bind reprieve_probe reprieve_probe | Execute reprieve_probe | Close Preprieve_probe | Close Sreprieve_probe | Sync
              holds
            S Scope | Ready I
              > Query UPDATE t SET deleted_at = pg_catalog.now(), deletion_id = (SELECT reprieve.begin_deletion_v1(E'DELETE FROM t')) WHERE t.deleted_at IS NULL
            S Complete UPDATE 1 | Ready I
              < Complete DELETE 1 | Ready I
        "#]],
    );
}

#[test]
fn a_rollback_takes_settings_back() {
    check(
        &mut Talk::ready("ready t"),
        "C Query DELETE FROM t
         S Scope | Ready I
         S Complete UPDATE 1 | Ready I
         C Query BEGIN
         S Complete BEGIN | Ready T
         C Query SET LOCAL search_path = app
         S Complete SET | Ready T
         C Query DELETE FROM t
         S Scope app | Ready T
         S Complete DELETE 1 | Ready T
         C Query ROLLBACK; DELETE FROM t
         S Complete ROLLBACK | Ready I
         S Scope | Ready I
         S Complete UPDATE 1 | Ready I",
        expect![[r#"
            C Query DELETE FROM t
              > Parse reprieve_probe SELECT reprieve.session_v1() | Bind reprieve_probe reprieve_probe | Execute reprieve_probe | Close Preprieve_probe | Close Sreprieve_probe | Sync
              holds
            S Scope | Ready I
              > Query UPDATE t SET deleted_at = pg_catalog.now(), deletion_id = (SELECT reprieve.begin_deletion_v1(E'DELETE FROM t')) WHERE t.deleted_at IS NULL
            S Complete UPDATE 1 | Ready I
              < Complete DELETE 1 | Ready I
            C Query BEGIN
              > Query BEGIN
            S Complete BEGIN | Ready T
              < Complete BEGIN | Ready T
            C Query SET LOCAL search_path = app
              > Query SET LOCAL search_path = app
            S Complete SET | Ready T
              < Complete SET | Ready T
            C Query DELETE FROM t
              > Parse reprieve_probe SELECT reprieve.session_v1() | Bind reprieve_probe reprieve_probe | Execute reprieve_probe | Close Preprieve_probe | Close Sreprieve_probe | Sync
              holds
            S Scope app | Ready T
              > Query DELETE FROM t
            S Complete DELETE 1 | Ready T
              < Complete DELETE 1 | Ready T
            C Query ROLLBACK; DELETE FROM t
              > Query ROLLBACK; 
              holds
            S Complete ROLLBACK | Ready I
              > Parse reprieve_probe SELECT reprieve.session_v1() | Bind reprieve_probe reprieve_probe | Execute reprieve_probe | Close Preprieve_probe | Close Sreprieve_probe | Sync
              < Complete ROLLBACK
              holds
            S Scope | Ready I
              > Query UPDATE t SET deleted_at = pg_catalog.now(), deletion_id = (SELECT reprieve.begin_deletion_v1(E'DELETE FROM t')) WHERE t.deleted_at IS NULL
              holds
            S Complete UPDATE 1 | Ready I
              < Complete DELETE 1 | Ready I
        "#]],
    );
}

#[test]
fn nothing_is_injected_into_a_failed_transaction() {
    check(
        &mut Talk::ready("ready t"),
        "C Query BEGIN
         S Complete BEGIN | Ready T
         C Query bogus
         S Error 42601 syntax | Ready E
         C Query DELETE FROM t
         S Error 25P02 aborted | Ready E
         C Query ROLLBACK; DELETE FROM t
         S Error 25P02 aborted | Ready E",
        expect![[r#"
            C Query BEGIN
              > Query BEGIN
            S Complete BEGIN | Ready T
              < Complete BEGIN | Ready T
            C Query bogus
              > Query bogus
            S Error 42601 syntax | Ready E
              < Error S=ERROR C=42601 M=syntax | Ready E
            C Query DELETE FROM t
              > Query DELETE FROM t
            S Error 25P02 aborted | Ready E
              < Error S=ERROR C=25P02 M=aborted | Ready E
            C Query ROLLBACK; DELETE FROM t
              > Parse reprieve_probe ROLLBACK; DELETE FROM t | Close Sreprieve_probe | Sync
              holds
            S Error 25P02 aborted | Ready E
              < Error S=ERROR C=25P02 M=aborted | Ready E
        "#]],
    );
}

#[test]
fn behind_the_end_of_a_failed_transaction_names_mean_what_they_did() {
    check(
        &mut Talk::ready("ready t"),
        "C Query DELETE FROM t
         S Scope | Ready I
         S Complete UPDATE 1 | Ready I
         C Query BEGIN
         S Complete BEGIN | Ready T
         C Query bogus
         S Error 42601 syntax | Ready E
         C Query ROLLBACK; DELETE FROM t
         S Complete ROLLBACK | Complete UPDATE 2 | Ready I
         C Query BEGIN
         S Complete BEGIN | Ready T
         C Query CREATE TABLE u ()
         S Complete CREATE TABLE | Ready T
         S Catalog t u | Ready T
         C Query bogus
         S Error 42601 syntax | Ready E
         C Query ROLLBACK; DELETE FROM t
         S Error 25P02 aborted | Ready E",
        expect![[r#"
            C Query DELETE FROM t
              > Parse reprieve_probe SELECT reprieve.session_v1() | Bind reprieve_probe reprieve_probe | Execute reprieve_probe | Close Preprieve_probe | Close Sreprieve_probe | Sync
              holds
            S Scope | Ready I
              > Query UPDATE t SET deleted_at = pg_catalog.now(), deletion_id = (SELECT reprieve.begin_deletion_v1(E'DELETE FROM t')) WHERE t.deleted_at IS NULL
            S Complete UPDATE 1 | Ready I
              < Complete DELETE 1 | Ready I
            C Query BEGIN
              > Query BEGIN
            S Complete BEGIN | Ready T
              < Complete BEGIN | Ready T
            C Query bogus
              > Query bogus
            S Error 42601 syntax | Ready E
              < Error S=ERROR C=42601 M=syntax | Ready E
            C Query ROLLBACK; DELETE FROM t
              > Query ROLLBACK; UPDATE t SET deleted_at = pg_catalog.now(), deletion_id = (SELECT reprieve.begin_deletion_v1(E'DELETE FROM t')) WHERE t.deleted_at IS NULL
            S Complete ROLLBACK | Complete UPDATE 2 | Ready I
              < Complete ROLLBACK | Complete DELETE 2 | Ready I
            C Query BEGIN
              > Query BEGIN
            S Complete BEGIN | Ready T
              < Complete BEGIN | Ready T
            C Query CREATE TABLE u ()
              > Query CREATE TABLE u ()
            S Complete CREATE TABLE | Ready T
              > Parse reprieve_probe SELECT reprieve.after_ddl_v1() | Bind reprieve_probe reprieve_probe | Execute reprieve_probe | Close Preprieve_probe | Close Sreprieve_probe | Sync
              < Complete CREATE TABLE
              holds
            S Catalog t u | Ready T
              < Ready T
            C Query bogus
              > Query bogus
            S Error 42601 syntax | Ready E
              < Error S=ERROR C=42601 M=syntax | Ready E
            C Query ROLLBACK; DELETE FROM t
              > Parse reprieve_probe ROLLBACK; DELETE FROM t | Close Sreprieve_probe | Sync
              holds
            S Error 25P02 aborted | Ready E
              < Error S=ERROR C=25P02 M=aborted | Ready E
        "#]],
    );
}

#[test]
fn a_batch_is_flushed_before_the_scope_is_asked_for() {
    check(
        &mut Talk::ready("ready t"),
        "C Parse a SELECT 1 | Parse b DELETE FROM t | Sync
         S Parsed
         S Scope
         S Parsed | Ready I",
        expect![[r#"
            C Parse a SELECT 1 | Parse b DELETE FROM t | Sync
              > Parse a SELECT 1 | Flush
              holds
            S Parsed
              > Parse reprieve_probe SELECT reprieve.session_v1() | Bind reprieve_probe reprieve_probe | Execute reprieve_probe | Close Preprieve_probe | Close Sreprieve_probe | Flush
              < Parsed
              holds
            S Scope
              > Parse b UPDATE t SET deleted_at = pg_catalog.now(), deletion_id = (SELECT reprieve.begin_deletion_v1(E'DELETE FROM t')) WHERE t.deleted_at IS NULL | Sync
            S Parsed | Ready I
              < Parsed | Ready I
        "#]],
    );
}

#[test]
fn a_failing_probe_answers_the_statement() {
    check(
        &mut Talk::ready("ready t"),
        "C Query DELETE FROM t
         S Error 57014 canceled | Ready I
         C Parse - DELETE FROM t | Bind - - | Sync
         S Error 57014 canceled | Ready I
         S Ready I
         C Parse a SELECT 1 | Parse b DELETE FROM t | Bind - b | Sync
         S Parsed
         S Error 57014 canceled
         S Ready I",
        expect![[r#"
            C Query DELETE FROM t
              > Parse reprieve_probe SELECT reprieve.session_v1() | Bind reprieve_probe reprieve_probe | Execute reprieve_probe | Close Preprieve_probe | Close Sreprieve_probe | Sync
              holds
            S Error 57014 canceled | Ready I
              < Error S=ERROR C=57014 M=canceled | Ready I
            C Parse - DELETE FROM t | Bind - - | Sync
              > Parse reprieve_probe SELECT reprieve.session_v1() | Bind reprieve_probe reprieve_probe | Execute reprieve_probe | Close Preprieve_probe | Close Sreprieve_probe | Sync
              holds
            S Error 57014 canceled | Ready I
              > Sync
              < Error S=ERROR C=57014 M=canceled
            S Ready I
              < Ready I
            C Parse a SELECT 1 | Parse b DELETE FROM t | Bind - b | Sync
              > Parse a SELECT 1 | Flush
              holds
            S Parsed
              > Parse reprieve_probe SELECT reprieve.session_v1() | Bind reprieve_probe reprieve_probe | Execute reprieve_probe | Close Preprieve_probe | Close Sreprieve_probe | Flush
              < Parsed
              holds
            S Error 57014 canceled
              > Sync
              < Error S=ERROR C=57014 M=canceled
            S Ready I
              < Ready I
        "#]],
    );
}

#[test]
fn a_statement_of_ours_that_was_canceled_leaves_no_name_behind() {
    check(
        &mut Talk::ready("ready t"),
        "C Query SELECT id FROM t
         S Parsed | Bound | Error 57014 canceled | Ready I
         C Query SELECT id FROM t
         S Closed | Scope | Ready I
         S Complete SELECT 1 | Ready I",
        expect![[r#"
            C Query SELECT id FROM t
              > Parse reprieve_probe SELECT reprieve.session_v1() | Bind reprieve_probe reprieve_probe | Execute reprieve_probe | Close Preprieve_probe | Close Sreprieve_probe | Sync
              holds
            S Parsed | Bound | Error 57014 canceled | Ready I
              < Error S=ERROR C=57014 M=canceled | Ready I
            C Query SELECT id FROM t
              > Close Sreprieve_probe | Parse reprieve_probe SELECT reprieve.session_v1() | Bind reprieve_probe reprieve_probe | Execute reprieve_probe | Close Preprieve_probe | Close Sreprieve_probe | Sync
              holds
            S Closed | Scope | Ready I
              > Query SELECT id FROM t WHERE t.deleted_at IS NULL
            S Complete SELECT 1 | Ready I
              < Complete SELECT 1 | Ready I
        "#]],
    );
}
