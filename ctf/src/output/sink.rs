//! The output as a whole: one trace, or several in subdirectories.

use super::copy::CopiedTrace;
use super::plain::PlainTrace;
use crate::input::key;
use crate::{MetadataFormat, uuid_bytes};
use kstrace_schema::{
    ClockPair, ConversionReport, Error, ErrorKind, EventRecord, EventRecordClass, FileOutput, Loss,
    Result, SessionInfo, Sink, SourceId,
};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How a CTF trace is written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CtfOptions {
    /// Language of the metadata. CTF 2 has everything in one trace, described by the model.
    pub metadata: MetadataFormat,
    /// Puts an existing directory of that name aside only if it is empty; `true`: replaces it.
    pub overwrite: bool,
}

impl CtfOptions {
    /// Options with metadata in that language.
    pub fn with_metadata(metadata: MetadataFormat) -> Self {
        CtfOptions {
            metadata,
            ..CtfOptions::default()
        }
    }
}

/// A trace that a class's records go to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Target {
    Plain,
    Copy(usize),
}

/// Writes a plain CTF directory.
///
/// It is made under a hidden name beside its own, and has its own when it is complete.
#[derive(Debug)]
pub struct CtfSink {
    target: PathBuf,
    hidden: PathBuf,
    options: CtfOptions,
    session: Option<SessionInfo>,
    plain: Option<PlainTrace>,
    /// With the directories that they get when there are several.
    copies: Vec<(SourceId, String, CopiedTrace)>,
    targets: Vec<Option<Target>>,
    names: Vec<Option<Arc<EventRecordClass>>>,
    facts: BTreeSet<String>,
    report: ConversionReport,
    finished: bool,
}

const PLAIN_DIR: &str = "kstrace";

impl CtfSink {
    /// A trace in the directory `dir`, which must be empty or not there.
    ///
    /// # Errors
    /// When `dir` is there and not empty, or is no name for a directory.
    pub fn create(dir: &Path, options: CtfOptions) -> Result<CtfSink> {
        let target = std::path::absolute(dir)
            .map_err(|e| Error::io(format!("find the path of {}", dir.display()), e))?;
        let invalid = |what: String| Error::new(ErrorKind::InvalidInput, what);
        let (Some(parent), Some(name)) = (target.parent(), target.file_name()) else {
            return Err(invalid(format!(
                "'{}' is no name for a trace",
                dir.display()
            )));
        };
        if !options.overwrite
            && let Ok(mut entries) = std::fs::read_dir(&target)
            && entries.next().is_some()
        {
            return Err(invalid(format!(
                "{} exists and is not empty",
                dir.display()
            )));
        }
        if target.is_file() {
            return Err(invalid(format!("{} is a file", dir.display())));
        }
        let mut hidden = std::ffi::OsString::from(".");
        hidden.push(name);
        hidden.push(format!(".new-{}", std::process::id()));
        let hidden = parent.join(hidden);
        if hidden.exists() {
            // Left by a killed process of the same number.
            std::fs::remove_dir_all(&hidden)
                .map_err(|e| Error::io(format!("remove {}", hidden.display()), e))?;
        }
        make_dir(&hidden)?;
        Ok(CtfSink {
            target,
            hidden,
            options,
            session: None,
            plain: None,
            copies: Vec::new(),
            targets: Vec::new(),
            names: Vec::new(),
            facts: BTreeSet::new(),
            report: ConversionReport::default(),
            finished: false,
        })
    }

    fn session_info(&self) -> Result<&SessionInfo> {
        self.session.as_ref().ok_or_else(|| {
            Error::new(
                ErrorKind::InvalidInput,
                "a class or record came before the session it belongs to",
            )
        })
    }

    fn plain(&mut self) -> Result<&mut PlainTrace> {
        if self.plain.is_none() {
            let session = self.session_info()?;
            let uuid = uuid_bytes(&session.uuid).ok_or_else(|| {
                let what = format!("session uuid '{}' is not a UUID", session.uuid);
                Error::new(ErrorKind::InvalidData, what)
            })?;
            let dir = self.hidden.join(PLAIN_DIR);
            make_dir(&dir)?;
            let trace = PlainTrace::new(&dir, self.options.metadata, session, uuid);
            self.plain = Some(trace);
        }
        self.plain
            .as_mut()
            .ok_or_else(|| Error::new(ErrorKind::InvalidInput, "no session"))
    }

    fn name(&self, class: kstrace_schema::ClassId) -> String {
        self.names
            .get(usize::from(class.0))
            .and_then(Option::as_ref)
            .map_or_else(|| format!("class {class}"), |c| c.qualified_name())
    }

    /// The copy of a source's trace, if it is of CTF.
    fn copy_of(&mut self, source: SourceId) -> Result<Option<usize>> {
        if self.options.metadata == MetadataFormat::Ctf2 {
            return Ok(None);
        }
        Ok(self.copies.iter().position(|(id, _, _)| *id == source))
    }

