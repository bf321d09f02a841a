//! What can be wrong with a format file.

use thiserror::Error;

/// A format file that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("format file, line {line}: expected {expected}, found {}", shown(.found))]
pub struct FormatError {
    /// Line number, from 1.
    pub line: usize,
    /// What should be there.
    pub expected: &'static str,
    /// What is there, cut off after some 100 characters; empty for the end of the text.
    pub found: String,
}

impl FormatError {
    pub(super) fn new(line: usize, expected: &'static str, found: &str) -> Self {
        const MAX_CHARS: usize = 100;
        FormatError {
            line,
            expected,
            found: found.chars().take(MAX_CHARS).collect(),
        }
    }
}

fn shown(found: &str) -> String {
    if found.is_empty() {
        "nothing".to_owned()
    } else {
        format!("{found:?}")
    }
}
