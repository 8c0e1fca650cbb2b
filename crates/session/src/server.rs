//! What the server says.

use std::sync::Arc;

use bytes::{Buf, BytesMut};
use rewrite::{Effect, Reply};
use wire::backend::{self, Authentication, Fields, TransactionStatus};
use wire::{HEADER_BYTES, Header, Malformed, Sender, build};

use crate::cache::Planned;
use crate::inject::{Purpose, waits_for_us};
use crate::queue::{Entry, Kind};
use crate::refuse::{self, Outcome};
use crate::session::{Ended, Hold, Out, Phase, Rest, Session, Side, pass};
use crate::{CatalogState, Port, Request, betrayals, failing_row, row_types};

/// Messages that must be read are kept up to this size; longer ones pass unread. Errors may quote a
/// whole statement in their context.
const READ_BYTES_MAX: usize = 4 << 20;

/// A catalog document may be that long.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// What becomes of a frame of the server.
#[derive(Debug)]
enum Fate {
    Pass,
    Drop,
    /// The client reads this in its place.
    Replaced(BytesMut),
}

fn garbled(malformed: Malformed) -> Ended {
    Ended::Violation(Side::Server, malformed)
}

impl Session {
    pub(crate) fn read_server(&mut self, input: &mut BytesMut, out: &mut Out) -> Result<(), Ended> {
        while !input.is_empty() {
            match self.phase {
                Phase::Over => input.clear(),
                Phase::Relaying => {
                    pass(input, input.len(), &mut out.to_client);
                }
                Phase::Authenticating | Phase::Ready => {
                    if !self.server_frames(input, out)? {
                        break;
                    }
                }
            }
        }
        if self.is_drained() {
            self.on_drained(out)?;
            self.advance_parts(out)?;
            if self.leaving && !self.is_injecting() {
                return Err(Ended::ClientLeft);
            }
        }
        Ok(())
    }

    /// Reads frames as long as they pass as they are, and moves them at once. False if the frame
    /// at the head is not there as a whole.
    fn server_frames(&mut self, input: &mut BytesMut, out: &mut Out) -> Result<bool, Ended> {
        if self.server_rest(input, out) {
            return Ok(true);
        }
        let mut run = 0;
        while matches!(self.phase, Phase::Authenticating | Phase::Ready) {
            let Some(header) = Header::peek(&input[run..], Sender::Backend).map_err(garbled)?
            else {
                break;
            };
            let there = input.len() - run;
            // Rows are most of what comes, and nobody looks at them.
            if header.tag == b'D' && there >= header.frame() && !self.is_injecting() {
                run += header.frame();
                continue;
            }
            let is_read = self.reads_whole(header);
            if is_read && there < header.frame() {
                break;
            }
            let frame = &input[run..run + header.frame().min(there)];
            let fate = if is_read {
                // Replies of our own go out behind what came before them.
                if run > 0 && self.may_speak(header) {
                    break;
                }
                self.read_frame(header, frame, out)?
            } else {
                self.note_frame(header)?
            };
            match fate {
                Fate::Pass if there >= header.frame() => run += header.frame(),
                Fate::Pass => {
                    let missing = pass(input, run + header.frame(), &mut out.to_client);
                    self.server_rest = Rest::Pass(missing);
                    return Ok(true);
                }
                Fate::Drop => {
                    pass(input, run, &mut out.to_client);
                    self.server_rest = Rest::Drop(header.frame());
                    self.server_rest(input, out);
                    return Ok(true);
                }
                Fate::Replaced(frame) => {
                    pass(input, run, &mut out.to_client);
                    out.to_client.unsplit(frame);
                    input.advance(header.frame());
                    return Ok(true);
                }
            }
        }
        if run == 0 {
            return Ok(!matches!(self.phase, Phase::Authenticating | Phase::Ready));
        }
        pass(input, run, &mut out.to_client);
        Ok(true)
    }

    /// Goes on with a frame that began earlier. False if there is none.
    fn server_rest(&mut self, input: &mut BytesMut, out: &mut Out) -> bool {
        self.server_rest = match self.server_rest {
            Rest::None => return false,
            Rest::Pass(count) => match pass(input, count, &mut out.to_client) {
                0 => Rest::None,
                missing => Rest::Pass(missing),
            },
            Rest::Drop(count) => {
                let now = count.min(input.len());
                input.advance(now);
                match count - now {
                    0 => Rest::None,
                    missing => Rest::Drop(missing),
                }
            }
        };
        true
    }

