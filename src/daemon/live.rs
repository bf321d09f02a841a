//! The daemon's sessions for LTTng's viewers.
//!
//! A viewer gets the records of a ring in packets made for it, of what is there when it asks:
//! the ring's own packets close when they are full, which may take long. It holds nothing in
//! the ring; when the writer laps it, it is told how much it missed.

use super::sessions::Sessions;
use kstrace_ctf::ctf2::{Fragment, parse_fragment};
use kstrace_ctf::{PacketBuilder, tsdl, uuid_bytes};
use kstrace_lttng::live::{Beginning, Hub, Next, PacketIndex, SessionSummary, Trace};
use kstrace_ring::{MetadataReader, RingReader, Start, Viewer};
use kstrace_schema::wire::{PacketHeader, STREAM_CLASS_ID};
use kstrace_schema::{SessionInfo, SessionTime};
use std::sync::Arc;
use zerocopy::FromBytes;

/// Packets are full at this size: babeltrace2 asks for 512 KiB at a time.
const PACKET_BYTES: usize = 256 << 10;
/// What is said to be the time between news, µs: viewers ask again after as much.
const LIVE_TIMER_US: u32 = 100_000;

/// All sessions of a daemon.
pub(super) struct LiveHub(pub(super) Arc<Sessions>);

/// A session's number in the protocol: the first half of its UUID.
fn number_of(uuid: &str) -> Option<u64> {
    let bytes = uuid_bytes(uuid)?;
    Some(u64::from_be_bytes(*bytes.first_chunk()?))
}

impl Hub for LiveHub {
    fn sessions(&self) -> Vec<SessionSummary> {
        let summary = |(uuid, ring): (String, RingReader)| {
            let host = Described::of(&ring).session?.host.hostname;
            Some(SessionSummary {
                id: number_of(&uuid)?,
                host,
                name: uuid,
                live_timer_us: LIVE_TIMER_US,
                streams: ring.lanes() as u32,
                viewers: 0,
            })
        };
        self.0.rings().into_iter().filter_map(summary).collect()
    }

    fn attach(&self, session: u64, beginning: Beginning) -> Option<Box<dyn Trace>> {
        let (_, ring) = self
            .0
            .rings()
            .into_iter()
            .find(|(uuid, _)| number_of(uuid) == Some(session))?;
        let trace = LiveTrace::new(&ring, beginning)?;
        Some(Box::new(trace))
    }
}

/// What the ring's metadata lane has said so far.
struct Described {
    metadata: MetadataReader,
    session: Option<SessionInfo>,
    tsdl: String,
}

impl Described {
    fn of(ring: &RingReader) -> Self {
        let mut described = Described {
            metadata: ring.metadata(),
            session: None,
            tsdl: String::new(),
        };
        described.update();
        described
    }

    fn update(&mut self) {
        // The engine of this very process wrote it; what cannot be read describes no record.
        while let Ok(Some(bytes)) = self.metadata.next_fragment() {
            let Ok(value) = serde_json::from_slice(&bytes) else {
                continue;
            };
            match parse_fragment(&value) {
                Ok(Fragment::Session(session)) => {
                    self.tsdl += &tsdl::preamble(&session);
                    self.session = Some(*session);
                }
                Ok(Fragment::EventRecordClass(class)) => self.tsdl += &tsdl::event_block(&class),
                _ => {}
            }
        }
    }
}

/// A session's trace for one viewer.
struct LiveTrace {
    described: Described,
    uuid: [u8; 16],
    lanes: Vec<LiveLane>,
}

struct LiveLane {
    viewer: Viewer,
    builder: PacketBuilder,
    /// What [`Viewer::lost`] was.
    lost: u64,
    packet: Vec<u8>,
    /// The last beacon.
    inactive_until: SessionTime,
}

impl LiveTrace {
    fn new(ring: &RingReader, beginning: Beginning) -> Option<Self> {
        let described = Described::of(ring);
        let uuid = uuid_bytes(&described.session.as_ref()?.uuid)?;
        let start = match beginning {
            Beginning::Oldest => Start::Oldest,
            Beginning::Now => Start::Current,
        };
        let lanes = (0..ring.lanes())
            .map(|number| {
                let lane = ring.lane(number).ok()?;
                Some(LiveLane {
                    builder: PacketBuilder::new(uuid, number as u32, lane.cpu(), PACKET_BYTES),
                    viewer: Viewer::new(lane, start),
                    lost: 0,
                    packet: Vec::new(),
                    inactive_until: SessionTime::ZERO,
                })
            })
            .collect::<Option<_>>()?;
        Some(LiveTrace {
            described,
            uuid,
            lanes,
        })
    }
}

impl Trace for LiveTrace {
    fn streams(&self) -> usize {
        self.lanes.len()
    }

    fn stream_class_id(&self) -> u64 {
        STREAM_CLASS_ID.into()
    }

    fn uuid(&self) -> [u8; 16] {
        self.uuid
    }

    fn metadata(&mut self) -> &str {
        self.described.update();
        &self.described.tsdl
    }

    fn next(&mut self, stream: usize) -> Next {
        self.lanes
            .get_mut(stream)
            .map_or(Next::Ended, LiveLane::next)
    }

    fn packet(&self, stream: usize) -> &[u8] {
        self.lanes.get(stream).map_or(&[], |lane| &lane.packet)
    }
}

impl LiveLane {
    fn next(&mut self) -> Next {
        // Both read before the records: what is written after them is of a later time.
        let finished = self.viewer.lane().is_finished();
        let safe_until = self.viewer.lane().safe_until();
        self.collect();
        let lost = self.viewer.lost();
        self.builder.discard(lost - self.lost);
        self.lost = lost;
        if !self.builder.is_empty() {
            return Next::Packet(self.take_packet());
        }
        if finished {
            return Next::Ended;
        }
        if safe_until > self.inactive_until && safe_until < SessionTime::MAX {
            self.inactive_until = safe_until;
            self.builder.set_least_begin(safe_until.as_ns());
            return Next::InactiveUntil(safe_until.as_ns());
        }
        Next::NotYet
    }

    /// Takes in records until the packet is full or there are no more.
    fn collect(&mut self) {
        loop {
            match self.viewer.next_record() {
                Ok(Some(record)) => self.builder.push(&record),
                Ok(None) => return,
                // Its writer is this process; a packet that contradicts itself counts as lost.
                Err(_) => {
                    self.viewer.skip_packet();
                    return;
                }
            }
            // A record of the largest kind may come in addition: packets have no fixed size.
            if self.builder.is_full_for(0) {
                return;
            }
        }
    }

    fn take_packet(&mut self) -> PacketIndex {
        let packet = &mut self.packet;
        packet.clear();
        self.builder.take(|bytes| packet.extend_from_slice(bytes));
        PacketHeader::read_from_prefix(packet).map_or_else(
            |_| PacketIndex::default(),
            |(header, _)| PacketIndex {
                packet_size_bits: header.packet_size_bits,
                content_size_bits: header.content_size_bits,
                timestamp_begin: header.timestamp_begin_ns,
                timestamp_end: header.timestamp_end_ns,
                events_discarded: header.events_discarded,
            },
        )
    }
}
