//! Makes the perf.data that a big-endian machine would have written of one that a
//! little-endian machine wrote: slowly, field by field, and sharing nothing with the reader.

use std::collections::BTreeMap;
use tracefs::format::{EventFormat, FieldKind};

/// Turns numbers of the bytes around, one after the other.
struct Turn {
    bytes: Vec<u8>,
    at: usize,
}

impl Turn {
    fn new(bytes: &[u8]) -> Self {
        Turn {
            bytes: bytes.to_vec(),
            at: 0,
        }
    }

    /// Turns the next number and gives its value.
    fn number(&mut self, size: usize) -> u64 {
        let field = &mut self.bytes[self.at..self.at + size];
        let value = field.iter().rev().fold(0u64, |v, b| v << 8 | u64::from(*b));
        field.reverse();
        self.at += size;
        value
    }

    fn u32(&mut self) -> u64 {
        self.number(4)
    }

    fn u64(&mut self) -> u64 {
        self.number(8)
    }

    fn numbers(&mut self, sizes: &[usize]) {
        for size in sizes {
            self.number(*size);
        }
    }

    fn skip(&mut self, count: u64) {
        self.at += usize::try_from(count).unwrap();
    }
}

fn number(bytes: &[u8], at: usize, size: usize) -> u64 {
    bytes[at..at + size]
        .iter()
        .rev()
        .fold(0u64, |v, b| v << 8 | u64::from(*b))
}

/// An attr, bit-fields and all.
fn attr(bytes: &[u8]) -> Vec<u8> {
    let mut turn = Turn::new(bytes);
    turn.numbers(&[4, 4, 8, 8, 8, 8]);
    for byte in &mut turn.bytes[40..48] {
        *byte = byte.reverse_bits();
    }
    turn.at = 48;
    turn.numbers(&[4, 4, 8, 8, 8, 8, 4, 4, 8, 4, 2, 2, 4, 4, 8]);
    assert_eq!(turn.at, 128);
    if bytes.len() >= 136 {
        turn.u64();
    }
    turn.bytes
}

struct Event {
    sample_type: u64,
    read_format: u64,
    config: u64,
}

struct File<'a> {
    bytes: &'a [u8],
    events: Vec<Event>,
    by_id: BTreeMap<u64, usize>,
    formats: BTreeMap<u64, EventFormat>,
}

const IDENTIFIER: u64 = 1 << 16;

