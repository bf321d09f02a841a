//! A perf.data that is written again: what the reader kept goes back as it was.
//!
//! Where all records of a session come from one perf.data, nothing has to be mapped: the
//! events keep their attrs, ids and names, the features their bytes, and the byte order is
//! the old one. What is new is the order of the records, which are sorted now, and with it
//! the finished rounds, the places of AUX data, and that nothing is compressed.

use super::compat::{self, PerfVersion};
use super::output::Output;
use super::raw::{self, PerfFileSection, feature};
use super::read::classes::{AUX_DATA, AUXTRACE, EVENT_INDEX, PART};
use super::read::order::Order;
use super::read::session::key;
use super::read::{decode_attr, from_hex};
use crate::attr::Attr;
use crate::layout::{SampleIdShape, SampleShape};
use crate::uapi::{self, HEADER_BYTES, flag};
use kstrace_schema::{
    ByteOrder, EventRecordClass, NativeDescription, SessionInfo, SourceId, SourceInfo, namespace,
};
use serde_json::Value;
use std::collections::BTreeMap;

/// Most AUX data behind one record that is waited for.
const MAX_AUX_BYTES: u64 = 1 << 30;

/// `PERF_RECORD_HEADER_ATTR` and so on: see `PERF_RECORD_USER_TYPE_START`.
const HEADER_ATTR: u32 = 64;
const HEADER_TRACING_DATA: u32 = 66;
const HEADER_BUILD_ID: u32 = 67;
const HEADER_FEATURE: u32 = 80;

/// An event of the old file.
#[derive(Clone, Debug)]
pub(super) struct KeptEvent {
    /// As it lay in the file.
    pub(super) bytes: Vec<u8>,
    pub(super) attr: Attr,
    pub(super) ids: Vec<u64>,
    pub(super) name: String,
}

/// What describes the old file.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) source: SourceId,
    pub(super) order: Order,
    pub(super) events: Vec<KeptEvent>,
    pub(super) features: BTreeMap<u32, Vec<u8>>,
    /// `PERF_RECORD_AUXTRACE`s: where each is and how long with its data.
    aux_places: Vec<(u64, u64)>,
    /// What the stream that was read had for a number behind its last feature.
    end_of_features: Option<u64>,
    waiting_aux: Option<WaitingAux>,
    /// Facts that a stream has no place for.
    not_in_band: Vec<String>,
}

/// A `PERF_RECORD_AUXTRACE` whose data are not all there yet.
#[derive(Debug)]
struct WaitingAux {
    bytes: Vec<u8>,
    data_left: u64,
}

/// Where a record has its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TimePlace {
    FromStart(usize),
    FromEnd(usize),
    Nowhere,
}

/// What becomes of the records of a class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeptPlan {
    /// Written as they are.
    Record { time: TimePlace, is_sample: bool },
    /// `PERF_RECORD_AUXTRACE`, whose data follow.
    AuxHead,
    /// A piece of these data.
    AuxData,
}

impl Kept {
    /// If all that the session holds comes from one perf.data: what describes it.
    pub(super) fn of(session: &SessionInfo) -> Option<Self> {
        let mut others = session
            .sources
            .iter()
            .filter(|s| s.id != SourceId::KSTRACE && s.kind != namespace::KSTRACE);
        let source = others.next()?;
        if others.next().is_some() || source.kind != namespace::PERF {
            return None;
        }
        Self::of_source(source)
    }

    /// Whether a source was read from a perf.data, whose own records tell its loss.
    pub(super) fn is_file(source: &SourceInfo) -> bool {
        source.attributes.contains_key(key::EVENTS)
    }

    /// Whether a source's records are in the byte order of another kind of machine.
    pub(super) fn is_foreign(source: &SourceInfo) -> bool {
        let native = match ByteOrder::NATIVE {
            ByteOrder::LittleEndian => "little",
            ByteOrder::BigEndian => "big",
        };
        let told = source.attributes.get(key::BYTE_ORDER);
        told.and_then(Value::as_str)
            .is_some_and(|told| told != native)
    }

