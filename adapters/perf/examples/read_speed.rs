//! Reads a perf.data into a sink that counts, and prints how fast that was.
//!
//! `cargo run --release --example read_speed -- FILE [ROUNDS]`

use kstrace_perf::file::{PerfDataReader, ReadOptions};
use kstrace_schema::merge::Merger;
use kstrace_schema::{EventRecord, EventRecordClass, Loss, Result, Sink, Source};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

#[derive(Default)]
struct Counting {
    records: u64,
    bytes: u64,
    lost: u64,
    backwards: u64,
    last_ns: u64,
    classes: u64,
}

impl Sink for Counting {
    fn class(&mut self, _: &Arc<EventRecordClass>) -> Result<()> {
        self.classes += 1;
        Ok(())
    }

    fn record(&mut self, record: &EventRecord<'_>) -> Result<()> {
        let time_ns = record.time.as_ns();
        self.backwards += u64::from(time_ns < self.last_ns);
        self.last_ns = time_ns;
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
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().ok_or("usage: read_speed FILE [ROUNDS]")?;
    let rounds: u32 = arguments.next().map_or(Ok(1), |n| n.parse())?;
    for _ in 0..rounds {
        let begun = Instant::now();
        let mut reader = PerfDataReader::open(Path::new(&path), ReadOptions::default())?;
        let opened = begun.elapsed();
        let mut sink = Counting::default();
        let mut merger = Merger::new(reader.streams(&mut sink)?);
        while !merger.round(&mut sink)?.finished() {}
        for failed in merger.take_errors() {
            println!("damage: {:?}", failed.error);
        }
        let accounts = merger.finish(&mut sink)?;
        let seconds = begun.elapsed().as_secs_f64();
        println!(
            "{} records, {} bytes, {} lost, {} classes in {seconds:.3} s ({:.1} ms to open): {:.1} M/s, {:.2} GB/s; {} backwards; {:?}; seen {}",
            sink.records,
            sink.bytes,
            sink.lost,
            sink.classes,
            opened.as_secs_f64() * 1e3,
            sink.records as f64 / seconds / 1e6,
            sink.bytes as f64 / seconds / 1e9,
            sink.backwards,
            reader.statistics(),
            accounts.iter().map(|a| a.seen).sum::<u64>(),
        );
    }
    let status = std::fs::read_to_string("/proc/self/status")?;
    for line in status
        .lines()
        .filter(|l| l.starts_with("VmHWM") || l.starts_with("Rss"))
    {
        println!("{line}");
    }
    Ok(())
}
