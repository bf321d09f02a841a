//! Sessions and classes as CTF 2 fragments.

use super::{ATTRIBUTES, field};
use kstrace_schema::wire::STREAM_CLASS_ID;
use kstrace_schema::{
    ByteOrder, EventRecordClass, FieldClass, Length, MODEL_VERSION, SessionInfo, StructureClass,
};
use serde_json::{Value, json};

const NS_PER_S: i64 = 1_000_000_000;
/// The default clock class, by the id that only the metadata stream sees.
const CLOCK_ID: &str = "session";

fn unsigned(length_bits: u32, alignment_bits: u32, role: Option<&str>) -> Value {
    let order = match ByteOrder::NATIVE {
        ByteOrder::LittleEndian => "little-endian",
        ByteOrder::BigEndian => "big-endian",
    };
    let mut class = json!({
        "type": "fixed-length-unsigned-integer",
        "length": length_bits,
        "byte-order": order,
        "alignment": alignment_bits,
    });
    if let Some(role) = role {
        class["roles"] = json!([role]);
    }
    class
}

fn structure<'a>(members: impl IntoIterator<Item = (&'a str, Value)>) -> Value {
    let members = members
        .into_iter()
        .map(|(name, class)| json!({ "name": name, "field-class": class }))
        .collect::<Vec<_>>();
    json!({ "type": "structure", "member-classes": members })
}

/// The fragments before the first event record class: preamble, trace class,
/// clock class, data stream class. The trace class carries the whole
/// [`SessionInfo`] as an attribute.
pub fn session_fragments(session: &SessionInfo) -> Vec<Value> {
    let uuid = crate::uuid_bytes(&session.uuid).unwrap_or_default();
    let preamble = json!({ "type": "preamble", "version": 2, "uuid": uuid });
    vec![
        preamble,
        trace_class(session),
        clock_class(session),
        data_stream_class(),
    ]
}

fn trace_class(session: &SessionInfo) -> Value {
    let header = structure([
        ("magic", unsigned(32, 8, Some("packet-magic-number"))),
        (
            "uuid",
            json!({
                "type": "static-length-blob",
                "length": 16,
                "roles": ["metadata-stream-uuid"],
            }),
        ),
        ("stream_id", unsigned(32, 8, Some("data-stream-class-id"))),
        (
            "stream_instance_id",
            unsigned(64, 8, Some("data-stream-id")),
        ),
    ]);
    let host = &session.host;
    json!({
        "type": "trace-class",
        "namespace": ATTRIBUTES,
        "name": "session",
        "uid": session.uuid,
        "packet-header-field-class": header,
        "environment": {
            "hostname": host.hostname,
            "domain": "kernel",
            "sysname": "Linux",
            "kernel_release": host.os_release,
            "kernel_version": host.os_version,
            "architecture": host.arch,
            "tracer_name": "kstrace",
            "tracer_version": env!("CARGO_PKG_VERSION"),
        },
        "attributes": {
            ATTRIBUTES: {
                "model-version": [MODEL_VERSION.0, MODEL_VERSION.1],
                "session": session,
            },
        },
    })
}

fn clock_class(session: &SessionInfo) -> Value {
    let clock = &session.clock;
    let mut class = json!({
        "type": "clock-class",
        "id": CLOCK_ID,
        "namespace": "linux",
        "name": clock.kind.word(),
        "frequency": NS_PER_S,
        "precision": clock.mapping_error_bound_ns,
        "origin": "unix-epoch",
        "offset-from-origin": {
            "seconds": clock.offset_to_realtime_ns.div_euclid(NS_PER_S),
            "cycles": clock.offset_to_realtime_ns.rem_euclid(NS_PER_S),
        },
    });
    if !clock.boot_id.is_empty() {
        class["uid"] = Value::from(clock.boot_id.as_str());
    }
    class
}

fn data_stream_class() -> Value {
    // As in the TSDL, `record_count` and the lengths in the record header are
    // what lies before the next alignment.
    let context = structure([
        (
            "timestamp_begin",
            unsigned(64, 8, Some("default-clock-timestamp")),
        ),
        (
            "timestamp_end",
            unsigned(64, 8, Some("packet-end-default-clock-timestamp")),
        ),
        (
            "content_size",
            unsigned(64, 8, Some("packet-content-length")),
        ),
        ("packet_size", unsigned(64, 8, Some("packet-total-length"))),
        (
            "packet_seq_num",
            unsigned(64, 8, Some("packet-sequence-number")),
        ),
        (
            "events_discarded",
            unsigned(64, 8, Some("discarded-event-record-counter-snapshot")),
        ),
        ("cpu_id", unsigned(32, 8, None)),
    ]);
    let header = structure([
        (
            "timestamp",
            unsigned(64, 64, Some("default-clock-timestamp")),
        ),
        ("id", unsigned(16, 8, Some("event-record-class-id"))),
    ]);
    json!({
        "type": "data-stream-class",
        "id": STREAM_CLASS_ID,
        "default-clock-class-id": CLOCK_ID,
        "packet-context-field-class": context,
        "event-record-header-field-class": header,
    })
}

/// The fragment of one class.
pub fn event_record_class_fragment(class: &EventRecordClass) -> Value {
    let mut payload = field::structure(&class.payload, &class.payload);
    payload["minimum-alignment"] = Value::from(64);
    let mut fragment = json!({
        "type": "event-record-class",
        "id": class.id,
        "data-stream-class-id": STREAM_CLASS_ID,
        "namespace": class.namespace,
        "name": class.name,
        "payload-field-class": payload,
        "attributes": {
            ATTRIBUTES: {
                "source": class.source,
                "version": class.version,
                "fingerprint": class.fingerprint,
                "native": class.native,
                "attributes": class.attributes,
            },
        },
    });
    if needs_rest(&class.payload) {
        fragment["specific-context-field-class"] =
            structure([("rest_len", unsigned(16, 16, None))]);
    }
    fragment
}

fn needs_rest(structure: &StructureClass) -> bool {
    fn in_class(class: &FieldClass) -> bool {
        match class {
            FieldClass::DynamicString { length } | FieldClass::DynamicBlob { length } => {
                *length == Length::Rest
            }
            FieldClass::DynamicArray { element, length } => {
                *length == Length::Rest || in_class(element)
            }
            FieldClass::StaticArray { element, .. } => in_class(element),
            FieldClass::Structure(s) => needs_rest(s),
            FieldClass::Optional { class, .. } => in_class(class),
            FieldClass::Variant { options, .. } => options.iter().any(|o| in_class(&o.class)),
            _ => false,
        }
    }
    structure.members.iter().any(|m| in_class(&m.class))
}

/// A fragment as an item of a JSON text sequence (RFC 7464).
pub fn text_sequence_item(fragment: &Value) -> String {
    format!("\u{1e}{fragment}\n")
}
