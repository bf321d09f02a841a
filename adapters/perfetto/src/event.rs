//! How the events of one class become `FtraceEvent` messages, worked out once.

use crate::generic;
use crate::typed::{self, TypedEvent, TypedField, TypedKind};
use crate::wire::{Proto, varint_tag};
use kstrace_schema::decode::{FieldAccess, Value};
use kstrace_schema::{
    ByteOrder, EventRecord, EventRecordClass, FieldClass, Role, StructureClass, canonical,
    namespace,
};
use kstrace_tracepoint::{Entry, Measured, TracepointLayout};

/// `FtraceEventBundle.event`.
const EVENT: u32 = 2;
/// `FtraceEvent.timestamp`.
const TIMESTAMP: u32 = 1;
/// `FtraceEvent.pid`: a thread, in user space's words.
const PID: u32 = 2;
/// `FtraceEvent.common_flags`.
const COMMON_FLAGS: u32 = 5;

/// Elements of an array that a message gets; a longer one does not belong in a trace's arguments.
const MAX_ELEMENTS: usize = 1 << 12;

/// The record's bytes are not what its class says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unparsable;

/// The events of one class.
#[derive(Debug)]
pub(crate) struct EventPlan {
    name: String,
    /// How the tracepoint's entry is found in a perf sample.
    within: Option<Box<Within>>,
    typed: Option<Typed>,
    tid: Option<FieldAccess>,
    tid_is_in_entry: bool,
    common_flags: Option<FieldAccess>,
    /// The thread that has the CPU from now on.
    pub(crate) next_tid: Option<FieldAccess>,
    class: StructureClass,
    /// Fields of the class that the message has no place for.
    pub(crate) left_out: Vec<String>,
    /// The fields that every tracepoint has and no message.
    pub(crate) has_common_fields: bool,
}

#[derive(Debug)]
struct Within {
    entry: Entry,
    layout: TracepointLayout,
}

#[derive(Debug)]
struct Typed {
    number: u32,
    ops: Vec<Op>,
}

/// One field of a typed message.
#[derive(Debug)]
enum Op {
    /// A native integer at a fixed place: most of them.
    Fixed {
        tag: u32,
        offset: usize,
        size: u8,
        form: Form,
    },
    Integer {
        tag: u32,
        access: FieldAccess,
        form: Form,
    },
    Text {
        number: u32,
        access: FieldAccess,
    },
    Many {
        tag: u32,
        access: FieldAccess,
    },
}

/// What an integer becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// Sign-extended as the class says.
    Whole { signed: bool },
    /// The low 32 bits, for `uint32`.
    Low32,
    /// A device number of the kernel's, as user space has them.
    Device,
}

impl Form {
    #[inline]
    fn apply(self, value: u64) -> u64 {
        match self {
            Form::Whole { .. } => value,
            Form::Low32 => value & 0xffff_ffff,
            Form::Device => device_of_user_space(value),
        }
    }
}

/// The kernel has 20 bits of minor number in its `dev_t`, `stat(2)` another order.
fn device_of_user_space(kernel: u64) -> u64 {
    let (major, minor) = (kernel >> 20, kernel & 0xf_ffff);
    minor & 0xff | major << 8 | (minor & !0xff) << 12
}

impl EventPlan {
    /// The plan for a class that is a tracepoint of any tracer.
    pub(crate) fn new(class: &EventRecordClass) -> Self {
        let within = within(class);
        let fields = match &within {
            Some(within) => within.layout.payload.clone(),
            None => class.payload.clone(),
        };
        let native = Names::of(class);
        let mut left_out = Vec::new();
        let typed = native
            .typed
            .as_ref()
            .and_then(|event| typed_ops(event, &native, &fields, &mut left_out));
        if typed.is_none() {
            left_out.clear();
        }
        // The entry's own, since perf says -1 of a task that is about to vanish.
        let of_entry = by_names(&fields, &["common_pid"]);
        let tid_is_in_entry = of_entry.is_some();
        let tid = of_entry
            .or_else(|| FieldAccess::by_role(&class.payload, Role::Tid))
            .or_else(|| by_names(&class.payload, &["vtid", "tid"]));
        EventPlan {
            name: class.name.clone(),
            within,
            typed,
            tid,
            tid_is_in_entry,
            common_flags: by_names(&fields, &["common_flags"]),
            next_tid: native
                .find(&fields, "next_pid")
                .filter(|_| native.is_switch),
            has_common_fields: fields.member("common_preempt_count").is_some(),
            class: fields,
            left_out,
        }
    }

