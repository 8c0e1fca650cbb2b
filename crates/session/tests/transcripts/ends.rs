//! How conversations end.

use expect_test::expect;

use crate::check;
use crate::support::Talk;

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
