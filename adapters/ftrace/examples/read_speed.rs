//! How fast a trace.dat is read: `read_speed FILE...`, events a second on one core.

use kstrace_ftrace::file::TraceDatReader;
use kstrace_schema::merge::Merger;
use kstrace_schema::{EventRecord, EventRecordClass, FileInput, Loss, Result, Sink, Source};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

/// Counts.
#[derive(Default)]
struct Count {
    records: u64,
    bytes: u64,
    lost: u64,
}

impl Sink for Count {
    fn class(&mut self, _: &Arc<EventRecordClass>) -> Result<()> {
        Ok(())
    }

    fn record(&mut self, record: &EventRecord<'_>) -> Result<()> {
        self.records += 1;
        self.bytes += record.payload.len() as u64;
        Ok(())
    }

    fn loss(&mut self, loss: &Loss) -> Result<()> {
        self.lost += loss.count;
        Ok(())
    }
}

fn main() -> Result<()> {
    for path in std::env::args().skip(1) {
        let begin = Instant::now();
        let mut reader = TraceDatReader::open(Path::new(&path))?;
        let opened = begin.elapsed();
        let mut count = Count::default();
        let mut merger = Merger::new(reader.streams(&mut count)?);
        while !merger.round(&mut count)?.finished() {}
        merger.finish(&mut count)?;
        for failed in merger.take_errors() {
            println!("damage: {:?}", failed.error);
        }
        let read = begin.elapsed() - opened;
        println!(
            "{path}: {} records, {} bytes, {} lost, {} sources; opened in {opened:.1?}, read in {read:.1?}: {:.2} ns a record",
            count.records,
            count.bytes,
            count.lost,
            reader.session().sources.len(),
            read.as_nanos() as f64 / count.records.max(1) as f64
        );
    }
    Ok(())
}
