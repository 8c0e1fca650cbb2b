//! Where PostgreSQL is, and how to reach it.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;

use crate::socket::{Socket, Stream, tune};
use crate::threads::Home;

const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];

/// `sslmode`, with libpq's meanings. `allow` does not exist: it would send passwords in clear.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SslMode {
    Disable,
    /// TLS if the server offers it, else plain.
    #[default]
    Prefer,
    Require,
    VerifyCa,
    VerifyFull,
}

impl std::str::FromStr for SslMode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "disable" => Ok(Self::Disable),
            "prefer" => Ok(Self::Prefer),
            "require" => Ok(Self::Require),
            "verify-ca" => Ok(Self::VerifyCa),
            "verify-full" => Ok(Self::VerifyFull),
            other => Err(format!(
                "sslmode {other:?} is not one of disable, prefer, require, verify-ca, verify-full"
            )),
        }
    }
}

/// One place where a PostgreSQL server listens.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Place {
    Tcp {
        host: String,
        port: u16,
    },
    /// The socket file itself: `/var/run/postgresql/.s.PGSQL.5432`.
    Unix(PathBuf),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

/// What `upstream.url` says. Tried in order; the first place that answers is taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamUrl {
    pub places: Vec<Place>,
    pub ssl_mode: Option<SslMode>,
    pub ssl_root_cert: Option<PathBuf>,
    /// Per place.
    pub connect_timeout: Option<Duration>,
}

impl UpstreamUrl {
    /// Reads `postgres://host1:5432,host2/?sslmode=require&sslrootcert=ca.pem&host=/run/postgresql`.
    /// User, password and database are allowed and ignored: clients bring their own.
    pub fn parse(url: &str) -> Result<Self, String> {
        let rest = url
            .strip_prefix("postgres://")
            .or_else(|| url.strip_prefix("postgresql://"))
            .ok_or("it does not begin with postgres:// or postgresql://")?;
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, _database) = rest.split_once('/').unwrap_or((rest, ""));
        let hosts = authority
            .rsplit_once('@')
            .map_or(authority, |(_, hosts)| hosts);

        let mut parsed = Self {
            places: Vec::new(),
            ssl_mode: None,
            ssl_root_cert: None,
            connect_timeout: None,
        };
        let mut pairs: Vec<(String, Option<u16>)> = Vec::new();
        for item in hosts.split(',').filter(|item| !item.is_empty()) {
            pairs.push(host_and_port(item)?);
        }
        let mut ports: Vec<u16> = Vec::new();
        for (key, value) in query
            .split('&')
            .filter(|pair| !pair.is_empty())
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        {
            let value = percent_decode(value)?;
            match key {
                "host" => {
                    pairs = value
                        .split(',')
                        .map(|host| (host.to_owned(), None))
                        .collect()
                }
                "port" => {
                    ports = value.split(',').map(port).collect::<Result<_, _>>()?;
                }
                "sslmode" => parsed.ssl_mode = Some(value.parse()?),
                "sslrootcert" => parsed.ssl_root_cert = Some(PathBuf::from(value)),
                "connect_timeout" => {
                    let seconds = value.parse().map_err(|_| {
                        format!("connect_timeout {value:?} is not a number of seconds")
                    })?;
                    parsed.connect_timeout = Some(Duration::from_secs(seconds));
                }
                "user" | "password" | "dbname" | "application_name" => {}
                other => return Err(format!("the parameter {other:?} is not known here")),
            }
        }
        if pairs.is_empty() {
            pairs.push(("localhost".to_owned(), None));
        }
        for (index, (host, own)) in pairs.into_iter().enumerate() {
            let shared = if ports.len() == 1 {
                ports.first()
            } else {
                ports.get(index)
            };
            let port = own.or(shared.copied()).unwrap_or(5432);
            parsed.places.push(if host.starts_with('/') {
                Place::Unix(Path::new(&host).join(format!(".s.PGSQL.{port}")))
            } else {
                Place::Tcp { host, port }
            });
        }
        Ok(parsed)
    }
}

fn port(text: &str) -> Result<u16, String> {
    match text.parse() {
        Ok(port) if port > 0 => Ok(port),
        _ => Err(format!("{text:?} is not a port number")),
    }
}

