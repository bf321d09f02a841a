//! CTF 2 metadata of any tool.
//!
//! Fragments become the same [`TraceClass`] as TSDL. What a fragment means
//! follows CTF2-SPEC-2.0; properties that the specification does not name are
//! left alone, extensions are refused by name.

use crate::ir::{
    ArrayLength, ClockClass, Encoding, EnvValue, EventType, IntType, Lookup, MemberType,
    OptionType, Origin, Roles, SequenceKind, StreamType, StructType, TraceClass, Type, TypeKind,
};
use kstrace_schema::{Base, ByteOrder, IntegerRange, Mapping};
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::sync::Arc;

/// Fragments that one trace may have.
const FRAGMENTS_MAX: usize = 1 << 18;

/// Why a JSON text sequence is no metadata that can be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("metadata fragment {fragment}, {path}: {reason}")]
pub struct ForeignError {
    /// Which fragment, from 1.
    pub fragment: usize,
    /// Which property of it.
    pub path: String,
    /// What is wrong with it.
    pub reason: String,
}

type Result<T> = std::result::Result<T, ForeignError>;
type Object = Map<String, Value>;

/// Whether a metadata text is of CTF 2.
pub(crate) fn is_text_sequence(text: &str) -> bool {
    text.starts_with('\u{1e}') || text.trim_start().starts_with('{')
}

/// The trace class that a JSON text sequence describes; if its last item is cut, by
/// those before, of so many bytes.
///
/// # Errors
/// Items that are no fragments, or that cannot be read past.
pub(crate) fn parse_so_far(text: &str) -> Result<(TraceClass, Option<(usize, ForeignError)>)> {
    let mut reader = Reader {
        fragment: 0,
        path: Vec::new(),
        aliases: HashMap::new(),
        clock_ids: HashMap::new(),
        trace: TraceClass {
            major: 2,
            uuid: None,
            byte_order: ByteOrder::NATIVE,
            name: None,
            env: Vec::new(),
            clocks: Vec::new(),
            packet_header: None,
            streams: Vec::new(),
        },
    };
    let mut at = 0;
    for item in text.split('\u{1e}') {
        let start = at;
        at += item.len() + 1;
        if item.trim().is_empty() {
            continue;
        }
        reader.fragment += 1;
        reader.path.clear();
        if reader.fragment > FRAGMENTS_MAX {
            return reader.fail(format!("more than {FRAGMENTS_MAX} fragments"));
        }
        match serde_json::from_str::<Value>(item) {
            Ok(Value::Object(object)) => reader.take(&object, item.trim())?,
            Ok(_) => return reader.fail("not an object"),
            Err(e) => {
                let error = reader.fail(format!("not JSON: {e}"));
                if !(e.is_eof() && at > text.len()) {
                    return error;
                }
                return error.or_else(|e| Ok((reader.trace, Some((start, e)))));
            }
        }
    }
    if reader.fragment == 0 {
        return reader.fail("there is none");
    }
    Ok((reader.trace, None))
}

struct Reader {
    fragment: usize,
    path: Vec<String>,
    aliases: HashMap<String, Arc<Type>>,
    /// Name of a clock in the trace class, by its id in the metadata.
    clock_ids: HashMap<String, Arc<str>>,
    trace: TraceClass,
}

impl Reader {
    fn fail<T>(&self, reason: impl Into<String>) -> Result<T> {
        Err(ForeignError {
            fragment: self.fragment,
            path: if self.path.is_empty() {
                "itself".to_owned()
            } else {
                self.path.join(".")
            },
            reason: reason.into(),
        })
    }

    fn within<R>(&mut self, part: &str, inner: impl FnOnce(&mut Self) -> Result<R>) -> Result<R> {
        self.path.push(part.to_owned());
        let result = inner(self)?;
        self.path.pop();
        Ok(result)
    }

