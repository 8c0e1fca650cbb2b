//! Statements that are not sent, and what the client reads instead.

use catalog::Table;

/// Why a statement was not sent. The client reads it: nothing secret in here.
/// `docs/refusals.md` is generated from [`Refusal::all_codes`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Number in `docs/refusals.md`, e.g. `R1`.
    pub code: &'static str,
    pub sqlstate: &'static str,
    pub message: String,
    pub detail: Option<String>,
    pub hint: Option<String>,
    /// Byte offset in the client's text, where one place is to blame.
    pub offset: Option<usize>,
    /// The oid of a table: the statement can be sent once rows of it are no longer marked.
    pub unmark: Option<u32>,
}

/// One kind of refusal, for `docs/refusals.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Documented {
    pub code: &'static str,
    pub sqlstate: &'static str,
    pub when: &'static str,
    pub why: &'static str,
    pub instead: &'static str,
}

const DOCUMENTED: &[Documented] = &[
    Documented {
        code: "R1",
        sqlstate: "0A000",
        when: "A statement names a soft-delete table and is not understood.",
        why: "Sent as it is, it might show deleted rows, or our columns.",
        instead: "Write it in a simpler form. If PostgreSQL accepts it, please report it.",
    },
    Documented {
        code: "R2",
        sqlstate: "0A000",
        when: "A statement is understood as a whole, but not where it names a soft-delete table.",
        why: "Sent as it is, it might show deleted rows, or our columns.",
        instead: "Write it in a simpler form. If PostgreSQL accepts it, please report it.",
    },
    Documented {
        code: "R3",
        sqlstate: "54001",
        when: "A statement that names a soft-delete table nests brackets, CASE or queries too deep.",
        why: "Reading it would need a stack without bound. PostgreSQL has such a limit too.",
        instead: "Nest less: a long list instead of nested expressions, a CTE instead of nested queries.",
    },
    Documented {
        code: "R4",
        sqlstate: "42703",
        when: "A column is named that soft delete added to the table.",
        why: "For applications it does not exist; the message is PostgreSQL's own.",
        instead: "Use the admin port to see deleted rows.",
    },
    Documented {
        code: "R5",
        sqlstate: "0A000",
        when: "A soft-delete table would have to become a subquery where none may stand.",
        why: "Deleted rows could not be hidden exactly.",
        instead: "Name the columns instead of the whole row, or write the subquery yourself.",
    },
    Documented {
        code: "R6",
        sqlstate: "0A000",
        when: "A definition (function body, rule, policy) reads a soft-delete table; or a DO block reads or writes one that is to stay marked: larger than 16 MB, in mode mark, or in use.",
        why: "The server would run it unseen, without hiding deleted rows. Of other tables a DO block ends the marking, as a function does.",
        instead: "Read the table through a view, which is rewritten when it is created; for a DO block ENABLE SOFT DELETE ON t MODE bin.",
    },
    Documented {
        code: "R7",
        sqlstate: "0A000",
        when: "INSERT without a column list into a soft-delete table to which columns were added later.",
        why: "Values would end up in our columns, which are no longer the last ones.",
        instead: "Name the columns.",
    },
    Documented {
        code: "R8",
        sqlstate: "0A000",
        when: "Names beyond ASCII must be written into a statement and client_encoding is not UTF8.",
        why: "We write UTF-8 only.",
        instead: "`SET client_encoding TO 'UTF8'`, or name the columns.",
    },
    Documented {
        code: "R9",
        sqlstate: "0A000",
        when: "client_encoding is SJIS, BIG5, GBK, UHC, GB18030 or JOHAB, and a text may name a soft-delete table.",
        why: "Where its strings end cannot be told: an ASCII byte may be part of another character.",
        instead: "`SET client_encoding TO 'UTF8'`.",
    },
    Documented {
        code: "R10",
        sqlstate: "0A000",
        when: "A Unicode escape (`U&\"...\" UESCAPE '...'`) cannot be read.",
        why: "The name that it spells may be a soft-delete table's.",
        instead: "Write the name without escapes.",
    },
    Documented {
        code: "R11",
        sqlstate: "XX000",
        when: "Two changes to one statement collide.",
        why: "A defect of Reprieve; the statement was not sent.",
        instead: "Please report the statement.",
    },
    Documented {
        code: "R12",
        sqlstate: "0A000",
        when: "One message without BEGIN changes what names mean (SET search_path, CREATE or ALTER of a table of that name), uses a soft-delete table behind that, and has COMMIT, ROLLBACK or SAVEPOINT as well.",
        why: "Such a message is sent in parts, one after the other; there it could not stay the transaction that it is.",
        instead: "Send the statements one by one; inside BEGIN and COMMIT they stay one transaction.",
    },
    Documented {
        code: "R13",
        sqlstate: "0A000",
        when: "DDL gives a column of a soft-delete table that is not empty at first (RENAME, DEFAULT) the name `deleted_at`; where there are no event triggers, any column the name of one that soft delete added, or drops that column IF EXISTS.",
        why: "The table has a column of that name, which the application cannot see.",
        instead: "Choose another name, or `ENABLE SOFT DELETE ON t MODE bin` on the admin port first: that mode adds no columns.",
    },
    Documented {
        code: "R14",
        sqlstate: "0A000",
        when: "A view, or where there are no event triggers a new table, is made with the name of a soft-delete table as a type (`NULL::t`).",
        why: "The table's row type has columns of Reprieve, and the type that stands for it elsewhere must not be built upon.",
        instead: "Name the columns, or `ENABLE SOFT DELETE ON t MODE bin` on the admin port first.",
    },
    Documented {
        code: "R15",
        sqlstate: "25006",
        when: "A statement writes, or makes a table or view of what it reads, and names a soft-delete table while `reprieve.show` is not `live`.",
        why: "Deleted rows would be changed, or be kept as if they were live.",
        instead: "`RESET reprieve.show` first. To bring rows back: UNDELETE on the admin port.",
    },
    Documented {
        code: "R16",
        sqlstate: "42501",
        when: "A soft-delete table is used while `reprieve.show` is not `live`, by a role that is no member of `reprieve_viewer`.",
        why: "Deleted rows are shown to those only to whom a DBA grants it.",
        instead: "`RESET reprieve.show`, or let a DBA `GRANT reprieve_viewer` to the role.",
    },
    Documented {
        code: "R17",
        sqlstate: "22023",
        when: "A soft-delete table is used while `reprieve.show` is none of `live`, `deleted`, `all`.",
        why: "",
        instead: "`RESET reprieve.show`.",
    },
    Documented {
        code: "V1",
        sqlstate: "42601",
        when: "Admin port: a verb is not written as it should be.",
        why: "",
        instead: "The hint shows the right form; `SHOW HELP` shows all.",
    },
    Documented {
        code: "V2",
        sqlstate: "42P01",
        when: "Admin port: SHOW DELETED FROM names a table for which soft delete is not enabled.",
        why: "",
        instead: "`SHOW TABLES` lists those that are.",
    },
    Documented {
        code: "V3",
        sqlstate: "22023",
        when: "Admin port: REQUEST DELETION asks for no rows.",
        why: "",
        instead: "Say how many rows it may take, or leave ROWS away: then as many as a PREVIEW counts.",
    },
];

