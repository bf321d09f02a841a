//! The records of a file, in perf's order.
//!
//! perf hands out records without a time where they stand, and sorts the others: a
//! `FINISHED_ROUND` promises that nothing to come is older than the youngest record before
//! the *previous* `FINISHED_ROUND`. Sorting here needs no memory per record: what a CPU's
//! ring gave in one go is sorted already, so a round is a few runs of records that lie one
//! after the other in the file, and merging them is all there is to do.

mod scan;

use super::damage::Place;
use super::inflate::Inflate;
use super::map::prefetch;
use super::order::Order;
use super::outer::{Outer, Plain};
use super::router::Router;
use super::runs::{Immediate, Run, Runs, Space};
use super::statistics::Statistics;
use crate::uapi::{self, HEADER_BYTES};
use kstrace_schema::{
    Certainty, Cpu, Error, ErrorKind, Fill, HopAccount, Loss, LossReason, RecordStream, Result,
    SessionTime, Sink, SourceId,
};
use scan::Step;
use std::collections::VecDeque;
use std::sync::Arc;

/// After so many bytes without a finished round, what needs no sorting is handed on.
const PAUSE_BYTES: u64 = 4 << 20;
/// What waits for its round beyond this is put aside.
const ASIDE_BYTES: u64 = 96 << 20;
/// How far ahead of the record at hand memory is asked for.
const AHEAD_BYTES: usize = 1024;
/// Rounds are read together up to this: fewer, longer runs, still within the cache.
const BATCH_BYTES: u64 = 256 << 10;
/// Runs kept for sorting; more can only be a file that is not sorted at all.
const MAX_RUNS: usize = 1 << 20;
/// `PERF_RECORD_HEADER_ATTR`.
pub(super) const HEADER_ATTR: u32 = 64;
/// `PERF_RECORD_HEADER_TRACING_DATA`.
pub(super) const HEADER_TRACING_DATA: u32 = 66;
/// `PERF_RECORD_HEADER_FEATURE`.
pub(super) const HEADER_FEATURE: u32 = 80;

/// How a lane is set up.
#[derive(Debug)]
pub(super) struct LaneSetup {
    /// Its place among the file's streams.
    pub(super) index: usize,
    pub(super) source: SourceId,
    pub(super) place: Place,
    pub(super) router: Router,
    pub(super) outer: Outer,
    /// Where the first record is.
    pub(super) start: u64,
    /// Up to where a stream's records were read for what describes it.
    pub(super) described_to: u64,
    /// Bytes in memory before sorting gives up waiting for a finished round.
    pub(super) max_pending_bytes: usize,
    /// What the file says to be wrong with it, told after the last record.
    pub(super) damage: Vec<Error>,
    pub(super) statistics: Arc<Statistics>,
}

/// A stream of a file's records.
#[derive(Debug)]
pub(super) struct Lane {
    index: usize,
    source: SourceId,
    place: Place,
    order: Order,
    router: Router,
    outer: Outer,
    plain: Plain,
    inflate: Inflate,
    runs: Runs,
    /// The next outer record.
    scan_at: u64,
    start: u64,
    /// The next record of those that were compressed.
    plain_scan_at: u64,
    /// AUX data that are yet to come at `scan_at`.
    aux_left: u64,
    described_to: u64,
    max_pending_bytes: usize,
    damage: VecDeque<Error>,
    /// What is sorted up to this time is complete.
    complete_ns: u64,
    /// The youngest record when the last round was finished.
    round_youngest_ns: u64,
    /// Nothing earlier is handed out any more.
    floor_ns: u64,
    emitted_any: bool,
    ended: bool,
    /// A round was finished whose records are yet to be handed on.
    batch_is_open: bool,
    /// Handed on since memory was last let go.
    unreleased_bytes: u64,
    statistics: Arc<Statistics>,
}

impl Lane {
    pub(super) fn new(setup: LaneSetup) -> Self {
        Lane {
            index: setup.index,
            source: setup.source,
            place: setup.place,
            order: setup.router.order(),
            router: setup.router,
            outer: setup.outer,
            plain: Plain::default(),
            inflate: Inflate::default(),
            runs: Runs::default(),
            scan_at: setup.start,
            start: setup.start,
            plain_scan_at: 0,
            aux_left: 0,
            described_to: setup.described_to,
            max_pending_bytes: setup.max_pending_bytes,
            damage: setup.damage.into(),
            complete_ns: 0,
            round_youngest_ns: 0,
            floor_ns: 0,
            emitted_any: false,
            ended: false,
            batch_is_open: false,
            unreleased_bytes: 0,
            statistics: setup.statistics,
        }
    }

    /// Announces the classes of the events.
    pub(super) fn announce(&mut self, sink: &mut dyn Sink) -> Result<()> {
        self.router.announce_all(sink)
    }

    fn bytes(&self, space: Space) -> (&[u8], u64) {
        match space {
            Space::Outer => self.outer.bytes(),
            Space::Plain => (&self.plain.buffer, self.plain.base),
        }
    }

