//! What a perf of some version can read.
//!
//! perf takes neither attrs that are larger than its own nor kernel records that it does not
//! know, and goes wrong within samples whose parts it does not know. Feature sections that it
//! does not know it passes over. Sources: `include/uapi/linux/perf_event.h`,
//! `tools/lib/perf/include/perf/event.h` and `tools/perf/util/{header,session,evsel}.c` of the
//! kernel releases, which perf has the numbers of.

use crate::attr::Attr;
use crate::uapi::*;
use kstrace_schema::NativeDescription;
use std::fmt;
use std::str::FromStr;

/// A version of perf, which is that of the kernel release it came with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PerfVersion {
    /// 6 of 6.1.
    pub major: u16,
    /// 1 of 6.1.
    pub minor: u16,
}

/// What came with a version.
struct Step {
    version: PerfVersion,
    /// Largest attr.
    attr_bytes: usize,
    /// Newest record of the kernel.
    kernel_record: u32,
    /// Newest record of perf's own.
    user_record: u32,
    /// Bits of `sample_type` below this one.
    sample_bits: u32,
    /// Bits of `read_format` below this one.
    read_bits: u32,
    /// Of `branch_sample_type` those that change the layout.
    branch_parts: u64,
    /// `PERF_RECORD_MISC_MMAP_BUILD_ID`.
    mapping_build_ids: bool,
}

const HW_INDEX: u64 = PERF_SAMPLE_BRANCH_HW_INDEX;
const COUNTERS: u64 = PERF_SAMPLE_BRANCH_COUNTERS;

const STEPS: [Step; 16] = [
    step(5, 4, 112, 18, 81, 20, 4, 0, false),
    // AUX samples.
    step(5, 5, 120, 18, 81, 21, 4, 0, false),
    // CGROUP, as a record and in samples; the index of branches.
    step(5, 7, 120, 19, 81, 22, 4, HW_INDEX, false),
    // TEXT_POKE.
    step(5, 9, 120, 20, 81, 22, 4, HW_INDEX, false),
    // Sizes of pages.
    step(5, 11, 120, 20, 81, 24, 4, HW_INDEX, false),
    // WEIGHT_STRUCT; build ids of mappings.
    step(5, 12, 120, 20, 81, 25, 4, HW_INDEX, true),
    // sig_data.
    step(5, 13, 128, 20, 81, 25, 4, HW_INDEX, true),
    // AUX_OUTPUT_HW_ID.
    step(5, 16, 128, 21, 81, 25, 4, HW_INDEX, true),
    // FINISHED_INIT.
    step(6, 0, 128, 21, 82, 25, 4, HW_INDEX, true),
    // FORMAT_LOST.
    step(6, 1, 128, 21, 82, 25, 5, HW_INDEX, true),
    // config3.
    step(6, 3, 136, 21, 82, 25, 5, HW_INDEX, true),
    // Counters of branches.
    step(6, 8, 136, 21, 82, 25, 5, HW_INDEX | COUNTERS, true),
    // COMPRESSED2.
    step(6, 16, 136, 21, 83, 25, 5, HW_INDEX | COUNTERS, true),
    // BPF_METADATA.
    step(6, 17, 136, 21, 84, 25, 5, HW_INDEX | COUNTERS, true),
    // config4, CALLCHAIN_DEFERRED.
    step(6, 19, 144, 22, 84, 25, 5, HW_INDEX | COUNTERS, true),
    // SCHEDSTAT_CPU, SCHEDSTAT_DOMAIN.
    step(7, 0, 144, 22, 86, 25, 5, HW_INDEX | COUNTERS, true),
];

#[expect(clippy::too_many_arguments, reason = "a table's columns")]
const fn step(
    major: u16,
    minor: u16,
    attr_bytes: usize,
    kernel_record: u32,
    user_record: u32,
    sample_bits: u32,
    read_bits: u32,
    branch_parts: u64,
    mapping_build_ids: bool,
) -> Step {
    Step {
        version: PerfVersion { major, minor },
        attr_bytes,
        kernel_record,
        user_record,
        sample_bits,
        read_bits,
        branch_parts,
        mapping_build_ids,
    }
}

