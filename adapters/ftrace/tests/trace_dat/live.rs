//! Recordings of the running kernel: what trace-cmd prints of them and of what is
//! written from them must be the same.

use super::kit::{self, Scratch, WAYS};
use kstrace_ftrace::file::{Compression, TraceDatOptions, TraceDatReader};
use kstrace_schema::{Certainty, ClockKind, FileInput, LossReason, SourceId};
use std::path::Path;

const PLAIN: TraceDatOptions = TraceDatOptions {
    version: 7,
    compression: Compression::None,
};
const OLD: TraceDatOptions = TraceDatOptions {
    version: 6,
    compression: Compression::None,
};
const PACKED: TraceDatOptions = TraceDatOptions {
    version: 7,
    compression: Compression::Zstd,
};

/// Writes a file in every form, and compares what trace-cmd says of them.
fn judge(scratch: &Scratch, path: &Path) {
    judge_in(scratch, path, &[PLAIN, OLD, PACKED], &WAYS);
}

fn judge_in(scratch: &Scratch, path: &Path, forms: &[TraceDatOptions], ways: &[&[&str]]) {
    let said: Vec<String> = ways.iter().map(|way| kit::report(path, way)).collect();
    assert!(said[0].lines().count() > 2, "{}", said[0]);
    for (number, options) in forms.iter().enumerate() {
        let written = scratch.path("written.dat");
        let report = kit::rewrite(path, &written, options.clone());
        assert!(report.is_lossless(), "{report:?}");
        // The other forms differ in nothing that the later ways show.
        let ways = ways.iter().take(if number == 0 { ways.len() } else { 2 });
        for (way, said) in ways.zip(&said) {
            let again = kit::report(&written, way);
            kit::assert_same(said, &again, &format!("{way:?}, {options:?}"));
        }
    }
}

#[test]
fn clocks() {
    let scratch = Scratch::new();
    let kinds = [
        ("global", ClockKind::Sched),
        ("mono", ClockKind::Monotonic),
        ("mono_raw", ClockKind::MonotonicRaw),
        ("boot", ClockKind::Boottime),
        ("tai", ClockKind::Tai),
        ("uptime", ClockKind::Sched),
        ("counter", ClockKind::Foreign),
        ("x86-tsc", ClockKind::Foreign),
    ];
    for (clock, kind) in kinds {
        let path = scratch.path(&format!("{clock}.dat"));
        let name = kit::Instance::new("clock");
        let arguments = ["-B", &name.0, "-C", clock, "-e", "raw_syscalls"];
        kit::record(&path, &arguments, &["true"]);
        let reader = TraceDatReader::open(&path).unwrap();
        let found = &reader.session().clock;
        assert_eq!(found.kind, kind, "{clock}");
        if matches!(kind, ClockKind::Sched | ClockKind::Foreign) {
            assert_eq!(found.native_name.as_deref(), Some(clock));
        }
        judge_in(&scratch, &path, &[PLAIN], &[&["-t"]]);
    }
}

#[test]
fn instances_and_the_top_buffer() {
    let scratch = Scratch::new();
    let path = scratch.path("instances.dat");
    let (one, other) = (kit::Instance::new("one"), kit::Instance::new("other"));
    let arguments = [
        "-C",
        "mono",
        "-e",
        "raw_syscalls:sys_enter",
        "-B",
        &one.0,
        "-C",
        "mono",
        "-e",
        "sched:sched_switch",
        "-B",
        &other.0,
        "-C",
        "mono",
        "-e",
        "sched",
        "--compression",
        "none",
    ];
    kit::record(&path, &arguments, &["ls", "/"]);
    judge(&scratch, &path);
    let converted = scratch.path("version6.dat");
    kit::convert(&path, &converted, &["--file-version", "6"]);
    judge_in(&scratch, &converted, &[OLD], &[&["-t"]]);
    let (seven, damage) = kit::read(&path).unwrap();
    assert!(damage.is_empty());
    let (six, _) = kit::read(&converted).unwrap();
    assert_eq!(seven.records, six.records);
    // Three buffers are three sources, each with classes of its own.
    let session = seven.session.as_ref().unwrap();
    assert_eq!(session.sources.len(), 4);
    let mut used: Vec<SourceId> = seven
        .records
        .iter()
        .map(|record| seven.classes[&record.class].source)
        .collect();
    used.sort_unstable();
    used.dedup();
    assert_eq!(used, [SourceId(1), SourceId(2), SourceId(3)]);
    assert_eq!(session.host.os_release, uname("-r"));
    assert_eq!(session.host.hostname, uname("-n"));
    assert_eq!(session.clock.kind, ClockKind::Monotonic);
}

