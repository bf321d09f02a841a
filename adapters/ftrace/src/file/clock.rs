//! From the times in the pages to those that `trace-cmd report` shows, and back.

use super::meta::FileOption;
use super::raw::id;
use super::time_shift::TimeShift;
use kstrace_schema::{ClockDescriptor, ClockKind};
use tracefs::Endian;

/// The clock that the text of `trace_clock` marks: `mono` of `local [mono] boot`.
pub(super) fn selected(text: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(text).ok()?;
    let (_, rest) = text.split_once('[')?;
    let (name, _) = rest.split_once(']')?;
    let name = name.split_ascii_whitespace().next()?;
    Some(name.to_owned())
}

/// The factor from cycles to nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tsc {
    mult: u32,
    shift: u32,
}

impl Tsc {
    fn of(data: &[u8], endian: Endian) -> Option<Self> {
        let word = |at: usize| {
            let bytes = *data.get(at..)?.first_chunk::<4>()?;
            Some(match endian {
                Endian::Little => u32::from_le_bytes(bytes),
                Endian::Big => u32::from_be_bytes(bytes),
            })
        };
        // trace-cmd wants the offset to be there too, and does not use it.
        let (mult, shift) = (word(0)?, word(4)?);
        (data.len() >= 16 && mult != 0 && shift < 64).then_some(Tsc { mult, shift })
    }

    #[inline]
    fn ns(self, cycles: u64) -> u64 {
        ((u128::from(cycles) * u128::from(self.mult)) >> self.shift) as u64
    }

    /// The smallest number of cycles that is at least so many nanoseconds.
    #[inline]
    fn cycles(self, ns: u64) -> u64 {
        let scaled = u128::from(ns) << self.shift;
        scaled.div_ceil(u128::from(self.mult)) as u64
    }
}

/// The trace clock that counts what a session's clock counts; the second part says
/// whether it is that very clock.
pub(super) fn name_for(clock: &ClockDescriptor) -> (&str, bool) {
    const TRACE_CLOCKS: [&str; 10] = [
        "local", "global", "counter", "uptime", "perf", "mono", "mono_raw", "boot", "tai",
        "x86-tsc",
    ];
    let native = clock.native_name.as_deref();
    let known = native.filter(|name| TRACE_CLOCKS.contains(name));
    match clock.kind {
        ClockKind::Monotonic => ("mono", true),
        ClockKind::MonotonicRaw => ("mono_raw", true),
        ClockKind::Boottime => ("boot", true),
        ClockKind::Tai => ("tai", true),
        ClockKind::Sched => (known.unwrap_or("perf"), true),
        ClockKind::Foreign if known.is_some() => (known.unwrap_or("local"), true),
        _ => ("local", false),
    }
}

/// What several clocks side by side are called.
pub(super) fn joined<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let mut names: Vec<&str> = names.collect();
    names.sort_unstable();
    names.dedup();
    names.join(" and ")
}

/// What the options say about the times of a file.
#[derive(Clone, Debug)]
pub(super) struct FileClock {
    /// The trace clock: `mono`, `x86-tsc`.
    pub(super) name: String,
    tsc: Option<Tsc>,
    date_ns: i64,
    offset_ns: i64,
    shift: Option<TimeShift>,
}

impl FileClock {
    /// From the trace clock's name and the options.
    pub(super) fn new(name: &str, options: &[FileOption], endian: Endian) -> Self {
        let mut clock = FileClock {
            name: name.to_owned(),
            tsc: None,
            date_ns: 0,
            offset_ns: 0,
            shift: None,
        };
        for option in options {
            match option.id {
                // In microseconds.
                id::DATE => {
                    let ns = c_number(&option.data).wrapping_mul(1000);
                    clock.date_ns = clock.date_ns.wrapping_add(ns);
                }
                id::OFFSET => {
                    clock.offset_ns = clock.offset_ns.wrapping_add(c_number(&option.data));
                }
                id::TSC2NSEC => clock.tsc = Tsc::of(&option.data, endian).or(clock.tsc),
                id::TIME_SHIFT => {
                    clock.shift = TimeShift::of(&option.data, endian).or(clock.shift.take());
                }
                _ => {}
            }
        }
        clock
    }

    /// The clock that the times are of which a reader of the file gives.
    pub(super) fn descriptor(&self) -> ClockDescriptor {
        let (kind, counts_per_s) = match self.name.as_str() {
            "mono" => (ClockKind::Monotonic, None),
            "mono_raw" => (ClockKind::MonotonicRaw, None),
            "boot" => (ClockKind::Boottime, None),
            "tai" => (ClockKind::Tai, None),
            "local" | "global" | "perf" | "uptime" => (ClockKind::Sched, None),
            // From cycles to nanoseconds by a factor: no clock that anything else reads.
            _ if self.tsc.is_some() => (ClockKind::Foreign, None),
            "tsc2nsec" => (ClockKind::Foreign, None),
            _ => (ClockKind::Foreign, Some(0)),
        };
        let named = !matches!(
            kind,
            ClockKind::Monotonic | ClockKind::MonotonicRaw | ClockKind::Boottime | ClockKind::Tai
        );
        let mut clock = ClockDescriptor {
            kind,
            native_name: named.then(|| self.name.clone()),
            counts_per_s,
            recorded_with: None,
            mapping_error_bound_ns: 0,
            offset_to_realtime_ns: 0,
            boot_id: String::new(),
        };
        if self.date_ns != 0 && self.offset_ns == 0 && counts_per_s.is_none() {
            // Wall-clock time, to the microsecond.
            clock.recorded_with = Some(kind);
            clock.kind = ClockKind::Realtime;
            clock.native_name = Some(format!("{} and date", self.name));
            clock.mapping_error_bound_ns = 1000;
        } else if self.date_ns != 0 || self.offset_ns != 0 {
            clock.recorded_with = Some(kind);
            clock.kind = ClockKind::Foreign;
            clock.native_name = Some(format!("{} and offset", self.name));
        } else if self.shift.is_some() {
            clock.recorded_with = Some(kind);
            clock.kind = ClockKind::Foreign;
            clock.native_name = Some(format!("{} of the host", self.name));
        }
        clock
    }