    fn required<'v>(&self, object: &'v Object, key: &str) -> Result<&'v Value> {
        object
            .get(key)
            .map_or_else(|| self.fail(format!("no property '{key}'")), Ok)
    }

    fn text<'v>(&self, object: &'v Object, key: &str) -> Result<&'v str> {
        match self.required(object, key)? {
            Value::String(text) => Ok(text),
            other => self.fail(format!("'{key}' is {other}, not a string")),
        }
    }

    fn unsigned(&self, object: &Object, key: &str) -> Result<Option<u64>> {
        match object.get(key) {
            None => Ok(None),
            Some(value) => value.as_u64().map_or_else(
                || self.fail(format!("'{key}' is {value}, not an unsigned number")),
                |n| Ok(Some(n)),
            ),
        }
    }

    fn take(&mut self, object: &Object, text: &str) -> Result<()> {
        self.refuse_extensions(object)?;
        match self.text(object, "type")? {
            "preamble" => self.preamble(object),
            "field-class-alias" => self.alias(object),
            "trace-class" => self.trace_class(object),
            "clock-class" => self.clock_class(object),
            "data-stream-class" => self.stream_class(object),
            "event-record-class" => self.event_class(object, text),
            other => self.fail(format!("unknown type '{other}'")),
        }
    }

    /// Extensions change what fragments mean: those that nobody here knows cannot be read past.
    fn refuse_extensions(&self, object: &Object) -> Result<()> {
        let Some(extensions) = object.get("extensions").and_then(Value::as_object) else {
            return Ok(());
        };
        if let Some((namespace, names)) = extensions.iter().next() {
            let names = names
                .as_object()
                .map(|n| n.keys().cloned().collect::<Vec<_>>());
            let names = names.filter(|n| !n.is_empty());
            return self.fail(match names {
                Some(names) => format!(
                    "extension '{}' of '{namespace}' is not supported",
                    names.join("', '")
                ),
                None => format!("extensions of '{namespace}' are not supported"),
            });
        }
        Ok(())
    }

    fn preamble(&mut self, object: &Object) -> Result<()> {
        match self.unsigned(object, "version")? {
            Some(2) => {}
            other => return self.fail(format!("version is {}, allowed is 2", other.unwrap_or(0))),
        }
        if let Some(uuid) = object.get("uuid") {
            self.trace.uuid = self.uuid(uuid)?;
        }
        Ok(())
    }

    fn uuid(&self, value: &Value) -> Result<Option<[u8; 16]>> {
        let bytes = value.as_array().map(|a| {
            a.iter()
                .filter_map(|b| b.as_u64().and_then(|b| u8::try_from(b).ok()))
                .collect::<Vec<_>>()
        });
        let uuid = bytes.and_then(|b| <[u8; 16]>::try_from(b).ok());
        uuid.map_or_else(|| self.fail("uuid is not 16 bytes"), |u| Ok(Some(u)))
    }

    fn alias(&mut self, object: &Object) -> Result<()> {
        let name = self.text(object, "name")?.to_owned();
        let class = self.required(object, "field-class")?;
        let class = self.within("field-class", |r| r.class(class))?;
        self.aliases.insert(name, class);
        Ok(())
    }

    fn trace_class(&mut self, object: &Object) -> Result<()> {
        if let Some(Value::Object(env)) = object.get("environment") {
            for (key, value) in env {
                let value = match value {
                    Value::String(text) => EnvValue::Text(text.clone()),
                    other => match other
                        .as_i64()
                        .map(i128::from)
                        .or(other.as_u64().map(i128::from))
                    {
                        Some(number) => EnvValue::Integer(number),
                        None => return self.fail(format!("environment.{key} is {other}")),
                    },
                };
                self.trace.env.push((key.clone(), value));
            }
        }
        self.trace.name = object
            .get("name")
            .and_then(Value::as_str)
            .map(str::to_owned);
        self.trace.packet_header = self.root(object, "packet-header-field-class")?;
        if let Some(uid) = object.get("uid").and_then(Value::as_str) {
            self.trace.uuid = self.trace.uuid.or_else(|| crate::packet::uuid_bytes(uid));
        }
        Ok(())
    }

    fn root(&mut self, object: &Object, key: &str) -> Result<Option<Arc<Type>>> {
        let Some(class) = object.get(key) else {
            return Ok(None);
        };
        self.within(key, |r| {
            let class = r.class(class)?;
            if class.as_struct().is_none() {
                return r.fail("it must be a structure");
            }
            Ok(Some(class))
        })
    }

    fn clock_class(&mut self, object: &Object) -> Result<()> {
        // In 2.0 fragments refer to a clock by 'id'; earlier drafts by 'name'.
        let id = match object.get("id").and_then(Value::as_str) {
            Some(id) => id.to_owned(),
            None => self.text(object, "name")?.to_owned(),
        };
        let name = object.get("name").and_then(Value::as_str).unwrap_or(&id);
        let mut unique = name.to_owned();
        while self.trace.clock(&unique).is_some() {
            unique.push('_');
        }
        let mut clock = ClockClass::named(unique.clone());
        clock.frequency_hz = self.unsigned(object, "frequency")?.unwrap_or(0);
        if clock.frequency_hz == 0 {
            return self.fail("'frequency' must be there and not 0");
        }
        clock.precision = self.unsigned(object, "precision")?;
        clock.description = object
            .get("description")
            .and_then(Value::as_str)
            .map(str::to_owned);
        clock.uuid = match (object.get("uid"), object.get("uuid")) {
            (Some(Value::String(uid)), _) => Some(uid.clone()),
            _ => None,
        };
        clock.absolute = match object.get("origin") {
            Some(Value::String(origin)) => origin == "unix-epoch",
            Some(_) => false,
            None => object
                .get("origin-is-unix-epoch")
                .and_then(Value::as_bool)
                .unwrap_or(false),
        };
        let offset = object
            .get("offset-from-origin")
            .or_else(|| object.get("offset"));
        if let Some(offset) = offset.and_then(Value::as_object) {
            clock.offset_s = offset.get("seconds").and_then(Value::as_i64).unwrap_or(0);
            clock.offset_cycles = self.unsigned(offset, "cycles")?.unwrap_or(0);
        }
        self.clock_ids.insert(id, unique.into());
        self.trace.clocks.push(clock);
        Ok(())
    }

    fn stream_class(&mut self, object: &Object) -> Result<()> {
        let id = self.unsigned(object, "id")?.unwrap_or(0);
        if self.trace.streams.iter().any(|s| s.id == id) {
            return self.fail(format!("a second data stream class with id {id}"));
        }
        let clock_key = ["default-clock-class-id", "default-clock-class-name"];
        let clock = clock_key
            .iter()
            .find_map(|k| object.get(*k))
            .and_then(Value::as_str);
        let clock = match clock {
            Some(id) => match self.clock_ids.get(id) {
                Some(name) => Some(Arc::clone(name)),
                None => return self.fail(format!("default clock class '{id}' is not there")),
            },
            None => None,
        };
        let packet_context = self.root(object, "packet-context-field-class")?;
        let event_header = self.root(object, "event-record-header-field-class")?;
        let stream = StreamType {
            id,
            packet_context: packet_context.map(|c| with_cpu(&with_clock(&c, clock.as_ref()))),
            event_header: event_header.map(|c| with_clock(&c, clock.as_ref())),
            event_context: self.root(object, "event-record-common-context-field-class")?,
            events: Vec::new(),
        };
        self.trace.streams.push(stream);
        Ok(())
    }

    fn event_class(&mut self, object: &Object, text: &str) -> Result<()> {
        let id = self.unsigned(object, "id")?.unwrap_or(0);
        let stream = self.unsigned(object, "data-stream-class-id")?.unwrap_or(0);
        let event = EventType {
            id,
            name: object
                .get("name")
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned(),
            context: self.root(object, "specific-context-field-class")?,
            fields: self.root(object, "payload-field-class")?,
            log_level: None,
            emf_uri: None,
            text: text.to_owned(),
            attributes: object.get("attributes").cloned(),
        };
        let Some(place) = self.trace.streams.iter_mut().find(|s| s.id == stream) else {
            return self.fail(format!("data stream class {stream} is not there"));
        };
        if place.events.iter().any(|e| e.id == id) {
            return self.fail(format!(
                "a second event record class with id {id} in data stream class {stream}"
            ));
        }
        place.events.push(event);
        Ok(())
    }

    fn made(&self, kind: TypeKind) -> Result<Arc<Type>> {
        Type::new(kind).map_or_else(
            || self.fail("a field class of too many parts, or nested too deeply"),
            Ok,
        )
    }

    fn class(&mut self, value: &Value) -> Result<Arc<Type>> {
        if self.path.len() > 4 * crate::ir::DEPTH_MAX as usize {
            return self.fail("nested too deeply");
        }
        let object = match value {
            Value::String(name) => {
                return match self.aliases.get(name) {
                    Some(class) => Ok(Arc::clone(class)),
                    None => self.fail(format!("no field class alias '{name}'")),
                };
            }
            Value::Object(object) => object,
            other => return self.fail(format!("{other} is no field class")),
        };
        self.refuse_extensions(object)?;
        let word = self.text(object, "type")?;
        match word {
            "fixed-length-bit-array" => self.fixed_int(object, false, false, Base::Hexadecimal),
            "fixed-length-bit-map" => self.fixed_int(object, false, false, Base::Hexadecimal),
            "fixed-length-boolean" => self.fixed_int(object, false, true, Base::Decimal),
            "fixed-length-unsigned-integer" | "fixed-length-unsigned-enumeration" => {
                self.fixed_int(object, false, false, Base::Decimal)
            }
            "fixed-length-signed-integer" | "fixed-length-signed-enumeration" => {
                self.fixed_int(object, true, false, Base::Decimal)
            }
            "variable-length-unsigned-integer" | "variable-length-unsigned-enumeration" => {
                self.variable_int(object, false)
            }
            "variable-length-signed-integer" | "variable-length-signed-enumeration" => {
                self.variable_int(object, true)
            }
            "fixed-length-floating-point-number" => {
                let size_bits = self.bits(object)?;
                if !matches!(size_bits, 16 | 32 | 64) {
                    return self.fail(format!("length is {size_bits}, supported are 16, 32, 64"));
                }
                let kind = TypeKind::Float {
                    size_bits,
                    align_bits: self.alignment(object, "alignment")?,
                    order: self.order(object)?,
                };
                self.made(kind)
            }
            "null-terminated-string" => {
                let encoding = self.encoding(object)?;
                self.made(TypeKind::Text(encoding))
            }
            "static-length-string"
            | "dynamic-length-string"
            | "static-length-blob"
            | "dynamic-length-blob" => {
                let kind = if word.ends_with("string") {
                    SequenceKind::Text(self.encoding(object)?)
                } else {
                    SequenceKind::Blob
                };
                let element = self.made(TypeKind::Int(byte()))?;
                let length = self.length(object, word.starts_with("static"))?;
                let roles = self.roles(object)?;
                self.made(TypeKind::Array {
                    element,
                    length,
                    kind,
                    align_bits: 8,
                    roles,
                })
            }
            "static-length-array" | "dynamic-length-array" => {
                let element = self.required(object, "element-field-class")?;
                let element = self.within("element-field-class", |r| r.class(element))?;
                let length = self.length(object, word.starts_with("static"))?;
                let align_bits = self.alignment(object, "minimum-alignment")?;
                self.made(TypeKind::Array {
                    element,
                    length,
                    kind: SequenceKind::Array,
                    align_bits,
                    roles: Roles::default(),
                })
            }
            "structure" => self.structure(object),
            "optional" => self.optional(object),
            "variant" => self.variant(object),
            other => self.fail(format!("unknown field class type '{other}'")),
        }
    }

    fn bits(&self, object: &Object) -> Result<u32> {
        match self
            .unsigned(object, "length")?
            .and_then(|n| u32::try_from(n).ok())
        {
            Some(bits @ 1..) => Ok(bits),
            other => self.fail(format!(
                "length is {}, allowed is 1 and more",
                other.unwrap_or(0)
            )),
        }
    }

    fn alignment(&self, object: &Object, key: &str) -> Result<u32> {
        let align = self.unsigned(object, key)?.unwrap_or(1);
        match u32::try_from(align) {
            Ok(align) if align.is_power_of_two() && align <= 1 << 16 => Ok(align),
            _ => self.fail(format!(
                "{key} is {align}, allowed are powers of two up to 65536"
            )),
        }
    }

    fn order(&self, object: &Object) -> Result<ByteOrder> {
        match object.get("byte-order").and_then(Value::as_str) {
            Some("little-endian") => Ok(ByteOrder::LittleEndian),
            Some("big-endian") => Ok(ByteOrder::BigEndian),
            Some(other) => self.fail(format!(
                "byte-order is '{other}', allowed are little-endian, big-endian"
            )),
            None => self.fail("no property 'byte-order'"),
        }
    }

    fn encoding(&self, object: &Object) -> Result<Encoding> {
        match object.get("encoding").and_then(Value::as_str) {
            None | Some("utf-8") => Ok(Encoding::Utf8),
            Some("utf-16le") => Ok(Encoding::Utf16(ByteOrder::LittleEndian)),
            Some("utf-16be") => Ok(Encoding::Utf16(ByteOrder::BigEndian)),
            Some("utf-32le") => Ok(Encoding::Utf32(ByteOrder::LittleEndian)),
            Some("utf-32be") => Ok(Encoding::Utf32(ByteOrder::BigEndian)),
            Some(other) => self.fail(format!(
                "encoding is '{other}', allowed are utf-8, utf-16le, utf-16be, utf-32le, utf-32be"
            )),
        }
    }

    fn base(&self, object: &Object, default: Base) -> Result<Base> {
        match self.unsigned(object, "preferred-display-base")? {
            None => Ok(default),
            Some(2) => Ok(Base::Binary),
            Some(8) => Ok(Base::Octal),
            Some(10) => Ok(Base::Decimal),
            Some(16) => Ok(Base::Hexadecimal),
            Some(other) => self.fail(format!(
                "preferred-display-base is {other}, allowed are 2, 8, 10, 16"
            )),
        }
    }

    fn roles(&self, object: &Object) -> Result<Roles> {
        let mut roles = Roles::default();
        for role in object
            .get("roles")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            roles = roles.with(match role.as_str() {
                Some("packet-magic-number") => Roles::MAGIC,
                Some("metadata-stream-uuid") => Roles::UUID,
                Some("data-stream-class-id") => Roles::STREAM_CLASS,
                Some("data-stream-id") => Roles::STREAM_INSTANCE,
                Some("packet-total-length") => Roles::PACKET_SIZE,
                Some("packet-content-length") => Roles::CONTENT_SIZE,
                Some("default-clock-timestamp") => Roles::CLOCK,
                Some("packet-end-default-clock-timestamp") => Roles::END,
                Some("discarded-event-record-counter-snapshot") => Roles::DISCARDED,
                Some("packet-sequence-number") => Roles::SEQUENCE,
                Some("event-record-class-id") => Roles::EVENT_CLASS,
                _ => return self.fail(format!("role {role} is not known")),
            });
        }
        Ok(roles)
    }

    fn mappings(&self, object: &Object) -> Result<Option<Vec<Mapping>>> {
        let Some(Value::Object(mappings)) = object.get("mappings") else {
            return Ok(None);
        };
        let mut out = Vec::with_capacity(mappings.len());
        for (name, ranges) in mappings {
            out.push(Mapping {
                name: name.clone(),
                ranges: self.ranges(ranges)?,
            });
        }
        Ok((!out.is_empty()).then_some(out))
    }

    fn ranges(&self, value: &Value) -> Result<Vec<IntegerRange>> {
        let number = |v: &Value| v.as_i64().map(i128::from).or(v.as_u64().map(i128::from));
        let Value::Array(list) = value else {
            return self.fail(format!("{value} is no set of ranges"));
        };
        list.iter()
            .map(|range| {
                let ends = match range {
                    Value::Array(ends) => match ends.as_slice() {
                        [first, last] => number(first).zip(number(last)),
                        _ => None,
                    },
                    single => number(single).map(|n| (n, n)),
                };
                match ends {
                    Some((first, last)) if first <= last => Ok(IntegerRange { first, last }),
                    _ => self.fail(format!("{range} is no range")),
                }
            })
            .collect()
    }

    fn fixed_int(
        &mut self,
        object: &Object,
        signed: bool,
        boolean: bool,
        base: Base,
    ) -> Result<Arc<Type>> {
        let size_bits = self.bits(object)?;
        if size_bits > 64 {
            return self.fail(format!("length is {size_bits} bits, supported are 1 to 64"));
        }
        if let Some(order) = object.get("bit-order").and_then(Value::as_str) {
            let natural = match self.order(object)? {
                ByteOrder::LittleEndian => "first-to-last",
                ByteOrder::BigEndian => "last-to-first",
            };
            if order != natural {
                return self.fail(format!(
                    "bit-order is '{order}', supported is '{natural}' with this byte order"
                ));
            }
        }
        let mut mappings = self.mappings(object)?;
        if let Some(Value::Object(flags)) = object.get("flags") {
            // Flags are no values: the numbers say them.
            let _ = flags;
            mappings = None;
        }
        let int = IntType {
            size_bits,
            align_bits: self.alignment(object, "alignment")?,
            signed,
            order: self.order(object)?,
            base: self.base(object, base)?,
            encoding: None,
            clock: None,
            mappings,
            roles: self.roles(object)?,
            boolean,
        };
        self.made(TypeKind::Int(int))
    }

    fn variable_int(&mut self, object: &Object, signed: bool) -> Result<Arc<Type>> {
        let int = IntType {
            size_bits: 64,
            align_bits: 8,
            signed,
            order: ByteOrder::NATIVE,
            base: self.base(object, Base::Decimal)?,
            encoding: None,
            clock: None,
            mappings: self.mappings(object)?,
            roles: self.roles(object)?,
            boolean: false,
        };
        self.made(TypeKind::VarInt(int))
    }

    fn length(&self, object: &Object, is_static: bool) -> Result<ArrayLength> {
        if is_static {
            return match self.unsigned(object, "length")? {
                Some(length) => Ok(ArrayLength::Static(length)),
                None => self.fail("no property 'length'"),
            };
        }
        let location = self.required(object, "length-field-location")?;
        Ok(ArrayLength::Dynamic(self.location(location)?))
    }

    /// A field location.
    fn location(&self, value: &Value) -> Result<Lookup> {
        // Drafts had an array with the origin first.
        let (origin, path) = match value {
            Value::Object(object) => {
                let Some(Value::Array(path)) = object.get("path") else {
                    return self.fail("a field location without 'path'");
                };
                (
                    object.get("origin").and_then(Value::as_str),
                    path.as_slice(),
                )
            }
            Value::Array(list) => match list.split_first() {
                Some((Value::String(origin), path)) => (Some(origin.as_str()), path),
                _ => return self.fail(format!("{value} is no field location")),
            },
            _ => return self.fail(format!("{value} is no field location")),
        };
        let ups = path.iter().take_while(|p| p.is_null()).count();
        let names = path[ups..]
            .iter()
            .map(|p| p.as_str().map(written))
            .collect::<Option<Vec<_>>>();
        let Some(names) = names.filter(|n| !n.is_empty()) else {
            return self.fail(format!("{value} is no field location"));
        };
        let origin = match origin {
            None => return Ok(Lookup::Up(ups as u32, names)),
            Some("packet-header") => Origin::PacketHeader,
            Some("packet-context") => Origin::PacketContext,
            Some("event-record-header") => Origin::EventHeader,
            Some("event-record-common-context") => Origin::StreamContext,
            Some("event-record-specific-context") => Origin::EventContext,
            Some("event-record-payload") => Origin::Fields,
            Some(other) => return self.fail(format!("origin '{other}' is not known")),
        };
        Ok(Lookup::Absolute(origin, names))
    }

    fn structure(&mut self, object: &Object) -> Result<Arc<Type>> {
        let mut members: Vec<MemberType> = Vec::new();
        for member in object
            .get("member-classes")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            let Value::Object(member) = member else {
                return self.fail("a member class is no object");
            };
            self.refuse_extensions(member)?;
            let name = self.text(member, "name")?.to_owned();
            if members.iter().any(|m| m.name == name) {
                return self.fail(format!("a second member '{name}'"));
            }
            let class = self.required(member, "field-class")?;
            let class = self.within(&name, |r| r.class(class))?;
            members.push(MemberType {
                written_name: written(&name),
                name,
                class,
            });
        }
        let align_bits = self.alignment(object, "minimum-alignment")?;
        self.made(TypeKind::Struct(StructType {
            members,
            align_bits,
        }))
    }

    fn optional(&mut self, object: &Object) -> Result<Arc<Type>> {
        let location = self.required(object, "selector-field-location")?;
        let selector = self.location(location)?;
        let ranges = match object.get("selector-field-ranges") {
            Some(ranges) => self.ranges(ranges)?,
            // Without ranges the selector is a boolean.
            None => vec![IntegerRange {
                first: 1,
                last: u64::MAX.into(),
            }],
        };
        let class = self.required(object, "field-class")?;
        let class = self.within("field-class", |r| r.class(class))?;
        self.made(TypeKind::Variant {
            selector: Some(selector),
            options: vec![OptionType {
                name: "present".to_owned(),
                written_name: "present".to_owned(),
                ranges: Some(ranges),
                class,
            }],
            optional: true,
        })
    }

    fn variant(&mut self, object: &Object) -> Result<Arc<Type>> {
        let location = self.required(object, "selector-field-location")?;
        let selector = self.location(location)?;
        let mut options: Vec<OptionType> = Vec::new();
        for (index, option) in object
            .get("options")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .enumerate()
        {
            let Value::Object(option) = option else {
                return self.fail("an option is no object");
            };
            self.refuse_extensions(option)?;
            let name = match option.get("name").and_then(Value::as_str) {
                Some(name) => name.to_owned(),
                None => format!("option{index}"),
            };
            let ranges = self.required(option, "selector-field-ranges")?;
            let ranges = self.ranges(ranges)?;
            let class = self.required(option, "field-class")?;
            let class = self.within(&name, |r| r.class(class))?;
            options.push(OptionType {
                written_name: written(&name),
                name,
                ranges: Some(ranges),
                class,
            });
        }
        self.made(TypeKind::Variant {
            selector: Some(selector),
            options,
            optional: false,
        })
    }
}

