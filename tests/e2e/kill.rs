//! kill -9 of the recorder: what was written before stays readable.

use super::support::*;
use std::process::{Command, Stdio};
use std::time::Duration;

#[test]
fn killed_at_any_moment_the_trace_is_readable() {
    for delay_ms in [0, 90, 170, 310, 640] {
        let dir = scratch();
        let trace = dir.path().join("t.kst");
        let mut load = Command::new(load_path())
            .args(["--mode", "syscall", "--n", "100000000"])
            .stdout(Stdio::null())
            .spawn()
            .expect("load");
        let mut recorder = kstrace(["record", "-q", "-e", "raw_syscalls:sys_enter", "-p"])
            .arg(load.id().to_string())
            .arg("-o")
            .arg(&trace)
            .spawn()
            .expect("kstrace");
        wait_for(|| trace.join("metadata").exists());
        std::thread::sleep(Duration::from_millis(delay_ms));
        recorder.kill().expect("kill -9");
        recorder.wait().expect("wait");
        load.kill().expect("kill");
        load.wait().expect("wait");
        let (text, _) = babeltrace2(&trace);
        let events = text.lines().count();
        assert!(
            delay_ms < 300 || events > 10_000,
            "after {delay_ms} ms: {events} events"
        );
        let report = kstrace(["report", "--no-symbols"])
            .arg(&trace)
            .output()
            .expect("report");
        let lines = String::from_utf8_lossy(&report.stdout)
            .lines()
            .filter(|l| l.contains("raw_syscalls:sys_enter"))
            .count();
        let marked = text
            .lines()
            .filter(|l| l.contains("raw_syscalls:sys_enter"))
            .count();
        assert_eq!(lines, marked, "report and babeltrace2 see the same");
    }
}

#[test]
fn the_next_start_removes_what_a_killed_one_left() {
    let dir = scratch();
    let mut recorder = kstrace(["record", "-q", "-a", "-e", "sched:sched_switch", "-o"])
        .arg(dir.path().join("a.kst"))
        .spawn()
        .expect("kstrace");
    let pid = recorder.id();
    let instances = || {
        let tracefs = tracefs::Tracefs::discover().expect("tracefs");
        tracefs.instances().expect("instances")
    };
    let of_dead = format!("kstrace-{pid}-");
    wait_for(|| instances().iter().any(|i| i.starts_with(&of_dead)));
    recorder.kill().expect("kill -9");
    recorder.wait().expect("wait");
    assert!(
        instances().iter().any(|i| i.starts_with(&of_dead)),
        "nothing to clean up"
    );
    succeed(
        kstrace(["record", "-q", "-e", "sched:sched_switch", "-o"])
            .arg(dir.path().join("b.kst"))
            .args(["--", "true"]),
    );
    assert!(
        !instances().iter().any(|i| i.starts_with(&of_dead)),
        "{:?}",
        instances()
    );
}
