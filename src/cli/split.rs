//! `kstrace split`: one trace dealt out to several.

use super::convert::WritingArgs;
use super::output::print;
use crate::convert::{
    Format, OutputOptions, SplitBy, Splitter, Target, create_output, open_input, recognise,
    transfer,
};
use anyhow::{Context, Result};
use clap::{ArgMatches, Args, FromArgMatches};
use std::path::PathBuf;
use std::process::ExitCode;

/// Deal a trace out to several.
#[derive(Args, Debug)]
pub(super) struct SplitArgs {
    /// The trace, of any form
    #[arg(value_name = "IN")]
    input: PathBuf,
    /// By cpu, tid, event, source, time=SECONDS or records=N
    #[arg(short, long, value_name = "WHAT")]
    by: SplitBy,
    /// How the names of the parts begin; the rest is `-PART.ENDING` [default: the input's name]
    #[arg(short, long, value_name = "PREFIX")]
    output: Option<PathBuf>,
    #[command(flatten)]
    writing: WritingArgs,
}

/// Runs it.
///
/// # Errors
/// As for `convert`.
pub(super) fn run(matches: &ArgMatches) -> Result<ExitCode> {
    let args = SplitArgs::from_arg_matches(matches)?;
    let format = match args.writing.to {
        Some(format) => format,
        None if args.input.as_os_str() == "-" => Format::Native,
        None => recognise(&args.input)?,
    };
    let prefix = args
        .output
        .clone()
        .unwrap_or_else(|| args.input.with_extension(""));
    let mut input = open_input(&args.input)?;
    let mut splitter = Splitter::new(args.by, |part| {
        let mut name = prefix.clone().into_os_string();
        name.push(format!("-{part}.{}", format.ending()));
        let target = Target::Path(name.into());
        create_output(format, &target, OutputOptions::default())
    });
    let outcome = transfer(input.as_mut(), &mut splitter, &mut |_, _| {})
        .with_context(|| format!("splitting {}", args.input.display()))?;
    for damage in &outcome.damage {
        eprintln!("kstrace: {}: {damage:?}", args.input.display());
    }
    let mut ok = outcome.damage.is_empty();
    let mut text = String::new();
    for (part, report) in splitter.parts() {
        text += &format!("{}-{part}.{}\n", prefix.display(), format.ending());
        ok &= args.writing.tell(report, format);
    }
    print(&text)?;
    Ok(if ok {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
