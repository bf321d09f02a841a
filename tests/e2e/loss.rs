//! Buffers made too small: at every hop what was seen is what was written plus what was dropped.

use super::support::*;
use serde_json::Value;
use std::path::Path;

const CALLS: u64 = 1_000_000;

/// Records a flood and gives the trace's account.
fn flood(dir: &Path, source: &str) -> (std::path::PathBuf, Value) {
    let trace = dir.join("t.kst");
    succeed(
        kstrace([
            "record",
            "-m",
            "16K",
            "--source",
            source,
            "-e",
            "raw_syscalls:sys_enter",
            "-o",
        ])
        .arg(&trace)
        .arg("--")
        .arg(load_path())
        .args(["--mode", "syscall", "--n", &CALLS.to_string()]),
    );
    let info = info(&trace);
    (trace, info)
}

fn check(source: &str, hop: &str) {
    let dir = scratch();
    let (trace, info) = flood(dir.path(), source);
    let accounts = info["accounts"].as_array().expect("accounts");
    assert_balanced(accounts);
    let (seen, dropped) = (sum(accounts, hop, "seen"), sum(accounts, hop, "dropped"));
    assert!(
        dropped > 0,
        "{source}: a 16 KiB buffer should have lost something: {info:#}"
    );
    assert!(seen >= CALLS, "{source}: {seen} of {CALLS} seen");

    // The trace states the same loss to babeltrace2 and to perf, in their own ways.
    let text = assert_judges_state_loss(&trace, dir.path(), dropped);

    // Every call is either there or lost; what else the program called is there too.
    let marked = text
        .lines()
        .filter(|l| {
            l.contains("raw_syscalls:sys_enter") && l.to_ascii_lowercase().contains(MAGIC_HEX)
        })
        .count() as u64;
    assert!(
        marked <= CALLS && marked + dropped >= CALLS,
        "{marked} + {dropped}"
    );
}

#[test]
fn ftrace_buffer() {
    check("ftrace", "ftrace-buffer");
}

#[test]
fn perf_ring() {
    check("perf", "perf-ring");
}
