//! The layout of the mapping: superblock, lane descriptors, and where everything lies.
//!
//! Normative text: `schema/v1/ring.md`. [`Layout::parse`] is a pure function of
//! bytes, so that hostile ones can be tried on it.

use crate::config::{
    MAX_LANES, MAX_RECORDER_SLOTS, MAX_SUB_BUFFER_BYTES, MAX_SUB_BUFFERS, MIN_SUB_BUFFER_BYTES,
    Mode, RingClock, RingConfig,
};
use crate::protocol::Geometry;
use crate::{Error, Result};
use kstrace_schema::wire::{PACKET_HEADER_BYTES, RECORD_ALIGN_BYTES, RECORD_HEADER_BYTES};
use kstrace_schema::{ClockKind, Cpu};
use std::mem::offset_of;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// First bytes of every ring.
pub const MAGIC: [u8; 8] = *b"KSTRRING";
/// As the machine that made the ring stores it.
pub const BYTE_ORDER_MARK: u32 = 0x0A0B_0C0D;
/// Major version of the layout; another one cannot be read.
pub const ABI_MAJOR: u16 = 1;
/// Minor version of the layout; a higher one only adds.
pub const ABI_MINOR: u16 = 0;

/// Size of [`Superblock`].
pub const SUPERBLOCK_BYTES: usize = size_of::<Superblock>();
/// Size of [`LaneDescriptor`].
pub const LANE_DESCRIPTOR_BYTES: usize = size_of::<LaneDescriptor>();
/// Distance from one lane's control block to the next.
pub const LANE_CONTROL_BYTES: usize = 512;
/// Size of the metadata lane's control block.
pub const METADATA_CONTROL_BYTES: usize = 64;
/// Size of an entry of a lane's packet index.
pub const PACKET_INDEX_ENTRY_BYTES: usize = 8;
/// The longest header (superblock and lane descriptors) that is read.
pub const MAX_HEADER_BYTES: usize = 4 << 20;

/// Everything of the mapping's areas begins at a multiple of this.
const AREA_ALIGN: u64 = 64;
const PAGE: u64 = 4096;

/// Offsets within a lane's control block. Each word group has cache lines to
/// itself; all are written by the lane's writer alone.
pub mod control {
    /// `committed`: the position before which everything is written.
    pub const COMMITTED: usize = 0;
    /// `oldest_packet`: no packet before it is whole any more.
    pub const OLDEST_PACKET: usize = 128;
    /// `safe_until_ns`: no record older than this will come.
    pub const SAFE_UNTIL: usize = 192;
    /// `state`: [`FINISHED`] once the writer is done.
    pub const STATE: usize = 256;
    /// Records written.
    pub const WRITTEN: usize = 320;
    /// Records dropped because the lane was full.
    pub const DROPPED_RING_FULL: usize = 328;
    /// Records dropped because they are larger than a packet.
    pub const DROPPED_TOO_BIG: usize = 336;
    /// Records lost at hops before the ring, as the writer was told.
    pub const LOST_EARLIER: usize = 344;
    /// Records in packets that were overwritten and never recorded.
    pub const OVERWRITTEN_RECORDS: usize = 352;
    /// Packets that were overwritten and never recorded.
    pub const OVERWRITTEN_PACKETS: usize = 360;
    /// Records whose time was raised to the one before.
    pub const LATE: usize = 368;
    /// Packets closed.
    pub const PACKETS: usize = 376;

    /// Bit of `state`: nothing more will come.
    pub const FINISHED: u64 = 1;
}

