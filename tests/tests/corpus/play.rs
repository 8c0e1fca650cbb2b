//! Saying the same statements in several ways, and writing down what comes back.

use tests::client::Client;
use tests::compare::lines;
use tests::front;
use tests::message::{Detail, FIRST_USER_OID, Message};
use tests::sql::statements;

/// A way of speaking the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// One Query per statement.
    Simple,
    /// One Query for all.
    Together,
    /// Parse, Bind, Describe, Execute; results as text.
    Text,
    /// The same with binary results.
    Binary,
}

impl Way {
    /// The ways that can differ for a text.
    pub fn of(sql: &str) -> Vec<Way> {
        let mut ways = vec![Way::Simple, Way::Text];
        // Only rows have a format.
        if only_reads(sql) || sql.to_ascii_lowercase().contains("returning") {
            ways.push(Way::Binary);
        }
        // Statements in one Query are one transaction, unless they say otherwise.
        if statements(sql).len() > 1 {
            ways.push(Way::Together);
        }
        ways
    }
}

/// Whether all ways can be tried one after the other in the same database.
pub fn only_reads(sql: &str) -> bool {
    let writes = [
        "insert", "update", "delete", "merge", "into", "nextval", "create", "drop", "alter", "for ",
    ];
    statements(sql).iter().all(|statement| {
        let lower = statement.to_ascii_lowercase();
        let reads = ["select", "with", "table", "values", "("]
            .iter()
            .any(|word| lower.starts_with(word));
        reads && !writes.iter().any(|word| lower.contains(word))
    })
}

/// Runs the setup. `settle` is called before the first statement that deletes.
pub fn set_up(client: &mut Client, catalog: &str, settle: impl Fn()) -> Vec<String> {
    let mut seen = Vec::new();
    let mut settled = false;
    for statement in statements(catalog) {
        if !settled && statement.to_ascii_lowercase().contains("delete") && !is_ddl(statement) {
            settle();
            settled = true;
        }
        seen.push(format!("-- {statement}"));
        seen.extend(written(&client.query(statement), statement));
    }
    if !settled {
        settle();
    }
    let error = seen.iter().find(|line| line.starts_with("E "));
    assert!(
        error.is_none(),
        "the catalog block does not run: {}",
        error.map_or("", String::as_str)
    );
    seen
}

fn is_ddl(statement: &str) -> bool {
    let word = statement.split_whitespace().next().unwrap_or_default();
    matches!(
        word.to_ascii_lowercase().as_str(),
        "create" | "alter" | "drop" | "comment" | "grant"
    )
}

/// Runs the statements of a case.
pub fn play(client: &mut Client, way: Way, sql: &str) -> Vec<String> {
    if way == Way::Together {
        return written(&answer(client, &front::query(sql), false), sql);
    }
    let mut seen = Vec::new();
    for statement in statements(sql) {
        seen.push(format!("-- {statement}"));
        let messages = match way {
            Way::Simple | Way::Together => answer(client, &front::query(statement), false),
            Way::Text => answer(client, &front::extended(statement, 0), true),
            Way::Binary => answer(client, &front::extended(statement, 1), true),
        };
        seen.extend(written(&messages, statement));
    }
    seen
}

/// Sends, and ends a COPY FROM STDIN without data as often as one begins.
fn answer(client: &mut Client, bytes: &[u8], extended: bool) -> Vec<Message> {
    client.send(bytes);
    let mut messages = Vec::new();
    loop {
        let more = client.until(|message| matches!(message.tag, b'Z' | b'G'));
        let copying = more.last().is_some_and(|message| message.tag == b'G');
        messages.extend(more);
        if !copying {
            return messages;
        }
        client.send(&front::copy_done());
        if extended {
            client.send(&front::sync());
        }
    }
}

/// Messages as lines. Where the client did not ask for an order, rows are put into one.
fn written(messages: &[Message], statement: &str) -> Vec<String> {
    let messages = without_user_oids(messages);
    let mut lines = lines(&messages, Detail::Meaning);
    if !asks_for_order(statement) {
        for run in lines.chunk_by_mut(|a, b| a.starts_with("D ") && b.starts_with("D ")) {
            run.sort();
        }
    }
    lines
}

/// True if there is an ORDER BY, other than within the brackets of a call such as `array_agg(x ORDER BY y)`.
fn asks_for_order(statement: &str) -> bool {
    let text = statement.to_ascii_lowercase();
    // Whether each bracket that is open is a call's.
    let mut calls = Vec::new();
    let mut quoted = false;
    let mut before = b' ';
    for (at, &byte) in text.as_bytes().iter().enumerate() {
        match byte {
            b'\'' => quoted = !quoted,
            _ if quoted => {}
            b'(' => calls.push(before.is_ascii_alphanumeric() || before == b'_'),
            b')' => drop(calls.pop()),
            b'o' if !calls.contains(&true) && text[at..].starts_with("order by") => return true,
            _ => {}
        }
        before = byte;
    }
    false
}

/// OIDs of the application's own objects differ between any two servers: 0 in their place. They show as such in binary,
/// and as text in columns of type oid.
fn without_user_oids(messages: &[Message]) -> Vec<Message> {
    let mut columns = Vec::new();
    let mut out = messages.to_vec();
    for message in &mut out {
        match message.tag {
            b'T' => columns = message.column_types(),
            b'D' => message.change_columns(|at, value| {
                let Some((kind, format)) = columns.get(at) else {
                    return;
                };
                let oid = match (kind, format) {
                    (kind, 1) if OID_TYPES.contains(kind) => <[u8; 4]>::try_from(value.as_slice())
                        .map(u32::from_be_bytes)
                        .ok(),
                    (26, 0) => std::str::from_utf8(value)
                        .ok()
                        .and_then(|text| text.parse().ok()),
                    _ => None,
                };
                if oid.is_some_and(|oid| oid >= FIRST_USER_OID) {
                    *value = if *format == 1 {
                        vec![0; 4]
                    } else {
                        b"0".to_vec()
                    };
                }
            }),
            _ => {}
        }
    }
    out
}

/// oid, regproc, regprocedure, regoper, regoperator, regclass, regtype, regrole, regnamespace.
const OID_TYPES: [u32; 9] = [26, 24, 2202, 2203, 2204, 2205, 2206, 4096, 4089];

/// The tables, views and sequences of the application, by the plain server's word.
pub fn tables(plain: &mut Client) -> Vec<String> {
    plain.run(
        "SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
         WHERE c.relkind IN ('r', 'p', 'v') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' ORDER BY 1",
    )
}

/// All rows of all of them, with their column descriptions.
pub fn look_at_everything(client: &mut Client, tables: &[String]) -> Vec<String> {
    let mut seen = Vec::new();
    for table in tables {
        let sql = format!("SELECT * FROM {table}");
        seen.push(format!("-- {sql}"));
        seen.extend(written(&client.query(&sql), &sql));
    }
    seen
}
