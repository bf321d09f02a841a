//! Visiting every field of a payload.

use super::value::{ArrayView, Value, fixed_value, until_nul};
use super::{DecodeError, DecodeReason, MAX_NESTING, in_ranges, resolve};
use crate::{FieldClass, FieldPath, IntegerClass, Length, Role, StructureClass};
use std::ops::ControlFlow;

/// A field as [`walk`] meets it.
#[derive(Clone, Copy, Debug)]
pub struct Field<'a> {
    /// Its name; empty for the elements of an array.
    pub name: &'a str,
    /// Its class; for a variant or an optional, that of what is present.
    pub class: &'a FieldClass,
    /// What it means across sources.
    pub role: Option<Role>,
    /// Where it begins, in bytes from the payload's start.
    pub offset_bytes: usize,
}

/// Is told of the fields of a payload, in the order of their bytes.
///
/// Padding, absent optionals and variants without a matching option are passed
/// over. `ControlFlow::Break` ends the walk early, without an error.
pub trait Visitor<'a> {
    /// A field that is neither a structure nor an array of such.
    fn value(&mut self, field: &Field<'a>, value: Value<'a>) -> ControlFlow<()>;

    /// A structure begins; its members follow.
    fn begin_structure(&mut self, field: &Field<'a>) -> ControlFlow<()> {
        let _ = field;
        ControlFlow::Continue(())
    }

    /// The structure begun last ends.
    fn end_structure(&mut self) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    /// An array begins whose elements are structures or differ in size; they follow.
    fn begin_array(&mut self, field: &Field<'a>, len: usize) -> ControlFlow<()> {
        let _ = (field, len);
        ControlFlow::Continue(())
    }

    /// The array begun last ends.
    fn end_array(&mut self) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
}

/// Visits every field of `payload`. Gives the number of bytes its fields took;
/// fewer than `payload` has if it holds more than its class describes, or if
/// the visitor ended the walk.
///
/// `rest_len_bytes` is the record's, see [`EventRecord`](crate::EventRecord).
///
/// # Errors
/// [`DecodeError`] at the first field that is cut off or makes no sense;
/// everything before it has been visited.
pub fn walk<'a, V: Visitor<'a>>(
    class: &'a StructureClass,
    payload: &'a [u8],
    rest_len_bytes: u16,
    visitor: &mut V,
) -> Result<usize, DecodeError> {
    let mut walk = Walk {
        root: class,
        payload,
        offset: 0,
        rest_len: rest_len_bytes.into(),
        seen: Seen::new(),
        open_arrays: 0,
        visitor,
    };
    match walk.members(class, 0) {
        Ok(()) | Err(Stop::Visitor) => Ok(walk.offset),
        Err(Stop::Error(e)) => Err(e),
    }
}

enum Stop {
    Visitor,
    Error(DecodeError),
}

type Step<T = ()> = Result<T, Stop>;

fn go_on(flow: ControlFlow<()>) -> Step {
    if flow.is_break() {
        Err(Stop::Visitor)
    } else {
        Ok(())
    }
}

/// Number of integers that fit in [`Seen`] without allocating.
const SEEN_INLINE: usize = 32;

/// The integers met so far, known by the address of their class: what lengths
/// and selectors refer to. Allocates only for payloads with more integers than
/// tracepoints ever have.
struct Seen {
    classes: [usize; SEEN_INLINE],
    /// Sign-extended where the class is signed.
    values: [u64; SEEN_INLINE],
    len: usize,
    more: Vec<(usize, u64)>,
}

impl Seen {
    fn new() -> Self {
        Seen {
            classes: [0; SEEN_INLINE],
            values: [0; SEEN_INLINE],
            len: 0,
            more: Vec::new(),
        }
    }

    /// `again` if it may have been noted before: within an array, where the
    /// elements' integers replace each other.
    fn note(&mut self, class: &IntegerClass, value: u64, again: bool) {
        let key = std::ptr::from_ref(class) as usize;
        if again && let Some(old) = self.entry(key) {
            *old = value;
        } else if self.len < SEEN_INLINE {
            self.classes[self.len] = key;
            self.values[self.len] = value;
            self.len += 1;
        } else {
            self.more.push((key, value));
        }
    }

