//! Compiled expressions: what the parser makes and the evaluator runs.
//!
//! Types are settled when a print format is compiled. An integer is held in 64
//! bits, extended by the sign of its type, so that most conversions cost nothing.

/// A C integer type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct IntTy {
    /// 1, 2, 4 or 8.
    pub(super) size: u8,
    pub(super) signed: bool,
}

impl IntTy {
    pub(super) const CHAR: IntTy = IntTy {
        size: 1,
        signed: true,
    };
    pub(super) const INT: IntTy = IntTy {
        size: 4,
        signed: true,
    };
    pub(super) const UINT: IntTy = IntTy {
        size: 4,
        signed: false,
    };
    pub(super) const LONG: IntTy = IntTy {
        size: 8,
        signed: true,
    };
    pub(super) const ULONG: IntTy = IntTy {
        size: 8,
        signed: false,
    };

    /// Cuts a value to the type and extends it to 64 bits again.
    #[inline]
    pub(super) fn extend(self, value: u64) -> u64 {
        match (self.size, self.signed) {
            (1, false) => u64::from(value as u8),
            (1, true) => value as i8 as u64,
            (2, false) => u64::from(value as u16),
            (2, true) => value as i16 as u64,
            (4, false) => u64::from(value as u32),
            (4, true) => value as i32 as u64,
            _ => value,
        }
    }

    /// C's integer promotion.
    pub(super) fn promoted(self) -> IntTy {
        if self.size < 4 { IntTy::INT } else { self }
    }

    /// C's usual arithmetic conversions.
    pub(super) fn common(self, other: IntTy) -> IntTy {
        let (a, b) = (self.promoted(), other.promoted());
        match a.size.cmp(&b.size) {
            std::cmp::Ordering::Greater => a,
            std::cmp::Ordering::Less => b,
            std::cmp::Ordering::Equal => IntTy {
                size: a.size,
                signed: a.signed && b.signed,
            },
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UnaryOp {
    Negate,
    Complement,
    Not,
    SwapBytes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BinaryOp {
    Multiply,
    Divide,
    Remainder,
    Add,
    Subtract,
    ShiftLeft,
    ShiftRight,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    Equal,
    NotEqual,
    And,
    Xor,
    Or,
    LogicalAnd,
    LogicalOr,
}

/// An expression whose value is an integer.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum IntExpr {
    Const(u64),
    /// A fixed field.
    Field {
        offset: u32,
        ty: IntTy,
    },
    /// `memory[index]`.
    Load {
        memory: Box<MemExpr>,
        index: Box<IntExpr>,
        ty: IntTy,
    },
    /// Length of a dynamic array in bytes; `word` is where its location stands.
    DynamicLen {
        word: u32,
    },
    Unary(UnaryOp, IntTy, Box<IntExpr>),
    /// Computed in the given type.
    Binary(BinaryOp, IntTy, Box<(IntExpr, IntExpr)>),
    Cast(IntTy, Box<IntExpr>),
    Cond(Box<(IntExpr, IntExpr, IntExpr)>),
    /// A variable or function of the kernel that traced.
    Unknown,
}

/// An expression whose value is a place in the entry.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum MemExpr {
    /// A fixed field.
    Fixed {
        offset: u32,
        size: u32,
    },
    /// A flexible array: from the offset to the entry's end.
    ToEnd {
        offset: u32,
    },
    /// A dynamic array; `base` is what its offset counts from.
    Dynamic {
        word: u32,
        base: u32,
    },
    /// Bytes of the print format itself.
    Literal(Box<[u8]>),
    /// So many bytes further.
    Add(Box<MemExpr>, Box<IntExpr>, u32),
    Cond(Box<(IntExpr, MemExpr, MemExpr)>),
}

/// A table of `__print_flags` or `__print_symbolic`.
#[derive(Clone, Debug, PartialEq, Default)]
pub(super) struct Names {
    pub(super) values: Vec<u64>,
    pub(super) names: Vec<Box<[u8]>>,
}

/// An expression whose value is text.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum TextExpr {
    Literal(Box<[u8]>),
    /// `(null)`.
    Null,
    /// Text in the entry that ends at a NUL.
    Memory(MemExpr),
    /// Text in the kernel's memory.
    Kernel(IntExpr),
    Cond(Box<(IntExpr, TextExpr, TextExpr)>),
    Flags {
        value: IntExpr,
        delimiter: Box<[u8]>,
        names: Box<Names>,
    },
    Symbolic {
        value: IntExpr,
        names: Box<Names>,
    },
    Hex {
        memory: MemExpr,
        len: IntExpr,
        spaced: bool,
    },
    Array {
        memory: MemExpr,
        count: IntExpr,
        element_size: IntExpr,
    },
    Bitmask {
        memory: MemExpr,
    },
    /// One of several literals.
    Choice {
        index: IntExpr,
        texts: Box<[Box<[u8]>]>,
    },
}
