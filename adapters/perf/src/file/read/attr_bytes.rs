//! A `perf_event_attr` as it lies in a file: of any size, in either byte order.

use super::order::Order;
use crate::attr::{ATTR_BYTES, ATTR_MIN_BYTES, Attr};
use kstrace_schema::ByteOrder;
use zerocopy::IntoBytes;

/// Offset of the bit-fields.
const FLAGS_AT: usize = 40;

/// Understands the attr; the bytes themselves are kept by the caller. `None` below 64 bytes.
pub(in crate::file) fn decode(bytes: &[u8], order: Order) -> Option<Attr> {
    if bytes.len() < ATTR_MIN_BYTES {
        return None;
    }
    if order.byte_order() == ByteOrder::NATIVE {
        return Attr::from_bytes(bytes);
    }
    let mut whole = [0u8; ATTR_BYTES];
    let known = bytes.len().min(ATTR_BYTES);
    whole[..known].copy_from_slice(&bytes[..known]);
    // Widths of the fields in their order; the bit-fields are one of them.
    const WIDTHS: [usize; 24] = [
        4, 4, 8, 8, 8, 8, 8, 4, 4, 8, 8, 8, 8, 4, 4, 8, 4, 2, 2, 4, 4, 8, 8, 8,
    ];
    let mut at = 0;
    for width in WIDTHS {
        let Some(field) = whole.get_mut(at..at + width) else {
            break;
        };
        if at == FLAGS_AT {
            // Bit-fields are laid out from the other end of each byte, bytes in the same order.
            field.iter_mut().for_each(|b| *b = b.reverse_bits());
        } else {
            field.reverse();
        }
        at += width;
    }
    Attr::from_bytes(&whole)
}

/// The attr in this machine's byte order, as many bytes as there were.
pub(super) fn native_hex(bytes: &[u8], attr: &Attr, order: Order) -> String {
    if order.byte_order() == ByteOrder::NATIVE {
        return hex(bytes);
    }
    hex(&attr.as_bytes()[..bytes.len().min(ATTR_BYTES)])
}

/// Lower-case hexadecimal.
pub(in crate::file) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    text
}

/// Bytes from hexadecimal; `None` if it is none.
pub(in crate::file) fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |c: u8| char::from(c).to_digit(16).map(|d| d as u8);
    let digits = text.as_bytes();
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    digits
        .chunks_exact(2)
        .map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::uapi::flag;

    #[test]
    fn a_foreign_attr_says_the_same() {
        let mut attr = Attr::new(2, 0x1234_5678);
        attr.flags = flag::DISABLED | flag::SAMPLE_ID_ALL | flag::USE_CLOCKID;
        attr.sample_type = 0x587;
        attr.clockid = 1;
        attr.sample_max_stack = 127;
        attr.config4 = 9;
        // Field by field, written out by hand.
        let mut foreign = Vec::new();
        let swap8 = |v: u64| v.swap_bytes().to_ne_bytes();
        let swap4 = |v: u32| v.swap_bytes().to_ne_bytes();
        foreign.extend(swap4(attr.kind));
        foreign.extend(swap4(attr.size));
        for v in [
            attr.config,
            attr.sample_period,
            attr.sample_type,
            attr.read_format,
        ] {
            foreign.extend(swap8(v));
        }
        foreign.extend(attr.flags.to_ne_bytes().map(u8::reverse_bits));
        foreign.extend([0; 40]);
        foreign.extend(swap4(0));
        foreign.extend(swap4(0));
        assert_eq!(foreign.len(), 96);
        foreign[92..96].copy_from_slice(&swap4(1));
        foreign.resize(108, 0);
        foreign.extend(127u16.swap_bytes().to_ne_bytes());
        foreign.resize(136, 0);
        foreign.extend(swap8(9));
        let order = Order::new(match ByteOrder::NATIVE {
            ByteOrder::LittleEndian => ByteOrder::BigEndian,
            ByteOrder::BigEndian => ByteOrder::LittleEndian,
        });
        assert_eq!(decode(&foreign, order), Some(attr));
        assert_eq!(native_hex(&foreign, &attr, order), attr.hex());
        assert_eq!(from_hex(&hex(&foreign)), Some(foreign));
    }
}
