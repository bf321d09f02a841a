//! Encoded values come back; cut or random bytes give errors, never a panic.

use kstrace_schema::decode::{DecodeReason, Field, FieldAccess, Value, Visitor, walk};
use kstrace_schema::{
    ByteOrder, FieldClass, FieldPath, FloatClass, IntegerClass, IntegerRange, Length, Member, Role,
    StructureClass, VariantOption,
};
use proptest::prelude::*;
use std::ops::ControlFlow;

/// A field to be: what it is and what it holds.
#[derive(Clone, Debug)]
enum Plan {
    Padding(u8),
    Integer {
        log_size: u8,
        signed: bool,
        big: bool,
        value: u64,
    },
    Float {
        double: bool,
        big: bool,
        value: f64,
    },
    Boolean(bool),
    NulString(Vec<u8>),
    StaticString {
        text: Vec<u8>,
        slack: u8,
    },
    DynamicString(Vec<u8>),
    StaticArray(Vec<u16>),
    DynamicArray(Vec<u32>),
    StaticBlob(Vec<u8>),
    DynamicBlob(Vec<u8>),
    Structure(Vec<Plan>),
    Structures(Vec<(u32, Vec<u8>)>),
    Optional(bool, Box<Plan>),
    Variant(Option<u8>, u16, Vec<u8>),
}

#[derive(Clone, Debug, PartialEq)]
enum Got {
    U64(u64),
    I64(i64),
    F64(u64),
    Bool(bool),
    Str(Vec<u8>),
    Bytes(Vec<u8>),
    Array(Vec<Got>),
}

fn got(value: Value<'_>) -> Got {
    match value {
        Value::U64(v) => Got::U64(v),
        Value::I64(v) => Got::I64(v),
        Value::F64(v) => Got::F64(v.to_bits()),
        Value::Bool(v) => Got::Bool(v),
        Value::Str(v) => Got::Str(v.to_vec()),
        Value::Bytes(v) => Got::Bytes(v.to_vec()),
        Value::Array(a) => Got::Array(a.iter().map(got).collect()),
    }
}

/// Lays plans out as class, bytes and expected visits (full path, value).
#[derive(Default)]
struct Layout {
    bytes: Vec<u8>,
    expected: Vec<(Vec<String>, Got)>,
    /// Number of the name given out last.
    next: usize,
}

fn text(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().map(|b| b.max(&1)).copied().collect()
}

impl Layout {
    fn structure(&mut self, plans: &[Plan], at: &[String]) -> StructureClass {
        let mut members = Vec::new();
        for plan in plans {
            self.plan(plan, at, &mut members);
        }
        StructureClass::new(members)
    }

    fn name(&mut self, stem: &str) -> String {
        self.next += 1;
        format!("{stem}{}", self.next)
    }

    fn expect(&mut self, at: &[String], name: &str, value: Got) {
        let mut path = at.to_vec();
        path.push(name.to_owned());
        self.expected.push((path, value));
    }

    /// An integer that states a length or selects; gives its path.
    fn number(&mut self, value: u16, at: &[String], members: &mut Vec<Member>) -> FieldPath {
        let name = self.name("n");
        self.bytes.extend(value.to_le_bytes());
        self.expect(at, &name, Got::U64(value.into()));
        let class = IntegerClass {
            byte_order: ByteOrder::LittleEndian,
            ..IntegerClass::unsigned(2)
        };
        members.push(Member::new(&name, FieldClass::Integer(class)));
        FieldPath::new(at.iter().cloned().chain([name]))
    }

