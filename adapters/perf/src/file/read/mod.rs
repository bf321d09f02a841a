//! Reading perf.data: files, streams and directories, of either byte order.
//!
//! [`PerfDataReader::open`] reads what describes the records; the records themselves come
//! by the streams ([`kstrace_schema::RecordStream`]), one for each file. Payloads are the
//! records as they lie in the file, byte for byte; their classes state the byte order.
//!
//! - A sample's class is its event's; a sample of no known event is `PERF_RECORD_SAMPLE:opaque`.
//! - Every other record, perf's own (64 and up) included, has a class of its type's name.
//!   What says how to read the file ends here and is found in the session instead: attrs,
//!   features and tracing data of a stream, compression, finished rounds.
//! - A record whose bytes are not what its type says has a class of a header and a rest,
//!   named `...:opaque`.
//! - `PERF_RECORD_AUXTRACE` is followed by its data in pieces of at most 32 KiB, of the class
//!   `PERF_RECORD_AUXTRACE:data`: AUX data can be larger than any record may be.
//! - Loss is told in its place by [`Sink::loss`]; the record that tells it comes too.

mod attr_bytes;
pub(super) mod classes;
mod damage;
mod events;
mod feature;
mod header;
mod in_band;
mod inflate;
mod lane;
mod map;
mod misfits;
pub(super) mod order;
mod outer;
mod router;
mod runs;
pub(super) mod session;
mod statistics;
mod tracing_text;

pub(super) use attr_bytes::{decode as decode_attr, from_hex};
pub use statistics::ReadStatistics;

use classes::ClassMaker;
use damage::Place;
use events::FileEvent;
use feature::Features;
use header::{FileHeader, HEADER_BYTES, PIPE_HEADER_BYTES};
use kstrace_schema::{
    ClassRegistry, ClockPair, Error, ErrorKind, FileInput, RecordStream, Result, SessionInfo, Sink,
    Source, SourceId, SourceInfo,
};
use lane::{Lane, LaneSetup};
use map::FileMap;
use order::Order;
use outer::Outer;
use router::Router;
use session::Facts;
use statistics::Statistics;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tracing_text::TracingText;

/// Files of a directory; perf makes one for each CPU at most.
const MAX_FILES: usize = 1 << 14;

/// How a perf.data is read.
#[derive(Clone, Debug)]
pub struct ReadOptions {
    /// The id that the file's source gets.
    pub source: SourceId,
    /// Where classes get their ids; one of its own if none is given.
    pub registry: Option<Arc<ClassRegistry>>,
    /// Of a stream or of compressed records, at most about so many bytes are kept in memory
    /// while waiting for the round to be finished by which they can be sorted.
    pub max_pending_bytes: usize,
}

impl Default for ReadOptions {
    fn default() -> Self {
        ReadOptions {
            source: SourceId(1),
            registry: None,
            max_pending_bytes: 512 << 20,
        }
    }
}

/// A perf.data to be read.
#[derive(Debug)]
pub struct PerfDataReader {
    session: SessionInfo,
    info: SourceInfo,
    pair: Option<ClockPair>,
    registry: Arc<ClassRegistry>,
    lanes: Vec<Lane>,
    statistics: Arc<Statistics>,
    place: Place,
    /// Of what describes the records.
    misfits: Vec<String>,
    total_bytes: Option<u64>,
}

/// What describes the records of a file.
struct Described {
    order: Order,
    mode: &'static str,
    events: Vec<FileEvent>,
    features: Features,
    texts: TracingText,
    odd: Vec<String>,
}

/// The records of one file.
struct Part {
    place: Place,
    outer: Outer,
    /// Bytes of records; 0 for a stream.
    length: u64,
    start: u64,
    described_to: u64,
    damage: Vec<Error>,
}

