//! TLS on both sides. The certificates in `tls/` are for these tests only.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that panics is a test that fails"
)]

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use proxy::{
    Bound, ClientTls, ClientTlsMode, Fixed, Limits, Listener, Place, Port, Proxy, Settings,
    SslMode, Upstream,
};
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_rustls::{TlsAcceptor, TlsConnector};

const SOON: Duration = Duration::from_secs(5);
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];
const STARTUP: &[u8] = b"\0\0\0\x12\0\x03\0\0user\0ann\0\0";
const GREETING: &[u8] = b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I";

fn file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/tls")
        .join(name)
}

fn upstream(port: u16, mode: SslMode, root: Option<&str>, host: &str) -> Upstream {
    Upstream {
        places: vec![Place::Tcp {
            host: host.into(),
            port,
        }],
        ssl_mode: mode,
        tls: proxy::tls_to_server(mode, root.map(file).as_ref()).unwrap(),
        connect_timeout: SOON,
    }
}

/// A proxy that offers TLS; its app address, and the plain server behind it.
async fn stage(mode: ClientTlsMode) -> (String, TcpListener) {
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = server.local_addr().unwrap().port();
    let settings = Settings {
        upstream: upstream(port, SslMode::Disable, None, "127.0.0.1"),
        client_tls: ClientTls::load(mode, &file("signed.crt"), &file("signed.key")).unwrap(),
        limits: Limits {
            max_clients: 10,
            max_admin_clients: 1,
            login_timeout: SOON,
            drain_timeout: SOON,
        },
    };
    let fixed = Fixed {
        keeper: None,
        plan_cache_bytes_max: 1 << 20,
        threads: 1,
        version: "test",
    };
    let listener = Listener::bind(&"127.0.0.1:0".parse().unwrap(), 0)
        .await
        .unwrap();
    let address = listener.local_address();
    let proxy = Proxy::new(settings, fixed).unwrap();
    let bound = vec![Bound {
        port: Port::App,
        listener,
    }];
    tokio::spawn(async move { proxy.serve(bound).await });
    (address, server)
}

fn connector(alpn: bool) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(file("ca.crt")).unwrap())
        .unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    if alpn {
        config.alpn_protocols = vec![b"postgresql".to_vec()];
    }
    TlsConnector::from(Arc::new(config))
}

fn localhost() -> ServerName<'static> {
    ServerName::try_from("localhost").unwrap()
}

#[tokio::test]
async fn bytes_that_arrive_before_tls_are_refused() {
    let (address, _server) = stage(ClientTlsMode::Allow).await;
    let mut client = TcpStream::connect(&address).await.unwrap();
    client
        .write_all(&[&SSL_REQUEST[..], STARTUP].concat())
        .await
        .unwrap();
    let mut answer = Vec::new();
    timeout(SOON, client.read_to_end(&mut answer))
        .await
        .unwrap()
        .unwrap();
    let answer = String::from_utf8_lossy(&answer).into_owned();
    assert!(
        answer.starts_with('E') && answer.contains("C08P01"),
        "{answer}"
    );
}

#[tokio::test]
async fn tls_can_begin_directly_if_the_protocol_is_named() {
    let (address, server) = stage(ClientTlsMode::Require).await;
    let tcp = TcpStream::connect(&address).await.unwrap();
    let mut client = connector(true).connect(localhost(), tcp).await.unwrap();
    client.write_all(STARTUP).await.unwrap();
    let (mut upstream, _) = timeout(SOON, server.accept()).await.unwrap().unwrap();
    let mut packet = vec![0; STARTUP.len()];
    upstream.read_exact(&mut packet).await.unwrap();
    assert_eq!(packet, STARTUP);

    let tcp = TcpStream::connect(&address).await.unwrap();
    let mut client = connector(false).connect(localhost(), tcp).await.unwrap();
    let _ = client.write_all(STARTUP).await;
    let mut answer = Vec::new();
    let _ = timeout(SOON, client.read_to_end(&mut answer))
        .await
        .unwrap();
    assert!(answer.is_empty());
}