    fn of_source(source: &SourceInfo) -> Option<Self> {
        let text = |key: &str| source.attributes.get(key)?.as_str();
        let order = Order::new(match text(key::BYTE_ORDER)? {
            "little" => ByteOrder::LittleEndian,
            "big" => ByteOrder::BigEndian,
            _ => return None,
        });
        let events = source.attributes.get(key::EVENTS)?.as_array()?;
        let events: Option<Vec<KeptEvent>> = events.iter().map(|e| event(e, order)).collect();
        let features = source.attributes.get(key::FEATURES)?.as_object()?;
        let features: Option<BTreeMap<u32, Vec<u8>>> = features
            .iter()
            .map(|(number, bytes)| {
                let number = number.parse().ok().filter(|n| *n < 256)?;
                Some((number, from_hex(bytes.as_str()?)?))
            })
            .collect();
        let mut features = features?;
        // All records are in one file now.
        features.remove(&feature::DIR_FORMAT);
        Some(Kept {
            source: source.id,
            order,
            events: events.filter(|e| !e.is_empty())?,
            features,
            aux_places: Vec::new(),
            end_of_features: source
                .attributes
                .get(key::END_OF_FEATURES)
                .and_then(Value::as_u64),
            waiting_aux: None,
            not_in_band: Vec::new(),
        })
    }

    /// The plan for a class's records; `None` if they are not of the old file.
    pub(super) fn plan(&self, class: &EventRecordClass) -> Option<KeptPlan> {
        if class.source != self.source {
            return None;
        }
        match &class.native {
            NativeDescription::PerfSample { .. } => {
                let index = class.attributes.get(EVENT_INDEX)?.as_u64()?;
                let event = self.events.get(usize::try_from(index).ok()?)?;
                let at = SampleShape::of(&event.attr).time_offset_bytes();
                Some(KeptPlan::Record {
                    time: at.map_or(TimePlace::Nowhere, TimePlace::FromStart),
                    is_sample: true,
                })
            }
            NativeDescription::PerfRecord {
                record_type,
                sample_id_type,
            } => {
                let part = class.attributes.get(PART).and_then(Value::as_str);
                if part == Some(AUX_DATA) {
                    return Some(KeptPlan::AuxData);
                }
                if *record_type == AUXTRACE {
                    return Some(KeptPlan::AuxHead);
                }
                let at = SampleIdShape::new(*sample_id_type).time_from_end_bytes();
                Some(KeptPlan::Record {
                    time: at.map_or(TimePlace::Nowhere, TimePlace::FromEnd),
                    is_sample: false,
                })
            }
            _ => None,
        }
    }

    /// The time that a record states; none if it has none, or 0, or all ones.
    #[inline]
    pub(super) fn time_of(&self, place: TimePlace, record: &[u8]) -> Option<u64> {
        let at = match place {
            TimePlace::FromStart(at) => at,
            TimePlace::FromEnd(from_end) => record
                .len()
                .checked_sub(from_end)
                .filter(|at| *at >= HEADER_BYTES)?,
            TimePlace::Nowhere => return None,
        };
        let time = self.order.u64(record, at)?;
        (time != 0 && time != u64::MAX).then_some(time)
    }

    /// Takes a `PERF_RECORD_AUXTRACE`; whether its data are still to come.
    pub(super) fn aux_head(&mut self, record: &[u8]) -> bool {
        let data_left = self.order.u64(record, HEADER_BYTES).unwrap_or(0);
        self.waiting_aux = (data_left <= MAX_AUX_BYTES).then(|| WaitingAux {
            bytes: record.to_vec(),
            data_left,
        });
        data_left > 0
    }

    /// Takes a piece of AUX data; whether it was expected.
    pub(super) fn aux_data(&mut self, data: &[u8]) -> bool {
        let Some(waiting) = &mut self.waiting_aux else {
            return false;
        };
        if data.len() as u64 > waiting.data_left {
            return false;
        }
        waiting.bytes.extend_from_slice(data);
        waiting.data_left -= data.len() as u64;
        true
    }

