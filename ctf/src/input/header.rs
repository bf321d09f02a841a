//! Event headers that can be read with two loads.
//!
//! LTTng's are a small id and the low bits of the time, with one value of the
//! id saying that both follow in full; perf's and others' are two plain
//! integers. Both are an integer that selects one of a few *shapes*, in each
//! of which every field stands at one place.

use super::node::Node;
use crate::ir::{IntType, Roles};
use kstrace_schema::ByteOrder;

/// An integer at a known place of a header.
#[derive(Clone, Copy, Debug)]
struct At {
    /// Of the eight bytes that hold it.
    byte: u16,
    /// Its lowest bit in the word that is loaded.
    shift: u8,
    bits: u8,
    big: bool,
}

impl At {
    #[inline(always)]
    fn load(self, bytes: &[u8]) -> Option<u64> {
        let start = usize::from(self.byte);
        let word: [u8; 8] = bytes.get(start..start + 8)?.try_into().ok()?;
        let word = if self.big {
            u64::from_be_bytes(word)
        } else {
            u64::from_le_bytes(word)
        };
        let value = word >> self.shift;
        Some(if self.bits == 64 {
            value
        } else {
            value & ((1u64 << self.bits) - 1)
        })
    }
}

/// One shape.
#[derive(Clone, Copy, Debug)]
struct Shape {
    /// Selected by these values of the first integer.
    first: u64,
    last: u64,
    id: Option<At>,
    time: Option<At>,
    size_bytes: u16,
}

/// A header of a few shapes.
#[derive(Clone, Debug)]
pub(super) struct FastHeader {
    align_mask: usize,
    /// It begins at whole bytes, wherever the record before it ends.
    is_whole: bool,
    selector: At,
    shapes: Vec<Shape>,
}

/// What a header said.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    pub(super) id: u64,
    /// The reading of the clock and its width; 0 for none.
    pub(super) time: u64,
    pub(super) time_bits: u32,
    /// Where it ends.
    pub(super) end: usize,
}

impl FastHeader {
    /// Reads the header at or after `at`; `None` near the end of the bytes and
    /// for values that no shape has: then the slow way says what it is.
    #[inline(always)]
    pub(super) fn read(&self, bytes: &[u8], at: usize) -> Option<Header> {
        let at = (at + self.align_mask) & !self.align_mask;
        let bytes = bytes.get(at..)?;
        let selector = self.selector.load(bytes)?;
        let shape = self
            .shapes
            .iter()
            .find(|s| s.first <= selector && selector <= s.last)?;
        let id = match shape.id {
            Some(place) => place.load(bytes)?,
            None => 0,
        };
        let (time, time_bits) = match shape.time {
            Some(place) => (place.load(bytes)?, u32::from(place.bits)),
            None => (0, 0),
        };
        Some(Header {
            id,
            time,
            time_bits,
            end: at + usize::from(shape.size_bytes),
        })
    }

    /// Whether it begins at whole bytes, wherever the record before it ends. It always ends so
    /// where it began so.
    pub(super) fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// The fast way for a header, if there is one.
    pub(super) fn of(node: &Node) -> Option<FastHeader> {
        let Node::Struct {
            members,
            align_bits,
        } = node
        else {
            return None;
        };
        let is_whole = *align_bits >= 8;
        let align_bits = (*align_bits).max(8);
        let mut layout = Layout {
            align_bits,
            ..Layout::default()
        };
        let mut selector = None;
        for (index, member) in members.iter().enumerate() {
            match &member.node {
                Node::Variant {
                    selector: reference,
                    options,
                    ..
                } => {
                    if index + 1 != members.len() || reference.signed {
                        return None;
                    }
                    let (slot, tag) = selector?;
                    if slot != reference.slot {
                        return None;
                    }
                    let mut shapes = Vec::new();
                    for option in options {
                        let mut inner = layout.clone();
                        inner.node(&option.node)?;
                        for range in &option.ranges {
                            shapes.push(inner.shape(
                                u64::try_from(range.first.max(0)).ok()?,
                                u64::try_from(range.last.min(u64::MAX.into())).ok()?,
                            )?);
                        }
                    }
                    return (shapes.len() <= 8).then_some(FastHeader {
                        align_mask: align_bits as usize / 8 - 1,
                        is_whole,
                        selector: tag,
                        shapes,
                    });
                }
                Node::Int(int) => {
                    let place = layout.int(&int.class, int.variable)?;
                    if let (Some(slot), None) = (int.slot, selector) {
                        selector = Some((slot, place));
                    }
                }
                other => layout.node(other)?,
            }
        }
        let any = layout.id.or(layout.time)?;
        Some(FastHeader {
            align_mask: align_bits as usize / 8 - 1,
            is_whole,
            selector: any,
            shapes: vec![layout.shape(0, u64::MAX)?],
        })
    }
}

/// Fields at static offsets from the header's start.
#[derive(Clone, Default)]
struct Layout {
    align_bits: u32,
    at_bits: u32,
    id: Option<At>,
    time: Option<At>,
}

impl Layout {
    fn align(&mut self, align_bits: u32) -> Option<()> {
        if align_bits > self.align_bits {
            return None;
        }
        self.at_bits = self.at_bits.checked_next_multiple_of(align_bits.max(1))?;
        Some(())
    }

    fn int(&mut self, class: &IntType, variable: bool) -> Option<At> {
        if variable || class.signed {
            return None;
        }
        self.align(class.align_bits)?;
        let in_byte = self.at_bits % 8;
        let big = class.order == ByteOrder::BigEndian;
        if in_byte + class.size_bits > 64 {
            return None;
        }
        let place = At {
            byte: u16::try_from(self.at_bits / 8).ok()?,
            shift: if big {
                64 - in_byte - class.size_bits
            } else {
                in_byte
            } as u8,
            bits: class.size_bits as u8,
            big,
        };
        self.at_bits += class.size_bits;
        let roles = class.roles;
        if roles.has(Roles::EVENT_CLASS) {
            self.id = Some(place);
        }
        if roles.has(Roles::CLOCK) {
            if self.time.is_some() {
                // Two readings: in their order, which the slow way knows.
                return None;
            }
            self.time = Some(place);
        }
        Some(place)
    }

    fn node(&mut self, node: &Node) -> Option<()> {
        match node {
            Node::Int(int) => self.int(&int.class, int.variable).map(|_| ()),
            Node::Struct {
                members,
                align_bits,
            } => {
                self.align(*align_bits)?;
                members.iter().try_for_each(|m| self.node(&m.node))
            }
            other => {
                let bits = other.static_bits()?;
                self.align(other.align_bits())?;
                self.at_bits = self.at_bits.checked_add(u32::try_from(bits).ok()?)?;
                Some(())
            }
        }
    }

    fn shape(&self, first: u64, last: u64) -> Option<Shape> {
        if !self.at_bits.is_multiple_of(8) {
            return None;
        }
        Some(Shape {
            first,
            last,
            id: self.id,
            time: self.time,
            size_bytes: u16::try_from(self.at_bits / 8).ok()?,
        })
    }
}
