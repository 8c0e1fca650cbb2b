//! Scripts: what is sent, and how long to listen afterwards.

use std::time::Duration;

use tests::client::{Client, Got, REPLY_TIME_MAX, Target};
use tests::compare::line;
use tests::front;
use tests::message::{Detail, Message};

/// How the end of a connection reads.
pub const CLOSED: &str = "<closed>";

/// One step of a script.
#[derive(Clone)]
pub enum Step {
    /// Log in as `clerk`, recording all that comes.
    LogIn,
    /// The same with other startup bytes.
    Raw(Vec<u8>),
    Send(Vec<u8>),
    /// Send from another thread while the following steps read.
    SendAside(Vec<u8>),
    /// Record messages until this many ReadyForQuery.
    Ready(usize),
    /// Record messages until one with this tag.
    Until(u8),
    /// Record one byte: the answer to an SSLRequest.
    Byte,
    /// Record messages until the other side closes.
    Closed,
    /// Record that nothing comes for a while.
    Quiet,
    /// Send a CancelRequest for this session, over a connection of its own.
    Cancel,
    /// Close our half of the connection.
    FinishSending,
    /// Close the connection without a word.
    Leave,
    Pause(Duration),
    /// Run a statement on another connection and record its result.
    Meanwhile(&'static str),
}

/// A named script.
#[derive(Clone)]
pub struct Script {
    pub name: &'static str,
    pub steps: Vec<Step>,
    pub fault: Fault,
}

/// Whose words the answer to a script is made of.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The server's. They must be the same to the last letter.
    Servers,
    /// The client breaks the protocol, so the proxy may have to answer in the server's place: an error without source
    /// line, and, where the server just hangs up, a FATAL 08P01 before that.
    Clients,
}

impl Script {
    /// Marks a script that breaks the protocol.
    pub fn broken(mut self) -> Script {
        self.fault = Fault::Clients;
        self
    }
}

/// A script that logs in first.
pub fn script(name: &'static str, steps: impl IntoIterator<Item = Step>) -> Script {
    Script {
        name,
        steps: std::iter::once(Step::LogIn).chain(steps).collect(),
        fault: Fault::Servers,
    }
}

/// A script that starts with nothing.
pub fn bare(name: &'static str, steps: impl IntoIterator<Item = Step>) -> Script {
    Script {
        name,
        steps: steps.into_iter().collect(),
        fault: Fault::Servers,
    }
}

/// Sends all parts in one write, then expects this many ReadyForQuery.
pub fn exchange(ready: usize, parts: &[Vec<u8>]) -> [Step; 2] {
    [Step::Send(parts.concat()), Step::Ready(ready)]
}

/// Plays the steps and returns all that was seen, line by line.
pub fn play(target: &Target, database: &str, steps: &[Step], detail: Detail) -> Vec<String> {
    let mut player = Player {
        client: Client::open(target).expect("something listens"),
        target,
        database,
        detail,
        seen: Vec::new(),
    };
    for step in steps {
        player.step(step);
    }
    player.seen
}

struct Player<'a> {
    client: Client,
    target: &'a Target,
    database: &'a str,
    detail: Detail,
    seen: Vec<String>,
}

impl Player<'_> {
    fn step(&mut self, step: &Step) {
        match step {
            Step::LogIn => {
                let parameters = [
                    ("user", "clerk"),
                    ("database", self.database),
                    ("application_name", "raw"),
                ];
                self.client.send(&front::startup(3, 0, &parameters));
                self.record(|message| message.tag == b'Z');
            }
            Step::Raw(bytes) | Step::Send(bytes) => self.client.send(bytes),
            Step::SendAside(bytes) => drop(self.client.send_aside(bytes.clone())),
            Step::Ready(count) => {
                (0..*count).for_each(|_| self.record(|message| message.tag == b'Z'))
            }
            Step::Until(tag) => self.record(|message| message.tag == *tag),
            Step::Byte => self.seen.push(match self.client.recv_byte() {
                Some(byte) => format!("byte {:?}", byte as char),
                None => "<closed>".to_owned(),
            }),
            Step::Closed => self.record(|_| false),
            Step::Quiet => {
                let got = self.client.recv(Duration::from_millis(250));
                self.seen.push(line(&got, self.detail));
            }
            Step::Cancel => {
                let (pid, key) = self.client.key.clone().expect("BackendKeyData came");
                let mut other = Client::open(self.target).expect("something listens");
                other.send(&front::cancel_request(pid, &key));
                let got = other.recv(REPLY_TIME_MAX);
                self.seen
                    .push(format!("cancel: {}", line(&got, self.detail)));
            }
            Step::FinishSending => self.client.finish_sending(),
            Step::Leave => self.client.leave(),
            Step::Pause(time) => std::thread::sleep(*time),
            Step::Meanwhile(sql) => {
                let mut other = Client::connect(self.target, "clerk", self.database)
                    .expect("another client connects");
                let rows = other.try_run(sql);
                self.seen.push(format!("meanwhile: {rows:?}"));
            }
        }
    }

    fn record(&mut self, last: impl Fn(&Message) -> bool) {
        loop {
            let got = self.client.recv(REPLY_TIME_MAX);
            self.seen.push(line(&got, self.detail));
            match got {
                Got::Message(message) if !last(&message) => {}
                _ => return,
            }
        }
    }
}
