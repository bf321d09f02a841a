//! What these tests share: a sink that keeps everything, and reading into it.

use crate::perf_data::kit::{Scratch, perf_record};
use kstrace_perf::file::{PerfDataOptions, PerfDataReader, PerfDataSink, ReadOptions};
use kstrace_schema::decode::{Field, Value, Visitor, walk};
use kstrace_schema::merge::Merger;
use kstrace_schema::{
    ConversionReport, Error, EventRecord, EventRecordClass, FileInput, FileOutput, HopAccount,
    Loss, Result, SessionInfo, Sink, Source, SourceId, SourceInfo, namespace,
};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

/// A record that was kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KeptRecord {
    pub(crate) class: String,
    pub(crate) time_ns: u64,
    pub(crate) cpu: u32,
    pub(crate) payload: Vec<u8>,
    /// All fields by the class, as text.
    pub(crate) fields: String,
}

/// Keeps all records, and checks each against its class.
#[derive(Debug, Default)]
pub(crate) struct Keeping {
    classes: BTreeMap<u16, Arc<EventRecordClass>>,
    pub(crate) records: Vec<KeptRecord>,
    pub(crate) losses: Vec<Loss>,
    last_ns: u64,
}

impl Sink for Keeping {
    fn class(&mut self, class: &Arc<EventRecordClass>) -> Result<()> {
        self.classes.insert(class.id.0, Arc::clone(class));
        Ok(())
    }

    fn record(&mut self, record: &EventRecord<'_>) -> Result<()> {
        let class = self.classes.get(&record.class.0).expect("announced");
        let time_ns = record.time.as_ns();
        assert!(time_ns >= self.last_ns, "time goes back to {time_ns}");
        self.last_ns = time_ns;
        let mut text = Text::default();
        let end = walk(
            &class.payload,
            record.payload,
            record.rest_len_bytes,
            &mut text,
        )
        .unwrap_or_else(|e| panic!("{}: {e}", class.name));
        assert_eq!(
            end,
            record.payload.len(),
            "{} is described whole",
            class.name
        );
        self.records.push(KeptRecord {
            class: class.name.clone(),
            time_ns,
            cpu: record.cpu.0,
            payload: record.payload.to_vec(),
            fields: text.0,
        });
        Ok(())
    }

    fn loss(&mut self, loss: &Loss) -> Result<()> {
        self.losses.push(loss.clone());
        Ok(())
    }
}

#[derive(Default)]
struct Text(String);

impl<'a> Visitor<'a> for Text {
    fn value(&mut self, field: &Field<'a>, value: Value<'a>) -> ControlFlow<()> {
        let name = field.name;
        let _ = match value {
            Value::Array(view) => {
                let all: Vec<String> = view.iter().map(|v| format!("{v:?}")).collect();
                write!(self.0, "{name}={all:?} ")
            }
            value => write!(self.0, "{name}={value:?} "),
        };
        ControlFlow::Continue(())
    }
}

/// What reading a file came to.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) session: SessionInfo,
    pub(crate) kept: Keeping,
    pub(crate) damage: Vec<Error>,
    pub(crate) accounts: Vec<HopAccount>,
    pub(crate) statistics: kstrace_perf::file::ReadStatistics,
}

/// Reads a file.
pub(crate) fn read(path: &Path) -> Result<Outcome> {
    read_from(PerfDataReader::open(path, ReadOptions::default())?)
}

/// Reads the bytes of a file as if they came by a pipe.
pub(crate) fn read_stream(bytes: Vec<u8>) -> Result<Outcome> {
    let stream = Trickle(std::io::Cursor::new(bytes));
    read_from(PerfDataReader::from_stream(
        "stream",
        stream,
        ReadOptions::default(),
    )?)
}

/// Gives a few bytes at a time, as a pipe may.
struct Trickle(std::io::Cursor<Vec<u8>>);

impl std::io::Read for Trickle {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let few = buffer.len().min(4093);
        self.0.read(&mut buffer[..few])
    }
}

fn read_from(mut reader: PerfDataReader) -> Result<Outcome> {
    let mut kept = Keeping::default();
    let (damage, accounts) = pass(&mut reader, &mut kept)?;
    Ok(Outcome {
        session: reader.session().clone(),
        kept,
        damage,
        accounts,
        statistics: reader.statistics(),
    })
}

fn pass(reader: &mut PerfDataReader, sink: &mut dyn Sink) -> Result<(Vec<Error>, Vec<HopAccount>)> {
    sink.session(reader.session())?;
    let mut merger = Merger::new(reader.streams(sink)?);
    while !merger.round(sink)?.finished() {}
    let mut damage: Vec<Error> = merger.take_errors().into_iter().map(|e| e.error).collect();
    let accounts = merger.finish(sink)?;
    damage.extend(merger.take_errors().into_iter().map(|e| e.error));
    sink.finish()?;
    Ok((damage, accounts))
}

/// Reads one file and writes another.
pub(crate) fn rewrite(input: &Path, output: &Path) -> ConversionReport {
    rewrite_for(input, output, PerfDataOptions::default())
}

/// Reads one file and writes another in another way.
pub(crate) fn rewrite_for(
    input: &Path,
    output: &Path,
    options: PerfDataOptions,
) -> ConversionReport {
    let mut reader = PerfDataReader::open(input, ReadOptions::default()).unwrap();
    let mut sink = PerfDataSink::create(output, options).unwrap();
    let (damage, _) = pass(&mut reader, &mut sink).unwrap();
    assert!(damage.is_empty(), "{damage:?}");
    sink.report()
}

/// Reads a file and writes it as part of a session that has another source too.
pub(crate) fn rewrite_beside(input: &Path, output: &Path) -> ConversionReport {
    let mut reader = PerfDataReader::open(input, ReadOptions::default()).unwrap();
    let mut session = reader.session().clone();
    session.sources.push(SourceInfo {
        id: SourceId(9),
        kind: namespace::FTRACE.to_owned(),
        description: "another".to_owned(),
        attributes: BTreeMap::new(),
    });
    let mut sink = PerfDataSink::create(output, PerfDataOptions::default()).unwrap();
    sink.session(&session).unwrap();
    let mut merger = Merger::new(reader.streams(&mut sink).unwrap());
    while !merger.round(&mut sink).unwrap().finished() {}
    sink.finish().unwrap();
    sink.report()
}

/// Reads a file and writes a stream into a file.
pub(crate) fn rewrite_as_stream(input: &Path, output: &Path) -> ConversionReport {
    let mut reader = PerfDataReader::open(input, ReadOptions::default()).unwrap();
    let target = std::fs::File::create(output).unwrap();
    let options = PerfDataOptions::default();
    let mut sink = PerfDataSink::to_stream("stream", target, options).unwrap();
    let (damage, _) = pass(&mut reader, &mut sink).unwrap();
    assert!(damage.is_empty(), "{damage:?}");
    sink.report()
}

/// A short live recording of several kinds of events and records.
pub(crate) fn varied(scratch: &Scratch) -> Vec<u8> {
    let path = scratch.path("varied.data");
    let events = [
        "-e",
        "sched:sched_switch",
        "-e",
        "sched:sched_process_exec",
        "-e",
        "raw_syscalls:sys_enter",
        "-e",
        "cpu-clock",
        "-g",
        "-F",
        "2000",
        "--switch-events",
        "-k",
        "mono",
        "-T",
    ];
    perf_record(
        &events,
        &path,
        &["sh", "-c", "ls /proc/self/fd; true; /bin/true"],
    );
    std::fs::read(&path).unwrap()
}
