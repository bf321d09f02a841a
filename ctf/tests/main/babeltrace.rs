//! What babeltrace2 reads is what was written.

use crate::support::{UUID, babeltrace2, babeltrace2_ok, builder, class, int, record, session};
use kstrace_ctf::{PacketBuilder, TraceWriter, TraceWriterOptions, uuid_bytes};
use kstrace_schema::{
    Base, ByteOrder, Cpu, FieldClass, FieldPath, FloatClass, IntegerClass, IntegerRange, Length,
    Mapping, Member, StructureClass, VariantOption,
};

/// Writes one record of a class with these members and gives babeltrace2's text of its fields.
fn decoded(name: &str, members: Vec<Member>, payloads: &[(u16, &[u8])]) -> Vec<String> {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("t.kst");
    let mut writer = TraceWriter::create(&dir, &session(), &TraceWriterOptions::default()).unwrap();
    writer.add_class(&class(0, name, members)).unwrap();
    // Something behind it, so that a wrong length shows.
    writer
        .add_class(&class(1, "after", vec![Member::new("x", int(1))]))
        .unwrap();
    let mut packet = builder(0);
    for (index, (rest, payload)) in payloads.iter().enumerate() {
        packet.push(&record(100 + index as u64, 0, *rest, payload));
        packet.push(&record(100 + index as u64, 1, 0, &[7]));
    }
    packet.take(|p| writer.append_packet(0, p)).unwrap();
    writer.finish().unwrap();
    let lines = babeltrace2_ok(&dir);
    assert_eq!(lines.len(), payloads.len() * 2, "{lines:#?}");
    lines
        .chunks(2)
        .map(|pair| {
            assert!(
                pair[1].ends_with("box after: { cpu_id = 0 }, { x = 7 }"),
                "{}",
                pair[1]
            );
            let (_, rest) = pair[0].split_once("box ").unwrap();
            rest.to_owned()
        })
        .collect()
}

fn one(members: Vec<Member>, payload: &[u8]) -> String {
    let text = decoded("e", members, &[(0, payload)]).remove(0);
    text.strip_prefix("e: { cpu_id = 0 }, ")
        .unwrap_or(&text)
        .to_owned()
}

fn integer(class: IntegerClass) -> FieldClass {
    FieldClass::Integer(class)
}

#[test]
fn integers_of_every_width_sign_order_and_base() {
    let mut members = Vec::new();
    let mut payload = Vec::new();
    for size in [1u8, 2, 4, 8] {
        members.push(Member::new(format!("u{size}"), int(size)));
        payload.extend((0..size).map(|i| i + 1));
        members.push(Member::new(
            format!("s{size}"),
            integer(IntegerClass::signed(size)),
        ));
        payload.extend((0..size).map(|_| 0xfe));
    }
    let big = IntegerClass {
        byte_order: ByteOrder::BigEndian,
        ..IntegerClass::unsigned(2)
    };
    members.push(Member::new("be", integer(big)));
    payload.extend([1, 2]);
    members.push(Member::new("hex", integer(IntegerClass::unsigned(4).hex())));
    payload.extend([0xef, 0xbe, 0xad, 0xde]);
    let octal = IntegerClass {
        base: Base::Octal,
        ..IntegerClass::unsigned(1)
    };
    members.push(Member::new("oct", integer(octal)));
    payload.push(8);
    assert_eq!(
        one(members, &payload),
        "{ u1 = 1, s1 = -2, u2 = 513, s2 = -258, u4 = 67305985, s4 = -16843010, \
         u8 = 578437695752307201, s8 = -72340172838076674, be = 258, hex = 0xDEADBEEF, oct = 010 }"
    );
}

#[test]
fn floats_booleans_and_enumerations() {
    let mapping = |name: &str, first, last| Mapping {
        name: name.to_owned(),
        ranges: vec![IntegerRange { first, last }],
    };
    let states = IntegerClass {
        mappings: vec![mapping("R", 0, 0), mapping("sleeps \"deeply\"", 1, 5)],
        ..IntegerClass::signed(4)
    };
    let float = |size_bytes| {
        FieldClass::Float(FloatClass {
            size_bytes,
            byte_order: ByteOrder::NATIVE,
        })
    };
    let mut payload = 1.5f32.to_ne_bytes().to_vec();
    payload.extend((-0.25f64).to_ne_bytes());
    payload.extend([1, 0]);
    payload.extend(0i32.to_ne_bytes());
    payload.extend(3i32.to_ne_bytes());
    payload.extend(9i32.to_ne_bytes());
    let members = vec![
        Member::new("f", float(4)),
        Member::new("d", float(8)),
        Member::new("t", FieldClass::Boolean),
        Member::new("n", FieldClass::Boolean),
        Member::new("a", integer(states.clone())),
        Member::new("b", integer(states.clone())),
        Member::new("c", integer(states)),
    ];
    assert_eq!(
        one(members, &payload),
        "{ f = 1.5, d = -0.25, t = ( \"true\" : container = 1 ), n = ( \"false\" : container = 0 ), \
         a = ( \"R\" : container = 0 ), b = ( \"sleeps \\\"deeply\\\"\" : container = 3 ), \
         c = ( <unknown> : container = 9 ) }"
    );
}