impl PerfVersion {
    /// What is written for where nothing else is asked for.
    pub const CONSERVATIVE: PerfVersion = PerfVersion { major: 6, minor: 1 };
    /// The oldest that files can be written for.
    pub const OLDEST: PerfVersion = STEPS[0].version;

    fn step(self) -> &'static Step {
        let mut known = &STEPS[0];
        for step in &STEPS {
            if step.version <= self {
                known = step;
            }
        }
        known
    }

    /// The largest attr that it takes, in bytes.
    pub(super) fn attr_bytes(self) -> usize {
        self.step().attr_bytes
    }

    /// Why it cannot read the records of a class; `None` if it can.
    pub(super) fn refuses(self, native: &NativeDescription, has_build_id: bool) -> Option<String> {
        match native {
            NativeDescription::PerfSample { attr_hex, .. } => {
                self.refuses_samples(&Attr::from_hex(attr_hex)?)
            }
            NativeDescription::PerfRecord { record_type, .. } => {
                let step = self.step();
                let newest = match *record_type {
                    0..64 => step.kernel_record,
                    _ => step.user_record,
                };
                if *record_type > newest {
                    return Some(format!("record {record_type} is unknown to perf {self}"));
                }
                (has_build_id && !step.mapping_build_ids)
                    .then(|| format!("build ids of mappings are unknown to perf {self}"))
            }
            _ => None,
        }
    }

    fn refuses_samples(self, attr: &Attr) -> Option<String> {
        let step = self.step();
        let has = |bit: u64| attr.sample_type & bit != 0;
        let bits = [
            ("sample_type", attr.sample_type, step.sample_bits),
            (
                "read_format",
                if has(PERF_SAMPLE_READ) {
                    attr.read_format
                } else {
                    0
                },
                step.read_bits,
            ),
        ];
        for (name, bits, known) in bits {
            if let Some(bit) = (known..64).find(|bit| bits >> bit & 1 != 0) {
                return Some(format!("bit {bit} of {name} is unknown to perf {self}"));
            }
        }
        let parts = attr.branch_sample_type & (HW_INDEX | COUNTERS) & !step.branch_parts;
        if has(PERF_SAMPLE_BRANCH_STACK) && parts != 0 {
            let bit = parts.trailing_zeros();
            return Some(format!(
                "bit {bit} of branch_sample_type is unknown to perf {self}"
            ));
        }
        None
    }
}

/// The names of the fields of an attr behind its first `size_bytes` that are not zero.
pub(super) fn fields_behind(attr: &Attr, size_bytes: usize) -> Vec<&'static str> {
    let fields = [
        (112, "aux_sample_size", attr.aux_sample_size != 0),
        (116, "aux_action", attr.aux_action != 0),
        (120, "sig_data", attr.sig_data != 0),
        (128, "config3", attr.config3 != 0),
        (136, "config4", attr.config4 != 0),
    ];
    let behind = fields
        .iter()
        .filter(|(at, _, is_set)| *at >= size_bytes && *is_set);
    behind.map(|(_, name, _)| *name).collect()
}

impl fmt::Display for PerfVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl FromStr for PerfVersion {
    type Err = String;

