//! A trace.dat as an input.

use super::attributes::{self, key};
use super::bytes::FileBytes;
use super::clock::{self, FileClock};
use super::formats::{self, FileFormats};
use super::limits;
use super::meta::{BufferMap, Meta};
use super::pages::PageFeed;
use super::raw::id;
use super::spool;
use super::stats;
use super::stream::{
    ALL_STREAMS_BYTES, CpuFileStream, DamagedStream, FILL_BYTES, MIN_PAGES, StreamParts,
};
use crate::classes::{ClassBook, ClassTable};
use kstrace_schema::{
    ByteOrder, Capture, ClassRegistry, ClockDescriptor, ClockKind, Cpu, Error, ErrorKind,
    FileInput, HopAccount, HostInfo, RecordStream, Result, SessionInfo, Sink, Source, SourceId,
    SourceInfo, namespace,
};
use serde_json::Value;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tracefs::{Endian, PageLayout};

/// A trace.dat of version 6 or 7, opened.
///
/// Every buffer of the file, the top one and those of instances, is a source.
/// Times are those that `trace-cmd report` shows: the options DATE, OFFSET,
/// TIME_SHIFT and TSC2NSEC are applied. All that the file says besides is kept
/// in the attributes of the sources, so that [`TraceDatSink`](super::TraceDatSink)
/// can write it again.
#[derive(Debug)]
pub struct TraceDatReader {
    file: FileBytes,
    session: SessionInfo,
    buffers: Vec<Buffer>,
    accounts: Vec<HopAccount>,
    formats: FileFormats,
    /// What is wrong with format files that are none.
    format_faults: Vec<String>,
    registry: Arc<ClassRegistry>,
    layout: PageLayout,
    endian: Endian,
    compression: super::Compression,
    damage: Option<Error>,
    data_bytes: u64,
    progress: Arc<AtomicU64>,
    streams_given: bool,
}

/// One buffer of the file.
#[derive(Debug)]
struct Buffer {
    source: SourceId,
    map: BufferMap,
    book: Arc<ClassBook>,
    clock: Arc<FileClock>,
}

impl TraceDatReader {
    /// Opens a file and reads what describes it.
    ///
    /// # Errors
    /// `InvalidData` or `Truncated`, with the place in the file, if it is no trace.dat or
    /// what describes it is damaged; `Unsupported` for other versions, other
    /// compressions, and files of latency tracers, which hold text.
    pub fn open(path: &Path) -> Result<Self> {
        let name = path.display().to_string();
        let file =
            File::open(path).map_err(|e| Error::io(format!("'{name}' cannot be opened"), e))?;
        if file.metadata().is_ok_and(|m| !m.is_file()) {
            return Self::from_reader(file, &name);
        }
        Self::from_file(file, &name)
    }

    /// Opens what comes from a pipe: it is copied to a temporary file without a
    /// name first, since the parts of a trace.dat are not in the order in which they are needed.
    ///
    /// # Errors
    /// As [`open`](Self::open), and when there is no room for the copy.
    pub fn from_reader(input: impl Read, name: &str) -> Result<Self> {
        Self::from_file(spool::copy_of(input, name)?, name)
    }

    fn from_file(file: File, name: &str) -> Result<Self> {
        let file = FileBytes::new(file, name)?;
        let meta = Meta::read(&file)?;
        Self::from_meta(file, meta)
    }

