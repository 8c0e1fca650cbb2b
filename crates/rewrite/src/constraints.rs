//! `SET CONSTRAINTS name, ...`: deferred checks of ours change with the foreign key that they belong to.

use catalog::quote_identifier;

use crate::lex::{TokenKind, Tokens};
use crate::{Edits, Scope};

/// Behind each name of a foreign key, the names of our constraint triggers. `tokens` are those of the statement.
pub(crate) fn add_ours(tokens: &Tokens<'_>, scope: &Scope<'_>, edits: &mut Edits) {
    // SET CONSTRAINTS
    let mut at = 2;
    while let Some(first) = tokens.identifier(at) {
        let qualified = tokens.kind(at + 1) == Some(TokenKind::Dot);
        let last = if qualified { at + 2 } else { at };
        let Some(name) = tokens.identifier(last) else {
            return;
        };
        let schema = qualified.then_some(first.as_ref());
        if let Some((schema, ours)) = scope
            .catalog
            .deferred_with(schema, &name, scope.search_path)
        {
            let schema = quote_identifier(schema);
            let list = ours
                .iter()
                .map(|trigger| format!(", {schema}.{}", quote_identifier(trigger)));
            edits.insert_after(tokens.span(last..last + 1).end, &list.collect::<String>());
        }
        if tokens.kind(last + 1) != Some(TokenKind::Comma) {
            return;
        }
        at = last + 2;
    }
}
