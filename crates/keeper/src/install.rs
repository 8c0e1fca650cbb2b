//! Installing the keeper in a database and taking it out again.

use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use crate::connection::{Keeper, column};
use crate::error::{KeeperError, classify};
use crate::tables::Progress;

/// Raised whenever a file of `sql/` changes what is in the database.
pub const KEEPER_VERSION: u32 = 9;

/// Names and texts of the files in `sql/`, in the order in which they run. Made by `build.rs`.
const SCRIPTS: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/scripts.rs"));

/// One installer at a time per database: "reprieve" in ASCII.
const INSTALL_LOCK: i64 = 0x7265_7072_6965_7665;

/// Longer than any other installer takes; far shorter than a DBA's patience.
const INSTALL_SETTINGS: &str = "SET LOCAL lock_timeout = '30s'";

const INSTALL_ATTEMPTS: u32 = 5;

/// What [`Keeper::install`] did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstallReport {
    pub version: u32,
    /// The version that was there before.
    pub previous: Option<u32>,
    /// What could not be done, and who can do it. Nothing in here keeps Reprieve from working.
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
    /// `schema.table` of each table that was enabled.
    pub tables: Vec<String>,
    /// Deleted rows that nobody can bring back any more.
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
        let sql = "SELECT value FROM reprieve.settings WHERE key = 'keeper_version'";
        let rows = self.rows(DOING, sql, &[]).await?;
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
        let database = self.database().to_owned();
        let previous = self.installed().await?;
        if let Some(installed) = previous.filter(|&installed| installed > KEEPER_VERSION) {
            return Err(KeeperError::Newer {
                database,
                installed,
                ours: KEEPER_VERSION,
            });
        }
        self.take_advice();
        let mut done = run_scripts(&mut self.client).await;
        // Roles are shared by all databases: another one's installer may have been faster.
        for _ in 1..INSTALL_ATTEMPTS {
            match &done {
                Err((_, error)) if is_race(error) => done = run_scripts(&mut self.client).await,
                _ => break,
            }
        }
        if let Err((script, error)) = done {
            let failed = classify(
                &database,
                format!("installing the keeper ({script})"),
                &error,
            );
            return Err(self.with_grant_hint(failed).await);
        }
        let shortcomings = self.take_advice();
        Ok(InstallReport {
            version: KEEPER_VERSION,
            previous,
            shortcomings,
        })
    }

    /// The hint that matters while installing names the database and the role.
    async fn with_grant_hint(&self, error: KeeperError) -> KeeperError {
        let KeeperError::Denied { doing, message, .. } = error else {
            return error;
        };
        let sql = "SELECT format('GRANT CREATE ON DATABASE %I TO %I', current_database(), current_user) AS grant";
        let hint = match self.row("asking who we are", sql, &[]).await {
            Ok(row) => column::<String>(&row, "grant").ok(),
            Err(_) => None,
        };
        let hint =
            hint.map(|grant| format!("let the owner of the database or a superuser run: {grant}"));
        KeeperError::Denied {
            doing,
            message,
            hint,
        }
    }

    /// Disables every table and removes schema `reprieve`. Role `reprieve_admin` stays: other
    /// databases may use it.
    ///
    /// # Errors
    /// [`KeeperError::GraveyardNotEmpty`] unless told to drop it.
    pub async fn uninstall(
        &mut self,
        graveyard: Graveyard,
        progress: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<UninstallReport, KeeperError> {
        if self.installed().await?.is_none() {
            return Err(KeeperError::NotInstalled {
                database: self.database().to_owned(),
            });
        }
        self.take_time().await?;
        let (buried, marked) = self.deleted_rows().await?;
        if graveyard == Graveyard::Keep && buried + marked > 0 {
            return Err(KeeperError::GraveyardNotEmpty {
                rows: buried + marked,
                buried,
                marked,
            });
        }
        let disabled = self.disable_all(progress).await?;
        // What was deleted between the count and now.
        self.take_time().await?;
        let (late, _) = self.deleted_rows().await?;
        if graveyard == Graveyard::Keep && late > 0 {
            return Err(KeeperError::GraveyardNotEmpty {
                rows: late,
                buried: late,
                marked: 0,
            });
        }
        let drop = "DROP SCHEMA reprieve CASCADE";
        self.batch("removing schema reprieve", drop).await?;
        self.pin().await?;
        let tables = disabled.into_iter().map(|state| state.table).collect();
        Ok(UninstallReport {
            tables,
            lost_rows: late,
        })
    }

    /// Rows in the graveyard, and tombstones.
    async fn deleted_rows(&self) -> Result<(i64, i64), KeeperError> {
        const DOING: &str = "counting deleted rows";
        let row = self
            .row(
                DOING,
                "SELECT count(*) AS buried FROM reprieve.graveyard",
                &[],
            )
            .await?;
        let buried = column(&row, "buried")?;
        let sql = "SELECT format('SELECT count(*) AS marked FROM %s WHERE deletion_id IS NOT NULL',
                                 reprieve.qualified(relid)) AS sql
                   FROM reprieve.tables
                   WHERE mode = 'mark' AND reprieve.qualified(relid) IS NOT NULL";
        let mut marked = 0;
        for row in self.rows(DOING, sql, &[]).await? {
            let count = self.row(DOING, column(&row, "sql")?, &[]).await?;
            marked += column::<i64>(&count, "marked")?;
        }
        Ok((buried, marked))
    }
}

