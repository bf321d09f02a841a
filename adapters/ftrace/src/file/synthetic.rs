//! A format file, and entries to it, for events whose tracer has none.
//!
//! The entry has the common fields and then every field of the class whose
//! place can be told: integers and arrays of fixed length as they are, all of
//! dynamic length behind a `__data_loc` word. What a class nests is flattened, the
//! parts of the name joined by `_`.

use kstrace_schema::decode::{FieldAccess, read_integer};
use kstrace_schema::{
    Base, ByteOrder, EventRecordClass, FieldClass, FloatClass, IntegerClass, StructureClass,
};
use std::collections::BTreeSet;
use std::fmt::Write as _;

/// The common fields: type, flags, preemption count, tid.
pub(super) const COMMON_BYTES: usize = 8;
/// Offsets and lengths within an entry have 16 bits.
const LONGEST_ENTRY_BYTES: usize = u16::MAX as usize;
/// Deeper structures than any tracer makes.
const MAX_DEPTH: usize = 16;
/// More fields than any tracer makes.
const MAX_FIELDS: usize = 512;

/// How a field gets into the entry.
#[derive(Clone, Debug)]
enum Kind {
    /// A number, written in the file's byte order.
    Integer(IntegerClass),
    Boolean,
    /// Shown as text.
    Float(FloatClass),
    /// `char x[n]`.
    FixedText(usize),
    /// So many elements, each turned to the file's byte order.
    FixedArray {
        element_bytes: usize,
        count: usize,
        swap: bool,
    },
    Text,
    Array {
        element_bytes: usize,
        swap: bool,
    },
}

#[derive(Clone, Debug)]
struct Field {
    access: FieldAccess,
    kind: Kind,
    /// Where its bytes, or its `__data_loc` word, stand in the entry.
    offset: usize,
}

/// How entries of one class are made.
#[derive(Clone, Debug)]
pub(super) struct Synthetic {
    fields: Vec<Field>,
    /// Where the data of dynamic fields begin.
    fixed_bytes: usize,
    byte_order: ByteOrder,
    /// What of the class has no place in the entry.
    pub(super) left_out: Vec<String>,
    name: String,
    lines: String,
    print: String,
    arguments: String,
}

/// A name as format files have them.
pub(super) fn identifier(text: &str) -> String {
    let mut name: String = text
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || c == '_' {
                c
            } else {
                '_'
            }
        })
        .collect();
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
        name.insert(0, '_');
    }
    name
}

/// System and name of the event that stands for a class.
pub(super) fn event_name(class: &EventRecordClass) -> (String, String) {
    match class.name.rsplit_once(':') {
        Some((system, name)) => (identifier(system), identifier(name)),
        None => (identifier(&class.namespace), identifier(&class.name)),
    }
}

impl Synthetic {
    /// For the records of a class, in a file of that byte order. `skip` says which
    /// members the common fields have already.
    pub(super) fn of(
        class: &EventRecordClass,
        byte_order: ByteOrder,
        skip: impl Fn(&str) -> bool,
    ) -> Self {
        let mut made = Synthetic {
            fields: Vec::new(),
            fixed_bytes: COMMON_BYTES,
            byte_order,
            left_out: Vec::new(),
            name: event_name(class).1,
            lines: String::new(),
            print: String::new(),
            arguments: String::new(),
        };
        let mut names = BTreeSet::new();
        made.structure(class, &class.payload, &mut Vec::new(), &mut names, &skip);
        made
    }

    /// The format file, for the number that it has in the file.
    pub(super) fn format(&self, id: u16) -> String {
        format!(
            "name: {}\nID: {id}\nformat:\n\
             \tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n\
             \tfield:unsigned char common_flags;\toffset:2;\tsize:1;\tsigned:0;\n\
             \tfield:unsigned char common_preempt_count;\toffset:3;\tsize:1;\tsigned:0;\n\
             \tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;\n\
             \n{}\nprint fmt: \"{}\"{}\n",
            self.name, self.lines, self.print, self.arguments
        )
    }

