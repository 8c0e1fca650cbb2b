//! SEAL LEDGER, EXPORT DELETIONS.

use crate::Refusal;

use super::help;
use super::words::Words;

/// `None`: not a verb of this kind.
pub(super) fn translate(words: &mut Words<'_, '_>) -> Result<Option<String>, Refusal> {
    if words.eat("seal") {
        return seal(words).map(Some);
    }
    if words.eat("export") {
        return export(words).map(Some);
    }
    Ok(None)
}

fn seal(words: &mut Words<'_, '_>) -> Result<String, Refusal> {
    let form = help::SEAL;
    if !words.eat("background") {
        words.want("ledger", form)?;
        words.end(form)?;
        return Ok("SELECT * FROM reprieve.seal_v1()".to_owned());
    }
    let enabled = words.eat("on");
    if !enabled {
        words.want("off", form)?;
    }
    words.end(form)?;
    Ok(format!(
        "SELECT * FROM reprieve.seal_background_v1({enabled})"
    ))
}

fn export(words: &mut Words<'_, '_>) -> Result<String, Refusal> {
    let form = help::EXPORT;
    words.want("deletions", form)?;
    let mut arguments = Vec::new();
    if words.eat("since") {
        arguments.push(format!("since => {}", words.time(&["until"], form)?));
    }
    if words.eat("until") {
        arguments.push(format!("until => {}", words.time(&[], form)?));
    }
    words.end(form)?;
    Ok(format!(
        "SELECT * FROM reprieve.export_v1({})",
        arguments.join(", ")
    ))
}
