//! Field classes as TSDL types.
//!
//! The model's layout is strictly sequential. In TSDL a hole is expressed,
//! where that is possible, by the alignment of the field after it: a payload
//! starts at a multiple of 8 bytes, and offsets are known up to the first
//! field of dynamic size. Other holes become arrays of bytes named `_pad_N`.

use super::name::{literal, member_names};
use super::selector::{Case, Selectors, domain};
use kstrace_schema::{
    Base, ByteOrder, FieldClass, FieldPath, FloatClass, IntegerClass, IntegerRange, Length,
    Mapping, StructureClass,
};
use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;
use std::rc::Rc;

/// Deeper nesting is not described.
const DEPTH_MAX: usize = 16;

/// Why a class cannot be expressed in TSDL.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum Inexpressible {
    /// No field of that path is laid out before.
    #[error("no earlier integer field '{0}'")]
    NoSuchField(String),
    /// A variant's tag, and a length inside an array or option, is found by a
    /// single name, from the inside out.
    #[error("field '{0}' is not a member of an enclosing structure")]
    OutOfReach(String),
    /// A number of an impossible width.
    #[error("a number of {0} bytes")]
    Width(u8),
    /// Too deep, or too many cases.
    #[error("nested too deeply or too many cases")]
    TooComplex,
    /// A class that this version does not know.
    #[error("an unknown kind of field class")]
    UnknownKind,
}

type Result<T> = std::result::Result<T, Inexpressible>;

/// A TSDL type around a declarator: `prefix name suffix;`.
struct Type {
    prefix: String,
    suffix: String,
}

impl Type {
    fn plain(prefix: impl Into<String>) -> Self {
        Type {
            prefix: prefix.into(),
            suffix: String::new(),
        }
    }

    fn declare(&self, name: &str) -> String {
        format!("{} {name}{};", self.prefix, self.suffix)
    }
}

/// An integer field that has been laid out.
struct Seen {
    /// Its TSDL path from the payload's root.
    tsdl_path: Vec<String>,
    /// The arrays and options it stands in.
    inside: Vec<usize>,
    /// Its cases, if it is a tag.
    cases: Option<Rc<Vec<Case>>>,
}

/// Writes the fields of one payload.
struct Writer {
    selectors: Selectors,
    /// Integers laid out so far, by the model's path.
    seen: HashMap<Vec<String>, Seen>,
    /// Names of the structures around the field at hand: the model's, TSDL's.
    path: Vec<String>,
    tsdl_path: Vec<String>,
    /// TSDL names visible in each enclosing structure.
    scopes: Vec<HashSet<String>>,
    /// The arrays and options around the field at hand, each by a number of
    /// its own: what is laid out in one is not seen from outside of it.
    inside: Vec<usize>,
    numbers_given: usize,
    depth: usize,
    /// Offset from the payload's start, while known.
    offset: Option<u32>,
}

/// The body of the payload's structure: declarations between the braces.
///
/// # Errors
/// When TSDL, or babeltrace2's reading of it, has no way to say it.
pub(crate) fn payload_fields(payload: &StructureClass) -> Result<String> {
    let mut writer = Writer {
        selectors: Selectors::of(payload),
        seen: HashMap::new(),
        path: Vec::new(),
        tsdl_path: Vec::new(),
        scopes: Vec::new(),
        inside: Vec::new(),
        numbers_given: 0,
        depth: 0,
        offset: Some(0),
    };
    writer.members(payload)
}

