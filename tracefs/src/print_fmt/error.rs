//! What can be wrong with a print format.

use thiserror::Error;

/// A print format that could not be compiled.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("print fmt, byte {position}: {kind}")]
pub struct PrintFmtError {
    /// Where, in bytes from the start of the print format's text.
    pub position: usize,
    /// What.
    pub kind: PrintFmtErrorKind,
}

/// Why a print format could not be compiled.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PrintFmtErrorKind {
    /// Something else should stand here.
    #[error("expected {expected}, found {found}")]
    Unexpected {
        /// What should stand here.
        expected: &'static str,
        /// What does.
        found: String,
    },
    /// A byte that begins no token of C.
    #[error("no token of C begins with {0:?}")]
    BadCharacter(char),
    /// A string, character or number without its end, or too large a number.
    #[error("malformed {0}")]
    Malformed(&'static str),
    /// A name that is neither a field nor known otherwise; often a constant
    /// that only the kernel's headers know.
    #[error("unknown name '{0}'")]
    UnknownName(String),
    /// A function of the kernel.
    #[error("unknown function '{0}'")]
    UnknownFunction(String),
    /// A field that the event does not have.
    #[error("the event has no field '{0}'")]
    UnknownField(String),
    /// A type whose size is not known.
    #[error("unknown type '{0}'")]
    UnknownType(String),
    /// A conversion that the kernel does not have, or that makes sense only there.
    #[error("unknown conversion '%{0}'")]
    UnknownConversion(String),
    /// A conversion without an argument.
    #[error("{0} conversions, but only {1} arguments")]
    TooFewArguments(usize, usize),
    /// An operand that the operation cannot have.
    #[error("{0}")]
    WrongOperand(&'static str),
    /// Something of C that has no meaning outside of the kernel.
    #[error("{0} cannot be evaluated outside of the kernel")]
    KernelOnly(&'static str),
    /// Nested or repeated too much.
    #[error("too complex: {0}")]
    TooComplex(&'static str),
}

pub(super) type Result<T> = std::result::Result<T, PrintFmtError>;

pub(super) fn error<T>(position: usize, kind: PrintFmtErrorKind) -> Result<T> {
    Err(PrintFmtError { position, kind })
}
