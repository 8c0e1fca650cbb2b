//! Statements that the session itself does not send, and the manual of all refusals: the rewriter
//! has its own.

use std::sync::Arc;

use rewrite::{Documented, Refusal};
use wire::Malformed;

/// Sent in place of a refused statement. It fails in parse analysis: in a Query and in a Parse
/// alike, without a snapshot, and after the check for a failed transaction, whose own error
/// (25P02) comes first as it would for any statement. No relation, so no column can exist.
pub(crate) const FAILING_SQL: &str = "SELECT \"refused by reprieve\"";

/// What the server answers to [`FAILING_SQL`]: `undefined_column`. Any other error is its own.
pub(crate) const FAILING_SQLSTATE: &[u8] = b"42703";

pub(crate) const RESULT_TYPE_CHANGED: &str = "W7";

/// One entry per number, for `docs/refusals.md`.
const DOCUMENTED: &[Documented] = &[
    Documented {
        code: "W1",
        sqlstate: "08P01",
        when: "A message is not what the protocol says it is.",
        why: "The words are PostgreSQL's own.",
        instead: "",
    },
    Documented {
        code: "W2",
        sqlstate: "54000",
        when: "A statement is longer than 64 MiB and some table has soft delete.",
        why: "Each statement must be read as a whole.",
        instead: "Send large values as parameters or by COPY.",
    },
    Documented {
        code: "W3",
        sqlstate: "53400",
        when: "One connection keeps more than 64 MiB of prepared statements and portals.",
        why: "They are kept to be prepared anew when tables change.",
        instead: "Close those that are not used any more.",
    },
    Documented {
        code: "W4",
        sqlstate: "57P03",
        when: "The catalog of the database cannot be read: the keeper's connection is down for longer than its lease.",
        why: "Nobody would know which tables have soft delete.",
        instead: "Try again in a moment; `/readyz` and the log say what is wrong.",
    },
    Documented {
        code: "W5",
        sqlstate: "0A000",
        when: "A Query behind messages of the extended protocol without a Sync ends a transaction that changed settings or the schema, and then uses a soft-delete table.",
        why: "What its name means behind the end is not known before the message runs, and such a message cannot be sent in parts.",
        instead: "Send the statements separately.",
    },
    Documented {
        code: "W6",
        sqlstate: "0A000",
        when: "Two changes to one statement collide, or a verb comes in a failed transaction.",
        why: "The first is a defect of Reprieve; the statement was not sent.",
        instead: "Please report the statement; end the failed transaction.",
    },
    Documented {
        code: RESULT_TYPE_CHANGED,
        sqlstate: "0A000",
        when: "A prepared statement with a `*` is used after its table got other columns.",
        why: "PostgreSQL says the same, in the same words; drivers know it.",
        instead: "Prepare the statement again.",
    },
    Documented {
        code: "W8",
        sqlstate: "42501",
        when: "A statement or a startup option sets a setting `reprieve.*` that is the keeper's.",
        why: "The keeper keeps its books of the open deletion in them.",
        instead: "Applications set `reprieve.actor`, `reprieve.reason`, `reprieve.max_rows`, `reprieve.show` and `reprieve.truncate`.",
    },
    Documented {
        code: "W9",
        sqlstate: "42501",
        when: "A role that is no member of `reprieve_viewer` sets `reprieve.show` to `deleted` or `all`.",
        why: "Deleted rows are shown to those only to whom a DBA grants it.",
        instead: "`GRANT reprieve_viewer TO app`, or `RESET reprieve.show`.",
    },
    Documented {
        code: "W10",
        sqlstate: "0A000",
        when: "A session sets `session_replication_role` to `replica`, and tables are marked.",
        why: "No trigger of ours would fire: a new row could meet a deleted one with its key, an upsert could write into it, and a deletion would be in no ledger.",
        instead: "Connect to the database without Reprieve; there deletes of that session are for good. `ALTER TABLE ... DISABLE TRIGGER ALL` is followed.",
    },
    Documented {
        code: "W11",
        sqlstate: "0A000",
        when: "`query_to_xml()`, `table_to_xml()`, `schema_to_xml()` and the like, `ts_stat()`, `ts_rewrite()`, `crosstab()`, `xpath_table()` or `connectby()` is given text that names a marked table, or that is computed.",
        why: "The server runs that text as it is: deleted rows and our columns would show.",
        instead: "Give it a literal that names no marked table, or a view of the table; or write the query itself.",
    },
    Documented {
        code: "W12",
        sqlstate: "40001",
        when: "A transaction above READ COMMITTED goes on behind the end of a table's marking (DISABLE, a trigger, a function or a DO block that names it).",
        why: "Its snapshot still shows the rows that were deleted before, and no column tells them from others any more.",
        instead: "Try the transaction again, as after any 40001.",
    },
];

