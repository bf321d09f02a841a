//! `HEADER_TRACING_DATA`: what `libtraceevent` needs to read raw tracepoint data.
//!
//! Version 0.6 of the form that `trace-cmd` once had, as perf writes it
//! (`tools/perf/util/trace-event-info.c`): the pages' and entries' formats, the
//! format files of ftrace's own events, those of the others by system, kallsyms,
//! printk formats, and names of tasks.

use std::collections::{BTreeMap, BTreeSet};

const MAGIC: &[u8] = &[23, 8, 68];
/// Format files are some kilobytes at most; what is larger is none.
const MAX_FORMAT_BYTES: usize = 1 << 20;

#[derive(Debug)]
struct Format {
    system: String,
    text: String,
}

/// Formats by event id, and the other texts.
#[derive(Debug, Default)]
pub(super) struct TracingData {
    formats: BTreeMap<u64, Format>,
    pub(super) header_page: Option<String>,
    pub(super) header_event: Option<String>,
    pub(super) printk_formats: Option<String>,
}

impl TracingData {
    /// Leaves out the formats of other events than these.
    pub(super) fn retain(&mut self, ids: &BTreeSet<u64>) {
        self.formats.retain(|id, _| ids.contains(id));
    }

    /// Whether a file without this section can be read.
    pub(super) fn is_empty(&self) -> bool {
        self.formats.is_empty()
    }

    /// Adds the format of an event whose records can still be given another id.
    /// Says which id it has in the file: `id` unless another format has it.
    /// None if there is no id left.
    pub(super) fn add(&mut self, system: &str, id: u64, text: &str) -> Option<u64> {
        if text.len() > MAX_FORMAT_BYTES {
            return None;
        }
        let same = |f: &Format| f.system == system && f.text == text;
        let own = match self.formats.get(&id) {
            None => id,
            Some(format) if same(format) => return Some(id),
            Some(_) => {
                let renumbered = with_id(text, 0);
                let again = self.formats.iter().find(|(other, f)| {
                    f.system == system && with_id(&f.text, 0) == renumbered && **other != id
                });
                if let Some((other, _)) = again {
                    return Some(*other);
                }
                (1..=u64::from(u16::MAX))
                    .rev()
                    .find(|id| !self.formats.contains_key(id))?
            }
        };
        let text = if own == id {
            text.to_owned()
        } else {
            with_id(text, own)
        };
        self.formats.insert(
            own,
            Format {
                system: system.to_owned(),
                text,
            },
        );
        Some(own)
    }

    /// Adds the format of an event whose id cannot be changed any more. The
    /// first format of an id stays.
    pub(super) fn add_recorded(&mut self, system: &str, id: u64, text: &str) {
        if text.len() > MAX_FORMAT_BYTES {
            return;
        }
        let text = if event_id_of(text) == Some(id) {
            text.to_owned()
        } else {
            with_id(text, id)
        };
        self.formats.entry(id).or_insert_with(|| Format {
            system: system.to_owned(),
            text,
        });
    }

    /// Adds a format that is made up: `text` gets the number, above those that kernels give.
    /// `None` if there is none left.
    pub(super) fn make_up(
        &mut self,
        system: &str,
        text: impl FnOnce(u16) -> String,
    ) -> Option<u16> {
        let id = (0x8000..u16::MAX).find(|id| !self.formats.contains_key(&u64::from(*id)))?;
        let text = text(id);
        if text.len() > MAX_FORMAT_BYTES {
            return None;
        }
        let system = system.to_owned();
        self.formats.insert(id.into(), Format { system, text });
        Some(id)
    }

    /// The section's bytes. `commands` are the names of tasks, a line each.
    pub(super) fn encode(&self, page_size_bytes: u32, commands: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(64 << 10);
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(b"tracing0.6\0");
        out.push(u8::from(cfg!(target_endian = "big")));
        out.push(size_of::<usize>() as u8);
        out.extend_from_slice(&page_size_bytes.to_ne_bytes());

        let header_page = self
            .header_page
            .clone()
            .unwrap_or_else(|| header_page(page_size_bytes));
        let header_event = self.header_event.as_deref().unwrap_or(HEADER_EVENT);
        out.extend_from_slice(b"header_page\0");
        push_sized(&mut out, header_page.as_bytes());
        out.extend_from_slice(b"header_event\0");
        push_sized(&mut out, header_event.as_bytes());

        let mut systems: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for format in self.formats.values() {
            systems
                .entry(&format.system)
                .or_default()
                .push(&format.text);
        }
        // perf reads the formats of the system `ftrace` apart.
        let own = systems.remove("ftrace").unwrap_or_default();
        push_count(&mut out, own.len());
        for text in own {
            push_sized(&mut out, text.as_bytes());
        }
        push_count(&mut out, systems.len());
        for (system, formats) in systems {
            out.extend(system.bytes().filter(|c| *c != 0));
            out.push(0);
            push_count(&mut out, formats.len());
            for text in formats {
                push_sized(&mut out, text.as_bytes());
            }
        }
        // No kallsyms: perf resolves addresses by other means and since 2012 writes none either.
        push_count(&mut out, 0);
        let printk = self.printk_formats.as_deref().unwrap_or_default();
        push_count(&mut out, printk.len());
        out.extend_from_slice(printk.as_bytes());
        push_sized(&mut out, commands);
        out
    }
}

