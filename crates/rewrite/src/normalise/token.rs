//! One token of ours to one of sqlparser's.

use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Token, Word};

use crate::keyword::{category, expects_operand};
use crate::lex::{TokenKind, Tokens};

/// Longer constants are not copied: nobody reads them in the tree.
const CONSTANT_BYTES_MAX: usize = 32;

/// `before` is the token in front of it in the copy.
pub(super) fn translate(tokens: &Tokens<'_>, index: usize, before: Option<&Token>) -> Token {
    use TokenKind as Kind;
    let Some(kind) = tokens.kind(index) else {
        return Token::EOF;
    };
    match kind {
        Kind::Word if before == Some(&Token::Period) => word(tokens, index, Some('"')),
        Kind::Word => word(tokens, index, None),
        Kind::QuotedIdentifier | Kind::UnicodeIdentifier => word(tokens, index, Some('"')),
        Kind::String
        | Kind::EscapeString
        | Kind::UnicodeString
        | Kind::NationalString
        | Kind::DollarString => Token::SingleQuotedString(constant(tokens, index)),
        Kind::BitString => Token::SingleQuotedByteStringLiteral(String::new()),
        Kind::HexString => Token::HexStringLiteral(String::new()),
        Kind::Parameter => Token::Placeholder("$1".into()),
        Kind::Number => number(tokens.bytes(index)),
        Kind::Operator => operator(tokens.bytes(index), before),
        Kind::LeftParenthesis => Token::LParen,
        Kind::RightParenthesis => Token::RParen,
        Kind::LeftBracket => Token::LBracket,
        Kind::RightBracket => Token::RBracket,
        Kind::Comma => Token::Comma,
        Kind::Semicolon => Token::SemiColon,
        Kind::Dot => Token::Period,
        Kind::DotDot => Token::Char('.'),
        Kind::Colon => Token::Colon,
        Kind::Typecast => Token::DoubleColon,
        Kind::ColonEquals => Token::Assignment,
        Kind::EqualsGreater => Token::RArrow,
        Kind::Other => Token::Char('\u{fffd}'),
    }
}

/// The name in the tree is the one PostgreSQL reads. Bytes that are not UTF-8 name nothing we know.
fn word(tokens: &Tokens<'_>, index: usize, quote: Option<char>) -> Token {
    match tokens.identifier(index) {
        // sqlparser has keywords that PostgreSQL lacks.
        Some(name) if quote.is_none() && category(&name).is_none() => Token::Word(Word {
            value: name.into_owned(),
            quote_style: None,
            keyword: Keyword::NoKeyword,
        }),
        Some(name) => Token::make_word(&name, quote),
        None => Token::make_word("\u{fffd}", Some('"')),
    }
}

fn constant(tokens: &Tokens<'_>, index: usize) -> String {
    if tokens.bytes(index).len() > CONSTANT_BYTES_MAX {
        return String::new();
    }
    tokens
        .string_value(index)
        .and_then(|value| String::from_utf8(value.into_owned()).ok())
        .unwrap_or_default()
}

fn number(bytes: &[u8]) -> Token {
    let text = match std::str::from_utf8(bytes) {
        Ok(text)
            if text.len() <= CONSTANT_BYTES_MAX && text.bytes().all(|b| b.is_ascii_digit()) =>
        {
            text
        }
        _ => "1",
    };
    Token::Number(text.into(), false)
}

/// Which operator it is matters to nobody, only how it binds: the standard ones as they are, the
/// others as PostgreSQL's "any other operator", in front of an operand as a sign.
fn operator(bytes: &[u8], before: Option<&Token>) -> Token {
    match bytes {
        b"=" => Token::Eq,
        b"<>" | b"!=" => Token::Neq,
        b"<" => Token::Lt,
        b">" => Token::Gt,
        b"<=" => Token::LtEq,
        b">=" => Token::GtEq,
        b"+" => Token::Plus,
        b"-" => Token::Minus,
        b"*" => Token::Mul,
        b"/" => Token::Div,
        b"%" => Token::Mod,
        b"^" => Token::Caret,
        _ if before.is_some_and(ends_operand) => Token::CustomBinaryOperator("@".into()),
        _ => Token::Minus,
    }
}

fn ends_operand(token: &Token) -> bool {
    match token {
        Token::Word(word) => word.quote_style.is_some() || !expects_operand(&word.value),
        Token::RParen
        | Token::RBracket
        | Token::Number(..)
        | Token::SingleQuotedString(_)
        | Token::SingleQuotedByteStringLiteral(_)
        | Token::HexStringLiteral(_)
        | Token::Placeholder(_) => true,
        _ => false,
    }
}
