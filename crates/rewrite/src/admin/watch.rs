//! WATCH TABLE, SHOW ROWS.

use crate::Refusal;

use super::help;
use super::words::Words;

/// `None`: not a verb of this kind.
pub(super) fn translate(words: &mut Words<'_, '_>) -> Result<Option<String>, Refusal> {
    if !words.eat("watch") {
        return Ok(None);
    }
    let form = help::WATCH;
    words.want("table", form)?;
    let table = words.table(form)?.regclass();
    let limit = if words.eat("at") {
        let percent = words.expression(&["percent"], form)?;
        words.want("percent", form)?;
        format!(", ({percent})::pg_catalog.numeric")
    } else if words.eat("never") {
        ", never => true".to_owned()
    } else {
        words.want("default", form)?;
        String::new()
    };
    words.end(form)?;
    Ok(Some(format!(
        "SELECT * FROM reprieve.watch_v1({table}{limit})"
    )))
}

/// Behind SHOW ROWS.
pub(super) fn rows(words: &mut Words<'_, '_>) -> Result<String, Refusal> {
    let form = help::SHOW_ROWS;
    let mut conditions = Vec::new();
    if words.eat("from") {
        conditions.push(format!("relid = {}", words.table(form)?.regclass()));
    }
    if words.eat("since") {
        conditions.push(format!("at >= {}", words.time(&["limit"], form)?));
    }
    let mut sql = "SELECT \"table\", at, rows, how, tombstones, graveyard_rows, dead_rows, bytes \
                   FROM reprieve.show_rows"
        .to_owned();
    if !conditions.is_empty() {
        sql += &format!(" WHERE {}", conditions.join(" AND "));
    }
    sql += " ORDER BY at DESC, \"table\"";
    if words.eat("limit") {
        sql += &format!(" LIMIT {}", words.number(form, "a number of rows")?);
    }
    words.end(form)?;
    Ok(sql)
}
