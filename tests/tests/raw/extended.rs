//! Parse, Bind, Describe, Execute, Close, Flush, Sync, in all orders.

use tests::front::*;

use crate::steps::{Script, Step, exchange, script};

const INT4: u32 = 23;

pub fn scripts() -> Vec<Script> {
    [plain(), pipelines(), portals(), names()].concat()
}

fn plain() -> Vec<Script> {
    let statements: [(&'static str, &'static str); 12] = [
        ("ext_select", "SELECT * FROM t ORDER BY id"),
        ("ext_delete", "DELETE FROM t WHERE id = 1"),
        (
            "ext_delete_returning",
            "DELETE FROM t WHERE id = 1 RETURNING *, amount * 2 AS double",
        ),
        ("ext_delete_none", "DELETE FROM t WHERE id = 6 RETURNING t"),
        (
            "ext_insert",
            "INSERT INTO t VALUES (6, 'again') RETURNING *",
        ),
        (
            "ext_update",
            "UPDATE t SET name = upper(name) WHERE id IN (1, 6) RETURNING id, name",
        ),
        ("ext_whole_row", "SELECT t FROM t WHERE id = 1"),
        (
            "ext_join",
            "SELECT * FROM t LEFT JOIN c ON c.t_id = t.id ORDER BY t.id, c.id",
        ),
        ("ext_syntax_error", "DELETE FROM t WHER id = 1"),
        (
            "ext_run_time_error",
            "DELETE FROM t WHERE 1 / (id - id) = 1",
        ),
        ("ext_missing_table", "SELECT * FROM nope"),
        ("ext_two_statements", "SELECT 1; SELECT 2"),
    ];
    let mut scripts = Vec::new();
    for (name, sql) in statements {
        scripts.push(script(
            name,
            exchange(2, &[extended(sql, 0), query("SELECT count(*) FROM t")]),
        ));
    }
    for (name, sql) in [
        ("ext_binary_select", statements[0].1),
        ("ext_binary_returning", statements[2].1),
        ("ext_binary_join", statements[7].1),
    ] {
        scripts.push(script(
            name,
            exchange(2, &[extended(sql, 1), query("SELECT count(*) FROM t")]),
        ));
    }
    scripts
}