    /// Whether times pass through as they are.
    pub(super) fn is_plain(&self) -> bool {
        self.tsc.is_none() && self.date_ns == 0 && self.offset_ns == 0 && self.shift.is_none()
    }

    /// Whether a guest's times are brought to its host's.
    pub(super) fn is_shifted(&self) -> bool {
        self.shift.is_some()
    }

    /// The time that `trace-cmd report` shows for one in a page.
    #[inline]
    pub(super) fn shown(&self, raw: u64, cpu: u32) -> u64 {
        let mut time = raw;
        if let Some(shift) = &self.shift {
            time = shift.apply(time, cpu);
        }
        if let Some(tsc) = self.tsc {
            time = tsc.ns(time);
        }
        time.wrapping_add_signed(self.date_ns.wrapping_add(self.offset_ns))
    }

    /// The time in a page that is shown so, without the shift to the host's clock.
    #[inline]
    pub(super) fn raw(&self, shown: u64) -> u64 {
        let time =
            shown.wrapping_add_signed(self.date_ns.wrapping_add(self.offset_ns).wrapping_neg());
        match self.tsc {
            Some(tsc) => tsc.cycles(time),
            None => time,
        }
    }
}

/// A number as C's `strtoll` reads it with base 0: as far as it is one.
fn c_number(text: &[u8]) -> i64 {
    let text: String = text
        .iter()
        .map(|b| char::from(*b))
        .skip_while(char::is_ascii_whitespace)
        .collect();
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(&text)),
    };
    let hexadecimal = digits
        .strip_prefix("0x")
        .or_else(|| digits.strip_prefix("0X"));
    let (digits, radix) = match hexadecimal {
        Some(digits) => (digits, 16),
        None if digits.starts_with('0') => (digits, 8),
        None => (digits, 10),
    };
    let value = digits
        .chars()
        .map_while(|c| c.to_digit(radix))
        .fold(0i128, |sum, digit| {
            (sum * i128::from(radix) + i128::from(digit)).min(1 << 64)
        });
    let value = if negative { -value } else { value };
    value.clamp(i64::MIN.into(), i64::MAX.into()) as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn option(id: u16, data: &[u8]) -> FileOption {
        FileOption {
            id,
            data: data.to_vec(),
        }
    }

    #[test]
    fn numbers_as_in_c() {
        for (text, value) in [
            (&b"0x10\0"[..], 16),
            (b" -5", -5),
            (b"12x", 12),
            (b"010", 8),
            (b"", 0),
            (b"99999999999999999999", i64::MAX),
            (b"-99999999999999999999", i64::MIN),
        ] {
            assert_eq!(c_number(text), value, "{}", text.escape_ascii());
        }
    }

    #[test]
    fn the_selected_clock() {
        assert_eq!(selected(b"local [mono] boot\n").as_deref(), Some("mono"));
        assert_eq!(selected(b"local mono\n"), None);
        assert_eq!(selected(b"[]"), None);
    }

    #[test]
    fn times_go_there_and_back() {
        let mut tsc = 123_456_789u32.to_le_bytes().to_vec();
        tsc.extend(28u32.to_le_bytes());
        tsc.extend(5u64.to_le_bytes());
        for options in [
            vec![],
            vec![option(id::DATE, b"0x1234567"), option(id::OFFSET, b"-77")],
            vec![option(id::TSC2NSEC, &tsc), option(id::OFFSET, b"1000")],
        ] {
            let clock = FileClock::new("x86-tsc", &options, Endian::Little);
            for raw in [0, 1, 12_345_678_901_234, u64::MAX >> 5] {
                let shown = clock.shown(raw, 0);
                assert_eq!(clock.shown(clock.raw(shown), 0), shown, "{options:?} {raw}");
            }
        }
    }

    #[test]
    fn clocks_that_are_not_the_same_are_not_called_so() {
        let plain = FileClock::new("mono", &[], Endian::Little).descriptor();
        assert_eq!(
            (plain.kind, plain.native_name),
            (ClockKind::Monotonic, None)
        );
        let options = [option(id::DATE, b"1000")];
        let dated = FileClock::new("mono", &options, Endian::Little).descriptor();
        assert_eq!(dated.kind, ClockKind::Realtime);
        assert_eq!(dated.recorded_with, Some(ClockKind::Monotonic));
        let local = FileClock::new("local", &[], Endian::Little).descriptor();
        assert_eq!(local.kind, ClockKind::Sched);
        assert_eq!(local.native_name.as_deref(), Some("local"));
        let counter = FileClock::new("counter", &[], Endian::Little).descriptor();
        assert_eq!(counter.counts_per_s, Some(0));
    }
}
