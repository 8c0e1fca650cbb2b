//! What comes before the session: versions, SSLRequest, GSSENCRequest, cancel, nonsense.

use std::time::Duration;

use tests::front::*;

use crate::steps::{Script, Step, bare};

/// The startup of the user and database that exist in every setting.
fn as_app(major: u16, minor: u16, more: &[(&str, &str)]) -> Vec<u8> {
    let parameters = [&[("user", "clerk"), ("database", "postgres")], more].concat();
    startup(major, minor, &parameters)
}

fn then_ready(name: &'static str, bytes: Vec<u8>) -> Script {
    bare(
        name,
        [
            Step::Raw(bytes),
            Step::Ready(1),
            Step::Send(query("SELECT 1")),
            Step::Ready(1),
        ],
    )
}

fn then_closed(name: &'static str, bytes: Vec<u8>) -> Script {
    bare(name, [Step::Raw(bytes), Step::Closed])
}

pub fn scripts() -> Vec<Script> {
    vec![
        then_ready("protocol_3_0", as_app(3, 0, &[])),
        then_ready("protocol_3_2", as_app(3, 2, &[])),
        then_ready(
            "protocol_3_9999",
            as_app(3, 9999, &[("_pq_.test_protocol_negotiation", "")]),
        ),
        then_ready("protocol_option", as_app(3, 0, &[("_pq_.something", "on")])),
        then_ready(
            "startup_options",
            as_app(
                3,
                0,
                &[
                    ("options", "-c search_path=pg_catalog -c DateStyle=German"),
                    ("application_name", "über"),
                    ("client_encoding", "UTF8"),
                ],
            ),
        ),
        then_ready(
            "startup_setting",
            as_app(3, 0, &[("statement_timeout", "12345"), ("TimeZone", "UTC")]),
        ),
        then_closed("startup_bad_setting", as_app(3, 0, &[("nonsense", "x")])),
        then_closed(
            "startup_bad_value",
            as_app(3, 0, &[("client_encoding", "KLINGON")]),
        ),
        then_closed("protocol_2", as_app(2, 0, &[])),
        then_closed("protocol_4", as_app(4, 0, &[])),
        then_closed("protocol_0", as_app(0, 0, &[])),
        then_closed("no_user", startup(3, 0, &[("database", "postgres")])),
        then_closed(
            "unknown_database",
            startup(3, 0, &[("user", "clerk"), ("database", "nowhere")]),
        ),
        then_closed(
            "unknown_user",
            startup(3, 0, &[("user", "nobody_here"), ("database", "postgres")]),
        ),
        then_closed(
            "no_database_of_that_name",
            startup(3, 0, &[("user", "clerk")]),
        ),
        then_closed(
            "no_end",
            packet(b"\0\x03\0\0user\0clerk\0database\0postgres\0"),
        ),
        then_closed(
            "odd_parameters",
            packet(b"\0\x03\0\0user\0clerk\0database\0\0"),
        ),
        then_closed(
            "rest_behind_the_end",
            packet(b"\0\x03\0\0user\0clerk\0database\0postgres\0\0rest"),
        ),
        then_closed("packet_too_short", vec![0, 0, 0, 7, 0, 3, 0]),
        then_closed("packet_of_nothing", vec![0, 0, 0, 4]),
        then_closed("packet_negative", vec![0xff, 0xff, 0xff, 0xff, 0, 3, 0, 0]),
        then_closed("packet_huge", vec![0x40, 0, 0, 0, 0, 3, 0, 0]),
        then_closed(
            "packet_over_10000",
            startup(
                3,
                0,
                &[
                    ("user", "clerk"),
                    ("database", "postgres"),
                    ("application_name", &"x".repeat(10_000)),
                ],
            ),
        ),
        then_ready(
            "packet_under_10000",
            as_app(3, 0, &[("application_name", &"x".repeat(9_900))]),
        ),
        then_closed(
            "http",
            b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(),
        ),
        then_closed(
            "tls_hello",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
        ),
        bare(
            "ssl_refused",
            [
                Step::Raw(ssl_request()),
                Step::Byte,
                Step::Raw(as_app(3, 0, &[])),
                Step::Ready(1),
            ],
        ),
        bare(
            "ssl_twice",
            [
                Step::Raw(ssl_request()),
                Step::Byte,
                Step::Raw(ssl_request()),
                Step::Closed,
            ],
        )
        .broken(),
        then_closed("cancel_of_nobody", cancel_request(1, &[1, 2, 3, 4])),
        then_closed("cancel_too_short", packet(&80877102u32.to_be_bytes())),
        bare("gone_at_once", [Step::FinishSending, Step::Closed]),
        bare(
            "gone_in_the_length",
            [Step::Raw(vec![0, 0]), Step::FinishSending, Step::Closed],
        ),
        bare(
            "gone_in_the_packet",
            [
                Step::Raw(as_app(3, 0, &[])[..12].to_vec()),
                Step::FinishSending,
                Step::Closed,
            ],
        ),
        bare("slow_startup", {
            let bytes = as_app(3, 0, &[]);
            let (head, tail) = bytes.split_at(6);
            [
                Step::Raw(head.to_vec()),
                Step::Pause(Duration::from_millis(100)),
                Step::Raw(tail.to_vec()),
                Step::Ready(1),
            ]
        }),
        bare(
            "query_behind_startup",
            [
                Step::Raw([as_app(3, 0, &[]), query("SELECT 1")].concat()),
                Step::Ready(2),
            ],
        ),
        then_closed(
            "replication_not_allowed",
            as_app(3, 0, &[("replication", "true")]),
        ),
    ]
}
