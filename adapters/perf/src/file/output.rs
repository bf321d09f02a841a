//! Where the file's bytes go: one large buffer, then a file that gets its name
//! only when it is complete.

use kstrace_schema::{Error, ErrorKind, Result};
use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

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

/// The file under its temporary name.
#[derive(Debug)]
struct Pending {
    temporary: PathBuf,
    path: PathBuf,
}

/// A buffered, seekable output.
pub(super) struct Output {
    target: Target,
    /// For messages.
    name: String,
    pending: Option<Pending>,
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
        let fail = |e| Error::io(format!("cannot create '{}'", path.display()), e);
        // A link stays a link: what it points to is replaced.
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let name = path.display().to_string();
        if fs::metadata(&path).is_ok_and(|m| !m.is_file() && !m.is_dir()) {
            // A device has no name to replace.
            let mut file = OpenOptions::new().write(true).open(&path).map_err(fail)?;
            file.seek(SeekFrom::Start(0)).map_err(|e| {
                Error::with_source(
                    ErrorKind::Unsupported,
                    format!("'{name}' cannot be sought in, which writing a perf.data needs"),
                    e,
                )
            })?;
            return Ok(Self::to_writer(&name, file));
        }
        let file_name = path.file_name().ok_or_else(|| {
            Error::new(
                ErrorKind::InvalidInput,
                format!("'{name}' is not the name of a file"),
            )
        })?;
        static SERIAL: AtomicU32 = AtomicU32::new(0);
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        let mut temporary_name = std::ffi::OsString::from(".");
        temporary_name.push(file_name);
        temporary_name.push(format!(".{}-{serial}.tmp", std::process::id()));
        let temporary = path.with_file_name(temporary_name);
        // As perf does: a trace shows what others do, so only its owner may read it.
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&temporary)
            .map_err(fail)?;
        let mut output = Self::to_writer(&name, file);
        output.pending = Some(Pending { temporary, path });
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
        if let Some(pending) = &self.pending {
            fs::rename(&pending.temporary, &pending.path).map_err(fail)?;
            self.pending = None;
        }
        Ok(())
    }
}

impl Drop for Output {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_abandoned_file_leaves_nothing() {
        let dir = std::env::temp_dir().join(format!("kstrace-output-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let path = dir.join("perf.data");
        fs::write(&path, "old").unwrap();
        let mut output = Output::create(&path).unwrap();
        output.write(&[1; 300 << 10]).unwrap();
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 2);
        drop(output);
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 1);
        assert_eq!(fs::read(&path).unwrap(), b"old");
        let mut output = Output::create(&path).unwrap();
        output.write(&[1; 300 << 10]).unwrap();
        output.complete(&[2; 8]).unwrap();
        drop(output);
        let written = fs::read(&path).unwrap();
        assert_eq!((written.len(), written[7], written[8]), (300 << 10, 2, 1));
        fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn a_full_disk_is_told() {
        let mut output = Output::create(Path::new("/dev/full")).unwrap();
        let error = output.write(&[0; 1 << 20]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ResourceExhausted);
        assert!(error.to_string().contains("/dev/full"));
    }
}
