//! What to do with a statement of the client.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use bytes::BytesMut;
use catalog::{Catalog, Generation};
use rewrite::admin::{self, Translation, Verb};
use rewrite::{Effect, Refusal, Reply};
use wire::Header;
use wire::backend::TransactionStatus;
use wire::build::TooLong;

use crate::cache::{Flags, Planned};
use crate::parts;
use crate::reading::{self, Known, Reading};
use crate::session::{Ended, Out, Session, Wish};
use crate::statements::Prepared;
use crate::{
    CatalogState, LocalRows, LocalShow, Observation, Port, Request, refusals, row_types, settings,
    texts,
};

/// The session's decision about one text.
#[derive(Debug)]
pub(crate) enum Judgement {
    /// Send the client's own bytes. With a plan: follow its effects, translate its replies.
    Untouched(Option<Arc<Planned>>),
    /// Send `planned.sent`.
    Changed(Arc<Planned>),
    Refused(Refused),
    /// Something must be known first: a hold is set.
    Wait,
    /// It is known already: look at the message again.
    Again,
}

/// Why a message is not sent, and what is sent in its place.
#[derive(Debug)]
pub(crate) struct Refused {
    pub refusal: Arc<Refusal>,
    /// The server is asked first whether it would take the statement at all.
    pub attempt: Option<Attempt>,
    /// A Query need not be refused, if it is sent in two parts, and of how many statements it is.
    pub cut: Option<(Cut, usize)>,
}

/// A statement that the server parses and analyses, but does not run, before we refuse it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Attempt {
    /// Bytes of the client's text.
    pub range: Range<usize>,
    /// Earlier statements of the text change what its names mean: only its syntax is judged.
    pub names_differ: bool,
}

/// Where a Query of several statements can be cut, so that what is refused can be read by what is known then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cut {
    /// Byte at which the rest begins.
    pub at: usize,
    /// Its first statement.
    pub index: usize,
    /// BEGIN and COMMIT of ours must be put around the whole.
    pub wraps: bool,
}

impl From<Arc<Refusal>> for Refused {
    fn from(refusal: Arc<Refusal>) -> Self {
        Self {
            refusal,
            attempt: None,
            cut: None,
        }
    }
}

/// Can the text of a message be read?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Plain {
    Whole,
    /// Nothing of it could concern us: send it as it comes.
    Unread,
    Incomplete,
    TooLong,
}

impl Session {
    pub(crate) fn readable(&self, header: Header, there: usize) -> Plain {
        if header.body > self.statement_bytes_max {
            return match self.catalog() {
                CatalogState::NotInstalled => Plain::Unread,
                CatalogState::Ready(catalog) if catalog.is_transparent() => Plain::Unread,
                _ => Plain::TooLong,
            };
        }
        if there < header.frame() {
            Plain::Incomplete
        } else {
            Plain::Whole
        }
    }

    /// The catalog that holds for the next statement.
    pub(crate) fn catalog(&self) -> CatalogState {
        match (self.host.catalog(), &self.changes.own) {
            (CatalogState::Unavailable(why), _) => CatalogState::Unavailable(why),
            (_, Some(own)) => CatalogState::Ready(Arc::clone(own)),
            (newest, None) => newest,
        }
    }

    pub(crate) fn generation(&self) -> Generation {
        match self.catalog() {
            CatalogState::Ready(catalog) => catalog.generation(),
            _ => Generation::default(),
        }
    }

    pub(crate) fn is_fresh(&self, prepared: &Prepared) -> bool {
        if prepared.is_lost {
            return false;
        }
        // Without a catalog nothing is known to be fresh.
        let generation = match self.catalog() {
            CatalogState::Ready(catalog) => catalog.generation(),
            CatalogState::NotInstalled => Generation::default(),
            CatalogState::Loading | CatalogState::Unavailable(_) => return false,
        };
        prepared.generation == generation
            && prepared.scope.is_none_or(|version| {
                self.scope.known().is_some() && self.scope.version() == version
            })
    }