    fn plan(&mut self, plan: &Plan, at: &[String], members: &mut Vec<Member>) {
        let member = match plan {
            Plan::Padding(n) => {
                self.bytes.extend(std::iter::repeat_n(0xEE, (*n).into()));
                Member::padding((*n).into())
            }
            Plan::Integer {
                log_size,
                signed,
                big,
                value,
            } => {
                let name = self.name("i");
                let size = 1usize << log_size;
                let kept = value & (u64::MAX >> (64 - 8 * size));
                let le = kept.to_le_bytes();
                let mut bytes = le[..size].to_vec();
                if *big {
                    bytes.reverse();
                }
                self.bytes.extend(bytes);
                let shift = 64 - 8 * size as u32;
                let expected = if *signed {
                    Got::I64(((kept << shift) as i64) >> shift)
                } else {
                    Got::U64(kept)
                };
                self.expect(at, &name, expected);
                let byte_order = if *big {
                    ByteOrder::BigEndian
                } else {
                    ByteOrder::LittleEndian
                };
                let class = IntegerClass {
                    signed: *signed,
                    byte_order,
                    ..IntegerClass::unsigned(size as u8)
                };
                Member::new(name, FieldClass::Integer(class))
            }
            Plan::Float { double, big, value } => {
                let name = self.name("f");
                let mut bytes = if *double {
                    self.expect(at, &name, Got::F64(value.to_bits()));
                    value.to_le_bytes().to_vec()
                } else {
                    self.expect(at, &name, Got::F64(f64::from(*value as f32).to_bits()));
                    (*value as f32).to_le_bytes().to_vec()
                };
                if *big {
                    bytes.reverse();
                }
                let byte_order = if *big {
                    ByteOrder::BigEndian
                } else {
                    ByteOrder::LittleEndian
                };
                let size_bytes = bytes.len() as u8;
                self.bytes.extend(bytes);
                Member::new(
                    name,
                    FieldClass::Float(FloatClass {
                        size_bytes,
                        byte_order,
                    }),
                )
            }
            Plan::Boolean(b) => {
                let name = self.name("b");
                self.bytes.push(if *b { 7 } else { 0 });
                self.expect(at, &name, Got::Bool(*b));
                Member::new(name, FieldClass::Boolean)
            }
            Plan::NulString(s) => {
                let name = self.name("s");
                let s = text(s);
                self.bytes.extend(&s);
                self.bytes.push(0);
                self.expect(at, &name, Got::Str(s));
                Member::new(name, FieldClass::NullTerminatedString)
            }
            Plan::StaticString { text: s, slack } => {
                let name = self.name("s");
                let s = text(s);
                self.bytes.extend(&s);
                if *slack > 0 {
                    // What follows the NUL is no text.
                    self.bytes.push(0);
                    self.bytes
                        .extend(std::iter::repeat_n(b'x', usize::from(*slack) - 1));
                }
                let size_bytes = s.len() as u32 + u32::from(*slack);
                self.expect(at, &name, Got::Str(s));
                Member::new(name, FieldClass::StaticString { size_bytes })
            }
            Plan::DynamicString(s) => {
                let s = text(s);
                let path = self.number(s.len() as u16 + 1, at, members);
                let name = self.name("s");
                self.bytes.extend(&s);
                self.bytes.push(0);
                self.expect(at, &name, Got::Str(s));
                Member::new(
                    name,
                    FieldClass::DynamicString {
                        length: Length::Field(path),
                    },
                )
            }
            Plan::StaticArray(v) => {
                let name = self.name("a");
                v.iter().for_each(|x| self.bytes.extend(x.to_be_bytes()));
                let values = v.iter().map(|x| Got::U64((*x).into())).collect();
                self.expect(at, &name, Got::Array(values));
                let element = IntegerClass {
                    byte_order: ByteOrder::BigEndian,
                    ..IntegerClass::unsigned(2)
                };
                let element = Box::new(FieldClass::Integer(element));
                Member::new(
                    name,
                    FieldClass::StaticArray {
                        element,
                        count: v.len() as u32,
                    },
                )
            }
            Plan::DynamicArray(v) => {
                let path = self.number(v.len() as u16, at, members);
                let name = self.name("a");
                v.iter().for_each(|x| self.bytes.extend(x.to_ne_bytes()));
                let values = v.iter().map(|x| Got::I64((*x as i32).into())).collect();
                self.expect(at, &name, Got::Array(values));
                let element = Box::new(FieldClass::Integer(IntegerClass::signed(4)));
                Member::new(
                    name,
                    FieldClass::DynamicArray {
                        element,
                        length: Length::Field(path),
                    },
                )
            }
            Plan::StaticBlob(v) => {
                let name = self.name("x");
                self.bytes.extend(v);
                self.expect(at, &name, Got::Bytes(v.clone()));
                Member::new(
                    name,
                    FieldClass::StaticBlob {
                        size_bytes: v.len() as u32,
                    },
                )
            }
            Plan::DynamicBlob(v) => {
                let path = self.number(v.len() as u16, at, members);
                let name = self.name("x");
                self.bytes.extend(v);
                self.expect(at, &name, Got::Bytes(v.clone()));
                Member::new(
                    name,
                    FieldClass::DynamicBlob {
                        length: Length::Field(path),
                    },
                )
            }
            Plan::Structure(plans) => {
                let name = self.name("t");
                let mut inner = at.to_vec();
                inner.push(name.clone());
                let class = self.structure(plans, &inner);
                Member::new(name, FieldClass::Structure(class))
            }
            Plan::Structures(elements) => {
                // An array of structures of differing size, each with its own length.
                let path = self.number(elements.len() as u16, at, members);
                let name = self.name("e");
                let mut inner = at.to_vec();
                inner.push(name.clone());
                for (number, blob) in elements {
                    self.bytes.extend((blob.len() as u32).to_ne_bytes());
                    self.bytes.extend(number.to_ne_bytes());
                    self.bytes.extend(blob);
                    let mut element = inner.clone();
                    element.push(String::new());
                    self.expect(&element, "len", Got::U64(blob.len() as u64));
                    self.expect(&element, "number", Got::U64((*number).into()));
                    self.expect(&element, "blob", Got::Bytes(blob.clone()));
                }
                let length = FieldPath::new(inner.into_iter().chain(["len".to_owned()]));
                let element = StructureClass::new(vec![
                    Member::new("len", FieldClass::Integer(IntegerClass::unsigned(4))),
                    Member::new("number", FieldClass::Integer(IntegerClass::unsigned(4))),
                    Member::new(
                        "blob",
                        FieldClass::DynamicBlob {
                            length: Length::Field(length),
                        },
                    ),
                ]);
                let element = Box::new(FieldClass::Structure(element));
                Member::new(
                    name,
                    FieldClass::DynamicArray {
                        element,
                        length: Length::Field(path),
                    },
                )
            }
            Plan::Optional(present, inner) => {
                let selector = self.number(u16::from(*present) * 5, at, members);
                let (bytes, expected) = (self.bytes.len(), self.expected.len());
                let mut own = Vec::new();
                self.plan(inner, at, &mut own);
                // What the inner field put before itself (its length) stays outside.
                let Some(mut member) = own.pop() else { return };
                if !own.is_empty() || matches!(**inner, Plan::Padding(_)) {
                    // Only plain fields are made optional here.
                    self.bytes.truncate(bytes);
                    self.expected.truncate(expected);
                    return;
                }
                if !present {
                    self.bytes.truncate(bytes);
                    self.expected.truncate(expected);
                }
                member.class = FieldClass::Optional {
                    selector,
                    ranges: vec![IntegerRange { first: 1, last: 9 }],
                    class: Box::new(member.class),
                };
                member
            }
            Plan::Variant(which, number, blob) => {
                let selector = self.number(which.map_or(99, u16::from), at, members);
                let name = self.name("v");
                let option = |i: i128, name: &str, class| VariantOption {
                    name: name.to_owned(),
                    ranges: vec![IntegerRange { first: i, last: i }],
                    class,
                };
                match which {
                    Some(0) => {
                        self.bytes.extend(number.to_ne_bytes());
                        self.expect(at, &name, Got::U64((*number).into()));
                    }
                    Some(_) => {
                        self.bytes.extend(blob);
                        self.expect(at, &name, Got::Bytes(blob.clone()));
                    }
                    None => {}
                }
                let options = vec![
                    option(0, "number", FieldClass::Integer(IntegerClass::unsigned(2))),
                    option(
                        1,
                        "blob",
                        FieldClass::StaticBlob {
                            size_bytes: blob.len() as u32,
                        },
                    ),
                ];
                Member::new(name, FieldClass::Variant { selector, options })
            }
        };
        members.push(member);
    }
}

