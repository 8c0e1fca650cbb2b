//! The configuration, checked: raw text becomes types, once.

use std::cell::RefCell;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use keeper::{
    FindingSeverity, GuardSettings, KeeperConfig, MonitorLimits, OnDrop, Sidecar, TableSettings,
};
use proxy::{
    ClientTls, ClientTlsMode, KeeperSettings, Limits, ListenAddress, MonitorSettings, Settings,
    SslMode, Upstream, UpstreamUrl, Webhook, WebhookAddress,
};

use crate::config_file::{FILE_DEFAULT, Raw, Sources};

/// Less could not be renewed in time.
const LEASE_SECONDS_MIN: u64 = 4;
const LEASE_SECONDS_MAX: u64 = 3600;
const KEEPER_NONE: &str = "none";

/// Everything `serve` needs, checked.
pub struct Config {
    pub app: Vec<ListenAddress>,
    pub admin: Vec<ListenAddress>,
    pub http: Option<String>,
    pub settings: Settings,
    pub keeper: Option<KeeperConfig>,
    pub auto_install: bool,
    /// Of `serve`, among its like.
    pub lease: Duration,
    pub tables: TableSettings,
    /// `None`: nobody watches.
    pub monitor: Option<MonitorSettings>,
    pub log: LogConfig,
    pub plan_cache_bytes: u64,
    /// Those that relay.
    pub threads: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogConfig {
    pub level: String,
    pub json: bool,
    pub literals: bool,
}

/// For each mistake a line: key, value, where it was written, what is wrong with it.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(String);

/// As asked for, or one for every two processors.
fn threads(asked: usize) -> usize {
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    match asked {
        0 => (processors / 2).max(1),
        asked => asked,
    }
}

impl Config {
    /// Reads and checks all sources.
    pub fn load(sources: &Sources) -> Result<Self, ConfigError> {
        let raw = sources.read().map_err(ConfigError)?;
        Self::check(&raw, sources)
    }

    /// Everything that is wrong, a line each.
    fn check(raw: &Raw, sources: &Sources) -> Result<Self, ConfigError> {
        let blame = Blame {
            sources,
            found: RefCell::default(),
        };
        let listen = blame.note(listen(raw, &blame));
        let upstream = blame.note(upstream(raw, &blame));
        let client_tls = blame.note(client_tls(raw, &blame));
        let limits = limits(raw, &blame);
        let keeper = blame.note(keeper(raw, &blame));
        let lease = blame.note(lease(raw, &blame));
        let tables = tables(raw, &blame);
        let monitor = monitor(raw, &blame);
        let log = log(raw, &blame);
        let found = blame.found.into_inner();
        let (Some((app, admin, http)), Some(upstream), Some(client_tls), Some(keeper), Some(lease)) =
            (listen, upstream, client_tls, keeper, lease)
        else {
            return Err(ConfigError(found.join("\n")));
        };
        if !found.is_empty() {
            return Err(ConfigError(found.join("\n")));
        }
        Ok(Self {
            app,
            admin,
            http,
            settings: Settings {
                upstream,
                client_tls,
                limits,
            },
            keeper,
            auto_install: raw.keeper.auto_install,
            lease,
            tables,
            monitor,
            log,
            plan_cache_bytes: raw.limits.plan_cache_bytes,
            threads: threads(raw.limits.threads),
        })
    }

