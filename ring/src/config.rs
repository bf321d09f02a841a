//! What a ring is to look like.

use crate::{Error, Result};
use kstrace_schema::wire::PACKET_HEADER_BYTES;
use kstrace_schema::{ClockKind, Cpu};

/// The smallest sub-buffer there can be.
pub const MIN_SUB_BUFFER_BYTES: usize = 4096;
/// The largest sub-buffer there can be.
pub const MAX_SUB_BUFFER_BYTES: usize = 1 << 30;
/// The sub-buffer that [`LaneConfig::new`] chooses: holds the largest record perf
/// can make (64 KiB with its header, `perf_event_header::size` being 16 bits wide).
pub const DEFAULT_SUB_BUFFER_BYTES: usize = 128 << 10;
/// The most lanes a ring can have.
pub const MAX_LANES: usize = 8192;
/// The most recorder slots a ring can have.
pub const MAX_RECORDER_SLOTS: usize = 64;
/// The most sub-buffers a lane can have.
pub const MAX_SUB_BUFFERS: usize = 1 << 20;

/// What a lane does when it is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Mode {
    /// New records are dropped and counted. Space comes free only when every
    /// attached recorder has released it; a lane without a recorder fills up
    /// and keeps what it has.
    #[default]
    Discard,
    /// The flight recorder: the oldest packet goes and its records are counted,
    /// unless an attached recorder still holds it; then as `Discard`.
    Overwrite,
}

/// One lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaneConfig {
    /// The CPU of its records, [`Cpu::NONE`] for none.
    pub cpu: Cpu,
    /// What it does when it is full.
    pub mode: Mode,
    /// Size of a sub-buffer in bytes, which is the largest packet: a power of
    /// two from [`MIN_SUB_BUFFER_BYTES`] to [`MAX_SUB_BUFFER_BYTES`].
    pub sub_buffer_bytes: usize,
    /// How many: 2 to [`MAX_SUB_BUFFERS`].
    pub sub_buffers: usize,
}

impl LaneConfig {
    /// A lane of about `bytes` bytes in sub-buffers that hold every record perf or ftrace can make.
    pub fn new(cpu: Cpu, mode: Mode, bytes: usize) -> Self {
        LaneConfig {
            cpu,
            mode,
            sub_buffer_bytes: DEFAULT_SUB_BUFFER_BYTES,
            sub_buffers: (bytes / DEFAULT_SUB_BUFFER_BYTES).clamp(2, MAX_SUB_BUFFERS),
        }
    }

    /// The largest payload that fits in a record of this lane.
    pub fn max_payload_bytes(&self) -> usize {
        self.sub_buffer_bytes - PACKET_HEADER_BYTES - kstrace_schema::wire::RECORD_HEADER_BYTES
    }

    fn check(&self) -> Result<()> {
        if !self.sub_buffer_bytes.is_power_of_two()
            || !(MIN_SUB_BUFFER_BYTES..=MAX_SUB_BUFFER_BYTES).contains(&self.sub_buffer_bytes)
        {
            return Err(Error::Config {
                field: "sub_buffer_bytes",
                value: self.sub_buffer_bytes.to_string(),
                allowed: format!(
                    "a power of two from {MIN_SUB_BUFFER_BYTES} to {MAX_SUB_BUFFER_BYTES}"
                ),
            });
        }
        if !(2..=MAX_SUB_BUFFERS).contains(&self.sub_buffers) {
            return Err(Error::Config {
                field: "sub_buffers",
                value: self.sub_buffers.to_string(),
                allowed: format!("2 to {MAX_SUB_BUFFERS}"),
            });
        }
        Ok(())
    }
}

/// The session clock, as the superblock states it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct RingClock {
    /// Which clock; never [`ClockKind::Tsc`], as times are nanoseconds.
    pub kind: ClockKind,
    /// `CLOCK_REALTIME` less the session clock, in nanoseconds.
    pub offset_to_realtime_ns: i64,
}

/// A whole ring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RingConfig {
    /// The session's UUID in network order.
    pub session_uuid: [u8; 16],
    /// The session clock.
    pub clock: RingClock,
    /// The lanes; a lane's place in this list is its number.
    pub lanes: Vec<LaneConfig>,
    /// Room for metadata in bytes; memory is taken only as it fills.
    pub metadata_bytes: usize,
    /// How many recorders can be attached at a time.
    pub recorder_slots: usize,
    /// Take the lanes' memory at once rather than at first use.
    pub prefault: bool,
}

impl RingConfig {
    /// A ring of those lanes with 32 MiB of room for metadata and 8 recorder slots.
    pub fn new(session_uuid: [u8; 16], clock: RingClock, lanes: Vec<LaneConfig>) -> Self {
        RingConfig {
            session_uuid,
            clock,
            lanes,
            metadata_bytes: 32 << 20,
            recorder_slots: 8,
            prefault: false,
        }
    }

    pub(crate) fn check(&self) -> Result<()> {
        if !(1..=MAX_LANES).contains(&self.lanes.len()) {
            return Err(Error::Config {
                field: "lanes",
                value: self.lanes.len().to_string(),
                allowed: format!("1 to {MAX_LANES}"),
            });
        }
        if self.recorder_slots > MAX_RECORDER_SLOTS {
            return Err(Error::Config {
                field: "recorder_slots",
                value: self.recorder_slots.to_string(),
                allowed: format!("0 to {MAX_RECORDER_SLOTS}"),
            });
        }
        if self.clock.kind == ClockKind::Tsc {
            return Err(Error::Config {
                field: "clock.kind",
                value: self.clock.kind.to_string(),
                allowed: "a clock that counts nanoseconds".to_owned(),
            });
        }
        if !(64..=1 << 30).contains(&self.metadata_bytes) {
            return Err(Error::Config {
                field: "metadata_bytes",
                value: self.metadata_bytes.to_string(),
                allowed: "64 to 1073741824".to_owned(),
            });
        }
        self.lanes.iter().try_for_each(LaneConfig::check)
    }
}
