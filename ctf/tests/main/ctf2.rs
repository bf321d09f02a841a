//! CTF 2 fragments give back what they were made of.

use crate::support::{class, int, session};
use kstrace_ctf::ctf2::{
    Fragment, event_record_class_fragment, parse_event_record_class, parse_fragment, parse_session,
    session_fragments,
};
use kstrace_ctf::{MetadataFormat, TraceWriter, TraceWriterOptions};
use kstrace_schema::{
    Base, ByteOrder, EventRecordClass, FieldClass, FieldPath, FloatClass, IntegerClass,
    IntegerRange, Length, Mapping, Member, Role, StructureClass, VariantOption, builtin,
};
use serde_json::Value;

fn range(first: i128, last: i128) -> IntegerRange {
    IntegerRange { first, last }
}

/// A class with every kind of field.
fn everything() -> EventRecordClass {
    let mapping = |name: &str, ranges: &[IntegerRange]| Mapping {
        name: name.to_owned(),
        ranges: ranges.to_vec(),
    };
    let by = |name: &str| Length::Field(FieldPath::new([name]));
    let integers = [
        IntegerClass::unsigned(1),
        IntegerClass::signed(2).hex(),
        IntegerClass {
            base: Base::Octal,
            ..IntegerClass::unsigned(4)
        },
        IntegerClass {
            base: Base::Binary,
            byte_order: ByteOrder::BigEndian,
            ..IntegerClass::signed(8)
        },
        // Sorted labels; then labels whose order, repetition and emptiness must be kept.
        IntegerClass {
            mappings: vec![
                mapping("A", &[range(-1, 1), range(5, 5)]),
                mapping("B", &[range(i128::from(i64::MIN), -9)]),
            ],
            ..IntegerClass::signed(8)
        },
        IntegerClass {
            mappings: vec![
                mapping("Z", &[range(1, 1)]),
                mapping("A", &[range(0, i128::from(u64::MAX))]),
                mapping("Z", &[range(3, 4)]),
                mapping("empty", &[]),
            ],
            ..IntegerClass::unsigned(8)
        },
    ];
    let mut members = integers
        .into_iter()
        .enumerate()
        .map(|(i, c)| Member::new(format!("i{i}"), FieldClass::Integer(c)))
        .collect::<Vec<_>>();
    let float = |size_bytes, byte_order| {
        FieldClass::Float(FloatClass {
            size_bytes,
            byte_order,
        })
    };
    members.extend([
        Member::new("f", float(4, ByteOrder::NATIVE)),
        Member::new("d", float(8, ByteOrder::BigEndian)),
        Member::new("bool", FieldClass::Boolean),
        Member::padding(3),
        Member::padding(2),
        Member::new("z", FieldClass::NullTerminatedString),
        Member::new("comm", FieldClass::StaticString { size_bytes: 16 }).with_role(Role::Comm),
        Member::new("n", int(2)),
        // The same name again, and none.
        Member::new("n", int(2)).with_role(Role::Tid),
        Member::new("", int(1)),
        Member::new("ds", FieldClass::DynamicString { length: by("n") }),
        Member::new("sb", FieldClass::StaticBlob { size_bytes: 7 }),
        Member::new("db", FieldClass::DynamicBlob { length: by("n") }),
        Member::new(
            "sa",
            FieldClass::StaticArray {
                element: Box::new(FieldClass::StaticArray {
                    element: Box::new(int(4)),
                    count: 2,
                }),
                count: 3,
            },
        ),
        Member::new(
            "da",
            FieldClass::DynamicArray {
                element: Box::new(int(8)),
                length: by("n"),
            },
        ),
        Member::new(
            "s",
            FieldClass::Structure(StructureClass::new(vec![
                Member::new("a", int(1)),
                Member::padding(1),
                Member::new("tag", int(2)).with_role(Role::Cpu),
            ])),
        ),
        Member::new("empty", FieldClass::Structure(StructureClass::default())),
        Member::new(
            "opt",
            FieldClass::Optional {
                selector: FieldPath::new(["s", "tag"]),
                ranges: vec![range(1, 2), range(9, 9)],
                class: Box::new(int(4)),
            },
        ),
        Member::new(
            "var",
            FieldClass::Variant {
                selector: FieldPath::new(["i0"]),
                options: vec![
                    VariantOption {
                        name: "x".to_owned(),
                        ranges: vec![range(1, 1)],
                        class: int(1),
                    },
                    VariantOption {
                        name: "y".to_owned(),
                        ranges: vec![range(3, 200)],
                        class: FieldClass::NullTerminatedString,
                    },
                ],
            },
        ),
        Member::new(
            "rest",
            FieldClass::DynamicArray {
                element: Box::new(int(2)),
                length: Length::Rest,
            },
        ),
    ]);
    let mut class = (*class(7, "every:thing", members)).clone();
    class.version = 3;
    class
        .with_attribute("ftrace.id", 314)
        .with_attribute("perf.ids", vec![1u64, u64::MAX])
}

