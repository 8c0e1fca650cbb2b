//! Random schemas, random statements, and plain PostgreSQL beside them: rows, tags, errors; and afterwards everything that was
//! ever deleted comes back.
//!
//! `MODEL_SCHEMAS=200 MODEL_OPERATIONS=500` for the long form, `MODEL_FIRST=n` to begin behind the first n schemas; `MODEL_SEED=n` tries
//! one schema again. Between statements something is undeleted, MODEL_UNDELETES times in a hundred. Half of the schemas use keys again and change them. In the others every row that was deleted must come
//! back, as it was.

mod operations;
mod random;
mod schema;
mod undeletes;

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};

use operations::{Contents, Operations};
use random::Random;
use schema::Schema;
use tests::Pair;
use tests::client::{Client, rows};
use tests::compare::difference;
use tests::message::{Detail, Message};
use tests::pair::settle;
use undeletes::{Dba, Row, Undeletes};

/// States that a statement of this test may end in, when several sessions run at once.
const EXPECTED: &[&str] = &[
    "23502", "23503", "23505", "40P01", "40001", "21000", "25P02", "3B001", "55000",
];

/// What is found by a check that is clean.
const CHECK: &str = "SELECT * FROM reprieve.check_v1() WHERE severity <> 'notice'";

fn setting(name: &str, otherwise: usize) -> usize {
    std::env::var(name)
        .ok()
        .and_then(|value| value.parse().ok())
        .unwrap_or(otherwise)
}

