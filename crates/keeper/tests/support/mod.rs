//! One private server for all tests that run at the same time, and a database for each.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot set itself up must fail"
)]

#[path = "../../../reprieve/src/demo/cluster.rs"]
#[allow(
    dead_code,
    reason = "shared with the demo; these tests need a part of it"
)]
pub mod cluster;

use std::process::Command;
use std::sync::{Arc, Mutex, Weak};

use keeper::{Keeper, KeeperConfig};
use tokio_postgres::{NoTls, SimpleQueryMessage};

use cluster::{ClusterOptions, PrivateCluster};

static CLUSTER: Mutex<Weak<PrivateCluster>> = Mutex::new(Weak::new());

fn shared_cluster() -> Arc<PrivateCluster> {
    let mut shared = CLUSTER.lock().unwrap();
    shared.upgrade().unwrap_or_else(|| {
        let cluster = Arc::new(PrivateCluster::start(&ClusterOptions::default()).unwrap());
        *shared = Arc::downgrade(&cluster);
        cluster
    })
}

pub struct Database {
    cluster: Arc<PrivateCluster>,
    name: String,
    client: tokio_postgres::Client,
}

#[allow(dead_code, reason = "each test file needs a part of it")]
impl Database {
    pub async fn new(name: &str) -> Self {
        let cluster = tokio::task::spawn_blocking(shared_cluster).await.unwrap();
        let admin = connect(&cluster.url("postgres")).await;
        admin
            .batch_execute(&format!("CREATE DATABASE {name}"))
            .await
            .unwrap();
        let client = connect(&cluster.url(name)).await;
        Self {
            cluster,
            name: name.to_owned(),
            client,
        }
    }

    pub fn url_as(&self, role: &str) -> String {
        self.cluster.url_as(role, &self.name)
    }

    pub async fn keeper(&self) -> Keeper {
        self.keeper_as("postgres").await
    }

    pub async fn keeper_as(&self, role: &str) -> Keeper {
        let config = KeeperConfig::parse(&self.url_as(role)).unwrap();
        Keeper::connect(&config, &self.name).await.unwrap()
    }

    pub async fn session(&self) -> tokio_postgres::Client {
        connect(&self.url_as("postgres")).await
    }

    pub async fn run(&self, sql: &str) {
        self.client.batch_execute(sql).await.unwrap();
    }

    #[allow(dead_code, reason = "each test file needs a part of it")]
    pub async fn try_run(&self, sql: &str) -> Result<(), tokio_postgres::Error> {
        self.client.batch_execute(sql).await
    }

    #[allow(dead_code, reason = "each test file needs a part of it")]
    pub async fn session_as(&self, role: &str) -> tokio_postgres::Client {
        connect(&self.url_as(role)).await
    }

    /// All that a query gives, as psql -At would print it.
    #[allow(dead_code, reason = "each test file needs a part of it")]
    pub async fn value(&self, sql: &str) -> String {
        self.rows(sql).await.join("\n")
    }

    /// The rows of a query, as psql -At would print them.
    pub async fn rows(&self, sql: &str) -> Vec<String> {
        let messages = self.client.simple_query(sql).await.unwrap();
        let rows = messages.into_iter().filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(
                (0..row.len())
                    .map(|i| row.get(i).unwrap_or_default().to_owned())
                    .collect::<Vec<_>>()
                    .join("|"),
            ),
            _ => None,
        });
        rows.collect()
    }

    pub fn dump_schema(&self) -> String {
        let output = Command::new(self.cluster.programs().join("pg_dump"))
            .args(["--schema-only", "-d", &self.cluster.url(&self.name)])
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        // Newer ones print a random \restrict key.
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines()
            .filter(|line| !line.contains("restrict "))
            .collect::<Vec<_>>()
            .join("\n")
    }
}

/// Fails with the lines that are only in one of the two.
#[allow(dead_code, reason = "each test file needs a part of it")]
#[track_caller]
pub fn assert_same_lines(before: &str, after: &str) {
    let only = |a: &str, b: &str, sign| {
        let known: std::collections::HashSet<&str> = b.lines().collect();
        let lines = a.lines().filter(|line| !known.contains(line));
        lines
            .take(20)
            .map(|line| format!("{sign} {line}\n"))
            .collect::<String>()
    };
    let difference = only(before, after, '-') + &only(after, before, '+');
    assert!(before == after, "{difference}");
}

async fn connect(url: &str) -> tokio_postgres::Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}
