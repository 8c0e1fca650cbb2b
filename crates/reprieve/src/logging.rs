//! Logs to stderr, text or JSON, with a level that a reload can change.

use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Registry, fmt, reload};

use crate::settings::LogConfig;

pub struct Logging {
    filter: reload::Handle<EnvFilter, Registry>,
}

impl Logging {
    /// Called once per process; later calls change nothing.
    pub fn start(config: &LogConfig) -> Self {
        let (filter, handle) = reload::Layer::new(filter(config));
        let registry = tracing_subscriber::registry().with(filter);
        let layer = fmt::layer().with_writer(std::io::stderr);
        let started = if config.json {
            registry.with(layer.json().flatten_event(true)).try_init()
        } else {
            registry.with(layer.with_ansi(false)).try_init()
        };
        if let Err(error) = started {
            tracing::debug!(%error, "logging was started before");
        }
        Self { filter: handle }
    }

    /// The format stays what it was.
    pub fn reload(&self, config: &LogConfig) -> Result<(), String> {
        self.filter
            .reload(filter(config))
            .map_err(|error| error.to_string())
    }
}

fn filter(config: &LogConfig) -> EnvFilter {
    let mut filter = EnvFilter::new(&config.level);
    if !config.literals {
        // Both log SQL from debug on; what we log of it ourselves has the target `literals`.
        for directive in ["tokio_postgres=warn", "sqlparser=warn", "literals=off"] {
            if let Ok(directive) = directive.parse() {
                filter = filter.add_directive(directive);
            }
        }
    }
    filter
}
