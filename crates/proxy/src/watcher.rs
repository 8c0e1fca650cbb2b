//! Keeps the catalog of one database up to date for as long as it has clients.
//!
//! The keeper's connection is closed soon after the last client has left, so that DROP DATABASE and
//! CREATE DATABASE ... TEMPLATE work: the server waits five seconds for other connections to go, we
//! linger one.
//!
//! While the connection is down, sessions keep the last catalog until our lease ends: until then no
//! other sidecar begins to mark a table that we do not know of. After that, or when one of our own
//! sessions has changed the schema, nobody is served (57P03) until the catalog is read again.

use std::sync::{Arc, Weak};
use std::time::Duration;

use keeper::{Keeper, KeeperError, Loaded, TableSettings};
use session::CatalogState;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::databases::{Database, Databases, KeeperSettings};
use crate::monitor;

/// Between two looks for changes of the catalog that nobody has announced.
const ANNOUNCE_PAUSE: Duration = Duration::from_millis(100);
const LINGER: Duration = Duration::from_secs(1);
/// For one call of the keeper.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);
const INSTALL_TIMEOUT: Duration = Duration::from_secs(60);
const ENABLE_PAUSE: Duration = Duration::from_secs(30);
/// Between two steps of a purge.
const PURGE_PAUSE: Duration = Duration::from_millis(200);
const BACKOFF_MIN: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(5);
/// While others change the schema all the time, each change rings the bell anyway.
const LOADS_MAX: usize = 5;
/// Of the lease, or a quarter of it: what a slow answer and clocks may cost us, and the end of statements
/// that are on their way.
const LEASE_MARGIN_MAX: Duration = Duration::from_secs(5);
/// How long those who wait for a newer catalog wait for statements that were planned by an older one.
const FOLLOW_TIMEOUT: Duration = Duration::from_millis(20);
const FOLLOW_PAUSE: Duration = Duration::from_millis(5);

/// Why the watch over a connection ended.
enum Over {
    /// The last client left a while ago.
    Unused,
    /// The settings are others now.
    Reconfigured,
    /// There is no database of this name: physical replication names one that need not exist.
    NoDatabase,
    Failed {
        /// Clients read it.
        reason: String,
        /// For whoever reads the log.
        hint: Option<String>,
    },
}

impl From<KeeperError> for Over {
    fn from(error: KeeperError) -> Self {
        if error.is_no_such_database() {
            return Self::NoDatabase;
        }
        Self::Failed {
            reason: error.to_string(),
            hint: error.hint(),
        }
    }
}

fn failed(reason: impl Into<String>) -> Over {
    Over::Failed {
        reason: reason.into(),
        hint: None,
    }
}

/// Runs until nobody uses the database.
pub(crate) async fn watch(databases: Weak<Databases>, database: Arc<Database>) {
    let mut watcher = Watcher {
        users: database.watch_users(),
        wanted: database.watch_wanted(),
        database,
        lease_ends: Instant::now(),
        followed: None,
        is_behind: false,
        enabling: false,
        purge: None,
    };
    let mut backoff = BACKOFF_MIN;
    loop {
        let Some(registry) = databases.upgrade() else {
            return;
        };
        let before = watcher.lease_ends;
        let database = Arc::clone(&watcher.database);
        let over = tokio::select! {
            over = watcher.connected(&registry) => over,
            () = lease_over(&database) => failed("no answer before the lease was over"),
        };
        if watcher.lease_ends > before {
            backoff = BACKOFF_MIN;
        }
        let pause = match over {
            Over::Unused => Duration::ZERO,
            Over::Reconfigured => {
                watcher.enabling = false;
                continue;
            }
            Over::NoDatabase => {
                // Nobody can mark rows there. Looked for again after each pause.
                watcher.renew(Instant::now() + BACKOFF_MAX + CALL_TIMEOUT * 2);
                watcher.database.publish(CatalogState::NotInstalled);
                watcher.database.serve(watcher.database.wanted());
                backoff
            }
            Over::Failed { reason, hint } => {
                watcher.degrade(&reason, hint.as_deref());
                backoff
            }
        };
        drop(registry);
        watcher.pause(pause).await;
        backoff = (backoff * 2).min(BACKOFF_MAX);
        let Some(registry) = databases.upgrade() else {
            return;
        };
        if *watcher.users.borrow() == 0 && registry.retire(&watcher.database) {
            return;
        }
    }
}