    /// From `6.1`, or what `perf --version` says behind its name, such as `6.1.192`.
    fn from_str(text: &str) -> Result<Self, String> {
        let oldest = PerfVersion::OLDEST;
        let bad = || format!("'{text}' is no version of perf, such as 6.1; the oldest is {oldest}");
        let mut parts = text.split('.');
        let mut number = || {
            parts
                .next()
                .and_then(|n| n.parse::<u16>().ok())
                .ok_or_else(bad)
        };
        let version = PerfVersion {
            major: number()?,
            minor: number()?,
        };
        if version < oldest {
            return Err(bad());
        }
        Ok(version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> PerfVersion {
        text.parse().unwrap()
    }

    #[test]
    fn versions_are_numbers_and_not_text() {
        assert!(version("6.10") > version("6.9"));
        assert_eq!(version("6.1.192"), PerfVersion::CONSERVATIVE);
        assert_eq!(version("6.1.g1234").to_string(), "6.1");
        for bad in ["", "6", "6.x", "v6.1", "5.3", "-1.2", "99999.1"] {
            let error = bad.parse::<PerfVersion>().unwrap_err();
            assert!(error.contains("5.4") && error.contains(bad), "{error}");
        }
    }

    #[test]
    fn what_a_version_knows_later_ones_know() {
        for pair in STEPS.windows(2) {
            let (old, new) = (&pair[0], &pair[1]);
            assert!(old.version < new.version);
            assert!(old.attr_bytes <= new.attr_bytes && old.kernel_record <= new.kernel_record);
            assert!(old.user_record <= new.user_record && old.sample_bits <= new.sample_bits);
            assert_eq!(old.branch_parts & !new.branch_parts, 0);
        }
        assert_eq!(version("99.0").attr_bytes(), crate::attr::ATTR_BYTES);
        assert_eq!(PerfVersion::CONSERVATIVE.attr_bytes(), 128);
    }

    #[test]
    fn each_part_is_refused_below_its_version_only() {
        let sample = |sample_type, read_format, branch_sample_type| {
            let attr = Attr {
                sample_type,
                read_format,
                branch_sample_type,
                ..Attr::new(1, 0)
            };
            NativeDescription::PerfSample {
                attr_hex: attr.hex(),
                event: "x".to_owned(),
                format: None,
            }
        };
        let record = |record_type| NativeDescription::PerfRecord {
            record_type,
            sample_id_type: 0,
        };
        let branches = PERF_SAMPLE_BRANCH_STACK;
        for (native, first) in [
            (sample(PERF_SAMPLE_PHYS_ADDR, 0, 0), "5.4"),
            (sample(PERF_SAMPLE_AUX, 0, 0), "5.5"),
            (sample(PERF_SAMPLE_CGROUP, 0, 0), "5.7"),
            (sample(PERF_SAMPLE_CODE_PAGE_SIZE, 0, 0), "5.11"),
            (sample(PERF_SAMPLE_WEIGHT_STRUCT, 0, 0), "5.12"),
            (sample(PERF_SAMPLE_READ, PERF_FORMAT_LOST, 0), "6.1"),
            (sample(PERF_SAMPLE_IP, PERF_FORMAT_LOST, 0), "5.4"),
            (sample(branches, 0, HW_INDEX), "5.7"),
            (sample(branches, 0, COUNTERS), "6.8"),
            (sample(PERF_SAMPLE_IP, 0, COUNTERS), "5.4"),
            (record(PERF_RECORD_BPF_EVENT), "5.4"),
            (record(PERF_RECORD_TEXT_POKE), "5.9"),
            (record(PERF_RECORD_AUX_OUTPUT_HW_ID), "5.16"),
            (record(PERF_RECORD_CALLCHAIN_DEFERRED), "6.19"),
            (record(82), "6.0"),
        ] {
            let first = version(first);
            for step in &STEPS {
                let refused = step.version.refuses(&native, false).is_some();
                assert_eq!(refused, step.version < first, "{native:?} {}", step.version);
            }
        }
        assert!(version("5.11").refuses(&record(10), true).is_some());
        assert!(version("5.12").refuses(&record(10), true).is_none());
    }

    #[test]
    fn fields_that_are_cut_off_are_named() {
        let mut attr = Attr::new(1, 0);
        assert_eq!(fields_behind(&attr, 112), [""; 0]);
        attr.config3 = 1;
        attr.aux_action = 2;
        assert_eq!(fields_behind(&attr, 112), ["aux_action", "config3"]);
        assert_eq!(fields_behind(&attr, 128), ["config3"]);
        assert_eq!(fields_behind(&attr, 136), [""; 0]);
    }
}
