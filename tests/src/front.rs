//! Frontend messages, byte by byte, right ones and wrong ones.

/// A frame: tag, length, body.
pub fn frame(tag: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    out.extend_from_slice(&(body.len() as u32 + 4).to_be_bytes());
    out.extend_from_slice(body);
    out
}

/// A frame whose length is what the caller says it is.
pub fn frame_of_length(tag: u8, length: i32, body: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(body);
    out
}

fn cstr(text: &str) -> Vec<u8> {
    let mut out = text.as_bytes().to_vec();
    out.push(0);
    out
}

/// A packet without a tag, as they come before the session: length and body.
pub fn packet(body: &[u8]) -> Vec<u8> {
    let mut out = (body.len() as u32 + 4).to_be_bytes().to_vec();
    out.extend_from_slice(body);
    out
}

/// A StartupMessage of the given protocol version.
pub fn startup(major: u16, minor: u16, parameters: &[(&str, &str)]) -> Vec<u8> {
    let mut body = major.to_be_bytes().to_vec();
    body.extend_from_slice(&minor.to_be_bytes());
    for (key, value) in parameters {
        body.extend(cstr(key));
        body.extend(cstr(value));
    }
    body.push(0);
    packet(&body)
}

pub fn ssl_request() -> Vec<u8> {
    packet(&80877103u32.to_be_bytes())
}

pub fn gssenc_request() -> Vec<u8> {
    packet(&80877104u32.to_be_bytes())
}

/// A CancelRequest with a key of any length.
pub fn cancel_request(pid: u32, key: &[u8]) -> Vec<u8> {
    let mut body = 80877102u32.to_be_bytes().to_vec();
    body.extend_from_slice(&pid.to_be_bytes());
    body.extend_from_slice(key);
    packet(&body)
}

pub fn query(sql: &str) -> Vec<u8> {
    frame(b'Q', &cstr(sql))
}

pub fn parse(name: &str, sql: &str, types: &[u32]) -> Vec<u8> {
    let mut body = [cstr(name), cstr(sql)].concat();
    body.extend_from_slice(&(types.len() as u16).to_be_bytes());
    types
        .iter()
        .for_each(|oid| body.extend_from_slice(&oid.to_be_bytes()));
    frame(b'P', &body)
}

/// A Bind with parameters as text and all results in one format: 0 text, 1 binary.
pub fn bind(portal: &str, statement: &str, values: &[Option<&str>], format: u16) -> Vec<u8> {
    let mut body = [cstr(portal), cstr(statement)].concat();
    body.extend_from_slice(&0u16.to_be_bytes());
    body.extend_from_slice(&(values.len() as u16).to_be_bytes());
    for value in values {
        match value {
            None => body.extend_from_slice(&(-1i32).to_be_bytes()),
            Some(value) => {
                body.extend_from_slice(&(value.len() as u32).to_be_bytes());
                body.extend_from_slice(value.as_bytes());
            }
        }
    }
    body.extend_from_slice(&1u16.to_be_bytes());
    body.extend_from_slice(&format.to_be_bytes());
    frame(b'B', &body)
}

pub fn describe_statement(name: &str) -> Vec<u8> {
    frame(b'D', &[vec![b'S'], cstr(name)].concat())
}

pub fn describe_portal(name: &str) -> Vec<u8> {
    frame(b'D', &[vec![b'P'], cstr(name)].concat())
}

pub fn execute(portal: &str, rows_max: u32) -> Vec<u8> {
    frame(
        b'E',
        &[cstr(portal), rows_max.to_be_bytes().to_vec()].concat(),
    )
}

pub fn close_statement(name: &str) -> Vec<u8> {
    frame(b'C', &[vec![b'S'], cstr(name)].concat())
}

pub fn close_portal(name: &str) -> Vec<u8> {
    frame(b'C', &[vec![b'P'], cstr(name)].concat())
}

pub fn sync() -> Vec<u8> {
    frame(b'S', b"")
}

pub fn flush() -> Vec<u8> {
    frame(b'H', b"")
}

pub fn terminate() -> Vec<u8> {
    frame(b'X', b"")
}

pub fn copy_data(data: &[u8]) -> Vec<u8> {
    frame(b'd', data)
}

pub fn copy_done() -> Vec<u8> {
    frame(b'c', b"")
}

pub fn copy_fail(reason: &str) -> Vec<u8> {
    frame(b'f', &cstr(reason))
}

/// A FunctionCall with arguments and result as text.
pub fn function_call(oid: u32, arguments: &[Option<&str>]) -> Vec<u8> {
    let mut body = oid.to_be_bytes().to_vec();
    body.extend_from_slice(&0u16.to_be_bytes());
    body.extend_from_slice(&(arguments.len() as u16).to_be_bytes());
    for argument in arguments {
        match argument {
            None => body.extend_from_slice(&(-1i32).to_be_bytes()),
            Some(argument) => {
                body.extend_from_slice(&(argument.len() as u32).to_be_bytes());
                body.extend_from_slice(argument.as_bytes());
            }
        }
    }
    body.extend_from_slice(&0u16.to_be_bytes());
    frame(b'F', &body)
}

/// Parse, Bind, Execute, Sync, with both kinds of Describe, of one statement without parameters.
pub fn extended(sql: &str, format: u16) -> Vec<u8> {
    [
        parse("", sql, &[]),
        describe_statement(""),
        bind("", "", &[], format),
        describe_portal(""),
        execute("", 0),
        sync(),
    ]
    .concat()
}
