//! Sockets, TLS, cancel, drain, limits: moves bytes, asks `session` what they mean.
//!
//! One task per client, one server connection per client. The decision code never awaits; a database
//! has one more connection, the keeper's, for as long as it has clients. Messages are relayed by threads of
//! their own (`threads`).

mod backend_key;
mod client;
mod clients;
mod databases;
mod handshake;
mod listener;
mod local;
mod metrics;
mod monitor;
mod monitor_metrics;
mod phase;
mod relay;
mod server;
mod settings;
mod socket;
mod threads;
mod tls;
mod upstream;
mod watcher;
mod webhook;

pub use databases::KeeperSettings;
pub use handshake::STARTUP_BYTES_MAX;
pub use listener::{ListenAddress, Listener};
pub use metrics::Metrics;
pub use monitor::MonitorSettings;
pub use server::{Bound, Fixed, Proxy};
pub use session::{CatalogState, Port};
pub use settings::{Limits, Settings};
pub use tls::{ClientTls, ClientTlsMode, TlsError, to_server as tls_to_server};
pub use upstream::{Place, SslMode, Unreachable, Upstream, UpstreamUrl};
pub use webhook::{Webhook, WebhookAddress};
