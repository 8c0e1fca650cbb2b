//! What can go wrong, told by who must act. No variant carries a password: connection strings are
//! shown as `user@host:port/database`.

use tokio_postgres::error::SqlState;

/// Why the keeper could not do something. `Display` is one line; [`KeeperError::hint`] says what to
/// do about it.
#[derive(Debug, thiserror::Error)]
pub enum KeeperError {
    /// The operator must change the configuration.
    #[error("keeper.url: {0}")]
    Url(String),
    /// Nobody answers, or not as a PostgreSQL server would.
    #[error("cannot reach the database at {target}: {reason}")]
    Unreachable { target: String, reason: String },
    /// The server answers, but does not let the keeper in.
    #[error("the server at {target} refuses the keeper: {reason}")]
    LoginRefused {
        target: String,
        reason: String,
        sqlstate: Option<String>,
    },
    /// The connection broke while it was in use.
    #[error("the keeper's connection to database \"{database}\" is lost: {reason}")]
    Lost { database: String, reason: String },
    #[error("Reprieve is not installed in database \"{database}\"")]
    NotInstalled { database: String },
    /// A newer Reprieve has been here.
    #[error("database \"{database}\" has keeper version {installed}, this program brings {ours}")]
    Newer {
        database: String,
        installed: u32,
        ours: u32,
    },
    /// The keeper's role lacks a right.
    #[error("{doing}: {message}")]
    Denied {
        doing: String,
        message: String,
        hint: Option<String>,
    },
    #[error("no table matches {pattern}")]
    NoSuchTable { pattern: String },
    #[error("table {table} stayed locked by others: gave up after {attempts} attempts")]
    Busy { table: String, attempts: u32 },
    #[error("{rows} deleted rows would be lost: {buried} in the graveyard, {marked} tombstones")]
    GraveyardNotEmpty { rows: i64, buried: i64, marked: i64 },
    /// The server reported an error nobody foresaw.
    #[error("{doing}: {message}")]
    Server {
        doing: String,
        message: String,
        sqlstate: String,
        hint: Option<String>,
    },
    /// The keeper's functions answered something this program does not understand.
    #[error("{doing}: {reason}")]
    Unexpected { doing: String, reason: String },
}

impl KeeperError {
    /// What the reader can do about it, in one line.
    pub fn hint(&self) -> Option<String> {
        let text = match self {
            Self::Url(_) => {
                "expected postgresql://user:password@host:port/database?sslmode=verify-full, or key=value pairs as for psql"
            }
            Self::Unreachable { .. } => {
                "check that PostgreSQL runs, that host and port in keeper.url are right, and that pg_hba.conf and firewalls let this host in"
            }
            Self::LoginRefused { .. } if self.is_no_such_database() => {
                "there is no such database: name another one with --database or in keeper.url, or create it"
            }
            Self::LoginRefused { .. } => {
                "check user and password in keeper.url; the role needs LOGIN, CONNECT on the database, and a line in pg_hba.conf"
            }
            Self::Lost { .. } => "it is opened again by itself as soon as the database answers",
            Self::NotInstalled { .. } => {
                "run `reprieve install`, or set keeper.auto_install = true"
            }
            Self::Newer { .. } => "upgrade this program: keepers are not downgraded",
            Self::NoSuchTable { .. } => {
                "write schema.table; * and ? match any characters; system schemas never match"
            }
            Self::Busy { .. } => {
                "try again when the table is quieter; pg_blocking_pids() tells which sessions hold it"
            }
            Self::GraveyardNotEmpty { .. } => {
                "UNDELETE what is still needed, keep a copy (pg_dump -t reprieve.graveyard after `reprieve disable`), or say --drop-graveyard to lose them for good"
            }
            Self::Denied { hint, .. } | Self::Server { hint, .. } => return hint.clone(),
            Self::Unexpected { .. } => {
                "is the keeper of another version? run `reprieve install` and `reprieve doctor`"
            }
        };
        Some(text.to_owned())
    }

    /// True if the keeper was let in, but there is no database of that name.
    pub fn is_no_such_database(&self) -> bool {
        matches!(self, Self::LoginRefused { sqlstate: Some(sqlstate), .. } if sqlstate == "3D000")
    }

    /// True if the same call may succeed later without anybody doing anything.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Lost { .. } | Self::Busy { .. } => true,
            // 57P03: starting up or shutting down; 53300: too many connections.
            Self::LoginRefused { sqlstate, .. } => {
                matches!(sqlstate.as_deref(), Some("57P03" | "53300" | "57P01"))
            }
            Self::Server { sqlstate, .. } => {
                matches!(
                    sqlstate.as_str(),
                    "40001" | "40P01" | "55P03" | "57014" | "57P01"
                )
            }
            Self::Url(_)
            | Self::NotInstalled { .. }
            | Self::Newer { .. }
            | Self::Denied { .. }
            | Self::NoSuchTable { .. }
            | Self::GraveyardNotEmpty { .. }
            | Self::Unexpected { .. } => false,
        }
    }
}

/// Sorts an error of a running statement. `doing` says what the keeper was about.
pub(crate) fn classify(
    database: &str,
    doing: impl Into<String>,
    error: &tokio_postgres::Error,
) -> KeeperError {
    let doing = doing.into();
    let Some(db) = error.as_db_error() else {
        return KeeperError::Lost {
            database: database.to_owned(),
            reason: root_cause(error),
        };
    };
    let mut message = db.message().to_owned();
    if let Some(detail) = db.detail() {
        message.push_str(&format!(" ({detail})"));
    }
    let hint = db.hint().map(str::to_owned);
    if *db.code() == SqlState::INSUFFICIENT_PRIVILEGE {
        let hint = hint.or_else(|| {
            Some(
                "grant the keeper's role CREATE on the database and membership in the owners of the tables"
                    .to_owned(),
            )
        });
        return KeeperError::Denied {
            doing,
            message,
            hint,
        };
    }
    KeeperError::Server {
        doing,
        message,
        sqlstate: db.code().code().to_owned(),
        hint,
    }
}

/// The innermost cause: tokio-postgres wraps what matters ("error connecting to server").
pub(crate) fn root_cause(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}
