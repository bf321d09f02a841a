//! Invented tracepoints, one for each trouble.

use kstrace_schema::{ByteOrder, FieldClass, Length, Role, StructureClass};
use kstrace_tracepoint::{MAX_SLACK_BYTES, Measured, TracepointLayout};
use tracefs::format::EventFormat;

/// A format with the common fields and these: (declaration, offset, size, signed).
fn format(fields: &[(&str, u32, u32, u8)]) -> EventFormat {
    let mut text = "name: e\nID: 1\nformat:\n\
        \tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n\
        \tfield:unsigned char common_flags;\toffset:2;\tsize:1;\tsigned:0;\n\
        \tfield:unsigned char common_preempt_count;\toffset:3;\tsize:1;\tsigned:0;\n\
        \tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;\n\n"
        .to_owned();
    for (declaration, offset, size, signed) in fields {
        text +=
            &format!("\tfield:{declaration};\toffset:{offset};\tsize:{size};\tsigned:{signed};\n");
    }
    text += "\nprint fmt: \"\"\n";
    EventFormat::parse(&text).unwrap()
}

fn describe(fields: &[(&str, u32, u32, u8)]) -> TracepointLayout {
    TracepointLayout::describe("s", &format(fields)).unwrap()
}

fn names(class: &StructureClass) -> Vec<&str> {
    class.members.iter().map(|m| m.name.as_str()).collect()
}

const COMMON: [&str; 4] = [
    "common_type",
    "common_flags",
    "common_preempt_count",
    "common_pid",
];

fn with_common<'a>(more: &[&'a str]) -> Vec<&'a str> {
    COMMON.into_iter().chain(more.iter().copied()).collect()
}

/// 8 bytes of common fields, then these words, then these bytes.
fn entry(words: &[u32], bytes: &[u8]) -> Vec<u8> {
    let mut entry = vec![0; 8];
    words.iter().for_each(|w| entry.extend(w.to_ne_bytes()));
    entry.extend(bytes);
    entry
}

#[test]
fn fixed_fields_with_holes() {
    let layout = describe(&[
        ("char c", 8, 1, 0),
        ("u64 big", 16, 8, 0),
        ("int last", 24, 4, 1),
    ]);
    assert_eq!(
        names(&layout.payload),
        with_common(&["c", "", "big", "last"])
    );
    assert_eq!(layout.payload.static_offset_bytes("last"), Some(24));
    assert_eq!(layout.static_len_bytes, Some(28));
    assert_eq!(
        layout.payload.member_with_role(Role::Tid).unwrap().name,
        "common_pid"
    );
    assert_eq!(
        names(&layout.odd_payload),
        with_common(&["c", "", "big", "last", "_rest"])
    );

    let regular = Measured::Regular {
        len_bytes: 28,
        rest_len_bytes: 0,
    };
    assert_eq!(layout.measure(&[0; 28]), regular);
    assert_eq!(layout.measure(&[0; 28 + MAX_SLACK_BYTES]), regular);
    // More than alignment can explain: nothing is thrown away unsaid.
    assert_eq!(
        layout.measure(&[0; 28 + MAX_SLACK_BYTES + 1]),
        Measured::Odd {
            len_bytes: 44,
            rest_len_bytes: 16
        }
    );
    assert_eq!(layout.measure(&[0; 27]), Measured::TooShort);
    assert_eq!(layout.measure(&[]), Measured::TooShort);
}

#[test]
fn fields_out_of_order_and_unions() {
    let layout = describe(&[("u64 late", 16, 8, 0), ("u32 early", 8, 4, 0)]);
    assert_eq!(names(&layout.payload), with_common(&["early", "", "late"]));

    let layout = describe(&[
        ("u64 whole", 8, 8, 0),
        ("u32 half", 12, 4, 0),
        ("u32 after", 16, 4, 0),
    ]);
    assert_eq!(
        names(&layout.payload),
        with_common(&["whole_or_half", "after"])
    );
    assert_eq!(layout.payload.static_offset_bytes("after"), Some(16));
    assert_eq!(layout.static_len_bytes, Some(20));
}

#[test]
fn equal_names_are_told_apart() {
    let layout = describe(&[
        ("u32 a", 8, 4, 0),
        ("u32 a", 12, 4, 0),
        ("u32 _rest", 16, 4, 0),
    ]);
    assert_eq!(names(&layout.payload), with_common(&["a", "a_2", "_rest"]));
    assert_eq!(
        names(&layout.odd_payload),
        with_common(&["a", "a_2", "_rest", "_rest_2"])
    );
}

