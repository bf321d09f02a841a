//! Where a file is written: under a temporary name until it is complete, or straight into a pipe.

use kstrace_schema::{Error, FileAccess, PendingFile, Result};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

/// An output that is named or standard output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// `-`
    StandardOutput,
    /// A name.
    Path(PathBuf),
}

impl Target {
    /// What the user wrote: `-` is standard output.
    pub fn of(path: &Path) -> Target {
        if path.as_os_str() == "-" {
            Target::StandardOutput
        } else {
            Target::Path(path.to_owned())
        }
    }

    /// The name, for people.
    pub fn shown(&self) -> String {
        match self {
            Target::StandardOutput => "standard output".to_owned(),
            Target::Path(path) => path.display().to_string(),
        }
    }
}

/// Opens the target, and the file for the one who writes; `None` for standard output.
///
/// # Errors
/// When nothing can be made there.
pub(super) fn open(target: &Target) -> Result<(Option<PendingFile>, File)> {
    match target {
        Target::StandardOutput => {
            let fd = io::stdout()
                .as_fd()
                .try_clone_to_owned()
                .map_err(|e| Error::io("use standard output", e))?;
            Ok((None, fd.into()))
        }
        Target::Path(path) => {
            let (pending, file) = PendingFile::create(path, FileAccess::Everybody)?;
            Ok((Some(pending), file))
        }
    }
}

/// Collects what is written in small pieces.
pub(super) fn buffered(file: File) -> impl Write + Send {
    io::BufWriter::with_capacity(256 << 10, file)
}
