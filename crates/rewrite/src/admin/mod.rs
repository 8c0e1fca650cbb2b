//! The admin port's verbs, translated into calls of the keeper's functions.
//!
//! A verb is replaced where it stands: it may share a text with ordinary SQL, hold parameters, and
//! run in any transaction. What is not a verb is PostgreSQL's and stays as it is.

mod deletions;
mod guards;
mod help;
mod ledger;
mod preview;
mod retention;
mod show;
mod verb;
mod watch;
mod words;

use std::ops::Range;

use catalog::{Catalog, SearchPath};

use crate::lex::Tokens;
use crate::{Edits, Refusal, Scanned, refusal};

pub use help::{HELP, HelpEntry};
pub use show::rows_as_sql;

/// SHOW commands whose rows only the process knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LocalShow {
    Clients,
    Stats,
    Version,
    Help,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verb {
    /// SQL to send in its place.
    Keeper(String),
    /// To be sent as [`rows_as_sql`].
    Local(LocalShow),
}

/// One verb and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Translation {
    /// Bytes of the client's text, without the semicolon.
    pub range: Range<usize>,
    pub verb: Verb,
}

/// The verbs among the statements of a text, in order. None: send the text as it is.
///
/// # Errors
/// A verb is written wrongly (42601), or names a table that is not enabled (42P01).
pub fn translate(
    scanned: &Scanned<'_>,
    catalog: &Catalog,
    search_path: &SearchPath,
) -> Result<Vec<Translation>, Refusal> {
    let mut translations = Vec::new();
    for statement in scanned.statements() {
        let range = statement.range.clone();
        if !begins_verb(&scanned.text()[range.clone()]) {
            continue;
        }
        let conforming = scanned.standard_conforming_strings();
        let Ok(tokens) = Tokens::lex_part(scanned.text(), range.clone(), conforming) else {
            continue;
        };
        if let Some(verb) = verb::translate(&tokens, catalog, search_path, conforming)? {
            translations.push(Translation { range, verb });
        }
    }
    Ok(translations)
}

/// The edits that put the verbs' SQL in their place. `rows` gives the SQL for a local SHOW, made
/// with [`rows_as_sql`].
///
/// # Errors
/// Two translations overlap.
pub fn edits(
    text: &[u8],
    translations: &[Translation],
    rows: impl Fn(LocalShow) -> String,
) -> Result<Edits, Refusal> {
    let mut edits = Edits::default();
    for translation in translations {
        let sql = match &translation.verb {
            Verb::Keeper(sql) => sql.clone(),
            Verb::Local(show) => rows(*show),
        };
        edits.replace(translation.range.clone(), &sql);
    }
    if edits.has_conflict() {
        return Err(refusal::conflict());
    }
    edits.seal(text);
    Ok(edits)
}

const FIRST: &[&str] = &[
    "undelete", "show", "enable", "disable", "check", "help", "preview", "explain", "rehearse",
    "purge", "retain", "hold", "release", "erase", "undo", "guard", "unguard", "budget", "request",
    "approve", "deny", "seal", "export", "watch",
];

/// A cheap look at the first letters: most statements end here.
fn begins_verb(statement: &[u8]) -> bool {
    let length = statement
        .iter()
        .take_while(|byte| byte.is_ascii_alphabetic())
        .count();
    FIRST
        .iter()
        .any(|word| statement[..length].eq_ignore_ascii_case(word.as_bytes()))
}

#[cfg(test)]
mod tests;