    pub(crate) fn judge(&mut self, text: &[u8], out: &mut Out) -> Result<Judgement, Ended> {
        let judgement = self.judge_text(text, out)?;
        if let Judgement::Changed(planned) = &judgement {
            self.names_row_types |= planned.plan.names_row_types;
        }
        Ok(judgement)
    }

    fn judge_text(&mut self, text: &[u8], out: &mut Out) -> Result<Judgement, Ended> {
        let catalog = match self.catalog() {
            CatalogState::NotInstalled => {
                // Nothing is read, so nothing is known should a keeper be installed later.
                self.scope.disturb();
                return Ok(Judgement::Untouched(None));
            }
            CatalogState::Ready(catalog) => catalog,
            CatalogState::Unavailable(why) => {
                return Ok(Judgement::Refused(
                    refusals::catalog_unavailable(&why).into(),
                ));
            }
            CatalogState::Loading => {
                self.ask(Request::AwaitCatalog);
                return Ok(Judgement::Wait);
            }
        };
        let flags = Flags {
            standard_conforming_strings: self.scope.standard_conforming_strings,
            encoding: self.scope.encoding,
            admin: self.port == Port::Admin,
        };
        if let Some(judgement) = self.judge_age(text, &catalog, flags, out)? {
            return Ok(judgement);
        }
        let is_new = match self.planned_before(text, &catalog, flags) {
            Known::Planned(planned) => {
                return Ok(match planned.sent {
                    Some(_) => Judgement::Changed(planned),
                    None => Judgement::Untouched(Some(planned)),
                });
            }
            Known::Unread => false,
            Known::New => true,
        };
        let reading = Reading::new(text, &catalog, flags);
        if let Some(refused) = self.forged_setting(&reading) {
            return Ok(Judgement::Refused(refused));
        }
        // What is sure of one text is not of another that differs in its literals.
        let runs_text =
            self.port == Port::App && !catalog.is_transparent() && texts::may_call(text);
        if runs_text && let Some(refused) = Self::runs_unseen(&reading, &catalog) {
            return Ok(Judgement::Refused(refused));
        }
        if let Some(offset) = self.turns_triggers_off(&reading, &catalog) {
            let refusal = refusals::without_triggers(offset);
            return Ok(Judgement::Refused(Refused {
                attempt: reading.attempt(&refusal),
                refusal,
                cut: None,
            }));
        }
        if let Some(offset) = self.shows_deleted(&reading) {
            match self.is_viewer {
                Some(true) => {}
                Some(false) => {
                    let refusal = refusals::no_viewer(offset);
                    return Ok(Judgement::Refused(Refused {
                        attempt: reading.attempt(&refusal),
                        refusal,
                        cut: None,
                    }));
                }
                None => return self.wait_for(Wish::LearnViewer, out),
            }
        }
        match self.port {
            Port::Admin => self.judge_admin(&reading, &catalog, out),
            Port::App if !reading.scanned.concerns_us() => {
                Ok(Judgement::Untouched(reading.untouched(&catalog)))
            }
            Port::App => self.judge_ours(&reading, &catalog, is_new && !runs_text, out),
        }
    }

    /// The keeper's own settings are not a client's to set.
    fn forged_setting(&self, reading: &Reading<'_>) -> Option<Refused> {
        if self.port == Port::Admin {
            return None;
        }
        let strings = reading.flags.standard_conforming_strings;
        let named = settings::forbidden(reading.text, reading.scanned.statements(), strings)?;
        let refusal = refusals::forged_setting(&named.name, named.offset);
        Some(Refused {
            attempt: reading.attempt(&refusal),
            refusal,
            cut: None,
        })
    }

