//! However the bytes arrive, the conversation is the same; whatever they are, nobody panics.

// A helper that fails is a test that fails.
#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use bytes::BytesMut;
use proptest::prelude::*;
use session::{Out, Port, Session};
use std::sync::Arc;
use support::{FakeHost, put_backend, put_frontend, startup, state};

const CONVERSATION: &[&str] = &[
    "S Sasl SCRAM-SHA-256",
    "C Password secret",
    "S Auth 0 | Param client_encoding UTF8 | Key 1 | Ready I",
    "C Query SELECT 1 | Query DELETE FROM t WHERE id = 1 | Query SELECT 2",
    "S Columns | Row 1 | Complete SELECT 1 | Ready I",
    "S Scope | Ready I",
    "S Complete UPDATE 1 | Ready I | Columns | Row 2 | Complete SELECT 1 | Ready I",
    "C Parse d DELETE FROM t | Describe S d | Bind - d | Execute - | Sync | Query MERGE INTO t x",
    "S Parsed | Params | NoData | Bound | Notice 00000 hello | Complete UPDATE 2 | Ready I",
    "S Error 42703 column | Ready I",
    "C Query COPY u FROM STDIN",
    "S CopyIn",
    "C CopyData 1234567890 | Sync | CopyData 2 | CopyDone | Query CREATE TABLE x ()",
    "S Complete COPY 2 | Ready I | Complete CREATE TABLE",
    "S Ready I",
    "S Catalog t | Ready I",
    "C Parse a SELECT 1 | Parse b bogus | Bind - b | Execute - | Sync",
    "S Parsed | Error 42601 no P=3 | Ready I",
    "C Terminate",
];

/// What went to each side, after all.
fn play(mut chunk: impl FnMut() -> usize) -> (Vec<u8>, Vec<u8>) {
    let host = Arc::new(FakeHost::new(state("ready t")));
    let mut session = Session::new(Port::App, startup(false), host);
    let (mut client, mut server, mut out) = (BytesMut::new(), BytesMut::new(), Out::default());
    for line in CONVERSATION {
        let (who, what) = line.split_once(' ').unwrap();
        let mut arriving = BytesMut::new();
        for message in what.split(" | ") {
            if who == "C" {
                put_frontend(&mut arriving, message);
            } else {
                put_backend(&mut arriving, message);
            }
        }
        while !arriving.is_empty() {
            let piece = arriving.split_to(chunk().clamp(1, arriving.len()));
            let result = if who == "C" {
                client.extend_from_slice(&piece);
                session.on_client(&mut client, &mut out)
            } else {
                server.extend_from_slice(&piece);
                session.on_server(&mut server, &mut out)
            };
            let _ = result.and_then(|()| session.on_client(&mut client, &mut out));
        }
    }
    assert!(server.is_empty(), "the server's bytes are all consumed");
    (out.to_server.to_vec(), out.to_client.to_vec())
}

#[test]
fn the_conversation_is_served_to_its_end() {
    let (to_server, _) = play(|| usize::MAX);
    assert_eq!(to_server.last_chunk(), Some(b"X\0\0\0\x04"));
}

proptest! {
    #[test]
    fn splits_do_not_matter(sizes in prop::collection::vec(1usize..40, 1..60)) {
        let mut sizes = sizes.into_iter().cycle();
        prop_assert_eq!(play(|| sizes.next().unwrap()), play(|| usize::MAX));
    }

    #[test]
    fn garbage_never_panics(
        pieces in prop::collection::vec(
            (any::<bool>(), prop::collection::vec(any::<u8>(), 0..40), any::<Option<u8>>()),
            0..30,
        ),
    ) {
        let host = Arc::new(FakeHost::new(state("ready t")));
        let mut session = Session::new(Port::App, startup(false), host);
        let (mut client, mut server) = (BytesMut::new(), BytesMut::new());
        let mut out = Out::default();
        put_backend(&mut server, "Ready I");
        for (from_client, bytes, tag) in pieces {
            let frame = |to: &mut BytesMut| match tag {
                Some(tag) => wire::build::frame(to, tag, |to| to.extend_from_slice(&bytes)).unwrap(),
                None => to.extend_from_slice(&bytes),
            };
            let result = if from_client {
                frame(&mut client);
                session.on_client(&mut client, &mut out)
            } else {
                frame(&mut server);
                session.on_server(&mut server, &mut out)
            };
            if result.is_err() {
                break;
            }
        }
    }

    /// Frames of known types in any order: the likelier way to a state nobody thought of.
    #[test]
    fn any_order_of_messages_never_panics(
        steps in prop::collection::vec((any::<bool>(), 0usize..16), 0..60),
    ) {
        const CLIENT: [&str; 16] = [
            "Query SELECT 1", "Query DELETE FROM t", "Query SET search_path = x", "Sync", "Flush",
            "Parse s DELETE FROM t", "Bind - s", "Execute -", "Describe S s", "Close S s",
            "CopyData x", "CopyDone", "CopyFail x", "Call", "Query CREATE TABLE x ()",
            "Query BEGIN; ROLLBACK; DELETE FROM t",
        ];
        const SERVER: [&str; 16] = [
            "Ready I", "Ready T", "Ready I", "Parsed", "Bound", "Closed", "Params", "Columns",
            "Row 1", "Complete UPDATE 1", "Error 42703 x P=4", "CopyIn", "Suspended", "Empty",
            "Scope", "Catalog t",
        ];
        let host = Arc::new(FakeHost::new(state("ready t")));
        let mut session = Session::new(Port::App, startup(false), host);
        let (mut client, mut server) = (BytesMut::new(), BytesMut::new());
        let mut out = Out::default();
        put_backend(&mut server, "Ready I");
        for (from_client, index) in steps {
            let result = if from_client {
                put_frontend(&mut client, CLIENT[index]);
                session.on_client(&mut client, &mut out)
            } else {
                put_backend(&mut server, SERVER[index]);
                session.on_server(&mut server, &mut out)
            };
            if result.is_err() {
                break;
            }
            // In a failed transaction a statement may go as it is: it cannot run.
            for sent in support::show(&out.to_server, wire::Sender::Frontend) {
                prop_assert!(!sent.contains(" DELETE FROM t"), "{}", sent);
            }
        }
    }
}
