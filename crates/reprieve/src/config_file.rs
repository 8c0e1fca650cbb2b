//! The configuration as it is written: every key, its meaning, its default. `docs/config.md` is
//! generated from here.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// The file that is read if `--config` names none, where it exists.
pub const FILE_DEFAULT: &str = "reprieve.toml";

/// One key, for the manual.
pub struct Key {
    pub name: &'static str,
    pub doc: &'static str,
    pub default: String,
}

/// Declares a section once: the struct, its defaults and its manual.
macro_rules! section {
    (
        $(#[doc = $title:literal])+
        $section:ident {
            $( $(#[doc = $doc:literal])+ $field:ident: $type:ty = $default:expr, )+
        }
    ) => {
        $(#[doc = $title])+
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub struct $section {
            $( $(#[doc = $doc])+ pub $field: $type, )+
        }

        impl Default for $section {
            fn default() -> Self {
                Self { $( $field: $default, )+ }
            }
        }

        impl $section {
            fn title() -> &'static str {
                concat!($($title, "\n"),+)
            }

            fn keys() -> Vec<Key> {
                let default = Self::default();
                vec![$(
                    Key {
                        name: stringify!($field),
                        doc: concat!($($doc, "\n"),+),
                        default: serde_json::to_string(&default.$field).unwrap_or_default(),
                    },
                )+]
            }
        }
    };
}

section! {
    /// Where clients come in.
    Listen {
        /// Addresses of the app port, separated by commas: `host:port`, or `unix:/path` (a
        /// directory holds `.s.PGSQL.6543`). Not changed by a reload.
        app: String = "127.0.0.1:6543".into(),
        /// Addresses of the admin port, written like `app`. Clients must be members of the role
        /// `reprieve_admin`. Not changed by a reload.
        admin: String = "127.0.0.1:6544".into(),
        /// Address of `/metrics`, `/healthz` (200 while the process runs) and `/readyz` (503 with the reason where clients would
        /// be refused: PostgreSQL does not answer, the keeper cannot log in or has lost its lease); empty for none. Not changed
        /// by a reload.
        http: String = "127.0.0.1:6545".into(),
        /// Clients of the app port at a time; one more reads 53300. Each has a connection of its
        /// own to PostgreSQL: keep it below `max_connections`.
        max_clients: usize = 1000,
    }
}

section! {
    /// PostgreSQL, as clients' connections reach it.
    Upstream {
        /// `postgres://host1:5432,host2/?sslmode=...&host=/var/run/postgresql`. Several hosts are
        /// tried in order. Clients bring user, password and database.
        url: String = "postgres://localhost:5432".into(),
        /// For each host: TCP connect and TLS handshake. `connect_timeout` in the url goes first.
        connect_timeout_seconds: u64 = 10,
    }
}

section! {
    /// TLS, both sides.
    Tls {
        /// For clients: `off`, `allow` or `require`. Unix sockets are never encrypted.
        mode: String = "off".into(),
        /// Our certificate chain (PEM). If it is PostgreSQL's own, SCRAM channel binding works
        /// through the proxy. Read again on reload.
        cert_file: String = String::new(),
        /// The key of `cert_file` (PEM).
        key_file: String = String::new(),
        /// To PostgreSQL: `disable`, `prefer`, `require`, `verify-ca` or `verify-full`, as libpq's
        /// sslmode. `sslmode` in `upstream.url` goes first.
        upstream_mode: String = "prefer".into(),
        /// Root certificates for `upstream_mode` (PEM); empty: those of the system. `sslrootcert`
        /// in `upstream.url` goes first.
        upstream_root_cert_file: String = String::new(),
    }
}

section! {
    /// The connection in our own name.
    Keeper {
        /// `postgres://role:password@host:port/database?sslmode=...` of the role that owns the
        /// keeper; the database is for the subcommands, `serve` uses the one of each client.
        /// It writes: where `upstream.url` leads to a standby, this one leads to its primary.
        /// `none`: relay everything as it is, hide and keep nothing; only for databases in which
        /// Reprieve was never installed.
        url: String = String::new(),
        /// Install the keeper in a database when its first client comes.
        auto_install: bool = false,
        /// How long tables that are being enabled wait for a `serve` that is not heard of any more before
        /// they begin to mark. One that cannot reach the keeper refuses its clients a little earlier.
        lease_seconds: u64 = 60,
    }
}

section! {
    /// Watching: rows, losses, orphans, tombstones, rehearsals; see docs/monitoring.md. Of many sidecars one samples, all show it.
    Monitor {
        /// Between two looks; 0: no watching. A sidecar watches a database as long as it has clients there, on a connection of its own.
        interval_seconds: u64 = 15,
        /// Of the rows of a table: if more were deleted within the window and not brought back, it is a finding. `WATCH TABLE t` says
        /// otherwise for a table.
        loss_percent: f64 = 1.0,
        /// The window.
        loss_window_seconds: u64 = 300,
        /// Fewer lost rows are no finding.
        loss_rows: u64 = 20,
        /// Of the rows that lie in a table: more deleted ones are a finding. From 10,000 of them on.
        tombstone_percent: f64 = 50.0,
        /// A finding if no undelete was rehearsed for so long; 0: never.
        rehearsal_days: u32 = 30,
        /// In `/metrics`, per database: tables, foreign keys, pairs of table and role. The rest is added up as `(other)`.
        series_max: u32 = 100,
    }
}

section! {
    /// Whom to tell of findings: one JSON document in a POST for each, when it is found and when it is over. Again until it was
    /// answered with 2xx, waiting from 1 second up to 5 minutes.
    Webhook {
        /// `http://host[:port]/path` or `https://...`; empty: nobody.
        url: String = String::new(),
        /// The header `Authorization`, as in `Bearer ...`.
        authorization: String = String::new(),
        /// Root certificates for https (PEM); empty: those of the system.
        root_cert_file: String = String::new(),
        /// For one attempt.
        timeout_seconds: u64 = 10,
        /// `critical`, `warning` or `notice`: findings below it are in the log only.
        severity: String = "warning".into(),
    }
}

section! {
    /// Which tables are enabled: globs over `schema.table`, separated by commas or as a list, for
    /// tables that exist and for new ones. `*.*` is all but system schemas.
    Tables {
        /// Tables whose deletes are kept.
        enable: Globs = Globs::default(),
        /// Not these.
        exclude: Globs = Globs::default(),
        /// These in mode `bin`: rows leave the table and are kept in the graveyard.
        bin: Globs = Globs::default(),
        /// These in mode `mark` wherever that is possible at all, even where somebody could tell: `reprieve doctor` says
        /// where. The default is `mark` only where it is exact.
        mark: Globs = Globs::default(),
        /// What becomes of an enabled table that is dropped with rows in it. `keep`: `UNDELETE DELETION` makes it
        /// again, rows and all. `refuse`: an error. `allow`: its rows are lost. Needs event triggers.
        on_drop: String = "keep".into(),
    }
}

section! {
    /// The guard on all tables and for all roles that holds where a DBA has set none (`GUARD` on the admin port, see
    /// [admin.md](admin.md)). What is over it fails with SQLSTATE `RV001`.
    Guards {
        /// Rows that one statement may delete, cascades included; 0: any number.
        max_rows: u64 = 0,
        /// Percent of a table that one statement may delete; 100: all of it.
        max_share: u64 = 100,
        /// `refuse` or `allow` a DELETE without a condition, or with one that is always true.
        no_where: String = "allow".into(),
        /// `refuse` or `allow` TRUNCATE.
        truncate: String = "allow".into(),
        /// `refuse` or `allow` DROP TABLE. Needs event triggers.
        drop: String = "allow".into(),
    }
}

section! {
    /// What is kept of each deletion.
    Ledger {
        /// `keep` or `mask` the literals of statements: masked, `WHERE id = 7` is kept as `WHERE id = ?`, and comments are left
        /// out. For deletions from then on.
        literals: String = "keep".into(),
    }
}

section! {
    /// What is written to stderr.
    Log {
        /// `error`, `warn`, `info`, `debug`, `trace`, or directives as `info,proxy=debug`.
        level: String = "info".into(),
        /// `text` or `json`.
        format: String = "text".into(),
        /// Log SQL with its literals where a level asks for SQL. Off, no data of a table is ever
        /// logged.
        literals: bool = false,
    }
}

section! {
    /// Limits.
    Limits {
        /// Clients of the admin port at a time, not counted in `listen.max_clients`.
        max_admin_clients: usize = 20,
        /// From connect to the startup message.
        login_timeout_seconds: u64 = 30,
        /// From SIGTERM until clients in a transaction are sent away. A second signal stops at once.
        drain_timeout_seconds: u64 = 30,
        /// Memory for rewritten statements, shared by all clients. Not changed by a reload.
        plan_cache_bytes: u64 = 64 * 1024 * 1024,
        /// Threads that relay; 0: one for every two processors, the others being for those whom a proxy on the same machine
        /// serves. Not changed by a reload.
        threads: usize = 0,
    }
}

/// The whole file.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Raw {
    pub listen: Listen,
    pub upstream: Upstream,
    pub tls: Tls,
    pub keeper: Keeper,
    pub tables: Tables,
    pub monitor: Monitor,
    pub webhook: Webhook,
    pub guards: Guards,
    pub ledger: Ledger,
    pub log: Log,
    pub limits: Limits,
}

/// Globs, as one string separated by commas or as a list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "OneOrMany", into = "String")]
pub struct Globs(pub Vec<String>);

#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "a string of globs separated by commas, or a list of them"
)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl From<OneOrMany> for Globs {
    fn from(value: OneOrMany) -> Self {
        let split = |text: String| -> Vec<String> {
            text.split(',')
                .map(str::trim)
                .filter(|glob| !glob.is_empty())
                .map(str::to_owned)
                .collect()
        };
        Self(match value {
            OneOrMany::One(text) => split(text),
            OneOrMany::Many(list) => list.into_iter().flat_map(split).collect(),
        })
    }
}

impl From<Globs> for String {
    fn from(globs: Globs) -> Self {
        globs.0.join(",")
    }
}

/// Where values come from, weakest first: defaults, file, environment, flags.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// `--config`: must exist.
    pub file: Option<PathBuf>,
    /// `--set section.key=value`.
    pub overrides: Vec<(String, String)>,
}

impl Sources {
    fn file_name(&self) -> PathBuf {
        self.file.clone().unwrap_or_else(|| FILE_DEFAULT.into())
    }

    /// Reads all sources.
    ///
    /// # Errors
    /// One line that names key, value and where it was written.
    pub fn read(&self) -> Result<Raw, String> {
        let environment = config::Environment::with_prefix("REPRIEVE")
            .prefix_separator("__")
            .separator("__");
        self.read_with(environment)
    }

    fn read_with(&self, environment: config::Environment) -> Result<Raw, String> {
        let file = self.file_name();
        if self.file.is_some() && !file.exists() {
            return Err(format!(
                "{}: no such file (named by --config)",
                file.display()
            ));
        }
        let mut builder = config::Config::builder()
            .add_source(
                config::File::from(Path::new(&file))
                    .format(config::FileFormat::Toml)
                    .required(false),
            )
            .add_source(environment);
        for (key, value) in &self.overrides {
            builder = builder
                .set_override(key, value.as_str())
                .map_err(|error| format!("--set {key}={value}: {}", one_line(&error)))?;
        }
        let merged = builder.build().map_err(|error| one_line(&error))?;
        merged.try_deserialize().map_err(|error| {
            // There is no key that may be negative.
            let text = one_line(&error)
                .replace("expected an integer", "expected a whole number, 0 or more");
            let place = self.place_of_unknown(&text).unwrap_or_default();
            format!("{text}{place} (keys and values: docs/config.md)")
        })
    }

    /// Where an unknown key was written: the crate tells it for wrong values only.
    fn place_of_unknown(&self, text: &str) -> Option<String> {
        let field = text.strip_prefix("unknown field `")?.split('`').next()?;
        let section = text
            .rsplit_once("for key `")
            .and_then(|(_, rest)| rest.split('`').next());
        let key = match section {
            Some(section) => format!("{section}.{field}"),
            None => field.to_owned(),
        };
        let begins = |name: &str| name == key || name.starts_with(&format!("{key}."));
        if self.overrides.iter().any(|(name, _)| begins(name)) {
            return Some(" in --set".to_owned());
        }
        let variable = format!("REPRIEVE__{}", key.replace('.', "__")).to_uppercase();
        let set = std::env::vars_os().any(|(name, _)| {
            name.to_str()
                .is_some_and(|name| name.to_uppercase().starts_with(&variable))
        });
        if set {
            return Some(format!(" in the environment ({variable})"));
        }
        Some(format!(" in {}", self.file_name().display()))
    }
}

fn one_line(error: &config::ConfigError) -> String {
    let text = error.to_string();
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ")
}

/// The text of `docs/config.md`.
pub fn manual() -> String {
    let mut text = String::from(
        "# Configuration\n\n\
         <!-- Generated from crates/reprieve/src/config_file.rs by `cargo test -p reprieve` with UPDATE=1. -->\n\n\
         Values come from, weakest first: the defaults below; `reprieve.toml` in the working directory or the file\n\
         named by `--config`; the environment, `REPRIEVE__SECTION__KEY` (as in `REPRIEVE__LISTEN__APP`); flags,\n\
         `--set section.key=value`. Unknown keys are errors. `reprieve check-config` reads everything and says what is\n\
         wrong, a line each; what cannot be read at all (an unknown key, a word for a number) comes by itself. SIGHUP reads\n\
         everything again: what can change does, for clients that come from then on; if anything is wrong, the old\n\
         configuration stays and the log says why.\n",
    );
    let sections: [(&str, &str, Vec<Key>); 11] = [
        ("listen", Listen::title(), Listen::keys()),
        ("upstream", Upstream::title(), Upstream::keys()),
        ("tls", Tls::title(), Tls::keys()),
        ("keeper", Keeper::title(), Keeper::keys()),
        ("tables", Tables::title(), Tables::keys()),
        ("monitor", Monitor::title(), Monitor::keys()),
        ("webhook", Webhook::title(), Webhook::keys()),
        ("guards", Guards::title(), Guards::keys()),
        ("ledger", Ledger::title(), Ledger::keys()),
        ("log", Log::title(), Log::keys()),
        ("limits", Limits::title(), Limits::keys()),
    ];
    for (section, title, keys) in sections {
        let _ = write!(
            text,
            "\n## `[{section}]`\n\n{}\n\n| key | default | meaning |\n|---|---|---|\n",
            flat(title)
        );
        for key in keys {
            let _ = writeln!(
                text,
                "| `{}` | `{}` | {} |",
                key.name,
                key.default,
                flat(key.doc)
            );
        }
    }
    text
}

fn flat(doc: &str) -> String {
    doc.split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(pairs: &[(&str, &str)]) -> config::Environment {
        let map = pairs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect();
        config::Environment::with_prefix("REPRIEVE")
            .prefix_separator("__")
            .separator("__")
            .source(Some(map))
    }

    fn file(text: &str) -> (PathBuf, Sources) {
        static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let name = format!("reprieve-config-{}-{number}.toml", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, text).unwrap();
        (
            path.clone(),
            Sources {
                file: Some(path),
                overrides: Vec::new(),
            },
        )
    }

    #[test]
    fn stronger_sources_win() {
        let (path, mut sources) = file(
            "[listen]\napp = \"a:1\"\nadmin = \"a:2\"\nmax_clients = 7\n[tables]\nenable = [\"a.*\", \"b.*\"]\n",
        );
        sources
            .overrides
            .push(("listen.admin".into(), "c:2".into()));
        let environment = environment(&[
            ("REPRIEVE__LISTEN__APP", "b:1"),
            ("REPRIEVE__LISTEN__ADMIN", "b:2"),
            ("REPRIEVE__KEEPER__AUTO_INSTALL", "true"),
            ("REPRIEVE__LIMITS__LOGIN_TIMEOUT_SECONDS", "5"),
            ("REPRIEVE__TABLES__BIN", "q.*, r.*"),
        ]);
        let raw = sources.read_with(environment).unwrap();
        std::fs::remove_file(path).unwrap();
        assert_eq!(
            (raw.listen.app.as_str(), raw.listen.admin.as_str()),
            ("b:1", "c:2")
        );
        assert_eq!(raw.listen.max_clients, 7);
        assert_eq!(raw.listen.http, "127.0.0.1:6545");
        assert!(raw.keeper.auto_install);
        assert_eq!(raw.limits.login_timeout_seconds, 5);
        assert_eq!(raw.tables.enable.0, ["a.*", "b.*"]);
        assert_eq!(raw.tables.bin.0, ["q.*", "r.*"]);
    }

    #[test]
    fn errors_name_key_value_and_file() {
        for (text, words) in [
            ("[listen]\nap = \"x\"\n", vec!["ap", "reprieve-config"]),
            ("[listn]\napp = \"x\"\n", vec!["listn"]),
            (
                "[listen]\nmax_clients = \"many\"\n",
                vec!["max_clients", "many", "reprieve-config"],
            ),
            ("[listen\n", vec!["reprieve-config"]),
        ] {
            let (path, sources) = file(text);
            let error = sources.read_with(environment(&[])).unwrap_err();
            std::fs::remove_file(path).unwrap();
            for word in words {
                assert!(error.contains(word), "{word:?} is not in {error:?}");
            }
            assert!(!error.contains('\n'), "{error:?}");
        }
        let negative = environment(&[("REPRIEVE__LIMITS__THREADS", "-1")]);
        let error = Sources::default().read_with(negative).unwrap_err();
        assert!(error.contains("0 or more"), "{error}");
        let bad = environment(&[("REPRIEVE__KEEPER__AUTO_INSTALL", "perhaps")]);
        let error = Sources::default().read_with(bad).unwrap_err();
        assert!(
            error.contains("perhaps") && error.contains("auto_install"),
            "{error}"
        );
    }

    #[test]
    fn the_manual_is_fresh() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/config.md");
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&path, manual()).unwrap();
        }
        let found = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            found == manual(),
            "docs/config.md is stale: UPDATE=1 cargo test -p reprieve"
        );
    }
}
