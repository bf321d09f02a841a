//! Carries out a plan on an instance.

use super::border;
use super::plan::{FtracePlan, FunctionTracer, TracerKind};
use kstrace_schema::{ClockKind, Error, ErrorKind, Result};
use std::collections::BTreeMap;
use tracefs::{EventCatalog, EventName, TraceArray};

/// The kernel's word for a clock.
pub(super) fn trace_clock(kind: ClockKind) -> Result<&'static str> {
    Ok(match kind {
        ClockKind::Monotonic => "mono",
        ClockKind::MonotonicRaw => "mono_raw",
        ClockKind::Boottime => "boot",
        ClockKind::Tai => "tai",
        ClockKind::Tsc => "x86-tsc",
        ClockKind::Realtime | ClockKind::Sched | ClockKind::Foreign => {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!(
                    "ftrace cannot stamp with the clock {kind}: one of monotonic, monotonic_raw, boottime, tai, tsc"
                ),
            ));
        }
    })
}

/// Sets up everything but the switch `tracing_on`.
pub(super) fn set_up(
    instance: &TraceArray,
    catalog: &EventCatalog,
    plan: &FtracePlan,
    cpus: &[u32],
) -> Result<()> {
    if plan.events.is_empty() && plan.tracer.is_none() {
        return Err(Error::new(
            ErrorKind::InvalidInput,
            "nothing to record with ftrace",
        ));
    }
    inherited(instance).map_err(|e| border("trace options", e))?;
    // What empties the buffers comes first, what makes records last.
    let clock = trace_clock(plan.clock)?;
    instance
        .set_clock(clock)
        .map_err(|e| border(format!("trace clock {clock}"), e))?;
    buffers(instance, plan, cpus).map_err(|e| border("ftrace buffers", e))?;
    tasks(instance, plan).map_err(|e| border("tasks to trace", e))?;
    if let Some(tracer) = &plan.tracer {
        function_tracer(instance, tracer, plan)
            .map_err(|e| border(format!("tracer {}", tracer.kind.word()), e))?;
    }
    events(instance, catalog, plan)
}

/// A new instance takes over what somebody left switched on at the top: a stack for each event
/// costs a microsecond each.
fn inherited(instance: &TraceArray) -> tracefs::Result<()> {
    for option in [
        "stacktrace",
        "userstacktrace",
        "func_stack_trace",
        "event-fork",
        "function-fork",
    ] {
        match instance.set_option(option, false) {
            // Some belong to tracers or kernels that are not there.
            Err(e) if e.is_not_found() => {}
            other => other?,
        }
    }
    Ok(())
}

fn buffers(instance: &TraceArray, plan: &FtracePlan, cpus: &[u32]) -> tracefs::Result<()> {
    if let Some(kib) = plan.subbuf_size_kb {
        match instance.set_sub_buffer_size_kib(kib) {
            Err(e) if e.is_not_found() => {}
            other => other?,
        }
    }
    let kib = plan.buffer_size_bytes_per_cpu.div_ceil(1024).max(1);
    if plan.cpus.is_some() {
        for cpu in cpus {
            instance.set_cpu_buffer_size_kib(*cpu, kib)?;
        }
        instance.set_cpus(cpus)?;
    } else {
        instance.set_buffer_size_kib(kib)?;
    }
    instance.set_option("overwrite", plan.overwrite)?;
    set_buffer_percent(instance, plan.buffer_percent)
}

/// Sets the wake-up level; a kernel before 4.20 has none and wakes at any data.
pub(super) fn set_buffer_percent(instance: &TraceArray, percent: u8) -> tracefs::Result<()> {
    match instance.set_buffer_percent(percent) {
        Err(e) if e.is_not_found() => Ok(()),
        other => other,
    }
}

fn tasks(instance: &TraceArray, plan: &FtracePlan) -> tracefs::Result<()> {
    if plan.pids.is_empty() && plan.exclude_pids.is_empty() {
        return Ok(());
    }
    instance.set_option("event-fork", true)?;
    if !plan.pids.is_empty() {
        instance.set_event_pids(&plan.pids)?;
    }
    if !plan.exclude_pids.is_empty() {
        instance.set_event_notrace_pids(&plan.exclude_pids)?;
    }
    Ok(())
}

fn function_tracer(
    instance: &TraceArray,
    tracer: &FunctionTracer,
    plan: &FtracePlan,
) -> tracefs::Result<()> {
    if !tracer.filters.is_empty() {
        instance.set_function_filters(&tracer.filters)?;
    }
    if !plan.pids.is_empty() || !plan.exclude_pids.is_empty() {
        instance.set_option("function-fork", true)?;
    }
    if !plan.pids.is_empty() {
        instance.set_function_pids(&plan.pids)?;
    }
    if !plan.exclude_pids.is_empty() {
        instance.set_function_notrace_pids(&plan.exclude_pids)?;
    }
    instance.set_current_tracer(match tracer.kind {
        TracerKind::Function => "function",
        TracerKind::FunctionGraph => "function_graph",
    })
}

fn events(instance: &TraceArray, catalog: &EventCatalog, plan: &FtracePlan) -> Result<()> {
    let mut in_system: BTreeMap<&str, usize> = BTreeMap::new();
    for name in catalog.names() {
        *in_system.entry(&name.system).or_default() += 1;
    }
    let mut chosen: BTreeMap<&str, Vec<EventName>> = BTreeMap::new();
    for choice in &plan.events {
        let event = EventName::new(&choice.system, &choice.name);
        if let Some(filter) = &choice.filter {
            instance
                .set_filter(&event, filter)
                .map_err(|e| border(format!("filter of {event}"), e))?;
        }
        let names = chosen.entry(&choice.system).or_default();
        if !names.contains(&event) {
            names.push(event);
        }
    }
    for (system, names) in chosen {
        // One write for the whole system; hundreds of single ones take long.
        if names.len() > 1
            && in_system.get(system) == Some(&names.len())
            && instance.enable_system(system).is_ok()
        {
            continue;
        }
        for event in names {
            instance
                .enable_event(&event)
                .map_err(|e| border(format!("event {event}"), e))?;
        }
    }
    Ok(())
}
