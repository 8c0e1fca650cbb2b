//! Names as PostgreSQL compares and prints them.

use std::fmt;

/// Identifiers are cut to this many bytes (`NAMEDATALEN - 1`), on a character boundary.
pub const IDENTIFIER_BYTES_MAX: usize = 63;

/// A relation's schema and name, both already folded: equal here means the same relation.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct QualifiedName {
    pub schema: String,
    pub name: String,
}

impl QualifiedName {
    pub fn new(schema: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            schema: schema.into(),
            name: name.into(),
        }
    }
}

/// Prints the name quoted where it must be, as `format('%I.%I')` would.
impl fmt::Display for QualifiedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}.{}",
            quote_identifier(&self.schema),
            quote_identifier(&self.name)
        )
    }
}

/// The name PostgreSQL looks up for an unquoted identifier: ASCII letters lowered (`scansup.c`,
/// multi-byte encodings leave other letters alone), then cut to 63 bytes.
pub fn fold_identifier(raw: &str) -> String {
    let mut name = raw.to_ascii_lowercase();
    truncate_identifier(&mut name);
    name
}

/// Cuts a name to 63 bytes without splitting a character.
pub fn truncate_identifier(name: &mut String) {
    if name.len() > IDENTIFIER_BYTES_MAX {
        let mut end = IDENTIFIER_BYTES_MAX;
        while !name.is_char_boundary(end) {
            end -= 1;
        }
        name.truncate(end);
    }
}

/// Quotes always: the caller writes into SQL whose keyword list it does not know.
pub fn quote_identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A literal that reads the same whatever `standard_conforming_strings` says.
pub fn quote_literal(text: &str) -> String {
    format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folding_lowers_ascii_only_and_cuts_on_a_character() {
        assert_eq!(fold_identifier("OrdÉRS"), "ordÉrs");
        let long = format!("{}é", "a".repeat(62));
        assert_eq!(fold_identifier(&long), "a".repeat(62));
    }

    #[test]
    fn quoting_survives_both_string_settings() {
        assert_eq!(quote_literal(r"it's \ here"), r"E'it''s \\ here'");
        assert_eq!(quote_identifier("a\"b"), "\"a\"\"b\"");
    }
}