#[test]
fn text_and_bytes() {
    let by = |name: &str| Length::Field(FieldPath::new([name]));
    let members = vec![
        Member::new("n", int(2)),
        Member::new("z", FieldClass::NullTerminatedString),
        Member::new("comm", FieldClass::StaticString { size_bytes: 8 }),
        Member::new("s", FieldClass::DynamicString { length: by("n") }),
        Member::new("blob", FieldClass::StaticBlob { size_bytes: 2 }),
        Member::new("dyn", FieldClass::DynamicBlob { length: by("n") }),
    ];
    let payload = b"\x03\x00zero\0bash\0xxxabc\x01\xff\x0a\x0b\x0c";
    assert_eq!(
        one(members, payload),
        "{ n = 3, z = \"zero\", comm = \"bash\", s = \"abc\", blob = [ [0] = 0x1, [1] = 0xFF ], \
         dyn = [ [0] = 0xA, [1] = 0xB, [2] = 0xC ] }"
    );
}

#[test]
fn arrays_structures_and_lengths_by_path() {
    let array = |element, count| FieldClass::StaticArray {
        element: Box::new(element),
        count,
    };
    let loc = StructureClass::new(vec![
        Member::new("offset", int(2)),
        Member::new("length", int(2)),
    ]);
    let pair = StructureClass::new(vec![
        Member::new("k", int(1)),
        Member::padding(3),
        Member::new("v", int(4)),
    ]);
    let small = StructureClass::new(vec![
        Member::new("k", int(1)),
        Member::padding(1),
        Member::new("v", int(2)),
    ]);
    let members = vec![
        Member::new("_name_loc", FieldClass::Structure(loc)),
        Member::new("m", array(array(int(1), 3), 2)),
        Member::padding(2),
        Member::new("p", array(FieldClass::Structure(pair), 2)),
        Member::new("q", array(FieldClass::Structure(small), 2)),
        Member::new(
            "name",
            FieldClass::DynamicString {
                length: Length::Field(FieldPath::new(["_name_loc", "length"])),
            },
        ),
    ];
    let mut payload = vec![28, 0, 3, 0, 1, 2, 3, 4, 5, 6, 0xaa, 0xaa];
    payload.extend([9, 0, 0, 0, 1, 0, 0, 0, 8, 0, 0, 0, 2, 0, 0, 0]);
    payload.extend([7, 0xaa, 6, 0, 5, 0xaa, 4, 0]);
    payload.extend(b"ab\0");
    // The small pairs do not all begin at the same place modulo 8: their hole is explicit.
    assert_eq!(
        one(members, &payload),
        "{ _name_loc = { offset = 28, length = 3 }, \
         m = [ [0] = [ [0] = 1, [1] = 2, [2] = 3 ], [1] = [ [0] = 4, [1] = 5, [2] = 6 ] ], \
         p = [ [0] = { k = 9, v = 1 }, [1] = { k = 8, v = 2 } ], \
         q = [ [0] = { k = 7, pad_1 = [ [0] = 170 ], v = 6 }, \
         [1] = { k = 5, pad_1 = [ [0] = 170 ], v = 4 } ], name = \"ab\" }"
    );
}

#[test]
fn holes_before_numbers_leave_no_trace_in_the_text() {
    let inner = StructureClass::new(vec![Member::new("q", int(8)), Member::new("r", int(1))]);
    let members = vec![
        Member::new("a", int(1)),
        Member::padding(1),
        Member::new("b", int(2)),
        Member::new("c", int(1)),
        Member::padding(3),
        Member::new("in", FieldClass::Structure(inner)),
        Member::padding(7),
        Member::new("d", int(8)),
    ];
    let mut payload = vec![1, 0xee, 2, 0, 3, 0xee, 0xee, 0xee];
    payload.extend(4u64.to_ne_bytes());
    payload.extend([5, 0xee, 0xee, 0xee, 0xee, 0xee, 0xee, 0xee]);
    payload.extend(6u64.to_ne_bytes());
    assert_eq!(
        one(members, &payload),
        "{ a = 1, b = 2, c = 3, in = { q = 4, r = 5 }, d = 6 }"
    );
}

