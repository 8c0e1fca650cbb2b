//! What a DBA should know about this database before and while Reprieve works in it.

use crate::connection::{Keeper, column};
use crate::error::KeeperError;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Good to know.
    Info,
    /// Something differs from what the reader may expect.
    Warning,
    /// Something does not work until somebody acts.
    Problem,
}

/// One finding of [`Keeper::doctor`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub severity: Severity,
    /// What it is about: `table public.orders`, `function public.totals() line 4`, `database`.
    pub subject: String,
    pub text: String,
    /// What to do, if there is anything to do.
    pub hint: Option<String>,
}

/// One row of `reprieve.check_v1()`.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct IntegrityFinding {
    /// `error`: rows, ledger and triggers disagree; `warning`: somebody should look; `notice`: good to know.
    pub severity: String,
    pub finding: String,
    pub table: Option<String>,
    /// Rows, triggers or roles, as the finding says. None where nothing could be counted.
    pub count: Option<i64>,
    pub detail: Option<String>,
}

impl IntegrityFinding {
    /// Whether the check has failed for it.
    pub fn is_problem(&self) -> bool {
        self.severity != "notice"
    }
}

impl Keeper {
    /// Looks at everything that decides how well Reprieve works here, worst first. Changes nothing.
    ///
    /// # Errors
    /// Only where the database cannot be asked; a missing keeper is a finding.
    pub async fn doctor(&self) -> Result<Vec<Finding>, KeeperError> {
        if self.installed().await?.is_none() {
            let missing = KeeperError::NotInstalled {
                database: self.database().to_owned(),
            };
            return Ok(vec![Finding {
                severity: Severity::Problem,
                subject: format!("database {}", self.database()),
                text: "Reprieve is not installed here: nothing is protected".to_owned(),
                hint: missing.hint(),
            }]);
        }
        let rows = self.rows(
            "examining the database",
            include_str!("queries/doctor.sql"),
            &[],
        );
        rows.await?
            .iter()
            .map(|row| {
                let severity = match column::<i32>(row, "severity")? {
                    0 => Severity::Info,
                    1 => Severity::Warning,
                    _ => Severity::Problem,
                };
                Ok(Finding {
                    severity,
                    subject: column(row, "subject")?,
                    text: column(row, "text")?,
                    hint: column(row, "hint")?,
                })
            })
            .collect()
    }

    /// Runs `reprieve.check_v1()`: live rows whose parent is a tombstone, ledger and rows that
    /// disagree, triggers that are missing. Worst first; empty is well.
    pub async fn check(&self) -> Result<Vec<IntegrityFinding>, KeeperError> {
        let sql = "SELECT severity, finding, table_name, count, detail FROM reprieve.check_v1()";
        self.take_time().await?;
        let rows = self.rows("checking integrity", sql, &[]).await;
        self.pin().await?;
        let rows = rows.map_err(|error| self.or_not_installed(error))?;
        rows.iter()
            .map(|row| {
                Ok(IntegrityFinding {
                    severity: column(row, "severity")?,
                    finding: column(row, "finding")?,
                    table: column(row, "table_name")?,
                    count: column(row, "count")?,
                    detail: column(row, "detail")?,
                })
            })
            .collect()
    }
}
