//! The writer of a lane.

use crate::config::Mode;
use crate::lane::LaneShared;
use crate::layout::{LaneLayout, PACKET_INDEX_ENTRY_BYTES, control};
use crate::protocol::{self, Reuse, StoreWord};
use crate::reader::LaneReader;
use crate::shm::{ByteRegion, SharedMemory, WordRegion};
use crate::stats::LaneStats;
use crate::{Error, Result};
use kstrace_schema::wire::{
    PACKET_HEADER_BYTES, PACKET_MAGIC, PacketHeader, STREAM_CLASS_ID, record_size_bytes,
};
use kstrace_schema::{ClassId, Cpu, SessionTime};
use std::mem::offset_of;
use std::sync::Arc;
use zerocopy::IntoBytes;

/// What became of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Append {
    /// It is in the ring; readers see it after the next [`LaneWriter::publish`].
    Written,
    /// It was dropped and counted: no sub-buffer is free.
    RingFull,
    /// It was dropped and counted: it is larger than a packet.
    TooBig,
}

/// The one writer of a lane. Owned by one thread at a time.
///
/// Records become visible to readers with [`publish`](Self::publish), which the
/// caller does once a batch; closing a packet publishes as well. Dropping the
/// writer publishes; [`finish`](Self::finish) ends the lane in good order.
#[derive(Debug)]
pub struct LaneWriter {
    data: ByteRegion,
    /// Time of the last record, or the lower bound promised since.
    last_ns: u64,
    /// Records in the open packet.
    packet_records: u64,
    /// Whether packet `packet` is open.
    open: bool,
    finished: bool,
    /// Sequence number of the open packet, or of the next one.
    packet: u64,
    packet_begin_ns: u64,
    /// The next packet begins here at the earliest, see [`open_packet`](Self::open_packet).
    least_begin_ns: u64,
    /// What readers were last told.
    published: u64,
    safe_until_ns: u64,
    /// `written` counts closed packets only; see [`stats`](Self::stats).
    closed: LaneStats,
    /// `events_discarded` of the last closed packet.
    stated_discarded: u64,
    /// What the closed packet in each sub-buffer holds.
    filled: Vec<Filled>,
    /// The next packet that [`drain_closed`](Self::drain_closed) hands out.
    inline_next: Option<u64>,
    layout: LaneLayout,
    session_uuid: [u8; 16],
    control: WordRegion,
    index: WordRegion,
    shared: Arc<LaneShared>,
}

/// A closed packet, as its writer remembers it.
#[derive(Clone, Copy, Debug, Default)]
struct Filled {
    records: u64,
    /// Header and records.
    bytes: usize,
}

impl LaneWriter {
    pub(crate) fn new(
        memory: &Arc<SharedMemory>,
        layout: LaneLayout,
        session_uuid: [u8; 16],
        shared: Arc<LaneShared>,
        prefault: bool,
    ) -> Result<Self> {
        {
            let mut state = shared.lock();
            if state.writer_taken {
                return Err(Error::Taken {
                    what: "writer",
                    lane: layout.lane as usize,
                });
            }
            state.writer_taken = true;
        }
        let sub_buffers = layout.geometry.sub_buffers as usize;
        let mut data = memory.take_bytes(layout.data_offset, layout.data_bytes());
        if prefault {
            data.prefault()?;
        }
        Ok(LaneWriter {
            data,
            last_ns: 0,
            packet_records: 0,
            open: false,
            finished: false,
            packet: 0,
            packet_begin_ns: 0,
            least_begin_ns: 0,
            published: 0,
            safe_until_ns: 0,
            closed: LaneStats::default(),
            stated_discarded: 0,
            filled: vec![Filled::default(); sub_buffers],
            inline_next: None,
            control: memory.take_words(layout.control_offset, control::PACKETS + 8),
            index: memory.take_words(
                layout.packet_index_offset,
                sub_buffers * PACKET_INDEX_ENTRY_BYTES,
            ),
            layout,
            session_uuid,
            shared,
        })
    }

    /// The lane's number.
    pub fn lane(&self) -> u64 {
        self.layout.lane
    }

    /// The lane's CPU.
    pub fn cpu(&self) -> Cpu {
        self.layout.cpu
    }

    /// How many packets were closed so far: more of them means something for
    /// [`drain_closed`](Self::drain_closed).
    #[inline]
    pub fn packets_closed(&self) -> u64 {
        self.packet
    }

    /// The largest payload that this lane can take.
    pub fn max_payload_bytes(&self) -> usize {
        self.capacity() - size_of::<kstrace_schema::wire::RecordHeader>()
    }

    /// Bytes of records that a packet can hold.
    fn capacity(&self) -> usize {
        self.layout.geometry.sub_buffer_bytes as usize - PACKET_HEADER_BYTES
    }

