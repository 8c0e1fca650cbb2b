//! Moves bytes between one client and its server connection, and asks the session what they mean.
//!
//! **Invariant: bounded.** Each direction stops reading while the other side has more than
//! [`UNSENT_BYTES_MAX`] to take, and never waits for a write without being able to read.

use std::future::{Future, poll_fn};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use bytes::{Buf, BytesMut};
use session::{Answer, Ended, Out, Request, Session};
use tokio::io::AsyncWrite;
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::watch;

use crate::backend_key::KeyWatch;
use crate::databases::{DatabaseHandle, Pin};
use crate::phase::{Phase, PhaseWatch};
use crate::socket::Socket;

/// What may wait to be written to one side before we stop reading for it.
const UNSENT_BYTES_MAX: usize = 256 * 1024;
/// What a session may have said to a client that does not read, before it is not listened to: more
/// than [`UNSENT_BYTES_MAX`], so that a flood of the server does not silence the client.
const REPLIES_BYTES_MAX: usize = 1024 * 1024;
/// A statement from here on is read while somebody else serves this thread's other clients: that may take milliseconds.
const LONG_TEXT_BYTES: usize = 16 * 1024;
const READ_BYTES_MIN: usize = 4 * 1024;
const READ_BYTES_MAX: usize = 128 * 1024;

/// Why the relay has nothing more to do.
#[derive(Debug)]
pub enum End {
    /// Terminate was sent; the server may still be at work.
    ClientLeft,
    ClientLost(io::Error),
    /// What the server said last is still to be written to the client.
    ServerClosed(Option<io::Error>),
    /// Told so by the session, or a violation of the protocol.
    Session(Ended),
    /// The phase asked this idle client to go, or every client.
    SentAway,
}

/// What the process tells a session.
enum News {
    Phase(Phase),
    /// The catalog holds no longer.
    Lapse,
}

/// Wakes a relay and remembers it: a future is asked again only, and always, when it has called.
///
/// It may call for nothing, and must be asked then too, or it calls no more.
struct Bell {
    rung: AtomicBool,
    task: Waker,
}

impl Bell {
    fn new(task: Waker) -> Self {
        Self {
            rung: AtomicBool::new(false),
            task,
        }
    }

    fn has_rung(&self) -> bool {
        self.rung.load(Ordering::Relaxed) && self.rung.swap(false, Ordering::Acquire)
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.rung.store(true, Ordering::Release);
        self.task.wake_by_ref();
    }
}

/// What the process does for a session that cannot go on alone.
pub type Settle = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

/// How many bytes went by.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Moved {
    pub from_client: u64,
    pub from_server: u64,
}

/// One socket with what waits on its way in.
struct Inbound {
    input: BytesMut,
    read_bytes: usize,
    ended: bool,
    /// Nothing was there: we are woken when there is, and do not ask before.
    asleep: bool,
}

impl Inbound {
    fn new() -> Self {
        Self {
            input: BytesMut::new(),
            read_bytes: READ_BYTES_MIN,
            ended: false,
            asleep: false,
        }
    }

    /// Reads once. `Ready(0)`: the end.
    fn poll_read(&mut self, socket: &mut Socket, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.asleep {
            return Poll::Pending;
        }
        if self.input.capacity() - self.input.len() < READ_BYTES_MIN {
            self.input.reserve(self.read_bytes);
        }
        let room = self.input.capacity() - self.input.len();
        let Poll::Ready(result) = poll_read_buf(socket, cx, &mut self.input) else {
            self.asleep = true;
            return Poll::Pending;
        };
        let result = result?;
        if result == room {
            self.read_bytes = (self.read_bytes * 2).min(READ_BYTES_MAX);
        }
        Poll::Ready(Ok(result))
    }

    /// An idle client costs no buffers.
    fn shrink(&mut self) {
        if self.input.is_empty() && self.input.capacity() > READ_BYTES_MIN {
            self.input = BytesMut::new();
            self.read_bytes = READ_BYTES_MIN;
        }
    }
}

