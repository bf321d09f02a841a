//! The classes of one source, registered when they are first needed.

use crate::layout::{RawForm, RecordForm, RecordLayout, SampleIdShape, SampleLayout};
use crate::open::OpenedEvent;
use kstrace_schema::{
    ClassId, ClassRegistry, EventRecordClass, NativeDescription, Result, SourceId, namespace,
};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// The classes of one event's samples.
#[derive(Debug)]
pub(crate) struct SampleClasses {
    pub(crate) layout: SampleLayout,
    regular: Arc<EventRecordClass>,
    others: [OnceLock<Arc<EventRecordClass>>; 3],
    registry: Arc<ClassRegistry>,
}

impl SampleClasses {
    pub(crate) fn register(
        event: &OpenedEvent,
        source: SourceId,
        registry: &Arc<ClassRegistry>,
    ) -> Result<Self> {
        let described = event.tracepoint.as_ref().and_then(|t| t.layout.clone());
        let layout = SampleLayout::new(crate::layout::SampleShape::of(&event.attr), described);
        let native = NativeDescription::PerfSample {
            attr_hex: event.attr.hex(),
            event: event.name.clone(),
            format: event.tracepoint.as_ref().map(|t| t.format.clone()),
        };
        let payload = layout.payload(RawForm::Regular);
        let ids: Vec<String> = event.ids.iter().map(u64::to_string).collect();
        let class = EventRecordClass::new(source, namespace::PERF, &event.name, payload, native)
            .with_attribute("perf.ids", ids)
            .with_attribute("perf.type", event.attr.kind)
            .with_attribute("perf.config", event.attr.config);
        Ok(SampleClasses {
            layout,
            regular: registry.register(class)?,
            others: Default::default(),
            registry: Arc::clone(registry),
        })
    }

    pub(crate) fn regular(&self) -> &Arc<EventRecordClass> {
        &self.regular
    }

    /// The class of a form, registered now if it is the first time.
    pub(crate) fn of_form(&self, form: RawForm) -> Result<&Arc<EventRecordClass>> {
        let place = match form {
            RawForm::Regular => return Ok(&self.regular),
            RawForm::Slack => &self.others[0],
            RawForm::Odd => &self.others[1],
            RawForm::Blob => &self.others[2],
        };
        if let Some(class) = place.get() {
            return Ok(class);
        }
        let like = EventRecordClass::new(
            self.regular.source,
            namespace::PERF,
            &self.regular.name,
            self.layout.payload(form),
            self.regular.native.clone(),
        );
        let class = EventRecordClass {
            attributes: self.regular.attributes.clone(),
            ..like
        };
        let class = self.registry.register(class)?;
        // Another thread may have been quicker; its class then serves both, ours stays unused.
        Ok(place.get_or_init(|| class))
    }
}

/// A class of records that are no samples.
#[derive(Clone, Debug)]
pub(crate) struct RecordClass {
    pub(crate) layout: Arc<RecordLayout>,
    pub(crate) class: Arc<EventRecordClass>,
    pub(crate) trailer: SampleIdShape,
}

/// The classes of records that are no samples.
#[derive(Debug)]
pub(crate) struct RecordClasses {
    source: SourceId,
    registry: Arc<ClassRegistry>,
    trailer: SampleIdShape,
    /// The event that carries sideband: its attr, name and ids.
    sideband: Option<(String, String, Vec<String>)>,
    known: Mutex<BTreeMap<(RecordForm, u64), RecordClass>>,
}

impl RecordClasses {
    pub(crate) fn new(
        source: SourceId,
        registry: &Arc<ClassRegistry>,
        trailer: SampleIdShape,
        sideband: Option<&OpenedEvent>,
    ) -> Self {
        let sideband = sideband.map(|s| {
            let ids = s.ids.iter().map(u64::to_string).collect();
            (s.attr.hex(), s.name.clone(), ids)
        });
        RecordClasses {
            source,
            registry: Arc::clone(registry),
            trailer,
            sideband,
            known: Mutex::new(BTreeMap::new()),
        }
    }

    pub(crate) fn trailer(&self) -> SampleIdShape {
        self.trailer
    }

    /// The class of a form with the usual trailer.
    pub(crate) fn of_form(&self, form: RecordForm) -> Result<RecordClass> {
        self.with_trailer(form, self.trailer)
    }

    /// The class of a form, registered now if it is the first time.
    pub(crate) fn with_trailer(
        &self,
        form: RecordForm,
        trailer: SampleIdShape,
    ) -> Result<RecordClass> {
        // Every change is a single insertion: a panic elsewhere cannot leave it half done.
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(class) = known.get(&(form, trailer.bits())) {
            return Ok(class.clone());
        }
        let layout = RecordLayout::new(form, trailer, 0);
        let native = NativeDescription::PerfRecord {
            record_type: form.record_type,
            sample_id_type: trailer.bits(),
        };
        let mut class = EventRecordClass::new(
            self.source,
            namespace::PERF,
            form.class_name(),
            layout.payload.clone(),
            native,
        );
        if let Some((attr_hex, name, ids)) = &self.sideband {
            class = class
                .with_attribute("perf.sideband_attr", attr_hex.clone())
                .with_attribute("perf.sideband_event", name.clone())
                .with_attribute("perf.ids", ids.clone());
        }
        let class = self.registry.register(class)?;
        let class = RecordClass {
            layout: Arc::new(layout),
            class,
            trailer,
        };
        known.insert((form, trailer.bits()), class.clone());
        Ok(class)
    }
}

/// Which classes one stream has announced to its sink.
#[derive(Clone, Debug, Default)]
pub(crate) struct Announced(Vec<u64>);

impl Announced {
    /// Marks the class; whether it was not marked yet.
    pub(crate) fn insert(&mut self, id: ClassId) -> bool {
        let (word, bit) = (usize::from(id.0 / 64), 1u64 << (id.0 % 64));
        if self.0.len() <= word {
            self.0.resize(word + 1, 0);
        }
        let new = self.0[word] & bit == 0;
        self.0[word] |= bit;
        new
    }
}
