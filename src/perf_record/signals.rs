//! Signals, read from a descriptor.

use super::messages::Failure;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

/// Those that end a recording.
const ENDING: [Signal; 3] = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP];

/// Blocks what is to be read from the descriptor. Before any thread starts.
pub(super) fn block() -> Result<SignalFd, Failure> {
    let mut set = SigSet::empty();
    for signal in ENDING.into_iter().chain([Signal::SIGCHLD]) {
        set.add(signal);
    }
    let failed = |e: nix::errno::Errno| Failure::failed(format!("cannot wait for signals: {e}\n"));
    set.thread_block().map_err(failed)?;
    SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK).map_err(failed)
}

/// From here on those signals end this process at once.
pub(super) fn unblock() {
    let mut set = SigSet::empty();
    for signal in ENDING {
        set.add(signal);
    }
    // The mask is this thread's own; there is nothing to fail.
    let _ = set.thread_unblock();
}

/// Ends this process as the signal would have.
pub(super) fn die_of(number: i32) {
    unblock();
    if let Ok(signal) = Signal::try_from(number) {
        let _ = nix::sys::signal::raise(signal);
    }
}
