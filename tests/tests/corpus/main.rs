//! The corpus, differentially: every case on plain PostgreSQL with real deletes, and through the proxy with every table
//! enabled, in several ways of speaking the protocol. Whatever a client can see must be the same.

mod play;

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};

use libtest_mimic::{Arguments, Failed, Trial};
use tests::Pair;
use tests::client::Client;
use tests::compare::{Known, difference, without_table_of_row};
use tests::corpus::{self, Case};
use tests::process::root;

use play::{Way, look_at_everything, only_reads, play};

/// The ordinary role as which all statements run.
const USER: &str = "clerk";

static PAIR: LazyLock<Pair> = LazyLock::new(|| Pair::start("*.*"));

/// One that is gone must leave this list.
const KNOWN: [Known; 5] = [
    Known {
        name: "apps::postgraphile_type_guard",
        without: without_table_of_row,
        why: "D6: the description of a whole row names no table",
    },
    Known {
        name: "apps::rows_as_values",
        without: without_table_of_row,
        why: "the same",
    },
    Known {
        name: "copy::hidden_column",
        without: error_without_position,
        why: "D7: the error for a hidden column of a COPY has a position and comes with Parse",
    },
    Known {
        name: "definitions::explain_select",
        without: without_triggers,
        why: "EXPLAIN ANALYZE shows the trigger that evicts tombstones",
    },
    Known {
        name: "whole_row_described::",
        without: without_table_of_row,
        why: "D6: the description of a whole row names no table",
    },
];

fn error_without_position(line: &str) -> String {
    match (line.starts_with("E "), line.split_once(" P=\"")) {
        (false, _) => String::new(),
        (true, None) => line.to_owned(),
        (true, Some((before, behind))) => {
            let behind = behind.split_once('"').map_or("", |(_, behind)| behind);
            format!("{before}{behind}")
        }
    }
}

fn without_triggers(line: &str) -> String {
    match line.contains("Trigger ~reprieve_") {
        true => String::new(),
        false => line.to_owned(),
    }
}

/// Rows that became tombstones in all cases together: if there are none, nothing was tried.
static MARKED: AtomicUsize = AtomicUsize::new(0);
static DATABASES: AtomicUsize = AtomicUsize::new(0);

fn main() {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(4);
    let dir = std::env::var_os("REPRIEVE_CORPUS")
        .map_or_else(|| root().join("tests/corpus"), PathBuf::from);
    let mut cases = corpus::read(&dir);
    // What becomes of these is too long for a block, or not one thing: here only.
    for folder in ["cloak", "apps"] {
        let inside = dir.join(folder);
        if inside.is_dir() {
            cases.extend(corpus::read(&inside).into_iter().map(|case| Case {
                file: format!("{folder}/{}", case.file),
                ..case
            }));
        }
    }
    assert!(!cases.is_empty(), "{} holds no cases", dir.display());
    let cases_count = cases.len();
    let mut trials = Vec::new();
    for case in cases.into_iter().map(Arc::new) {
        let name = format!("{}::{}", case.file, slug(&case.heading));
        let refused = case.refused.is_some();
        if !(refused && tests::pair::direct()) {
            let known = Known::find(&KNOWN, &name).filter(|_| !tests::pair::direct());
            trials.push(Trial::test(name, move || match refused {
                true => refuse(&case),
                false => compare(&case, known),
            }));
        }
    }
    let all = arguments.filter.is_none() && !arguments.list;
    let conclusion = libtest_mimic::run(&arguments, trials);
    let marked = MARKED.load(Ordering::Relaxed);
    if !arguments.list {
        println!("corpus, differential: {cases_count} cases, {marked} tombstones made by them");
    }
    conclusion.exit_if_failed();
    if all && !tests::pair::direct() && marked == 0 {
        eprintln!("no case made a tombstone: the proxy marks nothing, so nothing was tried");
        std::process::exit(1);
    }
}

fn slug(heading: &str) -> String {
    let words = heading
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>();
    words.join("_").to_lowercase()
}

/// A database of its own for each way, on both sides.
fn with_database<T>(run: impl FnOnce(&str) -> T) -> T {
    let name = format!("corpus_{}", DATABASES.fetch_add(1, Ordering::Relaxed));
    PAIR.create_database(&name);
    let result = run(&name);
    PAIR.drop_database(&name);
    result
}

fn compare(case: &Case, known: Option<&Known>) -> Result<(), Failed> {
    let ways = Way::of(&case.sql);
    let groups = if only_reads(&case.sql) {
        vec![ways]
    } else {
        ways.into_iter().map(|way| vec![way]).collect()
    };
    let (mut failures, mut differs) = (String::new(), false);
    for group in groups {
        let compared = with_database(|database| compare_in(case, &group, database, known))?;
        failures += &compared.failures;
        differs |= compared.differs;
    }
    if known.is_some() && !differs {
        failures += "a known difference is none any more\n";
    }
    if failures.is_empty() {
        return Ok(());
    }
    Err(format!(
        "tests/corpus/{}.md:{}\n{}{failures}",
        case.file, case.line, case.sql
    )
    .into())
}

