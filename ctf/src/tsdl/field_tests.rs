use super::*;
use kstrace_schema::Member;

fn int(size_bytes: u8) -> FieldClass {
    FieldClass::Integer(IntegerClass::unsigned(size_bytes))
}

fn fields(members: Vec<Member>) -> String {
    payload_fields(&StructureClass::new(members)).unwrap()
}

#[test]
fn a_hole_is_the_next_fields_alignment() {
    let text = fields(vec![
        Member::new("a", int(1)),
        Member::padding(3),
        Member::new("b", int(4)),
        Member::new("c", int(2)),
        Member::padding(6),
        Member::new(
            "d",
            FieldClass::StaticArray {
                element: Box::new(int(8)),
                count: 2,
            },
        ),
    ]);
    assert!(!text.contains("_pad"), "{text}");
    assert!(text.contains("size = 32; align = 32;"), "{text}");
    assert!(text.contains("size = 64; align = 64;"), "{text}");
}

#[test]
fn other_holes_are_explicit() {
    let text = fields(vec![
        Member::new("a", int(1)),
        // Not what any alignment would give.
        Member::padding(4),
        Member::new("b", int(4)),
        Member::padding(2),
        // Text cannot be aligned.
        Member::new("c", FieldClass::StaticString { size_bytes: 3 }),
        // Nothing comes after.
        Member::padding(5),
    ]);
    for pad in [
        "uint8_t _pad_1[4];",
        "uint8_t _pad_3[2];",
        "uint8_t _pad_5[5];",
    ] {
        assert!(text.contains(pad), "{text}");
    }
}

#[test]
fn after_a_dynamic_field_holes_are_explicit() {
    let text = fields(vec![
        Member::new("n", int(8)),
        Member::new(
            "s",
            FieldClass::DynamicString {
                length: Length::Field(FieldPath::new(["n"])),
            },
        ),
        Member::padding(4),
        Member::new("b", int(4)),
    ]);
    assert!(text.contains("utf8_t _s[event.fields._n];"), "{text}");
    assert!(text.contains("_pad_2[4];"), "{text}");
}

#[test]
fn a_selector_out_of_reach_is_an_error() {
    let nested = StructureClass::new(vec![Member::new("n", int(1))]);
    let payload = StructureClass::new(vec![
        Member::new("in", FieldClass::Structure(nested)),
        Member::new(
            "o",
            FieldClass::Optional {
                selector: FieldPath::new(["in", "n"]),
                ranges: vec![IntegerRange { first: 1, last: 1 }],
                class: Box::new(int(4)),
            },
        ),
    ]);
    assert_eq!(
        payload_fields(&payload).unwrap_err(),
        Inexpressible::OutOfReach("_in._n".to_owned())
    );
}

#[test]
fn a_length_that_is_not_there_is_an_error() {
    let class = FieldClass::DynamicBlob {
        length: Length::Field(FieldPath::new(["n"])),
    };
    let payload = StructureClass::new(vec![Member::new("b", class)]);
    assert!(matches!(
        payload_fields(&payload),
        Err(Inexpressible::NoSuchField(_))
    ));
}

#[test]
fn labels_are_cut_to_what_the_integer_can_hold() {
    let mapping = |name: &str, first, last| Mapping {
        name: name.to_owned(),
        ranges: vec![IntegerRange { first, last }],
    };
    let class = IntegerClass {
        mappings: vec![
            mapping("neg", -5, -1),
            mapping("all", -5, 999),
            mapping("one", 1, 1),
        ],
        ..IntegerClass::unsigned(1)
    };
    let text = fields(vec![Member::new("e", FieldClass::Integer(class))]);
    assert!(
        text.contains("enum : uint8_t { \"all\" = 0 ... 255, \"one\" = 1 } _e;"),
        "{text}"
    );
}
