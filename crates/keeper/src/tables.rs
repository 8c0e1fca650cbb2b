//! Enabling and disabling tables by name and glob, without stopping those who use them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use tokio_postgres::types::ToSql;

use crate::connection::{Keeper, column};
use crate::error::KeeperError;

/// While we wait for a table's lock everybody else queues behind us: wait little, try often.
const LOCK_TIMEOUT: Duration = Duration::from_millis(300);
const LOCK_ATTEMPTS_MAX: u32 = 60;
const PAUSE_FIRST: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// Sidecars follow within milliseconds; dead ones are waited for until their lease ends.
const SIDECARS_TIMEOUT: Duration = Duration::from_secs(60);
const SIDECARS_PAUSE: Duration = Duration::from_millis(50);

/// Section `tables` of the configuration: globs over `schema.table`, and what a DROP does.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TableSettings {
    pub enable: Vec<String>,
    pub exclude: Vec<String>,
    /// Enabled, but always in mode `bin`: queues, tables with a fixed row type.
    pub bin: Vec<String>,
    /// Enabled in mode `mark` wherever that is possible at all, also where it is not exact.
    pub mark: Vec<String>,
    pub on_drop: OnDrop,
    pub guards: GuardSettings,
    /// The ledger keeps statements without their literals (`ledger.literals`).
    pub mask_literals: bool,
}

/// Section `guards` of the configuration: the guard on all tables, for all roles, that a DBA has not set otherwise.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct GuardSettings {
    /// Rows that one statement may take.
    pub max_rows: Option<u64>,
    /// Percent of a table that one statement may take.
    pub max_share: Option<u64>,
    pub refuse_no_where: bool,
    pub refuse_truncate: bool,
    pub refuse_drop: bool,
}

impl GuardSettings {
    /// Keys and values of `reprieve.settings`; empty ones set nothing.
    fn entries(self) -> [(&'static str, String); 5] {
        let number = |limit: Option<u64>| limit.map(|limit| limit.to_string()).unwrap_or_default();
        let refuse = |refuse: bool| if refuse { "refuse" } else { "" }.to_owned();
        [
            ("guards.max_rows", number(self.max_rows)),
            ("guards.max_share", number(self.max_share)),
            ("guards.no_where", refuse(self.refuse_no_where)),
            ("guards.truncate", refuse(self.refuse_truncate)),
            ("guards.drop", refuse(self.refuse_drop)),
        ]
    }
}

/// What becomes of an enabled table that is dropped with rows in it (`tables.on_drop`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnDrop {
    /// Rows and definition are kept: UNDELETE makes the table again.
    #[default]
    Keep,
    /// An error, SQLSTATE RV001.
    Refuse,
    /// The rows are lost.
    Allow,
}

impl OnDrop {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Keep => "keep",
            Self::Refuse => "refuse",
            Self::Allow => "allow",
        }
    }

    /// `None` for a word that is none of the three.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Keep, Self::Refuse, Self::Allow]
            .into_iter()
            .find(|one| one.as_str() == word)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RequestedMode {
    /// `mark` where it can be exact, else `bin`.
    #[default]
    Auto,
    Mark,
    Bin,
}

/// Asks the keeper's functions to take a table in because a cascade reaches it.
const CASCADE: &str = "cascade";

impl RequestedMode {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Mark => "mark",
            Self::Bin => "bin",
        }
    }
}

/// One step of [`Keeper::enable`] or [`Keeper::disable`], to be shown to whoever waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// `schema.table`.
    pub table: String,
    pub step: Step,
}

#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Step {
    /// Others hold a lock on the table; tried again after a pause.
    Locked {
        attempt: u32,
        attempts_max: u32,
    },
    /// `CREATE INDEX CONCURRENTLY`: blocks of the table scanned so far, and all of them.
    BuildingIndex {
        done: i64,
        total: i64,
    },
    /// Columns and triggers.
    Enabling,
    /// So many running sidecars have yet to hide tombstones of this table.
    WaitingForSidecars {
        pending: i64,
    },
    /// Tombstones moved to the graveyard so far.
    Burying {
        rows: i64,
    },
    Done,
}

