//! Sizes, offsets and numbers that stand in memory and on disk.

use kstrace_schema::builtin::{ClockPairPayload, LostPayload, ProcessPayload};
use kstrace_schema::wire::{PACKET_MAGIC, PacketHeader, RECORD_ALIGN_BYTES, RecordHeader};
use kstrace_schema::{Cpu, LossReason, SourceId};
use std::mem::offset_of;

macro_rules! offsets {
    ($type:ty, $size:literal, $($field:ident $offset:literal),* $(,)?) => {
        assert_eq!(size_of::<$type>(), $size, stringify!($type));
        $(assert_eq!(
            offset_of!($type, $field), $offset,
            concat!(stringify!($type), ".", stringify!($field))
        );)*
    };
}

#[test]
fn structures_of_the_wire_are_laid_out_as_in_version_1() {
    offsets!(
        PacketHeader, 88, magic 0, uuid 4, stream_class_id 20, stream_instance_id 24,
        timestamp_begin_ns 32, timestamp_end_ns 40, content_size_bits 48, packet_size_bits 56,
        packet_seq_num 64, events_discarded 72, cpu_id 80, record_count 84,
    );
    offsets!(RecordHeader, 16, timestamp_ns 0, class_id 8, rest_len_bytes 10, payload_len_bytes 12);
    offsets!(
        LostPayload, 40, count 0, begin_ns 8, end_ns 16, reason 24, cpu 28, source 32, class_id 34,
        certainty 36,
    );
    offsets!(
        ClockPairPayload, 56, monotonic_ns 0, realtime_ns 8, boottime_ns 16, monotonic_raw_ns 24,
        tai_ns 32, tsc_cycles 40, error_bound_ns 48,
    );
    offsets!(ProcessPayload, 32, pid 0, tid 4, ppid 8, kernel 12, comm 16);
    assert_eq!(PACKET_MAGIC, 0xc1fc_1fc1);
    assert_eq!(RECORD_ALIGN_BYTES, 8);
}

#[test]
fn numbers_of_version_1() {
    assert_eq!((Cpu::NONE.0, SourceId::KSTRACE.0), (u32::MAX, 0));
    let reasons: Vec<(u32, &str)> = LossReason::ALL
        .iter()
        .map(|r| (*r as u32, r.word()))
        .collect();
    let known = [
        (1, "kernel-ring-full"),
        (2, "kernel-overwritten"),
        (3, "kernel-commit-overrun"),
        (4, "kernel-throttled"),
        (5, "ring-full"),
        (6, "ring-overwritten"),
        (7, "too-big"),
        (8, "viewer-lapped"),
        (9, "unparsable"),
        (10, "stated-by-input"),
        (11, "output-failed"),
    ];
    assert!(reasons.starts_with(&known), "{reasons:?}");
}
