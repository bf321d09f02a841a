//! Constants of the kernel that print formats name.
//!
//! The kernel replaces most names of enumerators in its print formats by their
//! values, but not all: `HRTIMER_MODE_ABS`, `I_DIRTY_SYNC`. Their values are in the
//! kernel's type information (BTF), `/sys/kernel/btf/vmlinux`.

use std::collections::{BTreeMap, HashMap};
use thiserror::Error;

/// Values for names of the kernel that traced.
pub trait Constants {
    /// The value of an enumerator.
    fn value(&self, name: &str) -> Option<i64>;
}

/// Knows nothing: a name that print formats give to an unknown value is not used,
/// and the value stays a number.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoConstants;

impl Constants for NoConstants {
    fn value(&self, _: &str) -> Option<i64> {
        None
    }
}

impl Constants for BTreeMap<String, i64> {
    fn value(&self, name: &str) -> Option<i64> {
        self.get(name).copied()
    }
}

/// Enumerators from the kernel's BTF. Minimum kernel version: 5.4, with
/// `CONFIG_DEBUG_INFO_BTF`.
#[derive(Clone, Debug, Default)]
pub struct BtfConstants {
    values: HashMap<Box<str>, i64>,
}

/// Type information that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("BTF, byte {offset}: {problem}")]
pub struct BtfError {
    /// Where, in bytes from the start.
    pub offset: usize,
    /// What.
    pub problem: &'static str,
}

const MAGIC: u16 = 0xeb9f;
const KIND_ENUM: u32 = 6;
const KIND_ENUM64: u32 = 19;

impl BtfConstants {
    /// Reads the enumerators whose names are `wanted`. Of several with one name
    /// the first counts.
    ///
    /// # Errors
    /// [`BtfError`] if the bytes are not BTF of version 1 in the machine's byte order.
    pub fn parse(btf: &[u8], wanted: impl Fn(&str) -> bool) -> Result<Self, BtfError> {
        let (types, types_at, strings) = sections(btf)?;
        let mut values = HashMap::new();
        let mut add = |name_offset: u32, value: i64| {
            if let Some(name) = name_at(strings, name_offset).filter(|n| wanted(n)) {
                values.entry(name.into()).or_insert(value);
            }
        };
        let mut at = 0;
        while at < types.len() {
            let fail = |problem| BtfError {
                offset: types_at + at,
                problem,
            };
            let word = |i: usize| u32_at(types, at + 4 * i);
            let info = word(1).ok_or(fail("a type without its end"))?;
            let (kind, count) = (info >> 24 & 0x1f, (info & 0xffff) as usize);
            let signed = info >> 31 != 0;
            let extra = extra_len(kind, count).ok_or(fail("a type of unknown kind"))?;
            let end = at + 12 + extra;
            if end > types.len() {
                return Err(fail("a type without its end"));
            }
            for i in 0..count {
                match kind {
                    KIND_ENUM => {
                        let (name, value) = (word(3 + 2 * i), word(4 + 2 * i));
                        if let (Some(name), Some(value)) = (name, value) {
                            let value = if signed {
                                value.cast_signed().into()
                            } else {
                                value.into()
                            };
                            add(name, value);
                        }
                    }
                    KIND_ENUM64 => {
                        let (name, low, high) = (word(3 + 3 * i), word(4 + 3 * i), word(5 + 3 * i));
                        if let (Some(name), Some(low), Some(high)) = (name, low, high) {
                            add(name, (u64::from(high) << 32 | u64::from(low)).cast_signed());
                        }
                    }
                    _ => break,
                }
            }
            at = end;
        }
        Ok(BtfConstants { values })
    }

    /// Reads the running kernel's enumerators whose names are `wanted`, from
    /// `/sys/kernel/btf/vmlinux`.
    ///
    /// # Errors
    /// That of reading the file; `InvalidData` for a [`BtfError`].
    pub fn running_kernel(wanted: impl Fn(&str) -> bool) -> std::io::Result<Self> {
        let btf = std::fs::read("/sys/kernel/btf/vmlinux")?;
        Self::parse(&btf, wanted)
            .map_err(|e| std::io::Error::new(std::io::ErrorKind::InvalidData, e))
    }

    /// How many are known.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether none is known.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }
}

impl Constants for BtfConstants {
    fn value(&self, name: &str) -> Option<i64> {
        self.values.get(name).copied()
    }
}

fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    bytes
        .get(offset..)?
        .first_chunk()
        .map(|b| u32::from_ne_bytes(*b))
}

/// Types, where they begin, and strings.
fn sections(btf: &[u8]) -> Result<(&[u8], usize, &[u8]), BtfError> {
    let fail = |offset, problem| BtfError { offset, problem };
    let magic = btf.first_chunk().map(|b| u16::from_ne_bytes(*b));
    if magic != Some(MAGIC) {
        return Err(fail(0, "no BTF magic of this byte order"));
    }
    if btf.get(2) != Some(&1) {
        return Err(fail(2, "only version 1 is known"));
    }
    let header = |i: usize| {
        u32_at(btf, 4 * i)
            .map(|v| v as usize)
            .ok_or(fail(4 * i, "a header without its end"))
    };
    let header_len = header(1)?;
    let section = |offset: usize, len: usize, field| {
        let start = header_len.checked_add(offset);
        let end = start.and_then(|s| s.checked_add(len));
        match (start, end) {
            (Some(start), Some(end)) => btf
                .get(start..end)
                .map(|bytes| (bytes, start))
                .ok_or(fail(field, "a section behind the end")),
            _ => Err(fail(field, "a section behind the end")),
        }
    };
    let (types, types_at) = section(header(2)?, header(3)?, 8)?;
    let (strings, _) = section(header(4)?, header(5)?, 16)?;
    Ok((types, types_at, strings))
}

fn name_at(strings: &[u8], offset: u32) -> Option<&str> {
    let rest = strings.get(offset as usize..)?;
    let len = rest.iter().position(|b| *b == 0)?;
    std::str::from_utf8(rest.get(..len)?).ok()
}

/// Bytes that follow the twelve that every type has.
fn extra_len(kind: u32, count: usize) -> Option<usize> {
    Some(match kind {
        1 | 14 | 17 => 4,
        2 | 7..=12 | 16 | 18 => 0,
        3 => 12,
        4 | 5 | 15 | KIND_ENUM64 => 12 * count,
        KIND_ENUM | 13 => 8 * count,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn btf(types: &[u32], strings: &[u8]) -> Vec<u8> {
        let type_len = 4 * types.len() as u32;
        let mut bytes = MAGIC.to_ne_bytes().to_vec();
        bytes.extend([1, 0]);
        for word in [24, 0, type_len, type_len, strings.len() as u32] {
            bytes.extend(u32::to_ne_bytes(word));
        }
        types.iter().for_each(|w| bytes.extend(w.to_ne_bytes()));
        bytes.extend(strings);
        bytes
    }

    #[test]
    fn enumerators_of_all_widths() {
        let strings = b"\0A\0B\0C\0";
        let types = [
            0,
            1 << 24,
            4,
            0, // an integer
            0,
            KIND_ENUM << 24 | 1 << 31 | 1,
            4,
            1,
            u32::MAX, // A = -1
            0,
            KIND_ENUM << 24 | 1,
            4,
            3,
            u32::MAX, // B, unsigned
            0,
            KIND_ENUM64 << 24 | 1,
            8,
            5,
            2,
            1, // C
        ];
        let found = BtfConstants::parse(&btf(&types, strings), |_| true).unwrap();
        assert_eq!(found.len(), 3);
        assert_eq!(found.value("A"), Some(-1));
        assert_eq!(found.value("B"), Some(u32::MAX.into()));
        assert_eq!(found.value("C"), Some(1 << 32 | 2));
        let one = BtfConstants::parse(&btf(&types, strings), |n| n == "B").unwrap();
        assert_eq!(one.len(), 1);
    }

    #[test]
    fn what_is_no_btf_is_refused() {
        let good = btf(&[0, KIND_ENUM << 24 | 1, 4, 1, 7], b"\0A\0");
        for cut in 0..good.len() {
            // Cut anywhere: an error, no panic.
            assert!(
                BtfConstants::parse(&good[..cut], |_| true).is_err(),
                "{cut}"
            );
        }
        assert!(BtfConstants::parse(&btf(&[0, 31 << 24, 0], b"\0"), |_| true).is_err());
        let too_many = btf(&[0, KIND_ENUM << 24 | 9, 4, 1, 7], b"\0A\0");
        let error = BtfConstants::parse(&too_many, |_| true).unwrap_err();
        assert_eq!(error.to_string(), "BTF, byte 24: a type without its end");
    }
}
