//! CTF 2 fragments back to the model.

use super::ATTRIBUTES;
use kstrace_schema::{
    Base, ByteOrder, ClassId, Error, ErrorKind, EventRecordClass, FieldClass, FieldPath,
    Fingerprint, FloatClass, IntegerClass, IntegerRange, Length, MODEL_VERSION, Mapping, Member,
    SessionInfo, StructureClass, VariantOption,
};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// Deeper nesting is refused.
const DEPTH_MAX: usize = 64;

/// Why a fragment is not one that kstrace wrote.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {reason}")]
pub struct ParseError {
    /// Which property.
    pub path: String,
    /// What is wrong.
    pub reason: String,
}

impl From<ParseError> for Error {
    fn from(e: ParseError) -> Self {
        Error::with_source(ErrorKind::InvalidData, "CTF 2 metadata", e)
    }
}

type Result<T> = std::result::Result<T, ParseError>;

/// A fragment as the model has it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Fragment {
    /// The session, from the trace class.
    Session(Box<SessionInfo>),
    /// A class.
    EventRecordClass(Box<EventRecordClass>),
    /// One that adds nothing to those: preamble, clock class, data stream class, aliases.
    Other,
}

/// A property being looked at, with the way to it.
#[derive(Clone, Copy)]
struct At<'a> {
    value: &'a Value,
    parent: Option<&'a At<'a>>,
    key: &'a str,
}

impl<'a> At<'a> {
    fn root(value: &'a Value) -> Self {
        At {
            value,
            parent: None,
            key: "fragment",
        }
    }

    fn path(&self) -> String {
        match self.parent {
            Some(parent) => format!("{}.{}", parent.path(), self.key),
            None => self.key.to_owned(),
        }
    }

    fn depth(&self) -> usize {
        self.parent.map_or(0, |p| p.depth() + 1)
    }

    fn fail<T>(&self, reason: impl Into<String>) -> Result<T> {
        Err(ParseError {
            path: self.path(),
            reason: reason.into(),
        })
    }

    fn optional(&'a self, key: &'a str) -> Option<At<'a>> {
        let value = self.value.get(key).filter(|v| !v.is_null())?;
        Some(At {
            value,
            parent: Some(self),
            key,
        })
    }

    fn get(&'a self, key: &'a str) -> Result<At<'a>> {
        self.optional(key)
            .map_or_else(|| self.fail(format!("no property '{key}'")), Ok)
    }

    fn own(&'a self, key: &str) -> Option<&'a Value> {
        self.value.get("attributes")?.get(ATTRIBUTES)?.get(key)
    }

    fn text(&self) -> Result<&'a str> {
        self.value
            .as_str()
            .map_or_else(|| self.fail("not a string"), Ok)
    }

    fn list(&self) -> Result<&'a [Value]> {
        match self.value {
            Value::Array(list) => Ok(list),
            _ => self.fail("not an array"),
        }
    }

    fn u32(&self) -> Result<u32> {
        let number = self.value.as_u64().and_then(|n| u32::try_from(n).ok());
        number.map_or_else(
            || self.fail(format!("{} is not a 32-bit number", self.value)),
            Ok,
        )
    }

    fn decode<T: DeserializeOwned>(&self) -> Result<T> {
        T::deserialize(self.value).or_else(|e| self.fail(e.to_string()))
    }
}

/// A fragment that kstrace wrote.
///
/// # Errors
/// When it is not one, or of another major version of the model.
pub fn parse_fragment(fragment: &Value) -> Result<Fragment> {
    let at = At::root(fragment);
    match at.get("type")?.text()? {
        "trace-class" => parse_session(fragment).map(Box::new).map(Fragment::Session),
        "event-record-class" => parse_event_record_class(fragment)
            .map(Box::new)
            .map(Fragment::EventRecordClass),
        _ => Ok(Fragment::Other),
    }
}

/// The session that a trace class fragment carries.
///
/// # Errors
/// As [`parse_fragment`].
pub fn parse_session(fragment: &Value) -> Result<SessionInfo> {
    let at = At::root(fragment);
    let attributes = at.get("attributes")?;
    let own = attributes.get(ATTRIBUTES)?;
    let (major, minor): (u16, u16) = own.get("model-version")?.decode()?;
    if major != MODEL_VERSION.0 {
        return own.fail(format!(
            "model version {major}.{minor}, this program reads {}.x",
            MODEL_VERSION.0
        ));
    }
    own.get("session")?.decode()
}