fn seeds(first: u64) -> Vec<u64> {
    match std::env::var("MODEL_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
    {
        Some(seed) => vec![seed],
        None => (0..setting("MODEL_SCHEMAS", 6))
            .map(|n| first + (setting("MODEL_FIRST", 0) + n) as u64)
            .collect(),
    }
}

/// One session on each side.
struct World {
    plain: Client,
    tried: Client,
    said: Vec<String>,
}

/// What came back, rows in no order.
fn answer(messages: &[Message]) -> Vec<String> {
    let mut lines = Vec::new();
    let mut data = Vec::new();
    for message in messages {
        if message.tag == b'D' {
            data.push(message.line(Detail::Meaning));
            continue;
        }
        data.sort();
        lines.append(&mut data);
        match message.tag {
            b'E' => {
                let state = message.field(b'C').unwrap_or_default();
                let mut text = message.field(b'M').unwrap_or_default();
                // Of several rows and foreign keys that are violated at once another one may be named (D29).
                if state == "23503" {
                    text.clear();
                }
                lines.push(format!("E {state} {text}"));
            }
            _ => lines.push(message.line(Detail::Meaning)),
        }
    }
    lines
}

fn contents(client: &mut Client, schema: &Schema) -> Contents {
    schema
        .tables
        .iter()
        .map(|table| {
            let rows = client.run(&format!("SELECT id, t::text FROM {} AS t", table.name));
            rows.into_iter()
                .map(|row| {
                    let (id, text) = row.split_once('|').expect("two columns");
                    (id.parse().expect("a number"), text.to_owned())
                })
                .collect()
        })
        .collect()
}

/// The errors among the lines of an answer, by state, and everything else.
fn errors(answer: &[String]) -> (Vec<&str>, Vec<&String>) {
    let (errors, rest): (Vec<_>, Vec<_>) = answer.iter().partition(|line| line.starts_with("E "));
    let states = errors.iter().map(|line| &line[2..7]).collect();
    (states, rest)
}

/// Both fail, for different ones of several constraints that are violated at once (D29).
fn names_another(plain: &[String], tried: &[String]) -> bool {
    let ((one, rest), (two, other)) = (errors(plain), errors(tried));
    let known = |states: &[&str]| states.len() == 1 && ["23503", "23505"].contains(&states[0]);
    known(&one) && known(&two) && rest == other
}

/// One fails with 23503 and the other deletes several rows.
fn fails_by_order(plain: &[String], tried: &[String]) -> bool {
    let several = |answer: &[String]| {
        answer.iter().any(|line| {
            let tag = line.trim_end_matches("\\x00");
            let count = tag
                .strip_prefix("C DELETE ")
                .or_else(|| tag.strip_prefix("C SELECT "));
            count
                .and_then(|count| count.parse().ok())
                .is_some_and(|count: u32| count > 1)
        })
    };
    let (one, two) = (errors(plain).0, errors(tried).0);
    one.is_empty() && two == ["23503"] && several(plain)
        || two.is_empty() && one == ["23503"] && several(tried)
}

impl World {
    /// None where the two cannot be compared any further.
    fn run(&mut self, sql: &str, order_matters: bool) -> Option<Vec<Message>> {
        self.said.push(sql.to_owned());
        let plain = self.plain.query(sql);
        let tried = self.tried.query(sql);
        let (one, two) = (answer(&plain), answer(&tried));
        if let Some(difference) = difference(&one, &two)
            && !names_another(&one, &two)
        {
            if order_matters && fails_by_order(&one, &two) {
                eprintln!(
                    "{} ends with statement {}: D29",
                    self.said[0],
                    self.said.len()
                );
                return None;
            }
            panic!("{}\n{difference}", self.story());
        }
        Some(plain)
    }

    fn story(&self) -> String {
        format!("{};", self.said.join(";\n"))
    }
}

/// Rows that were deleted, with their content then. Only what is committed counts.
#[derive(Default)]
struct Deleted {
    rows: BTreeMap<(usize, i64), String>,
    pending: Vec<((usize, i64), String)>,
    savepoints: Vec<usize>,
    /// What was committed at some time. A row that was made and deleted in one transaction may have had a parent
    /// that never was, under a deferred foreign key: it cannot come back.
    committed: BTreeSet<(usize, String)>,
}

impl Deleted {
    fn note(&mut self, before: &Contents, after: &Contents) -> Vec<Row> {
        let mut gone = Vec::new();
        for (table, rows) in before.iter().enumerate() {
            for (id, text) in rows {
                if !after[table].contains_key(id) {
                    gone.push(((table, *id), text.clone()));
                }
            }
        }
        self.pending.extend(gone.iter().cloned());
        gone
    }

    fn follow(&mut self, sql: &str, status: u8, now: &Contents) {
        match sql {
            "SAVEPOINT s" => self.savepoints.push(self.pending.len()),
            "ROLLBACK TO s" => self
                .pending
                .truncate(self.savepoints.last().copied().unwrap_or(0)),
            _ => {}
        }
        if status == b'I' {
            self.rows.extend(self.pending.drain(..));
            self.savepoints.clear();
            for (table, rows) in now.iter().enumerate() {
                let texts = rows.values().map(|text| (table, text.clone()));
                self.committed.extend(texts);
            }
        }
    }
}

fn status(messages: &[Message]) -> u8 {
    messages.last().map_or(0, |message| message.body[0])
}

fn one_session(pair: &Pair, seed: u64) {
    let mut random = Random::new(seed);
    let reuses = seed.is_multiple_of(2);
    let schema = Schema::random(&mut random, reuses);
    let database = format!("model_{seed}");
    pair.create_database(&database);
    let mut world = World {
        plain: Client::connect(&pair.plain().target(), "clerk", &database).expect("connects"),
        tried: Client::connect(&pair.tried(), "clerk", &database).expect("connects"),
        said: vec![format!("-- seed {seed}")],
    };
    for sql in &schema.ddl {
        world.run(sql, false);
    }
    pair.settle(&database);
    let order_matters = schema.order_matters();
    let mut operations = Operations::new(&schema, &mut random, 0);
    let mut deleted = Deleted::default();
    let mut now = contents(&mut world.plain, &schema);
    let mut failed = false;
    let mut undeletes = pair.proxy().map(|_| Undeletes::new(pair, &database, seed));
    for _ in 0..setting("MODEL_OPERATIONS", 60) {
        let was_outside = !operations.in_transaction;
        let sql = if failed {
            operations.failed()
        } else {
            operations.next(&now)
        };
        let Some(reply) = world.run(&sql, order_matters) else {
            return;
        };
        failed = status(&reply) == b'E';
        operations.in_transaction = status(&reply) != b'I';
        if failed {
            continue;
        }
        let before = now;
        now = contents(&mut world.plain, &schema);
        let tried = contents(&mut world.tried, &schema);
        assert_eq!(now, tried, "\n{}", world.story());
        let back = sql.starts_with("ROLLBACK") || reply.iter().any(|message| message.tag == b'E');
        if back && !sql.starts_with("ROLLBACK TO") {
            deleted.pending.clear();
        } else if !back {
            let gone = deleted.note(&before, &now);
            for ((table, id), _) in &gone {
                operations.removed(*table, *id);
            }
            if let Some(undeletes) = &mut undeletes
                && status(&reply) == b'I'
            {
                undeletes.note(if was_outside { gone } else { Vec::new() });
            }
        }
        deleted.follow(&sql, status(&reply), &now);
        if let Some(undeletes) = &mut undeletes
            && status(&reply) == b'I'
            && undeletes.now_and_then(&mut world, &schema, &now)
        {
            let before = std::mem::replace(&mut now, contents(&mut world.plain, &schema));
            deleted.note(&before, &now);
            deleted.follow("", b'I', &now);
        }
    }
    drop(undeletes);
    if operations.in_transaction {
        world.run("ROLLBACK", false);
    }
    if pair.proxy().is_some() {
        let live = contents(&mut world.tried, &schema);
        comes_back(pair, &database, &schema, &world.story(), live, &deleted);
    }
    drop(world);
    pair.drop_database(&database);
}

/// The check is clean; undeleting in reverse order brings everything back if no key was used again, and leaves all clean.
fn comes_back(
    pair: &Pair,
    database: &str,
    schema: &Schema,
    story: &str,
    live: Contents,
    deleted: &Deleted,
) {
    let mut keeper = pair.behind().superuser(database);
    let mut client = Client::connect(&pair.tried(), "clerk", database).expect("connects");
    assert_eq!(keeper.run(CHECK), Vec::<String>::new(), "\n{story}");
    let mut reports = Vec::new();
    let mut partly = false;
    let ids = keeper.run("SELECT id FROM reprieve.deletions ORDER BY id DESC");
    let mut more = true;
    // Again where a row waits for one of an earlier deletion: under a deferred foreign key parents may be deleted first.
    while std::mem::take(&mut more) {
        for id in &ids {
            let call = format!("SELECT * FROM reprieve.undelete_deletion_v1({id}");
            let mut messages = keeper.query(&format!("{call})"));
            if !schema.reuses && messages.iter().any(|message| message.tag == b'E') {
                partly = true;
                messages = keeper.query(&format!("{call}, 'nonconflict_only')"));
                let failed = messages.iter().find(|message| message.tag == b'E');
                assert!(failed.is_none(), "\n{story}\n{call}: {failed:?}");
            }
            let lines = rows(&messages);
            let nothing = |line: &String| line.starts_with("(all)|0|0|");
            more |= partly && !lines.is_empty() && !lines.iter().any(nothing);
            reports.extend(lines);
        }
    }
    let reports = reports.join("\n");
    assert_eq!(
        keeper.run(CHECK),
        Vec::<String>::new(),
        "\n{story}\n{reports}"
    );
    if schema.reuses {
        return;
    }
    for (place, table) in schema.tables.iter().enumerate() {
        // References that a deletion changed come back where nobody has changed them since: not for this test to say.
        let columns = ["id", "v"]
            .into_iter()
            .chain(table.unique.then_some("code"))
            .chain(
                table
                    .references
                    .iter()
                    .filter(|reference| !reference.relinks)
                    .map(|reference| reference.column.as_str()),
            )
            .collect::<Vec<_>>();
        let list = columns.join(", ");
        let now = client.run(&format!("SELECT {list} FROM {} ORDER BY id", table.name));
        let is_back = |id: &i64| {
            let id = id.to_string();
            now.iter()
                .any(|line| line.split('|').next() == Some(id.as_str()))
        };
        let texts = live[place]
            .values()
            .chain(
                deleted
                    .rows
                    .iter()
                    .filter(|((at, id), _)| *at == place && !live[place].contains_key(id))
                    .filter(|((_, id), text)| {
                        !partly
                            || is_back(id)
                            || deleted.committed.contains(&(place, (*text).clone()))
                    })
                    .map(|(_, text)| text),
            )
            .map(|text| format!("'{text}'"))
            .collect::<Vec<_>>();
        let expected = if texts.is_empty() {
            Vec::new()
        } else {
            let definition = std::iter::once("id int, v int".to_owned())
                .chain(table.unique.then(|| "code int".to_owned()))
                .chain(
                    table
                        .references
                        .iter()
                        .map(|reference| format!("{} int", reference.column)),
                )
                .collect::<Vec<_>>();
            keeper.run(&format!(
                "CREATE TYPE pg_temp.row_{place} AS ({}); SELECT {list} FROM (SELECT (x::pg_temp.row_{place}).* FROM unnest(ARRAY[{}]) AS x) AS r ORDER BY id",
                definition.join(", "),
                texts.join(", ")
            ))
        };
        assert_eq!(now, expected, "{}: {list}\n{story}\n{reports}", table.name);
    }
}

/// Several sessions at once: no model knows what they should see, but rows and ledger agree, and all that is gone comes back.
fn several_sessions(pair: &Pair, seed: u64) {
    let mut random = Random::new(seed);
    let schema = Schema::random(&mut random, seed.is_multiple_of(2));
    let database = format!("crowd_{seed}");
    pair.behind().create_database(&database);
    let mut first = Client::connect(&pair.tried(), "clerk", &database).expect("connects");
    for sql in &schema.ddl {
        first.run(sql);
    }
    settle(pair.behind(), &database);
    let threads = (0..4).map(|number| {
        let (schema, database) = (&schema, &database);
        move || {
            let mut random = Random::new(seed * 1000 + number);
            let mut client = Client::connect(&pair.tried(), "clerk", database).expect("connects");
            let mut operations = Operations::new(
                schema,
                &mut random,
                if schema.reuses {
                    0
                } else {
                    number as i64 * 100_000
                },
            );
            let mut now = contents(&mut client, schema);
            let mut failed = false;
            let mut said = Vec::new();
            let mut dba = Dba::new(pair.behind().superuser(database), seed * 1000 + number);
            for _ in 0..setting("MODEL_OPERATIONS", 60) {
                let sql = if failed {
                    operations.failed()
                } else {
                    operations.next(&now)
                };
                let reply = client.query(&sql);
                said.push(sql);
                for error in reply.iter().filter(|message| message.tag == b'E') {
                    let state = error.field(b'C').unwrap_or_default();
                    assert!(
                        EXPECTED.contains(&state.as_str()),
                        "{}\n{}",
                        said.join(";\n"),
                        error.line(Detail::Meaning)
                    );
                }
                failed = status(&reply) == b'E';
                operations.in_transaction = status(&reply) != b'I';
                // A session that waits for itself would wait forever.
                if status(&reply) == b'I'
                    && let Some((call, state)) = dba.act(setting("MODEL_UNDELETES", 5))
                {
                    said.push(format!("-- {call}: {state}"));
                    assert!(
                        state.is_empty()
                            || state.starts_with("RV01")
                            || state.get(..5).is_some_and(|code| EXPECTED.contains(&code)),
                        "{}",
                        said.join(";\n")
                    );
                }
                if !failed {
                    let before = std::mem::replace(&mut now, contents(&mut client, schema));
                    for ((table, id), _) in Deleted::default().note(&before, &now) {
                        operations.removed(table, id);
                    }
                }
            }
        }
    });
    std::thread::scope(|scope| {
        let running = threads.map(|work| scope.spawn(work)).collect::<Vec<_>>();
        for thread in running {
            thread
                .join()
                .unwrap_or_else(|_| panic!("seed {seed}: {}", schema.ddl.join(";\n")));
        }
    });
    let mut keeper = pair.behind().superuser(&database);
    assert_eq!(
        keeper.run(CHECK),
        Vec::<String>::new(),
        "seed {seed}: {}",
        schema.ddl.join(";\n")
    );
    for id in keeper.run("SELECT id FROM reprieve.deletions ORDER BY id DESC") {
        let _ = keeper.query(&format!(
            "SELECT * FROM reprieve.undelete_deletion_v1({id})"
        ));
    }
    assert_eq!(
        keeper.run(CHECK),
        Vec::<String>::new(),
        "seed {seed}, undeleted: {}",
        schema.ddl.join(";\n")
    );
    drop((keeper, first));
    pair.behind().drop_database(&database);
}

/// Tries each seed, also those behind one that fails: the long form runs for hours.
fn each(first: u64, mut attempt: impl FnMut(u64)) {
    let failed = seeds(first)
        .into_iter()
        .filter(|seed| catch_unwind(AssertUnwindSafe(|| attempt(*seed))).is_err())
        .inspect(|seed| eprintln!("seed {seed} failed"))
        .collect::<Vec<_>>();
    assert!(failed.is_empty(), "failed seeds: {failed:?}");
}

#[test]
fn one_session_is_as_plain_postgresql_and_everything_comes_back() {
    let pair = Pair::start("*.*");
    each(1, |seed| one_session(&pair, seed));
}

#[test]
fn several_sessions_leave_rows_and_ledger_in_agreement() {
    let pair = Pair::start("*.*");
    if pair.proxy().is_none() {
        return;
    }
    each(5001, |seed| several_sessions(&pair, seed));
}
