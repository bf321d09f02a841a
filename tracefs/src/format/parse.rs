//! Reads format files, line by line.

use super::c_type::known_type;
use super::{EventFormat, FieldKind, FormatError, FormatField};

/// Longest text that is read. The longest of Linux 6.18 has some 20 KiB.
const MAX_TEXT_BYTES: usize = 1 << 20;
/// Most fields that are read. The kernel's own limit is far below (an entry fits a page).
const MAX_FIELDS: usize = 4096;
/// No field may end behind this: an entry is at most a sub-buffer of the ring.
const MAX_ENTRY_BYTES: u32 = 1 << 20;

const FIELD_LINE: &str = "'\\tfield:DECLARATION;\\toffset:N;\\tsize:N;\\tsigned:0|1;'";

pub(super) fn parse(text: &str) -> Result<EventFormat, FormatError> {
    if text.len() > MAX_TEXT_BYTES {
        return Err(FormatError::new(
            1,
            "at most 1 MiB of text",
            &format!("{} bytes", text.len()),
        ));
    }
    let mut lines = Lines {
        rest: text,
        number: 0,
    };

    let name = lines.take_after("name: ", "'name: EVENT'")?;
    if name.is_empty() {
        return Err(FormatError::new(lines.number, "the event's name", ""));
    }
    let id_text = lines.take_after("ID: ", "'ID: NUMBER'")?;
    let id = decimal(id_text)
        .ok_or_else(|| FormatError::new(lines.number, "a number of 32 bits", id_text))?;
    let rest = lines.take_after("format:", "'format:'")?;
    if !rest.is_empty() {
        return Err(FormatError::new(lines.number, "the line's end", rest));
    }

    let common_fields = field_block(&mut lines)?;
    let fields = field_block(&mut lines)?;
    if common_fields.len() + fields.len() > MAX_FIELDS {
        return Err(FormatError::new(
            lines.number,
            "at most 4096 fields",
            "more",
        ));
    }

    // The print format is C source: it may hold newlines of its own.
    let Some(print_fmt) = lines.rest.strip_prefix("print fmt: ") else {
        let found = lines.next().unwrap_or_default();
        return Err(FormatError::new(lines.number, "'print fmt: '", found));
    };
    let (print_fmt, ends_with_newline) = match print_fmt.strip_suffix('\n') {
        Some(print_fmt) => (print_fmt, true),
        None => (print_fmt, false),
    };
    Ok(EventFormat {
        name: name.to_owned(),
        id,
        common_fields,
        fields,
        print_fmt: print_fmt.to_owned(),
        ends_with_newline,
    })
}

/// Hands out lines and counts them.
struct Lines<'a> {
    rest: &'a str,
    number: usize,
}

impl<'a> Lines<'a> {
    fn next(&mut self) -> Option<&'a str> {
        if self.rest.is_empty() {
            return None;
        }
        self.number += 1;
        let (line, rest) = self.rest.split_once('\n').unwrap_or((self.rest, ""));
        self.rest = rest;
        Some(line)
    }

    fn take_after(&mut self, prefix: &str, expected: &'static str) -> Result<&'a str, FormatError> {
        let line = self
            .next()
            .ok_or_else(|| FormatError::new(self.number + 1, expected, ""))?;
        line.strip_prefix(prefix)
            .ok_or_else(|| FormatError::new(self.number, expected, line))
    }
}

/// Fields up to an empty line.
fn field_block(lines: &mut Lines<'_>) -> Result<Vec<FormatField>, FormatError> {
    let mut fields = Vec::new();
    loop {
        let Some(line) = lines.next() else {
            return Err(FormatError::new(
                lines.number + 1,
                "a field or an empty line",
                "",
            ));
        };
        if line.is_empty() {
            return Ok(fields);
        }
        if fields.len() >= MAX_FIELDS {
            return Err(FormatError::new(lines.number, "at most 4096 fields", line));
        }
        fields.push(field(line, lines.number)?);
    }
}

fn field(line: &str, number: usize) -> Result<FormatField, FormatError> {
    let (declaration, offset_bytes, size_bytes, signed) =
        field_parts(line).ok_or_else(|| FormatError::new(number, FIELD_LINE, line))?;
    if offset_bytes
        .checked_add(size_bytes)
        .is_none_or(|end| end > MAX_ENTRY_BYTES)
    {
        return Err(FormatError::new(
            number,
            "a field that ends below 1 MiB",
            line,
        ));
    }
    let (c_type, name, shape) = declaration_parts(declaration)
        .ok_or_else(|| FormatError::new(number, "a C declaration with a name", declaration))?;
    let kind = kind(c_type, &shape, size_bytes)
        .map_err(|expected| FormatError::new(number, expected, line))?;
    Ok(FormatField {
        declaration: declaration.to_owned(),
        c_type: c_type.to_owned(),
        name: name.to_owned(),
        offset_bytes,
        size_bytes,
        signed,
        kind,
    })
}

