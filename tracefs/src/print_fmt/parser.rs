//! Parses the C expressions of print formats into typed, folded expressions.

use super::calls;
use super::constants::Constants;
use super::error::{PrintFmtError, PrintFmtErrorKind as Kind, Result, error};
use super::expr::{BinaryOp, IntExpr, IntTy, MemExpr, TextExpr, UnaryOp};
use super::lexer::Token;
use super::value::{Node, Pointee, Ty, Value};
use crate::format::{CType, EventFormat, FieldKind, FormatField, known_type};

/// How deep parentheses and operators may nest.
const MAX_NESTING: u32 = 400;
/// How many local variables a print format may have.
const MAX_LOCALS: usize = 64;

pub(super) struct Parser<'a> {
    tokens: &'a [(Token<'a>, usize)],
    at: usize,
    pub(super) format: &'a EventFormat,
    locals: Vec<(&'a str, Node)>,
    nesting: u32,
    /// Variables and functions of the kernel that the text needs.
    pub(super) unknown: Vec<&'a str>,
    constants: &'a dyn Constants,
    /// Names of constants that are not known.
    pub(super) missing: Vec<&'a str>,
}

impl<'a> Parser<'a> {
    pub(super) fn new(
        tokens: &'a [(Token<'a>, usize)],
        format: &'a EventFormat,
        constants: &'a dyn Constants,
    ) -> Self {
        Parser {
            tokens,
            at: 0,
            format,
            locals: Vec::new(),
            nesting: 0,
            unknown: Vec::new(),
            constants,
            missing: Vec::new(),
        }
    }

    pub(super) fn peek(&self) -> &'a Token<'a> {
        self.peek_at(0)
    }

    fn peek_at(&self, ahead: usize) -> &'a Token<'a> {
        const END: &Token<'_> = &Token::End;
        self.tokens
            .get(self.at + ahead)
            .map_or(END, |(token, _)| token)
    }

    pub(super) fn position(&self) -> usize {
        self.tokens
            .get(self.at)
            .or(self.tokens.last())
            .map_or(0, |(_, position)| *position)
    }

    pub(super) fn next(&mut self) -> &'a Token<'a> {
        let token = self.peek();
        self.at += 1;
        token
    }

    pub(super) fn fail<T>(&self, kind: Kind) -> Result<T> {
        error(self.position(), kind)
    }

    pub(super) fn unexpected<T>(&self, expected: &'static str) -> Result<T> {
        let found = match self.peek() {
            Token::Ident(name) => format!("'{name}'"),
            Token::Int(value, _) => format!("{value}"),
            Token::Str(_) => "a string".to_owned(),
            Token::Sign(sign) => format!("'{sign}'"),
            Token::End => "the end".to_owned(),
        };
        self.fail(Kind::Unexpected { expected, found })
    }

    pub(super) fn is_sign(&self, sign: &str) -> bool {
        matches!(self.peek(), Token::Sign(s) if *s == sign)
    }

    pub(super) fn accept(&mut self, sign: &str) -> bool {
        let found = self.is_sign(sign);
        self.at += usize::from(found);
        found
    }

    pub(super) fn expect(&mut self, sign: &'static str) -> Result<()> {
        if self.accept(sign) {
            Ok(())
        } else {
            self.unexpected(sign)
        }
    }

    /// One or more string literals, joined.
    pub(super) fn string(&mut self) -> Result<Vec<u8>> {
        let Token::Str(first) = self.peek() else {
            return self.unexpected("a string");
        };
        let mut text = first.clone();
        self.at += 1;
        while let Token::Str(more) = self.peek() {
            text.extend_from_slice(more);
            self.at += 1;
        }
        Ok(text)
    }

    /// An identifier.
    pub(super) fn name(&mut self) -> Result<&'a str> {
        match self.peek() {
            Token::Ident(name) => {
                self.at += 1;
                Ok(name)
            }
            _ => self.unexpected("a name"),
        }
    }

    /// Where the parser stands, to go back to after an error.
    pub(super) fn mark(&self) -> (usize, usize) {
        (self.at, self.locals.len())
    }

    /// Goes back.
    pub(super) fn reset(&mut self, mark: (usize, usize)) {
        self.at = mark.0;
        self.locals.truncate(mark.1);
    }

    /// Passes over tokens up to a comma that is in no further parentheses.
    pub(super) fn skip_to_comma(&mut self) -> Result<()> {
        let mut depth = 0usize;
        loop {
            match self.peek() {
                Token::Sign(",") if depth == 0 => return Ok(()),
                Token::Sign("(" | "{" | "[") => depth += 1,
                Token::Sign(")" | "}" | "]") if depth == 0 => return self.unexpected(","),
                Token::Sign(")" | "}" | "]") => depth -= 1,
                Token::End => return self.unexpected(","),
                _ => {}
            }
            self.at += 1;
        }
    }

    /// An expression without a comma outside of parentheses.
    pub(super) fn expression(&mut self) -> Result<Node> {
        if self.nesting >= MAX_NESTING {
            return self.fail(Kind::TooComplex("expressions nested more than 400 deep"));
        }
        self.nesting += 1;
        let node = self.conditional();
        self.nesting -= 1;
        node
    }

    fn conditional(&mut self) -> Result<Node> {
        let condition = self.operators(0)?;
        if !self.is_sign("?") {
            return Ok(condition);
        }
        let position = self.position();
        self.at += 1;
        let yes = if self.is_sign(":") {
            condition.clone()
        } else {
            self.expression()?
        };
        self.expect(":")?;
        let no = self.expression()?;
        at(position, condition.choose(yes, no))
    }

    /// Binary operators that bind at least as strongly as `least`.
    fn operators(&mut self, least: u8) -> Result<Node> {
        let mut left = self.unary()?;
        while let Token::Sign(sign) = self.peek()
            && let Some((op, strength)) = binary_op(sign)
            && strength >= least
        {
            let position = self.position();
            self.at += 1;
            if self.nesting >= MAX_NESTING {
                return self.fail(Kind::TooComplex("operators nested more than 400 deep"));
            }
            self.nesting += 1;
            let right = self.operators(strength + 1);
            self.nesting -= 1;
            left = at(position, left.binary(op, right?))?;
        }
        Ok(left)
    }

    fn unary(&mut self) -> Result<Node> {
        if self.nesting >= MAX_NESTING {
            return self.fail(Kind::TooComplex("operators nested more than 400 deep"));
        }
        self.nesting += 1;
        let node = self.unary_inner();
        self.nesting -= 1;
        node
    }

    fn unary_inner(&mut self) -> Result<Node> {
        let position = self.position();
        let Token::Sign(sign) = self.peek() else {
            return self.postfix();
        };
        let op = match *sign {
            "-" => UnaryOp::Negate,
            "~" => UnaryOp::Complement,
            "!" => UnaryOp::Not,
            "+" => {
                self.at += 1;
                return self.unary();
            }
            "*" => {
                self.at += 1;
                let pointer = self.unary()?;
                return at(position, pointer.index(Node::constant(0, IntTy::INT)));
            }
            "&" => {
                self.at += 1;
                let operand = self.unary()?;
                return at(position, operand.address());
            }
            "(" => {
                if let Some(ty) = self.cast_type()? {
                    let operand = self.unary()?;
                    return at(position, operand.cast(ty));
                }
                return self.postfix();
            }
            _ => return self.postfix(),
        };
        self.at += 1;
        let operand = self.unary()?;
        at(position, operand.unary(op))
    }

    fn postfix(&mut self) -> Result<Node> {
        let mut node = self.primary()?;
        loop {
            let position = self.position();
            if self.accept("[") {
                let index = self.expression()?;
                self.expect("]")?;
                node = at(position, node.index(index))?;
            } else if self.is_sign("->") || self.is_sign(".") {
                if node.value != Value::Record {
                    return self.fail(Kind::KernelOnly("a member of a structure"));
                }
                self.at += 1;
                node = self.field()?;
            } else {
                return Ok(node);
            }
        }
    }

    fn primary(&mut self) -> Result<Node> {
        match self.peek() {
            Token::Int(value, ty) => {
                self.at += 1;
                Ok(Node::constant(*value, *ty))
            }
            Token::Str(_) => {
                let text = self.string()?;
                Ok(Node::leaf(Value::Text(TextExpr::Literal(text.into()))))
            }
            Token::Sign("(") => {
                self.at += 1;
                if self.accept("{") {
                    return self.statements();
                }
                let node = self.expression()?;
                self.expect(")")?;
                Ok(node)
            }
            Token::Ident(name) => self.named(name),
            _ => self.unexpected("an expression"),
        }
    }

    /// The value of something that only the kernel knows.
    pub(super) fn unknown(&mut self, name: &'a str, ty: IntTy) -> Node {
        if !self.unknown.contains(&name) {
            self.unknown.push(name);
        }
        Node::leaf(Value::Int(IntExpr::Unknown, ty, Pointee::None))
    }

    fn named(&mut self, name: &'a str) -> Result<Node> {
        if let Some((_, node)) = self.locals.iter().rev().find(|(n, _)| *n == name) {
            let node = node.clone();
            self.at += 1;
            return Ok(node);
        }
        match name {
            "REC" => {
                self.at += 1;
                Ok(Node::leaf(Value::Record))
            }
            "sizeof" => self.size_of(),
            "NULL" => {
                self.at += 1;
                let null = Value::Int(IntExpr::Const(0), IntTy::ULONG, Pointee::Other);
                Ok(Node::leaf(null))
            }
            "vmemmap_base" | "page_offset_base" | "jiffies" => {
                self.at += 1;
                Ok(self.unknown(name, IntTy::ULONG))
            }
            "true" | "false" => {
                self.at += 1;
                Ok(Node::constant(u64::from(name == "true"), IntTy::INT))
            }
            _ if matches!(self.peek_at(1), Token::Sign("(")) => calls::call(self, name),
            _ => match self.constants.value(name) {
                Some(value) => {
                    self.at += 1;
                    let ty = if i32::try_from(value).is_ok() {
                        IntTy::INT
                    } else if u32::try_from(value).is_ok() {
                        IntTy::UINT
                    } else {
                        IntTy::LONG
                    };
                    Ok(Node::constant(value.cast_unsigned(), ty))
                }
                None => {
                    if !self.missing.contains(&name) {
                        self.missing.push(name);
                    }
                    self.fail(Kind::UnknownName(name.to_owned()))
                }
            },
        }
    }

    /// What follows `REC->`.
    fn field(&mut self) -> Result<Node> {
        let position = self.position();
        let name = self.name()?;
        match self.format.field(name) {
            Some(field) => Ok(Node::leaf(field_value(field))),
            None => error(position, Kind::UnknownField(name.to_owned())),
        }
    }

    fn size_of(&mut self) -> Result<Node> {
        self.at += 1;
        let position = self.position();
        let size = match self.cast_type()? {
            Some(Ty::Int(ty)) => u64::from(ty.size),
            Some(Ty::Pointer(_)) => 8,
            Some(_) => return error(position, Kind::UnknownType("structure".to_owned())),
            None => match self.unary()?.value {
                Value::Int(_, ty, _) => u64::from(ty.size),
                Value::Memory(MemExpr::Fixed { size, .. }, _) => size.into(),
                Value::Text(TextExpr::Literal(text)) => text.len() as u64 + 1,
                _ => return error(position, Kind::KernelOnly("this size")),
            },
        };
        Ok(Node::constant(size, IntTy::ULONG))
    }

    /// GNU C's `({ declarations; ...; value; })`, after `({`.
    fn statements(&mut self) -> Result<Node> {
        let outer = self.locals.len();
        let mut last = None;
        while !self.accept("}") {
            if self.accept(";") {
                continue;
            }
            if let Some(ty) = self.type_name()? {
                let name = self.name()?;
                self.expect("=")?;
                let position = self.position();
                let value = self.expression()?;
                let value = at(position, value.cast(ty))?;
                if self.locals.len() >= MAX_LOCALS {
                    return self.fail(Kind::TooComplex("more than 64 variables"));
                }
                self.locals.push((name, value));
                last = None;
            } else {
                last = Some(self.expression()?);
            }
            self.expect(";")?;
        }
        self.locals.truncate(outer);
        self.expect(")")?;
        match last {
            Some(node) => Ok(node),
            None => self.fail(Kind::WrongOperand("this block has no value")),
        }
    }

    /// A type in parentheses, if that is what stands here.
    fn cast_type(&mut self) -> Result<Option<Ty>> {
        let start = self.at;
        if !self.accept("(") {
            return Ok(None);
        }
        if let Some(ty) = self.type_name()?
            && self.accept(")")
        {
            return Ok(Some(ty));
        }
        // "(name) operand" with a name that means nothing else: a type that is not known.
        if let (Token::Ident(name), Token::Sign(")")) = (self.peek(), self.peek_at(1))
            && *name != "REC"
            && matches!(
                self.peek_at(2),
                Token::Ident(_) | Token::Int(..) | Token::Sign("(")
            )
            && !self.locals.iter().any(|(n, _)| n == name)
        {
            return self.fail(Kind::UnknownType((*name).to_owned()));
        }
        self.at = start;
        Ok(None)
    }

    /// A type's name, if one stands here; otherwise nothing is taken.
    pub(super) fn type_name(&mut self) -> Result<Option<Ty>> {
        let start = self.at;
        let mut words: Vec<&str> = Vec::new();
        while let Token::Ident(word) = self.peek() {
            match *word {
                "const" | "volatile" | "static" | "__force" | "register" => {}
                "typeof" | "__typeof__" if words.is_empty() => {
                    self.at += 1;
                    self.expect("(")?;
                    let ty = match self.type_name()? {
                        Some(ty) => ty,
                        None => ty_of(&self.expression()?.value),
                    };
                    self.expect(")")?;
                    return Ok(Some(self.pointers(ty)));
                }
                "struct" | "union" => {
                    self.at += 1;
                    self.name()?;
                    return Ok(Some(self.pointers(Ty::Other)));
                }
                "enum" => {
                    self.at += 1;
                    self.name()?;
                    return Ok(Some(self.pointers(Ty::Int(IntTy::UINT))));
                }
                word if is_base_word(word) => words.push(word),
                word if words.is_empty() && typedef(word).is_some() => {
                    words.push(word);
                    self.at += 1;
                    break;
                }
                _ => break,
            }
            self.at += 1;
        }
        let ty = match words.as_slice() {
            [] => {
                self.at = start;
                return Ok(None);
            }
            ["void"] => Ty::Void,
            words => match known_type(&words.join(" ")).or_else(|| typedef(words.first()?)) {
                Some(ty) => Ty::Int(int_ty(ty)),
                None => return self.fail(Kind::UnknownType(words.join(" "))),
            },
        };
        Ok(Some(self.pointers(ty)))
    }

    /// The stars after a type.
    fn pointers(&mut self, mut ty: Ty) -> Ty {
        loop {
            if self.accept("*") {
                ty = Ty::Pointer(match ty {
                    Ty::Int(ty) => Pointee::Int(ty),
                    Ty::Void => Pointee::Void,
                    _ => Pointee::Other,
                });
            } else if matches!(
                self.peek(),
                Token::Ident("const" | "volatile" | "__user" | "restrict")
            ) {
                self.at += 1;
            } else {
                return ty;
            }
        }
    }
}

