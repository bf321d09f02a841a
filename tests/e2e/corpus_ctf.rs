//! Traces that LTTng recorded, in every form, and back.

use super::corpus::{check, corpus, told};
use super::support::*;
use std::fs;
use std::path::Path;
use std::process::Command;

const FORMS: [&str; 9] = [
    "kst",
    "ctf",
    "ctf2",
    "perf.data",
    "trace.dat",
    "perfetto",
    "jsonl",
    "text",
    "folded",
];

const TRACES: [&str; 9] = [
    "lttng_contexts",
    "lttng_large",
    "lttng_snapshot",
    "lttng_rotated",
    "lttng_files",
    "lttng_discarded",
    "lttng_ust_contexts",
    "lttng_ust_by_pid",
    "lttng_ust_discarded",
];

fn matrix(name: &str) {
    let dir = scratch();
    let text: String = FORMS
        .iter()
        .map(|form| told(&corpus(name), form, dir.path()))
        .collect();
    check(&format!("corpus_{name}"), &text);
}

#[test]
fn kernel_traces_with_contexts() {
    matrix("lttng_contexts");
}

#[test]
fn kernel_traces_with_large_headers() {
    matrix("lttng_large");
}

#[test]
fn snapshots() {
    matrix("lttng_snapshot");
}

#[test]
fn a_rotated_session() {
    matrix("lttng_rotated");
}

#[test]
fn files_that_are_written_over() {
    matrix("lttng_files");
}

#[test]
fn discarded_events() {
    matrix("lttng_discarded");
}

#[test]
fn user_space_traces_with_contexts() {
    matrix("lttng_ust_contexts");
}

#[test]
fn user_space_traces_by_process() {
    matrix("lttng_ust_by_pid");
}

#[test]
fn discarded_events_of_user_space() {
    matrix("lttng_ust_discarded");
}

/// babeltrace2's lines, and of its warnings what was discarded and when.
fn judged(trace: &Path) -> (Vec<String>, Vec<String>) {
    let output = succeed(Command::new("babeltrace2").arg(trace));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let mut warnings: Vec<String> = said
        .lines()
        .filter_map(|l| Some(l.split_once(" in trace ")?.0.to_owned()))
        .collect();
    warnings.sort();
    let text = String::from_utf8_lossy(&output.stdout);
    (text.lines().map(str::to_owned).collect(), warnings)
}

fn convert(from: &Path, form: &str, to: &Path) {
    succeed(
        kstrace(["convert", "--no-symbols", "--strict", "--to", form])
            .arg(from)
            .arg(to),
    );
}

