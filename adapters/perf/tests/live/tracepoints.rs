use super::collect::*;
use kstrace_perf::{EventRequest, PerfPlan, Target};
use kstrace_schema::{NativeDescription, Role};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc;
use std::time::Duration;

const SYS_GETPPID: u64 = libc::SYS_getppid as u64;

pub(crate) fn getppids(n: u32) -> impl FnOnce() {
    move || {
        for _ in 0..n {
            nix::unistd::getppid();
        }
    }
}

#[test]
fn every_system_call_of_a_child_is_seen_exactly_once() {
    const N: u32 = 10_000;
    let child = Child::fork(getppids(N));
    let plan = pids_plan(child.pid, vec![request("raw_syscalls:sys_enter")]);
    let mut recording = Recording::started(plan);
    let pid = child.pid;
    child.go();
    std::thread::sleep(Duration::from_millis(2));
    recording.round();
    child.wait();
    let recording = recording.finish();
    let calls = recording.out.of("raw_syscalls:sys_enter");
    let wanted: Vec<_> = calls
        .iter()
        .filter(|r| r.field("id") == Some(SYS_GETPPID))
        .collect();
    assert_eq!(wanted.len(), N as usize);
    assert!(recording.out.losses.is_empty());
    assert!(calls.iter().all(|r| r.i64(Role::Tid) == Some(pid.into())));
    let class = &calls[0].class;
    let NativeDescription::PerfSample {
        format: Some(format),
        attr_hex,
        ..
    } = &class.native
    else {
        panic!("{:?}", class.native)
    };
    assert!(format.starts_with("name: sys_enter\n"));
    let attr = kstrace_perf::attr::Attr::from_hex(attr_hex).unwrap();
    assert_eq!(attr.kind, 2);
    assert!(class.attributes["perf.ids"].as_array().unwrap().len() >= 2);
}

/// Two threads on one CPU that wake each other and sleep, so many times.
fn take_turns_on_cpu_0(times: usize) {
    let pin = || {
        let mut cpus = nix::sched::CpuSet::new();
        cpus.set(0).unwrap();
        nix::sched::sched_setaffinity(nix::unistd::Pid::from_raw(0), &cpus).unwrap();
    };
    let (ping, pinged) = mpsc::channel();
    let (pong, ponged) = mpsc::channel();
    let first = std::thread::spawn(move || {
        pin();
        for () in pinged {
            pong.send(()).unwrap();
        }
    });
    let second = std::thread::spawn(move || {
        pin();
        for _ in 0..times {
            ping.send(()).unwrap();
            ponged.recv().unwrap();
        }
    });
    second.join().unwrap();
    first.join().unwrap();
}

#[test]
fn sched_switch_system_wide_alternates() {
    let mut plan = PerfPlan::new(Target::System, vec![request("sched:sched_switch")]);
    plan.exclude_own = false;
    let mut recording = Recording::started(plan);
    for _ in 0..20 {
        take_turns_on_cpu_0(50);
        recording.round();
    }
    let recording = recording.finish();
    let switches = recording.out.of("sched:sched_switch");
    assert!(switches.len() > 1000, "{}", switches.len());
    // On one CPU, who comes is who goes next. (Some machines have tasks that no
    // tracer ever sees leave, or an idle task that is seen leaving now and then only;
    // they cannot be held against the recording.)
    let prev_of = |r: &&Kept| r.i64(Role::PrevTid).unwrap();
    let seen_leaving: BTreeSet<i64> = switches.iter().map(prev_of).collect();
    let mut running = BTreeMap::new();
    let (mut matches, mut gaps) = (0, Vec::new());
    for switch in &switches {
        let (prev, next) = (prev_of(switch), switch.i64(Role::NextTid).unwrap());
        if let Some(expected) = running.insert(switch.cpu, next) {
            matches += usize::from(prev == expected);
            if prev != expected && expected != 0 && seen_leaving.contains(&expected) {
                gaps.push((prev, expected));
            }
        }
    }
    assert!(matches > switches.len() / 2);
    // Such a task may also have been seen leaving another time.
    assert!(gaps.len() <= 1 + switches.len() / 50, "{gaps:?}");
}

#[test]
fn dynamic_strings_and_callchains_are_described() {
    let child = Child::fork(|| {
        for _ in 0..3 {
            let _ = nix::fcntl::open(
                c"/nonexistent/for the test",
                nix::fcntl::OFlag::O_RDONLY,
                nix::sys::stat::Mode::empty(),
            );
        }
    });
    let with_chain = EventRequest {
        callchain: true,
        ..request("sched:sched_process_exit")
    };
    let events = vec![
        with_chain,
        request("syscalls:sys_enter_openat"),
        request("sched:sched_process_exec"),
        request("sched:sched_waking"),
    ];
    let recording = Recording::started(pids_plan(child.pid, events));
    child.go();
    child.wait();
    let recording = recording.finish();
    assert_eq!(recording.out.of("syscalls:sys_enter_openat").len(), 3);
    let exits = recording.out.of("sched:sched_process_exit");
    assert_eq!(exits.len(), 1);
    assert!(exits[0].field("callchain_nr").unwrap() >= 2);
}

#[test]
fn a_filter_keeps_out_what_it_says() {
    let child = Child::fork(getppids(50));
    let filtered = EventRequest {
        filter: Some(format!("id == {SYS_GETPPID}")),
        ..request("raw_syscalls:sys_enter")
    };
    let recording = Recording::started(pids_plan(child.pid, vec![filtered]));
    child.go();
    child.wait();
    let recording = recording.finish();
    assert_eq!(recording.out.of("raw_syscalls:sys_enter").len(), 50);
}

#[test]
fn without_raw_a_tracepoint_has_no_fields() {
    let child = Child::fork(getppids(5));
    let bare = EventRequest {
        raw: false,
        ..request("raw_syscalls:sys_enter")
    };
    let recording = Recording::started(pids_plan(child.pid, vec![bare]));
    child.go();
    child.wait();
    let recording = recording.finish();
    let calls = recording.out.of("raw_syscalls:sys_enter");
    assert!(calls.len() >= 5);
    assert!(calls[0].class.payload.member("raw_size").is_none());
}
