//! Sending a trial, and comparing what came back.

use tests::client::Client;
use tests::compare::difference;
use tests::front;
use tests::message::Detail;

use crate::generate::{Statement, Trial, Way};
use crate::world::{PLANS, World};

/// All rows of all tables; run before a trial that wrote is rolled back.
const CONTENTS: &str = "SELECT 1 AS o, x::text FROM public.emp x UNION ALL SELECT 2, x::text FROM public.dept x UNION ALL \
    SELECT 3, x::text FROM task x UNION ALL SELECT 4, x::text FROM link x UNION ALL SELECT 5, x::text FROM \"Mixed Case\" x UNION ALL \
    SELECT 6, x::text FROM app.emp x UNION ALL SELECT 7, x::text FROM app.log x UNION ALL SELECT 8, x::text FROM ONLY animal x UNION ALL \
    SELECT 9, x::text FROM bird x UNION ALL SELECT 10, x::text FROM part_low x UNION ALL SELECT 11, x::text FROM part_high x UNION ALL \
    SELECT 12, x::text FROM bin_note x UNION ALL SELECT 13, x::text FROM gen x UNION ALL SELECT 14, x::text FROM tree x UNION ALL \
    SELECT 15, x::text FROM booking x UNION ALL SELECT 16, x::text FROM late x";

/// How a refusal by R5 reads, without names.
const REFUSAL: &str = "cannot be read this way";

/// What became of a trial.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    SameRows,
    SameError,
    /// One side took too long.
    Timeout,
    /// PostgreSQL itself says two things, by the plan or the order of rows.
    Undecided,
    /// Only the hint of an error differs, or which of two foreign keys it names: D26, D29.
    Known,
    /// Ours would not be exact, and says so: R5 of docs/refusals.md.
    Refused(Difference),
    Different(Difference),
}

/// How two sides differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// What differences of one cause have in common, as a rule.
    pub kind: String,
    pub shown: String,
}

/// The sides, connected.
pub struct Judge<'a> {
    world: &'a World,
    plain: Client,
    tried: Client,
    others: Vec<Client>,
    app_first: bool,
}