    /// A function is given text to run that may name a marked table.
    fn runs_unseen(reading: &Reading<'_>, catalog: &Catalog) -> Option<Refused> {
        let strings = reading.flags.standard_conforming_strings;
        let statements = reading.scanned.statements();
        let call = texts::reads_unseen(reading.text, statements, strings, catalog)?;
        let refusal = refusals::runs_text(&call.name, call.offset);
        Some(Refused {
            attempt: reading.attempt(&refusal),
            refusal,
            cut: None,
        })
    }

    /// Where the text turns off the triggers without which deletes are neither kept nor hidden.
    fn turns_triggers_off(&self, reading: &Reading<'_>, catalog: &Catalog) -> Option<usize> {
        if self.port == Port::Admin || catalog.is_transparent() {
            return None;
        }
        let strings = reading.flags.standard_conforming_strings;
        settings::turns_triggers_off(reading.text, reading.scanned.statements(), strings)
    }

    /// Where the text begins to show deleted rows. The server asks again wherever that has an effect.
    fn shows_deleted(&self, reading: &Reading<'_>) -> Option<usize> {
        if self.port == Port::Admin || self.status == TransactionStatus::Failed {
            return None;
        }
        let strings = reading.flags.standard_conforming_strings;
        settings::shows_deleted(reading.text, reading.scanned.statements(), strings)
    }

    /// The plan of a text that was seen before, without reading it again.
    fn planned_before(&self, text: &[u8], catalog: &Catalog, flags: Flags) -> Known {
        let is_plain = self.port == Port::App && self.status != TransactionStatus::Failed;
        match self.scope.known() {
            Some(path) if is_plain && catalog.cloaks() => {
                reading::known(text, catalog, path, flags, &*self.host)
            }
            _ => Known::Unread,
        }
    }

    /// A text that names a marked table, or a system relation in which things of ours stand.
    fn judge_ours(
        &mut self,
        reading: &Reading<'_>,
        catalog: &Arc<Catalog>,
        is_new: bool,
        out: &mut Out,
    ) -> Result<Judgement, Ended> {
        let is_failed = self.status == TransactionStatus::Failed;
        if is_failed && !self.is_drained() {
            return self.wait_for(Wish::LookAgain, out);
        }
        if let Some((index, refusal)) = reading.scanned.behind_definition()
            && let Some(cut) = self.cut(reading, Some(index))
        {
            return Ok(Judgement::Refused(Refused {
                attempt: reading.attempt(&refusal),
                refusal: Arc::new(refusal),
                cut: Some(cut),
            }));
        }
        let goes_on = reading.ends_transaction_within();
        // Behind the end of a transaction names may mean something else than now, and in a failed
        // one nobody can be asked.
        let is_unknown = is_failed && self.scope.known().is_none();
        if goes_on && (is_unknown || self.scope.is_touched() || self.changes.may_be_undone()) {
            if !reading.scanned.must_be_read() {
                return Ok(Judgement::Untouched(reading.untouched(catalog)));
            }
            return Ok(Judgement::Refused(Refused {
                cut: self.cut(reading, reading.behind_transaction_end()),
                ..refusals::behind_transaction_end().into()
            }));
        }
        if is_failed && !goes_on {
            // It cannot run: the server answers 25P02, as it should.
            return Ok(Judgement::Untouched(reading.untouched(catalog)));
        }
        let Some(path) = self.scope.known().cloned() else {
            let is_open = self.status == TransactionStatus::InTransaction;
            if let Some(cut) = self.cut(
                reading,
                reading.behind_characteristics().filter(|_| is_open),
            ) {
                return Ok(Judgement::Refused(Refused {
                    cut: Some(cut),
                    ..refusals::behind_transaction_end().into()
                }));
            }
            return self.wait_for(Wish::LearnScope, out);
        };
        let verdict = reading.plan(catalog, &path, is_new, &*self.host);
        if let Err(refusal) = &verdict
            && let Some(table) = refusal.unmark
            && self.stays_marked.take() != Some(table)
            && !is_failed
        {
            return self.wait_for(Wish::Unmark(table), out);
        }
        Ok(match verdict {
            Err(refusal) => Judgement::Refused(Refused {
                attempt: reading.attempt(&refusal),
                cut: self.cut(reading, reading.behind_change(&refusal)),
                refusal,
            }),
            Ok(planned) if planned.sent.is_some() => Judgement::Changed(planned),
            Ok(planned) => Judgement::Untouched(Some(planned)),
        })
    }

