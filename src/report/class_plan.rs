//! What the report does with the records of one class, worked out once.

use super::entry_text::EntryText;
use super::field_plan::FieldPlans;
use super::options::{Column, Filter};
use super::tasks::Tasks;
use kstrace_schema::decode::FieldAccess;
use kstrace_schema::{EventRecordClass, NativeDescription, Role, builtin, canonical, namespace};
use kstrace_tracepoint::{AnyField, Entry};
use std::sync::Arc;
use tracefs::glob;

/// `PERF_RECORD_*` types that only serve to understand other records.
const BOOKKEEPING_RECORDS: [u32; 16] = [1, 2, 3, 4, 7, 10, 11, 12, 13, 16, 17, 18, 19, 20, 21, 22];
/// perf's own records in files begin here; none is an event.
const FIRST_PERF_USER_RECORD: u32 = 64;
const PERF_RECORD_FORK: u32 = 7;
const PERF_RECORD_EXIT: u32 = 4;
const PERF_RECORD_COMM: u32 = 3;
const PERF_RECORD_MMAP: u32 = 1;
const PERF_RECORD_MMAP2: u32 = 10;
/// `PERF_RECORD_MISC_COMM_EXEC`: the name changed because another program is run.
const MISC_COMM_EXEC: u64 = 1 << 13;
/// `CLONE_THREAD`: the new task is a thread of the same process.
const CLONE_THREAD: u64 = 0x1_0000;

/// What kind of record it is to the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Something that happened.
    Event,
    /// `kstrace:lost`.
    Lost,
    /// Serves to understand the others.
    Bookkeeping,
}

/// Everything compiled for one class.
pub(super) struct ClassPlan {
    pub(super) class: Arc<EventRecordClass>,
    pub(super) kind: Kind,
    /// `event: `
    pub(super) label: Box<[u8]>,
    /// Passes the filters that depend on the class alone.
    pub(super) wanted: bool,
    pub(super) entry: Option<Entry>,
    pub(super) entry_text: EntryText,
    pub(super) fields: FieldPlans,
    /// Its line in text depends on nothing but the record: there is no address to resolve.
    pub(super) text_stands_alone: bool,
    pub(super) callchain: Option<FieldAccess>,
    pub(super) ip: Option<FieldAccess>,
    /// The fields that the user asked for by name, in the order of the columns.
    pub(super) named: Vec<Option<AnyField>>,
    pub(super) mapping: Option<MapUpdate>,
    pub(super) fork: Option<ForkUpdate>,
    pub(super) exec_pid: Option<ExecUpdate>,
    pub(super) lost: Option<LostFields>,
    tid: Option<FieldAccess>,
    pid: Option<FieldAccess>,
    updates: Vec<TaskUpdate>,
}

/// A record that tells something about tasks.
enum TaskUpdate {
    /// A thread has this name.
    Comm {
        tid: AnyField,
        comm: AnyField,
        pid: Option<AnyField>,
    },
    /// A thread runs this program from now on.
    Exec { tid: AnyField, file_name: AnyField },
    /// A thread was made by the record's task.
    NewTask {
        tid: AnyField,
        clone_flags: AnyField,
    },
}

/// `PERF_RECORD_MMAP` and `MMAP2`.
pub(super) struct MapUpdate {
    pub(super) pid: FieldAccess,
    pub(super) start: FieldAccess,
    pub(super) len: FieldAccess,
    pub(super) file_offset: FieldAccess,
    pub(super) path: FieldAccess,
    pub(super) build_id: Option<(FieldAccess, FieldAccess)>,
}

/// `PERF_RECORD_FORK`.
pub(super) struct ForkUpdate {
    pub(super) pid: FieldAccess,
    pub(super) parent_pid: FieldAccess,
    pub(super) tid: FieldAccess,
    pub(super) parent_tid: FieldAccess,
}

/// `PERF_RECORD_COMM`.
pub(super) struct ExecUpdate {
    misc: FieldAccess,
    pid: FieldAccess,
}

impl ExecUpdate {
    /// The process that now runs another program.
    pub(super) fn process(&self, payload: &[u8]) -> Option<i32> {
        let exec = self.misc.get_u64(payload)? & MISC_COMM_EXEC != 0;
        exec.then(|| self.pid.get_i64(payload).map(|p| p as i32))?
    }
}

/// The fields of `kstrace:lost`.
pub(super) struct LostFields {
    pub(super) count: FieldAccess,
    pub(super) begin_ns: FieldAccess,
    pub(super) end_ns: FieldAccess,
    pub(super) reason: FieldAccess,
    pub(super) cpu: FieldAccess,
    pub(super) source: FieldAccess,
    pub(super) certainty: FieldAccess,
}