fn plan() -> impl Strategy<Value = Plan> {
    let blob = || prop::collection::vec(any::<u8>(), 0..12);
    let leaf = prop_oneof![
        (1u8..9).prop_map(Plan::Padding),
        (0u8..4, any::<bool>(), any::<bool>(), any::<u64>()).prop_map(
            |(log_size, signed, big, value)| Plan::Integer {
                log_size,
                signed,
                big,
                value
            }
        ),
        (any::<bool>(), any::<bool>(), -1e30f64..1e30)
            .prop_map(|(double, big, value)| Plan::Float { double, big, value }),
        any::<bool>().prop_map(Plan::Boolean),
        blob().prop_map(Plan::NulString),
        (blob(), 0u8..4).prop_map(|(text, slack)| Plan::StaticString { text, slack }),
        blob().prop_map(Plan::DynamicString),
        prop::collection::vec(any::<u16>(), 0..5).prop_map(Plan::StaticArray),
        prop::collection::vec(any::<u32>(), 0..5).prop_map(Plan::DynamicArray),
        blob().prop_map(Plan::StaticBlob),
        blob().prop_map(Plan::DynamicBlob),
        prop::collection::vec((any::<u32>(), blob()), 0..4).prop_map(Plan::Structures),
        (prop::option::of(0u8..2), any::<u16>(), blob())
            .prop_map(|(which, number, blob)| Plan::Variant(which, number, blob)),
    ];
    leaf.prop_recursive(3, 24, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Plan::Structure),
            (any::<bool>(), inner).prop_map(|(p, i)| Plan::Optional(p, Box::new(i))),
        ]
    })
}

