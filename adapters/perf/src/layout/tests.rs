//! Every bit alone and with its neighbours: records are made here by hand, in the
//! order of `linux/perf_event.h`, and must be walked to their last byte with every
//! value in its place.

use super::*;
use crate::uapi::*;
use kstrace_schema::decode::{Field, Value, Visitor, walk};
use kstrace_schema::{FieldClass, StructureClass};
use std::collections::BTreeMap;
use std::ops::ControlFlow;

/// Integers and first array elements, by name.
#[derive(Default)]
struct Values(BTreeMap<String, u64>);

impl<'a> Visitor<'a> for Values {
    fn value(&mut self, field: &Field<'a>, value: Value<'a>) -> ControlFlow<()> {
        let number = match &value {
            Value::Array(array) => array.get(0).and_then(|v| v.as_u64()),
            Value::Bytes(bytes) => bytes.first().map(|b| u64::from(*b)),
            other => other.as_u64(),
        };
        if let Some(number) = number {
            self.0.entry(field.name.to_owned()).or_insert(number);
        }
        ControlFlow::Continue(())
    }
}

/// A record under construction; remembers what it put where.
struct Maker {
    bytes: Vec<u8>,
    expected: Vec<(&'static str, u64)>,
    next: u64,
}

impl Maker {
    fn new(record_type: u32) -> Self {
        let mut bytes = record_type.to_ne_bytes().to_vec();
        bytes.extend([0; 4]);
        Maker {
            bytes,
            expected: Vec::new(),
            next: 0x11,
        }
    }

    fn value(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn u64(&mut self, name: &'static str) {
        let value = self.value();
        self.expected.push((name, value));
        self.bytes.extend(value.to_ne_bytes());
    }

    fn u32(&mut self, name: &'static str) {
        let value = self.value();
        self.expected.push((name, value));
        self.bytes.extend((value as u32).to_ne_bytes());
    }

    fn u16(&mut self, name: &'static str) {
        let value = self.value();
        self.expected.push((name, value));
        self.bytes.extend((value as u16).to_ne_bytes());
    }

    fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend(bytes);
    }

