//! What an identifier or a string constant means once folded or unescaped.

use std::borrow::Cow;

use catalog::fold_identifier;

use super::TokenKind;

/// Cut to `NAMEDATALEN - 1` bytes, like every identifier the server reads.
const NAME_BYTES_MAX: usize = 63;

pub(super) fn identifier(kind: TokenKind, bytes: &[u8]) -> Option<Cow<'_, str>> {
    match kind {
        TokenKind::Word => {
            let raw = std::str::from_utf8(bytes).ok()?;
            if raw.len() <= NAME_BYTES_MAX && !raw.bytes().any(|byte| byte.is_ascii_uppercase()) {
                return Some(Cow::Borrowed(raw));
            }
            Some(Cow::Owned(fold_identifier(raw)))
        }
        TokenKind::QuotedIdentifier => {
            let raw = std::str::from_utf8(bytes.get(1..bytes.len() - 1)?).ok()?;
            Some(truncated(if raw.contains('"') {
                Cow::Owned(raw.replace("\"\"", "\""))
            } else {
                Cow::Borrowed(raw)
            }))
        }
        TokenKind::UnicodeIdentifier => {
            let (body, escape) = unicode_parts(bytes, b'"')?;
            let raw = std::str::from_utf8(body).ok()?.replace("\"\"", "\"");
            Some(truncated(Cow::Owned(decode_unicode(&raw, escape)?)))
        }
        _ => None,
    }
}

fn truncated(name: Cow<'_, str>) -> Cow<'_, str> {
    if name.len() <= NAME_BYTES_MAX {
        return name;
    }
    let end = (0..=NAME_BYTES_MAX)
        .rev()
        .find(|end| name.is_char_boundary(*end))
        .unwrap_or(0);
    match name {
        Cow::Borrowed(name) => Cow::Borrowed(&name[..end]),
        Cow::Owned(mut name) => {
            name.truncate(end);
            Cow::Owned(name)
        }
    }
}

pub(super) fn string_value(
    kind: TokenKind,
    bytes: &[u8],
    standard_conforming_strings: bool,
) -> Option<Cow<'_, [u8]>> {
    match kind {
        TokenKind::String => Some(unquoted(bytes)),
        TokenKind::NationalString if standard_conforming_strings => Some(unquoted(&bytes[1..])),
        TokenKind::NationalString => decode_escapes(&unquoted_escaped(&bytes[1..])).map(Cow::Owned),
        TokenKind::EscapeString => {
            let quoted = bytes
                .strip_prefix(b"e")
                .or(bytes.strip_prefix(b"E"))
                .unwrap_or(bytes);
            decode_escapes(&unquoted_escaped(quoted)).map(Cow::Owned)
        }
        TokenKind::UnicodeString => {
            let (body, escape) = unicode_parts(bytes, b'\'')?;
            let raw = String::from_utf8(unquoted_body(body)).ok()?;
            Some(Cow::Owned(decode_unicode(&raw, escape)?.into_bytes()))
        }
        TokenKind::DollarString => {
            let delimiter = 2 + bytes.get(1..)?.iter().position(|byte| *byte == b'$')?;
            Some(Cow::Borrowed(
                bytes.get(delimiter..bytes.len() - delimiter)?,
            ))
        }
        _ => None,
    }
}

/// The inside of `'...'`, doubled quotes single, pieces on several lines joined.
fn unquoted(bytes: &[u8]) -> Cow<'_, [u8]> {
    let inner = &bytes[1..bytes.len() - 1];
    if inner.contains(&b'\'') {
        Cow::Owned(unquoted_body(inner))
    } else {
        Cow::Borrowed(inner)
    }
}

fn unquoted_body(inner: &[u8]) -> Vec<u8> {
    join_pieces(inner, false)
}

/// As [`unquoted`], with backslash escapes left as they are.
fn unquoted_escaped(bytes: &[u8]) -> Vec<u8> {
    join_pieces(&bytes[1..bytes.len() - 1], true)
}

/// In a complete string a quote is followed by its double, or by the white space and the quote of a
/// continuation.
fn join_pieces(inner: &[u8], backslashes: bool) -> Vec<u8> {
    let mut joined = Vec::with_capacity(inner.len());
    let mut at = 0;
    while let Some(&byte) = inner.get(at) {
        at += 1;
        match byte {
            b'\\' if backslashes => {
                joined.push(byte);
                joined.extend(inner.get(at));
                at += 1;
            }
            b'\'' if inner.get(at) == Some(&b'\'') => {
                joined.push(byte);
                at += 1;
            }
            b'\'' => at = continuation_end(inner, at),
            _ => joined.push(byte),
        }
    }
    joined
}

/// After the quote that ends a piece: past the quote that opens the next. Comments may hold quotes.
fn continuation_end(inner: &[u8], mut at: usize) -> usize {
    while let Some(&byte) = inner.get(at) {
        if byte == b'\'' {
            return at + 1;
        }
        if byte == b'-' {
            while at < inner.len() && !matches!(inner[at], b'\n' | b'\r') {
                at += 1;
            }
        } else {
            at += 1;
        }
    }
    at
}

