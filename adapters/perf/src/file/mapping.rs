//! What becomes of the records of each class.

use super::evsel::{EvselIndex, EvselTable};
use super::kept::KeptPlan;
use super::made::MadePlan;
use super::tracing_data::{TracingData, event_id_of, minimal_format};
use crate::attr::Attr;
use crate::layout::SampleIdShape;
use crate::uapi;
use kstrace_schema::{
    ByteOrder, EventRecordClass, NativeDescription, SourceId, builtin, namespace,
};
use kstrace_tracepoint::Entry;
use std::collections::BTreeMap;
use tracefs::format::EventFormat;

/// `PERF_RECORD_USER_TYPE_START`.
const FIRST_USER_RECORD: u32 = 64;

/// What becomes of the records of a class.
#[derive(Debug)]
pub(super) enum Plan {
    /// No class of that id was announced.
    Unannounced,
    /// The kernel's raw tracepoint data becomes a sample.
    Tracepoint(TracepointPlan),
    /// The same of a machine of the other byte order.
    ForeignTracepoint(Box<ForeignTracepoint>),
    /// An entry is made.
    Made(Box<MadePlan>),
    /// The sample that perf recorded is kept.
    Sample(SamplePlan),
    /// The other record that perf recorded is kept.
    Sideband(SidebandPlan),
    /// A record of a perf.data that goes back into one.
    Kept(KeptPlan),
    /// `kstrace:process`: a name.
    Process,
    /// What the caller tells in another way too.
    Repetition,
    /// The format has no place for it.
    NotHeld,
}

/// Raw data of a tracepoint.
#[derive(Debug)]
pub(super) struct TracepointPlan {
    pub(super) evsel: EvselIndex,
    /// The event's id in the file.
    pub(super) id: u64,
    /// Where the entry has its thread's id.
    pub(super) tid_offset: usize,
    /// Where it has the address of the function it is about.
    pub(super) ip_offset: Option<usize>,
    /// The number to put in place of `common_type`, where two formats had the same.
    pub(super) common_type: Option<u16>,
    /// What it tells about tasks.
    pub(super) hooks: Vec<TaskHook>,
}

/// Raw data of a tracepoint of a machine of the other byte order.
#[derive(Debug)]
pub(super) struct ForeignTracepoint {
    /// What becomes of the entry when its numbers are turned around.
    pub(super) plan: TracepointPlan,
    format: EventFormat,
    turned: Vec<u8>,
}

impl ForeignTracepoint {
    /// The entry as this machine would have written it.
    pub(super) fn turned(&mut self, entry: &[u8]) -> (&TracepointPlan, &[u8]) {
        self.turned.clear();
        self.turned.extend_from_slice(entry);
        self.format.reverse_byte_order(&mut self.turned);
        (&self.plan, &self.turned)
    }
}

/// A sample as perf recorded it.
#[derive(Debug)]
pub(super) struct SamplePlan {
    pub(super) evsel: EvselIndex,
    /// Recorded ids and ids in the file, sorted.
    pub(super) ids: Vec<(u64, u64)>,
    /// Where the record has its id.
    pub(super) id_offset: Option<usize>,
    /// It begins with its identifier already.
    pub(super) has_identifier: bool,
}

/// Another record as perf recorded it.
#[derive(Debug)]
pub(super) struct SidebandPlan {
    pub(super) source: SourceId,
    /// Shape of its trailer.
    pub(super) shape: SampleIdShape,
    /// The event that carries such records.
    pub(super) event: Option<EvselIndex>,
}

/// A name in a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CommField {
    /// At a fixed place.
    Fixed { offset: usize, size: usize },
    /// Where the `u16` offset and `u16` length at that place say.
    Located { at: usize },
}

/// What a tracepoint tells about a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TaskHook {
    /// The name of the task with the tid at this offset.
    Name { tid: usize, comm: CommField },
    /// It executes this file.
    Exec { tid: usize, path: CommField },
    /// It was created, with these flags of clone(2).
    NewTask {
        tid: usize,
        comm: CommField,
        clone_flags: usize,
    },
    /// It was created, in a thread group that is not told.
    Fork { tid: usize },
}

/// Which fields of which tracepoints name which task.
const NAMES: &[(&str, &[(&str, &str)])] = &[
    (
        "sched:sched_switch",
        &[("prev_pid", "prev_comm"), ("next_pid", "next_comm")],
    ),
    ("sched:sched_wakeup", &[("pid", "comm")]),
    ("sched:sched_wakeup_new", &[("pid", "comm")]),
    ("sched:sched_waking", &[("pid", "comm")]),
    ("sched:sched_migrate_task", &[("pid", "comm")]),
    ("sched:sched_process_exit", &[("pid", "comm")]),
    ("sched:sched_stat_runtime", &[("pid", "comm")]),
    (
        "sched:sched_process_fork",
        &[("parent_pid", "parent_comm"), ("child_pid", "child_comm")],
    ),
    ("task:task_rename", &[("pid", "newcomm")]),
];

