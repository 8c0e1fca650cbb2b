//! GUARD, UNGUARD, BUDGET, REQUEST DELETION, APPROVE, DENY.

use catalog::quote_literal;

use crate::lex::TokenKind;
use crate::{Refusal, refusal};

use super::help;
use super::words::Words;

/// `None`: not a verb of this kind.
pub(super) fn translate(words: &mut Words<'_, '_>) -> Result<Option<String>, Refusal> {
    if words.eat("guard") {
        return guard(words).map(Some);
    }
    if words.eat("unguard") {
        return unguard(words).map(Some);
    }
    if words.eat("budget") {
        return budget(words).map(Some);
    }
    if words.eat("request") {
        return request(words).map(Some);
    }
    if words.eat("approve") {
        return decide(words, help::APPROVE, true).map(Some);
    }
    if words.eat("deny") {
        return decide(words, help::DENY, false).map(Some);
    }
    Ok(None)
}

/// `TABLE t | ALL TABLES`, as the first argument of a function.
fn target(words: &mut Words<'_, '_>, form: &str) -> Result<String, Refusal> {
    if words.eat("all") {
        words.want("tables", form)?;
        return Ok("relation => NULL".to_owned());
    }
    words.want("table", form)?;
    Ok(format!("relation => {}", words.table(form)?.regclass()))
}

/// Behind PER.
fn unit(words: &mut Words<'_, '_>, form: &str) -> Result<String, Refusal> {
    let unit = ["statement", "transaction"]
        .into_iter()
        .find(|unit| words.eat(unit))
        .ok_or_else(|| words.unexpected(form))?;
    Ok(format!("per => '{unit}'"))
}

fn refuse_or_allow(words: &mut Words<'_, '_>, form: &str) -> Result<&'static str, Refusal> {
    ["refuse", "allow"]
        .into_iter()
        .find(|word| words.eat(word))
        .ok_or_else(|| words.unexpected(form))
}

/// A span of time up to what may stand behind it.
fn span(words: &mut Words<'_, '_>, form: &str) -> Result<String, Refusal> {
    const BEHIND: &[&str] = &[
        "max", "no", "truncate", "drop", "per", "for", "wait", "tables", "rows", "within", "reason",
    ];
    let span = words.expression(BEHIND, form)?;
    Ok(format!("({span})::pg_catalog.interval"))
}

fn guard(words: &mut Words<'_, '_>) -> Result<String, Refusal> {
    let form = help::GUARD;
    let mut arguments = vec![target(words, form)?];
    while !words.is_at_end() {
        let argument = if words.eat("max") {
            if words.eat("rows") {
                format!("max_rows => {}", rows(words, form)?)
            } else {
                words.want("share", form)?;
                let share = share(words, form)?;
                format!("max_share => {share}")
            }
        } else if words.eat("no") {
            words.want("where", form)?;
            format!("no_where => '{}'", refuse_or_allow(words, form)?)
        } else if words.eat("truncate") {
            format!("on_truncate => '{}'", refuse_or_allow(words, form)?)
        } else if words.eat("drop") {
            format!("on_drop => '{}'", refuse_or_allow(words, form)?)
        } else if words.eat("per") {
            unit(words, form)?
        } else if words.eat("for") {
            format!("for_role => {}", words.role(form)?)
        } else {
            words.want("wait", form)?;
            format!("wait => {}", span(words, form)?)
        };
        add(&mut arguments, argument, words, form)?;
    }
    Ok(format!(
        "SELECT * FROM reprieve.guard_v1({})",
        arguments.join(", ")
    ))
}

/// No argument is given twice.
fn add(
    arguments: &mut Vec<String>,
    argument: String,
    words: &Words<'_, '_>,
    form: &str,
) -> Result<(), Refusal> {
    let name = |argument: &str| argument.split(" => ").next().map(str::to_owned);
    if arguments.iter().any(|other| name(other) == name(&argument)) {
        return Err(words.unexpected(form));
    }
    arguments.push(argument);
    Ok(())
}

/// A number of rows, or NONE for any number.
fn rows(words: &mut Words<'_, '_>, form: &str) -> Result<String, Refusal> {
    if words.eat("none") {
        return Ok(i64::MAX.to_string());
    }
    words.number(form, "a number of rows")
}

