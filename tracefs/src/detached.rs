//! A private mount of tracefs that no mount table shows.
//!
//! `fsopen`, `fsconfig` and `fsmount` (Linux 5.2) make a mount that is attached
//! nowhere: only who holds the descriptor can reach it, and it goes when that is closed.
#![expect(
    unsafe_code,
    reason = "the libc crate has the numbers of these system calls, not the calls"
)]

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// `FSOPEN_CLOEXEC` and `FSMOUNT_CLOEXEC` of linux/mount.h.
const CLOEXEC: libc::c_long = 1;
/// `FSCONFIG_CMD_CREATE` of linux/mount.h.
const CMD_CREATE: libc::c_long = 6;

/// Opens a detached mount of the file system type `name`.
///
/// Minimum kernel version: 5.2. Needs `CAP_SYS_ADMIN`; `ENODEV` if the kernel
/// has no such file system.
pub(crate) fn open_detached(name: &CStr) -> io::Result<OwnedFd> {
    // SAFETY: fsopen reads the NUL-terminated name and nothing else.
    let context = descriptor(unsafe { libc::syscall(libc::SYS_fsopen, name.as_ptr(), CLOEXEC) })?;
    let null = std::ptr::null::<libc::c_char>();
    // SAFETY: FSCONFIG_CMD_CREATE takes no key and no value: both must be null.
    let created = unsafe {
        libc::syscall(
            libc::SYS_fsconfig,
            context.as_raw_fd(),
            CMD_CREATE,
            null,
            null,
            0,
        )
    };
    if created < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: fsmount takes numbers only.
    descriptor(unsafe { libc::syscall(libc::SYS_fsmount, context.as_raw_fd(), CLOEXEC, 0) })
}

fn descriptor(result: libc::c_long) -> io::Result<OwnedFd> {
    match i32::try_from(result) {
        Ok(fd) if fd >= 0 => {
            // SAFETY: the kernel has just given this descriptor to us alone.
            Ok(unsafe { OwnedFd::from_raw_fd(fd) })
        }
        _ => Err(io::Error::last_os_error()),
    }
}
