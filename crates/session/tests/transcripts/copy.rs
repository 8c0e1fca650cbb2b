//! COPY, by all ways in which drivers send it.

use expect_test::expect;

use crate::check;
use crate::support::Talk;

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
