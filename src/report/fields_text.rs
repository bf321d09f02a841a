//! Fields as `name=value`, for events that have no text of their own.

use super::field_plan::Style;
use super::number;
use kstrace_schema::decode::{Field, Value, Visitor};
use kstrace_schema::{Base, FieldClass, Role};
use std::ops::ControlFlow;

/// Bytes of a BLOB that are shown.
const MAX_BLOB_BYTES: usize = 64;
/// Elements of an array that are shown.
const MAX_ELEMENTS: usize = 64;

/// Writes ` name=value` for every field that is not shown elsewhere in the line.
pub(super) struct FieldsText<'o> {
    out: &'o mut Vec<u8>,
    /// Whether it is a perf record, whose own parts the line shows already.
    perf: bool,
    depth: usize,
    /// Structures being passed over: depth at which that began.
    skipping: Option<usize>,
    first: bool,
}

impl<'o> FieldsText<'o> {
    pub(super) fn new(out: &'o mut Vec<u8>, perf: bool) -> Self {
        FieldsText {
            out,
            perf,
            depth: 0,
            skipping: None,
            first: true,
        }
    }

    fn hidden(&self, field: &Field<'_>) -> bool {
        if self.skipping.is_some() {
            return true;
        }
        if self.depth > 0 {
            return false;
        }
        if field.name.starts_with('_') && (field.name.ends_with("_loc") || field.name == "_slack") {
            return true;
        }
        let shown_elsewhere = match field.role {
            Some(Role::Tid | Role::Cpu | Role::Time | Role::EventId) => self.perf,
            Some(Role::Pid) => self.perf,
            Some(Role::Callchain | Role::InstructionPointer) => true,
            _ => false,
        };
        shown_elsewhere
            || (self.perf
                && matches!(
                    field.name,
                    "header" | "id" | "stream_id" | "callchain_nr" | "raw_size" | "sample_id"
                ))
            || (field.name.starts_with("common_"))
    }

    fn name(&mut self, name: &str) {
        if !std::mem::take(&mut self.first) {
            self.out.push(b' ');
        }
        if !name.is_empty() {
            self.out.extend_from_slice(name.as_bytes());
            self.out.push(b'=');
        }
    }
}

impl<'a> Style<'a> for FieldsText<'_> {
    fn name_of(&mut self, field: &Field<'a>) -> bool {
        let shown = !self.hidden(field);
        if shown {
            self.name(field.name);
        }
        shown
    }

    fn take_written(&mut self) -> Vec<u8> {
        std::mem::take(self.out)
    }
}

impl<'a> Visitor<'a> for FieldsText<'_> {
    fn value(&mut self, field: &Field<'a>, value: Value<'a>) -> ControlFlow<()> {
        if self.name_of(field) {
            write_value(self.out, field.class, value);
        }
        ControlFlow::Continue(())
    }

    fn begin_structure(&mut self, field: &Field<'a>) -> ControlFlow<()> {
        if self.hidden(field) {
            self.skipping.get_or_insert(self.depth);
        } else {
            self.name(field.name);
            self.out.push(b'{');
            self.first = true;
        }
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn end_structure(&mut self) -> ControlFlow<()> {
        self.end(b'}')
    }

    fn begin_array(&mut self, field: &Field<'a>, _: usize) -> ControlFlow<()> {
        if self.hidden(field) {
            self.skipping.get_or_insert(self.depth);
        } else {
            self.name(field.name);
            self.out.push(b'[');
            self.first = true;
        }
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn end_array(&mut self) -> ControlFlow<()> {
        self.end(b']')
    }
}

impl FieldsText<'_> {
    fn end(&mut self, bracket: u8) -> ControlFlow<()> {
        self.depth -= 1;
        match self.skipping {
            Some(since) => {
                if since == self.depth {
                    self.skipping = None;
                }
            }
            None => {
                self.out.push(bracket);
                self.first = false;
            }
        }
        ControlFlow::Continue(())
    }
}

/// A value as people read it: named values by name, integers in their preferred base.
pub(super) fn write_value(out: &mut Vec<u8>, class: &FieldClass, value: Value<'_>) {
    match value {
        Value::U64(_) | Value::I64(_) => {
            let number = value.as_i128().unwrap_or(0);
            let FieldClass::Integer(i) = class else {
                out.extend_from_slice(number.to_string().as_bytes());
                return;
            };
            let mapping = i
                .mappings
                .iter()
                .find(|m| m.ranges.iter().any(|r| r.contains(number)));
            match (mapping, i.base, value) {
                (Some(m), ..) => out.extend_from_slice(m.name.as_bytes()),
                (None, Base::Hexadecimal, _) => {
                    out.extend_from_slice(b"0x");
                    let bits = 8 * u32::from(i.size_bytes);
                    number_hex(out, value.as_u64().unwrap_or(0), bits);
                }
                (None, Base::Octal, _) => {
                    out.extend_from_slice(format!("{:#o}", value.as_u64().unwrap_or(0)).as_bytes());
                }
                (None, Base::Binary, _) => {
                    out.extend_from_slice(format!("{:#b}", value.as_u64().unwrap_or(0)).as_bytes());
                }
                (None, Base::Decimal, Value::I64(v)) => number::signed(out, v),
                (None, Base::Decimal, _) => number::unsigned(out, value.as_u64().unwrap_or(0)),
            }
        }
        Value::F64(v) => out.extend_from_slice(v.to_string().as_bytes()),
        Value::Bool(v) => out.extend_from_slice(if v { b"true" } else { b"false" }),
        Value::Str(text) => escaped(out, text),
        Value::Bytes(bytes) => {
            number::hex_bytes(out, &bytes[..bytes.len().min(MAX_BLOB_BYTES)]);
            if bytes.len() > MAX_BLOB_BYTES {
                out.extend_from_slice(format!("...({} bytes)", bytes.len()).as_bytes());
            }
        }
        Value::Array(array) => {
            out.push(b'[');
            for (i, element) in array.iter().take(MAX_ELEMENTS).enumerate() {
                if i > 0 {
                    out.extend_from_slice(b", ");
                }
                write_value(out, array.element, element);
            }
            if array.len() > MAX_ELEMENTS {
                out.extend_from_slice(format!(", ...({} elements)", array.len()).as_bytes());
            }
            out.push(b']');
        }
    }
}

fn number_hex(out: &mut Vec<u8>, v: u64, bits: u32) {
    // A negative number has no more digits than its width.
    number::hex(out, if bits >= 64 { v } else { v & ((1 << bits) - 1) });
}

/// Whether there is something that a terminal would act upon.
#[inline]
pub(super) fn has_control(text: &[u8]) -> bool {
    text.iter()
        .fold(false, |any, b| any | (*b < b' ') | (*b == 0x7f))
}

/// Text without what a terminal would act upon, and in one line.
pub(super) fn escaped(out: &mut Vec<u8>, text: &[u8]) {
    // No early end: so it is done many bytes at a time.
    if !has_control(text) {
        out.extend_from_slice(text);
        return;
    }
    for &b in text {
        match b {
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\t' => out.extend_from_slice(b"\\t"),
            b'\r' => out.extend_from_slice(b"\\r"),
            0..0x20 | 0x7f => {
                out.extend_from_slice(b"\\x");
                number::hex_bytes(out, &[b]);
            }
            _ => out.push(b),
        }
    }
}
