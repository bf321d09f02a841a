//! Perfetto traces from the kstrace event model.
//!
//! [`PerfettoSink`] writes what <https://ui.perfetto.dev> and `trace_processor` open.
//! It takes tracepoints of every tracer, samples with stacks, tasks, clocks and loss;
//! [`ConversionReport`](kstrace_schema::ConversionReport) tells what Perfetto has no
//! place for.
#![forbid(unsafe_code)]

mod attr;
mod bundle;
mod class_plan;
mod clock;
mod event;
mod facts;
mod generic;
mod output;
mod process;
mod sample;
mod sink;
mod stacks;
mod symbolizer;
mod typed;
mod wire;

pub use sink::{PerfettoOptions, PerfettoSink};
pub use symbolizer::{KernelFunction, NoSymbols, Symbolizer};
