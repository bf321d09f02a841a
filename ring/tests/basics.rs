//! The plain ways of using a ring.

use crate::support::{HEADER, Seen, decode, ring};
use kstrace_ring::{
    Append, Error, MergingViewer, Mode, RecorderOptions, RingReader, Start, Viewer, WakeKind,
};
use kstrace_schema::{ClassId, Cpu, LossReason, SessionTime, SourceId};
use std::convert::Infallible;
use std::os::fd::AsFd;

fn ns(t: u64) -> SessionTime {
    SessionTime::from_ns(t)
}

/// Everything a viewer finds.
fn view(viewer: &mut Viewer) -> Vec<Seen> {
    let mut seen = Vec::new();
    viewer
        .for_each(|r| {
            seen.push(Seen {
                class: r.class.0,
                rest: r.rest_len_bytes,
                ns: r.time.as_ns(),
                payload: r.payload.to_vec(),
            });
        })
        .unwrap();
    seen
}

#[test]
fn a_record_of_every_length_comes_back() {
    let ring = ring(1, Mode::Discard, 128 << 10, 8);
    let mut writer = ring.lane_writer(0).unwrap();
    let bytes: Vec<u8> = (0..100_000u32)
        .map(|i| (i * 7 + i / 256) as u8 | 1)
        .collect();
    let lengths: Vec<usize> = (0..600)
        .chain([4095, 4096, 4097, 65535, 65543, 70_001])
        .collect();
    for (i, len) in lengths.iter().enumerate() {
        let from = i % 9;
        let appended = writer.append(
            ClassId(i as u16),
            3,
            ns(100 + i as u64),
            &bytes[from..from + len],
        );
        assert_eq!(appended, Append::Written, "{len}");
    }
    writer.finish();
    let check = |seen: Vec<Seen>| {
        assert_eq!(seen.len(), lengths.len());
        for (i, (s, len)) in seen.iter().zip(&lengths).enumerate() {
            let from = i % 9;
            assert_eq!(s.class, i as u16);
            assert_eq!(s.rest, 3);
            assert_eq!(s.ns, 100 + i as u64);
            assert_eq!(s.payload, &bytes[from..from + len], "{len}");
        }
    };
    check(view(&mut Viewer::new(
        ring.reader().lane(0).unwrap(),
        Start::Oldest,
    )));
    let mut drained = Vec::new();
    writer
        .drain_closed(|packet| {
            drained.extend(decode(packet).1);
            Ok::<_, Infallible>(())
        })
        .unwrap();
    check(drained);
}

#[test]
fn records_appear_when_published() {
    let ring = ring(1, Mode::Discard, 4096, 4);
    let mut writer = ring.lane_writer(0).unwrap();
    let mut viewer = Viewer::new(ring.reader().lane(0).unwrap(), Start::Oldest);
    writer.append(ClassId(1), 0, ns(5), b"one");
    assert_eq!(view(&mut viewer).len(), 0);
    writer.publish();
    assert_eq!(view(&mut viewer).len(), 1);
    writer.append(ClassId(1), 0, ns(6), b"two");
    writer.append(ClassId(1), 0, ns(7), b"three");
    writer.flush();
    let seen = view(&mut viewer);
    assert_eq!(
        seen.iter().map(|s| &*s.payload).collect::<Vec<_>>(),
        [&b"two"[..], b"three"]
    );
    assert_eq!(viewer.lost(), 0);
}

#[test]
fn times_are_raised_and_counted() {
    let ring = ring(1, Mode::Discard, 4096, 4);
    let mut writer = ring.lane_writer(0).unwrap();
    for t in [10, 20, 15, 20, 21] {
        writer.append(ClassId(0), 0, ns(t), b"");
    }
    writer.set_safe_until(ns(50));
    writer.append(ClassId(0), 0, ns(40), b"");
    writer.set_safe_until(ns(45));
    writer.append(ClassId(0), 0, ns(50), b"");
    writer.publish();
    let reader = ring.reader().lane(0).unwrap();
    let times: Vec<u64> = view(&mut Viewer::new(reader.clone(), Start::Oldest))
        .iter()
        .map(|s| s.ns)
        .collect();
    assert_eq!(times, [10, 20, 20, 20, 21, 50, 50]);
    assert_eq!(writer.stats().late, 2);
    assert_eq!(reader.stats(), writer.stats());
    assert_eq!(reader.safe_until(), ns(50));
}

