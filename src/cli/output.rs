//! Text on standard output, where a reader that has gone is no failure.

use anyhow::Result;
use std::io::Write;

/// Prints a text in one go.
pub(super) fn print(text: &str) -> Result<()> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => Err(e.into()),
        _ => Ok(()),
    }
}
