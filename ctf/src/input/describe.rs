//! A trace class as the model describes it: source, classes, roles.

use super::plan::EventShape;
use crate::ir::{EnvValue, EventType, Origin, StreamType, TraceClass};
use kstrace_schema::{
    EventRecordClass, FieldClass, Fingerprint, HostInfo, Member, NativeDescription, Role, SourceId,
    SourceInfo, StructureClass, canonical, namespace,
};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Namespace of events of which nothing more is known.
pub(crate) const CTF: &str = "ctf";

/// Attributes by which an output finds the CTF side of a source or class again.
pub(crate) mod key {
    pub(crate) const METADATA: &str = "ctf.metadata";
    pub(crate) const PATH: &str = "ctf.path";
    /// Of how many directories the trace was put together, where not of one.
    pub(crate) const CHUNKS: &str = "ctf.chunks";
    pub(crate) const STREAM: &str = "ctf.stream_id";
    pub(crate) const EVENT: &str = "ctf.event_id";
    pub(crate) const SCOPES: &str = "ctf.scopes";
}

/// The namespace of a trace's events.
pub(super) fn namespace_of(trace: &TraceClass) -> &'static str {
    match trace.env_text("tracer_name") {
        Some(name) if name.starts_with("lttng-") => namespace::LTTNG,
        _ => CTF,
    }
}

fn uuid_text(uuid: [u8; 16]) -> String {
    let mut text = String::with_capacity(36);
    for (index, byte) in uuid.iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.push_str(&format!("{byte:02x}"));
    }
    text
}

