//! ftrace in the kstrace event model: recording, and the files of trace-cmd.
//!
//! [`FtraceSource`] records with a private tracefs instance of its own: what an
//! [`FtracePlan`] names, in the clock of the session, with one stream of
//! records for each CPU. The kernel's entries are handed on as they are.
//! [`mod@file`] reads and writes trace.dat.
#![forbid(unsafe_code)]

mod classes;
pub mod file;
mod live;

pub use live::{
    ClockErrorBound, EventChoice, FtracePlan, FtraceSource, FunctionTracer, TracerKind,
};

/// The prefix of the names of kstrace's tracefs instances.
pub const INSTANCE_PREFIX: &str = "kstrace";
