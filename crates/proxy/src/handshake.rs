//! What a client says before its session begins: SSLRequest, GSSENCRequest, CancelRequest,
//! StartupMessage. Nothing is read beyond the packet that is looked at.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

use bytes::{BufMut, Bytes, BytesMut};
use session::StartupParameters;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadBuf};
use tokio_rustls::TlsAcceptor;

use crate::socket::{Socket, Stream, last_words};
use crate::tls::{ClientTls, ClientTlsMode};

/// PostgreSQL's own limit, `MAX_STARTUP_PACKET_LENGTH`.
pub const STARTUP_BYTES_MAX: usize = 10_000;

const CANCEL_REQUEST: u32 = 80_877_102;
const SSL_REQUEST: u32 = 80_877_103;
const GSSENC_REQUEST: u32 = 80_877_104;
/// Version 1234.5677, as the codes above are versions: no request has it, so PostgreSQL refuses it like any protocol that it does not speak.
const NO_REQUEST: u32 = 80_877_101;

/// What the client wants.
pub enum Opening {
    /// Relay these bytes to the server that has the backend. The socket is closed once that has
    /// the signal, not before: the client waits for it, and then sends its next statement.
    Cancel {
        packet: Bytes,
        socket: Socket,
    },
    Session(Box<Opened>),
    /// The packet is one that PostgreSQL refuses; it may say why in its own words.
    Refused {
        packet: Bytes,
        socket: Socket,
        /// The version in those words, and the one to put in its place; they are equally long.
        renamed: Option<(String, String)>,
    },
    /// Connected and left without a word: a health probe.
    Nothing,
}

pub struct Opened {
    /// The StartupMessage, byte for byte.
    pub packet: Bytes,
    pub parameters: StartupParameters,
    pub socket: Socket,
    pub encrypted: bool,
}

/// Why a client was turned away before it had a session.
#[derive(Debug, thiserror::Error)]
pub enum TurnedAway {
    #[error("connection lost during startup: {0}")]
    Lost(#[from] std::io::Error),
    #[error("invalid length of startup packet: {0}")]
    Length(u32),
    #[error("received unencrypted data after SSL request")]
    DataBeforeTls,
    #[error("TLS handshake failed: {0}")]
    Tls(std::io::Error),
    #[error("TLS is required")]
    TlsRequired,
}

/// Speaks with a client until it has said what it wants.
/// `local`: a unix socket, where TLS is neither offered nor required.
pub async fn open<S: Stream + 'static>(
    mut stream: S,
    tls: &ClientTls,
    local: bool,
) -> Result<Opening, TurnedAway> {
    let mut asked_gss = false;
    loop {
        let Some(packet) = read_packet(&mut stream).await? else {
            return Ok(Opening::Nothing);
        };
        match code(&packet) {
            SSL_REQUEST => {
                let Some(config) = tls.config.as_ref().filter(|_| !local) else {
                    stream.write_all(b"N").await?;
                    return without_tls(stream, asked_gss, tls, local).await;
                };
                if has_unread_bytes(&mut stream).await {
                    let refusal = fatal("08P01", "received unencrypted data after SSL request");
                    last_words(&mut stream, &refusal).await;
                    return Err(TurnedAway::DataBeforeTls);
                }
                stream.write_all(b"S").await?;
                let acceptor = TlsAcceptor::from(std::sync::Arc::clone(config));
                let stream = acceptor.accept(stream).await.map_err(TurnedAway::Tls)?;
                return over_tls(stream).await;
            }
            GSSENC_REQUEST if !asked_gss => {
                asked_gss = true;
                stream.write_all(b"N").await?;
            }
            _ => return settle(packet, Box::new(stream), false, tls, local).await,
        }
    }
}

/// A client that begins with a TLS record instead of asking first.
pub async fn open_direct_tls<S: Stream + 'static>(
    stream: S,
    tls: &ClientTls,
) -> Result<Opening, TurnedAway> {
    let Some(config) = &tls.config else {
        return Err(TurnedAway::TlsRequired);
    };
    let acceptor = TlsAcceptor::from(std::sync::Arc::clone(config));
    let stream = acceptor.accept(stream).await.map_err(TurnedAway::Tls)?;
    // PostgreSQL demands it too: else any TLS client could be steered here (ALPACA).
    if stream.get_ref().1.alpn_protocol() != Some(b"postgresql") {
        return Err(TurnedAway::Tls(std::io::Error::other(
            "ALPN postgresql was not offered",
        )));
    }
    over_tls(stream).await
}

