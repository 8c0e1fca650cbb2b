//! Plans, shared by all sessions and bounded by bytes.

use std::sync::{Arc, OnceLock};

use catalog::Generation;
use quick_cache::sync::Cache;
use quick_cache::{Equivalent, Weighter};
use rewrite::{ClientEncoding, Effect, Plan, Refusal, Shape, Template};

use crate::scope::Path;

/// One text, read: what is sent in its place and how replies to it are translated.
#[derive(Debug)]
pub(crate) struct Planned {
    /// `None`: the client's own bytes.
    pub sent: Option<Box<[u8]>>,
    pub plan: Plan,
    /// The client's text, kept if a statement in it is PREPARE.
    pub prepares: Option<Box<[u8]>>,
    /// Fingerprint of the columns of its tables, once somebody wanted it.
    pub columns: OnceLock<u64>,
}

impl Planned {
    pub fn new(text: &[u8], plan: Plan) -> Self {
        let is_changed = !plan.edits.is_empty();
        let prepares = plan
            .statements
            .iter()
            .any(|statement| matches!(statement.effect, Effect::Prepare { .. }));
        Self {
            sent: is_changed.then(|| plan.edits.apply(text).into_boxed_slice()),
            plan,
            prepares: prepares.then(|| text.into()),
            columns: OnceLock::new(),
        }
    }

    /// A statement as the client wrote it and as it was sent, if the text was kept.
    pub fn piece(&self, index: usize) -> Option<(&[u8], Vec<u8>)> {
        let text = self.prepares.as_deref()?;
        let range = self.plan.statements.get(index)?.range.clone();
        let (mut sent, mut at) = (Vec::new(), range.start);
        let is_inside = |edit: &&rewrite::Edit| edit.start >= range.start && edit.end <= range.end;
        for edit in self.plan.edits.iter().filter(is_inside) {
            sent.extend_from_slice(text.get(at..edit.start)?);
            sent.extend_from_slice(edit.text.as_bytes());
            at = edit.end;
        }
        sent.extend_from_slice(text.get(at..range.end)?);
        Some((text.get(range)?, sent))
    }

    pub fn effect(&self, index: usize) -> &Effect {
        self.plan
            .statements
            .get(index)
            .map_or(&Effect::None, |statement| &statement.effect)
    }

    fn bytes(&self) -> usize {
        let edits: usize = self
            .plan
            .edits
            .iter()
            .map(|edit| edit.text.len() + 64)
            .sum();
        let text = |text: &Option<Box<[u8]>>| text.as_ref().map_or(0, |text| text.len());
        text(&self.sent) + text(&self.prepares) + edits + self.plan.statements.len() * 80
    }
}

pub(crate) type Verdict = Result<Arc<Planned>, Arc<Refusal>>;

/// Everything a plan depends on. The generation stands for the catalog of one database: equal
/// generations are equal contents, so databases may share the cache.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    text: Box<[u8]>,
    generation: Generation,
    path: Path,
    flags: Flags,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Flags {
    pub standard_conforming_strings: bool,
    pub encoding: ClientEncoding,
    pub admin: bool,
}

/// [`Key`] without owning the text.
#[derive(Hash)]
pub(crate) struct Question<'a> {
    pub text: &'a [u8],
    pub generation: Generation,
    pub path: &'a Path,
    pub flags: Flags,
}

impl Question<'_> {
    fn key(&self) -> Key {
        Key {
            text: self.text.into(),
            generation: self.generation,
            path: self.path.clone(),
            flags: self.flags,
        }
    }
}

impl Equivalent<Key> for Question<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        self.text == &*key.text
            && self.generation == key.generation
            && self.flags == key.flags
            && *self.path == key.path
    }
}

#[derive(Debug, Clone)]
struct Bytes;

