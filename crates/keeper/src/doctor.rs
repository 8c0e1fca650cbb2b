//! What a DBA should know about this database before and while Reprieve works in it.

use serde_json::Value;

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
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IntegrityProblem {
    /// The columns of the row, `name: value` each.
    pub text: String,
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
    /// disagree. Empty is well.
    pub async fn check(&self) -> Result<Vec<IntegrityProblem>, KeeperError> {
        let sql = "SELECT to_jsonb(c) AS problem FROM reprieve.check_v1() AS c";
        self.take_time().await?;
        let rows = self.rows("checking integrity", sql, &[]).await;
        self.pin().await?;
        let rows = rows.map_err(|error| self.or_not_installed(error))?;
        rows.iter()
            .map(|row| {
                let problem: serde_json::Map<String, Value> =
                    column::<tokio_postgres::types::Json<_>>(row, "problem")?.0;
                let parts = problem.iter().map(|(name, value)| match value {
                    Value::String(text) => format!("{name}: {text}"),
                    other => format!("{name}: {other}"),
                });
                Ok(IntegrityProblem {
                    text: parts.collect::<Vec<_>>().join(", "),
                })
            })
            .collect()
    }
}
