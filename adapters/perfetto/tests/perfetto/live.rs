//! Recordings of this machine, compared with the report of the same trace.

use crate::judge;
use kstrace::engine::request::{EventRequest, RecordRequest, SourceChoice};
use kstrace::engine::{Recorder, Session, plan_for};
use kstrace::report::{Filter, Kallsyms, OutputFormat, Report, ReportOptions};
use kstrace_ctf::TraceReader;
use kstrace_perfetto::{PerfettoOptions, PerfettoSink};
use kstrace_schema::merge::Merger;
use kstrace_schema::{Capture, ClockKind, ConversionReport, ErrorKind, FileOutput, Sink, Source};
use std::fs::File;
use std::path::Path;
use std::process::Command;

/// Records the whole machine while a shell runs something. `None` where that is not allowed.
fn record(request: &RecordRequest, load: &str, trace: &Path) -> Option<()> {
    let opened =
        plan_for(request).and_then(|plan| Session::open(&plan, request, Capture::default()));
    let session = match opened {
        Err(e) if e.kind() == ErrorKind::PermissionDenied => {
            eprintln!("skipped: {e:?}");
            return None;
        }
        opened => opened.expect("a session"),
    };
    let recorder = Recorder::create(trace, session.info()).expect("a recorder");
    let running = session.start(Some(Box::new(recorder))).expect("start");
    let status = Command::new("sh").args(["-c", load]).status().expect("sh");
    assert!(status.success());
    running.stop().expect("stop");
    Some(())
}

fn events(specs: &[&str]) -> Vec<EventRequest> {
    let each = |spec: &&str| EventRequest {
        spec: (*spec).to_owned(),
        ..EventRequest::default()
    };
    specs.iter().map(each).collect()
}

/// Reads a whole trace into a sink.
fn read_into(trace: &Path, sink: &mut dyn Sink) {
    let mut reader = TraceReader::open(trace).expect("a trace");
    sink.session(reader.session()).expect("session");
    let mut merger = Merger::new(reader.streams(sink).expect("streams"));
    while !merger.round(sink).expect("a round").finished() {}
    assert!(merger.take_errors().is_empty());
    merger.finish(sink).expect("the end");
    sink.finish().expect("finished");
}

fn convert(trace: &Path, output: &Path) -> ConversionReport {
    let mut sink = PerfettoSink::create(output, PerfettoOptions::default()).expect("an output");
    read_into(trace, &mut sink);
    sink.report()
}

fn report(trace: &Path, output: &Path) {
    let options = ReportOptions {
        format: OutputFormat::JsonLines,
        filter: Filter {
            bookkeeping: true,
            ..Filter::default()
        },
        symbols: true,
        ..ReportOptions::default()
    };
    let file = File::create(output).expect("a file");
    let mut sink = Report::new(file, options, Kallsyms::default());
    read_into(trace, &mut sink);
}

/// Converts and compares; gives the conversion's report and what the judge counted.
fn judged(trace: &Path) -> Option<(ConversionReport, serde_json::Value)> {
    let python = judge::python()?;
    let dir = trace.parent().expect("a directory");
    let (perfetto, json) = (dir.join("t.pftrace"), dir.join("t.jsonl"));
    let report_of_sink = convert(trace, &perfetto);
    report(trace, &json);
    let counted = judge::run(&python, "tests/judge/compare.py", &[&perfetto, &json]);
    let counted = serde_json::from_str(&counted).expect("JSON");
    Some((report_of_sink, counted))
}

const LOAD: &str = "ls -R /usr/include/linux >/dev/null; sleep 0.02";

#[test]
fn ftrace_events_and_samples_in_one_trace() {
    let dir = tempfile::tempdir().expect("a directory");
    let trace = dir.path().join("t.kst");
    let request = RecordRequest {
        events: events(&[
            "cpu-clock",
            "sched:*",
            "irq:*",
            "raw_syscalls:*",
            "syscalls:sys_enter_openat",
            "syscalls:sys_exit_openat",
            "task:*",
            "timer:*",
            "signal:*",
            "workqueue:*",
            "power:cpu_idle",
            "block:*",
            "kmem:rss_stat",
        ]),
        callchain: true,
        kernel_buffer_bytes_per_cpu: 32 << 20,
        ring_bytes_per_cpu: 16 << 20,
        ..RecordRequest::default()
    };
    let judged = record(&request, LOAD, &trace).and_then(|()| judged(&trace));
    let Some((report, counted)) = judged else {
        return;
    };
    assert!(
        counted["events"].as_u64().expect("events") > 1000,
        "{counted}"
    );
    assert!(
        counted["samples"].as_u64().expect("samples") > 10,
        "{counted}"
    );
    assert!(
        counted["processes"].as_u64().expect("processes") > 5,
        "{counted}"
    );
    assert_eq!(counted["read_events"], counted["events"], "{counted}");
    assert_eq!(report.unparsable, 0, "{report:?}");
    let not_held: Vec<_> = report.not_held.keys().collect();
    assert!(
        not_held.iter().all(|n| n.starts_with("perf:PERF_RECORD_")),
        "{report:?}"
    );
}

#[test]
fn tracepoints_with_stacks_through_perf() {
    let dir = tempfile::tempdir().expect("a directory");
    let trace = dir.path().join("t.kst");
    let mut wanted = events(&[
        "sched:sched_switch",
        "sched:sched_process_exec",
        "page-faults",
    ]);
    wanted[0].stack = Some(true);
    let request = RecordRequest {
        events: wanted,
        period: Some(1),
        callchain: true,
        source: SourceChoice::Perf,
        kernel_buffer_bytes_per_cpu: 16 << 20,
        ring_bytes_per_cpu: 16 << 20,
        ..RecordRequest::default()
    };
    let judged = record(&request, "for i in 1 2 3; do ls / >/dev/null; done", &trace)
        .and_then(|()| judged(&trace));
    let Some((report, counted)) = judged else {
        return;
    };
    let count = |key: &str| counted[key].as_u64().expect("a number");
    assert!(count("samples") > count("events"), "{counted}");
    assert!(count("events") > 10, "{counted}");
    assert_eq!(report.unparsable, 0, "{report:?}");
}

#[test]
fn loss_is_told() {
    let dir = tempfile::tempdir().expect("a directory");
    let trace = dir.path().join("t.kst");
    let request = RecordRequest {
        events: events(&["raw_syscalls:*", "cpu-clock"]),
        kernel_buffer_bytes_per_cpu: 64 << 10,
        ring_bytes_per_cpu: 128 << 10,
        clock: ClockKind::Monotonic,
        ..RecordRequest::default()
    };
    let load = "dd if=/dev/zero of=/dev/null bs=1 count=60000 2>/dev/null";
    let judged = record(&request, load, &trace).and_then(|()| judged(&trace));
    let Some((report, counted)) = judged else {
        return;
    };
    let count = |key: &str| counted[key].as_u64().expect("a number");
    assert!(report.lost > 0, "nothing was lost: {counted}");
    assert_eq!(report.lost, count("lost_events"), "{counted}");
    assert_eq!(
        report.lost,
        count("stats_lost") + count("lost_samples"),
        "{counted}"
    );
    // A bundle is marked only if one of its CPU comes after the loss, which need not be so.
}
