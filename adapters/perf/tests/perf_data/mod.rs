//! Writing perf.data, judged by the real perf.

mod differential;
mod ftrace_records;
mod kit;
mod limits;
mod perf_records;
