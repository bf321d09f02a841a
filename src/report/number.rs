//! Numbers as text, without `fmt`'s detours: a line has half a dozen of them.

const PAIRS: &[u8; 200] = b"0001020304050607080910111213141516171819\
2021222324252627282930313233343536373839\
4041424344454647484950515253545556575859\
6061626364656667686970717273747576777879\
8081828384858687888990919293949596979899";

/// How many decimal digits `v` has.
#[inline]
fn digit_count(v: u64) -> usize {
    v.checked_ilog10().map_or(1, |log| log as usize + 1)
}

const SPACES: [u8; 64] = [b' '; 64];

/// `count` spaces.
#[inline]
pub(super) fn spaces(out: &mut Vec<u8>, mut count: usize) {
    while count > 0 {
        let n = count.min(SPACES.len());
        out.extend_from_slice(&SPACES[..n]);
        count -= n;
    }
}

#[inline]
pub(super) fn unsigned(out: &mut Vec<u8>, v: u64) {
    padded(out, v, 0, b' ');
}

#[inline]
pub(super) fn signed(out: &mut Vec<u8>, v: i64) {
    if v < 0 {
        out.push(b'-');
    }
    unsigned(out, v.unsigned_abs());
}

/// Right-aligned in `width`, filled with `fill`.
#[inline]
pub(super) fn padded(out: &mut Vec<u8>, v: u64, width: usize, fill: u8) {
    let count = digit_count(v);
    let start = out.len();
    // In place: digits put together elsewhere would have to be read back at once, which
    // stalls on the writes that are still under way.
    out.resize(start + count.max(width), fill);
    let end = out.len();
    fill_zeros(&mut out[end - count..], v);
}

/// All of `place` filled with the last digits of `v`, zeros before them.
#[inline]
pub(super) fn fill_zeros(place: &mut [u8], mut v: u64) {
    for pair in place.rchunks_mut(2) {
        let digits = (v % 100) as usize * 2;
        v /= 100;
        match pair {
            [high, low] => (*high, *low) = (PAIRS[digits], PAIRS[digits + 1]),
            [low] => *low = PAIRS[digits + 1],
            _ => {}
        }
    }
}

/// Digits of `v` at the end of `place`; what is before them stays. `v` must fit.
#[inline]
pub(super) fn fill_right(place: &mut [u8], v: u64) {
    let start = place.len().saturating_sub(digit_count(v));
    fill_zeros(&mut place[start..], v);
}

/// Digits of `v` at the start of `place`; what is after them stays. `v` must fit.
#[inline]
pub(super) fn fill_left(place: &mut [u8], v: u64) {
    let end = digit_count(v).min(place.len());
    fill_zeros(&mut place[..end], v);
}

/// Lower-case hexadecimal without a prefix.
#[inline]
pub(super) fn hex(out: &mut Vec<u8>, v: u64) {
    let digits = (64 - v.leading_zeros()).div_ceil(4).max(1);
    for i in (0..digits).rev() {
        out.push(b"0123456789abcdef"[(v >> (4 * i)) as usize & 15]);
    }
}

/// Bytes in hexadecimal.
pub(super) fn hex_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    for b in bytes {
        out.push(b"0123456789abcdef"[usize::from(b >> 4)]);
        out.push(b"0123456789abcdef"[usize::from(b & 15)]);
    }
}

/// Seconds, right-aligned in `width`, and nanoseconds.
#[inline]
pub(super) fn time(out: &mut Vec<u8>, ns: u64, width: usize) {
    padded(out, ns / 1_000_000_000, width, b' ');
    out.push(b'.');
    padded(out, ns % 1_000_000_000, 9, b'0');
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
    fn as_the_standard_library_writes_them() {
        let mut v = 1u64;
        for _ in 0..200 {
            for v in [v, v.wrapping_neg(), v - 1] {
                assert_eq!(text(|o| unsigned(o, v)), v.to_string());
                assert_eq!(text(|o| signed(o, v as i64)), (v as i64).to_string());
                assert_eq!(text(|o| hex(o, v)), format!("{v:x}"));
                assert_eq!(text(|o| padded(o, v, 5, b'0')), format!("{v:05}"));
                let (s, ns) = (v / 1_000_000_000, v % 1_000_000_000);
                assert_eq!(text(|o| time(o, v, 6)), format!("{s:6}.{ns:09}"));
            }
            v = v.wrapping_mul(7).max(1);
        }
        let mut place = *b"xxxxxxxxx";
        fill_zeros(&mut place, 1_002_003_004);
        assert_eq!(&place, b"002003004");
        let mut place = *b"      ";
        fill_right(&mut place, 6341);
        assert_eq!(&place, b"  6341");
        fill_left(&mut place, 12);
        assert_eq!(&place, b"126341");
        assert_eq!(text(|o| signed(o, i64::MIN)), i64::MIN.to_string());
        assert_eq!(text(|o| spaces(o, 130)), " ".repeat(130));
    }
}
