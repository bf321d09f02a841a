//! The kernel's helper macros (`__get_str`, `__print_flags`, ...) and a few builtins.

use super::error::{PrintFmtErrorKind as Kind, Result};
use super::expr::{BinaryOp, IntExpr, IntTy, MemExpr, Names, TextExpr, UnaryOp};
use super::parser::{Parser, at, element_pointee};
use super::value::{Node, Pointee, Ty, Value};
use crate::format::FieldKind;

/// Most names that all tables of one print format may have together.
const MAX_NAMES: usize = 10_000;

/// `name(...)`: the parser stands at the name.
pub(super) fn call<'a>(parser: &mut Parser<'a>, name: &'a str) -> Result<Node> {
    let position = parser.position();
    let known = Call::of(name);
    let Some(call) = known else {
        return parser.fail(Kind::UnknownFunction(name.to_owned()));
    };
    parser.next();
    parser.expect("(")?;
    let node = match call {
        Call::Text | Call::Memory | Call::SockAddr | Call::Bitmask | Call::Len => {
            dynamic(parser, call)?
        }
        Call::Flags => {
            let value = argument(parser)?;
            parser.expect(",")?;
            // The delimiter is a string, or nothing.
            let delimiter = parser.expression()?;
            let delimiter = match at(position, delimiter.into_text())? {
                TextExpr::Literal(text) => text,
                TextExpr::Null => Box::default(),
                _ => return parser.fail(Kind::WrongOperand("the delimiter must be a constant")),
            };
            let names = names(parser)?;
            let (value, cost) = long(position, value)?;
            let text = TextExpr::Flags {
                value,
                delimiter,
                names,
            };
            at(position, Node::new(Value::Text(text), &[cost]))?
        }
        Call::Symbolic => {
            let value = argument(parser)?;
            let names = names(parser)?;
            let (value, cost) = long(position, value)?;
            at(
                position,
                Node::new(Value::Text(TextExpr::Symbolic { value, names }), &[cost]),
            )?
        }
        Call::Hex { spaced } => {
            let memory = argument(parser)?;
            parser.expect(",")?;
            let len = argument(parser)?;
            let costs = [memory.cost, len.cost];
            let (memory, _) = at(position, memory.into_memory())?;
            let (len, _) = at(position, len.into_int())?;
            let text = TextExpr::Hex {
                memory,
                len,
                spaced,
            };
            at(position, Node::new(Value::Text(text), &costs))?
        }
        Call::Array => {
            let memory = argument(parser)?;
            parser.expect(",")?;
            let count = argument(parser)?;
            parser.expect(",")?;
            let element_size = argument(parser)?;
            array(position, memory, count, element_size)?
        }
        Call::DynamicArray => {
            let memory = dynamic(parser, Call::Memory)?;
            parser.expect(",")?;
            let element_size = argument(parser)?;
            let len = match &memory.value {
                Value::Memory(MemExpr::Dynamic { word, .. }, _) => {
                    IntExpr::DynamicLen { word: *word }
                }
                _ => return parser.fail(Kind::WrongOperand("a dynamic array is needed here")),
            };
            let len = at(position, Node::int(len, IntTy::UINT, &[]))?;
            let count = at(position, len.binary(BinaryOp::Divide, element_size.clone()))?;
            array(position, memory, count, element_size)?
        }
        Call::Seconds => {
            let value = argument(parser)?;
            let value = at(position, value.cast(Ty::Int(IntTy::ULONG)))?;
            let second = Node::constant(1_000_000_000, IntTy::ULONG);
            at(position, value.binary(BinaryOp::Divide, second))?
        }
        Call::WithoutSeconds => {
            let value = argument(parser)?;
            let value = at(position, value.cast(Ty::Int(IntTy::ULONG)))?;
            let second = Node::constant(1_000_000_000, IntTy::ULONG);
            let rest = at(position, value.binary(BinaryOp::Remainder, second))?;
            at(position, rest.cast(Ty::Int(IntTy::UINT)))?
        }
        Call::Expect => {
            let value = argument(parser)?;
            parser.expect(",")?;
            argument(parser)?;
            at(position, value.cast(Ty::Int(IntTy::LONG)))?
        }
        Call::ConstantP => {
            argument(parser)?;
            Node::constant(0, IntTy::INT)
        }
        Call::ChooseExpr => {
            let condition = argument(parser)?;
            parser.expect(",")?;
            let yes = argument(parser)?;
            parser.expect(",")?;
            let no = argument(parser)?;
            match condition.value {
                Value::Int(IntExpr::Const(0), ..) => no,
                Value::Int(IntExpr::Const(_), ..) => yes,
                _ => return parser.fail(Kind::WrongOperand("the choice must be a constant")),
            }
        }
        Call::SwapBytes(ty) => {
            let value = argument(parser)?;
            let value = at(position, value.cast(Ty::Int(ty)))?;
            at(position, value.unary(UnaryOp::SwapBytes))?
        }
        Call::JiffiesToMsecs => {
            argument(parser)?;
            parser.unknown(name, IntTy::UINT)
        }
        Call::MemoryErrorType => {
            let value = argument(parser)?;
            let (value, cost) = long(position, value)?;
            memory_error_type(position, value, cost)?
        }
    };
    parser.expect(")")?;
    Ok(node)
}