fn is_race(error: &tokio_postgres::Error) -> bool {
    let code = error.code();
    code == Some(&SqlState::UNIQUE_VIOLATION)
        || code == Some(&SqlState::DUPLICATE_OBJECT)
        || code == Some(&SqlState::T_R_DEADLOCK_DETECTED)
        || error
            .as_db_error()
            .is_some_and(|db| db.message() == "tuple concurrently updated")
}

/// Runs every script; the error names the one that failed.
async fn run_scripts(client: &mut Client) -> Result<(), (&'static str, tokio_postgres::Error)> {
    let transaction = client
        .transaction()
        .await
        .map_err(|error| ("begin", error))?;
    let start = format!(
        "{INSTALL_SETTINGS}; SET LOCAL reprieve.upgrades_to = '{KEEPER_VERSION}';
         SELECT pg_advisory_xact_lock({INSTALL_LOCK})"
    );
    transaction
        .batch_execute(&start)
        .await
        .map_err(|error| ("waiting for its turn", error))?;
    for (name, script) in SCRIPTS {
        // Event triggers read the texts of schema changes: aliases in ours look like tables of the client's.
        transaction
            .batch_execute("SET LOCAL reprieve.reconciling = '1'")
            .await
            .map_err(|error| (*name, error))?;
        transaction
            .batch_execute(script)
            .await
            .map_err(|error| (*name, error))?;
    }
    let remember = format!(
        "INSERT INTO reprieve.settings AS s (key, value) VALUES ('keeper_version', '{KEEPER_VERSION}')
         ON CONFLICT (key) DO UPDATE SET value = excluded.value WHERE s.value <> excluded.value;
         -- Sidecars that serve this database without a keeper must be waited for from now on.
         NOTIFY reprieve_catalog"
    );
    transaction
        .batch_execute(&remember)
        .await
        .map_err(|error| ("keeper_version", error))?;
    transaction
        .commit()
        .await
        .map_err(|error| ("commit", error))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FNV-1a of all scripts, as of [`KEEPER_VERSION`].
    const SCRIPTS_OF_THIS_VERSION: u64 = 0x3717_bdac_fa78_384a;

    /// Sidecars leave a keeper of their own version as it is.
    #[test]
    fn the_version_goes_up_with_the_scripts() {
        let fingerprint = SCRIPTS
            .iter()
            .flat_map(|(name, script)| name.bytes().chain(script.bytes()))
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
                (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
            });
        assert_eq!(
            fingerprint, SCRIPTS_OF_THIS_VERSION,
            "the scripts changed: raise KEEPER_VERSION if {KEEPER_VERSION} was given to anybody, and set this to {fingerprint:#x}"
        );
    }

    #[test]
    fn scripts_run_in_the_order_of_their_names() {
        assert!(SCRIPTS.is_sorted_by_key(|(name, _)| *name));
        assert_eq!(
            SCRIPTS.first().map(|(name, _)| *name),
            Some("010_schema.sql")
        );
    }
}
