//! Typed values while a print format is parsed, and the rules of C that combine them.

use super::arith::{binary, unary};
use super::error::PrintFmtErrorKind as Kind;
use super::expr::{BinaryOp, IntExpr, IntTy, MemExpr, TextExpr, UnaryOp};

/// What a pointer points to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pointee {
    /// Not a pointer.
    None,
    Int(IntTy),
    Void,
    /// A structure, another pointer.
    Other,
}

/// A C type, as far as it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ty {
    Void,
    Int(IntTy),
    Pointer(Pointee),
    /// A structure or union.
    Other,
}

/// What an expression is.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    /// An integer, or a pointer into the kernel's memory.
    Int(IntExpr, IntTy, Pointee),
    /// A pointer into the entry.
    Memory(MemExpr, Pointee),
    Text(TextExpr),
    /// `REC` itself.
    Record,
}

/// How much an expression takes to evaluate. Bounded: print formats are outside input.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Cost {
    weight: u32,
    depth: u32,
}

impl Cost {
    const MAX_WEIGHT: u32 = 100_000;
    const MAX_DEPTH: u32 = 300;

    /// The cost of something with these parts.
    pub(super) fn of(parts: &[Cost]) -> Result<Cost, Kind> {
        let weight = parts.iter().fold(1u32, |w, p| w.saturating_add(p.weight));
        let depth = 1 + parts.iter().map(|p| p.depth).max().unwrap_or(0);
        if weight > Self::MAX_WEIGHT {
            Err(Kind::TooComplex("more than 100,000 operations"))
        } else if depth > Self::MAX_DEPTH {
            Err(Kind::TooComplex("operations nested more than 300 deep"))
        } else {
            Ok(Cost { weight, depth })
        }
    }
}

/// A value and its cost.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) value: Value,
    pub(super) cost: Cost,
}

impl Node {
    pub(super) fn leaf(value: Value) -> Node {
        Node {
            value,
            cost: Cost {
                weight: 1,
                depth: 1,
            },
        }
    }

    pub(super) fn constant(value: u64, ty: IntTy) -> Node {
        Node::leaf(Value::Int(
            IntExpr::Const(ty.extend(value)),
            ty,
            Pointee::None,
        ))
    }

    pub(super) fn int(expr: IntExpr, ty: IntTy, parts: &[Cost]) -> Result<Node, Kind> {
        let cost = if matches!(expr, IntExpr::Const(_)) {
            Cost::of(&[])?
        } else {
            Cost::of(parts)?
        };
        Ok(Node {
            value: Value::Int(expr, ty, Pointee::None),
            cost,
        })
    }

    pub(super) fn new(value: Value, parts: &[Cost]) -> Result<Node, Kind> {
        Ok(Node {
            value,
            cost: Cost::of(parts)?,
        })
    }

    /// An integer, as the operand of arithmetic.
    pub(super) fn into_int(self) -> Result<(IntExpr, IntTy), Kind> {
        match self.value {
            Value::Int(expr, ty, _) => Ok((expr, ty)),
            _ => Err(Kind::WrongOperand(
                "an integer is needed here, not a pointer or a string",
            )),
        }
    }

    /// What `if` would make of it.
    fn into_condition(self) -> Result<IntExpr, Kind> {
        match self.value {
            Value::Int(expr, ..) => Ok(expr),
            // A pointer into the entry is never NULL.
            Value::Memory(..) => Ok(IntExpr::Const(1)),
            Value::Text(TextExpr::Null) => Ok(IntExpr::Const(0)),
            Value::Text(_) => Ok(IntExpr::Const(1)),
            Value::Record => Err(Kind::WrongOperand("REC has no value")),
        }
    }

    pub(super) fn into_text(self) -> Result<TextExpr, Kind> {
        match self.value {
            Value::Text(text) => Ok(text),
            Value::Memory(memory, _) => Ok(TextExpr::Memory(memory)),
            Value::Int(IntExpr::Const(0), ..) => Ok(TextExpr::Null),
            Value::Int(expr, ..) => Ok(TextExpr::Kernel(expr)),
            Value::Record => Err(Kind::WrongOperand("REC has no value")),
        }
    }

