//! Traces that are not what they should be.

use crate::foreign::{copy, make};
use kstrace_ctf::{CtfReader, MetadataFormat};
use kstrace_schema::merge::Merger;
use kstrace_schema::{EventRecord, EventRecordClass, Loss, Result, Sink, Source};
use std::path::Path;
use std::sync::Arc;

const METADATA: &str = "/* CTF 1.8 */
typealias integer { size = 8; align = 8; signed = false; } := u8;
typealias integer { size = 32; align = 8; signed = false; } := u32;
typealias integer { size = 64; align = 8; signed = false; } := u64;
trace { major = 1; minor = 8; uuid = \"00010203-0405-0607-0809-0a0b0c0d0e0f\"; byte_order = le;
  packet.header := struct { u32 magic; u8 uuid[16]; u32 stream_id; }; };
clock { name = c; freq = 1000000000; };
typealias integer { size = 64; align = 8; map = clock.c.value; } := stamp;
stream { id = 0; packet.context := struct { stamp timestamp_begin; stamp timestamp_end; u64 content_size; u64 packet_size; u64 events_discarded; u64 packet_seq_num; u32 cpu_id; };
  event.header := struct { u32 id; stamp timestamp; }; };
event { name = sized; id = 0; stream_id = 0; fields := struct { u32 _n; u8 _data[_n]; }; };
event { name = texts; id = 1; stream_id = 0; fields := struct { u8 _n; string _s[_n]; }; };
event { name = bits; id = 2; stream_id = 0; fields := struct { integer { size = 3; } _k; enum : integer { size = 5; } { A, B } _t; variant <_t> { struct { integer { size = 7; } _x; string _y; } A; u8 B; } _v; }; };
event { name = nothings; id = 3; stream_id = 0; fields := struct { u32 _n; struct { } _none[_n]; struct { u8 _m; struct { } _o[_m]; } _some[_n]; }; };
";

const HEADER_BYTES: usize = 24 + 7 * 8 - 4;