    /// Where a text may be cut in front of its statement `wanted`, or of an earlier one.
    fn cut(&self, reading: &Reading<'_>, wanted: Option<usize>) -> Option<(Cut, usize)> {
        let cut = parts::cut(reading, wanted?, self.status).filter(|_| !self.unsynced)?;
        Some((cut, reading.scanned.statements().len()))
    }

    pub(crate) fn wait_for(&mut self, wish: Wish, out: &mut Out) -> Result<Judgement, Ended> {
        self.drain(wish, out)?;
        Ok(if self.reads_client() {
            Judgement::Again
        } else {
            Judgement::Wait
        })
    }

    /// False if the changed text is longer than a message may be: nothing was sent.
    pub(crate) fn send_changed(
        &mut self,
        planned: &Planned,
        build: impl FnOnce(&mut BytesMut, &[u8]) -> Result<(), TooLong>,
        out: &mut Out,
    ) -> bool {
        let Some(text) = planned.sent.as_deref() else {
            return false;
        };
        if build(&mut out.to_server, text).is_err() {
            return false;
        }
        self.count(Some(planned));
        true
    }

    pub(crate) fn count(&self, planned: Option<&Planned>) {
        let Some(planned) = planned.filter(|planned| planned.sent.is_some()) else {
            return;
        };
        self.host.observe(Observation::Rewritten);
        let is_delete = |reply: Reply| match reply {
            Reply::Delete | Reply::Messages => true,
            Reply::AsIs => false,
        };
        if planned
            .plan
            .statements
            .iter()
            .any(|statement| is_delete(statement.reply))
        {
            self.host.observe(Observation::Delete);
        }
    }

    /// The parameter types that a client declares, as the server shall read them.
    pub(crate) fn meant_types<'t>(&mut self, types: &'t [u8]) -> Cow<'t, [u8]> {
        const NONE_BYTES: usize = 2;
        if types.len() <= NONE_BYTES {
            return Cow::Borrowed(types);
        }
        let CatalogState::Ready(catalog) = self.catalog() else {
            return Cow::Borrowed(types);
        };
        match row_types::meant(types, &catalog).filter(|_| self.port == Port::App) {
            Some(meant) => {
                self.names_row_types = true;
                Cow::Owned(meant)
            }
            None => Cow::Borrowed(types),
        }
    }

    /// A message is about to be sent: which constraints does it set behind its DDL?
    pub(crate) fn note_constraints(&mut self, text: &[u8], judgement: &Judgement) {
        let planned = match judgement {
            Judgement::Untouched(Some(planned)) | Judgement::Changed(planned) => planned,
            Judgement::Untouched(None)
            | Judgement::Refused(_)
            | Judgement::Wait
            | Judgement::Again => return,
        };
        let strings = self.scope.standard_conforming_strings;
        let behind_ddl = planned
            .plan
            .statements
            .iter()
            .skip_while(|statement| statement.effect != Effect::Ddl)
            .filter_map(|statement| text.get(statement.range.clone()))
            .filter(|statement| settings::sets_constraints(statement, strings))
            .map(Into::into);
        self.changes.constraints.extend(behind_ddl);
    }

    /// The same statement by what is known now; `None` if it stays as it is.
    pub(crate) fn rewritten_now(&self, text: &[u8]) -> Option<Arc<Planned>> {
        let (CatalogState::Ready(catalog), Some(path)) = (self.catalog(), self.scope.known())
        else {
            return None;
        };
        let flags = Flags {
            standard_conforming_strings: self.scope.standard_conforming_strings,
            encoding: self.scope.encoding,
            admin: false,
        };
        let planned = Reading::new(text, &catalog, flags).plan(&catalog, path, false, &*self.host);
        planned.ok().filter(|planned| planned.sent.is_some())
    }

    /// Statements are about to run: what they may change is unknown from here on.
    pub(crate) fn note_effects(&mut self, planned: Option<&Planned>) {
        let Some(planned) = planned else {
            return;
        };
        for statement in &planned.plan.statements {
            match statement.effect {
                Effect::None | Effect::Begin | Effect::Execute { .. } => {}
                Effect::End => self.scope.unwind(),
                Effect::RollbackTo => {
                    self.scope.unwind();
                    self.unsettled |= self.changes.own.is_some();
                }
                Effect::Settings | Effect::Ddl => {
                    self.is_viewer = None;
                    self.scope.disturb();
                    self.unsettled = true;
                }
                Effect::Prepare { .. } | Effect::Deallocate { .. } => self.unsettled = true,
            }
        }
    }
}