/// The first 256 bytes of the mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Superblock {
    /// [`MAGIC`].
    pub magic: [u8; 8],
    /// [`BYTE_ORDER_MARK`].
    pub byte_order: u32,
    /// [`ABI_MAJOR`].
    pub abi_major: u16,
    /// [`ABI_MINOR`].
    pub abi_minor: u16,
    /// Superblock and lane descriptors.
    pub header_len: u32,
    /// This structure; longer in a later minor.
    pub superblock_len: u32,
    /// Features a reader must know; none yet.
    pub features_required: u64,
    /// Features a reader may ignore; none yet.
    pub features_optional: u64,
    /// The whole mapping.
    pub total_len: u64,
    /// The session's UUID in network order.
    pub session_uuid: [u8; 16],
    /// The session clock as Linux numbers it (`CLOCK_MONOTONIC` is 1).
    pub clock_id: u32,
    /// Zero.
    pub reserved_68: u32,
    /// `CLOCK_REALTIME` less the session clock, ns.
    pub clock_offset_to_realtime_ns: i64,
    /// Number of lanes.
    pub lane_count: u32,
    /// Distance between lane descriptors.
    pub lane_descriptor_stride: u32,
    /// Where lane descriptors begin.
    pub lane_descriptors_offset: u64,
    /// Where lane control blocks begin.
    pub lane_controls_offset: u64,
    /// Distance between lane control blocks.
    pub lane_control_stride: u64,
    /// Where the metadata lane's control block is.
    pub metadata_control_offset: u64,
    /// Where the metadata lane's bytes begin.
    pub metadata_offset: u64,
    /// Room of the metadata lane.
    pub metadata_capacity: u64,
    /// 88.
    pub packet_header_len: u32,
    /// 16.
    pub record_header_len: u32,
    /// 8.
    pub record_align: u32,
    /// How many recorders can be attached at a time; for information.
    pub recorder_slots: u32,
    /// Zero.
    pub reserved_152: [u8; 104],
}

/// What is fixed about a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct LaneDescriptor {
    /// Where its first sub-buffer begins.
    pub data_offset: u64,
    /// Size of a sub-buffer.
    pub sub_buffer_len: u64,
    /// Number of sub-buffers.
    pub sub_buffer_count: u64,
    /// Where its packet index begins.
    pub packet_index_offset: u64,
    /// Distance between entries of the packet index.
    pub packet_index_stride: u32,
    /// The CPU, `u32::MAX` for none.
    pub cpu_id: u32,
    /// 0 discard, 1 overwrite.
    pub mode: u32,
    /// Zero.
    pub reserved_44: u32,
    /// Zero.
    pub reserved_48: [u8; 16],
}

/// A lane's place in the mapping, checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LaneLayout {
    /// Number of the lane.
    pub lane: u64,
    /// Its CPU.
    pub cpu: Cpu,
    /// What it does when it is full.
    pub mode: Mode,
    /// Shape of its circle.
    pub geometry: Geometry,
    /// Offset of its first sub-buffer.
    pub data_offset: usize,
    /// Offset of its packet index.
    pub packet_index_offset: usize,
    /// Distance between entries of its packet index.
    pub packet_index_stride: usize,
    /// Offset of its control block.
    pub control_offset: usize,
}

impl LaneLayout {
    /// Bytes of all its sub-buffers.
    pub fn data_bytes(&self) -> usize {
        (self.geometry.sub_buffer_bytes * self.geometry.sub_buffers) as usize
    }

    /// Offset in the mapping of a packet's sub-buffer.
    pub fn packet_offset(&self, packet: u64) -> usize {
        self.data_offset
            + (self.geometry.sub_buffer_of(packet) * self.geometry.sub_buffer_bytes) as usize
    }

    /// Offset in the mapping of a packet's entry in the packet index.
    pub fn index_offset(&self, packet: u64) -> usize {
        self.packet_index_offset
            + self.geometry.sub_buffer_of(packet) as usize * self.packet_index_stride
    }
}

/// The whole mapping, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Minor version of the ring's layout.
    pub abi_minor: u16,
    /// The session's UUID in network order.
    pub session_uuid: [u8; 16],
    /// The session clock.
    pub clock: RingClock,
    /// Features that may be ignored.
    pub features_optional: u64,
    /// How many recorders can be attached at a time.
    pub recorder_slots: usize,
    /// Bytes of superblock and lane descriptors.
    pub header_bytes: usize,
    /// Offset of the metadata lane's control block.
    pub metadata_control_offset: usize,
    /// Offset of the metadata lane's bytes.
    pub metadata_offset: usize,
    /// Room of the metadata lane.
    pub metadata_bytes: usize,
    /// The lanes by number.
    pub lanes: Vec<LaneLayout>,
    /// The whole mapping.
    pub total_bytes: usize,
}

