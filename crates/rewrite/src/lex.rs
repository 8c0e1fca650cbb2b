//! PostgreSQL's lexer (`scan.l`) over bytes: where tokens begin and end, nothing more.
//!
//! Follows PostgreSQL 15 to 18. Where versions differ (`0x1F`, `1_000`, a vertical tab as white
//! space) it takes what the newest accepts: an older server rejects such text as a whole, so no
//! statement of it runs.

mod name;
mod operator;

use std::borrow::Cow;
use std::ops::Range;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenKind {
    /// Keyword or identifier without quotes.
    Word,
    /// `"..."`
    QuotedIdentifier,
    /// `U&"..."`, with its `UESCAPE 'x'` where there is one.
    UnicodeIdentifier,
    /// `'...'` without backslash escapes.
    String,
    /// `E'...'`, and `'...'` where `standard_conforming_strings` is off.
    EscapeString,
    /// `U&'...'`, with its `UESCAPE 'x'` where there is one.
    UnicodeString,
    /// `B'...'`
    BitString,
    /// `X'...'`
    HexString,
    /// `N'...'`
    NationalString,
    /// `$tag$...$tag$`
    DollarString,
    /// `$1`
    Parameter,
    Number,
    /// Any operator, single characters such as `+` and `=` too.
    Operator,
    LeftParenthesis,
    RightParenthesis,
    LeftBracket,
    RightBracket,
    Comma,
    Semicolon,
    Dot,
    /// `..`
    DotDot,
    Colon,
    /// `::`
    Typecast,
    /// `:=`
    ColonEquals,
    /// `=>`
    EqualsGreater,
    /// A byte that starts no token: the server's grammar rejects it.
    Other,
}

/// Offsets are bytes of the client's text; `u32` because a message has at most 2^31 of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Token {
    pub kind: TokenKind,
    pub start: u32,
    pub end: u32,
}

impl Token {
    pub fn range(&self) -> Range<usize> {
        self.start as usize..self.end as usize
    }
}

/// The text ends, or goes wrong, inside a token. The server's lexer says the same of the whole text
/// before anything of it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LexError {
    #[error("unterminated {what}")]
    Unterminated { what: &'static str, offset: usize },
    #[error("zero-length delimited identifier")]
    EmptyIdentifier { offset: usize },
    #[error("invalid Unicode escape")]
    UnicodeEscape { offset: usize },
    /// Over 4 GiB: no protocol message holds it.
    #[error("text too long")]
    TooLong,
}

/// Gives one token after the other. Never recurses; linear in the length of the text.
#[derive(Debug, Clone)]
pub struct Lexer<'t> {
    text: &'t [u8],
    at: usize,
    standard_conforming_strings: bool,
}

impl<'t> Lexer<'t> {
    pub fn new(text: &'t [u8], standard_conforming_strings: bool) -> Self {
        Self {
            text,
            at: 0,
            standard_conforming_strings,
        }
    }

    /// `None` at the end. `UESCAPE` is not looked for: that needs the tokens after.
    pub fn next_token(&mut self) -> Option<Result<Token, LexError>> {
        if let Err(error) = self.skip_space() {
            return Some(Err(error));
        }
        let start = self.at;
        let first = *self.text.get(start)?;
        if u32::try_from(self.text.len()).is_err() {
            return Some(Err(LexError::TooLong));
        }
        Some(self.token(start, first).map(|kind| Token {
            kind,
            start: start as u32,
            end: self.at as u32,
        }))
    }

    fn peek(&self, ahead: usize) -> u8 {
        // 0 stands for the end: no rule accepts it, and no text holds it (strings end there).
        self.text.get(self.at + ahead).copied().unwrap_or(0)
    }

    fn skip_space(&mut self) -> Result<(), LexError> {
        loop {
            match self.peek(0) {
                byte if is_space(byte) => self.at += 1,
                b'-' if self.peek(1) == b'-' => self.skip_line(),
                b'/' if self.peek(1) == b'*' => self.skip_block_comment()?,
                _ => return Ok(()),
            }
        }
    }

    fn skip_line(&mut self) {
        while self.at < self.text.len() && !matches!(self.peek(0), b'\n' | b'\r') {
            self.at += 1;
        }
    }

