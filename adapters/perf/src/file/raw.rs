//! Structures and numbers of perf.data, named as perf and the kernel name them.
//!
//! Sources: `tools/perf/Documentation/perf.data-file-format.txt`,
//! `include/uapi/linux/perf_event.h`. Byte order is the recording machine's.

use crate::uapi;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// `PERF_MAGIC2`: "PERFILE2", as a number in the file's byte order.
pub const PERF_MAGIC2: u64 = 0x3245_4c49_4652_4550;

/// A stretch of the file.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
#[doc(alias = "perf_file_section")]
pub struct PerfFileSection {
    /// From the file's start, bytes.
    pub offset: u64,
    /// Bytes.
    pub size: u64,
}

/// What the file begins with. 104 bytes.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
#[doc(alias = "perf_file_header")]
pub struct PerfFileHeader {
    /// [`PERF_MAGIC2`].
    pub magic: u64,
    /// Size of this header, bytes.
    pub size: u64,
    /// Size of one entry of `attrs`, bytes: an attr and a [`PerfFileSection`] of its ids.
    pub attr_size: u64,
    /// The attrs.
    pub attrs: PerfFileSection,
    /// The records. The table of feature sections follows right behind.
    pub data: PerfFileSection,
    /// Unused since 2010.
    pub event_types: PerfFileSection,
    /// Bit n: feature n is there.
    pub adds_features: [u64; 4],
}

/// What every record begins with. 8 bytes.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
#[doc(alias = "perf_event_header")]
pub struct PerfEventHeader {
    /// `PERF_RECORD_*`.
    pub r#type: u32,
    /// `PERF_RECORD_MISC_*`.
    pub misc: u16,
    /// Size of the record, this header included, bytes.
    pub size: u16,
}

/// The fixed start of a `PERF_RECORD_SAMPLE` of [`TRACEPOINT_SAMPLE_TYPE`]; the
/// raw data's `u32` size and the raw data follow. 56 bytes.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct TracepointSample {
    /// Header.
    pub header: PerfEventHeader,
    /// `PERF_SAMPLE_IDENTIFIER`.
    pub sample_id: u64,
    /// `PERF_SAMPLE_IP`.
    pub ip: u64,
    /// `PERF_SAMPLE_TID`: thread group id.
    pub pid: u32,
    /// `PERF_SAMPLE_TID`: thread id.
    pub tid: u32,
    /// `PERF_SAMPLE_TIME`, ns.
    pub time: u64,
    /// `PERF_SAMPLE_CPU`.
    pub cpu: u32,
    /// Zero.
    pub res: u32,
    /// `PERF_SAMPLE_PERIOD`.
    pub period: u64,
}

/// `PERF_RECORD_LOST` without its trailer. 24 bytes.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct LostBody {
    /// Header.
    pub header: PerfEventHeader,
    /// Id of the event that lost records.
    pub id: u64,
    /// How many.
    pub lost: u64,
}

/// `PERF_RECORD_COMM` with a name of 16 bytes, without its trailer. 32 bytes.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct CommBody {
    /// Header.
    pub header: PerfEventHeader,
    /// Thread group id.
    pub pid: u32,
    /// Thread id.
    pub tid: u32,
    /// Name, NUL-padded.
    pub comm: [u8; 16],
}

/// `PERF_RECORD_FORK` and `PERF_RECORD_EXIT` without the trailer. 32 bytes.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct ForkBody {
    /// Header.
    pub header: PerfEventHeader,
    /// The new task's thread group id.
    pub pid: u32,
    /// Its parent's.
    pub ppid: u32,
    /// The new task's thread id.
    pub tid: u32,
    /// Its parent's.
    pub ptid: u32,
    /// When, ns.
    pub time: u64,
}

/// The fixed start of a `PERF_RECORD_MMAP2`; the file's name follows. 72 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Mmap2Body {
    /// Header.
    pub header: PerfEventHeader,
    /// Thread group id, -1 for the kernel.
    pub pid: u32,
    /// Thread id.
    pub tid: u32,
    /// Start.
    pub addr: u64,
    /// Length, bytes.
    pub len: u64,
    /// Offset in the file, bytes.
    pub pgoff: u64,
    /// `maj`, `min` (u32), `ino`, `ino_generation` (u64), or with
    /// `PERF_RECORD_MISC_MMAP_BUILD_ID` a size byte, three zeros and the build id.
    pub file: [u8; 24],
    /// `PROT_*`.
    pub prot: u32,
    /// `MAP_*`.
    pub flags: u32,
}

