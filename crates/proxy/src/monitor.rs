//! Watches one database for as long as it has clients.
//!
//! Each sidecar shows what was sampled; one of them samples: whose connection has the lead in the keeper's tables. It also tells of
//! findings, in its log and by the webhook. What is to be told waits in the database, not here: another sidecar goes on.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use keeper::{FindingSeverity, Keeper, KeeperError, MonitorLimits, News, Sample};
use tokio::sync::Notify;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until, timeout};

use crate::databases::KeeperSettings;
use crate::metrics::{Metrics, Outcome};
use crate::webhook::Webhook;

const CALL_TIMEOUT: Duration = Duration::from_secs(30);
const RECONNECT_MIN: Duration = Duration::from_secs(5);
const RECONNECT_MAX: Duration = Duration::from_secs(300);
/// Where there is no keeper, or an older one.
const INSTALL_PAUSE: Duration = Duration::from_secs(60);
/// Of a look: the rest is for the database's clients.
const SAMPLING_SHARE: u32 = 4;
/// After it failed, or twenty times as long as that took: a table that somebody keeps locked must not keep the others waiting.
const SAMPLE_REST: Duration = Duration::from_secs(60);
const SAMPLES_MAX: i32 = 500;
const RETRY_MIN: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(300);

/// How a database is watched.
#[derive(Debug, Clone)]
pub struct MonitorSettings {
    pub limits: MonitorLimits,
    /// Tables, foreign keys, and pairs of table and role in `/metrics`.
    pub series_max: u32,
    pub webhook: Option<Webhook>,
}

/// Runs until it is dropped.
pub(crate) async fn watch(settings: Arc<KeeperSettings>, database: String, metrics: Arc<Metrics>) {
    let Some(monitor) = &settings.monitor else {
        return;
    };
    metrics.monitor_began(&database);
    let _shown = Shown {
        metrics: &metrics,
        database: &database,
    };
    let mut backoff = RECONNECT_MIN;
    loop {
        let began = Instant::now();
        let error = match timeout(CALL_TIMEOUT, Keeper::connect(&settings.config, &database)).await
        {
            Ok(Ok(keeper)) => {
                let watched = Watched {
                    keeper: &keeper,
                    monitor,
                    database: &database,
                    sidecar: &settings.sidecar.id,
                    metrics: &metrics,
                    news: Notify::new(),
                };
                watched.run().await.err()
            }
            Ok(Err(error)) => Some(error),
            Err(_) => None,
        };
        let pause = match error {
            Some(error @ KeeperError::NotInstalled { .. }) => {
                tracing::debug!(database, %error, "not watched");
                INSTALL_PAUSE
            }
            failed => {
                let error = failed.map_or_else(
                    || "no connection in time".to_owned(),
                    |error| error.to_string(),
                );
                if began.elapsed() > RECONNECT_MAX {
                    backoff = RECONNECT_MIN;
                }
                let again = backoff;
                backoff = (backoff * 2).min(RECONNECT_MAX);
                tracing::warn!(
                    database,
                    error,
                    ?again,
                    "watching failed, it is tried again"
                );
                metrics.monitor_failed(&database);
                again
            }
        };
        sleep(pause).await;
    }
}

/// What is shown of a database goes with its watcher.
struct Shown<'a> {
    metrics: &'a Metrics,
    database: &'a str,
}

impl Drop for Shown<'_> {
    fn drop(&mut self) {
        self.metrics.monitor_closed(self.database);
    }
}

struct Watched<'a> {
    keeper: &'a Keeper,
    monitor: &'a MonitorSettings,
    database: &'a str,
    sidecar: &'a str,
    metrics: &'a Metrics,
    /// There may be findings to tell of.
    news: Notify,
}

