//! What becomes of the records of each class.

use super::event_ids::{EventIds, id_of};
use kstrace_schema::decode::FieldAccess;
use kstrace_schema::{
    ByteOrder, EventRecordClass, FieldClass, NativeDescription, Role, StructureClass, builtin,
    namespace,
};
use kstrace_tracepoint::synthetic::{self, Synthetic, TaskFields};
use kstrace_tracepoint::{AnyField, Entry, Measured, TracepointLayout};
use tracefs::format::{EventFormat, FieldKind, FormatField};

/// `PERF_RECORD_COMM` of `linux/perf_event.h`.
const PERF_RECORD_COMM: u32 = 3;
/// `PERF_RECORD_FORK`.
const PERF_RECORD_FORK: u32 = 7;

/// What becomes of the records of a class.
#[derive(Debug)]
pub(super) enum Plan {
    /// No class of that id was announced.
    Unannounced,
    /// The payload is the entry.
    Entry(EntryPlan),
    /// The entry is within a sample of perf.
    Sample(Box<SamplePlan>),
    /// An entry is made.
    Made(Box<MadePlan>),
    /// `PERF_RECORD_COMM` and `kstrace:process`: a name, which goes to the command lines.
    Name(Vec<NameField>),
    /// `PERF_RECORD_FORK`: a task begins with the name of its parent. Nothing more is held.
    Fork(Box<ForkPlan>),
    /// What the caller tells in another way too.
    Repetition,
    /// The format has no place for it.
    NotHeld,
}

/// The payload is the entry.
#[derive(Debug)]
pub(super) struct EntryPlan {
    pub(super) buffer: usize,
    /// The number to put in place of `common_type`.
    pub(super) common_type: Option<[u8; 2]>,
    /// Bytes behind the payload that the kernel's entry has to fill its structure.
    pub(super) slack_bytes: usize,
    pub(super) names: Vec<NameField>,
}

/// The entry is within a sample of perf.
#[derive(Debug)]
pub(super) struct SamplePlan {
    pub(super) buffer: usize,
    pub(super) common_type: Option<[u8; 2]>,
    pub(super) entry: Entry,
    layout: Option<TracepointLayout>,
    pub(super) names: Vec<NameField>,
}

impl SamplePlan {
    /// The entry, without slack at its end where that can be told.
    #[inline]
    pub(super) fn entry<'a>(&self, payload: &'a [u8]) -> Option<&'a [u8]> {
        let bytes = self.entry.bytes(payload)?;
        match self.layout.as_ref().map(|layout| layout.measure(bytes)) {
            Some(Measured::Regular { len_bytes, .. } | Measured::Odd { len_bytes, .. }) => {
                bytes.get(..len_bytes)
            }
            // Shorter than its type number is nothing.
            _ => Some(bytes).filter(|bytes| bytes.len() >= 2),
        }
    }
}

/// An entry is made.
#[derive(Debug)]
pub(super) struct MadePlan {
    pub(super) buffer: usize,
    pub(super) common_type: [u8; 2],
    pub(super) synthetic: Synthetic,
    pub(super) task: TaskFields,
    pub(super) names: Vec<NameField>,
}

/// A task was made.
#[derive(Debug)]
pub(super) struct ForkPlan {
    pub(super) parent: FieldAccess,
    pub(super) tid: FieldAccess,
}

/// A tid, and the name of the task that has it.
#[derive(Debug)]
pub(super) struct NameField {
    pub(super) tid: AnyField,
    pub(super) comm: AnyField,
}

const NAMES: [(Role, Role); 5] = [
    (Role::Tid, Role::Comm),
    (Role::PrevTid, Role::PrevComm),
    (Role::NextTid, Role::NextComm),
    (Role::TargetTid, Role::TargetComm),
    (Role::ParentTid, Role::ParentComm),
];

/// Makes plans.
#[derive(Debug)]
pub(super) struct Mapper {
    pub(super) ids: EventIds,
    pub(super) byte_order: ByteOrder,
    /// What cannot be held, each once.
    pub(super) facts: Vec<String>,
}

impl Mapper {
    pub(super) fn fact(&mut self, fact: String) {
        if !self.facts.contains(&fact) {
            self.facts.push(fact);
        }
    }

