//! From pieces and arguments to operations, and their execution.

use super::directive::{Conversion, Flags, IntStyle, MAX_WIDTH, Piece, Pointer, Size};
use super::error::{PrintFmtErrorKind as Kind, Result, error};
use super::eval::{Fault, int, memory_at};
use super::expr::{IntExpr, IntTy, MemExpr, TextExpr};
use super::number::{decimal, hex, signed_decimal, styled};
use super::parser::at;
use super::symbols::Symbols;
use super::value::Node;
use super::{pointer, text};
use crate::digits::{Label, NUMBER_BYTES, Room, SURPLUS_BYTES};

/// A width or precision that may come from an argument.
#[derive(Clone, Debug)]
pub(super) enum Amount {
    None,
    Fixed(usize),
    Computed(IntExpr),
}

/// One step of writing an event's text.
#[derive(Clone, Debug)]
pub(super) enum Op {
    Literal(Label),
    /// Several of these and of unadorned numbers, and the room that they take at most.
    Run {
        ops: Box<[Op]>,
        room_bytes: usize,
    },
    /// `%d` and `%u` of any size, without a width.
    Decimal {
        value: IntExpr,
        ty: IntTy,
    },
    /// `%x` of any size, without a width.
    Hex {
        value: IntExpr,
        ty: IntTy,
    },
    Int {
        value: IntExpr,
        style: IntStyle,
        flags: Flags,
        width: Amount,
        precision: Amount,
    },
    Char {
        value: IntExpr,
        flags: Flags,
        width: Amount,
    },
    /// `%s` without a width.
    Text(TextExpr),
    PaddedText {
        text: TextExpr,
        flags: Flags,
        width: Amount,
        precision: Amount,
    },
    Address {
        kind: Pointer,
        value: IntExpr,
        flags: Flags,
        width: Amount,
    },
    Memory {
        kind: Pointer,
        memory: MemExpr,
        flags: Flags,
        width: Amount,
    },
}

impl Op {
    pub(super) fn literal(text: &[u8]) -> Op {
        Op::Literal(Label::new(text))
    }

    /// Whether it writes nothing but numbers and words without control characters.
    pub(super) fn is_tame(&self) -> bool {
        match self {
            Op::Literal(text) => !text.as_bytes().iter().any(u8::is_ascii_control),
            Op::Run { ops, .. } => ops.iter().all(Op::is_tame),
            Op::Decimal { .. } | Op::Hex { .. } | Op::Int { .. } => true,
            _ => false,
        }
    }

    /// Room for what it writes, if that is limited and known.
    fn room_bytes(&self) -> Option<usize> {
        match self {
            Op::Literal(text) => Some(text.as_bytes().len()),
            // Or the marker of a fault.
            Op::Decimal { .. } | Op::Hex { .. } => Some(NUMBER_BYTES),
            _ => None,
        }
    }
}

/// Puts neighbours together that are written into room made beforehand.
pub(super) fn grouped(ops: Vec<Op>) -> Vec<Op> {
    let mut out = Vec::with_capacity(ops.len());
    let mut run = Vec::new();
    let mut room_bytes = 0;
    let close = |run: &mut Vec<Op>, room_bytes: usize, out: &mut Vec<Op>| {
        if run.len() > 1 {
            let ops = std::mem::take(run).into();
            out.push(Op::Run { ops, room_bytes });
        } else {
            out.append(run);
        }
    };
    for op in ops {
        match op.room_bytes() {
            Some(bytes) => {
                room_bytes += bytes;
                run.push(op);
            }
            None => {
                close(&mut run, room_bytes, &mut out);
                room_bytes = 0;
                out.push(op);
            }
        }
    }
    close(&mut run, room_bytes, &mut out);
    out
}

