//! Which task a record is of, where its tracer does not say.

use kstrace_schema::decode::FieldAccess;
use kstrace_schema::{Cpu, EventRecord, Role, StructureClass};

/// Nobody knows which task.
const NOBODY: i32 = -1;
/// More CPUs than any machine has; what is told of others is not kept.
const MAX_CPUS: usize = 1 << 14;

/// What a class's records say of the task that runs.
#[derive(Clone, Debug)]
pub struct TaskFields {
    own: Option<FieldAccess>,
    next: Option<FieldAccess>,
}

impl TaskFields {
    /// From the roles of the class's fields.
    pub fn of(payload: &StructureClass) -> Self {
        let role = |role| FieldAccess::by_role(payload, role);
        TaskFields {
            // A task is still itself while it is switched away from.
            own: role(Role::Tid).or_else(|| role(Role::PrevTid)),
            next: role(Role::NextTid),
        }
    }
}

/// The task that runs on each CPU, as far as switches tell.
#[derive(Clone, Debug, Default)]
pub struct Running(Vec<i32>);

impl Running {
    /// The tid of the record's task, -1 if nobody knows; and takes in what the
    /// record says of who comes next on its CPU.
    pub fn tid(&mut self, fields: &TaskFields, record: &EventRecord<'_>) -> i32 {
        let value = |field: &Option<FieldAccess>| field.as_ref()?.get_i64(record.payload);
        let cpu = match record.cpu {
            Cpu::NONE => None,
            Cpu(cpu) => Some(cpu as usize).filter(|cpu| *cpu < MAX_CPUS),
        };
        let running = cpu.and_then(|cpu| self.0.get(cpu)).copied();
        let tid = value(&fields.own).map_or(running.unwrap_or(NOBODY), |tid| tid as i32);
        if let (Some(next), Some(cpu)) = (value(&fields.next), cpu) {
            if self.0.len() <= cpu {
                self.0.resize(cpu + 1, NOBODY);
            }
            if let Some(running) = self.0.get_mut(cpu) {
                *running = next as i32;
            }
        }
        tid
    }
}
