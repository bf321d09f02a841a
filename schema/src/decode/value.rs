//! Values, borrowed from the payload.

use crate::{ByteOrder, FieldClass, FloatClass, IntegerClass};

/// The value of one field, borrowed from the payload.
#[derive(Clone, Copy, Debug)]
pub enum Value<'a> {
    /// An unsigned integer.
    U64(u64),
    /// A signed integer.
    I64(i64),
    /// A floating-point number.
    F64(f64),
    /// A boolean.
    Bool(bool),
    /// Text up to, not including, its NUL; as the kernel wrote it, so not
    /// necessarily UTF-8.
    Str(&'a [u8]),
    /// Opaque bytes.
    Bytes(&'a [u8]),
    /// An array whose elements all have one size.
    Array(ArrayView<'a>),
}

impl<'a> Value<'a> {
    /// The value in the bytes of a field, which must be exactly the field's. `None` for structures,
    /// variants and optionals, for text up to a NUL, and if there are too few bytes.
    pub fn of(class: &'a FieldClass, bytes: &'a [u8]) -> Option<Value<'a>> {
        fixed_value(class, bytes)
    }

    /// The value of an integer or boolean; signed ones are sign-extended.
    pub fn as_u64(&self) -> Option<u64> {
        match *self {
            Value::U64(v) => Some(v),
            Value::I64(v) => Some(v as u64),
            Value::Bool(v) => Some(v.into()),
            _ => None,
        }
    }

    /// The value of an integer or boolean; unsigned ones beyond `i64::MAX` wrap.
    pub fn as_i64(&self) -> Option<i64> {
        self.as_u64().map(|v| v as i64)
    }

    /// The value of an integer, exactly.
    pub fn as_i128(&self) -> Option<i128> {
        match *self {
            Value::U64(v) => Some(v.into()),
            Value::I64(v) => Some(v.into()),
            Value::Bool(v) => Some(v.into()),
            _ => None,
        }
    }
}

/// An array of equal-sized elements, decoded one by one on demand.
#[derive(Clone, Copy, Debug)]
pub struct ArrayView<'a> {
    /// Class of each element.
    pub element: &'a FieldClass,
    /// The elements' bytes, all of them and no more.
    pub bytes: &'a [u8],
    pub(super) element_bytes: usize,
}

impl<'a> ArrayView<'a> {
    /// Number of elements.
    pub fn len(&self) -> usize {
        self.bytes.len() / self.element_bytes.max(1)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of one element.
    pub fn element_size_bytes(&self) -> usize {
        self.element_bytes
    }

    /// Bytes of the element with that index.
    pub fn element_at(&self, index: usize) -> Option<&'a [u8]> {
        let start = index.checked_mul(self.element_bytes)?;
        self.bytes.get(start..)?.get(..self.element_bytes)
    }

    /// The element with that index; `None` also for elements that are structures.
    pub fn get(&self, index: usize) -> Option<Value<'a>> {
        fixed_value(self.element, self.element_at(index)?)
    }

    /// The elements in order; stops at the first that is a structure.
    pub fn iter(&self) -> impl Iterator<Item = Value<'a>> + use<'a> {
        let this = *self;
        (0..this.len()).map_while(move |i| this.get(i))
    }
}

/// The value of a class of static size that is no structure; `bytes` must be
/// exactly the field's.
pub(super) fn fixed_value<'a>(class: &'a FieldClass, bytes: &'a [u8]) -> Option<Value<'a>> {
    Some(match class {
        FieldClass::Integer(i) => {
            let raw = read_integer(i, bytes)?;
            if i.signed {
                Value::I64(raw as i64)
            } else {
                Value::U64(raw)
            }
        }
        FieldClass::Float(f) => Value::F64(read_float(f, bytes)?),
        FieldClass::Boolean => Value::Bool(*bytes.first()? != 0),
        FieldClass::StaticString { .. } | FieldClass::DynamicString { .. } => {
            Value::Str(until_nul(bytes))
        }
        FieldClass::StaticBlob { .. } | FieldClass::DynamicBlob { .. } => Value::Bytes(bytes),
        FieldClass::StaticArray { element, .. } | FieldClass::DynamicArray { element, .. } => {
            let element_bytes = element.static_size_bytes()? as usize;
            Value::Array(ArrayView {
                element,
                bytes,
                element_bytes,
            })
        }
        _ => return None,
    })
}

/// An integer from the first bytes of `bytes`, sign-extended to 64 bits if its
/// class is signed. `None` if there are too few bytes or the width is none of
/// 1, 2, 4, 8.
#[inline]
pub fn read_integer(class: &IntegerClass, bytes: &[u8]) -> Option<u64> {
    let big = class.byte_order == ByteOrder::BigEndian;
    macro_rules! read {
        ($unsigned:ty, $signed:ty) => {{
            let bytes = *bytes.first_chunk()?;
            let raw = if big {
                <$unsigned>::from_be_bytes(bytes)
            } else {
                <$unsigned>::from_le_bytes(bytes)
            };
            if class.signed {
                i64::from(raw as $signed) as u64
            } else {
                u64::from(raw)
            }
        }};
    }
    Some(match class.size_bytes {
        1 => read!(u8, i8),
        2 => read!(u16, i16),
        4 => read!(u32, i32),
        8 => read!(u64, i64),
        _ => return None,
    })
}

fn read_float(class: &FloatClass, bytes: &[u8]) -> Option<f64> {
    let big = class.byte_order == ByteOrder::BigEndian;
    Some(match class.size_bytes {
        4 => {
            let b = *bytes.first_chunk()?;
            f64::from(if big {
                f32::from_be_bytes(b)
            } else {
                f32::from_le_bytes(b)
            })
        }
        8 => {
            let b = *bytes.first_chunk()?;
            if big {
                f64::from_be_bytes(b)
            } else {
                f64::from_le_bytes(b)
            }
        }
        _ => return None,
    })
}

pub(super) fn until_nul(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
    &bytes[..end]
}
