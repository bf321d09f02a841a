//! Where packets go: one buffer, then the writer.

use crate::wire::{Open, Proto};
use kstrace_schema::{Error, FileAccess, PendingFile, Result};
use std::fmt;
use std::io::Write;
use std::path::Path;

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

/// A trace that is written packet by packet.
pub(crate) struct Output {
    buffer: Proto,
    writer: Box<dyn Write + Send>,
    /// For messages.
    name: String,
    pending: Option<PendingFile>,
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
        let (pending, file) = PendingFile::create(path, FileAccess::Owner)?;
        let mut output = Self::to_writer(&pending.path().display().to_string(), file);
        output.pending = Some(pending);
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
        self.writer.flush().map_err(|e| failed(&self.name, e))?;
        self.pending.as_mut().map_or(Ok(()), PendingFile::complete)
    }
}

fn failed(name: &str, e: std::io::Error) -> Error {
    Error::io(format!("cannot write '{name}'"), e)
}
