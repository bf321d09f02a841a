//! How fast a trace.dat is read, and written again:
//! `trace_dat_speed IN [OUT [6|7|zstd|zlib]]`, on one core.

use kstrace_ftrace::file::{Compression, TraceDatOptions, TraceDatReader, TraceDatSink};
use kstrace_schema::merge::Merger;
use kstrace_schema::{
    EventRecord, EventRecordClass, FileInput, FileOutput, Loss, Result, Sink, Source,
};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

/// Counts.
#[derive(Default)]
struct Count {
    records: u64,
    lost: u64,
}

impl Sink for Count {
    fn class(&mut self, _: &Arc<EventRecordClass>) -> Result<()> {
        Ok(())
    }

    fn record(&mut self, _: &EventRecord<'_>) -> Result<()> {
        self.records += 1;
        Ok(())
    }

    fn loss(&mut self, loss: &Loss) -> Result<()> {
        self.lost += loss.count;
        Ok(())
    }
}

fn drive(reader: &mut TraceDatReader, sink: &mut dyn Sink) -> Result<()> {
    sink.session(&reader.session().clone())?;
    let mut merger = Merger::new(reader.streams(sink)?);
    while !merger.round(sink)?.finished() {}
    merger.finish(sink)?;
    for failed in merger.take_errors() {
        println!("damage: {:?}", failed.error);
    }
    sink.finish()
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let input = Path::new(&arguments[0]);
    let mut reader = TraceDatReader::open(input)?;
    let mut count = Count::default();
    let begin = Instant::now();
    drive(&mut reader, &mut count)?;
    let say = |what: &str, begin: Instant, records: u64| {
        let ns = begin.elapsed().as_nanos() as f64 / records.max(1) as f64;
        println!("{what}: {records} records, {ns:.2} ns each");
    };
    say("read", begin, count.records);
    println!("lost: {}", count.lost);
    let Some(output) = arguments.get(1) else {
        return Ok(());
    };
    let mut options = TraceDatOptions::default();
    match arguments.get(2).map(String::as_str) {
        Some("6") => options.version = 6,
        Some("zstd") => options.compression = Compression::Zstd,
        Some("zlib") => options.compression = Compression::Zlib,
        _ => {}
    }
    let mut reader = TraceDatReader::open(input)?;
    let mut sink = TraceDatSink::create(Path::new(output), options)?;
    let begin = Instant::now();
    drive(&mut reader, &mut sink)?;
    say("read and written", begin, count.records);
    println!("{:?}", sink.report());
    Ok(())
}
