//! One data stream file, safe against being killed at any instant.
//!
//! A CTF reader wants packets to fill a file exactly. So at every instant the
//! file must be a row of whole packets up to its very end, and each change
//! that a reader can see must be one system call that the kernel does not
//! leave half done:
//!
//! * The file is made under a hidden name, extended to its full length (a hole),
//!   given its first packet, whose `packet_size` reaches to the file's end, and
//!   only then renamed.
//! * A further packet is written into the padding of the last one, itself
//!   reaching to the end. It is not there for a reader until one write of 8
//!   bytes cuts the last packet's `packet_size` to its true size. A write can be
//!   cut short by a signal between pages; `packet_size` never crosses one,
//!   since packets begin at multiples of 8.
//! * A file never grows: the lane goes on in another one.
//! * To cut off the unused end, an empty packet is put there in the same way,
//!   and then the file truncated to where it began.
//!
//! This holds against the death of the process, not of the machine: nothing is
//! synced.

use crate::packet::EMPTY_CONTENT_BYTES;
use kstrace_schema::wire::{PACKET_HEADER_BYTES, PacketHeader, RECORD_ALIGN_BYTES};
use nix::sys::uio::pwritev;
use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice};
use std::mem::offset_of;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use zerocopy::IntoBytes;

#[cfg(not(test))]
use unwatched as steps;
#[cfg(test)]
use watched as steps;

/// Where the tests look on.
#[cfg(not(test))]
mod unwatched {
    #[inline(always)]
    pub(super) fn longest_write(_offset: u64) -> usize {
        usize::MAX
    }

    #[inline(always)]
    pub(super) fn done() {}
}

const ZEROS: [u8; RECORD_ALIGN_BYTES] = [0; RECORD_ALIGN_BYTES];

/// A data stream file that is being written.
#[derive(Debug)]
pub(crate) struct Segment {
    file: File,
    /// Length of the file.
    len: u64,
    /// Where the last packet begins.
    last_offset: u64,
    /// Its header, as if it had no padding.
    last: PacketHeader,
    /// Where the last packet would end without padding.
    end: u64,
}

/// Bytes that a packet with that much content takes in a file.
fn packet_bytes(content_bytes: usize) -> u64 {
    content_bytes
        .max(PACKET_HEADER_BYTES)
        .next_multiple_of(RECORD_ALIGN_BYTES) as u64
}

impl Segment {
    /// Makes `dir/name`, `len` bytes long (or more, if the packet is larger),
    /// with one packet. `packet` ends with its content.
    pub(crate) fn create(
        dir: &Path,
        name: &str,
        len: u64,
        header: PacketHeader,
        packet: &[u8],
    ) -> io::Result<Segment> {
        let hidden = dir.join(format!(".{name}.new"));
        let made = Self::create_hidden(&hidden, len, header, packet)
            .and_then(|segment| std::fs::rename(&hidden, dir.join(name)).map(|()| segment));
        steps::done();
        if made.is_err() {
            // Best effort: a hidden file is no part of the trace.
            let _ = std::fs::remove_file(&hidden);
        }
        made
    }

    fn create_hidden(
        path: &Path,
        len: u64,
        header: PacketHeader,
        packet: &[u8],
    ) -> io::Result<Segment> {
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)?;
        let size = packet_bytes(packet.len());
        let len = len.max(size);
        file.set_len(len)?;
        let mut segment = Segment {
            file,
            len,
            last_offset: 0,
            last: header,
            end: 0,
        };
        segment.put(header, packet)?;
        segment.last = header;
        segment.end = size;
        Ok(segment)
    }

    /// Whether a packet with that much content fits.
    pub(crate) fn has_room(&self, content_bytes: usize) -> bool {
        self.len - self.end >= packet_bytes(content_bytes)
    }

    /// Length of the file.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// Adds a packet that fits. `packet` ends with its content.
    ///
    /// After an error the file is as it was before.
    pub(crate) fn append(&mut self, header: PacketHeader, packet: &[u8]) -> io::Result<()> {
        self.put(header, packet)?;
        self.split()?;
        self.last_offset = self.end;
        self.last = header;
        self.end += packet_bytes(packet.len());
        Ok(())
    }

    /// Cuts off what is not used.
    pub(crate) fn seal(&mut self) -> io::Result<()> {
        if self.len - self.end < PACKET_HEADER_BYTES as u64 {
            // No room for another packet: the last one keeps these few bytes.
            return Ok(());
        }
        let empty = PacketHeader {
            timestamp_begin_ns: self.last.timestamp_end_ns,
            content_size_bits: EMPTY_CONTENT_BYTES as u64 * 8,
            record_count: 0,
            ..self.last
        };
        self.put(empty, &[])?;
        self.split()?;
        self.file.set_len(self.end)?;
        steps::done();
        self.len = self.end;
        Ok(())
    }

    /// Writes a packet that reaches to the file's end behind the last one,
    /// where no reader sees it yet.
    fn put(&self, header: PacketHeader, packet: &[u8]) -> io::Result<()> {
        let header = PacketHeader {
            packet_size_bits: (self.len - self.end) * 8,
            ..header
        };
        let records = packet.get(PACKET_HEADER_BYTES..).unwrap_or_default();
        let padding = records.len().next_multiple_of(RECORD_ALIGN_BYTES) - records.len();
        let parts = [header.as_bytes(), records, &ZEROS[..padding]];
        let total = parts.iter().map(|p| p.len()).sum::<usize>();
        let mut done = 0;
        while done < total {
            let mut slices = [IoSlice::new(&[]), IoSlice::new(&[]), IoSlice::new(&[])];
            let offset = self.end + done as u64;
            let (mut skip, mut left) = (done, steps::longest_write(offset));
            for (slice, part) in slices.iter_mut().zip(parts) {
                let skipped = skip.min(part.len());
                skip -= skipped;
                let part = &part[skipped..];
                *slice = IoSlice::new(&part[..part.len().min(left)]);
                left -= slice.len();
            }
            match pwritev(&self.file, &slices, to_offset(offset)?) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    done += written;
                    steps::done();
                }
                Err(nix::errno::Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(())
    }

    /// Cuts the last packet to its true size, which shows the one put behind it.
    fn split(&self) -> io::Result<()> {
        let size_bits = (self.end - self.last_offset) * 8;
        let at = self.last_offset + offset_of!(PacketHeader, packet_size_bits) as u64;
        self.file.write_all_at(size_bits.as_bytes(), at)?;
        steps::done();
        Ok(())
    }
}

fn to_offset(offset: u64) -> io::Result<i64> {
    i64::try_from(offset).map_err(|_| io::ErrorKind::FileTooLarge.into())
}

/// After each system call, as if it were the last, the test looks at the
/// files. Every write ends at a page, as one that a signal cuts short does.
#[cfg(test)]
mod watched {
    use std::cell::RefCell;

    type Watcher = Box<dyn FnMut()>;

    thread_local! {
        static WATCHER: RefCell<Option<Watcher>> = const { RefCell::new(None) };
    }

    pub(super) fn watch(watcher: impl FnMut() + 'static) {
        WATCHER.set(Some(Box::new(watcher)));
    }

    pub(super) fn longest_write(offset: u64) -> usize {
        4096 - (offset % 4096) as usize
    }

    pub(super) fn done() {
        WATCHER.with_borrow_mut(|w| w.iter_mut().for_each(|w| w()));
    }
}

#[cfg(test)]
#[path = "segment_tests.rs"]
mod tests;