    /// A `PERF_RECORD_AUXTRACE` with all its data, to be written at `position`.
    pub(super) fn complete_aux(&mut self, position: u64) -> Option<Vec<u8>> {
        let whole = self.waiting_aux.take_if(|waiting| waiting.data_left == 0)?;
        self.aux_places.push((position, whole.bytes.len() as u64));
        Some(whole.bytes)
    }

    /// Some AUX data never came.
    pub(super) fn has_incomplete_aux(&self) -> bool {
        self.waiting_aux.is_some()
    }

    /// Makes the attrs no larger than a perf takes. Says what did not fit and meant something.
    pub(super) fn cut_attrs(&mut self, version: PerfVersion) -> Vec<String> {
        let most = version.attr_bytes();
        let mut facts = Vec::new();
        for event in &mut self.events {
            if event.bytes.len() <= most && event.attr.size as usize <= most {
                continue;
            }
            for field in compat::fields_behind(&event.attr, most) {
                facts.push(format!(
                    "{field} of {}, unknown to perf {version}",
                    event.name
                ));
            }
            event.bytes.truncate(most);
            event.attr.size = event.attr.size.min(most as u32);
            let size = self.order.put_u32(event.attr.size);
            if let Some(field) = event.bytes.get_mut(4..8) {
                field.copy_from_slice(&size);
            }
        }
        facts
    }

    /// Size of an attr's entry in the file.
    pub(super) fn attr_bytes(&self) -> usize {
        self.events.iter().map(|e| e.bytes.len()).max().unwrap_or(0)
    }

    /// The ids and after them the attrs, as they stand at `offset`; and where the attrs are.
    pub(super) fn encode_attrs(&self, offset: u64) -> (Vec<u8>, PerfFileSection) {
        let order = self.order;
        let mut out = Vec::new();
        let mut places = Vec::with_capacity(self.events.len());
        for event in &self.events {
            places.push((offset + out.len() as u64, 8 * event.ids.len() as u64));
            for id in &event.ids {
                out.extend_from_slice(&order.put_u64(*id));
            }
        }
        let attrs_at = offset + out.len() as u64;
        let room = self.attr_bytes();
        for (event, (ids_at, ids_bytes)) in self.events.iter().zip(places) {
            let end = out.len() + room;
            out.extend_from_slice(&event.bytes);
            out.resize(end, 0);
            out.extend_from_slice(&order.put_u64(ids_at));
            out.extend_from_slice(&order.put_u64(ids_bytes));
        }
        let section = PerfFileSection {
            offset: attrs_at,
            size: offset + out.len() as u64 - attrs_at,
        };
        (out, section)
    }

    /// The sections, with those made anew that the new file makes untrue.
    pub(super) fn new_features(&self) -> BTreeMap<u32, Vec<u8>> {
        let mut features = self.features.clone();
        if features.contains_key(&feature::AUXTRACE) {
            features.insert(feature::AUXTRACE, self.aux_index());
        }
        features
            .entry(feature::EVENT_DESC)
            .or_insert_with(|| self.event_desc());
        features
    }

    /// `HEADER_AUXTRACE`: where the records with AUX data are.
    fn aux_index(&self) -> Vec<u8> {
        let mut bytes = self.order.put_u64(self.aux_places.len() as u64).to_vec();
        for (offset, size) in &self.aux_places {
            bytes.extend_from_slice(&self.order.put_u64(*offset));
            bytes.extend_from_slice(&self.order.put_u64(*size));
        }
        bytes
    }

    /// `HEADER_EVENT_DESC`, for a stream that told the names in another way.
    fn event_desc(&self) -> Vec<u8> {
        let order = self.order;
        let mut bytes = Vec::new();
        // Counts and sizes as the reader capped them.
        bytes.extend_from_slice(&order.put_u32(self.events.len() as u32));
        bytes.extend_from_slice(&order.put_u32(self.attr_bytes() as u32));
        for event in &self.events {
            let end = bytes.len() + self.attr_bytes();
            bytes.extend_from_slice(&event.bytes);
            bytes.resize(end, 0);
            bytes.extend_from_slice(&order.put_u32(event.ids.len() as u32));
            let room = (event.name.len() + 1).next_multiple_of(64);
            bytes.extend_from_slice(&order.put_u32(room as u32));
            let end = bytes.len() + room;
            bytes.extend_from_slice(event.name.as_bytes());
            bytes.resize(end, 0);
            for id in &event.ids {
                bytes.extend_from_slice(&order.put_u64(*id));
            }
        }
        bytes
    }

