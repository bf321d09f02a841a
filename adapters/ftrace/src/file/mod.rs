//! trace.dat: the file format of `trace-cmd`.
//!
//! [`TraceDatReader`] reads versions 6 and 7. Layers: `raw` has the numbers of
//! the format, `version6` and `version7` find the parts of a file, `meta`
//! reads them, `stream` decodes the pages of one CPU.
//!
//! Format: `trace-cmd.dat.v6(5)`, `trace-cmd.dat.v7(5)`.

mod attributes;
mod bytes;
mod clock;
mod compression;
mod encode;
mod encode6;
mod encode7;
mod event_ids;
mod formats;
mod lanes;
mod limits;
mod meta;
mod pages;
mod plan;
mod raw;
mod reader;
mod records;
mod sink;
mod spool;
mod stats;
mod stream;
mod target;
mod tasks;
mod time_shift;
mod version6;
mod version7;

pub use compression::Compression;
pub use reader::TraceDatReader;
pub use sink::{TraceDatOptions, TraceDatSink};