/// What became of one table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableState {
    /// `schema.table`.
    pub table: String,
    /// `mark`, `bin`, or `off` after disabling.
    pub mode: String,
    /// Why this mode.
    pub reason: String,
    /// False while a sidecar has yet to follow: deletes are captured in the graveyard until then.
    pub marking: bool,
}

/// What became of tables that were to be enabled.
#[derive(Debug)]
pub struct Enabled {
    /// Those that were, and those that were taken in with them.
    pub states: Vec<TableState>,
    /// Those that were not. What had been done to them is undone, or is taken up by the next attempt.
    pub failed: Vec<Failed>,
}

/// A table that could not be enabled.
#[derive(Debug)]
pub struct Failed {
    /// `schema.table`.
    pub table: String,
    pub error: KeeperError,
}

impl Enabled {
    /// # Errors
    /// The first failure, if there is one.
    pub fn all(self) -> Result<Vec<TableState>, KeeperError> {
        match self.failed.into_iter().next() {
            Some(failed) => Err(failed.error),
            None => Ok(self.states),
        }
    }
}

/// A table chosen by a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) oid: u32,
    /// `schema.table`, quoted where it must be.
    pub(crate) name: String,
}

/// A statement that needs a strong lock on a table.
pub(crate) struct Call<'a> {
    pub(crate) doing: String,
    /// Several statements, in one transaction, if there are no parameters.
    pub(crate) sql: &'a str,
    pub(crate) parameters: &'a [&'a (dyn ToSql + Sync)],
}

impl Keeper {
    /// Stores the patterns that decide about tables created later. Does not touch existing tables.
    pub async fn set_table_settings(&self, settings: &TableSettings) -> Result<(), KeeperError> {
        let tables = [
            ("tables.enable", settings.enable.join(",")),
            ("tables.exclude", settings.exclude.join(",")),
            ("tables.bin", settings.bin.join(",")),
            ("tables.mark", settings.mark.join(",")),
            ("tables.on_drop", settings.on_drop.as_str().to_owned()),
        ];
        let literals = if settings.mask_literals {
            "mask"
        } else {
            "keep"
        };
        let ledger = ("ledger.literals", literals.to_owned());
        let entries = tables.into_iter().chain(settings.guards.entries());
        for (key, value) in entries.chain([ledger]) {
            self.rows(
                "storing the table settings",
                "INSERT INTO reprieve.settings AS s (key, value) VALUES ($1, $2)
                 ON CONFLICT (key) DO UPDATE SET value = excluded.value
                 WHERE s.value IS DISTINCT FROM excluded.value",
                &[&key, &value],
            )
            .await
            .map_err(|error| self.or_not_installed(error))?;
        }
        Ok(())
    }