/// Looks for schema changes that nobody told of. What stands in the way now may be gone the next time.
async fn reconcile(keeper: &Keeper, database: &str, patience: Duration) -> Result<(), Over> {
    match timeout(patience, keeper.reconcile()).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) if keeper.is_closed() => Err(error.into()),
        Ok(Err(error)) => {
            tracing::warn!(database, %error, "schema changes were not looked for");
            Ok(())
        }
        Err(_) => Err(failed(format!(
            "looking for schema changes: no answer within {patience:?}"
        ))),
    }
}

/// A task that ends with the connection beside which it runs.
struct Running(JoinHandle<()>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.abort();
    }
}

struct Watcher {
    database: Arc<Database>,
    users: watch::Receiver<usize>,
    wanted: watch::Receiver<u64>,
    /// Until then the last catalog may be served by. A little earlier than others believe.
    lease_ends: Instant,
    /// md5 of the newest catalog by which alone sessions go.
    followed: Option<String>,
    /// The catalog read last is not acknowledged yet.
    is_behind: bool,
    /// `tables.enable` was applied by this process.
    enabling: bool,
    /// The purge that runs, or the last one.
    purge: Option<JoinHandle<()>>,
}

impl Watcher {
    /// One connection, from opening to its end.
    async fn connected(&mut self, registry: &Databases) -> Over {
        let mut changes = registry.watch_settings();
        let Some(settings) = changes.borrow_and_update().clone() else {
            return failed("no keeper is configured");
        };
        tokio::select! {
            over = self.follow(registry, &settings) => over.map_or_else(|over| over, |()| Over::Unused),
            Ok(()) = changes.changed() => Over::Reconfigured,
        }
    }

    async fn follow(
        &mut self,
        registry: &Databases,
        settings: &Arc<KeeperSettings>,
    ) -> Result<(), Over> {
        let name = self.database.name();
        let mut keeper = call("connecting", Keeper::connect(&settings.config, name)).await?;
        let mut installed = call("looking for the keeper", keeper.installed()).await?;
        if settings.auto_install && installed < Some(keeper::KEEPER_VERSION) {
            installed = self.install(&mut keeper).await?.or(installed);
        }
        // Who configures no tables leaves to others what they configured.
        if installed.is_some() && settings.tables != TableSettings::default() {
            call(
                "storing the table settings",
                keeper.set_table_settings(&settings.tables),
            )
            .await?;
            if !std::mem::replace(&mut self.enabling, true) {
                let enable = enable(Arc::clone(settings), name.to_owned(), self.users.clone());
                tokio::spawn(enable);
            }
        }
        let _monitor = Running(tokio::spawn(monitor::watch(
            Arc::clone(settings),
            name.to_owned(),
            Arc::clone(registry.metrics()),
        )));
        let mut bell = call("listening", keeper.watch(settings.sidecar.lease / 3)).await?;
        let announces = call("reading settings", keeper.is_to_announce()).await?;
        let mut looked = Instant::now();
        loop {
            if installed.is_some() && looked.elapsed() >= settings.sidecar.lease / 3 {
                reconcile(&keeper, self.database.name(), settings.sidecar.lease / 3).await?;
                self.purge(&keeper, settings).await?;
                looked = Instant::now();
            }
            if announces {
                // One of our own sessions may have changed the schema: the others hear of it now.
                announce(&keeper, &self.database).await?;
            }
            self.refresh(&keeper, registry, settings).await?;
            tokio::select! {
                rung = bell.changed() => rung?,
                _ = self.wanted.changed() => {}
                () = followed(&self.database), if self.is_behind => {}
                looked = look_out(&keeper, &self.database), if announces => looked?,
                () = unused(&mut self.users) => {
                    let _ = timeout(CALL_TIMEOUT, keeper.leave(&settings.sidecar)).await;
                    return Ok(());
                }
            }
        }
    }

    /// Deleted rows whose time is over go in the background, if a DBA wants that.
    async fn purge(&mut self, keeper: &Keeper, settings: &Arc<KeeperSettings>) -> Result<(), Over> {
        if self.purge.as_ref().is_some_and(|run| !run.is_finished()) {
            return Ok(());
        }
        let wanted = match timeout(CALL_TIMEOUT, keeper.is_to_purge()).await {
            Ok(Err(KeeperError::NotInstalled { .. })) => false,
            Ok(result) => result?,
            Err(_) => return Err(failed("reading the settings: no answer")),
        };
        if wanted {
            let name = self.database.name().to_owned();
            let run = purge(Arc::clone(settings), name, self.users.clone());
            self.purge = Some(tokio::spawn(run));
        }
        Ok(())
    }