impl File<'_> {
    /// The bits of `sample_type` that are in trailers, in their order.
    fn trailer(&self, turn: &mut Turn) {
        let sample_type = self.events[0].sample_type;
        let bits = [
            (1, [4, 4].as_slice()),
            (2, &[8]),
            (6, &[8]),
            (9, &[8]),
            (7, &[4, 4]),
            (16, &[8]),
        ];
        for (bit, sizes) in bits {
            if sample_type & 1 << bit != 0 {
                turn.numbers(sizes);
            }
        }
    }

    fn trailer_bytes(&self) -> usize {
        let of_trailers = 1 << 1 | 1 << 2 | 1 << 6 | 1 << 7 | 1 << 9 | IDENTIFIER;
        8 * (self.events[0].sample_type & of_trailers).count_ones() as usize
    }

    fn sample(&self, turn: &mut Turn) {
        assert_ne!(
            self.events[0].sample_type & IDENTIFIER,
            0,
            "record several events"
        );
        let id = turn.u64();
        let event = &self.events[self.by_id[&id]];
        let has = |bit: u32| event.sample_type & 1 << bit != 0;
        for (bit, sizes) in [
            (0, [8].as_slice()),
            (1, &[4, 4]),
            (2, &[8]),
            (3, &[8]),
            (6, &[8]),
            (9, &[8]),
            (7, &[4, 4]),
            (8, &[8]),
        ] {
            if has(bit) {
                turn.numbers(sizes);
            }
        }
        if has(4) {
            assert_eq!(event.read_format & 8, 0, "no groups here");
            let parts = 1 + (event.read_format & 0b1_0111).count_ones();
            (0..parts).for_each(|_| {
                turn.u64();
            });
        }
        if has(5) {
            for _ in 0..turn.u64() {
                turn.u64();
            }
        }
        if has(10) {
            let size = turn.u32();
            let start = turn.at;
            self.entry(turn, start, &self.formats[&event.config]);
            turn.at = start + usize::try_from(size).unwrap();
        }
        assert_eq!(
            event.sample_type >> 11 & !(IDENTIFIER >> 11),
            0,
            "more parts than are turned here"
        );
    }

    /// A tracepoint's entry by its format file.
    fn entry(&self, turn: &mut Turn, start: usize, format: &EventFormat) {
        for field in format.all_fields() {
            turn.at = start + field.offset_bytes as usize;
            let size = field.size_bytes as usize;
            match &field.kind {
                FieldKind::Scalar | FieldKind::Pointer => {
                    turn.number(size);
                }
                FieldKind::DataLoc { element } => {
                    turn.u32();
                    assert!(element.is_none_or(|e| e.size_bytes == 1), "text only");
                }
                FieldKind::Array { .. } => {
                    let element = field.known_type().map_or(1, |t| t.size_bytes as usize);
                    for _ in 0..size / element {
                        turn.number(element);
                    }
                }
                FieldKind::String => {}
                other => panic!("{other:?} is not turned here"),
            }
        }
    }

    /// One record; `None` for those of perf itself that say nothing about the events.
    fn record(&self, record: &[u8]) -> Option<Vec<u8>> {
        let mut turn = Turn::new(record);
        let record_type = turn.u32();
        turn.numbers(&[2, 2]);
        let mut has_trailer = true;
        match record_type {
            1 => turn.numbers(&[4, 4, 8, 8, 8]),
            2 => turn.numbers(&[8, 8]),
            3 => turn.numbers(&[4, 4]),
            4 | 7 => turn.numbers(&[4, 4, 4, 4, 8]),
            5 | 6 => turn.numbers(&[8, 8, 8]),
            9 => {
                self.sample(&mut turn);
                has_trailer = false;
            }
            10 => turn.numbers(&[4, 4, 8, 8, 8, 4, 4, 8, 8, 4, 4]),
            13 => turn.numbers(&[8]),
            14 => {}
            15 => turn.numbers(&[4, 4]),
            17 => turn.numbers(&[8, 4, 2, 2]),
            18 => turn.numbers(&[2, 2, 4]),
            68 => has_trailer = false,
            64.. => return None,
            other => panic!("record {other} is not turned here"),
        }
        if has_trailer {
            turn.at = record.len() - self.trailer_bytes();
            self.trailer(&mut turn);
            assert_eq!(turn.at, record.len());
        }
        Some(turn.bytes)
    }

    fn feature(&self, number: u32, bytes: &[u8]) -> Option<Vec<u8>> {
        let mut turn = Turn::new(bytes);
        let string = |turn: &mut Turn| {
            let size = turn.u32();
            turn.skip(size);
        };
        match number {
            1 => return Some(tracing_data(bytes)),
            3..=6 | 8 | 9 => string(&mut turn),
            7 => turn.numbers(&[4, 4]),
            10 | 23 => turn.numbers(&[8]),
            11 => (0..turn.u32()).for_each(|_| string(&mut turn)),
            12 => {
                let count = turn.u32();
                let size = usize::try_from(turn.u32()).unwrap();
                for _ in 0..count {
                    let at = turn.at;
                    let turned = attr(&bytes[at..at + size]);
                    turn.bytes[at..at + size].copy_from_slice(&turned);
                    turn.at += size;
                    let ids = turn.u32();
                    string(&mut turn);
                    (0..ids).for_each(|_| {
                        turn.u64();
                    });
                }
            }
            21 => turn.numbers(&[8, 8]),
            29 => turn.numbers(&[4, 4, 8, 8]),
            _ => return None,
        }
        Some(turn.bytes)
    }
}

/// The numbers between the texts, and the byte that says which way round they are.
fn tracing_data(bytes: &[u8]) -> Vec<u8> {
    let mut turn = Turn::new(bytes);
    let text = |turn: &mut Turn| {
        let length = turn.bytes[turn.at..].iter().position(|b| *b == 0).unwrap();
        turn.at += length + 1;
    };
    let formats = |turn: &mut Turn, count: u64| {
        for _ in 0..count {
            let size = turn.u64();
            turn.skip(size);
        }
    };
    turn.at = 10;
    text(&mut turn);
    turn.bytes[turn.at] = 1;
    turn.at += 2;
    turn.u32();
    for _ in 0..2 {
        text(&mut turn);
        formats(&mut turn, 1);
    }
    let own = turn.u32();
    formats(&mut turn, own);
    for _ in 0..turn.u32() {
        text(&mut turn);
        let count = turn.u32();
        formats(&mut turn, count);
    }
    for _ in 0..2 {
        let size = turn.u32();
        turn.skip(size);
    }
    let size = turn.u64();
    turn.skip(size);
    turn.bytes
}

