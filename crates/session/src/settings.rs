//! Settings of ours that a client may not set: the keeper keeps its own books in them.

use std::ops::Range;

use rewrite::{Effect, Statement, TokenRanges, token_ranges};

const PREFIX: &str = "reprieve.";

/// Behind the prefix: what is the client's to say.
const CLIENTS: [&str; 5] = ["actor", "max_rows", "reason", "show", "truncate"];

/// A setting that a statement names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Named {
    pub name: String,
    /// Byte of the text at which the name stands.
    pub offset: usize,
}

/// The first setting that these statements would change and may not: SET, RESET, ALTER ... SET, and
/// set_config() with a literal. Names that are computed, bound, or set by code of the server are not
/// seen here.
pub(crate) fn forbidden(
    text: &[u8],
    statements: &[Statement],
    standard_conforming_strings: bool,
) -> Option<Named> {
    statements.iter().find_map(|statement| {
        let words = Words {
            text,
            tokens: token_ranges(text, statement.range.clone(), standard_conforming_strings),
        };
        named_by(words, &statement.effect).filter(|named| is_keepers(&named.name))
    })
}

/// Where these statements begin to show deleted rows: SET reprieve.show, and set_config() with literals.
pub(crate) fn shows_deleted(
    text: &[u8],
    statements: &[Statement],
    standard_conforming_strings: bool,
) -> Option<usize> {
    let shows = |words: &Words<'_>| !words.means_live();
    set_to(
        text,
        statements,
        standard_conforming_strings,
        is_show,
        shows,
    )
}

/// Where these statements turn triggers off for their session: SET session_replication_role, and set_config() with literals.
pub(crate) fn turns_triggers_off(
    text: &[u8],
    statements: &[Statement],
    standard_conforming_strings: bool,
) -> Option<usize> {
    let strings = standard_conforming_strings;
    let is_off = |words: &Words<'_>| words.means_replica();
    set_to(text, statements, strings, is_role_of_triggers, is_off)
}

/// Where the first of these statements sets such a setting to such a value, which comes next in the words.
fn set_to(
    text: &[u8],
    statements: &[Statement],
    standard_conforming_strings: bool,
    is_meant: impl Fn(&str) -> bool,
    is_value: impl Fn(&Words<'_>) -> bool,
) -> Option<usize> {
    statements.iter().find_map(|statement| {
        let mut words = Words {
            text,
            tokens: token_ranges(text, statement.range.clone(), standard_conforming_strings),
        };
        let first = words.clone().next().and_then(|token| text.get(token))?;
        if first.eq_ignore_ascii_case(b"set") {
            words.next();
            let named = words.setting().filter(|named| is_meant(&named.name))?;
            words.next();
            return is_value(&words).then_some(named.offset);
        }
        while matches!(statement.effect, Effect::Settings | Effect::Prepare { .. })
            && words.skip_behind(&["set_config"]).is_some()
        {
            if words.next_is(b"(")
                && let Some(named) = words.literal().filter(|named| is_meant(&named.name))
            {
                words.next();
                words.next_is(b",");
                if is_value(&words) {
                    return Some(named.offset);
                }
            }
        }
        None
    })
}

fn is_role_of_triggers(name: &str) -> bool {
    name.eq_ignore_ascii_case("session_replication_role")
}

fn is_show(name: &str) -> bool {
    name.eq_ignore_ascii_case("reprieve.show")
}

/// The first parameter of a StartupMessage that sets what it may not.
pub(crate) fn forbidden_at_startup(parameters: &[(String, String)]) -> Option<String> {
    parameters.iter().find_map(|(name, value)| {
        if name == "options" {
            options(value).find(|name| is_keepers(name))
        } else {
            is_keepers(name).then(|| name.to_ascii_lowercase())
        }
    })
}

/// True for SET CONSTRAINTS.
pub(crate) fn sets_constraints(statement: &[u8], standard_conforming_strings: bool) -> bool {
    let mut tokens = token_ranges(statement, 0..statement.len(), standard_conforming_strings);
    ["set", "constraints"].iter().all(|wanted| {
        let word = tokens.next().and_then(|token| statement.get(token));
        word.is_some_and(|word| word.eq_ignore_ascii_case(wanted.as_bytes()))
    })
}

/// PostgreSQL compares names of settings without regard to ASCII case.
fn is_keepers(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    lower
        .strip_prefix(PREFIX)
        .is_some_and(|rest| !CLIENTS.contains(&rest))
}

fn named_by(mut words: Words<'_>, effect: &Effect) -> Option<Named> {
    let text = words.text;
    let first = text.get(words.next()?)?;
    let is = |word: &str| first.eq_ignore_ascii_case(word.as_bytes());
    if is("set") || is("reset") {
        return words.setting();
    }
    if is("alter") {
        // ROLE, DATABASE, FUNCTION, SYSTEM.
        words.skip_behind(&["set", "reset"])?;
        return words.setting();
    }
    let may_call = matches!(effect, Effect::Settings | Effect::Prepare { .. });
    if !may_call {
        return None;
    }
    while words.skip_behind(&["set_config"]).is_some() {
        if words.next_is(b"(")
            && let Some(named) = words.literal()
            && is_keepers(&named.name)
        {
            return Some(named);
        }
    }
    None
}

/// The tokens of one statement.
#[derive(Clone)]
struct Words<'t> {
    text: &'t [u8],
    tokens: TokenRanges<'t>,
}