/// Gives an error of the typed layer its place.
pub(super) fn at<T>(position: usize, result: std::result::Result<T, Kind>) -> Result<T> {
    result.map_err(|kind| PrintFmtError { position, kind })
}

fn ty_of(value: &Value) -> Ty {
    match value {
        Value::Int(_, ty, Pointee::None) => Ty::Int(*ty),
        Value::Int(_, _, pointee) | Value::Memory(_, pointee) => Ty::Pointer(*pointee),
        Value::Text(_) => Ty::Pointer(Pointee::Int(IntTy::CHAR)),
        Value::Record => Ty::Other,
    }
}

fn is_base_word(word: &str) -> bool {
    matches!(
        word,
        "void" | "char" | "short" | "int" | "long" | "signed" | "unsigned" | "bool" | "_Bool"
    )
}

/// Types that print formats cast to, besides those that fields have.
fn typedef(word: &str) -> Option<CType> {
    known_type(word)
        .filter(|_| !is_base_word(word))
        .or_else(|| {
            known_type(match word {
                "xfs_ino_t" | "xfs_fsblock_t" | "xfs_rtblock_t" | "xfs_fileoff_t"
                | "xfs_filblks_t" | "xfs_rfsblock_t" | "blkcnt_t" | "dma_addr_t"
                | "phys_addr_t" | "resource_size_t" | "gpa_t" | "gfn_t" => "u64",
                "xfs_lsn_t" | "xfs_daddr_t" | "xfs_fsize_t" | "xfs_off_t" => "s64",
                "ino_t" | "pgoff_t" | "vm_flags_t" | "kernel_ulong_t" => "unsigned long",
                "off_t" => "long",
                "blk_opf_t" | "slab_flags_t" | "fmode_t" | "xfs_extlen_t" | "xfs_agnumber_t"
                | "xfs_agblock_t" | "xfs_agino_t" | "vm_fault_t" | "blk_mq_req_flags_t"
                | "kuid_t" | "kgid_t" | "projid_t" | "isolate_mode_t" | "__kernel_rwf_t"
                | "rwf_t" => "unsigned int",
                "sa_family_t" => "unsigned short",
                "s_time64_t" => "s64",
                _ => return None,
            })
        })
}

