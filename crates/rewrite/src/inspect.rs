//! What the parser sees, for tests that hold it against PostgreSQL's own.

use std::ops::ControlFlow;

use sqlparser::ast::{ObjectName, ObjectNamePart, SetExpr, Statement, TableFactor, Visit, Visitor};

use crate::lex::Tokens;
use crate::normalise::Wrapper;
use crate::parse::with_statement;

/// The kind of one statement, in PostgreSQL's words, and the relations it reads or writes: `schema.name`
/// as PostgreSQL folds them, common table expressions included.
///
/// # Errors
/// Why it could not be read.
pub fn inspect(text: &[u8]) -> Result<(&'static str, Vec<String>), String> {
    let tokens = Tokens::lex(text, true).map_err(|error| error.to_string())?;
    let seen = with_statement(&tokens, 0..tokens.len(), |parsed| {
        let mut relations = Relations::default();
        let _: ControlFlow<()> = parsed.statement.visit(&mut relations);
        let kind = match parsed.normalised.wrappers.first() {
            Some(wrapper) => wrapper_kind(*wrapper),
            None => kind(&parsed.statement),
        };
        (kind, relations.found)
    });
    seen.map_err(|error| error.to_string())
}

fn kind(statement: &Statement) -> &'static str {
    match statement {
        Statement::Query(query) => body_kind(&query.body),
        Statement::Insert(_) => "InsertStmt",
        Statement::Update(_) => "UpdateStmt",
        Statement::Delete(_) => "DeleteStmt",
        Statement::Merge(_) => "MergeStmt",
        _ => "other",
    }
}

fn wrapper_kind(wrapper: Wrapper) -> &'static str {
    match wrapper {
        Wrapper::Explain => "ExplainStmt",
        Wrapper::Prepare => "PrepareStmt",
        Wrapper::Declare => "DeclareCursorStmt",
        Wrapper::Copy => "CopyStmt",
        Wrapper::CreateTable | Wrapper::CreateMaterializedView => "CreateTableAsStmt",
        Wrapper::CreateView => "ViewStmt",
    }
}

fn body_kind(body: &SetExpr) -> &'static str {
    match body {
        SetExpr::Insert(_) => "InsertStmt",
        SetExpr::Update(_) => "UpdateStmt",
        SetExpr::Delete(_) => "DeleteStmt",
        SetExpr::Merge(_) => "MergeStmt",
        SetExpr::Select(_)
        | SetExpr::Query(_)
        | SetExpr::SetOperation { .. }
        | SetExpr::Values(_)
        | SetExpr::Table(_) => "SelectStmt",
    }
}

#[derive(Default)]
struct Relations {
    found: Vec<String>,
    /// The next relation is the name of a function.
    function: bool,
}

impl Relations {
    fn add(&mut self, name: &ObjectName) {
        let parts = name.0.iter().filter_map(ObjectNamePart::as_ident);
        self.found.push(
            parts
                .map(|part| part.value.as_str())
                .collect::<Vec<_>>()
                .join("."),
        );
    }
}

impl Visitor for Relations {
    type Break = ();

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        self.function = matches!(factor, TableFactor::Table { args: Some(_), .. });
        ControlFlow::Continue(())
    }

    fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<()> {
        if !std::mem::take(&mut self.function) {
            self.add(relation);
        }
        ControlFlow::Continue(())
    }
}
