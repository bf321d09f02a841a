//! The Common Trace Format, as kstrace writes and reads it.
//!
//! kstrace's native trace is a directory that is a CTF trace: babeltrace2 and
//! Trace Compass open it as it is. [`TraceWriter`] writes one from the ring's
//! packets, which are CTF packets already. [`tsdl`] describes classes in the
//! metadata language of CTF 1.8, [`ctf2`] in that of CTF 2, and back.

mod builder;
pub mod ctf2;
mod input;
mod ir;
mod output;
mod packet;
mod read;
mod trace_dir;
pub mod tsdl;

pub use builder::PacketBuilder;
pub use input::{CtfReader, FedStream, FedTrace, is_ctf_trace, metadata_text};
pub use output::{CtfOptions, CtfSink};
pub use packet::{PacketError, uuid_bytes};
pub use read::{Damage, ReadSummary, TraceReader};
pub use trace_dir::{
    Accounts, MetadataFormat, TraceState, TraceWriter, TraceWriterOptions, is_kstrace_trace,
};

/// What a metadata text, of either version, describes.
pub(crate) fn metadata_class(text: &str) -> kstrace_schema::Result<ir::TraceClass> {
    if ctf2::foreign::is_text_sequence(text) {
        return ctf2::foreign::parse(text).map_err(|e| {
            let kind = kstrace_schema::ErrorKind::InvalidData;
            kstrace_schema::Error::with_source(kind, "CTF 2 metadata", e)
        });
    }
    tsdl::parse::parse(text).map_err(|e| {
        let kind = kstrace_schema::ErrorKind::InvalidData;
        kstrace_schema::Error::with_source(kind, "TSDL metadata", e)
    })
}