#[test]
fn a_full_lane_drops_and_counts() {
    let ring = ring(1, Mode::Discard, 4096, 2);
    let mut writer = ring.lane_writer(0).unwrap();
    // Records of 1000 bytes: 4 in a packet of 4096 - 88.
    let payload = [7; 984];
    let mut appended = Vec::new();
    for t in 0..12 {
        appended.push(writer.append(ClassId(0), 0, ns(t), &payload));
    }
    assert_eq!(&appended[..8], &[Append::Written; 8]);
    assert_eq!(&appended[8..], &[Append::RingFull; 4]);
    assert_eq!(
        writer.append(ClassId(0), 0, ns(12), &[0; 4000]),
        Append::TooBig
    );
    writer.note_lost(5);
    let stats = writer.stats();
    assert_eq!(
        (
            stats.written,
            stats.dropped_ring_full,
            stats.dropped_too_big
        ),
        (8, 4, 1)
    );
    assert_eq!(stats.seen(), 13);
    assert_eq!(stats.events_discarded(), 10);
    assert!(!writer.has_room(1000));
    assert_eq!(writer.free_sub_buffers(), 0);
    // The dropped ones are stated by the next packet, even if it is the last and empty.
    let mut headers = Vec::new();
    let mut take = |packet: &[u8]| {
        headers.push(decode(packet).0);
        Ok::<_, Infallible>(())
    };
    assert_eq!(writer.drain_closed(&mut take).unwrap(), 2);
    assert_eq!(writer.free_sub_buffers(), 2);
    assert!(writer.has_room(4008) && writer.has_room(4000 + 8) && !writer.has_room(12_000));
    writer.finish();
    assert_eq!(writer.drain_closed(&mut take).unwrap(), 1);
    let discarded: Vec<u64> = headers.iter().map(|h| h.events_discarded).collect();
    assert_eq!(discarded, [0, 0, 10]);
    assert_eq!(headers[2].record_count, 0);
    assert_eq!(headers[2].content_size_bits, HEADER as u64 * 8);
    assert_eq!(writer.append(ClassId(0), 0, ns(99), b""), Append::RingFull);
    let account = writer.stats().account(SourceId::KSTRACE, Cpu(0));
    assert!(account.balances());
    assert_eq!(account.dropped[&LossReason::RingFull], 5);
    assert_eq!(account.dropped[&LossReason::TooBig], 1);
}

#[test]
fn the_flight_recorder_keeps_the_newest() {
    let ring = ring(1, Mode::Overwrite, 4096, 4);
    let mut writer = ring.lane_writer(0).unwrap();
    for t in 0..100u64 {
        let payload = [t as u8; 984];
        assert_eq!(
            writer.append(ClassId(0), 0, ns(t), &payload),
            Append::Written
        );
    }
    writer.publish();
    let snapshot = writer.reader().snapshot().unwrap();
    // 25 packets of 4 records; the last 4 packets are there.
    assert_eq!(snapshot.first_packet, 21);
    let times: Vec<u64> = snapshot
        .packets
        .iter()
        .flat_map(|p| decode(&snapshot.bytes[p.clone()]).1)
        .map(|s| s.ns)
        .collect();
    assert_eq!(times, (84..100).collect::<Vec<_>>());
    let stats = writer.stats();
    assert_eq!(
        (stats.overwritten_packets, stats.overwritten_records),
        (21, 84)
    );
    assert!(stats.account(SourceId::KSTRACE, Cpu(0)).balances());
    assert_eq!(stats.account(SourceId::KSTRACE, Cpu(0)).written, 16);
    assert_eq!(writer.free_sub_buffers(), 4);
}

