//! Reading the bytes of the file: bounded, and with the place in every error.

use kstrace_schema::{Error, ErrorKind, Result};
use std::fmt;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use tracefs::Endian;

/// Bytes taken from the file at once by a [`Cursor`] over it.
const WINDOW_BYTES: usize = 64 << 10;

/// The file, with its name for messages.
#[derive(Clone, Debug)]
pub(super) struct FileBytes {
    file: Arc<File>,
    name: Arc<str>,
    len: u64,
}

impl FileBytes {
    pub(super) fn new(file: File, name: &str) -> Result<Self> {
        let len = file
            .metadata()
            .map_err(|e| Error::io(format!("'{name}' cannot be read"), e))?
            .len();
        Ok(FileBytes {
            file: Arc::new(file),
            name: name.into(),
            len,
        })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// An error about a place in the file.
    pub(super) fn error(
        &self,
        kind: ErrorKind,
        offset: u64,
        section: &str,
        what: impl fmt::Display,
    ) -> Error {
        Error::new(
            kind,
            format!("'{}', offset {offset}, {section}: {what}", self.name),
        )
    }

    /// Reads what is there from an offset on, up to the length of `room`.
    pub(super) fn read_some(&self, offset: u64, room: &mut [u8]) -> Result<usize> {
        let mut done = 0;
        while let Some(rest) = room.get_mut(done..).filter(|rest| !rest.is_empty()) {
            match self.file.read_at(rest, offset.saturating_add(done as u64)) {
                Ok(0) => break,
                Ok(count) => done += count,
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(e) => {
                    return Err(Error::io(
                        format!("'{}' cannot be read at offset {offset}", self.name),
                        e,
                    ));
                }
            }
        }
        Ok(done)
    }

    /// Fills `room` from an offset on.
    pub(super) fn read_exact(&self, offset: u64, room: &mut [u8], section: &str) -> Result<()> {
        let done = self.read_some(offset, room)?;
        if done < room.len() {
            return Err(self.truncated(offset, room.len() as u64, section));
        }
        Ok(())
    }

    /// So many bytes from an offset on were to be there, and are not.
    pub(super) fn truncated(&self, offset: u64, wanted: u64, section: &str) -> Error {
        let left = self.len.saturating_sub(offset);
        self.error(
            ErrorKind::Truncated,
            offset,
            section,
            format!("{wanted} bytes are needed but the file ends after {left}"),
        )
    }
}

enum Bytes {
    /// All of it is here.
    Memory(Vec<u8>),
    /// The window begins at that offset of the file.
    File { window: Vec<u8>, start: u64 },
}

/// Takes numbers and texts one after the other.
pub(super) struct Cursor {
    file: FileBytes,
    bytes: Bytes,
    /// From the start of the memory, or of the file.
    at: u64,
    /// Where it ends, counted in the same way.
    end: u64,
    /// For messages: where in the file the memory came from.
    origin: u64,
    section: &'static str,
    endian: Endian,
}

impl Cursor {
    /// Over bytes that came from that offset of the file, compressed perhaps.
    pub(super) fn over_memory(
        file: &FileBytes,
        bytes: Vec<u8>,
        origin: u64,
        section: &'static str,
        endian: Endian,
    ) -> Self {
        Cursor {
            file: file.clone(),
            at: 0,
            end: bytes.len() as u64,
            bytes: Bytes::Memory(bytes),
            origin,
            section,
            endian,
        }
    }

    /// Over the file itself, from an offset to an end.
    pub(super) fn over_file(
        file: &FileBytes,
        start: u64,
        end: u64,
        section: &'static str,
        endian: Endian,
    ) -> Self {
        Cursor {
            file: file.clone(),
            bytes: Bytes::File {
                window: Vec::new(),
                start,
            },
            at: start,
            end: end.min(file.len()),
            origin: 0,
            section,
            endian,
        }
    }

    /// Says which section the bytes from here on belong to.
    pub(super) fn enter(&mut self, section: &'static str) {
        self.section = section;
    }

    pub(super) fn set_endian(&mut self, endian: Endian) {
        self.endian = endian;
    }

