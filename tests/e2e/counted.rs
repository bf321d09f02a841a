//! A counted workload, and three judges that must each find exactly its calls.

use super::support::*;
use std::process::Command;

const CALLS: usize = 200_000;

#[test]
fn every_judge_sees_exactly_the_calls_of_the_workload() {
    let dir = scratch();
    let trace = dir.path().join("t.kst");
    let calls = CALLS.to_string();
    succeed(
        kstrace([
            "record",
            "-m",
            "16M",
            "-e",
            "raw_syscalls:sys_enter",
            "-e",
            "sched:sched_switch",
        ])
        .args(["-e", "cpu-clock", "-g", "--fail-on-loss", "-o"])
        .arg(&trace)
        .arg("--")
        .arg(load_path())
        .args(["--mode", "syscall", "--n", &calls]),
    );

    let (text, _) = babeltrace2(&trace);
    let events: Vec<_> = text.lines().collect();
    let marked = events
        .iter()
        .filter(|l| {
            l.contains("raw_syscalls:sys_enter") && l.to_ascii_lowercase().contains(MAGIC_HEX)
        })
        .count();
    assert_eq!(marked, CALLS, "babeltrace2");
    assert_sorted(
        events.iter().filter_map(|l| babeltrace2_time_ns(l)),
        "babeltrace2",
    );
    let switches = events
        .iter()
        .filter(|l| l.contains("sched:sched_switch"))
        .count();
    let samples = events.iter().filter(|l| l.contains("cpu-clock")).count();
    assert!(samples > 0, "no cpu-clock sample");

    let report = stdout(kstrace(["report", "--no-symbols"]).arg(&trace));
    let heads: Vec<_> = report
        .lines()
        .filter(|l| script_time_ns(l).is_some())
        .collect();
    let marked = heads
        .iter()
        .filter(|l| l.contains("raw_syscalls:sys_enter") && l.contains(MAGIC_HEX))
        .count();
    assert_eq!(marked, CALLS, "kstrace report");
    assert_sorted(
        heads.iter().filter_map(|l| script_time_ns(l)),
        "kstrace report",
    );
    assert_eq!(
        heads
            .iter()
            .filter(|l| l.contains("sched:sched_switch:"))
            .count(),
        switches,
        "both see the same switches"
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
            .args(["script", "--ns", "-i"])
            .arg(&data),
    );
    let heads: Vec<_> = script
        .lines()
        .filter(|l| script_time_ns(l).is_some())
        .collect();
    let marked = heads
        .iter()
        .filter(|l| l.contains("raw_syscalls:sys_enter") && l.contains(MAGIC_HEX))
        .count();
    assert_eq!(marked, CALLS, "perf script");
    assert_sorted(
        heads.iter().filter_map(|l| script_time_ns(l)),
        "perf script",
    );
    assert_eq!(
        heads
            .iter()
            .filter(|l| l.contains("sched:sched_switch:"))
            .count(),
        switches
    );
    assert_eq!(
        heads.iter().filter(|l| l.contains("cpu-clock")).count(),
        samples
    );
}