fn host_and_port(item: &str) -> Result<(String, Option<u16>), String> {
    if let Some(rest) = item.strip_prefix('[') {
        let (host, rest) = rest
            .split_once(']')
            .ok_or_else(|| format!("{item:?} lacks the ']' of an IPv6 address"))?;
        let own = match rest.strip_prefix(':') {
            Some(text) => Some(port(text)?),
            None if rest.is_empty() => None,
            None => return Err(format!("{rest:?} after an IPv6 address is not a port")),
        };
        return Ok((host.to_owned(), own));
    }
    let (host, own) = match item.split_once(':') {
        Some((host, text)) => (host, Some(port(text)?)),
        None => (item, None),
    };
    let host = percent_decode(host)?;
    Ok((
        if host.is_empty() {
            "localhost".to_owned()
        } else {
            host
        },
        own,
    ))
}

fn percent_decode(text: &str) -> Result<String, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let hex = tail
            .get(..2)
            .and_then(|hex| std::str::from_utf8(hex).ok())
            .and_then(|hex| u8::from_str_radix(hex, 16).ok())
            .ok_or_else(|| "a % is not followed by two hexadecimal digits".to_owned())?;
        bytes.push(hex);
        rest = &tail[2..];
    }
    String::from_utf8(bytes).map_err(|_| "it is not UTF-8 after decoding".to_owned())
}

/// PostgreSQL as clients' connections reach it.
#[derive(Clone)]
pub struct Upstream {
    pub places: Vec<Place>,
    pub ssl_mode: SslMode,
    /// Present unless `ssl_mode` is `Disable`.
    pub tls: Option<Arc<ClientConfig>>,
    /// Per place: TCP connect and TLS handshake.
    pub connect_timeout: Duration,
}

/// A fresh connection on which nothing but TLS has been said.
pub struct Dialled {
    pub socket: Socket,
    pub place: Place,
    pub encrypted: bool,
    /// The server's certificate (DER), where there is one.
    pub certificate: Option<Vec<u8>>,
}

/// No place answered. The text names places and reasons; clients may read it.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Unreachable(String);

impl Upstream {
    /// Connects to the first place that answers.
    pub async fn dial(&self) -> Result<Dialled, Unreachable> {
        self.dial_from(None).await
    }

    /// The same, with a socket that lives there.
    pub(crate) async fn dial_from(&self, home: Option<&Home>) -> Result<Dialled, Unreachable> {
        let mut reasons = Vec::new();
        for place in &self.places {
            match self.dial_place(place, home).await {
                Ok(dialled) => return Ok(dialled),
                Err(reason) => reasons.push(reason),
            }
        }
        Err(Unreachable(reasons.join("; ")))
    }

    /// Connects to one place: cancel requests must reach the server that has the backend.
    pub(crate) async fn dial_place(
        &self,
        place: &Place,
        home: Option<&Home>,
    ) -> Result<Dialled, String> {
        match tokio::time::timeout(self.connect_timeout, self.connect(place, home)).await {
            Ok(Ok(dialled)) => Ok(dialled),
            Ok(Err(reason)) => Err(format!("{place}: {reason}")),
            Err(_) => Err(format!(
                "{place}: no answer within {:?}",
                self.connect_timeout
            )),
        }
    }

