//! The same statement with other literals: the plan by its shape must be the plan by reading it.

use rewrite::{ClientEncoding, Scope, Shape, Template, scan};

/// What is wrong with the plan of the statement's shape, if anything. The second value: it has one.
pub fn shape_fails(sql: &str, scope: &Scope<'_>) -> (Option<String>, bool) {
    let scanned = scan(sql.as_bytes(), scope.catalog, true, ClientEncoding::Utf8);
    let (Some(shape), Ok(plan)) = (Shape::of(&scanned), scanned.plan(scope)) else {
        return (None, false);
    };
    let template = Template::new(&plan, sql.as_bytes(), &shape, ClientEncoding::Utf8);
    let Some(template) = template else {
        return (Some(format!("{sql}\nhas no template")), false);
    };
    for text in [sql.to_owned(), varied(sql, &shape)] {
        let scanned = scan(text.as_bytes(), scope.catalog, true, ClientEncoding::Utf8);
        let Some(other) = Shape::of(&scanned) else {
            return (Some(format!("{text}\nhas no shape, like\n{sql}")), true);
        };
        if other.key() != shape.key() {
            return (Some(format!("{text}\nhas another shape than\n{sql}")), true);
        }
        let read = scanned.plan(scope);
        let spared = template.plan(text.as_bytes(), &other);
        if read.as_ref() != Ok(&spared) {
            let sent = String::from_utf8(spared.edits.apply(text.as_bytes()));
            return (
                Some(format!("{text}\nread: {read:?}\nby shape: {sent:?}")),
                true,
            );
        }
    }
    (None, true)
}

fn varied(sql: &str, shape: &Shape) -> String {
    let mut text = String::new();
    let mut at = 0;
    for cut in shape.cuts() {
        text.push_str(&sql[at..cut.start]);
        text.push_str(match &sql[cut.clone()] {
            old if old.starts_with('\'') => "'it''s — another'",
            old if old.starts_with(['e', 'E']) => r"E'it\'s another'",
            old if old.starts_with('$') => "$x$ another 'one' $$ $x$",
            old if old.starts_with("/*") => "/* another /* nested */ */",
            old if old.starts_with("--") => "-- another",
            _ => "4711",
        });
        at = cut.end;
    }
    text.push_str(&sql[at..]);
    text
}
