//! The catalog snapshot: a document, and the questions the rewriter asks of it.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use serde::Deserialize;

use crate::name::QualifiedName;

/// Names one content of the catalog: equal generations mean equal documents. A fingerprint, not a
/// counter: a counter would make concurrent schema changes wait for one another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, PartialOrd, Ord)]
pub struct Generation(pub u64);

/// How rows of an enabled table are buried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// In place: DELETE becomes an update of `deleted_at`.
    Mark,
    /// DELETE passes through; triggers copy the rows to the graveyard.
    Bin,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Column {
    pub name: String,
    /// True for our own `deleted_at` and `deletion_id`: they do not exist for the client.
    #[serde(default)]
    pub hidden: bool,
    /// `GENERATED ALWAYS AS (...)`: left out of COPY, never written.
    #[serde(default)]
    pub generated: bool,
}

/// The row of a marked table as its clients know it: a composite type of the keeper's, in schema `reprieve`, and the
/// table's own type, which has our columns too. Object identifiers of `pg_type`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct RowType {
    /// In schema `reprieve`; needs no quotes.
    pub name: String,
    pub oid: u32,
    /// The type of arrays of it.
    pub array: u32,
    /// The table's own row type.
    pub of: u32,
    /// The type of arrays of that.
    pub of_array: u32,
}

/// One enabled table.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Table {
    pub oid: u32,
    pub schema: String,
    pub name: String,
    pub mode: Mode,
    /// True once every sidecar hides tombstones of this table: only then may a DELETE mark.
    /// False with `Mode::Mark`: hide our columns and tombstones, send DELETE as it is.
    #[serde(default)]
    pub marking: bool,
    /// `pg_class.relkind`: `r` or `p`.
    pub kind: char,
    /// In order of `attnum`, dropped ones left out.
    pub columns: Vec<Column>,
    /// Columns of the primary key in key order.
    #[serde(default)]
    pub primary_key: Vec<String>,
    /// True if it has inheritance children or is itself a child (partitions not counted).
    #[serde(default)]
    pub inherits: bool,
    /// `None` where rows are not marked, or an older keeper knows of no such type.
    #[serde(default)]
    pub row_type: Option<RowType>,
}

impl Table {
    pub fn qualified(&self) -> QualifiedName {
        QualifiedName::new(&self.schema, &self.name)
    }

    /// Columns the client knows of, in order.
    pub fn visible_columns(&self) -> impl Iterator<Item = &Column> {
        self.columns.iter().filter(|column| !column.hidden)
    }

    /// True if no visible column comes after a hidden one, so that positional lists still fit.
    pub fn hidden_columns_are_last(&self) -> bool {
        self.columns
            .iter()
            .skip_while(|column| !column.hidden)
            .all(|column| column.hidden)
    }

    /// True if reads must hide tombstones and our columns.
    pub fn is_veiled(&self) -> bool {
        self.mode == Mode::Mark
    }
}

/// Which rows of marked tables a session reads: the setting `reprieve.show`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Show {
    #[default]
    Live,
    Deleted,
    All,
    /// Set, but the role may not.
    Forbidden,
    /// Set to something else.
    Invalid,
}

impl Show {
    /// The condition on a column `deleted_at`, `qualifier` with its dot or nothing.
    pub fn condition(self, qualifier: &str) -> String {
        match self {
            // Who may not is refused anyway.
            Self::Live | Self::Forbidden | Self::Invalid => {
                format!("{qualifier}deleted_at IS NULL")
            }
            Self::Deleted => format!("{qualifier}deleted_at IS NOT NULL"),
            // The planner sees through it.
            Self::All => format!("({qualifier}deleted_at IS NULL OR true)"),
        }
    }
}

/// Where unqualified relation names are looked up in one session, and what it is shown of tables.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct SearchPath {
    /// In order, implicit ones (`pg_temp_n`, `pg_catalog`) included: `current_schemas(true)`.
    pub schemas: Vec<String>,
    /// Name of this session's temporary schema once it exists (`pg_temp_3`); also spelt `pg_temp`.
    pub temp_schema: Option<String>,
    /// Names of the relations in it.
    pub temp_relations: BTreeSet<String>,
    pub show: Show,
}

