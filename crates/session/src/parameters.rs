//! The parameters that the server reports, as the client knows them.
//!
//! PostgreSQL tells of them when a message ends, and only of those whose value differs from what it told last
//! (`ReportChangedGUCOptions` in `guc.c`). Where a message is sent in parts, the ends in between are not the client's. The
//! order of several reports is PostgreSQL's own affair (by name up to 15, by the order of the changes from 16 on), and not kept.

use bytes::BytesMut;
use wire::build;

#[derive(Debug, Default)]
pub(crate) struct Parameters {
    told: Values,
    /// Since the first part of a message.
    held: Values,
}

impl Parameters {
    /// The client reads it now.
    pub fn tell(&mut self, name: &[u8], value: &[u8]) {
        self.told.set(name, value);
    }

    /// The client reads the last value of each when its message ends.
    pub fn hold(&mut self, name: &[u8], value: &[u8]) {
        self.held.set(name, value);
    }

    /// The client's message ends.
    pub fn release(&mut self, to_client: &mut BytesMut) {
        for (name, value) in std::mem::take(&mut self.held).iter() {
            if self.told.get(name) == Some(value) {
                continue;
            }
            self.told.set(name, value);
            // It came in a message of that length.
            let _ = build::parameter_status(to_client, name, value);
        }
    }
}

/// Names and values, each with a zero byte behind it: every session has them, and hardly ever are they looked at.
#[derive(Debug, Default)]
struct Values(Box<[u8]>);

impl Values {
    fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let mut texts = self.0.split(|&byte| byte == 0);
        std::iter::from_fn(move || Some((texts.next()?, texts.next()?)))
    }

    fn get(&self, wanted: &[u8]) -> Option<&[u8]> {
        self.iter()
            .find(|(name, _)| *name == wanted)
            .map(|(_, value)| value)
    }

    fn set(&mut self, name: &[u8], value: &[u8]) {
        let others = self.iter().filter(|(other, _)| *other != name);
        self.0 = others
            .chain([(name, value)])
            .flat_map(|(name, value)| [name, b"\0", value, b"\0"])
            .flatten()
            .copied()
            .collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn released(parameters: &mut Parameters) -> Vec<u8> {
        let mut out = BytesMut::new();
        parameters.release(&mut out);
        out.to_vec()
    }

    #[test]
    fn only_what_differs_in_the_end_is_told() {
        let mut parameters = Parameters::default();
        parameters.tell(b"application_name", b"");
        parameters.tell(b"TimeZone", b"UTC");
        parameters.hold(b"application_name", b"a");
        parameters.hold(b"TimeZone", b"CET");
        parameters.hold(b"application_name", b"");
        assert_eq!(
            released(&mut parameters),
            b"S\x00\x00\x00\x11TimeZone\0CET\0"
        );
        assert!(released(&mut parameters).is_empty());
        parameters.hold(b"TimeZone", b"CET");
        assert!(released(&mut parameters).is_empty());
    }
}
