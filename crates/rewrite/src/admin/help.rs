//! What `SHOW HELP` says.

/// One verb.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HelpEntry {
    pub form: &'static str,
    pub meaning: &'static str,
}

pub(super) const UNDELETE: &str = "UNDELETE DELETION n | TRANSACTION x | FROM table [WHERE condition] | SINCE time [UNTIL time] [BY role], each with MODE m";
pub(super) const UNDELETE_DELETION: &str =
    "UNDELETE DELETION n [MODE nocascade | cascade | nonconflict_only | replace | force]";
pub(super) const UNDELETE_TRANSACTION: &str = "UNDELETE TRANSACTION x [MODE m]";
pub(super) const UNDELETE_FROM: &str = "UNDELETE FROM table [MODE m] [WHERE condition]";
pub(super) const UNDELETE_SINCE: &str = "UNDELETE SINCE time [UNTIL time] [BY role] [MODE m]";
pub(super) const UNDO: &str = "UNDO UNDELETE n | DELETION n [MODE nocascade | nonconflict_only]";
pub(super) const SHOW_UNDELETES: &str = "SHOW UNDELETES";
pub(super) const SHOW_DELETIONS: &str = "SHOW DELETIONS [PER TABLE] [FROM table] [SINCE time] [UNTIL time] [BY role] [WHERE condition] [LIMIT n]";
pub(super) const PREVIEW: &str = "PREVIEW DELETE FROM table [WHERE condition] | UNDELETE ...";
pub(super) const PREVIEW_DELETE: &str = "PREVIEW DELETE FROM [ONLY] table [AS alias] [USING list] [WHERE condition] [FORMAT table | tree | dot | mermaid]";
const PREVIEW_UNDELETE: &str = "PREVIEW UNDELETE DELETION n | TRANSACTION x | FROM table [WHERE condition] | SINCE time [UNTIL time] [BY role], each with MODE m";
pub(super) const REHEARSE: &str = "REHEARSE UNDELETE DELETION n | TRANSACTION x | FROM table [WHERE condition] | SINCE time [UNTIL time] [BY role], each with MODE m";
pub(super) const PURGE: &str = "PURGE [DRY RUN] [TABLE table | DELETION n] [BEFORE time | OLDER THAN interval] [LIMIT rows] | PURGE BACKGROUND ON | OFF | PURGE EXPORT TO 'directory' | OFF";
pub(super) const RETAIN: &str = "RETAIN TABLE table FOR interval | [FOR] FOREVER | [FOR] DEFAULT";
pub(super) const HOLD: &str = "HOLD DELETION n | TABLE table [REASON text]";
pub(super) const RELEASE: &str = "RELEASE DELETION n | TABLE table";
pub(super) const ERASE: &str = "ERASE SUBJECT FROM table WHERE condition [MENTIONING text, ...]";
pub(super) const WATCH: &str = "WATCH TABLE table AT n PERCENT | NEVER | DEFAULT";
pub(super) const SHOW_ROWS: &str = "SHOW ROWS [FROM table] [SINCE time] [LIMIT n]";
pub(super) const GUARD: &str = "GUARD TABLE table | ALL TABLES [MAX ROWS n | NONE] [MAX SHARE p PERCENT | NONE] [NO WHERE REFUSE | ALLOW] [TRUNCATE REFUSE | ALLOW] [DROP REFUSE | ALLOW] [PER STATEMENT | TRANSACTION] [FOR role] [WAIT interval]";
pub(super) const UNGUARD: &str =
    "UNGUARD TABLE table | ALL TABLES [PER STATEMENT | TRANSACTION] [FOR role]";
pub(super) const BUDGET: &str =
    "BUDGET FOR role n ROWS PER interval [TABLES n] [WAIT interval] | BUDGET FOR role NONE";
pub(super) const REQUEST: &str = "REQUEST DELETION FROM table [WHERE condition] [ROWS n] [FOR role] [WITHIN interval] [REASON text]";
pub(super) const APPROVE: &str = "APPROVE DELETION REQUEST n";
pub(super) const DENY: &str = "DENY DELETION REQUEST n";
pub(super) const SEAL: &str = "SEAL LEDGER | SEAL BACKGROUND ON | OFF";
pub(super) const EXPORT: &str = "EXPORT DELETIONS [SINCE time] [UNTIL time]";
pub(super) const SHOW_TABLES: &str = "SHOW TABLES";
pub(super) const SHOW_DELETED: &str = "SHOW DELETED FROM table [WHERE condition]";
pub(super) const ENABLE: &str = "ENABLE SOFT DELETE ON table [MODE mark | bin | auto]";
pub(super) const DISABLE: &str = "DISABLE SOFT DELETE ON table";
pub(super) const CHECK: &str = "CHECK INTEGRITY";

