//! Records that came through perf_event_open, in a perf.data.

use super::kit::{Export, PERF, comm, perf, script};
use kstrace_perf::attr::Attr;
use kstrace_perf::layout::SampleIdShape;
use kstrace_perf::uapi::{self, flag};
use kstrace_schema::FileOutput;
use kstrace_schema::{EventRecordClass, NativeDescription, SourceId, StructureClass, namespace};
use std::sync::Arc;

const PLAIN: u64 = uapi::PERF_SAMPLE_IP
    | uapi::PERF_SAMPLE_TID
    | uapi::PERF_SAMPLE_TIME
    | uapi::PERF_SAMPLE_CPU
    | uapi::PERF_SAMPLE_PERIOD;

fn cpu_clock(sample_type: u64, flags: u64) -> Attr {
    let mut attr = Attr::new(uapi::PERF_TYPE_SOFTWARE, uapi::PERF_COUNT_SW_CPU_CLOCK);
    attr.sample_type = sample_type;
    attr.sample_period = 1_000_000;
    attr.flags = flags | flag::USE_CLOCKID;
    attr.clockid = 1;
    attr
}

fn sample_class(
    export: &mut Export,
    source: SourceId,
    name: &str,
    attr: &Attr,
    ids: serde_json::Value,
) -> Arc<EventRecordClass> {
    let native = NativeDescription::PerfSample {
        attr_hex: attr.hex(),
        event: name.into(),
        format: None,
    };
    let payload = StructureClass::default();
    let class = EventRecordClass::new(source, namespace::PERF, name, payload, native);
    export.class(class.with_attribute("perf.ids", ids))
}

fn sideband_class(
    export: &mut Export,
    source: SourceId,
    record_type: u32,
    sample_id_type: u64,
) -> Arc<EventRecordClass> {
    let native = NativeDescription::PerfRecord {
        record_type,
        sample_id_type,
    };
    let name = format!("record {record_type}");
    let payload = StructureClass::default();
    export.class(EventRecordClass::new(
        source,
        namespace::PERF,
        name,
        payload,
        native,
    ))
}

/// A record: header and parts, padded to 8 bytes.
fn record(record_type: u32, misc: u16, parts: &[&[u8]]) -> Vec<u8> {
    let mut bytes = vec![0; 8];
    parts.iter().for_each(|part| bytes.extend_from_slice(part));
    assert_eq!(bytes.len() % 8, 0);
    let size = u16::try_from(bytes.len()).unwrap();
    bytes[0..4].copy_from_slice(&record_type.to_ne_bytes());
    bytes[4..6].copy_from_slice(&misc.to_ne_bytes());
    bytes[6..8].copy_from_slice(&size.to_ne_bytes());
    bytes
}

fn word(value: u64) -> [u8; 8] {
    value.to_ne_bytes()
}

fn pair(low: u32, high: u32) -> [u8; 8] {
    let mut bytes = [0; 8];
    bytes[..4].copy_from_slice(&low.to_ne_bytes());
    bytes[4..].copy_from_slice(&high.to_ne_bytes());
    bytes
}

#[test]
fn samples_and_sideband_are_copied_as_they_are() {
    let all = PLAIN | uapi::PERF_SAMPLE_IDENTIFIER | uapi::PERF_SAMPLE_CALLCHAIN;
    let mut export = Export::new();
    let attr = cpu_clock(
        all,
        flag::SAMPLE_ID_ALL | flag::COMM | flag::MMAP | flag::MMAP2,
    );
    let ids = serde_json::json!(["31", 32]);
    let clock = sample_class(&mut export, PERF, "cpu-clock:u", &attr, ids);
    let comm_record = sideband_class(&mut export, PERF, uapi::PERF_RECORD_COMM, all);
    let mmap2 = sideband_class(&mut export, PERF, uapi::PERF_RECORD_MMAP2, all);
    let trailer = |time: u64, id: u64| [pair(600, 601), word(time), pair(1, 0), word(id)].concat();
    let mut written = Vec::new();
    let named = record(
        uapi::PERF_RECORD_COMM,
        0,
        &[&pair(600, 601), b"worker\0\0", &trailer(1_000, 31)],
    );
    export.write(&comm_record, 1_000, 1, &named);
    written.push(named);
    let mapped = record(
        uapi::PERF_RECORD_MMAP2,
        uapi::PERF_RECORD_MISC_USER,
        &[
            &pair(600, 601),
            &word(0x40_0000),
            &word(0x1_0000),
            &word(0),
            &[0; 24],
            &pair(5, 2),
            b"/no/such/program\0\0\0\0\0\0\0\0",
            &trailer(1_100, 32),
        ],
    );
    export.write(&mmap2, 1_100, 1, &mapped);
    written.push(mapped);
    let sample = record(
        uapi::PERF_RECORD_SAMPLE,
        uapi::PERF_RECORD_MISC_USER,
        &[
            &word(32),
            &word(0x40_1234),
            &pair(600, 601),
            &word(2_000),
            &pair(1, 0),
            &word(1_000_000),
            &word(2),
            &word(0xffff_ffff_ffff_fe00),
            &word(0x40_1234),
        ],
    );
    export.write(&clock, 2_000, 1, &sample);
    written.push(sample);
    export.finish();
    let file = std::fs::read(&export.path).unwrap();
    assert!(
        file.windows(written.concat().len())
            .any(|w| w == written.concat()),
        "the records stand in the file as they were recorded"
    );
    assert_eq!(export.sink.report().kept, 3);
    assert_eq!(
        script("comm,pid,tid,cpu,time,period,event,ip,dso", &export.path),
        [
            "worker 600/601 [001] 0.000002000: 1000000 cpu-clock:u:",
            "1234 (/no/such/program)"
        ]
    );
    let header = perf(&["report", "--header-only"], &export.path);
    assert!(
        header.contains("name = cpu-clock:u, , id = { 31, 32 }"),
        "{header}"
    );
    assert!(header.contains("size = 128"), "{header}");
}