    /// What the proxy's databases are to do; `None` where there is no keeper.
    pub fn keeper_settings(&self) -> Option<KeeperSettings> {
        Some(KeeperSettings {
            config: self.keeper.clone()?,
            auto_install: self.auto_install,
            tables: self.tables.clone(),
            sidecar: Sidecar {
                id: sidecar_id(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
                lease: self.lease,
            },
            monitor: self.monitor.clone(),
        })
    }

    /// The keeper's connection, for subcommands that need one.
    pub fn require_keeper(&self) -> Result<&KeeperConfig, ConfigError> {
        self.keeper.as_ref().ok_or_else(|| {
            ConfigError("keeper.url is \"none\": this subcommand needs a keeper".to_owned())
        })
    }
}

fn tables(raw: &Raw, blame: &Blame<'_>) -> TableSettings {
    let on_drop = OnDrop::parse(&raw.tables.on_drop).ok_or_else(|| {
        let reason = "it is keep, refuse or allow";
        blame.key("tables.on_drop", &raw.tables.on_drop, reason)
    });
    TableSettings {
        enable: raw.tables.enable.0.clone(),
        exclude: raw.tables.exclude.0.clone(),
        bin: raw.tables.bin.0.clone(),
        mark: raw.tables.mark.0.clone(),
        on_drop: blame.note(on_drop).unwrap_or_default(),
        guards: guards(raw, blame),
        mask_literals: blame.one_of(
            "ledger.literals",
            &raw.ledger.literals,
            &[("keep", false), ("mask", true)],
        ),
    }
}

fn guards(raw: &Raw, blame: &Blame<'_>) -> GuardSettings {
    let refuse = |key, word| blame.one_of(key, word, &[("allow", false), ("refuse", true)]);
    blame.range("guards.max_share", raw.guards.max_share, 1..=100);
    GuardSettings {
        max_rows: Some(raw.guards.max_rows).filter(|rows| *rows > 0),
        max_share: Some(raw.guards.max_share).filter(|share| *share < 100),
        refuse_no_where: refuse("guards.no_where", &raw.guards.no_where),
        refuse_truncate: refuse("guards.truncate", &raw.guards.truncate),
        refuse_drop: refuse("guards.drop", &raw.guards.drop),
    }
}

/// Says where a value was written, and keeps what is wrong.
struct Blame<'a> {
    sources: &'a Sources,
    found: RefCell<Vec<String>>,
}

impl Blame<'_> {
    fn note<T>(&self, checked: Result<T, ConfigError>) -> Option<T> {
        checked
            .map_err(|ConfigError(line)| self.found.borrow_mut().push(line))
            .ok()
    }

    fn range(&self, key: &str, value: u64, range: RangeInclusive<u64>) {
        if !range.contains(&value) {
            let reason = format!("from {} to {} are possible", range.start(), range.end());
            self.note::<()>(Err(self.key(key, &value.to_string(), &reason)));
        }
    }

    /// What one of the words stands for; its default if it is none.
    fn one_of<T: Copy + Default>(&self, key: &str, word: &str, words: &[(&str, T)]) -> T {
        if let Some((_, meaning)) = words.iter().find(|(known, _)| *known == word) {
            return *meaning;
        }
        let known: Vec<_> = words.iter().map(|(word, _)| *word).collect();
        let reason = format!("expected {}", known.join(" or "));
        self.note::<()>(Err(self.key(key, word, &reason)));
        T::default()
    }

    fn key(&self, key: &str, value: &str, reason: &str) -> ConfigError {
        ConfigError(format!(
            "{key} = {value:?} ({}): {reason}",
            self.origin(key)
        ))
    }

    /// For values that may hold a password.
    fn secret(&self, key: &str, reason: &str) -> ConfigError {
        ConfigError(format!("{key} ({}): {reason}", self.origin(key)))
    }

    fn origin(&self, key: &str) -> String {
        if self.sources.overrides.iter().any(|(name, _)| name == key) {
            return "--set".to_owned();
        }
        let variable = format!("REPRIEVE__{}", key.replace('.', "__").to_uppercase());
        if std::env::vars_os().any(|(name, _)| name.eq_ignore_ascii_case(&variable)) {
            return variable;
        }
        let file = self
            .sources
            .file
            .clone()
            .unwrap_or_else(|| PathBuf::from(FILE_DEFAULT));
        if file.exists() {
            return format!("{} or default", file.display());
        }
        "default".to_owned()
    }
}

