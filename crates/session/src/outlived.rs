//! Transactions that are older than the end of a table's marking. Above READ COMMITTED their snapshot still shows the rows that were
//! deleted before, and there is no column left that tells.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::sync::Arc;

use catalog::{Catalog, Table};
use rewrite::Effect;
use wire::backend::TransactionStatus;

use crate::cache::Flags;
use crate::judge::Judgement;
use crate::reading::Reading;
use crate::session::{Ended, Out, Session, Wish};
use crate::{Port, refusals};

/// What an open transaction may have outlived.
#[derive(Debug, Default)]
pub(crate) struct Outlived {
    /// The catalog as the transaction began. `None` outside of one.
    began: Option<Arc<Catalog>>,
    /// Tables that were marked then, and are not any more.
    ended: Vec<Arc<Table>>,
    /// Whether its snapshot may be from before that, if the server was asked.
    is_old: Option<bool>,
}

impl Outlived {
    /// What the server is asked: dropped tables show nothing any more.
    pub fn question(&self) -> String {
        let mut sql = String::from(
            "SELECT pg_catalog.current_setting('transaction_isolation') OPERATOR(pg_catalog.~) '^(repeatable|serializable)' \
             AND EXISTS (SELECT FROM pg_catalog.unnest('{",
        );
        for (place, table) in self.ended.iter().enumerate() {
            let _ = write!(sql, "{}{}", if place == 0 { "" } else { "," }, table.oid);
        }
        sql.push_str(
            "}'::pg_catalog.oid[]) AS t(oid) WHERE pg_catalog.pg_relation_filenode(t.oid::pg_catalog.regclass) IS NOT NULL)",
        );
        sql
    }

    pub fn learn(&mut self, is_old: bool) {
        self.is_old = Some(is_old);
    }
}

impl Session {
    /// The server is ready for the next message.
    pub(crate) fn note_transaction(&mut self) {
        match self.status {
            TransactionStatus::Idle if self.outlived.began.is_some() => {
                self.outlived = Outlived::default();
            }
            TransactionStatus::Idle => {}
            _ if self.outlived.began.is_none() => {
                if let crate::CatalogState::Ready(catalog) = self.host.catalog() {
                    self.outlived.began = Some(catalog);
                }
            }
            _ => {}
        }
    }

    /// A statement of a transaction whose snapshot may show deleted rows of a table that is not marked any more. `None` for all others.
    pub(crate) fn judge_age(
        &mut self,
        text: &[u8],
        catalog: &Arc<Catalog>,
        flags: Flags,
        out: &mut Out,
    ) -> Result<Option<Judgement>, Ended> {
        let Some(began) = &self.outlived.began else {
            return Ok(None);
        };
        if began.generation() == catalog.generation()
            || self.port == Port::Admin
            || self.status != TransactionStatus::InTransaction
            // What the transaction ends itself it does not see.
            || self.changes.may_be_undone()
        {
            return Ok(None);
        }
        let reads = |effect: &Effect| {
            !matches!(
                effect,
                Effect::Begin | Effect::End | Effect::RollbackTo | Effect::Settings
            )
        };
        let reading = Reading::new(text, catalog, flags);
        let mut statements = reading.scanned.statements().iter();
        if !statements.any(|statement| reads(&statement.effect)) {
            return Ok(None);
        }
        let ended = marking_ended(began, catalog);
        let Some(first) = ended.first().cloned() else {
            self.outlived.began = Some(Arc::clone(catalog));
            return Ok(None);
        };
        match self.outlived.is_old.take() {
            Some(true) => Ok(Some(Judgement::Refused(
                refusals::outlived(&first.name).into(),
            ))),
            Some(false) => {
                self.outlived.began = Some(Arc::clone(catalog));
                Ok(None)
            }
            None => {
                self.outlived.ended = ended;
                self.wait_for(Wish::LearnOutlived, out).map(Some)
            }
        }
    }
}

/// Tables that are marked in the first and not in the second.
fn marking_ended(began: &Catalog, now: &Catalog) -> Vec<Arc<Table>> {
    let veiled = now.tables().filter(|table| table.is_veiled());
    let marked: HashSet<u32> = veiled.map(|table| table.oid).collect();
    began
        .tables()
        .filter(|table| table.is_veiled() && !marked.contains(&table.oid))
        .map(Arc::clone)
        .collect()
}
