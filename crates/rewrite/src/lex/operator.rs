//! How far an operator reaches (`scan.l`, rule `operator`).

/// Bytes of the operator that `text` begins with; 0 if it begins with none.
pub(super) fn length(text: &[u8]) -> usize {
    let run = text
        .iter()
        .take_while(|byte| is_operator_byte(**byte))
        .count();
    if run <= 1 {
        return run;
    }
    let whole = &text[..run];
    let comment = whole
        .windows(2)
        .position(|pair| pair == b"/*" || pair == b"--");
    let mut length = comment.unwrap_or(run);
    let ends_in_sign = |length: usize| length > 1 && matches!(whole[length - 1], b'+' | b'-');
    // SQL wants `a=-1` to be `a = -1`: a sign ends an operator only if it holds a character that
    // no standard operator has.
    if ends_in_sign(length)
        && !whole[..length - 1]
            .iter()
            .any(|byte| is_beyond_standard(*byte))
    {
        while ends_in_sign(length) {
            length -= 1;
        }
    }
    length
}

fn is_operator_byte(byte: u8) -> bool {
    matches!(
        byte,
        b'~' | b'!'
            | b'@'
            | b'#'
            | b'^'
            | b'&'
            | b'|'
            | b'`'
            | b'?'
            | b'+'
            | b'-'
            | b'*'
            | b'/'
            | b'%'
            | b'<'
            | b'>'
            | b'='
    )
}

fn is_beyond_standard(byte: u8) -> bool {
    b"~!@#^&|`?%".contains(&byte)
}
