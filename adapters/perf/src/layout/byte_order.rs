//! Records of a machine of another byte order.

use kstrace_schema::{ByteOrder, FieldClass, StructureClass};

/// Makes a record's class, made for this machine, one of a machine of `byte_order`.
///
/// Only for classes whose fields are all in this machine's order.
pub(super) fn set(class: &mut StructureClass, byte_order: ByteOrder) {
    if byte_order == ByteOrder::NATIVE {
        return;
    }
    for member in &mut class.members {
        set_class(&mut member.class, byte_order);
    }
    // One number of eight bytes to the kernel, whose parts change places.
    if let Some(at) = class.members.iter().position(|m| m.name == "weight_var1")
        && let Some(parts) = class.members.get_mut(at..at + 3)
    {
        parts.reverse();
    } else if let Some(at) = class.members.iter().position(|m| m.name == "weight_var3")
        && let Some(parts) = class.members.get_mut(at..at + 3)
    {
        parts.reverse();
    }
}

fn set_class(class: &mut FieldClass, byte_order: ByteOrder) {
    match class {
        FieldClass::Integer(i) => i.byte_order = byte_order,
        FieldClass::Float(f) => f.byte_order = byte_order,
        FieldClass::StaticArray { element, .. } | FieldClass::DynamicArray { element, .. } => {
            set_class(element, byte_order);
        }
        FieldClass::Structure(s) => {
            for member in &mut s.members {
                set_class(&mut member.class, byte_order);
            }
        }
        FieldClass::Variant { options, .. } => {
            for option in options {
                set_class(&mut option.class, byte_order);
            }
        }
        FieldClass::Optional { class, .. } => set_class(class, byte_order),
        _ => {}
    }
}

/// Reads numbers of a record in that order.
#[inline]
pub(super) fn u16_at(bytes: &[u8], at: usize, order: ByteOrder) -> Option<u16> {
    let field = *bytes.get(at..)?.first_chunk()?;
    Some(match order {
        ByteOrder::LittleEndian => u16::from_le_bytes(field),
        ByteOrder::BigEndian => u16::from_be_bytes(field),
    })
}

#[inline]
pub(super) fn u32_at(bytes: &[u8], at: usize, order: ByteOrder) -> Option<u32> {
    let field = *bytes.get(at..)?.first_chunk()?;
    Some(match order {
        ByteOrder::LittleEndian => u32::from_le_bytes(field),
        ByteOrder::BigEndian => u32::from_be_bytes(field),
    })
}

#[inline]
pub(super) fn u64_at(bytes: &[u8], at: usize, order: ByteOrder) -> Option<u64> {
    let field = *bytes.get(at..)?.first_chunk()?;
    Some(match order {
        ByteOrder::LittleEndian => u64::from_le_bytes(field),
        ByteOrder::BigEndian => u64::from_be_bytes(field),
    })
}
