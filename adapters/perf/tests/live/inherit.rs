use super::collect::*;
use kstrace_schema::Role;
use std::collections::BTreeSet;

#[test]
fn forked_children_and_new_threads_are_followed() {
    #[expect(unsafe_code, reason = "a grandchild needs fork")]
    let child = Child::fork(|| {
        for _ in 0..3 {
            // SAFETY: the grandchild only makes system calls and ends.
            let forked = unsafe { libc::fork() };
            if forked == 0 {
                for _ in 0..100 {
                    nix::unistd::getppid();
                }
                // SAFETY: ends the grandchild at once.
                unsafe { libc::_exit(0) };
            }
            let mut status = 0;
            // SAFETY: `status` is ours and outlives the call.
            unsafe { libc::waitpid(forked, &raw mut status, 0) };
        }
    });
    let mut event = request("raw_syscalls:sys_enter");
    event.filter = Some(format!("id == {}", libc::SYS_getppid));
    let recording = Recording::started(pids_plan(child.pid, vec![event]));
    let pid = child.pid;
    child.go();
    child.wait();
    let recording = recording.finish();
    let calls = recording.out.of("raw_syscalls:sys_enter");
    assert_eq!(calls.len(), 300);
    let pids: BTreeSet<_> = calls.iter().map(|r| r.i64(Role::Pid).unwrap()).collect();
    assert_eq!(pids.len(), 3);
    let forks = recording.out.of("PERF_RECORD_FORK");
    let parents: BTreeSet<_> = forks.iter().filter_map(|r| r.field("ppid")).collect();
    assert_eq!(forks.len(), 3);
    assert_eq!(parents, BTreeSet::from([pid as u64]));
    assert_eq!(recording.out.of("PERF_RECORD_EXIT").len(), 4);
}

#[test]
fn all_threads_that_run_already_are_opened() {
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let (ready, is_ready) = std::sync::mpsc::channel();
    let worker = std::thread::spawn(move || {
        ready.send(nix::unistd::gettid().as_raw()).unwrap();
        wait.recv().unwrap();
        for _ in 0..25 {
            nix::unistd::getppid();
        }
    });
    let tid = is_ready.recv().unwrap();
    let mut event = request("raw_syscalls:sys_enter");
    event.filter = Some(format!(
        "id == {} && common_pid == {tid}",
        libc::SYS_getppid
    ));
    let recording = Recording::started(pids_plan(own_pid(), vec![event]));
    go.send(()).unwrap();
    worker.join().unwrap();
    let recording = recording.finish();
    assert_eq!(recording.out.of("raw_syscalls:sys_enter").len(), 25);
}
