//! What the session and the records before the present one have told: names of tasks, mappings of
//! processes, where the kernel lies.

use super::class_plan::ClassPlan;
use super::kallsyms::Kallsyms;
use super::symbols::Symbols;
use super::tasks::Tasks;
use crate::engine::CONSTANTS_ATTRIBUTE;
use kstrace_schema::address_space::MappedFile;
use kstrace_schema::decode::FieldAccess;
use kstrace_schema::{Error, ErrorKind, Result, SessionInfo};
use std::sync::Arc;

/// The tasks and the addresses, as of the record at hand.
pub(super) struct Known {
    pub(super) tasks: Tasks,
    pub(super) symbols: Symbols,
}

impl Known {
    /// `kernel` must be that of the boot the trace was made in; empty if there is none.
    pub(super) fn new(kernel: Kallsyms, resolve: bool) -> Self {
        Known {
            tasks: Tasks::default(),
            symbols: Symbols::new(kernel, resolve),
        }
    }

    /// Takes in what the session as a whole tells.
    pub(super) fn session(&mut self, session: &SessionInfo) -> Result<()> {
        let Some(kernel) = Arc::get_mut(&mut self.symbols.kernel) else {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                "a second session, or one after its first record",
            ));
        };
        for source in &session.sources {
            let text = |key: &str| source.attributes.get(key).and_then(|v| v.as_str());
            if let Some(formats) = text("ftrace.printk_formats") {
                kernel.add_printk_formats(formats);
            }
            if let Some(symbols) = text("ftrace.kallsyms") {
                kernel.add_symbols(symbols);
            }
            if let Some(constants) = source.attributes.get(CONSTANTS_ATTRIBUTE) {
                // What cannot be read stays a number in the texts.
                kernel.constants = serde_json::from_value(constants.clone()).unwrap_or_default();
            }
            // Names as of the end: better than none for a task that nothing else names.
            for line in text("ftrace.saved_cmdlines").unwrap_or_default().lines() {
                if let Some((tid, comm)) = line.trim().split_once(' ')
                    && let Ok(tid) = tid.parse()
                {
                    self.tasks.set_comm(tid, comm.as_bytes());
                }
            }
        }
        Ok(())
    }

    /// Takes in what a record tells about tasks and mappings.
    #[inline]
    pub(super) fn follow(&mut self, plan: &ClassPlan, payload: &[u8]) {
        if let Some(fork) = &plan.fork {
            let id = |f: &FieldAccess| f.get_i64(payload).map(|v| v as i32);
            if let (Some(pid), Some(parent_pid), Some(tid), Some(parent_tid)) = (
                id(&fork.pid),
                id(&fork.parent_pid),
                id(&fork.tid),
                id(&fork.parent_tid),
            ) {
                self.tasks.fork(parent_tid, tid, Some(pid));
                self.symbols.spaces.fork(parent_pid, pid);
            }
        }
        if let Some(pid) = plan.exec_pid.as_ref().and_then(|e| e.process(payload)) {
            self.symbols.spaces.exec(pid);
        }
        if plan.mapping.is_some() {
            self.map(plan, payload);
        }
        plan.update_tasks(payload, &mut self.tasks);
    }

    fn map(&mut self, plan: &ClassPlan, payload: &[u8]) -> Option<()> {
        let m = plan.mapping.as_ref()?;
        let path = String::from_utf8_lossy(m.path.get_bytes(payload)?);
        if let Some(name) = path.strip_prefix("[kernel.kallsyms]") {
            // perf puts the address of the symbol it names where a file's offset stands.
            let address = m.file_offset.get_u64(payload)?;
            self.symbols.kernel.confirm(name, address);
        }
        let build_id = m.build_id.as_ref().and_then(|(size, id)| {
            let size = usize::try_from(size.get_u64(payload)?).ok()?;
            id.get_bytes(payload)?.get(..size).map(Into::into)
        });
        self.symbols.spaces.map(
            m.pid.get_i64(payload)? as i32,
            m.start.get_u64(payload)?,
            m.len.get_u64(payload)?,
            m.file_offset.get_u64(payload)?,
            MappedFile {
                path: path.as_ref().into(),
                build_id: build_id.unwrap_or_default(),
            },
        );
        Some(())
    }
}
