//! Where a file is written: under a temporary name until it is complete, or straight into a pipe.

use kstrace_schema::{Error, ErrorKind, Result};
use std::fs::{File, Permissions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use tempfile::TempPath;

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

/// A file that gets its name only when it is complete.
#[derive(Debug)]
pub(super) struct Pending {
    /// `None` for a pipe or a device, which is written in place.
    rename: Option<(TempPath, PathBuf)>,
}

impl Pending {
    /// Opens the target; the file is for the one who writes.
    ///
    /// # Errors
    /// When nothing can be made there.
    pub(super) fn open(target: &Target) -> Result<(Pending, File)> {
        let path = match target {
            Target::StandardOutput => {
                let fd = io::stdout()
                    .as_fd()
                    .try_clone_to_owned()
                    .map_err(|e| Error::io("use standard output", e))?;
                return Ok((Pending { rename: None }, fd.into()));
            }
            Target::Path(path) => path,
        };
        let fail = |e| Error::io(format!("cannot write {}", path.display()), e);
        if let Ok(meta) = std::fs::metadata(path) {
            let kind = meta.file_type();
            if kind.is_dir() {
                return Err(Error::new(
                    ErrorKind::InvalidInput,
                    format!("cannot write {}: it is a directory", path.display()),
                ));
            }
            if kind.is_fifo() || kind.is_char_device() || kind.is_socket() {
                let file = File::options().write(true).open(path).map_err(fail)?;
                return Ok((Pending { rename: None }, file));
            }
        }
        // A link's target is what is to be replaced, not the link.
        let path = std::fs::canonicalize(path).unwrap_or_else(|_| path.clone());
        let parent = match path.parent() {
            Some(p) if !p.as_os_str().is_empty() => p,
            _ => Path::new("."),
        };
        let temporary = tempfile::Builder::new()
            .prefix(".kstrace-")
            .permissions(Permissions::from_mode(0o666))
            .tempfile_in(parent)
            .map_err(fail)?;
        let (file, temporary) = temporary.into_parts();
        Ok((
            Pending {
                rename: Some((temporary, path)),
            },
            file,
        ))
    }

    /// Gives the file its name.
    ///
    /// # Errors
    /// Those of the rename.
    pub(super) fn complete(&mut self) -> Result<()> {
        let Some((temporary, path)) = self.rename.take() else {
            return Ok(());
        };
        temporary
            .persist(&path)
            .map_err(|e| Error::io(format!("complete {}", path.display()), e.error))
    }
}

/// Collects what is written in small pieces.
pub(super) fn buffered(file: File) -> impl Write + Send {
    io::BufWriter::with_capacity(256 << 10, file)
}