    fn type_bytes(&self, id: u16) -> [u8; 2] {
        match self.byte_order {
            ByteOrder::LittleEndian => id.to_le_bytes(),
            ByteOrder::BigEndian => id.to_be_bytes(),
        }
    }

    /// The plan for the records of a class, which go to that buffer. `learn_names`
    /// if the records are to tell the names of tasks.
    pub(super) fn plan(
        &mut self,
        class: &EventRecordClass,
        buffer: usize,
        learn_names: bool,
    ) -> Plan {
        match &class.native {
            NativeDescription::TracefsFormat { format } => {
                self.entry(class, format, buffer, learn_names)
            }
            NativeDescription::PerfSample {
                format: Some(format),
                ..
            } => match Entry::of(class) {
                Some(entry) => self.sample(class, format, entry, buffer),
                None => self.made(class, buffer),
            },
            NativeDescription::PerfRecord { record_type, .. } => match *record_type {
                PERF_RECORD_COMM => Plan::Name(names(class, None)),
                PERF_RECORD_FORK => {
                    let field = |name| FieldAccess::by_name(&class.payload, name);
                    match (field("ptid"), field("tid")) {
                        (Some(parent), Some(tid)) => Plan::Fork(Box::new(ForkPlan { parent, tid })),
                        _ => Plan::NotHeld,
                    }
                }
                _ => Plan::NotHeld,
            },
            _ if class.namespace == namespace::KSTRACE => match class.name.as_str() {
                builtin::PROCESS => Plan::Name(names(class, None)),
                builtin::LOST | builtin::CLOCK_PAIR => Plan::Repetition,
                _ => self.made(class, buffer),
            },
            _ => self.made(class, buffer),
        }
    }

    fn entry(
        &mut self,
        class: &EventRecordClass,
        format: &str,
        buffer: usize,
        learn_names: bool,
    ) -> Plan {
        if first_byte_order(&class.payload).is_some_and(|order| order != self.byte_order) {
            self.fact(format!(
                "events of a machine of another byte order: {}",
                class.qualified_name()
            ));
            return Plan::NotHeld;
        }
        let stated = class.attributes.get("ftrace.id").and_then(|v| v.as_u64());
        let own = id_of(format).or_else(|| u16::try_from(stated?).ok());
        let (system, _) = class
            .name
            .split_once(':')
            .unwrap_or((namespace::FTRACE, ""));
        let in_file = own.and_then(|own| Some((own, self.ids.add(system, own, format)?)));
        let Some((own, id)) = in_file else {
            self.fact(format!(
                "more events than there are numbers for: {}",
                class.name
            ));
            return Plan::NotHeld;
        };
        Plan::Entry(EntryPlan {
            buffer,
            common_type: (id != own).then(|| self.type_bytes(id)),
            slack_bytes: slack_bytes(format),
            names: if learn_names {
                names(class, None)
            } else {
                Vec::new()
            },
        })
    }

    fn sample(
        &mut self,
        class: &EventRecordClass,
        format: &str,
        entry: Entry,
        buffer: usize,
    ) -> Plan {
        let (system, _) = class.name.split_once(':').unwrap_or((namespace::PERF, ""));
        let Some(own) = id_of(format) else {
            return self.made(class, buffer);
        };
        let raw_order = first_byte_order(&class.payload).unwrap_or(self.byte_order);
        let id = (raw_order == self.byte_order)
            .then(|| self.ids.add(system, own, format))
            .flatten();
        let Some(id) = id else {
            self.fact(format!(
                "the event {}: no number, or another byte order",
                class.name
            ));
            return Plan::NotHeld;
        };
        self.tell_lost_fields(class);
        let layout = EventFormat::parse(format)
            .ok()
            .and_then(|parsed| TracepointLayout::describe_in(system, &parsed, raw_order).ok());
        Plan::Sample(Box::new(SamplePlan {
            buffer,
            common_type: (id != own).then(|| self.type_bytes(id)),
            names: names(class, Some(&entry)),
            entry,
            layout,
        }))
    }

