//! Classes and names of single members.

use crate::base;
use kstrace_schema::{ByteOrder, FieldClass, IntegerClass};
use std::collections::HashSet;
use tracefs::format::{FieldKind, FormatField};

/// The names used so far: a payload's members must differ in name.
#[derive(Debug, Default)]
pub(crate) struct Names(HashSet<String>);

impl Names {
    /// The name itself, or with a number if it is taken.
    pub(crate) fn unique(&mut self, name: &str) -> String {
        let mut candidate = name.to_owned();
        let mut number = 2u32;
        while !self.0.insert(candidate.clone()) {
            candidate = format!("{name}_{number}");
            number += 1;
        }
        candidate
    }
}

/// Byte order of a field: that of the machine unless the type says otherwise.
fn field_byte_order(field: &FormatField, machine: ByteOrder) -> ByteOrder {
    match field.c_type.as_str() {
        "__be16" | "__be32" | "__be64" => ByteOrder::BigEndian,
        "__le16" | "__le32" | "__le64" => ByteOrder::LittleEndian,
        _ => machine,
    }
}

fn integer(event: &str, field: &FormatField, size_bytes: u32, machine: ByteOrder) -> FieldClass {
    FieldClass::Integer(IntegerClass {
        size_bytes: size_bytes as u8,
        signed: field.signed && !field.is_pointer(),
        byte_order: field_byte_order(field, machine),
        base: base::preferred(event, field),
        mappings: Vec::new(),
    })
}

/// The class of an array's element.
pub(crate) fn element_class(event: &str, field: &FormatField, machine: ByteOrder) -> FieldClass {
    let size_bytes = match &field.kind {
        FieldKind::Array {
            element_size_bytes, ..
        } => *element_size_bytes,
        _ => field.known_type().map_or(1, |t| t.size_bytes),
    };
    integer(event, field, size_bytes, machine)
}

/// The class of a field that is neither dynamic nor flexible.
pub(crate) fn fixed_class(event: &str, field: &FormatField, machine: ByteOrder) -> FieldClass {
    let size_bytes = field.size_bytes;
    match &field.kind {
        FieldKind::Scalar | FieldKind::Pointer => integer(event, field, size_bytes, machine),
        FieldKind::String => FieldClass::StaticString { size_bytes },
        FieldKind::Array { count, .. } => FieldClass::StaticArray {
            element: Box::new(element_class(event, field, machine)),
            count: *count,
        },
        _ => FieldClass::StaticBlob { size_bytes },
    }
}
