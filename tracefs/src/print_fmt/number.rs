//! Writes integers.

use super::directive::{Flags, IntStyle};
use crate::digits::{ZEROS, eight_digits, eight_hex_digits};

/// Writes the eight bytes and takes back those that are too many: a copy of fixed length costs
/// less than one of the right length.
#[inline]
fn put(word: u64, keep: usize, out: &mut Vec<u8>) {
    let end = out.len() + keep;
    out.extend_from_slice(&word.to_le_bytes());
    out.truncate(end);
}

/// Writes an unsigned number in decimal digits.
#[inline]
pub(super) fn decimal(value: u64, out: &mut Vec<u8>) {
    if value < 100_000_000 {
        let digits = eight_digits(value as u32);
        let leading = (digits.trailing_zeros() as usize / 8).min(7);
        put((digits | ZEROS) >> (8 * leading), 8 - leading, out);
    } else {
        decimal(value / 100_000_000, out);
        put(eight_digits((value % 100_000_000) as u32) | ZEROS, 8, out);
    }
}

/// Writes a signed number in decimal digits.
#[inline]
pub(super) fn signed_decimal(value: i64, out: &mut Vec<u8>) {
    if value < 0 {
        out.push(b'-');
    }
    decimal(value.unsigned_abs(), out);
}

const LOWER: &[u8; 16] = b"0123456789abcdef";
const UPPER: &[u8; 16] = b"0123456789ABCDEF";

/// Writes a number in hexadecimal digits.
#[inline]
pub(super) fn hex(value: u64, out: &mut Vec<u8>) {
    let digits = (16 - (value.leading_zeros() / 4) as usize).max(1);
    hex_digits(value, digits, out);
}

/// Writes the lowest `digits` hexadecimal digits of a number; at least 1, at most 16.
#[inline]
pub(super) fn hex_digits(value: u64, digits: usize, out: &mut Vec<u8>) {
    let digits = digits.clamp(1, 16);
    // The first of them in the highest bits.
    let value = value << (4 * (16 - digits));
    let end = out.len() + digits;
    let mut room = [0u8; 16];
    room[..8].copy_from_slice(&eight_hex_digits((value >> 32) as u32).to_le_bytes());
    room[8..].copy_from_slice(&eight_hex_digits(value as u32).to_le_bytes());
    out.extend_from_slice(&room);
    out.truncate(end);
}

/// Writes an integer as the kernel's `vsnprintf` does. `value` is already cut to
/// the style's size and extended.
pub(super) fn styled(
    value: u64,
    style: IntStyle,
    flags: Flags,
    width: usize,
    precision: Option<usize>,
    out: &mut Vec<u8>,
) {
    let negative = style.signed && (value as i64) < 0;
    let magnitude = if negative {
        value.wrapping_neg()
    } else {
        value
    };
    let sign = match (style.signed, negative) {
        (true, true) => Some(b'-'),
        (true, false) if flags.plus => Some(b'+'),
        (true, false) if flags.space => Some(b' '),
        _ => None,
    };
    let digits_of = if style.upper { UPPER } else { LOWER };
    let mut room = [0u8; 24];
    let mut at = room.len();
    let mut rest = magnitude;
    loop {
        at -= 1;
        room[at] = digits_of[(rest % u64::from(style.base)) as usize];
        rest /= u64::from(style.base);
        if rest == 0 {
            break;
        }
    }
    let digits = &room[at..];
    let prefix: &[u8] = match (flags.alternative, style.base) {
        (true, 16) if style.upper => b"0X",
        (true, 16) => b"0x",
        (true, 8) if magnitude != 0 => b"0",
        _ => b"",
    };
    let zeros = precision.unwrap_or(0).saturating_sub(digits.len());
    let used = digits.len() + zeros + prefix.len() + usize::from(sign.is_some());
    let padding = width.saturating_sub(used);
    if !flags.zero && !flags.left {
        out.resize(out.len() + padding, b' ');
    }
    out.extend(sign);
    out.extend_from_slice(prefix);
    if flags.zero && !flags.left {
        out.resize(out.len() + padding, b'0');
    }
    out.resize(out.len() + zeros, b'0');
    out.extend_from_slice(digits);
    if flags.left {
        out.resize(out.len() + padding, b' ');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn decimal_and_hex_agree_with_the_standard_library() {
        let mut value = 1u64;
        for i in 0..2000u64 {
            value = value
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(i);
            for v in [value >> (i % 64), 10u64.saturating_pow(i as u32 % 20), i] {
                assert_eq!(text(|o| decimal(v, o)), v.to_string());
                assert_eq!(
                    text(|o| decimal(v.wrapping_sub(1), o)),
                    v.wrapping_sub(1).to_string()
                );
                assert_eq!(
                    text(|o| signed_decimal(v as i64, o)),
                    (v as i64).to_string()
                );
                assert_eq!(text(|o| hex(v, o)), format!("{v:x}"));
                assert_eq!(text(|o| hex_digits(v, 16, o)), format!("{v:016x}"));
            }
        }
    }

    #[test]
    fn widths_flags_and_precisions() {
        let style = |signed, base| IntStyle {
            size: 8,
            signed,
            base,
            upper: false,
        };
        let none = Flags::default();
        let zero = Flags { zero: true, ..none };
        let left = Flags { left: true, ..none };
        let alternative = Flags {
            alternative: true,
            ..none
        };
        let both = Flags {
            alternative: true,
            zero: true,
            ..none
        };
        let of = |v: i64, s, f, w, p| text(|o| styled(v as u64, s, f, w, p, o));
        assert_eq!(of(-5, style(true, 10), none, 4, None), "  -5");
        assert_eq!(of(-5, style(true, 10), zero, 4, None), "-005");
        assert_eq!(of(5, style(true, 10), left, 4, None), "5   ");
        assert_eq!(
            of(5, style(true, 10), Flags { plus: true, ..none }, 0, None),
            "+5"
        );
        assert_eq!(of(5, style(false, 10), none, 6, Some(3)), "   005");
        assert_eq!(of(255, style(false, 16), alternative, 0, None), "0xff");
        // The kernel prefixes zero too in base 16, but not in base 8.
        assert_eq!(of(0, style(false, 16), alternative, 0, None), "0x0");
        assert_eq!(of(0, style(false, 8), alternative, 0, None), "0");
        assert_eq!(of(255, style(false, 16), both, 10, None), "0x000000ff");
        assert_eq!(of(8, style(false, 8), alternative, 0, None), "010");
        assert_eq!(
            of(i64::MIN, style(true, 10), none, 0, None),
            i64::MIN.to_string()
        );
        assert_eq!(
            of(-1, style(false, 10), none, 0, None),
            u64::MAX.to_string()
        );
    }
}
