//! The source: an instance of its own, from plan to removal.

use super::border;
use super::catalog::{KernelFormats, announce};
use super::losses::Losses;
use super::plan::{FtracePlan, TracerKind};
use super::setup::{set_buffer_percent, set_up, trace_clock};
use super::stream::CpuStream;
use super::target::Target;
use super::timeline::Timeline;
use super::trace_time::TraceTime;
use crate::classes::{ClassBook, ClassTable};
use kstrace_schema::{
    ByteOrder, ClassRegistry, ClockKind, Cpu, Error, ErrorKind, RecordStream, Result, Sink, Source,
    SourceId, SourceInfo, namespace,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tracefs::{EventName, PageLayout, TraceArray, Tracefs};

/// What the source and its streams share. The instance is removed when the last of them goes.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) source: SourceId,
    pub(super) layout: PageLayout,
    pub(super) sub_buffer_size_bytes: usize,
    target: Target,
    timeline: Option<Arc<Timeline>>,
    /// ns of the session clock, 0 for not yet.
    started_ns: AtomicU64,
    stopped_ns: AtomicU64,
}

impl Shared {
    pub(super) fn started_ns(&self) -> Option<u64> {
        // Pairs with the release in start().
        Some(self.started_ns.load(Ordering::Acquire)).filter(|ns| *ns > 0)
    }

    /// Since when nothing is recorded any more.
    pub(super) fn stopped(&self) -> Option<u64> {
        // Pairs with the release in stop(): after it, tracing is off.
        Some(self.stopped_ns.load(Ordering::Acquire)).filter(|ns| *ns > 0)
    }
}

/// How far record times mapped from cycles may be off, at any moment.
#[derive(Clone, Debug)]
pub struct ClockErrorBound(Option<Arc<Timeline>>);

impl ClockErrorBound {
    /// Bound of the error so far, in nanoseconds; 0 where the records are
    /// stamped with the session clock itself.
    pub fn ns(&self) -> u64 {
        self.0
            .as_ref()
            .map_or(0, |timeline| timeline.error_bound_ns())
    }
}

/// ftrace at work.
///
/// The instance is removed when the source and all of its streams are dropped.
#[derive(Debug)]
pub struct FtraceSource {
    plan: FtracePlan,
    info: SourceInfo,
    cpus: Vec<u32>,
    book: Arc<ClassBook>,
    shared: Arc<Shared>,
    tracefs: Tracefs,
    streams_given: bool,
}

impl FtraceSource {
    /// Makes a private instance and sets it up as planned, not yet recording.
    /// Removes instances that crashed recorders have left behind.
    ///
    /// # Errors
    /// With the cause from tracefs: not there, no permission, an unknown event,
    /// a filter that the kernel refuses, a clock or tracer that it does not have.
    pub fn open(
        plan: FtracePlan,
        source_id: SourceId,
        registry: Arc<ClassRegistry>,
    ) -> Result<Self> {
        let tracefs = Tracefs::discover().map_err(|e| border("ftrace cannot be used", e))?;
        Self::open_in(tracefs, plan, source_id, registry)
    }

