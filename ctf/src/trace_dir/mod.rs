//! The native trace: a directory that is a CTF trace.
//!
//! ```text
//! NAME/metadata               TSDL (CTF 1.8) or JSON (CTF 2)
//! NAME/lane<L>_<S>            data stream L, its S-th file
//! NAME/kstrace/session.json   the session, and whether the trace is complete
//! NAME/kstrace/classes.jsonl  every class with its native description
//! NAME/kstrace/accounts.json  accounts, loss, clock pairs; when complete
//! ```

mod existing;
pub(crate) mod layout;
mod segment;
mod writer;

pub use existing::is_kstrace_trace;
pub use layout::{Accounts, TraceState};
pub use writer::{MetadataFormat, TraceWriter, TraceWriterOptions};
