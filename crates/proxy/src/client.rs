//! The life of one client: opening, dialling, relaying, ending.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use rewrite::Refusal;
use session::{
    CatalogState, Ended, Host, LocalRows, LocalShow, Observation, PlanCache, Port, Request,
    Session, Side,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use crate::backend_key::cancel_request;
use crate::clients::{ClientInfo, Registered};
use crate::databases::DatabaseHandle;
use crate::handshake::{self, Opened, Opening, TurnedAway, fatal};
use crate::listener::Incoming;
use crate::metrics::Metrics;
use crate::phase::{Phase, PhaseWatch};
use crate::relay::{End, Moved, Parts, Relay, Settle};
use crate::server::{Shared, Slot};
use crate::settings::Settings;
use crate::socket::{Socket, last_words};
use crate::upstream::{Dialled, Place, Upstream};

/// For words with a server that may not listen.
const LAST_WORDS_TIMEOUT: Duration = Duration::from_secs(10);
/// For a CancelRequest on its way upstream, its connection included.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(10);
/// What PostgreSQL may say to a startup packet that it refuses.
const REFUSAL_BYTES_MAX: u64 = 8 * 1024;
const TERMINATE: &[u8] = b"X\0\0\0\x04";
/// TLS handshake records begin with it.
const TLS_HANDSHAKE: u8 = 0x16;

/// A connection that was accepted, until it is closed. What happens once, at its beginning and its end, has memory of its own:
/// a future takes as much as its greediest part for as long as it lives.
pub(crate) async fn serve(
    shared: Arc<Shared>,
    incoming: Incoming,
    address: String,
    port: Port,
    phase: PhaseWatch,
    slot: Slot,
) {
    let settings = shared.settings();
    let opening = Box::pin(open(incoming, &settings));
    let opening = match timeout(settings.limits.login_timeout, opening).await {
        Ok(Ok(opening)) => opening,
        Ok(Err(error)) => {
            shared.metrics.turned_away(reason_label(&error));
            tracing::info!(client = address, %error, "turned away");
            return;
        }
        Err(_) => {
            shared.metrics.turned_away("login_timeout");
            tracing::info!(client = address, "no startup message in time");
            return;
        }
    };
    match opening {
        Opening::Nothing => {}
        Opening::Cancel { packet, socket } => {
            let relayed = Box::pin(relay_cancel(&shared, &settings.upstream, &packet));
            if let Err(reason) = relayed.await {
                tracing::warn!(client = address, reason, "cancel request not relayed");
            }
            drop(socket);
        }
        Opening::Refused {
            packet,
            socket,
            renamed,
        } => {
            shared.metrics.turned_away("startup");
            tracing::info!(
                client = address,
                "unusual startup packet left to PostgreSQL"
            );
            let answer = Box::pin(let_server_refuse(
                &settings.upstream,
                &packet,
                renamed.as_ref(),
                socket,
            ));
            let _ = timeout(LAST_WORDS_TIMEOUT, answer).await;
        }
        Opening::Session(opened) => {
            let client = Client {
                shared,
                settings,
                address,
                port,
                phase,
                _slot: slot,
            };
            client.run(*opened).await;
        }
    }
}

async fn open(incoming: Incoming, settings: &Settings) -> Result<Opening, TurnedAway> {
    let tls = &settings.client_tls;
    match incoming {
        Incoming::Unix(stream) => handshake::open(stream, tls, true).await,
        Incoming::Tcp(stream) => {
            let mut first = [0_u8];
            if tls.config.is_some()
                && stream.peek(&mut first).await? == 1
                && first[0] == TLS_HANDSHAKE
            {
                return handshake::open_direct_tls(stream, tls).await;
            }
            handshake::open(stream, tls, false).await
        }
    }
}

fn reason_label(error: &TurnedAway) -> &'static str {
    match error {
        TurnedAway::Lost(_) => "lost",
        TurnedAway::Length(_) => "startup",
        TurnedAway::DataBeforeTls | TurnedAway::Tls(_) | TurnedAway::TlsRequired => "tls",
    }
}

/// Sends a CancelRequest where its backend is; to every place if it is not one of our clients'.
async fn relay_cancel(shared: &Shared, upstream: &Upstream, packet: &[u8]) -> Result<(), String> {
    shared.metrics.cancel_relayed();
    match shared.clients.backend(&packet[8..]) {
        Some(mut backend) => {
            let _ = timeout(CANCEL_TIMEOUT, backend.has_statement()).await;
            send_cancel(upstream, &backend.place, packet).await
        }
        None => {
            let mut result = Ok(());
            for place in &upstream.places {
                result = send_cancel(upstream, place, packet).await;
            }
            result
        }
    }
}