fn poll_read_buf(
    socket: &mut Socket,
    cx: &mut Context<'_>,
    input: &mut BytesMut,
) -> Poll<io::Result<usize>> {
    // `read_buf` keeps no state: a future made anew at each poll loses nothing.
    let read = tokio::io::AsyncReadExt::read_buf(socket, input);
    std::pin::pin!(read).poll(cx)
}

pub struct Relay<F> {
    client: Socket,
    server: Socket,
    session: Session,
    from_client: Inbound,
    from_server: Inbound,
    out: Out,
    flush_client: bool,
    flush_server: bool,
    /// The server takes no more bytes; it may still have something to say.
    server_deaf: bool,
    /// The session did not want the client's bytes that are buffered.
    held: bool,
    waiting: Option<Settle>,
    /// True while [`Self::waiting`]. What was held back is with the server when it becomes false.
    waits: watch::Sender<bool>,
    settle: F,
    /// Released whenever all that was sent is answered.
    pin: Arc<Pin>,
    /// Changes when the catalog holds no longer by which the session's statements were planned.
    lapses: watch::Receiver<u64>,
    key: KeyWatch,
    moved: Moved,
    /// From this phase on an idle client is sent away.
    leaves_at: Phase,
    phase: Phase,
}

impl<F: FnMut(Request) -> Settle> Relay<F> {
    /// `settle` is asked once per request of the session; the client's input waits for its future.
    pub fn new(
        client: Socket,
        server: Socket,
        session: Session,
        leaves_at: Phase,
        database: &DatabaseHandle,
        settle: F,
    ) -> Self {
        Self {
            client,
            server,
            session,
            from_client: Inbound::new(),
            from_server: Inbound::new(),
            out: Out::default(),
            flush_client: false,
            flush_server: false,
            server_deaf: false,
            held: false,
            waiting: None,
            waits: watch::Sender::new(false),
            settle,
            pin: database.pin(),
            lapses: database.watch_lapses(),
            key: KeyWatch::default(),
            moved: Moved::default(),
            leaves_at,
            phase: Phase::Running,
        }
    }

    /// Process id and secret of the backend, once the server has sent them.
    pub fn backend_key(&self) -> Option<&[u8]> {
        self.key.key()
    }

    /// True while the client's statement waits for something and has not been sent.
    pub fn waits(&self) -> watch::Receiver<bool> {
        self.waits.subscribe()
    }

    pub fn moved(&self) -> Moved {
        self.moved
    }

    pub fn is_idle(&self) -> bool {
        self.session.is_idle() && self.out.to_server.is_empty()
    }

