//! The records of one data stream, packet by packet through all its files.

use super::bits::Cursor;
use super::exec::{Facts, Fault, advance_clock, fuel_for};
use super::map::MappedFile;
use super::plan::{EventPlan, Kind, StreamPlan, transcode};
use super::skim;
use crate::read::Damage;
use kstrace_schema::{
    Certainty, Cpu, Error, ErrorKind, EventRecord, Fill, HopAccount, Loss, LossReason,
    RecordStream, Result, SessionTime, Sink, SourceId,
};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The packet magic.
pub(super) const MAGIC: u64 = 0xc1fc_1fc1;

/// What the streams of one trace have in common.
#[derive(Debug)]
pub(super) struct TracePlan {
    pub(super) source: SourceId,
    pub(super) uuid: Option<[u8; 16]>,
    pub(super) streams: BTreeMap<u64, Arc<StreamPlan>>,
    /// Stream class that a packet without an id is of.
    pub(super) only_stream: Option<u64>,
    /// Finds a packet's stream class.
    pub(super) probe: super::plan::Shared,
}

/// What stands before the records of a packet.
#[derive(Clone, Debug)]
pub(super) struct PacketStart {
    pub(super) facts: Facts,
    /// Where the records begin, in bits from the packet's start.
    pub(super) records_at: u64,
    pub(super) content_bits: u64,
    /// Size in bytes, at most what is left of the file.
    pub(super) size: usize,
    /// The file ends within the packet, which should have so many bytes.
    pub(super) cut_from: Option<u64>,
}

/// A fault with its place.
#[derive(Debug)]
pub(super) struct Placed {
    pub(super) offset_bits: u64,
    pub(super) field: String,
    pub(super) reason: String,
    pub(super) kind: ErrorKind,
}

impl Placed {
    fn new(offset_bits: u64, field: &str, reason: impl Into<String>) -> Self {
        Placed {
            offset_bits,
            field: field.to_owned(),
            reason: reason.into(),
            kind: ErrorKind::InvalidData,
        }
    }

    fn of(offset_bits: u64, scope: &str, fault: &Fault) -> Self {
        let field = match fault.field.as_str() {
            "" => scope.to_owned(),
            field => format!("{scope}.{field}"),
        };
        Placed::new(offset_bits, &field, fault.reason)
    }
}

impl TracePlan {
    /// The stream class of the packet that `bytes` begin with.
    pub(super) fn stream_of(&self, bytes: &[u8]) -> std::result::Result<(u64, Facts), Placed> {
        let mut facts = Facts::default();
        let mut cursor = Cursor::new(bytes, 0, u64::MAX);
        let mut slots = [0u64; super::node::SHARED_SLOTS as usize];
        self.probe
            .read(&mut cursor, &mut slots, &mut facts, &mut Vec::new())
            .map_err(|f| Placed {
                kind: ErrorKind::Truncated,
                ..Placed::of(cursor.position, "packet.header", &f)
            })?;
        if let Some(magic) = facts.magic
            && magic != MAGIC
        {
            let reason = format!("magic is {magic:#010x}, not {MAGIC:#010x}");
            return Err(Placed::new(0, "packet.header.magic", reason));
        }
        if let (Some(found), Some(uuid)) = (facts.uuid, self.uuid)
            && found != uuid
        {
            let reason = "it is not the trace's uuid";
            return Err(Placed::new(0, "packet.header.uuid", reason));
        }
        let id = match facts.stream_class.or(self.only_stream) {
            Some(id) if self.streams.contains_key(&id) => id,
            found => {
                let known = self.streams.keys().take(8).map(u64::to_string);
                let reason = format!(
                    "stream_id is {}, the metadata has {}",
                    found.map_or_else(|| "not there".to_owned(), |id| id.to_string()),
                    known.collect::<Vec<_>>().join(", ")
                );
                return Err(Placed::new(0, "packet.header.stream_id", reason));
            }
        };
        Ok((id, facts))
    }
}

