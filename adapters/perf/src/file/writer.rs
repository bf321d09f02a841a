//! The sink that writes a perf.data.

mod complete;

use super::compat::PerfVersion;
use super::kept::{Kept, KeptPlan};
use super::mapping::{Mapper, Plan};
use super::output::Output;
use super::raw::{PerfFileHeader, PerfFileSection};
use super::record::KernelMap;
use super::stream::{Refused, Stream};
use kstrace_schema::{
    ClassId, ClockPair, ConversionReport, Error, ErrorKind, EventRecord, EventRecordClass,
    FileOutput, Loss, LossReason, Result, ResultExt, SessionInfo, Sink, SourceId, SourceInfo,
    builtin, namespace,
};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Seek, Write};
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use std::sync::Arc;
use zerocopy::IntoBytes;

/// How a perf.data is written.
#[derive(Clone, Debug)]
pub struct PerfDataOptions {
    /// After how many records a `FINISHED_ROUND` follows. It bounds what a
    /// reader keeps in memory for sorting to two rounds.
    pub round_records: u32,
    /// Whether to look up the build ids of mapped files.
    pub build_ids: bool,
    /// The oldest perf that shall read the file. If none is said, it is
    /// [`PerfVersion::CONSERVATIVE`], but a perf.data that is written again stays as it was.
    pub compat: Option<PerfVersion>,
    /// perf's own records tell of all tasks' names and children, so that nothing is made of
    /// what tracepoints tell of them.
    pub tasks_are_told: bool,
}

impl Default for PerfDataOptions {
    fn default() -> Self {
        PerfDataOptions {
            round_records: 4096,
            build_ids: true,
            compat: None,
            tasks_are_told: false,
        }
    }
}

/// Writes the records it gets as a perf.data that perf 6.1 and later read, or another version
/// if [`PerfDataOptions::compat`] says so.
///
/// Records must come sorted by time over all CPUs; a few that come late are
/// tolerated as far as `perf script` sorts them, the others are counted in
/// [`ConversionReport::out_of_order`]. The file appears under its name only on
/// [`finish`](Sink::finish); dropped before that, the sink leaves nothing.
#[derive(Debug)]
pub struct PerfDataSink {
    stream: Stream,
    options: PerfDataOptions,
    session: Option<SessionInfo>,
    /// By class id.
    classes: Vec<ClassAccount>,
    mapper: Mapper,
    /// The perf.data that is written again, and where its attrs are in the new one.
    kept: Option<(Kept, PerfFileSection)>,
    /// Sources whose records are in another byte order.
    foreign: BTreeSet<SourceId>,
    /// Taken once it is written to directly.
    pipe: Option<Pipe>,
    is_stream: bool,
    /// What there is no place for.
    facts: Vec<String>,
    /// Sources that announce all events of a machine, whether or not they happened.
    announce_all: BTreeSet<SourceId>,
    first_pair: Option<ClockPair>,
    kernel_told: bool,
    state: State,
}

/// A stream to be written, and where records wait for it.
#[derive(Debug)]
struct Pipe {
    output: Output,
    aside: File,
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

impl PerfDataSink {
    /// Starts a file that gets the name `path` once it is complete. `-` is a stream to
    /// standard output; so is a named pipe a stream.
    ///
    /// # Errors
    /// If no file can be created beside `path`.
    pub fn create(path: &Path, options: PerfDataOptions) -> Result<Self> {
        if path == Path::new("-") {
            return Self::to_stream("standard output", std::io::stdout(), options);
        }
        if std::fs::metadata(path).is_ok_and(|m| m.file_type().is_fifo()) {
            let fail = |e| Error::io(format!("cannot open '{}'", path.display()), e);
            let pipe = std::fs::OpenOptions::new().write(true).open(path);
            return Self::to_stream(&path.display().to_string(), pipe.map_err(fail)?, options);
        }
        Self::start(Output::create(path)?, options)
    }

