//! The bytes that the ring in memory and the trace on disk have in common.
//!
//! A packet is a CTF packet: [`PacketHeader`] (the CTF packet header and packet
//! context in one), then records back to back. A record is a
//! [`RecordHeader`] (the CTF event record header) and its payload, padded with
//! zeros to a multiple of [`RECORD_ALIGN_BYTES`]. Byte order is the machine's.
//!
//! Normative text: `schema/v1/ring.md`.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The CTF packet magic.
pub const PACKET_MAGIC: u32 = 0xC1FC_1FC1;
/// Records begin at multiples of this from the packet's start.
pub const RECORD_ALIGN_BYTES: usize = 8;
/// Size of [`PacketHeader`].
pub const PACKET_HEADER_BYTES: usize = size_of::<PacketHeader>();
/// Size of [`RecordHeader`].
pub const RECORD_HEADER_BYTES: usize = size_of::<RecordHeader>();
/// `PacketHeader::stream_class_id` of every stream.
pub const STREAM_CLASS_ID: u32 = 0;

/// CTF packet header followed by the CTF packet context. 88 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct PacketHeader {
    /// [`PACKET_MAGIC`].
    pub magic: u32,
    /// The session's UUID in network order.
    pub uuid: [u8; 16],
    /// [`STREAM_CLASS_ID`].
    pub stream_class_id: u32,
    /// The lane's number, which is the data stream's.
    pub stream_instance_id: u64,
    /// Time of the first record, ns of the session clock.
    pub timestamp_begin_ns: u64,
    /// Time of the last record, ns of the session clock.
    pub timestamp_end_ns: u64,
    /// Header and records, in bits.
    pub content_size_bits: u64,
    /// The whole packet, in bits.
    pub packet_size_bits: u64,
    /// 0 for the lane's first packet, then one more each.
    pub packet_seq_num: u64,
    /// Records lost on this lane since its start, as of the packet's end.
    pub events_discarded: u64,
    /// The CPU, `u32::MAX` for none.
    pub cpu_id: u32,
    /// Number of records in the packet.
    pub record_count: u32,
}

/// CTF event record header. 16 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct RecordHeader {
    /// Time, ns of the session clock.
    pub timestamp_ns: u64,
    /// The record's class.
    pub class_id: u16,
    /// Trailing payload bytes that the class describes as rest.
    pub rest_len_bytes: u16,
    /// Payload without padding.
    pub payload_len_bytes: u32,
}

/// Bytes that a record with a payload of `payload_len_bytes` takes in a packet.
pub const fn record_size_bytes(payload_len_bytes: usize) -> usize {
    (RECORD_HEADER_BYTES + payload_len_bytes).next_multiple_of(RECORD_ALIGN_BYTES)
}