/// Reads a packet's header and context. `bytes` reach to the file's end.
pub(super) fn packet_start(
    plan: &StreamPlan,
    bytes: &[u8],
    slots: &mut [u64],
    clock: u64,
    prefix: &mut Vec<u8>,
) -> std::result::Result<PacketStart, Placed> {
    let mut facts = Facts {
        clock,
        ..Facts::default()
    };
    let mut cursor = Cursor::new(bytes, 0, u64::MAX);
    prefix.clear();
    for (scope, shared) in [
        ("packet.header", &plan.packet_header),
        ("packet.context", &plan.packet_context),
    ] {
        shared
            .read(&mut cursor, slots, &mut facts, prefix)
            .map_err(|f| Placed {
                kind: ErrorKind::Truncated,
                ..Placed::of(cursor.position, scope, &f)
            })?;
    }
    let available = bytes.len() as u64 * 8;
    let records_at = cursor.position;
    let packet_bits = facts
        .packet_bits
        .or(facts.content_bits)
        .unwrap_or(available);
    let content_bits = facts.content_bits.unwrap_or(packet_bits);
    if packet_bits == 0 || !packet_bits.is_multiple_of(8) || packet_bits < records_at {
        let reason =
            format!("{packet_bits} bits, allowed are whole bytes from {records_at} bits on");
        return Err(Placed::new(0, "packet.context.packet_size", reason));
    }
    if content_bits > packet_bits || content_bits < records_at {
        let reason = format!("{content_bits} bits, allowed are {records_at} to {packet_bits}");
        return Err(Placed::new(0, "packet.context.content_size", reason));
    }
    let size = packet_bits.min(available) / 8;
    Ok(PacketStart {
        cut_from: (packet_bits > available).then_some(packet_bits / 8),
        content_bits: content_bits.min(available),
        size: usize::try_from(size).unwrap_or(bytes.len()),
        records_at,
        facts,
    })
}

/// How far all streams of a reader are.
#[derive(Debug, Default)]
pub(super) struct Progress {
    pub(super) total: AtomicU64,
    pub(super) read: AtomicU64,
}

struct OpenFile {
    path: PathBuf,
    map: MappedFile,
    next_packet: usize,
}

/// The packet at hand.
#[derive(Default)]
struct OpenPacket {
    /// Its offset in the file, and the end of its content.
    start: usize,
    content_end: usize,
    size: usize,
    /// The content is this long in bits.
    content_bits: u64,
    /// Where the next header is looked for, in bits from the packet's start.
    position: u64,
    cut_from: Option<u64>,
}

/// The next record: its header has been read.
#[derive(Clone, Copy)]
struct Next {
    event: usize,
    time: SessionTime,
    /// Where the header ends, in bits from the packet's start.
    body: u64,
}

/// A data stream.
pub(super) struct CtfStream {
    trace: Arc<TracePlan>,
    plan: Arc<StreamPlan>,
    stream_id: u64,
    /// The files still to come, last one first.
    files: Vec<PathBuf>,
    open: Option<OpenFile>,
    packet: Option<OpenPacket>,
    next: Option<Next>,
    clock: u64,
    complete_until: SessionTime,
    cpu: Cpu,
    slots: Vec<u64>,
    facts: Facts,
    /// What payloads of this packet begin with.
    prefix: Vec<u8>,
    /// A re-encoded payload.
    out: Vec<u8>,
    damage: Option<Error>,
    account: HopAccount,
    discarded: Option<u64>,
    sequence: Option<u64>,
    last_end: Option<SessionTime>,
    /// Loss found with the packet at hand, to be told after its records.
    losses: Vec<Loss>,
    progress: Arc<Progress>,
}

impl std::fmt::Debug for CtfStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CtfStream")
            .field("stream_id", &self.stream_id)
            .field("cpu", &self.cpu)
            .finish_non_exhaustive()
    }
}

