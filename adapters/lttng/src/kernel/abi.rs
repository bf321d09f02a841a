//! The numbers and structures of LTTng's kernel ABI, major version 2.
//!
//! Commands are `ioctl`s on `/proc/lttng` and on the descriptors that they
//! return; structures are packed, in the machine's own byte order. Where a
//! command or a member came later than version 2.0 of the ABI, it says so.

use nix::{request_code_none, request_code_read, request_code_write};
use std::mem::size_of;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The major version that is spoken here.
pub(super) const MAJOR: u32 = 2;

/// Longest name of an event or a session, its NUL included.
pub(super) const NAME_BYTES: usize = 256;
/// Room for the creation time of a session, its NUL included.
const TIME_BYTES: usize = 26;
/// What follows the common part of several structures.
const TAIL_BYTES: usize = NAME_BYTES + 32;

/// The type of all of LTTng's commands.
const TYPE: u8 = 0xF6;

/// A request code, as `ioctl(2)` takes it.
pub(super) type Request = libc::Ioctl;

/// Makes a request code; they are 32 bits wide, whatever the C library takes.
const fn code(code: libc::c_ulong) -> Request {
    code as Request
}

const fn none(number: u8) -> Request {
    code(request_code_none!(TYPE, number))
}

const fn reads(number: u8, size: usize) -> Request {
    code(request_code_read!(TYPE, number, size))
}

const fn writes(number: u8, size: usize) -> Request {
    code(request_code_write!(TYPE, number, size))
}

/// Commands of `/proc/lttng`.
pub(super) mod tracer {
    use super::*;

    /// A new session's descriptor.
    pub(in super::super) const SESSION: Request = none(0x45);
    /// [`TracerVersion`].
    pub(in super::super) const VERSION: Request = reads(0x46, size_of::<TracerVersion>());
    /// A descriptor to read the list of tracepoints from.
    pub(in super::super) const TRACEPOINT_LIST: Request = none(0x47);
    /// A descriptor to read the list of system calls from.
    pub(in super::super) const SYSCALL_LIST: Request = none(0x4A);
    /// [`AbiVersion`].
    pub(in super::super) const ABI_VERSION: Request = reads(0x4B, size_of::<AbiVersion>());
}

/// Commands of a session.
pub(super) mod session {
    use super::*;

    /// The metadata channel's descriptor, from a [`Channel`].
    pub(in super::super) const METADATA: Request = writes(0x54, size_of::<Channel>());
    /// A channel's descriptor, from a [`Channel`].
    pub(in super::super) const CHANNEL: Request = writes(0x55, size_of::<Channel>());
    pub(in super::super) const START: Request = none(0x56);
    pub(in super::super) const STOP: Request = none(0x57);
    /// [`SessionName`]; ABI 2.4.
    pub(in super::super) const SET_NAME: Request = writes(0x5D, size_of::<SessionName>());
    /// [`CreationTime`]; ABI 2.4.
    pub(in super::super) const SET_CREATION_TIME: Request = writes(0x5E, size_of::<CreationTime>());
    /// [`TrackedId`]; ABI 2.5.
    pub(in super::super) const TRACK_ID: Request = writes(0xA1, size_of::<TrackedId>());
}

/// Commands of a channel and of its events.
pub(super) mod channel {
    use super::*;

    /// The next CPU's stream; `ENOENT` after the last one.
    pub(in super::super) const STREAM: Request = none(0x62);
    /// An event's descriptor, from an [`Event`].
    pub(in super::super) const EVENT: Request = writes(0x63, size_of::<Event>());
    /// [`Context`].
    pub(in super::super) const CONTEXT: Request = writes(0x71, size_of::<Context>());
    /// Of an event.
    pub(in super::super) const ENABLE: Request = none(0x82);
}

/// Commands of a stream.
pub(super) mod stream {
    use super::*;

    const LONG: usize = size_of::<libc::c_ulong>();