    fn structure(
        &mut self,
        class: &EventRecordClass,
        structure: &StructureClass,
        path: &mut Vec<String>,
        names: &mut BTreeSet<String>,
        skip: &impl Fn(&str) -> bool,
    ) {
        if path.len() >= MAX_DEPTH {
            self.left_out.push(path.join("."));
            return;
        }
        for member in &structure.members {
            if matches!(member.class, FieldClass::Padding { .. })
                || (path.is_empty() && skip(&member.name))
            {
                continue;
            }
            path.push(member.name.clone());
            if let FieldClass::Structure(inner) = &member.class {
                self.structure(class, inner, path, names, skip);
            } else {
                let access = FieldAccess::by_path(&class.payload, path);
                let added = self.fields.len() < MAX_FIELDS
                    && access.is_some_and(|access| self.field(access, path, names));
                if !added {
                    self.left_out.push(path.join("."));
                }
            }
            path.pop();
        }
    }

    /// Adds a field. Says whether there is a way to.
    fn field(
        &mut self,
        access: FieldAccess,
        path: &[String],
        names: &mut BTreeSet<String>,
    ) -> bool {
        let swapped = |class: &IntegerClass| class.byte_order != self.byte_order;
        let element = |class: &FieldClass| match class {
            FieldClass::Integer(class) if matches!(class.size_bytes, 1 | 2 | 4 | 8) => {
                Some((class.clone(), usize::from(class.size_bytes)))
            }
            _ => None,
        };
        let byte = || IntegerClass::unsigned(1).hex();
        let (kind, c_type, show) = match access.class() {
            FieldClass::Integer(class) => {
                let show = Show::of(class);
                (Kind::Integer(class.clone()), c_type(class), show)
            }
            FieldClass::Boolean => {
                let class = IntegerClass::unsigned(1);
                (Kind::Boolean, c_type(&class), Show::of(&class))
            }
            FieldClass::Float(class) => (Kind::Float(class.clone()), "char".to_owned(), Show::Text),
            FieldClass::StaticString { size_bytes } => {
                let kind = Kind::FixedText(*size_bytes as usize);
                (kind, "char".to_owned(), Show::FixedText)
            }
            FieldClass::NullTerminatedString | FieldClass::DynamicString { .. } => {
                (Kind::Text, "char".to_owned(), Show::Text)
            }
            FieldClass::StaticBlob { size_bytes } => {
                let kind = Kind::FixedArray {
                    element_bytes: 1,
                    count: *size_bytes as usize,
                    swap: false,
                };
                (
                    kind,
                    c_type(&byte()),
                    Show::FixedArray(*size_bytes as usize, 1),
                )
            }
            FieldClass::DynamicBlob { .. } => {
                let kind = Kind::Array {
                    element_bytes: 1,
                    swap: false,
                };
                (kind, c_type(&byte()), Show::Array(1))
            }
            FieldClass::StaticArray {
                element: class,
                count,
            } => match element(class) {
                Some((class, element_bytes)) => {
                    let count = *count as usize;
                    let kind = Kind::FixedArray {
                        element_bytes,
                        count,
                        swap: swapped(&class),
                    };
                    (kind, c_type(&class), Show::FixedArray(count, element_bytes))
                }
                None => return false,
            },
            FieldClass::DynamicArray { element: class, .. } => match element(class) {
                Some((class, element_bytes)) => {
                    let kind = Kind::Array {
                        element_bytes,
                        swap: swapped(&class),
                    };
                    (kind, c_type(&class), Show::Array(element_bytes))
                }
                None => return false,
            },
            _ => return false,
        };
        let shown_name = path.join("_");
        let mut name = identifier(&shown_name);
        let mut number = 2;
        // Formats have the common fields' names already.
        while name.starts_with("common_") || !names.insert(name.clone()) {
            name = format!(
                "{}_{number}",
                identifier(&shown_name).trim_start_matches("common_")
            );
            number += 1;
        }
        let (declaration, size, align, signed) = match &kind {
            Kind::Integer(class) => {
                let size = usize::from(class.size_bytes);
                (format!("{c_type} {name}"), size, size, class.signed)
            }
            Kind::Boolean => (format!("{c_type} {name}"), 1, 1, false),
            Kind::FixedText(size) => (format!("char {name}[{size}]"), *size, 1, true),
            Kind::FixedArray {
                element_bytes,
                count,
                ..
            } => {
                let size = element_bytes.saturating_mul(*count);
                (
                    format!("{c_type} {name}[{count}]"),
                    size,
                    *element_bytes,
                    false,
                )
            }
            Kind::Float(_) | Kind::Text | Kind::Array { .. } => (
                format!("__data_loc {c_type}[] {name}"),
                4,
                4,
                c_type == "char",
            ),
        };
        let offset = self.fixed_bytes.next_multiple_of(align.max(1));
        if size == 0 || offset.saturating_add(size) > LONGEST_ENTRY_BYTES {
            return false;
        }
        self.fixed_bytes = offset + size;
        self.fields.push(Field {
            access,
            kind,
            offset,
        });
        // Writing to a String cannot fail.
        let _ = writeln!(
            self.lines,
            "\tfield:{declaration};\toffset:{offset};\tsize:{size};\tsigned:{};",
            u8::from(signed)
        );
        self.show(&name, &show);
        true
    }

