//! Where the records are read from: a file, or a stream.

use super::damage::Place;
use super::map::FileMap;
use kstrace_schema::{Error, Result};
use std::fmt;
use std::io::{ErrorKind, Read};

/// How much of a stream is read at once.
const READ_BYTES: usize = 256 << 10;
/// How much of a file is brought in at once.
const WINDOW_BYTES: u64 = 4 << 20;

/// The bytes that records are in, by their offset in the file or stream.
///
/// A file is looked at where it is. A round of its records is gone through twice, to find its
/// runs and to hand them on, and can be larger than any cache: copying it would only add to that.
pub(super) struct Outer {
    reader: Box<dyn Read + Send>,
    map: Option<FileMap>,
    /// Where a file's records end.
    map_end: usize,
    /// Up to where the file was asked for.
    wanted_to: u64,
    /// Up to where it was let go.
    released_to: u64,
    /// Of a stream: all of it is initialised; what counts is from `start` to `used`.
    buffer: Vec<u8>,
    start: usize,
    used: usize,
    /// Offset of the byte at `start`.
    base: u64,
    ended: bool,
}

impl fmt::Debug for Outer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outer")
            .field("base", &self.base)
            .field("held", &(self.used - self.start))
            .field("map", &self.map)
            .finish_non_exhaustive()
    }
}

impl Outer {
    /// A stretch of a file.
    pub(super) fn file(map: FileMap, start: u64, end: u64) -> Self {
        let end = usize::try_from(end).unwrap_or(usize::MAX);
        Outer {
            map_end: end.min(map.bytes().len()),
            map: Some(map),
            wanted_to: start,
            released_to: start,
            ..Self::stream(Box::new(std::io::empty()))
        }
    }

    /// A stream from its beginning.
    pub(super) fn stream(reader: Box<dyn Read + Send>) -> Self {
        Outer {
            reader,
            map: None,
            map_end: 0,
            wanted_to: 0,
            released_to: 0,
            buffer: Vec::new(),
            start: 0,
            used: 0,
            base: 0,
            ended: false,
        }
    }

    /// The bytes at hand and the offset of the first of them.
    #[inline]
    pub(super) fn bytes(&self) -> (&[u8], u64) {
        match &self.map {
            Some(map) => (map.bytes().get(..self.map_end).unwrap_or_default(), 0),
            None => (&self.buffer[self.start..self.used], self.base),
        }
    }

    /// Bytes that were at hand once.
    #[inline]
    pub(super) fn slice(&self, at: u64, end: u64) -> &[u8] {
        let (bytes, base) = self.bytes();
        let place = |at: u64| usize::try_from(at.wrapping_sub(base)).unwrap_or(usize::MAX);
        bytes.get(place(at)..place(end)).unwrap_or_default()
    }

    /// Makes bytes from `at` on be at hand; whether there are `len` of them.
    pub(super) fn ensure(&mut self, at: u64, len: usize, place: &Place) -> Result<bool> {
        if let Some(map) = &self.map {
            let end = self.map_end as u64;
            let needed = at.saturating_add(len as u64);
            // Early enough for what is scanned without asking again.
            if needed.saturating_add(WINDOW_BYTES).min(end) > self.wanted_to {
                let from = self.wanted_to.max(at);
                let to = needed.saturating_add(2 * WINDOW_BYTES).min(end);
                map.will_need(
                    usize::try_from(from).unwrap_or(usize::MAX),
                    usize::try_from(to.saturating_sub(from)).unwrap_or(0),
                );
                self.wanted_to = to.max(from);
            }
            return Ok(needed <= end);
        }
        loop {
            let from = usize::try_from(at.saturating_sub(self.base)).unwrap_or(usize::MAX);
            let left = (self.used - self.start).saturating_sub(from);
            if left >= len {
                return Ok(true);
            }
            if self.ended {
                return Ok(false);
            }
            self.read_more().map_err(|e| {
                let reason = format!("{}: offset {at}: records: cannot read", place.file());
                Error::io(reason, e)
            })?;
        }
    }

    fn read_more(&mut self) -> std::io::Result<()> {
        let held = self.used - self.start;
        if self.used + READ_BYTES > self.buffer.len() && self.start >= held {
            self.buffer.copy_within(self.start..self.used, 0);
            (self.start, self.used) = (0, held);
        }
        if self.used + READ_BYTES > self.buffer.len() {
            let larger = (2 * self.buffer.len()).max(self.used + READ_BYTES);
            self.buffer.resize(larger, 0);
        }
        let room = &mut self.buffer[self.used..self.used + READ_BYTES];
        match self.reader.read(room) {
            Ok(count) => {
                self.used += count;
                self.ended = count == 0;
            }
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => {
                self.ended = true;
                return Err(e);
            }
        }
        Ok(())
    }

    /// Nothing before `keep_from` is needed any more.
    pub(super) fn release(&mut self, keep_from: u64) {
        const PAGE: u64 = 4096;
        if let Some(map) = &self.map {
            let from = self.released_to.next_multiple_of(PAGE);
            let to = keep_from & !(PAGE - 1);
            if to >= from + WINDOW_BYTES {
                map.release(
                    usize::try_from(from).unwrap_or(usize::MAX),
                    usize::try_from(to - from).unwrap_or(0),
                );
                self.released_to = to;
            }
            return;
        }
        let held = self.used - self.start;
        let skip = keep_from.saturating_sub(self.base);
        let skip = usize::try_from(skip).unwrap_or(held).min(held);
        self.start += skip;
        self.base += skip as u64;
        if self.start == self.used {
            (self.start, self.used) = (0, 0);
        }
    }

    /// Bytes between these two were looked at and will be again, but not soon.
    pub(super) fn put_aside(&mut self, from: u64, to: u64) {
        const PAGE: u64 = 4096;
        if let Some(map) = &self.map {
            let (from, to) = (from.next_multiple_of(PAGE), to & !(PAGE - 1));
            map.release(
                usize::try_from(from).unwrap_or(usize::MAX),
                usize::try_from(to.saturating_sub(from)).unwrap_or(0),
            );
        }
    }

    /// Bytes kept in memory that nothing but time can free.
    pub(super) fn held_bytes(&self) -> usize {
        match self.map {
            Some(_) => 0,
            None => self.used - self.start,
        }
    }

    /// Bytes of the file, if it is one.
    pub(super) fn len_of_file(&self) -> Option<u64> {
        self.map.as_ref().map(|map| map.bytes().len() as u64)
    }

    /// Writes everything, from the very beginning; nothing may have been released.
    pub(super) fn copy_to(&mut self, target: &mut impl std::io::Write) -> std::io::Result<()> {
        target.write_all(&self.buffer[self.start..self.used])?;
        self.start = self.used;
        std::io::copy(&mut self.reader, target)?;
        target.flush()
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

    pub(super) fn slice(&self, at: u64, end: u64) -> &[u8] {
        let place = |at: u64| usize::try_from(at.wrapping_sub(self.base)).unwrap_or(usize::MAX);
        self.buffer.get(place(at)..place(end)).unwrap_or_default()
    }

    pub(super) fn release(&mut self, keep_from: u64) {
        let count = usize::try_from(keep_from.saturating_sub(self.base)).unwrap_or(0);
        let count = count.min(self.buffer.len());
        // Moving what is kept costs at most what is thrown away.
        if count > 0 && (count >= READ_BYTES && 2 * count >= self.buffer.len())
            || count == self.buffer.len()
        {
            self.buffer.drain(..count);
            self.base += count as u64;
        }
    }
}
