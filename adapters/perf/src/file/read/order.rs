//! Numbers in the byte order of the machine that recorded.

use kstrace_schema::ByteOrder;

/// Reads numbers at offsets; nothing where they would end behind the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::file) struct Order {
    swap: bool,
}

impl Order {
    pub(in crate::file) fn new(byte_order: ByteOrder) -> Self {
        Order {
            swap: byte_order != ByteOrder::NATIVE,
        }
    }

    pub(super) fn byte_order(self) -> ByteOrder {
        match (self.swap, ByteOrder::NATIVE) {
            (false, native) => native,
            (true, ByteOrder::LittleEndian) => ByteOrder::BigEndian,
            (true, ByteOrder::BigEndian) => ByteOrder::LittleEndian,
        }
    }

    #[inline(always)]
    pub(in crate::file) fn u32(self, bytes: &[u8], at: usize) -> Option<u32> {
        let value = u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?);
        Some(if self.swap { value.swap_bytes() } else { value })
    }

    #[inline(always)]
    pub(in crate::file) fn u64(self, bytes: &[u8], at: usize) -> Option<u64> {
        let value = u64::from_ne_bytes(*bytes.get(at..)?.first_chunk()?);
        Some(if self.swap { value.swap_bytes() } else { value })
    }

    pub(in crate::file) fn put_u16(self, value: u16) -> [u8; 2] {
        let value = if self.swap { value.swap_bytes() } else { value };
        value.to_ne_bytes()
    }

    pub(in crate::file) fn put_u32(self, value: u32) -> [u8; 4] {
        let value = if self.swap { value.swap_bytes() } else { value };
        value.to_ne_bytes()
    }

    pub(in crate::file) fn put_u64(self, value: u64) -> [u8; 8] {
        let value = if self.swap { value.swap_bytes() } else { value };
        value.to_ne_bytes()
    }

    /// The header of a record: type, misc, size.
    #[inline(always)]
    pub(in crate::file) fn header(self, bytes: &[u8], at: usize) -> Option<RecordHead> {
        let header: &[u8; 8] = bytes.get(at..)?.first_chunk()?;
        let [a, b, c, d, e, f, g, h] = *header;
        let (mut r#type, mut misc, mut size) = (
            u32::from_ne_bytes([a, b, c, d]),
            u16::from_ne_bytes([e, f]),
            u16::from_ne_bytes([g, h]),
        );
        if self.swap {
            r#type = r#type.swap_bytes();
            misc = misc.swap_bytes();
            size = size.swap_bytes();
        }
        Some(RecordHead { r#type, misc, size })
    }
}

/// A record's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::file) struct RecordHead {
    pub(in crate::file) r#type: u32,
    pub(in crate::file) misc: u16,
    /// Bytes, this header included.
    pub(in crate::file) size: u16,
}

/// Reads a feature section or another text of numbers and strings from its start on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
    order: Order,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8], order: Order) -> Self {
        Cursor {
            bytes,
            at: 0,
            order,
        }
    }

    /// Bytes read so far.
    pub(super) fn position(&self) -> usize {
        self.at
    }

    pub(super) fn take(&mut self, size: u64) -> Option<&'a [u8]> {
        let size = usize::try_from(size).ok()?;
        let taken = self.bytes.get(self.at..)?.get(..size)?;
        self.at += size;
        Some(taken)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        let value = self.order.u32(self.bytes, self.at)?;
        self.at += 4;
        Some(value)
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        let value = self.order.u64(self.bytes, self.at)?;
        self.at += 8;
        Some(value)
    }

    /// Bytes up to a NUL, which is skipped.
    pub(super) fn c_string(&mut self) -> Option<&'a [u8]> {
        let left = self.bytes.get(self.at..)?;
        let length = left.iter().position(|b| *b == 0)?;
        self.at += length + 1;
        left.get(..length)
    }

    /// perf's string: a `u32` of room, then text ended by a NUL within it.
    pub(super) fn string(&mut self) -> Option<String> {
        let room = self.u32()?;
        let bytes = self.take(room.into())?;
        Some(until_nul(bytes))
    }
}

/// Text up to the first NUL; what is no UTF-8 is replaced.
pub(super) fn until_nul(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}
