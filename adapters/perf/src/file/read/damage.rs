//! What is wrong with a file, and where.

use kstrace_schema::{Error, ErrorKind};

/// Names the file, the place in it, the section, the field and the reason.
#[derive(Clone, Debug)]
pub(super) struct Place {
    file: String,
}

impl Place {
    pub(super) fn new(file: impl Into<String>) -> Self {
        Place { file: file.into() }
    }

    pub(super) fn file(&self) -> &str {
        &self.file
    }

    /// Bytes that make no sense.
    pub(super) fn invalid(
        &self,
        offset: u64,
        section: &str,
        field: &str,
        reason: impl std::fmt::Display,
    ) -> Error {
        self.error(ErrorKind::InvalidData, offset, section, field, reason)
    }

    /// Something ends too early.
    pub(super) fn truncated(
        &self,
        offset: u64,
        section: &str,
        field: &str,
        reason: impl std::fmt::Display,
    ) -> Error {
        self.error(ErrorKind::Truncated, offset, section, field, reason)
    }

    pub(super) fn error(
        &self,
        kind: ErrorKind,
        offset: u64,
        section: &str,
        field: &str,
        reason: impl std::fmt::Display,
    ) -> Error {
        Error::new(
            kind,
            format!(
                "{}: offset {offset}: {section}, {field}: {reason}",
                self.file
            ),
        )
    }
}
