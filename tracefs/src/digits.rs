//! Lines of text in room that was made beforehand.
//!
//! A line is names and numbers, mostly. Where it is known how much room they take at most, each
//! is written with a store or two of fixed length, whose surplus the next one covers, and nothing
//! has to grow in between.

/// Room that a [`Room`] wants behind what is written: the surplus of the last store.
pub const SURPLUS_BYTES: usize = 32;
/// The longest decimal number, with its sign; also long enough for any hexadecimal one.
pub const NUMBER_BYTES: usize = 20;

pub(crate) const ZEROS: u64 = 0x3030_3030_3030_3030;

/// The eight decimal digits of a number below 10^8, most significant first in memory.
#[inline]
pub(crate) fn eight_digits(value: u32) -> u64 {
    // Halves, then quarters, then digits, side by side in one word. The multiplications are
    // divisions by 100 and by 10 that are exact for what can come.
    let halves = u64::from(value / 10_000) | (u64::from(value % 10_000) << 32);
    let hundreds = ((halves * 10_486) >> 20) & 0x0000_007f_0000_007f;
    let pairs = hundreds | ((halves - 100 * hundreds) << 16);
    let tens = ((pairs * 103) >> 10) & 0x000f_000f_000f_000f;
    tens | ((pairs - 10 * tens) << 8)
}

/// The hexadecimal digits of 32 bits, most significant first in memory.
#[inline]
pub(crate) fn eight_hex_digits(value: u32) -> u64 {
    // A nibble in each byte.
    let v = u64::from(value);
    let v = ((v << 32) | (v >> 16)) & 0x0000_ffff_0000_ffff;
    let v = ((v << 16) | (v >> 8)) & 0x00ff_00ff_00ff_00ff;
    let v = ((v << 8) | (v >> 4)) & 0x0f0f_0f0f_0f0f_0f0f;
    // Those of 10 and more reach into the fifth bit when 6 is added.
    let letters = ((v + 0x0606_0606_0606_0606) >> 4) & 0x0101_0101_0101_0101;
    v + ZEROS + letters * u64::from(b'a' - b'9' - 1)
}

/// A short text with the room to be copied as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Label {
    /// Up to 32 bytes, zeros behind them.
    Short([u8; 32], u8),
    /// A longer one.
    Long(Box<[u8]>),
}

impl Label {
    /// A copy of the text.
    pub fn new(text: &[u8]) -> Label {
        let mut bytes = [0; 32];
        match bytes.get_mut(..text.len()) {
            Some(place) => {
                place.copy_from_slice(text);
                // At most 32.
                Label::Short(bytes, text.len() as u8)
            }
            None => Label::Long(text.into()),
        }
    }

    /// The text.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Label::Short(bytes, len) => bytes.get(..usize::from(*len)).unwrap_or(bytes),
            Label::Long(bytes) => bytes,
        }
    }
}

/// Text that is written into room at hand.
///
/// What does not fit is not written; [`finish`](Self::finish) then says so.
#[derive(Debug)]
pub struct Room<'b> {
    bytes: &'b mut [u8],
    at: usize,
}

impl<'b> Room<'b> {
    /// Writes to the start of `bytes`, which should be [`SURPLUS_BYTES`] longer than what is to be
    /// written.
    #[inline]
    pub fn new(bytes: &'b mut [u8]) -> Self {
        Room { bytes, at: 0 }
    }

    /// Length of what was written; `None` if there was too little room.
    #[inline]
    pub fn finish(self) -> Option<usize> {
        (self.at <= self.bytes.len()).then_some(self.at)
    }

    /// The first `keep` of so many bytes.
    #[inline]
    fn fixed<const N: usize>(&mut self, bytes: &[u8; N], keep: usize) {
        match self.bytes.get_mut(self.at..self.at.saturating_add(N)) {
            Some(place) => {
                place.copy_from_slice(bytes);
                self.at += keep;
            }
            None => self.at = usize::MAX,
        }
    }

