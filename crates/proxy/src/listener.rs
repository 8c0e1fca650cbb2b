//! Where clients come in.

use std::fmt;
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use crate::socket::tune;
use crate::threads::Home;

/// An address to listen on: `127.0.0.1:6543`, `[::1]:6543`, `localhost:6543` or `unix:/path`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListenAddress {
    Tcp(String),
    /// The socket file; where the path is a directory, `.s.PGSQL.<port>` in it.
    Unix(PathBuf),
}

impl FromStr for ListenAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            return if path.starts_with('/') {
                Ok(Self::Unix(path.into()))
            } else {
                Err(format!(
                    "{text:?}: a unix socket needs an absolute path, as in unix:/run/reprieve"
                ))
            };
        }
        let port = text.rsplit_once(':').map(|(_, port)| port.parse::<u16>());
        match port {
            Some(Ok(_)) => Ok(Self::Tcp(text.to_owned())),
            _ => Err(format!(
                "{text:?} is not host:port, as in 127.0.0.1:6543, nor unix:/path"
            )),
        }
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => f.write_str(address),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

pub enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener, SocketFile),
}

/// Removed when we stop listening.
pub struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// A client that has just connected.
pub enum Incoming {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Incoming {
    pub(crate) fn move_to(self, home: &Home) -> io::Result<Self> {
        Ok(match self {
            Self::Tcp(stream) => Self::Tcp(home.tcp(stream)?),
            Self::Unix(stream) => Self::Unix(home.unix(stream)?),
        })
    }
}

impl Listener {
    /// `default_port` names the socket file in a directory.
    pub async fn bind(address: &ListenAddress, default_port: u16) -> io::Result<Self> {
        match address {
            ListenAddress::Tcp(address) => {
                Ok(Self::Tcp(TcpListener::bind(address.as_str()).await?))
            }
            ListenAddress::Unix(path) => {
                let path = if path.is_dir() {
                    path.join(format!(".s.PGSQL.{default_port}"))
                } else {
                    path.clone()
                };
                remove_stale(&path)?;
                let listener = UnixListener::bind(&path)?;
                // As PostgreSQL's unix_socket_permissions: who may log in is pg_hba.conf's matter.
                std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o777))?;
                Ok(Self::Unix(listener, SocketFile(path)))
            }
        }
    }

    pub async fn accept(&self) -> io::Result<(Incoming, String)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, address) = listener.accept().await?;
                tune(&stream)?;
                Ok((Incoming::Tcp(stream), address.to_string()))
            }
            Self::Unix(listener, file) => {
                let (stream, _) = listener.accept().await?;
                Ok((Incoming::Unix(stream), format!("unix:{}", file.0.display())))
            }
        }
    }

    /// The address that was bound: tells the port where 0 was asked for.
    pub fn local_address(&self) -> String {
        match self {
            Self::Tcp(listener) => listener
                .local_addr()
                .map_or_else(|error| error.to_string(), |at| at.to_string()),
            Self::Unix(_, file) => format!("unix:{}", file.0.display()),
        }
    }
}

/// Removes the socket of a process that is no more.
fn remove_stale(path: &Path) -> io::Result<()> {
    match std::os::unix::net::UnixStream::connect(path) {
        Ok(_) => Err(io::Error::new(
            io::ErrorKind::AddrInUse,
            "another process listens here",
        )),
        // A plain file refuses connections too: that one is not ours to remove.
        Err(error)
            if error.kind() == io::ErrorKind::ConnectionRefused
                && path.symlink_metadata()?.file_type().is_socket() =>
        {
            std::fs::remove_file(path)
        }
        Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_printed() {
        for text in ["127.0.0.1:6543", "[::1]:1", "localhost:0", "unix:/run/x"] {
            assert_eq!(text.parse::<ListenAddress>().unwrap().to_string(), text);
        }
        for text in ["", "6543", "host:", "host:x", "unix:run", "host:70000"] {
            assert!(text.parse::<ListenAddress>().is_err(), "{text}");
        }
    }
}