    fn is_injecting(&self) -> bool {
        matches!(self.hold, Hold::Injecting(_))
    }

    /// True if the frame must be there as a whole before anything is decided.
    fn reads_whole(&self, header: Header) -> bool {
        if self.is_injecting() {
            return header.body <= ANSWER_BYTES_MAX;
        }
        match header.tag {
            b'C' | b'Z' | b'R' => true,
            b'E' | b'N' | b'S' => header.body <= READ_BYTES_MAX,
            b'T' | b't' => self.names_row_types && header.body <= READ_BYTES_MAX,
            _ => false,
        }
    }

    /// True if reading the frame may append to `to_client` by itself.
    fn may_speak(&self, header: Header) -> bool {
        self.is_injecting() || header.tag == b'Z'
    }

    /// A frame that passes unread: only its type counts.
    fn note_frame(&mut self, header: Header) -> Result<Fate, Ended> {
        if self.phase == Phase::Authenticating {
            return Ok(Fate::Pass);
        }
        // Rows, COPY data, notifications.
        if let b'D' | b'd' | b'A' | b'N' | b'S' = header.tag {
            return Ok(Fate::Pass);
        }
        let head = self.queue.head().map(|entry| entry.kind);
        match (header.tag, head) {
            (b'T', Some(Kind::Query | Kind::Execute)) => Ok(Fate::Pass),
            (b'c' | b'H', Some(Kind::Query | Kind::Execute)) => Ok(Fate::Pass),
            (b't', Some(Kind::Describe)) | (b'V', Some(Kind::Call)) => Ok(Fate::Pass),
            (b'1', Some(Kind::Parse))
            | (b'2', Some(Kind::Bind))
            | (b'3', Some(Kind::Close))
            | (b'T' | b'n', Some(Kind::Describe))
            | (b's', Some(Kind::Execute)) => Ok(self.pop()),
            (b'I', Some(Kind::Execute)) => Ok(self.pop()),
            (b'I', Some(Kind::Query)) => {
                self.mark_answered();
                Ok(Fate::Pass)
            }
            (b'G' | b'W', Some(Kind::Query | Kind::Execute)) => {
                self.copy_in = self.queue.begin_copy_in();
                self.release_drain();
                Ok(Fate::Pass)
            }
            // Too long to be read.
            (b'E', _) => {
                self.fail_head();
                Ok(Fate::Pass)
            }
            _ => Err(garbled(Malformed::Unexpected(header.tag))),
        }
    }

    /// COPY data of the client is needed now: waiting for replies would be waiting for ever.
    fn release_drain(&mut self) {
        if self.copy_in && matches!(self.hold, Hold::Draining(_)) {
            self.hold = Hold::Free;
        }
    }

    fn pop(&mut self) -> Fate {
        match self.queue.pop() {
            Some(entry) if entry.ours => Fate::Drop,
            _ => Fate::Pass,
        }
    }

    fn mark_answered(&mut self) {
        if let Some(entry) = self.queue.head() {
            entry.answered = true;
        }
    }

    fn read_frame(&mut self, header: Header, frame: &[u8], out: &mut Out) -> Result<Fate, Ended> {
        let body = &frame[HEADER_BYTES..];
        if self.is_injecting() {
            let is_clients = self.on_injected(header, frame, out)?;
            return Ok(if is_clients { Fate::Pass } else { Fate::Drop });
        }
        match header.tag {
            b'S' => {
                let (name, value) = backend::parameter_status(body).map_err(garbled)?;
                let passes = self.passes_parameter(name, value);
                Ok(if passes { Fate::Pass } else { Fate::Drop })
            }
            b'Z' if self.phase == Phase::Authenticating => {
                self.status = backend::ready_for_query(body).map_err(garbled)?;
                self.on_accepted(out)?;
                Ok(Fate::Drop)
            }
            b'Z' => self.on_ready(body, out),
            b'R' if self.phase == Phase::Authenticating => self.on_authentication(body),
            b'R' => Err(garbled(Malformed::Unexpected(header.tag))),
            _ if self.phase == Phase::Authenticating => Ok(Fate::Pass),
            b'C' => self.on_complete(body),
            b'E' => self.on_error(body),
            b'T' | b't' => self.on_description(header, frame),
            _ => self.on_notice(body),
        }
    }

