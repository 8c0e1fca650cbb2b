//! Undeletes amid random statements: taken back, undone, or kept, in which case plain PostgreSQL is given the same rows by hand.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use tests::Pair;
use tests::client::{Client, rows};

use crate::operations::Contents;
use crate::random::Random;
use crate::schema::Schema;
use crate::{CHECK, World, contents, setting};

const MODES: &[&str] = &[
    "nocascade",
    "nonconflict_only",
    "cascade",
    "replace",
    "force",
];

/// A row that a statement took: its table and `id`, and all of it as text.
pub type Row = ((usize, i64), String);

/// What an undelete answered: the last line of its report, or the error.
#[derive(Debug)]
enum Answer {
    Report { totals: String, verdict: String },
    Refused(String),
}

pub struct Undeletes {
    keeper: Client,
    /// The superuser of plain PostgreSQL.
    plain: Client,
    chance: Random,
    random: Random,
    newest: i64,
    /// Deletions that are known to have taken just these rows, as they were, and nothing of which has come back.
    known: Vec<(i64, Vec<Row>)>,
}

impl Undeletes {
    /// Choices of its own: the statements are the same with it and without it, up to the first undelete that is kept.
    pub fn new(pair: &Pair, database: &str, seed: u64) -> Undeletes {
        Undeletes {
            keeper: pair.behind().superuser(database),
            plain: pair.plain().superuser(database),
            chance: Random::new(seed.rotate_left(32)),
            random: Random::new(!seed),
            newest: 0,
            known: Vec::new(),
        }
    }

    /// Undeletes something now and then, outside of transactions. True if there may be other rows since.
    pub fn now_and_then(&mut self, world: &mut World, schema: &Schema, now: &Contents) -> bool {
        if !self.chance.percent(setting("MODEL_UNDELETES", 5)) {
            return false;
        }
        let attempt = catch_unwind(AssertUnwindSafe(|| {
            self.attempt(&mut world.tried, schema, now)
        }));
        let story = attempt.unwrap_or_else(|panic| {
            eprintln!("{}", world.story());
            resume_unwind(panic)
        });
        world.said.extend(story);
        true
    }

    /// A statement outside of a transaction has taken these rows.
    pub fn note(&mut self, taken: Vec<Row>) {
        let new = self.keeper.run(&format!(
            "SELECT id FROM reprieve.deletions WHERE id > {} ORDER BY id",
            self.newest
        ));
        let new = new.iter().filter_map(|id| id.parse().ok());
        let new: Vec<i64> = new.collect();
        self.newest = new.last().copied().unwrap_or(self.newest);
        if let [deletion] = new[..]
            && !taken.is_empty()
        {
            self.known.push((deletion, taken));
        }
    }

    /// Undeletes something, if there is anything. Returns what to add to the story; the contents are other ones if it was kept.
    fn attempt(&mut self, tried: &mut Client, schema: &Schema, now: &Contents) -> Option<String> {
        let recent = self
            .keeper
            .run("SELECT id FROM reprieve.deletions ORDER BY id DESC LIMIT 12");
        if recent.is_empty() {
            return None;
        }
        let deletion: i64 = self.random.of(&recent).parse().expect("a number");
        let mode = *self.random.of(MODES);
        let call = format!("undelete_deletion_v1({deletion}, '{mode}')");
        match self.random.below(10) {
            0..4 => self.take_back(tried, schema, now, deletion, &call),
            4..8 if !["replace", "force"].contains(&mode) => self.undo(tried, schema, now, &call),
            _ => return self.keep(tried, schema, now, deletion, &call),
        }
        Some(format!("-- {call}, and back"))
    }

    fn call(&mut self, call: &str) -> Answer {
        let messages = self.keeper.query(&format!(
            "SELECT restored, relinked, skipped, verdict FROM reprieve.{call} WHERE table_name = '(all)'"
        ));
        if let Some(error) = messages.iter().find(|message| message.tag == b'E') {
            let state = error.field(b'C').unwrap_or_default();
            let message = error.field(b'M').unwrap_or_default();
            assert!(state.starts_with("RV01"), "{call}: {state} {message}");
            return Answer::Refused(message);
        }
        let line = rows(&messages).pop().expect("a line for the whole");
        let (totals, verdict) = line.rsplit_once('|').expect("four columns");
        Answer::Report {
            totals: totals.to_owned(),
            verdict: verdict.to_owned(),
        }
    }

    fn sound(&mut self, after: &str) {
        self.keeper.run("SET CONSTRAINTS ALL IMMEDIATE");
        assert_eq!(self.keeper.run(CHECK), Vec::<String>::new(), "{after}");
    }

    /// Where all has come back, it is as it was.
    fn is_back(&mut self, schema: &Schema, deletion: i64, call: &str) {
        let Some((_, taken)) = self.known.iter().find(|(known, _)| *known == deletion) else {
            return;
        };
        let taken = taken.clone();
        let veiled = schema.tables.iter().map(|table| {
            let columns = table.columns().join(", ");
            let marks = format!("SELECT reprieve.has_marks('{}'::regclass)", table.name);
            let live = match self.keeper.value(&marks).as_str() {
                "t" => "deleted_at IS NULL",
                _ => "true",
            };
            self.keeper
                .run(&format!(
                    "SELECT id, row({columns})::text FROM {} WHERE {live}",
                    table.name
                ))
                .into_iter()
                .map(|line| {
                    let (id, text) = line.split_once('|').expect("two columns");
                    (id.parse::<i64>().expect("a number"), text.to_owned())
                })
                .collect::<Vec<_>>()
        });
        let live = veiled.collect::<Vec<_>>();
        for ((table, id), text) in taken {
            assert!(
                live[table].contains(&(id, text.clone())),
                "{call}: {} {text} is not back as it was: {:?}",
                schema.tables[table].name,
                live[table].iter().find(|row| row.0 == id)
            );
        }
    }