#[test]
fn dynamic_arrays_become_tails() {
    let layout = describe(&[
        ("__data_loc char[] first", 8, 4, 0),
        ("__rel_loc u64[] second", 12, 4, 0),
    ]);
    assert_eq!(
        names(&layout.payload),
        with_common(&["_first_loc", "_second_loc", "first", "second"])
    );
    assert!(matches!(
        &layout.payload.member("first").unwrap().class,
        FieldClass::DynamicString { length: Length::Field(path) } if path.0 == ["_first_loc", "length"]
    ));
    assert!(matches!(
        &layout.payload.member("second").unwrap().class,
        FieldClass::DynamicBlob { length: Length::Field(path) } if path.0 == ["_second_loc", "length"]
    ));
    assert_eq!(
        (layout.fixed_len_bytes, layout.static_len_bytes),
        (16, None)
    );

    // "abc\0" at 16, one u64 at 20: relative to 16, the end of the second word.
    let good = entry(&[4 << 16 | 16, 8 << 16 | 4], b"abc\0........slack");
    let regular = |len_bytes| Measured::Regular {
        len_bytes,
        rest_len_bytes: 0,
    };
    assert_eq!(layout.measure(&good), regular(28));
    // Text without a NUL is bounded by its length.
    assert_eq!(
        layout.measure(&entry(&[3 << 16 | 16, 8 << 16 | 3], b"abc........")),
        regular(27)
    );
    // What is empty has no place.
    assert_eq!(
        layout.measure(&entry(&[999, 8 << 16], b"........")),
        regular(24)
    );
    assert_eq!(layout.measure(&entry(&[0, 0], b"")), regular(16));

    for odd in [
        entry(&[4 << 16 | 24, 8 << 16], b"........abc\0"), // out of order
        entry(&[4 << 16 | 17, 8 << 16 | 5], b".abc\0........"), // a gap
        entry(&[4 << 16 | 16, 8 << 16 | 2], b"abc\0........"), // overlap
        entry(&[4 << 16 | 16, 7 << 16 | 4], b"abc\0......."), // no whole elements
        entry(&[4 << 16 | 16, 8 << 16 | 4], b"abc\0....."), // behind the end
        entry(&[0xffff_ffff, 0xffff_ffff], b"abc\0"),
    ] {
        let rest = odd.len() as u16 - 16;
        assert_eq!(
            layout.measure(&odd),
            Measured::Odd {
                len_bytes: odd.len(),
                rest_len_bytes: rest
            },
            "{odd:?}"
        );
    }
    assert_eq!(layout.measure(&good[..15]), Measured::TooShort);
    assert_eq!(layout.measure(&vec![0xff; 16 + 65536]), Measured::TooLong);
}

#[test]
fn the_other_byte_order() {
    let format = format(&[("__data_loc char[] name", 8, 4, 0)]);
    let layout = TracepointLayout::describe_in("s", &format, ByteOrder::BigEndian).unwrap();
    let FieldClass::Structure(loc) = &layout.payload.member("_name_loc").unwrap().class else {
        panic!("no structure");
    };
    assert_eq!(names(loc), ["length", "offset"]);
    let mut entry = vec![0; 8];
    entry.extend((4u32 << 16 | 12).to_be_bytes());
    entry.extend(b"abc\0");
    assert_eq!(
        layout.measure(&entry),
        Measured::Regular {
            len_bytes: 16,
            rest_len_bytes: 0
        }
    );
}

#[test]
fn flexible_text_ends_at_its_nul() {
    let layout = describe(&[("unsigned long ip", 8, 8, 0), ("char buf[]", 16, 0, 0)]);
    assert_eq!(
        layout.payload.member("buf").unwrap().class,
        FieldClass::NullTerminatedString
    );
    let text = entry(&[0, 0], b"hello\0\0\0");
    assert_eq!(
        layout.measure(&text),
        Measured::Regular {
            len_bytes: 22,
            rest_len_bytes: 0
        }
    );
    let no_nul = entry(&[0, 0], b"hello");
    assert_eq!(
        layout.measure(&no_nul),
        Measured::Odd {
            len_bytes: 21,
            rest_len_bytes: 5
        }
    );
}

#[test]
fn other_flexible_arrays_take_the_rest() {
    let layout = describe(&[
        ("unsigned long ip", 8, 8, 0),
        ("unsigned long args[]", 16, 0, 0),
    ]);
    assert!(layout.ends_with_rest());
    let entry = entry(&[0, 0], &[0; 20]);
    // Four bytes are no element: slack.
    assert_eq!(
        layout.measure(&entry),
        Measured::Regular {
            len_bytes: 32,
            rest_len_bytes: 16
        }
    );

    let raw = "name: raw_data\nID: 19\nformat:\n\
        \tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;\n\n\
        \tfield:unsigned int id;\toffset:8;\tsize:4;\tsigned:0;\n\
        \tfield:char buf[];\toffset:12;\tsize:0;\tsigned:0;\n\nprint fmt: \"\"\n";
    let layout = TracepointLayout::describe("ftrace", &EventFormat::parse(raw).unwrap()).unwrap();
    assert!(matches!(
        layout.payload.member("buf").unwrap().class,
        FieldClass::DynamicBlob {
            length: Length::Rest
        }
    ));
}

