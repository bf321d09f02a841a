//! From a plan to open sources.

use super::plan::{CapturePlan, PlannedEvent, Sampling, Via};
use super::request::{Mode, RecordRequest, Target};
use super::resolve::{EventKind, FunctionTracer};
use kstrace_ftrace::{EventChoice, FtracePlan, FtraceSource, FunctionTracer as Tracer};
use kstrace_lttng::kernel::{KernelPlan, KernelSource};
use kstrace_perf::{EventRequest, EventSpec, PerfPlan, PerfSource, Period};
use kstrace_schema::{ClassRegistry, Error, ErrorKind, Result, ResultExt, Source, SourceId};
use std::fs;
use std::sync::Arc;

/// Id of the perf source in every session.
pub(super) const PERF: SourceId = SourceId(1);
/// Id of the ftrace source in every session.
pub(super) const FTRACE: SourceId = SourceId(2);
/// Id of LTTng's kernel tracer in every session.
pub(super) const LTTNG: SourceId = SourceId(3);

/// perf's ring for sideband alone: names and maps of tasks are few.
const SIDEBAND_BUFFER_BYTES: u64 = 256 << 10;

/// ftrace's sub-buffers: fewer changes of page for the traced program and fewer
/// reads for us than with the kernel's 4 KiB (docs/performance.md).
const FTRACE_SUB_BUFFER_KIB: u32 = 16;

/// Opens the sources of a plan, stopped.
pub(super) fn sources(
    plan: &CapturePlan,
    request: &RecordRequest,
    registry: &Arc<ClassRegistry>,
    notes: &mut Vec<String>,
) -> Result<Vec<Box<dyn Source>>> {
    if let Target::Pids(pids) = &plan.target {
        for pid in pids {
            check_pid(*pid)?;
        }
    }
    let mut sources: Vec<Box<dyn Source>> = Vec::new();
    let through_perf: Vec<_> = plan.events.iter().filter(|e| e.via == Via::Perf).collect();
    if !through_perf.is_empty() || plan.sideband {
        let perf_plan = perf_plan(plan, &through_perf)?;
        match PerfSource::open(perf_plan, PERF, Arc::clone(registry)) {
            Ok(source) => {
                notes.extend(source.notes().iter().cloned());
                sources.push(Box::new(source));
            }
            Err(error) if through_perf.is_empty() => notes.push(format!(
                "names and maps of tasks that start later are not recorded: {error}"
            )),
            Err(error) => return Err(error.into()),
        }
    }
    // After perf: whoever is there first is called first at a tracepoint, and perf takes
    // less time until the other's turn.
    let through_ftrace: Vec<_> = plan
        .events
        .iter()
        .filter(|e| e.via == Via::Ftrace)
        .collect();
    if !through_ftrace.is_empty() {
        let ftrace_plan = ftrace_plan(plan, request, &through_ftrace)?;
        let source = FtraceSource::open(ftrace_plan, FTRACE, Arc::clone(registry))?;
        sources.push(Box::new(source));
    }
    let through_lttng = lttng_plan(plan);
    if !through_lttng.events.is_empty() {
        let source = KernelSource::open(through_lttng, LTTNG, Arc::clone(registry))?;
        sources.push(Box::new(source));
    }
    Ok(sources)
}

fn lttng_plan(plan: &CapturePlan) -> KernelPlan {
    let chosen = plan.events.iter().filter_map(|event| match &event.kind {
        EventKind::Lttng(chosen) => Some(chosen.clone()),
        _ => None,
    });
    KernelPlan {
        events: chosen.collect(),
        contexts: plan.lttng_contexts.clone(),
        pids: match &plan.target {
            Target::System => Vec::new(),
            Target::Command { pid } => vec![*pid],
            Target::Pids(pids) => pids.clone(),
        },
        cpus: plan.cpus.clone(),
        buffer_bytes_per_cpu: plan.kernel_buffer_bytes_per_cpu,
    }
}

fn check_pid(pid: i32) -> Result<()> {
    if pid > 0 && fs::exists(format!("/proc/{pid}")).unwrap_or(false) {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::NotFound,
        format!("-p {pid}: there is no process {pid}"),
    ))
}

