//! Schema changes that the keeper follows.

use expect_test::expect;

use crate::check;
use crate::support::Talk;

#[test]
fn the_keeper_follows_ddl_before_the_client_goes_on() {
    check(
        &mut Talk::ready("ready t"),
        "C Query CREATE TABLE u () | Query SELECT 1
         S Complete CREATE TABLE
         S Ready I
         S Catalog t u | Ready I
         H ready t u
         A
         S Complete SELECT 1 | Ready I
         C Query CREATE INDEX ON u (id)
         S Complete CREATE INDEX | Ready I
         S Catalog t u | Ready I",
        expect![[r#"
            C Query CREATE TABLE u () | Query SELECT 1
              > Query CREATE TABLE u ()
              holds
            S Complete CREATE TABLE
              < Complete CREATE TABLE
              holds
            S Ready I
              > Parse reprieve_probe SELECT reprieve.after_ddl_v1() | Bind reprieve_probe reprieve_probe | Execute reprieve_probe | Close Preprieve_probe | Close Sreprieve_probe | Sync
              holds
            S Catalog t u | Ready I
              request: ReloadCatalog
            H ready t u
              holds
            A
              > Query SELECT 1
              < Ready I
            S Complete SELECT 1 | Ready I
              < Complete SELECT 1 | Ready I
            C Query CREATE INDEX ON u (id)
              > Query CREATE INDEX ON u (id)
            S Complete CREATE INDEX | Ready I
              > Parse reprieve_probe SELECT reprieve.after_ddl_v1() | Bind reprieve_probe reprieve_probe | Execute reprieve_probe | Close Preprieve_probe | Close Sreprieve_probe | Sync
              < Complete CREATE INDEX
              holds
            S Catalog t u | Ready I
              < Ready I
        "#]],
    );
}

#[test]
fn ddl_in_a_transaction_is_seen_by_it_alone() {
    check(
        &mut Talk::ready("ready"),
        "C Query BEGIN
         S Complete BEGIN | Ready T
         C Query CREATE TABLE u ()
         S Complete CREATE TABLE | Ready T
         S Catalog u | Ready T
         C Query DELETE FROM u
         S Scope | Ready T
         S Complete UPDATE 0 | Ready T
         C Query ROLLBACK
         S Complete ROLLBACK | Ready I
         C Query DELETE FROM u
         S Error 42P01 no table | Ready I
         C Query BEGIN
         S Complete BEGIN | Ready T
         C Query CREATE TABLE u ()
         S Complete CREATE TABLE | Ready T
         S Catalog u | Ready T
         C Query COMMIT
         S Complete COMMIT | Ready I
         H ready u
         A
         C Query SELECT 1",
        expect![[r#"
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
            S Catalog u | Ready T
              < Ready T
            C Query DELETE FROM u
              > Parse reprieve_probe SELECT reprieve.session_v1() | Bind reprieve_probe reprieve_probe | Execute reprieve_probe | Close Preprieve_probe | Close Sreprieve_probe | Sync
              holds
            S Scope | Ready T
              > Query UPDATE u SET deleted_at = pg_catalog.now(), deletion_id = (SELECT reprieve.begin_deletion_v1(E'DELETE FROM u')) WHERE u.deleted_at IS NULL
            S Complete UPDATE 0 | Ready T
              < Complete DELETE 0 | Ready T
            C Query ROLLBACK
              > Query ROLLBACK
            S Complete ROLLBACK | Ready I
              < Complete ROLLBACK | Ready I
            C Query DELETE FROM u
              > Query DELETE FROM u
            S Error 42P01 no table | Ready I
              < Error S=ERROR C=42P01 M=no table | Ready I
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
            S Catalog u | Ready T
              < Ready T
            C Query COMMIT
              > Query COMMIT
            S Complete COMMIT | Ready I
              < Complete COMMIT
              request: ReloadCatalog
            H ready u
              holds
            A
              < Ready I
            C Query SELECT 1
              > Query SELECT 1
        "#]],
    );
}

#[test]
fn ddl_in_a_batch_is_followed_in_the_batch_or_behind_it() {
    check(
        &mut Talk::ready("ready"),
        "C Parse - CREATE TABLE u () | Bind - - | Execute - | Sync
         S Parsed | Bound | Complete CREATE TABLE | Ready I
         S Catalog | Ready I
         C Parse - CREATE TABLE u () | Bind - - | Execute - | Parse - SELECT 1 | Sync
         S Parsed | Bound | Complete CREATE TABLE
         S Catalog u
         S Parsed | Ready I",
        expect![[r#"
            C Parse - CREATE TABLE u () | Bind - - | Execute - | Sync
              > Parse - CREATE TABLE u () | Bind - - | Execute - | Sync
            S Parsed | Bound | Complete CREATE TABLE | Ready I
              > Parse reprieve_probe SELECT reprieve.after_ddl_v1() | Bind reprieve_probe reprieve_probe | Execute reprieve_probe | Close Preprieve_probe | Close Sreprieve_probe | Sync
              < Parsed | Bound | Complete CREATE TABLE
              holds
            S Catalog | Ready I
              < Ready I
            C Parse - CREATE TABLE u () | Bind - - | Execute - | Parse - SELECT 1 | Sync
              > Parse - CREATE TABLE u () | Bind - - | Execute - | Flush
              holds
            S Parsed | Bound | Complete CREATE TABLE
              > Parse reprieve_probe SELECT reprieve.after_ddl_v1() | Bind reprieve_probe reprieve_probe | Execute reprieve_probe | Close Preprieve_probe | Close Sreprieve_probe | Flush
              < Parsed | Bound | Complete CREATE TABLE
              holds
            S Catalog u
              > Parse - SELECT 1 | Sync
            S Parsed | Ready I
              < Parsed
              request: ReloadCatalog
        "#]],
    );
}

#[test]
fn a_keeper_that_cannot_follow_is_a_warning() {
    check(
        &mut Talk::ready("ready t"),
        "C Query CREATE TABLE u ()
         S Complete CREATE TABLE | Ready I
         S Error 42501 permission denied | Ready I
         A
         C Query BEGIN
         S Complete BEGIN | Ready T
         C Query CREATE TABLE u ()
         S Complete CREATE TABLE | Ready T
         S Error 42501 permission denied | Ready E
         C Query SELECT 1",
        expect![[r#"
            C Query CREATE TABLE u ()
              > Query CREATE TABLE u ()
            S Complete CREATE TABLE | Ready I
              > Parse reprieve_probe SELECT reprieve.after_ddl_v1() | Bind reprieve_probe reprieve_probe | Execute reprieve_probe | Close Preprieve_probe | Close Sreprieve_probe | Sync
              < Complete CREATE TABLE
              holds
            S Error 42501 permission denied | Ready I
              request: ReloadCatalog
            A
              < Ready I
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
            S Error 42501 permission denied | Ready E
              < Notice S=WARNING C=01000 M=soft delete could not follow this schema change: permission denied | Ready E
            C Query SELECT 1
              > Query SELECT 1
        "#]],
    );
}

#[test]
fn constraints_set_behind_ddl_are_set_again() {
    let begin = "C Query BEGIN
         S Complete BEGIN | Ready T
         C Query ALTER TABLE u ADD CONSTRAINT f FOREIGN KEY (a) REFERENCES u DEFERRABLE; SET CONSTRAINTS f IMMEDIATE
         S Complete ALTER TABLE | Complete SET CONSTRAINTS | Ready T";
    check(
        &mut Talk::ready("ready u"),
        &format!(
            "{begin}
             S Deferring u | Ready T
             S Scope | Ready T
             S Parsed | Bound | Complete SET CONSTRAINTS | Closed | Closed | Ready T"
        ),
        expect![[r#"
            C Query BEGIN
              > Query BEGIN
            S Complete BEGIN | Ready T
              < Complete BEGIN | Ready T
            C Query ALTER TABLE u ADD CONSTRAINT f FOREIGN KEY (a) REFERENCES u DEFERRABLE; SET CONSTRAINTS f IMMEDIATE
              > Query ALTER TABLE u ADD CONSTRAINT f FOREIGN KEY (a) REFERENCES u DEFERRABLE; SET CONSTRAINTS f IMMEDIATE
            S Complete ALTER TABLE | Complete SET CONSTRAINTS | Ready T
              > Parse reprieve_probe SELECT reprieve.after_ddl_v1() | Bind reprieve_probe reprieve_probe | Execute reprieve_probe | Close Preprieve_probe | Close Sreprieve_probe | Sync
              < Complete ALTER TABLE | Complete SET CONSTRAINTS
              holds
            S Deferring u | Ready T
              > Parse reprieve_probe SELECT reprieve.session_v1() | Bind reprieve_probe reprieve_probe | Execute reprieve_probe | Close Preprieve_probe | Close Sreprieve_probe | Sync
              holds
            S Scope | Ready T
              > Parse reprieve_probe SET CONSTRAINTS f, "public"."~live_f" IMMEDIATE | Bind reprieve_probe reprieve_probe | Execute reprieve_probe | Close Preprieve_probe | Close Sreprieve_probe | Sync
              holds
            S Parsed | Bound | Complete SET CONSTRAINTS | Closed | Closed | Ready T
              < Ready T
        "#]],
    );
    // A check that fails then is the client's to know.
    check(
        &mut Talk::ready("ready u"),
        &format!(
            "{begin}
             S Deferring u | Ready T
             S Scope | Ready T
             S Parsed | Bound | Error 23503 no parent | Ready E
             C Query ROLLBACK
             S Complete ROLLBACK | Ready I"
        ),
        expect![[r#"
            C Query BEGIN
              > Query BEGIN
            S Complete BEGIN | Ready T
              < Complete BEGIN | Ready T
            C Query ALTER TABLE u ADD CONSTRAINT f FOREIGN KEY (a) REFERENCES u DEFERRABLE; SET CONSTRAINTS f IMMEDIATE
              > Query ALTER TABLE u ADD CONSTRAINT f FOREIGN KEY (a) REFERENCES u DEFERRABLE; SET CONSTRAINTS f IMMEDIATE
            S Complete ALTER TABLE | Complete SET CONSTRAINTS | Ready T
              > Parse reprieve_probe SELECT reprieve.after_ddl_v1() | Bind reprieve_probe reprieve_probe | Execute reprieve_probe | Close Preprieve_probe | Close Sreprieve_probe | Sync
              < Complete ALTER TABLE | Complete SET CONSTRAINTS
              holds
            S Deferring u | Ready T
              > Parse reprieve_probe SELECT reprieve.session_v1() | Bind reprieve_probe reprieve_probe | Execute reprieve_probe | Close Preprieve_probe | Close Sreprieve_probe | Sync
              holds
            S Scope | Ready T
              > Parse reprieve_probe SET CONSTRAINTS f, "public"."~live_f" IMMEDIATE | Bind reprieve_probe reprieve_probe | Execute reprieve_probe | Close Preprieve_probe | Close Sreprieve_probe | Sync
              holds
            S Parsed | Bound | Error 23503 no parent | Ready E
              < Error S=ERROR C=23503 M=no parent | Ready E
            C Query ROLLBACK
              > Query ROLLBACK
            S Complete ROLLBACK | Ready I
              < Complete ROLLBACK | Ready I
        "#]],
    );
    // Nothing of ours: nothing is said twice.
    check(
        &mut Talk::ready("ready u"),
        &format!(
            "{begin}
             S Catalog u | Ready T
             S Scope | Ready T"
        ),
        expect![[r#"
            C Query BEGIN
              > Query BEGIN
            S Complete BEGIN | Ready T
              < Complete BEGIN | Ready T
            C Query ALTER TABLE u ADD CONSTRAINT f FOREIGN KEY (a) REFERENCES u DEFERRABLE; SET CONSTRAINTS f IMMEDIATE
              > Query ALTER TABLE u ADD CONSTRAINT f FOREIGN KEY (a) REFERENCES u DEFERRABLE; SET CONSTRAINTS f IMMEDIATE
            S Complete ALTER TABLE | Complete SET CONSTRAINTS | Ready T
              > Parse reprieve_probe SELECT reprieve.after_ddl_v1() | Bind reprieve_probe reprieve_probe | Execute reprieve_probe | Close Preprieve_probe | Close Sreprieve_probe | Sync
              < Complete ALTER TABLE | Complete SET CONSTRAINTS
              holds
            S Catalog u | Ready T
              > Parse reprieve_probe SELECT reprieve.session_v1() | Bind reprieve_probe reprieve_probe | Execute reprieve_probe | Close Preprieve_probe | Close Sreprieve_probe | Sync
              holds
            S Scope | Ready T
              < Ready T
        "#]],
    );
}

#[test]
fn what_was_committed_is_followed_though_the_next_transaction_is_rolled_back() {
    check(
        &mut Talk::ready("ready"),
        "C Query BEGIN; CREATE TABLE u (); COMMIT; BEGIN; ROLLBACK
         S Complete BEGIN | Complete CREATE TABLE | Complete COMMIT | Complete BEGIN | Complete ROLLBACK | Ready I
         S Catalog | Ready I",
        expect![[r#"
            C Query BEGIN; CREATE TABLE u (); COMMIT; BEGIN; ROLLBACK
              > Query BEGIN; CREATE TABLE u (); COMMIT; BEGIN; ROLLBACK
            S Complete BEGIN | Complete CREATE TABLE | Complete COMMIT | Complete BEGIN | Complete ROLLBACK | Ready I
              > Parse reprieve_probe SELECT reprieve.after_ddl_v1() | Bind reprieve_probe reprieve_probe | Execute reprieve_probe | Close Preprieve_probe | Close Sreprieve_probe | Sync
              < Complete BEGIN | Complete CREATE TABLE | Complete COMMIT | Complete BEGIN | Complete ROLLBACK
              holds
            S Catalog | Ready I
              < Ready I
        "#]],
    );
}