fn pipelines() -> Vec<Script> {
    let one = |sql: &str| [parse("", sql, &[]), bind("", "", &[], 0), execute("", 0)].concat();
    vec![
        script(
            "pipeline",
            exchange(
                1,
                &[
                    one("DELETE FROM t WHERE id = 1"),
                    one("DELETE FROM t WHERE id = 1"),
                    one("SELECT count(*) FROM t"),
                    sync(),
                ],
            ),
        ),
        script(
            "pipeline_error_in_parse",
            exchange(
                2,
                &[
                    one("DELETE FROM t WHERE id = 1"),
                    one("DELETE FROM nope"),
                    one("DELETE FROM t WHERE id = 2"),
                    sync(),
                    one("SELECT id FROM t ORDER BY id"),
                    sync(),
                ],
            ),
        ),
        script(
            "pipeline_error_in_execute",
            exchange(
                2,
                &[
                    one("DELETE FROM t WHERE id = 1"),
                    one("SELECT 1/0"),
                    one("DELETE FROM t WHERE id = 2"),
                    sync(),
                    one("SELECT id FROM t ORDER BY id"),
                    sync(),
                ],
            ),
        ),
        script(
            "pipeline_error_in_bind",
            exchange(
                2,
                &[
                    parse("p", "DELETE FROM t WHERE id = $1", &[INT4]),
                    bind("", "p", &[Some("x")], 0),
                    execute("", 0),
                    sync(),
                    bind("", "p", &[Some("1")], 0),
                    execute("", 0),
                    sync(),
                ],
            ),
        ),
        script(
            "pipeline_wrong_parameter_count",
            exchange(
                2,
                &[
                    parse("p", "DELETE FROM t WHERE id = $1", &[]),
                    bind("", "p", &[], 0),
                    execute("", 0),
                    sync(),
                    query("SELECT count(*) FROM t"),
                ],
            ),
        ),
        script(
            "pipeline_syncs",
            exchange(
                5,
                &[
                    sync(),
                    sync(),
                    one("DELETE FROM t WHERE id = 1"),
                    sync(),
                    one("DELETE FROM t WHERE id = 2"),
                    sync(),
                    sync(),
                ],
            ),
        ),
        script(
            "pipeline_with_queries",
            exchange(
                4,
                &[
                    one("DELETE FROM t WHERE id = 1"),
                    sync(),
                    query("DELETE FROM t WHERE id = 2"),
                    one("DELETE FROM t WHERE id = 3"),
                    sync(),
                    query("SELECT id FROM t ORDER BY id"),
                ],
            ),
        ),
        script(
            "query_inside_pipeline",
            exchange(
                3,
                &[
                    one("DELETE FROM t WHERE id = 1"),
                    query("SELECT count(*) FROM t"),
                    one("SELECT 1/0"),
                    sync(),
                    query("SELECT id FROM t ORDER BY id"),
                ],
            ),
        ),
        script(
            "error_then_query_before_sync",
            exchange(
                2,
                &[
                    one("SELECT 1/0"),
                    query("SELECT 1"),
                    sync(),
                    query("SELECT 2"),
                ],
            ),
        ),
        script(
            "error_skips_close_and_flush",
            exchange(
                2,
                &[
                    one("SELECT 1/0"),
                    close_portal(""),
                    flush(),
                    describe_statement("zz"),
                    sync(),
                    query("SELECT 2"),
                ],
            ),
        ),
        script(
            "pipeline_transaction",
            exchange(
                3,
                &[
                    one("BEGIN"),
                    one("DELETE FROM t WHERE id = 1"),
                    sync(),
                    one("SELECT 1/0"),
                    sync(),
                    one("ROLLBACK"),
                    sync(),
                ],
            ),
        ),
        script(
            "pipeline_in_failed_transaction",
            exchange(
                4,
                &[
                    query("BEGIN"),
                    query("SELECT 1/0"),
                    one("DELETE FROM t"),
                    sync(),
                    one("ROLLBACK"),
                    sync(),
                ],
            ),
        ),
        script(
            "pipeline_ddl",
            exchange(
                2,
                &[
                    one("CREATE TABLE n (a int)"),
                    one("INSERT INTO n VALUES (1)"),
                    one("DELETE FROM n"),
                    sync(),
                    one("SELECT * FROM n"),
                    sync(),
                ],
            ),
        ),
        script(
            "flush_brings_replies",
            [
                Step::Send(
                    [
                        parse("s", "DELETE FROM t WHERE id = $1 RETURNING *", &[]),
                        describe_statement("s"),
                        flush(),
                    ]
                    .concat(),
                ),
                Step::Until(b'T'),
                Step::Send([bind("", "s", &[Some("1")], 0), execute("", 0), flush()].concat()),
                Step::Until(b'C'),
                Step::Quiet,
                Step::Send(sync()),
                Step::Ready(1),
            ],
        ),
        script(
            "flush_after_error",
            [
                Step::Send([parse("s", "SELECT nope FROM t", &[]), flush()].concat()),
                Step::Until(b'E'),
                Step::Send(parse("s", "SELECT 1", &[])),
                Step::Send(flush()),
                Step::Quiet,
                Step::Send(sync()),
                Step::Ready(1),
            ],
        ),
        script(
            "sync_commits",
            [
                Step::Send(one("DELETE FROM t WHERE id = 1")),
                Step::Send(flush()),
                Step::Until(b'C'),
                Step::Meanwhile("SELECT count(*) FROM t"),
                Step::Send(sync()),
                Step::Ready(1),
                Step::Meanwhile("SELECT count(*) FROM t"),
            ],
        ),
        script(
            "gone_before_sync",
            [
                Step::Send([one("DELETE FROM t WHERE id = 1"), flush()].concat()),
                Step::Until(b'C'),
                Step::FinishSending,
                Step::Closed,
                Step::Meanwhile("SELECT count(*) FROM t"),
            ],
        ),
        script("pipeline_large", {
            let batch = (0..1500)
                .map(|n| {
                    one(&format!(
                        "SELECT {n}, repeat('x', 2000) FROM t WHERE id = {}",
                        n % 7
                    ))
                })
                .collect::<Vec<_>>()
                .concat();
            [Step::SendAside([batch, sync()].concat()), Step::Ready(1)]
        }),
        script(
            "notices_in_pipeline",
            exchange(
                1,
                &[
                    one("SELECT say('a')"),
                    one("DELETE FROM t WHERE say('b') = 1 AND id = 1"),
                    sync(),
                ],
            ),
        ),
    ]
}

