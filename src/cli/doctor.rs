//! `kstrace doctor`: what of perf, tracefs and LTTng is usable here, by whom,
//! and the least change that would fix each denial.
//!
//! Everything is tried, not guessed: events are opened and closed, a tracefs
//! instance is made and removed.

mod daemon;
mod finding;
mod kernel;
mod lttng;
mod perf;
mod tracefs;

use anyhow::Result;
use clap::{ArgMatches, Args, FromArgMatches};
use finding::{Finding, State};
use serde_json::json;
use std::fmt::Write as _;
use std::process::ExitCode;

/// Tell what can be traced here, and how to allow the rest.
#[derive(Args, Debug)]
pub(super) struct DoctorArgs {
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// Runs it. The status is 0 whatever it finds.
///
/// # Errors
/// Those of writing.
pub(super) fn run(matches: &ArgMatches) -> Result<ExitCode> {
    let args = DoctorArgs::from_arg_matches(matches)?;
    let findings: Vec<Finding> = [
        kernel::examine(),
        perf::examine(),
        tracefs::examine(),
        lttng::examine(),
        daemon::examine(),
    ]
    .into_iter()
    .flatten()
    .collect();
    let text = if args.json {
        as_json(&findings)?
    } else {
        as_text(&findings)
    };
    super::output::print(&text)?;
    Ok(ExitCode::SUCCESS)
}

fn as_text(findings: &[Finding]) -> String {
    let mut out = String::new();
    let mut area = "";
    for f in findings {
        if f.area != area {
            let gap = if area.is_empty() { "" } else { "\n" };
            let _ = writeln!(out, "{gap}{}", f.area);
            area = f.area;
        }
        let _ = writeln!(out, "  {:<8} {:<22} {}", f.state.word(), f.what, f.detail);
        for fix in &f.fixes {
            let _ = writeln!(out, "  {:<8} {:<22} -> {fix}", "", "");
        }
    }
    let denied = findings.iter().filter(|f| f.state == State::Denied).count();
    let _ = match denied {
        0 => writeln!(out, "\nNothing is denied to you here."),
        n => writeln!(
            out,
            "\n{n} denied; the lines with -> say what would change that."
        ),
    };
    out
}

fn as_json(findings: &[Finding]) -> Result<String> {
    let findings: Vec<_> = findings
        .iter()
        .map(|f| {
            json!({
                "area": f.area,
                "what": f.what,
                "state": f.state.word(),
                "detail": f.detail,
                "fixes": f.fixes,
            })
        })
        .collect();
    Ok(serde_json::to_string_pretty(&json!({ "findings": findings }))? + "\n")
}
