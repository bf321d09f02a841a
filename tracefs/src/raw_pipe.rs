//! The binary pipe of one CPU.

use crate::Result;
use crate::directory::Directory;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::unistd::read;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// `per_cpu/cpuN/trace_pipe_raw`, open and non-blocking.
///
/// It is closed before its instance can be removed.
#[derive(Debug)]
pub struct RawPipe {
    fd: OwnedFd,
    cpu: u32,
}

impl RawPipe {
    pub(crate) fn open(directory: &Directory, cpu: u32) -> Result<Self> {
        let path = format!("per_cpu/cpu{cpu}/trace_pipe_raw");
        Ok(RawPipe {
            fd: directory.open(&path, OFlag::O_RDONLY | OFlag::O_NONBLOCK)?,
            cpu,
        })
    }

    /// Its CPU.
    pub fn cpu(&self) -> u32 {
        self.cpu
    }

    /// Takes the next sub-buffer out of the kernel's ring; `None` if there is
    /// nothing at this moment.
    ///
    /// `room` should be exactly a sub-buffer long. A sub-buffer that is still
    /// written to comes with what is committed; the rest comes later, as
    /// another one. Returns how many bytes were put into `room`.
    #[inline]
    pub fn read_sub_buffer(&self, room: &mut [u8]) -> io::Result<Option<usize>> {
        loop {
            return match read(self.fd.as_fd(), room) {
                // The kernel says 0 when a record is just being committed.
                Ok(0) | Err(Errno::EAGAIN) => Ok(None),
                Ok(n) => Ok(Some(n)),
                Err(Errno::EINTR) => continue,
                Err(e) => Err(e.into()),
            };
        }
    }
}

impl AsFd for RawPipe {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