    /// Enables the tables that match, online: short lock timeouts with retries, the index of a big
    /// table built concurrently, then waits until running sidecars have followed. Takes in the
    /// tables that their cascades reach. A table that fails does not stop the others.
    ///
    /// # Errors
    /// [`KeeperError::NoSuchTable`] for a pattern that matches nothing, and where the database
    /// cannot be asked any more.
    pub async fn enable(
        &mut self,
        patterns: &[String],
        mode: RequestedMode,
        progress: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<Enabled, KeeperError> {
        let targets = self.matching(patterns, Candidates::Enableable).await?;
        let wanted = targets.into_iter().map(|target| (target, mode.as_str()));
        self.enable_targets(wanted.collect(), progress).await
    }

    /// Enables those tables that match `tables.enable` as stored by [`Keeper::set_table_settings`]
    /// and are not enabled yet, and takes in what cascades of enabled tables reach. None is no error.
    ///
    /// # Errors
    /// Where the database cannot be asked any more.
    pub async fn enable_configured(
        &mut self,
        progress: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<Enabled, KeeperError> {
        let sql = "SELECT relid AS oid, reprieve.qualified(relid) AS name, requested
                   FROM reprieve.newcomers(NULL)
                   UNION ALL
                   SELECT relid, reprieve.qualified(relid), 'cascade' FROM reprieve.reached(NULL)";
        let rows = self.rows("looking for tables", sql, &[]).await;
        let mut wanted = Vec::new();
        for row in rows.map_err(|error| self.or_not_installed(error))? {
            let target = Target {
                oid: column(&row, "oid")?,
                name: column(&row, "name")?,
            };
            let requested = match column(&row, "requested")? {
                "bin" => RequestedMode::Bin.as_str(),
                "mark" => RequestedMode::Mark.as_str(),
                "cascade" => CASCADE,
                _ => RequestedMode::Auto.as_str(),
            };
            // By its own right rather than because of a cascade.
            if requested != CASCADE || !wanted.iter().any(|(known, _)| known == &target) {
                wanted.push((target, requested));
            }
        }
        self.enable_targets(wanted, progress).await
    }

    async fn enable_targets(
        &mut self,
        wanted: Vec<(Target, &'static str)>,
        progress: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<Enabled, KeeperError> {
        let (mut enabled, mut failed) = (Vec::new(), Vec::new());
        let targets: Vec<Target> = wanted.iter().map(|(target, _)| target.clone()).collect();
        // Whoever comes before its parent is not taken in by it first.
        for target in self.children_first(&targets).await? {
            let requested = wanted.iter().find(|(known, _)| known == &target);
            let requested = requested.map_or(CASCADE, |(_, requested)| requested);
            match self.enable_one(&target, requested, progress).await {
                Ok(()) => enabled.push(target),
                Err(error) if self.is_closed() => return Err(error),
                Err(error) => {
                    self.pin().await?;
                    let table = target.name;
                    failed.push(Failed { table, error });
                }
            }
        }
        self.wait_for_sidecars(&enabled, progress).await?;
        for target in &enabled {
            progress(Progress {
                table: target.name.clone(),
                step: Step::Done,
            });
        }
        let states = self.states(&enabled).await?;
        Ok(Enabled { states, failed })
    }

    async fn enable_one(
        &mut self,
        target: &Target,
        requested: &str,
        progress: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<(), KeeperError> {
        self.prepare_index(target, requested, progress).await?;
        progress(Progress {
            table: target.name.clone(),
            step: Step::Enabling,
        });
        let call = Call {
            doing: format!("enabling {}", target.name),
            sql: "SELECT FROM reprieve.enable_v1($1::oid::regclass, $2)",
            parameters: &[&target.oid, &requested],
        };
        self.retrying(target, progress, &call).await
    }

    /// Disables the tables that match. Tombstones go to the graveyard before our columns are
    /// dropped: nothing becomes visible, everything can still be brought back.
    ///
    /// # Errors
    /// As [`Keeper::enable`].
    pub async fn disable(
        &mut self,
        patterns: &[String],
        progress: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<Vec<TableState>, KeeperError> {
        let targets = self.matching(patterns, Candidates::Enabled).await?;
        self.disable_targets(&targets, progress).await
    }

    pub(crate) async fn disable_all(
        &mut self,
        progress: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<Vec<TableState>, KeeperError> {
        let sql = "SELECT relid AS oid, reprieve.qualified(relid) AS name FROM reprieve.tables
                   WHERE reprieve.qualified(relid) IS NOT NULL ORDER BY 2";
        let mut targets = Vec::new();
        for row in self.rows("listing enabled tables", sql, &[]).await? {
            targets.push(Target {
                oid: column(&row, "oid")?,
                name: column(&row, "name")?,
            });
        }
        self.disable_targets(&targets, progress).await
    }

    async fn disable_targets(
        &mut self,
        targets: &[Target],
        progress: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<Vec<TableState>, KeeperError> {
        let mut states = Vec::new();
        for target in &self.children_first(targets).await? {
            self.bury_in_chunks(target, progress).await?;
            let call = Call {
                doing: format!("disabling {}", target.name),
                sql: "SELECT FROM reprieve.disable_v1($1::oid::regclass)",
                parameters: &[&target.oid],
            };
            self.retrying(target, progress, &call).await?;
            progress(Progress {
                table: target.name.clone(),
                step: Step::Done,
            });
            states.push(TableState {
                table: target.name.clone(),
                mode: "off".to_owned(),
                reason: "disabled".to_owned(),
                marking: false,
            });
        }
        self.announce().await?;
        Ok(states)
    }

    /// Referencing tables before those they reference: then no tombstone has to make way one by one
    /// for the one it hangs on.
    async fn children_first(&self, targets: &[Target]) -> Result<Vec<Target>, KeeperError> {
        let sql = "SELECT confrelid AS parent, conrelid AS child FROM pg_constraint
                   WHERE contype = 'f' AND conrelid <> confrelid";
        let mut children = BTreeMap::<u32, Vec<u32>>::new();
        for row in self.rows("reading the foreign keys", sql, &[]).await? {
            children
                .entry(column(&row, "parent")?)
                .or_default()
                .push(column(&row, "child")?);
        }
        let mut ordered = Vec::new();
        let mut seen = BTreeSet::new();
        // Oids to visit, and oids whose children have all been placed.
        let mut stack: Vec<(u32, bool)> =
            targets.iter().map(|target| (target.oid, false)).collect();
        while let Some((oid, placed)) = stack.pop() {
            if placed {
                ordered.extend(targets.iter().find(|target| target.oid == oid).cloned());
            } else if seen.insert(oid) {
                stack.push((oid, true));
                stack.extend(
                    children
                        .get(&oid)
                        .into_iter()
                        .flatten()
                        .map(|&child| (child, false)),
                );
            }
        }
        Ok(ordered)
    }

    /// Runs a statement until it gets its locks, with growing pauses in which others get theirs.
    pub(crate) async fn retrying(
        &self,
        target: &Target,
        progress: &mut (dyn FnMut(Progress) + Send),
        call: &Call<'_>,
    ) -> Result<(), KeeperError> {
        let mut pause = PAUSE_FIRST;
        self.set("lock_timeout", LOCK_TIMEOUT).await?;
        self.take_time().await?;
        let mut result = Ok(());
        for number in 1..=LOCK_ATTEMPTS_MAX {
            result = if call.parameters.is_empty() {
                self.batch(&call.doing, call.sql).await
            } else {
                self.rows(&call.doing, call.sql, call.parameters)
                    .await
                    .map(drop)
            };
            match &result {
                // 55P03: lock timeout; 40P01: we were the victim of a deadlock.
                Err(KeeperError::Server { sqlstate, .. })
                    if matches!(sqlstate.as_str(), "55P03" | "40P01") => {}
                _ => break,
            }
            let step = Step::Locked {
                attempt: number,
                attempts_max: LOCK_ATTEMPTS_MAX,
            };
            progress(Progress {
                table: target.name.clone(),
                step,
            });
            result = Err(KeeperError::Busy {
                table: target.name.clone(),
                attempts: number,
            });
            tokio::time::sleep(pause).await;
            pause = (pause * 3 / 2).min(PAUSE_MAX);
        }
        self.pin().await?;
        result
    }

    /// For work that takes as long as there are rows; [`Keeper::pin`] ends it.
    pub(crate) async fn take_time(&self) -> Result<(), KeeperError> {
        self.set("statement_timeout", Duration::ZERO).await
    }

    async fn set(&self, name: &str, value: Duration) -> Result<(), KeeperError> {
        self.batch(
            "preparing the session",
            &format!("SET {name} = {}", value.as_millis()),
        )
        .await
    }

    /// Enabled tables that do not mark yet are waited for, until every live sidecar has said that
    /// it hides their tombstones. Gives up silently: the state says so, and sidecars advance it.
    async fn wait_for_sidecars(
        &self,
        targets: &[Target],
        progress: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<(), KeeperError> {
        let oids: Vec<u32> = targets.iter().map(|target| target.oid).collect();
        let deadline = Instant::now() + SIDECARS_TIMEOUT;
        let mut told = BTreeMap::new();
        loop {
            self.announce().await?;
            self.advance().await?;
            let sql = "SELECT reprieve.qualified(t.relid) AS name,
                              (SELECT count(*) FROM reprieve.proxies p WHERE p.lease_until > now()
                                 AND p.catalog_md5 IS DISTINCT FROM md5(reprieve.catalog_v1())) AS pending
                       FROM reprieve.tables t
                       WHERE t.relid = ANY ($1) AND t.mode = 'mark' AND NOT t.marking";
            let waiting = self.rows("waiting for sidecars", sql, &[&oids]).await?;
            for row in &waiting {
                let (table, pending): (String, i64) =
                    (column(row, "name")?, column(row, "pending")?);
                if told.insert(table.clone(), pending) != Some(pending) {
                    progress(Progress {
                        table,
                        step: Step::WaitingForSidecars { pending },
                    });
                }
            }
            if waiting.is_empty() || Instant::now() > deadline {
                return Ok(());
            }
            tokio::time::sleep(SIDECARS_PAUSE).await;
        }
    }

    async fn states(&self, targets: &[Target]) -> Result<Vec<TableState>, KeeperError> {
        let oids: Vec<u32> = targets.iter().map(|target| target.oid).collect();
        let sql = include_str!("queries/states.sql");
        let rows = self
            .rows("reading the enabled tables", sql, &[&oids])
            .await?;
        rows.iter()
            .map(|row| {
                Ok(TableState {
                    table: column(row, "name")?,
                    mode: column(row, "mode")?,
                    reason: column(row, "reason")?,
                    marking: column(row, "marking")?,
                })
            })
            .collect()
    }

    /// The tables that each pattern names, every table once. What is meant by name is taken as it
    /// is; a glob leaves out `tables.exclude` and what belongs to an extension.
    async fn matching(
        &self,
        patterns: &[String],
        candidates: Candidates,
    ) -> Result<Vec<Target>, KeeperError> {
        let mut found = BTreeMap::new();
        for pattern in patterns {
            let is_glob = pattern.contains(['*', '?']);
            let rows = self
                .rows("looking for tables", candidates.sql(), &[pattern, &is_glob])
                .await
                .map_err(|error| self.or_not_installed(error))?;
            if rows.is_empty() {
                return Err(KeeperError::NoSuchTable {
                    pattern: pattern.clone(),
                });
            }
            for row in rows {
                found.insert(column::<String>(&row, "name")?, column::<u32>(&row, "oid")?);
            }
        }
        Ok(found
            .into_iter()
            .map(|(name, oid)| Target { oid, name })
            .collect())
    }
}

/// Which tables a pattern may choose from.
#[derive(Debug, Clone, Copy)]
enum Candidates {
    Enableable,
    Enabled,
}

impl Candidates {
    fn sql(self) -> &'static str {
        match self {
            Self::Enableable => include_str!("queries/enableable.sql"),
            Self::Enabled => include_str!("queries/enabled.sql"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A sidecar enables tables in a task of its own.
    #[test]
    fn enabling_may_move_between_threads() {
        fn is_send<T: Send>(_: &T) {}
        fn check(keeper: &mut Keeper, progress: &mut (dyn FnMut(Progress) + Send)) {
            is_send(&keeper.enable_configured(progress));
        }
        let _ = check;
    }
}