    pub(super) fn into_memory(self) -> Result<(MemExpr, Pointee), Kind> {
        match self.value {
            Value::Memory(memory, pointee) => Ok((memory, pointee)),
            Value::Text(TextExpr::Literal(bytes)) => {
                let mut with_nul = bytes.into_vec();
                with_nul.push(0);
                Ok((MemExpr::Literal(with_nul.into()), Pointee::Int(IntTy::CHAR)))
            }
            Value::Text(TextExpr::Memory(memory)) => Ok((memory, Pointee::Int(IntTy::CHAR))),
            Value::Int(..) => Err(Kind::KernelOnly("a pointer into the kernel's memory")),
            _ => Err(Kind::WrongOperand("a pointer is needed here")),
        }
    }

    /// C's cast.
    pub(super) fn cast(self, ty: Ty) -> Result<Node, Kind> {
        let cost = self.cost;
        match (self.value, ty) {
            (Value::Int(expr, from, _), Ty::Int(to)) => {
                Node::int(converted(expr, from, to), to, &[cost])
            }
            (Value::Int(expr, from, _), Ty::Pointer(pointee)) => {
                let expr = converted(expr, from, IntTy::ULONG);
                Node::new(Value::Int(expr, IntTy::ULONG, pointee), &[cost])
            }
            (Value::Memory(memory, _), Ty::Pointer(pointee)) => {
                Node::new(Value::Memory(memory, pointee), &[cost])
            }
            (value @ Value::Text(_), Ty::Pointer(_)) => Node::new(value, &[cost]),
            (Value::Memory(..) | Value::Text(_), _) => {
                Err(Kind::KernelOnly("the address of something in the entry"))
            }
            _ => Err(Kind::WrongOperand("this cast makes no sense")),
        }
    }

    pub(super) fn unary(self, op: UnaryOp) -> Result<Node, Kind> {
        let cost = self.cost;
        if op == UnaryOp::Not {
            let operand = self.into_condition()?;
            let expr = fold_unary(op, IntTy::INT, operand);
            return Node::int(expr, IntTy::INT, &[cost]);
        }
        let (operand, ty) = self.into_int()?;
        let ty = if op == UnaryOp::SwapBytes {
            ty
        } else {
            ty.promoted()
        };
        Node::int(fold_unary(op, ty, operand), ty, &[cost])
    }

    pub(super) fn binary(self, op: BinaryOp, right: Node) -> Result<Node, Kind> {
        use BinaryOp as B;
        let costs = [self.cost, right.cost];
        if matches!(op, B::LogicalAnd | B::LogicalOr) {
            let operands = (self.into_condition()?, right.into_condition()?);
            return Node::int(fold_binary(op, IntTy::INT, operands), IntTy::INT, &costs);
        }
        if let (B::Add | B::Subtract, Value::Memory(..)) = (op, &self.value) {
            let right = if op == B::Subtract {
                right.unary(UnaryOp::Negate)?
            } else {
                right
            };
            return self.offset_by(right);
        }
        if let (B::Add, Value::Memory(..)) = (op, &right.value) {
            return right.offset_by(self);
        }
        let is_text = |n: &Node| matches!(n.value, Value::Text(_) | Value::Memory(..));
        if matches!(op, B::Equal | B::NotEqual) && (is_text(&self) || is_text(&right)) {
            // Only a comparison with NULL makes sense here.
            let equal = self.into_condition()? == right.into_condition()?;
            return Ok(Node::constant(
                u64::from(equal == (op == B::Equal)),
                IntTy::INT,
            ));
        }
        if matches!(op, B::Add | B::Subtract) && (self.is_pointer() || right.is_pointer()) {
            return kernel_pointer(op, self, right, costs);
        }
        let (left, left_ty) = self.into_int()?;
        let (right, right_ty) = right.into_int()?;
        let ty = match op {
            B::ShiftLeft | B::ShiftRight => left_ty.promoted(),
            _ => left_ty.common(right_ty),
        };
        let operands = match op {
            B::ShiftLeft | B::ShiftRight => (converted(left, left_ty, ty), right),
            _ => (converted(left, left_ty, ty), converted(right, right_ty, ty)),
        };
        let result = match op {
            B::Less | B::LessEqual | B::Greater | B::GreaterEqual | B::Equal | B::NotEqual => {
                IntTy::INT
            }
            _ => ty,
        };
        Node::int(fold_binary(op, ty, operands), result, &costs)
    }

