//! `kstrace convert` and `kstrace export`: a trace into another form.

use crate::report::read_into;
use anyhow::{Context, Result, bail};
use clap::{ArgMatches, Args, FromArgMatches, ValueEnum};
use kstrace_ctf::TraceReader;
use kstrace_perf::file::{PerfDataOptions, PerfDataSink};
use kstrace_schema::{FileOutput, Sink};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// A form that can be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
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
pub(super) struct ConvertArgs {
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
pub(super) fn run(matches: &ArgMatches) -> Result<ExitCode> {
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
            sink.session(reader.session())?;
            let outcome = read_into(&mut reader, &mut sink)
                .with_context(|| format!("writing {}", output.display()))?;
            for damage in &outcome.damage {
                eprintln!("kstrace: {}: {damage:?}", args.input.display());
            }
            let report = sink.report();
            for (name, count) in &report.not_held {
                eprintln!("kstrace: {count} of {name} have no place in a perf.data");
            }
            Ok(if outcome.damage.is_empty() {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            })
        }
    }
}
