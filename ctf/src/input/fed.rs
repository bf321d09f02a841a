//! Packets that are handed over in memory, with metadata that grow: what a tracer at work gives.

use super::clock::{ClockMap, offset_ns, same, session_clock};
use super::describe::{self, key};
use super::plan::Shared;
use super::reader::{plan_of, probe};
use super::stream::{CtfStream, Progress, TracePlan};
use crate::ir::ClockClass;
use kstrace_schema::{
    Capture, ClassId, ClassRegistry, Cpu, Error, ErrorKind, EventRecordClass, LossReason,
    RecordStream, Result, SessionInfo, SessionTime, Sink, SourceId,
};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

/// What the metadata of a tracer at work describe so far.
pub struct FedTrace {
    source: SourceId,
    registry: Arc<ClassRegistry>,
    plan: Arc<TracePlan>,
    classes: Vec<Arc<EventRecordClass>>,
    /// Classes by their ids of stream and event.
    known: HashMap<(Option<u64>, Option<u64>), ClassId>,
    clock_names: Vec<String>,
    clocks: Vec<ClockMap>,
    times: Times,
}

/// What readings of the trace's clocks become.
enum Times {
    /// Session time as they are, in nanoseconds.
    AsTheyAre,
    /// Time on this clock, or since this many ns after 1970.
    Since(Option<Box<ClockClass>>, i128),
}

impl fmt::Debug for FedTrace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FedTrace")
            .field("source", &self.source)
            .field("classes", &self.classes.len())
            .finish_non_exhaustive()
    }
}

impl FedTrace {
    /// From the text of the metadata so far. Readings of its clocks become session
    /// time as they are, in nanoseconds: whoever feeds packets knows what clock they have.
    ///
    /// # Errors
    /// Metadata that cannot be parsed, or that say what cannot be; no class id left.
    pub fn new(text: &str, source: SourceId, registry: Arc<ClassRegistry>) -> Result<FedTrace> {
        Self::with_times(text, source, registry, Times::AsTheyAre)
    }

    fn with_times(
        text: &str,
        source: SourceId,
        registry: Arc<ClassRegistry>,
        times: Times,
    ) -> Result<FedTrace> {
        let mut trace = FedTrace {
            source,
            registry,
            plan: Arc::new(TracePlan {
                source,
                uuid: None,
                streams: BTreeMap::new(),
                only_stream: None,
                probe: Shared::default(),
            }),
            classes: Vec::new(),
            known: HashMap::new(),
            clock_names: Vec::new(),
            clocks: Vec::new(),
            times,
        };
        trace.grow(text)?;
        Ok(trace)
    }

    /// A session of another machine's or another tracer's, of which this is the first trace:
    /// what its metadata so far say of both. `None` while they describe no stream.
    ///
    /// # Errors
    /// As [`new`](FedTrace::new).
    pub fn begin_session(
        text: &str,
        source: SourceId,
        registry: Arc<ClassRegistry>,
    ) -> Result<Option<(SessionInfo, FedTrace)>> {
        let (class, _) = crate::metadata_so_far(text)?;
        if class.streams.is_empty() {
            return Ok(None);
        }
        let (clock, _) = session_clock(&[&class])?;
        let mut info = describe::source(&class, source, "", text);
        // There may be other traces in it, and the metadata will grow.
        info.attributes.remove(key::METADATA);
        info.attributes.remove(key::PATH);
        let times = Times::Since(
            class.clocks.first().cloned().map(Box::new),
            clock.offset_to_realtime_ns.into(),
        );
        let session = SessionInfo {
            uuid: describe::session_uuid(Some(&class), text),
            clock,
            host: describe::host(&[&class]),
            capture: Capture::default(),
            sources: vec![info],
        };
        let trace = Self::with_times(text, source, registry, times)?;
        Ok(Some((session, trace)))
    }

    /// A further trace of the session that this one began, with its own metadata.
    ///
    /// # Errors
    /// As [`new`](FedTrace::new).
    pub fn further(&self, text: &str) -> Result<FedTrace> {
        let times = match &self.times {
            Times::AsTheyAre => Times::AsTheyAre,
            Times::Since(clock, base_ns) => Times::Since(clock.clone(), *base_ns),
        };
        Self::with_times(text, self.source, Arc::clone(&self.registry), times)
    }

    /// A reading of the trace's clock, the first if it has several, as session time.
    pub fn time_of(&self, reading: u64) -> SessionTime {
        let clock = self.clocks.first().copied().unwrap_or(ClockMap::NONE);
        SessionTime::from_ns(clock.ns(reading))
    }

