//! The records of one input among those of others: other ids, another clock.

use kstrace_schema::builtin::{self, LostPayload};
use kstrace_schema::{
    ClassId, ClassRegistry, ClockPair, Cpu, EventRecord, EventRecordClass, Fill, HopAccount, Loss,
    RecordStream, Result, SessionInfo, SessionTime, Sink, SourceId, namespace,
};
use std::os::fd::BorrowedFd;
use std::sync::{Arc, Mutex, PoisonError};
use zerocopy::{FromBytes, IntoBytes};

/// How one input's ids and times become those of the merged session.
#[derive(Debug)]
pub(super) struct Mapping {
    /// Classes of the merged session.
    registry: Arc<ClassRegistry>,
    /// Sources of the input begin here in the merged session. kstrace itself is one for all.
    sources_begin: u16,
    /// To be added to the input's times, in nanoseconds.
    offset_ns: i64,
    /// By the input's class id: the id in the merged session, and whether it is `kstrace:lost`.
    classes: Mutex<Vec<Option<(ClassId, bool)>>>,
}

impl Mapping {
    pub(super) fn new(registry: Arc<ClassRegistry>, sources_begin: u16, offset_ns: i64) -> Self {
        Mapping {
            registry,
            sources_begin,
            offset_ns,
            classes: Mutex::default(),
        }
    }

    pub(super) fn source(&self, id: SourceId) -> SourceId {
        if id == SourceId::KSTRACE {
            id
        } else {
            SourceId(id.0.saturating_add(self.sources_begin))
        }
    }

    #[inline]
    pub(super) fn time(&self, time: SessionTime) -> SessionTime {
        if time == SessionTime::MAX {
            return time;
        }
        SessionTime::from_ns(time.as_ns().saturating_add_signed(self.offset_ns))
    }

    /// The input's time that becomes `time`.
    fn time_back(&self, time: SessionTime) -> SessionTime {
        if time == SessionTime::MAX {
            return time;
        }
        match self.offset_ns.checked_neg() {
            Some(back) => SessionTime::from_ns(time.as_ns().saturating_add_signed(back)),
            None => time,
        }
    }

    fn table(&self) -> std::sync::MutexGuard<'_, Vec<Option<(ClassId, bool)>>> {
        // A push is all that changes it: never half done.
        self.classes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn class(&self, class: &EventRecordClass) -> Result<Arc<EventRecordClass>> {
        let mut mapped = class.clone();
        mapped.source = self.source(class.source);
        let registered = self.registry.register(mapped)?;
        let lost = class.namespace == namespace::KSTRACE && class.name == builtin::LOST;
        let mut table = self.table();
        let index = usize::from(class.id.0);
        if table.len() <= index {
            table.resize(index + 1, None);
        }
        table[index] = Some((registered.id, lost));
        Ok(registered)
    }

    fn class_id(&self, id: ClassId) -> Option<ClassId> {
        self.table()
            .get(usize::from(id.0))
            .copied()
            .flatten()
            .map(|c| c.0)
    }

    pub(super) fn account(&self, account: &HopAccount) -> HopAccount {
        HopAccount {
            source: self.source(account.source),
            ..account.clone()
        }
    }
}

/// Takes what one input says and says it to the sink of all.
pub(super) struct RemapSink<'s> {
    pub(super) mapping: &'s Mapping,
    /// A copy of the mapping's table, so that a record needs no lock.
    pub(super) known: Vec<Option<(ClassId, bool)>>,
    pub(super) inner: &'s mut dyn Sink,
}

impl<'s> RemapSink<'s> {
    pub(super) fn new(mapping: &'s Mapping, inner: &'s mut dyn Sink) -> Self {
        RemapSink {
            known: Vec::new(),
            mapping,
            inner,
        }
    }
}

