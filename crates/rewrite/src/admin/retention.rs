//! PURGE, RETAIN, HOLD, RELEASE, ERASE SUBJECT.

use catalog::quote_literal;

use crate::Refusal;
use crate::lex::TokenKind;

use super::help;
use super::words::Words;

/// `None`: not a verb of this kind.
pub(super) fn translate(words: &mut Words<'_, '_>) -> Result<Option<String>, Refusal> {
    if words.eat("purge") {
        return purge(words).map(Some);
    }
    if words.eat("retain") {
        return retain(words).map(Some);
    }
    if words.eat("hold") {
        return hold(words).map(Some);
    }
    if words.is("release") {
        return release(words);
    }
    if words.eat("erase") {
        return erase(words).map(Some);
    }
    Ok(None)
}

/// As `row_budget` of `purge_v1`, an int.
const ROWS_MAX: u64 = 2_147_483_647;

fn purge(words: &mut Words<'_, '_>) -> Result<String, Refusal> {
    let form = help::PURGE;
    if words.eat("background") {
        let enabled = words.eat("on");
        if !enabled {
            words.want("off", form)?;
        }
        words.end(form)?;
        return Ok(format!(
            "SELECT * FROM reprieve.purge_background_v1({enabled})"
        ));
    }
    if words.eat("export") {
        let directory = if words.eat("to") {
            words.expression(&[], form)?
        } else {
            words.want("off", form)?;
            "NULL".into()
        };
        words.end(form)?;
        return Ok(format!(
            "SELECT * FROM reprieve.purge_export_v1({directory})"
        ));
    }
    let mut arguments = Vec::new();
    if words.eat("dry") {
        words.want("run", form)?;
        arguments.push("dry_run => true".to_owned());
    }
    if words.eat("table") {
        arguments.push(format!("relation => {}", words.table(form)?.regclass()));
    } else if words.eat("deletion") {
        let id = words.number(form, "the number of a deletion")?;
        arguments.push(format!("deletion => {id}"));
    }
    if words.eat("before") {
        arguments.push(format!("before => {}", words.time(&["limit"], form)?));
    } else if words.eat("older") {
        words.want("than", form)?;
        let age = words.expression(&["limit"], form)?;
        arguments.push(format!(
            "before => pg_catalog.now() - ({age})::pg_catalog.interval"
        ));
    }
    if words.eat("limit") {
        let rows = words.number_up_to(ROWS_MAX, form, "a number of rows")?;
        arguments.push(format!("row_budget => {rows}"));
    }
    words.end(form)?;
    Ok(format!(
        "SELECT * FROM reprieve.purge_v1({})",
        arguments.join(", ")
    ))
}

fn retain(words: &mut Words<'_, '_>) -> Result<String, Refusal> {
    let form = help::RETAIN;
    words.want("table", form)?;
    let table = words.table(form)?.regclass();
    let announced = words.eat("for");
    let keep = if words.eat("forever") {
        "'infinity'".to_owned()
    } else if words.eat("default") {
        "NULL".to_owned()
    } else if !announced {
        return Err(words.unexpected(form));
    } else {
        format!(
            "({})::pg_catalog.interval::pg_catalog.text",
            words.expression(&[], form)?
        )
    };
    words.end(form)?;
    Ok(format!("SELECT * FROM reprieve.retain_v1({table}, {keep})"))
}

/// `DELETION n | TABLE t`, as the arguments of a function.
fn target(words: &mut Words<'_, '_>, form: &str) -> Result<String, Refusal> {
    if words.eat("deletion") {
        let id = words.number(form, "the number of a deletion")?;
        return Ok(format!("deletion => {id}"));
    }
    words.want("table", form)?;
    Ok(format!("relation => {}", words.table(form)?.regclass()))
}

fn hold(words: &mut Words<'_, '_>) -> Result<String, Refusal> {
    let form = help::HOLD;
    let mut arguments = target(words, form)?;
    if words.eat("reason") {
        let reason = words.expression(&[], form)?;
        arguments += &format!(", reason => ({reason})::pg_catalog.text");
    }
    words.end(form)?;
    Ok(format!("SELECT * FROM reprieve.hold_v1({arguments})"))
}

/// `RELEASE name` is PostgreSQL's own, even where the savepoint is called `deletion`.
fn release(words: &mut Words<'_, '_>) -> Result<Option<String>, Refusal> {
    let next = words.at + 1;
    let numbered = matches!(
        words.tokens.kind(next + 1),
        Some(TokenKind::Number | TokenKind::Parameter | TokenKind::String)
    );
    let ours =
        words.tokens.is_word(next, "table") || words.tokens.is_word(next, "deletion") && numbered;
    if !ours {
        return Ok(None);
    }
    words.at = next;
    let arguments = target(words, help::RELEASE)?;
    words.end(help::RELEASE)?;
    Ok(Some(format!(
        "SELECT * FROM reprieve.release_v1({arguments})"
    )))
}

fn erase(words: &mut Words<'_, '_>) -> Result<String, Refusal> {
    let form = help::ERASE;
    words.want("subject", form)?;
    words.want("from", form)?;
    let table = words.table(form)?.regclass();
    words.want("where", form)?;
    let mut mentioning = words.at;
    while mentioning < words.tokens.len() && !words.tokens.is_word(mentioning, "mentioning") {
        mentioning += 1;
    }
    let condition = words.literal_condition(mentioning, form)?;
    let mut literals = String::new();
    if words.eat("mentioning") {
        let list = words.expression(&[], form)?;
        literals = format!(", mentioning => ARRAY[{list}]::pg_catalog.text[]");
    }
    words.end(form)?;
    Ok(format!(
        "SELECT * FROM reprieve.erase_subject_v1({table}, {}{literals})",
        quote_literal(&condition)
    ))
}
