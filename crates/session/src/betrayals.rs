//! Texts by which PostgreSQL would tell the client that its DELETE was sent as an UPDATE. One
//! table, one owner. English only: with another `lc_messages` the server's words stay.

use std::borrow::Cow;

use rewrite::Reply;
use wire::backend::Fields;

/// SQLSTATE, what the server says, and what it says of a DELETE (`errmsg` calls of PostgreSQL 15
/// to 18). The first match counts.
const MESSAGES: &[(&[u8], &str, &str)] = &[
    (b"25006", "cannot execute UPDATE ", "cannot execute DELETE "),
    (
        b"40001",
        "could not serialize access due to concurrent update",
        "could not serialize access due to concurrent delete",
    ),
    (
        b"27000",
        "tuple to be updated was already modified",
        "tuple to be deleted was already modified",
    ),
    (
        b"0A000",
        "UPDATE is not allowed in a non-volatile function",
        "DELETE is not allowed in a non-volatile function",
    ),
    (b"55000", "cannot update view ", "cannot delete from view "),
    (
        b"55000",
        "cannot update table ",
        "cannot delete from table ",
    ),
    (b"55000", "publishes updates", "publishes deletes"),
    (b"25000", "cannot execute UPDATE ", "cannot execute DELETE "),
];

const HINTS: &[(&[u8], &str, &str)] = &[
    (
        b"55000",
        "To enable updating the table,",
        "To enable deleting from the table,",
    ),
    (
        b"55000",
        "To enable updating the view, provide an INSTEAD OF UPDATE trigger",
        "To enable deleting from the view, provide an INSTEAD OF DELETE trigger",
    ),
    (
        b"55000",
        "ON UPDATE DO INSTEAD rule",
        "ON DELETE DO INSTEAD rule",
    ),
];

pub(crate) const OUR_COLUMNS: [&[u8]; 2] = [b"deleted_at", b"deletion_id"];

/// Drops "Perhaps you meant to reference the column ..." where it is one of ours. True if it was.
pub(crate) fn drop_hint(fields: &mut Fields<'_>) -> bool {
    let hint = fields.get(b'H').unwrap_or_default();
    let is_ours = OUR_COLUMNS.iter().any(|name| find(hint, name).is_some());
    let drops = is_ours && fields.sqlstate() == b"42703";
    if drops {
        fields.remove(b'H');
    }
    drops
}

/// A debug message about an event trigger. It names the function by its oid only: the user's own
/// event triggers lose theirs too.
pub(crate) fn tells_of_triggers(fields: &Fields<'_>) -> bool {
    fields.get(b'R') == Some(b"EventTriggerInvoke") && fields.get(b'V') == Some(b"DEBUG")
}

/// What REINDEX (VERBOSE) says about the index that we add to a table.
pub(crate) fn tells_of_index(fields: &Fields<'_>) -> bool {
    fields.get(b'R') == Some(b"reindex_index")
        && fields
            .get(b'M')
            .is_some_and(|message| find(message, b"\"reprieve_deletion_").is_some())
}

/// Puts message and hint right for a statement whose DELETE was sent as an UPDATE. What a statement within it raised, of a
/// referential action or of a function (a context that [`drop_context`] has left), is not about that UPDATE. Nor is a 40001
/// of the keeper's (`raised_within`: there was a context): it raises them where it locks rows, as referential actions do.
pub(crate) fn hide(fields: &mut Fields<'_>, reply: Reply, raised_within: bool) {
    let has_context = fields.get(b'W').is_some_and(|context| !context.is_empty());
    match reply {
        Reply::AsIs => {}
        Reply::Delete | Reply::Messages
            if has_context || raised_within && fields.sqlstate() == b"40001" => {}
        Reply::Delete | Reply::Messages => {
            hide_in(fields, b'M', MESSAGES);
            hide_in(fields, b'H', HINTS);
        }
    }
}

fn hide_in(fields: &mut Fields<'_>, code: u8, table: &[(&[u8], &str, &str)]) {
    let state = fields.sqlstate().to_vec();
    let Some(mut text) = fields.get(code).map(|text| Cow::from(text.to_vec())) else {
        return;
    };
    for (_, theirs, clients) in table.iter().filter(|(wanted, _, _)| *wanted == state) {
        if let Some(at) = find(&text, theirs.as_bytes()) {
            let changed = [&text[..at], clients.as_bytes(), &text[at + theirs.len()..]].concat();
            text = changed.into();
        }
    }
    fields.set(code, text.into_owned());
}

/// Drops the CONTEXT entries (field `W`) of functions in schema `reprieve`, and those of the SQL
/// that such a function ran.
pub(crate) fn drop_context(fields: &mut Fields<'_>) {
    let Some(context) = fields.get(b'W') else {
        return;
    };
    if find(context, b"reprieve.").is_none() {
        return;
    }
    let mut kept: Vec<Vec<u8>> = Vec::new();
    for entry in entries(context) {
        if !is_function_of_ours(&entry) {
            kept.push(entry);
            continue;
        }
        // Innermost first: the statement right before a function was run by it.
        if kept
            .last()
            .is_some_and(|inner| inner.starts_with(b"SQL ") && !is_function(inner))
        {
            kept.pop();
        }
    }
    let context = kept.join(&b'\n');
    match context.is_empty() {
        true => fields.remove(b'W'),
        false => fields.set(b'W', context),
    }
}