    fn show(&mut self, name: &str, show: &Show) {
        if !self.print.is_empty() {
            self.print.push(' ');
        }
        let (directive, argument) = match show {
            Show::Decimal { signed, size_bytes } => {
                let directive = match (size_bytes, signed) {
                    (8, true) => "%lld",
                    (8, false) => "%llu",
                    (_, true) => "%d",
                    (_, false) => "%u",
                };
                (directive, format!("REC->{name}"))
            }
            Show::Hexadecimal { size_bytes } => {
                let directive = if *size_bytes == 8 { "0x%llx" } else { "0x%x" };
                (directive, format!("REC->{name}"))
            }
            Show::Names(names) => {
                let list: Vec<String> = names
                    .iter()
                    .map(|(value, name)| format!("{{ {value}, \"{name}\" }}"))
                    .collect();
                let list = list.join(", ");
                ("%s", format!("__print_symbolic(REC->{name}, {list})"))
            }
            Show::FixedText => ("%s", format!("REC->{name}")),
            Show::Text => ("%s", format!("__get_str({name})")),
            Show::FixedArray(count, size) => {
                ("%s", format!("__print_array(REC->{name}, {count}, {size})"))
            }
            Show::Array(size) => {
                let count = match size {
                    1 => format!("__get_dynamic_array_len({name})"),
                    size => format!("__get_dynamic_array_len({name}) / {size}"),
                };
                let array = format!("__get_dynamic_array({name})");
                ("%s", format!("__print_array({array}, {count}, {size})"))
            }
        };
        let _ = write!(self.print, "{name}={directive}");
        let _ = write!(self.arguments, ", {argument}");
    }

    /// Writes the entry of a record, all but its type, to `entry` in place of what is
    /// there. `false` if it is longer than an entry can be.
    pub(super) fn encode(&self, payload: &[u8], tid: i32, entry: &mut Vec<u8>) -> bool {
        entry.clear();
        entry.resize(self.fixed_bytes, 0);
        self.put(entry, 4, u64::from(tid.cast_unsigned()), 4);
        for field in &self.fields {
            // What an optional field has not stays zero; a string then is empty.
            let raw = field.access.get_raw(payload).unwrap_or_default();
            match &field.kind {
                Kind::Integer(class) => {
                    let value = read_integer(class, raw).unwrap_or(0);
                    self.put(entry, field.offset, value, class.size_bytes.into());
                }
                Kind::Boolean => {
                    let value = u64::from(raw.first().is_some_and(|b| *b != 0));
                    self.put(entry, field.offset, value, 1);
                }
                Kind::FixedText(size) => {
                    // The last byte stays a NUL only if the text leaves it one.
                    copy(entry, field.offset, raw.get(..*size).unwrap_or(raw));
                }
                Kind::FixedArray {
                    element_bytes,
                    count,
                    swap,
                } => {
                    let len = element_bytes * count;
                    copy(entry, field.offset, raw.get(..len).unwrap_or(raw));
                    if *swap && let Some(array) = entry.get_mut(field.offset..field.offset + len) {
                        swap_elements(array, *element_bytes);
                    }
                }
                Kind::Float(class) => {
                    let start = entry.len();
                    let _ = write!(TextEnd(entry), "{}", float(class, raw));
                    entry.push(0);
                    self.located(entry, field.offset, start);
                }
                Kind::Text => {
                    let start = entry.len();
                    let end = raw.iter().position(|b| *b == 0).unwrap_or(raw.len());
                    entry.extend_from_slice(raw.get(..end).unwrap_or_default());
                    entry.push(0);
                    self.located(entry, field.offset, start);
                }
                Kind::Array {
                    element_bytes,
                    swap,
                } => {
                    let start = entry.len().next_multiple_of(*element_bytes);
                    entry.resize(start, 0);
                    entry.extend_from_slice(raw);
                    if *swap && let Some(array) = entry.get_mut(start..) {
                        swap_elements(array, *element_bytes);
                    }
                    self.located(entry, field.offset, start);
                }
            }
            if entry.len() > LONGEST_ENTRY_BYTES {
                return false;
            }
        }
        true
    }