    fn on_authentication(&self, body: &[u8]) -> Result<Fate, Ended> {
        let Authentication::Sasl(list) = Authentication::read(body).map_err(garbled)? else {
            return Ok(Fate::Pass);
        };
        if !self.strip_channel_binding {
            return Ok(Fate::Pass);
        }
        // The channel that the server would bind to is ours, not the client's.
        let mechanisms = backend::sasl_mechanisms(list).map_err(garbled)?;
        let mut frame = BytesMut::new();
        let built = build::frame(&mut frame, b'R', |to| {
            to.extend_from_slice(&10i32.to_be_bytes());
            for mechanism in mechanisms.iter().filter(|name| !name.ends_with(b"-PLUS")) {
                to.extend_from_slice(mechanism);
                to.extend_from_slice(b"\0");
            }
            to.extend_from_slice(b"\0");
        });
        Ok(if built.is_ok() {
            Fate::Replaced(frame)
        } else {
            Fate::Pass
        })
    }

    fn on_complete(&mut self, body: &[u8]) -> Result<Fate, Ended> {
        let tag = backend::command_tag(body).map_err(garbled)?;
        let Some(head) = self.queue.head() else {
            return Err(garbled(Malformed::Unexpected(b'C')));
        };
        head.answered = true;
        let index = head.statement;
        head.statement += 1;
        let (kind, planned, mut reply) = (head.kind, head.planned.clone(), head.reply);
        match kind {
            Kind::Execute => {
                self.copy_in = false;
                self.queue.pop();
            }
            Kind::Query => self.copy_in = false,
            _ => return Err(garbled(Malformed::Unexpected(b'C'))),
        }
        if let Some((planned, statement)) = planned
            .as_ref()
            .and_then(|planned| Some((planned, planned.plan.statements.get(index)?)))
        {
            if statement.reply != Reply::AsIs {
                reply = statement.reply;
            }
            if let Effect::Execute { name } = &statement.effect {
                reply = self.statements.reply_of(name.as_bytes());
            }
            self.completed(planned, index, tag);
        }
        let rows = tag
            .strip_prefix(b"UPDATE ")
            .filter(|_| reply == Reply::Delete);
        let is_kept = kind == Kind::Query && self.keeps_complete(index + 1);
        if rows.is_none() && !is_kept {
            return Ok(Fate::Pass);
        }
        // Drivers compare the tag to count lost updates.
        let shown = rows.map(|rows| [b"DELETE ", rows].concat());
        let mut frame = BytesMut::new();
        let built = build::command_complete(&mut frame, shown.as_deref().unwrap_or(tag));
        Ok(match built {
            Ok(()) if is_kept => {
                self.keep_complete(frame);
                Fate::Drop
            }
            Ok(()) => Fate::Replaced(frame),
            Err(_) => Fate::Pass,
        })
    }

    /// A statement was done.
    fn completed(&mut self, planned: &Arc<Planned>, index: usize, tag: &[u8]) {
        match planned.effect(index) {
            Effect::None | Effect::Begin | Effect::Execute { .. } => {}
            Effect::End => {
                self.changes.rolled_back = tag == b"ROLLBACK";
                self.changes.committed |= tag == b"COMMIT" && self.changes.may_be_undone();
            }
            Effect::RollbackTo => self.changes.pending |= self.changes.own.is_some(),
            Effect::Settings if tag == b"DISCARD ALL" => self.statements.deallocate(None),
            Effect::Settings => {}
            Effect::Ddl => self.changes.pending = true,
            Effect::Prepare { name, reply } => self.prepared_by_sql(name, *reply, planned, index),
            Effect::Deallocate { name } => self.statements.deallocate(name.as_deref()),
        }
    }