/// A name as TSDL would have it: a word of the language or not, it is none with the underscore.
fn written(name: &str) -> String {
    format!("_{name}")
}

/// The field by which packets say their CPU has no role: its name says it.
fn with_cpu(class: &Arc<Type>) -> Arc<Type> {
    let TypeKind::Struct(s) = &class.kind else {
        return Arc::clone(class);
    };
    let mut s = s.clone();
    for member in s.members.iter_mut().filter(|m| m.name == "cpu_id") {
        if let TypeKind::Int(int) = &member.class.kind
            && !int.signed
            && int.roles.is_none()
        {
            let mut int = int.clone();
            int.roles = Roles::CPU;
            if let Some(class) = Type::new(TypeKind::Int(int)) {
                member.class = class;
            }
        }
    }
    Type::new(TypeKind::Struct(s)).unwrap_or_else(|| Arc::clone(class))
}

fn byte() -> IntType {
    IntType {
        size_bits: 8,
        align_bits: 8,
        signed: false,
        order: ByteOrder::NATIVE,
        base: Base::Hexadecimal,
        encoding: None,
        clock: None,
        mappings: None,
        roles: Roles::default(),
        boolean: false,
    }
}

/// Says which clock the time stamps of a type are of, and in a packet's
/// context which of them is its begin.
fn with_clock(class: &Arc<Type>, clock: Option<&Arc<str>>) -> Arc<Type> {
    let kind = match &class.kind {
        TypeKind::Int(int) if int.roles.has(Roles(Roles::CLOCK.0 | Roles::END.0)) => {
            TypeKind::Int(timed(int, clock))
        }
        TypeKind::VarInt(int) if int.roles.has(Roles(Roles::CLOCK.0 | Roles::END.0)) => {
            TypeKind::VarInt(timed(int, clock))
        }
        TypeKind::Struct(s) => TypeKind::Struct(StructType {
            align_bits: s.align_bits,
            members: s
                .members
                .iter()
                .map(|m| MemberType {
                    class: with_clock(&m.class, clock),
                    ..m.clone()
                })
                .collect(),
        }),
        TypeKind::Variant {
            selector,
            options,
            optional,
        } => TypeKind::Variant {
            selector: selector.clone(),
            optional: *optional,
            options: options
                .iter()
                .map(|o| OptionType {
                    class: with_clock(&o.class, clock),
                    ..o.clone()
                })
                .collect(),
        },
        _ => return Arc::clone(class),
    };
    Type::new(kind).unwrap_or_else(|| Arc::clone(class))
}

fn timed(int: &IntType, clock: Option<&Arc<str>>) -> IntType {
    let mut int = int.clone();
    int.clock = clock.cloned();
    if int.roles.has(Roles::CLOCK) {
        int.roles = int.roles.with(Roles::BEGIN);
    }
    int
}
