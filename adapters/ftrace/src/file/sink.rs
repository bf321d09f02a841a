//! The sink that writes a trace.dat.

use super::attributes::{self, BufferFacts, key};
use super::clock::{self, FileClock};
use super::compression::Compression;
use super::encode::{BufferContents, Bytes, Contents, InPlaceBuffer};
use super::encode7;
use super::event_ids::EventIds;
use super::lanes::InPlace;
use super::limits;
use super::meta::FileOption;
use super::plan::{Mapper, Plan};
use super::raw::id;
use super::records::{Buffer, Refused, Stream};
use super::target::Target;
use kstrace_schema::{
    ByteOrder, ClassId, ClockDescriptor, ConversionReport, Error, ErrorKind, EventRecord,
    EventRecordClass, FileOutput, HopAccount, Loss, LossReason, Result, ResultExt, SessionInfo,
    Sink, SourceId, SourceInfo, namespace,
};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use tracefs::{Endian, PageLayout};

/// How a trace.dat is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceDatOptions {
    /// 7, or 6 for trace-cmd before 3.0.
    pub version: u32,
    /// How sections and CPU data are compressed. Version 6 knows only [`Compression::None`].
    pub compression: Compression,
}

impl Default for TraceDatOptions {
    fn default() -> Self {
        TraceDatOptions {
            version: 7,
            compression: Compression::None,
        }
    }
}

/// Writes the records it gets as a trace.dat that trace-cmd reads.
///
/// Records of ftrace are kept as they are, tracepoints that perf sampled become
/// entries again, and for every other event a format file is made up. Each source is a
/// buffer: the first one the top buffer, the others instances.
///
/// Records must come sorted by time within a CPU. Pages wait in a file without a name
/// beside the output until [`finish`](Sink::finish), which writes the trace.dat from
/// beginning to end, so that it can be a pipe; it appears under its name only then. In a file of
/// version 7 the pages of one CPU do not wait.
#[derive(Debug)]
pub struct TraceDatSink {
    target: Target,
    options: TraceDatOptions,
    session: Option<SessionInfo>,
    facts: FileFacts,
    stream: Stream,
    mapper: Mapper,
    /// By class id.
    classes: Vec<ClassAccount>,
    accounts: Vec<HopAccount>,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Writing,
    Failed,
    Finished,
}

/// What becomes of the records of a class, and how many there were.
#[derive(Debug)]
struct ClassAccount {
    name: String,
    plan: Plan,
    kept: u64,
    not_held: u64,
}

/// What the file is to say besides its records.
#[derive(Debug)]
struct FileFacts {
    endian: Endian,
    long_size_bytes: u8,
    page_size_bytes: u32,
    header_page: Vec<u8>,
    /// The source whose trace.dat this one takes after.
    primary: Option<SourceId>,
    clock: String,
    /// It is the clock of the primary source, and what its buffers say of theirs holds.
    clock_kept: bool,
    options: Vec<FileOption>,
}

/// The page size of every common machine.
const PAGE_BYTES: u32 = 4096;

impl TraceDatSink {
    /// Starts a file that gets the name `path` once it is complete.
    ///
    /// # Errors
    /// If no file can be created beside `path`; for a version other than 6 and 7, and
    /// for compression in version 6.
    pub fn create(path: &Path, options: TraceDatOptions) -> Result<Self> {
        check(&options)?;
        Self::start(Target::create(path)?, options)
    }

    /// Writes to something at hand, a pipe for example. Nothing is written before
    /// [`finish`](Sink::finish).
    ///
    /// # Errors
    /// As [`create`](Self::create); the pages wait in the directory for temporary files.
    pub fn to_writer(
        output: impl Write + Send + 'static,
        options: TraceDatOptions,
    ) -> Result<Self> {
        check(&options)?;
        Self::start(Target::to_writer("trace.dat", output), options)
    }

    fn start(target: Target, options: TraceDatOptions) -> Result<Self> {
        let endian = Endian::NATIVE;
        let layout = PageLayout::NATIVE_64;
        let stream = Stream::create(&target.waiting_directory(), options.compression, layout)?;
        Ok(TraceDatSink {
            target,
            options,
            session: None,
            facts: FileFacts {
                endian,
                long_size_bytes: 8,
                page_size_bytes: PAGE_BYTES,
                header_page: layout.header_page().into_bytes(),
                primary: None,
                clock: "local".to_owned(),
                clock_kept: false,
                options: Vec::new(),
            },
            stream,
            mapper: Mapper {
                ids: EventIds::default(),
                byte_order: ByteOrder::NATIVE,
                facts: Vec::new(),
            },
            classes: Vec::new(),
            accounts: Vec::new(),
            state: State::Writing,
        })
    }