    /// The bytes that the plan's class describes, with their rest; the odd class where it is that.
    #[inline]
    fn view<'a>(
        &'a self,
        record: &EventRecord<'a>,
    ) -> Result<(&'a [u8], u16, &'a StructureClass), Unparsable> {
        let Some(within) = &self.within else {
            return Ok((record.payload, record.rest_len_bytes, &self.class));
        };
        let bytes = within.entry.bytes(record.payload).ok_or(Unparsable)?;
        match within.layout.measure(bytes) {
            Measured::Regular {
                len_bytes,
                rest_len_bytes,
            } => Ok((
                bytes.get(..len_bytes).ok_or(Unparsable)?,
                rest_len_bytes,
                &self.class,
            )),
            Measured::Odd {
                len_bytes,
                rest_len_bytes,
            } => Ok((
                bytes.get(..len_bytes).ok_or(Unparsable)?,
                rest_len_bytes,
                &within.layout.odd_payload,
            )),
            _ => Err(Unparsable),
        }
    }

    /// Appends the event to a bundle. `thread` made it, where the record does not say.
    ///
    /// Gives the thread that has the CPU after it, if it tells that.
    #[inline]
    pub(crate) fn write(
        &self,
        out: &mut Proto,
        time: u64,
        thread: Option<i32>,
        record: &EventRecord<'_>,
    ) -> Result<Option<i32>, Unparsable> {
        let start = out.len();
        let result = self.write_fields(out, time, thread, record);
        if result.is_err() {
            out.truncate(start);
        }
        result
    }

    #[inline]
    fn write_fields(
        &self,
        out: &mut Proto,
        time: u64,
        thread: Option<i32>,
        record: &EventRecord<'_>,
    ) -> Result<Option<i32>, Unparsable> {
        let (bytes, rest_len, class) = self.view(record)?;
        let tid = match &self.tid {
            Some(access) if self.tid_is_in_entry => access.get_i64(bytes),
            Some(access) => access.get_i64(record.payload),
            None => thread.map(i64::from),
        };
        let event = out.open(EVENT);
        out.uint(TIMESTAMP, time);
        if let Some(tid) = tid {
            out.uint(PID, tid as u64 & 0xffff_ffff);
        }
        if let Some(flags) = self.common_flags.as_ref().and_then(|f| f.get_u64(bytes)) {
            out.uint(COMMON_FLAGS, flags);
        }
        let regular = std::ptr::eq(class, &self.class);
        match &self.typed {
            Some(typed) if regular => {
                let message = out.open(typed.number);
                for op in &typed.ops {
                    op.write(out, bytes)?;
                }
                out.close(message);
            }
            _ => generic::write(out, &self.name, class, bytes, rest_len)?,
        }
        out.close(event);
        let next = self.next_tid.as_ref().filter(|_| regular);
        Ok(next.and_then(|f| f.get_i64(bytes)).map(|t| t as i32))
    }
}

impl Op {
    #[inline]
    fn write(&self, out: &mut Proto, bytes: &[u8]) -> Result<(), Unparsable> {
        match self {
            Op::Fixed {
                tag,
                offset,
                size,
                form,
            } => {
                let at = bytes.get(*offset..).ok_or(Unparsable)?;
                let signed = matches!(form, Form::Whole { signed: true });
                let value = native_integer(at, *size, signed).ok_or(Unparsable)?;
                out.tagged(*tag, form.apply(value));
            }
            Op::Integer { tag, access, form } => {
                // Absent, for an optional.
                if let Some(value) = access.get_u64(bytes) {
                    out.tagged(*tag, form.apply(value));
                }
            }
            Op::Text { number, access } => {
                out.text(*number, access.get_bytes(bytes).ok_or(Unparsable)?);
            }
            Op::Many { tag, access } => {
                let Some(Value::Array(array)) = access.get(bytes) else {
                    return Err(Unparsable);
                };
                for value in array.iter().take(MAX_ELEMENTS) {
                    out.tagged(*tag, value.as_u64().ok_or(Unparsable)?);
                }
            }
        }
        Ok(())
    }
}

