//! A ring's owner.

use crate::config::RingConfig;
use crate::lane::{LaneShared, Sleeper};
use crate::layout::Layout;
use crate::metadata::MetadataWriter;
use crate::page::RecorderPage;
use crate::protocol::StoreWord;
use crate::reader::RingReader;
use crate::recorder::Recorder;
use crate::shm::SharedMemory;
use crate::wake::{Wake, WakeKind};
use crate::writer::LaneWriter;
use crate::{Error, Result};
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// A ring in shared memory, as its owner has it: makes lane writers, takes
/// metadata, lets readers come and go. Cheap to clone; all clones are one ring.
#[derive(Clone, Debug)]
pub struct Ring(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    memory: Arc<SharedMemory>,
    layout: Arc<Layout>,
    metadata: Mutex<MetadataWriter>,
    lanes: Vec<Arc<LaneShared>>,
    prefault: bool,
    recorders: AtomicUsize,
    next_id: AtomicU64,
}

/// Where a reader begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Start {
    /// With the oldest packet that is still there.
    #[default]
    Oldest,
    /// With the packet that is being written.
    Current,
}

/// How a recorder wants to be attached.
#[derive(Clone, Copy, Debug)]
pub struct RecorderOptions {
    /// Where it begins.
    pub start: Start,
    /// Wake it when so many closed packets of a lane wait for it, or on flush.
    pub watermark_packets: u64,
    /// How it is woken.
    pub wake: WakeKind,
}

impl Default for RecorderOptions {
    /// From the oldest packet on, woken for each packet through an eventfd.
    fn default() -> Self {
        RecorderOptions {
            start: Start::Oldest,
            watermark_packets: 1,
            wake: WakeKind::Eventfd,
        }
    }
}

impl Ring {
    /// Makes a ring: one memfd, sized, sealed against growing, shrinking and any other writer.
    ///
    /// Minimum kernel version: 5.1 (`F_SEAL_FUTURE_WRITE`).
    ///
    /// # Errors
    ///
    /// A configuration out of bounds, or the kernel's refusal.
    pub fn create(config: &RingConfig) -> Result<Ring> {
        let layout = Layout::plan(config)?;
        let memory = SharedMemory::create_owned("kstrace-ring", layout.total_bytes)?;
        let header = layout.header();
        memory
            .take_bytes(0, header.len().next_multiple_of(8))
            .write(0, &header);
        let lanes = layout
            .lanes
            .iter()
            .map(|l| Arc::new(LaneShared::new(l.geometry)))
            .collect();
        Ok(Ring(Arc::new(Inner {
            metadata: Mutex::new(MetadataWriter::new(&memory, &layout)),
            memory,
            layout: Arc::new(layout),
            lanes,
            prefault: config.prefault,
            recorders: AtomicUsize::new(0),
            next_id: AtomicU64::new(1),
        })))
    }

    /// The memfd, to be passed to readers; nobody can write through it any more.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.0.memory.fd()
    }

    /// Where everything lies.
    pub fn layout(&self) -> &Layout {
        &self.0.layout
    }

    /// Number of lanes.
    pub fn lanes(&self) -> usize {
        self.0.lanes.len()
    }

    /// The lane's writer; can be had once.
    ///
    /// # Errors
    ///
    /// No such lane, or its writer was taken before.
    pub fn lane_writer(&self, lane: usize) -> Result<LaneWriter> {
        let inner = &self.0;
        let (layout, shared) = match (inner.layout.lanes.get(lane), inner.lanes.get(lane)) {
            (Some(layout), Some(shared)) => (*layout, Arc::clone(shared)),
            _ => {
                return Err(Error::NoSuchLane {
                    lane,
                    lanes: self.lanes(),
                });
            }
        };
        LaneWriter::new(
            &inner.memory,
            layout,
            inner.layout.session_uuid,
            shared,
            inner.prefault,
        )
    }

    /// Adds a fragment of metadata; readers see it whole or not at all.
    ///
    /// # Errors
    ///
    /// It does not fit.
    pub fn append_metadata(&self, fragment: &[u8]) -> Result<()> {
        self.0
            .metadata
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .append(fragment)
    }

    /// A reader of this ring in this process.
    pub fn reader(&self) -> RingReader {
        RingReader::of(&self.0.memory, &self.0.layout)
    }

    /// Attaches a recorder to all lanes, at once or while they are written.
    ///
    /// # Errors
    ///
    /// All slots are in use, or the kernel's refusal.
    pub fn attach_recorder(&self, options: RecorderOptions) -> Result<RecorderSlot> {
        let inner = &self.0;
        let place = Place::take(inner)?;
        // From here on dropping the slot detaches and gives the place back.
        let slot = RecorderSlot {
            id: inner.next_id.fetch_add(1, Ordering::Relaxed),
            page: RecorderPage::create(self.lanes())?,
            wake: Arc::new(Wake::new(options.wake)?),
            taken: Mutex::new(vec![false; self.lanes()]),
            place,
        };
        let reader = self.reader();
        for (lane, shared) in inner.lanes.iter().enumerate() {
            let geometry = inner.layout.lanes[lane].geometry;
            let lane_reader = reader.lane(lane)?;
            // While the lock is held the writer reuses no sub-buffer.
            let mut state = shared.lock();
            let first = match options.start {
                Start::Oldest => lane_reader.oldest_packet(),
                Start::Current => geometry.packet_of(lane_reader.committed()),
            };
            let position = slot.page.position(lane);
            position.store_relaxed(geometry.position_of(first));
            state.holders.attach(slot.id, position, first);
            state.sleepers.push(Sleeper {
                id: slot.id,
                wake: Arc::clone(&slot.wake),
                watermark_packets: Some(options.watermark_packets.max(1)),
            });
        }
        Ok(slot)
    }

    /// A wake-up line for viewers: signalled when a packet is closed, on flush and on notify.
    ///
    /// # Errors
    ///
    /// The kernel's refusal.
    pub fn attach_viewer_wake(&self, kind: WakeKind) -> Result<ViewerWake> {
        let wake = Arc::new(Wake::new(kind)?);
        let id = self.0.next_id.fetch_add(1, Ordering::Relaxed);
        for shared in &self.0.lanes {
            shared.lock().sleepers.push(Sleeper {
                id,
                wake: Arc::clone(&wake),
                watermark_packets: None,
            });
        }
        Ok(ViewerWake {
            inner: Arc::clone(&self.0),
            id,
            wake,
        })
    }
}

