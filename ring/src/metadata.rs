//! The metadata lane: fragments that only ever get more.
//!
//! A fragment is a `u32` length, the bytes, and zeros up to a multiple of 8.

use crate::layout::Layout;
use crate::protocol;
use crate::shm::{ByteRegion, SharedMemory, WordRegion};
use crate::{Error, Result};
use std::sync::Arc;

const FRAME_BYTES: usize = 4;

/// Its writer. Fragments come from any thread of the ring's owner, so this lives behind a mutex.
#[derive(Debug)]
pub(crate) struct MetadataWriter {
    bytes: ByteRegion,
    control: WordRegion,
    used: usize,
    capacity: usize,
}

impl MetadataWriter {
    pub(crate) fn new(memory: &Arc<SharedMemory>, layout: &Layout) -> Self {
        MetadataWriter {
            bytes: memory.take_bytes(layout.metadata_offset, layout.metadata_bytes),
            control: memory.take_words(layout.metadata_control_offset, 8),
            used: 0,
            capacity: layout.metadata_bytes,
        }
    }

    pub(crate) fn append(&mut self, fragment: &[u8]) -> Result<()> {
        let free = self.capacity - self.used;
        let needed = FRAME_BYTES
            .saturating_add(fragment.len())
            .next_multiple_of(8);
        let len = match u32::try_from(fragment.len()) {
            Ok(len) if needed <= free => len,
            _ => {
                return Err(Error::MetadataFull {
                    needed,
                    free,
                    capacity: self.capacity,
                });
            }
        };
        // The length shares its word with the first four bytes.
        let (head, rest) = fragment.split_at(fragment.len().min(4));
        let mut first = [0; 8];
        first[..4].copy_from_slice(&len.to_ne_bytes());
        first[4..4 + head.len()].copy_from_slice(head);
        self.bytes.write(self.used, &first);
        self.bytes.write(self.used + 8, rest);
        self.used += needed;
        // Pairs with `protocol::committed` in `MetadataReader::next_fragment`.
        protocol::publish(self.control.word(0), self.used as u64);
        Ok(())
    }
}

/// Reads the metadata lane from its beginning.
#[derive(Clone, Debug)]
pub struct MetadataReader {
    memory: Arc<SharedMemory>,
    control_offset: usize,
    offset: usize,
    capacity: usize,
    at: usize,
}

impl MetadataReader {
    pub(crate) fn new(memory: &Arc<SharedMemory>, layout: &Layout) -> Self {
        MetadataReader {
            memory: Arc::clone(memory),
            control_offset: layout.metadata_control_offset,
            offset: layout.metadata_offset,
            capacity: layout.metadata_bytes,
            at: 0,
        }
    }

    /// The next fragment, `None` when there is no more yet.
    ///
    /// # Errors
    ///
    /// The lane contradicts itself.
    pub fn next_fragment(&mut self) -> Result<Option<Vec<u8>>> {
        let corrupt = |at: usize, field, value: u64, allowed: String| Error::Corrupt {
            lane: u64::MAX,
            packet: at as u64,
            field,
            value,
            allowed,
        };
        // Pairs with `protocol::publish` in `MetadataWriter::append`.
        let committed = protocol::committed(&self.memory.reader(self.control_offset));
        if committed > self.capacity as u64 || !committed.is_multiple_of(8) {
            let allowed = format!("a multiple of 8 up to {}", self.capacity);
            return Err(corrupt(self.at, "metadata_committed", committed, allowed));
        }
        let Some(there) = (committed as usize).checked_sub(self.at).filter(|n| *n > 0) else {
            return Ok(None);
        };
        let mut frame = Vec::with_capacity(FRAME_BYTES);
        self.memory
            .copy_out(self.offset + self.at, FRAME_BYTES, &mut frame);
        let len = frame.first_chunk().map_or(0, |b| u32::from_ne_bytes(*b)) as usize;
        let bytes = FRAME_BYTES.saturating_add(len).next_multiple_of(8);
        if bytes > there {
            let allowed = format!("up to {}", there - FRAME_BYTES);
            return Err(corrupt(self.at, "fragment_len", len as u64, allowed));
        }
        let mut fragment = Vec::new();
        self.memory
            .copy_out(self.offset + self.at + FRAME_BYTES, len, &mut fragment);
        self.at += bytes;
        Ok(Some(fragment))
    }
}