    fn check_writing(&self) -> Result<()> {
        match self.state {
            State::Writing => Ok(()),
            State::Failed => Err(Error::new(
                ErrorKind::Io,
                "the trace.dat could not be written before",
            )),
            State::Finished => Err(Error::new(
                ErrorKind::InvalidInput,
                "the trace.dat is finished already",
            )),
        }
    }

    fn failed<T>(&mut self, result: Result<T>) -> Result<T> {
        if result.is_err() {
            self.state = State::Failed;
        }
        result
    }

    /// Takes over what the sources say.
    fn begin(&mut self, session: &SessionInfo) {
        let sources = session.sources.iter().filter(|s| s.id != SourceId::KSTRACE);
        let of_file: Vec<&SourceInfo> = sources
            .clone()
            .filter(|s| s.attributes.contains_key(key::OPTIONS))
            .collect();
        let ftrace = sources.clone().find(|s| s.kind == namespace::FTRACE);
        // The entries of another machine stay as they are: the file is one of that machine.
        let samples = sources
            .clone()
            .find(|s| s.attributes.contains_key(key::ENDIAN_OF_SAMPLES));
        let primary = of_file.first().copied().or(ftrace).or(samples);
        for other in of_file.iter().skip(1) {
            self.mapper
                .fact(format!("the options of a second {}", other.description));
        }
        if let Some(primary) = primary {
            self.take_after(primary);
        }
        self.choose_clock(session, primary);
        for source in sources {
            self.add_buffer(source);
        }
        for source in &session.sources {
            self.note_names(source);
        }
    }

    /// Byte order, sizes and layout of pages.
    fn take_after(&mut self, source: &SourceInfo) {
        let attribute = |key| source.attributes.get(key);
        let endian = match attribute(key::ENDIAN)
            .or_else(|| attribute(key::ENDIAN_OF_SAMPLES))
            .and_then(|v| v.as_str())
        {
            Some("big") => Endian::Big,
            Some("little") => Endian::Little,
            _ => Endian::NATIVE,
        };
        self.facts.primary = Some(source.id);
        self.facts.endian = endian;
        self.mapper.byte_order = match endian {
            Endian::Little => ByteOrder::LittleEndian,
            Endian::Big => ByteOrder::BigEndian,
        };
        if let Some(4) = attributes::number(source, key::LONG_SIZE) {
            self.facts.long_size_bytes = 4;
        }
        let size = attributes::number(source, key::PAGE_SIZE)
            .or_else(|| attributes::number(source, key::SUB_BUFFER));
        self.facts.page_size_bytes = sound_page_size(size).unwrap_or(PAGE_BYTES);
        let own = attributes::text(source, key::HEADER_PAGE).and_then(|text| {
            Some((
                PageLayout::parse_endian(std::str::from_utf8(&text).ok()?, endian).ok()?,
                text,
            ))
        });
        let layout = match own {
            Some((layout, text)) => {
                self.facts.header_page = text;
                layout
            }
            None => {
                let long = usize::from(self.facts.long_size_bytes);
                let page = self.facts.page_size_bytes as usize;
                let layout = PageLayout::of_kernel(endian, long, page);
                let layout = layout.unwrap_or(PageLayout::NATIVE_64);
                self.facts.header_page = layout.header_page().into_bytes();
                layout
            }
        };
        self.stream.set_layout(layout, endian);
    }