    /// Samples both positions.
    pub(in super::super) const SAMPLE_POSITIONS: Request = none(0x0E);
    pub(in super::super) const GET_CONSUMED: Request = reads(0x01, LONG);
    pub(in super::super) const GET_PRODUCED: Request = reads(0x02, LONG);
    /// Takes the next sub-buffer; `EAGAIN` if there is none, `ENODATA` if there will be none.
    pub(in super::super) const GET_NEXT: Request = none(0x05);
    /// Gives it back.
    pub(in super::super) const PUT_NEXT: Request = none(0x06);
    /// Bytes of the sub-buffer taken, up to whole pages.
    pub(in super::super) const PADDED_SUBBUF_SIZE: Request = reads(0x08, LONG);
    /// Bytes of any sub-buffer.
    pub(in super::super) const MAX_SUBBUF_SIZE: Request = reads(0x09, LONG);
    /// Bytes to map.
    pub(in super::super) const MMAP_LEN: Request = reads(0x0A, LONG);
    /// Where in the mapping the sub-buffer taken begins.
    pub(in super::super) const MMAP_READ_OFFSET: Request = reads(0x0B, LONG);
    /// Closes the sub-buffer being written, unless it is empty.
    pub(in super::super) const FLUSH: Request = none(0x0C);
    /// Closes it even if it is empty.
    pub(in super::super) const FLUSH_EMPTY: Request = none(0x0F);
    /// Changes when the metadata are written anew.
    pub(in super::super) const METADATA_VERSION: Request = reads(0x0D, 8);
    /// Begin of the packet taken, by the tracer's clock.
    pub(in super::super) const TIMESTAMP_BEGIN: Request = reads(0x20, 8);
    /// The tracer's clock, now.
    pub(in super::super) const CURRENT_TIMESTAMP: Request = reads(0x26, 8);
    /// The CPU of a stream of a channel.
    pub(in super::super) const INSTANCE_ID: Request = reads(0x28, 8);
}

/// Version of the modules.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, packed)]
pub(super) struct TracerVersion {
    pub(super) major: u32,
    pub(super) minor: u32,
    pub(super) patchlevel: u32,
}

/// Version of the ABI.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, packed)]
pub(super) struct AbiVersion {
    pub(super) major: u32,
    pub(super) minor: u32,
}

/// How a channel is made.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, packed)]
pub(super) struct Channel {
    /// A power of two, a page at least.
    pub(super) subbuf_size_bytes: u64,
    /// A power of two.
    pub(super) num_subbuf: u64,
    /// Sub-buffers are closed so often, in microseconds; 0: only when they are full.
    pub(super) switch_timer_us: u32,
    /// Readers are woken so often if there is something for them, in microseconds.
    pub(super) read_timer_us: u32,
    pub(super) output: u32,
    pub(super) overwrite: i32,
    pub(super) padding: [u8; TAIL_BYTES],
}

impl Channel {
    /// `output`: sub-buffers are read in a mapping.
    pub(super) const OUTPUT_MMAP: u32 = 1;
}

/// What an event is.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, packed)]
pub(super) struct Event {
    /// A name, or a glob with `*`, up to a NUL.
    pub(super) name: [u8; NAME_BYTES],
    pub(super) instrumentation: u32,
    pub(super) token: u64,
    pub(super) padding: [u8; 8],
    pub(super) syscall: Syscall,
    pub(super) tail: [u8; TAIL_BYTES - size_of::<Syscall>()],
}

impl Event {
    /// `instrumentation`: a tracepoint.
    pub(super) const TRACEPOINT: u32 = 0;
    /// `instrumentation`: system calls.
    pub(super) const SYSCALL: u32 = 5;
}

/// Which system calls: all zeros for entries and exits of every ABI, by name.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, packed)]
pub(super) struct Syscall {
    pub(super) entryexit: u8,
    pub(super) abi: u8,
    pub(super) matched_by: u8,
    pub(super) padding: u8,
    pub(super) number: u32,
}

/// A context, or the perf counter that is one.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, packed)]
pub(super) struct Context {
    pub(super) kind: u32,
    pub(super) padding: [u8; 16],
    pub(super) perf_type: u32,
    pub(super) perf_config: u64,
    pub(super) perf_name: [u8; NAME_BYTES],
    pub(super) tail: [u8; TAIL_BYTES - 12 - NAME_BYTES],
}