impl CtfStream {
    /// The stream in these files, first one first.
    pub(super) fn new(
        trace: Arc<TracePlan>,
        stream_id: u64,
        cpu: Cpu,
        mut files: Vec<PathBuf>,
        progress: Arc<Progress>,
    ) -> Option<Self> {
        let plan = Arc::clone(trace.streams.get(&stream_id)?);
        files.reverse();
        Some(CtfStream {
            account: HopAccount::new(trace.source, "ctf-file", cpu),
            slots: vec![0; plan.slots],
            trace,
            plan,
            stream_id,
            files,
            open: None,
            packet: None,
            next: None,
            clock: 0,
            complete_until: SessionTime::ZERO,
            cpu,
            facts: Facts::default(),
            prefix: Vec::new(),
            out: Vec::new(),
            damage: None,
            discarded: None,
            sequence: None,
            last_end: None,
            losses: Vec::new(),
            progress,
        })
    }

    fn damaged(&mut self, placed: Placed) {
        let (file, start) = match &self.open {
            Some(open) => (
                open.path.clone(),
                self.packet.as_ref().map_or(open.next_packet, |p| p.start),
            ),
            None => (PathBuf::new(), 0),
        };
        let damage = Damage {
            file,
            offset: start as u64 + placed.offset_bits / 8,
            field: placed.field.into(),
            reason: placed.reason,
        };
        self.damage = Some(damage.into_error(placed.kind));
        self.packet = None;
        self.next = None;
        self.open = None;
        self.files.clear();
    }

    /// Goes to the next record, into the next packets if need be. False at the end or at damage.
    fn advance(&mut self, sink: &mut dyn Sink) -> Result<bool> {
        loop {
            if self.packet.is_some() {
                if self.read_header() {
                    return Ok(true);
                }
                if self.damage.is_some() {
                    return Ok(false);
                }
                self.end_packet(sink)?;
                if self.damage.is_some() {
                    return Ok(false);
                }
            }
            if !self.open_packet()? {
                return Ok(false);
            }
        }
    }

    /// The packet has no more records: what it tells of loss is told.
    fn end_packet(&mut self, sink: &mut dyn Sink) -> Result<()> {
        for loss in self.losses.drain(..) {
            sink.loss(&loss)?;
        }
        let Some(packet) = self.packet.take() else {
            return Ok(());
        };
        if let Some(open) = &mut self.open {
            open.map.done_until(packet.start + packet.size);
            self.progress
                .read
                .fetch_add(packet.size as u64, Ordering::Relaxed);
        }
        if let Some(wanted) = packet.cut_from {
            self.packet = Some(packet);
            let left = self.packet.as_ref().map_or(0, |p| p.size);
            self.damaged(Placed {
                kind: ErrorKind::Truncated,
                ..Placed::new(
                    0,
                    "packet.context.packet_size",
                    format!("the packet has {wanted} bytes, the file ends after {left}"),
                )
            });
        }
        Ok(())
    }

    /// Opens the next packet; false when there is none, or damage.
    fn open_packet(&mut self) -> Result<bool> {
        loop {
            let Some(open) = &mut self.open else {
                let Some(path) = self.files.pop() else {
                    return Ok(false);
                };
                let map = MappedFile::open(&path)
                    .map_err(|e| Error::io(format!("map {}", path.display()), e))?;
                self.open = Some(OpenFile {
                    path,
                    map,
                    next_packet: 0,
                });
                continue;
            };
            let start = open.next_packet;
            let bytes = open.map.bytes().get(start..).unwrap_or_default();
            if bytes.is_empty() {
                self.open = None;
                continue;
            }
            let found = self.trace.stream_of(bytes).and_then(|(id, _)| {
                if id == self.stream_id {
                    packet_start(
                        &self.plan,
                        bytes,
                        &mut self.slots,
                        self.clock,
                        &mut self.prefix,
                    )
                } else {
                    let reason = format!(
                        "stream_id is {id}, the file's first packet has {}",
                        self.stream_id
                    );
                    Err(Placed::new(0, "packet.header.stream_id", reason))
                }
            });
            let packet = match found {
                Ok(packet) => packet,
                Err(placed) => {
                    self.damaged(placed);
                    return Ok(false);
                }
            };
            open.next_packet = start + packet.size;
            self.clock = packet.facts.clock;
            self.notice(&packet);
            let content = usize::try_from(packet.content_bits.div_ceil(8)).unwrap_or(packet.size);
            self.packet = Some(OpenPacket {
                start,
                content_end: start + content.min(packet.size),
                size: packet.size,
                content_bits: packet.content_bits,
                position: packet.records_at,
                cut_from: packet.cut_from,
            });
            return Ok(true);
        }
    }