/// One element per call level. A statement quoted in it may have several lines.
fn entries(context: &[u8]) -> Vec<Vec<u8>> {
    let mut entries: Vec<Vec<u8>> = Vec::new();
    let mut open = false;
    for line in context.split(|byte| *byte == b'\n') {
        match entries.last_mut() {
            Some(entry) if open => {
                entry.push(b'\n');
                entry.extend_from_slice(line);
            }
            _ => {
                entries.push(line.to_vec());
                open =
                    line.starts_with(b"SQL statement \"") || line.starts_with(b"SQL expression \"");
            }
        }
        open = open && !line.ends_with(b"\"");
    }
    entries
}

fn is_function(entry: &[u8]) -> bool {
    entry.starts_with(b"PL/pgSQL function ") || entry.starts_with(b"SQL function ")
}

fn is_function_of_ours(entry: &[u8]) -> bool {
    entry.starts_with(b"PL/pgSQL function reprieve.")
        || entry.starts_with(b"SQL function \"reprieve.")
        || find(entry, b" function reprieve.").is_some()
}

pub(crate) fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    text.windows(wanted.len())
        .position(|window| window == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields<'a>(state: &'a str, message: &'a str, context: &'a str) -> Fields<'a> {
        Fields {
            fields: vec![
                (b'C', state.as_bytes().into()),
                (b'M', message.as_bytes().into()),
                (b'W', context.as_bytes().into()),
            ],
        }
    }

    #[test]
    fn an_update_is_called_a_delete_only_where_it_was_one() {
        let message = "cannot execute UPDATE in a read-only transaction";
        let mut ours = fields("25006", message, "");
        hide(&mut ours, Reply::Delete, false);
        assert_eq!(
            ours.get(b'M').unwrap(),
            b"cannot execute DELETE in a read-only transaction"
        );
        let mut theirs = fields("25006", message, "");
        hide(&mut theirs, Reply::AsIs, false);
        assert_eq!(theirs.get(b'M').unwrap(), message.as_bytes());
        // A user's own error with the same words and another code.
        let mut raised = fields("P0001", message, "");
        hide(&mut raised, Reply::Delete, false);
        assert_eq!(raised.get(b'M').unwrap(), message.as_bytes());
    }

    #[test]
    fn what_an_inner_statement_raised_keeps_its_words() {
        let keeper = "SQL statement \"UPDATE ONLY public.c SET deleted_at = now()\"\n\
                      PL/pgSQL function reprieve.follow(bigint,oid) line 9 at EXECUTE";
        let cascade = "SQL statement \"DELETE FROM ONLY \"public\".\"c\" WHERE $1 OPERATOR(pg_catalog.=) \"p\"\"";
        let within = format!("{cascade}\n{keeper}");
        let update = "could not serialize access due to concurrent update";
        let modified = "tuple to be updated was already modified";
        for (state, message, context, is_hidden) in [
            ("40001", update, "", true),
            ("40001", update, keeper, false),
            ("40001", update, &within, false),
            ("27000", modified, keeper, true),
            ("27000", modified, &within, false),
        ] {
            let mut error = fields(state, message, context);
            drop_context(&mut error);
            hide(&mut error, Reply::Delete, !context.is_empty());
            let kept = error.get(b'M') == Some(message.as_bytes());
            assert_eq!(kept, !is_hidden, "{state} {context}");
        }
    }

    #[test]
    fn only_debug_messages_of_event_triggers_are_kept_back() {
        let mut notice = fields("00000", "EventTriggerInvoke 16556", "");
        assert!(!tells_of_triggers(&notice));
        notice.set(b'R', &b"EventTriggerInvoke"[..]);
        notice.set(b'V', &b"DEBUG"[..]);
        assert!(tells_of_triggers(&notice));
        notice.set(b'V', &b"WARNING"[..]);
        assert!(!tells_of_triggers(&notice));
    }

    #[test]
    fn only_our_index_is_not_told_of() {
        let mut notice = fields("00000", "index \"a_pkey\" was reindexed", "");
        notice.set(b'R', &b"reindex_index"[..]);
        assert!(!tells_of_index(&notice));
        notice.set(
            b'M',
            &b"index \"reprieve_deletion_21973\" was reindexed"[..],
        );
        assert!(tells_of_index(&notice));
        notice.set(b'R', &b"exec_stmt_raise"[..]);
        assert!(!tells_of_index(&notice));
    }

    #[test]
    fn our_columns_are_not_proposed() {
        let mut error = fields("42703", "column \"delete_at\" does not exist", "");
        assert!(!drop_hint(&mut error));
        error.set(
            b'H',
            &b"Perhaps you meant to reference the column \"t.deleted_at\"."[..],
        );
        assert!(drop_hint(&mut error));
        assert_eq!(error.get(b'H'), None);
    }

    #[test]
    fn our_functions_leave_the_context_and_the_users_stay() {
        let mut error = fields(
            "P0001",
            "no",
            "PL/pgSQL function public.veto() line 3 at RAISE\n\
             SQL statement \"UPDATE ONLY child\n SET a = 1\"\n\
             PL/pgSQL function reprieve.follow() line 9 at EXECUTE\n\
             PL/pgSQL function public.outer() line 1 at PERFORM",
        );
        drop_context(&mut error);
        assert_eq!(
            String::from_utf8_lossy(error.get(b'W').unwrap()),
            "PL/pgSQL function public.veto() line 3 at RAISE\n\
             PL/pgSQL function public.outer() line 1 at PERFORM"
        );
        let mut only_ours = fields(
            "23503",
            "no",
            "PL/pgSQL function reprieve.check() line 9 at RAISE",
        );
        drop_context(&mut only_ours);
        assert_eq!(only_ours.get(b'W'), None);
    }
}
