//! What the tests share.

use kstrace_ring::{LaneConfig, Mode, Ring, RingClock, RingConfig};
use kstrace_schema::wire::{PacketHeader, RecordHeader, record_size_bytes};
use kstrace_schema::{ClockKind, Cpu};
use zerocopy::FromBytes;

pub(crate) const UUID: [u8; 16] = *b"0123456789abcdef";
pub(crate) const HEADER: usize = kstrace_schema::wire::PACKET_HEADER_BYTES;

/// A ring of equal lanes for CPUs 0, 1, ...
pub(crate) fn ring(lanes: usize, mode: Mode, sub_buffer_bytes: usize, sub_buffers: usize) -> Ring {
    Ring::create(&config(lanes, mode, sub_buffer_bytes, sub_buffers)).unwrap()
}

pub(crate) fn config(
    lanes: usize,
    mode: Mode,
    sub_buffer_bytes: usize,
    sub_buffers: usize,
) -> RingConfig {
    let lanes = (0..lanes as u32)
        .map(|cpu| LaneConfig {
            cpu: Cpu(cpu),
            mode,
            sub_buffer_bytes,
            sub_buffers,
        })
        .collect();
    let clock = RingClock {
        kind: ClockKind::Monotonic,
        offset_to_realtime_ns: 1_700_000_000_000_000_000,
    };
    RingConfig {
        metadata_bytes: 4096,
        ..RingConfig::new(UUID, clock, lanes)
    }
}

/// One record as a test sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) class: u16,
    pub(crate) rest: u16,
    pub(crate) ns: u64,
    pub(crate) payload: Vec<u8>,
}

/// Decodes a packet and checks that it is consistent in itself.
pub(crate) fn decode(packet: &[u8]) -> (PacketHeader, Vec<Seen>) {
    let (header, _) = PacketHeader::read_from_prefix(packet).unwrap();
    assert_eq!(header.magic, 0xC1FC_1FC1);
    assert_eq!(header.uuid, UUID);
    assert_eq!(header.stream_class_id, 0);
    assert_eq!(header.content_size_bits, packet.len() as u64 * 8);
    assert_eq!(header.packet_size_bits, packet.len() as u64 * 8);
    let mut records = Vec::new();
    let mut at = HEADER;
    while at < packet.len() {
        let (r, rest) = RecordHeader::read_from_prefix(&packet[at..]).unwrap();
        let len = r.payload_len_bytes as usize;
        let size = record_size_bytes(len);
        assert!(
            rest[len..size - 16].iter().all(|b| *b == 0),
            "padding is not zero"
        );
        records.push(Seen {
            class: r.class_id,
            rest: r.rest_len_bytes,
            ns: r.timestamp_ns,
            payload: rest[..len].to_vec(),
        });
        at += size;
    }
    assert_eq!(at, packet.len());
    assert_eq!(header.record_count as usize, records.len());
    if let (Some(first), Some(last)) = (records.first(), records.last()) {
        assert_eq!(header.timestamp_begin_ns, first.ns);
        assert_eq!(header.timestamp_end_ns, last.ns);
    }
    assert!(records.is_sorted_by_key(|r| r.ns), "times go back");
    (header, records)
}