    /// What a packet's context says of its time and of loss.
    fn notice(&mut self, packet: &PacketStart) {
        let facts = &packet.facts;
        let clock = self.plan.clock;
        let at = |reading: Option<u64>| reading.map(|r| SessionTime::from_ns(clock.ns(r)));
        let (begin, end) = (at(facts.begin), at(facts.end));
        if let Some(cpu) = facts.cpu.and_then(|cpu| u32::try_from(cpu).ok()) {
            self.cpu = Cpu(cpu);
        }
        self.complete_until = match end {
            Some(end) => self.complete_until.max(end),
            None => SessionTime::MAX,
        };
        let since = self.last_end.or(begin).unwrap_or_default();
        let loss = |count, certainty, begin, end| Loss {
            source: self.trace.source,
            cpu: self.cpu,
            reason: LossReason::StatedByInput,
            count,
            certainty,
            class: None,
            begin,
            end,
        };
        if let Some(number) = facts.sequence {
            if let Some(before) = self.sequence {
                let mask = mask(facts.sequence_bits);
                let lost = number.wrapping_sub(before).wrapping_sub(1) & mask;
                // A number that goes back is a restart, not a loss of all but a few.
                if lost > 0 && lost < mask / 2 {
                    let until = begin.unwrap_or(since);
                    self.losses
                        .push(loss(lost, Certainty::AtLeast, since, until.max(since)));
                }
            }
            self.sequence = Some(number);
        }
        if let Some(count) = facts.discarded {
            let before = self.discarded.unwrap_or(0);
            let lost = count.wrapping_sub(before) & mask(facts.discarded_bits);
            if lost > 0 && (count >= before || facts.discarded_bits < 64) {
                let until = end.or(begin).unwrap_or(since);
                self.losses
                    .push(loss(lost, Certainty::Exact, since, until.max(since)));
            }
            self.discarded = Some(count);
        }
        self.last_end = end.or(self.last_end);
    }

    /// Reads the header of the next record; false at the end of the packet, or at damage.
    fn read_header(&mut self) -> bool {
        let (Some(open), Some(packet)) = (&self.open, &mut self.packet) else {
            return false;
        };
        if packet.position >= packet.content_bits {
            self.next = None;
            return false;
        }
        let bytes = open
            .map
            .bytes()
            .get(packet.start..packet.content_end)
            .unwrap_or_default();
        let mut cursor = Cursor::new(bytes, packet.position, packet.content_bits);
        self.facts.clock = self.clock;
        self.facts.event_class = None;
        let read = if self.plan.event_header.keeps_any() {
            self.out.clear();
            let mut own = std::mem::take(&mut self.out);
            let read = self.plan.event_header.read(
                &mut cursor,
                &mut self.slots,
                &mut self.facts,
                &mut own,
            );
            self.out = own;
            read
        } else {
            self.plan.event_header.read(
                &mut cursor,
                &mut self.slots,
                &mut self.facts,
                &mut self.prefix,
            )
        };
        let at = packet.position;
        if let Err(fault) = read {
            self.damaged(Placed::of(at, "event.header", &fault));
            return false;
        }
        self.clock = self.facts.clock;
        let id = self.facts.event_class;
        let event = match id {
            Some(id) => self.plan.event_index(id),
            None => (!self.plan.events.is_empty()).then_some(0),
        };
        let Some(index) = event else {
            let id = id.unwrap_or(0);
            let stream = self.stream_id;
            let reason = format!("no event with id {id} in stream {stream} of the metadata");
            self.damaged(Placed::new(at, "event.header.id", reason));
            return false;
        };
        self.next = Some(Next {
            event: index,
            time: SessionTime::from_ns(self.plan.clock.ns(self.clock)),
            body: cursor.position,
        });
        true
    }

