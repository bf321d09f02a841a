//! Events of other tracers: format files and entries are made up for them.

use super::kit::{self, Scratch};
use kstrace_ftrace::file::{TraceDatOptions, TraceDatReader, TraceDatSink};
use kstrace_schema::{
    ByteOrder, Certainty, ClassRegistry, ClockDescriptor, ClockKind, Cpu, EventRecord,
    EventRecordClass, FieldClass, FieldPath, FileInput, FileOutput, FloatClass, IntegerClass,
    IntegerRange, Length, Loss, LossReason, Mapping, Member, NativeDescription, Role, SessionInfo,
    SessionTime, Sink, SourceId, SourceInfo, StructureClass,
};

fn session(kinds: &[&str]) -> SessionInfo {
    let source = |(index, kind): (usize, &&str)| SourceInfo {
        id: SourceId(index as u16),
        kind: (*kind).to_owned(),
        description: String::new(),
        attributes: Default::default(),
    };
    SessionInfo {
        uuid: "01234567-89ab-8def-8123-456789abcdef".to_owned(),
        clock: ClockDescriptor {
            kind: ClockKind::Monotonic,
            native_name: None,
            counts_per_s: None,
            recorded_with: None,
            mapping_error_bound_ns: 0,
            offset_to_realtime_ns: 0,
            boot_id: String::new(),
        },
        host: Default::default(),
        capture: Default::default(),
        sources: ["kstrace"]
            .iter()
            .chain(kinds)
            .enumerate()
            .map(source)
            .collect(),
    }
}

fn integer(size: u8) -> FieldClass {
    FieldClass::Integer(IntegerClass::unsigned(size))
}

fn class(source: u16, namespace: &str, name: &str, members: Vec<Member>) -> EventRecordClass {
    let payload = StructureClass::new(members);
    let native = NativeDescription::Ctf {
        text: String::new(),
    };
    EventRecordClass::new(SourceId(source), namespace, name, payload, native)
}

fn record<'a>(class: &EventRecordClass, time: u64, payload: &'a [u8]) -> EventRecord<'a> {
    EventRecord {
        class: class.id,
        rest_len_bytes: 0,
        cpu: Cpu(1),
        time: SessionTime::from_ns(time),
        payload,
    }
}

