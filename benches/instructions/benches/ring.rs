//! Appending to a lane, and reading it. A record is a header of 16 bytes and a payload of 48.

use gungraun::{library_benchmark, library_benchmark_group, main};
use kstrace_instructions::{PAYLOAD, RECORDS};
use kstrace_ring::{LaneConfig, LaneWriter, Mode, Ring, RingClock, RingConfig, Start, Viewer};
use kstrace_schema::{ClassId, Cpu, SessionTime};
use std::hint::black_box;

/// Records from publication to publication.
const BATCH: u64 = 64;
/// Holds more than [`RECORDS`] of 64 bytes, in eight packets.
const LANE_BYTES: usize = 1 << 20;

/// How often a lane is filled before it is measured: more than it holds.
const LAPS: u64 = 3;

/// What has to live as long as it is written or read.
struct Lane {
    ring: Ring,
    writer: LaneWriter,
    time_ns: u64,
}

fn empty_lane() -> Lane {
    let lane = LaneConfig::new(Cpu(0), Mode::Overwrite, LANE_BYTES);
    let config = RingConfig {
        prefault: true,
        ..RingConfig::new([7; 16], RingClock::default(), vec![lane])
    };
    let ring = Ring::create(&config).expect("a ring of 1 MiB");
    let writer = ring.lane_writer(0).expect("its only lane");
    Lane {
        ring,
        writer,
        time_ns: 0,
    }
}

fn fill(lane: &mut Lane) {
    for n in 0..RECORDS {
        lane.time_ns += 100;
        let time = SessionTime::from_ns(lane.time_ns);
        lane.writer.append(ClassId(3), 0, time, black_box(&PAYLOAD));
        if n % BATCH == 0 {
            lane.writer.publish();
        }
    }
    lane.writer.publish();
}

/// A lane that has been full and overwrites its oldest packets.
fn lapped_lane() -> Lane {
    let mut lane = empty_lane();
    for _ in 0..LAPS {
        fill(&mut lane);
    }
    lane
}

fn lane_to_read() -> (Lane, Viewer) {
    let mut lane = empty_lane();
    fill(&mut lane);
    let reader = lane.ring.reader().lane(0).expect("its only lane");
    let viewer = Viewer::new(reader, Start::Oldest);
    (lane, viewer)
}

fn all_written(lane: Lane) {
    assert_eq!(lane.writer.stats().written, (LAPS + 1) * RECORDS);
}

fn all_read((kept, records): ((Lane, Viewer), u64)) {
    drop(kept);
    assert_eq!(records, RECORDS);
}

#[library_benchmark]
#[bench::lapped(args = (), setup = lapped_lane, teardown = all_written)]
fn append(mut lane: Lane) -> Lane {
    fill(&mut lane);
    lane
}

#[library_benchmark]
#[bench::oldest_first(args = (), setup = lane_to_read, teardown = all_read)]
fn view((lane, mut viewer): (Lane, Viewer)) -> ((Lane, Viewer), u64) {
    let (mut records, mut sum) = (0, 0);
    while let Ok(Some(record)) = viewer.next_record() {
        sum += record.time.as_ns() + u64::from(record.payload[5]);
        records += 1;
    }
    black_box(sum);
    ((lane, viewer), records)
}

library_benchmark_group!(name = ring, benchmarks = [append, view]);
main!(library_benchmark_groups = ring);
