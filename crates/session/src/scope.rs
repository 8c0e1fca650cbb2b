//! What names and strings mean in this connection right now, as far as it is known.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Deref;
use std::sync::Arc;

use catalog::{SearchPath, Show};
use rewrite::ClientEncoding;
use serde::Deserialize;

/// The document of `reprieve.session_v1()`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    path: Vec<String>,
    temp_schema: Option<String>,
    #[serde(default)]
    temp: BTreeSet<String>,
    /// Absent where it is `live`. The keeper has seen that the role may.
    #[serde(default)]
    show: Show,
}

/// A search path as part of the plan cache's keys.
#[derive(Debug, Clone)]
pub(crate) struct Path {
    path: Arc<SearchPath>,
    /// Of the path: a look into the cache does not read all names of it.
    fingerprint: u64,
}

impl Path {
    pub fn new(path: SearchPath) -> Self {
        let mut hasher = DefaultHasher::new();
        path.hash(&mut hasher);
        Self {
            path: Arc::new(path),
            fingerprint: hasher.finish(),
        }
    }
}

impl Default for Path {
    fn default() -> Self {
        Self::new(SearchPath::default())
    }
}

impl Deref for Path {
    type Target = SearchPath;

    fn deref(&self) -> &SearchPath {
        &self.path
    }
}

impl PartialEq for Path {
    fn eq(&self, other: &Self) -> bool {
        let is_same = Arc::ptr_eq(&self.path, &other.path);
        is_same || (self.fingerprint == other.fingerprint && self.path == other.path)
    }
}

impl Eq for Path {}

impl Hash for Path {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.fingerprint.hash(state);
    }
}

#[derive(Debug)]
pub(crate) struct ScopeTracker {
    path: Path,
    /// False: ask the server before a name is resolved.
    known: bool,
    /// Changes with the path: a plan made under another number is to be made again.
    version: u64,
    /// Something that a rollback would take back was done in the open transaction.
    touched: bool,
    pub standard_conforming_strings: bool,
    pub encoding: ClientEncoding,
    /// As PostgreSQL 18 and newer report it.
    reported_path: Option<Box<[u8]>>,
}

impl Default for ScopeTracker {
    fn default() -> Self {
        Self {
            path: Path::default(),
            known: false,
            version: 0,
            touched: false,
            standard_conforming_strings: true,
            encoding: ClientEncoding::Utf8,
            reported_path: None,
        }
    }
}

impl ScopeTracker {
    /// The path, if it is known.
    pub fn known(&self) -> Option<&Path> {
        self.known.then_some(&self.path)
    }

    pub fn version(&self) -> u64 {
        self.version
    }

    pub fn is_touched(&self) -> bool {
        self.touched
    }

    /// Names may mean something else from here on.
    pub fn disturb(&mut self) {
        self.known = false;
        self.touched = true;
    }

    /// A transaction, or part of it, ends: what was set in it may be gone.
    pub fn unwind(&mut self) {
        self.known &= !self.touched;
    }

    /// The transaction is over.
    pub fn settle(&mut self) {
        self.unwind();
        self.touched = false;
    }

    /// Reads the answer of the keeper.
    pub fn learn(&mut self, document: &str) -> Result<(), serde_json::Error> {
        let Document {
            path,
            temp_schema,
            temp,
            show,
        } = serde_json::from_str(document)?;
        let new = SearchPath {
            schemas: path,
            temp_schema,
            temp_relations: temp,
            show,
        };
        if *self.path != new {
            self.path = Path::new(new);
            self.version += 1;
        }
        self.known = true;
        Ok(())
    }

    /// A ParameterStatus of the server.
    pub fn on_parameter(&mut self, name: &[u8], value: &[u8]) {
        match name {
            b"standard_conforming_strings" => self.standard_conforming_strings = value == b"on",
            b"client_encoding" => self.encoding = encoding(value),
            b"search_path" if self.reported_path.as_deref() != Some(value) => {
                self.reported_path = Some(value.into());
                self.known = false;
            }
            _ => {}
        }
    }
}

/// By the names that `pg_encoding_to_char()` prints.
fn encoding(name: &[u8]) -> ClientEncoding {
    match name {
        b"UTF8" | b"SQL_ASCII" => ClientEncoding::Utf8,
        b"SJIS" | b"SHIFT_JIS_2004" | b"BIG5" | b"GBK" | b"UHC" | b"GB18030" | b"JOHAB" => {
            ClientEncoding::Unsafe
        }
        _ => ClientEncoding::AsciiSuperset,
    }
}
