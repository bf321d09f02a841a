//! Making packets of records, where no ring has made them: conversion, tests.

use kstrace_schema::wire::{
    PACKET_HEADER_BYTES, PACKET_MAGIC, PacketHeader, RECORD_ALIGN_BYTES, RECORD_HEADER_BYTES,
    RecordHeader, STREAM_CLASS_ID, record_size_bytes,
};
use kstrace_schema::{Cpu, EventRecord};
use zerocopy::IntoBytes;

/// Collects the records of one lane into packets.
#[derive(Debug)]
pub struct PacketBuilder {
    header: PacketHeader,
    bytes: Vec<u8>,
    capacity_bytes: usize,
    /// Without the last record's padding.
    content_bytes: usize,
    /// The next packet begins here at the earliest: where the last one ended, and
    /// later than where that began.
    least_begin_ns: u64,
}

/// Where a packet grows no more, whatever [`PacketBuilder::is_at_one_time`] says.
const LARGEST_BYTES: usize = 16 << 20;

impl PacketBuilder {
    /// Packets of lane `lane` of the session with that UUID, which are full at
    /// `capacity_bytes` (a larger record gets a packet of its own).
    pub fn new(uuid: [u8; 16], lane: u32, cpu: Cpu, capacity_bytes: usize) -> Self {
        PacketBuilder {
            header: PacketHeader {
                magic: PACKET_MAGIC,
                uuid,
                stream_class_id: STREAM_CLASS_ID,
                stream_instance_id: lane.into(),
                timestamp_begin_ns: 0,
                timestamp_end_ns: 0,
                content_size_bits: 0,
                packet_size_bits: 0,
                packet_seq_num: 0,
                events_discarded: 0,
                cpu_id: cpu.0,
                record_count: 0,
            },
            bytes: vec![0; PACKET_HEADER_BYTES],
            capacity_bytes,
            content_bytes: PACKET_HEADER_BYTES,
            least_begin_ns: 0,
        }
    }

    /// Promises that no packet begins before that time, in ns of the session clock.
    pub fn set_least_begin(&mut self, least_begin_ns: u64) {
        self.least_begin_ns = self.least_begin_ns.max(least_begin_ns);
    }

    /// Packets taken so far.
    pub fn packets(&self) -> u64 {
        self.header.packet_seq_num
    }

    /// Whether the packet has records of one time only, and cannot begin before
    /// it: that is where the last packet ended, or 0.
    ///
    /// Such a packet should not be taken yet: the next one could begin at the
    /// same time, and tools that know packets by the time they begin
    /// (babeltrace2 sorts the files of a stream so) have no order for these.
    pub fn is_at_one_time(&self) -> bool {
        !self.is_empty() && self.begin_ns() == self.header.timestamp_end_ns
    }

    /// Whether no record was added since the last packet.
    pub fn is_empty(&self) -> bool {
        self.header.record_count == 0
    }

    /// Whether a record with a payload of that size should go into the next packet.
    pub fn is_full_for(&self, payload_len_bytes: usize) -> bool {
        let len = self.bytes.len() + record_size_bytes(payload_len_bytes);
        !self.is_empty()
            && len > self.capacity_bytes
            && (len > LARGEST_BYTES || !self.is_at_one_time())
    }

    /// Adds a record. The lane's records must come sorted by time.
    pub fn push(&mut self, record: &EventRecord<'_>) {
        let Ok(payload_len_bytes) = u32::try_from(record.payload.len()) else {
            return;
        };
        if self.is_empty() {
            self.header.timestamp_begin_ns = record.time.as_ns();
        }
        self.header.timestamp_end_ns = record.time.as_ns();
        self.header.record_count += 1;
        let header = RecordHeader {
            timestamp_ns: record.time.as_ns(),
            class_id: record.class.0,
            rest_len_bytes: record.rest_len_bytes,
            payload_len_bytes,
        };
        self.bytes.extend_from_slice(header.as_bytes());
        self.bytes.extend_from_slice(record.payload);
        self.content_bytes = self.bytes.len();
        self.bytes
            .resize(self.bytes.len().next_multiple_of(RECORD_ALIGN_BYTES), 0);
        debug_assert_eq!(
            (self.content_bytes - RECORD_HEADER_BYTES - record.payload.len()) % RECORD_ALIGN_BYTES,
            0
        );
    }

    /// Where the packet begins if it ends now.
    fn begin_ns(&self) -> u64 {
        let (first_ns, last_ns) = (self.header.timestamp_begin_ns, self.header.timestamp_end_ns);
        if first_ns == last_ns {
            let before_ns = first_ns.saturating_sub(1);
            return before_ns.max(self.least_begin_ns).min(last_ns);
        }
        first_ns
    }

    /// Counts records that were lost on this lane.
    pub fn discard(&mut self, count: u64) {
        self.header.events_discarded = self.header.events_discarded.saturating_add(count);
    }

    /// Hands over the packet, and goes on with the next one.
    ///
    /// A packet begins with its first record, or 1 ns before it if that is its last
    /// time too: so the next packet can begin there.
    pub fn take<R>(&mut self, use_packet: impl FnOnce(&[u8]) -> R) -> R {
        let end_ns = self.header.timestamp_end_ns;
        let mut begin_ns = self.header.timestamp_begin_ns;
        if begin_ns == end_ns {
            begin_ns = (begin_ns.saturating_sub(1))
                .max(self.least_begin_ns)
                .min(end_ns);
        }
        self.least_begin_ns = end_ns.max(begin_ns.saturating_add(1));
        let header = PacketHeader {
            timestamp_begin_ns: begin_ns,
            content_size_bits: self.content_bytes as u64 * 8,
            packet_size_bits: self.bytes.len() as u64 * 8,
            ..self.header
        };
        if let Some(place) = self.bytes.get_mut(..PACKET_HEADER_BYTES) {
            place.copy_from_slice(header.as_bytes());
        }
        let result = use_packet(&self.bytes);
        self.bytes.truncate(PACKET_HEADER_BYTES);
        self.content_bytes = PACKET_HEADER_BYTES;
        self.header.packet_seq_num += 1;
        self.header.record_count = 0;
        self.header.timestamp_begin_ns = self.header.timestamp_end_ns;
        result
    }
}
