//! The source: a session of its own, from plan to removal.

use super::abi;
use super::metadata::Metadata;
use super::plan::KernelPlan;
use super::session::{Channel, Session};
use super::stream::CpuStream;
use super::tracer::Tracer;
use kstrace_schema::{
    ClassRegistry, ClockKind, Error, ErrorKind, EventRecordClass, RecordStream, Result, Sink,
    Source, SourceId, SourceInfo, namespace,
};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use zerocopy::FromZeros;

/// A sub-buffer that is not full is closed so often while nobody asks for it, in microseconds.
const SWITCH_TIMER_US: u32 = 100_000;
/// Readers are woken so often if there is something for them, in microseconds.
const READ_TIMER_US: u32 = 20_000;
/// Sub-buffers of the metadata, and the size of each in bytes.
const METADATA_GEOMETRY: (u64, u64) = (2, 4096);

/// What the source and its streams share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) source: SourceId,
    metadata: Mutex<Metadata>,
    /// Classes that were given to a sink.
    told: Mutex<usize>,
    /// By the tracer's clock, 0 for not yet.
    stopped_ns: AtomicU64,
}

impl Shared {
    /// Since when nothing is recorded any more.
    pub(super) fn stopped(&self) -> Option<u64> {
        // Pairs with the release in stop(): after it, the session is stopped.
        Some(self.stopped_ns.load(Ordering::Acquire)).filter(|ns| *ns > 0)
    }

    pub(super) fn metadata(&self) -> MutexGuard<'_, Metadata> {
        // What a panic leaves is what was there before the change.
        self.metadata.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The classes that no sink was given, of those that the caller cannot know to have
    /// been given; and how many there are by now. They count as given.
    pub(super) fn untold(&self, known: usize) -> (Vec<Arc<EventRecordClass>>, usize) {
        let metadata = self.metadata();
        let count = metadata.trace().map_or(0, |trace| trace.classes().len());
        if count == known {
            return (Vec::new(), count);
        }
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let new = metadata.classes(*told);
        *told = count;
        (new, count)
    }
}

/// LTTng's kernel tracer at work.
///
/// The session goes when the source and all of its streams are dropped.
#[derive(Debug)]
pub struct KernelSource {
    info: SourceInfo,
    plan: KernelPlan,
    shared: Arc<Shared>,
    session: Session,
    channel: Channel,
    /// Events are recorded as long as these are open.
    _events: Vec<OwnedFd>,
    streams_given: bool,
    running: bool,
}

impl KernelSource {
    /// Makes a session and sets it up as planned, not yet recording.
    ///
    /// # Errors
    /// With the cause: no modules, not root, an ABI that is not known, an event or a
    /// context that the tracer refuses, no memory for the rings.
    pub fn open(
        plan: KernelPlan,
        source: SourceId,
        registry: Arc<ClassRegistry>,
    ) -> Result<KernelSource> {
        let tracer = Tracer::open()?;
        if plan.events.is_empty() {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                "no LTTng event to record",
            ));
        }
        let session = tracer.session()?;
        session.set_name("kstrace", &super::session::creation_time());
        let metadata = session.metadata_channel(&settings(METADATA_GEOMETRY))?;
        let metadata = Metadata::new(metadata, source, registry)?;
        let channel = session.channel(&abi::Channel {
            switch_timer_us: SWITCH_TIMER_US,
            read_timer_us: READ_TIMER_US,
            ..settings(plan.geometry())
        })?;
        for context in &plan.contexts {
            channel.add_context(*context)?;
        }
        let events = plan
            .events
            .iter()
            .map(|event| channel.enable(event))
            .collect::<Result<Vec<_>>>()?;
        for pid in &plan.pids {
            session.track(*pid)?;
        }
        let mut info = SourceInfo {
            id: source,
            kind: namespace::LTTNG.to_owned(),
            description: format!("{} through /proc/lttng", tracer.version()),
            attributes: Default::default(),
        };
        let (major, minor) = tracer.version().abi;
        let (count, size_bytes) = plan.geometry();
        for (key, value) in [
            ("lttng.modules", tracer.version().to_string().into()),
            ("lttng.abi", format!("{major}.{minor}").into()),
            ("lttng.sub_buffers", count.into()),
            ("lttng.sub_buffer_size_bytes", size_bytes.into()),
        ] {
            info.attributes.insert(key.to_owned(), value);
        }
        Ok(KernelSource {
            info,
            plan,
            shared: Arc::new(Shared {
                source,
                metadata: Mutex::new(metadata),
                told: Mutex::new(0),
                stopped_ns: AtomicU64::new(0),
            }),
            session,
            channel,
            _events: events,
            streams_given: false,
            running: false,
        })
    }
}

fn settings((count, size_bytes): (u64, u64)) -> abi::Channel {
    let mut settings = abi::Channel::new_zeroed();
    settings.num_subbuf = count;
    settings.subbuf_size_bytes = size_bytes;
    settings.output = abi::Channel::OUTPUT_MMAP;
    settings
}

impl Source for KernelSource {
    fn info(&self) -> &SourceInfo {
        &self.info
    }

    fn streams(&mut self, _: &mut dyn Sink) -> Result<Vec<Box<dyn RecordStream>>> {
        if std::mem::replace(&mut self.streams_given, true) {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                "the streams were handed over before",
            ));
        }
        let mut streams: Vec<Box<dyn RecordStream>> = Vec::new();
        let mut there = Vec::new();
        for ring in self.channel.rings()? {
            let cpu = ring
                .cpu()
                .map_err(|e| Error::io("CPU of an LTTng ring", e))?;
            there.push(cpu);
            if self
                .plan
                .cpus
                .as_ref()
                .is_none_or(|cpus| cpus.contains(&cpu))
            {
                streams.push(Box::new(CpuStream::new(ring, cpu, &self.shared)));
            }
        }
        let wanted = self.plan.cpus.iter().flatten();
        if let Some(cpu) = wanted.clone().find(|cpu| !there.contains(cpu)) {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                format!("no CPU {cpu}: LTTng has {there:?}"),
            ));
        }
        Ok(streams)
    }

    fn start(&mut self) -> Result<()> {
        self.session.start()?;
        self.running = true;
        // Only a started session has metadata.
        let mut metadata = self.shared.metadata();
        metadata.refresh()?;
        match metadata.trace() {
            Some(_) => Ok(()),
            None => Err(Error::new(
                ErrorKind::InvalidData,
                "LTTng gives no metadata for the session it has started",
            )),
        }
    }

    fn stop(&mut self) -> Result<()> {
        if !std::mem::replace(&mut self.running, false) {
            return Ok(());
        }
        let stopped = self.session.stop();
        // In any case: the streams come to an end by it.
        let now_ns = kstrace_clock::read_ns(ClockKind::Monotonic);
        self.shared.stopped_ns.store(now_ns, Ordering::Release);
        stopped
    }
}

impl Drop for KernelSource {
    fn drop(&mut self) {
        // Its streams may live on; nobody can stop it for them then.
        let _ = self.stop();
    }
}
