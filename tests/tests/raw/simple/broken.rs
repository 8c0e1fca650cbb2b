//! Frames and texts that are not as they should be.

use tests::front::*;

use crate::simple::queries;
use crate::steps::{Script, Step, exchange, script};

/// Frames that no client may send.
pub fn broken() -> Vec<Script> {
    let scripts = vec![
        script(
            "unknown_message_type",
            [
                Step::Send([frame(b'y', b"what"), query("SELECT 1")].concat()),
                Step::Closed,
            ],
        ),
        script(
            "unknown_message_type_of_old",
            [Step::Send(frame(b'p', b"secret\0")), Step::Closed],
        ),
        script(
            "length_too_small",
            [
                Step::Send(frame_of_length(b'Q', 3, b"SELECT 1\0")),
                Step::Closed,
            ],
        ),
        script(
            "length_zero",
            [Step::Send(frame_of_length(b'Q', 0, b"")), Step::Closed],
        ),
        script(
            "length_negative",
            [
                Step::Send(frame_of_length(b'Q', -5, b"SELECT 1\0")),
                Step::Closed,
            ],
        ),
        script(
            "length_huge",
            [
                Step::Send(frame_of_length(b'Q', i32::MAX, b"SELECT 1\0")),
                Step::Closed,
            ],
        ),
        script(
            "length_huge_sync",
            [Step::Send(frame_of_length(b'S', 20_000, b"")), Step::Closed],
        ),
        script(
            "query_without_end",
            [
                Step::Send(frame(b'Q', b"SELECT 1")),
                Step::Send(query("SELECT 2")),
                Step::Ready(2),
            ],
        ),
        script(
            "query_with_more_behind_the_end",
            [
                Step::Send(frame(b'Q', b"SELECT 1\0rest\0")),
                Step::Send(query("SELECT 2")),
                Step::Ready(2),
            ],
        ),
        script(
            "sync_with_a_body",
            [
                Step::Send(frame(b'S', b"body")),
                Step::Send(query("SELECT 2")),
                Step::Ready(2),
            ],
        ),
        script(
            "short_bind",
            [
                Step::Send([frame(b'B', b"\0"), sync(), query("SELECT 2")].concat()),
                Step::Ready(2),
            ],
        ),
        script(
            "short_parse",
            [
                Step::Send([frame(b'P', b"a\0SELECT 1"), sync(), query("SELECT 2")].concat()),
                Step::Ready(2),
            ],
        ),
        script(
            "short_execute",
            [
                Step::Send([frame(b'E', b"\0"), sync(), query("SELECT 2")].concat()),
                Step::Ready(2),
            ],
        ),
        script(
            "describe_nonsense",
            [
                Step::Send([frame(b'D', b"Xa\0"), sync(), query("SELECT 2")].concat()),
                Step::Ready(2),
            ],
        ),
        script(
            "close_nonsense",
            [
                Step::Send([frame(b'C', b"Xa\0"), sync(), query("SELECT 2")].concat()),
                Step::Ready(2),
            ],
        ),
    ];
    scripts.into_iter().map(Script::broken).collect()
}

pub fn texts() -> Vec<Script> {
    let nested = |depth: usize| format!("SELECT {}1{}", "(".repeat(depth), ")".repeat(depth));
    let nested_table = format!(
        "SELECT * FROM t WHERE {}id = 1{} ORDER BY id",
        "(".repeat(100),
        ")".repeat(100)
    );
    let bytes = |sql: &[u8]| frame(b'Q', &[sql, b"\0"].concat());
    vec![
        queries("nested_100", &[&nested(100), &nested_table, "SELECT 1"]),
        queries("nested_10000", &[&nested(10_000), "SELECT 1"]),
        queries(
            "nested_many_joins",
            &[
                &format!("SELECT {} FROM t", "(SELECT 1) + ".repeat(200) + "1"),
                "SELECT 1",
            ],
        ),
        script(
            "not_utf8",
            exchange(
                3,
                &[
                    bytes(b"SELECT '\xff\xfe'"),
                    bytes(b"SELECT * FROM t WHERE name = '\xc3'"),
                    query("SELECT 1"),
                ],
            ),
        ),
        script(
            "not_utf8_identifier",
            exchange(2, &[bytes(b"DELETE FROM \xe9t\xe9"), query("SELECT 1")]),
        ),
        script(
            "latin1",
            exchange(
                3,
                &[
                    query("SET client_encoding = 'LATIN1'"),
                    bytes(b"SELECT '\xe9', id FROM t WHERE id = 1"),
                    bytes(b"DELETE FROM t WHERE name = '\xe9' OR id = 1 RETURNING '\xe9'"),
                ],
            ),
        ),
        script(
            "not_utf8_parameter",
            exchange(
                1,
                &[
                    parse("", "SELECT $1::text", &[]),
                    frame(b'B', b"\0\0\0\0\0\x01\0\0\0\x01\xff\0\0"),
                    execute("", 0),
                    sync(),
                ],
            ),
        ),
        queries(
            "strings",
            &[
                "SELECT 'a''b', E'a\\'b', $$a'b$$, U&'d\\0061t\\+000061', B'101', X'1F', 'x' 'y'",
                "SET standard_conforming_strings = off",
                "SELECT 'a\\'b'",
                "SELECT 'it''s' FROM t WHERE name <> 'a\\'; DELETE FROM t; --'",
            ],
        ),
        queries(
            "comments",
            &[
                "SELECT /* DELETE FROM t */ 1 -- DELETE FROM t",
                "DELETE /* x /* y */ z */ FROM -- t\n t WHERE id = 1",
                "SELECT id FROM t ORDER BY id",
            ],
        ),
        queries(
            "quoted_names",
            &[
                "SELECT * FROM \"t\" WHERE id = 1",
                "SELECT * FROM \"T\"",
                "DELETE FROM \"public\".\"t\" WHERE id = 1",
                "SELECT * FROM T WHERE ID = 2",
                "SELECT * FROM U&\"\\0074\" WHERE id = 2",
            ],
        ),
        queries(
            "large_text",
            &[
                &format!("SELECT length('{}')", "z".repeat(2_000_000)),
                &format!(
                    "SELECT id FROM t WHERE name <> '{}' ORDER BY id",
                    "z".repeat(500_000)
                ),
            ],
        ),
        queries(
            "unfinished",
            &[
                "SELECT 'abc",
                "SELECT \"abc",
                "SELECT $$abc",
                "SELECT /* abc",
                "DELETE FROM t WHERE name = 'abc",
                "SELECT 1",
            ],
        ),
    ]
}