impl Iterator for Words<'_> {
    type Item = Range<usize>;

    fn next(&mut self) -> Option<Range<usize>> {
        self.tokens.next()
    }
}

impl Words<'_> {
    fn next_is(&mut self, wanted: &[u8]) -> bool {
        let mut ahead = self.clone();
        let found = ahead.next().and_then(|token| self.text.get(token)) == Some(wanted);
        if found {
            *self = ahead;
        }
        found
    }

    /// Goes behind the next of these words, quoted or not.
    fn skip_behind(&mut self, wanted: &[&str]) -> Option<()> {
        self.find(|token| {
            let word = self.text.get(token.clone()).unwrap_or_default();
            let name = identifier(word);
            wanted
                .iter()
                .any(|wanted| name.eq_ignore_ascii_case(wanted))
        })
        .map(|_| ())
    }

    /// `[SESSION | LOCAL] name[.name]...` behind SET or RESET.
    fn setting(&mut self) -> Option<Named> {
        let mut ahead = self.clone();
        let first = ahead.next()?;
        let is_scope = [&b"session"[..], b"local"]
            .iter()
            .any(|word| self.text[first.clone()].eq_ignore_ascii_case(word));
        let is_name = self.clone().nth(1).map(|next| &self.text[next]) == Some(b".");
        if is_scope && !is_name {
            self.next();
        }
        let first = self.next()?;
        let mut name = identifier(self.text.get(first.clone())?);
        while self.next_is(b".") {
            let part = self.next()?;
            name = name + "." + &identifier(self.text.get(part)?);
        }
        Some(Named {
            name,
            offset: first.start,
        })
    }

    fn value(&self) -> Option<String> {
        let token = self.clone().next()?;
        let value = self.text.get(token)?;
        Some(String::from_utf8_lossy(value).to_ascii_lowercase())
    }

    fn means_replica(&self) -> bool {
        matches!(
            self.value().as_deref(),
            Some("replica" | "'replica'" | "\"replica\"")
        )
    }

    /// True if the value that comes next shows no deleted rows.
    fn means_live(&self) -> bool {
        matches!(
            self.value().as_deref(),
            Some("default" | "live" | "'live'" | "''" | "\"live\"")
        )
    }

    /// A string without escapes.
    fn literal(&mut self) -> Option<Named> {
        let token = self.clone().next()?;
        let text = String::from_utf8_lossy(self.text.get(token.clone())?).into_owned();
        let name = match text.strip_prefix(['e', 'E']).unwrap_or(&text) {
            quoted if quoted.starts_with('\'') => quoted.trim_matches('\''),
            // $tag$...$tag$
            dollars if dollars.starts_with('$') => dollars.split('$').nth(2)?,
            _ => return None,
        };
        Some(Named {
            name: name.to_owned(),
            offset: token.start,
        })
    }
}