impl Writer {
    fn members(&mut self, structure: &StructureClass) -> Result<String> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(Inexpressible::TooComplex);
        }
        self.scopes.push(HashSet::new());
        let names = member_names(structure);
        let mut text = String::new();
        let mut hole = None;
        for (index, (member, name)) in structure.members.iter().zip(&names).enumerate() {
            if let FieldClass::Padding { size_bytes } = member.class {
                let next = structure.members.get(index + 1).map(|m| &m.class);
                let align = next.and_then(|next| self.hole_alignment(size_bytes, next));
                if align.is_none() && size_bytes > 0 {
                    let _ = writeln!(text, "\t\tuint8_t {name}[{size_bytes}];");
                }
                self.advance(Some(size_bytes));
                hole = align;
                continue;
            }
            let align_bytes = hole.take().unwrap_or(1);
            self.path.push(member.name.clone());
            self.tsdl_path.push(name.clone());
            let declared = self.field(&member.class, align_bytes)?.declare(name);
            self.path.pop();
            self.tsdl_path.pop();
            if let Some(scope) = self.scopes.last_mut() {
                scope.insert(name.clone());
            }
            let _ = writeln!(text, "\t\t{declared}");
        }
        self.scopes.pop();
        self.depth -= 1;
        Ok(text)
    }

    /// The alignment in bytes that makes `next` start `size_bytes` later than here.
    fn hole_alignment(&self, size_bytes: u32, next: &FieldClass) -> Option<u32> {
        let offset = self.offset?;
        let target = offset.checked_add(size_bytes)?;
        let align = [2u32, 4, 8]
            .into_iter()
            .find(|a| offset.next_multiple_of(*a) == target)?;
        alignable(next, align).then_some(align)
    }

    fn advance(&mut self, size_bytes: Option<u32>) {
        self.offset = self
            .offset
            .zip(size_bytes)
            .and_then(|(offset, size)| offset.checked_add(size));
    }

    fn field(&mut self, class: &FieldClass, align_bytes: u32) -> Result<Type> {
        let size_bytes = class.static_size_bytes();
        let type_ = match class {
            FieldClass::Padding { size_bytes } | FieldClass::StaticBlob { size_bytes } => Type {
                prefix: "uint8_hex_t".to_owned(),
                suffix: format!("[{size_bytes}]"),
            },
            FieldClass::Integer(integer) => Type::plain(self.integer(integer, align_bytes)?),
            FieldClass::Float(float) => Type::plain(floating_point(float, align_bytes)?),
            FieldClass::Boolean => Type::plain("bool8_t"),
            FieldClass::NullTerminatedString => Type::plain("string"),
            FieldClass::StaticString { size_bytes } => Type {
                prefix: "utf8_t".to_owned(),
                suffix: format!("[{size_bytes}]"),
            },
            FieldClass::DynamicString { length } => Type {
                prefix: "utf8_t".to_owned(),
                suffix: self.length(length)?,
            },
            FieldClass::DynamicBlob { length } => Type {
                prefix: "uint8_hex_t".to_owned(),
                suffix: self.length(length)?,
            },
            FieldClass::StaticArray { element, count } => {
                let suffix = format!("[{count}]");
                return self.array(element, suffix, align_bytes, size_bytes);
            }
            FieldClass::DynamicArray { element, length } => {
                // What is left is counted in bytes, which is a number of elements
                // only if those are bytes.
                if matches!(length, Length::Rest) && element.static_size_bytes() != Some(1) {
                    let suffix = self.length(length)?;
                    self.advance(None);
                    return Ok(Type {
                        prefix: "uint8_hex_t".to_owned(),
                        suffix,
                    });
                }
                let suffix = self.length(length)?;
                return self.array(element, suffix, align_bytes, None);
            }
            FieldClass::Structure(structure) => {
                // Its members advance the offset themselves.
                let members = self.members(structure)?;
                let align = if align_bytes > 1 {
                    format!(" align({})", align_bytes * 8)
                } else {
                    String::new()
                };
                return Ok(Type::plain(format!("struct {{\n{members}\t\t}}{align}")));
            }
            FieldClass::Optional {
                selector, class, ..
            } => {
                return self.variant(selector, &[("present", class.as_ref())]);
            }
            FieldClass::Variant { selector, options } => {
                let options = options
                    .iter()
                    .map(|o| (o.name.as_str(), &o.class))
                    .collect::<Vec<_>>();
                return self.variant(selector, &options);
            }
            _ => return Err(Inexpressible::UnknownKind),
        };
        self.advance(size_bytes);
        Ok(type_)
    }

    fn array(
        &mut self,
        element: &FieldClass,
        suffix: String,
        align_bytes: u32,
        size_bytes: Option<u32>,
    ) -> Result<Type> {
        let start = self.offset;
        // Elements begin at unknown offsets, unless all begin at a multiple of 8.
        let regular = element.static_size_bytes().is_some_and(|s| s % 8 == 0);
        self.offset = start.filter(|_| regular);
        self.enter();
        let element = self.field(element, align_bytes)?;
        self.inside.pop();
        self.offset = start;
        self.advance(size_bytes);
        Ok(Type {
            prefix: element.prefix,
            suffix: suffix + &element.suffix,
        })
    }

    fn enter(&mut self) {
        self.numbers_given += 1;
        self.inside.push(self.numbers_given);
    }

    fn seen(&self, path: &FieldPath) -> Result<&Seen> {
        self.seen
            .get(&path.0)
            .filter(|seen| self.inside.starts_with(&seen.inside))
            .ok_or_else(|| Inexpressible::NoSuchField(path.0.join(".")))
    }

    /// The name by which `seen` is found from the inside out: a single one, so
    /// it must stand in a structure around the field at hand, and no nearer
    /// structure may have a field of that name.
    fn relative_name<'s>(&self, seen: &'s Seen) -> Result<&'s str> {
        let out_of_reach = || Inexpressible::OutOfReach(seen.tsdl_path.join("."));
        let (name, around) = seen.tsdl_path.split_last().ok_or_else(out_of_reach)?;
        let nearer = self.scopes.get(around.len() + 1..).unwrap_or_default();
        if self.tsdl_path.starts_with(around) && !nearer.iter().any(|s| s.contains(name)) {
            Ok(name)
        } else {
            Err(out_of_reach())
        }
    }

    fn length(&self, length: &Length) -> Result<String> {
        let Length::Field(path) = length else {
            return Ok("[event.context.rest_len]".to_owned());
        };
        let seen = self.seen(path)?;
        Ok(if seen.inside.is_empty() {
            format!("[event.fields.{}]", seen.tsdl_path.join("."))
        } else {
            format!("[{}]", self.relative_name(seen)?)
        })
    }

    fn integer(&mut self, class: &IntegerClass, align_bytes: u32) -> Result<String> {
        let plain = integer(class, align_bytes)?;
        let cases = self.selectors.cases(&self.path, class).map(Rc::new);
        let text = match &cases {
            Some(cases) => {
                let labels = cases
                    .iter()
                    .map(|c| (c.label.as_str(), c.ranges.as_slice()));
                enumeration(&plain, labels, class)
            }
            None => with_mappings(plain, class),
        };
        let seen = Seen {
            tsdl_path: self.tsdl_path.clone(),
            inside: self.inside.clone(),
            cases,
        };
        self.seen.insert(self.path.clone(), seen);
        Ok(text)
    }

    fn variant(&mut self, selector: &FieldPath, options: &[(&str, &FieldClass)]) -> Result<Type> {
        let seen = self.seen(selector)?;
        let cases = seen.cases.clone().ok_or(Inexpressible::TooComplex)?;
        let tag = self.relative_name(seen)?;
        let user = self
            .selectors
            .user(selector)
            .ok_or(Inexpressible::TooComplex)?;
        let mut text = format!("variant <{tag}> {{\n");
        for case in cases.iter() {
            let option = case
                .choices
                .get(user)
                .copied()
                .flatten()
                .and_then(|o| options.get(o));
            let declared = match option {
                Some((_, class)) => {
                    self.offset = None;
                    self.enter();
                    let declared = self.field(class, 1)?.declare(&case.label);
                    self.inside.pop();
                    declared
                }
                None => format!("struct {{ }} {};", case.label),
            };
            let _ = writeln!(text, "\t\t{declared}");
        }
        text.push_str("\t\t}");
        self.offset = None;
        Ok(Type::plain(text))
    }
}

