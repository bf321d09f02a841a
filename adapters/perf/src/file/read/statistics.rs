//! What reading a file came to, to be asked for at any time.

use super::router::Counts;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Counted by the streams of a file. Each number stands for itself, so no order is needed
/// between them.
#[derive(Debug, Default)]
pub(super) struct Statistics {
    rounds: AtomicU64,
    out_of_order: AtomicU64,
    unknown_ids: AtomicU64,
    opaque: AtomicU64,
    /// By stream.
    read_bytes: Vec<AtomicU64>,
}

/// Numbers that are no loss but that a reader of a file may want to know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReadStatistics {
    /// `FINISHED_ROUND`s.
    pub rounds: u64,
    /// Records that were older than ones that had been handed on when they were read; perf
    /// script shows them as late as this reader does.
    pub out_of_order: u64,
    /// Samples whose id is of no event of the file.
    pub unknown_ids: u64,
    /// Records that are not as their type or event says, handed on as bytes.
    pub opaque: u64,
}

impl Statistics {
    pub(super) fn new(streams: usize) -> Self {
        Statistics {
            read_bytes: (0..streams).map(|_| AtomicU64::new(0)).collect(),
            ..Statistics::default()
        }
    }

    pub(super) fn add_round(&self) {
        self.rounds.fetch_add(1, Relaxed);
    }

    pub(super) fn set_progress(&self, stream: usize, read_bytes: u64) {
        if let Some(place) = self.read_bytes.get(stream) {
            place.store(read_bytes, Relaxed);
        }
    }

    pub(super) fn read_bytes(&self) -> u64 {
        self.read_bytes.iter().map(|n| n.load(Relaxed)).sum()
    }

    pub(super) fn add(&self, counts: &Counts) {
        self.out_of_order.fetch_add(counts.out_of_order, Relaxed);
        self.unknown_ids.fetch_add(counts.unknown_ids, Relaxed);
        self.opaque.fetch_add(counts.opaque, Relaxed);
    }

    pub(super) fn get(&self) -> ReadStatistics {
        ReadStatistics {
            rounds: self.rounds.load(Relaxed),
            out_of_order: self.out_of_order.load(Relaxed),
            unknown_ids: self.unknown_ids.load(Relaxed),
            opaque: self.opaque.load(Relaxed),
        }
    }
}
