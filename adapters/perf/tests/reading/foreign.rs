//! Files of a big-endian machine.

use super::kit::{KeptRecord, read, read_stream, rewrite, rewrite_beside, varied};
use super::swap::big_endian;
use crate::perf_data::kit::{Scratch, perf};

/// Without switches: perf 6.1 turns the wrong bytes of those around.
const SCRIPT: &[&str] = &[
    "script",
    "--ns",
    "--show-task-events",
    "--show-mmap-events",
    "--show-lost-events",
];

/// What is the same whatever the byte order.
fn content(record: &KeptRecord) -> (String, u64, u32, String) {
    // `misc` is bits, and a class's rest may hold a trailer, which is bytes to the class.
    let fields = record.fields.split_whitespace();
    let mut fields: Vec<&str> = match record.class.starts_with("PERF_RECORD_") {
        true => fields
            .filter(|f| f.starts_with("pid=") || f.starts_with("tid=") || f.starts_with("addr="))
            .collect(),
        false => fields.collect(),
    };
    // The two halves of a word change places.
    fields.sort_unstable();
    (
        record.class.clone(),
        record.time_ns,
        record.cpu,
        fields.join(" "),
    )
}

#[test]
fn says_the_same_as_the_native_one() {
    let scratch = Scratch::new();
    let native = varied(&scratch);
    let foreign = big_endian(&native);
    let path = scratch.path("foreign.data");
    std::fs::write(&path, &foreign).unwrap();
    let a = read(&scratch.path("varied.data")).unwrap();
    let b = read(&path).unwrap();
    assert!(b.damage.is_empty(), "{:?}", b.damage);
    assert_eq!(b.statistics.opaque, 0);
    assert_eq!(a.session.host, b.session.host);
    assert_eq!(a.session.capture, b.session.capture);
    assert_eq!(a.session.clock, b.session.clock);
    // The maker leaves out perf's own records.
    let of_kernel = |r: &&KeptRecord| {
        let user = [
            "ID_INDEX",
            "THREAD_MAP",
            "CPU_MAP",
            "EVENT_UPDATE",
            "TIME_CONV",
            "FINISHED_INIT",
            "HEADER_BUILD_ID",
        ];
        !user.iter().any(|u| r.class == format!("PERF_RECORD_{u}"))
    };
    let wanted: Vec<_> = a
        .kept
        .records
        .iter()
        .filter(of_kernel)
        .map(content)
        .collect();
    let found: Vec<_> = b.kept.records.iter().map(content).collect();
    assert!(wanted.len() > 40);
    for (wanted, found) in wanted.iter().zip(&found) {
        assert_eq!(wanted, found);
    }
    assert_eq!(wanted.len(), found.len());
    for class in [
        "sched:sched_switch",
        "sched:sched_process_exec",
        "raw_syscalls:sys_enter",
        "cpu-clock",
    ] {
        assert!(found.iter().any(|f| f.0 == class), "{class} is among them");
    }
    let piped = read_stream(foreign).unwrap();
    assert_eq!(piped.kept.records, b.kept.records);
}

#[test]
fn perf_reads_it_and_what_is_written_of_it() {
    let scratch = Scratch::new();
    let native = varied(&scratch);
    let path = scratch.path("foreign.data");
    std::fs::write(&path, big_endian(&native)).unwrap();
    let text = without_protection(&perf(SCRIPT, &scratch.path("varied.data")));
    let foreign = without_protection(&perf(SCRIPT, &path));
    let differs = text.lines().zip(foreign.lines()).find(|(a, b)| a != b);
    assert_eq!(differs, None, "the maker is right");
    assert_eq!(text, foreign);
    let again = scratch.path("again.data");
    assert!(rewrite(&path, &again).is_lossless());
    assert_eq!(std::fs::read(&again).unwrap()[..8], *b"2ELIFREP");
    assert_eq!(text, without_protection(&perf(SCRIPT, &again)));
}

/// perf 6.1 does not turn the protection bits of a mapping around.
fn without_protection(text: &str) -> String {
    text.lines()
        .map(|line| match line.split_once("]: ") {
            Some((start, rest)) if line.contains("PERF_RECORD_MMAP2") => {
                format!("{start} {}\n", rest.get(5..).unwrap_or_default())
            }
            _ => format!("{line}\n"),
        })
        .collect()
}

/// A file has one byte order: beside another source, foreign records have no place.
#[test]
fn beside_another_source_it_is_told_that_it_is_not_held() {
    let scratch = Scratch::new();
    let path = scratch.path("foreign.data");
    std::fs::write(&path, big_endian(&varied(&scratch))).unwrap();
    let out = scratch.path("both.data");
    let report = rewrite_beside(&path, &out);
    assert_eq!(report.kept, 0);
    assert!(report.not_held["perf:sched:sched_switch"] > 0, "{report:?}");
    perf(SCRIPT, &out);
}

/// Of this machine's order they have one, loss told once.
#[test]
fn native_records_are_held_beside_another_source() {
    let scratch = Scratch::new();
    varied(&scratch);
    let path = scratch.path("varied.data");
    let out = scratch.path("both.data");
    let report = rewrite_beside(&path, &out);
    // perf's own records say how its file was made, not what happened.
    assert!(
        report.not_held.keys().all(|class| {
            class == "perf:PERF_RECORD_FINISHED_INIT" || class.starts_with("perf:PERF_RECORD_")
        }),
        "{report:?}"
    );
    let switches = |file| {
        perf(&["script", "--ns", "-F", "tid,time,event"], file)
            .lines()
            .filter(|line| line.contains("sched:sched_switch:"))
            .count()
    };
    assert_eq!(switches(&path), switches(&out));
}
