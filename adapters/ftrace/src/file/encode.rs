//! The bytes of everything but the pages.

use super::compression::Compression;
use super::meta::{FileOption, UnknownSection};
use kstrace_schema::Result;
use std::collections::BTreeMap;
use tracefs::Endian;

/// What a file is to say.
#[derive(Debug)]
pub(super) struct Contents<'a> {
    pub(super) endian: Endian,
    pub(super) long_size_bytes: u8,
    pub(super) page_size_bytes: u32,
    pub(super) compression: Compression,
    pub(super) header_page: Vec<u8>,
    pub(super) header_event: Vec<u8>,
    pub(super) formats: BTreeMap<&'a str, Vec<&'a [u8]>>,
    pub(super) kallsyms: Vec<u8>,
    pub(super) printk: Vec<u8>,
    pub(super) cmdlines: Vec<u8>,
    /// Those that are not about the places of things.
    pub(super) options: Vec<FileOption>,
    pub(super) unknown_sections: Vec<UnknownSection>,
    pub(super) buffers: Vec<BufferContents>,
    /// CPUs of the machine.
    pub(super) cpu_count: u32,
    /// The trace clock's name.
    pub(super) clock: String,
}

/// A buffer that is to be written.
#[derive(Clone, Debug)]
pub(super) struct BufferContents {
    pub(super) name: String,
    pub(super) clock: String,
    pub(super) page_size_bytes: u32,
    /// Bytes of each CPU's data, from CPU 0 on.
    pub(super) sizes_bytes: Vec<u64>,
    /// Its data are in the file already.
    pub(super) in_place: Option<InPlaceBuffer>,
}

/// A buffer whose data are the file's first part, behind nothing but the initial format.
#[derive(Clone, Copy, Debug)]
pub(super) struct InPlaceBuffer {
    /// Where the data begin.
    pub(super) data: u64,
    /// Whose are the first ones; those of the others follow in order.
    pub(super) first_cpu: u32,
}

impl BufferContents {
    /// The CPUs in the order of their data.
    pub(super) fn cpus(&self) -> impl Iterator<Item = u32> + use<> {
        let first = self.in_place.map(|p| p.first_cpu);
        let others = (0..self.sizes_bytes.len() as u32).filter(move |cpu| Some(*cpu) != first);
        first.into_iter().chain(others)
    }
}

/// Where a buffer's data are to be.
#[derive(Clone, Debug)]
pub(super) struct BufferPlace {
    /// What comes right before the first CPU's data: headers, tables, padding. Nothing for
    /// one whose data are in the file already.
    pub(super) before: Vec<u8>,
}

/// A file's bytes, in order: the head, then for each buffer what comes before its
/// data and the data.
#[derive(Debug)]
pub(super) struct Encoded {
    /// The file's first bytes, up to the data of a buffer that are there already; the head then
    /// comes behind those.
    pub(super) before_in_place: Option<Vec<u8>>,
    pub(super) head: Vec<u8>,
    pub(super) buffers: Vec<BufferPlace>,
}

/// Bytes in a byte order.
#[derive(Debug)]
pub(super) struct Bytes {
    pub(super) bytes: Vec<u8>,
    endian: Endian,
}

impl Bytes {
    pub(super) fn new(endian: Endian) -> Self {
        Bytes {
            bytes: Vec::new(),
            endian,
        }
    }

    pub(super) fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    pub(super) fn put(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    pub(super) fn u16(&mut self, number: u16) {
        self.put(&match self.endian {
            Endian::Little => number.to_le_bytes(),
            Endian::Big => number.to_be_bytes(),
        });
    }

    pub(super) fn u32(&mut self, number: u32) {
        self.put(&match self.endian {
            Endian::Little => number.to_le_bytes(),
            Endian::Big => number.to_be_bytes(),
        });
    }

    pub(super) fn u64(&mut self, number: u64) {
        self.put(&match self.endian {
            Endian::Little => number.to_le_bytes(),
            Endian::Big => number.to_be_bytes(),
        });
    }

    /// Overwrites a number that was put before.
    pub(super) fn set_u64(&mut self, at: usize, number: u64) {
        let mut bytes = Bytes::new(self.endian);
        bytes.u64(number);
        if let Some(place) = self.bytes.get_mut(at..at + 8) {
            place.copy_from_slice(&bytes.bytes);
        }
    }

    /// Text up to its first NUL, and a NUL.
    pub(super) fn c_string(&mut self, text: &str) {
        self.bytes.extend(text.bytes().take_while(|b| *b != 0));
        self.bytes.push(0);
    }

    /// A text after its size of 8 bytes.
    pub(super) fn sized_8(&mut self, bytes: &[u8]) {
        self.u64(bytes.len() as u64);
        self.put(bytes);
    }

    /// A text after its size of 4 bytes, which all texts are short enough for.
    pub(super) fn sized_4(&mut self, bytes: &[u8]) {
        let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        self.u32(len);
        self.put(bytes.get(..len as usize).unwrap_or(bytes));
    }

    pub(super) fn option(&mut self, option: u16, data: &[u8]) {
        self.u16(option);
        self.sized_4(data);
    }
}

impl Contents<'_> {
    /// The initial format, up to the page size.
    pub(super) fn put_initial(&self, out: &mut Bytes, version: &str) {
        out.put(super::raw::MAGIC);
        out.c_string(version);
        out.put(&[u8::from(self.endian == Endian::Big), self.long_size_bytes]);
        out.u32(self.page_size_bytes);
    }

    pub(super) fn put_header_info(&self, out: &mut Bytes) {
        out.c_string("header_page");
        out.sized_8(&self.header_page);
        out.c_string("header_event");
        out.sized_8(&self.header_event);
    }

    pub(super) fn put_ftrace_formats(&self, out: &mut Bytes) {
        let own = self.formats.get("ftrace").map_or(&[][..], Vec::as_slice);
        put_formats(out, own);
    }

    pub(super) fn put_event_formats(&self, out: &mut Bytes) {
        let others = || {
            self.formats
                .iter()
                .filter(|(system, _)| **system != "ftrace")
        };
        out.u32(others().count() as u32);
        for (system, texts) in others() {
            out.c_string(system);
            put_formats(out, texts);
        }
    }

    /// In version 6 or 7.
    pub(super) fn encode(&self, version: u32) -> Result<Encoded> {
        if version == 6 {
            Ok(super::encode6::encode(self))
        } else {
            super::encode7::encode(self)
        }
    }
}

fn put_formats(out: &mut Bytes, texts: &[&[u8]]) {
    // At most as many as there are type numbers.
    out.u32(texts.len() as u32);
    for text in texts {
        out.sized_8(text);
    }
}