#[test]
fn a_recorder_holds_space_in_either_mode() {
    for mode in [Mode::Discard, Mode::Overwrite] {
        let ring = ring(1, mode, 4096, 4);
        let mut writer = ring.lane_writer(0).unwrap();
        let slot = ring.attach_recorder(RecorderOptions::default()).unwrap();
        let mut recorder = slot.recorder(0).unwrap();
        assert!(matches!(slot.recorder(0), Err(Error::Taken { .. })));
        assert!(recorder.next_packet().unwrap().is_none());
        for t in 0..20u64 {
            writer.append(ClassId(0), 0, ns(t), &[t as u8; 984]);
        }
        assert_eq!(writer.stats().dropped_ring_full, 4, "{mode:?}");
        assert_eq!(recorder.waiting(), 4);
        let mut bytes = Vec::new();
        let packet = recorder.next_packet().unwrap().unwrap();
        assert_eq!(packet.header().packet_seq_num, 0);
        packet.copy_into(&mut bytes).unwrap();
        assert_eq!(bytes.len(), packet.len_bytes());
        // Not released: it comes again, and its space is not free.
        assert_eq!(writer.free_sub_buffers(), 0);
        recorder.next_packet().unwrap().unwrap().release();
        assert_eq!(writer.free_sub_buffers(), 1);
        assert_eq!(writer.append(ClassId(0), 0, ns(20), b"x"), Append::Written);
        let (header, records) = decode(&bytes);
        assert_eq!(header.cpu_id, 0);
        assert_eq!(
            records.iter().map(|r| r.ns).collect::<Vec<_>>(),
            [0, 1, 2, 3]
        );
        // Detached, the rest is free to go; what was never recorded is counted in overwrite mode.
        drop(slot);
        for t in 21..60u64 {
            writer.append(ClassId(0), 0, ns(t), &[t as u8; 984]);
        }
        let stats = writer.stats();
        match mode {
            Mode::Discard => assert_eq!(stats.overwritten_records, 0),
            Mode::Overwrite => assert!(stats.overwritten_records > 0),
        }
        if mode == Mode::Overwrite {
            assert!(matches!(
                recorder.next_packet(),
                Err(Error::Detached { packet: 1, .. })
            ));
        }
    }
}

#[test]
fn recorders_attach_on_the_way_and_are_bounded() {
    let ring = ring(2, Mode::Overwrite, 4096, 4);
    let mut writer = ring.lane_writer(1).unwrap();
    assert!(matches!(ring.lane_writer(1), Err(Error::Taken { .. })));
    assert!(matches!(
        ring.lane_writer(2),
        Err(Error::NoSuchLane { lane: 2, lanes: 2 })
    ));
    for t in 0..26u64 {
        writer.append(ClassId(0), 0, ns(t), &[0; 984]);
    }
    writer.publish();
    let oldest = ring.attach_recorder(RecorderOptions::default()).unwrap();
    let current = ring
        .attach_recorder(RecorderOptions {
            start: Start::Current,
            ..Default::default()
        })
        .unwrap();
    let mut from_oldest = oldest.recorder(1).unwrap();
    let mut from_current = current.recorder(1).unwrap();
    // Packets 0 to 5 closed, 6 open; 3 the oldest still there.
    assert_eq!(
        from_oldest
            .next_packet()
            .unwrap()
            .unwrap()
            .header()
            .packet_seq_num,
        3
    );
    assert!(from_current.next_packet().unwrap().is_none());
    writer.flush();
    assert_eq!(
        from_current
            .next_packet()
            .unwrap()
            .unwrap()
            .header()
            .packet_seq_num,
        6
    );
    let more: Vec<_> = (0..6)
        .map(|_| ring.attach_recorder(RecorderOptions::default()).unwrap())
        .collect();
    assert!(matches!(
        ring.attach_recorder(RecorderOptions::default()),
        Err(Error::RecorderSlotsFull { slots: 8 })
    ));
    drop(more);
    ring.attach_recorder(RecorderOptions::default()).unwrap();
}

