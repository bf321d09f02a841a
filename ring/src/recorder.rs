//! Recorders: readers that the writer waits for.

use crate::page::RecorderPage;
use crate::protocol::{self, LoadWord};
use crate::reader::{LaneReader, RingReader};
use crate::shm::PeerWord;
use crate::{Error, Result};
use kstrace_schema::wire::PacketHeader;
use std::os::fd::OwnedFd;

/// The recorder of one lane: gets every packet, in order, each once, and holds
/// them until it has released them.
#[derive(Debug)]
pub struct Recorder {
    lane: LaneReader,
    consumed: PeerWord,
    next: u64,
}

impl Recorder {
    pub(crate) fn new(lane: LaneReader, consumed: PeerWord) -> Self {
        let next = lane.geometry().packet_of(consumed.load_relaxed());
        Recorder {
            lane,
            consumed,
            next,
        }
    }

    /// The lane.
    pub fn lane(&self) -> &LaneReader {
        &self.lane
    }

    /// Closed packets that wait for this recorder.
    pub fn waiting(&self) -> u64 {
        self.lane.closed_packets().saturating_sub(self.next)
    }

    /// The next closed packet, `None` when there is none yet. It comes again
    /// until it is [released](PacketRef::release).
    ///
    /// # Errors
    ///
    /// The packet contradicts itself, or this recorder was detached and the packet is gone.
    pub fn next_packet(&mut self) -> Result<Option<PacketRef<'_>>> {
        let packet = self.next;
        if packet >= self.lane.closed_packets() {
            return Ok(None);
        }
        let header = self.lane.copy_header(packet);
        if !self.lane.still_intact(packet) {
            return Err(Error::Detached {
                lane: self.lane.lane(),
                packet,
            });
        }
        let bytes = self.lane.check_closed(packet, &header)?;
        Ok(Some(PacketRef {
            recorder: self,
            header,
            bytes,
        }))
    }

    /// Passes over the next packet without reading it, for instance after an error.
    pub fn skip_packet(&mut self) {
        if self.next < self.lane.closed_packets() {
            self.advance();
        }
    }

    fn advance(&mut self) {
        self.next += 1;
        // Pairs with `Holders::held_from` in the writer.
        protocol::release(&self.consumed, self.lane.geometry().position_of(self.next));
    }
}

/// A closed packet that its recorder holds.
#[derive(Debug)]
pub struct PacketRef<'a> {
    recorder: &'a mut Recorder,
    header: PacketHeader,
    bytes: usize,
}

impl PacketRef<'_> {
    /// A checked copy of its header.
    pub fn header(&self) -> &PacketHeader {
        &self.header
    }

    /// Header and records: its `packet_size`.
    pub fn len_bytes(&self) -> usize {
        self.bytes
    }

    /// Appends the packet to `out`: header and records, as they go into a CTF data stream.
    ///
    /// # Errors
    ///
    /// This recorder was detached and the packet is gone; `out` is as before.
    pub fn copy_into(&self, out: &mut Vec<u8>) -> Result<()> {
        let before = out.len();
        let lane = &self.recorder.lane;
        let packet = self.recorder.next;
        lane.copy(packet, 0, self.bytes, out);
        if !lane.still_intact(packet) {
            out.truncate(before);
            return Err(Error::Detached {
                lane: lane.lane(),
                packet,
            });
        }
        Ok(())
    }

    /// Gives the packet's space back to the writer.
    pub fn release(self) {
        self.recorder.advance();
    }
}

/// A recorder in another process than the ring's owner, made of the three
/// descriptors that the owner passes: ring, page, wake-up line.
#[derive(Debug)]
pub struct RemoteRecorder {
    reader: RingReader,
    page: RecorderPage,
    wake: OwnedFd,
}

impl RemoteRecorder {
    /// Takes the descriptors of a [`RecorderSlot`](crate::RecorderSlot).
    ///
    /// # Errors
    ///
    /// The ring or the page is not one.
    pub fn open(ring: OwnedFd, page: OwnedFd, wake: OwnedFd) -> Result<Self> {
        let reader = RingReader::open(ring)?;
        let page = RecorderPage::open(page, reader.lanes())?;
        Ok(RemoteRecorder { reader, page, wake })
    }

    /// The ring.
    pub fn reader(&self) -> &RingReader {
        &self.reader
    }

    /// The descriptor to poll for input; whatever can be read from it is to be read away.
    pub fn wake_fd(&self) -> &OwnedFd {
        &self.wake
    }

    /// The recorder of one lane. Each lane must have one at most.
    ///
    /// # Errors
    ///
    /// No such lane.
    pub fn recorder(&self, lane: usize) -> Result<Recorder> {
        Ok(Recorder::new(
            self.reader.lane(lane)?,
            self.page.position(lane),
        ))
    }
}
