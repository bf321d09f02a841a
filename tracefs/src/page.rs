//! Decodes the pages (sub-buffers) of the kernel's ring buffer.
//!
//! Sans-IO: bytes in, events out, nothing allocated. The format is that of
//! `include/linux/ring_buffer.h` and `kernel/trace/ring_buffer.c`: a page header
//! (time of the first event's base, bytes committed with flags), then events of
//! a 32-bit header (5 bits `type_len`, 27 bits `time_delta`) and data.

use crate::page_format::{
    COMMIT_MASK, DELTA_BITS, MISSED_EVENTS, MISSED_STORED, STAMP_MISSING_BITS, TYPE_PADDING,
    TYPE_TIME_EXTEND, TYPE_TIME_STAMP,
};
use crate::page_layout::{Endian, PageLayout};

/// Events lost between the page before and this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missed {
    /// None.
    None,
    /// So many.
    Count(u64),
    /// Some; the page had no room left to say how many.
    Unknown,
}

/// A page: its header, and the bytes of its events.
#[derive(Clone, Copy, Debug)]
pub struct Page<'a> {
    /// The time that the deltas of its events count from, in the trace clock's units.
    pub time_raw: u64,
    /// Events lost before it.
    pub missed: Missed,
    /// The events, one after the other.
    data: &'a [u8],
    /// Bytes that are committed by the header but were not given.
    cut_bytes: usize,
    endian: Endian,
}

/// An event of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RawEvent<'a> {
    /// Its time in the trace clock's units.
    pub time_raw: u64,
    /// Its data, padded by the kernel to a multiple of 4 bytes. Begins with the
    /// common fields.
    pub data: &'a [u8],
}

/// Why the rest of a page cannot be decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{kind} at byte {offset} of the page's data")]
pub struct PageFault {
    /// Offset of the event that cannot be decoded, from the first event.
    pub offset: usize,
    /// What is wrong with it.
    pub kind: PageFaultKind,
}

/// What is wrong with an event of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PageFaultKind {
    /// It needs more bytes than are committed.
    #[error("an event needs {needed} bytes but {left} are left")]
    PastEnd {
        /// With its header.
        needed: usize,
        /// To the end of what is committed.
        left: usize,
    },
    /// A long event or a padding whose stated length cannot be.
    #[error("an event states the impossible length {0}")]
    Length(u32),
    /// The page is shorter than its header says.
    #[error("the page is cut off, {missing} committed bytes are missing")]
    Cut {
        /// How many.
        missing: usize,
    },
}

impl<'a> Page<'a> {
    #[inline]
    pub(crate) fn read(layout: &PageLayout, bytes: &'a [u8]) -> Option<Self> {
        let endian = layout.endian;
        let time_raw = u64_at(bytes, layout.timestamp_offset, endian)?;
        let commit = long_at(bytes, layout.commit_offset, layout.long_size_bytes, endian)?;
        let room = bytes.get(layout.data_offset..)?;
        // Fits: 30 bits.
        let committed = (commit & COMMIT_MASK) as usize;
        let data = room.get(..committed).unwrap_or(room);
        let missed = if commit & MISSED_EVENTS == 0 {
            Missed::None
        } else if commit & MISSED_STORED == 0 {
            Missed::Unknown
        } else {
            long_at(room, committed, layout.long_size_bytes, endian)
                .map_or(Missed::Unknown, Missed::Count)
        };
        Some(Page {
            time_raw,
            missed,
            data,
            cut_bytes: committed - data.len(),
            endian,
        })
    }

    /// Bytes committed.
    pub fn data(&self) -> &'a [u8] {
        self.data
    }

    /// Its events in order.
    #[inline]
    pub fn events(&self) -> Events<'a> {
        self.events_from(Position {
            offset: 0,
            time_raw: self.time_raw,
        })
    }

    /// The events from a position on that [`Events::position`] gave.
    #[inline]
    pub fn events_from(&self, position: Position) -> Events<'a> {
        Events {
            data: self.data,
            offset: position.offset,
            time_raw: position.time_raw,
            endian: self.endian,
            cut_bytes: self.cut_bytes,
            fault: None,
        }
    }
}

/// How far a page has been decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    offset: usize,
    time_raw: u64,
}

/// The events of a page, one by one. After the last one, [`fault`](Self::fault)
/// says whether that was all of them.
#[derive(Clone, Debug)]
pub struct Events<'a> {
    data: &'a [u8],
    offset: usize,
    time_raw: u64,
    endian: Endian,
    cut_bytes: usize,
    fault: Option<PageFault>,
}

impl<'a> Events<'a> {
    /// Where the next event begins.
    #[inline]
    pub fn position(&self) -> Position {
        Position {
            offset: self.offset,
            time_raw: self.time_raw,
        }
    }

    /// Why decoding ended before the page's end; `None` if it did not.
    pub fn fault(&self) -> Option<PageFault> {
        self.fault
    }

    /// Ends with a fault at the event that begins at the offset.
    #[cold]
    fn fail(&mut self, kind: PageFaultKind) {
        let fault = PageFault {
            offset: self.offset,
            kind,
        };
        self.fault = Some(
            if self.cut_bytes > 0 && matches!(kind, PageFaultKind::PastEnd { .. }) {
                PageFault {
                    kind: PageFaultKind::Cut {
                        missing: self.cut_bytes,
                    },
                    ..fault
                }
            } else {
                fault
            },
        );
        self.offset = self.data.len();
    }

