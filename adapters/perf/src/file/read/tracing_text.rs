//! Reads `HEADER_TRACING_DATA`: format files and the texts that go with them.

use super::order::{Cursor, Order};
use kstrace_schema::ByteOrder;
use std::collections::BTreeMap;

const MAGIC: &[u8] = &[23, 8, 68];
/// Kernels have some 3,000 events.
const MAX_FORMATS: usize = 65_536;

/// The texts of the section.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct TracingText {
    pub(super) byte_order: Option<ByteOrder>,
    /// Bytes of a `long` of the kernel that recorded.
    pub(super) long_bytes: u8,
    pub(super) page_bytes: u32,
    pub(super) header_page: String,
    pub(super) header_event: String,
    /// By id: system and text.
    pub(super) formats: BTreeMap<u64, (String, String)>,
    pub(super) kallsyms: String,
    pub(super) printk_formats: String,
    pub(super) cmdlines: String,
}

/// Reads the section. What was understood before something odd is kept; the second value
/// says what was odd, and at which offset.
pub(super) fn parse(bytes: &[u8]) -> (TracingText, Option<(usize, &'static str)>) {
    let mut text = TracingText::default();
    let mut at = 0;
    let result = read(bytes, &mut text, &mut at);
    (text, result.err().map(|what| (at, what)))
}

fn read(bytes: &[u8], text: &mut TracingText, at: &mut usize) -> Result<(), &'static str> {
    let mut cursor = Cursor::new(bytes, Order::new(ByteOrder::NATIVE));
    if cursor.take(3) != Some(MAGIC) || cursor.take(7) != Some(b"tracing") {
        return Err("magic");
    }
    let version = cursor.c_string().ok_or("version")?;
    let has_cmdlines = version_at_least_0_6(version);
    let order = match cursor.take(1).ok_or("byte order")? {
        [0] => ByteOrder::LittleEndian,
        _ => ByteOrder::BigEndian,
    };
    text.byte_order = Some(order);
    text.long_bytes = cursor.take(1).ok_or("size of long")?[0];
    let head = cursor.position();
    let mut cursor = Cursor::new(bytes.get(head..).unwrap_or_default(), Order::new(order));
    let result = read_texts(&mut cursor, text, has_cmdlines);
    *at = head + cursor.position();
    result
}

fn version_at_least_0_6(version: &[u8]) -> bool {
    std::str::from_utf8(version)
        .ok()
        .and_then(|v| v.parse::<f32>().ok())
        .is_some_and(|v| v >= 0.6)
}

fn read_texts(
    cursor: &mut Cursor<'_>,
    text: &mut TracingText,
    has_cmdlines: bool,
) -> Result<(), &'static str> {
    text.page_bytes = cursor.u32().ok_or("page size")?;
    for (name, place) in [
        ("header_page", &mut text.header_page),
        ("header_event", &mut text.header_event),
    ] {
        if cursor.c_string() != Some(name.as_bytes()) {
            return Err(name);
        }
        let size = cursor.u64().ok_or(name)?;
        *place = lossless(cursor.take(size).ok_or(name)?);
    }
    let own = cursor.u32().ok_or("number of ftrace's formats")?;
    read_formats(cursor, text, "ftrace", own)?;
    let systems = cursor.u32().ok_or("number of systems")?;
    for _ in 0..systems {
        let system = cursor.c_string().ok_or("name of a system")?;
        let system = String::from_utf8_lossy(system).into_owned();
        let count = cursor.u32().ok_or("number of a system's formats")?;
        read_formats(cursor, text, &system, count)?;
    }
    let size = cursor.u32().ok_or("size of kallsyms")?;
    text.kallsyms = lossless(cursor.take(size.into()).ok_or("kallsyms")?);
    let size = cursor.u32().ok_or("size of printk formats")?;
    text.printk_formats = lossless(cursor.take(size.into()).ok_or("printk formats")?);
    if has_cmdlines {
        let size = cursor.u64().ok_or("size of command names")?;
        text.cmdlines = lossless(cursor.take(size).ok_or("command names")?);
    }
    Ok(())
}

fn read_formats(
    cursor: &mut Cursor<'_>,
    text: &mut TracingText,
    system: &str,
    count: u32,
) -> Result<(), &'static str> {
    for _ in 0..count {
        let size = cursor.u64().ok_or("size of a format")?;
        let format = lossless(cursor.take(size).ok_or("format")?);
        if text.formats.len() >= MAX_FORMATS {
            return Err("too many formats");
        }
        if let Some(id) = crate::file::tracing_data::event_id_of(&format) {
            text.formats
                .entry(id)
                .or_insert_with(|| (system.to_owned(), format));
        }
    }
    Ok(())
}

/// The kernel's texts are ASCII; what is not is shown as replaced, the bytes are kept elsewhere.
fn lossless(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file::tracing_data::{TracingData, minimal_format};

    #[test]
    fn what_the_writer_writes_is_read_and_every_cut_is_told() {
        let mut data = TracingData::default();
        data.add("sched", 5, &minimal_format("x", 5));
        data.add("ftrace", 6, &minimal_format("function", 6));
        data.printk_formats = Some("0xff : \"x\"\n".to_owned());
        let bytes = data.encode(4096, b"12 make\n");
        let (text, odd) = parse(&bytes);
        assert_eq!(odd, None);
        assert_eq!(text.page_bytes, 4096);
        assert_eq!(
            text.formats[&5],
            ("sched".to_owned(), minimal_format("x", 5))
        );
        assert_eq!(text.formats[&6].0, "ftrace");
        assert_eq!(text.cmdlines, "12 make\n");
        assert_eq!(text.printk_formats, "0xff : \"x\"\n");
        for cut in 0..bytes.len() {
            let (_, odd) = parse(&bytes[..cut]);
            assert!(odd.is_some_and(|(at, _)| at <= cut), "{cut}");
        }
    }
}
