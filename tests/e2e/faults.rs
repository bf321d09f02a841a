//! Files with one fault each, made from the corpus and named by the fault: what is said of each,
//! and what is delivered.

use super::corpus::{check, corpus, told};
use super::support::scratch;
use std::fs;

/// Does one harm to a file.
type Harm = fn(&mut Vec<u8>);

fn matrix(snapshot: &str, name: &str, faults: &[(&str, Harm)]) {
    let text: String = faults
        .iter()
        .map(|(fault, harm)| {
            let dir = scratch();
            let mut bytes = fs::read(corpus(name)).expect("a file of the corpus");
            let before = bytes.clone();
            harm(&mut bytes);
            assert_ne!(bytes, before, "{fault} does no harm");
            let path = dir.path().join(name);
            fs::write(&path, bytes).expect("written");
            format!("{fault}\n{}\n", told(&path, "text", dir.path()))
        })
        .collect();
    check(snapshot, &text);
}

fn put<const N: usize>(bytes: &mut [u8], at: usize, value: [u8; N]) {
    bytes[at..at + N].copy_from_slice(&value);
}

fn u16_at(bytes: &[u8], at: usize) -> usize {
    u16::from_le_bytes(bytes[at..at + 2].try_into().expect("two bytes")).into()
}

fn u64_at(bytes: &[u8], at: usize) -> usize {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes")) as usize
}

/// Where the first record of a type stands in a perf.data file. `perf_file_header` says where
/// the records begin (byte 40) and how many bytes they are (byte 48).
fn record(bytes: &[u8], kind: u32) -> usize {
    let mut at = u64_at(bytes, 40);
    while bytes[at..at + 4] != kind.to_le_bytes() {
        at += u16_at(bytes, at + 6);
    }
    at
}

/// Where the `perf_file_section` of the feature with that bit stands: they follow the records.
fn feature(bytes: &[u8], bit: usize) -> usize {
    let has = |bit: usize| bytes[72 + bit / 8] >> (bit % 8) & 1 == 1;
    let before = (0..bit).filter(|b| has(*b)).count();
    u64_at(bytes, 40) + u64_at(bytes, 48) + 16 * before
}

const MMAP: u32 = 1;
const COMM: u32 = 3;
const SAMPLE: u32 = 9;
const MMAP2: u32 = 10;
const COMPRESSED: u32 = 81;

