//! Version 7: sections, found through chained options.

use super::bytes::{Cursor, FileBytes};
use super::compression::Compression;
use super::limits;
use super::meta::{
    BufferMap, CpuData, Meta, UnknownSection, check_page_size, latency, take_text_4, take_text_8,
};
use super::raw::{self, id};
use kstrace_schema::{Error, ErrorKind, Result, ResultExt};
use std::collections::BTreeSet;
use tracefs::Endian;

/// Bytes of a section's header.
const HEADER_BYTES: u64 = 16;
/// Sections that an unknown option points to are kept up to this size together.
const UNKNOWN_BYTES: usize = 16 << 20;

/// Reads what follows the page size.
pub(super) fn read(file: &FileBytes, mut cursor: Cursor, meta: &mut Meta) -> Result<()> {
    cursor.enter("compression header");
    let name = cursor.c_string("name", limits::NAME_BYTES)?;
    cursor.c_string("version", limits::NAME_BYTES)?;
    meta.compression = Compression::named(&name).ok_or_else(|| {
        Error::new(
            ErrorKind::Unsupported,
            format!(
                "'{}' is compressed with '{}', known are none, zstd and zlib",
                file.name(),
                name.escape_ascii()
            ),
        )
    })?;
    let mut next = cursor.u64("offset of the options")?;
    let mut seen = BTreeSet::new();
    while next != 0 {
        if !seen.insert(next) || seen.len() > limits::OPTION_SECTIONS {
            return Err(file.error(
                ErrorKind::InvalidData,
                next,
                "OPTIONS",
                "the sections of options go round in a circle",
            ));
        }
        match options(file, meta, next) {
            Ok(after) => next = after,
            // What was found before it can still be read.
            Err(e) if !meta.buffers.is_empty() => {
                meta.damage = Some(e);
                break;
            }
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// A section's header.
#[derive(Clone, Copy, Debug)]
struct Header {
    id: u16,
    compressed: bool,
    size_bytes: u64,
}

fn header(file: &FileBytes, endian: Endian, offset: u64, name: &'static str) -> Result<Header> {
    let mut cursor = Cursor::over_file(file, offset, file.len(), name, endian);
    let id = cursor.u16("id of the section")?;
    let flags = cursor.u16("flags of the section")?;
    cursor.u32("description of the section")?;
    Ok(Header {
        id,
        compressed: flags & raw::SECTION_COMPRESSED != 0,
        size_bytes: cursor.u64("size of the section")?,
    })
}

/// A cursor over the content of the section of that id at that offset.
fn section(file: &FileBytes, meta: &Meta, offset: u64, wanted: u16) -> Result<Cursor> {
    let name = raw::name(wanted);
    let found = header(file, meta.endian, offset, name)?;
    if found.id != wanted {
        return Err(file.error(
            ErrorKind::InvalidData,
            offset,
            name,
            format!("id of the section is {}, expected {wanted}", found.id),
        ));
    }
    let start = offset.saturating_add(HEADER_BYTES);
    let end = start.saturating_add(found.size_bytes);
    if end > file.len() {
        return Err(file.truncated(start, found.size_bytes, name));
    }
    let mut cursor = Cursor::over_file(file, start, end, name, meta.endian);
    if !found.compressed {
        return Ok(cursor);
    }
    let packed_bytes = cursor.u32("compressed size")?;
    let len_bytes = cursor.u32("uncompressed size")?;
    if u64::from(len_bytes) > limits::SECTION_BYTES {
        return Err(cursor.error(format!(
            "uncompressed size is {len_bytes}, at most {} are possible",
            limits::SECTION_BYTES
        )));
    }
    let packed = cursor.take(
        "compressed data",
        packed_bytes.into(),
        limits::SECTION_BYTES,
    )?;
    let mut content = Vec::new();
    meta.compression
        .decompress(&packed, len_bytes as usize, &mut content)
        .context(|| format!("'{}', offset {offset}, {name}", file.name()))?;
    Ok(Cursor::over_memory(
        file,
        content,
        offset,
        name,
        meta.endian,
    ))
}

/// Reads a section of options. Says where the next one is.
fn options(file: &FileBytes, meta: &mut Meta, offset: u64) -> Result<u64> {
    let mut cursor = section(file, meta, offset, id::DONE)?;
    loop {
        let option = cursor.u16("id of an option")?;
        let size = cursor.u32("size of an option")?;
        let data = cursor.take(raw::name(option), size.into(), limits::OPTION_BYTES)?;
        let place = data.first_chunk().map(|bytes| match meta.endian {
            Endian::Little => u64::from_le_bytes(*bytes),
            Endian::Big => u64::from_be_bytes(*bytes),
        });
        let place_of = |cursor: &Cursor| {
            place.ok_or_else(|| {
                cursor.error(format!(
                    "option {} is {size} bytes, expected 8",
                    raw::name(option)
                ))
            })
        };
        match option {
            id::DONE => return place_of(&cursor),
            id::HEADER_INFO => {
                let mut content = section(file, meta, place_of(&cursor)?, option)?;
                meta.take_header_info(&mut content)?;
            }
            id::FTRACE_EVENTS => {
                let mut content = section(file, meta, place_of(&cursor)?, option)?;
                meta.take_ftrace_formats(&mut content)?;
            }
            id::EVENT_FORMATS => {
                let mut content = section(file, meta, place_of(&cursor)?, option)?;
                meta.take_event_formats(&mut content)?;
            }
            id::KALLSYMS => {
                let mut content = section(file, meta, place_of(&cursor)?, option)?;
                meta.kallsyms = take_text_4(&mut content)?;
            }
            id::PRINTK => {
                let mut content = section(file, meta, place_of(&cursor)?, option)?;
                meta.printk = take_text_4(&mut content)?;
            }
            id::CMDLINES => {
                let mut content = section(file, meta, place_of(&cursor)?, option)?;
                meta.cmdlines = take_text_8(&mut content)?;
            }
            id::BUFFER => {
                if meta.buffers.len() >= limits::BUFFERS {
                    return Err(cursor.error(format!("more than {} buffers", limits::BUFFERS)));
                }
                let found = buffer(file, meta, data, cursor.offset())?;
                meta.buffers.push(found);
            }
            id::BUFFER_TEXT => return Err(latency(file)),
            _ => {
                if option > id::BUFFER_TEXT
                    && size == 8
                    && let Some(place) = place
                {
                    keep_unknown_section(file, meta, place, option);
                }
                meta.keep_option(&cursor, option, data)?;
            }
        }
    }
}

/// An option that this version does not know may say where a section of its own is.
fn keep_unknown_section(file: &FileBytes, meta: &mut Meta, offset: u64, option: u16) {
    let kept: usize = meta.unknown_sections.iter().map(|s| s.content.len()).sum();
    let Ok(mut cursor) = section(file, meta, offset, option) else {
        return;
    };
    let left = cursor.left();
    if let Ok(content) = cursor.take("content", left, UNKNOWN_BYTES.saturating_sub(kept) as u64) {
        meta.unknown_sections.push(UnknownSection {
            id: option,
            content,
        });
    }
}

fn buffer(file: &FileBytes, meta: &Meta, data: Vec<u8>, offset: u64) -> Result<BufferMap> {
    let mut cursor = Cursor::over_memory(file, data, offset, "BUFFER option", meta.endian);
    let place = cursor.u64("offset")?;
    let name = cursor.c_string("name", limits::NAME_BYTES)?;
    let clock = cursor.c_string("clock", limits::NAME_BYTES)?;
    let page_size_bytes = cursor.u32("page size")?;
    check_page_size(&cursor, page_size_bytes)?;
    let count = cursor.u32("number of CPUs")?;
    if count > limits::CPUS {
        return Err(cursor.error(format!(
            "number of CPUs is {count}, at most {} are possible",
            limits::CPUS
        )));
    }
    let mut cpus: Vec<CpuData> = Vec::new();
    let mut numbers = BTreeSet::new();
    for _ in 0..count {
        let cpu = cursor.u32("CPU")?;
        if cpu >= limits::CPUS || !numbers.insert(cpu) {
            return Err(cursor.error(format!(
                "CPU is {cpu}: it is there twice, or is not below {}",
                limits::CPUS
            )));
        }
        cpus.push(CpuData {
            cpu,
            offset: cursor.u64("offset")?,
            size_bytes: cursor.u64("size")?,
        });
    }
    let found = header(file, meta.endian, place, "BUFFER")?;
    if found.id != id::BUFFER {
        return Err(file.error(
            ErrorKind::InvalidData,
            place,
            "BUFFER",
            format!("id of the section is {}, expected {}", found.id, id::BUFFER),
        ));
    }
    Ok(BufferMap {
        name: String::from_utf8_lossy(&name).into_owned(),
        clock: Some(String::from_utf8_lossy(&clock).into_owned()),
        page_size_bytes,
        compressed: found.compressed,
        cpus,
    })
}
