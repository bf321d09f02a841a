//! What describes a stream, told by the stream itself: attrs, features, tracing data.

use super::damage::Place;
use super::events::{FileEvent, MAX_EVENTS, MAX_IDS};
use super::feature::Features;
use super::lane::{HEADER_ATTR, HEADER_FEATURE, HEADER_TRACING_DATA};
use super::order::Order;
use super::outer::Outer;
use super::tracing_text::{self, TracingText};
use crate::attr::ATTR_MIN_BYTES;
use crate::file::raw::{self, feature};
use crate::uapi::HEADER_BYTES;
use kstrace_schema::Result;

/// The formats of all events of a kernel are 5 MiB.
const MAX_TRACING_DATA_BYTES: usize = 256 << 20;
/// `PERF_RECORD_EVENT_UPDATE`.
const EVENT_UPDATE: u32 = 78;
const EVENT_UPDATE_NAME: u64 = 2;

/// `HEADER_LAST_FEATURE` when streams first had it (Linux 4.17); it grows.
const OLDEST_END: u64 = 23;

/// What was read.
#[derive(Debug, Default)]
pub(super) struct Description {
    pub(super) events: Vec<FileEvent>,
    pub(super) features: Features,
    pub(super) texts: TracingText,
    /// Up to where the stream was read.
    pub(super) described_to: u64,
    pub(super) odd: Vec<String>,
}

/// The event that a `PERF_RECORD_HEADER_ATTR` tells of: an attr and its ids.
pub(super) fn event(record: &[u8], order: Order) -> std::result::Result<FileEvent, String> {
    let body = record.get(HEADER_BYTES..).unwrap_or_default();
    let stated = order.u32(body, 4).unwrap_or(0) as usize;
    let attr_bytes = match stated {
        0 => ATTR_MIN_BYTES,
        stated => stated,
    };
    let (Some(attr), Some(ids)) = (body.get(..attr_bytes), body.get(attr_bytes..)) else {
        return Err(format!(
            "states a size of {stated} bytes, the record has {} for it",
            body.len()
        ));
    };
    let ids = (0..ids.len() / 8)
        .filter_map(|n| order.u64(ids, 8 * n))
        .collect();
    FileEvent::new(attr, ids, order)
}

/// Reads from `start` on up to the first record that is not about the stream itself.
pub(super) fn describe(
    outer: &mut Outer,
    start: u64,
    order: Order,
    place: &Place,
) -> Result<Description> {
    let mut found = Description::default();
    let mut at = start;
    let mut id_count = 0;
    while outer.ensure(at, HEADER_BYTES, place)? {
        let (bytes, base) = outer.bytes();
        let from = usize::try_from(at - base).unwrap_or(usize::MAX);
        let Some(head) = order.header(bytes, from) else {
            break;
        };
        let size = usize::from(head.size);
        let describes = head.r#type >= 64 && head.r#type != raw::PERF_RECORD_FINISHED_ROUND;
        if !describes || size < HEADER_BYTES || !outer.ensure(at, size, place)? {
            break;
        }
        let (bytes, base) = outer.bytes();
        let from = usize::try_from(at - base).unwrap_or(usize::MAX);
        let record = bytes.get(from..from + size).unwrap_or_default();
        match head.r#type {
            HEADER_ATTR => match event(record, order) {
                Ok(event) => {
                    id_count += event.ids.len();
                    if found.events.len() >= MAX_EVENTS || id_count > MAX_IDS {
                        let reason = format!("more than {MAX_EVENTS} events or {MAX_IDS} ids");
                        return Err(place.invalid(at, "PERF_RECORD_HEADER_ATTR", "ids", reason));
                    }
                    found.events.push(event);
                }
                Err(reason) => {
                    let field = "perf_event_attr";
                    return Err(place.invalid(at, "PERF_RECORD_HEADER_ATTR", field, reason));
                }
            },
            HEADER_FEATURE => {
                let number = order.u64(record, HEADER_BYTES);
                let data = record.get(HEADER_BYTES + 8..).unwrap_or_default();
                // A number that no feature has yet, and nothing: all features were told.
                let is_end = data.is_empty() && number.is_some_and(|n| n >= OLDEST_END);
                match number
                    .and_then(|n| u32::try_from(n).ok())
                    .filter(|n| *n < 256)
                {
                    _ if is_end => found.features.end_number = number,
                    Some(number) => found.features.add(number, data.to_vec(), order),
                    None => found.odd.push(format!("feature {number:?}")),
                }
            }
            HEADER_TRACING_DATA => {
                let len = order.u32(record, HEADER_BYTES).unwrap_or(0) as usize;
                if len > MAX_TRACING_DATA_BYTES || !outer.ensure(at, size + len, place)? {
                    break;
                }
                let (bytes, base) = outer.bytes();
                let from = usize::try_from(at - base).unwrap_or(usize::MAX) + size;
                let data = bytes.get(from..from + len).unwrap_or_default();
                let (texts, odd) = tracing_text::parse(data);
                if let Some((offset, what)) = odd {
                    found.odd.push(format!("tracing data: {what} at {offset}"));
                }
                found.texts = texts;
                found
                    .features
                    .sections
                    .insert(feature::TRACING_DATA, data.to_vec());
                at += len as u64;
            }
            EVENT_UPDATE => note_update(record, order, &mut found.events),
            // What has data behind it comes after the description.
            super::classes::AUXTRACE | 81 | 83 => break,
            _ => {}
        }
        at += size as u64;
        found.described_to = at;
    }
    Ok(found)
}

/// A `PERF_RECORD_EVENT_UPDATE` may tell an event's name.
pub(super) fn note_update(record: &[u8], order: Order, events: &mut [FileEvent]) {
    if order.u64(record, HEADER_BYTES) != Some(EVENT_UPDATE_NAME) {
        return;
    }
    let id = order.u64(record, HEADER_BYTES + 8);
    let name = super::order::until_nul(record.get(HEADER_BYTES + 16..).unwrap_or_default());
    if let Some(event) = events.iter_mut().find(|e| e.ids.first().copied() == id) {
        event.name = Some(name);
    }
}