#[test]
fn of_samples_of_perf() {
    matrix(
        "faults_perf_samples",
        "samples.data",
        &[
            ("magic_of_nothing", |b| b[0] = b'X'),
            ("header_size_zero", |b| put(b, 8, [0; 8])),
            ("attr_size_zero", |b| put(b, 16, [0; 8])),
            ("attr_size_huge", |b| put(b, 16, [0xff; 8])),
            ("attrs_beyond_the_end", |b| put(b, 24, [0x7f; 8])),
            ("attrs_size_huge", |b| put(b, 32, [0xff; 8])),
            ("attr_ids_beyond_the_end", |b| {
                let ids = u64_at(b, 24) + u64_at(b, 16) - 16;
                put(b, ids, [0x7f; 8]);
            }),
            ("attr_sample_type_of_the_future", |b| {
                let attr = u64_at(b, 24);
                b[attr + 24 + 7] = 0x40;
            }),
            ("data_size_zero_as_left_by_a_kill", |b| put(b, 48, [0; 8])),
            ("data_section_beyond_the_end", |b| {
                put(b, 48, u64::MAX.to_le_bytes());
            }),
            ("record_of_size_zero", |b| {
                let at = record(b, SAMPLE);
                put(b, at + 6, [0; 2]);
            }),
            ("record_smaller_than_its_header", |b| {
                let at = record(b, SAMPLE);
                put(b, at + 6, [4, 0]);
            }),
            ("record_beyond_the_section", |b| {
                let at = record(b, SAMPLE);
                put(b, at + 6, [0xf8, 0xff]);
            }),
            ("record_of_an_unknown_kernel_type", |b| {
                let at = record(b, SAMPLE);
                put(b, at, [50, 0, 0, 0]);
            }),
            ("record_of_an_unknown_user_type", |b| {
                let at = record(b, SAMPLE);
                put(b, at, [0xff, 0xff, 0, 0]);
            }),
            ("callchain_longer_than_its_record", |b| {
                // ip, tid, time, period stand before the number of frames.
                let at = record(b, SAMPLE) + 8;
                let chain = (at..at + 80)
                    .step_by(8)
                    .find(|at| u64_at(b, *at) < 128)
                    .expect("a callchain");
                put(b, chain, [0xff; 8]);
            }),
            ("comm_without_an_end", |b| {
                let at = record(b, COMM) + 16;
                put(b, at, [b'x'; 16]);
            }),
            ("mapping_around_the_end_of_all_addresses", |b| {
                let at = record(b, MMAP2) + 16;
                put(b, at, [0xff; 16]);
            }),
            ("mapping_of_the_kernel_without_a_name", |b| {
                let at = record(b, MMAP) + 40;
                put(b, at, [0xff; 8]);
            }),
            ("feature_beyond_the_end", |b| {
                let at = feature(b, 11);
                put(b, at, [0x7f; 8]);
            }),
            ("feature_of_huge_size", |b| {
                let at = feature(b, 11);
                put(b, at + 8, [0x7f; 8]);
            }),
            ("feature_string_longer_than_its_section", |b| {
                let at = u64_at(b, feature(b, 3));
                put(b, at, [0xff; 4]);
            }),
            ("event_desc_of_many_events", |b| {
                let at = u64_at(b, feature(b, 12));
                put(b, at, [0xff; 4]);
            }),
            ("a_feature_no_perf_knows", |b| b[72 + 31] |= 0x80),
            ("cut_in_the_magic", |b| b.truncate(5)),
            ("cut_in_the_header", |b| b.truncate(50)),
            ("cut_in_the_attrs", |b| b.truncate(200)),
            ("cut_in_a_record", |b| {
                let at = record(b, SAMPLE);
                b.truncate(at + 20);
            }),
            ("cut_in_the_features", |b| {
                let at = feature(b, 16);
                b.truncate(at + 3);
            }),
        ],
    );
}

#[test]
fn of_tracepoints_of_perf() {
    /// Feature 1, `HEADER_TRACING_DATA`.
    fn tracing_data(b: &[u8]) -> usize {
        u64_at(b, feature(b, 1))
    }
    fn after(b: &[u8], what: &[u8]) -> usize {
        let found = b.windows(what.len()).position(|w| w == what);
        found.expect("it stands in the file") + what.len()
    }
    matrix(
        "faults_perf_tracepoints",
        "tracepoints.data",
        &[
            ("cut_in_the_middle", |b| b.truncate(b.len() / 2)),
            ("tracing_data_of_no_tracer", |b| {
                let at = tracing_data(b);
                b[at] = 0;
            }),
            ("tracing_data_of_version_9", |b| {
                let at = after(b, b"tracing");
                b[at + 2] = b'9';
            }),
            ("header_page_of_huge_size", |b| {
                let at = after(b, b"header_page\0");
                put(b, at, [0xff; 8]);
            }),
            ("many_formats", |b| {
                // The formats of the tracer itself: how many, then the size of each.
                let at = after(b, b"header_event\0");
                let at = at + 8 + u64_at(b, at);
                put(b, at, [0xff; 4]);
            }),
            ("format_that_is_none", |b| {
                let at = after(b, b"name: sched_switch\nID:");
                b[at - 3] = b'X';
            }),
            ("format_with_a_field_beyond_its_record", |b| {
                let at = after(b, b"pid_t next_pid;\toffset:");
                b[at] = b'9';
            }),
            ("print_format_without_an_end", |b| {
                let at = after(b, b"prev_comm=%s prev_pid=%d");
                b[at] = b'"';
            }),
            ("raw_data_longer_than_its_record", |b| {
                // ip, tid, time, cpu, period, then the size of the raw data.
                let at = record(b, SAMPLE);
                let raw = (at + 8..at + 64)
                    .step_by(4)
                    .find(|at| b[at + 4..at + 6] == [0xbb, 1] || b[at + 4..at + 6] == [0x3c, 1])
                    .expect("raw data");
                put(b, raw, [0xff, 0xff, 0xff, 0x7f]);
            }),
        ],
    );
}

