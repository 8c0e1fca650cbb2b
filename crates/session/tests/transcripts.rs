//! Conversations as text. `UPDATE_EXPECT=1 cargo test -p session` writes what the session does now:
//! read it before you keep it.

mod support;

use expect_test::{Expect, expect};
use session::Port;
use support::Talk;

fn check(talk: &mut Talk, script: &str, expected: Expect) {
    talk.run(script);
    expected.assert_eq(&talk.transcript);
}

#[test]
fn authentication_passes_and_early_statements_wait() {
    check(
        &mut Talk::new(Port::App, false, "ready t"),
        "S Auth 5
         C Password x | Query SELECT 1
         S Auth 0 | Param client_encoding UTF8 | Key
         S Ready I",
        expect![[r#"
            S Auth 5
              < Auth 
            C Password x | Query SELECT 1
              > Password x
              holds
            S Auth 0 | Param client_encoding UTF8 | Key
              < Auth  | Param client_encoding UTF8 | Key
              holds
            S Ready I
              > Query SELECT 1
              < Ready I
        "#]],
    );
}

#[test]
fn scram_plus_is_stripped_where_the_channels_differ() {
    let mut talk = Talk::new(Port::App, false, "ready t");
    check(
        &mut talk,
        "S Sasl SCRAM-SHA-256-PLUS SCRAM-SHA-256",
        expect![[r#"
            S Sasl SCRAM-SHA-256-PLUS SCRAM-SHA-256
              < Auth  SCRAM-SHA-256-PLUS SCRAM-SHA-256
        "#]],
    );
    let mut talk = Talk::new(Port::App, false, "ready t");
    talk.session.strip_channel_binding();
    check(
        &mut talk,
        "S Sasl SCRAM-SHA-256-PLUS SCRAM-SHA-256",
        expect![[r#"
            S Sasl SCRAM-SHA-256-PLUS SCRAM-SHA-256
              < Auth  SCRAM-SHA-256
        "#]],
    );
}

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
fn refusals_take_the_place_of_their_reply() {
    check(
        &mut Talk::ready("ready t"),
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
         S Closed | Error 42P01 nothing P=20 | Ready I
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
              > Close S | Parse reprieve_refused DELETE FROM t WHER id | Close Sreprieve_refused | Parse reprieve_refused SELECT "refused by reprieve" | Sync
            S Closed | Error 42P01 nothing P=20 | Ready I
              < Error S=ERROR C=0A000 M=a soft-delete table cannot be used behind a change of names in the same message D=The statement at byte 1 may change which table is meant, or its columns. H=Send the statements one by one; inside BEGIN and COMMIT they stay one transaction. P=34 | Ready I
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
fn copy_in_by_query() {
    check(
        &mut Talk::ready("ready t"),
        "C Query COPY u FROM STDIN
         S CopyIn
         C CopyData 1 | Sync | Flush | CopyData 2 | CopyDone | Query SELECT 1
         S Complete COPY 2 | Ready I | Complete SELECT 1 | Ready I
         C Query COPY u FROM STDIN
         S CopyIn
         C CopyData x
         S Error 22P02 bad | Ready I
         C CopyData y | CopyDone | Query SELECT 2
         S Complete SELECT 1 | Ready I
         C Query COPY u TO STDOUT
         S CopyOut | CopyData 1 | CopyDone | Complete COPY 1 | Ready I",
        expect![[r#"
            C Query COPY u FROM STDIN
              > Query COPY u FROM STDIN
            S CopyIn
              < CopyIn
            C CopyData 1 | Sync | Flush | CopyData 2 | CopyDone | Query SELECT 1
              > CopyData 1 | CopyData 2 | CopyDone | Query SELECT 1
            S Complete COPY 2 | Ready I | Complete SELECT 1 | Ready I
              < Complete COPY 2 | Ready I | Complete SELECT 1 | Ready I
            C Query COPY u FROM STDIN
              > Query COPY u FROM STDIN
            S CopyIn
              < CopyIn
            C CopyData x
              > CopyData x
            S Error 22P02 bad | Ready I
              < Error S=ERROR C=22P02 M=bad | Ready I
            C CopyData y | CopyDone | Query SELECT 2
              > CopyData y | CopyDone | Query SELECT 2
            S Complete SELECT 1 | Ready I
              < Complete SELECT 1 | Ready I
            C Query COPY u TO STDOUT
              > Query COPY u TO STDOUT
            S CopyOut | CopyData 1 | CopyDone | Complete COPY 1 | Ready I
              < CopyOut | CopyData 1 | CopyDone | Complete COPY 1 | Ready I
        "#]],
    );
}

#[test]
fn copy_in_by_execute_as_libpq_sends_it() {
    check(
        &mut Talk::ready("ready t"),
        "C Parse - COPY u FROM STDIN | Bind - - | Describe P - | Execute - | Sync
         S Parsed | Bound | NoData | CopyIn
         C CopyData 1 | CopyDone | Sync
         S Complete COPY 1 | Ready I
         C Parse - COPY u FROM STDIN | Bind - - | Execute - | Sync
         S Parsed | Bound | CopyIn
         C CopyData bad
         S Error 22P02 bad
         C CopyData 2 | CopyDone | Sync
         S Ready I
         C Query SELECT 1
         S Complete SELECT 1 | Ready I",
        expect![[r#"
            C Parse - COPY u FROM STDIN | Bind - - | Describe P - | Execute - | Sync
              > Parse - COPY u FROM STDIN | Bind - - | Describe P | Execute - | Sync
            S Parsed | Bound | NoData | CopyIn
              < Parsed | Bound | NoData | CopyIn
            C CopyData 1 | CopyDone | Sync
              > CopyData 1 | CopyDone | Sync
            S Complete COPY 1 | Ready I
              < Complete COPY 1 | Ready I
            C Parse - COPY u FROM STDIN | Bind - - | Execute - | Sync
              > Parse - COPY u FROM STDIN | Bind - - | Execute - | Sync
            S Parsed | Bound | CopyIn
              < Parsed | Bound | CopyIn
            C CopyData bad
              > CopyData bad
            S Error 22P02 bad
              < Error S=ERROR C=22P02 M=bad
            C CopyData 2 | CopyDone | Sync
              > Sync
            S Ready I
              < Ready I
            C Query SELECT 1
              > Query SELECT 1
            S Complete SELECT 1 | Ready I
              < Complete SELECT 1 | Ready I
        "#]],
    );
}

#[test]
fn copy_data_sent_before_the_server_asks() {
    check(
        &mut Talk::ready("ready t"),
        "C Query COPY u FROM STDIN | CopyData 1 | CopyDone | Query SELECT 1
         S CopyIn | Complete COPY 1 | Ready I | Complete SELECT 1 | Ready I",
        expect![[r#"
            C Query COPY u FROM STDIN | CopyData 1 | CopyDone | Query SELECT 1
              > Query COPY u FROM STDIN | CopyData 1 | CopyDone | Query SELECT 1
            S CopyIn | Complete COPY 1 | Ready I | Complete SELECT 1 | Ready I
              < CopyIn | Complete COPY 1 | Ready I | Complete SELECT 1 | Ready I
        "#]],
    );
}

#[test]
fn a_statement_within_copy_is_the_end() {
    check(
        &mut Talk::ready("ready t"),
        "C Query COPY u FROM STDIN
         S CopyIn
         C Query DELETE FROM t",
        expect![[r#"
            C Query COPY u FROM STDIN
              > Query COPY u FROM STDIN
            S CopyIn
              < CopyIn
            C Query DELETE FROM t
              < Error S=FATAL C=08P01 M=unexpected message type 0x51 during COPY from stdin
              ended: Violation(Client, Unexpected(81))
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
         S Error 42703 refused | Ready E
         C Query ROLLBACK | Query DELETE FROM t
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
              > Query SELECT "refused by reprieve"
            S Error 42703 refused | Ready E
              < Error S=ERROR C=0A000 M=a statement on a table with soft delete follows the end of a transaction in the same message H=Send the statements separately. | Ready E
            C Query ROLLBACK | Query DELETE FROM t
              > Query ROLLBACK
              holds
            S Complete ROLLBACK | Ready I
              > Parse reprieve_probe SELECT reprieve.session_v1() | Bind reprieve_probe reprieve_probe | Execute reprieve_probe | Close Preprieve_probe | Close Sreprieve_probe | Sync
              < Complete ROLLBACK | Ready I
              holds
            S Scope | Ready I
              > Query UPDATE t SET deleted_at = pg_catalog.now(), deletion_id = (SELECT reprieve.begin_deletion_v1(E'DELETE FROM t')) WHERE t.deleted_at IS NULL
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
              > Query SELECT "refused by reprieve"
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
              > Query SELECT "refused by reprieve"
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
fn without_a_keeper_nothing_is_injected() {
    check(
        &mut Talk::ready("missing"),
        "C Query CREATE TABLE u () | Query DELETE FROM t
         S Complete CREATE TABLE | Ready I
         S Complete DELETE 3 | Ready I",
        expect![[r#"
            C Query CREATE TABLE u () | Query DELETE FROM t
              > Query CREATE TABLE u () | Query DELETE FROM t
            S Complete CREATE TABLE | Ready I
              < Complete CREATE TABLE | Ready I
            S Complete DELETE 3 | Ready I
              < Complete DELETE 3 | Ready I
        "#]],
    );
}

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
         S Error 26000 no such statement | Ready I",
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
              > Bind - s | Sync
            S Error 26000 no such statement | Ready I
              < Error S=ERROR C=26000 M=no such statement | Ready I
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

#[test]
fn no_statement_is_served_without_a_catalog() {
    check(
        &mut Talk::ready("loading"),
        "C Query SELECT 1
         H ready t
         A
         S Complete SELECT 1 | Ready I
         H unavailable the keeper's connection is lost
         C Query SELECT 1
         S Error 42703 column | Ready I",
        expect![[r#"
            C Query SELECT 1
              request: AwaitCatalog
            H ready t
              holds
            A
              > Query SELECT 1
            S Complete SELECT 1 | Ready I
              < Complete SELECT 1 | Ready I
            H unavailable the keeper's connection is lost
            C Query SELECT 1
              > Query SELECT "refused by reprieve"
            S Error 42703 column | Ready I
              < Error S=ERROR C=57P03 M=the catalog of the soft-delete proxy is not available: the keeper's connection is lost H=Try again in a moment. | Ready I
        "#]],
    );
}

#[test]
fn the_admin_port_is_for_members() {
    check(
        &mut Talk::new(Port::Admin, false, "ready t"),
        "S Auth 0 | Param client_encoding UTF8 | Key 1 | Ready I
         S Answer t | Ready I
         C Query DELETE FROM t
         S Complete DELETE 1 | Ready I",
        expect![[r#"
            S Auth 0 | Param client_encoding UTF8 | Key 1 | Ready I
              > Parse reprieve_probe SELECT pg_catalog.pg_has_role(current_user, r.oid, 'MEMBER') FROM pg_catalog.pg_roles r WHERE r.rolname OPERATOR(pg_catalog.=) 'reprieve_admin' | Bind reprieve_probe reprieve_probe | Execute reprieve_probe | Close Preprieve_probe | Close Sreprieve_probe | Sync
              < Auth  | Param client_encoding UTF8 | Key
              holds
            S Answer t | Ready I
              < Ready I
            C Query DELETE FROM t
              > Query DELETE FROM t
            S Complete DELETE 1 | Ready I
              < Complete DELETE 1 | Ready I
        "#]],
    );
    check(
        &mut Talk::new(Port::Admin, false, "ready t"),
        "S Auth 0 | Key 1 | Ready I
         S Answer f | Ready I",
        expect![[r#"
            S Auth 0 | Key 1 | Ready I
              > Parse reprieve_probe SELECT pg_catalog.pg_has_role(current_user, r.oid, 'MEMBER') FROM pg_catalog.pg_roles r WHERE r.rolname OPERATOR(pg_catalog.=) 'reprieve_admin' | Bind reprieve_probe reprieve_probe | Execute reprieve_probe | Close Preprieve_probe | Close Sreprieve_probe | Sync
              < Auth  | Key
              holds
            S Answer f | Ready I
              < Error S=FATAL C=42501 M=role "ann" is not allowed to use the admin port H=The admin port is for members of role reprieve_admin.
              ended: Dismissed { sqlstate: "42501", message: "role \"ann\" is not allowed to use the admin port" }
        "#]],
    );
    check(
        &mut Talk::new(Port::Admin, false, "ready t"),
        "S Auth 0 | Key 1 | Ready I
         S Parsed | Bound | Complete SELECT 0 | Closed | Closed | Ready I",
        expect![[r#"
            S Auth 0 | Key 1 | Ready I
              > Parse reprieve_probe SELECT pg_catalog.pg_has_role(current_user, r.oid, 'MEMBER') FROM pg_catalog.pg_roles r WHERE r.rolname OPERATOR(pg_catalog.=) 'reprieve_admin' | Bind reprieve_probe reprieve_probe | Execute reprieve_probe | Close Preprieve_probe | Close Sreprieve_probe | Sync
              < Auth  | Key
              holds
            S Parsed | Bound | Complete SELECT 0 | Closed | Closed | Ready I
              < Error S=FATAL C=42501 M=role "ann" is not allowed to use the admin port H=The admin port is for members of role reprieve_admin.
              ended: Dismissed { sqlstate: "42501", message: "role \"ann\" is not allowed to use the admin port" }
        "#]],
    );
}

#[test]
fn replication_passes_only_where_nothing_is_enabled() {
    check(
        &mut Talk::new(Port::App, true, "ready"),
        "S Auth 0 | Ready I
         C Query START_REPLICATION SLOT s LOGICAL 0/0
         S Raw 57 00 00 00 07 00 00 00",
        expect![[r#"
            S Auth 0 | Ready I
              < Auth  | Ready I
            C Query START_REPLICATION SLOT s LOGICAL 0/0
              > Query START_REPLICATION SLOT s LOGICAL 0/0
            S Raw 57 00 00 00 07 00 00 00
              < W
        "#]],
    );
    check(
        &mut Talk::new(Port::App, true, "loading"),
        "S Auth 0 | Ready I
         H ready t
         A",
        expect![[r#"
            S Auth 0 | Ready I
              < Auth 
              request: AwaitCatalog
            H ready t
              holds
            A
              < Error S=FATAL C=0A000 M=replication connections are not supported while soft delete is enabled H=Connect to the server directly: the stream shows rows as they are stored.
              ended: Dismissed { sqlstate: "0A000", message: "replication connections are not supported while soft delete is enabled" }
        "#]],
    );
}

#[test]
fn malformed_messages_are_answered_in_order() {
    check(
        &mut Talk::ready("ready t"),
        "C Query SELECT 1 | Raw 21 00 00 00 04
         S Complete SELECT 1
         S Ready I",
        expect![[r#"
            C Query SELECT 1 | Raw 21 00 00 00 04
              > Query SELECT 1
              holds
            S Complete SELECT 1
              < Complete SELECT 1
              holds
            S Ready I
              < Ready I | Error S=FATAL C=08P01 M=invalid frontend message type 33
              ended: Violation(Client, UnknownType(33))
        "#]],
    );
    check(
        &mut Talk::ready("ready t"),
        "C Raw 51 7f ff ff ff",
        expect![[r#"
            C Raw 51 7f ff ff ff
              < Error S=FATAL C=08P01 M=message of type 'Q' declares a length of 2147483647 bytes
              ended: Violation(Client, Length { tag: 81, length: 2147483647 })
        "#]],
    );
    // A body that is wrong within a sound frame is an error, not the end.
    check(
        &mut Talk::ready("ready t"),
        "C Raw 51 00 00 00 06 61 62 | Query SELECT 1
         S Error 42703 column | Ready I | Complete SELECT 1 | Ready I",
        expect![[r#"
            C Raw 51 00 00 00 06 61 62 | Query SELECT 1
              > Query SELECT "refused by reprieve" | Query SELECT 1
            S Error 42703 column | Ready I | Complete SELECT 1 | Ready I
              < Error S=ERROR C=08P01 M=invalid string in message | Ready I | Complete SELECT 1 | Ready I
        "#]],
    );
    check(
        &mut Talk::ready("ready t"),
        "S Complete SELECT 1",
        expect![[r#"
            S Complete SELECT 1
              ended: Violation(Server, Unexpected(67))
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
fn fatal_errors_pass() {
    check(
        &mut Talk::ready("ready t"),
        "C Query SELECT 1
         S Fatal 57P01 terminating connection due to administrator command",
        expect![[r#"
            C Query SELECT 1
              > Query SELECT 1
            S Fatal 57P01 terminating connection due to administrator command
              < Error S=FATAL C=57P01 M=terminating connection due to administrator command
        "#]],
    );
}

#[test]
fn what_was_sent_before_terminate_is_answered() {
    check(
        &mut Talk::ready("ready t"),
        "C Query SELECT 1 | Terminate
         S Row 1 | Complete SELECT 1 | Ready I",
        expect![[r#"
            C Query SELECT 1 | Terminate
              > Query SELECT 1 | Terminate
              holds
            S Row 1 | Complete SELECT 1 | Ready I
              < Row 1 | Complete SELECT 1 | Ready I
              ended: ClientLeft
        "#]],
    );
}

#[test]
fn nonsense_is_called_by_its_name() {
    check(
        &mut Talk::ready("ready t"),
        "C Describe X - | Sync | Close X - | Sync
         S Error 42703 column | Ready I | Error 42703 column | Ready I",
        expect![[r#"
            C Describe X - | Sync | Close X - | Sync
              > Parse reprieve_refused SELECT "refused by reprieve" | Sync | Parse reprieve_refused SELECT "refused by reprieve" | Sync
            S Error 42703 column | Ready I | Error 42703 column | Ready I
              < Error S=ERROR C=08P01 M=invalid DESCRIBE message subtype 88 | Ready I | Error S=ERROR C=08P01 M=invalid CLOSE message subtype 88 | Ready I
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
              < Error S=ERROR C=0A000 M=cached plan must not change result type | Ready I
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
              > Parse - SELECT * FROM (SELECT b.deleted_at, b.deletion_id, b.buried, (b.row)."id", (b.row)."name" FROM reprieve.buried_v1(NULL::"public"."t") b) AS "t" WHERE id = $1 | Bind - - | Execute - | Sync
            S Parsed | Bound | Complete SELECT 0 | Ready I
              < Parsed | Bound | Complete SELECT 0 | Ready I
            C Query UNDELETE NONSENSE
              > Query SELECT "refused by reprieve"
            S Error 42703 column | Ready I
              < Error S=ERROR C=42601 M=syntax error at or near "NONSENSE" H=The form is: UNDELETE DELETION n | TRANSACTION x | FROM table [WHERE condition] | SINCE time [UNTIL time] [BY role] P=10 | Ready I
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