/// A process's threads: ftrace filters by thread.
fn threads(pid: i32) -> Result<Vec<i32>> {
    let path = format!("/proc/{pid}/task");
    let entries = fs::read_dir(&path).context(|| format!("process {pid}: {path}"))?;
    Ok(entries
        .filter_map(|e| e.ok()?.file_name().to_str()?.parse().ok())
        .collect())
}

fn ftrace_plan(
    plan: &CapturePlan,
    request: &RecordRequest,
    events: &[&PlannedEvent],
) -> Result<FtracePlan> {
    let mut out = FtracePlan {
        pids: match &plan.target {
            Target::System => Vec::new(),
            Target::Command { pid } => vec![*pid],
            Target::Pids(pids) => pids
                .iter()
                .map(|p| threads(*p))
                .collect::<Result<Vec<_>>>()?
                .concat(),
        },
        exclude_pids: match plan.target {
            Target::System => request
                .exclude_pids
                .iter()
                .flat_map(|p| threads(*p).unwrap_or_default())
                .collect(),
            _ => Vec::new(),
        },
        cpus: plan.cpus.clone(),
        buffer_size_bytes_per_cpu: plan.kernel_buffer_bytes_per_cpu,
        subbuf_size_kb: Some(FTRACE_SUB_BUFFER_KIB),
        overwrite: plan.mode == Mode::Overwrite,
        clock: plan.ftrace_clock,
        ..FtracePlan::default()
    };
    for event in events {
        match &event.kind {
            EventKind::Tracepoint(name) => out.events.push(EventChoice {
                system: name.system.clone(),
                name: name.name.clone(),
                filter: event.filter.clone(),
            }),
            EventKind::Function(tracer) => {
                let kind = match tracer {
                    FunctionTracer::Function => kstrace_ftrace::TracerKind::Function,
                    FunctionTracer::Graph => kstrace_ftrace::TracerKind::FunctionGraph,
                };
                if out.tracer.as_ref().is_some_and(|t| t.kind != kind) {
                    return Err(Error::new(
                        ErrorKind::Unsupported,
                        "ftrace runs one function tracer at a time: \
                         choose ftrace:function or ftrace:function_graph",
                    ));
                }
                out.tracer = Some(Tracer {
                    kind,
                    filters: plan.function_filter.clone(),
                });
            }
            // Not chosen for ftrace.
            EventKind::Lttng(_) => {}
            EventKind::Perf(name) => {
                return Err(Error::new(
                    ErrorKind::Unsupported,
                    format!("event '{name}' exists only in perf"),
                ));
            }
        }
    }
    Ok(out)
}

fn perf_plan(plan: &CapturePlan, events: &[&PlannedEvent]) -> Result<PerfPlan> {
    let target = match &plan.target {
        Target::System => kstrace_perf::Target::System,
        Target::Pids(pids) => kstrace_perf::Target::Pids(pids.clone()),
        Target::Command { pid } => kstrace_perf::Target::Command(*pid),
    };
    let requests = events
        .iter()
        .map(|e| perf_event(e))
        .collect::<Result<Vec<_>>>()?;
    let buffer = if requests.is_empty() {
        SIDEBAND_BUFFER_BYTES
    } else {
        plan.kernel_buffer_bytes_per_cpu
    };
    let mut out = PerfPlan::new(target, requests);
    out.sideband = plan.sideband;
    out.cpus = plan.cpus.clone();
    out.clock = plan.session_clock;
    out.mmap_size_bytes_per_cpu = usize::try_from(buffer)
        .ok()
        .and_then(usize::checked_next_power_of_two)
        .ok_or_else(|| Error::new(ErrorKind::InvalidInput, format!("-m: {buffer} bytes")))?;
    Ok(out)
}

fn perf_event(event: &PlannedEvent) -> Result<EventRequest> {
    let spec = match &event.kind {
        EventKind::Tracepoint(name) => EventSpec::tracepoint(&name.system, &name.name),
        EventKind::Perf(text) => text.parse::<EventSpec>().map_err(Error::from)?,
        EventKind::Function(_) | EventKind::Lttng(_) => {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!("perf does not have '{}'", event.kind),
            ));
        }
    };
    let mut request = EventRequest::new(spec);
    request.period = match event.sampling {
        Sampling::FrequencyHz(hz) => Period::Freq(hz),
        Sampling::Period(n) => Period::Period(n),
    };
    request.callchain = event.stack;
    request.filter = event.filter.clone();
    Ok(request)
}
