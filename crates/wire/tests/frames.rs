//! Frames, views and builders against bytes that may lie.

// A helper that fails is a test that fails.
#![allow(clippy::unwrap_used, clippy::panic)]

use bytes::BytesMut;
use proptest::prelude::*;
use wire::backend::{self, Authentication, Fields, TransactionStatus};
use wire::build::{self, Report};
use wire::frontend::{self, BindNames, Execute, Parse, Target};
use wire::{Header, Malformed, Sender, StartupPacket, startup_packet_bytes};

/// Cuts a stream into (type, body) as its bytes arrive in pieces.
fn cut(stream: &[u8], sender: Sender, mut piece: impl FnMut() -> usize) -> Vec<(u8, Vec<u8>)> {
    let (mut frames, mut buffer, mut rest) = (Vec::new(), Vec::new(), stream);
    while !rest.is_empty() {
        let (now, later) = rest.split_at(piece().clamp(1, rest.len()));
        buffer.extend_from_slice(now);
        rest = later;
        while let Ok(Some(header)) = Header::peek(&buffer, sender) {
            if buffer.len() < header.frame() {
                break;
            }
            let body = buffer[wire::HEADER_BYTES..header.frame()].to_vec();
            frames.push((header.tag, body));
            buffer.drain(..header.frame());
        }
    }
    frames
}

#[test]
fn lengths_that_lie_are_known_by_the_header() {
    let peek = |bytes: &[u8]| Header::peek(bytes, Sender::Frontend);
    assert_eq!(peek(b"Q\0\0\0"), Ok(None));
    assert_eq!(
        peek(b"Q\0\0\0\x03"),
        Err(Malformed::Length {
            tag: b'Q',
            length: 3
        })
    );
    assert_eq!(
        peek(b"Q\x80\0\0\0"),
        Err(Malformed::Length {
            tag: b'Q',
            length: 0x8000_0000
        })
    );
    // PostgreSQL: PQ_SMALL_MESSAGE_LIMIT for what is short by nature.
    assert!(peek(b"S\0\0\x27\x11").is_err());
    assert!(peek(b"Q\0\0\x27\x11").is_ok());
    // Known by one byte.
    assert_eq!(peek(b"!"), Err(Malformed::UnknownType(b'!')));
    assert_eq!(peek(b"Z"), Err(Malformed::UnknownType(b'Z')));
    assert!(Header::peek(b"Z\0\0\0\x05", Sender::Backend).is_ok());
}

#[test]
fn startup_packets() {
    let packet = |code: u32, rest: &[u8]| {
        let mut packet = ((rest.len() + 8) as u32).to_be_bytes().to_vec();
        packet.extend_from_slice(&code.to_be_bytes());
        packet.extend_from_slice(rest);
        packet
    };
    let read = |bytes: &[u8]| format!("{:?}", StartupPacket::read(bytes));
    assert_eq!(read(&packet(80_877_103, b"")), "Ok(Ssl)");
    assert_eq!(read(&packet(80_877_104, b"")), "Ok(GssEnc)");
    assert_eq!(read(&packet(80_877_103, b"x")), "Err(Trailing(1))");
    assert_eq!(
        read(&packet(80_877_102, &[0, 0, 0, 7, 1, 2, 3, 4])),
        "Ok(Cancel { process: 7, key: [1, 2, 3, 4] })"
    );
    let long_key = [&[0, 0, 0, 7][..], &[9; 256]].concat();
    assert!(matches!(
        StartupPacket::read(&packet(80_877_102, &long_key)),
        Ok(StartupPacket::Cancel { process: 7, key }) if key.len() == 256
    ));
    assert!(StartupPacket::read(&packet(80_877_102, &[long_key, vec![1]].concat())).is_err());
    let bytes = packet(0x0003_270f, b"user\0ann\0_pq_.x\0y\0user\0bob\0\0");
    let Ok(StartupPacket::Startup(startup)) = StartupPacket::read(&bytes) else {
        panic!("not a startup message");
    };
    assert_eq!(startup.minor, 9999);
    assert_eq!(startup.parameter(b"user"), Some(b"bob".as_slice()));
    assert_eq!(startup.parameters.len(), 3);
    assert!(StartupPacket::read(&packet(0x0002_0000, b"")).is_err());
    assert!(StartupPacket::read(&packet(0x0003_0000, b"user\0ann\0")).is_err());
    assert_eq!(startup_packet_bytes(&[0, 0]), Ok(None));
    assert_eq!(startup_packet_bytes(&[0, 0, 0x27, 0x10]), Ok(Some(10_000)));
    assert!(startup_packet_bytes(&[0, 0, 0x27, 0x11]).is_err());
    assert!(startup_packet_bytes(&[0, 0, 0, 7]).is_err());
}

