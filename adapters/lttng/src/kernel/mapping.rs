//! A stream's ring, mapped.
//!
//! The law of this memory: the kernel lets us see only the sub-buffer that was
//! taken (any other page, touched for the first time, is SIGBUS), and does not
//! write to it until it is given back. So a reference is made only to bytes of the
//! sub-buffer taken, and lives no longer than it is ours: [`Mapping::bytes`] is
//! called by [`stream`](super::stream) alone, between taking and giving back.
#![expect(unsafe_code, reason = "a mapping shared with the kernel")]

use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};
use std::io;
use std::num::NonZeroUsize;
use std::os::fd::BorrowedFd;
use std::ptr::NonNull;

/// A mapped ring.
#[derive(Debug)]
pub(super) struct Mapping {
    base: NonNull<u8>,
    len_bytes: NonZeroUsize,
}

// SAFETY: the mapping belongs to this value alone and is not bound to a thread.
unsafe impl Send for Mapping {}

impl Mapping {
    /// Maps all of a stream's ring for reading.
    pub(super) fn new(fd: BorrowedFd<'_>, len_bytes: usize) -> io::Result<Mapping> {
        let len_bytes = NonZeroUsize::new(len_bytes).ok_or(io::ErrorKind::InvalidData)?;
        let (read, private) = (ProtFlags::PROT_READ, MapFlags::MAP_PRIVATE);
        // SAFETY: a new mapping at an address of the kernel's choice.
        let base = unsafe { mmap(None, len_bytes, read, private, fd, 0) }?;
        Ok(Mapping {
            base: base.cast(),
            len_bytes,
        })
    }

    /// The bytes of the sub-buffer that was taken.
    ///
    /// `None` where they are not within the mapping.
    pub(super) fn bytes(&self, offset: usize, len_bytes: usize) -> Option<&[u8]> {
        let end = offset.checked_add(len_bytes)?;
        if end > self.len_bytes.get() || len_bytes > isize::MAX as usize {
            return None;
        }
        // SAFETY: `offset` is within the mapping.
        let begin = unsafe { self.base.add(offset) };
        // SAFETY: the bytes are within the mapping, and nobody writes to them (see the module's head).
        Some(unsafe { std::slice::from_raw_parts(begin.as_ptr(), len_bytes) })
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: it was mapped with this length, and no reference outlives `self`.
        let unmapped = unsafe { munmap(self.base.cast(), self.len_bytes.get()) };
        // Fails only for an address that is none.
        let _ = unmapped;
    }
}