    fn entry(&mut self, key: usize) -> Option<&mut u64> {
        match self.classes[..self.len].iter().position(|k| *k == key) {
            Some(at) => self.values.get_mut(at),
            None => self
                .more
                .iter_mut()
                .find(|(k, _)| *k == key)
                .map(|(_, v)| v),
        }
    }

    fn value(&mut self, class: &IntegerClass) -> Option<i128> {
        let value = *self.entry(std::ptr::from_ref(class) as usize)?;
        Some(if class.signed {
            i128::from(value as i64)
        } else {
            i128::from(value)
        })
    }
}

struct Walk<'a, 'v, V> {
    root: &'a StructureClass,
    payload: &'a [u8],
    offset: usize,
    rest_len: usize,
    seen: Seen,
    /// Arrays that are being visited element by element.
    open_arrays: usize,
    visitor: &'v mut V,
}

impl<'a, V: Visitor<'a>> Walk<'a, '_, V> {
    fn error(&self, name: &str, reason: DecodeReason) -> Stop {
        Stop::Error(DecodeError {
            offset_bytes: self.offset,
            field: name.to_owned(),
            reason,
        })
    }

    fn members(&mut self, structure: &'a StructureClass, depth: usize) -> Step {
        for member in &structure.members {
            self.field(&member.name, &member.class, member.role, depth)?;
        }
        Ok(())
    }