impl Session {
    /// The veil is lifted: verbs become calls, everything else passes.
    fn judge_admin(
        &mut self,
        reading: &Reading<'_>,
        catalog: &Arc<Catalog>,
        out: &mut Out,
    ) -> Result<Judgement, Ended> {
        let known = self.scope.known().cloned();
        let path = known.clone().unwrap_or_default();
        let translations = admin::translate(&reading.scanned, catalog, &path);
        if matches!(&translations, Ok(verbs) if verbs.is_empty()) {
            return Ok(Judgement::Untouched(reading.untouched(catalog)));
        }
        if self.status == TransactionStatus::Failed {
            if !self.is_drained() {
                return self.wait_for(Wish::LookAgain, out);
            }
            // What is sent in its place fails as any statement does here (25P02).
            return Ok(Judgement::Refused(refusals::conflict().into()));
        }
        // A table in a verb is found by this session's path.
        if known.is_none() {
            return self.wait_for(Wish::LearnScope, out);
        }
        let planned = translations.and_then(|verbs| self.verbs_as_sql(reading, catalog, &verbs));
        Ok(match planned {
            Ok(planned) => Judgement::Changed(Arc::new(planned)),
            Err(refusal) => Judgement::Refused(Arc::new(refusal).into()),
        })
    }

    fn verbs_as_sql(
        &self,
        reading: &Reading<'_>,
        catalog: &Catalog,
        verbs: &[Translation],
    ) -> Result<Planned, Refusal> {
        let edits = admin::edits(reading.text, verbs, |show| {
            let LocalRows { columns, rows } = self.host.local_rows(local(show));
            admin::rows_as_sql("reprieve", &columns, &rows)
        })?;
        let mut plan = reading.scanned.untouched(catalog);
        for statement in &mut plan.statements {
            let verb = verbs.iter().find(|verb| verb.range == statement.range);
            if verb.is_some_and(|verb| changes_catalog(&verb.verb)) {
                statement.effect = Effect::Ddl;
            }
        }
        plan.edits = edits;
        Ok(Planned::new(reading.text, plan))
    }
}

/// ENABLE and DISABLE: the catalog is another one behind them.
fn changes_catalog(verb: &Verb) -> bool {
    match verb {
        Verb::Keeper(sql) => {
            sql.contains("reprieve.enable_v1(") || sql.contains("reprieve.disable_v1(")
        }
        Verb::Local(_) => false,
    }
}

fn local(show: admin::LocalShow) -> LocalShow {
    match show {
        admin::LocalShow::Clients => LocalShow::Clients,
        admin::LocalShow::Stats => LocalShow::Stats,
        admin::LocalShow::Version => LocalShow::Version,
        admin::LocalShow::Help => LocalShow::Help,
    }
}
