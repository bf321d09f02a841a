//! A recorder's page: the one piece of memory that a consumer writes.
//!
//! A header of 64 bytes, then one position a lane, each with a cache line to
//! itself. The writer believes none of it, see [`Holders`](crate::protocol::Holders).

use crate::protocol::{LoadWord, StoreWord};
use crate::shm::{PeerWord, SharedMemory};
use crate::{Error, Result};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;

/// First bytes of a recorder's page.
pub(crate) const RECORDER_MAGIC: [u8; 8] = *b"KSTRRCDR";
/// Where the positions begin, and how far apart they are.
pub(crate) const POSITION_STRIDE_BYTES: usize = 64;

/// Offset of the version: major in the low half, minor in the high half of a `u32`, then the number of lanes.
const VERSION_AND_LANES: usize = 8;

/// One recorder's page.
#[derive(Clone, Debug)]
pub(crate) struct RecorderPage {
    memory: Arc<SharedMemory>,
}

impl RecorderPage {
    pub(crate) fn create(lanes: usize) -> Result<Self> {
        let bytes = ((lanes + 1) * POSITION_STRIDE_BYTES).next_multiple_of(4096);
        let memory = SharedMemory::create_peer("kstrace-recorder", bytes)?;
        memory
            .peer_word(0)
            .store_relaxed(u64::from_ne_bytes(RECORDER_MAGIC));
        memory
            .peer_word(VERSION_AND_LANES)
            .store_relaxed(version_and_lanes(lanes));
        Ok(RecorderPage { memory })
    }

    pub(crate) fn open(fd: OwnedFd, lanes: usize) -> Result<Self> {
        let memory = SharedMemory::open_peer(fd)?;
        let needed = (lanes + 1) * POSITION_STRIDE_BYTES;
        let wrong = |field, value, allowed: u64| Error::RecorderPage {
            field,
            value,
            allowed: allowed.to_string(),
        };
        if memory.bytes() < needed {
            return Err(wrong("size", memory.bytes() as u64, needed as u64));
        }
        let magic = memory.peer_word(0).load_relaxed();
        let right = u64::from_ne_bytes(RECORDER_MAGIC);
        if magic != right {
            return Err(wrong("magic", magic, right));
        }
        let found = memory.peer_word(VERSION_AND_LANES).load_relaxed();
        if found != version_and_lanes(lanes) {
            return Err(wrong("version and lanes", found, version_and_lanes(lanes)));
        }
        Ok(RecorderPage { memory })
    }

    /// The position of a lane.
    pub(crate) fn position(&self, lane: usize) -> PeerWord {
        self.memory.peer_word((lane + 1) * POSITION_STRIDE_BYTES)
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.memory.fd()
    }
}

fn version_and_lanes(lanes: usize) -> u64 {
    let mut bytes = [0; 8];
    bytes[..2].copy_from_slice(&crate::layout::ABI_MAJOR.to_ne_bytes());
    bytes[2..4].copy_from_slice(&0u16.to_ne_bytes());
    bytes[4..].copy_from_slice(&(lanes as u32).to_ne_bytes());
    u64::from_ne_bytes(bytes)
}
