//! The entries.

use super::{Kind, LONGEST_ENTRY_BYTES, Synthetic};
use kstrace_schema::decode::read_integer;
use kstrace_schema::{ByteOrder, FloatClass};
use std::fmt::Write as _;

impl Synthetic {
    /// Writes the entry of a record, all but its type, to `entry` in place of what is
    /// there. `false` if it is longer than an entry can be.
    pub fn encode(&self, payload: &[u8], tid: i32, entry: &mut Vec<u8>) -> bool {
        entry.clear();
        entry.resize(self.fixed_bytes, 0);
        self.put(entry, 4, u64::from(tid.cast_unsigned()), 4);
        for field in &self.fields {
            // What an optional field has not stays zero; a string then is empty.
            let raw = field.access.get_raw(payload).unwrap_or_default();
            match &field.kind {
                Kind::Integer(class) => {
                    let value = read_integer(class, raw).unwrap_or(0);
                    self.put(entry, field.offset, value, class.size_bytes.into());
                }
                Kind::Boolean => {
                    let value = u64::from(raw.first().is_some_and(|b| *b != 0));
                    self.put(entry, field.offset, value, 1);
                }
                Kind::FixedText(size) => {
                    // The last byte stays a NUL only if the text leaves it one.
                    copy(entry, field.offset, raw.get(..*size).unwrap_or(raw));
                }
                Kind::FixedArray {
                    element_bytes,
                    count,
                    swap,
                } => {
                    let len = element_bytes * count;
                    copy(entry, field.offset, raw.get(..len).unwrap_or(raw));
                    if *swap && let Some(array) = entry.get_mut(field.offset..field.offset + len) {
                        swap_elements(array, *element_bytes);
                    }
                }
                Kind::Float(class) => {
                    let start = entry.len();
                    let _ = write!(TextEnd(entry), "{}", float(class, raw));
                    entry.push(0);
                    self.located(entry, field.offset, start);
                }
                Kind::Text => {
                    let start = entry.len();
                    let end = raw.iter().position(|b| *b == 0).unwrap_or(raw.len());
                    entry.extend_from_slice(raw.get(..end).unwrap_or_default());
                    entry.push(0);
                    self.located(entry, field.offset, start);
                }
                Kind::Array {
                    element_bytes,
                    swap,
                } => {
                    let start = entry.len().next_multiple_of(*element_bytes);
                    entry.resize(start, 0);
                    entry.extend_from_slice(raw);
                    if *swap && let Some(array) = entry.get_mut(start..) {
                        swap_elements(array, *element_bytes);
                    }
                    self.located(entry, field.offset, start);
                }
            }
            if entry.len() > LONGEST_ENTRY_BYTES {
                return false;
            }
        }
        true
    }

    /// Writes the `__data_loc` word of data that reach from `start` to the entry's end.
    fn located(&self, entry: &mut [u8], offset: usize, start: usize) {
        let len = entry.len() - start;
        self.put(entry, offset, (len as u64) << 16 | start as u64, 4);
    }

    fn put(&self, entry: &mut [u8], offset: usize, value: u64, size_bytes: usize) {
        let Some(place) = entry.get_mut(offset..offset + size_bytes) else {
            return;
        };
        let bytes = match self.byte_order {
            ByteOrder::LittleEndian => value.to_le_bytes(),
            ByteOrder::BigEndian => {
                let shift = 64 - 8 * size_bytes.clamp(1, 8) as u32;
                (value << shift).to_be_bytes()
            }
        };
        place.copy_from_slice(bytes.get(..size_bytes).unwrap_or(&bytes));
    }
}

fn copy(entry: &mut [u8], offset: usize, bytes: &[u8]) {
    if let Some(place) = entry.get_mut(offset..offset + bytes.len()) {
        place.copy_from_slice(bytes);
    }
}

fn swap_elements(array: &mut [u8], element_bytes: usize) {
    for element in array.chunks_exact_mut(element_bytes.max(1)) {
        element.reverse();
    }
}

fn float(class: &FloatClass, raw: &[u8]) -> f64 {
    let big = class.byte_order == ByteOrder::BigEndian;
    if let Ok(bytes) = <[u8; 4]>::try_from(raw) {
        f64::from(if big {
            f32::from_be_bytes(bytes)
        } else {
            f32::from_le_bytes(bytes)
        })
    } else if let Ok(bytes) = <[u8; 8]>::try_from(raw) {
        if big {
            f64::from_be_bytes(bytes)
        } else {
            f64::from_le_bytes(bytes)
        }
    } else {
        f64::NAN
    }
}

/// Text at the end of bytes.
struct TextEnd<'a>(&'a mut Vec<u8>);

impl std::fmt::Write for TextEnd<'_> {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}
