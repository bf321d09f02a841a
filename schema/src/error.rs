//! The error that crosses the borders between rooms.

use std::error::Error as StdError;
use std::fmt;

/// What kind of trouble, for programs and for exit statuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The user asked for something that makes no sense.
    InvalidInput,
    /// Bytes that are not what they should be.
    InvalidData,
    /// Something ends too early.
    Truncated,
    /// A version or feature that this code or this kernel does not have.
    Unsupported,
    /// Something named is not there.
    NotFound,
    /// Not allowed.
    PermissionDenied,
    /// No memory, descriptors, disk space, ids.
    ResourceExhausted,
    /// The operating system said no for another reason.
    Io,
    /// The receiver has gone (broken pipe).
    ReceiverGone,
}

/// An error with a kind, a message and its causes.
///
/// `Display` gives the outermost message; the chain is in `source()`.
pub struct Error {
    kind: ErrorKind,
    message: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// A result with [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// A new error. Lower case, no full stop, with the values received and allowed.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Error {
            kind,
            message: message.into(),
            source: None,
        }
    }

    /// An error with a cause.
    pub fn with_source(
        kind: ErrorKind,
        message: impl Into<String>,
        source: impl StdError + Send + Sync + 'static,
    ) -> Self {
        Error {
            kind,
            message: message.into(),
            source: Some(Box::new(source)),
        }
    }

    /// From an `io::Error`, with the kind it amounts to.
    pub fn io(message: impl Into<String>, source: std::io::Error) -> Self {
        use std::io::ErrorKind as K;
        let kind = match source.kind() {
            K::NotFound => ErrorKind::NotFound,
            K::PermissionDenied => ErrorKind::PermissionDenied,
            K::BrokenPipe => ErrorKind::ReceiverGone,
            K::UnexpectedEof => ErrorKind::Truncated,
            K::StorageFull | K::QuotaExceeded | K::FileTooLarge | K::OutOfMemory => {
                ErrorKind::ResourceExhausted
            }
            K::InvalidInput => ErrorKind::InvalidInput,
            _ => ErrorKind::Io,
        };
        Self::with_source(kind, message, source)
    }

    /// Its kind.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The same error, as the cause of one that says more about where.
    pub fn context(self, message: impl Into<String>) -> Self {
        Error {
            kind: self.kind,
            message: message.into(),
            source: Some(Box::new(self)),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.kind, self.message)?;
        let mut next: Option<&(dyn StdError + 'static)> = self.source();
        while let Some(e) = next {
            write!(f, ": {e}")?;
            next = e.source();
        }
        Ok(())
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|e| e as _)
    }
}

/// Adds context to results.
pub trait ResultExt<T> {
    /// Wraps an error in one that says what was being done.
    fn context(self, message: impl FnOnce() -> String) -> Result<T>;
}

impl<T> ResultExt<T> for Result<T> {
    fn context(self, message: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|e| e.context(message()))
    }
}

impl<T> ResultExt<T> for std::io::Result<T> {
    fn context(self, message: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|e| Error::io(message(), e))
    }
}
