//! `reprieve serve`: assembly, signals, reload.

use std::process::ExitCode;

use proxy::{Bound, Fixed, ListenAddress, Listener, Port, Proxy};
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::config_file::Sources;
use crate::logging::Logging;
use crate::settings::Config;

const APP_PORT: u16 = 6543;
const ADMIN_PORT: u16 = 6544;

/// A proxy with its listeners bound: clients can connect, `run` serves them.
pub struct Server {
    pub proxy: Proxy,
    /// As bound: tells the port where 0 was asked for.
    pub app: Vec<String>,
    pub admin: Vec<String>,
    pub http: Option<String>,
    bound: Vec<Bound>,
    http_listener: Option<TcpListener>,
}

impl Server {
    /// Binds everything.
    ///
    /// # Errors
    /// One line that names the key and the address.
    pub async fn bind(config: &Config) -> Result<Self, String> {
        let (app, mut bound) = bind("listen.app", &config.app, Port::App, APP_PORT).await?;
        let (admin, more) = bind("listen.admin", &config.admin, Port::Admin, ADMIN_PORT).await?;
        bound.extend(more);
        let mut http = None;
        let mut http_listener = None;
        if let Some(address) = &config.http {
            let listener = TcpListener::bind(address.as_str())
                .await
                .map_err(|error| format!("listen.http = {address:?}: cannot listen: {error}"))?;
            http = listener
                .local_addr()
                .ok()
                .map(|address| address.to_string());
            http_listener = Some(listener);
        }
        let fixed = Fixed {
            keeper: config.keeper_settings(),
            plan_cache_bytes_max: config.plan_cache_bytes,
            threads: config.threads,
            version: env!("CARGO_PKG_VERSION"),
        };
        let proxy = Proxy::new(config.settings.clone(), fixed)
            .map_err(|error| format!("cannot start: {error}"))?;
        Ok(Self {
            proxy,
            app,
            admin,
            http,
            bound,
            http_listener,
        })
    }

    /// Serves until [`Proxy::shut_down`] was called and everybody has gone.
    pub async fn run(self) {
        let proxy = self.proxy.clone();
        let http = async {
            if let Some(listener) = self.http_listener
                && let Err(error) = crate::http::serve(listener, proxy).await
            {
                tracing::error!(%error, "http endpoint lost");
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = self.proxy.serve(self.bound) => {}
            () = http => {}
        }
    }
}

async fn bind(
    key: &str,
    addresses: &[ListenAddress],
    port: Port,
    default_port: u16,
) -> Result<(Vec<String>, Vec<Bound>), String> {
    let mut names = Vec::new();
    let mut bound = Vec::new();
    for address in addresses {
        let listener = Listener::bind(address, default_port)
            .await
            .map_err(|error| format!("{key} = \"{address}\": cannot listen: {error}"))?;
        names.push(listener.local_address());
        bound.push(Bound { port, listener });
    }
    Ok((names, bound))
}

/// Serves until a signal ends it.
///
/// # Errors
/// One line: what to change in the configuration.
pub async fn serve(sources: &Sources) -> Result<ExitCode, String> {
    let config = Config::load(sources).map_err(|error| error.to_string())?;
    let logging = Logging::start(&config.log);
    let server = Server::bind(&config).await?;
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        app = server.app.join(","),
        admin = server.admin.join(","),
        http = server.http.as_deref().unwrap_or("off"),
        "listening"
    );
    if config.keeper.is_none() {
        tracing::warn!("keeper.url is \"none\": nothing is hidden and nothing is kept");
    }
    // Beside serving: a server that does not answer is waited for.
    let proxy = server.proxy.clone();
    tokio::spawn(async move {
        if let Err(reason) = proxy.readiness().await {
            tracing::warn!(reason, "not ready yet");
        }
    });
    let failed = |error: std::io::Error| format!("signals: {error}");
    let mut ends = Ends {
        terminate: signal(SignalKind::terminate()).map_err(failed)?,
        interrupt: signal(SignalKind::interrupt()).map_err(failed)?,
    };
    let mut hang_up = signal(SignalKind::hangup()).map_err(failed)?;
    let proxy = server.proxy.clone();
    let run = server.run();
    tokio::pin!(run);
    loop {
        tokio::select! {
            () = &mut run => break,
            () = ends.next() => proxy.shut_down(),
            Some(()) = hang_up.recv() => reload(sources, &proxy, &logging),
        }
    }
    tracing::info!("stopped");
    Ok(ExitCode::SUCCESS)
}

struct Ends {
    terminate: Signal,
    interrupt: Signal,
}

impl Ends {
    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// All or nothing: a configuration with an error changes nothing.
fn reload(sources: &Sources, proxy: &Proxy, logging: &Logging) {
    let config = match Config::load(sources) {
        Ok(config) => config,
        Err(error) => {
            tracing::error!(%error, "configuration not reloaded, the old one stays");
            return;
        }
    };
    if let Err(error) = logging.reload(&config.log) {
        tracing::error!(error, "log level not changed");
    }
    let keeper = config.keeper_settings();
    proxy.reload(config.settings, keeper);
    tracing::info!("configuration reloaded");
}