async fn over_tls<S: Stream + 'static>(mut stream: S) -> Result<Opening, TurnedAway> {
    let Some(packet) = read_packet(&mut stream).await? else {
        return Ok(Opening::Nothing);
    };
    settle(packet, Box::new(stream), true, &ClientTls::default(), false).await
}

async fn without_tls<S: Stream + 'static>(
    mut stream: S,
    mut asked_gss: bool,
    tls: &ClientTls,
    local: bool,
) -> Result<Opening, TurnedAway> {
    loop {
        let Some(packet) = read_packet(&mut stream).await? else {
            return Ok(Opening::Nothing);
        };
        if code(&packet) != GSSENC_REQUEST || asked_gss {
            return settle(packet, Box::new(stream), false, tls, local).await;
        }
        asked_gss = true;
        stream.write_all(b"N").await?;
    }
}

/// Judges the packet that is neither SSLRequest nor GSSENCRequest, or not allowed to be one.
async fn settle(
    packet: Bytes,
    mut socket: Socket,
    encrypted: bool,
    tls: &ClientTls,
    local: bool,
) -> Result<Opening, TurnedAway> {
    let code = code(&packet);
    match code {
        CANCEL_REQUEST => return Ok(Opening::Cancel { packet, socket }),
        SSL_REQUEST | GSSENC_REQUEST => {
            let mut refused = BytesMut::with_capacity(8);
            refused.put_u32(8);
            refused.put_u32(NO_REQUEST);
            return Ok(Opening::Refused {
                packet: refused.freeze(),
                socket,
                renamed: Some((version(NO_REQUEST), version(code))),
            });
        }
        _ => {}
    }
    if tls.mode == ClientTlsMode::Require && !encrypted && !local {
        let text = "this proxy accepts encrypted connections only: connect with sslmode=require";
        last_words(&mut socket, &fatal("28000", text)).await;
        return Err(TurnedAway::TlsRequired);
    }
    let parameters = (code >> 16 == 3)
        .then(|| read_parameters(&packet[8..]))
        .flatten();
    Ok(match parameters {
        Some(parameters) => Opening::Session(Box::new(Opened {
            packet,
            parameters,
            socket,
            encrypted,
        })),
        None => Opening::Refused {
            packet,
            socket,
            renamed: None,
        },
    })
}

/// One untyped packet, its length included. `None`: the stream ended before its first byte.
async fn read_packet<S: Stream>(stream: &mut S) -> Result<Option<Bytes>, TurnedAway> {
    let mut packet = BytesMut::with_capacity(512);
    packet.resize(4, 0);
    match stream.read(&mut packet[..1]).await {
        Ok(0) => return Ok(None),
        Ok(_) => {}
        // Probes often end with a reset.
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return Ok(None),
        Err(error) => return Err(error.into()),
    }
    stream.read_exact(&mut packet[1..4]).await?;
    let length = u32::from_be_bytes([packet[0], packet[1], packet[2], packet[3]]);
    let whole = length as usize;
    if !(8..=STARTUP_BYTES_MAX).contains(&whole) {
        return Err(TurnedAway::Length(length));
    }
    packet.resize(whole, 0);
    stream.read_exact(&mut packet[4..]).await?;
    Ok(Some(packet.freeze()))
}

/// As PostgreSQL writes it.
fn version(code: u32) -> String {
    format!("{}.{}", code >> 16, code & 0xffff)
}

fn code(packet: &[u8]) -> u32 {
    u32::from_be_bytes([packet[4], packet[5], packet[6], packet[7]])
}

/// True if the client has sent more without waiting for an answer.
async fn has_unread_bytes<S: Stream>(stream: &mut S) -> bool {
    let mut byte = [0_u8];
    poll_fn(|cx| {
        let mut buf = ReadBuf::new(&mut byte);
        match Pin::new(&mut *stream).poll_read(cx, &mut buf) {
            Poll::Ready(Ok(())) => Poll::Ready(!buf.filled().is_empty()),
            Poll::Ready(Err(_)) | Poll::Pending => Poll::Ready(false),
        }
    })
    .await
}

