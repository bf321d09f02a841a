//! How others reach the engine's thread: stop, flush, snapshot.

use kstrace_schema::{Error, Result};
use nix::sys::eventfd::{EfdFlags, EventFd};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};

/// Flags, and an eventfd that wakes the engine to look at them.
#[derive(Debug)]
pub(super) struct Control {
    wake: EventFd,
    stop: AtomicBool,
    flush: AtomicBool,
}

impl Control {
    pub(super) fn new() -> Result<Self> {
        let wake = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)
            .map_err(|e| Error::io("make an eventfd", e.into()))?;
        Ok(Control {
            wake,
            stop: AtomicBool::new(false),
            flush: AtomicBool::new(false),
        })
    }

    pub(super) fn request_stop(&self) {
        self.stop.store(true, Ordering::Release); // pairs with stop_requested
        self.wake();
    }

    pub(super) fn request_flush(&self) {
        self.flush.store(true, Ordering::Release); // pairs with take_flush
        self.wake();
    }

    pub(super) fn stop_requested(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    pub(super) fn take_flush(&self) -> bool {
        self.flush.swap(false, Ordering::AcqRel)
    }

    /// Forgets the wake-up; the flags stay.
    pub(super) fn clear(&self) {
        // Fails only with EAGAIN, when there was none.
        let _ = self.wake.read();
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }

    fn wake(&self) {
        // Fails only when the counter is full, and then the engine is awake anyway.
        let _ = self.wake.write(1);
    }
}
