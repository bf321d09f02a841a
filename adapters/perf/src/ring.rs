//! One CPU's ring as a stream of records.
//!
//! A round indexes what the kernel has published (time, place, class of each
//! record), sorts the index where interrupts have put records out of order, and
//! hands records over right from the ring. Only a record that goes round the
//! ring's end is copied.

use crate::classes::{Announced, RecordClass, RecordClasses, SampleClasses};
use crate::id_table::IdTable;
use crate::layout::{RawPlace, RecordForm, SampleIdShape};
use crate::mmap::MappedRing;
use crate::open::CpuEvents;
use crate::uapi::*;
use kstrace_clock::read_ns;
use kstrace_schema::{
    Certainty, ClassId, ClockKind, Cpu, Error, EventRecord, Fill, HopAccount, Loss, LossReason,
    RecordStream, Result, SessionTime, Sink, SourceId,
};
use nix::unistd::read;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// How much of a ring one fill indexes: little enough that the records are still
/// in the cache when they are handed over.
const CHUNK_BYTES: u64 = 256 << 10;
/// Room given back at once, so that the line the kernel reads it from does not
/// travel between CPUs for every record.
const RELEASE_BYTES: u64 = 64 << 10;

/// What all streams of a source share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) source: SourceId,
    pub(crate) clock: ClockKind,
    pub(crate) grace_ns: u64,
    /// Set once the events are disabled: what the rings hold is all there is.
    pub(crate) stopped: AtomicBool,
    /// Records that took longer than the grace to their ring, and were handed over
    /// with the time they were expected by.
    pub(crate) late: AtomicU64,
    pub(crate) ids: IdTable,
    pub(crate) samples: Vec<SampleClasses>,
    /// The trailers of each event's records, where they are not all alike.
    pub(crate) trailers: Option<Vec<SampleIdShape>>,
    /// Whether reading any event gives its value, id and loss.
    pub(crate) tells_loss: bool,
    pub(crate) records: RecordClasses,
}

/// What the reader must know of an event to place its samples.
#[derive(Clone, Copy, Debug)]
struct Slot {
    /// `None`: its samples have no time.
    time_offset: Option<u64>,
    class: ClassId,
    /// Nothing varies: every sample is of the regular class.
    always_regular: bool,
    static_raw: Option<(RawPlace, u32)>,
}

/// One indexed record, or a loss in its place.
#[derive(Clone, Copy, Debug)]
struct Entry {
    time_ns: u64,
    position: u64,
    len: u16,
    rest_len: u16,
    what: What,
}

#[derive(Clone, Copy, Debug)]
enum What {
    Record(ClassId),
    /// Index into `losses`.
    Loss(u32),
}

/// The records of one CPU.
#[derive(Debug)]
pub(crate) struct RingStream {
    shared: Arc<Shared>,
    events: Arc<CpuEvents>,
    ring: MappedRing,
    cpu: Cpu,
    slots: Vec<Slot>,
    /// Classes of records that are no samples, as far as this stream met them.
    record_classes: Vec<RecordClass>,
    announced: Announced,
    index: Vec<Entry>,
    /// The first entry of `index` that was not handed over.
    next: usize,
    /// Up to which position the ring is indexed.
    indexed: u64,
    /// Whether `index` stands in another order than the ring.
    reordered: bool,
    losses: Vec<Loss>,
    /// Time of the last record indexed, in the ring's order.
    previous_ns: u64,
    /// The greatest time indexed.
    latest_ns: u64,
    /// No record may be handed over as older than this.
    floor_ns: u64,
    complete_ns: u64,
    scratch: Vec<u8>,
    /// Records that `LOST` told of.
    told_lost: u64,
    account: HopAccount,
}

