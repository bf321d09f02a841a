//! The process tree: which threads there are, whose, and what they are called.

use crate::event::by_names;
use crate::output::{MAIN_SEQUENCE, Output};
use crate::wire::Proto;
use kstrace_schema::decode::FieldAccess;
use kstrace_schema::{EventRecordClass, NativeDescription, Result, builtin, namespace};
use rustc_hash::FxHashMap;

/// `TracePacket.process_tree`.
const PROCESS_TREE: u32 = 2;
/// `ProcessTree.processes`, `.threads`.
const PROCESSES: u32 = 1;
const THREADS: u32 = 2;
/// Fields of `Process`.
const PID: u32 = 1;
const PPID: u32 = 2;
const CMDLINE: u32 = 3;
const IS_KTHREAD: u32 = 8;
const CMDLINE_IS_COMM: u32 = 9;
/// Fields of `Thread`.
const TID: u32 = 1;
const NAME: u32 = 2;
const TGID: u32 = 3;

const PERF_RECORD_COMM: u32 = 3;
const PERF_RECORD_FORK: u32 = 7;
/// What LTTng tells of each process when it begins.
const LTTNG_STATE: &str = "lttng_statedump_process_state";

/// Names that are remembered so that children inherit them; the kernel numbers no more
/// tasks (`PID_MAX_LIMIT`).
const MAX_NAMES: usize = 1 << 22;

/// What is told of one thread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ThreadFacts<'a> {
    pub(crate) tid: i32,
    /// Thread group.
    pub(crate) pid: Option<i32>,
    pub(crate) ppid: Option<i32>,
    /// Empty if it is not told.
    pub(crate) name: &'a [u8],
    pub(crate) is_kernel: bool,
}

/// A class whose records tell of a thread.
#[derive(Debug)]
pub(crate) struct ProcessPlan {
    tid: FieldAccess,
    pid: Option<FieldAccess>,
    ppid: Option<FieldAccess>,
    name: Option<FieldAccess>,
    kernel: Option<FieldAccess>,
    /// Of a fork: the thread whose name the new one has.
    parent_tid: Option<FieldAccess>,
}

impl ProcessPlan {
    /// `None` if the class is none of those.
    pub(crate) fn new(class: &EventRecordClass) -> Option<Self> {
        let field = |name: &str| by_names(&class.payload, &[name]);
        let (name, with_parent) = match class.native {
            NativeDescription::PerfRecord { record_type, .. } => match record_type {
                PERF_RECORD_COMM => (field("comm"), false),
                PERF_RECORD_FORK => (None, true),
                _ => return None,
            },
            _ if class.namespace == namespace::KSTRACE && class.name == builtin::PROCESS => {
                (field("comm"), false)
            }
            _ if class.namespace == namespace::LTTNG && class.name == LTTNG_STATE => {
                (field("name"), false)
            }
            _ => return None,
        };
        Some(ProcessPlan {
            tid: field("tid")?,
            pid: field("pid"),
            ppid: field("ppid"),
            name,
            kernel: field("kernel"),
            parent_tid: field("ptid").filter(|_| with_parent),
        })
    }
}

/// Writes the process tree, as it becomes known.
#[derive(Debug, Default)]
pub(crate) struct Processes {
    names: FxHashMap<i32, [u8; 16]>,
}

impl Processes {
    /// What a record tells. `None` if its bytes are too few.
    pub(crate) fn record(
        &mut self,
        plan: &ProcessPlan,
        payload: &[u8],
        time: (u32, u64),
        out: &mut Output,
    ) -> Result<Option<()>> {
        let id = |access: &FieldAccess| access.get_i64(payload).map(|v| v as i32);
        let Some(tid) = id(&plan.tid) else {
            return Ok(None);
        };
        let parent = plan.parent_tid.as_ref().and_then(id);
        let inherited = parent.and_then(|p| self.names.get(&p)).copied();
        let own = plan.name.as_ref().and_then(|f| f.get_bytes(payload));
        let thread = ThreadFacts {
            tid,
            pid: plan.pid.as_ref().and_then(id),
            ppid: plan.ppid.as_ref().and_then(id),
            name: own
                .or(inherited.as_ref().map(until_nul))
                .unwrap_or_default(),
            is_kernel: plan.kernel.as_ref().and_then(id) == Some(1),
        };
        self.write(&[thread], Some(time), out)?;
        Ok(Some(()))
    }

    /// Writes what is known of some threads.
    pub(crate) fn write(
        &mut self,
        threads: &[ThreadFacts<'_>],
        time: Option<(u32, u64)>,
        out: &mut Output,
    ) -> Result<()> {
        for thread in threads {
            self.remember(thread);
        }
        out.packet(MAIN_SEQUENCE, time, |p| {
            let tree = p.open(PROCESS_TREE);
            for thread in threads {
                write_process(p, thread);
            }
            for thread in threads {
                write_thread(p, thread);
            }
            p.close(tree);
        })
    }

    fn remember(&mut self, thread: &ThreadFacts<'_>) {
        if thread.name.is_empty()
            || (self.names.len() >= MAX_NAMES && !self.names.contains_key(&thread.tid))
        {
            return;
        }
        let mut name = [0; 16];
        for (to, from) in name.iter_mut().zip(thread.name) {
            *to = *from;
        }
        self.names.insert(thread.tid, name);
    }
}

fn until_nul(name: &[u8; 16]) -> &[u8] {
    let end = name.iter().position(|b| *b == 0).unwrap_or(name.len());
    &name[..end]
}

/// A process is told of by its first thread.
fn write_process(p: &mut Proto, thread: &ThreadFacts<'_>) {
    if thread.pid != Some(thread.tid) {
        return;
    }
    let process = p.open(PROCESSES);
    p.int(PID, thread.tid.into());
    if let Some(ppid) = thread.ppid {
        p.int(PPID, ppid.into());
    }
    if !thread.name.is_empty() {
        p.text(CMDLINE, thread.name);
        p.bool(CMDLINE_IS_COMM, true);
    }
    if thread.is_kernel {
        p.bool(IS_KTHREAD, true);
    }
    p.close(process);
}

fn write_thread(p: &mut Proto, thread: &ThreadFacts<'_>) {
    let message = p.open(THREADS);
    p.int(TID, thread.tid.into());
    if !thread.name.is_empty() {
        p.text(NAME, thread.name);
    }
    if let Some(pid) = thread.pid {
        p.int(TGID, pid.into());
    }
    p.close(message);
}
