//! A connection that reads and writes as fast as it can, and keeps nothing of it.

use std::io::{Read, Write};
use std::net::TcpStream;

use tests::front;

use crate::Place;

const BUFFER_BYTES: usize = 256 * 1024;

pub struct Connection {
    socket: TcpStream,
    buffer: Vec<u8>,
    /// Bytes of `buffer` that were read and not looked at.
    start: usize,
    end: usize,
    /// Of the server process, and its secret.
    key: Vec<u8>,
}

/// What came until the server was ready again.
#[derive(Debug, Default)]
pub struct Seen {
    /// DataRow or CopyData.
    pub rows: u64,
    pub bytes: u64,
    /// Of the last CommandComplete.
    pub tag: String,
    /// SQLSTATE of an ErrorResponse.
    pub sqlstate: Option<String>,
}

impl Connection {
    /// As user postgres. Panics if the server does not let it in.
    pub fn open(place: &Place) -> Connection {
        let socket = TcpStream::connect(("127.0.0.1", place.port)).expect("somebody listens");
        socket.set_nodelay(true).expect("TCP_NODELAY");
        let mut connection = Connection {
            socket,
            buffer: vec![0; BUFFER_BYTES],
            start: 0,
            end: 0,
            key: Vec::new(),
        };
        let user = [("user", "postgres"), ("database", place.database)];
        connection.send(&front::startup(3, 0, &user));
        let seen = connection.until(b'Z');
        assert_eq!(seen.sqlstate, None, "{}", place.name);
        connection
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.socket.write_all(bytes).expect("the other side reads");
    }

    /// Runs statements that must not fail.
    pub fn run(&mut self, sql: &str) -> Seen {
        let seen = self.ask(sql);
        assert_eq!(seen.sqlstate, None, "{}", &sql[..sql.len().min(200)]);
        seen
    }

    pub fn ask(&mut self, sql: &str) -> Seen {
        self.send(&front::query(sql));
        self.until(b'Z')
    }

    /// A CancelRequest for what runs here.
    pub fn cancel(&self) -> Vec<u8> {
        let (pid, secret) = self.key.split_at(4);
        let pid = u32::from_be_bytes(pid.try_into().expect("four bytes"));
        front::cancel_request(pid, secret)
    }

    /// Reads up to and with a message of this type.
    pub fn until(&mut self, last: u8) -> Seen {
        let mut seen = Seen::default();
        loop {
            let header = self.take(5);
            let tag = header[0];
            let length =
                u32::from_be_bytes(header[1..5].try_into().expect("four bytes")) as usize - 4;
            seen.bytes += length as u64 + 5;
            match tag {
                b'C' => {
                    let body = self.take(length);
                    seen.tag = String::from_utf8_lossy(&body[..length - 1]).into_owned();
                }
                b'E' => {
                    let body = self.take(length);
                    let fields = body.split(|&byte| byte == 0);
                    let code = fields.filter_map(|field| field.strip_prefix(b"C")).next();
                    seen.sqlstate = code.map(|code| String::from_utf8_lossy(code).into_owned());
                }
                b'K' => self.key = self.take(length),
                _ => {
                    seen.rows += u64::from(matches!(tag, b'D' | b'd'));
                    self.skip(length);
                }
            }
            if tag == last {
                return seen;
            }
        }
    }

    fn fill(&mut self) {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
            self.end = self
                .socket
                .read(&mut self.buffer)
                .expect("the other side writes");
            assert!(self.end > 0, "the other side has left");
        }
    }

    fn take(&mut self, count: usize) -> Vec<u8> {
        let mut taken = Vec::with_capacity(count);
        while taken.len() < count {
            self.fill();
            let part = (self.end - self.start).min(count - taken.len());
            taken.extend_from_slice(&self.buffer[self.start..self.start + part]);
            self.start += part;
        }
        taken
    }

    fn skip(&mut self, mut count: usize) {
        while count > 0 {
            self.fill();
            let part = (self.end - self.start).min(count);
            self.start += part;
            count -= part;
        }
    }
}