impl Refusal {
    /// Every kind there is, in order of their numbers.
    pub fn all_codes() -> &'static [Documented] {
        DOCUMENTED
    }
}

impl Documented {
    /// A section of `docs/refusals.md`.
    pub fn to_markdown(&self) -> String {
        let Self {
            code,
            sqlstate,
            when,
            why,
            instead,
        } = self;
        let mut section = format!("## {code} ({sqlstate})\n\n{when}\n");
        for (label, text) in [("Why", why), ("Instead", instead)] {
            if !text.is_empty() {
                section.push_str(&format!("\n{label}: {text}\n"));
            }
        }
        section
    }
}

/// R1: what names a marked table and is not understood. `reason`: the parser's words.
pub(crate) fn unparsed(table: &str, reason: &str, offset: usize) -> Refusal {
    Refusal {
        code: "R1",
        sqlstate: "0A000",
        message: format!(
            "this statement names soft-delete table \"{table}\" and is not understood"
        ),
        detail: Some(format!(
            "Sent as it is, it might show deleted rows. Parser: {reason}"
        )),
        hint: Some(
            "Write it in a simpler form, or send it to the database without Reprieve.".into(),
        ),
        offset: Some(offset),
        unmark: None,
    }
}

/// R6 of a DO block.
pub(crate) fn block(table: &Table, offset: usize) -> Refusal {
    Refusal {
        code: "R6",
        sqlstate: "0A000",
        message: format!(
            "a DO block that reads or writes soft-delete table \"{}\" is not supported",
            table.name
        ),
        detail: Some(
            "The server would run it without hiding deleted rows, and the marking of the table cannot be ended for it.".into(),
        ),
        hint: Some(format!(
            "Use a view of the table, or let an administrator run \
             ENABLE SOFT DELETE ON {} MODE bin on the admin port first.",
            table.qualified()
        )),
        offset: Some(offset),
        unmark: Some(table.oid),
    }
}

