//! Finds BackendKeyData in what the server says before its first ReadyForQuery.

use bytes::{Buf, Bytes, BytesMut};

/// Protocol 3.2 allows secrets of up to 256 bytes.
const KEY_BYTES_MAX: usize = 4 + 256;

/// Looks at frame headers only; keeps nothing but the key.
#[derive(Debug, Default)]
pub struct KeyWatch {
    /// Header bytes seen so far of the frame at hand.
    header: BytesMut,
    /// Bytes of the frame's body still to come.
    body_left: usize,
    key: Option<BytesMut>,
    collecting: bool,
    done: bool,
}

impl KeyWatch {
    /// Process id and secret, as a CancelRequest carries them.
    pub fn key(&self) -> Option<&[u8]> {
        self.key.as_deref().filter(|_| !self.collecting)
    }

    /// Bytes of the server in their order. Cheap to call once the session is ready.
    pub fn observe(&mut self, mut bytes: &[u8]) {
        while !self.done && !bytes.is_empty() {
            if self.body_left > 0 {
                let take = self.body_left.min(bytes.len());
                if let Some(key) = self.key.as_mut().filter(|_| self.collecting) {
                    key.extend_from_slice(&bytes[..take]);
                }
                self.body_left -= take;
                bytes.advance(take);
                if self.body_left == 0 {
                    self.collecting = false;
                }
                continue;
            }
            let take = (5 - self.header.len()).min(bytes.len());
            self.header.extend_from_slice(&bytes[..take]);
            bytes.advance(take);
            if self.header.len() == 5 {
                self.begin_frame();
            }
        }
    }

    fn begin_frame(&mut self) {
        let tag = self.header.get_u8();
        let length = self.header.get_u32() as usize;
        self.header.clear();
        let Some(body) = length.checked_sub(4) else {
            self.done = true;
            return;
        };
        self.body_left = body;
        match tag {
            b'Z' => self.done = true,
            b'K' if (8..=KEY_BYTES_MAX).contains(&body) => {
                self.key = Some(BytesMut::with_capacity(body));
                self.collecting = true;
            }
            _ => {}
        }
    }
}

/// The CancelRequest for a key.
pub fn cancel_request(key: &[u8]) -> Bytes {
    let mut packet = Vec::with_capacity(8 + key.len());
    packet.extend_from_slice(&(8 + key.len() as u32).to_be_bytes());
    packet.extend_from_slice(&80_877_102_u32.to_be_bytes());
    packet.extend_from_slice(key);
    packet.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_found_however_the_bytes_are_cut() {
        let mut bytes = b"R\0\0\0\x08\0\0\0\0S\0\0\0\x08a\0b\0K\0\0\0\x0c".to_vec();
        bytes.extend([1, 2, 3, 4, 5, 6, 7, 8]);
        bytes.extend(b"Z\0\0\0\x05IK\0\0\0\x0cXXXXXXXX");
        for size in 1..bytes.len() {
            let mut watch = KeyWatch::default();
            for chunk in bytes.chunks(size) {
                watch.observe(chunk);
            }
            assert_eq!(watch.key(), Some(&[1, 2, 3, 4, 5, 6, 7, 8][..]), "{size}");
        }
    }

    #[test]
    fn a_frame_that_lies_ends_the_search() {
        let mut watch = KeyWatch::default();
        watch.observe(b"R\0\0\0\x01K\0\0\0\x0c12345678");
        assert_eq!(watch.key(), None);
        let mut watch = KeyWatch::default();
        watch.observe(b"K\xff\xff\xff\xff1234");
        assert_eq!(watch.key(), None);
    }

    #[test]
    fn a_cancel_request_carries_the_key() {
        let packet = cancel_request(&[0, 0, 0, 1, 0, 0, 0, 2]);
        assert_eq!(
            packet.as_ref(),
            [0, 0, 0, 16, 4, 210, 22, 46, 0, 0, 0, 1, 0, 0, 0, 2]
        );
    }
}