    fn finish(mut self) -> (Vec<u8>, Vec<(&'static str, u64)>) {
        let size = u16::try_from(self.bytes.len()).unwrap();
        self.bytes[6..8].copy_from_slice(&size.to_ne_bytes());
        (self.bytes, self.expected)
    }
}

/// `abi` 0 leaves registers out, `stack` 0 the size actually taken.
struct Optionals {
    abi: u64,
    stack: u64,
}

fn sample(shape: &SampleShape, optionals: &Optionals) -> (Vec<u8>, Vec<(&'static str, u64)>) {
    let has = |bit: u64| shape.sample_type & bit != 0;
    let mut m = Maker::new(PERF_RECORD_SAMPLE);
    if has(PERF_SAMPLE_IDENTIFIER) {
        m.u64("identifier");
    }
    if has(PERF_SAMPLE_IP) {
        m.u64("ip");
    }
    if has(PERF_SAMPLE_TID) {
        m.u32("pid");
        m.u32("tid");
    }
    for (bit, name) in [
        (PERF_SAMPLE_TIME, "time"),
        (PERF_SAMPLE_ADDR, "addr"),
        (PERF_SAMPLE_ID, "id"),
        (PERF_SAMPLE_STREAM_ID, "stream_id"),
    ] {
        if has(bit) {
            m.u64(name);
        }
    }
    if has(PERF_SAMPLE_CPU) {
        m.u32("cpu");
        m.raw(&[0xff; 4]);
    }
    if has(PERF_SAMPLE_PERIOD) {
        m.u64("period");
    }
    if has(PERF_SAMPLE_READ) {
        let format = |bit: u64| shape.read_format & bit != 0;
        let group = format(PERF_FORMAT_GROUP);
        if group {
            m.raw(&3u64.to_ne_bytes());
        } else {
            m.u64("read_value");
        }
        if format(PERF_FORMAT_TOTAL_TIME_ENABLED) {
            m.u64("read_time_enabled");
        }
        if format(PERF_FORMAT_TOTAL_TIME_RUNNING) {
            m.u64("read_time_running");
        }
        let each = u64::from(group)
            + u64::from(format(PERF_FORMAT_ID))
            + u64::from(format(PERF_FORMAT_LOST));
        if group {
            (0..3 * each).for_each(|_| m.raw(&[7; 8]));
        } else {
            if format(PERF_FORMAT_ID) {
                m.u64("read_id");
            }
            if format(PERF_FORMAT_LOST) {
                m.u64("read_lost");
            }
        }
    }
    if has(PERF_SAMPLE_CALLCHAIN) {
        m.raw(&2u64.to_ne_bytes());
        m.u64("callchain");
        m.raw(&[9; 8]);
    }
    if has(PERF_SAMPLE_RAW) {
        m.raw(&12u32.to_ne_bytes());
        m.raw(&[5; 12]);
        m.expected.push(("raw", 5));
    }
    if has(PERF_SAMPLE_BRANCH_STACK) {
        m.raw(&2u64.to_ne_bytes());
        if shape.branch_sample_type & PERF_SAMPLE_BRANCH_HW_INDEX != 0 {
            m.u64("branch_hw_idx");
        }
        m.u64("from");
        m.u64("to");
        m.u64("flags");
        m.raw(&[3; 24]);
        if shape.branch_sample_type & PERF_SAMPLE_BRANCH_COUNTERS != 0 {
            m.u64("branch_counters");
            m.raw(&[3; 8]);
        }
    }
    if has(PERF_SAMPLE_REGS_USER) {
        m.raw(&optionals.abi.to_ne_bytes());
        if optionals.abi != 0 {
            m.u64("user_regs");
            (1..shape.sample_regs_user.count_ones()).for_each(|_| m.raw(&[1; 8]));
        }
    }
    if has(PERF_SAMPLE_STACK_USER) {
        m.raw(&optionals.stack.to_ne_bytes());
        if optionals.stack != 0 {
            m.raw(&vec![6; optionals.stack as usize]);
            m.expected.push(("stack", 6));
            m.u64("stack_dyn_size");
        }
    }
    if has(PERF_SAMPLE_WEIGHT_STRUCT) {
        m.u32("weight_var1");
        m.u16("weight_var2");
        m.u16("weight_var3");
    } else if has(PERF_SAMPLE_WEIGHT) {
        m.u64("weight");
    }
    for (bit, name) in [
        (PERF_SAMPLE_DATA_SRC, "data_src"),
        (PERF_SAMPLE_TRANSACTION, "transaction"),
    ] {
        if has(bit) {
            m.u64(name);
        }
    }
    if has(PERF_SAMPLE_REGS_INTR) {
        m.raw(&optionals.abi.to_ne_bytes());
        if optionals.abi != 0 {
            m.u64("intr_regs");
            (1..shape.sample_regs_intr.count_ones()).for_each(|_| m.raw(&[1; 8]));
        }
    }
    for (bit, name) in [
        (PERF_SAMPLE_PHYS_ADDR, "phys_addr"),
        (PERF_SAMPLE_CGROUP, "cgroup"),
        (PERF_SAMPLE_DATA_PAGE_SIZE, "data_page_size"),
        (PERF_SAMPLE_CODE_PAGE_SIZE, "code_page_size"),
    ] {
        if has(bit) {
            m.u64(name);
        }
    }
    if has(PERF_SAMPLE_AUX) {
        m.raw(&16u64.to_ne_bytes());
        m.raw(&[8; 16]);
        m.expected.push(("aux", 8));
    }
    m.finish()
}

fn check(class: &StructureClass, record: &[u8], rest: u16, expected: &[(&str, u64)], what: &str) {
    let mut values = Values::default();
    let len = walk(class, record, rest, &mut values).unwrap_or_else(|e| panic!("{what}: {e}"));
    assert_eq!(len, record.len(), "{what}");
    for (name, value) in expected {
        assert_eq!(values.0.get(*name), Some(value), "{what}: {name}");
    }
    let named = class.members.iter().filter(|m| !m.name.is_empty());
    let mut names: Vec<_> = named.map(|m| m.name.as_str()).collect();
    let all = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), all, "{what}: names must differ");
}

fn check_sample(shape: SampleShape) {
    for (abi, stack) in [(0, 0), (2, 64), (1, 0), (0, 8)] {
        let (record, expected) = sample(&shape, &Optionals { abi, stack });
        let layout = SampleLayout::new(shape, None);
        let what = format!("{shape:x?} abi {abi} stack {stack}");
        assert_eq!(
            layout.classify(&record),
            Some((RawForm::Regular, 0)),
            "{what}"
        );
        check(
            &layout.payload(RawForm::Regular),
            &record,
            0,
            &expected,
            &what,
        );
        let word = |at: Option<usize>| {
            at.map(|at| u64::from_ne_bytes(record[at..at + 8].try_into().unwrap()))
        };
        let value = |name: &str| expected.iter().find(|(n, _)| *n == name).map(|(_, v)| *v);
        assert_eq!(word(shape.time_offset_bytes()), value("time"), "{what}");
        assert_eq!(
            word(shape.id_offset_bytes()),
            value("identifier").or(value("id")),
            "{what}"
        );
        let low = |at: Option<usize>| word(at).map(|w| w & 0xffff_ffff);
        assert_eq!(low(shape.cpu_offset_bytes()), value("cpu"), "{what}");
        assert_eq!(low(shape.pid_offset_bytes()), value("pid"), "{what}");
        let raw_at = match shape.raw_place() {
            Some(RawPlace::At(at)) => Some(at),
            Some(RawPlace::AfterCallchain(at)) => Some(at + 8 + 16),
            None => None,
        };
        if let Some(at) = raw_at {
            assert_eq!(record[at..at + 4], 12u32.to_ne_bytes(), "{what}");
        } else {
            let behind_group = shape.sample_type & PERF_SAMPLE_READ != 0;
            assert!(
                behind_group || shape.sample_type & PERF_SAMPLE_RAW == 0,
                "{what}"
            );
        }
    }
}

fn shape(sample_type: u64) -> SampleShape {
    SampleShape {
        sample_type,
        read_format: PERF_FORMAT_ID | PERF_FORMAT_LOST,
        branch_sample_type: 0,
        sample_regs_user: 0b1011,
        sample_regs_intr: 0xff00ff,
    }
}

#[test]
fn every_bit_alone_with_its_neighbours_and_with_all_others() {
    let all = PERF_SAMPLE_MAX - 1;
    let bits: Vec<u64> = (0..25).map(|n| 1 << n).collect();
    check_sample(shape(0));
    for (i, first) in bits.iter().enumerate() {
        check_sample(shape(*first));
        check_sample(shape(all & !first & !PERF_SAMPLE_WEIGHT));
        check_sample(shape(all & !first & !PERF_SAMPLE_WEIGHT_STRUCT));
        for second in &bits[i + 1..] {
            if first | second != PERF_SAMPLE_WEIGHT | PERF_SAMPLE_WEIGHT_STRUCT {
                check_sample(shape(first | second));
            }
        }
    }
}

#[test]
fn every_read_format_and_branch_format_in_a_sample() {
    for read_format in 0..32 {
        let sample_type =
            PERF_SAMPLE_READ | PERF_SAMPLE_TIME | PERF_SAMPLE_CALLCHAIN | PERF_SAMPLE_RAW;
        check_sample(SampleShape {
            read_format,
            ..shape(sample_type)
        });
        check_sample(SampleShape {
            read_format,
            ..shape(PERF_SAMPLE_READ)
        });
    }
    for branch_sample_type in [
        PERF_SAMPLE_BRANCH_HW_INDEX,
        PERF_SAMPLE_BRANCH_COUNTERS,
        PERF_SAMPLE_BRANCH_HW_INDEX | PERF_SAMPLE_BRANCH_COUNTERS,
    ] {
        let sample_type = PERF_SAMPLE_BRANCH_STACK | PERF_SAMPLE_REGS_USER;
        check_sample(SampleShape {
            branch_sample_type,
            ..shape(sample_type)
        });
    }
}

#[test]
fn bits_of_the_future_are_a_rest() {
    let known = shape(PERF_SAMPLE_IDENTIFIER | PERF_SAMPLE_TIME);
    let (mut record, expected) = sample(&known, &Optionals { abi: 0, stack: 0 });
    record.extend([0xaa; 24]);
    let future = SampleShape {
        sample_type: known.sample_type | PERF_SAMPLE_MAX,
        ..known
    };
    let layout = SampleLayout::new(future, None);
    assert!(!layout.is_always_regular());
    assert_eq!(layout.classify(&record), Some((RawForm::Regular, 24)));
    check(
        &layout.payload(RawForm::Regular),
        &record,
        24,
        &expected,
        "future",
    );
}

const TRAILER: u64 = COMMON;
const COMMON: u64 = PERF_SAMPLE_TID | PERF_SAMPLE_TIME | PERF_SAMPLE_CPU | PERF_SAMPLE_IDENTIFIER;

fn with_trailer(mut m: Maker) -> Maker {
    m.raw(&[1; 16]);
    m.raw(&[2; 16]);
    m
}

fn check_record(form: RecordForm, make: impl FnOnce(&mut Maker)) {
    let mut m = Maker::new(form.record_type);
    make(&mut m);
    let (record, expected) = with_trailer(m).finish();
    let layout = RecordLayout::new(
        form,
        SampleIdShape::new(TRAILER),
        PERF_FORMAT_ID | PERF_FORMAT_LOST,
    );
    let what = form.class_name();
    let rest = layout.rest_len_bytes(&record).unwrap();
    check(&layout.payload, &record, rest, &expected, &what);
    // Any cut must be noticed or still be walked, never be a panic.
    for cut in 8..record.len() {
        if let Some(rest) = layout.rest_len_bytes(&record[..cut]) {
            let _ = walk(
                &layout.payload,
                &record[..cut],
                rest,
                &mut Values::default(),
            );
        }
    }
}

fn form(record_type: u32) -> RecordForm {
    RecordForm {
        record_type,
        build_id: false,
    }
}

#[test]
fn every_other_record() {
    let text = b"some/text\0\0\0\0\0\0\0";
    let mapping = |m: &mut Maker| {
        m.u32("pid");
        m.u32("tid");
        m.u64("addr");
        m.u64("len");
        m.u64("pgoff");
    };
    check_record(form(PERF_RECORD_MMAP), |m| {
        mapping(m);
        m.raw(text);
    });
    check_record(form(PERF_RECORD_MMAP2), |m| {
        mapping(m);
        m.u32("maj");
        m.u32("min");
        m.u64("ino");
        m.u64("ino_generation");
        m.u32("prot");
        m.u32("flags");
        m.raw(text);
    });
    check_record(
        RecordForm {
            record_type: PERF_RECORD_MMAP2,
            build_id: true,
        },
        |m| {
            mapping(m);
            m.raw(&[20, 0, 0, 0]);
            m.expected.push(("build_id_size", 20));
            m.raw(&[0xbb; 20]);
            m.expected.push(("build_id", 0xbb));
            m.u32("prot");
            m.u32("flags");
            m.raw(text);
        },
    );
    check_record(form(PERF_RECORD_LOST), |m| {
        m.u64("id");
        m.u64("lost");
    });
    check_record(form(PERF_RECORD_COMM), |m| {
        m.u32("pid");
        m.u32("tid");
        m.raw(text);
    });
    for record_type in [PERF_RECORD_EXIT, PERF_RECORD_FORK] {
        check_record(form(record_type), |m| {
            ["pid", "ppid", "tid", "ptid"]
                .into_iter()
                .for_each(|n| m.u32(n));
            m.u64("time");
        });
    }
    for record_type in [PERF_RECORD_THROTTLE, PERF_RECORD_UNTHROTTLE] {
        check_record(form(record_type), |m| {
            ["time", "id", "stream_id"]
                .into_iter()
                .for_each(|n| m.u64(n))
        });
    }
    check_record(form(PERF_RECORD_READ), |m| {
        m.u32("pid");
        m.u32("tid");
        ["read_value", "read_id", "read_lost"]
            .into_iter()
            .for_each(|n| m.u64(n));
    });
    check_record(form(PERF_RECORD_AUX), |m| {
        ["aux_offset", "aux_size", "flags"]
            .into_iter()
            .for_each(|n| m.u64(n));
    });
    check_record(form(PERF_RECORD_ITRACE_START), |m| {
        m.u32("pid");
        m.u32("tid");
    });
    check_record(form(PERF_RECORD_LOST_SAMPLES), |m| m.u64("lost"));
    check_record(form(PERF_RECORD_SWITCH), |_| {});
    check_record(form(PERF_RECORD_SWITCH_CPU_WIDE), |m| {
        m.u32("next_prev_pid");
        m.u32("next_prev_tid");
    });
    check_record(form(PERF_RECORD_NAMESPACES), |m| {
        m.u32("pid");
        m.u32("tid");
        m.raw(&2u64.to_ne_bytes());
        m.u64("dev");
        m.u64("inode");
        m.raw(&[4; 16]);
    });
    check_record(form(PERF_RECORD_KSYMBOL), |m| {
        m.u64("addr");
        m.u32("len");
        m.u16("ksym_type");
        m.u16("flags");
        m.raw(text);
    });
    check_record(form(PERF_RECORD_BPF_EVENT), |m| {
        m.u16("bpf_type");
        m.u16("flags");
        m.u32("id");
        m.raw(&[0xcc; 8]);
        m.expected.push(("tag", 0xcc));
    });
    check_record(form(PERF_RECORD_CGROUP), |m| {
        m.u64("id");
        m.raw(text);
    });
    check_record(form(PERF_RECORD_TEXT_POKE), |m| {
        m.u64("addr");
        m.raw(&5u16.to_ne_bytes());
        m.raw(&3u16.to_ne_bytes());
        m.raw(&[0xdd; 5]);
        m.raw(&[0xee; 3]);
        m.raw(&[0; 4]);
        m.expected
            .extend([("old_bytes", 0xdd), ("new_bytes", 0xee)]);
    });
    check_record(form(PERF_RECORD_AUX_OUTPUT_HW_ID), |m| m.u64("hw_id"));
    check_record(form(PERF_RECORD_CALLCHAIN_DEFERRED), |m| {
        m.u64("cookie");
        m.raw(&2u64.to_ne_bytes());
        m.u64("callchain");
        m.raw(&[9; 8]);
    });
    check_record(form(63), |m| m.raw(&[1; 40]));
    assert_eq!(form(63).class_name(), "PERF_RECORD_63");
}

fn tracepoint(fields: &str) -> kstrace_tracepoint::TracepointLayout {
    let text = format!(
        "name: made_up\nID: 9999\nformat:\n\
         \tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n\
         \tfield:unsigned char common_flags;\toffset:2;\tsize:1;\tsigned:0;\n\
         \tfield:unsigned char common_preempt_count;\toffset:3;\tsize:1;\tsigned:0;\n\
         \tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;\n\n{fields}\nprint fmt: \"\"\n"
    );
    let parsed = tracefs::format::EventFormat::parse(&text).unwrap();
    kstrace_tracepoint::TracepointLayout::describe("test", &parsed).unwrap()
}

fn raw_sample(sample_type: u64, entry: &[u8]) -> Vec<u8> {
    let mut m = Maker::new(PERF_RECORD_SAMPLE);
    if sample_type & PERF_SAMPLE_TIME != 0 {
        m.u64("time");
    }
    if sample_type & PERF_SAMPLE_CALLCHAIN != 0 {
        m.raw(&1u64.to_ne_bytes());
        m.raw(&[9; 8]);
    }
    m.raw(&u32::try_from(entry.len()).unwrap().to_ne_bytes());
    m.raw(entry);
    m.finish().0
}

/// An entry of `fields` followed by zeros as the kernel pads raw data.
fn padded(fields: &[u8]) -> Vec<u8> {
    let mut entry = [&[0x0f, 0x27, 0, 0, 42, 0, 0, 0][..], fields].concat();
    let len = (entry.len() + 4).next_multiple_of(8) - 4;
    entry.resize(len, 0);
    entry
}

#[test]
fn raw_data_of_fixed_size_end_in_padding() {
    let fields = tracepoint(
        "\tfield:u64 address;\toffset:8;\tsize:8;\tsigned:0;\n\tfield:u32 n;\toffset:16;\tsize:4;\tsigned:0;\n",
    );
    for sample_type in [
        PERF_SAMPLE_RAW,
        PERF_SAMPLE_RAW | PERF_SAMPLE_TIME | PERF_SAMPLE_CALLCHAIN,
    ] {
        let layout = SampleLayout::new(shape(sample_type), Some(fields.clone()));
        let body = [0x33, 0, 0, 0, 0, 0, 0, 0, 0x44, 0, 0, 0];
        let expected = [("address", 0x33), ("n", 0x44), ("common_pid", 42)];
        // 24 bytes of structure, aligned to 8, and 4 to make it 28.
        let entry = padded(&[&body[..], &[0; 4]].concat());
        assert_eq!(layout.static_raw().unwrap().1 as usize, entry.len());
        let record = raw_sample(sample_type, &entry);
        assert_eq!(layout.classify(&record), Some((RawForm::Regular, 0)));
        check(
            &layout.payload(RawForm::Regular),
            &record,
            0,
            &expected,
            "regular",
        );
        // A packed structure has less padding than foretold.
        let record = raw_sample(sample_type, &padded(&body));
        let (form, rest) = layout.classify(&record).unwrap();
        assert_eq!((form, rest), (RawForm::Slack, 0));
        check(&layout.payload(form), &record, rest, &expected, "slack");
        // An entry shorter than its fields.
        let record = raw_sample(sample_type, &padded(&[1; 4]));
        let (form, rest) = layout.classify(&record).unwrap();
        assert_eq!((form, rest), (RawForm::Blob, 0));
        check(&layout.payload(form), &record, rest, &[], "blob");
        for cut in 8..record.len() {
            assert_eq!(layout.classify(&record[..cut]), None, "cut at {cut}");
        }
    }
}

#[test]
fn raw_data_with_dynamic_text_end_in_slack_or_are_odd() {
    let fields = tracepoint("\tfield:__data_loc char[] name;\toffset:8;\tsize:4;\tsigned:0;\n");
    let layout = SampleLayout::new(shape(PERF_SAMPLE_RAW), Some(fields.clone()));
    assert_eq!(layout.static_raw(), None);
    for len in 1..20u32 {
        let mut body = (len << 16 | 12).to_ne_bytes().to_vec();
        body.extend(vec![b'x'; len as usize]);
        let record = raw_sample(PERF_SAMPLE_RAW, &padded(&body));
        let (form, rest) = layout.classify(&record).unwrap();
        assert_eq!(form, RawForm::Regular, "{len}");
        assert!(rest < 8, "{len}");
        check(
            &layout.payload(form),
            &record,
            rest,
            &[("common_pid", 42)],
            "dynamic",
        );
    }
    let mut body = (3u32 << 16 | 13).to_ne_bytes().to_vec();
    body.extend([0, b'a', b'b', 0]);
    let record = raw_sample(PERF_SAMPLE_RAW, &padded(&body));
    let (form, rest) = layout.classify(&record).unwrap();
    assert_eq!(form, RawForm::Odd);
    check(
        &layout.payload(form),
        &record,
        rest,
        &[("common_pid", 42)],
        "odd",
    );
    // With registers behind the raw data there is no room for a rest: bytes.
    let behind = SampleLayout::new(shape(PERF_SAMPLE_RAW | PERF_SAMPLE_REGS_USER), Some(fields));
    assert!(behind.is_always_regular());
    let has_blob = behind
        .payload(RawForm::Regular)
        .member("raw")
        .map(|m| m.class.clone());
    assert!(matches!(has_blob, Some(FieldClass::DynamicBlob { .. })));
}

#[test]
fn raw_data_that_are_no_entry_before_parts_of_the_future() {
    let fields = tracepoint("\tfield:u64 address;\toffset:8;\tsize:8;\tsigned:0;\n");
    let future = SampleShape {
        read_format: PERF_FORMAT_LOST << 1,
        ..shape(PERF_SAMPLE_RAW)
    };
    let layout = SampleLayout::new(future, Some(fields));
    let mut record = raw_sample(PERF_SAMPLE_RAW, &[]);
    record.extend([0xaa; 32]);
    let (form, rest) = layout.classify(&record).unwrap();
    assert_eq!((form, rest), (RawForm::Blob, 32));
    check(&layout.payload(form), &record, rest, &[], "future");
}