/// `docs/refusals.md`: everything that is not sent, of the rewriter and of the session.
pub fn manual() -> String {
    let mut manual = String::from(
        "# Refusals\n\n\
         <!-- Generated from the refusals of crates/rewrite and crates/session;\n     \
         `UPDATE_EXPECT=1 cargo test -p session` writes it. -->\n\n\
         Reprieve sends no statement whose answer would differ from a real delete's. It refuses\n\
         it instead: an ordinary PostgreSQL error, with what to do in the hint. The transaction\n\
         fails as it would with any other error. What PostgreSQL itself would not take (a syntax\n\
         error, a missing column) fails with PostgreSQL's own error.\n\
         \n\
         The log says `statement refused` for each, at level info, with the client's address, the\n\
         database, the number below and, of the app port, the message; `reprieve_refusals_total`\n\
         counts them.\n",
    );
    for entry in Refusal::all_codes().iter().chain(DOCUMENTED) {
        manual.push('\n');
        manual.push_str(&entry.to_markdown());
    }
    manual
}

fn refusal(code: &'static str, sqlstate: &'static str, message: String, hint: &str) -> Refusal {
    Refusal {
        code,
        sqlstate,
        message,
        detail: None,
        hint: (!hint.is_empty()).then(|| hint.to_owned()),
        offset: None,
        unmark: None,
    }
}

pub(crate) fn malformed(malformed: &Malformed) -> Arc<Refusal> {
    let message = match malformed {
        Malformed::Unterminated => "invalid string in message".to_owned(),
        Malformed::Trailing(_) => "invalid message format".to_owned(),
        Malformed::Short => "insufficient data left in message".to_owned(),
        other => other.to_string(),
    };
    Arc::new(refusal("W1", Malformed::SQLSTATE, message, ""))
}

/// Describe and Close of neither a statement nor a portal, in the words of PostgreSQL.
pub(crate) fn malformed_target(verb: &str, why: &Malformed, subtype: Option<u8>) -> Arc<Refusal> {
    match (why, subtype) {
        (Malformed::Field(_), Some(subtype)) => {
            let message = format!("invalid {verb} message subtype {subtype}");
            Arc::new(refusal("W1", Malformed::SQLSTATE, message, ""))
        }
        _ => malformed(why),
    }
}

/// As PostgreSQL says it of a prepared `SELECT *` whose table has other columns now. Drivers know
/// it: they prepare anew.
pub(crate) fn result_type_changed() -> Arc<Refusal> {
    let message = "cached plan must not change result type".to_owned();
    Arc::new(refusal(RESULT_TYPE_CHANGED, "0A000", message, ""))
}

pub(crate) fn too_long(bytes: usize, bytes_max: usize) -> Arc<Refusal> {
    let message = format!(
        "statement of {bytes} bytes is longer than {bytes_max} bytes, which soft delete can read"
    );
    Arc::new(refusal(
        "W2",
        "54000",
        message,
        "Send large values as parameters or by COPY.",
    ))
}

pub(crate) fn too_many_statements() -> Arc<Refusal> {
    Arc::new(refusal(
        "W3",
        "53400",
        "too many prepared statements and portals in this connection".to_owned(),
        "Close those that are not used any more.",
    ))
}