#[derive(Default)]
struct Compared {
    failures: String,
    /// The known difference was seen.
    differs: bool,
}

/// Sets up a database on both sides, says the statements in each way, and returns what differed.
fn compare_in(
    case: &Case,
    ways: &[Way],
    database: &str,
    known: Option<&Known>,
) -> Result<Compared, Failed> {
    let mut plain = Client::connect(&PAIR.plain().target(), USER, database)?;
    let mut tried = Client::connect(&PAIR.tried(), USER, database)?;
    let setup = play::set_up(&mut plain, &case.catalog, || {});
    let setup_tried = play::set_up(&mut tried, &case.catalog, || PAIR.settle(database));
    if let Some(difference) = difference(&setup, &setup_tried) {
        return Ok(Compared {
            failures: format!("in the setup:\n{difference}"),
            ..Compared::default()
        });
    }
    let (mut failures, mut differs) = (String::new(), false);
    for way in ways {
        let seen = play(&mut plain, *way, &case.sql);
        let seen_tried = play(&mut tried, *way, &case.sql);
        differs |= seen != seen_tried;
        let (seen, seen_tried) = match known {
            Some(known) => (known.without(&seen), known.without(&seen_tried)),
            None => (seen, seen_tried),
        };
        if let Some(difference) = difference(&seen, &seen_tried) {
            failures += &format!("{way:?}:\n{difference}");
        }
    }
    let mut plain = Client::connect(&PAIR.plain().target(), USER, database)?;
    let mut tried = Client::connect(&PAIR.tried(), USER, database)?;
    let tables = play::tables(&mut plain);
    let left = look_at_everything(&mut plain, &tables);
    if let Some(difference) = difference(&left, &look_at_everything(&mut tried, &tables)) {
        failures += &format!("{ways:?}, what is left in the tables:\n{difference}");
    }
    count_tombstones(database);
    Ok(Compared { failures, differs })
}

/// A refusal is an error in the place of the reply, in the words of the `refused` block, with the connection alive behind
/// it. What PostgreSQL does not take either may fail in its own words.
fn refuse(case: &Case) -> Result<(), Failed> {
    let wanted = Refused::of(case.refused.as_deref().unwrap_or_default())
        .ok_or("the refused block has another form")?;
    for way in [Way::Simple, Way::Text] {
        with_database(|database| {
            let mut tried = Client::connect(&PAIR.tried(), USER, database)?;
            play::set_up(&mut tried, &case.catalog, || PAIR.settle(database));
            let seen = play(&mut tried, way, &case.sql);
            let refused = seen.iter().any(|line| wanted.is_said(line));
            let mut plain = Client::connect(&PAIR.plain().target(), USER, database)?;
            play::set_up(&mut plain, &case.catalog, || {});
            let expected = play(&mut plain, way, &case.sql);
            let fails = expected.iter().any(|line| line.starts_with("E "));
            let fails_alike = fails && difference(&expected, &seen).is_none();
            if !refused && !fails_alike {
                return Err(Failed::from(format!(
                    "{way:?}: not refused so\n{}\n{}",
                    case.sql,
                    seen.join("\n")
                )));
            }
            let alive = tried.try_run("ROLLBACK; SELECT 1")?;
            if alive != ["1"] {
                return Err(
                    format!("{way:?}: the connection is of no use afterwards: {alive:?}").into(),
                );
            }
            Ok(())
        })?;
    }
    Ok(())
}

/// `R1 0A000: message`, and the detail in the next lines.
struct Refused {
    code: String,
    message: String,
    detail: String,
}

impl Refused {
    fn of(block: &str) -> Option<Self> {
        let (first, detail) = block.split_once('\n')?;
        let (_, rest) = first.split_once(' ')?;
        let (code, message) = rest.split_once(": ")?;
        let field = |key: &str, value: &str| match value.trim_end() {
            "" => String::new(),
            value => format!(" {key}={value:?}"),
        };
        Some(Self {
            code: field("C", code),
            message: field("M", message),
            detail: field("D", detail),
        })
    }

    fn is_said(&self, line: &str) -> bool {
        let fields = [&self.code, &self.message, &self.detail];
        line.starts_with("E ") && fields.iter().all(|field| line.contains(field.as_str()))
    }
}

fn count_tombstones(database: &str) {
    if PAIR.proxy().is_none() {
        return;
    }
    let mut superuser = PAIR.behind().superuser(database);
    let catalog = tests::pair::catalog(&mut superuser);
    for table in catalog["tables"].as_array().into_iter().flatten() {
        if table["mode"] == "mark" && table["kind"] == "r" {
            let oid = &table["oid"];
            let name = superuser.value(&format!("SELECT {oid}::regclass"));
            let count = superuser.value(&format!("SELECT count(deletion_id) FROM ONLY {name}"));
            MARKED.fetch_add(count.parse().unwrap_or(0), Ordering::Relaxed);
        }
    }
}
