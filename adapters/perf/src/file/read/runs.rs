//! Sorted runs of records, and records that belong where they stand.

use std::cmp::Ordering;
use std::collections::{BinaryHeap, VecDeque};

/// Which bytes a position means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Space {
    Outer,
    Plain,
}

/// Records one after the other, sorted by time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    pub(super) space: Space,
    /// Where its next record begins.
    pub(super) at: u64,
    pub(super) end: u64,
    /// The time of its next record.
    pub(super) time_ns: u64,
    /// Its place among all runs.
    pub(super) serial: u64,
}

impl PartialEq for Run {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Run {}

impl PartialOrd for Run {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Run {
    /// The earliest is the greatest: a heap gives it first.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.time_ns, other.serial).cmp(&(self.time_ns, self.serial))
    }
}

/// Records, or a piece of AUX data, that belong where they stand.
#[derive(Clone, Copy, Debug)]
pub(super) struct Immediate {
    pub(super) space: Space,
    pub(super) at: u64,
    pub(super) end: u64,
    pub(super) stamp_ns: u64,
    pub(super) is_aux_data: bool,
}

/// Gathers runs.
#[derive(Debug, Default)]
pub(super) struct Runs {
    pub(super) heap: BinaryHeap<Run>,
    pub(super) immediate: VecDeque<Immediate>,
    pub(super) serial: u64,
    /// The youngest record put in.
    pub(super) youngest_ns: u64,
}

impl Runs {
    pub(super) fn push(&mut self, space: Space, at: u64, end: u64, time_ns: u64) {
        if at < end {
            let serial = self.serial;
            self.serial += 1;
            self.heap.push(Run {
                space,
                at,
                end,
                time_ns,
                serial,
            });
        }
    }

    pub(super) fn push_immediate(&mut self, space: Space, at: u64, end: u64, stamp_ns: u64) {
        if at >= end {
            return;
        }
        if let Some(last) = self.immediate.back_mut()
            && last.space == space
            && last.end == at
            && last.stamp_ns == stamp_ns
            && !last.is_aux_data
        {
            last.end = end;
            return;
        }
        self.immediate.push_back(Immediate {
            space,
            at,
            end,
            stamp_ns,
            is_aux_data: false,
        });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.heap.is_empty() && self.immediate.is_empty()
    }

    /// The first position of that space that is still needed.
    pub(super) fn first_needed(&self, space: Space) -> Option<u64> {
        let timed = self.heap.iter().filter(|r| r.space == space).map(|r| r.at);
        let others = self.immediate.iter().filter(|r| r.space == space);
        timed.chain(others.map(|r| r.at)).min()
    }
}
