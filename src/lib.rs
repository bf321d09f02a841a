//! kstrace: one timeline for perf, ftrace and LTTng.
pub mod cli;
