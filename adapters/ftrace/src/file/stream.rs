//! The records of one CPU of one buffer.

use super::clock::FileClock;
use super::pages::PageFeed;
use crate::classes::ClassTable;
use kstrace_schema::{
    Certainty, Cpu, Error, ErrorKind, EventRecord, Fill, HopAccount, Loss, LossReason,
    RecordStream, Result, SessionTime, Sink, SourceId,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tracefs::{Missed, Page, PageLayout, Position};

/// Bytes taken in at once: many enough that a read's fixed cost does not matter, few
/// enough to stay in the cache.
pub(super) const FILL_BYTES: usize = 128 << 10;
/// With very many streams each takes in less, so that memory stays small.
pub(super) const ALL_STREAMS_BYTES: usize = 64 << 20;
/// So many pages are taken in at least.
pub(super) const MIN_PAGES: usize = 2;

/// Pages at hand.
#[derive(Debug)]
struct Pages {
    bytes: Box<[u8]>,
    page_size_bytes: usize,
    /// Bytes that are filled.
    len: usize,
    /// Where the page begins that is handed out now.
    at: usize,
    /// For each page from `at` on: no time in it counts as earlier than this.
    floors: Vec<u64>,
}

impl Pages {
    fn new(page_size_bytes: usize, count: usize) -> Self {
        Pages {
            bytes: vec![0; page_size_bytes * count].into_boxed_slice(),
            page_size_bytes,
            len: 0,
            at: 0,
            floors: Vec::with_capacity(count),
        }
    }

    /// Makes the room of pages that are done free.
    fn compact(&mut self) {
        if self.at > 0 {
            let done = self.at / self.page_size_bytes;
            self.bytes.copy_within(self.at..self.len.max(self.at), 0);
            self.len = self.len.saturating_sub(self.at);
            self.floors.drain(..done.min(self.floors.len()));
            self.at = 0;
        }
    }

    fn room(&mut self) -> &mut [u8] {
        self.bytes.get_mut(self.len..).unwrap_or_default()
    }

    /// So many bytes were put into the room.
    fn filled(&mut self, count: usize, floor: u64) {
        self.len += count;
        let pages = self.len.div_ceil(self.page_size_bytes);
        self.floors.resize(pages, floor);
    }

    #[inline]
    fn page_at(&self, at: usize) -> Option<&[u8]> {
        let end = (at + self.page_size_bytes).min(self.len);
        self.bytes.get(at..end).filter(|bytes| !bytes.is_empty())
    }

    #[inline]
    fn first(&self) -> Option<&[u8]> {
        self.page_at(self.at)
    }

    #[inline]
    fn floor(&self) -> u64 {
        let index = self.at / self.page_size_bytes;
        self.floors.get(index).copied().unwrap_or(0)
    }

    fn drop_first(&mut self) {
        self.at += self.page_size_bytes;
    }
}

/// One CPU of one buffer of a file.
#[derive(Debug)]
pub(super) struct CpuFileStream {
    feed: PageFeed,
    pages: Pages,
    walk: Walk,
    complete_until: u64,
    /// Nothing more can be read.
    at_end: bool,
    /// Why the rest cannot be had; told when all that is whole has been handed on.
    damage: Option<Error>,
    progress: Arc<AtomicU64>,
}

/// How far the pages at hand have been handed on.
#[derive(Debug)]
struct Walk {
    source: SourceId,
    cpu: Cpu,
    layout: PageLayout,
    clock: Arc<FileClock>,
    /// Times are what stands in the pages.
    plain_clock: bool,
    classes: ClassTable,
    /// Where to go on in the oldest page; `None` at its beginning.
    position: Option<Position>,
    /// Loss to be told before the next record, and whether that is all of it.
    lost: Option<(u64, Certainty)>,
    lost_total: u64,
    lost_certainty: Certainty,
    last: u64,
    next: Option<SessionTime>,
    delivered: u64,
    unparsable: u64,
    /// What is wrong with the oldest page.
    fault: Option<String>,
}

/// What a stream is made of.
pub(super) struct StreamParts {
    pub(super) source: SourceId,
    pub(super) cpu: Cpu,
    pub(super) layout: PageLayout,
    pub(super) page_size_bytes: usize,
    pub(super) fill_bytes: usize,
    pub(super) clock: Arc<FileClock>,
    pub(super) classes: ClassTable,
    pub(super) progress: Arc<AtomicU64>,
}

impl CpuFileStream {
    pub(super) fn new(feed: PageFeed, parts: StreamParts) -> Self {
        let count = (parts.fill_bytes / parts.page_size_bytes.max(1)).max(MIN_PAGES);
        CpuFileStream {
            feed,
            pages: Pages::new(parts.page_size_bytes, count),
            walk: Walk {
                source: parts.source,
                cpu: parts.cpu,
                layout: parts.layout,
                plain_clock: parts.clock.is_plain(),
                clock: parts.clock,
                classes: parts.classes,
                position: None,
                lost: None,
                lost_total: 0,
                lost_certainty: Certainty::Exact,
                last: 0,
                next: None,
                delivered: 0,
                unparsable: 0,
                fault: None,
            },
            complete_until: 0,
            at_end: false,
            damage: None,
            progress: parts.progress,
        }
    }

    /// Up to which time everything is at hand, going by the youngest page.
    fn known_until(&self, room_was_full: bool) -> u64 {
        let mut until = 0;
        let mut at = self.pages.at;
        while let Some(page) = self
            .pages
            .page_at(at)
            .and_then(|bytes| self.walk.layout.page(bytes))
        {
            let begin = self.walk.shown(page.time_raw);
            let reached = if room_was_full {
                // Nothing can be added before something is handed on, so all of it may be.
                let last = page
                    .events()
                    .last()
                    .map_or(0, |e| self.walk.shown(e.time_raw));
                last.max(begin)
            } else {
                begin
            };
            until = reached.max(until);
            at += self.pages.page_size_bytes;
        }
        until
    }

    fn fault_error(&self, fault: &str) -> Error {
        // Of a compressed file, the place of the chunk after it is all that is known.
        let back = (self.pages.len - self.pages.at.min(self.pages.len)) as u64;
        let offset = self.feed.offset().saturating_sub(back);
        self.feed
            .file()
            .error(ErrorKind::InvalidData, offset, self.feed.section(), fault)
    }

    /// Leaves the oldest page, whether it was good or not.
    fn leave(&mut self) {
        match self.walk.fault.take() {
            None => self.pages.drop_first(),
            Some(fault) => {
                let error = self.fault_error(&fault);
                self.damage = Some(error);
                self.at_end = true;
                self.walk.unparsable += 1;
                // What stands behind it in the file cannot be trusted to be in order.
                self.pages.len = 0;
                self.pages.at = 0;
            }
        }
        self.walk.position = None;
        self.walk.next = None;
    }
}

impl RecordStream for CpuFileStream {
    fn source(&self) -> SourceId {
        self.walk.source
    }

    fn cpu(&self) -> Cpu {
        self.walk.cpu
    }

    fn fill(&mut self, _: &mut dyn Sink) -> Result<Fill> {
        self.pages.compact();
        let mut room_was_full = false;
        if !self.at_end {
            let floor = self.complete_until;
            let before = self.feed.left_bytes();
            let room = self.pages.room();
            let wanted = room.len();
            room_was_full = wanted == 0;
            if wanted > 0 {
                let (count, result) = self.feed.read(room);
                self.pages.filled(count, floor);
                self.at_end = count < wanted;
                if let Err(error) = result {
                    self.at_end = true;
                    self.damage = Some(error);
                }
            }
            let read = before.saturating_sub(self.feed.left_bytes());
            self.progress.fetch_add(read, Ordering::Relaxed);
        }
        let at_hand = self.pages.first().is_some();
        if self.at_end && !at_hand {
            if let Some(error) = self.damage.take() {
                return Err(error);
            }
            return Ok(Fill {
                complete_until: SessionTime::MAX,
                more: false,
            });
        }
        self.complete_until = if self.at_end {
            u64::MAX
        } else {
            self.known_until(room_was_full).max(self.complete_until)
        };
        Ok(Fill {
            complete_until: SessionTime::from_ns(self.complete_until),
            more: true,
        })
    }

    fn peek(&mut self) -> Option<SessionTime> {
        while self.walk.next.is_none() {
            let floor = self.pages.floor();
            let bytes = self.pages.first()?;
            let found = self.walk.look_at(bytes, floor);
            self.walk.next = found;
            if found.is_none() {
                self.leave();
            }
        }
        self.walk.next
    }

    fn emit(&mut self, until: SessionTime, sink: &mut dyn Sink) -> Result<u64> {
        if self.walk.next.is_some_and(|next| next > until) {
            return Ok(0);
        }
        let before = self.walk.delivered;
        loop {
            let floor = self.pages.floor();
            let Some(bytes) = self.pages.first() else {
                break;
            };
            if !self.walk.hand_on(bytes, floor, until, sink)? {
                break;
            }
            self.leave();
        }
        Ok(self.walk.delivered - before)
    }

    fn finish(&mut self, sink: &mut dyn Sink) -> Result<HopAccount> {
        let walk = &mut self.walk;
        let end = SessionTime::from_ns(walk.last);
        walk.tell_loss(end, sink)?;
        let mut account = HopAccount::new(walk.source, "trace-file", walk.cpu);
        account.written = walk.delivered;
        account.drop_records(LossReason::KernelOverwritten, walk.lost_total);
        account.drop_records(LossReason::Unparsable, walk.unparsable);
        account.seen = account.written + account.dropped_total();
        account.certainty = if self.damage.is_some() || walk.unparsable > 0 {
            Certainty::AtLeast
        } else {
            walk.lost_certainty
        };
        sink.account(&account)?;
        Ok(account)
    }
}

impl Walk {
    #[inline]
    fn shown(&self, raw: u64) -> u64 {
        if self.plain_clock {
            raw
        } else {
            self.clock.shown(raw, self.cpu.0)
        }
    }

    #[inline]
    fn time(&self, raw: u64, floor: u64) -> SessionTime {
        SessionTime::from_ns(self.shown(raw).max(self.last).max(floor))
    }

    /// Takes note of what stands before a page's first event.
    fn begin(&mut self, page: &Page<'_>) -> Position {
        match page.missed {
            Missed::None => {}
            Missed::Count(count) => self.note_loss(count, Certainty::Exact),
            Missed::Unknown => self.note_loss(1, Certainty::AtLeast),
        }
        let position = page.events().position();
        self.position = Some(position);
        position
    }

    fn note_loss(&mut self, count: u64, certainty: Certainty) {
        let (before, was) = self.lost.unwrap_or((0, Certainty::Exact));
        let both_exact = was == Certainty::Exact && certainty == Certainty::Exact;
        let certainty = if both_exact {
            Certainty::Exact
        } else {
            Certainty::AtLeast
        };
        self.lost = Some((before.saturating_add(count), certainty));
    }

    /// The time of the next record of a page; `None` at its end.
    fn look_at(&mut self, bytes: &[u8], floor: u64) -> Option<SessionTime> {
        let Some(page) = self.layout.page(bytes) else {
            self.fault = Some(format!(
                "a page of {} bytes, less than its header has",
                bytes.len()
            ));
            return None;
        };
        let position = match self.position {
            Some(position) => position,
            None => self.begin(&page),
        };
        let mut events = page.events_from(position);
        let event = events.next();
        if event.is_none() {
            self.fault = events.fault().map(|fault| fault.to_string());
        }
        Some(self.time(event?.time_raw, floor))
    }

    /// Hands on the records of a page up to a time. Says whether that was all of them.
    fn hand_on(
        &mut self,
        bytes: &[u8],
        floor: u64,
        until: SessionTime,
        sink: &mut dyn Sink,
    ) -> Result<bool> {
        let Some(page) = self.layout.page(bytes) else {
            self.look_at(bytes, floor);
            return Ok(true);
        };
        let position = match self.position {
            Some(position) => position,
            None => self.begin(&page),
        };
        let mut events = page.events_from(position);
        loop {
            let position = events.position();
            let Some(event) = events.next() else {
                self.fault = events.fault().map(|fault| fault.to_string());
                return Ok(true);
            };
            let time = self.time(event.time_raw, floor);
            if time > until {
                self.position = Some(position);
                self.next = Some(time);
                return Ok(false);
            }
            let outcome = self.hand_on_one(event.data, time, sink);
            if outcome.is_err() {
                self.position = Some(position);
                self.next = None;
            }
            outcome?;
        }
    }

    #[inline]
    fn hand_on_one(&mut self, entry: &[u8], time: SessionTime, sink: &mut dyn Sink) -> Result<()> {
        if self.lost.is_some() {
            self.tell_loss(time, sink)?;
        }
        let Some(found) = self.classes.classify(entry, sink)? else {
            self.unparsable += 1;
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
        self.last = time.as_ns();
        self.delivered += 1;
        Ok(())
    }

    #[cold]
    fn tell_loss(&mut self, next: SessionTime, sink: &mut dyn Sink) -> Result<()> {
        let Some((count, certainty)) = self.lost.take() else {
            return Ok(());
        };
        self.lost_total = self.lost_total.saturating_add(count);
        if certainty == Certainty::AtLeast {
            self.lost_certainty = certainty;
        }
        let begin = SessionTime::from_ns(self.last);
        sink.loss(&Loss {
            source: self.source,
            cpu: self.cpu,
            reason: LossReason::KernelOverwritten,
            count,
            certainty,
            class: None,
            begin,
            end: next.max(begin),
        })
    }
}

/// A part of the file that describes could not be read: told as a stream without records.
#[derive(Debug)]
pub(super) struct DamagedStream {
    pub(super) source: SourceId,
    pub(super) damage: Option<Error>,
}

impl RecordStream for DamagedStream {
    fn source(&self) -> SourceId {
        self.source
    }

    fn cpu(&self) -> Cpu {
        Cpu::NONE
    }

    fn fill(&mut self, _: &mut dyn Sink) -> Result<Fill> {
        match self.damage.take() {
            Some(error) => Err(error),
            None => Ok(Fill {
                complete_until: SessionTime::MAX,
                more: false,
            }),
        }
    }

    fn peek(&mut self) -> Option<SessionTime> {
        None
    }

    fn emit(&mut self, _: SessionTime, _: &mut dyn Sink) -> Result<u64> {
        Ok(0)
    }

    fn finish(&mut self, _: &mut dyn Sink) -> Result<HopAccount> {
        Ok(HopAccount::new(self.source, "trace-file", Cpu::NONE))
    }
}
