//! What a `perf_event_attr` says of an event's time base.

/// `PERF_TYPE_*`.
const PERF_TYPE_HARDWARE: u32 = 0;
const PERF_TYPE_SOFTWARE: u32 = 1;
pub(crate) const PERF_TYPE_TRACEPOINT: u32 = 2;

/// The parts of an attr that matter here. Of an older kernel's, what it did not have is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct AttrFacts {
    pub(crate) kind: u32,
    pub(crate) config: u64,
    pub(crate) config1: u64,
    pub(crate) config2: u64,
    /// `sample_period`, or `sample_freq` if `freq` is set.
    pub(crate) period_or_frequency: u64,
    pub(crate) is_frequency: bool,
    pub(crate) exclude_user: bool,
    pub(crate) exclude_kernel: bool,
    pub(crate) exclude_hypervisor: bool,
}

impl AttrFacts {
    /// From the bytes of a `struct perf_event_attr` in hexadecimal (`linux/perf_event.h`).
    pub(crate) fn parse(attr_hex: &str) -> Option<Self> {
        let bytes: Vec<u8> = attr_hex
            .as_bytes()
            .chunks(2)
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
            .collect::<Option<_>>()?;
        let u64_at = |at: usize| {
            let bytes = bytes.get(at..)?.first_chunk()?;
            Some(u64::from_ne_bytes(*bytes))
        };
        let kind = u32::from_ne_bytes(*bytes.first_chunk()?);
        let flags = u64_at(40)?;
        // Bit fields begin at the other end of the word on big-endian machines.
        let flag = |bit: u32| {
            let bit = if cfg!(target_endian = "big") {
                63 - bit
            } else {
                bit
            };
            flags >> bit & 1 == 1
        };
        Some(AttrFacts {
            kind,
            config: u64_at(8)?,
            period_or_frequency: u64_at(16)?,
            is_frequency: flag(10),
            exclude_user: flag(4),
            exclude_kernel: flag(5),
            exclude_hypervisor: flag(6),
            config1: u64_at(56).unwrap_or(0),
            config2: u64_at(64).unwrap_or(0),
        })
    }

    /// `PerfEvents.Counter`, for the events that every kernel numbers alike.
    pub(crate) fn counter(&self) -> Option<u64> {
        match (self.kind, self.config) {
            (PERF_TYPE_HARDWARE, config @ 0..=9) => Some(10 + config),
            (PERF_TYPE_SOFTWARE, config) => Some(match config {
                0 => 1,
                1 => 3,
                2 => 2,
                3..=8 => config + 1,
                9 => 20,
                _ => return None,
            }),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attr_of_the_first_version() {
        let mut bytes = [0u8; 64];
        bytes[0] = 1;
        bytes[16..18].copy_from_slice(&4000u16.to_ne_bytes());
        bytes[40..48].copy_from_slice(&(1u64 << 10 | 1 << 5).to_ne_bytes());
        let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
        let attr = AttrFacts::parse(&hex).unwrap();
        assert_eq!((attr.kind, attr.period_or_frequency), (1, 4000));
        assert!(attr.is_frequency && attr.exclude_kernel && !attr.exclude_user);
        assert_eq!(attr.counter(), Some(1));
        assert_eq!(AttrFacts::parse(&hex[..80]), None);
        assert_eq!(AttrFacts::parse("zz"), None);
        assert_eq!(AttrFacts::parse("é"), None);
    }
}
