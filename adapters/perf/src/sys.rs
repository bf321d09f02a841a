//! System calls that no safe crate wraps. The only place that names the bindings crate.
#![expect(
    unsafe_code,
    reason = "perf_event_open and its ioctls have no safe wrapper"
)]

use crate::attr::Attr;
use perf_event_open_sys as perf;
use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

const _: () = assert!(size_of::<Attr>() == size_of::<perf::bindings::perf_event_attr>());
const _: () = assert!(align_of::<Attr>() == align_of::<perf::bindings::perf_event_attr>());

/// `perf_event_open(2)` with `PERF_FLAG_FD_CLOEXEC`.
///
/// Of `E2BIG` the kernel writes the size it knows back into `attr.size`.
pub(crate) fn open_event(attr: &mut Attr, pid: i32, cpu: i32) -> io::Result<OwnedFd> {
    open_in_group(attr, pid, cpu, None)
}

/// As [`open_event`], in the group of `leader`.
pub(crate) fn open_in_group(
    attr: &mut Attr,
    pid: i32,
    cpu: i32,
    leader: Option<BorrowedFd<'_>>,
) -> io::Result<OwnedFd> {
    let flags = u64::from(perf::bindings::PERF_FLAG_FD_CLOEXEC);
    let group_fd = leader.map_or(-1, |fd| fd.as_raw_fd());
    let attr: *mut Attr = attr;
    // SAFETY: `Attr` has the layout of `perf_event_attr` (asserted above) and is exclusively
    // borrowed; every bit pattern is valid for it. No attr made here asks for SIGTRAP, which
    // could disturb this process; a breakpoint only counts.
    let fd = unsafe { perf::perf_event_open(attr.cast(), pid, cpu, group_fd, flags) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just given us this descriptor and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn check(result: i32) -> io::Result<()> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// `PERF_EVENT_IOC_ENABLE`, inherited children included.
pub(crate) fn enable(fd: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: the ioctl takes an integer and touches no memory of ours.
    check(unsafe { perf::ioctls::ENABLE(fd.as_raw_fd(), 0) })
}

/// `PERF_EVENT_IOC_DISABLE`, inherited children included.
pub(crate) fn disable(fd: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: the ioctl takes an integer and touches no memory of ours.
    check(unsafe { perf::ioctls::DISABLE(fd.as_raw_fd(), 0) })
}

/// `PERF_EVENT_IOC_SET_OUTPUT`: `fd`'s records go to the ring of `ring`.
pub(crate) fn set_output(fd: BorrowedFd<'_>, ring: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: the ioctl takes a descriptor and touches no memory of ours.
    check(unsafe { perf::ioctls::SET_OUTPUT(fd.as_raw_fd(), ring.as_raw_fd()) })
}

/// `PERF_EVENT_IOC_SET_FILTER`.
pub(crate) fn set_filter(fd: BorrowedFd<'_>, filter: &CStr) -> io::Result<()> {
    // SAFETY: the kernel reads the string up to its NUL and does not write to it, although the
    // bindings say `*mut`.
    check(unsafe { perf::ioctls::SET_FILTER(fd.as_raw_fd(), filter.as_ptr().cast_mut()) })
}

/// `PERF_EVENT_IOC_ID` (Linux 3.12).
pub(crate) fn event_id(fd: BorrowedFd<'_>) -> io::Result<u64> {
    let mut id = 0u64;
    // SAFETY: the kernel writes eight bytes to the exclusively borrowed `id`.
    check(unsafe { perf::ioctls::ID(fd.as_raw_fd(), &raw mut id) })?;
    Ok(id)
}
