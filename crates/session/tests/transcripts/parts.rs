//! One Query of several statements, of which later ones depend on what earlier ones change.

use expect_test::expect;

use crate::check;
use crate::support::Talk;

/// A session that knows its search path.
fn settled() -> Talk {
    let mut talk = Talk::ready("ready t");
    talk.run(
        "C Query DELETE FROM t
         S Scope | Ready I
         S Complete UPDATE 1 | Ready I",
    );
    talk.transcript.clear();
    talk
}

#[test]
fn an_implicit_transaction_becomes_one_of_ours() {
    check(
        &mut settled(),
        "C Query ALTER TABLE t ADD x int; DELETE FROM t; SELECT x FROM t | Query SELECT 1
         S Error 42601 several R=exec_parse_message | Ready I
         S Complete BEGIN | Ready T
         S Complete ALTER TABLE | Ready T
         S Catalog t | Ready T
         S Scope | Ready T
         S Complete UPDATE 2 | Complete SELECT 0 | Ready T
         S Complete COMMIT | Ready I
         S Complete SELECT 1 | Ready I",
        expect![[r#"
            C Query ALTER TABLE t ADD x int; DELETE FROM t; SELECT x FROM t | Query SELECT 1
              > Parse reprieve_probe ALTER TABLE t ADD x int; DELETE FROM t; SELECT x FROM t | Close Sreprieve_probe | Sync
              holds
            S Error 42601 several R=exec_parse_message | Ready I
              > Parse reprieve_probe BEGIN | Bind reprieve_probe reprieve_probe | Execute reprieve_probe | Close Preprieve_probe | Close Sreprieve_probe | Sync
              holds
            S Complete BEGIN | Ready T
              > Query ALTER TABLE t ADD x int; 
              holds
            S Complete ALTER TABLE | Ready T
              > Parse reprieve_probe SELECT reprieve.after_ddl_v1() | Bind reprieve_probe reprieve_probe | Execute reprieve_probe | Close Preprieve_probe | Close Sreprieve_probe | Sync
              < Complete ALTER TABLE
              holds
            S Catalog t | Ready T
              > Parse reprieve_probe SELECT reprieve.session_v1() | Bind reprieve_probe reprieve_probe | Execute reprieve_probe | Close Preprieve_probe | Close Sreprieve_probe | Sync
              holds
            S Scope | Ready T
              > Query UPDATE t SET deleted_at = pg_catalog.now(), deletion_id = (SELECT reprieve.begin_deletion_v1(E'DELETE FROM t')) WHERE t.deleted_at IS NULL; SELECT x FROM t WHERE t.deleted_at IS NULL
              holds
            S Complete UPDATE 2 | Complete SELECT 0 | Ready T
              > Parse reprieve_probe COMMIT | Bind reprieve_probe reprieve_probe | Execute reprieve_probe | Close Preprieve_probe | Close Sreprieve_probe | Sync
              < Complete DELETE 2
              holds
            S Complete COMMIT | Ready I
              > Query SELECT 1
              < Complete SELECT 0 | Ready I
            S Complete SELECT 1 | Ready I
              < Complete SELECT 1 | Ready I
        "#]],
    );
}

#[test]
fn what_fails_takes_the_whole_message_back() {
    check(
        &mut settled(),
        "C Query ALTER TABLE t ADD x int; DELETE FROM t
         S Error 42601 several R=exec_parse_message | Ready I
         S Complete BEGIN | Ready T
         S Complete ALTER TABLE | Ready T
         S Catalog t | Ready T
         S Scope | Ready T
         S Error 23503 referenced P=7 | Ready E
         S Complete ROLLBACK | Ready I
         C Query SELECT 1
         S Complete SELECT 1 | Ready I",
        expect![[r#"
            C Query ALTER TABLE t ADD x int; DELETE FROM t
              > Parse reprieve_probe ALTER TABLE t ADD x int; DELETE FROM t | Close Sreprieve_probe | Sync
              holds
            S Error 42601 several R=exec_parse_message | Ready I
              > Parse reprieve_probe BEGIN | Bind reprieve_probe reprieve_probe | Execute reprieve_probe | Close Preprieve_probe | Close Sreprieve_probe | Sync
              holds
            S Complete BEGIN | Ready T
              > Query ALTER TABLE t ADD x int; 
              holds
            S Complete ALTER TABLE | Ready T
              > Parse reprieve_probe SELECT reprieve.after_ddl_v1() | Bind reprieve_probe reprieve_probe | Execute reprieve_probe | Close Preprieve_probe | Close Sreprieve_probe | Sync
              < Complete ALTER TABLE
              holds
            S Catalog t | Ready T
              > Parse reprieve_probe SELECT reprieve.session_v1() | Bind reprieve_probe reprieve_probe | Execute reprieve_probe | Close Preprieve_probe | Close Sreprieve_probe | Sync
              holds
            S Scope | Ready T
              > Query UPDATE t SET deleted_at = pg_catalog.now(), deletion_id = (SELECT reprieve.begin_deletion_v1(E'DELETE FROM t')) WHERE t.deleted_at IS NULL
              holds
            S Error 23503 referenced P=7 | Ready E
              > Parse reprieve_probe ROLLBACK | Bind reprieve_probe reprieve_probe | Execute reprieve_probe | Close Preprieve_probe | Close Sreprieve_probe | Sync
              < Error S=ERROR C=23503 M=referenced P=37
              holds
            S Complete ROLLBACK | Ready I
              < Ready I
            C Query SELECT 1
              > Query SELECT 1
            S Complete SELECT 1 | Ready I
              < Complete SELECT 1 | Ready I
        "#]],
    );
}

#[test]
fn a_commit_that_fails_is_the_last_statements_error() {
    check(
        &mut settled(),
        "C Query ALTER TABLE t ADD x int; DELETE FROM t
         S Error 42601 several R=exec_parse_message | Ready I
         S Complete BEGIN | Ready T
         S Complete ALTER TABLE | Ready T
         S Catalog t | Ready T
         S Scope | Ready T
         S Complete UPDATE 1 | Ready T
         S Error 23503 deferred | Ready I
         C Query SELECT 1
         S Complete SELECT 1 | Ready I",
        expect![[r#"
            C Query ALTER TABLE t ADD x int; DELETE FROM t
              > Parse reprieve_probe ALTER TABLE t ADD x int; DELETE FROM t | Close Sreprieve_probe | Sync
              holds
            S Error 42601 several R=exec_parse_message | Ready I
              > Parse reprieve_probe BEGIN | Bind reprieve_probe reprieve_probe | Execute reprieve_probe | Close Preprieve_probe | Close Sreprieve_probe | Sync
              holds
            S Complete BEGIN | Ready T
              > Query ALTER TABLE t ADD x int; 
              holds
            S Complete ALTER TABLE | Ready T
              > Parse reprieve_probe SELECT reprieve.after_ddl_v1() | Bind reprieve_probe reprieve_probe | Execute reprieve_probe | Close Preprieve_probe | Close Sreprieve_probe | Sync
              < Complete ALTER TABLE
              holds
            S Catalog t | Ready T
              > Parse reprieve_probe SELECT reprieve.session_v1() | Bind reprieve_probe reprieve_probe | Execute reprieve_probe | Close Preprieve_probe | Close Sreprieve_probe | Sync
              holds
            S Scope | Ready T
              > Query UPDATE t SET deleted_at = pg_catalog.now(), deletion_id = (SELECT reprieve.begin_deletion_v1(E'DELETE FROM t')) WHERE t.deleted_at IS NULL
              holds
            S Complete UPDATE 1 | Ready T
              > Parse reprieve_probe COMMIT | Bind reprieve_probe reprieve_probe | Execute reprieve_probe | Close Preprieve_probe | Close Sreprieve_probe | Sync
              holds
            S Error 23503 deferred | Ready I
              < Error S=ERROR C=23503 M=deferred | Ready I
            C Query SELECT 1
              > Query SELECT 1
            S Complete SELECT 1 | Ready I
              < Complete SELECT 1 | Ready I
        "#]],
    );
}

#[test]
fn a_transaction_of_the_clients_own_needs_none_of_ours() {
    check(
        &mut settled(),
        "C Query BEGIN; ALTER TABLE t ADD x int; DELETE FROM t; COMMIT; SELECT 1
         S Error 42601 several R=exec_parse_message | Ready I
         S Complete BEGIN | Complete ALTER TABLE | Ready T
         S Catalog t | Ready T
         S Scope | Ready T
         S Complete UPDATE 1 | Complete COMMIT | Ready I
         S Complete SELECT 1 | Ready I",
        expect![[r#"
            C Query BEGIN; ALTER TABLE t ADD x int; DELETE FROM t; COMMIT; SELECT 1
              > Parse reprieve_probe BEGIN; ALTER TABLE t ADD x int; DELETE FROM t; COMMIT; SELECT 1 | Close Sreprieve_probe | Sync
              holds
            S Error 42601 several R=exec_parse_message | Ready I
              > Query BEGIN; ALTER TABLE t ADD x int; 
              holds
            S Complete BEGIN | Complete ALTER TABLE | Ready T
              > Parse reprieve_probe SELECT reprieve.after_ddl_v1() | Bind reprieve_probe reprieve_probe | Execute reprieve_probe | Close Preprieve_probe | Close Sreprieve_probe | Sync
              < Complete BEGIN | Complete ALTER TABLE
              holds
            S Catalog t | Ready T
              > Parse reprieve_probe SELECT reprieve.session_v1() | Bind reprieve_probe reprieve_probe | Execute reprieve_probe | Close Preprieve_probe | Close Sreprieve_probe | Sync
              holds
            S Scope | Ready T
              > Query UPDATE t SET deleted_at = pg_catalog.now(), deletion_id = (SELECT reprieve.begin_deletion_v1(E'DELETE FROM t')) WHERE t.deleted_at IS NULL; COMMIT; 
              holds
            S Complete UPDATE 1 | Complete COMMIT | Ready I
              > Query SELECT 1
              < Complete DELETE 1 | Complete COMMIT
              holds
            S Complete SELECT 1 | Ready I
              < Complete SELECT 1 | Ready I
        "#]],
    );
}

#[test]
fn copy_data_of_a_part_comes_from_the_client() {
    check(
        &mut settled(),
        "C Query BEGIN; ALTER TABLE t ADD x int; COPY t FROM STDIN; SELECT 1
         S Error 42601 several R=exec_parse_message | Ready I
         S Complete BEGIN | Complete ALTER TABLE | Ready T
         S Catalog t | Ready T
         S Scope | Ready T
         S CopyIn
         C CopyData abc | CopyDone
         S Complete COPY 1 | Complete SELECT 1 | Ready T
         C Query COMMIT
         S Complete COMMIT | Ready I",
        expect![[r#"
            C Query BEGIN; ALTER TABLE t ADD x int; COPY t FROM STDIN; SELECT 1
              > Parse reprieve_probe BEGIN; ALTER TABLE t ADD x int; COPY t FROM STDIN; SELECT 1 | Close Sreprieve_probe | Sync
              holds
            S Error 42601 several R=exec_parse_message | Ready I
              > Query BEGIN; ALTER TABLE t ADD x int; 
              holds
            S Complete BEGIN | Complete ALTER TABLE | Ready T
              > Parse reprieve_probe SELECT reprieve.after_ddl_v1() | Bind reprieve_probe reprieve_probe | Execute reprieve_probe | Close Preprieve_probe | Close Sreprieve_probe | Sync
              < Complete BEGIN | Complete ALTER TABLE
              holds
            S Catalog t | Ready T
              > Parse reprieve_probe SELECT reprieve.session_v1() | Bind reprieve_probe reprieve_probe | Execute reprieve_probe | Close Preprieve_probe | Close Sreprieve_probe | Sync
              holds
            S Scope | Ready T
              > Query COPY t ("id", "name") FROM STDIN; SELECT 1
              holds
            S CopyIn
              < CopyIn
            C CopyData abc | CopyDone
              > CopyData abc | CopyDone
              holds
            S Complete COPY 1 | Complete SELECT 1 | Ready T
              < Complete COPY 1 | Complete SELECT 1 | Ready T
            C Query COMMIT
              > Query COMMIT
            S Complete COMMIT | Ready I
              < Complete COMMIT | Ready I
        "#]],
    );
}

#[test]
fn a_syntax_error_anywhere_runs_nothing() {
    check(
        &mut settled(),
        "C Query ALTER TABLE t ADD x int; DELETE FROM t; SELEC 1
         S Error 42601 syntax P=41 F=scan.l | Ready I
         C Query SELECT 1
         S Complete SELECT 1 | Ready I",
        expect![[r#"
            C Query ALTER TABLE t ADD x int; DELETE FROM t; SELEC 1
              > Parse reprieve_probe ALTER TABLE t ADD x int; DELETE FROM t; SELEC 1 | Close Sreprieve_probe | Sync
              holds
            S Error 42601 syntax P=41 F=scan.l | Ready I
              < Error S=ERROR C=42601 M=syntax P=41 F=scan.l | Ready I
            C Query SELECT 1
              > Query SELECT 1
            S Complete SELECT 1 | Ready I
              < Complete SELECT 1 | Ready I
        "#]],
    );
}
