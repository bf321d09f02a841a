//! Which trace array records: an instance of our own, as a rule.

use super::border;
use super::plan::{FtracePlan, TracerKind};
use kstrace_schema::Result;
use std::fmt;
use std::ops::Deref;
use tracefs::{Instance, TopLevel, TraceArray, Tracefs};

/// The trace array that a source records with.
#[derive(Debug)]
pub(super) enum Target {
    /// A private one.
    Instance(Instance),
    /// The top level, for a tracer that this kernel has there only.
    Top(TopLevel),
}

impl Target {
    pub(super) fn choose(tracefs: &Tracefs, plan: &FtracePlan) -> Result<Self> {
        let instance = tracefs
            .create_instance(crate::INSTANCE_PREFIX)
            .map_err(|e| border("a private ftrace instance", e))?;
        let graph = plan
            .tracer
            .as_ref()
            .is_some_and(|t| t.kind == TracerKind::FunctionGraph);
        let word = TracerKind::FunctionGraph.word();
        let has_it = |array: &TraceArray| {
            array
                .available_tracers()
                .is_ok_and(|tracers| tracers.iter().any(|t| t == word))
        };
        if !graph || has_it(&instance) || !has_it(tracefs.top()) {
            return Ok(Target::Instance(instance));
        }
        // Before Linux 6.11 only the top level draws graphs.
        drop(instance);
        tracefs
            .borrow_top(crate::INSTANCE_PREFIX)
            .map(Target::Top)
            .map_err(|e| {
                border(
                    format!("this kernel has the tracer {word} at its top level only"),
                    e,
                )
            })
    }

    /// The name of the instance, or of the one that marks the loan.
    pub(super) fn name(&self) -> &str {
        match self {
            Target::Instance(instance) => instance.name(),
            Target::Top(top) => top.mark(),
        }
    }
}

impl Deref for Target {
    type Target = TraceArray;

    fn deref(&self) -> &TraceArray {
        match self {
            Target::Instance(instance) => instance,
            Target::Top(top) => top,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Instance(instance) => write!(f, "tracefs instance {}", instance.name()),
            Target::Top(_) => f.write_str("tracefs top level (borrowed)"),
        }
    }
}