/// The number by which Linux's `clock_gettime(2)` knows a clock.
fn clock_id(kind: ClockKind) -> u32 {
    match kind {
        ClockKind::Realtime => 0,
        ClockKind::Monotonic => 1,
        ClockKind::MonotonicRaw => 4,
        ClockKind::Boottime => 7,
        ClockKind::Tai => 11,
        ClockKind::Tsc | ClockKind::Sched | ClockKind::Foreign => u32::MAX,
    }
}

fn clock_kind(id: u32) -> Option<ClockKind> {
    [
        ClockKind::Realtime,
        ClockKind::Monotonic,
        ClockKind::MonotonicRaw,
        ClockKind::Boottime,
        ClockKind::Tai,
    ]
    .into_iter()
    .find(|k| clock_id(*k) == id)
}

fn too_large() -> Error {
    Error::Config {
        field: "lanes",
        value: "too many bytes in all".to_owned(),
        allowed: format!("up to {} bytes", isize::MAX),
    }
}

/// `area!(Superblock.field, offset of the structure, start, bytes)`
macro_rules! area {
    ($ty:ident.$field:ident, $base:expr, $start:expr, $bytes:expr) => {
        Area {
            start: $start as u64,
            bytes: $bytes as u64,
            field: stringify!($field),
            field_offset: $base + offset_of!($ty, $field),
        }
    };
}

impl Layout {
    /// Lays out a ring: header, metadata control, lane controls, packet indexes,
    /// metadata, lanes.
    pub(crate) fn plan(config: &RingConfig) -> Result<Layout> {
        config.check()?;
        let lane_count = config.lanes.len() as u64;
        let header = SUPERBLOCK_BYTES as u64 + LANE_DESCRIPTOR_BYTES as u64 * lane_count;
        // At most 8192 lanes of 2^20 sub-buffers of 2^30 bytes: 2^63, one too many for i64.
        let mut at = header.next_multiple_of(PAGE);
        let mut take = |bytes: u64, align: u64| -> Result<usize> {
            let start = at.next_multiple_of(align);
            at = start
                .checked_add(bytes)
                .filter(|e| *e < i64::MAX as u64 - PAGE)
                .ok_or_else(too_large)?;
            usize::try_from(start).map_err(|_| too_large())
        };
        let metadata_control_offset = take(METADATA_CONTROL_BYTES as u64, AREA_ALIGN)?;
        let controls = take(
            LANE_CONTROL_BYTES as u64 * lane_count,
            LANE_CONTROL_BYTES as u64,
        )?;
        let mut lanes = Vec::with_capacity(config.lanes.len());
        for (lane, c) in config.lanes.iter().enumerate() {
            let packet_index_offset = take(
                (PACKET_INDEX_ENTRY_BYTES * c.sub_buffers) as u64,
                AREA_ALIGN,
            )?;
            lanes.push(LaneLayout {
                lane: lane as u64,
                cpu: c.cpu,
                mode: c.mode,
                geometry: Geometry {
                    sub_buffer_bytes: c.sub_buffer_bytes as u64,
                    sub_buffers: c.sub_buffers as u64,
                },
                data_offset: 0,
                packet_index_offset,
                packet_index_stride: PACKET_INDEX_ENTRY_BYTES,
                control_offset: controls + lane * LANE_CONTROL_BYTES,
            });
        }
        let metadata_bytes = config.metadata_bytes.next_multiple_of(AREA_ALIGN as usize);
        let metadata_offset = take(metadata_bytes as u64, PAGE)?;
        for lane in &mut lanes {
            let g = lane.geometry;
            lane.data_offset = take(g.sub_buffer_bytes * g.sub_buffers, PAGE)?;
        }
        Ok(Layout {
            abi_minor: ABI_MINOR,
            session_uuid: config.session_uuid,
            clock: config.clock,
            features_optional: 0,
            recorder_slots: config.recorder_slots,
            header_bytes: header as usize,
            metadata_control_offset,
            metadata_offset,
            metadata_bytes,
            lanes,
            total_bytes: at.next_multiple_of(PAGE) as usize,
        })
    }