#[test]
fn readers_are_woken() {
    for wake in [WakeKind::Eventfd, WakeKind::Socket] {
        let ring = ring(1, Mode::Discard, 4096, 8);
        let mut writer = ring.lane_writer(0).unwrap();
        let slot = ring
            .attach_recorder(RecorderOptions {
                watermark_packets: 2,
                wake,
                ..Default::default()
            })
            .unwrap();
        let viewer = ring.attach_viewer_wake(wake).unwrap();
        let ready = |fd: std::os::fd::BorrowedFd<'_>| {
            let mut fds = [nix::poll::PollFd::new(fd, nix::poll::PollFlags::POLLIN)];
            nix::poll::poll(&mut fds, nix::poll::PollTimeout::ZERO).unwrap() == 1
        };
        writer.append(ClassId(0), 0, ns(1), &[0; 3000]);
        writer.publish();
        assert!(!ready(slot.wake_fd()) && !ready(viewer.fd()));
        writer.notify();
        assert!(!ready(slot.wake_fd()) && ready(viewer.fd()));
        viewer.clear();
        assert!(!ready(viewer.fd()));
        // Closes the first packet: one waits, two are asked for.
        writer.append(ClassId(0), 0, ns(2), &[0; 3000]);
        assert!(!ready(slot.wake_fd()) && ready(viewer.fd()));
        writer.append(ClassId(0), 0, ns(3), &[0; 3000]);
        assert!(ready(slot.wake_fd()));
        slot.clear_wake();
        let mut recorder = slot.recorder(0).unwrap();
        while let Some(packet) = recorder.next_packet().unwrap() {
            packet.release();
        }
        assert!(!ready(slot.wake_fd()));
        writer.flush();
        assert!(ready(slot.wake_fd()));
        slot.clear_wake();
        // A flush without anything new wakes a recorder once more, as it has not read the packet.
        recorder.next_packet().unwrap().unwrap().release();
        writer.flush();
        assert!(!ready(slot.wake_fd()));
        writer.finish();
        assert!(ready(slot.wake_fd()));
        // A reader that never takes its wake-ups does not block the writer.
        for _ in 0..2000 {
            writer.notify();
        }
        drop((slot, viewer));
        writer.notify();
    }
}

#[test]
fn metadata_is_framed_and_bounded() {
    let ring = ring(1, Mode::Discard, 4096, 2);
    let reader = RingReader::open(ring.fd().try_clone_to_owned().unwrap()).unwrap();
    let mut metadata = reader.metadata();
    assert_eq!(metadata.next_fragment().unwrap(), None);
    let fragments: Vec<Vec<u8>> = (0..40u8).map(|n| vec![n; n as usize]).collect();
    for f in &fragments {
        ring.append_metadata(f).unwrap();
    }
    for f in &fragments {
        assert_eq!(metadata.next_fragment().unwrap().as_ref(), Some(f));
    }
    assert_eq!(metadata.next_fragment().unwrap(), None);
    let used: usize = fragments
        .iter()
        .map(|f| (4 + f.len()).next_multiple_of(8))
        .sum();
    let free = 4096 - used;
    let e = ring.append_metadata(&vec![1; free]).unwrap_err();
    assert!(
        matches!(e, Error::MetadataFull { needed, free: f, capacity: 4096 }
            if needed == free + 8 && f == free),
        "{e}"
    );
    ring.append_metadata(&vec![1; free - 4]).unwrap();
    assert_eq!(metadata.next_fragment().unwrap().unwrap().len(), free - 4);
    assert!(ring.append_metadata(b"").is_err());
}

