//! The pages of one CPU, in order, plain or compressed.

use super::bytes::FileBytes;
use super::compression::Compression;
use super::meta::CpuData;
use kstrace_schema::{ErrorKind, Result, ResultExt};
use tracefs::Endian;

/// Hands out the bytes of one CPU's pages.
#[derive(Debug)]
pub(super) struct PageFeed {
    file: FileBytes,
    /// For messages: `data of CPU 3`.
    section: String,
    /// Of the next byte to be read from the file.
    offset: u64,
    end: u64,
    chunks: Option<Chunks>,
}

/// Compressed data: the chunks that are still to come, and the one at hand.
#[derive(Debug)]
struct Chunks {
    compression: Compression,
    endian: Endian,
    /// No chunk is longer.
    longest_bytes: u32,
    /// `None` before the first one.
    left: Option<u32>,
    packed: Vec<u8>,
    content: Vec<u8>,
    /// How much of the content is handed out.
    used: usize,
}

impl PageFeed {
    pub(super) fn new(
        file: &FileBytes,
        section: String,
        data: CpuData,
        compression: Option<(Compression, Endian)>,
        longest_chunk_bytes: u32,
    ) -> Self {
        PageFeed {
            file: file.clone(),
            section,
            offset: data.offset,
            end: data.offset.saturating_add(data.size_bytes),
            chunks: compression.map(|(compression, endian)| Chunks {
                compression,
                endian,
                longest_bytes: longest_chunk_bytes,
                left: None,
                packed: Vec::new(),
                content: Vec::new(),
                used: 0,
            }),
        }
    }

    /// For messages.
    pub(super) fn section(&self) -> &str {
        &self.section
    }

    pub(super) fn file(&self) -> &FileBytes {
        &self.file
    }

    /// Offset of the next byte that is to be read from the file.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// Bytes of the file that are still to be read.
    pub(super) fn left_bytes(&self) -> u64 {
        self.end.saturating_sub(self.offset)
    }

    /// Fills the room as far as there is something. Less than all of it only at the end.
    ///
    /// # Errors
    /// When the file ends too early, or a chunk is no good. What came before is
    /// then in the room; how much, is in the first part of the pair.
    pub(super) fn read(&mut self, room: &mut [u8]) -> (usize, Result<()>) {
        if self.chunks.is_none() {
            return self.read_plain(room);
        }
        let mut done = 0;
        while done < room.len() {
            match self.next_content() {
                Ok(true) => {}
                Ok(false) => break,
                Err(e) => return (done, Err(e)),
            }
            let Some(chunks) = &mut self.chunks else {
                break;
            };
            let content = chunks.content.get(chunks.used..).unwrap_or_default();
            let rest = room.get_mut(done..).unwrap_or_default();
            let count = content.len().min(rest.len());
            for (to, from) in rest.iter_mut().zip(content) {
                *to = *from;
            }
            chunks.used += count;
            done += count;
        }
        (done, Ok(()))
    }

    fn read_plain(&mut self, room: &mut [u8]) -> (usize, Result<()>) {
        let wanted = self.left_bytes().min(room.len() as u64) as usize;
        let Some(room) = room.get_mut(..wanted) else {
            return (0, Ok(()));
        };
        match self.file.read_some(self.offset, room) {
            Ok(count) => {
                let offset = self.offset;
                self.offset += count as u64;
                if count < wanted {
                    let error = self
                        .file
                        .truncated(offset, self.end - offset, &self.section);
                    return (count, Err(error));
                }
                (count, Ok(()))
            }
            Err(e) => (0, Err(e)),
        }
    }

    /// Makes sure that there is content at hand; `false` at the end.
    fn next_content(&mut self) -> Result<bool> {
        let (file, section) = (&self.file, self.section.as_str());
        let Some(chunks) = &mut self.chunks else {
            return Ok(false);
        };
        let number = |bytes: [u8; 4]| match chunks.endian {
            Endian::Little => u32::from_le_bytes(bytes),
            Endian::Big => u32::from_be_bytes(bytes),
        };
        while chunks.used >= chunks.content.len() {
            let left = match chunks.left {
                Some(left) => left,
                // A CPU without data has not even a count.
                None if self.end == self.offset => 0,
                None => {
                    let mut count = [0; 4];
                    file.read_exact(self.offset, &mut count, section)?;
                    self.offset += 4;
                    number(count)
                }
            };
            if left == 0 {
                chunks.left = Some(0);
                return Ok(false);
            }
            let mut header = [0; 8];
            file.read_exact(self.offset, &mut header, section)?;
            let [a, b, c, d, e, f, g, h] = header;
            let (packed_bytes, len_bytes) = (number([a, b, c, d]), number([e, f, g, h]));
            if packed_bytes.max(len_bytes) > chunks.longest_bytes {
                return Err(file.error(
                    ErrorKind::InvalidData,
                    self.offset,
                    section,
                    format!(
                        "chunk of {packed_bytes} bytes for {len_bytes}, at most {} are possible",
                        chunks.longest_bytes
                    ),
                ));
            }
            let start = self.offset + 8;
            if start + u64::from(packed_bytes) > file.len() {
                return Err(file.truncated(start, packed_bytes.into(), section));
            }
            chunks.packed.resize(packed_bytes as usize, 0);
            file.read_exact(start, &mut chunks.packed, section)?;
            chunks
                .compression
                .decompress(&chunks.packed, len_bytes as usize, &mut chunks.content)
                .context(|| format!("'{}', offset {}, {section}", file.name(), self.offset))?;
            self.offset = start + u64::from(packed_bytes);
            chunks.used = 0;
            chunks.left = Some(left - 1);
        }
        Ok(true)
    }
}