    fn on_error(&mut self, body: &[u8]) -> Result<Fate, Ended> {
        let mut fields = Fields::read(body).map_err(garbled)?;
        if fields.is_fatal() {
            return Ok(Fate::Pass);
        }
        let changed = match self.queue.head() {
            Some(entry) if entry.refusal.is_some() => {
                let outcome = refuse::conclude(entry, &mut fields);
                if let (Outcome::Refused, Some(refusal)) = (outcome, &entry.refusal) {
                    self.host.refused(refusal);
                }
                outcome != Outcome::Servers
            }
            Some(_) => self.translate(&mut fields),
            None => false,
        };
        let before = self.queue.head().map_or(0, |entry| entry.before);
        let changed = shift_position(&mut fields, before) || changed;
        self.fail_head();
        if !changed {
            return Ok(Fate::Pass);
        }
        let mut frame = BytesMut::new();
        let built = build::fields(&mut frame, b'E', &fields);
        Ok(if built.is_ok() {
            Fate::Replaced(frame)
        } else {
            Fate::Pass
        })
    }

    fn on_notice(&mut self, body: &[u8]) -> Result<Fate, Ended> {
        let mut fields = Fields::read(body).map_err(garbled)?;
        if self.port == Port::App
            && self.is_installed()
            && (betrayals::tells_of_triggers(&fields) || betrayals::tells_of_index(&fields))
        {
            return Ok(Fate::Drop);
        }
        if !self.translate(&mut fields) {
            return Ok(Fate::Pass);
        }
        let mut frame = BytesMut::new();
        let built = build::fields(&mut frame, b'N', &fields);
        Ok(if built.is_ok() {
            Fate::Replaced(frame)
        } else {
            Fate::Pass
        })
    }

    /// Columns and parameters have the types that the client knows.
    fn on_description(&mut self, header: Header, frame: &[u8]) -> Result<Fate, Ended> {
        let shown = match self.catalog() {
            CatalogState::Ready(catalog) => row_types::shown(frame, &catalog).map_err(garbled)?,
            _ => None,
        };
        Ok(match (self.note_frame(header)?, shown) {
            (Fate::Pass, Some(frame)) => Fate::Replaced(frame),
            (fate, _) => fate,
        })
    }

    /// Makes a message of the server one about the client's own text. False if it is already.
    pub(crate) fn translate(&mut self, fields: &mut Fields<'_>) -> bool {
        if !self.is_installed() {
            return false;
        }
        let before = fields.clone();
        if self.port == Port::App {
            betrayals::drop_context(fields);
            if let CatalogState::Ready(catalog) = self.catalog() {
                failing_row::hide_columns(fields, &catalog);
                row_types::name_tables(fields, &catalog, self.scope.known().map(|path| &**path));
                failing_row::forget_line(fields, &catalog);
            }
        }
        let head = self
            .queue
            .head()
            .map(|head| (head.planned.clone(), head.statement, head.reply));
        if let Some((planned, index, mut reply)) = head {
            if let Some(planned) = &planned {
                original_position(planned, fields);
                if planned.plan.depends_on_scope && self.port == Port::App {
                    betrayals::drop_hint(fields);
                }
                if let Some(statement) = planned.plan.statements.get(index) {
                    reply = statement.reply;
                }
                if let Effect::Execute { name } = planned.effect(index) {
                    reply = self.statements.reply_of(name.as_bytes());
                }
            }
            betrayals::hide(fields, reply, before.get(b'W').is_some());
        }
        *fields != before
    }

    /// The message at the head has failed.
    fn fail_head(&mut self) {
        self.copy_in = false;
        self.fail_parts();
        let Some(head) = self.queue.head() else {
            return;
        };
        head.answered = true;
        let kind = head.kind;
        if !kind.is_extended() {
            return;
        }
        if let Some(undo) = head.undo.take() {
            // A client's Parse drops the unnamed statement before it reads its text. One that we could not parse again is the client's still.
            let is_unnamed_parse = kind == Kind::Parse && undo.name.is_empty() && !head.ours;
            if is_unnamed_parse {
                self.statements.set(b"", None);
            } else {
                self.statements.undo(undo);
            }
        }
        self.queue.pop();
        let (skipped, found) = self.queue.skip_to_sync();
        for undo in skipped.into_iter().filter_map(|entry: Entry| entry.undo) {
            self.statements.undo(undo);
        }
        self.skipping = !found;
    }

