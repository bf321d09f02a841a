//! How much of an entry its class covers.

use crate::TracepointLayout;
use kstrace_schema::ByteOrder;

/// Most bytes that may follow the last field for no reason but alignment: the
/// entry's C structure is padded to 8 bytes, and the buffer's record again.
pub const MAX_SLACK_BYTES: usize = 15;

/// What [`TracepointLayout::measure`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measured {
    /// The entry is as [`TracepointLayout::payload`] says.
    Regular {
        /// Length of the payload: the bytes that the class describes.
        len_bytes: usize,
        /// How many of them fall to a last member that takes the rest; 0 without one.
        rest_len_bytes: u16,
    },
    /// The entry is as [`TracepointLayout::odd_payload`] says.
    Odd {
        /// Length of the payload: all of the entry.
        len_bytes: usize,
        /// How many of them are `_rest`.
        rest_len_bytes: u16,
    },
    /// The entry ends within its fixed fields: neither class fits.
    TooShort,
    /// More than 65,535 bytes follow the fixed fields: no record can hold that.
    TooLong,
}

/// What follows the fixed fields.
#[derive(Clone, Debug)]
pub(crate) enum Shape {
    /// Nothing.
    Static,
    /// The data of dynamic arrays, in order.
    Tails(Box<[Tail]>),
    /// Text that ends with a NUL.
    NulText,
    /// Elements up to the entry's end.
    Rest { element_size_bytes: usize },
    /// As many elements as an earlier field says.
    Counted {
        count_offset: usize,
        count_size_bytes: usize,
        element_size_bytes: usize,
    },
    /// Something that no class can be trusted to describe.
    AlwaysOdd,
}

/// One dynamic array.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tail {
    /// Where its `__data_loc` or `__rel_loc` word stands.
    pub(crate) word_offset: usize,
    /// What its offset counts from.
    pub(crate) base: usize,
    /// Its length must be a multiple of this.
    pub(crate) element_size_bytes: usize,
}

impl TracepointLayout {
    /// Tells which class an entry belongs to and how long its payload is.
    ///
    /// `entry` may end with slack, as entries do in ftrace's ring and in perf's raw data.
    #[inline]
    pub fn measure(&self, entry: &[u8]) -> Measured {
        let fixed = self.fixed_len_bytes as usize;
        if entry.len() < fixed {
            return Measured::TooShort;
        }
        let len_bytes = match &self.shape {
            Shape::Static => Some(fixed),
            Shape::Tails(tails) => self.end_of_tails(tails, entry, fixed),
            _ => return self.measure_unusual(entry, fixed),
        };
        match len_bytes {
            Some(len_bytes) if entry.len() - len_bytes <= MAX_SLACK_BYTES => Measured::Regular {
                len_bytes,
                rest_len_bytes: 0,
            },
            _ => odd(entry, fixed),
        }
    }

    /// End of the last tail if all stand where the class says and none ends behind the entry.
    #[inline]
    fn end_of_tails(&self, tails: &[Tail], entry: &[u8], fixed: usize) -> Option<usize> {
        let mut end = fixed;
        for tail in tails {
            let word = self.u32_at(entry, tail.word_offset)?;
            let (len, offset) = ((word >> 16) as usize, (word & 0xffff) as usize);
            if len == 0 {
                continue;
            }
            if tail.base + offset != end || !len.is_multiple_of(tail.element_size_bytes) {
                return None;
            }
            end += len;
        }
        (end <= entry.len()).then_some(end)
    }

    #[inline]
    fn u32_at(&self, entry: &[u8], offset: usize) -> Option<u32> {
        let bytes = *entry.get(offset..)?.first_chunk::<4>()?;
        Some(match self.byte_order {
            ByteOrder::LittleEndian => u32::from_le_bytes(bytes),
            ByteOrder::BigEndian => u32::from_be_bytes(bytes),
        })
    }

    fn measure_unusual(&self, entry: &[u8], fixed: usize) -> Measured {
        let after = entry.get(fixed..).unwrap_or_default();
        match &self.shape {
            Shape::NulText => match after.iter().position(|b| *b == 0) {
                Some(at) => Measured::Regular {
                    len_bytes: fixed + at + 1,
                    rest_len_bytes: 0,
                },
                None => odd(entry, fixed),
            },
            Shape::Rest { element_size_bytes } => {
                let rest = after.len() - after.len() % element_size_bytes;
                match u16::try_from(rest) {
                    Ok(rest_len_bytes) => Measured::Regular {
                        len_bytes: fixed + rest,
                        rest_len_bytes,
                    },
                    Err(_) => Measured::TooLong,
                }
            }
            Shape::Counted {
                count_offset,
                count_size_bytes,
                element_size_bytes,
            } => {
                let len_bytes = self
                    .count_at(entry, *count_offset, *count_size_bytes)
                    .and_then(|count| count.checked_mul(*element_size_bytes))
                    .and_then(|len| len.checked_add(fixed))
                    .filter(|len| *len <= entry.len() && entry.len() - len <= MAX_SLACK_BYTES);
                match len_bytes {
                    Some(len_bytes) => Measured::Regular {
                        len_bytes,
                        rest_len_bytes: 0,
                    },
                    None => odd(entry, fixed),
                }
            }
            Shape::Static | Shape::Tails(_) | Shape::AlwaysOdd => odd(entry, fixed),
        }
    }

    /// A count; one of 8 bytes or a negative one is no count that an entry could hold.
    fn count_at(&self, entry: &[u8], offset: usize, size_bytes: usize) -> Option<usize> {
        if size_bytes != 4 {
            return None;
        }
        let count = self.u32_at(entry, offset)?.cast_signed();
        usize::try_from(count).ok()
    }
}

#[cold]
fn odd(entry: &[u8], fixed: usize) -> Measured {
    match u16::try_from(entry.len() - fixed) {
        Ok(rest_len_bytes) => Measured::Odd {
            len_bytes: entry.len(),
            rest_len_bytes,
        },
        Err(_) => Measured::TooLong,
    }
}
