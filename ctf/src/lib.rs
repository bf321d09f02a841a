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
    match metadata_so_far(text)? {
        (trace, None) => Ok(trace),
        (_, Some((_, reason))) => Err(unusable(reason)),
    }
}

/// What a metadata text, of either version, describes; if it is cut, by so many bytes,
/// and what is wrong behind them.
pub(crate) fn metadata_so_far(
    text: &str,
) -> kstrace_schema::Result<(ir::TraceClass, Option<(usize, String)>)> {
    if ctf2::foreign::is_text_sequence(text) {
        let said = |e| format!("CTF 2 metadata: {e}");
        let (trace, cut) = ctf2::foreign::parse_so_far(text).map_err(|e| unusable(said(e)))?;
        return Ok((trace, cut.map(|(whole_bytes, e)| (whole_bytes, said(e)))));
    }
    let said = |e| format!("TSDL {e}");
    let (trace, cut) = tsdl::parse::parse_so_far(text).map_err(|e| unusable(said(e)))?;
    Ok((trace, cut.map(|cut| (cut.whole_bytes, said(cut.reason)))))
}

fn unusable(reason: String) -> kstrace_schema::Error {
    kstrace_schema::Error::new(kstrace_schema::ErrorKind::InvalidData, reason)
}
