//! From a record's bytes to its class, time and CPU.

use super::classes::{ClassMaker, EventClasses, OtherClass, OtherKey, lost_sample_key};
use super::events::{FileEvent, MAX_EVENTS, MAX_IDS};
use super::order::{Order, RecordHead};
use crate::classes::Announced;
use crate::id_table::IdTable;
use crate::layout::{RawPlace, RecordForm, SampleIdShape, SampleShape};
use crate::uapi::{self, HEADER_BYTES};
use kstrace_schema::{
    Certainty, Cpu, EventRecord, EventRecordClass, Fingerprint, Loss, LossReason, Result,
    SessionTime, Sink,
};
use std::collections::BTreeMap;
use std::sync::Arc;

/// CPU numbers beyond this are nonsense.
const MAX_CPU: u32 = 1 << 13;
/// `PERF_RECORD_MISC_LOST_SAMPLES_BPF`: a filter took them, they are not lost.
const MISC_LOST_SAMPLES_BPF: u16 = 1 << 15;

/// Where something stands in the samples of all events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Everywhere<T> {
    /// At the same place.
    Same(T),
    /// That depends on the event.
    ByEvent,
}

/// Counts of what a stream met.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub(super) records: u64,
    /// Of `PERF_RECORD_LOST` and the kernel's own `PERF_RECORD_LOST_SAMPLES`.
    pub(super) lost: u64,
    /// Of the `PERF_RECORD_LOST_SAMPLES` that perf adds at the end, which repeat the above.
    pub(super) lost_again: u64,
    pub(super) out_of_order: u64,
    /// Samples of no event of the file.
    pub(super) unknown_ids: u64,
    /// Records that are not as their type says.
    pub(super) opaque: u64,
}

/// How the samples of one event are handed on.
#[derive(Clone, Debug)]
struct Route {
    classes: Arc<EventClasses>,
    regular: kstrace_schema::ClassId,
    /// Size of the whole record, offset and value of `raw_size`, if regular samples are all equal.
    fixed: Option<(usize, usize, u32)>,
    cpu_at: Option<usize>,
    time_at: Option<usize>,
    trailer: SampleIdShape,
    read_format: u64,
}

/// Knows the events of a file.
#[derive(Clone, Debug)]
pub(super) struct Router {
    order: Order,
    maker: ClassMaker,
    routes: Vec<Route>,
    id_pairs: Vec<(u64, u32)>,
    ids: Arc<IdTable>,
    /// Where samples have their id; `None` if it needs none.
    sample_id_at: Option<usize>,
    /// Distance of the id from the end of other records.
    trailer_id: Option<usize>,
    time_at: Everywhere<Option<usize>>,
    trailer: Everywhere<SampleIdShape>,
    /// Classes of other records without a trailer that differs by event, by type.
    quick: Vec<Option<OtherClass>>,
    by_key: BTreeMap<OtherKey, OtherClass>,
    aux_data: Option<Arc<EventRecordClass>>,
    announced: Announced,
    last_lost: BTreeMap<Cpu, SessionTime>,
    pub(super) counts: Counts,
}

impl Router {
    pub(super) fn new(maker: ClassMaker) -> Self {
        Router {
            order: maker.order,
            maker,
            routes: Vec::new(),
            id_pairs: Vec::new(),
            ids: Arc::default(),
            sample_id_at: None,
            trailer_id: None,
            time_at: Everywhere::Same(None),
            trailer: Everywhere::Same(SampleIdShape::NONE),
            quick: Vec::new(),
            by_key: BTreeMap::new(),
            aux_data: None,
            announced: Announced::default(),
            last_lost: BTreeMap::new(),
            counts: Counts::default(),
        }
    }

    pub(super) fn order(&self) -> Order {
        self.order
    }

