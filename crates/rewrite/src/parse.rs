//! Our tokens to sqlparser's, and one statement to its tree.
//!
//! Every position in the tree is a token index: line 1, column = index + 1. Use [`token_range`].

use std::ops::Range;

use sqlparser::ast::Statement;
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Location, Span};

use crate::lex::Tokens;
use crate::normalise::{self, Normalised};

/// Deeper nesting of brackets than this is not looked into. PostgreSQL itself gives up at about
/// 10,000 (the stack of its grammar), people at about 5.
pub(crate) const NESTING_MAX: usize = 500;

/// How often sqlparser may call itself: some levels of the grammar lie between two brackets.
const RECURSION_MAX: usize = NESTING_MAX * 8;

/// One statement's tree. Strings and numbers in it are not the client's: look at the tokens.
#[derive(Debug)]
pub(crate) struct Parsed {
    pub statement: Statement,
    pub normalised: Normalised,
}

/// Why there is no tree.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unparsed {
    /// Not what we understand: perhaps a syntax error, perhaps something that only PostgreSQL knows.
    #[error("{message}")]
    Syntax { message: String },
    #[error("nested too deeply")]
    TooDeep,
}

/// Parses the tokens of exactly one statement, without its semicolon.
///
/// # Errors
/// See [`Unparsed`]. Never overflows the stack, whatever the tokens.
pub(crate) fn parse_statement(
    tokens: &Tokens<'_>,
    range: Range<usize>,
) -> Result<Parsed, Unparsed> {
    if nesting(tokens, range.clone()) > NESTING_MAX {
        return Err(Unparsed::TooDeep);
    }
    let (stream, normalised) = normalise::normalise(tokens, range);
    let mut parser = Parser::new(&PostgreSqlDialect {})
        .with_recursion_limit(RECURSION_MAX)
        .with_tokens_with_locations(stream);
    let statement = parser.parse_statement().map_err(unparsed)?;
    let next = parser.peek_token();
    if next.token != sqlparser::tokenizer::Token::EOF {
        let message = format!("unexpected {} after the statement", next.token);
        return Err(Unparsed::Syntax { message });
    }
    Ok(Parsed {
        statement,
        normalised,
    })
}

fn unparsed(error: ParserError) -> Unparsed {
    match error {
        ParserError::RecursionLimitExceeded => Unparsed::TooDeep,
        ParserError::TokenizerError(message) | ParserError::ParserError(message) => {
            Unparsed::Syntax { message }
        }
    }
}

/// How deep brackets and CASE expressions nest.
fn nesting(tokens: &Tokens<'_>, range: Range<usize>) -> usize {
    use crate::lex::TokenKind as Kind;
    let mut depth = 0usize;
    let mut deepest = 0;
    for index in range {
        match tokens.kind(index) {
            Some(Kind::LeftParenthesis | Kind::LeftBracket) => depth += 1,
            Some(Kind::RightParenthesis | Kind::RightBracket) => depth = depth.saturating_sub(1),
            Some(Kind::Word) if tokens.is_word(index, "case") => depth += 1,
            Some(Kind::Word) if tokens.is_word(index, "end") => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
}

/// The place of one of our tokens in sqlparser's terms.
pub(crate) fn span_of(index: usize) -> Span {
    let location = Location {
        line: 1,
        column: index as u64 + 1,
    };
    Span {
        start: location,
        end: location,
    }
}

/// The tokens that a span of the tree covers. `None` for spans that sqlparser does not fill in.
pub(crate) fn token_range(span: Span) -> Option<Range<usize>> {
    let first = usize::try_from(span.start.column).ok()?.checked_sub(1)?;
    let end = usize::try_from(span.end.column).ok()?;
    (first < end).then_some(first..end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_in_the_tree_are_token_indexes() {
        let tokens = Tokens::lex(b"SELECT a FROM /* x */ b.t AS c", true).unwrap();
        let parsed = parse_statement(&tokens, 0..tokens.len()).unwrap();
        let Statement::Query(query) = parsed.statement else {
            panic!("a query")
        };
        let select = query.body.as_select().unwrap();
        let sqlparser::ast::TableFactor::Table { name, .. } = &select.from[0].relation else {
            panic!("a table")
        };
        let span = sqlparser::ast::Spanned::span(name);
        assert_eq!(token_range(span), Some(3..6));
    }

    #[test]
    fn deep_nesting_is_an_answer_not_a_crash() {
        for (open, close) in [
            ("(", ")"),
            ("ARRAY[", "]"),
            ("CASE WHEN ", " THEN 1 END"),
            ("- ", ""),
        ] {
            let text = format!("SELECT {}1{}", open.repeat(10_000), close.repeat(10_000));
            let tokens = Tokens::lex(text.as_bytes(), true).unwrap();
            let parsed = parse_statement(&tokens, 0..tokens.len());
            assert_eq!(parsed.err(), Some(Unparsed::TooDeep), "{open}");
        }
    }
}
