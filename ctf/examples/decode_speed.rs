//! Events per second of reading a CTF trace into a sink that counts.
//!
//! `decode_speed DIR [ROUNDS]`; compare with
//! `babeltrace2 DIR -c sink.utils.dummy`.

use kstrace_ctf::CtfReader;
use kstrace_schema::merge::Merger;
use kstrace_schema::{EventRecord, EventRecordClass, Loss, Result, Sink, Source};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

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

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let dir = args.next().ok_or("usage: decode_speed DIR [ROUNDS]")?;
    let rounds = args.next().map_or(Ok(5), |n| n.parse())?;
    for _ in 0..rounds {
        let start = Instant::now();
        let mut reader = CtfReader::open(Path::new(&dir))?;
        let mut sink = Count::default();
        let mut merger = Merger::new(reader.streams(&mut sink)?);
        while !merger.round(&mut sink)?.finished() {}
        merger.finish(&mut sink)?;
        for failed in merger.errors() {
            eprintln!("{:?}", failed.error);
        }
        let seconds = start.elapsed().as_secs_f64();
        println!(
            "{} events, {} bytes, {} lost, {:.3} s, {:.1} M events/s, {:.1} ns an event",
            sink.records,
            sink.bytes,
            sink.lost,
            seconds,
            sink.records as f64 / seconds / 1e6,
            seconds * 1e9 / sink.records.max(1) as f64,
        );
    }
    Ok(())
}
