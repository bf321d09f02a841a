//! Source selection: which kernel interface records which event, and why.
//!
//! A pure function from what was asked and what this machine offers to a
//! [`CapturePlan`]; `kstrace record --dry-run` prints it.

use super::request::{Mode, RecordRequest, SourceChoice, Target};
use super::resolve::{EventKind, FunctionTracer, ResolvedEvent};
use kstrace_lttng::kernel::{Chosen, ContextKind};
use kstrace_perf::EventSpec;
use kstrace_schema::{ClockKind, Error, ErrorKind, Result};
use std::fmt;
use tracefs::EventName;

/// What this machine offers, as far as the choice depends on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Whether tracefs can be used, or why not.
    pub tracefs: Result<(), String>,
    /// Whether `perf_event_open` can be used for tracepoints, or why not.
    pub perf_tracepoints: Result<(), String>,
    /// Tracers that tracefs offers.
    pub function_tracers: Vec<String>,
}

/// Which kernel interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    /// `perf_event_open`
    Perf,
    /// tracefs
    Ftrace,
    /// LTTng's kernel modules
    Lttng,
}

impl fmt::Display for Via {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Via::Perf => "perf",
            Via::Ftrace => "ftrace",
            Via::Lttng => "LTTng",
        })
    }
}

/// How often a sample is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sampling {
    /// So many a second.
    FrequencyHz(u64),
    /// One in so many events.
    Period(u64),
}

impl fmt::Display for Sampling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Sampling::FrequencyHz(hz) => write!(f, "{hz} Hz"),
            Sampling::Period(1) => f.write_str("every one"),
            Sampling::Period(n) => write!(f, "1 in {n}"),
        }
    }
}

/// One event with the interface chosen for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedEvent {
    /// The event.
    pub kind: EventKind,
    /// The interface.
    pub via: Via,
    /// Why that one.
    pub reason: &'static str,
    /// How often.
    pub sampling: Sampling,
    /// With stacks.
    pub stack: bool,
    /// With a kernel filter.
    pub filter: Option<String>,
}

/// What is going to be opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CapturePlan {
    /// Every event, in the order asked for.
    pub events: Vec<PlannedEvent>,
    /// Whose events.
    pub target: Target,
    /// Only these CPUs.
    pub cpus: Option<Vec<u32>>,
    /// The session clock.
    pub session_clock: ClockKind,
    /// The clock that ftrace stamps with.
    pub ftrace_clock: ClockKind,
    /// Functions to trace, as globs.
    pub function_filter: Vec<String>,
    /// What LTTng records beside each of its events.
    pub lttng_contexts: Vec<ContextKind>,
    /// Kernel buffer, bytes a CPU.
    pub kernel_buffer_bytes_per_cpu: u64,
    /// Ring, bytes a CPU.
    pub ring_bytes_per_cpu: u64,
    /// What happens when the ring is full.
    pub mode: Mode,
    /// Whether perf is also asked for the life of tasks (names, forks, exits, maps).
    pub sideband: bool,
    /// Things the user should know.
    pub notes: Vec<String>,
}

/// perf's default sampling frequency.
const DEFAULT_FREQUENCY_HZ: u64 = 4000;

/// Chooses.
///
/// # Errors
/// `ErrorKind::Unsupported` where no interface, or no clock, can do what was asked.
pub fn plan(
    request: &RecordRequest,
    events: &[ResolvedEvent],
    facts: &Facts,
) -> Result<CapturePlan> {
    if events.is_empty() {
        return Err(Error::new(
            ErrorKind::InvalidInput,
            "no event to record: name one with -e",
        ));
    }
    let any_sampled = events.iter().any(|e| matches!(e.kind, EventKind::Perf(_)));
    let mut planned = Vec::new();
    for event in events {
        let stack = event
            .stack
            .unwrap_or(request.callchain && applies(event, any_sampled));
        let sampling = sampling(request, event, any_sampled);
        let one = |via, reason| PlannedEvent {
            kind: event.kind.clone(),
            via,
            reason,
            sampling,
            stack,
            filter: event.filter.clone(),
        };
        match &event.kind {
            EventKind::Perf(name) => {
                if request.source == SourceChoice::Ftrace {
                    return Err(Error::new(
                        ErrorKind::Unsupported,
                        format!(
                            "event '{name}' exists only in perf: --source ftrace cannot record it"
                        ),
                    ));
                }
                planned.push(one(Via::Perf, "only perf has it"));
            }
            EventKind::Function(tracer) => {
                check_function_tracer(*tracer, facts)?;
                planned.push(one(Via::Ftrace, "only ftrace traces functions"));
            }
            EventKind::Lttng(chosen) => {
                check_lttng(event, chosen)?;
                planned.push(one(Via::Lttng, "asked for by name"));
            }
            EventKind::Tracepoint(tracepoint) => {
                for (via, reason) in tracepoint_via(request, tracepoint, stack, sampling, facts)? {
                    planned.push(one(via, reason));
                }
            }
        }
    }
    check_clock(request.clock, &planned)?;
    let mut notes = Vec::new();
    let of_lttng = planned.iter().any(|e| e.via == Via::Lttng);
    if of_lttng && request.target != Target::System {
        notes.push("LTTng records the processes named, not what they start".to_owned());
    }
    if !of_lttng && !request.lttng_contexts.is_empty() {
        notes.push("--context: there is no event of LTTng to have it".to_owned());
    }
    if request.callchain && any_sampled && planned.iter().any(|e| e.via == Via::Ftrace) {
        notes.push(
            "-g: stacks for the sampled events; for a tracepoint write EVENT/stack/".to_owned(),
        );
    }
    let tsc = request.clock == ClockKind::Tsc;
    Ok(CapturePlan {
        target: request.target.clone(),
        cpus: request.cpus.clone(),
        session_clock: if tsc {
            ClockKind::Monotonic
        } else {
            request.clock
        },
        ftrace_clock: request.clock,
        function_filter: request.function_filter.clone(),
        lttng_contexts: request
            .lttng_contexts
            .iter()
            .map(|word| word.parse())
            .collect::<Result<_>>()?,
        kernel_buffer_bytes_per_cpu: request.kernel_buffer_bytes_per_cpu,
        ring_bytes_per_cpu: request.ring_bytes_per_cpu,
        mode: request.mode,
        sideband: request.source != SourceChoice::Ftrace,
        events: planned,
        notes,
    })
}

