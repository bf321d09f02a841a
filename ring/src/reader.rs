//! Reading a ring: opening it, and what all readers of a lane share.

use crate::config::Mode;
use crate::layout::{LaneLayout, Layout, SUPERBLOCK_BYTES, control};
use crate::metadata::MetadataReader;
use crate::protocol::{self, Geometry, LoadWord};
use crate::shm::SharedMemory;
use crate::stats::LaneStats;
use crate::{Error, Result};
use kstrace_schema::wire::{PACKET_HEADER_BYTES, PACKET_MAGIC, PacketHeader};
use kstrace_schema::{Cpu, SessionTime};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use zerocopy::FromBytes;

/// A ring to be read: mapped read-only from a descriptor, or shared with its
/// owner in the same process. Cheap to clone.
#[derive(Clone, Debug)]
pub struct RingReader {
    memory: Arc<SharedMemory>,
    layout: Arc<Layout>,
}

impl RingReader {
    /// Maps a ring read-only and checks its header.
    ///
    /// # Errors
    ///
    /// The descriptor is not sealed memory, or a field of the header is not
    /// allowed: the error names it, its value and what is allowed.
    pub fn open(fd: OwnedFd) -> Result<RingReader> {
        let memory = SharedMemory::open_read_only(fd)?;
        // The header never changes, but this is another's memory: check the copy, use the copy.
        let mut header = Vec::new();
        memory.copy_out(0, SUPERBLOCK_BYTES.min(memory.bytes()), &mut header);
        let header_bytes = Layout::header_len(&header)?.min(memory.bytes());
        header.clear();
        memory.copy_out(0, header_bytes, &mut header);
        let layout = Layout::parse(&header, memory.bytes() as u64)?;
        Ok(RingReader {
            memory,
            layout: Arc::new(layout),
        })
    }

    pub(crate) fn of(memory: &Arc<SharedMemory>, layout: &Arc<Layout>) -> RingReader {
        RingReader {
            memory: Arc::clone(memory),
            layout: Arc::clone(layout),
        }
    }

    /// Where everything lies.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Number of lanes.
    pub fn lanes(&self) -> usize {
        self.layout.lanes.len()
    }

    /// The metadata, from the beginning.
    pub fn metadata(&self) -> MetadataReader {
        MetadataReader::new(&self.memory, &self.layout)
    }

    /// A lane to be read.
    ///
    /// # Errors
    ///
    /// No such lane.
    pub fn lane(&self, lane: usize) -> Result<LaneReader> {
        let layout = self.layout.lanes.get(lane).ok_or(Error::NoSuchLane {
            lane,
            lanes: self.lanes(),
        })?;
        Ok(LaneReader {
            memory: Arc::clone(&self.memory),
            layout: *layout,
        })
    }
}

/// A lane to be read. Reads what its writer has published and holds nothing.
#[derive(Clone, Debug)]
pub struct LaneReader {
    memory: Arc<SharedMemory>,
    layout: LaneLayout,
}

impl LaneReader {
    pub(crate) fn of_writer(memory: &Arc<SharedMemory>, layout: LaneLayout) -> Self {
        LaneReader {
            memory: Arc::clone(memory),
            layout,
        }
    }

    /// The lane's number.
    pub fn lane(&self) -> u64 {
        self.layout.lane
    }

    /// Its CPU.
    pub fn cpu(&self) -> Cpu {
        self.layout.cpu
    }

    /// What it does when it is full.
    pub fn mode(&self) -> Mode {
        self.layout.mode
    }

    pub(crate) fn geometry(&self) -> Geometry {
        self.layout.geometry
    }

    fn load(&self, offset: usize) -> u64 {
        self.memory
            .reader(self.layout.control_offset + offset)
            .load_relaxed()
    }

    /// The position before which everything is written:
    /// `packet * sub_buffer_bytes + offset`.
    pub fn committed(&self) -> u64 {
        // Pairs with `protocol::publish` in `LaneWriter::publish`.
        protocol::committed(
            &self
                .memory
                .reader(self.layout.control_offset + control::COMMITTED),
        )
    }

    /// Sequence number of the oldest packet that is still there.
    pub fn oldest_packet(&self) -> u64 {
        self.load(control::OLDEST_PACKET)
    }

    /// Packets that are closed: the next one has this number.
    pub fn closed_packets(&self) -> u64 {
        self.layout.geometry.packet_of(self.committed())
    }

    /// No record before this time will come besides those that
    /// [`committed`](Self::committed), read after this, covers.
    pub fn safe_until(&self) -> SessionTime {
        // Pairs with `protocol::publish` in `LaneWriter::set_safe_until`.
        let ns = protocol::committed(
            &self
                .memory
                .reader(self.layout.control_offset + control::SAFE_UNTIL),
        );
        SessionTime::from_ns(ns)
    }

    /// Whether the writer has ended the lane.
    pub fn is_finished(&self) -> bool {
        // Pairs with `protocol::publish` in `LaneWriter::finish`.
        let state = self
            .memory
            .reader(self.layout.control_offset + control::STATE);
        protocol::committed(&state) & control::FINISHED != 0
    }