    /// `None`: we may not. Then nothing is enabled here, and clients are served as they are.
    async fn install(&self, keeper: &mut Keeper) -> Result<Option<u32>, Over> {
        let database = self.database.name();
        let report = match timeout(INSTALL_TIMEOUT, keeper.install()).await {
            Ok(Err(error @ KeeperError::Denied { .. })) => {
                let hint = error.hint();
                tracing::error!(database, %error, hint, "keeper not installed");
                return Ok(None);
            }
            Ok(result) => result?,
            Err(_) => {
                let text = format!("installing: no answer within {INSTALL_TIMEOUT:?}");
                return Err(failed(text));
            }
        };
        tracing::info!(database, version = report.version, "keeper installed");
        for shortcoming in report.shortcomings {
            tracing::warn!(database, "{shortcoming}");
        }
        Ok(Some(report.version))
    }

    /// Reads the catalog, serves by it, says so, and lets tables that waited for us begin to mark.
    async fn refresh(
        &mut self,
        keeper: &Keeper,
        registry: &Databases,
        settings: &KeeperSettings,
    ) -> Result<(), Over> {
        self.wanted.borrow_and_update();
        let wanted = self.database.wanted();
        self.is_behind = false;
        for _ in 0..LOADS_MAX {
            let asked = Instant::now();
            let lease = settings.sidecar.lease;
            let lease_ends = asked + lease - LEASE_MARGIN_MAX.min(lease / 4);
            let loaded = match within_keeper(keeper.load()).await {
                Err(KeeperError::NotInstalled { .. }) => {
                    self.database.publish(CatalogState::NotInstalled);
                    self.renew(lease_ends);
                    break;
                }
                other => other?,
            };
            // Whom we serve already is served by the newer catalog before we say so; whom we do not
            // serve yet, once it is sure that no table begins to mark without us.
            let was_serving = self.database.is_serving();
            if was_serving {
                self.publish(&loaded);
            }
            if !was_serving || followed_within(&self.database, FOLLOW_TIMEOUT).await {
                self.followed = Some(loaded.md5.clone());
            } else {
                self.is_behind = true;
            }
            let known = self.followed.as_deref().unwrap_or_default();
            let acknowledged = keeper.acknowledge(&settings.sidecar, known);
            let current = match timeout(CALL_TIMEOUT, acknowledged).await {
                Ok(Err(error)) if error.is_transient() && !keeper.is_closed() => {
                    // Until the lease ends we are waited for all the same.
                    let name = self.database.name();
                    tracing::warn!(database = name, %error, "catalog not acknowledged");
                    self.is_behind = true;
                    break;
                }
                Ok(result) => result?,
                Err(_) => return Err(failed("acknowledging the catalog: no answer")),
            };
            if !was_serving {
                self.publish(&loaded);
            }
            self.renew(lease_ends);
            registry.metrics().catalog_loaded(self.database.name());
            if self.is_behind || current == loaded.md5 {
                break;
            }
        }
        if self.database.is_serving() {
            self.database.serve(wanted);
        }
        Ok(())
    }

    fn publish(&self, loaded: &Loaded) {
        let generation = loaded.catalog.generation();
        if !matches!(self.database.state(), CatalogState::Ready(old) if old.generation() == generation)
        {
            tracing::debug!(
                database = self.database.name(),
                generation = generation.0,
                "catalog loaded"
            );
            let state = CatalogState::Ready(Arc::clone(&loaded.catalog));
            self.database.publish(state);
        }
    }

    fn renew(&mut self, lease_ends: Instant) {
        self.lease_ends = lease_ends;
        self.database.renew(lease_ends);
    }

    /// The connection is gone or could not be made.
    fn degrade(&self, reason: &str, hint: Option<&str>) {
        let name = self.database.name();
        let known = self.database.has_catalog();
        if known && Instant::now() < self.lease_ends {
            tracing::warn!(
                database = name,
                reason,
                "keeper lost, the last catalog is kept"
            );
            return;
        }
        tracing::error!(
            database = name,
            reason,
            hint,
            "no catalog: clients are refused"
        );
        self.database
            .publish(CatalogState::Unavailable(reason.to_owned()));
        if known {
            self.database.lapse();
        }
        self.database.serve(self.database.wanted());
    }

    /// Waits before the next attempt: shorter if the lease ends or the last client leaves.
    async fn pause(&mut self, pause: Duration) {
        let lease = self.lease_ends;
        let lease_counts = lease > Instant::now();
        tokio::select! {
            () = sleep(pause) => {}
            () = sleep_until(lease), if lease_counts => {}
            () = unused(&mut self.users) => {}
        }
    }
}

