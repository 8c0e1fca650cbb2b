//! The session as its driver sees it, and the state behind it.

use std::sync::Arc;

use bytes::{Buf, BytesMut};
use catalog::Catalog;
use wire::Malformed;
use wire::backend::TransactionStatus;
use wire::build::{self, Report};

use crate::inject::{Injection, Purpose};
use crate::outlived::Outlived;
use crate::parameters::Parameters;
use crate::parts::Parts;
use crate::queue::ReplyQueue;
use crate::scope::ScopeTracker;
use crate::statements::Statements;
use crate::{Answer, CatalogState, Host, Port, Request, StartupParameters, refusals, settings};

/// Statements longer than this are refused while a table is marked: each must be read as a whole.
pub const STATEMENT_BYTES_MAX: usize = 64 << 20;

/// Messages whose replies may be outstanding before the client has to wait.
const OUTSTANDING_MAX: usize = 65_536;

/// Up to here bytes are copied; more are handed over with their buffer.
const COPY_BYTES_MAX: usize = 8192;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Client,
    Server,
}

/// Bytes to write. The driver empties them; the session only appends.
#[derive(Debug, Default)]
pub struct Out {
    pub to_server: BytesMut,
    pub to_client: BytesMut,
}

/// Why there is nothing more to do. Write out what [`Out`] holds, then close both sides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// The client sent Terminate (it is in `to_server`).
    ClientLeft,
    /// The client was told why (FATAL in `to_client`): SQLSTATE and message.
    Dismissed {
        sqlstate: &'static str,
        message: String,
    },
    /// A peer does not speak the protocol. If it was the client, it was told (08P01).
    Violation(Side, Malformed),
}

/// Where the conversation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Until the first ReadyForQuery: relayed, except that no statement may pass.
    Authenticating,
    Ready,
    /// Replication: bytes are bytes.
    Relaying,
    Over,
}

/// Why the client's input waits.
#[derive(Debug)]
pub(crate) enum Hold {
    Free,
    /// For all outstanding replies; then this.
    Draining(Wish),
    /// For the answer to a statement of our own. Nothing else is outstanding.
    Injecting(Injection),
    /// For the process.
    Asked,
}

/// What to do once nothing is outstanding.
#[derive(Debug)]
pub(crate) enum Wish {
    /// Look at the client's next message again.
    LookAgain,
    /// Ask for the search path.
    LearnScope,
    /// Ask whether the role may be shown deleted rows.
    LearnViewer,
    /// Have the marking of a table ended.
    Unmark(u32),
    /// Ask whether the transaction's snapshot may be older than the end of the marking of a table.
    LearnOutlived,
    /// Tell the client, then end.
    Dismiss(Box<Dismissal>),
}

#[derive(Debug)]
pub(crate) struct Dismissal {
    pub sqlstate: &'static str,
    pub message: String,
    pub hint: Option<&'static str>,
    pub ended: Ended,
}

/// The rest of a frame that is not there yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rest {
    None,
    Pass(usize),
    Drop(usize),
}

/// Schema changes of this session that the catalog may not show yet.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    /// A statement that may change the schema was done; the keeper has not followed it.
    pub pending: bool,
    /// What the keeper returned inside the open transaction: valid until that ends.
    pub own: Option<Arc<Catalog>>,
    /// The last command tag that ended a transaction was ROLLBACK.
    pub rolled_back: bool,
    /// An earlier transaction of the same message was committed with changes in it.
    pub committed: bool,
    /// SET CONSTRAINTS that came behind DDL in one message: checks of ours that belong to what it made
    /// were not there yet.
    pub constraints: Vec<Box<[u8]>>,
}

impl Changes {
    /// True if there is nothing to follow at the end of a message.
    pub fn are_none(&self) -> bool {
        let is_quiet = !self.pending && !self.rolled_back && !self.committed;
        is_quiet && self.own.is_none() && self.constraints.is_empty()
    }

    /// True if the catalog is another one should the open transaction be rolled back.
    pub fn may_be_undone(&self) -> bool {
        self.pending || self.own.is_some()
    }
}

