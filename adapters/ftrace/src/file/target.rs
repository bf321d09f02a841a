//! Where a finished trace.dat goes.

use super::lanes::Extent;
use kstrace_schema::{Error, ErrorKind, FileAccess, PendingFile, Result};
use std::fmt;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// An output that is written from beginning to end.
pub(super) struct Target {
    output: Output,
    /// For messages.
    name: String,
    pending: Option<PendingFile>,
}

enum Output {
    File(File),
    Stream(Box<dyn Write + Send>),
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
        let (pending, file) = PendingFile::create(path, FileAccess::Owner)?;
        let name = pending.path().display().to_string();
        if pending.is_in_place() {
            return Ok(Target::to_writer(&name, file));
        }
        Ok(Target {
            output: Output::File(file),
            name,
            pending: Some(pending),
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
        let beside = self.pending.as_ref().and_then(|p| p.path().parent());
        match beside {
            Some(parent) if parent.as_os_str().is_empty() => PathBuf::from("."),
            Some(parent) => parent.to_owned(),
            None => std::env::temp_dir(),
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
        self.pending.as_mut().map_or(Ok(()), PendingFile::complete)
    }
}

fn failed(name: &str, e: std::io::Error) -> Error {
    Error::io(format!("cannot write '{name}'"), e)
}
