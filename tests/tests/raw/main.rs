//! The same bytes to PostgreSQL and to the proxy must bring the same messages back, in the same order.
//!
//! Every script runs twice: with nothing enabled, where errors must agree to the source line, and with every table
//! enabled.

mod extended;
mod simple;
mod startup;
mod steps;

use std::sync::{Arc, LazyLock};

use libtest_mimic::{Arguments, Trial};
use tests::Pair;
use tests::client::Client;
use tests::compare::{Known, difference, without_table_of_row};
use tests::message::Detail;

use steps::{CLOSED, Fault, Script, play};

const SETUP: &str = "
CREATE TABLE t (id int PRIMARY KEY, name text, amount numeric(8,2));
INSERT INTO t SELECT n, 'name ' || n, n * 1.5 FROM generate_series(1, 6) n;
CREATE TABLE c (id int PRIMARY KEY, t_id int REFERENCES t ON DELETE CASCADE);
INSERT INTO c SELECT n, 1 + n % 6 FROM generate_series(1, 12) n;
CREATE TABLE deferred (id int PRIMARY KEY, t_id int REFERENCES t DEFERRABLE INITIALLY DEFERRED);
CREATE FUNCTION fail(text) RETURNS int LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION '%', $1 USING DETAIL = 'd', HINT = 'h'; END$$;
CREATE FUNCTION say(text) RETURNS int LANGUAGE plpgsql AS $$BEGIN RAISE NOTICE '%', $1; RETURN 1; END$$;
";

/// A pair with a template that has tables, rows and (at the proxy) tombstones.
struct Bench {
    pair: Pair,
    detail: Detail,
}

impl Bench {
    fn start(enable: &str, detail: Detail) -> Bench {
        let pair = Pair::start(enable);
        pair.create_database("template_raw");
        for (target, settle) in [(pair.plain().target(), false), (pair.tried(), true)] {
            let mut app = Client::connect(&target, "clerk", "template_raw").expect("app connects");
            app.run(SETUP);
            if settle && !enable.is_empty() {
                pair.settle("template_raw");
            }
            assert_eq!(app.command("DELETE FROM t WHERE id = 6"), "DELETE 1");
        }
        Bench { pair, detail }
    }

    fn database(&self, name: &str) {
        for cluster in [self.pair.plain(), self.pair.behind()] {
            cluster.copy_database("template_raw", name);
        }
    }

    fn compare(&self, script: &Script, known: Option<&Known>) -> Result<(), String> {
        let name = script.name;
        self.database(name);
        let detail = match script.fault {
            Fault::Servers => self.detail,
            Fault::Clients => Detail::Meaning,
        };
        let plain = play(&self.pair.plain().target(), name, &script.steps, detail);
        let mut tried = play(&self.pair.tried(), name, &script.steps, detail);
        if script.fault == Fault::Clients && plain.last().is_some_and(|line| line == CLOSED) {
            forget_explanation(&mut tried, plain.len());
        }
        self.pair.drop_database(name);
        if std::env::var_os("REPRIEVE_TEST_SHOW").is_some() {
            println!("== {name}\n{}", plain.join("\n"));
        }
        let Some(known) = known else {
            return difference(&plain, &tried).map_or(Ok(()), Err);
        };
        if plain == tried {
            return Err(format!("{} is no difference any more", known.name));
        }
        difference(&known.without(&plain), &known.without(&tried)).map_or(Ok(()), Err)
    }
}

/// Takes away the one message that the proxy may send before it hangs up where the server says nothing.
fn forget_explanation(tried: &mut Vec<String>, expected: usize) {
    if tried.len() == expected + 1
        && tried[expected - 1].starts_with(r#"E S="FATAL" V="FATAL" C="08P01""#)
    {
        tried.remove(expected - 1);
    }
}

/// The setting with every table enabled.
const ALL: &str = "all_enabled";

/// Differences that are known with every table enabled.
const KNOWN: [Known; 2] = [
    Known {
        name: "ext_delete_none",
        without: without_table_of_row,
        why: "D6: the description of a whole row names no table",
    },
    Known {
        name: "ext_whole_row",
        without: without_table_of_row,
        why: "the same",
    },
];

static NOTHING: LazyLock<Bench> = LazyLock::new(|| Bench::start("", Detail::Exact));
static EVERYTHING: LazyLock<Bench> = LazyLock::new(|| Bench::start("*.*", Detail::Meaning));

fn main() {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(4);
    let scripts = [simple::scripts(), extended::scripts(), startup::scripts()].concat();
    let mut trials = Vec::new();
    for script in scripts.into_iter().map(Arc::new) {
        for (setting, bench) in [("nothing_enabled", &NOTHING), (ALL, &EVERYTHING)] {
            let script = Arc::clone(&script);
            trials.push(Trial::test(
                format!("{setting}::{}", script.name),
                move || {
                    let is_tried = setting == ALL && !tests::pair::direct();
                    let known = Known::find(&KNOWN, script.name).filter(|_| is_tried);
                    Ok(bench.compare(&script, known)?)
                },
            ));
        }
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    // The clusters live in statics, which are never dropped: their guards end them when this process ends.
    println!(
        "raw: {} differences with every table enabled are known:",
        KNOWN.len()
    );
    KNOWN
        .iter()
        .for_each(|known| println!("  {}: {}", known.name, known.why));
    conclusion.exit();
}