    /// Finds out how the session's times become those of pages.
    fn choose_clock(&mut self, session: &SessionInfo, primary: Option<&SourceInfo>) {
        let kept = primary.map(attributes::options_of).unwrap_or_default();
        let stated = primary.and_then(|source| {
            let name = source.attributes.get(key::CLOCK)?.as_str()?;
            source.attributes.contains_key(key::OPTIONS).then_some(name)
        });
        if let Some(name) = stated {
            let clock = FileClock::new(name, &kept, self.facts.endian);
            let names = clock::joined(session.sources.iter().filter_map(|source| {
                let of_file = source.attributes.contains_key(key::BUFFER);
                source
                    .attributes
                    .get(key::CLOCK)?
                    .as_str()
                    .filter(|_| of_file)
            }));
            let several = session.clock.native_name.as_ref() == Some(&names) && clock.is_plain();
            if several || is_same(&clock.descriptor(), &session.clock) {
                let shifted = clock.is_shifted();
                if shifted {
                    self.mapper.fact(
                        "the option TIME_SHIFT: the times have its effect already".to_owned(),
                    );
                }
                self.facts.clock = name.to_owned();
                self.facts.clock_kept = true;
                self.facts.options = kept;
                self.facts.options.retain(|option| {
                    option.id != id::CPUCOUNT && !(shifted && option.id == id::TIME_SHIFT)
                });
                self.stream.set_clock(clock);
                return;
            }
        }
        let (name, same) = clock::name_for(&session.clock);
        if !same {
            self.mapper.fact(format!(
                "the clock {}: trace-cmd knows none like it and calls it 'local'",
                session
                    .clock
                    .native_name
                    .as_deref()
                    .unwrap_or(session.clock.kind.word())
            ));
        }
        self.facts.clock = name.to_owned();
        self.facts.options = kept;
        self.facts.options.retain(|option| {
            !matches!(
                option.id,
                id::CPUCOUNT
                    | id::DATE
                    | id::OFFSET
                    | id::TSC2NSEC
                    | id::TIME_SHIFT
                    | id::TRACECLOCK
            )
        });
        self.facts.options.insert(
            0,
            FileOption {
                id: id::TRACECLOCK,
                data: format!("[{name}]\n\0").into_bytes(),
            },
        );
        self.stream
            .set_clock(FileClock::new(name, &[], self.facts.endian));
    }

    fn add_buffer(&mut self, source: &SourceInfo) {
        let facts = attributes::buffer_of(source);
        let of_file = facts.is_some();
        let facts = facts.unwrap_or_else(|| BufferFacts {
            // The first one is the top buffer, the others need a name.
            name: if self.stream.buffers.is_empty() {
                String::new()
            } else {
                source.kind.clone()
            },
            ..BufferFacts::default()
        });
        let size = facts.page_size_bytes.map(u64::from);
        let size = size.or_else(|| attributes::number(source, key::SUB_BUFFER));
        let size = sound_page_size(size).filter(|_| self.options.version != 6);
        let clock = facts.clock.filter(|_| self.facts.clock_kept);
        let cpus = facts.cpus.iter().copied().filter(|cpu| *cpu < limits::CPUS);
        self.stream.add_buffer(
            source.id,
            &facts.name,
            clock,
            size.unwrap_or(self.facts.page_size_bytes),
            cpus.max().map_or(0, |cpu| cpu + 1),
            // Names were saved with the file; what is learned must not add to them.
            !of_file,
        );
    }

    /// Where sections may come in any order and any part of the file can be written, those of the
    /// first CPU's pages come first: they need not wait for the others.
    fn write_in_place(&mut self) -> Result<()> {
        let Compression::None = self.options.compression else {
            return Ok(());
        };
        if self.options.version == 7
            && let Some(file) = self.target.seekable()?
        {
            let head_bytes = encode7::bytes_before_data(Compression::None);
            self.stream.set_in_place(InPlace::new(file, head_bytes));
        }
        Ok(())
    }

    fn note_names(&mut self, source: &SourceInfo) {
        let Some(lines) = attributes::text(source, key::CMDLINES) else {
            return;
        };
        self.stream.saved_names(lines);
    }

