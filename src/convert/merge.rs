//! Several traces on one timeline.

use super::clock_relation::{ClockOffset, Relation, relate};
use super::remap::{Mapping, RemapSink, RemapStream};
use kstrace_schema::{
    ClassRegistry, Error, ErrorKind, FileInput, HopAccount, RecordStream, Result, SessionInfo,
    Sink, Source, SourceId, SourceInfo, namespace,
};
use std::collections::BTreeMap;
use std::sync::Arc;

struct Part {
    input: Box<dyn FileInput>,
    mapping: Arc<Mapping>,
}

/// Several inputs as one.
///
/// Its clock is that of the first; the others' times are moved onto it.
pub struct MergedInput {
    info: SourceInfo,
    session: SessionInfo,
    parts: Vec<Part>,
    offsets: Vec<ClockOffset>,
}

impl std::fmt::Debug for MergedInput {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MergedInput")
            .field("parts", &self.parts.len())
            .field("offsets", &self.offsets)
            .finish_non_exhaustive()
    }
}

impl MergedInput {
    /// One of several: each with its name for people and, if the user asserts it, what must be
    /// added to its times in nanoseconds.
    ///
    /// # Errors
    /// `ErrorKind::Unsupported` if clocks cannot be related; `ErrorKind::InvalidInput` for no input.
    pub fn new(
        uuid: String,
        inputs: Vec<(String, Box<dyn FileInput>, Option<i64>)>,
    ) -> Result<MergedInput> {
        let Some((_, first, _)) = inputs.first() else {
            return Err(Error::new(ErrorKind::InvalidInput, "nothing to merge"));
        };
        let clock = first.session().clock.clone();
        let mut session = SessionInfo {
            uuid,
            ..first.session().clone()
        };
        session.sources.retain(|s| s.id == SourceId::KSTRACE);
        let registry = Arc::new(ClassRegistry::new());
        let (mut parts, mut offsets) = (Vec::new(), Vec::new());
        let mut sources_begin = 0u16;
        for (index, (name, input, asserted)) in inputs.into_iter().enumerate() {
            let offset = match asserted {
                Some(offset_ns) => ClockOffset {
                    offset_ns,
                    relation: Relation::Asserted,
                },
                None if index == 0 => ClockOffset {
                    offset_ns: 0,
                    relation: Relation::SameClock,
                },
                None => {
                    relate(&input.session().clock, &clock).map_err(|e| e.context(name.clone()))?
                }
            };
            let mapping = Mapping::new(Arc::clone(&registry), sources_begin, offset.offset_ns);
            let mut highest = sources_begin;
            for source in &input.session().sources {
                if source.id == SourceId::KSTRACE {
                    continue;
                }
                let mut source = source.clone();
                source.id = mapping.source(source.id);
                highest = highest.max(source.id.0);
                source.description = format!("{}, {name}", source.description);
                source
                    .attributes
                    .insert("merge.offset_ns".to_owned(), offset.offset_ns.into());
                session.sources.push(source);
            }
            if highest == u16::MAX {
                return Err(Error::new(
                    ErrorKind::ResourceExhausted,
                    format!("{name}: more sources than {} in one trace", u16::MAX),
                ));
            }
            sources_begin = highest;
            offsets.push(offset);
            parts.push(Part {
                input,
                mapping: Arc::new(mapping),
            });
        }
        Ok(MergedInput {
            info: SourceInfo {
                id: SourceId::KSTRACE,
                kind: namespace::KSTRACE.to_owned(),
                description: format!("{} traces merged", parts.len()),
                attributes: BTreeMap::new(),
            },
            session,
            parts,
            offsets,
        })
    }

    /// What was added to the times of each input, and how that is known.
    pub fn offsets(&self) -> &[ClockOffset] {
        &self.offsets
    }
}

impl Source for MergedInput {
    fn info(&self) -> &SourceInfo {
        &self.info
    }

    fn streams(&mut self, sink: &mut dyn Sink) -> Result<Vec<Box<dyn RecordStream>>> {
        let mut all: Vec<Box<dyn RecordStream>> = Vec::new();
        for part in &mut self.parts {
            let mut remap = RemapSink::new(&part.mapping, sink);
            for stream in part.input.streams(&mut remap)? {
                all.push(Box::new(RemapStream::new(
                    stream,
                    Arc::clone(&part.mapping),
                )));
            }
        }
        Ok(all)
    }
}

impl FileInput for MergedInput {
    fn session(&self) -> &SessionInfo {
        &self.session
    }

    fn stated_accounts(&self) -> Vec<HopAccount> {
        self.parts
            .iter()
            .flat_map(|p| {
                let accounts = p.input.stated_accounts();
                accounts.into_iter().map(|a| p.mapping.account(&a))
            })
            .collect()
    }

    fn misfits(&self) -> Vec<Error> {
        self.parts.iter().flat_map(|p| p.input.misfits()).collect()
    }

    fn progress_bytes(&self) -> Option<(u64, u64)> {
        let parts: Vec<(u64, u64)> = self
            .parts
            .iter()
            .filter_map(|p| p.input.progress_bytes())
            .collect();
        (!parts.is_empty()).then(|| {
            let sum = |f: fn(&(u64, u64)) -> u64| parts.iter().map(f).sum();
            (sum(|p| p.0), sum(|p| p.1))
        })
    }
}
