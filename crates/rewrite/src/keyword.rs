//! PostgreSQL's keywords: what a word may be, and what it means for the token next to it.

/// Where a keyword may be a name (`kwlist.h`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Category {
    /// Any name.
    Unreserved,
    /// A column or table, no function or type.
    ColumnName,
    /// A function or type, no column or table.
    TypeFunction,
    /// A label behind AS only.
    Reserved,
}

/// `None`: no keyword. `word` in lower case.
pub(crate) fn category(word: &str) -> Option<Category> {
    let find = |list: &[&str]| list.binary_search(&word).is_ok();
    if find(RESERVED) {
        Some(Category::Reserved)
    } else if find(UNRESERVED) {
        Some(Category::Unreserved)
    } else if find(COLUMN_NAME) {
        Some(Category::ColumnName)
    } else if find(TYPE_FUNCTION) {
        Some(Category::TypeFunction)
    } else {
        None
    }
}

/// A name as PostgreSQL prints it: in quotes where it could not be read without them (`quote_identifier` in ruleutils.c).
pub fn printed_identifier(name: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    let safe = !name.starts_with(|first: char| first.is_ascii_digit())
        && name.bytes().all(is_plain)
        && matches!(category(name), None | Some(Category::Unreserved));
    match safe {
        true => name.into(),
        false => catalog::quote_identifier(name),
    }
}

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

// Sorted. PostgreSQL 15, and what 16 to 18 added.

#[rustfmt::skip]
const UNRESERVED: &[&str] = &[
    "abort", "absent", "absolute", "access", "action", "add", "admin", "after", "aggregate",
    "also", "alter", "always", "asensitive", "assertion", "assignment", "at", "atomic", "attach",
    "attribute", "backward", "before", "begin", "breadth", "by", "cache", "call", "called",
    "cascade", "cascaded", "catalog", "chain", "characteristics", "checkpoint", "class", "close",
    "cluster", "columns", "comment", "comments", "commit", "committed", "compression",
    "conditional", "configuration", "conflict", "connection", "constraints", "content",
    "continue", "conversion", "copy", "cost", "csv", "cube", "current", "cursor", "cycle", "data",
    "database", "day", "deallocate", "declare", "defaults", "deferred", "definer", "delete",
    "delimiter", "delimiters", "depends", "depth", "detach", "dictionary", "disable", "discard",
    "document", "domain", "double", "drop", "each", "empty", "enable", "encoding", "encrypted",
    "enforced", "enum", "error", "escape", "event", "exclude", "excluding", "exclusive",
    "execute", "explain", "expression", "extension", "external", "family", "filter", "finalize",
    "first", "following", "force", "format", "forward", "function", "functions", "generated",
    "global", "granted", "groups", "handler", "header", "hold", "hour", "identity", "if",
    "immediate", "immutable", "implicit", "import", "include", "including", "increment", "indent",
    "index", "indexes", "inherit", "inherits", "inline", "input", "insensitive", "insert",
    "instead", "invoker", "isolation", "keep", "key", "keys", "label", "language", "large",
    "last", "leakproof", "level", "listen", "load", "local", "location", "lock", "locked",
    "logged", "mapping", "match", "matched", "materialized", "maxvalue", "merge", "method",
    "minute", "minvalue", "mode", "month", "move", "name", "names", "nested", "new", "next",
    "nfc", "nfd", "nfkc", "nfkd", "no", "normalized", "nothing", "notify", "nowait", "nulls",
    "object", "objects", "of", "off", "oids", "old", "omit", "operator", "option", "options",
    "ordinality", "others", "over", "overriding", "owned", "owner", "parallel", "parameter",
    "parser", "partial", "partition", "passing", "password", "path", "plan", "plans", "policy",
    "preceding", "prepare", "prepared", "preserve", "prior", "privileges", "procedural",
    "procedure", "procedures", "program", "publication", "quote", "quotes", "range", "read",
    "reassign", "recheck", "recursive", "ref", "referencing", "refresh", "reindex", "relative",
    "release", "rename", "repeatable", "replace", "replica", "reset", "restart", "restrict",
    "return", "returns", "revoke", "role", "rollback", "rollup", "routine", "routines", "rows",
    "rule", "savepoint", "scalar", "schema", "schemas", "scroll", "search", "second", "security",
    "sequence", "sequences", "serializable", "server", "session", "set", "sets", "share", "show",
    "simple", "skip", "snapshot", "source", "sql", "stable", "standalone", "start", "statement",
    "statistics", "stdin", "stdout", "storage", "stored", "strict", "string", "strip",
    "subscription", "support", "sysid", "system", "tables", "tablespace", "target", "temp",
    "template", "temporary", "text", "ties", "transaction", "transform", "trigger", "truncate",
    "trusted", "type", "types", "uescape", "unbounded", "uncommitted", "unconditional",
    "unencrypted", "unknown", "unlisten", "unlogged", "until", "update", "vacuum", "valid",
    "validate", "validator", "value", "varying", "version", "view", "views", "virtual",
    "volatile", "whitespace", "within", "without", "work", "wrapper", "write", "xml", "year",
    "yes", "zone",
];

#[rustfmt::skip]
const COLUMN_NAME: &[&str] = &[
    "between", "bigint", "bit", "boolean", "char", "character", "coalesce", "dec", "decimal",
    "exists", "extract", "float", "greatest", "grouping", "inout", "int", "integer", "interval",
    "json", "json_array", "json_arrayagg", "json_exists", "json_object", "json_objectagg",
    "json_query", "json_scalar", "json_serialize", "json_table", "json_value", "least",
    "merge_action", "national", "nchar", "none", "normalize", "nullif", "numeric", "out",
    "overlay", "position", "precision", "real", "row", "setof", "smallint", "substring", "time",
    "timestamp", "treat", "trim", "values", "varchar", "xmlattributes", "xmlconcat", "xmlelement",
    "xmlexists", "xmlforest", "xmlnamespaces", "xmlparse", "xmlpi", "xmlroot", "xmlserialize",
    "xmltable",
];

#[rustfmt::skip]
const TYPE_FUNCTION: &[&str] = &[
    "authorization", "binary", "collation", "concurrently", "cross", "current_schema", "freeze",
    "full", "ilike", "inner", "is", "isnull", "join", "left", "like", "natural", "notnull",
    "outer", "overlaps", "right", "similar", "tablesample", "verbose",
];

#[rustfmt::skip]
const RESERVED: &[&str] = &[
    "all", "analyse", "analyze", "and", "any", "array", "as", "asc", "asymmetric", "both", "case",
    "cast", "check", "collate", "column", "constraint", "create", "current_catalog",
    "current_date", "current_role", "current_time", "current_timestamp", "current_user",
    "default", "deferrable", "desc", "distinct", "do", "else", "end", "except", "false", "fetch",
    "for", "foreign", "from", "grant", "group", "having", "in", "initially", "intersect", "into",
    "lateral", "leading", "limit", "localtime", "localtimestamp", "not", "null", "offset", "on",
    "only", "or", "order", "placing", "primary", "references", "returning", "select",
    "session_user", "some", "symmetric", "system_user", "table", "then", "to", "trailing", "true",
    "union", "unique", "user", "using", "variadic", "when", "where", "window", "with",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lists_are_sorted() {
        for list in [
            EXPECTS_OPERAND,
            UNRESERVED,
            COLUMN_NAME,
            TYPE_FUNCTION,
            RESERVED,
        ] {
            assert!(list.is_sorted());
        }
    }
}
