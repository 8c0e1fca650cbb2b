//! One statement: a verb or not, and the SQL it stands for.

use std::ops::Range;

use catalog::{Catalog, Resolved, SearchPath, quote_identifier, quote_literal};

use crate::lex::{TokenKind, Tokens};
use crate::{Refusal, refusal};

use super::help;
use super::{LocalShow, Verb};

pub(super) fn translate(
    tokens: &Tokens<'_>,
    catalog: &Catalog,
    search_path: &SearchPath,
) -> Result<Option<Verb>, Refusal> {
    let mut words = Words { tokens, at: 0 };
    if words.eat("undelete") {
        return undelete(&mut words).map(keeper);
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

const UNDELETE_MODES: &[&str] = &["nocascade", "cascade", "nonconflict_only"];

fn undelete(words: &mut Words<'_, '_>) -> Result<String, Refusal> {
    if words.eat("deletion") {
        let id = words.number(help::UNDELETE_DELETION, "the number of a deletion")?;
        let mode = words.mode(help::UNDELETE_DELETION)?;
        words.end(help::UNDELETE_DELETION)?;
        return Ok(format!(
            "SELECT * FROM reprieve.undelete_deletion_v1({id}{mode})"
        ));
    }
    if words.eat("transaction") {
        let id = words.number(help::UNDELETE_TRANSACTION, "the id of a transaction")?;
        let mode = words.mode(help::UNDELETE_TRANSACTION)?;
        words.end(help::UNDELETE_TRANSACTION)?;
        // A bare number has no cast to xid8, text has.
        let id = if id.bytes().all(|byte| byte.is_ascii_digit()) {
            format!("'{id}'")
        } else {
            id
        };
        return Ok(format!(
            "SELECT * FROM reprieve.undelete_transaction_v1({id}::pg_catalog.xid8{mode})"
        ));
    }
    if words.eat("from") {
        let form = help::UNDELETE_FROM;
        let table = words.table(form)?;
        let mode = words.mode(form)?;
        let condition = if words.eat("where") {
            words.literal_condition(form)?
        } else {
            "true".into()
        };
        words.end(form)?;
        return Ok(format!(
            "SELECT * FROM reprieve.undelete_where_v1({}, {}{mode})",
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
            "SELECT * FROM reprieve.undelete_since_v1({since}, {until}, {role}{mode})"
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
        if !words.is_at_end() && !words.one_of(&["where", "order", "limit", "offset"]) {
            return Err(words.unexpected(help::SHOW_DELETIONS));
        }
        let rest = words.rest();
        let space = if rest.is_empty() { "" } else { " " };
        return Ok(keeper(format!(
            "SELECT * FROM reprieve.show_deletions{space}{rest}"
        )));
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
        "SELECT * FROM (SELECT b.deleted_at, b.deletion_id, b.buried{columns} FROM \
         reprieve.buried_v1(NULL::{}) b) AS {}{space}{rest}",
        table.qualified(),
        quote_identifier(&table.name)
    ))
}

struct TableName {
    schema: Option<String>,
    name: String,
}

impl TableName {
    /// An expression of type regclass, looked up by the session's own search path.
    fn regclass(&self) -> String {
        let schema = self
            .schema
            .as_deref()
            .map(|schema| format!("{}.", quote_identifier(schema)));
        let name = format!(
            "{}{}",
            schema.unwrap_or_default(),
            quote_identifier(&self.name)
        );
        format!("{}::pg_catalog.regclass", quote_literal(&name))
    }
}

struct Words<'a, 't> {
    tokens: &'a Tokens<'t>,
    at: usize,
}

impl Words<'_, '_> {
    fn is(&self, word: &str) -> bool {
        self.tokens.is_word(self.at, word)
    }

    fn one_of(&self, words: &[&str]) -> bool {
        words.iter().any(|word| self.is(word))
    }

    fn eat(&mut self, word: &str) -> bool {
        let found = self.is(word);
        self.at += usize::from(found);
        found
    }

    fn is_at_end(&self) -> bool {
        self.at >= self.tokens.len()
    }

    fn want(&mut self, word: &str, form: &str) -> Result<(), Refusal> {
        if self.eat(word) {
            Ok(())
        } else {
            Err(self.unexpected(form))
        }
    }

    fn end(&self, form: &str) -> Result<(), Refusal> {
        if self.is_at_end() {
            Ok(())
        } else {
            Err(self.unexpected(form))
        }
    }

    /// Byte offset of the next token, or of the end.
    fn offset(&self) -> usize {
        let last = self
            .tokens
            .len()
            .checked_sub(1)
            .and_then(|last| self.tokens.get(last));
        let end = last.map_or(0, |token| token.end as usize);
        self.tokens
            .get(self.at)
            .map_or(end, |token| token.start as usize)
    }

    /// In PostgreSQL's words.
    fn unexpected(&self, form: &str) -> Refusal {
        let message = if self.is_at_end() {
            "syntax error at end of input".to_owned()
        } else {
            let token = String::from_utf8_lossy(self.tokens.bytes(self.at));
            format!("syntax error at or near \"{token}\"")
        };
        refusal::verb_syntax(message, form, self.offset())
    }

    fn text(&self, range: Range<usize>) -> Result<String, Refusal> {
        let bytes = &self.tokens.text()[self.tokens.span(range)];
        String::from_utf8(bytes.to_vec()).map_err(|_| {
            refusal::verb_syntax("text is not UTF-8".into(), help::UNDELETE, self.offset())
        })
    }

    /// What is left, as the client wrote it. Bytes that are not UTF-8 would fail on the server too.
    fn rest(&mut self) -> String {
        let range = self.at..self.tokens.len();
        self.at = range.end;
        String::from_utf8_lossy(&self.tokens.text()[self.tokens.span(range)]).into_owned()
    }

    fn table(&mut self, form: &str) -> Result<TableName, Refusal> {
        let mut parts = Vec::new();
        loop {
            let Some(part) = self.tokens.identifier(self.at) else {
                return Err(self.unexpected(form));
            };
            parts.push(part.into_owned());
            self.at += 1;
            if self.tokens.kind(self.at) != Some(TokenKind::Dot) || parts.len() == 2 {
                break;
            }
            self.at += 1;
        }
        let name = parts.pop().unwrap_or_default();
        Ok(TableName {
            schema: parts.pop(),
            name,
        })
    }

    /// `[[MODE] m]`, as a further argument; empty without one.
    fn mode(&mut self, form: &str) -> Result<String, Refusal> {
        let announced = self.eat("mode");
        match UNDELETE_MODES.iter().find(|mode| self.eat(mode)) {
            Some(mode) => Ok(format!(", mode => '{mode}'")),
            None if announced => Err(self.unexpected(form)),
            None => Ok(String::new()),
        }
    }

    /// A whole number, a parameter, or a string that the server reads as one.
    fn number(&mut self, form: &str, what: &str) -> Result<String, Refusal> {
        let text = self.text(self.at..self.at + 1)?;
        let fits = match self.tokens.kind(self.at) {
            Some(TokenKind::Number) => text.bytes().all(|byte| byte.is_ascii_digit()),
            Some(TokenKind::Parameter | TokenKind::String) => true,
            _ => return Err(self.unexpected(form)),
        };
        if !fits {
            let message = format!("\"{text}\" is not {what}");
            return Err(refusal::verb_syntax(message, form, self.offset()));
        }
        self.at += 1;
        Ok(text)
    }

    /// A condition that the keeper puts into a statement of its own: parameters have no value there.
    fn literal_condition(&mut self, form: &str) -> Result<String, Refusal> {
        if self.is_at_end() {
            return Err(self.unexpected(form));
        }
        let parameter = (self.at..self.tokens.len())
            .find(|index| self.tokens.kind(*index) == Some(TokenKind::Parameter));
        if let Some(parameter) = parameter {
            self.at = parameter;
            let message = "parameters cannot stand in the condition of UNDELETE".to_owned();
            return Err(refusal::verb_syntax(message, form, self.offset()));
        }
        let condition = self.text(self.at..self.tokens.len())?;
        self.at = self.tokens.len();
        Ok(condition)
    }

    /// An expression up to one of these words, as a timestamp.
    fn time(&mut self, stop: &[&str], form: &str) -> Result<String, Refusal> {
        let start = self.at;
        let mut depth = 0usize;
        while !self.is_at_end() && (depth > 0 || !self.one_of(stop)) {
            match self.tokens.kind(self.at) {
                Some(TokenKind::LeftParenthesis) => depth += 1,
                Some(TokenKind::RightParenthesis) => depth = depth.saturating_sub(1),
                _ => {}
            }
            self.at += 1;
        }
        if self.at == start {
            return Err(self.unexpected(form));
        }
        let expression = self.text(start..self.at)?;
        Ok(format!("({expression})::pg_catalog.timestamptz"))
    }

    /// A role's name, as text.
    fn role(&mut self, form: &str) -> Result<String, Refusal> {
        let role = match self.tokens.kind(self.at) {
            Some(TokenKind::Parameter | TokenKind::String) => self.text(self.at..self.at + 1)?,
            _ if self.one_of(&["current_user", "session_user", "current_role"]) => {
                format!("{}::pg_catalog.text", self.text(self.at..self.at + 1)?)
            }
            _ => match self.tokens.identifier(self.at) {
                Some(name) => quote_literal(&name),
                None => return Err(self.unexpected(form)),
            },
        };
        self.at += 1;
        Ok(role)
    }
}
