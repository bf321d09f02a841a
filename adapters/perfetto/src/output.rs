//! Where packets go: one buffer, then the writer.

use crate::wire::{Open, Proto};
use kstrace_schema::{Error, ErrorKind, Result};
use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// How much is gathered before a write.
const BUFFER_BYTES: usize = 256 << 10;
/// `Trace.packet`, the only field of a trace.
const PACKET: u32 = 1;

/// `TracePacket.timestamp`.
const TIMESTAMP: u32 = 8;
/// `TracePacket.timestamp_clock_id`.
const TIMESTAMP_CLOCK_ID: u32 = 58;
/// `TracePacket.trusted_packet_sequence_id`.
const SEQUENCE_ID: u32 = 10;

/// The sequence of everything but samples.
pub(crate) const MAIN_SEQUENCE: u32 = 1;

/// The file under its temporary name.
#[derive(Debug)]
struct Pending {
    temporary: PathBuf,
    path: PathBuf,
}

/// A trace that is written packet by packet.
pub(crate) struct Output {
    buffer: Proto,
    writer: Box<dyn Write + Send>,
    /// For messages.
    name: String,
    pending: Option<Pending>,
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Output")
            .field("name", &self.name)
            .field("pending", &self.pending)
            .finish_non_exhaustive()
    }
}

impl Output {
    pub(crate) fn to_writer(name: &str, writer: impl Write + Send + 'static) -> Self {
        Output {
            buffer: Proto::default(),
            writer: Box::new(writer),
            name: name.to_owned(),
            pending: None,
        }
    }

    /// Output to a new file beside `path`, which replaces `path` on [`complete`](Self::complete).
    /// A device or a pipe is written to as it is.
    pub(crate) fn create(path: &Path) -> Result<Self> {
        let fail = |e| Error::io(format!("cannot create '{}'", path.display()), e);
        // A link stays a link: what it points to is replaced.
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let name = path.display().to_string();
        if fs::metadata(&path).is_ok_and(|m| !m.is_file() && !m.is_dir()) {
            let file = OpenOptions::new().write(true).open(&path).map_err(fail)?;
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
        // A trace shows what others do, so only its owner may read it.
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

    /// Writes one packet of a sequence, with a time on a clock if it has one.
    pub(crate) fn packet(
        &mut self,
        sequence: u32,
        time: Option<(u32, u64)>,
        body: impl FnOnce(&mut Proto),
    ) -> Result<()> {
        let packet = self.begin(sequence, time);
        body(&mut self.buffer);
        self.end(packet)
    }

    fn begin(&mut self, sequence: u32, time: Option<(u32, u64)>) -> Open {
        let packet = self.buffer.open(PACKET);
        self.buffer.uint(SEQUENCE_ID, sequence.into());
        if let Some((clock_id, time)) = time {
            self.buffer.uint(TIMESTAMP, time);
            self.buffer.uint(TIMESTAMP_CLOCK_ID, clock_id.into());
        }
        packet
    }

    fn end(&mut self, packet: Open) -> Result<()> {
        self.buffer.close(packet);
        if self.buffer.len() >= BUFFER_BYTES {
            self.flush()?;
        }
        Ok(())
    }

    /// Writes one packet whose only message is `field`, made of two parts.
    pub(crate) fn packet_of_parts(&mut self, field: u32, head: &Proto, tail: &Proto) -> Result<()> {
        let mut start = Proto::default();
        start.uint(SEQUENCE_ID, MAIN_SEQUENCE.into());
        start.message_head(field, head.len() + tail.len());
        self.buffer
            .message_head(PACKET, start.len() + head.len() + tail.len());
        for part in [&start, head, tail] {
            self.buffer.append(part);
        }
        if self.buffer.len() >= BUFFER_BYTES {
            self.flush()?;
        }
        Ok(())
    }

    pub(crate) fn flush(&mut self) -> Result<()> {
        let result = self.writer.write_all(self.buffer.as_bytes());
        self.buffer.clear();
        result.map_err(|e| failed(&self.name, e))
    }

    /// Writes what is left and gives the file its name.
    pub(crate) fn complete(&mut self) -> Result<()> {
        self.flush()?;
        let name = &self.name;
        self.writer.flush().map_err(|e| failed(name, e))?;
        if let Some(pending) = &self.pending {
            fs::rename(&pending.temporary, &pending.path).map_err(|e| failed(name, e))?;
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
