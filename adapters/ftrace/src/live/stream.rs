//! The records of one CPU.

use super::hot_buffer::HotBuffer;
use super::losses::Losses;
use super::source::Shared;
use super::trace_time::TraceTime;
use crate::classes::ClassTable;
use kstrace_schema::{
    Cpu, Error, EventRecord, Fill, HopAccount, LossReason, RecordStream, Result, SessionTime, Sink,
    SourceId,
};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use tracefs::{PageLayout, Position, RawPipe};

/// Bytes taken in by one fill, about: small enough to stay in the cache until
/// they are handed on, large enough that a fill's fixed cost does not matter.
const FILL_BYTES: usize = 128 << 10;
/// So many sub-buffers are taken in at least, however large they are.
const MIN_SUB_BUFFERS: usize = 4;
/// A record that was stamped before a moment is committed within this time
/// after it: interrupts may come between, and a hypervisor.
pub(super) const COMMIT_GRACE_NS: u64 = 2_000_000;

/// One CPU of an [`FtraceSource`](super::FtraceSource).
#[derive(Debug)]
pub(super) struct CpuStream {
    // Closed before `shared`: the instance cannot be removed while they are open.
    pipe: RawPipe,
    losses: Losses,
    buffer: HotBuffer,
    walk: Walk,
    fill_count: usize,
    complete_until: SessionTime,
    /// Begin of tracing known to `losses`.
    begun: bool,
    shared: Arc<Shared>,
}

/// How far the sub-buffers at hand have been handed on.
#[derive(Debug)]
struct Walk {
    source: SourceId,
    cpu: Cpu,
    layout: PageLayout,
    time: TraceTime,
    classes: ClassTable,
    /// Where to go on in the oldest sub-buffer; `None` at its beginning.
    position: Option<Position>,
    /// Loss to be told before the next record: how many, until when at least.
    lost: Option<(u64, u64)>,
    /// Time of the last record handed on.
    last: SessionTime,
    /// Time of the next record, if it has been looked at.
    next: Option<SessionTime>,
    delivered: u64,
}

impl CpuStream {
    pub(super) fn new(
        shared: &Arc<Shared>,
        pipe: RawPipe,
        losses: Losses,
        time: TraceTime,
        classes: ClassTable,
    ) -> Self {
        let size = shared.sub_buffer_size_bytes;
        let fill_count = (FILL_BYTES / size.max(1)).max(MIN_SUB_BUFFERS);
        CpuStream {
            walk: Walk {
                source: shared.source,
                cpu: Cpu(pipe.cpu()),
                layout: shared.layout,
                time,
                classes,
                position: None,
                lost: None,
                last: SessionTime::ZERO,
                next: None,
                delivered: 0,
            },
            pipe,
            losses,
            // Twice: what a merge has not yet asked for stays.
            buffer: HotBuffer::new(size, 2 * fill_count),
            fill_count,
            complete_until: SessionTime::ZERO,
            begun: false,
            shared: Arc::clone(shared),
        }
    }

    /// Takes in sub-buffers. Says whether the kernel's ring had no more, and
    /// whether nothing older than `began_raw` can be left in it.
    fn take_in(&mut self, began_raw: u64) -> Result<(bool, bool)> {
        for _ in 0..self.fill_count {
            let Some(room) = self.buffer.room() else {
                break;
            };
            let read = self.pipe.read_sub_buffer(room).map_err(|e| {
                let cpu = self.pipe.cpu();
                Error::io(format!("cannot read the ftrace buffer of CPU {cpu}"), e)
            })?;
            let Some(len_bytes) = read else {
                return Ok((true, true));
            };
            // Cut within its header: the kernel never does that. Its records are then unparsable.
            let Some(page) = room
                .get(..len_bytes)
                .and_then(|bytes| self.walk.layout.page(bytes))
            else {
                continue;
            };
            let (missed, time_raw) = (page.missed, page.time_raw);
            let (lost, reaches_on) = self.losses.before_sub_buffer(missed)?;
            let until_ns = if reaches_on {
                self.walk.time.now().ns
            } else {
                0
            };
            self.buffer.keep(len_bytes, lost, until_ns);
            if time_raw >= began_raw {
                // Made after this fill began: the writer is at work on it right
                // now, and following at its heels costs a system call for a few records.
                return Ok((false, true));
            }
        }
        Ok((false, false))
    }

    /// A time up to which all records are at hand: the begin of the youngest
    /// sub-buffer there. Those before it are complete, since a ring is in order.
    fn known_until(&mut self) -> Option<SessionTime> {
        let page = self.walk.layout.page(self.buffer.last()?)?;
        let begin_raw = page.time_raw;
        Some(SessionTime::from_ns(self.walk.time.ns(begin_raw)))
    }
}

impl RecordStream for CpuStream {
    fn source(&self) -> SourceId {
        self.walk.source
    }

    fn cpu(&self) -> Cpu {
        self.walk.cpu
    }