impl PerfDataReader {
    /// Opens a file, a directory that `perf record --threads` made, a named pipe, or, by the
    /// name `-`, standard input.
    ///
    /// # Errors
    /// If it cannot be read, or is no perf.data, or its header makes no sense. Damage further
    /// on is told by the streams, after all that is whole.
    pub fn open(path: &Path, options: ReadOptions) -> Result<Self> {
        if path == Path::new("-") {
            return Self::from_stream("standard input", std::io::stdin(), options);
        }
        let name = path.display().to_string();
        let fail = |e| Error::io(format!("cannot open '{name}'"), e);
        let metadata = std::fs::metadata(path).map_err(fail)?;
        if metadata.is_dir() {
            return Self::open_directory(path, options);
        }
        let file = File::open(path).map_err(fail)?;
        if !metadata.is_file() {
            return Self::from_stream(&name, file, options);
        }
        let place = Place::new(&name);
        let (described, part) = Self::describe_file(file, place)?;
        let total = part.length;
        Self::finish(described, vec![part], Some(total), options)
    }

    /// Reads an open regular file.
    pub(in crate::file) fn of_file(name: &str, file: &File) -> Result<Self> {
        let place = Place::new(name);
        let fail = |e| Error::io(format!("cannot read '{name}'"), e);
        let file = file.try_clone().map_err(fail)?;
        let (described, part) = Self::describe_file(file, place)?;
        let total = part.length;
        Self::finish(described, vec![part], Some(total), ReadOptions::default())
    }