/// Pairs the conversions with their arguments.
pub(super) fn build(pieces: Vec<Piece>, arguments: Vec<(Node, usize)>) -> Result<Vec<Op>> {
    let count = arguments.len();
    let needed = pieces
        .iter()
        .map(|p| match p {
            Piece::Literal(_) => 0,
            Piece::Directive {
                width, precision, ..
            } => {
                1 + usize::from(*width == Size::Argument)
                    + usize::from(*precision == Size::Argument)
            }
        })
        .sum::<usize>();
    let mut arguments = arguments.into_iter();
    let mut next = || match arguments.next() {
        Some(argument) => Ok(argument),
        None => error(0, Kind::TooFewArguments(needed, count)),
    };
    let mut ops = Vec::with_capacity(pieces.len());
    for piece in pieces {
        let (flags, width, precision, conversion) = match piece {
            Piece::Literal(bytes) => {
                ops.push(Op::literal(&bytes));
                continue;
            }
            Piece::Directive {
                flags,
                width,
                precision,
                conversion,
            } => (flags, width, precision, conversion),
        };
        let mut amount = |size| {
            Ok(match size {
                Size::None => Amount::None,
                Size::Fixed(size) => Amount::Fixed(size),
                Size::Argument => {
                    let (node, position) = next()?;
                    Amount::Computed(at(position, node.into_int())?.0)
                }
            })
        };
        let width = amount(width)?;
        let precision = amount(precision)?;
        let (node, position) = next()?;
        ops.push(at(position, op(node, flags, width, precision, conversion))?);
    }
    Ok(ops)
}

fn op(
    node: Node,
    flags: Flags,
    width: Amount,
    precision: Amount,
    conversion: Conversion,
) -> std::result::Result<Op, Kind> {
    let plain = matches!((&width, &precision), (Amount::None, Amount::None));
    Ok(match conversion {
        Conversion::Int(style) => {
            let value = node.into_int()?.0;
            let ty = IntTy {
                size: style.size,
                signed: style.signed,
            };
            let unadorned = plain && !flags.plus && !flags.space && !flags.alternative;
            match style.base {
                10 if unadorned => Op::Decimal { value, ty },
                16 if unadorned && !style.upper => Op::Hex { value, ty },
                _ => Op::Int {
                    value,
                    style,
                    flags,
                    width,
                    precision,
                },
            }
        }
        Conversion::Char => Op::Char {
            value: node.into_int()?.0,
            flags,
            width,
        },
        Conversion::Text if plain => Op::Text(node.into_text()?),
        Conversion::Text => Op::PaddedText {
            text: node.into_text()?,
            flags,
            width,
            precision,
        },
        Conversion::Pointer(kind) if pointer::points_into_the_entry(kind) => Op::Memory {
            kind,
            memory: node.into_memory()?.0,
            flags,
            width,
        },
        Conversion::Pointer(kind) => match node.into_int() {
            Ok((value, _)) => Op::Address {
                kind,
                value,
                flags,
                width,
            },
            Err(_) => return Err(Kind::KernelOnly("the address of something in the entry")),
        },
    })
}

/// Runs the operations: what has no value for this entry leaves a marker.
pub(super) fn run(ops: &[Op], entry: &[u8], symbols: &dyn Symbols, out: &mut Vec<u8>) {
    for op in ops {
        let start = out.len();
        if let Err(fault) = step(op, entry, symbols, out) {
            out.truncate(start);
            out.extend_from_slice(fault.marker());
        }
    }
}

#[inline]
fn step(
    op: &Op,
    entry: &[u8],
    symbols: &dyn Symbols,
    out: &mut Vec<u8>,
) -> std::result::Result<(), Fault> {
    match op {
        Op::Run { ops, room_bytes } => run_in_room(ops, *room_bytes, entry, out),
        Op::Literal(text) => out.extend_from_slice(text.as_bytes()),
        Op::Decimal { value, ty } => {
            let value = ty.extend(int(value, entry)?);
            if ty.signed {
                signed_decimal(value as i64, out)
            } else {
                decimal(value, out)
            }
        }
        Op::Hex { value, ty } => hex(ty.extend(int(value, entry)?), out),
        Op::Text(expr) => text::write(expr, None, entry, symbols, out)?,
        op => return step_padded(op, entry, symbols, out),
    }
    Ok(())
}

