//! Peers that die, lie, flood or say nothing, on both sides, against a server that is only a script.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that panics is a test that fails"
)]

use std::net::SocketAddr;
use std::time::Duration;

use keeper::{KeeperConfig, Sidecar, TableSettings};
use proxy::{
    Bound, ClientTls, Fixed, KeeperSettings, Limits, ListenAddress, Listener, Place, Port, Proxy,
    Settings, SslMode, Upstream,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;

const SOON: Duration = Duration::from_secs(5);
const KEY: [u8; 8] = [0, 0, 0, 42, 9, 8, 7, 6];
const READY: &[u8] = b"Z\0\0\0\x05I";
const BUSY: &[u8] = b"Z\0\0\0\x05T";

struct Stage {
    proxy: Proxy,
    app: String,
    admin: String,
    server: TcpListener,
    serving: JoinHandle<()>,
}

impl Stage {
    async fn set() -> Self {
        Self::set_with(|_| {}).await
    }

    async fn set_with(change: impl FnOnce(&mut Settings)) -> Self {
        Self::set_all(change, None).await
    }

    async fn set_all(change: impl FnOnce(&mut Settings), keeper: Option<KeeperSettings>) -> Self {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut settings = settings(server.local_addr().unwrap());
        change(&mut settings);
        let fixed = Fixed {
            keeper,
            plan_cache_bytes_max: 1 << 20,
            threads: 1,
            version: "test",
        };
        let proxy = Proxy::new(settings, fixed).unwrap();
        let mut bound = Vec::new();
        for port in [Port::App, Port::Admin] {
            let address: ListenAddress = "127.0.0.1:0".parse().unwrap();
            bound.push(Bound {
                port,
                listener: Listener::bind(&address, 0).await.unwrap(),
            });
        }
        let app = bound[0].listener.local_address();
        let admin = bound[1].listener.local_address();
        let serving = tokio::spawn({
            let proxy = proxy.clone();
            async move { proxy.serve(bound).await }
        });
        Self {
            proxy,
            app,
            admin,
            server,
            serving,
        }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(&self.app).await.unwrap()
    }

    async fn accept(&self) -> TcpStream {
        timeout(SOON, self.server.accept())
            .await
            .expect("the proxy dials")
            .unwrap()
            .0
    }

    /// A client and its server connection, logged in.
    async fn login(&self) -> (TcpStream, TcpStream) {
        let mut client = self.connect().await;
        client.write_all(&startup()).await.unwrap();
        let mut server = self.accept().await;
        assert_eq!(read(&mut server, startup().len()).await, startup());
        server.write_all(&greeting()).await.unwrap();
        assert_eq!(read(&mut client, greeting().len()).await, greeting());
        (client, server)
    }
}

fn settings(server: SocketAddr) -> Settings {
    Settings {
        upstream: Upstream {
            places: vec![Place::Tcp {
                host: server.ip().to_string(),
                port: server.port(),
            }],
            ssl_mode: SslMode::Disable,
            tls: None,
            connect_timeout: SOON,
        },
        client_tls: ClientTls::default(),
        limits: Limits {
            max_clients: 10,
            max_admin_clients: 2,
            login_timeout: SOON,
            drain_timeout: Duration::from_secs(60),
        },
    }
}

fn startup() -> Vec<u8> {
    let mut packet = vec![0, 0, 0, 32, 0, 3, 0, 0];
    packet.extend(b"user\0ann\0database\0shop\0\0");
    packet[3] = packet.len() as u8;
    packet
}

fn greeting() -> Vec<u8> {
    let mut bytes = b"R\0\0\0\x08\0\0\0\0".to_vec();
    for (name, value) in [
        ("client_encoding", "UTF8"),
        ("server_version", "15.18"),
        ("standard_conforming_strings", "on"),
    ] {
        let length = (4 + name.len() + value.len() + 2) as u32;
        bytes.push(b'S');
        bytes.extend(length.to_be_bytes());
        bytes.extend(name.bytes().chain([0]).chain(value.bytes()).chain([0]));
    }
    bytes.extend(b"K\0\0\0\x0c");
    bytes.extend(KEY);
    bytes.extend(READY);
    bytes
}

fn query(text: &str) -> Vec<u8> {
    let mut bytes = vec![b'Q'];
    bytes.extend((text.len() as u32 + 5).to_be_bytes());
    bytes.extend(text.bytes().chain([0]));
    bytes
}

fn complete(tag: &str) -> Vec<u8> {
    let mut bytes = vec![b'C'];
    bytes.extend((tag.len() as u32 + 5).to_be_bytes());
    bytes.extend(tag.bytes().chain([0]));
    bytes
}

async fn read(socket: &mut TcpStream, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    timeout(SOON, socket.read_exact(&mut bytes))
        .await
        .expect("bytes arrive")
        .unwrap();
    bytes
}

/// Everything until the peer closes; a reset is a close too.
async fn rest(socket: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    let read = timeout(SOON, socket.read_to_end(&mut bytes))
        .await
        .expect("the socket is closed");
    drop(read);
    bytes
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[tokio::test]
async fn bytes_arrive_as_they_were_sent() {
    let stage = Stage::set().await;
    let (mut client, mut server) = stage.login().await;
    let question = query("SELECT 'a', 2");
    client.write_all(&question).await.unwrap();
    assert_eq!(read(&mut server, question.len()).await, question);
    let mut answer = complete("SELECT 0");
    answer.extend(READY);
    for byte in &answer {
        server.write_all(&[*byte]).await.unwrap();
    }
    assert_eq!(read(&mut client, answer.len()).await, answer);
    client.write_all(b"X\0\0\0\x04").await.unwrap();
    assert_eq!(rest(&mut server).await, b"X\0\0\0\x04");
    drop(server);
    assert!(rest(&mut client).await.is_empty());
}

#[tokio::test]
async fn a_client_that_dies_at_any_byte_leaves_no_server_connection() {
    let stage = Stage::set().await;
    let script: Vec<u8> = [startup(), query("SELECT 1")].concat();
    for end in startup().len()..script.len() {
        let mut client = stage.connect().await;
        client.write_all(&script[..end]).await.unwrap();
        let mut server = stage.accept().await;
        let got = read(&mut server, startup().len()).await;
        server.write_all(&greeting()).await.unwrap();
        read(&mut client, greeting().len()).await;
        drop(client);
        assert_eq!(got, startup());
        let more = rest(&mut server).await;
        // Nothing half-received is sent on.
        assert!(more.is_empty() || more == b"X\0\0\0\x04", "{end}: {more:?}");
    }
}

#[tokio::test]
async fn a_dead_clients_statement_is_cancelled() {
    let stage = Stage::set().await;
    let (mut client, mut server) = stage.login().await;
    let question = query("SELECT pg_sleep(1000)");
    client.write_all(&question).await.unwrap();
    read(&mut server, question.len()).await;
    drop(client);
    let mut cancel = stage.accept().await;
    let mut expected = vec![0, 0, 0, 16, 4, 210, 22, 46];
    expected.extend(KEY);
    assert_eq!(read(&mut cancel, 16).await, expected);
    assert!(rest(&mut server).await.is_empty());
}

#[tokio::test]
async fn a_statement_sent_before_terminate_is_not_cut_short() {
    let stage = Stage::set().await;
    let (mut client, mut server) = stage.login().await;
    let script = [query("INSERT INTO t VALUES (1)"), b"X\0\0\0\x04".to_vec()].concat();
    client.write_all(&script).await.unwrap();
    drop(client);
    assert_eq!(read(&mut server, script.len()).await, script);
    // Still open while the server works; nobody is sent to cancel it.
    let early = timeout(Duration::from_millis(200), server.read_u8()).await;
    assert!(!matches!(early, Ok(Ok(_))), "{early:?}");
    assert!(
        timeout(Duration::from_millis(200), stage.server.accept())
            .await
            .is_err()
    );
}

#[tokio::test]
async fn a_server_that_dies_at_any_byte_closes_the_client() {
    let stage = Stage::set().await;
    let question = query("SELECT 1");
    let answer: Vec<u8> = [complete("SELECT 1"), READY.to_vec()].concat();
    for end in 0..answer.len() {
        let (mut client, mut server) = stage.login().await;
        client.write_all(&question).await.unwrap();
        read(&mut server, question.len()).await;
        server.write_all(&answer[..end]).await.unwrap();
        drop(server);
        let got = rest(&mut client).await;
        assert!(answer.starts_with(&got), "{end}: {got:?}");
    }
    for end in 0..greeting().len() - READY.len() {
        let mut client = stage.connect().await;
        client.write_all(&startup()).await.unwrap();
        let mut server = stage.accept().await;
        read(&mut server, startup().len()).await;
        server.write_all(&greeting()[..end]).await.unwrap();
        drop(server);
        assert!(greeting().starts_with(&rest(&mut client).await), "{end}");
    }
}

#[tokio::test]
async fn last_words_of_the_server_reach_the_client() {
    let stage = Stage::set().await;
    let (mut client, mut server) = stage.login().await;
    let fatal = b"E\0\0\0\x1dSFATAL\0C57P01\0Mgo away\0\0";
    let mut fatal = fatal.to_vec();
    let length = fatal.len() as u32 - 1;
    fatal[1..5].copy_from_slice(&length.to_be_bytes());
    server.write_all(&fatal).await.unwrap();
    drop(server);
    assert_eq!(rest(&mut client).await, fatal);
}

#[tokio::test]
async fn one_client_too_many_is_told() {
    let stage = Stage::set_with(|settings| settings.limits.max_clients = 1).await;
    let (first, _server) = stage.login().await;
    let mut second = stage.connect().await;
    second.write_all(&startup()).await.unwrap();
    assert!(text(&rest(&mut second).await).contains("C53300"));
    drop(first);
}

#[tokio::test]
async fn without_a_server_the_client_is_told() {
    let gone = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let stage = Stage::set_with(|settings| {
        settings.upstream.places = vec![Place::Tcp {
            host: gone.ip().to_string(),
            port: gone.port(),
        }];
    })
    .await;
    let mut client = stage.connect().await;
    client.write_all(&startup()).await.unwrap();
    assert!(text(&rest(&mut client).await).contains("C08006"));
    assert!(stage.proxy.readiness().await.is_err());
}

#[tokio::test]
async fn the_next_place_is_tried() {
    let gone = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let stage = Stage::set_with(|settings| {
        let place = Place::Tcp {
            host: gone.ip().to_string(),
            port: gone.port(),
        };
        settings.upstream.places.insert(0, place);
    })
    .await;
    stage.login().await;
}

#[tokio::test]
async fn silence_and_garbage_end_in_time_and_harm_nobody() {
    let stage =
        Stage::set_with(|settings| settings.limits.login_timeout = Duration::from_millis(200))
            .await;
    let (mut good, mut server) = stage.login().await;
    let mut silent = stage.connect().await;
    let mut slow = stage.connect().await;
    slow.write_all(&startup()[..9]).await.unwrap();
    for garbage in [
        &b"GET / HTTP/1.0\r\n\r\n"[..],
        &[0xff; 64],
        &[0; 64],
        b"\x16\x03\x01\x00\x05hello",
    ] {
        let mut bad = stage.connect().await;
        bad.write_all(garbage).await.unwrap();
        assert!(rest(&mut bad).await.is_empty());
    }
    assert!(rest(&mut silent).await.is_empty());
    assert!(rest(&mut slow).await.is_empty());
    good.write_all(&query("SELECT 1")).await.unwrap();
    read(&mut server, query("SELECT 1").len()).await;
}

#[tokio::test]
async fn a_refused_startup_packet_brings_the_servers_own_words_and_nothing_more() {
    let stage = Stage::set().await;
    let mut client = stage.connect().await;
    let packet = [0, 0, 0, 8, 0, 2, 0, 0];
    client.write_all(&packet).await.unwrap();
    let mut server = stage.accept().await;
    assert_eq!(read(&mut server, 8).await, packet);
    client.write_all(&query("SELECT 1")).await.unwrap();
    server
        .write_all(b"Eunsupported frontend protocol\0")
        .await
        .unwrap();
    server.shutdown().await.unwrap();
    assert_eq!(
        read(&mut client, 31).await,
        b"Eunsupported frontend protocol\0"
    );
    assert!(rest(&mut server).await.is_empty());
}

#[tokio::test]
async fn cancel_requests_are_relayed_verbatim() {
    let stage = Stage::set().await;
    for key_bytes in [8_usize, 4 + 256] {
        let length = 8 + key_bytes as u32;
        let mut packet = length.to_be_bytes().to_vec();
        packet.extend([4, 210, 22, 46]);
        packet.extend((0..key_bytes).map(|i| i as u8));
        let mut client = stage.connect().await;
        client.write_all(&packet).await.unwrap();
        let mut server = stage.accept().await;
        assert_eq!(read(&mut server, packet.len()).await, packet);
        // Closed too early, the client's next statement would be the one that is cancelled.
        let early = timeout(Duration::from_millis(100), client.read_u8()).await;
        assert!(early.is_err(), "closed before the server has the signal");
        drop(server);
        assert!(rest(&mut client).await.is_empty());
    }
}

#[tokio::test]
async fn a_cancel_request_waits_for_the_statement_that_it_is_for() {
    let keeper = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = keeper.local_addr().unwrap().port();
    let config = format!("host=127.0.0.1 port={port} user=keeper");
    let keeper_settings = KeeperSettings {
        config: KeeperConfig::parse(&config).unwrap(),
        auto_install: false,
        tables: TableSettings::default(),
        sidecar: Sidecar {
            id: "test".into(),
            version: "0".into(),
            lease: Duration::from_secs(60),
        },
        monitor: None,
    };
    let stage = Stage::set_all(|_| {}, Some(keeper_settings)).await;
    let (mut client, mut server) = stage.login().await;
    // The catalog is on its way as long as nobody answers the keeper.
    let (answering, _) = timeout(SOON, keeper.accept()).await.unwrap().unwrap();
    client.write_all(&query("SELECT 1")).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;

    let mut packet = vec![0, 0, 0, 16, 4, 210, 22, 46];
    packet.extend(KEY);
    stage.connect().await.write_all(&packet).await.unwrap();
    let early = timeout(Duration::from_millis(200), stage.server.accept()).await;
    assert!(early.is_err(), "cancelled before there was a statement");

    drop((answering, keeper));
    assert_eq!(read(&mut server, 1).await, b"Q");
    let mut cancel = stage.accept().await;
    assert_eq!(read(&mut cancel, packet.len()).await, packet);
}

#[tokio::test]
async fn a_client_that_does_not_read_stops_the_server() {
    const FRAME: usize = 64 * 1024;
    let stage = Stage::set().await;
    let (mut client, mut server) = stage.login().await;
    client.write_all(&query("SELECT")).await.unwrap();
    read(&mut server, query("SELECT").len()).await;
    let mut row = vec![b'D'];
    row.extend((FRAME as u32 + 4).to_be_bytes());
    row.resize(FRAME + 5, 0);
    let mut sent = 0;
    while let Ok(result) = timeout(Duration::from_millis(300), server.write_all(&row)).await {
        result.unwrap();
        sent += row.len();
        assert!(sent < 64 << 20, "somebody buffers without a bound");
    }
    // The other direction still works.
    client.write_all(&query("SELECT 2")).await.unwrap();
    read(&mut server, query("SELECT 2").len()).await;
}

#[tokio::test]
async fn draining_sends_idle_clients_away_and_waits_for_transactions() {
    let stage = Stage::set().await;
    let (mut idle, _idle_server) = stage.login().await;
    let (mut busy, mut server) = stage.login().await;
    busy.write_all(&query("BEGIN")).await.unwrap();
    read(&mut server, query("BEGIN").len()).await;
    let begun = [complete("BEGIN"), BUSY.to_vec()].concat();
    server.write_all(&begun).await.unwrap();
    assert_eq!(read(&mut busy, begun.len()).await, begun);

    stage.proxy.shut_down();
    assert!(text(&rest(&mut idle).await).contains("C57P01"));
    assert!(
        TcpStream::connect(&stage.app).await.is_err() || {
            let mut late = stage.connect().await;
            rest(&mut late).await.is_empty()
        }
    );
    assert!(TcpStream::connect(&stage.admin).await.is_ok());
    assert!(stage.proxy.readiness().await.is_err());

    busy.write_all(&query("COMMIT")).await.unwrap();
    read(&mut server, query("COMMIT").len()).await;
    let committed = [complete("COMMIT"), READY.to_vec()].concat();
    server.write_all(&committed).await.unwrap();
    assert_eq!(read(&mut busy, committed.len()).await, committed);
    assert!(text(&rest(&mut busy).await).contains("C57P01"));
    timeout(SOON, stage.serving)
        .await
        .expect("the proxy ends")
        .unwrap();
}

/// Many at a time: the second signal may come while the first one is still being told.
#[tokio::test]
async fn a_second_signal_stops_at_once() {
    let mut stages = JoinSet::new();
    for _ in 0..20 {
        stages.spawn(is_stopped_at_once());
    }
    stages.join_all().await;
}

async fn is_stopped_at_once() {
    let stage = Stage::set().await;
    let (mut busy, mut server) = stage.login().await;
    busy.write_all(&query("SELECT pg_sleep(1000)"))
        .await
        .unwrap();
    read(&mut server, query("SELECT pg_sleep(1000)").len()).await;
    stage.proxy.shut_down();
    stage.proxy.shut_down();
    let mut cancel = stage.accept().await;
    assert_eq!(read(&mut cancel, 16).await[8..], KEY);
    drop(cancel);
    assert!(rest(&mut server).await.is_empty());
    rest(&mut busy).await;
    timeout(SOON, stage.serving)
        .await
        .expect("the proxy ends")
        .unwrap();
}

#[tokio::test]
async fn the_drain_has_an_end() {
    let stage =
        Stage::set_with(|settings| settings.limits.drain_timeout = Duration::from_millis(300))
            .await;
    let (mut busy, mut server) = stage.login().await;
    busy.write_all(&query("SELECT 1")).await.unwrap();
    read(&mut server, query("SELECT 1").len()).await;
    stage.proxy.shut_down();
    let mut cancel = stage.accept().await;
    read(&mut cancel, 16).await;
    drop(cancel);
    rest(&mut busy).await;
    timeout(SOON, stage.serving)
        .await
        .expect("the proxy ends")
        .unwrap();
}
