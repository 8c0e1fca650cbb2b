//! FunctionCall, LISTEN, cancel, and much at once.

use std::time::Duration;

use tests::front::*;

use crate::simple::queries;
use crate::steps::{Script, Step, exchange, script};

pub fn others() -> Vec<Script> {
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
                    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'raw' AND datname = current_database()",
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
