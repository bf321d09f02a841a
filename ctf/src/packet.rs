//! Packets as bytes: checking one, walking its records.

use kstrace_schema::wire::{
    PACKET_HEADER_BYTES, PACKET_MAGIC, PacketHeader, RECORD_ALIGN_BYTES, RECORD_HEADER_BYTES,
    RecordHeader, STREAM_CLASS_ID,
};
use zerocopy::FromBytes;

/// Size of a packet header that has no record after it, as CTF readers count
/// it: `record_count` is no part of the description.
pub(crate) const EMPTY_CONTENT_BYTES: usize = PACKET_HEADER_BYTES - 4;

/// What is wrong with a packet.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PacketError {
    /// It ends within its header.
    #[error("packet header needs {PACKET_HEADER_BYTES} bytes, only {available} are there")]
    Short {
        /// Bytes that are there.
        available: usize,
    },
    /// It does not begin with the magic number.
    #[error("magic is {found:#010x}, not {PACKET_MAGIC:#010x}")]
    Magic {
        /// What stands there.
        found: u32,
    },
    /// It belongs to another trace.
    #[error("uuid is not the trace's")]
    Uuid,
    /// It belongs to a stream class that is not there.
    #[error("stream_class_id is {found}, not {STREAM_CLASS_ID}")]
    StreamClass {
        /// What stands there.
        found: u32,
    },
    /// Its content size is impossible.
    #[error(
        "content_size is {bits} bits, allowed are whole bytes from {EMPTY_CONTENT_BYTES} to {limit_bytes}"
    )]
    ContentSize {
        /// What stands there.
        bits: u64,
        /// Largest size allowed.
        limit_bytes: u64,
    },
    /// Its packet size is impossible.
    #[error(
        "packet_size is {bits} bits, allowed are whole bytes from {least_bytes} to {limit_bytes}"
    )]
    PacketSize {
        /// What stands there.
        bits: u64,
        /// Smallest size allowed.
        least_bytes: u64,
        /// Largest size allowed.
        limit_bytes: u64,
    },
    /// A record reaches past the content.
    #[error(
        "record at byte {offset}: payload_len {payload_len_bytes} reaches past the content's end {content_bytes}"
    )]
    Record {
        /// The record's offset in the packet.
        offset: usize,
        /// What its header says.
        payload_len_bytes: u32,
        /// Size of the content.
        content_bytes: usize,
    },
    /// The records are not as many as the header says.
    #[error("record_count is {stated}, but {found} records are there")]
    RecordCount {
        /// What the header says.
        stated: u32,
        /// What there is.
        found: u64,
    },
}

impl PacketError {
    /// The field that is wrong, by its name in the metadata.
    pub fn field(&self) -> &'static str {
        match self {
            PacketError::Short { .. } => "packet header",
            PacketError::Magic { .. } => "magic",
            PacketError::Uuid => "uuid",
            PacketError::StreamClass { .. } => "stream_id",
            PacketError::ContentSize { .. } => "content_size",
            PacketError::PacketSize { .. } => "packet_size",
            PacketError::Record { .. } => "payload_len",
            PacketError::RecordCount { .. } => "record_count",
        }
    }
}

/// Reads and checks a packet's header. `limit_bytes` is how far the packet may reach.
pub(crate) fn header(
    bytes: &[u8],
    uuid: &[u8; 16],
    limit_bytes: u64,
) -> Result<PacketHeader, PacketError> {
    let Ok((header, _)) = PacketHeader::read_from_prefix(bytes) else {
        return Err(PacketError::Short {
            available: bytes.len(),
        });
    };
    if header.magic != PACKET_MAGIC {
        return Err(PacketError::Magic {
            found: header.magic,
        });
    }
    if header.uuid != *uuid {
        return Err(PacketError::Uuid);
    }
    if header.stream_class_id != STREAM_CLASS_ID {
        return Err(PacketError::StreamClass {
            found: header.stream_class_id,
        });
    }
    let bits = header.content_size_bits;
    if bits % 8 != 0 || bits / 8 < EMPTY_CONTENT_BYTES as u64 || bits / 8 > limit_bytes {
        return Err(PacketError::ContentSize { bits, limit_bytes });
    }
    let least_bytes = (bits / 8).max(PACKET_HEADER_BYTES as u64);
    let bits = header.packet_size_bits;
    if bits % 8 != 0 || bits / 8 < least_bytes || bits / 8 > limit_bytes {
        return Err(PacketError::PacketSize {
            bits,
            least_bytes,
            limit_bytes,
        });
    }
    Ok(header)
}