fn addresses(text: &str) -> Result<Vec<ListenAddress>, String> {
    text.split(',')
        .map(str::trim)
        .filter(|item| !item.is_empty())
        .map(str::parse)
        .collect()
}

type Listening = (Vec<ListenAddress>, Vec<ListenAddress>, Option<String>);

fn listen(raw: &Raw, blame: &Blame<'_>) -> Result<Listening, ConfigError> {
    let wrong = |key, text: &str, reason: String| blame.key(key, text, &reason);
    let app = addresses(&raw.listen.app)
        .map_err(|reason| wrong("listen.app", &raw.listen.app, reason))?;
    if app.is_empty() {
        let reason = "at least one address is needed, as 127.0.0.1:6543".to_owned();
        return Err(wrong("listen.app", &raw.listen.app, reason));
    }
    let admin = addresses(&raw.listen.admin)
        .map_err(|reason| wrong("listen.admin", &raw.listen.admin, reason))?;
    let http = raw.listen.http.trim();
    let http_address = match http.parse() {
        Ok(address @ ListenAddress::Tcp(_)) => Some(address),
        _ if http.is_empty() => None,
        _ => {
            let reason = "it is host:port, as 127.0.0.1:6545, or empty".to_owned();
            return Err(wrong("listen.http", http, reason));
        }
    };
    // Port 0 is another one each time; of a directory each port has its own socket.
    let clashes = |address: &ListenAddress, others: &[ListenAddress]| match address {
        ListenAddress::Tcp(text) => !text.ends_with(":0") && others.contains(address),
        ListenAddress::Unix(_) => false,
    };
    if let Some(address) = admin.iter().find(|address| clashes(address, &app)) {
        let reason = format!("{address} is an address of listen.app already");
        return Err(wrong("listen.admin", &raw.listen.admin, reason));
    }
    if let Some(address) = &http_address
        && (clashes(address, &app) || clashes(address, &admin))
    {
        let reason = "it is an address of listen.app or listen.admin already".to_owned();
        return Err(wrong("listen.http", http, reason));
    }
    Ok((app, admin, http_address.map(|_| http.to_owned())))
}

fn upstream(raw: &Raw, blame: &Blame<'_>) -> Result<Upstream, ConfigError> {
    let url = UpstreamUrl::parse(&raw.upstream.url)
        .map_err(|reason| blame.secret("upstream.url", &reason))?;
    let mode: SslMode = raw.tls.upstream_mode.parse().map_err(|reason: String| {
        blame.key("tls.upstream_mode", &raw.tls.upstream_mode, &reason)
    })?;
    let ssl_mode = url.ssl_mode.unwrap_or(mode);
    let root = Some(raw.tls.upstream_root_cert_file.as_str())
        .filter(|path| !path.is_empty())
        .map(PathBuf::from);
    let root = url.ssl_root_cert.or(root);
    let tls = proxy::tls_to_server(ssl_mode, root.as_ref()).map_err(|error| {
        let path = raw.tls.upstream_root_cert_file.as_str();
        blame.key("tls.upstream_root_cert_file", path, &error.to_string())
    })?;
    let timeout = Duration::from_secs(raw.upstream.connect_timeout_seconds.max(1));
    Ok(Upstream {
        places: url.places,
        ssl_mode,
        tls,
        connect_timeout: url.connect_timeout.unwrap_or(timeout),
    })
}

fn client_tls(raw: &Raw, blame: &Blame<'_>) -> Result<ClientTls, ConfigError> {
    let mode = match raw.tls.mode.as_str() {
        "off" => return Ok(ClientTls::default()),
        "allow" => ClientTlsMode::Allow,
        "require" => ClientTlsMode::Require,
        other => return Err(blame.key("tls.mode", other, "expected off, allow or require")),
    };
    for (key, value) in [
        ("tls.cert_file", &raw.tls.cert_file),
        ("tls.key_file", &raw.tls.key_file),
    ] {
        if value.is_empty() {
            let reason = format!(
                "tls.mode = {:?} needs the path of a PEM file here",
                raw.tls.mode
            );
            return Err(blame.key(key, value, &reason));
        }
    }
    ClientTls::load(mode, raw.tls.cert_file.as_ref(), raw.tls.key_file.as_ref())
        .map_err(|error| blame.key("tls.cert_file", &raw.tls.cert_file, &error.to_string()))
}