/// A percentage, with a point perhaps; NONE for all of the table.
fn share(words: &mut Words<'_, '_>, form: &str) -> Result<String, Refusal> {
    if words.eat("none") {
        return Ok("100".to_owned());
    }
    let share = match words.tokens.kind(words.at) {
        Some(TokenKind::Number | TokenKind::Parameter | TokenKind::String) => {
            words.text(words.at..words.at + 1)?
        }
        _ => return Err(words.unexpected(form)),
    };
    words.at += 1;
    if words.at < words.tokens.len() && words.tokens.bytes(words.at) == b"%" {
        words.at += 1;
    } else {
        words.eat("percent");
    }
    Ok(share)
}

fn unguard(words: &mut Words<'_, '_>) -> Result<String, Refusal> {
    let form = help::UNGUARD;
    let mut arguments = vec![target(words, form)?];
    while !words.is_at_end() {
        let argument = if words.eat("per") {
            unit(words, form)?
        } else {
            words.want("for", form)?;
            format!("for_role => {}", words.role(form)?)
        };
        add(&mut arguments, argument, words, form)?;
    }
    Ok(format!(
        "SELECT * FROM reprieve.unguard_v1({})",
        arguments.join(", ")
    ))
}

fn budget(words: &mut Words<'_, '_>) -> Result<String, Refusal> {
    let form = help::BUDGET;
    words.want("for", form)?;
    let mut arguments = vec![words.role(form)?];
    if words.eat("none") {
        arguments.push("NULL".to_owned());
    } else {
        arguments.push(words.number(form, "a number of rows")?);
        words.want("rows", form)?;
        words.want("per", form)?;
        arguments.push(format!("span => {}", span(words, form)?));
        if words.eat("tables") {
            let most = u64::from(i32::MAX.unsigned_abs());
            let tables = words.number_up_to(most, form, "a number of tables")?;
            arguments.push(format!("max_tables => {tables}"));
        }
        if words.eat("wait") {
            arguments.push(format!("wait => {}", span(words, form)?));
        }
    }
    words.end(form)?;
    Ok(format!(
        "SELECT * FROM reprieve.budget_v1({})",
        arguments.join(", ")
    ))
}

/// `DELETION FROM t [WHERE condition] [ROWS n] [FOR role] [WITHIN span] [REASON text]`.
fn request(words: &mut Words<'_, '_>) -> Result<String, Refusal> {
    let form = help::REQUEST;
    words.want("deletion", form)?;
    words.want("from", form)?;
    let mut arguments = vec![words.table(form)?.regclass()];
    if words.eat("where") {
        let condition = words.literal_condition(end_of_condition(words), form)?;
        arguments.push(format!("condition => {}", quote_literal(&condition)));
    }
    while !words.is_at_end() {
        let argument = if words.eat("rows") {
            let offset = words.offset();
            let rows = words.number(form, "a number of rows")?;
            if rows.bytes().all(|byte| byte == b'0') {
                let message = "a deletion of no rows needs no approval".to_owned();
                return Err(refusal::verb_value(message, form, offset));
            }
            format!("max_rows => {rows}")
        } else if words.eat("for") {
            format!("for_role => {}", words.role(form)?)
        } else if words.eat("within") {
            format!("valid_for => {}", span(words, form)?)
        } else {
            words.want("reason", form)?;
            let reason = words.expression(&["rows", "for", "within"], form)?;
            format!("reason => ({reason})::pg_catalog.text")
        };
        add(&mut arguments, argument, words, form)?;
    }
    Ok(format!(
        "SELECT * FROM reprieve.request_deletion_v1({})",
        arguments.join(", ")
    ))
}

/// The first of our words outside of brackets that an operand cannot be: what stands before it is one.
fn end_of_condition(words: &Words<'_, '_>) -> usize {
    let mut depth = 0usize;
    for at in words.at..words.tokens.len() {
        match words.tokens.kind(at) {
            Some(TokenKind::LeftParenthesis) => depth += 1,
            Some(TokenKind::RightParenthesis) => depth = depth.saturating_sub(1),
            _ => {}
        }
        let behind = ["rows", "for", "within", "reason"]
            .iter()
            .any(|word| words.tokens.is_word(at, word));
        let value = matches!(
            words.tokens.kind(at + 1),
            Some(TokenKind::Number | TokenKind::String | TokenKind::Parameter)
        ) || words.tokens.identifier(at + 1).is_some();
        if depth == 0 && at > words.at && behind && value {
            return at;
        }
    }
    words.tokens.len()
}

fn decide(words: &mut Words<'_, '_>, form: &str, approve: bool) -> Result<String, Refusal> {
    words.want("deletion", form)?;
    words.want("request", form)?;
    let id = words.number(form, "the number of a request")?;
    words.end(form)?;
    Ok(format!(
        "SELECT * FROM reprieve.decide_request_v1({id}, {approve})"
    ))
}
