//! The kernel's ring, mapped.
//!
//! The law of this memory: the kernel writes records at `data_head` and beyond,
//! up to a lap after `data_tail`, never between tail and head. It publishes
//! records by storing `data_head` after a write barrier; we load it with acquire
//! ordering. We give room back by storing `data_tail` with release ordering, after
//! the last access to what it passes; its partner is the kernel's control
//! dependency on `data_tail` before it writes (`__perf_output_begin`, see the
//! comment in `perf_output_put_handle`). So the bytes from our tail to the head
//! last seen do not change, and only of those a reference is ever made. No other
//! process has this mapping: the kernel does not let it be inherited (`VM_DONTCOPY`).
#![expect(unsafe_code, reason = "a mapping shared with the kernel")]

use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};
use std::io;
use std::num::NonZeroUsize;
use std::os::fd::BorrowedFd;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

// Offsets in `struct perf_event_mmap_page`, which reserves up to 1 KiB before them.
const DATA_HEAD: usize = 1024;
const DATA_TAIL: usize = 1032;
const DATA_OFFSET: usize = 1040;

/// A perf ring of one CPU, mapped for reading and for giving back what was read.
#[derive(Debug)]
pub(crate) struct MappedRing {
    base: NonNull<u8>,
    mapped_bytes: usize,
    data: NonNull<u8>,
    /// Size of the data area less one; the size is a power of two.
    mask: u64,
    tail: u64,
    head: u64,
}

// SAFETY: the mapping belongs to this value alone and is not bound to a thread.
unsafe impl Send for MappedRing {}

/// The size of a page of memory in bytes.
pub(crate) fn page_bytes() -> usize {
    nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE)
        .ok()
        .flatten()
        .and_then(|n| usize::try_from(n).ok())
        .unwrap_or(4096)
}

impl MappedRing {
    /// Maps the ring of an event: a control page and `data_bytes` of records, a
    /// power of two not below a page.
    pub(crate) fn map(fd: BorrowedFd<'_>, data_bytes: usize) -> io::Result<Self> {
        let page = page_bytes();
        let bad = || io::Error::from(io::ErrorKind::InvalidInput);
        if !data_bytes.is_power_of_two() || data_bytes < page {
            return Err(bad());
        }
        let mapped_bytes = data_bytes.checked_add(page).ok_or_else(bad)?;
        let length = NonZeroUsize::new(mapped_bytes).ok_or_else(bad)?;
        let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new shared mapping at an address of the kernel's choice.
        let base = unsafe { mmap(None, length, protection, MapFlags::MAP_SHARED, fd, 0) }?;
        let base: NonNull<u8> = base.cast();
        let mut ring = MappedRing {
            base,
            mapped_bytes,
            data: base,
            mask: data_bytes as u64 - 1,
            tail: 0,
            head: 0,
        };
        // Zero before Linux 4.1, when it always was one page.
        let offset = match ring.control(DATA_OFFSET).load(Ordering::Relaxed) {
            0 => page,
            offset => usize::try_from(offset).unwrap_or(usize::MAX),
        };
        if offset
            .checked_add(data_bytes)
            .is_none_or(|end| end > mapped_bytes)
        {
            return Err(io::Error::from(io::ErrorKind::InvalidData));
        }
        // SAFETY: the data area lies in the mapping, as was just checked.
        ring.data = unsafe { base.add(offset) };
        ring.tail = ring.control(DATA_TAIL).load(Ordering::Relaxed);
        ring.head = ring.tail;
        Ok(ring)
    }

    /// One of the 64-bit words of the control page that the kernel and we share.
    fn control(&self, offset: usize) -> &AtomicU64 {
        // SAFETY: the offsets used lie in the control page, which is mapped.
        let word = unsafe { self.base.add(offset) };
        // SAFETY: aligned (page plus a multiple of 8), mapped as long as `self` lives, and
        // accessed atomically by both sides.
        unsafe { AtomicU64::from_ptr(word.as_ptr().cast()) }
    }

    /// Size of the data area in bytes.
    pub(crate) fn size_bytes(&self) -> u64 {
        self.mask + 1
    }

    /// Up to which position records have been published by now.
    pub(crate) fn refresh_head(&mut self) -> io::Result<u64> {
        // Acquire, partner of the write barrier before the kernel stores data_head.
        let head = self.control(DATA_HEAD).load(Ordering::Acquire);
        if head.wrapping_sub(self.tail) > self.size_bytes() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!(
                    "perf ring head {head} is more than a lap from tail {}",
                    self.tail
                ),
            ));
        }
        self.head = head;
        Ok(head)
    }

    /// Up to which position room was given back.
    pub(crate) fn tail(&self) -> u64 {
        self.tail
    }

    /// Gives back everything before `position`, which must not lie before the
    /// last one given back nor behind the head last seen; ignored otherwise.
    pub(crate) fn release(&mut self, position: u64) {
        let step = position.wrapping_sub(self.tail);
        if step == 0 || step > self.head.wrapping_sub(self.tail) {
            return;
        }
        self.tail = position;
        // Release: our reads of what is given back come before. Partner: the kernel's read of
        // data_tail, on which its writes depend.
        self.control(DATA_TAIL).store(position, Ordering::Release);
    }

    /// Whether `len` bytes at `position` lie between tail and head.
    #[inline]
    fn is_stable(&self, position: u64, len: u64) -> bool {
        let from = position.wrapping_sub(self.tail);
        let all = self.head.wrapping_sub(self.tail);
        from <= all && len <= all - from
    }

    /// The bytes at `position` in one or, where they go round the end, two pieces.
    #[inline]
    pub(crate) fn bytes(&self, position: u64, len: usize) -> Option<(&[u8], &[u8])> {
        if !self.is_stable(position, len as u64) {
            return None;
        }
        let at = (position & self.mask) as usize;
        let first = len.min(self.size_bytes() as usize - at);
        // SAFETY: `at` is below the data area's size.
        let start = unsafe { self.data.add(at) };
        // SAFETY: in the data area, and stable until `release`, which takes `&mut self`.
        let head = unsafe { std::slice::from_raw_parts(start.as_ptr(), first) };
        // SAFETY: the data area is at least as long as the region between tail and head.
        let rest = unsafe { std::slice::from_raw_parts(self.data.as_ptr(), len - first) };
        Some((head, rest))
    }

    /// The aligned 64-bit word at `position`, a multiple of 8; these never go round the end.
    #[inline]
    pub(crate) fn word(&self, position: u64) -> Option<u64> {
        if position & 7 != 0 {
            return None;
        }
        let (bytes, _) = self.bytes(position, 8)?;
        Some(u64::from_ne_bytes(bytes.try_into().ok()?))
    }
}

impl Drop for MappedRing {
    fn drop(&mut self) {
        // SAFETY: the mapping made in `map`; no reference to it can outlive `self`.
        let _ = unsafe { munmap(self.base.cast(), self.mapped_bytes) };
    }
}
