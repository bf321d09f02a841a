//! `kstrace convert` and `kstrace export`: a trace into another form.

use super::selection::SelectionArgs;
use super::transfer_progress::TransferProgress;
use super::usage;
use crate::convert::{
    Format, OutputOptions, Selected, Target, create_output, kernel_symbols, live_url, open_input,
    open_live, transfer,
};
use crate::report::Kallsyms;
use anyhow::{Context, Result};
use clap::{ArgMatches, Args, FromArgMatches};
use kstrace_ftrace::file::{Compression, TraceDatOptions};
use kstrace_lttng::live::Beginning;
use kstrace_perf::file::PerfVersion;
use kstrace_schema::{ConversionReport, FileInput, FileOutput};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Write a trace in another form.
#[derive(Args, Debug)]
pub(super) struct ConvertArgs {
    /// The trace: perf.data, trace.dat, or a directory with a CTF trace or a kstrace trace; - is
    /// standard input
    #[arg(value_name = "IN")]
    input: PathBuf,
    /// What to write; - is standard output
    #[arg(value_name = "OUT", required_unless_present = "output")]
    out: Option<PathBuf>,
    /// What to write; - is standard output
    #[arg(short, long, value_name = "OUT", conflicts_with = "out")]
    output: Option<PathBuf>,
    #[command(flatten)]
    writing: WritingArgs,
    #[command(flatten)]
    selection: SelectionArgs,
}

/// How an output is written.
#[derive(Args, Clone, Debug)]
pub(super) struct WritingArgs {
    /// The form; else what the name of OUT says
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub(super) to: Option<Format>,
    /// Fail, with status 1, when the form cannot hold something
    #[arg(long)]
    strict: bool,
    /// Addresses as they are
    #[arg(long)]
    no_symbols: bool,
    /// The version of a trace.dat: 7, or 6 for trace-cmd before 3.0
    #[arg(long, value_name = "N", default_value_t = 7, value_parser = clap::value_parser!(u32).range(6..=7))]
    trace_dat_version: u32,
    /// Compress a trace.dat (version 7)
    #[arg(long)]
    compress: bool,
    /// Write a perf.data for this version of perf and later ones, 5.4 or newer. Else it is for
    /// perf 6.1, but what a perf.data had already stays as it was
    #[arg(long, value_name = "VERSION")]
    perf_compat: Option<PerfVersion>,
    /// Say nothing but errors
    #[arg(short, long)]
    quiet: bool,
}

impl WritingArgs {
    /// The form that is asked for, or that the name says.
    pub(super) fn format(&self, output: &Path) -> Result<Format> {
        self.to.or_else(|| Format::of_name(output)).ok_or_else(|| {
            usage(format!(
                "'{}' does not say which form is wanted: give --to FORMAT",
                output.display()
            ))
        })
    }

    /// Opens an output for what `input` holds.
    pub(super) fn create(
        &self,
        format: Format,
        output: &Path,
        input: &dyn FileInput,
    ) -> Result<Box<dyn FileOutput>> {
        let options = OutputOptions {
            kernel: if self.no_symbols {
                Kallsyms::default()
            } else {
                kernel_symbols(input.session())
            },
            symbols: !self.no_symbols,
            build_ids: true,
            perf_compat: self.perf_compat,
            trace_dat: TraceDatOptions {
                version: self.trace_dat_version,
                compression: if self.compress {
                    Compression::Zstd
                } else {
                    Compression::None
                },
            },
        };
        let target = Target::of(output);
        create_output(format, &target, options)
            .with_context(|| format!("cannot write {}", target.shown()))
    }

