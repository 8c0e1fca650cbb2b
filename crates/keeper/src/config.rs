//! The keeper's connection string, as libpq reads it: URL or `key=value`, several hosts, unix
//! sockets, `sslmode` with certificates.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use tokio_postgres::config::{Host, SslMode};

use crate::error::{KeeperError, root_cause};

const CONNECT_TIMEOUT_DEFAULT: Duration = Duration::from_secs(10);
const SOCKET_DIRECTORY_DEFAULT: &str = "/var/run/postgresql";

/// How much of the server's certificate is believed, as libpq's `sslmode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verify {
    /// `disable`, `allow`, `prefer`, `require`: encryption without proof of identity.
    Nothing,
    /// `verify-ca`: the chain, whatever name it bears.
    Chain,
    /// `verify-full`.
    ChainAndName,
}

/// The options of libpq that tokio-postgres does not know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TlsOptions {
    pub(crate) verify: Verify,
    /// `sslrootcert`; the system's store if absent or `system`.
    pub(crate) root_certificates: Option<PathBuf>,
    /// `sslcert` and `sslkey`.
    pub(crate) client_certificate: Option<(PathBuf, PathBuf)>,
}

/// Where the keeper connects to and as whom. `Debug` and `Display` never show the password.
#[derive(Clone)]
pub struct KeeperConfig {
    pub(crate) postgres: tokio_postgres::Config,
    pub(crate) tls: TlsOptions,
}

impl KeeperConfig {
    /// Reads `keeper.url`. `sslmode` may be any of libpq's; `allow` is taken for `prefer`.
    ///
    /// # Errors
    /// [`KeeperError::Url`] names the option that is wrong, never its neighbours.
    pub fn parse(url: &str) -> Result<Self, KeeperError> {
        let (text, options) = if is_url(url) {
            split_url(url)?
        } else {
            split_pairs(url)?
        };
        let mut postgres: tokio_postgres::Config = text
            .parse()
            .map_err(|error| KeeperError::Url(root_cause(&error)))?;
        let (mode, tls) = tls_options(&options)?;
        if let Some(mode) = mode {
            postgres.ssl_mode(mode);
        }
        if postgres.get_hosts().is_empty() && postgres.get_hostaddrs().is_empty() {
            postgres.host(SOCKET_DIRECTORY_DEFAULT);
        }
        if postgres.get_connect_timeout().is_none() {
            postgres.connect_timeout(CONNECT_TIMEOUT_DEFAULT);
        }
        Ok(Self { postgres, tls })
    }

    /// The database named in the URL, if any.
    pub fn database(&self) -> Option<&str> {
        self.postgres.get_dbname()
    }

    /// The role named in the URL, if any.
    pub fn user(&self) -> Option<&str> {
        self.postgres.get_user()
    }

    /// `user@host:port,host:port/database`, for messages.
    pub(crate) fn target(&self, database: &str) -> String {
        let ports = self.postgres.get_ports();
        let hosts: Vec<String> = self
            .postgres
            .get_hosts()
            .iter()
            .enumerate()
            .map(|(i, host)| {
                let port = ports.get(i).or(ports.first()).copied().unwrap_or(5432);
                match host {
                    Host::Tcp(name) => format!("{name}:{port}"),
                    Host::Unix(path) => format!("{}:{port}", path.display()),
                }
            })
            .collect();
        let user = self
            .postgres
            .get_user()
            .map(|user| format!("{user}@"))
            .unwrap_or_default();
        format!("{user}{}/{database}", hosts.join(","))
    }
}

impl fmt::Display for KeeperConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.target(self.database().unwrap_or_default()))
    }
}

impl fmt::Debug for KeeperConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeeperConfig({self})")
    }
}

type Options = Vec<(String, String)>;