/// Makes plans for classes, and the events that they need.
#[derive(Debug, Default)]
pub(super) struct Mapper {
    tracepoints: BTreeMap<(SourceId, u64), EvselIndex>,
    /// By source, attr and ids: an event whose records come in several layouts
    /// has a class for each.
    recorded: BTreeMap<(SourceId, String), EvselIndex>,
}

impl Mapper {
    /// The plan for the records of a class.
    pub(super) fn plan(
        &mut self,
        class: &EventRecordClass,
        evsels: &mut EvselTable,
        formats: &mut TracingData,
    ) -> Plan {
        match &class.native {
            NativeDescription::TracefsFormat { format } => {
                let Some(plan) = self.tracepoint(class, format, evsels, formats) else {
                    return Plan::NotHeld;
                };
                match Entry::of(class) {
                    Some(entry) if entry.byte_order() != ByteOrder::NATIVE => {
                        Plan::ForeignTracepoint(Box::new(ForeignTracepoint {
                            plan,
                            format: entry.format().clone(),
                            turned: Vec::new(),
                        }))
                    }
                    _ => Plan::Tracepoint(plan),
                }
            }
            NativeDescription::PerfSample {
                attr_hex,
                event,
                format,
            } => self.sample(class, attr_hex, event, format.as_deref(), evsels, formats),
            // Those of perf itself are about another file.
            NativeDescription::PerfRecord {
                record_type,
                sample_id_type,
            } => {
                // Nor can it make sense of those that are not what their type says.
                let is_opaque = class.payload.member("_unknown").is_some();
                if *record_type < FIRST_USER_RECORD && !is_opaque {
                    let event = self.sideband_event(class, evsels);
                    Plan::Sideband(SidebandPlan {
                        source: class.source,
                        shape: SampleIdShape::new(*sample_id_type),
                        event,
                    })
                } else {
                    Plan::NotHeld
                }
            }
            _ if class.namespace == namespace::KSTRACE => match class.name.as_str() {
                builtin::PROCESS => Plan::Process,
                builtin::LOST | builtin::CLOCK_PAIR => Plan::Repetition,
                _ => Plan::NotHeld,
            },
            _ => match MadePlan::of(class, evsels, formats) {
                Some(plan) => Plan::Made(Box::new(plan)),
                None => Plan::NotHeld,
            },
        }
    }

    fn tracepoint(
        &mut self,
        class: &EventRecordClass,
        format: &str,
        evsels: &mut EvselTable,
        formats: &mut TracingData,
    ) -> Option<TracepointPlan> {
        let attribute = || class.attributes.get("ftrace.id")?.as_u64();
        let own = event_id_of(format).or_else(attribute)?;
        let (system, name) = class
            .name
            .split_once(':')
            .unwrap_or((namespace::FTRACE, class.name.as_str()));
        let config = match event_id_of(format) {
            Some(own) => formats.add(system, own, format)?,
            // An event that came and went before its format could be read.
            None => formats.add(system, own, &minimal_format(name, own))?,
        };
        // One event for all layouts of a tracepoint: they share its format.
        let evsel = *self
            .tracepoints
            .entry((class.source, config))
            .or_insert_with(|| evsels.add_tracepoint(class.source, &class.name, config));
        let offset = |name: &str| class.payload.static_offset_bytes(name).map(|o| o as usize);
        let ip_offset = match class.name.as_str() {
            "ftrace:function" => offset("ip"),
            "ftrace:funcgraph_entry" | "ftrace:funcgraph_exit" => offset("func"),
            _ => None,
        };
        Some(TracepointPlan {
            evsel,
            id: evsels.get(evsel).first_id(),
            tid_offset: offset("common_pid").unwrap_or(4),
            ip_offset,
            // Ids are those of a u16 field.
            common_type: (config != own).then_some(config as u16),
            hooks: hooks(class),
        })
    }