    /// Writes a stream, as `perf record -o -` does, to be read by `perf script -i -`.
    ///
    /// What was read from a perf.data goes on at once. Of other sessions the events are known
    /// only at the end: their records are put aside in a temporary file until then.
    ///
    /// # Errors
    /// If there is no place for a temporary file.
    pub fn to_stream(
        name: &str,
        target: impl Write + Send + 'static,
        options: PerfDataOptions,
    ) -> Result<Self> {
        let fail = |e| Error::io(format!("cannot put aside what goes to '{name}'"), e);
        let aside = tempfile::tempfile().map_err(fail)?;
        let copy = aside.try_clone().map_err(fail)?;
        let mut sink = Self::start(Output::to_writer(name, copy), options)?;
        sink.pipe = Some(Pipe {
            output: Output::to_stream(name, target),
            aside,
        });
        Ok(sink)
    }

    /// Writes to something at hand, which must be empty.
    ///
    /// # Errors
    /// When writing fails; it is buffered, so later calls may be the first to notice.
    pub fn to_writer(
        target: impl Write + Seek + Send + 'static,
        options: PerfDataOptions,
    ) -> Result<Self> {
        Self::start(Output::to_writer("perf.data", target), options)
    }

    fn start(mut output: Output, options: PerfDataOptions) -> Result<Self> {
        // Keeps the header's place; it is written last.
        output.write(PerfFileHeader::default().as_bytes())?;
        Ok(PerfDataSink {
            stream: Stream::new(output, &options),
            options,
            session: None,
            classes: Vec::new(),
            mapper: Mapper::default(),
            kept: None,
            foreign: BTreeSet::new(),
            pipe: None,
            is_stream: false,
            facts: Vec::new(),
            announce_all: BTreeSet::new(),
            first_pair: None,
            kernel_told: false,
            state: State::Writing,
        })
    }

    fn check_writing(&self) -> Result<()> {
        match self.state {
            State::Writing => Ok(()),
            State::Failed => Err(Error::new(
                ErrorKind::Io,
                "the perf.data could not be written before",
            )),
            State::Finished => Err(Error::new(
                ErrorKind::InvalidInput,
                "the perf.data is finished already",
            )),
        }
    }

    fn failed<T>(&mut self, result: Result<T>) -> Result<T> {
        if result.is_err() {
            self.state = State::Failed;
        }
        result
    }

    /// Why those who are to read the file cannot read the records of a class.
    fn refused(&self, class: &EventRecordClass) -> Option<String> {
        let version = match (&self.kept, self.options.compat) {
            (Some(_), None) => return None,
            (_, version) => version.unwrap_or(PerfVersion::CONSERVATIVE),
        };
        let has_build_id = class.payload.member("build_id_size").is_some();
        let reason = version.refuses(&class.native, has_build_id)?;
        Some(format!("{}: {reason}", class.qualified_name()))
    }

    /// ftrace's own events have addresses of functions. Where no perf source tells
    /// of the kernel's place in memory, and it is this kernel, we do.
    fn note_class(&mut self, class: &EventRecordClass) {
        let of_ftrace = class.namespace == namespace::FTRACE && class.name.starts_with("ftrace:");
        if self.kernel_told || !of_ftrace {
            return;
        }
        let Some(session) = &self.session else { return };
        let has_perf = session.sources.iter().any(|s| s.kind == namespace::PERF);
        if !has_perf && is_this_boot(&session.clock.boot_id) {
            self.stream.kernel_maps(KernelMap::of_this_machine());
        }
        self.kernel_told = true;
    }