/// Options that we read ourselves, and those of libpq that mean nothing here.
fn is_ours(key: &str) -> bool {
    matches!(
        key,
        "sslmode"
            | "sslrootcert"
            | "sslcert"
            | "sslkey"
            | "sslsni"
            | "sslcompression"
            | "gssencmode"
            | "krbsrvname"
            | "fallback_application_name"
            | "client_encoding"
    )
}

fn is_url(text: &str) -> bool {
    text.starts_with("postgres://") || text.starts_with("postgresql://")
}

fn split_url(url: &str) -> Result<(String, Options), KeeperError> {
    let Some((base, query)) = url.split_once('?') else {
        return Ok((url.to_owned(), Vec::new()));
    };
    let mut ours = Vec::new();
    let mut theirs = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        match pair.split_once('=') {
            Some((key, value)) if is_ours(key) => {
                ours.push((key.to_owned(), percent_decode(key, value)?));
            }
            _ => theirs.push(pair),
        }
    }
    let text = if theirs.is_empty() {
        base.to_owned()
    } else {
        format!("{base}?{}", theirs.join("&"))
    };
    Ok((text, ours))
}

fn percent_decode(key: &str, value: &str) -> Result<String, KeeperError> {
    let malformed = || KeeperError::Url(format!("the value of {key} is not percent-encoded"));
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        if first != b'%' {
            bytes.push(first);
            rest = tail;
            continue;
        }
        let digits = tail
            .get(..2)
            .and_then(|pair| std::str::from_utf8(pair).ok());
        let byte = digits
            .and_then(|pair| u8::from_str_radix(pair, 16).ok())
            .ok_or_else(malformed)?;
        bytes.push(byte);
        rest = &tail[2..];
    }
    String::from_utf8(bytes).map_err(|_| malformed())
}

/// Cuts `key = 'value with \' quotes'` pairs as libpq's `conninfo_parse` does.
fn split_pairs(text: &str) -> Result<(String, Options), KeeperError> {
    let mut ours = Vec::new();
    let mut theirs = String::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let (key, after) = rest.split_once('=').ok_or_else(|| {
            KeeperError::Url("expected key=value: an option has no \"=\"".to_owned())
        })?;
        let (value, after) = pair_value(key.trim(), after.trim_start())?;
        if is_ours(key.trim()) {
            ours.push((key.trim().to_owned(), value));
        } else {
            let quoted = value.replace('\\', "\\\\").replace('\'', "\\'");
            theirs.push_str(&format!("{}='{quoted}' ", key.trim()));
        }
        rest = after.trim_start();
    }
    Ok((theirs, ours))
}

fn pair_value<'a>(key: &str, text: &'a str) -> Result<(String, &'a str), KeeperError> {
    let quoted = text.strip_prefix('\'');
    let body = quoted.unwrap_or(text);
    let mut value = String::new();
    let mut chars = body.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => value.extend(chars.next().map(|(_, escaped)| escaped)),
            '\'' if quoted.is_some() => return Ok((value, &body[at + 1..])),
            c if quoted.is_none() && c.is_whitespace() => return Ok((value, &body[at..])),
            c => value.push(c),
        }
    }
    match quoted {
        Some(_) => Err(KeeperError::Url(format!(
            "the quote in the value of {key} is not closed"
        ))),
        None => Ok((value, "")),
    }
}

