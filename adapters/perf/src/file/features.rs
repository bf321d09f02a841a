//! The feature sections that follow the records.

use super::evsel::Evsel;
use super::raw::{self, PerfFileSection, feature};
use crate::attr::{ATTR_BYTES, Attr};
use kstrace_schema::{ClockDescriptor, ClockKind, ClockPair, HostInfo};
use zerocopy::IntoBytes;

/// perf pads strings to multiples of this.
const NAME_ALIGN: usize = 64;
/// perf refuses longer strings than its features can hold.
const MAX_STRING_BYTES: usize = 1 << 20;

/// Feature sections by number.
#[derive(Debug, Default)]
pub(super) struct Features {
    sections: Vec<(u32, Vec<u8>)>,
}

impl Features {
    /// Adds a section.
    pub(super) fn add(&mut self, number: u32, bytes: Vec<u8>) {
        self.sections.push((number, bytes));
        self.sections.sort_by_key(|(number, _)| *number);
    }

    /// Adds a section of one string, unless that is empty.
    pub(super) fn add_text(&mut self, number: u32, text: &str) {
        if !text.is_empty() {
            let mut bytes = Vec::new();
            push_string(&mut bytes, text);
            self.add(number, bytes);
        }
    }

    /// What is known of the machine.
    pub(super) fn add_host(&mut self, host: &HostInfo) {
        self.add_text(feature::HOSTNAME, &host.hostname);
        self.add_text(feature::OSRELEASE, &host.os_release);
        self.add_text(feature::ARCH, &host.arch);
        self.add_text(feature::CPUDESC, &host.cpu_description);
        self.add_text(feature::CPUID, &host.cpu_id);
        if host.cpus_online > 0 {
            let available = host.cpus_available.max(host.cpus_online);
            let counts = [available, host.cpus_online];
            self.add(feature::NRCPUS, counts.as_bytes().to_vec());
        }
        if host.total_memory_kib > 0 {
            self.add(
                feature::TOTAL_MEM,
                host.total_memory_kib.to_ne_bytes().to_vec(),
            );
        }
    }

    /// The command line of the tool that recorded.
    pub(super) fn add_command_line(&mut self, words: &[String]) {
        if words.is_empty() {
            return;
        }
        let mut bytes = (words.len() as u32).to_ne_bytes().to_vec();
        words.iter().for_each(|word| push_string(&mut bytes, word));
        self.add(feature::CMDLINE, bytes);
    }

    /// Names of the events, which also repeats their attrs and ids.
    pub(super) fn add_event_desc(&mut self, evsels: &[Evsel], attr_size: usize) {
        let mut bytes = Vec::new();
        bytes.extend_from_slice(&(evsels.len() as u32).to_ne_bytes());
        bytes.extend_from_slice(&(attr_size as u32).to_ne_bytes());
        for evsel in evsels {
            push_attr(&mut bytes, &evsel.attr, attr_size);
            bytes.extend_from_slice(&(evsel.ids.len() as u32).to_ne_bytes());
            push_string(&mut bytes, &evsel.name);
            bytes.extend_from_slice(evsel.ids.as_bytes());
        }
        self.add(feature::EVENT_DESC, bytes);
    }

    /// The session clock, and what relates it to the wall clock.
    pub(super) fn add_clock(
        &mut self,
        clock: &ClockDescriptor,
        pair: Option<&ClockPair>,
        first_ns: u64,
    ) {
        let Some(clockid) = clockid(clock.kind) else {
            return;
        };
        let resolution_ns = 1u64;
        self.add(feature::CLOCKID, resolution_ns.to_ne_bytes().to_vec());
        let (wall_ns, clock_ns) = match pair {
            Some(pair) => (pair.realtime_ns, pair.reading(clock.kind)),
            None if clock.offset_to_realtime_ns != 0 => (
                first_ns.saturating_add_signed(clock.offset_to_realtime_ns),
                first_ns,
            ),
            None => return,
        };
        let version = 1u32;
        let mut bytes = [version, clockid as u32].as_bytes().to_vec();
        bytes.extend_from_slice([wall_ns, clock_ns].as_bytes());
        self.add(feature::CLOCK_DATA, bytes);
    }