    /// Takes over what a tracefs source says about its texts.
    fn note_source(&mut self, source: &SourceInfo) {
        let text = |key: &str| source.attributes.get(key).and_then(|v| v.as_str());
        let formats = &mut self.stream.formats;
        for (key, place) in [
            ("ftrace.header_page", &mut formats.header_page),
            ("ftrace.header_event", &mut formats.header_event),
            ("ftrace.printk_formats", &mut formats.printk_formats),
        ] {
            if let Some(text) = text(key).filter(|text| !text.is_empty()) {
                place.get_or_insert_with(|| text.to_owned());
            }
        }
        // First the thread groups, so that the names are told with them.
        for (tid, pid) in text("ftrace.saved_tgids")
            .into_iter()
            .flat_map(numbered_lines)
        {
            if let Ok(pid) = pid.trim().parse() {
                self.stream.tasks.set_pid(tid, pid);
            }
        }
        for (tid, comm) in text("ftrace.saved_cmdlines")
            .into_iter()
            .flat_map(numbered_lines)
        {
            // What the kernel shows for a name it has forgotten.
            if comm != "<...>" {
                self.stream.name_at_start(tid, comm.as_bytes());
            }
        }
    }
}

/// Lines of a number, a space and a text.
fn numbered_lines(text: &str) -> impl Iterator<Item = (u32, &str)> {
    text.lines().filter_map(|line| {
        let (number, rest) = line.trim_start().split_once(' ')?;
        Some((number.parse().ok()?, rest))
    })
}

/// Whether the trace is of this machine since it was booted.
fn is_this_boot(boot_id: &str) -> bool {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .is_ok_and(|own| !boot_id.is_empty() && own.trim() == boot_id.trim())
}

impl FileOutput for PerfDataSink {
    fn report(&self) -> ConversionReport {
        let mut report = self.stream.report();
        report.facts_not_held.clone_from(&self.facts);
        if let Some((kept, _)) = &self.kept {
            report.facts_not_held.extend_from_slice(kept.not_in_band());
        }
        if let Some((kept, _)) = &self.kept
            && kept.has_incomplete_aux()
        {
            let fact = "data of a PERF_RECORD_AUXTRACE of which a part is missing";
            report.facts_not_held.push(fact.to_owned());
        }
        for class in &self.classes {
            report.kept += class.kept;
            if class.not_held > 0 {
                *report.not_held.entry(class.name.clone()).or_default() += class.not_held;
            }
        }
        report
    }
}

impl Sink for PerfDataSink {
    fn session(&mut self, session: &SessionInfo) -> Result<()> {
        self.check_writing()?;
        if let Some(kept) = Kept::of(session) {
            self.session = Some(session.clone());
            let result = self.begin_kept(kept);
            return self.failed(result);
        }
        for source in &session.sources {
            if Kept::is_file(source) {
                self.stream.told_by_records.insert(source.id);
            }
            // The description of a trace.dat is that of all events.
            if source
                .attributes
                .keys()
                .any(|key| key.starts_with("tracedat."))
            {
                self.announce_all.insert(source.id);
            }
            if Kept::is_foreign(source) {
                self.foreign.insert(source.id);
            } else if source.kind == namespace::FTRACE || Kept::is_file(source) {
                self.note_source(source);
            }
        }
        self.session = Some(session.clone());
        Ok(())
    }