/// The name-value pairs of a version 3 startup packet. `None`: PostgreSQL refuses this packet.
fn read_parameters(mut body: &[u8]) -> Option<StartupParameters> {
    let mut all = Vec::new();
    loop {
        let name = take_string(&mut body)?;
        if name.is_empty() {
            break;
        }
        all.push((name, take_string(&mut body)?));
    }
    if !body.is_empty() {
        return None;
    }
    // The last of several wins, as in the server.
    let last = |key: &str| {
        all.iter()
            .rev()
            .find(|(name, _)| name == key)
            .map(|(_, value)| value.as_str())
    };
    let user = last("user").filter(|user| !user.is_empty())?.to_owned();
    let database = last("database")
        .filter(|name| !name.is_empty())
        .unwrap_or(&user)
        .to_owned();
    let replication = last("replication").is_some_and(|value| !is_false(value));
    Some(StartupParameters {
        user,
        database,
        all,
        replication,
    })
}

/// A prefix of `false`, `no`, `off` (two letters at least) or `0`: what `parse_bool` takes.
fn is_false(value: &str) -> bool {
    let value = value.to_ascii_lowercase();
    let prefix_of = |word: &str, least: usize| value.len() >= least && word.starts_with(&value);
    value == "0" || prefix_of("false", 1) || prefix_of("no", 1) || prefix_of("off", 2)
}

fn take_string(body: &mut &[u8]) -> Option<String> {
    let end = body.iter().position(|byte| *byte == 0)?;
    let text = String::from_utf8_lossy(&body[..end]).into_owned();
    *body = &body[end + 1..];
    Some(text)
}

