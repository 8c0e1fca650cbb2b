//! A client that hides nothing: it sends the bytes it is given and records every message that comes back.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::cluster::Cluster;
use crate::front;
use crate::message::Message;
use crate::sound::Sound;

/// How long any reply may take.
pub const REPLY_TIME_MAX: Duration = Duration::from_secs(10);

/// Where a server, or the proxy, listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    Tcp(u16),
    Unix(PathBuf),
}

impl Target {
    pub fn tcp(port: u16) -> Target {
        Target::Tcp(port)
    }

    /// Panics if it is a unix socket.
    pub fn port(&self) -> u16 {
        match self {
            Target::Tcp(port) => *port,
            Target::Unix(path) => panic!("not a port: {}", path.display()),
        }
    }

    pub fn unix(dir: &Path, port: u16) -> Target {
        Target::Unix(dir.join(format!(".s.PGSQL.{port}")))
    }
}

enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// What came next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Got {
    Message(Message),
    /// The other side closed the connection; bytes of an unfinished message before that are lost.
    Closed,
    /// Nothing came in the time given.
    Quiet,
}

/// A connection.
pub struct Client {
    socket: Socket,
    buffer: Vec<u8>,
    /// From BackendKeyData: what a CancelRequest has to say.
    pub key: Option<(u32, Vec<u8>)>,
    /// Ends with the client.
    sound: Option<Sound>,
}

impl Client {
    /// Connects and says nothing.
    pub fn open(target: &Target) -> io::Result<Client> {
        let socket = match target {
            Target::Tcp(port) => {
                let socket = TcpStream::connect(("127.0.0.1", *port))?;
                socket.set_nodelay(true)?;
                Socket::Tcp(socket)
            }
            Target::Unix(path) => Socket::Unix(UnixStream::connect(path)?),
        };
        Ok(Client {
            socket,
            buffer: Vec::new(),
            key: None,
            sound: None,
        })
    }

    /// Connects and logs in without a password. The error is what the server said.
    pub fn connect(target: &Target, user: &str, database: &str) -> Result<Client, String> {
        Client::connect_with(target, &[("user", user), ("database", database)])
    }

    /// The same with all startup parameters.
    pub fn connect_with(target: &Target, parameters: &[(&str, &str)]) -> Result<Client, String> {
        let mut client = Client::open(target).map_err(|error| error.to_string())?;
        client.send(&front::startup(3, 0, parameters));
        let messages = client.until_ready();
        match messages.last() {
            Some(message) if message.tag == b'Z' => Ok(client),
            _ => Err(messages
                .iter()
                .find(|message| message.tag == b'E')
                .map_or_else(
                    || "closed".to_owned(),
                    |message| {
                        format!(
                            "{} {}",
                            message.field(b'C').unwrap_or_default(),
                            message.field(b'M').unwrap_or_default()
                        )
                    },
                )),
        }
    }

    /// Has a database checked when this client ends.
    pub fn with_check(mut self, cluster: &Cluster, database: &str) -> Client {
        self.sound = Some(cluster.sound(database));
        self
    }

    /// Sends bytes. That the other side has gone away shows at the next `recv`.
    pub fn send(&mut self, bytes: &[u8]) {
        let _ = match &mut self.socket {
            Socket::Tcp(socket) => socket.write_all(bytes),
            Socket::Unix(socket) => socket.write_all(bytes),
        };
    }

    /// Sends bytes from another thread, so that replies can be read meanwhile: more than what the sockets buffer.
    pub fn send_aside(&mut self, bytes: Vec<u8>) -> std::thread::JoinHandle<()> {
        match &self.socket {
            Socket::Tcp(socket) => {
                let mut socket = socket.try_clone().expect("dup");
                std::thread::spawn(move || drop(socket.write_all(&bytes)))
            }
            Socket::Unix(socket) => {
                let mut socket = socket.try_clone().expect("dup");
                std::thread::spawn(move || drop(socket.write_all(&bytes)))
            }
        }
    }

    /// Closes our half: the other side reads an end of file.
    pub fn finish_sending(&mut self) {
        let _ = match &self.socket {
            Socket::Tcp(socket) => socket.shutdown(Shutdown::Write),
            Socket::Unix(socket) => socket.shutdown(Shutdown::Write),
        };
    }

    /// Closes the connection without a word.
    pub fn leave(&mut self) {
        let _ = match &self.socket {
            Socket::Tcp(socket) => socket.shutdown(Shutdown::Both),
            Socket::Unix(socket) => socket.shutdown(Shutdown::Both),
        };
    }