/// `-g`, `-F` and `-c` are about the sampled events, where there are any; else about all.
fn applies(event: &ResolvedEvent, any_sampled: bool) -> bool {
    match event.kind {
        EventKind::Perf(_) => true,
        EventKind::Tracepoint(_) => !any_sampled,
        EventKind::Function(_) | EventKind::Lttng(_) => false,
    }
}

fn sampling(request: &RecordRequest, event: &ResolvedEvent, any_sampled: bool) -> Sampling {
    let asked = applies(event, any_sampled);
    match (request.period, request.frequency_hz) {
        (Some(n), _) if asked => Sampling::Period(n),
        (None, Some(hz)) if asked => Sampling::FrequencyHz(hz),
        _ if matches!(event.kind, EventKind::Perf(_)) => {
            Sampling::FrequencyHz(DEFAULT_FREQUENCY_HZ)
        }
        _ => Sampling::Period(1),
    }
}

fn tracepoint_via(
    request: &RecordRequest,
    tracepoint: &EventName,
    stack: bool,
    sampling: Sampling,
    facts: &Facts,
) -> Result<Vec<(Via, &'static str)>> {
    let needs_perf = if stack {
        Some("stacks need perf")
    } else if sampling != Sampling::Period(1) {
        Some("sampling needs perf")
    } else {
        None
    };
    let usable = |via: Via| match via {
        Via::Perf => facts
            .perf_tracepoints
            .as_ref()
            .map_err(String::as_str)
            .copied(),
        Via::Ftrace => facts.tracefs.as_ref().map_err(String::as_str).copied(),
        // Its tracepoints have names of their own.
        Via::Lttng => Err("LTTng's events are named lttng:NAME"),
    };
    let demand = |via: Via| {
        usable(via).map_err(|why| {
            Error::new(
                ErrorKind::PermissionDenied,
                format!("event '{tracepoint}' cannot be recorded through {via}: {why}"),
            )
        })
    };
    match request.source {
        SourceChoice::Perf => {
            demand(Via::Perf)?;
            Ok(vec![(Via::Perf, "--source perf")])
        }
        SourceChoice::Ftrace => {
            demand(Via::Ftrace)?;
            if let Some(why) = needs_perf {
                return Err(Error::new(
                    ErrorKind::Unsupported,
                    format!("event '{tracepoint}': {why}, but --source ftrace was asked for"),
                ));
            }
            Ok(vec![(Via::Ftrace, "--source ftrace")])
        }
        SourceChoice::Both => {
            demand(Via::Perf)?;
            demand(Via::Ftrace)?;
            Ok(vec![
                (Via::Perf, "--source both"),
                (Via::Ftrace, "--source both"),
            ])
        }
        SourceChoice::Auto => {
            if let Some(why) = needs_perf {
                demand(Via::Perf)?;
                return Ok(vec![(Via::Perf, why)]);
            }
            match (usable(Via::Ftrace), usable(Via::Perf)) {
                (Ok(()), _) => Ok(vec![(Via::Ftrace, "cheapest for the traced program")]),
                (Err(_), Ok(())) => Ok(vec![(Via::Perf, "tracefs cannot be used")]),
                (Err(tracefs), Err(perf)) => Err(Error::new(
                    ErrorKind::PermissionDenied,
                    format!(
                        "event '{tracepoint}' cannot be recorded: tracefs: {tracefs}; perf: {perf} \
                         (see `kstrace doctor`)"
                    ),
                )),
            }
        }
    }
}

