//! One trace dealt out to several.

use super::selection::{TidOf, is_bookkeeping};
use kstrace_schema::{
    ClassId, ClockPair, ConversionReport, Cpu, Error, ErrorKind, EventRecord, EventRecordClass,
    FileOutput, HopAccount, Loss, Result, SessionInfo, SessionTime, Sink,
};
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// Parts that may be open at once.
const MAX_PARTS: usize = 512;
/// Bytes of records that every part needs (mappings, names of tasks) and that are kept for the
/// parts to come.
const MAX_KEPT_BYTES: usize = 256 << 20;

/// By what a trace is split.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SplitBy {
    /// A part for each CPU.
    Cpu,
    /// A part for each thread.
    Tid,
    /// A part for each event.
    Event,
    /// A part for each source.
    Source,
    /// A part for each so many nanoseconds.
    TimeNs(u64),
    /// A part for each so many records.
    Records(u64),
}

impl FromStr for SplitBy {
    type Err = Error;

    /// `cpu`, `tid`, `event`, `source`, `time=SECONDS`, `records=N`.
    fn from_str(text: &str) -> Result<Self> {
        let invalid = || {
            Error::new(
                ErrorKind::InvalidInput,
                format!(
                    "'{text}' is nothing to split by: one of cpu, tid, event, source, time=SECONDS, records=N"
                ),
            )
        };
        Ok(match text.split_once('=') {
            None => match text {
                "cpu" => SplitBy::Cpu,
                "tid" => SplitBy::Tid,
                "event" => SplitBy::Event,
                "source" => SplitBy::Source,
                _ => return Err(invalid()),
            },
            Some(("time", seconds)) => match format!("+{seconds}").parse() {
                Ok(crate::report::TimeBound::FromStart(ns)) if ns > 0 => SplitBy::TimeNs(ns),
                _ => return Err(invalid()),
            },
            Some(("records", n)) => match n.parse() {
                Ok(n) if n > 0 => SplitBy::Records(n),
                _ => return Err(invalid()),
            },
            _ => return Err(invalid()),
        })
    }
}

/// Which part a record goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Cpu(u32),
    Tid(i32),
    Class(u16),
    Number(u64),
    None,
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Key::Cpu(cpu) => write!(f, "cpu{cpu}"),
            Key::Tid(tid) => write!(f, "tid{tid}"),
            Key::Class(id) => write!(f, "class{id}"),
            Key::Number(n) => write!(f, "{n:05}"),
            Key::None => f.write_str("other"),
        }
    }
}

type Create<'c> = Box<dyn FnMut(&str) -> Result<Box<dyn FileOutput>> + 'c>;

/// Deals records out to outputs, which are made when they get their first record.
///
/// What only serves to understand others goes to every part, also to those that are made later.
pub struct Splitter<'c> {
    by: SplitBy,
    create: Create<'c>,
    session: Option<SessionInfo>,
    classes: Vec<Option<SplitClass>>,
    parts: BTreeMap<Key, Part>,
    /// Records of bookkeeping so far.
    kept: Vec<Kept>,
    kept_bytes: usize,
    first: Option<SessionTime>,
    records: u64,
    finished: Vec<(String, ConversionReport)>,
}

struct Part {
    name: String,
    output: Box<dyn FileOutput>,
}

struct SplitClass {
    class: Arc<EventRecordClass>,
    bookkeeping: bool,
    tid: Option<TidOf>,
    /// Events with several layouts go to one part: the id of the first of that name.
    first_of_name: u16,
}

struct Kept {
    class: ClassId,
    rest_len_bytes: u16,
    cpu: Cpu,
    time: SessionTime,
    payload: Box<[u8]>,
}

impl fmt::Debug for Splitter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Splitter")
            .field("by", &self.by)
            .field("parts", &self.parts.len())
            .finish_non_exhaustive()
    }
}

impl<'c> Splitter<'c> {
    /// `create` makes the output of a part, told its name (`cpu0`, `00001`, an event's name).
    pub fn new(by: SplitBy, create: impl FnMut(&str) -> Result<Box<dyn FileOutput>> + 'c) -> Self {
        Splitter {
            by,
            create: Box::new(create),
            session: None,
            classes: Vec::new(),
            parts: BTreeMap::new(),
            kept: Vec::new(),
            kept_bytes: 0,
            first: None,
            records: 0,
            finished: Vec::new(),
        }
    }

    /// The parts by name, after the end.
    pub fn parts(&self) -> &[(String, ConversionReport)] {
        &self.finished
    }

    fn key(&mut self, record: &EventRecord<'_>, class: usize) -> Key {
        let known = self.classes.get(class).and_then(Option::as_ref);
        match self.by {
            SplitBy::Cpu => record.cpu.known().map_or(Key::None, |c| Key::Cpu(c.0)),
            SplitBy::Tid => known
                .and_then(|c| c.tid.as_ref()?.get(record.payload))
                .map_or(Key::None, Key::Tid),
            SplitBy::Event => known.map_or(Key::None, |c| Key::Class(c.first_of_name)),
            SplitBy::Source => known.map_or(Key::None, |c| Key::Number(c.class.source.0.into())),
            SplitBy::TimeNs(ns) => {
                let first = *self.first.get_or_insert(record.time);
                Key::Number(record.time.as_ns().saturating_sub(first.as_ns()) / ns)
            }
            SplitBy::Records(n) => {
                let number = self.records / n;
                self.records += 1;
                Key::Number(number)
            }
        }
    }

