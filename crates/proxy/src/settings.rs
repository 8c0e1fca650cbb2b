//! What can be changed while the proxy runs: one value, replaced as a whole.

use std::time::Duration;

use crate::tls::ClientTls;
use crate::upstream::Upstream;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Clients of the app port; one more reads 53300.
    pub max_clients: usize,
    /// Clients of the admin port: not taken from the others, so that a DBA always gets in.
    pub max_admin_clients: usize,
    /// From connect to the StartupMessage.
    pub login_timeout: Duration,
    /// From the first signal until everybody is sent away.
    pub drain_timeout: Duration,
}

/// Clients that connect from now on are served by these.
#[derive(Clone)]
pub struct Settings {
    pub upstream: Upstream,
    pub client_tls: ClientTls,
    pub limits: Limits,
}
