//! Version 7: sections.

use super::compression::Compression;
use super::encode::{BufferContents, BufferPlace, Bytes, Contents, Encoded};
use super::raw::{self, id};
use kstrace_schema::Result;

/// Bytes of a section's header.
const HEADER_BYTES: u64 = 16;

/// Descriptions of sections, by their offset in the section of strings.
struct Strings(Vec<u8>);

impl Strings {
    fn add(&mut self, text: &str) -> u32 {
        let at = self.0.len() as u32;
        self.0.extend(text.bytes().take_while(|b| *b != 0));
        self.0.push(0);
        at
    }
}

fn put_header(out: &mut Bytes, section: u16, compressed: bool, description: u32, size_bytes: u64) {
    out.u16(section);
    out.u16(if compressed {
        raw::SECTION_COMPRESSED
    } else {
        0
    });
    out.u32(description);
    out.u64(size_bytes);
}

fn put_section(
    out: &mut Bytes,
    section: u16,
    description: u32,
    content: &[u8],
    compression: Compression,
) -> Result<u64> {
    let offset = out.len();
    if compression == Compression::None {
        put_header(out, section, false, description, content.len() as u64);
        out.put(content);
        return Ok(offset);
    }
    let packed = compression.compress(content)?;
    put_header(out, section, true, description, packed.len() as u64 + 8);
    // Texts, all below 4 GiB.
    out.u32(packed.len() as u32);
    out.u32(content.len() as u32);
    out.put(&packed);
    Ok(offset)
}

/// Bytes that come before anything else, and of those the ones that say where the options are.
fn initial(contents: &Contents<'_>) -> (Bytes, usize) {
    let mut out = Bytes::new(contents.endian);
    contents.put_initial(&mut out, "7");
    out.c_string(contents.compression.name());
    out.c_string(&contents.compression.version());
    let options_place = out.bytes.len();
    out.u64(0);
    (out, options_place)
}

/// Length of what comes before the data of a buffer that is the file's first part.
pub(super) fn bytes_before_data(compression: Compression) -> u64 {
    let strings = compression.name().len() + compression.version().len() + 2;
    // Magic, version, byte order and size of long, page size, place of the options.
    let initial = super::raw::MAGIC.len() + 2 + 2 + 4 + strings + 8;
    initial as u64 + HEADER_BYTES
}

