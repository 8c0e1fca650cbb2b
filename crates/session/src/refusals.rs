//! Statements that the session itself does not send. The rewriter has its own.

use std::sync::Arc;

use rewrite::Refusal;
use wire::Malformed;

/// Sent in place of a refused statement. It fails in parse analysis: in a Query and in a Parse
/// alike, without a snapshot, and after the check for a failed transaction, whose own error
/// (25P02) comes first as it would for any statement. No relation, so no column can exist.
pub(crate) const FAILING_SQL: &str = "SELECT \"refused by reprieve\"";

/// What the server answers to [`FAILING_SQL`]: `undefined_column`. Any other error is its own.
pub(crate) const FAILING_SQLSTATE: &[u8] = b"42703";

fn refusal(code: &'static str, sqlstate: &'static str, message: String, hint: &str) -> Refusal {
    Refusal {
        code,
        sqlstate,
        message,
        detail: None,
        hint: (!hint.is_empty()).then(|| hint.to_owned()),
        offset: None,
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
    Arc::new(refusal("W7", "0A000", message, ""))
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

/// Two changes of the rewriter met.
pub(crate) fn conflict() -> Arc<Refusal> {
    Arc::new(refusal(
        "W6",
        "0A000",
        "the statement could not be rewritten".to_owned(),
        "",
    ))
}
