//! Outputs that do not work, files without records, many records.

use super::kit::{Export, PERF, Scratch, perf, script, session};
use kstrace_perf::attr::Attr;
use kstrace_perf::file::{PerfDataOptions, PerfDataSink};
use kstrace_perf::uapi::{self, flag};
use kstrace_schema::FileOutput;
use kstrace_schema::{
    ErrorKind, EventRecordClass, NativeDescription, Sink, StructureClass, namespace,
};
use std::io::Cursor;
use std::path::Path;

#[test]
fn an_empty_session_is_a_file_that_perf_reads() {
    let mut export = Export::new();
    export.finish();
    assert_eq!(script("time,event", &export.path), [""; 0]);
    assert!(perf(&["report", "--header-only"], &export.path).contains("testhost"));
}

#[test]
fn a_full_disk_is_an_error_and_leaves_nothing() {
    let mut sink = PerfDataSink::create(Path::new("/dev/full"), Default::default()).unwrap();
    sink.session(&session()).unwrap();
    let error = sink.finish().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ResourceExhausted);
    assert!(format!("{error:?}").contains("/dev/full"), "{error:?}");
    assert!(sink.finish().is_err());
}

#[test]
fn an_export_that_is_given_up_leaves_the_old_file() {
    let scratch = Scratch::new();
    let path = scratch.path("perf.data");
    std::fs::write(&path, "old").unwrap();
    let mut sink = PerfDataSink::create(&path, Default::default()).unwrap();
    sink.session(&session()).unwrap();
    drop(sink);
    assert_eq!(std::fs::read(&path).unwrap(), b"old");
    assert_eq!(
        std::fs::read_dir(path.parent().unwrap()).unwrap().count(),
        1
    );
}

#[test]
fn a_place_that_cannot_be_written_to_is_named() {
    for path in ["/proc/nothing/perf.data", "/nowhere/perf.data", "/"] {
        let error = PerfDataSink::create(Path::new(path), Default::default()).unwrap_err();
        assert!(error.to_string().contains(path), "{error}");
    }
}

#[test]
fn writes_to_memory_too() {
    let mut sink = PerfDataSink::to_writer(Cursor::new(Vec::new()), Default::default()).unwrap();
    sink.session(&session()).unwrap();
    sink.finish().unwrap();
    assert!(sink.finish().is_err(), "only once");
}

#[test]
fn many_rounds_stay_in_order() {
    let options = PerfDataOptions {
        round_records: 16,
        ..PerfDataOptions::default()
    };
    let mut export = Export::with(session(), options);
    let enter = export.ftrace("raw_syscalls:sys_enter");
    for n in 0..20_000u64 {
        // Each second one is older than its neighbour, as where merging is done by packets.
        let time = 1_000 + 10 * (n ^ 1);
        let tid = i32::try_from(n % 500 + 1).unwrap();
        export.write(
            &enter.class,
            time,
            (n % 2) as u32,
            &enter.entry(tid, &[&[0; 56]]),
        );
    }
    export.finish();
    let report = export.sink.report();
    assert_eq!((report.kept, report.out_of_order), (20_000, 0));
    assert_eq!(report.added, 20_000 / 16);
    let times: Vec<u64> = script("time", &export.path)
        .iter()
        .map(|line| line.trim_end_matches(':').replace('.', "").parse().unwrap())
        .collect();
    assert_eq!(times.len(), 20_000);
    assert!(times.is_sorted());
}

#[test]
fn random_bytes_do_no_harm() {
    let all = uapi::PERF_SAMPLE_TID
        | uapi::PERF_SAMPLE_TIME
        | uapi::PERF_SAMPLE_CPU
        | uapi::PERF_SAMPLE_IDENTIFIER;
    let mut attr = Attr::new(uapi::PERF_TYPE_SOFTWARE, 0);
    attr.sample_type = all;
    attr.flags = flag::SAMPLE_ID_ALL;
    let mut export = Export::new();
    let mut classes = Vec::new();
    for event in [
        "sched:sched_switch",
        "sched:sched_process_exec",
        "task:task_newtask",
    ] {
        classes.push(export.ftrace(event).class);
    }
    let payload = StructureClass::default();
    for shape in [0, all] {
        for record_type in 1..=21 {
            let native = NativeDescription::PerfRecord {
                record_type,
                sample_id_type: shape,
            };
            let name = format!("record {record_type}");
            let payload = payload.clone();
            let class = EventRecordClass::new(PERF, namespace::PERF, name, payload, native);
            classes.push(export.class(class));
        }
    }
    for (attr_hex, event) in [(attr.hex(), "cpu-clock"), ("00".repeat(64), "cycles")] {
        let native = NativeDescription::PerfSample {
            attr_hex,
            event: event.into(),
            format: None,
        };
        let payload = payload.clone();
        classes.push(export.class(EventRecordClass::new(
            PERF,
            namespace::PERF,
            event,
            payload,
            native,
        )));
    }
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let mut bytes = [0u8; 128];
    let mut total = 0;
    for _ in 0..40_000 {
        let class = &classes[random() as usize % classes.len()];
        bytes
            .chunks_exact_mut(8)
            .for_each(|chunk| chunk.copy_from_slice(&random().to_ne_bytes()));
        let length = random() as usize % bytes.len();
        // Most state their length truly: the others are refused at once.
        if length >= 8 && random() % 8 != 0 {
            bytes[6..8].copy_from_slice(&(length as u16).to_ne_bytes());
        }
        export.write(
            class,
            random() >> 40,
            (random() % 4) as u32,
            &bytes[..length],
        );
        total += 1;
    }
    export.finish();
    let report = export.sink.report();
    assert_eq!(report.kept + report.not_held_total(), total);
    assert!(
        report.kept > total / 2 && report.unparsable > 0,
        "{report:?}"
    );
}