    fn complete(&mut self) -> Result<()> {
        self.stream.complete()?;
        let session = self.session.take();
        let sources = session.as_ref().map_or(&[][..], |s| s.sources.as_slice());
        let first_text = |key| {
            sources
                .iter()
                .find_map(|source| attributes::text(source, key))
        };
        let primary = sources.iter().find(|s| Some(s.id) == self.facts.primary);
        for (system, text) in primary.into_iter().flat_map(other_formats) {
            self.mapper.ids.keep(&system, text);
        }
        let host_cpus = session
            .as_ref()
            .map_or(0, |s| s.host.cpus_online.max(s.host.cpus_available));
        let cpu_count = self
            .stream
            .cpu_count()
            .max(host_cpus.min(limits::CPUS))
            .max(1);
        let compression = self.options.compression;
        let buffers: Vec<BufferContents> = self
            .stream
            .buffers
            .iter()
            .map(|buffer| BufferContents {
                name: buffer.name.clone(),
                clock: buffer
                    .clock
                    .clone()
                    .unwrap_or_else(|| self.facts.clock.clone()),
                page_size_bytes: buffer.page_size_bytes,
                sizes_bytes: (0..cpu_count)
                    .map(|cpu| match buffer.lane(cpu).map(|lane| lane.len_bytes()) {
                        None | Some(0) => 0,
                        // The number of chunks comes first.
                        Some(len) if compression != Compression::None => len + 4,
                        Some(len) => len,
                    })
                    .collect(),
                in_place: buffer
                    .in_place()
                    .map(|(first_cpu, data)| InPlaceBuffer { data, first_cpu }),
            })
            .collect();
        let same_boot = session
            .as_ref()
            .is_some_and(|s| is_this_boot(&s.clock.boot_id));
        let mut contents = Contents {
            endian: self.facts.endian,
            long_size_bytes: self.facts.long_size_bytes,
            page_size_bytes: self.facts.page_size_bytes,
            compression,
            header_page: self.facts.header_page.clone(),
            header_event: first_text(key::HEADER_EVENT).unwrap_or_else(|| HEADER_EVENT.to_vec()),
            formats: self.mapper.ids.by_system(),
            kallsyms: first_text(key::KALLSYMS)
                .or_else(|| same_boot.then(kallsyms).flatten())
                .unwrap_or_default(),
            printk: first_text(key::PRINTK).unwrap_or_default(),
            cmdlines: self.stream.command_lines(),
            options: self.facts.options.clone(),
            unknown_sections: primary.map(attributes::sections_of).unwrap_or_default(),
            buffers,
            cpu_count,
            clock: self.facts.clock.clone(),
        };
        add_missing_options(
            &mut contents,
            session.as_ref(),
            &self.accounts,
            &self.stream,
        );
        let encoded = contents.encode(self.options.version)?;
        let parts = || {
            let buffers = self.stream.buffers.iter().zip(&contents.buffers);
            buffers.zip(&encoded.buffers)
        };
        let waiting = self.stream.waiting();
        let target = &mut self.target;
        // Behind the pages that are in their place.
        for ((buffer, content), _) in parts().filter(|((_, c), _)| c.in_place.is_some()) {
            copy_waiting(target, waiting, buffer, content, &contents)?;
        }
        target.write(&encoded.head)?;
        for ((buffer, content), place) in parts().filter(|((_, c), _)| c.in_place.is_none()) {
            target.write(&place.before)?;
            copy_waiting(target, waiting, buffer, content, &contents)?;
        }
        if let Some(before) = &encoded.before_in_place {
            target.write_at(before, 0)?;
        }
        self.target.complete()
    }
}

/// The pages of a buffer that are not in the output yet.
fn copy_waiting(
    target: &mut Target,
    waiting: &File,
    buffer: &Buffer,
    content: &BufferContents,
    contents: &Contents<'_>,
) -> Result<()> {
    for lane in content.cpus().filter_map(|cpu| buffer.lane(cpu)) {
        if contents.compression != Compression::None && lane.chunks > 0 {
            let mut count = Bytes::new(contents.endian);
            count.u32(lane.chunks);
            target.write(&count.bytes)?;
        }
        for extent in &lane.extents {
            target.copy(waiting, *extent)?;
        }
    }
    Ok(())
}

fn check(options: &TraceDatOptions) -> Result<()> {
    let TraceDatOptions {
        version,
        compression,
    } = options;
    if !matches!(version, 6 | 7) {
        return Err(Error::new(
            ErrorKind::InvalidInput,
            format!("trace.dat of version {version} cannot be written, 6 and 7 can"),
        ));
    }
    if *version == 6 && *compression != Compression::None {
        return Err(Error::new(
            ErrorKind::InvalidInput,
            format!(
                "a trace.dat of version 6 cannot be compressed, with {} or else",
                compression.name()
            ),
        ));
    }
    Ok(())
}

fn sound_page_size(size_bytes: Option<u64>) -> Option<u32> {
    let size = u32::try_from(size_bytes?).ok()?;
    let allowed = limits::MIN_SUB_BUFFER_BYTES..=limits::SUB_BUFFER_BYTES;
    (size.is_power_of_two() && allowed.contains(&size)).then_some(size)
}

