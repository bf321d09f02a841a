//! What a lane's writer, its ring and its recorders share within one process.

use crate::protocol::{Geometry, Holders};
use crate::shm::PeerWord;
use crate::wake::Wake;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Whom to wake, and when.
#[derive(Debug)]
pub(crate) struct Sleeper {
    pub(crate) id: u64,
    pub(crate) wake: Arc<Wake>,
    /// Closed packets that must be waiting; `None` for a viewer, which wants to know of each.
    pub(crate) watermark_packets: Option<u64>,
}

#[derive(Debug)]
pub(crate) struct LaneState {
    pub(crate) holders: Holders<PeerWord>,
    pub(crate) sleepers: Vec<Sleeper>,
    pub(crate) writer_taken: bool,
}

impl LaneState {
    /// A packet was closed: wakes whoever waited for so many.
    pub(crate) fn wake_at_watermark(&mut self, closed_packets: u64) {
        if self.sleepers.is_empty() {
            return;
        }
        self.holders.held_from(closed_packets);
        for s in &self.sleepers {
            let waiting = self.holders.outstanding(s.id, closed_packets);
            if s.watermark_packets.is_none_or(|w| waiting >= w) {
                s.wake.signal();
            }
        }
    }

    /// The latency bound has come: wakes whoever has anything to read.
    pub(crate) fn wake_all(&mut self, closed_packets: u64) {
        if self.sleepers.is_empty() {
            return;
        }
        self.holders.held_from(closed_packets);
        for s in &self.sleepers {
            let waiting = self.holders.outstanding(s.id, closed_packets);
            if s.watermark_packets.is_none() || waiting > 0 {
                s.wake.signal();
            }
        }
    }

    /// Wakes everybody: the lane is finished.
    pub(crate) fn wake_for_end(&self) {
        for s in &self.sleepers {
            s.wake.signal();
        }
    }

    /// Wakes viewers: records were published.
    pub(crate) fn wake_viewers(&self) {
        for s in self
            .sleepers
            .iter()
            .filter(|s| s.watermark_packets.is_none())
        {
            s.wake.signal();
        }
    }
}

/// The part of a lane that is not in shared memory. The mutex is held by the
/// writer for some instructions a packet, and by the ring while a reader comes or goes.
#[derive(Debug)]
pub(crate) struct LaneShared(Mutex<LaneState>);

impl LaneShared {
    pub(crate) fn new(geometry: Geometry) -> Self {
        LaneShared(Mutex::new(LaneState {
            holders: Holders::new(geometry),
            sleepers: Vec::new(),
            writer_taken: false,
        }))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, LaneState> {
        // Nothing in the state can be left half-done by a panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
