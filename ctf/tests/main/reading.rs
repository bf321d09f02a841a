//! Reading back, whole and damaged.

use crate::support::{Collect, builder, class, int, record, session};
use kstrace_ctf::{Damage, TraceReader, TraceWriter, TraceWriterOptions};
use kstrace_schema::builtin::{self, ClockPairPayload, LostPayload};
use kstrace_schema::{
    Certainty, ClassId, ClockPair, Cpu, ErrorKind, EventRecordClass, FieldClass, Length, Loss,
    LossReason, Member, SessionTime, SourceId,
};
use std::error::Error as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use zerocopy::IntoBytes;

fn with_id(mut class: EventRecordClass, id: u16) -> Arc<EventRecordClass> {
    class.id = ClassId(id);
    Arc::new(class)
}

fn loss(count: u64) -> Loss {
    Loss {
        source: SourceId(1),
        cpu: Cpu(0),
        reason: LossReason::KernelRingFull,
        count,
        certainty: Certainty::Exact,
        class: None,
        begin: SessionTime::from_ns(3),
        end: SessionTime::from_ns(4),
    }
}

const PAIR: ClockPair = ClockPair {
    monotonic_ns: 1,
    realtime_ns: 2,
    boottime_ns: 3,
    monotonic_raw_ns: 4,
    tai_ns: 5,
    tsc_cycles: 6,
    error_bound_ns: 7,
};

/// Two lanes of several small packets, with loss, clock pairs and a rest.
fn write(dir: &Path) -> PathBuf {
    let dir = dir.join("t.kst");
    let mut writer = TraceWriter::create(&dir, &session(), &TraceWriterOptions::default()).unwrap();
    writer
        .add_class(&with_id(builtin::lost_class(), 0))
        .unwrap();
    writer
        .add_class(&with_id(builtin::clock_pair_class(), 1))
        .unwrap();
    let rest = FieldClass::DynamicBlob {
        length: Length::Rest,
    };
    writer
        .add_class(&class(
            2,
            "e",
            vec![Member::new("x", int(4)), Member::new("rest", rest)],
        ))
        .unwrap();
    for lane in 0..2u32 {
        let mut packet = builder(lane);
        for i in 0..20u32 {
            let mut payload = i.to_ne_bytes().to_vec();
            payload.resize(4 + i as usize, 0x55);
            packet.push(&record(u64::from(i * 10 + lane), 2, i as u16, &payload));
            if i == 10 && lane == 0 {
                let payload = ClockPairPayload::from(&PAIR);
                packet.push(&record(105, 1, 0, payload.as_bytes()));
                packet.push(&record(106, 0, 0, LostPayload::from(&loss(5)).as_bytes()));
                packet.discard(5);
            }
            if i % 6 == 5 {
                packet.take(|p| writer.append_packet(lane, p)).unwrap();
            }
        }
        packet.take(|p| writer.append_packet(lane, p)).unwrap();
    }
    writer.finish().unwrap();
    dir
}

#[test]
fn everything_comes_back_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let dir = write(dir.path());
    let mut reader = TraceReader::open(&dir).unwrap();
    let mut sink = Collect::default();
    let summary = reader.read_into(&mut sink).unwrap();
    assert_eq!((summary.records, sink.records.len()), (42, 40));
    assert_eq!(sink.sessions, [session()]);
    assert_eq!(sink.classes.len(), 3);
    assert_eq!(sink.classes[2].native, class(2, "e", vec![]).native);
    assert_eq!(sink.losses, [loss(5)]);
    assert_eq!(sink.clock_pairs, [PAIR]);
    assert_eq!(sink.finished, 1);
    for (index, got) in sink.records.iter().enumerate() {
        let (i, lane) = (index as u32 / 2, index as u32 % 2);
        assert_eq!(got.time_ns, u64::from(i * 10 + lane));
        assert_eq!(
            (got.cpu, got.class, u32::from(got.rest_len_bytes)),
            (lane, 2, i)
        );
        assert_eq!(got.payload.len() as u32, 4 + i);
        assert_eq!(got.payload[..4], i.to_ne_bytes());
    }
    assert!(summary.accounts.iter().all(|a| a.balances()));
    let accounts = reader.accounts().unwrap();
    assert_eq!(accounts.losses, [loss(5)]);
    assert_eq!(accounts.clock_pairs, [PAIR]);
    assert_eq!(accounts.records, 42);
}