    /// Runs until one side is done. `progress` is called whenever bytes have moved.
    pub async fn run(&mut self, phase: &mut PhaseWatch, mut progress: impl FnMut(&Self)) -> End {
        self.phase = phase.now();
        let mut lapses = self.lapses.clone();
        loop {
            let news = async {
                tokio::select! {
                    biased;
                    now = phase.changed() => News::Phase(now),
                    Ok(()) = lapses.changed() => News::Lapse,
                }
            };
            let mut news = std::pin::pin!(news);
            // Asking again at each message costs more than a look whether the answer has come.
            let mut bell: Option<Arc<Bell>> = None;
            let news = poll_fn(|cx| {
                if let Poll::Ready(end) = self.poll(cx, &mut progress) {
                    return Poll::Ready(Err(end));
                }
                let bell = match &bell {
                    Some(bell) if bell.task.will_wake(cx.waker()) => {
                        if !bell.has_rung() {
                            return Poll::Pending;
                        }
                        bell
                    }
                    _ => bell.insert(Arc::new(Bell::new(cx.waker().clone()))),
                };
                let waker = Waker::from(Arc::clone(bell));
                news.as_mut().poll(&mut Context::from_waker(&waker)).map(Ok)
            });
            match news.await {
                Err(end) => return end,
                Ok(News::Phase(now)) => self.phase = now,
                Ok(News::Lapse) => {
                    if self.pin.is_held() && self.session.holds_plans() {
                        return End::SentAway;
                    }
                }
            }
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>, progress: &mut impl FnMut(&Self)) -> Poll<End> {
        let before = self.moved;
        let waited = self.waiting.is_some();
        self.from_client.asleep = false;
        self.from_server.asleep = false;
        let end = loop {
            match self.turn(cx) {
                Ok(true) => {}
                Ok(false) => break None,
                Err(end) => break Some(end),
            }
        };
        if before != self.moved || end.is_some() {
            progress(self);
        }
        let waits = self.waiting.is_some();
        if waits != waited {
            self.waits.send_replace(waits);
        }
        if let Some(end) = end {
            return Poll::Ready(end);
        }
        if self.phase == Phase::Stopping || (self.phase >= self.leaves_at && self.is_quiet()) {
            return Poll::Ready(End::SentAway);
        }
        if self.is_quiet() {
            self.from_client.shrink();
            self.from_server.shrink();
            shrink(&mut self.out.to_client);
            shrink(&mut self.out.to_server);
        }
        Poll::Pending
    }

    /// Everything once. True if something has moved.
    fn turn(&mut self, cx: &mut Context<'_>) -> Result<bool, End> {
        let mut moved = self.poll_answer(cx)?;
        moved |= self.poll_write_client(cx)?;
        moved |= self.poll_write_server(cx)?;
        moved |= self.poll_read_server(cx)?;
        moved |= self.poll_read_client(cx)?;
        Ok(moved)
    }

    fn is_quiet(&self) -> bool {
        self.session.is_idle() && self.out.to_client.is_empty() && self.out.to_server.is_empty()
    }

    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Result<bool, End> {
        let Some(waiting) = self.waiting.as_mut() else {
            return Ok(false);
        };
        if waiting.as_mut().poll(cx).is_pending() {
            return Ok(false);
        }
        self.waiting = None;
        self.held = false;
        let input = &mut self.from_client.input;
        let result = self
            .session
            .on_answer(Answer::CatalogSettled, input, &mut self.out);
        self.after_session(result)?;
        Ok(true)
    }

    fn poll_write_client(&mut self, cx: &mut Context<'_>) -> Result<bool, End> {
        if self.out.to_client.is_empty() && !self.flush_client {
            return Ok(false);
        }
        let out = &mut self.out.to_client;
        poll_write(&mut self.client, out, &mut self.flush_client, cx).map_err(End::ClientLost)
    }

    fn poll_write_server(&mut self, cx: &mut Context<'_>) -> Result<bool, End> {
        if self.server_deaf {
            self.out.to_server.clear();
            return Ok(false);
        }
        if self.out.to_server.is_empty() && !self.flush_server {
            return Ok(false);
        }
        let out = &mut self.out.to_server;
        Ok(
            match poll_write(&mut self.server, out, &mut self.flush_server, cx) {
                Ok(stepped) => stepped,
                Err(_) => {
                    // Why it went is in what it sent before: the client shall read it.
                    self.server_deaf = true;
                    true
                }
            },
        )
    }

    fn poll_read_server(&mut self, cx: &mut Context<'_>) -> Result<bool, End> {
        if self.out.to_client.len() >= UNSENT_BYTES_MAX || self.from_server.ended {
            return Ok(false);
        }
        let before = self.from_server.input.len();
        match self.from_server.poll_read(&mut self.server, cx) {
            Poll::Pending => return Ok(false),
            Poll::Ready(Ok(0)) => return Err(End::ServerClosed(None)),
            Poll::Ready(Err(error)) => return Err(End::ServerClosed(Some(error))),
            Poll::Ready(Ok(count)) => self.moved.from_server += count as u64,
        }
        self.key.observe(&self.from_server.input[before..]);
        let result = self
            .session
            .on_server(&mut self.from_server.input, &mut self.out);
        self.after_session(result)?;
        Ok(true)
    }

    fn poll_read_client(&mut self, cx: &mut Context<'_>) -> Result<bool, End> {
        if self.waiting.is_some() || !self.session.reads_client() {
            return self.watch_client(cx);
        }
        if self.out.to_server.len() >= UNSENT_BYTES_MAX
            || self.out.to_client.len() >= REPLIES_BYTES_MAX
        {
            return Ok(false);
        }
        if !std::mem::take(&mut self.held) {
            match self.from_client.poll_read(&mut self.client, cx) {
                Poll::Pending => return Ok(false),
                Poll::Ready(Ok(0)) => {
                    return Err(End::ClientLost(io::ErrorKind::UnexpectedEof.into()));
                }
                Poll::Ready(Err(error)) => return Err(End::ClientLost(error)),
                Poll::Ready(Ok(count)) => self.moved.from_client += count as u64,
            }
        }
        let (session, input) = (&mut self.session, &mut self.from_client.input);
        let result =
            if input.len() >= LONG_TEXT_BYTES && session.has_text_of(LONG_TEXT_BYTES, input) {
                aside(|| session.on_client(input, &mut self.out))
            } else {
                session.on_client(input, &mut self.out)
            };
        self.after_session(result)?;
        Ok(true)
    }

    /// A client that leaves while its message is sent in parts does not want the rest.
    fn watch_client(&mut self, cx: &mut Context<'_>) -> Result<bool, End> {
        if !self.session.sends_parts() || !self.from_client.input.is_empty() {
            return Ok(false);
        }
        match self.from_client.poll_read(&mut self.client, cx) {
            Poll::Pending => Ok(false),
            Poll::Ready(Ok(0)) => Err(End::ClientLost(io::ErrorKind::UnexpectedEof.into())),
            Poll::Ready(Err(error)) => Err(End::ClientLost(error)),
            Poll::Ready(Ok(count)) => {
                self.moved.from_client += count as u64;
                self.held = true;
                Ok(true)
            }
        }
    }

    fn after_session(&mut self, result: Result<(), Ended>) -> Result<(), End> {
        if let Err(ended) = result {
            return Err(match ended {
                Ended::ClientLeft => End::ClientLeft,
                other => End::Session(other),
            });
        }
        if !self.session.holds_plans() {
            self.pin.release();
        }
        if let Some(request) = self.session.take_request() {
            self.waiting = Some((self.settle)(request));
        }
        if !self.session.reads_client() || self.waiting.is_some() {
            self.held = !self.from_client.input.is_empty();
        }
        Ok(())
    }

    /// Takes the relay apart for its end: sockets, what is still to be written, the session.
    pub fn into_parts(self) -> Parts {
        Parts {
            client: self.client,
            server: self.server,
            session: self.session,
            out: self.out,
        }
    }
}

/// What is left when the relay has ended.
pub struct Parts {
    pub client: Socket,
    pub server: Socket,
    pub session: Session,
    pub out: Out,
}

/// Does what takes long without making the other clients of this thread wait.
fn aside<R>(work: impl FnOnce() -> R) -> R {
    match Handle::current().runtime_flavor() {
        RuntimeFlavor::MultiThread => tokio::task::block_in_place(work),
        _ => work(),
    }
}

fn shrink(buffer: &mut BytesMut) {
    if buffer.capacity() > READ_BYTES_MIN {
        *buffer = BytesMut::new();
    }
}

/// Writes what there is and flushes it (a TLS stream may hold a part back). True if bytes moved.
fn poll_write(
    socket: &mut Socket,
    out: &mut BytesMut,
    flush: &mut bool,
    cx: &mut Context<'_>,
) -> io::Result<bool> {
    let mut moved = false;
    while !out.is_empty() {
        match std::pin::Pin::new(&mut *socket).poll_write(cx, out) {
            Poll::Pending => return Ok(moved),
            Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
            Poll::Ready(Ok(count)) => {
                out.advance(count);
                *flush = true;
                moved = true;
            }
            Poll::Ready(Err(error)) => return Err(error),
        }
    }
    if *flush {
        match std::pin::Pin::new(socket).poll_flush(cx) {
            Poll::Pending => {}
            Poll::Ready(Ok(())) => *flush = false,
            Poll::Ready(Err(error)) => return Err(error),
        }
    }
    Ok(moved)
}