    /// Reads a stream, as `perf record -o -` writes it. A file that comes by a stream is put
    /// aside into a temporary file first, since what describes its records comes last.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn from_stream(
        name: &str,
        stream: impl Read + Send + 'static,
        options: ReadOptions,
    ) -> Result<Self> {
        let place = Place::new(name);
        let mut outer = Outer::stream(Box::new(stream));
        outer.ensure(0, PIPE_HEADER_BYTES as usize, &place)?;
        let head = header::head(outer.bytes().0);
        let is_file = head.is_some_and(|head| head.size != PIPE_HEADER_BYTES);
        if is_file {
            let file = spool(outer, &place)?;
            let (described, part) = Self::describe_file(file, place)?;
            let total = part.length;
            return Self::finish(described, vec![part], Some(total), options);
        }
        let (described, part) = Self::describe_pipe(outer, place)?;
        Self::finish(described, vec![part], None, options)
    }

    fn map(file: &File, place: &Place) -> Result<FileMap> {
        let fail = |e| Error::io(format!("cannot read '{}'", place.file()), e);
        let len = file.metadata().map_err(fail)?.len();
        let len = usize::try_from(len).map_err(|_| {
            let reason = format!(
                "'{}' has {len} bytes, too many for this machine",
                place.file()
            );
            Error::new(ErrorKind::Unsupported, reason)
        })?;
        FileMap::new(file, len).map_err(fail)
    }

    /// A regular file: one of perf's files, or what a pipe held.
    fn describe_file(file: File, place: Place) -> Result<(Described, Part)> {
        let map = Self::map(&file, &place)?;
        let bytes = map.bytes();
        if header::head(bytes).is_some_and(|head| head.size == PIPE_HEADER_BYTES) {
            let end = bytes.len() as u64;
            return Self::describe_pipe(Outer::file(map, 0, end), place);
        }
        let header = FileHeader::parse(bytes, &place)?;
        let order = header.order;
        let len = bytes.len() as u64;
        let mut damage = Vec::new();
        let start = header.data.offset;
        let stated_end = header.data.offset.saturating_add(header.data.size);
        let (mut events, bad_events) = header.events(bytes, &place);
        let (features, texts) = if header.data.size == 0 && len > start {
            let reason = "0: the recording was not completed, so nothing of what follows the records is there";
            damage.push(place.truncated(48, "header", "data.size", reason));
            Default::default()
        } else {
            let (features, texts, bad) = header.features(bytes, stated_end, &place);
            damage.extend(bad);
            (features, texts)
        };
        if start > len || stated_end > len {
            let reason = format!("the records end at {stated_end}, the file at {len}");
            damage.insert(0, place.truncated(40, "header", "data", reason));
        }
        if events.is_empty() {
            let reason = "no event could be read";
            return Err(
                bad_events.unwrap_or_else(|| place.invalid(24, "header", "attrs.size", reason))
            );
        }
        damage.extend(bad_events);
        for (event, described) in events.iter_mut().zip(&features.events) {
            event.name = Some(described.name.clone());
        }
        for event in &mut events {
            event.take_format(&texts);
        }
        let end = match header.data.size {
            0 => len,
            _ => stated_end.min(len),
        };
        let start = start.min(end);
        let part = Part {
            length: end - start,
            outer: Outer::file(map, start, end),
            start,
            described_to: start,
            damage,
            place,
        };
        let described = Described {
            order,
            mode: "file",
            events,
            features,
            texts,
            odd: Vec::new(),
        };
        Ok((described, part))
    }

    fn describe_pipe(mut outer: Outer, place: Place) -> Result<(Described, Part)> {
        let start = PIPE_HEADER_BYTES;
        outer.ensure(0, PIPE_HEADER_BYTES as usize, &place)?;
        let Some(head) = header::head(outer.bytes().0) else {
            // Says what is wrong with it.
            return Err(match FileHeader::parse(outer.bytes().0, &place) {
                Err(e) => e,
                Ok(_) => place.invalid(0, "header", "size", "is that of a file"),
            });
        };
        let mut found = in_band::describe(&mut outer, start, head.order, &place)?;
        for (event, described) in found.events.iter_mut().zip(&found.features.events) {
            event.name.get_or_insert_with(|| described.name.clone());
        }
        for event in &mut found.events {
            event.take_format(&found.texts);
        }
        let length = outer
            .len_of_file()
            .map_or(0, |len| len.saturating_sub(start));
        let part = Part {
            outer,
            length,
            start,
            described_to: found.described_to,
            damage: Vec::new(),
            place,
        };
        let described = Described {
            order: head.order,
            mode: "pipe",
            events: found.events,
            features: found.features,
            texts: found.texts,
            odd: found.odd,
        };
        Ok((described, part))
    }

    fn open_directory(path: &Path, options: ReadOptions) -> Result<Self> {
        let fail = |path: &Path, e| Error::io(format!("cannot open '{}'", path.display()), e);
        let main = path.join("data");
        let file = File::open(&main).map_err(|e| fail(&main, e))?;
        let place = Place::new(main.display().to_string());
        let (mut described, part) = Self::describe_file(file, place)?;
        described.mode = "directory";
        let mut total = part.length;
        let mut parts = vec![part];
        for path in part_files(path).map_err(|e| fail(path, e))? {
            let file = File::open(&path).map_err(|e| fail(&path, e))?;
            let place = Place::new(path.display().to_string());
            let map = Self::map(&file, &place)?;
            let end = map.bytes().len() as u64;
            total += end;
            parts.push(Part {
                length: end,
                outer: Outer::file(map, 0, end),
                start: 0,
                described_to: 0,
                damage: Vec::new(),
                place,
            });
        }
        Self::finish(described, parts, Some(total), options)
    }

    fn finish(
        described: Described,
        parts: Vec<Part>,
        total_bytes: Option<u64>,
        options: ReadOptions,
    ) -> Result<Self> {
        let registry = options.registry.unwrap_or_default();
        let maker = ClassMaker::new(options.source, Arc::clone(&registry), described.order);
        let mut router = Router::new(maker);
        let (clock, pair) = session::clock(&described.events, &described.features);
        let place = parts
            .first()
            .map_or_else(|| Place::new("?"), |part| part.place.clone());
        if let Err(reason) = router.add_events(&described.events)? {
            return Err(place.invalid(24, "header", "attrs", reason));
        }
        let fingerprint = fingerprint(&described, total_bytes);
        let facts = Facts {
            place: &place,
            mode: described.mode,
            order: described.order,
            events: &described.events,
            features: &described.features,
            texts: &described.texts,
            odd: &described.odd,
            fingerprint,
        };
        let session = session::session(&facts, options.source, clock);
        let info =
            session.sources.last().cloned().ok_or_else(|| {
                Error::new(ErrorKind::InvalidData, "a session without its source")
            })?;
        let statistics = Arc::new(Statistics::new(parts.len()));
        let lanes = parts
            .into_iter()
            .enumerate()
            .map(|(index, part)| {
                Lane::new(LaneSetup {
                    index,
                    source: options.source,
                    place: part.place,
                    router: router.clone(),
                    outer: part.outer,
                    start: part.start,
                    described_to: part.described_to,
                    max_pending_bytes: options.max_pending_bytes,
                    damage: part.damage,
                    statistics: Arc::clone(&statistics),
                })
            })
            .collect();
        Ok(PerfDataReader {
            session,
            info,
            pair,
            registry,
            lanes,
            statistics,
            misfits: misfits::of_description(
                &place,
                &described.events,
                &described.features,
                &described.texts,
            ),
            place,
            total_bytes,
        })
    }

    /// Whether a file begins as a perf.data does, of whatever kind.
    pub fn recognises(first_bytes: &[u8]) -> bool {
        header::head(first_bytes).is_some_and(|h| h.size <= HEADER_BYTES)
    }

    /// Where its classes are registered.
    pub fn registry(&self) -> &Arc<ClassRegistry> {
        &self.registry
    }

    /// What reading came to so far.
    pub fn statistics(&self) -> ReadStatistics {
        self.statistics.get()
    }
}

