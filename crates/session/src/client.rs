//! What the client says.

use std::borrow::Cow;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use bytes::{Buf, BytesMut};
use rewrite::Effect;
use wire::backend::TransactionStatus;
use wire::frontend::{self, BindNames, Execute, Parse, Target};
use wire::{HEADER_BYTES, Header, Malformed, Sender, build};

use crate::betrayals::find;
use crate::cache::Planned;
use crate::judge::{Judgement, Plain, Refused};
use crate::queue::{Entry, Kind};
use crate::session::{Ended, Hold, Out, Phase, Rest, Session, Wish, pass, violation};
use crate::statements::{Prepared, Undo};
use crate::{CatalogState, Observation, refusals};

/// The two names at the head of a Bind must end within this many bytes.
const BIND_NAMES_BYTES_MAX: usize = 64 << 10;

/// What became of the message at the head of the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// It is consumed, or all of it that was there.
    Done,
    /// It is still there: more bytes are needed, or the hold must end first.
    Stay,
}

impl Session {
    pub(crate) fn read_client(&mut self, input: &mut BytesMut, out: &mut Out) -> Result<(), Ended> {
        while !input.is_empty() {
            let step = match self.phase {
                Phase::Over => {
                    input.clear();
                    Step::Done
                }
                Phase::Relaying => {
                    pass(input, input.len(), &mut out.to_server);
                    Step::Done
                }
                Phase::Authenticating => self.authenticate(input, out)?,
                Phase::Ready if !self.reads_client() => Step::Stay,
                Phase::Ready => self.client_frame(input, out)?,
            };
            if step == Step::Stay {
                break;
            }
        }
        Ok(())
    }

    /// True if a statement of at least that many bytes is whole in the input: reading it takes its time.
    pub fn has_text_of(&self, bytes: usize, input: &[u8]) -> bool {
        let mut at = match self.client_rest {
            Rest::None => 0,
            Rest::Pass(count) | Rest::Drop(count) => count,
        };
        let is_served = self.phase == Phase::Ready && !self.copy_in;
        while is_served
            && let Some(rest) = input.get(at..)
            && let Ok(Some(header)) = Header::peek(rest, Sender::Frontend)
            && header.frame() <= rest.len()
        {
            if matches!(header.tag, b'Q' | b'P') && header.frame() >= bytes {
                return true;
            }
            at += header.frame();
        }
        false
    }

    /// Passwords pass, everything else waits: a statement must not slip by unread.
    fn authenticate(&mut self, input: &mut BytesMut, out: &mut Out) -> Result<Step, Ended> {
        if self.client_rest(input, out) {
            return Ok(Step::Done);
        }
        if !matches!(self.hold, Hold::Free) {
            return Ok(Step::Stay);
        }
        let header = match Header::peek(input, Sender::Frontend) {
            Ok(Some(header)) => header,
            Ok(None) => return Ok(Step::Stay),
            Err(malformed) => return self.dismiss(violation(malformed), out).map(|()| Step::Stay),
        };
        match header.tag {
            b'p' => self.pass_client(header, input, out),
            b'X' => {
                self.pass_client(header, input, out);
                return Err(Ended::ClientLeft);
            }
            _ => {
                self.early = true;
                return Ok(Step::Stay);
            }
        }
        Ok(Step::Done)
    }

