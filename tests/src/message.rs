//! One backend message, and how it reads in a comparison.

/// A backend message as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub tag: u8,
    pub body: Vec<u8>,
}

/// How much of a message takes part in a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// Everything but what differs between any two servers: pids, keys, OIDs of user objects.
    Exact,
    /// Without the source file, line and routine of an error: a trigger of ours that raises PostgreSQL's own error
    /// raises it from another place. And without the numbers of columns, which leave a gap where ours are: pg_attribute
    /// says the same.
    Meaning,
}

/// The first OID that is not PostgreSQL's own.
pub const FIRST_USER_OID: u32 = 16384;

impl Message {
    /// The message as one line. Two messages are the same if their lines are.
    pub fn line(&self, detail: Detail) -> String {
        self.try_line(detail)
            .unwrap_or_else(|| format!("{} malformed: {}", self.tag as char, text(&self.body)))
    }

    fn try_line(&self, detail: Detail) -> Option<String> {
        let mut body = Body(&self.body);
        let tag = self.tag as char;
        let rest = match self.tag {
            b'K' => {
                body.u32()?;
                format!("<pid> <key of {} bytes>", body.take_rest().len())
            }
            b'R' => match body.u32()? {
                5 => "5 <salt>".to_owned(),
                code => format!("{code} {}", text(body.take_rest())),
            },
            b'S' => format!("{}={}", body.cstr()?, body.cstr()?),
            b'T' => row_description(&mut body, detail)?,
            b'D' => data_row(&mut body)?,
            b't' => {
                let count = body.u16()?;
                (0..count)
                    .map(|_| body.u32().map(oid))
                    .collect::<Option<Vec<_>>>()?
                    .join(" ")
            }
            b'E' | b'N' => fields(&mut body, detail)?,
            b'A' => {
                body.u32()?;
                format!("<pid> {} {:?}", body.cstr()?, body.cstr()?)
            }
            _ => text(body.take_rest()),
        };
        body.0
            .is_empty()
            .then(|| format!("{tag} {rest}").trim_end().to_owned())
    }

    /// The value of a field of an ErrorResponse or NoticeResponse.
    pub fn field(&self, key: u8) -> Option<String> {
        let mut body = Body(&self.body);
        loop {
            let code = body.u8().filter(|code| *code != 0)?;
            let value = body.cstr()?;
            if code == key {
                return Some(value);
            }
        }
    }

    /// The columns of a DataRow, as they came.
    pub fn columns(&self) -> Vec<Option<Vec<u8>>> {
        assert_eq!(self.tag, b'D', "not a DataRow");
        let mut body = Body(&self.body);
        let count = body.u16().expect("a column count");
        (0..count)
            .map(|_| body.value().expect("a column"))
            .collect()
    }

    /// Type and format of each column of a RowDescription.
    pub fn column_types(&self) -> Vec<(u32, u16)> {
        let mut body = Body(&self.body);
        let count = body.u16().unwrap_or(0);
        let column = |body: &mut Body<'_>| {
            body.cstr()?;
            body.take(6)?;
            let kind = body.u32()?;
            body.take(6)?;
            Some((kind, body.u16()?))
        };
        (0..count).map_while(|_| column(&mut body)).collect()
    }

    /// Rewrites the values of a DataRow that are not null.
    pub fn change_columns(&mut self, mut change: impl FnMut(usize, &mut Vec<u8>)) {
        let mut columns = self.columns();
        let mut body = (columns.len() as u16).to_be_bytes().to_vec();
        for (at, column) in columns.iter_mut().enumerate() {
            match column {
                None => body.extend_from_slice(&u32::MAX.to_be_bytes()),
                Some(value) => {
                    change(at, value);
                    body.extend_from_slice(&(value.len() as u32).to_be_bytes());
                    body.extend_from_slice(value);
                }
            }
        }
        self.body = body;
    }

    /// The tag of a CommandComplete.
    pub fn command(&self) -> Option<String> {
        (self.tag == b'C').then(|| text(&self.body).trim_end_matches("\\x00").to_owned())
    }
}