    /// A text.
    #[inline]
    pub fn label(&mut self, label: &Label) {
        match label {
            Label::Short(bytes, len) => self.fixed(bytes, usize::from(*len)),
            Label::Long(bytes) => self.text(bytes),
        }
    }

    /// Any text.
    #[inline]
    pub fn text(&mut self, text: &[u8]) {
        match self
            .bytes
            .get_mut(self.at..self.at.saturating_add(text.len()))
        {
            Some(place) => {
                place.copy_from_slice(text);
                self.at += text.len();
            }
            None => self.at = usize::MAX,
        }
    }

    /// One byte.
    #[inline]
    pub fn byte(&mut self, byte: u8) {
        self.fixed(&[byte], 1);
    }

    /// An unsigned number in decimal digits.
    #[inline]
    pub fn decimal(&mut self, value: u64) {
        if value < 100_000_000 {
            let digits = eight_digits(value as u32);
            let leading = (digits.trailing_zeros() as usize / 8).min(7);
            let word = (digits | ZEROS) >> (8 * leading);
            self.fixed(&word.to_le_bytes(), 8 - leading);
        } else {
            self.decimal(value / 100_000_000);
            let low = eight_digits((value % 100_000_000) as u32) | ZEROS;
            self.fixed(&low.to_le_bytes(), 8);
        }
    }

    /// A signed number in decimal digits.
    #[inline]
    pub fn signed_decimal(&mut self, value: i64) {
        if value < 0 {
            self.byte(b'-');
        }
        self.decimal(value.unsigned_abs());
    }

    /// A number in hexadecimal digits, without a prefix.
    #[inline]
    pub fn hex(&mut self, value: u64) {
        // Straight from registers: what is put together in memory has to be read back at once,
        // which stalls on the writes that are still under way.
        let (high, low) = ((value >> 32) as u32, value as u32);
        let leading = if high == 0 { low } else { high };
        let digits = (8 - (leading.leading_zeros() / 4) as usize).max(1);
        let word = eight_hex_digits(leading << (4 * (8 - digits)));
        self.fixed(&word.to_le_bytes(), digits);
        if high != 0 {
            self.fixed(&eight_hex_digits(low).to_le_bytes(), 8);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(write: impl FnOnce(&mut Room<'_>)) -> String {
        let mut bytes = [b'x'; 100];
        let mut room = Room::new(&mut bytes);
        write(&mut room);
        let len = room.finish().unwrap();
        String::from_utf8(bytes[..len].to_vec()).unwrap()
    }

    #[test]
    fn numbers_agree_with_the_standard_library() {
        let mut value = 1u64;
        for i in 0..2000u64 {
            value = value
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(i);
            for v in [value >> (i % 64), 10u64.saturating_pow(i as u32 % 20), i] {
                for v in [v, v.wrapping_sub(1)] {
                    assert_eq!(text(|r| r.decimal(v)), v.to_string());
                    assert_eq!(text(|r| r.signed_decimal(v as i64)), (v as i64).to_string());
                    assert_eq!(text(|r| r.hex(v)), format!("{v:x}"));
                }
            }
        }
        assert!(text(|r| r.signed_decimal(i64::MIN)).len() <= NUMBER_BYTES);
    }

    #[test]
    fn labels_of_any_length_stand_side_by_side() {
        for len in 0..40 {
            let name = "n".repeat(len);
            let label = Label::new(name.as_bytes());
            assert_eq!(label.as_bytes(), name.as_bytes());
            let written = text(|r| {
                r.label(&label);
                r.byte(b'=');
                r.hex(10);
            });
            assert_eq!(written, format!("{name}=a"));
        }
    }

    #[test]
    fn too_little_room_is_told() {
        for len in 0..SURPLUS_BYTES {
            let mut bytes = vec![0; len];
            let mut room = Room::new(&mut bytes);
            room.label(&Label::new(b"name"));
            room.decimal(5);
            assert_eq!(room.finish(), None);
        }
    }
}
