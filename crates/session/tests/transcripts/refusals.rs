//! Statements that are not sent.

use expect_test::expect;
use session::Port;

use crate::check;
use crate::support::{Talk, session_with};

#[test]
fn refusals_take_the_place_of_their_reply() {
    let mut talk = Talk::ready("ready t");
    check(
        &mut talk,
        "C Query SELECT 1 | Query MERGE INTO t bogus | Query SELECT 2
         S Complete SELECT 1 | Ready I
         S Scope | Ready I
         S Closed | Parsed | Closed | Error 42703 column P=8
         S Ready I | Complete SELECT 1 | Ready I
         C Query BEGIN
         S Complete BEGIN | Ready T
         C Parse - MERGE INTO t bogus | Bind - - | Execute - | Sync
         S Parsed | Closed | Error 42703 column | Ready E
         C Parse - MERGE INTO t bogus | Sync | Query MERGE INTO t bogus
         S Error 25P02 aborted | Ready E
         S Error 25P02 aborted | Ready E",
        expect![[r#"
            C Query SELECT 1 | Query MERGE INTO t bogus | Query SELECT 2
              > Query SELECT 1
              holds
            S Complete SELECT 1 | Ready I
              > Parse reprieve_probe SELECT reprieve.session_v1() | Bind reprieve_probe reprieve_probe | Execute reprieve_probe | Close Preprieve_probe | Close Sreprieve_probe | Sync
              < Complete SELECT 1 | Ready I
              holds
            S Scope | Ready I
              > Close S | Parse reprieve_refused MERGE INTO t bogus | Close Sreprieve_refused | Parse reprieve_refused SELECT "refused by reprieve" | Sync | Query SELECT 2
            S Closed | Parsed | Closed | Error 42703 column P=8
              < Error S=ERROR C=0A000 M=this statement names soft-delete table "t" and is not understood D=Sent as it is, it might show deleted rows. Parser: Expected: USING, found: EOF H=Write it in a simpler form, or send it to the database without Reprieve. P=12
            S Ready I | Complete SELECT 1 | Ready I
              < Ready I | Complete SELECT 1 | Ready I
            C Query BEGIN
              > Query BEGIN
            S Complete BEGIN | Ready T
              < Complete BEGIN | Ready T
            C Parse - MERGE INTO t bogus | Bind - - | Execute - | Sync
              > Parse reprieve_refused MERGE INTO t bogus | Close Sreprieve_refused | Parse reprieve_refused SELECT "refused by reprieve" | Bind - - | Execute - | Sync
            S Parsed | Closed | Error 42703 column | Ready E
              < Error S=ERROR C=0A000 M=this statement names soft-delete table "t" and is not understood D=Sent as it is, it might show deleted rows. Parser: Expected: USING, found: EOF H=Write it in a simpler form, or send it to the database without Reprieve. P=12 | Ready E
            C Parse - MERGE INTO t bogus | Sync | Query MERGE INTO t bogus
              > Parse - MERGE INTO t bogus | Sync
              holds
            S Error 25P02 aborted | Ready E
              > Query MERGE INTO t bogus
              < Error S=ERROR C=25P02 M=aborted | Ready E
            S Error 25P02 aborted | Ready E
              < Error S=ERROR C=25P02 M=aborted | Ready E
        "#]],
    );
    // Where the server had an error of its own, nothing was refused.
    assert_eq!(*talk.host.refused.lock().unwrap(), ["R1", "R1"]);
}

#[test]
fn the_server_judges_a_statement_before_we_refuse_it() {
    check(
        &mut Talk::ready("ready t"),
        "C Query DELETE FROM t
         S Scope | Ready I
         S Complete UPDATE 1 | Ready I
         C Query DELETE FROM t WHER id | Query SELECT 1
         S Closed | Error 42601 syntax P=20 F=scan.l | Ready I | Complete SELECT 1 | Ready I
         C Query SELECT 'ä'; DELETE FROM t WHER id; SELECT 2
         S Closed | Error 42601 syntax P=20 F=scan.l | Ready I
         C Query SET search_path = a; DELETE FROM t WHER id
         S Error 42601 syntax P=46 F=scan.l | Ready I
         C Query DELETE FROM t WHER id
         S Closed | Error 57014 canceled | Ready I
         C Parse s DELETE FROM t WHER id | Bind - s | Flush
         S Error 42601 syntax P=20 F=scan.l
         C Execute - | Sync
         S Ready I
         C Parse s DELETE FROM t; DELETE FROM t WHER id | Sync
         S Error 42601 several F=postgres.c | Ready I
         C Query INSERT INTO t SELECT * FROM t WHER id
         S Closed | Error 42601 more columns F=parse_target.c | Ready I
         C Query DELETE FROM t WHER id
         S Closed | Error 42702 deleted_at is ambiguous | Ready I",
        expect![[r#"
            C Query DELETE FROM t
              > Parse reprieve_probe SELECT reprieve.session_v1() | Bind reprieve_probe reprieve_probe | Execute reprieve_probe | Close Preprieve_probe | Close Sreprieve_probe | Sync
              holds
            S Scope | Ready I
              > Query UPDATE t SET deleted_at = pg_catalog.now(), deletion_id = (SELECT reprieve.begin_deletion_v1(E'DELETE FROM t')) WHERE t.deleted_at IS NULL
            S Complete UPDATE 1 | Ready I
              < Complete DELETE 1 | Ready I
            C Query DELETE FROM t WHER id | Query SELECT 1
              > Close S | Parse reprieve_refused DELETE FROM t WHER id | Close Sreprieve_refused | Parse reprieve_refused SELECT "refused by reprieve" | Sync | Query SELECT 1
            S Closed | Error 42601 syntax P=20 F=scan.l | Ready I | Complete SELECT 1 | Ready I
              < Error S=ERROR C=42601 M=syntax P=20 F=scan.l | Ready I | Complete SELECT 1 | Ready I
            C Query SELECT 'ä'; DELETE FROM t WHER id; SELECT 2
              > Close S | Parse reprieve_refused DELETE FROM t WHER id;  | Close Sreprieve_refused | Parse reprieve_refused SELECT "refused by reprieve" | Sync
            S Closed | Error 42601 syntax P=20 F=scan.l | Ready I
              < Error S=ERROR C=42601 M=syntax P=32 F=scan.l | Ready I
            C Query SET search_path = a; DELETE FROM t WHER id
              > Parse reprieve_probe SET search_path = a; DELETE FROM t WHER id | Close Sreprieve_probe | Sync
              holds
            S Error 42601 syntax P=46 F=scan.l | Ready I
              < Error S=ERROR C=42601 M=syntax P=46 F=scan.l | Ready I
            C Query DELETE FROM t WHER id
              > Close S | Parse reprieve_refused DELETE FROM t WHER id | Close Sreprieve_refused | Parse reprieve_refused SELECT "refused by reprieve" | Sync
            S Closed | Error 57014 canceled | Ready I
              < Error S=ERROR C=57014 M=canceled | Ready I
            C Parse s DELETE FROM t WHER id | Bind - s | Flush
              > Parse reprieve_refused DELETE FROM t WHER id | Close Sreprieve_refused | Parse reprieve_refused SELECT "refused by reprieve" | Bind - s | Flush
            S Error 42601 syntax P=20 F=scan.l
              < Error S=ERROR C=42601 M=syntax P=20 F=scan.l
            C Execute - | Sync
              > Sync
            S Ready I
              < Ready I
            C Parse s DELETE FROM t; DELETE FROM t WHER id | Sync
              > Parse reprieve_refused DELETE FROM t; DELETE FROM t WHER id | Close Sreprieve_refused | Parse reprieve_refused SELECT "refused by reprieve" | Sync
            S Error 42601 several F=postgres.c | Ready I
              < Error S=ERROR C=42601 M=several F=postgres.c | Ready I
            C Query INSERT INTO t SELECT * FROM t WHER id
              > Close S | Parse reprieve_refused INSERT INTO t SELECT * FROM t WHER id | Close Sreprieve_refused | Parse reprieve_refused SELECT "refused by reprieve" | Sync
            S Closed | Error 42601 more columns F=parse_target.c | Ready I
              < Error S=ERROR C=0A000 M=this statement names soft-delete table "t" and is not understood D=Sent as it is, it might show deleted rows. Parser: unexpected id after the statement H=Write it in a simpler form, or send it to the database without Reprieve. P=13 | Ready I
            C Query DELETE FROM t WHER id
              > Close S | Parse reprieve_refused DELETE FROM t WHER id | Close Sreprieve_refused | Parse reprieve_refused SELECT "refused by reprieve" | Sync
            S Closed | Error 42702 deleted_at is ambiguous | Ready I
              < Error S=ERROR C=0A000 M=this statement names soft-delete table "t" and is not understood D=Sent as it is, it might show deleted rows. Parser: unexpected id after the statement H=Write it in a simpler form, or send it to the database without Reprieve. P=13 | Ready I
        "#]],
    );
}

#[test]
fn settings_of_the_keeper_are_not_the_clients_to_set() {
    check(
        &mut Talk::ready("ready t"),
        "C Query SET reprieve.actor = 'ann'
         S Complete SET | Ready I
         C Query SELECT 1; SET reprieve.role = 'bob'
         S Closed | Parsed | Closed | Error 42703 x | Ready I
         C Parse - SELECT set_config('reprieve.depth', '1', false) | Bind - - | Execute - | Sync
         S Parsed | Closed | Error 42703 x | Ready I
         C Query RESET ALL
         S Complete RESET | Ready I
         C Query DISCARD ALL
         S Complete DISCARD ALL | Ready I",
        expect![[r#"
            C Query SET reprieve.actor = 'ann'
              > Query SET reprieve.actor = 'ann'
            S Complete SET | Ready I
              < Complete SET | Ready I
            C Query SELECT 1; SET reprieve.role = 'bob'
              > Close S | Parse reprieve_refused SET reprieve.role = 'bob' | Close Sreprieve_refused | Parse reprieve_refused SELECT "refused by reprieve" | Sync
            S Closed | Parsed | Closed | Error 42703 x | Ready I
              < Error S=ERROR C=42501 M=permission denied to set parameter "reprieve.role" H=Applications may set reprieve.actor, reprieve.reason, reprieve.max_rows, reprieve.show and reprieve.truncate. P=15 | Ready I
            C Parse - SELECT set_config('reprieve.depth', '1', false) | Bind - - | Execute - | Sync
              > Parse reprieve_refused SELECT set_config('reprieve.depth', '1', false) | Close Sreprieve_refused | Parse reprieve_refused SELECT "refused by reprieve" | Bind - - | Execute - | Sync
            S Parsed | Closed | Error 42703 x | Ready I
              < Error S=ERROR C=42501 M=permission denied to set parameter "reprieve.depth" H=Applications may set reprieve.actor, reprieve.reason, reprieve.max_rows, reprieve.show and reprieve.truncate. P=19 | Ready I
            C Query RESET ALL
              > Query RESET ALL
            S Complete RESET | Ready I
              < Complete RESET | Ready I
            C Query DISCARD ALL
              > Query DISCARD ALL
            S Complete DISCARD ALL | Ready I
              < Complete DISCARD ALL | Ready I
        "#]],
    );
}

#[test]
fn settings_of_the_keeper_are_not_set_at_startup() {
    let mut talk = Talk::new(Port::App, false, "ready t");
    talk.session = session_with(&talk.host, ("options", "-c reprieve.role=bob"));
    check(
        &mut talk,
        "S Auth 0 | Key 1 | Ready I",
        expect![[r#"
        S Auth 0 | Key 1 | Ready I
          < Auth  | Key | Error S=FATAL C=42501 M=permission denied to set parameter "reprieve.role" H=Applications may set reprieve.actor, reprieve.reason, reprieve.max_rows, reprieve.show and reprieve.truncate.
          ended: Dismissed { sqlstate: "42501", message: "permission denied to set parameter \"reprieve.role\"" }
    "#]],
    );
    // Where there is no keeper nobody minds.
    let mut talk = Talk::new(Port::App, false, "missing");
    talk.session = session_with(&talk.host, ("reprieve.role", "bob"));
    check(
        &mut talk,
        "S Auth 0 | Key 1 | Ready I",
        expect![[r#"
        S Auth 0 | Key 1 | Ready I
          < Auth  | Key | Ready I
    "#]],
    );
}
