//! COPY by Query.

use std::time::Duration;

use tests::front::*;

use crate::simple::queries;
use crate::steps::{Script, Step, exchange, script};

pub fn copies() -> Vec<Script> {
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