    fn skip_block_comment(&mut self) -> Result<(), LexError> {
        let offset = self.at;
        let mut depth = 0usize;
        while self.at < self.text.len() {
            match (self.peek(0), self.peek(1)) {
                (b'/', b'*') => {
                    depth += 1;
                    self.at += 2;
                }
                (b'*', b'/') => {
                    depth -= 1;
                    self.at += 2;
                    if depth == 0 {
                        return Ok(());
                    }
                }
                _ => self.at += 1,
            }
        }
        Err(LexError::Unterminated {
            what: "/* comment",
            offset,
        })
    }

    fn token(&mut self, start: usize, first: u8) -> Result<TokenKind, LexError> {
        use TokenKind as Kind;
        let single = |kind| (kind, 1);
        let (kind, length) = match first {
            b'\'' if self.standard_conforming_strings => return self.string(1, Kind::String),
            b'\'' => return self.string(1, Kind::EscapeString),
            b'"' => return self.quoted_identifier(1, Kind::QuotedIdentifier),
            b'$' => return self.dollar(),
            _ if is_identifier_start(first) => return self.word_or_prefixed(first),
            b'0'..=b'9' => return Ok(self.number()),
            b'.' if self.peek(1).is_ascii_digit() => return Ok(self.number()),
            b'.' if self.peek(1) == b'.' => (Kind::DotDot, 2),
            b'.' => single(Kind::Dot),
            b'(' => single(Kind::LeftParenthesis),
            b')' => single(Kind::RightParenthesis),
            b'[' => single(Kind::LeftBracket),
            b']' => single(Kind::RightBracket),
            b',' => single(Kind::Comma),
            b';' => single(Kind::Semicolon),
            b':' if self.peek(1) == b':' => (Kind::Typecast, 2),
            b':' if self.peek(1) == b'=' => (Kind::ColonEquals, 2),
            b':' => single(Kind::Colon),
            _ => match operator::length(&self.text[start..]) {
                0 => single(Kind::Other),
                2 if first == b'=' && self.peek(1) == b'>' => (Kind::EqualsGreater, 2),
                length => (Kind::Operator, length),
            },
        };
        self.at += length;
        Ok(kind)
    }

    fn word_or_prefixed(&mut self, first: u8) -> Result<TokenKind, LexError> {
        use TokenKind as Kind;
        match (first, self.peek(1)) {
            (b'e' | b'E', b'\'') => return self.string(2, Kind::EscapeString),
            (b'b' | b'B', b'\'') => return self.string(2, Kind::BitString),
            (b'x' | b'X', b'\'') => return self.string(2, Kind::HexString),
            // The server reads NCHAR and an ordinary string.
            (b'n' | b'N', b'\'') => return self.string(2, Kind::NationalString),
            (b'u' | b'U', b'&') if self.peek(2) == b'\'' => {
                return self.string(3, Kind::UnicodeString);
            }
            (b'u' | b'U', b'&') if self.peek(2) == b'"' => {
                return self.quoted_identifier(3, Kind::UnicodeIdentifier);
            }
            _ => {}
        }
        let rest = self.text.get(self.at..).unwrap_or_default();
        let part = |byte: &&u8| is_identifier_part(**byte);
        self.at += rest.iter().take_while(part).count();
        Ok(Kind::Word)
    }

    /// At the prefix of a string whose opening quote ends after `opening` bytes.
    fn string(&mut self, opening: usize, kind: TokenKind) -> Result<TokenKind, LexError> {
        let offset = self.at;
        let doubled_quotes = !matches!(kind, TokenKind::BitString | TokenKind::HexString);
        let backslashes = kind == TokenKind::EscapeString
            || (kind == TokenKind::NationalString && !self.standard_conforming_strings);
        self.at += opening;
        loop {
            match self.peek(0) {
                b'\'' if doubled_quotes && self.peek(1) == b'\'' => self.at += 2,
                b'\'' => {
                    self.at += 1;
                    match self.continuation() {
                        Some(next) => self.at = next,
                        None => return Ok(kind),
                    }
                }
                b'\\' if backslashes => self.at += 2,
                _ if self.at >= self.text.len() => {
                    return Err(LexError::Unterminated {
                        what: "quoted string",
                        offset,
                    });
                }
                _ => self.at += 1,
            }
        }
    }

