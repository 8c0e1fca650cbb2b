//! What one round of a conversation costs in the session: the client's bytes in, the server's answer out, without sockets.
//! With the number of allocations.

use std::sync::Arc;

use bytes::{BufMut, BytesMut};
use catalog::Catalog;
use divan::{AllocProfiler, Bencher};
use session::{
    CatalogState, Host, LocalRows, LocalShow, Observation, Out, PlanCache, Port, Session,
    StartupParameters,
};

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

/// What an ORM writes: 45 tokens. `@` is another number each time, `$` another name.
const SELECT: &str = "SELECT p.\"id\", p.\"title\", u.\"email\" FROM \"posts\" p LEFT JOIN \"users\" u ON u.\"id\" = p.\"user_id\" \
     WHERE p.\"views\" > @ AND u.\"active\" = true ORDER BY p.\"id\" LIMIT 10";
const POINT: &str = "SELECT title FROM posts WHERE id = @";
const CATALOG: &str = r#"{"server":150018,"tables":[
    {"oid":1,"schema":"public","name":"posts","mode":"mark","marking":true,"kind":"r","primary_key":["id"],
     "columns":[{"name":"id"},{"name":"user_id"},{"name":"title"},{"name":"views"},
                {"name":"deleted_at","hidden":true},{"name":"deletion_id","hidden":true}]},
    {"oid":2,"schema":"public","name":"users","mode":"mark","marking":true,"kind":"r","primary_key":["id"],
     "columns":[{"name":"id"},{"name":"email"},{"name":"name"},{"name":"active"},
                {"name":"deleted_at","hidden":true},{"name":"deletion_id","hidden":true}]}],"shadows":[]}"#;
const PATH: &str = r#"{"path":["pg_catalog","public"],"temp_schema":null}"#;

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
}

fn frame(tag: u8, body: &[u8]) -> Vec<u8> {
    let mut frame = vec![tag];
    frame.put_u32(body.len() as u32 + 4);
    frame.extend_from_slice(body);
    frame
}

fn query(text: &str) -> Vec<u8> {
    frame(b'Q', &[text.as_bytes(), b"\0"].concat())
}

fn row(value: &str) -> Vec<u8> {
    let mut body = vec![0, 1];
    body.put_u32(value.len() as u32);
    body.extend_from_slice(value.as_bytes());
    frame(b'D', &body)
}

/// The answer to a Query or an Execute with a few rows.
fn rows(count: usize) -> Vec<u8> {
    let mut answer = row("some title of a post").repeat(count);
    answer.extend(frame(b'C', b"SELECT 1\0"));
    answer.extend(frame(b'Z', b"I"));
    answer
}

/// A session that has logged in and knows its search path.
struct Talk {
    session: Session,
    input: BytesMut,
    out: Out,
}

impl Talk {
    fn new(catalog: CatalogState) -> Self {
        let is_kept = matches!(catalog, CatalogState::Ready(_));
        let startup = StartupParameters {
            user: "ann".into(),
            database: "shop".into(),
            all: Vec::new(),
            replication: false,
        };
        let process = Process {
            catalog,
            plans: PlanCache::new(64 << 20),
        };
        let mut talk = Self {
            session: Session::new(Port::App, startup, Arc::new(process)),
            input: BytesMut::with_capacity(4096),
            out: Out::default(),
        };
        talk.server(&[frame(b'R', &[0; 4]), frame(b'Z', b"I")].concat());
        if is_kept {
            // It asks for the path first.
            talk.client(&query(&POINT.replace('@', "1")));
            let asked = [
                frame(b'1', b""),
                frame(b'2', b""),
                row(PATH),
                frame(b'C', b"SELECT 1\0"),
                frame(b'3', b"").repeat(2),
                frame(b'Z', b"I"),
            ];
            talk.server(&asked.concat());
            talk.client(b"");
            talk.server(&rows(1));
        }
        assert!(talk.session.is_idle(), "logged in");
        talk
    }

    fn client(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
        let read = self.session.on_client(&mut self.input, &mut self.out);
        read.expect("a session that goes on");
        self.out.to_server.clear();
    }

    fn server(&mut self, bytes: &[u8]) {
        let mut input = BytesMut::from(bytes);
        let read = self.session.on_server(&mut input, &mut self.out);
        read.expect("a session that goes on");
        self.out.to_client.clear();
    }