/// Resolves the escapes of `E'...'` (`scan.l`, state `xe`). `None` if one is wrong.
fn decode_escapes(raw: &[u8]) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(raw.len());
    let mut at = 0;
    let mut high_surrogate = None;
    while let Some(&byte) = raw.get(at) {
        at += 1;
        if byte != b'\\' {
            decoded.push(byte);
            continue;
        }
        let escape = *raw.get(at)?;
        at += 1;
        match escape {
            b'b' => decoded.push(8),
            b'f' => decoded.push(12),
            b'n' => decoded.push(b'\n'),
            b'r' => decoded.push(b'\r'),
            b't' => decoded.push(b'\t'),
            b'v' => decoded.push(11),
            b'0'..=b'7' => {
                let length = digits(&raw[at - 1..], 3, 8);
                decoded.push(number(&raw[at - 1..at - 1 + length], 8)? as u8);
                at += length - 1;
            }
            b'x' => match digits(&raw[at..], 2, 16) {
                0 => decoded.push(b'x'),
                length => {
                    decoded.push(number(&raw[at..at + length], 16)? as u8);
                    at += length;
                }
            },
            b'u' | b'U' => {
                let length = if escape == b'u' { 4 } else { 8 };
                if digits(&raw[at..], length, 16) < length {
                    return None;
                }
                let point = number(&raw[at..at + length], 16)?;
                at += length;
                if let Some(point) = pair(&mut high_surrogate, point)? {
                    let mut buffer = [0; 4];
                    decoded.extend_from_slice(point.encode_utf8(&mut buffer).as_bytes());
                }
            }
            other => decoded.push(other),
        }
    }
    high_surrogate.is_none().then_some(decoded)
}

/// Joins two surrogates. `None`: not a character; `Some(None)`: the first half of one.
fn pair(high: &mut Option<u32>, point: u32) -> Option<Option<char>> {
    match (high.take(), point) {
        (None, 0xD800..=0xDBFF) => {
            *high = Some(point);
            Some(None)
        }
        (Some(first), 0xDC00..=0xDFFF) => {
            char::from_u32(0x10000 + ((first - 0xD800) << 10) + (point - 0xDC00)).map(Some)
        }
        (None, _) => char::from_u32(point).filter(|c| *c != '\0').map(Some),
        (Some(_), _) => None,
    }
}

fn digits(raw: &[u8], most: usize, radix: u32) -> usize {
    raw.iter()
        .take(most)
        .take_while(|byte| char::from(**byte).is_digit(radix))
        .count()
}

fn number(raw: &[u8], radix: u32) -> Option<u32> {
    u32::from_str_radix(std::str::from_utf8(raw).ok()?, radix).ok()
}

/// The escape character of a `U&` token (with its `UESCAPE`). `None` if PostgreSQL rejects it.
pub(super) fn unicode_escape(token: &[u8]) -> Option<char> {
    unicode_parts(token, *token.get(2)?).map(|(_, escape)| escape)
}

/// Splits `U&"body" UESCAPE 'x'` into body and escape character.
fn unicode_parts(token: &[u8], quote: u8) -> Option<(&[u8], char)> {
    let inner = token.get(3..)?;
    let end = closing_quote(inner, quote)?;
    let body = &inner[..end];
    let rest = &inner[end + 1..];
    if rest.is_empty() {
        return Some((body, '\\'));
    }
    // A string constant of one character, whatever its quotes: the last byte before the closing
    // delimiter. Escapes in it (`E'\x21'`) are so unusual that they count as wrong.
    let escape = match rest {
        [.., b'\'', escape, b'\''] => *escape,
        [.., b'$', b'$', escape, b'$', b'$'] => *escape,
        _ => return None,
    };
    let allowed = !(escape.is_ascii_hexdigit()
        || matches!(escape, b'+' | b'\'' | b'"')
        || escape.is_ascii_whitespace());
    (allowed && escape.is_ascii()).then_some((body, char::from(escape)))
}

fn closing_quote(inner: &[u8], quote: u8) -> Option<usize> {
    let mut at = 0;
    while let Some(&byte) = inner.get(at) {
        if byte == quote {
            if inner.get(at + 1) == Some(&quote) {
                at += 2;
                continue;
            }
            if quote == b'\'' {
                let next = continuation_end(inner, at + 1);
                let between = &inner[at + 1..next.min(inner.len())];
                if continues(between) {
                    at = next;
                    continue;
                }
            }
            return Some(at);
        }
        at += 1;
    }
    None
}

/// True if only white space and comments with a line break lie before the quote at the end.
fn continues(between: &[u8]) -> bool {
    let Some((b'\'', space)) = between.split_last() else {
        return false;
    };
    let mut newline = false;
    let mut at = 0;
    while let Some(&byte) = space.get(at) {
        match byte {
            b'\n' | b'\r' => newline = true,
            b' ' | b'\t' | 0x0b | 0x0c => {}
            b'-' if space.get(at + 1) == Some(&b'-') => {
                while at < space.len() && !matches!(space[at], b'\n' | b'\r') {
                    at += 1;
                }
                continue;
            }
            _ => return false,
        }
        at += 1;
    }
    newline
}

/// Resolves `\0061` and `\+000061` (`parser.c`, `str_udeescape`). `None` if one is wrong.
fn decode_unicode(raw: &str, escape: char) -> Option<String> {
    let mut decoded = String::with_capacity(raw.len());
    let mut high_surrogate = None;
    let mut rest = raw;
    while let Some(at) = rest.find(escape) {
        if at > 0 && high_surrogate.is_some() {
            return None;
        }
        decoded.push_str(&rest[..at]);
        let after = &rest[at + escape.len_utf8()..];
        if let Some(after) = after.strip_prefix(escape) {
            if high_surrogate.is_some() {
                return None;
            }
            decoded.push(escape);
            rest = after;
            continue;
        }
        let (digits, length) = match after.strip_prefix('+') {
            Some(digits) => (digits, 6),
            None => (after, 4),
        };
        let point = digits
            .get(..length)
            .filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()))?;
        let point = u32::from_str_radix(point, 16).ok()?;
        if let Some(point) = pair(&mut high_surrogate, point)? {
            decoded.push(point);
        }
        rest = &digits[length..];
    }
    decoded.push_str(rest);
    high_surrogate.is_none().then_some(decoded)
}