    /// The header's bytes.
    pub fn header(&self) -> Vec<u8> {
        let superblock = Superblock {
            magic: MAGIC,
            byte_order: BYTE_ORDER_MARK,
            abi_major: ABI_MAJOR,
            abi_minor: self.abi_minor,
            header_len: self.header_bytes as u32,
            superblock_len: SUPERBLOCK_BYTES as u32,
            features_required: 0,
            features_optional: self.features_optional,
            total_len: self.total_bytes as u64,
            session_uuid: self.session_uuid,
            clock_id: clock_id(self.clock.kind),
            reserved_68: 0,
            clock_offset_to_realtime_ns: self.clock.offset_to_realtime_ns,
            lane_count: self.lanes.len() as u32,
            lane_descriptor_stride: LANE_DESCRIPTOR_BYTES as u32,
            lane_descriptors_offset: SUPERBLOCK_BYTES as u64,
            lane_controls_offset: self.lanes.first().map_or(0, |l| l.control_offset as u64),
            lane_control_stride: LANE_CONTROL_BYTES as u64,
            metadata_control_offset: self.metadata_control_offset as u64,
            metadata_offset: self.metadata_offset as u64,
            metadata_capacity: self.metadata_bytes as u64,
            packet_header_len: PACKET_HEADER_BYTES as u32,
            record_header_len: RECORD_HEADER_BYTES as u32,
            record_align: RECORD_ALIGN_BYTES as u32,
            recorder_slots: self.recorder_slots as u32,
            reserved_152: [0; 104],
        };
        let mut bytes = superblock.as_bytes().to_vec();
        for lane in &self.lanes {
            let descriptor = LaneDescriptor {
                data_offset: lane.data_offset as u64,
                sub_buffer_len: lane.geometry.sub_buffer_bytes,
                sub_buffer_count: lane.geometry.sub_buffers,
                packet_index_offset: lane.packet_index_offset as u64,
                packet_index_stride: lane.packet_index_stride as u32,
                cpu_id: lane.cpu.0,
                mode: u32::from(lane.mode == Mode::Overwrite),
                reserved_44: 0,
                reserved_48: [0; 16],
            };
            bytes.extend_from_slice(descriptor.as_bytes());
        }
        bytes
    }

    /// Bytes of the header, from the first [`SUPERBLOCK_BYTES`] of a mapping:
    /// what [`Layout::parse`] needs to see. Checks only what says so.
    pub fn header_len(superblock: &[u8]) -> Result<usize> {
        let s = Check::identity(superblock)?;
        Ok(s.header_len as usize)
    }

    /// Checks a header and finds everything's place in a mapping of `mapping_len` bytes.
    ///
    /// `header` is a copy of the mapping's first [`Layout::header_len`] bytes.
    ///
    /// # Errors
    ///
    /// Names the first field that is not allowed, its value and what is.
    pub fn parse(header: &[u8], mapping_len: u64) -> Result<Layout> {
        let s = Check::identity(header)?;
        let check = Check {
            mapping_len,
            minor: s.abi_minor,
        };
        check.superblock(header, &s)?;
        let mut areas = vec![
            area!(Superblock.header_len, 0, 0, s.header_len),
            area!(
                Superblock.metadata_control_offset,
                0,
                s.metadata_control_offset,
                METADATA_CONTROL_BYTES
            ),
            area!(
                Superblock.metadata_offset,
                0,
                s.metadata_offset,
                s.metadata_capacity
            ),
        ];
        let mut lanes = Vec::with_capacity(s.lane_count as usize);
        for lane in 0..u64::from(s.lane_count) {
            let at =
                (s.lane_descriptors_offset + lane * u64::from(s.lane_descriptor_stride)) as usize;
            let (descriptor, _) = header
                .get(at..)
                .and_then(|b| LaneDescriptor::read_from_prefix(b).ok())
                .ok_or_else(|| {
                    bad(
                        "header_len",
                        16,
                        s.header_len,
                        "room for every lane descriptor",
                    )
                })?;
            let layout = check.lane(&s, lane, at as u64, &descriptor)?;
            let index = layout.packet_index_stride as u64 * layout.geometry.sub_buffers;
            areas.extend([
                area!(
                    LaneDescriptor.data_offset,
                    at,
                    layout.data_offset,
                    layout.data_bytes()
                ),
                area!(
                    LaneDescriptor.packet_index_offset,
                    at,
                    layout.packet_index_offset,
                    index
                ),
                area!(
                    Superblock.lane_controls_offset,
                    0,
                    layout.control_offset,
                    control::PACKETS + 8
                ),
            ]);
            lanes.push(layout);
        }
        check.areas(&mut areas)?;
        Ok(Layout {
            abi_minor: s.abi_minor,
            session_uuid: s.session_uuid,
            clock: RingClock {
                kind: clock_kind(s.clock_id).unwrap_or_default(),
                offset_to_realtime_ns: s.clock_offset_to_realtime_ns,
            },
            features_optional: s.features_optional,
            recorder_slots: s.recorder_slots as usize,
            header_bytes: s.header_len as usize,
            metadata_control_offset: s.metadata_control_offset as usize,
            metadata_offset: s.metadata_offset as usize,
            metadata_bytes: s.metadata_capacity as usize,
            lanes,
            total_bytes: s.total_len as usize,
        })
    }
}