#[test]
fn of_compressed_samples_of_perf() {
    matrix(
        "faults_perf_compressed",
        "group_compressed.data",
        &[
            ("compressed_by_something_else", |b| {
                let at = record(b, COMPRESSED);
                put(b, at + 8, [0; 4]);
            }),
            ("compressed_record_cut_short", |b| {
                let at = record(b, COMPRESSED);
                put(b, at + 6, [64, 0]);
            }),
            ("compressed_data_damaged", |b| {
                let at = record(b, COMPRESSED);
                put(b, at + 60, [0xa5; 16]);
            }),
            ("compression_of_an_unknown_kind", |b| {
                let at = u64_at(b, feature(b, 27));
                put(b, at + 4, [9, 0, 0, 0]);
            }),
            ("read_values_of_many_events", |b| {
                // PERF_FORMAT_GROUP is bit 3 of read_format, at 32 in the attr.
                let attr = u64_at(b, 24);
                b[attr + 32] ^= 0b1000;
            }),
        ],
    );
}

#[test]
fn of_a_stream_of_perf() {
    matrix(
        "faults_perf_stream",
        "stream.data",
        &[
            ("header_size_huge", |b| put(b, 8, [0xff; 8])),
            ("attr_of_size_zero", |b| put(b, 16 + 8 + 4, [0; 4])),
            ("attr_of_size_huge", |b| put(b, 16 + 8 + 4, [0xff; 4])),
            ("first_record_of_size_zero", |b| put(b, 16 + 6, [0; 2])),
            ("feature_record_without_an_end", |b| {
                put(b, 168 + 16, [0xff; 4]);
            }),
            ("cut_in_the_first_record", |b| b.truncate(60)),
            ("cut_in_the_last_record", |b| b.truncate(b.len() - 3)),
        ],
    );
}

#[test]
fn of_a_version_6_trace_dat() {
    fn after(b: &[u8], what: &[u8]) -> usize {
        let found = b.windows(what.len()).position(|w| w == what);
        found.expect("it stands in the file") + what.len()
    }
    /// The list of the CPUs' data: after `flyrecord`, an offset and a size each.
    fn data(b: &[u8]) -> usize {
        after(b, b"flyrecord\0")
    }
    matrix(
        "faults_trace_dat_6",
        "v6.dat",
        &[
            ("magic_of_nothing", |b| b[0] = 0),
            ("version_99", |b| put(b, 10, *b"99")),
            ("byte_order_of_the_other_kind", |b| b[12] = 1),
            ("long_of_5_bytes", |b| b[13] = 5),
            ("pages_of_no_size", |b| put(b, 14, [0; 4])),
            ("pages_of_huge_size", |b| put(b, 14, [0xff; 4])),
            ("header_page_of_huge_size", |b| {
                let at = after(b, b"header_page\0");
                put(b, at, [0xff; 8]);
            }),
            ("header_page_that_is_none", |b| {
                let at = after(b, b"header_page\0");
                put(b, at + 8, *b"\tnothing");
            }),
            ("many_formats", |b| {
                let at = after(b, b"header_event\0");
                let at = at + 8 + u64_at(b, at);
                put(b, at, [0xff; 4]);
            }),
            ("format_that_is_none", |b| {
                let at = after(b, b"name: sched_switch\nID:");
                b[at - 3] = b'X';
            }),
            ("many_cpus", |b| {
                let at = after(b, b"options  \0") - 10 - 4;
                put(b, at, [0xff; 4]);
            }),
            ("option_of_huge_size", |b| {
                let at = after(b, b"options  \0");
                put(b, at + 2, [0xff; 4]);
            }),
            ("data_beyond_the_end", |b| {
                let at = data(b);
                put(b, at, [0x7f; 8]);
            }),
            ("data_of_huge_size", |b| {
                let at = data(b);
                put(b, at + 8, [0x7f; 8]);
            }),
            ("page_with_more_than_fits", |b| {
                let page = u64_at(b, data(b));
                put(b, page + 8, [0xff, 0xff, 0, 0, 0, 0, 0, 0]);
            }),
            ("record_beyond_its_page", |b| {
                // The first record of a page: type_len 0, so its length stands in 4 bytes behind.
                let page = u64_at(b, data(b));
                put(b, page + 16, [0, 0, 0, 0, 0xff, 0xff, 0xff, 0x7f]);
            }),
            ("record_of_an_unknown_event", |b| {
                let page = u64_at(b, data(b));
                put(b, page + 20, [0xfe, 0xff]);
            }),
            ("cut_in_the_header", |b| b.truncate(16)),
            ("cut_in_the_formats", |b| b.truncate(3000)),
            ("cut_in_a_page", |b| b.truncate(b.len() - 5000)),
        ],
    );
}

