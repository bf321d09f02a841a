//! `ioctl(2)`, in the few shapes that LTTng's commands have.
//!
//! The law of this border: a request code tells the kernel how many bytes it may
//! write to its argument, or read from it, and each function here checks that
//! this is the size of what it passes.
#![expect(unsafe_code, reason = "ioctl has no safe form")]

use super::abi::Request;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use std::ffi::{c_int, c_void};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// Bytes of the argument, as the request code has it.
fn argument_bytes(request: Request) -> usize {
    (request as u32 >> 16) as usize & 0x3fff
}

fn check(request: Request, size_bytes: usize) -> io::Result<()> {
    match argument_bytes(request) == size_bytes {
        true => Ok(()),
        false => Err(io::ErrorKind::InvalidInput.into()),
    }
}

/// A command without an argument.
pub(super) fn command(fd: BorrowedFd<'_>, request: Request) -> io::Result<c_int> {
    check(request, 0)?;
    // SAFETY: the command takes no argument.
    let result = unsafe { libc::ioctl(fd.as_raw_fd(), request) };
    Ok(Errno::result(result)?)
}

/// A command that fills in a value.
pub(super) fn get<T: FromBytes + IntoBytes>(fd: BorrowedFd<'_>, request: Request) -> io::Result<T> {
    check(request, size_of::<T>())?;
    let mut value = T::new_zeroed();
    let place: *mut c_void = value.as_mut_bytes().as_mut_ptr().cast();
    // SAFETY: the kernel writes as many bytes as the request says, which is the size of
    // `value`, and any bytes are a value of its type.
    let result = unsafe { libc::ioctl(fd.as_raw_fd(), request, place) };
    Errno::result(result)?;
    Ok(value)
}

/// A command that takes a value.
pub(super) fn put<T: IntoBytes + Immutable>(
    fd: BorrowedFd<'_>,
    request: Request,
    value: &T,
) -> io::Result<c_int> {
    check(request, size_of::<T>())?;
    let place: *const c_void = value.as_bytes().as_ptr().cast();
    // SAFETY: the kernel reads as many bytes as the request says, which is the size of `value`.
    let result = unsafe { libc::ioctl(fd.as_raw_fd(), request, place) };
    Ok(Errno::result(result)?)
}

/// The descriptor that a command returned, from now on ours alone.
pub(super) fn returned(descriptor: c_int) -> io::Result<OwnedFd> {
    if descriptor < 0 {
        return Err(io::ErrorKind::InvalidData.into());
    }
    // SAFETY: the kernel has just opened it for us, and nobody else knows of it.
    let owned = unsafe { OwnedFd::from_raw_fd(descriptor) };
    // LTTng opens them to be inherited.
    fcntl(&owned, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    Ok(owned)
}

#[cfg(test)]
mod tests {
    use super::super::abi::{self, AbiVersion};
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn sizes_are_checked_before_the_kernel_is_asked() {
        let file = std::fs::File::open("/dev/null").unwrap();
        let kind = |e: io::Error| e.kind();
        let wrong = get::<u64>(file.as_fd(), abi::tracer::VERSION).map_err(kind);
        assert_eq!(wrong.unwrap_err(), io::ErrorKind::InvalidInput);
        let wrong = command(file.as_fd(), abi::tracer::VERSION).map_err(kind);
        assert_eq!(wrong.unwrap_err(), io::ErrorKind::InvalidInput);
        let refused = get::<AbiVersion>(file.as_fd(), abi::tracer::ABI_VERSION);
        assert_eq!(refused.unwrap_err().raw_os_error(), Some(libc::ENOTTY));
        assert!(returned(-1).is_err());
    }
}
