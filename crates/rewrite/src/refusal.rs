//! Statements that are not sent, and what the client reads instead.

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
}
