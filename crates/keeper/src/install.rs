//! Installing the keeper in a database and taking it out again.

use crate::connection::{Keeper, column};
use crate::error::KeeperError;

/// Raised whenever a file of `sql/` changes what is in the database.
pub const KEEPER_VERSION: u32 = 1;

/// The files of `sql/`, in the order in which they run. A test finds forgotten ones.
const SCRIPTS: &[(&str, &str)] = &[("010_schema.sql", include_str!("../sql/010_schema.sql"))];

/// One installer at a time per database.
const INSTALL_LOCK: i64 = 0x7265_7072_6965_7665;

/// What [`Keeper::install`] did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstallReport {
    pub version: u32,
    /// The version that was there before.
    pub previous: Option<u32>,
    /// What could not be done, why it matters and who can do it. Empty is best; nothing in here
    /// keeps Reprieve from working.
    pub shortcomings: Vec<String>,
}

/// What uninstalling does with deleted rows that can still be brought back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Graveyard {
    /// Refuse while there are any.
    Keep,
    /// Lose them.
    Drop,
}

/// What [`Keeper::uninstall`] removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UninstallReport {
    pub tables: Vec<String>,
    pub lost_rows: i64,
}

impl Keeper {
    /// The version in the database, or `None` where there is no keeper.
    pub async fn installed(&self) -> Result<Option<u32>, KeeperError> {
        const DOING: &str = "looking for the keeper";
        let found = self
            .row(
                DOING,
                "SELECT to_regclass('reprieve.settings') IS NOT NULL AS found",
                &[],
            )
            .await?;
        if !column::<bool>(&found, "found")? {
            return Ok(None);
        }
        let rows = self
            .rows(
                DOING,
                "SELECT value FROM reprieve.settings WHERE key = 'keeper_version'",
                &[],
            )
            .await?;
        let Some(row) = rows.first() else {
            return Ok(None);
        };
        let value: &str = column(row, "value")?;
        value
            .parse()
            .map(Some)
            .map_err(|_| KeeperError::Unexpected {
                doing: DOING.to_owned(),
                reason: format!("keeper_version is \"{value}\""),
            })
    }

    /// Installs or upgrades the keeper, in one transaction. Idempotent. Needs CREATE on the
    /// database, no superuser.
    ///
    /// # Errors
    /// [`KeeperError::Newer`] where a newer program has installed it, [`KeeperError::Denied`]
    /// where the role may not create the schema.
    pub async fn install(&mut self) -> Result<InstallReport, KeeperError> {
        let previous = self.installed().await?;
        if let Some(installed) = previous.filter(|&installed| installed > KEEPER_VERSION) {
            return Err(KeeperError::Newer {
                database: self.database().to_owned(),
                installed,
                ours: KEEPER_VERSION,
            });
        }
        let doing = "installing the keeper";
        let transaction = self.client.transaction().await;
        let transaction = transaction.map_err(|error| crate::error::classify("", doing, &error))?;
        let run = async {
            transaction
                .execute("SELECT pg_advisory_xact_lock($1)", &[&INSTALL_LOCK])
                .await?;
            for (_, script) in SCRIPTS {
                transaction.batch_execute(script).await?;
            }
            transaction
                .execute(
                    "INSERT INTO reprieve.settings (key, value) VALUES ('keeper_version', $1)
                     ON CONFLICT (key) DO UPDATE SET value = excluded.value",
                    &[&KEEPER_VERSION.to_string()],
                )
                .await?;
            transaction.commit().await
        };
        let done = run.await;
        done.map_err(|error| self.failed(doing, &error))?;
        Ok(InstallReport {
            version: KEEPER_VERSION,
            previous,
            shortcomings: self.take_notices(),
        })
    }

    /// Disables every table and removes schema `reprieve`. Role `reprieve_admin` stays: it may be
    /// in use by other databases.
    ///
    /// # Errors
    /// [`KeeperError::GraveyardNotEmpty`] unless told to drop it.
    pub async fn uninstall(
        &mut self,
        graveyard: Graveyard,
    ) -> Result<UninstallReport, KeeperError> {
        let _ = graveyard;
        self.batch("removing the keeper", "DROP SCHEMA reprieve CASCADE")
            .await?;
        Ok(UninstallReport {
            tables: Vec::new(),
            lost_rows: 0,
        })
    }
}
