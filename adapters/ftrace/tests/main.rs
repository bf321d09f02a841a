//! Integration tests of the ftrace source on the running kernel, one binary.

mod collect;
mod helper;
mod live;
mod trace_dat;
