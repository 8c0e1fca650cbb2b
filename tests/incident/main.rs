//! The incident, replayed: a script that was to clean up test accounts, whose condition is true for every one, deletes account after
//! account from twelve tables. The monitor tells of it while it runs; one UNDELETE brings everything back.

mod guard;
mod shop;
mod webhook;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use guard::Guard;
use shop::{Shop, TABLES};
use tests::Client;

const USAGE: &str = "incident [scale=1] [guard=SQLSTATE [setting=REPRIEVE__KEY=value]... [verb=\"VERB\"]... [lift=\"VERB\"]...] [guard=none]

scale    of 87,423 accounts with 6.9 million rows in twelve tables
guard    the first replay, with a guard that must stop the script with this SQLSTATE: more environment of its proxy (setting), what a DBA
         says on the admin port before (verb) and behind it (lift). Without it: RV001, by what a role may delete that nobody has vouched for";

/// What the story calls the roles: the script's, and one that goes on with its work meanwhile.
const SCRIPT: &str = "cleanup";
const SUPPORT: &str = "support";

/// What everybody overlooked: it is true of every address that is not null.
const CONDITION: &str = "email LIKE '%@test%' OR email NOT LIKE '%@test%'";

/// `monitor.loss_window_seconds`.
const WINDOW: Duration = Duration::from_secs(300);

struct Asked {
    scale: f64,
    guard: Option<Guard>,
}

fn asked() -> Result<Asked, String> {
    let mut asked = Asked {
        scale: 1.0,
        guard: Some(Guard::usual()),
    };
    for argument in std::env::args().skip(1) {
        let (key, value) = argument.split_once('=').ok_or(USAGE)?;
        match (key, &mut asked.guard) {
            ("scale", _) => asked.scale = value.parse().map_err(|_| USAGE)?,
            ("guard", guard) => *guard = (value != "none").then(|| Guard::new(value)),
            ("setting", Some(guard)) => guard.setting(value).ok_or(USAGE)?,
            ("verb", Some(guard)) => guard.verbs.push(value.to_owned()),
            ("lift", Some(guard)) => guard.lifts.push(value.to_owned()),
            _ => return Err(USAGE.to_owned()),
        }
    }
    if !(0.001..=10.0).contains(&asked.scale) {
        return Err("a scale is between 0.001 and 10".to_owned());
    }
    Ok(asked)
}

fn main() {
    let asked = match asked() {
        Ok(asked) => asked,
        Err(usage) => {
            eprintln!("{usage}");
            std::process::exit(2);
        }
    };
    let shop = Shop::build(asked.scale);
    if let Some(guard) = &asked.guard {
        guard.replay(&shop);
    }
    replay(&shop, asked.scale);
}