    /// Carries the input over, tells what went wrong and what the output does not hold.
    pub(super) fn carry(
        &self,
        input: &mut dyn FileInput,
        name: &str,
        output: &mut dyn FileOutput,
        format: Format,
    ) -> Result<ExitCode> {
        let mut progress = TransferProgress::new(!self.quiet);
        let outcome = transfer(input, output, &mut |read, all| progress.show(read, all));
        progress.clear();
        let outcome = outcome.with_context(|| format!("converting {name}"))?;
        for damage in &outcome.damage {
            eprintln!("kstrace: {name}: {damage:?}");
        }
        let held = self.tell(&output.report(), format);
        Ok(if outcome.damage.is_empty() && held {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }

    /// Tells what the form cannot hold. Says whether that is all right.
    pub(super) fn tell(&self, report: &ConversionReport, format: Format) -> bool {
        if !self.quiet || self.strict {
            let form = format.word();
            for (name, count) in &report.not_held {
                eprintln!("kstrace: {form} has no place for {count} records of {name}");
            }
            // How the input was stored is of no use in another form: told to those who ask.
            let (inner, facts): (Vec<_>, Vec<_>) = report
                .facts_not_held
                .iter()
                .partition(|fact| !self.strict && is_of_the_input_form(fact));
            for fact in facts {
                eprintln!("kstrace: {form} has no place for {fact}");
            }
            if !inner.is_empty() {
                let n = inner.len();
                eprintln!(
                    "kstrace: {form} has no place for {n} facts of the input's own form (--strict lists them)"
                );
            }
            if report.out_of_order > 0 {
                let n = report.out_of_order;
                eprintln!("kstrace: {n} records came too late to be put in order");
            }
        }
        !self.strict || report.is_lossless()
    }
}

/// Whether a fact is an adapter's attribute of a source: `ftrace.header_page of the source ftrace`.
fn is_of_the_input_form(fact: &str) -> bool {
    fact.split_once(" of the source ")
        .is_some_and(|(key, _)| key.contains('.') && !key.contains(' '))
}

/// Runs it.
///
/// # Errors
/// When the input cannot be read at all, or the output not be written. An input
/// damaged half-way is delivered up to there, and the status is 1.
pub(super) fn run(matches: &ArgMatches) -> Result<ExitCode> {
    let args = ConvertArgs::from_arg_matches(matches)?;
    let Some(path) = args.out.as_ref().or(args.output.as_ref()) else {
        return Err(usage("no output named"));
    };
    let writing = &args.writing;
    let format = writing.format(path)?;
    let name = args.input.display().to_string();
    let mut input = open_input(&args.input)?;
    let mut output = writing.create(format, path, input.as_ref())?;
    let selection = args.selection.selection();
    if selection.is_everything() {
        return writing.carry(input.as_mut(), &name, output.as_mut(), format);
    }
    let mut selected = Selected::new(output.as_mut(), selection);
    writing.carry(input.as_mut(), &name, &mut selected, format)
}

/// Records a session of a relay daemon until it ends, or until a signal comes.
///
/// # Errors
/// When the relay daemon cannot be reached, or the output not be written.
pub(super) fn record_from(
    url: &Path,
    output: &Path,
    quiet: bool,
    fail_on_loss: bool,
) -> Result<ExitCode> {
    let url = live_url(url).ok_or_else(|| {
        let text = url.display();
        usage(format!(
            "'{text}' is no URL of a relay daemon: wanted is net://HOST"
        ))
    })??;
    let mut input = open_live(&url, Beginning::Oldest)?;
    let options = OutputOptions::default();
    let target = Target::of(output);
    let mut sink = create_output(Format::Native, &target, options)
        .with_context(|| format!("cannot write {}", target.shown()))?;
    let outcome = transfer(input.as_mut(), sink.as_mut(), &mut |_, _| {})
        .with_context(|| format!("recording {url}"))?;
    for damage in &outcome.damage {
        eprintln!("kstrace: {damage:?}");
    }
    let report = sink.report();
    if !quiet {
        let shown = target.shown();
        eprintln!(
            "kstrace: {} records in {shown}, {} lost",
            report.kept, report.lost
        );
    }
    Ok(
        match (outcome.damage.is_empty(), fail_on_loss && report.lost > 0) {
            (false, _) => ExitCode::FAILURE,
            (true, true) => ExitCode::from(3),
            (true, false) => ExitCode::SUCCESS,
        },
    )
}
