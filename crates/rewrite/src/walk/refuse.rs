//! Refusals of the walk, in one place.

use catalog::Table;

use crate::Refusal;
use crate::lex::Tokens;

fn offset(tokens: &Tokens<'_>, index: usize) -> Option<usize> {
    tokens.get(index).map(|token| token.start as usize)
}

/// The outline of the statement was not understood here.
pub(super) fn unread(tokens: &Tokens<'_>, index: usize) -> Refusal {
    Refusal {
        code: "R2",
        sqlstate: "0A000",
        message: "this statement names a soft-delete table and could not be read with certainty"
            .into(),
        detail: Some("Sent as it is, it might show deleted rows.".into()),
        hint: Some(
            "Write it in a simpler form, or send it to the database without Reprieve.".into(),
        ),
        offset: offset(tokens, index),
        unmark: None,
    }
}

/// R15: a write, or what would keep what is read, while deleted rows are shown.
pub(super) fn shows_deleted(tokens: &Tokens<'_>, index: usize, table: &Table) -> Refusal {
    Refusal {
        code: "R15",
        sqlstate: "25006",
        message: format!(
            "cannot write or define anything with soft-delete table \"{}\" while reprieve.show is not 'live'",
            table.name
        ),
        detail: Some("Deleted rows would be changed, or be kept as if they were live.".into()),
        hint: Some("RESET reprieve.show first.".into()),
        offset: offset(tokens, index),
        unmark: None,
    }
}

/// R16.
pub(super) fn no_viewer() -> Refusal {
    Refusal {
        code: "R16",
        sqlstate: "42501",
        message: "permission denied: deleted rows are shown to members of reprieve_viewer".into(),
        detail: Some("The setting reprieve.show is not 'live'.".into()),
        hint: Some("RESET reprieve.show, or let a DBA GRANT reprieve_viewer TO this role.".into()),
        offset: None,
        unmark: None,
    }
}

/// R17.
pub(super) fn no_such_show() -> Refusal {
    Refusal {
        code: "R17",
        sqlstate: "22023",
        message: "invalid value for parameter \"reprieve.show\"".into(),
        detail: None,
        hint: Some("Available values: live, deleted, all.".into()),
        offset: None,
        unmark: None,
    }
}

/// Queries nested too deep.
pub(super) fn nested(tokens: &Tokens<'_>, index: usize) -> Refusal {
    Refusal {
        code: "R3",
        sqlstate: "54001",
        message: "stack depth limit exceeded".into(),
        detail: Some(
            "The statement names a soft-delete table and nests its queries too deep.".into(),
        ),
        hint: None,
        offset: offset(tokens, index),
        unmark: None,
    }
}

/// A name the client cannot know. PostgreSQL's own words, as if the column were not there.
pub(super) fn no_column(tokens: &Tokens<'_>, index: usize, name: &str) -> Refusal {
    undefined(tokens, index, format!("column {name} does not exist"))
}

/// The same in a list of target columns.
pub(super) fn no_target_column(
    tokens: &Tokens<'_>,
    index: usize,
    column: &str,
    table: &Table,
) -> Refusal {
    let message = format!(
        "column \"{column}\" of relation \"{}\" does not exist",
        table.name
    );
    undefined(tokens, index, message)
}

/// The same where PostgreSQL gives no place in the text.
pub(super) fn no_column_of(column: &str, table: &Table) -> Refusal {
    unplaced(format!(
        "column \"{column}\" of relation \"{}\" does not exist",
        table.name
    ))
}

/// In whichever of PostgreSQL's words, without a place in the text.
pub(super) fn unplaced(message: String) -> Refusal {
    Refusal {
        code: "R4",
        sqlstate: "42703",
        message,
        detail: None,
        hint: None,
        offset: None,
        unmark: None,
    }
}

