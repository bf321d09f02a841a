//! The targets of CTF traces.
//!
//! The reader opens directories, so every input becomes one for as long as it is read, in memory where there is a
//! file system for that.

use kstrace_ctf::{CtfOptions, CtfReader, CtfSink, MetadataFormat};
use kstrace_schema::merge::Merger;
use kstrace_schema::{
    EventRecord, EventRecordClass, FileInput, FileOutput, Loss, SessionInfo, Sink, Source,
};
use std::path::Path;
use std::sync::Arc;

/// Metadata of the streams that [`ctf_packets`] reads; an input's first byte chooses.
const METADATA: [&str; 3] = [
    include_str!("ctf/lttng.tsdl"),
    include_str!("ctf/bits.tsdl"),
    include_str!("ctf/plain.tsdl"),
];

/// Counts, and checks what is promised of records.
#[derive(Default)]
struct Count {
    classes: Vec<bool>,
    records: u64,
    lost: u64,
}

impl Sink for Count {
    fn session(&mut self, _: &SessionInfo) -> kstrace_schema::Result<()> {
        Ok(())
    }

    fn class(&mut self, class: &Arc<EventRecordClass>) -> kstrace_schema::Result<()> {
        let index = usize::from(class.id.0);
        if self.classes.len() <= index {
            self.classes.resize(index + 1, false);
        }
        self.classes[index] = true;
        Ok(())
    }

    fn record(&mut self, record: &EventRecord<'_>) -> kstrace_schema::Result<()> {
        let known = self.classes.get(usize::from(record.class.0));
        assert_eq!(known, Some(&true), "a class comes first");
        self.records += 1;
        Ok(())
    }

    fn loss(&mut self, loss: &Loss) -> kstrace_schema::Result<()> {
        assert!(loss.begin <= loss.end);
        self.lost = self.lost.saturating_add(loss.count);
        Ok(())
    }
}

fn scratch() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    let made = if memory.is_dir() {
        tempfile::tempdir_in(memory)
    } else {
        tempfile::tempdir()
    };
    made.unwrap_or_else(|e| panic!("no scratch directory: {e}"))
}

fn write(path: &Path, bytes: &[u8]) {
    std::fs::write(path, bytes).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
}

/// Reads all of a trace into a sink; false at damage.
fn read_into(reader: &mut CtfReader, sink: &mut dyn Sink, rounds: usize) -> bool {
    let Ok(streams) = reader.streams(sink) else {
        return false;
    };
    let mut merger = Merger::new(streams);
    for _ in 0..=rounds {
        match merger.round(sink) {
            Ok(round) if !round.finished() => {}
            Ok(_) => {
                let whole = merger.finish(sink).is_ok();
                return whole && merger.errors().is_empty();
            }
            Err(_) => return false,
        }
    }
    panic!("reading does not end");
}

/// Writes the trace in `from` anew, and reads that: what is written can be read, and nothing is missing that the
/// report does not name.
fn copied(from: &Path, records: u64, rounds: usize) {
    for metadata in [MetadataFormat::Ctf1_8, MetadataFormat::Ctf2] {
        let out = scratch();
        let to = out.path().join("copy");
        let Ok(mut reader) = CtfReader::open(from) else {
            panic!("it opened before")
        };
        let Ok(mut sink) = CtfSink::create(&to, CtfOptions::with_metadata(metadata)) else {
            panic!("the directory is there")
        };
        if sink.session(reader.session()).is_err() {
            return;
        }
        let _ = read_into(&mut reader, &mut sink, rounds);
        if sink.finish().is_err() {
            return;
        }
        let report = sink.report();
        if report.kept == 0 {
            continue;
        }
        let mut again = match CtfReader::open(&to) {
            Ok(again) => again,
            Err(e) => panic!("what was written cannot be opened: {e:?}"),
        };
        let mut count = Count::default();
        let whole = read_into(&mut again, &mut count, rounds.saturating_mul(4) + 64);
        assert!(whole, "what was written is damaged");
        assert_eq!(count.records, report.kept, "what was kept is there");
        assert_eq!(
            records,
            report.kept + report.not_held_total(),
            "every record is accounted for"
        );
    }
}

/// Reads a trace of one stream, and copies it if `copy`.
fn trace(metadata: &[u8], stream: &[u8], copy: bool) {
    let dir = scratch();
    write(&dir.path().join("metadata"), metadata);
    if !stream.is_empty() {
        write(&dir.path().join("stream"), stream);
    }
    let Ok(mut reader) = CtfReader::open(dir.path()) else {
        return;
    };
    let _ = (reader.session().sources.len(), reader.progress_bytes());
    let rounds = stream.len().saturating_mul(8) + 64;
    let mut count = Count::default();
    let _ = read_into(&mut reader, &mut count, rounds);
    if copy {
        copied(dir.path(), count.records, rounds);
    }
}

/// TSDL, packetised or not: an error, or a trace of no streams that can be copied.
pub fn ctf_tsdl(data: &[u8]) {
    trace(data, &[], false);
}

/// The metadata of CTF 2: as [`ctf_tsdl`].
pub fn ctf_json(data: &[u8]) {
    trace(data, &[], false);
}

/// A stream of packets of which the metadata is known: which one, then the file.
pub fn ctf_packets(data: &[u8]) {
    let Some((which, stream)) = data.split_first() else {
        return;
    };
    let metadata = METADATA[usize::from(*which) % METADATA.len()];
    trace(metadata.as_bytes(), stream, true);
}

/// Length of the metadata in two bytes, metadata, stream.
pub fn ctf_trace(data: &[u8]) {
    let Some((length, rest)) = data.split_first_chunk::<2>() else {
        return;
    };
    let length = usize::from(u16::from_le_bytes(*length)).min(rest.len());
    let (metadata, stream) = rest.split_at(length);
    trace(metadata, stream, true);
}
