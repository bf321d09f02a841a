//! The kstrace ring: one memfd a session, one writer a lane, any number of readers.
//!
//! ```text
//! owner    Ring::create(&RingConfig) -> Ring              memfd, sealed
//!          ring.append_metadata(&[u8])                    schema fragments, opaque here
//!          ring.lane_writer(lane) -> LaneWriter           once a lane, Send
//!            append(class, rest_len, time, payload) -> Append     hot path, no syscall
//!            publish() flush() notify() finish() set_safe_until(time) note_lost(n)
//!            has_room(bytes) free_sub_buffers() stats() reader()
//!            drain_closed(|packet: &[u8]| Result<(), E>)  inline recording, no copy
//!          ring.attach_recorder(RecorderOptions) -> RecorderSlot  (drop = detach)
//!            slot.recorder(lane) -> Recorder              in this process
//!            slot.page_fd() slot.wake_fd() ring.fd()      for another: RemoteRecorder::open
//!          ring.attach_viewer_wake(WakeKind) -> ViewerWake
//!
//! reader   ring.reader() | RingReader::open(fd) -> RingReader     mapped read-only
//!            metadata() -> MetadataReader: next_fragment()
//!            lane(i) -> LaneReader: snapshot(), stats(), safe_until(), is_finished()
//!            Viewer::new(lane, Start) -> next_record() | for_each(..), lost()
//!            MergingViewer::new(&reader, Start) -> next_record(), lost()
//!          Recorder: next_packet() -> Option<PacketRef>: header(), copy_into(&mut Vec), release()
//! ```
//!
//! A lane is a circle of sub-buffers, and a sub-buffer is a CTF packet, so that
//! recording is copying packets as they are. The writer owns its lane and makes
//! one release store a batch; it never waits for a reader. A *recorder* is never
//! overrun: what it has not released is not overwritten, and new records are
//! dropped and counted instead. A *viewer* holds nothing, notices when it is
//! lapped, and counts its own loss exactly.
//!
//! Layout and rules of ordering are specified in `schema/v1/ring.md`.
//! [`protocol`] is the same in code, apart from the memory, and is model-checked.

mod config;
mod error;
mod lane;
pub mod layout;
mod merge;
mod metadata;
mod page;
#[doc(hidden)]
pub mod protocol;
mod reader;
mod recorder;
mod ring;
mod shm;
mod snapshot;
mod stats;
mod sync;
mod viewer;
mod wake;
mod writer;

pub use config::{
    DEFAULT_SUB_BUFFER_BYTES, LaneConfig, MAX_LANES, MAX_RECORDER_SLOTS, MAX_SUB_BUFFER_BYTES,
    MAX_SUB_BUFFERS, MIN_SUB_BUFFER_BYTES, Mode, RingClock, RingConfig,
};
pub use error::{Error, Result};
pub use layout::Layout;
pub use merge::MergingViewer;
pub use metadata::MetadataReader;
pub use reader::{LaneReader, RingReader};
pub use recorder::{PacketRef, Recorder, RemoteRecorder};
pub use ring::{RecorderOptions, RecorderSlot, Ring, Start, ViewerWake};
pub use snapshot::Snapshot;
pub use stats::LaneStats;
pub use viewer::Viewer;
pub use wake::WakeKind;
pub use writer::{Append, LaneWriter};
