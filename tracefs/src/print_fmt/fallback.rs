//! What is written for an event whose print format cannot be compiled: its fields.

use super::directive::{Flags, IntStyle};
use super::expr::{IntExpr, IntTy, MemExpr, TextExpr};
use super::parser::int_ty;
use super::program::{Amount, Op};
use crate::format::{EventFormat, FieldKind, FormatField};

/// `name=value` for each field of the event's own.
pub(super) fn fields(format: &EventFormat) -> Vec<Op> {
    let mut ops = Vec::new();
    for (i, field) in format.fields.iter().enumerate() {
        let space = if i > 0 { " " } else { "" };
        ops.push(Op::literal(format!("{space}{}=", field.name).as_bytes()));
        ops.push(value(field));
    }
    ops
}

fn value(field: &FormatField) -> Op {
    let offset = field.offset_bytes;
    let size = field.size_bytes;
    match &field.kind {
        FieldKind::Scalar => {
            let ty = IntTy {
                size: size as u8,
                signed: field.signed,
            };
            Op::Decimal {
                value: IntExpr::Field { offset, ty },
                ty,
            }
        }
        FieldKind::Pointer => {
            let ty = IntTy {
                size: size as u8,
                signed: false,
            };
            let style = IntStyle {
                size: ty.size,
                signed: false,
                base: 16,
                upper: false,
            };
            let flags = Flags {
                alternative: true,
                ..Flags::default()
            };
            let value = IntExpr::Field { offset, ty };
            Op::Int {
                value,
                style,
                flags,
                width: Amount::None,
                precision: Amount::None,
            }
        }
        FieldKind::String => Op::Text(TextExpr::Memory(MemExpr::Fixed { offset, size })),
        FieldKind::Array {
            count,
            element_size_bytes,
        } => Op::Text(TextExpr::Array {
            memory: MemExpr::Fixed { offset, size },
            count: IntExpr::Const((*count).into()),
            element_size: IntExpr::Const((*element_size_bytes).into()),
        }),
        FieldKind::FlexibleArray { .. } => Op::Text(TextExpr::Memory(MemExpr::ToEnd { offset })),
        FieldKind::DataLoc { element } | FieldKind::RelLoc { element } => {
            let base = match field.kind {
                FieldKind::RelLoc { .. } => field.end_bytes(),
                _ => 0,
            };
            let memory = MemExpr::Dynamic { word: offset, base };
            match element.filter(|t| !t.pointer) {
                Some(ty) if ty.text => Op::Text(TextExpr::Memory(memory)),
                element => {
                    let size = element.map_or(1, |t| int_ty(t).size);
                    Op::Text(TextExpr::Array {
                        memory,
                        count: IntExpr::Binary(
                            super::expr::BinaryOp::Divide,
                            IntTy::UINT,
                            Box::new((
                                IntExpr::DynamicLen { word: offset },
                                IntExpr::Const(size.into()),
                            )),
                        ),
                        element_size: IntExpr::Const(size.into()),
                    })
                }
            }
        }
        FieldKind::Opaque => Op::Text(TextExpr::Hex {
            memory: MemExpr::Fixed { offset, size },
            len: IntExpr::Const(size.into()),
            spaced: true,
        }),
    }
}
