//! What a text is for us: its plan, a refusal, or nothing. The one place that asks the rewriter.

use std::sync::Arc;

use catalog::Catalog;
use rewrite::{Effect, Refusal, Reply, Scanned, Scope, Shape, Statement};

use crate::cache::{Flags, Planned, Question, Verdict};
use crate::judge::Attempt;
use crate::scope::Path;
use crate::{Host, Observation, refusals};

/// Refusals of the rewriter by their numbers.
const UNSAFE_ENCODING: &str = "R9";
const BEHIND_CHANGE: &str = "R12";

/// One text under one catalog.
pub(crate) struct Reading<'t> {
    pub text: &'t [u8],
    pub flags: Flags,
    pub scanned: Scanned<'t>,
}

/// What the cache says of a text, unread.
#[derive(Debug)]
pub(crate) enum Known {
    Planned(Arc<Planned>),
    /// It must be read all the same.
    Unread,
    /// Nothing: it need not be asked again.
    New,
}

/// The plan from the cache, if the text does not go on behind the end of a transaction.
pub(crate) fn known(
    text: &[u8],
    catalog: &Catalog,
    path: &Path,
    flags: Flags,
    host: &dyn Host,
) -> Known {
    let question = Question {
        text,
        generation: catalog.generation(),
        path,
        flags,
    };
    match host.plans().get(&question) {
        None => Known::New,
        Some(Err(_)) => Known::Unread,
        Some(Ok(planned)) if is_cut_perhaps(&planned.plan.statements) => Known::Unread,
        Some(Ok(planned)) => {
            host.observe(Observation::PlanCacheHit);
            Known::Planned(planned)
        }
    }
}

/// True for texts of several statements that may have to be sent in parts.
fn is_cut_perhaps(statements: &[Statement]) -> bool {
    let defines = |statement: &Statement| statement.effect == Effect::Ddl;
    ends_transaction_within(statements) || statements.len() > 1 && statements.iter().any(defines)
}

fn ends_transaction_within(statements: &[Statement]) -> bool {
    let before_last = statements.len().saturating_sub(1);
    statements
        .iter()
        .take(before_last)
        .any(|statement| matches!(statement.effect, Effect::End | Effect::RollbackTo))
}

impl<'t> Reading<'t> {
    pub fn new(text: &'t [u8], catalog: &Catalog, flags: Flags) -> Self {
        let Flags {
            standard_conforming_strings,
            encoding,
            admin: _,
        } = flags;
        let scanned = rewrite::scan(text, catalog, standard_conforming_strings, encoding);
        Self {
            text,
            flags,
            scanned,
        }
    }

    /// The client's own bytes. `None` if nothing in them has an effect that must be followed.
    pub fn untouched(&self, catalog: &Catalog) -> Option<Arc<Planned>> {
        let is_plain =
            self.scanned.statements().iter().all(|statement| {
                statement.effect == Effect::None && statement.reply == Reply::AsIs
            });
        (!is_plain).then(|| {
            let plan = self.scanned.untouched(catalog);
            Arc::new(Planned::new(self.text, plan))
        })
    }

    /// True if a transaction, or part of it, ends in front of the text's last statement.
    pub fn ends_transaction_within(&self) -> bool {
        ends_transaction_within(self.scanned.statements())
    }

    /// The statement behind the last SET TRANSACTION with which the text begins, among other settings: a transaction that was
    /// asked anything takes none any more.
    pub fn behind_characteristics(&self) -> Option<usize> {
        let statements = self.scanned.statements();
        let sets = |statement: &Statement| {
            let text = self.text.get(statement.range.clone()).unwrap_or_default();
            let begins = |word: &[u8]| {
                text.get(..word.len())
                    .is_some_and(|start| start.eq_ignore_ascii_case(word))
            };
            let names = text
                .windows(11)
                .any(|part| part.eq_ignore_ascii_case(b"transaction"));
            begins(b"set").then_some(names)
        };
        let settings = statements.iter().map_while(sets).collect::<Vec<_>>();
        let last = settings.iter().rposition(|names| *names)?;
        (last + 1 < statements.len()).then_some(last + 1)
    }

