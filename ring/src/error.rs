//! What can go wrong with a ring.

use std::io;

/// An error of the ring. Every variant says what was found and what is allowed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A configuration that no ring can have.
    #[error("ring configuration: {field} is {value}, allowed: {allowed}")]
    Config {
        /// The field of [`RingConfig`](crate::RingConfig) or [`LaneConfig`](crate::LaneConfig).
        field: &'static str,
        /// What it is.
        value: String,
        /// What it may be.
        allowed: String,
    },
    /// The superblock or a lane descriptor of a mapping is not one that can be read.
    #[error("ring header: {field} at offset {offset} is {value}, allowed: {allowed}")]
    Layout {
        /// The field, as `schema/v1/ring.md` names it.
        field: &'static str,
        /// Bytes from the start of the mapping.
        offset: u64,
        /// What it is.
        value: String,
        /// What it may be.
        allowed: String,
    },
    /// The ring speaks another major version of the layout.
    #[error(
        "ring header: layout version {major}.{minor} is not understood, allowed: {supported}.x; \
         use a kstrace of the ring's own version"
    )]
    UnsupportedMajor {
        /// The ring's major version.
        major: u16,
        /// The ring's minor version.
        minor: u16,
        /// The major version that this library reads.
        supported: u16,
    },
    /// The file descriptor is not sealed, so its size could change under the reader.
    #[error(
        "shared memory has the seals {found:#x}, needed: at least {needed:#x} (shrink and grow)"
    )]
    NotSealed {
        /// `F_GET_SEALS`.
        found: u32,
        /// What must be among them.
        needed: u32,
    },
    /// There is no such lane.
    #[error("lane {lane} does not exist, the ring has {lanes}")]
    NoSuchLane {
        /// The lane asked for.
        lane: usize,
        /// How many there are.
        lanes: usize,
    },
    /// The lane's one writer, or a recorder of this slot on it, was already taken.
    #[error("the {what} of lane {lane} was already taken")]
    Taken {
        /// What was asked for.
        what: &'static str,
        /// The lane.
        lane: usize,
    },
    /// All recorder slots are in use.
    #[error("all {slots} recorder slots are in use")]
    RecorderSlotsFull {
        /// How many there are.
        slots: usize,
    },
    /// The metadata lane cannot take the fragment.
    #[error("metadata fragment needs {needed} bytes, {free} of {capacity} are free")]
    MetadataFull {
        /// Bytes with frame and padding.
        needed: usize,
        /// Bytes left.
        free: usize,
        /// Bytes in all.
        capacity: usize,
    },
    /// A packet, a record or a metadata frame contradicts itself.
    #[error("lane {lane}, packet {packet}: {field} is {value}, allowed: {allowed}")]
    Corrupt {
        /// The lane; `u64::MAX` for the metadata lane.
        lane: u64,
        /// Sequence number of the packet, or offset in the metadata lane.
        packet: u64,
        /// The field.
        field: &'static str,
        /// What it is.
        value: u64,
        /// What it may be.
        allowed: String,
    },
    /// The recorder was detached by the ring's owner, and the packet has been overwritten since.
    #[error("lane {lane}, packet {packet}: overwritten since this recorder was detached")]
    Detached {
        /// The lane.
        lane: u64,
        /// The packet's sequence number.
        packet: u64,
    },
    /// A recorder's page does not fit this ring.
    #[error("recorder page: {field} is {value}, allowed: {allowed}")]
    RecorderPage {
        /// The field, as `schema/v1/ring.md` names it.
        field: &'static str,
        /// What it is.
        value: u64,
        /// What it may be.
        allowed: String,
    },
    /// The kernel refused.
    #[error("{call}: {source}")]
    System {
        /// The system call.
        call: &'static str,
        /// Its error.
        source: io::Error,
    },
}

impl Error {
    pub(crate) fn system(call: &'static str, errno: nix::Error) -> Self {
        Error::System {
            call,
            source: errno.into(),
        }
    }
}

/// The ring's results.
pub type Result<T, E = Error> = std::result::Result<T, E>;