impl Sink for RemapSink<'_> {
    fn session(&mut self, _: &SessionInfo) -> Result<()> {
        Ok(())
    }

    fn class(&mut self, class: &Arc<EventRecordClass>) -> Result<()> {
        let mapped = self.mapping.class(class)?;
        self.known.clear();
        self.inner.class(&mapped)
    }

    #[inline]
    fn record(&mut self, record: &EventRecord<'_>) -> Result<()> {
        let index = usize::from(record.class.0);
        if self.known.get(index).copied().flatten().is_none() {
            self.known.clone_from(&self.mapping.table());
        }
        let (class, lost) = match self.known.get(index).copied().flatten() {
            Some(found) => found,
            // An input that breaks its promise; the sink says so.
            None => (ClassId(u16::MAX), false),
        };
        let mut record = EventRecord {
            class,
            time: self.mapping.time(record.time),
            ..*record
        };
        if lost && let Ok((mut payload, _)) = LostPayload::read_from_prefix(record.payload) {
            payload.source = self.mapping.source(SourceId(payload.source)).0;
            payload.class_id = self
                .mapping
                .class_id(ClassId(payload.class_id))
                .map_or(u16::MAX, |c| c.0);
            let time = |ns| self.mapping.time(SessionTime::from_ns(ns)).as_ns();
            payload.begin_ns = time(payload.begin_ns);
            payload.end_ns = time(payload.end_ns);
            record.payload = payload.as_bytes();
            return self.inner.record(&record);
        }
        self.inner.record(&record)
    }

    fn loss(&mut self, loss: &Loss) -> Result<()> {
        self.inner.loss(&Loss {
            source: self.mapping.source(loss.source),
            class: loss.class.and_then(|c| self.mapping.class_id(c)),
            begin: self.mapping.time(loss.begin),
            end: self.mapping.time(loss.end),
            ..loss.clone()
        })
    }

    fn clock_pair(&mut self, pair: &ClockPair) -> Result<()> {
        self.inner.clock_pair(pair)
    }

    fn account(&mut self, account: &HopAccount) -> Result<()> {
        self.inner.account(&self.mapping.account(account))
    }
}

/// A stream of one input among those of others.
pub(super) struct RemapStream {
    pub(super) stream: Box<dyn RecordStream>,
    pub(super) mapping: Arc<Mapping>,
    known: Vec<Option<(ClassId, bool)>>,
}

impl RemapStream {
    pub(super) fn new(stream: Box<dyn RecordStream>, mapping: Arc<Mapping>) -> Self {
        RemapStream {
            stream,
            mapping,
            known: Vec::new(),
        }
    }

    /// Calls the stream with a sink that maps, whose table is kept from call to call.
    fn with<R>(
        &mut self,
        sink: &mut dyn Sink,
        call: impl FnOnce(&mut dyn RecordStream, &mut dyn Sink) -> R,
    ) -> R {
        let mut remap = RemapSink {
            mapping: &self.mapping,
            known: std::mem::take(&mut self.known),
            inner: sink,
        };
        let result = call(self.stream.as_mut(), &mut remap);
        self.known = remap.known;
        result
    }
}

impl RecordStream for RemapStream {
    fn source(&self) -> SourceId {
        self.mapping.source(self.stream.source())
    }

    fn cpu(&self) -> Cpu {
        self.stream.cpu()
    }

    fn wakeup(&self) -> Option<BorrowedFd<'_>> {
        self.stream.wakeup()
    }

    fn fill(&mut self, sink: &mut dyn Sink) -> Result<Fill> {
        let fill = self.with(sink, |stream, sink| stream.fill(sink))?;
        Ok(Fill {
            complete_until: self.mapping.time(fill.complete_until),
            ..fill
        })
    }

    fn peek(&mut self) -> Option<SessionTime> {
        self.stream.peek().map(|t| self.mapping.time(t))
    }

    fn emit(&mut self, until: SessionTime, sink: &mut dyn Sink) -> Result<u64> {
        let until = self.mapping.time_back(until);
        self.with(sink, |stream, sink| stream.emit(until, sink))
    }

    fn finish(&mut self, sink: &mut dyn Sink) -> Result<HopAccount> {
        let account = self.with(sink, |stream, sink| stream.finish(sink))?;
        Ok(self.mapping.account(&account))
    }
}
