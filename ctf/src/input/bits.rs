//! Bits of a packet, at any offset and in either order.

use kstrace_schema::ByteOrder;

/// A place in a packet. Offsets count bits from the packet's start.
#[derive(Clone, Debug)]
pub(super) struct Cursor<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) position: u64,
    /// Nothing is read behind this; at most the bits of `bytes`.
    pub(super) end: u64,
}

impl<'a> Cursor<'a> {
    /// All of `bytes`, from `position` to `end`.
    pub(super) fn new(bytes: &'a [u8], position: u64, end: u64) -> Self {
        let all = (bytes.len() as u64).saturating_mul(8);
        Cursor {
            bytes,
            position,
            end: end.min(all),
        }
    }

    pub(super) fn left_bits(&self) -> u64 {
        self.end.saturating_sub(self.position)
    }

    /// Goes on to a multiple of `bits`, which is a power of two.
    #[inline]
    pub(super) fn align(&mut self, bits: u32) {
        let mask = u64::from(bits.max(1)) - 1;
        self.position = self.position.saturating_add(mask) & !mask;
    }

    /// Whole bytes from a whole byte on.
    #[inline]
    pub(super) fn take_bytes(&mut self, count: u64) -> Option<&'a [u8]> {
        if !self.position.is_multiple_of(8) || count > self.left_bits() / 8 {
            return None;
        }
        let start = usize::try_from(self.position / 8).ok()?;
        let bytes = self.bytes.get(start..start + count as usize)?;
        self.position += count * 8;
        Some(bytes)
    }

    /// Bytes up to a NUL, and past it.
    pub(super) fn take_text(&mut self) -> Option<&'a [u8]> {
        let start = usize::try_from(self.position / 8).ok()?;
        let end = usize::try_from(self.end / 8).ok()?;
        let bytes = self.bytes.get(start..end)?;
        let len = nul(bytes)?;
        self.position += (len as u64 + 1) * 8;
        bytes.get(..len)
    }

    /// An integer of 1 to 64 bits, not sign-extended.
    #[inline]
    pub(super) fn take_bits(&mut self, count: u32, order: ByteOrder) -> Option<u64> {
        if u64::from(count) > self.left_bits() || count > 64 {
            return None;
        }
        let value = bits_at(self.bytes, self.position, count, order)?;
        self.position += u64::from(count);
        Some(value)
    }
}

/// Length of the text before the first NUL.
#[inline]
pub(super) fn nul(bytes: &[u8]) -> Option<usize> {
    // Eight bytes at a time: a word has a zero byte where the borrow reaches a clear top bit.
    const LOW: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let mut at = 0;
    while let Some(word) = bytes.get(at..at + 8) {
        let word = u64::from_le_bytes(word.try_into().unwrap_or_default());
        let zeros = word.wrapping_sub(LOW) & !word & HIGH;
        if zeros != 0 {
            return Some(at + (zeros.trailing_zeros() / 8) as usize);
        }
        at += 8;
    }
    bytes
        .get(at..)?
        .iter()
        .position(|b| *b == 0)
        .map(|p| at + p)
}

#[inline]
fn bits_at(bytes: &[u8], position: u64, count: u32, order: ByteOrder) -> Option<u64> {
    let start = usize::try_from(position / 8).ok()?;
    let shift = (position % 8) as u32;
    // Nearly always: within eight bytes that are all there.
    if (1..=64 - shift).contains(&count)
        && let Some(word) = bytes.get(start..).and_then(|rest| rest.first_chunk::<8>())
    {
        let value = match order {
            ByteOrder::LittleEndian => u64::from_le_bytes(*word) >> shift,
            ByteOrder::BigEndian => u64::from_be_bytes(*word) >> (64 - shift - count),
        };
        return Some(value & (u64::MAX >> (64 - count)));
    }
    near_the_end(bytes, start, shift, count, order)
}

fn near_the_end(
    bytes: &[u8],
    start: usize,
    shift: u32,
    count: u32,
    order: ByteOrder,
) -> Option<u64> {
    // Nine bytes hold any 64 bits.
    let needed = (shift + count).div_ceil(8) as usize;
    let window = bytes.get(start..start.checked_add(needed)?)?;
    let mut wide = 0u128;
    let value = match order {
        ByteOrder::LittleEndian => {
            for (index, byte) in window.iter().enumerate() {
                wide |= u128::from(*byte) << (8 * index);
            }
            wide >> shift
        }
        ByteOrder::BigEndian => {
            for byte in window {
                wide = wide << 8 | u128::from(*byte);
            }
            wide >> (needed as u32 * 8 - shift - count)
        }
    };
    Some((value & ((1u128 << count) - 1)) as u64)
}

/// The value of `bits` two's complement bits.
#[inline]
pub(super) fn sign_extend(value: u64, bits: u32) -> u64 {
    let unused = 64 - bits.clamp(1, 64);
    (((value << unused) as i64) >> unused) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_of_either_order() {
        let bytes = [0b1010_0110, 0b0100_1111, 0xff];
        let mut le = Cursor::new(&bytes, 0, 24);
        assert_eq!(le.take_bits(3, ByteOrder::LittleEndian), Some(0b110));
        assert_eq!(le.take_bits(7, ByteOrder::LittleEndian), Some(0b111_0100));
        let mut be = Cursor::new(&bytes, 0, 24);
        assert_eq!(be.take_bits(3, ByteOrder::BigEndian), Some(0b101));
        assert_eq!(be.take_bits(7, ByteOrder::BigEndian), Some(0b001_1001));
        assert_eq!(be.take_bits(15, ByteOrder::BigEndian), None);
        // Both ways to read them agree.
        let ten = [0x5a, 0x13, 0xff, 0, 0x81, 0x7e, 0x99, 0x42, 0xc3, 0x3c];
        for (start, shift, count) in (0..2).flat_map(|start| {
            (0..8).flat_map(move |shift| (1..=64 - shift).map(move |count| (start, shift, count)))
        }) {
            for order in [ByteOrder::LittleEndian, ByteOrder::BigEndian] {
                let at = (start * 8 + shift) as u64;
                let slow = near_the_end(&ten, start, shift as u32, count as u32, order);
                assert_eq!(bits_at(&ten, at, count as u32, order), slow);
            }
        }
        let nine = [0xff; 9];
        let mut all = Cursor::new(&nine, 5, 72);
        assert_eq!(all.take_bits(64, ByteOrder::BigEndian), Some(u64::MAX));
        assert_eq!(sign_extend(0b101, 3), (-3i64) as u64);
    }

    #[test]
    fn nul_is_found_wherever_it_is() {
        for len in 0..40 {
            let mut bytes = vec![0xffu8; 40];
            bytes[len] = 0;
            bytes[39] = 0;
            assert_eq!(nul(&bytes), Some(len));
            assert_eq!(nul(&bytes[..len]), None);
        }
        assert_eq!(nul(&[0x01, 0x80, 1, 1, 1, 1, 1, 1, 0]), Some(8));
    }
}