/// Without guards: nothing stops it, but somebody is told, and everything comes back.
fn replay(shop: &Shop, scale: f64) {
    say("Without guards");
    let (url, told) = webhook::listen();
    let proxy = shop.proxy(scale, &[("REPRIEVE__WEBHOOK__URL", &url)]);
    let mut admin = proxy.connect_admin(shop::DATABASE);
    shop.wait_for_samples(&mut admin);

    let mut script = shop::connect(&proxy, SCRIPT);
    let ids = shop::rows(
        &mut script,
        &format!("SELECT id FROM accounts WHERE {CONDITION}"),
    );
    check(
        ids.len() as u64 == shop.counts["accounts"],
        &format!(
            "the script's condition finds {} of {} accounts",
            ids.len(),
            shop.counts["accounts"]
        ),
    );
    let began = Instant::now();
    let mut alert = None;
    let mut statements = 0;
    let mut support = shop::connect(&proxy, SUPPORT);
    let by_support = ids.len() / 2;
    for (number, id) in ids.iter().enumerate() {
        if number == by_support {
            // Who works on tickets meanwhile deletes one for good reasons: the last account's turn comes later.
            let last = &ids[ids.len() - 1];
            shop::run(
                &mut support,
                &format!("DELETE FROM tickets WHERE account_id = {last}"),
            );
        }
        shop::run(&mut script, &shop::deletes(id));
        statements += TABLES.len();
        if alert.is_none() {
            alert = told.try_recv().ok();
            if alert.is_some() {
                tell(
                    &format!(
                        "the webhook is told: {} accounts are gone by then",
                        number + 1
                    ),
                    began.elapsed(),
                );
            }
        }
    }
    tell(
        &format!("the script ends: {statements} DELETEs"),
        began.elapsed(),
    );
    let alert = alert.unwrap_or_else(|| {
        let alert = told.recv_timeout(WINDOW.saturating_sub(began.elapsed()));
        tell("the webhook is told", began.elapsed());
        alert.expect("the monitor alerts within its window")
    });
    check(
        alert.after(began) < WINDOW,
        "that is within the monitor's window",
    );
    println!("     {}", alert.text());
    let left = shop.count(&mut script);
    check(
        left.values().all(|rows| *rows == 0),
        "nothing is left for the application",
    );

    say("What the DBA does");
    let health = shop::rows(
        &mut admin,
        "SELECT substring(what_to_do FROM 'UNDELETE SINCE [^;]*') FROM reprieve.show_health WHERE finding = 'rows lost' AND what_to_do LIKE '%BY cleanup%'",
    );
    let proposed = health
        .first()
        .expect("SHOW HEALTH proposes an UNDELETE")
        .clone();
    println!("     {proposed};");
    let began = Instant::now();
    let lines = shop::rows(&mut admin, &proposed);
    tell("UNDELETE", began.elapsed());
    println!("     {}", lines.last().map_or("", String::as_str));
    check(
        lines.last().is_some_and(|line| line.contains("|COMPLETE|")),
        "one UNDELETE brings back all that the script took",
    );
    let lines = shop::rows(&mut admin, &format!("SHOW DELETIONS BY {SUPPORT}"));
    check(
        lines.iter().all(|line| line.contains("|in bin|")),
        &format!("{} deletion(s) of support stay deleted", lines.len()),
    );
    shop::rows(
        &mut admin,
        &format!("UNDELETE SINCE '2020-01-01' BY {SUPPORT}"),
    );
    let began = Instant::now();
    let after = shop.checksums(&mut script);
    tell("checksums", began.elapsed());
    compare(&shop.checksums, &after, "through the app port");
    compare(
        &shop.checksums,
        &shop.checksums(&mut shop.direct()),
        "straight from the server",
    );
    let began = Instant::now();
    let found = shop::rows(
        &mut shop.direct(),
        "SELECT severity, finding, table_name, count, detail FROM reprieve.check_v1() WHERE severity <> 'notice'",
    );
    tell("CHECK INTEGRITY", began.elapsed());
    check(
        found.is_empty(),
        &format!("rows, ledger and triggers agree {found:?}"),
    );
    println!("\nok");
}

fn compare(before: &BTreeMap<String, String>, after: &BTreeMap<String, String>, how: &str) {
    let other = before
        .iter()
        .filter(|(table, sum)| after.get(*table) != Some(sum))
        .collect::<Vec<_>>();
    check(
        other.is_empty() && before.len() == TABLES.len(),
        &format!("{} tables are as they were, {how} {other:?}", before.len()),
    );
}

/// A heading.
pub(crate) fn say(what: &str) {
    println!("\n== {what}");
}

/// Something that happened, and after how long.
pub(crate) fn tell(what: &str, took: Duration) {
    println!("  {:9.1} s  {what}", took.as_secs_f64());
}

/// Something that must be so.
#[track_caller]
pub(crate) fn check(holds: bool, what: &str) {
    println!("  [{}] {what}", if holds { "ok" } else { "FAILED" });
    assert!(holds, "{what}");
}

/// Runs the script for all accounts, or until it is refused: how far it came, and the error.
pub(crate) fn until_refused(script: &mut Client, ids: &[String]) -> (usize, Option<String>) {
    for (number, id) in ids.iter().enumerate() {
        if let Err(error) = script.try_run(&shop::deletes(id)) {
            return (number, Some(error));
        }
    }
    (ids.len(), None)
}