/// Whether times of the one are times of the other.
fn is_same(one: &ClockDescriptor, other: &ClockDescriptor) -> bool {
    one.kind == other.kind
        && one.native_name == other.native_name
        && one.counts_per_s == other.counts_per_s
}

/// Format files that no class could be made of.
fn other_formats(source: &SourceInfo) -> Vec<(String, Vec<u8>)> {
    let list = source
        .attributes
        .get(key::FORMATS)
        .and_then(|v| v.as_array());
    list.into_iter()
        .flatten()
        .filter_map(|entry| {
            let system = entry.get("system")?.as_str()?.to_owned();
            Some((system, attributes::bytes_of(entry.get("format")?)?))
        })
        .collect()
}

/// Whether the trace is of this machine since it was booted.
fn is_this_boot(boot_id: &str) -> bool {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .is_ok_and(|own| !boot_id.is_empty() && own.trim() == boot_id.trim())
}

/// This kernel's symbols, if it shows their addresses.
fn kallsyms() -> Option<Vec<u8>> {
    let text = std::fs::read("/proc/kallsyms").ok()?;
    let shown = text.split(|c| *c == b'\n').take(1000);
    let mut addresses = shown.filter_map(|line| line.split(|c| *c == b' ').next());
    addresses
        .any(|address| address.iter().any(|c| *c != b'0'))
        .then_some(text)
        .filter(|text| text.len() as u64 <= limits::SECTION_BYTES)
}

/// What trace-cmd would say of a recording, where no trace.dat said it.
fn add_missing_options(
    contents: &mut Contents<'_>,
    session: Option<&SessionInfo>,
    accounts: &[HopAccount],
    stream: &Stream,
) {
    let has = |contents: &Contents<'_>, id| contents.options.iter().any(|option| option.id == id);
    let add = |contents: &mut Contents<'_>, id, data: Vec<u8>| {
        contents.options.push(FileOption { id, data });
    };
    if let Some(session) = session {
        let host = &session.host;
        if !has(contents, id::UNAME) && !host.os_release.is_empty() {
            let uname = format!(
                "Linux {} {} {}\0",
                host.hostname, host.os_release, host.arch
            );
            add(contents, id::UNAME, uname.into_bytes());
        }
        if !has(contents, id::TRACEID) {
            let digits: String = session
                .uuid
                .chars()
                .filter(char::is_ascii_hexdigit)
                .take(16)
                .collect();
            if let Ok(own) = u64::from_str_radix(&digits, 16) {
                let mut data = Bytes::new(contents.endian);
                data.u64(own);
                add(contents, id::TRACEID, data.bytes);
            }
        }
    }
    if !has(contents, id::VERSION) {
        let version = concat!("kstrace ", env!("CARGO_PKG_VERSION"), "\0");
        add(contents, id::VERSION, version.as_bytes().to_vec());
    }
    if !has(contents, id::CPUSTAT) {
        for (index, buffer) in stream.buffers.iter().enumerate() {
            let own: Vec<&HopAccount> = accounts
                .iter()
                .filter(|account| buffer.sources.contains(&account.source))
                .collect();
            let mut by_cpu: BTreeMap<u32, Vec<&HopAccount>> = BTreeMap::new();
            for account in own {
                if account.cpu.known().is_some() {
                    by_cpu.entry(account.cpu.0).or_default().push(account);
                }
            }
            if index > 0 && !by_cpu.is_empty() {
                let name = format!("\nBuffer: {}\n\n\0", buffer.name);
                add(contents, id::CPUSTAT, name.into_bytes());
            }
            for (cpu, accounts) in by_cpu {
                add(
                    contents,
                    id::CPUSTAT,
                    stats_text(cpu, &accounts).into_bytes(),
                );
            }
        }
    }
}

/// The counters of a CPU, in the kernel's words.
fn stats_text(cpu: u32, accounts: &[&HopAccount]) -> String {
    let dropped = |wanted: &dyn Fn(LossReason) -> bool| -> u64 {
        let of = |account: &&HopAccount| -> u64 {
            let reasons = account
                .dropped
                .iter()
                .filter(|(reason, _)| wanted(**reason));
            reasons.map(|(_, count)| *count).sum()
        };
        accounts.iter().map(of).sum()
    };
    let overrun = dropped(&|reason| reason == LossReason::KernelOverwritten);
    let given_up = dropped(&|reason| reason == LossReason::KernelCommitOverrun);
    let rest = dropped(&|reason| {
        !matches!(
            reason,
            LossReason::KernelOverwritten | LossReason::KernelCommitOverrun
        )
    });
    let written: u64 = accounts.last().map_or(0, |account| account.written);
    format!(
        "CPU: {cpu}\nentries: {written}\noverrun: {overrun}\ncommit overrun: {given_up}\n\
         dropped events: {rest}\nread events: {written}\n\0"
    )
}