/// Returns once a lease is over that there was, or will be.
async fn lease_over(database: &Database) {
    loop {
        let known = database.serves_until();
        if known <= Instant::now() {
            sleep(FOLLOW_TIMEOUT).await;
            continue;
        }
        sleep_until(known).await;
        if database.serves_until() == known {
            return;
        }
    }
}

/// Returns once nothing is on its way that was planned by an older catalog.
async fn followed(database: &Database) {
    loop {
        sleep(FOLLOW_PAUSE).await;
        if database.is_followed() {
            return;
        }
    }
}

async fn followed_within(database: &Database, time: Duration) -> bool {
    database.is_followed() || timeout(time, followed(database)).await.is_ok()
}

/// Waits for changes of the catalog that nobody has announced.
async fn look_out(keeper: &Keeper, database: &Database) -> Result<(), Over> {
    loop {
        sleep(ANNOUNCE_PAUSE).await;
        match announce(keeper, database).await? {
            Some(true) => return Ok(()),
            Some(false) => {}
            None => std::future::pending().await,
        }
    }
}

/// `None`: there is no keeper, an older one, or it was just removed. The bell rings all the same.
async fn announce(keeper: &Keeper, database: &Database) -> Result<Option<bool>, Over> {
    if !matches!(database.state(), CatalogState::Ready(_)) {
        return Ok(None);
    }
    match timeout(CALL_TIMEOUT, keeper.announce()).await {
        Ok(Err(KeeperError::NotInstalled { .. })) => Ok(None),
        Ok(Err(error)) if error.is_transient() && !keeper.is_closed() => Ok(Some(false)),
        Ok(result) => Ok(Some(result?)),
        Err(_) => Err(failed("announcing: no answer")),
    }
}

/// Returns once nobody has used the database for a while.
async fn unused(users: &mut watch::Receiver<usize>) {
    loop {
        if users.wait_for(|users| *users == 0).await.is_err() {
            return;
        }
        if timeout(LINGER, users.wait_for(|users| *users > 0))
            .await
            .is_err()
        {
            return;
        }
    }
}

/// Applies `tables.enable` to the tables that exist; again where somebody kept them locked. On a
/// connection of its own: it waits for the sidecars to follow, this one included.
async fn enable(settings: Arc<KeeperSettings>, database: String, users: watch::Receiver<usize>) {
    while *users.borrow() > 0 {
        let run = async {
            let mut keeper = Keeper::connect(&settings.config, &database).await?;
            keeper.enable_configured(&mut |_| {}).await
        };
        match run.await {
            Ok(enabled) => {
                for state in enabled.states {
                    let (table, mode) = (state.table, state.mode);
                    tracing::info!(
                        database,
                        table,
                        mode,
                        reason = state.reason,
                        "table enabled"
                    );
                }
                for failed in &enabled.failed {
                    let (table, error) = (&failed.table, &failed.error);
                    tracing::warn!(database, table, %error, hint = error.hint(), "table not enabled");
                }
                if !enabled
                    .failed
                    .iter()
                    .any(|failed| failed.error.is_transient())
                {
                    return;
                }
            }
            Err(error) if error.is_transient() => {
                tracing::warn!(database, %error, "tables.enable is applied again soon");
            }
            Err(error) => {
                tracing::error!(database, %error, "tables.enable could not be applied");
                return;
            }
        }
        sleep(ENABLE_PAUSE).await;
    }
}

/// Purges step by step, each in a transaction of its own, on a connection of its own: a step waits for locks.
async fn purge(settings: Arc<KeeperSettings>, database: String, users: watch::Receiver<usize>) {
    let run = async {
        let keeper = Keeper::connect(&settings.config, &database).await?;
        while *users.borrow() > 0 && keeper.purge().await? {
            sleep(PURGE_PAUSE).await;
        }
        Ok::<_, KeeperError>(())
    };
    if let Err(error) = run.await {
        tracing::warn!(database, %error, "purge stopped, it is tried again soon");
    }
}

async fn call<T>(
    doing: &str,
    future: impl Future<Output = Result<T, KeeperError>>,
) -> Result<T, Over> {
    match timeout(CALL_TIMEOUT, future).await {
        Ok(result) => Ok(result?),
        Err(_) => Err(failed(format!(
            "{doing}: no answer within {CALL_TIMEOUT:?}"
        ))),
    }
}

async fn within_keeper<T>(
    future: impl Future<Output = Result<T, KeeperError>>,
) -> Result<T, KeeperError> {
    timeout(CALL_TIMEOUT, future).await.unwrap_or_else(|_| {
        Err(KeeperError::Unexpected {
            doing: "loading the catalog".to_owned(),
            reason: format!("no answer within {CALL_TIMEOUT:?}"),
        })
    })
}
