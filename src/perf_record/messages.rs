//! Failures as perf tells them.

use kstrace_perf::PerfError;
use kstrace_perf::cmdline::{Stop, USAGE_STATUS};
use kstrace_schema::Error;
use std::fs;

/// Why there is no recording: what to say, and the exit status.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) text: String,
    pub(super) status: u8,
}

/// How the perf adapter calls a ring that it could not map.
const RING: &str = "ring of ";
/// perf's status for whatever failed.
const FAILED: u8 = 255;

impl Failure {
    pub(super) fn new(text: impl Into<String>, status: u8) -> Self {
        Failure {
            text: text.into(),
            status,
        }
    }

    pub(super) fn failed(text: impl Into<String>) -> Self {
        Failure::new(text, FAILED)
    }

    /// Wrong usage with nothing more to say.
    pub(super) fn usage() -> Self {
        match kstrace_perf::cmdline::Settings::plain_usage() {
            Stop::Error { text, status } => Failure::new(text, status),
            Stop::Listed(text) => Failure::new(text, USAGE_STATUS),
        }
    }
}

impl From<PerfError> for Failure {
    fn from(e: PerfError) -> Self {
        let text = match &e {
            PerfError::BadFilter { event, filter, .. } => format!(
                "failed to set filter \"{filter}\" on event {event} with 22 (Invalid argument)\n"
            ),
            PerfError::Denied { what, source, .. } if what.starts_with(RING) => {
                let limit = fs::read_to_string("/proc/sys/kernel/perf_event_mlock_kb");
                format!(
                    "Permission error mapping pages.\nConsider increasing \
                     /proc/sys/kernel/perf_event_mlock_kb,\nor try again with a smaller value of \
                     -m/--mmap_pages.\n(current value: {} KiB; {what}: {source})\n",
                    limit.as_deref().map_or("unknown", str::trim)
                )
            }
            PerfError::Exhausted { what, source, .. } if what.starts_with(RING) => format!(
                "failed to mmap with {} ({}): {what}\n",
                source.raw_os_error().unwrap_or(0),
                super::output::plain(source)
            ),
            PerfError::NoProcess { .. } => {
                return no_process();
            }
            PerfError::Unsupported { what, reason, .. } if reason.is_empty() => {
                format!("Error:\n{what}\n")
            }
            PerfError::Denied { what, hint, .. } | PerfError::Exhausted { what, hint, .. }
                if hint.is_empty() || hint.starts_with('\n') =>
            {
                format!("Error:\n{what}{hint}\n")
            }
            other => format!("Error:\n{}\n", chain(other)),
        };
        Failure::failed(text)
    }
}

impl From<Error> for Failure {
    fn from(e: Error) -> Self {
        Failure::failed(format!("Error:\n{}\n", chain(&e)))
    }
}

/// No such process, or none of those named.
pub(super) fn no_process() -> Failure {
    // perf's -ENOMEM as an exit status.
    Failure::new("Couldn't create thread/CPU maps: No such process\n", 244)
}

/// An error with its causes, each said once.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        let said = next.to_string();
        if !text.contains(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        cause = next.source();
    }
    text
}
