//! Types of a trace that was read, as TSDL again.
//!
//! Either with the layout that they had, or with the one that re-encoded
//! payloads have: whole bytes, no holes.

use super::name::literal;
use crate::ir::{
    ArrayLength, Encoding, IntType, Lookup, Origin, SequenceKind, StructType, Type, TypeKind,
};
use kstrace_schema::{Base, ByteOrder};
use std::fmt::Write as _;

/// Which layout the bytes have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    AsRead,
    /// Whole bytes, no holes; integers have the width they had where that takes as many bytes.
    WholeBytes,
    /// The same, and integers fill their bytes.
    FullBytes,
}

/// A type that TSDL, or this writer, has no words for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NoWords;

type Result<T> = std::result::Result<T, NoWords>;

/// A structure's type, from `struct` to its alignment.
pub(crate) fn structure(class: &Type, layout: Layout) -> Result<String> {
    match &class.kind {
        TypeKind::Struct(s) => body(s, layout),
        _ => Err(NoWords),
    }
}

fn body(s: &StructType, layout: Layout) -> Result<String> {
    let mut text = String::from("struct {");
    for member in &s.members {
        let (prefix, suffix) = declared(&member.class, layout)?;
        let _ = write!(text, " {prefix} {}{suffix};", word(&member.written_name)?);
    }
    text.push_str(" }");
    if layout == Layout::AsRead && s.align_bits > 1 {
        let _ = write!(text, " align({})", s.align_bits);
    }
    Ok(text)
}

/// A member of a packet context: its declaration.
pub(crate) fn member(class: &Type, written_name: &str, layout: Layout) -> Result<String> {
    let (prefix, suffix) = declared(class, layout)?;
    Ok(format!("{prefix} {}{suffix};", word(written_name)?))
}

/// A name that can stand in TSDL.
fn word(name: &str) -> Result<&str> {
    let mut letters = name.bytes();
    let first = letters
        .next()
        .is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
    if first && letters.all(|b| b.is_ascii_alphanumeric() || b == b'_') {
        Ok(name)
    } else {
        Err(NoWords)
    }
}

/// What stands before and after a name.
fn declared(class: &Type, layout: Layout) -> Result<(String, String)> {
    let plain = |text: String| Ok((text, String::new()));
    match &class.kind {
        TypeKind::Int(int) => plain(integer(int, layout)?),
        TypeKind::Float {
            size_bits,
            align_bits,
            order,
        } => {
            let (exponent, mantissa) = match (size_bits, layout) {
                (32, _) | (16, Layout::WholeBytes | Layout::FullBytes) => (8, 24),
                (64, _) => (11, 53),
                _ => return Err(NoWords),
            };
            let align = match layout {
                Layout::AsRead => *align_bits,
                Layout::WholeBytes | Layout::FullBytes => 8,
            };
            plain(format!(
                "floating_point {{ exp_dig = {exponent}; mant_dig = {mantissa}; align = {align}; byte_order = {}; }}",
                order_word(*order)
            ))
        }
        TypeKind::Text(Encoding::Utf8) => plain("string".to_owned()),
        TypeKind::Text(_) if layout != Layout::AsRead => plain("string".to_owned()),
        TypeKind::Text(_) | TypeKind::VarInt(_) => Err(NoWords),
        TypeKind::Struct(s) => plain(body(s, layout)?),
        TypeKind::Array {
            element,
            length,
            kind,
            ..
        } => {
            let (prefix, suffix) = match kind {
                // Written as text with an end.
                SequenceKind::Text(Encoding::Utf16(_) | Encoding::Utf32(_)) => {
                    return plain("string".to_owned());
                }
                SequenceKind::Text(Encoding::Utf8) => (
                    "integer { size = 8; align = 8; signed = false; encoding = UTF8; }".to_owned(),
                    String::new(),
                ),
                SequenceKind::Blob => (
                    "integer { size = 8; align = 8; signed = false; base = 16; }".to_owned(),
                    String::new(),
                ),
                SequenceKind::Array => declared(element, layout)?,
            };
            let length = match length {
                ArrayLength::Static(count) => count.to_string(),
                ArrayLength::Dynamic(lookup) => path(lookup)?,
            };
            Ok((prefix, format!("[{length}]{suffix}")))
        }
        TypeKind::Variant {
            selector: Some(selector),
            options,
            ..
        } => {
            let mut text = format!("variant <{}> {{", path(selector)?);
            for option in options {
                if option.ranges.is_some() {
                    return Err(NoWords);
                }
                let (prefix, suffix) = declared(&option.class, layout)?;
                let _ = write!(text, " {prefix} {}{suffix};", word(&option.written_name)?);
            }
            text.push_str(" }");
            plain(text)
        }
        TypeKind::Variant { .. } => Err(NoWords),
    }
}

