//! A small language for conversations.
//!
//! Each line of a script is one arrival of bytes, several messages separated by ` | `:
//! `C` from the client, `S` from the server, `H` a new catalog state of the host, `A` the host's
//! answer to a request. The transcript repeats the line and adds what the session did: `>` to the
//! server, `<` to the client. A name `-` is the empty one.

// Each suite uses a part of it; a helper that fails is a test that fails.
#![allow(dead_code, clippy::unwrap_used, clippy::panic)]

use std::fmt::Write as _;
use std::sync::{Arc, Mutex};

use bytes::{BufMut, BytesMut};
use catalog::Catalog;
use rewrite::Refusal;
use session::{
    Answer, CatalogState, Host, LocalRows, LocalShow, Observation, Out, PlanCache, Port, Session,
    StartupParameters,
};
use wire::backend::Fields;
use wire::{HEADER_BYTES, Header, Sender};

pub struct FakeHost {
    catalog: Mutex<CatalogState>,
    plans: PlanCache,
    pub seen: Mutex<Vec<Observation>>,
    pub refused: Mutex<Vec<&'static str>>,
}

impl FakeHost {
    pub fn new(catalog: CatalogState) -> Self {
        Self {
            catalog: Mutex::new(catalog),
            plans: PlanCache::new(1 << 20),
            seen: Mutex::default(),
            refused: Mutex::default(),
        }
    }
}

impl Host for FakeHost {
    fn catalog(&self) -> CatalogState {
        self.catalog.lock().unwrap().clone()
    }

    fn plans(&self) -> &PlanCache {
        &self.plans
    }

    fn local_rows(&self, _: LocalShow) -> LocalRows {
        LocalRows {
            columns: vec!["name".into(), "value".into()],
            rows: vec![vec![Some("it's".into()), None]],
        }
    }

    fn observe(&self, event: Observation) {
        self.seen.lock().unwrap().push(event);
    }

    fn refused(&self, refusal: &Refusal) {
        self.refused.lock().unwrap().push(refusal.code);
    }
}

/// The catalog document with these marked tables (columns `id` and `name`).
pub fn document(tables: &[&str]) -> String {
    let tables: Vec<String> = tables
        .iter()
        .enumerate()
        .map(|(oid, name)| {
            format!(
                r#"{{"oid":{oid},"schema":"public","name":"{name}","mode":"mark","marking":true,
                "kind":"r","columns":[{{"name":"id"}},{{"name":"name"}},
                {{"name":"deleted_at","hidden":true}},{{"name":"deletion_id","hidden":true}}],
                "primary_key":["id"],"inherits":false}}"#
            )
            .replace('\n', "")
        })
        .collect();
    format!(
        r#"{{"server":150018,"tables":[{}],"shadows":[]}}"#,
        tables.join(",")
    )
}

pub fn state(text: &str) -> CatalogState {
    match text.split_once(' ').unwrap_or((text, "")) {
        ("missing", _) => CatalogState::NotInstalled,
        ("loading", _) => CatalogState::Loading,
        ("unavailable", why) => CatalogState::Unavailable(why.into()),
        // One column more.
        ("wider", tables) => {
            let tables: Vec<&str> = tables.split_whitespace().collect();
            let wider = document(&tables).replace(
                r#"{"name":"deleted_at""#,
                r#"{"name":"more"},{"name":"deleted_at""#,
            );
            CatalogState::Ready(Arc::new(Catalog::from_json(&wider).unwrap()))
        }
        ("ready", tables) => {
            let tables: Vec<&str> = tables.split_whitespace().collect();
            CatalogState::Ready(Arc::new(Catalog::from_json(&document(&tables)).unwrap()))
        }
        other => panic!("unknown state {other:?}"),
    }
}

pub fn startup(replication: bool) -> StartupParameters {
    StartupParameters {
        user: "ann".into(),
        database: "shop".into(),
        all: vec![
            ("user".into(), "ann".into()),
            ("database".into(), "shop".into()),
        ],
        replication,
    }
}

/// A session of this host whose client said more than its name.
pub fn session_with(host: &Arc<FakeHost>, said: (&str, &str)) -> Session {
    let mut startup = startup(false);
    startup.all.push((said.0.into(), said.1.into()));
    Session::new(Port::App, startup, Arc::clone(host) as Arc<dyn Host>)
}

pub struct Talk {
    pub session: Session,
    pub host: Arc<FakeHost>,
    client: BytesMut,
    server: BytesMut,
    out: Out,
    ended: bool,
    pub transcript: String,
}

