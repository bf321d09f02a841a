//! Reading a payload by the class that describes it.
//!
//! Two ways, neither of which allocates per record or panics on short or
//! hostile bytes:
//!
//! - [`walk`] visits every field in the order of its bytes: for output that
//!   shows everything;
//! - [`FieldAccess`] is compiled once per class and then fetches one field:
//!   for filters, tables and hot paths. A field at a static offset costs a
//!   bounds check and a load.

mod access;
mod value;
mod walk;

pub use access::FieldAccess;
pub use value::{ArrayView, Value, read_integer};
pub use walk::{Field, Visitor, walk};

use crate::{FieldClass, FieldPath, IntegerClass, IntegerRange, StructureClass};
use std::fmt;

/// Classes may nest this deep; deeper ones are refused, since they can only be hostile.
pub const MAX_NESTING: usize = 64;

/// Why a payload could not be read by its class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecodeError {
    /// Where in the payload the field begins, in bytes.
    pub offset_bytes: usize,
    /// The field.
    pub field: String,
    /// What is wrong with it.
    pub reason: DecodeReason,
}

/// What is wrong with a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DecodeReason {
    /// The field ends behind the payload.
    Truncated {
        /// Bytes that the field needs.
        needed_bytes: u64,
        /// Bytes that are left of the payload.
        left_bytes: u64,
    },
    /// A NUL-terminated string has no NUL.
    Unterminated,
    /// No integer of the length's or selector's name was laid out before.
    NoSuchField,
    /// A length is negative.
    NegativeLength(i64),
    /// The rest's size is no multiple of its elements' size.
    UnevenRest {
        /// Size of the rest.
        rest_bytes: u64,
        /// Size of an element.
        element_bytes: u64,
    },
    /// An integer's or float's width is not one that the model allows.
    BadWidth(u8),
    /// Nested deeper than [`MAX_NESTING`].
    TooDeep,
}

impl fmt::Display for DecodeReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DecodeReason::Truncated {
                needed_bytes,
                left_bytes,
            } => {
                write!(f, "needs {needed_bytes} bytes, {left_bytes} are left")
            }
            DecodeReason::Unterminated => f.write_str("the string has no terminating NUL"),
            DecodeReason::NoSuchField => {
                f.write_str("its length or selector names no integer laid out before it")
            }
            DecodeReason::NegativeLength(n) => write!(f, "its length is negative ({n})"),
            DecodeReason::UnevenRest {
                rest_bytes,
                element_bytes,
            } => {
                write!(
                    f,
                    "{rest_bytes} bytes are no multiple of elements of {element_bytes}"
                )
            }
            DecodeReason::BadWidth(w) => write!(f, "{w} bytes is no width of a number"),
            DecodeReason::TooDeep => write!(f, "nested deeper than {MAX_NESTING}"),
        }
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "field '{}' at offset {}: {}",
            self.field, self.offset_bytes, self.reason
        )
    }
}

impl std::error::Error for DecodeError {}

impl From<DecodeError> for crate::Error {
    fn from(e: DecodeError) -> Self {
        let kind = match e.reason {
            DecodeReason::Truncated { .. } | DecodeReason::Unterminated => {
                crate::ErrorKind::Truncated
            }
            _ => crate::ErrorKind::InvalidData,
        };
        crate::Error::new(kind, e.to_string())
    }
}

/// The integer that a path names. Arrays, optionals and variants on the way are
/// looked through: what is meant is the element, or alternative, at hand.
fn resolve<'a>(root: &'a StructureClass, path: &FieldPath) -> Option<&'a IntegerClass> {
    let (last, outer) = path.0.split_last()?;
    let mut structure = root;
    for part in outer {
        structure = inner_structure(&structure.member(part)?.class)?;
    }
    inner_integer(&structure.member(last)?.class)
}

fn inner_structure(class: &FieldClass) -> Option<&StructureClass> {
    match class {
        FieldClass::Structure(s) => Some(s),
        FieldClass::Optional { class, .. } => inner_structure(class),
        FieldClass::StaticArray { element, .. } | FieldClass::DynamicArray { element, .. } => {
            inner_structure(element)
        }
        _ => None,
    }
}

fn inner_integer(class: &FieldClass) -> Option<&IntegerClass> {
    match class {
        FieldClass::Integer(i) => Some(i),
        FieldClass::Optional { class, .. } => inner_integer(class),
        _ => None,
    }
}

fn in_ranges(ranges: &[IntegerRange], value: i128) -> bool {
    ranges.iter().any(|r| r.contains(value))
}
