//! The simple protocol.

mod broken;
mod copies;
mod others;

use tests::front::*;

use crate::steps::{Script, exchange, script};

/// Each text as a Query of its own.
fn queries(name: &'static str, texts: &[&str]) -> Script {
    script(
        name,
        texts.iter().flat_map(|text| exchange(1, &[query(text)])),
    )
}

pub fn scripts() -> Vec<Script> {
    [
        statements(),
        copies::copies(),
        others::others(),
        broken::broken(),
        broken::texts(),
    ]
    .concat()
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
        queries(
            "rollback_and_more_in_a_failed_transaction",
            &[
                "BEGIN",
                "SET LOCAL search_path = public",
                "SELECT 1/0",
                "SELECT 1; ROLLBACK; SELECT * FROM t",
                "ROLLBACK; SELEC * FROM t",
                "ROLLBACK; SELECT id FROM t ORDER BY id; DELETE FROM t WHERE id = 1; SELECT count(*) FROM t",
                "SELECT count(*) FROM t",
            ],
        ),
        queries(
            "rollback_to_and_more_in_a_failed_transaction",
            &[
                "BEGIN; SAVEPOINT s; SET LOCAL search_path = public; ALTER TABLE t ADD COLUMN more int; SELECT 1/0",
                "BEGIN",
                "SAVEPOINT s",
                "ALTER TABLE t ADD COLUMN more int",
                "SELECT 1/0",
                "ROLLBACK TO nowhere; SELECT * FROM t",
                "ROLLBACK TO s; SELECT * FROM t ORDER BY id; DELETE FROM t WHERE id = 2; COMMIT; SELECT count(*) FROM t",
            ],
        ),
        queries(
            "new_name_of_a_table",
            &[
                "ALTER TABLE t RENAME TO renamed; SELECT * FROM renamed ORDER BY id; DELETE FROM renamed WHERE id = 1 RETURNING *",
                "BEGIN",
                "ALTER TABLE renamed RENAME TO again; SELECT count(*) FROM again",
                "ROLLBACK",
                "SELECT count(*) FROM renamed",
            ],
        ),
        queries(
            "isolation_level_behind_another_path",
            &[
                "SET search_path = public, pg_temp",
                "BEGIN",
                "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE; SELECT count(*) FROM t; DELETE FROM t WHERE id = 1",
                "SHOW transaction_isolation",
                "ROLLBACK",
                "BEGIN",
                "SET LOCAL search_path = public; SET LOCAL transaction_isolation TO 'repeatable read'; TABLE t; SHOW transaction_isolation",
                "ROLLBACK; SET search_path = public; BEGIN; SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM t",
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