#[derive(Default)]
struct Collect {
    at: Vec<String>,
    seen: Vec<(Vec<String>, Got)>,
}

impl<'a> Visitor<'a> for Collect {
    fn value(&mut self, field: &Field<'a>, value: Value<'a>) -> ControlFlow<()> {
        let mut path = self.at.clone();
        path.push(field.name.to_owned());
        self.seen.push((path, got(value)));
        ControlFlow::Continue(())
    }

    fn begin_structure(&mut self, field: &Field<'a>) -> ControlFlow<()> {
        self.at.push(field.name.to_owned());
        ControlFlow::Continue(())
    }

    fn end_structure(&mut self) -> ControlFlow<()> {
        self.at.pop();
        ControlFlow::Continue(())
    }

    fn begin_array(&mut self, field: &Field<'a>, _: usize) -> ControlFlow<()> {
        self.at.push(field.name.to_owned());
        ControlFlow::Continue(())
    }

    fn end_array(&mut self) -> ControlFlow<()> {
        self.at.pop();
        ControlFlow::Continue(())
    }
}

fn laid_out(plans: &[Plan]) -> (StructureClass, Layout) {
    let mut layout = Layout::default();
    let class = layout.structure(plans, &[]);
    (class, layout)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_was_encoded_comes_back(
        plans in prop::collection::vec(plan(), 0..8),
        rest in prop::option::of(prop::collection::vec(any::<u8>(), 0..9)),
    ) {
        let (mut class, mut layout) = laid_out(&plans);
        let mut rest_len = 0;
        if let Some(rest) = rest {
            rest_len = rest.len() as u16;
            class.members.push(Member::new("rest", FieldClass::DynamicBlob { length: Length::Rest }));
            layout.bytes.extend(&rest);
            layout.expect(&[], "rest", Got::Bytes(rest));
        }
        let mut collect = Collect::default();
        prop_assert_eq!(walk(&class, &layout.bytes, rest_len, &mut collect), Ok(layout.bytes.len()));
        prop_assert_eq!(&collect.seen, &layout.expected);

        for (path, value) in &layout.expected {
            // Elements of arrays and variants have no path of their own.
            if path.iter().any(|p| p.is_empty() || p.starts_with('v')) {
                continue;
            }
            let access = FieldAccess::by_path(&class, path);
            // Behind more lengths than any tracer's record has there may be none.
            let Some(access) = access else {
                prop_assert!(layout.expected.len() > 32, "no access to {:?}", path);
                continue;
            };
            prop_assert_eq!(access.get(&layout.bytes).map(got), Some(value.clone()));
        }

        // Every byte belongs to a field, so each shorter payload is an error.
        for len in 0..layout.bytes.len() {
            let mut cut = Collect::default();
            let result = walk(&class, &layout.bytes[..len], rest_len, &mut cut);
            prop_assert!(result.is_err(), "{} of {} bytes were enough", len, layout.bytes.len());
            prop_assert!(cut.seen.len() <= layout.expected.len());
            prop_assert_eq!(&cut.seen[..], &layout.expected[..cut.seen.len()]);
        }
    }

    #[test]
    fn random_bytes_do_no_harm_and_both_ways_agree(
        plans in prop::collection::vec(plan(), 0..8),
        bytes in prop::collection::vec(prop_oneof![Just(0u8), Just(1), any::<u8>()], 0..96),
    ) {
        let (class, layout) = laid_out(&plans);
        let mut collect = Collect::default();
        let _ = walk(&class, &bytes, 0, &mut collect);
        for (path, value) in &collect.seen {
            if path.iter().any(String::is_empty) {
                continue;
            }
            if let Some(access) = FieldAccess::by_path(&class, path) {
                prop_assert_eq!(access.get(&bytes).map(got), Some(value.clone()), "{:?}", path);
            }
        }
        for (path, _) in &layout.expected {
            if let Some(access) = FieldAccess::by_path(&class, path) {
                let _ = (access.get(&bytes), access.get_u64(&bytes), access.get_bytes(&bytes));
            }
        }
    }
}

