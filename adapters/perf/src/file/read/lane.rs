//! The records of a file, in perf's order.
//!
//! perf hands out records without a time where they stand, and sorts the others: a
//! `FINISHED_ROUND` promises that nothing to come is older than the youngest record before
//! the *previous* `FINISHED_ROUND`. Sorting here needs no memory per record: what a CPU's
//! ring gave in one go is sorted already, so a round is a few runs of records that lie one
//! after the other in the file, and merging them is all there is to do.

use super::damage::Place;
use super::inflate::Inflate;
use super::map::prefetch;
use super::order::Order;
use super::outer::{Outer, Plain};
use super::router::Router;
use super::statistics::Statistics;
use crate::uapi::{self, HEADER_BYTES};
use kstrace_schema::{
    Certainty, Cpu, Error, ErrorKind, Fill, HopAccount, Loss, LossReason, RecordStream, Result,
    SessionTime, Sink, SourceId,
};
use std::cmp::Ordering;
use std::collections::{BinaryHeap, VecDeque};
use std::sync::Arc;

/// Pieces of AUX data are this long: what every packet of a trace can hold.
const AUX_PIECE_BYTES: u64 = 32 << 10;
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
const FINISHED_ROUND: u32 = crate::file::raw::PERF_RECORD_FINISHED_ROUND;
/// `PERF_RECORD_HEADER_FEATURE`.
pub(super) const HEADER_FEATURE: u32 = 80;
const COMPRESSED: u32 = 81;
const COMPRESSED2: u32 = 83;

/// Which bytes a position means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Space {
    Outer,
    Plain,
}