impl LostFields {
    fn of(class: &EventRecordClass) -> Option<Self> {
        let field = |name: &str| FieldAccess::by_path(&class.payload, &[name]);
        Some(LostFields {
            count: field("count")?,
            begin_ns: field("begin_ns")?,
            end_ns: field("end_ns")?,
            reason: field("reason")?,
            cpu: field("cpu")?,
            source: field("source")?,
            certainty: field("certainty")?,
        })
    }
}

impl ClassPlan {
    pub(super) fn new(class: &Arc<EventRecordClass>, filter: &Filter, columns: &[Column]) -> Self {
        let entry = Entry::of(class);
        let role = |role| FieldAccess::by_role(&class.payload, role);
        let record_type = match class.native {
            NativeDescription::PerfRecord { record_type, .. } => Some(record_type),
            _ => None,
        };
        let kind = kind(class, record_type);
        let named = columns
            .iter()
            .filter_map(|c| match c {
                Column::Field(name) => Some(named_field(class, entry.as_ref(), name)),
                _ => None,
            })
            .collect();
        let callchain = role(Role::Callchain).or_else(|| kernel_stack(class));
        let ip = role(Role::InstructionPointer);
        ClassPlan {
            kind,
            text_stands_alone: callchain.is_none() && (entry.is_some() || ip.is_none()),
            entry_text: EntryText::default(),
            fields: FieldPlans::default(),
            label: format!("{}: ", class.name).into_bytes().into(),
            wanted: wanted(class, kind, filter),
            callchain,
            ip,
            named,
            mapping: match record_type {
                Some(PERF_RECORD_MMAP | PERF_RECORD_MMAP2) => map_update(class),
                _ => None,
            },
            fork: if record_type == Some(PERF_RECORD_FORK) {
                fork_update(class)
            } else {
                None
            },
            exec_pid: if record_type == Some(PERF_RECORD_COMM) {
                exec_update(class)
            } else {
                None
            },
            lost: if kind == Kind::Lost {
                LostFields::of(class)
            } else {
                None
            },
            tid: role(Role::Tid),
            pid: role(Role::Pid),
            updates: task_updates(class, entry.as_ref(), record_type),
            entry,
            class: Arc::clone(class),
        }
    }

    /// Thread that the record is about.
    #[inline]
    pub(super) fn tid(&self, payload: &[u8]) -> Option<i32> {
        self.tid.as_ref()?.get_i64(payload).map(|v| v as i32)
    }

    /// Its thread group, where the record itself says it.
    #[inline]
    pub(super) fn pid(&self, payload: &[u8]) -> Option<i32> {
        self.pid.as_ref()?.get_i64(payload).map(|v| v as i32)
    }

    /// Takes in what the record tells about tasks.
    #[inline]
    pub(super) fn update_tasks(&self, payload: &[u8], tasks: &mut Tasks) {
        for update in &self.updates {
            self.update(update, payload, tasks);
        }
    }

    fn update(&self, update: &TaskUpdate, payload: &[u8], tasks: &mut Tasks) {
        let entry = self.entry.as_ref();
        match update {
            TaskUpdate::Comm { tid, comm, pid } => {
                let Some(tid) = tid.get_i32(entry, payload) else {
                    return;
                };
                if let Some(comm) = comm.get_bytes(entry, payload) {
                    tasks.set_comm(tid, comm);
                }
                if let Some(pid) = pid.as_ref().and_then(|p| p.get_i32(entry, payload)) {
                    tasks.set_pid(tid, pid);
                }
            }
            TaskUpdate::Exec { tid, file_name } => {
                let (Some(tid), Some(path)) = (
                    tid.get_i32(entry, payload),
                    file_name.get_bytes(entry, payload),
                ) else {
                    return;
                };
                // The kernel takes the last part of the path, cut to 15 bytes.
                let name = path.rsplit(|b| *b == b'/').next().unwrap_or(path);
                tasks.set_comm(tid, &name[..name.len().min(15)]);
                tasks.set_pid(tid, tid);
            }
            TaskUpdate::NewTask { tid, clone_flags } => {
                let Some(tid) = tid.get_i32(entry, payload) else {
                    return;
                };
                let thread = clone_flags
                    .base(entry, payload)
                    .and_then(|b| clone_flags.access().get_u64(b))
                    .is_some_and(|f| f & CLONE_THREAD != 0);
                let pid = if thread {
                    self.tid(payload).and_then(|t| tasks.get(t).pid)
                } else {
                    Some(tid)
                };
                if let Some(pid) = pid {
                    tasks.set_pid(tid, pid);
                }
            }
        }
    }
}