    fn sample(
        &mut self,
        class: &EventRecordClass,
        attr_hex: &str,
        event: &str,
        format: Option<&str>,
        evsels: &mut EvselTable,
        formats: &mut TracingData,
    ) -> Plan {
        let Some(attr) = Attr::from_hex(attr_hex) else {
            return Plan::NotHeld;
        };
        if attr.kind == uapi::PERF_TYPE_TRACEPOINT {
            // perf's reader refuses a file that lacks the format of one of its tracepoints.
            let (system, name) = event.split_once(':').unwrap_or(("unknown", event));
            let name = name.split(':').next().unwrap_or(name);
            match format {
                Some(format) => formats.add_recorded(system, attr.config, format),
                None => {
                    formats.add_recorded(system, attr.config, &minimal_format(name, attr.config))
                }
            }
        }
        let sample_type = attr.sample_type;
        let has_identifier = sample_type & uapi::PERF_SAMPLE_IDENTIFIER != 0;
        let id_offset = if has_identifier {
            Some(uapi::HEADER_BYTES)
        } else if sample_type & uapi::PERF_SAMPLE_ID != 0 {
            let before = uapi::PERF_SAMPLE_IP
                | uapi::PERF_SAMPLE_TID
                | uapi::PERF_SAMPLE_TIME
                | uapi::PERF_SAMPLE_ADDR;
            Some(uapi::HEADER_BYTES + 8 * (sample_type & before).count_ones() as usize)
        } else {
            None
        };
        let recorded_ids = recorded_ids(class);
        let evsel = self.recorded_event(class, event, attr_hex, attr, &recorded_ids, evsels);
        let mut ids: Vec<(u64, u64)> = recorded_ids
            .iter()
            .map(|id| (*id, evsels.add_recorded_id(evsel, *id)))
            .collect();
        ids.sort_unstable();
        ids.dedup();
        Plan::Sample(SamplePlan {
            evsel,
            ids,
            id_offset,
            has_identifier,
        })
    }

    /// The event that `attr_hex` and the ids mean, added if it is new.
    fn recorded_event(
        &mut self,
        class: &EventRecordClass,
        event: &str,
        attr_hex: &str,
        attr: Attr,
        recorded_ids: &[u64],
        evsels: &mut EvselTable,
    ) -> EvselIndex {
        let key = format!("{attr_hex} {recorded_ids:?} {event}");
        *self
            .recorded
            .entry((class.source, key))
            .or_insert_with(|| evsels.add_recorded(class.source, event, attr, recorded_ids))
    }

    /// The event that carries records other than samples, if the class tells it.
    fn sideband_event(
        &mut self,
        class: &EventRecordClass,
        evsels: &mut EvselTable,
    ) -> Option<EvselIndex> {
        let attr_hex = class.attributes.get("perf.sideband_attr")?.as_str()?;
        let attr = Attr::from_hex(attr_hex)?;
        let ids = recorded_ids(class);
        // Where sideband comes with an event of its own that is what perf calls it.
        let name = class.attributes.get("perf.sideband_event");
        let name = match name.and_then(|v| v.as_str()) {
            None | Some("dummy:u") => "dummy:HG",
            Some(name) => name,
        };
        Some(self.recorded_event(class, name, attr_hex, attr, &ids, evsels))
    }
}

fn recorded_ids(class: &EventRecordClass) -> Vec<u64> {
    class
        .attributes
        .get("perf.ids")
        .map(ids_of)
        .unwrap_or_default()
}

/// Ids from a JSON array of numbers or of decimal strings.
fn ids_of(value: &serde_json::Value) -> Vec<u64> {
    let one = |v: &serde_json::Value| v.as_u64().or_else(|| v.as_str()?.parse().ok());
    value
        .as_array()
        .map(|ids| ids.iter().filter_map(one).collect())
        .unwrap_or_default()
}

fn hooks(class: &EventRecordClass) -> Vec<TaskHook> {
    let fixed = |name: &str| class.payload.static_offset_bytes(name).map(|o| o as usize);
    let comm = |name: &str| {
        if let Some(at) = fixed(&format!("_{name}_loc")) {
            return Some(CommField::Located { at });
        }
        let size = class.payload.member(name)?.class.static_size_bytes()?;
        Some(CommField::Fixed {
            offset: fixed(name)?,
            size: size as usize,
        })
    };
    let mut hooks = Vec::new();
    match class.name.as_str() {
        "sched:sched_process_exec" => {
            if let (Some(tid), Some(path)) = (fixed("pid"), comm("filename")) {
                hooks.push(TaskHook::Exec { tid, path });
            }
        }
        "task:task_newtask" => {
            if let (Some(tid), Some(comm), Some(clone_flags)) =
                (fixed("pid"), comm("comm"), fixed("clone_flags"))
            {
                hooks.push(TaskHook::NewTask {
                    tid,
                    comm,
                    clone_flags,
                });
            }
        }
        name => {
            if name == "sched:sched_process_fork"
                && let Some(tid) = fixed("child_pid")
            {
                hooks.push(TaskHook::Fork { tid });
            }
            let fields = NAMES
                .iter()
                .find(|(event, _)| *event == name)
                .map_or(&[][..], |f| f.1);
            hooks.extend(fields.iter().filter_map(|(tid_name, comm_name)| {
                Some(TaskHook::Name {
                    tid: fixed(tid_name)?,
                    comm: comm(comm_name)?,
                })
            }));
        }
    }
    hooks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_come_as_numbers_or_text() {
        let value = serde_json::json!([1, "18446744073709551615", "x", null, -3]);
        assert_eq!(ids_of(&value), [1, u64::MAX]);
        assert_eq!(ids_of(&serde_json::json!("7")), [0u64; 0]);
    }
}
