//! Entries of a machine of the other byte order.

use super::{EventFormat, FieldKind, FormatField};

impl EventFormat {
    /// Turns an entry that a machine of the other byte order wrote into what this
    /// machine's kernel would have written, number by number.
    ///
    /// Bytes of which the format does not say that they are numbers stay as they
    /// are, and so do numbers of a type with a byte order of its own (`__be32`).
    pub fn reverse_byte_order(&self, entry: &mut [u8]) {
        for field in self.all_fields() {
            let len = match field.kind {
                FieldKind::FlexibleArray { .. } => entry.len(),
                _ => field.size_bytes as usize,
            };
            if let Some(size) = number_size_bytes(field) {
                reverse(entry, field.offset_bytes as usize, len, size);
            }
        }
        // The words that say where the dynamic arrays are can be read now.
        for field in self.all_fields() {
            let (element, base) = match &field.kind {
                FieldKind::DataLoc { element } => (element, 0),
                FieldKind::RelLoc { element } => (element, field.end_bytes() as usize),
                _ => continue,
            };
            let Some(word) = entry
                .get(field.offset_bytes as usize..)
                .and_then(<[u8]>::first_chunk)
            else {
                continue;
            };
            let word = u32::from_ne_bytes(*word);
            let (len, offset) = ((word >> 16) as usize, (word & 0xffff) as usize);
            match element {
                Some(element) if !has_own_byte_order(&field.c_type) => {
                    reverse(entry, base + offset, len, element.size_bytes as usize);
                }
                _ => {}
            }
        }
    }
}

/// Size of the field's own numbers, which for a dynamic array is the word that says where it is.
fn number_size_bytes(field: &FormatField) -> Option<usize> {
    let size_bytes = match &field.kind {
        FieldKind::DataLoc { .. } | FieldKind::RelLoc { .. } => return Some(4),
        FieldKind::Scalar | FieldKind::Pointer => field.size_bytes,
        FieldKind::Array {
            element_size_bytes, ..
        } => *element_size_bytes,
        FieldKind::FlexibleArray { element } => element.as_ref()?.size_bytes,
        FieldKind::String | FieldKind::Opaque => return None,
    };
    (!has_own_byte_order(&field.c_type)).then_some(size_bytes as usize)
}

fn has_own_byte_order(c_type: &str) -> bool {
    c_type.starts_with("__be") || c_type.starts_with("__le")
}

/// Turns around each number of `size` bytes in so many bytes from `start` on, as far as there are any.
fn reverse(entry: &mut [u8], start: usize, len: usize, size: usize) {
    if size < 2 {
        return;
    }
    let end = start.saturating_add(len).min(entry.len());
    if let Some(numbers) = entry.get_mut(start..end) {
        for number in numbers.chunks_exact_mut(size) {
            number.reverse();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORMAT: &str = "name: made_up\nID: 7\nformat:\n\
        \tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n\
        \tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;\n\n\
        \tfield:char comm[4];\toffset:8;\tsize:4;\tsigned:0;\n\
        \tfield:__be16 port;\toffset:12;\tsize:2;\tsigned:0;\n\
        \tfield:u16 pair[2];\toffset:16;\tsize:4;\tsigned:0;\n\
        \tfield:__data_loc u32[] list;\toffset:20;\tsize:4;\tsigned:0;\n\
        \tfield:__rel_loc char[] text;\toffset:24;\tsize:4;\tsigned:0;\n\n\
        print fmt: \"%d\", REC->common_pid\n";

    fn entry(of: fn(u32) -> [u8; 4], half: fn(u16) -> [u8; 2]) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend(half(7));
        bytes.extend([0, 0]);
        bytes.extend(of(1234));
        bytes.extend(*b"abc\0");
        bytes.extend(443u16.to_be_bytes());
        bytes.extend([0, 0]);
        bytes.extend(half(1));
        bytes.extend(half(2));
        bytes.extend(of(8 << 16 | 28));
        bytes.extend(of(3 << 16 | 8));
        bytes.extend(of(5));
        bytes.extend(of(6));
        bytes.extend(*b"hi\0");
        bytes
    }

    #[test]
    fn numbers_are_turned_and_text_is_not() {
        let format = EventFormat::parse(FORMAT).unwrap();
        let (mut foreign, native) = if cfg!(target_endian = "little") {
            (
                entry(u32::to_be_bytes, u16::to_be_bytes),
                entry(u32::to_le_bytes, u16::to_le_bytes),
            )
        } else {
            (
                entry(u32::to_le_bytes, u16::to_le_bytes),
                entry(u32::to_be_bytes, u16::to_be_bytes),
            )
        };
        assert_ne!(foreign, native);
        format.reverse_byte_order(&mut foreign);
        assert_eq!(foreign, native);
    }

    #[test]
    fn short_and_hostile_entries_do_no_harm() {
        let format = EventFormat::parse(FORMAT).unwrap();
        for len in 0..40 {
            format.reverse_byte_order(&mut vec![0xff; len]);
        }
    }
}