impl RingStream {
    pub(crate) fn new(shared: Arc<Shared>, events: Arc<CpuEvents>, ring: MappedRing) -> Self {
        let slots = shared
            .samples
            .iter()
            .map(|s| Slot {
                time_offset: s.layout.shape().time_offset_bytes().map(|o| o as u64),
                class: s.regular().id,
                always_regular: s.layout.is_always_regular(),
                static_raw: s.layout.static_raw(),
            })
            .collect();
        let cpu = Cpu(events.cpu);
        RingStream {
            account: HopAccount::new(shared.source, "perf-ring", cpu),
            indexed: ring.tail(),
            shared,
            events,
            ring,
            cpu,
            slots,
            record_classes: Vec::new(),
            announced: Announced::default(),
            index: Vec::new(),
            next: 0,
            reordered: false,
            losses: Vec::new(),
            previous_ns: 0,
            latest_ns: 0,
            floor_ns: 0,
            complete_ns: 0,
            scratch: Vec::new(),
            told_lost: 0,
        }
    }

    /// Marks a class as known to the sink already.
    pub(crate) fn announced(&mut self, class: ClassId) {
        self.announced.insert(class);
    }

    /// Indexes records up to `head`, but begins none after `at_least` bytes.
    fn index_records(&mut self, head: u64, at_least: u64, sink: &mut dyn Sink) -> Result<()> {
        let from = self.indexed;
        let mut sorted_until = self.index.last().map_or(0, |e| e.time_ns);
        let mut sorted = true;
        while self.indexed.wrapping_sub(from) < at_least {
            let available = head.wrapping_sub(self.indexed);
            let header = self.ring.word(self.indexed).map(Header::from_word);
            let Some(header) = header.filter(|h| h.is_sound(available)) else {
                self.unparsable(head);
                break;
            };
            let mut entry = self.entry(header, sink)?;
            self.previous_ns = entry.time_ns;
            if entry.time_ns < self.floor_ns {
                entry.time_ns = self.floor_ns;
                self.shared.late.fetch_add(1, Ordering::Relaxed);
            }
            self.latest_ns = self.latest_ns.max(entry.time_ns);
            sorted &= entry.time_ns >= sorted_until;
            sorted_until = entry.time_ns;
            self.index.push(entry);
            self.indexed = self.indexed.wrapping_add(header.size.into());
        }
        if !sorted {
            // Stable, so that records of one time stay in the ring's order.
            self.index[self.next..].sort_by_key(|e| e.time_ns);
            self.reordered = true;
        }
        Ok(())
    }

    fn entry(&mut self, header: Header, sink: &mut dyn Sink) -> Result<Entry> {
        let position = self.indexed;
        if header.record_type == PERF_RECORD_SAMPLE
            && let Some(entry) = self.sample(header, sink)?
        {
            return Ok(entry);
        }
        let size = u64::from(header.size);
        let trailer = self.trailer(position, size);
        let time_ns = trailer
            .time_from_end_bytes()
            .filter(|_| usize::from(header.size) >= HEADER_BYTES + trailer.size_bytes())
            .filter(|_| header.record_type != PERF_RECORD_SAMPLE)
            .and_then(|from_end| {
                self.ring
                    .word(position.wrapping_add(size - from_end as u64))
            })
            .unwrap_or(self.previous_ns);
        let lost_at = match header.record_type {
            PERF_RECORD_LOST if size >= 24 => Some(16),
            PERF_RECORD_LOST_SAMPLES if size >= 16 => Some(8),
            _ => None,
        };
        if let Some(count) = lost_at.and_then(|at| self.ring.word(position.wrapping_add(at))) {
            if header.record_type == PERF_RECORD_LOST {
                self.told_lost += count;
            }
            let what = self.loss(LossReason::KernelRingFull, count, Certainty::Exact, time_ns);
            return Ok(Entry {
                time_ns,
                position,
                len: header.size,
                rest_len: 0,
                what,
            });
        }
        let form = RecordForm::of(header.record_type, header.misc);
        let known = self.record_class(form, trailer)?;
        let (class, layout) = (Arc::clone(&known.class), Arc::clone(&known.layout));
        if self.announced.insert(class.id) {
            sink.class(&class)?;
        }
        let record = copied(&self.ring, position, header.size.into(), &mut self.scratch)?;
        let Some(rest_len) = layout.rest_len_bytes(record) else {
            let what = self.loss(LossReason::Unparsable, 1, Certainty::Exact, time_ns);
            return Ok(Entry {
                time_ns,
                position,
                len: header.size,
                rest_len: 0,
                what,
            });
        };
        let what = What::Record(class.id);
        Ok(Entry {
            time_ns,
            position,
            len: header.size,
            rest_len,
            what,
        })
    }

