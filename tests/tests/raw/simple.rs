//! Query, COPY, FunctionCall, LISTEN, cancel.

use std::time::Duration;

use tests::front::*;

use crate::steps::{Script, Step, exchange, script};

fn queries(name: &'static str, texts: &[&str]) -> Script {
    script(
        name,
        texts.iter().flat_map(|text| exchange(1, &[query(text)])),
    )
}

pub fn scripts() -> Vec<Script> {
    [statements(), copies(), others(), broken(), texts()].concat()
}

fn statements() -> Vec<Script> {
    vec![
        queries(
            "select_rows",
            &[
                "SELECT * FROM t ORDER BY id",
                "SELECT id, name FROM t WHERE id = 6",
                "TABLE c ORDER BY id",
            ],
        ),
        queries(
            "delete_and_look",
            &[
                "DELETE FROM t WHERE id = 2",
                "SELECT * FROM t ORDER BY id",
                "SELECT * FROM c ORDER BY id",
                "DELETE FROM t WHERE id = 2",
            ],
        ),
        queries(
            "delete_returning",
            &[
                "DELETE FROM t WHERE id < 3 RETURNING *",
                "DELETE FROM c AS x RETURNING x.id, x.t_id + 1 AS next",
            ],
        ),
        queries("empty", &["", ";", "  ", "-- comment", ";;;", "/* c */;"]),
        queries(
            "several",
            &["SELECT 1; SELECT 'a'; DELETE FROM t WHERE id = 1; SELECT count(*) FROM t; "],
        ),
        queries(
            "several_with_error",
            &[
                "DELETE FROM t WHERE id = 1; SELECT 1/0; DELETE FROM t WHERE id = 2",
                "SELECT count(*) FROM t",
            ],
        ),
        queries(
            "several_with_syntax_error",
            &[
                "DELETE FROM t WHERE id = 1; SELEC 1",
                "SELECT count(*) FROM t",
            ],
        ),
        queries(
            "several_with_transaction",
            &[
                "BEGIN; DELETE FROM t WHERE id = 1; COMMIT; DELETE FROM t WHERE id = 2; SELECT 1/0",
                "SELECT id FROM t ORDER BY id",
            ],
        ),
        queries(
            "errors_have_positions",
            &[
                "SELECT * FROM t WHERE nope = 1",
                "DELETE FROM t WHERE nope = 1",
                "SELECT 'é', nope FROM t",
                "SELECT * FROM t x WHERE t.id = 1",
                "DELETE FROM nope",
                "SELECT FROM WHERE",
                "SELECT deleted_at FROM t",
                "DELETE FROM t WHERE deletion_id = 1",
            ],
        ),
        queries(
            "transaction",
            &[
                "BEGIN",
                "DELETE FROM t WHERE id = 1",
                "SAVEPOINT s",
                "DELETE FROM t",
                "ROLLBACK TO s",
                "SELECT id FROM t ORDER BY id",
                "SELECT 1/0",
                "SELECT 1",
                "DELETE FROM t",
                "ROLLBACK",
                "SELECT id FROM t ORDER BY id",
            ],
        ),
        queries(
            "read_only",
            &[
                "BEGIN READ ONLY",
                "DELETE FROM t WHERE id = 1",
                "ROLLBACK",
                "BEGIN READ ONLY; INSERT INTO t VALUES (9)",
                "ROLLBACK",
            ],
        ),
        queries(
            "isolation_first",
            &[
                "BEGIN",
                "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE",
                "SHOW transaction_isolation",
                "DELETE FROM t WHERE id = 1",
                "SET TRANSACTION ISOLATION LEVEL READ COMMITTED",
                "ROLLBACK",
            ],
        ),
        queries(
            "deferred",
            &[
                "INSERT INTO deferred VALUES (1, 1)",
                "BEGIN",
                "DELETE FROM t WHERE id = 1",
                "SELECT count(*) FROM t",
                "COMMIT",
                "SELECT count(*) FROM t",
                "INSERT INTO deferred VALUES (2, 6)",
            ],
        ),
        queries(
            "notices",
            &[
                "SELECT say('hello')",
                "SELECT fail('no')",
                "DROP TABLE IF EXISTS nothing_here",
                "DO $$BEGIN RAISE WARNING 'w'; END$$",
            ],
        ),
        queries(
            "parameter_status",
            &[
                "SET application_name = 'other'",
                "SET TimeZone = 'UTC'; SET DateStyle = 'ISO, DMY'",
                "RESET ALL",
                "SET client_encoding = 'LATIN1'",
                "SELECT 'x'",
            ],
        ),
        queries(
            "privileges",
            &[
                "SELECT * FROM pg_authid",
                "SET ROLE postgres",
                "CREATE ROLE x",
                "ALTER TABLE pg_class ADD x int",
            ],
        ),
        queries(
            "prepare_execute",
            &[
                "PREPARE d(int) AS DELETE FROM t WHERE id = $1 RETURNING *",
                "EXECUTE d(1)",
                "EXECUTE d(1)",
                "PREPARE s AS SELECT * FROM t ORDER BY id",
                "EXECUTE s",
                "DEALLOCATE ALL",
                "EXECUTE s",
            ],
        ),
        queries(
            "cursor",
            &[
                "BEGIN",
                "DECLARE k CURSOR FOR SELECT * FROM t ORDER BY id",
                "FETCH 2 FROM k",
                "DELETE FROM t WHERE CURRENT OF k",
                "FETCH ALL FROM k",
                "CLOSE k",
                "COMMIT",
                "FETCH k",
            ],
        ),
        queries(
            "explain",
            &[
                "EXPLAIN (COSTS OFF) SELECT 1",
                "EXPLAIN (COSTS OFF, FORMAT JSON) SELECT 1",
                "EXPLAIN SELECT nope",
            ],
        ),
        queries(
            "ddl",
            &[
                "CREATE TABLE n (a int, b text)",
                "INSERT INTO n VALUES (1, 'x'), (2, 'y')",
                "DELETE FROM n WHERE a = 1",
                "SELECT * FROM n",
                "ALTER TABLE n ADD c int DEFAULT 7",
                "SELECT * FROM n",
                "DELETE FROM n RETURNING *",
                "DROP TABLE n",
                "SELECT * FROM n",
            ],
        ),
        queries(
            "ddl_in_one_query",
            &["CREATE TABLE n (a int); INSERT INTO n VALUES (1); SELECT * FROM n; DROP TABLE n"],
        ),
        queries(
            "truncate",
            &[
                "TRUNCATE c",
                "SELECT count(*) FROM c",
                "TRUNCATE t",
                "TRUNCATE t CASCADE",
                "SELECT count(*) FROM t",
            ],
        ),
        queries(
            "two_phase",
            &[
                "BEGIN",
                "DELETE FROM t WHERE id = 1",
                "PREPARE TRANSACTION 'raw_two_phase'",
                "SELECT count(*) FROM t",
                "ROLLBACK PREPARED 'raw_two_phase'",
                "SELECT count(*) FROM t",
            ],
        ),
        queries(
            "many_rows",
            &["SELECT n, repeat('x', 1000) FROM generate_series(1, 3000) n"],
        ),
        queries("wide_value", &["SELECT repeat('y', 3000000)"]),
        queries(
            "discard",
            &[
                "CREATE TEMP TABLE t (z int)",
                "SELECT * FROM t",
                "DELETE FROM t",
                "DISCARD ALL",
                "SELECT id FROM t ORDER BY id",
            ],
        ),
    ]
}

