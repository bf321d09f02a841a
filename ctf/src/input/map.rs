//! A file in memory, a page at a time as it is read; or a packet that is in memory anyway.
//!
//! The law for this memory: it is only read, and only as bytes. Another
//! process may change the file; then other bytes are read, which are checked
//! like any. If it is cut short the kernel ends the reader with SIGBUS: as for
//! every tool that maps traces.
#![expect(unsafe_code, reason = "maps files")]

use memmap2::{Advice, Mmap, UncheckedAdvice};
use std::fs::File;
use std::io;
use std::path::Path;

/// Pages are given back in stretches of this many bytes.
const STRETCH_BYTES: usize = 8 << 20;

/// A mapped file.
#[derive(Debug)]
pub(super) struct MappedFile {
    /// `None` for an empty file, and for none.
    map: Option<Mmap>,
    /// What is no file.
    memory: Vec<u8>,
    given_back: usize,
}

impl MappedFile {
    pub(super) fn open(path: &Path) -> io::Result<MappedFile> {
        let file = File::open(path)?;
        let len = file.metadata()?.len();
        if len == 0 {
            return Ok(MappedFile::memory(Vec::new()));
        }
        // SAFETY: the map is private and read only, and the module's head says what may happen to it.
        let map = unsafe { Mmap::map(&file) }?;
        // Only a hint.
        let _ = map.advise(Advice::Sequential);
        Ok(MappedFile {
            map: Some(map),
            memory: Vec::new(),
            given_back: 0,
        })
    }

    /// Bytes that are no file.
    pub(super) fn memory(bytes: Vec<u8>) -> MappedFile {
        MappedFile {
            map: None,
            memory: bytes,
            given_back: 0,
        }
    }

    /// The bytes that are no file, back.
    pub(super) fn into_memory(self) -> Vec<u8> {
        self.memory
    }

    #[inline]
    pub(super) fn bytes(&self) -> &[u8] {
        self.map.as_deref().unwrap_or(&self.memory)
    }

    /// Says that nothing before `offset` is needed for now.
    pub(super) fn done_until(&mut self, offset: usize) {
        let Some(map) = &self.map else { return };
        while offset.saturating_sub(self.given_back) >= STRETCH_BYTES
            && self.given_back + STRETCH_BYTES <= map.len()
        {
            // SAFETY: the pages of a read-only file map come back from the file when they are read again.
            let advised = unsafe {
                map.unchecked_advise_range(
                    UncheckedAdvice::DontNeed,
                    self.given_back,
                    STRETCH_BYTES,
                )
            };
            // Only a hint.
            let _ = advised;
            self.given_back += STRETCH_BYTES;
        }
    }
}
