//! The sink that writes a Perfetto trace.

use crate::bundle::{Bundle, Bundles};
use crate::class_plan::Plan;
use crate::clock::ClockMap;
use crate::event::{EventPlan, Unparsable};
use crate::facts::{self, CpuStats};
use crate::generic;
use crate::output::{MAIN_SEQUENCE, Output};
use crate::process::{Processes, ThreadFacts};
use crate::sample::Samples;
use crate::symbolizer::{NoSymbols, Symbolizer};
use kstrace_schema::decode::Value;
use kstrace_schema::{
    ClassId, ClockPair, ConversionReport, Cpu, Error, ErrorKind, EventRecord, EventRecordClass,
    FileOutput, Loss, LossReason, Result, SessionInfo, SessionTime, Sink, SourceInfo, namespace,
};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

/// Records that wait for the clock pair that their times need.
const MAX_WAITING: usize = 1 << 14;
/// Bytes of their payloads.
const MAX_WAITING_BYTES: usize = 4 << 20;
/// The kernel has no more CPUs (`CONFIG_NR_CPUS`); a greater number is damage.
const MAX_CPUS: u32 = 1 << 16;
/// Threads told of in one packet.
const THREADS_AT_ONCE: usize = 512;

/// How a Perfetto trace is to be written.
pub struct PerfettoOptions {
    /// Finds names for the addresses of stacks.
    pub symbolizer: Box<dyn Symbolizer>,
}

impl Default for PerfettoOptions {
    /// Without names: frames are files and offsets.
    fn default() -> Self {
        PerfettoOptions {
            symbolizer: Box::new(NoSymbols),
        }
    }
}

impl std::fmt::Debug for PerfettoOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PerfettoOptions").finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct ClassAccount {
    name: String,
    plan: Plan,
    kept: u64,
    not_held: u64,
    unparsable: u64,
}

/// A record that waits for the clock pair its time needs.
#[derive(Debug)]
struct Waiting {
    class: ClassId,
    rest_len_bytes: u16,
    cpu: Cpu,
    time: SessionTime,
    payload: Box<[u8]>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Writing,
    Failed,
    Finished,
}

/// Writes records as a Perfetto trace: a stream of protobuf `TracePacket`s.
///
/// Tracepoints of any tracer become ftrace events: those that Perfetto has a message
/// for become that, all others named fields. Samples become perf samples with interned
/// stacks, one packet sequence for each event. Loss is told where Perfetto has a place
/// for it, and in full by an ftrace event `kstrace:lost`. Memory does not grow with the trace,
/// but for the tasks and mappings that are alive in it.
#[derive(Debug)]
pub struct PerfettoSink {
    out: Output,
    state: State,
    clock: ClockMap,
    bundles: Bundles,
    samples: Samples,
    processes: Processes,
    classes: Vec<ClassAccount>,
    sources: Vec<SourceInfo>,
    /// By CPU.
    stats: Vec<CpuStats>,
    waiting: Vec<Waiting>,
    waiting_bytes: usize,
    /// Times can be written.
    timed: bool,
    facts_not_held: Vec<String>,
    lost: u64,
}

impl PerfettoSink {
    /// Writes to a new file beside `path`, which takes that name when it is complete.
    /// A device or pipe is written to as it is.
    ///
    /// # Errors
    /// When the file cannot be created.
    pub fn create(path: &Path, options: PerfettoOptions) -> Result<Self> {
        Ok(Self::with_output(Output::create(path)?, options))
    }

    /// Writes to anything; `name` is for messages.
    pub fn to_writer(
        name: &str,
        writer: impl Write + Send + 'static,
        options: PerfettoOptions,
    ) -> Self {
        Self::with_output(Output::to_writer(name, writer), options)
    }

    fn with_output(out: Output, options: PerfettoOptions) -> Self {
        PerfettoSink {
            out,
            state: State::Writing,
            clock: ClockMap::default(),
            bundles: Bundles::default(),
            samples: Samples::new(MAIN_SEQUENCE + 1, options.symbolizer),
            processes: Processes::default(),
            classes: Vec::new(),
            sources: Vec::new(),
            stats: Vec::new(),
            waiting: Vec::new(),
            waiting_bytes: 0,
            timed: false,
            facts_not_held: Vec::new(),
            lost: 0,
        }
    }

    fn check_writing(&self) -> Result<()> {
        match self.state {
            State::Writing => Ok(()),
            State::Failed => Err(Error::new(
                ErrorKind::Io,
                "an earlier part of the Perfetto trace could not be written",
            )),
            State::Finished => Err(Error::new(
                ErrorKind::InvalidInput,
                "the Perfetto trace is finished",
            )),
        }
    }

