//! Field classes as CTF 2 JSON.
//!
//! One model class is one CTF 2 class, in the same order, so that the way back
//! needs no guessing. What CTF 2 has no word for stands in the attributes of
//! the namespace [`ATTRIBUTES`].

use super::ATTRIBUTES;
use kstrace_schema::{
    Base, ByteOrder, FieldClass, FieldPath, IntegerClass, IntegerRange, Length, Mapping, Member,
    StructureClass,
};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, HashSet};

/// An object with the properties that are not null.
fn object(properties: impl IntoIterator<Item = (&'static str, Value)>) -> Value {
    Value::Object(
        properties
            .into_iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(key, value)| (key.to_owned(), value))
            .collect::<Map<_, _>>(),
    )
}

fn own_attributes(attributes: Value) -> Value {
    json!({ ATTRIBUTES: attributes })
}

fn byte_order(order: ByteOrder) -> Value {
    Value::from(match order {
        ByteOrder::LittleEndian => "little-endian",
        ByteOrder::BigEndian => "big-endian",
    })
}

/// An integer as JSON: the nearest that 64 bits hold, signed or not.
fn number(value: i128) -> Value {
    match u64::try_from(value) {
        Ok(value) => Value::from(value),
        Err(_) if value > 0 => Value::from(u64::MAX),
        Err(_) => Value::from(i64::try_from(value).unwrap_or(i64::MIN)),
    }
}

fn ranges(ranges: &[IntegerRange]) -> Value {
    ranges
        .iter()
        .map(|r| json!([number(r.first), number(r.last)]))
        .collect()
}

fn integer(class: &IntegerClass) -> Value {
    let kind = if class.signed {
        "fixed-length-signed-integer"
    } else {
        "fixed-length-unsigned-integer"
    };
    let base = match class.base {
        Base::Binary => Value::from(2),
        Base::Octal => Value::from(8),
        Base::Decimal => Value::Null,
        Base::Hexadecimal => Value::from(16),
    };
    let mut by_label = BTreeMap::<&str, Vec<IntegerRange>>::new();
    for mapping in class.mappings.iter().filter(|m| !m.ranges.is_empty()) {
        by_label
            .entry(&mapping.name)
            .or_default()
            .extend_from_slice(&mapping.ranges);
    }
    // A JSON object has no order and no key twice: where that matters, the list is kept.
    let sorted = by_label
        .iter()
        .map(|(name, ranges)| Mapping {
            name: (*name).to_owned(),
            ranges: ranges.clone(),
        })
        .collect::<Vec<_>>();
    let list = if sorted == class.mappings {
        Value::Null
    } else {
        own_attributes(json!({
            "mappings": class.mappings.iter()
                .map(|m| json!([m.name, ranges(&m.ranges)]))
                .collect::<Vec<_>>()
        }))
    };
    let mappings = by_label
        .iter()
        .map(|(name, r)| ((*name).to_owned(), ranges(r)))
        .collect::<Map<_, _>>();
    object([
        ("type", Value::from(kind)),
        ("length", Value::from(u32::from(class.size_bytes) * 8)),
        ("byte-order", byte_order(class.byte_order)),
        ("alignment", Value::from(8)),
        ("preferred-display-base", base),
        (
            "mappings",
            if mappings.is_empty() {
                Value::Null
            } else {
                Value::Object(mappings)
            },
        ),
        ("attributes", list),
    ])
}

fn path_location(path: &FieldPath) -> Value {
    json!({ "origin": "event-record-payload", "path": path.0 })
}

fn length_location(length: &Length) -> Value {
    match length {
        Length::Field(path) => path_location(path),
        Length::Rest => {
            json!({ "origin": "event-record-specific-context", "path": ["rest_len"] })
        }
    }
}

/// Values of `class` that are in none of `covered`.
fn uncovered(covered: &[IntegerRange], class: Option<&IntegerClass>) -> Vec<IntegerRange> {
    let signed = class.is_some_and(|c| c.signed);
    let (first, last) = if signed {
        (i128::from(i64::MIN), i128::from(i64::MAX))
    } else {
        (0, i128::from(u64::MAX))
    };
    let mut covered = covered.to_vec();
    covered.sort_unstable_by_key(|r| r.first);
    let mut next = first;
    let mut holes = Vec::new();
    for range in covered {
        if range.first > next {
            holes.push(IntegerRange {
                first: next,
                last: (range.first - 1).min(last),
            });
        }
        next = next.max(range.last.saturating_add(1));
    }
    if next <= last {
        holes.push(IntegerRange { first: next, last });
    }
    holes
}

fn integer_at<'a>(root: &'a StructureClass, path: &[String]) -> Option<&'a IntegerClass> {
    let (first, rest) = path.split_first()?;
    match (&root.member(first)?.class, rest) {
        (FieldClass::Integer(class), []) => Some(class),
        (FieldClass::Structure(inner), [_, ..]) => integer_at(inner, rest),
        _ => None,
    }
}