fn bad(
    field: &'static str,
    offset: usize,
    value: impl std::fmt::Display,
    allowed: impl Into<String>,
) -> Error {
    Error::Layout {
        field,
        offset: offset as u64,
        value: value.to_string(),
        allowed: allowed.into(),
    }
}

/// `require!(s.field in Superblock, condition, "what is allowed")`
macro_rules! require {
    ($s:ident.$field:ident in $ty:ty, $base:expr, $ok:expr, $allowed:expr) => {
        if !$ok {
            return Err(bad(
                stringify!($field),
                $base as usize + offset_of!($ty, $field),
                $s.$field,
                $allowed,
            ));
        }
    };
}

/// A stretch of the mapping, and the field that places it.
struct Area {
    start: u64,
    bytes: u64,
    field: &'static str,
    field_offset: usize,
}

struct Check {
    mapping_len: u64,
    minor: u16,
}

impl Check {
    /// What must hold before any other field means anything.
    fn identity(header: &[u8]) -> Result<Superblock> {
        let Ok((s, _)) = Superblock::read_from_prefix(header) else {
            return Err(bad(
                "superblock_len",
                offset_of!(Superblock, superblock_len),
                header.len(),
                format!("at least {SUPERBLOCK_BYTES} bytes"),
            ));
        };
        if s.magic != MAGIC {
            return Err(bad(
                "magic",
                0,
                format!("{:02x?}", s.magic),
                format!("{MAGIC:02x?}"),
            ));
        }
        if s.byte_order != BYTE_ORDER_MARK {
            return Err(bad(
                "byte_order",
                offset_of!(Superblock, byte_order),
                format!("{:#010x}", s.byte_order),
                format!("{BYTE_ORDER_MARK:#010x} (this machine's order)"),
            ));
        }
        if s.abi_major != ABI_MAJOR {
            return Err(Error::UnsupportedMajor {
                major: s.abi_major,
                minor: s.abi_minor,
                supported: ABI_MAJOR,
            });
        }
        require!(
            s.header_len in Superblock,
            0,
            (SUPERBLOCK_BYTES..=MAX_HEADER_BYTES).contains(&(s.header_len as usize)),
            format!("{SUPERBLOCK_BYTES} to {MAX_HEADER_BYTES}")
        );
        Ok(s)
    }

    /// A later minor may use what this one reserves.
    fn reserved_is_checked(&self) -> bool {
        self.minor == ABI_MINOR
    }

