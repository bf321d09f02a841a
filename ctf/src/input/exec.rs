//! Reading fields by their nodes: the way that can read everything.
//!
//! It goes through a record field by field, keeps what others refer to, notes
//! what a reader of the stream needs, and writes, where it is asked to, the
//! same record with whole bytes only: integers widened to 1, 2, 4 or 8 bytes
//! and no holes.

use super::bits::{Cursor, sign_extend};
use super::node::{Count, IntNode, Node, Reference};
use crate::ir::{Encoding, Roles, SequenceKind};
use kstrace_schema::ByteOrder;

/// A re-encoded record larger than this is refused.
const OUTPUT_BYTES_MAX: usize = 64 << 20;

/// Why a field could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub(super) struct Fault {
    /// The innermost named field.
    pub(super) field: String,
    pub(super) reason: &'static str,
}

impl Fault {
    pub(super) fn new(reason: &'static str) -> Self {
        Fault {
            field: String::new(),
            reason,
        }
    }
}

const SHORT: &str = "it reaches past the packet's content";

/// What the fields with roles said.
#[derive(Clone, Debug, Default)]
pub(super) struct Facts {
    pub(super) magic: Option<u64>,
    pub(super) uuid: Option<[u8; 16]>,
    pub(super) stream_class: Option<u64>,
    pub(super) stream_instance: Option<u64>,
    pub(super) content_bits: Option<u64>,
    pub(super) packet_bits: Option<u64>,
    pub(super) begin: Option<u64>,
    pub(super) end: Option<u64>,
    pub(super) discarded: Option<u64>,
    pub(super) sequence: Option<u64>,
    pub(super) cpu: Option<u64>,
    pub(super) event_class: Option<u64>,
    /// The clock, kept up to date from field to field.
    pub(super) clock: u64,
    /// Width of the counters, for their wrapping.
    pub(super) discarded_bits: u32,
    pub(super) sequence_bits: u32,
}

/// The clock after a reading of its lowest `bits` bits, which may have wrapped once.
#[inline]
pub(super) fn advance_clock(clock: u64, reading: u64, bits: u32) -> u64 {
    if bits >= 64 {
        return reading;
    }
    let mask = (1u64 << bits) - 1;
    let high = clock & !mask;
    let next = high | (reading & mask);
    if next < clock {
        next.wrapping_add(mask + 1)
    } else {
        next
    }
}

impl Facts {
    fn note(&mut self, roles: Roles, value: u64, bits: u32) {
        for (role, place) in [
            (Roles::MAGIC, &mut self.magic),
            (Roles::STREAM_CLASS, &mut self.stream_class),
            (Roles::STREAM_INSTANCE, &mut self.stream_instance),
            (Roles::CONTENT_SIZE, &mut self.content_bits),
            (Roles::PACKET_SIZE, &mut self.packet_bits),
            (Roles::CPU, &mut self.cpu),
            (Roles::EVENT_CLASS, &mut self.event_class),
        ] {
            if roles.has(role) {
                *place = Some(value);
            }
        }
        if roles.has(Roles::DISCARDED) {
            self.discarded = Some(value);
            self.discarded_bits = bits;
        }
        if roles.has(Roles::SEQUENCE) {
            self.sequence = Some(value);
            self.sequence_bits = bits;
        }
        if roles.has(Roles::CLOCK) {
            self.clock = advance_clock(self.clock, value, bits);
        }
        if roles.has(Roles::BEGIN) {
            self.begin = Some(self.clock);
        }
        if roles.has(Roles::END) {
            self.end = Some(advance_clock(self.clock, value, bits));
        }
    }
}

/// Where re-encoded bytes go.
pub(super) trait Output {
    fn put(&mut self, bytes: &[u8]) -> Result<(), Fault>;
}

/// Nowhere.
impl Output for () {
    #[inline]
    fn put(&mut self, _: &[u8]) -> Result<(), Fault> {
        Ok(())
    }
}

impl Output for Vec<u8> {
    #[inline]
    fn put(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        if self.len().saturating_add(bytes.len()) > OUTPUT_BYTES_MAX {
            return Err(Fault::new("the record is larger than 64 MiB"));
        }
        self.extend_from_slice(bytes);
        Ok(())
    }
}

/// A decoder at work.
pub(super) struct Exec<'s, O> {
    pub(super) slots: &'s mut [u64],
    pub(super) facts: &'s mut Facts,
    pub(super) out: &'s mut O,
    /// Elements and fields that may still be visited: no record of so many bits has more.
    pub(super) fuel: u64,
}

/// Fuel for a record that has at most so many bits.
pub(super) fn fuel_for(bits: u64) -> u64 {
    bits.saturating_mul(4).saturating_add(1 << 16)
}

