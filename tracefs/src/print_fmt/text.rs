//! Writes the texts of `%s`: strings, and the kernel's `__print_*` helpers.

use super::eval::{Fault, int, load, memory_at};
use super::expr::{IntExpr, IntTy, MemExpr, Names, TextExpr};
use super::number::{decimal, hex, hex_digits};
use super::symbols::Symbols;

/// Most elements of an array that are written.
const MAX_ELEMENTS: usize = 1 << 16;

/// Writes a text. `limit` is the precision of `%.*s`.
pub(super) fn write(
    text: &TextExpr,
    limit: Option<usize>,
    entry: &[u8],
    symbols: &dyn Symbols,
    out: &mut Vec<u8>,
) -> Result<(), Fault> {
    match text {
        TextExpr::Memory(memory) => {
            let bytes = memory_at(memory, entry)?;
            out.extend_from_slice(cut(bytes, limit));
            Ok(())
        }
        TextExpr::Literal(bytes) => {
            out.extend_from_slice(cut(bytes, limit));
            Ok(())
        }
        text => {
            let start = out.len();
            other(text, limit, entry, symbols, out)?;
            if let Some(limit) = limit {
                out.truncate(start.saturating_add(limit).max(start));
            }
            Ok(())
        }
    }
}

/// Up to a NUL, and at most `limit` bytes.
#[inline]
fn cut(bytes: &[u8], limit: Option<usize>) -> &[u8] {
    let bytes = limit.and_then(|l| bytes.get(..l)).unwrap_or(bytes);
    bytes.get(..nul_position(bytes)).unwrap_or(bytes)
}

/// Where the first NUL is, or the length. Eight bytes at a time: a name costs less so.
#[inline]
fn nul_position(bytes: &[u8]) -> usize {
    const LOW: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let mut at = 0;
    while let Some(chunk) = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        let word = u64::from_le_bytes(*chunk);
        // The lowest bit that is set stands for the first zero; false ones lie above it.
        let zeros = word.wrapping_sub(LOW) & !word & HIGH;
        if zeros != 0 {
            return at + (zeros.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    let rest = bytes.get(at..).unwrap_or_default();
    at + rest.iter().position(|b| *b == 0).unwrap_or(rest.len())
}

fn other(
    text: &TextExpr,
    limit: Option<usize>,
    entry: &[u8],
    symbols: &dyn Symbols,
    out: &mut Vec<u8>,
) -> Result<(), Fault> {
    match text {
        TextExpr::Memory(_) | TextExpr::Literal(_) => {}
        TextExpr::Null => out.extend_from_slice(b"(null)"),
        TextExpr::Kernel(address) => match int(address, entry)? {
            0 => out.extend_from_slice(b"(null)"),
            address => match symbols.printk_string(address) {
                Some(text) => out.extend_from_slice(text.as_bytes()),
                None => {
                    out.extend_from_slice(b"0x");
                    hex(address, out);
                }
            },
        },
        TextExpr::Cond(parts) => {
            let (condition, yes, no) = &**parts;
            let chosen = if int(condition, entry)? != 0 { yes } else { no };
            write(chosen, limit, entry, symbols, out)?;
        }
        TextExpr::Flags {
            value,
            delimiter,
            names,
        } => {
            flags(int(value, entry)?, delimiter, names, out);
        }
        TextExpr::Symbolic { value, names } => symbolic(int(value, entry)?, names, out),
        TextExpr::Hex {
            memory,
            len,
            spaced,
        } => {
            let bytes = first(memory, len, entry)?;
            for (i, byte) in bytes.iter().enumerate() {
                if *spaced && i > 0 {
                    out.push(b' ');
                }
                hex_digits((*byte).into(), 2, out);
            }
        }
        TextExpr::Array {
            memory,
            count,
            element_size,
        } => {
            array(memory, count, element_size, entry, out)?;
        }
        TextExpr::Bitmask { memory } => {
            let bytes = memory_at(memory, entry)?;
            super::pointer::bitmap(bytes, bytes.len() * 8, out);
        }
        TextExpr::Choice { index, texts } => {
            let index = usize::try_from(int(index, entry)?).unwrap_or(usize::MAX);
            if let Some(text) = texts.get(index).or(texts.last()) {
                out.extend_from_slice(text);
            }
        }
    }
    Ok(())
}

/// The first `len` bytes of what a pointer points to.
fn first<'a>(memory: &'a MemExpr, len: &IntExpr, entry: &'a [u8]) -> Result<&'a [u8], Fault> {
    let bytes = memory_at(memory, entry)?;
    // The kernel takes the length as an int, and nothing for a negative one.
    let len = usize::try_from(int(len, entry)? as i32).unwrap_or(0);
    bytes.get(..len).ok_or(Fault::Truncated)
}

/// `__print_flags`: the names of all bits, and what is left as a number.
fn flags(mut value: u64, delimiter: &[u8], names: &Names, out: &mut Vec<u8>) {
    let start = out.len();
    for (mask, name) in names.values.iter().zip(&names.names) {
        if value == 0 {
            break;
        }
        if value & mask != *mask {
            continue;
        }
        value &= !mask;
        if out.len() > start {
            out.extend_from_slice(delimiter);
        }
        out.extend_from_slice(name);
    }
    if value != 0 {
        if out.len() > start {
            out.extend_from_slice(delimiter);
        }
        out.extend_from_slice(b"0x");
        hex(value, out);
    }
}

/// `__print_symbolic`: the name of the value, or the value as a number.
fn symbolic(value: u64, names: &Names, out: &mut Vec<u8>) {
    match names
        .values
        .iter()
        .position(|v| *v == value)
        .and_then(|i| names.names.get(i))
    {
        Some(name) => out.extend_from_slice(name),
        None => {
            out.extend_from_slice(b"0x");
            hex(value, out);
        }
    }
}

/// `__print_array`: `{0x1,0x2}`.
fn array(
    memory: &MemExpr,
    count: &IntExpr,
    element_size: &IntExpr,
    entry: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), Fault> {
    let bytes = memory_at(memory, entry)?;
    let size = int(element_size, entry)?;
    let count = usize::try_from(int(count, entry)? as i32)
        .unwrap_or(0)
        .min(MAX_ELEMENTS);
    let ty = match size {
        1 | 2 | 4 | 8 => IntTy {
            size: size as u8,
            signed: false,
        },
        _ => {
            out.extend_from_slice(b"BAD SIZE:");
            decimal(size, out);
            return Ok(());
        }
    };
    out.push(b'{');
    for i in 0..count {
        if i > 0 {
            out.push(b',');
        }
        let element = load(bytes, i * usize::from(ty.size), ty)?;
        out.extend_from_slice(b"0x");
        hex(element, out);
    }
    out.push(b'}');
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::nul_position;

    #[test]
    fn the_first_nul_is_found_at_every_place() {
        for len in 0..40 {
            let mut bytes = vec![0x81u8; len];
            assert_eq!(nul_position(&bytes), len);
            for at in (0..len).rev() {
                bytes[at] = 0;
                if at + 1 < len {
                    bytes[at + 1] = 1;
                }
                assert_eq!(nul_position(&bytes), at);
            }
        }
    }
}