impl Talk {
    pub fn new(port: Port, replication: bool, catalog: &str) -> Self {
        let host = Arc::new(FakeHost::new(state(catalog)));
        let session = Session::new(
            port,
            startup(replication),
            Arc::clone(&host) as Arc<dyn Host>,
        );
        Self {
            session,
            host,
            client: BytesMut::new(),
            server: BytesMut::new(),
            out: Out::default(),
            ended: false,
            transcript: String::new(),
        }
    }

    /// A session whose client is logged in; that part is not in the transcript.
    pub fn ready(catalog: &str) -> Self {
        let mut talk = Self::new(Port::App, false, catalog);
        talk.run("S Auth 0 | Key 1 | Ready I");
        talk.transcript.clear();
        talk
    }

    pub fn run(&mut self, script: &str) -> &mut Self {
        for line in script
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
        {
            writeln!(self.transcript, "{line}").unwrap();
            self.line(line);
        }
        self
    }

    fn line(&mut self, line: &str) {
        let (who, what) = line.split_once(' ').unwrap_or((line, ""));
        let result = match who {
            "C" => {
                what.split(" | ")
                    .for_each(|message| put_frontend(&mut self.client, message));
                self.session.on_client(&mut self.client, &mut self.out)
            }
            "S" => {
                what.split(" | ")
                    .for_each(|message| put_backend(&mut self.server, message));
                self.session.on_server(&mut self.server, &mut self.out)
            }
            "H" => {
                *self.host.catalog.lock().unwrap() = state(what);
                Ok(())
            }
            "A" => self
                .session
                .on_answer(Answer::CatalogSettled, &mut self.client, &mut self.out),
            other => panic!("unknown line {other:?}"),
        };
        let result = result.and_then(|()| {
            // As the driver does: what was held is given again.
            self.session.on_client(&mut self.client, &mut self.out)
        });
        self.show();
        if let Err(ended) = result {
            if !self.ended {
                writeln!(self.transcript, "  ended: {ended:?}").unwrap();
            }
            self.ended = true;
        } else if let Some(request) = self.session.take_request() {
            writeln!(self.transcript, "  request: {request:?}").unwrap();
        } else if !self.session.reads_client() {
            writeln!(self.transcript, "  holds").unwrap();
        }
    }

    fn show(&mut self) {
        let to_server = self.out.to_server.split();
        let to_client = self.out.to_client.split();
        for (bytes, sender, mark) in [
            (to_server, Sender::Frontend, '>'),
            (to_client, Sender::Backend, '<'),
        ] {
            let shown = show(&bytes, sender);
            if !shown.is_empty() {
                writeln!(self.transcript, "  {mark} {}", shown.join(" | ")).unwrap();
            }
        }
    }
}

/// Encodes a client's message.
pub fn put_frontend(to: &mut BytesMut, text: &str) {
    let (kind, rest) = text.split_once(' ').unwrap_or((text, ""));
    let word = |index: usize| match rest.split(' ').nth(index).unwrap_or("-") {
        "-" => "",
        word => word,
    };
    match kind {
        "Query" => frame(to, b'Q', |b| cstr(b, rest)),
        "Parse" => frame(to, b'P', |b| {
            cstr(b, word(0));
            cstr(b, rest.split_once(' ').map_or("", |(_, text)| text));
            b.put_i16(0);
        }),
        "Bind" => frame(to, b'B', |b| {
            cstr(b, word(0));
            cstr(b, word(1));
            b.put_slice(&[0; 6]);
        }),
        "Describe" | "Close" => {
            let tag = if kind == "Close" { b'C' } else { b'D' };
            frame(to, tag, |b| {
                b.put_slice(rest.split(' ').next().unwrap().as_bytes());
                cstr(b, word(1));
            });
        }
        "Execute" => frame(to, b'E', |b| {
            cstr(b, word(0));
            b.put_i32(word(1).parse().unwrap_or(0));
        }),
        "Sync" => frame(to, b'S', |_| {}),
        "Flush" => frame(to, b'H', |_| {}),
        "Terminate" => frame(to, b'X', |_| {}),
        "CopyData" => frame(to, b'd', |b| b.put_slice(rest.as_bytes())),
        "CopyDone" => frame(to, b'c', |_| {}),
        "CopyFail" => frame(to, b'f', |b| cstr(b, rest)),
        "Call" => frame(to, b'F', |b| b.put_slice(&[0; 8])),
        "Password" => frame(to, b'p', |b| cstr(b, rest)),
        "Raw" => to.put_slice(&unescape(rest)),
        other => panic!("unknown message {other:?}"),
    }
}