impl Inner {
    fn detach(&self, id: u64) {
        for shared in &self.lanes {
            let mut state = shared.lock();
            state.holders.detach(id);
            state.sleepers.retain(|s| s.id != id);
        }
    }
}

/// One of the ring's recorder slots.
#[derive(Debug)]
struct Place(Arc<Inner>);

impl Place {
    fn take(inner: &Arc<Inner>) -> Result<Place> {
        let slots = inner.layout.recorder_slots;
        inner
            .recorders
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| {
                (n < slots).then_some(n + 1)
            })
            .map_err(|_| Error::RecorderSlotsFull { slots })?;
        Ok(Place(Arc::clone(inner)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.recorders.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A recorder's place in the ring. What it holds is held until the slot is
/// dropped, which the owner does when the recorder is done or dead.
#[derive(Debug)]
pub struct RecorderSlot {
    id: u64,
    page: RecorderPage,
    wake: Arc<Wake>,
    taken: Mutex<Vec<bool>>,
    place: Place,
}

impl RecorderSlot {
    /// The recorder of one lane, for a thread of this process; can be had once.
    ///
    /// # Errors
    ///
    /// No such lane, or it was taken before.
    pub fn recorder(&self, lane: usize) -> Result<Recorder> {
        let inner = &self.place.0;
        let reader = RingReader::of(&inner.memory, &inner.layout).lane(lane)?;
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        match taken.get_mut(lane) {
            Some(taken) if !*taken => *taken = true,
            _ => {
                return Err(Error::Taken {
                    what: "recorder",
                    lane,
                });
            }
        }
        Ok(Recorder::new(reader, self.page.position(lane)))
    }

    /// The memfd of the recorder's page, for a recorder in another process,
    /// which opens it with [`RemoteRecorder::open`](crate::RemoteRecorder::open).
    pub fn page_fd(&self) -> BorrowedFd<'_> {
        self.page.fd()
    }

    /// The descriptor to poll for wake-ups.
    pub fn wake_fd(&self) -> BorrowedFd<'_> {
        self.wake.fd()
    }

    /// Takes the wake-ups that have come, before looking for packets.
    pub fn clear_wake(&self) {
        self.wake.clear();
    }
}

impl Drop for RecorderSlot {
    fn drop(&mut self) {
        self.place.0.detach(self.id);
    }
}

/// A viewer's wake-up line; gone when dropped.
#[derive(Debug)]
pub struct ViewerWake {
    inner: Arc<Inner>,
    id: u64,
    wake: Arc<Wake>,
}

impl ViewerWake {
    /// The descriptor to poll for wake-ups.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.wake.fd()
    }

    /// Takes the wake-ups that have come, before looking for records.
    pub fn clear(&self) {
        self.wake.clear();
    }
}

impl Drop for ViewerWake {
    fn drop(&mut self) {
        self.inner.detach(self.id);
    }
}
