//! The pages of each CPU while they are made, and the file where they wait.

use super::compression::Compression;
use kstrace_schema::{Certainty, Error, Result};
use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::Path;
use tracefs::{Endian, Missed, PageLayout, PageWriter};

/// Bytes of pages that a CPU gathers before they go to the waiting file; with
/// compression, a chunk.
const GATHERED_BYTES: usize = 64 << 10;

/// A stretch of the waiting file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Extent {
    pub(super) offset: u64,
    pub(super) len: u64,
}

/// The waiting file: pages of all CPUs but one, in the order in which they were made.
///
/// A trace.dat wants each CPU's pages in one piece, and how long the pieces are is
/// known only at the end. The first piece can be written in its place at once; what
/// waits must be copied.
#[derive(Debug)]
pub(super) struct WaitingFile {
    file: File,
    len: u64,
    in_place: Option<InPlace>,
    compression: Compression,
    endian: Endian,
}

/// The piece that needs not wait.
#[derive(Debug)]
pub(super) struct InPlace {
    /// The output, whose position is the piece's end.
    file: File,
    /// What comes before the piece's page-aligned start.
    head_bytes: u64,
    /// Where it begins, once a lane has it.
    start: Option<u64>,
}

impl InPlace {
    pub(super) fn new(file: File, head_bytes: u64) -> Self {
        InPlace {
            file,
            head_bytes,
            start: None,
        }
    }
}

impl WaitingFile {
    pub(super) fn create(
        directory: &Path,
        compression: Compression,
        endian: Endian,
    ) -> Result<Self> {
        Ok(WaitingFile {
            file: tempfile::tempfile_in(directory).map_err(|e| {
                Error::io(
                    format!("cannot create a file in '{}'", directory.display()),
                    e,
                )
            })?,
            len: 0,
            in_place: None,
            compression,
            endian,
        })
    }

    /// The first lane that has pages can write them to the output.
    pub(super) fn set_in_place(&mut self, in_place: InPlace) {
        self.in_place = Some(in_place);
    }

    /// Where the lane's pages begin in the output, if no other lane has that place.
    fn claim(&mut self, page_size_bytes: usize) -> Result<Option<u64>> {
        let Some(place) = self.in_place.as_mut().filter(|p| p.start.is_none()) else {
            return Ok(None);
        };
        let start = place.head_bytes.next_multiple_of(page_size_bytes as u64);
        place
            .file
            .seek(SeekFrom::Start(start))
            .map_err(cannot_write)?;
        place.start = Some(start);
        Ok(Some(start))
    }

    fn append_in_place(&mut self, bytes: &[u8]) -> Result<()> {
        match &mut self.in_place {
            Some(place) => place.file.write_all(bytes).map_err(cannot_write),
            None => Ok(()),
        }
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }

    pub(super) fn set_endian(&mut self, endian: Endian) {
        self.endian = endian;
    }

    fn append(&mut self, bytes: &[u8]) -> Result<Extent> {
        let offset = self.len;
        let mut write = |bytes: &[u8]| {
            self.len += bytes.len() as u64;
            self.file.write_all(bytes).map_err(cannot_write)
        };
        if self.compression == Compression::None {
            write(bytes)?;
        } else {
            let packed = self.compression.compress(bytes)?;
            let number = |n: usize| match self.endian {
                Endian::Little => (n as u32).to_le_bytes(),
                Endian::Big => (n as u32).to_be_bytes(),
            };
            // Both far below 4 GiB.
            write(&number(packed.len()))?;
            write(&number(bytes.len()))?;
            write(&packed)?;
        }
        Ok(Extent {
            offset,
            len: self.len - offset,
        })
    }
}

fn cannot_write(e: std::io::Error) -> Error {
    Error::io("cannot write the pages of the trace.dat", e)
}

/// Where the pages of a lane go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// There were none so far.
    Open,
    /// Into the output from there on.
    InPlace(u64),
    /// They wait.
    Waiting,
}

/// The pages of one CPU of one buffer.
#[derive(Debug)]
pub(super) struct Lane {
    writer: PageWriter,
    page_size_bytes: usize,
    gathered: Vec<u8>,
    /// Where in `gathered` the page begins that is being filled.
    page: usize,
    /// Loss to be marked before the next event.
    missed: Missed,
    /// Time of the last event, as the sink was told.
    pub(super) last_ns: u64,
    pub(super) extents: Vec<Extent>,
    way: Way,
    /// Bytes that are in the output already.
    in_place_bytes: u64,
    /// How often pages went to the waiting file.
    pub(super) chunks: u32,
}