#[test]
fn rest_of_the_payload() {
    let rest = |class| vec![Member::new("a", int(4)), Member::new("r", class)];
    let text = decoded(
        "e",
        rest(FieldClass::DynamicString {
            length: Length::Rest,
        }),
        &[(3, b"\x01\0\0\0abc"), (0, b"\x02\0\0\0")],
    );
    assert_eq!(
        text[0],
        "e: { cpu_id = 0 }, { rest_len = 3 }, { a = 1, r = \"abc\" }"
    );
    assert_eq!(
        text[1],
        "e: { cpu_id = 0 }, { rest_len = 0 }, { a = 2, r = \"\" }"
    );
    let text = decoded(
        "e",
        rest(FieldClass::DynamicBlob {
            length: Length::Rest,
        }),
        &[(1, b"\x01\0\0\0a")],
    );
    assert_eq!(
        text[0],
        "e: { cpu_id = 0 }, { rest_len = 1 }, { a = 1, r = [ [0] = 0x61 ] }"
    );
    let words = FieldClass::DynamicArray {
        element: Box::new(int(2)),
        length: Length::Rest,
    };
    let text = decoded("e", rest(words), &[(4, b"\x01\0\0\0abcd")]);
    assert!(
        text[0].contains("r = [ [0] = 0x61, [1] = 0x62, [2] = 0x63, [3] = 0x64 ]"),
        "{text:?}"
    );
}

#[test]
fn optionals_and_variants() {
    let range = |first, last| vec![IntegerRange { first, last }];
    let selector = || FieldPath::new(["tag"]);
    let stack = StructureClass::new(vec![
        Member::new("size", int(2)),
        Member::new(
            "data",
            FieldClass::DynamicBlob {
                length: Length::Field(FieldPath::new(["o", "size"])),
            },
        ),
    ]);
    let members = vec![
        Member::new("tag", int(8)),
        Member::new(
            "o",
            FieldClass::Optional {
                selector: selector(),
                ranges: range(1, 2),
                class: Box::new(FieldClass::Structure(stack)),
            },
        ),
        Member::new(
            "v",
            FieldClass::Variant {
                selector: selector(),
                options: vec![
                    VariantOption {
                        name: "int".to_owned(),
                        ranges: range(0, 1),
                        class: int(2),
                    },
                    VariantOption {
                        name: "many".to_owned(),
                        ranges: range(3, i128::from(u64::MAX)),
                        class: FieldClass::StaticString { size_bytes: 4 },
                    },
                ],
            },
        ),
        Member::new("end", int(1)),
    ];
    let cases: [(&[u8], &str); 4] = [
        (
            b"\x00\0\0\0\0\0\0\0\x05\x00\x09",
            "o = { { } }, v = { 5 }, end = 9",
        ),
        (
            b"\x01\0\0\0\0\0\0\0\x02\x00\xaa\xbb\x05\x00\x09",
            "o = { { size = 2, data = [ [0] = 0xAA, [1] = 0xBB ] } }, v = { 5 }, end = 9",
        ),
        (
            b"\x02\0\0\0\0\0\0\0\x00\x00\x09",
            "o = { { size = 0, data = [ ] } }, v = { { } }, end = 9",
        ),
        (
            b"\xff\0\0\0\0\0\0\x80wxyz\x09",
            "o = { { } }, v = { \"wxyz\" }, end = 9",
        ),
    ];
    let payloads = cases.iter().map(|c| (0, c.0)).collect::<Vec<_>>();
    for (text, (_, expected)) in decoded("e", members, &payloads).iter().zip(cases) {
        assert!(text.contains(expected), "{text}\nlacks {expected}");
    }
}