impl Watched<'_> {
    async fn run(&self) -> Result<(), KeeperError> {
        self.keeper.prepare_monitor().await?;
        tokio::try_join!(self.look(), self.tell()).map(|_| ())
    }

    async fn look(&self) -> Result<(), KeeperError> {
        let pause = Duration::from_secs(self.monitor.limits.interval_seconds.max(1));
        let mut ticks = interval(pause);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut leads = false;
        let mut failed = HashMap::new();
        loop {
            ticks.tick().await;
            if !leads {
                leads = self.keeper.lead_monitor().await?;
            }
            if leads {
                self.sample(pause / SAMPLING_SHARE, &mut failed).await?;
                self.keeper.monitor_tick(&self.monitor.limits).await?;
                self.news.notify_one();
            }
            let most = i32::try_from(self.monitor.series_max).unwrap_or(i32::MAX);
            let report = self.keeper.monitor_report(most).await?;
            self.metrics.monitored(self.database, report);
        }
    }

    /// What is due, until the time is over.
    async fn sample(
        &self,
        time: Duration,
        failed: &mut HashMap<Sample, Instant>,
    ) -> Result<(), KeeperError> {
        let ends = Instant::now() + time;
        failed.retain(|_, until| Instant::now() < *until);
        for sample in self.keeper.monitor_due(SAMPLES_MAX).await? {
            if Instant::now() >= ends {
                break;
            }
            if failed.contains_key(&sample) {
                continue;
            }
            let began = Instant::now();
            match self.keeper.monitor_sample(&sample).await {
                Ok(()) => {}
                Err(error) if self.keeper.is_closed() => return Err(error),
                Err(error) => {
                    let database = self.database;
                    tracing::debug!(database, ?sample, %error, "not sampled");
                    let rest = SAMPLE_REST.max(began.elapsed() * 20);
                    failed.insert(sample, Instant::now() + rest);
                }
            }
        }
        Ok(())
    }

    /// Tells of each finding once it was found and once it is over. One after the other, again until somebody has heard it.
    async fn tell(&self) -> Result<(), KeeperError> {
        let mut pause = RETRY_MIN;
        let mut retry_at = None;
        let mut logged: Option<News> = None;
        loop {
            tokio::select! {
                () = self.news.notified() => {}
                () = sleep_until(retry_at.unwrap_or_else(Instant::now)), if retry_at.is_some() => {}
            }
            if retry_at.is_some_and(|at| Instant::now() < at) {
                continue;
            }
            retry_at = None;
            for news in self.keeper.monitor_news().await? {
                if !logged.as_ref().is_some_and(|known| is_same(known, &news)) {
                    self.log(&news);
                    logged = Some(news.clone());
                }
                if self.post(&news).await {
                    pause = RETRY_MIN;
                    self.keeper.monitor_told(&news).await?;
                } else {
                    retry_at = Some(Instant::now() + pause);
                    pause = (pause * 2).min(RETRY_MAX);
                    break;
                }
            }
        }
    }

    fn log(&self, news: &News) {
        let database = self.database;
        let News {
            finding,
            place,
            since,
            how_bad,
            what_to_do,
            ..
        } = news;
        if news.is_over {
            tracing::info!(database, finding, place, since, how_bad, "finding is over");
            return;
        }
        match news.severity {
            FindingSeverity::Critical => {
                tracing::error!(
                    database, finding, place, since, how_bad, what_to_do, "finding"
                );
            }
            FindingSeverity::Warning => {
                tracing::warn!(
                    database, finding, place, since, how_bad, what_to_do, "finding"
                );
            }
            FindingSeverity::Notice => {
                tracing::info!(
                    database, finding, place, since, how_bad, what_to_do, "finding"
                );
            }
        }
    }

    /// True if nobody needs to be told any more.
    async fn post(&self, news: &News) -> bool {
        let webhook = self.monitor.webhook.as_ref();
        let Some(webhook) = webhook.filter(|hook| news.severity >= hook.severity) else {
            return true;
        };
        match webhook
            .post(document(self.database, self.sidecar, news))
            .await
        {
            Ok(()) => {
                self.metrics.webhook_posted(Outcome::delivered);
                true
            }
            Err(reason) => {
                self.metrics.webhook_posted(Outcome::failed);
                let (database, finding) = (self.database, &news.finding);
                tracing::warn!(
                    database,
                    finding,
                    reason,
                    "webhook not told, it is tried again"
                );
                false
            }
        }
    }
}

fn is_same(one: &News, other: &News) -> bool {
    one.finding == other.finding
        && one.place == other.place
        && one.since == other.since
        && one.is_over == other.is_over
}

/// What the webhook reads: see docs/monitoring.md.
fn document(database: &str, sidecar: &str, news: &News) -> Vec<u8> {
    let event = if news.is_over { "over" } else { "raised" };
    let text = format!(
        "{} {}: {} in {}, {}. {}",
        if news.is_over { "OVER" } else { "RAISED" },
        news.finding,
        news.place,
        database,
        news.how_bad,
        if news.is_over { "" } else { &news.what_to_do }
    );
    serde_json::json!({
        "version": 1,
        "event": event,
        "database": database,
        "sidecar": sidecar,
        "finding": news.finding,
        "place": news.place,
        "severity": news.severity,
        "since": news.since,
        "seen": news.seen,
        "how_bad": news.how_bad,
        "value": news.value,
        "what_to_do": news.what_to_do,
        "text": text.trim_end(),
    })
    .to_string()
    .into_bytes()
}