async fn send_cancel(upstream: &Upstream, place: &Place, packet: &[u8]) -> Result<(), String> {
    let send = async {
        let mut socket = upstream.dial_place(place, None).await?.socket;
        socket
            .write_all(packet)
            .await
            .map_err(|error| error.to_string())?;
        socket.flush().await.map_err(|error| error.to_string())?;
        // The server closes once the signal is on its way: our client waits for the same.
        let _ = socket.read(&mut [0]).await;
        Ok(())
    };
    timeout(CANCEL_TIMEOUT, send)
        .await
        .unwrap_or_else(|_| Err(format!("{place}: no answer")))
}

/// PostgreSQL says no in its own words; nothing but the packet ever reaches it.
async fn let_server_refuse(
    upstream: &Upstream,
    packet: &[u8],
    renamed: Option<&(String, String)>,
    mut client: Socket,
) -> io::Result<()> {
    let answer = match upstream.dial().await {
        Ok(dialled) => {
            let mut server = dialled.socket;
            server.write_all(packet).await?;
            let mut answer = Vec::new();
            server
                .take(REFUSAL_BYTES_MAX)
                .read_to_end(&mut answer)
                .await?;
            if let Some((from, to)) = renamed {
                replace(&mut answer, from.as_bytes(), to.as_bytes());
            }
            Bytes::from(answer)
        }
        Err(error) => fatal("08006", &format!("cannot connect to PostgreSQL: {error}")),
    };
    client.write_all(&answer).await?;
    client.shutdown().await
}

/// Puts `to` in the place of the first `from`, which is as long.
fn replace(bytes: &mut [u8], from: &[u8], to: &[u8]) {
    let found = bytes.windows(from.len()).position(|window| window == from);
    if let Some(place) = found.and_then(|at| bytes.get_mut(at..at + to.len())) {
        place.copy_from_slice(to);
    }
}

/// What sessions may ask: of this process, about this client's database.
struct ClientHost {
    shared: Arc<Shared>,
    address: String,
    database: DatabaseHandle,
    port: Port,
}

impl Host for ClientHost {
    fn catalog(&self) -> CatalogState {
        match self.port {
            Port::App => self.database.look(),
            // Shown as it is.
            Port::Admin => self.database.state(),
        }
    }

    fn plans(&self) -> &PlanCache {
        &self.shared.plans
    }

    fn local_rows(&self, what: LocalShow) -> LocalRows {
        self.shared.local_rows(what)
    }

    fn observe(&self, event: Observation) {
        self.shared.metrics.observe(event);
    }

    fn refused(&self, refusal: &Refusal) {
        self.shared.metrics.refused(refusal.code);
        tracing::info!(
            client = self.address,
            database = self.database.name(),
            code = refusal.code,
            sqlstate = refusal.sqlstate,
            // A syntax error of a verb quotes it.
            told = (self.port == Port::App).then_some(&*refusal.message),
            "statement refused"
        );
    }
}

struct Client {
    shared: Arc<Shared>,
    settings: Arc<Settings>,
    address: String,
    port: Port,
    phase: PhaseWatch,
    _slot: Slot,
}

impl Client {
    async fn run(self, mut opened: Opened) {
        let dialled = match Box::pin(self.admit()).await {
            Ok(dialled) => dialled,
            Err((sqlstate, message)) => {
                tracing::info!(
                    client = self.address,
                    sqlstate,
                    told = message,
                    "turned away"
                );
                last_words(&mut opened.socket, &fatal(sqlstate, &message)).await;
                return;
            }
        };
        let mut info = ClientInfo::new(
            self.port,
            self.address.clone(),
            dialled.place.clone(),
            opened.encrypted,
        );
        info.user.clone_from(&opened.parameters.user);
        info.database.clone_from(&opened.parameters.database);
        let application = |(name, _): &&(String, String)| name == "application_name";
        info.application = opened
            .parameters
            .all
            .iter()
            .find(application)
            .map(|(_, value)| value.clone());
        let registered = self.shared.clients.register(info);
        self.shared.metrics.client_came(self.port);
        let counted = Counted(Arc::clone(&self.shared.metrics), self.port);
        Box::pin(self.converse(opened, dialled, registered, counted)).await;
    }

