//! `kstrace merge`: several traces on one timeline.

use super::convert::WritingArgs;
use super::selection::SelectionArgs;
use super::usage;
use crate::convert::{MergedInput, Relation, Selected, open_input};
use crate::engine::host;
use anyhow::{Context, Result};
use clap::{ArgMatches, Args, FromArgMatches};
use std::path::PathBuf;
use std::process::ExitCode;

/// Put several traces on one timeline.
#[derive(Args, Debug)]
pub(super) struct MergeArgs {
    /// The traces, of any form; the first one's clock is that of the result
    #[arg(value_name = "IN", required = true, num_args = 1..)]
    inputs: Vec<PathBuf>,
    /// What to write; - is standard output
    #[arg(short, long, value_name = "OUT")]
    output: PathBuf,
    /// What must be added to the times of IN to get those of the first trace, in seconds: for
    /// clocks that nothing relates
    #[arg(long, value_name = "IN=SECONDS", value_parser = parse_offset, allow_hyphen_values = true)]
    offset: Vec<(PathBuf, i64)>,
    #[command(flatten)]
    writing: WritingArgs,
    #[command(flatten)]
    selection: SelectionArgs,
}

fn parse_offset(text: &str) -> Result<(PathBuf, i64), String> {
    let bad = || {
        format!(
            "'{text}' is no offset: IN=SECONDS, as in trace.dat=-0.000123 (nanoseconds are kept)"
        )
    };
    let (path, seconds) = text.rsplit_once('=').ok_or_else(bad)?;
    let (negative, digits) = match seconds.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, seconds.strip_prefix('+').unwrap_or(seconds)),
    };
    let Ok(crate::report::TimeBound::Absolute(ns)) = digits.parse() else {
        return Err(bad());
    };
    let ns = i64::try_from(ns).map_err(|_| bad())?;
    Ok((path.into(), if negative { -ns } else { ns }))
}

/// Runs it.
///
/// # Errors
/// When an input cannot be read, clocks cannot be related, or the output not be written.
pub(super) fn run(matches: &ArgMatches) -> Result<ExitCode> {
    let args = MergeArgs::from_arg_matches(matches)?;
    let format = args.writing.format(&args.output)?;
    for (path, _) in &args.offset {
        if !args.inputs.contains(path) {
            return Err(usage(format!(
                "--offset names {}, which is none of the inputs",
                path.display()
            )));
        }
    }
    let mut inputs = Vec::new();
    for path in &args.inputs {
        let asserted = args.offset.iter().find(|(p, _)| p == path).map(|o| o.1);
        inputs.push((path.display().to_string(), open_input(path)?, asserted));
    }
    let uuid = host::random_uuid().context("cannot make an id for the trace")?;
    let mut merged = MergedInput::new(uuid, inputs)?;
    for (path, offset) in args.inputs.iter().zip(merged.offsets()) {
        if offset.relation != Relation::SameClock {
            eprintln!(
                "kstrace: {}: {:+} ns, {}",
                path.display(),
                offset.offset_ns,
                offset.relation.words()
            );
        }
    }
    let mut output = args.writing.create(format, &args.output, &merged)?;
    let mut selected = Selected::new(output.as_mut(), args.selection.selection());
    args.writing
        .carry(&mut merged, "the merged traces", &mut selected, format)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_keep_their_nanoseconds_and_sign() {
        assert_eq!(parse_offset("a=b=1.5"), Ok(("a=b".into(), 1_500_000_000)));
        assert_eq!(parse_offset("x=-0.000000001"), Ok(("x".into(), -1)));
        for bad in ["x", "x=", "x=1e3", "x=--1"] {
            assert!(parse_offset(bad).is_err(), "{bad}");
        }
    }
}
