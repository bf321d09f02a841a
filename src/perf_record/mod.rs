//! `kstrace perf record`, and this binary called as `perf`.
//!
//! A command line of `perf record` becomes sources of the engine, whose records
//! go, merged by time, straight into a perf.data. What is not served here is
//! done by the real perf in our place, and counted.

mod drain;
mod exec_window;
mod messages;
mod output;
mod real_perf;
mod run;
mod selection;
mod session;
mod signals;
mod target;

use std::ffi::OsString;
use std::process::ExitCode;

pub use real_perf::{REAL_PERF_VARIABLE, statistics_path};

/// Which kernel interface plain tracepoints are taken from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum SourceChoice {
    /// ftrace's ring where it gives the same records.
    #[default]
    Auto,
    /// `perf_event_open` for everything, as perf does.
    Perf,
}

/// Runs `perf` with these arguments, the word `perf` left out.
pub fn main(arguments: &[OsString]) -> ExitCode {
    let mut choice = SourceChoice::Auto;
    let mut rest = arguments;
    loop {
        let word = rest.first().map(|w| w.to_string_lossy());
        let value = rest.get(1).map(|w| w.to_string_lossy());
        match (word.as_deref(), value.as_deref()) {
            (Some("--stats"), _) => return real_perf::print_statistics(),
            (Some("--source"), Some("perf")) => choice = SourceChoice::Perf,
            (Some("--source"), Some("auto")) => choice = SourceChoice::Auto,
            (Some("--source"), _) => {
                eprintln!("kstrace: --source is auto or perf");
                return ExitCode::from(kstrace_perf::cmdline::USAGE_STATUS);
            }
            (Some("record"), _) => return run::record(&rest[1..], choice),
            _ => return real_perf::call(rest, real_perf::Reason::Subcommand),
        }
        rest = &rest[2..];
    }
}
