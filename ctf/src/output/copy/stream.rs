//! A data stream being written, packet by packet.

use super::shape::StreamShape;
use crate::ir::TraceClass;
use crate::output::plain::create;
use kstrace_schema::{Cpu, Error, ErrorKind, Result};
use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// A packet is written when it is larger than this.
pub(super) const PACKET_BYTES: usize = 256 << 10;
/// Streams of late records that one stream may have beside it.
pub(super) const GENERATIONS_MAX: u32 = 16;
pub(super) const STREAMS_MAX: usize = 8192;

/// A record of the packet at hand.
#[derive(Clone, Copy, Debug)]
pub(super) struct Placed {
    pub(super) time: u64,
    pub(super) offset: usize,
    /// So many bits of its last byte are not of it.
    pub(super) tail_bits: u8,
}

#[derive(Debug)]
pub(super) struct OutStream {
    pub(super) path: PathBuf,
    pub(super) instance: u64,
    pub(super) bytes: Vec<u8>,
    pub(super) records_at: usize,
    /// The context members that the packet at hand has.
    pub(super) context: Vec<u8>,
    pub(super) begin: u64,
    pub(super) last: u64,
    pub(super) empty: bool,
    pub(super) sequence: u64,
    pub(super) discarded: u64,
    /// Where the next packet begins, after some that are not there.
    pub(super) resumes_at: Option<u64>,
    /// The packet's records.
    pub(super) records: Vec<Placed>,
}

pub(super) fn pad(bytes: &mut Vec<u8>, align: usize) {
    let len = bytes.len().next_multiple_of(align.max(1));
    bytes.resize(len, 0);
}

/// The stream of that class and CPU in which a record of that time comes last.
pub(super) fn stream_for<'s>(
    streams: &'s mut BTreeMap<(u64, u32, u32), OutStream>,
    dir: &Path,
    id: u64,
    cpu: Cpu,
    time: u64,
) -> Result<&'s mut OutStream> {
    let mut generation = 0;
    while generation + 1 < GENERATIONS_MAX
        && streams
            .get(&(id, cpu.0, generation))
            .is_some_and(|s| s.last > time)
    {
        generation += 1;
    }
    let key = (id, cpu.0, generation);
    let number = streams.len();
    if let std::collections::btree_map::Entry::Vacant(place) = streams.entry(key) {
        if number >= STREAMS_MAX {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!("more than {STREAMS_MAX} streams in one trace"),
            ));
        }
        let name = match (cpu.known(), generation) {
            (Some(cpu), 0) => format!("stream{id}_{cpu}"),
            (None, 0) => format!("stream{id}"),
            (Some(cpu), more) => format!("stream{id}_{cpu}_{more}"),
            (None, more) => format!("stream{id}_none_{more}"),
        };
        let path = dir.join(name);
        create(&path)?;
        place.insert(OutStream {
            path,
            instance: number as u64,
            bytes: Vec::new(),
            records_at: 0,
            context: Vec::new(),
            begin: 0,
            last: 0,
            empty: true,
            sequence: 0,
            discarded: 0,
            resumes_at: None,
            records: Vec::new(),
        });
    }
    streams
        .get_mut(&key)
        .ok_or_else(|| Error::new(ErrorKind::InvalidInput, "a stream is missing"))
}

/// Size of the packet header: magic, uuid, stream id, stream instance id.
pub(super) const PACKET_HEADER_BYTES: usize = 4 + 16 + 8 + 8;

impl OutStream {
    pub(super) fn begin_packet(
        &mut self,
        trace: &TraceClass,
        shape: &StreamShape,
        id: u64,
        context: Vec<u8>,
    ) {
        let bytes = &mut self.bytes;
        bytes.extend_from_slice(&0xc1fc_1fc1u32.to_ne_bytes());
        bytes.extend_from_slice(&trace.uuid.unwrap_or_default());
        bytes.extend_from_slice(&id.to_ne_bytes());
        bytes.extend_from_slice(&self.instance.to_ne_bytes());
        // Sizes, sequence number, and with a clock times and discarded records: set at the end.
        let words = if shape.timed { 6 } else { 3 };
        bytes.resize(bytes.len() + words * 8, 0);
        bytes.extend_from_slice(&context);
        self.records_at = bytes.len();
        self.context = context;
        self.empty = true;
    }

    /// Tells of lost packets: the numbers of those that are written have a gap.
    pub(super) fn miss_packets(
        &mut self,
        shape: &StreamShape,
        count: u64,
        (begin, end): (u64, u64),
    ) -> Result<()> {
        if !self.bytes.is_empty() {
            self.last = self.last.max(begin);
            self.flush(shape)?;
        }
        self.sequence = self.sequence.saturating_add(count);
        self.resumes_at = Some(end.max(self.last));
        Ok(())
    }

    /// Tells of lost records as readers expect it: one packet ends where the
    /// loss begins, and the one that counts it where the loss ends.
    pub(super) fn lose(
        &mut self,
        trace: &TraceClass,
        shape: &StreamShape,
        id: u64,
        count: u64,
        (begin, end): (u64, u64),
    ) -> Result<()> {
        if self.bytes.is_empty() {
            let context = self.context.clone();
            self.begin_packet(trace, shape, id, context);
            self.begin = self.last;
        }
        let behind = self.records.partition_point(|r| r.time <= begin);
        if begin >= self.begin {
            let split = self.records.get(behind).copied();
            let tail = match split {
                Some(first) => self.bytes.split_off(first.offset),
                None => Vec::new(),
            };
            let last = std::mem::replace(&mut self.last, begin);
            let later = self.records.split_off(behind);
            self.flush(shape)?;
            let context = self.context.clone();
            self.begin_packet(trace, shape, id, context);
            pad(&mut self.bytes, shape.align);
            let moved_to = self.bytes.len();
            self.bytes.extend_from_slice(&tail);
            if let Some(first) = split {
                self.begin = first.time;
                self.empty = false;
                let moved = later.into_iter().map(|r| Placed {
                    offset: r.offset - first.offset + moved_to,
                    ..r
                });
                self.records = moved.collect();
            } else {
                self.begin = begin;
            }
            self.last = last.max(begin);
        }
        self.discarded = self.discarded.saturating_add(count);
        self.last = self.last.max(end);
        self.flush(shape)
    }

    pub(super) fn flush(&mut self, shape: &StreamShape) -> Result<()> {
        let spare = self.records.last().map_or(0, |r| u64::from(r.tail_bits));
        let content = self.bytes.len() as u64 * 8 - spare;
        pad(&mut self.bytes, 8);
        let packet = self.bytes.len() as u64 * 8;
        let mut words = vec![content, packet, self.sequence];
        if shape.timed {
            words.extend([self.begin.min(self.last), self.last, self.discarded]);
        }
        for (index, word) in words.iter().enumerate() {
            let at = PACKET_HEADER_BYTES + index * 8;
            if let Some(place) = self.bytes.get_mut(at..at + 8) {
                place.copy_from_slice(&word.to_ne_bytes());
            }
        }
        let write = || {
            std::fs::OpenOptions::new()
                .append(true)
                .open(&self.path)?
                .write_all(&self.bytes)
        };
        write().map_err(|e| Error::io(format!("write {}", self.path.display()), e))?;
        self.sequence += 1;
        self.bytes.clear();
        self.records.clear();
        self.empty = true;
        Ok(())
    }
}
