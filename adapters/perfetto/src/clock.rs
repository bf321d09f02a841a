//! Session time in Perfetto's clocks.
//!
//! Packets keep the session's times where Perfetto has that clock. The events in an
//! ftrace bundle can only be of `CLOCK_BOOTTIME` or `CLOCK_MONOTONIC_RAW`: other
//! times become boot time by the clock pairs, and the clock snapshots that are
//! written lead back to the session's.

use kstrace_schema::{ClockDescriptor, ClockKind, ClockPair, SessionTime};

/// `BuiltinClock.BUILTIN_CLOCK_REALTIME`.
const REALTIME: u32 = 1;
/// `BuiltinClock.BUILTIN_CLOCK_MONOTONIC`.
const MONOTONIC: u32 = 3;
/// `BuiltinClock.BUILTIN_CLOCK_MONOTONIC_RAW`.
const MONOTONIC_RAW: u32 = 5;
/// `BuiltinClock.BUILTIN_CLOCK_BOOTTIME`.
const BOOTTIME: u32 = 6;

/// `FtraceClock.FTRACE_CLOCK_UNSPECIFIED`, which is boot time.
const FTRACE_BOOTTIME: u64 = 0;
/// `FtraceClock.FTRACE_CLOCK_MONO_RAW`.
const FTRACE_MONO_RAW: u64 = 4;

/// `CLOCK_BOOTTIME` leaves `CLOCK_MONOTONIC` only when the machine sleeps. What
/// differs by less between two pairs is the time that reading them took.
const SHORTEST_SLEEP_NS: u64 = 1_000_000;

/// Clocks read together: builtin clock id and nanoseconds.
pub(crate) type Snapshot = Vec<(u32, u64)>;

/// How session time becomes Perfetto's.
#[derive(Debug, Default)]
pub(crate) struct ClockMap {
    kind: ClockKind,
    counts_per_s: Option<u64>,
    offset_to_realtime_ns: i64,
    /// Boot time less session time, once a pair has told it.
    boot_offset_ns: Option<i64>,
}

impl ClockMap {
    pub(crate) fn new(clock: &ClockDescriptor) -> Self {
        ClockMap {
            kind: clock.kind,
            counts_per_s: clock.counts_per_s,
            offset_to_realtime_ns: clock.offset_to_realtime_ns,
            boot_offset_ns: None,
        }
    }

    /// The builtin clock of packets, which is the trace's primary one.
    pub(crate) fn packet_clock_id(&self) -> u32 {
        match self.kind {
            ClockKind::Monotonic => MONOTONIC,
            ClockKind::MonotonicRaw => MONOTONIC_RAW,
            ClockKind::Realtime => REALTIME,
            // Of the others Perfetto knows none that readers relate to anything.
            _ => BOOTTIME,
        }
    }

    /// `FtraceEventBundle.ftrace_clock`.
    pub(crate) fn ftrace_clock(&self) -> u64 {
        match self.kind {
            ClockKind::MonotonicRaw => FTRACE_MONO_RAW,
            _ => FTRACE_BOOTTIME,
        }
    }

    /// Whether times can only be written once a pair has come.
    pub(crate) fn needs_pair(&self) -> bool {
        self.boot_offset_ns.is_none()
            && matches!(
                self.kind,
                ClockKind::Monotonic | ClockKind::Realtime | ClockKind::Tai
            )
    }

    /// Whether nothing says how the session's clock relates to boot time.
    pub(crate) fn is_unrelated(&self) -> bool {
        self.needs_pair()
            || matches!(
                self.kind,
                ClockKind::Sched | ClockKind::Foreign | ClockKind::Tsc
            )
    }

    fn ns(&self, time: SessionTime) -> u64 {
        match self.counts_per_s {
            Some(rate) if rate > 0 => {
                let ns = u128::from(time.as_ns()) * 1_000_000_000 / u128::from(rate);
                u64::try_from(ns).unwrap_or(u64::MAX)
            }
            _ => time.as_ns(),
        }
    }

    /// The time of a packet.
    #[inline]
    pub(crate) fn packet_time(&self, time: SessionTime) -> u64 {
        match self.kind {
            ClockKind::Monotonic | ClockKind::MonotonicRaw | ClockKind::Boottime => time.as_ns(),
            ClockKind::Realtime => time.as_ns(),
            _ => self.boot_time(time),
        }
    }

    /// The time of an event in a bundle.
    #[inline]
    pub(crate) fn ftrace_time(&self, time: SessionTime) -> u64 {
        match self.kind {
            ClockKind::MonotonicRaw => time.as_ns(),
            _ => self.boot_time(time),
        }
    }

    #[inline]
    fn boot_time(&self, time: SessionTime) -> u64 {
        let ns = if self.counts_per_s.is_some() {
            self.ns(time)
        } else {
            time.as_ns()
        };
        ns.saturating_add_signed(self.boot_offset_ns.unwrap_or(0))
    }