/// A record in a packet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RawRecord<'a> {
    pub(crate) header: RecordHeader,
    pub(crate) payload: &'a [u8],
    /// Where the record after it begins.
    pub(crate) next: usize,
}

/// The record at `offset` of a packet whose content is `content`; `None` at the end.
///
/// The content may end with the last record or with the padding after it.
#[inline]
pub(crate) fn record_at(
    content: &[u8],
    offset: usize,
) -> Option<Result<RawRecord<'_>, PacketError>> {
    let rest = content.get(offset..)?;
    let Ok((header, rest)) = RecordHeader::read_from_prefix(rest) else {
        // Less than a header: nothing but padding can be left.
        return None;
    };
    let Some(payload) = rest.get(..header.payload_len_bytes as usize) else {
        return Some(Err(PacketError::Record {
            offset,
            payload_len_bytes: header.payload_len_bytes,
            content_bytes: content.len(),
        }));
    };
    let end = offset + RECORD_HEADER_BYTES + payload.len();
    Some(Ok(RawRecord {
        header,
        payload,
        next: end.next_multiple_of(RECORD_ALIGN_BYTES),
    }))
}

/// A packet that was walked to its end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Walked {
    pub(crate) header: PacketHeader,
    /// Where the last payload ends. CTF readers take everything up to
    /// `content_size` for records: the padding of the last one must not count.
    pub(crate) content_bytes: usize,
}

/// Checks a whole packet and shows every record to `visit`.
pub(crate) fn walk(
    bytes: &[u8],
    uuid: &[u8; 16],
    mut visit: impl FnMut(&RawRecord<'_>),
) -> Result<Walked, PacketError> {
    // The packet size is not looked at: a ring may cut off what pads its sub-buffer.
    let limit = bytes.len() as u64;
    let header = match header(bytes, uuid, limit) {
        Err(PacketError::PacketSize { bits, .. }) if bits / 8 > limit => {
            PacketHeader::read_from_prefix(bytes).map_or(
                Err(PacketError::Short {
                    available: bytes.len(),
                }),
                |(header, _)| Ok(header),
            )
        }
        other => other,
    }?;
    let stated = usize::try_from(header.content_size_bits / 8).unwrap_or(bytes.len());
    let content = bytes.get(..stated).unwrap_or(bytes);
    let mut offset = PACKET_HEADER_BYTES;
    let mut end = EMPTY_CONTENT_BYTES;
    let mut found = 0u64;
    while let Some(record) = record_at(content, offset) {
        let record = record?;
        end = offset + RECORD_HEADER_BYTES + record.payload.len();
        offset = record.next;
        found += 1;
        visit(&record);
    }
    if found != u64::from(header.record_count) {
        return Err(PacketError::RecordCount {
            stated: header.record_count,
            found,
        });
    }
    Ok(Walked {
        header,
        content_bytes: end,
    })
}

/// A session's UUID as it stands in packet headers: 16 bytes in network order.
pub fn uuid_bytes(text: &str) -> Option<[u8; 16]> {
    let digits = text.bytes().filter(|b| *b != b'-').collect::<Vec<_>>();
    if digits.len() != 32 || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    let mut bytes = [0u8; 16];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uuids() {
        let bytes = uuid_bytes("00010203-0405-0607-0809-0a0b0c0d0eff").unwrap();
        assert_eq!(
            bytes,
            [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 255]
        );
        assert!(uuid_bytes("").is_none());
        assert!(uuid_bytes("zz010203-0405-0607-0809-0a0b0c0d0eff").is_none());
        assert!(uuid_bytes("+0010203-0405-0607-0809-0a0b0c0d0eff").is_none());
    }
}
