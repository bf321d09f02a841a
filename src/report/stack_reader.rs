//! Records with stacks, for forms that count stacks instead of showing records.

use super::address_space::Dso;
use super::class_plan::{ClassPlan, Kind};
use super::kallsyms::Kallsyms;
use super::stack;
use super::symbols::{Context, Symbols};
use super::tasks::Tasks;
use kstrace_schema::decode::FieldAccess;
use kstrace_schema::{EventRecord, EventRecordClass, SessionInfo};
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
    tasks: Tasks,
    symbols: Symbols,
}

impl StackReader {
    /// `kernel` must be that of the boot the trace was made in; empty if there is none.
    pub(crate) fn new(kernel: Kallsyms, symbols: bool) -> Self {
        StackReader {
            plans: Vec::new(),
            tasks: Tasks::default(),
            symbols: Symbols::new(kernel, symbols),
        }
    }

    /// Takes in the names of tasks that the session as a whole tells.
    pub(crate) fn session(&mut self, session: &SessionInfo) {
        for source in &session.sources {
            let names = source.attributes.get("ftrace.saved_cmdlines");
            let names = names.and_then(|v| v.as_str()).unwrap_or_default();
            for line in names.lines() {
                if let Some((tid, comm)) = line.trim().split_once(' ')
                    && let Ok(tid) = tid.parse()
                {
                    self.tasks.set_comm(tid, comm.as_bytes());
                }
            }
        }
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
        let payload = record.payload;
        let id = |f: &FieldAccess| f.get_i64(payload).map(|v| v as i32);
        if let Some(fork) = &plan.fork
            && let (Some(pid), Some(parent_pid), Some(tid), Some(parent_tid)) = (
                id(&fork.pid),
                id(&fork.parent_pid),
                id(&fork.tid),
                id(&fork.parent_tid),
            )
        {
            self.tasks.fork(parent_tid, tid, Some(pid));
            self.symbols.spaces.fork(parent_pid, pid);
        }
        if let Some(pid) = plan.exec_pid.as_ref().and_then(|e| e.process(payload)) {
            self.symbols.spaces.exec(pid);
        }
        if plan.mapping.is_some() {
            map(&mut self.symbols, plan, payload);
        }
        plan.update_tasks(payload, &mut self.tasks);
        Some(())
    }

    /// The task of a record, as of now.
    pub(crate) fn task(&self, record: &EventRecord<'_>) -> StackTask {
        let plan = self.plans.get(usize::from(record.class.0));
        let Some(plan) = plan.and_then(|p| p.as_deref()) else {
            return StackTask::default();
        };
        let tid = plan.tid(record.payload);
        let known = tid.map(|tid| self.tasks.get(tid)).unwrap_or_default();
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
        let symbols = &mut self.symbols;
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

fn map(symbols: &mut Symbols, plan: &ClassPlan, payload: &[u8]) -> Option<()> {
    let m = plan.mapping.as_ref()?;
    let path = String::from_utf8_lossy(m.path.get_bytes(payload)?);
    let build_id = m.build_id.as_ref().and_then(|(size, id)| {
        let size = usize::try_from(size.get_u64(payload)?).ok()?;
        id.get_bytes(payload)?.get(..size).map(Into::into)
    });
    symbols.spaces.map(
        m.pid.get_i64(payload)? as i32,
        m.start.get_u64(payload)?,
        m.len.get_u64(payload)?,
        m.file_offset.get_u64(payload)?,
        Dso {
            path: path.as_ref().into(),
            build_id,
        },
    );
    Some(())
}