    /// Whether it is a pointer into the kernel's memory.
    fn is_pointer(&self) -> bool {
        matches!(self.value, Value::Int(_, _, pointee) if pointee != Pointee::None)
    }

    fn offset_by(self, count: Node) -> Result<Node, Kind> {
        let costs = [self.cost, count.cost];
        let (memory, pointee) = self.into_memory()?;
        let (count, _) = count.into_int()?;
        let scale = match pointee {
            Pointee::Int(ty) => u32::from(ty.size),
            _ => 1,
        };
        let memory = MemExpr::Add(Box::new(memory), Box::new(count), scale);
        Node::new(Value::Memory(memory, pointee), &costs)
    }

    /// `self[index]`, or `*self` for index 0.
    pub(super) fn index(self, index: Node) -> Result<Node, Kind> {
        let costs = [self.cost, index.cost];
        let (memory, pointee) = self.into_memory()?;
        let (index, _) = index.into_int()?;
        let Pointee::Int(ty) = pointee else {
            return Err(Kind::WrongOperand("only arrays of integers have elements"));
        };
        let expr = match (&memory, &index) {
            (MemExpr::Fixed { offset, size }, IntExpr::Const(at)) => {
                let start = at
                    .checked_mul(ty.size.into())
                    .filter(|s| s + u64::from(ty.size) <= (*size).into());
                match start.and_then(|s| u32::try_from(s).ok()) {
                    Some(start) => IntExpr::Field {
                        offset: offset + start,
                        ty,
                    },
                    None => {
                        return Err(Kind::WrongOperand("this element lies outside of its array"));
                    }
                }
            }
            _ => IntExpr::Load {
                memory: Box::new(memory),
                index: Box::new(index),
                ty,
            },
        };
        Node::int(expr, ty, &costs)
    }

    /// `&self`.
    pub(super) fn address(self) -> Result<Node, Kind> {
        let cost = self.cost;
        let value = match self.value {
            Value::Int(IntExpr::Field { offset, ty }, _, _) => {
                let memory = MemExpr::Fixed {
                    offset,
                    size: ty.size.into(),
                };
                Value::Memory(memory, Pointee::Int(ty))
            }
            Value::Int(IntExpr::Load { memory, index, ty }, _, _) => Value::Memory(
                MemExpr::Add(memory, index, ty.size.into()),
                Pointee::Int(ty),
            ),
            value @ Value::Memory(..) => value,
            _ => return Err(Kind::WrongOperand("this has no address")),
        };
        Node::new(value, &[cost])
    }

    /// `self ? yes : no`.
    pub(super) fn choose(self, yes: Node, no: Node) -> Result<Node, Kind> {
        let costs = [self.cost, yes.cost, no.cost];
        let condition = self.into_condition()?;
        let (yes, no) = unify(yes, no)?;
        if let IntExpr::Const(value) = condition {
            return Ok(if value != 0 { yes } else { no });
        }
        let value = match (yes.value, no.value) {
            (Value::Int(yes, ty, pointee), Value::Int(no, _, _)) => {
                Value::Int(IntExpr::Cond(Box::new((condition, yes, no))), ty, pointee)
            }
            (Value::Memory(yes, pointee), Value::Memory(no, other)) if pointee == other => {
                Value::Memory(MemExpr::Cond(Box::new((condition, yes, no))), pointee)
            }
            (Value::Text(yes), Value::Text(no)) => {
                Value::Text(TextExpr::Cond(Box::new((condition, yes, no))))
            }
            _ => return Err(Kind::WrongOperand("the two sides of '?:' differ")),
        };
        Node::new(value, &costs)
    }
}