    fn on_ready(&mut self, body: &[u8], out: &mut Out) -> Result<Fate, Ended> {
        let status = backend::ready_for_query(body).map_err(garbled)?;
        // A Sync that reached the server in a COPY that had just failed has a reply of its own,
        // which nobody counted on: it is passed on, and nothing is concluded from it.
        let is_expected = match self.queue.head() {
            Some(entry) => entry.kind == Kind::Sync || entry.answered || entry.kind == Kind::Call,
            None => false,
        };
        self.status = status;
        self.note_transaction();
        if !is_expected {
            return Ok(Fate::Pass);
        }
        self.queue.pop();
        self.copy_in = false;
        if status == TransactionStatus::Idle {
            self.scope.settle();
            self.statements.close_all_if(self.queue.is_empty());
        }
        if self.parts.is_some() && !self.has_waiting_parts() && self.end_parts(out) {
            return Ok(Fate::Drop);
        }
        if !self.changes.are_none()
            && self.is_installed()
            && self.queue.is_empty()
            && self.after_ready(out)
        {
            return Ok(Fate::Drop);
        }
        if self.has_waiting_parts() {
            return Ok(Fate::Drop);
        }
        self.parameters.release(&mut out.to_client);
        Ok(Fate::Pass)
    }

    /// A ParameterStatus. True if the client reads it now.
    pub(crate) fn passes_parameter(&mut self, name: &[u8], value: &[u8]) -> bool {
        self.scope.on_parameter(name, value);
        let passes = self.parts.is_none();
        if passes {
            self.parameters.tell(name, value);
        } else {
            self.parameters.hold(name, value);
        }
        passes
    }

    /// Follows schema changes before the client hears that they are done. True if it has to wait.
    pub(crate) fn after_ready(&mut self, out: &mut Out) -> bool {
        let rolled_back = std::mem::take(&mut self.changes.rolled_back);
        let is_over = self.status == TransactionStatus::Idle;
        let committed = is_over && std::mem::take(&mut self.changes.committed);
        // What the keeper followed since then may be gone again.
        self.changes.pending |= committed && rolled_back;
        if self.status != TransactionStatus::InTransaction {
            self.changes.constraints.clear();
        }
        if self.status == TransactionStatus::Failed {
            return false;
        }
        if self.changes.pending {
            if self.status == TransactionStatus::Idle && rolled_back && !committed {
                self.changes.pending = false;
                self.changes.own = None;
                return false;
            }
            // What was followed inside a transaction that is over is asked for anew.
            if self.status == TransactionStatus::Idle {
                self.changes.own = None;
            }
            self.withheld_ready = true;
            self.unsettled = false;
            self.inject(Purpose::Follow, true, out);
            return true;
        }
        if self.status != TransactionStatus::Idle {
            return false;
        }
        let Some(own) = self.changes.own.take().filter(|_| !rolled_back) else {
            return false;
        };
        let is_known = match self.host.catalog() {
            CatalogState::Ready(known) => known.generation() == own.generation(),
            _ => false,
        };
        if is_known && !waits_for_us(&own) {
            return false;
        }
        self.withheld_ready = true;
        self.ask(Request::ReloadCatalog);
        true
    }
}

/// A position in a part of the client's text becomes one in the whole. False if there is nothing to change.
fn shift_position(fields: &mut Fields<'_>, before: usize) -> bool {
    let position = fields
        .get(b'P')
        .and_then(|text| std::str::from_utf8(text).ok()?.parse::<usize>().ok());
    match position {
        Some(position) if before > 0 => {
            fields.set(b'P', (position + before).to_string().into_bytes());
            true
        }
        _ => false,
    }
}

fn original_position(planned: &Planned, fields: &mut Fields<'_>) {
    if planned.sent.is_none() {
        return;
    }
    let position = fields
        .get(b'P')
        .and_then(|text| std::str::from_utf8(text).ok()?.parse().ok());
    if let Some(original) = position.and_then(|sent| planned.plan.edits.original_position(sent)) {
        fields.set(b'P', original.to_string().into_bytes());
    }
}