fn limits(raw: &Raw, blame: &Blame<'_>) -> Limits {
    for (key, is_none) in [
        ("listen.max_clients", raw.listen.max_clients == 0),
        (
            "limits.login_timeout_seconds",
            raw.limits.login_timeout_seconds == 0,
        ),
    ] {
        if is_none {
            blame.note::<()>(Err(blame.key(key, "0", "at least 1 is needed")));
        }
    }
    Limits {
        max_clients: raw.listen.max_clients,
        max_admin_clients: raw.limits.max_admin_clients,
        login_timeout: Duration::from_secs(raw.limits.login_timeout_seconds),
        drain_timeout: Duration::from_secs(raw.limits.drain_timeout_seconds),
    }
}

fn lease(raw: &Raw, blame: &Blame<'_>) -> Result<Duration, ConfigError> {
    let seconds = raw.keeper.lease_seconds;
    if !(LEASE_SECONDS_MIN..=LEASE_SECONDS_MAX).contains(&seconds) {
        let reason = format!("from {LEASE_SECONDS_MIN} to {LEASE_SECONDS_MAX} are possible");
        return Err(blame.key("keeper.lease_seconds", &seconds.to_string(), &reason));
    }
    Ok(Duration::from_secs(seconds))
}

fn keeper(raw: &Raw, blame: &Blame<'_>) -> Result<Option<KeeperConfig>, ConfigError> {
    match raw.keeper.url.trim() {
        "" => {
            let reason = "not set: name the role that owns the keeper, as \
                          postgres://keeper:password@host:5432/database, or \"none\" to relay \
                          everything as it is";
            Err(blame.secret("keeper.url", reason))
        }
        KEEPER_NONE => Ok(None),
        url => {
            let failed = |error: keeper::KeeperError| {
                let hint = error
                    .hint()
                    .map(|hint| format!("; {hint}"))
                    .unwrap_or_default();
                blame.secret("keeper.url", &format!("{error}{hint}"))
            };
            KeeperConfig::parse(url).map(Some).map_err(failed)
        }
    }
}

fn monitor(raw: &Raw, blame: &Blame<'_>) -> Option<MonitorSettings> {
    let monitor = &raw.monitor;
    for (key, percent) in [
        ("monitor.loss_percent", monitor.loss_percent),
        ("monitor.tombstone_percent", monitor.tombstone_percent),
    ] {
        if !(0.001..=100.0).contains(&percent) {
            let reason = "from 0.001 to 100 are possible";
            blame.note::<()>(Err(blame.key(key, &percent.to_string(), reason)));
        }
    }
    for (key, value, range) in [
        (
            "monitor.interval_seconds",
            monitor.interval_seconds,
            0..=3600,
        ),
        (
            "monitor.loss_window_seconds",
            monitor.loss_window_seconds,
            10..=86400,
        ),
        (
            "monitor.loss_rows",
            monitor.loss_rows,
            1..=u64::from(u32::MAX),
        ),
        ("monitor.series_max", monitor.series_max.into(), 1..=10000),
        (
            "webhook.timeout_seconds",
            raw.webhook.timeout_seconds,
            1..=300,
        ),
    ] {
        blame.range(key, value, range);
    }
    let webhook = blame.note(webhook(raw, blame)).flatten();
    let limits = MonitorLimits {
        interval_seconds: monitor.interval_seconds,
        loss_percent: monitor.loss_percent,
        loss_window_seconds: monitor.loss_window_seconds,
        loss_rows: monitor.loss_rows,
        tombstone_percent: monitor.tombstone_percent,
        rehearsal_days: monitor.rehearsal_days,
    };
    Some(MonitorSettings {
        limits,
        series_max: monitor.series_max,
        webhook,
    })
    .filter(|_| monitor.interval_seconds > 0)
}

