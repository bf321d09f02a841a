//! Tracepoints made of records whose tracer has no format files: those of LTTng, of CTF.

use super::evsel::{EvselIndex, EvselTable};
use super::task::{self, Comm};
use super::tracing_data::TracingData;
use kstrace_schema::decode::FieldAccess;
use kstrace_schema::{ByteOrder, EventRecordClass, Role};
use kstrace_tracepoint::synthetic::{self, Synthetic, TaskFields};

/// How an entry is made, and what it tells.
#[derive(Debug)]
pub(super) struct MadePlan {
    pub(super) evsel: EvselIndex,
    /// The event's id in the file.
    pub(super) id: u64,
    common_type: u16,
    synthetic: Synthetic,
    pub(super) task: TaskFields,
    pid: Option<FieldAccess>,
    names: Vec<(FieldAccess, FieldAccess)>,
}

const NAMES: [(Role, Role); 5] = [
    (Role::Tid, Role::Comm),
    (Role::PrevTid, Role::PrevComm),
    (Role::NextTid, Role::NextComm),
    (Role::TargetTid, Role::TargetComm),
    (Role::ParentTid, Role::ParentComm),
];

impl MadePlan {
    /// `None` if there are more events than numbers for them.
    pub(super) fn of(
        class: &EventRecordClass,
        evsels: &mut EvselTable,
        formats: &mut TracingData,
    ) -> Option<Self> {
        let synthetic = Synthetic::of(class, ByteOrder::NATIVE, |_| false);
        let (system, name) = synthetic::event_name(class);
        let config = formats.make_up(&system, |id| synthetic.format(id))?;
        let evsel = evsels.add_tracepoint(class.source, &format!("{system}:{name}"), config.into());
        let role = |role| FieldAccess::by_role(&class.payload, role);
        Some(MadePlan {
            evsel,
            id: evsels.get(evsel).first_id(),
            common_type: config,
            synthetic,
            task: TaskFields::of(&class.payload),
            pid: role(Role::Pid),
            names: NAMES
                .into_iter()
                .filter_map(|(tid, comm)| Some((role(tid)?, role(comm)?)))
                .collect(),
        })
    }

    /// Fields of the class that its event has no place for, by their path.
    pub(super) fn left_out(&self) -> &[String] {
        self.synthetic.left_out()
    }

    /// The entry of a record. `false` if it is longer than an entry can be.
    pub(super) fn encode(&self, payload: &[u8], tid: u32, entry: &mut Vec<u8>) -> bool {
        let fits = self.synthetic.encode(payload, tid.cast_signed(), entry);
        if let Some(place) = entry.first_chunk_mut() {
            *place = self.common_type.to_ne_bytes();
        }
        fits
    }

    /// The thread group of the record's task, if it says it.
    pub(super) fn pid(&self, payload: &[u8]) -> Option<u32> {
        self.pid.as_ref()?.get_u64(payload).map(|pid| pid as u32)
    }

    /// The names of tasks that a record tells.
    pub(super) fn names(&self, payload: &[u8]) -> impl Iterator<Item = (u32, Comm)> {
        self.names.iter().filter_map(|(tid, comm)| {
            let tid = tid.get_u64(payload)? as u32;
            Some((tid, task::comm_of(comm.get_bytes(payload)?)))
        })
    }
}