    /// The time that a record that stands here is given.
    fn stamp_ns(&self) -> u64 {
        self.floor_ns.max(self.complete_ns)
    }

    fn pending_bytes(&self) -> usize {
        self.outer.held_bytes() + self.plain.buffer.len()
    }

    /// Lets go of what was handed on.
    fn release(&mut self) {
        let outer = self.runs.first_needed(Space::Outer).unwrap_or(self.scan_at);
        let outer = outer.min(self.scan_at);
        self.outer.release(outer);
        let plain = self.runs.first_needed(Space::Plain);
        let plain = plain.unwrap_or(self.plain_scan_at);
        self.plain.release(plain.min(self.plain_scan_at));
        self.statistics
            .set_progress(self.index, self.scan_at - self.start);
    }

    /// Something can be handed on already.
    fn has_ready(&self) -> bool {
        !self.runs.immediate.is_empty()
            || self
                .runs
                .heap
                .peek()
                .is_some_and(|run| run.time_ns <= self.complete_ns)
    }

    /// Sorting gives up waiting: the older half of what is at hand counts as complete.
    fn give_up_half(&mut self) {
        if let Some(first) = self.runs.heap.peek().map(|run| run.time_ns) {
            let half = first + self.runs.youngest_ns.saturating_sub(first) / 2;
            self.complete_ns = self.complete_ns.max(half);
        }
    }

    fn has_immediate(&self) -> bool {
        !self.runs.immediate.is_empty()
    }

    fn read_on(&mut self) -> Result<()> {
        let begun_at = self.scan_at;
        let mut aside = 0;
        self.batch_is_open = false;
        loop {
            match self.step()? {
                Step::Go | Step::Pause => {}
                Step::Round => {
                    self.complete_ns = self.complete_ns.max(self.round_youngest_ns);
                    self.round_youngest_ns = self.runs.youngest_ns;
                    self.statistics.add_round();
                    if self.has_ready() && self.complete_ns > 0 {
                        if self.scan_at - begun_at >= BATCH_BYTES || self.has_immediate() {
                            return Ok(());
                        }
                        self.batch_is_open = true;
                    }
                }
                Step::Hold => return Ok(()),
                Step::End => {
                    self.ended = true;
                    return Ok(());
                }
            }
            if self.runs.heap.len() >= MAX_RUNS || self.pending_bytes() > self.max_pending_bytes {
                self.give_up_half();
                return Ok(());
            }
            if self.scan_at - begun_at >= ASIDE_BYTES + aside {
                // Seldom: rounds are not that long.
                self.outer
                    .put_aside(begun_at + aside, self.scan_at - PAUSE_BYTES);
                aside = self.scan_at - PAUSE_BYTES - begun_at;
            }
            // What needs no sorting need not wait for the end of the round.
            if self.has_immediate() && self.scan_at - begun_at >= PAUSE_BYTES {
                return Ok(());
            }
        }
    }

    fn emit_immediate(&mut self, part: Immediate, sink: &mut dyn Sink) -> Result<u64> {
        let time_ns = part.stamp_ns.max(self.floor_ns);
        self.floor_ns = time_ns;
        let time = SessionTime::from_ns(time_ns);
        let bytes = match part.space {
            Space::Outer => self.outer.slice(part.at, part.end),
            Space::Plain => self.plain.slice(part.at, part.end),
        };
        if part.is_aux_data {
            self.router.aux_data(bytes, time, sink)?;
            return Ok(1);
        }
        let mut at = 0;
        let mut emitted = 0;
        while let Some(head) = self.order.header(bytes, at) {
            let Some(record) = bytes.get(at..at + usize::from(head.size)) else {
                break;
            };
            if head.r#type == uapi::PERF_RECORD_SAMPLE {
                self.router.sample(record, time, sink)?;
            } else {
                self.router.other(record, head, time, sink)?;
            }
            at += record.len().max(HEADER_BYTES);
            emitted += 1;
        }
        Ok(emitted)
    }

    /// Hands on the records of a run up to `until_ns`, that time included if `inclusive`.
    #[inline]
    fn emit_run(
        &mut self,
        run: &mut Run,
        until_ns: u64,
        inclusive: bool,
        sink: &mut dyn Sink,
    ) -> Result<u64> {
        let order = self.order;
        let bytes = match run.space {
            Space::Outer => self.outer.slice(run.at, run.end),
            Space::Plain => self.plain.slice(run.at, run.end),
        };
        let router = &mut self.router;
        let mut at = 0usize;
        let mut time_ns = run.time_ns;
        let mut floor_ns = self.floor_ns;
        let mut emitted = 0;
        let mut result = Ok(());
        while let Some(head) = order.header(bytes, at) {
            let Some(record) = bytes.get(at..at + usize::from(head.size)) else {
                break;
            };
            prefetch(bytes, at + AHEAD_BYTES);
            prefetch(bytes, at + AHEAD_BYTES + 64);
            if emitted > 0 {
                time_ns = router.time_of(record, head).unwrap_or(time_ns);
                if time_ns > until_ns || (time_ns == until_ns && !inclusive) {
                    break;
                }
            }
            if time_ns < floor_ns {
                router.counts.out_of_order += 1;
            } else {
                floor_ns = time_ns;
            }
            let time = SessionTime::from_ns(floor_ns);
            result = if head.r#type == uapi::PERF_RECORD_SAMPLE {
                router.sample(record, time, sink)
            } else {
                router.other(record, head, time, sink)
            };
            at += record.len().max(HEADER_BYTES);
            emitted += 1;
            if result.is_err() {
                break;
            }
        }
        self.floor_ns = floor_ns;
        if at == 0 {
            // Never: a run has a whole record. But it must not be tried for ever.
            at = bytes.len().max(1);
            run.at = run.end;
        }
        run.at += at as u64;
        run.time_ns = time_ns;
        result.map(|()| emitted)
    }
}

