//! Viewers: readers that nobody waits for.

use crate::Result;
use crate::reader::LaneReader;
use crate::ring::Start;
use kstrace_schema::wire::{
    PACKET_HEADER_BYTES, RECORD_ALIGN_BYTES, RECORD_HEADER_BYTES, record_size_bytes,
};
use kstrace_schema::{ClassId, Cpu, EventRecord, SessionTime};

/// Bytes that are copied out of the ring at a time: the copy stays in the first-level cache.
const CHUNK_BYTES: usize = 16 << 10;
const LINE_BYTES: usize = 64;

/// A record within a chunk.
struct Found<'a> {
    ns: u64,
    class: u16,
    rest_len_bytes: u16,
    payload: &'a [u8],
    /// Header, payload and padding.
    bytes: usize,
}

impl<'a> Found<'a> {
    #[inline(always)]
    fn record(&self, cpu: Cpu) -> EventRecord<'a> {
        EventRecord {
            class: ClassId(self.class),
            rest_len_bytes: self.rest_len_bytes,
            cpu,
            time: SessionTime::from_ns(self.ns),
            payload: self.payload,
        }
    }
}

/// The record at `at`, if all of it is there.
#[inline(always)]
fn whole_record(chunk: &[u8], at: usize) -> Option<Found<'_>> {
    let there = chunk.get(at..)?;
    // A RecordHeader, taken apart in registers.
    let [
        t0,
        t1,
        t2,
        t3,
        t4,
        t5,
        t6,
        t7,
        c0,
        c1,
        r0,
        r1,
        l0,
        l1,
        l2,
        l3,
    ] = *there.first_chunk::<RECORD_HEADER_BYTES>()?;
    let len = u32::from_ne_bytes([l0, l1, l2, l3]) as usize;
    // `record_size_bytes` in the fewest steps: the next record's place hangs on it.
    let bytes = (RECORD_HEADER_BYTES + RECORD_ALIGN_BYTES - 1 + len) & !(RECORD_ALIGN_BYTES - 1);
    debug_assert_eq!(bytes, record_size_bytes(len));
    if bytes > there.len() {
        return None;
    }
    Some(Found {
        ns: u64::from_ne_bytes([t0, t1, t2, t3, t4, t5, t6, t7]),
        class: u16::from_ne_bytes([c0, c1]),
        rest_len_bytes: u16::from_ne_bytes([r0, r1]),
        payload: there.get(RECORD_HEADER_BYTES..RECORD_HEADER_BYTES + len)?,
        bytes,
    })
}

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
    /// Where the records of `chunk` begin in it.
    start: usize,
    /// Where they begin in their packet; 0 before the packet's header.
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
            chunk: Vec::with_capacity(CHUNK_BYTES + 2 * LINE_BYTES),
            at: 0,
            cpu: lane.cpu(),
            start: 0,
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
        if whole_record(&self.chunk, self.at).is_none() && !self.refill()? {
            return Ok(None);
        }
        let Some(found) = whole_record(&self.chunk, self.at) else {
            return Ok(None);
        };
        self.at += found.bytes;
        self.next_record = self.next_record.map(|n| n.wrapping_add(1));
        Ok(Some(found.record(self.cpu)))
    }

    /// The time of the next record, `None` when there is none yet.
    ///
    /// # Errors
    ///
    /// As [`next_record`](Self::next_record).
    #[inline]
    pub fn peek_time(&mut self) -> Result<Option<SessionTime>> {
        if whole_record(&self.chunk, self.at).is_none() && !self.refill()? {
            return Ok(None);
        }
        Ok(whole_record(&self.chunk, self.at).map(|found| SessionTime::from_ns(found.ns)))
    }

    /// Hands every record there is to `take` and says how many there were.
    ///
    /// # Errors
    ///
    /// As [`next_record`](Self::next_record).
    pub fn for_each(&mut self, mut take: impl FnMut(&EventRecord<'_>)) -> Result<u64> {
        let mut records = 0;
        loop {
            let mut in_chunk = 0;
            while let Some(found) = whole_record(&self.chunk, self.at) {
                take(&found.record(self.cpu));
                self.at += found.bytes;
                in_chunk += 1;
            }
            self.next_record = self.next_record.map(|n| n.wrapping_add(in_chunk));
            records += in_chunk;
            if !self.refill()? {
                return Ok(records);
            }
        }
    }

    /// Gives up the rest of the packet, which counts as lost once the next one is read.
    pub fn skip_packet(&mut self) {
        if self.packet < self.lane.closed_packets() {
            self.go_to(self.packet + 1);
        }
    }

    fn go_to(&mut self, packet: u64) {
        self.packet = packet;
        self.offset = 0;
        self.empty_chunk();
    }

    fn empty_chunk(&mut self) {
        self.chunk.clear();
        (self.at, self.start) = (0, 0);
    }

    /// Brings in what follows what was read, and says whether that is at least a record.
    #[cold]
    fn refill(&mut self) -> Result<bool> {
        let mut wanted = CHUNK_BYTES;
        loop {
            // What is left in the chunk is copied again with what follows it.
            self.offset += self.at - self.start;
            self.empty_chunk();
            let geometry = self.lane.geometry();
            let committed = self.lane.committed();
            let open = geometry.packet_of(committed);
            if self.packet > open || (self.packet == open && geometry.offset_of(committed) == 0) {
                return Ok(false);
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
                return Ok(false);
            };
            let bytes = there.min(wanted);
            // Both sides on cache line boundaries, which makes the copy a good deal faster: some
            // bytes that are known already come along.
            let known = self.offset % LINE_BYTES;
            self.chunk.reserve(LINE_BYTES + known + bytes);
            let unaligned = self.chunk.as_ptr().align_offset(LINE_BYTES).min(LINE_BYTES);
            self.chunk.resize(unaligned, 0);
            self.lane.copy(
                self.packet,
                self.offset - known,
                known + bytes,
                &mut self.chunk,
            );
            self.start = self.chunk.len() - bytes;
            self.at = self.start;
            if !self.lane.still_intact(self.packet) {
                self.lapped();
                continue;
            }
            if whole_record(&self.chunk, self.at).is_some() {
                return Ok(true);
            }
            if bytes == there {
                // All there is, and still no whole record.
                let len = self.chunk.get(self.at + 12..).and_then(|b| b.first_chunk());
                let len = len.map_or(0, |b| u32::from_ne_bytes(*b));
                self.empty_chunk();
                let room = there.saturating_sub(RECORD_HEADER_BYTES);
                let allowed = format!("up to {room}");
                return Err(self
                    .lane
                    .corrupt(self.packet, "payload_len", u64::from(len), allowed));
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