#[test]
fn every_kind_of_field_is_printed() {
    let scratch = Scratch::new();
    let registry = ClassRegistry::new();
    let big = IntegerClass {
        byte_order: ByteOrder::BigEndian,
        ..IntegerClass::unsigned(4)
    };
    let state = IntegerClass {
        mappings: vec![
            Mapping {
                name: "RUNNING".into(),
                ranges: vec![IntegerRange { first: 0, last: 0 }],
            },
            Mapping {
                name: "ASLEEP".into(),
                ranges: vec![IntegerRange { first: 1, last: 1 }],
            },
        ],
        ..IntegerClass::unsigned(1)
    };
    let length = |name: &str| Length::Field(FieldPath::new([name]));
    let members = vec![
        Member::new("tid", FieldClass::Integer(IntegerClass::signed(4))).with_role(Role::Tid),
        Member::new("comm", FieldClass::StaticString { size_bytes: 8 }).with_role(Role::Comm),
        Member::new("swapped", FieldClass::Integer(big.clone())),
        Member::new("state", FieldClass::Integer(state)),
        Member::padding(3),
        Member::new("name", FieldClass::NullTerminatedString),
        Member::new("count", integer(1)),
        Member::new(
            "list",
            FieldClass::DynamicArray {
                element: Box::new(FieldClass::Integer(big)),
                length: length("count"),
            },
        ),
        Member::new(
            "inner",
            FieldClass::Structure(StructureClass::new(vec![
                Member::new("flag", FieldClass::Boolean),
                Member::new(
                    "pair",
                    FieldClass::StaticArray {
                        element: Box::new(integer(2)),
                        count: 2,
                    },
                ),
            ])),
        ),
        Member::new(
            "load",
            FieldClass::Float(FloatClass {
                size_bytes: 8,
                byte_order: ByteOrder::NATIVE,
            }),
        ),
        Member::new("mask", FieldClass::Integer(IntegerClass::unsigned(8).hex())),
        Member::new(
            "opt",
            FieldClass::Optional {
                selector: FieldPath::new(["count"]),
                ranges: vec![IntegerRange { first: 9, last: 9 }],
                class: Box::new(integer(2)),
            },
        ),
    ];
    let class = registry
        .register(class(1, "lttng", "my_provider:odd-name", members))
        .unwrap();
    let mut payload = 4711i32.to_ne_bytes().to_vec();
    payload.extend(b"worker\0\0");
    payload.extend(77u32.to_be_bytes());
    payload.extend([1, 0, 0, 0]);
    payload.extend(b"text with spaces\0");
    payload.push(2);
    payload.extend([1u32.to_be_bytes(), 258u32.to_be_bytes()].concat());
    payload.push(1);
    payload.extend([3u16.to_ne_bytes(), 4u16.to_ne_bytes()].concat());
    payload.extend(1.5f64.to_ne_bytes());
    payload.extend(0xabcdu64.to_ne_bytes());

    let path = scratch.path("made.dat");
    let mut sink = TraceDatSink::create(&path, TraceDatOptions::default()).unwrap();
    sink.session(&session(&["lttng"])).unwrap();
    sink.class(&class).unwrap();
    sink.record(&record(&class, 5_000_000_123, &payload))
        .unwrap();
    sink.finish().unwrap();
    let report = sink.report();
    assert_eq!(report.kept, 1, "{report:?}");
    assert!(report.is_lossless(), "{report:?}");
    let said = kit::report(&path, &["-t"]);
    for words in [
        "worker-4711 ",
        "[001]",
        "5.000000123: odd_name:",
        "tid=4711",
        "comm=worker",
        "swapped=77",
        "state=ASLEEP",
        "name=text with spaces",
        "list=1 258 ",
        "inner_flag=1",
        "load=1.5",
        "mask=0xabcd",
        "opt=0",
    ] {
        assert!(said.contains(words), "{words} in {said}");
    }
    // And kstrace reads it too.
    let (seen, damage) = kit::read(&path).unwrap();
    assert!(damage.is_empty());
    assert_eq!(seen.events()[0].0, "my_provider:odd_name");
}

#[test]
fn several_sources_are_several_buffers() {
    let scratch = Scratch::new();
    let registry = ClassRegistry::new();
    let tid = || Member::new("tid", integer(4)).with_role(Role::Tid);
    let next = Member::new("next", integer(4)).with_role(Role::NextTid);
    let switch = registry
        .register(class(1, "lttng", "sched_switch", vec![next]))
        .unwrap();
    let bare = registry
        .register(class(
            1,
            "lttng",
            "bare",
            vec![Member::new("x", integer(4))],
        ))
        .unwrap();
    let other = registry
        .register(class(2, "perf", "cpu-clock", vec![tid()]))
        .unwrap();
    let path = scratch.path("made.dat");
    let mut sink = TraceDatSink::create(&path, TraceDatOptions::default()).unwrap();
    sink.session(&session(&["lttng", "perf"])).unwrap();
    for class in [&switch, &bare, &other] {
        sink.class(class).unwrap();
    }
    sink.record(&record(&switch, 1000, &55u32.to_ne_bytes()))
        .unwrap();
    sink.record(&record(&bare, 2000, &1u32.to_ne_bytes()))
        .unwrap();
    sink.loss(&Loss {
        source: SourceId(2),
        cpu: Cpu(1),
        reason: LossReason::KernelRingFull,
        count: 9,
        certainty: Certainty::Exact,
        class: None,
        begin: SessionTime::ZERO,
        end: SessionTime::from_ns(3000),
    })
    .unwrap();
    sink.record(&record(&other, 3000, &8u32.to_ne_bytes()))
        .unwrap();
    // Later than what came before it.
    sink.record(&record(&bare, 1500, &2u32.to_ne_bytes()))
        .unwrap();
    // Too far for one page's times.
    sink.record(&record(&bare, 1 << 61, &3u32.to_ne_bytes()))
        .unwrap();
    sink.finish().unwrap();
    let report = sink.report();
    assert_eq!((report.kept, report.lost, report.out_of_order), (5, 9, 1));
    assert!(sink.finish().is_err());
    let said = kit::report(&path, &["-t"]);
    assert!(said.contains("perf:"), "{said}");
    assert!(said.contains("9 EVENTS DROPPED"), "{said}");
    // Who runs is known from the switch.
    let bare_lines: Vec<&str> = said
        .lines()
        .filter(|line| line.contains(" bare:"))
        .collect();
    assert_eq!(bare_lines.len(), 3, "{said}");
    assert!(
        bare_lines.iter().all(|line| line.contains("-55 ")),
        "{said}"
    );
    let reader = TraceDatReader::open(&path).unwrap();
    assert_eq!(reader.session().sources.len(), 3);
    assert_eq!(reader.session().clock.kind, ClockKind::Monotonic);
}

