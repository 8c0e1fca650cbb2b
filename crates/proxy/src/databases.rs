//! One entry per database that has clients: its catalog, and whether a watcher keeps it up to date.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use keeper::{Keeper, KeeperConfig, Sidecar, TableSettings};
use session::{CatalogState, Request};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::metrics::Metrics;
use crate::monitor::MonitorSettings;
use crate::watcher;

/// How long a session waits for its catalog before it is told that there is none.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(15);

/// For a login that only shows that the keeper is let in.
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);
/// Whoever asks for `/readyz` all the time does not make the keeper log in all the time.
const PROBE_HOLDS: Duration = Duration::from_secs(5);

/// Clients read it.
const LEASE_OVER: &str = "the keeper's connection is lost for too long";

/// How the keeper is reached and what it is to do in every database.
#[derive(Debug, Clone)]
pub struct KeeperSettings {
    pub config: KeeperConfig,
    pub auto_install: bool,
    pub tables: TableSettings,
    pub sidecar: Sidecar,
    /// `None`: nobody watches.
    pub monitor: Option<MonitorSettings>,
}

/// Since which catalog a session may have had statements on their way that the server has not answered.
#[derive(Debug, Default)]
pub struct Pin {
    /// A value of [`Database::epoch`]; 0: nothing is on its way.
    epoch: AtomicU64,
}

impl Pin {
    pub fn is_held(&self) -> bool {
        self.epoch.load(Ordering::Acquire) != 0
    }

    /// All that was sent has been answered.
    pub fn release(&self) {
        self.epoch.store(0, Ordering::Release);
    }
}

/// Facts about one database, shared by its sessions.
pub struct Database {
    name: String,
    catalog: ArcSwap<CatalogState>,
    /// Raised with each catalog.
    epoch: AtomicU64,
    pins: Mutex<Vec<Weak<Pin>>>,
    born: Instant,
    /// Milliseconds after [`Self::born`]: until then a catalog may be served by.
    serves_until: AtomicU64,
    /// Raised when the lease is over: whoever has a statement on its way must go.
    lapsed: watch::Sender<u64>,
    /// Raised by everyone who needs a catalog that is read after this moment.
    wanted: watch::Sender<u64>,
    /// The `wanted` that [`Self::catalog`] satisfies.
    served: watch::Sender<u64>,
    /// Clients that have logged in.
    users: watch::Sender<usize>,
}