impl Lane {
    /// `None` if pages of that size have no room for an event.
    pub(super) fn new(layout: PageLayout, page_size_bytes: usize) -> Option<Self> {
        Some(Lane {
            writer: PageWriter::new(layout, page_size_bytes)?,
            page_size_bytes,
            gathered: Vec::new(),
            page: 0,
            missed: Missed::None,
            last_ns: 0,
            extents: Vec::new(),
            way: Way::Open,
            in_place_bytes: 0,
            chunks: 0,
        })
    }

    /// Length of all its pages, as they are stored.
    pub(super) fn len_bytes(&self) -> u64 {
        let waiting: u64 = self.extents.iter().map(|extent| extent.len).sum();
        self.in_place_bytes + waiting
    }

    /// Where its pages are in the output, if they are there already.
    pub(super) fn in_place(&self) -> Option<u64> {
        match self.way {
            Way::InPlace(start) => Some(start),
            Way::Open | Way::Waiting => None,
        }
    }

    /// Adds an event, whose data are to be written to the place that is given.
    /// `None` if it is longer than a page can hold.
    #[inline]
    pub(super) fn add(
        &mut self,
        waiting: &mut WaitingFile,
        time_raw: u64,
        len_bytes: usize,
    ) -> Result<Option<&mut [u8]>> {
        if len_bytes > self.writer.longest_entry_bytes() {
            return Ok(None);
        }
        if self.missed != Missed::None || self.gathered.is_empty() {
            self.begin(waiting)?;
        }
        let found = match self.try_add(time_raw, len_bytes) {
            Some(found) => Some(found),
            None => {
                self.next_page(waiting)?;
                self.try_add(time_raw, len_bytes)
            }
        };
        Ok(found.and_then(|place| self.gathered.get_mut(place)))
    }

    /// The place of the event in what is gathered.
    #[inline]
    fn try_add(&mut self, time_raw: u64, len_bytes: usize) -> Option<Range<usize>> {
        let page = self
            .gathered
            .get_mut(self.page..self.page + self.page_size_bytes)?;
        let place = self.writer.add(page, time_raw, len_bytes)?;
        Some(self.page + place.start..self.page + place.end)
    }

    /// A first page, or one that begins with a mark of loss.
    #[cold]
    fn begin(&mut self, waiting: &mut WaitingFile) -> Result<()> {
        if self.gathered.is_empty() {
            let pages = (GATHERED_BYTES / self.page_size_bytes).max(1);
            self.gathered = vec![0; pages * self.page_size_bytes];
        }
        if self.missed != Missed::None {
            if !self.writer.is_empty() {
                self.next_page(waiting)?;
            }
            self.writer.set_missed(self.missed);
            self.missed = Missed::None;
        }
        Ok(())
    }

    /// Completes the page and goes on to the next one.
    fn next_page(&mut self, waiting: &mut WaitingFile) -> Result<()> {
        let end = self.page + self.page_size_bytes;
        if let Some(page) = self.gathered.get_mut(self.page..end) {
            self.writer.finish(page);
        }
        self.page = end;
        if end >= self.gathered.len() {
            self.pass_on(waiting)?;
        }
        Ok(())
    }

    fn pass_on(&mut self, waiting: &mut WaitingFile) -> Result<()> {
        let pages = self.gathered.get(..self.page).unwrap_or_default();
        if pages.is_empty() {
            return Ok(());
        }
        if self.way == Way::Open {
            self.way = match waiting.claim(self.page_size_bytes)? {
                Some(start) => Way::InPlace(start),
                None => Way::Waiting,
            };
        }
        self.page = 0;
        self.chunks += 1;
        if self.way != Way::Waiting {
            self.in_place_bytes += pages.len() as u64;
            return waiting.append_in_place(pages);
        }
        let extent = waiting.append(pages)?;
        match self.extents.last_mut() {
            Some(last) if last.offset + last.len == extent.offset => last.len += extent.len,
            _ => self.extents.push(extent),
        }
        Ok(())
    }

    /// Events were lost before the next one.
    pub(super) fn mark_loss(&mut self, count: u64, certainty: Certainty) {
        let unknown = certainty == Certainty::AtLeast && count <= 1;
        self.missed = match (self.missed, unknown) {
            (Missed::None, false) => Missed::Count(count),
            (Missed::Count(before), false) => Missed::Count(before.saturating_add(count)),
            _ => Missed::Unknown,
        };
    }

    /// Passes on what is left. Loss after the last event gets an empty page.
    pub(super) fn complete(&mut self, waiting: &mut WaitingFile) -> Result<()> {
        if self.missed != Missed::None {
            self.begin(waiting)?;
        }
        if !self.writer.is_empty() || self.writer.missed() != Missed::None {
            self.next_page(waiting)?;
        }
        self.pass_on(waiting)
    }
}
