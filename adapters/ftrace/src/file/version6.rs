//! Version 6: one thing after the other.

use super::bytes::{Cursor, FileBytes};
use super::limits;
use super::meta::{BufferMap, CpuData, Meta, latency, take_text_4, take_text_8};
use super::raw::{self, id};
use kstrace_schema::Result;
use tracefs::Endian;

/// Reads what follows the initial format.
pub(super) fn read(file: &FileBytes, mut cursor: Cursor, meta: &mut Meta) -> Result<()> {
    cursor.enter("header info");
    meta.take_header_info(&mut cursor)?;
    cursor.enter("ftrace event formats");
    meta.take_ftrace_formats(&mut cursor)?;
    cursor.enter("event formats");
    meta.take_event_formats(&mut cursor)?;
    cursor.enter("kallsyms");
    meta.kallsyms = take_text_4(&mut cursor)?;
    cursor.enter("trace_printk formats");
    meta.printk = take_text_4(&mut cursor)?;
    cursor.enter("saved command lines");
    meta.cmdlines = take_text_8(&mut cursor)?;
    cursor.enter("number of CPUs");
    let mut cpu_count = cursor.u32("number of CPUs")?;
    cursor.enter("options");
    let mut word: [u8; 10] = cursor.array("word")?;
    let mut instances = Vec::new();
    if word == *raw::OPTIONS_V6 {
        loop {
            let option = cursor.u16("id")?;
            if option == id::DONE {
                break;
            }
            let size = cursor.u32("size")?;
            let data = cursor.take(raw::name(option), size.into(), limits::OPTION_BYTES)?;
            match option {
                id::BUFFER => instances.push(data),
                _ => meta.keep_option(&cursor, option, data)?,
            }
            if instances.len() > limits::BUFFERS {
                return Err(cursor.error(format!("more than {} instances", limits::BUFFERS)));
            }
        }
        word = cursor.array("word")?;
    }
    if word == *raw::LATENCY_V6 {
        return Err(latency(file));
    }
    if let Some(bytes) = meta.option(id::CPUCOUNT).and_then(|d| d.first_chunk()) {
        cpu_count = match meta.endian {
            Endian::Little => u32::from_le_bytes(*bytes),
            Endian::Big => u32::from_be_bytes(*bytes),
        };
    }
    let mut top = buffer(&mut cursor, meta, word, cpu_count, String::new())?;
    cursor.enter("trace clock");
    if meta.option(id::TRACECLOCK).is_some() && cursor.left() > 8 {
        let size = cursor.u64("size")?;
        // Old files have rubbish here; trace-cmd then takes the clock to be `local`.
        let text = cursor.take("text", size, limits::NAME_BYTES as u64);
        top.clock = text.ok().and_then(|text| super::clock::selected(&text));
    }
    let clock = top.clock.clone();
    meta.buffers.push(top);
    for data in instances {
        match instance(file, meta, data, cpu_count) {
            Ok(mut found) => {
                found.clock.clone_from(&clock);
                meta.buffers.push(found);
            }
            Err(e) => {
                meta.damage = Some(e);
                break;
            }
        }
    }
    Ok(())
}

/// The table of an instance, which stands elsewhere in the file.
fn instance(file: &FileBytes, meta: &Meta, data: Vec<u8>, cpu_count: u32) -> Result<BufferMap> {
    let mut option = Cursor::over_memory(file, data, 0, "BUFFER option", meta.endian);
    let offset = option.u64("offset")?;
    let name = option.c_string("name", limits::NAME_BYTES)?;
    let name = String::from_utf8_lossy(&name).into_owned();
    let mut cursor = Cursor::over_file(file, offset, file.len(), "instance", meta.endian);
    let word: [u8; 10] = cursor.array("word")?;
    if word == *raw::LATENCY_V6 {
        return Err(latency(file));
    }
    buffer(&mut cursor, meta, word, cpu_count, name)
}

fn buffer(
    cursor: &mut Cursor,
    meta: &Meta,
    word: [u8; 10],
    cpu_count: u32,
    name: String,
) -> Result<BufferMap> {
    cursor.enter("CPU data");
    if word != *raw::FLYRECORD_V6 {
        return Err(cursor.error(format!(
            "word is '{}', expected 'flyrecord\\x00'",
            word.escape_ascii()
        )));
    }
    if cpu_count > limits::CPUS {
        return Err(cursor.error(format!(
            "number of CPUs is {cpu_count}, at most {} are possible",
            limits::CPUS
        )));
    }
    let mut cpus = Vec::new();
    for cpu in 0..cpu_count {
        let offset = cursor.u64("offset")?;
        let size_bytes = cursor.u64("size")?;
        cpus.push(CpuData {
            cpu,
            offset,
            size_bytes,
        });
    }
    Ok(BufferMap {
        name,
        clock: None,
        page_size_bytes: meta.page_size_bytes,
        compressed: false,
        cpus,
    })
}