fn path(lookup: &Lookup) -> Result<String> {
    let (origin, names) = match lookup {
        Lookup::Relative(names) => ("", names),
        Lookup::Absolute(Origin::PacketContext, names) => ("stream.packet.context.", names),
        Lookup::Absolute(Origin::StreamContext, names) => ("stream.event.context.", names),
        Lookup::Absolute(Origin::EventContext, names) => ("event.context.", names),
        Lookup::Absolute(Origin::Fields, names) => ("event.fields.", names),
        Lookup::Absolute(..) | Lookup::Up(..) => return Err(NoWords),
    };
    for name in names {
        word(name)?;
    }
    Ok(format!("{origin}{}", names.join(".")))
}

fn order_word(order: ByteOrder) -> &'static str {
    match order {
        ByteOrder::LittleEndian => "le",
        ByteOrder::BigEndian => "be",
    }
}

/// The width that an integer of `bits` is said to have.
pub(crate) fn size_in(layout: Layout, bits: u32) -> u32 {
    match layout {
        Layout::AsRead => bits,
        Layout::WholeBytes => whole_bytes_size(bits),
        Layout::FullBytes => u32::from(crate::input::widened_bytes(bits)) * 8,
    }
}

/// The width that an integer is said to have in whole bytes.
pub(crate) fn whole_bytes_size(bits: u32) -> u32 {
    let widened = u32::from(crate::input::widened_bytes(bits)) * 8;
    // As many bits as it had, where they take as many bytes.
    if bits.next_multiple_of(8) == widened && ByteOrder::NATIVE == ByteOrder::LittleEndian {
        bits
    } else {
        widened
    }
}

/// An integer or enumeration.
pub(crate) fn integer(int: &IntType, layout: Layout) -> Result<String> {
    let base = match int.base {
        Base::Binary => 2,
        Base::Octal => 8,
        Base::Decimal => 10,
        Base::Hexadecimal => 16,
    };
    let bits = int.size_bits;
    let (size, align, order) = match layout {
        Layout::AsRead => (bits, int.align_bits, int.order),
        Layout::WholeBytes | Layout::FullBytes => {
            let size = size_in(layout, bits);
            (size, 8, crate::input::widened_order(bits, int.order))
        }
    };
    let encoding = if int.encoding.is_some() {
        " encoding = UTF8;"
    } else {
        ""
    };
    let plain = format!(
        "integer {{ size = {size}; align = {align}; signed = {}; base = {base}; byte_order = {};{encoding} }}",
        int.signed,
        order_word(order)
    );
    let entries = match &int.mappings {
        Some(mappings) => mappings
            .iter()
            .flat_map(|m| {
                m.ranges
                    .iter()
                    .map(move |r| (m.name.as_str(), r.first, r.last))
            })
            .map(|(name, first, last)| {
                let name = literal(name);
                if first == last {
                    format!("{name} = {first}")
                } else {
                    format!("{name} = {first} ... {last}")
                }
            })
            .collect::<Vec<_>>(),
        None if int.boolean => {
            let last = (1i128 << size) - 1;
            vec![
                "\"false\" = 0".to_owned(),
                format!("\"true\" = 1 ... {last}"),
            ]
        }
        None => return Ok(plain),
    };
    if entries.is_empty() {
        // Nothing to name: TSDL wants at least one.
        return Ok(plain);
    }
    Ok(format!("enum : {plain} {{ {} }}", entries.join(", ")))
}
