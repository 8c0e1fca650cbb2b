//! A small server that follows PostgreSQL's rules for errors, Sync and COPY, asked once directly
//! and once through a session: the client must read the same bytes, however things interleave.

// A helper that fails is a test that fails.
#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::collections::HashMap;
use std::sync::Arc;

use bytes::BytesMut;
use proptest::prelude::*;
use session::{Answer, Out, Port, Session};
use support::{FakeHost, document, put_backend, put_frontend, show, startup, state};
use wire::frontend::{self, BindNames, Execute, Parse};
use wire::{HEADER_BYTES, Header, Sender};

#[derive(Default)]
struct Server {
    input: BytesMut,
    failed: bool,
    block: bool,
    skipping: bool,
    /// In COPY; true if by Execute.
    copy: Option<bool>,
    statements: HashMap<Vec<u8>, String>,
    portals: HashMap<Vec<u8>, String>,
}

impl Server {
    /// Handles one message; false if none is there as a whole.
    fn step(&mut self, out: &mut BytesMut) -> bool {
        let Ok(Some(header)) = Header::peek(&self.input, Sender::Frontend) else {
            return false;
        };
        if self.input.len() < header.frame() {
            return false;
        }
        let frame = self.input.split_to(header.frame());
        let body = &frame[HEADER_BYTES..];
        if let Some(extended) = self.copy {
            self.copy_step(header.tag, body, extended, out);
            return true;
        }
        if self.skipping && header.tag != b'S' {
            return true;
        }
        match header.tag {
            b'Q' => {
                self.statements.remove(b"".as_slice());
                self.portals.remove(b"".as_slice());
                self.query(
                    std::str::from_utf8(frontend::query(body).unwrap()).unwrap(),
                    out,
                );
            }
            b'S' => {
                self.skipping = false;
                self.ready(out);
            }
            b'P' => {
                let parse = Parse::read(body).unwrap();
                let text = std::str::from_utf8(parse.text).unwrap();
                let known = !parse.name.is_empty() && self.statements.contains_key(parse.name);
                if let Some(error) = self.parse_error(text) {
                    self.error(error, true, out);
                } else if known {
                    self.error("42P05 statement exists", true, out);
                } else {
                    self.statements.insert(parse.name.to_vec(), text.to_owned());
                    put_backend(out, "Parsed");
                }
            }
            b'B' => {
                let names = BindNames::read(body).unwrap();
                match self.statements.get(names.statement).cloned() {
                    Some(text) => {
                        self.portals.insert(names.portal.to_vec(), text);
                        put_backend(out, "Bound");
                    }
                    None => self.error("26000 no statement", true, out),
                }
            }
            b'D' => put_backend(out, "NoData"),
            b'E' => {
                let portal = Execute::read(body).unwrap().portal.to_vec();
                // Once run to its end, a portal cannot be run again.
                match self.portals.remove(&portal) {
                    Some(text) => drop(self.run(&text, true, out)),
                    None => self.error("34000 no portal", true, out),
                }
            }
            b'C' => {
                if body[0] == b'S' {
                    self.statements.remove(&body[1..body.len() - 1]);
                }
                put_backend(out, "Closed");
            }
            _ => {}
        }
        true
    }

    fn copy_step(&mut self, tag: u8, body: &[u8], extended: bool, out: &mut BytesMut) {
        match tag {
            b'd' if body != b"bad" => return,
            b'S' | b'H' => return,
            b'd' => self.error("22P02 bad data", extended, out),
            b'c' => put_backend(out, "Complete COPY 1"),
            b'f' => self.error("57014 COPY failed", extended, out),
            other => panic!("message {:?} in COPY", other as char),
        }
        self.copy = None;
        if !extended {
            self.ready(out);
        }
    }

    fn parse_error(&self, text: &str) -> Option<&'static str> {
        if text.contains("bogus") {
            Some("42601 syntax error P=1 F=scan.l")
        } else if self.failed && !text.starts_with("ROLLBACK") {
            Some("25P02 aborted")
        } else if text.contains("refused by reprieve") {
            Some("42703 no column P=8")
        } else {
            None
        }
    }

    fn query(&mut self, text: &str, out: &mut BytesMut) {
        for statement in text.split("; ") {
            if let Some(error) = self.parse_error(statement) {
                self.error(error, false, out);
                break;
            }
            if !self.run(statement, false, out) {
                break;
            }
            if self.copy.is_some() {
                return;
            }
        }
        self.ready(out);
    }

    /// False if it failed.
    fn run(&mut self, text: &str, extended: bool, out: &mut BytesMut) -> bool {
        if self.failed && !text.starts_with("ROLLBACK") {
            self.error("25P02 aborted", extended, out);
            return false;
        }
        let word = text.split(' ').next().unwrap();
        match word {
            "BEGIN" => self.block = true,
            "COMMIT" | "ROLLBACK" => (self.block, self.failed) = (false, false),
            _ => {}
        }
        let tag = match word {
            "UPDATE" => "UPDATE 1",
            "DELETE" => "DELETE 1",
            "CREATE" => "CREATE TABLE",
            "COPY" => {
                put_backend(out, "CopyIn");
                self.copy = Some(extended);
                return true;
            }
            "SELECT" if text.contains("session_v1") => {
                put_backend(
                    out,
                    r#"Row {"path":["pg_catalog","public"],"temp_schema":null,"temp":[]}"#,
                );
                "SELECT 1"
            }
            "SELECT" if text.contains("after_ddl_v1") => {
                put_backend(out, &format!("Row {}", document(&["t"])));
                "SELECT 1"
            }
            "SELECT" if text.contains("1/0") => {
                self.error("22012 division by zero", extended, out);
                return false;
            }
            "SELECT" => {
                put_backend(out, "Row 1");
                "SELECT 1"
            }
            other => other,
        };
        put_backend(out, &format!("Complete {tag}"));
        true
    }

    fn error(&mut self, text: &str, extended: bool, out: &mut BytesMut) {
        put_backend(out, &format!("Error {text}"));
        self.failed = self.block;
        self.skipping = extended;
    }

    fn ready(&mut self, out: &mut BytesMut) {
        if !self.block {
            self.portals.clear();
        }
        let status = match (self.block, self.failed) {
            (_, true) => "Ready E",
            (true, _) => "Ready T",
            _ => "Ready I",
        };
        put_backend(out, status);
    }
}