    /// No more whole header: the end, or a fault.
    #[cold]
    fn end(&mut self) {
        let left = self.data.len().saturating_sub(self.offset);
        if left > 0 {
            self.fail(PageFaultKind::PastEnd { needed: 4, left });
        } else if self.cut_bytes > 0 && self.fault.is_none() {
            self.fail(PageFaultKind::Cut {
                missing: self.cut_bytes,
            });
        }
    }

    /// An event of a given kind needs `needed` bytes, which are not there.
    #[cold]
    fn past_end(&mut self, needed: usize) {
        let left = self.data.len().saturating_sub(self.offset);
        self.fail(PageFaultKind::PastEnd { needed, left });
    }
}

impl<'a> Iterator for Events<'a> {
    type Item = RawEvent<'a>;

    #[inline]
    fn next(&mut self) -> Option<RawEvent<'a>> {
        loop {
            let at = self.offset;
            let Some(header) = u32_at(self.data, at, self.endian) else {
                self.end();
                return None;
            };
            let (type_len, delta) = match self.endian {
                Endian::Little => (header & 0x1f, u64::from(header >> 5)),
                Endian::Big => (
                    header >> DELTA_BITS,
                    u64::from(header & ((1 << DELTA_BITS) - 1)),
                ),
            };
            if let 1..TYPE_PADDING = type_len {
                let start = at + 4;
                let end = start + type_len as usize * 4;
                let Some(data) = self.data.get(start..end) else {
                    self.past_end(end - at);
                    return None;
                };
                self.time_raw = self.time_raw.wrapping_add(delta);
                self.offset = end;
                return Some(RawEvent {
                    time_raw: self.time_raw,
                    data,
                });
            }
            // Everything else has a second word, only the end of the page need not.
            if type_len == TYPE_PADDING && delta == 0 {
                self.offset = self.data.len();
                self.end();
                return None;
            }
            let Some(word) = u32_at(self.data, at + 4, self.endian) else {
                self.past_end(8);
                return None;
            };
            match type_len {
                0 => {
                    // The length counts this word too.
                    if word < 4 {
                        self.fail(PageFaultKind::Length(word));
                        return None;
                    }
                    let end = (at + 4).saturating_add(word as usize);
                    let Some(data) = self.data.get(at + 8..end) else {
                        self.past_end(end - at);
                        return None;
                    };
                    self.time_raw = self.time_raw.wrapping_add(delta);
                    // The kernel pads; a length that is not a multiple of 4 comes from no kernel.
                    self.offset = end.next_multiple_of(4);
                    return Some(RawEvent {
                        time_raw: self.time_raw,
                        data,
                    });
                }
                TYPE_PADDING => {
                    let end = (at + 4).saturating_add(word as usize);
                    if word < 4 {
                        self.fail(PageFaultKind::Length(word));
                        return None;
                    }
                    if end > self.data.len() {
                        self.past_end(end - at);
                        return None;
                    }
                    // A discarded event's delta counts; 1 stands in for 0, which would end the page.
                    if delta != 1 {
                        self.time_raw = self.time_raw.wrapping_add(delta);
                    }
                    self.offset = end.next_multiple_of(4);
                }
                TYPE_TIME_EXTEND => {
                    let extend = (u64::from(word) << DELTA_BITS) + delta;
                    self.time_raw = self.time_raw.wrapping_add(extend);
                    self.offset = at + 8;
                }
                _ => {
                    debug_assert_eq!(type_len, TYPE_TIME_STAMP);
                    let stamp = (u64::from(word) << DELTA_BITS) + delta;
                    self.time_raw = restore_upper_bits(stamp, self.time_raw);
                    self.offset = at + 8;
                }
            }
        }
    }
}

/// An absolute stamp has 59 bits; the upper 5 are those of the time before it,
/// one more if the 59 bits have gone round since. A stamp that is merely a
/// little behind has not gone round.
#[inline]
fn restore_upper_bits(stamp: u64, before: u64) -> u64 {
    let full = stamp | (before & STAMP_MISSING_BITS);
    if before.wrapping_sub(full) > 1 << 58 && full < before {
        full.wrapping_add(1 << 59)
    } else {
        full
    }
}

#[inline]
fn u32_at(bytes: &[u8], offset: usize, endian: Endian) -> Option<u32> {
    let word = *bytes.get(offset..)?.first_chunk::<4>()?;
    Some(match endian {
        Endian::Little => u32::from_le_bytes(word),
        Endian::Big => u32::from_be_bytes(word),
    })
}

#[inline]
fn u64_at(bytes: &[u8], offset: usize, endian: Endian) -> Option<u64> {
    let word = *bytes.get(offset..)?.first_chunk::<8>()?;
    Some(match endian {
        Endian::Little => u64::from_le_bytes(word),
        Endian::Big => u64::from_be_bytes(word),
    })
}

#[inline]
fn long_at(bytes: &[u8], offset: usize, size_bytes: usize, endian: Endian) -> Option<u64> {
    if size_bytes == 4 {
        u32_at(bytes, offset, endian).map(u64::from)
    } else {
        u64_at(bytes, offset, endian)
    }
}
