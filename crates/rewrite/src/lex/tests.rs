use super::*;

fn lex(text: &str) -> Vec<(TokenKind, &str)> {
    let tokens = Tokens::lex(text.as_bytes(), true).unwrap();
    tokens
        .iter()
        .map(|token| (token.kind, &text[token.range()]))
        .collect()
}

fn texts(text: &str) -> Vec<&str> {
    lex(text).into_iter().map(|(_, text)| text).collect()
}

#[test]
fn operators_end_where_postgres_ends_them() {
    assert_eq!(texts("a=-1"), ["a", "=", "-", "1"]);
    assert_eq!(texts("a@-1"), ["a", "@-", "1"]);
    assert_eq!(texts("a*/*c*/b"), ["a", "*", "b"]);
    assert_eq!(texts("a+--c\nb"), ["a", "+", "b"]);
    assert_eq!(texts("a->>'b'"), ["a", "->>", "'b'"]);
    assert_eq!(texts("x<=-+-1"), ["x", "<=", "-", "+", "-", "1"]);
    assert_eq!(
        texts("f(a=>1,b:=2)::int"),
        [
            "f", "(", "a", "=>", "1", ",", "b", ":=", "2", ")", "::", "int"
        ]
    );
    assert_eq!(texts("a[1:2]"), ["a", "[", "1", ":", "2", "]"]);
}

#[test]
fn numbers() {
    assert_eq!(
        texts("1..2 .5 1. 1.5e-3 0x1F 1_000 1e x.1"),
        [
            "1", "..", "2", ".5", "1.", "1.5e-3", "0x1F", "1_000", "1", "e", "x", ".1"
        ]
    );
}

#[test]
fn strings_and_comments() {
    use TokenKind as Kind;
    assert_eq!(
        lex("'a''b' /* /* ' */ */ E'\\'', -- '\n'x'\n 'y'"),
        [
            (Kind::String, "'a''b'"),
            (Kind::EscapeString, "E'\\''"),
            (Kind::Comma, ","),
            (Kind::String, "'x'\n 'y'"),
        ]
    );
    assert_eq!(texts("'x' 'y'"), ["'x'", "'y'"]);
    assert_eq!(texts("'x' /* \n */ 'y'"), ["'x'", "'y'"]);
    assert_eq!(
        texts("'x' -- c ' \n -- d\n 'y'"),
        ["'x' -- c ' \n -- d\n 'y'"]
    );
    assert_eq!(
        texts("$a$ $b$ $a$ $1 a$b $$;$$"),
        ["$a$ $b$ $a$", "$1", "a$b", "$$;$$"]
    );
    assert_eq!(
        texts("b'01' X'ff' n'x' u&'x' U&\"y\""),
        ["b'01'", "X'ff'", "n'x'", "u&'x'", "U&\"y\""]
    );
    assert_eq!(texts("u & 'x'"), ["u", "&", "'x'"]);
}

#[test]
fn a_backslash_escapes_where_strings_do_not_conform() {
    let text = br"'\'; DROP' x";
    assert_eq!(Tokens::lex(text, false).unwrap().len(), 2);
    assert!(Tokens::lex(br"'\'; DROP x", false).is_err());
    assert_eq!(Tokens::lex(br"'\'; DROP x", true).unwrap().len(), 4);
}

#[test]
fn what_does_not_end_is_an_error() {
    for text in ["'a", "\"a", "/* /* */", "$a$ $A$", "E'\\'", "\"\"", "U&'a"] {
        assert!(Tokens::lex(text.as_bytes(), true).is_err(), "{text}");
    }
}

#[test]
fn names() {
    let names = |text: &str| {
        let tokens = Tokens::lex(text.as_bytes(), true).unwrap();
        (0..tokens.len())
            .filter_map(|i| tokens.identifier(i).map(Cow::into_owned))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        names("OrdErs \"Or\"\"d\" é 'x' 1"),
        ["orders", "Or\"d", "é"]
    );
    assert_eq!(
        names(r#"U&"\0061b\+00006f" U&"d!0061t" UESCAPE '!' u&"\\""#),
        ["abo", "dat", "\\"]
    );
    assert_eq!(names(&"a".repeat(70)), ["a".repeat(63)]);
    assert_eq!(names(&format!("\"{}é\"", "a".repeat(62))), ["a".repeat(62)]);
}

#[test]
fn string_values() {
    let value = |text: &str| {
        let tokens = Tokens::lex(text.as_bytes(), true).unwrap();
        assert_eq!(tokens.len(), 1, "{text}");
        String::from_utf8(tokens.string_value(0).unwrap().into_owned()).unwrap()
    };
    assert_eq!(value("'a''b'"), "a'b");
    assert_eq!(value("'a'\n'b'"), "ab");
    assert_eq!(value(r"E'a\'\n\x41\101\u00e9'"), "a'\nAAé");
    assert_eq!(value(r"E'\ud83d\ude00'"), "😀");
    assert_eq!(value("$x$a'b$x$"), "a'b");
    assert_eq!(value(r"U&'\00e9'"), "é");
    assert_eq!(value("N'x'"), "x");
    assert_eq!(value("'a' -- it's\n'b'"), "ab");
}

#[test]
fn spans_reach_from_token_to_token() {
    let tokens = Tokens::lex(b" a /* x */ b ; ", true).unwrap();
    assert_eq!(tokens.span(0..2), 1..12);
    assert_eq!(tokens.span(2..2), 13..13);
    assert_eq!(tokens.span(3..3), 15..15);
}
