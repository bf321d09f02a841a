use super::collect::*;
use super::tracepoints::getppids;
use kstrace_perf::{EventRequest, PerfPlan};
use kstrace_schema::{Certainty, LossReason};

/// A flood of exactly N events into a ring of two pages.
fn flood(n: u32, sideband: bool) -> Recording {
    let child = Child::fork(getppids(n));
    let filtered = EventRequest {
        filter: Some(format!("id == {}", libc::SYS_getppid)),
        ..request("raw_syscalls:sys_enter")
    };
    let plan = PerfPlan {
        mmap_size_bytes_per_cpu: 8192,
        sideband,
        grace_ns: 0,
        ..pids_plan(child.pid, vec![filtered])
    };
    let mut recording = Recording::started(plan);
    child.go();
    for _ in 0..200 {
        recording.round();
    }
    child.wait();
    recording.finish()
}

#[test]
fn written_and_dropped_are_all_there_were() {
    const N: u32 = 100_000;
    let recording = flood(N, false);
    let written: u64 = recording.accounts.iter().map(|a| a.written).sum();
    let dropped: u64 = recording.accounts.iter().map(|a| a.dropped_total()).sum();
    let seen: u64 = recording.accounts.iter().map(|a| a.seen).sum();
    assert!(dropped > 0, "a flood that loses nothing proves nothing");
    assert_eq!(seen, u64::from(N), "{written} written, {dropped} dropped");
    assert_eq!(
        recording.out.of("raw_syscalls:sys_enter").len() as u64,
        written
    );
    for loss in &recording.out.losses {
        assert_eq!(loss.reason, LossReason::KernelRingFull);
        assert_eq!(loss.certainty, Certainty::Exact);
    }
    for account in &recording.accounts {
        assert_eq!(account.hop, "perf-ring");
        assert_eq!(account.certainty, Certainty::Exact);
    }
}

#[test]
fn loss_after_the_last_record_is_told_too() {
    // Nobody reads while it floods: the ring stays full, and the kernel has no chance
    // to write PERF_RECORD_LOST.
    const N: u32 = 5_000;
    let child = Child::fork(getppids(N));
    let filtered = EventRequest {
        filter: Some(format!("id == {}", libc::SYS_getppid)),
        ..request("raw_syscalls:sys_enter")
    };
    let plan = PerfPlan {
        mmap_size_bytes_per_cpu: 4096,
        sideband: false,
        ..pids_plan(child.pid, vec![filtered])
    };
    let recording = Recording::started(plan);
    child.go();
    child.wait();
    let recording = recording.finish();
    let seen: u64 = recording.accounts.iter().map(|a| a.seen).sum();
    assert_eq!(seen, u64::from(N));
    assert!(
        recording.out.records.len() < 200,
        "{}",
        recording.out.records.len()
    );
}

#[test]
fn sideband_in_the_same_ring_keeps_the_account_exact() {
    const N: u32 = 50_000;
    let recording = flood(N, true);
    let samples = recording.out.of("raw_syscalls:sys_enter").len() as u64;
    let dropped: u64 = recording.accounts.iter().map(|a| a.dropped_total()).sum();
    // Records of the process's end may be among the lost, so a handful more.
    let seen = samples + dropped;
    assert!(
        (u64::from(N)..u64::from(N) + 10).contains(&seen),
        "{samples} + {dropped}"
    );
}