    /// A server connection, or what the client is told instead.
    async fn admit(&self) -> Result<Dialled, (&'static str, String)> {
        let (app, admin) = self.shared.clients.now();
        let limits = &self.settings.limits;
        let (count, max, leaves_at) = match self.port {
            Port::App => (app, limits.max_clients, Phase::Draining),
            Port::Admin => (admin, limits.max_admin_clients, Phase::Stopping),
        };
        if self.phase.now() >= leaves_at {
            return Err(("57P03", "the proxy is shutting down".to_owned()));
        }
        if count >= max {
            self.shared.metrics.turned_away("too_many_clients");
            return Err(("53300", "sorry, too many clients already".to_owned()));
        }
        let start = Instant::now();
        let home = self.shared.threads.home();
        match self.settings.upstream.dial_from(Some(home)).await {
            Ok(dialled) => {
                self.shared.metrics.upstream_connected(start.elapsed());
                Ok(dialled)
            }
            Err(error) => {
                self.shared.metrics.upstream_failed();
                Err(("08006", format!("cannot connect to PostgreSQL: {error}")))
            }
        }
    }

    async fn converse(
        self,
        opened: Opened,
        mut dialled: Dialled,
        registered: Registered,
        counted: Counted,
    ) {
        if let Err(error) = dialled.socket.write_all(&opened.packet).await {
            let text = format!("lost the connection to PostgreSQL: {error}");
            let mut socket = opened.socket;
            last_words(&mut socket, &fatal("08006", &text)).await;
            return;
        }
        let database = self.shared.databases.handle(&opened.parameters.database);
        let host = Arc::new(ClientHost {
            shared: Arc::clone(&self.shared),
            address: self.address.clone(),
            database,
            port: self.port,
        });
        let mut session = Session::new(
            self.port,
            opened.parameters,
            Arc::<ClientHost>::clone(&host),
        );
        if dialled.encrypted && !(opened.encrypted && self.shares_certificate(&dialled)) {
            session.strip_channel_binding();
        }
        let leaves_at = match self.port {
            Port::App => Phase::Draining,
            Port::Admin => Phase::Stopping,
        };
        let settle_host = Arc::clone(&host);
        let relay = Relay::new(
            opened.socket,
            dialled.socket,
            session,
            leaves_at,
            &host.database,
            move |request| Box::pin(settle_host.database.settle(request)),
        );
        let shared = Arc::clone(&self.shared);
        let talk = Talk {
            client: self,
            host,
            place: dialled.place,
            registered,
            counted,
        };
        shared.threads.relay(talk.run(relay));
    }

    /// SCRAM's channel binding names the server's certificate: it survives us if ours is the same.
    fn shares_certificate(&self, dialled: &Dialled) -> bool {
        dialled.certificate.is_some() && dialled.certificate == self.settings.client_tls.certificate
    }
}

/// A client that is being relayed.
struct Talk {
    client: Client,
    host: Arc<ClientHost>,
    place: Place,
    registered: Registered,
    counted: Counted,
}

impl Talk {
    async fn run<F>(mut self, mut relay: Relay<F>)
    where
        F: FnMut(Request) -> Settle + Send + 'static,
    {
        let mut counted = Moved::default();
        let (host, registered) = (&self.host, &mut self.registered);
        let metrics = &self.client.shared.metrics;
        let end = relay
            .run(&mut self.client.phase, |relay| {
                if !registered.has_key()
                    && let Some(key) = relay.backend_key()
                {
                    registered.set_key(key, relay.waits());
                    host.database.activate();
                }
                let moved = relay.moved();
                metrics.bytes(
                    moved.from_client - counted.from_client,
                    moved.from_server - counted.from_server,
                );
                counted = moved;
            })
            .await;
        // What waits for a clock.
        let shared = Arc::clone(&self.client.shared);
        shared.threads.main().spawn(self.end(end, relay));
    }

    async fn end<F: FnMut(Request) -> Settle>(mut self, end: End, relay: Relay<F>) {
        let cancel = (!relay.is_idle())
            .then(|| relay.backend_key().map(cancel_request))
            .flatten();
        let finish = Finish {
            upstream: &self.client.settings.upstream,
            place: &self.place,
            cancel,
            address: &self.client.address,
        };
        finish
            .run(end, relay.into_parts(), &mut self.client.phase)
            .await;
        // Listed and counted until here.
        drop((self.registered, self.counted));
    }
}

