//! A format file, and entries to it, for events whose tracer has none.
//!
//! The entry has the common fields and then every field of the class whose
//! place can be told: integers and arrays of fixed length as they are, all of
//! dynamic length behind a `__data_loc` word. What a class nests is flattened, the
//! parts of the name joined by `_`.

mod encode;
mod running;
mod show;

use kstrace_schema::decode::FieldAccess;
use kstrace_schema::{
    ByteOrder, EventRecordClass, FieldClass, FloatClass, IntegerClass, StructureClass,
};
pub use running::{Running, TaskFields};
use show::Show;
use std::collections::BTreeSet;
use std::fmt::Write as _;

/// The common fields: type, flags, preemption count, tid.
const COMMON_BYTES: usize = 8;
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
pub struct Synthetic {
    fields: Vec<Field>,
    /// Where the data of dynamic fields begin.
    fixed_bytes: usize,
    byte_order: ByteOrder,
    /// What of the class has no place in the entry.
    left_out: Vec<String>,
    name: String,
    lines: String,
    print: String,
    arguments: String,
}

/// A name as format files have them.
fn identifier(text: &str) -> String {
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
pub fn event_name(class: &EventRecordClass) -> (String, String) {
    match class.name.rsplit_once(':') {
        Some((system, name)) => (identifier(system), identifier(name)),
        None => (identifier(&class.namespace), identifier(&class.name)),
    }
}

impl Synthetic {
    /// For the records of a class, in a file of that byte order. `skip` says which
    /// members the common fields have already.
    pub fn of(
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

    /// What of the class has no place in the entry: fields by their path.
    pub fn left_out(&self) -> &[String] {
        &self.left_out
    }

    /// The format file, for the number that it has in the file.
    pub fn format(&self, id: u16) -> String {
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
}

fn c_type(class: &IntegerClass) -> String {
    let sign = if class.signed { 's' } else { 'u' };
    format!("{sign}{}", u32::from(class.size_bytes) * 8)
}
