//! What to send and how to read what comes back.

use std::ops::Range;

use catalog::Generation;

use crate::Edits;

/// What to do with one query text (which may hold several statements).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Empty: send the client's own bytes.
    pub edits: Edits,
    /// In order; empty statements (`;;`) left out, as the server sends no reply of their own.
    pub statements: Vec<Statement>,
    pub generation: Generation,
    /// True if a name in it was looked up by the search path: the plan holds for that path only.
    pub depends_on_scope: bool,
    /// True if a type of the keeper's stands in for the row type of a marked table.
    pub names_row_types: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// Bytes of the client's text, without the semicolon.
    pub range: Range<usize>,
    pub reply: Reply,
    pub effect: Effect,
}

/// How replies to a statement are translated on their way back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reply {
    #[default]
    AsIs,
    /// Ours is an UPDATE, the client's a DELETE: tag `UPDATE n` becomes `DELETE n`, and messages
    /// that betray the UPDATE are put right.
    Delete,
    /// Part of the statement is a DELETE sent as UPDATE (CTE, MERGE): messages only.
    Messages,
}

/// What a statement changes that the session must follow. Known from its first words.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Effect {
    #[default]
    None,
    /// BEGIN, START TRANSACTION.
    Begin,
    /// COMMIT, ROLLBACK (not TO SAVEPOINT), END, ABORT, PREPARE TRANSACTION.
    End,
    /// ROLLBACK TO SAVEPOINT: settings and temporary tables may be others again.
    RollbackTo,
    /// SET, RESET, DISCARD, SET ROLE, SET SESSION AUTHORIZATION, set_config(): names may resolve
    /// differently from here on, or strings read differently.
    Settings,
    /// CREATE, ALTER, DROP, TRUNCATE, GRANT, REVOKE, IMPORT, SELECT INTO, DO, CALL: the catalog may
    /// have changed.
    Ddl,
    /// PREPARE name AS ...: EXECUTE of it is answered like this.
    Prepare {
        name: String,
        reply: Reply,
    },
    Execute {
        name: String,
    },
    /// `None`: DEALLOCATE ALL.
    Deallocate {
        name: Option<String>,
    },
}
