//! What no sound file exceeds, so that a bad one cannot cost much.

/// A section of texts, decompressed. `/proc/kallsyms` of a kernel with all modules has some 20 MiB.
pub(super) const SECTION_BYTES: u64 = 128 << 20;
/// `header_page` and `header_event`.
pub(super) const HEADER_BYTES: u64 = 64 << 10;
/// A format file. The longest of Linux 6.18 has some 20 KiB.
pub(super) const FORMAT_BYTES: u64 = 1 << 20;
/// All format files together.
pub(super) const FORMATS_BYTES: u64 = 128 << 20;
/// Type numbers have 16 bits.
pub(super) const FORMATS: usize = 1 << 16;
/// Systems of events.
pub(super) const SYSTEMS: u32 = 1 << 14;
/// The name of a system, an instance or a clock.
pub(super) const NAME_BYTES: usize = 4096;
/// An option. Memory maps are the largest.
pub(super) const OPTION_BYTES: u64 = 16 << 20;
/// All options together.
pub(super) const OPTIONS_BYTES: u64 = 64 << 20;
/// How many options.
pub(super) const OPTIONS: usize = 1 << 16;
/// How many sections of options.
pub(super) const OPTION_SECTIONS: usize = 1 << 12;
/// Buffers: the top one and instances.
pub(super) const BUFFERS: usize = 1 << 10;
/// CPUs. Linux can be built for 8192.
pub(super) const CPUS: u32 = 1 << 14;
/// All streams: CPUs of all buffers.
pub(super) const STREAMS: usize = 1 << 16;
/// A sub-buffer. Linux 6.8 and later allow them to be larger than a page.
pub(super) const SUB_BUFFER_BYTES: u32 = 1 << 20;
/// The smallest sub-buffer that has room for a header and an event.
pub(super) const MIN_SUB_BUFFER_BYTES: u32 = 256;
/// A chunk of compressed CPU data, in either form. trace-cmd makes them of ten pages.
pub(super) const CHUNK_BYTES: u32 = 16 << 20;
/// With very many CPUs, chunks must be smaller: but not smaller than this.
pub(super) const SMALL_CHUNK_BYTES: u32 = 128 << 10;
/// What all streams together may hold of pages, and again of chunks.
pub(super) const STREAMS_BYTES: u64 = 1 << 30;
