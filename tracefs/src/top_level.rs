//! Borrowing the top-level trace array, for what instances cannot do.
//!
//! The top level belongs to everybody, so it is only borrowed while nobody else
//! uses it, and given back as it was. An empty instance with this process's
//! name marks the loan: if the process crashes, the next start finds the mark
//! and puts the top level back to the kernel's defaults.

use crate::instance::Instance;
use crate::trace_array::TraceArray;
use crate::{Error, Result};
use std::ops::Deref;

/// Added to the prefix of an instance that marks a loan.
const MARK: &str = "-top";

/// The top-level trace array, borrowed by [`Tracefs::borrow_top`](crate::Tracefs::borrow_top).
///
/// Dropping it gives it back; pipes opened from it should be closed before.
#[derive(Debug)]
pub struct TopLevel {
    array: TraceArray,
    before: Before,
    /// Removed last.
    mark: Instance,
}

/// What the borrower may change and had better find again.
#[derive(Debug)]
struct Before {
    tracing_on: bool,
    clock: Option<String>,
    buffer_size_kib: Option<u64>,
    options: Vec<(&'static str, bool)>,
}

/// The options that a borrower changes, with the kernel's defaults.
const OPTIONS: [(&str, bool); 4] = [
    ("overwrite", true),
    ("event-fork", false),
    ("function-fork", false),
    ("stacktrace", false),
];

/// The size that the buffers have once they are used: `7 (expanded: 1410)`.
fn expanded_size_kib(array: &TraceArray) -> Option<u64> {
    let text = array.directory.read("buffer_size_kb").ok()?;
    let expanded = text
        .split_once("expanded:")
        .map_or(text.as_str(), |(_, size)| size);
    expanded.trim().trim_end_matches(')').parse().ok()
}

impl Before {
    /// As a kernel has it after boot.
    fn defaults() -> Self {
        Before {
            tracing_on: true,
            clock: Some("local".to_owned()),
            buffer_size_kib: None,
            options: OPTIONS.to_vec(),
        }
    }

    fn of(array: &TraceArray) -> Result<Self> {
        let option = |(name, _)| Some((name, array.option(name).ok()?));
        Ok(Before {
            tracing_on: array.tracing_on()?,
            clock: array.clocks().ok().map(|clocks| clocks.current),
            buffer_size_kib: expanded_size_kib(array),
            options: OPTIONS.into_iter().filter_map(option).collect(),
        })
    }

    /// Stops everything and sets what is kept here. Goes on whatever fails: there
    /// is nobody to tell, and each thing put back is a thing put back.
    fn put_back(&self, array: &TraceArray) {
        let _ = array.set_tracing_on(false);
        let _ = array.set_current_tracer("nop");
        let _ = array.disable_all_events();
        for system in array.directory.directories("events").unwrap_or_default() {
            let _ = array
                .directory
                .write(&format!("events/{system}/filter"), "0");
        }
        for list in [
            "set_ftrace_filter",
            "set_ftrace_notrace",
            "set_event_pid",
            "set_event_notrace_pid",
            "set_ftrace_pid",
            "set_ftrace_notrace_pid",
        ] {
            let _ = array.directory.write(list, "\n");
        }
        if let Ok(cpus) = array.buffer_cpus() {
            let _ = array.set_cpus(&cpus);
        }
        for (name, on) in &self.options {
            let _ = array.set_option(name, *on);
        }
        if let Some(clock) = &self.clock {
            let _ = array.set_clock(clock);
        }
        if let Some(kib) = self.buffer_size_kib {
            let _ = array.set_buffer_size_kib(kib);
        }
        let _ = array.set_buffer_percent(50);
        let _ = array.set_tracing_on(self.tracing_on);
    }
}

/// The prefix of the instances that mark loans.
pub(crate) fn mark_prefix(prefix: &str) -> String {
    format!("{prefix}{MARK}")
}

/// Puts the top level back after a crash of its borrower.
pub(crate) fn give_back_for_crashed(array: &TraceArray) {
    Before::defaults().put_back(array);
}

/// Borrows the top level; `mark` names the borrower.
pub(crate) fn borrow(array: &TraceArray, mark: Instance) -> Result<TopLevel> {
    let tracer = array.current_tracer()?;
    if tracer != "nop" {
        return Err(Error::InUse {
            why: format!("it runs the tracer {tracer}"),
        });
    }
    if let Some(event) = array.enabled_events()?.first() {
        return Err(Error::InUse {
            why: format!("it records the event {event}"),
        });
    }
    let top = TopLevel {
        array: array.clone(),
        before: Before::of(array)?,
        mark,
    };
    top.set_tracing_on(false)?;
    top.clear()?;
    Ok(top)
}

impl TopLevel {
    /// The name of the instance that marks the loan.
    pub fn mark(&self) -> &str {
        self.mark.name()
    }
}

impl Deref for TopLevel {
    type Target = TraceArray;

    fn deref(&self) -> &TraceArray {
        &self.array
    }
}

impl Drop for TopLevel {
    fn drop(&mut self) {
        self.before.put_back(&self.array);
    }
}
