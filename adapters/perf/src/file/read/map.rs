//! A file in memory.
//!
//! The law of this memory: the mapping is private to this module and given out as
//! plain bytes for as long as the map lives. Nobody in this process writes to it.
//! Somebody else may change the file meanwhile: every number in it is checked when
//! it is read and never read twice for the same check, as all input is untrusted
//! anyway. A file that shrinks while it is read ends the process by `SIGBUS`, as it
//! does with perf.
#![expect(unsafe_code, reason = "maps a file, and gives hints about it")]

use memmap2::{Mmap, MmapOptions};
use std::fs::File;
use std::io;

/// A whole file, read-only.
#[derive(Debug)]
pub(super) struct FileMap {
    map: Option<Mmap>,
}

impl FileMap {
    /// Maps all of `file`, which is a regular one.
    pub(super) fn new(file: &File, len: usize) -> io::Result<Self> {
        if len == 0 {
            return Ok(FileMap { map: None });
        }
        // SAFETY: read-only; see the module's head for what other writers can do.
        let map = unsafe { MmapOptions::new().len(len).map(file) }?;
        Ok(FileMap { map: Some(map) })
    }

    #[inline]
    pub(super) fn bytes(&self) -> &[u8] {
        self.map.as_deref().unwrap_or_default()
    }

    /// Brings these bytes in with one call to the kernel rather than a fault every few pages.
    pub(super) fn will_need(&self, offset: usize, len: usize) {
        const PAGE: usize = 4096;
        if let Some(map) = &self.map {
            let start = offset.min(map.len()) & !(PAGE - 1);
            let len = len.min(map.len() - start);
            // Only an optimisation, and unknown before Linux 5.14.
            let _ = map.advise_range(memmap2::Advice::PopulateRead, start, len);
        }
    }

    /// Lets these bytes go from this process's memory; they come back from the file when
    /// they are looked at again.
    pub(super) fn release(&self, offset: usize, len: usize) {
        if let Some(map) = &self.map {
            // SAFETY: a shared mapping of a file holds no bytes of its own that this could lose.
            let _ = unsafe {
                map.unchecked_advise_range(memmap2::UncheckedAdvice::DontNeed, offset, len)
            };
        }
    }
}

/// Asks for the bytes at `at` to be brought into the cache, if there are any: records are found
/// one by one, so the processor does not see by itself where it will be in a moment.
#[inline(always)]
pub(super) fn prefetch(bytes: &[u8], at: usize) {
    #[cfg(target_arch = "x86_64")]
    if let Some(byte) = bytes.get(at) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a hint; it reads nothing, and the address is that of a byte of the slice.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(byte).cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (bytes, at);
}
