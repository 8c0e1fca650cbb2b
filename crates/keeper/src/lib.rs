//! All SQL in our own name: installs the keeper in a database, enables and disables tables, loads
//! the catalog snapshot and watches for the next one. Nothing here runs on a client's connection.

mod config;
mod connection;
mod doctor;
mod error;
mod install;
mod monitor;
mod online;
mod snapshot;
mod tables;
mod tls;

pub use config::KeeperConfig;
pub use connection::{Keeper, Watch};
pub use doctor::{Finding, IntegrityFinding, Severity};
pub use error::KeeperError;
pub use install::{Graveyard, InstallReport, KEEPER_VERSION, UninstallReport};
pub use monitor::{
    DeletesReport, FindingSeverity, FindingsReport, KeyReport, MonitorLimits, MonitorReport, News,
    RehearsalReport, Sample, TableReport,
};
pub use snapshot::{Loaded, Sidecar};
pub use tables::{
    Enabled, Failed, GuardSettings, OnDrop, Progress, RequestedMode, Step, TableSettings,
    TableState,
};