#[test]
fn loss_that_only_the_packets_know_of_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("t.kst");
    let mut writer = TraceWriter::create(&dir, &session(), &TraceWriterOptions::default()).unwrap();
    writer
        .add_class(&class(0, "e", vec![Member::new("x", int(4))]))
        .unwrap();
    let mut packet = builder(0);
    packet.push(&record(10, 0, 0, &[0; 4]));
    packet.discard(9);
    packet.take(|p| writer.append_packet(0, p)).unwrap();
    drop(writer);
    let mut sink = Collect::default();
    TraceReader::open(&dir)
        .unwrap()
        .read_into(&mut sink)
        .unwrap();
    let [loss] = &sink.losses[..] else {
        panic!("{:?}", sink.losses)
    };
    assert_eq!((loss.count, loss.reason), (9, LossReason::StatedByInput));
}

#[test]
fn what_is_no_trace_of_ours_is_said_so() {
    let dir = tempfile::tempdir().unwrap();
    let open = |path: &Path| TraceReader::open(path).unwrap_err();
    assert_eq!(
        open(&dir.path().join("nothing")).kind(),
        ErrorKind::NotFound
    );
    assert!(open(dir.path()).to_string().contains("not a kstrace trace"));
    std::fs::write(dir.path().join("metadata"), "/* CTF 1.8 */").unwrap();
    let error = open(dir.path());
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("CTF trace"), "{error}");
    assert!(TraceReader::open(&dir.path().join("metadata")).is_err());

    let dir = write(dir.path());
    let path = dir.join("kstrace/session.json");
    let text = std::fs::read_to_string(&path).unwrap();
    let edit = |from: &str, to: &str| {
        assert!(text.contains(from));
        std::fs::write(&path, text.replacen(from, to, 1)).unwrap();
        TraceReader::open(&dir).unwrap_err()
    };
    let error = edit(
        "\"format_version\": [\n    1,",
        "\"format_version\": [\n    2,",
    );
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(
        error.to_string().contains("format version is 2.0"),
        "{error}"
    );
    assert_eq!(
        edit("kstrace-trace", "other").kind(),
        ErrorKind::InvalidData
    );
    assert_eq!(edit("{", "[").kind(), ErrorKind::InvalidData);
}

/// Changes the stream file of lane 0 and reads.
fn read_changed(change: impl FnOnce(&mut Vec<u8>)) -> (Collect, Option<kstrace_schema::Error>) {
    let dir = tempfile::tempdir().unwrap();
    let dir = write(dir.path());
    let path = dir.join("lane0_0");
    let mut bytes = std::fs::read(&path).unwrap();
    change(&mut bytes);
    std::fs::write(&path, bytes).unwrap();
    let mut sink = Collect::default();
    let result = TraceReader::open(&dir).unwrap().read_into(&mut sink);
    (sink, result.err())
}

/// Where the second packet of lane 0 begins.
fn second_packet(bytes: &[u8]) -> usize {
    u64::from_ne_bytes(bytes[56..64].try_into().unwrap()) as usize / 8
}