    /// The table of the sections and the sections, for behind records that end at `data_end`;
    /// and the bits of the header.
    pub(super) fn encode_features(&self, data_end: u64) -> (Vec<u8>, [u64; 4]) {
        let sections = self.new_features();
        let table_bytes = sections.len() * size_of::<PerfFileSection>();
        let (mut table, mut contents, mut bits) = (Vec::new(), Vec::new(), [0u64; 4]);
        for (number, bytes) in &sections {
            bits[*number as usize / 64 % 4] |= 1 << (number % 64);
            let offset = data_end + (table_bytes + contents.len()) as u64;
            table.extend_from_slice(&self.order.put_u64(offset));
            table.extend_from_slice(&self.order.put_u64(bytes.len() as u64));
            contents.extend_from_slice(bytes);
            contents.resize(contents.len().next_multiple_of(8), 0);
        }
        table.append(&mut contents);
        (table, bits)
    }

    /// The header of the file.
    pub(super) fn encode_header(
        &self,
        attrs: PerfFileSection,
        data: PerfFileSection,
        bits: [u64; 4],
    ) -> Vec<u8> {
        let order = self.order;
        let mut bytes = Vec::new();
        let mut put = |value: u64| bytes.extend_from_slice(&order.put_u64(value));
        put(raw::PERF_MAGIC2);
        put(size_of::<raw::PerfFileHeader>() as u64);
        put((self.attr_bytes() + size_of::<PerfFileSection>()) as u64);
        for section in [attrs, data, PerfFileSection::default()] {
            put(section.offset);
            put(section.size);
        }
        bits.into_iter().for_each(put);
        bytes
    }

    /// What a stream begins with: its header, and records with attrs, features, tracing data
    /// and build ids.
    pub(super) fn encode_in_band(&mut self) -> Vec<u8> {
        let order = self.order;
        let mut out = order.put_u64(raw::PERF_MAGIC2).to_vec();
        out.extend_from_slice(&order.put_u64(16));
        for event in &self.events {
            // A reader finds the ids behind as many bytes as the attr says it has.
            let attr_bytes = match event.attr.size as usize {
                0 => crate::attr::ATTR_MIN_BYTES,
                size => size.min(event.bytes.len()),
            };
            let room = usize::from(u16::MAX) - HEADER_BYTES - attr_bytes;
            let ids = &event.ids[..event.ids.len().min(room / 8)];
            if ids.len() < event.ids.len() {
                let fact = format!("all {} ids of {}", event.ids.len(), event.name);
                self.not_in_band.push(fact);
            }
            let size = HEADER_BYTES + attr_bytes + 8 * ids.len();
            out.extend_from_slice(&self.head(HEADER_ATTR, size));
            out.extend_from_slice(&event.bytes[..attr_bytes]);
            ids.iter()
                .for_each(|id| out.extend_from_slice(&order.put_u64(*id)));
        }
        let mut too_long = Vec::new();
        for (number, bytes) in &self.new_features() {
            // These have records of their own, or make no sense in a stream.
            if [feature::TRACING_DATA, feature::BUILD_ID, feature::AUXTRACE].contains(number) {
                continue;
            }
            let Some(size) = u16::try_from(HEADER_BYTES + 8 + bytes.len()).ok() else {
                too_long.push(format!("the feature {number}, of {} bytes", bytes.len()));
                continue;
            };
            out.extend_from_slice(&self.head(HEADER_FEATURE, size.into()));
            out.extend_from_slice(&order.put_u64(u64::from(*number)));
            out.extend_from_slice(bytes);
        }
        self.not_in_band.append(&mut too_long);
        // Its number differs from version to version of perf, which refuses any other.
        if let Some(number) = self.end_of_features {
            out.extend_from_slice(&self.head(HEADER_FEATURE, HEADER_BYTES + 8));
            out.extend_from_slice(&order.put_u64(number));
        }
        if let Some(bytes) = self.features.get(&feature::TRACING_DATA) {
            let padded = bytes.len().next_multiple_of(8);
            out.extend_from_slice(&self.head(HEADER_TRACING_DATA, HEADER_BYTES + 4));
            // The reader keeps no more than 256 MiB.
            out.extend_from_slice(&order.put_u32(padded as u32));
            out.extend_from_slice(bytes);
            out.resize(out.len() + padded - bytes.len(), 0);
        }
        if let Some(bytes) = self.features.get(&feature::BUILD_ID) {
            self.push_build_ids(bytes, &mut out);
        }
        out
    }

