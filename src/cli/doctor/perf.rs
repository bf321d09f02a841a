//! What `perf_event_open(2)` lets this user do.

use super::finding::{Finding, State, file_number};
use super::kernel::has_capability;
use kstrace_perf::attr::Attr;
use kstrace_perf::{probe, uapi};
use nix::sys::resource::{Resource, getrlimit};
use std::io;
use tracefs::Tracefs;

const AREA: &str = "perf";
const CAP_IPC_LOCK: u32 = 14;

pub(super) fn examine() -> Vec<Finding> {
    let Some(paranoid) = file_number("/proc/sys/kernel/perf_event_paranoid") else {
        let text = "this kernel has no perf events (CONFIG_PERF_EVENTS)";
        return vec![Finding::new(AREA, "perf_event_open", State::Absent, text)];
    };
    let user = sampled(uapi::flag::EXCLUDE_KERNEL | uapi::flag::EXCLUDE_HV);
    if let Err(e) = probe(&user, 0, -1) {
        return vec![refused(paranoid, &e)];
    }
    vec![
        Finding::new(
            AREA,
            "perf_event_paranoid",
            State::Ok,
            format!("{paranoid}: {}", may(paranoid)),
        ),
        own_processes(paranoid),
        whole_system(paranoid),
        tracepoints(paranoid),
        hardware(),
        clock(),
        ring_memory(),
        Finding::new(AREA, "sampling rate", State::Ok, rate()),
    ]
}

/// A sampled `cpu-clock`.
fn sampled(flags: u64) -> Attr {
    let mut attr = Attr::new(uapi::PERF_TYPE_SOFTWARE, uapi::PERF_COUNT_SW_CPU_CLOCK);
    attr.sample_period = 1_000_000;
    attr.sample_type = uapi::PERF_SAMPLE_IP | uapi::PERF_SAMPLE_TID | uapi::PERF_SAMPLE_TIME;
    attr.flags |= flags;
    attr
}

/// Who may do what at that level (perf_event_open(2), Documentation/admin-guide/perf-security.rst).
fn may(paranoid: i64) -> &'static str {
    match paranoid {
        i64::MIN..=-1 => "every user may do everything",
        0 => "every user may trace the system, but not read raw tracepoints",
        1 => "every user may trace own processes, kernel included",
        2 => "every user may trace own processes, user space only; CAP_PERFMON and root all",
        _ => "only CAP_PERFMON and root may use perf",
    }
}

fn refused(paranoid: i64, e: &io::Error) -> Finding {
    let finding = Finding::new(
        AREA,
        "perf_event_open",
        State::Denied,
        format!("{e} (perf_event_paranoid is {paranoid})"),
    );
    match e.raw_os_error() {
        Some(libc::ENOSYS) => {
            finding.fix("the system call is filtered out (seccomp) or not built in")
        }
        _ if paranoid > 2 => finding.fix(setting(2)),
        _ => finding
            .fix("a security module or seccomp filter refuses it: see the system's audit log"),
    }
}

fn setting(level: i64) -> String {
    format!(
        "sysctl kernel.perf_event_paranoid={level}, or give the program CAP_PERFMON \
         ('setcap cap_perfmon+ep kstrace'), or run as root"
    )
}

fn outcome(
    what: &'static str,
    result: io::Result<()>,
    ok: &str,
    paranoid: i64,
    needed: i64,
) -> Finding {
    match result {
        Ok(()) => Finding::new(AREA, what, State::Ok, ok),
        Err(e) => {
            let finding = Finding::new(AREA, what, State::Denied, e.to_string());
            if paranoid > needed {
                finding.fix(setting(needed))
            } else {
                finding.fix("perf_event_paranoid would allow it: a security module or seccomp filter does not")
            }
        }
    }
}

fn own_processes(paranoid: i64) -> Finding {
    let ok = "samples of kernel and user space";
    let mut finding = outcome("own processes", probe(&sampled(0), 0, -1), ok, paranoid, 1);
    if finding.state == State::Denied {
        finding.state = State::Limited;
        finding.detail = format!("user space only ({})", finding.detail);
    }
    finding
}