fn field_parts(line: &str) -> Option<(&str, u32, u32, bool)> {
    let rest = line.strip_prefix("\tfield:")?;
    let (declaration, rest) = rest.split_once(";\toffset:")?;
    let (offset, rest) = rest.split_once(";\tsize:")?;
    let (size, rest) = rest.split_once(";\tsigned:")?;
    let signed = match rest {
        "0;" => false,
        "1;" => true,
        _ => return None,
    };
    Some((declaration, decimal(offset)?, decimal(size)?, signed))
}

/// A decimal number as the kernel prints it, and in no other form: it must be
/// possible to write it back as it was.
fn decimal(text: &str) -> Option<u32> {
    let plain =
        text.bytes().all(|b| b.is_ascii_digit()) && (text.len() == 1 || !text.starts_with('0'));
    if plain { text.parse().ok() } else { None }
}

/// What the declaration says besides type and name.
#[derive(Debug)]
enum Shape {
    Plain,
    /// `x[N]`; `None` if what stands between the brackets is not a number.
    Counted(Option<u32>),
    Flexible,
    DataLoc,
    RelLoc,
}

/// Type, name and shape of a declaration.
fn declaration_parts(declaration: &str) -> Option<(&str, &str, Shape)> {
    let (dynamic, rest) = if let Some(rest) = declaration.strip_prefix("__data_loc ") {
        (Some(Shape::DataLoc), rest)
    } else if let Some(rest) = declaration.strip_prefix("__rel_loc ") {
        (Some(Shape::RelLoc), rest)
    } else {
        (None, declaration)
    };
    // A kernel's own name for the type may follow the brackets: "char[] name".
    let (before_name, name, brackets) = if dynamic.is_some() {
        let (before, name) = split_name(rest)?;
        (
            before.trim_end().strip_suffix("[]").unwrap_or(before),
            name,
            None,
        )
    } else if let Some(open) = rest.find('[').filter(|_| rest.ends_with(']')) {
        let (before, name) = split_name(rest.get(..open)?)?;
        (before, name, rest.get(open + 1..rest.len() - 1))
    } else {
        let (before, name) = split_name(rest)?;
        (before, name, None)
    };
    let shape = match (dynamic, brackets) {
        (Some(shape), _) => shape,
        (None, None) => Shape::Plain,
        (None, Some("")) => Shape::Flexible,
        (None, Some(count)) => Shape::Counted(decimal(count)),
    };
    let c_type = before_name.trim();
    (!c_type.is_empty()).then_some((c_type, name, shape))
}

/// Splits the last identifier off.
fn split_name(text: &str) -> Option<(&str, &str)> {
    let text = text.trim_end();
    let start = text
        .char_indices()
        .rev()
        .take_while(|(_, c)| c.is_ascii_alphanumeric() || *c == '_')
        .last()
        .map(|(at, _)| at)?;
    let name = text.get(start..)?;
    if name.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    Some((text.get(..start)?, name))
}

fn kind(c_type: &str, shape: &Shape, size_bytes: u32) -> Result<FieldKind, &'static str> {
    let known = known_type(c_type);
    let integer_size = |size| matches!(size, 1 | 2 | 4 | 8);
    Ok(match shape {
        Shape::DataLoc | Shape::RelLoc if size_bytes != 4 => {
            return Err("size:4 for __data_loc or __rel_loc");
        }
        Shape::DataLoc => FieldKind::DataLoc { element: known },
        Shape::RelLoc => FieldKind::RelLoc { element: known },
        Shape::Flexible if size_bytes == 0 => FieldKind::FlexibleArray { element: known },
        Shape::Counted(Some(0)) if size_bytes == 0 => FieldKind::FlexibleArray { element: known },
        Shape::Plain if c_type.contains('*') && integer_size(size_bytes) => FieldKind::Pointer,
        Shape::Plain if integer_size(size_bytes) => FieldKind::Scalar,
        Shape::Plain => FieldKind::Opaque,
        Shape::Flexible | Shape::Counted(_) if known.is_some_and(|t| t.text) => {
            if matches!(shape, Shape::Counted(Some(count)) if *count != size_bytes) {
                return Err("a char array whose size is its length");
            }
            FieldKind::String
        }
        Shape::Counted(Some(count)) => {
            // The text states the whole size; the type's name need not be known.
            if *count == 0 || !size_bytes.is_multiple_of(*count) {
                return Err("an array size that is a multiple of the array's length");
            }
            array(*count, size_bytes)
        }
        Shape::Flexible | Shape::Counted(None) => match known {
            Some(t) if size_bytes.is_multiple_of(t.size_bytes) && size_bytes > 0 => {
                array(size_bytes / t.size_bytes, size_bytes)
            }
            _ => FieldKind::Opaque,
        },
    })
}

fn array(count: u32, size_bytes: u32) -> FieldKind {
    match size_bytes / count {
        element_size_bytes @ (1 | 2 | 4 | 8) => FieldKind::Array {
            count,
            element_size_bytes,
        },
        _ => FieldKind::Opaque,
    }
}