/// One client after its StartupMessage was relayed.
///
/// After every call look at [`Session::reads_client`] and [`Session::take_request`]: when the
/// session reads again, call [`Session::on_client`] with the input that is still there.
pub struct Session {
    pub(crate) port: Port,
    pub(crate) startup: StartupParameters,
    pub(crate) host: Arc<dyn Host>,
    pub(crate) phase: Phase,
    pub(crate) strip_channel_binding: bool,
    pub(crate) statement_bytes_max: usize,
    pub(crate) hold: Hold,
    pub(crate) request: Option<Request>,
    pub(crate) queue: ReplyQueue,
    pub(crate) client_rest: Rest,
    pub(crate) server_rest: Rest,
    /// As of the last ReadyForQuery.
    pub(crate) status: TransactionStatus,
    /// Extended messages were sent since the last Sync.
    pub(crate) unsynced: bool,
    /// What the client sends up to its next Sync is ignored.
    pub(crate) skipping: bool,
    /// The server reads COPY data from the client.
    pub(crate) copy_in: bool,
    /// The client sent Terminate.
    pub(crate) leaving: bool,
    /// The client sent a statement before it was let in.
    pub(crate) early: bool,
    /// A statement was sent whose effect must be seen before the next one is read.
    pub(crate) unsettled: bool,
    /// ReadyForQuery is kept back until the hold ends.
    pub(crate) withheld_ready: bool,
    /// The name of our own statements is still taken at the server.
    pub(crate) probe_left: bool,
    /// Error of an injected statement, for the client's next message.
    pub(crate) failed_probe: Option<BytesMut>,
    pub(crate) scope: ScopeTracker,
    pub(crate) parameters: Parameters,
    /// The role may be shown deleted rows, if that is known.
    pub(crate) is_viewer: Option<bool>,
    /// The oid of a table whose marking could not be ended for the client's next message.
    pub(crate) stays_marked: Option<u32>,
    pub(crate) outlived: Outlived,
    pub(crate) changes: Changes,
    /// A Query that is sent in parts.
    pub(crate) parts: Option<Box<Parts>>,
    pub(crate) statements: Statements,
    /// A statement named the type of a marked table's rows: ours may stand in descriptions from here on.
    pub(crate) names_row_types: bool,
}

impl Session {
    pub fn new(port: Port, startup: StartupParameters, host: Arc<dyn Host>) -> Self {
        Self {
            port,
            startup,
            host,
            phase: Phase::Authenticating,
            strip_channel_binding: false,
            statement_bytes_max: STATEMENT_BYTES_MAX,
            hold: Hold::Free,
            request: None,
            queue: ReplyQueue::default(),
            client_rest: Rest::None,
            server_rest: Rest::None,
            status: TransactionStatus::Idle,
            unsynced: false,
            skipping: false,
            copy_in: false,
            leaving: false,
            early: false,
            unsettled: false,
            withheld_ready: false,
            probe_left: false,
            failed_probe: None,
            scope: ScopeTracker::default(),
            parameters: Parameters::default(),
            is_viewer: None,
            stays_marked: None,
            outlived: Outlived::default(),
            changes: Changes::default(),
            parts: None,
            statements: Statements::default(),
            names_row_types: false,
        }
    }

    /// Removes SCRAM-SHA-256-PLUS from what the server offers: set it when the client's side is
    /// plain and the server's is TLS.
    pub fn strip_channel_binding(&mut self) {
        self.strip_channel_binding = true;
    }

    /// Longest statement that is read, in bytes; [`STATEMENT_BYTES_MAX`] unless set.
    pub fn limit_statements(&mut self, bytes_max: usize) {
        self.statement_bytes_max = bytes_max;
    }

    /// Bytes of the client. Consumes what it can; the rest is to be given again with more.
    pub fn on_client(&mut self, input: &mut BytesMut, out: &mut Out) -> Result<(), Ended> {
        let result = self.read_client(input, out);
        self.note_end(result)
    }

    /// Bytes of the server. Consumes what it can; the rest is to be given again with more.
    pub fn on_server(&mut self, input: &mut BytesMut, out: &mut Out) -> Result<(), Ended> {
        let result = self.read_server(input, out);
        self.note_end(result)
    }

    /// False while client input must wait: do not read more from the client, and call
    /// [`Session::on_client`] with what is buffered once it is true again.
    pub fn reads_client(&self) -> bool {
        let waits_for_login = self.early && self.phase == Phase::Authenticating;
        matches!(self.hold, Hold::Free)
            && self.queue.len() < OUTSTANDING_MAX
            && !waits_for_login
            && !self.leaving
            && (self.parts.is_none() || self.copy_in)
    }

    /// True while a message of the client is sent in parts: it is not read meanwhile, but may leave.
    pub fn sends_parts(&self) -> bool {
        self.parts.is_some()
    }

    /// What the session waits for, once.
    pub fn take_request(&mut self) -> Option<Request> {
        self.request.take()
    }

