//! The protobuf wire format, written by hand into one buffer.
//!
//! Field numbers stand at the places that use them, each with the name it has in
//! Perfetto's public descriptors.

/// Bytes that are kept for a message's length before it is known.
const LENGTH_BYTES: usize = 2;
/// Longest length that fits in them: 7 bits a byte.
const MAX_SHORT_LENGTH: usize = 1 << (7 * LENGTH_BYTES);

const VARINT: u64 = 0;
const LEN: u64 = 2;

/// Where the length of an open message goes.
#[derive(Debug)]
#[must_use = "an open message has to be closed"]
pub(crate) struct Open(usize);

/// A growing protobuf message.
#[derive(Clone, Debug, Default)]
pub(crate) struct Proto {
    bytes: Vec<u8>,
}

impl Proto {
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
    }

    /// Drops what was written after the buffer had this length.
    pub(crate) fn truncate(&mut self, len: usize) {
        self.bytes.truncate(len);
    }

    #[inline]
    pub(crate) fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.bytes.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.bytes.push(value as u8);
    }

    /// A tag made by [`varint_tag`] and a value.
    #[inline]
    pub(crate) fn tagged(&mut self, tag: u32, value: u64) {
        self.varint(tag.into());
        self.varint(value);
    }

    /// An unsigned integer; signed ones go in sign-extended, as protobuf wants it.
    #[inline]
    pub(crate) fn uint(&mut self, field: u32, value: u64) {
        self.tagged(varint_tag(field), value);
    }

    /// An `int32` or `int64`.
    #[inline]
    pub(crate) fn int(&mut self, field: u32, value: i64) {
        self.uint(field, value as u64);
    }

    pub(crate) fn bool(&mut self, field: u32, value: bool) {
        self.uint(field, value.into());
    }

    /// Bytes, or text that is known to be UTF-8.
    #[inline]
    pub(crate) fn bytes(&mut self, field: u32, value: &[u8]) {
        self.varint(u64::from(field) << 3 | LEN);
        self.varint(value.len() as u64);
        self.bytes.extend_from_slice(value);
    }

    /// Text that came from outside: what is no UTF-8 is replaced, since readers refuse it.
    #[inline]
    pub(crate) fn text(&mut self, field: u32, value: &[u8]) {
        match std::str::from_utf8(value) {
            Ok(_) => self.bytes(field, value),
            Err(_) => self.bytes(field, String::from_utf8_lossy(value).as_bytes()),
        }
    }

    /// The tag and length of a message whose bytes come next.
    pub(crate) fn message_head(&mut self, field: u32, len: usize) {
        self.varint(u64::from(field) << 3 | LEN);
        self.varint(len as u64);
    }

    /// Whole fields of another buffer.
    pub(crate) fn append(&mut self, fields: &Proto) {
        self.bytes.extend_from_slice(&fields.bytes);
    }

    /// Begins a message; what follows belongs to it until [`close`](Self::close).
    #[inline]
    pub(crate) fn open(&mut self, field: u32) -> Open {
        self.varint(u64::from(field) << 3 | LEN);
        self.bytes.extend_from_slice(&[0; LENGTH_BYTES]);
        Open(self.bytes.len())
    }

    /// Ends a message. A short one's length is padded to the bytes kept for it, which
    /// the wire format allows; a long one is moved.
    #[inline]
    pub(crate) fn close(&mut self, open: Open) {
        let len = self.bytes.len() - open.0;
        let at = open.0 - LENGTH_BYTES;
        if len < MAX_SHORT_LENGTH {
            self.bytes[at] = len as u8 | 0x80;
            self.bytes[at + 1] = (len >> 7) as u8;
        } else {
            self.close_long(at, len);
        }
    }

    #[cold]
    fn close_long(&mut self, at: usize, len: usize) {
        let mut length = Proto::default();
        length.varint(len as u64);
        self.bytes
            .splice(at..at + LENGTH_BYTES, length.bytes.iter().copied());
    }
}

/// The tag of a field with a varint in it.
pub(crate) const fn varint_tag(field: u32) -> u32 {
    field << 3 | VARINT as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers() {
        let mut p = Proto::default();
        p.uint(1, 300);
        p.int(2, -1);
        assert_eq!(
            p.as_bytes(),
            [
                8, 0xac, 2, 16, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1
            ]
        );
    }

    #[test]
    fn messages_of_every_length_class() {
        for len in [0usize, 1, 127, 128, 16_383, 16_384, 40_000, 3 << 20] {
            let mut p = Proto::default();
            let open = p.open(3);
            for _ in 0..len {
                p.bytes.push(7);
            }
            p.close(open);
            p.uint(1, 1);
            // Read back by the rules of the wire format alone.
            let (mut at, mut value, mut shift) = (1, 0usize, 0);
            assert_eq!(p.bytes[0], 3 << 3 | 2);
            loop {
                let byte = p.bytes[at];
                value |= usize::from(byte & 0x7f) << shift;
                (at, shift) = (at + 1, shift + 7);
                if byte & 0x80 == 0 {
                    break;
                }
            }
            assert_eq!(value, len);
            assert_eq!(&p.bytes[at + len..], [8, 1]);
        }
    }

    #[test]
    fn text_that_is_no_utf8_is_replaced() {
        let mut p = Proto::default();
        p.text(1, b"a\xffb");
        assert_eq!(&p.as_bytes()[2..], "a\u{fffd}b".as_bytes());
    }
}
