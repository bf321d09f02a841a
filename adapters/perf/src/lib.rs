//! perf events for the kstrace event model.
//!
//! [`PerfSource`] records live through `perf_event_open(2)`: a [`PerfPlan`] says
//! what, one ring a CPU takes it in, and every record goes on as the kernel
//! wrote it, `perf_event_header` included. [`layout`] describes those bytes and
//! knows nothing of live or file: it serves both.

pub mod attr;
mod classes;
pub mod cmdline;
mod error;
mod event;
mod exact;
pub mod file;
mod id_table;
mod ladder;
pub mod layout;
mod limits;
mod mmap;
mod open;
mod own;
mod plan;
mod probe;
mod ring;
mod source;
mod synth;
mod sys;
mod target;
mod tracepoint;
pub mod uapi;

pub use error::PerfError;
pub use event::{EventKind, EventSpec, Modifiers, software_and_hardware_names};
pub use exact::{ExactPlan, max_sample_rate_hz};
pub use plan::{DEFAULT_GRACE_NS, EventRequest, PerfPlan, Period, Target};
pub use probe::probe;
pub use source::PerfSource;