    fn noting_failure<T>(&mut self, result: Result<T>) -> Result<T> {
        if result.is_err() {
            self.state = State::Failed;
        }
        result
    }

    fn note(&mut self, fact: String) {
        if !self.facts_not_held.contains(&fact) {
            self.facts_not_held.push(fact);
        }
    }

    /// From the first record that can be written on.
    fn begin_times(&mut self, first: SessionTime) -> Result<()> {
        self.timed = true;
        self.samples.clock_id = self.clock.packet_clock_id();
        self.bundles = Bundles::new(self.clock.ftrace_clock());
        if self.clock.is_unrelated() {
            self.note(
                "which clock the session has: nothing relates it to the boot time, as which its times are written"
                    .to_owned(),
            );
            if let Some(snapshot) = self.clock.wall_clock(first) {
                facts::write_clocks(&mut self.out, &snapshot, self.clock.packet_clock_id())?;
            }
        }
        for record in std::mem::take(&mut self.waiting) {
            self.write_record(&EventRecord {
                class: record.class,
                rest_len_bytes: record.rest_len_bytes,
                cpu: record.cpu,
                time: record.time,
                payload: &record.payload,
            })?;
        }
        Ok(())
    }

    /// Keeps a record until the clock pair comes that its time needs.
    #[cold]
    fn wait_for_clock(&mut self, record: &EventRecord<'_>) -> Result<()> {
        let enough = self.waiting.len() >= MAX_WAITING
            || self.waiting_bytes + record.payload.len() > MAX_WAITING_BYTES;
        if !self.clock.needs_pair() || enough {
            let first = self.waiting.first().map_or(record.time, |w| w.time);
            self.begin_times(first)?;
            return self.write_record(record);
        }
        self.waiting_bytes += record.payload.len();
        self.waiting.push(Waiting {
            class: record.class,
            rest_len_bytes: record.rest_len_bytes,
            cpu: record.cpu,
            time: record.time,
            payload: record.payload.into(),
        });
        Ok(())
    }

    fn write_record(&mut self, record: &EventRecord<'_>) -> Result<()> {
        let Some(account) = self.classes.get_mut(usize::from(record.class.0)) else {
            return Err(unannounced(record.class));
        };
        let time = record.time;
        let done = match &account.plan {
            Plan::Event(event) => {
                write_event(event, record, &mut self.bundles, &self.clock, &mut self.out)?
            }
            Plan::Sample(sample, event) => {
                let written = match event {
                    Some(event) => {
                        write_event(event, record, &mut self.bundles, &self.clock, &mut self.out)?
                    }
                    None => Ok(()),
                };
                let packet_time = self.clock.packet_time(time);
                let thread = None;
                match written {
                    Ok(()) => {
                        self.samples
                            .write(sample, record, packet_time, thread, &mut self.out)?
                    }
                    bad => bad,
                }
            }
            Plan::Process(process, change) => {
                let at = (self.clock.packet_clock_id(), self.clock.packet_time(time));
                if let Some(change) = change {
                    change.apply(record.payload, &mut self.samples);
                }
                let told = self
                    .processes
                    .record(process, record.payload, at, &mut self.out)?;
                told.ok_or(Unparsable)
            }
            Plan::Mapping(map) => map
                .apply(record.payload, &mut self.samples)
                .ok_or(Unparsable),
            Plan::Repetition => Ok(()),
            Plan::NotHeld => {
                account.not_held += 1;
                return Ok(());
            }
            Plan::Unannounced => return Err(unannounced(record.class)),
        };
        match done {
            Ok(()) => account.kept += 1,
            Err(Unparsable) => account.unparsable += 1,
        }
        Ok(())
    }

    fn write_loss(&mut self, loss: &Loss) -> Result<()> {
        self.lost = self.lost.saturating_add(loss.count);
        let source = self.sources.iter().find(|s| s.id == loss.source);
        let kind = source.map_or(namespace::KSTRACE, |s| s.kind.as_str());
        let cpu = loss.cpu.known().map(|c| c.0).filter(|c| *c < MAX_CPUS);
        let index = cpu.unwrap_or(0) as usize;
        if kind == namespace::PERF {
            let account = loss.class.and_then(|c| self.classes.get(usize::from(c.0)));
            let sequence = match account.map(|a| &a.plan) {
                Some(Plan::Sample(sample, _)) => Some(sample.sequence),
                _ => None,
            };
            let time = self.clock.packet_time(loss.end);
            self.samples
                .write_lost(sequence, cpu, loss.count, time, &mut self.out)?;
        } else {
            if self.stats.len() <= index {
                self.stats.resize(index + 1, CpuStats::default());
            }
            if let Some(stats) = self.stats.get_mut(index) {
                let count = match loss.reason {
                    LossReason::KernelOverwritten => &mut stats.overrun,
                    LossReason::KernelCommitOverrun => &mut stats.commit_overrun,
                    _ => &mut stats.dropped,
                };
                *count = count.saturating_add(loss.count);
            }
        }
        self.write_loss_event(loss, kind.to_owned(), cpu, index)
    }

