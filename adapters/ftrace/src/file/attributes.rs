//! How the facts of a file travel as attributes of its sources.

use super::meta::{BufferMap, FileOption, UnknownSection};
use kstrace_schema::SourceInfo;
use serde_json::{Map, Value, json};
use std::fmt::Write as _;

/// Names of the attributes. Those that begin with `ftrace.` are the live source's too.
pub(super) mod key {
    pub(in crate::file) const HEADER_PAGE: &str = "ftrace.header_page";
    pub(in crate::file) const HEADER_EVENT: &str = "ftrace.header_event";
    pub(in crate::file) const PRINTK: &str = "ftrace.printk_formats";
    pub(in crate::file) const CMDLINES: &str = "ftrace.saved_cmdlines";
    pub(in crate::file) const KALLSYMS: &str = "ftrace.kallsyms";
    pub(in crate::file) const CLOCK: &str = "ftrace.trace_clock";
    pub(in crate::file) const SUB_BUFFER: &str = "ftrace.sub_buffer_size_bytes";
    pub(in crate::file) const VERSION: &str = "tracedat.version";
    /// `little` or `big`.
    pub(in crate::file) const ENDIAN: &str = "tracedat.byte_order";
    /// The same, said by a perf.data.
    pub(in crate::file) const ENDIAN_OF_SAMPLES: &str = "perf.file.byte_order";
    pub(in crate::file) const LONG_SIZE: &str = "tracedat.long_size_bytes";
    pub(in crate::file) const PAGE_SIZE: &str = "tracedat.page_size_bytes";
    pub(in crate::file) const OPTIONS: &str = "tracedat.options";
    pub(in crate::file) const SECTIONS: &str = "tracedat.unknown_sections";
    /// Format files that no class could be made of.
    pub(in crate::file) const FORMATS: &str = "tracedat.other_formats";
    /// Which buffer a source's records are of.
    pub(in crate::file) const BUFFER: &str = "tracedat.buffer";
}

/// Bytes as text where they are text, else in hexadecimal.
pub(super) fn value_of(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) => Value::from(text),
        Err(_) => json!({ "hex": hex(bytes) }),
    }
}

/// What [`value_of`] was given.
pub(super) fn bytes_of(value: &Value) -> Option<Vec<u8>> {
    match value {
        Value::String(text) => Some(text.as_bytes().to_vec()),
        other => unhex(other.get("hex")?.as_str()?),
    }
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = text.chars().map(|c| Some(c.to_digit(16)? as u8)).collect();
    let digits = digits.filter(|digits| digits.len().is_multiple_of(2))?;
    Some(
        digits
            .chunks_exact(2)
            .map(|pair| pair[0] << 4 | pair[1])
            .collect(),
    )
}

/// The bytes of an attribute; `None` if it is not there or empty.
pub(super) fn text(source: &SourceInfo, key: &str) -> Option<Vec<u8>> {
    bytes_of(source.attributes.get(key)?).filter(|bytes| !bytes.is_empty())
}

/// A number of an attribute.
pub(super) fn number(source: &SourceInfo, key: &str) -> Option<u64> {
    source.attributes.get(key)?.as_u64()
}

pub(super) fn options_value(options: &[FileOption]) -> Value {
    let one = |option: &FileOption| json!({ "id": option.id, "data": value_of(&option.data) });
    Value::Array(options.iter().map(one).collect())
}

pub(super) fn options_of(source: &SourceInfo) -> Vec<FileOption> {
    list(source, key::OPTIONS)
        .filter_map(|(id, data)| Some(FileOption { id, data: data? }))
        .collect()
}

pub(super) fn sections_value(sections: &[UnknownSection]) -> Value {
    let one =
        |section: &UnknownSection| json!({ "id": section.id, "data": value_of(&section.content) });
    Value::Array(sections.iter().map(one).collect())
}

pub(super) fn sections_of(source: &SourceInfo) -> Vec<UnknownSection> {
    list(source, key::SECTIONS)
        .filter_map(|(id, content)| {
            Some(UnknownSection {
                id,
                content: content?,
            })
        })
        .collect()
}

fn list<'a>(
    source: &'a SourceInfo,
    key: &str,
) -> impl Iterator<Item = (u16, Option<Vec<u8>>)> + 'a {
    let entries = source.attributes.get(key).and_then(Value::as_array);
    entries.into_iter().flatten().filter_map(|entry| {
        let id = u16::try_from(entry.get("id")?.as_u64()?).ok()?;
        Some((id, entry.get("data").and_then(bytes_of)))
    })
}

/// What is kept of a buffer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct BufferFacts {
    /// Empty for the top one.
    pub(super) name: String,
    pub(super) clock: Option<String>,
    pub(super) page_size_bytes: Option<u32>,
    /// Also those without a record.
    pub(super) cpus: Vec<u32>,
}

pub(super) fn buffer_value(buffer: &BufferMap) -> Value {
    let mut map = Map::new();
    map.insert("name".to_owned(), buffer.name.as_str().into());
    if let Some(clock) = &buffer.clock {
        map.insert("clock".to_owned(), clock.as_str().into());
    }
    map.insert("page_size_bytes".to_owned(), buffer.page_size_bytes.into());
    let cpus: Vec<u32> = buffer.cpus.iter().map(|data| data.cpu).collect();
    map.insert("cpus".to_owned(), cpus.into());
    Value::Object(map)
}

pub(super) fn buffer_of(source: &SourceInfo) -> Option<BufferFacts> {
    let map = source.attributes.get(key::BUFFER)?;
    let text = |key: &str| Some(map.get(key)?.as_str()?.to_owned());
    let number = |value: &Value| u32::try_from(value.as_u64()?).ok();
    let cpus = map.get("cpus").and_then(Value::as_array);
    Some(BufferFacts {
        name: text("name")?,
        clock: text("clock"),
        page_size_bytes: map.get("page_size_bytes").and_then(number),
        cpus: cpus.into_iter().flatten().filter_map(number).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_survive_whether_text_or_not() {
        for bytes in [&b""[..], b"local [mono]\n\0", b"\xff\x00\x80"] {
            assert_eq!(bytes_of(&value_of(bytes)).as_deref(), Some(bytes));
        }
        assert_eq!(bytes_of(&json!({"hex": "0"})), None);
        assert_eq!(bytes_of(&json!({"hex": "xy"})), None);
        assert_eq!(bytes_of(&json!(3)), None);
    }
}
