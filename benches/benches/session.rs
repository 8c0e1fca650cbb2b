//! What a session costs for each statement, without sockets: the bytes of a client and of the server's reply through the state machine.

use std::sync::Arc;

use bytes::{BufMut, BytesMut};
use catalog::Catalog;
use divan::Bencher;
use rewrite::Refusal;
use session::{
    Answer, CatalogState, Host, LocalRows, LocalShow, Observation, Out, PlanCache, Port, Session,
    StartupParameters,
};

const SELECT: &str = "SELECT abalance FROM accounts WHERE aid = $1";

fn main() {
    divan::main();
}

struct Process {
    catalog: CatalogState,
    plans: PlanCache,
}

impl Host for Process {
    fn catalog(&self) -> CatalogState {
        self.catalog.clone()
    }

    fn plans(&self) -> &PlanCache {
        &self.plans
    }

    fn local_rows(&self, _: LocalShow) -> LocalRows {
        LocalRows::default()
    }

    fn observe(&self, _: Observation) {}

    fn refused(&self, _: &Refusal) {}
}

fn catalog(tables: &[&str]) -> Arc<Catalog> {
    let tables: Vec<String> = tables
        .iter()
        .map(|name| {
            format!(
                r#"{{"oid":1,"schema":"public","name":"{name}","mode":"mark","marking":true,"kind":"r","columns":[{{"name":"aid"}},{{"name":"abalance"}},{{"name":"deleted_at","hidden":true}},{{"name":"deletion_id","hidden":true}}],"primary_key":["aid"]}}"#
            )
        })
        .collect();
    let document = format!(
        r#"{{"server":150018,"tables":[{}],"shadows":[]}}"#,
        tables.join(",")
    );
    Arc::new(Catalog::from_json(&document).expect("a catalog"))
}

/// A message: type, and what is in it.
fn message(to: &mut BytesMut, tag: u8, body: &[u8]) {
    to.put_u8(tag);
    to.put_i32(i32::try_from(body.len() + 4).expect("short"));
    to.put_slice(body);
}

struct Wire {
    session: Session,
    out: Out,
}

impl Wire {
    /// A client that has logged in to a database with these marked tables.
    fn open(tables: &[&str]) -> Self {
        let process = Process {
            catalog: CatalogState::Ready(catalog(tables)),
            plans: PlanCache::new(1 << 24),
        };
        let startup = StartupParameters {
            user: "ann".into(),
            database: "shop".into(),
            all: Vec::new(),
            replication: false,
        };
        let mut wire = Self {
            session: Session::new(Port::App, startup, Arc::new(process)),
            out: Out::default(),
        };
        let mut hello = BytesMut::new();
        message(&mut hello, b'R', &0i32.to_be_bytes());
        message(&mut hello, b'S', b"client_encoding\0UTF8\0");
        message(&mut hello, b'S', b"standard_conforming_strings\0on\0");
        message(&mut hello, b'Z', b"I");
        wire.server(&hello);
        wire
    }

    fn client(&mut self, bytes: &[u8]) {
        let mut input = BytesMut::from(bytes);
        self.session
            .on_client(&mut input, &mut self.out)
            .expect("a client that behaves");
        while self.session.take_request().is_some() {
            self.session
                .on_answer(Answer::CatalogSettled, &mut input, &mut self.out)
                .expect("a session that goes on");
        }
        if !input.is_empty() {
            // It asked for the search path.
            let mut path = BytesMut::new();
            message(&mut path, b'1', b"");
            message(&mut path, b'2', b"");
            let document = br#"{"path":["pg_catalog","public"],"temp_schema":null}"#;
            let mut row = BytesMut::new();
            row.put_i16(1);
            row.put_i32(i32::try_from(document.len()).expect("short"));
            row.put_slice(document);
            message(&mut path, b'D', &row);
            message(&mut path, b'C', b"SELECT 1\0");
            message(&mut path, b'3', b"");
            message(&mut path, b'3', b"");
            message(&mut path, b'Z', b"I");
            self.server(&path);
            self.session
                .on_client(&mut input, &mut self.out)
                .expect("a client that behaves");
        }
        assert!(input.is_empty(), "all of it was taken");
    }

    fn server(&mut self, bytes: &[u8]) {
        let mut input = BytesMut::from(bytes);
        self.session
            .on_server(&mut input, &mut self.out)
            .expect("a server that behaves");
        assert!(input.is_empty(), "all of it was taken");
    }

    fn sent(&mut self) {
        self.out.to_client.clear();
        self.out.to_server.clear();
    }
}

fn reply(parts: &[(u8, &[u8])]) -> BytesMut {
    let mut bytes = BytesMut::new();
    for (tag, body) in parts {
        message(&mut bytes, *tag, body);
    }
    bytes
}

const ROW: &[u8] = b"\0\x01\0\0\0\x0212";
const DESCRIPTION: &[u8] = b"\0\x01abalance\0\0\0\0\x01\0\x02\0\0\0\x17\0\x04\xff\xff\xff\xff\0\0";

const MARKED: [&[&str]; 2] = [&[], &["accounts"]];

/// Bind, Execute and Sync of a statement that was parsed once. Argument: 1 where its table is marked.
#[divan::bench(args = [0, 1])]
fn prepared(bencher: Bencher<'_, '_>, marked: usize) {
    let mut wire = Wire::open(MARKED[marked]);
    let mut parse = BytesMut::new();
    message(&mut parse, b'P', format!("s\0{SELECT}\0\0\0").as_bytes());
    message(&mut parse, b'S', b"");
    wire.client(&parse);
    wire.server(&reply(&[(b'1', b""), (b'Z', b"I")]));
    let client = reply(&[
        (b'B', b"\0s\0\0\0\0\x01\0\0\0\x0512345\0\0"),
        (b'D', b"P\0"),
        (b'E', b"\0\0\0\0\0"),
        (b'S', b""),
    ]);
    let server = reply(&[
        (b'2', b""),
        (b'T', DESCRIPTION),
        (b'D', ROW),
        (b'C', b"SELECT 1\0"),
        (b'Z', b"I"),
    ]);
    bencher.bench_local(|| {
        wire.client(&client);
        wire.server(&server);
        wire.sent();
    });
}

/// A Query whose text was seen before.
#[divan::bench(args = [0, 1])]
fn simple_text(bencher: Bencher<'_, '_>, marked: usize) {
    simple(bencher, marked, 1);
}

/// A Query whose text differs from others in its literals only.
#[divan::bench(args = [0, 1])]
fn simple_shape(bencher: Bencher<'_, '_>, marked: usize) {
    simple(bencher, marked, 500_000);
}

fn simple(bencher: Bencher<'_, '_>, marked: usize, texts: usize) {
    let mut wire = Wire::open(MARKED[marked]);
    let server = reply(&[
        (b'T', DESCRIPTION),
        (b'D', ROW),
        (b'C', b"SELECT 1\0"),
        (b'Z', b"I"),
    ]);
    let mut number = 0;
    bencher.bench_local(|| {
        number = (number + 7919) % texts;
        let text = SELECT.replace("$1", &number.to_string());
        wire.client(&reply(&[(b'Q', format!("{text}\0").as_bytes())]));
        wire.server(&server);
        wire.sent();
    });
}