/// Encodes a server's message.
pub fn put_backend(to: &mut BytesMut, text: &str) {
    let (kind, rest) = text.split_once(' ').unwrap_or((text, ""));
    match kind {
        "Auth" => frame(to, b'R', |b| b.put_i32(rest.parse().unwrap())),
        "Sasl" => frame(to, b'R', |b| {
            b.put_i32(10);
            rest.split(' ').for_each(|name| cstr(b, name));
            cstr(b, "");
        }),
        "Param" => frame(to, b'S', |b| rest.split(' ').for_each(|word| cstr(b, word))),
        "Key" => frame(to, b'K', |b| b.put_slice(&[0; 8])),
        "Negotiate" => frame(to, b'v', |b| b.put_slice(&[0; 8])),
        "Ready" => frame(to, b'Z', |b| b.put_slice(rest.as_bytes())),
        "Parsed" => frame(to, b'1', |_| {}),
        "Bound" => frame(to, b'2', |_| {}),
        "Closed" => frame(to, b'3', |_| {}),
        "Params" => frame(to, b't', |b| b.put_i16(0)),
        "Columns" => frame(to, b'T', |b| b.put_i16(0)),
        "NoData" => frame(to, b'n', |_| {}),
        "Row" => frame(to, b'D', |b| {
            b.put_i16(1);
            b.put_i32(rest.len() as i32);
            b.put_slice(rest.as_bytes());
        }),
        "Complete" => frame(to, b'C', |b| cstr(b, rest)),
        "Empty" => frame(to, b'I', |_| {}),
        "Suspended" => frame(to, b's', |_| {}),
        "Error" => frame(to, b'E', |b| fields(b, "ERROR", rest)),
        "Fatal" => frame(to, b'E', |b| fields(b, "FATAL", rest)),
        "Notice" => frame(to, b'N', |b| fields(b, "NOTICE", rest)),
        "Notify" => frame(to, b'A', |b| {
            b.put_i32(1);
            cstr(b, rest);
            cstr(b, "");
        }),
        "CopyIn" => frame(to, b'G', |b| b.put_slice(&[0; 3])),
        "CopyOut" => frame(to, b'H', |b| b.put_slice(&[0; 3])),
        "CopyData" => frame(to, b'd', |b| b.put_slice(rest.as_bytes())),
        "CopyDone" => frame(to, b'c', |_| {}),
        "Returned" => frame(to, b'V', |b| b.put_i32(-1)),
        // The whole reply to a statement of our own.
        "Answer" => {
            for message in [
                "Parsed",
                "Bound",
                &format!("Row {rest}"),
                "Complete SELECT 1",
                "Closed",
                "Closed",
            ] {
                put_backend(to, message);
            }
        }
        "Scope" => put_backend(
            to,
            &format!(
                r#"Answer {{"path":["pg_catalog","{}"],"temp_schema":null,"temp":[]}}"#,
                if rest.is_empty() { "public" } else { rest }
            ),
        ),
        "Catalog" => {
            let tables: Vec<&str> = rest.split_whitespace().collect();
            put_backend(to, &format!("Answer {}", document(&tables)));
        }
        // The same with a deferrable foreign key `f`.
        "Deferring" => {
            let tables: Vec<&str> = rest.split_whitespace().collect();
            let deferring = document(&tables).replace(
                r#""shadows":[]"#,
                r#""shadows":[],"deferrable":[["public","f",["~live_f"]]]"#,
            );
            put_backend(to, &format!("Answer {deferring}"));
        }
        "Raw" => to.put_slice(&unescape(rest)),
        other => panic!("unknown message {other:?}"),
    }
}

/// `SQLSTATE message P=5 W=context`.
fn fields(to: &mut BytesMut, severity: &str, text: &str) {
    let (state, rest) = text.split_once(' ').unwrap_or((text, ""));
    let mut message = Vec::new();
    let mut extra = Vec::new();
    for word in rest.split(' ') {
        match word.split_once('=') {
            Some((key, value)) if key.len() == 1 => {
                // Names of functions have such letters themselves.
                let value = if key == "R" {
                    value.to_owned()
                } else {
                    value.replace('_', " ")
                };
                extra.push((key.as_bytes()[0], value));
            }
            _ => message.push(word),
        }
    }
    let mut put = |code: u8, value: &str| {
        to.put_u8(code);
        cstr(to, value);
    };
    put(b'S', severity);
    put(b'V', severity);
    put(b'C', state);
    put(b'M', &message.join(" "));
    extra.iter().for_each(|(code, value)| put(*code, value));
    to.put_u8(0);
}

