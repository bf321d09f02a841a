//! Full sub-buffers of ftrace's ring.

use tracefs::PageLayout;

/// Bytes of a `raw_syscalls:sys_enter` entry.
const ENTRY_BYTES: usize = 64;
/// Nanoseconds from event to event.
const DELTA_NS: u32 = 400;

/// A sub-buffer of this size with as many entries of 64 bytes as fit, as a
/// 64-bit kernel of this machine's byte order writes it.
pub fn full(size_bytes: usize) -> Vec<u8> {
    let header_bytes = PageLayout::NATIVE_64.header_size_bytes();
    let events = events_in(size_bytes);
    let committed = events * (4 + ENTRY_BYTES);
    let mut page = Vec::with_capacity(size_bytes);
    page.extend(1_000_000_000u64.to_ne_bytes());
    page.extend((committed as u64).to_ne_bytes());
    assert_eq!(page.len(), header_bytes);
    // `type_len` counts words of 4 bytes, and is the lower 5 bits on little-endian machines.
    let words = (ENTRY_BYTES / 4) as u32;
    let event_header = if cfg!(target_endian = "little") {
        words | DELTA_NS << 5
    } else {
        words << 27 | DELTA_NS
    };
    for number in 0..events {
        page.extend(event_header.to_ne_bytes());
        page.extend([number as u8; ENTRY_BYTES]);
    }
    page.resize(size_bytes, 0);
    page
}

/// Events in such a sub-buffer.
pub fn events_in(size_bytes: usize) -> usize {
    (size_bytes - PageLayout::NATIVE_64.header_size_bytes()) / (4 + ENTRY_BYTES)
}
