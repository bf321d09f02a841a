//! Sessions made by hand: other tracers, other clocks, damaged records.

use kstrace_perfetto::{PerfettoOptions, PerfettoSink};
use kstrace_schema::{
    Capture, ClassRegistry, ClockDescriptor, ClockKind, ClockPair, ConversionReport, Cpu,
    EventRecord, EventRecordClass, FieldClass, FieldPath, FileOutput, HostInfo, IntegerClass,
    Length, Member, NativeDescription, Role, SessionInfo, SessionTime, Sink, SourceId,
    StructureClass,
};
use std::io::Write;
use std::sync::{Arc, Mutex};

/// A writer whose bytes can be looked at afterwards.
#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A field of a protobuf message.
#[derive(Clone, Debug, PartialEq)]
enum Wire {
    Varint(u64),
    Bytes(Vec<u8>),
}

/// The fields of a message, by the rules of the wire format alone.
fn fields(mut bytes: &[u8]) -> Vec<(u64, Wire)> {
    fn varint(bytes: &mut &[u8]) -> u64 {
        let mut value = 0;
        for shift in (0..70).step_by(7) {
            let (first, rest) = bytes.split_first().expect("a varint");
            *bytes = rest;
            value |= u64::from(first & 0x7f) << shift;
            if first & 0x80 == 0 {
                break;
            }
        }
        value
    }
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let tag = varint(&mut bytes);
        let value = match tag & 7 {
            0 => Wire::Varint(varint(&mut bytes)),
            2 => {
                let len = varint(&mut bytes) as usize;
                let (inner, rest) = bytes.split_at(len);
                bytes = rest;
                Wire::Bytes(inner.to_vec())
            }
            other => panic!("wire type {other}"),
        };
        fields.push((tag >> 3, value));
    }
    fields
}

/// The messages with that field number.
fn messages(bytes: &[u8], number: u64) -> Vec<Vec<u8>> {
    let of_number = fields(bytes).into_iter().filter(|(n, _)| *n == number);
    of_number
        .filter_map(|(_, value)| match value {
            Wire::Bytes(bytes) => Some(bytes),
            Wire::Varint(_) => None,
        })
        .collect()
}

fn session(kind: ClockKind) -> SessionInfo {
    SessionInfo {
        uuid: "00112233-4455-6677-8899-aabbccddeeff".to_owned(),
        clock: ClockDescriptor {
            kind,
            native_name: None,
            counts_per_s: None,
            recorded_with: None,
            mapping_error_bound_ns: 0,
            offset_to_realtime_ns: 0,
            boot_id: String::new(),
        },
        host: HostInfo::default(),
        capture: Capture::default(),
        sources: Vec::new(),
    }
}

fn integer(name: &str, size_bytes: u8) -> Member {
    Member::new(name, FieldClass::Integer(IntegerClass::signed(size_bytes)))
}

fn text(name: &str) -> Member {
    Member::new(name, FieldClass::StaticString { size_bytes: 16 })
}

fn lttng(name: &str, members: Vec<Member>) -> EventRecordClass {
    let native = NativeDescription::Ctf {
        text: String::new(),
    };
    let payload = StructureClass::new(members);
    EventRecordClass::new(SourceId(1), "lttng", name, payload, native)
}

fn lttng_switch() -> EventRecordClass {
    lttng(
        "sched_switch",
        vec![
            text("prev_comm"),
            integer("prev_tid", 4),
            integer("prev_prio", 4),
            integer("prev_state", 8),
            text("next_comm"),
            integer("next_tid", 4),
            integer("next_prio", 4),
        ],
    )
}

fn switch_payload(next_tid: i32) -> Vec<u8> {
    let mut bytes = b"from\0\0\0\0\0\0\0\0\0\0\0\0".to_vec();
    bytes.extend(7i32.to_ne_bytes());
    bytes.extend(20i32.to_ne_bytes());
    bytes.extend(1i64.to_ne_bytes());
    bytes.extend(b"to\0\0\0\0\0\0\0\0\0\0\0\0\0\0");
    bytes.extend(next_tid.to_ne_bytes());
    bytes.extend((-2i32).to_ne_bytes());
    bytes
}

/// Writes records of these classes, at 1000 ns and then one each.
fn written(
    kind: ClockKind,
    pair: Option<ClockPair>,
    classes: Vec<EventRecordClass>,
    records: &[(usize, Vec<u8>)],
) -> (Vec<u8>, ConversionReport) {
    let shared = Shared::default();
    let mut sink = PerfettoSink::to_writer("memory", shared.clone(), PerfettoOptions::default());
    sink.session(&session(kind)).unwrap();
    let registry = ClassRegistry::new();
    let classes: Vec<_> = classes
        .into_iter()
        .map(|class| registry.register(class).unwrap())
        .collect();
    for class in &classes {
        sink.class(class).unwrap();
    }
    for (time, (class, payload)) in (1000..).zip(records) {
        let class = &classes[*class];
        let rest = if class.payload.ends_with_rest() {
            payload.len()
        } else {
            0
        };
        sink.record(&EventRecord {
            class: class.id,
            rest_len_bytes: rest as u16,
            cpu: Cpu(3),
            time: SessionTime::from_ns(time),
            payload,
        })
        .unwrap();
    }
    if let Some(pair) = pair {
        sink.clock_pair(&pair).unwrap();
    }
    sink.finish().unwrap();
    let report = sink.report();
    let bytes = shared.0.lock().unwrap().clone();
    (bytes, report)
}

