//! One ring of the tracer: sub-buffers taken, copied and given back.

use super::abi::{self, Request};
use super::ioctl;
use super::mapping::Mapping;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// The ring of a CPU, or of the metadata, mapped.
#[derive(Debug)]
pub(super) struct Ring {
    mapping: Mapping,
    fd: OwnedFd,
    sub_buffer_bytes: usize,
}

/// How far a ring is written and read, in bytes since its begin, modulo the word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Positions {
    pub(super) consumed: usize,
    pub(super) produced: usize,
}

impl Ring {
    pub(super) fn new(fd: OwnedFd) -> io::Result<Ring> {
        let len_bytes: usize = ioctl::get(fd.as_fd(), abi::stream::MMAP_LEN)?;
        let sub_buffer_bytes: usize = ioctl::get(fd.as_fd(), abi::stream::MAX_SUBBUF_SIZE)?;
        if !sub_buffer_bytes.is_power_of_two() || sub_buffer_bytes > len_bytes {
            return Err(io::ErrorKind::InvalidData.into());
        }
        Ok(Ring {
            mapping: Mapping::new(fd.as_fd(), len_bytes)?,
            fd,
            sub_buffer_bytes,
        })
    }

    /// The CPU it is of. Not of the metadata's ring.
    pub(super) fn cpu(&self) -> io::Result<u32> {
        let cpu: u64 = self.get(abi::stream::INSTANCE_ID)?;
        u32::try_from(cpu).map_err(|_| io::ErrorKind::InvalidData.into())
    }

    /// The tracer's clock, now.
    pub(super) fn now_ns(&self) -> io::Result<u64> {
        self.get(abi::stream::CURRENT_TIMESTAMP)
    }

    /// Closes the sub-buffer being written, unless it is empty.
    pub(super) fn flush(&self) -> io::Result<()> {
        self.command(abi::stream::FLUSH)
    }

    /// Closes the sub-buffer being written, even if it is empty: its packet tells of loss.
    pub(super) fn flush_empty(&self) -> io::Result<()> {
        self.command(abi::stream::FLUSH_EMPTY)
    }

    /// How far it is written and read.
    pub(super) fn positions(&self) -> io::Result<Positions> {
        self.command(abi::stream::SAMPLE_POSITIONS)?;
        Ok(Positions {
            consumed: self.get(abi::stream::GET_CONSUMED)?,
            produced: self.get(abi::stream::GET_PRODUCED)?,
        })
    }

    /// Whether all sub-buffers that were closed when `then` was sampled have been read.
    pub(super) fn read_up_to(&self, then: Positions, consumed: usize) -> bool {
        let closed = then.produced & !(self.sub_buffer_bytes - 1);
        // Positions wrap around.
        (consumed.wrapping_sub(closed) as isize) >= 0
    }

    /// Appends the next sub-buffer to `out`, padding to whole pages included. False if none is ready.
    pub(super) fn take(&self, out: &mut Vec<u8>) -> io::Result<bool> {
        Ok(self.take_and(out, || Ok(()))?.is_some())
    }

    /// As [`take`](Ring::take); gives the time at which the packet begins.
    pub(super) fn take_packet(&self, out: &mut Vec<u8>) -> io::Result<Option<u64>> {
        self.take_and(out, || self.get(abi::stream::TIMESTAMP_BEGIN))
    }

    fn take_and<T>(
        &self,
        out: &mut Vec<u8>,
        look: impl FnOnce() -> io::Result<T>,
    ) -> io::Result<Option<T>> {
        match self.command(abi::stream::GET_NEXT) {
            Ok(()) => {}
            Err(e) if matches!(e.raw_os_error(), Some(libc::EAGAIN | libc::ENODATA)) => {
                return Ok(None);
            }
            Err(e) => return Err(e),
        }
        let looked = look();
        let copied = self.copy_taken(out);
        // Given back in any case: it could not be taken again.
        self.command(abi::stream::PUT_NEXT)?;
        copied?;
        looked.map(Some)
    }

    fn copy_taken(&self, out: &mut Vec<u8>) -> io::Result<()> {
        let offset: usize = self.get(abi::stream::MMAP_READ_OFFSET)?;
        let len_bytes: usize = self.get(abi::stream::PADDED_SUBBUF_SIZE)?;
        if len_bytes > self.sub_buffer_bytes {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let bytes = self.mapping.bytes(offset, len_bytes);
        out.extend_from_slice(bytes.ok_or(io::ErrorKind::InvalidData)?);
        Ok(())
    }

    /// Which writing of the metadata the sub-buffers are of.
    pub(super) fn metadata_version(&self) -> io::Result<u64> {
        self.get(abi::stream::METADATA_VERSION)
    }

    fn command(&self, request: Request) -> io::Result<()> {
        ioctl::command(self.fd.as_fd(), request).map(drop)
    }

    fn get<T: zerocopy::FromBytes + zerocopy::IntoBytes>(&self, request: Request) -> io::Result<T> {
        ioctl::get(self.fd.as_fd(), request)
    }
}

impl AsFd for Ring {
    /// Readable when a sub-buffer is ready.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