pub(crate) fn catalog_unavailable(why: &str) -> Arc<Refusal> {
    Arc::new(refusal(
        "W4",
        "57P03",
        format!("the catalog of the soft-delete proxy is not available: {why}"),
        "Try again in a moment.",
    ))
}

/// In one message the transaction ends, whose settings or temporary tables may be gone with it, and
/// a name follows.
pub(crate) fn behind_transaction_end() -> Arc<Refusal> {
    Arc::new(refusal(
        "W5",
        "0A000",
        "a statement on a table with soft delete follows the end of a transaction in the same message"
            .to_owned(),
        "Send the statements separately.",
    ))
}

pub(crate) const SETTINGS_HINT: &str = "Applications may set reprieve.actor, reprieve.reason, reprieve.max_rows, reprieve.show and reprieve.truncate.";

pub(crate) fn forged_message(name: &str) -> String {
    format!("permission denied to set parameter \"{name}\"")
}

/// A setting that is the keeper's, at this byte of the text.
pub(crate) fn forged_setting(name: &str, offset: usize) -> Arc<Refusal> {
    let message = forged_message(name);
    Arc::new(Refusal {
        offset: Some(offset),
        ..refusal("W8", "42501", message, SETTINGS_HINT)
    })
}

/// The role may not be shown deleted rows.
pub(crate) fn no_viewer(offset: usize) -> Arc<Refusal> {
    Arc::new(Refusal {
        offset: Some(offset),
        ..refusal(
            "W9",
            "42501",
            "permission denied to set parameter \"reprieve.show\"".to_owned(),
            "It is for members of role reprieve_viewer: let a DBA GRANT reprieve_viewer TO this role.",
        )
    })
}

/// Our triggers would not fire: a write could end up in a deleted row.
pub(crate) fn without_triggers(offset: usize) -> Arc<Refusal> {
    Arc::new(Refusal {
        offset: Some(offset),
        ..refusal(
            "W10",
            "0A000",
            "session_replication_role cannot be replica while tables have soft delete".to_owned(),
            "Connect to the database without Reprieve for this; there deletes of that session are for good.",
        )
    })
}

/// A function would run text that nobody has rewritten.
pub(crate) fn runs_text(function: &str, offset: usize) -> Arc<Refusal> {
    Arc::new(Refusal {
        offset: Some(offset),
        ..refusal(
            "W11",
            "0A000",
            format!("function {function}() runs text that may read tables with soft delete"),
            "Give it a literal that names no such table, or a view of the table; or write the query itself.",
        )
    })
}

/// The transaction's snapshot shows rows that were deleted, and no column tells them from others any more.
pub(crate) fn outlived(table: &str) -> Arc<Refusal> {
    Arc::new(Refusal {
        detail: Some(format!(
            "Rows of \"{table}\" were marked when this transaction began, and are not any more: it would see rows that were deleted before."
        )),
        ..refusal(
            "W12",
            "40001",
            "could not serialize access due to concurrent update".to_owned(),
            "The transaction might succeed if retried.",
        )
    })
}

/// Two changes of the rewriter met.
pub(crate) fn conflict() -> Arc<Refusal> {
    Arc::new(refusal(
        "W6",
        "0A000",
        "the statement could not be rewritten".to_owned(),
        "",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_is_documented_with_its_sqlstate() {
        let refusals = [
            malformed(&Malformed::Short),
            too_long(2, 1),
            too_many_statements(),
            catalog_unavailable(""),
            behind_transaction_end(),
            conflict(),
            result_type_changed(),
            forged_setting("reprieve.role", 0),
            no_viewer(0),
            without_triggers(0),
            runs_text("query_to_xml", 0),
            outlived("t"),
        ];
        assert_eq!(refusals.len(), DOCUMENTED.len());
        for refusal in refusals {
            let entry = DOCUMENTED
                .iter()
                .find(|entry| entry.code == refusal.code)
                .unwrap();
            assert_eq!(entry.sqlstate, refusal.sqlstate, "{}", refusal.code);
        }
    }

    #[test]
    fn the_manual_is_up_to_date() {
        expect_test::expect_file!["../../../docs/refusals.md"].assert_eq(&manual());
    }
}