/// What LTTng's kernel tracer has, but not through kstrace.
fn check_lttng(event: &ResolvedEvent, chosen: &Chosen) -> Result<()> {
    let what = match (&event.filter, event.stack) {
        (Some(_), _) => "a filter",
        (None, Some(true)) => "a stack (but for --context callstack-kernel)",
        _ => return Ok(()),
    };
    Err(Error::new(
        ErrorKind::Unsupported,
        format!("event '{chosen}': LTTng's events cannot have {what} here"),
    ))
}

fn check_function_tracer(tracer: FunctionTracer, facts: &Facts) -> Result<()> {
    if let Err(why) = &facts.tracefs {
        return Err(Error::new(
            ErrorKind::PermissionDenied,
            format!("ftrace:{} cannot be recorded: {why}", tracer.word()),
        ));
    }
    if facts.function_tracers.iter().any(|t| t == tracer.word()) {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Unsupported,
        format!(
            "this kernel has no tracer '{}': it offers {}",
            tracer.word(),
            if facts.function_tracers.is_empty() {
                "none".to_owned()
            } else {
                facts.function_tracers.join(", ")
            }
        ),
    ))
}

/// Whether every source chosen can stamp with the clock.
fn check_clock(clock: ClockKind, events: &[PlannedEvent]) -> Result<()> {
    let refuse = |event: &PlannedEvent, why: &str| {
        Err(Error::new(
            ErrorKind::Unsupported,
            format!(
                "clock {clock}: {} through {} cannot follow it: {why}",
                event.kind, event.via
            ),
        ))
    };
    for event in events {
        match (event.via, clock) {
            (Via::Lttng, clock) if !matches!(clock, ClockKind::Monotonic | ClockKind::Tsc) => {
                return refuse(event, "LTTng's modules stamp with monotonic");
            }
            (Via::Ftrace, ClockKind::Realtime) => {
                return refuse(event, "ftrace has no realtime clock");
            }
            (Via::Perf, ClockKind::Realtime | ClockKind::Boottime | ClockKind::Tai)
                if !is_software(&event.kind) =>
            {
                return refuse(
                    event,
                    "perf allows it only for software events (perf_event_open(2), use_clockid)",
                );
            }
            (_, ClockKind::Tsc) if cfg!(not(target_arch = "x86_64")) => {
                return refuse(event, "this machine has no TSC");
            }
            _ => {}
        }
    }
    Ok(())
}

fn is_software(kind: &EventKind) -> bool {
    matches!(kind, EventKind::Perf(name)
        if name.parse::<EventSpec>().is_ok_and(|s| matches!(s.kind, kstrace_perf::EventKind::Software(_))))
}

impl fmt::Display for CapturePlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.target {
            Target::System => writeln!(f, "target: the whole system")?,
            Target::Pids(pids) => {
                let list: Vec<_> = pids.iter().map(ToString::to_string).collect();
                writeln!(f, "target: process {} and what it starts", list.join(", "))?;
            }
            Target::Command { .. } => writeln!(f, "target: the command and what it starts")?,
        }
        if let Some(cpus) = &self.cpus {
            let list: Vec<_> = cpus.iter().map(ToString::to_string).collect();
            writeln!(f, "cpus: {}", list.join(","))?;
        }
        if self.ftrace_clock == self.session_clock {
            writeln!(f, "clock: {}", self.session_clock)?;
        } else {
            writeln!(
                f,
                "clock: {}; ftrace stamps with {}, mapped by clock pairs",
                self.session_clock, self.ftrace_clock
            )?;
        }
        writeln!(
            f,
            "kernel buffers: {} KiB a CPU and interface; ring: {} KiB a CPU, {}",
            self.kernel_buffer_bytes_per_cpu >> 10,
            self.ring_bytes_per_cpu >> 10,
            match self.mode {
                Mode::Discard => "drops the newest when full",
                Mode::Overwrite => "overwrites the oldest when full",
            }
        )?;
        for event in &self.events {
            write!(f, "  {} via {} ({}", event.kind, event.via, event.reason)?;
            if event.sampling != Sampling::Period(1) {
                write!(f, "; {}", event.sampling)?;
            }
            if event.stack {
                f.write_str("; with stacks")?;
            }
            if let Some(filter) = &event.filter {
                write!(f, "; if {filter}")?;
            }
            f.write_str(")\n")?;
        }
        if self.sideband {
            f.write_str("  names, forks, exits and maps of tasks via perf (sideband)\n")?;
        }
        for note in &self.notes {
            writeln!(f, "note: {note}")?;
        }
        Ok(())
    }
}
