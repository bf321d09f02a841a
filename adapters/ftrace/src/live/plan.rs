//! What to record and how.

use kstrace_schema::ClockKind;

/// One event to record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventChoice {
    /// Its system: `sched`.
    pub system: String,
    /// Its name in there: `sched_switch`. No pattern.
    pub name: String,
    /// Only records that pass this filter, in the kernel's language.
    pub filter: Option<String>,
}

impl EventChoice {
    /// An event without a filter.
    pub fn new(system: impl Into<String>, name: impl Into<String>) -> Self {
        EventChoice {
            system: system.into(),
            name: name.into(),
            filter: None,
        }
    }
}

/// Which function tracer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TracerKind {
    /// A record for each call: `ftrace:function`.
    Function,
    /// A record for each call and return: `ftrace:funcgraph_entry`, `ftrace:funcgraph_exit`.
    FunctionGraph,
}

impl TracerKind {
    /// The kernel's word for it.
    pub fn word(self) -> &'static str {
        match self {
            TracerKind::Function => "function",
            TracerKind::FunctionGraph => "function_graph",
        }
    }
}

/// Tracing of kernel functions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FunctionTracer {
    /// Calls, or calls and returns.
    pub kind: TracerKind,
    /// Patterns of functions to trace; none for all.
    pub filters: Vec<String>,
}

/// What to record and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FtracePlan {
    /// The events.
    pub events: Vec<EventChoice>,
    /// Function tracing.
    pub tracer: Option<FunctionTracer>,
    /// Thread ids to record, with all children they make from then on; none for
    /// the whole system.
    pub pids: Vec<i32>,
    /// Thread ids never to record, with all children they make from then on:
    /// the recorder's own. A command to trace must be forked before.
    pub exclude_pids: Vec<i32>,
    /// CPUs to record on; `None` for all that are online.
    pub cpus: Option<Vec<u32>>,
    /// Size of each CPU's buffer in the kernel, in bytes.
    pub buffer_size_bytes_per_cpu: u64,
    /// Size of a sub-buffer in KiB; `None` for the kernel's default, a page. A
    /// kernel before 6.8 has pages only: there it is passed over.
    pub subbuf_size_kb: Option<u32>,
    /// Full buffers lose their oldest records (true) or the new ones (false).
    pub overwrite: bool,
    /// How full a buffer is to be, in percent, when its stream wakes its reader.
    pub buffer_percent: u8,
    /// The clock to stamp with. [`ClockKind::Tsc`] stamps in cycles, which are
    /// mapped to `CLOCK_MONOTONIC`.
    pub clock: ClockKind,
}

impl Default for FtracePlan {
    /// Nothing yet; 8 MiB a CPU, new records lost when full, woken at half.
    fn default() -> Self {
        FtracePlan {
            events: Vec::new(),
            tracer: None,
            pids: Vec::new(),
            exclude_pids: Vec::new(),
            cpus: None,
            buffer_size_bytes_per_cpu: 8 << 20,
            subbuf_size_kb: None,
            overwrite: false,
            buffer_percent: 50,
            clock: ClockKind::Monotonic,
        }
    }
}
