//! Buffers made too small: at every hop what was seen is what was written plus what was dropped.

use super::support::*;
use serde_json::Value;
use std::path::Path;
use std::process::Command;

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

fn sum(accounts: &[Value], hop: &str, field: &str) -> u64 {
    accounts
        .iter()
        .filter(|a| a["hop"] == hop)
        .map(|a| match &a[field] {
            Value::Object(reasons) => reasons.values().filter_map(Value::as_u64).sum(),
            number => number.as_u64().unwrap_or(0),
        })
        .sum()
}

fn check(source: &str, hop: &str) {
    let dir = scratch();
    let (trace, info) = flood(dir.path(), source);
    let accounts = info["accounts"].as_array().expect("accounts");
    for account in accounts {
        let dropped: u64 = account["dropped"]
            .as_object()
            .map(|d| d.values().filter_map(Value::as_u64).sum())
            .unwrap_or(0);
        assert_eq!(
            account["seen"].as_u64(),
            account["written"].as_u64().map(|w| w + dropped),
            "{account}"
        );
    }
    let (seen, dropped) = (sum(accounts, hop, "seen"), sum(accounts, hop, "dropped"));
    assert!(
        dropped > 0,
        "{source}: a 16 KiB buffer should have lost something: {info:#}"
    );
    assert!(seen >= CALLS, "{source}: {seen} of {CALLS} seen");

    // The trace states the same loss to babeltrace2, in its own way.
    let (text, warnings) = babeltrace2(&trace);
    let discarded: u64 = warnings
        .lines()
        .filter(|l| l.contains("discarded"))
        .filter_map(|l| {
            l.split("discarded ")
                .nth(1)?
                .split(' ')
                .next()?
                .parse::<u64>()
                .ok()
        })
        .sum();
    let total: u64 = accounts
        .iter()
        .filter(|a| a["hop"] == hop)
        .map(|a| sum(std::slice::from_ref(a), hop, "dropped"))
        .sum();
    assert_eq!(discarded, total, "{source}: babeltrace2 says\n{warnings}");

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

    let data = dir.path().join("t.data");
    succeed(
        kstrace(["export"])
            .arg(&trace)
            .args(["--to", "perf.data", "-o"])
            .arg(&data),
    );
    let script = stdout(
        Command::new("perf")
            .args(["script", "--show-lost-events", "-i"])
            .arg(&data),
    );
    let lost: u64 = script
        .lines()
        .filter(|l| l.contains("PERF_RECORD_LOST"))
        .filter_map(|l| l.rsplit("lost ").next()?.trim().parse::<u64>().ok())
        .sum();
    assert_eq!(lost, total, "{source}: perf script on the export");
}

#[test]
fn ftrace_buffer() {
    check("ftrace", "ftrace-buffer");
}

#[test]
fn perf_ring() {
    check("perf", "perf-ring");
}
