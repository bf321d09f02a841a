//! Makes pages (sub-buffers) of the kernel's ring buffer, as [`Page`](crate::Page) reads them.

use crate::page::Missed;
use crate::page_format as format;
use crate::page_layout::{Endian, PageLayout};
use std::ops::Range;

/// Fills one page after the other.
///
/// The writer does not own the pages' bytes: each call gets those of the page
/// that is being filled, which must be the same ones until [`finish`](Self::finish).
#[derive(Clone, Debug)]
pub struct PageWriter {
    layout: PageLayout,
    /// Bytes for events in a page.
    room_bytes: usize,
    /// Bytes of events in the page so far, and of them at most.
    used: usize,
    limit: usize,
    /// Time of the last event.
    time_raw: u64,
    missed: Missed,
}

impl PageWriter {
    /// A writer of pages of a size, which must have room for a header and an event.
    ///
    /// `None` if it has not, or if it is larger than a page's header can say.
    pub fn new(layout: PageLayout, page_size_bytes: usize) -> Option<Self> {
        let room_bytes = page_size_bytes.checked_sub(layout.data_offset)?;
        let least = format::EXTENDED_HEADER_BYTES + layout.long_size_bytes + 4;
        if room_bytes < least || room_bytes as u64 > format::COMMIT_MASK {
            return None;
        }
        Some(PageWriter {
            layout,
            room_bytes,
            used: 0,
            limit: room_bytes,
            time_raw: 0,
            missed: Missed::None,
        })
    }

    /// Length of the longest entry that a page has room for.
    pub fn longest_entry_bytes(&self) -> usize {
        (self.room_bytes - self.layout.long_size_bytes - format::LONG_HEADER_BYTES) & !3
    }

    /// Whether the page has no event yet.
    pub fn is_empty(&self) -> bool {
        self.used == 0
    }

    /// Says that events were lost before the page's first one. Only for an empty page.
    pub fn set_missed(&mut self, missed: Missed) {
        debug_assert!(self.is_empty());
        self.missed = missed;
        let count_bytes = match missed {
            // The number has its place behind the last event.
            Missed::Count(_) => self.layout.long_size_bytes,
            Missed::None | Missed::Unknown => 0,
        };
        self.limit = self.room_bytes - count_bytes;
    }

    /// Loss that was announced for this page.
    pub fn missed(&self) -> Missed {
        self.missed
    }

    /// Adds an event, whose data are then to be written to the place in the page that is
    /// given: it is `len_bytes` long.
    ///
    /// `None` if it does not fit: because the page has no room left, or because the
    /// event is older than the one before it or too much younger for one page. It
    /// then fits into a new page, unless it is longer than
    /// [`longest_entry_bytes`](Self::longest_entry_bytes).
    #[inline]
    pub fn add(
        &mut self,
        page: &mut [u8],
        time_raw: u64,
        len_bytes: usize,
    ) -> Option<Range<usize>> {
        let first = self.used == 0;
        // The first event's time is the page's.
        let delta = if first {
            0
        } else {
            time_raw.checked_sub(self.time_raw)?
        };
        let padded = len_bytes.next_multiple_of(4);
        let extend = delta >> format::DELTA_BITS != 0;
        let short = (1..=format::LONGEST_SHORT_BYTES).contains(&padded);
        let header = if short { 4 } else { format::LONG_HEADER_BYTES };
        let extend_bytes = if extend { 8 } else { 0 };
        let end = self.used + extend_bytes + header + padded;
        if end > self.limit {
            return None;
        }
        if first {
            let place = page_part(page, self.layout.timestamp_offset, 8)?;
            put_u64(place, time_raw, self.layout.endian);
        }
        let base = self.layout.data_offset;
        let mut room = page.get_mut(base + self.used..base + end)?;
        let delta = if extend {
            let upper = u32::try_from(delta >> format::DELTA_BITS).ok()?;
            let lower = (delta & format::DELTA_MASK) as u32;
            let (place, rest) = room.split_at_mut(8);
            let (first, second) = place.split_at_mut(4);
            self.put(first, self.header(format::TYPE_TIME_EXTEND, lower));
            self.put(second, upper);
            room = rest;
            0
        } else {
            // Fits: 27 bits.
            delta as u32
        };
        let (place, mut data) = room.split_at_mut(4);
        if short {
            // At most 28.
            self.put(place, self.header((padded / 4) as u32, delta));
        } else {
            self.put(place, self.header(0, delta));
            let (length, rest) = data.split_at_mut(4);
            // It counts itself. A page is below 1 GiB.
            self.put(length, padded as u32 + 4);
            data = rest;
        }
        if let Some(padding) = data.get_mut(len_bytes..) {
            padding.fill(0);
        }
        self.time_raw = time_raw;
        self.used = end;
        let start = base + end - padded;
        Some(start..start + len_bytes)
    }

    /// Completes the page: writes its header and clears what is unused. The
    /// writer is then ready for the next one.
    pub fn finish(&mut self, page: &mut [u8]) {
        let (flags, count) = match self.missed {
            Missed::None => (0, None),
            Missed::Unknown => (format::MISSED_EVENTS, None),
            Missed::Count(count) => (format::MISSED_EVENTS | format::MISSED_STORED, Some(count)),
        };
        let commit = self.used as u64 | flags;
        let layout = self.layout;
        if self.used == 0
            && let Some(place) = page_part(page, layout.timestamp_offset, 8)
        {
            put_u64(place, self.time_raw, layout.endian);
        }
        if let Some(rest) = page.get_mut(layout.data_offset + self.used..) {
            rest.fill(0);
            if let (Some(count), Some(place)) = (count, rest.get_mut(..layout.long_size_bytes)) {
                put_long(place, count, &layout);
            }
        }
        if let Some(place) = page_part(page, layout.commit_offset, layout.long_size_bytes) {
            put_long(place, commit, &layout);
        }
        self.used = 0;
        self.set_missed(Missed::None);
    }

    #[inline]
    fn header(&self, type_len: u32, delta: u32) -> u32 {
        match self.layout.endian {
            Endian::Little => type_len | delta << 5,
            Endian::Big => type_len << format::DELTA_BITS | delta,
        }
    }

    #[inline]
    fn put(&self, place: &mut [u8], word: u32) {
        place.copy_from_slice(&match self.layout.endian {
            Endian::Little => word.to_le_bytes(),
            Endian::Big => word.to_be_bytes(),
        });
    }
}

fn page_part(page: &mut [u8], offset: usize, len: usize) -> Option<&mut [u8]> {
    page.get_mut(offset..offset + len)
}

fn put_u64(place: &mut [u8], number: u64, endian: Endian) {
    place.copy_from_slice(&match endian {
        Endian::Little => number.to_le_bytes(),
        Endian::Big => number.to_be_bytes(),
    });
}

/// A count that does not fit 32 bits is as large as they can say.
fn put_long(place: &mut [u8], number: u64, layout: &PageLayout) {
    if layout.long_size_bytes == 4 {
        let number = u32::try_from(number).unwrap_or(u32::MAX);
        place.copy_from_slice(&match layout.endian {
            Endian::Little => number.to_le_bytes(),
            Endian::Big => number.to_be_bytes(),
        });
    } else {
        put_u64(place, number, layout.endian);
    }
}
