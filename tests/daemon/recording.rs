//! `kstrace record` through the daemon.

use super::clients::{running, states};
use super::daemon::{Daemon, Killed, interrupt};
use super::support::*;

const CALLS: usize = 100_000;

fn marked(events: &str) -> usize {
    events
        .lines()
        .filter(|l| {
            l.contains("raw_syscalls:sys_enter") && l.to_ascii_lowercase().contains(MAGIC_HEX)
        })
        .count()
}

#[test]
fn every_call_arrives_and_nothing_is_lost() {
    let daemon = Daemon::start();
    let trace = daemon.dir().join("t.kst");
    let output = succeed(
        daemon
            .kstrace([
                "record",
                "-m",
                "16M",
                "-e",
                "raw_syscalls:sys_enter",
                "--fail-on-loss",
                "-o",
            ])
            .arg(&trace)
            .arg("--")
            .arg(load_path())
            .args(["--mode", "syscall", "--n", &CALLS.to_string()]),
    );
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("nothing lost"), "{said}");
    assert!(!said.contains("in this process"), "{said}");
    let (events, warnings) = babeltrace2(&trace);
    assert_eq!(marked(&events), CALLS);
    assert!(!warnings.contains("discarded"), "{warnings}");
    assert_sorted(
        events.lines().filter_map(babeltrace2_time_ns),
        "babeltrace2",
    );
    assert!(daemon.client().list_sessions().expect("list").is_empty());
    assert_eq!(daemon.instances(), [""; 0]);
}

#[test]
fn two_at_once_get_each_their_own() {
    let daemon = Daemon::start();
    let (calls, switches) = (
        daemon.dir().join("calls.kst"),
        daemon.dir().join("switches.kst"),
    );
    let mut other = Killed(
        daemon
            .kstrace([
                "record",
                "-q",
                "-a",
                "-e",
                "sched:sched_switch",
                "--fail-on-loss",
                "-o",
            ])
            .arg(&switches)
            .spawn()
            .expect("kstrace"),
    );
    wait_for(|| states(&mut daemon.client()) == ["running"]);
    let mut first = Killed(
        daemon
            .kstrace([
                "record",
                "-q",
                "-m",
                "16M",
                "-e",
                "raw_syscalls:sys_enter",
                "--fail-on-loss",
            ])
            .arg("-o")
            .arg(&calls)
            .arg("--")
            .arg(load_path())
            .args(["--mode", "syscall", "--n", &CALLS.to_string()])
            .spawn()
            .expect("kstrace"),
    );
    wait_for(|| states(&mut daemon.client()).len() == 2);
    assert!(first.0.wait().expect("wait").success());
    interrupt(&other.0);
    assert!(other.0.wait().expect("wait").success());

    let (events, _) = babeltrace2(&calls);
    assert_eq!(marked(&events), CALLS);
    assert!(!events.contains("sched:sched_switch"));
    let (events, _) = babeltrace2(&switches);
    assert!(!events.contains("raw_syscalls"));
    // The load was switched to and from at least once.
    assert!(
        events
            .lines()
            .filter(|l| l.contains("kstrace-load"))
            .count()
            >= 2
    );
}

#[test]
fn stopped_by_another_it_ends_well() {
    let daemon = Daemon::start();
    let trace = daemon.dir().join("t.kst");
    let mut recorder = Killed(
        daemon
            .kstrace(["record", "-q", "-a", "-e", "sched:sched_switch", "-o"])
            .arg(&trace)
            .spawn()
            .expect("kstrace"),
    );
    let mut client = daemon.client();
    wait_for(|| states(&mut client) == ["running"]);
    std::thread::sleep(std::time::Duration::from_millis(200));
    let id = client.list_sessions().expect("list")[0].session.clone();
    let stopped = client.stop_session(&id).expect("stop");
    assert!(!stopped.accounts.is_empty());
    assert!(recorder.0.wait().expect("wait").success());
    let written: u64 = stopped
        .accounts
        .iter()
        .filter(|a| a["hop"] == "kstrace-ring")
        .map(|a| a["written"].as_u64().expect("a count"))
        .sum();
    let info = info(&trace);
    let (events, _) = babeltrace2(&trace);
    assert_eq!(events.lines().count() as u64, written, "{info}");
}

#[test]
fn destroyed_by_another_it_keeps_what_it_has_and_says_so() {
    let daemon = Daemon::start();
    let trace = daemon.dir().join("t.kst");
    let mut command = daemon.kstrace(["record", "-q", "-a", "-e", "sched:sched_switch", "-o"]);
    command.arg(&trace).stderr(std::process::Stdio::piped());
    let recorder = command.spawn().expect("kstrace");
    let mut client = daemon.client();
    wait_for(|| states(&mut client) == ["running"]);
    std::thread::sleep(std::time::Duration::from_millis(300));
    let id = client.list_sessions().expect("list")[0].session.clone();
    client.destroy_session(&id).expect("destroy");
    let output = recorder.wait_with_output().expect("wait");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("somebody destroyed the session"), "{said}");
    assert!(babeltrace2(&trace).0.contains("sched:sched_switch"));
}

#[test]
fn a_recorder_that_stalls_stops_nobody_else() {
    let daemon = Daemon::start();
    let mut stalled = daemon.client();
    let id = running(&mut stalled, false);
    let never_read = stalled.record(&id).expect("a recorder");
    let trace = daemon.dir().join("t.kst");
    succeed(
        daemon
            .kstrace([
                "record",
                "-q",
                "-m",
                "16M",
                "-e",
                "raw_syscalls:sys_enter",
                "--fail-on-loss",
            ])
            .arg("-o")
            .arg(&trace)
            .arg("--")
            .arg(load_path())
            .args(["--mode", "syscall", "--n", &CALLS.to_string()]),
    );
    assert_eq!(marked(&babeltrace2(&trace).0), CALLS);
    assert_eq!(states(&mut stalled), ["running"]);
    stalled.stop_session(&id).expect("stop");
    drop(never_read);
}

#[test]
fn a_recorder_that_stalls_loses_by_the_account() {
    let daemon = Daemon::start();
    let trace = daemon.dir().join("t.kst");
    // The command stops kstrace, its parent, so that nobody empties the ring meanwhile.
    let script = format!(
        "kill -STOP $PPID; {} --mode syscall --n {CALLS}; sleep 0.5; kill -CONT $PPID",
        load_path().display()
    );
    succeed(
        daemon
            .kstrace([
                "record",
                "-q",
                "-m",
                "16M",
                "--ring-size",
                "64K",
                "-e",
                "raw_syscalls:sys_enter",
                "-o",
            ])
            .arg(&trace)
            .args(["--", "sh", "-c", &script]),
    );
    let info = info(&trace);
    let accounts = info["accounts"].as_array().expect("accounts");
    assert_balanced(accounts);
    let lost = sum(accounts, "kstrace-ring", "dropped");
    let full = accounts
        .iter()
        .filter_map(|a| a["dropped"]["ring-full"].as_u64())
        .sum::<u64>();
    assert!(full > 0 && lost == full, "{:#}", info["accounts"]);
    let before: u64 = ["ftrace-buffer", "perf-ring"]
        .iter()
        .map(|hop| sum(accounts, hop, "dropped"))
        .sum();
    let text = assert_judges_state_loss(&trace, daemon.dir(), lost + before);
    let there = marked(&text) as u64;
    assert!(
        there < CALLS as u64 && there + lost + before >= CALLS as u64,
        "{there} + {lost} + {before}"
    );
}
