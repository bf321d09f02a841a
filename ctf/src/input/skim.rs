//! Finding the end of a record that is handed over as it is.
//!
//! Nothing is decoded but lengths and tags.

use super::bits::{nul, sign_extend};
use super::exec::Fault;
use kstrace_schema::{ByteOrder, IntegerRange};

/// One step through a record of whole bytes.
#[derive(Clone, Debug)]
pub(super) enum Op {
    Skip(u64),
    /// An integer that a later step needs.
    Load {
        slot: u16,
        bytes: u8,
        order: ByteOrder,
        signed: bool,
    },
    /// Up to a NUL and past it.
    Text,
    /// A slot's value times so many bytes.
    Sequence {
        slot: u16,
        signed: bool,
        element_bytes: u64,
    },
    Repeat {
        count: u64,
        element: Vec<Op>,
    },
    RepeatSlot {
        slot: u16,
        signed: bool,
        element: Vec<Op>,
    },
    Choose {
        slot: u16,
        signed: bool,
        options: Vec<(Vec<IntegerRange>, Vec<Op>)>,
        optional: bool,
    },
}

/// Neighbouring skips as one.
pub(super) fn joined(ops: Vec<Op>) -> Vec<Op> {
    let mut out: Vec<Op> = Vec::with_capacity(ops.len());
    for op in ops {
        match (out.last_mut(), op) {
            (Some(Op::Skip(have)), Op::Skip(more)) => *have = have.saturating_add(more),
            (_, op) => out.push(op),
        }
    }
    out
}

/// The size of what the steps go through, if it is always the same.
pub(super) fn fixed_bytes(ops: &[Op]) -> Option<u64> {
    ops.iter().try_fold(0u64, |sum, op| match op {
        Op::Skip(bytes) => sum.checked_add(*bytes),
        // What others refer to must be looked at.
        _ => None,
    })
}

const SHORT: &str = "it reaches past the packet's content";

fn count(slots: &[u64], slot: u16, signed: bool) -> Result<u64, Fault> {
    let value = slots.get(usize::from(slot)).copied().unwrap_or(0);
    if signed && (value as i64) < 0 {
        return Err(Fault::new("its length is negative"));
    }
    Ok(value)
}

/// The offset behind the record that begins at `at`. `bytes` ends with the packet's content.
#[inline]
pub(super) fn end(
    ops: &[Op],
    bytes: &[u8],
    mut at: usize,
    slots: &mut [u64],
    fuel: &mut u64,
) -> Result<usize, Fault> {
    for op in ops {
        match op {
            Op::Skip(count) => at = skip(bytes, at, *count)?,
            Op::Load {
                slot,
                bytes: width,
                order,
                signed,
            } => {
                let next = skip(bytes, at, u64::from(*width))?;
                let value = load(bytes.get(at..next).unwrap_or_default(), *order);
                let value = if *signed {
                    sign_extend(value, u32::from(*width) * 8)
                } else {
                    value
                };
                if let Some(place) = slots.get_mut(usize::from(*slot)) {
                    *place = value;
                }
                at = next;
            }
            Op::Text => {
                let rest = bytes.get(at..).unwrap_or_default();
                let len = nul(rest).ok_or(Fault::new(
                    "the string has no end within the packet's content",
                ))?;
                at += len + 1;
            }
            Op::Sequence {
                slot,
                signed,
                element_bytes,
            } => {
                let count = count(slots, *slot, *signed)?;
                let size = count.checked_mul(*element_bytes).ok_or(Fault::new(SHORT))?;
                at = skip(bytes, at, size)?;
            }
            Op::Repeat { count, element } => {
                for _ in 0..*count {
                    at = again(element, bytes, at, slots, fuel)?;
                }
            }
            Op::RepeatSlot {
                slot,
                signed,
                element,
            } => {
                for _ in 0..count(slots, *slot, *signed)? {
                    at = again(element, bytes, at, slots, fuel)?;
                }
            }
            Op::Choose {
                slot,
                signed,
                options,
                optional,
            } => {
                let value = slots.get(usize::from(*slot)).copied().unwrap_or(0);
                let value = if *signed {
                    i128::from(value as i64)
                } else {
                    i128::from(value)
                };
                match options
                    .iter()
                    .find(|(ranges, _)| ranges.iter().any(|r| r.contains(value)))
                {
                    Some((_, ops)) => at = end(ops, bytes, at, slots, fuel)?,
                    None if *optional => {}
                    None => {
                        return Err(Fault::new("the tag's value selects none of the options"));
                    }
                }
            }
        }
    }
    Ok(at)
}

fn again(
    element: &[Op],
    bytes: &[u8],
    at: usize,
    slots: &mut [u64],
    fuel: &mut u64,
) -> Result<usize, Fault> {
    *fuel = match fuel.checked_sub(1) {
        Some(fuel) => fuel,
        None => return Err(Fault::new("more elements than the packet has bits")),
    };
    end(element, bytes, at, slots, fuel)
}

#[inline]
fn skip(bytes: &[u8], at: usize, count: u64) -> Result<usize, Fault> {
    let left = bytes.len().saturating_sub(at) as u64;
    if count > left {
        return Err(Fault::new(SHORT));
    }
    Ok(at + count as usize)
}

#[inline]
fn load(bytes: &[u8], order: ByteOrder) -> u64 {
    let mut value = [0u8; 8];
    let len = bytes.len().min(8);
    match order {
        ByteOrder::LittleEndian => {
            value[..len].copy_from_slice(&bytes[..len]);
            u64::from_le_bytes(value)
        }
        ByteOrder::BigEndian => {
            value[8 - len..].copy_from_slice(&bytes[..len]);
            u64::from_be_bytes(value)
        }
    }
}