#[tokio::test]
async fn records_to_clients_are_small() {
    let (address, server) = stage(ClientTlsMode::Require).await;
    let mut tcp = TcpStream::connect(&address).await.unwrap();
    tcp.write_all(&SSL_REQUEST).await.unwrap();
    assert_eq!(tcp.read_u8().await.unwrap(), b'S');
    let (near, far) = tokio::io::duplex(1 << 20);
    let records = tokio::spawn(relay_and_measure(tcp, far));
    let mut client = connector(false).connect(localhost(), near).await.unwrap();
    client.write_all(STARTUP).await.unwrap();
    let (mut upstream, _) = timeout(SOON, server.accept()).await.unwrap().unwrap();
    upstream
        .read_exact(&mut vec![0; STARTUP.len()])
        .await
        .unwrap();

    let mut notice = b"N".to_vec();
    notice.extend(200_000_u32.to_be_bytes());
    notice.extend(b"SNOTICE\0C00000\0M");
    notice.resize(200_000 - 1, b'x');
    notice.extend(b"\0\0");
    let bytes = [GREETING, &notice].concat();
    upstream.write_all(&bytes).await.unwrap();
    let mut got = vec![0; bytes.len()];
    timeout(SOON, client.read_exact(&mut got))
        .await
        .unwrap()
        .unwrap();
    assert!(got == bytes, "what arrives is what was sent");
    drop(upstream);
    drop(client);
    let longest = timeout(SOON, records).await.unwrap().unwrap();
    assert!((4096..=8192 + 256).contains(&longest), "{longest}");
}

/// Passes bytes on and returns the length of the longest TLS record towards the client.
async fn relay_and_measure(tcp: TcpStream, far: tokio::io::DuplexStream) -> usize {
    let (mut from_proxy, mut to_proxy) = tcp.into_split();
    let (mut from_client, mut to_client) = tokio::io::split(far);
    let upward = tokio::spawn(async move {
        let _ = tokio::io::copy(&mut from_client, &mut to_proxy).await;
    });
    let mut longest = 0;
    let mut header = [0; 5];
    while from_proxy.read_exact(&mut header).await.is_ok() {
        let length = usize::from(u16::from_be_bytes([header[3], header[4]]));
        longest = longest.max(length);
        let mut body = vec![0; length];
        from_proxy.read_exact(&mut body).await.unwrap();
        let _ = to_client.write_all(&header).await;
        let _ = to_client.write_all(&body).await;
    }
    upward.abort();
    longest
}

/// A server that speaks TLS with the certificate `name`; its port.
async fn tls_server(name: &str) -> u16 {
    let chain = vec![CertificateDer::from_pem_file(file(&format!("{name}.crt"))).unwrap()];
    let key = PrivateKeyDer::from_pem_file(file(&format!("{name}.key"))).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("localhost:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (mut tcp, _) = listener.accept().await.unwrap();
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let mut request = [0; 8];
                tcp.read_exact(&mut request).await.unwrap();
                assert_eq!(request, SSL_REQUEST);
                tcp.write_all(b"S").await.unwrap();
                let _ = acceptor.accept(tcp).await;
            });
        }
    });
    port
}

#[tokio::test]
async fn the_server_is_believed_as_far_as_sslmode_says() {
    use SslMode::{Prefer, Require, VerifyCa, VerifyFull};
    for (certificate, mode, root, host, good) in [
        ("signed", Prefer, None, "127.0.0.1", true),
        ("signed", Require, None, "127.0.0.1", true),
        ("signed", Require, Some("ca.crt"), "127.0.0.1", true),
        // As libpq: with a root certificate, `require` means `verify-ca`.
        ("signed", Require, Some("self.crt"), "localhost", false),
        ("signed", VerifyCa, Some("ca.crt"), "127.0.0.1", true),
        ("signed", VerifyCa, Some("self.crt"), "localhost", false),
        ("signed", VerifyFull, Some("ca.crt"), "localhost", true),
        ("signed", VerifyFull, Some("ca.crt"), "127.0.0.1", false),
        ("self", VerifyFull, Some("self.crt"), "localhost", true),
        ("self", VerifyFull, Some("self.crt"), "127.0.0.1", false),
        ("self", VerifyCa, Some("self.crt"), "127.0.0.1", true),
        ("self", VerifyCa, Some("ca.crt"), "localhost", false),
    ] {
        let port = tls_server(certificate).await;
        let dialled = upstream(port, mode, root, host).dial().await;
        let case = format!("{certificate} {mode:?} {root:?} {host}");
        match dialled {
            Ok(dialled) => assert!(good && dialled.encrypted, "{case}"),
            Err(error) => assert!(!good, "{case}: {error}"),
        }
    }
}

#[tokio::test]
async fn a_server_without_tls_is_refused_or_not_as_sslmode_says() {
    for (mode, good) in [(SslMode::Prefer, true), (SslMode::Require, false)] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            let (mut tcp, _) = listener.accept().await.unwrap();
            tcp.read_exact(&mut [0; 8]).await.unwrap();
            tcp.write_all(b"N").await.unwrap();
            tcp.read_u8().await
        });
        let dialled = upstream(port, mode, None, "127.0.0.1").dial().await;
        assert_eq!(
            dialled.is_ok_and(|dialled| !dialled.encrypted),
            good,
            "{mode:?}"
        );
    }
}