/// The functions that are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    Text,
    Memory,
    SockAddr,
    Bitmask,
    Len,
    Flags,
    Symbolic,
    Hex { spaced: bool },
    Array,
    DynamicArray,
    Seconds,
    WithoutSeconds,
    Expect,
    ConstantP,
    ChooseExpr,
    SwapBytes(IntTy),
    MemoryErrorType,
    JiffiesToMsecs,
}

impl Call {
    fn of(name: &str) -> Option<Call> {
        const U16: IntTy = IntTy {
            size: 2,
            signed: false,
        };
        Some(match name {
            "__get_str" | "__get_rel_str" => Call::Text,
            "__get_dynamic_array" | "__get_rel_dynamic_array" => Call::Memory,
            "__get_sockaddr" | "__get_rel_sockaddr" | "__get_sockaddr_rel" => Call::SockAddr,
            "__get_bitmask" | "__get_rel_bitmask" | "__get_cpumask" | "__get_rel_cpumask" => {
                Call::Bitmask
            }
            "__get_dynamic_array_len" | "__get_rel_dynamic_array_len" => Call::Len,
            "__print_flags" | "__print_flags_u64" => Call::Flags,
            "__print_symbolic" | "__print_symbolic_u64" => Call::Symbolic,
            "__print_hex" => Call::Hex { spaced: true },
            "__print_hex_str" => Call::Hex { spaced: false },
            "__print_array" => Call::Array,
            "__print_dynamic_array" => Call::DynamicArray,
            "__print_ns_to_secs" => Call::Seconds,
            "__print_ns_without_secs" => Call::WithoutSeconds,
            "__builtin_expect" => Call::Expect,
            "__builtin_constant_p" => Call::ConstantP,
            "__builtin_choose_expr" => Call::ChooseExpr,
            "__builtin_bswap16" | "__fswab16" | "__swab16" => Call::SwapBytes(U16),
            "__builtin_bswap32" | "__fswab32" | "__swab32" => Call::SwapBytes(IntTy::UINT),
            "__builtin_bswap64" | "__fswab64" | "__swab64" => Call::SwapBytes(IntTy::ULONG),
            "jiffies_to_msecs" => Call::JiffiesToMsecs,
            "mc_event_error_type" => Call::MemoryErrorType,
            _ => return None,
        })
    }
}

fn argument(parser: &mut Parser<'_>) -> Result<Node> {
    parser.expression()
}

/// The value as the kernel's helpers take it: `unsigned long`.
fn long(position: usize, value: Node) -> Result<(IntExpr, super::value::Cost)> {
    let cost = value.cost;
    let (expr, _) = at(position, value.into_int())?;
    Ok((expr, cost))
}

