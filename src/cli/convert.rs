//! `kstrace convert` and `kstrace export`: a trace into another form.

use anyhow::{Context, Result, bail};
use clap::{ArgMatches, Args, FromArgMatches, ValueEnum};
use kstrace_ctf::TraceReader;
use kstrace_perf::file::{PerfDataOptions, PerfDataSink};
use kstrace_schema::merge::Merger;
use kstrace_schema::{Sink, Source};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// A form that can be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// perf's file, for `perf script`, `perf report` and all that read it
    #[value(name = "perf.data")]
    PerfData,
}

impl Format {
    /// What the name of an output says.
    fn of_name(path: &Path) -> Option<Format> {
        let name = path.file_name()?.to_str()?;
        (name.ends_with("perf.data") || name.ends_with(".data")).then_some(Format::PerfData)
    }
}

/// Write a trace in another form.
#[derive(Args, Debug)]
pub struct ConvertArgs {
    /// The trace to read
    #[arg(value_name = "IN")]
    input: PathBuf,
    /// The file to write
    #[arg(value_name = "OUT", required_unless_present = "output")]
    out: Option<PathBuf>,
    /// The file to write
    #[arg(short, long, value_name = "OUT", conflicts_with = "out")]
    output: Option<PathBuf>,
    /// The form; else what the name of OUT says
    #[arg(long, value_enum, value_name = "FORMAT")]
    to: Option<Format>,
}

/// Runs it.
///
/// # Errors
/// When the input cannot be read at all, or the output not be written. An input
/// damaged half-way is delivered up to there, and the status is 1.
pub fn run(matches: &ArgMatches) -> Result<ExitCode> {
    let args = ConvertArgs::from_arg_matches(matches)?;
    let Some(output) = args.out.as_ref().or(args.output.as_ref()) else {
        bail!("no output named");
    };
    let Some(format) = args.to.or_else(|| Format::of_name(output)) else {
        bail!(
            "'{}' does not say which form is wanted: give --to FORMAT",
            output.display()
        );
    };
    let mut reader = TraceReader::open(&args.input)
        .with_context(|| format!("cannot read {}", args.input.display()))?;
    match format {
        Format::PerfData => {
            let mut sink = PerfDataSink::create(output, PerfDataOptions::default())
                .with_context(|| format!("cannot write {}", output.display()))?;
            let damaged = pump(&mut reader, &mut sink, &args.input)
                .with_context(|| format!("writing {}", output.display()))?;
            let report = sink.report();
            for (name, count) in &report.not_held {
                eprintln!("kstrace: {count} of {name} have no place in a perf.data");
            }
            Ok(if damaged { ExitCode::FAILURE } else { ExitCode::SUCCESS })
        }
    }
}

/// Everything of a trace into a sink, in order of time. Says whether the trace is damaged.
fn pump(reader: &mut TraceReader, sink: &mut dyn Sink, input: &Path) -> Result<bool> {
    sink.session(reader.session())?;
    let streams = reader.streams(sink)?;
    let mut merger = Merger::new(streams);
    while !merger.round(sink)?.finished() {}
    for account in merger.finish(sink)? {
        sink.account(&account)?;
    }
    let errors = merger.take_errors();
    for error in &errors {
        eprintln!("kstrace: {}: {:?}", input.display(), error.error);
    }
    sink.finish()?;
    Ok(!errors.is_empty())
}