fn row_description(body: &mut Body<'_>, detail: Detail) -> Option<String> {
    let count = body.u16()?;
    let mut columns = Vec::new();
    for _ in 0..count {
        let name = body.cstr()?;
        let table = if body.u32()? == 0 { "-" } else { "table" };
        let attribute = match detail {
            Detail::Exact => body.u16()?.to_string(),
            Detail::Meaning => body.u16().map(|_| "n".to_owned())?,
        };
        let (kind, size) = (oid(body.u32()?), body.u16()? as i16);
        let (modifier, format) = (body.u32()? as i32, body.u16()?);
        columns.push(format!(
            "{name}({table}.{attribute} type {kind} size {size} mod {modifier} format {format})"
        ));
    }
    Some(columns.join(" "))
}

fn data_row(body: &mut Body<'_>) -> Option<String> {
    let count = body.u16()?;
    let mut values = Vec::new();
    for _ in 0..count {
        values.push(match body.value()? {
            None => "null".to_owned(),
            Some(value) => format!("'{}'", text(&value)),
        });
    }
    Some(values.join(" "))
}

fn fields(body: &mut Body<'_>, detail: Detail) -> Option<String> {
    let mut fields = Vec::new();
    loop {
        let code = body.u8()?;
        if code == 0 {
            return Some(fields.join(" "));
        }
        let value = body.cstr()?;
        let place = matches!(code, b'F' | b'L' | b'R');
        if !(place && detail == Detail::Meaning) {
            fields.push(format!("{}={value:?}", code as char));
        }
    }
}

fn oid(oid: u32) -> String {
    if oid >= FIRST_USER_OID {
        "user".to_owned()
    } else {
        oid.to_string()
    }
}

/// Bytes as text; what is not printable or not UTF-8 in hexadecimal.
pub fn text(bytes: &[u8]) -> String {
    let mut out = String::new();
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            if c.is_control() || c == '\\' {
                c.to_string()
                    .bytes()
                    .for_each(|byte| out += &format!("\\x{byte:02x}"));
            } else {
                out.push(c);
            }
        }
        chunk
            .invalid()
            .iter()
            .for_each(|byte| out += &format!("\\x{byte:02x}"));
    }
    out
}

struct Body<'a>(&'a [u8]);

impl<'a> Body<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(count)?;
        self.0 = tail;
        Some(head)
    }

    fn take_rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }

    fn u8(&mut self) -> Option<u8> {
        Some(self.take(1)?[0])
    }

    fn u16(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(self.take(2)?.try_into().ok()?))
    }

    fn u32(&mut self) -> Option<u32> {
        Some(u32::from_be_bytes(self.take(4)?.try_into().ok()?))
    }

    fn cstr(&mut self) -> Option<String> {
        let end = self.0.iter().position(|byte| *byte == 0)?;
        let value = text(self.take(end)?);
        self.take(1)?;
        Some(value)
    }

    fn value(&mut self) -> Option<Option<Vec<u8>>> {
        match self.u32()? {
            u32::MAX => Some(None),
            length => Some(Some(self.take(length as usize)?.to_vec())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_oids_and_error_places_are_the_only_things_left_out() {
        let error = Message {
            tag: b'E',
            body: b"SERROR\0C42P01\0P15\0Fparse.c\0L7\0Rx\0\0".to_vec(),
        };
        assert_eq!(
            error.line(Detail::Meaning),
            r#"E S="ERROR" C="42P01" P="15""#
        );
        assert_eq!(
            error.line(Detail::Exact),
            r#"E S="ERROR" C="42P01" P="15" F="parse.c" L="7" R="x""#
        );
        let types = Message {
            tag: b't',
            body: vec![0, 2, 0, 0, 0, 23, 0, 0, 0x40, 1],
        };
        assert_eq!(types.line(Detail::Exact), "t 23 user");
    }

    #[test]
    fn a_body_that_does_not_fit_says_so() {
        let row = Message {
            tag: b'D',
            body: vec![0, 1, 0, 0, 0, 9, b'x'],
        };
        assert!(row.line(Detail::Exact).contains("malformed"));
        let trailing = Message {
            tag: b'S',
            body: b"a\0b\0c".to_vec(),
        };
        assert!(trailing.line(Detail::Exact).contains("malformed"));
    }
}