    /// The statement behind the first one that ends a transaction.
    pub fn behind_transaction_end(&self) -> Option<usize> {
        let statements = self.scanned.statements();
        let ends =
            |statement: &Statement| matches!(statement.effect, Effect::End | Effect::RollbackTo);
        statements.iter().position(ends).map(|index| index + 1)
    }

    /// The statement that was refused because an earlier one may change what its names mean.
    pub fn behind_change(&self, refusal: &Refusal) -> Option<usize> {
        let offset = refusal.offset.filter(|_| refusal.code == BEHIND_CHANGE)?;
        self.scanned
            .statements()
            .iter()
            .rposition(|statement| statement.range.start <= offset)
    }

    /// What the server is asked before a statement of this text is refused. `None`: the text cannot
    /// be cut into statements as the server does, or nobody knows which one it is.
    pub fn attempt(&self, refusal: &Refusal) -> Option<Attempt> {
        if refusal.code == UNSAFE_ENCODING {
            return None;
        }
        let statements = self.scanned.statements();
        if statements.len() <= 1 {
            return Some(Attempt {
                range: 0..self.text.len(),
                names_differ: false,
            });
        }
        let offset = refusal.offset?;
        let index = statements
            .iter()
            .rposition(|statement| statement.range.start <= offset)?;
        let end = statements
            .get(index + 1)
            .map_or(self.text.len(), |next| next.range.start);
        let changes_names = |effect: &Effect| match effect {
            Effect::None | Effect::Begin => false,
            Effect::End
            | Effect::RollbackTo
            | Effect::Settings
            | Effect::Ddl
            | Effect::Prepare { .. }
            | Effect::Execute { .. }
            | Effect::Deallocate { .. } => true,
        };
        Some(Attempt {
            range: statements[index].range.start..end,
            names_differ: refusal.code == BEHIND_CHANGE
                || statements[..index]
                    .iter()
                    .any(|statement| changes_names(&statement.effect)),
        })
    }

    /// The plan, from the cache where one is; by `is_new` there is none by the text.
    pub fn plan(&self, catalog: &Catalog, path: &Path, is_new: bool, host: &dyn Host) -> Verdict {
        let question = Question {
            text: self.text,
            generation: catalog.generation(),
            path,
            flags: self.flags,
        };
        if let Some(verdict) = (!is_new).then(|| host.plans().get(&question)).flatten() {
            host.observe(Observation::PlanCacheHit);
            return verdict;
        }
        let shape = Shape::of(&self.scanned);
        let about_shape = shape.as_ref().map(|shape| Question {
            text: shape.key(),
            ..question
        });
        if let (Some(shape), Some(question)) = (&shape, &about_shape)
            && let Some(plan) = host.plans().by_shape(question, self.text, shape)
        {
            host.observe(Observation::PlanCacheShapeHit);
            return Ok(Arc::new(Planned::new(self.text, plan)));
        }
        host.observe(Observation::PlanCacheMiss);
        let scope = Scope {
            catalog,
            search_path: path,
            standard_conforming_strings: self.flags.standard_conforming_strings,
            encoding: self.flags.encoding,
        };
        let verdict = match self.scanned.plan(&scope) {
            Ok(plan) if plan.edits.has_conflict() => Err(refusals::conflict()),
            Ok(plan) => {
                if let (Some(shape), Some(question)) = (&shape, &about_shape) {
                    host.plans().learn(question, self.text, shape, &plan);
                }
                Ok(Arc::new(Planned::new(self.text, plan)))
            }
            Err(refusal) => Err(Arc::new(refusal)),
        };
        host.plans().keep(&question, &verdict);
        verdict
    }
}
