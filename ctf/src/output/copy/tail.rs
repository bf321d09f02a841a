//! How many bits of a record's last byte are not of the record.
//!
//! A packet's content ends with its last record's last bit: readers take what follows for another record.

use crate::ir::{ArrayLength, Type, TypeKind};
use crate::tsdl::rewrite::whole_bytes_size;

/// Of a type in whole bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tail {
    /// It takes no room: what stands before it is last.
    Nothing,
    Bits(u8),
    /// It depends on the record.
    Varies,
}

impl Tail {
    /// Of something that may be this, or that may be nothing.
    fn or_nothing(self, before: Tail) -> Tail {
        match self {
            Tail::Nothing => before,
            same if same == before => same,
            _ => Tail::Varies,
        }
    }
}

/// Of all of these scopes together, where the record begins with a whole byte.
pub(super) fn of_record<'t>(scopes: impl IntoIterator<Item = &'t Type>) -> Tail {
    scopes
        .into_iter()
        .fold(Tail::Bits(0), |before, class| of(class, before))
}

/// Of `class` behind `before`.
fn of(class: &Type, before: Tail) -> Tail {
    match &class.kind {
        TypeKind::Int(int) => {
            let bits = whole_bytes_size(int.size_bits);
            Tail::Bits((bits.next_multiple_of(8) - bits) as u8)
        }
        TypeKind::VarInt(_) | TypeKind::Float { .. } | TypeKind::Text(_) => Tail::Bits(0),
        TypeKind::Struct(s) => s
            .members
            .iter()
            .fold(before, |before, member| of(&member.class, before)),
        TypeKind::Array {
            length: ArrayLength::Static(0),
            ..
        } => before,
        TypeKind::Array {
            element,
            length: ArrayLength::Static(_),
            ..
        } => of(element, before),
        TypeKind::Array { element, .. } => of(element, Tail::Nothing).or_nothing(before),
        TypeKind::Variant {
            options, optional, ..
        } => {
            let mut all = options.iter().map(|o| of(&o.class, before));
            let Some(first) = all.next() else {
                return before;
            };
            if all.any(|tail| tail != first) || (*optional && first != before) {
                Tail::Varies
            } else {
                first
            }
        }
    }
}