impl RecordStream for Lane {
    fn source(&self) -> SourceId {
        self.source
    }

    fn cpu(&self) -> Cpu {
        Cpu::NONE
    }

    fn fill(&mut self, sink: &mut dyn Sink) -> Result<Fill> {
        if !self.ended && !self.has_ready() {
            self.router.announce_all(sink)?;
            self.release();
            let result = self.read_on();
            if !self.emitted_any && self.floor_ns == 0 {
                // What stands before all that has a time gets the first time there is.
                let latest_ns = if self.ended {
                    u64::MAX
                } else {
                    self.complete_ns
                };
                let first = self.runs.heap.peek().map_or(0, |run| run.time_ns);
                self.floor_ns = first.min(latest_ns);
            }
            if let Err(e) = result {
                self.ended = true;
                self.complete_ns = u64::MAX;
                return Err(e);
            }
        }
        let complete_until = match self.ended {
            true => SessionTime::MAX,
            false => SessionTime::from_ns(self.complete_ns),
        };
        Ok(Fill {
            complete_until,
            more: !self.ended,
        })
    }

    fn peek(&mut self) -> Option<SessionTime> {
        let next_ns = match self.runs.immediate.front() {
            Some(part) => part.stamp_ns,
            None => self.runs.heap.peek()?.time_ns,
        };
        Some(SessionTime::from_ns(next_ns.max(self.floor_ns)))
    }

    fn emit(&mut self, until: SessionTime, sink: &mut dyn Sink) -> Result<u64> {
        let until_ns = until.as_ns();
        let mut emitted = 0;
        self.emitted_any = true;
        while let Some(part) = self.runs.immediate.front().copied() {
            if part.stamp_ns.max(self.floor_ns) > until_ns {
                return Ok(emitted);
            }
            emitted += self.emit_immediate(part, sink)?;
            self.runs.immediate.pop_front();
        }
        while let Some(run) = self.runs.heap.peek() {
            if run.time_ns.max(self.floor_ns) > until_ns {
                break;
            }
            let Some(mut run) = self.runs.heap.pop() else {
                break;
            };
            let run_start = run.at;
            let (limit_ns, inclusive) = match self.runs.heap.peek() {
                Some(next) if next.time_ns <= until_ns => (next.time_ns, run.serial < next.serial),
                _ => (until_ns, true),
            };
            let result = self.emit_run(&mut run, limit_ns, inclusive, sink);
            if run.at < run.end {
                self.runs.heap.push(run);
            } else if run.space == Space::Outer {
                self.unreleased_bytes += run.end.saturating_sub(run_start);
            }
            emitted += result?;
            if self.unreleased_bytes >= PAUSE_BYTES {
                self.unreleased_bytes = 0;
                self.release();
            }
        }
        Ok(emitted)
    }

    fn finish(&mut self, sink: &mut dyn Sink) -> Result<HopAccount> {
        let counts = &mut self.router.counts;
        // perf's sums at the end include what was lost after the last LOST.
        let untold = counts.lost_again.saturating_sub(counts.lost);
        if untold > 0 {
            counts.lost += untold;
            sink.loss(&Loss {
                source: self.source,
                cpu: Cpu::NONE,
                reason: LossReason::KernelRingFull,
                count: untold,
                certainty: Certainty::Exact,
                class: None,
                begin: SessionTime::ZERO,
                end: SessionTime::from_ns(self.floor_ns),
            })?;
        }
        self.statistics.add(counts);
        let mut account = HopAccount::new(self.source, "perf-ring", Cpu::NONE);
        account.written = counts.records;
        account.seen = counts.records.saturating_add(counts.lost);
        account.drop_records(LossReason::KernelRingFull, counts.lost);
        match self.damage.pop_front() {
            Some(damage) if damage.kind() != ErrorKind::NotFound => Err(damage),
            _ => Ok(account),
        }
    }
}