fn uname(what: &str) -> String {
    let output = std::process::Command::new("uname")
        .arg(what)
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn all_events_markers_and_stacks() {
    let scratch = Scratch::new();
    let path = scratch.path("all.dat");
    let name = kit::Instance::new("all");
    let marker = format!(
        "cd /sys/kernel/tracing/instances/{} && echo 1 > options/stacktrace && \
         echo 'a mark' > trace_marker && echo 0 > options/stacktrace && \
         printf '\\001\\000\\000\\000raw' > trace_marker_raw && ls / > /dev/null",
        name.0
    );
    let arguments = ["-B", &name.0, "-C", "mono", "-b", "20000", "-e", "all"];
    kit::record(&path, &arguments, &["sh", "-c", &marker]);
    let (seen, damage) = kit::read(&path).unwrap();
    assert!(damage.is_empty(), "{damage:?}");
    let names: Vec<&str> = seen.events().iter().map(|event| event.0).collect();
    for wanted in [
        "ftrace:print",
        "ftrace:kernel_stack",
        "ftrace:raw_data",
        "sched:sched_switch",
        "syscalls:sys_enter_openat",
    ] {
        assert!(names.contains(&wanted), "{wanted}");
    }
    // With -R, trace-cmd shows of a stack what stands behind it as well: the next record's header.
    judge_in(
        &scratch,
        &path,
        &[PLAIN, OLD, PACKED],
        &[&[], &["-t"], &["-l"]],
    );
    let written = scratch.path("written.dat");
    kit::rewrite(&path, &written, PLAIN);
    let raw = |path: &Path| -> String {
        let said = kit::report(path, &["-R"]);
        let lines = said
            .lines()
            .filter(|line| !line.contains(": kernel_stack: "));
        lines.map(|line| format!("{line}\n")).collect()
    };
    kit::assert_same(&raw(&path), &raw(&written), "-R");
}

#[test]
fn uprobes_with_strings() {
    let scratch = Scratch::new();
    let path = scratch.path("uprobe.dat");
    let name = kit::Instance::new("uprobe");
    let shell = std::fs::canonicalize("/bin/sh").unwrap();
    // Any code will do: the entry of the program.
    let output = std::process::Command::new("readelf")
        .arg("-h")
        .arg(&shell)
        .output();
    let header = String::from_utf8(output.unwrap().stdout).unwrap();
    let entry = header
        .lines()
        .find_map(|line| line.split_once("Entry point address:"));
    let entry = entry.unwrap().1.trim();
    let probe = format!(
        "p:kstdat{}/start {}:{entry} comm=$comm\n",
        std::process::id(),
        shell.display()
    );
    let events = "/sys/kernel/tracing/uprobe_events";
    let append = |text: &str| {
        use std::io::Write;
        let mut file = std::fs::OpenOptions::new()
            .append(true)
            .open(events)
            .unwrap();
        file.write_all(text.as_bytes())
    };
    append(&probe).unwrap();
    let group = format!("kstdat{}:start", std::process::id());
    let arguments = ["-B", &name.0, "-C", "mono", "-e", &group];
    kit::record(&path, &arguments, &["sh", "-c", "sh -c true; sh -c true"]);
    drop(name);
    append(&format!("-:kstdat{}/start\n", std::process::id())).unwrap();
    let (seen, _) = kit::read(&path).unwrap();
    let hits = seen
        .events()
        .iter()
        .filter(|event| event.0 == group)
        .count();
    assert!(hits >= 2, "{hits}");
    judge_in(&scratch, &path, &[PLAIN], &[&[], &["-R"]]);
}

#[test]
fn lost_events_stay_where_they_were_lost() {
    let scratch = Scratch::new();
    let path = scratch.path("lost.dat");
    let name = kit::Instance::new("lost");
    let many = "i=0; while [ $i -lt 4000 ]; do i=$((i+1)); : > /dev/null; done";
    let arguments = ["-B", &name.0, "-C", "mono", "-b", "8", "-e", "raw_syscalls"];
    kit::record(&path, &arguments, &["sh", "-c", many]);
    let said = kit::report(&path, &[]);
    let dropped: u64 = said
        .lines()
        .filter_map(|line| line.split_once(" EVENTS DROPPED]"))
        .filter_map(|(before, _)| before.rsplit('[').next()?.parse::<u64>().ok())
        .sum();
    let (seen, damage) = kit::read(&path).unwrap();
    assert!(damage.is_empty());
    assert!(dropped > 0, "nothing was lost, so nothing is shown");
    let told: u64 = seen.losses.iter().map(|loss| loss.count).sum();
    assert_eq!(told, dropped);
    for loss in &seen.losses {
        assert_eq!(loss.reason, LossReason::KernelOverwritten);
        assert_eq!(loss.certainty, Certainty::Exact);
        assert!(loss.begin <= loss.end);
    }
    // The kernel's own counters are kept too.
    let reader = TraceDatReader::open(&path).unwrap();
    let stated: u64 = reader
        .stated_accounts()
        .iter()
        .map(|account| account.dropped_total())
        .sum();
    assert!(stated >= told, "{stated} {told}");
    judge_in(&scratch, &path, &[PLAIN, OLD, PACKED], &[&[], &["-t"]]);
}

#[test]
fn a_date_is_added_to_every_time() {
    let scratch = Scratch::new();
    let path = scratch.path("date.dat");
    let name = kit::Instance::new("date");
    let arguments = [
        "--date",
        "-C",
        "mono",
        "-e",
        "raw_syscalls:sys_exit",
        "-B",
        &name.0,
        "-C",
        "mono",
        "-e",
        "sched",
    ];
    kit::record(&path, &arguments, &["true"]);
    let (seen, _) = kit::read(&path).unwrap();
    let session = seen.session.as_ref().unwrap();
    assert_eq!(session.clock.kind, ClockKind::Realtime);
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    let last = seen.records.last().unwrap().time.as_ns();
    assert!((now.as_nanos() as u64).abs_diff(last) < 60_000_000_000);
    let said = kit::report(&path, &["-t"]);
    let shown = format!("{}.{:09}:", last / 1_000_000_000, last % 1_000_000_000);
    assert!(said.lines().last().unwrap().contains(&shown), "{shown}");
    judge(&scratch, &path);
}

#[test]
fn a_pipe_is_as_good_as_a_file() {
    let scratch = Scratch::new();
    let path = scratch.path("piped.dat");
    let name = kit::Instance::new("pipe");
    kit::record(&path, &["-B", &name.0, "-e", "raw_syscalls"], &["true"]);
    let (seen, _) = kit::read(&path).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    let mut reader = TraceDatReader::from_reader(bytes.as_slice(), "standard input").unwrap();
    let mut again = kit::Seen::default();
    kit::drive(&mut reader, &mut again).unwrap();
    assert_eq!(seen.records, again.records);
    let (total, read) = reader.progress_bytes().unwrap();
    assert_eq!(total, read);
    // A whole file through a pipe.
    let (mut theirs, ours) = std::io::pipe().unwrap();
    let mut sink = kstrace_ftrace::file::TraceDatSink::to_writer(ours, PLAIN).unwrap();
    let mut reader = TraceDatReader::open(&path).unwrap();
    let writer = std::thread::spawn(move || {
        kit::drive(&mut reader, &mut sink).unwrap();
    });
    let mut written = Vec::new();
    std::io::Read::read_to_end(&mut theirs, &mut written).unwrap();
    writer.join().unwrap();
    let piped = scratch.path("written.dat");
    std::fs::write(&piped, written).unwrap();
    kit::assert_same(
        &kit::report(&path, &["-t"]),
        &kit::report(&piped, &["-t"]),
        "pipe",
    );
}