    /// A sample of a tracepoint says more than the tracepoint's entry.
    fn tell_lost_fields(&mut self, class: &EventRecordClass) {
        const HELD: [&str; 14] = [
            "header",
            "identifier",
            "id",
            "stream_id",
            "ip",
            "pid",
            "tid",
            "time",
            "cpu",
            "period",
            "raw_size",
            "raw",
            "type",
            "misc",
        ];
        let mut lost = Vec::new();
        for member in &class.payload.members {
            // The members from `raw_size` to its end are the entry's own.
            if member.name == "raw_size" {
                break;
            }
            let name = member.name.as_str();
            if !matches!(member.class, FieldClass::Padding { .. })
                && !HELD.contains(&name)
                && name != "size"
                && !name.ends_with("_nr")
            {
                lost.push(name);
            }
        }
        const AFTER_RAW: [&str; 12] = [
            "branch_stack",
            "branches",
            "user_regs",
            "regs_user",
            "stack_user",
            "user_stack",
            "weight",
            "data_src",
            "transaction",
            "intr_regs",
            "regs_intr",
            "aux",
        ];
        let after = class.payload.members.iter().map(|m| m.name.as_str());
        lost.extend(after.filter(|name| AFTER_RAW.contains(name)));
        lost.dedup();
        if !lost.is_empty() {
            self.fact(format!(
                "{} of the samples of {}",
                lost.join(", "),
                class.name
            ));
        }
    }

    fn made(&mut self, class: &EventRecordClass, buffer: usize) -> Plan {
        let of_perf = matches!(class.native, NativeDescription::PerfSample { .. });
        // The header of a perf record says nothing of the event.
        let header = ["header", "type", "misc", "size", "time", "cpu"];
        let synthetic = Synthetic::of(class, self.byte_order, |name| {
            of_perf && header.contains(&name)
        });
        for left_out in synthetic.left_out() {
            self.fact(format!(
                "the field {left_out} of {}",
                class.qualified_name()
            ));
        }
        let (system, _) = synthetic::event_name(class);
        let id = self.ids.make_up(&system, |id| synthetic.format(id));
        let Some(id) = id else {
            self.fact(format!(
                "more events than there are numbers for: {}",
                class.qualified_name()
            ));
            return Plan::NotHeld;
        };
        Plan::Made(Box::new(MadePlan {
            buffer,
            common_type: self.type_bytes(id),
            synthetic,
            task: TaskFields::of(&class.payload),
            names: names(class, None),
        }))
    }
}

/// How much longer than what a format says the kernel's entries are: their structure is
/// as long as its alignment wants. Some readers look there.
fn slack_bytes(format: &str) -> usize {
    let Ok(format) = EventFormat::parse(format) else {
        return 0;
    };
    // Entries of probes are no structures.
    if format.print_fmt.starts_with("\"(%lx") {
        return 0;
    }
    let alignment = |field: &FormatField| {
        let size = match &field.kind {
            FieldKind::Array {
                element_size_bytes, ..
            } => *element_size_bytes,
            FieldKind::String => 1,
            _ => field.size_bytes,
        };
        // What is not of a natural size is made of smaller things.
        1 << (size | field.offset_bytes | 8).trailing_zeros()
    };
    let alignment = format.all_fields().map(alignment).max().unwrap_or(1);
    let len = format.fixed_len_bytes() as usize;
    len.next_multiple_of(alignment) - len
}

fn names(class: &EventRecordClass, entry: Option<&Entry>) -> Vec<NameField> {
    let find = |role| AnyField::find(class, entry, |payload| FieldAccess::by_role(payload, role));
    NAMES
        .into_iter()
        .filter_map(|(tid, comm)| {
            Some(NameField {
                tid: find(tid)?,
                comm: find(comm)?,
            })
        })
        .collect()
}

/// The byte order of the first number of more than a byte.
fn first_byte_order(structure: &StructureClass) -> Option<ByteOrder> {
    structure
        .members
        .iter()
        .find_map(|member| match &member.class {
            FieldClass::Integer(class) if class.size_bytes > 1 => Some(class.byte_order),
            FieldClass::Structure(inner) => first_byte_order(inner),
            _ => None,
        })
}
