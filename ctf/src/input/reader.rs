//! Opening traces.

use super::clock::{ClockMap, session_clock};
use super::exec::Facts;
use super::map::MappedFile;
use super::plan::{Shared, StreamPlan, stream_plan};
use super::stream::{CtfStream, Progress, StreamFile, TracePlan, packet_start};
use super::{chunks, describe, discover, index, metadata};
use crate::ir::{Origin, TraceClass};
use kstrace_schema::{
    Capture, ClassId, Cpu, Error, ErrorKind, EventRecordClass, FileInput, RecordStream, Result,
    SessionInfo, Sink, Source, SourceId, SourceInfo,
};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// One trace of those in the directory.
struct TraceInput {
    plan: Arc<TracePlan>,
    streams: Vec<StreamFiles>,
}

/// The files of one data stream.
#[derive(Debug)]
struct StreamFiles {
    stream_id: u64,
    instance: Option<u64>,
    cpu: Cpu,
    /// With the time of their first packets.
    files: Vec<(u64, StreamFile)>,
}

/// A CTF trace, or a tree of them, written by any tool.
///
/// Versions 1.8 and 2 are read. Each trace is a source of the session, each
/// data stream a stream. Directories that are parts of one trace (the chunks of
/// a rotated LTTng session, several snapshots) are read as that one trace.
pub struct CtfReader {
    dir: PathBuf,
    session: SessionInfo,
    classes: Vec<Arc<EventRecordClass>>,
    traces: Vec<TraceInput>,
    progress: Arc<Progress>,
    /// Metadata that is not all there.
    damages: Vec<String>,
}

impl std::fmt::Debug for CtfReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CtfReader")
            .field("dir", &self.dir)
            .field("traces", &self.traces.len())
            .field("classes", &self.classes.len())
            .finish_non_exhaustive()
    }
}

impl CtfReader {
    /// Opens the trace in `dir`, or all traces below it.
    ///
    /// # Errors
    /// When there is none, when metadata cannot be read or says what cannot be,
    /// or when the clocks of several traces cannot be related. Damaged
    /// records are found only when they are read; metadata that ends early describes what
    /// it can, and is told of at the end.
    pub fn open(dir: &Path) -> Result<CtfReader> {
        let dirs = discover::traces(dir)?;
        if dirs.is_empty() {
            return Err(Error::new(
                ErrorKind::NotFound,
                format!("{}: no file 'metadata' in it or below", dir.display()),
            ));
        }
        let mut texts = Vec::with_capacity(dirs.len());
        let mut parsed = Vec::with_capacity(dirs.len());
        let mut damages = Vec::new();
        for dir in &dirs {
            let path = dir.join("metadata");
            let (mut text, cut) = metadata::read(&path)?;
            let unusable = |e: Error| e.context(format!("{}: not usable", path.display()));
            let error = |reason: &str| Error::new(ErrorKind::InvalidData, reason);
            let (trace, damage) = match (crate::metadata_so_far(&text), cut) {
                (Ok((trace, Some((whole_bytes, reason)))), cut) => {
                    text.truncate(whole_bytes);
                    (trace, Some(cut.unwrap_or(reason)))
                }
                (Ok((trace, None)), cut) => (trace, cut),
                (Err(_), Some(cut)) => return Err(unusable(error(&cut))),
                (Err(e), None) => return Err(unusable(e)),
            };
            if let Some(damage) = damage {
                // Without a stream there is nothing to read by it.
                if trace.streams.is_empty() {
                    return Err(unusable(error(&damage)));
                }
                damages.push(format!(
                    "{} is damaged: what it describes before has been read: {damage}",
                    path.display()
                ));
            }
            texts.push(text);
            parsed.push(trace);
        }
        let chunks = chunks::of(&parsed);
        let all = chunks
            .iter()
            .map(|c| &parsed[c.described_by])
            .collect::<Vec<_>>();
        let (clock, clock_maps) = session_clock(&all)?;
        let mut reader = CtfReader {
            dir: dir.to_owned(),
            session: SessionInfo {
                uuid: describe::session_uuid(all.first().copied(), &texts.concat()),
                clock,
                host: describe::host(&all),
                capture: Capture::default(),
                sources: Vec::new(),
            },
            classes: Vec::new(),
            traces: Vec::new(),
            progress: Arc::new(Progress::default()),
            damages,
        };
        for (index, (chunks, maps)) in chunks.iter().zip(&clock_maps).enumerate() {
            let (main, trace) = (chunks.described_by, &parsed[chunks.described_by]);
            let source = u16::try_from(index + 1).map(SourceId).map_err(|_| {
                Error::new(ErrorKind::Unsupported, "more than 65534 traces in one tree")
            })?;
            let path = dirs[main].strip_prefix(dir).unwrap_or(&dirs[main]);
            let path = path.to_string_lossy();
            let mut info = describe::source(trace, source, &path, &texts[main]);
            if chunks.parts.len() > 1 {
                info.attributes.insert(
                    describe::key::CHUNKS.to_owned(),
                    serde_json::Value::from(chunks.parts.len()),
                );
            }
            reader.session.sources.push(info);
            let parts = chunks.parts.iter().map(|part| dirs[*part].as_path());
            reader.add(trace, &dirs[main], parts, source, maps)?;
        }
        Ok(reader)
    }