    /// The next message.
    pub fn recv(&mut self, patience: Duration) -> Got {
        let deadline = Instant::now() + patience;
        loop {
            if let Some(message) = self.take_message() {
                if message.tag == b'K' && message.body.len() >= 4 {
                    let (pid, key) = message.body.split_at(4);
                    let pid = u32::from_be_bytes(pid.try_into().expect("four bytes"));
                    self.key = Some((pid, key.to_vec()));
                }
                return Got::Message(message);
            }
            match self.fill(deadline) {
                Ok(0) => return Got::Closed,
                Ok(_) => {}
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
                    ) =>
                {
                    return Got::Quiet;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Got::Closed,
            }
        }
    }

    /// One byte that is not a message: the answer to an SSLRequest. `None` if the connection was closed instead.
    pub fn recv_byte(&mut self) -> Option<u8> {
        while self.buffer.is_empty() {
            if self.fill(Instant::now() + REPLY_TIME_MAX).ok()? == 0 {
                return None;
            }
        }
        Some(self.buffer.remove(0))
    }

    fn fill(&mut self, deadline: Instant) -> io::Result<usize> {
        let left = deadline
            .saturating_duration_since(Instant::now())
            .max(Duration::from_millis(1));
        let mut chunk = [0; 65536];
        let count = match &mut self.socket {
            Socket::Tcp(socket) => {
                socket.set_read_timeout(Some(left))?;
                socket.read(&mut chunk)?
            }
            Socket::Unix(socket) => {
                socket.set_read_timeout(Some(left))?;
                socket.read(&mut chunk)?
            }
        };
        self.buffer.extend_from_slice(&chunk[..count]);
        Ok(count)
    }

    fn take_message(&mut self) -> Option<Message> {
        let header = self.buffer.get(..5)?;
        let length = u32::from_be_bytes(header[1..].try_into().expect("four bytes")) as usize;
        assert!(length >= 4, "a frame of length {length} came back");
        if self.buffer.len() < 1 + length {
            return None;
        }
        let frame = self.buffer.drain(..1 + length).collect::<Vec<_>>();
        Some(Message {
            tag: frame[0],
            body: frame[5..].to_vec(),
        })
    }

    /// All messages up to ReadyForQuery, or to the end of the connection. Panics if neither comes in time.
    pub fn until_ready(&mut self) -> Vec<Message> {
        self.until(|message| message.tag == b'Z')
    }

    /// All messages up to one that `last` accepts, or to the end of the connection.
    pub fn until(&mut self, last: impl Fn(&Message) -> bool) -> Vec<Message> {
        let mut messages = Vec::new();
        loop {
            match self.recv(REPLY_TIME_MAX) {
                Got::Message(message) => {
                    let done = last(&message);
                    messages.push(message);
                    if done {
                        return messages;
                    }
                }
                Got::Closed => return messages,
                Got::Quiet => panic!("no reply within {REPLY_TIME_MAX:?} after {messages:?}"),
            }
        }
    }

    /// Sends one Query and returns all that comes back, with ReadyForQuery.
    pub fn query(&mut self, sql: &str) -> Vec<Message> {
        self.send(&front::query(sql));
        self.until_ready()
    }

    /// Runs statements that must succeed, and returns the rows as text, columns joined by `|`.
    pub fn run(&mut self, sql: &str) -> Vec<String> {
        match self.try_run(sql) {
            Ok(rows) => rows,
            Err(error) => panic!("{error}\nin: {sql}"),
        }
    }

    /// The same, with the error as `SQLSTATE message`.
    pub fn try_run(&mut self, sql: &str) -> Result<Vec<String>, String> {
        let messages = self.query(sql);
        if let Some(error) = messages.iter().find(|message| message.tag == b'E') {
            return Err(format!(
                "{} {}",
                error.field(b'C').unwrap_or_default(),
                error.field(b'M').unwrap_or_default()
            ));
        }
        if messages.last().is_none_or(|message| message.tag != b'Z') {
            return Err("closed".to_owned());
        }
        Ok(rows(&messages))
    }

    /// The first column of the first row.
    pub fn value(&mut self, sql: &str) -> String {
        self.run(sql)
            .into_iter()
            .next()
            .unwrap_or_else(|| panic!("no row from: {sql}"))
    }

    /// The tag of the last statement of a Query that must succeed.
    pub fn command(&mut self, sql: &str) -> String {
        let messages = self.query(sql);
        assert!(
            messages.iter().all(|message| message.tag != b'E'),
            "{sql}: {messages:?}"
        );
        messages
            .iter()
            .rev()
            .find_map(Message::command)
            .unwrap_or_else(|| panic!("no command tag: {sql}"))
    }
}

/// The rows among messages, as text, columns joined by `|`, null as nothing.
pub fn rows(messages: &[Message]) -> Vec<String> {
    messages
        .iter()
        .filter(|message| message.tag == b'D')
        .map(|message| {
            let columns = message.columns();
            let texts = columns.iter().map(|value| {
                value.as_deref().map_or(String::new(), |value| {
                    String::from_utf8_lossy(value).into_owned()
                })
            });
            texts.collect::<Vec<_>>().join("|")
        })
        .collect()
}
