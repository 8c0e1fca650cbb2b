//! Facts about one database as data: which tables are enabled, their columns and keys, and how a
//! name resolves. Pure: no sockets, no clock. The document is made by the keeper's
//! `reprieve.catalog_v1()` and read by every other crate.

mod name;
mod snapshot;

pub use name::{QualifiedName, fold_identifier, quote_identifier, quote_literal};
pub use snapshot::{
    Catalog, CatalogError, Column, Generation, Mode, Resolved, RowType, SearchPath, Show, Table,
};
