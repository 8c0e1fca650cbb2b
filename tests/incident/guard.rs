//! The same script where a guard is on: it must be stopped, and nothing of it stays.

use crate::shop::{self, Shop};
use crate::{CONDITION, SCRIPT, check, say, until_refused};

/// A guard as it is asked for on the command line.
pub(crate) struct Guard {
    /// What the script is stopped with.
    sqlstate: String,
    /// More environment of the proxy.
    settings: Vec<(String, String)>,
    /// Said on the admin port before.
    pub(crate) verbs: Vec<String>,
    /// Said behind it: the other replay is one without guards.
    pub(crate) lifts: Vec<String>,
}

impl Guard {
    pub(crate) fn new(sqlstate: &str) -> Self {
        Self {
            sqlstate: sqlstate.to_owned(),
            settings: Vec::new(),
            verbs: Vec::new(),
            lifts: Vec::new(),
        }
    }

    /// What the role of a script may delete that nobody has vouched for: nothing.
    pub(crate) fn usual() -> Self {
        Self {
            verbs: vec![format!("GUARD ALL TABLES MAX ROWS 0 FOR {SCRIPT}")],
            lifts: vec![format!("UNGUARD ALL TABLES FOR {SCRIPT}")],
            ..Self::new("RV001")
        }
    }

    /// `None`: it is not written as `KEY=value`.
    pub(crate) fn setting(&mut self, text: &str) -> Option<()> {
        let (key, value) = text.split_once('=')?;
        self.settings.push((key.to_owned(), value.to_owned()));
        Some(())
    }

    pub(crate) fn replay(&self, shop: &Shop) {
        say("With a guard");
        let settings = self
            .settings
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()));
        let proxy = shop.proxy(1.0, &settings.collect::<Vec<_>>());
        let mut admin = proxy.connect_admin(shop::DATABASE);
        shop.wait_for_marks(&mut admin);
        for verb in &self.verbs {
            shop::run(&mut admin, verb);
        }
        let mut script = shop::connect(&proxy, SCRIPT);
        let ids = shop::rows(
            &mut script,
            &format!("SELECT id FROM accounts WHERE {CONDITION}"),
        );
        let (accounts, error) = until_refused(&mut script, &ids);
        let error = error.unwrap_or_default();
        check(
            error.starts_with(&self.sqlstate),
            &format!("the guard stops the script after {accounts} accounts: {error}"),
        );
        // What went before the guard saw enough of it comes back, so that the other replay begins with everything.
        if accounts > 0 {
            shop::rows(
                &mut admin,
                &format!("UNDELETE SINCE '2020-01-01' BY {SCRIPT}"),
            );
        }
        check(shop.count(&mut script) == shop.counts, "every row is there");
        for verb in &self.lifts {
            shop::run(&mut admin, verb);
        }
    }
}
