//! perf.data to perf.data: the real perf must see no difference.

use super::kit::{read, rewrite, rewrite_as_stream};
use crate::perf_data::kit::{Scratch, perf_record};
use std::path::Path;
use std::process::Command;

/// What a perf command prints, with what cannot but differ taken out: when the file was made,
/// where its parts are, and a tip that changes each time.
fn perf_text(args: &[&str], file: &Path) -> String {
    let output = Command::new("perf")
        .args(args)
        .arg("-i")
        .arg(file)
        .env("PAGER", "cat")
        .env("DEBUGINFOD_URLS", "")
        .output()
        .expect("perf is needed as judge");
    assert!(
        output.status.success(),
        "perf {args:?} {}: {}",
        file.display(),
        String::from_utf8_lossy(&output.stderr)
    );
    let differs = [
        "# captured on",
        "# data offset",
        "# data size",
        "# feat offset",
        "# (Tip:",
        "# directory data version",
        "# missing features",
    ];
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter(|line| !differs.iter().any(|d| line.starts_with(d)))
        .fold(String::new(), |text, line| text + line + "\n")
}

const ALL_RECORDS: &[&str] = &[
    "script",
    "--ns",
    "--show-task-events",
    "--show-mmap-events",
    "--show-switch-events",
    "--show-lost-events",
    "--show-namespace-events",
    "--show-cgroup-events",
    "--show-bpf-events",
];

fn assert_same(input: &Path, output: &Path, fields: &str) {
    let script: &[&str] = &["script", "--ns", "-F", fields];
    for args in [
        script,
        ALL_RECORDS,
        &["report", "--stdio"],
        &["script", "--header-only", "-I"],
    ] {
        let (before, after) = (perf_text(args, input), perf_text(args, output));
        assert!(!before.trim().is_empty(), "perf {args:?} prints nothing");
        let differs = before.lines().zip(after.lines()).find(|(a, b)| a != b);
        assert_eq!(differs, None, "{args:?}");
        assert_eq!(before, after, "{args:?}");
    }
}

/// Records, rewrites, and compares; then once more from what was written.
fn check(record: &[&str], workload: &[&str], fields: &str) {
    let scratch = Scratch::new();
    let (input, output) = (scratch.path("in"), scratch.path("out"));
    perf_record(record, &input, workload);
    let report = rewrite(&input, &output);
    assert!(report.is_lossless(), "{record:?}: {report:?}");
    assert_same(&input, &output, fields);
    let before = read(&input).unwrap();
    assert_eq!(before.damage.len(), 0);
    assert_eq!(before.statistics.opaque, 0, "every record is described");
    assert_eq!(before.statistics.unknown_ids, 0);
    let after = read(&output).unwrap();
    // Several files begin at several times.
    let without_time = |records: &[super::kit::KeptRecord]| -> Vec<_> {
        let of = |r: &super::kit::KeptRecord| (r.class.clone(), r.cpu, r.payload.clone());
        records.iter().map(of).collect()
    };
    assert_eq!(
        without_time(&before.kept.records),
        without_time(&after.kept.records)
    );
    assert_eq!(before.session.host, after.session.host);
    assert_eq!(before.session.capture, after.session.capture);
    assert_eq!(before.session.clock, after.session.clock);
    let features =
        |s: &kstrace_schema::SessionInfo| s.sources[1].attributes["perf.file.features"].clone();
    let mut wanted = features(&before.session);
    // Only a directory has it.
    wanted.as_object_mut().unwrap().remove("24");
    assert_eq!(wanted, features(&after.session));
    let stream = scratch.path("stream");
    let report = rewrite_as_stream(&input, &stream);
    assert!(report.is_lossless(), "{record:?}: {report:?}");
    assert_eq!(read(&stream).unwrap().kept.records.len(), {
        let build_ids = |r: &&super::kit::KeptRecord| r.class == "PERF_RECORD_HEADER_BUILD_ID";
        let added = read(&stream)
            .unwrap()
            .kept
            .records
            .iter()
            .filter(build_ids)
            .count();
        before.kept.records.len() + added
    });
    // How much of a frame perf prints by itself depends on when it learns of the events.
    let without_frames = |file: &Path| -> String {
        let text = perf_text(ALL_RECORDS, file);
        let lines = text.lines().filter(|line| !line.starts_with('\t'));
        lines.fold(String::new(), |text, line| text + line + "\n")
    };
    let (before, after) = (without_frames(&input), without_frames(&stream));
    let differs = before.lines().zip(after.lines()).find(|(a, b)| a != b);
    assert_eq!(differs, None);
    assert_eq!(before.len(), after.len());
}

