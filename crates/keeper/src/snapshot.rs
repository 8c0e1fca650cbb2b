//! Loading the catalog, and telling the database which one a sidecar serves by.

use std::sync::Arc;
use std::time::Duration;

use catalog::Catalog;

use crate::connection::{Keeper, column};
use crate::error::KeeperError;

/// One catalog as read, and the fingerprint by which it is acknowledged.
#[derive(Debug, Clone)]
pub struct Loaded {
    pub catalog: Arc<Catalog>,
    /// md5 of the document, as PostgreSQL computes it.
    pub md5: String,
}

/// A running `reprieve serve`, for the leases of two-phase enabling.
#[derive(Debug, Clone)]
pub struct Sidecar {
    /// Unique among running processes, e.g. host, pid and start time.
    pub id: String,
    pub version: String,
    /// How long the database believes that this sidecar still serves, if it is not heard of again.
    pub lease: Duration,
}

impl Keeper {
    /// Reads the catalog of this database.
    ///
    /// # Errors
    /// [`KeeperError::NotInstalled`] where there is no keeper.
    pub async fn load(&self) -> Result<Loaded, KeeperError> {
        const DOING: &str = "loading the catalog";
        let sql = "SELECT document, md5(document) AS md5 FROM reprieve.catalog_v1() document";
        let row = self
            .row(DOING, sql, &[])
            .await
            .map_err(|error| self.or_not_installed(error))?;
        let document: &str = column(&row, "document")?;
        let catalog = Catalog::from_json(document).map_err(|error| KeeperError::Unexpected {
            doing: DOING.to_owned(),
            reason: error.to_string(),
        })?;
        Ok(Loaded {
            catalog: Arc::new(catalog),
            md5: column(&row, "md5")?,
        })
    }

    /// Tells the database that `sidecar` now serves every session by the catalog `md5`, and renews
    /// its lease. To be called at least once per half lease. Tables that waited for this sidecar
    /// alone begin to mark. Returns the md5 of the catalog as it is then: if it is another one, load
    /// again.
    pub async fn acknowledge(&self, sidecar: &Sidecar, md5: &str) -> Result<String, KeeperError> {
        let lease = sidecar.lease.as_secs_f64();
        let row = self
            .row(
                "acknowledging the catalog",
                "SELECT reprieve.ack_v1($1, $2, $3, make_interval(secs => $4)) AS md5",
                &[&sidecar.id, &sidecar.version, &md5, &lease],
            )
            .await
            .map_err(|error| self.or_not_installed(error))?;
        column(&row, "md5")
    }

    /// Ends the lease of a sidecar that stops, so that nobody waits for it.
    pub async fn leave(&self, sidecar: &Sidecar) -> Result<(), KeeperError> {
        self.rows(
            "ending the lease",
            "DELETE FROM reprieve.proxies WHERE id = $1",
            &[&sidecar.id],
        )
        .await?;
        Ok(())
    }

    /// Lets tables whose catalog every sidecar has acknowledged begin to mark. Returns how many did.
    pub async fn advance(&self) -> Result<i64, KeeperError> {
        let row = self
            .row(
                "advancing enabled tables",
                "SELECT reprieve.advance_v1()::bigint AS advanced",
                &[],
            )
            .await
            .map_err(|error| self.or_not_installed(error))?;
        column(&row, "advanced")
    }

    /// True if changes of the catalog do not ring the bell by themselves: somebody must
    /// [`announce`](Self::announce) them. So it is where transactions may be prepared.
    pub async fn is_to_announce(&self) -> Result<bool, KeeperError> {
        let sql = "SELECT current_setting('max_prepared_transactions')::int > 0 AS possible";
        let row = self.row("reading the settings", sql, &[]).await?;
        column(&row, "possible")
    }

    /// Tells all sidecars of changes of the catalog that have been committed. True if there were any. Cheap.
    pub async fn announce(&self) -> Result<bool, KeeperError> {
        let sql = "SELECT reprieve.announce_v1() AS announced";
        let row = self.row("announcing catalog changes", sql, &[]).await;
        column(
            &row.map_err(|error| self.or_not_installed(error))?,
            "announced",
        )
    }

    /// Judges the enabled tables that changed again and enables new ones that match `tables.enable`: schema changes that
    /// neither a proxy nor an event trigger saw. Cheap where nothing changed.
    pub async fn reconcile(&self) -> Result<(), KeeperError> {
        self.rows("reconciling", "SELECT reprieve.reconcile_v1(false)", &[])
            .await
            .map_err(|error| self.or_not_installed(error))?;
        Ok(())
    }

    /// True if a DBA has switched on that sidecars purge deleted rows whose time is over. Cheap.
    pub async fn is_to_purge(&self) -> Result<bool, KeeperError> {
        let sql = "SELECT EXISTS (SELECT FROM reprieve.settings WHERE key = 'retention.purge' AND value = 'on') AS wanted";
        let row = self.row("reading the settings", sql, &[]).await;
        column(
            &row.map_err(|error| self.or_not_installed(error))?,
            "wanted",
        )
    }

    /// Purges some rows whose time is over, in one transaction. True if there may be more; false also where another sidecar is at it.
    pub async fn purge(&self) -> Result<bool, KeeperError> {
        let sql = "SELECT reprieve.purge_in_background_v1() AS more";
        let row = self.row("purging", sql, &[]).await;
        column(&row.map_err(|error| self.or_not_installed(error))?, "more")
    }

    /// A missing schema or function means that nobody installed the keeper.
    pub(crate) fn or_not_installed(&self, error: KeeperError) -> KeeperError {
        match error {
            KeeperError::Server { ref sqlstate, .. }
                if matches!(sqlstate.as_str(), "3F000" | "42883" | "42P01") =>
            {
                KeeperError::NotInstalled {
                    database: self.database().to_owned(),
                }
            }
            other => other,
        }
    }
}
