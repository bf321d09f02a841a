//! A lane's contents as of now.

use crate::Result;
use crate::reader::LaneReader;
use kstrace_schema::wire::{
    PACKET_HEADER_BYTES, PacketHeader, RECORD_HEADER_BYTES, RecordHeader, record_size_bytes,
};
use std::mem::offset_of;
use std::ops::Range;
use zerocopy::{FromBytes, IntoBytes};

/// A contiguous run of whole packets, up to what was committed when it was taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// The packets one after the other: the bytes of a CTF data stream.
    pub bytes: Vec<u8>,
    /// Each packet's place in `bytes`.
    pub packets: Vec<Range<usize>>,
    /// Sequence number of the first packet.
    pub first_packet: u64,
}

impl LaneReader {
    /// Copies everything that is in the lane now, without stopping the writer:
    /// a run of packets without a hole, the last of which is the open one,
    /// closed in the copy with what is committed of it.
    ///
    /// Packets that the writer overwrites while they are copied are left out,
    /// with those before them, so the run is as long as it can be without a hole.
    ///
    /// # Errors
    ///
    /// A packet contradicts itself.
    pub fn snapshot(&self) -> Result<Snapshot> {
        let geometry = self.geometry();
        let mut snapshot = Snapshot::default();
        let mut packet = self.oldest_packet();
        snapshot.first_packet = packet;
        let mut committed = self.committed();
        let mut margin = 0;
        loop {
            let open = geometry.packet_of(committed);
            let open_bytes = geometry.offset_of(committed) as usize;
            if packet > open || (packet == open && open_bytes <= PACKET_HEADER_BYTES) {
                return Ok(snapshot);
            }
            let start = snapshot.bytes.len();
            let end = if packet < open {
                self.copy_closed(packet, &mut snapshot.bytes)
            } else {
                let discarded = self.stats().events_discarded();
                self.copy(packet, 0, open_bytes, &mut snapshot.bytes);
                self.close_copy(packet, discarded, &mut snapshot.bytes[start..])
            };
            if self.still_intact(packet) {
                end?;
                snapshot.packets.push(start..snapshot.bytes.len());
                packet += 1;
                continue;
            }
            // The writer has come round. Begin again behind it; what it has committed by now
            // is more than before, so an end in the future can be taken too.
            snapshot.bytes.clear();
            snapshot.packets.clear();
            committed = self.committed();
            let open = geometry.packet_of(committed);
            // A writer that is faster than this copy is escaped by leaving out more and more.
            packet = self
                .oldest_packet()
                .saturating_add(margin)
                .min(open)
                .max(packet + 1);
            margin = (margin * 2).clamp(1, geometry.sub_buffers);
            snapshot.first_packet = packet;
        }
    }

    fn copy_closed(&self, packet: u64, out: &mut Vec<u8>) -> Result<()> {
        let header = self.copy_header(packet);
        let bytes = self.check_closed(packet, &header)?;
        self.copy(packet, 0, bytes, out);
        Ok(())
    }

    /// Completes the header of a copy of the open packet.
    fn close_copy(&self, packet: u64, events_discarded: u64, copy: &mut [u8]) -> Result<()> {
        let mut at = PACKET_HEADER_BYTES;
        let mut records = 0u32;
        let mut end_ns = None;
        while at < copy.len() {
            let Ok((header, rest)) = RecordHeader::read_from_prefix(&copy[at..]) else {
                let allowed = format!("{RECORD_HEADER_BYTES} or more");
                return Err(self.corrupt(
                    packet,
                    "record header",
                    (copy.len() - at) as u64,
                    allowed,
                ));
            };
            let bytes = record_size_bytes(header.payload_len_bytes as usize);
            if bytes > rest.len() + RECORD_HEADER_BYTES {
                let value = u64::from(header.payload_len_bytes);
                return Err(self.corrupt(
                    packet,
                    "payload_len",
                    value,
                    format!("up to {}", rest.len()),
                ));
            }
            records += 1;
            end_ns = Some(header.timestamp_ns);
            at += bytes;
        }
        let bits = copy.len() as u64 * 8;
        let mut put = |offset: usize, bytes: &[u8]| {
            copy[offset..offset + bytes.len()].copy_from_slice(bytes);
        };
        if let Some(end_ns) = end_ns {
            put(
                offset_of!(PacketHeader, timestamp_end_ns),
                end_ns.as_bytes(),
            );
        }
        put(offset_of!(PacketHeader, content_size_bits), bits.as_bytes());
        put(offset_of!(PacketHeader, packet_size_bits), bits.as_bytes());
        put(
            offset_of!(PacketHeader, events_discarded),
            events_discarded.as_bytes(),
        );
        put(offset_of!(PacketHeader, record_count), records.as_bytes());
        Ok(())
    }
}
