//! Finding the records: those of the kernel go into runs, those of perf are seen to.

use super::{
    AHEAD_BYTES, HEADER_ATTR, HEADER_FEATURE, HEADER_TRACING_DATA, Lane, MAX_RUNS, PAUSE_BYTES,
};
use crate::file::read::classes::AUXTRACE;
use crate::file::read::in_band;
use crate::file::read::map::prefetch;
use crate::file::read::runs::{Immediate, Space};
use crate::uapi::HEADER_BYTES;
use kstrace_schema::{Error, Result};

/// Pieces of AUX data are this long: what every packet of a trace can hold.
const AUX_PIECE_BYTES: u64 = 32 << 10;
const FINISHED_ROUND: u32 = crate::file::raw::PERF_RECORD_FINISHED_ROUND;
const COMPRESSED2: u32 = 83;
const COMPRESSED: u32 = 81;

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
pub(super) enum Step {
    Go,
    /// What is complete must be handed on first.
    Hold,
    Round,
    Pause,
    End,
}

impl Lane {
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
    pub(super) fn step(&mut self) -> Result<Step> {
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
            AUXTRACE if space == Space::Outer => {
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
        let added = match in_band::event(record, self.order) {
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
}
