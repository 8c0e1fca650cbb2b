//! Statements of our own on the client's connection, and what comes back.

use std::borrow::Cow;

use bytes::BytesMut;
use catalog::{Catalog, Mode};
use std::sync::Arc;
use wire::backend::{self, Fields, TransactionStatus};
use wire::build::{self, Report, TooLong};
use wire::frontend::Target;
use wire::{Header, Malformed};

use crate::host::Request;
use crate::session::{Dismissal, Ended, Hold, Out, Session, Side};
use crate::statements::SqlPrepared;

/// Name of the statement and of the portal: the client's unnamed ones survive.
const PROBE: &str = "reprieve_probe";

const ADMIN_ROLE: &str = "reprieve_admin";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// May this client use the admin port?
    Admin,
    /// What do names mean?
    Scope,
    /// May this role be shown deleted rows?
    Viewer,
    /// The schema has changed.
    Follow,
    /// A DO block names a marked table, of this oid.
    Unmark(u32),
    /// Does the transaction keep a snapshot from before the end of a table's marking?
    Outlived,
    /// A statement of SQL PREPARE means something else now.
    Prepare,
    /// SET CONSTRAINTS once more, for checks that its own message made.
    Constraints,
    /// Would the server read a text of several statements?
    Syntax,
    /// BEGIN, COMMIT and ROLLBACK around a message that is sent in parts.
    Open,
    Commit,
    Abandon,
}

/// A statement that is prepared anew.
#[derive(Debug)]
pub(crate) struct Again {
    pub name: String,
    pub older: SqlPrepared,
    pub renewed: SqlPrepared,
}

impl Purpose {
    fn sql(self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Self::Admin => {
                "SELECT pg_catalog.pg_has_role(current_user, r.oid, 'MEMBER') \
                 FROM pg_catalog.pg_roles r WHERE r.rolname OPERATOR(pg_catalog.=) 'reprieve_admin'"
            }
            Self::Scope => "SELECT reprieve.session_v1()",
            Self::Viewer => "SELECT reprieve.may_show_v1()",
            Self::Follow => "SELECT reprieve.after_ddl_v1()",
            Self::Unmark(table) => {
                return Cow::Owned(format!("SELECT reprieve.before_block_v1({table})"));
            }
            // Sent with texts of their own.
            Self::Prepare | Self::Constraints | Self::Syntax | Self::Outlived => "",
            Self::Open => "BEGIN",
            Self::Commit => "COMMIT",
            Self::Abandon => "ROLLBACK",
        })
    }
}

/// A statement of ours, sent while nothing else was outstanding.
#[derive(Debug)]
pub(crate) struct Injection {
    purpose: Purpose,
    /// Closed by a Sync of ours; otherwise by a Flush, inside the client's batch.
    synced: bool,
    value: Option<String>,
    error: Option<BytesMut>,
    /// The server has a statement of the name [`PROBE`].
    parsed: bool,
    /// CloseComplete messages that have not come yet.
    closing: u8,
    again: Option<Box<Again>>,
}

impl Session {
    pub(crate) fn inject(&mut self, purpose: Purpose, synced: bool, out: &mut Out) {
        let closes = self.close_probe(out);
        let sql = match purpose {
            Purpose::Outlived => Cow::Owned(self.outlived.question()),
            _ => purpose.sql(),
        };
        let sent = run(&mut out.to_server, sql.as_bytes());
        debug_assert!(sent.is_ok(), "messages of a known size");
        self.await_injection(purpose, synced, None, closes + 2, out);
    }

    /// Shows a text to the server, which does not run it.
    pub(crate) fn inject_text(&mut self, purpose: Purpose, text: &[u8], out: &mut Out) {
        let closes = self.close_probe(out);
        let to = &mut out.to_server;
        let sent = build::parse_raw(to, PROBE.as_bytes(), text, &[0, 0])
            .and_then(|()| build::close(to, Target::Statement, PROBE));
        debug_assert!(sent.is_ok(), "a text that came in a message");
        self.await_injection(purpose, true, None, closes + 1, out);
    }

    /// A statement of ours that failed left its name taken: the server ignored the Close. How many CloseComplete messages come for that.
    fn close_probe(&mut self, out: &mut Out) -> u8 {
        if !std::mem::take(&mut self.probe_left) {
            return 0;
        }
        let sent = build::close(&mut out.to_server, Target::Statement, PROBE);
        debug_assert!(sent.is_ok(), "a message of a known size");
        1
    }