/// Which events have an empty string, which babeltrace2 2.0 prints with whatever stood in its
/// buffer before.
fn has_empty_text(trace: &Path) -> Vec<bool> {
    let lines = stdout(
        kstrace(["convert", "--no-symbols", "--to", "jsonl"])
            .arg(trace)
            .arg("-"),
    );
    let events = lines.lines().filter(|l| !l.contains("kstrace:lost"));
    events.map(|l| l.contains(r#":"""#)).collect()
}

/// The same, but for what stands in quotes.
fn same_without_texts(line: &str, copied: &str) -> bool {
    let without =
        |line: &str| -> Vec<String> { line.split('"').step_by(2).map(str::to_owned).collect() };
    without(line) == without(copied)
}

#[test]
fn babeltrace2_reads_copies_as_the_originals() {
    for name in TRACES {
        let dir = scratch();
        let original = corpus(name);
        let (direct, native, through) = (
            dir.path().join("direct"),
            dir.path().join("native"),
            dir.path().join("through"),
        );
        convert(&original, "ctf", &direct);
        convert(&original, "kst", &native);
        convert(&native, "ctf", &through);
        let (text, warnings) = judged(&original);
        assert!(text.len() > 50, "{name}: {} lines", text.len());
        let empty = has_empty_text(&original);
        assert_eq!(empty.len(), text.len(), "{name}");
        for copy in [&direct, &through] {
            let (copied, of_copy) = judged(copy);
            assert_eq!(warnings, of_copy, "{name}");
            assert_eq!(text.len(), copied.len(), "{name}");
            for (index, (line, copied)) in text.iter().zip(&copied).enumerate() {
                assert!(
                    line == copied || empty[index] && same_without_texts(line, copied),
                    "{name}: line {index}\n{line}\n{copied}"
                );
            }
        }
    }
}

/// CTF 2 has no judge here but ourselves: what it became in CTF 1.8 again has the same text.
#[test]
fn ctf_2_and_back_prints_the_same() {
    for name in TRACES {
        let dir = scratch();
        let (two, back) = (dir.path().join("two"), dir.path().join("back"));
        let convert = |from: &Path, form: &str, to: &Path| {
            succeed(
                kstrace(["convert", "--no-symbols", "--to", form])
                    .arg(from)
                    .arg(to),
            );
        };
        convert(&corpus(name), "ctf2", &two);
        convert(&two, "ctf", &back);
        let report = |trace: &Path| stdout(kstrace(["report", "--no-symbols"]).arg(trace));
        assert_eq!(report(&two), report(&back), "{name}");
        let original = report(&corpus(name));
        assert_eq!(original.lines().count(), report(&two).lines().count());
    }
}

/// An LTTng event in trace.dat has a format file made up for it, by which trace-cmd prints it.
#[test]
fn trace_cmd_prints_lttng_events() {
    for name in ["lttng_contexts", "lttng_large", "lttng_rotated"] {
        let dir = scratch();
        let dat = dir.path().join("trace.dat");
        succeed(
            kstrace(["convert", "--no-symbols", "--to", "trace.dat"])
                .arg(corpus(name))
                .arg(&dat),
        );
        let theirs = stdout(Command::new("trace-cmd").arg("report").arg(&dat));
        let (text, _) = judged(&corpus(name));
        let of = |text: &str, event: &str| {
            let lines = text.lines().filter(|l| l.contains(event));
            lines.map(str::to_owned).collect::<Vec<_>>()
        };
        let expected = of(&text.join("\n"), " sched_switch: ");
        let found = of(&theirs, " sched_switch: ");
        assert!(!expected.is_empty());
        assert_eq!(expected.len(), found.len(), "{name}");
        for (expected, found) in expected.iter().zip(&found) {
            // `next_tid = 159,` and `next_tid=159`.
            for field in ["prev_tid", "next_tid", "prev_prio"] {
                let value = |line: &str, between: &str| -> Option<String> {
                    let rest = line.split_once(&format!(" {field}{between}"))?.1;
                    let end = rest.find([' ', ',']).unwrap_or(rest.len());
                    Some(rest[..end].to_owned())
                };
                let (a, b) = (value(expected, " = "), value(found, "="));
                assert!(a.is_some() && a == b, "{expected}\n{found}");
            }
        }
    }
}

/// Cut files, damaged packets, and an index that knows more than there is.
#[test]
fn one_fault_each() {
    type Fault = (&'static str, &'static str, fn(&mut Vec<u8>));
    let faults: [Fault; 8] = [
        ("cut_in_a_packet", "kernel/main_0", |b| b.truncate(5000)),
        ("cut_behind_a_packet", "kernel/main_0", |b| b.truncate(4096)),
        ("magic_of_a_packet", "kernel/main_0", |b| b[4096] ^= 0xff),
        ("uuid_of_another_trace", "kernel/main_0", |b| {
            b[4096 + 4] ^= 1
        }),
        ("content_beyond_the_packet", "kernel/main_0", |b| {
            b[4096 + 48] = 1;
            b[4096 + 50] = 0xff;
        }),
        ("metadata_cut", "kernel/metadata", |b| b.truncate(3000)),
        ("metadata_cut_among_the_events", "kernel/metadata", |b| {
            let at = b.windows(6).rposition(|w| w == b"event ");
            b.truncate(at.expect("an event") + 60);
        }),
        (
            "metadata_no_text_among_the_events",
            "kernel/metadata",
            |b| {
                let at = b.windows(6).rposition(|w| w == b"event ");
                b[at.expect("an event") + 60] = 1;
            },
        ),
    ];
    let mut text = String::new();
    for (fault, file, harm) in faults {
        let dir = scratch();
        let trace = dir.path().join("trace");
        copy_tree(&corpus("lttng_discarded"), &trace);
        let path = trace.join(file);
        let mut bytes = fs::read(&path).expect("a file of the corpus");
        harm(&mut bytes);
        fs::write(&path, bytes).expect("written");
        text += &format!(
            "lttng_discarded {fault}\n{}",
            told(&trace, "text", dir.path())
        );
    }
    check("corpus_faults_ctf", &text);
}

fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a directory");
    for entry in fs::read_dir(from).expect("a directory of the corpus") {
        let entry = entry.expect("an entry");
        let to = to.join(entry.file_name());
        if entry.file_type().expect("a type").is_dir() {
            copy_tree(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), &to).expect("copied");
        }
    }
}