/// Arithmetic with pointers into the kernel's memory: C counts in elements.
fn kernel_pointer(op: BinaryOp, left: Node, right: Node, costs: [Cost; 2]) -> Result<Node, Kind> {
    let (pointer, count) = if left.is_pointer() {
        (&left, &right)
    } else {
        (&right, &left)
    };
    let Value::Int(_, _, pointee) = pointer.value else {
        return Err(Kind::WrongOperand("a pointer is needed here"));
    };
    let scale = match pointee {
        Pointee::Int(ty) => u64::from(ty.size),
        Pointee::Void => 1,
        // The size of a structure is not known, nor is a distance in elements.
        _ => 0,
    };
    if scale == 0 || count.is_pointer() {
        return Node::new(Value::Int(IntExpr::Unknown, IntTy::ULONG, pointee), &costs);
    }
    let long = |node: Node| node.cast(Ty::Int(IntTy::LONG));
    let scaled =
        |node: Node| long(node)?.binary(BinaryOp::Multiply, Node::constant(scale, IntTy::LONG));
    let sum = match left.is_pointer() {
        true => long(left)?.binary(op, scaled(right)?)?,
        false => scaled(left)?.binary(op, long(right)?)?,
    };
    sum.cast(Ty::Pointer(pointee))
}

/// Gives both sides of a `?:` one type.
fn unify(yes: Node, no: Node) -> Result<(Node, Node), Kind> {
    match (&yes.value, &no.value) {
        (Value::Int(_, a, pointee_a), Value::Int(_, b, pointee_b)) => {
            let pointee = if *pointee_a == Pointee::None {
                *pointee_b
            } else {
                *pointee_a
            };
            let ty = match pointee {
                Pointee::None => Ty::Int(a.common(*b)),
                pointee => Ty::Pointer(pointee),
            };
            Ok((yes.cast(ty)?, no.cast(ty)?))
        }
        (Value::Memory(_, a), Value::Memory(_, b)) if a == b => Ok((yes, no)),
        _ => {
            let costs = [yes.cost, no.cost];
            let yes = Node {
                value: Value::Text(yes.into_text()?),
                cost: costs[0],
            };
            let no = Node {
                value: Value::Text(no.into_text()?),
                cost: costs[1],
            };
            Ok((yes, no))
        }
    }
}

/// The expression with its value extended as the new type wants it.
pub(super) fn converted(expr: IntExpr, from: IntTy, to: IntTy) -> IntExpr {
    let unchanged =
        to.size == 8 || from == to || (to.size > from.size && (!from.signed || to.signed));
    match expr {
        IntExpr::Const(value) => IntExpr::Const(to.extend(value)),
        expr if unchanged => expr,
        expr => IntExpr::Cast(to, Box::new(expr)),
    }
}

fn fold_unary(op: UnaryOp, ty: IntTy, operand: IntExpr) -> IntExpr {
    match operand {
        IntExpr::Const(value) => IntExpr::Const(unary(op, ty, value)),
        operand => IntExpr::Unary(op, ty, Box::new(operand)),
    }
}

fn fold_binary(op: BinaryOp, ty: IntTy, operands: (IntExpr, IntExpr)) -> IntExpr {
    if let (IntExpr::Const(left), IntExpr::Const(right)) = (&operands.0, &operands.1)
        && let Some(value) = binary(op, ty, *left, *right)
    {
        return IntExpr::Const(value);
    }
    IntExpr::Binary(op, ty, Box::new(operands))
}
