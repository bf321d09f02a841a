//! The live source.

use crate::classes::{RecordClasses, SampleClasses};
use crate::exact::{self, ExactPlan};
use crate::id_table::IdTable;
use crate::layout::{RecordForm, SampleIdShape};
use crate::mmap::MappedRing;
use crate::open::{self, CpuEvents, Opened, OpenedEvent};
use crate::plan::{PerfPlan, Target};
use crate::ring::{RingStream, Shared};
use crate::synth::SynthStream;
use crate::uapi::*;
use crate::{PerfError, own, sys};
use kstrace_clock::read_ns;
use kstrace_schema::{
    ClassRegistry, ClockKind, EventRecordClass, RecordStream, Result, Sink, Source, SourceId,
    SourceInfo, namespace,
};
use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// perf events, recorded live.
///
/// One stream a CPU, and one without a CPU for what ran before (with
/// [`PerfPlan::sideband`]). `PERF_RECORD_LOST` and `PERF_RECORD_LOST_SAMPLES`
/// become [`Loss`](kstrace_schema::Loss); every other record goes on as the
/// kernel wrote it.
///
/// # Who records the recorder
///
/// With [`PerfPlan::exclude_own`] the tracepoints that this process hits are left
/// out by a kernel filter on the thread ids it has when [`start`](Source::start)
/// is called; threads that begin later are recorded. Samples of other events that
/// fall on this process are kept: they tell truly where the machine's time goes,
/// and the kernel has no filter for them.
///
/// # A process that is about to run
///
/// For [`Target::Command`] the kernel itself begins to record at the process's
/// `execve`; [`start`](Source::start) is still to be called before that.
#[derive(Debug)]
pub struct PerfSource {
    info: SourceInfo,
    target: Target,
    exclude_own: bool,
    sideband: bool,
    /// Whether the start enables all events; `None` leaves it to the target.
    enable_all: Option<bool>,
    events: Vec<OpenedEvent>,
    cpus: Vec<Arc<CpuEvents>>,
    rings: Vec<MappedRing>,
    shared: Arc<Shared>,
    /// When recording began, for what is synthesized; 0 before.
    start_ns: Arc<AtomicU64>,
    notes: Vec<String>,
}

/// What a source must know beside its open events.
struct About {
    target: Target,
    clock: ClockKind,
    grace_ns: u64,
    exclude_own: bool,
    synthesize: bool,
    enable_all: Option<bool>,
}

impl PerfSource {
    /// Opens all events of the plan, disabled, and maps the rings.
    ///
    /// # Errors
    /// What cannot be had is named, with the least change that would help. What
    /// can be done without is left out and told in [`notes`](PerfSource::notes).
    pub fn open(
        plan: PerfPlan,
        id: SourceId,
        registry: Arc<ClassRegistry>,
    ) -> Result<Self, PerfError> {
        let opened = open::open(&plan)?;
        let about = About {
            target: plan.target,
            clock: plan.clock,
            grace_ns: plan.grace_ns,
            exclude_own: plan.exclude_own,
            synthesize: plan.sideband,
            enable_all: None,
        };
        Self::of_opened(opened, about, id, registry)
    }

    /// Opens events whose attrs are given whole, disabled as those say, and maps the rings.
    ///
    /// # Errors
    /// As [`open`](PerfSource::open).
    pub fn open_exact(
        plan: ExactPlan,
        id: SourceId,
        registry: Arc<ClassRegistry>,
    ) -> Result<Self, PerfError> {
        let opened = exact::open(&plan)?;
        let about = About {
            target: plan.target,
            clock: plan.clock,
            grace_ns: crate::DEFAULT_GRACE_NS,
            exclude_own: false,
            synthesize: true,
            enable_all: Some(plan.enable_at_start),
        };
        Self::of_opened(opened, about, id, registry)
    }

