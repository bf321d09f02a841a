//! Where the file's bytes go: one large buffer, then a file that gets its name
//! only when it is complete.

use kstrace_schema::{Error, ErrorKind, FileAccess, PendingFile, Result};
use std::fmt;
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;

/// How much is gathered before a write: large enough that the system call does
/// not count, small enough to stay in the second-level cache.
const BUFFER_BYTES: usize = 256 << 10;
/// No single piece that is pushed is longer.
pub(super) const MAX_PIECE_BYTES: usize = 1 << 16;

trait Seekable: Write + Seek + Send {}
impl<T: Write + Seek + Send> Seekable for T {}

/// What takes the bytes.
enum Target {
    /// Something whose start is written last.
    Seekable(Box<dyn Seekable>),
    /// Something that takes bytes once and for all.
    Stream(Box<dyn Write + Send>),
}

impl Target {
    fn writer(&mut self) -> &mut dyn Write {
        match self {
            Target::Seekable(target) => target,
            Target::Stream(target) => target,
        }
    }
}

/// A buffered, seekable output.
pub(super) struct Output {
    target: Target,
    /// For messages.
    name: String,
    pending: Option<PendingFile>,
    /// Of fixed length; `used` bytes at its start wait to be written.
    buffer: Vec<u8>,
    used: usize,
    /// Bytes that the target has taken.
    flushed_bytes: u64,
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Output")
            .field("name", &self.name)
            .field("pending", &self.pending)
            .field("position", &self.position())
            .finish_non_exhaustive()
    }
}

impl Output {
    /// Output to something at hand.
    pub(super) fn to_writer(name: &str, target: impl Write + Seek + Send + 'static) -> Self {
        Self::to_target(name, Target::Seekable(Box::new(target)))
    }

    /// Output to something that cannot be gone back in.
    pub(super) fn to_stream(name: &str, target: impl Write + Send + 'static) -> Self {
        Self::to_target(name, Target::Stream(Box::new(target)))
    }

    fn to_target(name: &str, target: Target) -> Self {
        Output {
            target,
            name: name.to_owned(),
            pending: None,
            buffer: vec![0; BUFFER_BYTES + MAX_PIECE_BYTES],
            used: 0,
            flushed_bytes: 0,
        }
    }

    /// Output to a new file beside `path`, which replaces `path` on [`complete`](Self::complete).
    pub(super) fn create(path: &Path) -> Result<Self> {
        let (pending, mut file) = PendingFile::create(path, FileAccess::Owner)?;
        let name = pending.path().display().to_string();
        if pending.is_in_place() {
            file.seek(SeekFrom::Start(0)).map_err(|e| {
                Error::with_source(
                    ErrorKind::Unsupported,
                    format!("'{name}' cannot be sought in, which writing a perf.data needs"),
                    e,
                )
            })?;
        }
        let mut output = Self::to_writer(&name, file);
        output.pending = Some(pending);
        Ok(output)
    }

    /// Bytes pushed so far, which is the offset of the next one.
    pub(super) fn position(&self) -> u64 {
        self.flushed_bytes + self.used as u64
    }

    /// Makes room for a piece of at most [`MAX_PIECE_BYTES`], to be pushed in any number of parts.
    #[inline]
    pub(super) fn reserve(&mut self) -> Result<()> {
        if self.used >= BUFFER_BYTES {
            self.flush()?;
        }
        Ok(())
    }

    /// Appends bytes within what was reserved.
    #[inline]
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.place(bytes.len()).copy_from_slice(bytes);
    }

    /// Appends so many bytes within what was reserved, to be filled in; what
    /// stands in them is old.
    #[inline]
    pub(super) fn place(&mut self, size_bytes: usize) -> &mut [u8] {
        let (start, end) = (self.used, self.used + size_bytes);
        if end > self.buffer.len() {
            // Never after `reserve`; a larger buffer is better than a panic.
            self.buffer.resize(end, 0);
        }
        self.used = end;
        &mut self.buffer[start..end]
    }

    /// The last so many bytes of what was pushed since the last [`reserve`](Self::reserve).
    pub(super) fn last_mut(&mut self, size_bytes: usize) -> &mut [u8] {
        let start = self.used.saturating_sub(size_bytes);
        &mut self.buffer[start..self.used]
    }

    /// Appends bytes of any length.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        for piece in bytes.chunks(MAX_PIECE_BYTES) {
            self.reserve()?;
            self.push(piece);
        }
        Ok(())
    }

    #[cold]
    fn flush(&mut self) -> Result<()> {
        self.target
            .writer()
            .write_all(&self.buffer[..self.used])
            .map_err(|e| failed(&self.name, e))?;
        self.flushed_bytes += self.used as u64;
        self.used = 0;
        Ok(())
    }

    /// Writes what is left and, unless it is a stream, the header at the file's start, and gives the file its name.
    pub(super) fn complete(&mut self, header: &[u8]) -> Result<()> {
        self.flush()?;
        let name = &self.name;
        let fail = |e| failed(name, e);
        if let Target::Seekable(target) = &mut self.target {
            target.seek(SeekFrom::Start(0)).map_err(fail)?;
            target.write_all(header).map_err(fail)?;
        }
        self.target.writer().flush().map_err(fail)?;
        self.pending.as_mut().map_or(Ok(()), PendingFile::complete)
    }
}

fn failed(name: &str, e: std::io::Error) -> Error {
    Error::io(format!("cannot write '{name}'"), e)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_is_written_last() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("perf.data");
        let mut output = Output::create(&path).unwrap();
        output.write(&[1; 300 << 10]).unwrap();
        output.complete(&[2; 8]).unwrap();
        drop(output);
        let written = std::fs::read(&path).unwrap();
        assert_eq!((written.len(), written[7], written[8]), (300 << 10, 2, 1));
    }

    #[test]
    fn a_full_disk_is_told() {
        let mut output = Output::create(Path::new("/dev/full")).unwrap();
        let error = output.write(&[0; 1 << 20]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ResourceExhausted);
        assert!(error.to_string().contains("/dev/full"));
    }
}
