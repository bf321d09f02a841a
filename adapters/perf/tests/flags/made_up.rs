//! Samples with parts that need hardware, made here number by number as `linux/perf_event.h`
//! says, with another value in each place; perf says whether the places are right.

use super::dump::samples;
use super::fields::by_record;
use super::live::SHOWN;
use super::oracles;
use crate::perf_data::kit::Scratch;
use crate::reading::kit::rewrite;
use crate::reading::made::file;
use kstrace_perf::attr::Attr;
use kstrace_perf::uapi::*;
use std::collections::BTreeSet;
use zerocopy::IntoBytes;

/// Writes the parts of one sample.
struct Maker {
    bytes: Vec<u8>,
    next: u64,
}

impl Maker {
    fn any(&mut self) {
        self.next += 0x0101_0101;
        self.put(self.next);
    }

    fn put(&mut self, value: u64) {
        self.bytes.extend(value.to_ne_bytes());
    }

    fn some(&mut self, count: u32) {
        (0..count).for_each(|_| self.any());
    }
}

const BRANCHES: u64 = 3;
const STACK_BYTES: u64 = 24;

/// The sample number `serial` of an event with the id `id`.
fn sample(attr: &Attr, id: u64, serial: u64) -> Vec<u8> {
    let has = |bit: u64| attr.sample_type & bit != 0;
    let mut m = Maker {
        bytes: Vec::new(),
        next: id << 32,
    };
    let m = &mut m;
    m.put(id);
    if has(PERF_SAMPLE_IP) {
        m.any();
    }
    if has(PERF_SAMPLE_TID) {
        m.put(5 << 32 | 4);
    }
    if has(PERF_SAMPLE_TIME) {
        m.put(1000 * id + serial);
    }
    if has(PERF_SAMPLE_ADDR) {
        m.any();
    }
    if has(PERF_SAMPLE_ID) {
        m.put(id);
    }
    if has(PERF_SAMPLE_STREAM_ID) {
        m.any();
    }
    if has(PERF_SAMPLE_CPU) {
        m.put(3);
    }
    if has(PERF_SAMPLE_PERIOD) {
        m.any();
    }
    if has(PERF_SAMPLE_READ) {
        let has = |bit: u64| attr.read_format & bit != 0;
        let group = has(PERF_FORMAT_GROUP);
        if group {
            m.put(2);
        } else {
            m.any();
        }
        for time in [
            PERF_FORMAT_TOTAL_TIME_ENABLED,
            PERF_FORMAT_TOTAL_TIME_RUNNING,
        ] {
            m.some(has(time).into());
        }
        for _ in 0..if group { 2 } else { 1 } {
            m.some(group.into());
            if has(PERF_FORMAT_ID) {
                m.put(id);
            }
            m.some(has(PERF_FORMAT_LOST).into());
        }
    }
    if has(PERF_SAMPLE_CALLCHAIN) {
        m.put(3);
        // `PERF_CONTEXT_USER`, then addresses.
        m.put(-512i64 as u64);
        m.some(2);
    }
    if has(PERF_SAMPLE_RAW) {
        m.bytes.extend(12u32.to_ne_bytes());
        m.bytes.extend([7; 12]);
    }
    if has(PERF_SAMPLE_BRANCH_STACK) {
        m.put(BRANCHES);
        if attr.branch_sample_type & PERF_SAMPLE_BRANCH_HW_INDEX != 0 {
            m.any();
        }
        m.some(3 * BRANCHES as u32);
    }
    if has(PERF_SAMPLE_REGS_USER) {
        m.put(2);
        m.some(attr.sample_regs_user.count_ones());
    }
    if has(PERF_SAMPLE_STACK_USER) {
        m.put(STACK_BYTES);
        m.some(STACK_BYTES as u32 / 8);
        m.put(16);
    }
    if has(PERF_SAMPLE_WEIGHT) || has(PERF_SAMPLE_WEIGHT_STRUCT) {
        // perf shows 32 bits of it, as there is no more to it.
        m.put(if has(PERF_SAMPLE_WEIGHT) {
            0x1234_5678
        } else {
            0x1111_2222_3333_4444
        });
    }
    if has(PERF_SAMPLE_DATA_SRC) {
        m.any();
    }
    if has(PERF_SAMPLE_TRANSACTION) {
        m.any();
    }
    if has(PERF_SAMPLE_REGS_INTR) {
        m.put(2);
        m.some(attr.sample_regs_intr.count_ones());
    }
    if has(PERF_SAMPLE_PHYS_ADDR) {
        m.any();
    }
    if has(PERF_SAMPLE_CGROUP) {
        m.any();
    }
    if has(PERF_SAMPLE_DATA_PAGE_SIZE) {
        m.put(4096);
    }
    if has(PERF_SAMPLE_CODE_PAGE_SIZE) {
        m.put(2 << 20);
    }
    if has(PERF_SAMPLE_AUX) {
        m.put(16);
        m.some(2);
    }
    // `PERF_RECORD_MISC_USER`.
    let mut record = PERF_RECORD_SAMPLE.to_ne_bytes().to_vec();
    record.extend(2u16.to_ne_bytes());
    record.extend((8 + m.bytes.len() as u16).to_ne_bytes());
    record.append(&mut m.bytes);
    record
}