fn tls_options(options: &Options) -> Result<(Option<SslMode>, TlsOptions), KeeperError> {
    let get = |name: &str| {
        options
            .iter()
            .rev()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    };
    let root_certificates = get("sslrootcert")
        .filter(|&path| path != "system" && !path.is_empty())
        .map(PathBuf::from);
    let (mode, verify) = match get("sslmode") {
        // libpq: `require` with a root certificate at hand means verify-ca.
        Some("require") if root_certificates.is_some() => (SslMode::Require, Verify::Chain),
        Some("disable") => (SslMode::Disable, Verify::Nothing),
        None | Some("allow" | "prefer") => (SslMode::Prefer, Verify::Nothing),
        Some("require") => (SslMode::Require, Verify::Nothing),
        Some("verify-ca") => (SslMode::Require, Verify::Chain),
        Some("verify-full") => (SslMode::Require, Verify::ChainAndName),
        Some(other) => {
            return Err(KeeperError::Url(format!(
                "sslmode is \"{other}\"; it can be disable, allow, prefer, require, verify-ca, verify-full"
            )));
        }
    };
    let client_certificate = match (get("sslcert"), get("sslkey")) {
        (Some(certificate), Some(key)) => Some((certificate.into(), key.into())),
        (None, None) => None,
        (Some(_), None) => return Err(KeeperError::Url("sslcert needs sslkey".to_owned())),
        (None, Some(_)) => return Err(KeeperError::Url("sslkey needs sslcert".to_owned())),
    };
    Ok((
        Some(mode),
        TlsOptions {
            verify,
            root_certificates,
            client_certificate,
        },
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_with_everything() {
        let config = KeeperConfig::parse(
            "postgresql://keeper:s3%40cret@a.example:5433,b.example/shop?sslmode=verify-full&sslrootcert=%2Fetc%2Fca.pem&target_session_attrs=read-write",
        )
        .unwrap();
        assert_eq!(
            config.to_string(),
            "keeper@a.example:5433,b.example:5432/shop"
        );
        assert_eq!(config.tls.verify, Verify::ChainAndName);
        assert_eq!(config.tls.root_certificates, Some("/etc/ca.pem".into()));
        assert_eq!(config.postgres.get_ssl_mode(), SslMode::Require);
        assert_eq!(config.postgres.get_password(), Some(b"s3@cret".as_slice()));
    }

    #[test]
    fn pairs_with_quotes_and_a_socket() {
        let config = KeeperConfig::parse(
            r"host=/run/pg port = 6000 user=keeper password='it\'s \\ here' sslmode=disable dbname=shop",
        )
        .unwrap();
        assert_eq!(config.to_string(), "keeper@/run/pg:6000/shop");
        assert_eq!(
            config.postgres.get_password(),
            Some(br"it's \ here".as_slice())
        );
        assert_eq!(config.postgres.get_ssl_mode(), SslMode::Disable);
    }

    #[test]
    fn require_with_a_root_certificate_verifies_the_chain() {
        let config = KeeperConfig::parse("host=h sslmode=require sslrootcert=/ca.pem").unwrap();
        assert_eq!(config.tls.verify, Verify::Chain);
        let config = KeeperConfig::parse("host=h sslmode=require").unwrap();
        assert_eq!(config.tls.verify, Verify::Nothing);
    }

    #[test]
    fn without_a_host_the_local_socket() {
        let config = KeeperConfig::parse("postgresql:///shop").unwrap();
        assert!(config.to_string().contains("/var/run/postgresql:5432/shop"));
    }

    #[test]
    fn wrong_urls_name_the_option_and_no_secret() {
        for (url, word) in [
            ("postgresql://u:hunter2@h/d?sslmode=verify", "sslmode"),
            ("postgresql://u:hunter2@h/d?sslcert=a", "sslkey"),
            ("postgresql://u:hunter2@h/d?colour=red", "colour"),
            ("postgresql://u:hunter2@h:x/d", "port"),
            ("host=h password='hunter2", "password"),
            ("hunter2", "key=value"),
        ] {
            let error = KeeperConfig::parse(url).unwrap_err();
            let text = format!("{error} {:?} {error:?}", error.hint());
            assert!(text.contains(word), "{url}: {text}");
            assert!(!text.contains("hunter2"), "{url}: {text}");
        }
    }

    #[test]
    fn debug_hides_the_password() {
        let config = KeeperConfig::parse("postgresql://u:hunter2@h/d").unwrap();
        assert!(!format!("{config:?} {config}").contains("hunter2"));
    }
}