    /// The traces' directories are moved to where they belong.
    fn settle(&mut self) -> Result<()> {
        let several = self.copies.len() + usize::from(self.plain.is_some()) > 1;
        let mut dirs: Vec<(String, String)> = Vec::new();
        if self.plain.is_some() {
            dirs.push((PLAIN_DIR.to_owned(), PLAIN_DIR.to_owned()));
        }
        let mut taken = BTreeSet::from([PLAIN_DIR.to_owned()]);
        for (id, name, _) in &self.copies {
            let mut name = name.clone();
            if !taken.insert(name.clone()) {
                name = format!("{name}-{}", id.0);
                taken.insert(name.clone());
            }
            dirs.push((working_name(*id), name));
        }
        let rename = |from: &Path, to: &Path| {
            std::fs::rename(from, to)
                .map_err(|e| Error::io(format!("rename {} to {}", from.display(), to.display()), e))
        };
        if several {
            for (from, to) in dirs.iter().filter(|(from, to)| from != to) {
                let to = self.hidden.join(to);
                if let Some(parent) = to.parent() {
                    std::fs::create_dir_all(parent)
                        .map_err(|e| Error::io(format!("make {}", parent.display()), e))?;
                }
                rename(&self.hidden.join(from), &to)?;
            }
        }
        let made = match dirs.as_slice() {
            [(only, _)] => self.hidden.join(only),
            _ => self.hidden.clone(),
        };
        if self.options.overwrite && self.target.exists() {
            std::fs::remove_dir_all(&self.target)
                .map_err(|e| Error::io(format!("replace {}", self.target.display()), e))?;
        }
        // An empty directory gives way.
        rename(&made, &self.target)?;
        if made != self.hidden {
            let hidden = &self.hidden;
            std::fs::remove_dir_all(hidden)
                .map_err(|e| Error::io(format!("remove {}", hidden.display()), e))?;
        }
        Ok(())
    }
}

fn working_name(source: SourceId) -> String {
    format!(".source{}", source.0)
}

fn make_dir(dir: &Path) -> Result<()> {
    std::fs::create_dir(dir)
        .map_err(|e| Error::io(format!("make the directory {}", dir.display()), e))
}

/// A path below the output, of nothing but plain names.
fn safe_path(path: &str, source: SourceId) -> String {
    let parts = path
        .split('/')
        .filter(|p| !p.is_empty() && !p.starts_with('.'))
        .collect::<Vec<_>>();
    if parts.is_empty() {
        format!("trace{}", source.0)
    } else {
        parts.join("/")
    }
}

impl FileOutput for CtfSink {
    fn report(&self) -> ConversionReport {
        let mut report = self.report.clone();
        report.facts_not_held = self.facts.iter().cloned().collect();
        report.out_of_order = self.plain.as_ref().map_or(0, |p| p.out_of_order);
        report
    }
}

impl Sink for CtfSink {
    fn session(&mut self, session: &SessionInfo) -> Result<()> {
        self.session = Some(session.clone());
        if self.options.metadata == MetadataFormat::Ctf2 {
            return Ok(());
        }
        for source in &session.sources {
            let text = |key: &str| source.attributes.get(key).and_then(|v| v.as_str());
            let Some(metadata) = text(key::METADATA) else {
                continue;
            };
            let dir = self.hidden.join(working_name(source.id));
            let offset = session.clock.offset_to_realtime_ns;
            let Some(trace) = CopiedTrace::new(&dir, metadata, offset) else {
                self.facts
                    .insert(format!("the scopes and streams of {}", source.description));
                continue;
            };
            make_dir(&dir)?;
            let name = safe_path(text(key::PATH).unwrap_or_default(), source.id);
            self.copies.push((source.id, name, trace));
        }
        Ok(())
    }

    fn class(&mut self, class: &Arc<EventRecordClass>) -> Result<()> {
        self.session_info()?;
        let index = usize::from(class.id.0);
        if self.targets.len() <= index {
            self.targets.resize(index + 1, None);
            self.names.resize(index + 1, None);
        }
        self.names[index] = Some(Arc::clone(class));
        let copy = self.copy_of(class.source)?;
        let target = match copy {
            Some(at) if self.copies[at].2.class(class) => Target::Copy(at),
            other => {
                if other.is_some() {
                    let fact = format!("the scopes of the fields of {}", class.qualified_name());
                    self.facts.insert(fact);
                }
                self.plain()?.class(class);
                Target::Plain
            }
        };
        self.targets[index] = Some(target);
        Ok(())
    }

    fn record(&mut self, record: &EventRecord<'_>) -> Result<()> {
        let target = self.targets.get(usize::from(record.class.0)).copied();
        let held = match target.flatten() {
            Some(Target::Copy(at)) => match self.copies.get_mut(at) {
                Some((_, _, copy)) => copy.record(record)?,
                None => false,
            },
            Some(Target::Plain) => {
                self.plain()?.record(record)?;
                true
            }
            None => false,
        };
        if held {
            self.report.kept += 1;
        } else {
            self.report.unparsable += 1;
            let name = self.name(record.class);
            *self.report.not_held.entry(name).or_default() += 1;
        }
        Ok(())
    }

    fn loss(&mut self, loss: &Loss) -> Result<()> {
        self.report.lost = self.report.lost.saturating_add(loss.count);
        match self.copy_of(loss.source)? {
            Some(at) => self.copies[at].2.loss(loss),
            None => self.plain()?.loss(loss),
        }
    }

    fn clock_pair(&mut self, pair: &ClockPair) -> Result<()> {
        match &mut self.plain {
            Some(plain) => plain.clock_pair(pair),
            None => {
                self.facts.insert("readings of the clocks".to_owned());
                Ok(())
            }
        }
    }

    fn finish(&mut self) -> Result<()> {
        if self.finished {
            return Ok(());
        }
        if self.copies.is_empty() {
            // A trace without an event is one too.
            self.plain()?;
        }
        if let Some(plain) = &mut self.plain {
            plain.finish()?;
        }
        let mut facts = BTreeMap::new();
        for (_, _, copy) in &mut self.copies {
            copy.finish()?;
            for fact in copy.facts.drain(..) {
                *facts.entry(fact).or_insert(0u64) += 1;
            }
        }
        self.facts.extend(facts.into_keys());
        self.settle()?;
        self.finished = true;
        Ok(())
    }
}

impl Drop for CtfSink {
    fn drop(&mut self) {
        if !self.finished {
            // Best effort; it is hidden and ours.
            let _ = std::fs::remove_dir_all(&self.hidden);
        }
    }
}
