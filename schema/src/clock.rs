//! Clocks as data: which clock, and how clocks relate.

use crate::SessionTime;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// The clocks that a session can use or be related to.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum ClockKind {
    /// `CLOCK_MONOTONIC`.
    #[default]
    Monotonic,
    /// `CLOCK_MONOTONIC_RAW`.
    MonotonicRaw,
    /// `CLOCK_BOOTTIME`.
    Boottime,
    /// `CLOCK_REALTIME`.
    Realtime,
    /// `CLOCK_TAI`.
    Tai,
    /// The x86 time stamp counter, in cycles.
    Tsc,
    /// The scheduler's clock, in nanoseconds: what perf stamps with unless told otherwise, and
    /// ftrace's `global`, `perf` and `local` clocks (the last differs from CPU to CPU by up to jiffies).
    Sched,
    /// A clock that a file names, or does not, and that none of the others is: see
    /// [`ClockDescriptor::native_name`].
    Foreign,
}

impl ClockKind {
    /// The word for it on the command line and in files.
    pub fn word(self) -> &'static str {
        match self {
            ClockKind::Monotonic => "monotonic",
            ClockKind::MonotonicRaw => "monotonic_raw",
            ClockKind::Boottime => "boottime",
            ClockKind::Realtime => "realtime",
            ClockKind::Tai => "tai",
            ClockKind::Tsc => "tsc",
            ClockKind::Sched => "sched",
            ClockKind::Foreign => "foreign",
        }
    }
}

impl fmt::Display for ClockKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl FromStr for ClockKind {
    type Err = crate::Error;

    /// Takes kstrace's words and those of `perf record -k` and ftrace's `trace_clock`.
    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let word = s.to_ascii_lowercase();
        Ok(match word.strip_prefix("clock_").unwrap_or(&word) {
            "monotonic" | "mono" | "1" => ClockKind::Monotonic,
            "monotonic_raw" | "mono_raw" | "raw" | "4" => ClockKind::MonotonicRaw,
            "boottime" | "boot" | "7" => ClockKind::Boottime,
            "realtime" | "real" | "0" => ClockKind::Realtime,
            "tai" | "11" => ClockKind::Tai,
            "tsc" | "x86-tsc" => ClockKind::Tsc,
            _ => {
                return Err(crate::Error::new(
                    crate::ErrorKind::InvalidInput,
                    format!(
                        "unknown clock '{s}': one of monotonic, monotonic_raw, boottime, realtime, tai, tsc"
                    ),
                ));
            }
        })
    }
}

/// The session clock, as a trace states it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ClockDescriptor {
    /// The clock that every [`SessionTime`] counts. Never [`ClockKind::Tsc`]:
    /// times recorded in cycles are mapped to nanoseconds on the way in.
    pub kind: ClockKind,
    /// What the file that was read calls its clock, where `kind` does not say all of it: `local`,
    /// `counter`, the UUID of a CTF clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub native_name: Option<String>,
    /// The times of a [`ClockKind::Foreign`] clock that does not count nanoseconds are its bare counts,
    /// so many a second; 0 where that is not known (ftrace's `counter` counts events). `None`: nanoseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counts_per_s: Option<u64>,
    /// The clock the sources stamped with, where it differs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recorded_with: Option<ClockKind>,
    /// Bound of the error that mapping `recorded_with` to `kind` can have made, in nanoseconds.
    #[serde(default)]
    pub mapping_error_bound_ns: u64,
    /// `CLOCK_REALTIME` less the session clock at the start, in nanoseconds:
    /// adding it to a time gives nanoseconds since 1970.
    pub offset_to_realtime_ns: i64,
    /// The machine's boot id: clocks of one kind are the same clock only within one boot.
    pub boot_id: String,
}

/// Several clocks read at the same moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ClockPair {
    /// `CLOCK_MONOTONIC` in nanoseconds; the moment all others are related to.
    pub monotonic_ns: u64,
    /// `CLOCK_REALTIME` in nanoseconds since 1970.
    pub realtime_ns: u64,
    /// `CLOCK_BOOTTIME` in nanoseconds.
    pub boottime_ns: u64,
    /// `CLOCK_MONOTONIC_RAW` in nanoseconds.
    pub monotonic_raw_ns: u64,
    /// `CLOCK_TAI` in nanoseconds.
    pub tai_ns: u64,
    /// Time stamp counter in cycles, 0 where there is none.
    pub tsc_cycles: u64,
    /// No two readings lie further apart than this, in nanoseconds.
    pub error_bound_ns: u64,
}

impl ClockPair {
    /// The reading of one clock: nanoseconds, or cycles for [`ClockKind::Tsc`]; 0 for a clock
    /// that a program cannot read.
    pub fn reading(&self, kind: ClockKind) -> u64 {
        match kind {
            ClockKind::Monotonic => self.monotonic_ns,
            ClockKind::MonotonicRaw => self.monotonic_raw_ns,
            ClockKind::Boottime => self.boottime_ns,
            ClockKind::Realtime => self.realtime_ns,
            ClockKind::Tai => self.tai_ns,
            ClockKind::Tsc => self.tsc_cycles,
            ClockKind::Sched | ClockKind::Foreign => 0,
        }
    }
}

/// The session clock, to be read.
pub trait Clock: Send + Sync + fmt::Debug {
    /// The time now.
    fn now(&self) -> SessionTime;
    /// Which clock it is.
    fn kind(&self) -> ClockKind;
}
