//! The system calls that the load is made of.
#![expect(unsafe_code, reason = "raw system calls and fork have no safe form")]

use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use std::io;
use std::os::fd::RawFd;

/// First argument of every generated system call: `kstr` in memory order.
pub(crate) const MAGIC: u64 = 0x7274_736b;

/// `getppid(MAGIC, seq)`: getppid takes no argument, so both are seen by tracers only.
#[inline(always)]
pub(crate) fn marked_syscall(seq: u64) {
    // SAFETY: getppid reads no argument and no memory.
    unsafe { libc::syscall(libc::SYS_getppid, MAGIC, seq) };
}

/// Keeps the calling thread on one CPU.
pub(crate) fn pin_to_cpu(cpu: usize) -> io::Result<()> {
    let mut set = CpuSet::new();
    set.set(cpu)?;
    Ok(sched_setaffinity(Pid::from_raw(0), &set)?)
}

/// Runs `in_child` in a forked child without the descriptors `close`; then the child ends.
///
/// `in_child` must only make system calls: the child has one thread and maybe
/// somebody else's locks. All callers run before any other thread is started.
pub(crate) fn fork_child(close: &[RawFd], in_child: impl FnOnce()) -> io::Result<Pid> {
    // SAFETY: this process has one thread, so the child inherits no taken lock.
    match unsafe { nix::unistd::fork() }? {
        nix::unistd::ForkResult::Parent { child } => Ok(child),
        nix::unistd::ForkResult::Child => {
            for fd in close {
                // SAFETY: the owner of this copy of the descriptor is never dropped: `_exit` below.
                unsafe { libc::close(*fd) };
            }
            in_child();
            // SAFETY: ends the child without running the parent's exit handlers.
            unsafe { libc::_exit(0) }
        }
    }
}

/// Waits for a child.
pub(crate) fn wait_for(child: Pid) -> io::Result<()> {
    nix::sys::wait::waitpid(child, None)?;
    Ok(())
}
