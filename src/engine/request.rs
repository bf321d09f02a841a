//! What the user asks for, before any kernel interface is chosen.

use kstrace_schema::ClockKind;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One `-e`, with what was said about it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EventRequest {
    /// The event as written: `sched:sched_switch`, `syscalls:*`, `cpu-clock:u`, `ftrace:function`.
    pub spec: String,
    /// A kernel filter expression, from the `--filter` after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
    /// Stacks for this event: as `/stack/` or `/nostack/` say; `None` leaves it to `-g`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stack: Option<bool>,
}

/// Whose events are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Target {
    /// Everybody's.
    #[default]
    System,
    /// Those of running processes, all their threads, and of what they start.
    Pids(Vec<i32>),
    /// Those of a command that waits to be started, from its `execve` on.
    Command {
        /// Its process id.
        pid: i32,
    },
}

/// What happens when the ring is full.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, clap::ValueEnum,
)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// New records are dropped and counted.
    #[default]
    Discard,
    /// The oldest packets are overwritten and counted (flight recorder).
    Overwrite,
}

/// Which kernel interface to take plain tracepoints from.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, clap::ValueEnum,
)]
#[serde(rename_all = "kebab-case")]
pub enum SourceChoice {
    /// The cheapest that can do what was asked.
    #[default]
    Auto,
    /// `perf_event_open` for everything.
    Perf,
    /// tracefs for everything.
    Ftrace,
    /// Both at once: every tracepoint is recorded twice. For proving that the clock is one.
    Both,
}

/// Everything that was asked of a recording.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RecordRequest {
    /// The events, in the order given.
    pub events: Vec<EventRequest>,
    /// Whose events.
    #[serde(default)]
    pub target: Target,
    /// Only these CPUs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpus: Option<Vec<u32>>,
    /// Samples per second (`-F`), for events that can be sampled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frequency_hz: Option<u64>,
    /// Events per sample (`-c`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub period: Option<u64>,
    /// Stacks (`-g`).
    #[serde(default)]
    pub callchain: bool,
    /// Functions for `ftrace:function` and `ftrace:function_graph`, as globs.
    #[serde(default)]
    pub function_filter: Vec<String>,
    /// What LTTng's kernel tracer records beside each of its events: `procname`, `vtid`, ...
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lttng_contexts: Vec<String>,
    /// The clock sources stamp with.
    #[serde(default)]
    pub clock: ClockKind,
    /// Size of each kernel buffer (perf's ring, ftrace's buffer) in bytes a CPU.
    #[serde(default = "default_kernel_buffer")]
    pub kernel_buffer_bytes_per_cpu: u64,
    /// Size of kstrace's own ring in bytes a CPU.
    #[serde(default = "default_ring")]
    pub ring_bytes_per_cpu: u64,
    /// What happens when kstrace's ring is full.
    #[serde(default)]
    pub mode: Mode,
    /// Which kernel interface to use.
    #[serde(default)]
    pub source: SourceChoice,
    /// Processes that must not appear: the recorder's own.
    #[serde(default)]
    pub exclude_pids: Vec<i32>,
}

/// Default of [`RecordRequest::kernel_buffer_bytes_per_cpu`]: 8 MiB.
pub fn default_kernel_buffer() -> u64 {
    8 << 20
}

/// Default of [`RecordRequest::ring_bytes_per_cpu`]: 1 MiB, which stays in the cache
/// while packets go on to a file at once.
pub fn default_ring() -> u64 {
    1 << 20
}

impl Default for RecordRequest {
    fn default() -> Self {
        RecordRequest {
            events: Vec::new(),
            target: Target::default(),
            cpus: None,
            frequency_hz: None,
            period: None,
            callchain: false,
            function_filter: Vec::new(),
            lttng_contexts: Vec::new(),
            clock: ClockKind::default(),
            kernel_buffer_bytes_per_cpu: default_kernel_buffer(),
            ring_bytes_per_cpu: default_ring(),
            mode: Mode::default(),
            source: SourceChoice::default(),
            exclude_pids: Vec::new(),
        }
    }
}
