//! perf.data: the file format of `perf record`.
//!
//! [`PerfDataSink`] writes it from a sorted stream of kstrace records, whether
//! they came through `perf_event_open` or through tracefs; perf 6.1 and later
//! read the result, or a [`PerfVersion`] that is asked for. Layers: [`raw`] has the structures as they lie in the file,
//! `features` and `tracing_data` encode the parts that describe,
//! `mapping` says what becomes of each class of records, `writer` puts the file
//! together.
//!
//! Format: `tools/perf/Documentation/perf.data-file-format.txt` of the kernel.

mod build_id;
mod compat;
mod evsel;
mod features;
mod kept;
mod made;
mod mapping;
mod output;
pub mod raw;
pub mod read;
mod record;
mod stream;
mod task;
mod timeline;
mod tracing_data;
mod trailer;
mod writer;

pub use compat::PerfVersion;
pub use read::{PerfDataReader, ReadOptions, ReadStatistics};
pub use writer::{PerfDataOptions, PerfDataSink};