    /// Answers the last request; goes on with the client's input that was held.
    pub fn on_answer(
        &mut self,
        answer: Answer,
        input: &mut BytesMut,
        out: &mut Out,
    ) -> Result<(), Ended> {
        let Answer::CatalogSettled = answer;
        if matches!(self.hold, Hold::Asked) {
            self.hold = Hold::Free;
            let result = self.go_on(out).and_then(|()| self.advance_parts(out));
            self.note_end(result)?;
        }
        self.on_client(input, out)
    }

    /// True outside a transaction with nothing outstanding: the moment to close when draining.
    pub fn is_idle(&self) -> bool {
        self.phase == Phase::Ready
            && matches!(self.hold, Hold::Free)
            && self.queue.is_empty()
            && self.parts.is_none()
            && self.status == TransactionStatus::Idle
            && !self.unsynced
            && !self.skipping
            && self.client_rest == Rest::None
            && self.server_rest == Rest::None
    }

    /// True while the server may still run what was planned by an older catalog than the process has now:
    /// a reply is outstanding, a portal is bound and not executed, or an open transaction has a catalog of its
    /// own.
    pub fn holds_plans(&self) -> bool {
        self.phase == Phase::Ready
            && (!self.queue.is_empty()
                || self.unsynced
                || self.parts.is_some()
                || self.client_rest != Rest::None
                || self.statements.awaits_execute()
                || self.changes.own.is_some())
    }

    /// FATAL for the client, where the protocol allows one at this point.
    pub fn farewell(&self, sqlstate: &str, message: &str, out: &mut Out) {
        let is_between_frames = !matches!(self.server_rest, Rest::Pass(_));
        if is_between_frames && matches!(self.phase, Phase::Authenticating | Phase::Ready) {
            fatal(out, sqlstate, message, None);
        }
    }

    fn note_end(&mut self, result: Result<(), Ended>) -> Result<(), Ended> {
        if result.is_err() {
            self.phase = Phase::Over;
        }
        result
    }

    /// The hold is over: what was kept back for it is sent.
    pub(crate) fn go_on(&mut self, out: &mut Out) -> Result<(), Ended> {
        if self.phase == Phase::Authenticating {
            return self.admit(out);
        }
        self.release_ready(out);
        Ok(())
    }

    pub(crate) fn release_ready(&mut self, out: &mut Out) {
        if std::mem::take(&mut self.withheld_ready) && !self.has_waiting_parts() {
            self.parameters.release(&mut out.to_client);
            // Six bytes: cannot be too long.
            let _ = build::ready_for_query(&mut out.to_client, self.status);
        }
    }

    /// The server has accepted the client: is the session one that may go on?
    pub(crate) fn admit(&mut self, out: &mut Out) -> Result<(), Ended> {
        if self.startup.replication {
            match self.host.catalog() {
                CatalogState::Loading => {
                    self.ask(Request::AwaitCatalog);
                    return Ok(());
                }
                CatalogState::Unavailable(why) => {
                    return self.dismiss(unavailable(why), out);
                }
                CatalogState::Ready(catalog) if catalog.tables().next().is_some() => {
                    return self.dismiss(replication_refused(), out);
                }
                CatalogState::Ready(_) | CatalogState::NotInstalled => {}
            }
            self.phase = Phase::Relaying;
        } else {
            if self.port == Port::App
                && !matches!(self.host.catalog(), CatalogState::NotInstalled)
                && let Some(name) = settings::forbidden_at_startup(&self.startup.all)
            {
                return self.dismiss(forged_at_startup(&name), out);
            }
            self.phase = Phase::Ready;
        }
        self.release_ready(out);
        Ok(())
    }

    /// The first ReadyForQuery.
    pub(crate) fn on_accepted(&mut self, out: &mut Out) -> Result<(), Ended> {
        self.withheld_ready = true;
        if self.port == Port::Admin {
            self.inject(Purpose::Admin, true, out);
            return Ok(());
        }
        self.admit(out)
    }

    pub(crate) fn ask(&mut self, request: Request) {
        self.request = Some(request);
        self.hold = Hold::Asked;
    }

    /// Tells the client and ends, at once.
    pub(crate) fn dismiss(&mut self, why: Dismissal, out: &mut Out) -> Result<(), Ended> {
        if !matches!(self.server_rest, Rest::Pass(_)) {
            fatal(out, why.sqlstate, &why.message, why.hint);
        }
        Err(why.ended)
    }