fn kind(class: &EventRecordClass, record_type: Option<u32>) -> Kind {
    if class.namespace == namespace::KSTRACE {
        return if class.name == builtin::LOST {
            Kind::Lost
        } else {
            Kind::Bookkeeping
        };
    }
    match record_type {
        Some(t) if t >= FIRST_PERF_USER_RECORD || BOOKKEEPING_RECORDS.contains(&t) => {
            Kind::Bookkeeping
        }
        _ => Kind::Event,
    }
}

fn wanted(class: &EventRecordClass, kind: Kind, filter: &Filter) -> bool {
    if filter.events.is_empty() {
        return kind != Kind::Bookkeeping || filter.bookkeeping;
    }
    name_matches(class, &filter.events)
}

/// Whether a class's native, qualified, bare or canonical name matches one of the patterns.
pub(crate) fn name_matches(class: &EventRecordClass, patterns: &[String]) -> bool {
    let canonical = canonical::event(&class.namespace, &class.name);
    let bare = class.name.split_once(':').map(|(_, event)| event);
    patterns.iter().any(|pattern| {
        glob::matches(pattern, &class.name)
            || glob::matches(pattern, &class.qualified_name())
            || bare.is_some_and(|bare| glob::matches(pattern, bare))
            || canonical.is_some_and(|c| glob::matches(pattern, &c.event.name))
    })
}

/// A field by native name, by path with dots, or by canonical name.
fn named_field(class: &EventRecordClass, entry: Option<&Entry>, name: &str) -> Option<AnyField> {
    AnyField::find(class, entry, |s| FieldAccess::by_name(s, name)).or_else(|| {
        let canonical = canonical::event(&class.namespace, &class.name)?;
        let native = canonical.native_field(name)?;
        AnyField::find(class, entry, |s| FieldAccess::by_name(s, native))
    })
}

/// ftrace's stack of the event before it.
fn kernel_stack(class: &EventRecordClass) -> Option<FieldAccess> {
    let is_stack = matches!(class.native, NativeDescription::TracefsFormat { .. })
        && class.name == "ftrace:kernel_stack";
    is_stack.then(|| FieldAccess::by_path(&class.payload, &["caller"]))?
}

fn task_updates(
    class: &EventRecordClass,
    entry: Option<&Entry>,
    record_type: Option<u32>,
) -> Vec<TaskUpdate> {
    let role = |role| AnyField::find(class, entry, |s| FieldAccess::by_role(s, role));
    let named = |name: &str| AnyField::find(class, entry, |s| FieldAccess::by_path(s, &[name]));
    let mut updates = Vec::new();
    let exit = record_type == Some(PERF_RECORD_EXIT);
    for (tid, comm, pid) in [
        (Role::Tid, Role::Comm, Some(Role::Pid)),
        (Role::PrevTid, Role::PrevComm, None),
        (Role::NextTid, Role::NextComm, None),
        (Role::ParentTid, Role::ParentComm, None),
        (Role::TargetTid, Role::TargetComm, None),
    ] {
        if let (Some(tid), Some(comm), false) = (role(tid), role(comm), exit) {
            updates.push(TaskUpdate::Comm {
                tid,
                comm,
                pid: pid.and_then(role),
            });
        }
    }
    match class.name.as_str() {
        "task:task_rename" => {
            if let (Some(tid), Some(comm)) = (named("pid"), named("newcomm")) {
                updates.push(TaskUpdate::Comm {
                    tid,
                    comm,
                    pid: None,
                });
            }
        }
        "task:task_newtask" => {
            if let (Some(tid), Some(clone_flags)) = (named("pid"), named("clone_flags")) {
                updates.push(TaskUpdate::NewTask { tid, clone_flags });
            }
            if let (Some(tid), Some(comm)) = (named("pid"), named("comm")) {
                updates.push(TaskUpdate::Comm {
                    tid,
                    comm,
                    pid: None,
                });
            }
        }
        "sched:sched_process_exec" => {
            if let (Some(tid), Some(file_name)) = (role(Role::TargetTid), role(Role::FileName)) {
                updates.push(TaskUpdate::Exec { tid, file_name });
            }
        }
        _ => {}
    }
    updates
}

fn map_update(class: &EventRecordClass) -> Option<MapUpdate> {
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

fn fork_update(class: &EventRecordClass) -> Option<ForkUpdate> {
    let named = |name: &str| FieldAccess::by_path(&class.payload, &[name]);
    Some(ForkUpdate {
        pid: named("pid")?,
        parent_pid: named("ppid")?,
        tid: named("tid")?,
        parent_tid: named("ptid")?,
    })
}

fn exec_update(class: &EventRecordClass) -> Option<ExecUpdate> {
    Some(ExecUpdate {
        misc: FieldAccess::by_path(&class.payload, &["header", "misc"])?,
        pid: FieldAccess::by_role(&class.payload, Role::Pid)?,
    })
}
