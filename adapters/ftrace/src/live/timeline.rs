//! Cycles to nanoseconds: one map for all CPUs of a source.
//!
//! Every stream adds a clock pair after it has taken records in, so that each
//! record lies between two pairs and is interpolated, never extrapolated. All
//! streams use the same pairs: one monotone function, so the order of records
//! of different CPUs is kept exactly.

use kstrace_clock::PiecewiseMap;
use kstrace_schema::ClockKind;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Cycles, ns, error bound in ns.
type Pair = (u64, u64, u64);

#[derive(Debug, Default)]
struct Pairs {
    all: VecDeque<Pair>,
    /// For each stream, the time in cycles from which on it still needs pairs.
    needed_from: Vec<u64>,
    worst_bound_ns: u64,
    /// Look for pairs that nobody needs when there are so many.
    prune_at: usize,
}

/// Pairs are looked through for unneeded ones no more often than this.
const PRUNE_STEP: usize = 1024;
/// So often is a pair tried that is later than the one before on both clocks.
const ATTEMPTS: usize = 100;

/// The clock pairs of a source.
#[derive(Debug, Default)]
pub(super) struct Timeline(Mutex<Pairs>);

impl Timeline {
    /// Reads both clocks now and goes on to this pair. Returns it.
    pub(super) fn pair_now(&self) -> Pair {
        let mut pairs = self.lock();
        // Under the lock, so that pairs are added in the order they were read.
        let mut pair = kstrace_clock::read_tsc_and_ns(ClockKind::Monotonic);
        for _ in 0..ATTEMPTS {
            if pairs.add(pair) {
                break;
            }
            pair = kstrace_clock::read_tsc_and_ns(ClockKind::Monotonic);
        }
        pair
    }

    /// The worst error bound of any pair so far, in ns.
    pub(super) fn error_bound_ns(&self) -> u64 {
        self.lock().worst_bound_ns
    }

    fn lock(&self) -> MutexGuard<'_, Pairs> {
        // Pairs are complete or not there: a panic elsewhere harms nothing.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pairs {
    /// Adds a pair if it is later on both clocks.
    fn add(&mut self, pair: Pair) -> bool {
        if self
            .all
            .back()
            .is_some_and(|last| pair.0 <= last.0 || pair.1 <= last.1)
        {
            return false;
        }
        self.all.push_back(pair);
        self.worst_bound_ns = self.worst_bound_ns.max(pair.2);
        if self.all.len() >= self.prune_at.max(PRUNE_STEP) {
            let needed = self.needed_from.iter().copied().min().unwrap_or(0);
            let unneeded = self
                .all
                .partition_point(|p| p.0 <= needed)
                .saturating_sub(1);
            self.all.drain(..unneeded);
            self.prune_at = self.all.len() + PRUNE_STEP;
        }
        true
    }

    /// The two pairs around a time in cycles, or the nearest two.
    fn around(&self, cycles: u64) -> Option<(Pair, Pair)> {
        let after = self
            .all
            .partition_point(|p| p.0 < cycles)
            .clamp(1, self.all.len().max(2) - 1);
        Some((*self.all.get(after - 1)?, *self.all.get(after)?))
    }
}

/// One stream's place on the timeline.
#[derive(Debug)]
pub(super) struct Cursor {
    timeline: Arc<Timeline>,
    number: usize,
    map: Option<PiecewiseMap>,
    /// The stretch, in cycles, that `map` interpolates.
    from: u64,
    to: u64,
}

impl Cursor {
    pub(super) fn new(timeline: Arc<Timeline>) -> Self {
        let number = {
            let mut pairs = timeline.lock();
            pairs.needed_from.push(0);
            pairs.needed_from.len() - 1
        };
        Cursor {
            timeline,
            number,
            map: None,
            from: 1,
            to: 0,
        }
    }

    pub(super) fn timeline(&self) -> &Timeline {
        &self.timeline
    }

    /// The time in ns of a time in cycles that lies before the last pair.
    #[inline]
    pub(super) fn ns(&mut self, cycles: u64) -> u64 {
        if cycles < self.from || cycles > self.to {
            self.find_stretch(cycles);
        }
        self.map.as_ref().map_or(0, |map| map.map(cycles))
    }

    #[cold]
    fn find_stretch(&mut self, cycles: u64) {
        let Some((first, second)) = self.timeline.lock().around(cycles) else {
            return;
        };
        if let Some(map) = PiecewiseMap::through(first, second) {
            (self.map, self.from, self.to) = (Some(map), first.0, second.0);
        }
    }

    /// Nothing older than this time in cycles will be asked for.
    pub(super) fn nothing_before(&self, cycles: u64) {
        if let Some(needed) = self.timeline.lock().needed_from.get_mut(self.number) {
            *needed = (*needed).max(cycles);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timeline(pairs: &[Pair]) -> Arc<Timeline> {
        let timeline = Timeline::default();
        for pair in pairs {
            timeline.lock().add(*pair);
        }
        Arc::new(timeline)
    }

    #[test]
    fn every_stream_gets_the_same_monotone_map() {
        let timeline = timeline(&[
            (0, 1000, 5),
            (300, 1100, 7),
            (600, 1201, 5),
            (1200, 1400, 5),
        ]);
        let mut ahead = Cursor::new(Arc::clone(&timeline));
        let mut behind = Cursor::new(Arc::clone(&timeline));
        let last = ahead.ns(1199);
        assert!((1398..=1400).contains(&last));
        let times: Vec<u64> = (0..=1200).map(|c| behind.ns(c)).collect();
        assert!(times.is_sorted());
        for (cycles, ns) in [(0, 1000), (300, 1100), (600, 1201), (1200, 1400)] {
            assert!(times[cycles].abs_diff(ns) <= 1, "{cycles}");
        }
        assert_eq!(times[1199], last);
        assert_eq!(timeline.error_bound_ns(), 7);
    }

    #[test]
    fn a_pair_that_goes_back_is_refused() {
        let timeline = timeline(&[(0, 1000, 5), (300, 1100, 7)]);
        assert!(!timeline.lock().add((400, 1100, 1)));
        assert!(!timeline.lock().add((300, 1200, 1)));
        assert!(timeline.lock().add((301, 1101, 1)));
    }

    #[test]
    fn pairs_that_nobody_needs_go() {
        let timeline = timeline(&[]);
        let mut cursor = Cursor::new(Arc::clone(&timeline));
        for n in 0..100_000u64 {
            timeline.lock().add((n * 30, n * 10, 1));
            if n > 0 {
                assert!(cursor.ns(n * 30 - 15).abs_diff(n * 10 - 5) <= 1);
                cursor.nothing_before(n * 30 - 15);
            }
        }
        assert!(timeline.lock().all.len() <= 2 * PRUNE_STEP);
    }

    #[test]
    fn the_real_clocks_agree_within_the_bound() {
        if kstrace_clock::tsc_cycles() == 0 {
            return;
        }
        let timeline = Arc::new(Timeline::default());
        timeline.pair_now();
        let mut cursor = Cursor::new(Arc::clone(&timeline));
        for _ in 0..100 {
            let (cycles, ns, bound) = kstrace_clock::read_tsc_and_ns(ClockKind::Monotonic);
            timeline.pair_now();
            let mapped = cursor.ns(cycles);
            let allowed = bound + timeline.error_bound_ns() + 1;
            assert!(mapped.abs_diff(ns) <= allowed, "{mapped} {ns} {allowed}");
        }
    }
}