/// A helper that takes a dynamic field's name.
fn dynamic(parser: &mut Parser<'_>, call: Call) -> Result<Node> {
    let position = parser.position();
    let name = parser.name()?;
    let Some(field) = parser.format.field(name) else {
        return super::error::error(position, Kind::UnknownField(name.to_owned()));
    };
    let word = field.offset_bytes;
    let (base, element) = match &field.kind {
        FieldKind::DataLoc { element } => (0, *element),
        FieldKind::RelLoc { element } => (field.end_bytes(), *element),
        _ => {
            let kind = Kind::WrongOperand("this field is not a dynamic array");
            return super::error::error(position, kind);
        }
    };
    let memory = MemExpr::Dynamic { word, base };
    Ok(match call {
        Call::Len => at(
            position,
            Node::int(IntExpr::DynamicLen { word }, IntTy::UINT, &[]),
        )?,
        Call::Text => Node::leaf(Value::Memory(memory, Pointee::Int(IntTy::CHAR))),
        Call::SockAddr => Node::leaf(Value::Memory(memory, Pointee::Other)),
        Call::Bitmask => Node::leaf(Value::Text(TextExpr::Bitmask { memory })),
        _ => Node::leaf(Value::Memory(memory, element_pointee(element))),
    })
}

fn array(position: usize, memory: Node, count: Node, element_size: Node) -> Result<Node> {
    let costs = [memory.cost, count.cost, element_size.cost];
    let (memory, _) = at(position, memory.into_memory())?;
    let (count, _) = at(position, count.into_int())?;
    let (element_size, _) = at(position, element_size.into_int())?;
    let text = TextExpr::Array {
        memory,
        count,
        element_size,
    };
    at(position, Node::new(Value::Text(text), &costs))
}

/// `, { value, "name" }` as often as it comes. An entry whose value is a constant
/// that only the kernel's headers know is left out: its values then show as
/// numbers, as any value without a name does.
fn names(parser: &mut Parser<'_>) -> Result<Box<Names>> {
    let mut names = Names::default();
    // An entry without a name ends the kernel's table.
    let mut ended = false;
    while parser.accept(",") {
        if parser.is_sign(")") {
            break;
        }
        parser.expect("{")?;
        if parser.accept("}") {
            ended = true;
            continue;
        }
        let position = parser.position();
        let mark = parser.mark();
        let value = match parser.expression() {
            Ok(node) => match at(position, node.into_int())? {
                (IntExpr::Const(value), _) => Some(value),
                _ => return parser.fail(Kind::WrongOperand("the value must be a constant")),
            },
            Err(error) if matches!(error.kind, Kind::UnknownName(_)) => {
                parser.reset(mark);
                parser.skip_to_comma()?;
                None
            }
            Err(error) => return Err(error),
        };
        parser.expect(",")?;
        let position = parser.position();
        let name = parser.expression()?;
        let name = match at(position, name.into_text())? {
            TextExpr::Literal(text) => Some(text),
            TextExpr::Null => None,
            _ => return parser.fail(Kind::WrongOperand("the name must be a constant")),
        };
        parser.accept(",");
        parser.expect("}")?;
        if names.values.len() >= MAX_NAMES {
            return parser.fail(Kind::TooComplex("more than 10,000 names"));
        }
        ended |= name.is_none();
        if let (Some(value), Some(name), false) = (value, name, ended) {
            names.values.push(value);
            names.names.push(name);
        }
    }
    Ok(Box::new(names))
}

/// `mc_event_error_type` of the kernel's EDAC: `enum hw_event_mc_err_type` as text.
fn memory_error_type(position: usize, value: IntExpr, cost: super::value::Cost) -> Result<Node> {
    let texts = ["Corrected", "Uncorrected", "Deferred", "Fatal", "Info"];
    let texts = texts.iter().map(|t| t.as_bytes().into()).collect();
    let text = TextExpr::Choice {
        index: value,
        texts,
    };
    at(position, Node::new(Value::Text(text), &[cost]))
}