    /// The same with a tracefs that was found before.
    pub fn open_in(
        tracefs: Tracefs,
        plan: FtracePlan,
        source_id: SourceId,
        registry: Arc<ClassRegistry>,
    ) -> Result<Self> {
        let clock = trace_clock(plan.clock)?;
        // Somebody else's leftovers are no reason to fail.
        let _ = tracefs.reap_orphans(crate::INSTANCE_PREFIX);
        let catalog = tracefs
            .events()
            .map_err(|e| border("events of ftrace", e))?;
        let formats = Box::new(KernelFormats(catalog.clone()));
        let book = Arc::new(ClassBook::new(
            source_id,
            registry,
            formats,
            ByteOrder::NATIVE,
        ));
        for choice in &plan.events {
            announce(
                &book,
                &catalog,
                &EventName::new(&choice.system, &choice.name),
            )?;
        }
        for name in tracer_records(&plan) {
            announce(&book, &catalog, &EventName::new("ftrace", *name))?;
        }
        let layout = tracefs
            .page_layout()
            .map_err(|e| border("layout of ftrace's pages", e))?;
        let instance = Target::choose(&tracefs, &plan)?;
        let cpus = choose_cpus(&instance, plan.cpus.as_deref())?;
        set_up(&instance, &catalog, &plan, &cpus)?;
        let sub_buffer_size_bytes = instance
            .sub_buffer_size_bytes()
            .map_err(|e| border("size of a sub-buffer", e))?;

        let mut info = SourceInfo {
            id: source_id,
            kind: namespace::FTRACE.to_owned(),
            description: format!("{instance}, tracefs {}", tracefs.origin()),
            attributes: Default::default(),
        };
        let mut keep = |key: &str, text: String| {
            info.attributes.insert(format!("ftrace.{key}"), text.into());
        };
        keep("trace_clock", clock.to_owned());
        keep("header_page", tracefs.header_page().unwrap_or_default());
        keep("header_event", tracefs.header_event().unwrap_or_default());
        keep(
            "printk_formats",
            tracefs.printk_formats().unwrap_or_default(),
        );
        let total = instance.buffer_total_size_kib().unwrap_or_default();
        info.attributes
            .insert("ftrace.buffer_total_size_kib".to_owned(), total.into());
        info.attributes.insert(
            "ftrace.sub_buffer_size_bytes".to_owned(),
            sub_buffer_size_bytes.into(),
        );
        info.attributes
            .insert("ftrace.overwrite".to_owned(), plan.overwrite.into());

        let timeline = (plan.clock == ClockKind::Tsc).then(|| Arc::new(Timeline::default()));
        Ok(FtraceSource {
            shared: Arc::new(Shared {
                source: source_id,
                layout,
                sub_buffer_size_bytes,
                target: instance,
                timeline,
                started_ns: AtomicU64::new(0),
                stopped_ns: AtomicU64::new(0),
            }),
            plan,
            info,
            cpus,
            book,
            tracefs,
            streams_given: false,
        })
    }

    /// The name of its instance.
    pub fn instance_name(&self) -> &str {
        self.shared.target.name()
    }

    /// Its trace array, to look at or to change while it records.
    pub fn trace_array(&self) -> &TraceArray {
        &self.shared.target
    }

    /// Sets how full a buffer must be, in percent, for a stream to wake its
    /// reader; 0 for any record. May be called at any time.
    pub fn set_buffer_percent(&self, percent: u8) -> Result<()> {
        set_buffer_percent(&self.shared.target, percent)
            .map_err(|e| border("wake-up level of the ftrace buffers", e))
    }

    /// How far its records' times may be off; to be asked at any time, also
    /// after the source has gone.
    pub fn clock_error_bound(&self) -> ClockErrorBound {
        ClockErrorBound(self.shared.timeline.clone())
    }

    fn session_now_ns(&self) -> u64 {
        kstrace_clock::read_ns(match self.plan.clock {
            ClockKind::Tsc => ClockKind::Monotonic,
            kind => kind,
        })
    }
}

impl Source for FtraceSource {
    fn info(&self) -> &SourceInfo {
        &self.info
    }