    /// The entries of `HEADER_BUILD_ID` are records but for their type.
    fn push_build_ids(&self, mut entries: &[u8], out: &mut Vec<u8>) {
        while let Some(head) = self.order.header(entries, 0) {
            let size = usize::from(head.size);
            let Some(entry) = entries.get(..size).filter(|_| size > HEADER_BYTES) else {
                return;
            };
            out.extend_from_slice(&self.order.put_u32(HEADER_BUILD_ID));
            out.extend_from_slice(&entry[4..]);
            entries = &entries[size..];
        }
    }

    pub(super) fn not_in_band(&self) -> &[String] {
        &self.not_in_band
    }

    pub(super) fn take_not_in_band(&mut self) -> Vec<String> {
        std::mem::take(&mut self.not_in_band)
    }

    /// Appends a `FINISHED_ROUND`.
    pub(super) fn push_finished_round(&self, output: &mut Output) {
        output.push(&self.head(raw::PERF_RECORD_FINISHED_ROUND, HEADER_BYTES));
    }

    fn head(&self, record_type: u32, size: usize) -> [u8; 8] {
        let order = self.order;
        let mut head = [0; 8];
        head[..4].copy_from_slice(&order.put_u32(record_type));
        // Records made here are far shorter than 64 KiB.
        head[6..].copy_from_slice(&order.put_u16(size as u16));
        head
    }

    /// A `PERF_RECORD_LOST` for loss that no record of the old file tells.
    pub(super) fn lost_record(&self, count: u64, time_ns: u64, cpu: u32) -> Vec<u8> {
        let order = self.order;
        let first = &self.events[0];
        let id = first.ids.first().copied().unwrap_or(0);
        let shape = match first.attr.has(flag::SAMPLE_ID_ALL) {
            true => SampleIdShape::new(first.attr.sample_type),
            false => SampleIdShape::NONE,
        };
        let size = HEADER_BYTES + 16 + shape.size_bytes();
        let mut record = self.head(uapi::PERF_RECORD_LOST, size).to_vec();
        record.extend_from_slice(&order.put_u64(id));
        record.extend_from_slice(&order.put_u64(count));
        record.resize(size, 0);
        let mut put = |from_end: Option<usize>, bytes: &[u8]| {
            if let Some(from_end) = from_end {
                let at = size - from_end;
                record[at..at + bytes.len()].copy_from_slice(bytes);
            }
        };
        put(shape.time_from_end_bytes(), &order.put_u64(time_ns));
        put(shape.id_from_end_bytes(), &order.put_u64(id));
        put(shape.cpu_from_end_bytes(), &order.put_u32(cpu));
        record
    }
}

fn event(value: &Value, order: Order) -> Option<KeptEvent> {
    let bytes = from_hex(value.get("attr")?.as_str()?)?;
    let ids = value.get("ids")?.as_array()?;
    let ids: Option<Vec<u64>> = ids.iter().map(|id| id.as_str()?.parse().ok()).collect();
    Some(KeptEvent {
        attr: decode_attr(&bytes, order)?,
        bytes,
        ids: ids?,
        name: value.get("name")?.as_str()?.to_owned(),
    })
}