fn webhook(raw: &Raw, blame: &Blame<'_>) -> Result<Option<Webhook>, ConfigError> {
    let severity = match raw.webhook.severity.as_str() {
        "critical" => FindingSeverity::Critical,
        "warning" => FindingSeverity::Warning,
        "notice" => FindingSeverity::Notice,
        other => {
            let reason = "expected critical, warning or notice";
            return Err(blame.key("webhook.severity", other, reason));
        }
    };
    if raw.webhook.url.is_empty() {
        return Ok(None);
    }
    let root = Some(raw.webhook.root_cert_file.as_str()).filter(|path| !path.is_empty());
    let address = WebhookAddress {
        url: &raw.webhook.url,
        authorization: &raw.webhook.authorization,
        root_cert_file: root.map(PathBuf::from),
        patience: Duration::from_secs(raw.webhook.timeout_seconds),
        severity,
    };
    let made = Webhook::new(&address);
    made.map(Some)
        .map_err(|reason| blame.secret("webhook.url", &reason))
}

fn log(raw: &Raw, blame: &Blame<'_>) -> LogConfig {
    let level = &raw.log.level;
    if let Err(reason) = directives(level) {
        blame.note::<()>(Err(blame.key("log.level", level, &reason)));
    }
    LogConfig {
        level: level.clone(),
        json: blame.one_of(
            "log.format",
            &raw.log.format,
            &[("text", false), ("json", true)],
        ),
        literals: raw.log.literals,
    }
}

/// A word by itself is a level: `EnvFilter` takes any other one for a target, and logs nothing else then.
fn directives(level: &str) -> Result<(), String> {
    level
        .parse::<tracing_subscriber::EnvFilter>()
        .map_err(|error| error.to_string())?;
    let words = level
        .split(',')
        .map(str::trim)
        .filter(|word| !word.contains(['=', '[']));
    for word in words {
        if word.parse::<tracing::level_filters::LevelFilter>().is_err() {
            return Err(format!(
                "{word:?} is none of error, warn, info, debug, trace and off"
            ));
        }
    }
    Ok(())
}

