//! `reprieve explain`: what the app port would make of a statement.

use std::process::ExitCode;

use catalog::{Catalog, SearchPath};
use keeper::KeeperError;
use rewrite::{ClientEncoding, Refusal, Reply, Scope};

use crate::cli::DatabaseFlag;
use crate::commands::{connect, say, told};
use crate::config_file::Sources;

/// Prints what would be sent. Exit status 1 for a refusal.
pub async fn explain(
    sources: &Sources,
    flag: &DatabaseFlag,
    sql: &str,
    schemas: Vec<String>,
) -> Result<ExitCode, String> {
    let keeper = connect(sources, flag).await?;
    let catalog = match keeper.load().await {
        Ok(loaded) => loaded.catalog,
        Err(KeeperError::NotInstalled { .. }) => {
            say("-- the keeper is not installed here: sent as it is");
            Catalog::empty().into()
        }
        Err(error) => return Err(told(&error)),
    };
    let path = SearchPath {
        schemas,
        ..SearchPath::default()
    };
    Ok(print(&describe(sql, &catalog, &path)))
}

fn print(told: &Result<Vec<String>, Vec<String>>) -> ExitCode {
    let (lines, code) = match told {
        Ok(lines) => (lines, ExitCode::SUCCESS),
        Err(lines) => (lines, ExitCode::FAILURE),
    };
    for line in lines {
        say(line);
    }
    code
}

/// Lines to print; `Err` for a refusal.
fn describe(sql: &str, catalog: &Catalog, path: &SearchPath) -> Result<Vec<String>, Vec<String>> {
    let scope = Scope {
        catalog,
        search_path: path,
        standard_conforming_strings: true,
        encoding: ClientEncoding::Utf8,
    };
    let scanned = rewrite::scan(sql.as_bytes(), catalog, true, ClientEncoding::Utf8);
    let plan = if scanned.concerns_us() {
        scanned.plan(&scope).map_err(|refusal| refused(&refusal))?
    } else {
        scanned.untouched(catalog)
    };
    let mut lines = Vec::new();
    for statement in &plan.statements {
        let note = match statement.reply {
            Reply::AsIs => continue,
            Reply::Delete => "-- the client reads the tag DELETE n",
            Reply::Messages => "-- a DELETE in it is sent as an UPDATE",
        };
        lines.push(note.to_owned());
    }
    if plan.edits.is_empty() {
        lines.push("-- sent as it is".to_owned());
        lines.push(sql.to_owned());
    } else {
        lines.push(String::from_utf8_lossy(&plan.edits.apply(sql.as_bytes())).into_owned());
    }
    Ok(lines)
}

fn refused(refusal: &Refusal) -> Vec<String> {
    let unless = refusal.unmark.map(|_| {
        "-- sent as it is, once the keeper has ended the marking of the table; if it cannot:"
            .to_owned()
    });
    let mut lines: Vec<String> = unless.into_iter().collect();
    lines.push(format!(
        "refused: {} {}: {}",
        refusal.code, refusal.sqlstate, refusal.message
    ));
    lines.extend(
        refusal
            .detail
            .iter()
            .map(|detail| format!("detail: {detail}")),
    );
    lines.extend(refusal.hint.iter().map(|hint| format!("hint: {hint}")));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_that_names_no_enabled_table_is_sent_as_it_is() {
        let lines = describe("SELECT 'it''s'", &Catalog::empty(), &SearchPath::default()).unwrap();
        assert_eq!(lines, ["-- sent as it is", "SELECT 'it''s'"]);
    }
}