/// Bytes of the model's integer that holds so many bits.
pub(crate) fn widened_bytes(bits: u32) -> u8 {
    match bits {
        0..=8 => 1,
        9..=16 => 2,
        17..=32 => 4,
        _ => 8,
    }
}

/// Byte order of a re-encoded integer: its own where its size is.
pub(crate) fn widened_order(bits: u32, order: ByteOrder) -> ByteOrder {
    match bits {
        8 | 16 | 32 | 64 => order,
        _ => ByteOrder::NATIVE,
    }
}

impl<O: Output> Exec<'_, O> {
    pub(super) fn read(&mut self, node: &Node, cursor: &mut Cursor<'_>) -> Result<(), Fault> {
        self.fuel = match self.fuel.checked_sub(1) {
            Some(fuel) => fuel,
            None => return Err(Fault::new("more fields than the packet has bits")),
        };
        match node {
            Node::Int(int) => self.int(int, cursor).map(|_| ()),
            Node::Float {
                size_bits,
                align_bits,
                order,
            } => {
                cursor.align(*align_bits);
                let value = cursor
                    .take_bits(*size_bits, *order)
                    .ok_or(Fault::new(SHORT))?;
                match size_bits {
                    16 => self.put_int(half_to_single(value as u16).to_bits().into(), 4, *order),
                    32 => self.put_int(value, 4, *order),
                    _ => self.put_int(value, 8, *order),
                }
            }
            Node::Text(encoding) => self.text(*encoding, cursor),
            Node::Struct {
                members,
                align_bits,
            } => {
                cursor.align(*align_bits);
                for member in members {
                    self.read(&member.node, cursor).map_err(|mut fault| {
                        if fault.field.is_empty() {
                            fault.field.clone_from(&member.name);
                        }
                        fault
                    })?;
                }
                Ok(())
            }
            Node::Array {
                element,
                count,
                kind,
                align_bits,
                roles,
            } => {
                cursor.align(*align_bits);
                let count = match count {
                    Count::Static(count) => *count,
                    Count::Dynamic(reference) => self.length(reference)?,
                };
                self.array(element, count, *kind, *roles, cursor)
            }
            Node::Variant {
                selector, options, ..
            } => {
                let value = self.selector(selector);
                match options
                    .iter()
                    .find(|o| o.ranges.iter().any(|r| r.contains(value)))
                {
                    Some(option) => self.read(&option.node, cursor),
                    None if matches!(node, Node::Variant { optional: true, .. }) => Ok(()),
                    None => Err(Fault::new("the tag's value selects none of the options")),
                }
            }
        }
    }

    fn slot(&self, reference: &Reference) -> u64 {
        self.slots
            .get(usize::from(reference.slot))
            .copied()
            .unwrap_or(0)
    }

    fn selector(&self, reference: &Reference) -> i128 {
        let value = self.slot(reference);
        if reference.signed {
            i128::from(value as i64)
        } else {
            i128::from(value)
        }
    }

    fn length(&self, reference: &Reference) -> Result<u64, Fault> {
        let value = self.slot(reference);
        if reference.signed && (value as i64) < 0 {
            return Err(Fault::new("its length is negative"));
        }
        Ok(value)
    }

    fn put_int(&mut self, value: u64, bytes: u8, order: ByteOrder) -> Result<(), Fault> {
        match order {
            ByteOrder::LittleEndian => self.out.put(&value.to_le_bytes()[..usize::from(bytes)]),
            ByteOrder::BigEndian => self.out.put(&value.to_be_bytes()[8 - usize::from(bytes)..]),
        }
    }

    fn int(&mut self, node: &IntNode, cursor: &mut Cursor<'_>) -> Result<u64, Fault> {
        let class = &*node.class;
        cursor.align(class.align_bits);
        let (raw, bits) = if node.variable {
            variable(cursor, class.signed)?
        } else {
            let raw = cursor
                .take_bits(class.size_bits, class.order)
                .ok_or(Fault::new(SHORT))?;
            (raw, class.size_bits)
        };
        let value = if class.signed {
            sign_extend(raw, bits)
        } else {
            raw
        };
        if let Some(slot) = node.slot
            && let Some(place) = self.slots.get_mut(usize::from(slot))
        {
            *place = value;
        }
        if !class.roles.is_none() {
            self.facts.note(class.roles, value, bits);
        }
        let (bytes, order) = if node.variable {
            (8, ByteOrder::NATIVE)
        } else {
            (
                widened_bytes(class.size_bits),
                widened_order(class.size_bits, class.order),
            )
        };
        self.put_int(value, bytes, order)?;
        Ok(value)
    }

    fn text(&mut self, encoding: Encoding, cursor: &mut Cursor<'_>) -> Result<(), Fault> {
        cursor.align(8);
        if encoding == Encoding::Utf8 {
            let text = cursor.take_text().ok_or(Fault::new(
                "the string has no end within the packet's content",
            ))?;
            self.out.put(text)?;
            return self.out.put(&[0]);
        }
        let unit = encoding.unit_bytes();
        let mut units = Vec::new();
        loop {
            let bytes = cursor.take_bytes(unit).ok_or(Fault::new(
                "the string has no end within the packet's content",
            ))?;
            if bytes.iter().all(|b| *b == 0) {
                break;
            }
            units.extend_from_slice(bytes);
        }
        self.put_text(&units, encoding)
    }

    /// Text as UTF-8 with a NUL, up to the first one.
    fn put_text(&mut self, bytes: &[u8], encoding: Encoding) -> Result<(), Fault> {
        let text = decoded(bytes, encoding);
        let text = text.split('\0').next().unwrap_or_default();
        self.out.put(text.as_bytes())?;
        self.out.put(&[0])
    }

    fn array(
        &mut self,
        element: &Node,
        count: u64,
        kind: SequenceKind,
        roles: Roles,
        cursor: &mut Cursor<'_>,
    ) -> Result<(), Fault> {
        if roles.has(Roles::UUID) && count == 16 {
            let mut probe = cursor.clone();
            if let Some(bytes) = probe.take_bytes(16) {
                self.facts.uuid = bytes.try_into().ok();
            }
        }
        if let SequenceKind::Text(encoding @ (Encoding::Utf16(_) | Encoding::Utf32(_))) = kind {
            let bytes = cursor.take_bytes(count).ok_or(Fault::new(SHORT))?;
            return self.put_text(bytes, encoding);
        }
        if let Some(size) = element.static_bits() {
            // Checked before the first element is read.
            let needed = size.checked_mul(count).ok_or(Fault::new(SHORT))?;
            if needed > cursor.left_bits() {
                return Err(Fault::new(SHORT));
            }
            if size == 0 {
                cursor.align(element.align_bits());
                return Ok(());
            }
            // Whole bytes are copied whole.
            if let Node::Int(int) = element
                && int.slot.is_none()
                && size == 8
                && int.class.align_bits <= 8
                && cursor.position.is_multiple_of(8)
            {
                let bytes = cursor.take_bytes(count).ok_or(Fault::new(SHORT))?;
                return self.out.put(bytes);
            }
        }
        for _ in 0..count {
            self.read(element, cursor)?;
        }
        Ok(())
    }
}