    /// Enables all events now, those of children included.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn enable_all(&self) -> Result<(), PerfError> {
        self.switch(true, true)?;
        self.switch(false, true)
    }

    /// The events as the kernel took them: name and attr of each.
    pub fn opened(&self) -> impl Iterator<Item = (&str, &crate::attr::Attr)> {
        self.events.iter().map(|e| (e.name.as_str(), &e.attr))
    }

    fn of_opened(
        opened: Opened,
        about: About,
        id: SourceId,
        registry: Arc<ClassRegistry>,
    ) -> Result<Self, PerfError> {
        let samples: Vec<SampleClasses> = opened
            .events
            .iter()
            .map(|event| SampleClasses::register(event, id, &registry))
            .collect::<Result<_>>()
            .map_err(PerfError::Registry)?;
        let ids: Vec<(u64, u32)> = opened
            .events
            .iter()
            .zip(0u32..)
            .flat_map(|(event, number)| event.ids.iter().map(move |id| (*id, number)))
            .collect();
        let tracking = opened.events.iter().find(|e| e.attr.has(flag::TASK));
        let sideband = opened.sideband.as_ref().or(tracking);
        let shape_of = |event: &OpenedEvent| SampleIdShape::new(event.attr.sample_type);
        let trailer = sideband
            .or(opened.events.first())
            .map_or(SampleIdShape::NONE, shape_of);
        let trailers: Vec<SampleIdShape> = opened.events.iter().map(shape_of).collect();
        let records = RecordClasses::new(id, &registry, trailer, sideband);
        const VALUE_ID_LOST: u64 = PERF_FORMAT_ID | PERF_FORMAT_LOST;
        let shared = Shared {
            source: id,
            clock: about.clock,
            grace_ns: about.grace_ns,
            trailers: trailers.iter().any(|t| *t != trailer).then_some(trailers),
            tells_loss: opened
                .events
                .iter()
                .all(|e| e.attr.read_format == VALUE_ID_LOST),
            stopped: AtomicBool::new(false),
            late: AtomicU64::new(0),
            ids: IdTable::new(&ids),
            samples,
            records,
        };
        let (cpus, rings): (Vec<_>, Vec<_>) = opened
            .cpus
            .into_iter()
            .map(|(cpu, ring)| (Arc::new(cpu), ring))
            .unzip();
        let names: Vec<&str> = opened.events.iter().map(|e| e.name.as_str()).collect();
        let ring_kib = rings.first().map_or(0, MappedRing::size_bytes) >> 10;
        let info = SourceInfo {
            id,
            kind: namespace::PERF.to_owned(),
            description: format!(
                "perf_event_open: {} on {} CPUs, {ring_kib} KiB of ring each",
                names.join(", "),
                cpus.len()
            ),
            attributes: BTreeMap::new(),
        };
        Ok(PerfSource {
            info,
            target: about.target,
            exclude_own: about.exclude_own,
            sideband: about.synthesize,
            enable_all: about.enable_all,
            events: opened.events,
            cpus,
            rings,
            shared: Arc::new(shared),
            start_ns: Arc::new(AtomicU64::new(0)),
            notes: opened.notes,
        })
    }

    /// What the user should know: fallbacks, features this kernel lacks, limits raised.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The classes of the events' samples, in the order of the plan.
    pub fn sample_classes(&self) -> Vec<Arc<EventRecordClass>> {
        self.shared
            .samples
            .iter()
            .map(|s| Arc::clone(s.regular()))
            .collect()
    }

    /// Records that took longer from their time stamp to the ring than
    /// [`PerfPlan::grace_ns`]. They were delivered, but stand in the order of
    /// records at the time by which they were due; their payload has the true time.
    pub fn late_records(&self) -> u64 {
        self.shared.late.load(Ordering::Relaxed)
    }

    /// Number of event descriptors that are open.
    pub fn open_event_count(&self) -> usize {
        self.cpus.iter().map(|cpu| cpu.events.len()).sum()
    }

    /// Leaves the threads that this process has now out of the tracepoints.
    fn leave_out_own(&mut self) -> Result<(), PerfError> {
        for (index, event) in self.events.iter().enumerate() {
            // The filters of function tracing know no fields.
            if event.attr.kind != PERF_TYPE_TRACEPOINT || event.name.starts_with("ftrace:function")
            {
                continue;
            }
            let Some(filter) = own::filter_without_own(event.filter.as_deref()) else {
                continue;
            };
            for (_, fd) in self
                .cpus
                .iter()
                .flat_map(|cpu| &cpu.events)
                .filter(|(of, _)| *of == Some(index))
            {
                if let Err(e) = open::set_filter(fd.as_fd(), &event.name, &filter) {
                    self.notes
                        .push(format!("the recorder itself is recorded: {e}"));
                    break;
                }
            }
        }
        Ok(())
    }

    /// Enables or disables sideband or samples.
    fn switch(&self, sideband: bool, on: bool) -> Result<(), PerfError> {
        let events = self.cpus.iter().flat_map(|cpu| &cpu.events);
        for (_, fd) in events.filter(|(of, _)| of.is_none() == sideband) {
            let result = if on {
                sys::enable(fd.as_fd())
            } else {
                sys::disable(fd.as_fd())
            };
            result.map_err(|e| {
                let what = if on {
                    "cannot enable an event"
                } else {
                    "cannot disable an event"
                };
                PerfError::io(what, e)
            })?;
        }
        Ok(())
    }
}