    /// After a closing quote: where the string goes on, if white space with a line break in it and
    /// another quote follow.
    fn continuation(&self) -> Option<usize> {
        let mut ahead = self.clone();
        let mut newline = false;
        loop {
            match ahead.peek(0) {
                b'\n' | b'\r' => {
                    newline = true;
                    ahead.at += 1;
                }
                byte if is_space(byte) => ahead.at += 1,
                b'-' if ahead.peek(1) == b'-' => ahead.skip_line(),
                b'\'' if newline => return Some(ahead.at + 1),
                _ => return None,
            }
        }
    }

    fn quoted_identifier(
        &mut self,
        opening: usize,
        kind: TokenKind,
    ) -> Result<TokenKind, LexError> {
        let offset = self.at;
        self.at += opening;
        let content = self.at;
        loop {
            match self.peek(0) {
                b'"' if self.peek(1) == b'"' => self.at += 2,
                b'"' if self.at == content => return Err(LexError::EmptyIdentifier { offset }),
                b'"' => {
                    self.at += 1;
                    return Ok(kind);
                }
                _ if self.at >= self.text.len() => {
                    return Err(LexError::Unterminated {
                        what: "quoted identifier",
                        offset,
                    });
                }
                _ => self.at += 1,
            }
        }
    }

    /// At a `$`: a parameter, a dollar-quoted string, or a lone dollar sign.
    fn dollar(&mut self) -> Result<TokenKind, LexError> {
        let offset = self.at;
        if self.peek(1).is_ascii_digit() {
            self.at += 1;
            while self.peek(0).is_ascii_digit() {
                self.at += 1;
            }
            return Ok(TokenKind::Parameter);
        }
        let mut length = 1;
        if is_identifier_start(self.peek(1)) {
            while is_identifier_part(self.peek(length)) && self.peek(length) != b'$' {
                length += 1;
            }
        }
        if self.peek(length) != b'$' {
            self.at += 1;
            return Ok(TokenKind::Other);
        }
        let delimiter = &self.text[offset..=offset + length];
        let body = offset + delimiter.len();
        match find(&self.text[body..], delimiter) {
            Some(found) => {
                self.at = body + found + delimiter.len();
                Ok(TokenKind::DollarString)
            }
            None => Err(LexError::Unterminated {
                what: "dollar-quoted string",
                offset,
            }),
        }
    }

    fn number(&mut self) -> TokenKind {
        let radix: Option<fn(u8) -> bool> = match (self.peek(0), self.peek(1)) {
            (b'0', b'x' | b'X') => Some(|byte| byte.is_ascii_hexdigit()),
            (b'0', b'o' | b'O') => Some(|byte| matches!(byte, b'0'..=b'7')),
            (b'0', b'b' | b'B') => Some(|byte| matches!(byte, b'0' | b'1')),
            _ => None,
        };
        if let Some(is_digit) = radix {
            let skip = 2 + usize::from(self.peek(2) == b'_');
            if is_digit(self.peek(skip)) {
                self.at += skip;
                self.digits(is_digit);
                return TokenKind::Number;
            }
        }
        let is_decimal = |byte: u8| byte.is_ascii_digit();
        self.digits(is_decimal);
        // `1..2` is the range 1 .. 2, not the numbers 1. and .2
        if self.peek(0) == b'.' && self.peek(1) != b'.' {
            self.at += 1;
            self.digits(is_decimal);
        }
        if matches!(self.peek(0), b'e' | b'E') {
            let sign = usize::from(matches!(self.peek(1), b'+' | b'-'));
            if self.peek(1 + sign).is_ascii_digit() {
                self.at += 1 + sign;
                self.digits(is_decimal);
            }
        }
        TokenKind::Number
    }

    /// Digits with single underscores between them.
    fn digits(&mut self, is_digit: fn(u8) -> bool) {
        if !is_digit(self.peek(0)) {
            return;
        }
        while is_digit(self.peek(0)) || (self.peek(0) == b'_' && is_digit(self.peek(1))) {
            self.at += 1;
        }
    }
}