impl Database {
    fn new(name: &str, state: CatalogState) -> Self {
        Self {
            name: name.to_owned(),
            // Where there is no keeper there is no lease.
            serves_until: AtomicU64::new(match state {
                CatalogState::NotInstalled => u64::MAX,
                _ => 0,
            }),
            catalog: ArcSwap::from_pointee(state),
            epoch: AtomicU64::new(1),
            pins: Mutex::default(),
            born: Instant::now(),
            lapsed: watch::Sender::new(0),
            wanted: watch::Sender::new(1),
            served: watch::Sender::new(0),
            users: watch::Sender::new(0),
        }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn state(&self) -> CatalogState {
        match &**self.catalog.load() {
            CatalogState::Ready(_) | CatalogState::NotInstalled if self.is_over() => {
                CatalogState::Unavailable(LEASE_OVER.to_owned())
            }
            state => state.clone(),
        }
    }

    /// Sessions look at this state from their next statement on.
    pub(crate) fn publish(&self, state: CatalogState) {
        self.catalog.store(Arc::new(state));
        self.epoch.fetch_add(1, Ordering::SeqCst);
    }

    /// True if sessions are served, be it that there is nothing to hide.
    pub(crate) fn is_serving(&self) -> bool {
        let state = self.state();
        matches!(state, CatalogState::Ready(_) | CatalogState::NotInstalled)
    }

    /// True if there is one, be it out of date.
    pub(crate) fn has_catalog(&self) -> bool {
        let state = self.catalog.load();
        matches!(
            &**state,
            CatalogState::Ready(_) | CatalogState::NotInstalled
        )
    }

    /// The catalog may be served by until then.
    pub(crate) fn renew(&self, until: Instant) {
        let until = until.duration_since(self.born).as_millis();
        let until = u64::try_from(until).unwrap_or(u64::MAX);
        self.serves_until.store(until, Ordering::Release);
    }

    /// When the catalog may be served by no longer, as it is known now.
    pub(crate) fn serves_until(&self) -> Instant {
        let until = self.serves_until.load(Ordering::Acquire);
        // Far enough, and no overflow.
        self.born + Duration::from_millis(until.min(u64::from(u32::MAX) * 1000))
    }

    fn is_over(&self) -> bool {
        match self.serves_until.load(Ordering::Acquire) {
            u64::MAX => false,
            until => self.born.elapsed() >= Duration::from_millis(until),
        }
    }

    /// Sends those away who have a statement on its way: it was planned by a catalog that holds no longer.
    pub(crate) fn lapse(&self) {
        self.lapsed.send_modify(|times| *times += 1);
    }

    /// True once the server has answered everything that was planned by an older catalog than the one
    /// published last.
    ///
    /// A session pins itself before it looks at the catalog, we publish before we look at the pins: one
    /// of us sees what the other did.
    pub(crate) fn is_followed(&self) -> bool {
        fence(Ordering::SeqCst);
        let newest = self.epoch.load(Ordering::SeqCst);
        let mut pins = self.pins.lock().unwrap_or_else(PoisonError::into_inner);
        pins.retain(|pin| pin.strong_count() > 0);
        let mut held = pins.iter().filter_map(Weak::upgrade).map(|pin| {
            let epoch = pin.epoch.load(Ordering::SeqCst);
            epoch != 0 && epoch < newest
        });
        !held.any(|is_held| is_held)
    }

    fn new_pin(&self) -> Arc<Pin> {
        let pin = Arc::new(Pin::default());
        let mut pins = self.pins.lock().unwrap_or_else(PoisonError::into_inner);
        if pins.len() == pins.capacity() {
            pins.retain(|pin| pin.strong_count() > 0);
        }
        pins.push(Arc::downgrade(&pin));
        pin
    }

    /// Lets those go on who wanted a catalog no newer than this.
    pub(crate) fn serve(&self, wanted: u64) {
        self.served
            .send_modify(|served| *served = wanted.max(*served));
    }

    /// What the next catalog will satisfy, if its loading begins after this call.
    pub(crate) fn wanted(&self) -> u64 {
        *self.wanted.borrow()
    }

    pub(crate) fn watch_wanted(&self) -> watch::Receiver<u64> {
        self.wanted.subscribe()
    }

    pub(crate) fn watch_users(&self) -> watch::Receiver<usize> {
        self.users.subscribe()
    }

    fn want_newer(&self) -> u64 {
        let mut target = 0;
        self.wanted.send_modify(|wanted| {
            *wanted += 1;
            target = *wanted;
        });
        target
    }
}

struct Entry {
    database: Arc<Database>,
    clients: usize,
    watched: bool,
}

/// Databases by name.
pub struct Databases {
    /// `None`: no keeper anywhere, everything is relayed as it is.
    settings: watch::Sender<Option<Arc<KeeperSettings>>>,
    metrics: Arc<Metrics>,
    entries: Mutex<HashMap<String, Entry>>,
    /// When the keeper logged in last only to see whether it can, and what came of it.
    probed: tokio::sync::Mutex<Option<(Instant, Result<(), String>)>>,
    /// Where watchers run, and what waits for a clock.
    main: Handle,
}

impl Databases {
    /// To be called where they shall be watched over.
    pub fn new(settings: Option<KeeperSettings>, metrics: Arc<Metrics>) -> Arc<Self> {
        Arc::new(Self {
            settings: watch::Sender::new(settings.map(Arc::new)),
            metrics,
            entries: Mutex::default(),
            probed: tokio::sync::Mutex::default(),
            main: Handle::current(),
        })
    }

    /// Open databases connect again with the new settings. Whether there is a keeper at all is
    /// decided once: clients that are being served rely on it.
    pub fn reconfigure(&self, settings: Option<KeeperSettings>) {
        let Some(settings) = settings.filter(|_| self.has_keeper()) else {
            return;
        };
        self.settings.send_replace(Some(Arc::new(settings)));
    }

    pub(crate) fn watch_settings(&self) -> watch::Receiver<Option<Arc<KeeperSettings>>> {
        self.settings.subscribe()
    }

