//! The structures as they go over the wire, named as in `lttng-viewer-abi.h`.

use zerocopy::byteorder::big_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// `LTTNG_VIEWER_PATH_MAX`.
const PATH_MAX: usize = 4096;
/// `LTTNG_VIEWER_NAME_MAX`.
const NAME_MAX: usize = 255;
/// `LTTNG_VIEWER_HOST_NAME_MAX`.
const HOST_NAME_MAX: usize = 64;

/// `enum lttng_viewer_command`.
pub(super) mod command {
    pub(in crate::live) const CONNECT: u32 = 1;
    pub(in crate::live) const LIST_SESSIONS: u32 = 2;
    pub(in crate::live) const ATTACH_SESSION: u32 = 3;
    pub(in crate::live) const GET_NEXT_INDEX: u32 = 4;
    pub(in crate::live) const GET_PACKET: u32 = 5;
    pub(in crate::live) const GET_METADATA: u32 = 6;
    pub(in crate::live) const GET_NEW_STREAMS: u32 = 7;
    pub(in crate::live) const CREATE_SESSION: u32 = 8;
    pub(in crate::live) const DETACH_SESSION: u32 = 9;
}

/// `LTTNG_VIEWER_FLAG_NEW_METADATA`: to be fetched before the packet is read.
pub(super) const FLAG_NEW_METADATA: u32 = 1;
/// `LTTNG_VIEWER_FLAG_NEW_STREAM`: to be asked for before the packet is read.
pub(super) const FLAG_NEW_STREAM: u32 = 2;
/// `LTTNG_VIEWER_SEEK_BEGINNING`.
pub(super) const SEEK_BEGINNING: u32 = 1;
/// `LTTNG_VIEWER_SEEK_LAST`.
pub(super) const SEEK_LAST: u32 = 2;

/// `enum lttng_viewer_attach_return_code`.
pub(super) mod attach {
    pub(in crate::live) const OK: u32 = 1;
    pub(in crate::live) const ALREADY: u32 = 2;
    pub(in crate::live) const UNKNOWN: u32 = 3;
    pub(in crate::live) const NOT_LIVE: u32 = 4;
    pub(in crate::live) const SEEK_ERROR: u32 = 5;
    pub(in crate::live) const NO_SESSION: u32 = 6;
}

/// `enum lttng_viewer_next_index_return_code`.
pub(super) mod next_index {
    pub(in crate::live) const OK: u32 = 1;
    pub(in crate::live) const RETRY: u32 = 2;
    pub(in crate::live) const HUP: u32 = 3;
    pub(in crate::live) const ERROR: u32 = 4;
    pub(in crate::live) const INACTIVE: u32 = 5;
    pub(in crate::live) const EOF: u32 = 6;
}

/// `enum lttng_viewer_get_packet_return_code`.
pub(super) mod get_packet {
    pub(in crate::live) const OK: u32 = 1;
    pub(in crate::live) const RETRY: u32 = 2;
    pub(in crate::live) const ERROR: u32 = 3;
    pub(in crate::live) const EOF: u32 = 4;
}

/// `enum lttng_viewer_get_metadata_return_code`.
pub(super) mod get_metadata {
    pub(in crate::live) const OK: u32 = 1;
    pub(in crate::live) const NO_NEW: u32 = 2;
    pub(in crate::live) const ERROR: u32 = 3;
}

/// `enum lttng_viewer_new_streams_return_code`.
pub(super) mod new_streams {
    pub(in crate::live) const OK: u32 = 1;
    pub(in crate::live) const NO_NEW: u32 = 2;
    pub(in crate::live) const ERROR: u32 = 3;
    pub(in crate::live) const HUP: u32 = 4;
}

/// `LTTNG_VIEWER_CREATE_SESSION_OK`, `LTTNG_VIEWER_DETACH_SESSION_OK`.
pub(super) const DONE: u32 = 1;
/// `LTTNG_VIEWER_DETACH_SESSION_UNK`.
pub(super) const DETACH_UNKNOWN: u32 = 2;

macro_rules! wire {
    ($($(#[$doc:meta])* struct $name:ident { $($field:ident: $kind:ty,)* })*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
            #[repr(C)]
            pub(super) struct $name { $(pub(super) $field: $kind,)* }
        )*
    };
}

wire! {
    /// `struct lttng_viewer_cmd`.
    struct Command {
        data_size: U64,
        command: U32,
        version: U32,
    }

    /// `struct lttng_viewer_connect`, which goes both ways.
    struct Connect {
        viewer_session_id: U64,
        major: U32,
        minor: U32,
        kind: U32,
    }

    /// `struct lttng_viewer_session`.
    struct Session {
        id: U64,
        live_timer_us: U32,
        clients: U32,
        streams: U32,
        hostname: [u8; HOST_NAME_MAX],
        session_name: [u8; NAME_MAX],
    }

    /// `struct lttng_viewer_stream`.
    struct Stream {
        id: U64,
        ctf_trace_id: U64,
        metadata_flag: U32,
        path_name: [u8; PATH_MAX],
        channel_name: [u8; NAME_MAX],
    }

    /// `struct lttng_viewer_attach_session_request`.
    struct AttachRequest {
        session_id: U64,
        offset: U64,
        seek: U32,
    }

    /// `struct lttng_viewer_attach_session_response` and `..._new_streams_response`, without
    /// the list of streams.
    struct StreamsResponse {
        status: U32,
        streams_count: U32,
    }

    /// `struct lttng_viewer_index`.
    struct Index {
        offset: U64,
        packet_size_bits: U64,
        content_size_bits: U64,
        timestamp_begin: U64,
        timestamp_end: U64,
        events_discarded: U64,
        stream_class_id: U64,
        status: U32,
        flags: U32,
    }

    /// `struct lttng_viewer_get_packet`.
    struct PacketRequest {
        stream_id: U64,
        offset: U64,
        len: U32,
    }

    /// `struct lttng_viewer_trace_packet`, without the data.
    struct PacketResponse {
        status: U32,
        len: U32,
        flags: U32,
    }

    /// `struct lttng_viewer_metadata_packet`, without the data.
    struct MetadataResponse {
        len: U64,
        status: U32,
    }
}

/// A text in a field of fixed length, cut to fit, always with a NUL behind it.
pub(super) fn name<const N: usize>(text: &str) -> [u8; N] {
    let mut field = [0; N];
    let room = N.saturating_sub(1);
    for (place, byte) in field.iter_mut().take(room).zip(text.bytes()) {
        *place = byte;
    }
    field
}

/// The text in a field of fixed length, up to its NUL.
pub(super) fn text(field: &[u8]) -> String {
    let end = field.iter().position(|b| *b == 0).unwrap_or(field.len());
    String::from_utf8_lossy(field.get(..end).unwrap_or_default()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_those_of_the_packed_structures() {
        assert_eq!(size_of::<Command>(), 16);
        assert_eq!(size_of::<Connect>(), 20);
        assert_eq!(size_of::<Session>(), 8 + 12 + 64 + 255);
        assert_eq!(size_of::<Stream>(), 20 + 4096 + 255);
        assert_eq!(size_of::<AttachRequest>(), 20);
        assert_eq!(size_of::<Index>(), 64);
        assert_eq!(size_of::<PacketRequest>(), 20);
        assert_eq!(size_of::<PacketResponse>(), 12);
        assert_eq!(size_of::<MetadataResponse>(), 12);
    }

    #[test]
    fn names_are_cut_and_end() {
        assert_eq!(name::<4>("ab"), *b"ab\0\0");
        assert_eq!(name::<4>("abcdef"), *b"abc\0");
    }
}
