//! `kstrace report`: a trace as text or JSON Lines.

use crate::convert::{kernel_symbols, open_input, transfer};
use crate::report::{Column, CpuList, Filter, OutputFormat, Report, ReportOptions, TimeBound};
use anyhow::{Context, Result};
use clap::{ArgMatches, Args, FromArgMatches};
use kstrace_ctf::{TraceReader, TraceState, is_kstrace_trace};
use kstrace_schema::{ErrorKind, FileInput};
use std::io::{IsTerminal, stdout};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Show a trace.
#[derive(Args, Debug)]
pub(super) struct ReportArgs {
    /// The trace: a kstrace or CTF directory, perf.data, trace.dat; - is standard input,
    /// net://HOST/host/TRACED_HOST/SESSION a session of a relay daemon's
    #[arg(value_name = "IN", default_value = "trace.kst")]
    input: PathBuf,
    #[command(flatten)]
    show: ShowArgs,
}

/// What is shown, and how.
#[derive(Args, Debug)]
pub(super) struct ShowArgs {
    /// What to show of each record, in this order: time, cpu, comm, tid, pid, event, source, text,
    /// stack, and names of fields (native or canonical)
    #[arg(short = 'F', long, value_name = "LIST")]
    fields: Option<String>,
    /// Only events whose native or canonical name matches; repeat or separate by commas
    #[arg(short, long = "event", value_name = "GLOB", value_delimiter = ',')]
    event: Vec<String>,
    /// Only these CPUs, as 0-3,8
    #[arg(short = 'C', long, value_name = "LIST")]
    cpu: Option<CpuList>,
    /// Only these threads
    #[arg(long, value_name = "TID", value_delimiter = ',')]
    tid: Vec<i32>,
    /// Only these processes
    #[arg(short, long, value_name = "PID", value_delimiter = ',')]
    pid: Vec<i32>,
    /// Nothing older: seconds of the session clock, or +SECONDS from the first record
    #[arg(long, value_name = "TIME")]
    since: Option<TimeBound>,
    /// Nothing younger: seconds of the session clock, or +SECONDS from the first record
    #[arg(long, value_name = "TIME")]
    until: Option<TimeBound>,
    /// JSON Lines: one object a record
    #[arg(long)]
    json: bool,
    /// Also records that only serve to understand others: mappings, names of tasks
    #[arg(short = 'A', long)]
    all: bool,
    /// Addresses as they are
    #[arg(long)]
    no_symbols: bool,
    /// Only the first N records
    #[arg(short = 'n', long, value_name = "N")]
    limit: Option<u64>,
}

impl ShowArgs {
    fn options(&self) -> Result<ReportOptions> {
        Ok(ReportOptions {
            format: if self.json {
                OutputFormat::JsonLines
            } else {
                OutputFormat::Text
            },
            columns: self.fields.as_deref().map(Column::list).transpose()?,
            filter: Filter {
                events: self.event.clone(),
                cpus: self.cpu.clone(),
                tids: self.tid.clone(),
                pids: self.pid.clone(),
                since: self.since,
                until: self.until,
                bookkeeping: self.all,
            },
            symbols: !self.no_symbols,
            limit: self.limit,
        })
    }
}

/// Runs it.
///
/// # Errors
/// When the input cannot be read at all, or the output not be written. An input
/// damaged half-way is shown up to there, and the status is 1.
pub(super) fn run(matches: &ArgMatches) -> Result<ExitCode> {
    let args = ReportArgs::from_arg_matches(matches)?;
    let shown = args.input.display();
    let mut input = open_input(&args.input).with_context(|| format!("cannot read {shown}"))?;
    show(input.as_mut(), &args.input, &args.show)
}

/// Shows an input on standard output.
///
/// # Errors
/// When it cannot be written, or the options make no sense.
pub(super) fn show(input: &mut dyn FileInput, path: &Path, args: &ShowArgs) -> Result<ExitCode> {
    let options = args.options()?;
    let shown = path.display();
    let kernel = kernel_symbols(input.session());
    let wants_symbols = options.symbols;
    // Standard output of Rust writes line by line; the report has a buffer of its own.
    let mut report = Report::new(Unbuffered::new()?, options, kernel);
    let outcome = match transfer(input, &mut report, &mut |_, _| {}) {
        Err(e) if e.kind() == ErrorKind::ReceiverGone => return Ok(ExitCode::SUCCESS),
        outcome => outcome.with_context(|| format!("cannot report {shown}"))?,
    };
    let damaged = !outcome.damage.is_empty();
    for damage in outcome.damage {
        eprintln!("kstrace: {:#}", anyhow::Error::new(damage));
    }
    if wants_symbols && report.has_stacks() && !report.has_kernel_symbols() {
        eprintln!(
            "kstrace: {shown} is of another kernel or boot: kernel addresses stay unresolved"
        );
    }
    if report.lost() > 0 {
        let (n, s) = (report.lost(), if report.lost() == 1 { "" } else { "s" });
        eprintln!("kstrace: {n} event{s} lost, see kstrace info {shown}");
    }
    if stdout().is_terminal() && is_being_recorded(path) {
        eprintln!("kstrace: {shown} is being recorded, or its recorder was killed");
    }
    Ok(if damaged {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

fn is_being_recorded(path: &Path) -> bool {
    is_kstrace_trace(path)
        && TraceReader::open(path).is_ok_and(|reader| reader.state() == TraceState::Recording)
}

/// Standard output as a file.
struct Unbuffered(std::fs::File);

impl Unbuffered {
    fn new() -> std::io::Result<Self> {
        use std::os::fd::AsFd;
        Ok(Unbuffered(stdout().as_fd().try_clone_to_owned()?.into()))
    }
}

impl std::io::Write for Unbuffered {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
