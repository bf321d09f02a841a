//! kstrace: one timeline for perf, ftrace and LTTng.
pub mod cli;
pub mod control;
pub mod convert;
pub mod daemon;
pub mod engine;
pub mod flame;
pub mod perf_record;
pub mod report;