    /// Appends a record. `payload` is exactly what the class describes;
    /// `rest_len_bytes` of it fall to the class's last member if that takes the rest.
    ///
    /// Times of a lane never go back: a time before the last record's, or before
    /// what [`set_safe_until`](Self::set_safe_until) promised, is raised to it
    /// and counted as late. So is, by 1 ns, a record that opens a packet at the
    /// very time at which the packet before it began: the packets of a lane all
    /// begin at different times.
    ///
    /// Makes no system call and does not allocate, except when the record opens
    /// a new packet and a reader waits to be woken.
    #[inline]
    pub fn append(
        &mut self,
        class: ClassId,
        rest_len_bytes: u16,
        time: SessionTime,
        payload: &[u8],
    ) -> Append {
        let ns = time.as_ns().max(self.last_ns);
        let words = header_words(ns, class, rest_len_bytes, payload);
        if !self.data.push(words[0], words[1], payload) {
            return self.append_to_new_packet(class, rest_len_bytes, time, payload);
        }
        self.packet_records += 1;
        if ns != time.as_ns() {
            self.closed.late += 1;
        }
        self.last_ns = ns;
        Append::Written
    }

    #[cold]
    #[inline(never)]
    fn append_to_new_packet(
        &mut self,
        class: ClassId,
        rest_len_bytes: u16,
        time: SessionTime,
        payload: &[u8],
    ) -> Append {
        if payload.len() > self.max_payload_bytes() {
            self.closed.dropped_too_big += 1;
            return Append::TooBig;
        }
        if self.open {
            self.close_packet();
        }
        let ns = time.as_ns().max(self.last_ns).max(self.least_begin_ns);
        if self.finished || !self.open_packet(ns) {
            self.closed.dropped_ring_full += 1;
            return Append::RingFull;
        }
        let words = header_words(ns, class, rest_len_bytes, payload);
        let pushed = self.data.push(words[0], words[1], payload);
        debug_assert!(pushed, "a record that fits a packet fits an empty one");
        self.packet_records += 1;
        self.closed.late += u64::from(ns != time.as_ns());
        self.last_ns = ns;
        Append::Written
    }

    /// Takes the next sub-buffer, if it may be written, and begins a packet in it.
    ///
    /// `begin_ns` is later than the last packet's: tools that know packets by
    /// the time they begin (babeltrace2 sorts the files of a stream so) have no
    /// order for two of the same.
    fn open_packet(&mut self, begin_ns: u64) -> bool {
        let packet = self.packet;
        let geometry = self.layout.geometry;
        let sub_buffer = geometry.sub_buffer_of(packet) as usize;
        if let Some(victim) = packet.checked_sub(geometry.sub_buffers) {
            // The lock keeps a recorder from attaching to the packet that is about to go.
            let mut state = self.shared.lock();
            match (state.holders.may_reuse(victim, packet), self.layout.mode) {
                (Reuse::Free, _) => {}
                (Reuse::Unrecorded, Mode::Overwrite) => {
                    self.closed.overwritten_packets += 1;
                    self.closed.overwritten_records += self.filled[sub_buffer].records;
                }
                (Reuse::Held, _) | (Reuse::Unrecorded, Mode::Discard) => return false,
            }
            protocol::reclaim(self.control.word(control::OLDEST_PACKET), victim + 1);
        }
        self.open = true;
        self.packet_begin_ns = begin_ns;
        self.least_begin_ns = begin_ns.saturating_add(1);
        self.packet_records = 0;
        let start = sub_buffer * geometry.sub_buffer_bytes as usize;
        let header = PacketHeader {
            magic: PACKET_MAGIC,
            uuid: self.session_uuid,
            stream_class_id: STREAM_CLASS_ID,
            stream_instance_id: self.layout.lane,
            timestamp_begin_ns: begin_ns,
            timestamp_end_ns: begin_ns,
            content_size_bits: 0,
            packet_size_bits: 0,
            packet_seq_num: packet,
            events_discarded: self.closed.events_discarded(),
            cpu_id: self.layout.cpu.0,
            record_count: 0,
        };
        self.data.write(start, header.as_bytes());
        self.index
            .word(sub_buffer * PACKET_INDEX_ENTRY_BYTES)
            .store_relaxed(self.closed.written);
        self.data
            .open_window(start + PACKET_HEADER_BYTES, self.capacity());
        true
    }

