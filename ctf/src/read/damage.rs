//! What is wrong with a trace.

use kstrace_schema::{Error, ErrorKind};
use std::borrow::Cow;
use std::path::PathBuf;

/// A place in a data stream file that is not what it should be.
///
/// Everything before it has been delivered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: damaged at byte {offset}, field {field}: {reason}", file.display())]
pub struct Damage {
    /// The file.
    pub file: PathBuf,
    /// Offset of the packet or record in it.
    pub offset: u64,
    /// Which field is wrong.
    pub field: Cow<'static, str>,
    /// How.
    pub reason: String,
}

impl Damage {
    /// As the error that crosses to other rooms.
    pub(crate) fn into_error(self, kind: ErrorKind) -> Error {
        let message = format!(
            "{} is damaged: what was whole before byte {} has been read",
            self.file.display(),
            self.offset
        );
        Error::with_source(kind, message, self)
    }
}
