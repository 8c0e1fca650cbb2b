//! What `SHOW HELP` says.

/// One verb.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HelpEntry {
    pub form: &'static str,
    pub meaning: &'static str,
}

pub(super) const UNDELETE: &str = "UNDELETE DELETION n | TRANSACTION x | FROM table [WHERE condition] | SINCE time [UNTIL time] [BY role], each with MODE m";
pub(super) const UNDELETE_DELETION: &str =
    "UNDELETE DELETION n [MODE nocascade | cascade | nonconflict_only]";
pub(super) const UNDELETE_TRANSACTION: &str = "UNDELETE TRANSACTION x [MODE m]";
pub(super) const UNDELETE_FROM: &str = "UNDELETE FROM table [MODE m] [WHERE condition]";
pub(super) const UNDELETE_SINCE: &str = "UNDELETE SINCE time [UNTIL time] [BY role] [MODE m]";
pub(super) const UNDO: &str = "UNDO UNDELETE n | DELETION n [MODE nocascade | nonconflict_only]";
pub(super) const SHOW_UNDELETES: &str = "SHOW UNDELETES";
pub(super) const SHOW_DELETIONS: &str = "SHOW DELETIONS [WHERE condition] [LIMIT n]";
pub(super) const SHOW_TABLES: &str = "SHOW TABLES";
pub(super) const SHOW_DELETED: &str = "SHOW DELETED FROM table [WHERE condition]";
pub(super) const ENABLE: &str = "ENABLE SOFT DELETE ON table [MODE mark | bin | auto]";
pub(super) const DISABLE: &str = "DISABLE SOFT DELETE ON table";
pub(super) const CHECK: &str = "CHECK INTEGRITY";

/// Every verb of the admin port.
pub const HELP: &[HelpEntry] = &[
    HelpEntry {
        form: UNDELETE_DELETION,
        meaning: "restore what one statement deleted, or none of it; cascade: with deleted parents; nonconflict_only: what can come back",
    },
    HelpEntry {
        form: UNDELETE_TRANSACTION,
        meaning: "restore what one transaction deleted; x is its id (xid8)",
    },
    HelpEntry {
        form: UNDELETE_FROM,
        meaning: "restore deleted rows of one table; MODE cascade: and their parents, and what went with them",
    },
    HelpEntry {
        form: UNDELETE_SINCE,
        meaning: "restore what was deleted in a span of time",
    },
    HelpEntry {
        form: UNDO,
        meaning: "delete again exactly what an undelete (of a deletion: the last one) brought back",
    },
    HelpEntry {
        form: SHOW_UNDELETES,
        meaning: "what was restored, newest first",
    },
    HelpEntry {
        form: SHOW_DELETIONS,
        meaning: "the ledger, newest first",
    },
    HelpEntry {
        form: SHOW_DELETED,
        meaning: "deleted rows of a table, wherever they lie",
    },
    HelpEntry {
        form: SHOW_TABLES,
        meaning: "tables under soft delete, with mode and counts",
    },
    HelpEntry {
        form: ENABLE,
        meaning: "put a table under soft delete",
    },
    HelpEntry {
        form: DISABLE,
        meaning: "end it; deleted rows stay restorable",
    },
    HelpEntry {
        form: CHECK,
        meaning: "hold rows, graveyard and ledger against one another",
    },
    HelpEntry {
        form: "SHOW CLIENTS",
        meaning: "who is connected",
    },
    HelpEntry {
        form: "SHOW STATS",
        meaning: "counters of this proxy",
    },
    HelpEntry {
        form: "SHOW VERSION",
        meaning: "versions of proxy and keeper",
    },
    HelpEntry {
        form: "SHOW HELP",
        meaning: "this list",
    },
];
