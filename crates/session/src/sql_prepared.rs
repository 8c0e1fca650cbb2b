//! PREPARE and EXECUTE as SQL: what was prepared under another catalog or search path is prepared
//! anew before it is executed.

use std::sync::Arc;

use rewrite::{ClientEncoding, Effect, Reply};
use wire::backend::TransactionStatus;

use crate::betrayals::find;
use crate::cache::Planned;
use crate::inject::Again;
use crate::judge::Judgement;
use crate::refusals;
use crate::session::{Ended, Out, Session, Wish};
use crate::statements::SqlPrepared;

impl Session {
    /// The statement of that number was PREPARE, and was done.
    pub(crate) fn prepared_by_sql(
        &mut self,
        name: &str,
        reply: Reply,
        planned: &Arc<Planned>,
        index: usize,
    ) {
        let Some((text, sent)) = planned.piece(index) else {
            return;
        };
        if !self.statements.has_room_for(text.len() + sent.len()) && reply == Reply::AsIs {
            return;
        }
        let new = SqlPrepared {
            prepared: Arc::new(self.prepared(text, &[], Some(Arc::clone(planned)))),
            sent: sent.into_boxed_slice(),
            reply,
            is_lost: false,
        };
        self.statements.prepare_sql(name, new);
    }

    /// [`Session::judge`], and whatever the text may EXECUTE is up to date.
    pub(crate) fn judge_and_freshen(
        &mut self,
        text: &[u8],
        out: &mut Out,
    ) -> Result<Judgement, Ended> {
        let judgement = self.judge(text, out)?;
        let planned = match &judgement {
            Judgement::Untouched(planned) => planned.clone(),
            Judgement::Changed(planned) => Some(Arc::clone(planned)),
            Judgement::Refused(_) | Judgement::Wait | Judgement::Again => return Ok(judgement),
        };
        if self.statements.names().next().is_none() {
            return Ok(judgement);
        }
        let lower = text.to_ascii_lowercase();
        if find(&lower, b"execute").is_none() {
            return Ok(judgement);
        }
        let is_meant = |name: &&[u8]| find(&lower, &name.to_ascii_lowercase()).is_some();
        let names: Vec<Box<[u8]>> = self
            .statements
            .names()
            .filter(is_meant)
            .filter(|name| !is_set_by(planned.as_deref(), name))
            .map(Into::into)
            .collect();
        for name in names {
            match self.freshen_sql(&name, out)? {
                Judgement::Untouched(_) | Judgement::Changed(_) => {}
                other => return Ok(other),
            }
        }
        Ok(judgement)
    }

    /// Is the statement that EXECUTE of this name runs still what the client meant?
    pub(crate) fn freshen_sql(&mut self, name: &[u8], out: &mut Out) -> Result<Judgement, Ended> {
        let sql = self.statements.sql(name).cloned();
        let known = match &sql {
            Some(sql) => Some(&sql.prepared),
            None => self.statements.get(name),
        };
        let fine = Ok(Judgement::Untouched(None));
        let is_lost = sql.as_ref().is_some_and(|sql| sql.is_lost);
        let Some(prepared) = known
            .filter(|known| is_lost || !self.is_fresh(known))
            .cloned()
        else {
            return fine;
        };
        // In a failed transaction it cannot run.
        let Some(text) = prepared
            .text
            .as_deref()
            .filter(|_| self.status != TransactionStatus::Failed)
        else {
            return fine;
        };
        let planned = match self.judge(text, out)? {
            Judgement::Untouched(planned) => planned,
            Judgement::Changed(planned) => Some(planned),
            other => return Ok(other),
        };
        let new = planned.as_deref().and_then(|new| new.sent.as_deref());
        let Some(sql) = sql else {
            let old = prepared.planned.as_deref();
            let is_same = old.and_then(|old| old.sent.as_deref()) == new;
            return Ok(if is_same {
                Judgement::Untouched(None)
            } else {
                Judgement::Refused(refusals::result_type_changed().into())
            });
        };
        let new: Box<[u8]> = new.unwrap_or(text).into();
        let renewed = self.prepared(text, &[], planned.clone());
        let is_same = new == sql.sent && !is_lost;
        let Some(name) = std::str::from_utf8(name)
            .ok()
            .filter(|name| name.is_ascii() || self.scope.encoding == ClientEncoding::Utf8)
            .filter(|_| is_same || !renewed.shape_differs(&prepared))
        else {
            return Ok(Judgement::Refused(refusals::result_type_changed().into()));
        };
        let renewed = SqlPrepared {
            reply: planned.map_or(sql.reply, |planned| reply_of(&planned)),
            prepared: Arc::new(renewed),
            sent: new,
            is_lost: false,
        };
        if is_same {
            self.statements.prepare_sql(name, renewed);
            return fine;
        }
        if !self.is_drained() {
            return self.wait_for(Wish::LookAgain, out);
        }
        let again = Again {
            name: name.to_owned(),
            older: sql,
            renewed,
        };
        self.prepare_again(again, !self.unsynced, out);
        Ok(Judgement::Wait)
    }
}

fn reply_of(planned: &Planned) -> Reply {
    match planned.effect(0) {
        Effect::Prepare { reply, .. } => *reply,
        _ => Reply::AsIs,
    }
}

/// True if the text itself prepares or deallocates that name.
fn is_set_by(planned: Option<&Planned>, name: &[u8]) -> bool {
    planned.is_some_and(|planned| {
        planned
            .plan
            .statements
            .iter()
            .any(|statement| match &statement.effect {
                Effect::Prepare { name: set, .. } => set.as_bytes() == name,
                Effect::Deallocate { name: None } => true,
                Effect::Deallocate { name: Some(set) } => set.as_bytes() == name,
                _ => false,
            })
    })
}