    fn superblock(&self, header: &[u8], s: &Superblock) -> Result<()> {
        let len = u64::from(s.header_len);
        require!(
            s.header_len in Superblock,
            0,
            header.len() as u64 >= len && len <= self.mapping_len,
            format!("at most the {} bytes there are", self.mapping_len.min(header.len() as u64))
        );
        let exact = self.reserved_is_checked();
        require!(
            s.superblock_len in Superblock,
            0,
            s.superblock_len as usize >= SUPERBLOCK_BYTES
                && s.superblock_len <= s.header_len
                && (!exact || s.superblock_len as usize == SUPERBLOCK_BYTES),
            format!("{SUPERBLOCK_BYTES}{}", if exact { "" } else { " or more, up to header_len" })
        );
        require!(
            s.features_required in Superblock,
            0,
            s.features_required == 0,
            "0: no required feature is known to this version"
        );
        require!(
            s.features_optional in Superblock,
            0,
            !exact || s.features_optional == 0,
            "0 in this minor version"
        );
        require!(
            s.total_len in Superblock,
            0,
            s.total_len == self.mapping_len,
            format!("the mapping's {} bytes", self.mapping_len)
        );
        require!(
            s.clock_id in Superblock,
            0,
            clock_kind(s.clock_id).is_some(),
            "0 realtime, 1 monotonic, 4 monotonic_raw, 7 boottime, 11 tai"
        );
        require!(s.reserved_68 in Superblock, 0, !exact || s.reserved_68 == 0, "0");
        require!(
            s.lane_count in Superblock,
            0,
            (1..=MAX_LANES).contains(&(s.lane_count as usize)),
            format!("1 to {MAX_LANES}")
        );
        require!(
            s.lane_descriptor_stride in Superblock,
            0,
            s.lane_descriptor_stride as usize >= LANE_DESCRIPTOR_BYTES
                && s.lane_descriptor_stride <= 4096
                && s.lane_descriptor_stride.is_multiple_of(8)
                && (!exact || s.lane_descriptor_stride as usize == LANE_DESCRIPTOR_BYTES),
            format!("{LANE_DESCRIPTOR_BYTES}{}", if exact { "" } else { " to 4096, in eights" })
        );
        let descriptors = u64::from(s.lane_count) * u64::from(s.lane_descriptor_stride);
        require!(
            s.lane_descriptors_offset in Superblock,
            0,
            s.lane_descriptors_offset >= u64::from(s.superblock_len)
                && s.lane_descriptors_offset.is_multiple_of(8)
                && s.lane_descriptors_offset.checked_add(descriptors).is_some_and(|e| e <= len),
            format!(
                "a multiple of 8 from {} to {} ({descriptors} bytes before header_len)",
                s.superblock_len,
                len.saturating_sub(descriptors)
            )
        );
        require!(
            s.lane_control_stride in Superblock,
            0,
            s.lane_control_stride >= control::PACKETS as u64 + 8
                && s.lane_control_stride <= 1 << 16
                && s.lane_control_stride.is_multiple_of(AREA_ALIGN),
            "384 to 65536, a multiple of 64"
        );
        let controls = u64::from(s.lane_count) * s.lane_control_stride;
        require!(
            s.lane_controls_offset in Superblock,
            0,
            self.fits(s.lane_controls_offset, controls, AREA_ALIGN),
            self.place(controls, AREA_ALIGN)
        );
        require!(
            s.metadata_control_offset in Superblock,
            0,
            self.fits(s.metadata_control_offset, METADATA_CONTROL_BYTES as u64, AREA_ALIGN),
            self.place(METADATA_CONTROL_BYTES as u64, AREA_ALIGN)
        );
        require!(
            s.metadata_capacity in Superblock,
            0,
            (64..=1 << 30).contains(&s.metadata_capacity) && s.metadata_capacity.is_multiple_of(8),
            "64 to 1073741824, a multiple of 8"
        );
        require!(
            s.metadata_offset in Superblock,
            0,
            self.fits(s.metadata_offset, s.metadata_capacity, AREA_ALIGN),
            self.place(s.metadata_capacity, AREA_ALIGN)
        );
        require!(
            s.packet_header_len in Superblock,
            0,
            s.packet_header_len as usize == PACKET_HEADER_BYTES,
            PACKET_HEADER_BYTES.to_string()
        );
        require!(
            s.record_header_len in Superblock,
            0,
            s.record_header_len as usize == RECORD_HEADER_BYTES,
            RECORD_HEADER_BYTES.to_string()
        );
        require!(
            s.record_align in Superblock,
            0,
            s.record_align as usize == RECORD_ALIGN_BYTES,
            RECORD_ALIGN_BYTES.to_string()
        );
        require!(
            s.recorder_slots in Superblock,
            0,
            s.recorder_slots as usize <= MAX_RECORDER_SLOTS,
            format!("0 to {MAX_RECORDER_SLOTS}")
        );
        let offset = offset_of!(Superblock, reserved_152);
        if exact && let Some(i) = s.reserved_152.iter().position(|b| *b != 0) {
            return Err(bad("reserved_152", offset + i, s.reserved_152[i], "0"));
        }
        Ok(())
    }