#[test]
fn of_a_version_7_trace_dat() {
    /// Where the first options stand: after magic, version, byte order, long and page size come
    /// the compressor's name and version, then the offset.
    fn options_offset(b: &[u8]) -> usize {
        let found = b.windows(6).position(|w| w == b"1.5.4\0");
        found.expect("the compressor's version") + 6
    }
    /// The first option with that id: where it begins. An option is id (2), size (4), data.
    fn option(b: &[u8], id: usize) -> usize {
        let mut section = u64_at(b, options_offset(b));
        loop {
            // id, flags, name, size.
            let end = section + 16 + u64_at(b, section + 8);
            let mut at = section + 16;
            while at < end {
                let this = u16_at(b, at);
                if this == id {
                    return at;
                }
                if this == 0 {
                    section = u64_at(b, at + 6);
                }
                at += 6 + u16_at(b, at + 2);
            }
        }
    }
    /// The section that an option of 8 bytes leads to.
    fn section(b: &[u8], id: usize) -> usize {
        u64_at(b, option(b, id) + 6)
    }
    const BUFFER: usize = 3;
    const FORMATS: usize = 18;
    const COMMAND_LINES: usize = 21;
    matrix(
        "faults_trace_dat_7",
        "v7.dat",
        &[
            ("version_99", |b| put(b, 10, *b"99")),
            ("compressor_that_nobody_knows", |b| put(b, 18, *b"abcd")),
            ("options_beyond_the_end", |b| {
                let at = options_offset(b);
                put(b, at, [0x7f; 8]);
            }),
            ("options_that_follow_themselves", |b| {
                let at = option(b, 0);
                let own = u64_at(b, options_offset(b)) as u64;
                put(b, at + 6, own.to_le_bytes());
            }),
            ("option_of_huge_size", |b| {
                let at = option(b, FORMATS);
                put(b, at + 2, [0xff; 4]);
            }),
            ("option_of_an_unknown_kind", |b| {
                let at = option(b, COMMAND_LINES);
                put(b, at, [0xee, 0]);
            }),
            ("formats_beyond_the_end", |b| {
                let at = option(b, FORMATS);
                put(b, at + 6, [0x7f; 8]);
            }),
            ("section_of_another_kind", |b| {
                let at = section(b, FORMATS);
                put(b, at, [99, 0]);
            }),
            ("section_of_huge_size", |b| {
                let at = section(b, FORMATS);
                put(b, at + 8, [0xff; 8]);
            }),
            ("section_that_grows_beyond_reason", |b| {
                // After the section's head: the packed and the unpacked size.
                let at = section(b, COMMAND_LINES);
                put(b, at + 20, [0xff, 0xff, 0xff, 0x7f]);
            }),
            ("packed_formats_damaged", |b| {
                let at = section(b, FORMATS);
                put(b, at + 60, [0xa5; 8]);
            }),
            ("buffer_beyond_the_end", |b| {
                let at = option(b, BUFFER);
                put(b, at + 6, [0x7f; 8]);
            }),
            ("buffer_of_many_cpus", |b| {
                // Offset, name, clock, page size, then how many CPUs there are.
                let at = option(b, BUFFER) + 6 + 8 + 1 + 5 + 4;
                put(b, at, [0xff; 4]);
            }),
            ("packed_pages_damaged", |b| {
                let at = section(b, BUFFER);
                put(b, at + 600, [0xa5; 32]);
            }),
            ("cut_in_the_middle", |b| b.truncate(b.len() / 2)),
            ("cut_in_the_last_options", |b| b.truncate(45470)),
        ],
    );
}