/// The structure field class of a payload or of a part of it.
pub(super) fn structure(structure: &StructureClass, root: &StructureClass) -> Value {
    let mut taken = HashSet::new();
    let members = structure
        .members
        .iter()
        .enumerate()
        .map(|(index, member)| self::member(index, member, &mut taken, root))
        .collect::<Vec<_>>();
    json!({ "type": "structure", "member-classes": members })
}

fn member(
    index: usize,
    member: &Member,
    taken: &mut HashSet<String>,
    root: &StructureClass,
) -> Value {
    // Names must be there and be unique.
    let name = if member.name.is_empty() || taken.contains(&member.name) {
        format!("{}_pad_{index}", member.name)
    } else {
        member.name.clone()
    };
    let mut own = Map::new();
    if let Some(role) = member.role
        && let Ok(role) = serde_json::to_value(role)
    {
        own.insert("role".to_owned(), role);
    }
    if name != member.name {
        own.insert("name".to_owned(), Value::from(member.name.as_str()));
    }
    taken.insert(name.clone());
    let attributes = if own.is_empty() {
        Value::Null
    } else {
        own_attributes(Value::Object(own))
    };
    object([
        ("name", Value::from(name)),
        ("field-class", field(&member.class, root)),
        ("attributes", attributes),
    ])
}

/// A field class. `root` is the payload that it is a part of.
pub(super) fn field(class: &FieldClass, root: &StructureClass) -> Value {
    match class {
        FieldClass::Padding { size_bytes } => json!({
            "type": "static-length-blob",
            "length": size_bytes,
            "attributes": own_attributes(json!({ "kind": "padding" })),
        }),
        FieldClass::Integer(class) => integer(class),
        FieldClass::Float(class) => json!({
            "type": "fixed-length-floating-point-number",
            "length": u32::from(class.size_bytes) * 8,
            "byte-order": byte_order(class.byte_order),
            "alignment": 8,
        }),
        FieldClass::Boolean => json!({
            "type": "fixed-length-boolean",
            "length": 8,
            "byte-order": byte_order(ByteOrder::NATIVE),
            "alignment": 8,
        }),
        FieldClass::NullTerminatedString => json!({ "type": "null-terminated-string" }),
        FieldClass::StaticString { size_bytes } => {
            json!({ "type": "static-length-string", "length": size_bytes })
        }
        FieldClass::DynamicString { length } => json!({
            "type": "dynamic-length-string",
            "length-field-location": length_location(length),
        }),
        FieldClass::StaticArray { element, count } => json!({
            "type": "static-length-array",
            "element-field-class": field(element, root),
            "length": count,
        }),
        // `rest_len` counts bytes; an array's length counts elements.
        FieldClass::DynamicArray {
            element,
            length: Length::Rest,
        } if element.static_size_bytes() != Some(1) => {
            json!({
                "type": "dynamic-length-blob",
                "length-field-location": length_location(&Length::Rest),
                "attributes": own_attributes(json!({ "element": field(element, root) })),
            })
        }
        FieldClass::DynamicArray { element, length } => json!({
            "type": "dynamic-length-array",
            "element-field-class": field(element, root),
            "length-field-location": length_location(length),
        }),
        FieldClass::StaticBlob { size_bytes } => {
            json!({ "type": "static-length-blob", "length": size_bytes })
        }
        FieldClass::DynamicBlob { length } => json!({
            "type": "dynamic-length-blob",
            "length-field-location": length_location(length),
        }),
        FieldClass::Structure(inner) => structure(inner, root),
        FieldClass::Variant { selector, options } => {
            let mut written = options
                .iter()
                .map(|o| {
                    json!({
                        "name": o.name,
                        "selector-field-ranges": ranges(&o.ranges),
                        "field-class": field(&o.class, root),
                    })
                })
                .collect::<Vec<_>>();
            let covered = options
                .iter()
                .flat_map(|o| o.ranges.clone())
                .collect::<Vec<_>>();
            let holes = uncovered(&covered, integer_at(root, &selector.0));
            if !holes.is_empty() {
                // In the model other values mean nothing at all; CTF 2 wants it said.
                written.push(json!({
                    "selector-field-ranges": ranges(&holes),
                    "field-class": {
                        "type": "structure",
                        "attributes": own_attributes(json!({ "kind": "none" })),
                    },
                }));
            }
            json!({
                "type": "variant",
                "selector-field-location": path_location(selector),
                "options": written,
            })
        }
        FieldClass::Optional {
            selector,
            ranges: present,
            class,
        } => json!({
            "type": "optional",
            "selector-field-location": path_location(selector),
            "selector-field-ranges": ranges(present),
            "field-class": field(class, root),
        }),
        // A class that a later model has and this code does not know how to say:
        // refused by readers, never misread.
        _ => json!({ "type": "kstrace.org/unknown" }),
    }
}
