//! Prepared statements under another catalog.

use expect_test::expect;

use crate::check;
use crate::support::Talk;

#[test]
fn old_statements_are_parsed_again_under_a_new_catalog() {
    check(
        &mut Talk::ready("ready"),
        "C Parse s DELETE FROM t | Describe S s | Sync
         S Parsed | Params | NoData | Ready I
         H ready t
         C Bind - s | Execute - | Sync
         S Scope | Ready I
         S Closed | Parsed | Bound | Complete UPDATE 2 | Ready I
         C Bind - s | Execute - | Sync
         S Bound | Complete UPDATE 2 | Ready I
         H ready
         C Describe S s | Bind - s | Execute - | Sync
         S Closed | Parsed | Params | NoData | Bound | Complete DELETE 2 | Ready I
         H ready t
         C Bind - s | Execute - | Sync
         S Closed | Error 42P01 gone | Ready I
         C Bind - s | Sync
         S Closed | Parsed | Bound | Ready I
         C Bind - s | Sync",
        expect![[r#"
            C Parse s DELETE FROM t | Describe S s | Sync
              > Parse s DELETE FROM t | Describe Ss | Sync
            S Parsed | Params | NoData | Ready I
              < Parsed | Params | NoData | Ready I
            H ready t
            C Bind - s | Execute - | Sync
              > Parse reprieve_probe SELECT reprieve.session_v1() | Bind reprieve_probe reprieve_probe | Execute reprieve_probe | Close Preprieve_probe | Close Sreprieve_probe | Sync
              holds
            S Scope | Ready I
              > Close Ss | Parse s UPDATE t SET deleted_at = pg_catalog.now(), deletion_id = (SELECT reprieve.begin_deletion_v1(E'DELETE FROM t')) WHERE t.deleted_at IS NULL | Bind - s | Execute - | Sync
            S Closed | Parsed | Bound | Complete UPDATE 2 | Ready I
              < Bound | Complete DELETE 2 | Ready I
            C Bind - s | Execute - | Sync
              > Bind - s | Execute - | Sync
            S Bound | Complete UPDATE 2 | Ready I
              < Bound | Complete DELETE 2 | Ready I
            H ready
            C Describe S s | Bind - s | Execute - | Sync
              > Close Ss | Parse s DELETE FROM t | Describe Ss | Bind - s | Execute - | Sync
            S Closed | Parsed | Params | NoData | Bound | Complete DELETE 2 | Ready I
              < Params | NoData | Bound | Complete DELETE 2 | Ready I
            H ready t
            C Bind - s | Execute - | Sync
              > Close Ss | Parse s UPDATE t SET deleted_at = pg_catalog.now(), deletion_id = (SELECT reprieve.begin_deletion_v1(E'DELETE FROM t')) WHERE t.deleted_at IS NULL | Bind - s | Execute - | Sync
            S Closed | Error 42P01 gone | Ready I
              < Error S=ERROR C=42P01 M=gone | Ready I
            C Bind - s | Sync
              > Close Ss | Parse s UPDATE t SET deleted_at = pg_catalog.now(), deletion_id = (SELECT reprieve.begin_deletion_v1(E'DELETE FROM t')) WHERE t.deleted_at IS NULL | Bind - s | Sync
            S Closed | Parsed | Bound | Ready I
              < Bound | Ready I
            C Bind - s | Sync
              > Bind - s | Sync
        "#]],
    );
}

#[test]
fn sql_prepare_is_remembered() {
    check(
        &mut Talk::ready("ready t"),
        "C Query PREPARE d AS DELETE FROM t
         S Scope | Ready I
         S Complete PREPARE | Ready I
         C Query EXECUTE d
         S Complete UPDATE 2 | Ready I
         C Bind - d | Execute - | Sync
         S Bound | Complete UPDATE 3 | Ready I
         C Query DEALLOCATE d
         S Complete DEALLOCATE | Ready I
         C Query PREPARE d AS UPDATE u SET a = 1
         S Complete PREPARE | Ready I
         C Query EXECUTE d
         S Complete UPDATE 2 | Ready I",
        expect![[r#"
            C Query PREPARE d AS DELETE FROM t
              > Parse reprieve_probe SELECT reprieve.session_v1() | Bind reprieve_probe reprieve_probe | Execute reprieve_probe | Close Preprieve_probe | Close Sreprieve_probe | Sync
              holds
            S Scope | Ready I
              > Query PREPARE d AS UPDATE t SET deleted_at = pg_catalog.now(), deletion_id = (SELECT reprieve.begin_deletion_v1(E'PREPARE d AS DELETE FROM t')) WHERE t.deleted_at IS NULL
            S Complete PREPARE | Ready I
              < Complete PREPARE | Ready I
            C Query EXECUTE d
              > Query EXECUTE d
            S Complete UPDATE 2 | Ready I
              < Complete DELETE 2 | Ready I
            C Bind - d | Execute - | Sync
              > Bind - d | Execute - | Sync
            S Bound | Complete UPDATE 3 | Ready I
              < Bound | Complete DELETE 3 | Ready I
            C Query DEALLOCATE d
              > Query DEALLOCATE d
            S Complete DEALLOCATE | Ready I
              < Complete DEALLOCATE | Ready I
            C Query PREPARE d AS UPDATE u SET a = 1
              > Query PREPARE d AS UPDATE u SET a = 1
            S Complete PREPARE | Ready I
              < Complete PREPARE | Ready I
            C Query EXECUTE d
              > Query EXECUTE d
            S Complete UPDATE 2 | Ready I
              < Complete UPDATE 2 | Ready I
        "#]],
    );
}

/// Closed it could be, parsed again it could not.
#[test]
fn a_failed_transaction_does_not_lose_a_prepared_statement() {
    check(
        &mut Talk::ready("ready"),
        "C Parse s DELETE FROM t | Sync
         S Parsed | Ready I
         C Query BEGIN
         S Complete BEGIN | Ready T
         C Query nonsense
         S Error 42601 syntax | Ready E
         H ready t
         C Bind - s | Execute - | Sync
         S Error 25P02 aborted | Ready E
         C Query ROLLBACK
         S Complete ROLLBACK | Ready I
         C Bind - s | Execute - | Sync
         S Scope | Ready I
         S Closed | Parsed | Bound | Complete UPDATE 2 | Ready I",
        expect![[r#"
            C Parse s DELETE FROM t | Sync
              > Parse s DELETE FROM t | Sync
            S Parsed | Ready I
              < Parsed | Ready I
            C Query BEGIN
              > Query BEGIN
            S Complete BEGIN | Ready T
              < Complete BEGIN | Ready T
            C Query nonsense
              > Query nonsense
            S Error 42601 syntax | Ready E
              < Error S=ERROR C=42601 M=syntax | Ready E
            H ready t
            C Bind - s | Execute - | Sync
              > Bind - s | Execute - | Sync
            S Error 25P02 aborted | Ready E
              < Error S=ERROR C=25P02 M=aborted | Ready E
            C Query ROLLBACK
              > Query ROLLBACK
            S Complete ROLLBACK | Ready I
              < Complete ROLLBACK | Ready I
            C Bind - s | Execute - | Sync
              > Parse reprieve_probe SELECT reprieve.session_v1() | Bind reprieve_probe reprieve_probe | Execute reprieve_probe | Close Preprieve_probe | Close Sreprieve_probe | Sync
              holds
            S Scope | Ready I
              > Close Ss | Parse s UPDATE t SET deleted_at = pg_catalog.now(), deletion_id = (SELECT reprieve.begin_deletion_v1(E'DELETE FROM t')) WHERE t.deleted_at IS NULL | Bind - s | Execute - | Sync
            S Closed | Parsed | Bound | Complete UPDATE 2 | Ready I
              < Bound | Complete DELETE 2 | Ready I
        "#]],
    );
}

#[test]
fn a_star_does_not_change_under_a_prepared_statement() {
    let mut talk = Talk::ready("ready t");
    check(
        &mut talk,
        "C Parse s SELECT * FROM t | Sync
         S Scope | Ready I
         S Parsed | Ready I
         H wider t
         C Bind - s | Execute - | Sync
         S Error 42703 column | Ready I",
        expect![[r#"
            C Parse s SELECT * FROM t | Sync
              > Parse reprieve_probe SELECT reprieve.session_v1() | Bind reprieve_probe reprieve_probe | Execute reprieve_probe | Close Preprieve_probe | Close Sreprieve_probe | Sync
              holds
            S Scope | Ready I
              > Parse s SELECT t."id", t."name" FROM t WHERE t.deleted_at IS NULL | Sync
            S Parsed | Ready I
              < Parsed | Ready I
            H wider t
            C Bind - s | Execute - | Sync
              > Parse reprieve_refused SELECT "refused by reprieve" | Execute - | Sync
            S Error 42703 column | Ready I
              < Error S=ERROR C=0A000 M=cached plan must not change result type F=plancache.c R=RevalidateCachedQuery | Ready I
        "#]],
    );
}

/// A catalog is acknowledged once nobody holds a plan made by an older one.
#[test]
fn plans_are_held_until_they_are_answered() {
    let mut talk = Talk::ready("ready");
    for (line, holds) in [
        ("C Query BEGIN", true),
        ("S Complete BEGIN | Ready T", false),
        ("C Parse s UPDATE u SET v = 1 | Bind p s | Sync", true),
        ("S Parsed | Bound | Ready T", true),
        ("C Query SELECT 1", true),
        ("S Complete SELECT 1 | Ready T", true),
        ("C Execute p | Sync", true),
        ("S Complete UPDATE 1 | Ready T", false),
        ("C Bind p s | Bind - s | Close P p | Sync", true),
        ("S Bound | Bound | Closed | Ready T", true),
        ("C Query COMMIT", true),
        ("S Complete COMMIT | Ready I", false),
    ] {
        talk.run(line);
        assert_eq!(
            talk.session.holds_plans(),
            holds,
            "{line}\n{}",
            talk.transcript
        );
    }
}

#[test]
fn the_unnamed_statement_is_not_lost_either() {
    check(
        &mut Talk::ready("ready"),
        "C Parse - DELETE FROM t | Sync
         S Parsed | Ready I
         H ready t
         C Bind - - | Execute - | Sync
         S Scope | Ready I
         S Closed | Error 42P01 gone | Ready I
         C Bind - - | Execute - | Sync
         S Closed | Parsed | Bound | Complete UPDATE 2 | Ready I",
        expect![[r#"
            C Parse - DELETE FROM t | Sync
              > Parse - DELETE FROM t | Sync
            S Parsed | Ready I
              < Parsed | Ready I
            H ready t
            C Bind - - | Execute - | Sync
              > Parse reprieve_probe SELECT reprieve.session_v1() | Bind reprieve_probe reprieve_probe | Execute reprieve_probe | Close Preprieve_probe | Close Sreprieve_probe | Sync
              holds
            S Scope | Ready I
              > Close S | Parse - UPDATE t SET deleted_at = pg_catalog.now(), deletion_id = (SELECT reprieve.begin_deletion_v1(E'DELETE FROM t')) WHERE t.deleted_at IS NULL | Bind - - | Execute - | Sync
            S Closed | Error 42P01 gone | Ready I
              < Error S=ERROR C=42P01 M=gone | Ready I
            C Bind - - | Execute - | Sync
              > Close S | Parse - UPDATE t SET deleted_at = pg_catalog.now(), deletion_id = (SELECT reprieve.begin_deletion_v1(E'DELETE FROM t')) WHERE t.deleted_at IS NULL | Bind - - | Execute - | Sync
            S Closed | Parsed | Bound | Complete UPDATE 2 | Ready I
              < Bound | Complete DELETE 2 | Ready I
        "#]],
    );
}