/// A packet of these events: bytes behind the time stamps, which count up from `time`.
fn packet(number: u64, discarded: u64, time: u64, events: &[(u32, &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    for (index, (id, payload)) in events.iter().enumerate() {
        body.extend(id.to_le_bytes());
        body.extend((time + index as u64).to_le_bytes());
        body.extend(*payload);
    }
    let size = (HEADER_BYTES + body.len()) as u64 * 8;
    let mut out = Vec::new();
    out.extend(0xc1fc_1fc1u32.to_le_bytes());
    out.extend(0..16);
    out.extend(0u32.to_le_bytes());
    for word in [
        time,
        time + events.len() as u64,
        size,
        size,
        discarded,
        number,
    ] {
        out.extend(word.to_le_bytes());
    }
    out.extend(3u32.to_le_bytes());
    assert_eq!(out.len(), HEADER_BYTES);
    out.extend(body);
    out
}

const SIZED: (u32, &[u8]) = (0, &[2, 0, 0, 0, 0xaa, 0xbb]);
const TEXTS: (u32, &[u8]) = (1, b"\x02ab\0c\0");
const BITS: (u32, &[u8]) = (2, &[0x05, 0x11, b'y', 0]);

#[derive(Default)]
struct Count {
    times: Vec<u64>,
    losses: Vec<Loss>,
}

impl Sink for Count {
    fn class(&mut self, _: &Arc<EventRecordClass>) -> Result<()> {
        Ok(())
    }
    fn record(&mut self, record: &EventRecord<'_>) -> Result<()> {
        self.times.push(record.time.as_ns());
        Ok(())
    }
    fn loss(&mut self, loss: &Loss) -> Result<()> {
        self.losses.push(loss.clone());
        Ok(())
    }
}

/// Everything that can be read, and the complaint.
fn read(dir: &Path) -> (Count, String) {
    let mut sink = Count::default();
    let mut reader = match CtfReader::open(dir) {
        Ok(reader) => reader,
        Err(e) => return (sink, format!("{e:?}")),
    };
    let mut merger = Merger::new(reader.streams(&mut sink).unwrap());
    let mut rounds = 0;
    while !merger.round(&mut sink).unwrap().finished() {
        rounds += 1;
        assert!(rounds < 10_000, "does not end");
    }
    merger.finish(&mut sink).unwrap();
    let errors = merger
        .take_errors()
        .into_iter()
        .map(|e| format!("{:?}", e.error));
    (sink, errors.collect::<Vec<_>>().join("\n"))
}

fn read_bytes(bytes: &[u8]) -> (Count, String) {
    let dir = tempfile::tempdir().unwrap();
    make(dir.path(), METADATA.as_bytes(), &[("s", bytes)]);
    read(dir.path())
}

fn whole() -> Vec<u8> {
    let mut bytes = packet(0, 0, 100, &[SIZED, TEXTS, BITS]);
    bytes.extend(packet(1, 5, 200, &[BITS, SIZED]));
    bytes.extend(packet(4, 5, 300, &[TEXTS]));
    bytes
}

#[test]
fn what_is_lost_is_told() {
    let (read, complaint) = read_bytes(&whole());
    assert_eq!(complaint, "");
    assert_eq!(read.times, [100, 101, 102, 200, 201, 300]);
    let told = read
        .losses
        .iter()
        .map(|l| (l.count, l.begin.as_ns(), l.end.as_ns(), l.cpu.0));
    // Five events between the ends of the first two packets; two packets before the last.
    assert_eq!(
        told.collect::<Vec<_>>(),
        [(5, 103, 202, 3), (2, 202, 300, 3)]
    );
}

#[test]
fn a_file_that_ends_anywhere_gives_what_is_whole() {
    let whole = whole();
    let mut before = 0;
    for len in 0..whole.len() {
        let (read, complaint) = read_bytes(&whole[..len]);
        let ends = [
            packet(0, 0, 100, &[SIZED, TEXTS, BITS]).len(),
            whole.len() - packet(4, 5, 300, &[TEXTS]).len(),
        ];
        let clean = len == 0 || ends.contains(&len);
        assert_eq!(complaint.is_empty(), clean, "{len}: {complaint}");
        assert!(read.times.len() >= before, "{len}");
        before = read.times.len();
    }
    assert_eq!(before, 5);
}

#[test]
fn one_fault_each() {
    let patched = |offset: usize, value: &[u8]| {
        let mut bytes = whole();
        bytes[offset..offset + value.len()].copy_from_slice(value);
        bytes
    };
    let second = packet(0, 0, 100, &[SIZED, TEXTS, BITS]).len();
    let big = u64::MAX.to_le_bytes();
    let zero = 0u64.to_le_bytes();
    for (bytes, records, field) in [
        (patched(second, &[0]), 3, "packet.header.magic"),
        (patched(second + 4, &[9]), 3, "packet.header.uuid"),
        (patched(second + 20, &[9]), 3, "packet.header.stream_id"),
        (patched(second + 40, &big), 3, "packet.context.content_size"),
        (
            patched(second + 40, &zero),
            3,
            "packet.context.content_size",
        ),
        (patched(second + 48, &zero), 3, "packet.context.packet_size"),
        (patched(second + 48, &[1]), 3, "packet.context.packet_size"),
        (patched(HEADER_BYTES, &[77]), 0, "event.header.id"),
        (patched(HEADER_BYTES + 12, &[255; 4]), 0, "event"),
    ] {
        let (read, complaint) = read_bytes(&bytes);
        assert_eq!(read.times.len(), records, "{field}: {complaint}");
        assert!(
            complaint.contains(&format!("field {field}")),
            "{field}: {complaint}"
        );
        assert!(complaint.contains("/s: damaged at byte"), "{complaint}");
    }
}

#[test]
fn a_clock_that_goes_back_is_followed() {
    let mut bytes = packet(0, 0, 500, &[SIZED, SIZED]);
    bytes.extend(packet(1, 0, 100, &[SIZED]));
    let (read, complaint) = read_bytes(&bytes);
    assert_eq!(
        (read.times.as_slice(), complaint.as_str()),
        ([500, 501, 100].as_slice(), "")
    );
    // In the copy it has a stream of its own, so that readers take it.
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    make(&from, METADATA.as_bytes(), &[("s", &bytes)]);
    copy(&from, &to, MetadataFormat::Ctf1_8).unwrap();
    let (text, complaints) = crate::foreign::babeltrace2(&to);
    assert_eq!(text.lines().count(), 3, "{complaints}");
}

#[test]
fn counts_of_nothing_do_not_take_for_ever() {
    let (_, complaint) = read_bytes(&packet(0, 0, 1, &[(3, &[255, 255, 255, 255, 255, 255])]));
    assert!(complaint.contains("field event"), "{complaint}");
    let deep = (0..20).fold("struct { } _a[4000000000]".to_owned(), |inner, _| {
        format!("struct {{ {inner}; }} _a[4000000000]")
    });
    let metadata = METADATA.replace("u32 _n; u8 _data[_n];", &format!("{deep};"));
    let dir = tempfile::tempdir().unwrap();
    make(
        dir.path(),
        metadata.as_bytes(),
        &[("s", &packet(0, 0, 1, &[(0, &[])]))],
    );
    let (read, complaint) = read(dir.path());
    assert!(read.times.len() == 1 || !complaint.is_empty());
}

fn next(seed: &mut u64) -> u64 {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    *seed
}

/// Changes some bytes, cuts out or doubles a stretch.
fn mutated(bytes: &[u8], seed: &mut u64) -> Vec<u8> {
    let mut out = bytes.to_vec();
    for _ in 0..1 + next(seed) % 4 {
        if out.is_empty() {
            break;
        }
        let at = next(seed) as usize % out.len();
        let len = (next(seed) % 24) as usize;
        let end = (at + len).min(out.len());
        match next(seed) % 5 {
            0 => out[at] = next(seed) as u8,
            1 => out[at] ^= 1 << (next(seed) % 8),
            2 => out[at..end].fill([0, 0xff][next(seed) as usize % 2]),
            3 => drop(out.drain(at..end)),
            _ => {
                let piece = out[at..end].to_vec();
                let to = next(seed) as usize % out.len();
                out.splice(to..to, piece);
            }
        }
    }
    out
}

#[test]
fn mutated_streams_end_without_panic() {
    let mut seed = 0x1234_5678_9abc_def1;
    let dir = tempfile::tempdir().unwrap();
    let whole = whole();
    for round in 0..3000 {
        let bytes = mutated(&whole, &mut seed);
        make(dir.path(), METADATA.as_bytes(), &[("s", &bytes)]);
        let (read, _) = read(dir.path());
        assert!(read.times.len() <= bytes.len(), "round {round}");
    }
}

#[test]
fn mutated_metadata_ends_without_panic() {
    let mut seed = 0x0fed_cba9_8765_4321;
    let dir = tempfile::tempdir().unwrap();
    let whole = whole();
    let mut opened = 0;
    for _ in 0..3000 {
        let text = mutated(METADATA.as_bytes(), &mut seed);
        make(dir.path(), &text, &[("s", &whole)]);
        let (_, complaint) = read(dir.path());
        opened += u32::from(complaint.is_empty());
    }
    assert!(
        opened > 10,
        "mutations that change nothing of weight: {opened}"
    );
}

#[test]
fn records_of_no_bits_have_no_end() {
    let dir = tempfile::tempdir().unwrap();
    let metadata = "/* CTF 1.8 */ trace { major = 1; minor = 8; byte_order = le; }; stream { }; event { name = bare; };";
    make(dir.path(), metadata.as_bytes(), &[("s", b"abc")]);
    let (read, complaint) = read(dir.path());
    assert_eq!(read.times.len(), 0);
    assert!(complaint.contains("it takes no bits"), "{complaint}");
}

/// LTTng's index of these packets: offset and size, and what else there is, which nobody looks at.
fn index(packets: &[(u64, u64)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for word in [0xc1f1_dcc1u32, 1, 1, 72] {
        bytes.extend(word.to_be_bytes());
    }
    for (offset, size) in packets {
        bytes.extend(offset.to_be_bytes());
        bytes.extend((size * 8).to_be_bytes());
        bytes.extend([0; 56]);
    }
    bytes
}

#[test]
fn packets_that_only_the_index_knows_are_missing() {
    let whole = whole();
    let first = packet(0, 0, 100, &[SIZED, TEXTS, BITS]).len() as u64;
    let all = whole.len() as u64;
    let entries = [(0, first), (first, all - first)];
    let read_with = |stream: &[u8], index: &[u8]| {
        let dir = tempfile::tempdir().unwrap();
        make(dir.path(), METADATA.as_bytes(), &[("s", stream)]);
        std::fs::create_dir(dir.path().join("index")).unwrap();
        std::fs::write(dir.path().join("index/s.idx"), index).unwrap();
        read(dir.path())
    };
    let (read, complaint) = read_with(&whole, &index(&entries));
    assert_eq!((read.times.len(), complaint.as_str()), (6, ""));
    let (read, complaint) = read_with(&whole[..first as usize], &index(&entries));
    assert_eq!(read.times, [100, 101, 102]);
    assert!(
        complaint.contains("the index has 2 packets") && complaint.contains(&all.to_string()),
        "{complaint}"
    );
    // One that lags behind, and one that is none.
    let (read, complaint) = read_with(&whole, &index(&entries[..1]));
    assert_eq!((read.times.len(), complaint.as_str()), (6, ""));
    let (read, complaint) = read_with(&whole, b"not an index");
    assert_eq!((read.times.len(), complaint.as_str()), (6, ""));
}