#[test]
fn damage_is_named_and_what_is_whole_is_delivered() {
    // Offset in the second packet, the bit, the field that is then wrong, records of lane 0 before it.
    for (at, bit, field, before) in [
        (0, 0, "magic", 6),
        (4, 0, "uuid", 6),
        (20, 1, "stream_id", 6),
        (48, 0, "content_size", 6),
        (54, 7, "content_size", 6),
        (56, 0, "packet_size", 6),
        (62, 7, "packet_size", 6),
        // The first record's class and length.
        (88 + 9, 3, "id", 6),
        (88 + 15, 6, "payload_len", 6),
    ] {
        let (sink, error) = read_changed(|bytes| {
            let start = second_packet(bytes);
            bytes[start + at] ^= 1 << bit;
        });
        let error = error.unwrap_or_else(|| panic!("byte {at}: no error"));
        let damage = error
            .source()
            .and_then(|e| e.downcast_ref::<Damage>())
            .unwrap_or_else(|| panic!("{error:?}"));
        assert_eq!(damage.field, field, "{damage}");
        assert!(damage.file.ends_with("lane0_0"));
        assert!(damage.offset > 0);
        let of_lane = |lane| sink.records.iter().filter(|r| r.cpu == lane).count();
        assert_eq!((of_lane(0), of_lane(1)), (before, 20), "{damage}");
        assert_eq!(sink.finished, 1);
        assert!(
            sink.accounts.iter().all(|a| a.balances()),
            "{:?}",
            sink.accounts
        );
    }
}

#[test]
fn cut_anywhere_it_ends_with_an_error_after_what_is_whole() {
    let mut len = usize::MAX;
    let mut cut = 0;
    while cut < len {
        let (sink, error) = read_changed(|bytes| {
            len = bytes.len();
            bytes.truncate(cut);
        });
        let of_lane = |lane| sink.records.iter().filter(|r| r.cpu == lane).count();
        assert_eq!(of_lane(1), 20, "cut at {cut}");
        // Whole packets only: the header of a cut one lies about its size.
        assert!(
            error.is_some() || [0, 6, 12, 18, 20].contains(&of_lane(0)),
            "cut at {cut}"
        );
        cut += 13;
    }
}

#[test]
fn random_damage_never_hangs_or_panics_and_the_other_lane_is_untouched() {
    let mut state = 0x2545_f491_4f6c_dd1du64;
    let mut random = |limit: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % limit
    };
    let mut errors = 0;
    for _ in 0..400 {
        let (sink, error) = read_changed(|bytes| {
            for _ in 0..=random(4) {
                let at = random(bytes.len() as u64) as usize;
                match random(3) {
                    0 => bytes[at] = random(256) as u8,
                    1 => bytes[at..].iter_mut().take(8).for_each(|b| *b = 0xff),
                    _ => bytes[at] ^= 1 << random(8),
                }
            }
        });
        errors += u32::from(error.is_some());
        assert!(sink.records.len() < 10_000);
        let untouched = sink.records.iter().filter(|r| r.cpu == 1).count();
        assert!(untouched >= 20, "{untouched}");
        assert!(
            sink.accounts.iter().all(|a| a.balances()),
            "{:?}",
            sink.accounts
        );
    }
    assert!(errors > 50, "{errors} errors");
}

#[test]
fn a_packet_larger_than_the_window_is_read_in_parts() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("t.kst");
    let mut writer = TraceWriter::create(&dir, &session(), &TraceWriterOptions::default()).unwrap();
    let text = FieldClass::DynamicString {
        length: Length::Rest,
    };
    writer
        .add_class(&class(0, "e", vec![Member::new("x", text)]))
        .unwrap();
    let mut packet = builder(0);
    let mut expected = Vec::new();
    // 12 MiB, with a record of 5 MiB that no window holds.
    for i in 0..2000u64 {
        let size = if i == 700 { 5 << 20 } else { 3000 + i as usize };
        packet.push(&record(i, 0, 0, &vec![0u8; size]));
        expected.push((i, size));
    }
    packet.take(|p| writer.append_packet(0, p)).unwrap();
    writer.finish().unwrap();
    let mut sink = Collect::default();
    TraceReader::open(&dir)
        .unwrap()
        .read_into(&mut sink)
        .unwrap();
    let got = sink
        .records
        .iter()
        .map(|r| (r.time_ns, r.payload.len()))
        .collect::<Vec<_>>();
    assert_eq!(got, expected);
}