#[inline]
fn native_integer(bytes: &[u8], size: u8, signed: bool) -> Option<u64> {
    macro_rules! read {
        ($unsigned:ty, $signed:ty) => {{
            let raw = <$unsigned>::from_ne_bytes(*bytes.first_chunk()?);
            if signed {
                i64::from(raw as $signed) as u64
            } else {
                u64::from(raw)
            }
        }};
    }
    Some(match size {
        1 => read!(u8, i8),
        2 => read!(u16, i16),
        4 => read!(u32, i32),
        8 => read!(u64, i64),
        _ => return None,
    })
}

/// Of a tracepoint in a perf sample: the entry, as the format file has it.
fn within(class: &EventRecordClass) -> Option<Box<Within>> {
    if class.namespace != namespace::PERF {
        return None;
    }
    let entry = Entry::of(class)?;
    let system = class.name.split_once(':').map_or("", |(s, _)| s);
    let layout = TracepointLayout::describe_in(system, entry.format(), entry.byte_order()).ok()?;
    Some(Box::new(Within { entry, layout }))
}

/// What the class's tracer calls the fields of a typed event.
struct Names {
    typed: Option<TypedEvent>,
    /// Field names of tracefs and this tracer's, where they differ.
    renamed: Vec<(&'static str, &'static str)>,
    is_switch: bool,
    /// All fields after the number are the arguments of a system call.
    is_one_system_call: bool,
}

impl Names {
    fn of(class: &EventRecordClass) -> Self {
        let canonical = canonical::event(&class.namespace, &class.name);
        let mut names = Names {
            typed: None,
            renamed: Vec::new(),
            is_switch: canonical.is_some_and(|c| c.event.name == "sched_switch"),
            is_one_system_call: false,
        };
        let of_kernel = class.namespace == namespace::FTRACE || class.namespace == namespace::PERF;
        if of_kernel && class.name.starts_with("syscalls:sys_enter_") {
            names.typed = typed::find("raw_syscalls:sys_enter");
            names.renamed.push(("id", "__syscall_nr"));
            names.is_one_system_call = true;
            return names;
        }
        // The name that tracefs has for it, and its fields there.
        let in_tracefs = canonical.and_then(|c| {
            c.event.native.iter().find(|n| {
                n.namespaces.iter().any(|ns| ns == namespace::FTRACE) && !n.event.contains('*')
            })
        });
        let own = typed::find(&class.name);
        match (own, canonical.zip(in_tracefs)) {
            (Some(event), _) => names.typed = Some(event),
            (None, Some((here, there))) => {
                names.typed = typed::find(&there.event);
                for (canonical, native) in &there.fields {
                    if let Some(own) = here.native.fields.get(canonical) {
                        names.renamed.push((native, own));
                    }
                }
            }
            (None, None) => {}
        }
        names
    }

    fn here(&self, tracefs: &'static str) -> &'static str {
        self.renamed
            .iter()
            .find(|(native, _)| *native == tracefs)
            .map_or(tracefs, |(_, own)| own)
    }

    fn find(&self, fields: &StructureClass, tracefs: &'static str) -> Option<FieldAccess> {
        by_names(fields, &[self.here(tracefs)])
    }
}

/// The first of these names that the class or a structure in it has.
pub(crate) fn by_names(class: &StructureClass, names: &[&str]) -> Option<FieldAccess> {
    names.iter().find_map(|name| {
        let mut path = Vec::new();
        path_to(class, name, &mut path, 0).then(|| FieldAccess::by_path(class, &path))?
    })
}

fn path_to<'a>(
    class: &'a StructureClass,
    name: &str,
    path: &mut Vec<&'a str>,
    depth: usize,
) -> bool {
    if let Some(member) = class.members.iter().find(|m| m.name == name) {
        path.push(&member.name);
        return true;
    }
    depth < 4
        && class.members.iter().any(|member| {
            let FieldClass::Structure(inner) = &member.class else {
                return false;
            };
            path.push(&member.name);
            path_to(inner, name, path, depth + 1) || {
                path.pop();
                false
            }
        })
}

