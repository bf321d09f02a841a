//! Making an output of any form.

use super::format::Format;
use super::native::NativeSink;
use super::out_file::{self, Target, buffered};
use crate::engine::host;
use crate::flame::{FlameForm, FlameOptions, FlameOutput, SvgOptions};
use crate::report::{FunctionNames, Kallsyms, OutputFormat, Report, ReportOptions};
use kstrace_ctf::{CtfOptions, CtfSink, MetadataFormat};
use kstrace_ftrace::file::{TraceDatOptions, TraceDatSink};
use kstrace_perf::file::{PerfDataOptions, PerfDataSink, PerfVersion};
use kstrace_perfetto::{PerfettoOptions, PerfettoSink};
use kstrace_schema::{
    ClockPair, ConversionReport, Error, ErrorKind, EventRecord, EventRecordClass, FileOutput,
    HopAccount, Loss, PendingFile, Result, SessionInfo, Sink,
};
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

/// What can be chosen about an output.
#[derive(Debug, Default)]
pub struct OutputOptions {
    /// For the forms that show symbols: those of the kernel that was traced.
    pub kernel: Kallsyms,
    /// Whether addresses are resolved to symbols, where the form shows any.
    pub symbols: bool,
    /// Whether build ids are looked up in this machine's files (perf.data).
    pub build_ids: bool,
    /// The oldest perf that shall read it (perf.data).
    pub perf_compat: Option<PerfVersion>,
    /// Version and compression (trace.dat).
    pub trace_dat: TraceDatOptions,
}

/// An output of that form.
///
/// # Errors
/// When nothing can be made there, or the form cannot be written to a pipe.
pub fn create_output(
    format: Format,
    target: &Target,
    options: OutputOptions,
) -> Result<Box<dyn FileOutput>> {
    Ok(match format {
        Format::Native => Box::new(NativeSink::new(
            directory(format, target)?,
            MetadataFormat::Ctf1_8,
        )),
        Format::PerfData => {
            let perf = PerfDataOptions {
                build_ids: options.build_ids,
                compat: options.perf_compat,
                ..PerfDataOptions::default()
            };
            match target {
                Target::Path(path) => Box::new(PerfDataSink::create(path, perf)?),
                Target::StandardOutput => in_file(target, |file| {
                    Ok(Box::new(PerfDataSink::to_stream(
                        "standard output",
                        buffered(file),
                        perf,
                    )?))
                })?,
            }
        }
        Format::TraceDat => match target {
            Target::Path(path) => Box::new(TraceDatSink::create(path, options.trace_dat)?),
            Target::StandardOutput => in_file(target, |file| {
                Ok(Box::new(TraceDatSink::to_writer(file, options.trace_dat)?))
            })?,
        },
        Format::Perfetto => in_file(target, |file| {
            let perfetto = if options.symbols {
                PerfettoOptions {
                    symbolizer: Box::new(FunctionNames::new(options.kernel)),
                }
            } else {
                PerfettoOptions::default()
            };
            let sink = PerfettoSink::to_writer("the Perfetto trace", buffered(file), perfetto);
            Ok(Box::new(sink))
        })?,
        Format::Text | Format::JsonLines => in_file(target, |file| {
            let report = ReportOptions {
                format: if format == Format::Text {
                    OutputFormat::Text
                } else {
                    OutputFormat::JsonLines
                },
                symbols: options.symbols,
                ..ReportOptions::default()
            };
            Ok(Box::new(Report::new(file, report, options.kernel)))
        })?,
        Format::Ctf | Format::Ctf2 => {
            let metadata = if format == Format::Ctf {
                MetadataFormat::Ctf1_8
            } else {
                MetadataFormat::Ctf2
            };
            let ctf = CtfOptions::with_metadata(metadata);
            Box::new(CtfSink::create(directory(format, target)?, ctf)?)
        }
        Format::Folded | Format::Svg => in_file(target, |file| {
            let form = if format == Format::Folded {
                FlameForm::Folded
            } else {
                FlameForm::Svg(SvgOptions::default())
            };
            let flame = FlameOptions {
                no_symbols: !options.symbols,
                ..FlameOptions::default()
            };
            let output = FlameOutput::new(buffered(file), form, flame, options.kernel);
            Ok(Box::new(output))
        })?,
    })
}

/// The kernel symbols that fit a trace: those of the running kernel, if it is the one that was
/// traced. What the trace brings along itself is taken otherwise.
pub fn kernel_symbols(session: &SessionInfo) -> Kallsyms {
    let (clock, host) = (&session.clock, &session.host);
    if clock.boot_id.is_empty() {
        let here = host::host_info();
        if host.os_release == here.os_release && host.hostname == here.hostname {
            return Kallsyms::of_running_kernel_if_confirmed();
        }
    } else if clock.boot_id == host::boot_id() {
        return Kallsyms::of_running_kernel();
    }
    Kallsyms::default()
}

fn directory(format: Format, target: &Target) -> Result<&Path> {
    match target {
        Target::Path(path) => Ok(path),
        Target::StandardOutput => Err(no_pipe(format)),
    }
}

fn no_pipe(format: Format) -> Error {
    Error::new(
        ErrorKind::InvalidInput,
        format!(
            "{} cannot be written to a pipe: name a {}",
            format.word(),
            if format.is_directory() {
                "directory"
            } else {
                "file"
            }
        ),
    )
}

/// An output in one file, which gets its name when the output is complete.
fn in_file(
    target: &Target,
    make: impl FnOnce(File) -> Result<Box<dyn FileOutput>>,
) -> Result<Box<dyn FileOutput>> {
    let (pending, file) = out_file::open(target)?;
    Ok(Box::new(InFile {
        inner: make(file)?,
        pending,
    }))
}

/// Completes the file behind its contents.
struct InFile {
    inner: Box<dyn FileOutput>,
    pending: Option<PendingFile>,
}

impl FileOutput for InFile {
    fn report(&self) -> ConversionReport {
        self.inner.report()
    }
}

impl Sink for InFile {
    fn session(&mut self, session: &SessionInfo) -> Result<()> {
        self.inner.session(session)
    }

    fn class(&mut self, class: &Arc<EventRecordClass>) -> Result<()> {
        self.inner.class(class)
    }

    #[inline]
    fn record(&mut self, record: &EventRecord<'_>) -> Result<()> {
        self.inner.record(record)
    }

    fn loss(&mut self, loss: &Loss) -> Result<()> {
        self.inner.loss(loss)
    }

    fn clock_pair(&mut self, pair: &ClockPair) -> Result<()> {
        self.inner.clock_pair(pair)
    }

    fn account(&mut self, account: &HopAccount) -> Result<()> {
        self.inner.account(account)
    }

    fn flush(&mut self) -> Result<()> {
        self.inner.flush()
    }

    fn finish(&mut self) -> Result<()> {
        self.inner.finish()?;
        self.pending.as_mut().map_or(Ok(()), PendingFile::complete)
    }
}

impl<W: Write> FileOutput for Report<W> {
    fn report(&self) -> ConversionReport {
        ConversionReport {
            kept: self.shown(),
            lost: self.lost(),
            ..ConversionReport::default()
        }
    }
}
