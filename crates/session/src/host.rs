//! What a session asks of the process around it.

use std::sync::Arc;

use catalog::Catalog;
use rewrite::Refusal;

use crate::PlanCache;

/// Which listener the client came through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Port {
    /// Soft deletes cannot be told from deletes.
    App,
    /// The veil lifted; verbs; members of `reprieve_admin` only.
    Admin,
}

/// What the client said in its StartupMessage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartupParameters {
    pub user: String,
    /// PostgreSQL's default (the user's name) filled in.
    pub database: String,
    /// In the client's order, `user` and `database` included.
    pub all: Vec<(String, String)>,
    /// True for physical and logical replication connections.
    pub replication: bool,
}

/// The newest catalog of one database, as far as the process has it.
#[derive(Debug, Clone)]
pub enum CatalogState {
    /// No keeper in this database: nothing is enabled, nothing may be injected.
    NotInstalled,
    /// On its way: the session waits ([`Request::AwaitCatalog`]).
    Loading,
    /// Why there is none. Clients read it.
    Unavailable(String),
    Ready(Arc<Catalog>),
}

/// SHOW commands of the admin port whose rows only the process knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LocalShow {
    Clients,
    Stats,
    Version,
    Help,
}

/// Something worth counting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Observation {
    /// Query, Parse or FunctionCall sent by the client.
    Statement,
    /// A statement whose text was changed.
    Rewritten,
    /// A statement sent as an UPDATE for the client's DELETE.
    Delete,
    PlanCacheHit,
    /// Not the text, but another one that differs in its literals only was seen before.
    PlanCacheShapeHit,
    PlanCacheMiss,
}

/// What a session may ask of the process. Never blocks.
pub trait Host: Send + Sync {
    /// The newest catalog of this session's database.
    fn catalog(&self) -> CatalogState;
    /// Shared by all sessions, bounded by bytes.
    fn plans(&self) -> &PlanCache;
    /// Column names and rows, each row as long as the names.
    fn local_rows(&self, what: LocalShow) -> LocalRows;
    fn observe(&self, event: Observation);
    /// The client has read this error in place of an answer.
    fn refused(&self, refusal: &Refusal);
}

/// The answer to a SHOW about the proxy itself; all columns are text.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LocalRows {
    pub columns: Vec<String>,
    pub rows: Vec<Vec<Option<String>>>,
}

/// What the session cannot go on without: client input waits until [`crate::Session::on_answer`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// Answer once [`Host::catalog`] is no longer `Loading`.
    AwaitCatalog,
    /// DDL of this session was committed: answer once [`Host::catalog`] is at least that new, or
    /// has become `Unavailable`.
    ReloadCatalog,
}

/// The process did what the last [`Request`] asked; the session looks at [`Host::catalog`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    CatalogSettled,
}
