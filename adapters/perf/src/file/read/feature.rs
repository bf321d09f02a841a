//! What the feature sections say.

use super::attr_bytes::hex;
use super::order::{Cursor, Order};
use crate::file::raw::feature;
use kstrace_schema::{Capture, HostInfo};
use std::collections::BTreeMap;

/// An event as `HEADER_EVENT_DESC` has it.
#[derive(Clone, Debug)]
pub(super) struct EventDesc {
    pub(super) name: String,
}

/// What is understood of the sections; all of them are kept as bytes too.
#[derive(Clone, Debug, Default)]
pub(super) struct Features {
    pub(super) sections: BTreeMap<u32, Vec<u8>>,
    pub(super) host: HostInfo,
    pub(super) capture: Capture,
    pub(super) events: Vec<EventDesc>,
    /// Times of the first and the last sample.
    pub(super) sample_time_ns: Option<(u64, u64)>,
    pub(super) clock_data: Option<ClockData>,
    pub(super) pmu_names: BTreeMap<u32, String>,
    /// The number that a stream marks their end with.
    pub(super) end_number: Option<u64>,
    /// Numbers of sections that this crate does not know.
    pub(super) unknown: Vec<u32>,
    /// Numbers of sections that make no sense, in words.
    pub(super) odd: Vec<String>,
}

/// `HEADER_CLOCK_DATA`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ClockData {
    pub(super) clockid: u32,
    pub(super) wall_ns: u64,
    pub(super) clock_ns: u64,
}

/// More strings or events than any file has.
const MAX_ITEMS: u32 = 1 << 20;
/// Highest number of a section that this crate knows by name.
pub(super) const NEWEST_FEATURE: u32 = 34;

/// `HEADER_*` without the prefix.
pub(super) fn name(number: u32) -> Option<&'static str> {
    const NAMES: [&str; 35] = [
        "RESERVED",
        "TRACING_DATA",
        "BUILD_ID",
        "HOSTNAME",
        "OSRELEASE",
        "VERSION",
        "ARCH",
        "NRCPUS",
        "CPUDESC",
        "CPUID",
        "TOTAL_MEM",
        "CMDLINE",
        "EVENT_DESC",
        "CPU_TOPOLOGY",
        "NUMA_TOPOLOGY",
        "BRANCH_STACK",
        "PMU_MAPPINGS",
        "GROUP_DESC",
        "AUXTRACE",
        "STAT",
        "CACHE",
        "SAMPLE_TIME",
        "MEM_TOPOLOGY",
        "CLOCKID",
        "DIR_FORMAT",
        "BPF_PROG_INFO",
        "BPF_BTF",
        "COMPRESSED",
        "CPU_PMU_CAPS",
        "CLOCK_DATA",
        "HYBRID_TOPOLOGY",
        "PMU_CAPS",
        "CPU_DOMAIN_INFO",
        "E_MACHINE",
        "CLN_SIZE",
    ];
    NAMES.get(usize::try_from(number).ok()?).copied()
}

impl Features {
    /// Adds a section.
    pub(super) fn add(&mut self, number: u32, bytes: Vec<u8>, order: Order) {
        if number > NEWEST_FEATURE {
            self.unknown.push(number);
        }
        if self.understand(number, &bytes, order).is_none() {
            let name = name(number).unwrap_or("?");
            self.odd.push(format!("HEADER_{name} ({number})"));
        }
        self.sections.insert(number, bytes);
    }

    fn understand(&mut self, number: u32, bytes: &[u8], order: Order) -> Option<()> {
        let mut cursor = Cursor::new(bytes, order);
        let host = &mut self.host;
        match number {
            feature::HOSTNAME => host.hostname = cursor.string()?,
            feature::OSRELEASE => host.os_release = cursor.string()?,
            feature::ARCH => host.arch = cursor.string()?,
            feature::CPUDESC => host.cpu_description = cursor.string()?,
            feature::CPUID => host.cpu_id = cursor.string()?,
            feature::VERSION => {
                let version = cursor.string()?;
                host.more.insert("perf.version".to_owned(), version);
            }
            feature::NRCPUS => {
                host.cpus_available = cursor.u32()?;
                host.cpus_online = cursor.u32()?;
            }
            feature::TOTAL_MEM => host.total_memory_kib = cursor.u64()?,
            feature::CMDLINE => self.capture.command_line = strings(&mut cursor)?,
            feature::EVENT_DESC => self.events = events(&mut cursor)?,
            feature::PMU_MAPPINGS => {
                for _ in 0..cursor.u32().filter(|n| *n < MAX_ITEMS)? {
                    let kind = cursor.u32()?;
                    self.pmu_names.insert(kind, cursor.string()?);
                }
            }
            feature::SAMPLE_TIME => self.sample_time_ns = Some((cursor.u64()?, cursor.u64()?)),
            feature::CLOCK_DATA => {
                let version = cursor.u32()?;
                let data = ClockData {
                    clockid: cursor.u32()?,
                    wall_ns: cursor.u64()?,
                    clock_ns: cursor.u64()?,
                };
                self.clock_data = (version == 1).then_some(data);
            }
            _ => {}
        }
        Some(())
    }

    /// All sections as a JSON object of hexadecimal by number.
    pub(super) fn as_json(&self) -> serde_json::Value {
        let map = self
            .sections
            .iter()
            .map(|(number, bytes)| (number.to_string(), hex(bytes).into()))
            .collect();
        serde_json::Value::Object(map)
    }
}

fn strings(cursor: &mut Cursor<'_>) -> Option<Vec<String>> {
    let count = cursor.u32().filter(|n| *n < MAX_ITEMS)?;
    // Not reserved: the count is only a claim.
    (0..count).map(|_| cursor.string()).collect()
}

fn events(cursor: &mut Cursor<'_>) -> Option<Vec<EventDesc>> {
    let count = cursor.u32().filter(|n| *n < MAX_ITEMS)?;
    let attr_bytes = cursor.u32()?;
    let mut events = Vec::new();
    for _ in 0..count {
        cursor.take(attr_bytes.into())?;
        let id_count = cursor.u32()?;
        let name = cursor.string()?;
        cursor.take(u64::from(id_count) * 8)?;
        events.push(EventDesc { name });
    }
    Some(events)
}
