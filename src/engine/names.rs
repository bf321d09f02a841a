//! What this machine has: event names, and the facts that the choice of sources needs.

use super::plan::{CapturePlan, Facts, plan};
use super::request::RecordRequest;
use super::resolve::{EventNames, resolve};
use kstrace_lttng::kernel::{Chosen, Tracer, choose};
use kstrace_perf::EventSpec;
use kstrace_schema::Result;
use tracefs::{EventName, Tracefs};

/// The names that this kernel offers now.
#[derive(Debug)]
pub struct LiveNames {
    tracepoints: Result<Vec<EventName>, String>,
}

impl LiveNames {
    /// Asks tracefs.
    pub fn read() -> Self {
        LiveNames {
            tracepoints: Tracefs::discover()
                .and_then(|t| {
                    let catalog = t.events()?;
                    let mut names = catalog.names().to_vec();
                    // Not switched on one by one, but known to whoever asks for them.
                    names.extend(catalog.internal().unwrap_or_default());
                    Ok(names)
                })
                .map_err(|e| e.to_string()),
        }
    }
}

impl EventNames for LiveNames {
    fn tracepoints(&self) -> &[EventName] {
        self.tracepoints.as_deref().unwrap_or_default()
    }

    fn is_perf_event(&self, spec: &str) -> bool {
        spec.parse::<EventSpec>().is_ok_and(|s| !s.is_tracepoint())
    }

    fn perf_names(&self) -> Vec<String> {
        kstrace_perf::software_and_hardware_names()
            .into_iter()
            .map(|(name, _)| name)
            .collect()
    }

    fn tracepoints_missing(&self) -> Option<&str> {
        self.tracepoints.as_ref().err().map(String::as_str)
    }

    fn lttng(&self, spec: &str) -> Result<Vec<Chosen>> {
        // Opened only when it is asked for: nobody else needs it.
        let tracer = Tracer::open()?;
        choose(spec, &tracer.tracepoints()?, &tracer.syscalls()?)
    }
}

/// What of the kernel's interfaces can be used here and now.
pub fn facts() -> Facts {
    let tracefs = Tracefs::discover();
    Facts {
        function_tracers: tracefs
            .as_ref()
            .ok()
            .and_then(|t| t.top().available_tracers().ok())
            .unwrap_or_default(),
        tracefs: tracefs.map(|_| ()).map_err(|e| e.to_string()),
        perf_tracepoints: perf_tracepoints(),
    }
}

/// `perf_event_paranoid` above -1 keeps raw tracepoint data from those without
/// `CAP_PERFMON` (perf_event_open(2)).
fn perf_tracepoints() -> Result<(), String> {
    const PATH: &str = "/proc/sys/kernel/perf_event_paranoid";
    let level: i32 = match std::fs::read_to_string(PATH) {
        Ok(text) => text.trim().parse().unwrap_or(i32::MAX),
        Err(_) => return Err("this kernel has no perf events".to_owned()),
    };
    if level <= -1 || nix::unistd::geteuid().is_root() {
        return Ok(());
    }
    Err(format!(
        "perf_event_paranoid is {level}: only -1 lets a user read tracepoints"
    ))
}

/// Resolves the events of a request on this machine and chooses their sources.
///
/// # Errors
/// Unknown events, and what nothing here can do.
pub fn plan_for(request: &RecordRequest) -> Result<CapturePlan> {
    let events = resolve(&request.events, &LiveNames::read())?;
    plan(request, &events, &facts())
}