    /// The table of the sections and the sections, as they follow the records
    /// that end at `data_end`; and the bits of the file header.
    pub(super) fn encode(&self, data_end: u64) -> (Vec<u8>, [u64; 4]) {
        let mut bits = [0u64; 4];
        let mut table = Vec::new();
        let mut contents = Vec::new();
        let table_bytes = (self.sections.len() * size_of::<PerfFileSection>()) as u64;
        for (number, bytes) in &self.sections {
            bits[*number as usize / 64 % 4] |= 1 << (number % 64);
            let offset = data_end + table_bytes + contents.len() as u64;
            let section = PerfFileSection {
                offset,
                size: bytes.len() as u64,
            };
            table.extend_from_slice(section.as_bytes());
            contents.extend_from_slice(bytes);
            contents.resize(contents.len().next_multiple_of(8), 0);
        }
        table.append(&mut contents);
        (table, bits)
    }
}

/// The number of a clock for `clock_gettime`.
pub(super) fn clockid(kind: ClockKind) -> Option<i32> {
    match kind {
        ClockKind::Realtime => Some(0),
        ClockKind::Monotonic => Some(1),
        ClockKind::MonotonicRaw => Some(4),
        ClockKind::Boottime => Some(7),
        ClockKind::Tai => Some(11),
        ClockKind::Tsc | ClockKind::Sched | ClockKind::Foreign => None,
    }
}

/// The attrs section and the ids it refers to, as they stand at `offset`.
pub(super) fn encode_attrs(evsels: &[Evsel], attr_size: usize, offset: u64) -> (Vec<u8>, u64) {
    let entry_bytes = attr_size + size_of::<PerfFileSection>();
    let attrs_bytes = evsels.len() * entry_bytes;
    let mut attrs = Vec::with_capacity(attrs_bytes);
    let mut ids = Vec::new();
    for evsel in evsels {
        let section = PerfFileSection {
            offset: offset + (attrs_bytes + ids.len()) as u64,
            size: size_of_val(&evsel.ids[..]) as u64,
        };
        push_attr(&mut attrs, &evsel.attr, attr_size);
        attrs.extend_from_slice(section.as_bytes());
        ids.extend_from_slice(evsel.ids.as_bytes());
    }
    attrs.append(&mut ids);
    (attrs, attrs_bytes as u64)
}

/// The size that all attrs of the file take: as few bytes as perf 5.13 and later know, unless
/// one of them has something in a younger field; and never more than `most_bytes`, as perf
/// refuses attrs that are larger than its own.
pub(super) fn attr_size(evsels: &[Evsel], most_bytes: usize) -> usize {
    let needed = |attr: &Attr| {
        attr.as_bytes()
            .iter()
            .rposition(|b| *b != 0)
            .map_or(0, |last| last + 1)
    };
    let largest = evsels.iter().map(|e| needed(&e.attr)).max().unwrap_or(0);
    largest
        .next_multiple_of(8)
        .clamp(raw::ATTR_SIZE_VER7, ATTR_BYTES)
        .min(most_bytes)
}

fn push_attr(bytes: &mut Vec<u8>, attr: &Attr, attr_size: usize) {
    let attr = Attr {
        size: attr_size as u32,
        ..*attr
    };
    bytes.extend_from_slice(&attr.as_bytes()[..attr_size]);
}

fn push_string(bytes: &mut Vec<u8>, text: &str) {
    let mut end = text.len().min(MAX_STRING_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let text = &text[..end];
    let room = (text.len() + 1).next_multiple_of(NAME_ALIGN);
    bytes.extend_from_slice(&(room as u32).to_ne_bytes());
    let padded = bytes.len() + room;
    bytes.extend_from_slice(text.as_bytes());
    bytes.resize(padded, 0);
}