fn push_sized(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&(bytes.len() as u64).to_ne_bytes());
    out.extend_from_slice(bytes);
}

fn push_count(out: &mut Vec<u8>, count: usize) {
    // Counts of formats and sizes of texts, all capped far below.
    out.extend_from_slice(&(count as u32).to_ne_bytes());
}

/// The `ID:` of a format file.
pub(super) fn event_id_of(format: &str) -> Option<u64> {
    let line = format
        .lines()
        .take(8)
        .find_map(|line| line.strip_prefix("ID:"))?;
    line.trim()
        .parse()
        .ok()
        .filter(|id| *id <= u64::from(u16::MAX))
}

/// The format file with another id.
fn with_id(format: &str, id: u64) -> String {
    let mut out = String::with_capacity(format.len() + 8);
    for line in format.split_inclusive('\n') {
        if line.starts_with("ID:") {
            out.push_str(&format!("ID: {id}\n"));
        } else {
            out.push_str(line);
        }
    }
    out
}

/// A format for an event of which only name and id are known: the fields that
/// all have, so that a reader at least shows that it happened.
pub(super) fn minimal_format(name: &str, id: u64) -> String {
    format!(
        "name: {name}\nID: {id}\nformat:\n\
         \tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n\
         \tfield:unsigned char common_flags;\toffset:2;\tsize:1;\tsigned:0;\n\
         \tfield:unsigned char common_preempt_count;\toffset:3;\tsize:1;\tsigned:0;\n\
         \tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;\n\
         \nprint fmt: \"fields unknown\"\n"
    )
}

/// `events/header_page` for this machine.
fn header_page(page_size_bytes: u32) -> String {
    let long = size_of::<usize>();
    let header = 8 + long;
    let data = page_size_bytes.saturating_sub(header as u32);
    format!(
        "\tfield: u64 timestamp;\toffset:0;\tsize:8;\tsigned:0;\n\
         \tfield: local_t commit;\toffset:8;\tsize:{long};\tsigned:1;\n\
         \tfield: int overwrite;\toffset:8;\tsize:1;\tsigned:1;\n\
         \tfield: char data;\toffset:{header};\tsize:{data};\tsigned:0;\n"
    )
}

/// `events/header_event`, the same since 2.6.30.
const HEADER_EVENT: &str = "# compressed entry header\n\
    \ttype_len    :    5 bits\n\
    \ttime_delta  :   27 bits\n\
    \tarray       :   32 bits\n\
    \n\
    \tpadding     : type == 29\n\
    \ttime_extend : type == 30\n\
    \ttime_stamp : type == 31\n\
    \tdata max type_len  == 28\n";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_formats_with_one_id_get_two_ids() {
        let mut data = TracingData::default();
        assert_eq!(data.add("a", 5, "name: x\nID: 5\nformat:\n"), Some(5));
        assert_eq!(data.add("a", 5, "name: x\nID: 5\nformat:\n"), Some(5));
        let text = "name: y\nID: 5\nformat:\n";
        assert_eq!(data.add("a", 5, text), Some(65535));
        assert_eq!(data.add("a", 5, text), Some(65535));
        assert_eq!(event_id_of(&data.formats[&65535].text), Some(65535));
        data.add_recorded("b", 5, "name: z\nID: 5\n");
        assert_eq!(data.formats[&5].system, "a");
    }

    #[test]
    fn the_id_is_read_from_the_head_only() {
        assert_eq!(
            event_id_of("name: sys_enter\nID: 443\nformat:\n"),
            Some(443)
        );
        assert_eq!(event_id_of("name: x\nformat:\n"), None);
        assert_eq!(event_id_of("ID: 99999\n"), None);
        assert_eq!(event_id_of(&minimal_format("x", 7)), Some(7));
    }
}
