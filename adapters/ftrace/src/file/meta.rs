//! What a file says of itself, in either version.

use super::bytes::{Cursor, FileBytes};
use super::compression::Compression;
use super::limits;
use super::raw;
use kstrace_schema::{Error, ErrorKind, Result};
use tracefs::Endian;

/// Everything in the file but the pages.
#[derive(Debug)]
pub(super) struct Meta {
    /// 6 or 7.
    pub(super) version: u32,
    pub(super) endian: Endian,
    /// Size of user space's `long`: 4 or 8.
    pub(super) long_size_bytes: u8,
    pub(super) page_size_bytes: u32,
    pub(super) compression: Compression,
    pub(super) header_page: Vec<u8>,
    pub(super) header_event: Vec<u8>,
    pub(super) formats: Vec<FormatText>,
    pub(super) kallsyms: Vec<u8>,
    pub(super) printk: Vec<u8>,
    pub(super) cmdlines: Vec<u8>,
    /// All options that are not about the places of things, in order.
    pub(super) options: Vec<FileOption>,
    /// Sections that unknown options point to.
    pub(super) unknown_sections: Vec<UnknownSection>,
    pub(super) buffers: Vec<BufferMap>,
    /// What could not be read, after at least one buffer was found.
    pub(super) damage: Option<Error>,
}

/// A format file.
#[derive(Debug)]
pub(super) struct FormatText {
    pub(super) system: String,
    pub(super) text: Vec<u8>,
}

/// An option as it stands in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FileOption {
    pub(super) id: u16,
    pub(super) data: Vec<u8>,
}

/// A section of a later version.
#[derive(Debug)]
pub(super) struct UnknownSection {
    pub(super) id: u16,
    /// Decompressed.
    pub(super) content: Vec<u8>,
}

/// A trace buffer: the top one, or an instance's.
#[derive(Debug)]
pub(super) struct BufferMap {
    /// Empty for the top one.
    pub(super) name: String,
    /// Its trace clock, if it is told for each buffer.
    pub(super) clock: Option<String>,
    pub(super) page_size_bytes: u32,
    pub(super) compressed: bool,
    pub(super) cpus: Vec<CpuData>,
}

/// Where the pages of one CPU are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CpuData {
    pub(super) cpu: u32,
    pub(super) offset: u64,
    pub(super) size_bytes: u64,
}

impl Meta {
    /// Reads it.
    pub(super) fn read(file: &FileBytes) -> Result<Self> {
        let mut cursor = Cursor::over_file(file, 0, file.len(), "initial format", Endian::Little);
        let magic: [u8; 10] = cursor.array("magic").map_err(|_| not_ours(file))?;
        if magic != *raw::MAGIC {
            return Err(not_ours(file));
        }
        let version = cursor.c_string("version", 16)?;
        let version = match version.as_slice() {
            b"6" => 6,
            b"7" => 7,
            other => {
                let other = String::from_utf8_lossy(other);
                return Err(Error::new(
                    ErrorKind::Unsupported,
                    format!(
                        "'{}' is a trace.dat of version '{other}', 6 and 7 can be read",
                        file.name()
                    ),
                ));
            }
        };
        let endian = match cursor.u8("byte order")? {
            0 => Endian::Little,
            1 => Endian::Big,
            other => {
                return Err(cursor.error(format!("byte order is {other}, expected 0 or 1")));
            }
        };
        cursor.set_endian(endian);
        let long_size_bytes = cursor.u8("size of long")?;
        if !matches!(long_size_bytes, 4 | 8) {
            return Err(cursor.error(format!(
                "size of long is {long_size_bytes}, expected 4 or 8"
            )));
        }
        let page_size_bytes = cursor.u32("page size")?;
        check_page_size(&cursor, page_size_bytes)?;
        let mut meta = Meta {
            version,
            endian,
            long_size_bytes,
            page_size_bytes,
            compression: Compression::None,
            header_page: Vec::new(),
            header_event: Vec::new(),
            formats: Vec::new(),
            kallsyms: Vec::new(),
            printk: Vec::new(),
            cmdlines: Vec::new(),
            options: Vec::new(),
            unknown_sections: Vec::new(),
            buffers: Vec::new(),
            damage: None,
        };
        if version == 6 {
            super::version6::read(file, cursor, &mut meta)?;
        } else {
            super::version7::read(file, cursor, &mut meta)?;
        }
        let streams: usize = meta.buffers.iter().map(|b| b.cpus.len()).sum();
        if streams > limits::STREAMS {
            return Err(file.error(
                ErrorKind::InvalidData,
                0,
                "BUFFER",
                format!(
                    "{streams} CPUs in all buffers, at most {} are possible",
                    limits::STREAMS
                ),
            ));
        }
        Ok(meta)
    }