    fn streams(&mut self, sink: &mut dyn Sink) -> Result<Vec<Box<dyn RecordStream>>> {
        if std::mem::replace(&mut self.streams_given, true) {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                "the streams were handed over before",
            ));
        }
        for class in self.book.classes() {
            sink.class(&class)?;
        }
        let instance: &TraceArray = &self.shared.target;
        let mut streams: Vec<Box<dyn RecordStream>> = Vec::with_capacity(self.cpus.len());
        for cpu in &self.cpus {
            let failed = |e| border(format!("ftrace buffer of CPU {cpu}"), e);
            let stats = instance.open_stats(*cpu).map_err(failed)?;
            streams.push(Box::new(CpuStream::new(
                &self.shared,
                instance.open_raw_pipe(*cpu).map_err(failed)?,
                Losses::new(self.shared.source, Cpu(*cpu), stats),
                TraceTime::new(self.plan.clock, self.shared.timeline.as_ref()),
                ClassTable::new(Arc::clone(&self.book)),
            )));
        }
        Ok(streams)
    }

    fn start(&mut self) -> Result<()> {
        if let Some(timeline) = &self.shared.timeline {
            timeline.pair_now();
        }
        self.shared
            .started_ns
            .store(self.session_now_ns(), Ordering::Release);
        self.shared
            .target
            .set_tracing_on(true)
            .map_err(|e| border("ftrace cannot be started", e))
    }

    fn set_idle(&mut self, idle: bool) -> Result<()> {
        self.set_buffer_percent(if idle { 0 } else { self.plan.buffer_percent })
    }

    fn stop(&mut self) -> Result<()> {
        self.shared
            .target
            .set_tracing_on(false)
            .map_err(|e| border("ftrace cannot be stopped", e))?;
        self.shared
            .stopped_ns
            .store(self.session_now_ns(), Ordering::Release);
        let names = self.tracefs.saved_cmdlines().unwrap_or_default();
        self.info
            .attributes
            .insert("ftrace.saved_cmdlines".to_owned(), names.into());
        Ok(())
    }
}

impl Drop for FtraceSource {
    fn drop(&mut self) {
        // Its streams may live on; nobody can stop it for them then.
        if self.shared.stopped().is_none() {
            let _ = self.stop();
        }
    }
}

/// The kinds of records that a tracer makes.
fn tracer_records(plan: &FtracePlan) -> &'static [&'static str] {
    match plan.tracer.as_ref().map(|tracer| tracer.kind) {
        None => &[],
        Some(TracerKind::Function) => &["function"],
        Some(TracerKind::FunctionGraph) => &["funcgraph_entry", "funcgraph_exit"],
    }
}

/// The CPUs to read: those asked for, else those that are online.
fn choose_cpus(instance: &TraceArray, wanted: Option<&[u32]>) -> Result<Vec<u32>> {
    let there = instance
        .buffer_cpus()
        .map_err(|e| border("CPUs of ftrace", e))?;
    let Some(wanted) = wanted else {
        let online = std::fs::read_to_string("/sys/devices/system/cpu/online");
        let online = parse_cpu_list(&online.unwrap_or_default());
        let chosen: Vec<u32> = there
            .iter()
            .copied()
            .filter(|cpu| online.contains(cpu))
            .collect();
        return Ok(if chosen.is_empty() { there } else { chosen });
    };
    let mut chosen = wanted.to_vec();
    chosen.sort_unstable();
    chosen.dedup();
    match chosen.iter().find(|cpu| !there.contains(cpu)) {
        _ if chosen.is_empty() => Err(Error::new(ErrorKind::InvalidInput, "no CPU to record on")),
        None => Ok(chosen),
        Some(cpu) => {
            let there: Vec<String> = there.iter().map(ToString::to_string).collect();
            let there = there.join(", ");
            Err(Error::new(
                ErrorKind::InvalidInput,
                format!("no CPU {cpu}: there are {there}"),
            ))
        }
    }
}

/// A list as in `/sys/devices/system/cpu/online`: `0-3,8`.
fn parse_cpu_list(text: &str) -> Vec<u32> {
    /// More CPUs than Linux can have.
    const LIMIT: u32 = 1 << 16;
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (first.parse::<u32>().ok()?, last.parse::<u32>().ok()?);
        (last < LIMIT).then_some(first..=last)
    };
    text.trim().split(',').filter_map(range).flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_lists() {
        assert_eq!(parse_cpu_list("0-1\n"), [0, 1]);
        assert_eq!(parse_cpu_list("0,2-4,9"), [0, 2, 3, 4, 9]);
        assert!(parse_cpu_list("").is_empty());
        assert!(parse_cpu_list("0-4294967295").is_empty());
    }
}
