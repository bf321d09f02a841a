//! What the sink does with the records of one class.

use crate::event::{EventPlan, by_names};
use crate::process::ProcessPlan;
use crate::sample::{SamplePlan, Samples};
use kstrace_schema::address_space::MappedFile;
use kstrace_schema::decode::FieldAccess;
use kstrace_schema::{EventRecordClass, NativeDescription, Role, builtin, namespace};

const PERF_RECORD_MMAP: u32 = 1;
const PERF_RECORD_COMM: u32 = 3;
const PERF_RECORD_FORK: u32 = 7;
const PERF_RECORD_MMAP2: u32 = 10;
/// `PERF_RECORD_MISC_COMM_EXEC`: the name changed because another program is run.
const MISC_COMM_EXEC: u64 = 1 << 13;

/// What becomes of a class's records.
#[derive(Debug)]
pub(crate) enum Plan {
    /// An event in a bundle.
    Event(Box<EventPlan>),
    /// A sample, and for a tracepoint's the event too.
    Sample(Box<SamplePlan>, Option<Box<EventPlan>>),
    /// A part of the process tree.
    Process(Box<ProcessPlan>, Option<Box<TaskChange>>),
    /// Files for the frames of stacks.
    Mapping(Box<MapUpdate>),
    /// What the reader of a trace also says another way.
    Repetition,
    /// Nothing.
    NotHeld,
    /// A record came before its class.
    Unannounced,
}

/// What a record of a task means for its address space.
#[derive(Debug)]
pub(crate) enum TaskChange {
    /// `PERF_RECORD_COMM`
    Exec { misc: FieldAccess, pid: FieldAccess },
    /// `PERF_RECORD_FORK`
    Fork {
        parent_pid: FieldAccess,
        pid: FieldAccess,
    },
}

/// `PERF_RECORD_MMAP` and `MMAP2`.
#[derive(Debug)]
pub(crate) struct MapUpdate {
    pid: FieldAccess,
    start: FieldAccess,
    len: FieldAccess,
    file_offset: FieldAccess,
    path: FieldAccess,
    build_id: Option<(FieldAccess, FieldAccess)>,
}

impl Plan {
    pub(crate) fn new(class: &EventRecordClass, samples: &mut Samples) -> Plan {
        if class.namespace == namespace::KSTRACE
            && (class.name == builtin::LOST || class.name == builtin::CLOCK_PAIR)
        {
            return Plan::Repetition;
        }
        if let Some(plan) = ProcessPlan::new(class) {
            return Plan::Process(Box::new(plan), TaskChange::new(class).map(Box::new));
        }
        match &class.native {
            NativeDescription::PerfRecord {
                record_type: PERF_RECORD_MMAP | PERF_RECORD_MMAP2,
                ..
            } => MapUpdate::new(class).map_or(Plan::NotHeld, |m| Plan::Mapping(Box::new(m))),
            NativeDescription::PerfRecord { .. } => Plan::NotHeld,
            NativeDescription::PerfSample { format, .. } => {
                let Some(sample) = samples.plan(class) else {
                    return Plan::NotHeld;
                };
                let event = format.is_some().then(|| Box::new(EventPlan::new(class)));
                match event {
                    Some(event) if !sample.has_stack() => Plan::Event(event),
                    event => Plan::Sample(Box::new(sample), event),
                }
            }
            NativeDescription::TracefsFormat { .. } => match samples.plan(class) {
                Some(stack) => Plan::Sample(Box::new(stack), None),
                None => Plan::Event(Box::new(EventPlan::new(class))),
            },
            _ if class.namespace == namespace::KSTRACE => Plan::NotHeld,
            _ => Plan::Event(Box::new(EventPlan::new(class))),
        }
    }

    /// What is left out of each record, for people.
    pub(crate) fn left_out(&self) -> Vec<&str> {
        let (sample, event) = match self {
            Plan::Event(event) => (None, Some(event)),
            Plan::Sample(sample, event) => (Some(sample), event.as_ref()),
            _ => (None, None),
        };
        let of_sample = sample.into_iter().flat_map(|s| &s.left_out);
        let of_event = event.into_iter().flat_map(|e| &e.left_out);
        of_sample.chain(of_event).map(String::as_str).collect()
    }
}

impl TaskChange {
    fn new(class: &EventRecordClass) -> Option<Self> {
        let NativeDescription::PerfRecord { record_type, .. } = class.native else {
            return None;
        };
        let field = |name: &str| by_names(&class.payload, &[name]);
        match record_type {
            PERF_RECORD_COMM => Some(TaskChange::Exec {
                misc: FieldAccess::by_path(&class.payload, &["header", "misc"])?,
                pid: field("pid")?,
            }),
            PERF_RECORD_FORK => Some(TaskChange::Fork {
                parent_pid: field("ppid")?,
                pid: field("pid")?,
            }),
            _ => None,
        }
    }

    pub(crate) fn apply(&self, payload: &[u8], samples: &mut Samples) {
        let id = |access: &FieldAccess| access.get_i64(payload).map(|v| v as i32);
        match self {
            TaskChange::Exec { misc, pid } => {
                let exec = misc
                    .get_u64(payload)
                    .is_some_and(|m| m & MISC_COMM_EXEC != 0);
                if let Some(pid) = id(pid).filter(|_| exec) {
                    samples.spaces.exec(pid);
                }
            }
            TaskChange::Fork { parent_pid, pid } => {
                if let (Some(parent), Some(child)) = (id(parent_pid), id(pid)) {
                    samples.spaces.fork(parent, child);
                }
            }
        }
    }
}

impl MapUpdate {
    fn new(class: &EventRecordClass) -> Option<Self> {
        let role = |role| FieldAccess::by_role(&class.payload, role);
        let named = |name: &str| FieldAccess::by_path(&class.payload, &[name]);
        Some(MapUpdate {
            pid: role(Role::Pid)?,
            start: role(Role::MapStart)?,
            len: role(Role::MapLength)?,
            file_offset: role(Role::MapFileOffset)?,
            path: role(Role::FileName)?,
            build_id: named("build_id_size").zip(named("build_id")),
        })
    }

    /// `None` if the record's bytes are too few.
    pub(crate) fn apply(&self, payload: &[u8], samples: &mut Samples) -> Option<()> {
        let path = String::from_utf8_lossy(self.path.get_bytes(payload)?);
        if let Some(symbol) = path.strip_prefix("[kernel.kallsyms]") {
            // perf puts the address of the symbol it names where a file's offset stands.
            samples.kernel_symbol(symbol, self.file_offset.get_u64(payload)?);
        }
        let build_id = self.build_id.as_ref().and_then(|(size, id)| {
            let size = usize::try_from(size.get_u64(payload)?).ok()?;
            id.get_bytes(payload)?.get(..size).map(Into::into)
        });
        samples.spaces.map(
            self.pid.get_i64(payload)? as i32,
            self.start.get_u64(payload)?,
            self.len.get_u64(payload)?,
            self.file_offset.get_u64(payload)?,
            MappedFile {
                path: path.as_ref().into(),
                build_id: build_id.unwrap_or_default(),
            },
        );
        Some(())
    }
}
