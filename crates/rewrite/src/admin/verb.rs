//! One statement: a verb or not, and the SQL it stands for.

use catalog::{Catalog, Resolved, SearchPath, quote_identifier, quote_literal};

use crate::lex::Tokens;
use crate::{Refusal, refusal};

use super::words::Words;
use super::{LocalShow, Verb, deletions, guards, help, ledger, preview, retention, watch};

pub(super) fn translate(
    tokens: &Tokens<'_>,
    catalog: &Catalog,
    search_path: &SearchPath,
    conforming: bool,
) -> Result<Option<Verb>, Refusal> {
    let mut words = Words {
        tokens,
        at: 0,
        conforming,
    };
    if words.eat("undelete") {
        return undelete(&mut words, Undelete::DO).map(keeper);
    }
    if let Some(sql) = preview::translate(&mut words, catalog, search_path)? {
        return Ok(keeper(sql));
    }
    if let Some(sql) = retention::translate(&mut words)? {
        return Ok(keeper(sql));
    }
    if let Some(sql) = watch::translate(&mut words)? {
        return Ok(keeper(sql));
    }
    if let Some(sql) = guards::translate(&mut words)? {
        return Ok(keeper(sql));
    }
    if let Some(sql) = ledger::translate(&mut words)? {
        return Ok(keeper(sql));
    }
    if words.eat("undo") {
        return undo(&mut words).map(keeper);
    }
    if words.eat("enable") {
        return enable(&mut words).map(keeper);
    }
    if words.eat("disable") {
        words.want("soft", help::DISABLE)?;
        words.want("delete", help::DISABLE)?;
        words.want("on", help::DISABLE)?;
        let table = words.table(help::DISABLE)?;
        words.end(help::DISABLE)?;
        return Ok(keeper(format!(
            "SELECT * FROM reprieve.disable_v1({})",
            table.regclass()
        )));
    }
    if words.eat("check") {
        words.want("integrity", help::CHECK)?;
        words.end(help::CHECK)?;
        return Ok(keeper("SELECT * FROM reprieve.check_v1()".into()));
    }
    if words.eat("help") {
        words.end("HELP")?;
        return Ok(Some(Verb::Local(LocalShow::Help)));
    }
    if words.eat("show") {
        return show(&mut words, catalog, search_path);
    }
    Ok(None)
}

fn keeper(sql: String) -> Option<Verb> {
    Some(Verb::Keeper(sql))
}

/// Which functions of the keeper an UNDELETE is made of.
#[derive(Debug, Clone, Copy)]
pub(super) struct Undelete {
    prefix: &'static str,
    last: &'static str,
}

impl Undelete {
    const DO: Self = Self {
        prefix: "undelete",
        last: "",
    };
    pub(super) const PREVIEW: Self = Self {
        prefix: "preview_undelete",
        last: "",
    };
    pub(super) const REHEARSE: Self = Self {
        prefix: "preview_undelete",
        last: ", rehearse => true",
    };
}

pub(super) const UNDELETE_MODES: &[&str] = &[
    "nocascade",
    "cascade",
    "nonconflict_only",
    "replace",
    "force",
];

pub(super) fn undelete(words: &mut Words<'_, '_>, how: Undelete) -> Result<String, Refusal> {
    let Undelete { prefix, last } = how;
    if words.eat("deletion") {
        let id = words.number(help::UNDELETE_DELETION, "the number of a deletion")?;
        let mode = words.mode(help::UNDELETE_DELETION)?;
        words.end(help::UNDELETE_DELETION)?;
        return Ok(format!(
            "SELECT * FROM reprieve.{prefix}_deletion_v1({id}{mode}{last})"
        ));
    }
    if words.eat("transaction") {
        let id = words.number_up_to(
            u64::MAX,
            help::UNDELETE_TRANSACTION,
            "the id of a transaction",
        )?;
        let mode = words.mode(help::UNDELETE_TRANSACTION)?;
        words.end(help::UNDELETE_TRANSACTION)?;
        // A bare number has no cast to xid8, text has.
        let id = if id.bytes().all(|byte| byte.is_ascii_digit()) {
            format!("'{id}'")
        } else {
            id
        };
        return Ok(format!(
            "SELECT * FROM reprieve.{prefix}_transaction_v1({id}::pg_catalog.xid8{mode}{last})"
        ));
    }
    if words.eat("from") {
        let form = help::UNDELETE_FROM;
        let table = words.table(form)?;
        let mode = words.mode(form)?;
        let condition = if words.eat("where") {
            words.literal_condition(words.tokens.len(), form)?
        } else {
            "true".into()
        };
        words.end(form)?;
        return Ok(format!(
            "SELECT * FROM reprieve.{prefix}_where_v1({}, {}{mode}{last})",
            table.regclass(),
            quote_literal(&condition)
        ));
    }
    if words.eat("since") {
        let form = help::UNDELETE_SINCE;
        let since = words.time(&[&["until", "by", "mode"], UNDELETE_MODES].concat(), form)?;
        let until = if words.eat("until") {
            words.time(&[&["by", "mode"], UNDELETE_MODES].concat(), form)?
        } else {
            "NULL".into()
        };
        let role = if words.eat("by") {
            words.role(form)?
        } else {
            "NULL".into()
        };
        let mode = words.mode(form)?;
        words.end(form)?;
        return Ok(format!(
            "SELECT * FROM reprieve.{prefix}_since_v1({since}, {until}, {role}{mode}{last})"
        ));
    }
    Err(words.unexpected(help::UNDELETE))
}

