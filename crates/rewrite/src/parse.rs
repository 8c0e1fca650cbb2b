//! Our tokens to sqlparser's, and one statement to its tree.
//!
//! Every position in the tree is a token index: line 1, column = index + 1.

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

/// Longer chains (`a OR b OR c ...`) are not looked into. Each link is a level of the tree.
pub(crate) const LINKS_MAX: usize = 200_000;

/// Stack for one level of the tree when it is taken down. Measured: 190 without optimisation.
const LINK_STACK_BYTES: usize = 1024;

/// Chains of this length live on any stack.
const LINKS_ANYWHERE: usize = 500;

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

/// Parses the tokens of exactly one statement, without its semicolon, and shows the tree to `look`.
/// The tree lives in here only: taking a deep one down needs a stack that fits it.
///
/// # Errors
/// See [`Unparsed`]. Never overflows the stack, whatever the tokens.
pub(crate) fn with_statement<R>(
    tokens: &Tokens<'_>,
    range: Range<usize>,
    look: impl FnOnce(&Parsed) -> R,
) -> Result<R, Unparsed> {
    let Shape { nesting, links } = shape(tokens, range.clone());
    if nesting > NESTING_MAX || links > LINKS_MAX {
        return Err(Unparsed::TooDeep);
    }
    let run = || parse(tokens, range).map(|parsed| look(&parsed));
    if links <= LINKS_ANYWHERE {
        return run();
    }
    stacker::grow(STACK_BYTES + links * LINK_STACK_BYTES, run)
}

/// For everything that does not grow with the text.
const STACK_BYTES: usize = 4 << 20;

fn parse(tokens: &Tokens<'_>, range: Range<usize>) -> Result<Parsed, Unparsed> {
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

/// How deep a tree can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Shape {
    /// Brackets and CASE expressions within one another.
    nesting: usize,
    /// Links of a chain, those of the chains around it included.
    links: usize,
}

fn shape(tokens: &Tokens<'_>, range: Range<usize>) -> Shape {
    use crate::lex::TokenKind as Kind;
    let mut deepest = Shape::default();
    let mut open: Vec<usize> = Vec::new();
    // Of the innermost bracket, and of all.
    let (mut here, mut all) = (0, 0);
    for index in range {
        let link = match tokens.kind(index) {
            Some(Kind::LeftParenthesis | Kind::LeftBracket) => {
                open.push(std::mem::take(&mut here));
                false
            }
            Some(Kind::RightParenthesis | Kind::RightBracket) => {
                all -= here;
                here = open.pop().unwrap_or_default();
                true
            }
            Some(Kind::Comma) => {
                all -= std::mem::take(&mut here);
                false
            }
            Some(Kind::Word) if tokens.is_word(index, "case") => {
                open.push(std::mem::take(&mut here));
                false
            }
            Some(Kind::Word) if tokens.is_word(index, "end") => {
                all -= here;
                here = open.pop().unwrap_or_default();
                true
            }
            Some(Kind::Word) => LINKING.iter().any(|word| tokens.is_word(index, word)),
            Some(Kind::Operator | Kind::Typecast) => true,
            _ => false,
        };
        here += usize::from(link);
        all += usize::from(link);
        deepest.nesting = deepest.nesting.max(open.len());
        deepest.links = deepest.links.max(all);
    }
    deepest
}

/// Words that put one expression or query under another.
const LINKING: &[&str] = &[
    "and",
    "or",
    "not",
    "is",
    "isnull",
    "notnull",
    "in",
    "like",
    "ilike",
    "similar",
    "between",
    "at",
    "union",
    "intersect",
    "except",
    "join",
];

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_in_the_tree_are_token_indexes() {
        let tokens = Tokens::lex(b"SELECT a FROM /* x */ b.t AS c", true).unwrap();
        let span = with_statement(&tokens, 0..tokens.len(), |parsed| {
            name_span(&parsed.statement)
        });
        let span = span.unwrap();
        assert_eq!((span.start.column, span.end.column), (4, 6));
    }

    fn name_span(statement: &Statement) -> Span {
        let Statement::Query(query) = statement else {
            panic!("a query")
        };
        let select = query.body.as_select().unwrap();
        let sqlparser::ast::TableFactor::Table { name, .. } = &select.from[0].relation else {
            panic!("a table")
        };
        sqlparser::ast::Spanned::span(name)
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
            let parsed = with_statement(&tokens, 0..tokens.len(), |_| ());
            assert_eq!(parsed.err(), Some(Unparsed::TooDeep), "{open}");
        }
    }

    /// Long chains are no nesting: the tree is deep all the same, and must not be walked down by
    /// recursion on a stack of ordinary size.
    #[test]
    fn long_chains_do_not_overflow_the_stack() {
        for (first, link) in [("id = 1", " OR id = 1"), ("1", " + 1"), ("'a'", " || 'a'")] {
            let text = format!("SELECT {first}{} FROM t", link.repeat(60_000));
            let tokens = Tokens::lex(text.as_bytes(), true).unwrap();
            let seen = with_statement(&tokens, 0..tokens.len(), visit);
            assert_eq!(seen, Ok(()), "{link}");
            let text = format!("SELECT {first}{}", link.repeat(LINKS_MAX + 1));
            let tokens = Tokens::lex(text.as_bytes(), true).unwrap();
            let seen = with_statement(&tokens, 0..tokens.len(), visit);
            assert_eq!(seen, Err(Unparsed::TooDeep), "{link}");
        }
        let text = format!("SELECT 1{} FROM t", " UNION ALL SELECT 1".repeat(20_000));
        let tokens = Tokens::lex(text.as_bytes(), true).unwrap();
        assert_eq!(with_statement(&tokens, 0..tokens.len(), visit), Ok(()));
    }

    fn visit(parsed: &Parsed) {
        let _: std::ops::ControlFlow<()> =
            sqlparser::ast::visit_relations(&parsed.statement, |_| {
                std::ops::ControlFlow::Continue(())
            });
    }
}