    fn wakeup(&self) -> Option<BorrowedFd<'_>> {
        Some(self.pipe.as_fd())
    }

    fn fill(&mut self, sink: &mut dyn Sink) -> Result<Fill> {
        // Before the ring is read, or "stopped and empty" would prove nothing.
        let stopped = self.shared.stopped();
        let began = self.walk.time.now();
        if !self.begun {
            self.begun = true;
            self.losses
                .begin(self.shared.started_ns().unwrap_or(began.ns));
        }
        self.buffer.compact();
        let (empty, caught_up) = self.take_in(began.raw)?;
        self.walk.time.taken_in();
        self.losses.look(began.ns, sink)?;
        match self
            .buffer
            .first()
            .and_then(|bytes| self.walk.layout.page(bytes))
        {
            Some(oldest) => self.walk.time.nothing_before(oldest.time_raw),
            None => self.walk.time.nothing_before(began.raw),
        }
        let known_until = self.known_until().unwrap_or_default();
        let settled_ns = began.ns.saturating_sub(COMMIT_GRACE_NS);
        // Writers that had begun when tracing stopped have ended after the grace.
        let all_over = stopped.is_some_and(|since_ns| empty && since_ns <= settled_ns);
        let complete_until = if all_over {
            SessionTime::MAX
        } else if empty {
            SessionTime::from_ns(settled_ns).max(known_until)
        } else {
            known_until
        };
        self.complete_until = self.complete_until.max(complete_until);
        // After the stop only the grace is waited for, and nothing will wake the reader.
        let more = !caught_up || (stopped.is_some() && !all_over);
        Ok(Fill {
            complete_until: self.complete_until,
            more,
        })
    }

    fn peek(&mut self) -> Option<SessionTime> {
        while self.walk.next.is_none() {
            let bytes = self.buffer.first()?;
            let found = self.walk.look_at(bytes);
            self.walk.next = found;
            if found.is_none() {
                self.walk.leave(&mut self.buffer);
            }
        }
        self.walk.next
    }

    fn emit(&mut self, until: SessionTime, sink: &mut dyn Sink) -> Result<u64> {
        if self.walk.next.is_some_and(|next| next > until) {
            return Ok(0);
        }
        let before = self.walk.delivered;
        while self.buffer.first().is_some() {
            if !self
                .walk
                .hand_on(&mut self.buffer, &self.losses, until, sink)?
            {
                break;
            }
            self.walk.leave(&mut self.buffer);
        }
        Ok(self.walk.delivered - before)
    }

    fn finish(&mut self, sink: &mut dyn Sink) -> Result<HopAccount> {
        let now_ns = self.walk.time.now().ns;
        // What stands before records that were never handed on was lost all the same.
        while self.buffer.first().is_some() {
            self.walk.leave(&mut self.buffer);
        }
        let until = SessionTime::from_ns(now_ns);
        if let Some((count, _)) = self.walk.lost.take() {
            let reason = LossReason::KernelOverwritten;
            self.losses
                .tell(reason, count, self.walk.last, until, sink)?;
        }
        let account = self
            .losses
            .finish(self.walk.delivered, self.walk.last, now_ns, sink)?;
        sink.account(&account)?;
        Ok(account)
    }
}

impl Walk {
    /// The time of the next record of the oldest sub-buffer.
    fn look_at(&mut self, bytes: &[u8]) -> Option<SessionTime> {
        let page = self.layout.page(bytes)?;
        let mut events = match self.position {
            Some(position) => page.events_from(position),
            None => page.events(),
        };
        let event = events.next()?;
        Some(SessionTime::from_ns(self.time.ns(event.time_raw)).max(self.last))
    }

    /// Goes on to the next sub-buffer, keeping the loss that stands before this one.
    fn leave(&mut self, buffer: &mut HotBuffer) {
        self.note_loss(buffer);
        buffer.drop_first();
        self.position = None;
        self.next = None;
    }

    fn note_loss(&mut self, buffer: &mut HotBuffer) {
        if let Some((count, until_ns)) = buffer.take_loss() {
            let (before, before_until) = self.lost.unwrap_or_default();
            self.lost = Some((before + count, until_ns.max(before_until)));
        }
    }

    /// Hands on the records of the oldest sub-buffer up to a time. Says whether
    /// that was all of them.
    fn hand_on(
        &mut self,
        buffer: &mut HotBuffer,
        losses: &Losses,
        until: SessionTime,
        sink: &mut dyn Sink,
    ) -> Result<bool> {
        self.note_loss(buffer);
        let Some(page) = buffer.first().and_then(|bytes| self.layout.page(bytes)) else {
            return Ok(true);
        };
        let mut events = match self.position {
            Some(position) => page.events_from(position),
            None => page.events(),
        };
        loop {
            let position = events.position();
            let Some(event) = events.next() else {
                return Ok(true);
            };
            let time = SessionTime::from_ns(self.time.ns(event.time_raw)).max(self.last);
            if time > until {
                self.position = Some(position);
                self.next = Some(time);
                return Ok(false);
            }
            let outcome = self.hand_on_one(event.data, time, losses, sink);
            if outcome.is_err() {
                self.position = Some(position);
                self.next = None;
            }
            outcome?;
        }
    }

    #[inline]
    fn hand_on_one(
        &mut self,
        entry: &[u8],
        time: SessionTime,
        losses: &Losses,
        sink: &mut dyn Sink,
    ) -> Result<()> {
        if self.lost.is_some() {
            self.tell_loss(time, losses, sink)?;
        }
        // Too short for a class: unparsable, by the account's difference.
        let Some(found) = self.classes.classify(entry, sink)? else {
            return Ok(());
        };
        let record = EventRecord {
            class: found.class,
            rest_len_bytes: found.rest_len_bytes,
            cpu: self.cpu,
            time,
            payload: entry.get(..found.len_bytes).unwrap_or(entry),
        };
        sink.record(&record)?;
        self.last = time;
        self.delivered += 1;
        Ok(())
    }

    #[cold]
    fn tell_loss(&mut self, next: SessionTime, losses: &Losses, sink: &mut dyn Sink) -> Result<()> {
        if let Some((count, until_ns)) = self.lost.take() {
            let end = next.max(SessionTime::from_ns(until_ns));
            losses.tell(LossReason::KernelOverwritten, count, self.last, end, sink)?;
        }
        Ok(())
    }
}
