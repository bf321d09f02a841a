//! What the fuzz targets do with their input.
//!
//! The same functions are run by the workspace's test `fuzz_corpus` over the files
//! of `fuzz/corpus/<target>/`, with the stable compiler. Each function panics if
//! the code under test breaks a promise.

mod ctf;
mod perf;

pub use ctf::{ctf_json, ctf_packets, ctf_trace, ctf_tsdl};

use kstrace_ftrace::file::TraceDatReader;
use kstrace_ring::Layout;
use kstrace_schema::merge::Merger;
use kstrace_schema::{EventRecord, EventRecordClass, FileInput, Loss, Sink, Source};
pub use perf::{perf_data, perf_directory, perf_records, perf_rewrite};
use std::sync::Arc;
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
pub const TARGETS: [Target; 13] = [
    ("format", format),
    ("print_fmt", print_fmt),
    ("page", page),
    ("ring_superblock", ring_superblock),
    ("trace_dat", trace_dat),
    ("perf_data", perf_data),
    ("perf_directory", perf_directory),
    ("perf_records", perf_records),
    ("perf_rewrite", perf_rewrite),
    ("ctf_tsdl", ctf_tsdl),
    ("ctf_json", ctf_json),
    ("ctf_packets", ctf_packets),
    ("ctf_trace", ctf_trace),
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

/// Takes records and checks what is promised of them.
#[derive(Default)]
struct Sorted {
    classes: Vec<Option<Arc<EventRecordClass>>>,
    last_ns: u64,
}

impl Sink for Sorted {
    fn class(&mut self, class: &Arc<EventRecordClass>) -> kstrace_schema::Result<()> {
        let index = usize::from(class.id.0);
        if self.classes.len() <= index {
            self.classes.resize(index + 1, None);
        }
        self.classes[index] = Some(Arc::clone(class));
        Ok(())
    }

    fn record(&mut self, record: &EventRecord<'_>) -> kstrace_schema::Result<()> {
        let class = self.classes.get(usize::from(record.class.0));
        assert!(class.is_some_and(Option::is_some), "a class comes first");
        assert!(record.time.as_ns() >= self.last_ns, "time goes back");
        self.last_ns = record.time.as_ns();
        Ok(())
    }

    fn loss(&mut self, loss: &Loss) -> kstrace_schema::Result<()> {
        assert!(loss.begin <= loss.end);
        Ok(())
    }
}

/// A trace.dat: an error, or sorted records and an end.
pub fn trace_dat(data: &[u8]) {
    let Ok(mut reader) = TraceDatReader::from_reader(data, "input") else {
        return;
    };
    let _ = (reader.session().sources.len(), reader.stated_accounts());
    let mut sink = Sorted::default();
    let Ok(streams) = reader.streams(&mut sink) else {
        return;
    };
    let mut merger = Merger::new(streams);
    // Each round takes in some pages or hands some records on.
    for _ in 0..=data.len() {
        match merger.round(&mut sink) {
            Ok(round) if !round.finished() => {}
            _ => {
                let _ = merger.finish(&mut sink);
                return;
            }
        }
    }
    panic!("reading does not end");
}
