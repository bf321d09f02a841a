//! The `sample_id` trailer of records other than samples, to be written.

use super::output::Output;
use crate::layout::SampleIdShape;
use crate::uapi::*;

/// What a trailer says.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Trailer {
    pub(super) pid: u32,
    pub(super) tid: u32,
    pub(super) time_ns: u64,
    pub(super) cpu: u32,
    pub(super) id: u64,
}

impl Trailer {
    /// Appends the trailer in that shape to reserved output.
    pub(super) fn push(&self, shape: SampleIdShape, output: &mut Output) {
        let has = |part| shape.bits() & part != 0;
        if has(PERF_SAMPLE_TID) {
            output.push(&self.pid.to_ne_bytes());
            output.push(&self.tid.to_ne_bytes());
        }
        if has(PERF_SAMPLE_TIME) {
            output.push(&self.time_ns.to_ne_bytes());
        }
        if has(PERF_SAMPLE_ID) {
            output.push(&self.id.to_ne_bytes());
        }
        if has(PERF_SAMPLE_STREAM_ID) {
            output.push(&self.id.to_ne_bytes());
        }
        if has(PERF_SAMPLE_CPU) {
            output.push(&self.cpu.to_ne_bytes());
            output.push(&[0; 4]);
        }
        if has(PERF_SAMPLE_IDENTIFIER) {
            output.push(&self.id.to_ne_bytes());
        }
    }
}