    /// The lane's account as last published. The counts are read one after the
    /// other, so they may be of different moments while the writer is at work.
    pub fn stats(&self) -> LaneStats {
        LaneStats {
            written: self.load(control::WRITTEN),
            dropped_ring_full: self.load(control::DROPPED_RING_FULL),
            dropped_too_big: self.load(control::DROPPED_TOO_BIG),
            lost_earlier: self.load(control::LOST_EARLIER),
            overwritten_records: self.load(control::OVERWRITTEN_RECORDS),
            overwritten_packets: self.load(control::OVERWRITTEN_PACKETS),
            late: self.load(control::LATE),
            packets: self.load(control::PACKETS),
        }
    }

    /// The lane's record number of a packet's first record. Means nothing unless
    /// the packet is [`still_intact`](Self::still_intact) afterwards.
    pub(crate) fn first_record(&self, packet: u64) -> u64 {
        self.memory
            .reader(self.layout.index_offset(packet))
            .load_relaxed()
    }

    /// The lane's record number of the first record that is in a packet, or will
    /// be if it has none yet; `None` if the packet has been overwritten.
    pub(crate) fn record_number_at(&self, packet: u64) -> Option<u64> {
        if self.layout.geometry.position_of(packet) < self.committed() {
            let first = self.first_record(packet);
            return self.still_intact(packet).then_some(first);
        }
        let Some(before) = packet.checked_sub(1) else {
            return Some(0);
        };
        let first = self.first_record(before);
        let header = self.copy_header(before);
        let next = first.wrapping_add(u64::from(header.record_count));
        self.still_intact(before).then_some(next)
    }

    /// Appends bytes of a packet to `out`. They mean nothing unless the packet is
    /// [`still_intact`](Self::still_intact) afterwards.
    pub(crate) fn copy(&self, packet: u64, offset: usize, bytes: usize, out: &mut Vec<u8>) {
        debug_assert!(offset + bytes <= self.layout.geometry.sub_buffer_bytes as usize);
        self.memory
            .copy_out(self.layout.packet_offset(packet) + offset, bytes, out);
    }

    /// Whether what was copied of a packet before is whole.
    pub(crate) fn still_intact(&self, packet: u64) -> bool {
        // Pairs with `protocol::reclaim` in `LaneWriter::open_packet`.
        let oldest = self.layout.control_offset + control::OLDEST_PACKET;
        protocol::still_intact(&self.memory.reader(oldest), packet)
    }

    /// A packet's header, unchecked; means nothing unless the packet is
    /// [`still_intact`](Self::still_intact) afterwards.
    pub(crate) fn copy_header(&self, packet: u64) -> PacketHeader {
        let mut bytes = Vec::with_capacity(PACKET_HEADER_BYTES);
        self.copy(packet, 0, PACKET_HEADER_BYTES, &mut bytes);
        PacketHeader::read_from_bytes(&bytes).unwrap_or(EMPTY_HEADER)
    }

    /// Checks the header of a closed packet and says how long the packet is.
    pub(crate) fn check_closed(&self, packet: u64, header: &PacketHeader) -> Result<usize> {
        let size = self.layout.geometry.sub_buffer_bytes;
        let lane = self.layout.lane;
        for (field, value, right) in [
            ("magic", u64::from(header.magic), u64::from(PACKET_MAGIC)),
            ("packet_seq_num", header.packet_seq_num, packet),
            ("stream_instance_id", header.stream_instance_id, lane),
        ] {
            if value != right {
                return Err(self.corrupt(packet, field, value, right.to_string()));
            }
        }
        let bits = header.content_size_bits;
        if !bits.is_multiple_of(64) || bits < PACKET_HEADER_BYTES as u64 * 8 || bits > size * 8 {
            let allowed = format!(
                "{} to {}, a multiple of 64",
                PACKET_HEADER_BYTES * 8,
                size * 8
            );
            return Err(self.corrupt(packet, "content_size", bits, allowed));
        }
        if header.packet_size_bits != bits {
            let allowed = format!("content_size, {bits}");
            return Err(self.corrupt(packet, "packet_size", header.packet_size_bits, allowed));
        }
        Ok((bits / 8) as usize)
    }

    pub(crate) fn corrupt(
        &self,
        packet: u64,
        field: &'static str,
        value: u64,
        allowed: String,
    ) -> Error {
        Error::Corrupt {
            lane: self.layout.lane,
            packet,
            field,
            value,
            allowed,
        }
    }
}

const EMPTY_HEADER: PacketHeader = PacketHeader {
    magic: 0,
    uuid: [0; 16],
    stream_class_id: 0,
    stream_instance_id: 0,
    timestamp_begin_ns: 0,
    timestamp_end_ns: 0,
    content_size_bits: 0,
    packet_size_bits: 0,
    packet_seq_num: 0,
    events_discarded: 0,
    cpu_id: 0,
    record_count: 0,
};
