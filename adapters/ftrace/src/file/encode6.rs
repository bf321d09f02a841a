//! Version 6: one thing after the other.

use super::encode::{BufferContents, BufferPlace, Bytes, Contents, Encoded};
use super::raw::{self, id};

/// Bytes of a table's entry: offset and size.
const ENTRY_BYTES: u64 = 16;

pub(super) fn encode(contents: &Contents<'_>) -> Encoded {
    let mut out = Bytes::new(contents.endian);
    contents.put_initial(&mut out, "6");
    contents.put_header_info(&mut out);
    contents.put_ftrace_formats(&mut out);
    contents.put_event_formats(&mut out);
    out.sized_4(&contents.kallsyms);
    out.sized_4(&contents.printk);
    out.sized_8(&contents.cmdlines);
    out.u32(contents.cpu_count);
    out.put(raw::OPTIONS_V6);
    for option in &contents.options {
        out.option(option.id, &option.data);
    }
    let mut count = Bytes::new(contents.endian);
    count.u32(contents.cpu_count);
    out.option(id::CPUCOUNT, &count.bytes);
    let (top, instances) = match contents.buffers.split_first() {
        Some((top, instances)) => (Some(top), instances),
        None => (None, &[][..]),
    };
    // Where the instances' offsets go once they are known.
    let mut places = Vec::new();
    for instance in instances {
        let mut data = Bytes::new(contents.endian);
        data.u64(0);
        data.c_string(&instance.name);
        places.push(out.bytes.len() + 6);
        out.option(id::BUFFER, &data.bytes);
    }
    out.u16(id::DONE);

    let clock = format!("[{}]", contents.clock);
    let page_size = u64::from(contents.page_size_bytes);
    let table_bytes = |buffer: &BufferContents| {
        let entries = buffer.sizes_bytes.len() as u64 * ENTRY_BYTES;
        raw::FLYRECORD_V6.len() as u64 + entries + 8 + clock.len() as u64
    };
    let table = |buffer: &BufferContents, start: u64, data: u64| {
        let mut table = Bytes::new(contents.endian);
        table.put(raw::FLYRECORD_V6);
        let mut offset = data;
        for size in &buffer.sizes_bytes {
            table.u64(offset);
            table.u64(*size);
            offset += size;
        }
        table.sized_8(clock.as_bytes());
        table.bytes.resize((data - start) as usize, 0);
        table.bytes
    };
    let mut buffers = Vec::new();
    let mut at = out.len();
    for (index, buffer) in top.into_iter().chain(instances).enumerate() {
        if let Some(place) = index.checked_sub(1).and_then(|index| places.get(index)) {
            out.set_u64(*place, at);
        }
        let data = (at + table_bytes(buffer)).next_multiple_of(page_size);
        let before = table(buffer, at, data);
        buffers.push(BufferPlace { before });
        at = data + buffer.sizes_bytes.iter().sum::<u64>();
    }
    Encoded {
        before_in_place: None,
        head: out.bytes,
        buffers,
    }
}