    /// Replaces a statement of SQL PREPARE. Neither of the two is undone by a rollback.
    pub(crate) fn prepare_again(&mut self, again: Again, synced: bool, out: &mut Out) {
        let mut closes = self.close_probe(out);
        let to = &mut out.to_server;
        if !again.older.is_lost {
            let deallocate = format!("DEALLOCATE \"{}\"", again.name.replace('"', "\"\""));
            let sent = run(to, deallocate.as_bytes());
            debug_assert!(sent.is_ok(), "a name that came in a message");
            closes += 2;
        }
        let sent = run(to, &again.renewed.sent);
        debug_assert!(sent.is_ok(), "a text that came in a message");
        let again = Some(Box::new(again));
        self.await_injection(Purpose::Prepare, synced, again, closes + 2, out);
    }

    fn await_injection(
        &mut self,
        purpose: Purpose,
        synced: bool,
        again: Option<Box<Again>>,
        closing: u8,
        out: &mut Out,
    ) {
        let to = &mut out.to_server;
        let _ = if synced {
            build::sync(to)
        } else {
            build::flush(to)
        };
        self.hold = Hold::Injecting(Injection {
            purpose,
            synced,
            value: None,
            error: None,
            parsed: false,
            closing,
            again,
        });
    }

    /// A frame that came while a statement of ours runs. True if it is for the client.
    pub(crate) fn on_injected(
        &mut self,
        header: Header,
        frame: &[u8],
        out: &mut Out,
    ) -> Result<bool, Ended> {
        let body = frame.get(wire::HEADER_BYTES..).unwrap_or_default();
        let Hold::Injecting(injection) = &mut self.hold else {
            return Ok(true);
        };
        let garbled = |malformed| Ended::Violation(Side::Server, malformed);
        match header.tag {
            b'A' => return Ok(true),
            b'S' => {
                let (name, value) = backend::parameter_status(body).map_err(garbled)?;
                return Ok(self.passes_parameter(name, value));
            }
            // Words of our own functions are not for the client.
            b'1' => injection.parsed = true,
            b'2' | b'T' | b'n' | b'C' | b'N' => {}
            b'D' => {
                let columns = backend::data_row(body).map_err(garbled)?;
                let first = columns.first().copied().flatten();
                injection.value = first.map(|value| String::from_utf8_lossy(value).into_owned());
            }
            b'3' if injection.synced => {}
            b'3' => {
                // Portal and statement of each.
                if injection.is_closed() {
                    return self.injected(out).map(|()| false);
                }
            }
            b'E' => {
                let fields = Fields::read(body).map_err(garbled)?;
                if fields.is_fatal() {
                    return Ok(true);
                }
                injection.error = Some(BytesMut::from(frame));
                self.probe_left |= injection.parsed;
                if !injection.synced {
                    self.skipping = true;
                    return self.injected(out).map(|()| false);
                }
            }
            b'Z' => {
                self.status = backend::ready_for_query(body).map_err(garbled)?;
                return self.injected(out).map(|()| false);
            }
            tag => return Err(garbled(Malformed::Unexpected(tag))),
        }
        Ok(false)
    }

    /// The statement of ours is done.
    fn injected(&mut self, out: &mut Out) -> Result<(), Ended> {
        let Hold::Injecting(injection) = std::mem::replace(&mut self.hold, Hold::Free) else {
            return Ok(());
        };
        match injection.purpose {
            Purpose::Admin => self.admit_admin(injection, out),
            Purpose::Scope => self.learned(injection, out),
            Purpose::Follow => self.followed(injection, out),
            Purpose::Unmark(table) => {
                self.unmarked(injection, table, out);
                Ok(())
            }
            Purpose::Outlived => {
                self.outlived.learn(injection.value.as_deref() != Some("f"));
                if let Some(error) = injection.error {
                    self.report_failure(error, injection.synced, out);
                }
                Ok(())
            }
            Purpose::Viewer => {
                self.is_viewer = Some(injection.value.as_deref() == Some("t"));
                if let Some(error) = injection.error {
                    self.report_failure(error, injection.synced, out);
                }
                Ok(())
            }
            Purpose::Prepare => {
                self.prepared_again(injection, out);
                Ok(())
            }
            Purpose::Constraints => {
                // A check that fails is an error of the client's own SET CONSTRAINTS.
                if let Some(error) = injection.error {
                    out.to_client.unsplit(error);
                }
                self.release_ready(out);
                Ok(())
            }
            Purpose::Syntax => {
                self.syntax_checked(injection, out);
                Ok(())
            }
            Purpose::Open => {
                self.opened(injection, out);
                Ok(())
            }
            Purpose::Commit | Purpose::Abandon => {
                let commits = injection.purpose == Purpose::Commit;
                self.closed(injection, commits, out);
                Ok(())
            }
        }
    }