    /// `None` if the sample is of no event that is known here.
    fn sample(&mut self, header: Header, sink: &mut dyn Sink) -> Result<Option<Entry>> {
        let position = self.indexed;
        let Some(id) = self
            .ring
            .word(position.wrapping_add(8))
            .filter(|_| header.size >= 16)
        else {
            return Ok(None);
        };
        let Some(number) = self.shared.ids.get(id) else {
            return Ok(None);
        };
        let slot = self.slots[number as usize];
        let time_ns = match slot.time_offset {
            Some(at) if at + 8 > u64::from(header.size) => return Ok(None),
            Some(at) => self.ring.word(position.wrapping_add(at)),
            None => Some(self.previous_ns),
        };
        let Some(time_ns) = time_ns else {
            return Ok(None);
        };
        let regular = slot.always_regular
            || slot.static_raw.is_some_and(|(place, size)| {
                self.raw_size(position, header.size, place) == Some(size)
            });
        if regular {
            let what = What::Record(slot.class);
            return Ok(Some(Entry {
                time_ns,
                position,
                len: header.size,
                rest_len: 0,
                what,
            }));
        }
        let shared = Arc::clone(&self.shared);
        let classes = &shared.samples[number as usize];
        let record = copied(&self.ring, position, header.size.into(), &mut self.scratch)?;
        let Some((form, rest_len)) = classes.layout.classify(record) else {
            let what = self.loss(LossReason::Unparsable, 1, Certainty::Exact, time_ns);
            return Ok(Some(Entry {
                time_ns,
                position,
                len: header.size,
                rest_len: 0,
                what,
            }));
        };
        let class = classes.of_form(form)?;
        if self.announced.insert(class.id) {
            sink.class(class)?;
        }
        let what = What::Record(class.id);
        Ok(Some(Entry {
            time_ns,
            position,
            len: header.size,
            rest_len,
            what,
        }))
    }

    /// `raw_size` of the sample at `position`, if the raw data that it tells of
    /// end with the record.
    #[inline]
    fn raw_size(&self, position: u64, size: u16, place: RawPlace) -> Option<u32> {
        let at = match place {
            RawPlace::At(at) => at as u64,
            RawPlace::AfterCallchain(at) => {
                let count = self.ring.word(position.wrapping_add(at as u64))?;
                at as u64 + 8 + 8 * (count & 0xffff)
            }
        };
        if at + 8 > u64::from(size) {
            return None;
        }
        let (bytes, _) = self.ring.bytes(position.wrapping_add(at), 4)?;
        let raw = u32::from_ne_bytes(bytes.try_into().ok()?);
        (at + 4 + u64::from(raw) == u64::from(size)).then_some(raw)
    }

    /// The trailer of a record that is no sample: that of its event, which the record's
    /// last word names where they differ.
    #[inline]
    fn trailer(&self, position: u64, size: u64) -> SampleIdShape {
        let usual = self.shared.records.trailer();
        let Some(trailers) = &self.shared.trailers else {
            return usual;
        };
        self.ring
            .word(position.wrapping_add(size).wrapping_sub(8))
            .and_then(|id| self.shared.ids.get(id))
            .and_then(|number| trailers.get(number as usize).copied())
            .unwrap_or(usual)
    }

    fn record_class(&mut self, form: RecordForm, trailer: SampleIdShape) -> Result<&RecordClass> {
        let known = self
            .record_classes
            .iter()
            .position(|c| c.layout.form == form && c.trailer == trailer);
        let at = match known {
            Some(at) => at,
            None => {
                let class = self.shared.records.with_trailer(form, trailer)?;
                self.record_classes.push(class);
                self.record_classes.len() - 1
            }
        };
        Ok(&self.record_classes[at])
    }