fn copies() -> Vec<Script> {
    let copy = |name, sql: &str, rest: &[Vec<u8>]| {
        let parts = [
            vec![query(sql)],
            rest.to_vec(),
            vec![query("SELECT count(*) FROM c")],
        ]
        .concat();
        script(name, exchange(2, &parts))
    };
    vec![
        queries(
            "copy_out",
            &[
                "COPY t TO STDOUT",
                "COPY t (id) TO STDOUT (FORMAT csv, HEADER)",
                "COPY (SELECT * FROM t ORDER BY id) TO STDOUT (FORMAT binary)",
                "COPY nope TO STDOUT",
            ],
        ),
        queries(
            "copy_out_then_error",
            &[
                "COPY (SELECT 1 / (3 - n) FROM generate_series(1, 5) n) TO STDOUT",
                "SELECT 1",
            ],
        ),
        queries(
            "copy_among_others",
            &["SELECT 1; COPY t TO STDOUT; SELECT 2"],
        ),
        copy(
            "copy_in",
            "COPY c FROM STDIN",
            &[
                copy_data(b"100\t1\n101\t2\n"),
                copy_data(b"102\t\\N\n"),
                copy_done(),
            ],
        ),
        copy(
            "copy_in_split_lines",
            "COPY c FROM STDIN",
            &[
                copy_data(b"100\t"),
                copy_data(b"1\n10"),
                copy_data(b"1\t2"),
                copy_done(),
            ],
        ),
        copy(
            "copy_in_columns_csv",
            "COPY c (t_id, id) FROM STDIN (FORMAT csv)",
            &[copy_data(b"1,100\n,101\n"), copy_done()],
        ),
        copy(
            "copy_in_fails_at_the_end",
            "COPY c FROM STDIN",
            &[copy_data(b"100\t1\n"), copy_fail("changed my mind")],
        ),
        copy(
            "copy_in_bad_data",
            "COPY c FROM STDIN",
            &[
                copy_data(b"100\t1\nx\t2\n"),
                copy_data(b"103\t1\n"),
                copy_done(),
            ],
        ),
        copy(
            "copy_in_too_many_columns",
            "COPY c FROM STDIN",
            &[copy_data(b"100\t1\t3\n"), copy_done()],
        ),
        copy(
            "copy_in_duplicate_key",
            "COPY c FROM STDIN",
            &[copy_data(b"1\t1\n"), copy_done()],
        ),
        copy(
            "copy_in_parent_missing",
            "COPY c FROM STDIN",
            &[copy_data(b"100\t6\n"), copy_done()],
        ),
        copy(
            "copy_in_flush_and_sync_ignored",
            "COPY c FROM STDIN",
            &[flush(), copy_data(b"100\t1\n"), sync(), copy_done()],
        ),
        copy(
            "copy_in_wrong_message",
            "COPY c FROM STDIN",
            &[
                copy_data(b"100\t1\n"),
                close_portal("x"),
                copy_data(b"101\t1\n"),
                copy_done(),
                sync(),
            ],
        ),
        script(
            "copy_in_of_several",
            exchange(
                1,
                &[
                    query("COPY c FROM STDIN; SELECT count(*) FROM c; COPY c FROM STDIN"),
                    copy_data(b"100\t1\n"),
                    copy_done(),
                    copy_data(b"101\t1\n"),
                    copy_done(),
                ],
            ),
        ),
        script(
            "copy_data_without_copy",
            exchange(
                2,
                &[
                    copy_data(b"x"),
                    copy_done(),
                    copy_fail("x"),
                    query("SELECT 1"),
                    query("SELECT 2"),
                ],
            ),
        ),
        script(
            "copy_in_large",
            [
                Step::Send(query("COPY c FROM STDIN")),
                Step::SendAside(
                    [
                        (100..60_000)
                            .map(|n| copy_data(format!("{n}\t1\n").as_bytes()))
                            .collect::<Vec<_>>()
                            .concat(),
                        copy_done(),
                    ]
                    .concat(),
                ),
                Step::Ready(1),
                Step::Send(query("SELECT count(*), sum(id) FROM c")),
                Step::Ready(1),
            ],
        ),
        script(
            "copy_in_then_gone",
            [
                Step::Send([query("COPY c FROM STDIN"), copy_data(b"100\t1\n")].concat()),
                Step::Until(b'G'),
                Step::Leave,
                Step::Pause(Duration::from_millis(200)),
                Step::Meanwhile("SELECT count(*) FROM c"),
            ],
        ),
        script(
            "copy_extended",
            exchange(
                2,
                &[
                    parse("", "COPY c FROM STDIN", &[]),
                    bind("", "", &[], 0),
                    execute("", 0),
                    copy_data(b"100\t1\n"),
                    copy_done(),
                    sync(),
                    query("SELECT count(*) FROM c"),
                ],
            ),
        ),
        script(
            "copy_extended_sync_first",
            exchange(
                2,
                &[
                    parse("", "COPY c FROM STDIN", &[]),
                    bind("", "", &[], 0),
                    execute("", 0),
                    sync(),
                    copy_data(b"100\t1\n"),
                    copy_done(),
                    sync(),
                    query("SELECT count(*) FROM c"),
                ],
            ),
        ),
        script(
            "copy_extended_fails",
            exchange(
                2,
                &[
                    parse("", "COPY c FROM STDIN", &[]),
                    bind("", "", &[], 0),
                    execute("", 0),
                    copy_data(b"x\n"),
                    copy_done(),
                    sync(),
                    query("SELECT count(*) FROM c"),
                ],
            ),
        ),
        script(
            "copy_out_extended",
            exchange(
                1,
                &[
                    parse("", "COPY t TO STDOUT", &[]),
                    bind("", "", &[], 0),
                    describe_portal(""),
                    execute("", 0),
                    sync(),
                ],
            ),
        ),
    ]
}

