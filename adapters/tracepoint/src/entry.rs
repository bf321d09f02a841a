//! The tracepoint entry within a payload: all of an ftrace record, the raw part
//! of a perf sample. The bytes are the same.

use crate::{Measured, TracepointLayout};
use kstrace_schema::decode::FieldAccess;
use kstrace_schema::{ByteOrder, EventRecordClass, FieldClass, NativeDescription, StructureClass};

use tracefs::format::EventFormat;

/// How to get at the entry of a class's records.
#[derive(Clone, Debug)]
pub struct Entry {
    format: EventFormat,
    byte_order: ByteOrder,
    place: Place,
}

#[derive(Clone, Debug)]
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
    pub fn of(class: &EventRecordClass) -> Option<Self> {
        match &class.native {
            NativeDescription::TracefsFormat { format } => Some(Entry {
                format: EventFormat::parse(format).ok()?,
                byte_order: byte_order(&class.payload, "common_type"),
                place: Place::Whole,
            }),
            NativeDescription::PerfSample {
                format: Some(format),
                ..
            } => {
                let format = EventFormat::parse(format).ok()?;
                let size = FieldAccess::by_name(&class.payload, "raw_size")?;
                let byte_order = byte_order(&class.payload, "raw_size");
                // Where the class itself names the entry's fields, a second description is of no use.
                let layout = class.payload.member("raw").and_then(|_| {
                    let system = class.name.split_once(':').map_or("", |(s, _)| s);
                    TracepointLayout::describe_in(system, &format, byte_order)
                        .ok()
                        .map(Box::new)
                });
                Some(Entry {
                    format,
                    byte_order,
                    place: Place::Raw { size, layout },
                })
            }
            _ => None,
        }
    }

    /// The entry's bytes.
    #[inline]
    pub fn bytes<'a>(&self, payload: &'a [u8]) -> Option<&'a [u8]> {
        match &self.place {
            Place::Whole => Some(payload),
            Place::Raw { size, .. } => {
                let start = size.locate(payload)?.end;
                let len = usize::try_from(size.get_u64(payload)?).ok()?;
                payload.get(start..)?.get(..len)
            }
        }
    }

    /// Byte order of the machine that wrote it.
    pub fn byte_order(&self) -> ByteOrder {
        self.byte_order
    }

    /// Its format file.
    pub fn format(&self) -> &EventFormat {
        &self.format
    }

    /// The class of the entry's bytes, where the record's own class does not describe them.
    pub fn described(&self) -> Option<&StructureClass> {
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
    pub fn measured<'a>(
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

/// That of a member, which tells that of the machine.
fn byte_order(payload: &StructureClass, name: &str) -> ByteOrder {
    match payload.member(name).map(|m| &m.class) {
        Some(FieldClass::Integer(integer)) => integer.byte_order,
        _ => ByteOrder::NATIVE,
    }
}

/// A field of a record, or of the tracepoint entry within it.
#[derive(Clone, Debug)]
pub struct AnyField {
    access: FieldAccess,
    in_entry: bool,
}

impl AnyField {
    /// Looks first in the record's own class.
    pub fn find(
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

    /// How it is read out of [`base`](Self::base).
    pub fn access(&self) -> &FieldAccess {
        &self.access
    }

    /// The bytes that [`access`](Self::access) works on. For an entry only if it is a regular one.
    #[inline]
    pub fn base<'a>(&self, entry: Option<&'a Entry>, payload: &'a [u8]) -> Option<&'a [u8]> {
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

    /// Its value in a record.
    #[inline]
    pub fn get_i32(&self, entry: Option<&Entry>, payload: &[u8]) -> Option<i32> {
        self.access
            .get_i64(self.base(entry, payload)?)
            .map(|v| v as i32)
    }

    /// Its bytes in a record.
    #[inline]
    pub fn get_bytes<'a>(&self, entry: Option<&'a Entry>, payload: &'a [u8]) -> Option<&'a [u8]> {
        self.access.get_bytes(self.base(entry, payload)?)
    }
}