/// Whether `class` can be given an alignment, with every repetition of it
/// still at the place where it stands without.
fn alignable(class: &FieldClass, align_bytes: u32) -> bool {
    match class {
        FieldClass::Integer(_) | FieldClass::Float(_) => true,
        // An array's elements are all aligned.
        FieldClass::StaticArray { element, count } => {
            *count > 0
                && element
                    .static_size_bytes()
                    .is_some_and(|s| s % align_bytes == 0)
                && alignable(element, align_bytes)
        }
        FieldClass::Structure(s) => !s.members.is_empty(),
        _ => false,
    }
}

/// An integer type. The common ones have aliases, see [`ALIASES`].
fn integer(class: &IntegerClass, align_bytes: u32) -> Result<String> {
    if !matches!(class.size_bytes, 1 | 2 | 4 | 8) {
        return Err(Inexpressible::Width(class.size_bytes));
    }
    let bits = u32::from(class.size_bytes) * 8;
    let native = class.byte_order == ByteOrder::NATIVE || class.size_bytes == 1;
    if align_bytes == 1 && native {
        match class.base {
            Base::Decimal if class.signed => return Ok(format!("int{bits}_t")),
            Base::Decimal => return Ok(format!("uint{bits}_t")),
            Base::Hexadecimal if !class.signed => return Ok(format!("uint{bits}_hex_t")),
            _ => {}
        }
    }
    let base = match class.base {
        Base::Binary => 2,
        Base::Octal => 8,
        Base::Decimal => 10,
        Base::Hexadecimal => 16,
    };
    let order = if native {
        ""
    } else {
        byte_order(class.byte_order)
    };
    Ok(format!(
        "integer {{ size = {bits}; align = {}; signed = {}; base = {base}; {order}}}",
        align_bytes * 8,
        class.signed
    ))
}

