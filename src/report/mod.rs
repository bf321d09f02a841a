//! A trace for people (text) and for programs (JSON Lines).
//!
//! [`Report`] is a [`Sink`](kstrace_schema::Sink): whatever delivers records, a
//! file or a live session, can be reported. Records must come sorted by time
//! overall, since names of tasks and mappings of processes are followed as the
//! trace goes on: a line shows the name its task had then.

mod class_plan;
#[cfg(feature = "symbolize")]
mod elf_layout;
mod entry_text;
mod field_plan;
mod fields_text;
mod formatters;
mod json;
mod kallsyms;
mod known;
mod loss;
mod number;
mod options;
mod perf_map;
mod perfetto_names;
mod sink;
mod stack;
mod stack_reader;
mod symbols;
mod tasks;
#[cfg(test)]
mod tests;
mod text;
#[cfg(feature = "symbolize")]
mod user_symbols;

pub(crate) use class_plan::name_matches;
pub use kallsyms::Kallsyms;
pub use options::{Column, CpuList, Filter, OutputFormat, ReportOptions, TimeBound};
pub use perfetto_names::FunctionNames;
pub use sink::Report;
pub(crate) use stack_reader::{StackFrame, StackReader, StackTask};