#[test]
fn what_tsdl_cannot_say_is_given_as_bytes() {
    let inner = StructureClass::new(vec![Member::new("tag", int(1))]);
    let members = vec![
        Member::new("in", FieldClass::Structure(inner)),
        Member::new(
            "o",
            FieldClass::Optional {
                selector: FieldPath::new(["in", "tag"]),
                ranges: vec![IntegerRange { first: 1, last: 1 }],
                class: Box::new(int(2)),
            },
        ),
    ];
    let text = decoded("e", members, &[(0, &[1, 2, 3]), (0, &[0])]);
    assert_eq!(
        text[0],
        "e: { cpu_id = 0 }, { payload_len = 3 }, { payload = [ [0] = 0x1, [1] = 0x2, [2] = 0x3 ] }"
    );
    assert_eq!(
        text[1],
        "e: { cpu_id = 0 }, { payload_len = 1 }, { payload = [ [0] = 0x0 ] }"
    );
}

#[test]
fn odd_names_and_empty_payloads() {
    let members = vec![
        Member::new("struct", int(1)),
        Member::new("struct", int(1)),
        Member::new("a-b", int(1)),
        Member::new("", int(1)),
        Member::new("_x", int(1)),
        Member::new("0", int(1)),
    ];
    let text = decoded("a \"b\" \\ é: {}", members, &[(0, &[1, 2, 3, 4, 5, 6])]);
    assert_eq!(
        text[0],
        "a \"b\" \\ é: {}: { cpu_id = 0 }, \
         { struct = 1, struct_2 = 2, a_b = 3, field_3 = 4, _x = 5, 0 = 6 }"
    );
    assert_eq!(
        decoded("e", vec![], &[(0, &[])])[0],
        "e: { cpu_id = 0 }, { }"
    );
}

/// babeltrace2 sorts the packets of all files of a stream by the time they begin.
#[test]
fn packets_of_many_records_of_one_time_stay_in_order_across_files() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("t.kst");
    let options = TraceWriterOptions {
        first_segment_bytes: 1 << 12,
        max_segment_bytes: 1 << 12,
        ..TraceWriterOptions::default()
    };
    let mut writer = TraceWriter::create(&dir, &session(), &options).unwrap();
    writer
        .add_class(&class(0, "e", vec![Member::new("x", int(4))]))
        .unwrap();
    let mut packet = PacketBuilder::new(uuid_bytes(UUID).unwrap(), 0, Cpu(0), 256);
    let numbers = 0..3000u32;
    let mut time = 0;
    for n in numbers.clone() {
        // Runs of one time that fill less than a packet, just one, and many.
        time = time.max(u64::from(n - n % [3, 7, 8, 20, 90][(n / 250) as usize % 5]));
        let payload = n.to_ne_bytes();
        if packet.is_full_for(payload.len()) || n % 11 == 10 && !packet.is_at_one_time() {
            packet.take(|p| writer.append_packet(0, p)).unwrap();
        }
        packet.push(&record(time, 0, 0, &payload));
    }
    packet.take(|p| writer.append_packet(0, p)).unwrap();
    writer.finish().unwrap();
    let text = babeltrace2(&dir);
    assert!(text.success, "{}", text.stderr);
    let seen = text.lines.iter().map(|line| {
        let (_, x) = line.rsplit_once("x = ").unwrap();
        x.trim_end_matches(" }").parse::<u32>().unwrap()
    });
    assert!(seen.eq(numbers), "{:?}", text.lines);
    assert!(dir.join("lane0_5").exists());
}

#[test]
fn lanes_merge_and_discarded_records_show() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("t.kst");
    let mut writer = TraceWriter::create(&dir, &session(), &TraceWriterOptions::default()).unwrap();
    writer
        .add_class(&class(0, "e", vec![Member::new("x", int(4))]))
        .unwrap();
    for lane in 0..2u32 {
        let mut packet = builder(lane);
        for step in 0..3u32 {
            for i in 0..4 {
                let time = u64::from(step * 40 + i * 10 + lane * 5);
                packet.push(&record(time, 0, 0, &lane.to_ne_bytes()));
            }
            packet.take(|p| writer.append_packet(lane, p)).unwrap();
            packet.discard(u64::from(7 * lane));
        }
    }
    writer.finish().unwrap();
    let text = babeltrace2(&dir);
    assert!(text.success, "{}", text.stderr);
    let times = text
        .lines
        .iter()
        .map(|l| {
            l.trim_start_matches('[')
                .split(']')
                .next()
                .unwrap()
                .parse()
                .unwrap()
        })
        .collect::<Vec<u64>>();
    assert_eq!(times.len(), 24);
    assert!(times.is_sorted(), "{times:?}");
    assert_eq!(
        text.stderr.matches("discarded 7 events").count(),
        2,
        "{}",
        text.stderr
    );
    assert!(!text.stderr.contains("packets"), "{}", text.stderr);
}