/// The session's UUID: the first trace's, or one made of what the metadata says.
pub(super) fn session_uuid(trace: Option<&TraceClass>, text: &str) -> String {
    if let Some(uuid) = trace.and_then(|t| t.uuid) {
        return uuid_text(uuid);
    }
    let mut bytes = [0u8; 16];
    for (half, seed) in [0xcbf2_9ce4_8422_2325u64, 0x9ae1_6a3b_2f90_404f]
        .into_iter()
        .enumerate()
    {
        let hash = text.bytes().fold(seed, |h, b| {
            (h ^ u64::from(b)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        bytes[half * 8..half * 8 + 8].copy_from_slice(&hash.to_be_bytes());
    }
    // RFC 9562: version 8, made in a way of one's own.
    bytes[6] = bytes[6] & 0x0f | 0x80;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    uuid_text(bytes)
}

fn env_value(value: &EnvValue) -> Value {
    match value {
        EnvValue::Text(text) => Value::from(text.as_str()),
        EnvValue::Integer(number) => match (i64::try_from(*number), u64::try_from(*number)) {
            (Ok(number), _) => Value::from(number),
            (_, Ok(number)) => Value::from(number),
            _ => Value::from(number.to_string()),
        },
    }
}

/// What is known of a trace, as a source.
pub(super) fn source(trace: &TraceClass, id: SourceId, path: &str, text: &str) -> SourceInfo {
    let mut attributes = BTreeMap::new();
    let mut put = |key: &str, value: Value| attributes.insert(key.to_owned(), value);
    put(key::METADATA, Value::from(text));
    put(key::PATH, Value::from(path));
    put("ctf.version", Value::from(trace.major));
    put(
        "ctf.byte_order",
        json!(match trace.byte_order {
            kstrace_schema::ByteOrder::LittleEndian => "le",
            kstrace_schema::ByteOrder::BigEndian => "be",
        }),
    );
    if let Some(uuid) = trace.uuid {
        put("ctf.uuid", Value::from(uuid_text(uuid)));
    }
    if let Some(name) = &trace.name {
        put("ctf.name", Value::from(name.as_str()));
    }
    let env = trace.env.iter().map(|(k, v)| json!([k, env_value(v)]));
    put("ctf.env", env.collect());
    let clocks = trace.clocks.iter().map(|c| {
        json!({
            "name": c.name,
            "uuid": c.uuid,
            "description": c.description,
            "frequency_hz": c.frequency_hz,
            "precision": c.precision,
            "offset_s": c.offset_s,
            "offset_cycles": c.offset_cycles,
            "absolute": c.absolute,
        })
    });
    put("ctf.clocks", clocks.collect());
    let tracer = trace.env_text("tracer_name").unwrap_or("CTF");
    SourceInfo {
        id,
        kind: namespace_of(trace).to_owned(),
        description: if path.is_empty() {
            format!("{tracer} trace")
        } else {
            format!("{tracer} trace {path}")
        },
        attributes,
    }
}

/// The machine, as far as the environment tells.
pub(super) fn host(traces: &[&TraceClass]) -> HostInfo {
    let text = |key: &str| {
        traces
            .iter()
            .find_map(|t| t.env_text(key))
            .unwrap_or_default()
            .to_owned()
    };
    HostInfo {
        hostname: text("hostname"),
        os_release: text("kernel_release"),
        os_version: text("kernel_version"),
        arch: text("architecture"),
        ..HostInfo::default()
    }
}

/// Namespace and name that kstrace wrote into an event's URI.
fn own_name(uri: &str) -> Option<(String, String)> {
    let (namespace, rest) = uri.strip_prefix("kstrace:")?.split_once('/')?;
    let name = rest.split('?').next()?;
    Some((unescaped(namespace), unescaped(name)))
}

fn unescaped(text: &str) -> String {
    let mut out = Vec::new();
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let code = (*byte == b'%')
            .then(|| text.get(at + 1..at + 3))
            .flatten()
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match code {
            Some(code) => {
                out.push(code);
                at += 3;
            }
            None => {
                out.push(*byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// The class of an event.
pub(super) fn class(
    trace: &TraceClass,
    stream: &StreamType,
    event: &EventType,
    source: SourceId,
    shape: EventShape,
) -> EventRecordClass {
    let own = event
        .emf_uri
        .as_deref()
        .filter(|_| trace.env_text("tracer_name") == Some("kstrace"))
        .and_then(own_name);
    let (namespace, name) = match own {
        Some((namespace, name)) => (namespace, name),
        None => (namespace_of(trace).to_owned(), event.name.clone()),
    };
    let EventShape {
        mut payload,
        names,
        verbatim,
    } = shape;
    give_roles(
        &mut payload,
        &namespace,
        &name,
        names.of(Origin::StreamContext),
        names.of(Origin::EventContext),
    );
    let native = NativeDescription::Ctf {
        text: event.text.clone(),
    };
    let mut class = EventRecordClass::new(source, &namespace, name, payload, native)
        .with_attribute(key::STREAM, stream.id)
        .with_attribute(key::EVENT, event.id)
        .with_attribute(
            "ctf.layout",
            if verbatim { "verbatim" } else { "re-encoded" },
        );
    let scopes = [
        ("packet-header", Origin::PacketHeader),
        ("packet-context", Origin::PacketContext),
        ("event-header", Origin::EventHeader),
        ("stream-context", Origin::StreamContext),
        ("event-context", Origin::EventContext),
    ];
    let scopes = scopes
        .into_iter()
        .map(|(word, origin)| (names.of(origin), word))
        .filter(|(name, _)| class.payload.member(name).is_some())
        .map(|(name, word)| (name.to_owned(), Value::from(word)))
        .collect::<serde_json::Map<_, _>>();
    if !scopes.is_empty() {
        class = class.with_attribute(key::SCOPES, scopes);
    }
    if let Some(level) = event.log_level {
        class = class.with_attribute("ctf.log_level", level);
    }
    if let Some(uri) = &event.emf_uri {
        class = class.with_attribute("ctf.model_emf_uri", uri.as_str());
    }
    if let Some(attributes) = &event.attributes {
        class = class.with_attribute("ctf.attributes", attributes.clone());
    }
    class.fingerprint = Fingerprint::of(&class.payload);
    class
}

/// Roles of the contexts' fields, by the names that LTTng and perf give them. Best first.
const CONTEXT_ROLES: [(&str, Role); 9] = [
    ("tid", Role::Tid),
    ("vtid", Role::Tid),
    ("perf_tid", Role::Tid),
    ("pid", Role::Pid),
    ("vpid", Role::Pid),
    ("perf_pid", Role::Pid),
    ("procname", Role::Comm),
    ("ip", Role::InstructionPointer),
    ("cpu_id", Role::Cpu),
];

/// Roles of fields that `perf data convert` writes.
const PERF_ROLES: [(&str, Role); 7] = [
    ("perf_ip", Role::InstructionPointer),
    ("perf_tid", Role::Tid),
    ("perf_pid", Role::Pid),
    ("perf_id", Role::EventId),
    ("perf_period", Role::Period),
    ("perf_callchain", Role::Callchain),
    ("common_pid", Role::Tid),
];

fn give_roles(
    payload: &mut StructureClass,
    namespace: &str,
    name: &str,
    stream_context: &str,
    event_context: &str,
) {
    let mut given: Vec<Role> = Vec::new();
    for member in &mut payload.members {
        if member.name == stream_context || member.name == event_context {
            continue;
        }
        let role = canonical::role(namespace, name, &member.name).or_else(|| {
            let perf =
                (namespace == CTF).then(|| canonical::role(namespace::PERF, name, &member.name));
            perf.flatten().or_else(|| {
                let named = PERF_ROLES.iter().find(|(n, _)| *n == member.name);
                named.filter(|_| namespace == CTF).map(|(_, role)| *role)
            })
        });
        if let Some(role) = role.filter(|r| !given.contains(r)) {
            given.push(role);
            member.role = Some(role);
        }
    }
    for scope in [stream_context, event_context] {
        let Some(FieldClass::Structure(context)) = payload
            .members
            .iter_mut()
            .find(|m| m.name == scope)
            .map(|m| &mut m.class)
        else {
            continue;
        };
        for (name, role) in CONTEXT_ROLES {
            if given.contains(&role) {
                continue;
            }
            let found = context
                .members
                .iter_mut()
                .find(|m: &&mut Member| m.name == name);
            if let Some(member) = found {
                given.push(role);
                member.role = Some(role);
            }
        }
    }
}