/// What a relation name means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resolved {
    Enabled(Arc<Table>),
    /// Some other relation, or none at all: not ours.
    Other,
}

#[derive(Debug, thiserror::Error)]
#[error("the catalog document of the keeper cannot be read: {0}")]
pub struct CatalogError(#[from] serde_json::Error);

/// A newer keeper's document may have fields that are not known here: they never change what the others mean.
#[derive(Deserialize)]
struct Document {
    /// `server_version_num`, e.g. 150018.
    server: u32,
    tables: Vec<Table>,
    /// Relations that are not enabled but bear the name of one that is, as (schema, name).
    shadows: Vec<(String, String)>,
    /// Types that are no marked table's row but bear its name, as (schema, name).
    #[serde(default)]
    types: Vec<(String, String)>,
    /// Deferrable foreign keys, as (schema, name, names of our constraint triggers in that schema).
    #[serde(default)]
    deferrable: Vec<(String, String, Vec<String>)>,
    /// An event trigger of the keeper runs in front of schema changes.
    #[serde(default)]
    sees_ddl_start: bool,
}

/// One generation of facts about one database. Cheap to share, never changed.
#[derive(Debug, Default)]
pub struct Catalog {
    generation: Generation,
    server_version: u32,
    /// By name, then by schema: most lookups end at the first level.
    by_name: HashMap<String, HashMap<String, Option<Arc<Table>>>>,
    /// Types in the way of those of marked tables, by name.
    types: HashMap<String, BTreeSet<String>>,
    /// From types of ours to those that the client knows, arrays too.
    row_types: HashMap<u32, u32>,
    enabled: usize,
    /// Names of marked tables: each word of each statement is looked up here.
    veiled: HashSet<Box<[u8]>, foldhash::fast::RandomState>,
    /// Names of hidden columns in order: two, as a rule.
    hidden: Vec<String>,
    /// Our constraint triggers by schema and name of their foreign key.
    deferrable: HashMap<(String, String), Vec<String>>,
    sees_ddl_start: bool,
}

impl Catalog {
    /// A database in which nothing is enabled, or where the keeper is not installed.
    pub fn empty() -> Self {
        Self::default()
    }

    /// Reads the text that `reprieve.catalog_v1()` returned.
    pub fn from_json(text: &str) -> Result<Self, CatalogError> {
        let document: Document = serde_json::from_str(text)?;
        let mut by_name: HashMap<String, HashMap<String, Option<Arc<Table>>>> = HashMap::new();
        let enabled = document.tables.len();
        let mut veiled = HashSet::default();
        let mut hidden = BTreeSet::new();
        for (schema, name) in document.shadows {
            by_name.entry(name).or_default().insert(schema, None);
        }
        let mut types: HashMap<String, BTreeSet<String>> = HashMap::new();
        for (schema, name) in document.types {
            types.entry(name).or_default().insert(schema);
        }
        let mut row_types = HashMap::new();
        for table in document.tables {
            if let Some(row) = &table.row_type {
                row_types.extend([(row.oid, row.of), (row.array, row.of_array)]);
            }
            if table.is_veiled() {
                veiled.insert(table.name.as_bytes().into());
            }
            let ours = table.columns.iter().filter(|column| column.hidden);
            hidden.extend(ours.map(|column| column.name.clone()));
            by_name
                .entry(table.name.clone())
                .or_default()
                .insert(table.schema.clone(), Some(Arc::new(table)));
        }
        let mut hasher = DefaultHasher::new();
        text.hash(&mut hasher);
        Ok(Self {
            generation: Generation(hasher.finish()),
            server_version: document.server,
            by_name,
            types,
            row_types,
            enabled,
            veiled,
            hidden: hidden.into_iter().collect(),
            sees_ddl_start: document.sees_ddl_start,
            deferrable: document
                .deferrable
                .into_iter()
                .map(|(schema, name, ours)| ((schema, name), ours))
                .collect(),
        })
    }

    pub fn generation(&self) -> Generation {
        self.generation
    }

    /// `server_version_num`, or 0 where no keeper told us.
    pub fn server_version(&self) -> u32 {
        self.server_version
    }

    /// True if no table is marked: then no statement needs a change.
    pub fn is_transparent(&self) -> bool {
        self.veiled.is_empty()
    }

    /// True if a table is enabled: then queries of the system catalogs leave out what is ours.
    pub fn cloaks(&self) -> bool {
        self.enabled > 0
    }

    /// True if an enabled table bears this folded name in some schema: the cheap test that lets
    /// most statements through unread. Bin tables count: the admin port asks about them too.
    pub fn knows_name(&self, name: &str) -> bool {
        self.by_name.contains_key(name)
    }

    /// True if a marked table bears this folded name in some schema: statements without such a name
    /// need no change.
    pub fn veils_name(&self, name: &str) -> bool {
        self.veils_bytes(name.as_bytes())
    }

    /// [`Self::veils_name`] of a name that may not be UTF-8: then none bears it.
    pub fn veils_bytes(&self, name: &[u8]) -> bool {
        self.veiled.contains(name)
    }

    /// Names of the columns that some enabled table hides.
    pub fn hidden_names(&self) -> impl Iterator<Item = &str> {
        self.hidden.iter().map(String::as_str)
    }

    /// True if the keeper ends the marking of a table in front of a statement that would take its columns as they are,
    /// such as CREATE RULE.
    pub fn sees_ddl_start(&self) -> bool {
        self.sees_ddl_start
    }

    /// True if `SET CONSTRAINTS` may have to reach constraint triggers of ours.
    pub fn defers(&self) -> bool {
        !self.deferrable.is_empty()
    }

    /// The constraint triggers of ours that belong to a foreign key, and their schema. The constraint is found as
    /// `SET CONSTRAINTS` finds it: in the schema given, or in the first one of the path that has it.
    pub fn deferred_with<'a>(
        &'a self,
        schema: Option<&'a str>,
        name: &str,
        path: &'a SearchPath,
    ) -> Option<(&'a str, &'a [String])> {
        let given = schema.into_iter();
        let searched = path.schemas.iter().map(String::as_str);
        given
            .chain(searched.filter(|_| schema.is_none()))
            .find_map(|schema| {
                let key = (schema.to_owned(), name.to_owned());
                let ours = self.deferrable.get(&key)?;
                Some((schema, ours.as_slice()))
            })
    }

    /// The type that a client knows for one of ours.
    pub fn row_type_shown(&self, oid: u32) -> Option<u32> {
        self.row_types.get(&oid).copied()
    }

    /// The type of ours that stands for the row type of a marked table, or for an array of it.
    pub fn row_type_meant(&self, oid: u32) -> Option<u32> {
        let found = self.row_types.iter().find(|(_, theirs)| **theirs == oid);
        found.map(|(ours, _)| *ours)
    }

    /// The marked table whose row a folded, possibly qualified type name means, by the rules of `LookupTypeName`: types
    /// are looked up like relations, temporary ones first.
    pub fn resolve_type(
        &self,
        schema: Option<&str>,
        name: &str,
        path: &SearchPath,
    ) -> Option<Arc<Table>> {
        if schema.is_none() && path.temp_relations.contains(name) {
            return None;
        }
        let in_the_way = self.types.get(name);
        if schema.is_none() && in_the_way.is_some() {
            let taken = |schema: &String| in_the_way.is_some_and(|types| types.contains(schema));
            let ours = |schema: &String| {
                matches!(self.resolve(Some(schema), name, path), Resolved::Enabled(_))
            };
            let first = path
                .schemas
                .iter()
                .find(|schema| taken(schema) || ours(schema))?;
            if taken(first) {
                return None;
            }
        }
        match self.resolve(schema, name, path) {
            Resolved::Enabled(table) if table.is_veiled() => Some(table),
            Resolved::Enabled(_) | Resolved::Other => None,
        }
    }

    /// All enabled tables, in no order.
    pub fn tables(&self) -> impl Iterator<Item = &Arc<Table>> {
        self.by_name.values().flat_map(HashMap::values).flatten()
    }

    /// Resolves a folded, possibly qualified relation name as `RangeVarGetRelid` does: a schema
    /// given decides; otherwise the first schema of the path that has a relation of that name.
    pub fn resolve(&self, schema: Option<&str>, name: &str, path: &SearchPath) -> Resolved {
        let Some(schemas) = self.by_name.get(name) else {
            return Resolved::Other;
        };
        let is_temp =
            |schema: &str| schema == "pg_temp" || path.temp_schema.as_deref() == Some(schema);
        if let Some(schema) = schema {
            return match schemas.get(schema) {
                Some(Some(table)) if !is_temp(schema) => Resolved::Enabled(Arc::clone(table)),
                _ => Resolved::Other,
            };
        }
        for schema in &path.schemas {
            if is_temp(schema) {
                if path.temp_relations.contains(name) {
                    return Resolved::Other;
                }
                continue;
            }
            match schemas.get(schema) {
                Some(Some(table)) => return Resolved::Enabled(Arc::clone(table)),
                Some(None) => return Resolved::Other,
                None => {}
            }
        }
        Resolved::Other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn catalog() -> Catalog {
        Catalog::from_json(
            r#"{"server":150018,
                "tables":[{"oid":1,"schema":"public","name":"t","mode":"mark","marking":true,
                  "kind":"r","columns":[{"name":"id"},{"name":"deleted_at","hidden":true}],
                  "primary_key":["id"]}],
                "shadows":[["app","t"]]}"#,
        )
        .unwrap()
    }

    fn path(schemas: &[&str]) -> SearchPath {
        SearchPath {
            schemas: schemas.iter().map(ToString::to_string).collect(),
            ..SearchPath::default()
        }
    }

    fn is_ours(resolved: &Resolved) -> bool {
        matches!(resolved, Resolved::Enabled(_))
    }

    #[test]
    fn the_first_schema_with_the_name_wins() {
        let catalog = catalog();
        assert!(is_ours(&catalog.resolve(
            None,
            "t",
            &path(&["pg_catalog", "public", "app"])
        )));
        assert!(!is_ours(&catalog.resolve(
            None,
            "t",
            &path(&["app", "public"])
        )));
        assert!(is_ours(&catalog.resolve(
            Some("public"),
            "t",
            &path(&["app"])
        )));
        assert!(!is_ours(&catalog.resolve(None, "t", &path(&["other"]))));
    }

    #[test]
    fn a_temporary_relation_shadows() {
        let catalog = catalog();
        let mut path = path(&["pg_temp_3", "public"]);
        path.temp_schema = Some("pg_temp_3".into());
        assert!(is_ours(&catalog.resolve(None, "t", &path)));
        path.temp_relations.insert("t".into());
        assert!(!is_ours(&catalog.resolve(None, "t", &path)));
        assert!(is_ours(&catalog.resolve(Some("public"), "t", &path)));
    }

    #[test]
    fn a_type_of_the_same_name_shadows_the_row_type() {
        let catalog = Catalog::from_json(
            r#"{"server":150018,
                "tables":[{"oid":1,"schema":"public","name":"date","mode":"mark","marking":true,"kind":"r",
                  "columns":[{"name":"id"}],"primary_key":["id"],
                  "row_type":{"name":"row_1","oid":11,"array":12,"of":2,"of_array":3}}],
                "shadows":[],"types":[["pg_catalog","date"]]}"#,
        )
        .unwrap();
        let is_row = |schema, schemas: &[&str]| {
            catalog
                .resolve_type(schema, "date", &path(schemas))
                .is_some()
        };
        assert!(!is_row(None, &["pg_catalog", "public"]));
        assert!(is_row(None, &["public", "pg_catalog"]));
        assert!(is_row(Some("public"), &["pg_catalog", "public"]));
        assert!(!is_row(Some("pg_catalog"), &["public"]));
        assert_eq!(catalog.row_type_shown(12), Some(3));
        assert_eq!(catalog.row_type_meant(2), Some(11));
    }

    #[test]
    fn generations_name_contents() {
        assert_eq!(catalog().generation(), catalog().generation());
        assert_ne!(catalog().generation(), Catalog::empty().generation());
    }

    #[test]
    fn an_unreadable_document_is_an_error() {
        assert!(Catalog::from_json(r#"{"server":1}"#).is_err());
    }
}