    pub(crate) fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    fn has_keeper(&self) -> bool {
        self.settings.borrow().is_some()
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<String, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A client's hold on its database. Opens no connection yet: who connects may not be who they
    /// say.
    pub fn handle(self: &Arc<Self>, name: &str) -> DatabaseHandle {
        let mut entries = self.entries();
        let entry = entries.entry(name.to_owned()).or_insert_with(|| {
            let state = if self.has_keeper() {
                CatalogState::Loading
            } else {
                CatalogState::NotInstalled
            };
            Entry {
                database: Arc::new(Database::new(name, state)),
                clients: 0,
                watched: false,
            }
        });
        entry.clients += 1;
        DatabaseHandle {
            databases: Arc::clone(self),
            pin: entry.database.new_pin(),
            database: Arc::clone(&entry.database),
            active: Mutex::new(false),
        }
    }

    /// Names and states of the databases that have clients.
    pub fn list(&self) -> Vec<(String, CatalogState)> {
        let entries = self.entries();
        entries
            .iter()
            .map(|(name, entry)| (name.clone(), entry.database.state()))
            .collect()
    }

    /// `Ok` if the keeper serves one of the databases that have clients or, where there are none, can log in to its own.
    pub(crate) async fn readiness(&self) -> Result<(), String> {
        let Some(settings) = self.settings.borrow().clone() else {
            return Ok(());
        };
        let mut reasons = Vec::new();
        for (name, state) in self.list() {
            match state {
                CatalogState::Ready(_) | CatalogState::NotInstalled => return Ok(()),
                CatalogState::Unavailable(reason) => reasons.push(format!("{name}: {reason}")),
                CatalogState::Loading => {}
            }
        }
        if !reasons.is_empty() {
            return Err(reasons.join("; "));
        }
        let mut probed = self.probed.lock().await;
        if let Some((at, result)) = &*probed
            && at.elapsed() < PROBE_HOLDS
        {
            return result.clone();
        }
        let result = probe(&settings.config).await;
        if let (Some((_, Ok(()))), Err(reason)) = (&*probed, &result) {
            tracing::warn!(reason, "the keeper cannot log in any more");
        }
        *probed = Some((Instant::now(), result.clone()));
        result
    }

    fn activate(self: &Arc<Self>, database: &Arc<Database>) {
        let mut entries = self.entries();
        database.users.send_modify(|users| *users += 1);
        let Some(entry) = entries.get_mut(&database.name) else {
            return;
        };
        if !std::mem::replace(&mut entry.watched, true) {
            let watch = watcher::watch(Arc::downgrade(self), Arc::clone(database));
            self.main.spawn(watch);
        }
    }

    fn let_go(&self, database: &Database, was_active: bool) {
        let mut entries = self.entries();
        if was_active {
            database.users.send_modify(|users| *users -= 1);
        }
        let Some(entry) = entries.get_mut(&database.name) else {
            return;
        };
        entry.clients -= 1;
        if entry.clients == 0 && !entry.watched {
            entries.remove(&database.name);
        }
    }

    /// Ends the watch over a database that nobody uses. False: somebody came meanwhile.
    pub(crate) fn retire(&self, database: &Database) -> bool {
        let mut entries = self.entries();
        if *database.users.borrow() > 0 {
            return false;
        }
        self.metrics.database_closed(&database.name);
        // Clients that are still logging in begin anew.
        database.publish(CatalogState::Loading);
        database.served.send_replace(0);
        if let Some(entry) = entries.get_mut(&database.name) {
            entry.watched = false;
            if entry.clients == 0 {
                entries.remove(&database.name);
            }
        }
        true
    }
}

/// Logs in to the database of `keeper.url`, as the subcommands do. It need not exist: that is told only to who was let in.
async fn probe(config: &KeeperConfig) -> Result<(), String> {
    let database = config.database().or(config.user()).unwrap_or("postgres");
    match timeout(PROBE_TIMEOUT, Keeper::connect(config, database)).await {
        Ok(Err(error)) if !error.is_no_such_database() => Err(match error.hint() {
            Some(hint) => format!("{error} ({hint})"),
            None => error.to_string(),
        }),
        Ok(_) => Ok(()),
        Err(_) => Err(format!("no answer within {PROBE_TIMEOUT:?}")),
    }
}

/// One client's hold on its database.
pub struct DatabaseHandle {
    databases: Arc<Databases>,
    database: Arc<Database>,
    pin: Arc<Pin>,
    active: Mutex<bool>,
}

impl DatabaseHandle {
    pub fn name(&self) -> &str {
        self.database.name()
    }