/// Every verb of the admin port, and what is none.
pub const HELP: &[HelpEntry] = &[
    HelpEntry {
        form: UNDELETE_DELETION,
        meaning: "restore what one statement deleted, or none of it; cascade: with deleted parents; nonconflict_only: what can come back; replace: live rows that hold its keys are deleted first; force: all of that",
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
        form: PREVIEW_DELETE,
        meaning: "what a DELETE would take, change and run into; EXPLAIN DELETION FROM ... is the same",
    },
    HelpEntry {
        form: PREVIEW_UNDELETE,
        meaning: "what an UNDELETE would bring back, and each row that cannot come back",
    },
    HelpEntry {
        form: REHEARSE,
        meaning: "the UNDELETE itself, taken back; how long it took is kept",
    },
    HelpEntry {
        form: "SHOW REHEARSALS",
        meaning: "rehearsed undeletes, the last first",
    },
    HelpEntry {
        form: PURGE,
        meaning: "let go of deleted rows whose time is over, a limited number with each call; DRY RUN counts them",
    },
    HelpEntry {
        form: RETAIN,
        meaning: "how long deleted rows of a table are kept, 90 days by default",
    },
    HelpEntry {
        form: "SHOW RETENTION",
        meaning: "how long each table's deleted rows are kept, and the oldest of them",
    },
    HelpEntry {
        form: HOLD,
        meaning: "keep deleted rows from PURGE and ERASE SUBJECT, until RELEASE",
    },
    HelpEntry {
        form: RELEASE,
        meaning: "end a hold",
    },
    HelpEntry {
        form: "SHOW HOLDS",
        meaning: "what is held, by whom and why",
    },
    HelpEntry {
        form: ERASE,
        meaning: "erase rows and what hangs on them for good: live, deleted, and in the ledger",
    },
    HelpEntry {
        form: "SHOW RECEIPTS",
        meaning: "what was purged and erased, without what it was",
    },
    HelpEntry {
        form: "SHOW HEALTH",
        meaning: "what is wrong, where, since when, how bad, and what to do; nothing: all is well",
    },
    HelpEntry {
        form: SHOW_ROWS,
        meaning: "rows of each table over time, newest first",
    },
    HelpEntry {
        form: WATCH,
        meaning: "how much of a table may be deleted within the monitor's window before it is a finding",
    },
    HelpEntry {
        form: GUARD,
        meaning: "how much one statement or transaction may delete; what is over it fails with RV001",
    },
    HelpEntry {
        form: UNGUARD,
        meaning: "end a guard",
    },
    HelpEntry {
        form: "SHOW GUARDS",
        meaning: "what is guarded, and who set it",
    },
    HelpEntry {
        form: BUDGET,
        meaning: "how much a role may delete within a span of time",
    },
    HelpEntry {
        form: "SHOW BUDGETS",
        meaning: "budgets, and what is left of each",
    },
    HelpEntry {
        form: REQUEST,
        meaning: "ask for a deletion that a guard or a budget holds",
    },
    HelpEntry {
        form: APPROVE,
        meaning: "let it through, once; not for who asked, nor for who may use it",
    },
    HelpEntry {
        form: DENY,
        meaning: "do not, or not any more",
    },
    HelpEntry {
        form: "SHOW REQUESTS",
        meaning: "requests and what became of them, and sessions that wait for one",
    },
    HelpEntry {
        form: SEAL,
        meaning: "seal what was deleted since the last seal; CHECK INTEGRITY finds what was changed behind it",
    },
    HelpEntry {
        form: "SHOW SEALS",
        meaning: "the chain of seals, newest first",
    },
    HelpEntry {
        form: EXPORT,
        meaning: "the ledger as JSON, one deletion a line",
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
        form: "SHOW HELP | HELP",
        meaning: "this list",
    },
    HelpEntry {
        form: "any other SQL",
        meaning: "runs as it is, deleted rows visible; BEGIN ... ROLLBACK around a verb is a dry run",
    },
];