    /// The directory that was opened.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The classes of all events, by id.
    pub fn classes(&self) -> &[Arc<EventRecordClass>] {
        &self.classes
    }

    fn add<'p>(
        &mut self,
        trace: &TraceClass,
        dir: &Path,
        parts: impl Iterator<Item = &'p Path>,
        source: SourceId,
        clocks: &[ClockMap],
    ) -> Result<()> {
        let classes = &mut self.classes;
        let mut streams = BTreeMap::new();
        for stream in &trace.streams {
            let register = |mut class: EventRecordClass| {
                let id = u16::try_from(classes.len())
                    .ok()
                    .filter(|id| *id < u16::MAX);
                let id = ClassId(id.ok_or("more than 65535 events in all traces")?);
                class.id = id;
                classes.push(Arc::new(class));
                Ok(id)
            };
            let plan = plan_of(trace, stream, clocks, source, register).map_err(|e| {
                e.context(format!("{}/metadata: stream {}", dir.display(), stream.id))
            })?;
            streams.insert(stream.id, Arc::new(plan));
        }
        let only_stream = match trace.streams.as_slice() {
            [only] => Some(only.id),
            _ => None,
        };
        let plan = Arc::new(TracePlan {
            source,
            uuid: trace.uuid,
            streams,
            only_stream,
            probe: probe(trace)
                .map_err(|e| e.context(format!("{}/metadata: packet.header", dir.display())))?,
        });
        let mut found: Vec<StreamFiles> = Vec::new();
        let mut files = Vec::new();
        for part in parts {
            files.extend(discover::stream_files(part)?);
        }
        for (path, len) in files {
            self.progress.total.fetch_add(len, Ordering::Relaxed);
            let first = first_packet(&plan, &path)?;
            let joined = found.iter_mut().find(|f| {
                f.instance.is_some()
                    && (f.stream_id, f.instance) == (first.stream_id, first.instance)
            });
            match joined {
                Some(stream) => stream.files.extend(first.files),
                None => found.push(first),
            }
        }
        for stream in &mut found {
            stream
                .files
                .sort_by(|a, b| (a.0, &a.1.path).cmp(&(b.0, &b.1.path)));
        }
        self.traces.push(TraceInput {
            plan,
            streams: found,
        });
        Ok(())
    }
}

