//! Numbers of the format of ring pages.

/// `type_len` of padding: a discarded event, or the unused end of a page.
pub(crate) const TYPE_PADDING: u32 = 29;
/// `type_len` of a time extend: 59 bits to add to the time.
pub(crate) const TYPE_TIME_EXTEND: u32 = 30;
/// `type_len` of an absolute time stamp of 59 bits.
pub(crate) const TYPE_TIME_STAMP: u32 = 31;
/// Bits of `time_delta`.
pub(crate) const DELTA_BITS: u32 = 27;
/// The upper bits that an absolute time stamp does not hold (`TS_MSB`).
pub(crate) const STAMP_MISSING_BITS: u64 = 0xf8 << 56;
/// `RB_MISSED_EVENTS`: events were lost before this page.
pub(crate) const MISSED_EVENTS: u64 = 1 << 31;
/// `RB_MISSED_STORED`: how many is stored after the data.
pub(crate) const MISSED_STORED: u64 = 1 << 30;
/// The bytes committed, without the flags.
pub(crate) const COMMIT_MASK: u64 = MISSED_STORED - 1;
/// The bits of `time_delta`.
pub(crate) const DELTA_MASK: u64 = (1 << DELTA_BITS) - 1;
/// Longest data of an event whose `type_len` is its length in words.
pub(crate) const LONGEST_SHORT_BYTES: usize = 28 * 4;
/// Header of an event whose length stands in a word of its own.
pub(crate) const LONG_HEADER_BYTES: usize = 8;
/// The same, after a time extend.
pub(crate) const EXTENDED_HEADER_BYTES: usize = 16;