/// Through text, as it goes through the ring or a file.
fn through_text(fragment: &Value) -> Value {
    serde_json::from_str(&fragment.to_string()).unwrap()
}

#[test]
fn classes_survive() {
    for class in [
        everything(),
        builtin::lost_class(),
        builtin::clock_pair_class(),
        builtin::process_class(),
        (*class(0, "", vec![])).clone(),
    ] {
        let fragment = through_text(&event_record_class_fragment(&class));
        assert_eq!(parse_event_record_class(&fragment).unwrap(), class);
        assert_eq!(
            parse_fragment(&fragment).unwrap(),
            Fragment::EventRecordClass(Box::new(class))
        );
    }
}

#[test]
fn sessions_survive() {
    let mut session = session();
    session.clock.offset_to_realtime_ns = -1;
    let parsed = session_fragments(&session)
        .iter()
        .map(|f| parse_fragment(&through_text(f)).unwrap())
        .filter(|f| *f != Fragment::Other)
        .collect::<Vec<_>>();
    assert_eq!(parsed, [Fragment::Session(Box::new(session))]);
}

#[test]
fn what_is_wrong_is_named() {
    let good = event_record_class_fragment(&everything());
    let broken = |pointer: &str, value: Value| {
        let mut fragment = good.clone();
        *fragment.pointer_mut(pointer).unwrap() = value;
        parse_event_record_class(&fragment).unwrap_err()
    };
    let error = broken(
        "/payload-field-class/member-classes/0/field-class/length",
        12.into(),
    );
    assert!(error.path.ends_with("field-class.length"), "{error}");
    let error = broken(
        "/payload-field-class/member-classes/0/field-class/type",
        "widget".into(),
    );
    assert!(error.reason.contains("'widget'"), "{error}");
    let error = broken("/payload-field-class/member-classes/0/name", "other".into());
    assert!(error.reason.contains("fingerprint"), "{error}");
    let error = broken("/id", 70_000.into());
    assert_eq!(error.path, "fragment.id");

    let trace_class = &session_fragments(&session())[1];
    let mut other_major = trace_class.clone();
    other_major["attributes"]["kstrace.org"]["model-version"] = serde_json::json!([9, 0]);
    assert!(
        parse_session(&other_major)
            .unwrap_err()
            .reason
            .contains("9.0")
    );
    let mut deep = serde_json::json!({ "type": "structure" });
    for _ in 0..100 {
        deep = serde_json::json!({
            "type": "structure",
            "member-classes": [{ "name": "x", "field-class": deep }],
        });
    }
    let error = broken("/payload-field-class", deep);
    assert!(error.reason.contains("deep"), "{error}");
}

#[test]
fn every_truncated_or_mutilated_fragment_is_an_error_or_a_fragment() {
    // No value of any property may lead to a panic.
    let good = event_record_class_fragment(&everything());
    let mut places = Vec::new();
    collect_pointers(&good, String::new(), &mut places);
    assert!(places.len() > 200);
    for place in &places {
        for value in [
            Value::Null,
            Value::from(-1),
            Value::from(u64::MAX),
            Value::from("x"),
            serde_json::json!([]),
            serde_json::json!({}),
        ] {
            let mut fragment = good.clone();
            *fragment.pointer_mut(place).unwrap() = value;
            let _ = parse_fragment(&fragment);
        }
    }
}

fn collect_pointers(value: &Value, at: String, places: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                collect_pointers(value, format!("{at}/{}", key.replace('/', "~1")), places);
            }
        }
        Value::Array(list) => {
            for (index, value) in list.iter().enumerate() {
                collect_pointers(value, format!("{at}/{index}"), places);
            }
        }
        _ => {}
    }
    places.push(at);
}

#[test]
fn a_trace_can_have_ctf_2_metadata() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("t.kst");
    let options = TraceWriterOptions {
        metadata: MetadataFormat::Ctf2,
        ..TraceWriterOptions::default()
    };
    let mut writer = TraceWriter::create(&dir, &session(), &options).unwrap();
    let class = std::sync::Arc::new(everything());
    writer.add_class(&class).unwrap();
    writer.finish().unwrap();
    let text = std::fs::read_to_string(dir.join("metadata")).unwrap();
    let mut items = text.split('\u{1e}');
    assert_eq!(
        items.next(),
        Some(""),
        "an item begins with a record separator"
    );
    let fragments = items
        .map(|item| {
            assert!(item.ends_with('\n'));
            serde_json::from_str::<Value>(item).unwrap()
        })
        .collect::<Vec<_>>();
    let types = fragments
        .iter()
        .map(|f| f["type"].as_str().unwrap())
        .collect::<Vec<_>>();
    assert_eq!(
        types,
        [
            "preamble",
            "trace-class",
            "clock-class",
            "data-stream-class",
            "event-record-class"
        ]
    );
    assert_eq!(fragments[0]["version"], 2);
    assert_eq!(parse_event_record_class(&fragments[4]).unwrap(), *class);
}