impl<'a> Judge<'a> {
    pub fn new(world: &'a World) -> Judge<'a> {
        let (plain, tried) = world.clients();
        Judge {
            world,
            plain,
            tried,
            others: PLANS.iter().map(|plan| world.other_client(plan)).collect(),
            app_first: false,
        }
    }

    /// Sets the search path of all sides.
    pub fn search_path(&mut self, app_first: bool) {
        if self.app_first == app_first {
            return;
        }
        self.app_first = app_first;
        let path = if app_first { "app, public" } else { "public" };
        let sql = format!("SET search_path = {path}");
        self.plain.run(&sql);
        self.tried.run(&sql);
        for other in &mut self.others {
            other.run(&sql);
        }
    }

    pub fn judge(&mut self, trial: &Trial) -> Verdict {
        let verdict = self.compare(trial);
        if let Verdict::Different(_) | Verdict::Refused(_) = verdict {
            let expected = play(&mut self.plain, trial);
            for other in &mut self.others {
                let said = play(other, trial);
                if timed_out(&said) || said != expected {
                    return Verdict::Undecided;
                }
            }
        }
        verdict
    }

    /// The two sides alone.
    fn compare(&mut self, trial: &Trial) -> Verdict {
        let expected = play(&mut self.plain, trial);
        let seen = play(&mut self.tried, trial);
        if closed(&seen) || closed(&expected) {
            let app_first = std::mem::take(&mut self.app_first);
            (self.plain, self.tried) = self.world.clients();
            for (other, plan) in self.others.iter_mut().zip(PLANS) {
                *other = self.world.other_client(plan);
            }
            self.search_path(app_first);
        }
        if timed_out(&expected) || timed_out(&seen) {
            return Verdict::Timeout;
        }
        match difference(&expected, &seen) {
            Some(_) if difference(&without_known(&expected), &without_known(&seen)).is_none() => {
                Verdict::Known
            }
            Some(shown) => {
                let kind = kind(&expected, &seen);
                let difference = Difference { kind, shown };
                if difference.kind.ends_with(REFUSAL) {
                    Verdict::Refused(difference)
                } else {
                    Verdict::Different(difference)
                }
            }
            None if expected.iter().any(|line| line.starts_with("E ")) => Verdict::SameError,
            None => Verdict::SameRows,
        }
    }

    /// Whether a trial, made smaller, differs in the same way.
    pub fn still(&mut self, trial: &Trial, kind: &str) -> bool {
        match self.compare(trial) {
            Verdict::Different(difference) if difference.kind == kind => {
                let expected = play(&mut self.plain, trial);
                play(&mut self.others[0], trial) == expected
            }
            _ => false,
        }
    }
}

/// Without hints, which guess what the client meant from the relations in sight, and without the name of a foreign key that
/// a row does not fulfil: another may be the first.
fn without_known(said: &[String]) -> Vec<String> {
    let lines = said.iter().map(|line| {
        let is_error = |code: &str| line.starts_with("E ") && line.contains(code);
        let missing = line.contains(" M=\"insert or update on table ");
        match line.split_once(" H=\"") {
            Some((before, hint)) if is_error(" C=\"42P01\"") => {
                let behind = hint.split_once("\" P=").map_or("", |(_, behind)| behind);
                format!("{before} P={behind}")
            }
            _ if is_error(" C=\"23503\"") && missing => {
                let table = line.split(" t=").nth(1).unwrap_or_default();
                let table = table.split(" n=").next().unwrap_or_default();
                format!("E 23503 {table}")
            }
            _ => line.clone(),
        }
    });
    lines.collect()
}

fn timed_out(said: &[String]) -> bool {
    said.iter()
        .any(|line| line.starts_with("E ") && line.contains(r#" C="57014""#))
}

fn closed(said: &[String]) -> bool {
    said.iter().any(|line| line == "<closed>")
}

/// What is said where they part, without what stands in quotes and without numbers.
fn kind(expected: &[String], seen: &[String]) -> String {
    let first = expected
        .iter()
        .zip(seen)
        .take_while(|(a, b)| a == b)
        .count();
    let of = |lines: &[String]| {
        let line = lines.get(first).map_or("", String::as_str);
        let (tag, rest) = line.split_at(line.len().min(1));
        match tag {
            "E" | "N" => {
                let field = |key: &str| {
                    let (_, value) = rest.split_once(&format!(" {key}=\"")).unwrap_or_default();
                    let mut out = String::new();
                    let mut quoted = false;
                    let mut letters = value.chars();
                    while let Some(c) = letters.next() {
                        match c {
                            '\\' => {
                                letters.next();
                                quoted = !quoted;
                            }
                            '"' => break,
                            c if !quoted && !c.is_ascii_digit() => out.push(c),
                            _ => {}
                        }
                    }
                    out
                };
                let code = rest.split(" C=\"").nth(1).unwrap_or_default();
                let code = code.get(..5).unwrap_or_default();
                match rest.split_once("Parser: ") {
                    Some((_, parser)) if code == "0A000" => {
                        let parser = parser.split(" at Line").next().unwrap_or_default();
                        format!("{tag} {code} {parser}")
                    }
                    _ => format!("{tag} {code} {}", field("M")),
                }
            }
            tag => tag.to_owned(),
        }
    };
    let seen = of(seen);
    if seen.contains(" 0A000 ") {
        return seen;
    }
    format!("{} / {seen}", of(expected))
}

/// Says the statements and writes down the answers.
fn play(client: &mut Client, trial: &Trial) -> Vec<String> {
    let mut said = Vec::new();
    if !trial.writes {
        for statement in &trial.statements {
            say(client, statement, &mut said);
        }
        return said;
    }
    quietly(client, "BEGIN", &mut said);
    for statement in &trial.statements {
        quietly(client, "SAVEPOINT s", &mut said);
        if !say(client, statement, &mut said) {
            quietly(client, "ROLLBACK TO s", &mut said);
        }
    }
    let constraints = simple("SET CONSTRAINTS ALL IMMEDIATE");
    if say(client, &constraints, &mut said) {
        say(client, &simple(CONTENTS), &mut said);
    }
    quietly(client, "ROLLBACK", &mut said);
    said
}

fn simple(sql: &str) -> Statement {
    Statement {
        sql: sql.to_owned(),
        parameters: Vec::new(),
        way: Way::Simple,
        ordered: false,
    }
}

fn quietly(client: &mut Client, sql: &str, said: &mut Vec<String>) {
    if let Err(error) = client.try_run(sql) {
        said.push(match error.as_str() {
            "closed" => "<closed>".to_owned(),
            error => format!("E {error}"),
        });
    }
}

/// Whether it succeeded.
fn say(client: &mut Client, statement: &Statement, said: &mut Vec<String>) -> bool {
    let mut messages = Vec::new();
    match statement.way {
        Way::Simple => messages = client.query(&statement.sql),
        Way::Text | Way::Binary => {
            client.send(&extended(statement));
            messages = client.until_ready();
        }
        Way::Prepared => {
            for sql in prepared(statement) {
                messages.extend(client.query(&sql));
            }
        }
    }
    let ready = messages.last().is_some_and(|message| message.tag == b'Z');
    let failed = messages.iter().any(|message| message.tag == b'E');
    let mut lines = messages
        .iter()
        .filter(|message| message.tag != b'S')
        .map(|message| message.line(Detail::Meaning))
        .collect::<Vec<_>>();
    if !statement.ordered {
        for rows in lines.chunk_by_mut(|a, b| a.starts_with("D ") && b.starts_with("D ")) {
            rows.sort();
        }
    }
    // Which rows came before an error is a matter of the plan.
    if failed {
        lines.retain(|line| !line.starts_with("D "));
    }
    said.extend(lines);
    if !ready {
        said.push("<closed>".to_owned());
    }
    !failed
}

fn extended(statement: &Statement) -> Vec<u8> {
    let values = statement
        .parameters
        .iter()
        .map(Option::as_deref)
        .collect::<Vec<_>>();
    let format = u16::from(statement.way == Way::Binary);
    [
        front::parse("", &statement.sql, &[]),
        front::describe_statement(""),
        front::bind("", "", &values, format),
        front::execute("", 0),
        front::sync(),
    ]
    .concat()
}

fn prepared(statement: &Statement) -> [String; 3] {
    let values = statement.parameters.iter().map(|value| match value {
        Some(value) => format!("'{}'", value.replace('\'', "''")),
        None => "NULL".to_owned(),
    });
    let values = values.collect::<Vec<_>>().join(", ");
    let arguments = if values.is_empty() {
        String::new()
    } else {
        format!(" ({values})")
    };
    [
        format!("PREPARE fuzzed AS {}", statement.sql),
        format!("EXECUTE fuzzed{arguments}"),
        "DEALLOCATE ALL".to_owned(),
    ]
}

/// How it reads for somebody who wants to try it.
pub fn show(trial: &Trial) -> String {
    let mut out = String::new();
    for statement in &trial.statements {
        out += &format!("-- {:?}", statement.way);
        if !statement.parameters.is_empty() {
            out += &format!(", parameters {:?}", statement.parameters);
        }
        out += &format!("\n{};\n", statement.sql);
    }
    out
}
