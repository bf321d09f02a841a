//! Every flag that a software event of this machine can have, as the kernel writes it.

use super::dump::samples;
use super::fields::{Fields, by_record};
use super::oracles;
use super::sys::{Ring, id, open, touch_new_pages, while_enabled};
use crate::perf_data::kit::Scratch;
use crate::reading::kit::rewrite;
use crate::reading::made::file;
use kstrace_perf::attr::Attr;
use kstrace_perf::uapi::*;
use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::OwnedFd;
use zerocopy::IntoBytes;

const PAGE_FAULTS: u64 = 2;
const PAGES: usize = 4;
/// What `PERF_SAMPLE_STACK_USER` is asked for.
const STACK_BYTES: u32 = 256;

/// All parts in the order in which they stand in a sample, behind `IDENTIFIER`, of what software
/// events have. Branches are the hardware's.
const PARTS: [u64; 23] = [
    PERF_SAMPLE_IP,
    PERF_SAMPLE_TID,
    PERF_SAMPLE_TIME,
    PERF_SAMPLE_ADDR,
    PERF_SAMPLE_ID,
    PERF_SAMPLE_STREAM_ID,
    PERF_SAMPLE_CPU,
    PERF_SAMPLE_PERIOD,
    PERF_SAMPLE_READ,
    PERF_SAMPLE_CALLCHAIN,
    PERF_SAMPLE_RAW,
    PERF_SAMPLE_REGS_USER,
    PERF_SAMPLE_STACK_USER,
    PERF_SAMPLE_WEIGHT,
    PERF_SAMPLE_WEIGHT_STRUCT,
    PERF_SAMPLE_DATA_SRC,
    PERF_SAMPLE_TRANSACTION,
    PERF_SAMPLE_REGS_INTR,
    PERF_SAMPLE_PHYS_ADDR,
    PERF_SAMPLE_CGROUP,
    PERF_SAMPLE_DATA_PAGE_SIZE,
    PERF_SAMPLE_CODE_PAGE_SIZE,
    PERF_SAMPLE_AUX,
];

/// The parts that perf shows. Of the others it needs the size, or those behind are wrong.
pub(super) const SHOWN: [&str; 17] = [
    "ip",
    "pid",
    "tid",
    "cpu and time",
    "addr",
    "period",
    "read_value",
    "callchain",
    "user_regs",
    "stack",
    "weight",
    "data_src",
    "transaction",
    "intr_regs",
    "phys_addr",
    "data_page_size",
    "code_page_size",
];

fn page_faults(sample_type: u64) -> Attr {
    let mut attr = Attr::new(PERF_TYPE_SOFTWARE, PAGE_FAULTS);
    attr.flags = flag::DISABLED | flag::SAMPLE_ID_ALL | flag::USE_CLOCKID;
    attr.clockid = nix::libc::CLOCK_MONOTONIC;
    attr.sample_period = 1;
    attr.sample_type = sample_type;
    // perf's reader takes counter values to have their ids always.
    attr.read_format = PERF_FORMAT_ID;
    if sample_type & PERF_SAMPLE_REGS_USER != 0 {
        attr.sample_regs_user = 0b1_1100_0111;
    }
    if sample_type & PERF_SAMPLE_REGS_INTR != 0 {
        attr.sample_regs_intr = 0xff_0fff;
    }
    if sample_type & PERF_SAMPLE_STACK_USER != 0 {
        attr.sample_stack_user = STACK_BYTES;
    }
    attr
}

/// Events and what they recorded, as they go into a file.
#[derive(Default)]
struct Recording {
    events: Vec<(Attr, u64)>,
    data: Vec<u8>,
    /// By the event's id: where the faults were.
    places: BTreeMap<u64, std::ops::Range<u64>>,
}

