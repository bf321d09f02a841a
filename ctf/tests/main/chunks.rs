//! Traces in several directories: chunks of a rotated session, snapshots.

use crate::foreign::{babeltrace2, copy, make};
use kstrace_ctf::{CtfReader, MetadataFormat};
use kstrace_schema::FileInput;

const METADATA: &str = "/* CTF 1.8 */
typealias integer { size = 8; align = 8; signed = false; } := u8;
typealias integer { size = 32; align = 8; signed = false; } := u32;
typealias integer { size = 64; align = 8; signed = false; } := u64;
trace { major = 1; minor = 8; uuid = \"00010203-0405-0607-0809-0a0b0c0d0e0f\"; byte_order = le;
  packet.header := struct { u32 magic; u8 uuid[16]; u32 stream_id; u64 stream_instance_id; }; };
env { tracer_name = \"lttng-modules\"; };
clock { name = monotonic; freq = 1000000000; offset = 5; };
typealias integer { size = 64; align = 8; map = clock.monotonic.value; } := stamp;
stream { id = 0; packet.context := struct { stamp timestamp_begin; stamp timestamp_end; u64 content_size; u64 packet_size; u64 packet_seq_num; u64 events_discarded; u32 cpu_id; };
  event.header := struct { u32 id; stamp timestamp; }; };
event { name = first; id = 0; stream_id = 0; fields := struct { u8 _n; }; };
";
const LATER: &str =
    "event { name = second; id = 1; stream_id = 0; fields := struct { string _s; }; };\n";

fn packet(instance: u64, number: u64, discarded: u64, begin: u64, end: u64) -> Vec<u8> {
    let size = (4 + 16 + 4 + 8 + 6 * 8 + 4 + 2 * 13) * 8u64;
    let mut out = Vec::new();
    out.extend(0xc1fc_1fc1u32.to_le_bytes());
    out.extend(0..16);
    out.extend(0u32.to_le_bytes());
    out.extend(instance.to_le_bytes());
    for word in [begin, end, size, size, number, discarded] {
        out.extend(word.to_le_bytes());
    }
    out.extend((instance as u32).to_le_bytes());
    for time in [begin, end] {
        out.extend(0u32.to_le_bytes());
        out.extend(time.to_le_bytes());
        out.push(number as u8);
    }
    assert_eq!(out.len() as u64 * 8, size);
    out
}

fn packets(all: &[(u64, u64, u64, u64)]) -> Vec<u8> {
    all.iter()
        .flat_map(|(number, discarded, begin, end)| packet(0, *number, *discarded, *begin, *end))
        .collect()
}

/// babeltrace2's text and warnings, of the warnings the beginnings.
fn judge(dir: &std::path::Path) -> (String, Vec<String>) {
    let (text, warnings) = babeltrace2(dir);
    let warnings = warnings
        .lines()
        .filter_map(|l| Some(l.split_once(" in trace")?.0.to_owned()))
        .collect();
    (text, warnings)
}

/// The same text and the same warnings of loss, of the parts and of the copy, which is one trace.
fn judged(parts: &[(&str, String, Vec<u8>)]) -> (String, Vec<String>) {
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    for (name, metadata, stream) in parts {
        make(&from.join(name), metadata.as_bytes(), &[("ch_0", stream)]);
    }
    let reader = CtfReader::open(&from).unwrap();
    assert_eq!(reader.session().sources.len(), 1);
    let (report, errors) = copy(&from, &to, MetadataFormat::Ctf1_8).unwrap();
    assert!(errors.is_empty(), "{errors:?}");
    assert!(report.not_held.is_empty(), "{report:?}");
    assert!(to.join("metadata").is_file());
    let expected = judge(&from);
    assert_eq!(expected, judge(&to));
    expected
}

#[test]
fn the_chunks_of_a_rotated_session_are_one_trace() {
    let later = format!("{METADATA}{LATER}");
    let (text, warnings) = judged(&[
        (
            "archives/0/kernel",
            METADATA.to_owned(),
            packets(&[(0, 0, 100, 110), (1, 3, 120, 130)]),
        ),
        (
            "archives/1/kernel",
            later.clone(),
            packets(&[(2, 3, 140, 150)]),
        ),
        ("archives/2/kernel", later, packets(&[(3, 8, 160, 170)])),
    ]);
    assert_eq!(text.lines().count(), 8);
    // What the chunks before discarded is not told again.
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(warnings[0].contains("discarded 3 events"), "{warnings:?}");
    assert!(warnings[1].contains("discarded 5 events"), "{warnings:?}");
}

#[test]
fn what_two_snapshots_share_is_read_once() {
    let (text, warnings) = judged(&[
        (
            "snapshot-1/kernel",
            METADATA.to_owned(),
            packets(&[(5, 0, 100, 110), (6, 0, 120, 130)]),
        ),
        (
            "snapshot-2/kernel",
            METADATA.to_owned(),
            packets(&[(6, 0, 120, 130), (7, 0, 140, 150), (9, 0, 160, 170)]),
        ),
    ]);
    assert_eq!(text.lines().count(), 8);
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains("discarded 1 packet"), "{warnings:?}");
}

#[test]
fn the_same_number_of_another_trace_is_another_trace() {
    let dir = tempfile::tempdir().unwrap();
    let other = METADATA.replace("u8 _n;", "u8 _m;");
    for (name, metadata) in [("one", METADATA), ("two", other.as_str())] {
        make(
            &dir.path().join(name),
            metadata.as_bytes(),
            &[("ch_0", &packets(&[(0, 0, 100, 110)]))],
        );
    }
    let reader = CtfReader::open(dir.path()).unwrap();
    assert_eq!(reader.session().sources.len(), 2);
}
