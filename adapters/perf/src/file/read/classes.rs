//! The classes of a file's records, registered when they are first needed.

use super::attr_bytes;
use super::events::FileEvent;
use super::order::Order;
use crate::layout::{
    RawForm, RecordForm, RecordLayout, SampleExtent, SampleIdShape, SampleLayout, SampleShape,
};
use crate::uapi;
use kstrace_schema::{
    ClassRegistry, EventRecordClass, FieldClass, Length, Member, NativeDescription, Result,
    SourceId, StructureClass, namespace,
};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// The attribute of a class of samples that says which of the file's events it is of.
pub(in crate::file) const EVENT_INDEX: &str = "perf.file.event";
/// The attribute of a class whose records are part of the record before.
pub(in crate::file) const PART: &str = "perf.file.part";
/// Its value for the data that follow a `PERF_RECORD_AUXTRACE`.
pub(in crate::file) const AUX_DATA: &str = "auxtrace-data";
/// `PERF_RECORD_AUXTRACE`.
pub(in crate::file) const AUXTRACE: u32 = 71;

/// Where classes are registered; shared by the streams of one file.
#[derive(Clone, Debug)]
pub(super) struct ClassMaker {
    pub(super) source: SourceId,
    pub(super) registry: Arc<ClassRegistry>,
    pub(super) order: Order,
    others: Arc<Mutex<BTreeMap<OtherKey, OtherClass>>>,
}

/// What shapes a record that is no sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct OtherKey {
    pub(super) form: RecordForm,
    /// Parts of its trailer.
    pub(super) trailer_bits: u64,
    /// Matters for `PERF_RECORD_READ`.
    pub(super) read_format: u64,
    /// Not as its type says.
    pub(super) opaque: bool,
}

/// Class and layout of records that are no samples.
#[derive(Clone, Debug)]
pub(super) struct OtherClass {
    pub(super) class: Arc<EventRecordClass>,
    pub(super) layout: Arc<RecordLayout>,
}

impl ClassMaker {
    pub(super) fn new(source: SourceId, registry: Arc<ClassRegistry>, order: Order) -> Self {
        ClassMaker {
            source,
            registry,
            order,
            others: Arc::default(),
        }
    }

    /// The class of records that are no samples.
    pub(super) fn other(&self, key: OtherKey) -> Result<OtherClass> {
        // Every change is a single insertion: a panic elsewhere cannot leave it half done.
        let mut others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = others.get(&key) {
            return Ok(known.clone());
        }
        let trailer = SampleIdShape::new(key.trailer_bits);
        let order = self.order.byte_order();
        let mut name = key.form.class_name();
        let layout = if key.opaque {
            name.push_str(":opaque");
            RecordLayout::opaque(key.form, order)
        } else {
            RecordLayout::new_in(key.form, trailer, key.read_format, order)
        };
        let native = NativeDescription::PerfRecord {
            record_type: key.form.record_type,
            sample_id_type: trailer.bits(),
        };
        let payload = layout.payload.clone();
        let class = EventRecordClass::new(self.source, namespace::PERF, name, payload, native);
        let known = OtherClass {
            class: self.registry.register(class)?,
            layout: Arc::new(layout),
        };
        others.insert(key, known.clone());
        Ok(known)
    }

    /// The class of the data behind a `PERF_RECORD_AUXTRACE`, in pieces.
    pub(super) fn aux_data(&self) -> Result<Arc<EventRecordClass>> {
        let data = Member::new(
            "data",
            FieldClass::DynamicBlob {
                length: Length::Rest,
            },
        );
        let native = NativeDescription::PerfRecord {
            record_type: AUXTRACE,
            sample_id_type: 0,
        };
        let class = EventRecordClass::new(
            self.source,
            namespace::PERF,
            "PERF_RECORD_AUXTRACE:data",
            StructureClass::new(vec![data]),
            native,
        );
        self.registry.register(class.with_attribute(PART, AUX_DATA))
    }
}

/// The classes of one event's samples.
#[derive(Debug)]
pub(super) struct EventClasses {
    pub(super) layout: SampleLayout,
    pub(super) extent: SampleExtent,
    pub(super) regular: Arc<EventRecordClass>,
    forms: [OnceLock<Arc<EventRecordClass>>; 3],
}

impl EventClasses {
    pub(super) fn register(index: usize, event: &FileEvent, maker: &ClassMaker) -> Result<Self> {
        let order = maker.order.byte_order();
        let shape = SampleShape::of(&event.attr);
        let layout = SampleLayout::new_in(shape, event.layout(maker.order), order);
        let native = NativeDescription::PerfSample {
            attr_hex: attr_bytes::native_hex(&event.bytes, &event.attr, maker.order),
            event: event.event_name(),
            format: event.format.as_ref().map(|(_, text)| text.clone()),
        };
        let ids: Vec<String> = event.ids.iter().map(u64::to_string).collect();
        let payload = layout.payload(RawForm::Regular);
        let name = event.class_name();
        let class = EventRecordClass::new(maker.source, namespace::PERF, name, payload, native)
            .with_attribute("perf.ids", ids)
            .with_attribute("perf.type", event.attr.kind)
            .with_attribute("perf.config", event.attr.config)
            .with_attribute(EVENT_INDEX, index);
        Ok(EventClasses {
            extent: SampleExtent::new(&shape, order),
            layout,
            regular: maker.registry.register(class)?,
            forms: Default::default(),
        })
    }

    /// The class of a form, registered now if it is the first time.
    pub(super) fn of_form(
        &self,
        form: RawForm,
        maker: &ClassMaker,
    ) -> Result<&Arc<EventRecordClass>> {
        let place = match form {
            RawForm::Regular => return Ok(&self.regular),
            RawForm::Slack => &self.forms[0],
            RawForm::Odd => &self.forms[1],
            RawForm::Blob => &self.forms[2],
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
        let class = maker.registry.register(class)?;
        // Another stream may have been quicker; its class then serves both.
        Ok(place.get_or_init(|| class))
    }
}

/// The key of samples that no event's class describes.
pub(super) fn lost_sample_key() -> OtherKey {
    OtherKey {
        form: RecordForm {
            record_type: uapi::PERF_RECORD_SAMPLE,
            build_id: false,
        },
        trailer_bits: 0,
        read_format: 0,
        opaque: true,
    }
}