    fn class(&mut self, class: &Arc<EventRecordClass>) -> Result<()> {
        self.check_writing()?;
        self.note_class(class);
        let index = usize::from(class.id.0);
        while self.classes.len() <= index {
            let name = format!("class {} that was not announced", self.classes.len());
            let plan = Plan::Unannounced;
            self.classes.push(ClassAccount {
                name,
                plan,
                kept: 0,
                not_held: 0,
            });
        }
        let refused = self.refused(class);
        let account = &mut self.classes[index];
        if matches!(account.plan, Plan::Unannounced) {
            account.name = class.qualified_name();
            if let Some(fact) = refused {
                account.plan = Plan::NotHeld;
                if !self.facts.contains(&fact) {
                    self.facts.push(fact);
                }
                return Ok(());
            }
            account.plan = match &self.kept {
                Some((kept, _)) => match (kept.plan(class), class.name.as_str()) {
                    (Some(plan), _) => Plan::Kept(plan),
                    (None, builtin::LOST | builtin::CLOCK_PAIR)
                        if class.namespace == namespace::KSTRACE =>
                    {
                        Plan::Repetition
                    }
                    _ => Plan::NotHeld,
                },
                // A file has one byte order.
                None if self.foreign.contains(&class.source) => Plan::NotHeld,
                None => {
                    let stream = &mut self.stream;
                    self.mapper
                        .plan(class, &mut stream.evsels, &mut stream.formats)
                }
            };
            if let Plan::Made(plan) = &account.plan {
                let fact = |field| format!("the field {field} of {}", account.name);
                self.facts.extend(plan.left_out().iter().map(fact));
            }
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
        let outcome = match &mut account.plan {
            Plan::Tracepoint(plan) => stream.tracepoint(plan, record),
            Plan::ForeignTracepoint(foreign) => {
                let (plan, payload) = foreign.turned(record.payload);
                stream.tracepoint(plan, &EventRecord { payload, ..*record })
            }
            Plan::Made(plan) => stream.made(plan, record),
            Plan::Sample(plan) => stream.sample(plan, record),
            Plan::Sideband(plan) => stream.sideband(plan, record),
            Plan::Kept(plan) => match &mut self.kept {
                Some((kept, _)) => write_kept(stream, kept, *plan, record.payload),
                None => Err(Refused::NotHeld),
            },
            Plan::Process => stream.process(record),
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
        if let Some((kept, _)) = &self.kept {
            // The file's own loss is told by its own records.
            if loss.source == kept.source && loss.reason == LossReason::KernelRingFull {
                self.stream.lost_and_told(loss.count);
                return Ok(());
            }
            let result = self.stream.lost_of_kept(kept, loss);
            return self.failed(result);
        }
        if loss.reason == LossReason::KernelRingFull
            && self.stream.told_by_records.contains(&loss.source)
        {
            self.stream.lost_and_told(loss.count);
            return Ok(());
        }
        let account = loss
            .class
            .and_then(|id| self.classes.get(usize::from(id.0)));
        let evsel = account.and_then(|account| match &account.plan {
            Plan::Tracepoint(plan) => Some(plan.evsel),
            Plan::ForeignTracepoint(foreign) => Some(foreign.plan.evsel),
            Plan::Made(plan) => Some(plan.evsel),
            Plan::Sample(plan) => Some(plan.evsel),
            _ => None,
        });
        let result = self.stream.lost(loss, evsel);
        self.failed(result)
    }

    fn clock_pair(&mut self, pair: &ClockPair) -> Result<()> {
        self.first_pair.get_or_insert(*pair);
        Ok(())
    }

    fn finish(&mut self) -> Result<()> {
        self.check_writing()?;
        let result = self
            .complete()
            .context(|| "perf.data not completed".to_owned());
        self.failed(result)?;
        self.state = State::Finished;
        Ok(())
    }
}

/// Writes a record of a perf.data back into one.
#[inline]
fn write_kept(
    stream: &mut Stream,
    kept: &mut Kept,
    plan: KeptPlan,
    payload: &[u8],
) -> Result<(), Refused> {
    let waits = match plan {
        KeptPlan::Record { time, is_sample } => return stream.keep(kept, time, is_sample, payload),
        KeptPlan::AuxHead => kept.aux_head(payload),
        KeptPlan::AuxData => {
            if !kept.aux_data(payload) {
                return Err(Refused::NotHeld);
            }
            false
        }
    };
    if !waits && let Some(whole) = kept.complete_aux(stream.output.position()) {
        stream.output.write(&whole)?;
    }
    Ok(())
}

#[cold]
fn unannounced(class: ClassId) -> Error {
    Error::new(
        ErrorKind::InvalidInput,
        format!("record of class {class}, which was not announced"),
    )
}
