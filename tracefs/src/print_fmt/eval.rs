//! Evaluates compiled expressions over an entry.

use super::arith::{binary, unary};
use super::expr::{BinaryOp, IntExpr, IntTy, MemExpr};

/// Why an expression has no value for this entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// Something lies behind the entry's end.
    Truncated,
    DivisionByZero,
    /// Only the kernel that traced knows it.
    Unknown,
}

impl Fault {
    /// What stands in the text instead of the value.
    pub(super) fn marker(self) -> &'static [u8] {
        match self {
            Fault::Truncated => b"<truncated>",
            Fault::DivisionByZero => b"<division by zero>",
            Fault::Unknown => b"<unknown>",
        }
    }
}

type Result<T> = std::result::Result<T, Fault>;

/// Reads an integer in the machine's byte order.
#[inline]
pub(super) fn load(bytes: &[u8], offset: usize, ty: IntTy) -> Result<u64> {
    let rest = bytes.get(offset..).ok_or(Fault::Truncated)?;
    let value = match ty.size {
        1 => rest.first().map(|b| u64::from(*b)),
        2 => rest.first_chunk().map(|b| u16::from_ne_bytes(*b).into()),
        4 => rest.first_chunk().map(|b| u32::from_ne_bytes(*b).into()),
        _ => rest.first_chunk().map(|b| u64::from_ne_bytes(*b)),
    };
    value.map(|v| ty.extend(v)).ok_or(Fault::Truncated)
}

/// The value of an integer expression.
#[inline]
pub(super) fn int(expr: &IntExpr, entry: &[u8]) -> Result<u64> {
    match expr {
        IntExpr::Field { offset, ty } => load(entry, *offset as usize, *ty),
        IntExpr::Const(value) => Ok(*value),
        expr => compound(expr, entry),
    }
}

fn compound(expr: &IntExpr, entry: &[u8]) -> Result<u64> {
    match expr {
        IntExpr::Const(value) => Ok(*value),
        IntExpr::Field { offset, ty } => load(entry, *offset as usize, *ty),
        IntExpr::Load { memory, index, ty } => {
            let bytes = memory_at(memory, entry)?;
            let offset = usize::try_from(int(index, entry)?)
                .ok()
                .and_then(|i| i.checked_mul(ty.size.into()))
                .ok_or(Fault::Truncated)?;
            load(bytes, offset, *ty)
        }
        IntExpr::DynamicLen { word } => Ok(load(entry, *word as usize, IntTy::UINT)? >> 16),
        IntExpr::Unary(op, ty, operand) => Ok(unary(*op, *ty, int(operand, entry)?)),
        IntExpr::Binary(op, ty, operands) => {
            let (left, right) = &**operands;
            let left = int(left, entry)?;
            match op {
                BinaryOp::LogicalAnd if left == 0 => return Ok(0),
                BinaryOp::LogicalOr if left != 0 => return Ok(1),
                _ => {}
            }
            binary(*op, *ty, left, int(right, entry)?).ok_or(Fault::DivisionByZero)
        }
        IntExpr::Unknown => Err(Fault::Unknown),
        IntExpr::Cast(ty, operand) => Ok(ty.extend(int(operand, entry)?)),
        IntExpr::Cond(parts) => {
            let (condition, yes, no) = &**parts;
            if int(condition, entry)? != 0 {
                int(yes, entry)
            } else {
                int(no, entry)
            }
        }
    }
}

/// The bytes that a pointer into the entry points to, up to the end of its field.
pub(super) fn memory_at<'a>(expr: &'a MemExpr, entry: &'a [u8]) -> Result<&'a [u8]> {
    match expr {
        MemExpr::Fixed { offset, size } => {
            let start = *offset as usize;
            entry
                .get(start..start + *size as usize)
                .ok_or(Fault::Truncated)
        }
        MemExpr::ToEnd { offset } => entry.get(*offset as usize..).ok_or(Fault::Truncated),
        MemExpr::Dynamic { word, base } => {
            let word = load(entry, *word as usize, IntTy::UINT)? as usize;
            let start = *base as usize + (word & 0xffff);
            if word >> 16 == 0 {
                return Ok(&[]);
            }
            entry
                .get(start..start + (word >> 16))
                .ok_or(Fault::Truncated)
        }
        MemExpr::Literal(bytes) => Ok(bytes),
        MemExpr::Add(memory, count, scale) => {
            let bytes = memory_at(memory, entry)?;
            let offset = usize::try_from(int(count, entry)?)
                .ok()
                .and_then(|c| c.checked_mul(*scale as usize))
                .ok_or(Fault::Truncated)?;
            bytes.get(offset..).ok_or(Fault::Truncated)
        }
        MemExpr::Cond(parts) => {
            let (condition, yes, no) = &**parts;
            if int(condition, entry)? != 0 {
                memory_at(yes, entry)
            } else {
                memory_at(no, entry)
            }
        }
    }
}
