//! Viewers: readers that nobody waits for.

use crate::Result;
use crate::reader::LaneReader;
use crate::ring::Start;
use kstrace_schema::wire::{
    PACKET_HEADER_BYTES, RECORD_HEADER_BYTES, RecordHeader, record_size_bytes,
};
use kstrace_schema::{ClassId, Cpu, EventRecord, SessionTime};
use zerocopy::FromBytes;

/// Bytes that are copied out of the ring at a time: the copy stays in the first-level cache.
const CHUNK_BYTES: usize = 16 << 10;

/// Reads the records of one lane as they are published, those of the open packet
/// too. Holds nothing: when the writer laps it, it counts what it missed and
/// goes on with what is there.
#[derive(Debug)]
pub struct Viewer {
    /// Copied and verified records.
    chunk: Vec<u8>,
    /// Where the next record begins in `chunk`.
    at: usize,
    cpu: Cpu,
    /// Where `chunk` begins in its packet; 0 before the packet's header.
    offset: usize,
    packet: u64,
    /// The lane's number of the next record; `None` if that is not known yet.
    next_record: Option<u64>,
    lost: u64,
    lane: LaneReader,
}

impl Viewer {
    /// A viewer of a lane.
    pub fn new(lane: LaneReader, start: Start) -> Self {
        let begin = || match start {
            Start::Oldest => lane.oldest_packet(),
            Start::Current => lane.geometry().packet_of(lane.committed()),
        };
        // From here on every record is read or counted as lost. A writer fast enough to take the
        // packet away each time only puts off the moment from which that holds.
        let (mut packet, mut next_record) = (begin(), None);
        for _ in 0..16 {
            next_record = lane.record_number_at(packet);
            if next_record.is_some() {
                break;
            }
            packet = begin();
        }
        Viewer {
            chunk: Vec::with_capacity(CHUNK_BYTES),
            at: 0,
            cpu: lane.cpu(),
            offset: 0,
            packet,
            next_record,
            lost: 0,
            lane,
        }
    }

    /// The lane.
    pub fn lane(&self) -> &LaneReader {
        &self.lane
    }

    /// Records that were overwritten before this viewer came to them
    /// ([`LossReason::ViewerLapped`](kstrace_schema::LossReason::ViewerLapped)).
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// The next record, `None` when there is none yet.
    ///
    /// # Errors
    ///
    /// The lane contradicts itself. [`skip_packet`](Self::skip_packet) goes on behind it.
    #[inline]
    pub fn next_record(&mut self) -> Result<Option<EventRecord<'_>>> {
        let Some((header, bytes)) = self.peek()? else {
            return Ok(None);
        };
        let begin = self.at + RECORD_HEADER_BYTES;
        let end = begin + header.payload_len_bytes as usize;
        self.at += bytes;
        self.next_record = self.next_record.map(|n| n.wrapping_add(1));
        Ok(Some(EventRecord {
            class: ClassId(header.class_id),
            rest_len_bytes: header.rest_len_bytes,
            cpu: self.cpu,
            time: SessionTime::from_ns(header.timestamp_ns),
            payload: &self.chunk[begin..end],
        }))
    }

    /// The time of the next record, `None` when there is none yet.
    ///
    /// # Errors
    ///
    /// As [`next_record`](Self::next_record).
    #[inline]
    pub fn peek_time(&mut self) -> Result<Option<SessionTime>> {
        Ok(self
            .peek()?
            .map(|(header, _)| SessionTime::from_ns(header.timestamp_ns)))
    }

    /// Hands every record there is to `take` and says how many there were.
    ///
    /// # Errors
    ///
    /// As [`next_record`](Self::next_record).
    pub fn for_each(&mut self, mut take: impl FnMut(&EventRecord<'_>)) -> Result<u64> {
        let mut records = 0;
        while let Some(record) = self.next_record()? {
            take(&record);
            records += 1;
        }
        Ok(records)
    }

    /// Gives up the rest of the packet, which counts as lost once the next one is read.
    pub fn skip_packet(&mut self) {
        if self.packet < self.lane.closed_packets() {
            self.go_to(self.packet + 1);
        }
    }

    /// The whole record at `at`, brought in if need be.
    #[inline]
    fn peek(&mut self) -> Result<Option<(RecordHeader, usize)>> {
        if let Some(found) = self.in_chunk() {
            return Ok(Some(found));
        }
        self.refill()
    }

    #[inline]
    fn in_chunk(&self) -> Option<(RecordHeader, usize)> {
        let there = self.chunk.get(self.at..)?;
        let (header, rest) = RecordHeader::read_from_prefix(there).ok()?;
        let bytes = record_size_bytes(header.payload_len_bytes as usize);
        (bytes - RECORD_HEADER_BYTES <= rest.len()).then_some((header, bytes))
    }

    fn go_to(&mut self, packet: u64) {
        self.packet = packet;
        self.offset = 0;
        self.chunk.clear();
        self.at = 0;
    }

    #[cold]
    fn refill(&mut self) -> Result<Option<(RecordHeader, usize)>> {
        let mut wanted = CHUNK_BYTES;
        loop {
            // What is left in the chunk is copied again with what follows it.
            self.offset += self.at;
            self.at = 0;
            self.chunk.clear();
            let geometry = self.lane.geometry();
            let committed = self.lane.committed();
            let open = geometry.packet_of(committed);
            if self.packet > open || (self.packet == open && geometry.offset_of(committed) == 0) {
                return Ok(None);
            }
            if self.offset == 0 {
                let first = self.lane.first_record(self.packet);
                if !self.lane.still_intact(self.packet) {
                    self.lapped();
                    continue;
                }
                if let Some(next) = self.next_record {
                    self.lost += first.saturating_sub(next);
                }
                self.next_record = Some(first);
                self.offset = PACKET_HEADER_BYTES;
            }
            let limit = if self.packet < open {
                let header = self.lane.copy_header(self.packet);
                if !self.lane.still_intact(self.packet) {
                    self.lapped();
                    continue;
                }
                self.lane.check_closed(self.packet, &header)?
            } else {
                geometry.offset_of(committed) as usize
            };
            let Some(there) = limit.checked_sub(self.offset).filter(|n| *n > 0) else {
                if self.packet < open {
                    self.go_to(self.packet + 1);
                    continue;
                }
                return Ok(None);
            };
            let bytes = there.min(wanted);
            self.lane
                .copy(self.packet, self.offset, bytes, &mut self.chunk);
            if !self.lane.still_intact(self.packet) {
                self.lapped();
                continue;
            }
            if let Some(found) = self.in_chunk() {
                return Ok(Some(found));
            }
            if bytes == there {
                // All there is, and still no whole record.
                let len = self
                    .chunk
                    .get(12..16)
                    .and_then(|b| b.first_chunk())
                    .map_or(0, |b| u32::from_ne_bytes(*b));
                self.chunk.clear();
                let room = there.saturating_sub(RECORD_HEADER_BYTES);
                return Err(self.lane.corrupt(
                    self.packet,
                    "payload_len",
                    u64::from(len),
                    format!("up to {room}"),
                ));
            }
            // A record longer than a chunk.
            wanted = there;
        }
    }

    /// The packet was overwritten: goes on with a later one, far enough ahead of
    /// the writer not to be lapped at once again.
    fn lapped(&mut self) {
        let geometry = self.lane.geometry();
        let oldest = self.lane.oldest_packet().max(self.packet.saturating_add(1));
        let open = geometry.packet_of(self.lane.committed());
        self.go_to(
            oldest
                .saturating_add(geometry.sub_buffers / 8)
                .min(open.max(oldest)),
        );
    }
}