    /// All that is known of the loss, as an event among the CPU's.
    fn write_loss_event(
        &mut self,
        loss: &Loss,
        kind: String,
        cpu: Option<u32>,
        index: usize,
    ) -> Result<()> {
        let class = loss.class.and_then(|c| self.classes.get(usize::from(c.0)));
        let class = class.map(|c| c.name.clone());
        let reason = loss.reason.word();
        let exact = loss.certainty == kstrace_schema::Certainty::Exact;
        let mut fields = vec![
            ("count", Value::U64(loss.count)),
            ("exact", Value::Bool(exact)),
            ("reason", Value::Str(reason.as_bytes())),
            ("source", Value::Str(kind.as_bytes())),
            ("begin_ns", Value::U64(loss.begin.as_ns())),
            ("end_ns", Value::U64(loss.end.as_ns())),
        ];
        if let Some(class) = &class {
            fields.push(("class", Value::Str(class.as_bytes())));
        }
        if let Some(cpu) = cpu {
            fields.push(("cpu", Value::U64(cpu.into())));
        }
        let time = self.clock.ftrace_time(loss.end);
        let bundle = self.bundles.of(index, loss.end, &mut self.out)?;
        let event = bundle.events.open(2);
        bundle.events.uint(1, time);
        generic::write_plain(&mut bundle.events, "kstrace:lost", &fields);
        bundle.events.close(event);
        self.bundles.lost_before(index);
        Ok(())
    }

    /// What a source says as a whole.
    fn note_source(&mut self, source: &SourceInfo) -> Result<()> {
        for (key, value) in &source.attributes {
            let empty = value.as_str().is_some_and(str::is_empty);
            let held = ["ftrace.saved_cmdlines", "ftrace.saved_tgids"].contains(&key.as_str());
            if !held && !empty {
                self.note(format!("{key} of the source {}", source.kind));
            }
        }
        let text = |key: &str| {
            let value = source.attributes.get(key);
            value.and_then(|v| v.as_str()).unwrap_or_default()
        };
        let groups: std::collections::HashMap<i32, i32> =
            numbered_lines(text("ftrace.saved_tgids"))
                .filter_map(|(tid, pid)| Some((tid, pid.trim().parse().ok()?)))
                .collect();
        let mut threads: Vec<ThreadFacts<'_>> = numbered_lines(text("ftrace.saved_cmdlines"))
            // What the kernel shows for a name it has forgotten.
            .filter(|(_, name)| *name != "<...>")
            .map(|(tid, name)| ThreadFacts {
                tid,
                pid: groups.get(&tid).copied(),
                name: name.as_bytes(),
                ..ThreadFacts::default()
            })
            .collect();
        let named: std::collections::HashSet<i32> = threads.iter().map(|t| t.tid).collect();
        let mut unnamed: Vec<_> = groups.iter().filter(|(t, _)| !named.contains(t)).collect();
        unnamed.sort();
        threads.extend(unnamed.into_iter().map(|(tid, pid)| ThreadFacts {
            tid: *tid,
            pid: Some(*pid),
            ..ThreadFacts::default()
        }));
        for some in threads.chunks(THREADS_AT_ONCE) {
            self.processes.write(some, None, &mut self.out)?;
        }
        Ok(())
    }

    fn complete(&mut self) -> Result<()> {
        if !self.timed {
            let first = self.waiting.first().map_or(SessionTime::ZERO, |w| w.time);
            self.begin_times(first)?;
        }
        self.bundles.flush(&mut self.out)?;
        for (cpu, written) in self.bundles.written() {
            if self.stats.len() <= cpu {
                self.stats.resize(cpu + 1, CpuStats::default());
            }
            self.stats[cpu].read = written;
        }
        let stats = self.stats.iter().copied().enumerate();
        facts::write_ftrace_stats(&mut self.out, true, stats)?;
        self.out.complete()
    }
}

