//! One of every kind of thing, as JSON.

use kstrace_schema::model_schema::Model;
use kstrace_schema::*;
use serde_json::Value;
use std::collections::BTreeMap;

/// A class with every kind of field.
pub(super) fn every_field_class() -> StructureClass {
    let int = |size| FieldClass::Integer(IntegerClass::unsigned(size));
    let little = |class: IntegerClass| {
        FieldClass::Integer(IntegerClass {
            byte_order: ByteOrder::LittleEndian,
            ..class
        })
    };
    let length = || Length::Field(FieldPath::new(["_loc", "length"]));
    let mapped = IntegerClass {
        mappings: vec![Mapping {
            name: "low".into(),
            ranges: vec![IntegerRange {
                first: i64::MIN.into(),
                last: -1,
            }],
        }],
        ..IntegerClass::signed(8).hex()
    };
    let location = StructureClass::new(vec![
        Member::new("offset", little(IntegerClass::unsigned(2))),
        Member::new("length", little(IntegerClass::unsigned(2))),
    ]);
    let member = Member::new;
    StructureClass::new(vec![
        member("u8", little(IntegerClass::unsigned(1))),
        Member::padding(3),
        member("i64", little(mapped)).with_role(Role::PrevState),
        member(
            "float",
            FieldClass::Float(FloatClass {
                size_bytes: 8,
                byte_order: ByteOrder::BigEndian,
            }),
        ),
        member("boolean", FieldClass::Boolean),
        member("nul", FieldClass::NullTerminatedString),
        member("fixed", FieldClass::StaticString { size_bytes: 16 }),
        member("_loc", FieldClass::Structure(location)),
        member("dynamic", FieldClass::DynamicString { length: length() }),
        member(
            "array",
            FieldClass::StaticArray {
                element: Box::new(int(1)),
                count: 6,
            },
        ),
        member(
            "sequence",
            FieldClass::DynamicArray {
                element: Box::new(int(1)),
                length: length(),
            },
        ),
        member("blob", FieldClass::StaticBlob { size_bytes: 4 }),
        member("dynamic_blob", FieldClass::DynamicBlob { length: length() }),
        member(
            "variant",
            FieldClass::Variant {
                selector: FieldPath::new(["u8"]),
                options: vec![VariantOption {
                    name: "one".into(),
                    ranges: vec![IntegerRange { first: 1, last: 1 }],
                    class: int(1),
                }],
            },
        ),
        member(
            "optional",
            FieldClass::Optional {
                selector: FieldPath::new(["u8"]),
                ranges: vec![IntegerRange {
                    first: 2,
                    last: u64::MAX.into(),
                }],
                class: Box::new(FieldClass::Boolean),
            },
        ),
        member(
            "rest",
            FieldClass::DynamicBlob {
                length: Length::Rest,
            },
        ),
    ])
}

fn model() -> Model {
    let native = [
        NativeDescription::TracefsFormat {
            format: "name: e\n".into(),
        },
        NativeDescription::PerfSample {
            attr_hex: "0102".into(),
            event: "sched:sched_switch".into(),
            format: Some("name: e\n".into()),
        },
        NativeDescription::PerfRecord {
            record_type: 10,
            sample_id_type: 0,
        },
        NativeDescription::Kstrace,
        NativeDescription::Ctf {
            text: "event {}".into(),
        },
    ];
    let classes = native
        .into_iter()
        .map(|native| {
            EventRecordClass::new(
                SourceId(1),
                namespace::FTRACE,
                "s:e",
                every_field_class(),
                native,
            )
            .with_attribute("ftrace.id", 300)
        })
        .collect();
    let mut account = HopAccount::new(SourceId(1), "kernel", Cpu(3));
    account.seen = 12;
    account.written = 2;
    account.drop_records(LossReason::RingFull, 10);
    Model {
        session: SessionInfo {
            uuid: "00000000-0000-4000-8000-000000000000".into(),
            clock: ClockDescriptor {
                kind: ClockKind::Monotonic,
                native_name: None,
                counts_per_s: None,
                recorded_with: Some(ClockKind::Tsc),
                mapping_error_bound_ns: 40,
                offset_to_realtime_ns: 1_700_000_000_000_000_000,
                boot_id: "11111111-1111-4111-8111-111111111111".into(),
            },
            host: HostInfo {
                hostname: "host".into(),
                arch: "x86_64".into(),
                ..HostInfo::default()
            },
            capture: Capture {
                pids: vec![7],
                ..Capture::default()
            },
            sources: vec![SourceInfo {
                id: SourceId(1),
                kind: namespace::FTRACE.into(),
                description: "ftrace".into(),
                attributes: BTreeMap::from([("ftrace.header_page".into(), Value::from("text"))]),
            }],
        },
        classes,
        losses: vec![Loss {
            source: SourceId(1),
            cpu: Cpu::NONE,
            reason: LossReason::KernelThrottled,
            count: 5,
            certainty: Certainty::AtLeast,
            class: Some(ClassId(2)),
            begin: SessionTime::from_ns(1),
            end: SessionTime::from_ns(2),
        }],
        accounts: vec![account],
        clock_pairs: vec![ClockPair {
            monotonic_ns: 1,
            tsc_cycles: 3,
            ..ClockPair::default()
        }],
    }
}

#[test]
fn every_kind_of_thing_is_written_as_committed_and_read_back() {
    let model = model();
    let json = serde_json::to_value(&model).unwrap();
    super::compare("example.json", &json);
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/v1/example.json");
    let text = std::fs::read_to_string(path).unwrap();
    let back: Model = serde_json::from_str(&text).unwrap();
    assert_eq!(back, model);
}

#[test]
fn a_document_of_a_higher_minor_is_read() {
    let mut json = serde_json::to_value(model()).unwrap();
    json["session"]["added_later"] = Value::from(1);
    json["classes"][0]["added_later"] = Value::from("x");
    json["clock_pairs"][0]["added_later"] = Value::Null;
    let back: Model = serde_json::from_value(json).unwrap();
    assert_eq!(back, model());

    // Words of open lists that came later.
    let mut json = serde_json::to_value(model()).unwrap();
    json["losses"][0]["reason"] = Value::from("some-later-reason");
    json["accounts"][0]["dropped"] = serde_json::json!({"some-later-reason": 10});
    json["classes"][0]["payload"][2]["role"] = Value::from("some-later-role");
    json["classes"][0]["native"] = serde_json::json!({"kind": "some-later-kind", "x": 1});
    let back: Model = serde_json::from_value(json).unwrap();
    assert_eq!(back.losses[0].reason, LossReason::StatedByInput);
    assert_eq!(back.accounts[0].dropped_total(), 10);
    assert_eq!(back.classes[0].payload.members[2].role, None);
    assert_eq!(back.classes[0].native, NativeDescription::Unknown);
}
