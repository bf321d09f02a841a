//! The records of one data stream, packet by packet through all its files.
//!
//! A stream has several files where its tracer went on to a new one: rotations, files of limited size, snapshots.
//! Those are read one after the other as if they were one; packets that several snapshots have are read once.

mod fed;
mod packet;
mod records;

pub(super) use packet::{PacketStart, TracePlan, packet_start};

use super::exec::Facts;
use super::index::Indexed;
use super::map::MappedFile;
use super::plan::StreamPlan;
use crate::read::Damage;
use kstrace_schema::{
    Certainty, Cpu, Error, ErrorKind, Fill, HopAccount, Loss, LossReason, RecordStream, Result,
    SessionTime, Sink, SourceId,
};
use packet::Placed;
use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// So many buffers of packets that have been read are kept for further ones.
const SPARE_MAX: usize = 4;

/// How far all streams of a reader are.
#[derive(Debug, Default)]
pub(super) struct Progress {
    pub(super) total: AtomicU64,
    pub(super) read: AtomicU64,
}

/// A file of a stream.
#[derive(Clone, Debug)]
pub(super) struct StreamFile {
    pub(super) path: PathBuf,
    /// What the tracer's index of the file says.
    pub(super) indexed: Option<Indexed>,
}

struct OpenFile {
    path: PathBuf,
    map: MappedFile,
    next_packet: usize,
    indexed: Option<Indexed>,
    /// There was a file of this stream before.
    follows: bool,
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

/// A packet that comes from no file, with the plan that knows its events.
struct FedPacket {
    bytes: Vec<u8>,
    trace: Arc<TracePlan>,
}

/// A data stream.
pub(super) struct CtfStream {
    trace: Arc<TracePlan>,
    plan: Arc<StreamPlan>,
    stream_id: u64,
    /// The files still to come, last one first.
    files: Vec<StreamFile>,
    /// Packets still to come that are in no file, in order.
    fed: VecDeque<FedPacket>,
    /// Memory of a packet that has been read.
    spare: Vec<Vec<u8>>,
    /// Why records are lost that a packet says are.
    loss_reason: LossReason,
    /// Records that packets so far say were lost.
    lost: u64,
    /// Files were opened before the one at hand.
    started: bool,
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
    /// Records lost during the packet at hand, to be told after its own.
    losses: Vec<Loss>,
    /// Packets lost before the packet at hand, to be told before its records.
    gap: Option<Loss>,
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
        mut files: Vec<StreamFile>,
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
            fed: VecDeque::new(),
            spare: Vec::new(),
            loss_reason: LossReason::StatedByInput,
            lost: 0,
            started: false,
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
            gap: None,
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
        self.fed.clear();
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
            if let Some(gap) = self.gap.take() {
                sink.loss(&gap)?;
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
                if let Some(FedPacket { bytes, trace }) = self.fed.pop_front() {
                    self.use_plan(trace);
                    self.open = Some(OpenFile {
                        path: PathBuf::from("packet"),
                        map: MappedFile::memory(bytes),
                        next_packet: 0,
                        indexed: None,
                        follows: false,
                    });
                    continue;
                }
                let Some(StreamFile { path, indexed }) = self.files.pop() else {
                    return Ok(false);
                };
                let map = MappedFile::open(&path)
                    .map_err(|e| Error::io(format!("map {}", path.display()), e))?;
                let follows = std::mem::replace(&mut self.started, true);
                self.open = Some(OpenFile {
                    path,
                    map,
                    next_packet: 0,
                    indexed,
                    follows,
                });
                continue;
            };
            let start = open.next_packet;
            let bytes = open.map.bytes().get(start..).unwrap_or_default();
            if bytes.is_empty() {
                if let Some(missing) = open.indexed.filter(|i| i.end_bytes > start as u64) {
                    self.damaged(Placed {
                        kind: ErrorKind::Truncated,
                        ..Placed::new(
                            0,
                            "packet",
                            format!(
                                "the index has {} packets, up to byte {}, and the file ends before",
                                missing.packets, missing.end_bytes
                            ),
                        )
                    });
                    return Ok(false);
                }
                if let Some(OpenFile { map, .. }) = self.open.take() {
                    self.keep_spare(map.into_memory());
                }
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
            if open.follows && self.is_repeated(&packet) {
                self.progress
                    .read
                    .fetch_add(packet.size as u64, Ordering::Relaxed);
                continue;
            }
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

    /// Packets that follow are described by this plan.
    fn use_plan(&mut self, trace: Arc<TracePlan>) {
        if Arc::ptr_eq(&self.trace, &trace) {
            return;
        }
        // A stream class that is gone is told by the packet's header.
        if let Some(plan) = trace.streams.get(&self.stream_id) {
            self.plan = Arc::clone(plan);
            self.slots.resize(self.plan.slots, 0);
        }
        self.trace = trace;
    }

    fn keep_spare(&mut self, mut bytes: Vec<u8>) {
        if bytes.capacity() > 0 && self.spare.len() < SPARE_MAX {
            bytes.clear();
            self.spare.push(bytes);
        }
    }

    /// Whether an earlier file had the packet already: snapshots overlap.
    fn is_repeated(&self, packet: &PacketStart) -> bool {
        let facts = &packet.facts;
        let clock = self.plan.clock;
        let at = |reading: u64| SessionTime::from_ns(clock.ns(reading));
        let (Some(begin), Some(end), Some(last)) =
            (facts.begin.map(at), facts.end.map(at), self.last_end)
        else {
            return false;
        };
        let numbered_before = match (facts.sequence, self.sequence) {
            (Some(number), Some(before)) => number <= before,
            _ => true,
        };
        begin < last && end <= last && numbered_before
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
            reason: self.loss_reason,
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
                    self.lost = self.lost.saturating_add(lost);
                    // Of each packet that is not there one record at least.
                    self.gap = Some(loss(lost, Certainty::AtLeast, since, until.max(since)));
                }
            }
            self.sequence = Some(number);
        }
        if let Some(count) = facts.discarded {
            let before = self.discarded.unwrap_or(0);
            let lost = count.wrapping_sub(before) & mask(facts.discarded_bits);
            if lost > 0 && (count >= before || facts.discarded_bits < 64) {
                self.lost = self.lost.saturating_add(lost);
                let until = end.or(begin).unwrap_or(since);
                self.losses
                    .push(loss(lost, Certainty::Exact, since, until.max(since)));
            }
            self.discarded = Some(count);
        }
        self.last_end = end.or(self.last_end);
    }
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