    fn from_meta(file: FileBytes, mut meta: Meta) -> Result<Self> {
        check_memory(&file, &meta)?;
        let endian = meta.endian;
        let byte_order = match endian {
            Endian::Little => ByteOrder::LittleEndian,
            Endian::Big => ByteOrder::BigEndian,
        };
        let header_page = String::from_utf8_lossy(&meta.header_page);
        let layout = PageLayout::parse_endian(&header_page, endian).map_err(|e| {
            Error::with_source(
                ErrorKind::InvalidData,
                format!("'{}', HEADER_INFO: header_page cannot be used", file.name()),
                e,
            )
        })?;
        let stated_clock = meta.option(id::TRACECLOCK).and_then(clock::selected);
        let top_clock = meta.buffers.first().and_then(|top| top.clock.clone());
        let clock_of = |buffer: &BufferMap| {
            let own = buffer.clock.clone().filter(|name| !name.is_empty());
            // trace-cmd 3.1 says of every buffer what is true of the top one, even if that
            // recorded nothing; TRACECLOCK is of one that did.
            let unsaid = own.is_none() || own == top_clock;
            let name = stated_clock.clone().filter(|_| unsaid).or(own);
            // trace-cmd's own default, and the kernel's.
            let name = name.unwrap_or_else(|| "local".to_owned());
            FileClock::new(&name, &meta.options, endian)
        };
        let (by_id, mut other_formats) = formats::by_id(std::mem::take(&mut meta.formats));
        let formats = FileFormats::new(by_id);
        let registry = Arc::new(ClassRegistry::new());
        let mut buffers: Vec<Buffer> = Vec::new();
        let mut sources = vec![SourceInfo {
            id: SourceId::KSTRACE,
            kind: namespace::KSTRACE.to_owned(),
            description: "kstrace".to_owned(),
            attributes: Default::default(),
        }];
        let maps = std::mem::take(&mut meta.buffers);
        for (index, map) in maps.into_iter().enumerate() {
            // Fewer than a thousand buffers.
            let source = SourceId(index as u16 + 1);
            let clock = clock_of(&map);
            sources.push(source_info(source, &file, &map, &clock));
            let book = Arc::new(ClassBook::new(
                source,
                Arc::clone(&registry),
                Box::new(formats.clone()),
                byte_order,
            ));
            if index == 0 {
                // All of them, so that a format without a record survives.
                for (id, (event, text)) in formats.by_id.iter() {
                    book.add(event, *id, text.clone())?;
                }
            }
            buffers.push(Buffer {
                source,
                map,
                book,
                clock: Arc::new(clock),
            });
        }
        if let Some(first) = sources.get_mut(1) {
            keep_facts(first, &meta, std::mem::take(&mut other_formats.kept));
        }
        let accounts = stats::accounts(
            meta.options
                .iter()
                .filter(|option| option.id == id::CPUSTAT)
                .map(|option| option.data.as_slice()),
            |name| {
                buffers
                    .iter()
                    .find(|b| b.map.name == name)
                    .map(|b| b.source)
            },
        );
        let session = SessionInfo {
            uuid: uuid(&meta, &file),
            clock: session_clock(&buffers),
            host: host(&meta),
            capture: Capture::default(),
            sources,
        };
        let data_bytes = buffers
            .iter()
            .flat_map(|b| &b.map.cpus)
            .fold(0u64, |sum, data| sum.saturating_add(data.size_bytes));
        Ok(TraceDatReader {
            file,
            session,
            buffers,
            accounts,
            formats,
            format_faults: other_formats.faults,
            registry,
            layout,
            endian,
            compression: meta.compression,
            damage: meta.damage,
            data_bytes,
            progress: Arc::default(),
            streams_given: false,
        })
    }
}

impl Source for TraceDatReader {
    fn info(&self) -> &SourceInfo {
        let own = self.buffers.first().map_or(SourceId::KSTRACE, |b| b.source);
        self.session
            .sources
            .iter()
            .find(|s| s.id == own)
            .unwrap_or(&self.session.sources[0])
    }

