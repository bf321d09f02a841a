//! The header of a perf.data: where everything is.

use super::damage::Place;
use super::events::{FileEvent, MAX_ATTR_BYTES, MAX_EVENTS, MAX_IDS};
use super::feature::Features;
use super::order::Order;
use super::tracing_text::{self, TracingText};
use crate::attr::ATTR_MIN_BYTES;
use crate::file::raw::{self, feature};
use kstrace_schema::{ByteOrder, Error, ErrorKind, Result};

/// Size of the header without the bits of features, as the first versions had it.
const OLD_HEADER_BYTES: u64 = 72;
/// `perf_file_header`.
pub(super) const HEADER_BYTES: u64 = 104;
/// Of the header of a stream.
pub(super) const PIPE_HEADER_BYTES: u64 = 16;
/// Sections together; real ones are some megabytes.
const MAX_FEATURE_BYTES: u64 = 256 << 20;

/// Offset and size in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Section {
    pub(super) offset: u64,
    pub(super) size: u64,
}

impl Section {
    /// Its bytes, as many as there are.
    pub(super) fn of<'a>(&self, file: &'a [u8]) -> Option<&'a [u8]> {
        let start = usize::try_from(self.offset).ok()?;
        let size = usize::try_from(self.size).ok()?;
        file.get(start..start.checked_add(size)?)
    }
}

/// What a file begins with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    pub(super) order: Order,
    /// Size of the header; [`PIPE_HEADER_BYTES`] for a stream.
    pub(super) size: u64,
}

/// The magic and what follows; `None` if it is no perf.data at all.
pub(super) fn head(bytes: &[u8]) -> Option<Head> {
    let magic: [u8; 8] = *bytes.first_chunk()?;
    let byte_order = match &magic {
        b"PERFILE2" | b"PERFFILE" => ByteOrder::LittleEndian,
        b"2ELIFREP" | b"ELIFFREP" => ByteOrder::BigEndian,
        _ => return None,
    };
    let order = Order::new(byte_order);
    let size = order.u64(bytes, 8)?;
    Some(Head { order, size })
}

/// The fixed part of the header of a file.
#[derive(Clone, Debug)]
pub(super) struct FileHeader {
    pub(super) order: Order,
    pub(super) attr_entry_bytes: u64,
    pub(super) attrs: Section,
    pub(super) data: Section,
    pub(super) features: Vec<u32>,
}

fn section(order: Order, bytes: &[u8], at: usize) -> Option<Section> {
    Some(Section {
        offset: order.u64(bytes, at)?,
        size: order.u64(bytes, at + 8)?,
    })
}

impl FileHeader {
    pub(super) fn parse(bytes: &[u8], place: &Place) -> Result<Self> {
        let what = "header";
        let head = head(bytes).ok_or_else(|| {
            let got = String::from_utf8_lossy(bytes.get(..8).unwrap_or(bytes)).into_owned();
            place.invalid(
                0,
                what,
                "magic",
                format!("{got:?}, a perf.data has \"PERFILE2\""),
            )
        })?;
        if head.size != HEADER_BYTES && head.size != OLD_HEADER_BYTES {
            let reason = format!(
                "{}, one of {HEADER_BYTES}, {OLD_HEADER_BYTES} (file) and {PIPE_HEADER_BYTES} (stream) is possible",
                head.size
            );
            return Err(place.error(ErrorKind::Unsupported, 8, what, "size", reason));
        }
        let order = head.order;
        let too_short = || {
            let reason = format!("{} bytes, a header has {}", bytes.len(), head.size);
            place.truncated(bytes.len() as u64, what, "size", reason)
        };
        let (Some(attr_entry_bytes), Some(attrs), Some(data)) = (
            order.u64(bytes, 16),
            section(order, bytes, 24),
            section(order, bytes, 40),
        ) else {
            return Err(too_short());
        };
        let mut features = Vec::new();
        if head.size == HEADER_BYTES {
            let words: Option<Vec<u64>> = (0..4).map(|n| order.u64(bytes, 72 + 8 * n)).collect();
            let mut words = words.ok_or_else(too_short)?;
            let has = |words: &[u64], bit: u32| words[0] >> bit & 1 != 0;
            // A 32-bit machine writes the bits as words of 32; in a file of another byte
            // order their places then differ. HOSTNAME is always there.
            if order.byte_order() != ByteOrder::NATIVE && !has(&words, feature::HOSTNAME) {
                let halves: Vec<u64> = words.iter().map(|w| w.rotate_left(32)).collect();
                if has(&halves, feature::HOSTNAME) {
                    words = halves;
                }
            }
            features = (0..256u32)
                .filter(|n| words[(*n / 64) as usize] >> (n % 64) & 1 != 0)
                .collect();
        }
        let least = ATTR_MIN_BYTES as u64 + 16;
        let most = MAX_ATTR_BYTES as u64 + 16;
        if !(least..=most).contains(&attr_entry_bytes) {
            let reason = format!("{attr_entry_bytes}, {least} to {most} are possible");
            return Err(place.invalid(16, what, "attr_size", reason));
        }
        Ok(FileHeader {
            order,
            attr_entry_bytes,
            attrs,
            data,
            features,
        })
    }