#[test]
fn a_stack_has_as_many_frames_as_it_says() {
    let text = "name: kernel_stack\nID: 4\nformat:\n\
        \tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;\n\n\
        \tfield:int size;\toffset:8;\tsize:4;\tsigned:1;\n\
        \tfield:unsigned long caller[8];\toffset:16;\tsize:64;\tsigned:0;\n\nprint fmt: \"\"\n";
    let format = EventFormat::parse(text).unwrap();
    let layout = TracepointLayout::describe("ftrace", &format).unwrap();
    assert_eq!(layout.fixed_len_bytes, 16);
    assert!(matches!(
        &layout.payload.member("caller").unwrap().class,
        FieldClass::DynamicArray { length: Length::Field(path), .. } if path.0 == ["size"]
    ));
    let stack = |size: i32, bytes: usize| {
        let mut entry = vec![0; 8];
        entry.extend(size.to_ne_bytes());
        entry.extend(vec![0; 4 + bytes]);
        entry
    };
    let regular = |len_bytes| Measured::Regular {
        len_bytes,
        rest_len_bytes: 0,
    };
    assert_eq!(layout.measure(&stack(3, 24)), regular(40));
    assert_eq!(layout.measure(&stack(0, 0)), regular(16));
    assert_eq!(layout.measure(&stack(20, 160)), regular(176));
    for (size, bytes) in [(-1, 24), (4, 24), (i32::MAX, 24), (1, 24)] {
        assert_eq!(
            layout.measure(&stack(size, bytes)),
            Measured::Odd {
                len_bytes: 16 + bytes,
                rest_len_bytes: bytes as u16
            }
        );
    }
}

#[test]
fn a_dynamic_field_in_a_union_cannot_be_trusted() {
    let layout = describe(&[("__data_loc char[] s", 8, 4, 0), ("u32 other", 8, 4, 0)]);
    assert_eq!(layout.payload, layout.odd_payload);
    let measured = layout.measure(&entry(&[4 << 16 | 12], b"abc\0"));
    assert_eq!(
        measured,
        Measured::Odd {
            len_bytes: 16,
            rest_len_bytes: 4
        }
    );
}

#[test]
fn too_large_fixed_fields_are_refused() {
    let format = format(&[("char huge[70000]", 8, 70_000, 0)]);
    let error = TracepointLayout::describe("s", &format).unwrap_err();
    assert!(
        error.to_string().contains("70008 bytes, at most 65536"),
        "{error}"
    );
}

#[test]
fn names_of_values_come_from_the_print_format() {
    let text = "name: e\nID: 1\nformat:\n\
        \tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;\n\n\
        \tfield:int state;\toffset:8;\tsize:4;\tsigned:1;\n\
        \tfield:u8 kind;\toffset:12;\tsize:1;\tsigned:0;\n\n\
        print fmt: \"%s %s\", __print_symbolic(REC->state, { -1, \"NONE\" }, { 2, \"TWO\" }, \
        { 3, \"TWO\" }, { 2, \"AGAIN\" }), __print_symbolic(REC->kind, { MODE_A, \"A\" }, \
        { 0x100, \"TOO_BIG\" })\n";
    let format = EventFormat::parse(text).unwrap();
    let mappings =
        |layout: &TracepointLayout, name: &str| match &layout.payload.member(name).unwrap().class {
            FieldClass::Integer(class) => class
                .mappings
                .iter()
                .map(|m| {
                    (
                        m.name.clone(),
                        m.ranges
                            .iter()
                            .map(|r| (r.first, r.last))
                            .collect::<Vec<_>>(),
                    )
                })
                .collect::<Vec<_>>(),
            _ => panic!("{name} is no integer"),
        };
    let plain = TracepointLayout::describe("s", &format).unwrap();
    assert_eq!(
        mappings(&plain, "state"),
        [
            ("NONE".to_owned(), vec![(-1, -1)]),
            ("TWO".to_owned(), vec![(2, 2), (3, 3)])
        ]
    );
    assert_eq!(mappings(&plain, "kind"), []);
    let constants = std::collections::BTreeMap::from([("MODE_A".to_owned(), 7i64)]);
    let known =
        TracepointLayout::describe_with("s", &format, ByteOrder::NATIVE, &constants).unwrap();
    assert_eq!(mappings(&known, "kind"), [("A".to_owned(), vec![(7, 7)])]);
}
