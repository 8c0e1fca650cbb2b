//! A copy of a statement's tokens that sqlparser can read.
//!
//! As no tree is ever printed, syntax that sqlparser lacks is dropped or replaced here. Every token
//! keeps the index of the client's token that it is or stands for. **Nothing is dropped that may
//! hold the name of a relation or a subquery**: each rule says why it is safe.

mod token;

use std::ops::Range;

use sqlparser::tokenizer::TokenWithSpan;

use crate::lex::Tokens;

/// What the tree does not show because it was dropped or replaced.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Normalised {
    /// `WHERE CURRENT OF cursor`, from `CURRENT` to the cursor's name; the tree has `WHERE NULL`.
    pub where_current_of: Option<Range<usize>>,
    /// Indexes of `TABLE` in `TABLE t`; the tree has `SELECT * FROM t`, all of whose tokens up to
    /// the name bear this index.
    pub table_commands: Vec<usize>,
}

/// The tokens of a statement for sqlparser.
pub(crate) fn normalise(
    tokens: &Tokens<'_>,
    range: Range<usize>,
) -> (Vec<TokenWithSpan>, Normalised) {
    let stream = token::translate(tokens, range);
    (stream, Normalised::default())
}