    /// The metadata have grown to `text`. Says how many classes are new: the last of
    /// [`classes`](FedTrace::classes). Packets pushed from now on are read by it.
    ///
    /// # Errors
    /// As [`new`](FedTrace::new); what was known before stays.
    pub fn grow(&mut self, text: &str) -> Result<usize> {
        // They are given out as they come: what of the last block is not there yet, comes.
        let (trace, _) = crate::metadata_so_far(text)?;
        let clocks: Vec<ClockMap> = trace
            .clocks
            .iter()
            .map(|clock| ClockMap {
                frequency_hz: clock.frequency_hz,
                shift_ns: self.times.shift_ns(clock),
            })
            .collect();
        let before = self.classes.len();
        let mut streams = BTreeMap::new();
        for stream in &trace.streams {
            let register = |class: EventRecordClass| {
                let number = |key| class.attributes.get(key).and_then(Value::as_u64);
                let place = (number(key::STREAM), number(key::EVENT));
                if let Some(id) = self.known.get(&place) {
                    return Ok(*id);
                }
                let class = self.registry.register(class).map_err(|e| e.to_string())?;
                let id = class.id;
                self.known.insert(place, id);
                self.classes.push(class);
                Ok(id)
            };
            let plan = plan_of(&trace, stream, &clocks, self.source, register)
                .map_err(|e| e.context(format!("metadata: stream {}", stream.id)))?;
            streams.insert(stream.id, Arc::new(plan));
        }
        self.clocks = clocks;
        self.clock_names = trace.clocks.iter().map(|c| c.name.clone()).collect();
        self.plan = Arc::new(TracePlan {
            source: self.source,
            uuid: trace.uuid,
            only_stream: match trace.streams.as_slice() {
                [only] => Some(only.id),
                _ => None,
            },
            streams,
            probe: probe(&trace).map_err(|e| e.context("metadata: packet.header"))?,
        });
        Ok(self.classes.len() - before)
    }

    /// The classes of all events so far, in the order in which they became known.
    pub fn classes(&self) -> &[Arc<EventRecordClass>] {
        &self.classes
    }

    /// The names of the trace's clocks.
    pub fn clock_names(&self) -> &[String] {
        &self.clock_names
    }

    /// The stream that a packet belongs to, ready for it and those that follow.
    ///
    /// # Errors
    /// When its header is not this trace's.
    pub fn stream_of(&self, packet: &[u8], cpu: Cpu) -> Result<FedStream> {
        let (id, _) = self.plan.stream_of(packet).map_err(|placed| {
            Error::new(
                placed.kind,
                format!("packet: {}: {}", placed.field, placed.reason),
            )
        })?;
        let progress = Arc::new(Progress::default());
        let inner = CtfStream::new(Arc::clone(&self.plan), id, cpu, Vec::new(), progress)
            .ok_or_else(|| {
                Error::new(
                    ErrorKind::InvalidData,
                    format!("no stream {id} in the metadata"),
                )
            })?;
        Ok(FedStream { inner })
    }
}

impl Times {
    fn shift_ns(&self, clock: &ClockClass) -> u64 {
        let Times::Since(first, base_ns) = self else {
            return 0;
        };
        let origin = match first {
            // One clock, whatever each trace measured its origin to be.
            Some(first) if same(first, clock) => first,
            _ => clock,
        };
        u64::try_from(offset_ns(origin) - base_ns).unwrap_or(0)
    }
}

/// A data stream whose packets are pushed, in order.
pub struct FedStream {
    inner: CtfStream,
}

impl fmt::Debug for FedStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl FedStream {
    /// Records that packets say were lost, were lost for this reason.
    #[must_use]
    pub fn with_loss_reason(mut self, reason: LossReason) -> Self {
        self.inner.set_loss_reason(reason);
        self
    }

    /// An empty buffer for a packet, with the memory of one that has been read if there is such.
    pub fn buffer(&mut self) -> Vec<u8> {
        self.inner.spare()
    }

    /// A packet, whole, with what `trace` knows by now.
    pub fn push(&mut self, packet: Vec<u8>, trace: &FedTrace) {
        self.inner.feed(packet, Arc::clone(&trace.plan));
    }

    /// Packets pushed of which nothing has been read.
    pub fn queued(&self) -> usize {
        self.inner.fed()
    }

    /// Gets a record to hand, if there is one: to be called after pushing. Loss that
    /// packets tell of goes to `sink`.
    ///
    /// # Errors
    /// A damaged packet, once; nothing after it is read. Those of `sink`.
    pub fn take_up(&mut self, sink: &mut dyn Sink) -> Result<()> {
        self.inner.take_up(sink)
    }

    /// The time of the record at hand.
    pub fn peek(&mut self) -> Option<SessionTime> {
        self.inner.peek()
    }

    /// Hands over, in order, every record at hand whose time is at most `until`.
    ///
    /// # Errors
    /// Those of `sink`.
    pub fn emit(&mut self, until: SessionTime, sink: &mut dyn Sink) -> Result<u64> {
        self.inner.emit(until, sink)
    }

    /// Records that the packets begun so far say were lost.
    pub fn lost(&self) -> u64 {
        self.inner.lost()
    }
}

/// The text of metadata as a tracer gives them out: text, or packets of text.
///
/// # Errors
/// Packets that are none, or are compressed, encrypted or cut.
pub fn metadata_text(bytes: &[u8]) -> Result<String> {
    match super::metadata::text(bytes) {
        (text, None) => Ok(text),
        (_, Some(reason)) => Err(Error::new(ErrorKind::InvalidData, reason)),
    }
}
