//! What a record costs to write, to read and to copy.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use kstrace_ring::{
    LaneConfig, LaneWriter, MergingViewer, Mode, RecorderOptions, Ring, RingClock, RingConfig,
    Start, Viewer,
};
use kstrace_schema::{ClassId, Cpu, SessionTime};
use std::convert::Infallible;
use std::hint::black_box;
use std::time::{Duration, Instant};

/// Records of 64 bytes: a header of 16 and a payload of 48.
const PAYLOAD: [u8; 48] = *b"sched_switch prev=1234 next=5678 prio=120 state=";
const BATCH: u64 = 64;

fn ring(lanes: u32, mode: Mode, bytes: usize) -> Ring {
    let lanes = (0..lanes)
        .map(|c| LaneConfig::new(Cpu(c), mode, bytes))
        .collect();
    let config = RingConfig {
        prefault: true,
        ..RingConfig::new([7; 16], RingClock::default(), lanes)
    };
    Ring::create(&config).unwrap()
}

/// Appends `records` records, published in batches.
fn fill(writer: &mut LaneWriter, records: u64, time: &mut u64) {
    for n in 0..records {
        *time += 100;
        writer.append(
            ClassId(3),
            0,
            SessionTime::from_ns(*time),
            black_box(&PAYLOAD),
        );
        if n % BATCH == 0 {
            writer.publish();
        }
    }
    writer.publish();
}

fn append(c: &mut Criterion) {
    let mut group = c.benchmark_group("append");
    group.throughput(Throughput::Elements(1));
    for mib in [1, 16] {
        let ring = ring(1, Mode::Overwrite, mib << 20);
        let mut writer = ring.lane_writer(0).unwrap();
        let mut time = 0;
        fill(&mut writer, 1 << 20, &mut time);
        group.bench_function(format!("64-byte record, {mib} MiB lane"), |b| {
            b.iter_custom(|records| {
                let start = Instant::now();
                fill(&mut writer, records, &mut time);
                start.elapsed()
            });
        });
    }
    group.finish();
}

fn read(c: &mut Criterion) {
    let mut group = c.benchmark_group("read");
    group.throughput(Throughput::Elements(1));
    for mib in [1, 16] {
        let ring = ring(1, Mode::Overwrite, mib << 20);
        let mut writer = ring.lane_writer(0).unwrap();
        fill(&mut writer, 1 << 20, &mut 0);
        let lane = ring.reader().lane(0).unwrap();
        group.bench_function(format!("64-byte record, {mib} MiB lane"), |b| {
            b.iter_custom(|records| {
                let (mut left, mut elapsed, mut sum) = (records, Duration::ZERO, 0);
                while left > 0 {
                    let mut viewer = Viewer::new(lane.clone(), Start::Oldest);
                    let start = Instant::now();
                    while left > 0 {
                        let Some(r) = viewer.next_record().unwrap() else {
                            break;
                        };
                        sum += r.time.as_ns() + u64::from(r.payload[5]);
                        left -= 1;
                    }
                    elapsed += start.elapsed();
                }
                black_box(sum);
                elapsed
            });
        });
    }
    let ring = ring(2, Mode::Overwrite, 4 << 20);
    for lane in 0..2 {
        let mut writer = ring.lane_writer(lane).unwrap();
        fill(&mut writer, 1 << 20, &mut 0);
        writer.finish();
    }
    group.bench_function("merged from 2 lanes, alternating", |b| {
        b.iter_custom(|records| {
            let (mut left, mut elapsed, mut sum) = (records, Duration::ZERO, 0);
            while left > 0 {
                let mut merged = MergingViewer::new(&ring.reader(), Start::Oldest).unwrap();
                let start = Instant::now();
                while left > 0 {
                    let Some(r) = merged.next_record().unwrap() else {
                        break;
                    };
                    sum += r.time.as_ns();
                    left -= 1;
                }
                elapsed += start.elapsed();
            }
            black_box(sum);
            elapsed
        });
    });
    group.finish();
}

/// Copies the same packets out of the same memory, once as a recorder and once by memcpy.
fn copy(c: &mut Criterion) {
    let mut group = c.benchmark_group("copy");
    for mib in [1usize, 16] {
        let bytes = mib << 20;
        let ring = ring(1, Mode::Discard, bytes);
        let mut writer = ring.lane_writer(0).unwrap();
        let slot = ring.attach_recorder(RecorderOptions::default()).unwrap();
        let mut recorder = slot.recorder(0).unwrap();
        let (mut out, mut time) = (Vec::with_capacity(1 << 20), 0);
        group.throughput(Throughput::Bytes(bytes as u64));
        for by_memcpy in [false, true] {
            let who = if by_memcpy { "memcpy" } else { "recorder" };
            group.bench_function(format!("{who}, {mib} MiB"), |b| {
                b.iter_custom(|rounds| {
                    let mut elapsed = Duration::ZERO;
                    for _ in 0..rounds {
                        fill(&mut writer, (bytes / 64) as u64, &mut time);
                        writer.flush();
                        let start = Instant::now();
                        if by_memcpy {
                            writer
                                .drain_closed(|packet| {
                                    out.clear();
                                    out.extend_from_slice(black_box(packet));
                                    black_box(&out);
                                    Ok::<_, Infallible>(())
                                })
                                .unwrap();
                            elapsed += start.elapsed();
                        }
                        while let Some(packet) = recorder.next_packet().unwrap() {
                            if !by_memcpy {
                                out.clear();
                                packet.copy_into(&mut out).unwrap();
                            }
                            packet.release();
                        }
                        if !by_memcpy {
                            elapsed += start.elapsed();
                            writer.drain_closed(|_| Ok::<_, Infallible>(())).unwrap();
                        }
                    }
                    elapsed
                });
            });
        }
    }
    group.finish();
}

fn inline(c: &mut Criterion) {
    let mut group = c.benchmark_group("append and drain inline");
    group.throughput(Throughput::Elements(1));
    let ring = ring(1, Mode::Discard, 1 << 20);
    let mut writer = ring.lane_writer(0).unwrap();
    let mut time = 0;
    group.bench_function("64-byte record", |b| {
        b.iter_custom(|records| {
            let start = Instant::now();
            let mut left = records;
            while left > 0 {
                let now = left.min(4096);
                fill(&mut writer, now, &mut time);
                writer
                    .drain_closed(|p| {
                        black_box(p.len());
                        Ok::<_, Infallible>(())
                    })
                    .unwrap();
                left -= now;
            }
            start.elapsed()
        });
    });
    assert_eq!(writer.stats().dropped_ring_full, 0);
    group.finish();
}

criterion_group!(
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .sample_size(20);
    targets = append, read, copy, inline
);
criterion_main!(benches);