/// What the client reads when nobody is in between.
fn direct(messages: &[&str]) -> Vec<String> {
    let (mut server, mut out) = (Server::default(), BytesMut::new());
    messages
        .iter()
        .for_each(|message| put_frontend(&mut server.input, message));
    while server.step(&mut out) {}
    show(&out, Sender::Backend)
}

/// What the client reads through a session; `pace` says how many messages the server handles
/// after each of the client's.
fn through_session(messages: &[&str], mut pace: impl FnMut() -> usize) -> Vec<String> {
    let host = Arc::new(FakeHost::new(state("ready t")));
    let mut session = Session::new(Port::App, startup(false), host);
    let mut server = Server::default();
    let (mut client, mut from_server, mut out) = (BytesMut::new(), BytesMut::new(), Out::default());
    put_backend(&mut from_server, "Ready I");
    let mut read = BytesMut::new();
    let mut pump = |session: &mut Session, client: &mut BytesMut, steps: usize| {
        for _ in 0..=steps {
            session.on_client(client, &mut out).unwrap();
            if session.take_request().is_some() {
                session
                    .on_answer(Answer::CatalogSettled, client, &mut out)
                    .unwrap();
            }
            server.input.extend_from_slice(&out.to_server.split());
            let stepped = server.step(&mut from_server);
            session.on_server(&mut from_server, &mut out).unwrap();
            read.extend_from_slice(&out.to_client.split());
            if !stepped && out.to_server.is_empty() {
                break;
            }
        }
    };
    for message in messages {
        put_frontend(&mut client, message);
        pump(&mut session, &mut client, pace());
    }
    for _ in 0..4 {
        pump(&mut session, &mut client, 10_000);
    }
    assert!(
        client.is_empty(),
        "the session holds for ever: {:?}",
        show(&client, Sender::Frontend)
    );
    let mut shown = show(&read, Sender::Backend);
    // That the client is let in.
    shown.remove(0);
    shown
}

const SIMPLE: &[&str] = &[
    "Query SELECT 1",
    "Query DELETE FROM t",
    "Query DELETE FROM t; SELECT 1; DELETE FROM t",
    "Query bogus",
    "Query MERGE INTO t bogus",
    "Query SELECT 1; SELECT 1/0; DELETE FROM t",
    "Query BEGIN",
    "Query COMMIT",
    "Query ROLLBACK",
    "Query SET search_path = public",
    "Query CREATE TABLE x ()",
    "Sync",
];

const EXTENDED: &[&str] = &[
    "Parse - DELETE FROM t",
    "Parse - SELECT 1",
    "Parse - bogus",
    "Parse s MERGE INTO t bogus",
    "Parse s DELETE FROM t",
    "Parse r SELECT 1/0",
    "Parse - CREATE TABLE x ()",
    "Parse - SET search_path = public",
    "Parse - BEGIN",
    "Parse - ROLLBACK",
    "Bind - -",
    "Bind - s",
    "Bind p s",
    "Bind - r",
    "Describe P -",
    "Execute -",
    "Execute p",
    "Close S s",
    "Flush",
];

fn batch() -> impl Strategy<Value = Vec<&'static str>> {
    prop_oneof![
        prop::sample::select(SIMPLE).prop_map(|message| vec![message]),
        prop::collection::vec(prop::sample::select(EXTENDED), 1..8).prop_map(|mut batch| {
            batch.push("Sync");
            batch
        }),
        Just(vec!["Query COPY u FROM STDIN", "CopyData 1", "CopyDone"]),
        Just(vec![
            "Query COPY u FROM STDIN",
            "CopyData bad",
            "CopyData 2",
            "CopyDone"
        ]),
        Just(vec!["Query COPY u FROM STDIN", "CopyFail no"]),
        // As libpq: one Sync with the Execute, one behind the data.
        prop::sample::select(&["CopyData 1", "CopyData bad"][..]).prop_map(|data| {
            vec![
                "Close S c",
                "Parse c COPY u FROM STDIN",
                "Bind c c",
                "Execute c",
                "Sync",
                data,
                "CopyDone",
                "Sync",
            ]
        }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn the_client_reads_what_it_would_read_without_us(
        batches in prop::collection::vec(batch(), 1..10),
        paces in prop::collection::vec(0usize..6, 1..20),
    ) {
        let messages: Vec<&str> = batches.concat();
        let mut paces = paces.into_iter().cycle();
        let read = through_session(&messages, || paces.next().unwrap());
        prop_assert_eq!(read, direct(&messages));
    }
}
