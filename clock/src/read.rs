//! Reading the clocks of this machine.

use kstrace_schema::{Clock, ClockKind, ClockPair, Error, ErrorKind, Result, SessionTime};
use nix::time::{ClockId, clock_gettime};

fn clock_id(kind: ClockKind) -> Option<ClockId> {
    Some(match kind {
        ClockKind::Monotonic => ClockId::CLOCK_MONOTONIC,
        ClockKind::MonotonicRaw => ClockId::CLOCK_MONOTONIC_RAW,
        ClockKind::Boottime => ClockId::CLOCK_BOOTTIME,
        ClockKind::Realtime => ClockId::CLOCK_REALTIME,
        ClockKind::Tai => ClockId::CLOCK_TAI,
        ClockKind::Tsc | ClockKind::Sched | ClockKind::Foreign => return None,
    })
}

/// The time of a kernel clock in nanoseconds since that clock's origin.
///
/// The clocks kstrace names exist on every Linux since 3.10, so a failure can
/// only mean one that programs cannot read ([`ClockKind::Tsc`] and those of files): 0.
pub fn read_ns(kind: ClockKind) -> u64 {
    let Some(id) = clock_id(kind) else { return 0 };
    clock_gettime(id).map_or(0, |t| {
        u64::try_from(t.tv_sec()).unwrap_or(0) * 1_000_000_000
            + u64::try_from(t.tv_nsec()).unwrap_or(0)
    })
}

/// The time stamp counter in cycles; 0 on machines that are not x86-64.
#[cfg(target_arch = "x86_64")]
pub fn tsc_cycles() -> u64 {
    #[expect(
        unsafe_code,
        reason = "rdtsc has no safe wrapper in the standard library"
    )]
    // SAFETY: RDTSC exists on every x86-64 processor and touches no memory.
    unsafe {
        core::arch::x86_64::_rdtsc()
    }
}

/// The time stamp counter in cycles; 0 on machines that are not x86-64.
#[cfg(not(target_arch = "x86_64"))]
pub fn tsc_cycles() -> u64 {
    0
}

/// How many times a set of readings is retried for a smaller error bound.
const ATTEMPTS: usize = 5;

/// TSC and one kernel clock at the same moment: `(cycles, ns, error bound in ns)`.
///
/// The kernel clock is read before and after the TSC; the nearest of a few
/// attempts is taken, so that being preempted does not spoil the pair.
pub fn read_tsc_and_ns(kind: ClockKind) -> (u64, u64, u64) {
    (0..ATTEMPTS)
        .map(|_| {
            let before = read_ns(kind);
            let tsc = tsc_cycles();
            let after = read_ns(kind);
            let width = after.saturating_sub(before);
            (tsc, before + width / 2, width.div_ceil(2))
        })
        .min_by_key(|(_, _, bound)| *bound)
        .unwrap_or_default()
}

/// Reads all clocks together.
///
/// `CLOCK_MONOTONIC` is read first and last; the pair's error bound is the
/// time between, about 100 ns, the best of a few attempts.
pub fn read_pair() -> ClockPair {
    (0..ATTEMPTS)
        .map(|_| {
            let before = read_ns(ClockKind::Monotonic);
            let pair = ClockPair {
                monotonic_ns: 0,
                realtime_ns: read_ns(ClockKind::Realtime),
                boottime_ns: read_ns(ClockKind::Boottime),
                tsc_cycles: tsc_cycles(),
                monotonic_raw_ns: read_ns(ClockKind::MonotonicRaw),
                tai_ns: read_ns(ClockKind::Tai),
                error_bound_ns: 0,
            };
            let width = read_ns(ClockKind::Monotonic).saturating_sub(before);
            ClockPair {
                monotonic_ns: before + width / 2,
                error_bound_ns: width.max(1),
                ..pair
            }
        })
        .min_by_key(|pair| pair.error_bound_ns)
        .unwrap_or_default()
}

/// A kernel clock as a session clock.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock(ClockKind);

impl SystemClock {
    /// The session clock of that kind.
    ///
    /// # Errors
    /// `ErrorKind::Unsupported` for [`ClockKind::Tsc`]: cycles are what a source
    /// may stamp with, but session time is always in nanoseconds.
    pub fn new(kind: ClockKind) -> Result<Self> {
        if kind == ClockKind::Tsc {
            return Err(Error::new(
                ErrorKind::Unsupported,
                "the TSC counts cycles and cannot be a session clock; it is mapped to monotonic",
            ));
        }
        if clock_id(kind).is_none() {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!("the clock {kind} is of files only: no program can read it"),
            ));
        }
        Ok(SystemClock(kind))
    }
}

impl Clock for SystemClock {
    fn now(&self) -> SessionTime {
        SessionTime::from_ns(read_ns(self.0))
    }

    fn kind(&self) -> ClockKind {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_is_of_one_moment() {
        let before = read_ns(ClockKind::Monotonic);
        let pair = read_pair();
        let after = read_ns(ClockKind::Monotonic);
        assert!((before..=after).contains(&pair.monotonic_ns));
        assert!(pair.error_bound_ns <= after - before);
        assert!(pair.boottime_ns >= pair.monotonic_ns - pair.error_bound_ns);
    }
}