fn portals() -> Vec<Script> {
    vec![
        script(
            "row_limit",
            exchange(
                1,
                &[
                    parse("", "SELECT id, name FROM t ORDER BY id", &[]),
                    bind("", "", &[], 0),
                    execute("", 2),
                    execute("", 2),
                    execute("", 2),
                    execute("", 2),
                    sync(),
                ],
            ),
        ),
        script(
            "row_limit_over_flush",
            [
                Step::Send(
                    [
                        parse("", "SELECT id FROM t ORDER BY id", &[]),
                        bind("k", "", &[], 0),
                        execute("k", 2),
                        flush(),
                    ]
                    .concat(),
                ),
                Step::Until(b's'),
                Step::Send([execute("k", 1), flush()].concat()),
                Step::Until(b's'),
                Step::Send([execute("k", 0), sync()].concat()),
                Step::Ready(1),
            ],
        ),
        script(
            "row_limit_delete_returning",
            exchange(
                2,
                &[
                    parse("", "DELETE FROM t WHERE id < 5 RETURNING id", &[]),
                    bind("", "", &[], 0),
                    execute("", 2),
                    execute("", 0),
                    sync(),
                    query("SELECT id FROM t ORDER BY id"),
                ],
            ),
        ),
        script(
            "row_limit_delete",
            exchange(
                1,
                &[
                    parse("", "DELETE FROM t WHERE id < 5", &[]),
                    bind("", "", &[], 0),
                    execute("", 2),
                    execute("", 2),
                    sync(),
                ],
            ),
        ),
        script(
            "portals_interleaved",
            exchange(
                3,
                &[
                    query("BEGIN"),
                    parse("s", "SELECT id FROM t WHERE id > $1 ORDER BY id", &[INT4]),
                    bind("a", "s", &[Some("0")], 0),
                    bind("b", "s", &[Some("2")], 1),
                    execute("a", 1),
                    execute("b", 1),
                    execute("a", 1),
                    execute("b", 0),
                    close_portal("a"),
                    execute("a", 0),
                    sync(),
                    query("ROLLBACK"),
                ],
            ),
        ),
        script(
            "portal_survives_sync_in_transaction",
            exchange(
                4,
                &[
                    query("BEGIN"),
                    parse("", "SELECT id FROM t ORDER BY id", &[]),
                    bind("k", "", &[], 0),
                    execute("k", 1),
                    sync(),
                    query("DELETE FROM t WHERE id = 2"),
                    execute("k", 0),
                    close_portal("k"),
                    sync(),
                ],
            ),
        ),
        script(
            "portal_ends_with_sync",
            exchange(
                2,
                &[
                    parse("", "SELECT id FROM t", &[]),
                    bind("k", "", &[], 0),
                    sync(),
                    execute("k", 0),
                    sync(),
                ],
            ),
        ),
        script(
            "portal_twice",
            exchange(
                1,
                &[
                    parse("", "SELECT 1", &[]),
                    bind("k", "", &[], 0),
                    bind("k", "", &[], 0),
                    sync(),
                ],
            ),
        ),
        script(
            "describe_portal",
            exchange(
                1,
                &[
                    parse("", "DELETE FROM t WHERE id = $1 RETURNING *", &[]),
                    bind("", "", &[Some("1")], 1),
                    describe_portal(""),
                    execute("", 0),
                    sync(),
                ],
            ),
        ),
        script(
            "describe_delete_without_rows",
            exchange(
                1,
                &[
                    parse("d", "DELETE FROM t WHERE id = $1 AND name = $2", &[]),
                    describe_statement("d"),
                    bind("", "d", &[Some("1"), None], 0),
                    describe_portal(""),
                    execute("", 0),
                    sync(),
                ],
            ),
        ),
        script(
            "sql_cursor_and_portal",
            exchange(
                3,
                &[
                    query("BEGIN; DECLARE k CURSOR FOR SELECT id FROM t ORDER BY id"),
                    describe_portal("k"),
                    execute("k", 2),
                    close_portal("k"),
                    sync(),
                    query("FETCH k"),
                ],
            ),
        ),
        script(
            "empty_statement",
            exchange(
                1,
                &[
                    parse("", "", &[]),
                    describe_statement(""),
                    bind("", "", &[], 0),
                    describe_portal(""),
                    execute("", 0),
                    sync(),
                ],
            ),
        ),
        script(
            "execute_twice",
            exchange(
                1,
                &[
                    parse("", "DELETE FROM t WHERE id = 1", &[]),
                    bind("", "", &[], 0),
                    execute("", 0),
                    execute("", 0),
                    sync(),
                ],
            ),
        ),
    ]
}

