//! What PostgreSQL's keywords mean for a token next to them.

/// True if an operand or a prefix operator follows this keyword, never a binary operator.
/// `word` in lower case.
pub(crate) fn expects_operand(word: &str) -> bool {
    EXPECTS_OPERAND.binary_search(&word).is_ok()
}

/// Sorted.
const EXPECTS_OPERAND: &[&str] = &[
    "all",
    "and",
    "any",
    "as",
    "asymmetric",
    "between",
    "both",
    "by",
    "case",
    "check",
    "distinct",
    "else",
    "escape",
    "except",
    "filter",
    "for",
    "from",
    "having",
    "ilike",
    "in",
    "intersect",
    "leading",
    "like",
    "limit",
    "not",
    "offset",
    "on",
    "or",
    "returning",
    "select",
    "set",
    "similar",
    "some",
    "symmetric",
    "then",
    "to",
    "trailing",
    "union",
    "using",
    "values",
    "variadic",
    "when",
    "where",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_sorted() {
        assert!(EXPECTS_OPERAND.is_sorted());
    }
}
