//! A plain server and the thing that must not be told from it.

use std::time::{Duration, Instant};

use crate::client::{Client, Target};
use crate::cluster::Cluster;
use crate::proxy::Proxy;

/// The database with the keeper of which others are copies.
const TEMPLATE: &str = "with_keeper";

/// Two equal clusters, the second one behind a proxy (or, to try the tests themselves, not).
pub struct Pair {
    /// Whether databases behind the proxy come with the keeper.
    keeps: bool,
    // The proxy first: it is dropped before the server it talks to.
    proxy: Option<Proxy>,
    behind: Cluster,
    plain: Cluster,
}

impl Pair {
    /// With the tables that match `enable` enabled; nothing if it is empty.
    pub fn start(enable: &str) -> Pair {
        let plain = Cluster::start();
        let behind = Cluster::start();
        let proxy = (!direct()).then(|| Proxy::start(behind.port(), enable));
        let keeps = proxy.is_some() && !enable.is_empty();
        if let (true, Some(proxy)) = (keeps, &proxy) {
            // Installing the keeper takes longer than most tests: once, in a template.
            behind.create_database(TEMPLATE);
            assert_eq!(proxy.connect(TEMPLATE).value("SELECT 1"), "1");
        }
        Pair {
            keeps,
            proxy,
            behind,
            plain,
        }
    }

    /// The oracle.
    pub fn plain(&self) -> &Cluster {
        &self.plain
    }

    /// The cluster behind the proxy.
    pub fn behind(&self) -> &Cluster {
        &self.behind
    }

    /// The proxy, unless the second cluster is tried directly.
    pub fn proxy(&self) -> Option<&Proxy> {
        self.proxy.as_ref()
    }

    /// Where the thing under test listens.
    pub fn tried(&self) -> Target {
        self.proxy
            .as_ref()
            .map_or_else(|| self.behind.target(), Proxy::app)
    }

    /// Makes a database owned by `clerk` on both sides.
    pub fn create_database(&self, name: &str) {
        self.plain.create_database(name);
        if self.keeps {
            self.behind.copy_database(TEMPLATE, name);
        } else {
            self.behind.create_database(name);
        }
    }

    /// Drops it on both sides.
    pub fn drop_database(&self, name: &str) {
        self.plain.drop_database(name);
        self.behind.drop_database(name);
    }

    /// Waits until every enabled table of a database is marking, so that a DELETE is what we want to try.
    pub fn settle(&self, database: &str) {
        if self.proxy.is_some() {
            settle(&self.behind, database);
        }
    }
}

/// Waits until every table of mode `mark` in the published catalog is marking.
pub fn settle(cluster: &Cluster, database: &str) {
    let started = Instant::now();
    let mut client = cluster.superuser(database);
    loop {
        let catalog = catalog(&mut client);
        let waiting = catalog["tables"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|table| table["mode"] == "mark" && table["marking"] != true)
            .count();
        if waiting == 0 {
            return;
        }
        assert!(
            started.elapsed() < Duration::from_secs(20),
            "tables never start to mark: {catalog}"
        );
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The catalog document of a database with the keeper.
pub fn catalog(client: &mut Client) -> serde_json::Value {
    serde_json::from_str(&client.value("SELECT reprieve.catalog_v1()"))
        .expect("the catalog is JSON")
}

/// Whether the tests try a second PostgreSQL in place of the proxy.
pub fn direct() -> bool {
    std::env::var("REPRIEVE_TEST_TARGET").is_ok_and(|target| target == "direct")
}
