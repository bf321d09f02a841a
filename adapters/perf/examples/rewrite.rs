//! Reads a perf.data and writes it again.
//!
//! `cargo run --release --example rewrite -- IN OUT`

use kstrace_perf::file::{PerfDataOptions, PerfDataReader, PerfDataSink, ReadOptions};
use kstrace_schema::merge::Merger;
use kstrace_schema::{FileInput, FileOutput, Sink, Source};
use std::path::Path;
use std::time::Instant;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut path = || arguments.next().ok_or("usage: rewrite IN OUT");
    let (input, output) = (path()?, path()?);
    let begun = Instant::now();
    let mut reader = PerfDataReader::open(Path::new(&input), ReadOptions::default())?;
    let mut sink = PerfDataSink::create(Path::new(&output), PerfDataOptions::default())?;
    sink.session(reader.session())?;
    let mut merger = Merger::new(reader.streams(&mut sink)?);
    while !merger.round(&mut sink)?.finished() {}
    for failed in merger.take_errors() {
        eprintln!("damage: {:?}", failed.error);
    }
    for account in merger.finish(&mut sink)? {
        sink.account(&account)?;
    }
    sink.finish()?;
    let seconds = begun.elapsed().as_secs_f64();
    let report = sink.report();
    let rate = report.kept as f64 / seconds / 1e6;
    eprintln!("{report:?} in {seconds:.3} s, {rate:.1} M records/s");
    Ok(())
}