fn others() -> Vec<Script> {
    vec![
        script(
            "function_call",
            exchange(
                2,
                &[
                    function_call(177, &[Some("2"), Some("40")]),
                    function_call(870, &[Some("ABC")]),
                ],
            ),
        ),
        script(
            "function_call_unknown",
            exchange(2, &[function_call(99, &[]), query("SELECT 1")]),
        ),
        script(
            "function_call_null",
            exchange(2, &[function_call(870, &[None]), function_call(870, &[])]),
        ),
        script(
            "function_call_failed_transaction",
            exchange(
                4,
                &[
                    query("BEGIN"),
                    query("SELECT 1/0"),
                    function_call(870, &[Some("A")]),
                    query("ROLLBACK"),
                ],
            ),
        ),
        queries(
            "listen_notify",
            &[
                "LISTEN a",
                "NOTIFY a, 'payload'",
                "BEGIN; NOTIFY a, 'in transaction'; SELECT 1",
                "COMMIT",
                "UNLISTEN *",
                "NOTIFY a",
            ],
        ),
        script(
            "notification_while_idle",
            [
                vec![
                    Step::Send(query("LISTEN idle")),
                    Step::Ready(1),
                    Step::Meanwhile("NOTIFY idle, 'x'"),
                    Step::Until(b'A'),
                ],
                exchange(1, &[query("SELECT 1")]).to_vec(),
            ]
            .concat(),
        ),
        script(
            "cancel",
            [
                Step::Send(query("SELECT pg_sleep(30)")),
                Step::Pause(Duration::from_millis(150)),
                Step::Cancel,
                Step::Ready(1),
                Step::Send(query("SELECT 1")),
                Step::Ready(1),
            ],
        ),
        script(
            "cancel_a_delete",
            [
                Step::Send(query(
                    "DELETE FROM t WHERE id = 1 AND pg_sleep(30) IS NOT NULL",
                )),
                Step::Pause(Duration::from_millis(150)),
                Step::Cancel,
                Step::Ready(1),
                Step::Send(query("SELECT id FROM t ORDER BY id")),
                Step::Ready(1),
            ],
        ),
        script(
            "cancel_when_idle",
            [
                Step::Cancel,
                Step::Pause(Duration::from_millis(100)),
                Step::Send(query("SELECT 1")),
                Step::Ready(1),
            ],
        ),
        queries(
            "statement_timeout",
            &[
                "SET statement_timeout = 100",
                "SELECT pg_sleep(10)",
                "SELECT 1",
            ],
        ),
        script(
            "killed",
            [
                Step::Send(query("SELECT pg_terminate_backend(pg_backend_pid())")),
                Step::Closed,
            ],
        ),
        script(
            "killed_when_idle",
            [
                Step::Meanwhile(
                    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'raw'",
                ),
                Step::Closed,
            ],
        ),
        script(
            "terminate",
            [
                Step::Send([query("SELECT 1"), terminate()].concat()),
                Step::Closed,
            ],
        ),
        script(
            "terminate_does_not_undo",
            [
                Step::Send([query("DELETE FROM t WHERE id = 1"), terminate()].concat()),
                Step::Leave,
                Step::Pause(Duration::from_millis(300)),
                Step::Meanwhile("SELECT count(*) FROM t"),
            ],
        ),
        script(
            "half_a_frame_then_gone",
            [
                Step::Send(query("DELETE FROM t")[..9].to_vec()),
                Step::FinishSending,
                Step::Closed,
                Step::Meanwhile("SELECT count(*) FROM t"),
            ],
        ),
        script(
            "byte_by_byte",
            query("DELETE FROM t WHERE id = 1 RETURNING id")
                .into_iter()
                .map(|byte| Step::Send(vec![byte]))
                .chain([Step::Ready(1)]),
        ),
        script(
            "many_queries_at_once",
            exchange(
                300,
                &(0..300)
                    .map(|n| query(&format!("SELECT {n}, name FROM t WHERE id = {}", n % 7)))
                    .collect::<Vec<_>>(),
            ),
        ),
    ]
}

/// Frames that no client may send.
fn broken() -> Vec<Script> {
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

fn texts() -> Vec<Script> {
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