const WORK: &[&str] = &[
    "sh",
    "-c",
    "ls -R /etc >/dev/null; cat /proc/self/maps >/dev/null",
];

#[test]
fn tracepoints() {
    let events = [
        "-e",
        "sched:sched_switch",
        "-e",
        "raw_syscalls:sys_enter",
        "-e",
        "sched:sched_process_exec",
    ];
    check(
        &events,
        WORK,
        "comm,pid,tid,time,cpu,event,trace,ip,sym,period",
    );
}

#[test]
fn callchains_by_frame_pointer() {
    check(
        &["-e", "cpu-clock", "-F", "4000", "-g"],
        WORK,
        "comm,tid,time,event,ip,sym,symoff,dso,period",
    );
}

#[test]
fn callchains_by_copies_of_the_stack() {
    let events = [
        "-e",
        "cpu-clock",
        "-F",
        "1000",
        "--call-graph",
        "dwarf,2048",
    ];
    check(&events, WORK, "comm,tid,time,event,ip,sym,dso,uregs,period");
}

#[test]
fn groups_read_together() {
    let events = ["-e", "{cpu-clock,task-clock}:S", "-F", "2000"];
    check(&events, WORK, "comm,tid,time,event,ip,sym,period");
}

#[test]
fn switches_cgroups_and_namespaces() {
    let events = [
        "-a",
        "-e",
        "cpu-clock",
        "--switch-events",
        "--all-cgroups",
        "--namespaces",
    ];
    check(
        &events,
        &["unshare", "-m", "true"],
        "comm,tid,time,cpu,event,ip,sym",
    );
}

#[test]
fn addresses_of_data() {
    let events = [
        "-e",
        "page-faults",
        "-c",
        "1",
        "--data",
        "--phys-data",
        "--data-page-size",
        "--code-page-size",
    ];
    check(
        &events,
        WORK,
        "comm,tid,time,event,addr,ip,sym,phys_addr,data_page_size,code_page_size",
    );
}

#[test]
fn registers_weights_and_transactions() {
    let events = [
        "-e",
        "page-faults",
        "-c",
        "1",
        "--intr-regs=ip,sp",
        "--user-regs=ip,ax",
        "-W",
        "--transaction",
    ];
    check(
        &events,
        WORK,
        "comm,tid,time,event,ip,sym,iregs,uregs,weight",
    );
}

#[test]
fn all_ids_and_a_clock() {
    let events = [
        "-e",
        "cpu-clock",
        "-e",
        "sched:sched_switch",
        "-k",
        "mono",
        "-T",
        "-s",
        "--sample-cpu",
    ];
    check(&events, WORK, "comm,tid,time,cpu,event,ip,sym");
}

#[test]
fn no_times() {
    let scratch = Scratch::new();
    let (input, output) = (scratch.path("in"), scratch.path("out"));
    perf_record(&["-e", "cpu-clock", "--no-timestamp"], &input, WORK);
    assert!(rewrite(&input, &output).is_lossless());
    assert_same(&input, &output, "comm,tid,event,ip,sym");
}

#[test]
fn compressed() {
    check(
        &[
            "-z",
            "-e",
            "raw_syscalls:sys_enter",
            "-e",
            "cpu-clock",
            "-g",
        ],
        WORK,
        "comm,tid,time,event,ip,sym",
    );
}

