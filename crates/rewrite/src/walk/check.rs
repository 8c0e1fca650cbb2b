//! A second opinion: the relations of the syntax tree, held against those of the outline.

use std::ops::ControlFlow;

use sqlparser::ast::{ObjectName, Statement, Visit, Visitor};

use crate::lex::Tokens;

/// The first token at which the syntax tree names a relation that may be one of ours and the
/// outline saw none: then one of the two is wrong.
pub(crate) fn unseen(
    parsed: &Statement,
    tokens: &Tokens<'_>,
    seen: &[usize],
    is_ours: impl Fn(&str) -> bool,
) -> Option<usize> {
    let mut relations = Relations::default();
    let _: ControlFlow<()> = parsed.visit(&mut relations);
    relations
        .found
        .into_iter()
        .filter(|token| !seen.contains(token))
        .find(|&token| tokens.identifier(token).is_some_and(|name| is_ours(&name)))
}

/// Token indexes of the last parts of relations' names.
#[derive(Default)]
struct Relations {
    found: Vec<usize>,
}

impl Visitor for Relations {
    type Break = ();

    fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<()> {
        let last = relation.0.last().and_then(|part| part.as_ident());
        if let Some(column) = last.map(|ident| ident.span.start.column)
            && let Some(token) = usize::try_from(column)
                .ok()
                .and_then(|column| column.checked_sub(1))
        {
            self.found.push(token);
        }
        ControlFlow::Continue(())
    }
}
