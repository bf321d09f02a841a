//! The tracepoint entry within a payload: all of an ftrace record, the raw part
//! of a perf sample. The bytes are the same.

use super::fields_text::escaped;
use super::kallsyms::Kallsyms;
use kstrace_schema::decode::FieldAccess;
use kstrace_schema::{EventRecordClass, NativeDescription, StructureClass};
use kstrace_tracepoint::{Measured, TracepointLayout};
use std::cell::OnceCell;
use tracefs::format::EventFormat;
use tracefs::print_fmt::PrintFmt;

/// How to get at the entry of a class's records.
pub(super) struct Entry {
    format: EventFormat,
    /// Compiled when first needed: most classes of a trace are never shown.
    print: OnceCell<PrintFmt>,
    place: Place,
}

enum Place {
    /// The payload is the entry.
    Whole,
    /// Behind the field `raw_size`, which says how long it is, slack included.
    Raw {
        size: FieldAccess,
        layout: Option<Box<TracepointLayout>>,
    },
}

impl Entry {
    /// `None` for a class that is no tracepoint, or whose format text makes no sense.
    pub(super) fn of(class: &EventRecordClass) -> Option<Self> {
        match &class.native {
            NativeDescription::TracefsFormat { format } => Some(Entry {
                format: EventFormat::parse(format).ok()?,
                print: OnceCell::new(),
                place: Place::Whole,
            }),
            NativeDescription::PerfSample {
                format: Some(format),
                ..
            } => {
                let format = EventFormat::parse(format).ok()?;
                let size = FieldAccess::by_name(&class.payload, "raw_size")?;
                // Where the class itself names the entry's fields, a second description is of no use.
                let layout = class.payload.member("raw").and_then(|_| {
                    let system = class.name.split_once(':').map_or("", |(s, _)| s);
                    TracepointLayout::describe(system, &format)
                        .ok()
                        .map(Box::new)
                });
                Some(Entry {
                    format,
                    print: OnceCell::new(),
                    place: Place::Raw { size, layout },
                })
            }
            _ => None,
        }
    }

    /// The entry's bytes.
    #[inline]
    pub(super) fn bytes<'a>(&self, payload: &'a [u8]) -> Option<&'a [u8]> {
        match &self.place {
            Place::Whole => Some(payload),
            Place::Raw { size, .. } => {
                let start = size.locate(payload)?.end;
                let len = usize::try_from(size.get_u64(payload)?).ok()?;
                payload.get(start..)?.get(..len)
            }
        }
    }

    /// Writes the event's own text, as the kernel itself would.
    pub(super) fn write_text(&self, out: &mut Vec<u8>, entry: &[u8], symbols: &Kallsyms) {
        let print = self
            .print
            .get_or_init(|| PrintFmt::compile_or_fields_with(&self.format, &symbols.constants).0);
        let start = out.len();
        print.render(entry, symbols, out);
        // What is written to trace_marker ends with a newline of its own.
        while out.len() > start && out.last() == Some(&b'\n') {
            out.pop();
        }
        // No early end: so it is done many bytes at a time.
        let control = out[start..]
            .iter()
            .fold(false, |any, b| any | (*b < b' ') | (*b == 0x7f));
        if control {
            let text = out.split_off(start);
            escaped(out, &text);
        }
    }

    /// The class of the entry's bytes, where the record's own class does not describe them.
    pub(super) fn described(&self) -> Option<&StructureClass> {
        match &self.place {
            Place::Raw {
                layout: Some(layout),
                ..
            } => Some(&layout.payload),
            _ => None,
        }
    }

    /// The class that fits this very entry, its bytes without slack, and how many of them
    /// are its rest. `None` as for [`described`](Self::described).
    pub(super) fn measured<'a>(
        &'a self,
        payload: &'a [u8],
    ) -> Option<(&'a StructureClass, &'a [u8], u16)> {
        let Place::Raw {
            layout: Some(layout),
            ..
        } = &self.place
        else {
            return None;
        };
        let bytes = self.bytes(payload)?;
        let (class, len, rest) = match layout.measure(bytes) {
            Measured::Regular {
                len_bytes,
                rest_len_bytes,
            } => (&layout.payload, len_bytes, rest_len_bytes),
            Measured::Odd {
                len_bytes,
                rest_len_bytes,
            } => (&layout.odd_payload, len_bytes, rest_len_bytes),
            _ => return None,
        };
        Some((class, bytes.get(..len)?, rest))
    }
}

/// A field of a record, or of the tracepoint entry within it.
pub(super) struct AnyField {
    access: FieldAccess,
    in_entry: bool,
}

impl AnyField {
    /// Looks first in the record's own class.
    pub(super) fn find(
        class: &EventRecordClass,
        entry: Option<&Entry>,
        compile: impl Fn(&StructureClass) -> Option<FieldAccess>,
    ) -> Option<Self> {
        if let Some(access) = compile(&class.payload) {
            return Some(AnyField {
                access,
                in_entry: false,
            });
        }
        let access = compile(entry?.described()?)?;
        Some(AnyField {
            access,
            in_entry: true,
        })
    }

    pub(super) fn access(&self) -> &FieldAccess {
        &self.access
    }

    /// The bytes that [`access`](Self::access) works on. For an entry only if it is a regular one.
    #[inline]
    pub(super) fn base<'a>(&self, entry: Option<&'a Entry>, payload: &'a [u8]) -> Option<&'a [u8]> {
        if !self.in_entry {
            return Some(payload);
        }
        let entry = entry?;
        let (class, bytes, _) = entry.measured(payload)?;
        entry
            .described()
            .is_some_and(|regular| std::ptr::eq(regular, class))
            .then_some(bytes)
    }

    #[inline]
    pub(super) fn get_i32(&self, entry: Option<&Entry>, payload: &[u8]) -> Option<i32> {
        self.access
            .get_i64(self.base(entry, payload)?)
            .map(|v| v as i32)
    }

    #[inline]
    pub(super) fn get_bytes<'a>(
        &self,
        entry: Option<&'a Entry>,
        payload: &'a [u8],
    ) -> Option<&'a [u8]> {
        self.access.get_bytes(self.base(entry, payload)?)
    }
}