pub(super) fn encode(contents: &Contents<'_>) -> Result<Encoded> {
    let compression = contents.compression;
    let (mut first, options_place) = initial(contents);
    let in_place = contents
        .buffers
        .iter()
        .find_map(|buffer| Some((buffer, buffer.in_place?)));
    // Behind a buffer that is in its place already.
    let (mut out, base) = match in_place {
        Some((buffer, place)) => {
            let end = place.data + buffer.sizes_bytes.iter().sum::<u64>();
            (Bytes::new(contents.endian), end)
        }
        None => (
            std::mem::replace(&mut first, Bytes::new(contents.endian)),
            0,
        ),
    };

    let mut strings = Strings(Vec::new());
    let mut places = Vec::new();
    let content = |fill: &dyn Fn(&mut Bytes)| {
        let mut content = Bytes::new(contents.endian);
        fill(&mut content);
        content.bytes
    };
    let known: [(u16, &str, Vec<u8>); 6] = [
        (
            id::HEADER_INFO,
            "headers",
            content(&|out| contents.put_header_info(out)),
        ),
        (
            id::FTRACE_EVENTS,
            "ftrace events",
            content(&|out| contents.put_ftrace_formats(out)),
        ),
        (
            id::EVENT_FORMATS,
            "events format",
            content(&|out| contents.put_event_formats(out)),
        ),
        (
            id::KALLSYMS,
            "kallsyms",
            content(&|out| out.sized_4(&contents.kallsyms)),
        ),
        (
            id::PRINTK,
            "printk",
            content(&|out| out.sized_4(&contents.printk)),
        ),
        (
            id::CMDLINES,
            "command lines",
            content(&|out| out.sized_8(&contents.cmdlines)),
        ),
    ];
    for (section, description, content) in known {
        let description = strings.add(description);
        let offset = put_section(&mut out, section, description, &content, compression)?;
        places.push((section, base + offset));
    }
    let mut unknown_places = Vec::new();
    for section in &contents.unknown_sections {
        let description = strings.add("unknown");
        let content = &section.content;
        let offset = put_section(&mut out, section.id, description, content, compression)?;
        unknown_places.push((section.id, base + offset));
    }
    let options_description = strings.add("options");
    let descriptions: Vec<u32> = contents
        .buffers
        .iter()
        .map(|buffer| strings.add(&format!("buffer flyrecord {}", buffer.name)))
        .collect();
    let own = strings.add("strings");
    put_section(&mut out, id::STRINGS, own, &strings.0, compression)?;

    let options_offset = base + out.len();
    let start = if in_place.is_some() {
        &mut first
    } else {
        &mut out
    };
    start.set_u64(options_place, options_offset);
    let options = |layout: &[BufferLayout]| {
        let mut options = Bytes::new(contents.endian);
        for (section, offset) in &places {
            options.option(*section, &content(&|out| out.u64(*offset)));
        }
        for option in &contents.options {
            let moved = unknown_places.iter().find(|(id, _)| *id == option.id);
            match moved {
                Some((_, offset)) => options.option(option.id, &content(&|out| out.u64(*offset))),
                None => options.option(option.id, &option.data),
            }
        }
        options.option(id::CPUCOUNT, &content(&|out| out.u32(contents.cpu_count)));
        for (buffer, layout) in contents.buffers.iter().zip(layout) {
            options.option(id::BUFFER, &content(&|out| put_buffer(out, buffer, layout)));
        }
        options.option(id::DONE, &[0; 8]);
        options.bytes
    };
    // Their length does not depend on the places that they tell.
    let nowhere = vec![BufferLayout::default(); contents.buffers.len()];
    let options_bytes = options(&nowhere).len() as u64;
    let mut at = options_offset + HEADER_BYTES + options_bytes;
    let mut layouts = Vec::new();
    for buffer in &contents.buffers {
        if let Some(place) = buffer.in_place {
            layouts.push(BufferLayout {
                start: first.len(),
                data: place.data,
                end: base,
            });
            continue;
        }
        let start = at;
        let mut data = start + HEADER_BYTES;
        if compression == Compression::None {
            data = data.next_multiple_of(buffer.page_size_bytes.into());
        }
        at = data + buffer.sizes_bytes.iter().sum::<u64>();
        layouts.push(BufferLayout {
            start,
            data,
            end: at,
        });
    }
    let options = options(&layouts);
    put_header(
        &mut out,
        id::DONE,
        false,
        options_description,
        options.len() as u64,
    );
    out.put(&options);
    let mut before_in_place = None;
    let mut buffers = Vec::new();
    for ((buffer, layout), description) in contents.buffers.iter().zip(&layouts).zip(descriptions) {
        let mut before = Bytes::new(contents.endian);
        let size = layout.end - layout.start - HEADER_BYTES;
        let compressed = compression != Compression::None;
        put_header(&mut before, id::BUFFER, compressed, description, size);
        let mut before = before.bytes;
        before.resize((layout.data - layout.start) as usize, 0);
        if buffer.in_place.is_some() {
            let mut all = std::mem::take(&mut first.bytes);
            all.append(&mut before);
            before_in_place = Some(all);
        }
        buffers.push(BufferPlace { before });
    }
    Ok(Encoded {
        before_in_place,
        head: out.bytes,
        buffers,
    })
}

/// Where a buffer's section begins, its data begin, and both end.
#[derive(Clone, Copy, Debug, Default)]
struct BufferLayout {
    start: u64,
    data: u64,
    end: u64,
}

fn put_buffer(out: &mut Bytes, buffer: &BufferContents, layout: &BufferLayout) {
    out.u64(layout.start);
    out.c_string(&buffer.name);
    out.c_string(&buffer.clock);
    out.u32(buffer.page_size_bytes);
    // Bounded by the largest CPU that is held.
    out.u32(buffer.sizes_bytes.len() as u32);
    let mut offsets = vec![0; buffer.sizes_bytes.len()];
    let mut next = layout.data;
    for cpu in buffer.cpus() {
        if let (Some(offset), Some(size)) = (
            offsets.get_mut(cpu as usize),
            buffer.sizes_bytes.get(cpu as usize),
        ) {
            *offset = next;
            next += size;
        }
    }
    for (cpu, (size, offset)) in buffer.sizes_bytes.iter().zip(offsets).enumerate() {
        out.u32(cpu as u32);
        out.u64(offset);
        out.u64(*size);
    }
}