    /// The events, and what is wrong with those that could not be read.
    pub(super) fn events(&self, file: &[u8], place: &Place) -> (Vec<FileEvent>, Option<Error>) {
        let what = "attrs";
        let mut events = Vec::new();
        let mut id_count = 0u64;
        let count = self.attrs.size / self.attr_entry_bytes;
        for n in 0..count {
            let at = self.attrs.offset.saturating_add(n * self.attr_entry_bytes);
            if events.len() >= MAX_EVENTS {
                let reason = format!("{count} events, at most {MAX_EVENTS} are possible");
                return (events, Some(place.invalid(at, what, "size", reason)));
            }
            let entry = Section {
                offset: at,
                size: self.attr_entry_bytes,
            };
            let Some(entry) = entry.of(file) else {
                let reason = format!("attr {n} of {count} ends behind the file");
                return (
                    events,
                    Some(place.truncated(at, what, "perf_event_attr", reason)),
                );
            };
            let (attr, ids_at) = entry.split_at(entry.len() - 16);
            let ids = section(self.order, ids_at, 0).unwrap_or_default();
            id_count = id_count.saturating_add(ids.size / 8);
            let ids_place = at + self.attr_entry_bytes - 16;
            if id_count > MAX_IDS as u64 {
                let reason = format!("{id_count} ids, at most {MAX_IDS} are possible");
                return (
                    events,
                    Some(place.invalid(ids_place, what, "ids.size", reason)),
                );
            }
            let Some(bytes) = ids.of(file) else {
                let reason = format!(
                    "ids of attr {n} at {} with {} bytes end behind the file",
                    ids.offset, ids.size
                );
                return (
                    events,
                    Some(place.truncated(ids_place, what, "ids", reason)),
                );
            };
            let ids = (0..bytes.len() / 8)
                .filter_map(|n| self.order.u64(bytes, 8 * n))
                .collect();
            match FileEvent::new(attr, ids, self.order) {
                Ok(event) => events.push(event),
                Err(reason) => {
                    let error = place.invalid(at, what, "perf_event_attr.size", reason);
                    return (events, Some(error));
                }
            }
        }
        (events, None)
    }

    /// The feature sections, and what is wrong with those that could not be read.
    pub(super) fn features(
        &self,
        file: &[u8],
        data_end: u64,
        place: &Place,
    ) -> (Features, TracingText, Option<Error>) {
        let mut features = Features::default();
        let mut texts = TracingText::default();
        let mut damage = None;
        let mut total = 0u64;
        for (n, number) in self.features.iter().enumerate() {
            let entry_at = data_end.saturating_add(16 * n as u64);
            let name = super::feature::name(*number).unwrap_or("?");
            let what = format!("HEADER_{name} ({number})");
            let entry = usize::try_from(entry_at)
                .ok()
                .and_then(|at| section(self.order, file, at));
            let Some(entry) = entry else {
                damage = damage.or(Some(place.truncated(
                    entry_at,
                    "table of features",
                    &what,
                    "ends behind the file",
                )));
                break;
            };
            total = total.saturating_add(entry.size);
            let bytes = entry.of(file).filter(|_| total <= MAX_FEATURE_BYTES);
            let Some(bytes) = bytes else {
                let reason = format!(
                    "{} bytes at {}: behind the file's end, or more than {MAX_FEATURE_BYTES} in all",
                    entry.size, entry.offset
                );
                damage = damage.or(Some(place.truncated(entry_at, &what, "section", reason)));
                continue;
            };
            if *number == feature::TRACING_DATA {
                let (parsed, odd) = tracing_text::parse(bytes);
                texts = parsed;
                if let Some((at, field)) = odd {
                    let at = entry.offset + at as u64;
                    damage = damage.or(Some(place.invalid(at, &what, field, "the text ends in it, or it is not what it should be: what follows is not read")));
                }
            }
            features.add(*number, bytes.to_vec(), self.order);
        }
        (features, texts, damage)
    }
}

const _: () = assert!(HEADER_BYTES as usize == size_of::<raw::PerfFileHeader>());