fn names() -> Vec<Script> {
    vec![
        script(
            "close_unknown",
            exchange(
                1,
                &[
                    close_statement("never"),
                    close_portal("never"),
                    close_statement(""),
                    close_portal(""),
                    sync(),
                ],
            ),
        ),
        script(
            "unknown_names",
            exchange(
                4,
                &[
                    bind("", "never", &[], 0),
                    sync(),
                    execute("never", 0),
                    sync(),
                    describe_statement("never"),
                    sync(),
                    describe_portal("never"),
                    sync(),
                ],
            ),
        ),
        script(
            "named_twice",
            exchange(
                2,
                &[
                    parse("n", "SELECT 1", &[]),
                    parse("n", "SELECT 2", &[]),
                    sync(),
                    bind("", "n", &[], 0),
                    execute("", 0),
                    sync(),
                ],
            ),
        ),
        script(
            "unnamed_overwritten",
            exchange(
                1,
                &[
                    parse("", "DELETE FROM t WHERE id = 1", &[]),
                    parse("", "SELECT 2", &[]),
                    bind("", "", &[], 0),
                    execute("", 0),
                    sync(),
                ],
            ),
        ),
        script(
            "unnamed_after_failed_parse",
            exchange(
                2,
                &[
                    parse("", "SELECT 1", &[]),
                    sync(),
                    parse("", "SELECT nope", &[]),
                    sync(),
                ]
                .map(|bytes| bytes),
            )
            .into_iter()
            .chain(exchange(1, &[bind("", "", &[], 0), execute("", 0), sync()])),
        ),
        script(
            "unnamed_after_query",
            exchange(
                3,
                &[
                    parse("", "DELETE FROM t WHERE id = 1", &[]),
                    sync(),
                    query("SELECT 1"),
                    bind("", "", &[], 0),
                    execute("", 0),
                    sync(),
                ],
            ),
        ),
        script(
            "close_and_parse_again",
            exchange(
                1,
                &[
                    parse("n", "DELETE FROM t WHERE id = 1", &[]),
                    close_statement("n"),
                    parse("n", "SELECT 7", &[]),
                    bind("", "n", &[], 0),
                    execute("", 0),
                    sync(),
                ],
            ),
        ),
        script("statement_out_of_sight_for_a_while", {
            let mut parts = vec![
                query(
                    "CREATE SCHEMA empty; CREATE SCHEMA fuller; CREATE TABLE fuller.c AS SELECT 7 AS id",
                ),
                parse("n", "SELECT id FROM c ORDER BY id LIMIT 2", &[]),
                sync(),
            ];
            for path in ["public", "empty", "empty", "fuller", "empty", "public"] {
                parts.push(query(&format!("SET search_path = {path}")));
                parts.push(bind("", "n", &[], 0));
                parts.push(execute("", 0));
                parts.push(sync());
            }
            parts.push(query("BEGIN; SET LOCAL search_path = empty"));
            for _ in 0..2 {
                parts.push(bind("", "n", &[], 0));
                parts.push(execute("", 0));
                parts.push(sync());
            }
            parts.push(query("ROLLBACK"));
            parts.push(bind("", "n", &[], 0));
            parts.push(execute("", 0));
            parts.push(sync());
            exchange(18, &parts)
        }),
        script("statement_of_sql_out_of_sight_for_a_while", {
            let mut parts = vec![
                query("CREATE SCHEMA empty"),
                query("PREPARE n AS SELECT id FROM c ORDER BY id LIMIT 2"),
                query("CREATE TABLE s (id int PRIMARY KEY); INSERT INTO s VALUES (1)"),
                query("PREPARE s AS SELECT id FROM s"),
            ];
            for path in ["public", "empty", "empty", "public"] {
                parts.push(query(&format!("SET search_path = {path}")));
                parts.push(query("EXECUTE n"));
            }
            parts.push(query("DROP TABLE s"));
            parts.push(query("EXECUTE s"));
            parts.push(query("EXECUTE s"));
            parts.push(query(
                "CREATE TABLE s (id int PRIMARY KEY); INSERT INTO s VALUES (1), (2)",
            ));
            parts.push(query("EXECUTE s"));
            parts.push(query("DELETE FROM s WHERE id = 1"));
            parts.push(query("EXECUTE s"));
            parts.push(query("SELECT count(*) FROM c"));
            exchange(20, &parts)
        }),
        script("statement_many_times", {
            let mut parts = vec![parse("n", "DELETE FROM c WHERE id = $1 RETURNING *", &[])];
            for n in 1..=12 {
                parts.push(bind("", "n", &[Some(&n.to_string())], 0));
                parts.push(execute("", 0));
            }
            parts.push(sync());
            exchange(1, &parts)
        }),
        script(
            "statement_after_ddl",
            exchange(
                4,
                &[
                    parse("n", "SELECT * FROM t WHERE id = 1", &[]),
                    bind("", "n", &[], 0),
                    execute("", 0),
                    sync(),
                    query("ALTER TABLE t ADD extra int"),
                    bind("", "n", &[], 0),
                    execute("", 0),
                    sync(),
                    query("SELECT * FROM t WHERE id = 1"),
                ],
            ),
        ),
        script(
            "prepared_in_both_worlds",
            exchange(
                3,
                &[
                    query("PREPARE q AS DELETE FROM t WHERE id = 1 RETURNING id"),
                    describe_statement("q"),
                    bind("", "q", &[], 0),
                    execute("", 0),
                    sync(),
                    query("EXECUTE q"),
                ],
            ),
        ),
        script(
            "deallocate_by_sql",
            exchange(
                3,
                &[
                    parse("n", "SELECT * FROM t", &[]),
                    sync(),
                    query("DEALLOCATE n"),
                    bind("", "n", &[], 0),
                    sync(),
                ],
            ),
        ),
        script(
            "parse_describe_split_from_bind",
            [
                Step::Send(
                    [
                        parse("d", "DELETE FROM t WHERE id = $1 RETURNING *", &[]),
                        describe_statement("d"),
                        sync(),
                    ]
                    .concat(),
                ),
                Step::Ready(1),
                Step::Send(
                    [
                        bind("", "d", &[Some("2")], 1),
                        execute("", 0),
                        close_statement("d"),
                        sync(),
                    ]
                    .concat(),
                ),
                Step::Ready(1),
            ],
        ),
        script(
            "parameter_types",
            exchange(
                1,
                &[
                    parse("a", "DELETE FROM t WHERE name = $2 AND id = $1", &[]),
                    describe_statement("a"),
                    parse("b", "INSERT INTO t VALUES ($1, $2, $3)", &[]),
                    describe_statement("b"),
                    parse("c", "UPDATE t SET amount = $2 WHERE id = $1", &[20]),
                    describe_statement("c"),
                    sync(),
                ],
            ),
        ),
        script(
            "too_many_parameter_types",
            exchange(
                1,
                &[
                    parse("a", "SELECT $1", &[INT4, INT4, 25]),
                    describe_statement("a"),
                    sync(),
                ],
            ),
        ),
        script(
            "unknown_type",
            exchange(1, &[parse("a", "SELECT $1", &[3]), sync()]),
        ),
    ]
}