#[test]
fn a_directory_of_threads() {
    check(
        &["--threads", "-a", "-e", "sched:sched_switch"],
        &["sleep", "0.1"],
        "comm,tid,time,cpu,event,trace",
    );
}

#[test]
fn names_told_at_the_end() {
    check(
        &["-e", "cpu-clock", "--tail-synthesize"],
        WORK,
        "comm,tid,time,event,ip,sym",
    );
}

#[test]
fn lost_samples_are_told_once() {
    let scratch = Scratch::new();
    let (input, output) = (scratch.path("in"), scratch.path("out"));
    let events = ["-m", "1", "-e", "raw_syscalls:*", "-e", "cpu-clock"];
    let work = "i=0; while [ $i -lt 60000 ]; do i=$((i+1)); : < /dev/null; done";
    perf_record(&events, &input, &["sh", "-c", work]);
    let before = read(&input).unwrap();
    let lost: u64 = before.kept.losses.iter().map(|l| l.count).sum();
    assert!(lost > 0, "a ring of one page was large enough");
    let text = perf_text(ALL_RECORDS, &input);
    let told: u64 = text
        .lines()
        .filter_map(|l| {
            l.split_once("PERF_RECORD_LOST: lost ")
                .or(l.split_once("PERF_RECORD_LOST lost "))
        })
        .map(|(_, n)| n.trim().parse::<u64>().unwrap())
        .sum();
    assert_eq!(lost.max(told), lost, "at least what LOST tells");
    let account = &before.accounts[0];
    assert!(account.balances());
    assert_eq!(account.dropped_total(), lost);
    assert_eq!(account.written, before.kept.records.len() as u64);
    let report = rewrite(&input, &output);
    assert_eq!(report.lost, lost);
    assert_eq!(text, perf_text(ALL_RECORDS, &output));
    let after = read(&output).unwrap();
    let again: u64 = after.kept.losses.iter().map(|l| l.count).sum();
    assert_eq!(again, lost, "told as often as before");
}

#[test]
fn a_stream_stays_a_stream() {
    let scratch = Scratch::new();
    let (input, output, file) = (
        scratch.path("in"),
        scratch.path("out"),
        scratch.path("file"),
    );
    let recorded = Command::new("perf")
        .args([
            "record",
            "-q",
            "-N",
            "-B",
            "-e",
            "raw_syscalls:sys_enter",
            "-e",
            "cpu-clock",
            "-o",
            "-",
            "--",
        ])
        .args(["sh", "-c", "exec >/dev/null; ls /etc"])
        .output()
        .unwrap();
    assert!(recorded.status.success());
    std::fs::write(&input, &recorded.stdout).unwrap();
    assert!(rewrite_as_stream(&input, &output).is_lossless());
    for args in [
        ALL_RECORDS,
        &["report", "--stdio"],
        &["report", "--header-only"],
    ] {
        assert_eq!(
            perf_text(args, &input),
            perf_text(args, &output),
            "{args:?}"
        );
    }
    // As a file it has all records too.
    assert!(rewrite(&input, &file).is_lossless());
    assert_eq!(
        perf_text(ALL_RECORDS, &input),
        perf_text(ALL_RECORDS, &file)
    );
    let (a, b) = (read(&input).unwrap(), read(&file).unwrap());
    assert_eq!(a.kept.records, b.kept.records);
    // Read by a pipe it is the same as read from a file.
    let c = super::kit::read_stream(recorded.stdout).unwrap();
    assert_eq!(a.kept.records, c.kept.records);
}

#[test]
fn a_file_by_a_pipe() {
    let scratch = Scratch::new();
    let bytes = super::kit::varied(&scratch);
    let piped = super::kit::read_stream(bytes).unwrap();
    let read = read(&scratch.path("varied.data")).unwrap();
    assert_eq!(read.kept.records, piped.kept.records);
    assert_eq!(read.session.clock, piped.session.clock);
    assert_ne!(read.session.clock.offset_to_realtime_ns, 0);
}