fn formats(bytes: &[u8]) -> BTreeMap<u64, EventFormat> {
    // Every format begins with its name and ends where the next number makes no text.
    let text = String::from_utf8_lossy(bytes);
    text.split("name: ")
        .skip(1)
        .filter_map(|rest| {
            let end = rest.find("\nprint fmt: ")?;
            let line_end = rest[end + 1..]
                .find('\n')
                .map_or(rest.len(), |n| end + 2 + n);
            let format = EventFormat::parse(&format!("name: {}", &rest[..line_end])).ok()?;
            Some((u64::from(format.id), format))
        })
        .collect()
}

/// The whole file.
pub(crate) fn big_endian(bytes: &[u8]) -> Vec<u8> {
    let at = |at: usize| usize::try_from(number(bytes, at, 8)).unwrap();
    let (entry, attrs_at, attrs_bytes) = (at(16), at(24), at(32));
    let (data_at, data_bytes) = (at(40), at(48));
    let mut sections: Vec<(u32, &[u8])> = Vec::new();
    for n in 0..256u32 {
        if number(bytes, 72 + 8 * (n as usize / 64), 8) >> (n % 64) & 1 != 0 {
            let table = data_at + data_bytes + 16 * sections.len();
            sections.push((n, &bytes[at(table)..at(table) + at(table + 8)]));
        }
    }
    let mut file = File {
        bytes,
        events: Vec::new(),
        by_id: BTreeMap::new(),
        formats: sections
            .iter()
            .find(|(n, _)| *n == 1)
            .map_or_else(BTreeMap::new, |(_, b)| formats(b)),
    };
    let mut ids: Vec<u8> = Vec::new();
    let mut attrs = Vec::new();
    for n in 0..attrs_bytes / entry {
        let start = attrs_at + n * entry;
        let one = &file.bytes[start..start + entry - 16];
        let (ids_at, ids_bytes) = (at(start + entry - 16), at(start + entry - 8));
        attrs.extend(attr(one));
        attrs.extend((104 + ids.len() as u64).to_be_bytes());
        attrs.extend((ids_bytes as u64).to_be_bytes());
        for id in bytes[ids_at..ids_at + ids_bytes].chunks_exact(8) {
            file.by_id.insert(number(id, 0, 8), n);
            ids.extend(id.iter().rev());
        }
        file.events.push(Event {
            config: number(one, 8, 8),
            sample_type: number(one, 24, 8),
            read_format: number(one, 32, 8),
        });
    }
    let mut data = Vec::new();
    let mut left = &bytes[data_at..data_at + data_bytes];
    while !left.is_empty() {
        let (record, more) = left.split_at(usize::try_from(number(left, 6, 2)).unwrap());
        data.extend(file.record(record).unwrap_or_default());
        left = more;
    }
    let turned: Vec<(u32, Vec<u8>)> = sections
        .iter()
        .filter_map(|(n, content)| Some((*n, file.feature(*n, content)?)))
        .collect();
    let attrs_at = 104 + ids.len();
    let data_at = attrs_at + attrs.len();
    let mut out = b"2ELIFREP".to_vec();
    for value in [104, entry, attrs_at, attrs.len(), data_at, data.len(), 0, 0] {
        out.extend((value as u64).to_be_bytes());
    }
    let mut bits = [0u64; 4];
    for (n, _) in &turned {
        bits[*n as usize / 64] |= 1 << (n % 64);
    }
    out.extend(bits.iter().flat_map(|word| word.to_be_bytes()));
    out.extend(ids);
    out.extend(attrs);
    out.extend(data);
    let mut place = out.len() + 16 * turned.len();
    for (_, content) in &turned {
        out.extend((place as u64).to_be_bytes());
        out.extend((content.len() as u64).to_be_bytes());
        place += content.len();
    }
    turned.iter().for_each(|(_, content)| out.extend(content));
    out
}
