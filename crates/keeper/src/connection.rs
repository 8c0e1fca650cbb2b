//! One connection of the keeper to one database, its settings pinned, and the bell that rings when
//! the catalog may have changed.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_postgres::{AsyncMessage, Client, Row, types::ToSql};

use crate::config::KeeperConfig;
use crate::error::{KeeperError, classify, root_cause};
use crate::tls;

/// The keeper's functions pin their own settings; these are for the statements sent from here.
const PINNED: &str = include_str!("queries/pinned.sql");
/// Remembered notices of one call: more than any of our functions raises.
const NOTICES_MAX: usize = 1000;

/// Message and hint.
type Notices = Arc<Mutex<Vec<(String, Option<String>)>>>;

/// A connection to one database in our own name. Open it when the first client of a database
/// comes and drop it when the last has left: while it lives, DROP DATABASE would wait.
#[derive(Debug)]
pub struct Keeper {
    pub(crate) client: Client,
    config: KeeperConfig,
    database: String,
    bell: watch::Receiver<u64>,
    lost: watch::Receiver<Option<String>>,
    notices: Notices,
    driver: JoinHandle<()>,
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Keeper {
    /// Connects to `database` on the server of `config` (whose own database name is not used).
    ///
    /// # Errors
    /// [`KeeperError::Unreachable`] and [`KeeperError::LoginRefused`], or [`KeeperError::Url`] for
    /// unreadable certificates.
    pub async fn connect(config: &KeeperConfig, database: &str) -> Result<Self, KeeperError> {
        let target = config.target(database);
        let mut postgres = config.postgres.clone();
        postgres
            .dbname(database)
            .application_name("reprieve keeper");
        let connector = tls::connector(&config.tls)?;
        let (client, connection) = postgres
            .connect(connector)
            .await
            .map_err(|error| refused(target, &error))?;
        let (ring, bell) = watch::channel(0);
        let (lose, lost) = watch::channel(None);
        let notices = Arc::new(Mutex::new(Vec::new()));
        let driver = tokio::spawn(drive(connection, ring, lose, Arc::clone(&notices)));
        let (config, database) = (config.clone(), database.to_owned());
        let keeper = Self {
            client,
            config,
            database,
            bell,
            lost,
            notices,
            driver,
        };
        keeper.pin().await?;
        Ok(keeper)
    }

    /// A second connection to the same database, for what cannot wait behind a long statement.
    pub(crate) async fn another(&self) -> Result<Self, KeeperError> {
        Box::pin(Self::connect(&self.config, &self.database)).await
    }

    /// Sets the settings of this connection back to what our statements expect.
    pub(crate) async fn pin(&self) -> Result<(), KeeperError> {
        self.batch("preparing the session", PINNED).await
    }

    pub fn database(&self) -> &str {
        &self.database
    }

    /// True once the connection is gone: nothing but a new one helps.
    pub fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    /// Rings when the catalog may have changed: on `NOTIFY reprieve_catalog`, and at the latest
    /// after `at_least_every` (a notification is lost where a pooler sits between).
    pub async fn watch(&self, at_least_every: Duration) -> Result<Watch, KeeperError> {
        let mut bell = self.bell.clone();
        bell.mark_unchanged();
        self.batch("listening for catalog changes", "LISTEN reprieve_catalog")
            .await?;
        let (lost, database) = (self.lost.clone(), self.database.clone());
        Ok(Watch {
            bell,
            lost,
            database,
            at_least_every,
        })
    }

    pub(crate) async fn batch(&self, doing: &str, sql: &str) -> Result<(), KeeperError> {
        self.client
            .batch_execute(sql)
            .await
            .map_err(|error| self.failed(doing, &error))
    }

    pub(crate) async fn rows(
        &self,
        doing: &str,
        sql: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, KeeperError> {
        self.client
            .query(sql, parameters)
            .await
            .map_err(|error| self.failed(doing, &error))
    }

    pub(crate) async fn row(
        &self,
        doing: &str,
        sql: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Row, KeeperError> {
        self.client
            .query_one(sql, parameters)
            .await
            .map_err(|error| self.failed(doing, &error))
    }

    pub(crate) fn failed(&self, doing: &str, error: &tokio_postgres::Error) -> KeeperError {
        classify(&self.database, doing, error)
    }

    /// Notices of the server since the last call that tell the reader what to do: ours do, while
    /// "already exists, skipping" carries no hint.
    pub(crate) fn take_advice(&self) -> Vec<String> {
        let mut notices = self.notices.lock().unwrap_or_else(PoisonError::into_inner);
        let advice = notices.drain(..).filter_map(|(message, hint)| {
            hint.map(|hint| format!("{}. {hint}", message.trim_end_matches('.')))
        });
        advice.collect()
    }
}

/// Reads one column; the name says which answer was not understood.
pub(crate) fn column<'a, T>(row: &'a Row, name: &str) -> Result<T, KeeperError>
where
    T: tokio_postgres::types::FromSql<'a>,
{
    row.try_get(name).map_err(|error| KeeperError::Unexpected {
        doing: format!("reading column {name}"),
        reason: root_cause(&error),
    })
}

/// See [`Keeper::watch`]. Several rings before the next `changed` are one.
#[derive(Debug, Clone)]
pub struct Watch {
    bell: watch::Receiver<u64>,
    lost: watch::Receiver<Option<String>>,
    database: String,
    at_least_every: Duration,
}

impl Watch {
    /// Waits until the catalog should be loaded again. Cancel safe.
    ///
    /// # Errors
    /// [`KeeperError::Lost`] once the connection is gone.
    pub async fn changed(&mut self) -> Result<(), KeeperError> {
        tokio::select! {
            rung = self.bell.changed() => match rung {
                Ok(()) => Ok(()),
                Err(_) => Err(self.lost()),
            },
            () = tokio::time::sleep(self.at_least_every) => {
                if self.lost.borrow().is_some() { Err(self.lost()) } else { Ok(()) }
            }
        }
    }

    fn lost(&self) -> KeeperError {
        let reason = self
            .lost
            .borrow()
            .clone()
            .unwrap_or_else(|| "closed".to_owned());
        KeeperError::Lost {
            database: self.database.clone(),
            reason,
        }
    }
}

/// Moves the connection's bytes until it ends.
async fn drive<S, T>(
    mut connection: tokio_postgres::Connection<S, T>,
    ring: watch::Sender<u64>,
    lose: watch::Sender<Option<String>>,
    notices: Notices,
) where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    loop {
        let message = poll_fn(|cx| Pin::new(&mut connection).poll_message(cx)).await;
        match message {
            Some(Ok(AsyncMessage::Notification(_))) => ring.send_modify(|rings| *rings += 1),
            Some(Ok(AsyncMessage::Notice(notice))) => {
                tracing::debug!(severity = notice.severity(), "{}", notice.message());
                let mut notices = notices.lock().unwrap_or_else(PoisonError::into_inner);
                if notices.len() < NOTICES_MAX {
                    let (message, hint) = (notice.message(), notice.hint());
                    notices.push((message.to_owned(), hint.map(str::to_owned)));
                }
            }
            Some(Ok(_)) => {}
            Some(Err(error)) => {
                lose.send_replace(Some(root_cause(&error)));
                return;
            }
            None => {
                lose.send_replace(Some("closed by the server".to_owned()));
                return;
            }
        }
    }
}

fn refused(target: String, error: &tokio_postgres::Error) -> KeeperError {
    if let Some(db) = error.as_db_error() {
        return KeeperError::LoginRefused {
            target,
            reason: db.message().to_owned(),
            sqlstate: Some(db.code().code().to_owned()),
        };
    }
    // Password missing, unknown authentication: tokio-postgres says so without a source.
    if std::error::Error::source(error).is_none_or(|source| !source.is::<std::io::Error>())
        && error.to_string().contains("authentication")
    {
        return KeeperError::LoginRefused {
            target,
            reason: root_cause(error),
            sqlstate: None,
        };
    }
    KeeperError::Unreachable {
        target,
        reason: root_cause(error),
    }
}
