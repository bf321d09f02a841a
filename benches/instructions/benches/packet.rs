//! Building packets where no ring has made them.

use gungraun::{library_benchmark, library_benchmark_group, main};
use kstrace_ctf::PacketBuilder;
use kstrace_instructions::{PAYLOAD, RECORDS};
use kstrace_schema::{ClassId, Cpu, EventRecord, SessionTime};
use std::hint::black_box;

const PACKET_BYTES: usize = 128 << 10;

fn builder() -> PacketBuilder {
    PacketBuilder::new([7; 16], 0, Cpu(0), PACKET_BYTES)
}

fn all_there((_, bytes): (PacketBuilder, usize)) {
    // Header and payload are 64 bytes; packets add their own headers.
    assert!(bytes > RECORDS as usize * 64);
}

#[library_benchmark]
#[bench::kib_128(args = (), setup = builder, teardown = all_there)]
fn push(mut builder: PacketBuilder) -> (PacketBuilder, usize) {
    let mut bytes = 0;
    for n in 0..RECORDS {
        if builder.is_full_for(PAYLOAD.len()) {
            bytes += builder.take(|packet| black_box(packet).len());
        }
        builder.push(&EventRecord {
            class: ClassId(3),
            rest_len_bytes: 0,
            cpu: Cpu(0),
            time: SessionTime::from_ns(1_000 + n * 100),
            payload: black_box(&PAYLOAD),
        });
    }
    bytes += builder.take(|packet| black_box(packet).len());
    (builder, bytes)
}

library_benchmark_group!(name = packet, benchmarks = push);
main!(library_benchmark_groups = packet);
