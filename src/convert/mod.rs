//! From any form of a trace to any other, through the one event model.
//!
//! An input is a [`FileInput`](kstrace_schema::FileInput), an output a
//! [`FileOutput`](kstrace_schema::FileOutput); [`transfer()`] carries one into the other. What lies
//! between is an output or an input again: [`Selected`] lets only chosen records through,
//! [`MergedInput`] puts several inputs on one timeline, [`Splitter`] deals one out to many outputs.

mod clock_relation;
mod collect;
mod format;
mod input;
mod live;
mod merge;
mod native;
mod out_file;
mod output;
mod remap;
mod schema_diff;
mod selection;
mod split;
mod transfer;

pub use clock_relation::{ClockOffset, Relation, relate};
pub use collect::{TraceClasses, collect_classes};
pub use format::Format;
pub use input::{open_input, recognise};
pub use live::{live_url, open_live};
pub use merge::MergedInput;
pub use native::NativeSink;
pub use out_file::Target;
pub use output::{OutputOptions, create_output, kernel_symbols};
pub use schema_diff::{Change, SchemaDiff};
pub use selection::{Selected, Selection};
pub use split::{SplitBy, Splitter};
pub use transfer::{Outcome, transfer};