#[test]
fn lanes_merge_by_time() {
    let ring = ring(3, Mode::Discard, 4096, 4);
    let mut writers: Vec<_> = (0..3).map(|l| ring.lane_writer(l).unwrap()).collect();
    let mut merged = MergingViewer::new(&ring.reader(), Start::Oldest).unwrap();
    let mut times = Vec::new();
    let mut read = |merged: &mut MergingViewer| {
        times.clear();
        while let Some(r) = merged.next_record().unwrap() {
            times.push((r.time.as_ns(), r.cpu.0));
        }
        times.clone()
    };
    for t in [1, 4, 7] {
        writers[0].append(ClassId(0), 0, ns(t), b"");
    }
    for t in [2, 3, 9] {
        writers[1].append(ClassId(0), 0, ns(t), b"");
    }
    writers[0].publish();
    writers[1].publish();
    assert_eq!(read(&mut merged), [], "lane 2 may still bring anything");
    writers[2].set_safe_until(ns(3));
    assert_eq!(read(&mut merged), [(1, 0), (2, 1), (3, 1)]);
    writers[2].append(ClassId(0), 0, ns(5), b"");
    writers[2].set_safe_until(ns(8));
    assert_eq!(read(&mut merged), [(4, 0), (5, 2), (7, 0)]);
    writers[0].finish();
    assert_eq!(read(&mut merged), []);
    writers[2].finish();
    assert_eq!(read(&mut merged), [(9, 1)]);
    assert!(ring.reader().lane(2).unwrap().is_finished());
    assert!(!ring.reader().lane(1).unwrap().is_finished());
}

#[test]
fn the_data_cannot_be_written_by_others() {
    let ring = ring(1, Mode::Discard, 4096, 2);
    let fd = ring.fd().try_clone_to_owned().unwrap();
    assert_eq!(nix::unistd::write(fd.as_fd(), b"x"), Err(nix::Error::EPERM));
    assert_eq!(
        nix::unistd::ftruncate(fd.as_fd(), 0),
        Err(nix::Error::EPERM)
    );
    let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&fd));
    let again = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .unwrap();
    assert_eq!(
        nix::unistd::write(again.as_fd(), b"x"),
        Err(nix::Error::EPERM)
    );
}

#[test]
fn a_snapshot_closes_the_open_packet_in_the_copy() {
    let ring = ring(1, Mode::Discard, 4096, 4);
    let mut writer = ring.lane_writer(0).unwrap();
    let reader = ring.reader().lane(0).unwrap();
    assert_eq!(reader.snapshot().unwrap().packets.len(), 0);
    writer.note_lost(3);
    for t in 0..6u64 {
        writer.append(ClassId(9), 0, ns(t), &[t as u8; 900]);
    }
    writer.publish();
    let snapshot = reader.snapshot().unwrap();
    let packets: Vec<_> = snapshot
        .packets
        .iter()
        .map(|p| decode(&snapshot.bytes[p.clone()]))
        .collect();
    assert_eq!(packets.len(), 2);
    assert_eq!(
        packets[1].1.iter().map(|r| r.ns).collect::<Vec<_>>(),
        [4, 5]
    );
    assert_eq!(packets[1].0.events_discarded, 3);
    // Inline recording takes the first packet only: the second is still open.
    assert_eq!(writer.drain_closed(|_| Ok::<_, Infallible>(())).unwrap(), 1);
    assert_eq!(writer.drain_closed(|_| Err("no")), Ok(0));
    writer.flush();
    assert_eq!(writer.drain_closed(|_| Err("no")), Err("no"));
    assert_eq!(
        writer.drain_closed(|p| {
            decode(p);
            Ok::<_, &str>(())
        }),
        Ok(1)
    );
}

#[test]
fn a_packet_filled_to_the_brim_is_closed_by_publish() {
    let ring = ring(1, Mode::Discard, 4096, 4);
    let mut writer = ring.lane_writer(0).unwrap();
    let max = writer.max_payload_bytes();
    assert_eq!(
        writer.append(ClassId(0), 0, ns(1), &vec![1; max + 1]),
        Append::TooBig
    );
    assert_eq!(
        writer.append(ClassId(0), 0, ns(1), &vec![1; max]),
        Append::Written
    );
    writer.publish();
    // Its end is the next one's beginning: whoever reads takes it for closed, so it must be.
    assert_eq!(ring.reader().lane(0).unwrap().closed_packets(), 1);
    let seen = view(&mut Viewer::new(
        ring.reader().lane(0).unwrap(),
        Start::Oldest,
    ));
    assert_eq!(seen[0].payload.len(), max);
}
