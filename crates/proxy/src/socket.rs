//! Byte streams, whatever is below them.

use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// TCP or unix socket, plain or TLS; in tests a pipe in memory.
pub type Socket = Box<dyn Stream>;

const KEEPALIVE_IDLE: Duration = Duration::from_secs(60);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);

/// Small messages leave at once; a peer that vanished without a word is noticed in two minutes.
pub fn tune(tcp: &TcpStream) -> std::io::Result<()> {
    tcp.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE_IDLE)
        .with_interval(KEEPALIVE_INTERVAL);
    SockRef::from(tcp).set_tcp_keepalive(&keepalive)
}

/// For the last words to a peer that may not read them.
const LAST_WORDS_TIMEOUT: Duration = Duration::from_secs(10);
/// For a peer to close after its last words, and what it may still have been saying meanwhile.
const FAREWELL_TIMEOUT: Duration = Duration::from_secs(1);
const FAREWELL_BYTES_MAX: u64 = 1024 * 1024;

/// Writes the last words and closes. What the peer has sent is read and dropped for a while: a
/// socket closed with unread bytes in it is reset, and the peer loses what it was told.
pub async fn last_words(stream: &mut (impl Stream + ?Sized), bytes: &[u8]) {
    let write = async {
        stream.write_all(bytes).await?;
        stream.shutdown().await
    };
    if matches!(timeout(LAST_WORDS_TIMEOUT, write).await, Ok(Ok(()))) {
        let mut rest = stream.take(FAREWELL_BYTES_MAX);
        let mut sink = tokio::io::sink();
        let drop_rest = tokio::io::copy(&mut rest, &mut sink);
        let _ = timeout(FAREWELL_TIMEOUT, drop_rest).await;
    }
}
