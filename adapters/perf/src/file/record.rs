//! Records that the writer makes itself.

use super::output::Output;
use super::raw;
use super::task::Comm;
use super::trailer::Trailer;
use crate::layout::SampleIdShape;
use crate::uapi;
use zerocopy::IntoBytes;

/// Where a made record belongs: its event's trailer shape, and what the trailer says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Origin {
    pub(super) shape: SampleIdShape,
    pub(super) trailer: Trailer,
}

impl Origin {
    fn header(&self, r#type: u32, misc: u16, body_bytes: usize) -> raw::PerfEventHeader {
        // The records made here take less than 100 bytes.
        let size = (body_bytes + self.shape.size_bytes()) as u16;
        raw::PerfEventHeader { r#type, misc, size }
    }
}

/// `PERF_RECORD_COMM`: the task of the trailer has this name.
pub(super) fn push_comm(output: &mut Output, origin: &Origin, comm: Comm, exec: bool) {
    let misc = if exec { raw::MISC_COMM_EXEC } else { 0 };
    let body = raw::CommBody {
        header: origin.header(uapi::PERF_RECORD_COMM, misc, size_of::<raw::CommBody>()),
        pid: origin.trailer.pid,
        tid: origin.trailer.tid,
        comm,
    };
    output.push(body.as_bytes());
    origin.trailer.push(origin.shape, output);
}

/// `PERF_RECORD_FORK`: the task of the trailer made another.
pub(super) fn push_fork(output: &mut Output, origin: &Origin, child_pid: u32, child_tid: u32) {
    let body = raw::ForkBody {
        header: origin.header(uapi::PERF_RECORD_FORK, 0, size_of::<raw::ForkBody>()),
        pid: child_pid,
        ppid: origin.trailer.pid,
        tid: child_tid,
        ptid: origin.trailer.tid,
        time: origin.trailer.time_ns,
    };
    output.push(body.as_bytes());
    origin.trailer.push(origin.shape, output);
}

/// `PERF_RECORD_LOST`: the event `id` lost so many records.
pub(super) fn push_lost(output: &mut Output, origin: &Origin, id: u64, lost: u64) {
    let body = raw::LostBody {
        header: origin.header(uapi::PERF_RECORD_LOST, 0, size_of::<raw::LostBody>()),
        id,
        lost,
    };
    output.push(body.as_bytes());
    origin.trailer.push(origin.shape, output);
}

/// `PERF_RECORD_FINISHED_ROUND`.
pub(super) fn push_finished_round(output: &mut Output) {
    let header = raw::PerfEventHeader {
        r#type: raw::PERF_RECORD_FINISHED_ROUND,
        misc: 0,
        size: uapi::HEADER_BYTES as u16,
    };
    output.push(header.as_bytes());
}