    fn take(&mut self, name: &str, size_bytes: u64) -> Step<&'a [u8]> {
        let left = &self.payload[self.offset..];
        match usize::try_from(size_bytes).ok().and_then(|n| left.get(..n)) {
            Some(bytes) => {
                self.offset += bytes.len();
                Ok(bytes)
            }
            None => Err(self.error(
                name,
                DecodeReason::Truncated {
                    needed_bytes: size_bytes,
                    left_bytes: left.len() as u64,
                },
            )),
        }
    }

    fn integer_at(&mut self, name: &str, path: &FieldPath) -> Step<i128> {
        resolve(self.root, path)
            .and_then(|class| self.seen.value(class))
            .ok_or_else(|| self.error(name, DecodeReason::NoSuchField))
    }

    /// A length in its own unit, and whether that unit is bytes by force (`Rest`).
    fn length(&mut self, name: &str, length: &Length) -> Step<u64> {
        match length {
            Length::Rest => Ok(self.rest_len as u64),
            Length::Field(path) => {
                let value = self.integer_at(name, path)?;
                u64::try_from(value)
                    .map_err(|_| self.error(name, DecodeReason::NegativeLength(value as i64)))
            }
        }
    }

    fn field(
        &mut self,
        name: &'a str,
        class: &'a FieldClass,
        role: Option<Role>,
        depth: usize,
    ) -> Step {
        if depth > MAX_NESTING {
            return Err(self.error(name, DecodeReason::TooDeep));
        }
        let field = Field {
            name,
            class,
            role,
            offset_bytes: self.offset,
        };
        match class {
            FieldClass::Padding { size_bytes } => {
                self.take(name, u64::from(*size_bytes))?;
                Ok(())
            }
            FieldClass::Integer(i) => {
                let bytes = self.take(name, i.size_bytes.into())?;
                let value = self.fixed(&field, bytes, i.size_bytes)?;
                self.seen
                    .note(i, value.as_u64().unwrap_or(0), self.open_arrays > 0);
                go_on(self.visitor.value(&field, value))
            }
            FieldClass::Float(f) => {
                let bytes = self.take(name, f.size_bytes.into())?;
                let value = self.fixed(&field, bytes, f.size_bytes)?;
                go_on(self.visitor.value(&field, value))
            }
            FieldClass::Boolean => {
                let bytes = self.take(name, 1)?;
                let value = self.fixed(&field, bytes, 1)?;
                go_on(self.visitor.value(&field, value))
            }
            FieldClass::NullTerminatedString => {
                let text = until_nul(&self.payload[self.offset..]);
                if self.offset + text.len() >= self.payload.len() {
                    return Err(self.error(name, DecodeReason::Unterminated));
                }
                self.offset += text.len() + 1;
                go_on(self.visitor.value(&field, Value::Str(text)))
            }
            FieldClass::StaticString { size_bytes } => {
                let bytes = self.take(name, u64::from(*size_bytes))?;
                go_on(self.visitor.value(&field, Value::Str(until_nul(bytes))))
            }
            FieldClass::DynamicString { length } => {
                let size = self.length(name, length)?;
                let bytes = self.take(name, size)?;
                go_on(self.visitor.value(&field, Value::Str(until_nul(bytes))))
            }
            FieldClass::StaticBlob { size_bytes } => {
                let bytes = self.take(name, u64::from(*size_bytes))?;
                go_on(self.visitor.value(&field, Value::Bytes(bytes)))
            }
            FieldClass::DynamicBlob { length } => {
                let size = self.length(name, length)?;
                let bytes = self.take(name, size)?;
                go_on(self.visitor.value(&field, Value::Bytes(bytes)))
            }
            FieldClass::StaticArray { element, count } => {
                self.array(&field, element, u64::from(*count), depth)
            }
            FieldClass::DynamicArray { element, length } => {
                let mut count = self.length(name, length)?;
                if *length == Length::Rest {
                    // A rest counts bytes, and its elements have one size.
                    let size = u64::from(element.static_size_bytes().unwrap_or(0));
                    if size == 0 || !count.is_multiple_of(size) {
                        let rest_bytes = count;
                        return Err(self.error(
                            name,
                            DecodeReason::UnevenRest {
                                rest_bytes,
                                element_bytes: size,
                            },
                        ));
                    }
                    count /= size;
                }
                self.array(&field, element, count, depth)
            }
            FieldClass::Structure(s) => {
                go_on(self.visitor.begin_structure(&field))?;
                self.members(s, depth + 1)?;
                go_on(self.visitor.end_structure())
            }
            FieldClass::Variant { selector, options } => {
                let value = self.integer_at(name, selector)?;
                match options.iter().find(|o| in_ranges(&o.ranges, value)) {
                    Some(option) => self.field(name, &option.class, role, depth + 1),
                    None => Ok(()),
                }
            }
            FieldClass::Optional {
                selector,
                ranges,
                class,
            } => {
                let value = self.integer_at(name, selector)?;
                if in_ranges(ranges, value) {
                    self.field(name, class, role, depth + 1)
                } else {
                    Ok(())
                }
            }
        }
    }

    fn fixed(&self, field: &Field<'a>, bytes: &'a [u8], width: u8) -> Step<Value<'a>> {
        fixed_value(field.class, bytes)
            .ok_or_else(|| self.error(field.name, DecodeReason::BadWidth(width)))
    }

    fn array(
        &mut self,
        field: &Field<'a>,
        element: &'a FieldClass,
        count: u64,
        depth: usize,
    ) -> Step {
        let size = element.static_size_bytes();
        if let Some(element_bytes) = size {
            let total = count.saturating_mul(u64::from(element_bytes));
            if !matches!(
                element,
                FieldClass::Structure(_) | FieldClass::StaticArray { .. }
            ) && element_bytes > 0
            {
                let bytes = self.take(field.name, total)?;
                let view = ArrayView {
                    element,
                    bytes,
                    element_bytes: element_bytes as usize,
                };
                return go_on(self.visitor.value(field, Value::Array(view)));
            }
        }
        // Checked before the first element is visited. It also bounds the loop
        // by the payload: elements that may take no byte at all must not be
        // more than there are bytes.
        let left = (self.payload.len() - self.offset) as u64;
        let needed = count.saturating_mul(size.unwrap_or(1).max(1).into());
        if needed > left {
            return Err(self.error(
                field.name,
                DecodeReason::Truncated {
                    needed_bytes: needed,
                    left_bytes: left,
                },
            ));
        }
        go_on(
            self.visitor
                .begin_array(field, usize::try_from(count).unwrap_or(usize::MAX)),
        )?;
        self.open_arrays += 1;
        for _ in 0..count {
            self.field("", element, None, depth + 1)?;
        }
        self.open_arrays -= 1;
        go_on(self.visitor.end_array())
    }
}