    /// Bytes that are no record: given up as one loss up to `head`.
    fn unparsable(&mut self, head: u64) {
        let position = self.indexed;
        let time_ns = self.latest_ns;
        let what = self.loss(LossReason::Unparsable, 1, Certainty::AtLeast, time_ns);
        self.account.certainty = Certainty::AtLeast;
        self.index.push(Entry {
            time_ns,
            position,
            len: 0,
            rest_len: 0,
            what,
        });
        self.indexed = head;
    }

    fn loss(&mut self, reason: LossReason, count: u64, certainty: Certainty, end_ns: u64) -> What {
        let at = u32::try_from(self.losses.len()).unwrap_or(u32::MAX);
        self.losses.push(Loss {
            source: self.shared.source,
            cpu: self.cpu,
            reason,
            count,
            certainty,
            class: None,
            begin: SessionTime::from_ns(self.previous_ns.min(end_ns)),
            end: SessionTime::from_ns(end_ns),
        });
        What::Loss(at)
    }

    /// Gives back to the kernel what was handed over.
    fn release(&mut self) {
        let rest = &self.index[self.next..];
        let position = if self.reordered {
            rest.iter()
                .map(|e| e.position)
                .min_by_key(|p| p.wrapping_sub(self.ring.tail()))
        } else {
            rest.first().map(|e| e.position)
        };
        self.ring.release(position.unwrap_or(self.indexed));
        if rest.is_empty() {
            self.index.clear();
            self.losses.clear();
            self.next = 0;
            self.reordered = false;
        } else if self.next >= 1 << 14 && self.next >= self.index.len() / 2 {
            self.index.drain(..self.next);
            self.next = 0;
        }
    }

    /// Gives back if it is worth it: always when nothing is left at hand.
    fn release_if_worth(&mut self) {
        let Some(entry) = self.index.get(self.next) else {
            self.release();
            return;
        };
        let waiting = entry.position.wrapping_sub(self.ring.tail());
        // Out of order, `waiting` may be off by a few records; it only decides when to look.
        if waiting >= RELEASE_BYTES.min(self.ring.size_bytes() / 8) {
            self.release();
        }
    }

    fn hand_over(&mut self, entry: Entry, sink: &mut dyn Sink) -> Result<()> {
        match entry.what {
            What::Record(class) => {
                let payload = copied(
                    &self.ring,
                    entry.position,
                    entry.len.into(),
                    &mut self.scratch,
                )?;
                sink.record(&EventRecord {
                    class,
                    rest_len_bytes: entry.rest_len,
                    cpu: self.cpu,
                    time: SessionTime::from_ns(entry.time_ns),
                    payload,
                })?;
                self.account.seen += 1;
                self.account.written += 1;
            }
            What::Loss(at) => {
                let Some(loss) = self.losses.get(at as usize) else {
                    return Ok(());
                };
                sink.loss(loss)?;
                self.account.seen += loss.count;
                self.account.drop_records(loss.reason, loss.count);
            }
        }
        Ok(())
    }

    /// What all events of this CPU say they lost, `None` where the kernel cannot tell.
    fn lost_by_counters(&self) -> Option<u64> {
        if !self.shared.tells_loss {
            return None;
        }
        // One counter each: value, id, lost.
        let mut buffer = [0u8; 64];
        self.events.events.iter().try_fold(0u64, |sum, (_, fd)| {
            let len = read(fd, &mut buffer).ok()?;
            let lost = buffer.get(16..24).filter(|_| len >= 24)?;
            Some(sum + u64::from_ne_bytes(lost.try_into().ok()?))
        })
    }
}

/// `struct perf_event_header`.
#[derive(Clone, Copy, Debug)]
struct Header {
    record_type: u32,
    misc: u16,
    size: u16,
}

impl Header {
    #[inline]
    fn from_word(word: u64) -> Self {
        let b = word.to_ne_bytes();
        Header {
            record_type: u32::from_ne_bytes([b[0], b[1], b[2], b[3]]),
            misc: u16::from_ne_bytes([b[4], b[5]]),
            size: u16::from_ne_bytes([b[6], b[7]]),
        }
    }

    #[inline]
    fn is_sound(self, available: u64) -> bool {
        self.size >= HEADER_BYTES as u16
            && self.size.is_multiple_of(8)
            && u64::from(self.size) <= available
    }
}

