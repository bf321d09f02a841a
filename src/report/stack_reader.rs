//! Records with stacks, for forms that count stacks instead of showing records.

use super::class_plan::{ClassPlan, Kind};
use super::kallsyms::Kallsyms;
use super::known::Known;
use super::stack;
use super::symbols::Context;
use kstrace_schema::{EventRecord, EventRecordClass, Result, SessionInfo};
use std::sync::Arc;

/// One frame of a stack, resolved as far as that is possible.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StackFrame<'a> {
    /// The function.
    pub(crate) symbol: Option<&'a str>,
    /// The file, `[kernel.kallsyms]`, `[module]`; `None` if nothing is mapped there.
    pub(crate) dso: Option<&'a str>,
    /// Whether it is the kernel's.
    pub(crate) in_kernel: bool,
}

/// The task of a stack, as far as it is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct StackTask {
    pub(crate) tid: Option<i32>,
    pub(crate) pid: Option<i32>,
    comm: super::tasks::Comm,
    has_comm: bool,
}

impl StackTask {
    /// Its name; the idle task's is `swapper`.
    pub(crate) fn comm(&self) -> Option<&[u8]> {
        match self.tid {
            Some(0) => Some(b"swapper"),
            _ => self.has_comm.then(|| self.comm.as_bytes()),
        }
    }
}

/// Follows tasks and mappings, and resolves stacks by them.
pub(crate) struct StackReader {
    plans: Vec<Option<Box<ClassPlan>>>,
    known: Known,
}

impl StackReader {
    /// `kernel` must be that of the boot the trace was made in; empty if there is none.
    pub(crate) fn new(kernel: Kallsyms, symbols: bool) -> Self {
        StackReader {
            plans: Vec::new(),
            known: Known::new(kernel, symbols),
        }
    }

    /// Takes in what the session as a whole tells.
    pub(crate) fn session(&mut self, session: &SessionInfo) -> Result<()> {
        self.known.session(session)
    }

    /// Makes a class known; says whether its records have stacks, and whether they only serve
    /// to understand the others.
    pub(crate) fn class(&mut self, class: &Arc<EventRecordClass>) -> (bool, bool) {
        let index = usize::from(class.id.0);
        if self.plans.len() <= index {
            self.plans.resize_with(index + 1, || None);
        }
        let plan = ClassPlan::new(class, &super::Filter::default(), &[]);
        let kind = (plan.callchain.is_some(), plan.kind != Kind::Event);
        self.plans[index] = Some(Box::new(plan));
        kind
    }

    /// Takes in what a record tells of tasks and mappings. `None` for a class that is not known.
    pub(crate) fn follow(&mut self, record: &EventRecord<'_>) -> Option<()> {
        let plan = self.plans.get(usize::from(record.class.0))?.as_deref()?;
        self.known.follow(plan, record.payload);
        Some(())
    }

    /// The task of a record, as of now.
    pub(crate) fn task(&self, record: &EventRecord<'_>) -> StackTask {
        let plan = self.plans.get(usize::from(record.class.0));
        let Some(plan) = plan.and_then(|p| p.as_deref()) else {
            return StackTask::default();
        };
        let tid = plan.tid(record.payload);
        let known = tid.map(|tid| self.known.tasks.get(tid)).unwrap_or_default();
        StackTask {
            tid,
            pid: plan.pid(record.payload).or(known.pid),
            comm: known.comm.unwrap_or_default(),
            has_comm: known.comm.is_some(),
        }
    }

    /// Calls `each` for every frame of a record's stack, innermost first.
    pub(crate) fn frames(
        &mut self,
        record: &EventRecord<'_>,
        task: &StackTask,
        mut each: impl FnMut(StackFrame<'_>),
    ) {
        let plan = self.plans.get(usize::from(record.class.0));
        let Some(plan) = plan.and_then(|p| p.as_deref()) else {
            return;
        };
        let Some(callchain) = &plan.callchain else {
            return;
        };
        // As for an address of nobody: the kernel's alone can be resolved then.
        let pid = task.pid.or(task.tid).unwrap_or(-1);
        let symbols = &mut self.known.symbols;
        stack::for_each_frame(callchain, record.payload, pid, symbols, |address, frame| {
            each(StackFrame {
                symbol: frame
                    .and_then(|f| f.symbol.as_ref())
                    .map(|(name, _)| &**name),
                dso: frame.and_then(|f| f.dso.as_deref()),
                in_kernel: Context::of_address(address) == Context::Kernel,
            });
        });
    }
}
