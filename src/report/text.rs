//! A record as a line of text.

use super::class_plan::ClassPlan;
use super::fields_text::{self, FieldsText};
use super::kallsyms::Kallsyms;
use super::number;
use super::options::Column;
use super::stack;
use super::symbols::{Context, Symbols};
use super::tasks::Comm;
use kstrace_schema::decode::walk;
use kstrace_schema::{EventRecord, NativeDescription};

/// What is known of a record's task.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct TaskColumns {
    pub(super) tid: Option<i32>,
    pub(super) pid: Option<i32>,
    pub(super) comm: Option<Comm>,
}

impl TaskColumns {
    /// The name, as trace-cmd's users know it: `<idle>`, and `<...>` if it is not known.
    pub(super) fn name(&self) -> &[u8] {
        match (&self.comm, self.tid) {
            (_, Some(0)) => b"<idle>",
            (Some(comm), _) => comm.as_bytes(),
            (None, _) => b"<...>",
        }
    }

    /// Process for resolving user addresses.
    pub(super) fn process(&self) -> i32 {
        self.pid.or(self.tid).unwrap_or(-1)
    }
}

const COMM_WIDTH: usize = 16;

/// `comm-tid  [cpu] seconds.nanoseconds: event: text`, and the stack below.
pub(super) fn write_usual(
    out: &mut Vec<u8>,
    plan: &ClassPlan,
    record: &EventRecord<'_>,
    task: &TaskColumns,
    kernel: &Kallsyms,
    mut symbols: Option<&mut Symbols>,
) {
    write_prefix(out, record, task);
    out.extend_from_slice(&plan.label);
    write_text(out, plan, record, task, kernel, symbols.as_deref_mut());
    out.push(b'\n');
    write_stack(out, plan, record, task, symbols);
}

/// A line's beginning with nothing in it yet.
const PREFIX: &[u8; 49] = b"                -        [000]       .000000000: ";

/// `comm-tid  [cpu] seconds.nanoseconds: `
#[inline]
fn write_prefix(out: &mut Vec<u8>, record: &EventRecord<'_>, task: &TaskColumns) {
    let name = task.name();
    let (seconds, ns) = (
        record.time.as_ns() / 1_000_000_000,
        record.time.as_ns() % 1_000_000_000,
    );
    if let Some(tid @ 0..10_000_000) = task.tid
        && record.cpu.0 < 1000
        && seconds < 1_000_000
        && name.len() <= COMM_WIDTH
    {
        // Nearly every line: filled in where it belongs.
        let start = out.len();
        out.extend_from_slice(PREFIX);
        let prefix = &mut out[start..];
        prefix[COMM_WIDTH - name.len()..COMM_WIDTH].copy_from_slice(name);
        number::fill_left(&mut prefix[17..24], tid as u64);
        number::fill_zeros(&mut prefix[26..29], record.cpu.0.into());
        number::fill_right(&mut prefix[31..37], seconds);
        number::fill_zeros(&mut prefix[38..47], ns);
        return;
    }
    write_comm(out, task);
    out.push(b'-');
    write_left(out, task.tid, 7);
    out.push(b' ');
    write_cpu(out, record);
    out.push(b' ');
    number::time(out, record.time.as_ns(), 6);
    out.extend_from_slice(b": ");
}

/// The columns that were asked for, in their order.
pub(super) fn write_columns(
    out: &mut Vec<u8>,
    columns: &[Column],
    plan: &ClassPlan,
    record: &EventRecord<'_>,
    task: &TaskColumns,
    kernel: &Kallsyms,
    mut symbols: Option<&mut Symbols>,
) {
    let line = out.len();
    let mut named = plan.named.iter();
    for column in columns {
        if out.len() > line && *column != Column::Stack {
            out.push(b' ');
        }
        match column {
            Column::Time => {
                number::time(out, record.time.as_ns(), 6);
                out.push(b':');
            }
            Column::Cpu => write_cpu(out, record),
            Column::Comm => write_comm(out, task),
            Column::Tid => write_left(out, task.tid, 7),
            Column::Pid => write_left(out, task.pid, 7),
            Column::Event => {
                out.extend_from_slice(plan.class.name.as_bytes());
                out.push(b':');
            }
            Column::Source => out.extend_from_slice(plan.class.namespace.as_bytes()),
            Column::Text => {
                write_text(out, plan, record, task, kernel, symbols.as_deref_mut());
            }
            Column::Stack => {}
            Column::Field(name) => {
                out.extend_from_slice(name.as_bytes());
                out.push(b'=');
                let field = named.next().and_then(Option::as_ref);
                let base = field.and_then(|f| f.base(plan.entry.as_ref(), record.payload));
                match field
                    .zip(base)
                    .and_then(|(f, b)| Some((f, f.access().get(b)?)))
                {
                    Some((f, value)) => fields_text::write_value(out, f.access().class(), value),
                    None => out.push(b'-'),
                }
            }
        }
    }
    while out.len() > line && out.last() == Some(&b' ') {
        out.pop();
    }
    out.push(b'\n');
    if columns.contains(&Column::Stack) {
        write_stack(out, plan, record, task, symbols);
    }
}

