//! PREVIEW DELETE against the deletes themselves, done and rolled back on a plain server.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a helper of a test that fails must fail the test"
)]

mod support;
mod undelete_support;

use std::collections::BTreeMap;

use support::Database;
use undelete_support::{assert_sound, content, database, failure, mark};

/// A small generator of numbers, for runs that can be repeated.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }

    fn percent(&mut self, chance: u64) -> bool {
        self.below(100) < chance
    }
}

/// Tables `t0`, `t1`, ... with up to three references each, to any table, themselves included.
struct Schema {
    tables: u64,
    references: Vec<(u64, u64)>,
    ddl: String,
}

fn random_schema(random: &mut Random) -> Schema {
    const ACTIONS: &[&str] = &[
        "CASCADE",
        "CASCADE",
        "CASCADE",
        "CASCADE",
        "SET NULL",
        "SET DEFAULT",
        "NO ACTION",
        "RESTRICT",
    ];
    let tables = 2 + random.below(4);
    let mut ddl = String::new();
    let mut keys = String::new();
    let mut references = Vec::new();
    let rows = 4 + random.below(12);
    for table in 0..tables {
        ddl += &format!("CREATE TABLE t{table} (id int PRIMARY KEY, v int");
        for place in 0..random.below(4) {
            let to = random.below(tables);
            let action = ACTIONS[random.below(ACTIONS.len() as u64) as usize];
            let default = if random.percent(30) { " DEFAULT 2" } else { "" };
            let timing =
                ["", "", " DEFERRABLE", " DEFERRABLE INITIALLY DEFERRED"][random.below(4) as usize];
            ddl += &format!(", r{place} int{default}");
            if random.percent(50) {
                keys += &format!("CREATE INDEX ON t{table} (r{place});");
            }
            keys += &format!(
                "ALTER TABLE t{table} ADD CONSTRAINT t{table}_r{place} FOREIGN KEY (r{place}) REFERENCES t{to} ON DELETE {action}{timing};"
            );
            references.push((table, place));
            for id in 1..=rows {
                if random.percent(70) {
                    let target = 1 + random.below(rows);
                    keys += &format!("UPDATE t{table} SET r{place} = {target} WHERE id = {id};");
                }
            }
        }
        ddl += &format!(
            "); INSERT INTO t{table} (id, v) SELECT i, i % 5 FROM generate_series(1, {rows}) i;"
        );
        for &(of, place) in references.iter().filter(|(of, _)| *of == table) {
            ddl += &format!("UPDATE t{of} SET r{place} = NULL;");
        }
    }
    Schema {
        tables,
        references,
        ddl: ddl + &keys,
    }
}

/// What became, or would become, of whom. `None`: the delete fails.
type Outcome = Option<BTreeMap<String, u64>>;

/// Does it, looks and takes it back.
async fn really(plain: &Database, schema: &Schema, table: u64, condition: &str) -> Outcome {
    let mut look = String::new();
    for name in 0..schema.tables {
        look += &format!("CREATE TEMP TABLE before_{name} ON COMMIT DROP AS TABLE t{name};");
    }
    plain.run(&format!("BEGIN; {look}")).await;
    let done = plain
        .try_run(&format!(
            "DELETE FROM t{table} WHERE {condition}; SET CONSTRAINTS ALL IMMEDIATE"
        ))
        .await;
    if let Err(error) = done {
        let code = error.code().map(|code| code.code().to_owned());
        assert!(
            code.as_deref().is_some_and(|code| code.starts_with("23")),
            "{error:?}"
        );
        plain.run("ROLLBACK").await;
        return None;
    }
    let mut outcome = BTreeMap::new();
    for name in 0..schema.tables {
        let gone = plain
            .value(&format!("SELECT count(*) FROM before_{name} b WHERE NOT EXISTS (SELECT FROM t{name} t WHERE t.id = b.id)"))
            .await;
        outcome.insert(format!("t{name}"), gone.parse().unwrap());
    }
    for (of, place) in &schema.references {
        let changed = plain
            .value(&format!("SELECT count(*) FROM before_{of} b JOIN t{of} t USING (id) WHERE t.r{place} IS DISTINCT FROM b.r{place}"))
            .await;
        outcome.insert(format!("t{of}_r{place}"), changed.parse().unwrap());
    }
    plain.run("ROLLBACK").await;
    outcome.retain(|_, count| *count > 0);
    Some(outcome)
}