impl Weighter<Key, Verdict> for Bytes {
    fn weight(&self, key: &Key, verdict: &Verdict) -> u64 {
        const FIXED: usize = 256;
        let verdict = match verdict {
            Ok(planned) => planned.bytes(),
            Err(refusal) => refusal.message.len(),
        };
        (FIXED + key.text.len() + verdict) as u64
    }
}

impl Weighter<Key, Shaped> for Bytes {
    fn weight(&self, key: &Key, shaped: &Shaped) -> u64 {
        const FIXED: usize = 256;
        let template = match shaped {
            Shaped::Once { first, template } => first.len() + template.bytes(),
            Shaped::Proven(template) => template.bytes(),
            Shaped::Varies => 0,
        };
        (FIXED + key.text.len() + template) as u64
    }
}

/// What is known of texts of one shape.
#[derive(Debug, Clone)]
enum Shaped {
    /// One was read. Another one must lead to the same plan before any is spared.
    Once {
        first: Box<[u8]>,
        template: Arc<Template>,
    },
    Proven(Arc<Template>),
    /// Two texts of this shape had different plans.
    Varies,
}

/// Plans by text and by shape, and everything else they depend on.
#[derive(Debug)]
pub struct PlanCache {
    plans: Cache<Key, Verdict, Bytes>,
    shapes: Cache<Key, Shaped, Bytes>,
    text_bytes_max: usize,
}

impl PlanCache {
    /// Keeps plans of at most about `bytes_max` bytes in all; the least useful ones give way.
    pub fn new(bytes_max: u64) -> Self {
        const PLAN_BYTES_USUAL: u64 = 2048;
        let items = usize::try_from(bytes_max / PLAN_BYTES_USUAL)
            .unwrap_or(usize::MAX)
            .max(16);
        Self {
            plans: Cache::with_weighter(items, bytes_max - bytes_max / 4, Bytes),
            shapes: Cache::with_weighter(items / 4, bytes_max / 4, Bytes),
            // A huge text is rarely sent twice, and would drive out hundreds of others.
            text_bytes_max: usize::try_from(bytes_max / 64).unwrap_or(usize::MAX),
        }
    }

    /// Bytes of the plans in it, about.
    pub fn bytes(&self) -> u64 {
        self.plans.weight() + self.shapes.weight()
    }

    /// The plan of a text by what is known of others of its shape. The question is about the shape's key.
    pub(crate) fn by_shape(
        &self,
        question: &Question<'_>,
        text: &[u8],
        shape: &Shape,
    ) -> Option<Plan> {
        match self.shapes.get(question)? {
            Shaped::Proven(template) => Some(template.plan(text, shape)),
            Shaped::Once { .. } | Shaped::Varies => None,
        }
    }

    /// Learns from a text that was read in full.
    pub(crate) fn learn(&self, question: &Question<'_>, text: &[u8], shape: &Shape, plan: &Plan) {
        let shaped = match self.shapes.get(question) {
            None => match Template::new(plan, text, shape, question.flags.encoding) {
                Some(template) => Shaped::Once {
                    first: text.into(),
                    template: template.into(),
                },
                None => Shaped::Varies,
            },
            Some(Shaped::Once { first, .. }) if *first == *text => return,
            Some(Shaped::Once { template, .. }) if template.plan(text, shape) == *plan => {
                Shaped::Proven(template)
            }
            Some(Shaped::Once { .. }) => Shaped::Varies,
            Some(Shaped::Proven(_) | Shaped::Varies) => return,
        };
        self.shapes.insert(question.key(), shaped);
    }

    pub(crate) fn get(&self, question: &Question<'_>) -> Option<Verdict> {
        if question.text.len() > self.text_bytes_max {
            return None;
        }
        self.plans.get(question)
    }

    pub(crate) fn keep(&self, question: &Question<'_>, verdict: &Verdict) {
        if question.text.len() > self.text_bytes_max {
            return;
        }
        self.plans.insert(question.key(), verdict.clone());
    }
}