    /// Tells the client and ends, after the replies that are outstanding.
    pub(crate) fn dismiss_in_order(&mut self, why: Dismissal, out: &mut Out) -> Result<(), Ended> {
        // In COPY the server waits for data that will not come.
        if self.copy_in || self.phase != Phase::Ready {
            return self.dismiss(why, out);
        }
        self.drain(Wish::Dismiss(Box::new(why)), out)
    }

    /// Waits for all outstanding replies, then does what is wished.
    pub(crate) fn drain(&mut self, wish: Wish, out: &mut Out) -> Result<(), Ended> {
        self.hold = Hold::Draining(wish);
        if self.is_drained() {
            return self.on_drained(out);
        }
        if self.unsynced {
            // Without a Sync the server keeps its replies back.
            let _ = build::flush(&mut out.to_server);
        }
        Ok(())
    }

    pub(crate) fn is_drained(&self) -> bool {
        self.queue.is_empty() && self.server_rest == Rest::None
    }

    pub(crate) fn on_drained(&mut self, out: &mut Out) -> Result<(), Ended> {
        let wish = match std::mem::replace(&mut self.hold, Hold::Free) {
            Hold::Draining(wish) => wish,
            other => {
                self.hold = other;
                return Ok(());
            }
        };
        self.unsettled = false;
        if let Wish::Dismiss(why) = wish {
            return self.dismiss(*why, out);
        }
        let can_ask = !self.skipping && self.status != TransactionStatus::Failed;
        if can_ask && self.changes.pending && self.is_installed() {
            self.inject(Purpose::Follow, !self.unsynced, out);
        } else if can_ask && matches!(wish, Wish::LearnScope) {
            self.inject(Purpose::Scope, !self.unsynced, out);
        } else if can_ask && matches!(wish, Wish::LearnViewer) {
            self.inject(Purpose::Viewer, !self.unsynced, out);
        } else if can_ask && let Wish::Unmark(table) = wish {
            self.inject(Purpose::Unmark(table), !self.unsynced, out);
        } else if can_ask && matches!(wish, Wish::LearnOutlived) {
            self.inject(Purpose::Outlived, !self.unsynced, out);
        }
        Ok(())
    }

    pub(crate) fn is_installed(&self) -> bool {
        matches!(self.host.catalog(), CatalogState::Ready(_))
    }
}

pub(crate) fn fatal(out: &mut Out, sqlstate: &str, message: &str, hint: Option<&str>) {
    let report = Report {
        severity: "FATAL",
        sqlstate,
        message,
        detail: None,
        hint,
    };
    if build::error(&mut out.to_client, &report).is_err() {
        tracing::warn!(sqlstate, "an error message was too long to be sent");
    }
}

pub(crate) fn unavailable(why: String) -> Dismissal {
    let message = format!("the catalog of the soft-delete proxy is not available: {why}");
    let ended = Ended::Dismissed {
        sqlstate: "57P03",
        message: message.clone(),
    };
    Dismissal {
        sqlstate: "57P03",
        message,
        hint: None,
        ended,
    }
}

fn forged_at_startup(name: &str) -> Dismissal {
    let message = refusals::forged_message(name);
    let ended = Ended::Dismissed {
        sqlstate: "42501",
        message: message.clone(),
    };
    Dismissal {
        sqlstate: "42501",
        message,
        hint: Some(refusals::SETTINGS_HINT),
        ended,
    }
}

fn replication_refused() -> Dismissal {
    let message =
        "replication connections are not supported while soft delete is enabled".to_owned();
    let ended = Ended::Dismissed {
        sqlstate: "0A000",
        message: message.clone(),
    };
    Dismissal {
        sqlstate: "0A000",
        message,
        hint: Some("Connect to the server directly: the stream shows rows as they are stored."),
        ended,
    }
}

/// A violation of the client, in the words of PostgreSQL where it has some.
pub(crate) fn violation(malformed: Malformed) -> Dismissal {
    let message = match &malformed {
        Malformed::UnknownType(tag) => format!("invalid frontend message type {tag}"),
        other => other.to_string(),
    };
    Dismissal {
        sqlstate: Malformed::SQLSTATE,
        message,
        hint: None,
        ended: Ended::Violation(Side::Client, malformed),
    }
}

/// Moves the first `count` bytes, or as many of them as there are; says how many are missing.
pub(crate) fn pass(input: &mut BytesMut, count: usize, to: &mut BytesMut) -> usize {
    let now = count.min(input.len());
    if now <= COPY_BYTES_MAX {
        to.extend_from_slice(&input[..now]);
        input.advance(now);
    } else {
        to.unsplit(input.split_to(now));
    }
    count - now
}