    fn streams(&mut self, sink: &mut dyn Sink) -> Result<Vec<Box<dyn RecordStream>>> {
        if std::mem::replace(&mut self.streams_given, true) {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                "the streams were handed over before",
            ));
        }
        for class in self.registry.all() {
            sink.class(&class)?;
        }
        let count: usize = self.buffers.iter().map(|b| b.map.cpus.len()).sum();
        let fill_bytes = FILL_BYTES.min(ALL_STREAMS_BYTES / count.max(1));
        let share = limits::STREAMS_BYTES / 2 / count.max(1) as u64;
        let longest_chunk_bytes = u32::try_from(share)
            .unwrap_or(u32::MAX)
            .clamp(limits::SMALL_CHUNK_BYTES, limits::CHUNK_BYTES);
        let mut streams: Vec<Box<dyn RecordStream>> = Vec::with_capacity(count);
        for buffer in &self.buffers {
            let compression = buffer
                .map
                .compressed
                .then_some((self.compression, self.endian));
            for data in buffer.map.cpus.iter().filter(|data| data.size_bytes > 0) {
                let section = match buffer.map.name.as_str() {
                    "" => format!("data of CPU {}", data.cpu),
                    name => format!("data of CPU {} of instance '{name}'", data.cpu),
                };
                let feed =
                    PageFeed::new(&self.file, section, *data, compression, longest_chunk_bytes);
                let parts = StreamParts {
                    source: buffer.source,
                    cpu: Cpu(data.cpu),
                    layout: self.layout,
                    page_size_bytes: buffer.map.page_size_bytes as usize,
                    fill_bytes,
                    clock: Arc::clone(&buffer.clock),
                    classes: ClassTable::new(Arc::clone(&buffer.book)),
                    progress: Arc::clone(&self.progress),
                };
                streams.push(Box::new(CpuFileStream::new(feed, parts)));
            }
        }
        if self.damage.is_some() {
            streams.push(Box::new(DamagedStream {
                source: self.info().id,
                damage: self.damage.take(),
            }));
        }
        Ok(streams)
    }
}

impl FileInput for TraceDatReader {
    fn session(&self) -> &SessionInfo {
        &self.session
    }

    fn stated_accounts(&self) -> Vec<HopAccount> {
        self.accounts.clone()
    }

    fn misfits(&self) -> Vec<Error> {
        let missing = self.formats.missing();
        let missing = missing.iter().map(|id| {
            format!("records of the type {id}, of which there is no format; kept as bytes")
        });
        let faults = self.format_faults.iter().cloned().chain(missing);
        let error = |what| {
            let what = format!("'{}': {what}", self.file.name());
            Error::new(ErrorKind::InvalidData, what)
        };
        faults.map(error).collect()
    }

    fn progress_bytes(&self) -> Option<(u64, u64)> {
        let read = self.progress.load(Ordering::Relaxed);
        Some((self.data_bytes, read.min(self.data_bytes)))
    }
}

/// Every CPU needs room for some pages: not more than there can be in all.
fn check_memory(file: &FileBytes, meta: &Meta) -> Result<()> {
    let needed: u64 = meta
        .buffers
        .iter()
        .map(|b| b.cpus.len() as u64 * u64::from(b.page_size_bytes) * MIN_PAGES as u64)
        .sum();
    if needed <= limits::STREAMS_BYTES {
        return Ok(());
    }
    Err(file.error(
        ErrorKind::InvalidData,
        0,
        "BUFFER",
        format!(
            "CPUs and page sizes that take {needed} bytes to read, at most {} are possible",
            limits::STREAMS_BYTES
        ),
    ))
}

fn source_info(id: SourceId, file: &FileBytes, map: &BufferMap, clock: &FileClock) -> SourceInfo {
    let description = match map.name.as_str() {
        "" => format!("trace.dat '{}'", file.name()),
        name => format!("instance '{name}' of trace.dat '{}'", file.name()),
    };
    let mut info = SourceInfo {
        id,
        kind: namespace::FTRACE.to_owned(),
        description,
        attributes: Default::default(),
    };
    let mut keep = |key: &str, value: Value| info.attributes.insert(key.to_owned(), value);
    keep(key::BUFFER, attributes::buffer_value(map));
    keep(key::CLOCK, clock.name.as_str().into());
    keep(key::SUB_BUFFER, map.page_size_bytes.into());
    info
}