fn integer(name: &str, size_bytes: u8) -> Member {
    Member::new(
        name,
        FieldClass::Integer(IntegerClass::unsigned(size_bytes)),
    )
}

/// The layout of a tracepoint with two dynamic strings.
fn tracepoint() -> (StructureClass, Vec<u8>) {
    let loc = |name: &str| {
        let inner = StructureClass::new(vec![integer("offset", 2), integer("length", 2)]);
        Member::new(format!("_{name}_loc"), FieldClass::Structure(inner))
    };
    let tail = |name: &str| {
        let length = Length::Field(FieldPath::new([
            format!("_{name}_loc"),
            "length".to_owned(),
        ]));
        Member::new(name, FieldClass::DynamicString { length })
    };
    let class = StructureClass::new(vec![
        integer("common_type", 2),
        Member::padding(2),
        Member::new("common_pid", FieldClass::Integer(IntegerClass::signed(4)))
            .with_role(Role::Tid),
        loc("a"),
        loc("b"),
        tail("a"),
        tail("b"),
    ]);
    let mut bytes = vec![5, 1, 0, 0];
    bytes.extend((-7i32).to_ne_bytes());
    bytes.extend(16u16.to_ne_bytes());
    bytes.extend(3u16.to_ne_bytes());
    bytes.extend(19u16.to_ne_bytes());
    bytes.extend(6u16.to_ne_bytes());
    bytes.extend(b"ab\0hello\0");
    (class, bytes)
}

#[test]
fn roles_and_dynamic_strings_of_a_tracepoint() {
    let (class, bytes) = tracepoint();
    let tid = FieldAccess::by_role(&class, Role::Tid).unwrap();
    assert_eq!(tid.static_offset_bytes(), Some(4));
    assert_eq!(tid.get_i64(&bytes), Some(-7));
    assert_eq!(
        FieldAccess::by_name(&class, "a").unwrap().get_bytes(&bytes),
        Some(&b"ab"[..])
    );
    let b = FieldAccess::by_name(&class, "b").unwrap();
    assert_eq!(b.static_offset_bytes(), None);
    assert_eq!(b.get_bytes(&bytes), Some(&b"hello"[..]));
    assert_eq!(b.get_bytes(&bytes[..24]), None);
    assert_eq!(
        FieldAccess::by_name(&class, "_b_loc.length")
            .unwrap()
            .get_u64(&bytes),
        Some(6)
    );
    assert!(FieldAccess::by_role(&class, Role::Period).is_none());
    assert!(FieldAccess::by_name(&class, "c").is_none());
}