    fn name(&self, key: Key) -> String {
        let class_of = |id: u16| self.classes.get(usize::from(id)).and_then(Option::as_ref);
        match (self.by, key) {
            (SplitBy::Event, Key::Class(id)) => class_of(id).map_or_else(
                || key.to_string(),
                |c| c.class.name.replace(['/', ':'], "_"),
            ),
            (SplitBy::Source, Key::Number(id)) => {
                let source = self
                    .session
                    .iter()
                    .flat_map(|s| &s.sources)
                    .find(|s| u64::from(s.id.0) == id);
                source.map_or_else(|| format!("source{id}"), |s| format!("{}{id}", s.kind))
            }
            _ => key.to_string(),
        }
    }

    fn part(&mut self, key: Key) -> Result<&mut Part> {
        if !self.parts.contains_key(&key) {
            if matches!(self.by, SplitBy::TimeNs(_) | SplitBy::Records(_)) {
                // Nothing more comes for those before.
                self.finish_parts()?;
            }
            if self.parts.len() == MAX_PARTS {
                return Err(Error::new(
                    ErrorKind::ResourceExhausted,
                    format!("more than {MAX_PARTS} parts: choose some of the records"),
                ));
            }
            let name = self.name(key);
            let mut output = (self.create)(&name)?;
            if let Some(session) = &self.session {
                output.session(session)?;
            }
            for class in self.classes.iter().flatten() {
                output.class(&class.class)?;
            }
            for kept in &self.kept {
                output.record(&EventRecord {
                    class: kept.class,
                    rest_len_bytes: kept.rest_len_bytes,
                    cpu: kept.cpu,
                    time: kept.time,
                    payload: &kept.payload,
                })?;
            }
            self.parts.insert(key, Part { name, output });
        }
        self.parts
            .get_mut(&key)
            .ok_or_else(|| Error::new(ErrorKind::InvalidInput, "a part that was just made is gone"))
    }

    fn finish_parts(&mut self) -> Result<()> {
        for (_, mut part) in std::mem::take(&mut self.parts) {
            part.output.finish()?;
            self.finished.push((part.name, part.output.report()));
        }
        Ok(())
    }
}

impl Sink for Splitter<'_> {
    fn session(&mut self, session: &SessionInfo) -> Result<()> {
        self.session = Some(session.clone());
        Ok(())
    }

    fn class(&mut self, class: &Arc<EventRecordClass>) -> Result<()> {
        let index = usize::from(class.id.0);
        if self.classes.len() <= index {
            self.classes.resize_with(index + 1, || None);
        }
        let same = self
            .classes
            .iter()
            .flatten()
            .find(|c| c.class.name == class.name && c.class.namespace == class.namespace);
        self.classes[index] = Some(SplitClass {
            first_of_name: same.map_or(class.id.0, |c| c.first_of_name),
            bookkeeping: is_bookkeeping(class),
            tid: (self.by == SplitBy::Tid).then(|| TidOf::new(class)),
            class: Arc::clone(class),
        });
        for part in self.parts.values_mut() {
            part.output.class(class)?;
        }
        Ok(())
    }

    fn record(&mut self, record: &EventRecord<'_>) -> Result<()> {
        let index = usize::from(record.class.0);
        let bookkeeping = self
            .classes
            .get(index)
            .and_then(Option::as_ref)
            .is_some_and(|c| c.bookkeeping);
        if !bookkeeping {
            let key = self.key(record, index);
            return self.part(key)?.output.record(record);
        }
        self.kept_bytes += record.payload.len();
        if self.kept_bytes > MAX_KEPT_BYTES {
            return Err(Error::new(
                ErrorKind::ResourceExhausted,
                format!(
                    "more than {MAX_KEPT_BYTES} bytes of mappings and names of tasks, which every part needs"
                ),
            ));
        }
        self.kept.push(Kept {
            class: record.class,
            rest_len_bytes: record.rest_len_bytes,
            cpu: record.cpu,
            time: record.time,
            payload: record.payload.into(),
        });
        for part in self.parts.values_mut() {
            part.output.record(record)?;
        }
        Ok(())
    }

    fn loss(&mut self, loss: &Loss) -> Result<()> {
        let key = match self.by {
            SplitBy::Cpu => loss.cpu.known().map(|c| Key::Cpu(c.0)),
            SplitBy::Source => Some(Key::Number(loss.source.0.into())),
            // What was lost may have been of any of them.
            _ => None,
        };
        for (at, part) in &mut self.parts {
            if key.is_none_or(|key| key == *at) {
                part.output.loss(loss)?;
            }
        }
        Ok(())
    }

    fn clock_pair(&mut self, pair: &ClockPair) -> Result<()> {
        for part in self.parts.values_mut() {
            part.output.clock_pair(pair)?;
        }
        Ok(())
    }

    fn account(&mut self, account: &HopAccount) -> Result<()> {
        for part in self.parts.values_mut() {
            part.output.account(account)?;
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<()> {
        self.finish_parts()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_to_split_by() {
        assert_eq!("cpu".parse::<SplitBy>().unwrap(), SplitBy::Cpu);
        assert_eq!(
            "time=0.5".parse::<SplitBy>().unwrap(),
            SplitBy::TimeNs(500_000_000)
        );
        assert_eq!(
            "records=10".parse::<SplitBy>().unwrap(),
            SplitBy::Records(10)
        );
        for bad in [
            "",
            "cpus",
            "time",
            "time=0",
            "time=+1",
            "records=0",
            "records=x",
        ] {
            assert!(bad.parse::<SplitBy>().is_err(), "{bad}");
        }
    }
}