#[test]
fn views_read_their_frame_and_nothing_else() {
    assert_eq!(frontend::query(b"SELECT 1\0"), Ok(b"SELECT 1".as_slice()));
    assert_eq!(frontend::query(b"SELECT 1"), Err(Malformed::Unterminated));
    assert_eq!(frontend::query(b"a\0b\0"), Err(Malformed::Trailing(2)));
    let parse = Parse::read(b"s\0text\0\0\x02\0\0\0\x17\0\0\0\x19").unwrap();
    assert_eq!(
        (parse.name, parse.text, parse.types.len()),
        (&b"s"[..], &b"text"[..], 10)
    );
    assert_eq!(
        Parse::read(b"s\0text\0\0\x02\0\0\0\x17"),
        Err(Malformed::Short)
    );
    assert_eq!(Parse::read(b"\0\0\0\0x"), Err(Malformed::Trailing(1)));
    assert_eq!(
        BindNames::read(b"p\0s\0whatever"),
        Ok(BindNames {
            portal: b"p",
            statement: b"s"
        })
    );
    assert_eq!(BindNames::read(b"p\0s"), Err(Malformed::Unterminated));
    assert_eq!(
        frontend::target(b"Sx\0"),
        Ok((Target::Statement, b"x".as_slice()))
    );
    assert_eq!(
        frontend::target(b"P\0"),
        Ok((Target::Portal, b"".as_slice()))
    );
    assert!(frontend::target(b"Q\0").is_err());
    assert_eq!(
        Execute::read(b"\0\0\0\0\x05"),
        Ok(Execute {
            portal: b"",
            rows_max: 5
        })
    );
    assert_eq!(
        backend::ready_for_query(b"E"),
        Ok(TransactionStatus::Failed)
    );
    assert!(backend::ready_for_query(b"I ").is_err());
    assert_eq!(
        backend::command_tag(b"UPDATE 3\0"),
        Ok(b"UPDATE 3".as_slice())
    );
    assert_eq!(Authentication::read(&[0, 0, 0, 0]), Ok(Authentication::Ok));
    assert_eq!(backend::sasl_mechanisms(b"A\0B\0\0").unwrap().len(), 2);
    assert_eq!(
        backend::data_row(b"\0\x02\0\0\0\x01x\xff\xff\xff\xff"),
        Ok(vec![Some(b"x".as_slice()), None])
    );
    assert!(backend::data_row(b"\0\x01\0\0\0\x05x").is_err());
    assert!(backend::data_row(b"\0\x01\xff\xff\xff\xfe").is_err());
    assert!(Fields::read(b"SERROR\0").is_err());
}