/// R3.
pub(crate) fn too_deep(offset: usize) -> Refusal {
    Refusal {
        code: "R3",
        sqlstate: "54001",
        message: "stack depth limit exceeded".into(),
        detail: Some(
            "The statement names a soft-delete table and is nested too deep to be read.".into(),
        ),
        hint: Some("Nest fewer brackets, CASE expressions and queries.".into()),
        offset: Some(offset),
        unmark: None,
    }
}

/// R9.
pub(crate) fn unsafe_encoding() -> Refusal {
    Refusal {
        code: "R9",
        sqlstate: "0A000",
        message: "statements on soft-delete tables are not supported in this client encoding".into(),
        detail: Some("In it a byte of ASCII may be part of another character, so that strings cannot be told from names.".into()),
        hint: Some("SET client_encoding TO 'UTF8'.".into()),
        offset: None,
        unmark: None,
    }
}

/// R10.
pub(crate) fn unread_escape(offset: usize) -> Refusal {
    Refusal {
        code: "R10",
        sqlstate: "0A000",
        message: "a Unicode escape of this statement is not understood".into(),
        detail: Some("What it spells may be the name of a soft-delete table.".into()),
        hint: Some("Write the name without escapes.".into()),
        offset: Some(offset),
        unmark: None,
    }
}

/// R11.
pub(crate) fn conflict() -> Refusal {
    Refusal {
        code: "R11",
        sqlstate: "XX000",
        message: "two changes to this statement collide".into(),
        detail: Some("It was not sent. This is a defect of Reprieve.".into()),
        hint: Some("Please report the statement.".into()),
        offset: None,
        unmark: None,
    }
}

/// R12: `earlier` is where the statement begins that changes what the name at `offset` means.
pub(crate) fn after_change(offset: usize, earlier: usize) -> Refusal {
    Refusal {
        code: "R12",
        sqlstate: "0A000",
        message: "a soft-delete table cannot be used behind a change of names in the same message"
            .into(),
        detail: Some(format!(
            "The statement at byte {} may change which table is meant, or its columns.",
            earlier + 1
        )),
        hint: Some(
            "Send the statements one by one; inside BEGIN and COMMIT they stay one transaction."
                .into(),
        ),
        offset: Some(offset),
        unmark: None,
    }
}

/// V1: `form` is how the verb is written.
pub(crate) fn verb_syntax(message: String, form: &str, offset: usize) -> Refusal {
    Refusal {
        code: "V1",
        sqlstate: "42601",
        message,
        detail: None,
        hint: Some(format!("The form is: {form}")),
        offset: Some(offset),
        unmark: None,
    }
}

/// V3.
pub(crate) fn verb_value(message: String, form: &str, offset: usize) -> Refusal {
    Refusal {
        code: "V3",
        sqlstate: "22023",
        ..verb_syntax(message, form, offset)
    }
}

/// V2.
pub(crate) fn not_enabled(table: &str, offset: usize) -> Refusal {
    Refusal {
        code: "V2",
        sqlstate: "42P01",
        message: format!("soft delete is not enabled for table \"{table}\""),
        detail: None,
        hint: Some("SHOW TABLES lists the tables for which it is.".into()),
        offset: Some(offset),
        unmark: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique() {
        let mut codes: Vec<_> = DOCUMENTED.iter().map(|entry| entry.code).collect();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), DOCUMENTED.len());
    }

    #[test]
    fn every_refusal_is_documented_with_its_sqlstate() {
        let refusals = [
            unparsed("t", "x", 0),
            too_deep(0),
            unsafe_encoding(),
            unread_escape(0),
            conflict(),
            after_change(0, 0),
            verb_syntax(String::new(), "", 0),
            not_enabled("t", 0),
            verb_value(String::new(), "", 0),
        ];
        for refusal in refusals {
            let entry = DOCUMENTED
                .iter()
                .find(|entry| entry.code == refusal.code)
                .unwrap();
            assert_eq!(entry.sqlstate, refusal.sqlstate, "{}", refusal.code);
        }
    }
}
