//! Writes sideband records as the kernel would.

use crate::layout::SampleIdShape;
use crate::uapi::*;

/// Texts are cut to this: a path is no longer, and a record must stay below 64 KiB.
const TEXT_LIMIT_BYTES: usize = 4096;

/// Whose record it is, and when.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stamp {
    pub(crate) trailer: SampleIdShape,
    pub(crate) pid: i32,
    pub(crate) tid: i32,
    pub(crate) time_ns: u64,
}

/// A mapping of a process, a module or the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mapping<'a> {
    pub(crate) start: u64,
    pub(crate) len: u64,
    pub(crate) file_offset: u64,
    pub(crate) major: u32,
    pub(crate) minor: u32,
    pub(crate) inode: u64,
    /// `PROT_*`.
    pub(crate) protection: u32,
    /// `MAP_*`.
    pub(crate) flags: u32,
    pub(crate) name: &'a [u8],
}

/// Appends a `PERF_RECORD_COMM`. Gives its length.
pub(crate) fn comm(out: &mut Vec<u8>, stamp: Stamp, name: &[u8]) -> usize {
    record(out, PERF_RECORD_COMM, 0, stamp, |out| {
        push_ids(out, stamp);
        push_text(out, name);
    })
}

/// Appends a `PERF_RECORD_MMAP2` with device and inode. Gives its length.
pub(crate) fn mmap2(out: &mut Vec<u8>, stamp: Stamp, m: &Mapping<'_>) -> usize {
    record(
        out,
        PERF_RECORD_MMAP2,
        PERF_RECORD_MISC_USER,
        stamp,
        |out| {
            push_ids(out, stamp);
            for word in [m.start, m.len, m.file_offset] {
                out.extend(word.to_ne_bytes());
            }
            out.extend(m.major.to_ne_bytes());
            out.extend(m.minor.to_ne_bytes());
            out.extend(m.inode.to_ne_bytes());
            out.extend(0u64.to_ne_bytes());
            out.extend(m.protection.to_ne_bytes());
            out.extend(m.flags.to_ne_bytes());
            push_text(out, m.name);
        },
    )
}

/// Appends a `PERF_RECORD_MMAP` of kernel memory. Gives its length.
pub(crate) fn kernel_mmap(out: &mut Vec<u8>, stamp: Stamp, m: &Mapping<'_>) -> usize {
    record(
        out,
        PERF_RECORD_MMAP,
        PERF_RECORD_MISC_KERNEL,
        stamp,
        |out| {
            push_ids(out, stamp);
            for word in [m.start, m.len, m.file_offset] {
                out.extend(word.to_ne_bytes());
            }
            push_text(out, m.name);
        },
    )
}

fn record(
    out: &mut Vec<u8>,
    record_type: u32,
    misc: u16,
    stamp: Stamp,
    body: impl FnOnce(&mut Vec<u8>),
) -> usize {
    let start = out.len();
    out.extend(record_type.to_ne_bytes());
    out.extend(misc.to_ne_bytes());
    out.extend([0, 0]);
    body(out);
    push_trailer(out, stamp);
    let len = out.len() - start;
    // Texts are cut to 4 KiB, so a record cannot come near 64 KiB.
    let size = u16::try_from(len).unwrap_or(u16::MAX);
    out[start + 6..start + 8].copy_from_slice(&size.to_ne_bytes());
    len
}

fn push_ids(out: &mut Vec<u8>, stamp: Stamp) {
    out.extend(stamp.pid.to_ne_bytes());
    out.extend(stamp.tid.to_ne_bytes());
}

/// The text up to its first NUL, a NUL, and zeros up to eight bytes.
fn push_text(out: &mut Vec<u8>, text: &[u8]) {
    let text = text.split(|b| *b == 0).next().unwrap_or_default();
    let text = &text[..text.len().min(TEXT_LIMIT_BYTES)];
    out.extend_from_slice(text);
    let zeros = 8 - text.len() % 8;
    out.extend(std::iter::repeat_n(0, zeros));
}

/// An id of 0 says that no event of the kernel made the record.
fn push_trailer(out: &mut Vec<u8>, stamp: Stamp) {
    let bits = stamp.trailer.bits();
    if bits & PERF_SAMPLE_TID != 0 {
        push_ids(out, stamp);
    }
    if bits & PERF_SAMPLE_TIME != 0 {
        out.extend(stamp.time_ns.to_ne_bytes());
    }
    let zeros =
        bits & (PERF_SAMPLE_ID | PERF_SAMPLE_STREAM_ID | PERF_SAMPLE_CPU | PERF_SAMPLE_IDENTIFIER);
    out.extend(std::iter::repeat_n(0, 8 * zeros.count_ones() as usize));
}
