//! PREVIEW DELETE, PREVIEW UNDELETE, REHEARSE UNDELETE.

use catalog::{Catalog, SearchPath, quote_literal};

use crate::lex::TokenKind;
use crate::{ClientEncoding, Refusal, Scope, scan};

use super::help;
use super::verb::{Undelete, undelete};
use super::words::Words;

/// `None`: not a verb of this kind.
pub(super) fn translate(
    words: &mut Words<'_, '_>,
    catalog: &Catalog,
    search_path: &SearchPath,
) -> Result<Option<String>, Refusal> {
    if words.eat("rehearse") {
        words.want("undelete", help::REHEARSE)?;
        return undelete(words, Undelete::REHEARSE).map(Some);
    }
    if words.is("explain") {
        if !words.tokens.is_word(words.at + 1, "deletion") {
            return Ok(None);
        }
        words.at += 2;
        return delete(words, catalog, search_path).map(Some);
    }
    if !words.eat("preview") {
        return Ok(None);
    }
    if words.eat("undelete") {
        return undelete(words, Undelete::PREVIEW).map(Some);
    }
    words.want("delete", help::PREVIEW)?;
    delete(words, catalog, search_path).map(Some)
}

/// `FROM [ONLY] t [AS a] [USING list] [WHERE condition] [FORMAT f]`, as the query that finds the rows of the DELETE.
fn delete(
    words: &mut Words<'_, '_>,
    catalog: &Catalog,
    search_path: &SearchPath,
) -> Result<String, Refusal> {
    let form = help::PREVIEW_DELETE;
    words.want("from", form)?;
    let start = words.at;
    let only = words.eat("only");
    let table = words.table(form)?;
    if words.tokens.bytes(words.at) == b"*" {
        words.at += 1;
    }
    let target_end = words.at;
    let announced = words.eat("as");
    let alias = words.at;
    let named = announced || !(words.is_at_end() || words.one_of(&["using", "where", "format"]));
    if named {
        if words.tokens.identifier(alias).is_none() {
            return Err(words.unexpected(form));
        }
        words.at += 1;
    }
    let (end, format) = format(words, start)?;
    let rest = rest(words, end)?;
    let target = if named {
        words.text(start..alias + 1)?
    } else {
        words.text(start..target_end)?
    };
    let name = if named {
        words.text(alias..alias + 1)?
    } else {
        words.text(start + usize::from(only)..target_end)?
    };
    let name = name.trim_end_matches(['*', ' ']);
    let query = live(
        &format!("SELECT {name}.tableoid, {name}.ctid FROM {target}{rest}"),
        words,
        catalog,
        search_path,
    )?;
    let table = table.regclass();
    Ok(match format {
        None => format!(
            "SELECT * FROM reprieve.preview_delete_v1({table}, query => {})",
            quote_literal(&query)
        ),
        Some(format) => format!(
            "SELECT * FROM reprieve.preview_delete_tree_v1({table}, format => '{format}', query => {})",
            quote_literal(&query)
        ),
    })
}

/// The end of what belongs to the DELETE, and the picture asked for behind it.
fn format(
    words: &mut Words<'_, '_>,
    start: usize,
) -> Result<(usize, Option<&'static str>), Refusal> {
    let end = words.tokens.len();
    if end < start + 3 || !words.tokens.is_word(end - 2, "format") {
        return Ok((end, None));
    }
    let formats = ["tree", "dot", "mermaid"];
    match formats
        .into_iter()
        .find(|name| words.tokens.is_word(end - 1, name))
    {
        Some(name) => Ok((end - 2, Some(name))),
        None if words.tokens.is_word(end - 1, "table") => Ok((end - 2, None)),
        // USING format f: a table.
        None if words.tokens.is_word(end - 3, "using") || words.tokens.bytes(end - 3) == b"," => {
            Ok((end, None))
        }
        None => {
            words.at = end - 1;
            Err(words.unexpected(help::PREVIEW_DELETE))
        }
    }
}

/// USING and WHERE, as a SELECT has them.
fn rest(words: &mut Words<'_, '_>, end: usize) -> Result<String, Refusal> {
    let form = help::PREVIEW_DELETE;
    let mut others = String::new();
    if words.eat("using") {
        let begin = words.at;
        let mut depth = 0usize;
        while words.at < end && (depth > 0 || !words.is("where")) {
            match words.tokens.kind(words.at) {
                Some(TokenKind::LeftParenthesis) => depth += 1,
                Some(TokenKind::RightParenthesis) => depth = depth.saturating_sub(1),
                _ => {}
            }
            words.at += 1;
        }
        if words.at == begin {
            return Err(words.unexpected(form));
        }
        others = format!(", {}", words.text(begin..words.at)?);
    }
    if words.at >= end {
        return Ok(others);
    }
    words.want("where", form)?;
    // A reserved word: no column bears it but behind a dot.
    let returning = (words.at..end).find(|at| {
        words.tokens.is_word(*at, "returning")
            && words.tokens.kind(at.saturating_sub(1)) != Some(TokenKind::Dot)
    });
    if let Some(returning) = returning {
        words.at = returning;
        return Err(words.unexpected(form));
    }
    let condition = words.literal_condition(end, form)?;
    Ok(format!("{others} WHERE ({condition})"))
}

/// The query as it would be sent for a client: tables in it hide their deleted rows.
fn live(
    query: &str,
    words: &Words<'_, '_>,
    catalog: &Catalog,
    search_path: &SearchPath,
) -> Result<String, Refusal> {
    let scope = Scope {
        catalog,
        search_path,
        standard_conforming_strings: words.conforming,
        encoding: ClientEncoding::Utf8,
    };
    let scanned = scan(
        query.as_bytes(),
        catalog,
        words.conforming,
        ClientEncoding::Utf8,
    );
    let mut plan = scanned.plan(&scope).map_err(|mut refusal| {
        // It points into a text that nobody wrote.
        refusal.offset = None;
        if refusal.code == "R1" {
            refusal.hint = Some(format!("The form is: {}", help::PREVIEW_DELETE));
        }
        refusal
    })?;
    plan.edits.seal(query.as_bytes());
    let edited = plan.edits.apply(query.as_bytes());
    Ok(String::from_utf8_lossy(&edited).into_owned())
}