/// One of the clients in the metrics.
struct Counted(Arc<Metrics>, Port);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.client_went(self.1);
    }
}

/// The end of a session: last words to both sides.
struct Finish<'a> {
    upstream: &'a Upstream,
    place: &'a Place,
    /// Ends what the backend is at work on.
    cancel: Option<Bytes>,
    address: &'a str,
}

impl Finish<'_> {
    async fn run(self, end: End, mut parts: Parts, phase: &mut PhaseWatch) {
        let address = self.address;
        match end {
            End::ClientLeft => {
                // Replies to what came in front of Terminate.
                let rest = async {
                    last_words(&mut parts.client, &parts.out.to_client).await;
                    drop(parts.client);
                };
                let finishes = self.server_finishes(parts.server, &parts.out.to_server, phase);
                tokio::join!(rest, finishes);
            }
            End::ClientLost(error) => {
                drop(parts.client);
                if self.cancel.is_some() {
                    tracing::info!(client = address, %error, "client lost, its statement cancelled");
                }
                self.abandon(parts.server).await;
            }
            End::ServerClosed(error) => {
                if let Some(error) = error {
                    tracing::info!(client = address, %error, "server connection lost");
                }
                drop(parts.server);
                self.last_words_until(&mut parts.client, &parts.out.to_client, phase)
                    .await;
            }
            End::Session(ended) => {
                match &ended {
                    Ended::ClientLeft => {}
                    Ended::Dismissed { sqlstate, message } => {
                        tracing::info!(client = address, sqlstate, told = message, "dismissed");
                    }
                    Ended::Violation(Side::Client, error) => {
                        tracing::warn!(client = address, %error, "the client broke the protocol");
                    }
                    Ended::Violation(Side::Server, error) => {
                        tracing::error!(client = address, %error, "the server broke the protocol");
                        let text = "the server's answer could not be understood";
                        parts.session.farewell("08P01", text, &mut parts.out);
                    }
                }
                self.abandon(parts.server).await;
                last_words(&mut parts.client, &parts.out.to_client).await;
            }
            End::SentAway => {
                let text = "terminating connection due to administrator command";
                parts.session.farewell("57P01", text, &mut parts.out);
                self.abandon(parts.server).await;
                last_words(&mut parts.client, &parts.out.to_client).await;
            }
        }
    }

    /// Closes the server connection, cancelling what runs on it.
    async fn abandon(&self, mut server: Socket) {
        match &self.cancel {
            Some(packet) => {
                let (upstream, place) = (self.upstream.clone(), self.place.clone());
                let packet = packet.clone();
                // The backend notices neither at once if it computes: so both.
                drop(server);
                if let Err(reason) = send_cancel(&upstream, &place, &packet).await {
                    tracing::warn!(client = self.address, reason, "statement not cancelled");
                }
            }
            None => {
                let _ = timeout(LAST_WORDS_TIMEOUT, server.write_all(TERMINATE)).await;
                let _ = timeout(LAST_WORDS_TIMEOUT, server.shutdown()).await;
            }
        }
    }

    /// After Terminate PostgreSQL still runs what was sent before it: nothing is cut short.
    async fn server_finishes(&self, mut server: Socket, rest: &BytesMut, phase: &mut PhaseWatch) {
        let finish = async {
            let (mut read, mut write) = tokio::io::split(&mut server);
            let discard = async {
                let mut scratch = vec![0; 16 * 1024];
                while matches!(read.read(&mut scratch).await, Ok(count) if count > 0) {}
            };
            let send = async {
                let _ = write.write_all(rest).await;
                let _ = write.shutdown().await;
            };
            tokio::join!(discard, send);
        };
        tokio::select! {
            () = finish => {}
            () = phase.reached(Phase::Stopping) => self.abandon(server).await,
        }
    }

    /// The client may be slow to read a long result: that is its right until we stop.
    async fn last_words_until(&self, client: &mut Socket, bytes: &[u8], phase: &mut PhaseWatch) {
        let write = async {
            if client.write_all(bytes).await.is_ok() {
                last_words(client, &[]).await;
            }
        };
        tokio::select! {
            () = write => {}
            () = phase.reached(Phase::Stopping) => {}
        }
    }
}