/// Unique among running processes.
fn sidecar_id() -> String {
    static ID: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    let make = || {
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let started = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap_or_default();
        format!(
            "{}-{}-{}",
            host.trim(),
            std::process::id(),
            started.as_millis()
        )
    };
    ID.get_or_init(make).clone()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(change: impl FnOnce(&mut Raw)) -> Result<Config, ConfigError> {
        let mut raw = Raw::default();
        raw.keeper.url = "none".into();
        change(&mut raw);
        Config::check(&raw, &Sources::default())
    }

    #[test]
    fn defaults_need_nothing_but_a_keeper() {
        let config = check(|_| {}).unwrap();
        assert_eq!(config.app.len(), 1);
        assert!(config.keeper.is_none());
        let error = check(|raw| raw.keeper.url.clear())
            .err()
            .unwrap()
            .to_string();
        assert!(
            error.contains("keeper.url") && error.contains("postgres://"),
            "{error}"
        );
    }

    #[test]
    fn a_wrong_value_is_named_with_its_key_and_what_to_do() {
        type Case = (fn(&mut Raw), [&'static str; 2]);
        let cases: &[Case] = &[
            (
                |raw| raw.listen.app = "6543".into(),
                ["listen.app", "127.0.0.1:6543"],
            ),
            (
                |raw| raw.listen.app = " ".into(),
                ["listen.app", "at least one"],
            ),
            (
                |raw| raw.listen.admin = "unix:x".into(),
                ["listen.admin", "absolute"],
            ),
            (
                |raw| raw.listen.max_clients = 0,
                ["listen.max_clients", "at least 1"],
            ),
            (
                |raw| raw.upstream.url = "db:5432".into(),
                ["upstream.url", "postgres://"],
            ),
            (
                |raw| raw.tls.upstream_mode = "on".into(),
                ["tls.upstream_mode", "verify-full"],
            ),
            (|raw| raw.tls.mode = "on".into(), ["tls.mode", "require"]),
            (
                |raw| raw.tls.mode = "allow".into(),
                ["tls.cert_file", "PEM"],
            ),
            (|raw| raw.log.format = "xml".into(), ["log.format", "json"]),
            (
                |raw| raw.monitor.loss_percent = 0.0,
                ["monitor.loss_percent", "0.001"],
            ),
            (
                |raw| raw.monitor.loss_window_seconds = 1,
                ["monitor.loss_window_seconds", "from 10"],
            ),
            (
                |raw| raw.webhook.url = "example.org/hook".into(),
                ["webhook.url", "https://"],
            ),
            (
                |raw| raw.webhook.severity = "bad".into(),
                ["webhook.severity", "critical"],
            ),
            (
                |raw| raw.log.level = "info,=".into(),
                ["log.level", "info,="],
            ),
            (|raw| raw.log.level = "waring".into(), ["log.level", "warn"]),
            (
                |raw| raw.log.level = "info, proxi".into(),
                ["log.level", "\"proxi\""],
            ),
            (
                |raw| raw.listen.admin.clone_from(&raw.listen.app),
                ["listen.admin", "listen.app already"],
            ),
            (
                |raw| raw.listen.http.clone_from(&raw.listen.admin),
                ["listen.http", "listen.admin already"],
            ),
            (
                |raw| raw.listen.http = "foo".into(),
                ["listen.http", "127.0.0.1:6545"],
            ),
            (
                |raw| raw.guards.max_share = 500,
                ["guards.max_share", "from 1 to 100"],
            ),
        ];
        for (change, words) in cases {
            let error = check(change).err().unwrap().to_string();
            for word in words {
                assert!(error.contains(word), "{word:?} is not in {error:?}");
            }
            assert!(!error.contains('\n'));
        }
    }

    #[test]
    fn all_that_is_wrong_is_named_and_what_is_right_is_not() {
        let error = check(|raw| {
            raw.listen.http = "foo".into();
            raw.listen.max_clients = 0;
            raw.guards.max_share = 0;
            raw.guards.drop = "no".into();
            raw.monitor.loss_percent = 0.0;
            raw.webhook.severity = "bad".into();
            raw.ledger.literals = "hide".into();
            raw.log.format = "xml".into();
            raw.keeper.url.clear();
        });
        let error = error.err().unwrap().to_string();
        let keys: Vec<&str> = error
            .lines()
            .filter_map(|line| line.split(' ').next())
            .collect();
        assert_eq!(
            keys,
            [
                "listen.http",
                "listen.max_clients",
                "keeper.url",
                "guards.max_share",
                "guards.drop",
                "ledger.literals",
                "monitor.loss_percent",
                "webhook.severity",
                "log.format"
            ]
        );
        for level in [
            "info",
            "warn,proxy=debug",
            "OFF",
            "keeper=trace",
            "debug,[span]=info",
        ] {
            assert!(check(|raw| raw.log.level = level.into()).is_ok(), "{level}");
        }
        let both = check(|raw| {
            raw.listen.app = "127.0.0.1:0,unix:/run".into();
            raw.listen.admin = "127.0.0.1:0,unix:/run".into();
            raw.listen.http.clear();
        });
        assert!(both.is_ok());
    }

    #[test]
    fn passwords_are_not_repeated() {
        for change in [
            (|raw: &mut Raw| raw.upstream.url = "x://u:hunter2@h".into()) as fn(&mut Raw),
            |raw| raw.keeper.url = "postgres://u:hunter2@h:x/d".into(),
            |raw| raw.webhook.url = "https://u:hunter2@h/".into(),
        ] {
            let error = check(change).err().unwrap().to_string();
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
