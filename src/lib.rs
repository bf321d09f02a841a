//! kstrace: one timeline for perf, ftrace and LTTng.
pub mod cli;
pub mod engine;
pub mod report;