/// Writes an event into its CPU's bundle.
#[inline]
fn write_event(
    plan: &EventPlan,
    record: &EventRecord<'_>,
    bundles: &mut Bundles,
    clock: &ClockMap,
    out: &mut Output,
) -> Result<Result<(), Unparsable>> {
    let cpu = match record.cpu.known() {
        Some(Cpu(cpu)) if cpu < MAX_CPUS => cpu as usize,
        Some(_) => return Ok(Err(Unparsable)),
        None => 0,
    };
    let bundle: &mut Bundle = bundles.of(cpu, record.time, out)?;
    let time = clock.ftrace_time(record.time);
    let current = bundle.current;
    Ok(
        match plan.write(&mut bundle.events, time, current, record) {
            Ok(next) => {
                bundle.current = next.or(current);
                bundle.written += 1;
                Ok(())
            }
            Err(Unparsable) => Err(Unparsable),
        },
    )
}

/// Lines of a number, a space and a text.
fn numbered_lines(text: &str) -> impl Iterator<Item = (i32, &str)> {
    text.lines().filter_map(|line| {
        let (number, rest) = line.trim_start().split_once(' ')?;
        Some((number.parse().ok()?, rest))
    })
}

impl FileOutput for PerfettoSink {
    fn report(&self) -> ConversionReport {
        let mut report = ConversionReport {
            facts_not_held: self.facts_not_held.clone(),
            lost: self.lost,
            ..ConversionReport::default()
        };
        for class in &self.classes {
            report.kept += class.kept;
            report.unparsable += class.unparsable;
            let not_held = class.not_held + class.unparsable;
            if not_held > 0 {
                *report.not_held.entry(class.name.clone()).or_default() += not_held;
            }
        }
        report
    }
}

impl Sink for PerfettoSink {
    fn session(&mut self, session: &SessionInfo) -> Result<()> {
        self.check_writing()?;
        self.clock = ClockMap::new(&session.clock);
        self.sources = session.sources.clone();
        let result = facts::write_session(&mut self.out, session).and_then(|()| {
            let cpus = session.host.cpus_available.min(MAX_CPUS) as usize;
            let none = (0..cpus).map(|cpu| (cpu, CpuStats::default()));
            facts::write_ftrace_stats(&mut self.out, false, none)?;
            session.sources.iter().try_for_each(|s| self.note_source(s))
        });
        self.noting_failure(result)
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
                unparsable: 0,
            });
        }
        if !matches!(self.classes[index].plan, Plan::Unannounced) {
            return Ok(());
        }
        let name = class.qualified_name();
        let plan = Plan::new(class, &mut self.samples);
        let left_out = plan.left_out().join(", ");
        if !left_out.is_empty() {
            self.note(format!("of {name}: {left_out}"));
        }
        let common = match &plan {
            Plan::Event(event) | Plan::Sample(_, Some(event)) => event.has_common_fields,
            _ => false,
        };
        if common {
            self.note("common_type and common_preempt_count of tracepoints".to_owned());
        }
        let account = &mut self.classes[index];
        account.name = name;
        account.plan = plan;
        Ok(())
    }

    #[inline]
    fn record(&mut self, record: &EventRecord<'_>) -> Result<()> {
        self.check_writing()?;
        let result = if self.timed {
            self.write_record(record)
        } else {
            self.wait_for_clock(record)
        };
        self.noting_failure(result)
    }

    fn loss(&mut self, loss: &Loss) -> Result<()> {
        self.check_writing()?;
        let begun = if self.timed {
            Ok(())
        } else {
            self.begin_times(loss.end)
        };
        let result = begun.and_then(|()| self.write_loss(loss));
        self.noting_failure(result)
    }

    fn clock_pair(&mut self, pair: &ClockPair) -> Result<()> {
        self.check_writing()?;
        let snapshot = self.clock.pair(pair);
        if pair.tai_ns != 0 || pair.tsc_cycles != 0 {
            self.note("the TAI and TSC readings of clock pairs, and their error bounds".to_owned());
        }
        let primary = self.clock.packet_clock_id();
        let mut result = facts::write_clocks(&mut self.out, &snapshot, primary);
        if result.is_ok() && !self.timed {
            let first = self.waiting.first().map_or(SessionTime::ZERO, |w| w.time);
            result = self.begin_times(first);
        }
        self.noting_failure(result)
    }

    fn finish(&mut self) -> Result<()> {
        self.check_writing()?;
        let result = self
            .complete()
            .map_err(|e| e.context("Perfetto trace not completed"));
        self.noting_failure(result)?;
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
