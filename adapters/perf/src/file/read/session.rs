//! The session that a file holds.

use super::attr_bytes::hex;
use super::damage::Place;
use super::events::FileEvent;
use super::feature::Features;
use super::order::Order;
use super::tracing_text::TracingText;
use crate::uapi::flag;
use kstrace_schema::{
    ByteOrder, ClockDescriptor, ClockKind, ClockPair, SessionInfo, SourceId, SourceInfo, namespace,
};
use serde_json::{Value, json};

/// Attributes of a source that was read from a perf.data. What they hold is enough to write
/// the file's description again byte for byte.
pub(in crate::file) mod key {
    /// `little` or `big`.
    pub(in crate::file) const BYTE_ORDER: &str = "perf.file.byte_order";
    /// `file`, `pipe` or `directory`.
    pub(in crate::file) const MODE: &str = "perf.file.mode";
    /// The events: `attr` in hexadecimal as it lay in the file, `ids`, `name`.
    pub(in crate::file) const EVENTS: &str = "perf.file.events";
    /// The feature sections in hexadecimal, by number.
    pub(in crate::file) const FEATURES: &str = "perf.file.features";
    /// The number that a stream marked the end of its features with.
    pub(in crate::file) const END_OF_FEATURES: &str = "perf.file.end_of_features";
    /// Numbers of feature sections that this version does not know.
    pub(in crate::file) const UNKNOWN_FEATURES: &str = "perf.file.unknown_features";
    /// What was odd about the description, for people.
    pub(in crate::file) const ODD: &str = "perf.file.odd";
    /// The file's name.
    pub(in crate::file) const PATH: &str = "perf.file.path";
}

/// What a file says of itself.
#[derive(Debug)]
pub(super) struct Facts<'a> {
    pub(super) place: &'a Place,
    pub(super) mode: &'a str,
    pub(super) order: Order,
    pub(super) events: &'a [FileEvent],
    pub(super) features: &'a Features,
    pub(super) texts: &'a TracingText,
    pub(super) odd: &'a [String],
    /// Something that tells this file from others.
    pub(super) fingerprint: u128,
}

/// Clock of the session, and the pair of readings that the file has.
pub(super) fn clock(
    events: &[FileEvent],
    features: &Features,
) -> (ClockDescriptor, Option<ClockPair>) {
    let told = events
        .iter()
        .find(|e| e.attr.has(flag::USE_CLOCKID))
        .map(|e| e.attr.clockid);
    let data = features
        .clock_data
        .filter(|data| told == i32::try_from(data.clockid).ok());
    let kind = match told {
        None => ClockKind::Sched,
        Some(0) => ClockKind::Realtime,
        Some(1) => ClockKind::Monotonic,
        Some(4) => ClockKind::MonotonicRaw,
        Some(7) => ClockKind::Boottime,
        Some(11) => ClockKind::Tai,
        Some(_) => ClockKind::Foreign,
    };
    let native_name = match (kind, told) {
        (ClockKind::Foreign, Some(clockid)) => Some(format!("clockid {clockid}")),
        (ClockKind::Sched, _) => Some("perf".to_owned()),
        _ => None,
    };
    let offset = data.map_or(0, |d| d.wall_ns.wrapping_sub(d.clock_ns).cast_signed());
    let descriptor = ClockDescriptor {
        kind,
        native_name,
        counts_per_s: None,
        recorded_with: None,
        mapping_error_bound_ns: 0,
        offset_to_realtime_ns: offset,
        boot_id: String::new(),
    };
    // Readings that the file does not have stay 0, so a pair needs the clock that all others
    // are related to.
    let pair = data
        .filter(|_| kind == ClockKind::Monotonic)
        .map(|d| ClockPair {
            monotonic_ns: d.clock_ns,
            realtime_ns: d.wall_ns,
            ..ClockPair::default()
        });
    (descriptor, pair)
}

/// The session, with `source` as the file's.
pub(super) fn session(facts: &Facts<'_>, source: SourceId, clock: ClockDescriptor) -> SessionInfo {
    let mut host = facts.features.host.clone();
    host.page_size_bytes = facts.texts.page_bytes;
    let info = source_info(facts, source);
    let kstrace = SourceInfo {
        id: SourceId::KSTRACE,
        kind: namespace::KSTRACE.to_owned(),
        description: "kstrace".to_owned(),
        attributes: Default::default(),
    };
    SessionInfo {
        uuid: uuid(facts.fingerprint),
        clock,
        host,
        capture: facts.features.capture.clone(),
        sources: vec![kstrace, info],
    }
}

fn source_info(facts: &Facts<'_>, id: SourceId) -> SourceInfo {
    let mut info = SourceInfo {
        id,
        kind: namespace::PERF.to_owned(),
        description: format!("perf.data {}", facts.place.file()),
        attributes: Default::default(),
    };
    let mut put = |key: &str, value: Value| {
        info.attributes.insert(key.to_owned(), value);
    };
    let byte_order = match facts.order.byte_order() {
        ByteOrder::LittleEndian => "little",
        ByteOrder::BigEndian => "big",
    };
    put(key::BYTE_ORDER, byte_order.into());
    put(key::MODE, facts.mode.into());
    put(key::PATH, facts.place.file().into());
    let events: Vec<Value> = facts
        .events
        .iter()
        .map(|event| {
            let ids: Vec<String> = event.ids.iter().map(u64::to_string).collect();
            json!({ "attr": hex(&event.bytes), "ids": ids, "name": event.event_name() })
        })
        .collect();
    put(key::EVENTS, events.into());
    put(key::FEATURES, facts.features.as_json());
    if let Some(number) = facts.features.end_number {
        put(key::END_OF_FEATURES, number.into());
    }
    if !facts.features.unknown.is_empty() {
        put(key::UNKNOWN_FEATURES, facts.features.unknown.clone().into());
    }
    let odd: Vec<String> = facts
        .odd
        .iter()
        .chain(&facts.features.odd)
        .cloned()
        .collect();
    if !odd.is_empty() {
        put(key::ODD, odd.into());
    }
    let texts = facts.texts;
    for (key, text) in [
        ("ftrace.header_page", &texts.header_page),
        ("ftrace.header_event", &texts.header_event),
        ("ftrace.printk_formats", &texts.printk_formats),
        ("ftrace.saved_cmdlines", &texts.cmdlines),
        ("ftrace.kallsyms", &texts.kallsyms),
    ] {
        if !text.is_empty() {
            put(key, text.as_str().into());
        }
    }
    if texts.long_bytes != 0 {
        put("perf.file.long_bytes", texts.long_bytes.into());
    }
    info
}

/// A UUID made of a hash (version 8 of RFC 9562): the same file is the same session.
fn uuid(hash: u128) -> String {
    let value = hash & !(0xf << 76) & !(0x3 << 62) | 8 << 76 | 2 << 62;
    let text = format!("{value:032x}");
    format!(
        "{}-{}-{}-{}-{}",
        &text[..8],
        &text[8..12],
        &text[12..16],
        &text[16..20],
        &text[20..]
    )
}