/// The class that an event record class fragment describes.
///
/// # Errors
/// As [`parse_fragment`]; also when the payload is not what the fingerprint was made of.
pub fn parse_event_record_class(fragment: &Value) -> Result<EventRecordClass> {
    let at = At::root(fragment);
    let attributes = at.get("attributes")?;
    let own = attributes.get(ATTRIBUTES)?;
    let payload = at.get("payload-field-class")?;
    let class = EventRecordClass {
        id: ClassId(at.get("id")?.decode()?),
        source: own.get("source")?.decode()?,
        namespace: at.get("namespace")?.text()?.to_owned(),
        name: at.get("name")?.text()?.to_owned(),
        version: own.get("version")?.u32()?,
        fingerprint: own.get("fingerprint")?.decode()?,
        payload: structure(&payload)?,
        native: own.get("native")?.decode()?,
        attributes: own.get("attributes")?.decode()?,
    };
    let found = Fingerprint::of(&class.payload);
    if found != class.fingerprint {
        return payload.fail(format!(
            "fingerprint is {found}, stated is {}",
            class.fingerprint
        ));
    }
    Ok(class)
}

fn structure(at: &At<'_>) -> Result<StructureClass> {
    let Some(members) = at.optional("member-classes") else {
        return Ok(StructureClass::default());
    };
    let members = members
        .list()?
        .iter()
        .map(|value| {
            member(&At {
                value,
                parent: Some(&members),
                key: "member",
            })
        })
        .collect::<Result<_>>()?;
    Ok(StructureClass { members })
}

fn member(at: &At<'_>) -> Result<Member> {
    let role = match at.own("role") {
        Some(value) => Some(
            At {
                value,
                parent: Some(at),
                key: "role",
            }
            .decode()?,
        ),
        None => None,
    };
    let name = match at.own("name").and_then(Value::as_str) {
        Some(name) => name,
        None => at.get("name")?.text()?,
    };
    Ok(Member {
        name: name.to_owned(),
        class: field(&at.get("field-class")?)?,
        role,
    })
}

fn field(at: &At<'_>) -> Result<FieldClass> {
    if at.depth() > DEPTH_MAX {
        return at.fail("nested too deeply");
    }
    Ok(match at.get("type")?.text()? {
        "fixed-length-unsigned-integer" => FieldClass::Integer(integer(at, false)?),
        "fixed-length-signed-integer" => FieldClass::Integer(integer(at, true)?),
        "fixed-length-floating-point-number" => FieldClass::Float(FloatClass {
            size_bytes: size_bytes(at)?,
            byte_order: byte_order(at)?,
        }),
        "fixed-length-boolean" if size_bytes(at)? == 1 => FieldClass::Boolean,
        "null-terminated-string" => FieldClass::NullTerminatedString,
        "static-length-string" => FieldClass::StaticString {
            size_bytes: at.get("length")?.u32()?,
        },
        "dynamic-length-string" => FieldClass::DynamicString {
            length: length(at)?,
        },
        "static-length-array" => FieldClass::StaticArray {
            element: Box::new(field(&at.get("element-field-class")?)?),
            count: at.get("length")?.u32()?,
        },
        "dynamic-length-array" => FieldClass::DynamicArray {
            element: Box::new(field(&at.get("element-field-class")?)?),
            length: length(at)?,
        },
        "static-length-blob" => {
            let size_bytes = at.get("length")?.u32()?;
            match at.own("kind").and_then(Value::as_str) {
                Some("padding") => FieldClass::Padding { size_bytes },
                _ => FieldClass::StaticBlob { size_bytes },
            }
        }
        "dynamic-length-blob" => match at.own("element") {
            Some(value) => FieldClass::DynamicArray {
                element: Box::new(field(&At {
                    value,
                    parent: Some(at),
                    key: "element",
                })?),
                length: length(at)?,
            },
            None => FieldClass::DynamicBlob {
                length: length(at)?,
            },
        },
        "structure" => FieldClass::Structure(structure(at)?),
        "optional" => FieldClass::Optional {
            selector: payload_path(&at.get("selector-field-location")?)?,
            ranges: ranges(&at.get("selector-field-ranges")?)?,
            class: Box::new(field(&at.get("field-class")?)?),
        },
        "variant" => variant(at)?,
        other => return at.fail(format!("field class of type '{other}'")),
    })
}

