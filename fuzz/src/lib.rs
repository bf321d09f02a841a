//! What the fuzz targets do with their input.
//!
//! The same functions are run by the workspace's test `fuzz_corpus` over the files
//! of `fuzz/corpus/<target>/`, with the stable compiler. Each function panics if
//! the code under test breaks a promise.

use kstrace_ring::Layout;
use tracefs::format::EventFormat;
use tracefs::print_fmt::{NoSymbols, PrintFmt};
use tracefs::{Missed, PageLayout};

/// A header of ring pages as 64-bit kernels of little-endian machines state it.
const HEADER_PAGE: &str = "\tfield: u64 timestamp;\toffset:0;\tsize:8;\tsigned:0;\n\
    \tfield: local_t commit;\toffset:8;\tsize:8;\tsigned:1;\n\
    \tfield: int overwrite;\toffset:8;\tsize:1;\tsigned:1;\n\
    \tfield: char data;\toffset:16;\tsize:4080;\tsigned:0;\n";

/// A target's name and what it does with an input.
pub type Target = (&'static str, fn(&[u8]));

/// The targets by name.
pub const TARGETS: [Target; 4] = [
    ("format", format),
    ("print_fmt", print_fmt),
    ("page", page),
    ("ring_superblock", ring_superblock),
];

/// A format file: an error, or the same bytes again.
pub fn format(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Ok(format) = EventFormat::parse(text) {
        assert_eq!(format.to_string(), text);
    }
}

/// A format file, a NUL, and an entry: any text, in bounded size.
pub fn print_fmt(data: &[u8]) {
    let end = data.iter().position(|b| *b == 0).unwrap_or(data.len());
    let (text, entry) = data.split_at(end);
    let Ok(text) = std::str::from_utf8(text) else {
        return;
    };
    let Ok(format) = EventFormat::parse(text) else {
        return;
    };
    let (compiled, _) = PrintFmt::compile_or_fields(&format);
    let entry = entry.get(1..).unwrap_or_default();
    let mut out = b"kept".to_vec();
    compiled.render(entry, &NoSymbols, &mut out);
    assert!(out.starts_with(b"kept"), "rendering appends");
    PrintFmt::fields(&format).render(entry, &NoSymbols, &mut out);
}

/// A sub-buffer of ftrace's ring: events within it, as many as it can hold.
pub fn page(data: &[u8]) {
    let Ok(layout) = PageLayout::parse(HEADER_PAGE) else {
        panic!("the header is a good one")
    };
    let Some(page) = layout.page(data) else {
        return;
    };
    let bounds = data.as_ptr_range();
    let mut events = page.events();
    let mut count = 0;
    for event in events.by_ref() {
        count += 1;
        let range = event.data.as_ptr_range();
        assert!(range.start >= bounds.start && range.end <= bounds.end);
    }
    assert!(
        count <= data.len() / 4,
        "an event takes four bytes at least"
    );
    let _ = (events.fault(), matches!(page.missed, Missed::None));
}

/// The length of a mapping (8 bytes) and a ring's header: an error, or a layout
/// that stays within the mapping.
pub fn ring_superblock(data: &[u8]) {
    let Some((length, header)) = data.split_first_chunk::<8>() else {
        return;
    };
    let mapping_len = u64::from_le_bytes(*length);
    let _ = Layout::header_len(header);
    let Ok(layout) = Layout::parse(header, mapping_len) else {
        return;
    };
    for lane in &layout.lanes {
        let end = lane.data_offset as u64 + lane.data_bytes() as u64;
        assert!(
            end <= mapping_len,
            "lane {} ends behind the mapping",
            lane.lane
        );
    }
}
