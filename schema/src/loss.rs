//! Loss: what was seen and not delivered.

use crate::{ClassId, Cpu, SessionTime, SourceId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// Why records were lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[repr(u32)]
#[non_exhaustive]
pub enum LossReason {
    /// The kernel's ring had no room (perf `LOST`, ftrace's dropped events).
    KernelRingFull = 1,
    /// The kernel overwrote records that nobody had read yet (ftrace's overrun).
    KernelOverwritten = 2,
    /// The kernel gave up a record half-way (ftrace's commit overrun).
    KernelCommitOverrun = 3,
    /// The kernel throttled the event; how many were not counted.
    KernelThrottled = 4,
    /// kstrace's ring had no room.
    RingFull = 5,
    /// kstrace's ring overwrote the oldest packets, as it was asked to.
    RingOverwritten = 6,
    /// The record is larger than a packet of the ring can hold.
    TooBig = 7,
    /// A viewer was lapped by the writer: this viewer's loss, nobody else's.
    ViewerLapped = 8,
    /// The bytes could not be understood.
    Unparsable = 9,
    /// The file that was read says so itself without saying why.
    StatedByInput = 10,
    /// The output could not be written (full disk).
    OutputFailed = 11,
}

impl LossReason {
    /// All reasons, in the order of their numbers.
    pub const ALL: [LossReason; 11] = [
        LossReason::KernelRingFull,
        LossReason::KernelOverwritten,
        LossReason::KernelCommitOverrun,
        LossReason::KernelThrottled,
        LossReason::RingFull,
        LossReason::RingOverwritten,
        LossReason::TooBig,
        LossReason::ViewerLapped,
        LossReason::Unparsable,
        LossReason::StatedByInput,
        LossReason::OutputFailed,
    ];

    /// The reason with that number in a `kstrace:lost` record.
    pub fn from_number(number: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|r| *r as u32 == number)
    }

    /// The word used in output: `kernel-ring-full`.
    pub fn word(self) -> &'static str {
        match self {
            LossReason::KernelRingFull => "kernel-ring-full",
            LossReason::KernelOverwritten => "kernel-overwritten",
            LossReason::KernelCommitOverrun => "kernel-commit-overrun",
            LossReason::KernelThrottled => "kernel-throttled",
            LossReason::RingFull => "ring-full",
            LossReason::RingOverwritten => "ring-overwritten",
            LossReason::TooBig => "too-big",
            LossReason::ViewerLapped => "viewer-lapped",
            LossReason::Unparsable => "unparsable",
            LossReason::StatedByInput => "stated-by-input",
            LossReason::OutputFailed => "output-failed",
        }
    }
}

impl<'de> Deserialize<'de> for LossReason {
    /// Reads the word; that of a later minor version is [`LossReason::StatedByInput`].
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let word = String::deserialize(d)?;
        let known = Self::ALL.into_iter().find(|r| r.word() == word);
        Ok(known.unwrap_or(LossReason::StatedByInput))
    }
}

impl fmt::Display for LossReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// Whether a count is exact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Certainty {
    /// Exactly so many.
    Exact,
    /// At least so many.
    AtLeast,
}

/// A stretch of loss, as one record of the trace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Loss {
    /// The source whose records were lost.
    pub source: SourceId,
    /// The CPU, or [`Cpu::NONE`].
    pub cpu: Cpu,
    /// Why.
    pub reason: LossReason,
    /// How many records.
    pub count: u64,
    /// Whether `count` is exact.
    pub certainty: Certainty,
    /// The class, where only one can be meant.
    pub class: Option<ClassId>,
    /// No lost record is older than this.
    pub begin: SessionTime,
    /// No lost record is younger than this.
    pub end: SessionTime,
}

/// The account of one hop on the way of the records: `seen = written + dropped`, exactly.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HopAccount {
    /// Whose records.
    pub source: SourceId,
    /// Which hop: `perf-ring`, `ftrace-buffer`, `kstrace-ring`, `trace-file`.
    pub hop: String,
    /// The CPU, or [`Cpu::NONE`].
    pub cpu: Cpu,
    /// Records that arrived at this hop.
    pub seen: u64,
    /// Records that left it for the next one.
    pub written: u64,
    /// Records that did not, by reason.
    pub dropped: BTreeMap<LossReason, u64>,
    /// Whether the counts are exact.
    pub certainty: Certainty,
}

impl HopAccount {
    /// An account without a record.
    pub fn new(source: SourceId, hop: &str, cpu: Cpu) -> Self {
        HopAccount {
            source,
            hop: hop.to_owned(),
            cpu,
            seen: 0,
            written: 0,
            dropped: BTreeMap::new(),
            certainty: Certainty::Exact,
        }
    }

    /// All dropped records, whatever the reason.
    pub fn dropped_total(&self) -> u64 {
        self.dropped.values().sum()
    }

    /// Whether the account balances.
    pub fn balances(&self) -> bool {
        self.seen == self.written + self.dropped_total()
    }

    /// Adds `count` dropped records; nothing for zero.
    pub fn drop_records(&mut self, reason: LossReason, count: u64) {
        if count > 0 {
            *self.dropped.entry(reason).or_default() += count;
        }
    }
}