fn byte_order(order: ByteOrder) -> &'static str {
    match order {
        ByteOrder::LittleEndian => "byte_order = le; ",
        ByteOrder::BigEndian => "byte_order = be; ",
    }
}

fn floating_point(class: &FloatClass, align_bytes: u32) -> Result<String> {
    let (exponent, mantissa) = match class.size_bytes {
        4 => (8, 24),
        8 => (11, 53),
        other => return Err(Inexpressible::Width(other)),
    };
    let order = byte_order(class.byte_order);
    Ok(format!(
        "floating_point {{ exp_dig = {exponent}; mant_dig = {mantissa}; align = {}; {order}}}",
        align_bytes * 8
    ))
}

fn with_mappings(plain: String, class: &IntegerClass) -> String {
    if class.mappings.is_empty() {
        return plain;
    }
    let labels = class
        .mappings
        .iter()
        .map(|Mapping { name, ranges }| (name.as_str(), &ranges[..]));
    enumeration(&plain, labels, class)
}

/// An enumeration; the plain integer when no label has a value that it can hold.
fn enumeration<'a>(
    plain: &str,
    labels: impl Iterator<Item = (&'a str, &'a [IntegerRange])>,
    class: &IntegerClass,
) -> String {
    let Some((first, last)) = domain(class) else {
        return plain.to_owned();
    };
    let mut entries = Vec::new();
    for (name, ranges) in labels.filter(|(name, _)| !name.is_empty()) {
        for range in ranges.iter().filter(|r| r.first <= last && r.last >= first) {
            let (from, to) = (range.first.max(first), range.last.min(last));
            if from < to {
                entries.push(format!("{} = {from} ... {to}", literal(name)));
            } else if from == to {
                entries.push(format!("{} = {from}", literal(name)));
            }
        }
    }
    if entries.is_empty() {
        return plain.to_owned();
    }
    format!("enum : {plain} {{ {} }}", entries.join(", "))
}

/// Names of types that the fields use.
pub(crate) fn aliases() -> String {
    let mut text = String::new();
    for bits in [8, 16, 32, 64] {
        for (name, signed, more) in [
            (format!("uint{bits}_t"), false, ""),
            (format!("int{bits}_t"), true, ""),
            (format!("uint{bits}_hex_t"), false, " base = 16;"),
        ] {
            let _ = writeln!(
                text,
                "typealias integer {{ size = {bits}; align = 8; signed = {signed};{more} }} := {name};"
            );
        }
    }
    text.push_str(
        "typealias integer { size = 8; align = 8; signed = false; encoding = UTF8; } := utf8_t;\n\
         typealias enum : uint8_t { \"false\" = 0, \"true\" = 1 ... 255 } := bool8_t;\n",
    );
    text
}

#[cfg(test)]
#[path = "field_tests.rs"]
mod tests;