    fn lane(&self, s: &Superblock, lane: u64, at: u64, d: &LaneDescriptor) -> Result<LaneLayout> {
        let exact = self.reserved_is_checked();
        require!(
            d.sub_buffer_len in LaneDescriptor,
            at,
            d.sub_buffer_len.is_power_of_two()
                && d.sub_buffer_len >= MIN_SUB_BUFFER_BYTES as u64
                && d.sub_buffer_len <= MAX_SUB_BUFFER_BYTES as u64,
            format!("a power of two from {MIN_SUB_BUFFER_BYTES} to {MAX_SUB_BUFFER_BYTES}")
        );
        require!(
            d.sub_buffer_count in LaneDescriptor,
            at,
            (2..=MAX_SUB_BUFFERS as u64).contains(&d.sub_buffer_count)
                && d.sub_buffer_count * d.sub_buffer_len <= self.mapping_len,
            format!("2 to {}", MAX_SUB_BUFFERS.min((self.mapping_len / d.sub_buffer_len) as usize))
        );
        let data = d.sub_buffer_count * d.sub_buffer_len;
        require!(
            d.data_offset in LaneDescriptor,
            at,
            self.fits(d.data_offset, data, AREA_ALIGN),
            self.place(data, AREA_ALIGN)
        );
        require!(
            d.packet_index_stride in LaneDescriptor,
            at,
            d.packet_index_stride as usize >= PACKET_INDEX_ENTRY_BYTES
                && d.packet_index_stride <= 4096
                && d.packet_index_stride.is_multiple_of(8),
            "8 to 4096, a multiple of 8"
        );
        let index = d.sub_buffer_count * u64::from(d.packet_index_stride);
        require!(
            d.packet_index_offset in LaneDescriptor,
            at,
            self.fits(d.packet_index_offset, index, AREA_ALIGN),
            self.place(index, AREA_ALIGN)
        );
        require!(d.mode in LaneDescriptor, at, d.mode <= 1, "0 discard, 1 overwrite");
        require!(d.reserved_44 in LaneDescriptor, at, !exact || d.reserved_44 == 0, "0");
        let offset = at as usize + offset_of!(LaneDescriptor, reserved_48);
        if exact && let Some(i) = d.reserved_48.iter().position(|b| *b != 0) {
            return Err(bad("reserved_48", offset + i, d.reserved_48[i], "0"));
        }
        Ok(LaneLayout {
            lane,
            cpu: Cpu(d.cpu_id),
            mode: if d.mode == 1 {
                Mode::Overwrite
            } else {
                Mode::Discard
            },
            geometry: Geometry {
                sub_buffer_bytes: d.sub_buffer_len,
                sub_buffers: d.sub_buffer_count,
            },
            data_offset: d.data_offset as usize,
            packet_index_offset: d.packet_index_offset as usize,
            packet_index_stride: d.packet_index_stride as usize,
            control_offset: (s.lane_controls_offset + lane * s.lane_control_stride) as usize,
        })
    }

    fn fits(&self, offset: u64, bytes: u64, align: u64) -> bool {
        offset.is_multiple_of(align)
            && offset
                .checked_add(bytes)
                .is_some_and(|end| end <= self.mapping_len)
    }

    fn place(&self, bytes: u64, align: u64) -> String {
        format!(
            "a multiple of {align} up to {} ({bytes} bytes before total_len)",
            self.mapping_len.saturating_sub(bytes)
        )
    }

    /// No two areas may share a byte.
    fn areas(&self, areas: &mut [Area]) -> Result<()> {
        areas.sort_unstable_by_key(|a| a.start);
        for pair in areas.windows(2) {
            let (first, second) = (&pair[0], &pair[1]);
            let end = first.start + first.bytes;
            if end > second.start {
                return Err(bad(
                    second.field,
                    second.field_offset,
                    second.start,
                    format!(
                        "outside of {} to {end}, the area of {}",
                        first.start, first.field
                    ),
                ));
            }
        }
        Ok(())
    }
}