/// `None` if the message cannot hold what the class has and nobody would miss the message.
fn typed_ops(
    event: &TypedEvent,
    names: &Names,
    fields: &StructureClass,
    left_out: &mut Vec<String>,
) -> Option<Typed> {
    let mut ops = Vec::new();
    let mut held = Vec::new();
    for field in &event.fields {
        if names.is_one_system_call && field.repeated {
            arguments(field, fields, &mut ops, &mut held);
            continue;
        }
        let name = names.here(field.name);
        if let Some(op) = by_names(fields, &[name]).and_then(|access| op(field, access)) {
            ops.push(op);
            held.push(name);
        }
    }
    for member in &fields.members {
        let name = member.name.as_str();
        if !name.is_empty() && !generic::is_layout(member) && !held.contains(&name) {
            left_out.push(name.to_owned());
        }
    }
    (!held.is_empty() && (left_out.is_empty() || event.interpreted)).then_some(Typed {
        number: event.number,
        ops,
    })
}

fn op(field: &TypedField, access: FieldAccess) -> Option<Op> {
    let tag = varint_tag(field.number);
    if field.repeated {
        let integers = match access.class() {
            FieldClass::StaticArray { element, .. } | FieldClass::DynamicArray { element, .. } => {
                matches!(**element, FieldClass::Integer(_))
            }
            _ => false,
        };
        return integers.then_some(Op::Many { tag, access });
    }
    let text = matches!(
        access.class(),
        FieldClass::NullTerminatedString
            | FieldClass::StaticString { .. }
            | FieldClass::DynamicString { .. }
    );
    if text || field.kind == TypedKind::Text {
        let number = field.number;
        return (text && field.kind == TypedKind::Text).then_some(Op::Text { number, access });
    }
    let (size, signed, byte_order) = match access.class() {
        FieldClass::Integer(i) => (i.size_bytes, i.signed, i.byte_order),
        FieldClass::Boolean => (1, false, ByteOrder::NATIVE),
        _ => return None,
    };
    let form = match field.kind {
        _ if field.name == "dev" || field.name.ends_with("_dev") => Form::Device,
        // What does not fit would be another value.
        TypedKind::Int32 | TypedKind::Uint32 if size > 4 => return None,
        TypedKind::Uint32 if signed => Form::Low32,
        _ => Form::Whole { signed },
    };
    let integer = matches!(access.class(), FieldClass::Integer(_));
    Some(match access.static_offset_bytes() {
        Some(offset) if integer && byte_order == ByteOrder::NATIVE => Op::Fixed {
            tag,
            offset,
            size,
            form,
        },
        _ => Op::Integer { tag, access, form },
    })
}

/// The arguments of `syscalls:sys_enter_NAME`, which has a field for each.
fn arguments<'a>(
    field: &TypedField,
    fields: &'a StructureClass,
    ops: &mut Vec<Op>,
    held: &mut Vec<&'a str>,
) {
    let after_number = fields
        .members
        .iter()
        .skip_while(|m| m.name != "__syscall_nr")
        .skip(1);
    for member in after_number {
        let FieldClass::Integer(i) = &member.class else {
            continue;
        };
        if let Some(access) = FieldAccess::by_path(fields, &[&member.name]) {
            let tag = varint_tag(field.number);
            let form = Form::Whole { signed: i.signed };
            ops.push(Op::Integer { tag, access, form });
            held.push(&member.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_numbers_are_those_of_stat() {
        assert_eq!(device_of_user_space(8 << 20 | 1), 0x801);
        assert_eq!(device_of_user_space(259 << 20 | 0x12345), 0x1231_0345);
    }

    #[test]
    fn integers_of_every_width() {
        let bytes = [0xff; 8];
        for (size, unsigned) in [(1, 0xff), (2, 0xffff), (4, 0xffff_ffff), (8, u64::MAX)] {
            assert_eq!(native_integer(&bytes, size, false), Some(unsigned));
            assert_eq!(native_integer(&bytes, size, true), Some(u64::MAX));
        }
        assert_eq!(native_integer(&bytes[..3], 4, false), None);
        assert_eq!(native_integer(&bytes, 3, false), None);
    }
}
