//! Opening a trace.

use super::lane::{Common, LaneStream};
use super::side;
use crate::packet::uuid_bytes;
use crate::trace_dir::layout::{Accounts, TraceState, parse_segment_name};
use kstrace_schema::builtin;
use kstrace_schema::merge::Merger;
use kstrace_schema::wire::PacketHeader;
use kstrace_schema::{
    ClassId, Cpu, Error, ErrorKind, EventRecordClass, FileInput, HopAccount, RecordStream, Result,
    SessionInfo, Sink, Source, SourceId, SourceInfo, namespace,
};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use zerocopy::FromZeros;
use zerocopy::IntoBytes;

/// What [`TraceReader::read_into`] did.
#[derive(Debug)]
#[non_exhaustive]
pub struct ReadSummary {
    /// Records handed over, loss and clock pairs among them.
    pub records: u64,
    /// The account of reading, one for each lane.
    pub accounts: Vec<HopAccount>,
}

/// A trace that kstrace wrote, complete or not.
#[derive(Debug)]
pub struct TraceReader {
    dir: PathBuf,
    info: SourceInfo,
    session: SessionInfo,
    state: TraceState,
    classes: Vec<Arc<EventRecordClass>>,
    accounts: Option<Accounts>,
    lanes: BTreeMap<u32, Vec<PathBuf>>,
    common: Arc<Common>,
}

impl TraceReader {
    /// Opens the trace in `dir`.
    ///
    /// # Errors
    /// When there is none, when another tool wrote it, or when what describes
    /// it cannot be read. Damaged records are found only when they are read.
    pub fn open(dir: &Path) -> Result<TraceReader> {
        let file = side::session(dir)?;
        let session = file.session;
        let uuid = uuid_bytes(&session.uuid).ok_or_else(|| {
            let what = format!(
                "{}: session uuid '{}' is not a UUID",
                dir.display(),
                session.uuid
            );
            Error::new(ErrorKind::InvalidData, what)
        })?;
        let by_id = side::classes(dir)?;
        let builtin = |name: &str| {
            let class = by_id.iter().flatten();
            class
                .clone()
                .find(|c| c.namespace == namespace::KSTRACE && c.name == name)
                .map(|c| c.id)
        };
        let common = Common {
            uuid,
            known: by_id.iter().map(Option::is_some).collect(),
            lost: builtin(builtin::LOST),
            clock_pair: builtin(builtin::CLOCK_PAIR),
        };
        Ok(TraceReader {
            dir: dir.to_owned(),
            info: SourceInfo {
                id: SourceId::KSTRACE,
                kind: namespace::KSTRACE.to_owned(),
                description: format!("trace {}", dir.display()),
                attributes: BTreeMap::new(),
            },
            session,
            state: file.state,
            classes: by_id.into_iter().flatten().collect(),
            accounts: side::accounts(dir)?,
            lanes: lanes(dir)?,
            common: Arc::new(common),
        })
    }

    /// The trace's directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The session it was made of.
    pub fn session(&self) -> &SessionInfo {
        &self.session
    }

    /// Whether its writer finished it.
    pub fn state(&self) -> TraceState {
        self.state
    }

    /// Its classes, by id.
    pub fn classes(&self) -> &[Arc<EventRecordClass>] {
        &self.classes
    }

    /// The class with that id.
    pub fn class(&self, id: ClassId) -> Option<&Arc<EventRecordClass>> {
        self.classes.iter().find(|c| c.id == id)
    }

    /// Its accounts; `None` if it was not finished.
    pub fn accounts(&self) -> Option<&Accounts> {
        self.accounts.as_ref()
    }

    /// The lanes' files, for people and their sizes.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.lanes.values().flatten().map(PathBuf::as_path)
    }

    /// Reads everything into `sink`: session, classes, records merged by time,
    /// accounts; and finishes it.
    ///
    /// # Errors
    /// The sink's, at once. Damage of the trace only after everything that
    /// is whole was handed over and the sink finished.
    pub fn read_into(&mut self, sink: &mut dyn Sink) -> Result<ReadSummary> {
        sink.session(&self.session)?;
        let mut merger = Merger::new(self.streams(sink)?);
        let mut records = 0;
        loop {
            let round = merger.round(sink)?;
            records += round.emitted;
            if round.finished() {
                break;
            }
        }
        let accounts = merger.finish(sink)?;
        let stated = self.accounts.iter().flat_map(|a| &a.accounts);
        for account in stated.chain(&accounts) {
            sink.account(account)?;
        }
        sink.finish()?;
        match merger.take_errors().into_iter().next() {
            Some(failed) => Err(failed.error),
            None => Ok(ReadSummary { records, accounts }),
        }
    }
}

impl Source for TraceReader {
    fn info(&self) -> &SourceInfo {
        &self.info
    }

    fn streams(&mut self, sink: &mut dyn Sink) -> Result<Vec<Box<dyn RecordStream>>> {
        for class in &self.classes {
            sink.class(class)?;
        }
        Ok(self
            .lanes
            .values()
            .map(|files| {
                let cpu = first_cpu(files);
                let stream = LaneStream::new(Arc::clone(&self.common), cpu, files.clone());
                Box::new(stream) as Box<dyn RecordStream>
            })
            .collect())
    }
}

impl FileInput for TraceReader {
    fn session(&self) -> &SessionInfo {
        &self.session
    }

    fn stated_accounts(&self) -> Vec<HopAccount> {
        self.accounts
            .as_ref()
            .map(|a| a.accounts.clone())
            .unwrap_or_default()
    }
}

/// The files of each lane, in the order of their segments.
fn lanes(dir: &Path) -> Result<BTreeMap<u32, Vec<PathBuf>>> {
    let fail = |e| Error::io(format!("list {}", dir.display()), e);
    let mut lanes: BTreeMap<u32, BTreeMap<u32, PathBuf>> = BTreeMap::new();
    for entry in fs::read_dir(dir).map_err(fail)? {
        let entry = entry.map_err(fail)?;
        if let Some((lane, segment)) = entry.file_name().to_str().and_then(parse_segment_name) {
            lanes.entry(lane).or_default().insert(segment, entry.path());
        }
    }
    Ok(lanes
        .into_iter()
        .map(|(lane, files)| (lane, files.into_values().collect()))
        .collect())
}

/// The CPU that the first packet states, before any is read in earnest.
fn first_cpu(files: &[PathBuf]) -> Cpu {
    let mut header = PacketHeader::new_zeroed();
    let read = files
        .first()
        .and_then(|path| File::open(path).ok())
        .and_then(|mut file| file.read_exact(header.as_mut_bytes()).ok());
    read.map_or(Cpu::NONE, |()| Cpu(header.cpu_id))
}