#[test]
fn the_first_bad_field_is_named_with_its_offset() {
    let (class, mut bytes) = tracepoint();
    bytes[14] = 200;
    let error = walk(&class, &bytes, 0, &mut Collect::default()).unwrap_err();
    assert_eq!((error.offset_bytes, error.field.as_str()), (19, "b"));
    assert_eq!(
        error.reason,
        DecodeReason::Truncated {
            needed_bytes: 200,
            left_bytes: 6
        }
    );
    assert_eq!(
        error.to_string(),
        "field 'b' at offset 19: needs 200 bytes, 6 are left"
    );
}

#[test]
fn hostile_classes_end() {
    let nothing = FieldClass::Structure(StructureClass::default());
    let endless = StructureClass::new(vec![Member::new(
        "a",
        FieldClass::StaticArray {
            element: Box::new(nothing),
            count: u32::MAX,
        },
    )]);
    let error = walk(&endless, &[0; 16], 0, &mut Collect::default()).unwrap_err();
    assert!(matches!(error.reason, DecodeReason::Truncated { .. }));

    let mut deep = FieldClass::Boolean;
    for _ in 0..100 {
        deep = FieldClass::Structure(StructureClass::new(vec![Member::new("d", deep)]));
    }
    let deep = StructureClass::new(vec![Member::new("d", deep)]);
    let error = walk(&deep, &[1], 0, &mut Collect::default()).unwrap_err();
    assert_eq!(error.reason, DecodeReason::TooDeep);
    assert!(FieldAccess::by_path(&deep, &["d"; 102]).is_none());

    let orphan = Length::Field(FieldPath::new(["nowhere"]));
    let orphan = StructureClass::new(vec![Member::new(
        "x",
        FieldClass::DynamicBlob { length: orphan },
    )]);
    let error = walk(&orphan, &[1], 0, &mut Collect::default()).unwrap_err();
    assert_eq!(error.reason, DecodeReason::NoSuchField);

    // A length laid out after what it measures has no value yet.
    let late = Length::Field(FieldPath::new(["n"]));
    let late = StructureClass::new(vec![
        Member::new("x", FieldClass::DynamicBlob { length: late }),
        integer("n", 1),
    ]);
    let error = walk(&late, &[1, 1], 0, &mut Collect::default()).unwrap_err();
    assert_eq!(error.reason, DecodeReason::NoSuchField);
    assert_eq!(
        FieldAccess::by_name(&late, "x").unwrap().get_bytes(&[1, 1]),
        None
    );

    let uneven = StructureClass::new(vec![Member::new(
        "r",
        FieldClass::DynamicArray {
            element: Box::new(FieldClass::Integer(IntegerClass::unsigned(8))),
            length: Length::Rest,
        },
    )]);
    let error = walk(&uneven, &[0; 12], 12, &mut Collect::default()).unwrap_err();
    assert_eq!(
        error.reason,
        DecodeReason::UnevenRest {
            rest_bytes: 12,
            element_bytes: 8
        }
    );
}

#[test]
fn a_visitor_can_stop() {
    struct First(Option<u64>);
    impl<'a> Visitor<'a> for First {
        fn value(&mut self, _: &Field<'a>, value: Value<'a>) -> ControlFlow<()> {
            self.0 = value.as_u64();
            ControlFlow::Break(())
        }
    }
    let (class, bytes) = tracepoint();
    let mut first = First(None);
    assert_eq!(walk(&class, &bytes, 0, &mut first), Ok(2));
    assert_eq!(first.0, Some(0x105));
}
