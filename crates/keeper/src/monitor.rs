//! What sidecars watch: `sql/140_monitor.sql`, `sql/142_health.sql`. On a connection of its own.

use serde::{Deserialize, Serialize};
use tokio_postgres::types::ToSql;

use crate::connection::{Keeper, column};
use crate::error::KeeperError;

/// Whoever waits for a table waits for us no longer than that: far shorter than `deadlock_timeout`.
const SETTINGS: &str = "SET lock_timeout = '100ms'; SET statement_timeout = '20s'; SET jit = off; SET application_name = 'reprieve monitor'";

/// When something is a finding.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MonitorLimits {
    pub interval_seconds: u64,
    /// Of the rows of a table, lost within the window.
    pub loss_percent: f64,
    pub loss_window_seconds: u64,
    /// Fewer lost rows are no finding.
    pub loss_rows: u64,
    /// Of the rows that lie in a table.
    pub tombstone_percent: f64,
    /// 0: never asked for.
    pub rehearsal_days: u32,
}

/// One thing to look at.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Sample {
    Bin,
    Table(u32),
    ForeignKey(u32),
}

/// What was sampled last, by whichever sidecar.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct MonitorReport {
    /// Unix time of the last look.
    pub sampled: Option<f64>,
    pub tables: Vec<TableReport>,
    pub deletes: Vec<DeletesReport>,
    pub keys: Vec<KeyReport>,
    pub findings: Vec<FindingsReport>,
    pub rehearsal: Option<RehearsalReport>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct TableReport {
    pub table: String,
    pub live: f64,
    pub tombstones: f64,
    pub graves: f64,
    pub dead: f64,
    pub bytes: f64,
    pub lost: f64,
    pub lost_ratio: f64,
    /// Unix time of the oldest deletion that was neither undone nor purged.
    pub oldest: Option<f64>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct DeletesReport {
    pub table: String,
    pub role: String,
    pub per_minute: f64,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct KeyReport {
    pub key: String,
    /// References looked at.
    pub rows: f64,
    pub orphans: f64,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct FindingsReport {
    pub finding: String,
    pub severity: String,
    pub n: f64,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct RehearsalReport {
    pub at: f64,
    pub seconds: f64,
    pub is_complete: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FindingSeverity {
    Notice,
    Warning,
    Critical,
}

/// A finding that nobody was told of yet, or its end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct News {
    pub finding: String,
    pub place: String,
    pub severity: FindingSeverity,
    pub since: String,
    pub seen: String,
    pub how_bad: String,
    pub value: f64,
    pub what_to_do: String,
    pub is_over: bool,
}

impl Keeper {
    /// Settings of a connection that watches.
    pub async fn prepare_monitor(&self) -> Result<(), KeeperError> {
        self.batch("preparing the monitor", SETTINGS).await
    }

    /// True if this connection is the one that samples, for as long as it lives; false while another one does.
    pub async fn lead_monitor(&self) -> Result<bool, KeeperError> {
        let sql = "SELECT reprieve.monitor_lead_v1() AS leads";
        let row = self.row("electing who samples", sql, &[]).await;
        column(&row.map_err(|error| self.or_not_installed(error))?, "leads")
    }

    /// Looks at the ledger, and at what was sampled, for findings.
    pub async fn monitor_tick(&self, limits: &MonitorLimits) -> Result<(), KeeperError> {
        const DOING: &str = "looking for losses";
        let limits = serde_json::to_value(limits).map_err(|error| unexpected(DOING, &error))?;
        self.monitor_call(DOING, "SELECT reprieve.monitor_tick_v1($1)", &[&limits])
            .await
    }

    /// What is to be sampled, the most overdue first.
    pub async fn monitor_due(&self, most: i32) -> Result<Vec<Sample>, KeeperError> {
        let sql = "SELECT kind, id FROM reprieve.monitor_due_v1($1)";
        let rows = self.rows("looking for what to sample", sql, &[&most]).await;
        let rows = rows.map_err(|error| self.or_not_installed(error))?;
        let sample = |row| {
            let id = column(row, "id")?;
            Ok(match column(row, "kind")? {
                "table" => Sample::Table(id),
                "key" => Sample::ForeignKey(id),
                _ => Sample::Bin,
            })
        };
        rows.iter().map(sample).collect()
    }

    /// Takes one sample, in a transaction of its own.
    pub async fn monitor_sample(&self, sample: &Sample) -> Result<(), KeeperError> {
        const DOING: &str = "sampling";
        let call: (&str, &[&(dyn ToSql + Sync)]) = match sample {
            Sample::Bin => ("SELECT reprieve.monitor_bin_v1()", &[]),
            Sample::Table(id) => ("SELECT reprieve.monitor_table_v1($1)", &[id]),
            Sample::ForeignKey(id) => ("SELECT reprieve.monitor_key_v1($1)", &[id]),
        };
        self.monitor_call(DOING, call.0, call.1).await
    }

    /// What was sampled last; of tables, foreign keys and roles at most so many.
    pub async fn monitor_report(&self, most: i32) -> Result<MonitorReport, KeeperError> {
        self.monitor_json(
            "reading samples",
            "SELECT reprieve.monitor_report_v1($1) AS answer",
            &[&most],
        )
        .await
    }

    /// Findings that nobody was told of yet.
    pub async fn monitor_news(&self) -> Result<Vec<News>, KeeperError> {
        self.monitor_json(
            "reading findings",
            "SELECT reprieve.monitor_news_v1() AS answer",
            &[],
        )
        .await
    }

    /// Somebody was told.
    pub async fn monitor_told(&self, news: &News) -> Result<(), KeeperError> {
        let sql = "SELECT reprieve.monitor_told_v1($1, $2, $3::text::timestamptz, $4)";
        let parameters: [&(dyn ToSql + Sync); 4] =
            [&news.finding, &news.place, &news.since, &news.is_over];
        self.monitor_call("noting who was told", sql, &parameters)
            .await
    }

    async fn monitor_call(
        &self,
        doing: &str,
        sql: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<(), KeeperError> {
        let done = self.rows(doing, sql, parameters).await;
        done.map_err(|error| self.or_not_installed(error))
            .map(|_| ())
    }

    async fn monitor_json<T: serde::de::DeserializeOwned>(
        &self,
        doing: &str,
        sql: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<T, KeeperError> {
        let row = self.row(doing, sql, parameters).await;
        let row = row.map_err(|error| self.or_not_installed(error))?;
        let answer: serde_json::Value = column(&row, "answer")?;
        serde_json::from_value(answer).map_err(|error| unexpected(doing, &error))
    }
}

fn unexpected(doing: &str, error: &serde_json::Error) -> KeeperError {
    KeeperError::Unexpected {
        doing: doing.to_owned(),
        reason: error.to_string(),
    }
}