/// One process, user or group to record.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, packed)]
pub(super) struct TrackedId {
    pub(super) kind: u32,
    pub(super) id: i32,
}

impl TrackedId {
    /// `kind`: a process, as the first PID namespace numbers it.
    pub(super) const PID: u32 = 0;
}

/// A session's name.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, packed)]
pub(super) struct SessionName {
    pub(super) name: [u8; NAME_BYTES],
}

/// A session's creation time: `YYYYmmddTHHMMSS+HHMM`, then NULs.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, packed)]
pub(super) struct CreationTime {
    pub(super) iso8601: [u8; TIME_BYTES],
}

/// A text with NULs behind it; `None` if it has one inside or leaves no room for one.
pub(super) fn text<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut out = [0; N];
    if text.len() >= N || text.contains('\0') {
        return None;
    }
    out.get_mut(..text.len())?.copy_from_slice(text.as_bytes());
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::mem::offset_of;

    /// Request codes as `strace` shows them for lttng-sessiond and lttng-consumerd on x86-64.
    #[test]
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    fn request_codes() {
        assert_eq!(tracer::SESSION as u32, 0xf645);
        assert_eq!(tracer::VERSION as u32, 0x800c_f646);
        assert_eq!(tracer::TRACEPOINT_LIST as u32, 0xf647);
        assert_eq!(tracer::SYSCALL_LIST as u32, 0xf64a);
        assert_eq!(tracer::ABI_VERSION as u32, 0x8008_f64b);
        assert_eq!(session::METADATA as u32, 0x4140_f654);
        assert_eq!(session::CHANNEL as u32, 0x4140_f655);
        assert_eq!(session::SET_NAME as u32, 0x4100_f65d);
        assert_eq!(session::SET_CREATION_TIME as u32, 0x401a_f65e);
        assert_eq!(session::TRACK_ID as u32, 0x4008_f6a1);
        assert_eq!(channel::STREAM as u32, 0xf662);
        assert_eq!(channel::EVENT as u32, 0x4234_f663);
        assert_eq!(channel::CONTEXT as u32, 0x4134_f671);
        assert_eq!(channel::ENABLE as u32, 0xf682);
        assert_eq!(stream::GET_NEXT as u32, 0xf605);
        assert_eq!(stream::PADDED_SUBBUF_SIZE as u32, 0x8008_f608);
        assert_eq!(stream::MMAP_LEN as u32, 0x8008_f60a);
        assert_eq!(stream::METADATA_VERSION as u32, 0x8008_f60d);
        assert_eq!(stream::CURRENT_TIMESTAMP as u32, 0x8008_f626);
    }

    #[test]
    fn structures_to_the_byte() {
        assert_eq!(size_of::<TracerVersion>(), 12);
        assert_eq!(size_of::<AbiVersion>(), 8);
        assert_eq!(size_of::<Channel>(), 320);
        assert_eq!(offset_of!(Channel, switch_timer_us), 16);
        assert_eq!(offset_of!(Channel, output), 24);
        assert_eq!(size_of::<Event>(), 564);
        assert_eq!(offset_of!(Event, instrumentation), 256);
        assert_eq!(offset_of!(Event, token), 260);
        assert_eq!(offset_of!(Event, syscall), 276);
        assert_eq!(size_of::<Context>(), 308);
        assert_eq!(offset_of!(Context, perf_type), 20);
        assert_eq!(offset_of!(Context, perf_name), 32);
        assert_eq!(size_of::<TrackedId>(), 8);
        assert_eq!(size_of::<SessionName>(), 256);
        assert_eq!(size_of::<CreationTime>(), 26);
    }

    #[test]
    fn texts_end_with_a_nul() {
        assert_eq!(text::<4>("abc"), Some(*b"abc\0"));
        assert_eq!(text::<4>("abcd"), None);
        assert_eq!(text::<4>("a\0b"), None);
    }
}
