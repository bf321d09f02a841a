//! The tests of this crate that need more than the crate itself.

mod flags;
mod live;
mod perf_data;
mod reading;