/// All `FtraceEvent`s.
fn ftrace_events(trace: &[u8]) -> Vec<Vec<u8>> {
    messages(trace, 1)
        .iter()
        .flat_map(|packet| messages(packet, 1))
        .flat_map(|bundle| messages(&bundle, 2))
        .collect()
}

#[test]
fn lttng_events_become_typed_by_their_canonical_names() {
    let raise = lttng("irq_softirq_raise", vec![integer("vec", 4)]);
    let own = lttng("my_event", vec![integer("n", 8), text("what")]);
    let mut own_payload = (-5i64).to_ne_bytes().to_vec();
    own_payload.extend(b"a\xff\0\0\0\0\0\0\0\0\0\0\0\0\0\0");
    let records = [
        (0, switch_payload(42)),
        (1, 9i32.to_ne_bytes().to_vec()),
        (2, own_payload),
    ];
    let pair = ClockPair {
        monotonic_ns: 2_000,
        boottime_ns: 5_000_000_000_000,
        ..ClockPair::default()
    };
    let (trace, report) = written(
        ClockKind::Monotonic,
        Some(pair),
        vec![lttng_switch(), raise, own],
        &records,
    );
    assert_eq!((report.kept, report.not_held_total()), (3, 0));
    let events = ftrace_events(&trace);
    assert_eq!(events.len(), 3);
    // The records came before the clock pair that tells their time since boot.
    assert_eq!(fields(&events[0])[0], (1, Wire::Varint(4_999_999_999_000)));
    let switch = fields(&messages(&events[0], 4)[0]);
    let expected = vec![
        (1, Wire::Bytes(b"from".to_vec())),
        (2, Wire::Varint(7)),
        (3, Wire::Varint(20)),
        (4, Wire::Varint(1)),
        (5, Wire::Bytes(b"to".to_vec())),
        (6, Wire::Varint(42)),
        (7, Wire::Varint(-2i64 as u64)),
    ];
    assert_eq!(switch, expected);
    // LTTng's events do not say who made them: whoever was switched to.
    assert_eq!(fields(&events[1])[1], (2, Wire::Varint(42)));
    assert_eq!(fields(&messages(&events[1], 26)[0]), [(1, Wire::Varint(9))]);
    let generic = messages(&events[2], 327).remove(0);
    assert_eq!(messages(&generic, 1), [b"my_event".to_vec()]);
    let named: Vec<_> = messages(&generic, 2).iter().map(|f| fields(f)).collect();
    let expected = [
        vec![
            (1, Wire::Bytes(b"n".to_vec())),
            (4, Wire::Varint(-5i64 as u64)),
        ],
        vec![
            (1, Wire::Bytes(b"what".to_vec())),
            (3, Wire::Bytes("a\u{fffd}".into())),
        ],
    ];
    assert_eq!(named, expected);
}

#[test]
fn a_clock_that_nothing_relates_is_said_to_be_one() {
    let records = [(0, switch_payload(1))];
    let (trace, report) = written(ClockKind::Sched, None, vec![lttng_switch()], &records);
    assert_eq!(
        fields(&ftrace_events(&trace)[0])[0],
        (1, Wire::Varint(1000))
    );
    assert!(
        report.facts_not_held.iter().any(|f| f.contains("clock")),
        "{report:?}"
    );
}

/// Every kind of plan, with payloads cut at every length and with every byte changed.
#[test]
fn damaged_records_are_counted_and_nothing_else() {
    let chain = FieldClass::DynamicArray {
        element: Box::new(FieldClass::Integer(IntegerClass::unsigned(8))),
        length: Length::Field(FieldPath::new(["callchain_nr"])),
    };
    let sample = EventRecordClass::new(
        SourceId(1),
        "perf",
        "cpu-clock",
        StructureClass::new(vec![
            integer("pid", 4).with_role(Role::Pid),
            integer("tid", 4).with_role(Role::Tid),
            integer("callchain_nr", 8),
            Member::new("callchain", chain).with_role(Role::Callchain),
        ]),
        NativeDescription::PerfSample {
            attr_hex: "ff".repeat(20),
            event: "cpu-clock".to_owned(),
            format: None,
        },
    );
    let blob = lttng(
        "blob",
        vec![
            integer("len", 1),
            Member::new(
                "bytes",
                FieldClass::DynamicBlob {
                    length: Length::Field(FieldPath::new(["len"])),
                },
            ),
        ],
    );
    let mut good_sample = vec![1, 0, 0, 0, 2, 0, 0, 0];
    good_sample.extend(2u64.to_ne_bytes());
    good_sample.extend(
        [0x1000u64, u64::MAX - 511]
            .iter()
            .flat_map(|a| a.to_ne_bytes()),
    );
    let good = [
        (0, switch_payload(1)),
        (1, good_sample),
        (2, vec![3, 1, 2, 3]),
    ];
    let mut records = Vec::new();
    for (class, payload) in &good {
        for len in 0..payload.len() {
            records.push((*class, payload[..len].to_vec()));
        }
        for at in 0..payload.len() {
            let mut changed = payload.clone();
            changed[at] ^= 0xff;
            records.push((*class, changed));
        }
    }
    let classes = vec![lttng_switch(), sample, blob];
    let (trace, report) = written(ClockKind::Boottime, None, classes, &records);
    assert_eq!(report.kept + report.not_held_total(), records.len() as u64);
    assert!(report.unparsable > 0 && report.kept > 0);
    // What was begun and given up has left no trace.
    let samples = messages(&trace, 1)
        .iter()
        .flat_map(|packet| messages(packet, 66))
        .count();
    let events = ftrace_events(&trace).len();
    assert_eq!((samples + events) as u64, report.kept);
}