    pub fn state(&self) -> CatalogState {
        self.database.state()
    }

    /// The state by which a statement is about to be planned and sent. To be released once all that was
    /// sent is answered.
    pub fn look(&self) -> CatalogState {
        if self.pin.epoch.load(Ordering::Relaxed) == 0 {
            let epoch = self.database.epoch.load(Ordering::SeqCst);
            self.pin.epoch.store(epoch, Ordering::SeqCst);
            fence(Ordering::SeqCst);
        }
        self.database.state()
    }

    pub fn pin(&self) -> Arc<Pin> {
        Arc::clone(&self.pin)
    }

    /// Changes when those must go who have a statement on its way.
    pub fn watch_lapses(&self) -> watch::Receiver<u64> {
        self.database.lapsed.subscribe()
    }

    /// The client has proved who it is: from now on the catalog is kept up to date.
    pub fn activate(&self) {
        let mut active = self.active.lock().unwrap_or_else(PoisonError::into_inner);
        if !*active && self.databases.has_keeper() {
            *active = true;
            self.databases.activate(&self.database);
        }
    }

    /// Does what a session asked for. Ends in bounded time; the answer is in [`Self::state`].
    pub fn settle(&self, request: Request) -> impl Future<Output = ()> + Send + 'static {
        self.activate();
        let database = Arc::clone(&self.database);
        let target = match request {
            _ if !self.databases.has_keeper() => 0,
            Request::AwaitCatalog => 1,
            Request::ReloadCatalog => database.want_newer(),
        };
        let mut settling = JoinSet::new();
        let settled = async move {
            let mut served = database.served.subscribe();
            let waited = timeout(SETTLE_TIMEOUT, served.wait_for(|served| *served >= target)).await;
            if !matches!(waited, Ok(Ok(_))) {
                // Nobody may be served by a catalog older than DDL that we have seen.
                let reason = "the catalog could not be read in time".to_owned();
                database.publish(CatalogState::Unavailable(reason));
            }
        };
        settling.spawn_on(settled, &self.databases.main);
        async move {
            settling.join_next().await;
        }
    }
}

impl Drop for DatabaseHandle {
    fn drop(&mut self) {
        let active = *self.active.lock().unwrap_or_else(PoisonError::into_inner);
        self.databases.let_go(&self.database, active);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn without_a_keeper_nothing_is_waited_for() {
        let databases = Databases::new(None, Arc::new(Metrics::new()));
        let handle = databases.handle("shop");
        assert!(matches!(handle.state(), CatalogState::NotInstalled));
        assert_eq!(databases.readiness().await, Ok(()));
        handle.settle(Request::ReloadCatalog).await;
        assert_eq!(databases.list().len(), 1);
        drop(handle);
        assert!(databases.list().is_empty());
    }

    #[tokio::test]
    async fn a_keeper_that_nobody_answers_makes_the_database_unavailable() {
        let settings = KeeperSettings {
            config: KeeperConfig::parse("host=/nowhere/at/all user=keeper").unwrap(),
            auto_install: false,
            tables: TableSettings::default(),
            sidecar: Sidecar {
                id: "test".into(),
                version: "0".into(),
                lease: Duration::from_secs(60),
            },
            monitor: None,
        };
        let databases = Databases::new(Some(settings), Arc::new(Metrics::new()));
        let nobody_came = databases.readiness().await.unwrap_err();
        assert!(nobody_came.contains("/nowhere/at/all"), "{nobody_came}");
        let handle = databases.handle("shop");
        assert!(matches!(handle.state(), CatalogState::Loading));
        handle.settle(Request::AwaitCatalog).await;
        let CatalogState::Unavailable(reason) = handle.state() else {
            panic!()
        };
        assert!(reason.contains("/nowhere/at/all"), "{reason}");
        let refused = databases.readiness().await.unwrap_err();
        assert!(refused.starts_with("shop: "), "{refused}");
        drop(handle);
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert!(databases.list().is_empty());
    }
}
