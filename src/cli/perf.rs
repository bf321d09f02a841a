//! `kstrace perf`: command lines of perf, unchanged.

use anyhow::Result;
use clap::{Arg, ArgAction, ArgMatches, Command};
use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

/// The subcommand. What follows it is perf's language, not ours: it is shown in
/// the help, but never parsed here (see [`called_as_perf`]).
pub(super) fn command() -> Command {
    Command::new("perf")
        .about("Take a command line of perf: `record` is served here, the rest by the real perf")
        .disable_help_flag(true)
        .arg(
            Arg::new("arguments")
                .value_name("ARGUMENTS")
                .help("As for perf: record ..., report ..., or --stats: how often the real perf was called")
                .action(ArgAction::Append)
                .trailing_var_arg(true)
                .allow_hyphen_values(true)
                .value_parser(clap::value_parser!(OsString)),
        )
}

/// Runs it from clap's matches, for `kstrace help` and the like.
pub(super) fn run(matches: &ArgMatches) -> Result<ExitCode> {
    let arguments: Vec<OsString> = matches
        .get_many::<OsString>("arguments")
        .map(|all| all.cloned().collect())
        .unwrap_or_default();
    Ok(crate::perf_record::main(&arguments))
}

/// Called as `perf ...` or as `kstrace perf ...`: all that follows is perf's.
pub(super) fn called_as_perf() -> Option<ExitCode> {
    let words: Vec<OsString> = std::env::args_os().collect();
    let name = words.first().map(Path::new).and_then(Path::file_name);
    if name.is_some_and(|n| n == "perf") {
        return Some(crate::perf_record::main(&words[1..]));
    }
    (words.get(1)? == "perf").then(|| crate::perf_record::main(&words[2..]))
}