    /// The client's SET CONSTRAINTS again, where it reaches checks of ours now.
    fn set_constraints(&mut self, out: &mut Out) {
        let texts = std::mem::take(&mut self.changes.constraints);
        let mut closes = self.close_probe(out);
        let mut is_sent = false;
        for planned in texts.iter().filter_map(|text| self.rewritten_now(text)) {
            let sent = run(
                &mut out.to_server,
                planned.sent.as_deref().unwrap_or_default(),
            );
            debug_assert!(sent.is_ok(), "hardly longer than what came in a message");
            closes = closes.saturating_add(2);
            is_sent = true;
        }
        if is_sent {
            self.await_injection(Purpose::Constraints, true, None, closes, out);
        } else {
            self.release_ready(out);
        }
    }

    fn admit_admin(&mut self, injection: Injection, out: &mut Out) -> Result<(), Ended> {
        if injection.value.as_deref() == Some("t") {
            return self.admit(out);
        }
        let message = format!(
            "role \"{}\" is not allowed to use the admin port",
            self.startup.user
        );
        let ended = Ended::Dismissed {
            sqlstate: "42501",
            message: message.clone(),
        };
        let hint = Some("The admin port is for members of role reprieve_admin.");
        tracing::info!(
            role = ADMIN_ROLE,
            "a client of the admin port is not a member"
        );
        self.dismiss(
            Dismissal {
                sqlstate: "42501",
                message,
                hint,
                ended,
            },
            out,
        )
    }

    /// What we did for the sake of the client's next message failed: so does that message.
    fn report_failure(&mut self, error: BytesMut, synced: bool, out: &mut Out) {
        if synced {
            self.failed_probe = Some(error);
        } else {
            // The server now ignores all up to the client's next Sync: so the client reads it.
            out.to_client.unsplit(error);
        }
    }

    fn prepared_again(&mut self, injection: Injection, out: &mut Out) {
        let Some(again) = injection.again else {
            return;
        };
        match injection.error {
            Some(error) => {
                // The older one is gone, and for the client it is not.
                let older = SqlPrepared {
                    is_lost: true,
                    ..again.older
                };
                self.statements.prepare_sql(&again.name, older);
                self.report_failure(error, injection.synced, out);
            }
            None => self.statements.prepare_sql(&again.name, again.renewed),
        }
    }

    fn learned(&mut self, injection: Injection, out: &mut Out) -> Result<(), Ended> {
        if let Some(error) = injection.error {
            if self.withheld_ready {
                self.changes.constraints.clear();
                out.to_client.unsplit(error);
                self.release_ready(out);
            } else {
                self.report_failure(error, injection.synced, out);
            }
            return Ok(());
        }
        let document = injection.value.unwrap_or_default();
        if let Err(error) = self.scope.learn(&document) {
            let message =
                format!("the keeper's answer about the search path is not readable: {error}");
            let ended = Ended::Dismissed {
                sqlstate: "XX000",
                message: message.clone(),
            };
            return self.dismiss(
                Dismissal {
                    sqlstate: "XX000",
                    message,
                    hint: None,
                    ended,
                },
                out,
            );
        }
        if !self.changes.constraints.is_empty() {
            self.set_constraints(out);
        }
        Ok(())
    }