/// Lower case where the case does not matter anyway.
fn identifier(word: &[u8]) -> String {
    let word = String::from_utf8_lossy(word);
    let inner = word
        .strip_prefix('"')
        .and_then(|word| word.strip_suffix('"'));
    inner.unwrap_or(&word).to_ascii_lowercase()
}

/// Names of the settings in libpq's `options`: `-c name=value`, `-cname=value`, `--name=value`, words
/// parted by space, backslash escapes.
fn options(options: &str) -> impl Iterator<Item = String> {
    let mut words = vec![String::new()];
    let mut characters = options.chars();
    while let Some(character) = characters.next() {
        let is_end = character.is_ascii_whitespace();
        let character = match character {
            '\\' => characters.next(),
            other => Some(other),
        };
        match (is_end, words.last_mut(), character) {
            (false, Some(word), Some(character)) => word.push(character),
            _ => words.push(String::new()),
        }
    }
    let mut is_value_of_c = false;
    words
        .into_iter()
        .filter(|word| !word.is_empty())
        .filter_map(move |word| {
            let setting = match word.strip_prefix("--").or_else(|| word.strip_prefix("-c")) {
                _ if std::mem::take(&mut is_value_of_c) => word.as_str(),
                Some("") => {
                    is_value_of_c = word == "-c";
                    return None;
                }
                Some(setting) => setting,
                None => return None,
            };
            let (name, _) = setting.split_once('=')?;
            // The server reads `-` as `_` there.
            Some(name.replace('-', "_").to_ascii_lowercase())
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(text: &str) -> Option<String> {
        let catalog = catalog::Catalog::default();
        let encoding = rewrite::ClientEncoding::Utf8;
        let scanned = rewrite::scan(text.as_bytes(), &catalog, true, encoding);
        let named = forbidden(text.as_bytes(), scanned.statements(), true)?;
        let there = text[named.offset..].trim_start_matches(['\'', '"', '$', 'E']);
        assert!(
            there.to_ascii_lowercase().starts_with("reprieve"),
            "{text}: {named:?}"
        );
        Some(named.name)
    }

    #[test]
    fn triggers_that_are_turned_off_are_found() {
        let is_found = |text: &str| {
            let catalog = catalog::Catalog::default();
            let encoding = rewrite::ClientEncoding::Utf8;
            let scanned = rewrite::scan(text.as_bytes(), &catalog, true, encoding);
            turns_triggers_off(text.as_bytes(), scanned.statements(), true).is_some()
        };
        for text in [
            "SET session_replication_role = replica",
            "SELECT 1; set local Session_Replication_Role TO 'REPLICA'",
            "SET SESSION \"session_replication_role\" TO \"replica\"",
            "SELECT pg_catalog.set_config('session_replication_role', 'replica', false)",
        ] {
            assert!(is_found(text), "{text}");
        }
        for text in [
            "SET session_replication_role = origin",
            "RESET session_replication_role",
            "SET a.session_replication_role = replica",
            "SELECT 'SET session_replication_role = replica'",
            "SELECT set_config('session_replication_role', 'local', false)",
        ] {
            assert!(!is_found(text), "{text}");
        }
    }

    #[test]
    fn what_only_the_keeper_may_set_is_found() {
        for text in [
            "SET reprieve.role = 'x'",
            "set session Reprieve . Role to 'x'",
            "SELECT 1; SET /* a */ LOCAL reprieve.depth = 1",
            "SET \"reprieve\".\"PATH\" = ''",
            "SET \"reprieve.role\" = 'x'",
            "RESET reprieve.deletion",
            "ALTER ROLE ann SET reprieve.reconciling = '1'",
            "ALTER ROLE ann IN DATABASE shop RESET reprieve.role",
            "ALTER DATABASE shop SET reprieve.role TO x",
            "SELECT set_config('reprieve.role', 'x', false)",
            "SELECT pg_catalog . \"set_config\" (E'reprieve.role', 'x', false)",
            "SELECT set_config('a.b', 'x', true), set_config($$REPRIEVE.role$$, 'x', true)",
            "INSERT INTO t SELECT set_config('reprieve.role', 'x', false)",
            "PREPARE p AS SELECT set_config('reprieve.role', $1, false)",
        ] {
            assert!(named(text).is_some(), "{text}");
        }
    }

    #[test]
    fn the_clients_own_settings_pass() {
        for text in [
            "SET reprieve.actor = 'ann'",
            "SET LOCAL reprieve.truncate = 'discard'",
            "SELECT set_config('reprieve.reason', 'x', false)",
            "SET session.reprieve = 1",
            "SET application_name = 'reprieve.role'",
            "SELECT set_config('application_name', 'reprieve.role', false)",
            "SHOW reprieve.role",
            "SELECT current_setting('reprieve.role')",
            "UPDATE t SET reprieve.role = 1",
            "RESET ALL",
            "DISCARD ALL",
            "ALTER ROLE ann RESET ALL",
            "ALTER ROLE ann SET search_path = reprieve",
            "SET",
        ] {
            assert_eq!(named(text), None, "{text}");
        }
    }

    #[test]
    fn what_shows_deleted_rows_is_found() {
        let found = |text: &str| {
            let catalog = catalog::Catalog::default();
            let encoding = rewrite::ClientEncoding::Utf8;
            let scanned = rewrite::scan(text.as_bytes(), &catalog, true, encoding);
            shows_deleted(text.as_bytes(), scanned.statements(), true).is_some()
        };
        for text in [
            "SET reprieve.show = 'deleted'",
            "set local Reprieve.Show to all",
            "SELECT 1; SET SESSION \"reprieve\".show = $1",
            "SELECT set_config('reprieve.show', 'all', true)",
            "SELECT set_config('a.b', 'x', true), set_config('reprieve.show', $1, true)",
        ] {
            assert!(found(text), "{text}");
        }
        for text in [
            "SET reprieve.show = live",
            "SET reprieve.show TO DEFAULT",
            "RESET reprieve.show",
            "SHOW reprieve.show",
            "SELECT set_config('reprieve.show', 'live', true)",
            "SELECT set_config('reprieve.reason', 'reprieve.show', true)",
            "SET reprieve.reason = 'all'",
        ] {
            assert!(!found(text), "{text}");
        }
    }

    #[test]
    fn set_constraints_is_told_by_its_first_words() {
        assert!(sets_constraints(
            b"set /* a */ CONSTRAINTS f IMMEDIATE",
            true
        ));
        assert!(!sets_constraints(b"SET constraints_of.x = 1", true));
        assert!(!sets_constraints(b"SET", true));
    }

    #[test]
    fn startup_options_are_read_as_the_server_does() {
        let found = |value: &str| forbidden_at_startup(&[("options".into(), value.into())]);
        for value in [
            "-c reprieve.role=x",
            "-creprieve.role=x",
            "--reprieve.role=x",
            "-c geqo=off  -c REPRIEVE.depth=1",
            r"-c repri\eve.role=x",
        ] {
            assert!(found(value).is_some(), "{value}");
        }
        for value in [
            "-c reprieve.actor=ann",
            "-c application_name=reprieve.role=x",
            r"-c application_name=a\ --reprieve.role=x",
            "-c",
            "",
        ] {
            assert_eq!(found(value), None, "{value}");
        }
        let direct = [("reprieve.Path".to_owned(), "x".to_owned())];
        assert_eq!(
            forbidden_at_startup(&direct).as_deref(),
            Some("reprieve.path")
        );
    }
}