impl Recording {
    /// Page faults of this thread, with counters beside them.
    fn record(&mut self, attr: Attr, counters: usize) {
        let what = format!(
            "sample_type {:#x}, read_format {:#x}",
            attr.sample_type, attr.read_format
        );
        let leader = open(&attr, None).unwrap_or_else(|e| panic!("{what}: {e}"));
        let mut members: Vec<OwnedFd> = Vec::new();
        for config in [PERF_COUNT_SW_TASK_CLOCK, 3, 4].into_iter().take(counters) {
            let counter = Attr {
                read_format: attr.read_format,
                sample_type: PERF_SAMPLE_IDENTIFIER,
                flags: flag::SAMPLE_ID_ALL | flag::USE_CLOCKID,
                clockid: attr.clockid,
                ..Attr::new(PERF_TYPE_SOFTWARE, config)
            };
            let member = open(&counter, Some(&leader)).unwrap();
            self.events.push((counter, id(&member)));
            members.push(member);
        }
        let ring = Ring::of(&leader);
        let own = id(&leader);
        while_enabled(&leader, || {
            self.places.insert(own, touch_new_pages(PAGES));
        });
        self.events.push((attr, own));
        self.data.extend(ring.records());
    }

    fn bytes(&self) -> Vec<u8> {
        let ids: Vec<[u64; 1]> = self.events.iter().map(|(_, id)| [*id]).collect();
        let events: Vec<(&[u8], &[u64])> = self
            .events
            .iter()
            .zip(&ids)
            // As much as perf 6.1 takes.
            .map(|((attr, _), ids)| (&attr.as_bytes()[..128], &ids[..]))
            .collect();
        let mut bytes = file(&events, &self.data, &[]);
        // The size that each attr says it has.
        for n in 0..events.len() {
            let at = 104 + 8 * events.len() + n * (128 + 16) + 4;
            bytes[at..at + 4].copy_from_slice(&128u32.to_ne_bytes());
        }
        bytes
    }

    /// Writes it, reads it, writes that again, and lets perf and this crate say what is in it.
    /// Says which parts were compared.
    fn check(&self) -> BTreeSet<String> {
        let scratch = Scratch::new();
        let (input, output) = (scratch.path("in.data"), scratch.path("out.data"));
        std::fs::write(&input, self.bytes()).unwrap();
        rewrite(&input, &output);
        let bytes = std::fs::read(&output).unwrap();
        let ours = by_record(&output);
        let mut counts: BTreeMap<u64, usize> = BTreeMap::new();
        let mut compared = BTreeSet::new();
        for sample in samples(&output) {
            let record = &bytes[sample.offset..sample.offset + sample.size];
            let fields = ours.get(record).expect("a sample that is not read here");
            let differences = sample.differences(fields, &mut compared);
            assert!(
                differences.is_empty(),
                "{differences:?}\n{sample:x?}\n{fields:x?}"
            );
            let id = self.check_truth(fields);
            *counts.entry(id).or_default() += 1;
        }
        oracles::linux_perf_data(&output, &ours);
        oracles::tracepoint_perf(&output, &ours);
        for id in self.places.keys() {
            let count = counts.get(id).copied().unwrap_or(0);
            assert!(
                count >= PAGES,
                "event {id}: {count} samples of {PAGES} pages"
            );
        }
        compared
    }

    /// What is known without perf. Says which event the sample is of.
    fn check_truth(&self, fields: &Fields) -> u64 {
        let one = |name: &str| fields.get(name).and_then(|v| v.first()).copied();
        let event = match one("identifier").or(one("id")) {
            Some(id) => self.events.iter().find(|(_, own)| *own == id),
            None => self.events.first(),
        };
        let (attr, id) = event.expect("an id of an event");
        let is = |name: &str, expected: u64| {
            if let Some(value) = one(name) {
                assert_eq!(value, expected, "{name}: {fields:x?}");
            }
        };
        is("id", *id);
        is("stream_id", *id);
        is("pid", std::process::id().into());
        is("tid", nix::unistd::gettid().as_raw() as u64);
        is("period", 1);
        is("read_id", *id);
        is("read_lost", 0);
        is("raw_size", 4);
        is("weight", 0);
        is("transaction", 0);
        is("user_abi", 2);
        is("intr_abi", 2);
        is("stack_size", STACK_BYTES.into());
        is("aux_size", 0);
        assert!(one("stack_dyn_size").is_none_or(|n| n <= STACK_BYTES.into()));
        assert!(one("cpu").is_none_or(|cpu| cpu < 8192));
        assert!(one("ip").is_none_or(|ip| ip != 0));
        assert!(one("code_page_size").is_none_or(|n| n == 0 || n.is_power_of_two()));
        assert!(
            one("callchain_nr").is_none_or(|n| n > 0 && n as usize == fields["callchain"].len())
        );
        let registers = |name: &str, mask: u64| {
            if let Some(values) = fields.get(name) {
                assert_eq!(values.len(), mask.count_ones() as usize);
            }
        };
        registers("user_regs", attr.sample_regs_user);
        registers("intr_regs", attr.sample_regs_intr);
        *id
    }
}