    /// Hands over the record at hand, the general way. The packet goes on behind it.
    fn hand_over(&mut self, next: Next, sink: &mut dyn Sink) -> Result<bool> {
        let (Some(open), Some(packet)) = (&self.open, &mut self.packet) else {
            return Ok(false);
        };
        let bytes = open
            .map
            .bytes()
            .get(packet.start..packet.content_end)
            .unwrap_or_default();
        let Some(event) = self.plan.events.get(next.event) else {
            return Ok(false);
        };
        if !self.plan.event_header.keeps_any() {
            self.out.clear();
        }
        // What the header gave stands behind what the packet gave.
        self.out.splice(0..0, self.prefix.iter().copied());
        let result = body(
            event,
            bytes,
            packet.content_bits,
            next.body,
            self.plan.has_prefix,
            &mut self.slots,
            &mut self.facts,
            &mut self.out,
        );
        let (payload, end) = match result {
            Ok((Some(range), end)) => (bytes.get(range).unwrap_or_default(), end),
            Ok((None, end)) => (self.out.as_slice(), end),
            Err(fault) => {
                let at = packet.position;
                self.damaged(Placed::of(at, "event", &fault));
                return Ok(false);
            }
        };
        packet.position = end;
        sink.record(&EventRecord {
            class: event.class,
            rest_len_bytes: 0,
            cpu: self.cpu,
            time: next.time,
            payload,
        })?;
        Ok(true)
    }

    /// The fast way through the packet at hand: as many records as it can.
    fn rush(&mut self, until: SessionTime, sink: &mut dyn Sink) -> Result<u64> {
        let (Some(fast), false) = (&self.plan.fast, self.plan.has_prefix) else {
            return Ok(0);
        };
        let (Some(open), Some(packet), Some(mut next)) = (&self.open, &mut self.packet, self.next)
        else {
            return Ok(0);
        };
        if !packet.content_bits.is_multiple_of(8) {
            return Ok(0);
        }
        let bytes = open
            .map
            .bytes()
            .get(packet.start..packet.content_end)
            .unwrap_or_default();
        let clock_map = self.plan.clock;
        let mut clock = self.clock;
        let mut count = 0;
        let mut result = Ok(());
        let mut fuel = fuel_for(packet.content_bits);
        while next.time <= until {
            let Some(event) = self.plan.events.get(next.event) else {
                break;
            };
            // Headers of whole bytes end at whole bytes.
            if !next.body.is_multiple_of(8) {
                break;
            }
            let begin = ((next.body / 8) as usize + event.align_mask) & !event.align_mask;
            let end = match &event.kind {
                Kind::Fixed(size) => begin + size,
                Kind::Skim(ops) => match skim::end(ops, bytes, begin, &mut self.slots, &mut fuel) {
                    Ok(end) => end,
                    Err(_) => break,
                },
                Kind::Transcode(_) => break,
            };
            let Some(payload) = bytes.get(begin..end) else {
                break;
            };
            result = sink.record(&EventRecord {
                class: event.class,
                rest_len_bytes: 0,
                cpu: self.cpu,
                time: next.time,
                payload,
            });
            if result.is_err() {
                break;
            }
            count += 1;
            packet.position = end as u64 * 8;
            let header = match fast.read(bytes, end) {
                Some(header) if header.end <= bytes.len() => header,
                _ => {
                    self.next = None;
                    self.clock = clock;
                    return Ok(count);
                }
            };
            let Some(event) = self.plan.event_index(header.id) else {
                self.next = None;
                self.clock = clock;
                return Ok(count);
            };
            if header.time_bits > 0 {
                clock = advance_clock(clock, header.time, header.time_bits);
            }
            next = Next {
                event,
                time: SessionTime::from_ns(clock_map.ns(clock)),
                body: header.end as u64 * 8,
            };
        }
        self.clock = clock;
        self.next = Some(next);
        result.map(|()| count)
    }
}

