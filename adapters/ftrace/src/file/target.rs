//! Where a finished trace.dat goes.

use kstrace_schema::{Error, ErrorKind, Result};
use std::ffi::OsString;
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use super::lanes::Extent;
use super::spool;

/// An output that is written from beginning to end.
pub(super) struct Target {
    output: Output,
    /// For messages.
    name: String,
    pending: Option<Pending>,
}

enum Output {
    File(File),
    Stream(Box<dyn Write + Send>),
}

/// The file under its temporary name.
#[derive(Debug)]
struct Pending {
    temporary: PathBuf,
    path: PathBuf,
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Target")
            .field("name", &self.name)
            .field("pending", &self.pending)
            .finish_non_exhaustive()
    }
}

impl Target {
    /// A new file beside `path`, which replaces `path` on [`complete`](Self::complete).
    pub(super) fn create(path: &Path) -> Result<Self> {
        // A link stays a link: what it points to is replaced.
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let name = path.display().to_string();
        let failed = |e| Error::io(format!("cannot create '{name}'"), e);
        if fs::metadata(&path).is_ok_and(|m| !m.is_file() && !m.is_dir()) {
            // A device or a pipe has no name to replace.
            let file = OpenOptions::new().write(true).open(&path).map_err(failed)?;
            return Ok(Target::to_writer(&name, file));
        }
        let file_name = path.file_name().ok_or_else(|| {
            let what = format!("'{name}' is not the name of a file");
            Error::new(ErrorKind::InvalidInput, what)
        })?;
        static SERIAL: AtomicU32 = AtomicU32::new(0);
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        let mut temporary_name = OsString::from(".");
        temporary_name.push(file_name);
        temporary_name.push(format!(".{}-{serial}.tmp", std::process::id()));
        let temporary = path.with_file_name(temporary_name);
        // A trace shows what others do, so only its owner may read it.
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&temporary)
            .map_err(failed)?;
        Ok(Target {
            output: Output::File(file),
            name: name.clone(),
            pending: Some(Pending { temporary, path }),
        })
    }

    /// Something at hand.
    pub(super) fn to_writer(name: &str, output: impl Write + Send + 'static) -> Self {
        Target {
            output: Output::Stream(Box::new(output)),
            name: name.to_owned(),
            pending: None,
        }
    }

    /// Where files can wait that will be part of it.
    pub(super) fn waiting_directory(&self) -> PathBuf {
        let beside = self.pending.as_ref().and_then(|p| p.path.parent());
        match beside {
            Some(parent) if parent.as_os_str().is_empty() => PathBuf::from("."),
            Some(parent) => parent.to_owned(),
            None => spool::temporary_directory(),
        }
    }

    /// The file itself, with its position, if it is one of which any part can be written.
    pub(super) fn seekable(&self) -> Result<Option<File>> {
        match (&self.output, &self.pending) {
            (Output::File(file), Some(_)) => {
                let same = file.try_clone().map_err(|e| failed(&self.name, e))?;
                Ok(Some(same))
            }
            _ => Ok(None),
        }
    }

    /// Writes to a place of a [`seekable`](Self::seekable) file; the position stays.
    pub(super) fn write_at(&self, bytes: &[u8], offset: u64) -> Result<()> {
        match &self.output {
            Output::File(file) => file.write_all_at(bytes, offset),
            Output::Stream(_) => Err(std::io::ErrorKind::NotSeekable.into()),
        }
        .map_err(|e| failed(&self.name, e))
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        match &mut self.output {
            Output::File(file) => file.write_all(bytes),
            Output::Stream(stream) => stream.write_all(bytes),
        }
        .map_err(|e| failed(&self.name, e))
    }

    /// A stretch of another file. Between files the kernel copies it.
    pub(super) fn copy(&mut self, from: &File, extent: Extent) -> Result<()> {
        let mut from = from;
        let copied = from
            .seek(SeekFrom::Start(extent.offset))
            .and_then(|_| {
                let mut piece = from.take(extent.len);
                match &mut self.output {
                    Output::File(file) => std::io::copy(&mut piece, file),
                    Output::Stream(stream) => std::io::copy(&mut piece, stream),
                }
            })
            .map_err(|e| failed(&self.name, e))?;
        if copied != extent.len {
            let what = format!(
                "'{}': pages that were written are no longer there",
                self.name
            );
            return Err(Error::new(ErrorKind::Io, what));
        }
        Ok(())
    }

    /// All is written: gives the file its name.
    pub(super) fn complete(&mut self) -> Result<()> {
        if let Output::Stream(stream) = &mut self.output {
            stream.flush().map_err(|e| failed(&self.name, e))?;
        }
        if let Some(pending) = &self.pending {
            fs::rename(&pending.temporary, &pending.path).map_err(|e| failed(&self.name, e))?;
            self.pending = None;
        }
        Ok(())
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        if let Some(pending) = &self.pending {
            // Nobody is left to tell; a file of this name is ours and incomplete.
            let _ = fs::remove_file(&pending.temporary);
        }
    }
}

fn failed(name: &str, e: std::io::Error) -> Error {
    Error::io(format!("cannot write '{name}'"), e)
}