/// A LEB128 integer: its value and how many of its bits count.
fn variable(cursor: &mut Cursor<'_>, signed: bool) -> Result<(u64, u32), Fault> {
    let mut value = 0u64;
    let mut bits = 0u32;
    loop {
        let byte = cursor
            .take_bytes(1)
            .and_then(|b| b.first().copied())
            .ok_or(Fault::new(SHORT))?;
        if bits >= 70 {
            return Err(Fault::new("a variable-length integer of more than 64 bits"));
        }
        let part = u64::from(byte & 0x7f);
        if bits < 64 {
            value |= part << bits;
        }
        let excess = if bits == 63 { part >> 1 } else { 0 };
        if excess != 0 && !(signed && excess == 0x3f) {
            return Err(Fault::new("a variable-length integer of more than 64 bits"));
        }
        bits += 7;
        if byte & 0x80 == 0 {
            return Ok((value, bits.min(64)));
        }
    }
}

fn decoded(bytes: &[u8], encoding: Encoding) -> String {
    match encoding {
        Encoding::Utf8 => String::from_utf8_lossy(bytes).into_owned(),
        Encoding::Utf16(order) => {
            let units = bytes.chunks_exact(2).map(|b| {
                let unit = [b[0], b[1]];
                match order {
                    ByteOrder::LittleEndian => u16::from_le_bytes(unit),
                    ByteOrder::BigEndian => u16::from_be_bytes(unit),
                }
            });
            char::decode_utf16(units)
                .map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER))
                .collect()
        }
        Encoding::Utf32(order) => bytes
            .chunks_exact(4)
            .map(|b| {
                let unit = [b[0], b[1], b[2], b[3]];
                let code = match order {
                    ByteOrder::LittleEndian => u32::from_le_bytes(unit),
                    ByteOrder::BigEndian => u32::from_be_bytes(unit),
                };
                char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER)
            })
            .collect(),
    }
}

/// A 16-bit float as one of 32 bits, exactly.
fn half_to_single(half: u16) -> f32 {
    let sign = u32::from(half >> 15) << 31;
    let exponent = u32::from(half >> 10) & 0x1f;
    let mantissa = u32::from(half) & 0x3ff;
    let magnitude = match (exponent, mantissa) {
        (0, m) => (m as f32) * 2f32.powi(-24),
        (31, m) => f32::from_bits(0x7f80_0000 | m << 13),
        (e, m) => f32::from_bits((e + 112) << 23 | m << 13),
    };
    f32::from_bits(magnitude.to_bits() | sign)
}