async fn previewed(db: &Database, table: u64, condition: &str) -> Outcome {
    let lines = db
        .rows(&format!("SELECT action, CASE action WHEN 'delete' THEN split_part(table_name, '.', 2) ELSE substring(path, '([^ ]+) > [^ ]+$') END, sum(rows)
              FROM reprieve.preview_delete_v1('t{table}', $p${condition}$p$) GROUP BY 1, 2"))
        .await;
    let mut outcome = BTreeMap::new();
    for line in lines {
        let parts: Vec<&str> = line.split('|').collect();
        match parts[0] {
            "block" | "BLOCKED" => return None,
            "delete" | "set null" | "set default" => {
                *outcome.entry(parts[1].to_owned()).or_default() +=
                    parts[2].parse::<u64>().unwrap();
            }
            "DELETES" | "NOTHING" => {}
            other => panic!("{other}"),
        }
    }
    outcome.retain(|_, count| *count > 0);
    Some(outcome)
}

/// Many small databases of tables that refer to each other and to themselves, some rows deleted before.
async fn against_random_schemas(name: &str, seed: u64, schemas: u64) {
    let mut random = Random(seed);
    let (mut done, mut blocked) = (0, 0);
    let plain = Database::new(&format!("{name}_plain")).await;
    let db = Database::new(name).await;
    db.keeper().await.install().await.unwrap();
    for number in 0..schemas {
        let schema = random_schema(&mut random);
        let fresh = format!(
            "DROP SCHEMA IF EXISTS s CASCADE; CREATE SCHEMA s; SET search_path = s; {}",
            schema.ddl
        );
        if plain.try_run(&fresh).await.is_err() {
            continue;
        }
        db.run("SET client_min_messages = error; DELETE FROM reprieve.tables")
            .await;
        db.run(&fresh).await;
        for table in 0..schema.tables {
            let mode = if random.percent(30) { "bin" } else { "auto" };
            db.run(&format!("SELECT reprieve.enable_v1('t{table}', '{mode}')"))
                .await;
        }
        db.run("SELECT reprieve.advance_v1()").await;
        for attempt in 0..8 {
            let table = random.below(schema.tables);
            let condition = match random.below(3) {
                0 => format!("id = {}", 1 + random.below(8)),
                1 => format!("v = {}", random.below(5)),
                _ => format!("id > {}", random.below(16)),
            };
            let real = really(&plain, &schema, table, &condition).await;
            let seen = previewed(&db, table, &condition).await;
            assert_eq!(
                real, seen,
                "schema {number}, attempt {attempt}: DELETE FROM t{table} WHERE {condition}\n{}",
                schema.ddl
            );
            match real {
                Some(_) => done += 1,
                None => blocked += 1,
            }
            // Tombstones for the next.
            if random.percent(40)
                && plain
                    .try_run(&format!("DELETE FROM t{table} WHERE {condition}"))
                    .await
                    .is_ok()
            {
                let marked = db.value(&format!("SELECT mode = 'mark' FROM reprieve.tables WHERE relid = 't{table}'::regclass")).await == "t";
                let delete = if marked {
                    mark(&format!("t{table}"), &condition)
                } else {
                    format!("DELETE FROM t{table} WHERE {condition}")
                };
                db.run(&delete).await;
            }
        }
    }
    assert!(done > 20 && blocked > 20, "{done} done, {blocked} blocked");
}

#[tokio::test]
async fn previews_tell_what_deletes_do() {
    against_random_schemas("preview_random", 0x5eed_0001, 60).await;
}

/// Table, action and rows of each line.
async fn lines(db: &Database, table: &str, condition: &str) -> Vec<String> {
    db.rows(&format!(
        "SELECT table_name, action, rows FROM reprieve.preview_delete_v1('{table}', $p${condition}$p$)"
    ))
    .await
}

#[tokio::test]
async fn keys_of_several_columns_partitions_and_triggers() {
    let schema = "
        CREATE TABLE p (a int, b text, PRIMARY KEY (a, b)) PARTITION BY RANGE (a);
        CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10);
        CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (10) TO (20);
        CREATE TABLE c (id int PRIMARY KEY, a int, b text, FOREIGN KEY (a, b) REFERENCES p ON DELETE CASCADE);
        CREATE TABLE leaf_only (id int PRIMARY KEY, a int NOT NULL, b text, FOREIGN KEY (a, b) REFERENCES p2 ON DELETE SET NULL);
        CREATE TABLE d (id int PRIMARY KEY, c_id int DEFAULT 0 REFERENCES c ON DELETE SET DEFAULT);
        INSERT INTO p SELECT i, 'x' FROM generate_series(1, 15) i;
        INSERT INTO c SELECT i, i, 'x' FROM generate_series(1, 15) i; INSERT INTO c VALUES (0, NULL, 'x'), (99, 3, NULL);
        INSERT INTO d SELECT i, i FROM generate_series(1, 15) i;
        INSERT INTO leaf_only VALUES (1, 12, 'x');
        CREATE FUNCTION noted() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN OLD; END $$;
        CREATE TRIGGER z_row BEFORE DELETE ON c FOR EACH ROW EXECUTE FUNCTION noted();
        CREATE TRIGGER a_all AFTER DELETE ON c FOR EACH STATEMENT EXECUTE FUNCTION noted();
        CREATE TRIGGER off BEFORE DELETE ON c FOR EACH ROW EXECUTE FUNCTION noted(); ALTER TABLE c DISABLE TRIGGER off;
        CREATE TRIGGER changed AFTER UPDATE OF c_id ON d FOR EACH ROW EXECUTE FUNCTION noted();
        CREATE TRIGGER other AFTER UPDATE OF id ON d FOR EACH ROW EXECUTE FUNCTION noted()";
    let db = database("preview_shapes", schema, &[("p", "bin"), ("d", "bin")]).await;
    assert_eq!(
        lines(&db, "p", "a < 5").await,
        [
            "public.p|delete|4",
            "public.c|delete|4",
            "public.d|set default|4",
            "(all)|DELETES|8"
        ]
    );
    // A leaf by itself, and a null where none may be.
    assert_eq!(
        lines(&db, "p2", "a = 12").await,
        [
            "public.p2|delete|1",
            "public.c|delete|1",
            "public.leaf_only|block|1",
            "public.d|set default|1",
            "(all)|BLOCKED|2"
        ]
    );
    let (code, ..) = failure(&db.session().await, "DELETE FROM p2 WHERE a = 12").await;
    assert_eq!(code, "23502");
    assert_eq!(
        db.rows("SELECT table_name, triggers FROM reprieve.preview_delete_v1('p', 'a < 5') WHERE triggers IS NOT NULL").await,
        [
            "public.c|a_all after the statement, z_row before each of 4 rows",
            "public.d|changed after each of 4 rows"
        ]
    );
    // The default that everything falls back to goes too.
    assert_eq!(
        lines(&db, "c", "id = 0").await,
        ["public.c|delete|1", "(all)|DELETES|1"]
    );
    assert_eq!(
        lines(&db, "c", "id IN (0, 5)").await,
        ["public.c|delete|2", "public.d|block|1", "(all)|BLOCKED|2"]
    );
    let (code, ..) = failure(&db.session().await, "DELETE FROM c WHERE id IN (0, 5)").await;
    assert_eq!(code, "23503");
    assert_sound(&db).await;
}

#[tokio::test]
async fn a_preview_changes_and_locks_nothing() {
    let db = database(
        "preview_quiet",
        "CREATE TABLE p (id int PRIMARY KEY); CREATE TABLE c (id int PRIMARY KEY, p_id int REFERENCES p ON DELETE CASCADE);
         INSERT INTO p SELECT generate_series(1, 5); INSERT INTO c SELECT i, i FROM generate_series(1, 5) i",
        &[("p", "mark"), ("c", "bin")],
    )
    .await;
    let before = content(&db, &["p", "c"]).await;
    // Rows that somebody else has locked do not hold it up, and it does not hold up others.
    let other = db.session().await;
    other
        .batch_execute("BEGIN; UPDATE p SET id = id; SELECT FROM c FOR UPDATE; LOCK TABLE p, c IN EXCLUSIVE MODE")
        .await
        .unwrap();
    db.run("BEGIN; SET LOCAL lock_timeout = '2s'").await;
    assert_eq!(
        lines(&db, "p", "true").await.pop().unwrap(),
        "(all)|DELETES|10"
    );
    let locks = db
        .rows("SELECT mode FROM pg_locks WHERE pid = pg_backend_pid() AND relation IN ('p'::regclass, 'c'::regclass)")
        .await;
    assert_eq!(locks, Vec::<String>::new(), "all of it is taken back");
    other.batch_execute("ROLLBACK").await.unwrap();
    db.run("COMMIT").await;
    assert_eq!(content(&db, &["p", "c"]).await, before);
    assert_eq!(
        db.value("SELECT (SELECT count(*) FROM reprieve.preview_rows) + (SELECT count(*) FROM reprieve.preview_kept) + (SELECT count(*) FROM reprieve.deletions)").await,
        "0"
    );
    for (query, code) in [
        (
            "SELECT * FROM reprieve.preview_delete_v1('pg_stat_activity', 'true')",
            "42809",
        ),
        (
            "SELECT * FROM reprieve.preview_delete_tree_v1('p', 'true', 'svg')",
            "22023",
        ),
        (
            "SELECT * FROM reprieve.preview_delete_v1('p', 'nothing')",
            "42703",
        ),
    ] {
        assert_eq!(failure(&db.session().await, query).await.0, code, "{query}");
    }
    assert_sound(&db).await;
}
