use super::collect::*;
use super::tracepoints::getppids;
use kstrace_perf::PerfPlan;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

fn ready(recording: &Recording, timeout_ms: u16) -> Vec<PollFlags> {
    let mut fds: Vec<PollFd<'_>> = recording
        .streams
        .iter()
        .filter_map(|s| s.wakeup())
        .map(|fd| PollFd::new(fd, PollFlags::POLLIN))
        .collect();
    poll(&mut fds, PollTimeout::from(timeout_ms)).unwrap();
    fds.iter().map(|fd| fd.revents().unwrap()).collect()
}

#[test]
fn a_quarter_of_the_ring_wakes_and_an_end_does_not() {
    let child = Child::fork(getppids(3000));
    let plan = PerfPlan {
        mmap_size_bytes_per_cpu: 256 << 10,
        ..pids_plan(child.pid, vec![request("raw_syscalls:sys_enter")])
    };
    let recording = Recording::started(plan);
    assert!(
        ready(&recording, 0).iter().all(|r| r.is_empty()),
        "nothing has happened yet"
    );
    child.go();
    let woken = ready(&recording, 5000);
    assert!(
        woken.iter().any(|r| r.contains(PollFlags::POLLIN)),
        "{woken:?}"
    );
    child.wait();
    ready(&recording, 0);
    // The traced process has ended: a reader that sleeps must not be told so for ever.
    let after = ready(&recording, 0);
    assert!(after.iter().all(|r| r.is_empty()), "{after:?}");
    recording.finish();
}
