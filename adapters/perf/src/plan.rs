//! What to record.

use crate::EventSpec;
use kstrace_schema::ClockKind;

/// How long a record may take from its time stamp to its place in the ring.
///
/// Time stamp and commit happen with preemption off, so it is the longest
/// stretch of nested interrupts; a record that takes longer still (the
/// hypervisor took the CPU away) is delivered late, never dropped.
pub const DEFAULT_GRACE_NS: u64 = 2_000_000;

/// How often an event makes a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Period {
    /// About so many samples a second and CPU (`perf record -F`).
    Freq(u64),
    /// Every so many events (`perf record -c`).
    Period(u64),
}

/// One event to record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventRequest {
    /// Which event.
    pub spec: EventSpec,
    /// How often it makes a sample.
    pub period: Period,
    /// Whether to take the kernel and user stack by frame pointers.
    pub callchain: bool,
    /// For tracepoints, whether to take the fields; ignored for other events.
    pub raw: bool,
    /// The kernel's filter expression, tracepoints only.
    pub filter: Option<String>,
    /// Leave out samples of user space, beside what the spec's modifiers say.
    pub exclude_user: bool,
    /// Leave out samples of the kernel, beside what the spec's modifiers say.
    pub exclude_kernel: bool,
    /// Name of the class; the event's own name when `None`.
    pub name: Option<String>,
}

impl EventRequest {
    /// The event as `perf record` would take it without `-F`, `-c` or `-g`:
    /// tracepoints each time, software counters of rare things each time,
    /// clocks and hardware events at 4000 Hz.
    pub fn new(spec: EventSpec) -> Self {
        let period = spec.default_period();
        EventRequest {
            spec,
            period,
            callchain: false,
            raw: true,
            filter: None,
            exclude_user: false,
            exclude_kernel: false,
            name: None,
        }
    }
}

/// Whom to record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Every task on the CPUs of [`PerfPlan::cpus`].
    System,
    /// These processes with all their threads, and what they fork from now on.
    Pids(Vec<i32>),
    /// A process that is about to `execve`: recording begins with that.
    Command(i32),
}

/// A whole recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PerfPlan {
    /// The events. May be empty if `sideband` is set.
    pub events: Vec<EventRequest>,
    /// Record what makes samples readable: processes, threads, names, mappings,
    /// kernel symbols that come and go, and those that exist at the start.
    pub sideband: bool,
    /// Whom to record.
    pub target: Target,
    /// Which CPUs; all that are online when `None`.
    pub cpus: Option<Vec<u32>>,
    /// Room for records per CPU in bytes: a power of two, at least a page.
    pub mmap_size_bytes_per_cpu: usize,
    /// The clock to stamp with, which is the session clock.
    pub clock: ClockKind,
    /// Keep the tracepoints that this process itself hits out of the trace
    /// (see [`crate::PerfSource`] for what that covers).
    pub exclude_own: bool,
    /// See [`DEFAULT_GRACE_NS`].
    pub grace_ns: u64,
}

impl PerfPlan {
    /// A plan for these events with sideband, all CPUs, 4 MiB a CPU,
    /// `CLOCK_MONOTONIC`, and for [`Target::System`] without the recorder itself.
    pub fn new(target: Target, events: Vec<EventRequest>) -> Self {
        PerfPlan {
            events,
            sideband: true,
            exclude_own: target == Target::System,
            target,
            cpus: None,
            mmap_size_bytes_per_cpu: 4 << 20,
            clock: ClockKind::Monotonic,
            grace_ns: DEFAULT_GRACE_NS,
        }
    }
}