/// Forms of records that nearly every recording has, announced at the start.
fn usual_forms() -> [RecordForm; 7] {
    let form = |record_type, build_id| RecordForm {
        record_type,
        build_id,
    };
    [
        form(PERF_RECORD_MMAP, false),
        form(PERF_RECORD_MMAP2, false),
        form(PERF_RECORD_MMAP2, true),
        form(PERF_RECORD_COMM, false),
        form(PERF_RECORD_FORK, false),
        form(PERF_RECORD_EXIT, false),
        form(PERF_RECORD_KSYMBOL, false),
    ]
}

impl Source for PerfSource {
    fn info(&self) -> &SourceInfo {
        &self.info
    }

    fn streams(&mut self, sink: &mut dyn Sink) -> Result<Vec<Box<dyn RecordStream>>> {
        let mut classes = self.sample_classes();
        if self.sideband {
            for form in usual_forms() {
                classes.push(self.shared.records.of_form(form)?.class);
            }
        }
        for class in &classes {
            sink.class(class)?;
        }
        let mut streams: Vec<Box<dyn RecordStream>> = Vec::new();
        for (cpu, ring) in self.cpus.iter().zip(self.rings.drain(..)) {
            let mut stream = RingStream::new(Arc::clone(&self.shared), Arc::clone(cpu), ring);
            classes.iter().for_each(|class| stream.announced(class.id));
            streams.push(Box::new(stream));
        }
        if self.sideband {
            let start_ns = Arc::clone(&self.start_ns);
            let mut stream =
                SynthStream::new(Arc::clone(&self.shared), self.target.clone(), start_ns);
            classes.iter().for_each(|class| stream.announced(class.id));
            streams.push(Box::new(stream));
        }
        Ok(streams)
    }

    fn start(&mut self) -> Result<()> {
        if self.exclude_own {
            self.leave_out_own()?;
        }
        let now_ns = read_ns(self.shared.clock);
        let by_target = !matches!(self.target, Target::Command(_));
        if self.enable_all.unwrap_or(by_target) {
            self.enable_all()?;
        }
        self.start_ns.store(now_ns.max(1), Ordering::Release);
        Ok(())
    }

    fn stop(&mut self) -> Result<()> {
        // Samples first, so that no sample lacks the sideband that explains it.
        self.switch(false, false)?;
        self.switch(true, false)?;
        self.shared.stopped.store(true, Ordering::Release);
        Ok(())
    }
}