/// The parts but for those that exclude each other or that the kernel does not let have here.
fn possible(parts: u64) -> u64 {
    let both = PERF_SAMPLE_WEIGHT | PERF_SAMPLE_WEIGHT_STRUCT;
    if parts & both == both {
        parts & !PERF_SAMPLE_WEIGHT
    } else {
        parts
    }
}

#[test]
fn every_part_alone_with_its_neighbours_and_with_all_others() {
    let base = PERF_SAMPLE_IDENTIFIER | PERF_SAMPLE_TID | PERF_SAMPLE_TIME;
    let all: u64 = PARTS.iter().sum();
    let mut types = vec![
        base,
        base | possible(all),
        base | all & !PERF_SAMPLE_WEIGHT_STRUCT,
    ];
    for (n, part) in PARTS.iter().enumerate() {
        types.push(PERF_SAMPLE_IDENTIFIER | part);
        types.push(base | part);
        let next = PARTS[(n + 1) % PARTS.len()];
        types.push(base | possible(part | next));
        let after = PARTS[(n + 2) % PARTS.len()];
        types.push(base | possible(part | after));
        types.push(base | possible(all & !part));
    }
    types.dedup();
    let mut recording = Recording::default();
    for sample_type in types {
        recording.record(page_faults(sample_type), 0);
    }
    let compared = recording.check();
    for part in SHOWN {
        assert!(compared.contains(part), "{part} was never compared");
    }
}

#[test]
fn counter_values_of_one_and_of_a_group() {
    let around = PERF_SAMPLE_PERIOD | PERF_SAMPLE_CALLCHAIN;
    let base = PERF_SAMPLE_IDENTIFIER | PERF_SAMPLE_TIME;
    let mut recording = Recording::default();
    // perf looks at the first event's counter values to see whether it understands them.
    recording.record(page_faults(base), 0);
    for read_format in (0..32).filter(|format| format & PERF_FORMAT_ID != 0) {
        for parts in [0, around, around | PERF_SAMPLE_RAW | PERF_SAMPLE_REGS_USER] {
            for counters in 0..3 {
                let mut attr = page_faults(base | PERF_SAMPLE_READ | parts);
                attr.read_format = read_format;
                recording.record(attr, counters);
            }
        }
    }
    let compared = recording.check();
    for part in [
        "read_value",
        "read_nr",
        "read_values",
        "read_time_enabled",
        "read_time_running",
    ] {
        assert!(compared.contains(part), "{part} was never compared");
    }
}

/// One event needs no ids in its samples: then there is none in front, and perf takes all of it
/// from the attr.
#[test]
fn events_without_an_identifier() {
    let all: u64 = PARTS.iter().sum::<u64>() & !PERF_SAMPLE_WEIGHT;
    for sample_type in [
        PERF_SAMPLE_TIME,
        PERF_SAMPLE_IP | PERF_SAMPLE_TID | PERF_SAMPLE_TIME | PERF_SAMPLE_ID,
        PERF_SAMPLE_TIME | PERF_SAMPLE_ADDR | PERF_SAMPLE_CPU,
        all,
        all & !PERF_SAMPLE_ID,
    ] {
        let mut recording = Recording::default();
        recording.record(page_faults(sample_type), 0);
        recording.check();
    }
}