    fn take_back(
        &mut self,
        tried: &mut Client,
        schema: &Schema,
        now: &Contents,
        deletion: i64,
        call: &str,
    ) {
        let foreseen = self.call(&format!("preview_{call}"));
        self.keeper.run("BEGIN");
        let answer = self.call(call);
        match (&foreseen, &answer) {
            (Answer::Report { verdict, .. }, Answer::Refused(_)) if verdict == "REFUSED" => {}
            (
                Answer::Report { totals, verdict },
                Answer::Report {
                    totals: told,
                    verdict: ended,
                },
            ) if totals == told && verdict == ended => {}
            _ => panic!("{call}: the preview says {foreseen:?}, the undelete {answer:?}"),
        }
        if let Answer::Report { verdict, .. } = answer {
            self.sound(call);
            if verdict == "COMPLETE" {
                self.is_back(schema, deletion, call);
            }
        }
        self.keeper.run("ROLLBACK");
        assert_eq!(&contents(tried, schema), now, "{call} and ROLLBACK");
    }

    fn undo(&mut self, tried: &mut Client, schema: &Schema, now: &Contents, call: &str) {
        let Answer::Report { verdict, .. } = self.call(call) else {
            return;
        };
        self.sound(call);
        if verdict == "NOTHING" {
            return;
        }
        let last = "(SELECT max(id) FROM reprieve.acts)";
        let undone = self.call_undo(&format!("undo_undelete_v1({last})"));
        assert_eq!(undone, "COMPLETE", "{call}");
        self.sound(&format!("{call}, undone"));
        assert_eq!(&contents(tried, schema), now, "{call}, undone");
    }

    fn call_undo(&mut self, call: &str) -> String {
        self.keeper.value(&format!(
            "SELECT verdict FROM reprieve.{call} WHERE table_name = '(all)'"
        ))
    }

    fn keep(
        &mut self,
        tried: &mut Client,
        schema: &Schema,
        now: &Contents,
        deletion: i64,
        call: &str,
    ) -> Option<String> {
        let verdict = match self.call(call) {
            Answer::Report { verdict, .. } => verdict,
            Answer::Refused(message) => return Some(format!("-- {call}: {message}")),
        };
        self.sound(call);
        if verdict == "COMPLETE" {
            self.is_back(schema, deletion, call);
        }
        // Parents may have come from anywhere.
        if call.contains("'cascade'") || call.contains("'force'") {
            self.known.clear();
        }
        self.known.retain(|(known, _)| *known != deletion);
        self.note(Vec::new());
        let after = contents(tried, schema);
        copy(&mut self.plain, schema, now, &after);
        Some(format!("-- {call}, kept: {verdict}"))
    }
}

/// Undeletes and takes them back while others write.
pub struct Dba {
    keeper: Client,
    random: Random,
}

impl Dba {
    pub fn new(keeper: Client, seed: u64) -> Dba {
        Dba {
            keeper,
            random: Random::new(!seed),
        }
    }

    /// This many times out of a hundred: what was called, and the SQLSTATE and message with which it failed, if it did.
    pub fn act(&mut self, chance: usize) -> Option<(String, String)> {
        if !self.random.percent(chance) {
            return None;
        }
        let back = self.random.below(12);
        let mode = self.random.of(MODES);
        let call = if self.random.percent(25) {
            "SELECT count(*) FROM (SELECT max(id) AS id FROM reprieve.acts WHERE undone_at IS NULL HAVING max(id) IS NOT NULL) a, \
             reprieve.undo_undelete_v1(a.id, 'nonconflict_only')"
                .to_owned()
        } else {
            format!(
                "SELECT count(*) FROM (SELECT id FROM reprieve.deletions ORDER BY id DESC OFFSET {back} LIMIT 1) d, \
                 reprieve.undelete_deletion_v1(d.id, '{mode}')"
            )
        };
        let messages = self.keeper.query(&call);
        let error = messages.iter().find(|message| message.tag == b'E');
        let said = error.map(|error| {
            [b'C', b'M', b'W']
                .map(|code| error.field(code).unwrap_or_default())
                .join(" ")
        });
        Some((call, said.unwrap_or_default()))
    }
}

/// Gives plain PostgreSQL the rows that an undelete has changed. It checks nothing meanwhile: the other side has.
fn copy(plain: &mut Client, schema: &Schema, before: &Contents, after: &Contents) {
    let mut removals = String::new();
    let mut additions = String::new();
    for (place, table) in schema.tables.iter().enumerate() {
        let gone = before[place]
            .iter()
            .filter(|(id, text)| after[place].get(id) != Some(text));
        let gone = gone.map(|(id, _)| id.to_string()).collect::<Vec<_>>();
        let new = after[place]
            .iter()
            .filter(|(id, text)| before[place].get(id) != Some(text));
        let new = new.map(|(_, text)| format!("'{text}'")).collect::<Vec<_>>();
        let name = &table.name;
        if !gone.is_empty() {
            removals += &format!("DELETE FROM {name} WHERE id IN ({});", gone.join(", "));
        }
        if !new.is_empty() {
            additions += &format!(
                "INSERT INTO {name} SELECT (x::{name}).* FROM unnest(ARRAY[{}]) AS x;",
                new.join(", ")
            );
        }
    }
    plain.run(&format!(
        "BEGIN; SET LOCAL session_replication_role = replica; {removals}{additions} COMMIT"
    ));
}