/// What the file says but for its buffers.
fn keep_facts(info: &mut SourceInfo, meta: &Meta, other_formats: Vec<Value>) {
    let mut keep = |key: &str, value: Value| info.attributes.insert(key.to_owned(), value);
    keep(key::VERSION, meta.version.into());
    let endian = match meta.endian {
        Endian::Little => "little",
        Endian::Big => "big",
    };
    keep(key::ENDIAN, endian.into());
    keep(key::LONG_SIZE, meta.long_size_bytes.into());
    keep(key::PAGE_SIZE, meta.page_size_bytes.into());
    for (key, bytes) in [
        (key::HEADER_PAGE, &meta.header_page),
        (key::HEADER_EVENT, &meta.header_event),
        (key::PRINTK, &meta.printk),
        (key::CMDLINES, &meta.cmdlines),
        (key::KALLSYMS, &meta.kallsyms),
    ] {
        keep(key, attributes::value_of(bytes));
    }
    keep(key::OPTIONS, attributes::options_value(&meta.options));
    if !meta.unknown_sections.is_empty() {
        keep(
            key::SECTIONS,
            attributes::sections_value(&meta.unknown_sections),
        );
    }
    if !other_formats.is_empty() {
        keep(key::FORMATS, other_formats.into());
    }
}

/// The clock of all records, if it is one.
fn session_clock(buffers: &[Buffer]) -> ClockDescriptor {
    let with_data = buffers
        .iter()
        .filter(|b| b.map.cpus.iter().any(|data| data.size_bytes > 0));
    let mut clocks: Vec<&FileClock> = with_data.map(|b| b.clock.as_ref()).collect();
    if clocks.is_empty() {
        clocks.extend(buffers.first().map(|b| b.clock.as_ref()));
    }
    let first = clocks.first().map(|clock| clock.descriptor());
    let mut clock =
        first.unwrap_or_else(|| FileClock::new("local", &[], Endian::NATIVE).descriptor());
    let names = clock::joined(clocks.iter().map(|c| c.name.as_str()));
    if clocks.iter().any(|c| c.name != names) {
        // Nothing relates them: their times stand side by side as trace-cmd has them.
        clock.kind = ClockKind::Foreign;
        clock.native_name = Some(names);
    }
    clock
}

fn host(meta: &Meta) -> HostInfo {
    let mut host = HostInfo {
        page_size_bytes: meta.page_size_bytes,
        ..HostInfo::default()
    };
    if let Some(uname) = meta.option(id::UNAME) {
        let uname = String::from_utf8_lossy(uname);
        let mut words = uname.trim_matches(['\0', '\n']).split(' ').skip(1);
        let mut next = || words.next().unwrap_or_default().to_owned();
        (host.hostname, host.os_release, host.arch) = (next(), next(), next());
    }
    let cpus = meta
        .option(id::CPUCOUNT)
        .and_then(|data| data.first_chunk());
    if let Some(bytes) = cpus {
        host.cpus_online = match meta.endian {
            Endian::Little => u32::from_le_bytes(*bytes),
            Endian::Big => u32::from_be_bytes(*bytes),
        };
        host.cpus_available = host.cpus_online;
    }
    host
}

/// An id that is the same whenever the file is read: from its own id, which
/// trace-cmd makes at random, else from what it says of itself.
fn uuid(meta: &Meta, file: &FileBytes) -> String {
    let mut low = 0xcbf2_9ce4_8422_2325u64;
    let mut mix = |bytes: &[u8]| {
        for byte in bytes {
            low = (low ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    };
    mix(&file.len().to_le_bytes());
    for option in &meta.options {
        mix(&option.data);
    }
    mix(meta.cmdlines.get(..4096).unwrap_or(&meta.cmdlines));
    let own = meta.option(id::TRACEID).and_then(|d| d.first_chunk());
    let high = own.map_or(!low, |bytes| u64::from_le_bytes(*bytes));
    // Version 8: a value of one's own making (RFC 9562).
    let high = high & !0xf000 | 0x8000;
    let low = low & !(0b11 << 62) | 0b10 << 62;
    format!(
        "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        high >> 32,
        high >> 16 & 0xffff,
        high & 0xffff,
        low >> 48,
        low & 0xffff_ffff_ffff
    )
}