/// The plan of a stream class; the classes of its events go to `register`.
pub(super) fn plan_of(
    trace: &TraceClass,
    stream: &crate::ir::StreamType,
    clocks: &[ClockMap],
    source: SourceId,
    mut register: impl FnMut(EventRecordClass) -> std::result::Result<ClassId, String>,
) -> Result<StreamPlan> {
    stream_plan(trace, stream, clocks, |event, shape| {
        let class = describe::class(trace, stream, event, source, shape);
        register(class).map_err(|reason| super::node::Unresolved {
            field: event.name.clone(),
            reason,
        })
    })
    .map_err(|e| Error::with_source(ErrorKind::InvalidData, "an event cannot be read", e))
}

/// What reads a packet's header before its stream class is known.
pub(super) fn probe(trace: &TraceClass) -> Result<Shared> {
    let mut resolver = super::node::Resolver::new();
    resolver.set(Origin::PacketHeader, trace.packet_header.as_deref());
    let mut node = resolver
        .resolve(Origin::PacketHeader)
        .map_err(|e| Error::with_source(ErrorKind::InvalidData, "cannot be read", e))?;
    if let Some(node) = &mut node {
        resolver.mark(Origin::PacketHeader, node);
    }
    let members = match &node {
        Some(super::node::Node::Struct { members, .. }) => members.len(),
        _ => 0,
    };
    Ok(Shared {
        node,
        kept: vec![false; members],
    })
}

/// Which stream a file is of. A damaged first packet is told when it is read.
fn first_packet(plan: &TracePlan, path: &Path) -> Result<StreamFiles> {
    let map =
        MappedFile::open(path).map_err(|e| Error::io(format!("map {}", path.display()), e))?;
    let bytes = map.bytes();
    let (stream_id, facts) = plan.stream_of(bytes).unwrap_or_else(|_| {
        (
            plan.streams.keys().next().copied().unwrap_or(0),
            Facts::default(),
        )
    });
    let start = plan.streams.get(&stream_id).and_then(|stream| {
        let mut slots = vec![0; stream.slots];
        packet_start(stream, bytes, &mut slots, 0, &mut Vec::new()).ok()
    });
    let packet = start.map(|s| s.facts).unwrap_or_default();
    Ok(StreamFiles {
        stream_id,
        instance: facts.stream_instance,
        cpu: packet
            .cpu
            .and_then(|cpu| u32::try_from(cpu).ok())
            .map_or(Cpu::NONE, Cpu),
        files: vec![(
            packet.begin.unwrap_or(0),
            StreamFile {
                path: path.to_owned(),
                indexed: index::of(path),
            },
        )],
    })
}

impl Source for CtfReader {
    fn info(&self) -> &SourceInfo {
        // There is at least one trace.
        &self.session.sources[0]
    }

    fn streams(&mut self, sink: &mut dyn Sink) -> Result<Vec<Box<dyn RecordStream>>> {
        for class in &self.classes {
            sink.class(class)?;
        }
        let mut streams: Vec<Box<dyn RecordStream>> = Vec::new();
        for trace in &self.traces {
            for stream in &trace.streams {
                let files = stream.files.iter().map(|(_, file)| file.clone()).collect();
                let made = CtfStream::new(
                    Arc::clone(&trace.plan),
                    stream.stream_id,
                    stream.cpu,
                    files,
                    Arc::clone(&self.progress),
                );
                if let Some(made) = made {
                    streams.push(Box::new(made));
                }
            }
        }
        Ok(streams)
    }
}

impl FileInput for CtfReader {
    fn session(&self) -> &SessionInfo {
        &self.session
    }

    fn misfits(&self) -> Vec<Error> {
        let error = |what: &String| Error::new(ErrorKind::InvalidData, what.as_str());
        self.damages.iter().map(error).collect()
    }

    fn progress_bytes(&self) -> Option<(u64, u64)> {
        Some((
            self.progress.total.load(Ordering::Relaxed),
            self.progress.read.load(Ordering::Relaxed),
        ))
    }
}