    /// Takes in clocks read together; gives the snapshot to be written.
    pub(crate) fn pair(&mut self, pair: &ClockPair) -> Snapshot {
        // The held offset keeps two times as far apart as the session has them.
        let boot_to_monotonic = signed_difference(pair.boottime_ns, pair.monotonic_ns);
        let held_boot_ns = match self.kind {
            ClockKind::Monotonic => {
                let held = self.boot_offset_ns.unwrap_or(0);
                if held.abs_diff(boot_to_monotonic) >= SHORTEST_SLEEP_NS {
                    self.boot_offset_ns = Some(boot_to_monotonic);
                } else {
                    self.boot_offset_ns = Some(held);
                }
                pair.monotonic_ns
                    .saturating_add_signed(self.boot_offset_ns.unwrap_or(0))
            }
            ClockKind::Realtime | ClockKind::Tai => {
                let reading = pair.reading(self.kind);
                self.boot_offset_ns = Some(signed_difference(pair.boottime_ns, reading));
                pair.boottime_ns
            }
            _ => pair.boottime_ns,
        };
        vec![
            (BOOTTIME, held_boot_ns),
            (MONOTONIC, pair.monotonic_ns),
            (REALTIME, pair.realtime_ns),
            (MONOTONIC_RAW, pair.monotonic_raw_ns),
        ]
    }

    /// What relates the clock of an input without pairs to wall-clock time.
    pub(crate) fn wall_clock(&self, first: SessionTime) -> Option<Snapshot> {
        if self.offset_to_realtime_ns == 0 || self.kind == ClockKind::Realtime {
            return None;
        }
        let ns = self.ns(first);
        let real_ns = ns.checked_add_signed(self.offset_to_realtime_ns)?;
        let mut snapshot = vec![(self.packet_clock_id(), ns), (REALTIME, real_ns)];
        if self.packet_clock_id() != BOOTTIME && self.kind != ClockKind::MonotonicRaw {
            // Bundles are written as boot time all the same; see `is_unrelated`.
            snapshot.insert(0, (BOOTTIME, ns));
        }
        Some(snapshot)
    }
}

fn signed_difference(a: u64, b: u64) -> i64 {
    i64::try_from(i128::from(a) - i128::from(b)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(kind: ClockKind) -> ClockMap {
        ClockMap {
            kind,
            ..ClockMap::default()
        }
    }

    fn pair(monotonic_ns: u64, boottime_ns: u64) -> ClockPair {
        ClockPair {
            monotonic_ns,
            boottime_ns,
            realtime_ns: 5_000_000_000,
            tai_ns: monotonic_ns + 7_000,
            ..ClockPair::default()
        }
    }

    #[test]
    fn boot_time_follows_sleep_and_not_the_jitter_of_reading() {
        let mut m = map(ClockKind::Monotonic);
        assert!(m.needs_pair());
        let t = SessionTime::from_ns(1_000_000);
        m.pair(&pair(1_000, 1_083));
        assert!(!m.needs_pair() && !m.is_unrelated());
        assert_eq!(m.ftrace_time(t), 1_000_000);
        m.pair(&pair(2_000, 3_600_000_002_041));
        assert_eq!(m.ftrace_time(t), 3_600_001_000_041);
        // Written so that it leads back to the session's times exactly.
        let snapshot = m.pair(&pair(3_000, 3_600_000_003_077));
        assert_eq!(snapshot[0], (BOOTTIME, 3_600_000_003_041));
        assert_eq!(m.packet_time(t), 1_000_000);
    }

    #[test]
    fn clocks_without_a_builtin_id_become_boot_time() {
        let mut m = map(ClockKind::Tai);
        m.pair(&pair(1_000, 4_000));
        assert_eq!(m.packet_clock_id(), BOOTTIME);
        assert_eq!(m.packet_time(SessionTime::from_ns(8_001)), 4_001);
    }

    #[test]
    fn raw_monotonic_time_stays() {
        let m = map(ClockKind::MonotonicRaw);
        assert_eq!((m.ftrace_clock(), m.packet_clock_id()), (4, 5));
        assert_eq!(m.ftrace_time(SessionTime::from_ns(9)), 9);
        assert!(!m.needs_pair() && !m.is_unrelated());
    }

    #[test]
    fn counts_become_nanoseconds_where_their_rate_is_known() {
        let mut m = map(ClockKind::Foreign);
        m.counts_per_s = Some(1_000);
        assert!(m.is_unrelated());
        assert_eq!(m.packet_time(SessionTime::from_ns(7)), 7_000_000);
        assert_eq!(m.ftrace_time(SessionTime::from_ns(u64::MAX)), u64::MAX);
    }
}