    /// Completes the open packet's header and gives the packet to readers.
    fn close_packet(&mut self) {
        let geometry = self.layout.geometry;
        let sub_buffer = geometry.sub_buffer_of(self.packet) as usize;
        let start = sub_buffer * geometry.sub_buffer_bytes as usize;
        let bytes = self.data.cursor_offset() - start;
        let content_bits = bytes as u64 * 8;
        let end_ns = self.last_ns.max(self.packet_begin_ns);
        self.data.close_window();
        self.closed.written += self.packet_records;
        self.closed.packets += 1;
        self.stated_discarded = self.closed.events_discarded();
        // Words of the header that are only known now; a viewer of the open packet does not use them.
        let last = [self.layout.cpu.0, self.packet_records as u32];
        let mut put = |offset: usize, value: u64| self.data.write_word(start + offset, value);
        put(offset_of!(PacketHeader, timestamp_end_ns), end_ns);
        put(offset_of!(PacketHeader, content_size_bits), content_bits);
        put(offset_of!(PacketHeader, packet_size_bits), content_bits);
        put(
            offset_of!(PacketHeader, events_discarded),
            self.stated_discarded,
        );
        self.data
            .write(start + offset_of!(PacketHeader, cpu_id), last.as_bytes());
        self.filled[sub_buffer] = Filled {
            records: self.packet_records,
            bytes,
        };
        self.packet_records = 0;
        self.open = false;
        self.packet += 1;
        self.publish();
        self.shared.lock().wake_at_watermark(self.packet);
    }

    /// Begins the lane with a packet without records that ends at `time` and states no
    /// loss: readers that take losses from the difference of two packets then
    /// know those before the first record too. Nothing once the lane has a packet.
    pub fn begin(&mut self, time: SessionTime) {
        // A record of that very time may begin the next packet.
        let begin_ns = time.as_ns().saturating_sub(1);
        if self.packet == 0 && !self.open && !self.finished && self.open_packet(begin_ns) {
            self.last_ns = self.last_ns.max(time.as_ns());
            self.close_packet();
        }
    }

    /// The position after the last record.
    #[inline]
    fn position(&self) -> u64 {
        let geometry = self.layout.geometry;
        let base = geometry.position_of(self.packet);
        if !self.open {
            return base;
        }
        let start = geometry.sub_buffer_of(self.packet) * geometry.sub_buffer_bytes;
        base + self.data.cursor_offset() as u64 - start
    }

    /// Gives everything appended so far to readers, with the counts that belong to it.
    pub fn publish(&mut self) {
        if self.open && self.data.window_bytes() == 0 {
            // The position after it is that of the next packet, which says that this one is closed.
            self.close_packet();
            return;
        }
        let s = self.stats();
        for (offset, value) in [
            (control::WRITTEN, s.written),
            (control::DROPPED_RING_FULL, s.dropped_ring_full),
            (control::DROPPED_TOO_BIG, s.dropped_too_big),
            (control::LOST_EARLIER, s.lost_earlier),
            (control::OVERWRITTEN_RECORDS, s.overwritten_records),
            (control::OVERWRITTEN_PACKETS, s.overwritten_packets),
            (control::LATE, s.late),
            (control::PACKETS, s.packets),
        ] {
            self.control.word(offset).store_relaxed(value);
        }
        let position = self.position();
        if position != self.published {
            // Pairs with `protocol::committed` in the readers.
            protocol::publish(self.control.word(control::COMMITTED), position);
            self.published = position;
        }
    }

    /// Closes the open packet early, if it has a record, and wakes every reader
    /// that has something to read. The rest of the sub-buffer stays unused.
    ///
    /// The packet that this makes is shorter than the sub-buffer, and says so:
    /// `packet_size` is `content_size`. What follows it in the sub-buffer is no
    /// part of it and means nothing.
    pub fn flush(&mut self) {
        if self.open {
            self.close_packet();
        } else {
            self.publish();
        }
        self.shared.lock().wake_all(self.packet);
    }

    /// Publishes and wakes viewers, without closing the packet.
    pub fn notify(&mut self) {
        self.publish();
        self.shared.lock().wake_viewers();
    }

    /// Promises that no record before `time` will come, for readers that merge
    /// lanes; publishes first. A time before an earlier promise changes nothing.
    pub fn set_safe_until(&mut self, time: SessionTime) {
        self.publish();
        if time.as_ns() > self.safe_until_ns {
            self.safe_until_ns = time.as_ns();
            self.last_ns = self.last_ns.max(self.safe_until_ns);
            // Pairs with the acquire in the readers, which look here before they look at `committed`.
            protocol::publish(self.control.word(control::SAFE_UNTIL), self.safe_until_ns);
        }
    }

    /// Counts records that were lost before they came here, so that packets state
    /// them as `events_discarded`.
    pub fn note_lost(&mut self, count: u64) {
        self.closed.lost_earlier += count;
    }

