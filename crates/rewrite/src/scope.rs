//! Everything a rewrite depends on besides the text.

use catalog::{Catalog, SearchPath};

/// How far the client's bytes can be read and spliced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum ClientEncoding {
    /// UTF8, and SQL_ASCII as far as the text is valid UTF-8.
    #[default]
    Utf8,
    /// Every byte below 0x80 is that ASCII character (LATIN1, WIN1252, EUC_JP, ...).
    AsciiSuperset,
    /// A byte below 0x80 may be the tail of a character (SJIS, BIG5, GBK, UHC, GB18030, JOHAB).
    Unsafe,
}

#[derive(Debug, Clone, Copy)]
pub struct Scope<'a> {
    pub catalog: &'a Catalog,
    pub search_path: &'a SearchPath,
    /// `standard_conforming_strings`: off makes a backslash in `'...'` an escape.
    pub standard_conforming_strings: bool,
    pub encoding: ClientEncoding,
}
