//! Where the records are read from: a file in memory, or a stream.

use super::damage::Place;
use super::map::FileMap;
use kstrace_schema::{Error, Result};
use std::fmt;
use std::io::Read;

/// How much is asked of a stream at once.
const READ_BYTES: usize = 1 << 20;
/// How much of a file is brought in at once.
const WINDOW_BYTES: u64 = 8 << 20;

/// The bytes that records are in, by their offset in the file or stream.
#[derive(Debug)]
pub(super) enum Outer {
    /// A stretch of a file in memory.
    Map {
        map: FileMap,
        /// Where the records end.
        end: u64,
        /// Up to where the file was asked for.
        wanted_to: u64,
        /// Up to where it was let go.
        released_to: u64,
    },
    /// What came of a stream and is still needed.
    Stream(StreamBuffer),
}

impl Outer {
    pub(super) fn map(map: FileMap, start: u64, end: u64) -> Self {
        Outer::Map {
            map,
            end,
            wanted_to: start,
            released_to: start,
        }
    }

    /// The bytes at hand and the offset of the first of them.
    #[inline]
    pub(super) fn bytes(&self) -> (&[u8], u64) {
        match self {
            Outer::Map { map, end, .. } => {
                let bytes = map.bytes();
                let end = usize::try_from(*end).unwrap_or(usize::MAX);
                (&bytes[..end.min(bytes.len())], 0)
            }
            Outer::Stream(s) => (&s.buffer, s.base),
        }
    }

    /// Makes bytes from `at` on be at hand; whether there are `len` of them.
    pub(super) fn ensure(&mut self, at: u64, len: usize, place: &Place) -> Result<bool> {
        match self {
            Outer::Map {
                map,
                end,
                wanted_to,
                ..
            } => {
                let needed = at.saturating_add(len as u64);
                // Early enough for what is scanned without asking again.
                let soon = needed.saturating_add(WINDOW_BYTES / 2);
                if soon.min(*end) > *wanted_to {
                    // From where the last window ended, so that nothing is asked for twice.
                    let from = (*wanted_to).max(at & !(WINDOW_BYTES - 1));
                    let to = (needed.saturating_add(WINDOW_BYTES)).min(*end);
                    map.will_need(
                        usize::try_from(from).unwrap_or(usize::MAX),
                        usize::try_from(to.saturating_sub(from)).unwrap_or(0),
                    );
                    *wanted_to = to.max(*wanted_to);
                }
                Ok(needed <= *end)
            }
            Outer::Stream(s) => s.ensure(at, len).map_err(|e| {
                Error::io(
                    format!("{}: offset {at}: records: cannot read", place.file()),
                    e,
                )
            }),
        }
    }

    /// Nothing before `keep_from` is needed any more, nor after `scanned_to` soon.
    pub(super) fn release(&mut self, keep_from: u64, scanned_to: u64) {
        const PAGE: u64 = 4096;
        match self {
            Outer::Map {
                map, released_to, ..
            } => {
                let to = keep_from.min(scanned_to) & !(PAGE - 1);
                let from = (*released_to).next_multiple_of(PAGE);
                if to >= from + WINDOW_BYTES {
                    map.release(
                        usize::try_from(from).unwrap_or(usize::MAX),
                        usize::try_from(to - from).unwrap_or(0),
                    );
                    *released_to = to;
                }
            }
            Outer::Stream(s) => s.release(keep_from),
        }
    }

    /// Bytes between these two were looked at and will be again, but not soon.
    pub(super) fn put_aside(&mut self, from: u64, to: u64) {
        const PAGE: u64 = 4096;
        if let Outer::Map { map, .. } = self {
            let (from, to) = (from.next_multiple_of(PAGE), to & !(PAGE - 1));
            if to > from {
                map.release(
                    usize::try_from(from).unwrap_or(usize::MAX),
                    usize::try_from(to - from).unwrap_or(0),
                );
            }
        }
    }

    /// Bytes kept in memory of this process's own.
    pub(super) fn held_bytes(&self) -> usize {
        match self {
            Outer::Map { .. } => 0,
            Outer::Stream(s) => s.buffer.len(),
        }
    }
}

/// The part of a stream that is still needed.
pub(super) struct StreamBuffer {
    reader: Box<dyn Read + Send>,
    buffer: Vec<u8>,
    /// Offset of the buffer's first byte.
    base: u64,
    ended: bool,
}

impl fmt::Debug for StreamBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamBuffer")
            .field("base", &self.base)
            .field("held", &self.buffer.len())
            .finish_non_exhaustive()
    }
}

impl StreamBuffer {
    pub(super) fn new(reader: Box<dyn Read + Send>) -> Self {
        StreamBuffer {
            reader,
            buffer: Vec::new(),
            base: 0,
            ended: false,
        }
    }

    /// Writes everything, from the very beginning; nothing may have been released.
    pub(super) fn copy_to(&mut self, target: &mut impl std::io::Write) -> std::io::Result<()> {
        target.write_all(&self.buffer)?;
        self.buffer.clear();
        std::io::copy(&mut self.reader, target)?;
        target.flush()
    }

    fn ensure(&mut self, at: u64, len: usize) -> std::io::Result<bool> {
        loop {
            let from = usize::try_from(at.saturating_sub(self.base)).unwrap_or(usize::MAX);
            let left = self.buffer.len().saturating_sub(from);
            if left >= len {
                return Ok(true);
            }
            if self.ended {
                return Ok(false);
            }
            let old = self.buffer.len();
            self.buffer.resize(old + READ_BYTES, 0);
            let read = self.reader.read(&mut self.buffer[old..]);
            match read {
                Ok(count) => {
                    self.buffer.truncate(old + count);
                    self.ended = count == 0;
                }
                Err(e) => {
                    self.buffer.truncate(old);
                    if e.kind() != std::io::ErrorKind::Interrupted {
                        self.ended = true;
                        return Err(e);
                    }
                }
            }
        }
    }

    fn release(&mut self, keep_from: u64) {
        let count = usize::try_from(keep_from.saturating_sub(self.base)).unwrap_or(0);
        let count = count.min(self.buffer.len());
        // Moving what is kept costs at most what was read.
        if count >= READ_BYTES && count >= self.buffer.len() / 2 {
            self.buffer.drain(..count);
            self.base += count as u64;
        }
    }
}

/// Records that were compressed.
#[derive(Debug, Default)]
pub(super) struct Plain {
    pub(super) buffer: Vec<u8>,
    pub(super) base: u64,
}

impl Plain {
    pub(super) fn end(&self) -> u64 {
        self.base + self.buffer.len() as u64
    }

    pub(super) fn release(&mut self, keep_from: u64) {
        let count = usize::try_from(keep_from.saturating_sub(self.base)).unwrap_or(0);
        let count = count.min(self.buffer.len());
        if count > 0 && (count >= READ_BYTES || count == self.buffer.len()) {
            self.buffer.drain(..count);
            self.base += count as u64;
        }
    }
}