    /// Registers the classes of more events. Says which could not be added and why.
    pub(super) fn add_events<'a>(
        &mut self,
        events: impl IntoIterator<Item = &'a FileEvent>,
    ) -> Result<Result<(), String>> {
        for event in events {
            if self.routes.len() >= MAX_EVENTS {
                return Ok(Err(format!("more than {MAX_EVENTS} events")));
            }
            if self.id_pairs.len() + event.ids.len() > MAX_IDS {
                return Ok(Err(format!("more than {MAX_IDS} ids")));
            }
            let index = self.routes.len();
            let classes = Arc::new(EventClasses::register(index, event, &self.maker)?);
            let shape = SampleShape::of(&event.attr);
            let fixed = classes.layout.static_raw().and_then(|(place, size)| {
                let RawPlace::At(at) = place else { return None };
                Some((at + 4 + size as usize, at, size))
            });
            // Below MAX_EVENTS.
            let slot = index as u32;
            self.id_pairs.extend(event.ids.iter().map(|id| (*id, slot)));
            self.routes.push(Route {
                regular: classes.regular.id,
                fixed,
                cpu_at: shape.cpu_offset_bytes(),
                time_at: shape.time_offset_bytes(),
                trailer: match event.has_trailer() {
                    true => SampleIdShape::new(event.attr.sample_type),
                    false => SampleIdShape::NONE,
                },
                read_format: event.attr.read_format,
                classes,
            });
        }
        self.settle();
        Ok(Ok(()))
    }

    /// What all events have in common.
    fn settle(&mut self) {
        self.ids = Arc::new(IdTable::new(&self.id_pairs));
        self.quick.clear();
        let Some(first) = self.routes.first() else {
            return;
        };
        let same = |is: bool| is;
        let all = |f: &dyn Fn(&Route) -> bool| same(self.routes.iter().all(f));
        self.time_at = match all(&|r| r.time_at == first.time_at) {
            true => Everywhere::Same(first.time_at),
            false => Everywhere::ByEvent,
        };
        self.trailer = match all(&|r| r.trailer == first.trailer) {
            true => Everywhere::Same(first.trailer),
            false => Everywhere::ByEvent,
        };
        // As perf does: the first event's place, which all of them must have.
        let several = self.routes.len() > 1;
        self.sample_id_at = first.classes.layout.shape().id_offset_bytes();
        self.sample_id_at = self.sample_id_at.filter(|_| several);
        self.trailer_id = first.trailer.id_from_end_bytes().filter(|_| several);
    }

    /// Announces the classes that are known by now.
    pub(super) fn announce_all(&mut self, sink: &mut dyn Sink) -> Result<()> {
        for route in &self.routes {
            if self.announced.insert(route.regular) {
                sink.class(&route.classes.regular)?;
            }
        }
        Ok(())
    }

    /// Which event a sample is of.
    #[inline(always)]
    fn sample_slot(&self, record: &[u8]) -> Option<u32> {
        let Some(at) = self.sample_id_at else {
            return Some(0);
        };
        match self.order.u64(record, at)? {
            0 => Some(0),
            id => self.ids.get(id),
        }
    }

    /// The trailer of a record that is no sample, and the event it names.
    #[inline]
    fn trailer_of(&self, record: &[u8]) -> (SampleIdShape, u64) {
        match self.trailer {
            Everywhere::Same(shape) => (shape, 0),
            Everywhere::ByEvent => {
                let slot = self.other_slot(record);
                let route = self.routes.get(slot as usize);
                route.map_or((SampleIdShape::NONE, 0), |r| (r.trailer, r.read_format))
            }
        }
    }

    fn other_slot(&self, record: &[u8]) -> u32 {
        self.trailer_id
            .and_then(|from_end| {
                let at = record.len().checked_sub(from_end)?;
                self.ids.get(self.order.u64(record, at)?)
            })
            .unwrap_or(0)
    }

    /// The record's time; `None` for a record that has none, or 0, or all ones, and which
    /// therefore belongs where it stands.
    #[inline(always)]
    pub(super) fn time_of(&self, record: &[u8], head: RecordHead) -> Option<u64> {
        let time = if head.r#type == uapi::PERF_RECORD_SAMPLE {
            let at = match self.time_at {
                Everywhere::Same(at) => at?,
                Everywhere::ByEvent => {
                    self.routes
                        .get(self.sample_slot(record)? as usize)?
                        .time_at?
                }
            };
            self.order.u64(record, at)?
        } else {
            self.trailer_time(record)?
        };
        (time != 0 && time != u64::MAX).then_some(time)
    }

    #[inline]
    fn trailer_time(&self, record: &[u8]) -> Option<u64> {
        let (shape, _) = self.trailer_of(record);
        if record.len() < HEADER_BYTES + shape.size_bytes() {
            return None;
        }
        self.order
            .u64(record, record.len() - shape.time_from_end_bytes()?)
    }

    /// Hands on a sample.
    #[inline(always)]
    pub(super) fn sample(
        &mut self,
        record: &[u8],
        time: SessionTime,
        sink: &mut dyn Sink,
    ) -> Result<()> {
        let route = self
            .sample_slot(record)
            .and_then(|slot| self.routes.get(slot as usize));
        let Some(route) = route else {
            return self.unknown_sample(record, time, sink);
        };
        if let Some((len, size_at, raw_size)) = route.fixed
            && record.len() == len
            && self.order.u32(record, size_at) == Some(raw_size)
        {
            let cpu = match route.cpu_at {
                Some(at) => cpu(self.order.u32(record, at)),
                None => Cpu::NONE,
            };
            self.counts.records += 1;
            return sink.record(&EventRecord {
                class: route.regular,
                rest_len_bytes: 0,
                cpu,
                time,
                payload: record,
            });
        }
        self.other_sample(record, time, sink)
    }

    /// A sample that is not of one fixed size.
    fn other_sample(
        &mut self,
        record: &[u8],
        time: SessionTime,
        sink: &mut dyn Sink,
    ) -> Result<()> {
        let slot = self.sample_slot(record).unwrap_or(0) as usize;
        let Some(route) = self.routes.get(slot) else {
            return self.unknown_sample(record, time, sink);
        };
        let classes = &route.classes;
        let known = classes.layout.shape().is_known();
        let end = classes.extent.end_bytes(record);
        let whole = end.is_some_and(|end| !known || end == record.len());
        // What follows the raw data of a tracepoint is its class's rest.
        let form = match (end, whole) {
            (Some(_), true) if classes.layout.is_always_regular() => {
                Some((crate::layout::RawForm::Regular, 0))
            }
            (Some(_), true) => classes.layout.classify(record),
            _ => None,
        };
        let cpu = match route.cpu_at {
            Some(at) => cpu(self.order.u32(record, at)),
            None => Cpu::NONE,
        };
        let Some((form, rest_len_bytes)) = form else {
            self.counts.opaque += 1;
            return self.opaque_sample(record, time, cpu, sink);
        };
        let class = classes.of_form(form, &self.maker)?;
        if self.announced.insert(class.id) {
            sink.class(class)?;
        }
        self.counts.records += 1;
        sink.record(&EventRecord {
            class: class.id,
            rest_len_bytes,
            cpu,
            time,
            payload: record,
        })
    }

    #[cold]
    fn unknown_sample(
        &mut self,
        record: &[u8],
        time: SessionTime,
        sink: &mut dyn Sink,
    ) -> Result<()> {
        self.counts.unknown_ids += 1;
        self.opaque_sample(record, time, Cpu::NONE, sink)
    }

    /// A sample that no event's class describes.
    fn opaque_sample(
        &mut self,
        record: &[u8],
        time: SessionTime,
        cpu: Cpu,
        sink: &mut dyn Sink,
    ) -> Result<()> {
        let class = self.other_class(lost_sample_key())?;
        self.emit_other(&class, record, time, cpu, sink)
    }

    fn other_class(&mut self, key: OtherKey) -> Result<OtherClass> {
        if let Some(known) = self.by_key.get(&key) {
            return Ok(known.clone());
        }
        let class = self.maker.other(key)?;
        self.by_key.insert(key, class.clone());
        Ok(class)
    }

    /// Hands on a record that is no sample.
    pub(super) fn other(
        &mut self,
        record: &[u8],
        head: RecordHead,
        time: SessionTime,
        sink: &mut dyn Sink,
    ) -> Result<()> {
        let form = RecordForm::of(head.r#type, head.misc);
        let of_kernel = head.r#type < 64;
        let (trailer, _) = match of_kernel {
            true => self.trailer_of(record),
            false => (SampleIdShape::NONE, 0),
        };
        let read_format = match head.r#type {
            uapi::PERF_RECORD_READ => {
                let slot = self.other_slot(record) as usize;
                self.routes.get(slot).map_or(0, |r| r.read_format)
            }
            _ => 0,
        };
        let mut cpu_of = Cpu::NONE;
        if let Some(from_end) = trailer.cpu_from_end_bytes()
            && record.len() >= HEADER_BYTES + trailer.size_bytes()
            && self.time_of(record, head).is_some()
        {
            cpu_of = cpu(self.order.u32(record, record.len() - from_end));
        }
        if of_kernel {
            self.note_loss(record, head, time, cpu_of, sink)?;
        }
        let class = self.class_of(form, trailer, read_format)?;
        self.emit_other(&class, record, time, cpu_of, sink)
    }

    fn class_of(
        &mut self,
        form: RecordForm,
        trailer: SampleIdShape,
        read_format: u64,
    ) -> Result<OtherClass> {
        let key = OtherKey {
            form,
            trailer_bits: trailer.bits(),
            read_format,
            opaque: false,
        };
        if !matches!(self.trailer, Everywhere::Same(_)) || read_format != 0 {
            return self.other_class(key);
        }
        let place = 2 * form.record_type as usize + usize::from(form.build_id);
        if let Some(Some(known)) = self.quick.get(place) {
            return Ok(known.clone());
        }
        let class = self.other_class(key)?;
        if place < 256 {
            if self.quick.len() <= place {
                self.quick.resize(place + 1, None);
            }
            self.quick[place] = Some(class.clone());
        }
        Ok(class)
    }

    fn emit_other(
        &mut self,
        known: &OtherClass,
        record: &[u8],
        time: SessionTime,
        cpu: Cpu,
        sink: &mut dyn Sink,
    ) -> Result<()> {
        let Some(rest_len_bytes) = known.layout.checked_rest_len_bytes(record) else {
            // Opaque ones fit everything that has a header.
            self.counts.opaque += 1;
            let key = OtherKey {
                form: known.layout.form,
                trailer_bits: 0,
                read_format: 0,
                opaque: true,
            };
            let class = self.other_class(key)?;
            let rest = class.layout.checked_rest_len_bytes(record).unwrap_or(0);
            return self.emit_as(&class.class, record, rest, time, cpu, sink);
        };
        self.emit_as(&known.class, record, rest_len_bytes, time, cpu, sink)
    }

    fn emit_as(
        &mut self,
        class: &Arc<EventRecordClass>,
        record: &[u8],
        rest_len_bytes: u16,
        time: SessionTime,
        cpu: Cpu,
        sink: &mut dyn Sink,
    ) -> Result<()> {
        debug_assert_ne!(class.fingerprint, Fingerprint(0));
        if self.announced.insert(class.id) {
            sink.class(class)?;
        }
        self.counts.records += 1;
        sink.record(&EventRecord {
            class: class.id,
            rest_len_bytes,
            cpu,
            time,
            payload: record,
        })
    }

    /// A piece of the data behind a `PERF_RECORD_AUXTRACE`.
    pub(super) fn aux_data(
        &mut self,
        data: &[u8],
        time: SessionTime,
        sink: &mut dyn Sink,
    ) -> Result<()> {
        let class = match &self.aux_data {
            Some(class) => Arc::clone(class),
            None => Arc::clone(self.aux_data.insert(self.maker.aux_data()?)),
        };
        // Pieces are far shorter.
        let rest = u16::try_from(data.len()).unwrap_or(u16::MAX);
        self.emit_as(&class, data, rest, time, Cpu::NONE, sink)?;
        // It is part of the record before.
        self.counts.records -= 1;
        Ok(())
    }

    /// Tells loss in its place.
    fn note_loss(
        &mut self,
        record: &[u8],
        head: RecordHead,
        time: SessionTime,
        cpu: Cpu,
        sink: &mut dyn Sink,
    ) -> Result<()> {
        let (count_at, id_at) = match head.r#type {
            uapi::PERF_RECORD_LOST => (16, Some(8)),
            uapi::PERF_RECORD_LOST_SAMPLES => (8, None),
            _ => return Ok(()),
        };
        let Some(count) = self.order.u64(record, count_at) else {
            return Ok(());
        };
        if id_at.is_none() {
            if head.misc & MISC_LOST_SAMPLES_BPF != 0 {
                return Ok(());
            }
            // perf adds these at the end, without a time; they say again what LOST has said.
            if self.time_of(record, head).is_none() {
                self.counts.lost_again = self.counts.lost_again.saturating_add(count);
                return Ok(());
            }
        }
        self.counts.lost = self.counts.lost.saturating_add(count);
        let slot = match (self.routes.len(), id_at) {
            (1, _) => Some(0),
            (_, Some(at)) => self.order.u64(record, at).and_then(|id| self.ids.get(id)),
            _ => None,
        };
        let class = slot
            .and_then(|s| self.routes.get(s as usize))
            .map(|r| r.regular);
        let begin = self
            .last_lost
            .insert(cpu, time)
            .unwrap_or(SessionTime::ZERO);
        sink.loss(&Loss {
            source: self.maker.source,
            cpu,
            reason: LossReason::KernelRingFull,
            count,
            certainty: Certainty::Exact,
            class,
            begin: begin.min(time),
            end: time,
        })
    }
}

#[inline(always)]
fn cpu(number: Option<u32>) -> Cpu {
    match number {
        Some(number) if number < MAX_CPU => Cpu(number),
        _ => Cpu::NONE,
    }
}