/// A record in one piece: right from the ring, or copied where it goes round the end.
fn copied<'a>(
    ring: &'a MappedRing,
    position: u64,
    len: usize,
    scratch: &'a mut Vec<u8>,
) -> Result<&'a [u8]> {
    let (first, second) = ring.bytes(position, len).ok_or_else(|| {
        Error::new(
            kstrace_schema::ErrorKind::InvalidData,
            format!(
                "perf record of {len} bytes at {position} lies outside of what the kernel published"
            ),
        )
    })?;
    if second.is_empty() {
        return Ok(first);
    }
    scratch.clear();
    scratch.extend_from_slice(first);
    scratch.extend_from_slice(second);
    Ok(scratch)
}

impl RecordStream for RingStream {
    fn source(&self) -> SourceId {
        self.shared.source
    }

    fn cpu(&self) -> Cpu {
        self.cpu
    }

    fn wakeup(&self) -> Option<BorrowedFd<'_>> {
        Some(self.events.ring_owner.as_fd())
    }

    fn fill(&mut self, sink: &mut dyn Sink) -> Result<Fill> {
        self.release();
        // Both before the head: what is not there by now is younger than `now`, or never comes.
        let stopped = self.shared.stopped.load(Ordering::Acquire);
        let now_ns = read_ns(self.shared.clock);
        let head = self
            .ring
            .refresh_head()
            .map_err(|e| Error::io("perf ring", e))?;
        if self.slots.iter().any(|s| s.time_offset.is_none()) {
            // As good a time as any for records that have none.
            let now = now_ns.saturating_sub(self.shared.grace_ns);
            self.previous_ns = self.previous_ns.max(now);
        }
        let waiting = head.wrapping_sub(self.indexed);
        self.index_records(head, waiting.min(CHUNK_BYTES), sink)?;
        let more = self.indexed != head;
        let complete_ns = match (more, stopped) {
            (true, _) => self
                .latest_ns
                .min(now_ns)
                .saturating_sub(self.shared.grace_ns),
            (false, true) => u64::MAX,
            (false, false) => now_ns.saturating_sub(self.shared.grace_ns),
        };
        self.complete_ns = self.complete_ns.max(complete_ns);
        Ok(Fill {
            complete_until: SessionTime::from_ns(self.complete_ns),
            more,
        })
    }

    fn peek(&mut self) -> Option<SessionTime> {
        self.index
            .get(self.next)
            .map(|e| SessionTime::from_ns(e.time_ns))
    }

    fn emit(&mut self, until: SessionTime, sink: &mut dyn Sink) -> Result<u64> {
        let until_ns = until.as_ns();
        let mut records = 0;
        while let Some(entry) = self
            .index
            .get(self.next)
            .copied()
            .filter(|e| e.time_ns <= until_ns)
        {
            self.hand_over(entry, sink)?;
            self.next += 1;
            self.floor_ns = entry.time_ns;
            records += u64::from(matches!(entry.what, What::Record(_)));
        }
        if until_ns != u64::MAX {
            self.floor_ns = self.floor_ns.max(until_ns);
        }
        self.release_if_worth();
        Ok(records)
    }

    fn finish(&mut self, sink: &mut dyn Sink) -> Result<HopAccount> {
        let left = self.index.len() - self.next;
        if left > 0 {
            // Only when the receiver gave up early.
            self.account.seen += left as u64;
            self.account
                .drop_records(LossReason::OutputFailed, left as u64);
        }
        match self.lost_by_counters() {
            Some(lost) => {
                let untold = lost.saturating_sub(self.told_lost);
                if untold > 0 {
                    let now_ns = read_ns(self.shared.clock).max(self.floor_ns);
                    self.loss(LossReason::KernelRingFull, untold, Certainty::Exact, now_ns);
                    if let Some(loss) = self.losses.pop() {
                        sink.loss(&loss)?;
                    }
                    self.told_lost += untold;
                    self.account.seen += untold;
                    self.account
                        .drop_records(LossReason::KernelRingFull, untold);
                }
            }
            None => self.account.certainty = Certainty::AtLeast,
        }
        Ok(self.account.clone())
    }
}

#[cfg(test)]
mod tests;