fn whole_system(paranoid: i64) -> Finding {
    outcome(
        "whole system (-a)",
        probe(&sampled(0), -1, 0),
        "samples of all processes",
        paranoid,
        0,
    )
}

fn tracepoints(paranoid: i64) -> Finding {
    let what = "tracepoints";
    let event = tracefs::EventName::new("sched", "sched_switch");
    let id = Tracefs::discover()
        .and_then(|t| t.events()?.id(&event))
        .or_else(|_| {
            Tracefs::discover().and_then(|t| {
                let events = t.events()?;
                let first = events.names().first().cloned().unwrap_or(event);
                events.id(&first)
            })
        });
    let id = match id {
        Ok(id) => id,
        Err(e) => {
            return Finding::new(
                AREA,
                what,
                State::Denied,
                format!("tracefs does not tell their ids: {e}"),
            )
            .fix("see tracefs below");
        }
    };
    let mut attr = Attr::new(uapi::PERF_TYPE_TRACEPOINT, id.into());
    attr.sample_period = 1;
    attr.sample_type = uapi::PERF_SAMPLE_RAW | uapi::PERF_SAMPLE_TIME;
    outcome(
        what,
        probe(&attr, -1, 0),
        "with their fields, of all processes",
        paranoid,
        -1,
    )
}

fn hardware() -> Finding {
    let what = "hardware events";
    let mut attr = Attr::new(uapi::PERF_TYPE_HARDWARE, uapi::PERF_COUNT_HW_CPU_CYCLES);
    attr.flags |= uapi::flag::EXCLUDE_KERNEL | uapi::flag::EXCLUDE_HV;
    match probe(&attr, 0, -1) {
        Ok(()) => Finding::new(AREA, what, State::Ok, "the processor's counters work"),
        Err(e)
            if matches!(
                e.raw_os_error(),
                Some(libc::ENOENT | libc::ENODEV | libc::EOPNOTSUPP)
            ) =>
        {
            let text = "no PMU here: cycles falls back to cpu-clock, which a timer samples";
            Finding::new(AREA, what, State::Absent, text).fix(
                "in a virtual machine: let its host pass the PMU through (qemu: -cpu host,pmu=on)",
            )
        }
        Err(e) => Finding::new(AREA, what, State::Denied, e.to_string()),
    }
}

fn clock() -> Finding {
    let mut attr =
        sampled(uapi::flag::EXCLUDE_KERNEL | uapi::flag::EXCLUDE_HV | uapi::flag::USE_CLOCKID);
    attr.clockid = libc::CLOCK_MONOTONIC;
    match probe(&attr, 0, -1) {
        Ok(()) => Finding::new(
            AREA,
            "clock",
            State::Ok,
            "stamps with CLOCK_MONOTONIC, as ftrace does",
        ),
        Err(e) => Finding::new(
            AREA,
            "clock",
            State::Absent,
            format!("cannot stamp with CLOCK_MONOTONIC ({e}): no common clock with ftrace"),
        )
        .fix("needs Linux 4.1"),
    }
}

fn ring_memory() -> Finding {
    let what = "ring memory";
    let kib = file_number("/proc/sys/kernel/perf_event_mlock_kb").unwrap_or(516);
    if has_capability(CAP_IPC_LOCK) {
        return Finding::new(AREA, what, State::Ok, "unlimited (CAP_IPC_LOCK)");
    }
    let (soft, _) = getrlimit(Resource::RLIMIT_MEMLOCK).unwrap_or((0, 0));
    let text = format!(
        "{kib} KiB a CPU (perf_event_mlock_kb) and {} KiB besides (RLIMIT_MEMLOCK)",
        soft / 1024
    );
    Finding::new(AREA, what, State::Limited, text)
        .fix("for larger rings: sysctl kernel.perf_event_mlock_kb=65540, or 'ulimit -l unlimited'")
}

fn rate() -> String {
    let rate = file_number("/proc/sys/kernel/perf_event_max_sample_rate").unwrap_or(0);
    let stack = file_number("/proc/sys/kernel/perf_event_max_stack").unwrap_or(127);
    format!("at most {rate} Hz, stacks of at most {stack} frames")
}
