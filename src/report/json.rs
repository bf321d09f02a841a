//! JSON Lines.

use super::field_plan::Style;
use super::number;
use super::symbols::Frame;
use kstrace_schema::Role;
use kstrace_schema::decode::{Field, Value, Visitor};
use std::ops::ControlFlow;

/// Writes one JSON object, member by member.
pub(super) struct Object<'o> {
    pub(super) out: &'o mut Vec<u8>,
    first: bool,
}

impl<'o> Object<'o> {
    pub(super) fn begin(out: &'o mut Vec<u8>) -> Self {
        out.push(b'{');
        Object { out, first: true }
    }

    pub(super) fn end(self) {
        self.out.push(b'}');
    }

    /// The key of the next member; its value is up to the caller.
    pub(super) fn key(&mut self, key: &str) -> &mut Vec<u8> {
        if !std::mem::take(&mut self.first) {
            self.out.push(b',');
        }
        string(self.out, key.as_bytes());
        self.out.push(b':');
        self.out
    }

    /// As [`key`](Self::key), of a name of our own, in which nothing is to be escaped.
    #[inline]
    pub(super) fn own_key(&mut self, key: &'static str) -> &mut Vec<u8> {
        debug_assert!(key.bytes().all(is_plain));
        let start: &[u8] = if std::mem::take(&mut self.first) {
            b"\""
        } else {
            b",\""
        };
        self.out.extend_from_slice(start);
        self.out.extend_from_slice(key.as_bytes());
        self.out.extend_from_slice(b"\":");
        self.out
    }

    #[inline]
    pub(super) fn unsigned(&mut self, key: &'static str, v: u64) {
        number::unsigned(self.own_key(key), v);
    }

    #[inline]
    pub(super) fn signed(&mut self, key: &'static str, v: i64) {
        number::signed(self.own_key(key), v);
    }

    #[inline]
    pub(super) fn text(&mut self, key: &'static str, v: &[u8]) {
        string(self.own_key(key), v);
    }
}

/// A JSON string. Bytes that are no UTF-8 become U+FFFD.
pub(super) fn string(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'"');
    // No early end: so it is done many bytes at a time.
    if text.iter().fold(true, |all, b| all & is_plain(*b)) {
        out.extend_from_slice(text);
    } else {
        escaped(out, text);
    }
    out.push(b'"');
}

/// Whether a byte stands for itself, wherever it stands.
fn is_plain(b: u8) -> bool {
    (b' '..0x7f).contains(&b) & (b != b'"') & (b != b'\\')
}

fn escaped(out: &mut Vec<u8>, text: &[u8]) {
    for chunk in text.utf8_chunks() {
        for &b in chunk.valid().as_bytes() {
            match b {
                b'"' => out.extend_from_slice(b"\\\""),
                b'\\' => out.extend_from_slice(b"\\\\"),
                b'\n' => out.extend_from_slice(b"\\n"),
                b'\t' => out.extend_from_slice(b"\\t"),
                0..0x20 | 0x7f => {
                    out.extend_from_slice(b"\\u00");
                    number::hex_bytes(out, &[b]);
                }
                _ => out.push(b),
            }
        }
        if !chunk.invalid().is_empty() {
            out.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
}

/// A value by itself: integers as numbers whatever their base, BLOBs in hexadecimal.
pub(super) fn value(out: &mut Vec<u8>, v: Value<'_>) {
    match v {
        Value::U64(v) => number::unsigned(out, v),
        Value::I64(v) => number::signed(out, v),
        Value::F64(v) if v.is_finite() => out.extend_from_slice(v.to_string().as_bytes()),
        Value::F64(_) => out.extend_from_slice(b"null"),
        Value::Bool(v) => out.extend_from_slice(if v { b"true" } else { b"false" }),
        Value::Str(v) => string(out, v),
        Value::Bytes(v) => {
            out.push(b'"');
            number::hex_bytes(out, v);
            out.push(b'"');
        }
        Value::Array(array) => {
            out.push(b'[');
            for (i, element) in array.iter().enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                value(out, element);
            }
            out.push(b']');
        }
    }
}

/// One frame of a stack.
pub(super) fn frame(out: &mut Vec<u8>, address: u64, frame: Option<&Frame>) {
    let mut object = Object::begin(out);
    object.unsigned("address", address);
    if let Some((name, offset)) = frame.and_then(|f| f.symbol.as_ref()) {
        object.text("symbol", name.as_bytes());
        object.unsigned("offset", *offset);
    }
    if let Some(dso) = frame.and_then(|f| f.dso.as_ref()) {
        object.text("dso", dso.as_bytes());
    }
    object.end();
}

/// Writes every field as a member of the object begun before it.
pub(super) struct FieldsJson<'o> {
    out: &'o mut Vec<u8>,
    first: bool,
    /// Whether the field `raw` is left out, since its contents are written in its place.
    without_raw: bool,
}

impl<'o> FieldsJson<'o> {
    pub(super) fn new(out: &'o mut Vec<u8>, first: bool, without_raw: bool) -> Self {
        FieldsJson {
            out,
            first,
            without_raw,
        }
    }

    /// Whether nothing has been written.
    pub(super) fn is_first(&self) -> bool {
        self.first
    }

    fn key(&mut self, name: &str) {
        if !std::mem::take(&mut self.first) {
            self.out.push(b',');
        }
        // Elements of an array have no name.
        if !name.is_empty() {
            string(self.out, name.as_bytes());
            self.out.push(b':');
        }
    }
}

impl<'a> Style<'a> for FieldsJson<'_> {
    fn name_of(&mut self, field: &Field<'a>) -> bool {
        // A stack is shown resolved, as a member of its own.
        let elsewhere =
            field.role == Some(Role::Callchain) || (self.without_raw && field.name == "raw");
        if !elsewhere {
            self.key(field.name);
        }
        !elsewhere
    }

    fn take_written(&mut self) -> Vec<u8> {
        std::mem::take(self.out)
    }
}

impl<'a> Visitor<'a> for FieldsJson<'_> {
    fn value(&mut self, field: &Field<'a>, v: Value<'a>) -> ControlFlow<()> {
        if self.name_of(field) {
            value(self.out, v);
        }
        ControlFlow::Continue(())
    }

    fn begin_structure(&mut self, field: &Field<'a>) -> ControlFlow<()> {
        self.key(field.name);
        self.out.push(b'{');
        self.first = true;
        ControlFlow::Continue(())
    }

    fn end_structure(&mut self) -> ControlFlow<()> {
        self.out.push(b'}');
        self.first = false;
        ControlFlow::Continue(())
    }

    fn begin_array(&mut self, field: &Field<'a>, _: usize) -> ControlFlow<()> {
        self.key(field.name);
        self.out.push(b'[');
        self.first = true;
        ControlFlow::Continue(())
    }

    fn end_array(&mut self) -> ControlFlow<()> {
        self.out.push(b']');
        self.first = false;
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_what_a_json_parser_reads_back() {
        for text in [
            "",
            "plain",
            "a\"b\\c",
            "tab\tline\nreturn\r\0\x1b\x7f",
            "grüße €",
            "\u{10ffff}",
        ] {
            let mut out = Vec::new();
            string(&mut out, text.as_bytes());
            assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text);
        }
        let mut out = Vec::new();
        string(&mut out, b"a\xff\xfeb");
        assert_eq!(
            serde_json::from_slice::<String>(&out).unwrap(),
            "a\u{fffd}\u{fffd}b"
        );
    }
}