fn undo(words: &mut Words<'_, '_>) -> Result<String, Refusal> {
    let form = help::UNDO;
    words.want("undelete", form)?;
    let (function, what) = if words.eat("deletion") {
        ("undo_undelete_of_v1", "the number of a deletion")
    } else {
        ("undo_undelete_v1", "the number of an undelete")
    };
    let id = words.number(form, what)?;
    let mode = words.mode(form)?;
    words.end(form)?;
    Ok(format!("SELECT * FROM reprieve.{function}({id}{mode})"))
}

fn enable(words: &mut Words<'_, '_>) -> Result<String, Refusal> {
    for word in ["soft", "delete", "on"] {
        words.want(word, help::ENABLE)?;
    }
    let table = words.table(help::ENABLE)?;
    let mut mode = "auto";
    if words.eat("mode") {
        mode = ["mark", "bin", "auto"]
            .into_iter()
            .find(|mode| words.eat(mode))
            .ok_or_else(|| words.unexpected(help::ENABLE))?;
    }
    words.end(help::ENABLE)?;
    Ok(format!(
        "SELECT * FROM reprieve.enable_v1({}, '{mode}')",
        table.regclass()
    ))
}

/// `None`: a SHOW of PostgreSQL's own.
fn show(
    words: &mut Words<'_, '_>,
    catalog: &Catalog,
    search_path: &SearchPath,
) -> Result<Option<Verb>, Refusal> {
    const LOCAL: &[(&str, LocalShow)] = &[
        ("clients", LocalShow::Clients),
        ("stats", LocalShow::Stats),
        ("version", LocalShow::Version),
        ("help", LocalShow::Help),
    ];
    for (word, show) in LOCAL {
        if words.eat(word) {
            words.end(&format!("SHOW {}", word.to_ascii_uppercase()))?;
            return Ok(Some(Verb::Local(*show)));
        }
    }
    if words.eat("tables") {
        words.end(help::SHOW_TABLES)?;
        return Ok(keeper("SELECT * FROM reprieve.show_tables".into()));
    }
    if words.eat("undeletes") {
        words.end(help::SHOW_UNDELETES)?;
        return Ok(keeper("SELECT * FROM reprieve.show_undeletes".into()));
    }
    if words.eat("deletions") {
        return deletions::translate(words).map(keeper);
    }
    const VIEWS: &[(&str, &str)] = &[
        ("rehearsals", "show_rehearsals"),
        ("retention", "show_retention"),
        ("holds", "show_holds"),
        ("receipts", "show_receipts"),
        ("health", "show_health"),
        ("guards", "show_guards"),
        ("budgets", "show_budgets"),
        ("requests", "show_requests"),
        ("seals", "show_seals"),
    ];
    for (word, view) in VIEWS {
        if words.eat(word) {
            words.end(&format!("SHOW {}", word.to_ascii_uppercase()))?;
            return Ok(keeper(format!("SELECT * FROM reprieve.{view}")));
        }
    }
    if words.eat("rows") {
        return watch::rows(words).map(keeper);
    }
    if words.eat("deleted") {
        words.want("from", help::SHOW_DELETED)?;
        return show_deleted(words, catalog, search_path).map(keeper);
    }
    Ok(None)
}

fn show_deleted(
    words: &mut Words<'_, '_>,
    catalog: &Catalog,
    search_path: &SearchPath,
) -> Result<String, Refusal> {
    let offset = words.offset();
    let name = words.table(help::SHOW_DELETED)?;
    let Resolved::Enabled(table) = catalog.resolve(name.schema.as_deref(), &name.name, search_path)
    else {
        return Err(refusal::not_enabled(&name.name, offset));
    };
    if !words.is_at_end() && !words.one_of(&["where", "order", "limit", "offset"]) {
        return Err(words.unexpected(help::SHOW_DELETED));
    }
    let columns: String = table
        .visible_columns()
        .map(|column| format!(", (b.row).{}", quote_identifier(&column.name)))
        .collect();
    let rest = words.rest();
    let space = if rest.is_empty() { "" } else { " " };
    Ok(format!(
        "SELECT * FROM (SELECT b.deleted_at, b.deletion_id, b.buried{columns}, b.other_columns FROM \
         reprieve.deleted_v1(NULL::{}) b) AS {}{space}{rest}",
        table.qualified(),
        quote_identifier(&table.name)
    ))
}
