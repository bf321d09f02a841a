//! Integer arithmetic with C's types.

use super::expr::{BinaryOp, IntTy, UnaryOp};

/// The operation on a value that is extended to 64 bits; so is the result.
#[inline]
pub(super) fn unary(op: UnaryOp, ty: IntTy, value: u64) -> u64 {
    match op {
        UnaryOp::Negate => ty.extend(value.wrapping_neg()),
        UnaryOp::Complement => ty.extend(!value),
        UnaryOp::Not => u64::from(value == 0),
        UnaryOp::SwapBytes => ty.extend(match ty.size {
            2 => u64::from((value as u16).swap_bytes()),
            4 => u64::from((value as u32).swap_bytes()),
            8 => value.swap_bytes(),
            _ => value,
        }),
    }
}

/// The operation in the type `ty`, on values that are extended as `ty` wants it.
/// `None` for a division by zero.
#[inline]
pub(super) fn binary(op: BinaryOp, ty: IntTy, left: u64, right: u64) -> Option<u64> {
    use BinaryOp as B;
    let truth = |holds: bool| Some(u64::from(holds));
    let (signed_left, signed_right) = (left as i64, right as i64);
    // C leaves shifts by more than the width open; x86 takes the count modulo the width.
    let shift = (right & if ty.size == 8 { 63 } else { 31 }) as u32;
    let value = match op {
        B::Multiply => left.wrapping_mul(right),
        B::Divide if ty.signed => signed_left.checked_div(signed_right)? as u64,
        B::Divide => left.checked_div(right)?,
        B::Remainder if ty.signed => signed_left.checked_rem(signed_right)? as u64,
        B::Remainder => left.checked_rem(right)?,
        B::Add => left.wrapping_add(right),
        B::Subtract => left.wrapping_sub(right),
        B::ShiftLeft => left.wrapping_shl(shift),
        B::ShiftRight if ty.signed => (signed_left >> shift) as u64,
        B::ShiftRight => left >> shift,
        B::And => left & right,
        B::Xor => left ^ right,
        B::Or => left | right,
        B::Less if ty.signed => return truth(signed_left < signed_right),
        B::Less => return truth(left < right),
        B::LessEqual if ty.signed => return truth(signed_left <= signed_right),
        B::LessEqual => return truth(left <= right),
        B::Greater if ty.signed => return truth(signed_left > signed_right),
        B::Greater => return truth(left > right),
        B::GreaterEqual if ty.signed => return truth(signed_left >= signed_right),
        B::GreaterEqual => return truth(left >= right),
        B::Equal => return truth(left == right),
        B::NotEqual => return truth(left != right),
        B::LogicalAnd => return truth(left != 0 && right != 0),
        B::LogicalOr => return truth(left != 0 || right != 0),
    };
    Some(ty.extend(value))
}