/// Behind the identifier.
fn order() -> Vec<u64> {
    let mut order: Vec<u64> = (0..16).map(|n| 1 << n).collect();
    // Before the addresses of data stands the struct that once was a number.
    order.insert(15, PERF_SAMPLE_WEIGHT_STRUCT);
    order.extend([
        PERF_SAMPLE_TRANSACTION,
        PERF_SAMPLE_REGS_INTR,
        PERF_SAMPLE_PHYS_ADDR,
    ]);
    order.extend([PERF_SAMPLE_CGROUP, PERF_SAMPLE_DATA_PAGE_SIZE]);
    order.extend([PERF_SAMPLE_CODE_PAGE_SIZE, PERF_SAMPLE_AUX]);
    order
}

fn attr(sample_type: u64, read_format: u64, branch_sample_type: u64) -> Attr {
    let mut attr = Attr::new(PERF_TYPE_SOFTWARE, PERF_COUNT_SW_TASK_CLOCK);
    attr.flags = flag::SAMPLE_ID_ALL;
    let both = PERF_SAMPLE_WEIGHT | PERF_SAMPLE_WEIGHT_STRUCT;
    let sample_type = match sample_type & both == both {
        true => sample_type & !PERF_SAMPLE_WEIGHT,
        false => sample_type,
    };
    attr.sample_type = sample_type | PERF_SAMPLE_IDENTIFIER;
    attr.read_format = read_format;
    attr.branch_sample_type = branch_sample_type;
    attr.sample_regs_user = 0b1101;
    attr.sample_regs_intr = 0b111_0000;
    attr
}

/// perf and this crate on these events, two samples of each. `parts` must have been compared.
fn check(attrs: &[Attr], parts: &[&str]) {
    let cut: Vec<Vec<u8>> = attrs
        .iter()
        // As much as perf 6.1 takes.
        .map(|attr| Attr { size: 128, ..*attr }.as_bytes()[..128].to_vec())
        .collect();
    let ids: Vec<[u64; 1]> = (1..).take(attrs.len()).map(|id| [id]).collect();
    let events: Vec<(&[u8], &[u64])> = cut
        .iter()
        .zip(&ids)
        .map(|(attr, ids)| (&attr[..], &ids[..]))
        .collect();
    let mut data = Vec::new();
    for (attr, [id]) in attrs.iter().zip(&ids) {
        (0..2).for_each(|serial| data.extend(sample(attr, *id, serial)));
    }
    let scratch = Scratch::new();
    let (input, output) = (scratch.path("in.data"), scratch.path("out.data"));
    std::fs::write(&input, file(&events, &data, &[])).unwrap();
    rewrite(&input, &output);
    let bytes = std::fs::read(&output).unwrap();
    let ours = by_record(&output);
    let dumped = samples(&output);
    let mut compared = BTreeSet::new();
    for sample in &dumped {
        let record = &bytes[sample.offset..sample.offset + sample.size];
        let fields = ours.get(record).expect("a sample that is not read here");
        let differences = sample.differences(fields, &mut compared);
        assert!(
            differences.is_empty(),
            "{differences:?}\n{sample:x?}\n{fields:x?}"
        );
    }
    assert_eq!(dumped.len(), 2 * attrs.len());
    assert!(oracles::linux_perf_data(&output, &ours) > 0);
    assert!(oracles::tracepoint_perf(&output, &ours) > 0);
    for part in parts {
        assert!(compared.contains(*part), "{part} was never compared");
    }
}

#[test]
fn every_part_alone_in_pairs_and_among_all_others() {
    let order = order();
    let time = PERF_SAMPLE_TIME;
    let all: u64 = order.iter().fold(0, |all, part| all | part);
    let mut attrs = vec![attr(time, PERF_FORMAT_ID, 0)];
    for (n, first) in order.iter().enumerate() {
        attrs.push(attr(time | all & !first, PERF_FORMAT_ID, 0));
        attrs.push(attr(time | first, PERF_FORMAT_ID, 0));
        for second in &order[n + 1..] {
            attrs.push(attr(time | first | second, PERF_FORMAT_ID, 0));
        }
    }
    check(&attrs, &SHOWN);
}

#[test]
fn branches_with_and_without_an_index() {
    let around = [
        0,
        PERF_SAMPLE_RAW,
        PERF_SAMPLE_REGS_USER,
        PERF_SAMPLE_CALLCHAIN | PERF_SAMPLE_REGS_USER | PERF_SAMPLE_WEIGHT,
        PERF_SAMPLE_READ | PERF_SAMPLE_STACK_USER | PERF_SAMPLE_AUX,
    ];
    let mut attrs = vec![attr(PERF_SAMPLE_TIME, PERF_FORMAT_ID, 0)];
    for parts in around {
        for kind in [0, PERF_SAMPLE_BRANCH_HW_INDEX] {
            let sample_type = PERF_SAMPLE_TIME | PERF_SAMPLE_BRANCH_STACK | parts;
            attrs.push(attr(sample_type, PERF_FORMAT_ID, 1 | kind));
        }
    }
    check(&attrs, &["branches", "user_regs", "stack"]);
}

#[test]
fn counter_values() {
    let mut attrs = vec![attr(PERF_SAMPLE_TIME, PERF_FORMAT_ID, 0)];
    for read_format in (0..32).filter(|format| format & PERF_FORMAT_ID != 0) {
        for parts in [
            0,
            PERF_SAMPLE_PERIOD,
            PERF_SAMPLE_CALLCHAIN,
            PERF_SAMPLE_RAW,
        ] {
            attrs.push(attr(
                PERF_SAMPLE_TIME | PERF_SAMPLE_READ | parts,
                read_format,
                0,
            ));
        }
    }
    check(&attrs, &["read_value", "read_values", "read_time_enabled"]);
}