    /// The place of the next byte in the file, or of the compressed section it is in.
    pub(super) fn offset(&self) -> u64 {
        match self.bytes {
            Bytes::Memory(_) => self.origin.saturating_add(self.at),
            Bytes::File { .. } => self.at,
        }
    }

    pub(super) fn left(&self) -> u64 {
        self.end.saturating_sub(self.at)
    }

    pub(super) fn error(&self, what: impl fmt::Display) -> Error {
        self.file
            .error(ErrorKind::InvalidData, self.offset(), self.section, what)
    }

    fn short(&self, field: &str, wanted: u64) -> Error {
        self.file.error(
            ErrorKind::Truncated,
            self.offset(),
            self.section,
            format!(
                "{field}: {wanted} bytes are needed, {} are left",
                self.left()
            ),
        )
    }

    /// Copies the next bytes out.
    fn fill(&mut self, field: &str, room: &mut [u8]) -> Result<()> {
        let wanted = room.len() as u64;
        if wanted > self.left() {
            return Err(self.short(field, wanted));
        }
        match &mut self.bytes {
            Bytes::Memory(bytes) => {
                // Fits: checked against the end just now.
                let at = self.at as usize;
                if let Some(from) = bytes.get(at..at + room.len()) {
                    room.copy_from_slice(from);
                }
            }
            Bytes::File { window, start } => {
                if room.len() > WINDOW_BYTES {
                    self.file.read_exact(self.at, room, self.section)?;
                } else {
                    let within = self
                        .at
                        .checked_sub(*start)
                        .map(|skip| skip as usize)
                        .filter(|skip| skip + room.len() <= window.len());
                    let skip = match within {
                        Some(skip) => skip,
                        None => {
                            window.resize(WINDOW_BYTES, 0);
                            let count = self.file.read_some(self.at, window)?;
                            window.truncate(count);
                            *start = self.at;
                            0
                        }
                    };
                    match window.get(skip..skip + room.len()) {
                        Some(from) => room.copy_from_slice(from),
                        None => return Err(self.short(field, wanted)),
                    }
                }
            }
        }
        self.at += wanted;
        Ok(())
    }

    /// So many bytes, at most `cap`.
    pub(super) fn take(&mut self, field: &str, count: u64, cap: u64) -> Result<Vec<u8>> {
        if count > cap {
            return Err(self.error(format!(
                "{field} is {count} bytes long, at most {cap} are possible"
            )));
        }
        if count > self.left() {
            return Err(self.short(field, count));
        }
        // Bounded by the cap, and by what is there.
        let mut room = vec![0; count as usize];
        self.fill(field, &mut room)?;
        Ok(room)
    }

    pub(super) fn array<const N: usize>(&mut self, field: &str) -> Result<[u8; N]> {
        let mut room = [0; N];
        self.fill(field, &mut room)?;
        Ok(room)
    }

    pub(super) fn u8(&mut self, field: &str) -> Result<u8> {
        Ok(self.array::<1>(field)?[0])
    }

    pub(super) fn u16(&mut self, field: &str) -> Result<u16> {
        let bytes = self.array(field)?;
        Ok(match self.endian {
            Endian::Little => u16::from_le_bytes(bytes),
            Endian::Big => u16::from_be_bytes(bytes),
        })
    }

    pub(super) fn u32(&mut self, field: &str) -> Result<u32> {
        let bytes = self.array(field)?;
        Ok(match self.endian {
            Endian::Little => u32::from_le_bytes(bytes),
            Endian::Big => u32::from_be_bytes(bytes),
        })
    }

    pub(super) fn u64(&mut self, field: &str) -> Result<u64> {
        let bytes = self.array(field)?;
        Ok(match self.endian {
            Endian::Little => u64::from_le_bytes(bytes),
            Endian::Big => u64::from_be_bytes(bytes),
        })
    }

    /// A text that ends with a NUL, which is left out.
    pub(super) fn c_string(&mut self, field: &str, cap: usize) -> Result<Vec<u8>> {
        let mut text = Vec::new();
        loop {
            match self.u8(field)? {
                0 => return Ok(text),
                byte if text.len() < cap => text.push(byte),
                _ => {
                    return Err(self.error(format!("{field} is longer than {cap} bytes")));
                }
            }
        }
    }
}