#[test]
fn what_cannot_be_held_is_counted() {
    let scratch = Scratch::new();
    let registry = ClassRegistry::new();
    let blob = FieldClass::DynamicBlob {
        length: Length::Field(FieldPath::new(["len"])),
    };
    let long = class(
        1,
        "x",
        "long",
        vec![Member::new("len", integer(4)), Member::new("data", blob)],
    );
    let long = registry.register(long).unwrap();
    let sideband = EventRecordClass {
        native: NativeDescription::PerfRecord {
            record_type: 10,
            sample_id_type: 0,
        },
        ..class(
            1,
            "perf",
            "PERF_RECORD_MMAP2",
            vec![Member::new("pid", integer(4))],
        )
    };
    let sideband = registry.register(sideband).unwrap();
    let path = scratch.path("made.dat");
    let mut sink = TraceDatSink::create(&path, TraceDatOptions::default()).unwrap();
    sink.session(&session(&["x"])).unwrap();
    for class in [&long, &sideband] {
        sink.class(class).unwrap();
    }
    for len in [10u32, 4000, 5000, 70_000] {
        let mut payload = len.to_ne_bytes().to_vec();
        payload.resize(4 + len as usize, 7);
        sink.record(&record(&long, 1000 + u64::from(len), &payload))
            .unwrap();
    }
    sink.record(&record(&sideband, 1 << 20, &[0; 4])).unwrap();
    let unannounced = EventRecordClass {
        id: kstrace_schema::ClassId(99),
        ..(*long).clone()
    };
    assert!(sink.record(&record(&unannounced, 1, &[])).is_err());
    sink.finish().unwrap();
    let report = sink.report();
    assert_eq!((report.kept, report.too_long), (2, 2), "{report:?}");
    assert_eq!(report.not_held["x:long"], 2);
    assert_eq!(report.not_held["perf:PERF_RECORD_MMAP2"], 1);
    assert_eq!(kit::report(&path, &[]).lines().count(), 3);
}

#[test]
fn an_unfinished_file_leaves_nothing_and_no_record_is_a_file_too() {
    let scratch = Scratch::new();
    let path = scratch.path("made.dat");
    std::fs::write(&path, "old").unwrap();
    let directory = path.parent().unwrap().to_owned();
    let entries = || std::fs::read_dir(&directory).unwrap().count();
    let sink = TraceDatSink::create(&path, TraceDatOptions::default()).unwrap();
    drop(sink);
    assert_eq!(
        (entries(), std::fs::read(&path).unwrap()),
        (1, b"old".to_vec())
    );
    for version in [7, 6] {
        let options = TraceDatOptions {
            version,
            ..TraceDatOptions::default()
        };
        let mut sink = TraceDatSink::create(&path, options).unwrap();
        sink.session(&session(&["ftrace"])).unwrap();
        sink.finish().unwrap();
        assert_eq!(entries(), 1);
        let (seen, damage) = kit::read(&path).unwrap();
        assert!(seen.records.is_empty() && damage.is_empty());
    }
    for options in [
        TraceDatOptions {
            version: 5,
            ..TraceDatOptions::default()
        },
        TraceDatOptions {
            version: 6,
            compression: kstrace_ftrace::file::Compression::Zstd,
        },
    ] {
        assert!(TraceDatSink::create(&path, options).is_err());
    }
    let full = TraceDatSink::create("/dev/full".as_ref(), TraceDatOptions::default());
    let mut full = full.unwrap();
    full.session(&session(&["ftrace"])).unwrap();
    let error = full.finish().unwrap_err();
    assert!(format!("{error:?}").contains("/dev/full"), "{error:?}");
}