pub(super) fn int_ty(ty: CType) -> IntTy {
    IntTy {
        size: ty.size_bytes as u8,
        signed: ty.signed,
    }
}

/// What a field's elements are.
pub(super) fn element_pointee(element: Option<CType>) -> Pointee {
    match element {
        Some(ty) if ty.pointer => Pointee::Int(IntTy::ULONG),
        Some(ty) => Pointee::Int(int_ty(ty)),
        None => Pointee::Other,
    }
}

fn field_value(field: &FormatField) -> Value {
    let (offset, size) = (field.offset_bytes, field.size_bytes);
    match &field.kind {
        FieldKind::Scalar => {
            let ty = IntTy {
                size: size as u8,
                signed: field.signed,
            };
            Value::Int(IntExpr::Field { offset, ty }, ty, Pointee::None)
        }
        FieldKind::Pointer => {
            let ty = IntTy {
                size: size as u8,
                signed: false,
            };
            Value::Int(IntExpr::Field { offset, ty }, ty, Pointee::Other)
        }
        FieldKind::String => {
            Value::Memory(MemExpr::Fixed { offset, size }, Pointee::Int(IntTy::CHAR))
        }
        FieldKind::Array {
            element_size_bytes, ..
        } => {
            let ty = IntTy {
                size: *element_size_bytes as u8,
                signed: field.signed,
            };
            Value::Memory(MemExpr::Fixed { offset, size }, Pointee::Int(ty))
        }
        FieldKind::FlexibleArray { element } => {
            Value::Memory(MemExpr::ToEnd { offset }, element_pointee(*element))
        }
        FieldKind::DataLoc { .. } | FieldKind::RelLoc { .. } => {
            let ty = IntTy::UINT;
            Value::Int(IntExpr::Field { offset, ty }, ty, Pointee::None)
        }
        FieldKind::Opaque => Value::Memory(MemExpr::Fixed { offset, size }, Pointee::Other),
    }
}

fn binary_op(sign: &str) -> Option<(BinaryOp, u8)> {
    use BinaryOp as B;
    Some(match sign {
        "||" => (B::LogicalOr, 1),
        "&&" => (B::LogicalAnd, 2),
        "|" => (B::Or, 3),
        "^" => (B::Xor, 4),
        "&" => (B::And, 5),
        "==" => (B::Equal, 6),
        "!=" => (B::NotEqual, 6),
        "<" => (B::Less, 7),
        "<=" => (B::LessEqual, 7),
        ">" => (B::Greater, 7),
        ">=" => (B::GreaterEqual, 7),
        "<<" => (B::ShiftLeft, 8),
        ">>" => (B::ShiftRight, 8),
        "+" => (B::Add, 9),
        "-" => (B::Subtract, 9),
        "*" => (B::Multiply, 10),
        "/" => (B::Divide, 10),
        "%" => (B::Remainder, 10),
        _ => return None,
    })
}