/// An entry of `HEADER_BUILD_ID`; the file's name follows, NUL-padded. 36 bytes.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
#[doc(alias = "perf_record_header_build_id")]
pub struct BuildIdEntry {
    /// Header: misc is the CPU mode and [`MISC_BUILD_ID_SIZE`].
    pub header: PerfEventHeader,
    /// -1 for the host.
    pub pid: i32,
    /// The build id, zero-padded.
    pub data: [u8; 20],
    /// How many bytes of `data` count.
    pub size: u8,
    /// Zero.
    pub reserved: [u8; 3],
}

/// `PERF_RECORD_FINISHED_ROUND`: no record to come is older than the youngest
/// record before the previous one of these.
pub const PERF_RECORD_FINISHED_ROUND: u32 = 68;

/// `PERF_RECORD_MISC_CPUMODE_MASK`.
pub const MISC_CPUMODE_MASK: u16 = 7;
/// `PERF_RECORD_MISC_COMM_EXEC`.
pub const MISC_COMM_EXEC: u16 = 1 << 13;
/// `PERF_RECORD_MISC_BUILD_ID_SIZE` of an entry of `HEADER_BUILD_ID`.
pub const MISC_BUILD_ID_SIZE: u16 = 1 << 15;

/// What the samples made of ftrace's records have.
pub const TRACEPOINT_SAMPLE_TYPE: u64 = uapi::PERF_SAMPLE_IDENTIFIER
    | uapi::PERF_SAMPLE_IP
    | uapi::PERF_SAMPLE_TID
    | uapi::PERF_SAMPLE_TIME
    | uapi::PERF_SAMPLE_CPU
    | uapi::PERF_SAMPLE_PERIOD
    | uapi::PERF_SAMPLE_RAW;

/// `PERF_ATTR_SIZE_VER7`: the largest attr that perf 5.13 to 6.2 take.
pub const ATTR_SIZE_VER7: usize = 128;

/// `HEADER_*`: the numbers of the feature sections.
pub mod feature {
    /// Format files and the like for `libtraceevent`.
    pub const TRACING_DATA: u32 = 1;
    /// Build ids of the files that were mapped.
    pub const BUILD_ID: u32 = 2;
    /// `uname -n`.
    pub const HOSTNAME: u32 = 3;
    /// `uname -r`.
    pub const OSRELEASE: u32 = 4;
    /// Version of the tool that recorded.
    pub const VERSION: u32 = 5;
    /// `uname -m`.
    pub const ARCH: u32 = 6;
    /// CPUs available and online.
    pub const NRCPUS: u32 = 7;
    /// CPU model.
    pub const CPUDESC: u32 = 8;
    /// CPU id.
    pub const CPUID: u32 = 9;
    /// Memory, KiB.
    pub const TOTAL_MEM: u32 = 10;
    /// Command line of the tool that recorded.
    pub const CMDLINE: u32 = 11;
    /// Names of the events.
    pub const EVENT_DESC: u32 = 12;
    /// Types of the PMUs.
    pub const PMU_MAPPINGS: u32 = 16;
    /// Where the records with AUX data are.
    pub const AUXTRACE: u32 = 18;
    /// Times of the first and the last sample.
    pub const SAMPLE_TIME: u32 = 21;
    /// Resolution of the clock.
    pub const CLOCKID: u32 = 23;
    /// The file is one of several in a directory.
    pub const DIR_FORMAT: u32 = 24;
    /// The clock and the wall clock at one moment.
    pub const CLOCK_DATA: u32 = 29;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_those_of_the_format() {
        assert_eq!(size_of::<PerfFileHeader>(), 104);
        assert_eq!(size_of::<TracepointSample>(), 56);
        assert_eq!(size_of::<LostBody>(), 24);
        assert_eq!(size_of::<CommBody>(), 32);
        assert_eq!(size_of::<ForkBody>(), 32);
        assert_eq!(size_of::<Mmap2Body>(), 72);
        assert_eq!(size_of::<BuildIdEntry>(), 36);
        if cfg!(target_endian = "little") {
            assert_eq!(PERF_MAGIC2.to_ne_bytes(), *b"PERFILE2");
        }
    }
}