#[inline]
fn write_comm(out: &mut Vec<u8>, task: &TaskColumns) {
    let name = task.name();
    number::spaces(out, COMM_WIDTH.saturating_sub(name.len()));
    out.extend_from_slice(name);
}

/// An id, left-aligned; `-` if it is not known.
#[inline]
fn write_left(out: &mut Vec<u8>, id: Option<i32>, width: usize) {
    let start = out.len();
    match id {
        Some(id) => number::signed(out, id.into()),
        None => out.push(b'-'),
    }
    number::spaces(out, width.saturating_sub(out.len() - start));
}

#[inline]
fn write_cpu(out: &mut Vec<u8>, record: &EventRecord<'_>) {
    match record.cpu.known() {
        Some(cpu) => {
            out.push(b'[');
            number::padded(out, cpu.0.into(), 3, b'0');
            out.push(b']');
        }
        None => out.extend_from_slice(b"[ - ]"),
    }
}

/// The event's own text. Without `symbols` an address in it stays as it is.
pub(super) fn write_text(
    out: &mut Vec<u8>,
    plan: &ClassPlan,
    record: &EventRecord<'_>,
    task: &TaskColumns,
    kernel: &Kallsyms,
    symbols: Option<&mut Symbols>,
) {
    if let Some(entry) = &plan.entry
        && let Some(bytes) = entry.bytes(record.payload)
    {
        plan.entry_text.write(out, entry, bytes, kernel);
        return;
    }
    let perf = matches!(
        plan.class.native,
        NativeDescription::PerfSample { .. } | NativeDescription::PerfRecord { .. }
    );
    let start = out.len();
    let described = plan.entry.as_ref().and_then(|e| e.measured(record.payload));
    let planned = match described {
        None => plan.fields.text(&plan.class.payload, perf),
        Some(_) => None,
    };
    let written = planned.and_then(|p| p.write(record.payload, record.rest_len_bytes, out));
    if written.is_none() {
        out.truncate(start);
        let (class, payload, rest) =
            described.unwrap_or((&plan.class.payload, record.payload, record.rest_len_bytes));
        let mut visitor = FieldsText::new(out, perf && described.is_none());
        if let Err(error) = walk(class, payload, rest, &mut visitor) {
            out.extend_from_slice(format!(" <damaged: {error}>").as_bytes());
        }
    }
    // With a stack, the innermost frame is the address.
    if plan.callchain.is_none()
        && let Some(ip) = plan.ip.as_ref().and_then(|f| f.get_u64(record.payload))
    {
        if out.len() > start {
            out.push(b' ');
        }
        out.extend_from_slice(b"ip=");
        number::hex(out, ip);
        if let Some(symbols) = symbols.filter(|s| s.enabled()) {
            out.push(b' ');
            let frame = symbols.frame(Context::of_address(ip), task.process(), ip);
            stack::write_frame(out, frame);
        }
    }
}

fn write_stack(
    out: &mut Vec<u8>,
    plan: &ClassPlan,
    record: &EventRecord<'_>,
    task: &TaskColumns,
    symbols: Option<&mut Symbols>,
) {
    let (Some(callchain), Some(symbols)) = (&plan.callchain, symbols) else {
        return;
    };
    stack::for_each_frame(
        callchain,
        record.payload,
        task.process(),
        symbols,
        |address, frame| {
            let digits = (64 - address.leading_zeros()).div_ceil(4).max(1) as usize;
            out.push(b'\t');
            number::spaces(out, 16 - digits);
            number::hex(out, address);
            if let Some(frame) = frame {
                out.push(b' ');
                stack::write_frame(out, frame);
            }
            out.push(b'\n');
        },
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use kstrace_schema::{ClassId, Cpu, SessionTime};

    #[test]
    fn both_ways_to_write_a_prefix_agree() {
        let line = |tid, cpu, ns, comm: &[u8]| {
            let record = EventRecord {
                class: ClassId(0),
                rest_len_bytes: 0,
                cpu: Cpu(cpu),
                time: SessionTime::from_ns(ns),
                payload: &[],
            };
            let task = TaskColumns {
                tid,
                pid: None,
                comm: Some(Comm::new(comm)),
            };
            let mut out = Vec::new();
            write_prefix(&mut out, &record, &task);
            String::from_utf8(out).unwrap()
        };
        let short = "            bash-12345   [007]     12.000000345: ";
        assert_eq!(line(Some(12345), 7, 12_000_000_345, b"bash"), short);
        assert_eq!(
            line(
                Some(9_999_999),
                999,
                999_999_999_999_999,
                b"0123456789abcdef"
            ),
            "0123456789abcdef-9999999 [999] 999999.999999999: "
        );
        assert_eq!(
            line(Some(10_000_000), 1000, 1_000_000_000_000_000, b"bash"),
            "            bash-10000000 [1000] 1000000.000000000: "
        );
        assert_eq!(
            line(None, u32::MAX, 0, b""),
            "                --       [ - ]      0.000000000: "
        );
        assert_eq!(
            line(Some(-1), 0, 0, b"x"),
            "               x--1      [000]      0.000000000: "
        );
    }
}