    /// Goes on with a frame that began earlier. False if there is none.
    pub(crate) fn client_rest(&mut self, input: &mut BytesMut, out: &mut Out) -> bool {
        self.client_rest = match self.client_rest {
            Rest::None => return false,
            Rest::Pass(count) => match pass(input, count, &mut out.to_server) {
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

    /// The frame at the head goes on as it is, in pieces if need be.
    fn pass_client(&mut self, header: Header, input: &mut BytesMut, out: &mut Out) {
        self.client_rest = Rest::Pass(header.frame());
        self.client_rest(input, out);
    }

    fn drop_client(&mut self, header: Header, input: &mut BytesMut, out: &mut Out) {
        self.client_rest = Rest::Drop(header.frame());
        self.client_rest(input, out);
    }

    fn client_frame(&mut self, input: &mut BytesMut, out: &mut Out) -> Result<Step, Ended> {
        if self.client_rest(input, out) {
            return Ok(Step::Done);
        }
        let header = match Header::peek(input, Sender::Frontend) {
            Ok(Some(header)) if header.tag == b'p' => {
                let malformed = Malformed::UnknownType(header.tag);
                return self
                    .dismiss_in_order(violation(malformed), out)
                    .map(|()| Step::Stay);
            }
            Ok(Some(header)) => header,
            Ok(None) => return Ok(Step::Stay),
            Err(malformed) => {
                return self
                    .dismiss_in_order(violation(malformed), out)
                    .map(|()| Step::Stay);
            }
        };
        match header.tag {
            b'X' => {
                self.pass_client(header, input, out);
                self.leaving = true;
                // The server still does, and answers, what was sent before.
                if self.is_drained() {
                    Err(Ended::ClientLeft)
                } else {
                    Ok(Step::Stay)
                }
            }
            _ if self.copy_in => self.copy_frame(header, input, out),
            b'S' => self.on_sync(header, input, out),
            _ if self.skipping => {
                self.drop_client(header, input, out);
                Ok(Step::Done)
            }
            b'H' | b'd' => {
                self.pass_client(header, input, out);
                Ok(Step::Done)
            }
            b'c' | b'f' => {
                self.queue.note_copy_end();
                self.pass_client(header, input, out);
                Ok(Step::Done)
            }
            _ => self.on_request(header, input, out),
        }
    }

    /// The server reads COPY data.
    fn copy_frame(
        &mut self,
        header: Header,
        input: &mut BytesMut,
        out: &mut Out,
    ) -> Result<Step, Ended> {
        match header.tag {
            b'd' => self.pass_client(header, input, out),
            b'c' | b'f' => {
                self.copy_in = false;
                self.pass_client(header, input, out);
            }
            // The server ignores them here. Were they sent, an error of the COPY might overtake
            // them, and nobody could tell which ReadyForQuery belongs to which Sync.
            b'S' | b'H' => self.drop_client(header, input, out),
            tag => {
                let mut why = violation(Malformed::Unexpected(tag));
                why.message = format!("unexpected message type 0x{tag:02X} during COPY from stdin");
                self.dismiss(why, out)?;
            }
        }
        Ok(Step::Done)
    }

    fn on_sync(
        &mut self,
        header: Header,
        input: &mut BytesMut,
        out: &mut Out,
    ) -> Result<Step, Ended> {
        if self.unsettled && !self.unsynced {
            self.drain(Wish::LookAgain, out)?;
            return Ok(if self.reads_client() {
                Step::Done
            } else {
                Step::Stay
            });
        }
        if self.status == TransactionStatus::Idle {
            self.scope.unwind();
        }
        self.skipping = false;
        self.unsynced = false;
        self.queue.push(Entry::new(Kind::Sync));
        self.pass_client(header, input, out);
        Ok(Step::Done)
    }

    /// Messages that make the server do something.
    fn on_request(
        &mut self,
        header: Header,
        input: &mut BytesMut,
        out: &mut Out,
    ) -> Result<Step, Ended> {
        let closes = header.tag == b'C';
        if self.unsettled && !closes {
            self.drain(Wish::LookAgain, out)?;
            // Drained at once: the message is looked at again.
            return Ok(if self.reads_client() {
                Step::Done
            } else {
                Step::Stay
            });
        }
        if let Some(error) = self.failed_probe.take() {
            return Ok(self.answer_failed_probe(header, error, input, out));
        }
        match header.tag {
            b'Q' => self.on_query(header, input, out),
            b'P' => self.on_parse(header, input, out),
            b'B' => self.on_bind(header, input, out),
            b'D' => self.on_describe(header, input, out),
            b'E' => self.on_execute(header, input, out),
            b'C' => self.on_close(header, input, out),
            _ => {
                self.host.observe(Observation::Statement);
                self.queue.push(Entry::new(Kind::Call));
                self.pass_client(header, input, out);
                Ok(Step::Done)
            }
        }
    }

    /// We asked for the client's sake, and failed: the client's message fails in the same way.
    fn answer_failed_probe(
        &mut self,
        header: Header,
        error: BytesMut,
        input: &mut BytesMut,
        out: &mut Out,
    ) -> Step {
        out.to_client.unsplit(error);
        if matches!(header.tag, b'Q' | b'F') {
            self.withheld_ready = true;
            self.release_ready(out);
        } else {
            self.skipping = true;
        }
        self.drop_client(header, input, out);
        Step::Done
    }

    pub(crate) fn on_query(
        &mut self,
        header: Header,
        input: &mut BytesMut,
        out: &mut Out,
    ) -> Result<Step, Ended> {
        let judgement = match self.readable(header, input.len()) {
            Plain::Whole => match frontend::query(&input[HEADER_BYTES..header.frame()]) {
                Ok(text) => {
                    let judgement = self.judge_and_freshen(text, out)?;
                    self.note_constraints(text, &judgement);
                    judgement
                }
                Err(malformed) => Judgement::Refused(refusals::malformed(&malformed).into()),
            },
            Plain::Unread => Judgement::Untouched(None),
            Plain::Incomplete => return Ok(Step::Stay),
            Plain::TooLong => {
                Judgement::Refused(refusals::too_long(header.body, self.statement_bytes_max).into())
            }
        };
        let entry = Entry::new(Kind::Query).before(self.sent_before());
        match judgement {
            Judgement::Wait => return Ok(Step::Stay),
            Judgement::Again => return Ok(Step::Done),
            Judgement::Refused(Refused {
                cut: Some((cut, statements)),
                ..
            }) => {
                if !self.is_drained() {
                    self.drain(Wish::LookAgain, out)?;
                    return Ok(if self.reads_client() {
                        Step::Done
                    } else {
                        Step::Stay
                    });
                }
                self.send_in_parts(&cut, statements, header, input, out)?;
                return Ok(Step::Done);
            }
            Judgement::Refused(refusal) => {
                self.host.observe(Observation::Statement);
                self.refuse(Kind::Query, refusal, header, input, out);
                return Ok(Step::Done);
            }
            Judgement::Untouched(planned) => {
                self.note_effects(planned.as_deref());
                self.queue.push(entry.planned(planned));
                self.pass_client(header, input, out);
            }
            Judgement::Changed(planned) => {
                if !self.send_changed(&planned, build::query, out) {
                    let refusal = refusals::too_long(header.body, self.statement_bytes_max);
                    self.refuse(Kind::Query, refusal, header, input, out);
                    return Ok(Step::Done);
                }
                self.note_effects(Some(&planned));
                self.queue.push(entry.planned(Some(planned)));
                self.drop_client(header, input, out);
            }
        }
        self.unsynced = false;
        self.statements.forget_unnamed();
        self.host.observe(Observation::Statement);
        Ok(Step::Done)
    }

    fn on_parse(
        &mut self,
        header: Header,
        input: &mut BytesMut,
        out: &mut Out,
    ) -> Result<Step, Ended> {
        let readable = self.readable(header, input.len());
        let body = match readable {
            Plain::Whole => &input[HEADER_BYTES..header.frame()],
            Plain::Unread | Plain::TooLong => b"\0\0\0\0".as_slice(),
            Plain::Incomplete => return Ok(Step::Stay),
        };
        let parse = match Parse::read(body) {
            Ok(parse) => parse,
            Err(malformed) => {
                self.refuse(
                    Kind::Parse,
                    refusals::malformed(&malformed),
                    header,
                    input,
                    out,
                );
                return Ok(Step::Done);
            }
        };
        let judgement = match readable {
            Plain::Whole if !self.statements.has_room_for(body.len()) => {
                Judgement::Refused(refusals::too_many_statements().into())
            }
            Plain::Whole => self.judge_and_freshen(parse.text, out)?,
            Plain::TooLong => {
                Judgement::Refused(refusals::too_long(header.body, self.statement_bytes_max).into())
            }
            Plain::Unread | Plain::Incomplete => Judgement::Untouched(None),
        };
        let planned = match judgement {
            Judgement::Wait => return Ok(Step::Stay),
            Judgement::Again => return Ok(Step::Done),
            Judgement::Refused(refusal) => {
                self.host.observe(Observation::Statement);
                self.refuse(Kind::Parse, refusal, header, input, out);
                return Ok(Step::Done);
            }
            Judgement::Untouched(planned) => planned,
            Judgement::Changed(planned) => Some(planned),
        };
        let entry = Entry::new(Kind::Parse);
        if readable == Plain::Whole {
            let prepared = self.prepared(parse.text, parse.types, planned.clone());
            let undo = self.statements.set(parse.name, Some(Arc::new(prepared)));
            let types = self.meant_types(parse.types);
            let sent = planned
                .as_deref()
                .and_then(|planned| planned.sent.as_deref());
            let retyped = matches!(types, Cow::Owned(_)).then_some(parse.text);
            if let Some(text) = sent.or(retyped) {
                let sent = build::parse_raw(&mut out.to_server, parse.name, text, &types);
                if sent.is_err() {
                    self.statements.undo(undo);
                    let refusal = refusals::too_long(header.body, self.statement_bytes_max);
                    self.refuse(Kind::Parse, refusal, header, input, out);
                    return Ok(Step::Done);
                }
                self.count(planned.as_deref());
                self.drop_client(header, input, out);
            } else {
                self.pass_client(header, input, out);
            }
            self.queue.push(entry.planned(planned).undo(undo));
        } else {
            self.queue.push(entry);
            self.pass_client(header, input, out);
        }
        self.unsynced = true;
        self.host.observe(Observation::Statement);
        Ok(Step::Done)
    }

    fn on_bind(
        &mut self,
        header: Header,
        input: &mut BytesMut,
        out: &mut Out,
    ) -> Result<Step, Ended> {
        let there = header.frame().min(input.len());
        let names = match BindNames::read(&input[HEADER_BYTES..there]) {
            Ok(names) => names,
            Err(_) if there < header.frame() && there < BIND_NAMES_BYTES_MAX => {
                return Ok(Step::Stay);
            }
            Err(malformed) => {
                self.refuse(
                    Kind::Bind,
                    refusals::malformed(&malformed),
                    header,
                    input,
                    out,
                );
                return Ok(Step::Done);
            }
        };
        if !self.statements.has_room_for(names.portal.len()) {
            self.refuse(
                Kind::Bind,
                refusals::too_many_statements(),
                header,
                input,
                out,
            );
            return Ok(Step::Done);
        }
        match self.freshen(names.statement, out)? {
            Judgement::Wait => return Ok(Step::Stay),
            Judgement::Again => return Ok(Step::Done),
            Judgement::Refused(refusal) => {
                self.refuse(Kind::Bind, refusal, header, input, out);
                return Ok(Step::Done);
            }
            Judgement::Untouched(_) | Judgement::Changed(_) => {}
        }
        self.statements.open(names.portal, names.statement);
        let planned = self.statements.portal(names.portal).planned;
        self.queue.push(Entry::new(Kind::Bind).planned(planned));
        self.unsynced = true;
        self.pass_client(header, input, out);
        Ok(Step::Done)
    }

    fn on_describe(
        &mut self,
        header: Header,
        input: &mut BytesMut,
        out: &mut Out,
    ) -> Result<Step, Ended> {
        if input.len() < header.frame() {
            return Ok(Step::Stay);
        }
        let planned = match frontend::target(&input[HEADER_BYTES..header.frame()]) {
            Ok((Target::Portal, name)) => self.statements.portal(name).planned,
            Ok((Target::Statement, name)) => match self.freshen(name, out)? {
                Judgement::Wait => return Ok(Step::Stay),
                Judgement::Again => return Ok(Step::Done),
                Judgement::Refused(refusal) => {
                    self.refuse(Kind::Describe, refusal, header, input, out);
                    return Ok(Step::Done);
                }
                Judgement::Untouched(planned) => planned,
                Judgement::Changed(planned) => Some(planned),
            },
            Err(malformed) => {
                let subtype = input.get(HEADER_BYTES).copied();
                let refusal = refusals::malformed_target("DESCRIBE", &malformed, subtype);
                self.refuse(Kind::Describe, refusal, header, input, out);
                return Ok(Step::Done);
            }
        };
        self.queue.push(Entry::new(Kind::Describe).planned(planned));
        self.unsynced = true;
        self.pass_client(header, input, out);
        Ok(Step::Done)
    }

    fn on_execute(
        &mut self,
        header: Header,
        input: &mut BytesMut,
        out: &mut Out,
    ) -> Result<Step, Ended> {
        if input.len() < header.frame() {
            return Ok(Step::Stay);
        }
        let portal = match Execute::read(&input[HEADER_BYTES..header.frame()]) {
            Ok(execute) => {
                let portal = self.statements.portal(execute.portal);
                self.statements.executed(execute.portal);
                portal
            }
            Err(malformed) => {
                self.refuse(
                    Kind::Execute,
                    refusals::malformed(&malformed),
                    header,
                    input,
                    out,
                );
                return Ok(Step::Done);
            }
        };
        if let Some(Effect::Execute { name }) = portal.planned.as_ref().map(|p| p.effect(0)) {
            match self.freshen_sql(name.as_bytes(), out)? {
                Judgement::Wait => return Ok(Step::Stay),
                Judgement::Again => return Ok(Step::Done),
                Judgement::Refused(refusal) => {
                    self.refuse(Kind::Execute, refusal, header, input, out);
                    return Ok(Step::Done);
                }
                Judgement::Untouched(_) | Judgement::Changed(_) => {}
            }
        }
        self.note_effects(portal.planned.as_deref());
        let mut entry = Entry::new(Kind::Execute).planned(portal.planned);
        entry.reply = portal.reply;
        self.queue.push(entry);
        self.unsynced = true;
        self.pass_client(header, input, out);
        Ok(Step::Done)
    }

    fn on_close(
        &mut self,
        header: Header,
        input: &mut BytesMut,
        out: &mut Out,
    ) -> Result<Step, Ended> {
        if input.len() < header.frame() {
            return Ok(Step::Stay);
        }
        let mut entry = Entry::new(Kind::Close);
        match frontend::target(&input[HEADER_BYTES..header.frame()]) {
            Ok((Target::Portal, name)) => self.statements.close(name),
            Ok((Target::Statement, name)) => entry.undo = Some(self.statements.set(name, None)),
            Err(malformed) => {
                let subtype = input.get(HEADER_BYTES).copied();
                let refusal = refusals::malformed_target("CLOSE", &malformed, subtype);
                self.refuse(Kind::Close, refusal, header, input, out);
                return Ok(Step::Done);
            }
        }
        self.queue.push(entry);
        self.unsynced = true;
        self.pass_client(header, input, out);
        Ok(Step::Done)
    }

    /// Is the statement of that name still what the client meant? If its plan is out of date and a
    /// new one differs, it is parsed again under its name.
    fn freshen(&mut self, name: &[u8], out: &mut Out) -> Result<Judgement, Ended> {
        if let Some(prepared) = self.statements.get(name)
            && prepared.is_unsure
        {
            if self.is_drained() {
                let sure = Arc::new(prepared.sure());
                self.statements.set(name, Some(sure));
            } else if !self.unsynced {
                // What failed behind an earlier Sync does not keep the server from what comes now.
                return self.wait_for(Wish::LookAgain, out);
            }
        }
        // In a failed transaction it cannot run, nor could it be parsed again once it was closed.
        let fails = self.status == TransactionStatus::Failed && self.is_drained();
        let prepared = match self.statements.get(name) {
            None => return Ok(Judgement::Untouched(None)),
            Some(prepared) if (fails && !prepared.is_lost) || self.is_fresh(prepared) => {
                return Ok(Judgement::Untouched(prepared.planned.clone()));
            }
            Some(prepared) => Arc::clone(prepared),
        };
        let Some(text) = prepared.text.as_deref() else {
            return Ok(Judgement::Untouched(None));
        };
        let planned = match self.judge(text, out)? {
            Judgement::Untouched(planned) => planned,
            Judgement::Changed(planned) => Some(planned),
            other => return Ok(other),
        };
        let sent = |planned: &Option<Arc<Planned>>| {
            planned.as_ref().and_then(|planned| planned.sent.clone())
        };
        let (old, new) = (sent(&prepared.planned), sent(&planned));
        let mut renewed = self.prepared(text, &prepared.types, planned.clone());
        renewed.is_unsure = old != new || prepared.is_lost;
        if old != new && renewed.shape_differs(&prepared) {
            return Ok(Judgement::Refused(refusals::result_type_changed().into()));
        }
        let undo = self.statements.set(name, Some(Arc::new(renewed)));
        if old != new || prepared.is_lost {
            let new = new.as_deref().unwrap_or(text);
            let types = self.meant_types(&prepared.types);
            let to = &mut out.to_server;
            if build::close_raw(to, Target::Statement, name).is_err()
                || build::parse_raw(to, name, new, &types).is_err()
            {
                return Ok(Judgement::Refused(
                    refusals::too_long(new.len(), self.statement_bytes_max).into(),
                ));
            }
            self.queue.push(Entry::new(Kind::Close).ours().undo(undo));
            // Once the old one is closed, nothing is left at the server should the new one fail.
            let gone = Undo {
                name: name.into(),
                previous: Some(Arc::new(prepared.lost())),
            };
            self.queue.push(
                Entry::new(Kind::Parse)
                    .ours()
                    .planned(planned.clone())
                    .undo(gone),
            );
            self.unsynced = true;
        }
        Ok(Judgement::Untouched(planned))
    }

    /// A fingerprint of the columns that the client sees in the tables named in a text.
    fn columns_named_in(&self, text: &[u8]) -> u64 {
        let CatalogState::Ready(catalog) = self.catalog() else {
            return 0;
        };
        let lower = text.to_ascii_lowercase();
        let is_named = |name: &str| find(&lower, name.to_ascii_lowercase().as_bytes()).is_some();
        let mut sum = 0u64;
        for table in catalog.tables().filter(|table| is_named(&table.name)) {
            let mut hasher = DefaultHasher::new();
            table.oid.hash(&mut hasher);
            table
                .visible_columns()
                .for_each(|column| column.name.hash(&mut hasher));
            // The tables come in no order.
            sum = sum.wrapping_add(hasher.finish());
        }
        sum
    }

    /// [`Session::columns_named_in`], once per plan: a catalog may have thousands of tables.
    fn columns_of(&self, planned: &Planned, text: &[u8]) -> u64 {
        if planned.plan.statements.len() > 1 {
            return self.columns_named_in(text);
        }
        *planned.columns.get_or_init(|| self.columns_named_in(text))
    }

    pub(crate) fn prepared(
        &self,
        text: &[u8],
        types: &[u8],
        planned: Option<Arc<Planned>>,
    ) -> Prepared {
        let depends = planned
            .as_ref()
            .is_some_and(|planned| planned.plan.depends_on_scope);
        Prepared {
            text: Some(text.into()),
            types: types.into(),
            generation: self.generation(),
            // They count where a `*` stands for them: see `shape_differs`.
            columns: match &planned {
                Some(planned) if depends && text.contains(&b'*') => self.columns_of(planned, text),
                _ => 0,
            },
            scope: depends.then(|| self.scope.version()),
            planned,
            is_lost: false,
            is_unsure: false,
        }
    }
}