    /// The data of the first option of that id.
    pub(super) fn option(&self, id: u16) -> Option<&[u8]> {
        self.options
            .iter()
            .find(|option| option.id == id)
            .map(|option| option.data.as_slice())
    }

    /// Takes an option in.
    pub(super) fn keep_option(&mut self, cursor: &Cursor, id: u16, data: Vec<u8>) -> Result<()> {
        let bytes: u64 = self.options.iter().map(|o| o.data.len() as u64).sum();
        if self.options.len() >= limits::OPTIONS
            || bytes + data.len() as u64 > limits::OPTIONS_BYTES
        {
            return Err(cursor.error(format!(
                "more than {} options, or more than {} bytes of them",
                limits::OPTIONS,
                limits::OPTIONS_BYTES
            )));
        }
        self.options.push(FileOption { id, data });
        Ok(())
    }

    /// `header_page` and `header_event`.
    pub(super) fn take_header_info(&mut self, cursor: &mut Cursor) -> Result<()> {
        for (word, place) in [
            (&b"header_page\0"[..], &mut self.header_page),
            (&b"header_event\0"[..], &mut self.header_event),
        ] {
            let found = cursor.take("name", word.len() as u64, 16)?;
            if found != word {
                return Err(cursor.error(format!(
                    "name is '{}', expected '{}'",
                    found.escape_ascii(),
                    word.escape_ascii()
                )));
            }
            let size = cursor.u64("size")?;
            *place = cursor.take("text", size, limits::HEADER_BYTES)?;
        }
        Ok(())
    }

    /// The formats of one system.
    fn take_formats(&mut self, cursor: &mut Cursor, system: &str) -> Result<()> {
        let count = cursor.u32("number of formats")?;
        let mut total: u64 = self.formats.iter().map(|f| f.text.len() as u64).sum();
        for _ in 0..count {
            if self.formats.len() >= limits::FORMATS {
                return Err(cursor.error(format!("more than {} formats", limits::FORMATS)));
            }
            let size = cursor.u64("size of a format")?;
            let text = cursor.take("format", size, limits::FORMAT_BYTES)?;
            total += size;
            if total > limits::FORMATS_BYTES {
                return Err(cursor.error(format!(
                    "more than {} bytes of formats",
                    limits::FORMATS_BYTES
                )));
            }
            self.formats.push(FormatText {
                system: system.to_owned(),
                text,
            });
        }
        Ok(())
    }

    /// The formats of the system `ftrace`.
    pub(super) fn take_ftrace_formats(&mut self, cursor: &mut Cursor) -> Result<()> {
        self.take_formats(cursor, "ftrace")
    }

    /// The formats of the other systems.
    pub(super) fn take_event_formats(&mut self, cursor: &mut Cursor) -> Result<()> {
        let systems = cursor.u32("number of systems")?;
        if systems > limits::SYSTEMS {
            return Err(cursor.error(format!(
                "{systems} systems, at most {} are possible",
                limits::SYSTEMS
            )));
        }
        for _ in 0..systems {
            let system = cursor.c_string("name of a system", limits::NAME_BYTES)?;
            let system = String::from_utf8_lossy(&system).into_owned();
            self.take_formats(cursor, &system)?;
        }
        Ok(())
    }
}

/// A text after its size of 4 bytes.
pub(super) fn take_text_4(cursor: &mut Cursor) -> Result<Vec<u8>> {
    let size = cursor.u32("size")?;
    cursor.take("text", size.into(), limits::SECTION_BYTES)
}

/// A text after its size of 8 bytes.
pub(super) fn take_text_8(cursor: &mut Cursor) -> Result<Vec<u8>> {
    let size = cursor.u64("size")?;
    cursor.take("text", size, limits::SECTION_BYTES)
}

/// A sub-buffer's size must be one that a kernel can have.
pub(super) fn check_page_size(cursor: &Cursor, size_bytes: u32) -> Result<()> {
    let allowed = limits::MIN_SUB_BUFFER_BYTES..=limits::SUB_BUFFER_BYTES;
    if size_bytes.is_power_of_two() && allowed.contains(&size_bytes) {
        return Ok(());
    }
    Err(cursor.error(format!(
        "page size is {size_bytes}, expected a power of two from {} to {}",
        allowed.start(),
        allowed.end()
    )))
}

fn not_ours(file: &FileBytes) -> Error {
    Error::new(
        ErrorKind::InvalidData,
        format!(
            "'{}' is no trace.dat: its first bytes are not 17 08 44 'tracing'",
            file.name()
        ),
    )
}

/// A file of text that `trace-cmd record -p wakeup` and its like make.
pub(super) fn latency(file: &FileBytes) -> Error {
    Error::new(
        ErrorKind::Unsupported,
        format!(
            "'{}' is a trace.dat of a latency tracer: it holds the text of 'trace' and no records",
            file.name()
        ),
    )
}
