//! What was sampled of each database, in `/metrics`. Series come and go with tables and databases: they are written anew at each scrape.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use keeper::MonitorReport;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

/// Shared with whoever watches.
#[derive(Debug, Default, Clone)]
pub(crate) struct Reports(Arc<Mutex<BTreeMap<String, MonitorReport>>>);

type Labels<'a> = Vec<(&'static str, &'a str)>;
type Series = fn(&MonitorReport) -> Vec<(Labels<'_>, f64)>;

/// One metric: its series of one report.
struct Metric {
    name: &'static str,
    help: &'static str,
    unit: Option<Unit>,
    series: Series,
}

macro_rules! of_tables {
    ($field:ident) => {
        |report| {
            let series = report.tables.iter();
            series
                .map(|table| (vec![("table", table.table.as_str())], table.$field))
                .collect()
        }
    };
}

fn plain(name: &'static str, help: &'static str, series: Series) -> Metric {
    Metric {
        name,
        help,
        unit: None,
        series,
    }
}

fn metrics() -> Vec<Metric> {
    vec![
        plain(
            "table_rows",
            "Rows that a client would count; of tables above 8 MB an estimate",
            of_tables!(live),
        ),
        plain(
            "table_tombstones",
            "Deleted rows that lie in the table",
            of_tables!(tombstones),
        ),
        plain(
            "table_graveyard_rows",
            "Deleted rows of the table in the graveyard",
            of_tables!(graves),
        ),
        plain(
            "table_dead_rows",
            "Row versions that VACUUM has not reclaimed",
            of_tables!(dead),
        ),
        Metric {
            name: "table_size",
            help: "Size of the table with indexes and TOAST",
            unit: Some(Unit::Bytes),
            series: of_tables!(bytes),
        },
        plain(
            "table_lost_rows",
            "Rows deleted within the window and not brought back",
            of_tables!(lost),
        ),
        plain(
            "table_lost_ratio",
            "The same as a share of the rows that the table had when the window began",
            of_tables!(lost_ratio),
        ),
        plain(
            "oldest_unpurged_timestamp_seconds",
            "When the oldest deletion of the table ran that was neither undone nor purged, unix time",
            |report| {
                let tables = report.tables.iter();
                tables
                    .filter_map(|table| {
                        Some((vec![("table", table.table.as_str())], table.oldest?))
                    })
                    .collect()
            },
        ),
        plain(
            "deletes_per_minute",
            "Rows that a role deleted from a table in the last minute",
            |report| {
                let series = report.deletes.iter();
                series
                    .map(|it| {
                        (
                            vec![("table", &*it.table), ("role", &*it.role)],
                            it.per_minute,
                        )
                    })
                    .collect()
            },
        ),
        plain(
            "orphans",
            "References without a live parent among those looked at last",
            |report| {
                let series = report.keys.iter();
                series
                    .map(|it| (vec![("key", &*it.key)], it.orphans))
                    .collect()
            },
        ),
        plain(
            "references_sampled",
            "References looked at last; of a small table all",
            |report| {
                let series = report.keys.iter();
                series
                    .map(|it| (vec![("key", &*it.key)], it.rows))
                    .collect()
            },
        ),
        plain("findings", "What SHOW HEALTH lists", |report| {
            let series = report.findings.iter();
            series
                .map(|it| {
                    (
                        vec![("finding", &*it.finding), ("severity", &*it.severity)],
                        it.n,
                    )
                })
                .collect()
        }),
        plain(
            "last_rehearsal_timestamp_seconds",
            "When an undelete was last rehearsed, unix time",
            |report| {
                let last = report.rehearsal.iter();
                last.map(|it| (Vec::new(), it.at)).collect()
            },
        ),
        Metric {
            name: "last_rehearsal_duration",
            help: "How long it took",
            unit: Some(Unit::Seconds),
            series: |report| {
                let last = report.rehearsal.iter();
                last.map(|it| (Vec::new(), it.seconds)).collect()
            },
        },
        plain(
            "last_rehearsal_complete",
            "1 if it would have brought back everything",
            |report| {
                let last = report.rehearsal.iter();
                last.map(|it| (Vec::new(), f64::from(u8::from(it.is_complete))))
                    .collect()
            },
        ),
        plain(
            "monitor_sampled_timestamp_seconds",
            "When a sidecar last looked at the database, unix time",
            |report| {
                let at = report.sampled.into_iter();
                at.map(|at| (Vec::new(), at)).collect()
            },
        ),
    ]
}

impl Reports {
    fn entries(&self) -> MutexGuard<'_, BTreeMap<String, MonitorReport>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set(&self, database: &str, report: MonitorReport) {
        self.entries().insert(database.to_owned(), report);
    }

    pub(crate) fn remove(&self, database: &str) {
        self.entries().remove(database);
    }
}

impl Collector for Reports {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), std::fmt::Error> {
        let reports = self.entries();
        for metric in metrics() {
            let mut described = encoder.encode_descriptor(
                metric.name,
                metric.help,
                metric.unit.as_ref(),
                MetricType::Gauge,
            )?;
            for (database, report) in reports.iter() {
                for (labels, value) in (metric.series)(report) {
                    let mut all = vec![("database", database.as_str())];
                    all.extend(labels);
                    ConstGauge::new(value).encode(described.encode_family(&all)?)?;
                }
            }
        }
        Ok(())
    }
}
