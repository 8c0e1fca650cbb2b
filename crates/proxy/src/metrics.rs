//! What operators count. Names are part of the interface: dashboards rely on them.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use keeper::MonitorReport;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};
use session::{Observation, Port};

use crate::monitor_metrics::Reports;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
#[allow(non_camel_case_types, reason = "label values are lower case")]
enum PortLabel {
    app,
    admin,
}

impl From<Port> for PortLabel {
    fn from(port: Port) -> Self {
        match port {
            Port::App => Self::app,
            Port::Admin => Self::admin,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PortLabels {
    port: PortLabel,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CodeLabels {
    code: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabels {
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DatabaseLabels {
    database: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
#[allow(non_camel_case_types, reason = "label values are lower case")]
pub(crate) enum Outcome {
    delivered,
    failed,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    outcome: Outcome,
}

/// Shared by all clients.
pub struct Metrics {
    registry: Registry,
    clients: Family<PortLabels, Gauge>,
    connections: Family<PortLabels, Counter>,
    turned_away: Family<ReasonLabels, Counter>,
    cancels: Counter,
    statements: Counter,
    rewritten: Counter,
    deletes: Counter,
    refusals: Family<CodeLabels, Counter>,
    plan_cache_hits: Counter,
    plan_cache_shape_hits: Counter,
    plan_cache_misses: Counter,
    bytes_from_clients: Counter,
    bytes_from_servers: Counter,
    upstream_connect: Histogram,
    upstream_failures: Counter,
    catalog_loaded: Family<DatabaseLabels, Gauge<f64, AtomicU64>>,
    monitor_failures: Family<DatabaseLabels, Counter>,
    webhook_posts: Family<OutcomeLabels, Counter>,
    reports: Reports,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    pub fn new() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("reprieve"),
            clients: Family::default(),
            connections: Family::default(),
            turned_away: Family::default(),
            cancels: Counter::default(),
            statements: Counter::default(),
            rewritten: Counter::default(),
            deletes: Counter::default(),
            refusals: Family::default(),
            plan_cache_hits: Counter::default(),
            plan_cache_shape_hits: Counter::default(),
            plan_cache_misses: Counter::default(),
            bytes_from_clients: Counter::default(),
            bytes_from_servers: Counter::default(),
            upstream_connect: Histogram::new(exponential_buckets(0.000_25, 2.0, 16)),
            upstream_failures: Counter::default(),
            catalog_loaded: Family::default(),
            monitor_failures: Family::default(),
            webhook_posts: Family::default(),
            reports: Reports::default(),
        };
        metrics.register();
        metrics
    }

    fn register(&mut self) {
        let r = &mut self.registry;
        r.register("clients", "Clients connected now", self.clients.clone());
        r.register(
            "connections",
            "Clients that began a session",
            self.connections.clone(),
        );
        r.register(
            "turned_away",
            "Connections closed before a session began, by reason",
            self.turned_away.clone(),
        );
        r.register(
            "cancel_requests",
            "CancelRequests relayed",
            self.cancels.clone(),
        );
        r.register(
            "statements",
            "Statements sent by clients",
            self.statements.clone(),
        );
        r.register(
            "rewritten",
            "Statements whose text was changed",
            self.rewritten.clone(),
        );
        r.register(
            "deletes",
            "DELETEs that were sent as marks",
            self.deletes.clone(),
        );
        r.register(
            "refusals",
            "Statements refused, by number",
            self.refusals.clone(),
        );
        r.register(
            "plan_cache_hits",
            "Plans found in the cache",
            self.plan_cache_hits.clone(),
        );
        r.register(
            "plan_cache_shape_hits",
            "Plans found by a text that differs in its literals only",
            self.plan_cache_shape_hits.clone(),
        );
        r.register(
            "plan_cache_misses",
            "Plans made anew",
            self.plan_cache_misses.clone(),
        );
        let bytes = |r: &mut Registry, name: &str, help: &str, counter: &Counter| {
            r.register_with_unit(name, help, Unit::Bytes, counter.clone());
        };
        bytes(
            r,
            "from_clients",
            "Received from clients",
            &self.bytes_from_clients,
        );
        bytes(
            r,
            "from_servers",
            "Received from PostgreSQL",
            &self.bytes_from_servers,
        );
        r.register_with_unit(
            "upstream_connect",
            "Time to connect to PostgreSQL, TLS included",
            Unit::Seconds,
            self.upstream_connect.clone(),
        );
        r.register(
            "upstream_failures",
            "Clients that found no PostgreSQL",
            self.upstream_failures.clone(),
        );
        r.register(
            "catalog_loaded_timestamp_seconds",
            "When the catalog served by was last found up to date, unix time",
            self.catalog_loaded.clone(),
        );
        r.register(
            "monitor_failures",
            "Times that watching a database failed and began anew",
            self.monitor_failures.clone(),
        );
        r.register(
            "webhook_posts",
            "Attempts to tell the webhook, by outcome",
            self.webhook_posts.clone(),
        );
        // There from the start: increase() sees the first one, too.
        for outcome in [Outcome::delivered, Outcome::failed] {
            self.webhook_posts
                .get_or_create(&OutcomeLabels { outcome })
                .inc_by(0);
        }
        r.register_collector(Box::new(self.reports.clone()));
    }

    /// Adds what another part of the process counts.
    pub fn registry_mut(&mut self) -> &mut Registry {
        &mut self.registry
    }

    /// The text of `/metrics` (OpenMetrics).
    pub fn encode(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry)?;
        Ok(text)
    }

    pub fn observe(&self, event: Observation) {
        match event {
            Observation::Statement => self.statements.inc(),
            Observation::Rewritten => self.rewritten.inc(),
            Observation::Delete => self.deletes.inc(),
            Observation::PlanCacheHit => self.plan_cache_hits.inc(),
            Observation::PlanCacheShapeHit => self.plan_cache_shape_hits.inc(),
            Observation::PlanCacheMiss => self.plan_cache_misses.inc(),
        };
    }

    /// The number is that of `docs/refusals.md`.
    pub(crate) fn refused(&self, code: &'static str) {
        self.refusals.get_or_create(&CodeLabels { code }).inc();
    }

    pub(crate) fn client_came(&self, port: Port) {
        let labels = PortLabels { port: port.into() };
        self.connections.get_or_create(&labels).inc();
        self.clients.get_or_create(&labels).inc();
    }

    pub(crate) fn client_went(&self, port: Port) {
        self.clients
            .get_or_create(&PortLabels { port: port.into() })
            .dec();
    }

    pub(crate) fn turned_away(&self, reason: &'static str) {
        self.turned_away
            .get_or_create(&ReasonLabels { reason })
            .inc();
    }

    pub(crate) fn cancel_relayed(&self) {
        self.cancels.inc();
    }

    pub(crate) fn bytes(&self, from_client: u64, from_server: u64) {
        // Other threads count in the same places: not for nothing.
        if from_client > 0 {
            self.bytes_from_clients.inc_by(from_client);
        }
        if from_server > 0 {
            self.bytes_from_servers.inc_by(from_server);
        }
    }

    pub(crate) fn upstream_connected(&self, took: Duration) {
        self.upstream_connect.observe(took.as_secs_f64());
    }

    pub(crate) fn upstream_failed(&self) {
        self.upstream_failures.inc();
    }

    pub(crate) fn catalog_loaded(&self, database: &str) {
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs_f64();
        let labels = DatabaseLabels {
            database: database.to_owned(),
        };
        self.catalog_loaded.get_or_create(&labels).set(now);
    }

    pub(crate) fn database_closed(&self, database: &str) {
        self.catalog_loaded.remove(&DatabaseLabels {
            database: database.to_owned(),
        });
    }

    pub(crate) fn monitored(&self, database: &str, report: MonitorReport) {
        self.reports.set(database, report);
    }

    pub(crate) fn monitor_began(&self, database: &str) {
        let labels = DatabaseLabels {
            database: database.to_owned(),
        };
        self.monitor_failures.get_or_create(&labels).inc_by(0);
    }

    pub(crate) fn monitor_failed(&self, database: &str) {
        let labels = DatabaseLabels {
            database: database.to_owned(),
        };
        self.monitor_failures.get_or_create(&labels).inc();
    }

    pub(crate) fn monitor_closed(&self, database: &str) {
        self.reports.remove(database);
        self.monitor_failures.remove(&DatabaseLabels {
            database: database.to_owned(),
        });
    }

    pub(crate) fn webhook_posted(&self, outcome: Outcome) {
        self.webhook_posts
            .get_or_create(&OutcomeLabels { outcome })
            .inc();
    }

    /// Name and value of everything that SHOW STATS lists.
    pub(crate) fn stats(&self) -> Vec<(&'static str, u64)> {
        vec![
            ("statements", self.statements.get()),
            ("rewritten", self.rewritten.get()),
            ("deletes", self.deletes.get()),
            ("plan_cache_hits", self.plan_cache_hits.get()),
            ("plan_cache_misses", self.plan_cache_misses.get()),
            ("cancel_requests", self.cancels.get()),
            ("upstream_failures", self.upstream_failures.get()),
            ("bytes_from_clients", self.bytes_from_clients.get()),
            ("bytes_from_servers", self.bytes_from_servers.get()),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_appear_under_their_names() {
        let metrics = Metrics::new();
        metrics.client_came(Port::App);
        metrics.refused("R1");
        metrics.bytes(3, 4);
        let text = metrics.encode().unwrap();
        for line in [
            "reprieve_clients{port=\"app\"} 1",
            "reprieve_refusals_total{code=\"R1\"} 1",
            "reprieve_from_clients_bytes_total 3",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
    }
}
