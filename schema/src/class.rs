//! Event record classes.

use crate::{ClassId, SourceId, StructureClass};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// The namespaces of the classes that kstrace itself makes.
pub mod namespace {
    /// Records that came through `perf_event_open` or from a perf.data.
    pub const PERF: &str = "perf";
    /// Records that came through tracefs or from a trace.dat.
    pub const FTRACE: &str = "ftrace";
    /// Records that came from LTTng.
    pub const LTTNG: &str = "lttng";
    /// kstrace's own records.
    pub const KSTRACE: &str = "kstrace";
}

/// A stable hash of a payload layout: 64-bit FNV-1a over a canonical rendering.
///
/// Two classes with one fingerprint lay out the same fields, with the same
/// names, in the same bytes. Roles, names of values and the native text are not
/// part of it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fingerprint(pub u64);

impl Fingerprint {
    /// The fingerprint of a payload class.
    pub fn of(payload: &StructureClass) -> Self {
        let mut stripped = payload.clone();
        strip(&mut stripped);
        // serde_json writes struct fields in declaration order: canonical as
        // long as the types are; a golden test holds them to it.
        let text = serde_json::to_string(&stripped).unwrap_or_default();
        let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325u64, |h, b| {
            (h ^ u64::from(b)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        Fingerprint(hash)
    }
}

fn strip(structure: &mut StructureClass) {
    for member in &mut structure.members {
        member.role = None;
        strip_class(&mut member.class);
    }
}

fn strip_class(class: &mut crate::FieldClass) {
    use crate::FieldClass as F;
    match class {
        F::Integer(i) => {
            i.mappings.clear();
            i.base = crate::Base::Decimal;
        }
        F::StaticArray { element, .. } | F::DynamicArray { element, .. } => strip_class(element),
        F::Structure(s) => strip(s),
        F::Variant { options, .. } => options.iter_mut().for_each(|o| strip_class(&mut o.class)),
        F::Optional { class, .. } => strip_class(class),
        _ => {}
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}

impl Serialize for Fingerprint {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Fingerprint {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = String::deserialize(d)?;
        u64::from_str_radix(&text, 16)
            .map(Fingerprint)
            .map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Fingerprint {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Fingerprint".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "pattern": "^[0-9a-f]{16}$" })
    }
}

/// The source's own description of a class, kept verbatim.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", tag = "kind")]
#[non_exhaustive]
pub enum NativeDescription {
    /// A tracefs `format` file; the payload is the entry it describes,
    /// `common_*` fields included.
    TracefsFormat {
        /// The whole text of the file.
        format: String,
    },
    /// A `PERF_RECORD_SAMPLE` of one event; the payload is the whole record,
    /// `perf_event_header` included.
    PerfSample {
        /// The `struct perf_event_attr` as passed to the kernel, in lower-case hexadecimal.
        attr_hex: String,
        /// The event as the user wrote it or as perf would name it.
        event: String,
        /// For a tracepoint, the text of its tracefs `format` file.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        format: Option<String>,
    },
    /// Any other perf record; the payload is the whole record.
    PerfRecord {
        /// `PERF_RECORD_*`.
        record_type: u32,
        /// The `sample_type` bits that shape the `sample_id` trailer, 0 for none.
        sample_id_type: u64,
    },
    /// One of kstrace's own classes, described by `schema/v1/ring.md`.
    Kstrace,
    /// A CTF event's TSDL or JSON text.
    Ctf {
        /// The text.
        text: String,
    },
    /// A description of a kind that this version does not know.
    #[serde(other)]
    Unknown,
}

/// The class of event records: what kind of event, and how its payload is laid out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EventRecordClass {
    /// Its id in this session.
    pub id: ClassId,
    /// The source its records come from.
    pub source: SourceId,
    /// Which tracer's name space `name` belongs to; see [`namespace`].
    pub namespace: String,
    /// The event's name, as that tracer's users write it: `sched:sched_switch`, `cpu-clock`.
    pub name: String,
    /// Version of the class, 1 unless its maker says otherwise.
    pub version: u32,
    /// Fingerprint of `payload`.
    pub fingerprint: Fingerprint,
    /// Layout of the payload.
    pub payload: StructureClass,
    /// The source's own description.
    pub native: NativeDescription,
    /// Whatever else is known, by namespaced key (`perf.ids`, `ftrace.id`, ...).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, serde_json::Value>,
}

impl EventRecordClass {
    /// A class that is yet to be registered: its id is set by the registry.
    pub fn new(
        source: SourceId,
        namespace: &str,
        name: impl Into<String>,
        payload: StructureClass,
        native: NativeDescription,
    ) -> Self {
        EventRecordClass {
            id: ClassId(0),
            source,
            namespace: namespace.to_owned(),
            name: name.into(),
            version: 1,
            fingerprint: Fingerprint::of(&payload),
            payload,
            native,
            attributes: BTreeMap::new(),
        }
    }

    /// The same class with one more attribute.
    pub fn with_attribute(mut self, key: &str, value: impl Into<serde_json::Value>) -> Self {
        self.attributes.insert(key.to_owned(), value.into());
        self
    }

    /// `namespace:name`, unique enough for people; ids are for programs.
    pub fn qualified_name(&self) -> String {
        format!("{}:{}", self.namespace, self.name)
    }
}
