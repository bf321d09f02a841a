//! Newtypes for the identifiers and quantities that must not be mixed up.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Identifies an [`EventRecordClass`](crate::EventRecordClass) within one session or trace.
///
/// It is the event id of the CTF data stream, 16 bits wide, so that a record
/// header stays at 16 bytes. Ids are given out by [`ClassRegistry`](crate::ClassRegistry).
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(transparent)]
pub struct ClassId(pub u16);

/// Identifies a source (one adapter at work) within one session.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(transparent)]
pub struct SourceId(pub u16);

impl SourceId {
    /// kstrace itself: its own records and its own ring.
    pub const KSTRACE: SourceId = SourceId(0);
}

/// A logical CPU number as the kernel counts them.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(transparent)]
pub struct Cpu(pub u32);

impl Cpu {
    /// "No CPU", as it stands in packet headers.
    pub const NONE: Cpu = Cpu(u32::MAX);

    /// The CPU, or `None` for [`Cpu::NONE`].
    pub fn known(self) -> Option<Cpu> {
        (self != Cpu::NONE).then_some(self)
    }
}

/// A point in time: nanoseconds of the session clock since that clock's own origin.
///
/// For the default session clock (`CLOCK_MONOTONIC`) the origin is the boot of
/// the machine, suspended time not counted.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
)]
#[serde(transparent)]
pub struct SessionTime(u64);

impl SessionTime {
    /// The earliest time there is.
    pub const ZERO: SessionTime = SessionTime(0);
    /// Later than every record: "complete, nothing more will come".
    pub const MAX: SessionTime = SessionTime(u64::MAX);

    /// From nanoseconds since the session clock's origin.
    pub const fn from_ns(ns: u64) -> Self {
        SessionTime(ns)
    }

    /// Nanoseconds since the session clock's origin.
    pub const fn as_ns(self) -> u64 {
        self.0
    }

    /// This time less `ns` nanoseconds, not below zero.
    pub const fn saturating_sub_ns(self, ns: u64) -> Self {
        SessionTime(self.0.saturating_sub(ns))
    }

    /// Nanoseconds from `earlier` to this time, zero if `earlier` is later.
    pub const fn ns_since(self, earlier: SessionTime) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl fmt::Display for SessionTime {
    /// Seconds with nine digits: `12.000000345`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}.{:09}",
            self.0 / 1_000_000_000,
            self.0 % 1_000_000_000
        )
    }
}

impl fmt::Display for Cpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for ClassId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