fn frame(to: &mut BytesMut, tag: u8, body: impl FnOnce(&mut BytesMut)) {
    wire::build::frame(to, tag, body).unwrap();
}

fn cstr(to: &mut BytesMut, text: &str) {
    to.put_slice(text.as_bytes());
    to.put_u8(0);
}

fn unescape(text: &str) -> Vec<u8> {
    text.split(' ')
        .map(|byte| u8::from_str_radix(byte, 16).unwrap())
        .collect()
}

/// Frames in words, as the scripts write them.
pub fn show(mut bytes: &[u8], sender: Sender) -> Vec<String> {
    let mut shown = Vec::new();
    while !bytes.is_empty() {
        let Ok(Some(header)) = Header::peek(bytes, sender) else {
            shown.push(format!("Raw {bytes:02x?}"));
            break;
        };
        if bytes.len() < header.frame() {
            shown.push(format!(
                "{} of {} bytes",
                header.tag as char,
                header.frame()
            ));
            break;
        }
        let body = &bytes[HEADER_BYTES..header.frame()];
        shown.push(match sender {
            Sender::Frontend => show_frontend(header.tag, body),
            Sender::Backend => show_backend(header.tag, body),
        });
        bytes = &bytes[header.frame()..];
    }
    shown
}

fn show_frontend(tag: u8, body: &[u8]) -> String {
    let words: Vec<String> = body
        .split(|byte| *byte == 0)
        .map(|word| String::from_utf8_lossy(word).into_owned())
        .collect();
    let word = |index: usize| match words.get(index).map(String::as_str) {
        None | Some("") => "-".to_owned(),
        Some(word) => word.to_owned(),
    };
    match tag {
        b'Q' => format!("Query {}", words[0]),
        b'P' => format!("Parse {} {}", word(0), word(1)),
        b'B' => format!("Bind {} {}", word(0), word(1)),
        b'D' => format!("Describe {}", word(0)),
        b'C' => format!("Close {}", word(0)),
        b'E' => format!("Execute {}", word(0)),
        b'S' => "Sync".into(),
        b'H' => "Flush".into(),
        b'X' => "Terminate".into(),
        b'd' => format!("CopyData {}", word(0)),
        b'c' => "CopyDone".into(),
        b'f' => format!("CopyFail {}", word(0)),
        b'F' => "Call".into(),
        b'p' => format!("Password {}", word(0)),
        other => format!("{}", other as char),
    }
}

fn show_backend(tag: u8, body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body)
        .trim_end_matches('\0')
        .to_owned();
    match tag {
        b'R' => format!(
            "Auth {}",
            text.trim_start_matches('\0').replace(['\n', '\0'], " ")
        ),
        b'S' => format!("Param {}", text.replace('\0', " ")),
        b'K' => "Key".into(),
        b'v' => "Negotiate".into(),
        b'Z' => format!("Ready {text}"),
        b'1' => "Parsed".into(),
        b'2' => "Bound".into(),
        b'3' => "Closed".into(),
        b't' => "Params".into(),
        b'T' => "Columns".into(),
        b'n' => "NoData".into(),
        b'D' => format!("Row {}", String::from_utf8_lossy(&body[6..])),
        b'C' => format!("Complete {text}"),
        b'I' => "Empty".into(),
        b's' => "Suspended".into(),
        b'E' | b'N' => {
            let fields = Fields::read(body).unwrap();
            let all: Vec<String> = fields
                .fields
                .iter()
                .filter(|(code, _)| *code != b'V')
                .map(|(code, value)| {
                    format!("{}={}", *code as char, String::from_utf8_lossy(value))
                })
                .collect();
            format!(
                "{} {}",
                if tag == b'E' { "Error" } else { "Notice" },
                all.join(" ")
            )
        }
        b'A' => "Notify".into(),
        b'G' => "CopyIn".into(),
        b'H' => "CopyOut".into(),
        b'd' => format!("CopyData {text}"),
        b'c' => "CopyDone".into(),
        b'V' => "Returned".into(),
        other => format!("{}", other as char),
    }
}
