//! A writer at work while others read, on real threads.

use crate::support::{decode, ring};
use kstrace_ring::{Append, LaneWriter, Mode, RecorderOptions, RingReader, Start, Viewer};
use kstrace_schema::{ClassId, SessionTime};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// The payload of record `n`: it can be checked from any copy.
fn payload(n: u64) -> Vec<u8> {
    let len = 8 + (n * 37 % 200) as usize;
    let mut bytes = vec![(n as u8).wrapping_mul(31); len];
    bytes[..8].copy_from_slice(&n.to_ne_bytes());
    bytes
}

/// The number of a record, after checking every byte of it.
fn check(bytes: &[u8]) -> u64 {
    let n = u64::from_ne_bytes(bytes[..8].try_into().unwrap());
    assert_eq!(bytes, payload(n), "a torn record came out");
    n
}

fn write(writer: &mut LaneWriter, records: u64) {
    for n in 0..records {
        writer.append(ClassId(1), 0, SessionTime::from_ns(n), &payload(n));
        if n % 7 == 0 {
            writer.publish();
        }
        if n % 1000 == 0 {
            writer.flush();
        }
    }
    writer.finish();
}

#[test]
fn viewers_and_snapshots_see_no_torn_record_and_count_what_they_miss() {
    const RECORDS: u64 = 300_000;
    let ring = ring(1, Mode::Overwrite, 4096, 4);
    let mut writer = ring.lane_writer(0).unwrap();
    let done = AtomicBool::new(false);
    thread::scope(|s| {
        let mut viewers = Vec::new();
        for start in [Start::Oldest, Start::Current] {
            // One viewer with a mapping of its own, as another process would have.
            let reader = RingReader::open(ring.fd().try_clone_to_owned().unwrap()).unwrap();
            let done = &done;
            let viewer = Viewer::new(reader.lane(0).unwrap(), start);
            viewers.push(s.spawn(move || {
                let mut viewer = viewer;
                let (mut seen, mut next) = (0, 0);
                loop {
                    let last = done.load(Ordering::Acquire);
                    while let Some(record) = viewer.next_record().unwrap() {
                        let n = check(record.payload);
                        assert!(n >= next, "record {n} after {next}");
                        assert_eq!(record.time.as_ns(), n);
                        next = n + 1;
                        seen += 1;
                    }
                    if last {
                        return (seen, viewer.lost(), next);
                    }
                }
            }));
        }
        let snapshots = s.spawn(|| {
            let lane = ring.reader().lane(0).unwrap();
            let mut taken = 0;
            while !done.load(Ordering::Acquire) {
                let snapshot = lane.snapshot().unwrap();
                let mut expected: Option<u64> = None;
                for (i, p) in snapshot.packets.iter().enumerate() {
                    let (header, records) = decode(&snapshot.bytes[p.clone()]);
                    assert_eq!(header.packet_seq_num, snapshot.first_packet + i as u64);
                    for r in records {
                        let n = check(&r.payload);
                        assert!(expected.is_none_or(|e| e == n), "a hole in the snapshot");
                        expected = Some(n + 1);
                    }
                }
                taken += usize::from(!snapshot.packets.is_empty());
            }
            taken
        });
        write(&mut writer, RECORDS);
        done.store(true, Ordering::Release);
        let stats = writer.stats();
        assert_eq!(stats.written, RECORDS);
        for viewer in viewers {
            let (seen, lost, next) = viewer.join().unwrap();
            assert_eq!(next, RECORDS, "the last record is always there");
            assert_eq!(seen + lost, RECORDS);
        }
        assert!(snapshots.join().unwrap() > 0);
    });
}

#[test]
fn a_viewer_from_the_first_record_accounts_for_all() {
    let ring = ring(1, Mode::Overwrite, 4096, 4);
    let mut writer = ring.lane_writer(0).unwrap();
    let mut viewer = Viewer::new(ring.reader().lane(0).unwrap(), Start::Oldest);
    let mut seen = 0;
    for n in 0..20_000u64 {
        writer.append(ClassId(1), 0, SessionTime::from_ns(n), &payload(n));
        writer.publish();
        // Reads in bursts, so that it is lapped now and then in the middle of a packet.
        if n % 97 == 0 || n % 89 == 3 && n % 5 == 0 {
            let bursts = if n % 2 == 0 { 3 } else { 1000 };
            for _ in 0..bursts {
                let Some(record) = viewer.next_record().unwrap() else {
                    break;
                };
                assert_eq!(check(record.payload), seen + viewer.lost());
                seen += 1;
            }
        }
    }
    seen += viewer
        .for_each(|r| drop(check(r.payload).to_string()))
        .unwrap();
    assert!(viewer.lost() > 0);
    assert_eq!(seen + viewer.lost(), 20_000);
}

#[test]
fn recorders_get_every_written_record_once() {
    const RECORDS: u64 = 200_000;
    for mode in [Mode::Discard, Mode::Overwrite] {
        let ring = ring(1, mode, 4096, 4);
        let mut writer = ring.lane_writer(0).unwrap();
        let slots: Vec<_> = (0..2)
            .map(|_| ring.attach_recorder(RecorderOptions::default()).unwrap())
            .collect();
        thread::scope(|s| {
            let mut recorders = Vec::new();
            for slot in &slots {
                let mut recorder = slot.recorder(0).unwrap();
                recorders.push(s.spawn(move || {
                    let (mut numbers, mut bytes, mut discarded) = (Vec::new(), Vec::new(), 0);
                    loop {
                        let finished = recorder.lane().is_finished();
                        while let Some(packet) = recorder.next_packet().unwrap() {
                            bytes.clear();
                            packet.copy_into(&mut bytes).unwrap();
                            packet.release();
                            let (header, records) = decode(&bytes);
                            assert!(header.events_discarded >= discarded);
                            discarded = header.events_discarded;
                            numbers.extend(records.iter().map(|r| check(&r.payload)));
                        }
                        if finished {
                            return numbers;
                        }
                        thread::yield_now();
                    }
                }));
            }
            let mut written = Vec::new();
            for n in 0..RECORDS {
                let appended = writer.append(ClassId(1), 0, SessionTime::from_ns(n), &payload(n));
                if appended == Append::Written {
                    written.push(n);
                } else if n % 64 == 0 {
                    thread::yield_now();
                }
            }
            writer.finish();
            let stats = writer.stats();
            assert_eq!(stats.written, written.len() as u64);
            assert_eq!(stats.seen(), RECORDS);
            assert_eq!(stats.overwritten_records, 0, "{mode:?}");
            for r in recorders {
                assert!(
                    r.join().unwrap() == written,
                    "a recorder missed or invented records"
                );
            }
        });
    }
}