    /// Ends the lane: closes the open packet; states losses since then in one
    /// more packet without records, if there is room for it; promises that
    /// nothing more will come; wakes every reader. Records given after this are
    /// dropped and counted as [`Append::RingFull`].
    pub fn finish(&mut self) {
        if self.finished {
            return;
        }
        if self.open {
            self.close_packet();
        }
        let end_ns = self.last_ns.max(self.least_begin_ns);
        if self.stated_discarded != self.closed.events_discarded() && self.open_packet(end_ns) {
            self.close_packet();
        }
        self.finished = true;
        self.set_safe_until(SessionTime::MAX);
        // Release: whoever sees the end sees everything before it. Pairs with `LaneReader::is_finished`.
        protocol::publish(self.control.word(control::STATE), control::FINISHED);
        self.shared.lock().wake_for_end();
    }

    /// The account so far.
    pub fn stats(&self) -> LaneStats {
        LaneStats {
            written: self.closed.written + self.packet_records,
            ..self.closed
        }
    }

    /// Sub-buffers that could be taken now without dropping a record that came
    /// later; in overwrite mode packets that nobody holds count as free.
    pub fn free_sub_buffers(&self) -> usize {
        let geometry = self.layout.geometry;
        let next = self.packet + u64::from(self.open);
        let mut state = self.shared.lock();
        let keep_from = match (state.holders.held_from(self.packet), self.layout.mode) {
            (Some(held), _) => held,
            (None, Mode::Overwrite) => next,
            (None, Mode::Discard) => state.holders.keep_from(self.packet),
        };
        let kept = next.saturating_sub(keep_from).min(geometry.sub_buffers);
        (geometry.sub_buffers - kept) as usize
    }

    /// Whether records of `bytes` bytes in all (each as [`record_size_bytes`] says,
    /// none larger than half a packet if they are more than a packet) would all
    /// be written now.
    pub fn has_room(&self, bytes: usize) -> bool {
        if bytes <= self.data.window_bytes() {
            return true;
        }
        let capacity = self.capacity();
        // What does not go into the open packet goes into one new one if it fits there; else
        // each packet is left with less than half a packet unused.
        let packets = if bytes <= capacity {
            1
        } else {
            bytes.div_ceil(capacity - capacity / 2)
        };
        packets <= self.free_sub_buffers()
    }

    /// Bytes that a record with such a payload takes, for [`has_room`](Self::has_room).
    pub const fn record_bytes(payload_len_bytes: usize) -> usize {
        record_size_bytes(payload_len_bytes)
    }

    /// Makes this thread a recorder of its own lane, from the oldest packet that
    /// is still there: packets are held until [`drain_closed`](Self::drain_closed)
    /// has handed them out. Done by the first `drain_closed` too.
    pub fn record_inline(&mut self) {
        if self.inline_next.is_none() {
            let first = self.packet.saturating_sub(self.layout.geometry.sub_buffers);
            let first = first.max(self.oldest_packet());
            self.inline_next = Some(first);
            self.shared.lock().holders.set_inline(Some(first));
        }
    }

    fn oldest_packet(&self) -> u64 {
        use crate::protocol::LoadWord;
        self.control.word(control::OLDEST_PACKET).load_relaxed()
    }

    /// Hands every closed packet that it has not handed out yet to `take`, oldest
    /// first, and frees it. The packet is complete and exactly its
    /// `packet_size`: header and records, as they go into a CTF data stream.
    ///
    /// # Errors
    ///
    /// The first error of `take` ends the draining; that packet stays and comes again.
    pub fn drain_closed<E>(
        &mut self,
        mut take: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<usize, E> {
        self.record_inline();
        let geometry = self.layout.geometry;
        let first = self.inline_next.unwrap_or(self.packet);
        let mut next = first;
        let mut result = Ok(());
        while next < self.packet && result.is_ok() {
            let sub_buffer = geometry.sub_buffer_of(next) as usize;
            let start = sub_buffer * geometry.sub_buffer_bytes as usize;
            result = take(self.data.slice(start, self.filled[sub_buffer].bytes));
            next += u64::from(result.is_ok());
        }
        self.inline_next = Some(next);
        if next != first {
            self.shared.lock().holders.set_inline(Some(next));
        }
        result.map(|()| (next - first) as usize)
    }

    /// A reader of this lane, for instance for a snapshot; sees what is published.
    pub fn reader(&self) -> LaneReader {
        LaneReader::of_writer(self.data.memory(), self.layout)
    }
}

impl Drop for LaneWriter {
    fn drop(&mut self) {
        self.publish();
        self.shared.lock().holders.set_inline(None);
    }
}

/// The two words of a [`RecordHeader`](kstrace_schema::wire::RecordHeader).
#[inline(always)]
fn header_words(ns: u64, class: ClassId, rest_len_bytes: u16, payload: &[u8]) -> [u64; 2] {
    let len = payload.len() as u32;
    let second = if cfg!(target_endian = "little") {
        u64::from(class.0) | u64::from(rest_len_bytes) << 16 | u64::from(len) << 32
    } else {
        u64::from(class.0) << 48 | u64::from(rest_len_bytes) << 32 | u64::from(len)
    };
    [ns, second]
}
