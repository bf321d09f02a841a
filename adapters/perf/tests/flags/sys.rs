//! Events with any attr, which the source of this crate does not ask for.
//!
//! The law of this memory: a ring is read only while its event is disabled, when the kernel does
//! not write to it.
#![expect(
    unsafe_code,
    reason = "perf_event_open, its ioctls and its ring have no safe wrapper"
)]

use kstrace_perf::attr::Attr;
use memmap2::{MmapMut, MmapOptions};
use perf_event_open_sys as perf;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

const PAGE_BYTES: usize = 4096;
const RING_PAGES: usize = 64;
/// Of `struct perf_event_mmap_page`.
const DATA_HEAD: usize = 1024;

/// An event of this thread, disabled.
pub(crate) fn open(attr: &Attr, group: Option<&OwnedFd>) -> io::Result<OwnedFd> {
    let mut attr = *attr;
    let group = group.map_or(-1, AsRawFd::as_raw_fd);
    let attr: *mut Attr = &raw mut attr;
    // SAFETY: `Attr` has the layout of `perf_event_attr` and lives to the end of the call.
    let fd = unsafe { perf::perf_event_open(attr.cast(), 0, -1, group, 8) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just given us this descriptor and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// The id that samples have.
pub(crate) fn id(fd: &OwnedFd) -> u64 {
    let mut id = 0;
    // SAFETY: the kernel writes eight bytes to `id`.
    let result = unsafe { perf::ioctls::ID(fd.as_raw_fd(), &raw mut id) };
    assert_eq!(result, 0);
    id
}

/// Lets the event and its group happen while `work` is done.
pub(crate) fn while_enabled(leader: &OwnedFd, work: impl FnOnce()) {
    /// `PERF_IOC_FLAG_GROUP`.
    const GROUP: u32 = 1;
    // SAFETY: takes an integer.
    let result = unsafe { perf::ioctls::ENABLE(leader.as_raw_fd(), GROUP) };
    assert_eq!(result, 0);
    work();
    // SAFETY: takes an integer.
    let result = unsafe { perf::ioctls::DISABLE(leader.as_raw_fd(), GROUP) };
    assert_eq!(result, 0);
}

/// An event's ring, large enough for all that is recorded here.
pub(crate) struct Ring(MmapMut);

impl Ring {
    pub(crate) fn of(event: &OwnedFd) -> Self {
        let mut options = MmapOptions::new();
        options.len((1 + RING_PAGES) * PAGE_BYTES);
        // SAFETY: a new mapping, read as the module's head says.
        Ring(unsafe { options.map_mut(event.as_raw_fd()) }.unwrap())
    }

    /// All records since the event was opened.
    pub(crate) fn records(&self) -> Vec<u8> {
        let head = u64::from_ne_bytes(*self.0[DATA_HEAD..].first_chunk().unwrap());
        let head = usize::try_from(head).unwrap();
        assert!(head < RING_PAGES * PAGE_BYTES, "more than the ring holds");
        self.0[PAGE_BYTES..PAGE_BYTES + head].to_vec()
    }
}

/// So many pages that are not there until they are written to.
pub(crate) fn touch_new_pages(count: usize) -> std::ops::Range<u64> {
    let mut pages = MmapMut::map_anon(count * PAGE_BYTES).unwrap();
    // Page by page, whatever the machine thinks of huge pages.
    let _ = pages.advise(memmap2::Advice::NoHugePage);
    for page in 0..count {
        pages[page * PAGE_BYTES] = 1;
    }
    let range = pages.as_ptr_range();
    range.start as u64..range.end as u64
}