/// Records one after the other, sorted by time.
#[derive(Clone, Copy, Debug)]
struct Run {
    space: Space,
    /// Where its next record begins.
    at: u64,
    end: u64,
    /// The time of its next record.
    time_ns: u64,
    /// Its place among all runs.
    serial: u64,
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
struct Immediate {
    space: Space,
    at: u64,
    end: u64,
    stamp_ns: u64,
    is_aux_data: bool,
}

/// Gathers runs.
#[derive(Debug, Default)]
struct Runs {
    heap: BinaryHeap<Run>,
    immediate: VecDeque<Immediate>,
    serial: u64,
    /// The youngest record put in.
    youngest_ns: u64,
}

impl Runs {
    fn push(&mut self, space: Space, at: u64, end: u64, time_ns: u64) {
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

    fn push_immediate(&mut self, space: Space, at: u64, end: u64, stamp_ns: u64) {
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

    fn is_empty(&self) -> bool {
        self.heap.is_empty() && self.immediate.is_empty()
    }

    /// The first position of that space that is still needed.
    fn first_needed(&self, space: Space) -> Option<u64> {
        let timed = self.heap.iter().filter(|r| r.space == space).map(|r| r.at);
        let others = self.immediate.iter().filter(|r| r.space == space);
        timed.chain(others.map(|r| r.at)).min()
    }
}

/// Why scanning stopped.
#[derive(Debug)]
enum Stop {
    /// Before something that belongs behind what is complete by now.
    Hold,
    /// At the end of the bytes at hand, or within a record.
    End,
    /// A record that is not the kernel's.
    User,
    /// A size that cannot be.
    Bad(&'static str, u16),
    /// Enough for now.
    Enough,
}

/// What a step of reading came to.
enum Step {
    Go,
    /// What is complete must be handed on first.
    Hold,
    Round,
    Pause,
    End,
}

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

    /// Puts the kernel's records from `from` on into runs, up to something else.
    fn scan_kernel_records(&mut self, space: Space, from: u64) -> (u64, Stop) {
        let stamp_ns = self.stamp_ns();
        let hold = self.batch_is_open;
        // perf has handed out what is complete before it meets a record that is older.
        let hold_below_ns = if hold { self.complete_ns } else { 0 };
        let (order, router) = (self.order, &self.router);
        let (bytes, base) = match space {
            Space::Outer => self.outer.bytes(),
            Space::Plain => (&self.plain.buffer[..], self.plain.base),
        };
        let runs = &mut self.runs;
        let Some(bytes) = usize::try_from(from.saturating_sub(base))
            .ok()
            .and_then(|skip| bytes.get(skip..))
        else {
            return (from, Stop::End);
        };
        let mut at = 0usize;
        let mut run_start = 0usize;
        let mut run_first_ns = 0u64;
        let mut run_last_ns = 0u64;
        let mut youngest_ns = runs.youngest_ns;
        let stop = loop {
            let Some(head) = order.header(bytes, at) else {
                break Stop::End;
            };
            let size = usize::from(head.size);
            prefetch(bytes, at + AHEAD_BYTES);
            prefetch(bytes, at + AHEAD_BYTES + 64);
            if head.r#type >= HEADER_ATTR {
                break Stop::User;
            }
            if size < HEADER_BYTES {
                break Stop::Bad("a record has at least 8 bytes", head.size);
            }
            let Some(record) = bytes.get(at..at + size) else {
                break Stop::End;
            };
            match router.time_of(record, head) {
                Some(time_ns) if time_ns < hold_below_ns => break Stop::Hold,
                Some(time_ns) => {
                    // Runs with a first time of 0 have not begun.
                    if time_ns < run_last_ns || run_first_ns == 0 {
                        runs.push(
                            space,
                            from + run_start as u64,
                            from + at as u64,
                            run_first_ns,
                        );
                        run_start = at;
                        run_first_ns = time_ns;
                        youngest_ns = youngest_ns.max(run_last_ns);
                        if runs.heap.len() >= MAX_RUNS {
                            break Stop::Enough;
                        }
                    }
                    run_last_ns = time_ns;
                }
                None if hold => break Stop::Hold,
                None => {
                    if run_first_ns != 0 {
                        runs.push(
                            space,
                            from + run_start as u64,
                            from + at as u64,
                            run_first_ns,
                        );
                        youngest_ns = youngest_ns.max(run_last_ns);
                        run_first_ns = 0;
                        run_last_ns = 0;
                    }
                    let start = from + at as u64;
                    runs.push_immediate(space, start, start + size as u64, stamp_ns);
                    run_start = at + size;
                }
            }
            at += size;
            if at as u64 >= PAUSE_BYTES {
                break Stop::Enough;
            }
        };
        if run_first_ns != 0 {
            runs.push(
                space,
                from + run_start as u64,
                from + at as u64,
                run_first_ns,
            );
        }
        runs.youngest_ns = youngest_ns.max(run_last_ns);
        (from + at as u64, stop)
    }

    /// Reads on until something is to be decided.
    fn step(&mut self) -> Result<Step> {
        if self.plain_scan_at < self.plain.end() {
            let (at, stop) = self.scan_kernel_records(Space::Plain, self.plain_scan_at);
            self.plain_scan_at = at;
            match stop {
                Stop::Enough => return Ok(Step::Pause),
                Stop::Hold => return Ok(Step::Hold),
                Stop::End => {}
                Stop::Bad(reason, size) => {
                    return Err(self.bad_size("compressed records", at, reason, size));
                }
                Stop::User => return self.user_record(Space::Plain),
            }
        }
        if self.aux_left > 0 {
            return self.aux_data();
        }
        if !self.outer.ensure(self.scan_at, HEADER_BYTES, &self.place)? {
            return self.at_end();
        }
        let (at, stop) = self.scan_kernel_records(Space::Outer, self.scan_at);
        let moved = at > self.scan_at;
        self.scan_at = at;
        match stop {
            Stop::Enough => Ok(Step::Pause),
            Stop::Hold => Ok(Step::Hold),
            Stop::Bad(reason, size) => Err(self.bad_size("records", at, reason, size)),
            Stop::User => self.user_record(Space::Outer),
            Stop::End if moved => Ok(Step::Go),
            Stop::End => {
                let (bytes, base) = self.outer.bytes();
                let place = usize::try_from(at - base).unwrap_or(usize::MAX);
                let size = self.order.header(bytes, place).map_or(0, |h| h.size);
                if self.outer.ensure(at, usize::from(size), &self.place)? {
                    return Ok(Step::Go);
                }
                Err(self.cut_off("records", at, size.into()))
            }
        }
    }

    #[cold]
    fn bad_size(&self, section: &str, at: u64, reason: &str, size: u16) -> Error {
        let reason = format!("{size}: {reason}");
        self.place
            .invalid(at, section, "perf_event_header.size", reason)
    }

    #[cold]
    fn cut_off(&self, section: &str, at: u64, size: u64) -> Error {
        let (bytes, base) = self.outer.bytes();
        let left = (base + bytes.len() as u64).saturating_sub(at);
        let reason = format!("the record has {size} bytes, {left} are left");
        self.place
            .truncated(at, section, "perf_event_header.size", reason)
    }

    /// Where the outer records end.
    fn at_end(&mut self) -> Result<Step> {
        let (bytes, base) = self.outer.bytes();
        let left = (base + bytes.len() as u64).saturating_sub(self.scan_at);
        if left > 0 {
            let reason = format!("a header has 8 bytes, {left} are left");
            let at = self.scan_at;
            return Err(self
                .place
                .truncated(at, "records", "perf_event_header", reason));
        }
        if self.plain_scan_at < self.plain.end() {
            let left = self.plain.end() - self.plain_scan_at;
            let reason = format!("ends within a record, {left} bytes into it");
            let at = self.scan_at;
            return Err(self
                .place
                .truncated(at, "compressed records", "data", reason));
        }
        match self.damage.pop_front() {
            Some(damage) => Err(damage),
            None => Ok(Step::End),
        }
    }

    /// A record that perf itself wrote.
    fn user_record(&mut self, space: Space) -> Result<Step> {
        let at = match space {
            Space::Outer => self.scan_at,
            Space::Plain => self.plain_scan_at,
        };
        let (bytes, base) = self.bytes(space);
        let place = usize::try_from(at - base).unwrap_or(usize::MAX);
        let Some(head) = self.order.header(bytes, place) else {
            return Err(self.cut_off("records", at, 8));
        };
        let size = usize::from(head.size);
        if size < HEADER_BYTES {
            return Err(self.bad_size("records", at, "a record has at least 8 bytes", head.size));
        }
        let orders = matches!(head.r#type, FINISHED_ROUND | COMPRESSED | COMPRESSED2);
        if self.batch_is_open && !orders {
            return Ok(Step::Hold);
        }
        let whole = match space {
            Space::Outer => self.outer.ensure(at, size, &self.place)?,
            Space::Plain => at + size as u64 <= self.plain.end(),
        };
        if !whole {
            if space == Space::Plain {
                // The rest of it comes with the next compressed record, if there is one.
                self.step_outer_for_plain()?;
                return Ok(Step::Go);
            }
            return Err(self.cut_off("records", at, size as u64));
        }
        let end = at + size as u64;
        match space {
            Space::Outer => self.scan_at = end,
            Space::Plain => self.plain_scan_at = end,
        }
        match head.r#type {
            FINISHED_ROUND => return Ok(Step::Round),
            COMPRESSED | COMPRESSED2 if space == Space::Outer => {
                self.decompress(at, size, head.r#type)?;
                return Ok(Step::Go);
            }
            COMPRESSED | COMPRESSED2 => {
                return Err(self.place.invalid(
                    at,
                    "compressed records",
                    "perf_event_header.type",
                    "a compressed record within a compressed one",
                ));
            }
            HEADER_ATTR if space == Space::Outer && at >= self.described_to => {
                self.add_event(at, size)?;
            }
            // What describes the stream was read when it was opened.
            HEADER_ATTR | HEADER_FEATURE if at < self.described_to && space == Space::Outer => {}
            HEADER_TRACING_DATA if space == Space::Outer => {
                let (bytes, base) = self.outer.bytes();
                let place = usize::try_from(at - base).unwrap_or(usize::MAX);
                let more = self.order.u32(bytes, place + HEADER_BYTES).unwrap_or(0);
                self.skip(more.into())?;
            }
            super::classes::AUXTRACE if space == Space::Outer => {
                let (bytes, base) = self.outer.bytes();
                let place = usize::try_from(at - base).unwrap_or(usize::MAX);
                let data = self.order.u64(bytes, place + HEADER_BYTES).unwrap_or(0);
                let stamp_ns = self.stamp_ns();
                self.runs.push_immediate(space, at, end, stamp_ns);
                self.aux_left = match size >= HEADER_BYTES + 8 {
                    true => data,
                    false => 0,
                };
            }
            _ => {
                let stamp_ns = self.stamp_ns();
                self.runs.push_immediate(space, at, end, stamp_ns);
            }
        }
        Ok(Step::Go)
    }

    /// An event that a stream tells of late.
    fn add_event(&mut self, at: u64, size: usize) -> Result<()> {
        let (bytes, base) = self.outer.bytes();
        let place = usize::try_from(at - base).unwrap_or(usize::MAX);
        let record = bytes.get(place..place + size).unwrap_or_default();
        let added = match super::in_band::event(record, self.order) {
            Ok(event) => self.router.add_events([&event])?,
            Err(reason) => Err(reason),
        };
        let field = "perf_event_attr";
        added.map_err(|reason| {
            self.place
                .invalid(at, "PERF_RECORD_HEADER_ATTR", field, reason)
        })
    }

    /// The next outer record, for the sake of an inner one that it may complete.
    fn step_outer_for_plain(&mut self) -> Result<()> {
        if !self.outer.ensure(self.scan_at, HEADER_BYTES, &self.place)? {
            return self.at_end().map(|_| ());
        }
        let (bytes, base) = self.outer.bytes();
        let place = usize::try_from(self.scan_at - base).unwrap_or(usize::MAX);
        let kind = self.order.header(bytes, place).map(|h| h.r#type);
        if !matches!(kind, Some(COMPRESSED | COMPRESSED2)) {
            let reason = "ends within a record, and no other compressed record follows";
            let at = self.scan_at;
            return Err(self
                .place
                .truncated(at, "compressed records", "data", reason));
        }
        self.user_record(Space::Outer).map(|_| ())
    }

    /// Passes over bytes of the outer stream that are no records.
    fn skip(&mut self, count: u64) -> Result<()> {
        let end = self.scan_at.saturating_add(count);
        while self.scan_at < end {
            let piece = (end - self.scan_at).min(AUX_PIECE_BYTES);
            // At most AUX_PIECE_BYTES.
            if !self
                .outer
                .ensure(self.scan_at, piece as usize, &self.place)?
            {
                return Err(self.cut_off("records", self.scan_at, end - self.scan_at));
            }
            self.scan_at += piece;
            if self.runs.is_empty() {
                self.outer.release(self.scan_at);
            }
        }
        Ok(())
    }

    /// Takes in the data behind a `PERF_RECORD_AUXTRACE`.
    fn aux_data(&mut self) -> Result<Step> {
        let stamp_ns = self.stamp_ns();
        let mut taken = 0;
        while self.aux_left > 0 {
            let piece = self.aux_left.min(AUX_PIECE_BYTES);
            let at = self.scan_at;
            // At most AUX_PIECE_BYTES.
            if !self.outer.ensure(at, piece as usize, &self.place)? {
                return Err(self.cut_off("data of PERF_RECORD_AUXTRACE", at, self.aux_left));
            }
            self.runs.immediate.push_back(Immediate {
                space: Space::Outer,
                at,
                end: at + piece,
                stamp_ns,
                is_aux_data: true,
            });
            self.scan_at += piece;
            self.aux_left -= piece;
            taken += piece;
            if taken >= PAUSE_BYTES {
                return Ok(Step::Pause);
            }
        }
        Ok(Step::Go)
    }

    fn decompress(&mut self, at: u64, size: usize, kind: u32) -> Result<()> {
        let (bytes, base) = self.outer.bytes();
        let place = usize::try_from(at - base).unwrap_or(usize::MAX);
        let record = bytes.get(place..place + size).unwrap_or_default();
        let mut data = record.get(HEADER_BYTES..).unwrap_or_default();
        if kind == COMPRESSED2 {
            let field = "perf_record_compressed2.data_size";
            let stated = self.order.u64(record, HEADER_BYTES);
            let inner = data.get(8..).unwrap_or_default();
            let fits = stated
                .and_then(|n| usize::try_from(n).ok())
                .and_then(|n| inner.get(..n));
            data = fits.ok_or_else(|| {
                let reason = format!("{stated:?}, at most {} are possible", inner.len());
                self.place.invalid(at, "compressed records", field, reason)
            })?;
        }
        self.inflate
            .append(data, &mut self.plain.buffer)
            .map_err(|reason| self.place.invalid(at, "compressed records", "data", reason))
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