#[test]
fn events_without_identifier_live_beside_others() {
    // As a perf.data of one event has them: no ids at all, no trailers either.
    let mut export = Export::new();
    let switch = export.ftrace("raw_syscalls:sys_enter");
    let bare = cpu_clock(PLAIN, flag::COMM);
    let bare = sample_class(&mut export, PERF, "cpu-clock", &bare, serde_json::json!([]));
    let bare_comm = sideband_class(&mut export, PERF, uapi::PERF_RECORD_COMM, 0);
    // As a perf.data of several events had them before IDENTIFIER.
    let old_type = PLAIN | uapi::PERF_SAMPLE_ID;
    let old = cpu_clock(old_type, flag::SAMPLE_ID_ALL);
    let source = SourceId(4);
    let old = sample_class(
        &mut export,
        source,
        "task-clock",
        &old,
        serde_json::json!([5]),
    );
    let old_comm = sideband_class(&mut export, source, uapi::PERF_RECORD_COMM, old_type);
    let old_lost = sideband_class(&mut export, source, uapi::PERF_RECORD_LOST, old_type);

    let name = record(uapi::PERF_RECORD_COMM, 0, &[&pair(70, 71), &comm("bare")]);
    export.write(&bare_comm, 1, 0, &name);
    let body = [word(0x1000), pair(70, 71), word(10)].concat();
    let sample = record(uapi::PERF_RECORD_SAMPLE, 2, &[&body, &pair(0, 0), &word(9)]);
    export.write(&bare, 10, 0, &sample);
    let trailer = |time: u64| [pair(80, 81), word(time), word(5), pair(1, 0)].concat();
    let name = record(
        uapi::PERF_RECORD_COMM,
        0,
        &[&pair(80, 81), &comm("old"), &trailer(11)],
    );
    export.write(&old_comm, 11, 1, &name);
    let body = [word(0x2000), pair(80, 81), word(20), word(5)].concat();
    let sample = record(uapi::PERF_RECORD_SAMPLE, 2, &[&body, &pair(1, 0), &word(8)]);
    export.write(&old, 20, 1, &sample);
    let lost = record(
        uapi::PERF_RECORD_LOST,
        0,
        &[&word(5), &word(77), &trailer(21)],
    );
    export.write(&old_lost, 21, 1, &lost);
    let entry = switch.entry(81, &[&word(39), &[0; 48]]);
    export.write(&switch.class, 30, 0, &entry);
    export.finish();

    let report = export.sink.report();
    assert_eq!((report.kept, report.lost, report.unparsable), (6, 77, 0));
    assert_eq!(
        script("comm,pid,tid,cpu,time,event", &export.path),
        [
            "bare 70/71 [000] 0.000000010: cpu-clock:",
            "old 80/81 [001] 0.000000020: task-clock:",
            "old 80/81 [000] 0.000000030: raw_syscalls:sys_enter:",
        ]
    );
    let stats = perf(&["report", "--stats"], &export.path);
    let task_clock = stats.split("task-clock stats").nth(1).unwrap_or_default();
    assert!(task_clock.contains("SAMPLE events:          1"), "{stats}");
    let dump = perf(&["script", "-D"], &export.path);
    assert!(dump.contains("PERF_RECORD_LOST"), "{dump}");
}