#[test]
fn what_is_built_is_what_the_views_read() {
    let mut out = BytesMut::new();
    build::query(&mut out, b"SELECT 1").unwrap();
    build::parse(&mut out, "s", "SELECT 2").unwrap();
    build::parse_raw(&mut out, b"\xe9", b"SELECT '\xe9'", &[0, 0]).unwrap();
    build::bind(&mut out, "", "s").unwrap();
    build::describe(&mut out, Target::Portal, "").unwrap();
    build::execute(&mut out, "").unwrap();
    build::close(&mut out, Target::Statement, "s").unwrap();
    build::close_raw(&mut out, Target::Statement, b"\xe9").unwrap();
    build::flush(&mut out).unwrap();
    build::sync(&mut out).unwrap();
    let frames = cut(&out, Sender::Frontend, || usize::MAX);
    let tags: Vec<u8> = frames.iter().map(|(tag, _)| *tag).collect();
    assert_eq!(tags, b"QPPBDECCHS");
    assert_eq!(frontend::query(&frames[0].1), Ok(b"SELECT 1".as_slice()));
    assert_eq!(Parse::read(&frames[1].1).unwrap().text, b"SELECT 2");
    assert_eq!(Parse::read(&frames[2].1).unwrap().name, b"\xe9");
    assert_eq!(BindNames::read(&frames[3].1).unwrap().statement, b"s");
    assert_eq!(frames[3].1, b"\0s\0\0\0\0\0\0\0");
    assert_eq!(
        frontend::target(&frames[4].1),
        Ok((Target::Portal, b"".as_slice()))
    );
    assert_eq!(Execute::read(&frames[5].1).unwrap().rows_max, 0);
    assert_eq!(
        frontend::target(&frames[6].1),
        Ok((Target::Statement, b"s".as_slice()))
    );

    let mut out = BytesMut::new();
    let report = Report {
        severity: "ERROR",
        sqlstate: "0A000",
        message: "no\0pe",
        detail: None,
        hint: Some("try"),
    };
    build::error(&mut out, &report).unwrap();
    build::notice(&mut out, &report).unwrap();
    build::command_complete(&mut out, b"DELETE 1").unwrap();
    build::ready_for_query(&mut out, TransactionStatus::InTransaction).unwrap();
    let frames = cut(&out, Sender::Backend, || usize::MAX);
    let fields = Fields::read(&frames[0].1).unwrap();
    assert_eq!(fields.sqlstate(), b"0A000");
    assert_eq!(fields.get(b'M'), Some(b"no?pe".as_slice()));
    assert!(!fields.is_fatal());
    assert_eq!(frames[1].0, b'N');
    assert_eq!(
        backend::command_tag(&frames[2].1),
        Ok(b"DELETE 1".as_slice())
    );
    assert_eq!(
        backend::ready_for_query(&frames[3].1),
        Ok(TransactionStatus::InTransaction)
    );
    let mut again = BytesMut::new();
    build::fields(&mut again, b'E', &fields).unwrap();
    assert_eq!(cut(&again, Sender::Backend, || usize::MAX)[0], frames[0]);
}

proptest! {
    #[test]
    fn any_split_gives_the_same_frames(
        bodies in prop::collection::vec(
            (prop::sample::select(b"QPBDEFdcfSH".to_vec()), prop::collection::vec(any::<u8>(), 0..50)),
            0..20,
        ),
        sizes in prop::collection::vec(1usize..30, 1..20),
    ) {
        let mut stream = BytesMut::new();
        for (tag, body) in &bodies {
            build::frame(&mut stream, *tag, |to| to.extend_from_slice(body)).unwrap();
        }
        let mut sizes = sizes.into_iter().cycle();
        prop_assert_eq!(cut(&stream, Sender::Frontend, || sizes.next().unwrap()), bodies);
    }

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Header::peek(&bytes, Sender::Frontend);
        let _ = Header::peek(&bytes, Sender::Backend);
        let _ = startup_packet_bytes(&bytes);
        let _ = StartupPacket::read(&bytes);
        let _ = frontend::query(&bytes);
        let _ = Parse::read(&bytes);
        let _ = BindNames::read(&bytes);
        let _ = frontend::target(&bytes);
        let _ = Execute::read(&bytes);
        let _ = backend::command_tag(&bytes);
        let _ = backend::parameter_status(&bytes);
        let _ = Authentication::read(&bytes);
        let _ = backend::sasl_mechanisms(&bytes);
        let _ = Fields::read(&bytes);
        let _ = backend::data_row(&bytes);
    }

    #[test]
    fn random_startup_packets_never_panic(rest in prop::collection::vec(any::<u8>(), 0..100)) {
        for code in [0x0003_0000u32, 80_877_102, 80_877_103, 80_877_104] {
            let mut packet = ((rest.len() + 8) as u32).to_be_bytes().to_vec();
            packet.extend_from_slice(&code.to_be_bytes());
            packet.extend_from_slice(&rest);
            let _ = StartupPacket::read(&packet);
        }
    }
}