    /// Writes the `__data_loc` word of data that reach from `start` to the entry's end.
    fn located(&self, entry: &mut [u8], offset: usize, start: usize) {
        let len = entry.len() - start;
        self.put(entry, offset, (len as u64) << 16 | start as u64, 4);
    }

    fn put(&self, entry: &mut [u8], offset: usize, value: u64, size_bytes: usize) {
        let Some(place) = entry.get_mut(offset..offset + size_bytes) else {
            return;
        };
        let bytes = match self.byte_order {
            ByteOrder::LittleEndian => value.to_le_bytes(),
            ByteOrder::BigEndian => {
                let shift = 64 - 8 * size_bytes.clamp(1, 8) as u32;
                (value << shift).to_be_bytes()
            }
        };
        place.copy_from_slice(bytes.get(..size_bytes).unwrap_or(&bytes));
    }
}

/// How the print format shows a field.
enum Show {
    Decimal {
        signed: bool,
        size_bytes: u8,
    },
    Hexadecimal {
        size_bytes: u8,
    },
    Names(Vec<(i128, String)>),
    FixedText,
    Text,
    /// Number and size of the elements.
    FixedArray(usize, usize),
    Array(usize),
}

impl Show {
    fn of(class: &IntegerClass) -> Show {
        let mut names = Vec::new();
        for mapping in &class.mappings {
            let name: String = mapping
                .name
                .chars()
                .filter(|c| !c.is_control() && !matches!(c, '"' | '\\' | '%'))
                .collect();
            let single = mapping.ranges.iter().filter(|r| r.first == r.last);
            names.extend(single.map(|range| (range.first, name.clone())));
        }
        // A long list of names is better than none, but not without end.
        names.truncate(256);
        if !names.is_empty() {
            Show::Names(names)
        } else if class.base == Base::Hexadecimal {
            Show::Hexadecimal {
                size_bytes: class.size_bytes,
            }
        } else {
            Show::Decimal {
                signed: class.signed,
                size_bytes: class.size_bytes,
            }
        }
    }
}

fn c_type(class: &IntegerClass) -> String {
    let sign = if class.signed { 's' } else { 'u' };
    format!("{sign}{}", u32::from(class.size_bytes) * 8)
}

fn copy(entry: &mut [u8], offset: usize, bytes: &[u8]) {
    if let Some(place) = entry.get_mut(offset..offset + bytes.len()) {
        place.copy_from_slice(bytes);
    }
}

fn swap_elements(array: &mut [u8], element_bytes: usize) {
    for element in array.chunks_exact_mut(element_bytes.max(1)) {
        element.reverse();
    }
}

fn float(class: &FloatClass, raw: &[u8]) -> f64 {
    let big = class.byte_order == ByteOrder::BigEndian;
    if let Ok(bytes) = <[u8; 4]>::try_from(raw) {
        f64::from(if big {
            f32::from_be_bytes(bytes)
        } else {
            f32::from_le_bytes(bytes)
        })
    } else if let Ok(bytes) = <[u8; 8]>::try_from(raw) {
        if big {
            f64::from_be_bytes(bytes)
        } else {
            f64::from_le_bytes(bytes)
        }
    } else {
        f64::NAN
    }
}

/// Text at the end of bytes.
struct TextEnd<'a>(&'a mut Vec<u8>);

impl std::fmt::Write for TextEnd<'_> {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}