/// `events/header_event`, the same since 2.6.30.
const HEADER_EVENT: &[u8] = b"# compressed entry header\n\
    \ttype_len    :    5 bits\n\
    \ttime_delta  :   27 bits\n\
    \tarray       :   32 bits\n\
    \n\
    \tpadding     : type == 29\n\
    \ttime_extend : type == 30\n\
    \ttime_stamp : type == 31\n\
    \tdata max type_len  == 28\n";

impl FileOutput for TraceDatSink {
    fn report(&self) -> ConversionReport {
        let mut report = self.stream.report();
        report
            .facts_not_held
            .extend(self.mapper.facts.iter().cloned());
        for class in &self.classes {
            report.kept += class.kept;
            if class.not_held > 0 {
                *report.not_held.entry(class.name.clone()).or_default() += class.not_held;
            }
        }
        report
    }
}

impl Sink for TraceDatSink {
    fn session(&mut self, session: &SessionInfo) -> Result<()> {
        self.check_writing()?;
        if self.session.is_none() {
            self.begin(session);
            self.session = Some(session.clone());
            self.write_in_place()?;
        }
        Ok(())
    }

    fn class(&mut self, class: &Arc<EventRecordClass>) -> Result<()> {
        self.check_writing()?;
        let index = usize::from(class.id.0);
        while self.classes.len() <= index {
            self.classes.push(ClassAccount {
                name: format!("class {} that was not announced", self.classes.len()),
                plan: Plan::Unannounced,
                kept: 0,
                not_held: 0,
            });
        }
        let Some(account) = self.classes.get_mut(index) else {
            return Ok(());
        };
        if matches!(account.plan, Plan::Unannounced) {
            let (buffer, learn_names) =
                self.stream
                    .buffer_of(class.source, &class.namespace, self.facts.page_size_bytes);
            account.name = class.qualified_name();
            account.plan = self.mapper.plan(class, buffer, learn_names);
        }
        Ok(())
    }

    #[inline]
    fn record(&mut self, record: &EventRecord<'_>) -> Result<()> {
        let account = self.classes.get_mut(usize::from(record.class.0));
        let Some(account) = account.filter(|_| self.state == State::Writing) else {
            self.check_writing()?;
            return Err(unannounced(record.class));
        };
        let stream = &mut self.stream;
        let outcome = match &account.plan {
            Plan::Entry(plan) => stream.entry(plan, record),
            Plan::Sample(plan) => stream.sample(plan, record),
            Plan::Made(plan) => stream.made(plan, record),
            Plan::Name(fields) => stream.name(fields, record),
            Plan::Fork(plan) => stream.fork(plan, record),
            Plan::NotHeld => Err(Refused::NotHeld),
            Plan::Unannounced => return Err(unannounced(record.class)),
            // A reader of traces tells these through loss() and clock_pair(),
            // which count; the record of it is a repetition.
            Plan::Repetition => Ok(()),
        };
        match outcome {
            Ok(()) => account.kept += 1,
            Err(Refused::NotHeld) => account.not_held += 1,
            Err(Refused::Failed(e)) => return self.failed(Err(e)),
        }
        Ok(())
    }

    fn loss(&mut self, loss: &Loss) -> Result<()> {
        self.check_writing()?;
        self.stream.lost(loss, self.facts.page_size_bytes);
        Ok(())
    }

    fn account(&mut self, account: &HopAccount) -> Result<()> {
        self.accounts.push(account.clone());
        Ok(())
    }

    fn finish(&mut self) -> Result<()> {
        self.check_writing()?;
        let result = self
            .complete()
            .context(|| "trace.dat not completed".to_owned());
        self.failed(result)?;
        self.state = State::Finished;
        Ok(())
    }
}

#[cold]
fn unannounced(class: ClassId) -> Error {
    Error::new(
        ErrorKind::InvalidInput,
        format!("record of class {class}, which was not announced"),
    )
}
