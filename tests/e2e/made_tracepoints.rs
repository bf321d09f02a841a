//! Events of LTTng in the old tools' files: format files are made up for them, by which the old
//! tools print them as kstrace itself does.

use super::corpus::corpus;
use super::support::*;
use std::path::Path;
use std::process::Command;

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

/// Events, each from its name on, without the columns and what an empty text leaves.
fn events(text: &str) -> Vec<String> {
    let of = |line: &str| -> Option<String> {
        // Behind the time.
        let (_, rest) = line.split_once(": ")?;
        let words: Vec<&str> = rest.split_whitespace().collect();
        Some(words.join(" ").trim_end_matches(':').to_owned())
    };
    let lines = text
        .lines()
        .filter(|l| !l.contains("LOST ") && !l.contains("EVENTS DROPPED"));
    lines.filter_map(of).collect()
}

fn made(name: &str, form: &str, dir: &Path) -> (std::path::PathBuf, usize) {
    let file = dir.join(form);
    succeed(
        kstrace(["convert", "--no-symbols", "--to", form])
            .arg(corpus(name))
            .arg(&file),
    );
    let original = stdout(kstrace(["report", "--no-symbols"]).arg(corpus(name)));
    (file, events(&original).len())
}

/// What kstrace prints, arrays as libtraceevent writes them: the kernel says `{0x1,0x2}`.
fn report(file: &Path) -> Vec<String> {
    let array = |inside: &str| -> String {
        let numbers = inside.split(',').filter_map(|n| n.strip_prefix("0x"));
        let numbers = numbers.filter_map(|n| u64::from_str_radix(n, 16).ok());
        numbers.map(|n| n.to_string()).collect::<Vec<_>>().join(" ")
    };
    let lines = events(&stdout(kstrace(["report", "--no-symbols"]).arg(file)));
    let line = |line: &String| {
        let mut parts = line.split('{');
        let mut out = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let (inside, after) = part.split_once('}').unwrap_or((part, ""));
            out += &array(inside);
            out += after;
        }
        out
    };
    lines.iter().map(line).collect()
}

#[test]
fn perf_prints_them() {
    for name in TRACES {
        let dir = scratch();
        let (file, count) = made(name, "perf.data", dir.path());
        let output = succeed(Command::new("perf").args(["script", "-i"]).arg(&file));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!said.contains("libtraceevent"), "{name}: {said}");
        let theirs = events(&String::from_utf8_lossy(&output.stdout));
        assert_eq!(theirs.len(), count, "{name}");
        for (ours, theirs) in report(&file).iter().zip(&theirs) {
            assert_eq!(ours, theirs, "{name}");
        }
    }
}

#[test]
fn trace_cmd_prints_them() {
    for name in TRACES {
        let dir = scratch();
        let (file, count) = made(name, "trace.dat", dir.path());
        let output = succeed(Command::new("trace-cmd").args(["report", "-i"]).arg(&file));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!said.contains("rror"), "{name}: {said}");
        let theirs = events(&String::from_utf8_lossy(&output.stdout));
        assert_eq!(theirs.len(), count, "{name}");
        for (ours, theirs) in report(&file).iter().zip(&theirs) {
            // trace-cmd leaves out the system.
            let ours = ours.split_once(':').map_or(ours.as_str(), |(_, rest)| rest);
            assert_eq!(ours, theirs, "{name}");
        }
    }
}
