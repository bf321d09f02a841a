//! The Common Trace Format, as kstrace writes and reads it.
//!
//! kstrace's native trace is a directory that is a CTF trace: babeltrace2 and
//! Trace Compass open it as it is. [`TraceWriter`] writes one from the ring's
//! packets, which are CTF packets already. [`tsdl`] describes classes in the
//! metadata language of CTF 1.8, [`ctf2`] in that of CTF 2, and back.
#![forbid(unsafe_code)]

mod builder;
pub mod ctf2;
mod packet;
mod read;
mod trace_dir;
pub mod tsdl;

pub use builder::PacketBuilder;
pub use packet::{PacketError, uuid_bytes};
pub use read::{Damage, ReadSummary, TraceReader};
pub use trace_dir::{
    Accounts, MetadataFormat, TraceState, TraceWriter, TraceWriterOptions, is_kstrace_trace,
};
