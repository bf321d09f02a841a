//! What metadata says, whichever language it is written in.
//!
//! TSDL and CTF 2 fragments both become a [`TraceClass`]. Types are shared
//! (`Arc`) and refer to other fields by path; what a path means depends on
//! where the type is used, and is found when a stream is [compiled](crate::input).

mod types;

pub(crate) use types::{
    ArrayLength, DEPTH_MAX, Encoding, IntType, Lookup, MemberType, OptionType, Origin, Roles,
    SequenceKind, StructType, Type, TypeKind,
};

use kstrace_schema::ByteOrder;
use std::sync::Arc;

/// A value of the environment block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum EnvValue {
    Integer(i128),
    Text(String),
}

/// A clock class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ClockClass {
    pub(crate) name: String,
    pub(crate) uuid: Option<String>,
    pub(crate) description: Option<String>,
    pub(crate) frequency_hz: u64,
    pub(crate) precision: Option<u64>,
    pub(crate) offset_s: i64,
    pub(crate) offset_cycles: u64,
    /// The origin is 1970-01-01 UTC.
    pub(crate) absolute: bool,
}

impl ClockClass {
    /// A clock of which nothing but the name is known.
    pub(crate) fn named(name: impl Into<String>) -> Self {
        ClockClass {
            name: name.into(),
            uuid: None,
            description: None,
            frequency_hz: 1_000_000_000,
            precision: None,
            offset_s: 0,
            offset_cycles: 0,
            absolute: false,
        }
    }
}

/// An event record class.
#[derive(Clone, Debug)]
pub(crate) struct EventType {
    pub(crate) id: u64,
    pub(crate) name: String,
    pub(crate) context: Option<Arc<Type>>,
    pub(crate) fields: Option<Arc<Type>>,
    pub(crate) log_level: Option<i64>,
    pub(crate) emf_uri: Option<String>,
    /// Its own piece of the metadata.
    pub(crate) text: String,
    /// CTF 2 attributes and whatever else has no meaning here.
    pub(crate) attributes: Option<serde_json::Value>,
}

/// A data stream class.
#[derive(Clone, Debug, Default)]
pub(crate) struct StreamType {
    pub(crate) id: u64,
    pub(crate) packet_context: Option<Arc<Type>>,
    pub(crate) event_header: Option<Arc<Type>>,
    pub(crate) event_context: Option<Arc<Type>>,
    pub(crate) events: Vec<EventType>,
}

/// A trace class.
#[derive(Clone, Debug)]
pub(crate) struct TraceClass {
    /// 1 (TSDL) or 2 (JSON).
    pub(crate) major: u64,
    pub(crate) uuid: Option<[u8; 16]>,
    pub(crate) byte_order: ByteOrder,
    pub(crate) name: Option<String>,
    pub(crate) env: Vec<(String, EnvValue)>,
    pub(crate) clocks: Vec<ClockClass>,
    pub(crate) packet_header: Option<Arc<Type>>,
    pub(crate) streams: Vec<StreamType>,
}

impl TraceClass {
    pub(crate) fn env_text(&self, key: &str) -> Option<&str> {
        self.env.iter().find_map(|(k, v)| match v {
            EnvValue::Text(text) if k == key => Some(text.as_str()),
            _ => None,
        })
    }

    pub(crate) fn clock(&self, name: &str) -> Option<usize> {
        self.clocks.iter().position(|c| c.name == name)
    }
}
