//! Converts a native trace: `to_perfetto TRACE OUT`. For measuring; users have `kstrace convert`.

use kstrace_ctf::TraceReader;
use kstrace_perfetto::{PerfettoOptions, PerfettoSink};
use kstrace_schema::merge::Merger;
use kstrace_schema::{FileOutput, Result, Sink, Source};
use std::path::Path;

fn convert(input: &Path, output: &Path) -> Result<()> {
    let mut reader = TraceReader::open(input)?;
    let mut sink = PerfettoSink::create(output, PerfettoOptions::default())?;
    sink.session(reader.session())?;
    let mut merger = Merger::new(reader.streams(&mut sink)?);
    while !merger.round(&mut sink)?.finished() {}
    merger.finish(&mut sink)?;
    sink.finish()?;
    println!("{:#?}", sink.report());
    Ok(())
}

fn main() -> std::process::ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let [input, output] = arguments.as_slice() else {
        eprintln!("usage: to_perfetto TRACE OUT");
        return std::process::ExitCode::from(2);
    };
    match convert(Path::new(input), Path::new(output)) {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("to_perfetto: {e:?}");
            std::process::ExitCode::FAILURE
        }
    }
}
