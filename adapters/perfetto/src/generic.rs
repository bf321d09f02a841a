//! Events that Perfetto knows nothing of: `GenericFtraceEvent`, a name and named fields.

use crate::event::Unparsable;
use crate::wire::Proto;
use kstrace_schema::decode::{Field, Value, Visitor, walk};
use kstrace_schema::{FieldClass, Member, StructureClass};
use std::fmt::Write as _;
use std::ops::ControlFlow;

/// `FtraceEvent.generic`.
const GENERIC: u32 = 327;
/// `GenericFtraceEvent.event_name`.
const EVENT_NAME: u32 = 1;
/// `GenericFtraceEvent.field`.
const FIELD: u32 = 2;
/// `Field.name`.
const NAME: u32 = 1;
/// `Field.str_value`.
const STR_VALUE: u32 = 3;
/// `Field.int_value`.
const INT_VALUE: u32 = 4;
/// `Field.uint_value`.
const UINT_VALUE: u32 = 5;

/// Names no tracer makes longer; deeper structures have longer ones.
const MAX_NAME_BYTES: usize = 1 << 10;

/// Fields that say where others lie, or that `FtraceEvent` itself has.
pub(crate) fn is_layout(member: &Member) -> bool {
    is_common(&member.name) || is_location(&member.name, &member.class)
}

fn is_common(name: &str) -> bool {
    matches!(
        name,
        "common_type" | "common_flags" | "common_preempt_count" | "common_pid"
    )
}

fn is_location(name: &str, class: &FieldClass) -> bool {
    name.starts_with('_') && name.ends_with("_loc") && matches!(class, FieldClass::Structure(_))
}

/// Appends the message of an event.
///
/// A field within a structure is named `outer.inner`, an element of an array `name[0]`;
/// bytes are text of hexadecimal digits, as are numbers with a point decimal ones.
pub(crate) fn write(
    out: &mut Proto,
    name: &str,
    class: &StructureClass,
    bytes: &[u8],
    rest_len_bytes: u16,
) -> Result<(), Unparsable> {
    let message = out.open(GENERIC);
    out.text(EVENT_NAME, name.as_bytes());
    let mut fields = Fields {
        out,
        name: String::new(),
        starts: Vec::new(),
        element: None,
        elements: Vec::new(),
        hidden: 0,
    };
    walk(class, bytes, rest_len_bytes, &mut fields).map_err(|_| Unparsable)?;
    out.close(message);
    Ok(())
}

/// Appends a message of numbers and texts that are no fields of a class.
pub(crate) fn write_plain(out: &mut Proto, name: &str, fields: &[(&str, Value<'_>)]) {
    let message = out.open(GENERIC);
    out.text(EVENT_NAME, name.as_bytes());
    for (name, value) in fields {
        write_value(out, name, value);
    }
    out.close(message);
}

fn write_value(out: &mut Proto, name: &str, value: &Value<'_>) {
    let field = out.open(FIELD);
    out.text(NAME, name.as_bytes());
    match *value {
        Value::U64(v) => out.uint(UINT_VALUE, v),
        Value::I64(v) => out.int(INT_VALUE, v),
        Value::Bool(v) => out.uint(UINT_VALUE, v.into()),
        Value::F64(v) => out.bytes(STR_VALUE, format!("{v:?}").as_bytes()),
        Value::Str(v) => out.text(STR_VALUE, v),
        Value::Bytes(v) => out.bytes(STR_VALUE, hex(v).as_bytes()),
        Value::Array(_) => {}
    }
    out.close(field);
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        // Writing to a String does not fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

struct Fields<'o> {
    out: &'o mut Proto,
    /// Names of the structures around, each with a dot.
    name: String,
    /// Length of `name` before each of them.
    starts: Vec<usize>,
    /// Index of the next element of the innermost array.
    element: Option<usize>,
    /// Those of the arrays around.
    elements: Vec<(Option<usize>, usize)>,
    /// Structures deep within one that is not shown.
    hidden: usize,
}

impl Fields<'_> {
    /// Appends the field's own name; gives the length to go back to.
    fn enter(&mut self, field: &Field<'_>) -> usize {
        let before = self.name.len();
        if self.name.len() < MAX_NAME_BYTES {
            match &mut self.element {
                Some(index) if field.name.is_empty() => {
                    let _ = write!(self.name, "[{index}]");
                    *index += 1;
                }
                _ => {
                    if !self.name.is_empty() {
                        self.name.push('.');
                    }
                    self.name.push_str(field.name);
                }
            }
        }
        before
    }
}

impl<'a> Visitor<'a> for Fields<'_> {
    fn value(&mut self, field: &Field<'a>, value: Value<'a>) -> ControlFlow<()> {
        if self.hidden > 0 || is_common(field.name) {
            return ControlFlow::Continue(());
        }
        if self.starts.is_empty() && self.element.is_none() && !matches!(value, Value::Array(_)) {
            write_value(self.out, field.name, &value);
            return ControlFlow::Continue(());
        }
        let before = self.enter(field);
        if let Value::Array(array) = value {
            let end = self.name.len();
            for index in 0..array.len() {
                let Some(element) = array.get(index) else {
                    break;
                };
                let _ = write!(self.name, "[{index}]");
                write_value(self.out, &self.name, &element);
                self.name.truncate(end);
            }
        } else {
            write_value(self.out, &self.name, &value);
        }
        self.name.truncate(before);
        ControlFlow::Continue(())
    }

    fn begin_structure(&mut self, field: &Field<'a>) -> ControlFlow<()> {
        if self.hidden > 0 || is_location(field.name, field.class) {
            self.hidden += 1;
            return ControlFlow::Continue(());
        }
        let before = self.enter(field);
        self.starts.push(before);
        self.elements.push((self.element.take(), 0));
        ControlFlow::Continue(())
    }

    fn end_structure(&mut self) -> ControlFlow<()> {
        if self.hidden > 0 {
            self.hidden -= 1;
        } else {
            self.name.truncate(self.starts.pop().unwrap_or(0));
            self.element = self.elements.pop().and_then(|(element, _)| element);
        }
        ControlFlow::Continue(())
    }

    fn begin_array(&mut self, field: &Field<'a>, _: usize) -> ControlFlow<()> {
        let before = self.enter(field);
        self.elements.push((self.element.replace(0), before));
        ControlFlow::Continue(())
    }

    fn end_array(&mut self) -> ControlFlow<()> {
        let (element, before) = self.elements.pop().unwrap_or((None, 0));
        self.element = element;
        self.name.truncate(before);
        ControlFlow::Continue(())
    }
}