/// The payload of a record whose header ends at `at` bits: a range of `bytes`,
/// or, for `None`, what is in `out`; and where it ends.
#[expect(
    clippy::too_many_arguments,
    reason = "parts of one stream, borrowed one by one"
)]
fn body(
    event: &EventPlan,
    bytes: &[u8],
    content_bits: u64,
    at: u64,
    has_prefix: bool,
    slots: &mut [u64],
    facts: &mut Facts,
    out: &mut Vec<u8>,
) -> std::result::Result<(Option<std::ops::Range<usize>>, u64), Fault> {
    const SHORT: &str = "it reaches past the packet's content";
    let verbatim_end = |begin: usize, slots: &mut [u64]| match &event.kind {
        Kind::Fixed(size) => begin.checked_add(*size).ok_or(Fault::new(SHORT)),
        Kind::Skim(ops) => skim::end(ops, bytes, begin, slots, &mut fuel_for(content_bits)),
        Kind::Transcode(_) => Err(Fault::new(SHORT)),
    };
    if let Kind::Transcode(nodes) = &event.kind {
        let mut cursor = Cursor::new(bytes, at, content_bits);
        transcode(nodes, &mut cursor, slots, facts, out)?;
        return Ok((None, cursor.position));
    }
    let first = usize::try_from(at.div_ceil(8)).map_err(|_| Fault::new(SHORT))?;
    let begin = first.saturating_add(event.align_mask) & !event.align_mask;
    let end = verbatim_end(begin, slots)?;
    // A record of nothing does not reach anywhere.
    if end > begin && end as u64 * 8 > content_bits {
        return Err(Fault::new(SHORT));
    }
    let payload = bytes.get(begin..end).unwrap_or_default();
    if has_prefix {
        out.extend_from_slice(payload);
        return Ok((None, end as u64 * 8));
    }
    Ok((Some(begin..end), end as u64 * 8))
}

fn mask(bits: u32) -> u64 {
    match bits {
        0 | 64.. => u64::MAX,
        bits => (1 << bits) - 1,
    }
}

impl RecordStream for CtfStream {
    fn source(&self) -> SourceId {
        self.trace.source
    }

    fn cpu(&self) -> Cpu {
        self.cpu
    }

    fn fill(&mut self, sink: &mut dyn Sink) -> Result<Fill> {
        if self.next.is_none() && self.damage.is_none() {
            self.advance(sink)?;
        }
        match self.next {
            Some(next) => {
                // A packet that ends before its last record: what is at hand goes first.
                self.complete_until = self.complete_until.max(next.time);
                Ok(Fill {
                    complete_until: self.complete_until,
                    more: true,
                })
            }
            None => match self.damage.take() {
                Some(damage) => Err(damage),
                None => Ok(Fill {
                    complete_until: SessionTime::MAX,
                    more: false,
                }),
            },
        }
    }

    fn peek(&mut self) -> Option<SessionTime> {
        self.next.map(|n| n.time)
    }

    fn emit(&mut self, until: SessionTime, sink: &mut dyn Sink) -> Result<u64> {
        let mut count = 0;
        loop {
            let rushed = self.rush(until, sink);
            let Ok(some) = rushed else {
                self.account.written += count;
                return rushed;
            };
            count += some;
            if self.next.is_none() {
                self.advance(sink)?;
            }
            let Some(next) = self.next.filter(|n| n.time <= until) else {
                break;
            };
            // What the fast way cannot do.
            if !self.hand_over(next, sink)? {
                break;
            }
            count += 1;
            self.advance(sink)?;
        }
        self.account.written += count;
        Ok(count)
    }

    fn finish(&mut self, sink: &mut dyn Sink) -> Result<HopAccount> {
        for loss in self.losses.drain(..) {
            sink.loss(&loss)?;
        }
        let mut account = self.account.clone();
        account.cpu = self.cpu;
        account.seen = account.written;
        Ok(account)
    }
}
