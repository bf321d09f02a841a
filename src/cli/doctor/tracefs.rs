//! What tracefs lets this user do.

use super::finding::{Finding, State};
use tracefs::{Instance, Origin, Tracefs};

const AREA: &str = "tracefs";
/// What kstrace's own instances are called by.
const INSTANCE_PREFIX: &str = "kstrace-doctor";

pub(super) fn examine() -> Vec<Finding> {
    let tracefs = match Tracefs::discover() {
        Ok(tracefs) => tracefs,
        Err(e) => return vec![unreachable(&e)],
    };
    let mut findings = vec![reached(&tracefs), events(&tracefs)];
    match tracefs.create_instance(INSTANCE_PREFIX) {
        Ok(instance) => {
            let text = "made one and removed it: recording does not touch anybody else's tracing";
            findings.push(Finding::new(AREA, "private instance", State::Ok, text));
            findings.push(clocks(&instance));
            findings.push(pids(&instance));
            findings.push(function_tracer(&tracefs, &instance));
            if let Err(e) = instance.remove() {
                let text = format!("cannot remove the one made for this test: {e}");
                findings.push(Finding::new(AREA, "private instance", State::Limited, text));
            }
        }
        Err(e) => findings.push(
            Finding::new(AREA, "private instance", State::Denied, e.to_string()).fix(
                "run as root, or let the daemon (kstraced) do it; write access to tracefs is as good as root's",
            ),
        ),
    }
    findings
}

fn unreachable(e: &tracefs::Error) -> Finding {
    let state = match e {
        tracefs::Error::NotBuiltIn { .. } => State::Absent,
        _ => State::Denied,
    };
    let finding = Finding::new(AREA, "reach", state, e.to_string());
    match e {
        tracefs::Error::NotBuiltIn { .. } => finding,
        tracefs::Error::NotMounted { .. } => finding
            .fix("as root: mount -t tracefs nodev /sys/kernel/tracing (or: run kstrace as root, it then needs no mount)"),
        _ => finding.fix(group_fix()),
    }
}

/// Read access for a group is a mount option; it lets them list events, not trace.
fn group_fix() -> &'static str {
    "as root: groupadd -f tracing; mount -o remount,gid=$(getent group tracing | cut -d: -f3),mode=750 /sys/kernel/tracing"
}

fn reached(tracefs: &Tracefs) -> Finding {
    let text = match tracefs.origin() {
        Origin::Mounted(path) => format!("mounted on {}", path.display()),
        Origin::Detached => {
            "mounted nowhere; root reaches it by a mount of its own that nobody else \
                             sees and that ends with the process: nothing needs to be mounted"
                .to_owned()
        }
    };
    Finding::new(AREA, "reach", State::Ok, text)
}

fn events(tracefs: &Tracefs) -> Finding {
    match tracefs.events() {
        Ok(events) => {
            let text = format!(
                "{} in {} systems",
                events.names().len(),
                events.systems().len()
            );
            Finding::new(AREA, "events", State::Ok, text)
        }
        Err(e) => Finding::new(AREA, "events", State::Denied, e.to_string()).fix(group_fix()),
    }
}

fn clocks(instance: &Instance) -> Finding {
    let clocks = match instance.clocks() {
        Ok(clocks) => clocks,
        Err(e) => return Finding::new(AREA, "clock", State::Denied, e.to_string()),
    };
    let has = |name: &str| clocks.available.iter().any(|c| c == name);
    if !has("mono") {
        let text = "no 'mono' among the trace clocks (Linux 3.8): no common clock with perf";
        return Finding::new(AREA, "clock", State::Absent, text);
    }
    let tsc = if has("x86-tsc") {
        "; x86-tsc for --clock tsc"
    } else {
        "; no TSC clock here"
    };
    match instance.set_clock("mono") {
        Ok(()) => Finding::new(AREA, "clock", State::Ok, format!("mono{tsc}")),
        Err(e) => Finding::new(AREA, "clock", State::Denied, e.to_string()),
    }
}

fn pids(instance: &Instance) -> Finding {
    let what = "pid filter";
    let own = i32::try_from(std::process::id()).unwrap_or(1);
    if let Err(e) = instance.set_event_pids(&[own]) {
        let text =
            format!("set_event_pid does not work ({e}): only the whole system can be traced");
        return Finding::new(AREA, what, State::Limited, text).fix("needs Linux 4.4");
    }
    match instance.set_option("event-fork", true) {
        Ok(()) => Finding::new(
            AREA,
            what,
            State::Ok,
            "with the children of traced processes (event-fork)",
        ),
        Err(e) => {
            let text = format!("without the children of traced processes ({e})");
            Finding::new(AREA, what, State::Limited, text).fix("needs Linux 4.11")
        }
    }
}

fn function_tracer(tracefs: &Tracefs, instance: &Instance) -> Finding {
    let what = "function tracer";
    let tracers = tracefs.top().available_tracers().unwrap_or_default();
    if !tracers.iter().any(|t| t == "function") {
        let text = "not built into this kernel (CONFIG_FUNCTION_TRACER)";
        return Finding::new(AREA, what, State::Absent, text);
    }
    let graph = if tracers.iter().any(|t| t == "function_graph") {
        "function and function_graph"
    } else {
        "function; function_graph is not built into this kernel (CONFIG_FUNCTION_GRAPH_TRACER)"
    };
    // Tried with one function only: switching it on for all would patch the whole kernel text.
    let tried = instance
        .set_tracing_on(false)
        .and_then(|()| instance.set_function_filters(&["schedule".to_owned()]))
        .and_then(|()| instance.set_current_tracer("function"))
        .and_then(|()| instance.set_current_tracer("nop"));
    match tried {
        Ok(()) => Finding::new(AREA, what, State::Ok, graph),
        Err(e) => Finding::new(AREA, what, State::Denied, format!("there, but refused: {}", reason(&e))).fix(
            "the kernel or hypervisor protects its text against patching (or sysctl kernel.ftrace_enabled is 0): \
             use tracepoints, or another kernel",
        ),
    }
}

/// The kernel's answer alone: the hints of the error's text are for other cases.
fn reason(e: &tracefs::Error) -> String {
    e.io().map_or_else(|| e.to_string(), ToString::to_string)
}
