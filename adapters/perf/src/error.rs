//! What can go wrong here.

use kstrace_schema::{Error, ErrorKind};
use std::io;

/// An error of this crate, with what the user can do about it in its message.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PerfError {
    /// The event's name is none that perf or this kernel knows.
    #[error("unknown event '{name}'{hint}")]
    UnknownEvent {
        /// As the user wrote it.
        name: String,
        /// Empty, or names that come near.
        hint: String,
    },
    /// The event's modifiers make no sense.
    #[error("bad modifiers '{modifiers}' in event '{name}': {reason}")]
    BadModifiers {
        /// The event as the user wrote it.
        name: String,
        /// The part after the last colon.
        modifiers: String,
        /// What is wrong with them.
        reason: &'static str,
    },
    /// The plan contradicts itself.
    #[error("{0}")]
    BadPlan(String),
    /// The kernel does not offer the event or one of the features asked for.
    #[error("{what}: {reason}")]
    Unsupported {
        /// The event or feature.
        what: String,
        /// Why, and what to do.
        reason: String,
        /// The kernel's answer.
        #[source]
        source: Option<io::Error>,
    },
    /// The kernel does not allow it.
    #[error("{what}: {hint}")]
    Denied {
        /// What was refused.
        what: String,
        /// What would make it possible.
        hint: String,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// Out of descriptors, memory or locked memory.
    #[error("{what}: {hint}")]
    Exhausted {
        /// What was refused.
        what: String,
        /// What would make it possible.
        hint: String,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// The process to be traced is not there.
    #[error("no process {pid}")]
    NoProcess {
        /// The process.
        pid: i32,
    },
    /// The kernel refused a filter expression.
    #[error("filter '{filter}' of event '{event}': {reason}")]
    BadFilter {
        /// The event.
        event: String,
        /// The expression.
        filter: String,
        /// What the kernel says of it.
        reason: String,
    },
    /// Any other refusal by the operating system.
    #[error("{what}")]
    Io {
        /// What was being done.
        what: String,
        /// The answer.
        #[source]
        source: io::Error,
    },
    /// A class could not be registered.
    #[error("cannot register an event class")]
    Registry(#[source] Error),
}

impl PerfError {
    pub(crate) fn io(what: impl Into<String>, source: io::Error) -> Self {
        PerfError::Io {
            what: what.into(),
            source,
        }
    }

    /// Its kind, in the model's words.
    pub fn kind(&self) -> ErrorKind {
        match self {
            PerfError::UnknownEvent { .. } | PerfError::NoProcess { .. } => ErrorKind::NotFound,
            PerfError::BadModifiers { .. }
            | PerfError::BadPlan(_)
            | PerfError::BadFilter { .. } => ErrorKind::InvalidInput,
            PerfError::Unsupported { .. } => ErrorKind::Unsupported,
            PerfError::Denied { .. } => ErrorKind::PermissionDenied,
            PerfError::Exhausted { .. } => ErrorKind::ResourceExhausted,
            PerfError::Io { .. } => ErrorKind::Io,
            PerfError::Registry(e) => e.kind(),
        }
    }
}

impl From<PerfError> for Error {
    fn from(e: PerfError) -> Self {
        use std::error::Error as _;
        // The message already says what was done; the cause is the kernel's own answer.
        let kind = e.kind();
        let message = e.to_string();
        match e.source() {
            Some(_) => Error::with_source(kind, message, CauseOf(e)),
            None => Error::new(kind, message),
        }
    }
}

/// Stands for the cause of an error whose own message was already told.
#[derive(Debug)]
struct CauseOf(PerfError);

impl std::fmt::Display for CauseOf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        use std::error::Error as _;
        self.0
            .source()
            .map_or(Ok(()), |cause| std::fmt::Display::fmt(cause, f))
    }
}

impl std::error::Error for CauseOf {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        std::error::Error::source(&self.0).and_then(std::error::Error::source)
    }
}