#[test]
fn two_sources_with_the_same_ids_do_not_mix() {
    let all = PLAIN | uapi::PERF_SAMPLE_IDENTIFIER;
    let mut export = Export::new();
    let attr = cpu_clock(all, flag::SAMPLE_ID_ALL);
    let first = sample_class(&mut export, PERF, "first", &attr, serde_json::json!([12]));
    let second = sample_class(
        &mut export,
        SourceId(5),
        "second",
        &attr,
        serde_json::json!([12]),
    );
    let exit = sideband_class(&mut export, SourceId(5), uapi::PERF_RECORD_EXIT, all);
    let throttle = sideband_class(&mut export, SourceId(5), uapi::PERF_RECORD_THROTTLE, all);
    for (time, class) in [(1, &first), (2, &second)] {
        let body = [word(12), word(0x1000), pair(7, 7), word(time)].concat();
        let sample = record(uapi::PERF_RECORD_SAMPLE, 2, &[&body, &pair(0, 0), &word(1)]);
        export.write(class, time, 0, &sample);
    }
    let trailer = |time: u64| [pair(7, 7), word(time), pair(0, 0), word(12)].concat();
    let body = [word(3), word(12), word(12)].concat();
    let throttled = record(uapi::PERF_RECORD_THROTTLE, 0, &[&body, &trailer(3)]);
    export.write(&throttle, 3, 0, &throttled);
    let body = [pair(7, 1), pair(7, 1), word(4)].concat();
    let left = record(uapi::PERF_RECORD_EXIT, 0, &[&body, &trailer(4)]);
    export.write(&exit, 4, 0, &left);
    export.finish();
    let lines = script("time,event", &export.path);
    assert_eq!(lines, ["0.000000001: first:", "0.000000002: second:"]);
    let stats = perf(&["report", "--stats"], &export.path);
    let of_second = stats.split("second stats").nth(1).unwrap_or_default();
    assert!(of_second.contains("SAMPLE events:          1"), "{stats}");
}

#[test]
fn records_that_are_not_what_they_say_are_counted() {
    let all = PLAIN | uapi::PERF_SAMPLE_IDENTIFIER;
    let mut export = Export::new();
    let attr = cpu_clock(all, flag::SAMPLE_ID_ALL);
    let clock = sample_class(
        &mut export,
        PERF,
        "cpu-clock",
        &attr,
        serde_json::json!([1]),
    );
    let comm_record = sideband_class(&mut export, PERF, uapi::PERF_RECORD_COMM, all);
    let younger = sideband_class(&mut export, PERF, uapi::PERF_RECORD_CALLCHAIN_DEFERRED, all);
    let good = record(
        uapi::PERF_RECORD_SAMPLE,
        2,
        &[
            &word(1),
            &word(2),
            &pair(3, 3),
            &word(4),
            &pair(0, 0),
            &word(1),
        ],
    );
    export.write(&clock, 4, 0, &good);
    export.write(&clock, 5, 0, &good[..40]);
    export.write(&clock, 5, 0, &[]);
    export.write(
        &comm_record,
        6,
        0,
        &record(uapi::PERF_RECORD_COMM, 0, &[&[0; 8]]),
    );
    export.write(
        &younger,
        7,
        0,
        &record(uapi::PERF_RECORD_CALLCHAIN_DEFERRED, 0, &[&[0; 40]]),
    );
    export.finish();
    let report = export.sink.report();
    assert_eq!(
        (report.kept, report.unparsable, report.not_held_total()),
        (1, 3, 4)
    );
    assert_eq!(
        script("time,event", &export.path),
        ["0.000000004: cpu-clock:"]
    );
    assert_eq!(SampleIdShape::new(all).size_bytes(), 32);
}

#[test]
fn build_ids_are_those_of_the_files() {
    let all = PLAIN | uapi::PERF_SAMPLE_IDENTIFIER;
    let mut export = Export::new();
    let attr = cpu_clock(all, flag::SAMPLE_ID_ALL | flag::MMAP2);
    sample_class(
        &mut export,
        PERF,
        "cpu-clock",
        &attr,
        serde_json::json!([1]),
    );
    let mmap2 = sideband_class(&mut export, PERF, uapi::PERF_RECORD_MMAP2, all);
    let program = std::fs::canonicalize("/bin/sh").unwrap();
    let program = program.to_str().unwrap();
    let metadata = std::fs::metadata(program).unwrap();
    let (device, inode) = {
        use std::os::unix::fs::MetadataExt;
        (metadata.dev(), metadata.ino())
    };
    let trailer = [pair(7, 7), word(1), pair(0, 0), word(1)].concat();
    for (inode, path) in [(inode, program), (inode + 1, "/usr/bin/perf")] {
        let mut name = path.as_bytes().to_vec();
        name.resize((name.len() + 1).next_multiple_of(8), 0);
        let mapped = record(
            uapi::PERF_RECORD_MMAP2,
            uapi::PERF_RECORD_MISC_USER,
            &[
                &pair(7, 7),
                &word(0x40_0000),
                &word(0x1000),
                &word(0),
                &pair(libc::major(device), libc::minor(device)),
                &word(inode),
                &word(0),
                &pair(5, 2),
                &name,
                &trailer,
            ],
        );
        export.write(&mmap2, 1, 0, &mapped);
    }
    export.finish();
    let listed = perf(&["buildid-list"], &export.path);
    let notes = std::process::Command::new("readelf")
        .args(["-n", program])
        .output()
        .unwrap();
    let notes = String::from_utf8(notes.stdout).unwrap();
    let expected = notes
        .split("Build ID: ")
        .nth(1)
        .unwrap()
        .split_whitespace()
        .next()
        .unwrap();
    assert_eq!(
        listed.trim(),
        format!("{expected} {program}"),
        "the other file is another one now"
    );
}