/// Writes literals and numbers into room for all of them.
fn run_in_room(ops: &[Op], room_bytes: usize, entry: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    out.resize(start + room_bytes + SURPLUS_BYTES, 0);
    let mut room = Room::new(out.get_mut(start..).unwrap_or_default());
    for op in ops {
        let number = match op {
            Op::Literal(text) => {
                room.label(text);
                continue;
            }
            Op::Decimal { value, ty } => int(value, entry).map(|value| {
                let value = ty.extend(value);
                if ty.signed {
                    room.signed_decimal(value as i64);
                } else {
                    room.decimal(value);
                }
            }),
            Op::Hex { value, ty } => int(value, entry).map(|value| room.hex(ty.extend(value))),
            _ => Ok(()),
        };
        if let Err(fault) = number {
            room.text(fault.marker());
        }
    }
    // There is room for all of them.
    let len = room.finish().unwrap_or(0);
    out.truncate(start + len);
}

fn step_padded(
    op: &Op,
    entry: &[u8],
    symbols: &dyn Symbols,
    out: &mut Vec<u8>,
) -> std::result::Result<(), Fault> {
    let start = out.len();
    let (flags, width) = match op {
        Op::Int {
            value,
            style,
            flags,
            width,
            precision,
        } => {
            let ty = IntTy {
                size: style.size,
                signed: style.signed,
            };
            let value = ty.extend(int(value, entry)?);
            let (flags, width) = field_width(*flags, width, entry)?;
            let precision = precision_of(precision, entry)?;
            styled(value, *style, flags, width, precision, out);
            return Ok(());
        }
        Op::Char {
            value,
            flags,
            width,
        } => {
            out.push(int(value, entry)? as u8);
            (*flags, width)
        }
        Op::PaddedText {
            text,
            flags,
            width,
            precision,
        } => {
            let limit = precision_of(precision, entry)?;
            text::write(text, limit, entry, symbols, out)?;
            (*flags, width)
        }
        Op::Address {
            kind,
            value,
            flags,
            width,
        } => {
            pointer::address(*kind, int(value, entry)?, symbols, out);
            (*flags, width)
        }
        Op::Memory {
            kind,
            memory,
            flags,
            width,
        } => {
            let bytes = memory_at(memory, entry)?;
            // For these the width is the length of what is written.
            let is_length = matches!(kind, Pointer::HexDump { .. } | Pointer::Bitmap { .. });
            if is_length {
                let length = match width {
                    Amount::None => None,
                    Amount::Fixed(length) => Some(*length),
                    Amount::Computed(length) => {
                        Some(usize::try_from(int(length, entry)? as i32).unwrap_or(0))
                    }
                };
                return pointer::memory(*kind, bytes, length, out);
            }
            pointer::memory(*kind, bytes, None, out)?;
            (*flags, width)
        }
        Op::Literal(_) | Op::Run { .. } | Op::Decimal { .. } | Op::Hex { .. } | Op::Text(_) => {
            return Ok(());
        }
    };
    let (flags, width) = field_width(flags, width, entry)?;
    let padding = width.saturating_sub(out.len() - start);
    if padding > 0 {
        let end = out.len();
        out.resize(end + padding, b' ');
        if !flags.left
            && let Some(written) = out.get_mut(start..)
        {
            written.rotate_right(padding);
        }
    }
    Ok(())
}

/// The width; a negative one from an argument means left-justified.
fn field_width(
    mut flags: Flags,
    width: &Amount,
    entry: &[u8],
) -> std::result::Result<(Flags, usize), Fault> {
    Ok(match width {
        Amount::None => (flags, 0),
        Amount::Fixed(width) => (flags, *width),
        Amount::Computed(width) => {
            let width = int(width, entry)? as i32;
            flags.left |= width < 0;
            (flags, (width.unsigned_abs() as usize).min(MAX_WIDTH))
        }
    })
}

/// The precision; a negative one from an argument counts as zero, as in the kernel.
fn precision_of(precision: &Amount, entry: &[u8]) -> std::result::Result<Option<usize>, Fault> {
    Ok(match precision {
        Amount::None => None,
        Amount::Fixed(precision) => Some(*precision),
        Amount::Computed(precision) => {
            Some(usize::try_from(int(precision, entry)? as i32).unwrap_or(0))
        }
    })
}
