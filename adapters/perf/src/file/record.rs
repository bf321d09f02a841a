//! Records that the writer makes itself.

use super::output::Output;
use super::raw;
use super::task::Comm;
use super::trailer::Trailer;
use crate::layout::SampleIdShape;
use crate::synth::kernel;
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
        // The records made here are a path long at most.
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

/// The kernel or a module of it, in memory.
#[derive(Debug)]
pub(super) struct KernelMap {
    /// Path, `[name]`, or the kernel's name with the symbol that `file_offset` is of.
    pub(super) name: Vec<u8>,
    pub(super) start: u64,
    pub(super) size_bytes: u64,
    pub(super) file_offset: u64,
}

impl KernelMap {
    /// The kernel that runs here and its modules; nothing where the addresses are hidden.
    pub(super) fn of_this_machine() -> Vec<Self> {
        let Some((start, size_bytes)) = kernel::text_range() else {
            return Vec::new();
        };
        let name = kernel::KERNEL_NAME.to_vec();
        let text = KernelMap {
            name,
            start,
            size_bytes,
            file_offset: start,
        };
        let modules = kernel::modules().into_iter();
        let modules = modules.map(|(path, start, size_bytes)| KernelMap {
            name: path.into_bytes(),
            start,
            size_bytes,
            file_offset: 0,
        });
        std::iter::once(text).chain(modules).collect()
    }
}

/// `PERF_RECORD_MMAP` of kernel memory.
pub(super) fn push_kernel_map(output: &mut Output, origin: &Origin, map: &KernelMap) {
    const MAX_NAME_BYTES: usize = 4096;
    let name = &map.name[..map.name.len().min(MAX_NAME_BYTES)];
    let room = (name.len() + 1).next_multiple_of(8);
    let body_bytes = uapi::HEADER_BYTES + 32 + room;
    let header = origin.header(
        uapi::PERF_RECORD_MMAP,
        uapi::PERF_RECORD_MISC_KERNEL,
        body_bytes,
    );
    output.push(header.as_bytes());
    output.push(&origin.trailer.pid.to_ne_bytes());
    output.push(&origin.trailer.tid.to_ne_bytes());
    output.push([map.start, map.size_bytes, map.file_offset].as_bytes());
    output.push(name);
    output.place(room - name.len()).fill(0);
    origin.trailer.push(origin.shape, output);
}