impl Source for PerfDataReader {
    fn info(&self) -> &SourceInfo {
        &self.info
    }

    fn streams(&mut self, sink: &mut dyn Sink) -> Result<Vec<Box<dyn RecordStream>>> {
        if let Some(pair) = &self.pair {
            sink.clock_pair(pair)?;
        }
        let mut streams: Vec<Box<dyn RecordStream>> = Vec::new();
        for mut lane in self.lanes.drain(..) {
            lane.announce(sink)?;
            streams.push(Box::new(lane));
        }
        Ok(streams)
    }
}

impl FileInput for PerfDataReader {
    fn session(&self) -> &SessionInfo {
        &self.session
    }

    fn misfits(&self) -> Vec<Error> {
        let mut found = self.misfits.clone();
        found.extend(misfits::of_records(&self.place, self.statistics()));
        let error = |what| Error::new(ErrorKind::InvalidData, what);
        found.into_iter().map(error).collect()
    }

    fn progress_bytes(&self) -> Option<(u64, u64)> {
        Some((self.total_bytes?, self.statistics.read_bytes()))
    }
}

/// `data.0`, `data.1` and so on, in the order of their numbers.
fn part_files(dir: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut files: Vec<(u64, PathBuf)> = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        let number = path
            .file_name()
            .and_then(|name| name.to_str()?.strip_prefix("data.")?.parse().ok());
        if let Some(number) = number.filter(|_| path.is_file() && files.len() < MAX_FILES) {
            files.push((number, path));
        }
    }
    files.sort();
    Ok(files.into_iter().map(|(_, path)| path).collect())
}

/// A file that came by a stream, in a temporary file that has no name.
fn spool(mut stream: Outer, place: &Place) -> Result<File> {
    let fail = |e| Error::io(format!("cannot put '{}' aside", place.file()), e);
    let mut file = tempfile::tempfile().map_err(fail)?;
    stream.copy_to(&mut file).map_err(fail)?;
    Ok(file)
}

/// 128 bits of what tells one file from another.
fn fingerprint(described: &Described, total_bytes: Option<u64>) -> u128 {
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    let mut hash: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    let mut add = |bytes: &[u8]| {
        for byte in bytes {
            hash = (hash ^ u128::from(*byte)).wrapping_mul(PRIME);
        }
    };
    add(&total_bytes.unwrap_or(0).to_le_bytes());
    for event in &described.events {
        add(&event.bytes);
        event.ids.iter().for_each(|id| add(&id.to_le_bytes()));
    }
    for (number, bytes) in &described.features.sections {
        add(&number.to_le_bytes());
        add(bytes);
    }
    hash
}
