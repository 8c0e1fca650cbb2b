//! Insertions and replacements on the client's bytes.

/// Replaces `start..end` of the client's text (`start == end`: an insertion).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    pub start: usize,
    pub end: usize,
    pub text: String,
}

/// Disjoint edits in order of their place.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Edits {
    edits: Vec<Edit>,
}