    /// Asks for TLS at the first place that answers and hangs up: shows that a server forks for
    /// its clients, and leaves no trace in its log.
    pub async fn probe(&self) -> Result<(), Unreachable> {
        let mut reasons = Vec::new();
        for place in &self.places {
            let probe = async {
                match place {
                    Place::Unix(path) => ask_for_tls(UnixStream::connect(path).await?).await,
                    Place::Tcp { host, port } => {
                        ask_for_tls(TcpStream::connect((host.as_str(), *port)).await?).await
                    }
                }
            };
            match tokio::time::timeout(self.connect_timeout, probe).await {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(error)) => reasons.push(format!("{place}: {error}")),
                Err(_) => reasons.push(format!("{place}: no answer")),
            }
        }
        Err(Unreachable(reasons.join("; ")))
    }

    async fn connect(&self, place: &Place, home: Option<&Home>) -> Result<Dialled, String> {
        let (host, mut tcp) = match place {
            Place::Unix(path) => {
                let mut socket = UnixStream::connect(path).await.map_err(reason)?;
                if let Some(home) = home {
                    socket = home.unix(socket).map_err(reason)?;
                }
                let socket: Socket = Box::new(socket);
                return Ok(Dialled {
                    socket,
                    place: place.clone(),
                    encrypted: false,
                    certificate: None,
                });
            }
            Place::Tcp { host, port } => {
                let mut tcp = TcpStream::connect((host.as_str(), *port))
                    .await
                    .map_err(reason)?;
                tune(&tcp).map_err(reason)?;
                if let Some(home) = home {
                    tcp = home.tcp(tcp).map_err(reason)?;
                }
                (host, tcp)
            }
        };
        let plain = |tcp: TcpStream| Dialled {
            socket: Box::new(tcp),
            place: place.clone(),
            encrypted: false,
            certificate: None,
        };
        let Some(config) = self
            .tls
            .as_ref()
            .filter(|_| self.ssl_mode != SslMode::Disable)
        else {
            return Ok(plain(tcp));
        };
        tcp.write_all(&SSL_REQUEST).await.map_err(reason)?;
        match tcp.read_u8().await.map_err(reason)? {
            b'S' => {}
            b'N' if self.ssl_mode == SslMode::Prefer => return Ok(plain(tcp)),
            b'N' => return Err("the server does not offer TLS, sslmode asks for it".to_owned()),
            // A server too busy to fork says so in clear, before TLS.
            b'E' => return Err("the server refused the connection before TLS".to_owned()),
            other => return Err(format!("unexpected answer {other:#04x} to SSLRequest")),
        }
        let name = ServerName::try_from(host.clone())
            .map_err(|_| format!("{host:?} cannot be the name in a certificate"))?;
        let stream = TlsConnector::from(Arc::clone(config))
            .connect(name, tcp)
            .await
            .map_err(reason)?;
        let certificate = stream
            .get_ref()
            .1
            .peer_certificates()
            .and_then(<[_]>::first)
            .map(|certificate| certificate.to_vec());
        Ok(Dialled {
            socket: Box::new(stream),
            place: place.clone(),
            encrypted: true,
            certificate,
        })
    }
}

async fn ask_for_tls(mut socket: impl Stream) -> std::io::Result<()> {
    socket.write_all(&SSL_REQUEST).await?;
    match socket.read_u8().await? {
        b'S' | b'N' => Ok(()),
        other => Err(std::io::Error::other(format!(
            "unexpected answer {other:#04x}"
        ))),
    }
}

fn reason(error: std::io::Error) -> String {
    error.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(host: &str, port: u16) -> Place {
        Place::Tcp {
            host: host.into(),
            port,
        }
    }

    #[test]
    fn urls_name_several_places_of_both_kinds() {
        let url = UpstreamUrl::parse("postgres://a:6000,b,[::1]:7/?sslmode=verify-full").unwrap();
        assert_eq!(url.places, [tcp("a", 6000), tcp("b", 5432), tcp("::1", 7)]);
        assert_eq!(url.ssl_mode, Some(SslMode::VerifyFull));
        let url = UpstreamUrl::parse("postgresql://u:p%40@/db?host=/tmp&port=5433").unwrap();
        assert_eq!(url.places, [Place::Unix("/tmp/.s.PGSQL.5433".into())]);
        let url = UpstreamUrl::parse("postgres://%2Ftmp:5433/").unwrap();
        assert_eq!(url.places, [Place::Unix("/tmp/.s.PGSQL.5433".into())]);
        assert_eq!(
            UpstreamUrl::parse("postgres://").unwrap().places,
            [tcp("localhost", 5432)]
        );
    }

    #[test]
    fn a_bad_url_says_what_is_wrong() {
        for (url, word) in [
            ("http://a", "postgres://"),
            ("postgres://a:x", "port"),
            ("postgres://a:0", "port"),
            ("postgres://a?sslmode=allow", "sslmode"),
            ("postgres://a?colour=red", "colour"),
            ("postgres://[::1", "]"),
            ("postgres://a%zz", "%"),
        ] {
            let error = UpstreamUrl::parse(url).unwrap_err();
            assert!(error.contains(word), "{url}: {error}");
        }
    }
}