fn variant(at: &At<'_>) -> Result<FieldClass> {
    let list = at.get("options")?;
    let mut options = Vec::new();
    for value in list.list()? {
        let option = At {
            value,
            parent: Some(&list),
            key: "option",
        };
        let class = option.get("field-class")?;
        if class.own("kind").and_then(Value::as_str) == Some("none") {
            continue;
        }
        options.push(VariantOption {
            name: option.get("name")?.text()?.to_owned(),
            ranges: ranges(&option.get("selector-field-ranges")?)?,
            class: field(&class)?,
        });
    }
    let selector = payload_path(&at.get("selector-field-location")?)?;
    Ok(FieldClass::Variant { selector, options })
}

fn size_bytes(at: &At<'_>) -> Result<u8> {
    let length = at.get("length")?;
    match length.u32()? {
        bits @ (8 | 16 | 32 | 64) => Ok((bits / 8) as u8),
        bits => length.fail(format!("{bits} bits, allowed are 8, 16, 32 and 64")),
    }
}

fn byte_order(at: &At<'_>) -> Result<ByteOrder> {
    let order = at.get("byte-order")?;
    match order.text()? {
        "little-endian" => Ok(ByteOrder::LittleEndian),
        "big-endian" => Ok(ByteOrder::BigEndian),
        other => order.fail(format!("byte order '{other}'")),
    }
}

fn integer(at: &At<'_>, signed: bool) -> Result<IntegerClass> {
    let base = match at.optional("preferred-display-base") {
        None => Base::Decimal,
        Some(base) => match base.u32()? {
            2 => Base::Binary,
            8 => Base::Octal,
            10 => Base::Decimal,
            16 => Base::Hexadecimal,
            other => return base.fail(format!("{other}, allowed are 2, 8, 10 and 16")),
        },
    };
    let mappings = match (at.own("mappings"), at.optional("mappings")) {
        (Some(value), _) => listed_mappings(&At {
            value,
            parent: Some(at),
            key: "mappings",
        })?,
        (None, Some(object)) => object_mappings(&object)?,
        (None, None) => Vec::new(),
    };
    let size_bytes = size_bytes(at)?;
    Ok(IntegerClass {
        size_bytes,
        signed,
        byte_order: byte_order(at)?,
        base,
        mappings,
    })
}

fn object_mappings(at: &At<'_>) -> Result<Vec<Mapping>> {
    let empty = Map::new();
    let object = at.value.as_object().unwrap_or(&empty);
    object
        .iter()
        .map(|(name, value)| {
            let ranges = ranges(&At {
                value,
                parent: Some(at),
                key: name,
            })?;
            Ok(Mapping {
                name: name.clone(),
                ranges,
            })
        })
        .collect()
}

fn listed_mappings(at: &At<'_>) -> Result<Vec<Mapping>> {
    at.list()?
        .iter()
        .map(|value| {
            let item = At {
                value,
                parent: Some(at),
                key: "mapping",
            };
            let [name, value] = item.list()? else {
                return item.fail("not a pair");
            };
            let name = At {
                value: name,
                parent: Some(&item),
                key: "name",
            }
            .text()?
            .to_owned();
            let ranges = ranges(&At {
                value,
                parent: Some(&item),
                key: "ranges",
            })?;
            Ok(Mapping { name, ranges })
        })
        .collect()
}

fn ranges(at: &At<'_>) -> Result<Vec<IntegerRange>> {
    let number = |value: &Value| {
        value
            .as_u64()
            .map(i128::from)
            .or_else(|| value.as_i64().map(i128::from))
    };
    at.list()?
        .iter()
        .map(|range| match range.as_array().map(Vec::as_slice) {
            Some([first, last]) => match (number(first), number(last)) {
                (Some(first), Some(last)) => Ok(IntegerRange { first, last }),
                _ => at.fail(format!("{range} is not a range of integers")),
            },
            _ => at.fail(format!("{range} is not a range")),
        })
        .collect()
}

fn location(at: &At<'_>) -> Result<(String, Vec<String>)> {
    Ok((
        at.get("origin")?.text()?.to_owned(),
        at.get("path")?.decode()?,
    ))
}

fn payload_path(at: &At<'_>) -> Result<FieldPath> {
    match location(at)? {
        (origin, path) if origin == "event-record-payload" => Ok(FieldPath(path)),
        (origin, _) => at.fail(format!("origin '{origin}', not 'event-record-payload'")),
    }
}

fn length(at: &At<'_>) -> Result<Length> {
    let at = at.get("length-field-location")?;
    match location(&at)? {
        (origin, path) if origin == "event-record-payload" => Ok(Length::Field(FieldPath(path))),
        (origin, path) if origin == "event-record-specific-context" && path == ["rest_len"] => {
            Ok(Length::Rest)
        }
        (origin, path) => at.fail(format!("'{origin}' {path:?} holds no length")),
    }
}