fn is_simple_string(kind: TokenKind) -> bool {
    matches!(
        kind,
        TokenKind::String | TokenKind::EscapeString | TokenKind::DollarString
    )
}

/// What a byte may be part of, in bits.
static CLASSES: [u8; 256] = classes();
const SPACE: u8 = 1;
const IDENTIFIER_START: u8 = 2;
const IDENTIFIER_PART: u8 = 4;

const fn classes() -> [u8; 256] {
    let mut classes = [0; 256];
    let mut at = 0;
    while at < classes.len() {
        let byte = at as u8;
        let starts = byte.is_ascii_alphabetic() || byte == b'_' || byte >= 0x80;
        if matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c) {
            classes[at] |= SPACE;
        }
        if starts {
            classes[at] |= IDENTIFIER_START;
        }
        if starts || byte.is_ascii_digit() || byte == b'$' {
            classes[at] |= IDENTIFIER_PART;
        }
        at += 1;
    }
    classes
}

fn is_space(byte: u8) -> bool {
    CLASSES[usize::from(byte)] & SPACE != 0
}

fn is_identifier_start(byte: u8) -> bool {
    CLASSES[usize::from(byte)] & IDENTIFIER_START != 0
}

fn is_identifier_part(byte: u8) -> bool {
    CLASSES[usize::from(byte)] & IDENTIFIER_PART != 0
}

/// Where `delimiter`, which begins and ends with `$` and holds none between, occurs first.
fn find(body: &[u8], delimiter: &[u8]) -> Option<usize> {
    let mut from = 0;
    loop {
        let dollar = from + body.get(from..)?.iter().position(|&byte| byte == b'$')?;
        if body[dollar..].starts_with(delimiter) {
            return Some(dollar);
        }
        from = dollar + 1;
    }
}

/// Where the tokens of a part of a text are, as PostgreSQL cuts it: bytes of the text, comments and white space left out.
/// The part begins and ends between tokens. The last one is that in front of a token that does not end.
pub fn token_ranges(
    text: &[u8],
    part: Range<usize>,
    standard_conforming_strings: bool,
) -> TokenRanges<'_> {
    let mut lexer = Lexer::new(
        &text[..part.end.min(text.len())],
        standard_conforming_strings,
    );
    lexer.at = part.start;
    TokenRanges(lexer)
}

/// See [`token_ranges`].
#[derive(Debug, Clone)]
pub struct TokenRanges<'t>(Lexer<'t>);

impl Iterator for TokenRanges<'_> {
    type Item = Range<usize>;

    fn next(&mut self) -> Option<Range<usize>> {
        self.0.next_token()?.ok().map(|token| token.range())
    }
}

/// All tokens of a text, comments and white space left out.
#[derive(Debug, Clone)]
pub struct Tokens<'t> {
    text: &'t [u8],
    tokens: Vec<Token>,
    standard_conforming_strings: bool,
}

impl<'t> Tokens<'t> {
    /// # Errors
    /// The text ends inside a token, or a delimited identifier is empty.
    pub fn lex(text: &'t [u8], standard_conforming_strings: bool) -> Result<Self, LexError> {
        Self::lex_part(text, 0..text.len(), standard_conforming_strings)
    }

    /// The tokens of a part that begins and ends between tokens. Offsets are those of the text.
    ///
    /// # Errors
    /// As [`lex`](Self::lex).
    pub fn lex_part(
        text: &'t [u8],
        part: Range<usize>,
        standard_conforming_strings: bool,
    ) -> Result<Self, LexError> {
        let room = part.len().min(1 << 20) / 4;
        let TokenRanges(mut lexer) = token_ranges(text, part, standard_conforming_strings);
        let mut tokens = Self {
            text,
            tokens: Vec::with_capacity(room),
            standard_conforming_strings,
        };
        while let Some(token) = lexer.next_token() {
            tokens.push(token?)?;
        }
        Ok(tokens)
    }