    /// What is measured: the buffers live on, as those of a connection do.
    fn round(&mut self, request: &[u8], answer: &[u8], from_server: &mut BytesMut) {
        self.client(request);
        from_server.extend_from_slice(answer);
        let read = self.session.on_server(from_server, &mut self.out);
        read.expect("a session that goes on");
        self.out.to_client.clear();
    }
}

fn kept() -> CatalogState {
    CatalogState::Ready(Arc::new(Catalog::from_json(CATALOG).expect("a catalog")))
}

/// `text` with another number, and another name, each time.
fn texts(bencher: Bencher<'_, '_>, catalog: CatalogState, text: &'static str) {
    let mut talk = Talk::new(catalog);
    let mut from_server = BytesMut::with_capacity(4096);
    let (mut number, answer) = (1000, rows(1));
    for _ in 0..3 {
        number += 1;
        let request = query(&text.replace('@', &number.to_string()));
        talk.round(&request, &answer, &mut from_server);
    }
    bencher
        .with_inputs(|| {
            number += 1;
            let number = number.to_string();
            query(&text.replace('@', &number).replace('$', &number))
        })
        .bench_local_refs(|request| talk.round(request, &answer, &mut from_server));
}

/// The same messages again and again.
fn again(bencher: Bencher<'_, '_>, catalog: CatalogState, request: Vec<u8>, answer: Vec<u8>) {
    let mut talk = Talk::new(catalog);
    let mut from_server = BytesMut::with_capacity(4096);
    talk.round(&request, &answer, &mut from_server);
    bencher.bench_local(|| talk.round(&request, &answer, &mut from_server));
}

/// Nothing enabled: frames, and nothing else.
#[divan::bench]
fn framing(bencher: Bencher<'_, '_>) {
    let request = query(&SELECT.replace('@', "10"));
    again(bencher, CatalogState::NotInstalled, request, rows(1));
}

#[divan::bench]
fn framing_1000_rows(bencher: Bencher<'_, '_>) {
    let request = query(&SELECT.replace('@', "10"));
    again(bencher, CatalogState::NotInstalled, request, rows(1000));
}

#[divan::bench]
fn text_hit(bencher: Bencher<'_, '_>) {
    let request = query(&SELECT.replace('@', "10"));
    again(bencher, kept(), request, rows(1));
}

#[divan::bench]
fn shape_hit(bencher: Bencher<'_, '_>) {
    texts(bencher, kept(), SELECT);
}

#[divan::bench]
fn shape_hit_point(bencher: Bencher<'_, '_>) {
    texts(bencher, kept(), POINT);
}

#[divan::bench]
fn cold(bencher: Bencher<'_, '_>) {
    texts(
        bencher,
        kept(),
        "SELECT p.\"id\", p.\"title\", u.\"email\" AS a$ FROM \"posts\" p LEFT JOIN \"users\" u ON u.\"id\" = p.\"user_id\" \
         WHERE p.\"views\" > 10 AND u.\"active\" = true ORDER BY p.\"id\" LIMIT 10",
    );
}

/// Bind, Execute and Sync of a prepared statement.
fn prepared(bencher: Bencher<'_, '_>, catalog: CatalogState) {
    let mut talk = Talk::new(catalog);
    let text = POINT.replace('@', "$1");
    let parse = frame(b'P', &[b"s1\0", text.as_bytes(), b"\0\0\0"].concat());
    talk.client(&[parse, frame(b'S', b"")].concat());
    talk.server(&[frame(b'1', b""), frame(b'Z', b"I")].concat());
    let request = [
        frame(b'B', b"\0s1\0\0\0\0\x01\0\0\0\x0242\0\0"),
        frame(b'E', b"\0\0\0\0\0"),
        frame(b'S', b""),
    ]
    .concat();
    let answer = [frame(b'2', b""), rows(1)].concat();
    let mut from_server = BytesMut::with_capacity(4096);
    talk.round(&request, &answer, &mut from_server);
    bencher.bench_local(|| talk.round(&request, &answer, &mut from_server));
}

#[divan::bench]
fn prepared_nothing_enabled(bencher: Bencher<'_, '_>) {
    prepared(bencher, CatalogState::NotInstalled);
}

#[divan::bench]
fn prepared_every_table(bencher: Bencher<'_, '_>) {
    prepared(bencher, kept());
}
