//! Numbers that change while a session runs, for whoever watches.

use std::sync::atomic::{AtomicU64, Ordering};

/// Running totals. Written by the engine's thread alone; readers see each
/// number whole but not all of one moment.
#[derive(Debug, Default)]
pub struct Stats {
    records: AtomicU64,
    lost: AtomicU64,
    bytes: AtomicU64,
    rounds: AtomicU64,
}

/// The totals at some moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct StatsReading {
    /// Records taken from the sources.
    pub records: u64,
    /// Records known to be lost, at any hop.
    pub lost: u64,
    /// Bytes of packets filled.
    pub bytes: u64,
    /// Times the engine woke up and looked.
    pub rounds: u64,
}

impl Stats {
    pub(super) fn add_round(&self, records: u64) {
        self.records.fetch_add(records, Ordering::Relaxed);
        self.rounds.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn set(&self, lost: u64, bytes: u64) {
        self.lost.store(lost, Ordering::Relaxed);
        self.bytes.store(bytes, Ordering::Relaxed);
    }

    /// Reads them.
    pub fn read(&self) -> StatsReading {
        StatsReading {
            records: self.records.load(Ordering::Relaxed),
            lost: self.lost.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            rounds: self.rounds.load(Ordering::Relaxed),
        }
    }
}