    /// None yet: what follows is pushed.
    pub fn none(text: &'t [u8], standard_conforming_strings: bool) -> Self {
        Self {
            text,
            tokens: Vec::new(),
            standard_conforming_strings,
        }
    }

    /// The same, where most texts are short.
    pub fn with_room(text: &'t [u8], standard_conforming_strings: bool) -> Self {
        let mut none = Self::none(text, standard_conforming_strings);
        none.tokens.reserve((text.len() / 4).clamp(8, 128));
        none
    }

    /// Makes room for another statement of the text.
    pub fn clear(&mut self) {
        self.tokens.clear();
    }

    /// Adds the next token of the same lexer.
    ///
    /// # Errors
    /// A Unicode escape cannot be read.
    pub fn push(&mut self, token: Token) -> Result<(), LexError> {
        if is_simple_string(token.kind)
            && let [.., unicode, uescape] = self.tokens[..]
            && uescape.kind == TokenKind::Word
            && matches!(
                unicode.kind,
                TokenKind::UnicodeIdentifier | TokenKind::UnicodeString
            )
            && self.text[uescape.range()].eq_ignore_ascii_case(b"uescape")
        {
            let merged = Token {
                kind: unicode.kind,
                start: unicode.start,
                end: token.end,
            };
            if name::unicode_escape(&self.text[merged.range()]).is_none() {
                return Err(LexError::UnicodeEscape {
                    offset: token.start as usize,
                });
            }
            self.tokens.truncate(self.tokens.len() - 2);
            self.tokens.push(merged);
            return Ok(());
        }
        self.tokens.push(token);
        Ok(())
    }

    pub fn text(&self) -> &'t [u8] {
        self.text
    }

    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    pub fn get(&self, index: usize) -> Option<&Token> {
        self.tokens.get(index)
    }

    pub fn iter(&self) -> std::slice::Iter<'_, Token> {
        self.tokens.iter()
    }

    /// `None` past the end.
    pub fn kind(&self, index: usize) -> Option<TokenKind> {
        self.tokens.get(index).map(|token| token.kind)
    }

    /// The client's bytes of one token; empty past the end.
    pub fn bytes(&self, index: usize) -> &'t [u8] {
        self.tokens
            .get(index)
            .map_or(&[], |token| &self.text[token.range()])
    }

    /// The client's bytes from the first to the last token of the range, with what lies between.
    pub fn span(&self, range: Range<usize>) -> Range<usize> {
        match (self.tokens.get(range.start), range.end.checked_sub(1)) {
            (Some(first), Some(last)) if last >= range.start => {
                let end = self
                    .tokens
                    .get(last)
                    .map_or(self.text.len(), |token| token.end as usize);
                first.start as usize..end
            }
            (Some(first), _) => first.start as usize..first.start as usize,
            (None, _) => self.text.len()..self.text.len(),
        }
    }

    /// True if the token is this keyword: unquoted, in any case. `keyword` in lower case.
    pub fn is_word(&self, index: usize, keyword: &str) -> bool {
        self.kind(index) == Some(TokenKind::Word)
            && self.bytes(index).eq_ignore_ascii_case(keyword.as_bytes())
    }

    /// True if the token is exactly this operator.
    pub fn is_operator(&self, index: usize, operator: &str) -> bool {
        self.kind(index) == Some(TokenKind::Operator) && self.bytes(index) == operator.as_bytes()
    }

    /// The name PostgreSQL reads: folded or unescaped, cut to 63 bytes. `None` if the token is no
    /// identifier or keyword, or holds bytes that are not UTF-8.
    pub fn identifier(&self, index: usize) -> Option<Cow<'t, str>> {
        let token = self.tokens.get(index)?;
        name::identifier(token.kind, &self.text[token.range()])
    }

    /// What a string constant means, escapes resolved. `None` if the token is none, or a bit or
    /// hexadecimal string, or its escapes are wrong.
    pub fn string_value(&self, index: usize) -> Option<Cow<'t, [u8]>> {
        let token = self.tokens.get(index)?;
        let bytes = &self.text[token.range()];
        name::string_value(token.kind, bytes, self.standard_conforming_strings)
    }
}

#[cfg(test)]
mod tests;
