//! Listeners, what all clients share, and the way out.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use session::{CatalogState, LocalRows, LocalShow, PlanCache, Port};
use tokio::task::JoinSet;

use crate::client;
use crate::clients::Clients;
use crate::databases::{Databases, KeeperSettings};
use crate::listener::Listener;
use crate::metrics::Metrics;
use crate::phase::{Phase, PhaseSwitch, PhaseWatch};
use crate::settings::Settings;
use crate::threads::Threads;

/// Connections that have not said yet what they want, beyond the limits for clients: cancel
/// requests and probes must get in when all places are taken.
const OPENING_MAX: usize = 512;
/// After an error of accept(), which is most often a lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// For last words once everybody was sent away.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// What all clients share.
pub(crate) struct Shared {
    settings: ArcSwap<Settings>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) clients: Arc<Clients>,
    pub(crate) databases: Arc<Databases>,
    pub(crate) plans: PlanCache,
    pub(crate) threads: Threads,
    connections: AtomicUsize,
    started: SystemTime,
    version: &'static str,
}

impl Shared {
    pub(crate) fn settings(&self) -> Arc<Settings> {
        self.settings.load_full()
    }

    pub(crate) fn local_rows(&self, what: LocalShow) -> LocalRows {
        crate::local::rows(self, what)
    }

    pub(crate) fn started(&self) -> SystemTime {
        self.started
    }

    pub(crate) fn version(&self) -> &'static str {
        self.version
    }
}

/// What the proxy is made of besides [`Settings`].
pub struct Fixed {
    pub keeper: Option<KeeperSettings>,
    pub plan_cache_bytes_max: u64,
    /// Threads that relay.
    pub threads: usize,
    pub version: &'static str,
}

/// The proxy. Cheap to clone; all clones are the same.
#[derive(Clone)]
pub struct Proxy {
    shared: Arc<Shared>,
    phase: PhaseSwitch,
}

/// A listener and the port that its clients come through.
pub struct Bound {
    pub port: Port,
    pub listener: Listener,
}

impl Proxy {
    /// To be called where everything but relaying shall run.
    ///
    /// # Errors
    /// No threads can be started.
    pub fn new(settings: Settings, fixed: Fixed) -> io::Result<Self> {
        let metrics = Arc::new(Metrics::new());
        let shared = Arc::new(Shared {
            settings: ArcSwap::from_pointee(settings),
            clients: Arc::new(Clients::default()),
            databases: Databases::new(fixed.keeper, Arc::clone(&metrics)),
            metrics,
            plans: PlanCache::new(fixed.plan_cache_bytes_max),
            threads: Threads::start(fixed.threads)?,
            connections: AtomicUsize::new(0),
            started: SystemTime::now(),
            version: fixed.version,
        });
        Ok(Self {
            shared,
            phase: PhaseSwitch::new(),
        })
    }

    /// Replaces the settings for clients and databases that come from now on.
    pub fn reload(&self, settings: Settings, keeper: Option<KeeperSettings>) {
        self.shared.settings.store(Arc::new(settings));
        self.shared.databases.reconfigure(keeper);
    }

    pub fn metrics(&self) -> Arc<Metrics> {
        Arc::clone(&self.shared.metrics)
    }

    /// Names and states of the databases that have clients.
    pub fn databases(&self) -> Vec<(String, CatalogState)> {
        self.shared.databases.list()
    }

    /// `Ok` if a client that came now would be served.
    ///
    /// # Errors
    /// Why not, in one line.
    pub async fn readiness(&self) -> Result<(), String> {
        if self.phase.watch().now() != Phase::Running {
            return Err("draining".to_owned());
        }
        let settings = self.shared.settings();
        settings
            .upstream
            .probe()
            .await
            .map_err(|error| format!("PostgreSQL: {error}"))?;
        self.shared
            .databases
            .readiness()
            .await
            .map_err(|reason| format!("keeper: {reason}"))
    }

    /// Begins to drain; called again, stops at once.
    pub fn shut_down(&self) {
        match self.phase.watch().now() {
            Phase::Running => self.phase.advance(Phase::Draining),
            Phase::Draining | Phase::Stopping => self.phase.advance(Phase::Stopping),
        }
    }

    /// Serves until it was shut down and everybody has gone, or was sent away.
    pub async fn serve(&self, listeners: Vec<Bound>) {
        let mut accepting = JoinSet::new();
        for bound in listeners {
            accepting.spawn(accept(Arc::clone(&self.shared), bound, self.phase.watch()));
        }
        let mut phase = self.phase.watch();
        phase.reached(Phase::Draining).await;
        let (app, admin) = self.shared.clients.now();
        tracing::info!(app, admin, "draining");
        tokio::select! {
            () = self.shared.clients.app_gone() => {}
            () = phase.reached(Phase::Stopping) => {}
            () = tokio::time::sleep(self.shared.settings().limits.drain_timeout) => {
                let (app, _) = self.shared.clients.now();
                tracing::warn!(app, "drain timeout: the rest is sent away");
            }
        }
        self.phase.advance(Phase::Stopping);
        let _ = tokio::time::timeout(STOP_TIMEOUT, self.shared.clients.all_gone()).await;
        accepting.shutdown().await;
    }
}

async fn accept(shared: Arc<Shared>, bound: Bound, phase: PhaseWatch) {
    let closes_at = match bound.port {
        Port::App => Phase::Draining,
        Port::Admin => Phase::Stopping,
    };
    let mut closing = phase.clone();
    loop {
        let accepted = tokio::select! {
            accepted = bound.listener.accept() => accepted,
            () = closing.reached(closes_at) => return,
        };
        let home = shared.threads.home();
        let accepted = accepted.and_then(|(incoming, address)| {
            incoming.move_to(home).map(|incoming| (incoming, address))
        });
        let (incoming, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "accept failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let limits = shared.settings().limits;
        let slots = limits.max_clients + limits.max_admin_clients + OPENING_MAX;
        let Some(slot) = Slot::take(&shared, slots) else {
            shared.metrics.turned_away("too_many_connections");
            continue;
        };
        let (shared, phase, port) = (Arc::clone(&shared), phase.clone(), bound.port);
        tokio::spawn(client::serve(shared, incoming, address, port, phase, slot));
    }
}

/// One of the connections that may be open at a time.
pub(crate) struct Slot(Arc<Shared>);

impl Slot {
    fn take(shared: &Arc<Shared>, slots: usize) -> Option<Self> {
        let before = shared.connections.fetch_add(1, Ordering::Relaxed);
        let slot = Self(Arc::clone(shared));
        (before < slots).then_some(slot)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}
