//! `struct perf_event_attr` as this crate's own type.

use crate::uapi::flag;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// `struct perf_event_attr` of version 9, field by field by its names in
/// `linux/perf_event.h`; unions under the name that is used most.
///
/// All zero is what an older kernel takes for "nothing asked". [`Attr::new`]
/// sets `size`.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
#[doc(alias = "perf_event_attr")]
pub struct Attr {
    /// `PERF_TYPE_*` or the number of a dynamic PMU.
    pub kind: u32,
    /// Size of the structure in bytes.
    pub size: u32,
    /// The event, by the type's own numbering.
    pub config: u64,
    /// `sample_period`, or `sample_freq` in Hz with the flag `freq`.
    pub sample_period: u64,
    /// `PERF_SAMPLE_*`.
    pub sample_type: u64,
    /// `PERF_FORMAT_*`.
    pub read_format: u64,
    /// The single-bit fields; see [`crate::uapi::flag`].
    pub flags: u64,
    /// `wakeup_events`, or `wakeup_watermark` in bytes with the flag `watermark`.
    pub wakeup: u32,
    /// `bp_type`.
    pub bp_type: u32,
    /// `config1`, `bp_addr`, `kprobe_func` or `uprobe_path`.
    pub config1: u64,
    /// `config2`, `bp_len`, `kprobe_addr` or `probe_offset`.
    pub config2: u64,
    /// `PERF_SAMPLE_BRANCH_*`.
    pub branch_sample_type: u64,
    /// Mask of user registers to sample.
    pub sample_regs_user: u64,
    /// Bytes of user stack to sample.
    pub sample_stack_user: u32,
    /// `clockid_t` with the flag `use_clockid`.
    pub clockid: i32,
    /// Mask of registers to sample on overflow.
    pub sample_regs_intr: u64,
    /// `aux_watermark` in bytes.
    pub aux_watermark: u32,
    /// Greatest depth of a callchain.
    pub sample_max_stack: u16,
    /// Reserved, zero.
    pub reserved_2: u16,
    /// `aux_sample_size` in bytes.
    pub aux_sample_size: u32,
    /// `aux_action` (Linux 6.13).
    pub aux_action: u32,
    /// `sig_data` (Linux 5.13).
    pub sig_data: u64,
    /// `config3` (Linux 6.3).
    pub config3: u64,
    /// `config4` (Linux 6.19).
    pub config4: u64,
}

/// `PERF_ATTR_SIZE_VER9`: what this crate passes to the kernel.
pub const ATTR_BYTES: usize = size_of::<Attr>();
/// `PERF_ATTR_SIZE_VER0`: the smallest there ever was.
pub const ATTR_MIN_BYTES: usize = 64;

impl Attr {
    /// An attr of that type and config, all else zero.
    pub fn new(kind: u32, config: u64) -> Self {
        Attr {
            kind,
            config,
            size: ATTR_BYTES as u32,
            ..Attr::default()
        }
    }

    /// From the bytes of a file or of a class's `attr_hex`, in native byte order.
    ///
    /// A shorter structure is an older one, its missing tail zero; bytes beyond
    /// those this crate knows are left out. `None` below [`ATTR_MIN_BYTES`].
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        if bytes.len() < ATTR_MIN_BYTES {
            return None;
        }
        let mut whole = [0u8; ATTR_BYTES];
        let known = bytes.len().min(ATTR_BYTES);
        whole[..known].copy_from_slice(&bytes[..known]);
        Attr::read_from_bytes(&whole).ok()
    }

    /// From lower-case hexadecimal, as [`hex`](Attr::hex) writes it.
    pub fn from_hex(text: &str) -> Option<Self> {
        let digits = text.as_bytes();
        if !digits.len().is_multiple_of(2) || digits.len() > 2 * 4096 {
            return None;
        }
        let bytes: Option<Vec<u8>> = digits
            .chunks_exact(2)
            .map(|pair| {
                let high = char::from(pair[0]).to_digit(16)?;
                let low = char::from(pair[1]).to_digit(16)?;
                u8::try_from(high * 16 + low).ok()
            })
            .collect();
        Attr::from_bytes(&bytes?)
    }

    /// The structure in lower-case hexadecimal, for
    /// [`NativeDescription::PerfSample`](kstrace_schema::NativeDescription::PerfSample).
    pub fn hex(&self) -> String {
        use std::fmt::Write;
        self.as_bytes()
            .iter()
            .fold(String::with_capacity(2 * ATTR_BYTES), |mut text, byte| {
                let _ = write!(text, "{byte:02x}");
                text
            })
    }

    /// Whether a flag of [`crate::uapi::flag`] is set.
    pub fn has(&self, flag: u64) -> bool {
        self.flags & flag != 0
    }

    /// `precise_ip`, 0 to 3.
    pub fn precise_ip(&self) -> u8 {
        ((self.flags >> flag::PRECISE_IP_SHIFT) & 3) as u8
    }

    /// Sets `precise_ip`, at most 3.
    pub fn set_precise_ip(&mut self, precise: u8) {
        self.flags &= !(3 << flag::PRECISE_IP_SHIFT);
        self.flags |= u64::from(precise.min(3)) << flag::PRECISE_IP_SHIFT;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_round_trips_and_short_forms_are_older_ones() {
        let mut attr = Attr::new(2, 372);
        attr.flags = flag::USE_CLOCKID | flag::SAMPLE_ID_ALL;
        attr.clockid = 1;
        attr.set_precise_ip(7);
        assert_eq!(attr.precise_ip(), 3);
        assert_eq!(Attr::from_hex(&attr.hex()), Some(attr));
        attr.config4 = 5;
        let old = Attr::from_bytes(&attr.as_bytes()[..136]).unwrap();
        assert_eq!(old.config4, 0);
        assert_eq!(old.clockid, 1);
        assert_eq!(Attr::from_bytes(&[0; 63]), None);
        assert_eq!(Attr::from_hex("0"), None);
        assert_eq!(Attr::from_hex(&"zz".repeat(80)), None);
    }
}
