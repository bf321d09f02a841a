//! Writing perf.data, judged by the real perf.

mod compat;
mod differential;
mod ftrace_records;
pub(crate) mod kit;
mod limits;
mod live;
mod perf_records;