/// A FATAL ErrorResponse.
pub fn fatal(sqlstate: &str, message: &str) -> Bytes {
    let mut body = BytesMut::with_capacity(64 + message.len());
    for (field, value) in [
        (b'S', "FATAL"),
        (b'V', "FATAL"),
        (b'C', sqlstate),
        (b'M', message),
    ] {
        body.put_u8(field);
        body.extend(value.bytes().filter(|byte| *byte != 0));
        body.put_u8(0);
    }
    body.put_u8(0);
    let mut frame = BytesMut::with_capacity(5 + body.len());
    frame.put_u8(b'E');
    frame.put_u32(body.len() as u32 + 4);
    frame.extend_from_slice(&body);
    frame.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn startup(version: u32, pairs: &[(&str, &str)]) -> Vec<u8> {
        let mut body = version.to_be_bytes().to_vec();
        for (name, value) in pairs {
            body.extend(name.bytes().chain([0]).chain(value.bytes()).chain([0]));
        }
        body.push(0);
        let mut packet = (body.len() as u32 + 4).to_be_bytes().to_vec();
        packet.extend(body);
        packet
    }

    async fn say(bytes: &[u8]) -> (Result<Opening, TurnedAway>, Vec<u8>) {
        say_with(bytes, &ClientTls::default()).await
    }

    async fn say_with(bytes: &[u8], tls: &ClientTls) -> (Result<Opening, TurnedAway>, Vec<u8>) {
        let (mut client, proxy) = tokio::io::duplex(1 << 16);
        client.write_all(bytes).await.unwrap();
        client.shutdown().await.unwrap();
        let opening = match open(proxy, tls, false).await {
            Ok(Opening::Session(mut opened)) => {
                opened.socket.shutdown().await.unwrap();
                opened.socket = Box::new(tokio::io::empty());
                Ok(Opening::Session(opened))
            }
            Ok(Opening::Refused {
                packet, renamed, ..
            }) => Ok(Opening::Refused {
                packet,
                socket: Box::new(tokio::io::empty()),
                renamed,
            }),
            Ok(Opening::Cancel { packet, .. }) => Ok(Opening::Cancel {
                packet,
                socket: Box::new(tokio::io::empty()),
            }),
            other => other,
        };
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).await.unwrap();
        (opening, answer)
    }

    #[tokio::test]
    async fn the_startup_message_is_kept_byte_for_byte() {
        let packet = startup(0x0003_270f, &[("user", "ann"), ("_pq_.x", "1")]);
        let (opening, answer) = say(&packet).await;
        let Ok(Opening::Session(opened)) = opening else {
            panic!()
        };
        assert_eq!(opened.packet, packet);
        assert_eq!(opened.parameters.database, "ann");
        assert!(!opened.parameters.replication);
        assert!(answer.is_empty());
    }

    #[tokio::test]
    async fn encryption_that_is_not_offered_is_declined_once_each() {
        let mut bytes = vec![0, 0, 0, 8, 4, 210, 22, 48, 0, 0, 0, 8, 4, 210, 22, 47];
        bytes.extend(startup(
            0x0003_0000,
            &[("user", "ann"), ("replication", "database")],
        ));
        let (opening, answer) = say(&bytes).await;
        let Ok(Opening::Session(opened)) = opening else {
            panic!()
        };
        assert!(opened.parameters.replication);
        assert_eq!(answer, b"NN");

        let twice = [0, 0, 0, 8, 4, 210, 22, 47].repeat(2);
        let (opening, answer) = say(&twice).await;
        let Ok(Opening::Refused {
            packet, renamed, ..
        }) = opening
        else {
            panic!()
        };
        assert_eq!(packet[..], [0, 0, 0, 8, 4, 210, 22, 45]);
        assert_eq!(renamed, Some(("1234.5677".into(), "1234.5679".into())));
        assert_eq!(answer, b"N");
    }

    #[tokio::test]
    async fn lengths_that_lie_are_not_believed() {
        for length in [0_u32, 7, 10_001, u32::MAX] {
            let mut bytes = length.to_be_bytes().to_vec();
            bytes.extend([0; 64]);
            let (opening, answer) = say(&bytes).await;
            assert!(matches!(opening, Err(TurnedAway::Length(found)) if found == length));
            assert!(answer.is_empty());
        }
        let (opening, _) = say(b"GET / HTTP/1.1\r\n\r\n").await;
        assert!(matches!(opening, Err(TurnedAway::Length(_))));
    }

    #[tokio::test]
    async fn probes_and_half_packets_end_quietly() {
        assert!(matches!(say(b"").await.0, Ok(Opening::Nothing)));
        let packet = startup(0x0003_0000, &[("user", "ann")]);
        for end in 1..packet.len() {
            assert!(
                matches!(say(&packet[..end]).await.0, Err(TurnedAway::Lost(_))),
                "{end}"
            );
        }
    }

    #[tokio::test]
    async fn what_postgresql_refuses_is_left_to_it() {
        let no_user = startup(0x0003_0000, &[("database", "x")]);
        let old = startup(0x0002_0000, &[("user", "x")]);
        let mut unterminated = startup(0x0003_0000, &[("user", "x")]);
        let end = unterminated.len() - 1;
        unterminated[end] = b'x';
        let mut trailing = startup(0x0003_0000, &[("user", "x")]);
        trailing.push(0);
        trailing[3] += 1;
        for packet in [no_user, old, unterminated, trailing] {
            assert!(matches!(say(&packet).await.0, Ok(Opening::Refused { .. })));
        }
    }

    #[tokio::test]
    async fn tls_can_be_demanded() {
        let tls = ClientTls {
            mode: ClientTlsMode::Require,
            ..ClientTls::default()
        };
        let packet = startup(0x0003_0000, &[("user", "ann")]);
        let (opening, answer) = say_with(&packet, &tls).await;
        assert!(matches!(opening, Err(TurnedAway::TlsRequired)));
        assert!(String::from_utf8_lossy(&answer).contains("C28000"));
        let cancel = [0, 0, 0, 16, 4, 210, 22, 46, 0, 0, 0, 1, 0, 0, 0, 2];
        let (opening, _) = say_with(&cancel, &tls).await;
        assert!(matches!(opening, Ok(Opening::Cancel { packet, .. }) if packet.as_ref() == cancel));
    }

    #[test]
    fn false_is_spelt_as_the_server_reads_it() {
        for value in ["0", "f", "False", "no", "off", "of"] {
            assert!(is_false(value), "{value}");
        }
        for value in ["o", "1", "on", "database", "true", ""] {
            assert!(!is_false(value), "{value}");
        }
    }
}
