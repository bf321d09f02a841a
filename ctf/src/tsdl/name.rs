//! Names and string literals as TSDL can hold them.

use kstrace_schema::StructureClass;
use std::collections::HashSet;
use std::fmt::Write as _;

/// Words of TSDL that cannot be the name of a variant's option.
const RESERVED: [&str; 29] = [
    "align",
    "callsite",
    "char",
    "clock",
    "const",
    "double",
    "enum",
    "env",
    "event",
    "float",
    "floating_point",
    "int",
    "integer",
    "long",
    "short",
    "signed",
    "stream",
    "string",
    "struct",
    "trace",
    "typealias",
    "typedef",
    "unsigned",
    "variant",
    "void",
    "_Bool",
    "_Complex",
    "_Imaginary",
    "absent",
];

/// A double-quoted TSDL string literal.
///
/// Control characters have no portable escape in TSDL and become blanks;
/// everything else is kept as UTF-8.
pub(crate) fn literal(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => {
                out.push('\\');
                out.push(c);
            }
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// The letters of `name` that an identifier may have, others as `_`.
fn sanitized(name: &str) -> String {
    name.chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
        .collect()
}

/// Makes `name` one that is not in `taken`, and puts it there.
fn unique(name: String, taken: &mut HashSet<String>) -> String {
    let mut candidate = name.clone();
    let mut number = 2;
    while !taken.insert(candidate.clone()) {
        candidate = format!("{name}_{number}");
        number += 1;
    }
    candidate
}

/// The TSDL names of a structure's members, in their order.
///
/// Each begins with an underscore, which readers strip (CTF 1.8.3, section
/// 7.3.2 leaves it to them; babeltrace and Trace Compass do): so no name can
/// be a reserved word or begin with a digit. A name that stands twice gets a
/// number. Padding has the name of its place: `_pad_3`.
pub(crate) fn member_names(structure: &StructureClass) -> Vec<String> {
    let mut taken = HashSet::new();
    structure
        .members
        .iter()
        .enumerate()
        .map(|(index, member)| {
            let base = match &member.class {
                kstrace_schema::FieldClass::Padding { .. } => format!("_pad_{index}"),
                _ if member.name.is_empty() => format!("_field_{index}"),
                _ => format!("_{}", sanitized(&member.name)),
            };
            unique(base, &mut taken)
        })
        .collect()
}

/// Names for the options of a variant that are also labels of its tag:
/// identifiers that are not reserved and do not begin with an underscore,
/// which readers treat differently in a label and in an option.
pub(crate) fn option_name(name: &str, taken: &mut HashSet<String>) -> String {
    let mut name = sanitized(name).trim_start_matches('_').to_owned();
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
        name.insert(0, 'v');
    }
    if RESERVED.contains(&name.as_str()) {
        name.push('_');
    }
    unique(name, taken)
}

/// `text` percent-encoded where a URI's path would need it (RFC 3986).
pub(crate) fn uri_part(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b':' => {
                out.push(char::from(byte));
            }
            _ => {
                // Writing to a String cannot fail.
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use kstrace_schema::{FieldClass, IntegerClass, Member};

    #[test]
    fn literals_cannot_be_broken_out_of() {
        assert_eq!(literal("a\"; }; \\ \n\u{1}é"), "\"a\\\"; }; \\\\ \\n é\"");
    }

    #[test]
    fn member_names_are_unique_identifiers() {
        let int = || FieldClass::Integer(IntegerClass::unsigned(4));
        let structure = StructureClass::new(vec![
            Member::new("int", int()),
            Member::new("int", int()),
            Member::new("9-lives", int()),
            Member::padding(3),
            Member::new("", int()),
            Member::new("_x", int()),
        ]);
        assert_eq!(
            member_names(&structure),
            ["_int", "_int_2", "_9_lives", "_pad_3", "_field_4", "__x"]
        );
    }

    #[test]
    fn option_names_avoid_reserved_words() {
        let mut taken = HashSet::new();
        assert_eq!(option_name("struct", &mut taken), "struct_");
        assert_eq!(option_name("_1", &mut taken), "v1");
        assert_eq!(option_name("", &mut taken), "v");
        assert_eq!(option_name("é", &mut taken), "v_2");
    }

    #[test]
    fn uri_parts_are_encoded() {
        assert_eq!(uri_part("sched:a b/?"), "sched:a%20b%2F%3F");
    }
}