    /// The keeper has followed a schema change, or could not.
    fn followed(&mut self, injection: Injection, out: &mut Out) -> Result<(), Ended> {
        self.changes.pending = false;
        let is_open = self.status == TransactionStatus::InTransaction && injection.synced;
        let catalog = injection.value.as_deref().map(Catalog::from_json);
        match (injection.error, catalog) {
            (None, Some(Ok(catalog))) => {
                self.adopt(Arc::new(catalog));
            }
            (error, _) => {
                let reason = match &error {
                    Some(frame) => reason(frame),
                    None => "its answer is not readable".to_owned(),
                };
                tracing::warn!(%reason, "the keeper could not follow a schema change");
                // The client's own statement stands; if its transaction is lost, say why.
                if self.status == TransactionStatus::Failed {
                    warn(&reason, out);
                }
                if self.skipping
                    && let Some(error) = error
                {
                    out.to_client.unsplit(error);
                }
                // Whatever is true now, the process will find it out.
                if self.status == TransactionStatus::Idle && !self.unsynced {
                    self.ask(Request::ReloadCatalog);
                }
            }
        }
        if !is_open {
            self.changes.constraints.clear();
        }
        match self.hold {
            Hold::Free if self.changes.constraints.is_empty() => self.release_ready(out),
            // Its names are looked up by the path.
            Hold::Free => self.inject(Purpose::Scope, true, out),
            _ => {}
        }
        Ok(())
    }

    /// The keeper has ended the marking of a table for a DO block, or would not.
    fn unmarked(&mut self, injection: Injection, table: u32, out: &mut Out) {
        if let Some(error) = injection.error {
            self.report_failure(error, injection.synced, out);
            return;
        }
        match injection.value.as_deref().map(Catalog::from_json) {
            Some(Ok(catalog)) => self.adopt(Arc::new(catalog)),
            Some(Err(error)) => {
                tracing::warn!(%error, "the keeper's answer about a DO block is not readable");
                self.stays_marked = Some(table);
            }
            None => self.stays_marked = Some(table),
        }
    }

    /// A catalog that is newer than the process's, or the same.
    fn adopt(&mut self, catalog: Arc<Catalog>) {
        let is_news = match self.host.catalog() {
            crate::CatalogState::Ready(known) => known.generation() != catalog.generation(),
            _ => true,
        };
        let is_open = self.status == TransactionStatus::InTransaction || self.unsynced;
        if is_open {
            // An earlier change of the same transaction may have been undone by this one.
            if is_news || self.changes.own.is_some() || waits_for_us(&catalog) {
                self.changes.own = Some(catalog);
            }
        } else if is_news || waits_for_us(&catalog) {
            self.ask(Request::ReloadCatalog);
        }
    }
}

/// True if a new table still deletes for good: it begins to mark once the process has said that it
/// knows of it. An event trigger may have told the process before us.
pub(crate) fn waits_for_us(catalog: &Catalog) -> bool {
    catalog
        .tables()
        .any(|table| table.mode == Mode::Mark && !table.marking)
}

impl Injection {
    pub fn into_error(self) -> Option<BytesMut> {
        self.error
    }

    /// Counts CloseComplete messages: true at the last.
    fn is_closed(&mut self) -> bool {
        self.closing = self.closing.saturating_sub(1);
        self.closing == 0
    }
}

/// Runs a statement without touching the client's unnamed ones.
fn run(to: &mut BytesMut, sql: &[u8]) -> Result<(), TooLong> {
    build::parse_raw(to, PROBE.as_bytes(), sql, &[0, 0])?;
    build::bind(to, PROBE, PROBE)?;
    build::execute(to, PROBE)?;
    build::close(to, Target::Portal, PROBE)?;
    build::close(to, Target::Statement, PROBE)
}

/// Message of an ErrorResponse frame.
fn reason(frame: &[u8]) -> String {
    let fields = frame.get(wire::HEADER_BYTES..).map(Fields::read);
    match fields {
        Some(Ok(fields)) => {
            String::from_utf8_lossy(fields.get(b'M').unwrap_or_default()).into_owned()
        }
        _ => "unknown error".to_owned(),
    }
}

fn warn(reason: &str, out: &mut Out) {
    let message = format!("soft delete could not follow this schema change: {reason}");
    let report = Report {
        severity: "WARNING",
        sqlstate: "01000",
        message: &message,
        ..Report::default()
    };
    if build::notice(&mut out.to_client, &report).is_err() {
        tracing::warn!("a notice was too long to be sent");
    }
}
