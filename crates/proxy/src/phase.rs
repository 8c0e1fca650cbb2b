//! How far the process is on its way out.

use tokio::sync::watch;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Phase {
    #[default]
    Running,
    /// No new app clients; idle ones are sent away, others may finish their transaction.
    Draining,
    /// Everybody goes now.
    Stopping,
}

/// Where the phase is set. Phases only go forward.
#[derive(Debug, Clone)]
pub struct PhaseSwitch(watch::Sender<Phase>);

impl PhaseSwitch {
    pub fn new() -> Self {
        Self(watch::Sender::new(Phase::Running))
    }

    pub fn advance(&self, to: Phase) {
        self.0.send_if_modified(|phase| {
            let forward = to > *phase;
            *phase = to.max(*phase);
            forward
        });
    }

    pub fn watch(&self) -> PhaseWatch {
        PhaseWatch(self.0.subscribe())
    }
}

impl Default for PhaseSwitch {
    fn default() -> Self {
        Self::new()
    }
}

#[derive(Debug, Clone)]
pub struct PhaseWatch(watch::Receiver<Phase>);

impl PhaseWatch {
    pub fn now(&self) -> Phase {
        *self.0.borrow()
    }

    /// Waits for the next phase; for ever if there will be none.
    pub async fn changed(&mut self) -> Phase {
        if self.0.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
        *self.0.borrow_and_update()
    }

    /// Waits until the phase is `least` or later.
    pub async fn reached(&mut self, least: Phase) {
        while *self.0.borrow_and_update() < least {
            if self.0.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}