/// The same with a place.
pub(super) fn undefined(tokens: &Tokens<'_>, index: usize, message: String) -> Refusal {
    Refusal {
        offset: offset(tokens, index),
        unmark: None,
        ..unplaced(message)
    }
}

/// A column that would bear the name of one of ours.
pub(super) fn reserved(tokens: &Tokens<'_>, index: usize, column: &str, table: &Table) -> Refusal {
    Refusal {
        code: "R13",
        sqlstate: "0A000",
        message: format!(
            "the name \"{column}\" is taken in soft-delete table \"{}\"",
            table.name
        ),
        detail: Some("Soft delete keeps a column of this name in the table, unseen.".into()),
        hint: Some(format!(
            "Choose another name, or let an administrator run \
             ENABLE SOFT DELETE ON {} MODE bin on the admin port first.",
            table.qualified()
        )),
        offset: offset(tokens, index),
        unmark: None,
    }
}

/// A table must become a subquery and cannot: `why` it must, `but` why it cannot.
pub(super) fn cannot_wrap(
    tokens: &Tokens<'_>,
    index: usize,
    table: &Table,
    why: &str,
    but: &str,
) -> Refusal {
    Refusal {
        code: "R5",
        sqlstate: "0A000",
        message: format!(
            "soft-delete table \"{}\" cannot be read this way",
            table.name
        ),
        detail: Some(format!(
            "Deleted rows cannot be hidden exactly: {why}, {but}."
        )),
        hint: Some("Name the columns instead, or put the table into a subquery.".into()),
        offset: offset(tokens, index),
        unmark: None,
    }
}

/// A definition that would read the table on the server, unseen.
pub(super) fn definition(tokens: &Tokens<'_>, index: usize, what: &str, table: &Table) -> Refusal {
    Refusal {
        code: "R6",
        sqlstate: "0A000",
        message: format!(
            "{what} that reads soft-delete table \"{}\" is not supported",
            table.name
        ),
        detail: Some("The server would run it without hiding deleted rows.".into()),
        hint: Some("Read the table through a view, which is rewritten when it is created.".into()),
        offset: offset(tokens, index),
        unmark: None,
    }
}

/// A definition that would keep the row type of a marked table, or ours in its place.
pub(super) fn kept_row(tokens: &Tokens<'_>, index: usize, table: &Table) -> Refusal {
    Refusal {
        code: "R14",
        sqlstate: "0A000",
        message: format!(
            "a definition cannot keep the row type of soft-delete table \"{}\"",
            table.name
        ),
        detail: Some("The type has columns of Reprieve.".into()),
        hint: Some(format!(
            "Name the columns, or let an administrator run \
             ENABLE SOFT DELETE ON {} MODE bin on the admin port first.",
            table.qualified()
        )),
        offset: offset(tokens, index),
        unmark: None,
    }
}

/// INSERT without a column list, of an unknown number of columns, into a table whose last columns
/// are not ours.
pub(super) fn insert_shape(tokens: &Tokens<'_>, index: usize, table: &Table) -> Refusal {
    Refusal {
        code: "R7",
        sqlstate: "0A000",
        message: format!(
            "INSERT into soft-delete table \"{}\" needs a column list here",
            table.name
        ),
        detail: Some("Columns were added to the table after soft delete was enabled.".into()),
        hint: Some("Name the columns behind the table's name.".into()),
        offset: offset(tokens, index),
        unmark: None,
    }
}

/// Text of ours cannot be written in the client's encoding.
pub(super) fn encoding(tokens: &Tokens<'_>, index: usize) -> Refusal {
    Refusal {
        code: "R8",
        sqlstate: "0A000",
        message: "a name beyond ASCII needs client_encoding UTF8 in this statement".into(),
        detail: Some("The names of the table's columns must be written into the statement.".into()),
        hint: Some("SET client_encoding TO 'UTF8', or name the columns.".into()),
        offset: offset(tokens, index),
        unmark: None,
    }
}
